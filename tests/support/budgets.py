"""The error that results in each dtype may have, as bounds derived from the arithmetic.

Bounds on |error| are in half-units of the last place of the kernels' floats.

A path's weight is a product of one emission per frame. Each costs the rounding of its argument (a difference of two
scores, so relative to their spread D; beyond 80 the kernels take it in float64, exactly) and four more: the
exponential, two additions, the product. Roundings are independent, so T of them grow as sqrt(T). (Where frames repeat
each other, so do their roundings, and grow as T.)

- The score collects (4 + D) per frame, and a softmax sum over C classes, added in 8 lanes, half of sqrt(C / 8) more. It
  is held in float64: there the sum of all frames' offsets costs a unit of the last place of its own size.
- An occupancy, at most 1, is a ratio: paths share all but the states near a frame, each frame is divided by its own
  sum, and so roundings from far away cancel. Half of the above, from no more than 64 frames, bounds the rest. (Peers
  that add up float32 logarithms err by the rounding of the whole score instead: a thousand times more at T = 1500.)

An oracle that works on logarithms errs by its own unit times the largest logarithm that it can have met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from oracles import ORACLE_EPS, Textbook

from support.batches import Array
from support.installed import has_gpu

_UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-24, "bfloat16": 2.0**-24}  # the kernels' arithmetic
_ROUND = {
    "float64": 0.0,
    "float32": 0.0,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}  # the gradient's, when written
_STEP = {"float64": 0.0, "float32": 0.0, "float16": 2.0**-25, "bfloat16": 0.0}  # half of the smallest step


@dataclass(frozen=True)
class Budget:
    """The error that one sample's results may have: its used scores (T, C), their dtype, and the oracle's unit."""

    scores: Array
    dtype: str
    oracle: float = ORACLE_EPS

    repeating: bool = False  # all frames alike

    @property
    def occupancy(self) -> float:
        arithmetic = self._frames(64) * (2 + self._ranges.mean() / 2) * _UNIT[self.dtype]
        return float(arithmetic + self._of_the_oracle)

    def gradient(self, truth: Array) -> Array:
        """For a gradient or occupancies by class with these true entries; they are rounded when written."""
        arithmetic = self.occupancy * max(1.0, float(np.abs(truth).max(initial=0)))
        return arithmetic + _ROUND[self.dtype] * (np.abs(truth) + arithmetic) + _STEP[self.dtype]

    def score(self, truth: float) -> float:
        softmax = np.sqrt(self.scores.shape[-1] / 8) / 2
        arithmetic = self._frames() * (4 + self._ranges.max() + softmax) * _UNIT[self.dtype]
        return float(arithmetic + (abs(truth) + self._magnitude) * 2.0**-52 + self._of_the_oracle)

    def _frames(self, most: float = np.inf) -> float:
        count = len(self.scores)
        return count if self.repeating else float(np.sqrt(min(count, most)))

    @property
    def _of_the_oracle(self) -> float:
        return self._frames() * self._magnitude * self.oracle

    @property
    def _magnitude(self) -> float:
        """A bound on any path's log-score, normalised or not."""
        finite = np.where(np.isfinite(self.scores), self.scores, 0)
        largest = np.maximum(np.abs(finite).max(axis=-1), finite.max(axis=-1) - finite.min(axis=-1))
        return float((largest + np.log(self.scores.shape[-1])).sum()) + 1

    @property
    def _ranges(self) -> Array:
        """D of each frame."""
        if not len(self.scores):
            return np.zeros(1)
        finite = np.isfinite(self.scores)
        highest = np.where(finite, self.scores, -np.inf).max(axis=-1)
        lowest = np.where(finite, self.scores, np.inf).min(axis=-1)
        return np.clip(highest - lowest, 0, 80)


class TritonBudget(Budget):
    """The same, with the roundings of at least four frames: fewer do not average out."""

    def _frames(self, most: float = np.inf) -> float:
        return max(super()._frames(most), 2.0)

    def gradient(self, truth: Array) -> Array:
        """The interpreter truncates to bfloat16, where a GPU rounds to nearest."""
        cut = 2.0**-8 if self.dtype == "bfloat16" and not has_gpu() else 0.0
        return super().gradient(truth) + cut * np.abs(truth)


def assert_matches(budget: Budget, truth: Textbook, score: float, gradient: Array, where: Any = "") -> None:
    """A sample's score and gradient (used frames only) are the truth's, within the budget."""
    if truth.score == -np.inf:
        assert score == -np.inf, where
        assert not gradient.any(), where
        return
    error, allowed = abs(score - truth.score), budget.score(truth.score)
    assert error <= allowed, (where, error, allowed)
    errors, bounds = np.abs(gradient - truth.classes), budget.gradient(truth.classes)
    assert (errors <= bounds).all(), (where, float(errors.max()), float(bounds.max()))
