"""What a healthy batch does not have: one function per rule, each with the reason for its threshold.

Faults that the loss raises are in validate/; these rules find what it accepts and what makes no sense. Rules about the
scores are in scores.py, about targets and lengths in targets.py, about what the network gives in network.py; whole.py
has faults of the whole batch, each of which shows in every sample. A new finding is a new function in `RULES`, or in
`CAUSES` if it explains other findings, and its words in ``catalogue/findings.*.json``. No rule may fire on a healthy
batch, nor on one from an untrained network: tests check that on real trainings, real outputs and random batches. May
import moves.py, attempts.py, evidence.py, batch.py and report.py beside it, and what lies below them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ..evidence import Evidence
from ..report import Finding
from . import network, scores, targets, whole

Rule = Callable[[Evidence], Iterator[Finding]]
Cause = Callable[[Evidence], Finding | None]

RULES: tuple[Rule, ...] = (
    targets.exchanged_lengths,
    scores.not_log_probs,
    scores.softmax_over_wrong_axis,
    scores.softmax_twice,
    scores.not_finite,
    targets.padding_of_a_class,
    targets.infeasible,
    targets.impossible,
    targets.mean_is_lost,
    network.all_blank,
    targets.input_length_short,
    network.constant_frames,
    network.unlikely_target,
    targets.frames_unused,
    targets.frozen_frames,
    targets.empty_targets,
    network.peaky,
)

_NUMBERS = frozenset({"not-finite", "not-log-probs", "mean-is-nan", "mean-is-inf"})
_READINGS = frozenset({"unlikely-target", "constant-frames", "all-blank-collapse", "all-blank", "input-length-short"})
_TOKENS = frozenset({"blank-in-target", "token-out-of-range", "target-length-counts-padding"})

# Faults of the whole batch, and what each of them explains. At most one is found: the first.
CAUSES: tuple[tuple[Cause, frozenset[str]], ...] = (
    (scores.weights_not_finite, _NUMBERS),
    (scores.overflow, _NUMBERS | _READINGS | {"peaky", "impossible-target"}),
    (whole.swapped_square, _READINGS),
    (whole.masked_class, _READINGS | {"impossible-target"}),
    (whole.other_blank, _READINGS | _TOKENS | {"peaky"}),
    (whole.shifted, _READINGS | _TOKENS),
    (whole.backwards, _READINGS),
    (whole.exchanged_transcripts, _READINGS),
    (whole.permuted, _READINGS),
    (whole.one_token, _READINGS),
    (whole.sure_and_wrong, _READINGS),
)


def judge(evidence: Evidence, faults: Sequence[Finding]) -> list[Finding]:
    """All findings of a batch, the faults of the call first. What a cause explains is left out."""
    found = [_with_loss(fault, evidence) for fault in faults]
    explained: frozenset[str] = frozenset()
    cause = None
    for find, explains in CAUSES:
        cause = find(evidence)
        if cause is not None:
            explained = explains
            break
    rest = [finding for rule in RULES for finding in rule(evidence)]
    kept = [finding for finding in found if finding.code not in explained]
    kept += [] if cause is None else [cause]
    return kept + [finding for finding in rest if finding.code not in explained]


def _with_loss(finding: Finding, evidence: Evidence) -> Finding:
    """A fault after which the batch was read otherwise, with the loss that this gives."""
    loss = evidence.statistics["loss"]
    if finding.code != "lengths-swapped" or loss is None:
        return finding
    return replace(finding, evidence={**finding.evidence, "loss": loss})
