"""One recording whose text is known: reads and aligns it. May import recording.py, formats.py, text/ and below."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..align import Alignment, forced_align
from ..errors import CTCError, InfeasibleError
from ..lattice import STAR
from ..results import Segment
from ..text import Transcript, Vocabulary
from ..text.scripts import TRANSCRIPT_FORMATS, Script, TranscriptFormat
from ..validate import check_choice, check_extend
from .bare import bare_lines
from .fit import Fit, fit_of
from .formats import Level
from .recording import Scores, check_scores, shift_notes
from .spikes import check_spikes, earlier, stretched, time_facts

_ROUNDING = 1e-6  # of a frame: subtitles' times are decimal


@dataclass(frozen=True)
class Options:
    """How to align.

    Attributes:
        from_logits: the scores are logits.
        extend: how many frames of blanks a token may take on each side.
        optional_words: words of the text may be missing from the recording.
        star: the recording may have more words than the text: between its words, before or after them.
        spoken: characters that are silent by default, and that somebody reads out.
        transcript_format: of files of text, see :func:`ctckit.text.scripts.parse_transcript`.
        delay: seconds by which the network's frames come after what they say; all times are earlier by it. None: the
            recogniser's own, or 0 for stored scores.
        stretch: seconds by which a token may go on over the blanks after it, until the next one begins. None: likewise.
        in_pixels: whether times are pixels of an image, not seconds.
        cue_times: each line lies between the times of its subtitle.
        strip_punctuation: words are written without the punctuation around them.
        level: of formats that hold one: lines, words or tokens.
        line_length: cells of a line of subtitles; see :func:`ctckit.annotate.write`.
    """

    from_logits: bool = False
    extend: int = 0
    optional_words: bool = False
    star: bool = False
    spoken: str = ""
    transcript_format: TranscriptFormat = "auto"
    cue_times: bool = False
    strip_punctuation: bool = False
    level: Level | None = None
    line_length: int | None = None
    delay: float | None = None
    stretch: float | None = None
    in_pixels: bool = False

    def check(self) -> None:
        """Raises a CTCError for values out of range."""
        check_extend(self.extend)
        check_choice("transcript_format", self.transcript_format, TRANSCRIPT_FORMATS)
        check_spikes(self.delay, self.stretch)


class Aligned(NamedTuple):
    """A text with its times.

    Attributes:
        lines: of the text, with their words and tokens.
        duration: seconds, when the last frame ends.
        notes: a warning that the text is another recording's, or the frame shift in milliseconds; on the blank, and on
            parts of the text that the labels can't spell, or spell in another way.
        path: int32 (T,), the class of each frame on the best path, or ``ctckit.STAR``.
        fit: the text beside what the network reads.
        unusual: the delay, the stretch and the unit of the times, for JSON, if they are not 0, 0 and seconds.
    """

    lines: list[Segment]
    duration: float
    notes: tuple[str, ...]
    path: npt.NDArray[np.int32]
    fit: Fit
    unusual: Mapping[str, Any] = MappingProxyType({})

    @property
    def facts(self) -> dict[str, Any]:
        """What JSON files and logs contain in addition to the lines."""
        return {**self.fit.as_dict(), **self.unusual}


def align(
    scores: Scores,
    text: str | Script,
    vocabulary: Vocabulary,
    frame_shift: float,
    options: Options,
    *,
    offset: float = 0.0,
) -> Aligned:
    """Aligns a text with scores (T, C).

    Args:
        scores: log-probabilities, or logits.
        text: its lines.
        vocabulary: of the scores' classes.
        frame_shift: seconds from one frame to the next.
        options: how to align.
        offset: seconds, when the first frame begins, if the scores are of a part of a recording.

    Raises:
        CTCError: the text, the labels and the scores don't fit together; the message says why.
    """
    check_scores(scores, len(vocabulary.labels), options.from_logits)
    script = Script(text) if isinstance(text, str) else text
    if options.cue_times and not script.times:
        raise CTCError("the text has no times, and cue_times=True asks for them: expected subtitles, .srt or .vtt")
    transcript = _transcribed(script.text, vocabulary, options)
    words = [word for line in transcript.lines for word in line.words]
    if all((transcript.tokens[word.first : word.first + len(word.tokens)] == STAR).all() for word in words):
        raise CTCError("the text has no character that the labels can spell: are they of the same language?")
    duration = offset + len(scores) * frame_shift
    if options.cue_times:
        lines, path, inside = _align_cues(scores, script, vocabulary, frame_shift, options, offset)
        fit = fit_of(scores[inside], path[inside], vocabulary)
    else:
        alignment = _aligned(scores, transcript, vocabulary, options)
        lines = _lines(transcript, alignment, frame_shift, options, offset, duration)
        path = alignment.labels
        fit = fit_of(scores, path, vocabulary)
    if options.strip_punctuation:
        lines = bare_lines(lines, options.spoken)
    lines = earlier(lines, options.delay, offset)
    doubts = fit.notes
    if not options.in_pixels:
        doubts += shift_notes(frame_shift, len(scores), len(transcript.tokens))
    notes = doubts + script.notes + vocabulary.notes + transcript.notes
    unusual = time_facts(options.delay, options.stretch, options.in_pixels)
    return Aligned(lines, duration, notes, path, fit, unusual)


def _transcribed(text: str, vocabulary: Vocabulary, options: Options) -> Transcript:
    return vocabulary.transcribe(
        text, optional_words=options.optional_words, star_between_words=options.star, spoken=options.spoken
    )


def _aligned(scores: Scores, transcript: Transcript, vocabulary: Vocabulary, options: Options) -> Alignment:
    try:
        (alignment,) = forced_align(
            scores,
            transcript.tokens,
            blank=vocabulary.blank,
            from_logits=options.from_logits,
            optional=transcript.optional if options.optional_words or options.star else None,
        )
    except InfeasibleError as error:
        if error.fault is None:
            raise
        fault = replace(error.fault, code="text-does-not-fit", argument="text", hint="same-recording")
        raise InfeasibleError(fault, frames=error.frames, needed=error.needed) from None
    return alignment


def _lines(
    transcript: Transcript, alignment: Alignment, frame_shift: float, options: Options, begin: float, end: float
) -> list[Segment]:
    """Lines in the network's time, stretched.

    Args:
        transcript: the text.
        alignment: of its tokens.
        frame_shift: seconds from one frame to the next.
        options: how to align.
        begin: seconds, when the first frame begins.
        end: seconds, when what is said has ended.
    """
    lines = transcript.segments(alignment, frame_shift, extend=options.extend, offset=begin)
    stars = [span.start for span in alignment.spans(options.extend) if span.token == STAR]  # some are between words
    others = [begin + start * frame_shift for start in stars]
    return stretched(lines, options.stretch, end + (options.delay or 0.0), others)


def _align_cues(
    scores: Scores, script: Script, vocabulary: Vocabulary, frame_shift: float, options: Options, offset: float
) -> tuple[list[Segment], npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Each line in the frames of its subtitle.

    Returns:
        The lines; all frames' classes, blanks where no subtitle is; and which frames are between a line's first token
        and its last.
    """
    lines: list[Segment] = []
    path = np.full(len(scores), vocabulary.blank, np.int32)
    inside = np.zeros(len(scores), bool)
    duration = offset + len(scores) * frame_shift
    for number, (text, cue) in enumerate(zip(script.text.split("\n"), script.times, strict=True), start=1):
        start, end = (time + (options.delay or 0.0) for time in cue)  # when the network says it
        begin = math.floor((start - offset) / frame_shift + _ROUNDING)
        first = max(0, min(begin, len(scores)))
        last = max(first, min(math.ceil((end - offset) / frame_shift - _ROUNDING), len(scores)))
        transcript = _transcribed(text, vocabulary, options)
        try:
            alignment = _aligned(scores[first:last], transcript, vocabulary, options)
        except InfeasibleError as error:
            where = f"line {number}, from {start:g} to {end:g} s of {duration:g} s"
            reason = f"{where}: {error}; or leave out cue_times=True"
            raise InfeasibleError(reason, frames=error.frames, needed=error.needed) from None
        begun = offset + first * frame_shift
        lines += _lines(transcript, alignment, frame_shift, options, begun, min(cue[1], duration))
        path[first:last] = alignment.labels
        spans = alignment.spans()  # a subtitle's times may reach into its neighbours' words
        if spans:
            inside[first + spans[0].start : first + spans[-1].end] = True
    return lines, path, inside
