"""A call of the loss on tensors, checked: what the eager path and the compiled operators share.

Which backend takes it follows from where the scores are; :func:`backend_of` is the one place that says so. A call on a
GPU is gpu.py's, with the same methods. May import torch, ctckit.loss and what lies below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import CTCError
from ..kernels import native, portable
from ..kernels.backend import Gradients
from ..loss import reduced_loss, reduction_weights
from ..problem import ArrayProblem, ctc_problem
from ..validate import Fault, Reduction, as_integers, check_form, check_reduction

HALF = (torch.float16, torch.bfloat16)
_TRITON = (3, 4)  # the oldest that is known to do
Lengths = Tensor | Sequence[int] | int


def backend_of(scores: Tensor) -> Literal["native", "triton", "portable"]:
    """Which backend takes scores, from where they are."""
    if _is_transformed(scores):
        return "portable"
    if scores.is_cpu:
        return "native"
    return "triton" if scores.is_cuda and has_triton() else "portable"  # CUDA and ROCm


def is_on_host(values: Tensor) -> bool:
    """Whether reading values waits for no device."""
    return values.is_cpu


@cache
def has_triton() -> bool:
    """Whether there is a Triton for our kernels."""
    try:
        import triton
    except ImportError:
        return False
    return tuple(int(part) for part in triton.__version__.split(".")[:2]) >= _TRITON


class Options(NamedTuple):
    """What a call says besides its tensors and lengths; as for :func:`ctckit.torch.ctc_loss`."""

    blank: int
    reduction: str
    zero_infinity: bool
    from_logits: bool
    batch_first: bool
    validate: bool = False


class CheckedCall(Protocol):
    """What a call can do, wherever its scores are. Log-scores are arrays on the CPU, tensors on a GPU."""

    @property
    def has_kernel(self) -> bool:
        """Whether there is one of ours; if not, the portable loss must do."""

    def evaluate(self) -> Tensor:
        """The loss alone."""

    def sweep(self, scores: Tensor) -> Any:
        """Log-scores, as ``score``; ``occupancy``, which autograd keeps meanwhile; and what else the gradient needs."""

    def loss(self, score: Any) -> Tensor:
        """Log-scores (N,) as what the caller asked for, rounded once."""

    def gradient(self, scores: Tensor, swept: Any, grad_output: Tensor | None) -> Tensor:
        """The gradient times what comes from above; None stands for 1."""

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The same from log-scores alone, scaled before it is rounded."""

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by plain operations: on any device, and differentiable as often as one likes."""


@dataclass
class Swept:
    """What forward leaves to backward on the CPU."""

    score: npt.NDArray[np.float64]  # (N,)
    gradient: Tensor | None  # already weighted; handed out once
    occupancy: None = None  # a GPU's


class Call(NamedTuple):
    """A checked call on the CPU, or where there is no kernel, as forward and each backward need it."""

    problem: ArrayProblem
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
        gradients = Gradients(view)
        return native.total(self.problem, weights=weights, gradients=gradients, threads=torch.get_num_threads()).score

    def evaluate(self) -> Tensor:
        """The loss alone."""
        return self.loss(native.total(self.problem, threads=torch.get_num_threads()).score)

    def sweep(self, scores: Tensor) -> Swept:
        """Log-scores together with the gradient, which costs little more and is what comes next."""
        gradient = self.empty(scores)
        return Swept(self.fill(gradient, self.weights), gradient)

    def gradient(self, scores: Tensor, swept: Swept, grad_output: Tensor | None) -> Tensor:
        """The gradient times what comes from above; None stands for 1."""
        gradient, swept.gradient = swept.gradient, None
        if gradient is None:
            gradient = self.empty(scores)
            self.fill(gradient, self.weights)
        if grad_output is None or (grad_output.ndim == 0 and grad_output.item() == 1):
            return gradient
        factor = _factor(swept.score, grad_output)
        if scores.dtype in HALF or not np.isfinite(factor).all():  # 0 times inf is none
            self.fill(gradient, self.weights * factor)
            return gradient
        factors = torch.from_numpy(factor).to(scores.dtype)
        if not self.problem.batched:
            return gradient.mul_(factors)
        return gradient.mul_(factors[:, None, None] if self.swapped else factors[:, None])

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The same anew, scaled before it is rounded: afterwards, what a loss scale is to save would be gone."""
        gradient = self.empty(scores)
        self.fill(gradient, self.weights * _factor(score.numpy(), grad_output))
        return gradient

    def loss(self, score: npt.NDArray[np.float64]) -> Tensor:
        """Log-scores (N,) as what the caller asked for, rounded once."""
        loss = reduced_loss(self.problem, score, self.weights, self.reduction, self.zero_infinity)
        real = torch.float64 if self.problem.real is np.float64 else torch.float32
        return torch.scalar_tensor(loss, dtype=real) if isinstance(loss, float) else torch.from_numpy(loss).to(real)

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by plain operations: on any device, and differentiable as often as one likes."""
        scores = frames_first(scores, self.swapped)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        score = portable.log_scores(portable.on_tensors(self.problem, scores))
        weights = torch.from_numpy(self.weights).to(score)
        return reduced(score, weights, self.reduction, self.zero_infinity, self.problem.batched)


def reduced(score: Tensor, weights: Tensor, reduction: Reduction, zero_infinity: bool, batched: bool) -> Tensor:
    """Log-scores (N,) as a loss, in torch's operations."""
    loss = 0.0 - score  # not -score: a certain target costs 0, not -0
    if zero_infinity:
        loss = torch.where(score == -torch.inf, 0, loss)
    if reduction == "none":
        return loss if batched else loss[0]
    return (loss * weights).sum()


