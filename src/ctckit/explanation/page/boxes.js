/* Boxes that scroll, groups of buttons that are one tab stop, and fields to type in. Needs words.js. */

/** Fades the edges beyond which a box can be scrolled. */
function hintAt(box) {
  const hint = () => {
    box.classList.toggle("more-left", box.scrollLeft > 1);
    box.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", hint);
  const watched = new ResizeObserver(hint);
  for (const node of [box, ...box.children]) watched.observe(node);
  return box;
}

/** Makes a list's buttons one tab stop: arrow keys, Home and End lead from one to the next. */
function rove(list) {
  const buttons = () => [...list.querySelectorAll("button")];
  list.addEventListener("focusin", ({ target }) => {
    for (const button of buttons()) button.tabIndex = button === target ? 0 : -1;
  });
  list.addEventListener("keydown", (event) => {
    const all = buttons();
    const at = all.indexOf(event.target);
    const [next, last] = [at + 1, at - 1];
    const to = { ArrowDown: next, ArrowRight: next, ArrowUp: last, ArrowLeft: last, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    all[clamp(to, 0, all.length - 1)].focus();
  });
  return list;
}

/** Calls back when the text of a field has changed, but not while an input method still composes a character. */
function whenTyped(input, act) {
  input.addEventListener("input", (event) => event.isComposing || act());
  input.addEventListener("compositionend", act);
}
