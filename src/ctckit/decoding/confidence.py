"""How probable the words of a text are, judged by the other texts that a search found. Imports text/reading.py only.

Texts have shares by their scores. A word's confidence is the share of the texts that have it at its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..text.reading import edit_distance, edits

# A score adds up the frames of a recogniser as if they knew nothing of each other, so that shares would be too sure. By
# this it is divided; it was chosen on lines that are not in the tests.
TEMPERATURE = 1.0

Float64Array = npt.NDArray[np.float64]


class Rival(NamedTuple):
    """A text that others are compared with.

    Attributes:
        tokens: its classes.
        words: their texts.
        score: nats.
    """

    tokens: Sequence[int]
    words: Sequence[str]
    score: float


def weights(scores: Sequence[float]) -> Float64Array:
    """Each text's share, from their scores in nats.

    Example:
        >>> weights([-1.0, -1.0]).tolist()
        [0.5, 0.5]
    """
    relative = (np.array(scores) - max(scores)) / TEMPERATURE
    shares: Float64Array = np.exp(relative) / np.exp(relative).sum()
    return shares


def agreement(own: Sequence[object], others: Sequence[Sequence[object]], shares: Float64Array) -> Float64Array:
    """How much of the others, by their shares, has each of a sequence's items at its place.

    Example:
        >>> agreement(["a", "cat"], [["a", "cat"], ["a", "hat"], ["the", "cat"]], np.array([0.5, 0.3, 0.2])).tolist()
        [0.8, 0.7]
    """
    sums = np.zeros(len(own))
    for other, share in zip(others, shares.tolist(), strict=True):
        sums[_same(own, other)] += share
    return sums.clip(0, 1)


def expected_errors(own: Sequence[object], others: Sequence[Sequence[object]], shares: Float64Array) -> float:
    """The mean edit distance to the others, by their shares."""
    numbers: dict[object, int] = {}
    distances = [edit_distance(*_middles(own, other, numbers)[:2]) for other in others]
    return float(np.dot(distances, shares))


def _same(own: Sequence[object], other: Sequence[object]) -> list[int]:
    """Which items of a sequence the other one has too, at the places where both are aligned."""
    mine, others, begun, ended = _middles(own, other, {})
    places = list(range(begun))
    place = begun
    for written, read in edits(mine, others):
        if written is not None:
            places += [place] * (written == read)
            place += 1
    return places + list(range(len(own) - ended, len(own)))


def _middles(
    own: Sequence[object], other: Sequence[object], numbers: dict[object, int]
) -> tuple[list[int], list[int], int, int]:
    """Both without the items that they begin and end with alike, as numbers; and how many these are."""
    most = min(len(own), len(other))
    begun = next((i for i in range(most) if own[i] != other[i]), most)
    ended = next((i for i in range(most - begun) if own[-1 - i] != other[-1 - i]), most - begun)
    parts = [
        [numbers.setdefault(item, len(numbers)) for item in sequence[begun : len(sequence) - ended]]
        for sequence in (own, other)
    ]
    return parts[0], parts[1], begun, ended
