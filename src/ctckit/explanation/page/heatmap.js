/* The whole of a large lattice, as one picture. Needs scene.js. */

class HeatMap {
  constructor(scene) {
    this.scene = scene;
    this.canvas = html("canvas", { role: "img" });
    this.faded = html("div", { class: "faded" });
    this.cursor = html("div", { class: "cursor" });
    this.frame = html("div", { class: "map-frame" }, this.canvas, this.faded, this.cursor);
    this.states = html("div", { class: "map-states", "aria-hidden": "true" });
    const times = html("div", { class: "map-times", "aria-hidden": "true" });
    for (const part of [0, 0.25, 0.5, 0.75, 1]) {
      const t = Math.round(part * (scene.T - 1));
      times.append(html("span", { style: `left:${(100 * (t + 0.5)) / scene.T}%` }, `t${lowered(t + 1)}`));
    }
    this.node = html("div", { class: "map" }, this.states, this.frame, times);
  }

  relabel() {
    this.canvas.setAttribute("aria-label", say("map"));
  }

  /** Paints all cells only if their numbers have changed: stepping through the frames must be quick. */
  render() {
    const now = [this.scene.computation, this.scene.view, this.scene.followed];
    if (!this.painted || now.some((value, i) => value !== this.painted[i])) this.paint();
    this.painted = now;
    this.renderAxes();
  }

  paint() {
    const { T, K, view, computation } = this.scene;
    const scale = window.devicePixelRatio || 1;
    const width = Math.min(T, Math.round(Math.max(300, this.frame.clientWidth) * scale));
    const height = Math.min(K, Math.round(260 * scale));
    const context = Object.assign(this.canvas, { width, height }).getContext("2d");
    const image = context.createImageData(width, height);
    const style = getComputedStyle(this.node);
    const rgb = (name) => {
      context.fillStyle = style.getPropertyValue(name).trim();
      return [1, 3, 5].map((i) => parseInt(context.fillStyle.slice(i, i + 2), 16));
    };
    const path = view === "path" ? this.scene.followed?.states : undefined;
    const veil = path ? 0.5 : 1; // so that the path stands out
    const colours = { "--accent": rgb("--accent"), "--red": rgb("--red"), "--blue": rgb("--blue") };
    for (let t = 0; t < T; t++) {
      for (let k = 0; k < K; k++) {
        // Of the cells that share a pixel the strongest shows: CTC's peaks are one frame wide.
        const at = 4 * (Math.floor((k * height) / K) * width + Math.floor((t * width) / T));
        const strength = Math.round(255 * (path && path[t] === k ? 1 : veil * this.scene.intensity(t, k)));
        if (strength <= image.data[at + 3]) continue;
        image.data.set(colours[this.scene.colour(computation.value(view, t, k))], at);
        image.data[at + 3] = strength;
      }
    }
    context.putImageData(image, 0, 0);
  }

  renderAxes() {
    const { T, K, frame, view, lattice } = this.scene;
    const [from, to] = { alpha: [frame + 1, T], path: [frame + 1, T], beta: [0, frame] }[view] ?? [0, 0];
    this.faded.style.left = `${(100 * from) / T}%`;
    this.faded.style.width = `${(100 * (to - from)) / T}%`;
    this.cursor.style.left = `${(100 * (frame + 0.5)) / T}%`;
    const tokens = [...lattice.column.keys()].filter((k) => lattice.isToken(k));
    const ticks = tokens.filter((_, i) => i % Math.ceil(tokens.length / 9) === 0);
    const tick = (k) => html("span", { style: `top:${(100 * (k + 0.5)) / K}%` }, this.scene.symbol(k));
    this.states.replaceChildren(...ticks.map(tick));
  }

  placeOf(event) {
    const box = this.canvas.getBoundingClientRect();
    const place = (offset, size, count) => clamp(Math.floor((offset / size) * count), 0, count - 1);
    return [
      place(event.clientX - box.left, box.width, this.scene.T),
      place(event.clientY - box.top, box.height, this.scene.K),
    ];
  }
}
