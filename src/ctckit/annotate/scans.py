"""The text of a page with its places: lines are decoded or aligned one by one, and words put where their ink is.

May import decoded.py, utterance.py, recording.py, sources.py, recognisers/ and what is below them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..decoding import Hypotheses
from ..errors import CTCError, InfeasibleError
from ..recognisers import Place, RecognisedLine, RecognisedPage
from ..results import Segment
from ..text import Vocabulary
from ..text.scripts import Script
from .decoded import Decoded, Decoders, decode, timed
from .decoded import Options as Decoding
from .fit import Fit
from .sources import AnyOptions
from .spikes import time_facts
from .utterance import Aligned, align
from .utterance import Options as Aligning

_UNIT = time_facts(None, None, in_pixels=True)
_REACH = 1.25  # heights of a line: no token is wider, on either side of its middle


class PageText(NamedTuple):
    """The lines of a page; all places are pixels of the page.

    Attributes:
        lines: with their words and tokens; start and end are the first column with ink and the one after the last.
        places: of each line.
        duration: the width of the page.
        notes: sentences about what is unusual.
        facts: what .json files hold besides the lines.
        texts: of a decoded page, the text of each line; of a single line, all texts that were found.
        fit: of an aligned text, its lines together beside what the network reads.
    """

    lines: list[Segment]
    places: list[Place]
    duration: float
    notes: tuple[str, ...]
    facts: Mapping[str, Any]
    texts: tuple[str, ...] | Hypotheses = ()
    fit: Fit | None = None

    @property
    def text(self) -> str:
        """Of a decoded page: the best text, a line for each line."""
        return self.texts.text if isinstance(self.texts, Hypotheses) else "\n".join(self.texts)


def decode_page(page: RecognisedPage, vocabulary: Vocabulary, decoders: Decoders, options: Decoding) -> PageText:
    """Decodes the lines of a page.

    Args:
        page: whose lines are recognised now.
        vocabulary: of the recogniser.
        decoders: have the decoder of this vocabulary.
        options: how to decode.

    Raises:
        InfeasibleError: no text of the lexicon fits a line.
        CTCError: several texts are asked for, and the page has several lines; or a delay or a stretch is given.
    """
    how = _in_pixels(options)
    texts, put, places = list[str](), list[Segment](), list[Place]()
    only: Decoded | None = None
    for number, line in enumerate(page.lines, 1):
        if options.nbest > 1 and number > 1:
            raise CTCError(f"nbest = {options.nbest}: expected 1 for a page of several lines; or cut out one of them")
        try:
            best = decode(line.log_probs, vocabulary, decoders, how)
        except InfeasibleError as error:
            raise InfeasibleError(f"line {number} of the page: {error}") from None
        found = timed(best, len(line.log_probs), line.frame_shift, how, line.begin)
        put += at_ink(found.lines, line)
        places += [line.place] * len(found.lines)
        texts.append(best.text)
        only = found if number == 1 else None
    width = page.pixels.shape[1]
    if only is not None:
        return PageText(put, places, width, (), only.facts, only.hypotheses)
    notes = () if texts else ("no line of text was found on the page",)
    return PageText(put, places, width, notes, {"text": "\n".join(texts), **_UNIT}, tuple(texts))


def align_page(page: RecognisedPage, script: Script, vocabulary: Vocabulary, options: Aligning) -> PageText:
    """Aligns the lines of a text with the lines of a page, one with one. A page of one line gets the whole text.

    Args:
        page: whose lines are recognised now.
        script: the text; empty lines don't count.
        vocabulary: of the recogniser.
        options: how to align.

    Raises:
        CTCError: page and text have not equally many lines, a line's text does not fit, or times are given.
    """
    if options.cue_times:
        raise CTCError("cue_times=True: expected a recording; images have no times")
    how = _in_pixels(options)
    texts = [script.text] if page.total == 1 else [text for text in script.text.splitlines() if text.strip()]
    count, done, wrong = 0, list[tuple[RecognisedLine, Aligned]](), list[CTCError]()
    for count, line in enumerate(page.lines, 1):
        if count > len(texts):
            continue
        try:
            found = align(line.log_probs, texts[count - 1], vocabulary, line.frame_shift, how, offset=line.begin)
            done.append((line, found))
        except CTCError as error:  # raised later: how many lines there are matters more
            wrong.append(error if page.total == 1 else CTCError(f"line {count}: {error}"))
    if count != len(texts):
        raise CTCError(
            f"the page has {count} lines and the text {len(texts)}: expected equally many, a line of text for each; "
            "decode the page to see its lines, then divide the text in the same way"
        )
    if wrong:
        raise wrong[0]
    put = [piece for line, found in done for piece in at_ink(found.lines, line)]
    places = [line.place for line, found in done for _ in found.lines]
    of_all = (*script.notes, *vocabulary.notes)
    notes = (*_own_notes([found for _, found in done], of_all), *of_all)
    fit = _mean([(found.fit, len(_tokens(found.lines))) for _, found in done])
    return PageText(put, places, page.pixels.shape[1], notes, {**fit.as_dict(), **_UNIT}, fit=fit)


def _own_notes(lines: Sequence[Aligned], of_all: Sequence[str]) -> list[str]:
    """The notes on each line, with its number if there are several; without those on all of them."""
    notes = []
    for number, line in enumerate(lines, 1):
        own = [note for note in line.notes if note not in of_all]
        notes += own if len(lines) == 1 else [f"line {number}: {note.removeprefix('line 1: ')}" for note in own]
    return notes


def _in_pixels(options: AnyOptions) -> AnyOptions:
    """The options for lines of an image, whose tokens reach to their ink from where the network says them."""
    for name, value in (("delay", options.delay), ("stretch", options.stretch)):
        if value is not None:
            raise CTCError(f"{name} = {value:g}: expected a recording; the words of an image reach as far as their ink")
    return replace(options, in_pixels=True)


def _mean(fits: Sequence[tuple[Fit, int]]) -> Fit:
    """How well a whole text fits, of its lines' fits with their numbers of tokens."""
    known = [(fit.misfit, tokens) for fit, tokens in fits if not math.isnan(fit.misfit)]
    misfit = sum(a * b for a, b in known) / sum(b for _, b in known) if known else math.nan
    return Fit(misfit, "\n".join(fit.reading for fit, _ in fits))


