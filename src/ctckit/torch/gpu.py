"""A call of the loss on a GPU, by the Triton kernels: nothing on the device is read back, so the host never waits.

Forward sweeps and keeps the occupancies; backward writes the gradient from them, times ``grad_output``. So the gradient
is written once and rounded once, though the host never knows that factor. May import torch, calls.py, arguments.py,
graph.py, kernels/ and what lies below them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..kernels import portable, triton
from ..kernels.backend import Gradients, added_gradients
from ..problem import LatticeBatch, Problem
from ..results import Status
from ..validate import Reduction, check_values
from .arguments import INTEGERS, NOTHING, Added, Given, Options, as_tensor, frames_first, if_on_host, real_of
from .calls import inner_product, reduced, remember
from .graph import is_log_softmax


class GPUCall(NamedTuple):
    """A checked call; methods as in :class:`calls.Call`, with log-scores as tensors."""

    problem: Problem[Tensor]
    weights: Tensor  # float64 (N,)
    reduction: Reduction
    zero_infinity: bool
    batch_first: bool
    batched: bool
    below_log_softmax: bool = False  # of compiled code, whose scores have no graph to look at
    added: Added = NOTHING
    lost_is_nan: Tensor | None = None  # (N,) frames; of a sample without a path they have gradients of NaN, as torch's

    @property
    def has_kernel(self) -> bool:
        """Always: the Triton kernels."""
        return True

    def evaluate(self) -> Tensor:
        """The loss alone."""
        loss = self._empty_loss()
        swept = triton.Sweep(self.problem, keep=False, loss=loss)
        remember(swept.status)
        found: Tensor = loss.out
        return found

    def sweep(self, scores: Tensor) -> triton.Sweep:
        """Log-scores, the loss, and what the gradient needs."""
        adds_softmax = self.below_log_softmax or (not self.problem.from_logits and is_log_softmax(scores))
        wanted, loss = replace(self._wanted(), adds_softmax=adds_softmax), self._empty_loss()
        swept = triton.Sweep(self.problem, keep=True, wanted=wanted, loss=loss)
        remember(swept.status)
        return swept

    def loss(self, swept: triton.Sweep) -> Tensor:
        """The loss that the caller asked for, rounded once; handed out once."""
        loss, swept.loss = swept.loss, None  # else the loss would hold itself, through autograd's graph
        if loss is None:
            raise RuntimeError("the loss of this sweep has been handed out")
        return loss

    def gradient(self, scores: Tensor, swept: triton.Sweep, grad_output: Tensor | None) -> Tensor:
        """The gradient by the scores, times ``grad_output``; None means 1."""
        gradient = torch.empty_like(scores, memory_format=torch.contiguous_format)
        view = frames_first(gradient, self.batch_first)
        swept.gradient(view, self.weights, None if grad_output is None else grad_output.detach())
        if self.lost_is_nan is not None:
            used = torch.arange(len(view), device=view.device)[:, None] < self.lost_is_nan
            view.masked_fill_((used & (swept.score == -torch.inf))[..., None], torch.nan)
        return gradient

    def tangent(self, gradient: Tensor, tangent: Tensor) -> Tensor:
        """The loss's tangent, given that of the scores and the gradient."""
        return inner_product(gradient, tangent, self.reduction == "none" and self.batched, self.batch_first)

    def added_gradients(self, swept: triton.Sweep, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by the added tensors, times ``grad_output``."""
        wanted = self._wanted()
        swept.write(wanted, self.weights * grad_output.detach().double())
        by_class = None if wanted.class_scores is None else wanted.class_scores.sum(dim=0)
        found = (by_class, wanted.state_scores, wanted.entry_costs, wanted.long_arc_scores)
        return tuple(
            None if value is None or tensor is None else value.reshape(tensor.shape).to(tensor)
            for value, tensor in zip(found, self.added, strict=True)
        )

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The same by another sweep."""
        return self.gradient(scores, self.sweep(scores), grad_output)

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by torch's operations, differentiable any number of times. The host does not wait here either."""
        there = replace(self.problem, scores=frames_first(scores, self.batch_first))
        problem = portable.with_added(there, *self.added)
        score = portable.log_scores(problem)
        lattices = self.problem.lattices
        if isinstance(lattices, triton.CTCLattices):  # which know the samples whose targets or lengths are wrong
            score = torch.where(lattices.status == Status.INVALID, torch.nan, score)
        return reduced(score, self.weights.to(score), self.reduction, self.zero_infinity, self.batched)

    def _empty_loss(self) -> triton.Loss:
        """Memory for the loss, and what it is."""
        each, scores = self.reduction == "none", self.problem.scores
        shape = (scores.shape[1],) if each and self.batched else ()
        out = torch.empty(shape, dtype=real_of(scores), device=scores.device)
        return triton.Loss(out, None if each else self.weights, self.zero_infinity)

    def _wanted(self) -> Gradients[Tensor]:
        """Memory for the gradients of the added tensors that need one."""
        if self.added is NOTHING:
            return Gradients()
        empty = partial(self.problem.scores.new_empty, dtype=torch.float64)
        return added_gradients(self.problem, self.added.need_gradients(), empty)


def gpu_call(scores: Tensor, given: Given, options: Options, reduction: Reduction) -> GPUCall:
    """A call with targets. Values are checked if they are on the host, or all if ``validate`` is set."""
    form, *integers = given
    batch_first = options.batch_first and scores.ndim == 3
    check_values(
        form,
        options.blank,
        *(if_on_host(name, values, options.validate) for name, values in zip(INTEGERS, integers, strict=True)),
        from_logits=options.from_logits,
    )
    targets, frames, lengths = (as_tensor(values) for values in integers)
    laid_out = frames_first(scores.detach(), batch_first)
    lattices = triton.ctc_lattices(
        laid_out,
        targets if form.batched or targets.ndim == 2 else targets[None],
        frames.reshape(-1),
        lengths.reshape(-1),
        options.blank,
    )
    problem: Problem[Tensor] = Problem(laid_out, options.from_logits, lattices, form.batched)
    weights = gpu_weights(lattices, reduction)
    lost = frames.reshape(-1).to(scores.device) if options.as_torch and not options.zero_infinity else None
    zero, below = options.zero_infinity, options.below_log_softmax
    return GPUCall(problem, weights, reduction, zero, batch_first, form.batched, below, lost_is_nan=lost)


def gpu_weights(lattices: LatticeBatch[Tensor], reduction: Reduction) -> Tensor:
    """The weight of each sample's loss in a reduction (N,)."""
    if reduction != "mean":
        return torch.ones_like(lattices.num_tokens, dtype=torch.float64)
    if isinstance(lattices, triton.CTCLattices):
        return lattices.share
    return (lattices.num_tokens.clamp(min=1) * len(lattices.num_tokens)).double().reciprocal()
