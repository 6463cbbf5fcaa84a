/* One computation on a lattice, and its formulas. Needs words.js.
   The rule of CTC is not here: the page's data says which moves are legal, as bits of each state and as long arcs. */

/** log of the sum of exp(values). −∞ is a true zero: −∞ − −∞ would be NaN. */
function logsumexp(values) {
  let most = -Infinity;
  for (const value of values) if (value > most) most = value;
  if (most === -Infinity) return most;
  let total = 0;
  for (const value of values) total += Math.exp(value - most);
  return most + Math.log(total);
}

/** The states and the arcs between them, each with what it adds to a path's score, {from, to, add}; `own` is
    that without the cost of entering a state. */
class Lattice {
  constructor(data) {
    this.states = data.states.length;
    this.column = data.states;
    this.tokens = data.tokens;
    this.costs = data.entryCosts.map(Number);
    this.added = data.stateScores.map(Number);
    const all = [...data.states.keys()];
    this.back = all.map(() => []);
    this.ahead = all.map(() => []);
    for (const k of all) {
      for (const [bit, back] of data.moves) {
        if (data.arcs[k] & bit) this.join(k - back, k, 0);
      }
    }
    for (const [from, to, score] of data.longArcs) this.join(from, to, Number(score));
    this.starts = all.filter((k) => data.arcs[k] & data.start);
    this.ends = all.filter((k) => data.arcs[k] & data.end);
  }

  join(from, to, own) {
    const arc = { from, to, own, add: from === to ? own : own - this.costs[to] };
    this.back[to].push(arc);
    this.ahead[from].push(arc);
  }

  /** Whether an arc adds something to a path's score. */
  get weighted() {
    return this.ahead.flat().some(({ add }) => add) || this.costs.some((cost) => cost);
  }

  /** The arcs between two states: mostly one. */
  arcsBetween(from, to) {
    return this.back[to].filter((arc) => arc.from === from);
  }

  isToken(k) {
    return this.tokens[k] >= 0;
  }

  /** Goes through all frames. What a state holds follows from what those before it held one frame earlier: numbers,
      counts or paths. `kind` has an empty table, what a first state holds, and what arcs join to. */
  sweep(frames, kind) {
    const K = this.states;
    const held = kind.table(frames * K);
    for (const k of frames ? this.starts : []) held[k] = kind.begin(k);
    for (let at = K; at < held.length; at += K) {
      const before = ({ from }) => held[at - K + from];
      for (let k = 0; k < K; k++) held[at + k] = kind.join(at + k, this.back[k], before);
    }
    return held;
  }

  /** α (T·K): all ways to be in state k at frame t, with their emissions up to and including t. */
  forward(emissions) {
    return this.sweep(emissions.length / this.states, {
      table: (size) => new Float64Array(size).fill(-Infinity),
      begin: (k) => emissions[k] - this.costs[k],
      join: (i, arcs, before) => emissions[i] + logsumexp(arcs.map((arc) => before(arc) + arc.add)),
    });
  }

  /** How many paths there are, exactly. */
  countPaths(frames) {
    const counts = this.sweep(frames, {
      table: (size) => new Array(size).fill(0n),
      begin: () => 1n,
      join: (i, arcs, before) => arcs.reduce((total, arc) => total + before(arc), 0n),
    });
    return this.ends.reduce((total, k) => total + counts[counts.length - this.states + k], 0n);
  }

  /** The best paths, best first: their states, and what entry costs and long arcs add to each. */
  bestPaths(emissions, most) {
    const K = this.states;
    const best = (paths) => paths.sort((a, b) => b.score - a.score).slice(0, most);
    const kept = this.sweep(emissions.length / K, {
      table: (size) => new Array(size).fill([]),
      begin: (k) => [{ k, score: emissions[k] - this.costs[k], weight: 0 - this.costs[k] }],
      join: (i, arcs, before) => {
        const longer = (arc) => (path) => {
          const score = path.score + arc.add + emissions[i];
          return { k: i % K, score, weight: path.weight + arc.add, last: path };
        };
        return best(arcs.flatMap((arc) => before(arc).map(longer(arc))));
      },
    });
    return best(this.ends.flatMap((k) => kept[kept.length - K + k])).map((path) => {
      const states = [];
      for (let at = path; at; at = at.last) states.unshift(at.k);
      return { states, weight: path.weight };
    });
  }

