"""The difference between confidences and the share of right words. Also used by bench/confidence.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ctckit.text.reading import edits


class Bin(NamedTuple):
    """Words of about the same confidence: how many, the mean of their confidences, and which share is right."""

    size: int
    confidence: float
    right: float


def right(read: Sequence[object], written: Sequence[object]) -> list[bool]:
    """Which items are right, where both are aligned with the fewest differences."""
    numbers: dict[object, int] = {}
    pair = [[numbers.setdefault(item, len(numbers)) for item in items] for items in (read, written)]
    return [one == other for one, other in edits(*pair) if one is not None]


def curve(confidences: Sequence[float], hits: Sequence[bool], bins: int = 10) -> list[Bin]:
    """The calibration curve: bins of equal width, those that are empty left out."""
    sure, share = np.array(confidences), np.array(hits, float)
    index = np.minimum((sure * bins).astype(int), bins - 1)
    return [
        Bin(int(own.sum()), float(sure[own].mean()), float(share[own].mean()))
        for own in (index == n for n in range(bins))
        if own.any()
    ]


def expected_error(found: Sequence[Bin]) -> float:
    """The expected calibration error (Naeini, Cooper and Hauskrecht, 2015)."""
    return sum(b.size * abs(b.confidence - b.right) for b in found) / sum(b.size for b in found)
