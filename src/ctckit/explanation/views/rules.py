"""The pictures of CTC's rules, on the first tokens of the target. They show moves that a lattice's arcs allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...catalogue import words
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import BLUE, MUTED
from ...drawing.text import widest
from ...lattice import Arc, Lattice, ctc_lattice, equal_neighbours
from ..numbers import Computation
from .table import LINE, MARGIN, Table, steps


def rules(computation: Computation) -> tuple[Picture, ...]:
    """The rules, on the first tokens of the target: no token skipped, the moves, and equal neighbours."""
    return _no_skip(computation), _moves(computation), _equal_neighbours(computation)


def _rule(e: Computation, key: str, states: Sequence[str], frames: int, note: str) -> tuple[Sheet, Table]:
    """A sheet with a title, an empty table and a note."""
    say = words("explanation", e.lang)
    lines = note.split("\n")
    table_width, table_height = Table.size(states, frames)
    width = max(table_width, 6.6 * max(map(widest, lines)), 8 * widest(say[f"rules.{key}.title"])) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + 30 + table_height + 16 + LINE * len(lines) + MARGIN / 2)
    sheet.text(MARGIN, MARGIN + 8, say[f"rules.{key}.title"], size=14, fontweight="bold")
    table = Table(sheet, MARGIN, MARGIN + 30, states, frames)
    for i, line in enumerate(lines):
        sheet.text(MARGIN, MARGIN + 30 + table_height + 18 + LINE * i, line, size=11, color=MUTED)
    return sheet, table


def _finished(e: Computation, sheet: Sheet, number: int, key: str) -> Picture:
    say = words("explanation", e.lang)
    title = say[f"rules.{key}.title"]
    return sheet.picture(say["rules.name"].format(number=number, target=e.text(e.target), title=title[3:]))


def _window(e: Computation, tokens: int = 3) -> tuple[Lattice, list[str]]:
    """The lattice of the target's first tokens, which rules can be shown on, and the names of its states."""
    lattice = ctc_lattice(np.array(e.target[:tokens], np.int64), e.blank)
    return lattice, [e.labels[c] for c in lattice.labels]


def _no_skip(e: Computation) -> Picture:
    lattice, names = _window(e)
    note = words("explanation", e.lang)["rules.skip.note"]
    sheet, table = _rule(e, "skip", names, 4, note)
    first = 1
    for t, (begin, ahead) in enumerate(((first, 4), (first + 1, 2))):
        end = begin + ahead
        if end < lattice.states:
            table.cross((begin, t), (end, t + 1))
    for k in (first, first + 3):
        for ahead in steps(lattice, k) if k < lattice.states else ():
            t = 2
            table.move((k, t), (k + ahead, t + 1))
    return _finished(e, sheet, 1, "skip")


def _moves(e: Computation) -> Picture:
    lattice, names = _window(e)
    frames = 5
    note = words("explanation", e.lang)["rules.moves.note"]
    sheet, table = _rule(e, "moves", names, frames, note)
    table.start()
    for k in np.flatnonzero(lattice.arcs & Arc.START).tolist():
        table.move((-1, -1), (k, 0))
    for k in np.flatnonzero(lattice.arcs & Arc.END).tolist():
        sheet.dot(*table.place(k, frames - 1), color=BLUE)
    for t, k in ((0, 1), (2, 2)):
        if k < lattice.states:
            for ahead in steps(lattice, k):
                table.move((k, t), (k + ahead, t + 1))
    return _finished(e, sheet, 2, "moves")


def _equal_neighbours(e: Computation) -> Picture:
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
        other = next((c for c in range(len(e.labels)) if c != e.blank), None)
        target, at = ((other, other), 1) if other is not None else ((), 0)
        note = "\n" + say["rules.repeat.made_up"].format(target="∅", example=e.text(target))
    lattice = ctc_lattice(np.array(target, np.int64), e.blank)
    names = [e.labels[c] for c in lattice.labels]
    token = e.labels[target[at]] if target else "?"
    sheet, table = _rule(e, "repeat", names, 5, say["rules.repeat.note"].format(pair=token * 2, token=token) + note)
    k = 2 * at - 1  # the first of the two
    if target:
        table.cross((k, 0), (k + 2, 1))
        for ahead in steps(lattice, k):
            table.move((k, 2), (k + ahead, 3))
        table.move((k + 1, 3), (k + 2, 4))
    return _finished(e, sheet, 3, "repeat")
