/* The page's widgets, its language, boxes that scroll, and what tests read from it. Needs all other scripts. */

const widgets = [...document.querySelectorAll(".widget")].map((root, index) => {
  return root.classList.contains("search") ? new SearchWidget(root, index) : new Widget(root, index);
});

function speak(lang) {
  page.lang = lang;
  document.title = TITLES[lang];
  for (const button of document.querySelectorAll("[data-choose]")) {
    button.setAttribute("aria-pressed", button.dataset.choose === lang);
  }
}
for (const button of document.querySelectorAll("[data-choose]")) {
  button.addEventListener("click", () => {
    speak(button.dataset.choose);
    for (const widget of widgets) widget.relabel();
  });
}
speak(page.lang);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const widget of widgets) for (const picture of widget.pictures) picture.paint?.();
});

/** Fades the edges beyond which a box can be scrolled. */
function hintAt(box) {
  const hint = () => {
    box.classList.toggle("more-left", box.scrollLeft > 1);
    box.classList.toggle("more-right", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  };
  box.addEventListener("scroll", hint);
  const watched = new ResizeObserver(hint);
  for (const node of [box, ...box.children]) watched.observe(node);
}
document.querySelectorAll(".scroll, .drawing").forEach(hintAt);

window.ctckit = {
  widgets: widgets.map((widget) => ({
    logProbs: () => widget.scores.rows.map((row) => row.slice()),
    ...widget.told(),
  })),
};
