/* What lets a reader walk through a computation and change it. Needs drawing.js and heatmap.js. */

const VIEWS = ["alpha", "beta", "gamma", "gradient", "path"];

class Widget extends Scene {
  constructor(root, index) {
    super(JSON.parse(root.querySelector("script").textContent));
    this.root = root;
    this.wordings = [];
    this.build(index);
    this.relabel();
  }

  // Building: once. What says something in words is said again by relabel().

  worded(node, words, attribute) {
    this.wordings.push(() => (attribute ? node.setAttribute(attribute, words()) : (node.textContent = words())));
    return node;
  }

  build(index) {
    this.root.append(this.buildHead(), this.buildControls(index));
    this.pictures = [...(this.large ? [new HeatMap(this)] : []), new Drawing(this)];
    this.drawing = this.pictures[this.pictures.length - 1];
    this.formula = html("div", { class: "formula", role: "status", "aria-live": "polite" });
    const below = html("div", { class: "below" }, this.buildTable(), this.buildPaths());
    if (this.T) this.root.append(...this.pictures.map(({ node }) => node), this.formula, below);
    this.listen();
  }

  buildHead() {
    this.loss = html("output", { class: "value" });
    this.change = html("span", { class: "change" });
    this.facts = html("dl", { class: "facts" });
    this.alert = html("p", { class: "alert" });
    const name = this.worded(html("span", { class: "name" }), () => say("loss"));
    const unit = this.worded(html("span", { class: "unit" }), () => say("nats"));
    const loss = html("div", { class: "loss" }, name, html("div", {}, this.loss, " ", unit), this.change);
    return html("div", { class: "head" }, loss, this.facts, this.alert);
  }

  buildControls(index) {
    const views = html("fieldset", { class: "views" }, this.worded(html("legend"), () => say("view")));
    for (const view of VIEWS) {
      const radio = html("input", { type: "radio", name: `view${index}`, value: view });
      radio.checked = view === this.view;
      radio.addEventListener("change", () => this.show(view));
      views.append(html("label", {}, radio, this.worded(html("span"), () => say(view))));
    }
    this.views = views;
    this.play = html("button", { type: "button", class: "play" });
    this.slider = html("input", { type: "range", min: 1, max: Math.max(1, this.T), step: 1 });
    this.worded(this.slider, () => say("current_frame"), "aria-label");
    this.where = html("output", { class: "where" });
    this.meaning = html("p", { class: "meaning" });
    const step = html("div", { class: "step" }, this.play, this.slider, this.where);
    const controls = html("div", { class: "controls" }, views, step, this.meaning);
    controls.hidden = this.T === 0;
    return controls;
  }

  buildTable() {
    this.tableTitle = html("h3");
    this.reset = this.worded(html("button", { type: "button", class: "reset" }), () => say("reset"));
    this.reset.addEventListener("click", () => (this.undo(), this.render()));
    const body = html("tbody");
    this.rows = this.data.columns.map((_, c) => {
      const fill = html("div", { class: "fill" });
      const track = html("div", { class: "track" }, fill);
      const input = html("input", { type: "number", min: 0, step: 0.01, inputmode: "decimal", autocomplete: "off" });
      const name = html("th", { scope: "row" });
      body.append(html("tr", {}, name, html("td", { class: "bar" }, track), html("td", {}, input)));
      this.listenToRow(c, track, input);
      return { name, track, fill, input };
    });
    const hint = this.worded(html("p", { class: "hint" }), () => say("edit_hint"));
    const head = html("div", { class: "title" }, this.tableTitle, this.reset);
    const box = html("div", { class: "box" }, html("table", {}, body));
    return html("section", { class: "probabilities" }, head, hint, box);
  }

  buildPaths() {
    this.pathTitle = html("h3");
    this.pathHint = html("p", { class: "hint" });
    this.collapse = html("div", { class: "collapse" });
    const list = html("ol");
    this.pathRows = this.data.paths.map((path, i) => {
      const spelt = html("span", { class: "symbols" });
      const share = html("span", { class: "share" });
      const fill = html("span", { class: "fill" });
      const button = html("button", { type: "button" }, spelt, html("span", { class: "track" }, fill), share);
      button.addEventListener("click", () => this.follow(this.view === "path" && this.path === i ? -1 : i));
      list.append(html("li", {}, button));
      return { button, spelt, share, fill };
    });
    const box = html("div", { class: "box" }, list);
    return html("section", { class: "paths" }, this.pathTitle, this.pathHint, this.collapse, box);
  }

  // Listening.

