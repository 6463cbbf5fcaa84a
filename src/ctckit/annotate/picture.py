"""Alignments drawn on one axis: the recording, the recogniser's output, and the spans of tokens and words.

A long recording is wrapped into rows, as text is. Imports drawing/, catalogue/, lattice/ and results.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..catalogue import words as catalogue
from ..catalogue.columns import cells
from ..drawing.canvas import Picture, new_figure, shades, themed_axes
from ..drawing.colors import BLUE, GRID, INK, MUTED, ORANGE, PAPER, RED
from ..drawing.text import families, plain, printable, shortened
from ..errors import CTCError
from ..lattice import STAR
from ..results import Segment
from .recording import Scores, Timed, confidence, words_of
from .strips import Scan, Sound

Floats = npt.NDArray[np.floating[Any]]

WIDTH = 900.0  # points, of the axis
LEFT, RIGHT, HEAD, LEGEND = 74.0, 16.0, 28.0, 18.0
ROW_GAP, PANEL_GAP, AXIS = 16.0, 5.0, 16.0
WAVE, SOUND, CURVES, CELL, BAR = 30.0, 62.0, 56.0, 9.0, 6.0  # heights of panels; of a class's row; of a span
MOST_ROWS, MOST_CLASSES, WORD_LANES = 24, 22, 2
TOKEN_SIZE, WORD_SIZE = 7.5, 9.0  # of text
UNSURE = 0.5  # confidences below are red
LOUDNESS = 70.0  # dB, from black to white


def draw(
    aligned: Timed,
    log_probs: Scores | None = None,
    labels: Sequence[str] = (),
    blank: int = 0,
    *,
    strip: Sound | Scan | None = None,
    width: float = WIDTH,
    lang: str = "en",
) -> Picture:
    """Draws a text with its times.

    Args:
        aligned: the text with its times. Tokens are drawn where words have them.
        log_probs: (T, C), to show how probable the tokens are, or, where they are too many, the text and all else.
        labels: (C,) the classes' names.
        blank: the blank's class.
        strip: what was recorded, to be shown above.
        width: points, of the axis.
        lang: ``"en"`` or ``"zh"``.

    Raises:
        CTCError: the language is unknown, the text too dense for a picture, or the sound of another length.
        MissingExtraError: matplotlib is not installed.
    """
    say = catalogue("annotation", lang)
    if isinstance(strip, Sound):
        strip.check_length(aligned.duration)
    unit = strip.pixels.shape[1] / aligned.duration if isinstance(strip, Scan) else 1.0
    sheet = _Sheet(aligned, unit, log_probs, labels, blank, strip, width)
    rows = _wrapped(sheet)
    many = any(len(row.classes) > MOST_CLASSES for row in rows)
    rows = [row._replace(many=many) for row in rows]
    top = HEAD + (LEGEND if many or sheet.unsure else 0)
    height = top + sum(sheet.height(row) + ROW_GAP for row in rows)
    figure = new_figure(LEFT + width + RIGHT, height)
    _heading(figure, height, sheet, many, say)
    for row in rows:
        _draw_row(figure, height, top, row, sheet, say)
        top += sheet.height(row) + ROW_GAP
    axis = say["columns" if isinstance(strip, Scan) else "seconds"]
    _write(figure, height, LEFT + width / 2, height - 9, axis, ha="center", color=MUTED, size=9)
    text = shortened(" ".join(line.text for line in aligned.lines), 60)
    return Picture(figure, say["name"].format(text=printable(text)))


# --- what goes where --------------------------------------------------------------------------------------------------


class _Label(NamedTuple):
    """A piece's text: where its left end is, in points, and in which line of labels."""

    left: float
    width: float
    lane: int
    text: str


class _Row(NamedTuple):
    """A part of the axis, from `begin` to `end` in its units, `scale` points each, with the labels of its pieces."""

    begin: float
    end: float
    scale: float
    tokens: list[_Label]
    words: list[_Label]
    classes: list[int]
    many: bool = False  # more classes than a heat map can show, in some row

    @property
    def width(self) -> float:
        return (self.end - self.begin) * self.scale


