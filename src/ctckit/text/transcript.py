"""A text as tokens, and the times of its words once the tokens are aligned.

May import align.py and what lies below it, and pieces.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..align import Alignment
from ..errors import CTCError
from ..lattice import STAR
from ..results import Segment
from ..validate import check_frame_shift, check_offset
from .pieces import Piece

WORD_START = "▁"  # SentencePiece's mark


class Word(NamedTuple):
    """A word of a transcript.

    Attributes:
        text: as in the text, with punctuation.
        first: the index of its first token in the transcript.
        tokens: the text of each of its tokens; none for punctuation that stands alone.
    """

    text: str
    first: int
    tokens: tuple[str, ...]


class Line(NamedTuple):
    """A line of a transcript.

    Attributes:
        text: its words, with a space between them.
        words: one by one.
    """

    text: str
    words: tuple[Word, ...]


@dataclass(frozen=True, eq=False)
class Transcript:
    """A text as tokens, for :func:`ctckit.forced_align`.

    Attributes:
        tokens: int64 (S,), classes and ``ctckit.STAR``.
        optional: int64 (S,), groups of tokens that may be left out, 0 for those that must be there.
        lines: the text. Separators, and stars between words, belong to no word.
        notes: one line for each part of the text that the vocabulary can't spell, or spells otherwise than it is
            written. The same is noted once.
    """

    tokens: npt.NDArray[np.int64]
    optional: npt.NDArray[np.int64]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def segments(
        self, alignment: Alignment, frame_shift: float, *, extend: int = 0, offset: float = 0.0
    ) -> list[Segment]:
        """The lines with their times; their parts are words, whose parts are tokens.

        Args:
            alignment: of these tokens.
            frame_shift: seconds from one frame to the next.
            extend: frames of blanks that a token may grow over on each side, as for :meth:`Alignment.spans`.
            offset: seconds, the time of the first frame.

        Returns:
            One :class:`Segment` for each line. Times, scores and confidences are NaN for what has no audio: optional
            words that were left out, and everything if there is no path.

        Raises:
            CTCError: the alignment is of another target, or a number is out of range.
        """
        check_frame_shift(frame_shift)
        check_offset(offset)
        if not np.array_equal(alignment.target, self.tokens):
            raise CTCError(
                f"the alignment is of another target: it has {len(alignment.target)} tokens, the transcript "
                f"{len(self.tokens)}, and they must be the same; align transcript.tokens"
            )
        times = np.full((len(self.tokens), 2), np.nan)
        for span in alignment.spans(extend):
            times[span.index] = offset + span.start * frame_shift, offset + span.end * frame_shift
        table = np.column_stack((times, alignment.token_scores, alignment.confidence))
        num_frames = alignment.ends - alignment.starts
        lines = []
        for line in self.lines:
            words = [(range(word.first, word.first + len(word.tokens)), word) for word in line.words]
            parts = [_segment(word.text, s, table, num_frames, _tokens(word, table)) for s, word in words]
            lines.append(_segment(line.text, [s for r, _ in words for s in r], table, num_frames, parts))
        return lines


def _tokens(word: Word, table: npt.NDArray[np.float64]) -> list[Segment]:
    rows = table[word.first : word.first + len(word.tokens)].tolist()
    return [Segment(text, *row) for text, row in zip(word.tokens, rows, strict=True)]


def _segment(
    text: str,
    tokens: Sequence[int],
    table: npt.NDArray[np.float64],
    num_frames: npt.NDArray[np.int32],
    parts: Iterable[Segment],
) -> Segment:
    """A segment made of these tokens.

    Args:
        text: of the segment.
        tokens: indices in the transcript.
        table: (S, 4), each token's start, end, score and confidence.
        num_frames: (S,), how many frames each token has; those without are left out.
        parts: of the segment.
    """
    kept = [s for s in tokens if num_frames[s]]
    if not kept:
        return Segment(text, math.nan, math.nan, math.nan, math.nan, tuple(parts))
    score, confidence = np.average(table[kept, 2:], axis=0, weights=num_frames[kept]).tolist()
    return Segment(text, float(table[kept[0], 0]), float(table[kept[-1], 1]), score, confidence, tuple(parts))


@dataclass
class Writer:
    """Puts a transcript together, word by word.

    Attributes:
        separator: the class between words, or None.
        optional_words: every word may be missing.
        stars: there are stars around words.
        names: what tokens are called, by class; None: by what they cover of the word.
    """

    separator: int | None
    optional_words: bool
    stars: bool
    names: Sequence[str] | None = None
    tokens: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    noted: set[tuple[str, str]] = field(default_factory=set)
    last_group: int = 0
    has_word: bool = False

    def line(self, number: int, chunks: list[tuple[str, tuple[Piece, ...]]]) -> None:
        """Adds a line: each word's text and pieces. A piece without a token becomes a star."""
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

    def note(self, number: int, part: str, what: str) -> None:
        """Notes, once, how a part of the text is spelled."""
        if (part, what) not in self.noted:
            self.noted.add((part, what))
            self.notes.append(f"line {number}: {part!r} {what}")

    def transcript(self) -> Transcript:
        """The transcript of all lines."""
        if self.stars:
            self._star()
        tokens, groups = np.array(self.tokens, np.int64), np.array(self.groups, np.int64)
        return Transcript(tokens, groups, tuple(self.lines), tuple(self.notes))

    def _word(self, number: int, text: str, pieces: tuple[Piece, ...]) -> Word:
        if self.separator is not None and self.has_word:
            # A group of its own: it may be missing with the word before it, the word after it, or both.
            self._put(self.separator, self._new_group() if self.optional_words else 0)
        if self.stars:
            self._star()
        group = self._new_group() if self.optional_words else 0
        first, self.has_word = len(self.tokens), True
        texts = tuple(text[piece.start : piece.end] or WORD_START for piece in pieces)
        named = texts
        if self.names is not None:
            own = [None if piece.token is None else self.names[piece.token] for piece in pieces]
            named = tuple(covered if name is None else name for name, covered in zip(own, texts, strict=True))
        for piece, covered in zip(pieces, texts, strict=True):
            self._put(STAR if piece.token is None else piece.token, group)
            if piece.token is None:
                self.notes.append(f"line {number}: {covered!r} is not in the vocabulary: it matches anything")
        return Word(text, first, named)

    def _star(self) -> None:
        self._put(STAR, self._new_group())

    def _new_group(self) -> int:
        self.last_group += 1
        return self.last_group

    def _put(self, token: int, group: int) -> None:
        self.tokens.append(token)
        self.groups.append(group)
