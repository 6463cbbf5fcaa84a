/* How labels, one a frame, become a text: repeats are merged, then blanks dropped. Needs words.js and boxes.js. */

const LONG = 16; // frames; of more, a run is written as a label and a number

/** A run of one label, one for each frame, or counted. */
function repeated(label, count, frames) {
  if (frames > LONG) return count > 1 ? `${label}×${count}` : label;
  return new Array(count).fill(label).join(" ");
}

/** Runs of what is equal, in order: [item, how many in a row]. */
function runsOf(items) {
  const runs = [];
  for (const item of items) {
    if (runs.length && runs[runs.length - 1][0] === item) runs[runs.length - 1][1]++;
    else runs.push([item, 1]);
  }
  return runs;
}

/** The three lines in which labels become a text. */
class Collapse {
  constructor(keys = ["emitted", "merged", "dropped"]) {
    this.keys = keys;
    this.node = html("dl", { class: "collapse" });
  }

  /** Runs are {label, count, quiet}: quiet ones drop out. `text` is what is left. */
  render(runs, text) {
    const frames = runs.reduce((total, { count }) => total + count, 0);
    const spans = (words) => {
      const all = runs.map((run) => html("bdi", { class: run.quiet ? "run quiet" : "run" }, words(run)));
      return all.flatMap((node, i) => (i ? [" ", node] : [node]));
    };
    const lines = [
      spans(({ label, count }) => repeated(label, count, frames)),
      spans(({ label }) => label),
      [html("bdi", {}, text || say("nothing"))],
    ];
    const line = (key, i) => [html("dt", {}, say(key)), html("dd", {}, ...lines[i])];
    this.node.replaceChildren(...this.keys.flatMap(line));
  }
}

const BLANK = "φ";
const AS_BLANK = ["_", "＿"]; // what φ may be typed as; the wide one comes from Chinese keyboards

/** What is typed, as labels: letter by letter, or with spaces between them where a label is longer than a letter.
    Labels that are `known` are taken as they are. */
function labelsIn(text, isSpaced = false, known = []) {
  const parts = isSpaced ? text.split(/\s+/).filter(Boolean) : lettersOf(text.replace(/\s+/g, ""));
  return parts.map((label) => (AS_BLANK.includes(label) && !known.includes(label) ? BLANK : label));
}

/** What labels read. */
function textOf(labels) {
  return runsOf(labels).map(([label]) => label).filter((label) => label !== BLANK).join("");
}

/** Labels to type, one a frame, and what they read; examples to choose. */
class CollapsingWidget {
  constructor(root) {
    this.examples = JSON.parse(root.querySelector("script").textContent).examples;
    this.pictures = [];
    this.wordings = new Wordings();
    this.input = html("input", { type: "text", autocomplete: "off", spellcheck: "false", maxlength: 40 });
    this.input.value = this.examples[0][1];
    whenTyped(this.input, () => this.render());
    this.steps = new Collapse();
    this.verdict = html("p", { class: "verdict", role: "status" });
    const name = this.wordings.add(html("span"), () => say("frame_labels"));
    this.list = rove(html("div", { class: "examples", role: "group" }));
    this.buttons = this.examples.map(([, labels], i) => this.buttonOf(labels, i));
    root.append(this.list, html("label", { class: "typed" }, name, this.input), this.steps.node, this.verdict);
    this.relabel();
  }

  buttonOf(labels, i) {
    const button = html("button", { type: "button", tabindex: i ? -1 : 0 }, html("bdi", {}, labels));
    button.addEventListener("click", () => ((this.input.value = labels), this.render()));
    this.list.append(button);
    return button;
  }

  relabel() {
    this.list.setAttribute("aria-label", say("examples"));
    this.wordings.say();
    this.render();
  }

  render() {
    const labels = labelsIn(this.input.value);
    const text = textOf(labels);
    this.steps.render(runsOf(labels).map(([label, count]) => ({ label, count, quiet: label === BLANK })), text);
    const example = this.examples.find(([, shown]) => labelsIn(shown).join() === labels.join());
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", this.examples[i] === example));
    const reads = text || say("nothing");
    const [wanted] = example ?? [];
    const key = !example ? "reads" : wanted === text ? "reads_right" : "reads_wrong";
    this.verdict.textContent = say(key, { text: reads, wanted });
    this.verdict.classList.toggle("wrong", key === "reads_wrong");
  }

  /** What tests ask for. */
  told() {
    return { text: () => textOf(labelsIn(this.input.value)) };
  }
}

KINDS.collapsing = CollapsingWidget;
