"""Measures before anything is judged: the kind of the scores, and each sample's loss and reading.

rules.py judges, so that thresholds are in one place. May import text/ and what lies below it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..kernels.reference import log_softmax
from ..lattice import frames_needed
from ..loss import ctc_loss
from ..text.reading import Run, collapse, edit_distance
from .batch import Batch, Ints

Floats = npt.NDArray[np.float64]
Kind = Literal["log-probabilities", "probabilities", "negated log-probabilities", "logits"]

# How far a frame's logsumexp may be from 0. Half precision rounds log-probabilities near -log C by up to 2**-9 of their
# size: 0.02 for bfloat16 and 10,000 classes. Only the output of a log_softmax comes so close at every frame.
NORMALISED = 0.05

_OUTPUTS = ("blank_share", "confidence", "entropy", "spike_width", "token_mass", "error_rate")


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


@dataclass(frozen=True)
class Sample:
    """One sample, normalised, with its target.

    Attributes:
        index: n.
        log_probs: (T, C) used frames.
        target: (S,).
        blank: the blank's class.
        loss: nats; inf without a path.
    """

    index: int
    log_probs: Floats
    target: Ints
    blank: int
    loss: float

    @property
    def frames(self) -> int:
        """T."""
        return len(self.log_probs)

    @property
    def tokens(self) -> int:
        """S."""
        return len(self.target)

    @cached_property
    def greedy(self) -> Ints:
        """The most probable class of each frame (T,)."""
        return np.asarray(self.log_probs.argmax(axis=1))

    @cached_property
    def runs(self) -> list[Run]:
        """The tokens of the greedy reading, each with the consecutive frames whose most probable class it is."""
        return collapse(self.greedy, self.blank)

    @property
    def reading(self) -> list[int]:
        """What the best path spells."""
        return [run.token for run in self.runs]

    @cached_property
    def best(self) -> float:
        """The best path's log-probability, in nats."""
        return float(self.log_probs.max(axis=1).sum())

    @cached_property
    def errors(self) -> int:
        """The Levenshtein distance of the reading to the target, in tokens."""
        return edit_distance(self.target.tolist(), self.reading)

    @property
    def token_mass(self) -> float:
        """The probability of all tokens together, summed over frames."""
        return float((1 - np.exp(self.log_probs[:, self.blank])).sum())


@dataclass(frozen=True)
class Evidence:
    """What the rules judge.

    Attributes:
        batch: as read.
        scale: what kind of scores it has.
        samples: those whose loss can be computed, on normalised scores; none if the scores can't be normalised.
    """

    batch: Batch
    scale: Scale
    samples: list[Sample]

    @cached_property
    def infeasible(self) -> list[int]:
        """The samples whose target needs more frames than there are."""
        each = zip(self.batch.targets, self.batch.frames, strict=True)
        return [n for n, (target, frames) in enumerate(each) if frames_needed(target) > frames]

    @cached_property
    def statistics(self) -> dict[str, Any]:
        """Numbers about the batch; None for what could not be computed."""
        frames, _, classes = self.batch.scores.shape
        known: dict[str, Any] = {
            "samples": len(self.batch),
            "frames": frames,
            "classes": classes,
            "blank": self.batch.blank,
            "losses": [None] * len(self.batch),
        }
        for sample in self.samples:
            known["losses"][sample.index] = sample.loss
        per_token = [sample.loss / max(sample.tokens, 1) for sample in self.samples if sample.loss < np.inf]
        known["loss"] = float(np.mean(per_token)) if per_token else None
        known["infeasible"] = len(self.infeasible)
        return known | self._outputs()

    def _outputs(self) -> dict[str, Any]:
        """Numbers about the used frames of all samples together."""
        known: dict[str, Any] = dict.fromkeys(_OUTPUTS)
        frames = np.concatenate([sample.log_probs for sample in self.samples]) if self.samples else np.zeros((0, 1))
        if not len(frames):
            return known
        probabilities = np.exp(frames)
        known["blank_share"] = float((frames.argmax(axis=1) == self.batch.blank).mean())
        known["confidence"] = float(probabilities.max(axis=1).mean())
        weighted = np.multiply(probabilities, frames, where=probabilities > 0, out=np.zeros_like(frames))
        known["entropy"] = float(-weighted.sum(axis=1).mean())
        widths = [run.end - run.start for sample in self.samples for run in sample.runs]
        known["spike_width"] = float(np.mean(widths)) if widths else None
        tokens = sum(sample.tokens for sample in self.samples)
        if tokens:
            known["token_mass"] = sum(sample.token_mass for sample in self.samples) / tokens
            known["error_rate"] = sum(sample.errors for sample in self.samples) / tokens
        return known


