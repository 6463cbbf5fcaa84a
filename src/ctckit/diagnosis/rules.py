"""What a healthy batch does not have: one function per rule, each with the reason for its threshold.

Faults that the loss raises are in validate/; these rules find what it accepts and what makes no sense. A new finding is
a new function in `RULES`, and its words in ``catalogue/findings.*.json``. No rule may fire on a healthy batch, nor on
one from an untrained network: tests check that on real trainings, real outputs and random batches. May import
evidence.py, batch.py and report.py beside it, and what lies below them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from ..lattice import equal_neighbours, frames_needed
from .batch import Batch
from .evidence import (
    NORMALISED,
    Evidence,
    Sample,
    is_finite,
    loss_of,
    normalised,
    unusable,
)
from .report import Finding

Rule = Callable[[Evidence], Iterator[Finding]]


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """NaN, +inf, and frames that are -inf throughout. A single -inf is a legal probability of 0."""
    batch = evidence.batch
    for n in range(len(batch)):
        scores = batch.used(n)
        frames = np.flatnonzero(unusable(scores)).tolist()
        if not frames:
            continue
        row = scores[frames[0]]
        wrong = np.flatnonzero(~(row < np.inf))
        c = int(wrong[0]) if len(wrong) else 0
        value = float(row[c])
        yield Finding(
            "error",
            "not-finite",
            n,
            {
                "frame": frames[0],
                "class": c,
                "value": value,
                "frames": len(frames),
                "all": len(scores),
                "scores": batch.scores_name,
            },
            variant="" if len(wrong) else "no-class",
        )


_KINDS = {
    "log-probabilities": "",
    "logits": "logits",
    "probabilities": "probabilities",
    "negated log-probabilities": "negated",
}


def not_log_probs(evidence: Evidence) -> Iterator[Finding]:
    """Frames whose probabilities don't sum to 1."""
    scale = evidence.scale
    off = np.abs(scale.deviation) > NORMALISED  # NaN, where nothing is judged, is not
    judged = int(np.isfinite(scale.deviation).sum())
    if scale.axis != 2 or not off.any():
        return
    size = np.where(off, np.abs(scale.deviation), 0)
    t, n = map(int, np.unravel_index(int(size.argmax()), size.shape))
    worst = float(scale.deviation[t, n])
    variant = _KINDS[scale.kind]
    yield Finding(
        "error",
        "not-log-probs",
        None,
        {"frames": int(off.sum()), "of": judged, "frame": t, "sample": n, "logsumexp": worst, "looks_like": scale.kind},
        variant=variant,
        hint=f"not-log-probs/{variant}" if variant else "",
    )


def softmax_over_wrong_axis(evidence: Evidence) -> Iterator[Finding]:
    """Normalised, but along frames or along the batch."""
    scale = evidence.scale
    if scale.axis == 2:
        return
    mean = float(np.nanmean(scale.deviation))
    yield Finding(
        "error",
        "softmax-over-wrong-axis",
        None,
        {"axis": scale.axis, "logsumexp": mean, "looks_like": scale.kind},
        variant=("frames", "batch")[scale.axis],
    )


def swapped_square(evidence: Evidence) -> Iterator[Finding]:
    """Batch-first with as many samples as frames, where shapes say nothing.

    With the two axes swapped, every sample must be more likely, and the batch must be read well, at less than half a
    nat per token. Only a trained network does that, unless the targets are so short that noise could spell them.
    """
    batch, samples = evidence.batch, evidence.samples
    frames, size, _ = batch.scores.shape
    if frames != size or size < 4 or len(samples) < size or evidence.scale.axis != 2:
        return
    turned = []
    for sample in samples:
        scores = batch.scores[sample.index, : sample.frames].astype(np.float64)
        if unusable(scores).any():
            return
        log_probs = normalised(scores, evidence.scale.kind)
        turned.append(loss_of(log_probs, sample.target, batch.blank))
    before, after = sum(sample.loss for sample in samples), sum(turned)
    tokens = sum(sample.tokens for sample in samples)
    better = all(new < sample.loss for new, sample in zip(turned, samples, strict=True))
    if better and after < 0.5 * tokens and _says_something(tokens, batch):
        yield Finding(
            "warning",
            "batch-first",
            None,
            {"loss": before, "swapped": after, "samples": size, "scores": batch.scores_name},
        )


