/* Exercises: a question, a field for the answer, and whether it is right. Needs collapse.js. */

/** A number as people write it: 0.75, 0,75, 75% or 3/4; NaN if it is none. */
function numberIn(text) {
  const plain = text.normalize("NFKC").replace(/\s/g, "").replace(",", ".");
  const [, above, below = 1, percent] = /^(\d+\.?\d*|\.\d+)(?:[/⁄](\d+))?(%?)$/.exec(plain) ?? [];
  return Number(above) / Number(below) / (percent ? 100 : 1);
}

class ExerciseForm {
  constructor(form, index) {
    Object.assign(this, JSON.parse(form.querySelector("script").textContent));
    this.wordings = new Wordings();
    const id = `answer${index}`;
    this.input = html("input", { type: "text", id, autocomplete: "off", spellcheck: "false", autocapitalize: "off" });
    const name = this.wordings.add(html("label", { for: id }), () => say("answer"));
    const check = this.wordings.add(html("button", { type: "submit" }), () => say("check"));
    const show = this.wordings.add(html("button", { type: "button" }), () => say("show_answer"));
    this.verdict = html("p", { class: "verdict", role: "status" });
    form.append(html("div", { class: "typed" }, name, this.input, check, show), this.verdict);
    form.addEventListener("submit", (event) => (event.preventDefault(), this.judge(this.input.value)));
    show.addEventListener("click", () => ((this.input.value = this.answer), this.judge(this.answer)));
    this.relabel();
  }

  judge(typed) {
    this.judged = !typed.trim() ? undefined : this.isRight(typed) ? "right" : "wrong";
    this.typed = labelsIn(typed);
    this.render();
  }

  isRight(typed) {
    const labels = labelsIn(typed);
    if (this.reads !== null) {
      return labels.length === labelsIn(this.answer).length && textOf(labels) === this.reads;
    }
    const number = Number(this.answer);
    if (Number.isNaN(number)) return labels.join("") === labelsIn(this.answer).join("");
    return Math.abs(numberIn(typed) - number) < 0.005;
  }

  /** Why it is right; or of a wrong path, what it is instead. */
  render() {
    const { judged, typed } = this;
    const isPath = judged === "wrong" && this.reads !== null;
    const said = { reason: this.reason[page.lang], n: typed?.length, text: typed && (textOf(typed) || say("nothing")) };
    this.verdict.textContent = judged ? say(isPath ? "wrong_path" : judged, said) : "";
    this.verdict.classList.toggle("wrong", judged === "wrong");
    this.verdict.classList.toggle("right", judged === "right");
  }

  relabel() {
    this.wordings.say();
    this.render();
  }
}
