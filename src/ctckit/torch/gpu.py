"""A call of the loss on a GPU, by the Triton kernels: nothing that is there is read back, so nobody waits.

Forward sweeps and keeps the occupancies; backward writes the gradient from them, times what comes from above. So the
gradient is written once and rounded once, though nobody on the host knows that factor. May import torch, triton's
kernels, call.py and what lies below it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..kernels import portable, triton
from ..problem import Lattices, Problem
from ..validate import Form, Reduction, check_values
from .call import Lengths, Options, frames_first, if_on_host, reduced


class GPUCall(NamedTuple):
    """A checked call; methods as for :class:`ctckit.torch.call.Call`, with log-scores as tensors."""

    problem: triton.Problem
    weights: Tensor  # float64 (N,)
    reduction: Reduction
    zero_infinity: bool
    swapped: bool
    batched: bool

    @property
    def has_kernel(self) -> bool:
        """Whether there is one of ours."""
        return True

    def empty(self, scores: Tensor) -> Tensor:
        """Memory for a gradient."""
        return torch.empty_like(scores, memory_format=torch.contiguous_format)

    def evaluate(self) -> Tensor:
        """The loss alone."""
        return self.loss(triton.Sweep(self.problem, keep=False).score)

    def sweep(self, scores: Tensor) -> triton.Sweep:
        """Log-scores, and what the gradient needs."""
        return triton.Sweep(self.problem, keep=True)

    def gradient(self, scores: Tensor, swept: triton.Sweep, grad_output: Tensor | None) -> Tensor:
        """The gradient times what comes from above; None stands for 1."""
        gradient = self.empty(scores)
        weights = self.weights if grad_output is None else self.weights * grad_output.detach().double()
        swept.gradient(frames_first(gradient, self.swapped), weights)
        return gradient

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The same by another sweep."""
        return self.gradient(scores, self.sweep(scores), grad_output)

    def loss(self, score: Tensor) -> Tensor:
        """Log-scores (N,) as what the caller asked for, rounded once."""
        loss = reduced(score, self.weights, self.reduction, self.zero_infinity, self.batched)
        return loss.to(self.problem.real)

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by plain operations, differentiable as often as one likes. Nobody waits for this one either."""
        scores = frames_first(scores, self.swapped)
        lattices = self.problem.lattices
        score = portable.log_scores(Problem(scores, self.problem.from_logits, _layout(self.problem)))
        score = torch.where(lattices.status == triton.WRONG.value, torch.nan, score)
        return reduced(score, self.weights.to(score), self.reduction, self.zero_infinity, self.batched)


def gpu_call(
    scores: Tensor,
    targets: Lengths,
    input_lengths: Lengths,
    target_lengths: Lengths,
    options: Options,
    reduction: Reduction,
    form: Form,
) -> GPUCall:
    """Checks the values of a call that are on the host, or all if `validate` is set; its form has been checked."""
    swapped = options.batch_first and scores.ndim == 3
    check_values(
        form,
        options.blank,
        if_on_host("targets", targets, options.validate),
        if_on_host("input_lengths", input_lengths, options.validate),
        if_on_host("target_lengths", target_lengths, options.validate),
        from_logits=options.from_logits,
    )
    tokens = _integers(targets)
    problem = triton.problem(
        frames_first(scores.detach(), swapped),
        tokens if form.batched or tokens.ndim == 2 else tokens[None],
        _integers(input_lengths).reshape(-1),
        _integers(target_lengths).reshape(-1),
        options.blank,
        from_logits=options.from_logits,
    )
    size = problem.sizes.size
    weights = torch.ones(size, dtype=torch.float64, device=scores.device)
    if reduction == "mean":
        weights /= problem.lattices.lengths.clamp(min=1) * size
    return GPUCall(problem, weights, reduction, options.zero_infinity, swapped, form.batched)


def _integers(values: Lengths) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values, np.int64), device="cpu")


def _layout(problem: triton.Problem) -> Lattices[Tensor]:
    """The portable backend's layout from the kernels' lattices: states of pairs in one row."""
    lattices = problem.lattices
    tokens = lattices.tokens.clamp(max=problem.sizes.classes - 1)
    labels = torch.full((problem.sizes.size, 2 * problem.sizes.pairs - 1), problem.blank, device=tokens.device)
    labels[:, 1::2] = tokens
    arcs = lattices.arcs.transpose(1, 2).flatten(1)[:, :-1]
    # Of a target without a path no state is left, or one too long for the frames would look like the empty one.
    states = torch.where(lattices.status == triton.INFEASIBLE.value, 0, 2 * lattices.lengths + 1)
    arcs = arcs.masked_fill(states[:, None] == 0, 0)
    tokens = torch.full_like(labels, -1, dtype=torch.int32)
    tokens[:, 1::2] = torch.arange(problem.sizes.pairs - 1, device=tokens.device)
    nothing = torch.empty((0, 3), dtype=torch.int32, device=tokens.device)
    return Lattices(
        lattices.frames, lattices.lengths, states, labels, arcs, tokens, None, nothing, nothing[:, 0].double()
    )
