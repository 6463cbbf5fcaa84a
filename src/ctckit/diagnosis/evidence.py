"""What is measured before anything is judged: each sample's loss, reading and statistics.

The rules judge, so that thresholds are in one place. May import kinds.py, text/ and what lies below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..lattice import frames_needed
from ..loss import ctc_loss, path_entropy
from ..text.reading import edit_distance
from .batch import Batch, Ints, Scores
from .kinds import Floats, Kind, Scale, blocks, normalised, scale_of, unusable

EXPLODED = 1e4  # nats between the best class and the next: no network that learns is so sure

_SMALL = 2**20  # scores of a loss that is always computed in float64

_OUTPUTS = ("blank_share", "confidence", "entropy", "path_entropy", "spike_width", "token_mass", "error_rate")


class Bad(NamedTuple):
    """What can't be used of one sample's frames.

    Attributes:
        frame: the first unusable one.
        row: its scores.
        frames: how many there are.
        infinite: how many scores are +inf.
        undefined: how many scores are NaN.
    """

    frame: int
    row: Floats
    frames: int
    infinite: int
    undefined: int


@dataclass
class Outputs:
    """What the network gives for one sample, measured in one pass over its frames.

    Attributes:
        greedy: (T,) the most probable class of each frame.
        steps: (T - 1,) whether a frame is bit-identical to the next.
        best: the best path's log-probability, in nats.
        confidence: the mean probability of the most probable class.
        entropy: nats per frame, summed.
        token_mass: the probability of all tokens together, summed over frames.
        moved: the most that a class changes over the frames, in nats.
        impossible: how many log-probabilities are -inf.
        exploded: in how many frames the best class is more than `EXPLODED` above the next.
    """

    greedy: npt.NDArray[np.int32]
    steps: npt.NDArray[np.bool_]
    best: float = 0.0
    confidence: float = 0.0
    entropy: float = 0.0
    token_mass: float = 0.0
    moved: float = 0.0
    impossible: int = 0
    exploded: int = 0


@dataclass(frozen=True)
class Sample:
    """One sample whose frames can be read, with its target.

    Attributes:
        index: n.
        target: (S,).
        blank: the blank's class.
        classes: C.
        outputs: what the network gives.
        greatest: the greatest log-probability of each class in the target, over the frames.
        loss: nats; inf without a path, NaN if the target is not one of tokens.
        path_entropy: nats, of the target's paths; 0 without a path, NaN if it is not known.
    """

    index: int
    target: Ints
    blank: int
    classes: int
    outputs: Outputs
    greatest: dict[int, float]
    loss: float
    path_entropy: float

    @property
    def frames(self) -> int:
        """T."""
        return len(self.outputs.greedy)

    @property
    def tokens(self) -> int:
        """S."""
        return len(self.target)

    @property
    def best(self) -> float:
        """The best path's log-probability, in nats."""
        return self.outputs.best

    @property
    def sure(self) -> float:
        """The probability of the best path per frame: the geometric mean."""
        return float(np.exp(self.best / max(self.frames, 1)))

    @cached_property
    def reading(self) -> list[int]:
        """What the best path spells."""
        return self.read(self.blank)

    def read(self, blank: int) -> list[int]:
        """What the best path spells if that class is the blank."""
        greedy = self.outputs.greedy
        starts = np.ones(len(greedy), bool)
        starts[1:] = greedy[1:] != greedy[:-1]
        tokens: list[int] = greedy[starts & (greedy != blank)].tolist()
        return tokens

    @cached_property
    def errors(self) -> int:
        """The Levenshtein distance of the reading to the target, in tokens."""
        return edit_distance(self.target.tolist(), self.reading)


