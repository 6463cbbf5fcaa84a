/* Which frame is the current one, and the slider and keys that change it. Needs words.js. */

/** Its owner has `root`, `T` and `frame`, and makes a frame the current one by `step`. */
class FrameSlider {
  /** The arrow keys work in all of the owner but where they have another meaning: in inputs, and in `others`. */
  constructor(owner, others) {
    this.owner = owner;
    this.slider = html("input", { type: "range", min: 1, max: Math.max(1, owner.T), step: 1 });
    owner.worded(this.slider, () => say("current_frame"), "aria-label");
    this.where = html("output", { class: "where" });
    this.nodes = [this.slider, this.where];
    this.slider.addEventListener("input", () => owner.step(Number(this.slider.value) - 1));
    owner.root.addEventListener("keydown", (event) => {
      const ahead = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!ahead || event.target.closest(`input, ${others}`) || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      owner.step(owner.frame + ahead);
    });
  }

  render() {
    const { frame, T } = this.owner;
    this.slider.value = frame + 1;
    this.where.textContent = say("frame_of", { t: frame + 1, T });
    this.slider.setAttribute("aria-valuetext", this.where.textContent);
  }
}

/** What calls `render`, but at most once between two repaints, however fast a bar is dragged. */
function oncePerRepaint(render) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      render();
    });
  };
}
