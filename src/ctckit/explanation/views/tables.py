"""Paths and α on the table of a lattice: example paths, and the loss worked out cell by cell.

What is too large for a table is shown by heatmaps.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ...catalogue import words
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import BLUE, INK, MUTED, PAPER, PATH_COLORS
from ...drawing.text import number, shortened, widest
from ...kernels import reference
from ...lattice import Arc, Lattice
from ..numbers import Computation, Path
from ..wording import Counted, costs_in_words, counted, phrase, signed, weights_by_state, why_no_path
from . import heatmaps
from .table import EDGE, FAR, LINE, MARGIN, MOST_FRAMES, MOST_STATES, Columns, Table, moves_from

Arrow = tuple[tuple[int, int], tuple[int, int]]  # from one cell (state, frame) to another

MOST_COLORED = 6  # paths; if there are more, all arrows are grey


def example_paths(computation: Computation, paths: Sequence[Path] | None = None, *, alone: bool = True) -> Picture:
    """A few paths through the table, each in its own colour, every arrow with the label that it emits.

    Args:
        computation: whose paths they are.
        paths: which; by default the best, and one that is unlike it.
        alone: with a heading and a note, and the paths' labels beside the table. On a page these are below it.
    """
    e = computation
    say = words("explanation", e.lang)
    shown = [] if why_no_path(e) else _unlike(e.paths) if paths is None else list(paths)
    if e.frames > MOST_FRAMES or e.lattice.num_states > MOST_STATES:
        return heatmaps.paths(e, shown)
    target = e.spelling
    cell = max(Table.CELL, 6.6 * max(widest(shortened(name)) for name in e.state_labels) + 26)
    beside = _beside(e)
    table_width, table_height = Table.size(e.state_labels, e.frames, cell, beside)
    legend = 10.5 * max((widest(_listed(e, path)) for path in shown), default=0)
    if alone:
        heading = _heading_of_paths(e)
        width = max(table_width + 24 + legend, *(6.8 * widest(line) for line in heading)) + 2 * MARGIN
        sheet = Sheet(width, MARGIN + 56 + table_height + 36)
        x, y, left, top = MARGIN, MARGIN + 56, MARGIN + table_width + 18, MARGIN + 56 + 1.5 * Table.ROW
        sheet.text(x, MARGIN + 8, heading[0], size=14, fontweight="bold")
        sheet.text(x, MARGIN + 32, heading[1], size=11, color=MUTED)
        sheet.text(x, y + table_height + 18, heading[2], size=11, color=MUTED)
    else:
        sheet = Sheet(max(table_width + 16, legend) + 2 * EDGE, table_height + 24 * len(shown) + 3 * EDGE)
        x, y, left, top = EDGE, EDGE, EDGE, EDGE + table_height + 20
    table = Table(sheet, x, y, e.state_labels, e.lattice, e.frames, cell, beside)
    table.start()
    drawn: set[Arrow] = set()
    for i, (path, color) in enumerate(zip(shown, PATH_COLORS, strict=False)):
        _follow(e, table, path, color, drawn, shift=5.0 * (i - (len(shown) - 1) / 2))
        sheet.text(left, top + 24 * i, _listed(e, path), color=color, size=14)
    for k in np.flatnonzero(e.lattice.arcs & Arc.END).tolist():
        if e.frames:
            end_x, end_y = table.center(k, e.frames - 1)
            sheet.dot(end_x + 16, end_y, color=BLUE, radius=4)
    return sheet.picture(say["paths.name"].format(target=target))


def _heading_of_paths(e: Computation) -> list[str]:
    """A title, what paths are, and how many there are; or why there is none."""
    say, target = words("explanation", e.lang), e.spelling
    if missing := why_no_path(e):
        return [say["paths.none"], missing, ""]
    heading = phrase(e, "paths.heading").format(target=target, frames=Counted(e.frames))
    return [
        phrase(e, "paths.title"),
        heading,
        phrase(e, "paths.note").format(count=Counted(e.path_count), target=target),
    ]


def _beside(e: Computation) -> Columns:
    """What each state adds to a path's score, as columns of a table."""
    say = words("explanation", e.lang)
    columns = weights_by_state(e)
    return {say[key]: [signed(value) if value else "" for value in values] for key, values in columns.items()}


def _follow(e: Computation, table: Table, path: Path, color: str, drawn: set[Arrow], *, shift: float) -> None:
    """Draws a path's arrows, beginning at the start dot; a label only on those that no path before it has drawn."""
    cells = [(-1, -1), *((k, t) for t, k in enumerate(path.states))]
    for begin, end in pairwise(cells):
        label = "" if (begin, end) in drawn else shortened(e.state_labels[end[0]]) + _score_on(e, begin[0], end[0])
        if begin[0] >= 0 and end[0] - begin[0] >= FAR:
            table.leap(begin, end, color=color, room=(11.0, 11.0), label=label, width=1.5)
        else:
            table.move(begin, end, color=color, label=label, shift=shift)
        drawn.add((begin, end))


