/* A recording, or the image of a line: its picture, what the network says, and its words. A click on a word plays it, or
   shows where it is in the image. Needs words.js and boxes.js. */

const LEAST = { sound: 130, print: 0.9 }; // pixels of the screen for a second, or for a column of the image
const MOST_ENLARGED = 2; // an image
const ROW = [10, 13, 300]; // pixels of a class's row of probabilities: the least, the most, and of all rows together
const LANES = { tokens: 20, words: 23 }; // pixels of a line of texts below the spans
const BAR = 9; // pixels of a span
const FADE = 0.004; // seconds, so that a cut does not click

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

/** Sound, of which spans are played: one at a time on the whole page. */
class Player {
  static context;
  static current;

  constructor(flac) {
    this.flac = flac;
  }

  /** Plays a span. `step` gets the time at each repaint; `done` is called at the end, or when something stops it. */
  async play(begin, end, step, done) {
    Player.stop();
    const run = (Player.current = { done });
    const context = (Player.context ??= new AudioContext());
    context.resume(); // before anything is waited for: browsers start sound only in a click
    const buffer = await (this.decoded ??= context.decodeAudioData(bytesOf(this.flac).buffer));
    if (Player.current !== run) return;
    const at = context.currentTime + 0.02;
    run.source = this.connected(context, buffer, at, at + end - begin);
    run.source.addEventListener("ended", () => Player.current === run && Player.stop());
    run.source.start(at, begin, end - begin);
    const repaint = () => {
      if (Player.current !== run) return;
      step(clamp(begin + context.currentTime - at, begin, end));
      requestAnimationFrame(repaint);
    };
    repaint();
  }

  connected(context, buffer, from, to) {
    const source = Object.assign(context.createBufferSource(), { buffer });
    const volume = context.createGain();
    volume.gain.setValueAtTime(0, from);
    volume.gain.linearRampToValueAtTime(1, from + FADE);
    volume.gain.setValueAtTime(1, Math.max(from + FADE, to - FADE));
    volume.gain.linearRampToValueAtTime(0, to);
    source.connect(volume).connect(context.destination);
    return source;
  }

  static stop() {
    const run = Player.current;
    Player.current = undefined;
    run?.source?.stop();
    run?.done();
  }
}

/** A colour of the page, light or dark, as red, green and blue. */
function rgbOf(context, name) {
  context.fillStyle = getComputedStyle(document.body).getPropertyValue(name).trim();
  return [1, 3, 5].map((i) => parseInt(context.fillStyle.slice(i, i + 2), 16));
}

/** A matrix of bytes, painted in the page's colours, one or another for the last row: the stronger, the less transparent. */
class Painting {
  constructor(picture, colour, last = colour) {
    this.picture = picture;
    this.colours = [colour, last];
    this.values = bytesOf(picture.values);
    this.node = html("canvas", { "aria-hidden": "true" });
  }

  paint() {
    const { rows: height, columns: width } = this.picture;
    const context = Object.assign(this.node, { width, height }).getContext("2d");
    const [rgb, last] = this.colours.map((name) => rgbOf(context, name));
    const image = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      image.data.set(i < width * (height - 1) ? rgb : last, 4 * i);
      image.data[4 * i + 3] = this.values[i];
    }
    context.putImageData(image, 0, 0);
  }

  place(length) {
    const { begin, end } = this.picture;
    this.node.style.left = `${(100 * begin) / length}%`;
    this.node.style.width = `${(100 * (end - begin)) / length}%`;
  }
}

/** The loudness of a recording, as a line that is thick where it is loud. */
class Waveform {
  constructor({ peaks, seconds }) {
    this.peaks = bytesOf(peaks);
    this.seconds = seconds;
    this.node = html("canvas", { class: "waveform", "aria-hidden": "true" });
  }

  paint() {
    const [width, height] = [this.peaks.length, 64];
    const context = Object.assign(this.node, { width, height }).getContext("2d");
    context.fillStyle = `rgb(${rgbOf(context, "--muted")})`;
    this.peaks.forEach((peak, x) => {
      const tall = Math.max(1, (peak / 255) * height);
      context.fillRect(x, (height - tall) / 2, 1, tall);
    });
  }

