/* A word and a number of frames to type, a lattice to choose, and the computation for them. Needs widget.js and recogniser.js. */

class WordWidget {
  constructor(root, index) {
    this.given = JSON.parse(root.querySelector("script").textContent);
    this.index = index;
    this.letters = this.given.tokens;
    this.frames = this.given.frames;
    this.framesFollow = true; // the word, until a number of them is typed
    this.chosen = "ctc"; // a lattice; where the word has none of this kind, CTC's is shown
    this.wordings = new Wordings();
    this.inner = html("div");
    root.append(this.build(), this.buildLattices(), this.inner);
    this.listen();
    this.begin();
  }

  build() {
    const { mostLetters, mostFrames } = this.given;
    const field = (key, attributes) => {
      const input = html("input", { autocomplete: "off", ...attributes });
      const name = this.wordings.add(html("span"), () => say(key));
      return { input, node: html("label", { class: "typed" }, name, input) };
    };
    const word = field("word", { type: "text", spellcheck: "false", autocapitalize: "off", dir: "auto" });
    const frames = field("frames", { type: "number", min: 1, max: mostFrames, step: 1, inputmode: "numeric" });
    [this.word, this.count] = [word.input, frames.input];
    this.word.value = this.letters.join("");
    this.count.value = this.frames;
    const hint = this.wordings.add(html("p", { class: "hint" }), () => say("word_hint", { letters: mostLetters, frames: mostFrames }));
    this.refusal = html("p", { class: "alert", role: "alert" });
    return html("div", { class: "word" }, word.node, frames.node, hint, this.refusal);
  }

  /** The choice of a lattice, each with its loss. */
  buildLattices() {
    this.about = html("p", { class: "meaning" });
    const legend = this.wordings.add(html("legend"), () => say("which_lattice"));
    const box = html("fieldset", { class: "lattices" }, legend);
    this.lattices = Object.keys(this.given.lattices).map((name) => {
      const radio = html("input", { type: "radio", name: `lattice${this.index}`, value: name });
      radio.addEventListener("change", () => this.choose(name));
      const loss = html("small");
      const words = this.wordings.add(html("b"), () => say(`lattice_${name}`));
      box.append(html("label", {}, radio, html("span", {}, words, " ", loss)));
      return { name, radio, loss };
    });
    return html("div", { class: "which-lattice" }, box, this.about);
  }

  listen() {
    whenTyped(this.word, () => this.read());
    this.count.addEventListener("input", () => ((this.framesFollow = false), this.read()));
  }

  /** What is typed, if it is a word and a number of frames; else says why it is not. */
  read() {
    const letters = lettersOf(this.word.value.trim());
    this.refused = this.reasonAgainst(letters);
    this.renderRefusal();
    if (this.refused) return;
    if (this.framesFollow) this.count.value = this.framesFor(letters);
    [this.letters, this.frames] = [letters, Number(this.count.value)];
    this.begin();
  }

  /** Two more than a word needs, if the page takes so many. */
  framesFor(letters) {
    const target = letters.map((letter) => letters.indexOf(letter));
    return Math.min(this.given.mostFrames, 2 + framesNeeded(target, this.given));
  }

  reasonAgainst(letters) {
    const { mostLetters, mostFrames } = this.given;
    if (letters.length > mostLetters) return ["word_long", { n: letters.length, letters: mostLetters }];
    if (letters.includes(BLANK)) return ["word_blank", {}];
    const frames = this.count.value;
    if (this.framesFollow) return undefined;
    if (!/^\d+$/.test(frames) || frames < 1 || frames > mostFrames) return ["frames_wrong", { frames: mostFrames }];
    return undefined;
  }

  renderRefusal() {
    this.refusal.textContent = this.refused ? say(...this.refused) : "";
    this.refusal.hidden = !this.refused;
    this.word.setAttribute("aria-invalid", /^word/.test(this.refused?.[0]));
    this.count.setAttribute("aria-invalid", /^frames/.test(this.refused?.[0]));
  }

  /** Another lattice, with the same scores. */
  choose(name) {
    const { scores, frame } = this.widget;
    this.chosen = name;
    this.begin(scores);
    this.widget.step(frame);
  }

  get shown() {
    return this.data[this.chosen] ? this.chosen : "ctc";
  }

  /** A new computation, in the view of the one before; with scores that are kept, or with new ones. */
  begin(kept) {
    const view = this.widget?.view;
    this.widget?.pause();
    const { target } = classesOf(this.letters);
    const possible = Object.entries(this.given.lattices).filter(([, roles]) => hasLattice(target, roles));
    this.data = Object.fromEntries(
      possible.map(([name]) => [name, dataOfWord(this.letters, this.frames, this.given, name)]),
    );
    const root = html("div");
    this.inner.replaceChildren(root);
    this.widget = new Widget(root, this.index, this.data[this.shown], kept);
    this.widget.onChange = () => this.changed();
    if (view) this.widget.show(view);
    this.wordings.say();
    this.renderRefusal();
    this.changed();
  }

  /** The computation has changed, and with it the loss of each lattice. */
  changed() {
    const { rows } = this.widget.scores;
    for (const { name, radio, loss } of this.lattices) {
      const data = this.data[name];
      radio.checked = name === this.shown;
      radio.disabled = !data;
      loss.textContent = data ? number(new Computation(data, new Lattice(data), rows).loss, 3) : "–";
    }
    this.renderAbout();
    this.onChange?.();
  }

  /** What the lattice is and teaches; and why the word does not have all three. */
  renderAbout() {
    const again = firstRepeat(this.letters);
    const why = again < 0 ? "lattice_none_empty" : "lattice_none";
    const all = this.lattices.every(({ name }) => this.data[name]);
    const missing = all ? [] : [say(why, { token: standIn(this.letters[again] ?? "") })];
    this.about.textContent = [say(`lattice_${this.shown}_about`), ...missing].join(page.lang === "zh" ? "" : " ");
  }

  get pictures() {
    return this.widget.pictures;
  }

  get scores() {
    return this.widget.scores;
  }

  heading() {
    return this.widget.heading();
  }

  relabel() {
    this.wordings.say();
    this.renderRefusal();
    this.widget.relabel();
  }

  /** What tests ask for: always of the present word. */
  told() {
    const of = (name) => (...values) => this.widget.told()[name](...values);
    return { loss: of("loss"), formula: of("formula"), tables: of("tables") };
  }
}

KINDS.word = WordWidget;
