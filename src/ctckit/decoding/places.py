"""Searches for alternatives at each place of a text, to find how probable it is that its words and tokens are right.

The texts that a beam ends with are a poor measure: in a line of twenty words they differ in a few words, so all others
would seem certain. So for each word there is a new search, in which the words around it are kept: there the beam's
texts differ in this word only. May import beams.py, confidence.py, reader.py and what is below them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..align import Alignment
from ..bfloat16 import as_floats
from ..kernels.reference import log_softmax
from ..search_graph import BOUNDARY, SearchGraph
from ..validate import Form
from .beams import Text, Width, search
from .confidence import Confidences, agreement, shares
from .emissions import Emissions
from .reader import Reader, Spelled

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]

# Differences of scores are divided by it. It was chosen on the part `calibrate` of the printed lines in tests/data,
# where it gives the least mean calibration error of four decoders, with and without a language. The tests use other
# lines.
TEMPERATURE = 0.9

_NEGLIGIBLE = 1e-5  # texts with a smaller share are ignored
_CONTEXT = 4  # words kept on each side: most language models use no more
_TOKENS_OF_CONTEXT = 8
_AT_ONCE = 1 << 22  # how many scores are searched at a time
_WIDTH = Width(50)


class Place(NamedTuple):
    """A part of a text that is searched for again.

    Attributes:
        first: the first token that is kept before it.
        begin: the first token that is not kept.
        end: one past the last token that is not kept.
        stop: one past the last token that is kept after it.
        before: how many words are kept before it.
        after: how many words are kept after it.
        start_frame: the first frame that is read.
        end_frame: one past the last frame that is read.
    """

    first: int
    begin: int
    end: int
    stop: int
    before: int
    after: int
    start_frame: int
    end_frame: int


def confidences_at_places(
    tokens: Int32Array,
    words: Sequence[Spelled],
    alignment: Alignment,
    emissions: Emissions,
    graph: SearchGraph,
    reader: Reader,
) -> Confidences:
    """How probable it is that a text's words and tokens are right.

    Args:
        tokens: (S,) the text's classes.
        words: the text's words.
        alignment: the alignment of the tokens.
        emissions: the sample's scores.
        graph: the graph that was searched.
        reader: reads the tokens.
    """
    found = Confidences(np.zeros(len(words)), np.zeros(len(tokens)))
    has_words = bool((graph.symbols.symbols == BOUNDARY).any())
    for k, place, texts in _searched(_places(tokens, words, alignment), tokens, emissions, graph):
        likely, weights = _likely(texts)
        middles = [_middle(place, tokens, text) for text in likely]
        same = [_is_word(words[k], place, text, middle, reader) for text, middle in zip(likely, middles, strict=True)]
        found.words[k] = weights[same].sum().clip(0, 1)
        if has_words:
            found.tokens[place.begin : place.end] = agreement(_own(place, tokens), middles, weights)
    if not has_words:
        for _, place, texts in _searched(_places_of_tokens(tokens, alignment), tokens, emissions, graph):
            likely, weights = _likely(texts)
            middles = [_middle(place, tokens, text) for text in likely]
            found.tokens[place.begin : place.end] = agreement(_own(place, tokens), middles, weights)
    return found


def _likely(texts: Sequence[Text]) -> tuple[list[Text], Float64Array]:
    """The texts whose shares are not negligible, and their shares among all."""
    weights = shares([text.score for text in texts], TEMPERATURE)
    kept = np.flatnonzero(weights > _NEGLIGIBLE)
    return [texts[i] for i in kept.tolist()], weights[kept]


def _own(place: Place, tokens: Int32Array) -> list[int]:
    """The text's tokens at a place."""
    own: list[int] = tokens[place.begin : place.end].tolist()
    return own


def _middle(place: Place, tokens: Int32Array, text: Text) -> list[int]:
    """The tokens that a found text has at the place, between those that are kept."""
    found: list[int] = text.tokens[place.begin - place.first : len(text.tokens) - (place.stop - place.end)].tolist()
    return found


