/* The probabilities of all frames, and the table in which a reader changes them. Needs words.js. */

/** Log-probabilities (T, C), as they were given and as they are now. */
class Scores {
  constructor(rows) {
    this.given = rows.map((row) => row.map(Number));
    this.undo();
  }

  undo() {
    this.rows = this.given.map((row) => row.slice());
    this.edited = false;
  }

  mass(row) {
    return row.reduce((total, logProb) => total + Math.exp(logProb), 0);
  }

  /** Sets one class's probability in a frame; the others share what is left as they shared it in `base`. */
  set(t, c, wanted, base) {
    if (base.length === 1) return;
    const others = this.mass(base.filter((_, i) => i !== c));
    const p = clamp(wanted, 0, others + Math.exp(base[c]));
    const left = Math.max(0, others + Math.exp(base[c]) - p);
    const scaled = (logProb) => (others > 0 ? logProb + Math.log(left / others) : Math.log(left / (base.length - 1)));
    this.rows[t] = base.map((logProb, i) => (i === c ? Math.log(p) : scaled(logProb)));
    this.edited = true;
  }
}

/** The current frame's probabilities as bars and numbers. Its owner has `scores` and a `frame`, is told by `pause` and
    `changed` before and after an edit, and shows itself by `render`. */
class ScoreTable {
  constructor(owner, data) {
    this.owner = owner;
    this.data = data;
    this.title = html("h3");
    this.reset = owner.worded(html("button", { type: "button", class: "reset" }), () => say("reset"));
    this.reset.addEventListener("click", () => (owner.scores.undo(), owner.changed(), owner.render()));
    const body = html("tbody");
    this.rows = data.columns.map((_, c) => {
      const fill = html("div", { class: "fill" });
      const track = html("div", { class: "track" }, fill);
      const input = html("input", { type: "number", min: 0, step: 0.01, inputmode: "decimal", autocomplete: "off" });
      const name = html("th", { scope: "row" });
      body.append(html("tr", {}, name, html("td", { class: "bar" }, track), html("td", {}, input)));
      this.listenToRow(c, track, input);
      return { name, track, fill, input };
    });
    const hint = owner.worded(html("p", { class: "hint" }), () => say("edit_hint"));
    const head = html("div", { class: "title" }, this.title, this.reset);
    const box = html("div", { class: "box" }, html("table", {}, body));
    this.node = html("section", { class: "probabilities" }, head, hint, box);
  }

  listenToRow(c, track, input) {
    // Every value of one drag, or of one number as it is typed, starts from the frame as it was before: passing
    // through 0 or 1 on the way then loses nothing of the other classes' proportions.
    const { owner } = this;
    let base = null;
    const begin = () => (base = owner.scores.rows[owner.frame].slice());
    const edit = (wanted, from) => (owner.scores.set(owner.frame, c, wanted, from), owner.changed());
    const drag = (event) => {
      const box = track.getBoundingClientRect();
      edit(clamp((event.clientX - box.left) / box.width, 0, 1) * owner.scores.mass(base), base);
    };
    track.addEventListener("pointerdown", (event) => {
      track.setPointerCapture(event.pointerId);
      owner.pause();
      begin();
      drag(event);
    });
    track.addEventListener("pointermove", (event) => track.hasPointerCapture(event.pointerId) && drag(event));
    input.addEventListener("focus", () => (owner.pause(), begin()));
    input.addEventListener("input", () => {
      const typed = input.valueAsNumber;
      if (typed >= 0) edit(typed, base ?? begin());
    });
    input.addEventListener("change", () => (begin(), this.render(true)));
  }

  /** Shows the current frame. A number that is being typed is left alone until it is done, unless `all` are shown. */
  render(all = false) {
    const { frame: t, scores } = this.owner;
    this.title.textContent = say("frame_probabilities", { t: t + 1 });
    this.reset.disabled = !scores.edited;
    const row = scores.rows[t];
    const mass = scores.mass(row) || 1;
    this.rows.forEach(({ name, fill, input }, c) => {
      const p = Math.exp(row[c]);
      const label = labelOf(this.data, c);
      name.textContent = label;
      name.title = label;
      fill.style.width = `${Math.min(100, (100 * p) / mass)}%`;
      input.setAttribute("aria-label", say("probability_of", { label, t: t + 1 }));
      if (all || input !== document.activeElement) input.value = Number(p.toPrecision(4));
    });
  }
}
