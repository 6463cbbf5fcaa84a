"""What each class of a recogniser spells, as symbols, and how texts are spelled in these symbols.

A symbol is a letter, so that any split of a word into pieces spells the word; or it is a token, if the lexicon spells
its words by tokens. May import text/ and what is below it, and trees.py.
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

_MARKS = frozenset("<[{")  # tags and names of special classes begin with one of these
_TRIED = 20  # how many texts are tried in another case, for which the labels may have longer pieces
_EXAMPLES = 3
_CODES = 0x110000  # code points of Unicode
_TURKISH = frozenset("ıİ")  # if the labels have one of these, transcribe treats i and İ as one letter in two cases


class _Tables(NamedTuple):
    """Facts about each letter, by its code point.

    Attributes:
        symbols: the letter's symbol.
        begins: whether the letter may begin a word.
        continues: whether it may be inside a word.
    """

    symbols: npt.NDArray[np.int32]
    begins: npt.NDArray[np.bool_]
    continues: npt.NDArray[np.bool_]


class Spelled(NamedTuple):
    """How texts are spelled.

    Attributes:
        sequences: their symbols, each with the number of its text. Boundaries separate words; texts do not
            begin or end with one.
        failed: the numbers of the texts that the labels can't spell.
        notes: sentences about texts that are not spelled as they are written.
    """

    sequences: Sequences
    failed: list[int]
    notes: tuple[str, ...] = ()


class Speller:
    """Spells texts in the symbols of a vocabulary.

    Attributes:
        symbols: what each class spells.
        by_token: whether symbols are tokens; otherwise they are letters.
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
        """The character that separates words in the texts of the classes; "" if no character does."""
        return " " if self.has_words else ""

    def _by_letter(self, text: str) -> list[int]:
        return [BOUNDARY if letter == self._space else self._letters[letter] for letter in text]

    def _by_token(self, token: int, text: str) -> list[int]:
        """The token's own symbol, with boundaries where its text has spaces at its ends."""
        inner = text.strip(self._space) if self._space else text
        before = [BOUNDARY] if text != inner and text.startswith(" ") else []
        after = [BOUNDARY] if inner and text != inner and text.endswith(" ") else []
        return [*before, token + 1, *after] if inner else before

    def spell(self, texts: Sequence[str]) -> Spelled:
        """Spells texts: words or phrases.

        Letters that the labels have are spelled as they are written. A text with other letters is spelled as
        :meth:`Vocabulary.transcribe` spells it: in another case, without accents or without punctuation.
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
        notes = (f"{len(folded)} not spelled as written: {examples(folded)}",) if folded else ()
        return Spelled(quick + Sequences.made_of(found), failed, notes + self._recased([texts[i] for i in quick.of]))

    def of_labels(self, labels: Iterable[str]) -> list[int] | None:
        """The symbols of some labels, without boundaries at the ends; None if one is not a label, or spells nothing."""
        rows = [self._labels.get(label) for label in labels]
        if None in rows:
            return None
        return _trimmed([symbol for row in rows if row is not None for symbol in row])

    def _transcribed(self, text: str) -> tuple[list[int], str]:
        """A text's symbols, empty if it can't be spelled; and a note on how it is spelled, or ""."""
        transcript = self.vocabulary.transcribe(text)
        tokens = transcript.tokens.tolist()
        if STAR in tokens:
            return [], ""
        note = transcript.notes[0].partition(": ")[2] if transcript.notes else ""
        return _trimmed([symbol for token in tokens for symbol in self._spelled[token]]), note

    def _quick_tables(self, texts: Sequence[str]) -> _Tables:
        """Tables of the letters that are labels by themselves, at the beginning of a word or inside it."""
        convention = self.vocabulary.convention
        inner = {text for text in texts if len(text) == 1} - {self._space}
        first = {text[1] for text in texts if len(text) == 2 and text[0] == self._space}
        if convention in ("separator", "plain") or (convention == "sentencepiece" and " " in texts):
            first |= inner
        tables = _Tables(np.zeros(_CODES, np.int32), np.zeros(_CODES, bool), np.zeros(_CODES, bool))
        for letter, symbol in self._letters.items():
            apart = convention == "wordpiece" and unicodedata.category(letter)[0] in "PS"
            if letter in _MARKS or letter.isspace() or apart:  # transcribe has special rules for these
                continue
            for form in map(ord, [letter, *([] if self._cases else _other_case(letter))]):
                tables.symbols[form] = symbol
                tables.begins[form], tables.continues[form] = letter in first, letter in inner
        return tables

    def _quickly(self, texts: Sequence[str]) -> Sequences:
        """The symbols of the texts that have only letters of the tables, and single spaces between words."""
        if self._tables is None:
            return Sequences.made_of([])
        table, begins, continues = self._tables
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
        space = codes == ord(" ")
        at_begin, at_end = np.zeros(len(codes) + 1, bool), np.zeros(len(codes) + 1, bool)
        at_begin[offsets[:-1]] = True
        at_begin[1:] |= space
        at_end[offsets[1:] - 1] = True
        between = space & ~at_end[:-1] & self.has_words
        fine = np.where(at_begin[:-1], begins[codes], continues[codes] | between)
        faults = np.concatenate([[0], np.cumsum(~fine)])
        whole = (faults[offsets[1:]] == faults[offsets[:-1]]) & (lengths > 0)
        return Sequences(np.arange(len(texts), dtype=np.int32), offsets, table[codes]).chosen(whole)

    def _recased(self, texts: Sequence[str]) -> tuple[str, ...]:
        """A note if most of the texts would have fewer tokens in another case."""
        if not (self._cases and self._has_pieces):
            return ()
        tried = texts[:: len(texts) // _TRIED + 1]
        notes = [note for text in tried if (note := self._transcribed(text)[1])]
        if 2 * len(notes) <= len(tried):
            return ()
        return (f"the labels have longer pieces for most of them in another case: {notes[0]}",)


def examples(texts: Sequence[str]) -> str:
    """The first of some texts, as a note shows them."""
    return "; ".join(texts[:_EXAMPLES]) + ("; …" if len(texts) > _EXAMPLES else "")


def left_out(count: int, of: str, named: Sequence[str]) -> str:
    """A note on what the labels can't spell: how many of how many, and the names of the first."""
    return f"{count} of {of} can't be spelled with the labels, and are left out: {examples(named)}"


def _trimmed(symbols: list[int]) -> list[int]:
    """Symbols with one boundary between words and none at the ends."""
    begin, end = 0, len(symbols)
    while begin < end and symbols[begin] == BOUNDARY:
        begin += 1
    while begin < end and symbols[end - 1] == BOUNDARY:
        end -= 1
    inner = symbols[begin:end]
    if BOUNDARY not in inner:  # the usual case: nothing to merge
        return inner
    return [symbol for before, symbol in pairwise([BOUNDARY, *inner]) if not before == symbol == BOUNDARY]


def _other_case(letter: str) -> list[str]:
    """The letter's other case, if the two are a pair anywhere in a word."""
    return [other for other in (letter.lower(), letter.upper()) if _is_pair(letter, other)]


def _is_pair(letter: str, other: str) -> bool:
    return len(other) == 1 and other != letter and {letter.lower(), letter.upper()} == {other.lower(), other.upper()}


def _has_cases(letters: Iterable[str]) -> bool:
    """Whether some letter occurs in two cases."""
    there = set(letters)
    return any(not there.isdisjoint({letter.lower(), letter.upper(), letter.casefold()} - {letter}) for letter in there)
