"""The pictures of CTC's rules, on the first tokens of the target. They show moves that a lattice's arcs allow."""

from __future__ import annotations

import numpy as np

from ...catalogue import words
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import BLUE, MUTED
from ...drawing.text import widest
from ...lattice import Arc, Lattice, ctc_lattice, equal_neighbours
from ..numbers import EMPTY, Computation
from .table import EDGE, LINE, MARGIN, Table, moves_from


def rules(computation: Computation, *, alone: bool = True) -> tuple[Picture, ...]:
    """The rules, on the first tokens of the target: no token skipped, the moves, and equal neighbours.

    Empty if the lattice is not CTC's, for which they do not hold.

    Args:
        computation: whose target it is.
        alone: each with its rule in words. A page says it in a text of its own.
    """
    if computation.blank is None or not computation.is_ctc:
        return ()
    draw = (_no_skip, _moves, _equal_neighbours)
    return tuple(one(computation, computation.blank, alone) for one in draw)


def _rule(e: Computation, key: str, lattice: Lattice, frames: int, note: str, alone: bool) -> tuple[Sheet, Table]:
    """A sheet with an empty table of a lattice; alone, with a title and a note."""
    say = words("explanation", e.lang)
    names = [e.labels[c] for c in lattice.labels]
    table_width, table_height = Table.size(names, frames)
    if not alone:
        sheet = Sheet(table_width + 2 * EDGE, table_height + 2 * EDGE)
        return sheet, Table(sheet, EDGE, EDGE, names, lattice, frames)
    lines = note.split("\n")
    width = max(table_width, 6.6 * max(map(widest, lines)), 8 * widest(say[f"rules.{key}.title"])) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + 30 + table_height + 16 + LINE * len(lines) + MARGIN / 2)
    sheet.text(MARGIN, MARGIN + 8, say[f"rules.{key}.title"], size=14, fontweight="bold")
    table = Table(sheet, MARGIN, MARGIN + 30, names, lattice, frames)
    for i, line in enumerate(lines):
        sheet.text(MARGIN, MARGIN + 30 + table_height + 18 + LINE * i, line, size=11, color=MUTED)
    return sheet, table


def _finished(e: Computation, sheet: Sheet, number: int, key: str) -> Picture:
    say = words("explanation", e.lang)
    title = say[f"rules.{key}.title"]
    return sheet.picture(say["rules.name"].format(number=number, target=e.spelling, title=title[3:]))


def _window(e: Computation, blank: int, tokens: int = 3) -> tuple[Lattice, list[int]]:
    """The lattice of the target's first tokens, which rules can be shown on, and the states of these tokens."""
    lattice = ctc_lattice(e.target[:tokens], blank)
    return lattice, np.flatnonzero(lattice.tokens >= 0).tolist()


def _no_skip(e: Computation, blank: int, alone: bool) -> Picture:
    lattice, states = _window(e, blank)
    sheet, table = _rule(e, "skip", lattice, 4, words("explanation", e.lang)["rules.skip.note"], alone)
    if len(states) > 2:
        table.cross((states[0], 0), (states[2], 1))
    if len(states) > 1:
        table.cross((states[0] + 1, 1), (states[1] + 1, 2))
    for k in (*states[:1], *(k + 1 for k in states[1:2])):
        for to in moves_from(lattice, k):
            table.move((k, 2), (to, 3))
    return _finished(e, sheet, 1, "skip")


def _moves(e: Computation, blank: int, alone: bool) -> Picture:
    lattice, states = _window(e, blank)
    frames = 5
    sheet, table = _rule(e, "moves", lattice, frames, words("explanation", e.lang)["rules.moves.note"], alone)
    table.start()
    for k in np.flatnonzero(lattice.arcs & Arc.START).tolist():
        table.move((-1, -1), (k, 0))
    for k in np.flatnonzero(lattice.arcs & Arc.END).tolist():
        sheet.dot(*table.center(k, frames - 1), color=BLUE)
    for first in states[:1]:
        for t, k in ((0, first), (2, first + 1)):
            for to in moves_from(lattice, k):
                table.move((k, t), (to, t + 1))
    return _finished(e, sheet, 2, "moves")


def _equal_neighbours(e: Computation, blank: int, alone: bool) -> Picture:
    say = words("explanation", e.lang)
    repeats = equal_neighbours(np.array(e.target, np.int64))
    note = ""
    if repeats:
        first = max(0, repeats[0] - 2)
        target, at = e.target[first : repeats[0] + 1], repeats[0] - first
    elif e.target:
        target, at = (*e.target[:2], e.target[min(1, len(e.target) - 1)]), min(2, len(e.target))
        note = "\n" + say["rules.repeat.made_up"].format(target=e.text(e.target), example=e.text(target))
    else:
        label = next((c for c in range(len(e.labels)) if c != blank), None)
        target, at = ((label, label), 1) if label is not None else ((), 0)
        note = "\n" + say["rules.repeat.made_up"].format(target=EMPTY, example=e.text(target))
    lattice = ctc_lattice(target, blank)
    token = e.labels[target[at]] if target else "?"
    note = say["rules.repeat.note"].format(pair=e.joined([token] * 2), token=token) + note
    sheet, table = _rule(e, "repeat", lattice, 5, note, alone)
    if target:
        one, other = np.flatnonzero((lattice.tokens == at - 1) | (lattice.tokens == at)).tolist()
        table.cross((one, 0), (other, 1))
        for to in moves_from(lattice, one):
            table.move((one, 2), (to, 3))
        table.move((one + 1, 3), (other, 4))
    return _finished(e, sheet, 3, "repeat")
