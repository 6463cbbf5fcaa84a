"""What a search for texts takes beside the scores, as arrays: how tokens spell, which words there are, their worth.

The search's counterpart of a lattice: it is data, and each search, the textbook's and the fast one, only reads it.
``language/`` puts graphs together. Imports NumPy only.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

BOUNDARY = 0  # the symbol between words
UNKNOWN = -1  # among words: one that the lexicon lacks
UNKNOWN_SCORE = -30.0  # nats, chosen on a recogniser's lines: with -10, misread words are taken for unknown ones
MOST_NATS = 300.0  # that one symbol may add to a text, or take: a search multiplies their exponentials

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]


class Model(Protocol):
    """A language model as a search asks it: word by word, with a state for what was said.

    Attributes:
        end: the word that ends a sentence.
        native: the extension's object, None for a model that only Python can ask.
    """

    @property
    def end(self) -> int: ...  # noqa: D102
    @property
    def native(self) -> Any: ...  # noqa: D102

    def begin(self, sentence: bool) -> Hashable:
        """The state at the beginning of a sentence, or without any context."""

    def step(self, state: Any, word: int) -> tuple[float, Hashable]:
        """Says a word: its ln P in that state, and the state after it. Word 0 is ``<unk>``."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """What each token spells.

    Attributes:
        offsets: int32 (C + 1,): token c spells ``symbols[offsets[c]:offsets[c + 1]]``; nothing for a special class.
        symbols: int32. ``BOUNDARY`` separates words; the others are numbered from 1.
        separator: the class that is a boundary and nothing else, and that no word is spelled with; -1 if there is none.
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
        first: int32 (V + 1,): children of node v are the nodes ``first[v] + 1`` to ``first[v + 1]``.
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
        tree: of the spellings.
        word_offsets: int32 (V + 1,): the words ``words[word_offsets[v]:word_offsets[v + 1]]`` are spelled up to node v.
        words: int32: numbers of words, in the order in which the caller has them.
        model_words: int32 (words,): what the model calls each of them; ``UNKNOWN`` if it doesn't know it.
        lookahead: float64 (V,), nats: what a word below the node is worth at most; 0 at the root.
        closed: whether a text has no other words.
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
    """Phrases that are worth more, as an automaton (Aho and Corasick, 1975).

    Attributes:
        tree: of the phrases' symbols, with a boundary before and after each where the writing has words.
        fail: int32 (V,): the node of the longest other suffix that is in the tree; 0 at the root.
        rewards: float64 (V,), nats: of the phrases that are complete at the node.
        potentials: float64 (V,), nats: credit for what is begun; it is taken back where a phrase breaks off.
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
    """All that decides which texts there are and what they are worth beside their CTC score.

    A text's score is ``ctc + alpha * language + beta * units + hotwords``, in nats: `language` is the model's ln P of
    its words, with `unknown_score` for each that is not known; `units` is their number. With ``level="token"`` both are
    of tokens.

    Attributes:
        blank: its class.
        symbols: what each token spells.
        lexicon: the known words; None: any word, and none is unknown.
        model: None: the language is worth 0, unknown words apart.
        level: what the model's words are.
        model_tokens: int32 (C,), with ``level="token"``: what the model calls each token; ``UNKNOWN`` for one that it
            doesn't know. Special classes, which spell nothing, are not asked for.
        hotwords: None: no phrase is worth more.
        alpha: the weight of the language, at least 0.
        beta: nats for each unit.
        unknown_score: nats of an unknown word, in place of its ln P.
        sentence_bounds: whether the model is asked for the sentence's beginning and end.
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
