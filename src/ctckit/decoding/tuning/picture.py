"""Draws how the errors depend on a language's weights. May import drawing/, catalogue/ and text/."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...catalogue import words
from ...drawing.canvas import Picture, new_figure, settle, shades, themed_axes
from ...drawing.colors import BLUE, INK, MUTED, RED
from ...drawing.text import families

_CELL = 46.0  # points
_MARGINS = (70.0, 20.0, 60.0, 78.0)  # left, right, below, above


class Marked(NamedTuple):
    """A pair of weights that is marked: its place, color and caption."""

    alpha: float
    beta: float
    color: str
    words: str


def weights_picture(
    rates: dict[tuple[float, float], float],
    alphas: Sequence[float],
    betas: Sequence[float],
    chosen: tuple[float, float],
    own: tuple[float, float],
    without: float,
    unit: str,
    lang: str,
) -> Picture:
    """A table of error rates, bluer where they are lower, with two pairs of weights marked.

    Args:
        rates: error rates by alpha and beta: all pairs of `alphas` and `betas`, and others.
        alphas: one for each column.
        betas: one for each row.
        chosen: the weights that were chosen.
        own: the weights that the decoder had.
        without: the error rate without a language.
        unit: what is counted: ``"words"`` or ``"letters"``.
        lang: ``"en"`` or ``"zh"``.
    """
    from matplotlib.patches import Rectangle

    say = words("decoding", lang)
    left, right, below, above = _MARGINS
    width, height = left + len(alphas) * _CELL + right, below + len(betas) * _CELL * 0.6 + above
    figure = new_figure(width, height)
    axes = figure.add_axes((left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height))
    table = np.array([[rates[alpha, beta] for alpha in alphas] for beta in betas])
    _cells(axes, table)
    axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_yticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set(xlim=(-0.5, len(alphas) - 0.5), ylim=(-0.5, len(betas) - 0.5))
    axes.set_xlabel(say["alpha"], fontsize=10)
    axes.set_ylabel(say["beta"], fontsize=10)
    themed_axes(axes)
    axes.tick_params(length=0)
    marks = [Marked(*own, RED, say["own"]), Marked(*chosen, INK, say["chosen"])]
    for mark in marks:
        x, y = np.interp(mark.alpha, alphas, range(len(alphas))), np.interp(mark.beta, betas, range(len(betas)))
        if mark.alpha in alphas and mark.beta in betas:
            how: dict[str, Any] = {"fill": False, "edgecolor": mark.color, "linewidth": 2}
            axes.add_patch(Rectangle((float(x) - 0.47, float(y) - 0.43), 0.94, 0.86, **how))
        else:  # between cells: a dot, since a frame would cross the cells' numbers
            axes.plot([x], [y], marker="o", markersize=6, color=mark.color)
    lines = [say[f"title/{unit}"], say["without"].format(rate=without)]
    lines += [mark.words.format(alpha=mark.alpha, beta=mark.beta, rate=rates[mark.alpha, mark.beta]) for mark in marks]
    for i, (line, color) in enumerate(zip(lines, (INK, MUTED, RED, INK), strict=True)):
        figure.text(8 / width, 1 - (14 + 16 * i) / height, line, fontsize=10.5 if i == 0 else 9.5, color=color,
                    va="center", fontfamily=families())  # fmt: skip
    settle(figure)
    return Picture(figure, say[f"title/{unit}"])


def _cells(axes: Any, table: npt.NDArray[np.float64]) -> None:
    """Draws the rates as numbers, on blue where they are low; elsewhere the light or dark background shows through."""
    low = float(table.min())
    axes.imshow(
        table,
        cmap=shades((BLUE, 0.5), (BLUE, 0)),
        vmin=low,
        vmax=max(2 * low, low + 1e-3),
        aspect="auto",
        interpolation="nearest",
    )
    for (row, column), rate in np.ndenumerate(table):
        axes.text(column, row, f"{rate:.1%}", ha="center", va="center", fontsize=8.5, color=INK)