@dataclass(frozen=True)
class Evidence:
    """What the rules judge.

    Attributes:
        batch: as read.
        scale: what kind of scores it has.
        bad: of each sample, what can't be used of its frames; None if all can.
        readable: samples whose frames can be read; none if the scores can't be normalised.
        greatest: (C,) the greatest log-probability of each class over the batch.
        wins: (C,) in how many frames each class is the most probable.
        twice: whether the frames look like a log_softmax of a softmax: how many do, and how many were judged.
    """

    batch: Batch
    scale: Scale
    bad: list[Bad | None]
    readable: list[Sample]
    greatest: Floats
    wins: Ints
    twice: Twice

    @cached_property
    def samples(self) -> list[Sample]:
        """Those whose loss can be computed."""
        return [sample for sample in self.readable if not np.isnan(sample.loss)]

    @cached_property
    def infeasible(self) -> list[int]:
        """The samples whose target needs more frames than there are."""
        each = zip(self.batch.targets, self.batch.frames, strict=True)
        return [n for n, (target, frames) in enumerate(each) if frames_needed(target) > frames]

    def loss_of(self, n: int, target: Ints, blank: int, frames: int | None = None) -> float:
        """The loss of a sample with another target, another blank, or another number of frames."""
        return loss_of(self.batch, self.scale.kind, n, target, blank, frames)

    def losses_of(self, n: int, targets: Sequence[Ints], blank: int) -> list[float]:
        """The losses of a sample with several targets of the same classes, and another blank."""
        return losses_of(self.batch, self.scale.kind, n, targets, blank)

    def last_token(self, n: int) -> int:
        """The last of all frames of sample n, beyond its length too, whose most probable class is not the blank."""
        last = -1
        for start, raw in blocks(self.batch, n, len(self.batch.scores)):
            peaks = np.flatnonzero(normalised(raw, self.scale.kind).argmax(axis=1) != self.batch.blank)
            last = start + int(peaks[-1]) if len(peaks) else last
        return last

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
        each = [sample.outputs for sample in self.samples]
        frames = sum(len(outputs.greedy) for outputs in each)
        if not frames:
            return known
        blanks = sum(int((outputs.greedy == self.batch.blank).sum()) for outputs in each)
        known["blank_share"] = blanks / frames
        known["confidence"] = sum(outputs.confidence * len(outputs.greedy) for outputs in each) / frames
        known["entropy"] = sum(outputs.entropy for outputs in each) / frames
        read = sum(len(sample.reading) for sample in self.samples)
        short = [sample for sample in self.samples if not np.isnan(sample.path_entropy)]
        undecided = sum(sample.path_entropy for sample in short)
        known["path_entropy"] = undecided / max(sum(sample.frames for sample in short), 1) if short else None
        known["spike_width"] = (frames - blanks) / read if read else None
        tokens = sum(sample.tokens for sample in self.samples)
        if tokens:
            known["token_mass"] = sum(outputs.token_mass for outputs in each) / tokens
            known["error_rate"] = sum(sample.errors for sample in self.samples) / tokens
        return known


class Twice(NamedTuple):
    """How far frames look like a log_softmax of a softmax.

    Attributes:
        judged: used frames.
        outside: how many of them cannot be that.
        peaked: how many of them would be the peaks of a softmax.
        peaks: how many classes have such peaks.
        largest_range: the greatest difference of two classes in a frame, in nats.
    """

    judged: int = 0
    outside: int = 0
    peaked: int = 0
    peaks: int = 0
    largest_range: float = 0.0


def no_statistics() -> dict[str, Any]:
    """The statistics of a batch that could not be read: all unknown."""
    names = ("samples", "frames", "classes", "blank", "losses", "loss", "infeasible", *_OUTPUTS)
    return dict.fromkeys(names)


def gather(batch: Batch) -> Evidence:
    """Measures a batch."""
    bad = [_bad(batch, n) for n in range(len(batch))]
    scale = scale_of(batch)
    seen = _Seen(batch)
    readable = []
    if scale.axis == 2 and 0 <= batch.blank < batch.classes:
        readable = [seen.sample(n, scale.kind) for n in range(len(batch)) if bad[n] is None]
    return Evidence(batch, scale, bad, readable, seen.greatest, seen.wins, seen.twice)


