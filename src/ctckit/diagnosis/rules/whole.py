"""Faults of the whole batch: each shows in every sample, and is recognised by trying what would fix it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import product

import numpy as np

from ..attempts import MILLION, THOUSAND, Attempt, attempt_by_order, attempt_by_reading, fitting_targets
from ..batch import Ints
from ..evidence import Evidence, Sample, loss_of
from ..kinds import usable_up_to
from ..moves import Moves, class_moves
from ..report import Finding
from .network import is_sure_and_wrong, reads_another_text, says_something

_MASKED = -90.0  # nats: as a probability, less than float32 can hold
_ROLLED = 4  # rows by which transcripts may have been rolled, in either direction
_ALIVE = -30.0  # nats: the greatest log-probability of a class that the network uses


def swapped_square(evidence: Evidence) -> Finding | None:
    """Batch-first with as many samples as frames, where shapes say nothing.

    With the two axes swapped, every sample must be more likely, and the batch must be read well, at less than half a
    nat per token. Only a trained network does that, unless the targets are so short that noise could spell them.
    """
    batch, samples = evidence.batch, evidence.samples
    frames, size, _ = batch.scores.shape
    if frames != size or size < 4 or len(samples) < size or evidence.scale.axis != 2:
        return None
    tokens = sum(sample.tokens for sample in samples)
    before, after = sum(sample.loss for sample in samples), 0.0
    turned = batch.turned()
    for sample in samples:
        if not usable_up_to(turned, sample.index, sample.frames):
            return None
        loss = loss_of(turned, evidence.scale.kind, sample.index, sample.target, batch.blank)
        after += loss
        if loss >= sample.loss or after >= 0.5 * tokens:
            return None
    if not says_something(tokens, batch):
        return None
    numbers = {"loss": before, "swapped": after, "samples": size, "scores": batch.scores_name}
    return Finding("warning", "batch-first", None, numbers)


def masked_class(evidence: Evidence) -> Finding | None:
    """A class of the targets that has no probability in any frame, as if masked by a large negative number.

    Even a network that is sure of other classes gives each class more than float32's smallest probability somewhere in
    the batch. If hardly any class has more, the scores have exploded, or the network has collapsed.
    """
    greatest = evidence.greatest
    if int((greatest > _ALIVE).sum()) < 2:
        return None
    masked, samples, worst = set(), [], -np.inf
    for sample in evidence.samples:
        found = [c for c in sample.greatest if -np.inf < greatest[c] < _MASKED]
        if found:
            masked.update(found)
            samples.append(sample)
    if not masked:
        return None
    worst = float(max(greatest[c] for c in masked))
    tokens = sum(sample.tokens for sample in samples)
    numbers = {
        "masked": sorted(masked),
        "greatest": {c: float(greatest[c]) for c in sorted(masked)},
        "most": worst,
        "samples": [sample.index for sample in samples],
        "loss": sum(sample.loss for sample in samples) / tokens,
    }
    one = samples[0].index if len(samples) == 1 else None
    return Finding("error", "impossible-target", one, numbers, variant="masked", hint="impossible-target/masked")


def other_blank(evidence: Evidence) -> Finding | None:
    """Another class than `blank` wins most frames, and with that as the blank the network fits the targets."""
    other = _resting(evidence)
    if other is None or not _misread(evidence):
        return None
    found = attempt_by_reading(evidence, _targets(evidence), other)
    if found is None:
        return None
    numbers = {
        "token": other,
        "told": evidence.batch.blank,
        "blank": evidence.batch.blank,
        "share": float(evidence.wins[other] / evidence.wins.sum()),
        "uses": sum(int((target == other).sum()) for target in evidence.batch.targets),
        **found.numbers,
    }
    return Finding("error", "blank-elsewhere", None, numbers, _variant(found))


def shifted(evidence: Evidence) -> Finding | None:
    """Ids that are all one too large or too small for the network, whose blank may be another class besides."""
    if not _misread(evidence):
        return None
    batch, targets, resting = evidence.batch, _targets(evidence), _resting(evidence)
    tries = [(batch.blank, attempt_by_reading), (resting, attempt_by_reading), (batch.blank, attempt_by_order)]
    for (blank, attempt), shift in product(tries, (-1, 1)):
        if blank is None:
            continue
        found = attempt(evidence, {n: target + shift for n, target in targets.items()}, blank)
        if found is not None:
            numbers = {"shift": shift, "by": abs(shift), "token": blank, "told": batch.blank, **found.numbers}
            direction = "large" if shift < 0 else "small"
            hint = "" if blank == batch.blank else "ids-shifted/blank"
            return Finding("error", "ids-shifted", None, numbers, _variant(found, direction), hint)
    return None


def backwards(evidence: Evidence) -> Finding | None:
    """Targets whose tokens are in reverse order."""
    if not _misread(evidence):
        return None
    reverse = {n: target[::-1] for n, target in _targets(evidence).items()}
    found = _attempt(evidence, reverse)
    if found is None or math.isnan(found.before):
        return None
    return Finding("error", "targets-reversed", None, dict(found.numbers), _variant(found))


def exchanged_transcripts(evidence: Evidence) -> Finding | None:
    """Most samples fit the targets of other samples instead of their own."""
    if len(evidence.batch) < 2 or not _misread(evidence):
        return None
    tried = [each for each in (_rolled(evidence), _shuffled(evidence)) if each is not None]
    if not tried:
        return None
    fits, found = min(tried, key=lambda each: each[1].errors / each[1].tokens)
    if math.isnan(found.before):
        return None
    size = len(evidence.batch)
    steps = Counter((m - n) % size for n, m in fits.items())
    step, often = steps.most_common(1)[0]
    step -= size if 2 * step > size else 0
    numbers = {"fits": fits, "count": len(fits), "all": size, "step": step, "by": abs(step), **found.numbers}
    rolled = ("later" if step > 0 else "earlier") if often >= 0.9 * len(fits) and size > 2 else ""
    return Finding("error", "transcripts-exchanged", None, numbers, rolled)


def _rolled(evidence: Evidence) -> tuple[dict[int, int], Attempt] | None:
    """All transcripts moved by the same number of rows. Short texts, which alone prove nothing, do so together."""
    targets, size = evidence.batch.targets, len(evidence.batch)
    steps = sorted({step % size for far in range(1, _ROLLED + 1) for step in (far, -far)} - {0})
    for step in steps:
        fits = {sample.index: (sample.index + step) % size for sample in evidence.readable}
        found = _attempt(evidence, {n: targets[m] for n, m in fits.items()})
        if found is not None:
            return fits, found
    return None


def _shuffled(evidence: Evidence) -> tuple[dict[int, int], Attempt] | None:
    """Each sample with the transcript that its reading fits, if most samples have one."""
    wrong = [sample for sample in evidence.samples if 2 * sample.errors > sample.tokens and sample.sure > 0.5]
    fits = fitting_targets(evidence, wrong) if 2 * len(wrong) > len(evidence.batch) else {}
    if 2 * len(fits) <= len(evidence.batch) or len(set(fits.values())) < 0.9 * len(fits):
        return None
    found = attempt_by_reading(evidence, {n: evidence.batch.targets[m] for n, m in fits.items()}, evidence.batch.blank)
    return None if found is None else (fits, found)


def permuted(evidence: Evidence) -> Finding | None:
    """Classes that network and targets number differently: two that are exchanged, or a whole permutation.

    A recogniser may always misread one class as another, but not two as each other. So classes that change places may
    be beyond doubt even if most of the loss has other causes.
    """
    if not any(sample.errors for sample in evidence.samples):
        return None
    for moves in class_moves(evidence):
        found = _moved(evidence, moves) if moves.weight >= THOUSAND else None
        if found is not None and not math.isnan(found.before):
            return Finding(
                "error", "classes-permuted", None, {"map": moves.of, "count": len(moves.of), **found.numbers}
            )
    return None


def _moved(evidence: Evidence, moves: Moves) -> Attempt | None:
    """What comes of the targets in the network's classes."""
    targets, blank = _targets(evidence), evidence.batch.blank
    tried = moves.applied(targets)
    found = attempt_by_reading(evidence, tried, blank)
    if found is None and moves.closed and moves.weight >= MILLION:
        changed = sum(int((tried[n] != target).sum()) for n, target in targets.items())
        found = attempt_by_reading(evidence, tried, blank, changed=changed)
    return found


