/* The beam as a tree: a column for each frame, the best prefix at the top, below a line what is dropped.
   Needs search.js and boxes.js. */

const TREE = { frames: 6, rows: 8, left: 30, top: 30 }; // the most frames, and prefixes of a beam; margins
Object.assign(TREE, { box: 110, node: 56, gap: 12, dropped: 27, pad: 8, fan: 42, joint: 16 });
const MEASURE = document.createElement("canvas").getContext("2d");

class Tree {
  constructor(owner) {
    this.owner = owner;
    this.grid = svg("svg", { role: "group", class: "tree" });
    this.scroll = hintAt(html("div", { class: "scroll tree-box", tabindex: -1 }, this.grid));
    this.node = this.scroll;
  }

  get search() {
    return this.owner.search;
  }

  /** The steps that are drawn: those around the current frame, and the one before the first of them. */
  window() {
    const T = this.search.T;
    const first = clamp(this.owner.frame - (TREE.frames >> 1), 0, Math.max(0, T - TREE.frames));
    return [first, Math.min(T, first + TREE.frames)];
  }

  x(step) {
    return TREE.left + (TREE.fan + this.label + TREE.joint + this.box) * (step - this.first);
  }

  /** The middle of a row of the beam; the row after the last is for those that there is no room for. */
  y(row) {
    return row < this.rows ? TREE.top + (TREE.node + TREE.gap) * row + TREE.node / 2 : this.cut - 14;
  }

  render() {
    [this.first, this.last] = this.window();
    const steps = this.search.steps.slice(this.first, this.last + 1);
    const widest = Math.max(...steps.map(({ beam }) => beam.length), 1);
    this.rows = Math.min(widest, TREE.rows);
    const depth = Math.max(...steps.slice(1).map(({ dropped, more }) => dropped.length + (more > 0)), 0);
    this.cut = TREE.top + (TREE.node + TREE.gap) * this.rows + (widest > this.rows ? 16 : 0);
    this.makeRoom(steps);
    this.nodes = new Map();
    const width = this.x(this.last) + this.box + 6;
    const height = this.cut + 14 + TREE.dropped * depth;
    this.scroll.style.setProperty("--width", width);
    this.grid.setAttribute("width", width);
    this.grid.setAttribute("height", height);
    this.grid.setAttribute("aria-label", say("tree"));
    const around = { x: this.x(this.owner.frame + 1) - 6, y: 0, width: this.box + 12, height, rx: 8 };
    const parts = [svg("rect", { class: "column", ...around }), this.drawRanks()];
    if (depth) parts.push(this.drawCut(width));
    for (let step = this.first; step <= this.last; step++) {
      if (step > this.first) parts.push(...this.drawWays(step));
      parts.push(...this.drawStep(step));
    }
    this.grid.replaceChildren(...parts);
    this.mark();
    this.keepFrameInSight();
  }

  /** Boxes and labels as wide as their text. */
  makeRoom(steps) {
    const { fontSize, fontFamily } = getComputedStyle(this.grid);
    MEASURE.font = `650 ${fontSize} ${fontFamily}`;
    const width = (text) => MEASURE.measureText(text).width;
    const boxes = steps.flatMap(({ beam, dropped }) => [...beam.slice(0, this.rows), ...dropped]);
    const pairs = (prefix) => [
      [this.said(prefix), short(prefix.ctc)],
      [this.ending(prefix, "blank"), this.ending(prefix, "token")],
    ];
    const lines = boxes.flatMap(pairs).map((pair) => width(pair.join("   ")));
    this.box = 2 * TREE.pad + Math.max(TREE.box - 2 * TREE.pad, ...lines);
    const ways = steps.flatMap(({ beam }) => beam.slice(0, this.rows)).flatMap((prefix) => prefix.ways);
    this.label = 12 + Math.max(0, ...ways.map((way) => width(this.emitted(way))));
  }

  said(prefix) {
    return this.search.tail(prefix.tokens, 10);
  }

