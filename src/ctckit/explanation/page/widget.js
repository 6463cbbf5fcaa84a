/* What lets a reader walk through a computation and change it. Needs drawing.js, heatmap.js, frames.js,
   scores.js and paths.js. */

const VIEWS = ["alpha", "beta", "gamma", "gradient", "path"];

class Widget extends Scene {
  constructor(root, index, data = JSON.parse(root.querySelector("script").textContent), scores = undefined) {
    super(data, scores);
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
    this.pathSection = new PathSection(this);
    const { own } = this.pathSection;
    const left = html("div", {}, this.table.node, ...(own ? [own.node] : []));
    const below = html("div", { class: "below" }, left, this.pathSection.node);
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

  // Listening.

  listen() {
    this.drawing.on("pointerover", (t, k) => this.inspect(t, k));
    this.drawing.on("focusin", (t, k) => this.inspect(t, k));
    this.drawing.on("click", (t, k) => this.choose(t, k));
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
    const isChosen = event.key === "Enter" || event.key === " ";
    const jump = { Home: 0, End: this.T - 1 }[event.key];
    if (!move && !isChosen && jump === undefined) return;
    event.preventDefault();
    if (isChosen) return this.choose(t, k);
    const [ahead, down] = move ?? [jump - t, 0];
    this.goTo(clamp(t + ahead, 0, this.T - 1), clamp(k + down, 0, this.K - 1));
  }

  // Acting.

  show(view) {
    this.view = view;
    if (view === "path") this.followed ??= this.paths[0] ?? null;
    for (const radio of this.views.querySelectorAll("input")) radio.checked = radio.value === view;
    this.render();
  }

  /** Shows a path; none if it is null. */
  follow(path) {
    this.followed = path;
    this.show(path ? "path" : "alpha");
    this.pathSection.keepInSight();
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

  /** A cell is chosen: the path that is being drawn goes there, or it becomes the current one. */
  choose(t, k) {
    const { own } = this.pathSection;
    if (!own?.drawing) return this.goTo(t, k);
    own.put(t, k);
    this.drawing.focus(this.frame, this.home);
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

  /** What a page about this computation is called. */
  heading() {
    const nothing = this.data.isCTC ? "title_of_nothing" : "title_of_lattice";
    return say(this.target ? "title" : nothing, { target: this.target, loss: number(this.computation.loss, 4) });
  }

  /** What tests ask for. */
  told() {
    return {
      loss: () => this.computation.loss,
      formula: (view, t, k) => this.computation.formula(view, t, k, this.followed?.states).lines,
      tables: () => {
        const { paths, pathCount, computation } = this;
        const { alpha, beta, gamma, gradient } = computation;
        const plain = (table) => Array.from(table, String);
        return { paths, pathCount, alpha: plain(alpha), beta: plain(beta), gamma: plain(gamma), gradient };
      },
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
    this.pathSection.render();
  }

  /** Which wording of the view's meaning holds here. */
  variant() {
    if (this.view === "gradient" && this.data.fromLogits) return "_of_logits";
    if (this.view !== "path") return "";
    return this.lattice.added.some((score) => score) ? "_with_scores" : this.lattice.weighted ? "_with_arcs" : "";
  }

  renderHead() {
    const loss = this.computation.loss;
    this.loss.textContent = number(loss, 4);
    const difference = loss - this.before;
    const by = Number.isFinite(difference) ? `${difference > 0 ? "+" : ""}${number(difference, 4)}` : "";
    const was = number(this.before, 4);
    this.change.textContent = !this.scores.edited ? "" : say(by ? "change" : "change_from", { by, was });
    const greedy = this.T ? this.greedy() : undefined;
    const facts = {
      frames: this.T,
      states: this.K,
      ...(this.data.longArcs.length ? { long_arcs: this.data.longArcs.length } : {}),
      path_count: this.pathCount,
      probability: exponential(this.computation.total),
      ...(greedy === undefined ? {} : { greedy: greedy || say("nothing") }),
    };
    const shown = ([key, value]) => html("div", {}, html("dt", {}, say(key)), html("dd", {}, html("bdi", {}, String(value))));
    this.facts.replaceChildren(...Object.entries(facts).map(shown));
    const values = { T: this.T, needed: this.data.framesNeeded };
    const impossible = this.computation.total === -Infinity;
    const infeasible = this.data.isCTC ? "infeasible" : "infeasible_lattice";
    const problem = !this.feasible ? infeasible : !this.T ? "no_frames" : impossible ? "impossible" : "";
    this.alert.textContent = problem && say(problem, values);
    this.alert.hidden = !problem;
    this.onChange?.();
  }

  renderPlay() {
    this.play.textContent = say(this.timer ? "pause" : "play");
    this.formula.setAttribute("aria-live", this.timer ? "off" : "polite");
  }

  renderFormula() {
    const { t, k } = this.focus;
    const { lines, terms } = this.computation.formula(this.view, t, k, this.followed?.states);
    const values = { t: t + 1, k: k + 1, K: this.K, label: this.symbol(k) };
    const weights = this.weightsOf(k).map((weight) => `${weight} ${say("nats")}`);
    const title = html("div", { class: "which" }, [say("which_cell", values), ...weights].join(" · "));
    this.formula.replaceChildren(title, ...lines.map((line) => html("div", { class: "line" }, line)));
    this.drawing.mark(t, k, terms);
  }
}

KINDS.computation = Widget;
