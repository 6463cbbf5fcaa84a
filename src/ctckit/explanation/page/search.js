/* One search for a text, frame by frame, and what best path decoding reads instead. Needs computation.js.
   It is the textbook's, as kernels/search/reference.py: every token is tried on every prefix of the beam. */

const DROPPED = 4; // shown of those that a frame drops from the beam
const FOUND = 5; // texts that are listed

class Search {
  constructor(data, logProbs, beamWidth) {
    Object.assign(this, { data, logProbs, beamWidth });
    this.T = logProbs.length;
    this.classes = [...data.columns.keys()].filter((c) => !("rest" in data.columns[c]));
    const all = this.classes.filter((c) => c !== data.blank);
    this.steps = [this.ranked([Search.root])];
    for (const [t, row] of logProbs.entries()) {
      this.steps.push(this.ranked(this.after(this.steps[t].going, row, () => all)));
    }
    const last = this.steps[this.T].beam.slice(0, FOUND);
    this.found = last.map((prefix) => ({ ...prefix, all: this.total(prefix.tokens) }));
    this.bestPath = this.readBestPath();
  }

  static get root() {
    return { tokens: [], key: "", blank: 0, token: -Infinity, ctc: 0, ways: [] };
  }

  /** The prefixes that have a path after a frame: those of the beam, then those with one of `tokensAfter` more. */
  after(beam, row, tokensAfter) {
    const found = new Map();
    const at = (tokens, key) => {
      if (!found.has(key)) found.set(key, { tokens, key, ways: [] });
      return found.get(key).ways;
    };
    const { blank } = this.data;
    for (const { tokens, key } of beam) at(tokens, key);
    for (const source of beam) {
      const last = source.tokens[source.tokens.length - 1];
      const way = (token, grows, part) => ({ source, token, grows, part, score: source[part] + row[token] });
      const stays = at(source.tokens, source.key);
      stays.push(way(blank, false, "ctc"));
      if (last !== undefined) stays.push(way(last, false, "token"));
      for (const token of tokensAfter(source)) {
        // The same token again needs a blank between.
        const grown = way(token, true, token === last ? "blank" : "ctc");
        if (grown.score > -Infinity) at([...source.tokens, token], `${source.key} ${token}`).push(grown);
      }
    }
    return [...found.values()].map((prefix) => this.summed(prefix)).filter(({ ctc }) => ctc > -Infinity);
  }

  summed(prefix) {
    const ways = prefix.ways.filter(({ score }) => score > -Infinity);
    const of = (part) => logsumexp(this.waysOf(ways, part).map(({ score }) => score));
    const [blank, token] = [of("blank"), of("token")];
    return { ...prefix, ways, blank, token, ctc: logsumexp([blank, token]) };
  }

  /** The ways that end in the blank, or in a token. */
  waysOf(ways, part) {
    return ways.filter(({ token }) => (token === this.data.blank) === (part === "blank"));
  }

  /** A frame's prefixes by rank, of equal ones the earlier first: those that are kept, and the best of the others. */
  ranked(prefixes) {
    const order = [...prefixes].sort((a, b) => b.ctc - a.ctc);
    order.forEach((prefix, i) => (prefix.rank = i + 1));
    for (const { ways } of order) ways.sort((a, b) => a.source.rank - b.source.rank);
    const out = order.slice(this.beamWidth);
    return {
      beam: order.slice(0, this.beamWidth),
      going: prefixes.filter(({ rank }) => rank <= this.beamWidth), // in their own order, which decides ties
      dropped: out.slice(0, DROPPED),
      more: Math.max(0, out.length - DROPPED),
      lost: logsumexp(out.map(({ ctc }) => ctc)),
    };
  }

  /** All paths of a text: the same steps over its own prefixes, none of which is dropped. */
  total(text) {
    let beam = [Search.root];
    const next = ({ tokens }) => text.slice(tokens.length, tokens.length + 1);
    for (const row of this.logProbs) beam = this.after(beam, row, next);
    return beam.find(({ tokens }) => tokens.length === text.length)?.ctc ?? -Infinity;
  }

  readBestPath() {
    const best = (row) => this.classes.reduce((most, c) => (row[c] > row[most] ? c : most), this.classes[0]);
    const classes = this.logProbs.map(best);
    const tokens = classes.filter((c, t) => c !== this.data.blank && c !== classes[t - 1]);
    const score = classes.reduce((sum, c, t) => sum + this.logProbs[t][c], 0);
    return { classes, tokens, score, all: this.total(tokens) };
  }

  /** Which sentence compares the two answers. */
  get verdict() {
    const [first] = this.found;
    if (!first) return "none";
    if (first.tokens.join() === this.bestPath.tokens.join()) return "same";
    return first.all > this.bestPath.all ? "better" : "worse";
  }

  // Words and formulas.

  text(tokens) {
    return joined(this.data, tokens, this.data.separated ? " " : "") || "∅";
  }

  /** A text, or its end if it is long. */
  tail(tokens, limit = 12) {
    let shown = tokens;
    while (shown.length > 1 && this.text(shown).length > limit) shown = shown.slice(1);
    return (shown.length < tokens.length ? "…" : "") + this.text(shown);
  }

  /** A text, or its beginning if it is very long. */
  clipped(tokens) {
    const letters = [...this.text(tokens)];
    return letters.length > 60 ? `${letters.slice(0, 59).join("")}…` : letters.join("");
  }

  /** How a prefix's probability is computed: a line for each of its two parts, and their sum. */
  formula(t, prefix) {
    if (!t) return [`p${lowered(0)}(∅) = 1`];
    const name = (tokens, part, s) => `p${lowered(s)}(${this.tail(tokens)}${this.ending(tokens, part)})`;
    const line = (part) => {
      const ways = this.waysOf(prefix.ways, part);
      const emission = (token) => `y${lowered(t)}(${labelOf(this.data, token)})`;
      const y = (token) => exponential(this.logProbs[t - 1][token]);
      const terms = ways.map((way) => `${name(way.source.tokens, way.part, t - 1)} · ${emission(way.token)}`);
      const numbers = ways.map((way) => `${exponential(way.source[way.part])} · ${y(way.token)}`);
      const sides = [name(prefix.tokens, part, t), terms.join(" + "), numbers.join(" + "), exponential(prefix[part])];
      return sides.join(" = ");
    };
    const parts = ["blank", "token"].filter((part) => prefix[part] > -Infinity);
    const sum = parts.map((part) => exponential(prefix[part])).join(" + ");
    const total = `${name(prefix.tokens, "ctc", t)} = ${sum}${parts.length > 1 ? ` = ${exponential(prefix.ctc)}` : ""}`;
    return [...parts.map(line), total];
  }

  ending(tokens, part) {
    if (part === "ctc") return "";
    return `·${labelOf(this.data, part === "blank" ? this.data.blank : tokens[tokens.length - 1])}`;
  }
}
