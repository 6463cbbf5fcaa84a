"""From a text to the tokens that forced alignment wants, and from an alignment back to words with times.

A vocabulary knows how a recogniser spells: what its classes are called, what begins a word or stands between two, and
what to do with characters that it lacks. May import align.py and what lies below; no framework.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from .align import STAR, Alignment
from .errors import CTCError
from .results import Timed
from .validate import check_blank, check_frame_shift

Convention = Literal["separator", "sentencepiece", "wordpiece", "plain"]

# What people call the blank, the surest names first. Names of one character may be letters: they count at an end only.
_BLANKS = (
    ("", "<blank>", "[blank]", "<blk>", "[blk]", "<ctc>", "[ctc]", "<ctc_blank>", "φ", "∅"),
    ("<pad>", "[pad]"),
    ("<eps>", "<epsilon>"),
    ("ε", "-", "_"),
)
_SEPARATORS = (" ", "|", "<space>", "[space]", "▁")
_MARK, _INNER = "▁", "##"  # SentencePiece: a word begins here; WordPiece: no word begins here
_SPECIAL = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")  # labels such as <unk>, which stand for no text
_READ_OUT = "#%&@§¶‰‱"  # punctuation to Unicode, but people say it
_ALIKE = ("'’‘ʼ‛′`´", '"“”„‟«»', "-‐‑‒–—―−")  # apostrophes, quotes, dashes: a vocabulary has one of each at most


class Word(NamedTuple):
    """A word of a transcript.

    Attributes:
        text: as it stands in the text, with punctuation.
        first: which token of the transcript is its first.
        tokens: of each of its tokens the text; a word of nothing but punctuation that stands alone has none.
    """

    text: str
    first: int
    tokens: tuple[str, ...]


class Line(NamedTuple):
    """A line of a transcript.

    Attributes:
        text: its words, with a space between them.
        words: as they are.
    """

    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True, eq=False)
class Transcript:
    """A text as tokens, for :func:`ctckit.forced_align`.

    Attributes:
        tokens: int64 (S,), classes and ``ctckit.STAR``.
        optional: int64 (S,), groups of tokens that may be left out, 0 for those that must be there.
        lines: the text. Separators, and stars between words, are tokens of no word.
        notes: a line for whatever in the text the vocabulary can't spell.
    """

    tokens: npt.NDArray[np.int64]
    optional: npt.NDArray[np.int64]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def timed(self, alignment: Alignment, frame_shift: float, *, extend: int = 0, offset: float = 0.0) -> list[Timed]:
        """The lines with their times; their parts are words, and the words' parts are tokens.

        Args:
            alignment: of these tokens.
            frame_shift: seconds from one frame to the next.
            extend: frames of blanks that a token may grow over on each side, as for :meth:`Alignment.spans`.
            offset: seconds, the time of the first frame.

        Returns:
            One :class:`Timed` for each line. What has no audio, such as optional words that were left out and
            everything where there is no path, has NaN for its times, score and confidence.

        Raises:
            CTCError: the alignment is of another target, or a number of seconds is none.
        """
        check_frame_shift(frame_shift)
        if not math.isfinite(offset):
            raise CTCError(f"offset = {offset}: expected seconds, the time of the first frame")
        if not np.array_equal(alignment.target, self.tokens):
            raise CTCError(
                f"the alignment is of another target: it has {len(alignment.target)} tokens, the transcript "
                f"{len(self.tokens)}, and they must be the same; align transcript.tokens"
            )
        times = np.full((len(self.tokens), 2), np.nan)
        for span in alignment.spans(extend):
            times[span.place] = offset + span.start * frame_shift, offset + span.end * frame_shift
        table = np.column_stack((times, alignment.token_scores, alignment.confidence))
        weights = alignment.ends - alignment.starts
        lines = []
        for line in self.lines:
            words = [(range(word.first, word.first + len(word.tokens)), word) for word in line.words]
            parts = [_timed(word.text, s, table, weights, _tokens(word, table)) for s, word in words]
            lines.append(_timed(line.text, [s for r, _ in words for s in r], table, weights, parts))
        return lines


def _tokens(word: Word, table: npt.NDArray[np.float64]) -> list[Timed]:
    rows = table[word.first : word.first + len(word.tokens)].tolist()
    return [Timed(text, *row) for text, row in zip(word.tokens, rows, strict=True)]


def _timed(
    text: str,
    tokens: Sequence[int],
    table: npt.NDArray[np.float64],
    weights: npt.NDArray[np.int32],
    parts: Iterable[Timed],
) -> Timed:
    """What consists of these tokens, from the rows (start, end, score, confidence) of those that have frames."""
    kept = [s for s in tokens if weights[s]]
    if not kept:
        return Timed(text, math.nan, math.nan, math.nan, math.nan, tuple(parts))
    score, confidence = np.average(table[kept, 2:], axis=0, weights=weights[kept]).tolist()
    return Timed(text, float(table[kept[0], 0]), float(table[kept[-1], 1]), score, confidence, tuple(parts))


class _Letter(NamedTuple):
    """A character as the vocabulary may spell it, and where in the word it came from."""

    spelled: str
    at: int


class _Piece(NamedTuple):
    """A token of a word, and which characters of the word it covers."""

    token: int
    first: int
    end: int


class _Cost(NamedTuple):
    """What a split of a word costs: least of the first counts, then of the next."""

    unknown: int = 0
    lost_marks: int = 0
    pieces: int = 0

    def plus(self, other: _Cost) -> _Cost:
        return _Cost(*(a + b for a, b in zip(self, other, strict=True)))


class Vocabulary:
    """What a recogniser's classes are called, and so how it spells a text.

    Attributes:
        labels: (C,) the classes' names.
        blank: the blank's class.
        convention: how words are told apart: ``"separator"``, a class stands between two words, called ``|``, a
            space, ``<space>`` or ``▁``; ``"sentencepiece"``, a word's first piece begins with ``▁``;
            ``"wordpiece"``, all but its first begin with ``##``; ``"plain"``, not at all.
        separator: the class between words, or None.

    Args:
        labels: (C,) as :func:`ctckit.files.read_labels` reads them. Labels like ``<unk>`` and ``[UNK]`` spell nothing.
        blank: the blank's class; C if it comes after all labels. If it is not given, it is the class that is called
            ``<blank>``, ``<pad>`` or the like, or the first or last, called ``φ``, ``-`` or ``_``.
        convention: if it is not to be told from the labels.

    Raises:
        CTCError: labels are not strings or not unique, or the blank or the separator can't be told from them.

    Example:
        >>> vocabulary = Vocabulary(["<pad>", "|", "E", "H", "I", "R", "T"])
        >>> vocabulary.convention, vocabulary.blank
        ('separator', 0)
        >>> [vocabulary.labels[token] for token in vocabulary.transcribe("Hi there!").tokens]
        ['H', 'I', '|', 'T', 'H', 'E', 'R', 'E']
    """

    def __init__(
        self, labels: Sequence[str], blank: int | None = None, *, convention: Convention | None = None
    ) -> None:
        if isinstance(labels, Mapping):
            raise CTCError(
                "labels is a mapping: expected names in their classes' order, sorted(labels, key=labels.get)"
            )
        names = list(labels)
        _check_labels(names)
        if blank is not None and blank == len(names):
            names.append("φ")
        self.labels = tuple(names)
        self.blank = _blank(self.labels) if blank is None else check_blank(blank, len(names), of_labels=True)
        others = {name: c for c, name in enumerate(self.labels) if c != self.blank}
        self.convention: Convention = _convention(others) if convention is None else convention
        if self.convention not in get_args(Convention):
            raise CTCError(f"convention = {convention!r} is unknown: expected one of {', '.join(get_args(Convention))}")
        self.separator = _separator(others) if self.convention == "separator" else None
        spelling = [(name, c) for name, c in others.items() if name and c != self.separator]
        self._pieces = {
            unicodedata.normalize("NFC", name): c for name, c in reversed(spelling) if not _SPECIAL.fullmatch(name)
        }
        self._longest = max(map(len, self._pieces), default=0)
        # Some texts come as they were prepared for a network: A|CAT, or ▁a▁cat.
        self._between = _MARK if self.convention == "sentencepiece" else " "
        if self.separator is not None:
            self._between = self.labels[self.separator]
        marks = {"sentencepiece": _MARK, "wordpiece": _INNER}.get(self.convention, "")
        self._alphabet = {letter for piece in self._pieces for letter in piece.removeprefix(marks)}
        self._spellings: dict[str, tuple[_Piece, ...]] = {}

    def __repr__(self) -> str:
        blank = f"blank={self.blank} ({self.labels[self.blank]!r})"
        return f"Vocabulary({len(self.labels)} labels, {blank}, convention={self.convention!r})"

    def transcribe(self, text: str, *, optional_words: bool = False, star_between_words: bool = False) -> Transcript:
        """Spells a text in the vocabulary's tokens.

        Words are what white space parts, or the vocabulary's own mark, as in ``A|CAT``. Text is brought into Unicode's
        form NFC. A character that the vocabulary lacks is spelled, if that can be, in the other case; as another
        apostrophe, quote or dash; in its compatible form (NFKC: ``ﬁ`` as ``fi``); or without its accents. Otherwise
        punctuation (Unicode's P, apostrophes), marks (M) and formatting characters (Cf) are silent: they stay in the
        word's text and have no token. All else, letters, numbers (N), symbols (S) and punctuation that is read out
        (``# % & @ § ¶ ‰``), becomes ``ctckit.STAR``, one for a run of them, with a note.

        A word is split into the longest pieces, one after the other; where that leaves unknown characters, into those
        that leave the fewest, and of such splits into the fewest pieces. A word without a token is added to the text
        of the word before it, or after it if it is the line's first.

        Args:
            text: a line for each segment; empty lines are none.
            optional_words: every word may be missing in the audio, and so may separators.
            star_between_words: between words, before the first and after the last there may be other things, for which
                a star stands that may be left out.

        Raises:
            CTCError: the text is no string.
        """
        if not isinstance(text, str):
            raise CTCError(f"text has type {type(text).__name__}: expected a string")
        writer = _Writer(self.separator, optional_words, star_between_words)
        for number, line in enumerate(unicodedata.normalize("NFC", text).splitlines(), start=1):
            chunks = line.replace(self._between, " ").split()
            if chunks:
                writer.line(number, [(chunk, self._spelled(chunk)) for chunk in chunks])
        return writer.transcript()

    def _spelled(self, word: str) -> tuple[_Piece, ...]:
        """A word's tokens. Of its spellings in other cases that which leaves the fewest characters unknown."""
        found = self._spellings.get(word)
        if found is None:
            letters = [_Letter(part, at) for at, letter in enumerate(word) for part in self._respelled(letter)]
            found = self._split(letters)
            for cased in (str.lower, str.upper):
                if _unknown(found):
                    others = [_Letter(part, at) for spelled, at in letters for part in cased(spelled)]
                    found = min(found, self._split(others), key=_unknown)
            self._spellings[word] = found
        return found

    def _respelled(self, letter: str) -> str:
        """A character in the vocabulary's own; itself if there are none, or nothing if it is silent."""
        for form in _forms(letter):
            for cased in (form, form.lower(), form.upper()):
                if cased and self._alphabet.issuperset(cased):
                    return cased
        return "" if _is_silent(letter) else letter

    def _split(self, letters: list[_Letter]) -> tuple[_Piece, ...]:
        """A word's characters as pieces; runs of those that fit in none become one star."""
        if not letters:
            return ()
        text = "".join(letter.spelled for letter in letters)
        if self.convention == "sentencepiece":
            text, letters = _MARK + text, [_Letter(_MARK, letters[0].at), *letters]
        sizes = list(self._greedy(text))
        if 0 in sizes:
            sizes = self._fewest(text)
        pieces: list[_Piece] = []
        at = 0
        for size in sizes:
            first, last = letters[at], letters[at + max(size, 1) - 1]
            token = self._pieces[self._key(text, at, size)] if size else STAR
            piece = _Piece(token, first.at, last.at + (last.spelled != _MARK))
            if token == STAR and pieces and pieces[-1].token == STAR:
                pieces[-1] = pieces[-1]._replace(end=piece.end)
            elif token != STAR or first.spelled != _MARK:  # if no piece begins a word so, the mark is dropped
                pieces.append(piece)
            at += max(size, 1)
        return tuple(pieces)

    def _key(self, text: str, at: int, size: int) -> str:
        """What the piece that begins here is called. As in BERT, punctuation is a word of its own."""
        within = at > 0 and not (_is_punctuation(text[at - 1]) or _is_punctuation(text[at]))
        return _INNER * (self.convention == "wordpiece" and within) + text[at : at + size]

    def _fitting(self, text: str, at: int) -> Iterator[int]:
        """The sizes of the pieces that fit here, the longest first."""
        for size in range(min(self._longest, len(text) - at), 0, -1):
            if self._key(text, at, size) in self._pieces:
                yield size

    def _greedy(self, text: str) -> Iterator[int]:
        """The longest piece at each place; 0 for a character that none fits."""
        at = 0
        while at < len(text):
            size = next(self._fitting(text, at), 0)
            yield size
            at += max(size, 1)

    def _fewest(self, text: str) -> list[int]:
        """The split that leaves the fewest characters unknown, then has the fewest pieces; 0 as above.

        From the word's end on, the best way to spell the rest of it is known for every place.
        """
        costs, sizes = [_Cost()] * (len(text) + 1), [0] * len(text)
        for at in reversed(range(len(text))):
            lost = self.convention == "sentencepiece" and at == 0
            costs[at] = costs[at + 1].plus(_Cost(unknown=not lost, lost_marks=lost))
            for size in self._fitting(text, at):
                cost = costs[at + size].plus(_Cost(pieces=1))
                if cost < costs[at]:
                    costs[at], sizes[at] = cost, size
        best, at = [], 0
        while at < len(text):
            best.append(sizes[at])
            at += max(sizes[at], 1)
        return best


@dataclass
class _Writer:
    """Puts a transcript together, word by word."""

    separator: int | None
    optional_words: bool
    stars: bool
    tokens: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    group: int = 0  # the last one given
    begun: bool = False  # there has been a word

    def line(self, number: int, chunks: list[tuple[str, tuple[_Piece, ...]]]) -> None:
        words: list[Word] = []
        silent = ""  # what stands before the line's first word that has a token
        for text, pieces in chunks:
            if pieces:
                word = self._word(number, text, pieces)
                words.append(word._replace(text=silent + text))
                silent = ""
            elif words:
                words[-1] = words[-1]._replace(text=f"{words[-1].text} {text}")
            else:
                silent += f"{text} "
        if silent:
            words.append(Word(silent.rstrip(), len(self.tokens), ()))
            self.notes.append(f"line {number}: {silent.rstrip()!r} has no token: it gets no time")
        self.lines.append(Line(" ".join(word.text for word in words), tuple(words)))

    def transcript(self) -> Transcript:
        if self.stars:
            self._star()
        tokens, groups = np.array(self.tokens, np.int64), np.array(self.groups, np.int64)
        return Transcript(tokens, groups, tuple(self.lines), tuple(self.notes))

    def _word(self, number: int, text: str, pieces: tuple[_Piece, ...]) -> Word:
        if self.separator is not None and self.begun:
            # On its own: it goes with either of its words, and if all that follow are missing, there may be none.
            self._put(self.separator, self._next() if self.optional_words else 0)
        if self.stars:
            self._star()
        group = self._next() if self.optional_words else 0
        first, self.begun = len(self.tokens), True
        texts = tuple(text[piece.first : piece.end] or _MARK for piece in pieces)
        for piece, covered in zip(pieces, texts, strict=True):
            self._put(piece.token, group)
            if piece.token == STAR:
                self.notes.append(f"line {number}: {covered!r} is not in the vocabulary: it matches anything")
        return Word(text, first, texts)

    def _star(self) -> None:
        self._put(STAR, self._next())

    def _next(self) -> int:
        self.group += 1
        return self.group

    def _put(self, token: int, group: int) -> None:
        self.tokens.append(token)
        self.groups.append(group)


def _check_labels(labels: list[str]) -> None:
    seen: dict[str, int] = {}
    for c, label in enumerate(labels):
        if not isinstance(label, str):
            raise CTCError(f"labels[{c}] = {label!r} has type {type(label).__name__}: expected a string")
        if label in seen:
            raise CTCError(f"labels[{seen[label]}] and labels[{c}] are both {label!r}: expected each label once")
        seen[label] = c
    if not labels:
        raise CTCError("labels is empty: expected the name of each class")


def _blank(labels: tuple[str, ...]) -> int:
    """The class that is called as blanks are."""
    ends = (0, len(labels) - 1)
    for names in _BLANKS:
        found = [c for c, label in enumerate(labels) if label.lower() in names and (len(label) != 1 or c in ends)]
        if len(found) == 1:
            return found[0]
        if found:
            both = ", ".join(f"labels[{c}] = {labels[c]!r}" for c in found)
            raise CTCError(f"the blank can't be told from the labels: it may be any of {both}; pass blank=")
    raise CTCError(
        f"the blank can't be told from the {len(labels)} labels: expected one called <blank> or <pad>, or the first or "
        f"last called φ, - or _; the first is {labels[0]!r}, the last {labels[-1]!r}; pass blank="
    )


def _convention(names: Iterable[str]) -> Convention:
    names = set(names)
    if any(name.startswith(_MARK) and name != _MARK for name in names):
        return "sentencepiece"
    if any(name.startswith(_INNER) and name != _INNER for name in names):
        return "wordpiece"
    return "plain" if names.isdisjoint(_SEPARATORS) else "separator"


def _separator(classes: dict[str, int]) -> int:
    found = next((classes[name] for name in _SEPARATORS if name in classes), None)
    if found is None:
        expected = ", ".join(map(repr, _SEPARATORS))
        raise CTCError(f"no label is a separator of words: expected one of {expected}, or convention='plain'")
    return found


def _forms(letter: str) -> Iterator[str]:
    """How else a character may be written, the nearest first."""
    yield letter
    for alike in _ALIKE:
        if letter in alike:
            yield from alike
    yield unicodedata.normalize("NFKC", letter)
    parts = unicodedata.normalize("NFD", letter)
    yield parts
    yield "".join(part for part in parts if not unicodedata.category(part).startswith("M"))


def _is_silent(letter: str) -> bool:
    category = unicodedata.category(letter)
    read_out = unicodedata.normalize("NFKC", letter) in _READ_OUT
    return (category[0] in "PM" and not read_out) or category == "Cf" or letter in _ALIKE[0]


def _is_punctuation(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "PS"


def _unknown(pieces: Iterable[_Piece]) -> int:
    """How many of a word's characters match anything."""
    return sum(piece.end - piece.first for piece in pieces if piece.token == STAR)
