/* What lets a reader step through a search and change it. Needs tree.js, frames.js and scores.js. */

const WIDEST_BEAM = 8;

class SearchWidget {
  constructor(root, index) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.scores = new Scores(this.data.logProbs);
    this.T = this.data.frames;
    this.beamWidth = this.data.beamWidth;
    this.frame = Math.max(0, this.T - 1);
    this.wordings = new Wordings();
    this.renderSoon = oncePerRepaint(() => this.render());
    this.compute();
    this.build(index);
    this.relabel();
  }

  worded(node, words, attribute) {
    return this.wordings.add(node, words, attribute);
  }

  compute() {
    this.search = new Search(this.data, this.scores.rows, this.beamWidth);
    this.goToFrame(this.frame);
  }

  /** Makes a frame the current one, and looks at its best prefix. */
  goToFrame(t) {
    this.frame = clamp(t, 0, Math.max(0, this.T - 1));
    this.focus = { step: Math.min(this.T, this.frame + 1), rank: 1 };
  }

  // Building: once.

  build(index) {
    this.tree = new Tree(this);
    this.table = new ScoreTable(this, this.data);
    this.formula = html("div", { class: "formula lines", role: "status", "aria-live": "polite" });
    this.root.append(this.buildHead(), this.buildControls(index));
    const below = html("div", { class: "below" }, this.table.node, this.buildFound());
    if (this.T) this.root.append(this.tree.node, this.buildLegend(), this.formula, below);
    this.listen();
  }

  buildHead() {
    const answer = (key, kind) => {
      const said = html("output", { class: "value" });
      const share = html("span", { class: "unit" });
      const name = this.worded(html("span", { class: "name" }), () => say(key));
      return { node: html("div", { class: `answer ${kind}` }, name, html("div", {}, said, " ", share)), said, share };
    };
    this.finds = answer("search_finds", "finds");
    this.reads = answer("best_path_reads", "reads");
    this.verdict = html("p", { class: "verdict" });
    return html("div", { class: "head answers" }, this.finds.node, this.reads.node, this.verdict);
  }

  buildControls(index) {
    const id = `beam${index}`;
    this.beam = html("input", { type: "number", id, min: 1, max: Math.max(WIDEST_BEAM, this.data.beamWidth), step: 1 });
    this.beam.value = this.beamWidth;
    const label = this.worded(html("label", { for: id }), () => say("beam_width"));
    const beam = html("div", { class: "beam" }, label, this.beam);
    this.frames = new FrameSlider(this, ".prefix");
    const step = html("div", { class: "step" }, ...this.frames.nodes);
    const meaning = this.worded(html("p", { class: "meaning" }), () => say("meaning_tree"));
    const controls = html("div", { class: "controls" }, beam, step, meaning);
    controls.hidden = this.T === 0;
    return controls;
  }

  buildLegend() {
    const kinds = ["blank", "repeat", "grow"];
    const parts = kinds.map((kind) => this.worded(html("span", { class: kind }), () => say(`search.legend.${kind}`)));
    return html("p", { class: "legend" }, ...parts);
  }

  buildFound() {
    const title = this.worded(html("h3"), () => say("texts_found"));
    const hint = this.worded(html("p", { class: "hint" }), () => say("texts_hint"));
    this.list = html("ol", { class: "texts" });
    this.unsearched = html("p", { class: "hint" });
    const box = html("div", { class: "box" }, this.list);
    return html("section", { class: "paths" }, title, hint, box, this.unsearched);
  }

  // Listening.

  listen() {
    this.beam.addEventListener("input", () => {
      const width = this.beam.valueAsNumber;
      if (!Number.isInteger(width) || width < 1 || width > Number(this.beam.max)) return;
      this.beamWidth = width;
      this.compute();
      this.render();
    });
    this.beam.addEventListener("change", () => (this.beam.value = this.beamWidth));
    const { grid } = this.tree;
    const look = (act) => (event) => {
      const node = event.target.closest(".prefix");
      if (node) act({ step: Number(node.dataset.step), rank: Number(node.dataset.rank) }, event);
    };
    grid.addEventListener("pointerover", look((focus) => this.inspect(focus)));
    grid.addEventListener("click", look((focus) => this.goTo(focus)));
    grid.addEventListener("keydown", look((focus, event) => this.move(focus, event)));
  }

  move({ step, rank }, event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!move) return;
    event.preventDefault();
    const to = clamp(step + move[0], 0, this.T);
    this.goTo({ step: to, rank: clamp(rank + move[1], 1, this.shown(to)) });
  }

  /** How many prefixes of a step are drawn. */
  shown(step) {
    const { beam, dropped } = this.search.steps[step];
    return beam.length > this.tree.rows ? this.tree.rows : beam.length + (step > this.tree.first ? dropped.length : 0);
  }

  // Acting.

  step(t) {
    this.goToFrame(t);
    this.render();
  }

  /** Shows a prefix's formula; nothing else moves, so that the pointer may wander. */
  inspect(focus) {
    this.focus = focus;
    this.renderFormula();
  }

  /** Looks at a prefix, with the keyboard's focus on it; its frame becomes the current one. */
  goTo(focus) {
    this.frame = Math.max(0, focus.step - 1);
    this.focus = focus;
    this.render();
    this.tree.nodes.get(`${focus.step},${focus.rank}`)?.focus({ preventScroll: true });
  }

  /** Nothing plays here. */
  pause() {}

  changed() {
    this.compute();
    this.renderSoon();
  }

  /** What tests ask for. */
  told() {
    return { search: () => this.search, formula: (step, rank) => this.search.formula(step, this.prefixAt(step, rank)) };
  }

  prefixAt(step, rank) {
    const { beam, dropped } = this.search.steps[step];
    return [...beam, ...dropped].find((prefix) => prefix.rank === rank);
  }

  // Showing.

  relabel() {
    this.wordings.say();
    this.render();
  }

  render() {
    this.renderHead();
    if (!this.T) return;
    this.frames.render();
    this.tree.render();
    this.renderFormula();
    this.table.render();
    this.renderFound();
  }

  renderHead() {
    const { found, bestPath, verdict } = this.search;
    const [first] = found;
    this.finds.said.textContent = first ? this.search.clipped(first.tokens) : "–";
    this.finds.share.textContent = first ? `P = ${exponential(first.ctc)}` : "";
    this.reads.said.textContent = this.search.clipped(bestPath.tokens);
    const values = { p: exponential(bestPath.score), all: exponential(bestPath.all) };
    const path = this.search.clipped(bestPath.classes);
    this.reads.share.textContent = this.T ? say("path_and_all", { path, ...values }) : "";
    const text = first ? this.search.clipped(first.tokens) : "";
    this.verdict.textContent = say(`search.verdict.${verdict}`, { text });
  }

  renderFormula() {
    const { step, rank } = this.focus;
    const prefix = this.prefixAt(step, rank);
    const lines = prefix ? this.search.formula(step, prefix) : [];
    const text = prefix ? this.search.clipped(prefix.tokens) : "–";
    const title = html("div", { class: "which" }, say(step ? "which_prefix" : "which_start", { t: step, rank, text }));
    this.formula.replaceChildren(title, ...lines.map((line) => html("div", { class: "line" }, line)));
    this.tree.mark();
  }

  renderFound() {
    const rows = this.search.found.map(({ tokens, ctc, all }) => {
      const fill = html("span", { class: "fill", style: `width:${100 * Math.exp(ctc - this.search.found[0].ctc)}%` });
      const share = ctc === all || short(ctc) === short(all) ? short(ctc) : `${short(ctc)} / ${short(all)}`;
      const said = html("span", { class: "symbols" }, this.search.text(tokens));
      const track = html("span", { class: "track" }, fill);
      return html("li", { class: "found" }, said, track, html("span", { class: "share" }, share));
    });
    this.list.replaceChildren(...rows);
    const rest = this.data.columns.find((column) => "rest" in column);
    this.unsearched.textContent = rest ? say("not_searched", { n: rest.rest }) : "";
    this.unsearched.hidden = !rest;
  }
}

KINDS.search = SearchWidget;
