"""How late a network's tokens are, and by how much they are too short: measured on words whose times are marked.

May import utterance.py, spikes.py, marks.py, text/ and what is below them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..lattice import STAR
from ..results import Segment
from ..text import Vocabulary
from ..text.scripts import Script
from .marks import Mark
from .recording import Scores
from .spikes import earlier, stretched
from .utterance import Options, align

Floats = npt.NDArray[np.float64]

_STRETCHES: Floats = np.arange(101) / 100  # seconds
_DIGITS = 3  # of a delay in seconds


class Heard(NamedTuple):
    """The words of a recording, as a network says them and as they are marked.

    Attributes:
        name: of the recording.
        lines: one for each mark, with the times of the network's frames; NaN for a word that does not count.
        marks: the marked words.
        duration: seconds.
    """

    name: str
    lines: list[Segment]
    marks: Sequence[Mark]
    duration: float


class Off(NamedTuple):
    """By how much a word's times are off.

    Attributes:
        recording: its name.
        text: the word.
        at: seconds, the marked beginning.
        start: seconds by which it begins too late; negative: too early.
        end: seconds by which it ends too late.
        is_first: whether it is the recording's first word. What is before that is silence, and where a sound begins in
            it, aligners see differently: its start does not count.
    """

    recording: str
    text: str
    at: float
    start: float
    end: float
    is_first: bool


class Lateness(NamedTuple):
    """What was measured.

    Attributes:
        delay: seconds, the median of the words' delays, at least 0.
        stretch: seconds, with which the ends are nearest to the marked ones, in the mean.
        own: the words' errors as the network says them.
        delayed: with the delay alone.
        both: with both.
    """

    delay: float
    stretch: float
    own: list[Off]
    delayed: list[Off]
    both: list[Off]


def hear(
    name: str, scores: Scores, vocabulary: Vocabulary, frame_shift: float, marks: Sequence[Mark], from_logits: bool
) -> Heard:
    """Aligns scores (T, C) with the marked words. Those that have a star, or no token, do not count.

    Raises:
        CTCError: words, labels and scores don't fit together, or the words are probably another recording's.
    """
    texts = [" ".join(mark.text.split()) for mark in marks]
    found = align(scores, Script("\n".join(texts)), vocabulary, frame_shift, Options(from_logits))
    if found.fit.notes:
        raise CTCError(found.fit.notes[0])
    lines = [
        line._replace(start=math.nan) if (vocabulary.transcribe(text).tokens == STAR).any() else line
        for line, text in zip(found.lines, texts, strict=True)
    ]
    return Heard(name, lines, marks, found.duration)


def measure(heard: Sequence[Heard], stretches: Floats = _STRETCHES) -> Lateness:
    """The delay and the stretch of a network that has heard these recordings.

    Args:
        heard: the recordings.
        stretches: those that are tried, in seconds.

    Raises:
        CTCError: the recordings have no words to compare.
    """
    own = offsets(heard, 0.0, 0.0)
    late = starts_of(own)
    if not len(late):
        raise CTCError("no recording has two words to compare: its first one does not count; expected more words")
    delay = max(0.0, round(float(np.median(late)), _DIGITS))
    means = [float(np.abs(ends_of(offsets(heard, delay, stretch))).mean()) for stretch in stretches]
    stretch = float(stretches[int(np.argmin(np.round(means, 6)))])
    return Lateness(delay, stretch, own, offsets(heard, delay, 0.0), offsets(heard, delay, stretch))


def offsets(heard: Sequence[Heard], delay: float, stretch: float) -> list[Off]:
    """By how much each word is off, with a delay and a stretch."""
    words = []
    for name, lines, marks, duration in heard:
        said = earlier(stretched(lines, stretch, duration + delay), delay)
        words += [
            Off(name, mark.text, mark.start, line.start - mark.start, line.end - mark.end, i == 0)
            for i, (line, mark) in enumerate(zip(said, marks, strict=True))
            if not math.isnan(line.start)
        ]
    return words


def starts_of(words: Sequence[Off]) -> Floats:
    """The errors of the starts, without those of first words."""
    return np.array([word.start for word in words if not word.is_first])


def ends_of(words: Sequence[Off]) -> Floats:
    """The errors of the ends."""
    return np.array([word.end for word in words])
