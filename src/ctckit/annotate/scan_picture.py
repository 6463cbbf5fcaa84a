"""A page drawn with what was read on it: boxes around its words, and below each line of the scan the words' texts.

Imports drawing/, catalogue/, recognisers/pages.py, results.py, scans.py and recording.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..catalogue import words as catalogue
from ..catalogue.columns import cells
from ..drawing.canvas import Picture, Sheet
from ..drawing.colors import BLUE, GRID, INK, MUTED, RED
from ..drawing.text import printable, shortened
from ..recognisers.pages import level
from ..results import Place, Segment
from .picture import UNSURE
from .recording import confidence, words_of
from .scans import PageText

WIDTH, HEIGHT = 900.0, 3600.0  # points, of the scan at most
LARGEST = 1.25  # points a pixel
LEFT, RIGHT, HEAD, LEGEND, AXIS = 40.0, 12.0, 28.0, 16.0, 30.0
LEAST_WIDTH = 300.0  # points: room for the heading
SIZE, LEAST_SIZE, LETTER = 9.0, 4.0, 0.64  # of texts in points, and of a letter in sizes
SHADES = 2400  # rows and columns of the scan at most: more than is seen


class _Piece(NamedTuple):
    """A word, or a Chinese character: its box in pixels of the page, and the columns that its text may take."""

    text: str
    start: float
    end: float
    room: float
    unsure: bool


class _Line(NamedTuple):
    """A line: the rows of its boxes, its pieces, and the size of its texts in points."""

    top: float
    bottom: float
    pieces: list[_Piece]


def draw_page(page: PageText, pixels: npt.NDArray[np.uint8], *, lang: str = "en") -> Picture:
    """Draws a page with its words; those that are not sure are red.

    Args:
        page: the words with their places.
        pixels: uint8 (H, W, 3), the page.
        lang: ``"en"`` or ``"zh"``.

    Raises:
        CTCError: the language is unknown.
        MissingExtraError: matplotlib is not installed.
    """
    say = catalogue("annotation", lang)
    rows, columns = pixels.shape[:2]
    slope = page.places[0].slope if page.places else 0.0
    shades = level(pixels, slope).mean(axis=2)
    lines = [_line(line, place, columns) for line, place in zip(page.lines, page.places, strict=True)]
    scale = min(WIDTH / columns, HEIGHT / rows, LARGEST)
    size = _size(lines, scale)
    unsure = any(piece.unsure for line in lines for piece in line.pieces)
    top = HEAD + (LEGEND if unsure else 0)
    tier = 1.6 * size + 2
    width = max(columns * scale, LEAST_WIDTH)
    sheet = Sheet(LEFT + width + RIGHT, top + rows * scale + len(lines) * tier + AXIS)
    _heading(sheet, page, unsure, say)
    for line, first, last in _opened(lines, rows):
        _draw_part(sheet, shades[first:last], top, scale)
        if line is not None:
            _draw_line(sheet, line, top - first * scale, scale, size, top + (last - first) * scale + tier / 2)
            top += tier
        top += (last - first) * scale
    _draw_axis(sheet, top, columns, scale, say)
    sheet.axes.set(xlim=(0, LEFT + width + RIGHT), ylim=(sheet.figure.get_figheight() * 72, 0))
    text = shortened(" ".join(line.text for line in page.lines), 60)
    return sheet.picture(say["name"].format(text=printable(text)))


def _line(line: Segment, place: Place, columns: int) -> _Line:
    """The pieces of a line, on a page that is level."""
    shown = [piece for word in line.parts for piece in _pieces(word) if not math.isnan(piece.start)]
    limits = [0.0, *((one.end + other.start) / 2 for one, other in itertools.pairwise(shown)), columns]
    pieces = []
    for piece, before, after in zip(shown, limits[:-1], limits[1:], strict=False):
        middle = (piece.start + piece.end) / 2
        room = 2 * min(middle - before, after - middle)
        text = shortened(printable(piece.text), 40)
        pieces.append(_Piece(text, piece.start, piece.end, room, piece.confidence < UNSURE))
    top = place.top + place.slope * (columns / 2 - place.left)
    return _Line(top, top + place.bottom - place.top, pieces)


def _pieces(word: Segment) -> tuple[Segment, ...]:
    """A word; where it has characters that are as wide as Chinese ones, its tokens."""
    wide = any(cells(token.text) == 2 * len(token.text) > 0 for token in word.parts)
    return word.parts if wide else (word,)


def _size(lines: list[_Line], scale: float) -> float:
    """The size for which nine of ten texts have room."""
    fits = [piece.room * scale / (LETTER * max(cells(piece.text), 1)) for line in lines for piece in line.pieces]
    return float(np.quantile(fits, 0.1).clip(LEAST_SIZE, SIZE)) if fits else SIZE


def _opened(lines: list[_Line], rows: int) -> Iterator[tuple[_Line | None, int, int]]:
    """The parts of a page between which there is room for texts: a line that ends there, the first row and the last."""
    first = 0
    for i, line in enumerate(lines):
        after = lines[i + 1].top if i + 1 < len(lines) else rows
        last = max(first + 1, min(rows, round(line.bottom + min(3.0, max(0.0, (after - line.bottom) / 2)))))
        yield line, first, last
        first = last
    if first < rows:
        yield None, first, rows


def _heading(sheet: Sheet, page: PageText, unsure: bool, say: Mapping[str, str]) -> None:
    """The mean confidence, and what red means."""
    words, sure = words_of(page.lines), confidence(page.lines)
    shown = "–" if math.isnan(sure) else f"{sure:.3f}"
    sheet.text(LEFT, 14, say["title"].format(words=len(words), confidence=shown), size=11)
    if unsure:
        sheet.text(LEFT, 31, "■", size=9, color=RED)
        sheet.text(LEFT + 12, 31, say["unsure"].format(limit=UNSURE), size=9, color=MUTED)


def _draw_part(sheet: Sheet, shades: npt.NDArray[np.floating[Any]], top: float, scale: float) -> None:
    """Some rows of the scan."""
    rows, columns = shades.shape
    extent = (LEFT, LEFT + columns * scale, top + rows * scale, top)
    sheet.axes.imshow(shades, cmap="gray", vmin=0, vmax=255, aspect="auto", extent=extent)


def _draw_line(sheet: Sheet, line: _Line, page_top: float, scale: float, size: float, below: float) -> None:
    """Boxes on the scan and texts below it, and the line's first row at the left."""
    from matplotlib.patches import Rectangle

    top, tall = page_top + line.top * scale - 1, (line.bottom - line.top) * scale + 2
    sheet.text(LEFT - 5, top + tall / 2, f"{round(line.top)}", size=7, color=MUTED, ha="right")
    for piece in line.pieces:
        color = RED if piece.unsure else BLUE
        left, wide = LEFT + piece.start * scale - 0.5, (piece.end - piece.start) * scale + 1
        sheet.axes.add_patch(Rectangle((left, top), wide, tall, fill=False, edgecolor=color, linewidth=0.9, zorder=3))
        fitting = min(size, piece.room * scale / (LETTER * max(cells(piece.text), 1)))
        color = RED if piece.unsure else INK
        sheet.text(left + wide / 2, below, piece.text, size=max(fitting, LEAST_SIZE), color=color, ha="center")


def _draw_axis(sheet: Sheet, top: float, columns: int, scale: float, say: Mapping[str, str]) -> None:
    """The pixels from the left."""
    from matplotlib.ticker import MaxNLocator

    sheet.line([LEFT, LEFT + columns * scale], [top + 1, top + 1], color=GRID)
    for tick in MaxNLocator(max(2, round(columns * scale / 80)), integer=True).tick_values(0, columns):
        if 0 <= tick <= columns:
            x = LEFT + tick * scale
            sheet.line([x, x], [top + 1, top + 4], color=GRID)
            sheet.text(x, top + 10, f"{tick:.0f}", size=8, color=MUTED, ha="center")
    sheet.text(LEFT + columns * scale / 2, top + 22, say["pixels"], size=8, color=MUTED, ha="center")