class _Seen:
    """Gathers what is known of the batch as a whole while its samples are measured."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.greatest = np.full(batch.classes, -np.inf)
        self.wins = np.zeros(batch.classes, np.int64)
        self.twice = Twice()
        self._peaks: set[int] = set()
        # Rounding of the scores, near -log C.
        self._off = 8 * rounding(batch.scores) * (1 + np.log(batch.classes))

    def sample(self, n: int, kind: Kind) -> Sample:
        """Sample n, read in one pass."""
        batch, target = self.batch, self.batch.targets[n]
        spelled = is_spelled(target, batch.classes, batch.blank)
        kept = _Columns(np.unique(np.append(target, batch.blank)) if spelled else np.zeros(0, np.int64), batch, n, kind)
        frames = batch.frames[n]
        outputs = Outputs(np.zeros(frames, np.int32), np.zeros(max(frames - 1, 0), bool))
        low, high = np.full((2, batch.classes), [[np.inf], [-np.inf]])
        last = None
        for start, raw in blocks(batch, n):
            log_probs = normalised(raw, kind)
            self._measure(outputs, start, log_probs)
            np.minimum(low, log_probs.min(axis=0), out=low)
            np.maximum(high, log_probs.max(axis=0), out=high)
            same = (raw[1:] == raw[:-1]).all(axis=1)
            outputs.steps[start : start + len(same)] = same
            if last is not None:
                outputs.steps[start - 1] = (raw[0] == last).all()
            last = raw[-1]
            kept.take(start, log_probs)
        if frames:
            outputs.confidence /= frames
            outputs.moved = float(np.subtract(high, low, where=high > low, out=np.zeros_like(high)).max())
            np.maximum(self.greatest, high, out=self.greatest)
        greatest = {int(c): float(high[c]) for c in kept.classes if c != batch.blank}
        loss, undecided = (kept.loss(target, batch.blank), kept.path_entropy(target)) if spelled else (np.nan, np.nan)
        return Sample(n, target, batch.blank, batch.classes, outputs, greatest, loss, undecided)

    def _measure(self, outputs: Outputs, start: int, log_probs: Floats) -> None:
        """Adds one block of frames."""
        rows = np.arange(len(log_probs))
        best = log_probs.argmax(axis=1)
        top = log_probs[rows, best]
        outputs.greedy[start : start + len(best)] = best
        self.wins += np.bincount(best, minlength=len(self.wins))
        self._look_for_two(log_probs, best, top)
        probabilities = np.exp(log_probs)
        outputs.best += float(top.sum())
        outputs.confidence += float(np.exp(top).sum())
        outputs.token_mass += float((1 - probabilities[:, self.batch.blank]).sum())
        outputs.impossible += int(np.isneginf(log_probs).sum())
        np.multiply(probabilities, log_probs, where=probabilities > 0, out=probabilities)
        outputs.entropy -= float(probabilities.sum())
        if self.batch.classes > 1:
            rest = log_probs.copy()
            rest[rows, best] = -np.inf
            second = rest.max(axis=1)
            outputs.exploded += int((np.isfinite(second) & (top - second > EXPLODED)).sum())

    def _look_for_two(self, log_probs: Floats, best: Ints, top: Floats) -> None:
        """log_softmax(p) - its mean + 1/C is p again: if p was a softmax, never below 0, and in a sure frame near 1."""
        judged, outside, peaked, _, most = self.twice
        mean, least = log_probs.mean(axis=1), log_probs.min(axis=1)
        with np.errstate(invalid="ignore"):
            wrong = ~(least - mean + 1 / self.batch.classes >= -self._off)
            peaks = top - mean + 1 / self.batch.classes >= max(min(0.9, 4 / self.batch.classes), 4 * self._off)
        self._peaks.update(np.unique(best[peaks]).tolist() if len(self._peaks) < 2 else ())
        self.twice = Twice(
            judged + len(top),
            outside + int(wrong.sum()),
            peaked + int(peaks.sum()),
            len(self._peaks),
            max(most, float((top - least).max(initial=0))),
        )


class _Columns:
    """A sample's log-probabilities of its target's classes: all that its loss needs."""

    def __init__(self, classes: Ints, batch: Batch, n: int, kind: Kind, frames: int | None = None) -> None:
        self.classes = classes
        self._batch, self._n, self._kind = batch, n, kind
        self._frames = batch.frames[n] if frames is None else frames
        size = self._frames * len(classes)
        # Of a long sample whose target has many classes this would be a second copy of the scores: the loss reads them
        # where they are.
        floats = batch.scores.dtype.kind == "f" and batch.scores.dtype.itemsize <= 8
        self._direct = size > _SMALL and kind in ("log-probabilities", "logits") and floats
        real = np.float64 if size <= _SMALL else np.float32
        self._kept = np.empty((0 if self._direct else self._frames, len(classes)), real)

    def take(self, start: int, log_probs: Floats) -> None:
        """Keeps what is needed of one block of frames."""
        if not self._direct and len(self.classes):
            self._kept[start : start + len(log_probs)] = log_probs[:, self.classes]

    def loss(self, target: Ints, blank: int) -> float:
        """The CTC loss, in nats."""
        if self._direct:
            scores = self._batch.scores[: self._frames, self._n]
            return float(ctc_loss(scores, target, self._frames, len(target), blank, "sum", from_logits=True))
        tokens, label = np.searchsorted(self.classes, target), int(np.searchsorted(self.classes, blank))
        return float(ctc_loss(self._kept, tokens, self._frames, len(target), label, "sum"))

    def path_entropy(self, target: Ints) -> float:
        """The entropy of the target's paths, in nats; NaN of a long sample, where copies of it would be needed."""
        if self._direct:
            return np.nan
        tokens, label = np.searchsorted(self.classes, target), int(np.searchsorted(self.classes, self._batch.blank))
        return float(path_entropy(self._kept, tokens, self._frames, len(target), label))


