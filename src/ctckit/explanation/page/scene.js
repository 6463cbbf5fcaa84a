/* The state of the view: the current probabilities, and where the reader is in the lattice. Needs computation.js and
   scores.js; knows nothing of the page's nodes. */

const NATS = 12; // cells that are this much less likely than the frame's best have no colour

class Scene {
  constructor(data, scores = new Scores(data.logProbs)) {
    this.data = data;
    this.scores = scores; // perhaps edited already, on another lattice
    this.lattice = new Lattice(data);
    this.T = data.frames;
    this.K = this.lattice.states;
    this.large = data.isLarge; // drawn as a heat map, and only the cells around the current frame one by one
    this.separator = data.states.some((c) => lettersOf(data.columns[c].label).length > 1) ? " " : "";
    this.findShown();
    this.followed = null; // the path that is shown, {states, weight}; one that is still drawn may end early
    this.compute();
    this.before = new Computation(data, this.lattice, scores.given).loss;
    this.view = "alpha";
    this.goToFrame(0);
  }

  /** Makes a frame the current one, and in it the cell that matters most. */
  goToFrame(t) {
    this.goToCell(t, this.likeliest(t));
  }

  /** The current frame, the state in it where the Tab key leads, and the cell whose formula is shown. */
  goToCell(t, k) {
    this.frame = t;
    this.home = k;
    this.focus = { t, k };
  }

  /** Cells that some whole path visits, whatever the numbers; if no path fits, those that can be reached at all. */
  findShown() {
    const even = new Float64Array(this.T * this.K);
    const alpha = this.lattice.forward(even);
    const beta = this.lattice.backward(even);
    const visited = alpha.map((a, i) => (a + beta[i] > -Infinity ? 1 : 0));
    this.feasible = this.T ? visited.includes(1) : this.data.score !== "-Infinity";
    this.shown = this.feasible ? visited : alpha.map((a) => (a > -Infinity ? 1 : 0));
  }

  /** The best paths by the present numbers; those of a large lattice were found before, and keep their order. */
  findPaths() {
    const { data, T } = this;
    if (this.large) {
      this.pathCount = data.pathCount;
      this.allPaths = data.allPaths;
      this.paths = data.paths.map((states, i) => ({ states, weight: Number(data.pathWeights[i]) }));
      return;
    }
    const count = T ? this.lattice.countPaths(T) : BigInt(this.feasible);
    const [all, best] = data.mostPaths;
    this.pathCount = counted(count);
    this.allPaths = count <= all;
    this.paths = T ? this.lattice.bestPaths(this.computation.emissions, this.allPaths ? all : best) : [];
  }

  isShown(t, k) {
    return this.shown[t * this.K + k] === 1;
  }

  /** The state to look at in a frame: the chosen path's, else the most occupied, else the first in reach. */
  likeliest(t) {
    if (this.view === "path" && this.followed?.states[t] !== undefined) return this.followed.states[t];
    const at = t * this.K;
    let best = Math.max(0, this.shown.subarray(at, at + this.K).indexOf(1));
    for (let k = 0; k < this.K; k++) if (this.computation.gamma[at + k] > this.computation.gamma[at + best]) best = k;
    return best;
  }

  compute() {
    this.computation = new Computation(this.data, this.lattice, this.scores.rows);
    this.shaded = null;
    this.findPaths();
  }

  /** The target as text, long ones shortened. */
  get target() {
    return this.data.target;
  }

  /** What the class of highest probability in each frame reads; undefined if that is not known or means nothing. */
  greedy() {
    const { columns, blank, isCTC } = this.data;
    if (!isCTC || "rest" in columns[columns.length - 1]) return undefined;
    const best = this.scores.rows.map((row) => row.indexOf(Math.max(...row)));
    return joined(this.data, runsOf(best).map(([c]) => c).filter((c) => c !== blank), this.separator);
  }

  // Colours and names.

  /** The best of each frame, which colours are relative to. */
  findShades() {
    if (this.shaded === this.view) return;
    this.shaded = this.view;
    this.bestOfFrame = Array.from({ length: this.T }, (_, t) => this.mostIn(t));
  }

  mostIn(t) {
    let most = -Infinity;
    if (this.view !== "alpha" && this.view !== "beta") return most;
    for (let k = 0; k < this.K; k++) {
      if (this.isShown(t, k)) most = Math.max(most, this.computation.value(this.view, t, k));
    }
    return most;
  }

  /** How much colour a cell gets, 0 to 1. Log-probabilities are compared within a frame only. */
  intensity(t, k) {
    const value = this.computation.value(this.view, t, k);
    if (!this.isShown(t, k)) return 0;
    if (this.view === "path") return Math.min(1, Math.exp(value));
    if (this.view === "gamma" || this.view === "gradient") return Math.min(1, Math.abs(value));
    return value === -Infinity ? 0 : Math.max(0, 1 + (value - this.bestOfFrame[t]) / NATS);
  }

  /** Whether the recursion has not reached that frame yet. */
  isLater(t) {
    return this.view === "beta" ? t < this.frame : (this.view === "alpha" || this.view === "path") && t > this.frame;
  }

  colour(value) {
    return this.view !== "gradient" ? "--accent" : value > 0 ? "--red" : "--blue";
  }

  symbol(k) {
    return labelOf(this.data, this.lattice.column[k]);
  }

  /** What states add to a path's score (K), by when they do; nothing of what no state has. */
  get weights() {
    const weights = { entry: this.lattice.costs.map((cost) => 0 - cost), frame: this.lattice.added };
    return Object.entries(weights).filter(([, values]) => values.some((nats) => nats));
  }

  /** What one state adds, in words. */
  weightsOf(k) {
    const own = this.weights.filter(([, values]) => values[k]);
    return own.map(([key, values]) => `${say(`graph.${key}`)} ${signed(values[k])}`);
  }

  spelt(path) {
    return runsOf(path).map(([k, count]) => repeated(this.symbol(k), count, path.length)).join(" ");
  }

  tokensOf(path, between = this.separator) {
    const first = new Map(); // of each token's states the first on the path, which never comes back to a token
    for (const k of path) {
      const token = this.lattice.tokens[k];
      if (this.lattice.isToken(k) && !first.has(token)) first.set(token, k);
    }
    return joined(this.data, [...first.values()].map((k) => this.lattice.column[k]), between);
  }
}
