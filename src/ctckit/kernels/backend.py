"""The one protocol of all backends: sums over paths, their derivatives, and the best path, over one Problem.

``reference`` and ``native`` take a ``Problem`` of NumPy arrays, ``portable`` and ``triton`` one of tensors. May import
results.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from ..errors import CTCError
from ..results import BestPaths, Posteriors

A = TypeVar("A")  # an array of NumPy's, or a tensor
P = TypeVar("P", contravariant=True)  # a Problem of those


@dataclass(eq=False)
class Gradients(Generic[A]):
    """Where to write the gradients of Σ weights · (-score). None: not wanted.

    Every entry is written: 0 for a sample without a path, NaN for one whose frames are not finite.

    Attributes:
        scores: (T, N, C), like the problem's scores.
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


def added_gradients(problem: Any, wanted: Sequence[bool], empty: Callable[[tuple[int, ...]], A]) -> Gradients[A]:
    """Memory for gradients by what is added to the scores of a problem.

    Args:
        problem: of arrays or of tensors.
        wanted: which are wanted, in the order of :class:`Gradients`, without the scores.
        empty: makes memory of a shape.
    """
    (size, most), classes = problem.lattices.labels.shape, problem.scores.shape[2]
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
        """Log-scores; also writes the gradients that are wanted. ``weights``: (N,), 1 by default."""

    def posteriors(self, problem: P, *, threads: int | None = None) -> Posteriors[A]:
        """Occupancies by state and by class; scores must be log-probabilities."""

    def best_path(self, problem: P, *, threads: int | None = None) -> BestPaths[A]:
        """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states."""


def cannot_take(backend: str, what: str, instead: str) -> CTCError:
    """The error for what a backend does not support."""
    return CTCError(f"the {backend} backend cannot take {what} yet: {instead}")