def loss_of(batch: Batch, kind: Kind, n: int, target: Ints, blank: int, frames: int | None = None) -> float:
    """The loss of sample n with any target, blank and number of frames, in nats."""
    return losses_of(batch, kind, n, [target], blank, frames)[0]


def losses_of(
    batch: Batch, kind: Kind, n: int, targets: Sequence[Ints], blank: int, frames: int | None = None
) -> list[float]:
    """The losses of sample n with several targets of the same classes, in nats; its frames are read once."""
    columns = _Columns(np.unique(np.append(targets[0], blank)), batch, n, kind, frames)
    if not columns._direct:
        for start, raw in blocks(batch, n, frames):
            columns.take(start, normalised(raw, kind))
    return [columns.loss(np.asarray(target), blank) for target in targets]


def rounding(scores: Scores) -> float:
    """The relative rounding error of the scores' dtype; 0 for integers."""
    return float(np.finfo(scores.dtype).eps) if scores.dtype.kind == "f" else 0.0


def _bad(batch: Batch, n: int) -> Bad | None:
    first, row, count, infinite, undefined = 0, np.zeros(0), 0, 0, 0
    for start, raw in blocks(batch, n):
        frames = np.flatnonzero(unusable(raw))
        if len(frames) and not count:
            first, row = start + int(frames[0]), raw[frames[0]].copy()
        count += len(frames)
        infinite += int(np.isposinf(raw).sum())
        undefined += int(np.isnan(raw).sum())
    return Bad(first, row, count, infinite, undefined) if count else None


def is_spelled(target: Ints, classes: int, blank: int) -> bool:
    """Whether a target holds tokens only: classes other than the blank."""
    return bool(((target >= 0) & (target < classes) & (target != blank)).all())