def padding_of_a_class(evidence: Evidence) -> Iterator[Finding]:
    """Padding with a class of its own, which occurs at the ends of rows and nowhere else.

    If it were an ordinary token, all of its m uses in a row of S would be at the end with probability 1 / binom(S, m).
    One per row may be an end-of-sentence token, so only rows with two or more count. Only batches whose targets all
    have the full width are looked at, since counting the padding makes them so. The threshold is one in a million for
    the whole batch, so that random targets don't reach it.
    """
    batch = evidence.batch
    if batch.width is None or len(batch) < 3 or any(len(target) != batch.width for target in batch.targets):
        return
    ends = Counter(int(target[-1]) for target in batch.targets if len(target))
    for value, _ in ends.most_common():
        if value == batch.blank or not 0 <= value < batch.classes:
            continue  # values.py finds these
        counts = [int((target == value).sum()) for target in batch.targets]
        at_end = all(
            (target[len(target) - m :] == value).all() for target, m in zip(batch.targets, counts, strict=True)
        )
        padded = [m for m in counts if m > 1]
        chance = math.prod(1 / math.comb(batch.width, m) for m in padded)
        if at_end and len(set(padded)) > 1 and chance * len(ends) < 1e-6:
            yield Finding(
                "warning",
                "target-length-counts-padding",
                None,
                {"target_length": batch.width, "value": value, "padding": counts, "most": max(counts)},
            )


def infeasible(evidence: Evidence) -> Iterator[Finding]:
    """A target that needs more frames than there are."""
    batch = evidence.batch
    for n in evidence.infeasible:
        target = batch.targets[n]
        equal = equal_neighbours(target)
        yield Finding(
            "error",
            "infeasible",
            n,
            {
                "needed": frames_needed(target),
                "frames": batch.frames[n],
                "tokens": len(target),
                "equal_pairs": [[s - 1, s] for s in equal],
                "blanks": len(equal),
                "pairs": [f"{s - 1}-{s} ({target[s]})" for s in equal],
            },
            variant="equal" if equal else "",
        )


def impossible(evidence: Evidence) -> Iterator[Finding]:
    """Enough frames, but every path meets a probability of 0."""
    for sample in evidence.samples:
        if sample.loss < np.inf or sample.index in evidence.infeasible:
            continue
        never = sorted({int(c) for c in sample.target if np.isneginf(sample.log_probs[:, c]).all()})
        share = float(np.isneginf(sample.log_probs).mean())
        yield Finding(
            "error",
            "impossible-target",
            sample.index,
            {"never": never, "share": share, "frames": sample.frames, "scores": evidence.batch.scores_name},
            variant="never" if never else "",
        )


def mean_is_lost(evidence: Evidence) -> Iterator[Finding]:
    """The samples that make the batch's mean inf or NaN, and the mean without them."""
    batch = evidence.batch
    endless = sorted({*evidence.infeasible, *(sample.index for sample in evidence.samples if sample.loss == np.inf)})
    undefined = [n for n in range(len(batch)) if not is_finite(batch, n) and n not in endless]
    value, guilty = ("nan", undefined) if undefined else ("inf", endless)  # NaN wins
    if not guilty:
        return
    without = evidence.statistics["loss"]
    yield Finding(
        "error",
        "mean-is-nan" if value == "nan" else "mean-is-inf",
        guilty[0] if len(guilty) == 1 else None,
        {"samples": guilty, "count": len(guilty), "all": len(batch), "mean_of_the_rest": without},
        variant="" if without is None else "rest",
    )


