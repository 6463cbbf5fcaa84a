"""Heat maps and curves, for inputs of any size: occupancy, gradient, α, log-probabilities, and the alignment.

Each takes matplotlib axes, or makes a picture of its own; labels thin out where there are many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from ...catalogue import words
from ...drawing.canvas import Picture, new_figure, settle, themed_axes
from ...drawing.colors import GRID, INK, MUTED, PATH_COLORS
from ...drawing.text import families, plain, shortened
from ..numbers import Computation, Path
from ..wording import phrase

MOST_LABELS = 42
ROWS = 60  # of the classes, in the picture of the gradient


def occupancy(computation: Computation, ax: Any = None) -> Any:
    """γ (K, T), the first state on top, as in the tables. Returns the axes if they are given, else a picture."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        image = _map(axes, e.gamma.T, "Blues", 0, 1)
        _names(axes, e.state_labels)
        _describe(axes, e, say["occupancy.title"], say["states"], image)

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
        image = _map(axes, e.grad.T[shown], "RdBu_r", -most, most)
        _names(axes, [e.labels[c] for c in shown])
        title = say["gradient.title.logits" if e.from_logits else "gradient.title.log_probs"]
        _describe(axes, e, f"{title}\n{say['gradient.note']}", say["classes"], image)

    name = say["gradient.name"].format(target=_short(e.spelling))
    return _drawn(draw, ax, name, _size(e.frames, len(shown)))


def alignment(computation: Computation, ax: Any = None) -> Any:
    """Each label's probability by frame, the best path's tokens above. Returns the axes, if given, or a picture."""
    e = computation
    say = words("explanation", e.lang)
    best = e.best_path

    def draw(axes: Any) -> None:
        frames = np.arange(1, e.frames + 1)
        probs = np.exp(e.log_probs)
        if e.blank is not None:
            axes.fill_between(frames, probs[:, e.blank], step="mid", color=GRID, alpha=0.8, linewidth=0)
        tokens = [c for c in dict.fromkeys(e.target) if c >= 0]
        colors = {c: PATH_COLORS[1:][i % 5] for i, c in enumerate(tokens)}
        for c in tokens:
            many = e.frames * len(tokens) > 10_000  # drawn as pixels: lines would fill megabytes
            axes.plot(frames, probs[:, c], color=colors[c], linewidth=1.4, drawstyle="steps-mid", rasterized=many)
        if best and e.frames:
            _spans(axes, e, best, colors)
        axes.set(xlim=(0.5, max(e.frames, 1) + 0.5), ylim=(0, 1.16), yticks=(0, 0.5, 1))
        title = say["alignment.title"].format(share=f"{100 * (best.share if best else 0):.3g} %")
        _describe(axes, e, title, say["alignment.probability"])

    name = say["alignment.name"].format(target=_short(e.spelling))
    return _drawn(draw, ax, name, (max(640.0, min(1000.0, 12.0 * e.frames)), 230.0))


def _spans(axes: Any, e: Computation, path: Path, colors: dict[int, str]) -> None:
    """The tokens of a path, each over its own frames, above the curves; names only where there is room."""
    room = max(1.0, e.frames / 60)
    last, end = -room, 0
    for token, frames in groupby(e.lattice.tokens[list(path.states)].tolist()):
        begin, end = end, end + len(list(frames))
        if token < 0:
            continue
        label = e.target[token]
        axes.plot([begin + 0.6, end + 0.4], [1.04, 1.04], color=colors[label], linewidth=3, solid_capstyle="butt")
        middle = (begin + end + 1) / 2
        if middle - last >= room * max(1.0, len(_label(e.labels[label])) / 2):
            text = _label(e.labels[label])
            axes.text(middle, 1.06, text, ha="center", va="bottom", fontsize=9, color=INK, fontfamily=families())
            last = middle


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
        _describe(axes, e, say["computation.heat"], say["states"], image)

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
        _describe(axes, e, say["inputs.heat"] + f": T = {e.frames}, C = {len(e.labels)}", say["classes"], image)

    name = phrase(e, "inputs.name").format(frames=e.frames, classes=len(e.labels), target=_short(e.spelling))
    picture: Picture = _drawn(draw, None, name, _size(e.frames, len(e.labels)))
    return picture


def paths(computation: Computation, shown: Sequence[Path]) -> Picture:
    """A few paths as lines over the occupancy."""
    e = computation
    say = words("explanation", e.lang)

    def draw(axes: Any) -> None:
        _map(axes, e.gamma.T, "Greys", 0, 2)
        for path, color in zip(shown, PATH_COLORS, strict=False):
            axes.plot(np.arange(1, e.frames + 1), path.states, color=color, linewidth=1.6)
        _names(axes, e.state_labels)
        _describe(axes, e, say["paths.title.lattice"], say["states"])
        texts = [plain(shortened(e.spelled(path), 40)) for path in shown]
        axes.legend(axes.lines, texts, frameon=False, loc="lower left", prop={"family": families(), "size": 8})

    name = say["paths.name"].format(target=_short(e.spelling))
    picture: Picture = _drawn(draw, None, name, _size(e.frames, e.lattice.num_states))
    return picture


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


def _map(axes: Any, values: npt.NDArray[Any], colors: str, low: float, high: float) -> Any:
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
    axes.set_title(title, fontsize=11, loc="left", color=INK, fontfamily=families())
    axes.set_xlabel(say["frame"])
    axes.set_ylabel(rows)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if image is not None:
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.03, pad=0.015)
        bar.outline.set_visible(False)
        bar.ax.tick_params(color=GRID, labelcolor=MUTED, labelsize=8)


def _label(name: str) -> str:
    """A label for an axis: shortened, with visible spaces, and dollar signs that begin no formula."""
    return plain(shortened(name).replace(" ", "␣"))


def _short(text: str) -> str:
    return shortened(text, 60)
