"""A lattice as a table on a sheet, with arrows between its cells. Imports drawing/ and lattice/."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...drawing.canvas import Sheet
from ...drawing.colors import GRID, INK, MUTED, ORANGE, PAPER, RED
from ...drawing.text import shortened, subscript, widest
from ...lattice import MOVES, Arc, Lattice

Columns = Mapping[str, Sequence[str]]

LINE = 17.0  # from one line of text to the next
MARGIN = 16.0
EDGE = 8.0  # around a table that stands on a page, which has margins of its own
FAR = 3  # an arc to a state so far away is a curve between two columns, since a straight one would cross their cells
MOST_FRAMES, MOST_STATES = 14, 15  # of a table; what is larger is drawn as a heat map


class Table:
    """A lattice as a table on a sheet: one row per state, one column per frame, and a corner that paths start from.

    Args:
        sheet: to draw on.
        x: points, of the left edge.
        y: points, of the upper edge.
        names: (K,) of the states.
        lattice: whose states they are; those that are not tokens are grey.
        frames: T.
        cell: points, the width of a cell.
        columns: left of the names, by their heads, what is written beside each state (K,).
    """

    CELL, WIDE_CELL, ROW = 54.0, 70.0, 32.0

    def __init__(
        self,
        sheet: Sheet,
        x: float,
        y: float,
        names: Sequence[str],
        lattice: Lattice,
        frames: int,
        cell: float = CELL,
        columns: Columns | None = None,
    ) -> None:
        self.sheet, self.y, self.cell = sheet, y, cell
        width, height = self.size(names, frames, cell)
        self.names = width - cell * frames
        beside = self._room(columns or {})
        self.x = x = x + beside
        if columns:
            self._write_beside(columns, beside / len(columns))
        for edge in (x, *(x + self.names + cell * i for i in range(frames + 1))):
            sheet.line([edge] * 2, [y, y + height], color=GRID)
        for i in range(len(names) + 2):
            sheet.line([x, x + width], [y + self.ROW * i] * 2, color=GRID)
        for t in range(frames):
            sheet.text(*self.center(-1, t), f"t{subscript(t + 1)}", ha="center", color=MUTED)
        for k, label in enumerate(names):
            color = MUTED if lattice.tokens[k] < 0 else INK
            sheet.text(*self.center(k, -1), shortened(label), ha="center", color=color, size=13)

    @classmethod
    def size(
        cls, names: Sequence[str], frames: int, cell: float = CELL, columns: Columns | None = None
    ) -> tuple[float, float]:
        """Width and height of a table; its first column is as wide as the names need."""
        widest_name = max(cell, *(8.6 * widest(shortened(name)) + 16 for name in names))
        return cls._room(columns or {}) + widest_name + cell * frames, cls.ROW * (len(names) + 1)

    @staticmethod
    def _room(columns: Columns) -> float:
        """The width of all columns left of the names."""
        return len(columns) * max(
            (6.4 * widest(text) + 14 for head, texts in columns.items() for text in (head, *texts)), default=0
        )

    def _write_beside(self, columns: Columns, width: float) -> None:
        for i, (head, texts) in enumerate(columns.items()):
            middle = self.x - width * (len(columns) - i - 0.5)
            self.sheet.text(middle, self.y + self.ROW / 2, head, size=10, color=MUTED, ha="center")
            for k, text in enumerate(texts):
                self.sheet.text(middle, self.center(k, 0)[1], text, size=11, ha="center")

    def center(self, k: int, t: int) -> tuple[float, float]:
        """The middle of the cell of state k at frame t; -1 is the row of frames, or the column of names."""
        across = self.names / 2 if t < 0 else self.names + self.cell * (t + 0.5)
        return self.x + across, self.y + self.ROW * (k + 1.5)

    def start(self) -> None:
        """The dot that paths start from."""
        self.sheet.dot(*self.center(-1, -1), color=ORANGE, radius=7)

    def move(
        self, begin: tuple[int, int], end: tuple[int, int], *, color: str = INK, label: str = "", shift: float = 0
    ) -> None:
        """An arrow between two cells (state, frame), with room for their text."""
        (x0, y0), (x1, y1) = self.center(*begin), self.center(*end)
        long = math.hypot(x1 - x0, y1 - y0)
        dx, dy = (x1 - x0) / long, (y1 - y0) / long
        x0, x1, y0, y1 = x0 - dy * shift, x1 - dy * shift, y0 + dx * shift, y1 + dx * shift
        gap = 11.0
        self.sheet.arrow((x0 + dx * gap, y0 + dy * gap), (x1 - dx * gap, y1 - dy * gap), color=color)
        how: dict[str, Any] = {"color": color, "size": 10, "ha": "center"}
        middle = (x0 + x1) / 2, (y0 + y1) / 2
        if widest(label) > 2 and y0 != y1:  # no room beside the arrow
            how |= {"zorder": 6, "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}}
            self.sheet.text(*middle, label, **how)
        elif label:
            self.sheet.text(middle[0] + 5 * dy, middle[1] - 7 - 2 * dy, label, **how)

    def leap(
        self,
        begin: tuple[int, int],
        end: tuple[int, int],
        *,
        color: str,
        room: tuple[float, float],
        label: str = "",
        width: float = 1.2,
    ) -> None:
        """An arrow from a cell (state, frame) to one of a far state: down between the columns.

        Args:
            begin: where it comes from.
            end: where it leads.
            color: of the line.
            room: half the width of the text in either cell.
            label: beside its upper end.
            width: of the line.
        """
        (x0, y0), (x1, y1) = self.center(*begin), self.center(*end)
        start, stop, border = (x0 + room[0], y0), (x1 - room[1], y1), x1 - self.cell / 2
        self.sheet.curve(start, (border + 8, y0), (border - 8, y1), stop, color=color, width=width)
        if label:
            how: dict[str, Any] = {"zorder": 6, "bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}}
            self.sheet.text(border, y0 + self.ROW / 2, label, color=color, size=9.5, ha="center", **how)

    def cross(self, begin: tuple[int, int], end: tuple[int, int]) -> None:
        """A move that no path makes: a red arrow, crossed out."""
        self.move(begin, end, color=RED)
        x, y = (np.array(self.center(*begin)) + self.center(*end)) / 2
        for sign in (1, -1):
            self.sheet.line([x - 6, x + 6], [y - 6 * sign, y + 6 * sign], color=RED, width=2.6)


def moves_from(lattice: Lattice, k: int) -> Iterator[int]:
    """The states that a path may be in one frame after state k."""
    for bit, ahead in ((Arc.STAY, 0), *MOVES):
        if k + ahead < lattice.num_states and lattice.arcs[k + ahead] & bit:
            yield k + ahead
    yield from lattice.long_arcs[lattice.long_arcs[:, 0] == k, 1].tolist()
