"""A recogniser's classes as a writing system: spells a text in tokens, and reads tokens as text.

May import align.py and what lies below it, pieces.py and transcript.py.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..lattice import STAR
from ..validate import check_blank
from .pieces import Piece, Pieces
from .transcript import WORD_START, Transcript, Writer

Convention = Literal["separator", "sentencepiece", "wordpiece", "plain"]

# Names of the blank, the least ambiguous first. A name of one character may be a letter: it counts at an end only.
_BLANKS = (
    ("", "<blank>", "[blank]", "<blk>", "[blk]", "<ctc>", "[ctc]", "<ctc_blank>", "φ", "∅"),
    ("<pad>", "[pad]"),
    ("<eps>", "<epsilon>"),
    ("ε", "-", "_"),
)
_SEPARATORS = (" ", "|", "<space>", "[space]", "▁")
_INNER = "##"  # WordPiece: this piece does not begin a word
_SPECIAL = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")  # labels such as <unk>, which do not stand for text
_SPOKEN = "#%&@§¶‰‱"  # punctuation to Unicode, but people say it
_ALIKE = ("'’‘ʼ‛′`´", '"“”„‟«»', "-‐‑‒–—―−")  # apostrophes, quotes, dashes: a vocabulary has one of each at most
_ANYTHING = "*"  # a star, when it is read


class _Letter(NamedTuple):
    """A character as the vocabulary may spell it, and the index of the word's character that it comes from."""

    spelled: str
    origin: int


