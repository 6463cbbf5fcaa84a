"""Cuts the image of a page into its lines, at rows without ink.

Ink is what differs from the paper around it, whether it is darker or lighter. Rows follow the slope of the page. Bands
of rows with ink are lines, except for bands that are too low: dots of i, accents and the strokes of 二 belong to a
neighbour; rules and dirt are left out. What is low or high is measured by the page's typical letters.

Columns of text, and lines whose ink touches, are not divided. May import media.py and results.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..results import Place
from .media import Line, Pixels, Where, grey, read_image, scaled

Ink = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

_MOST = 3000  # rows and columns that are looked at: larger pages are made smaller
_TILE = 64  # rows and columns over which paper has one shade
_SHADING = 40  # of 255: by how much paper may differ from the rest of the page
_FAINTEST = 25  # of 255: what differs less from paper is no ink
_STEEPEST = 0.027  # rows per column, 1.5 degrees
_MARGINS = 4.0  # heights of its letters: an image that is not higher is that of one line
_STRIPS = 32  # of columns, which are moved as wholes to find the slope


class PageLine(NamedTuple):
    """A line of a page.

    Attributes:
        image: the line, scaled.
        left: the pixel of the page at which the image begins.
        place: where its ink is.
        ink: (W,) how many pixels of ink each column of the page has from `left` on.
    """

    image: Line
    left: int
    place: Place
    ink: npt.NDArray[np.int32]


class Page(NamedTuple):
    """A page.

    Attributes:
        pixels: uint8 (H, W, 3).
        total: how many lines it has.
        lines: from top to bottom.
    """

    pixels: Pixels
    total: int
    lines: Iterator[PageLine]


def read_page(path: Where, height: int) -> Page:
    """The lines of a page, each scaled to a height.

    The image of one line is its own line, with its margins, unless they are wide.

    Args:
        path: as for :func:`ctckit.recognisers.media.read_image`.
        height: pixels.

    Raises:
        CTCError: it can't be read.
        MissingExtraError: Pillow is not installed.
    """
    pixels = read_image(path)
    found = find_lines(pixels)
    straight = level(pixels, found[0].place.slope if found else 0.0)
    return Page(pixels, len(found), (_cut(straight, region, height, str(path)) for region in found))


class Region(NamedTuple):
    """A line on a page, in pixels of the page.

    Attributes:
        place: where its ink is.
        rows: the first row that its image has in the page's middle, and the row after the last.
        columns: the first column that its image has, and the column after the last.
        ink: as for :class:`PageLine`.
    """

    place: Place
    rows: tuple[int, int]
    columns: tuple[int, int]
    ink: npt.NDArray[np.int32]


def find_lines(pixels: Pixels) -> list[Region]:
    """The lines on an image (H, W, 3), from top to bottom; none if there is no ink."""
    times = math.ceil(max(pixels.shape[:2]) / _MOST)
    ink = _without_specks(_ink(grey(pixels, times)))
    slope = _slope(ink)
    inked: Ink = level(ink, slope)
    bands = _bands(inked)
    upright = inked.mean(axis=0) > 0.5
    if upright.any():  # a frame around the page, or the edge of a scan; or a tall letter in the image of a line
        inside = _bands(inked & ~upright)
        if len(inside) > 2 and len(inked) > 5 * _typical(inside):
            inked, bands = inked & ~upright, inside
    if not bands:
        return []
    typical = _typical(bands)
    lines = _lines(bands, typical, inked.shape[1])
    whole = len(lines) == 1 and len(inked) <= _MARGINS * max(lines[0].size, lines[0].height)
    rows = [(0, len(inked))] if whole else _with_margins(lines, typical, len(inked))
    slope = 0.0 if whole else slope
    return [
        _region(inked, band, both, slope, times, None if whole else typical, pixels.shape)
        for band, both in zip(lines, rows, strict=True)
    ]


# --- ink --------------------------------------------------------------------------------------------------------------


def _ink(shades: Floats) -> Ink:
    """What differs from the paper around it."""
    paper = float(np.median(shades))
    tile = min(_TILE, *shades.shape)
    padded = np.pad(shades, [(0, -size % tile) for size in shades.shape], mode="edge")
    tiles = np.median(padded.reshape(len(padded) // tile, tile, -1, tile), axis=(1, 3))
    around = tiles.clip(paper - _SHADING, paper + _SHADING).repeat(tile, axis=0).repeat(tile, axis=1)
    differs = np.abs(shades - around[: shades.shape[0], : shades.shape[1]])
    kept = differs.ravel()[:: max(1, differs.size // 1_000_000)]
    noise, contrast = np.quantile(kept, [0.6, max(0.0, 1 - max(3e-4, 30 / differs.size))])
    ink: Ink = differs > max(_FAINTEST, 0.4 * contrast, min(5 * noise, 0.6 * contrast))
    return ink


def _without_specks(ink: Ink) -> Ink:
    """Ink without pixels that have less than two of their eight neighbours."""
    padded = np.pad(ink, 1).astype(np.uint8)
    three = padded[:-2] + padded[1:-1] + padded[2:]
    ink &= three[:, :-2] + three[:, 1:-1] + three[:, 2:] > 2
    return ink


def _slope(ink: Ink) -> float:
    """Rows per column by which lines go down: the slope for which rows with ink and rows without differ most."""
    rows, columns = ink.shape
    if columns < 4 * _STRIPS:
        return 0.0
    edges = np.linspace(0, columns, _STRIPS + 1).astype(int)
    most = math.ceil(_STEEPEST * columns / 2) + 1
    strips = [np.pad(ink[:, a:b].sum(axis=1), most) for a, b in itertools.pairwise(edges)]
    middles = (edges[:-1] + edges[1:] - columns) / 2
    steps = np.arange(-most, most + 1) * 2 / columns

    def contrast(slope: float) -> float:
        moves = most + np.round(slope * middles).astype(int)
        profile = sum(strip[move : move + rows] for strip, move in zip(strips, moves, strict=True))
        return float(np.square(profile, dtype=np.float64).sum())

    best = max(steps, key=contrast)
    return float(best) if contrast(best) > 1.05 * contrast(0.0) else 0.0


def _moves(slope: float, columns: int) -> npt.NDArray[np.int64]:
    """(W,) by how many rows each column is lower than the page's middle."""
    return np.round(slope * (np.arange(columns) - columns / 2)).astype(np.int64)