  /** β (T·K): all ways to go on from state k at frame t to an end, their emissions after t. */
  backward(emissions) {
    const K = this.states;
    const beta = new Float64Array(emissions.length).fill(-Infinity);
    for (const k of beta.length ? this.ends : []) beta[beta.length - K + k] = 0;
    for (let at = beta.length - 2 * K; at >= 0; at -= K) {
      const onward = ({ to, add }) => emissions[at + K + to] + beta[at + K + to] + add;
      for (let k = 0; k < K; k++) beta[at + k] = logsumexp(this.ahead[k].map(onward));
    }
    return beta;
  }
}

class Computation {
  constructor(data, lattice, logProbs) {
    const K = lattice.states;
    const T = data.frames;
    Object.assign(this, { data, lattice, logProbs, K, T });
    this.emissions = new Float64Array(T * K);
    logProbs.forEach((row, t) => lattice.column.forEach((c, k) => (this.emissions[t * K + k] = row[c] + lattice.added[k])));
    this.alpha = lattice.forward(this.emissions);
    this.beta = lattice.backward(this.emissions);
    this.total = T ? logsumexp(lattice.ends.map((k) => this.alpha[(T - 1) * K + k])) : Number(data.score);
    this.gamma = this.alpha.map((a, i) => (this.total > -Infinity ? Math.exp(a + this.beta[i] - this.total) : 0));
    this.gradient = logProbs.map((row, t) => this.gradientOf(row, t));
  }

  get loss() {
    return 0 - this.total;
  }

  /** The loss's derivative by each class's score in a frame: −γ, or softmax − γ below a softmax. */
  gradientOf(row, t) {
    const reached = this.total > -Infinity;
    const gradient = row.map((logProb) => (this.data.fromLogits && reached ? Math.exp(logProb) : 0));
    this.lattice.column.forEach((c, k) => (gradient[c] -= this.gamma[t * this.K + k]));
    return gradient;
  }

  value(view, t, k) {
    const i = t * this.K + k;
    if (view === "gradient") return this.gradient[t][this.lattice.column[k]];
    return view === "path" ? this.emissions[i] : this[view][i];
  }

  /** The score of a path: its emissions, and what its arcs add. */
  scoreOf({ states, weight }) {
    return states.reduce((score, k, t) => score + this.emissions[t * this.K + k], weight);
  }

  // Formulas: the lines to show, and the cells whose numbers they use.

  formula(view, t, k, path) {
    if (view === "path") return this.pathFormula(t, k, path);
    return this[`${view}Formula`](t, k);
  }

  /** What a formula calls a number of a state: a label that several states share gets the state's number, from 1. */
  name(symbol, t, k) {
    const c = this.lattice.column[k];
    const number = this.lattice.column.indexOf(c) === this.lattice.column.lastIndexOf(c) ? "" : lowered(k + 1);
    return `${symbol}${lowered(t + 1)}(${labelOf(this.data, c)}${number})`;
  }

  /** What a formula calls a number of a state's class. */
  nameOfClass(symbol, t, k) {
    return `${symbol}${lowered(t + 1)}(${labelOf(this.data, this.lattice.column[k])})`;
  }

  /** What a formula calls what a state emits: its label's log-probability, and the state's score. */
  nameOfEmission(t, k) {
    return this.nameOfClass("log y", t, k) + added(this.lattice.added[k]);
  }

  alphaFormula(t, k) {
    const alpha = this.name("α", t, k);
    const emission = this.emissions[t * this.K + k];
    const own = this.nameOfEmission(t, k);
    const result = `= ${number(this.value("alpha", t, k))}`;
    if (t === 0) {
      if (!this.lattice.starts.includes(k)) return { lines: [`${alpha} = −∞`, say("no_start")], terms: [] };
      const cost = -this.lattice.costs[k];
      if (!cost) return { lines: [`${alpha} = ${own} ${result}`], terms: [] };
      return { lines: [`${alpha} = ${own}${added(cost)}`, `= ${number(emission)}${added(cost)}`, result], terms: [] };
    }
    const arcs = this.lattice.back[k];
    if (!arcs.length) return { lines: [`${alpha} = −∞`, say("no_way_in")], terms: [] };
    const names = arcs.map(({ from, add }) => this.name("α", t - 1, from) + added(add));
    const values = arcs.map(({ from, add }) => number(this.value("alpha", t - 1, from)) + added(add));
    const alone = arcs.length === 1;
    const all = (list) => (alone ? list[0] : `logsumexp(${list.join(", ")})`);
    const before = this.value("alpha", t - 1, arcs[0].from);
    const numbers = alone ? sum([emission, before]) + added(arcs[0].add) : `${number(emission)} + ${all(values)}`;
    return {
      lines: [`${alpha} = ${own} + ${all(names)}`, `= ${numbers}`, result],
      terms: arcs.map(({ from }) => [t - 1, from]),
    };
  }