  place(length) {
    this.node.style.width = `${(100 * this.seconds) / length}%`;
  }
}

/** A row of spans with their texts: words, or tokens. Each is a button; together they are one tab stop. */
class Spans {
  constructor(recording, name, spans) {
    Object.assign(this, { recording, name, spans });
    this.node = rove(html("div", { class: `spans ${name}`, role: "group" }));
    recording.wordings.add(this.node, () => say(name), "aria-label");
    this.buttons = spans.map((span, i) => this.button(span, i));
    this.node.append(...this.buttons);
  }

  button([text, begin, end, confidence], i) {
    const bar = html("span", { class: "bar" });
    const button = html("button", { type: "button", tabindex: i ? -1 : 0 }, bar, isolated(standIn(text)));
    button.classList.toggle("unsure", confidence !== null && confidence < this.recording.data.unsure);
    button.style.setProperty("--sure", confidence ?? 0);
    button.addEventListener("click", () => this.recording.choose(this, i));
    return this.recording.wordings.add(button, () => this.recording.described(this.spans[i]), "aria-label");
  }

  /** Puts each text below the middle of its span, in the first line that has room. */
  layOut(scale, width) {
    const lines = [];
    this.widths ??= this.buttons.map((button) => Math.ceil(textWidth(button)) + 6);
    this.spans.forEach(([, begin, end], i) => {
      const [left, long] = [begin * scale, Math.max(2, (end - begin) * scale)];
      const wide = Math.max(this.widths[i], long);
      const x = clamp(left + long / 2 - wide / 2, 0, Math.max(0, width - wide));
      const taken = lines.findIndex((used) => used <= x + 0.5);
      const line = taken < 0 ? lines.length : taken;
      lines[line] = x + wide;
      const { style } = this.buttons[i];
      Object.assign(style, { left: `${x}px`, width: `${wide}px`, top: `${line * LANES[this.name]}px` });
      style.setProperty("--left", `${left - x}px`);
      style.setProperty("--wide", `${long}px`);
      style.setProperty("--up", `${-line * LANES[this.name]}px`);
    });
    this.height = BAR + 2 + Math.max(1, lines.length) * LANES[this.name];
    this.node.style.height = `${this.height}px`;
  }

  /** Marks the span at a place of the axis. */
  mark(place) {
    const at = place === null ? -1 : this.spans.findIndex(([, begin, end]) => begin <= place && place < end);
    if (at === this.marked) return;
    this.buttons[this.marked]?.classList.remove("now");
    this.buttons[at]?.classList.add("now");
    this.marked = at;
  }
}

const measure = document.createElement("canvas").getContext("2d");
function textWidth(node) {
  const { fontWeight, fontSize, fontFamily } = getComputedStyle(node); // `font` is empty beside tabular numbers
  measure.font = `${fontWeight} ${fontSize} ${fontFamily}`;
  return measure.measureText(node.textContent).width;
}