  /** How much of a prefix ends in the blank, or in its last token; nothing where that is 0. */
  ending({ tokens, blank, token }, part) {
    const { data } = this.search;
    const [c, score] = part === "blank" ? [data.blank, blank] : [tokens[tokens.length - 1], token];
    return score > -Infinity ? `${shortLabel(data, c)} ${short(score)}` : "";
  }

  emitted(way) {
    return `${way.grows ? "+ " : ""}${shortLabel(this.search.data, way.token)} ${short(way.score)}`;
  }

  text(x, y, words, kind = "", anchor = "start") {
    return svg("text", { x, y, class: kind, "text-anchor": anchor }, words);
  }

  drawRanks() {
    const ranks = svg("g", { class: "ranks" });
    for (let row = 0; row < this.rows; row++) {
      ranks.append(this.text(TREE.left - 10, this.y(row), row + 1, "quiet", "end"));
    }
    return ranks;
  }

  drawCut(width) {
    const line = svg("path", { class: "cut", d: `M0 ${this.cut}H${width}` });
    const words = say("search.cut", { beam: this.search.beamWidth });
    return svg("g", {}, line, this.text(4, this.cut + 20, words, "quiet"));
  }

  drawStep(step) {
    const { beam, dropped, more, lost } = this.search.steps[step];
    const x = this.x(step);
    const head = step ? `t${lowered(step)}` : say("search.start");
    const current = step === this.owner.frame + 1 ? "current" : "quiet";
    const drawn = [this.text(x + this.box / 2, 14, head, current, "middle")];
    beam.slice(0, this.rows).forEach((prefix, row) => drawn.push(this.drawPrefix(step, row, prefix)));
    const hidden = beam.length - this.rows;
    if (hidden > 0) drawn.push(this.text(x, this.cut - 14, say("search.in_beam", { more: hidden }), "quiet"));
    if (step === this.first) return drawn;
    dropped.forEach((prefix, i) => drawn.push(this.drawDropped(step, i, prefix)));
    const y = this.cut + 14 + TREE.dropped * (dropped.length + 0.5);
    if (more) drawn.push(this.text(x + this.box, y, say("search.more", { more, lost: short(lost) }), "quiet", "end"));
    return drawn;
  }

  /** A prefix of the beam: its probability, and how much of it ends in the blank and in its last token. */
  drawPrefix(step, row, prefix) {
    const right = this.box - TREE.pad;
    const bar = this.box - 2 * TREE.pad;
    const blank = bar * Math.exp(prefix.blank - prefix.ctc);
    return this.place(step, prefix, this.x(step), this.y(row) - TREE.node / 2, `prefix ${this.answer(step, prefix)}`, [
      svg("rect", { class: "box", width: this.box, height: TREE.node, rx: 6 }),
      this.text(TREE.pad, 15, this.said(prefix), "said"),
      this.text(right, 15, short(prefix.ctc), "", "end"),
      svg("rect", { class: "blank", x: TREE.pad, y: 28, width: blank, height: 4 }),
      svg("rect", { class: "token", x: TREE.pad + blank, y: 28, width: bar - blank, height: 4 }),
      this.text(TREE.pad, 45, this.ending(prefix, "blank"), "blank"),
      this.text(right, 45, this.ending(prefix, "token"), "token", "end"),
    ]);
  }

  drawDropped(step, i, prefix) {
    const y = this.cut + 14 + TREE.dropped * i + 2;
    return this.place(step, prefix, this.x(step), y, "prefix dropped", [
      svg("rect", { class: "box", width: this.box, height: TREE.dropped - 5, rx: 6 }),
      this.text(-8, (TREE.dropped - 5) / 2, prefix.rank, "quiet", "end"),
      this.text(TREE.pad, (TREE.dropped - 5) / 2, this.said(prefix), "quiet"),
      this.text(this.box - TREE.pad, (TREE.dropped - 5) / 2, short(prefix.ctc), "quiet", "end"),
    ]);
  }

  /** A node that can be looked at by pointer and by keyboard. */
  place(step, prefix, x, y, kind, children) {
    const values = { t: step, text: this.search.text(prefix.tokens), rank: prefix.rank, p: exponential(prefix.ctc) };
    const name = say(kind.includes("dropped") ? "dropped_prefix" : step ? "prefix" : "empty_prefix", values);
    const at = { class: kind, role: "button", tabindex: -1, "aria-label": name, transform: `translate(${x} ${y})` };
    const node = svg("g", { ...at, "data-step": step, "data-rank": prefix.rank }, ...children);
    this.nodes.set(`${step},${prefix.rank}`, node);
    return node;
  }

