/* One CTC computation, and its formulas. Needs words.js.
   The rule of CTC is not here: which moves are legal stands in the page's data, as bits of each state. */

/** log of the sum of exp(row[k]) over those states. −∞ is a true zero: it must not meet itself in a difference. */
function logsumexp(row, states) {
  let most = -Infinity;
  for (const k of states) if (row[k] > most) most = row[k];
  if (most === -Infinity) return most;
  let total = 0;
  for (const k of states) total += Math.exp(row[k] - most);
  return most + Math.log(total);
}

/** The states, and where the arcs lead from and to, read off the bits. */
class Lattice {
  constructor(data) {
    this.states = data.states.length;
    this.column = data.states;
    const all = [...data.states.keys()];
    this.back = all.map((k) => data.moves.filter(([bit]) => data.arcs[k] & bit).map(([, back]) => k - back));
    this.ahead = all.map(() => []);
    this.back.forEach((from, k) => from.forEach((j) => this.ahead[j].push(k)));
    this.starts = all.filter((k) => data.arcs[k] & data.start);
    this.ends = all.filter((k) => data.arcs[k] & data.end);
  }

  /** α (T·K): all beginnings that are in state k at frame t, their emissions up to t included. */
  forward(emissions) {
    const K = this.states;
    const alpha = new Float64Array(emissions.length).fill(-Infinity);
    for (const k of alpha.length ? this.starts : []) alpha[k] = emissions[k];
    for (let at = K; at < alpha.length; at += K) {
      const before = alpha.subarray(at - K, at);
      for (let k = 0; k < K; k++) alpha[at + k] = emissions[at + k] + logsumexp(before, this.back[k]);
    }
    return alpha;
  }

