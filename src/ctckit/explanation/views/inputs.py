"""The picture of the loss's inputs: the matrix of log-probabilities, and the target."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...catalogue import words
from ...catalogue.columns import wrapped
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import GREEN, INK, MUTED
from ...drawing.text import number, shortened, subscript, widest
from ..numbers import Computation
from ..wording import Counted, costs_in_words, frames_needed, phrase
from . import heatmaps
from .table import EDGE, LINE, MARGIN, MOST_FRAMES

TOP = MARGIN + 62  # of the matrix
ROW = 20.0  # of the matrix, its height
TARGET_WIDTH, TARGET_LINES = 44, 12  # of the target: columns of text, and how many lines at most


class _Matrix(NamedTuple):
    """The matrix as text, and where it stands: in points, the brackets included."""

    heads: list[str]
    numbers: list[list[str]]
    cell: float
    left: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width


def inputs(computation: Computation, *, alone: bool = True) -> Picture:
    """The matrix of log-probabilities (T, C) with its names, and the target.

    Args:
        computation: whose inputs they are.
        alone: with notes, and the target beside the matrix. On a page it is below, so that a phone has room for both.
    """
    e = computation
    if e.frames > 2 * MOST_FRAMES or len(e.labels) > MOST_FRAMES:
        return heatmaps.inputs(e)
    matrix, notes = _matrix(e, alone=alone), _notes(e) if alone else []
    target = _cut(wrapped("[" + ", ".join(map(str, e.target)) + "]", TARGET_WIDTH))
    letters = _cut(wrapped(e.text(e.target), TARGET_WIDTH)) if _is_named(e) else []
    lengths = phrase(e, "inputs.lengths").format(length=Counted(len(e.target)))
    target_width = max(8.2 * max(map(widest, (*target, *letters))), 8 * widest(lengths))
    target_height = LINE * (len(target) + len(letters)) + 22
    if alone:
        place = matrix.right + 60 + target_width / 2, TOP
        width, bottom = matrix.right + 60 + target_width, TOP + max(matrix.height, target_height)
    else:
        place = matrix.left + matrix.width / 2, TOP + matrix.height + 92
        width, bottom = max(matrix.right, place[0] + target_width / 2), place[1] + target_height - 20
    width = max(width, 7.2 * max(map(widest, notes), default=0)) + MARGIN
    sheet = Sheet(width, bottom + 34 + LINE * len(notes) + MARGIN)
    _draw_matrix(e, sheet, matrix, upright=not alone)
    _draw_target(e, sheet, place, lengths, target, letters)
    for i, note in enumerate(notes):
        sheet.text(MARGIN, bottom + 44 + LINE * i, note, color=INK, size=11.5)
    name = phrase(e, "inputs.name").format(frames=e.frames, classes=len(e.labels), target=e.spelling)
    return sheet.picture(name)


def _matrix(e: Computation, *, alone: bool) -> _Matrix:
    """What the matrix says, and how much room it takes; on a page the number of frames is written upwards."""
    heads = [
        f"C{subscript(c)}={shortened(label)}" + (f"={c}" if c == e.blank else "") for c, label in enumerate(e.labels)
    ]
    numbers = [[number(value, 4) for value in frame] for frame in e.log_probs]
    longest = max((len(text) for frame in numbers for text in frame), default=0)
    cell = max(62.0, 7.4 * longest + 10, 6.6 * max(map(widest, heads)) + 10)
    left = MARGIN + 12 + 7.2 * widest(_frames(e)) + 44 if alone else EDGE + 66
    return _Matrix(heads, numbers, cell, left, cell * len(e.labels), ROW * max(e.frames, 1))


def _notes(e: Computation) -> list[str]:
    """The sentences below the matrix."""
    say = words("explanation", e.lang)
    rows = "inputs.note.rows" if e.blank is not None else "inputs.note.rows.without_blank"
    return [
        say[rows].format(classes=len(e.labels)),
        *([say["inputs.note.blank"]] if e.is_ctc else []),
        *costs_in_words(e),
        phrase(e, "inputs.note.length").format(needed=frames_needed(e), frames=e.frames),
    ]


def _frames(e: Computation) -> str:
    return words("explanation", e.lang)["inputs.frames"].format(frames=e.frames)


def _draw_matrix(e: Computation, sheet: Sheet, matrix: _Matrix, *, upright: bool) -> None:
    """Numbers between brackets, with the classes' and frames' names and braces around them."""
    say = words("explanation", e.lang)
    left, right, bottom = matrix.left, matrix.right, TOP + matrix.height
    middle = left + matrix.width / 2
    sheet.text(middle, MARGIN + 6, say["inputs.classes"].format(classes=len(e.labels)), color=GREEN, ha="center")
    sheet.brace(left, right, MARGIN + 18, upright=False, color=GREEN)
    for c, head in enumerate(matrix.heads):
        sheet.text(left + matrix.cell * (c + 0.5), TOP - 16, head, ha="center", color=MUTED, size=11)
    for t, frame in enumerate(matrix.numbers):
        y = TOP + ROW * (t + 0.5)
        sheet.text(left - 12, y, f"t{subscript(t + 1)}", ha="right", color=MUTED)
        for c, text in enumerate(frame):
            sheet.text(left + matrix.cell * (c + 1) - 8, y, text, ha="right")
    for x, side in ((left - 4, 1), (right + 4, -1)):
        sheet.line([x + 4 * side, x, x, x + 4 * side], [TOP, TOP, bottom, bottom], width=1.2)
    sheet.brace(TOP, bottom, left - 44, upright=True, color=GREEN)
    how: dict[str, Any] = {"rotation": 90, "ha": "center"} if upright else {"ha": "right"}
    sheet.text(left - (58 if upright else 50), TOP + matrix.height / 2, _frames(e), color=GREEN, **how)
    sheet.text(middle, bottom + 16, say["inputs.matrix"], color=MUTED, size=11, ha="center")


def _is_named(e: Computation) -> bool:
    """Whether the target's classes have names other than their numbers."""
    return any(c < 0 or e.labels[c] != str(c) for c in e.target)


def _cut(lines: list[str]) -> list[str]:
    """Lines of a target; of a very long one the first."""
    return lines if len(lines) <= TARGET_LINES else [*lines[: TARGET_LINES - 1], "…"]


def _draw_target(
    e: Computation, sheet: Sheet, place: tuple[float, float], lengths: str, target: list[str], letters: list[str]
) -> None:
    """The target's classes under a brace, its name, and its labels; the place is the top of the classes' middle."""
    middle, top = place
    sheet.text(middle, top - 40, lengths, color=GREEN, ha="center")
    half = 3.7 * max(map(widest, target))
    sheet.brace(middle - half, middle + half, top - 26, upright=False, color=GREEN)
    for i, line in enumerate(target):
        sheet.text(middle, top + LINE * i, line, ha="center", size=13)
    y = top + LINE * len(target)
    sheet.text(middle, y + 5, words("explanation", e.lang)["inputs.target"], ha="center", color=MUTED, size=11)
    for i, line in enumerate(letters):
        sheet.text(middle, y + 25 + LINE * i, line, ha="center", color=INK, size=13)