def level(pixels: Any, slope: float) -> Any:
    """An image (H, W) or (H, W, 3) whose lines are level: columns are moved, and what is missing repeats the edge."""
    if not slope:
        return pixels
    moved = np.empty_like(pixels)
    moves = _moves(slope, pixels.shape[1])
    for move in np.unique(moves):
        here = np.flatnonzero(moves == move)
        part = slice(here[0], here[-1] + 1)
        moved[:, part] = pixels[(np.arange(len(pixels)) + move).clip(0, len(pixels) - 1), part]
    return moved


# --- lines ------------------------------------------------------------------------------------------------------------


class _Band(NamedTuple):
    """Rows with ink.

    Attributes:
        top: the first row.
        bottom: the row after the last.
        ink: pixels.
        runs: how many runs of pixels the ink consists of, row by row.
    """

    top: int
    bottom: int
    ink: int
    runs: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def run(self) -> float:
        """The mean length of a run."""
        return self.ink / self.runs

    @property
    def size(self) -> float:
        """About that of its letters: flat ones, such as 一, are as wide as others are high."""
        return max(self.height, self.run)

    def joined(self, other: _Band) -> _Band:
        return _Band(self.top, other.bottom, self.ink + other.ink, self.runs + other.runs)


def _bands(inked: Ink) -> list[_Band]:
    """The bands of rows with ink, between rows with none; where there is much noise, with as little as noise has."""
    ink = inked.sum(axis=1)
    runs = inked[:, 0] + (inked[:, 1:] & ~inked[:, :-1]).sum(axis=1)
    noise = min(3 * float(np.quantile(ink, 0.05)), 0.05 * float(ink.max(initial=0)))
    edges = np.flatnonzero(np.diff(np.pad(ink > noise, 1).astype(np.int8)))
    return [
        _Band(int(a), int(b), int(ink[a:b].sum()), int(runs[a:b].sum()))
        for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def _typical(bands: list[_Band]) -> float:
    """The typical size of letters: the median, by runs, since a rule has few of them."""
    sizes, runs = np.array([band.size for band in bands]), np.array([band.runs for band in bands])
    order = sizes.argsort()
    return float(sizes[order][np.searchsorted(runs[order].cumsum(), runs.sum() / 2)])


def _lines(bands: list[_Band], typical: float, columns: int) -> list[_Band]:
    """Bands that are lines: without rules and dirt; low ones are joined with a neighbour."""

    def is_rule(band: _Band) -> bool:
        return band.run >= 5 * typical or (band.run > columns / 3 and band.height < band.run / 25)

    lines = [band for band in bands if not is_rule(band)] or bands
    while True:
        gaps = [
            (below.top - above.bottom, i)
            for i, (above, below) in enumerate(itertools.pairwise(lines))
            if _belong_together(above, below, typical)
        ]
        if not gaps:
            break
        _, i = min(gaps)
        lines[i : i + 2] = [lines[i].joined(lines[i + 1])]
    letters = [band for band in lines if band.size >= 0.45 * typical and band.ink >= 0.06 * typical**2]
    return letters or lines


def _belong_together(above: _Band, below: _Band, typical: float) -> bool:
    """Whether one of two bands is too low for a line, and near enough to the other to be a part of it."""
    size = max(above.height, below.height, min(max(above.run, below.run), typical))
    return (
        min(above.height, below.height) < 0.45 * max(typical, size)
        and below.top - above.bottom <= 0.6 * max(typical, size)
        and below.bottom - above.top <= max(1.25 * typical, 1.45 * size)
    )


def _with_margins(lines: list[_Band], typical: float, rows: int) -> list[tuple[int, int]]:
    """The rows of each line's image: some above and below its ink, but not beyond the middle of a gap."""
    limits = [0, *((one.bottom + other.top) // 2 for one, other in itertools.pairwise(lines)), rows]
    found = []
    for band, first, last in zip(lines, limits[:-1], limits[1:], strict=True):
        margin = math.ceil(max(0.2 * typical, 0.2 * band.height, (1.3 * typical - band.height) / 2))
        found.append((max(first, band.top - margin), min(last, band.bottom + margin)))
    return found


def _region(
    inked: Ink,
    band: _Band,
    rows: tuple[int, int],
    slope: float,
    times: int,
    typical: float | None,
    shape: tuple[int, ...],
) -> Region:
    """A line in pixels of the page; without a typical size, all of its columns."""
    ink = inked[band.top : band.bottom].sum(axis=0)
    used = np.flatnonzero(ink)
    left, right = int(used[0]), int(used[-1]) + 1
    first, last = 0, len(ink)
    if typical is not None:
        margin = math.ceil(0.5 * typical)
        first, last = max(0, left - margin), min(last, right + margin)
    columns = times * first, min(times * last, shape[1]) if last < len(ink) else shape[1]
    top = times * band.top + slope * (times * left - shape[1] / 2)
    place = Place(times * left, top, min(times * right, shape[1]), top + times * band.height, slope)
    bounds = times * rows[0], times * rows[1] if rows[1] < len(inked) else shape[0]
    wide = (ink[first:last] * times).astype(np.int32).repeat(times)
    return Region(place, bounds, columns, np.pad(wide, (0, max(0, columns[1] - columns[0] - len(wide)))))


def _cut(pixels: Pixels, region: Region, height: int, name: str) -> PageLine:
    """The image of a line of a level page."""
    (top, bottom), (left, right) = region.rows, region.columns
    return PageLine(scaled(pixels[top:bottom, left:right], height, name), left, region.place, region.ink)