  /** After the last frame: whether a prefix is the search's answer, or the best path's. */
  answer(step, { tokens }) {
    if (step < this.search.T) return "";
    const same = (answer) => answer && answer.tokens.join() === tokens.join();
    return same(this.search.found[0]) ? "finds" : same(this.search.bestPath) ? "reads" : "";
  }

  /** The ways into a frame's prefixes: a line for each, with its class and its probability; they meet in the prefix. */
  drawWays(step) {
    const { beam, dropped } = this.search.steps[step];
    const right = this.x(step) - TREE.joint;
    const left = right - this.label;
    const joint = this.x(step) - 8;
    const begin = this.x(step - 1) + this.box;
    const drawn = [];
    const line = (way, to, kind, width) => {
      const from = this.y(Math.min(way.source.rank - 1, this.rows));
      drawn.push(svg("path", { class: kind, "stroke-width": width, d: `M${begin} ${from}h5L${left} ${to}` }));
    };
    dropped.forEach(({ ways }, i) => {
      const y = this.cut + 14 + TREE.dropped * (i + 0.5) - 0.5;
      for (const way of ways) line(way, y, "way dropped", 1);
      drawn.push(svg("path", { class: "way dropped", d: `M${left} ${y}H${joint - 20}` }));
    });
    beam.slice(0, this.rows).forEach(({ ways, ctc }, row) => {
      ways.forEach((way, i) => {
        const to = this.y(row) + 17 * (i - (ways.length - 1) / 2);
        const kind = `way ${way.grows ? "grow" : way.token === this.search.data.blank ? "blank" : "repeat"}`;
        const width = (1 + 2 * Math.exp(way.score - ctc)).toFixed(2);
        const end = `M${right - 1} ${to}L${joint} ${this.y(row)}`;
        line(way, to, kind, width);
        drawn.push(this.text((left + right) / 2, to, this.emitted(way), kind, "middle"));
        drawn.push(svg("path", { class: kind, "stroke-width": width, d: end }));
      });
      drawn.push(svg("path", { class: "way", "stroke-width": 2, d: `M${joint} ${this.y(row)}H${this.x(step)}` }));
      if (ways.length > 1) drawn.push(svg("circle", { class: "joint", cx: joint, cy: this.y(row), r: 4 }));
    });
    return drawn;
  }

  /** Marks the prefix whose formula is shown: it is where the Tab key leads. */
  mark() {
    const { step, rank } = this.owner.focus;
    const all = [...this.nodes.values()];
    const here = this.nodes.get(`${step},${rank}`) ?? all[0];
    for (const node of all) {
      node.classList.toggle("looked-at", node === here);
      node.setAttribute("tabindex", node === here ? 0 : -1);
    }
  }

  /** Scrolls the tree inside its box, never the page. */
  keepFrameInSight() {
    const left = this.x(this.owner.frame);
    const right = this.x(this.owner.frame + 1) + this.box + 6;
    const { scrollLeft, clientWidth } = this.scroll;
    if (right > scrollLeft + clientWidth) this.scroll.scrollLeft = right - clientWidth;
    else if (left < scrollLeft) this.scroll.scrollLeft = left;
  }
}

/** exp(x) where there is little room. */
function short(x) {
  if (x >= Math.log(0.001)) return number(Math.exp(x), 3);
  if (x === -Infinity) return "0";
  let exponent = Math.floor(x / Math.LN10);
  let mantissa = (10 ** (x / Math.LN10 - exponent)).toFixed(1);
  if (mantissa === "10.0") [mantissa, exponent] = ["1.0", exponent + 1];
  return `${mantissa}×10${raised(exponent)}`;
}

function shortLabel(data, c) {
  const label = labelOf(data, c);
  return [...label].length > 6 ? `${[...label].slice(0, 5).join("")}…` : label;
}
