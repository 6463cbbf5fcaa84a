"""Heat maps and curves, for inputs of any size: occupancy, gradient, α, log-probabilities, and the alignment.

Each takes matplotlib axes, or makes a picture of its own; labels thin out where there are many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...catalogue import words
from ...catalogue.columns import cells, wrapped
from ...drawing.canvas import Picture, new_figure, settle, shades, themed_axes
from ...drawing.colors import BLUE, GRID, INK, MUTED, PATH_COLORS, RED
from ...drawing.text import families, plain, shortened
from ..numbers import Computation, Path
from ..wording import listed, phrase, why_no_path

MOST_LABELS = 42
SHADE = "#7d8894"  # below lines: seen on light and on dark ground
ROWS = 60  # of the classes, in the picture of the gradient


def occupancy(computation: Computation, ax: Any = None) -> Any:
    """γ (K, T), the first state on top, as in the tables. Returns the axes if they are given, else a picture."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        image = _map(axes, e.gamma.T, shades((BLUE, 0), (BLUE, 1)), 0, 1)
        _names(axes, e.state_labels)
        _describe(axes, e, _with_reason(e, say["occupancy.title"]), say["states"], image)

    name = say["occupancy.name"].format(target=_short(e.spelling), frames=e.frames)
    return _drawn(draw, ax, name, _size(e.frames, e.lattice.num_states))


def gradient(computation: Computation, ax: Any = None) -> Any:
    """The gradient (C, T), of the classes where it is largest. Returns the axes if they are given, else a picture."""
    e = computation
    say = words("explanation", e.lang)
    strength = np.abs(e.grad).max(axis=0, initial=0)
    shown = np.sort(np.argsort(-strength, kind="stable")[:ROWS])

    def draw(axes: Any) -> None:
        most = float(strength.max(initial=0)) or 1.0
        image = _map(axes, e.grad.T[shown], shades((BLUE, 1), (BLUE, 0), (RED, 0), (RED, 1)), -most, most)
        _names(axes, [e.labels[c] for c in shown])
        title = say["gradient.title.logits" if e.from_logits else "gradient.title.log_probs"]
        _describe(axes, e, _with_reason(e, f"{title}\n{say['gradient.note']}"), say["classes"], image)

    name = say["gradient.name"].format(target=_short(e.spelling))
    return _drawn(draw, ax, name, _size(e.frames, len(shown)))


def alignment(computation: Computation, ax: Any = None) -> Any:
    """Each label's probability by frame, the best path's tokens above. Returns the axes, if given, or a picture."""
    e = computation
    say = words("explanation", e.lang)
    best = e.best_path

    def draw(axes: Any) -> None:
        colors = _class_colors(e)
        if e.frames:
            _curves(axes, e, colors)
        missing = why_no_path(e)
        if best and e.frames and not missing:
            _spans(axes, e, best, colors)
        axes.set(xlim=(0.5, max(e.frames, 1) + 0.5), ylim=(0, 1.16), yticks=(0, 0.5, 1))
        title = say["alignment.title"].format(share=f"{100 * (best.share if best else 0):.3g} %")
        lines = [missing or title, *_legend(e, colors)]
        _describe(axes, e, "\n".join(lines), say["alignment.probability"])

    name = say["alignment.name"].format(target=_short(e.spelling))
    return _drawn(draw, ax, name, (max(640.0, min(1000.0, 12.0 * e.frames)), 245.0))


def _class_colors(e: Computation) -> dict[int, str]:
    """The colour of each class that states emit, without the blank: tokens' classes first, then grey ones."""
    is_token = e.lattice.tokens >= 0
    tokens = dict.fromkeys(e.lattice.labels[is_token].tolist())
    others = dict.fromkeys(e.lattice.labels[~is_token].tolist())
    colors = dict.fromkeys(others, MUTED) | {c: PATH_COLORS[1:][i % 5] for i, c in enumerate(tokens)}
    return {c: color for c, color in colors.items() if c != e.blank}


