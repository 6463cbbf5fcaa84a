/* What lets a reader walk through a computation and change it. Needs drawing.js, heatmap.js, frames.js and scores.js. */

const VIEWS = ["alpha", "beta", "gamma", "gradient", "path"];

class Widget extends Scene {
  constructor(root, index) {
    super(JSON.parse(root.querySelector("script").textContent));
    this.root = root;
    this.wordings = new Wordings();
    this.renderSoon = oncePerRepaint(() => this.render());
    this.build(index);
    this.relabel();
  }

  // Building: once. What says something in words is said again by relabel().

  worded(node, words, attribute) {
    return this.wordings.add(node, words, attribute);
  }

  build(index) {
    this.root.append(this.buildHead(), this.buildControls(index));
    this.pictures = [...(this.large ? [new HeatMap(this)] : []), new Drawing(this)];
    this.drawing = this.pictures[this.pictures.length - 1];
    this.formula = html("div", { class: "formula", role: "status", "aria-live": "polite" });
    this.table = new ScoreTable(this, this.data);
    const below = html("div", { class: "below" }, this.table.node, this.buildPaths());
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
    this.frames = new FrameSlider(this, ".cell");
    this.meaning = html("p", { class: "meaning" });
    const step = html("div", { class: "step" }, this.play, ...this.frames.nodes);
    const controls = html("div", { class: "controls" }, views, step, this.meaning);
    controls.hidden = this.T === 0;
    return controls;
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
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.start()));
    if (this.large) {
      const [map] = this.pictures;
      map.canvas.addEventListener("pointermove", (event) => this.inspect(...map.placeOf(event)));
      map.canvas.addEventListener("click", (event) => this.goTo(...map.placeOf(event)));
    }
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

  /** Probabilities have been edited. */
  changed() {
    this.compute();
    this.renderSoon();
  }

  /** What tests ask for. */
  told() {
    return {
      loss: () => this.computation.loss,
      formula: (view, t, k) => this.computation.formula(view, t, k, this.followed).lines,
    };
  }

  // Showing.

  relabel() {
    this.wordings.say();
    for (const picture of this.pictures) picture.relabel();
    this.render();
  }

  render() {
    this.renderHead();
    if (!this.T) return;
    this.frames.render();
    this.meaning.textContent = say(`meaning_${this.view}${this.variant()}`);
    this.renderPlay();
    this.findShades();
    for (const picture of this.pictures) picture.render();
    this.renderFormula();
    this.table.render();
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
    this.change.textContent = !this.scores.edited ? "" : say(by ? "change" : "change_from", { by, was });
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

  renderPaths() {
    const listed = this.data.paths.length;
    const whole = listed === 1 ? "one_path" : "all_paths";
    const title = !listed ? "path_count" : this.data.allPaths ? whole : "best_paths";
    this.pathTitle.textContent = say(title, { n: listed, all: this.data.pathCount });
    this.pathHint.textContent = say(!listed ? "no_paths" : this.scores.edited ? "paths_edited" : "path_hint");
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
