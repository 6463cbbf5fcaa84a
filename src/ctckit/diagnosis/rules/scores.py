"""Rules about the scores: their numbers and their kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..evidence import EXPLODED, Evidence
from ..kinds import NORMALISED, blocks
from ..report import Finding

_LARGEST = {
    "float16": float(np.finfo(np.float16).max),
    "bfloat16": 2.0**127 * (2 - 2.0**-7),
    "float32": float(np.finfo(np.float32).max),
    "float64": float(np.finfo(np.float64).max),
}


def not_finite(evidence: Evidence) -> Iterator[Finding]:
    """NaN, +inf, and frames that are -inf throughout. A single -inf is a legal probability of 0."""
    batch = evidence.batch
    for n, bad in enumerate(evidence.bad):
        if bad is None:
            continue
        wrong = np.flatnonzero(~(bad.row < np.inf))
        c = int(wrong[0]) if len(wrong) else 0
        value = float(bad.row[c])
        yield Finding(
            "error",
            "not-finite",
            n,
            {
                "frame": bad.frame,
                "place": batch.place(bad.frame, n),
                "class": c,
                "value": value,
                "frames": bad.frames,
                "all": batch.frames[n],
                "scores": batch.scores_name,
                "dtype": batch.dtype,
                "largest": _LARGEST.get(batch.dtype, np.inf),
            },
            variant="" if len(wrong) else "no-class",
            hint="not-finite/overflow" if value == np.inf and batch.dtype in _LARGEST else "",
        )


def weights_not_finite(evidence: Evidence) -> Finding | None:
    """NaN in every frame of every sample, so that the cause is not one sample's input, but the weights."""
    batch, bad = evidence.batch, evidence.bad
    frames = sum(batch.frames)
    everywhere = all(each is not None and each.undefined for each in bad if each is None or each.frames)
    if not frames or not everywhere or sum(each.frames for each in bad if each is not None) < frames:
        return None
    numbers = {"frames": frames, "samples": len(batch), "scores": batch.scores_name}
    return Finding("error", "weights-not-finite", None, numbers, variant="one" if len(batch) == 1 else "")


def overflow(evidence: Evidence) -> Finding | None:
    """Scores beyond what their dtype holds, or so far apart that no network can learn from them.

    +inf in more than half of the samples; or, in more than half of all frames, a best class that is far above the next.
    With two classes only, such a gap may be a masked class.
    """
    batch = evidence.batch
    infinite = [n for n, bad in enumerate(evidence.bad) if bad is not None and bad.infinite]
    exploded = sum(sample.outputs.exploded for sample in evidence.readable)
    frames = sum(batch.frames)
    numbers = {
        "scores": batch.scores_name,
        "dtype": batch.dtype,
        "largest": _LARGEST.get(batch.dtype, np.inf),
        "frames": exploded,
        "of": frames,
        "gap": EXPLODED,
        "samples": infinite,
        "count": len(infinite),
        "all": len(batch),
    }
    if 2 * len(infinite) > len(batch) and batch.dtype in _LARGEST:
        return Finding("error", "overflow", None, numbers)
    if batch.classes > 2 and 2 * exploded > frames:
        most = max(
            float(np.abs(raw[np.isfinite(raw)]).max(initial=0))
            for n in range(len(batch))
            for _, raw in blocks(batch, n)
        )
        return Finding("error", "overflow", None, {**numbers, "greatest": most}, variant="exploded")
    return None


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


def softmax_twice(evidence: Evidence) -> Iterator[Finding]:
    """A log_softmax of a softmax, whose input was between 0 and 1.

    Then log_probs - their mean + 1/C is the softmax again: no entry below 0, in any frame. An untrained network's small
    logits may do the same by chance, but never with peaks: in half of the frames a class must have 4/C of it or more
    (0.9 if there are few classes), and not always the same class, as in the phase of blanks. Ten frames or more.
    """
    twice = evidence.twice
    if twice.judged < 10 or twice.outside or 2 * twice.peaked < twice.judged or twice.peaks < 2:
        return
    numbers = {"frames": twice.judged, "range": twice.largest_range, "scores": evidence.batch.scores_name}
    yield Finding(
        "error", "softmax-twice", None, numbers, hint="softmax-twice/logits" if evidence.batch.from_logits else ""
    )
