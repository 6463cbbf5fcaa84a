"""The exact ctc scores of texts that a search found; a beam's scores are sums over the paths that it followed only.

May import kernels/ and problem.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels import native
from ..problem import ctc_problem
from .emissions import Emissions

Tokens = npt.NDArray[np.int32]


def ctc_scores(emissions: Emissions, blank: int, texts: Sequence[Sequence[Tokens]]) -> list[list[float]]:
    """The log-probabilities of each sample's texts: one sweep of the loss for each, over the caller's scores.

    Args:
        emissions: the scores of the batch.
        blank: the blank's class.
        texts: for each sample the tokens of its texts.
    """
    if max(map(len, texts)) <= 1:  # the usual case: one sweep for the whole batch
        first = [found[0] if found else None for found in texts]
        scores = _sweep(emissions.scores, emissions, blank, list(range(len(texts))), first)
        return [[score] if found else [] for score, found in zip(scores, texts, strict=True)]
    totals: list[list[float]] = []
    for n, found in enumerate(texts):
        shared = np.broadcast_to(emissions.scores[:, n : n + 1], _shape(emissions.scores, len(found)))  # no copy
        totals.append(_sweep(shared, emissions, blank, [n] * len(found), found) if found else [])
    return totals


def _shape(scores: npt.NDArray[Any], size: int) -> tuple[int, int, int]:
    return scores.shape[0], size, scores.shape[2]


def _sweep(
    scores: npt.NDArray[Any], emissions: Emissions, blank: int, samples: list[int], texts: Sequence[Tokens | None]
) -> list[float]:
    """The score of one text for each sample; a sample without a text is swept with no tokens and no frames."""
    rows = [np.empty(0, np.int32) if text is None else text for text in texts]
    frames = np.array([0 if text is None else emissions.frames[n] for n, text in zip(samples, texts, strict=True)])
    lengths = np.array([len(row) for row in rows])
    targets = np.concatenate(rows)
    form = emissions.form._replace(size=len(rows), num_tokens=len(targets), padded=False)
    problem = ctc_problem(scores, targets, frames, lengths, blank, from_logits=emissions.from_logits, form=form)
    found: list[float] = native.total(problem, readable=True).score.tolist()  # the search has checked it
    return found
