"""A call of the loss by the C++ kernels on the CPU; or on any device by torch's operations, if there is no kernel.

The gradient is computed in the forward pass, already scaled for the reduction, and handed out by the first backward
pass. May import torch, calls.py, arguments.py, as_torch.py, graph.py, ctckit.loss and what lies below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..kernels import native, portable
from ..kernels.backend import Gradients, added_gradients
from ..loss import reduced_loss
from ..problem import ArrayProblem
from ..validate import Reduction
from .arguments import HALF, NOTHING, Added, as_frames, frames_first
from .as_torch import TorchDifferences
from .calls import inner_product, reduced, remember, rows_of
from .graph import is_log_softmax

Array = npt.NDArray[Any]
_CPU = torch.device("cpu")  # there may be another default device


@dataclass
class Swept:
    """What forward leaves to backward on the CPU."""

    score: npt.NDArray[np.float64]  # (N,)
    gradient: Tensor | None  # by the scores, already weighted; handed out once
    added: Gradients[Array] | None  # by what is added, sample by sample, already weighted
    adds_softmax: bool  # to the gradient by the scores, see graph.py
    kept: None = None  # a GPU's


def memory_like(scores: Tensor, classes: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Uninitialised, contiguous memory of the shape of scores, but for the number of classes and the dtype.

    On the CPU a large one is recycled, since new pages take longer than what is written to them. Torch can't resize it.
    """
    kind = scores.dtype if dtype is None else dtype
    shape = scores.shape if classes is None else (*scores.shape[:-1], classes)
    size = math.prod(shape) * kind.itemsize
    if not scores.is_cpu or size < native.RECYCLED:
        return torch.empty(shape, dtype=kind, device=scores.device)
    return torch.from_numpy(native.gradient((size,), np.uint8)).view(kind).view(shape)


