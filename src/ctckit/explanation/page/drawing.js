/* The lattice, cell by cell: all of it, or a window around the current cell. Needs scene.js and boxes.js. */

const WINDOW = { frames: 10, states: 15 };
const CELL = { width: 62, height: 30, stepX: 92, stepY: 46, left: 46, right: 34, top: 34, bottom: 8 };
const WIDEST_STEP = 140; // between columns, where there is room

class Drawing {
  constructor(scene) {
    this.scene = scene;
    this.names = html("div", { class: "names", "aria-hidden": "true" });
    this.grid = svg("svg", { role: "grid", "aria-rowcount": scene.K, "aria-colcount": scene.T });
    this.scroll = hintAt(html("div", { class: "scroll", tabindex: -1 }, this.grid));
    this.node = html("div", { class: "lattice" }, this.names, this.scroll);
  }

  /** All names change with the language. */
  relabel() {
    this.grid.setAttribute("aria-label", say("lattice"));
    this.drawn = null;
  }

  render() {
    this.draw();
    this.renderCells();
  }

  /** Calls back with a cell's frame and state when something happens to it. The box listens: a picture that listens to
      the focus would be a tab stop in Chromium. */
  on(kind, act) {
    this.scroll.addEventListener(kind, (event) => {
      const cell = event.target.closest(".cell");
      if (cell) act(Number(cell.dataset.t), Number(cell.dataset.k), event);
    });
  }

  focus(t, k) {
    this.cells.get(`${t},${k}`).node.focus({ preventScroll: true });
  }

  /** Marks the cell whose formula is shown, and those whose numbers it uses. */
  mark(t, k, terms) {
    for (const cell of this.grid.querySelectorAll(".term, .looked-at")) cell.classList.remove("term", "looked-at");
    for (const [s, j] of terms) this.cells.get(`${s},${j}`)?.node.classList.add("term");
    this.cells.get(`${t},${k}`)?.node.classList.add("looked-at");
  }

  // Drawing: when the window moves.

  /** The cells that are drawn one by one: all, or those around the current one. */
  window() {
    const [t, k, old] = [this.scene.frame, this.scene.home, this.drawn];
    if (!this.scene.large) return old ?? { t0: 0, t1: this.scene.T, k0: 0, k1: this.scene.K };
    const around = (at, size, count) => clamp(at - (size >> 1), 0, Math.max(0, count - size));
    // It stays as long as a neighbour on either side of the current cell is drawn too, or there is none.
    const inside = (at, from, to, count) => Math.max(0, at - 1) >= from && Math.min(count - 1, at + 1) < to;
    const keep = old && inside(t, old.t0, old.t1, this.scene.T) && inside(k, old.k0, old.k1, this.scene.K);
    if (keep) return old;
    const t0 = around(t, WINDOW.frames, this.scene.T);
    const k0 = around(k, WINDOW.states, this.scene.K);
    return { t0, t1: Math.min(this.scene.T, t0 + WINDOW.frames), k0, k1: Math.min(this.scene.K, k0 + WINDOW.states) };
  }

  x(t) {
    return CELL.left + (t - this.drawn.t0) * this.stepX;
  }

  y(k) {
    return CELL.top + (k - this.drawn.k0) * CELL.stepY + CELL.stepY / 2;
  }

