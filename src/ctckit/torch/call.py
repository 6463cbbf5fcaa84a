"""A call of the loss on tensors, checked: what the eager path and the compiled operators share.

May import torch, ctckit.loss and what lies below it.
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


class Options(NamedTuple):
    """What a call says besides its tensors and lengths; as for :func:`ctckit.torch.ctc_loss`."""

    blank: int
    reduction: str
    zero_infinity: bool
    from_logits: bool
    batch_first: bool


class Call(NamedTuple):
    """A checked call, as forward and each backward need it."""

    problem: Problem
    weights: npt.NDArray[np.float64]
    reduction: Reduction
    zero_infinity: bool
    swapped: bool
    has_kernel: bool  # ours can read the scores' memory; if not, torch's operations must do

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


def checked_call(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> Call:
    """The arguments of :func:`ctckit.torch.ctc_loss`, checked.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    _check_tensor("logits" if options.from_logits else "log_probs", log_probs)
    swapped = options.batch_first and log_probs.ndim == 3
    has_kernel = log_probs.is_cpu and not _is_transformed(log_probs)
    problem = ctc_problem(
        _view(log_probs, swapped) if has_kernel else _unread(log_probs, swapped),
        integers("targets", targets),
        integers("input_lengths", input_lengths),
        integers("target_lengths", target_lengths),
        options.blank,
        from_logits=options.from_logits,
        bfloat16=has_kernel and log_probs.dtype == torch.bfloat16,
        shape=log_probs.shape,
    )
    return Call(problem, reduction_weights(problem, how), how, options.zero_infinity, swapped, has_kernel)


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
    if values.is_floating_point():
        raise not_integers(name, str(values.dtype).removeprefix("torch."))
    if torch._C._functorch.peek_interpreter_stack() is None:  # not inside of torch.func
        return values.numpy(force=True)
    if _is_transformed(values):
        raise CTCError(
            f"{name} is mapped over by torch.func.vmap: expected the same {name} for all; only scores may be mapped"
        )
    with torch._C._DisableFuncTorch():  # inside of a transform even plain tensors have no memory to look at
        return values.numpy(force=True)