class RecordingWidget {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(root.querySelector("script").textContent);
    this.isSound = this.data.kind === "sound";
    this.player = this.data.sound && new Player(this.data.sound);
    this.wordings = new Wordings();
    this.pictures = [];
    root.classList.add("recording", this.data.kind);
    this.build();
    this.relabel();
    for (const picture of this.pictures) picture.paint();
    new ResizeObserver(() => this.layOut()).observe(this.box);
    document.fonts.ready.then(() => this.layOut());
  }

  // Building: once. What says something in words is said again by relabel().

  build() {
    const { strip, chances } = this.data;
    this.rows = ["tokens", "words"]
      .filter((name) => this.data[name].length)
      .map((name) => new Spans(this, name, this.data[name]));
    this.cursor = html("div", { class: "now-line", hidden: "" });
    this.ticks = html("div", { class: "ticks", "aria-hidden": "true" });
    this.panels = [...(strip ? this.stripPanels(strip) : []), this.chancesPanel(chances)];
    const spans = this.rows.map((row) => ({ node: row.node, name: this.said(html("span"), row.name), row }));
    const unit = { node: this.ticks, name: this.said(html("span"), this.isSound ? "seconds" : "columns") };
    this.panels.push(...spans, unit);
    this.sheet = html("div", { class: "sheet" }, ...this.panels.map(({ node }) => node), this.cursor);
    this.box = hintAt(html("div", { class: "scroll" }, this.sheet));
    this.names = html("div", { class: "gutter", "aria-hidden": "true" });
    this.names.append(...this.panels.map(({ name }) => html("div", {}, ...[name ?? ""].flat())));
    this.status = html("p", { class: "told", role: "status" });
    const axis = html("div", { class: "axis" }, this.names, this.box);
    this.root.append(this.buildHead(), axis, this.status, ...this.buildCompared());
  }

  said(node, key) {
    return this.wordings.add(node, () => say(key));
  }

  buildHead() {
    const text = html("h3", {}, this.data.text || this.data.name);
    const facts = this.wordings.add(html("p", { class: "hint" }), () => this.facts());
    const head = html("div", { class: "title" }, html("div", {}, text, facts));
    if (this.player) {
      this.play = html("button", { type: "button", class: "play" });
      this.wordings.add(this.play, () => say(this.isPlaying ? "stop" : "play"));
      this.wordings.add(this.play, () => `${say(this.isPlaying ? "stop" : "play")}: ${this.data.name}`, "aria-label");
      this.play.addEventListener("click", () => (this.isPlaying ? Player.stop() : this.hear(0, this.data.length)));
      head.append(this.play);
    }
    return head;
  }

  facts() {
    const { name, length, count, untimed, confidence, misfit } = this.data;
    const size = this.isSound ? say("lasts", { seconds: length.toFixed(2) }) : say("wide", { columns: Math.round(length) });
    const facts = [name, size, say("count", { n: count })];
    if (untimed) facts.push(say("untimed", { n: untimed }));
    if (confidence !== null) facts.push(say("mean", { confidence: confidence.toFixed(2) }));
    if (typeof misfit === "number") facts.push(say("misfit", { nats: misfit.toFixed(2) }));
    return facts.join(" · ");
  }

  stripPanels(strip) {
    const painting = new Painting(strip, this.isSound ? "--muted" : "--ink");
    this.pictures.push(painting);
    this.strip = html("div", { class: "strip", role: "img" }, painting.node, ...(this.isSound ? [] : this.boxes()));
    this.wordings.add(this.strip, () => say(this.isSound ? "spectrogram" : "image"), "aria-label");
    if (!this.isSound) return [{ node: this.strip }];
    const waveform = new Waveform(strip);
    this.pictures.push(waveform);
    const loud = html("div", { class: "loud" }, waveform.node);
    const highest = html("span", {}, `${strip.highest.toFixed(0)} kHz`);
    return [{ node: loud }, { node: this.strip, name: [highest, html("span", {}, "0")] }];
  }

  /** What a click on the image chooses: its tokens. */
  boxes() {
    const [row] = this.rows;
    this.marks = row.spans.map(([, begin, end], i) => {
      const box = html("div", { class: "mark" });
      box.style.left = `${(100 * begin) / this.data.length}%`;
      box.style.width = `${(100 * (end - begin)) / this.data.length}%`;
      box.addEventListener("click", () => this.choose(row, i));
      return box;
    });
    return this.marks;
  }

  chancesPanel(chances) {
    const painting = new Painting(chances, "--blue", "--muted");
    this.pictures.push(painting);
    const node = html("div", { class: "chances", role: "img" }, painting.node);
    this.wordings.add(node, () => say("chances"), "aria-label");
    const named = chances.names.map((name) => html("span", {}, isolated(standIn(name))));
    const summed = () => [this.said(html("span"), "own"), this.said(html("span"), "other")];
    const name = [...(named.length || chances.rows === 1 ? named : summed()), html("span", {}, "φ")];
    const [least, most, all] = ROW;
    node.style.height = `${Math.round(clamp(all / chances.rows, least, most)) * chances.rows}px`;
    return { node, name };
  }

  buildCompared() {
    const { compared } = this.data;
    if (!compared.length) return [];
    const side = (at) => {
      const text = html("dd", {});
      for (const pair of compared) {
        const differs = pair[0] !== pair[1];
        text.append(html(differs ? "mark" : "span", {}, (pair[at] ?? "·").replace(/^ $/, differs ? "␣" : " ")));
      }
      return text;
    };
    const names = this.isSound ? ["meant", "heard"] : ["written", "read"];
    const [one, other] = names.map((key) => this.said(html("dt"), key));
    return [html("dl", { class: "compared" }, one, side(0), other, side(1))];
  }

  // Showing: what a span is in words, and where all is.

  described([text, begin, end, confidence]) {
    const digits = this.isSound ? 2 : 0;
    const values = { text, begin: begin.toFixed(digits), end: end.toFixed(digits) };
    const sure = confidence === null ? "–" : confidence.toFixed(2);
    return say(this.isSound ? "span" : "span_of_image", { ...values, confidence: sure });
  }

  layOut() {
    const { length, strip } = this.data;
    const room = this.box.clientWidth / length;
    this.scale = this.isSound ? Math.max(room, LEAST.sound) : clamp(room, LEAST.print, MOST_ENLARGED);
    const width = Math.max(1, Math.round(length * this.scale));
    this.sheet.style.width = `${width}px`;
    if (strip && !this.isSound) this.strip.style.height = `${clamp(strip.tall * this.scale, 34, 160)}px`;
    for (const picture of this.pictures) picture.place?.(length);
    for (const row of this.rows) row.layOut(this.scale, width);
    this.drawTicks(width);
    [...this.names.children].forEach((name, i) => (name.style.height = `${this.panels[i].node.offsetHeight}px`));
  }

  drawTicks(width) {
    const steps = [1, 2, 5].flatMap((n) => [0.1, 1, 10, 100, 1000].map((power) => n * power)).sort((a, b) => a - b);
    const step = steps.find((each) => each * this.scale >= 64 && (this.isSound || each >= 1)) ?? 5000;
    const count = Math.floor(Math.max(0, width - 28) / (step * this.scale)) + 1; // the last number needs room, too
    const tick = (i) => {
      const node = html("span", {}, this.isSound && step < 1 ? (i * step).toFixed(1) : String(Math.round(i * step)));
      node.style.left = `${i * step * this.scale}px`;
      return node;
    };
    this.ticks.replaceChildren(...Array.from({ length: count }, (_, i) => tick(i)));
  }

  relabel() {
    this.wordings.say();
    if (this.chosen) this.tell();
  }

  // Acting.

  choose(row, i) {
    this.chosen = row.spans[i];
    const [, begin, end] = this.chosen;
    this.tell();
    if (this.player) return this.hear(begin, end);
    this.show((begin + end) / 2);
    const isInside = ([, from, to]) => begin <= (from + to) / 2 && (from + to) / 2 < end;
    this.marks?.forEach((mark, at) => mark.classList.toggle("now", isInside(this.rows[0].spans[at])));
  }

  tell() {
    this.status.textContent = this.described(this.chosen);
  }

  hear(begin, end) {
    const started = this.player.play(begin, end, (time) => this.show(time), () => this.silence());
    this.isPlaying = true;
    this.relabel();
    started.catch(() => {
      Player.stop();
      this.status.textContent = say("unplayable");
    });
  }

  silence() {
    this.isPlaying = false;
    this.show(null);
    this.relabel();
  }

  /** Marks a place of the axis: the line and the spans there. */
  show(place) {
    this.cursor.hidden = place === null || !this.isSound;
    for (const row of this.rows) row.mark(place);
    if (place === null) return;
    const x = place * this.scale;
    this.cursor.style.transform = `translateX(${x}px)`;
    const { scrollLeft, clientWidth } = this.box;
    if (x < scrollLeft || x > scrollLeft + clientWidth - 8) this.box.scrollLeft = x - 32;
  }

  told() {
    return { scale: () => this.scale, isPlaying: () => Boolean(this.isPlaying) };
  }
}

KINDS.recording = RecordingWidget;