  listen() {
    this.drawing.on("pointerover", (t, k) => this.inspect(t, k));
    this.drawing.on("focusin", (t, k) => this.inspect(t, k));
    this.drawing.on("click", (t, k) => this.goTo(t, k));
    this.drawing.on("keydown", (t, k, event) => this.moveFocus(t, k, event));
    this.slider.addEventListener("input", () => this.step(Number(this.slider.value) - 1));
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.start()));
    this.root.addEventListener("keydown", (event) => {
      const ahead = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!ahead || event.target.closest("input, .cell") || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      this.step(this.frame + ahead);
    });
    if (this.large) {
      const [map] = this.pictures;
      map.canvas.addEventListener("pointermove", (event) => this.inspect(...map.placeOf(event)));
      map.canvas.addEventListener("click", (event) => this.goTo(...map.placeOf(event)));
    }
  }

  listenToRow(c, track, input) {
    // Every value of one drag, or of one number as it is typed, starts from the frame as it was before: passing
    // through 0 or 1 on the way then loses nothing of the other classes' proportions.
    let base = null;
    const begin = () => (base = this.logProbs[this.frame].slice());
    const drag = (event) => {
      const box = track.getBoundingClientRect();
      this.edit(c, clamp((event.clientX - box.left) / box.width, 0, 1) * this.mass(base), base);
    };
    track.addEventListener("pointerdown", (event) => {
      track.setPointerCapture(event.pointerId);
      this.pause();
      begin();
      drag(event);
    });
    track.addEventListener("pointermove", (event) => track.hasPointerCapture(event.pointerId) && drag(event));
    input.addEventListener("focus", () => (this.pause(), begin()));
    input.addEventListener("input", () => {
      const typed = input.valueAsNumber;
      if (typed >= 0) this.edit(c, typed, base ?? begin());
    });
    input.addEventListener("change", () => (begin(), this.renderTable(true)));
  }

  moveFocus(t, k, event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const jump = { Home: 0, End: this.T - 1, Enter: t, " ": t }[event.key];
    if (!move && jump === undefined) return;
    event.preventDefault();
    const [ahead, down] = move ?? [jump - t, 0];
    this.goTo(clamp(t + ahead, 0, this.T - 1), clamp(k + down, 0, this.K - 1));
  }

  // Acting.

  show(view) {
    this.view = view;
    if (view === "path" && this.path < 0 && this.data.paths.length) this.path = 0;
    for (const radio of this.views.querySelectorAll("input")) radio.checked = radio.value === view;
    this.render();
  }

  follow(i) {
    this.path = i;
    this.show(i < 0 ? "alpha" : "path");
  }

  step(t) {
    this.goToFrame(clamp(t, 0, this.T - 1));
    this.render();
  }

  /** Shows a cell's formula; nothing else moves, so that the pointer may wander. */
  inspect(t, k) {
    this.focus = { t, k };
    this.renderFormula();
  }

  /** Makes a cell the current one, with the keyboard's focus in it. */
  goTo(t, k) {
    this.pause();
    this.goToCell(t, k);
    this.render();
    this.drawing.focus(t, k);
  }

  start() {
    const ahead = (this.view === "beta" ? -1 : 1) * Math.ceil(this.T / 200);
    const last = ahead > 0 ? this.T - 1 : 0;
    if (this.frame === last) this.step(this.T - 1 - last);
    this.timer = setInterval(() => {
      this.step(this.frame + ahead);
      if (this.frame === last) this.pause();
    }, clamp(12000 / this.T, 60, 700));
    this.renderPlay();
  }

  pause() {
    clearInterval(this.timer);
    this.timer = undefined;
    this.renderPlay();
  }

  edit(c, wanted, base) {
    this.setProbability(c, wanted, base);
    this.renderSoon();
  }

  // Showing.

  relabel() {
    for (const wording of this.wordings) wording();
    for (const picture of this.pictures) picture.relabel();
    this.render();
  }

  /** At most once between two repaints, however fast a bar is dragged. */
  renderSoon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = undefined;
      this.render();
    });
  }

  render() {
    this.renderHead();
    if (!this.T) return;
    this.slider.value = this.frame + 1;
    this.where.textContent = say("frame_of", { t: this.frame + 1, T: this.T });
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
    this.meaning.textContent = say(`meaning_${this.view}${this.variant()}`);
    this.renderPlay();
    this.findShades();
    for (const picture of this.pictures) picture.render();
    this.renderFormula();
    this.renderTable(false);
    this.renderPaths();
  }

  /** Which wording of the view's meaning holds here. */
  variant() {
    if (this.view === "gradient" && this.data.fromLogits) return "_of_logits";
    return this.view === "path" && this.lattice.weighted ? "_with_arcs" : "";
  }

  renderHead() {
    const loss = this.computation.loss;
    this.loss.textContent = number(loss, 4);
    const difference = loss - this.before;
    const by = Number.isFinite(difference) ? `${difference > 0 ? "+" : ""}${number(difference, 4)}` : "";
    const was = number(this.before, 4);
    this.change.textContent = !this.edited ? "" : say(by ? "change" : "change_from", { by, was });
    const facts = {
      frames: this.T,
      states: this.K,
      ...(this.data.longArcs.length ? { long_arcs: this.data.longArcs.length } : {}),
      path_count: this.data.pathCount,
      probability: exponential(this.computation.total),
    };
    const shown = ([key, value]) => html("div", {}, html("dt", {}, say(key)), html("dd", {}, String(value)));
    this.facts.replaceChildren(...Object.entries(facts).map(shown));
    const values = { T: this.T, needed: this.data.framesNeeded };
    const impossible = this.computation.total === -Infinity;
    const infeasible = this.data.isCTC ? "infeasible" : "infeasible_lattice";
    const problem = !this.feasible ? infeasible : !this.T ? "no_frames" : impossible ? "impossible" : "";
    this.alert.textContent = problem && say(problem, values);
    this.alert.hidden = !problem;
    this.reset.disabled = !this.edited;
  }

  renderPlay() {
    this.play.textContent = say(this.timer ? "pause" : "play");
    this.formula.setAttribute("aria-live", this.timer ? "off" : "polite");
  }

  renderFormula() {
    const { t, k } = this.focus;
    const { lines, terms } = this.computation.formula(this.view, t, k, this.followed);
    const values = { t: t + 1, k: k + 1, K: this.K, label: this.symbol(k) };
    const title = html("div", { class: "which" }, say("which_cell", values));
    this.formula.replaceChildren(title, ...lines.map((line) => html("div", { class: "line" }, line)));
    this.drawing.mark(t, k, terms);
  }

  renderTable(all) {
    this.tableTitle.textContent = say("frame_probabilities", { t: this.frame + 1 });
    const row = this.logProbs[this.frame];
    const mass = this.mass(row) || 1;
    this.rows.forEach(({ name, fill, input }, c) => {
      const p = Math.exp(row[c]);
      const label = labelOf(this.data, c);
      name.textContent = label;
      name.title = label;
      fill.style.width = `${Math.min(100, (100 * p) / mass)}%`;
      input.setAttribute("aria-label", say("probability_of", { label, t: this.frame + 1 }));
      // A number that is being typed is left alone until it is done.
      if (all || input !== document.activeElement) input.value = Number(p.toPrecision(4));
    });
  }

  renderPaths() {
    const listed = this.data.paths.length;
    const whole = listed === 1 ? "one_path" : "all_paths";
    const title = !listed ? "path_count" : this.data.allPaths ? whole : "best_paths";
    this.pathTitle.textContent = say(title, { n: listed, all: this.data.pathCount });
    this.pathHint.textContent = say(!listed ? "no_paths" : this.edited ? "paths_edited" : "path_hint");
    this.pathRows.forEach(({ button, spelt, share, fill }, i) => {
      const path = this.data.paths[i];
      const reached = this.computation.total > -Infinity;
      const part = reached ? Math.exp(this.computation.scoreOf(i) - this.computation.total) : 0;
      spelt.textContent = `${this.spelt(path)} → ${this.tokensOf(path) || say("nothing")}`;
      share.textContent = percent(part);
      fill.style.width = `${100 * part}%`;
      button.setAttribute("aria-pressed", i === this.path);
    });
    this.renderCollapse(this.followed);
  }

  /** How the chosen path becomes the target, in three lines. */
  renderCollapse(path) {
    this.collapse.hidden = path === undefined;
    if (!path) return;
    const merged = runsOf(path).map(([k]) => this.symbol(k)).join(" ");
    const texts = [this.spelt(path), merged, this.tokensOf(path, " ") || say("nothing")];
    const keys = this.data.isCTC ? ["emitted", "merged", "dropped"] : ["emitted", "merged_lattice", "dropped_lattice"];
    const line = (key, i) => [html("dt", {}, say(key)), html("dd", {}, texts[i])];
    this.collapse.replaceChildren(html("dl", {}, ...keys.flatMap(line)));
  }
}
