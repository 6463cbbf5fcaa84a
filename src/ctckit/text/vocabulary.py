"""A recogniser's classes as a writing system: spells a text in tokens, and reads tokens as text.

May import align.py and what lies below it, and the other modules of its package.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..lattice import STAR
from .blank import settle_blank
from .folding import APOSTROPHES, Alphabet, Letter, Spelling, is_silent
from .marks import SPECIAL, Marks, runs
from .pieces import Piece, Pieces
from .transcript import WORD_START, Transcript, Word, Writer

Convention = Literal["separator", "sentencepiece", "wordpiece", "plain"]
"""How labels mark where words begin: by a class of its own, as SentencePiece or WordPiece do, or not at all."""

Speller = Callable[[str], Sequence[str]]
"""The labels of a word, such as its phones; none if it does not know the word."""

_SEPARATORS = (" ", "|", "<space>", "[space]", "▁")
_INNER = "##"  # WordPiece: this piece does not begin a word
_AS_ONE_APOSTROPHE = dict.fromkeys(map(ord, APOSTROPHES), "'")
_ANYTHING = "*"  # a star, when it is read


class _Spelled(NamedTuple):
    """A word's pieces, and how they came about.

    Attributes:
        pieces: of the word's characters.
        folds: look-alikes: what is written, and what stands for it.
        recased: the word in the case that was preferred to its own, which the vocabulary has too; else empty.
    """

    pieces: tuple[Piece, ...] = ()
    folds: tuple[tuple[str, str], ...] = ()
    recased: str = ""


class Vocabulary:
    """The names of a recogniser's classes: how it spells and reads a text.

    Attributes:
        labels: (C,) the classes' names.
        blank: the blank's class.
        convention: how words are separated: ``"separator"``, a class is between two words, called ``|``, a space,
            ``<space>`` or ``▁``; ``"sentencepiece"``, a word's first piece begins with ``▁``; ``"wordpiece"``, all but
            its first begin with ``##``; ``"plain"``, not at all.
        separator: the class between words, or None.
        notes: what the labels, the scores and `blank` say of the blank, where they disagree.

    Args:
        labels: (C,), one for each class. Labels like ``<unk>`` and ``[UNK]`` spell nothing.
        blank: the blank's class; C if it comes after all labels. By default the class that is called ``<blank>``,
            ``<pad>`` or the like, or the first or last, called ``φ``, ``-`` or ``_``; see `scores`.
        convention: by default what the labels suggest.
        scores: (T, C) or (T, N, C) log-probabilities or logits of the recogniser. Their classes are counted, and if
            several labels may be the blank, it is the one that they rest on.
        speller: gives the labels of a word, where they are not its letters but, for example, its phones. Words reach it
            without punctuation, and with plain apostrophes; a word with a hyphen is two. If it gives none, the word
            matches anything. A transcript's tokens are then called by their labels.

    Raises:
        CTCError: labels are not strings or not unique, they don't show which class is the blank or the separator, or
            there are not as many as the scores have classes.

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
        self,
        labels: Sequence[str],
        blank: int | None = None,
        *,
        convention: Convention | None = None,
        scores: npt.ArrayLike | None = None,
        speller: Speller | None = None,
    ) -> None:
        if isinstance(labels, Mapping):
            raise CTCError(
                "labels is a mapping: expected names in their classes' order, sorted(labels, key=labels.get)"
            )
        names, self.blank, self.notes = settle_blank(labels, blank, scores)
        self.labels = tuple(names)
        others = {name: c for c, name in enumerate(self.labels) if c != self.blank}
        self.convention: Convention = _convention(others) if convention is None else convention
        if self.convention not in get_args(Convention):
            raise CTCError(f"convention = {convention!r} is unknown: expected one of {', '.join(get_args(Convention))}")
        self.separator = _separator(others) if self.convention == "separator" else None
        words = {name: c for name, c in others.items() if c != self.separator}
        self._named = {name: c for name, c in words.items() if SPECIAL.fullmatch(name)}
        spelling = [(name, c) for name, c in words.items() if name not in self._named]
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
        self._alphabet = Alphabet(letter for piece in self._pieces.classes for letter in piece.removeprefix(mark))
        self._letter_by_letter = all(len(piece.removeprefix(mark)) < 2 for piece in self._pieces.classes)
        self._classes = dict(spelling)
        self._texts = {c: name for name, c in spelling}
        self._spellings: dict[tuple[str, bool, str], _Spelled] = {}
        self._speller = speller

    def __repr__(self) -> str:
        blank = f"blank={self.blank} ({self.labels[self.blank]!r})"
        return f"Vocabulary({len(self.labels)} labels, {blank}, convention={self.convention!r})"

    def transcribe(
        self, text: str, *, optional_words: bool = False, star_between_words: bool = False, spoken: str = ""
    ) -> Transcript:
        """Spells a text in the vocabulary's tokens.

        Words are separated by white space, or by the vocabulary's own mark, as in ``A|CAT``. Text is brought into
        Unicode's form NFC. A label in brackets, such as ``[breath]``, is that class where the text has it; the longest
        label counts. The vocabulary's characters are used as they are. For others the whole word is written in another
        case, if possible, and a character as another apostrophe, quote or dash; in its compatible form (NFKC: ``ﬁ`` as
        ``fi``); as Korean letters; or without its accents. Look-alikes come last (``ł`` as ``l``, ``ی`` as ``ي``,
        kana, digits), with a note. If a word has fewer tokens in another case, that is used, with a note.

        What nobody says is silent: it stays in the word's text and has no token. That is punctuation (Unicode's P),
        marks (M), symbols (So, Sm, Sk), modifier letters (Lm), controls and formatting (C), and tags such as ``<i>``.
        All else, letters, numbers (N), currencies (Sc) and punctuation that is read out (``# % & @ § ¶ ‰``), becomes
        ``ctckit.STAR``, one for a run of them, with a note.

        A word is split into the longest pieces, one after the other. If that leaves unknown characters, it is split so
        that the fewest are left, and then into the fewest pieces. A word without a token is added to the text of the
        word before it, or after it if it is the line's first.

        Args:
            text: one segment on each line; empty lines are ignored.
            optional_words: every word may be missing in the audio, and so may separators.
            star_between_words: other things may be said between words, before the first and after the last; an
                optional star stands for them.
            spoken: characters that would be silent, and that somebody reads out here: ``"+→"``.

        Raises:
            CTCError: the text is not a string.

        Example:
            >>> Vocabulary(["<pad>", "|", "E", "H", "I", "R", "T"]).transcribe("ħi → ♪").notes
            ("line 1: 'ħ' is not in the vocabulary: it is spelled 'H'",)

        See Also:
            :meth:`read`, the way back.
        """
        if not isinstance(text, str):
            raise CTCError(f"text has type {type(text).__name__}: expected a string")
        if not isinstance(spoken, str):
            raise CTCError(f"spoken has type {type(spoken).__name__}: expected a string, its characters are read out")
        names = None if self._speller is None else self.labels
        writer = Writer(self.separator, optional_words, star_between_words, names)
        marks = Marks(self._named, spoken)
        for number, line in enumerate(unicodedata.normalize("NFC", text).splitlines(), start=1):
            self._line(writer, number, line.replace(self._between, " "), marks, spoken)
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

    def comparable(self, text: str) -> str:
        """A text as it is counted in error rates: what a recogniser with these labels could say of it at best.

        Each word is spelled with the labels and read again, in lower case, so that case, silent punctuation and
        look-alikes don't count. A word that they can't spell is kept, without silent punctuation: it is an error, or
        the lexicon's spelling of something else. In the convention ``"plain"`` there are no words.

        Raises:
            CTCError: the text is not a string.

        Example:
            >>> Vocabulary(["<pad>", "|", "E", "H", "I", "R", "T"]).comparable("Hi, there — $5!")
            'hi there $5'
        """
        transcript = self.transcribe(text)
        words = [self._comparable(word, transcript) for line in transcript.lines for word in line.words]
        return ("" if self.convention == "plain" else " ").join(filter(None, words))

    def _comparable(self, word: Word, transcript: Transcript) -> str:
        tokens = transcript.tokens[word.first : word.first + len(word.tokens)]
        if (tokens != STAR).all():
            return self.read(tokens).casefold()
        said = (letter for letter in word.text if not is_silent(letter) or unicodedata.category(letter)[0] == "M")
        return "".join("".join(said).split()).casefold()

    def _text(self, index: int, token: int) -> str:
        """What a token adds to the text."""
        if isinstance(token, bool) or not isinstance(token, (int, np.integer)):
            raise CTCError(f"tokens[{index}] = {token!r} has type {type(token).__name__}: expected a class")
        if token == STAR:
            return _ANYTHING
        if not 0 <= token < len(self.labels):
            raise CTCError(
                f"tokens[{index}] = {token} is not a class: there are {len(self.labels)} labels "
                f"(0..{len(self.labels) - 1})"
            )
        return self.adds(int(token))

    def adds(self, token: int) -> str:
        """What a class adds to a text that is read, with a space before a word, or for a separator."""
        if token == self.separator:
            return " "
        name = self._texts.get(token, "")  # none for blanks and special labels
        if self._inner and name:
            return name.removeprefix(self._inner) if name.startswith(self._inner) else f" {name}"
        return name.replace(self._initial, " ") if self._initial else name

    def _line(self, writer: Writer, number: int, line: str, marks: Marks, spoken: str) -> None:
        """Adds a line to a transcript, with notes on what is spelled in another way than it is written."""
        words = []
        for name in marks.unknown(line):
            if not self._alphabet.letters.issuperset((name[0], name[-1])):
                writer.note(number, name, "names no class of the vocabulary: its letters are aligned")
        for chunk in marks.chunks(line):
            pieces: list[Piece] = []
            for run in runs(chunk):
                if run.token is not None:
                    pieces.append(Piece(run.token, run.places[0], run.places[-1] + 1))
                    continue
                found = self._spelled(run.text, not pieces, spoken)
                if run.is_whole:
                    pieces += found.pieces
                else:
                    pieces += [Piece(p.token, *run.within(p.start, p.end)) for p in found.pieces]
                for written, form in found.folds:
                    writer.note(number, written, f"is not in the vocabulary: it is spelled {form!r}")
                if found.recased:
                    writer.note(number, run.text, f"is spelled {found.recased!r}, which has fewer tokens")
            words.append(("".join(part.text for part in chunk), tuple(pieces)))
        if words:
            writer.line(number, words)

    def _spelled(self, word: str, first: bool, spoken: str) -> _Spelled:
        """Of a word's spellings, the one with the fewest unknown characters, then losses, then tokens.

        Of equal ones the one in the word's own case, then the one with the lowest classes: these are the likeliest, as
        vocabularies of pieces are sorted.
        """
        key = word, first, spoken
        if key not in self._spellings and self._speller is not None:
            self._spellings[key] = _Spelled(self._of_speller(self._speller, word, spoken))
        if key not in self._spellings:
            ways: list[Spelling] = []
            for way in self._alphabet.spellings(word, spoken):
                ways.append(way)
                if way.own_case and not way.lost and self._letter_by_letter:
                    break  # no other case has fewer tokens
            splits = [self._split(way.letters, first, spoken) for way in ways]
            ranks = list(map(_rank, ways, splits)) if len(ways) > 1 else []
            best = ranks.index(min(ranks)) if ranks else 0
            preferred = best > 0 and ways[0].own_case and ranks[0][:2] == ranks[best][:2]
            recased = "".join(letter.spelled for letter in ways[best].letters) if preferred else ""
            self._spellings[key] = _Spelled(splits[best], ways[best].folds, recased)
        return self._spellings[key]

    def _of_speller(self, speller: Speller, word: str, spoken: str) -> tuple[Piece, ...]:
        """The labels that the speller gives for a word's parts; each stands for its whole part.

        Raises:
            CTCError: one of them is not a label.
        """
        pieces: list[Piece] = []
        for part in _parts(word, spoken):
            said = word[part.start : part.stop].translate(_AS_ONE_APOSTROPHE)
            labels = list(speller(said))
            wrong = next((label for label in labels if label not in self._classes), None)
            if wrong is not None:
                raise CTCError(f"speller({said!r}) gives {wrong!r}: expected labels that spell something")
            tokens: list[int | None] = [self._classes[label] for label in labels]
            pieces += [Piece(token, part.start, part.stop) for token in tokens or [None]]
        return tuple(pieces)

    def _split(self, said: Sequence[Letter], first: bool, spoken: str) -> tuple[Piece, ...]:
        """Pieces that cover a word's characters. Neighbouring characters without a piece become one without a token."""
        letters = list(said)
        if self._initial and letters and first:
            letters.insert(0, Letter(self._initial, letters[0].start, letters[0].start))
        pieces: list[Piece] = []
        for piece in self._pieces.split("".join(letter.spelled for letter in letters)):
            begin, end = letters[piece.start], letters[piece.end - 1]
            covered = piece
            if (begin.start, end.end) != piece[1:]:  # a letter may be more or fewer in the word
                covered = Piece(piece.token, begin.start, end.end)
            if piece.token is None and (begin.end == begin.start or is_silent(begin.spelled, spoken)):
                continue  # a mark that no piece has, or punctuation that is in other pieces only
            if piece.token is None and pieces and pieces[-1].token is None:
                pieces[-1] = pieces[-1]._replace(end=covered.end)
            else:
                pieces.append(covered)
        return tuple(pieces)


def _parts(word: str, spoken: str) -> list[range]:
    """A word's parts between silent characters, without these; an apostrophe between letters is a letter."""
    said = [not is_silent(letter, spoken) or unicodedata.category(letter)[0] == "M" for letter in word]
    for i in range(1, len(word) - 1):
        said[i] |= word[i] in APOSTROPHES and said[i - 1] and said[i + 1]
    ends = [i for i in range(len(word)) if said[i] and not any(said[i + 1 : i + 2])]
    begins = [i for i in range(len(word)) if said[i] and not (i and said[i - 1])]
    return [range(begin, end + 1) for begin, end in zip(begins, ends, strict=True)]


def _rank(way: Spelling, pieces: Sequence[Piece]) -> tuple[int, int, int, bool, int]:
    """Of two spellings the lower is better."""
    unknown = sum(piece.end - piece.start for piece in pieces if piece.token is None)
    return unknown, way.lost, len(pieces), not way.own_case, sum(piece.token or 0 for piece in pieces)


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
