/* A path of the reader's own, typed or drawn: it is taken as far as it is legal, then the rule that it breaks is said.
   Which moves are legal, the lattice's arcs say. Needs collapse.js and scene.js. */

class OwnPath {
  constructor(widget) {
    this.widget = widget;
    this.labels = []; // columns of the page's data, one a frame, as far as they were given
    this.states = []; // the states of those that are legal
    this.broken = null; // which rule the next one breaks: {key, values}
    this.drawing = false;
    this.spaced = widget.separator !== "";
    this.names = widget.data.columns.map(({ label = "" }) => standIn(label).replace(/\s/g, "␣")); // as they are typed
    this.build();
  }

  build() {
    const { widget } = this;
    const title = widget.worded(html("h3"), () => say("own_path"));
    const how = this.spaced ? "own_path_hint_spaced" : "own_path_hint";
    const hint = widget.worded(html("p", { class: "hint" }), () => say(how, { T: widget.T }));
    this.input = html("input", { type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
    widget.worded(this.input, () => say("own_path_labels"), "aria-label");
    whenTyped(this.input, () => this.type());
    this.draw = widget.worded(html("button", { type: "button", "aria-pressed": false }), () => say("draw"));
    this.draw.addEventListener("click", () => this.setDrawing(!this.drawing));
    this.clear = widget.worded(html("button", { type: "button" }), () => say("clear"));
    this.clear.addEventListener("click", () => this.empty());
    this.verdict = html("p", { class: "verdict", role: "status" });
    const row = html("div", { class: "typed" }, this.input, this.draw, this.clear);
    this.node = html("div", { class: "own-path" }, title, hint, row, this.verdict);
  }

  setDrawing(drawing) {
    this.drawing = drawing;
    this.draw.setAttribute("aria-pressed", drawing);
    this.widget.root.classList.toggle("is-drawing", drawing);
    if (drawing || this.widget.followed?.own === this) this.follow();
    else this.render();
  }

  empty() {
    this.input.value = "";
    this.type();
  }

  // A path grows: by what is typed, or by a cell that is chosen.

  type() {
    const most = this.widget.T + 1; // what follows one too many is not read
    const labels = labelsIn(this.input.value, this.spaced, this.names).slice(0, most);
    this.labels = labels.map((label) => this.names.indexOf(label));
    this.states = [];
    this.broken = null;
    const unknown = this.labels.indexOf(-1);
    for (let t = 0; t < labels.length && !this.broken; t++) {
      if (t === unknown) this.break("own_unknown", { label: labels[t] });
      else this.add(this.stateOf(this.labels[t]));
    }
    this.labels = this.labels.filter((c) => c >= 0);
    this.follow();
  }

  /** Puts the path into a cell: the one after its last, or an earlier one, from which it then goes on. */
  put(t, k) {
    if (t > this.states.length) {
      this.break("own_next", { t: this.states.length + 1 });
    } else {
      this.states.length = t;
      this.broken = null;
      this.add(k);
    }
    this.labels = this.states.map((state) => this.widget.lattice.column[state]);
    this.input.value = this.labels.map((c) => this.names[c]).join(this.spaced ? " " : "");
    this.follow();
  }

  /** The state that a label leads to: by a legal move, else the nearest below, else any that has the label. */
  stateOf(c) {
    const { lattice } = this.widget;
    const from = this.states[this.states.length - 1];
    const next = from === undefined ? lattice.starts : lattice.ahead[from].map(({ to }) => to);
    const all = [...lattice.column.keys()].filter((k) => lattice.column[k] === c);
    return next.find((k) => lattice.column[k] === c) ?? all.find((k) => k > (from ?? -1)) ?? all[0];
  }

  /** Takes one more state, unless that breaks a rule. */
  add(to) {
    const t = this.states.length;
    const from = this.states[t - 1];
    const rule = t === this.widget.T ? ["own_long", { T: t }] : this.ruleAgainst(t, from, to);
    if (rule) this.break(...rule);
    else this.states.push(to);
  }

  break(key, values) {
    this.broken = { key, values };
  }

  /** Which rule a move breaks, if it does: [key, values]. */
  ruleAgainst(t, from, to) {
    const { widget } = this;
    const { lattice } = widget;
    if (to === undefined) return ["own_not_in_target", {}];
    const symbols = { from: from === undefined ? "" : widget.symbol(from), to: widget.symbol(to) };
    if (from === undefined && !lattice.starts.includes(to)) {
      return ["own_begin", { first: lattice.starts.map((k) => widget.symbol(k)).join(" / "), to: symbols.to }];
    }
    if (from !== undefined && !lattice.ahead[from].some((arc) => arc.to === to)) {
      return this.ruleOfNoArc(from, to, symbols);
    }
    if (widget.isShown(t, to) && (t < widget.T - 1 || lattice.ends.includes(to))) return undefined;
    const waits = to === from && lattice.isToken(to + 2) && !lattice.ahead[to].some((arc) => arc.to === to + 2);
    return waits ? ["own_equal", symbols] : ["own_late", { ...symbols, t: t + 1 }];
  }

  ruleOfNoArc(from, to, symbols) {
    const { lattice } = this.widget;
    if (to < from) return ["own_back", symbols];
    const between = [...lattice.column.keys()].slice(from + 1, to).filter((k) => lattice.isToken(k));
    if (between.length) return ["own_skip", { ...symbols, missing: this.widget.symbol(between[0]) }];
    return ["own_equal", symbols];
  }

  // Showing.

  follow() {
    const { widget } = this;
    widget.pause();
    const path = { states: this.states.slice(), weight: 0, own: this };
    Object.assign(widget, { view: "path", followed: path }); // the current cell is then the path's
    if (this.states.length) widget.goToFrame(this.states.length - 1);
    widget.follow(this.labels.length || this.drawing ? path : null);
  }

  get whole() {
    return !this.broken && this.states.length === this.widget.T;
  }

  /** What the labels given so far collapse to, legal or not. */
  steps() {
    const { data } = this.widget;
    const runs = runsOf(this.labels).map(([c, count]) => ({ label: labelOf(data, c), count, quiet: c === data.blank }));
    const tokens = runsOf(this.labels).map(([c]) => c).filter((c) => c !== data.blank);
    return [runs, joined(data, tokens, this.widget.separator)];
  }

  render() {
    const { widget } = this;
    const path = { states: this.states, weight: 0 };
    const { total } = widget.computation;
    const share = this.whole && total > -Infinity ? Math.exp(widget.computation.scoreOf(path) - total) : 0;
    const values = { n: this.states.length, T: widget.T, target: widget.target, share: percent(share) };
    const started = this.labels.length || this.drawing;
    const now = this.whole ? ["own_whole", values] : started ? ["own_so_far", values] : undefined;
    const said = this.broken ? [this.broken.key, this.broken.values] : now;
    this.verdict.textContent = said ? say(...said) : "";
    this.verdict.classList.toggle("wrong", this.broken !== null);
    this.input.setAttribute("aria-invalid", this.broken !== null);
  }
}
