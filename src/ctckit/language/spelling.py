"""What each class of a recogniser spells, as symbols, and how texts are spelled in them.

A symbol is a letter, so that a word may be reached by any split into pieces; or a token, where a lexicon says by which
tokens its words are spelled. May import text/ and what lies below it, and trees.py.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..lattice import STAR
from ..search_graph import BOUNDARY, Symbols
from ..text import Vocabulary
from .trees import Sequences

_MARKS = frozenset("<[{")  # tags and names of special classes begin with them
_TRIED = 20  # texts whose case is compared with the one that the labels prefer
_EXAMPLES = 3
_CODES = 0x110000
_TURKISH = frozenset("ıİ")  # where labels have one of them, transcribe pairs i with İ


class _Tables(NamedTuple):
    """By code point.

    Attributes:
        symbols: what it is.
        begins: whether it may begin a word.
        goes_on: whether it may stand within a word.
    """

    symbols: npt.NDArray[np.int32]
    begins: npt.NDArray[np.bool_]
    goes_on: npt.NDArray[np.bool_]


class Spelled(NamedTuple):
    """How texts are spelled.

    Attributes:
        sequences: with the texts' numbers. Words are separated by boundaries; there is none at either end.
        failed: the numbers of the texts that the labels can't spell.
        notes: on those that are spelled otherwise than they are written.
    """

    sequences: Sequences
    failed: list[int]
    notes: tuple[str, ...] = ()


class Speller:
    """Spells texts in the symbols of a vocabulary.

    Attributes:
        symbols: what each class spells.
        by_token: whether symbols are tokens; else they are letters.
        has_words: whether there are boundaries between words.

    Example:
        >>> speller = Speller(Vocabulary(["<blank>", "▁ca", "t", "s", "a"]))
        >>> [speller.symbols.of(token) for token in range(5)]
        [[], [0, 2, 1], [4], [3], [1]]
        >>> speller.spell(["cats"]).sequences.symbols
        array([2, 1, 4, 3], dtype=int32)
    """

    def __init__(self, vocabulary: Vocabulary, *, by_token: bool = False) -> None:
        self.vocabulary = vocabulary
        self.by_token = by_token
        texts = [unicodedata.normalize("NFC", vocabulary.adds(c)) for c in range(len(vocabulary.labels))]
        self.has_words = vocabulary.convention != "plain"
        self._letters = {letter: i for i, letter in enumerate(sorted(set("".join(texts)) - {self._space}), start=1)}
        self._spelled = [self._by_token(c, text) if by_token else self._by_letter(text) for c, text in enumerate(texts)]
        self._labels = {label: row for label, row in zip(vocabulary.labels, self._spelled, strict=True) if row}
        offsets = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(row) for row in self._spelled], out=offsets[1:])
        symbols = np.array([symbol for row in self._spelled for symbol in row], np.int32)
        separator = -1 if vocabulary.separator is None else vocabulary.separator
        self.symbols = Symbols(offsets, symbols, separator)
        self._has_pieces = any(len(text.strip(" ")) > 1 for text in texts)
        self._cases = _has_cases(self._letters) or not _TURKISH.isdisjoint(self._letters)
        self._tables = None if by_token else self._quick_tables(texts)

    @property
    def _space(self) -> str:
        """What is between words in what classes spell."""
        return " " if self.has_words else ""

    def _by_letter(self, text: str) -> list[int]:
        return [BOUNDARY if letter == self._space else self._letters[letter] for letter in text]

    def _by_token(self, token: int, text: str) -> list[int]:
        """A symbol of its own, with the boundaries at its ends."""
        inner = text.strip(self._space) if self._space else text
        before = [BOUNDARY] if text != inner and text.startswith(" ") else []
        after = [BOUNDARY] if inner and text != inner and text.endswith(" ") else []
        return [*before, token + 1, *after] if inner else before

    def spell(self, texts: Sequence[str]) -> Spelled:
        """Spells texts, words or phrases.

        Letters that the labels have are spelled as they are written. A text with others is spelled as
        :meth:`Vocabulary.transcribe` does it: in another case, without accents or punctuation.
        """
        if not unicodedata.is_normalized("NFC", "\n".join(texts)):
            texts = [unicodedata.normalize("NFC", text) for text in texts]
        quick = self._quickly(texts)
        slow = np.ones(len(texts), bool)
        slow[quick.of] = False
        found: list[tuple[int, list[int]]] = []
        failed: list[int] = []
        folded: list[str] = []
        for i in np.flatnonzero(slow).tolist():
            symbols, note = self._transcribed(texts[i])
            if symbols:
                found.append((i, symbols))
                folded += [f"{texts[i]!r}: {note}"] if note else []
            else:
                failed.append(i)
        notes = (f"{len(folded)} spelled otherwise than written, as {examples(folded)}",) if folded else ()
        return Spelled(quick + Sequences.made_of(found), failed, notes + self._recased([texts[i] for i in quick.of]))

    def of_labels(self, labels: Iterable[str]) -> list[int] | None:
        """The symbols of some labels, without boundaries at the ends; None if one is no label that spells something."""
        rows = [self._labels.get(label) for label in labels]
        if None in rows:
            return None
        return _trimmed([symbol for row in rows if row is not None for symbol in row])

    def _transcribed(self, text: str) -> tuple[list[int], str]:
        """A text's symbols, none if it can't be spelled; and what is noted of it."""
        transcript = self.vocabulary.transcribe(text)
        tokens = transcript.tokens.tolist()
        if STAR in tokens:
            return [], ""
        note = transcript.notes[0].partition(": ")[2] if transcript.notes else ""
        return _trimmed([symbol for token in tokens for symbol in self._spelled[token]]), note

    def _quick_tables(self, texts: Sequence[str]) -> _Tables:
        """The letters that have a piece of their own where they stand: any text of them can be spelled."""
        convention = self.vocabulary.convention
        inner = {text for text in texts if len(text) == 1} - {self._space}
        first = {text[1] for text in texts if len(text) == 2 and text[0] == self._space}
        if convention in ("separator", "plain") or (convention == "sentencepiece" and " " in texts):
            first |= inner
        tables = _Tables(np.zeros(_CODES, np.int32), np.zeros(_CODES, bool), np.zeros(_CODES, bool))
        for letter, symbol in self._letters.items():
            apart = convention == "wordpiece" and unicodedata.category(letter)[0] in "PS"
            if letter in _MARKS or letter.isspace() or apart:  # transcribe has its own rules for these
                continue
            forms = [letter, *([] if self._cases else _other_case(letter))]
            for form in map(ord, forms):
                tables.symbols[form], tables.begins[form], tables.goes_on[form] = (
                    symbol,
                    letter in first,
                    letter in inner,
                )
        return tables

    def _quickly(self, texts: Sequence[str]) -> Sequences:
        """Those texts that are made of such letters, with single spaces between words."""
        if self._tables is None:
            return Sequences.made_of([])
        table, begins, goes_on = self._tables
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
        space = codes == ord(" ")
        at_begin, at_end = np.zeros(len(codes) + 1, bool), np.zeros(len(codes) + 1, bool)
        at_begin[offsets[:-1]] = True
        at_begin[1:] |= space
        at_end[offsets[1:] - 1] = True
        between = space & ~at_end[:-1] & self.has_words
        fine = np.where(at_begin[:-1], begins[codes], goes_on[codes] | between)
        faults = np.concatenate([[0], np.cumsum(~fine)])
        whole = (faults[offsets[1:]] == faults[offsets[:-1]]) & (lengths > 0)
        return Sequences(np.arange(len(texts), dtype=np.int32), offsets, table[codes]).chosen(whole)

    def _recased(self, texts: Sequence[str]) -> tuple[str, ...]:
        """A note if the labels have fewer tokens for most of some texts in another case."""
        if not (self._cases and self._has_pieces):
            return ()
        tried = texts[:: len(texts) // _TRIED + 1]
        notes = [note for text in tried if (note := self._transcribed(text)[1])]
        if 2 * len(notes) <= len(tried):
            return ()
        return (f"most are in a case that the labels have longer pieces for in another, as {notes[0]}",)


def examples(texts: Sequence[str]) -> str:
    """The first of some texts, for a note."""
    return "; ".join(texts[:_EXAMPLES]) + ("; …" if len(texts) > _EXAMPLES else "")


def _trimmed(symbols: list[int]) -> list[int]:
    """Symbols with one boundary between words, and none at the ends."""
    begin, end = 0, len(symbols)
    while begin < end and symbols[begin] == BOUNDARY:
        begin += 1
    while begin < end and symbols[end - 1] == BOUNDARY:
        end -= 1
    inner = symbols[begin:end]
    if BOUNDARY not in inner:  # the usual case, quickly
        return inner
    return [symbol for before, symbol in pairwise([BOUNDARY, *inner]) if not before == symbol == BOUNDARY]


def _other_case(letter: str) -> list[str]:
    """The letter's other case, if the two are a pair wherever they stand."""
    return [other for other in (letter.lower(), letter.upper()) if _is_pair(letter, other)]


def _is_pair(letter: str, other: str) -> bool:
    return len(other) == 1 and other != letter and {letter.lower(), letter.upper()} == {other.lower(), other.upper()}


def _has_cases(letters: Iterable[str]) -> bool:
    """Whether some letter is there in two cases."""
    there = set(letters)
    return any(not there.isdisjoint({letter.lower(), letter.upper(), letter.casefold()} - {letter}) for letter in there)