class Vocabulary:
    """The names of a recogniser's classes: how it spells and reads a text.

    Attributes:
        labels: (C,) the classes' names.
        blank: the blank's class.
        convention: how words are separated: ``"separator"``, a class is between two words, called ``|``, a space,
            ``<space>`` or ``▁``; ``"sentencepiece"``, a word's first piece begins with ``▁``; ``"wordpiece"``, all but
            its first begin with ``##``; ``"plain"``, not at all.
        separator: the class between words, or None.

    Args:
        labels: (C,) as :func:`ctckit.files.read_labels` reads them. Labels like ``<unk>`` and ``[UNK]`` spell nothing.
        blank: the blank's class; C if it comes after all labels. By default the class that is called ``<blank>``,
            ``<pad>`` or the like, or the first or last, called ``φ``, ``-`` or ``_``.
        convention: by default what the labels suggest.

    Raises:
        CTCError: labels are not strings or not unique, or they don't show which class is the blank or the separator.

    Example:
        >>> vocabulary = Vocabulary(["<pad>", "|", "E", "H", "I", "R", "T"])
        >>> vocabulary.convention, vocabulary.blank
        ('separator', 0)
        >>> tokens = vocabulary.transcribe("Hi there!").tokens
        >>> [vocabulary.labels[token] for token in tokens]
        ['H', 'I', '|', 'T', 'H', 'E', 'R', 'E']
        >>> vocabulary.read(tokens)
        'HI THERE'
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
        self.blank = _blank(self.labels) if blank is None else check_blank(blank, len(self.labels), of_labels=True)
        others = {name: c for c, name in enumerate(self.labels) if c != self.blank}
        self.convention: Convention = _convention(others) if convention is None else convention
        if self.convention not in get_args(Convention):
            raise CTCError(f"convention = {convention!r} is unknown: expected one of {', '.join(get_args(Convention))}")
        self.separator = _separator(others) if self.convention == "separator" else None
        spelling = [(name, c) for name, c in others.items() if c != self.separator and not _SPECIAL.fullmatch(name)]
        self._initial = WORD_START if self.convention == "sentencepiece" else ""
        self._inner = _INNER if self.convention == "wordpiece" else ""
        self._pieces = Pieces(
            {unicodedata.normalize("NFC", name): c for name, c in reversed(spelling)},
            initial=self._initial,
            inner=self._inner,
        )
        # Some texts have been prepared for a network already: A|CAT, or ▁a▁cat.
        self._between = self._initial or (" " if self.separator is None else self.labels[self.separator])
        mark = self._initial or self._inner
        self._alphabet = {letter for piece in self._pieces.classes for letter in piece.removeprefix(mark)}
        self._texts = {c: name for name, c in spelling}
        self._spellings: dict[str, tuple[Piece, ...]] = {}

    def __repr__(self) -> str:
        blank = f"blank={self.blank} ({self.labels[self.blank]!r})"
        return f"Vocabulary({len(self.labels)} labels, {blank}, convention={self.convention!r})"

    def transcribe(self, text: str, *, optional_words: bool = False, star_between_words: bool = False) -> Transcript:
        """Spells a text in the vocabulary's tokens.

        Words are separated by white space, or by the vocabulary's own mark, as in ``A|CAT``. Text is brought into
        Unicode's form NFC. A character that the vocabulary lacks is spelled, if possible, in the other case; as another
        apostrophe, quote or dash; in its compatible form (NFKC: ``ﬁ`` as ``fi``); or without its accents. Otherwise
        punctuation (Unicode's P, apostrophes), marks (M) and formatting characters (Cf) are silent: they stay in the
        word's text and have no token. All else, letters, numbers (N), symbols (S) and punctuation that is read out
        (``# % & @ § ¶ ‰``), becomes ``ctckit.STAR``, one for a run of them, with a note.

        A word is split into the longest pieces, one after the other. If that leaves unknown characters, it is split so
        that the fewest are left, and then into the fewest pieces. A word without a token is added to the text of the
        word before it, or after it if it is the line's first.

        Args:
            text: one segment on each line; empty lines are ignored.
            optional_words: every word may be missing in the audio, and so may separators.
            star_between_words: other things may be said between words, before the first and after the last; an
                optional star stands for them.

        Raises:
            CTCError: the text is not a string.

        See Also:
            :meth:`read`, the way back.
        """
        if not isinstance(text, str):
            raise CTCError(f"text has type {type(text).__name__}: expected a string")
        writer = Writer(self.separator, optional_words, star_between_words)
        for number, line in enumerate(unicodedata.normalize("NFC", text).splitlines(), start=1):
            chunks = line.replace(self._between, " ").split()
            if chunks:
                writer.line(number, [(chunk, self._spelled(chunk)) for chunk in chunks])
        return writer.transcript()

    def read(self, tokens: Iterable[int] | npt.NDArray[np.integer]) -> str:
        """Reads tokens as text, the way back from :meth:`transcribe`.

        Blanks and labels like ``<unk>`` are left out; repeats are kept. The separator, and the mark that a piece begins
        a word with, become one space. ``ctckit.STAR`` becomes ``*``. Transcribing what is read gives the same tokens,
        if there were no stars (and, in the convention ``"plain"``, no words).

        Args:
            tokens: classes (S,), with or without blanks; not the classes of all frames, in which repeats are merged.

        Raises:
            CTCError: a token is not a class.

        Example:
            >>> Vocabulary(["<blank>", "▁a", "▁c", "at", "s"]).read([1, 2, 0, 3, 0, 4])
            'a cats'
            >>> Vocabulary(["[PAD]", "play", "##ing", "##s", "it"]).read([1, 2, 4, 3])
            'playing its'
        """
        text = "".join(self._text(index, token) for index, token in enumerate(tokens))
        return " ".join(word for word in text.split(" ") if word)

    def _text(self, index: int, token: int) -> str:
        """What a token adds to the text, with a space before a word, or for a separator."""
        if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
            raise CTCError(f"tokens[{index}] = {token!r} has type {type(token).__name__}: expected a class")
        if token == STAR:
            return _ANYTHING
        if not 0 <= token < len(self.labels):
            raise CTCError(
                f"tokens[{index}] = {token} is not a class: there are {len(self.labels)} labels "
                f"(0..{len(self.labels) - 1})"
            )
        if token == self.separator:
            return " "
        name = self._texts.get(int(token), "")  # none for blanks and special labels
        if self._inner and name:
            return name.removeprefix(self._inner) if name.startswith(self._inner) else f" {name}"
        return name.replace(self._initial, " ") if self._initial else name

    def _spelled(self, word: str) -> tuple[Piece, ...]:
        """A word's pieces. Of its spellings in other cases, the one that leaves the fewest characters unknown."""
        found = self._spellings.get(word)
        if found is None:
            letters = [_Letter(part, i) for i, letter in enumerate(word) for part in self._respelled(letter)]
            found = self._split(letters)
            for in_case in (str.lower, str.upper):
                if _num_unknown(found):
                    others = [_Letter(part, i) for spelled, i in letters for part in in_case(spelled)]
                    found = min(found, self._split(others), key=_num_unknown)
            self._spellings[word] = found
        return found

    def _respelled(self, letter: str) -> str:
        """A character in the vocabulary's own; itself if that can't be done, or nothing if it is silent."""
        for form in _forms(letter):
            for in_case in (form, form.lower(), form.upper()):
                if in_case and self._alphabet.issuperset(in_case):
                    return in_case
        return "" if _is_silent(letter) else letter

    def _split(self, letters: list[_Letter]) -> tuple[Piece, ...]:
        """Pieces that cover a word's characters. Neighbouring characters without a piece become one without a token."""
        if not letters:
            return ()
        if self._initial:
            letters = [_Letter(self._initial, letters[0].origin), *letters]
        pieces: list[Piece] = []
        for piece in self._pieces.split("".join(letter.spelled for letter in letters)):
            first, last = letters[piece.start], letters[piece.end - 1]
            covered = Piece(piece.token, first.origin, last.origin + (last.spelled != WORD_START))
            if piece.token is None and pieces and pieces[-1].token is None:
                pieces[-1] = pieces[-1]._replace(end=covered.end)
            elif piece.token is not None or first.spelled != WORD_START:  # a mark that no piece has is dropped
                pieces.append(covered)
        return tuple(pieces)


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
    if any(name.startswith(WORD_START) and name != WORD_START for name in names):
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
    """Other ways to write a character, the most similar first."""
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
    read_out = unicodedata.normalize("NFKC", letter) in _SPOKEN
    return (category[0] in "PM" and not read_out) or category == "Cf" or letter in _ALIKE[0]


def _num_unknown(pieces: Iterable[Piece]) -> int:
    """How many of a word's characters have no token."""
    return sum(piece.end - piece.start for piece in pieces if piece.token is None)