def at_ink(lines: Sequence[Segment], seen: RecognisedLine) -> list[Segment]:
    """Lines whose tokens reach from their first column with ink to their last, and so do words and lines.

    A network says where a token is, not how wide it is. The limit between two tokens is where there is least ink. A
    token without ink stays where it is.

    Args:
        lines: of the line that was seen, with their words and tokens.
        seen: has the ink.
    """
    tokens = _tokens(lines)
    if not tokens or not len(seen.ink):
        return list(lines)
    reach = _REACH * (seen.place.bottom - seen.place.top)
    middles = [min(max((token.start + token.end) / 2 - seen.begin, 0.0), len(seen.ink) - 1.0) for token in tokens]
    limits = [0, *(_limit(seen.ink, one, other) for one, other in itertools.pairwise(middles))]
    limits.append(len(seen.ink))
    spans = []
    for token, middle, first, last in zip(tokens, middles, limits[:-1], limits[1:], strict=True):
        begin, end = max(first, math.floor(middle - reach)), min(last, math.ceil(middle + reach))
        inked = np.flatnonzero(seen.ink[begin:end]) + (seen.begin + begin)
        spans.append((float(inked[0]), float(inked[-1] + 1)) if len(inked) else (token.start, token.end))
    each = iter(spans)
    return [_moved(line, each) for line in lines]


def _limit(ink: npt.NDArray[np.int32], one: float, other: float) -> int:
    """The column between the middles of two tokens where there is least ink.

    Of several such places, it is in the widest; a place loses a quarter of its distance from the middle, since some
    Chinese characters have a wide gap themselves.
    """
    begin = math.ceil(one)
    part = ink[begin : max(math.floor(other), begin + 1)]
    edges = np.flatnonzero(np.diff(np.pad(part == part.min(), 1).astype(np.int8)))
    middles, widths = (edges[::2] + edges[1::2]) / 2, edges[1::2] - edges[::2]
    return begin + int(middles[np.argmax(widths - np.abs(middles - len(part) / 2) / 4)])


def _tokens(lines: Sequence[Segment]) -> list[Segment]:
    """All tokens that have a place."""
    parts = [token for line in lines for word in line.parts for token in word.parts]
    return [token for token in parts if not math.isnan(token.start)]


def _moved(piece: Segment, spans: Iterator[tuple[float, float]]) -> Segment:
    """A line, word or token at the place of its tokens."""
    if not piece.parts:
        start, end = (piece.start, piece.end) if math.isnan(piece.start) else next(spans)
        return piece._replace(start=start, end=end)
    parts = tuple(_moved(part, spans) for part in piece.parts)
    timed = [part for part in parts if not math.isnan(part.start)]
    if not timed:
        return piece._replace(parts=parts)
    return piece._replace(start=min(p.start for p in timed), end=max(p.end for p in timed), parts=parts)
