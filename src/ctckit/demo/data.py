"""Lines of real handwriting for the demo: single scanned digits, joined into lines of three to eight.

It exists so that the demo has a task that needs CTC (many frames, few symbols, unknown positions) without a download:
scikit-learn carries the scans in its wheel. Imports NumPy, and scikit-learn inside the one function that reads the
scans; no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SIZE = 8  # a scan is SIZE x SIZE pixels, and a line is as high
FEWEST, MOST = 3, 8  # digits on a line
TIGHTEST, WIDEST = -2, 4  # columns between neighbours; negative is an overlap
MARGIN = 3  # at most this many empty columns at either end of a line
HELD_OUT = 0.2  # the share of the scans, taken from the end, that is never trained on


@dataclass(frozen=True)
class Digits:
    """Scans of single digits: `images` (M, 8, 8) with ink 1 on paper 0, and `labels` (M,)."""

    images: Floats
    labels: Ints


@dataclass(frozen=True)
class Lines:
    """A batch of lines, padded on the right with paper (images) and with 0 (targets).

    `images` (N, 8, W), `widths` (N,) in columns, `targets` (N, S) as classes (digit d is class d + 1, class 0 is
    CTC's blank), `target_lengths` (N,), `lefts` (N, S) the column where each digit's scan begins.
    """

    images: Floats
    widths: Ints
    targets: Ints
    target_lengths: Ints
    lefts: Ints

    def __len__(self) -> int:
        return len(self.widths)

    def take(self, rows: Ints) -> Lines:
        """Some of the lines, no wider than the widest of them."""
        widths, lengths = self.widths[rows], self.target_lengths[rows]
        images = self.images[rows, :, : widths.max()]
        most = lengths.max()
        return Lines(images, widths, self.targets[rows, :most], lengths, self.lefts[rows, :most])

    def truth(self, n: int) -> list[int]:
        """The digits that were written on line `n`."""
        return [int(token) - 1 for token in self.targets[n, : self.target_lengths[n]]]


def load_digits() -> tuple[Digits, Digits]:
    """The scans to train on and the held-out ones: the first 80 % and the last 20 % of scikit-learn's order.

    Taken from the end, not at random: neighbours in that order look as if by one writer, and a random split would put
    the same hand on both sides.
    """
    from sklearn.datasets import load_digits as bundled

    scans = bundled()
    images = (scans.images / 16).astype(np.float32)
    labels = scans.target.astype(np.int64)
    cut = round(len(labels) * (1 - HELD_OUT))
    return Digits(images[:cut], labels[:cut]), Digits(images[cut:], labels[cut:])


def write_lines(digits: Digits, count: int, rng: np.random.Generator, *, distort: bool = False) -> Lines:
    """`count` lines of three to eight of the `digits`, with random gaps and overlaps.

    Every scan is used equally often, give or take one. With `distort` (for training) each use of a scan differs.
    """
    lengths = rng.integers(FEWEST, MOST + 1, size=count)
    written = np.arange(MOST) < lengths[:, None]
    picks = _deal(len(digits.labels), int(lengths.sum()), rng)
    scans = _distort(digits.images[picks], rng) if distort else digits.images[picks]

    gaps = rng.integers(TIGHTEST, WIDEST + 1, size=(count, MOST))
    gaps[:, 0] = rng.integers(MARGIN + 1, size=count)
    lefts = np.cumsum(gaps, axis=1) + SIZE * np.arange(MOST)
    widths = lefts[np.arange(count), lengths - 1] + SIZE + rng.integers(MARGIN + 1, size=count)
    images = np.zeros((count, SIZE, int(widths.max())), dtype=np.float32)
    for n, left, scan in zip(np.nonzero(written)[0], lefts[written], scans, strict=True):
        spot = images[n, :, left : left + SIZE]
        np.maximum(spot, scan, out=spot)  # where two digits overlap, the darker ink shows

    targets = np.zeros((count, MOST), dtype=np.int64)
    targets[written] = digits.labels[picks] + 1
    most = lengths.max()
    return Lines(images, widths, targets[:, :most], lengths, lefts[:, :most])


def training_batches(digits: Digits, size: int, rng: np.random.Generator) -> Iterator[Lines]:
    """Batches of `size` distorted lines without end, each of lines of similar width: less padding to compute."""
    while True:
        lines = write_lines(digits, 8 * size, rng, distort=True)
        by_width = np.argsort(lines.widths, kind="stable").reshape(8, size)
        for rows in rng.permutation(by_width):
            yield lines.take(rows)


def _deal(kinds: int, count: int, rng: np.random.Generator) -> Ints:
    """`count` numbers below `kinds`, as from decks of cards that are shuffled and dealt one after the other."""
    decks = [rng.permutation(kinds) for _ in range(-(-count // kinds))]
    return np.concatenate(decks)[:count]


def _distort(scans: Floats, rng: np.random.Generator) -> Floats:
    """Scans (M, 8, 8) as another hand might have written them: pen, slant, size and position differ a little.

    Some 1400 scans by a dozen people are little to learn all handwriting from; people differ most in how hard they
    press and how wide they write.
    """
    one = (len(scans), 1, 1)
    thicker = rng.uniform(-0.7, 0.7, one).clip(0)  # half of the scans keep their pen
    paper = np.pad(scans, ((0, 0), (1, 1), (1, 1)))
    beside = np.maximum(paper[:, 1:-1, :-2], paper[:, 1:-1, 2:])
    above = np.maximum(paper[:, :-2, 1:-1], paper[:, 2:, 1:-1])
    inked = np.maximum(scans, thicker * np.maximum(beside, above))
    inked = inked ** np.exp(rng.uniform(-0.7, 0.7, one))  # darker or fainter

    turn = rng.uniform(-0.2, 0.2, one)  # radians
    slant = rng.uniform(-0.2, 0.2, one)
    height, width = np.exp(rng.uniform(-0.25, 0.25, (2, *one)))
    down, right = rng.uniform(-0.7, 0.7, (2, *one))  # pixels
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    from_y = height * np.cos(turn) * y + width * np.sin(turn) * x + down
    from_x = height * (slant - np.sin(turn)) * y + width * np.cos(turn) * x + right
    return _sample(inked, from_y + (SIZE - 1) / 2, from_x + (SIZE - 1) / 2).astype(np.float32)


def _sample(scans: npt.NDArray[np.floating], y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> Floats:
    """Bilinear values of scans (M, 8, 8) at the points (y, x), each (M, 8, 8); paper lies around a scan."""
    paper = np.pad(scans, ((0, 0), (1, 2), (1, 2)))
    y, x = (y + 1).clip(0, SIZE + 1), (x + 1).clip(0, SIZE + 1)
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, right = y - top, x - left
    n = np.arange(len(scans))[:, None, None]
    upper = paper[n, top, left] * (1 - right) + paper[n, top, left + 1] * right
    lower = paper[n, top + 1, left] * (1 - right) + paper[n, top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)
