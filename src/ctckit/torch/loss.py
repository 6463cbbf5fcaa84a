"""The loss as a torch function and module. May import torch, ctckit.loss and what lies below it.

The gradient is computed together with the loss, already scaled for the reduction, and handed out by the first
``backward``: a second one (``retain_graph=True``) computes it anew. So the usual step allocates one gradient and
copies nothing. Where there is no kernel (another device, second derivatives, torch.func) torch's own operations serve.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..check import check_reduction
from ..kernels import native
from .call import Call, Lengths, Options, checked_call
from .operators import compiled_ctc_loss


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """``torch.nn.functional.ctc_loss``, faster and exact on CPU tensors; elsewhere by torch's own operations.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample; float64, float32, bfloat16 or float16, any strides. -inf is a
            legal probability of 0, and so is anything more than 1.8e8 nats below the best label of its frame (to mask a
            class, use -inf).
        targets: (N, S) padded, or one dimension, all samples end to end; any integer dtype.
        input_lengths: (N,) tensor, list or tuple of frames; a number for one sample.
        target_lengths: (N,) tensor, list or tuple of tokens; a number for one sample.
        blank: the blank's class.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by target length, at least 1, then over the batch).
        zero_infinity: infeasible samples cost 0 instead of +inf. Their gradient is 0 in either case.
        from_logits: ``log_probs`` holds raw scores: log_softmax is part of the loss, and the gradient is theirs. The
            fast way: no log-probabilities are stored.
        batch_first: ``log_probs`` is (N, T, C).

    Returns:
        Nats, in the dtype of ``log_probs`` (float32 for half precision, where the gradient is rounded once).

    Raises:
        CTCError: for anything malformed; the message says where.

    Note:
        Log-probabilities are taken as they are and the gradient is the true derivative, -γ. torch's is
        exp(log_probs) - γ, which is the same below a log_softmax and only there.

    Example:
        >>> logits = torch.zeros(4, 2, 3, requires_grad=True)
        >>> loss = ctc_loss(logits, torch.tensor([[1, 2], [2, 2]]), (4, 4), (2, 2), from_logits=True)
        >>> loss.backward()
        >>> round(loss.item(), 4), logits.grad.shape
        (1.1179, torch.Size([4, 2, 3]))
    """
    options = Options(blank, reduction, zero_infinity, from_logits, batch_first)
    if torch.compiler.is_compiling():
        return compiled_ctc_loss(log_probs, targets, input_lengths, target_lengths, options)
    call = checked_call(log_probs, targets, input_lengths, target_lengths, options)
    if not call.has_kernel:
        return call.portable_loss(log_probs)
    if log_probs.requires_grad and torch.is_grad_enabled():
        loss: Tensor = _CTCLoss.apply(log_probs, call)  # type: ignore[no-untyped-call]
        return loss
    return call.loss(native.total(call.problem, threads=torch.get_num_threads()))


class CTCLoss(torch.nn.Module):
    """``torch.nn.CTCLoss``, faster and exact; arguments as for :func:`ctc_loss`.

    Example:
        >>> CTCLoss(blank=0, from_logits=True)
        CTCLoss(blank=0, reduction='mean', zero_infinity=False, from_logits=True, batch_first=False)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        *,
        from_logits: bool = False,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.blank = blank
        self.reduction = check_reduction(reduction)
        self.zero_infinity = zero_infinity
        self.from_logits = from_logits
        self.batch_first = batch_first

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths) -> Tensor:
        """The loss; shapes as for :func:`ctc_loss`."""
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
            from_logits=self.from_logits,
            batch_first=self.batch_first,
        )

    def extra_repr(self) -> str:
        """The arguments, as ``print`` shows them."""
        names = ("blank", "reduction", "zero_infinity", "from_logits", "batch_first")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)


class _CTCLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, call: Call) -> Tensor:
        ctx.save_for_backward(scores)  # so that torch notices if they are changed before a second backward
        ctx.call = call
        ctx.gradient = call.empty(scores)
        ctx.score = call.fill(ctx.gradient, call.weights)
        return call.loss(ctx.score)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        gradient, ctx.gradient = ctx.gradient, None
        (scores,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True: a gradient that can be differentiated itself
            loss = ctx.call.portable_loss(scores.double()).to(grad_output.dtype)
            (gradient,) = torch.autograd.grad(loss, scores, grad_output, create_graph=True)
            return gradient, None
        return _scaled_gradient(ctx, scores, gradient, grad_output), None


def _scaled_gradient(ctx: Any, scores: Tensor, gradient: Tensor | None, grad_output: Tensor) -> Tensor:
    """The gradient times what comes from above."""
    call: Call = ctx.call
    if gradient is None:
        gradient = call.empty(scores)
        call.fill(gradient, call.weights)
    if grad_output.ndim == 0 and grad_output.item() == 1:
        return gradient
    # An infeasible sample's gradient is 0 whatever it is multiplied with, infinity included.
    factor = np.where(ctx.score == -np.inf, 0, grad_output.detach().double().numpy())
    if scores.dtype in (torch.float16, torch.bfloat16) or not np.isfinite(factor).all():
        # Scaled before it is rounded: afterwards, what a loss scale is to save would be gone. And 0 times inf is none.
        call.fill(gradient, call.weights * factor)
        return gradient
    factors = torch.from_numpy(factor).to(scores.dtype)
    if not call.problem.batched:
        return gradient.mul_(factors)
    return gradient.mul_(factors[:, None, None] if call.swapped else factors[:, None])
