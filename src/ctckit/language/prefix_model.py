"""Any other language model in a search: a function that predicts the next word, such as a neural network.

May import validate/ and what is below it, native, and of its package model.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import native
from ..errors import CTCError
from ..validate import Fault, check_answer, check_integer
from .model import LN_10, SPECIAL_WORDS, State

Prefix = tuple[int, ...]
NextLogProbs = Callable[[Sequence[Prefix]], npt.ArrayLike]

_START, _END, _UNKNOWN = SPECIAL_WORDS
_BYTES_OF_ROWS = 1 << 28
_LEAST = -100 * LN_10  # nats, of an impossible word; the same as in native/language/asked.cpp
_ROUNDING = 1e-3  # nats; an ln P may be above 0 by this much, by rounding


class PrefixModel:
    """A language model as a function: it takes a prefix, the words so far, and returns the ln P of each next word.

    The search calls it (shallow fusion) at the end of each word, or, if the words are the recogniser's labels, at each
    token. It is called once for every prefix that enters the beam: 100 to 200 times for a printed line and a beam of
    50. So decoding takes about as long as these calls. :func:`ctckit.rescore` makes fewer calls, each for many
    prefixes, but can only reorder the texts that were found without this model.

    Answers are cached, up to 256 MiB; then those that were used least recently are dropped. The prefixes, about 60
    bytes each, are kept as long as the model is. It can be pickled if the function can, together with its prefixes, so
    that a stream can be continued in another process.

    Attributes:
        vocabulary: the words, by number; ``<unk>`` is the first.
        counts: (V,), the number of words in an answer.
        end: the number of ``</s>``.
        notes: sentences about what is unusual in the words.
        native: the extension's object.

    Args:
        next_log_probs: takes prefixes, tuples of indices into `words`; returns the ln P of each word that may follow,
            in nats: shape (prefixes, V), at most 0. Values below ln 10⁻¹⁰⁰, such as -inf, are taken as ln 10⁻¹⁰⁰, as in
            n-gram models. The search passes one prefix at a time, so that a network's rounding, and with it the texts,
            don't depend on what else is decoded. The function is called by one thread at a time, not always the
            caller's, and must not start a search with this model. Its exceptions are raised by
            :meth:`ctckit.Decoder.decode`.
        words: the words of the V columns, or the recogniser's labels. ``</s>`` is the end of a text: without it, the
            end has no score. ``<unk>`` stands for unknown words in prefixes: without it, prefixes omit them. With
            ``<s>``, the prefixes of a sentence begin with it, and the empty prefix means that the words before are not
            known; without it, the empty prefix is the beginning of a sentence.
        context: the greatest number of words in a prefix, ``<s>`` included; longer prefixes are cut to their last
            words. None: prefixes are not cut. A prefix that several hypotheses share after the cut is passed once, and
            the search treats these hypotheses as having the same state.

    Raises:
        CTCError: a word is not a string or is given twice, or `context` is below 1. During a search: an answer has
            another shape, or NaN, or a number above 0.

    Source:
        Gülçehre et al., "On Using Monolingual Corpora in Neural Machine Translation" (2015).

    Example:
        >>> from ctckit import Decoder
        >>> words = ["<unk>", "</s>", "a", "cab", "bad"]
        >>> def next_log_probs(prefixes):
        ...     table = np.full((len(prefixes), len(words)), np.log(0.1))
        ...     for row, prefix in zip(table, prefixes):
        ...         row[words.index("bad" if prefix[-1:] == (words.index("a"),) else "a")] = np.log(0.6)
        ...     return table
        >>> decoder = Decoder(["<blank>", " ", *"abcd"], language_model=PrefixModel(next_log_probs, words))
        >>> scores = np.full((5, 6), -5.0)
        >>> scores[range(5), [2, 1, 4, 2, 3]] = 0  # "a cab"
        >>> scores[2, 3] = scores[4, 5] = -0.3  # or "a bad"
        >>> decoder.decode(scores, from_logits=True)[0][0].text
        'a bad'
    """

    def __init__(self, next_log_probs: NextLogProbs, words: Iterable[str], *, context: int | None = None) -> None:
        if not callable(next_log_probs):
            raise CTCError(
                f"next_log_probs has type {type(next_log_probs).__name__}: expected a function of prefixes that "
                "returns the ln P of what follows each, shape (prefixes, V)"
            )
        names = _checked(words)
        self._arguments = next_log_probs, names, context
        places = {name: place for place, name in enumerate(names)}
        self.vocabulary: tuple[str, ...] = (_UNKNOWN, *(name for name in names if name != _UNKNOWN))
        self.counts: tuple[int, ...] = (len(names),)
        self._ids = {word: number for number, word in enumerate(self.vocabulary)}
        self.end: int = self._ids.get(_END, len(self.vocabulary))
        self.notes: tuple[str, ...] = ()
        if _END not in places:
            self.notes = (f"the language model lacks {_END}: the end of a text costs nothing",)
        self.native = native.PythonModel(
            partial(_row, next_log_probs, len(names)),
            np.array([places.get(word, -1) for word in self.vocabulary], np.int32),
            len(names),
            places.get(_START, -1),
            self.end,
            0 if context is None else check_integer("context", context, 1),
            max(1, _BYTES_OF_ROWS // (4 * len(names))),
        )

    @property
    def bound(self) -> float:
        """Nats: every ln P is at most this. It is 0, since answers are probabilities."""
        bound: float = self.native.bound
        return bound

    def __reduce__(self) -> tuple[Callable[..., PrefixModel], tuple[Any, ...]]:
        return _restored, (*self._arguments, self.native.save())  # a stream's states are the numbers of its prefixes

    def __repr__(self) -> str:
        function, words, context = self._arguments
        return f"PrefixModel({function!r}, {len(words)} words, context={context})"

    def id(self, word: str) -> int:
        """The number of a word; 0, the number of ``<unk>``, if the model lacks it."""
        return self._ids.get(word, 0)

    def ids(self, words: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of words, 0 for those that the model lacks."""
        return np.array([self.id(word) for word in words], np.int32)

    def begin(self, sentence: bool = True) -> State:
        """The state at the start of a sentence; or, with ``sentence=False`` and ``<s>``, without any context."""
        state: State = self.native.begin(bool(sentence))
        return state

    def step(self, state: State, word: int) -> tuple[float, State]:
        """The ln P of a word, by number, in a state; and the state after it. Invalid numbers are taken as ``<unk>``."""
        found: tuple[float, State] = self.native.step(state, max(word, 0))
        return found

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The ln P that the search expects of an incomplete word: for all, the mean ln P of a sentence's first word.

        The function can't score words without context. The ln P of each word at the beginning of a sentence would be a
        bad guess: in the middle of a sentence, the search would drop words that are rarely the first.
        """
        first = self.native.row(self.begin()).astype(np.float64)
        shares = np.exp(first)
        return np.full(len(words), (shares * np.maximum(first, _LEAST)).sum() / max(shares.sum(), np.exp(_LEAST)))


def _checked(words: Iterable[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        raise CTCError("words is a string: expected a list, the word or label of each column of an answer")
    names = tuple(words)
    if not names:
        raise CTCError("words is empty: expected the word or label of each column of an answer")
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise CTCError(f"words[{place}] has type {type(name).__name__}: expected a word, a string")
        if seen.setdefault(name, place) != place:
            raise CTCError(f"words[{place}] = {name!r} is words[{seen[name]}] again: expected each word once")
    return names


def _row(next_log_probs: NextLogProbs, size: int, prefix: Prefix) -> npt.NDArray[np.float32]:
    """The function's answer, checked: the search relies on no ln P being above 0."""
    (said,) = check_answer("next_log_probs", next_log_probs([prefix]), (1, size))
    most = int(said.argmax())
    if said[most] > _ROUNDING:
        raise CTCError(Fault("model-above-zero", "next_log_probs", (0, most), float(said[most])))
    checked: npt.NDArray[np.float32] = np.minimum(said, 0).astype(np.float32)
    return checked


def _restored(
    next_log_probs: NextLogProbs, words: tuple[str, ...], context: int | None, saved: npt.NDArray[np.int32]
) -> PrefixModel:
    model = PrefixModel(next_log_probs, words, context=context)
    if not model.native.restore(saved):
        raise CTCError("the pickled PrefixModel is damaged: its prefixes don't fit together")
    return model