def one_token(evidence: Evidence) -> Finding | None:
    """The network gives one class, not the blank, in nearly every frame, and is sure of it, whatever the targets say.

    The target that has this token only is right then. A network's first outputs may prefer one class too, but not with
    0.95 of the probability.
    """
    statistics, samples = evidence.statistics, evidence.samples
    frames = sum(sample.frames for sample in samples)
    if frames < 10 or not statistics["error_rate"]:
        return None
    token, often = Counter(np.concatenate([sample.outputs.greedy for sample in samples]).tolist()).most_common(1)[0]
    gap = sum(sample.loss + sample.best for sample in samples)
    tokens = sum(sample.tokens for sample in samples)
    collapsed = token != evidence.batch.blank and often >= 0.95 * frames and statistics["confidence"] > 0.95
    if not collapsed or statistics["error_rate"] < 0.7 or not gap > max(20, 4 * tokens):
        return None
    numbers = {
        "token": token,
        "share": often / frames,
        "confidence": statistics["confidence"],
        "loss": sum(sample.loss for sample in samples) / tokens,
        "error_rate": statistics["error_rate"],
    }
    return Finding("warning", "token-collapse", None, numbers)


def sure_and_wrong(evidence: Evidence) -> Finding | None:
    """The network is sure of other texts in nearly all samples.

    In a batch of one, ``unlikely-target`` says so if the text is about as long as the target.
    """
    judged = [sample for sample in evidence.samples if sample.tokens and sample.loss < math.inf]
    wrong = [sample for sample in judged if is_sure_and_wrong(sample, evidence.batch)]
    if not wrong or len(wrong) < 0.9 * len(judged):
        return None
    if len(judged) == 1 and reads_another_text(wrong[0], evidence.batch):
        return None
    worst = max(wrong, key=lambda sample: sample.loss + sample.best)
    tokens = sum(sample.tokens for sample in wrong)
    numbers = {
        "count": len(wrong),
        "all": len(judged),
        "confidence": float(np.mean([sample.sure for sample in wrong])),
        "errors": sum(sample.errors for sample in wrong),
        "tokens": tokens,
        "loss": sum(sample.loss for sample in wrong) / tokens,
        "example": worst.index,
        "reading": worst.reading,
        "target": worst.target.tolist(),
    }
    return Finding("warning", "sure-and-wrong", None, numbers)


