"""The one protocol of all backends: sums over paths, their derivatives, and the best path, over one Problem.

``reference`` and ``native`` take a ``Problem`` of NumPy arrays, ``portable`` and ``triton`` one of tensors. May import
problem.py, results.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..problem import Array, ArrayProblem
from ..results import BestPaths, Posteriors

A = TypeVar("A")  # an array of NumPy's, or a tensor
P = TypeVar("P", contravariant=True)  # a Problem of those


@dataclass(eq=False)
class Gradients(Generic[A]):
    """Where to write the gradients of Σ weights · (-score). None: not wanted.

    Every entry is written: 0 for a sample without a path, NaN for one whose frames are not finite.

    Attributes:
        scores: (T, N, C), like the problem's scores.
        adds_softmax: of log-probabilities: their gradient is to be softmax - γ, as that of logits, not -γ. Below a
            log_softmax both come to the same, but there -γ loses its digits if the network is sure.
        class_scores: float64 (N, C), by sample: -weight · the expected number of frames in each class.
        state_scores: float64 (N, K): -weight · the expected number of frames in each state.
        entry_costs: float64 (N, K): weight · the expected number of times that each state is entered.
        long_arc_scores: float64 (J,): -weight · the expected number of times that each arc is taken.
    """

    scores: A | None = None
    class_scores: A | None = None
    state_scores: A | None = None
    entry_costs: A | None = None
    long_arc_scores: A | None = None
    adds_softmax: bool = field(default=False, kw_only=True)

    def arrays(self) -> dict[str, A]:
        """Those that are wanted, by name."""
        return {name: value for name, value in vars(self).items() if name != "adds_softmax" and value is not None}


def added_gradients(problem: Any, wanted: Sequence[bool], empty: Callable[[tuple[int, ...]], A]) -> Gradients[A]:
    """Memory for gradients by what is added to the scores of a problem.

    Args:
        problem: of arrays or of tensors.
        wanted: which are wanted, in the order of :class:`Gradients`, without the scores.
        empty: makes memory of a shape.
    """
    most, size, classes = problem.lattices.labels.shape[1], problem.samples, problem.scores.shape[-1]
    shapes = ((size, classes), (size, most), (size, most), (len(problem.lattices.long_arcs),))
    return Gradients(None, *(empty(shape) if want else None for shape, want in zip(shapes, wanted, strict=True)))


@dataclass(eq=False)
class Totals(Generic[A]):
    """Sums over paths.

    Attributes:
        score: float64 (N,), nats: the log of the sum over all paths; -inf without a path, NaN if a frame is not finite.
        status: uint8 (N,), a :class:`ctckit.Status` for each sample.
    """

    score: A
    status: A


class Backend(Protocol[P, A]):
    """What a backend does. ``threads``: how many a call may use by default; some backends ignore it."""

    def total(
        self,
        problem: P,
        *,
        weights: A | None = None,
        gradients: Gradients[A] | None = None,
        threads: int | None = None,
    ) -> Totals[A]:
        """Log-scores of all samples; also writes the gradients of Σ weights·(-score) that are wanted.

        Args:
            problem: the batch.
            weights: float64 (N,) factors of the samples' gradients, 1 by default.
            gradients: where to write them.
            threads: a frontend's default number of threads.
        """

    def posteriors(self, problem: P, *, threads: int | None = None) -> Posteriors[A]:
        """Occupancies by state and by class; scores must be log-probabilities."""

    def best_path(self, problem: P, *, threads: int | None = None) -> BestPaths[A]:
        """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states."""


class ArrayBackend(Backend[ArrayProblem, Array], Protocol):
    """What backends on arrays can do besides, for alignment."""

    def best_path(
        self,
        problem: ArrayProblem,
        *,
        frame_scores: npt.NDArray[np.float64] | None = None,
        visits: npt.NDArray[np.int32] | None = None,
        threads: int | None = None,
    ) -> BestPaths[Array]:
        """Each sample's most probable path, and where asked what it is made of.

        Args:
            problem: the batch.
            frame_scores: float64 (N, T) out: what each frame adds to the path's score: its label's log-probability with
                class and state scores, minus the cost of entering its state, plus the score of the long arc taken
                there; 0 without a path.
            visits: int32 (N, K, 2) out: the path's first frame in each state and one past its last; -1 if it is never
                there.
            threads: a frontend's default number of threads.
        """

    def occupancy_along(
        self, problem: ArrayProblem, states: npt.NDArray[np.int32], *, threads: int | None = None
    ) -> npt.NDArray[np.float64]:
        """(N, T) the occupancies of one state per frame (N, T), those of a path; 0 beyond a sample's frames."""


def cannot_take(backend: str, what: str, instead: str) -> CTCError:
    """The error for what a backend does not support."""
    return CTCError(f"the {backend} backend cannot take {what} yet: {instead}")
