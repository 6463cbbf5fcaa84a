"""The picture of a lattice as a graph: its states from top to bottom, the arcs between them, and all weights.

It has no frames: what a path adds to its score by going through the lattice can be read from it.
"""

from __future__ import annotations

import math
from itertools import product

from ...catalogue import words
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import BLUE, GRID, INK, MUTED, ORANGE, PAPER
from ...drawing.text import shortened, widest
from ...lattice import Arc
from ..numbers import Computation, Move
from ..wording import Counted, signed, weights_by_state
from .table import LINE, MARGIN

ROW, HALF = 42.0, 12.0  # from one state to the next, and half a state's height
START = 46.0  # the room for the arrows of beginnings
MOST_STATES = 40
LABEL = 9.0  # the size of numbers on arcs

Place = tuple[float, float]


def graph(computation: Computation) -> Picture:
    """The states with their arcs; a number on an arc is its score, and columns at the left have those of states."""
    return _Graph(computation).picture()


class _Graph:
    """What is drawn, and where."""

    def __init__(self, e: Computation) -> None:
        self.e, self.say = e, words("explanation", e.lang)
        self.states = min(MOST_STATES, e.lattice.num_states)
        self.names = [shortened(label) for label in e.state_labels[: self.states]]
        self.half = max(15.0, *(4.4 * widest(name) + 8 for name in self.names))  # half a state's width
        self.columns = weights_by_state(e)
        beside = [(self.say[key], *map(signed, values)) for key, values in self.columns.items()]
        widths = [max(46.0, *(6.4 * widest(text) + 14 for text in texts)) for texts in beside]
        self.edges = [MARGIN + sum(widths[:i]) for i in range(len(widths) + 1)]
        self.middle = self.edges[-1] + START + self.half
        inside = [move for moves in e.moves_into[: self.states] for move in moves if move.source < move.to]
        self.arcs = sorted(inside, key=lambda move: move.to - move.source)
        reach = max(map(_bulge, self.arcs), default=0.0)
        self.notes = [self.say["graph.legend"]]
        self.notes += [self.say[f"{key}.note"] for key in self.columns]
        self.notes += [self.say["graph.arc.note"]] if any(move.own for move in self.arcs) else []
        self.title = self.say["graph.title"].format(
            target=shortened(e.spelling, 40), states=Counted(e.lattice.num_states)
        )
        texts = 6.7 * max(widest(note) for note in self.notes), 8.6 * widest(self.title)
        width = max(self.middle + self.half + 0.75 * reach + 50, MARGIN + max(texts))
        self.top = MARGIN + 36 + (26 if self.columns else 0)
        more = LINE if self.states < e.lattice.num_states else 0
        self.end = self.top + ROW * self.states + more
        self.sheet = Sheet(width + MARGIN, self.end + 6 + LINE * len(self.notes) + MARGIN)

    def picture(self) -> Picture:
        """Everything, in the order in which it covers what was drawn before."""
        self.sheet.text(MARGIN, MARGIN + 8, self.title, size=14, fontweight="bold")
        self._draw_columns()
        for k in range(self.states):
            self._draw_state(k)
        taken: list[Place] = []
        for move in self.arcs:
            if move.to == move.source + 1 and not move.own:
                self._draw_step(move.source)
            else:
                self._draw_curve(move, taken)
        if self.states < self.e.lattice.num_states:
            more = self.say["graph.more"].format(count=Counted(self.e.lattice.num_states - self.states))
            self.sheet.text(MARGIN, self.end - LINE / 2 - 4, more, size=11, color=MUTED)
        for i, note in enumerate(self.notes):
            self.sheet.text(MARGIN, self.end + 14 + LINE * i, note, size=11, color=MUTED)
        return self.sheet.picture(self.say["graph.name"].format(target=shortened(self.e.spelling, 60)))

    def _y(self, k: int) -> float:
        return self.top + ROW * (k + 0.5)

    def _draw_columns(self) -> None:
        """What each state adds to the score of a path, beside it."""
        for left, right, (key, values) in zip(self.edges, self.edges[1:], self.columns.items(), strict=False):
            self.sheet.text((left + right) / 2, self.top - 12, self.say[key], size=10, color=MUTED, ha="center")
            for k, value in enumerate(values[: self.states]):
                if value:
                    self.sheet.text((left + right) / 2, self._y(k), signed(value), size=11, ha="center")

    def _draw_state(self, k: int) -> None:
        arcs, x, y, half = int(self.e.lattice.arcs[k]), self.middle, self._y(k), self.half
        self.sheet.box(x - half, y - HALF, 2 * half, 2 * HALF, edge=MUTED)
        if arcs & Arc.END:
            self.sheet.box(x - half - 3, y - HALF - 3, 2 * half + 6, 2 * HALF + 6, edge=BLUE, line=1.4)
            self.sheet.box(x - half, y - HALF, 2 * half, 2 * HALF, edge=BLUE, line=1.4)
        left = x - half - (3 if arcs & Arc.END else 0)
        if arcs & Arc.STAY:
            self.sheet.curve((left, y + 1), (left - 20, y + 1), (left - 20, y - 9), (left - 1, y - 8), color=MUTED)
        if arcs & Arc.START:
            self.sheet.dot(left - 36, y + 7, color=ORANGE, radius=4)
            self.sheet.arrow((left - 34, y + 7), (left - 1, y + 7), color=ORANGE)
        color = MUTED if self.e.lattice.tokens[k] < 0 else INK
        self.sheet.text(x, y, self.names[k], size=13, color=color, ha="center", zorder=6)

    def _draw_step(self, k: int) -> None:
        """A straight arrow to the next state."""
        gaps = [HALF + (3.0 if self.e.lattice.arcs[state] & Arc.END else 0.0) for state in (k, k + 1)]
        begin, end = (self.middle, self._y(k) + gaps[0]), (self.middle, self._y(k + 1) - gaps[1])
        self.sheet.arrow(begin, end, color=MUTED)

    def _draw_curve(self, move: Move, taken: list[Place]) -> None:
        """An arc at the right, with what it adds; `taken` are the places of the numbers so far."""
        begin, end, right = self._y(move.source), self._y(move.to), self.middle + self.half + 4
        out = right + _bulge(move)
        points = (right, begin + 5), (out, begin + 9), (out, end - 9), (right, end - 5)
        self.sheet.curve(*points, color=INK if move.own else MUTED)
        if move.own:
            text = signed(move.own)
            taken.append(_free(points, 5.6 * widest(text), taken))
            backing = {"facecolor": PAPER, "edgecolor": GRID, "linewidth": 0.5, "pad": 1.2}
            self.sheet.text(*taken[-1], text, size=LABEL, ha="center", zorder=6, bbox=backing)


def _bulge(move: Move) -> float:
    """How far an arc's curve is bent to the right."""
    return float(30 * (move.to - move.source) ** 0.65)


def _free(points: tuple[Place, Place, Place, Place], width: float, taken: list[Place]) -> Place:
    """A place on a curve where a number covers no other: its middle, or near it."""
    places = [_on_curve(points, 0.5 + side * step / 20) for step, side in product(range(9), (1, -1))]
    for x, y in places:
        if all(abs(x - left) > width + 4 or abs(y - top) > LABEL + 6 for left, top in taken):
            return x, y
    return places[0]


def _on_curve(points: tuple[Place, Place, Place, Place], at: float) -> Place:
    """A place on a cubic Bézier curve, from 0 to 1."""
    shares = [math.comb(3, i) * at**i * (1 - at) ** (3 - i) for i in range(4)]
    x, y = (sum(share * point[axis] for share, point in zip(shares, points, strict=True)) for axis in (0, 1))
    return x, y
