"""The words that a decoder may find, and their spellings, as a tree of symbols.

May import files/, search_graph.py, and of its package spelling.py and trees.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..files import check_file, read_packed_text
from ..search_graph import BOUNDARY, Int32Array, Tree
from .spelling import Speller, examples, left_out
from .trees import Finder, Sequences, tree_of

Spelling = str | Sequence[str]
"""A word's spelling: a text, or labels, as a sequence or as a string with spaces between them."""

Words = Iterable[str] | Mapping[str, Spelling | Iterable[Spelling]]
"""Words, or a mapping from each word to its spelling or spellings."""

_Labels = tuple[str, ...]


class Lexicon:
    """The words that a text may have, and how they are spelled.

    Attributes:
        words: the words, each once, in the given order.
        origin: its name in messages.

    Args:
        words: words, spelled as they are written; or a mapping from each word to its spelling or spellings. A spelling
            is a text, such as ``"doctor"`` for ``"Dr."``, or labels, such as ``"d o k"`` or ``[["d", "o", "k"]]``. A
            word with labels can be spelled only by these classes, other words by any classes that spell the text.
        origin: its name in messages.

    Raises:
        CTCError: the words are empty, or a word or a spelling is not a string.

    Example:
        >>> Lexicon({"read": [["R", "EH", "D"], ["R", "IY", "D"]], "red": "R EH D"}).words
        ('read', 'red')
    """

    def __init__(self, words: Words, *, origin: str = "the lexicon") -> None:
        if isinstance(words, (str, bytes)):
            raise CTCError(f"lexicon is {words[:40]!r}: expected words, or a file of them: Lexicon.read(path)")
        given = list(words)
        wrong = next((i for i, word in enumerate(given) if not isinstance(word, str)), None)
        if wrong is not None:
            raise CTCError(f"{origin}, word {wrong + 1} is {given[wrong]!r}: expected a string")
        self.origin = origin
        self.words = tuple(dict.fromkeys(given))
        if not self.words:
            raise CTCError(f"{origin} is empty: expected at least one word")
        self._spellings: list[tuple[int, str | _Labels]] | None = None
        if isinstance(words, Mapping):
            self._spellings = [
                (i, spelling) for i, word in enumerate(self.words) for spelling in _spellings(origin, word, words[word])
            ]

    @classmethod
    def read(cls, path: str | Path) -> Lexicon:
        """Reads a file with a word on each line, or in torchaudio's form: a word, white space, and its labels.

        The file may be compressed by gzip. Empty lines are ignored. A word with several lines has several spellings.

        Raises:
            CTCError: the file can't be read, is not UTF-8, or has no word.
        """
        path = Path(path)
        check_file(path)
        lines = [stripped for line in read_packed_text(path).split("\n") if (stripped := line.strip(" \t\r"))]
        rows = [line.replace("\t", " ").partition(" ") for line in lines]
        if 2 * sum(not labels for _, _, labels in rows) > len(rows):
            return cls(lines, origin=str(path))
        lexicon = cls([word for word, _, _ in rows], origin=str(path))
        numbers = {word: i for i, word in enumerate(lexicon.words)}
        lexicon._spellings = [(numbers[word], tuple(labels.split()) or word) for word, _, labels in rows]
        return lexicon

    @property
    def has_labels(self) -> bool:
        """Whether the lexicon spells words by labels."""
        return any(not isinstance(spelling, str) for _, spelling in self._spellings or ())

    @property
    def has_spellings(self) -> bool:
        """Whether the lexicon has spellings, which may differ from the words."""
        return self._spellings is not None

    def spelled(self, speller: Speller) -> SpelledLexicon:
        """Spells the words in symbols.

        Raises:
            CTCError: no word can be spelled with the labels.
        """
        sequences, notes = self._sequences(speller)
        sequences = _single_words(sequences)
        there = np.zeros(len(self.words), bool)
        there[sequences.of] = True
        missing = np.flatnonzero(~there).tolist()
        named = [self._named(i) for i in missing[:10]]
        if not there.any():
            raise CTCError(
                f"none of the {len(self.words)} words of {self.origin} can be spelled with the labels, such as "
                f"{examples(named)}: expected words of letters that the labels have"
            )
        if missing:
            notes = (left_out(len(missing), f"{len(self.words)} words", named), *notes)
        noted = tuple(f"{self.origin}: {note}" for note in notes)
        return SpelledLexicon(self.words, sequences, noted, self.has_spellings)

    def _sequences(self, speller: Speller) -> tuple[Sequences, tuple[str, ...]]:
        """The spellings in symbols, each with the number of its word; and notes on them."""
        if self._spellings is None:
            found = speller.spell(self.words)
            return found.sequences, found.notes
        self._check_lists(speller)
        texts = [(i, spelling) for i, spelling in self._spellings if isinstance(spelling, str)]
        labels = [(i, speller.of_labels(spelling)) for i, spelling in self._spellings if not isinstance(spelling, str)]
        found = speller.spell([text for _, text in texts])
        numbers = np.array([i for i, _ in texts], np.int32)
        of_texts = found.sequences._replace(of=numbers[found.sequences.of])
        of_labels = Sequences.made_of((i, symbols) for i, symbols in labels if symbols)
        return of_texts + of_labels, found.notes

    def _named(self, number: int) -> str:
        """A word as messages show it, with its labels if it has some."""
        word = self.words[number]
        labels = next(
            (" ".join(way) for i, way in self._spellings or () if i == number and not isinstance(way, str)), ""
        )
        return f"{word!r} as {labels!r}" if labels else repr(word)

    def _check_lists(self, speller: Speller) -> None:
        """Raises a CTCError if several spellings are probably meant as a single one, such as ["c", "a", "t"]."""
        if self.has_labels:
            return  # other words show that lists of spellings are used as intended
        labels, ways = set(speller.vocabulary.labels), dict[int, list[str]]()
        for i, spelling in self._spellings or ():
            ways.setdefault(i, []).append(str(spelling))
        for i, several in ways.items():
            if len(several) > 1 and labels.issuperset(several):
                one, apart = " ".join(several), [[way] for way in several]
                raise CTCError(
                    f"{self.origin}: {self.words[i]!r} has the spellings {several!r}, each of one label: expected "
                    f"{one!r} for one spelling of these labels, or {apart!r} for several spellings"
                )


