"""Reads the scores and labels of one recording, and summarises its words. May import diagnosis/, text/ and below."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..diagnosis.kinds import check_kind
from ..errors import CTCError
from ..files import read_labels, read_log_probs, read_text
from ..results import Segment
from ..text import Vocabulary
from ..text.blank import check_count
from ..text.scripts import Script, TranscriptFormat, parse_transcript
from .fit import CONTROLS

SHOWN = 3  # how many words a summary names, those with the lowest confidence
_SLOWEST = 10  # seconds per token; slower speech is not expected

Scores = npt.NDArray[np.floating[Any]]


class Timed(Protocol):
    """A recording's text with its times.

    Attributes:
        lines: the lines of the text, with their words and tokens.
        duration: seconds; the end of the last frame.
        path: int32 (T,), the class of each frame, or ``ctckit.STAR``.
        facts: what .json files hold besides the lines.
    """

    @property
    def lines(self) -> list[Segment]: ...  # noqa: D102
    @property
    def duration(self) -> float: ...  # noqa: D102
    @property
    def path(self) -> npt.NDArray[np.int32]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102


def read_scores(path: Path) -> Scores:
    """Reads the scores (T, C) of one recording; a batch axis of 1 is dropped."""
    return one_recording(read_log_probs(path), str(path))


def one_recording(scores: Scores, name: str) -> Scores:
    """Scores (T, C), without a batch axis of 1; ``name`` says in an error whose they are.

    Raises:
        CTCError: they are of several recordings.
    """
    if 1 in scores.shape[:-1]:  # networks give (1, T, C) or (T, 1, C)
        scores = scores.reshape(-1, scores.shape[-1])
    if scores.ndim != 2:
        raise CTCError(f"{name} holds several recordings, of shape {scores.shape}: expected one, (T, C)")
    return scores


def read_vocabulary(path: Path, blank: int | None, scores: Scores | None = None) -> Vocabulary:
    """Reads the vocabulary of a label file, for these scores; see :class:`ctckit.Vocabulary`."""
    labels = read_labels(path)
    try:
        return Vocabulary(labels, blank, scores=scores)
    except CTCError as error:
        raise CTCError(f"{path}: {error}") from None


def read_transcript(path: Path, form: TranscriptFormat) -> Script:
    """Reads the lines of a file of text, subtitles or a similar format.

    Raises:
        CTCError: the file can't be read, or is not of the given format.
    """
    return parse_transcript(read_text(path), str(path), form)


def check_scores(scores: Scores, labels: int, from_logits: bool, begun: int = 0) -> None:
    """Raises a CTCError for scores of the wrong kind, which would otherwise be aligned or decoded wrongly.

    Args:
        scores: (T, C), or a part of their frames.
        labels: the number of labels.
        from_logits: whether the scores are logits.
        begun: the number of frames before these.
    """
    frames = begun + len(scores)
    check_count(labels, scores.shape)
    highest = float(scores.max())
    check_kind("the emissions", scores, from_logits)
    if not highest < math.inf:
        wrong = begun + int(np.argmax(~(scores.max(axis=1) < math.inf)))
        raise CTCError(f"the emissions have NaN or +inf in frame {wrong} of {frames}: expected finite scores, or -inf")
    if not from_logits and highest > 1e-2:  # half precision may round up a little
        raise CTCError(
            f"the emissions hold {highest:.3g}, and log-probabilities are at most 0: pass from_logits=True for logits"
        )


def shift_notes(frame_shift: float, frames: int, tokens: int) -> tuple[str, ...]:
    """A note that asks about the frame shift, if it is probably in milliseconds.

    This is so if it is above a second, and tokens would take more than 10 s on average. Nobody speaks so slowly; in
    speech, a token takes 30 to 300 milliseconds.
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


def summary(lines: list[Segment], unit: str = "s") -> str:
    """Sentences on the number of words, their mean confidence, and the words with the lowest confidences.

    Args:
        lines: with their words.
        unit: of the words' times: ``"s"``, or ``"px"`` of their left ends.

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
    digits = 2 if unit == "s" else 0
    shown = ", ".join(
        f"{word.text.translate(CONTROLS)} {word.confidence:.3f} ({word.start:.{digits}f} {unit})" for word in least
    )
    return f"{count}; mean confidence {confidence(lines):.3f}\nleast sure: {shown}"