  /** Draws the lattice's window again if it has moved. */
  draw() {
    const seen = this.window();
    if (seen === this.drawn) return;
    this.drawn = seen;
    const { t0, t1, k0, k1 } = seen;
    this.drawNames(k0, k1);
    const steps = t1 - t0 - 1;
    const ends = CELL.left + CELL.width + CELL.right;
    this.stepX = clamp(Math.floor((this.scroll.clientWidth - ends) / Math.max(1, steps)), CELL.stepX, WIDEST_STEP);
    const width = ends + steps * this.stepX;
    const height = CELL.top + (k1 - k0) * CELL.stepY + CELL.bottom;
    this.node.style.setProperty("--width", width + this.names.offsetWidth);
    this.grid.setAttribute("width", width);
    this.grid.setAttribute("height", height);
    this.column = svg("rect", { class: "column", y: 0, width: CELL.width + 16, height, rx: 8 });
    this.arcs = svg("g", { class: "arcs" });
    this.trail = svg("g", { class: "trail" });
    this.heads = svg("g", { class: "heads" });
    const layers = [this.column, this.arcs, this.drawEnds(), this.trail, this.heads];
    const scenery = svg("g", { "aria-hidden": "true" }, ...layers);
    this.arcsOfFrame = new Map();
    this.headOfFrame = new Map();
    for (let t = t0; t < t1; t++) {
      if (t > t0) this.arcsOfFrame.set(t, this.arcs.appendChild(svg("path", { d: this.arcsInto(t) })));
      const head = svg("text", { x: this.x(t) + CELL.width / 2, y: 20 }, `t${lowered(t + 1)}`);
      this.headOfFrame.set(t, this.heads.appendChild(head));
    }
    this.cells = new Map();
    const rows = [];
    for (let k = k0; k < k1; k++) rows.push(this.drawRow(k, t0, t1));
    this.grid.replaceChildren(scenery, ...rows);
  }

  drawNames(k0, k1) {
    const names = [];
    const { weights } = this.scene;
    for (let k = k0; k < k1; k++) {
      const label = this.scene.symbol(k);
      const kind = this.scene.lattice.isToken(k) ? "token" : "blank";
      const beside = weights.map(([, values]) => html("small", {}, values[k] ? signed(values[k]) : ""));
      names.push(html("span", { class: kind, title: label }, ...beside, html("bdi", {}, label)));
    }
    const heads = weights.map(([key]) => html("small", {}, say(`graph.${key}`)));
    if (heads.length) names.push(html("div", { class: "heads" }, ...heads));
    this.names.classList.toggle("weighted", heads.length > 0);
    this.names.style.paddingTop = `${CELL.top}px`;
    this.names.replaceChildren(...names);
  }

  drawRow(k, t0, t1) {
    const row = svg("g", { role: "row", "aria-rowindex": k + 1 });
    for (let t = t0; t < t1; t++) {
      const at = { class: "cell", role: "gridcell", "aria-colindex": t + 1, "data-t": t, "data-k": k, tabindex: -1 };
      const node = svg("g", { ...at, transform: `translate(${this.x(t)} ${this.y(k) - CELL.height / 2})` });
      const box = (kind) => svg("rect", { class: kind, width: CELL.width, height: CELL.height, rx: 8 });
      const fill = box("fill");
      const text = svg("text", { x: CELL.width / 2, y: CELL.height / 2 });
      const dot = svg("circle", { class: "dot", cx: CELL.width / 2, cy: CELL.height / 2, r: 3 });
      node.append(...(this.scene.isShown(t, k) ? [box("box"), fill, text] : [box("target"), dot]));
      row.append(node);
      this.cells.set(`${t},${k}`, { t, k, node, fill, text });
    }
    return row;
  }

  /** All arcs into a frame as one outline, arrowheads included: one element per frame, not one per arc. */
  arcsInto(t) {
    const { k0, k1 } = this.drawn;
    const parts = [];
    for (let k = k0; k < k1; k++) {
      if (!this.scene.isShown(t, k)) continue;
      for (const { from } of this.scene.lattice.back[k]) {
        if (from >= k0 && from < k1 && this.scene.isShown(t - 1, from)) {
          parts.push(arrow(this.x(t - 1) + CELL.width + 1, this.y(from), this.x(t) - 2, this.y(k)));
        }
      }
    }
    return parts.join("");
  }

  /** Where paths may begin and end. */
  drawEnds() {
    const { t0, t1, k0, k1 } = this.drawn;
    const ends = svg("g", { class: "ends" });
    const drawn = (k, t) => k >= k0 && k < k1 && this.scene.isShown(t, k);
    if (t0 === 0) {
      const starts = this.scene.lattice.starts.filter((k) => drawn(k, 0));
      const y = this.y(k0) - CELL.stepY / 2 + 2;
      if (starts.length) ends.append(svg("circle", { class: "start", cx: 10, cy: y, r: 5 }));
      for (const k of starts) {
        ends.append(svg("path", { class: "start", d: arrow(13, y + 4, this.x(0) - 2, this.y(k)) }));
      }
    }
    for (const k of t1 === this.scene.T ? this.scene.lattice.ends : []) {
      if (k < k0 || k >= k1) continue;
      const at = { cx: this.x(this.scene.T - 1) + CELL.width + 16, cy: this.y(k) };
      ends.append(svg("circle", { class: "end ring", ...at, r: 6 }), svg("circle", { class: "end", ...at, r: 3 }));
    }
    return ends;
  }

