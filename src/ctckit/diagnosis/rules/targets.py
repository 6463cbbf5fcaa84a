"""Rules about targets and lengths."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...lattice import equal_neighbours, frames_needed
from ..attempts import MILLION
from ..batch import Batch
from ..evidence import Evidence
from ..kinds import usable_up_to
from ..report import Finding
from .network import says_something


def exchanged_lengths(evidence: Evidence) -> Iterator[Finding]:
    """Lengths that batch.py has exchanged, because only then the targets have enough frames."""
    batch = evidence.batch
    if batch.exchanged:
        loss = evidence.statistics["loss"]
        feasible = len(batch) - len(evidence.infeasible)
        numbers = {"samples": len(batch), "feasible": feasible, "loss": loss}
        yield Finding("error", "lengths-swapped", None, numbers, variant="" if loss is None else "loss")


def padding_of_a_class(evidence: Evidence) -> Iterator[Finding]:
    """Padding with a class of its own, which occurs at the ends of rows and nowhere else.

    If it were an ordinary token, all of its m uses in a row of S would be at the end with probability 1 / binom(S, m).
    One per row may be an end-of-sentence token, so only rows with two or more count. Only batches whose targets all
    have the full width are looked at, since counting the padding makes them so. The threshold is one in a million for
    the whole batch, so that random targets don't reach it. If the class is an ordinary token besides, only the runs at
    the ends count, each by how often the class is used elsewhere; then it is a note.
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
            return
    for value in ends:
        if value != batch.blank and 0 <= value < batch.classes:
            yield from _used_padding(batch, value, len(ends))


def _used_padding(batch: Batch, value: int, candidates: int) -> Iterator[Finding]:
    """Padding with a class that is an ordinary token too."""
    runs = []
    for target in batch.targets:
        others = np.flatnonzero(target != value)
        runs.append(len(target) - 1 - int(others[-1]) if len(others) else len(target))
    inner = np.concatenate([target[: len(target) - run] for target, run in zip(batch.targets, runs, strict=True)])
    often = (int((inner == value).sum()) + 1) / (len(inner) + 2)
    padded = [run for run in runs if run > 1]
    chance = sum(padded) * math.log(often) + math.log(candidates)
    if len(set(padded)) > 1 and chance < -MILLION:
        numbers = {"target_length": batch.width, "value": value, "padding": runs, "most": max(runs)}
        numbers["uses"] = int((inner == value).sum())
        yield Finding("note", "target-length-counts-padding", None, numbers, variant="used")


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
        never = sorted(c for c, greatest in sample.greatest.items() if greatest == -np.inf)
        share = sample.outputs.impossible / (sample.frames * sample.classes)
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
    undefined = [n for n in range(len(batch)) if evidence.bad[n] is not None and n not in endless]
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
    """A sample whose target goes on in the frames beyond its length.

    Judged by the loss: with all T frames the target must be read well, at less than half a nat per token, and with the
    sample's own frames its loss must be ten nats higher, so that it is 20,000 times less likely. Noise in the padding
    makes targets less likely, except very short ones.
    """
    batch = evidence.batch
    most = len(batch.scores)
    for sample in evidence.samples:
        n = sample.index
        if sample.frames == most or sample.loss < 10 or not says_something(sample.tokens, batch):
            continue
        if not usable_up_to(batch, n, most):
            continue
        whole = evidence.loss_of(n, sample.target, batch.blank, most)
        if whole < 0.5 * sample.tokens and sample.loss - whole > 10:
            last = evidence.last_token(n) + 1
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
    """Half of the frames or more are beyond every length, but change as much as the rest. It may be noise: a note."""
    batch = evidence.batch
    most, longest = len(batch.scores), max(batch.frames, default=0)
    if evidence.scale.axis != 2 or longest < 2 or longest > most // 2:
        return
    moves = np.empty(most - 1)
    step = max(1, 2**16 // batch.scores[0].size)
    with np.errstate(invalid="ignore"):
        for start in range(0, most - 1, step):
            scores = batch.scores[start : start + step + 1].astype(np.float64)
            moves[start : start + step] = np.abs(np.diff(scores, axis=0)).mean(axis=(1, 2))
    inside, beyond = float(moves[: longest - 1].mean()), float(moves[longest:].mean())
    if beyond > inside / 2:
        yield Finding(
            "note",
            "frames-unused",
            None,
            {"longest": longest, "frames": most, "change_beyond": beyond, "change_before": inside},
        )


def frozen_frames(evidence: Evidence) -> Iterator[Finding]:
    """Equal frames, bit for bit, at a sample's beginning or end: perhaps padding that its length counts.

    Three or more of them. Two equal ones may be chance in half precision; if all are the same, another rule says so.
    """
    found = {}
    for sample in evidence.readable:
        changes = np.flatnonzero(~sample.outputs.steps)
        if len(changes):
            head, tail = int(changes[0]), len(sample.outputs.steps) - 1 - int(changes[-1])
            if max(head, tail) > 1:
                found[sample.index] = (head + 1 if head > 1 else 0, tail + 1 if tail > 1 else 0)
    if found:
        numbers = {
            "samples": list(found),
            "count": len(found),
            "all": len(evidence.batch),
            "first": [head for head, _ in found.values()],
            "last": [tail for _, tail in found.values()],
            "most_first": max(head for head, _ in found.values()),
            "most_last": max(tail for _, tail in found.values()),
        }
        one = next(iter(found)) if len(found) == 1 else None
        yield Finding("note", "frozen-frames", one, numbers)


def empty_targets(evidence: Evidence) -> Iterator[Finding]:
    """Targets without a token. The loss takes them: silence is then what the network has to learn."""
    samples = [n for n, target in enumerate(evidence.batch.targets) if not len(target)]
    if samples:
        numbers = {"samples": samples, "count": len(samples), "all": len(evidence.batch)}
        yield Finding(
            "note",
            "empty-target",
            samples[0] if len(samples) == 1 else None,
            numbers,
            variant="all" if len(samples) == len(evidence.batch) else "",
        )
