"""What the public calls return. Imports NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating[Any]]


class LossAndGrad(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: nats; (N,) for ``reduction="none"``, else a scalar.
        grad: shape and dtype of the scores. For ``reduction="none"`` each sample holds the gradient of its own loss.
    """

    loss: FloatArray
    grad: FloatArray


@dataclass(frozen=True)
class Posteriors:
    """Occupancies γ: how probable it is, given the target, that a path is in a state at a frame.

    Attributes:
        states: (T, N, K), by lattice state; each used frame of a feasible sample sums to 1, all else is 0.
        classes: (T, N, C), the same by class.
        score: float64 (N,), the total log-score in nats: minus the loss; -inf where the target can't be reached.
    """

    states: FloatArray
    classes: FloatArray
    score: npt.NDArray[np.float64]


@dataclass(frozen=True)
class BestPaths:
    """The most probable path of each sample.

    Attributes:
        states: int32 (N, T), the lattice state at each frame; -1 beyond a sample's frames, and in a sample that has no
            path of a probability above 0.
        score: float64 (N,), the path's log-score in nats; -inf without a path; NaN where a used frame holds NaN or
            +inf, and then there is no path either.
    """

    states: npt.NDArray[np.int32]
    score: npt.NDArray[np.float64]