  betaFormula(t, k) {
    const beta = this.name("β", t, k);
    if (t === this.T - 1) {
      const end = this.lattice.ends.includes(k);
      return { lines: [`${beta} = ${end ? "0" : "−∞"}`, say(end ? "may_end" : "no_end")], terms: [] };
    }
    const arcs = this.lattice.ahead[k];
    if (!arcs.length) return { lines: [`${beta} = −∞`, say("no_way_out")], terms: [] };
    const name = ({ to, add }) => `${this.nameOfEmission(t + 1, to)} + ${this.name("β", t + 1, to)}${added(add)}`;
    const value = ({ to, add }) => sum([this.value("path", t + 1, to), this.value("beta", t + 1, to)]) + added(add);
    const all = (list) => (list.length === 1 ? list[0] : `logsumexp(${list.join(", ")})`);
    return {
      lines: [`${beta} = ${all(arcs.map(name))}`, `= ${all(arcs.map(value))}`, `= ${number(this.value("beta", t, k))}`],
      terms: arcs.map(({ to }) => [t + 1, to]),
    };
  }

  gammaFormula(t, k) {
    const gamma = this.name("γ", t, k);
    if (this.total === -Infinity) return { lines: [`${gamma} = 0`, say("no_path_at_all")], terms: [] };
    const parts = [this.value("alpha", t, k), this.value("beta", t, k), -this.total];
    return {
      lines: [
        `${gamma} = exp(${this.name("α", t, k)} + ${this.name("β", t, k)} − log P)`,
        `= exp(${sum(parts)})`,
        `= ${probability(this.value("gamma", t, k))}`,
      ],
      terms: [],
    };
  }

  gradientFormula(t, k) {
    const c = this.lattice.column[k];
    const logits = this.data.fromLogits;
    const derivative = this.nameOfClass(logits ? "∂loss/∂x" : "∂loss/∂log y", t, k);
    if (this.total === -Infinity) return { lines: [`${derivative} = 0`, say("no_path_at_all")], terms: [] };
    const same = [...this.lattice.column.keys()].filter((j) => this.lattice.column[j] === c);
    const gammas = same.map((j) => this.value("gamma", t, j)).filter((p, i, all) => p > 0 || all.length === 1);
    const listed = gammas.length > 8 ? [...gammas.slice(0, 8).map(probability), "…"] : gammas.map(probability);
    const added = listed.length > 1 ? `(${listed.join(" + ")})` : listed[0] ?? "0";
    const gamma = `${same.length > 1 ? "Σ " : ""}${this.nameOfClass("γ", t, k)}`;
    return {
      lines: [
        `${derivative} = ${logits ? `${this.nameOfClass("y", t, k)} ` : ""}−${logits ? " " : ""}${gamma}`,
        `= ${logits ? `${probability(Math.exp(this.logProbs[t][c]))} − ` : "−"}${added}`,
        `= ${probability(this.gradient[t][c])}`,
      ],
      terms: same.map((j) => [t, j]),
    };
  }

  pathFormula(t, k, path) {
    if (!path || path[t] !== k) {
      const logProb = this.value("path", t, k);
      const own = `${this.nameOfEmission(t, k)} = ${number(logProb)}`;
      if (this.lattice.added[k]) return { lines: [own], terms: [] };
      return { lines: [own, `${this.nameOfClass("y", t, k)} = ${probability(Math.exp(logProb))}`], terms: [] };
    }
    const terms = path.slice(0, t + 1).map((j, s) => ({ s, j, add: this.weight(path, s) }));
    const shown = terms.slice(-6);
    const cut = shown.length < terms.length ? "… + " : "";
    const names = shown.map(({ s, j, add }) => this.nameOfEmission(s, j) + added(add)).join(" + ");
    const numbers = sum(shown.flatMap(({ s, j, add }) => [this.value("path", s, j), ...(add ? [add] : [])]));
    const score = terms.reduce((total, { s, j, add }) => total + this.value("path", s, j) + add, 0);
    return {
      lines: [`${say("path_so_far")} = ${cut}${names}`, `= ${cut}${numbers}`, `= ${number(score)}`],
      terms: [], // the path is marked as it is
    };
  }

  /** What a path's arc into frame t adds to its score; of several between the same states, the best. */
  weight(path, t) {
    if (t === 0) return 0 - this.lattice.costs[path[0]];
    return Math.max(...this.lattice.arcsBetween(path[t - 1], path[t]).map(({ add }) => add));
  }
}

/** A further term of a sum; nothing for 0. */
function added(x) {
  return x ? ` ${x < 0 ? "−" : "+"} ${number(Math.abs(x))}` : "";
}
