/* The list of paths, the one that is followed, and how it becomes the target. Needs own_path.js and collapse.js. */

const ON_PAPER = 12; // rows that are printed

class PathSection {
  constructor(widget) {
    this.widget = widget;
    this.title = html("h3");
    this.hint = html("p", { class: "hint" });
    const keys = widget.data.isCTC ? undefined : ["emitted", "merged_lattice", "dropped_lattice"];
    this.collapse = new Collapse(keys);
    this.list = rove(html("ol"));
    this.rows = [];
    this.more = html("p", { class: "hint on-paper" });
    if (widget.data.isCTC && !widget.large && widget.T) this.own = new OwnPath(widget);
    const box = html("div", { class: "box", tabindex: -1 }, this.list);
    this.node = html("section", { class: "paths" }, this.title, this.hint, this.collapse.node, box, this.more);
  }

  addRow() {
    const row = this.rows.length;
    const spelt = html("span", { class: "symbols" });
    const share = html("span", { class: "share" });
    const fill = html("span", { class: "fill" });
    const part = html("span", { class: "track" }, fill);
    const button = html("button", { type: "button", tabindex: row ? -1 : 0 }, spelt, part, share);
    button.addEventListener("click", () => this.choose(this.widget.paths[row]));
    const node = this.list.appendChild(html("li", { class: row < ON_PAPER ? "" : "off-paper" }, button));
    this.rows.push({ node, button, spelt, share, fill });
  }

  /** Follows a path; one that is followed already is let go. */
  choose(path) {
    const { widget } = this;
    widget.follow(widget.view === "path" && this.isFollowed(path) ? null : path);
  }

  isFollowed({ states }) {
    const { followed } = this.widget;
    return followed !== null && !followed.own && followed.states.join() === states.join();
  }

  render() {
    const { widget } = this;
    const { paths, pathCount } = widget;
    this.renderTitle();
    while (this.rows.length < paths.length) this.addRow();
    while (this.rows.length > paths.length) this.rows.pop().node.remove();
    const { total } = widget.computation;
    this.rows.forEach(({ button, spelt, share, fill }, i) => {
      const { states } = paths[i];
      const part = total > -Infinity ? Math.exp(widget.computation.scoreOf(paths[i]) - total) : 0;
      spelt.textContent = `${widget.spelt(states)} → ${widget.tokensOf(states) || say("nothing")}`;
      share.textContent = percent(part);
      fill.style.width = `${100 * part}%`;
      button.setAttribute("aria-pressed", this.isFollowed(paths[i]));
    });
    this.more.textContent = paths.length > ON_PAPER ? say("more_on_paper", { n: ON_PAPER, all: pathCount }) : "";
    this.renderCollapse();
    this.own?.render();
  }

  renderTitle() {
    const { paths, pathCount, allPaths, large, scores } = this.widget;
    const listed = paths.length;
    const whole = listed === 1 ? "one_path" : "all_paths";
    const title = !listed ? "path_count" : allPaths ? whole : "best_paths";
    this.title.textContent = say(title, { n: listed, all: pathCount });
    const hint = !listed ? "no_paths" : large && scores.edited ? "paths_edited" : "path_hint";
    this.hint.textContent = say(hint);
  }

  /** How the followed path becomes the target, in three lines. */
  renderCollapse() {
    const { widget } = this;
    const { followed } = widget;
    this.collapse.node.hidden = !followed;
    if (!followed) return;
    if (followed.own) return this.collapse.render(...followed.own.steps());
    const quiet = (k) => !widget.lattice.isToken(k);
    const runs = runsOf(followed.states).map(([k, count]) => ({ label: widget.symbol(k), count, quiet: quiet(k) }));
    this.collapse.render(runs, widget.tokensOf(followed.states, " "));
  }

  /** Brings the followed path's row into sight, in its box only. */
  keepInSight() {
    const row = this.rows.find((_, i) => this.isFollowed(this.widget.paths[i]));
    if (!row) return;
    const box = this.list.parentNode;
    const top = row.node.offsetTop - this.list.offsetTop;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + row.node.offsetHeight > box.scrollTop + box.clientHeight) {
      box.scrollTop = top + row.node.offsetHeight - box.clientHeight;
    }
  }
}
