"""A call of the loss on a GPU, by the Triton kernels: nothing that is there is read back, so nobody waits.

Forward sweeps and keeps the occupancies; backward writes the gradient from them, times what comes from above. So the
gradient is written once and rounded once, though nobody on the host knows that factor. May import torch, triton's
kernels, call.py and what lies below it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..kernels import portable, triton
from ..problem import Problem
from ..results import Status
from ..validate import Form, Reduction, check_values
from .call import Lengths, Options, frames_first, if_on_host, reduced


class GPUCall(NamedTuple):
    """A checked call; methods as for :class:`ctckit.torch.call.Call`, with log-scores as tensors."""

    problem: Problem[Tensor]
    status: Tensor  # uint8 (N,), as far as targets and lengths tell
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
        return loss.to(torch.float64 if self.problem.scores.dtype == torch.float64 else torch.float32)

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by plain operations, differentiable as often as one likes. Nobody waits for this one either."""
        scores = frames_first(scores, self.swapped)
        score = portable.log_scores(replace(self.problem, scores=scores))
        score = torch.where(self.status == Status.INVALID, torch.nan, score)
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
    laid_out = frames_first(scores.detach(), swapped)
    lattices = triton.ctc_lattices(
        laid_out,
        tokens if form.batched or tokens.ndim == 2 else tokens[None],
        _integers(input_lengths).reshape(-1),
        _integers(target_lengths).reshape(-1),
        options.blank,
    )
    size = lattices.sizes.size
    weights = torch.ones(size, dtype=torch.float64, device=scores.device)
    if reduction == "mean":
        weights /= lattices.num_tokens.clamp(min=1) * size
    problem: Problem[Tensor] = Problem(laid_out, options.from_logits, lattices)
    return GPUCall(problem, lattices.status, weights, reduction, options.zero_infinity, swapped, form.batched)


def _integers(values: Lengths) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values, np.int64), device="cpu")
