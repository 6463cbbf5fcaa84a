"""What is wrong with a batch, in words and numbers: for when the loss is inf and nobody knows why.

The loss raises at the first argument that it can't take, and accepts much that makes no sense. A diagnosis goes on: it
reads what it can (batch.py), tells what the scores are (kinds.py), measures (evidence.py), tries other targets and
blanks (attempts.py, moves.py), judges (rules/) and reports (report.py). May import text/ and what lies below it; no
framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..text import Vocabulary
from ..validate import check_flag, check_language
from .batch import read_batch
from .evidence import gather, no_statistics
from .names import Names
from .report import SEVERITIES, Diagnosis, Finding
from .rules import judge

__all__ = ["Diagnosis", "Finding", "diagnose"]


def diagnose(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
    labels: Sequence[str] | Vocabulary | None = None,
    lang: str = "en",
) -> Diagnosis:
    """Looks for anything wrong with a CTC loss's arguments, and with the network that computed them.

    Takes what the loss takes. All faults that the loss would raise are findings, in the loss's words, and no batch
    makes it raise. Faults in many samples that one fault of the whole batch explains are said once, about the batch.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample: an array, a list, or a tensor on any device. If they are
            logits or probabilities, that is a finding, and the rest is judged on them normalised.
        targets: (N, S) padded, or one dimension, all samples end to end.
        input_lengths: (N,) frames of each sample.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class.
        from_logits: `log_probs` holds raw scores, as for the loss; they are normalised first.
        batch_first: a batch's scores are (N, T, C).
        labels: (C,) the classes' names, for the findings' texts: strings, or a vocabulary.
        lang: the language in which the diagnosis is shown, "en" or "zh".

    Returns:
        The findings, worst first, and the batch's statistics. Errors and warnings call for action: healthy batches have
        none, not even those of an untrained network. Notes are for information. ``print`` shows the report,
        ``.text("zh")`` is the Chinese one.

    Raises:
        CTCError: `labels` are not as many as there are classes, `from_logits` or `batch_first` is not a flag, or `lang`
            is not a language of the catalogue.

    Example:
        >>> import numpy as np
        >>> log_probs = np.full((3, 1, 4), -np.log(4)) + np.eye(4)[[1, 2, 0], None]
        >>> found = diagnose(log_probs, [[2, 2, 1]], [3], [3])
        >>> [(finding.code, finding.sample) for finding in found.findings]
        [('not-log-probs', None), ('infeasible', 0), ('mean-is-inf', 0)]
        >>> print(found.findings[1].message)
        Sample 0 has 3 frames but needs 4: 3 tokens and 1 blank between equal neighbours, 0-1 (2). Its loss is inf.
        >>> [finding.code for finding in diagnose(log_probs, [[2, 2, 9]], [4], [3], blank=4).findings][:3]
        ['blank-out-of-range', 'input-length-out-of-range', 'token-out-of-range']
    """
    check_language(lang)
    from_logits, batch_first = check_flag("from_logits", from_logits), check_flag("batch_first", batch_first)
    batch, faults = read_batch(log_probs, targets, input_lengths, target_lengths, blank, from_logits, batch_first)
    findings = [Finding.of(fault) for fault in faults]
    if batch is None:
        return Diagnosis(tuple(findings), no_statistics(), lang)
    names = None if labels is None else Names(labels, batch.classes, batch.blank)
    evidence = gather(batch)
    findings = [replace(finding, names=names) for finding in judge(evidence, findings)]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))  # stable: in the order of the rules
    return Diagnosis(tuple(findings), evidence.statistics, lang)