class CPUCall(NamedTuple):
    """A checked call, as forward and each backward need it; methods as in :class:`calls.Call`."""

    problem: ArrayProblem
    weights: npt.NDArray[np.float64]
    reduction: Reduction
    zero_infinity: bool
    batch_first: bool
    has_kernel: bool  # our kernels can read the scores' memory
    below_log_softmax: bool = False  # of compiled code, whose scores have no graph to look at
    added: Added = NOTHING
    differences: TorchDifferences | None = None  # between torch's gradient and ours, which the caller wants
    ends: native.Ends = native.Ends.WHOLE

    def evaluate(self) -> Tensor:
        """The loss alone."""
        return self._reduced(self._scores())

    def _scores(self, added: Gradients[Array] | None = None) -> npt.NDArray[np.float64]:
        """Log-scores; also writes gradients of the weighted loss by what is added."""
        threads = torch.get_num_threads()
        totals = native.total(self.problem, weights=self.weights, gradients=added, threads=threads, ends=self.ends)
        remember(self.problem.by_head(totals.status))
        return totals.score

    def sweep(self, scores: Tensor) -> Swept:
        """Log-scores together with the gradient, which costs little more and is needed next.

        But where several losses share one gradient, it waits for their factors.
        """
        added = None if self.added is NOTHING else self._wanted()
        adds_softmax = self.below_log_softmax or (not self.problem.from_logits and is_log_softmax(scores))
        if self.problem.index is not None and self._waits:  # each call counts on the way of a short loss
            return Swept(self._scores(added), None, added, adds_softmax)
        small = scores.nbytes < native.RECYCLED and scores.is_contiguous()
        gradient = torch.empty_like(scores) if small else memory_like(scores)
        return Swept(self._fill(gradient, self.weights, adds_softmax, added), gradient, added, adds_softmax)

    @property
    def _waits(self) -> bool:
        return self.problem.index is not None and self.reduction == "none"

    def loss(self, swept: Swept) -> Tensor:
        """The loss that the caller asked for, rounded once."""
        return self._reduced(swept.score)

    def _reduced(self, score: npt.NDArray[np.float64]) -> Tensor:
        loss = reduced_loss(self.problem, score, self.weights, self.reduction, self.zero_infinity)
        real = torch.float64 if self.problem.real is np.float64 else torch.float32
        return (
            torch.scalar_tensor(loss, dtype=real, device=_CPU)
            if isinstance(loss, float)
            else torch.from_numpy(loss).to(real)
        )

    def gradient(self, scores: Tensor, swept: Swept, grad_output: Tensor | None) -> Tensor:
        """The gradient by the scores, times ``grad_output``; None means 1."""
        gradient, swept.gradient = swept.gradient, None
        computed = gradient is not None
        gradient = memory_like(scores) if gradient is None else gradient
        factor = None if grad_output is None or _is_one(grad_output) else self._factor(swept.score, grad_output)
        # 0 times inf would be NaN.
        in_kernel = factor is not None and (scores.dtype in HALF or not np.isfinite(factor).all())
        if self._waits or in_kernel:
            self._fill(gradient, self.weights if factor is None else self.weights * factor, swept.adds_softmax)
            return gradient
        if not computed:
            self._fill(gradient, self.weights, swept.adds_softmax)
        if grad_output is None or factor is None:
            return gradient
        if self.problem.index is not None:  # a sum over targets, which have one factor
            return gradient.mul_(grad_output.detach().to(gradient.dtype))
        return gradient.mul_(self._by_sample(factor).to(gradient.dtype))

    def _by_sample(self, factor: npt.NDArray[np.float64]) -> Tensor:
        """Factors of samples, or one for all, in a shape that scores can be multiplied with."""
        factors = torch.from_numpy(self.problem.by_head(factor))
        if not self.problem.batched:
            return factors
        return factors[..., None, None] if self.batch_first else factors[..., None, :, None]

    def tangent(self, gradient: Tensor, tangent: Tensor) -> Tensor:
        """The loss's tangent, given that of the scores and the gradient."""
        if self._waits:
            raise NotImplementedError("forward-mode differentiation of losses by target with index: use torch.func.jvp")
        by_sample = self.reduction == "none" and self.problem.batched
        return inner_product(gradient, tangent, by_sample, self.batch_first, bool(self.problem.heads))

    def added_gradients(self, swept: Swept, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by the added tensors, times ``grad_output``."""
        factor = np.broadcast_to(self._factor(swept.score, grad_output), swept.score.shape)
        found = swept.added or Gradients()
        of_arcs = factor[self.problem.lattices.long_arcs[:, 0]]
        scaled = (
            None if found.class_scores is None else (found.class_scores * factor[:, None]).sum(axis=0),
            None if found.state_scores is None else found.state_scores * factor[:, None],
            None if found.entry_costs is None else found.entry_costs * factor[:, None],
            None if found.long_arc_scores is None else found.long_arc_scores * of_arcs,
        )
        return tuple(
            None if value is None or tensor is None else torch.from_numpy(value).reshape(tensor.shape).to(tensor)
            for value, tensor in zip(scaled, self.added, strict=True)
        )

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The gradient anew, scaled before it is rounded: else a loss scale could not save small values."""
        gradient = memory_like(scores)
        self._fill(gradient, self.weights * self._factor(score.numpy(), grad_output), self.below_log_softmax)
        return gradient

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by torch's operations: on any device, and differentiable any number of times."""
        scores = frames_first(scores, self.batch_first)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        heads = self.problem.heads
        problem = portable.on_tensors(self.problem, scores.movedim(0, 1).flatten(1, 2) if heads else scores)
        if self.problem.index is not None:
            problem = replace(problem, scores=rows_of(scores, self.problem.index))
        if heads:
            problem = portable.repeated(problem, heads)
        problem = portable.with_added(problem, *self.added)
        score = portable.log_scores(problem)
        shape = (heads, -1) if heads else (-1,)
        remember(lambda: portable.status(problem, score.detach()).reshape(shape))
        weights = torch.from_numpy(self.weights).to(score)
        return reduced(score, weights, self.reduction, self.zero_infinity, self.problem.batched, heads)

    def _wanted(self) -> Gradients[Array]:
        """Memory for the gradients of the added tensors that need one."""
        return added_gradients(self.problem, self.added.need_gradients(), np.empty)

    def _fill(
        self,
        gradient: Tensor,
        weights: npt.NDArray[np.float64],
        adds_softmax: bool,
        added: Gradients[Array] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Writes the gradients of the weighted loss, in the caller's layout; returns the log-scores (N,)."""
        plain = not self.batch_first and gradient.dtype != torch.bfloat16
        view = gradient.numpy() if plain else as_frames(gradient, self.batch_first)
        if not self.problem.batched:
            view = view[:, None]
        if added is None:
            wanted = Gradients(view, adds_softmax=adds_softmax)
        else:
            wanted = replace(added, scores=view, adds_softmax=adds_softmax)
        threads = torch.get_num_threads()
        totals = native.total(self.problem, weights=weights, gradients=wanted, threads=threads, ends=self.ends)
        remember(self.problem.by_head(totals.status) if self.problem.heads else totals.status)
        if self.differences is not None:
            self.differences.write(frames_first(gradient, self.batch_first), totals.score, weights)
        return totals.score

    def _factor(self, score: npt.NDArray[np.float64], grad_output: Tensor) -> npt.NDArray[np.float64]:
        """``grad_output`` (N,); 0 for an infeasible sample, whose gradient is 0 even times inf."""
        factor = grad_output.detach().double().numpy()
        if self.problem.heads:
            each = factor if factor.ndim == 2 else factor[:, None]
            factor = np.broadcast_to(each, (self.problem.heads, len(score) // self.problem.heads)).reshape(-1)
        return np.where(score == -np.inf, 0, factor)


def _is_one(grad_output: Tensor) -> bool:
    """Whether all factors are 1."""
    return grad_output.item() == 1 if grad_output.ndim == 0 else bool((grad_output == 1).all())