  // Showing: when numbers or the current frame change.

  renderCells() {
    const path = this.scene.followed?.states;
    this.column.setAttribute("x", this.x(this.scene.frame) - 8);
    for (const [t, node] of this.arcsOfFrame) {
      node.classList.toggle("later", this.scene.isLater(t) || this.scene.isLater(t - 1));
    }
    for (const [t, node] of this.headOfFrame) node.classList.toggle("current", t === this.scene.frame);
    for (const { t, k, node, fill, text } of this.cells.values()) {
      const value = this.scene.computation.value(this.scene.view, t, k);
      fill.style.fill = `var(${this.scene.colour(value)})`;
      fill.setAttribute("fill-opacity", (0.5 * this.scene.intensity(t, k)).toFixed(3));
      text.textContent = this.cellText(value);
      node.classList.toggle("later", this.scene.isLater(t));
      node.classList.toggle("on-path", path !== undefined && path[t] === k);
      node.setAttribute("tabindex", t === this.scene.frame && k === this.scene.home ? 0 : -1);
      node.setAttribute("aria-label", this.cellName(t, k, value));
    }
    this.renderTrail(path);
    this.keepFrameInSight();
  }

  cellText(value) {
    const size = Math.abs(value);
    if (!Number.isFinite(value)) return number(value);
    if (this.scene.view === "gamma" || this.scene.view === "gradient") return size < 0.0005 ? "0" : number(value, 3);
    return number(value, size < 100 ? 2 : size < 10000 ? 1 : 0);
  }

  cellName(t, k, value) {
    const label = this.scene.symbol(k);
    const values = { t: t + 1, k: k + 1, K: this.scene.K, label, view: say(this.scene.view), value: number(value) };
    return say(this.scene.isShown(t, k) ? "cell" : "cell_unvisited", values);
  }

  renderTrail(path) {
    const { t0, t1, k0, k1 } = this.drawn;
    this.trail.replaceChildren();
    if (!path) return;
    for (let t = Math.max(1, t0); t < t1; t++) {
      const [from, to] = [path[t - 1], path[t]];
      if (to === undefined || t === t0 || Math.min(from, to) < k0 || Math.max(from, to) >= k1) continue;
      const [x0, x1] = [this.x(t - 1) + CELL.width + 1, this.x(t) - 3];
      const later = this.scene.view === "path" && t > this.scene.frame ? "later" : "";
      this.trail.append(svg("path", { d: arrow(x0, this.y(from), x1, this.y(to)), class: later }));
      const arcs = this.scene.lattice.arcsBetween(from, to);
      const middle = { x: (x0 + x1) / 2, y: (this.y(from) + this.y(to)) / 2 };
      const own = arcs.length === 1 && arcs[0].own; // of several, the path does not say which it takes
      if (own) this.trail.append(svg("text", { ...middle, class: later }, signed(own)));
    }
  }

  /** Scrolls the lattice inside its box, never the page. */
  keepFrameInSight() {
    const left = this.x(this.scene.frame) - CELL.left;
    const right = this.x(this.scene.frame) + CELL.width + CELL.right;
    const { scrollLeft, clientWidth } = this.scroll;
    if (left < scrollLeft) this.scroll.scrollLeft = left;
    else if (right > scrollLeft + clientWidth) this.scroll.scrollLeft = right - clientWidth;
  }
}

function arrow(x0, y0, x1, y1) {
  const turn = Math.atan2(y1 - y0, x1 - x0);
  const along = (trig, from, side) => (from - 6 * trig(turn + side)).toFixed(1);
  const barb = (side) => `${along(Math.cos, x1, side)} ${along(Math.sin, y1, side)}`;
  return `M${x0} ${y0}L${x1} ${y1}M${barb(0.45)}L${x1} ${y1}L${barb(-0.45)}`;
}
