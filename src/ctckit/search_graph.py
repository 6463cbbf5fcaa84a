"""The input of a search besides the scores, as arrays: what tokens spell, which words are known, and their scores.

A search graph is to a search what a lattice is to a sweep: data, which the textbook's search and the fast one only
read. ``language/`` builds graphs. Imports NumPy only.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

BOUNDARY = 0  # the symbol between words
UNKNOWN = -1  # the number of any word that the lexicon lacks
UNKNOWN_SCORE = -30.0  # nats, chosen on a recogniser's lines: with -10, misread words are taken for unknown ones
MOST_NATS = 300.0  # one symbol may change a score by at most this: a search multiplies exponentials of such numbers

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]


class Model(Protocol):
    """A language model as a search uses it: word by word, with a state for the words so far.

    Attributes:
        end: the word that ends a sentence.
        native: the extension's object; None for a model that only Python can call.
    """

    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def native(self) -> Any: ...  # noqa: D102

    def begin(self, sentence: bool) -> Hashable:
        """The state at the beginning of a sentence, or without any context."""

    def step(self, state: Any, word: int) -> tuple[float, Hashable]:
        """The ln P of a word in a state, and the state after it. Word 0 is ``<unk>``."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """What each token spells.

    Attributes:
        offsets: int32 (C + 1,): token c spells ``symbols[offsets[c]:offsets[c + 1]]``; nothing for a special class.
        symbols: int32. ``BOUNDARY`` separates words; other symbols are numbered from 1.
        separator: the class that is only a boundary, and is never part of a word; -1 without such a class.
    """

    offsets: Int32Array
    symbols: Int32Array
    separator: int = -1

    def of(self, token: int) -> list[int]:
        """The symbols of a token."""
        return [int(symbol) for symbol in self.symbols[self.offsets[token] : self.offsets[token + 1]]]


@dataclass(frozen=True, eq=False)
class Tree:
    """Sequences of symbols as a tree. Node 0 is the root; nodes are numbered breadth first, children by their symbols.

    Attributes:
        first: int32 (V + 1,): the children of node v are the nodes ``first[v] + 1`` to ``first[v + 1]``.
        symbols: int32 (V - 1,): ``symbols[v - 1]`` leads from its parent to node v.
    """

    first: Int32Array
    symbols: Int32Array

    def child(self, node: int, symbol: int) -> int | None:
        """The child that a symbol leads to."""
        begin, end = self.first[node : node + 2]
        found = begin + int(np.searchsorted(self.symbols[begin:end], symbol))
        return int(found) + 1 if found < end and self.symbols[found] == symbol else None


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The words that are known, as a tree of their symbols without boundaries.

    Attributes:
        tree: the tree of the spellings.
        word_offsets: int32 (V + 1,): the words ``words[word_offsets[v]:word_offsets[v + 1]]`` end at node v.
        words: int32: numbers of words, in the caller's order.
        model_words: int32 (words,): the model's number of each word; ``UNKNOWN`` if the model lacks it.
        lookahead: float64 (V,), nats: the highest score of a word below the node; 0 at the root.
        closed: whether texts can have no other words.
    """

    tree: Tree
    word_offsets: Int32Array
    words: Int32Array
    model_words: Int32Array
    lookahead: Float64Array
    closed: bool

    def words_at(self, node: int) -> list[int]:
        """The words that end at a node."""
        return [int(word) for word in self.words[self.word_offsets[node] : self.word_offsets[node + 1]]]


@dataclass(frozen=True, eq=False)
class Hotwords:
    """Phrases to boost, as an automaton (Aho and Corasick, 1975).

    Attributes:
        tree: the tree of the phrases' symbols, with a boundary before and after each phrase if the labels separate
            words.
        fail: int32 (V,): the node of the longest proper suffix that is in the tree; 0 at the root.
        rewards: float64 (V,), nats: the sum for all phrases that are complete at the node.
        potentials: float64 (V,), nats: the credit for an incomplete phrase; it is removed where the text leaves the
            phrase.
        start: the state at the beginning of a text.
    """

    tree: Tree
    fail: Int32Array
    rewards: Float64Array
    potentials: Float64Array
    start: int

    def step(self, state: int, symbol: int) -> int:
        """The state after a symbol."""
        while (found := self.tree.child(state, symbol)) is None and state:
            state = int(self.fail[state])
        return found or 0


@dataclass(frozen=True, eq=False)
class SearchGraph:
    """Everything that determines which texts are possible, and what is added to their CTC scores.

    A text's score is ``ctc + alpha * language + beta * units + hotwords``, in nats: `language` is the model's ln P of
    its words, with `unknown_score` for each unknown word; `units` is the number of words. With ``level="token"``,
    tokens take the place of words in both.

    Attributes:
        blank: the blank's class.
        symbols: what each token spells.
        lexicon: the known words; None: any word is allowed, and none is unknown.
        model: the language model; None: the language's score is 0, except for unknown words.
        level: what the model's words are.
        model_tokens: int32 (C,), with ``level="token"``: the model's number of each token; ``UNKNOWN`` if the model
            lacks it. Special classes, which spell nothing, are not scored.
        hotwords: the phrases to boost; None: there are none.
        alpha: the weight of the language, at least 0.
        beta: nats for each unit.
        unknown_score: nats of an unknown word, in place of its ln P.
        sentence_bounds: whether the model scores the sentence's beginning and end.
    """

    blank: int
    symbols: Symbols
    lexicon: Lexicon | None = None
    model: Model | None = None
    level: Literal["word", "token"] = "word"
    model_tokens: Int32Array | None = None
    hotwords: Hotwords | None = None
    alpha: float = 0.5
    beta: float = 0.0
    unknown_score: float = UNKNOWN_SCORE
    sentence_bounds: bool = True

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.symbols.offsets) - 1

    def score(self, ctc: float, language: float, units: int, hotwords: float) -> float:
        """A text's score, in nats."""
        return ctc + (self.alpha * language if language else 0.0) + self.beta * units + hotwords
