"""The loss as a torch function and module. May import torch, ctckit.loss and what lies below it.

The gradient is computed together with the loss, already scaled for the reduction, and handed out by the first
``backward``: a second one (``retain_graph=True``) computes it anew. So the usual step allocates one gradient and
copies nothing. Where there is no kernel (another device, second derivatives, torch.func) torch's own operations serve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..check import Problem, Reduction, check_reduction, ctc_problem, not_integers, wrong_dtype
from ..errors import CTCError
from ..kernels import native, portable
from ..loss import reduced_loss, reduction_weights

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
Lengths = Tensor | Sequence[int] | int


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
    how = check_reduction(reduction)
    _check_tensor("logits" if from_logits else "log_probs", log_probs)
    swapped = batch_first and log_probs.ndim == 3
    has_kernel = log_probs.is_cpu and not _is_transformed(log_probs)
    problem = ctc_problem(
        _view(log_probs, swapped) if has_kernel else _unread(log_probs, swapped),
        integers("targets", targets),
        integers("input_lengths", input_lengths),
        integers("target_lengths", target_lengths),
        blank,
        from_logits=from_logits,
        bfloat16=has_kernel and log_probs.dtype == torch.bfloat16,
        shape=log_probs.shape,
    )
    call = _Call(problem, reduction_weights(problem, how), how, zero_infinity, swapped)
    if not has_kernel:
        return call.portable_loss(log_probs)
    if log_probs.requires_grad and torch.is_grad_enabled():
        loss: Tensor = _CTCLoss.apply(log_probs, call)  # type: ignore[no-untyped-call]
        return loss
    return call.loss(native.total(problem, threads=torch.get_num_threads()))


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


class _Call(NamedTuple):
    """A checked call, as forward and each backward need it."""

    problem: Problem
    weights: npt.NDArray[np.float64]
    reduction: Reduction
    zero_infinity: bool
    swapped: bool

    def empty(self, scores: Tensor) -> Tensor:
        """Memory for a gradient: contiguous, whatever the scores are. If recycled, torch can't resize it."""
        if scores.nbytes < native.RECYCLED:
            return torch.empty_like(scores, memory_format=torch.contiguous_format)
        gradient = torch.from_numpy(native.gradient(scores.shape, self.problem.scores.dtype))
        return gradient.view(torch.bfloat16) if scores.dtype == torch.bfloat16 else gradient

    def fill(self, gradient: Tensor, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Writes the gradient of the weighted loss in the caller's layout; returns the log-scores (N,)."""
        view = _view(gradient, self.swapped)
        if not self.problem.batched:
            view = view[:, None]
        return native.total(self.problem, weights=weights, grad=view, threads=torch.get_num_threads())

    def loss(self, score: npt.NDArray[np.float64]) -> Tensor:
        """Log-scores (N,) as what the caller asked for, rounded once."""
        loss = reduced_loss(self.problem, score, self.weights, self.reduction, self.zero_infinity)
        real = torch.float64 if self.problem.real is np.float64 else torch.float32
        return torch.scalar_tensor(loss, dtype=real) if isinstance(loss, float) else torch.from_numpy(loss).to(real)

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by plain operations: on any device, and differentiable as often as one likes."""
        scores = scores.transpose(0, 1) if self.swapped else scores
        scores = scores if self.problem.batched else scores.unsqueeze(1)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        lattices = portable.layout(self.problem, scores.device)
        score = portable.total(scores, lattices, from_logits=self.problem.from_logits)
        loss = 0.0 - score
        if self.zero_infinity:
            loss = torch.where(score == -torch.inf, 0, loss)
        if self.reduction == "none":
            return loss if self.problem.batched else loss[0]
        return (loss * torch.from_numpy(self.weights).to(loss)).sum()


class _CTCLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, call: _Call) -> Tensor:
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
    call: _Call = ctx.call
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


def _view(tensor: Tensor, swapped: bool) -> npt.NDArray[Any]:
    """A tensor's memory as an array, frames first; bfloat16, which NumPy lacks, as the integers of its bits."""
    array: npt.NDArray[Any]
    if tensor.dtype == torch.bfloat16:
        array = tensor.detach().view(torch.int16).numpy().view(np.uint16)
    else:
        array = tensor.numpy(force=True)
    return array.swapaxes(0, 1) if swapped else array


def _is_transformed(scores: Tensor) -> bool:
    """Whether a tensor stands for others, inside of torch.func's grad, vmap and the like: it has no memory itself."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(scores))


def _unread(scores: Tensor, swapped: bool) -> npt.NDArray[Any]:
    """What checks need of scores that stay where they are: form and precision."""
    array = np.broadcast_to(np.zeros((), np.float64 if scores.dtype == torch.float64 else np.float32), scores.shape)
    return array.swapaxes(0, 1) if swapped else array


def _check_tensor(name: str, scores: Tensor) -> None:
    if not isinstance(scores, Tensor):
        raise CTCError(f"{name} is a {type(scores).__name__}: expected a torch.Tensor; ctckit.ctc_loss takes arrays")
    if scores.dtype not in _DTYPES:
        raise wrong_dtype(name, str(scores.dtype).removeprefix("torch."), f"{name}.float()")


def integers(name: str, values: Lengths) -> npt.ArrayLike:
    """Lengths or targets as an array, from whatever device, or as they are."""
    if not isinstance(values, Tensor):
        return values
    if _is_transformed(values):
        raise CTCError(
            f"{name} is mapped over by torch.func.vmap: expected the same {name} for all; only scores may be mapped"
        )
    if values.is_floating_point():
        raise not_integers(name, str(values.dtype).removeprefix("torch."))
    if torch._C._functorch.peek_interpreter_stack() is None:
        return values.numpy(force=True)
    with torch._C._DisableFuncTorch():  # inside of a transform even plain tensors have no memory to look at
        return values.numpy(force=True)
