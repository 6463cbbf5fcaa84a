"""Subtitles as people make them: a line of the text that is too long for one is divided.

The limits are those of style guides. Netflix's Timed Text Style Guides ask for at most two lines, of 42 characters in
languages with Latin letters and of 16 full-width characters in Chinese and Korean, at most 7 seconds, and at least 5/6
of a second. Other guides differ a little: the BBC's has 37 characters.

Formats write cues; how long a reader can follow one is decided here. May import catalogue/, results.py and
syllables.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..catalogue.columns import breaks, cells
from ..results import Segment
from .syllables import Syllable, syllables

LINE_LENGTH, WIDE_LINE_LENGTH = 42, 32  # cells of a line; of one that has mostly full-width characters, 2 cells each
LONGEST, SHORTEST = 7.0, 1.0  # seconds

# What a way to divide a line costs; the cheapest is taken.
_CUE = 3.0  # a cue: so there are few
_FULL = 3.0  # times the square of how full it is: so they are of similar length
_SHORT = 6.0  # for each second that it is shown less than SHORTEST
_SENTENCE, _CLAUSE, _WORD = 0.0, 4.0, 8.0  # where it ends: after a sentence, after a part of one, between two words
_PAUSE, _LONGEST_PAUSE = 8.0, 2.0  # what a second of silence at its end saves; more seconds save no more
_CELLS = 2.0  # how uneven, in cells, two lines of a cue may be for a cost of 1

_SENTENCE_ENDS, _CLAUSE_ENDS = tuple(".!?…。！？｡؟۔।॥։"), tuple(",;:،؛、，；：—–")
_QUOTES = "\"'”’“‘»«)]}」』】》〉）"
_SHORTENED = re.compile(r"\b(?:[^\W\d_]|Mr|Mrs|Ms|Dr|Prof|St|vs)\.$")  # J. S. Bach, z. B., Dr. No
_POINT = re.compile(r"[^.]\.$")  # one, not an ellipsis


class Cue(NamedTuple):
    r"""One subtitle.

    Attributes:
        start: seconds.
        end: seconds.
        syllables: its text, with ``\n`` between its lines, by time.
    """

    start: float
    end: float
    syllables: Sequence[Syllable]

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(syllable.text for syllable in self.syllables)


def cues(line: Segment, line_length: int | None = None) -> list[Cue]:
    r"""A line of the text as subtitles: one if it fits, otherwise several.

    A cue has at most two lines and lasts at most 7 s. A line of the text that needs more is divided, if possible after
    a sentence, at a pause, or after a part of a sentence; otherwise between any words, or between Chinese or Japanese
    characters. A word that is longer than a line stays whole, and so does text whose parts have no times. Of a divided
    line, a cue that lasts less than 1 s stays until the next one begins, or until 1 s has passed.

    Args:
        line: with its words.
        line_length: cells of a cue's line, of which a full-width character takes two; 0 keeps the line whole. None: 42,
            or 32 if most characters are full-width.

    Example:
        >>> words = [Segment(text, i, i + 0.9, -0.1, 0.9) for i, text in enumerate("One two. Three four five".split())]
        >>> line = Segment("One two. Three four five", 0, 4.9, -0.1, 0.9, tuple(words))
        >>> [(cue.start, cue.end, cue.text) for cue in cues(line, 12)]
        [(0, 1.9, 'One two.'), (2, 4.9, 'Three\nfour five')]
    """
    said = syllables(line)
    whole = "".join(syllable.text for syllable in said)
    if not said:
        return []
    if line_length == 0 or not whole.strip():
        return [Cue(line.start, line.end, said)]
    said[0] = said[0]._replace(start=line.start)
    said[-1] = said[-1]._replace(end=line.end)
    return _Line(said, whole, _fitting(whole) if line_length is None else line_length).cues()


def _fitting(text: str) -> int:
    """The cells of a line that suit a text."""
    widths = [width for width in map(cells, text) if width]
    return WIDE_LINE_LENGTH if 2 * widths.count(2) > len(widths) else LINE_LENGTH


class _Line:
    """A line of the text and the places where it may be broken; they are counted from 0, its beginning.

    Args:
        said: its text by time.
        text: all of it.
        limit: cells of a cue's line.
    """

    def __init__(self, said: Sequence[Syllable], text: str, limit: int) -> None:
        self._said, self._text, self._limit = said, text, limit
        self._places = [len(text) - len(text.lstrip()), *breaks(text), len(text)]
        self._stops = [_without_spaces(text, place) for place in self._places]
        self._last = len(self._places) - 1
        self._widths = list(accumulate(map(cells, text), initial=0))
        self._full = self._filled()
        self._offsets = list(accumulate((len(syllable.text) for syllable in said), initial=0))
        first = {offset: i for i, offset in reversed([*enumerate(self._offsets)])}
        # At each place the syllable that begins there; -1 within a syllable, where no cue can end.
        self._syllables = [0, *(first.get(place, -1) for place in self._places[1:-1]), len(said)]

    def cues(self) -> list[Cue]:
        """The subtitles."""
        found = []
        for i, j in pairwise(self._divided()):
            start, end = self._start(i), self._end(j)
            if j < self._last:
                end = min(max(end, start + SHORTEST), self._start(j))
            found.append(Cue(start, end, self._shown(i, j)))
        return found

    def _divided(self) -> list[int]:
        """The places where cues begin and end. The cheapest way to a place follows from those to the ones before."""
        if self._fits(0, self._last):
            return [0, self._last]
        cuts = [i for i, syllable in enumerate(self._syllables) if syllable >= 0]
        costs, before = {0: 0.0}, dict[int, int]()
        for n, j in enumerate(cuts[1:], start=1):
            ways: list[tuple[float, int]] = []
            for i in reversed(cuts[:n]):
                if ways and not self._fits(i, j):
                    break
                ways.append((costs[i] + self._cost(i, j), -i))
            cost, chosen = min(ways)
            costs[j], before[j] = cost + self._cost_of_cut(j), -chosen
        found = [self._last]
        while found[-1]:
            found.append(before[found[-1]])
        return found[::-1]

    def _fits(self, i: int, j: int) -> bool:
        return self._full[self._full[i]] >= j and self._end(j) - self._start(i) <= LONGEST

    def _cost(self, i: int, j: int) -> float:
        """What a cue costs, wherever it ends."""
        shown = (self._end(j) if j == self._last else self._start(j)) - self._start(i)
        full = self._width(i, j) / (2 * self._limit)
        return _CUE + _FULL * full**2 + _SHORT * max(0.0, SHORTEST - shown)

    def _cost_of_cut(self, j: int) -> float:
        """What it costs that a cue ends at a place."""
        if j == self._last:
            return 0.0
        pause = self._start(j) - self._end(j)
        return self._cost_of_break(j) - _PAUSE * min(max(0.0, pause), _LONGEST_PAUSE)

    def _cost_of_break(self, j: int) -> float:
        """What it costs that the reader must go on elsewhere, by the punctuation before it."""
        stop = self._stops[j]
        before = self._text[max(0, stop - 8) : stop].rstrip(_QUOTES)
        goes_on = self._text[self._places[j]].islower()
        if _SHORTENED.search(before) or (goes_on and _POINT.search(before)):
            return _WORD
        if before.endswith(_SENTENCE_ENDS):
            return _CLAUSE if goes_on else _SENTENCE
        return _CLAUSE if before.endswith(_CLAUSE_ENDS) else _WORD

    def _shown(self, i: int, j: int) -> list[Syllable]:
        r"""The text between two places by time, with ``\n`` for the spaces at the end of a line."""
        parts = range(self._syllables[i], self._syllables[j])
        begin = self._offsets[parts.start]
        letters = list(self._text[begin : self._offsets[parts.stop]])
        letters[: self._places[i] - begin] = [""] * (self._places[i] - begin)
        for k in self._lines(i, j):
            stop, place = self._stops[k] - begin, self._places[k] - begin
            letters[stop - 1] += "\n" if k < j else ""
            letters[stop:place] = [""] * (place - stop)
        texts = ["".join(letters[self._offsets[n] - begin : self._offsets[n + 1] - begin]) for n in parts]
        return [self._said[n]._replace(text=text) for n, text in zip(parts, texts, strict=True)]

    def _lines(self, i: int, j: int) -> list[int]:
        """The places where the lines of a cue end: two are broken where it is best, more where they are full."""
        found = [min(self._full[i], j)]
        while found[-1] < j:
            found.append(min(self._full[found[-1]], j))
        if len(found) != 2:
            return found
        ways = [k for k in range(i + 1, found[0] + 1) if self._full[k] >= j]
        return [min(ways, key=lambda k: self._unevenness(i, k, j)), j]

    def _unevenness(self, i: int, k: int, j: int) -> float:
        """What it costs to break a cue at a place: lines should be even, or the second the longer one."""
        more = self._width(k, j) - self._width(i, k)
        return max(more, -2 * more) / _CELLS + self._cost_of_break(k)

    def _width(self, i: int, j: int) -> int:
        """The cells from one place to another, without spaces at the end."""
        return self._widths[self._stops[j]] - self._widths[self._places[i]]

    def _filled(self) -> list[int]:
        """For each place the furthest one that fits on a line with it; the next one, if a word is too long."""
        found, j = list[int](), 0
        for i in range(self._last):
            j = max(j, i + 1)
            while j < self._last and self._width(i, j + 1) <= self._limit:
                j += 1
            found.append(j)
        return [*found, self._last]

    def _start(self, i: int) -> float:
        return self._said[self._syllables[i]].start

    def _end(self, j: int) -> float:
        return self._said[self._syllables[j] - 1].end


def _without_spaces(text: str, stop: int) -> int:
    """Where a text that stops there ends without its last spaces."""
    while stop and text[stop - 1].isspace():
        stop -= 1
    return stop
