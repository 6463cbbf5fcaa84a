"""The C++ search, exact for its beam: whole samples on several threads, or chunks of frames. Sources in native/.

It has the same results as reference.py, with two differences: it also returns the frames of tokens, and it may drop a
prefix that is more than 650 nats below the best. May import search_graph.py, results.py, kernels/native.py and the
extension (ctckit.native).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ... import native as extension
from ...results import Status
from ...search_graph import Hotwords, Lexicon, SearchGraph, Symbols
from .. import native as kernels

K = TypeVar("K")
V = TypeVar("V")
Int32Array = npt.NDArray[np.int32]


class Text(NamedTuple):
    """A text, or the beginning of one.

    Attributes:
        tokens: int32, the text's classes.
        frames: int32, one frame for each token: the last frame at which more than half of the probability of the text
            up to the token was new. This is the frame of the token's peak, if it has one.
        words: int32, the words that it closes, as the lexicon numbers them; ``UNKNOWN`` for other words.
        score: nats, the sum of all parts.
        ctc: nats, the ln P of the paths that the beam followed.
        language: nats, the language's score without `alpha`.
        units: the number of words, or of tokens for a model of tokens.
        hotwords: nats, the hotwords' score.
    """

    tokens: Int32Array
    frames: Int32Array
    words: Int32Array
    score: float
    ctc: float
    language: float
    units: int
    hotwords: float


class Found(NamedTuple):
    """The status of one sample, and the texts that were found in it, the best first."""

    status: Status
    texts: list[Text]


def search(
    scores: npt.NDArray[Any],
    lengths: npt.NDArray[np.int64],
    graph: SearchGraph,
    beam_width: int,
    nbest: int = 1,
    *,
    from_logits: bool = False,
    recombine: bool = False,
    beam_threshold: float = np.inf,
    tokens_per_frame: int = 0,
    threads: int | None = None,
) -> list[Found]:
    """The texts with the highest scores that a beam finds, for each sample.

    Args:
        scores: (T, N, C), any strides; bfloat16 as uint16, its bits.
        lengths: (N,) how many frames of each sample are used; later frames are not read.
        graph: which texts are possible, and what is added to their CTC scores.
        beam_width: how many prefixes are kept from one frame to the next.
        nbest: the greatest number of texts to return.
        from_logits: whether the scores are logits, which are normalised first.
        recombine: whether only the best is kept of prefixes with equal last tokens and equal states.
        beam_threshold: nats; prefixes that are further below a frame's best are dropped.
        tokens_per_frame: in each frame, only this number of the best tokens are tried, besides the blank; if tokens are
            equal, the first. 0: all tokens.
        threads: the greatest number of threads. Results do not depend on it, or on the other samples.
    """
    status, text_offsets, texts = extension.search(
        compiled(graph),
        scores if scores.flags.aligned else scores.copy(),
        np.ascontiguousarray(lengths, np.int64),
        nbest,
        beam_width,
        recombine,
        from_logits,
        beam_threshold,
        tokens_per_frame,
        kernels.instruction_set(),
        kernels.num_threads(threads),
    )
    every = _texts(texts)
    ends = text_offsets.tolist()
    return [Found(Status(s), every[i:j]) for s, i, j in zip(status.tolist(), ends, ends[1:], strict=False)]


class Search:
    """The search of one sample whose frames come in chunks. Results don't depend on the chunks, bit for bit.

    Arguments are those of :func:`search`. Only one thread at a time may use it. It can be pickled, with its graph.
    """

    def __init__(
        self,
        graph: SearchGraph,
        beam_width: int,
        *,
        from_logits: bool = False,
        recombine: bool = False,
        beam_threshold: float = np.inf,
        tokens_per_frame: int = 0,
    ) -> None:
        self._arguments = (graph, beam_width, from_logits, recombine, beam_threshold, tokens_per_frame)
        self._start()

    def _start(self) -> None:
        graph, beam_width, from_logits, recombine, beam_threshold, tokens_per_frame = self._arguments
        self._search = extension.Search(
            compiled(graph),
            beam_width,
            recombine,
            from_logits,
            beam_threshold,
            tokens_per_frame,
            kernels.instruction_set(),
        )

    @property
    def status(self) -> Status:
        """``NOT_FINITE`` from the first frame that holds NaN or +inf; ``IMPOSSIBLE`` once no text has a path."""
        return Status(self._search.status)

    @property
    def num_frames(self) -> int:
        """The number of frames so far."""
        return self._search.num_frames

    def feed(self, scores: npt.NDArray[Any]) -> None:
        """Takes the next frames (t, C); t may be 0."""
        self._search.feed(scores if scores.flags.aligned else scores.copy())

    def texts(self, nbest: int = 1, *, finished: bool = True) -> list[Text]:
        """The best texts so far, the best first, without the part that :meth:`take_stem` has returned.

        Args:
            nbest: the greatest number of texts to return.
            finished: whether the recording has ended: then the last word and the sentence are closed.
        """
        return _texts(self._search.texts(nbest, finished))

    def take_stem(self) -> tuple[Int32Array, Int32Array, Int32Array]:
        """Tokens, frames and words that can't change any more, since all prefixes share them.

        The search drops them, so that memory doesn't grow with the recording. Later texts begin after them, but their
        scores are still those of the whole text.
        """
        _, tokens, frames, _, words, _ = self._search.take_stem()
        return tokens, frames, words

    def reset(self) -> None:
        """Starts again, without any frame."""
        self._search.reset()

    def __getstate__(self) -> tuple[Any, ...]:
        return self._arguments, self._search.save()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._arguments, held = state
        self._start()
        self._search.restore(held)


def _texts(arrays: tuple[npt.NDArray[Any], ...]) -> list[Text]:
    token_offsets, tokens, frames, word_offsets, words, scores = arrays
    found = []
    token_ends, word_ends = token_offsets.tolist(), word_offsets.tolist()
    for i, (score, ctc, language, units, hotwords) in enumerate(scores.tolist()):
        mine, its = slice(token_ends[i], token_ends[i + 1]), slice(word_ends[i], word_ends[i + 1])
        found.append(Text(tokens[mine], frames[mine], words[its], score, ctc, language, int(units), hotwords))
    return found


# Compiled objects are kept as long as the objects that they were compiled from.
_lock = threading.RLock()
_graphs: WeakKeyDictionary[SearchGraph, extension.SearchGraph] = WeakKeyDictionary()
_spellings: WeakKeyDictionary[Symbols, extension.Spelling] = WeakKeyDictionary()
_lexicons: WeakKeyDictionary[Lexicon, extension.Lexicon] = WeakKeyDictionary()
_hotwords: WeakKeyDictionary[Hotwords, WeakKeyDictionary[Symbols, extension.Hotwords]] = WeakKeyDictionary()


def compiled(graph: SearchGraph) -> extension.SearchGraph:
    """The graph as the extension holds it. Graphs with the same symbols, lexicon or hotwords share them.

    Raises:
        ValueError: an array is not as ``search_graph.py`` specifies.
    """
    with _lock:
        return _kept(_graphs, graph, _graph)


def _kept(known: WeakKeyDictionary[K, V], key: K, make: Callable[[K], V]) -> V:
    found = known.get(key)
    if found is None:
        found = known[key] = make(key)
    return found


def _graph(graph: SearchGraph) -> extension.SearchGraph:
    spelling = _kept(_spellings, graph.symbols, _spelling)
    by_token = graph.level == "token" and graph.model is not None
    tokens = graph.model_tokens if by_token else None
    return extension.SearchGraph(
        spelling,
        graph.blank,
        None if graph.lexicon is None else _kept(_lexicons, graph.lexicon, _lexicon),
        None if graph.hotwords is None else _hotwords_of(graph.hotwords, graph.symbols, spelling),
        None if graph.model is None else graph.model.native,
        0 if graph.model is None else graph.model.end,
        None if tokens is None else _integers(tokens),
        graph.sentence_bounds,
        graph.alpha,
        graph.beta,
        graph.unknown_score,
    )


def _hotwords_of(hotwords: Hotwords, symbols: Symbols, spelling: extension.Spelling) -> extension.Hotwords:
    tree = hotwords.tree

    def make(_: Symbols) -> extension.Hotwords:
        return extension.Hotwords(
            spelling,
            _integers(tree.first),
            _integers(tree.symbols),
            _integers(hotwords.fail),
            _numbers(hotwords.rewards),
            _numbers(hotwords.potentials),
            hotwords.start,
        )

    return _kept(_kept(_hotwords, hotwords, lambda _: WeakKeyDictionary()), symbols, make)


def _spelling(symbols: Symbols) -> extension.Spelling:
    return extension.Spelling(_integers(symbols.offsets), _integers(symbols.symbols), symbols.separator)


def _lexicon(lexicon: Lexicon) -> extension.Lexicon:
    return extension.Lexicon(
        _integers(lexicon.tree.first),
        _integers(lexicon.tree.symbols),
        _integers(lexicon.word_offsets),
        _integers(lexicon.words),
        _integers(lexicon.model_words),
        _numbers(lexicon.lookahead),
        lexicon.closed,
    )


def _integers(array: npt.NDArray[Any]) -> Int32Array:
    return np.ascontiguousarray(array, np.int32)


def _numbers(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return np.ascontiguousarray(array, np.float64)