def no_statistics() -> dict[str, Any]:
    """The statistics of a batch that could not be read: all unknown."""
    names = ("samples", "frames", "classes", "blank", "losses", "loss", "infeasible", *_OUTPUTS)
    return dict.fromkeys(names)


def gather(batch: Batch) -> Evidence:
    """Measures a batch."""
    scale = scale_of(batch)
    samples = []
    if scale.axis == 2 and 0 <= batch.blank < batch.classes:
        for n, target in enumerate(batch.targets):
            if is_finite(batch, n) and is_spelled(target, batch):
                log_probs = normalised(batch.used(n), scale.kind)
                loss = loss_of(log_probs, target, batch.blank)
                samples.append(Sample(n, log_probs, target, batch.blank, loss))
    return Evidence(batch, scale, samples)


def scale_of(batch: Batch) -> Scale:
    """What the scores are: logits if the caller says so, else by what they sum to along which axis."""
    frames, size, _ = batch.scores.shape
    if batch.from_logits:
        return Scale("logits", 2, np.full((frames, size), np.nan))
    used = np.arange(frames)[:, None] < np.array(batch.frames)
    deviation = np.full((frames, size), np.nan)
    for n in range(size):
        sums = logsumexp(batch.used(n), axis=1)
        deviation[: batch.frames[n], n] = np.where(np.isfinite(sums), sums, np.nan)
    judged = deviation[used & np.isfinite(deviation)]
    # A batch in which most frames are right holds log-probabilities, and some faults.
    if not len(judged) or (np.abs(judged) <= NORMALISED).mean() > 0.5:
        return Scale("log-probabilities", 2, deviation)

    scores = batch.scores.astype(np.float64)
    kinds: list[tuple[Kind, Floats]] = [("log-probabilities", scores)]
    shown = scores[used]
    with np.errstate(divide="ignore"):
        if (shown >= 0).all() and (shown <= 1 + NORMALISED).all():
            kinds.append(("probabilities", np.log(scores.clip(0))))
        if (shown >= 0).all():
            kinds.append(("negated log-probabilities", -scores))
    for kind, log_probs in kinds:
        for axis in (2, 0, 1):
            # Over the classes padding may hold anything; over another axis it takes part.
            sums = logsumexp(log_probs, axis)
            if (np.abs(sums[used] if axis == 2 else sums) <= NORMALISED).all():
                return Scale(kind, axis, deviation)
    return Scale("logits", 2, deviation)


def normalised(scores: Floats, kind: Kind) -> Floats:
    """Used frames as log-probabilities, whatever kind of scores they are."""
    if kind == "probabilities":
        with np.errstate(divide="ignore"):
            scores = np.log(scores.clip(0))
    return log_softmax(-scores if kind == "negated log-probabilities" else scores)


def loss_of(log_probs: Floats, target: Ints, blank: int) -> float:
    """The CTC loss of one sample's frames (T, C), in nats."""
    return float(ctc_loss(log_probs, target, len(log_probs), len(target), blank, "sum"))


def logsumexp(scores: Floats, axis: int) -> Floats:
    """Log of the sum of exponentials; -inf for an axis of -inf only, NaN where there is NaN or +inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = scores.max(axis=axis, keepdims=True, initial=-np.inf)
        shift = np.where(np.isneginf(largest), 0.0, largest)
        return np.asarray(np.log(np.exp(scores - shift).sum(axis=axis)) + shift.squeeze(axis))


def unusable(scores: Floats) -> npt.NDArray[np.bool_]:
    """Which frames (T,) of (T, C) hold NaN or +inf, or give every class the probability 0."""
    return np.asarray(~(scores < np.inf).all(axis=1) | np.isneginf(scores).all(axis=1))


def is_finite(batch: Batch, n: int) -> bool:
    """Whether all of sample n's frames can be normalised."""
    return not unusable(batch.used(n)).any()


def is_spelled(target: Ints, batch: Batch) -> bool:
    """Whether a target holds tokens only: classes other than the blank."""
    return bool(((target >= 0) & (target < batch.classes) & (target != batch.blank)).all())
