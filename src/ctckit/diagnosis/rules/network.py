"""Rules about what the network gives."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ..attempts import fitting_targets
from ..batch import Batch
from ..evidence import Evidence, Sample
from ..report import Finding


def all_blank(evidence: Evidence) -> Iterator[Finding]:
    """The blank wins in every frame. Usual early in training; a collapse if tokens have hardly any probability left.

    The loss's gradient with respect to the blank's logits, summed over frames, is the expected number of token frames
    given the target (at least S) minus the probability that the network gives to tokens. So training keeps that
    probability near S, in the early all-blank phase too. Below a tenth of S something else has pushed the network
    there. With one or two tokens it may be a plain misreading.
    """
    statistics = evidence.statistics
    share, mass = statistics["blank_share"], statistics["token_mass"]
    if mass is None or share < 1 or sum(sample.tokens for sample in evidence.samples) < 3:
        return
    numbers = {"token_mass": mass, "blank_share": share, "confidence": statistics["confidence"]}
    if mass < 0.1:
        yield Finding("warning", "all-blank-collapse", None, numbers)
    else:
        yield Finding("note", "all-blank", None, numbers)


def constant_frames(evidence: Evidence) -> Iterator[Finding]:
    """The same output at every frame.

    The threshold, a thousandth of a nat, is less than an untrained network's output varies with its input. A constant
    output may still be right (silence, or one long token): then nothing is wrong with the sample.
    """
    for sample in evidence.samples:
        if sample.frames < 3 or sample.classes < 2 or sample.errors == 0:
            continue
        moved = sample.outputs.moved
        if moved < 1e-3:
            label = int(sample.outputs.greedy[0])
            yield Finding(
                "warning",
                "constant-frames",
                sample.index,
                {"frames": sample.frames, "largest_change": moved, "likeliest": label},
                variant="blank" if label == sample.blank else "",
            )


def unlikely_target(evidence: Evidence) -> Iterator[Finding]:
    """A network that is sure of another text.

    Sure: its best path has 0.8 of the probability per frame (the geometric mean). Another text: it reads half to three
    times as many tokens as the target has, so that it is neither early training's blanks nor noise, and 0.7 of the
    tokens differ. Unrelated texts of one language differ in about 0.8 of them, and a recogniser's errors rarely reach
    half. Much less likely: by 20 nats, about 10**9 times, and by 4 nats per token that differs; less than that is a
    plain misreading. And the reading must be long enough to mean something. Of many short targets some are misread by
    chance: by the error rate of the batch's other samples, less than one in ten thousand batches may have a sample
    that differs as much.
    """
    wrong = [sample for sample in evidence.samples if reads_another_text(sample, evidence.batch)]
    wrong = [sample for sample in wrong if _chance(sample, evidence) * len(evidence.samples) < 1e-4]
    fits = fitting_targets(evidence, wrong)
    for sample in wrong:
        n = sample.index
        numbers = {
            "gap": sample.loss + sample.best,
            "confidence": sample.sure,
            "errors": sample.errors,
            "tokens": sample.tokens,
            "read": len(sample.reading),
            "reading": sample.reading,
            "target": sample.target.tolist(),
        }
        if n in fits:
            numbers["whose"] = fits[n]
        variant = "fits" if n in fits else ""
        yield Finding(
            "warning", "unlikely-target", n, numbers, variant, f"unlikely-target/{variant}" if variant else ""
        )


def _chance(sample: Sample, evidence: Evidence) -> float:
    """The probability that a sample has at least this many errors, at the error rate of samples that are read well."""
    usual = [each for each in evidence.samples if _wrong_share(each) < 0.7]
    errors, tokens = sum(each.errors for each in usual), sum(each.tokens for each in usual)
    rate = min(max((errors + 1) / (tokens + 4), 0.02), 0.5)
    most = max(sample.tokens, len(sample.reading))
    each = [
        math.lgamma(most + 1)
        - math.lgamma(k + 1)
        - math.lgamma(most - k + 1)
        + k * math.log(rate)
        + (most - k) * math.log(1 - rate)
        for k in range(sample.errors, most + 1)
    ]
    return sum(map(math.exp, each))


def _wrong_share(sample: Sample) -> float:
    return sample.errors / max(sample.tokens, len(sample.reading), 1)


def reads_another_text(sample: Sample, batch: Batch) -> bool:
    """Whether the network is sure of another text that is about as long as the target."""
    if not sample.tokens / 2 <= len(sample.reading) <= 3 * sample.tokens:
        return False
    if not says_something(len(sample.reading), batch) or not _looks_trained(sample):
        return False
    return _is_wrong(sample) and sample.loss + sample.best > 4 * sample.errors


def is_sure_and_wrong(sample: Sample, batch: Batch) -> bool:
    """The same for readings of any length, unless most frames are blanks, as early in training.

    Wide noise over few classes reads too much too, but hardly with 0.9 of the probability per frame.
    """
    if reads_another_text(sample, batch):
        return True
    if not sample.reading or not says_something(max(len(sample.reading), sample.tokens), batch) or sample.sure < 0.9:
        return False
    blanks = int((sample.outputs.greedy == sample.blank).sum())
    busy = 2 * len(sample.reading) >= sample.tokens or 2 * blanks < sample.frames
    settled = _looks_trained(sample) or (sample.sure > 0.999 and sample.frames >= 20)
    return busy and settled and _is_wrong(sample) and sample.loss + sample.best > 4 * sample.tokens


def _is_wrong(sample: Sample) -> bool:
    return sample.loss < np.inf and sample.sure > 0.8 and _wrong_share(sample) >= 0.7 and sample.loss + sample.best > 20


def says_something(tokens: int, batch: Batch) -> bool:
    """Whether there are at least a million texts of that many tokens; noise may spell a shorter one by chance."""
    return tokens * math.log(max(batch.classes - 1, 1)) > math.log(1e6)


def _looks_trained(sample: Sample) -> bool:
    """The best class of a trained network stays for some frames, or is the blank; that of noise keeps changing."""
    return 2 * len(sample.reading) <= sample.frames


def peaky(evidence: Evidence) -> Iterator[Finding]:
    """Sure, mostly blank, and hardly more than a frame per token: the usual end of CTC training, so only a note."""
    numbers = {key: evidence.statistics[key] for key in ("blank_share", "spike_width", "entropy", "confidence")}
    if numbers["spike_width"] is None:
        return
    if numbers["confidence"] > 0.8 and numbers["blank_share"] > 0.5 and numbers["spike_width"] < 2:
        yield Finding("note", "peaky", None, numbers)
