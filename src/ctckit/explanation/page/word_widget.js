/* A word and a number of frames to type, and the computation for them. Needs widget.js and recogniser.js. */

class WordWidget {
  constructor(root, index) {
    this.given = JSON.parse(root.querySelector("script").textContent);
    this.index = index;
    this.letters = this.given.tokens;
    this.frames = this.given.frames;
    this.framesFollow = true; // the word, until a number of them is typed
    this.wordings = new Wordings();
    this.inner = html("div");
    root.append(this.build(), this.inner);
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

  /** A new computation, in the view of the one before. */
  begin() {
    const view = this.widget?.view;
    this.widget?.pause();
    const root = html("div");
    this.inner.replaceChildren(root);
    this.widget = new Widget(root, this.index, dataOfWord(this.letters, this.frames, this.given));
    this.widget.onChange = () => this.onChange?.();
    if (view) this.widget.show(view);
    this.wordings.say();
    this.renderRefusal();
    this.onChange?.();
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