@dataclass(frozen=True)
class _Sheet:
    """What is to be drawn; times are in units of the axis: seconds, or columns of an image."""

    aligned: Timed
    unit: float
    log_probs: Scores | None
    labels: Sequence[str]
    blank: int
    strip: Sound | Scan | None
    width: float

    @property
    def length(self) -> float:
        return self.aligned.duration * self.unit

    @property
    def shift(self) -> float:
        return self.length / len(self.aligned.path)

    @cached_property
    def words(self) -> list[Segment]:
        return self._timed(words_of(self.aligned.lines))

    @cached_property
    def tokens(self) -> list[Segment]:
        return self._timed([token for word in words_of(self.aligned.lines) for token in word.parts])

    def _timed(self, pieces: Sequence[Segment]) -> list[Segment]:
        kept = [piece for piece in pieces if not math.isnan(piece.start)]
        return [piece._replace(start=piece.start * self.unit, end=piece.end * self.unit) for piece in kept]

    @cached_property
    def named(self) -> list[Segment]:
        """The words that are drawn: none if there is only one, which its tokens spell already."""
        return self.words if len(self.words) > 1 or not self.tokens else []

    @property
    def unsure(self) -> bool:
        return any(word.confidence < UNSURE for word in self.named)

    def frames(self, begin: float, end: float) -> slice:
        """The frames that lie between, whole or in part."""
        return slice(max(0, math.floor(begin / self.shift + 1e-6)), math.ceil(end / self.shift - 1e-6))

    def classes(self, begin: float, end: float) -> list[int]:
        """Those on the path there, in their order, then the blank."""
        if self.log_probs is None:
            return []
        seen = dict.fromkeys(self.aligned.path[self.frames(begin, end)].tolist())
        return [c for c in seen if c not in (self.blank, STAR)] + [self.blank]

    @property
    def wave_height(self) -> float:
        return WAVE if isinstance(self.strip, Sound) else 0.0

    def strip_height(self, scale: float) -> float:
        """An image keeps its proportions, within bounds."""
        if isinstance(self.strip, Scan):
            return float(min(max(self.strip.pixels.shape[0] * scale, 34.0), 120.0))
        return SOUND if self.strip is not None else 0.0

    def chances_height(self, row: _Row) -> float:
        if self.log_probs is None:
            return 0.0
        return CURVES if row.many else CELL * len(row.classes)

    def height(self, row: _Row) -> float:
        panels = [
            self.wave_height,
            self.strip_height(row.scale),
            self.chances_height(row),
            _tier(row.tokens, TOKEN_SIZE),
            _tier(row.words, WORD_SIZE),
        ]
        return sum(panel + PANEL_GAP for panel in panels if panel) + AXIS


def _tier(labels: Sequence[_Label], size: float) -> float:
    """The height of spans with their texts."""
    return BAR + (1.25 * size) * (1 + max(label.lane for label in labels)) + 3 if labels else 0.0