def _curves(axes: Any, e: Computation, colors: dict[int, str]) -> None:
    """The probabilities: of the blank as an area, of the tokens as lines, of what else states emit dashed.

    Not by ``axes.stairs``, which looks for each curve's limits step by step; they are known.
    """
    from matplotlib.patches import StepPatch

    probs, edges = np.exp(e.log_probs), np.arange(e.frames + 1) + 0.5
    if e.blank is not None:
        axes.add_artist(StepPatch(probs[:, e.blank], edges, facecolor=GRID, alpha=0.8, linewidth=0))
    many = e.frames * len(colors) > 10_000  # drawn as pixels: lines would fill megabytes
    for c, color in colors.items():
        how: dict[str, Any] = {"linestyle": "--"} if color == MUTED else {}
        how |= {"baseline": None, "fill": False, "edgecolor": color, "linewidth": 1.4, "rasterized": many}
        axes.add_artist(StepPatch(probs[:, c], edges, **how))


def _legend(e: Computation, colors: dict[int, str]) -> list[str]:
    """A line that says what is grey in the picture of the alignment, if anything is."""
    say = words("explanation", e.lang)
    others = [_label(e.labels[c]) for c, color in colors.items() if color == MUTED]
    parts = [say["alignment.blank"]] if e.blank is not None else []
    parts += [say["alignment.others"].format(labels=listed(others))] if others else []
    return [" · ".join(parts)] if parts else []


def _spans(axes: Any, e: Computation, path: Path, colors: dict[int, str]) -> None:
    """What a path emits besides blanks, each over its own frames, above the curves; names only where there is room."""
    frame = _width(axes) / e.frames  # points
    named: list[tuple[float, float]] = []  # the middle of each name, and half its width
    runs = _runs(e, path)
    for label, begin, end, _ in runs:
        axes.plot([begin + 0.6, end + 0.4], [1.04, 1.04], color=colors[label], linewidth=3, solid_capstyle="butt")
    for label, begin, end, _ in sorted(runs, key=lambda run: not run.is_token):
        text, middle = _label(e.labels[label]), (begin + end + 1) / 2
        half = (5.8 * cells(text) + 6) / 2 / frame
        if all(abs(middle - other) >= half + width for other, width in named):
            axes.text(middle, 1.06, text, ha="center", va="bottom", fontsize=9, color=INK, fontfamily=families())
            named.append((middle, half))


class _Run(NamedTuple):
    """Frames in a row in which a path emits one class of one token."""

    label: int
    begin: int
    end: int
    is_token: bool


def _runs(e: Computation, path: Path) -> list[_Run]:
    states = list(path.states)
    emitted = zip(e.lattice.tokens[states].tolist(), e.lattice.labels[states].tolist(), strict=True)
    runs, end = [], 0
    for (token, label), frames in groupby(emitted):
        begin, end = end, end + len(list(frames))
        if label != e.blank:
            runs.append(_Run(label, begin, end, token >= 0))
    return runs


def alpha(computation: Computation) -> Picture:
    """α (K, T), for lattices that are too large for tables."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        # α falls from frame to frame: only its differences within a frame can be seen.
        top = e.alpha.max(axis=1, initial=-np.inf, keepdims=True)
        relative = np.where(np.isfinite(e.alpha), e.alpha - np.where(np.isfinite(top), top, 0), np.nan)
        image = _map(axes, relative.T, "viridis", -40, 0)
        _names(axes, e.state_labels)
        _describe(axes, e, _with_reason(e, say["computation.heat"]), say["states"], image)

    name = phrase(e, "computation.name").format(target=_short(e.spelling), loss=f"{e.loss:.7g}")
    picture: Picture = _drawn(draw, None, name, _size(e.frames, e.lattice.num_states))
    return picture


def inputs(computation: Computation) -> Picture:
    """The log-probabilities (C, T), where they are too many to read."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        values = np.where(np.isfinite(e.log_probs), e.log_probs, np.nan)
        image = _map(axes, values.T, "magma", max(-20.0, float(np.nanmin(values, initial=-1))), 0)
        _names(axes, e.labels)
        title = say["inputs.heat"].format(frames=e.frames, classes=len(e.labels), target=shortened(e.spelling, 200))
        _describe(axes, e, title, say["classes"], image)

    name = phrase(e, "inputs.name").format(frames=e.frames, classes=len(e.labels), target=_short(e.spelling))
    picture: Picture = _drawn(draw, None, name, _size(e.frames, len(e.labels)))
    return picture


