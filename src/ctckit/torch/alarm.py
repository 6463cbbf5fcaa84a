"""The warnings of a training run that fails: at which step, and what a diagnosis says of its batch.

No batch is copied before it fails. May import torch, ctckit.diagnosis and what lies below them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..catalogue import fill, words
from ..diagnosis import Diagnosis, diagnose
from ..diagnosis.kinds import NORMALISED, logsumexp
from ..errors import CTCWarning

_COLLAPSED = frozenset({"all-blank-collapse", "token-collapse"})  # findings to warn about
_CALLER = 6  # frames of the stack from a warning up to who called the monitor

Floats = npt.NDArray[np.float32]

_SPACE = {"en": " ", "zh": ""}


@dataclass(frozen=True)
class Watched:
    """A step's batch, as it was passed: no copies.

    Attributes:
        scores: (T, N, C) or (T, C).
        integers: targets, input lengths and target lengths.
        blank: the blank's class.
        step: the number of the call.
        from_logits: whether the scores are logits.
    """

    scores: Tensor
    integers: tuple[npt.NDArray[Any], ...]
    blank: int
    step: int
    from_logits: bool = True

    def kept(self) -> Watched:
        """A copy that later steps don't change."""
        scores = self.scores.detach().to("cpu", copy=True)
        integers = tuple(array.copy() for array in self.integers)
        return Watched(scores, integers, self.blank, self.step, self.from_logits)

    def diagnosis(self, lang: str) -> Diagnosis:
        """What is wrong with it."""
        targets, frames, tokens = self.integers
        return diagnose(self.scores, targets, frames, tokens, self.blank, from_logits=self.from_logits, lang=lang)


class Alarm:
    """Warns once when numbers are not finite, and once when the network has collapsed.

    Args:
        lang: the warnings' language, "en" or "zh".

    Attributes:
        batch: that of the first alarm, or None.
    """

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.batch: Watched | None = None
        self._given: set[str] = set()
        self._quiet_until = 0

    def numbers(self, stats: Mapping[str, float], picked: Callable[[], Floats], batch: Watched) -> None:
        """Looks at what was measured of a step.

        Args:
            stats: the numbers.
            picked: gives the rows of scores that were looked at.
            batch: the step's batch.
        """
        if "numbers" in self._given:
            return
        for name in ("loss", "peakiness", "grad_norm"):
            value = stats.get(name, 0.0)
            if not math.isfinite(value):
                return self._give("numbers", f"report/alarm/{name}", value, picked(), batch)

    def outputs(self, picked: Floats, tokens: float, batch: Watched) -> None:
        """Checks whether the network has collapsed to one class. Diagnoses only a batch that looks like it.

        Args:
            picked: (M, C) rows of scores.
            tokens: how many tokens of the targets there are for these rows, on average.
            batch: the step's batch.
        """
        if "collapse" in self._given or batch.step < self._quiet_until or not tokens:
            return
        best = picked.argmax(axis=1)
        if (best != best[0]).any():
            return
        sure = 1 / np.exp(picked - picked.max(axis=1, keepdims=True)).sum(axis=1)
        few = float((1 - sure).sum()) < 0.1 * tokens
        if not (few if best[0] == batch.blank else float(sure.mean()) > 0.95):
            return
        self._quiet_until = 2 * batch.step + 1  # a diagnosis takes time, so the next one is not before that step
        found = replace(batch, from_logits=_are_logits(picked)).diagnosis(self.lang)
        if any(finding.code in _COLLAPSED for finding in found.findings):
            self._give("collapse", "report/alarm/collapse", 0.0, picked, batch)

    def _give(self, kind: str, key: str, value: float, picked: Floats, batch: Watched) -> None:
        self._given.add(kind)
        batch = replace(batch, from_logits=_are_logits(picked)).kept()
        self.batch = self.batch or batch
        known = words("findings", self.lang)
        found = batch.diagnosis(self.lang)
        said = [fill(known[key], self.lang, {"step": batch.step, "value": value})]
        if found.healthy:
            said.append(known["report/alarm/healthy"])
        else:
            said += found.findings[0].sentences(self.lang)
        said.append(known["report/alarm/more"])
        warnings.warn(_SPACE[self.lang].join(said), CTCWarning, stacklevel=_CALLER)


def _are_logits(picked: Floats) -> bool:
    """Whether rows of scores are not log-probabilities. Rows that hold NaN or +inf don't count."""
    sums = logsumexp(picked.astype(np.float64), axis=1)
    return not bool((np.abs(sums[~np.isnan(sums)]) <= NORMALISED).all())