def input_length_short(evidence: Evidence) -> Iterator[Finding]:
    """Frames beyond the length that hold the target.

    Judged by the loss: with all T frames the target must be read well, at less than half a nat per token, and with the
    sample's own frames its loss must be ten nats higher, so that it is 20,000 times less likely. Noise in the padding
    makes targets less likely, except very short ones.
    """
    batch = evidence.batch
    most = len(batch.scores)
    for sample in evidence.samples:
        n = sample.index
        scores = batch.scores[:, n].astype(np.float64)
        if sample.frames == most or sample.loss < 10 or unusable(scores).any():
            continue
        if not _says_something(sample.tokens, batch):
            continue
        log_probs = normalised(scores, evidence.scale.kind)
        whole = loss_of(log_probs, sample.target, batch.blank)
        if whole < 0.5 * sample.tokens and sample.loss - whole > 10:
            peaks = log_probs.argmax(axis=1)
            last = int(np.flatnonzero(peaks != batch.blank)[-1]) + 1
            yield Finding(
                "warning",
                "input-length-short",
                n,
                {
                    "input_length": sample.frames,
                    "last_signal": last,
                    "all": most,
                    "loss": sample.loss,
                    "loss_of_all": whole,
                },
            )


def frames_unused(evidence: Evidence) -> Iterator[Finding]:
    """Half of the frames or more are beyond every length, but change as much as the rest. They may be noise: a note."""
    batch = evidence.batch
    most, longest = len(batch.scores), max(batch.frames, default=0)
    if evidence.scale.axis != 2 or longest < 2 or longest > most // 2:
        return
    scores = batch.scores.astype(np.float64)
    with np.errstate(invalid="ignore"):
        moves = np.abs(np.diff(scores, axis=0)).mean(axis=(1, 2))
    inside, beyond = float(moves[: longest - 1].mean()), float(moves[longest:].mean())
    if beyond > inside / 2:
        yield Finding(
            "note",
            "frames-unused",
            None,
            {"longest": longest, "frames": most, "change_beyond": beyond, "change_before": inside},
        )


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
        if sample.frames < 3 or sample.log_probs.shape[1] < 2 or sample.errors == 0:
            continue
        low, high = sample.log_probs.min(axis=0), sample.log_probs.max(axis=0)
        moved = float(np.subtract(high, low, where=high > low, out=np.zeros_like(high)).max())
        if moved < 1e-3:
            label = int(sample.greedy[0])
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
    plain misreading. And the reading must be long enough to mean something.
    """
    for sample in evidence.samples:
        if sample.loss == np.inf or not sample.tokens / 2 <= len(sample.reading) <= 3 * sample.tokens:
            continue
        if not _says_something(len(sample.reading), evidence.batch):
            continue
        sure = float(np.exp(sample.best / sample.frames))
        gap = sample.loss + sample.best
        wrong = sample.errors / max(sample.tokens, len(sample.reading))
        if sure > 0.8 and wrong >= 0.7 and gap > max(20, 4 * sample.errors) and _looks_trained(sample):
            yield Finding(
                "warning",
                "unlikely-target",
                sample.index,
                {
                    "gap": gap,
                    "confidence": sure,
                    "errors": sample.errors,
                    "tokens": sample.tokens,
                    "read": len(sample.reading),
                    "reading": sample.reading,
                    "target": sample.target.tolist(),
                },
            )


def _says_something(tokens: int, batch: Batch) -> bool:
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


RULES: tuple[Rule, ...] = (
    not_log_probs,
    softmax_over_wrong_axis,
    swapped_square,
    not_finite,
    padding_of_a_class,
    infeasible,
    impossible,
    mean_is_lost,
    all_blank,
    input_length_short,
    constant_frames,
    unlikely_target,
    frames_unused,
    peaky,
)