def paths(computation: Computation, shown: Sequence[Path]) -> Picture:
    """A few paths as lines over the occupancy."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        _map(axes, e.gamma.T, shades((SHADE, 0), (SHADE, 0.6)), 0, 1)
        for path, color in zip(shown, PATH_COLORS, strict=False):
            axes.plot(np.arange(1, e.frames + 1), path.states, color=color, linewidth=1.6)
        _names(axes, e.state_labels)
        _describe(axes, e, why_no_path(e) or say["paths.title.lattice"], say["states"])
        texts = [plain(shortened(e.spelled(path), 40)) for path in shown]
        if texts:
            axes.legend(
                axes.lines,
                texts,
                frameon=False,
                labelcolor=INK,
                loc="lower left",
                prop={"family": families(), "size": 8},
            )

    name = say["paths.name"].format(target=_short(e.spelling))
    picture: Picture = _drawn(draw, None, name, _size(e.frames, e.lattice.num_states))
    return picture


def _with_reason(e: Computation, title: str) -> str:
    """A title. If the target has no path, a second line says why."""
    return "\n".join(filter(None, (title, why_no_path(e))))


def _drawn(draw: Callable[[Any], None], ax: Any, name: str, size: tuple[float, float]) -> Any:
    """Draws on the axes given and returns them, or on new ones and returns a picture."""
    if ax is not None:
        draw(ax)
        themed_axes(ax)
        return ax
    figure = new_figure(*size)
    figure.set_layout_engine("constrained")  # before anything is on it
    axes = figure.subplots()
    draw(axes)
    themed_axes(axes)
    settle(figure)
    return Picture(figure, name)


def _size(columns: int, rows: int) -> tuple[float, float]:
    """The size of a picture in points: as large as the cells need, within bounds."""
    return 190 + min(max(16.0 * columns, 330.0), 820.0), 90 + min(max(16.0 * rows, 120.0), 560.0)


def _map(axes: Any, values: npt.NDArray[Any], colors: Any, low: float, high: float) -> Any:
    """An image of (rows, frames), frames counted from 1, row 0 on top; fine cells are averaged, not dropped."""
    rows, frames = values.shape
    extent = (0.5, max(frames, 1) + 0.5, max(rows, 1) - 0.5, -0.5)
    fine = rows > 400 or frames > 900
    return axes.imshow(
        values if values.size else np.zeros((1, 1)),
        cmap=colors,
        vmin=low,
        vmax=high,
        aspect="auto",
        extent=extent,
        interpolation="antialiased" if fine else "nearest",
    )


def _names(axes: Any, names: Sequence[str]) -> None:
    """Names of the rows, as many as are readable."""
    step = max(1, -(-len(names) // MOST_LABELS))
    if step % 2 == 0:
        step += 1  # an odd one: where tokens and blanks alternate, both are named
    ticks = range(0, len(names), step)
    axes.set_yticks(list(ticks))
    axes.set_yticklabels([_label(names[k]) for k in ticks])


def _describe(axes: Any, e: Computation, title: str, rows: str, image: Any = None) -> None:
    """Title and axes; a colour bar, if there is an image."""
    say = words("explanation", e.lang)
    columns = max(30, int(_width(axes) / 6.2))
    lines = [part for line in title.split("\n") for part in wrapped(line, columns)]
    axes.set_title("\n".join(lines), fontsize=11, loc="left", color=INK, fontfamily=families())
    axes.set_xlabel(say["frame"])
    axes.set_ylabel(rows)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if image is not None:
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.03, pad=0.015)
        bar.outline.set_visible(False)
        bar.ax.tick_params(color=GRID, labelcolor=MUTED, labelsize=8)


def _width(axes: Any) -> float:
    """The width of axes in points, about as it is when the margins are laid out."""
    share = axes.get_position().width + 0.14
    return float(72 * axes.figure.get_figwidth() * share)


def _label(name: str) -> str:
    """A label for an axis: shortened, with visible spaces, and dollar signs that begin no formula."""
    return plain(shortened(name).replace(" ", "␣"))


def _short(text: str) -> str:
    return shortened(text, 60)