def _score_on(e: Computation, source: int, to: int) -> str:
    """What the arc between two states adds, if there is only one; the cost of entering a state is in a column."""
    scores = [move.own for move in e.moves_into[to] if move.source == source]
    return f" {signed(scores[0])}" if len(scores) == 1 and scores[0] else ""


def _unlike(paths: Sequence[Path]) -> list[Path]:
    """The best path, and the one that agrees with it in the fewest frames."""
    if len(paths) < 2:
        return list(paths)
    best = np.array(paths[0].states)
    return [paths[0], max(paths[1:], key=lambda path: int((np.array(path.states) != best).sum()))]


def computation(computation: Computation, *, alone: bool = True) -> Picture:
    """One table for each end state: α in the cells, the paths that end there in colour, and the loss below.

    Args:
        computation: what is worked out.
        alone: with a note; and two tables side by side, if there is room. On a page they stand below each other.
    """
    e = computation
    say = words("explanation", e.lang)
    if e.frames > MOST_FRAMES or e.lattice.num_states > MOST_STATES:
        return heatmaps.alpha(e)
    ends = [k for k in np.flatnonzero(e.lattice.arcs & Arc.END).tolist() if e.frames and e.alpha[-1, k] > -np.inf]
    values = [number(value, 5) for value in e.alpha[e.alpha > -np.inf].ravel()]
    cell = max(Table.WIDE_CELL, 2 * _room(max(values, key=len, default="")) + 18)
    table_width, table_height = Table.size(e.state_labels, e.frames, cell, _beside(e))
    listed = 9.5 * max(8, 2 + max((widest(_listed(e, path)) for path in e.paths), default=0))
    panel = table_width + listed
    loss = _loss_line(e, ends)
    footer = [say["computation.note"], *costs_in_words(e), loss] if alone else [loss]
    per_row = 2 if alone and panel < 520 else 1
    rows = max(1, -(-len(ends) // per_row))
    panel_height = 30 + table_height + 24
    width = max(per_row * panel, 6.9 * max(map(widest, footer))) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + rows * panel_height + LINE * len(footer) + MARGIN)
    colors = iter(PATH_COLORS * 99)
    if not ends:
        _stuck_table(e, sheet, cell)
    for i, k in enumerate(ends):
        x, y = MARGIN + i % per_row * panel, MARGIN + i // per_row * panel_height
        sheet.text(
            x, y + 8, say["computation.ends"].format(state=k + 1, label=e.state_labels[k]), size=12, fontweight="bold"
        )
        table = Table(sheet, x, y + 26, e.state_labels, e.lattice, e.frames, cell, _beside(e))
        _end_table(e, table, k, colors)
    for i, line in enumerate(footer):
        sheet.text(
            MARGIN, MARGIN + rows * panel_height + 6 + LINE * i, line, size=11.5, color=INK if line is loss else MUTED
        )
    return sheet.picture(phrase(e, "computation.name").format(target=e.spelling, loss=number(e.loss, 10)))


def _end_table(e: Computation, table: Table, end: int, colors: Iterator[str]) -> None:
    """What leads to one end state: α where that can still be reached, and the paths, if they are few, in colour."""
    sheet = table.sheet
    table.start()
    reaches = _reaching(e.lattice, e.frames, end)
    paths = sorted((path for path in e.paths if path.states[-1] == end), key=lambda path: path.states)
    whole = len(e.paths) == e.path_count and e.path_count <= MOST_COLORED
    _numbers(e, table, reaches, over_arrows=not whole)
    shown = paths[: max(4, int((Table.ROW * (e.lattice.num_states + 1) - 60) / 20))]
    left, top = table.center(0, e.frames)[0] - table.cell / 2 + 12, table.center(0, 0)[1]
    for i, path in enumerate(shown):
        color = next(colors) if whole else INK
        if whole:
            _cell_arrows(e, table, path, color, shift=3.0 * (i - (len(shown) - 1) / 2))
        sheet.text(left, top + 20 * i, _listed(e, path), color=color)
    if not whole:
        _all_arrows(e, table, reaches)
    rest = len(paths) - len(shown) if whole else _ending_in(e.lattice, e.frames, end) - len(shown)
    if rest > 0:
        more = words("explanation", e.lang)["computation.more"].format(count=counted(rest))
        sheet.text(left, top + 20 * len(shown), more, color=MUTED, size=11)


def _stuck_table(e: Computation, sheet: Sheet, cell: float) -> None:
    """Where no path is: α of all beginnings of paths, to see how far they get."""
    title = words("explanation", e.lang)["computation.stuck"]
    if e.frames:
        sheet.text(MARGIN, MARGIN + 8, title, size=12, fontweight="bold")
    table = Table(sheet, MARGIN, MARGIN + 26, e.state_labels, e.lattice, e.frames, cell, _beside(e))
    table.start()
    everywhere = np.ones(e.alpha.shape, bool)
    _numbers(e, table, everywhere, over_arrows=True)
    _all_arrows(e, table, everywhere)


def _numbers(e: Computation, table: Table, shown: npt.NDArray[np.bool_], *, over_arrows: bool) -> None:
    """α in the cells (T, K) that are shown and can be reached."""
    backing: dict[str, Any] = {"bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}} if over_arrows else {}
    for t, k in np.argwhere(shown & (e.alpha > -np.inf)).tolist():
        table.sheet.text(*table.center(k, t), number(e.alpha[t, k], 5), ha="center", size=9.5, zorder=6, **backing)


def _room(text: str) -> float:
    """Half the width of a number in a cell, with a little air."""
    return 3.1 * len(text) + 4


def _cell_arrows(e: Computation, table: Table, path: Path, color: str, shift: float) -> None:
    """A path's arrows, between the cells' numbers."""
    cells = [(-1, -1), *((k, t) for t, k in enumerate(path.states))]
    for (k0, t0), (k1, t1) in pairwise(cells):
        (x0, y0), (x1, y1) = table.center(k0, t0), table.center(k1, t1)
        if k1 == k0:
            left, right = (_room(number(e.alpha[t, k0], 5)) for t in (t0, t1))
            table.sheet.arrow((x0 + left, y0 + shift), (x1 - right, y1 + shift), color=color, width=1.3)
        elif k0 >= 0 and k1 - k0 >= FAR:
            room = _room(number(e.alpha[t0, k0], 5)), _room(number(e.alpha[t1, k1], 5))
            table.leap((k0, t0), (k1, t1), color=color, room=room, width=1.3)
        else:
            down = math.copysign(9.0, k1 - k0)
            table.sheet.arrow((x0 + 9 + shift, y0 + down), (x1 - 9 + shift, y1 - down), color=color, width=1.3)


def _all_arrows(e: Computation, table: Table, reaches: npt.NDArray[np.bool_]) -> None:
    """Every move that some path to the end makes, in grey."""
    alive = reaches & (e.alpha > -np.inf)
    for k in np.flatnonzero(alive[0] if e.frames else []).tolist():
        _cell_arrows(e, table, Path((k,), 0, 0), MUTED, 0)
    for t in range(1, e.frames):
        for k in np.flatnonzero(alive[t - 1]).tolist():
            for to in moves_from(e.lattice, k):
                if alive[t, to] and to - k >= FAR:
                    room = _room(number(e.alpha[t - 1, k], 5)), _room(number(e.alpha[t, to], 5))
                    table.leap((k, t - 1), (to, t), color=MUTED, room=room, width=0.8)
                elif alive[t, to]:
                    (x0, y0), (x1, y1) = table.center(k, t - 1), table.center(to, t)
                    left, right = (_room(number(e.alpha[s, k], 5)) if to == k else 10.0 for s in (t - 1, t))
                    down = 0.0 if to == k else 9.0
                    table.sheet.arrow((x0 + left, y0 + down), (x1 - right, y1 - down), color=MUTED, width=0.8)


def _reaching(lattice: Lattice, frames: int, end: int) -> npt.NDArray[np.bool_]:
    """Which cells (T, K) one state at the last frame can be reached from."""
    return np.asarray(_ways(lattice, frames, end) != 0, bool)


def _ending_in(lattice: Lattice, frames: int, end: int) -> int:
    """How many paths end in one state."""
    return reference.count_paths(_only(lattice, end), frames)


def _ways(lattice: Lattice, frames: int, end: int) -> npt.NDArray[np.object_]:
    return reference.backward(_only(lattice, end), np.ones((frames, lattice.num_states), object), reference.COUNT)


def _only(lattice: Lattice, end: int) -> Lattice:
    """The same lattice, with one state to end in."""
    arcs = lattice.arcs & ~np.uint8(Arc.END)
    arcs[end] |= Arc.END
    return replace(lattice, arcs=arcs)


def _loss_line(e: Computation, ends: Sequence[int]) -> str:
    say = words("explanation", e.lang)
    if missing := why_no_path(e):
        return missing
    if not e.frames:
        return say["computation.no_frames"].format(loss=number(e.loss, 10))
    terms = ", ".join(number(e.alpha[-1, k], 5) for k in ends)
    return say["computation.loss"].format(ends=terms, loss=number(e.loss, 10))


def _listed(e: Computation, path: Path) -> str:
    """A path as it is listed."""
    return shortened(e.spelled(path), 40)