def _attempt(evidence: Evidence, targets: Mapping[int, Ints]) -> Attempt | None:
    """What comes of other targets, by the reading or by the order of tokens."""
    blank = evidence.batch.blank
    return attempt_by_reading(evidence, targets, blank) or attempt_by_order(evidence, targets, blank)


def _targets(evidence: Evidence) -> dict[int, Ints]:
    """The targets that hold anything, of samples whose frames can be read."""
    return {sample.index: sample.target for sample in evidence.readable if sample.tokens}


def _misread(evidence: Evidence) -> bool:
    """Whether the network misreads a fifth of the tokens or more, or the targets can't be read at all."""
    tokens = sum(sample.tokens for sample in evidence.readable)
    errors = sum(_errors(sample) for sample in evidence.readable)
    return bool(tokens) and 5 * errors > tokens


def _errors(sample: Sample) -> int:
    return sample.tokens if math.isnan(sample.loss) else sample.errors


def _resting(evidence: Evidence) -> int | None:
    """The class, other than the blank, that wins the most frames."""
    if not evidence.wins.sum():
        return None
    wins = evidence.wins.copy()
    wins[evidence.batch.blank] = 0
    return int(wins.argmax()) if wins.any() else None


def _variant(found: Attempt, variant: str = "") -> str:
    """Which wording: for a rough network, or without the loss as passed if there is none."""
    kind = "rough" if found.shuffled is not None else "alone" if math.isnan(found.before) else ""
    return "/".join(part for part in (variant, kind) if part)