@dataclass(frozen=True, eq=False)
class SpelledLexicon:
    """Words in the symbols of a vocabulary.

    Attributes:
        words: all words, including those that can't be spelled.
        sequences: their spellings, each with the number of its word.
        notes: sentences about words that are left out, or are not spelled as they are written.
        has_spellings: whether the lexicon has spellings, which may differ from the words.
    """

    words: tuple[str, ...]
    sequences: Sequences
    notes: tuple[str, ...] = ()
    has_spellings: bool = False

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each word."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def tree(self) -> Tree:
        """The tree of the spellings."""
        return self._grown[0]

    @cached_property
    def nodes(self) -> Int32Array:
        """The node at which each spelling ends."""
        return self._grown[1]

    @cached_property
    def _grown(self) -> tuple[Tree, Int32Array]:
        return tree_of(self.sequences)

    @cached_property
    def _by_word(self) -> tuple[Int32Array, npt.NDArray[np.int64]]:
        """The order that sorts the spellings by words, and where each word's spellings begin in it."""
        order = np.argsort(self.sequences.of, kind="stable").astype(np.int32)
        return order, np.searchsorted(self.sequences.of[order], np.arange(len(self.words) + 1))

    def spellings(self, word: str) -> list[list[int]]:
        """The spellings of a word, in symbols."""
        number = self.numbers.get(word)
        if number is None:
            return []
        order, begins = self._by_word
        return [self.sequences.row(row) for row in order[begins[number] : begins[number + 1]].tolist()]

    def ends(self) -> tuple[Int32Array, Int32Array]:
        """The words that end at each node: offsets (V + 1,), and the words, sorted for each node."""
        size, count = len(self.tree.first) - 1, len(self.words)
        pairs = np.unique(self.nodes.astype(np.int64) * count + self.sequences.of)  # a spelling may be given twice
        offsets = np.zeros(size + 1, np.int32)
        np.cumsum(np.bincount(pairs // count, minlength=size), out=offsets[1:])
        return offsets, (pairs % count).astype(np.int32)

    def with_words(self, words: Sequence[str], speller: Speller) -> SpelledLexicon:
        """The lexicon with more words, except those that can't be spelled, or are spelled like a word that it has."""
        new = [word for word in dict.fromkeys(words) if word not in self.numbers]
        sequences = _single_words(speller.spell(new).sequences)
        sequences = sequences.chosen(~np.isin(Finder(self.tree).ends(sequences), self.nodes))
        kept, of = np.unique(sequences.of, return_inverse=True)
        if not kept.size:
            return self
        joined = self.sequences + sequences._replace(of=(len(self.words) + of).astype(np.int32))
        return replace(self, words=(*self.words, *(new[i] for i in kept.tolist())), sequences=joined)


LexiconSource = Lexicon | str | Path | Words


def lexicon_of(source: LexiconSource) -> Lexicon:
    """A lexicon, from any form that users can pass; a string is the path of a file."""
    if isinstance(source, Lexicon):
        return source
    return Lexicon.read(source) if isinstance(source, (str, Path)) else Lexicon(source)


def _spellings(origin: str, word: str, given: Spelling | Iterable[Spelling]) -> list[str | _Labels]:
    """A word's spellings, as texts or labels."""
    several = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [given]
    found: list[str | _Labels] = []
    for spelling in several:
        labels = spelling.split() if isinstance(spelling, str) else spelling
        if not isinstance(labels, Sequence) or not labels or not all(isinstance(label, str) for label in labels):
            raise CTCError(
                f"{origin}: {word!r} has the spelling {spelling!r}: expected a text, or a sequence of labels"
            )
        found.append(spelling if isinstance(spelling, str) and len(labels) == 1 else tuple(labels))
    return found


def _single_words(sequences: Sequences) -> Sequences:
    """The sequences that are single words when spelled with the labels."""
    boundaries = np.concatenate([[0], np.cumsum(sequences.symbols == BOUNDARY)])
    inner = boundaries[sequences.offsets[1:]] - boundaries[sequences.offsets[:-1]]
    return sequences.chosen(inner == 0)
