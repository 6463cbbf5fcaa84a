"""Any other language model in a search: a function that says what follows a prefix, such as a neural network's.

May import validate/ and what lies below it, and native.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import native
from ..errors import CTCError
from ..validate import Fault, check_answer, check_integer

State = tuple[int, ...]
Prefix = tuple[int, ...]
NextLogProbs = Callable[[Sequence[Prefix]], npt.ArrayLike]

_START, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
_BYTES_OF_ROWS = 1 << 28
_LEAST = -100 * math.log(10)  # nats, of a word that is impossible
_ROUNDING = 1e-3  # nats that a sum of rounded probabilities may lie above 1


class PrefixModel:
    """A language model that a function answers for: it is told what was said, and says how probable each word is next.

    For a search that asks the model while it goes on (shallow fusion): at the end of each word, or, if the words are
    the recogniser's labels, at each token. It asks for every prefix that the beam comes by, in a line of print
    100 to 200 times at a beam of 50; so a network's milliseconds are what it takes.
    :func:`ctckit.rescore` asks for less, and many prefixes at once, but can only order what was found without them.

    What was said of a prefix is kept and not asked for again, up to 256 MiB; beyond that, what was used least recently
    goes. Prefixes themselves are kept as long as the model, some 60 bytes each. Can be pickled if the function can,
    with its prefixes, so that a stream can go on elsewhere.

    Attributes:
        vocabulary: the words, by number; ``<unk>`` is the first.
        counts: (V,), how many words an answer has.
        end: the number of ``</s>``.
        notes: what is strange about the words; sentences.
        native: the extension's object.

    Args:
        next_log_probs: takes prefixes, tuples of places in `words`; returns the ln P of each word that may follow, in
            nats: shape (prefixes, V), at most 0. What lies below ln 10⁻¹⁰⁰, such as -inf, counts as that, as in n-gram
            models. The search asks for one prefix at a time, so that a network's rounding, and with it the texts, don't
            depend on what else is decoded. It is called by one thread at a time, which may be another one than the
            caller's, and must not search with this model itself. What it raises comes out of :meth:`Decoder.decode`.
        words: what the V places mean: words, or the recogniser's labels. ``</s>`` is the end of a text: without it, the
            end costs nothing. ``<unk>`` stands for unknown words in prefixes: without it, prefixes leave them out. With
            ``<s>``, prefixes of sentences begin with it, and the empty prefix means that nothing is known of what was
            said before; else the empty prefix is the beginning of a sentence.
        context: how many words a prefix has at most, the last ones, ``<s>`` among them. None: all. Prefixes that are
            cut to the same words are asked for once, and hypotheses that have them go on alike.

    Raises:
        CTCError: a word is no string or comes twice, or `context` is below 1. While it is used: an answer has another
            shape, or holds NaN or a number above 0.

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
                f"next_log_probs has type {type(next_log_probs).__name__}: expected a function of prefixes that gives "
                "the ln P of what follows each, shape (prefixes, V)"
            )
        self._arguments = next_log_probs, _checked(words), context
        names = self._arguments[1]
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
        """Nats that no ln P exceeds: 0, of a probability."""
        bound: float = self.native.bound
        return bound

    def __reduce__(self) -> tuple[Callable[..., PrefixModel], tuple[Any, ...]]:
        return _restored, (*self._arguments, self.native.save())  # a stream's states stand for its prefixes

    def __repr__(self) -> str:
        function, words, context = self._arguments
        return f"PrefixModel({function!r}, {len(words)} words, context={context})"

    def id(self, word: str) -> int:
        """The number of a word; 0, that of ``<unk>``, if the model lacks it."""
        return self._ids.get(word, 0)

    def ids(self, words: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of words, 0 for those that the model lacks."""
        return np.array([self.id(word) for word in words], np.int32)

    def begin(self, sentence: bool = True) -> State:
        """The state at the beginning of a sentence; or without any context, if the words have ``<s>``."""
        state: State = self.native.begin(bool(sentence))
        return state

    def step(self, state: State, word: int) -> tuple[float, State]:
        """The ln P of a word, by number, in a state; and the state behind it. Any other number counts as ``<unk>``."""
        found: tuple[float, State] = self.native.step(state, max(word, 0))
        return found

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """What the search expects of words before it asks: all as much as a sentence's first word costs on average.

        The function can't be asked for words without context. Those that often are first would be a bad guess: in the
        middle of a sentence the search would lose the others.
        """
        first = self.native.row(self.begin()).astype(np.float64)
        shares = np.exp(first)
        return np.full(len(words), (shares * np.maximum(first, _LEAST)).sum() / max(shares.sum(), np.exp(_LEAST)))


def _checked(words: Iterable[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        raise CTCError("words is a string: expected a list, the word or label of each place of an answer")
    names = tuple(words)
    if not names:
        raise CTCError("words is empty: expected the word or label of each place of an answer")
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        if not isinstance(name, str):
            raise CTCError(f"words[{place}] has type {type(name).__name__}: expected a word, a string")
        if seen.setdefault(name, place) != place:
            raise CTCError(f"words[{place}] = {name!r} is words[{seen[name]}] again: expected each word once")
    return names


def _row(next_log_probs: NextLogProbs, size: int, prefix: Prefix) -> npt.NDArray[np.float32]:
    """What the function has said, checked: the search relies on it that no ln P is above 0."""
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
