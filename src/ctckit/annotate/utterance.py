"""One recording: reads its scores, aligns its text, and sums up the result. May import diagnosis/, text/ and below."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..align import Alignment, forced_align
from ..diagnosis.kinds import check_kind
from ..errors import CTCError, InfeasibleError
from ..files import read_labels, read_log_probs, read_text
from ..lattice import STAR
from ..results import Segment
from ..text import Transcript, Vocabulary
from ..text.blank import check_count
from ..text.scripts import TRANSCRIPT_FORMATS, Script, TranscriptFormat, parse_transcript
from ..validate import check_choice, check_extend
from .bare import bare_lines
from .fit import CONTROLS, Fit, fit_of
from .formats import Level

_ROUNDING = 1e-6  # of a frame: subtitles' times are decimal
_SLOWEST = 10  # seconds a token
SHOWN = 3  # words with the lowest confidence

Scores = npt.NDArray[np.floating[Any]]


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
        cue_times: each line lies between the times of its subtitle.
        strip_punctuation: words are written without the punctuation around them.
        level: of formats that hold one: lines, words or tokens.
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

    def check(self) -> None:
        """Raises a CTCError for values out of range."""
        check_extend(self.extend)
        check_choice("transcript_format", self.transcript_format, TRANSCRIPT_FORMATS)


class Aligned(NamedTuple):
    """A text with its times.

    Attributes:
        lines: of the text, with their words and tokens.
        duration: seconds, when the last frame ends.
        notes: a warning that the text is another recording's, or the frame shift in milliseconds; on the blank, and on
            parts of the text that the labels can't spell, or spell in another way.
        path: int32 (T,), the class of each frame on the best path, or ``ctckit.STAR``.
        fit: the text beside what the network reads.
    """

    lines: list[Segment]
    duration: float
    notes: tuple[str, ...]
    path: npt.NDArray[np.int32]
    fit: Fit


def read_scores(path: Path) -> Scores:
    """Scores (T, C) of one recording; a batch axis of 1 is dropped."""
    scores = read_log_probs(path)
    if 1 in scores.shape[:-1]:  # networks give (1, T, C) or (T, 1, C)
        scores = scores.reshape(-1, scores.shape[-1])
    if scores.ndim != 2:
        raise CTCError(f"{path} holds several recordings, of shape {scores.shape}: expected one, (T, C)")
    return scores


def read_vocabulary(path: Path, blank: int | None, scores: Scores | None = None) -> Vocabulary:
    """The vocabulary of a label file, for these scores; see :class:`ctckit.Vocabulary`."""
    labels = read_labels(path)
    try:
        return Vocabulary(labels, blank, scores=scores)
    except CTCError as error:
        raise CTCError(f"{path}: {error}") from None


def read_transcript(path: Path, options: Options) -> Script:
    """The lines of a file of text, of subtitles or the like.

    Raises:
        CTCError: it can't be read, or is another thing than it says.
    """
    return parse_transcript(read_text(path), str(path), options.transcript_format)


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
    _check_scores(scores, len(vocabulary.labels), options.from_logits)
    script = Script(text) if isinstance(text, str) else text
    if options.cue_times and not script.times:
        raise CTCError("the text has no times, and cue_times=True asks for them: expected subtitles, .srt or .vtt")
    transcript = _transcribed(script.text, vocabulary, options)
    words = [word for line in transcript.lines for word in line.words]
    if all((transcript.tokens[word.first : word.first + len(word.tokens)] == STAR).all() for word in words):
        raise CTCError("the text has no character that the labels can spell: are they of the same language?")
    if options.cue_times:
        lines, path, inside = _align_cues(scores, script, vocabulary, frame_shift, options, offset)
        fit = fit_of(scores[inside], path[inside], vocabulary)
    else:
        alignment = _aligned(scores, transcript, vocabulary, options)
        lines = transcript.segments(alignment, frame_shift, extend=options.extend, offset=offset)
        path = alignment.labels
        fit = fit_of(scores, path, vocabulary)
    if options.strip_punctuation:
        lines = bare_lines(lines, options.spoken)
    doubts = fit.notes + _shift_notes(frame_shift, len(scores), len(transcript.tokens))
    notes = doubts + script.notes + vocabulary.notes + transcript.notes
    return Aligned(lines, offset + len(scores) * frame_shift, notes, path, fit)


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
    for number, (text, (start, end)) in enumerate(zip(script.text.split("\n"), script.times, strict=True), start=1):
        begin = math.floor((start - offset) / frame_shift + _ROUNDING)
        first = max(0, min(begin, len(scores)))
        last = max(first, min(math.ceil((end - offset) / frame_shift - _ROUNDING), len(scores)))
        transcript = _transcribed(text, vocabulary, options)
        try:
            alignment = _aligned(scores[first:last], transcript, vocabulary, options)
        except InfeasibleError as error:
            stop = offset + len(scores) * frame_shift
            where = f"line {number}, from {start:g} to {end:g} s of {stop:g} s"
            reason = f"{where}: {error}; or leave out cue_times=True"
            raise InfeasibleError(reason, frames=error.frames, needed=error.needed) from None
        begun = offset + first * frame_shift
        lines += transcript.segments(alignment, frame_shift, extend=options.extend, offset=begun)
        path[first:last] = alignment.labels
        spans = alignment.spans()  # a subtitle's times may reach into its neighbours' words
        if spans:
            inside[first + spans[0].start : first + spans[-1].end] = True
    return lines, path, inside


def _check_scores(scores: Scores, labels: int, from_logits: bool) -> None:
    """Raises a CTCError for scores of another kind: they could be aligned too, but wrongly."""
    frames = len(scores)
    check_count(labels, scores.shape)
    highest = float(scores.max())
    check_kind("the emissions", scores, from_logits)
    if not highest < math.inf:
        wrong = int(np.argmax(~(scores.max(axis=1) < math.inf)))
        raise CTCError(f"the emissions have NaN or +inf in frame {wrong} of {frames}: expected finite scores, or -inf")
    if not from_logits and highest > 1e-2:  # half precision may round up a little
        raise CTCError(
            f"the emissions hold {highest:.3g}, and log-probabilities are at most 0: pass from_logits=True for logits"
        )


def _shift_notes(frame_shift: float, frames: int, tokens: int) -> tuple[str, ...]:
    """A question, if the frame shift is probably in milliseconds.

    It is above a second, and tokens would take more than 10 s on average. Nobody speaks so slowly; in milliseconds,
    speech has 30 to 300 a token.
    """
    seconds = frame_shift * frames
    if frame_shift <= 1 or seconds <= _SLOWEST * tokens:
        return ()
    return (
        f"a frame shift of {frame_shift:g} s makes {seconds:.0f} s, {seconds / tokens:.0f} s a token: are these "
        f"milliseconds? then pass frame_shift={frame_shift / 1000:g}",
    )


def words_of(lines: list[Segment]) -> list[Segment]:
    """All words of some lines, in order."""
    return [word for line in lines for word in line.parts]


def confidence(lines: list[Segment]) -> float:
    """The mean confidence of the words that have a time; NaN if none has one."""
    known = [word.confidence for word in words_of(lines) if not math.isnan(word.confidence)]
    return sum(known) / len(known) if known else math.nan


def summary(lines: list[Segment]) -> str:
    """How many words there are, their mean confidence, and the words with the lowest.

    Example:
        >>> words = (Segment("a", 0, 1, -0.1, 0.9), Segment("cat", 1, 2, -1, 0.5), Segment("sat", *[math.nan] * 4))
        >>> print(summary([Segment("a cat sat", 0, 2, -0.5, 0.7, words)]))
        3 words, 1 of them without a time; mean confidence 0.700
        least sure: cat 0.500 (1.00 s), a 0.900 (0.00 s)
    """
    words = words_of(lines)
    timed = [word for word in words if not math.isnan(word.start)]
    count = f"{len(words)} word{'s' if len(words) != 1 else ''}"
    if len(timed) < len(words):
        count += f", {len(words) - len(timed)} of them without a time"
    if not timed:
        return count
    least = sorted(timed, key=lambda word: word.confidence)[:SHOWN]
    shown = ", ".join(f"{word.text.translate(CONTROLS)} {word.confidence:.3f} ({word.start:.2f} s)" for word in least)
    return f"{count}; mean confidence {confidence(lines):.3f}\nleast sure: {shown}"
