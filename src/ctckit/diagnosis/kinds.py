"""What scores are: log-probabilities, or what they look like instead; and how they are made log-probabilities.

Scores are read in blocks of frames, so that this needs little memory beside them. May import batch.py and what lies
below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..kernels.reference import log_softmax
from .batch import Batch

Floats = npt.NDArray[np.float64]
Kind = Literal["log-probabilities", "probabilities", "negated log-probabilities", "logits"]

# How far a frame's logsumexp may be from 0. Half precision rounds log-probabilities near -log C by up to 2**-9 of their
# size: 0.02 for bfloat16 and 10,000 classes. Only the output of a log_softmax comes so close at every frame.
NORMALISED = 0.05

_BLOCK = 2**16  # scores that are read at a time: half a MiB in float64


@dataclass(frozen=True)
class Scale:
    """What kind of scores these are.

    Attributes:
        kind: log-probabilities, or what they look like instead.
        axis: the axis along which they are normalised; it should be 2, the classes.
        deviation: (T, N) logsumexp of each used frame; NaN where a frame is unused or not finite.
    """

    kind: Kind
    axis: int
    deviation: Floats


def scale_of(batch: Batch) -> Scale:
    """What the scores are: logits if the caller says so, else judged by the axis along which they are normalised."""
    frames, size, _ = batch.scores.shape
    if batch.from_logits:
        return Scale("logits", 2, np.full((frames, size), np.nan))
    deviation = np.full((frames, size), np.nan)
    for n in range(size):
        for start, raw in blocks(batch, n):
            sums = logsumexp(raw, axis=1)
            deviation[start : start + len(sums), n] = np.where(np.isfinite(sums), sums, np.nan)
    judged = np.isfinite(deviation)
    # A batch in which most frames are right holds log-probabilities, and some faults.
    right = np.abs(deviation, where=judged, out=np.full((frames, size), np.inf)) <= NORMALISED
    if not judged.any() or 2 * right.sum() > judged.sum():
        return Scale("log-probabilities", 2, deviation)
    for kind, as_log in _kinds(batch):
        for axis in (2, 0, 1):
            if _is_normalised(batch, as_log, axis):
                return Scale(kind, axis, deviation)
    return Scale("logits", 2, deviation)


def kind_of(scores: npt.NDArray[np.floating[Any]]) -> Kind:
    """What the scores (T, C) of one sample are.

    Example:
        >>> kind_of(np.log([[0.5, 0.5]])), kind_of(np.array([[0.5, 0.5]])), kind_of(np.array([[3.0, 1.0]]))
        ('log-probabilities', 'probabilities', 'logits')
    """
    return scale_of(Batch(scores[:, None], [np.empty(0, np.int64)], [len(scores)], None, 0)).kind


def check_kind(name: str, scores: npt.NDArray[np.floating[Any]], from_logits: bool) -> None:
    """Raises a CTCError for the scores (T, C) of one sample if they are probabilities or negated log-probabilities.

    Other scores that are not normalised may be meant.
    """
    if not scores.size or not scores.min() >= 0 or (from_logits and scores.shape[1] == 2):
        return  # logits of two classes, one of them 0, look like negated log-probabilities
    kind = kind_of(scores)
    if kind == "negated log-probabilities":
        raise CTCError(
            f"{name} are negated log-probabilities, at least 0: expected log-probabilities; change their sign"
        )
    by_hand = from_logits and len(np.unique(scores)) <= 2  # one-hot rows
    if kind == "probabilities" and not by_hand:
        raise CTCError(f"{name} are probabilities, each frame's add up to 1: expected their logarithms")


_AsLog = Callable[[Floats], Floats]


def _kinds(batch: Batch) -> list[tuple[Kind, _AsLog]]:
    """What the scores may be by their range, each with the function that makes log-probabilities of them."""
    least, most = np.inf, -np.inf
    for n in range(len(batch)):
        for _, raw in blocks(batch, n):
            least, most = np.minimum(least, raw.min()), np.maximum(most, raw.max())  # NaN stays
    kinds: list[tuple[Kind, _AsLog]] = [("log-probabilities", lambda scores: scores)]
    if least >= 0 and most <= 1 + NORMALISED:
        kinds.append(("probabilities", _log))
    if least >= 0:
        kinds.append(("negated log-probabilities", lambda scores: -scores))
    return kinds


def _is_normalised(batch: Batch, as_log: _AsLog, axis: int) -> bool:
    """Whether scores are normalised along an axis. Padding counts, except along the classes."""
    frames, size, classes = batch.scores.shape
    lengths = np.array(batch.frames)
    step = max(1, _BLOCK // (classes * size))
    whole = np.full((size, classes), -np.inf)
    for start in range(0, frames, step):
        log_probs = as_log(batch.scores[start : start + step].astype(np.float64))
        if axis == 0:
            with np.errstate(invalid="ignore"):
                whole = np.logaddexp(whole, logsumexp(log_probs, 0))
            continue
        sums = np.abs(logsumexp(log_probs, axis))
        used = np.arange(start, start + len(log_probs))[:, None] < lengths
        if not ((sums[used] if axis == 2 else sums) <= NORMALISED).all():
            return False
    return axis != 0 or bool((np.abs(whole) <= NORMALISED).all())


def _log(probabilities: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(probabilities.clip(0)))


def blocks(batch: Batch, n: int, frames: int | None = None) -> Iterator[tuple[int, Floats]]:
    """Sample n's frames as passed, in float64, a block at a time, each with the index of its first frame."""
    stop = batch.frames[n] if frames is None else frames
    step = max(1, _BLOCK // batch.classes)
    for start in range(0, stop, step):
        yield start, batch.scores[start : min(start + step, stop), n].astype(np.float64)


def normalised(scores: Floats, kind: Kind) -> Floats:
    """Used frames as log-probabilities, whatever kind of scores they are."""
    if kind == "probabilities":
        scores = _log(scores)
    return log_softmax(-scores if kind == "negated log-probabilities" else scores)


def logsumexp(scores: Floats, axis: int) -> Floats:
    """Log of the sum of exponentials; -inf for an axis of -inf only, NaN where there is NaN or +inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = scores.max(axis=axis, keepdims=True, initial=-np.inf)
        shift = np.where(np.isneginf(largest), 0.0, largest)
        return np.asarray(np.log(np.exp(scores - shift).sum(axis=axis)) + shift.squeeze(axis))


def unusable(scores: Floats) -> npt.NDArray[np.bool_]:
    """Which frames (T,) of (T, C) hold NaN or +inf, or give every class the probability 0."""
    return np.asarray(~(scores < np.inf).all(axis=1) | np.isneginf(scores).all(axis=1))


def usable_up_to(batch: Batch, n: int, frames: int) -> bool:
    """Whether the first frames of sample n can all be normalised."""
    return not any(unusable(raw).any() for _, raw in blocks(batch, n, frames))