def _is_word(word: Spelled, place: Place, text: Text, middle: Sequence[int], reader: Reader) -> bool:
    """Whether a found text has this word, and nothing else, between the words that are kept."""
    closed = text.words[place.before : len(text.words) - place.after].tolist()
    return len(closed) == 1 and reader.word(closed[0], middle) == word.text


def _places(tokens: Int32Array, words: Sequence[Spelled], alignment: Alignment) -> Iterator[Place]:
    """The place of each word, including the separators between it and its neighbours."""
    last = len(words) - 1
    for k, word in enumerate(words):
        low, high = max(0, k - _CONTEXT), min(last, k + _CONTEXT)
        begin = min(words[k - 1].stop, word.first) if k else 0
        end = max(words[k + 1].first, word.stop) if k < last else len(tokens)
        first = words[low].first if k else 0
        stop = words[high].stop if k < last else len(tokens)
        yield _place(first, begin, end, stop, k - low, high - k, alignment)


def _places_of_tokens(tokens: Int32Array, alignment: Alignment) -> Iterator[Place]:
    """The place of each token, for a vocabulary without words."""
    for s in range(len(tokens)):
        first, stop = max(0, s - _TOKENS_OF_CONTEXT), min(len(tokens), s + 1 + _TOKENS_OF_CONTEXT)
        yield _place(first, s, s + 1, stop, 0, 0, alignment)


def _place(first: int, begin: int, end: int, stop: int, before: int, after: int, alignment: Alignment) -> Place:
    start_frame = int(alignment.ends[begin - 1]) if begin else 0
    end_frame = int(alignment.starts[end]) if end < len(alignment.starts) else len(alignment.states)
    return Place(first, begin, end, stop, before, after, start_frame, end_frame)


def _searched(
    places: Iterator[Place], tokens: Int32Array, emissions: Emissions, graph: SearchGraph
) -> Iterator[tuple[int, Place, list[Text]]]:
    """The number of each place, the place, and the texts that are found there; places are searched in batches."""
    some: list[tuple[int, Place, npt.NDArray[Any]]] = []
    size = 0
    for k, place in enumerate(places):
        some.append((k, place, _rows(place, tokens, emissions, graph.blank)))
        size += some[-1][2].size
        if size > _AT_ONCE:
            yield from _search(some, graph)
            some, size = [], 0
    if some:
        yield from _search(some, graph)


def _rows(place: Place, tokens: Int32Array, emissions: Emissions, blank: int) -> npt.NDArray[Any]:
    """The place's frames, and before and after them a frame for each kept token, which has probability 1 there."""
    frames = as_floats(emissions.scores[place.start_frame : place.end_frame, 0])
    inner = log_softmax(frames.astype(np.float64)) if emissions.from_logits else frames
    before = _path(tokens[place.first : place.begin], blank)
    after = _path(tokens[place.end : place.stop], blank)
    rows = np.full((len(before) + len(inner) + len(after), inner.shape[1]), -np.inf, np.float64)
    rows[range(len(before)), before] = 0
    rows[len(before) : len(rows) - len(after)] = inner
    rows[range(len(rows) - len(after), len(rows)), after] = 0
    return rows


def _path(tokens: Int32Array, blank: int) -> list[int]:
    """A path with one frame for each token, and one for the blank between two equal tokens."""
    path: list[int] = []
    for token in tokens.tolist():
        path += [blank, token] if path[-1:] == [token] else [token]
    return path


def _search(
    some: Sequence[tuple[int, Place, npt.NDArray[Any]]], graph: SearchGraph
) -> Iterator[tuple[int, Place, list[Text]]]:
    frames = np.array([len(rows) for _, _, rows in some])
    classes = some[0][2].shape[1]
    scores = np.empty((frames.max(), len(some), classes))
    for n, (_, _, rows) in enumerate(some):
        scores[: len(rows), n] = rows
    form = Form(len(scores), len(some), classes, 0, True, True, "float64")
    found = search(Emissions(scores, frames, False, form), graph, _WIDTH, _WIDTH.beam_width, False)
    for (k, place, _), (_, texts) in zip(some, found, strict=True):
        yield k, place, texts
