"""From the times of a network's spikes to the times at which words are said: earlier, and stretched over blanks.

Where no delay or stretch is given (None), times stay as they are. May import results.py and validate/.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ..results import Segment
from ..validate import check_number


def check_spikes(delay: float | None, stretch: float | None) -> None:
    """Raises a CTCError for numbers out of range."""
    for name, value in (("delay", delay), ("stretch", stretch)):
        if value is not None:
            check_number(name, value, least=0.0)


def stretched(lines: list[Segment], stretch: float | None, end: float, others: Sequence[float] = ()) -> list[Segment]:
    """Lines whose tokens go on over the blanks after them, until the next one begins, for `stretch` at most.

    A network gives a token a frame or two, at its beginning, where its sound goes on. Separators between words are no
    tokens of the lines, so a word's last token goes on over them, too. Words and lines end with their last token.

    Args:
        lines: with their words and tokens.
        stretch: seconds.
        end: seconds; nothing ends later.
        others: seconds at which something begins that is no part of the lines: other words between them.

    Example:
        >>> def line(start, end):
        ...     token = Segment("a", start, end, -0.1, 0.9)
        ...     return token._replace(parts=(token._replace(parts=(token,)),))
        >>> [(each.start, each.end) for each in stretched([line(0.2, 0.25), line(0.4, 0.5)], 0.25, end=1.0)]
        [(0.2, 0.4), (0.4, 0.75)]
    """
    if not stretch:
        return lines
    begins = sorted(token.start for line in lines for word in line.parts for token in word.parts)
    begins = sorted([*(begin for begin in begins if not math.isnan(begin)), *others, end])

    def grown(piece: Segment) -> Segment:
        if math.isnan(piece.start):
            return piece
        if piece.parts:
            parts = tuple(map(grown, piece.parts))
            return piece._replace(end=[part.end for part in parts if not math.isnan(part.end)][-1], parts=parts)
        following = bisect_right(begins, piece.start)
        limit = begins[following] if following < len(begins) else end
        return piece._replace(end=max(piece.end, min(piece.end + stretch, limit)))

    return [grown(line) for line in lines]


def earlier(lines: list[Segment], delay: float | None, begin: float = 0.0) -> list[Segment]:
    """Lines whose times are earlier by a delay, of a network that says what it hears late.

    Nothing begins before the recording: in its first two delays, times are halved instead.

    Args:
        lines: with their words and tokens.
        delay: seconds.
        begin: seconds, when the first frame begins.

    Example:
        >>> lines = [Segment("a", 0.1, 0.5, -0.1, 0.9), Segment("b", 0.5, 0.6, -0.1, 0.9)]
        >>> [(line.start, line.end) for line in earlier(lines, 0.1)]
        [(0.05, 0.4), (0.4, 0.5)]
    """
    if not delay:
        return lines

    def at(time: float) -> float:
        return time - min(delay, (time - begin) / 2)

    return [line._replace(start=at(line.start), end=at(line.end), parts=_parts(line, delay, begin)) for line in lines]


def _parts(line: Segment, delay: float, begin: float) -> tuple[Segment, ...]:
    return tuple(earlier(list(line.parts), delay, begin))


def time_facts(delay: float | None, stretch: float | None, in_pixels: bool) -> dict[str, Any]:
    """For JSON: the delay that was taken off and the stretch, unless 0; the unit of all times, unless seconds."""
    spikes = {name: value for name, value in (("delay", delay), ("stretch", stretch)) if value}
    return spikes | ({"unit": "pixels"} if in_pixels else {})
