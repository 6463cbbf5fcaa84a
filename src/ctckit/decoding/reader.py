"""Reads the tokens and words that a search found as text, in the same way for every decoder.

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
        text: its text.
        first: the index of its first token.
        stop: one past the index of its last token.
        known: whether the lexicon has it.
    """

    text: str
    first: int
    stop: int
    known: bool = False


class Reader:
    """Reads tokens like :meth:`Vocabulary.read`, but faster, and words as the lexicon writes them.

    Args:
        vocabulary: names the tokens; None: they have no text.
        symbols: what each token spells.
        words: the lexicon's words, by number; empty without a lexicon.
    """

    def __init__(self, vocabulary: Vocabulary | None, symbols: Symbols, words: Sequence[str] = ()) -> None:
        classes = range(0 if vocabulary is None else len(vocabulary.labels))
        self._words: Sequence[str] | Mapping[int, str] = words
        texts = [] if vocabulary is None else [vocabulary.adds(c) for c in classes]
        self._texts: Sequence[str] | Mapping[int, str] = texts
        parts = [_parts(text, symbols.of(c)) for c, text in enumerate(texts)]
        self._parts: Sequence[list[str | None]] | Mapping[int, list[str | None]] = parts
        self._has_words = any(None in part for part in parts)

    def with_words(self, words: Sequence[str]) -> Reader:
        """A reader of the same tokens with other words."""
        other = copy(self)
        other._words = words
        return other

    def only(self, tokens: Int32Array, words: Int32Array) -> Reader:
        """A small reader, for these tokens and words only."""
        used, known = set(tokens.tolist()), set(words.tolist()) - {UNKNOWN}
        other = copy(self)
        if self._texts:
            other._texts = {token: self._texts[token] for token in used}
            other._parts = {token: self._parts[token] for token in used}
            other._words = {word: self._words[word] for word in known}
        return other

    def piece(self, token: int) -> str:
        """A token's own text, as transcripts have it."""
        return self._texts[token].strip() or WORD_START

    def text(self, tokens: Int32Array, words: Int32Array) -> str:
        """The whole text.

        Args:
            tokens: (S,).
            words: the numbers of the words that are closed, as the lexicon counts them; ``UNKNOWN`` for other words.
        """
        if not self._texts:
            return ""
        read = "".join(map(self._texts.__getitem__, tokens.tolist()))
        found = [word for word in read.split(" ") if word]
        if found and not self._has_words:
            found = [" ".join(found)]
        if len(self._words):
            for i, word in enumerate(words.tolist()):
                found[i] = found[i] if word == UNKNOWN else self._words[word]
        return " ".join(found)

    def words(self, tokens: Int32Array, words: Int32Array) -> list[Spelled]:
        """The words of the text; only the last may be not closed."""
        groups = self._groups(tokens.tolist()) if self._texts else []
        known = [self._words[word] if word != UNKNOWN else "" for word in words.tolist()]
        known += [""] * (len(groups) - len(known))
        return [
            Spelled(word or group.text, group.first, group.stop, word != "")
            for group, word in zip(groups, known, strict=False)
        ]

    def word(self, number: int, tokens: Sequence[int]) -> str:
        """The text of a word: by its number, or if it has none, by its tokens."""
        if number != UNKNOWN:
            return self._words[number]
        return " ".join("".join(map(self._texts.__getitem__, tokens)).split())

    def texts(self, tokens: Int32Array, words: Int32Array) -> list[str]:
        """The words' texts."""
        return [word.text for word in self.words(tokens, words)]

    def _groups(self, tokens: list[int]) -> list[Spelled]:
        """The parts between boundaries, as the tokens spell them, each with the range of its tokens."""
        texts: list[str] = []
        firsts: list[int] = []
        stops: list[int] = []
        inside = False
        for s, token in enumerate(tokens):
            for part in self._parts[token]:
                if part is None:
                    inside = False
                elif inside:
                    texts[-1] += part
                    stops[-1] = s + 1
                else:
                    texts.append(part)
                    firsts.append(s)
                    stops.append(s + 1)
                    inside = True
        return list(map(Spelled, texts, firsts, stops))


def _parts(text: str, symbols: list[int]) -> list[str | None]:
    """The pieces of text that a token spells, with None for each boundary."""
    pieces = iter(text.split())
    found: list[str | None] = []
    for symbol in symbols:
        if symbol == BOUNDARY:
            found.append(None)
        elif not found or found[-1] is None:
            found.append(next(pieces, ""))
    return found