  /** β (T·K): all ways to go on from state k at frame t to an end, their emissions after t. */
  backward(emissions) {
    const K = this.states;
    const beta = new Float64Array(emissions.length).fill(-Infinity);
    const onward = new Float64Array(K);
    for (const k of beta.length ? this.ends : []) beta[beta.length - K + k] = 0;
    for (let at = beta.length - 2 * K; at >= 0; at -= K) {
      for (let k = 0; k < K; k++) onward[k] = emissions[at + K + k] + beta[at + K + k];
      for (let k = 0; k < K; k++) beta[at + k] = logsumexp(onward, this.ahead[k]);
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
    logProbs.forEach((row, t) => lattice.column.forEach((c, k) => (this.emissions[t * K + k] = row[c])));
    this.alpha = lattice.forward(this.emissions);
    this.beta = lattice.backward(this.emissions);
    this.total = T ? logsumexp(this.alpha.subarray((T - 1) * K), lattice.ends) : Number(data.score);
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

  scoreOf(path) {
    return path.reduce((score, k, t) => score + this.emissions[t * this.K + k], 0);
  }

  // Formulas: the lines to show, and the cells whose numbers stand in them.

  formula(view, t, k, path) {
    if (view === "path") return this.pathFormula(t, k, path);
    return this[`${view}Formula`](t, k);
  }

  name(symbol, t, k) {
    return `${symbol}${lowered(t + 1)}(${labelOf(this.data, this.lattice.column[k])})`;
  }

  alphaFormula(t, k) {
    const alpha = this.name("α", t, k);
    const emission = this.emissions[t * this.K + k];
    const own = this.name("log y", t, k);
    if (t === 0) {
      const start = this.lattice.starts.includes(k);
      const lines = start ? [`${alpha} = ${own} = ${number(emission)}`] : [`${alpha} = −∞`, say("no_start")];
      return { lines, terms: [] };
    }
    const terms = this.lattice.back[k].map((j) => [t - 1, j]);
    const names = terms.map(([, j]) => this.name("α", t - 1, j));
    const values = terms.map(([, j]) => this.value("alpha", t - 1, j));
    const alone = terms.length === 1;
    const added = alone ? names[0] : `logsumexp(${names.join(", ")})`;
    const numbers = values.map((x) => number(x)).join(", ");
    return {
      lines: [
        `${alpha} = ${own} + ${added}`,
        `= ${alone ? sum([emission, values[0]]) : `${number(emission)} + logsumexp(${numbers})`}`,
        `= ${number(this.value("alpha", t, k))}`,
      ],
      terms,
    };
  }

  betaFormula(t, k) {
    const beta = this.name("β", t, k);
    if (t === this.T - 1) {
      const end = this.lattice.ends.includes(k);
      return { lines: [`${beta} = ${end ? "0" : "−∞"}`, say(end ? "may_end" : "no_end")], terms: [] };
    }
    const terms = this.lattice.ahead[k].map((j) => [t + 1, j]);
    const names = terms.map(([, j]) => `${this.name("log y", t + 1, j)} + ${this.name("β", t + 1, j)}`);
    const values = terms.map(([, j]) => sum([this.value("path", t + 1, j), this.value("beta", t + 1, j)]));
    const all = (list) => (list.length === 1 ? list[0] : `logsumexp(${list.join(", ")})`);
    return { lines: [`${beta} = ${all(names)}`, `= ${all(values)}`, `= ${number(this.value("beta", t, k))}`], terms };
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
    const derivative = this.name(logits ? "∂loss/∂x" : "∂loss/∂log y", t, k);
    if (this.total === -Infinity) return { lines: [`${derivative} = 0`, say("no_path_at_all")], terms: [] };
    const same = [...this.lattice.column.keys()].filter((j) => this.lattice.column[j] === c);
    const gammas = same.map((j) => this.value("gamma", t, j)).filter((p, i, all) => p > 0 || all.length === 1);
    const listed = gammas.length > 8 ? [...gammas.slice(0, 8).map(probability), "…"] : gammas.map(probability);
    const added = listed.length > 1 ? `(${listed.join(" + ")})` : listed[0] ?? "0";
    const gamma = `${same.length > 1 ? "Σ " : ""}${this.name("γ", t, k)}`;
    return {
      lines: [
        `${derivative} = ${logits ? `${this.name("y", t, k)} ` : ""}−${logits ? " " : ""}${gamma}`,
        `= ${logits ? `${probability(Math.exp(this.logProbs[t][c]))} − ` : "−"}${added}`,
        `= ${probability(this.gradient[t][c])}`,
      ],
      terms: same.map((j) => [t, j]),
    };
  }

  pathFormula(t, k, path) {
    if (!path || path[t] !== k) {
      const logProb = this.value("path", t, k);
      const own = `${this.name("log y", t, k)} = ${number(logProb)}`;
      return { lines: [own, `${this.name("y", t, k)} = ${probability(Math.exp(logProb))}`], terms: [] };
    }
    const terms = path.slice(0, t + 1).map((j, s) => [s, j]);
    const shown = terms.slice(-6);
    const cut = shown.length < terms.length ? "… + " : "";
    const numbers = sum(shown.map(([s, j]) => this.value("path", s, j)));
    const score = terms.reduce((total, [s, j]) => total + this.value("path", s, j), 0);
    return {
      lines: [
        `${say("path_so_far")} = ${cut}${shown.map(([s, j]) => this.name("log y", s, j)).join(" + ")}`,
        `= ${cut}${numbers}`,
        `= ${number(score)}`,
      ],
      terms: [], // the path is marked as it is
    };
  }
}

function labelOf(data, c) {
  const column = data.columns[c];
  return "rest" in column ? say("rest", { n: column.rest }) : visible(column.label);
}

/** A path's states as runs: [state, how many frames]. */
function runsOf(path) {
  const runs = [];
  for (const k of path) {
    if (runs.length && runs[runs.length - 1][0] === k) runs[runs.length - 1][1]++;
    else runs.push([k, 1]);
  }
  return runs;
}
