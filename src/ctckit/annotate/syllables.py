"""Which characters of a line belong to which timed piece: what subtitles and karaoke are made of.

A module of its own because formats.py and cues.py both need it. May import catalogue/, text/ and results.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..catalogue.columns import breaks
from ..results import Segment
from ..text.transcript import WORD_START


class Syllable(NamedTuple):
    """A part of a line's text, with its time.

    Attributes:
        text: with the characters up to the next part.
        start: seconds.
        end: seconds.
    """

    text: str
    start: float
    end: float


def flat(text: str) -> str:
    """Text on one line: characters that would end the line, or a field of it, become a space."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)


def syllables(line: Segment) -> list[Syllable]:
    """The tokens of each word that its tokens spell, and the other words as a whole; without what has no time.

    Example:
        >>> letters = (Segment("你", 0.1, 0.2, -0.1, 0.9), Segment("好", 0.3, 0.4, -0.1, 0.9))
        >>> word = Segment("“你好”！", 0.1, 0.4, -0.1, 0.9, letters)
        >>> [syllable.text for syllable in syllables(Segment("“你好”！", 0.1, 0.4, -0.1, 0.9, (word,)))]
        ['“你', '好”！']
    """
    found = []
    for word, text in _spoken(line):
        starts = _starts_of_tokens(word, text)
        pieces = word.parts if starts else (word,)
        parts = pairwise([0, *starts[1:], len(text)])
        found += [Syllable(text[i:j], piece.start, piece.end) for piece, (i, j) in zip(pieces, parts, strict=True)]
    return found


def _spoken(line: Segment) -> Iterator[tuple[Segment, str]]:
    """A line's words that have a time, each with its text and the characters up to the next word."""
    text = flat(line.text)
    if not line.parts:
        yield line, text
        return
    starts, end = [], 0
    for word in line.parts:
        start = text.find(flat(word.text), end)
        if start < 0:  # the words are not spelled as in the line
            text = " ".join(flat(word.text) for word in line.parts)
            lengths = [len(flat(word.text)) + 1 for word in line.parts]
            starts = list(accumulate(lengths, initial=0))[:-1]
            break
        starts.append(start)
        end = start + len(flat(word.text))
    limits = [0, *starts[1:], len(text)]
    for word, start, limit in zip(line.parts, limits[:-1], limits[1:], strict=True):
        if not math.isnan(word.start):
            yield word, text[start:limit]


def _starts_of_tokens(word: Segment, text: str) -> list[int]:
    """Where the text of each token begins, with the punctuation that belongs to it; none if they don't spell the word.

    Args:
        word: with its tokens, if it has any.
        text: of the word, and what follows it.
    """
    starts, end = list[int](), 0
    places = set(breaks(text))
    for token in word.parts:
        spelled = flat(token.text).replace(WORD_START, "")
        at = text.find(spelled, end)
        if at < 0 or math.isnan(token.start) or any(map(str.isalnum, text[end:at])):
            return []
        starts.append(next((i for i in range(end, at) if i in places), at))
        end = at + len(spelled)
    return [] if any(map(str.isalnum, text[end:])) else starts