def _wrapped(sheet: _Sheet) -> list[_Row]:
    """As few rows as have room for the texts of all spans side by side, those of tokens in one line if possible."""
    for lanes in (1, 2):
        # Fewer rows would not fit texts of one letter each; trying them would take long for a day of speech.
        fewest = max(
            math.ceil(len(pieces) * 0.66 * size / (most * sheet.width))
            for pieces, size, most in ((sheet.tokens, TOKEN_SIZE, lanes), (sheet.named, WORD_SIZE, WORD_LANES))
        )
        for count in range(max(fewest, 1), MOST_ROWS * lanes // 2 + 1):
            rows = _rows(sheet, count)
            if all(label.lane < lanes for row in rows for label in row.tokens) and all(
                label.lane < WORD_LANES for row in rows for label in row.words
            ):
                return rows
    what = f"{len(sheet.words)} words with {len(sheet.tokens)} tokens in {sheet.aligned.duration:.1f} seconds"
    raise CTCError(
        f"{what} are too many for one picture, even in {MOST_ROWS} rows: draw a part, or look at it in Praat "
        "(.TextGrid) or Audacity (.txt)"
    )


def _rows(sheet: _Sheet, count: int) -> list[_Row]:
    """`count` rows of about the same length."""
    limits = list(pairwise(_breaks(sheet.length, count, sheet.words, sheet.tokens)))
    scale = sheet.width / max(end - begin for begin, end in limits)
    rows = []
    for begin, end in limits:
        of_tokens = _placed(sheet.tokens, begin, end, scale, sheet.width, TOKEN_SIZE)
        of_words = _placed(sheet.named, begin, end, scale, sheet.width, WORD_SIZE)
        rows.append(_Row(begin, end, scale, of_tokens, of_words, sheet.classes(begin, end)))
    return rows


def _breaks(length: float, count: int, words: Sequence[Segment], tokens: Sequence[Segment]) -> list[float]:
    """Where rows begin and end: between words if such a gap is near, else between tokens."""
    step = length / count
    breaks = [length * i / count for i in range(count + 1)]
    for pieces in (tokens, words):  # words last: they decide
        between = [(one.end + other.start) / 2 for one, other in pairwise(pieces)]
        for i in range(1, count):
            near = min(between, key=lambda time: abs(time - length * i / count), default=math.inf)
            if abs(near - length * i / count) < step / 4:
                breaks[i] = near
    return breaks


def _placed(
    pieces: Sequence[Segment], begin: float, end: float, scale: float, most: float, size: float
) -> list[_Label]:
    """The texts of the pieces whose middle is in a row, each in the first lane that has room."""
    lanes: list[float] = []  # where the last text of each ends
    labels = []
    for piece in pieces:
        middle = (piece.start + piece.end) / 2
        if not begin <= middle < end:
            if piece.start < end and piece.end > begin:  # a part of it, without its text
                labels.append(_Label(0, 0, 0, ""))
            continue
        text = shortened(piece.text, 24).replace(" ", "␣" if piece.text.isspace() else " ")
        width = 0.66 * size * cells(text)
        left = min(max((middle - begin) * scale - width / 2, -4.0), most + RIGHT - width)
        lane = next((i for i, used in enumerate(lanes) if used + 0.15 * size <= left), len(lanes))
        lanes[lane : lane + 1] = [left + width]
        labels.append(_Label(left, width, lane, text))
    return labels


# --- drawing ----------------------------------------------------------------------------------------------------------


def _heading(figure: Any, height: float, sheet: _Sheet, many: bool, say: Mapping[str, str]) -> None:
    """The mean confidence, and what the colours mean."""
    words = words_of(sheet.aligned.lines)
    sure = confidence(sheet.aligned.lines)
    title = say["title" if len(words) > 1 else "title.one"].format(
        words=len(words), confidence=f"{sure:.3f}" if not math.isnan(sure) else "–"
    )
    if len(sheet.words) < len(words):
        title += "; " + say["without"].format(count=len(words) - len(sheet.words))
    _write(figure, height, LEFT, 14, title, size=11)
    x = LEFT
    if sheet.unsure:
        x = _legend(figure, height, x, RED, say["unsure"].format(limit=UNSURE))
    if many:
        for color, key in ((GRID, "blank"), (BLUE, "own"), (ORANGE, "other")):
            x = _legend(figure, height, x, color, say[key])


def _legend(figure: Any, height: float, x: float, color: str, text: str) -> float:
    _write(figure, height, x, 31, "■", color=color, size=9)
    _write(figure, height, x + 12, 31, text, color=MUTED, size=9)
    return x + 12 + 0.62 * 9 * cells(text) + 18


def _write(figure: Any, height: float, x: float, y: float, text: str, **how: Any) -> None:
    """Text at a point: x from the left, y from the top."""
    how = {"ha": "left", "va": "center", "color": INK, "fontfamily": families(), **how}
    figure.text(x / (figure.get_figwidth() * 72), 1 - y / height, plain(text), **how)


def _panel(figure: Any, height: float, top: float, row: _Row, tall: float) -> Any:
    """Axes over a row's part of the axis, without ticks."""
    whole = figure.get_figwidth() * 72
    axes = figure.add_axes((LEFT / whole, 1 - (top + tall) / height, row.width / whole, tall / height))
    axes.set(xlim=(row.begin, row.end), yticks=[])
    axes.tick_params(bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return axes


def _draw_row(figure: Any, height: float, top: float, row: _Row, sheet: _Sheet, say: Mapping[str, str]) -> None:
    tokens, words = _tier(row.tokens, TOKEN_SIZE), _tier(row.words, WORD_SIZE)
    last: Any = None
    panels: list[tuple[float, Callable[[Any], None]]] = [
        (sheet.wave_height, lambda axes: _draw_wave(axes, row, sheet)),
        (sheet.strip_height(row.scale), lambda axes: _draw_strip(axes, row, sheet)),
        (sheet.chances_height(row), lambda axes: _draw_chances(axes, row, sheet)),
        (tokens, lambda axes: _draw_tier(axes, sheet.tokens, row, row.tokens, TOKEN_SIZE, say["tokens"])),
        (words, lambda axes: _draw_tier(axes, sheet.named, row, row.words, WORD_SIZE, say["words"])),
    ]
    for tall, fill in panels:
        if tall:
            last = _panel(figure, height, top, row, tall)
            fill(last)
            top += tall + PANEL_GAP
    if last is not None:
        last.spines["bottom"].set_visible(True)
        last.tick_params(bottom=True, labelbottom=True)
        last.locator_params(axis="x", nbins=max(2, round(row.width / 80)))
        themed_axes(last)
        last.spines["left"].set_visible(False)


def _draw_strip(axes: Any, row: _Row, sheet: _Sheet) -> None:
    if isinstance(sheet.strip, Scan):
        rows, columns = sheet.strip.pixels.shape
        axes.imshow(sheet.strip.pixels, cmap="gray", vmin=0, vmax=1, aspect="auto", extent=(0, columns, rows, 0))
        axes.set(xlim=(row.begin, row.end), ylim=(rows, 0))
        for piece, color in _colored(sheet.tokens or sheet.words):
            axes.axvspan(piece.start, piece.end, color=color, alpha=0.28, linewidth=0)
        return
    if sheet.strip is None:
        return
    seen = sheet.strip.spectrogram(row.begin, row.end)
    axes.imshow(
        seen.decibels,
        cmap=shades((MUTED, 0), (MUTED, 1)),
        vmin=-LOUDNESS,
        vmax=0,
        aspect="auto",
        origin="lower",
        extent=seen.extent,
    )
    axes.set(xlim=(row.begin, row.end))
    _draw_edges(axes, sheet)


def _draw_wave(axes: Any, row: _Row, sheet: _Sheet) -> None:
    """The least and the greatest sample of each point."""
    if isinstance(sheet.strip, Sound):
        times, low, high = sheet.strip.waveform(row.begin, row.end, round(row.width))
        axes.fill_between(times, low, high, color=MUTED, linewidth=0.4)
        axes.set(xlim=(row.begin, row.end), ylim=(-1.05, 1.05))
        _draw_edges(axes, sheet)


def _draw_edges(axes: Any, sheet: _Sheet) -> None:
    """Where words begin and end."""
    for word in sheet.words:
        for edge in (word.start, word.end):
            axes.axvline(edge, color=BLUE, linewidth=0.6, alpha=0.7)


def _draw_chances(axes: Any, row: _Row, sheet: _Sheet) -> None:
    """The probabilities of the text's classes; of many, only of the text's own, the blank, and the best other."""
    if sheet.log_probs is None:
        return
    frames = sheet.frames(row.begin, row.end)
    probs = np.exp(sheet.log_probs[frames].astype(np.float64))
    times = np.arange(frames.start, frames.start + len(probs) + 1) * sheet.shift
    if row.many:
        _draw_curves(axes, probs, times, sheet.aligned.path[frames], sheet.blank)
    else:
        _draw_map(
            axes, probs[:, row.classes], times, [sheet.labels[c] if c != sheet.blank else "φ" for c in row.classes]
        )
    axes.set(xlim=(row.begin, row.end))


def _draw_map(axes: Any, probs: Floats, times: Floats, names: Sequence[str]) -> None:
    """(frames, classes) as an image, one row per class."""
    extent = (times[0], times[-1], len(names) - 0.5, -0.5)
    axes.imshow(
        probs.T,
        cmap=shades((BLUE, 0), (BLUE, 1)),
        vmin=0,
        vmax=1,
        aspect="auto",
        extent=extent,
        interpolation="nearest",
    )
    shown = [plain(shortened(name, 9).replace(" ", "␣")) for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=7, color=MUTED, fontfamily=families())
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set(visible=True, color=GRID)


def beside_others(
    probs: Floats, path: npt.NDArray[np.int32], blank: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of probabilities (T, C): at each frame that of the token that the text has there, and that of the best other."""
    tokens = np.flatnonzero((path != blank) & (path != STAR))
    own = np.zeros(len(probs))
    own[tokens] = probs[tokens, path[tokens]]
    others = probs.copy()
    others[:, blank] = 0
    others[tokens, path[tokens]] = 0
    return own, others.max(axis=1)


def _draw_curves(axes: Any, probs: Floats, times: Floats, path: npt.NDArray[np.int32], blank: int) -> None:
    """(frames, classes) as three: the blank, the token that the text has there, and the best of all others."""
    own, others = beside_others(probs, path, blank)
    axes.stairs(probs[:, blank], times, fill=True, color=GRID, alpha=0.8)
    axes.stairs(others, times, color=ORANGE, linewidth=1)
    axes.stairs(own, times, color=BLUE, linewidth=1.2)
    axes.set(ylim=(0, 1.05), yticks=(0, 1))
    axes.tick_params(axis="y", length=2, color=GRID, labelcolor=MUTED, labelsize=8)
    axes.spines["left"].set(visible=True, color=GRID)


def _draw_tier(
    axes: Any, pieces: Sequence[Segment], row: _Row, labels: Sequence[_Label], size: float, name: str
) -> None:
    """Spans as bars, with their texts below; words that are not sure in red."""
    tall = _tier(labels, size)
    axes.set(ylim=(tall, 0))
    for piece, color in _colored(pieces):
        start, end = max(piece.start, row.begin), min(piece.end, row.end)
        if start < end:
            shade = RED if piece.parts and piece.confidence < UNSURE else color
            width = max(end - start, 0.8 / row.scale)  # points: to be seen
            axes.barh(BAR / 2, width, BAR, start, color=shade, edgecolor=PAPER, linewidth=0.4)
    how: dict[str, Any] = {"va": "center", "fontfamily": families()}
    for label in labels:
        x = row.begin + (label.left + label.width / 2) / row.scale
        y = BAR + 1.25 * size * (label.lane + 0.5) + 1
        axes.text(x, y, plain(label.text), fontsize=size, color=INK, ha="center", **how)
    axes.text(row.begin - 10 / row.scale, BAR / 2, name, fontsize=9, color=MUTED, ha="right", **how)


def _colored(pieces: Sequence[Segment]) -> Iterator[tuple[Segment, str]]:
    """Neighbours in two alternating colours."""
    for i, piece in enumerate(pieces):
        yield piece, (BLUE, ORANGE)[i % 2]
