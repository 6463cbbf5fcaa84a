"""How probable the words of a text are, judged by the other texts that a search found.

Each text has a share of the probability, by its score. A word's confidence is the total share of the texts that have it
at its place. May import beams.py, exact.py, reader.py and what is below them, and text/reading.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..search_graph import SearchGraph
from ..text.reading import edits, ends_alike
from .beams import Text, Width, search
from .emissions import Emissions
from .exact import ctc_scores
from .reader import Reader, Spelled

Float64Array = npt.NDArray[np.float64]


class Rival(NamedTuple):
    """A text that others are compared with.

    Attributes:
        tokens: its classes.
        words: the texts of its words.
        score: nats.
    """

    tokens: Sequence[int]
    words: Sequence[str]
    score: float


class Confidences(NamedTuple):
    """How probable it is that each word, and each token, is right.

    Attributes:
        words: (W,)
        tokens: (S,)
    """

    words: Float64Array
    tokens: Float64Array


def shares(scores: Sequence[float], temperature: float = 1.0) -> Float64Array:
    """Each text's share of the total probability, from the scores of all in nats.

    Example:
        >>> shares([-1.0, -1.0]).tolist()
        [0.5, 0.5]
    """
    weights = np.exp((np.array(scores) - max(scores, default=0.0)) / temperature)
    relative: Float64Array = weights / weights.sum()
    return relative


def find_rivals(emissions: Emissions, graph: SearchGraph, reader: Reader, width: Width) -> list[Rival]:
    """All texts that a beam ends with in one sample, not recombined, with their exact scores."""
    (found,) = search(emissions, graph, width, width.beam_width, recombine=False)
    (exact,) = ctc_scores(emissions, graph.blank, [[text.tokens for text in found.texts]])
    return [
        rival_of(text, graph.score(ctc, text.language, text.units, text.hotwords), reader)
        for text, ctc in zip(found.texts, exact, strict=True)
    ]


def rival_of(text: Text, score: float, reader: Reader) -> Rival:
    """Makes a rival of a text that the search found."""
    return Rival(text.tokens.tolist(), reader.texts(text.tokens, text.words), score)


def confidences_among(tokens: npt.NDArray[np.int32], words: Sequence[Spelled], texts: Sequence[Rival]) -> Confidences:
    """Confidences by the shares of whole texts. They are too high for long texts, which differ in few places."""
    weights = shares([text.score for text in texts])
    return Confidences(
        agreement([word.text for word in words], [text.words for text in texts], weights),
        agreement(tokens.tolist(), [text.tokens for text in texts], weights),
    )


def agreement(own: Sequence[object], others: Sequence[Sequence[object]], weights: Float64Array) -> Float64Array:
    """For each item of a sequence, the total share of the other sequences that have the same item at its place.

    Example:
        >>> agreement(["a", "cat"], [["a", "cat"], ["a", "hat"], ["the", "cat"]], np.array([0.5, 0.3, 0.2])).tolist()
        [0.8, 0.7]
    """
    sums = np.zeros(len(own))
    for other, share in zip(others, weights.tolist(), strict=True):
        sums[_same(own, other)] += share
    return sums.clip(0, 1)


def _same(own: Sequence[object], other: Sequence[object]) -> list[int]:
    """The places of the items that the other sequence has too, after both are aligned."""
    begun, ended = ends_alike(own, other)
    mine, others = own[begun : len(own) - ended], other[begun : len(other) - ended]
    places = list(range(begun))
    if len(mine) * len(others) > 1:  # otherwise they differ in one item, or one of them has no item here
        numbers: dict[object, int] = {}
        pair = [[numbers.setdefault(item, len(numbers)) for item in items] for items in (mine, others)]
        place = begun
        for written, read in edits(*pair):
            if written is not None:
                places += [place] * (written == read)
                place += 1
    return places + list(range(len(own) - ended, len(own)))
