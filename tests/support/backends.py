"""The implementations of the sweeps that tests run, with one interface on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from oracles import ORACLE_EPS, Textbook

from ctckit.kernels import native, reference
from ctckit.kernels.backend import Gradients, Totals
from ctckit.problem import ArrayProblem
from ctckit.results import BestPaths, Posteriors
from support.batches import DTYPES, Array, Batch, decode, problem_of
from support.budgets import Budget, TritonBudget, assert_matches
from support.installed import HAS_TORCH, HAS_TRITON, MOST_INTERPRETED, has_gpu
from support.triton import Triton

Item = TypeVar("Item")


@dataclass(frozen=True)
class Backend:
    """One implementation of the sweeps: reference, torch's operations, Triton's, the kernels of an instruction set."""

    name: str

    @property
    def is_triton(self) -> bool:
        return self.name == "triton"

    def some(self, cases: Sequence[Item], few: Sequence[Item], most: Sequence[Item] | None = None) -> Sequence[Item]:
        """All cases; in Triton's interpreter, which takes 2 ms per frame, only few, or in `make test-long` most."""
        if not self.is_triton or has_gpu():
            return cases
        return most if MOST_INTERPRETED and most is not None else few

    @property
    def exact(self) -> bool:
        """Whether it computes in float64 for scores of any dtype."""
        return self.name in ("reference", "portable")

    def total(self, problem: ArrayProblem, *, weights: Array | None = None, grad: Array | None = None) -> Array:
        return self.totals(problem, weights=weights, gradients=None if grad is None else Gradients(grad)).score

    def totals(self, problem: ArrayProblem, **options: Any) -> Totals:
        return self._module().total(problem, **options)

    def posteriors(self, problem: ArrayProblem) -> Any:
        return self._module().posteriors(problem)

    def best_path(self, problem: ArrayProblem) -> BestPaths:
        return self._module().best_path(problem)

    def budget(self, scores: Array, dtype: str, oracle: float, repeating: bool = False) -> Budget:
        """The error that this backend's results may have, on scores of a dtype."""
        if self.is_triton:
            return TritonBudget(scores, dtype, oracle, repeating)
        return Budget(scores, "float64" if self.exact else dtype, oracle, repeating)

    def score_and_gradient(self, problem: ArrayProblem, weights: Array | None = None) -> tuple[Array, Array]:
        """Log-scores and gradient in float64; the gradient is written over NaN, so that a missing entry shows."""
        if self.exact:
            grad = np.full(problem.scores.shape, np.nan)
        elif problem.scores.dtype == np.uint16:
            grad = np.full(problem.scores.shape, 0x7FC1, np.uint16)
        else:
            grad = np.full(problem.scores.shape, np.nan, problem.scores.dtype)
        score = self.total(problem, weights=weights, grad=grad)
        return score, decode(grad)

    def _module(self) -> Any:
        if self.name == "reference":
            return reference
        if self.name == "portable":
            return Portable
        if self.is_triton:
            return Triton
        native.use_instruction_set(self.name)
        return native


class Portable:
    """The portable backend on arrays, in float64, which shows its rules."""

    @staticmethod
    def total(problem: ArrayProblem, *, weights: Array | None = None, gradients: Gradients | None = None) -> Totals:
        import torch

        from ctckit.kernels import portable

        outputs = {} if gradients is None else gradients.arrays()
        wanted = {name: torch.from_numpy(out) for name, out in outputs.items()}
        found = portable.total(
            Portable.problem(problem),
            weights=None if weights is None else torch.from_numpy(weights),
            gradients=Gradients(**wanted, adds_softmax=gradients is not None and gradients.adds_softmax),
        )
        return Totals(found.score.numpy(), found.status.numpy())

    @staticmethod
    def posteriors(problem: ArrayProblem) -> Posteriors:
        from ctckit.kernels import portable

        found = portable.posteriors(Portable.problem(problem))
        return Posteriors(found.states.numpy(), found.classes.numpy(), found.score.numpy(), found.status.numpy())

    @staticmethod
    def best_path(problem: ArrayProblem) -> BestPaths:
        from ctckit.kernels import portable

        found = portable.best_path(Portable.problem(problem))
        return BestPaths(found.states.numpy(), found.score.numpy(), found.status.numpy())

    @staticmethod
    def problem(problem: ArrayProblem) -> Any:
        import torch

        from ctckit.kernels import portable

        return portable.on_tensors(problem, torch.tensor(decode(problem.scores)))


NATIVE = tuple(Backend(name) for name in native.instruction_sets())
TRITON = (Backend("triton"),) if HAS_TRITON else ()
EXACT = tuple(Backend(name) for name in ("reference", "portable")[: 2 if HAS_TORCH else 1])
BACKENDS = (*EXACT, *NATIVE, *TRITON)
KERNELS = (*NATIVE, *TRITON)
# Backends that compute in float64 need only one dtype. In the interpreter float32 also represents half precision.
IMPLEMENTATIONS = (
    *((backend, "float64") for backend in EXACT),
    *((kernels, dtype) for kernels in NATIVE for dtype in DTYPES),
    *((kernels, dtype) for kernels in TRITON for dtype in kernels.some(DTYPES, ["float32"])),
)


def check_batch(
    backend: Backend,
    batch: Batch,
    dtype: str,
    truth: Sequence[Textbook],
    *,
    from_logits: bool,
    weights: Array | None = None,
    oracle: float = ORACLE_EPS,
    repeating: bool = False,
    where: Any = "",
) -> None:
    """A whole batch against its truth; frames beyond a sample's own have gradient 0."""
    problem = problem_of(batch, dtype, from_logits=from_logits)
    score, gradient = backend.score_and_gradient(problem, weights)
    held = decode(problem.scores)
    for n, used in enumerate(batch.frames):
        budget = backend.budget(held[:used, n], dtype, oracle, repeating)
        expected = truth[n]._replace(classes=truth[n].classes * (1 if weights is None else weights[n]))
        assert_matches(budget, expected, score[n], gradient[:used, n], (where, n))
        assert not gradient[used:, n].any(), (where, n)
