"""What tokens and words that a search found say, as text. A module of its own since all that decodes reads alike.

May import text/ and search_graph.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..search_graph import BOUNDARY, UNKNOWN, Symbols
from ..text import Vocabulary
from ..text.transcript import WORD_START

Int32Array = npt.NDArray[np.int32]


class Spelled(NamedTuple):
    """A word of a text.

    Attributes:
        text: as it is read.
        first: the index of its first token.
        stop: one past that of its last token.
        known: whether the lexicon has it.
    """

    text: str
    first: int
    stop: int
    known: bool = False


class Reader:
    """Reads tokens as :meth:`Vocabulary.read` does, in fewer steps, and words as the lexicon writes them.

    Args:
        vocabulary: of the tokens; None: they have no text.
        symbols: what each token spells.
        words: the lexicon's, by their numbers; none without a lexicon.
    """

    def __init__(self, vocabulary: Vocabulary | None, symbols: Symbols, words: Sequence[str] = ()) -> None:
        classes = range(0 if vocabulary is None else len(vocabulary.labels))
        self._words: Sequence[str] | Mapping[int, str] = words
        texts = [] if vocabulary is None else [vocabulary.adds(c) for c in classes]
        self._texts: Sequence[str] | Mapping[int, str] = texts
        self._symbols: Sequence[list[int]] | Mapping[int, list[int]] = [symbols.of(c) for c in classes]

    def with_words(self, words: Sequence[str]) -> Reader:
        """The same with another lexicon."""
        other = copy(self)
        other._words = words
        return other

    def only(self, tokens: Int32Array, words: Int32Array) -> Reader:
        """The same for these tokens and words alone, which is small."""
        used, known = set(tokens.tolist()), set(words.tolist()) - {UNKNOWN}
        other = copy(self)
        if self._texts:
            other._texts = {token: self._texts[token] for token in used}
            other._symbols = {token: self._symbols[token] for token in used}
            other._words = {word: self._words[word] for word in known}
        return other

    def piece(self, token: int) -> str:
        """A token's own text, as transcripts have it."""
        return self._texts[token].strip() or WORD_START

    def text(self, tokens: Int32Array, words: Int32Array) -> str:
        """The whole text.

        Args:
            tokens: (S,).
            words: the lexicon's numbers of the words that are closed; ``UNKNOWN`` for others.
        """
        if not self._texts:
            return ""
        if len(self._words) and (words != UNKNOWN).any():
            return " ".join(word.text for word in self.words(tokens, words) if word.text)
        read = "".join(map(self._texts.__getitem__, tokens.tolist()))
        return " ".join(word for word in read.split(" ") if word)

    def words(self, tokens: Int32Array, words: Int32Array) -> list[Spelled]:
        """The text word by word; one that is not closed is the last."""
        groups = self._groups(tokens.tolist()) if self._texts else []
        known = [self._words[word] if word != UNKNOWN else "" for word in words.tolist()]
        known += [""] * (len(groups) - len(known))
        return [
            Spelled(word or group.text, group.first, group.stop, word != "")
            for group, word in zip(groups, known, strict=False)
        ]

    def word(self, number: int, tokens: Sequence[int]) -> str:
        """A word, by its number, or if it has none, as its tokens are read."""
        if number != UNKNOWN:
            return self._words[number]
        return " ".join("".join(map(self._texts.__getitem__, tokens)).split())

    def texts(self, tokens: Int32Array, words: Int32Array) -> list[str]:
        """The words' texts."""
        return [word.text for word in self.words(tokens, words)]

    def _groups(self, tokens: list[int]) -> list[Spelled]:
        """What is between boundaries, as the tokens spell it, with the tokens that are part of it."""
        groups: list[Spelled] = []
        inside = False
        for s, token in enumerate(tokens):
            texts = iter(self._texts[token].split())
            for symbol in self._symbols[token]:
                if symbol == BOUNDARY:
                    inside = False
                elif not inside:
                    groups.append(Spelled(next(texts, ""), s, s + 1))
                    inside = True
                elif groups[-1].stop <= s:
                    groups[-1] = Spelled(groups[-1].text + next(texts, ""), groups[-1].first, s + 1)
        return groups