def checked_call(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> CheckedCall:
    """The arguments of :func:`ctckit.torch.ctc_loss`, checked.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    if not isinstance(log_probs, Tensor):
        name = "logits" if options.from_logits else "log_probs"
        raise CTCError(Fault("not-a-tensor", name, (), type(log_probs).__name__, hint="arrays-elsewhere"))
    target_integers, frames, lengths = (
        values if isinstance(values, Tensor) else as_integers(name, values)
        for name, values in (
            ("targets", targets),
            ("input_lengths", input_lengths),
            ("target_lengths", target_lengths),
        )
    )
    form = check_form(
        log_probs,
        target_integers,
        frames,
        lengths,
        options.blank,
        from_logits=options.from_logits,
        batch_first=options.batch_first,
    )
    backend = backend_of(log_probs)
    if backend == "triton":
        from .gpu import gpu_call

        return gpu_call(log_probs, targets, input_lengths, target_lengths, options, how, form)
    swapped, has_kernel = options.batch_first and log_probs.ndim == 3, backend == "native"
    problem = ctc_problem(
        _view(log_probs, swapped) if has_kernel else unread(log_probs, swapped),
        integers("targets", target_integers),
        integers("input_lengths", frames),
        integers("target_lengths", lengths),
        options.blank,
        from_logits=options.from_logits,
        form=form,
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


def frames_first(scores: Tensor, swapped: bool) -> Tensor:
    """Scores as (T, N, C)."""
    scores = scores.transpose(0, 1) if swapped else scores
    return scores if scores.ndim == 3 else scores.unsqueeze(1)


def _factor(score: npt.NDArray[np.float64], grad_output: Tensor) -> npt.NDArray[np.float64]:
    """What comes from above (N,). An infeasible sample's gradient is 0 whatever it is multiplied with, inf included."""
    return np.where(score == -np.inf, 0, grad_output.detach().double().numpy())


def unread(scores: Tensor, swapped: bool) -> npt.NDArray[Any]:
    """What checks need of scores that stay where they are: form and precision."""
    array = np.broadcast_to(np.zeros((), np.float64 if scores.dtype == torch.float64 else np.float32), scores.shape)
    return array.swapaxes(0, 1) if swapped else array


def integers(name: str, values: Any) -> npt.ArrayLike:
    """Lengths or targets as an array, from whatever device, or as they are."""
    if not isinstance(values, Tensor):
        return as_integers(name, values)
    if torch._C._functorch.peek_interpreter_stack() is None:  # not inside of torch.func
        return values.numpy(force=True)
    if _is_transformed(values):
        raise CTCError(Fault("mapped", name, hint="map-scores-only"))
    with torch._C._DisableFuncTorch():  # inside of a transform even plain tensors have no memory to look at
        return values.numpy(force=True)


def if_on_host(name: str, values: Any, validate: bool) -> npt.NDArray[Any] | None:
    """Integers as an array; None if they are on a device that nobody is to wait for."""
    if isinstance(values, Tensor) and not (validate or is_on_host(values)):
        return None
    return np.asarray(integers(name, values))
