"""Splits a text into pieces that have a class: letters, word pieces, whole labels.

A module of its own because a vocabulary (with conventions) and an explanation (with bare labels) split alike. Imports
nothing of the package.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Piece(NamedTuple):
    """A part of a text.

    Attributes:
        token: its class; None for a character that belongs to no piece.
        start: its first character.
        end: one past its last character.
    """

    token: int | None
    start: int
    end: int


class _Cost(NamedTuple):
    """Cost of a split, compared field by field."""

    unknown: int = 0
    lost_marks: int = 0
    pieces: int = 0

    def __add__(self, other: _Cost) -> _Cost:  # type: ignore[override]  # fields are added, not concatenated
        return _Cost(*(a + b for a, b in zip(self, other, strict=True)))


class Pieces:
    """A table of pieces, and the splits of texts into them.

    Args:
        classes: each piece's class. An empty piece is ignored.
        initial: a mark at the beginning of a text that may be dropped without loss, as SentencePiece's ``▁``.
        inner: the prefix of pieces that don't begin a text, as WordPiece's ``##``.

    Example:
        >>> [tuple(piece) for piece in Pieces({"a": 1, "at": 2, "c": 3}).split("cat!")]
        [(3, 0, 1), (2, 1, 3), (None, 3, 4)]
    """

    def __init__(self, classes: Mapping[str, int], *, initial: str = "", inner: str = "") -> None:
        self.classes = {name: token for name, token in classes.items() if name}
        self.initial = initial
        self.inner = inner
        self._longest = max(map(len, self.classes), default=0)

    def split(self, text: str) -> list[Piece]:
        """Splits a text into its longest pieces, from left to right.

        Where that leaves characters without a piece, the split is the one that leaves the fewest such characters,
        and of these the one with the fewest pieces.
        """
        pieces = list(self._longest_first(text))
        if any(piece.token is None for piece in pieces):
            pieces = self._fewest_unknown(text)
        return pieces

    def _fitting(self, text: str, start: int) -> Iterator[Piece]:
        """The pieces that fit at `start`, the longest first."""
        # As in BERT, punctuation is a word of its own.
        begins = not self.inner or start == 0 or is_punctuation(text[start - 1]) or is_punctuation(text[start])
        prefix = "" if begins else self.inner
        for end in range(min(start + self._longest, len(text)), start, -1):
            token = self.classes.get(prefix + text[start:end])
            if token is not None:
                yield Piece(token, start, end)

    def _longest_first(self, text: str) -> Iterator[Piece]:
        start = 0
        while start < len(text):
            piece = next(self._fitting(text, start), Piece(None, start, start + 1))
            yield piece
            start = piece.end

    def _fewest_unknown(self, text: str) -> list[Piece]:
        """The best split of each suffix, from the text's end to its beginning."""
        costs = [_Cost()] * (len(text) + 1)
        best: list[Piece] = [Piece(None, start, start + 1) for start in range(len(text))]
        for start in reversed(range(len(text))):
            lost = start == 0 and text.startswith(self.initial) and self.initial != ""
            costs[start] = costs[start + 1] + _Cost(unknown=not lost, lost_marks=lost)
            for piece in self._fitting(text, start):
                cost = costs[piece.end] + _Cost(pieces=1)
                if cost < costs[start]:
                    costs[start], best[start] = cost, piece
        pieces, start = [], 0
        while start < len(text):
            pieces.append(best[start])
            start = best[start].end
        return pieces


def is_punctuation(letter: str) -> bool:
    """Whether Unicode calls a character punctuation (P) or a symbol (S)."""
    return unicodedata.category(letter)[0] in "PS"
