"""The arguments of a call on tensors: checks of their form, and views of them as arrays.

May import torch, validate/, errors.py and the errors of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import CTCError
from ..validate import Fault, Form, as_integers, check_flag, check_form
from .errors import raises_tensor_errors

HALF = (torch.float16, torch.bfloat16)
Lengths = Tensor | Sequence[int] | int
INTEGERS = ("targets", "input_lengths", "target_lengths")


class Options(NamedTuple):
    """A call's arguments other than tensors and lengths; as for :func:`ctckit.torch.ctc_loss`."""

    blank: int
    reduction: str
    zero_infinity: bool
    from_logits: bool
    batch_first: bool
    validate: bool = False
    as_torch: bool = False  # in the place of torch's loss: an infeasible sample's gradient is NaN
    blank_in_targets: bool = False  # the blank may be a token, as in torch
    below_log_softmax: bool = False  # known of compiled code; eager code looks (graph.py)


@raises_tensor_errors
def checked_flags(options: Options) -> Options:
    """The same options with Python's booleans."""
    return options._replace(
        zero_infinity=check_flag("zero_infinity", options.zero_infinity),
        from_logits=check_flag("from_logits", options.from_logits),
        batch_first=check_flag("batch_first", options.batch_first),
        validate=check_flag("validate", options.validate),
    )


class Added(NamedTuple):
    """Added scores and costs, as tensors that may need a gradient.

    Attributes:
        class_scores: (C,).
        state_scores: (N, K).
        entry_costs: (N, K), instead of the lattices' own.
        long_arc_scores: (J,), instead of the lattices' own.
    """

    class_scores: Tensor | None = None
    state_scores: Tensor | None = None
    entry_costs: Tensor | None = None
    long_arc_scores: Tensor | None = None

    def need_gradients(self) -> list[bool]:
        """Which of them need a gradient."""
        return [tensor is not None and tensor.requires_grad for tensor in self]

    def detached(self) -> Added:
        """The same values outside of any graph."""
        return Added(*(None if tensor is None else tensor.detach() for tensor in self))


_FLOATS = {np.dtype("float64"), np.dtype("float32"), np.dtype("float16")}

NOTHING = Added()  # the usual case, recognised by identity


Given = tuple[Form, Any, Any, Any]  # the form of a call, its targets, input lengths and target lengths


def checked_form(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> Given:
    """Checks shapes and dtypes, without waiting for a device.

    Raises:
        CTCError: the first thing wrong.
    """
    if not isinstance(log_probs, Tensor):  # first, since each call counts on the way of a short loss
        check_tensor("logits" if options.from_logits else "log_probs", log_probs)
    tokens = targets if isinstance(targets, Tensor) else as_integers("targets", targets)
    frames = input_lengths if isinstance(input_lengths, Tensor) else as_integers("input_lengths", input_lengths)
    lengths = target_lengths if isinstance(target_lengths, Tensor) else as_integers("target_lengths", target_lengths)
    from_logits, batch_first = options.from_logits, options.batch_first
    try:
        form = check_form(
            log_probs, tokens, frames, lengths, options.blank, from_logits=from_logits, batch_first=batch_first
        )
    except CTCError:
        whole = whole_numbers(tokens)
        if whole is tokens:
            raise
        return checked_form(log_probs, whole, input_lengths, target_lengths, options)
    return form, tokens, frames, lengths


def whole_numbers(targets: Any) -> Any:
    """Targets as integers if they are floats that hold whole numbers; otherwise as they are.

    Some frameworks, such as Keras, cast all labels to floats. NaN, which padding may be, becomes -1, which is not a
    class. On a device nobody waits for the values: there, all that is not whole does.
    """
    tensor = torch.as_tensor(targets.astype(np.float64)) if getattr(targets, "dtype", None) in _FLOATS else targets
    if not (isinstance(tensor, Tensor) and tensor.is_floating_point()) or tensor.is_meta:
        return targets
    whole = (tensor.detach() == tensor.detach().trunc()) & tensor.detach().isfinite()
    if tensor.is_cpu and not bool((whole | tensor.detach().isnan()).all()):
        index = tuple((~whole).nonzero()[0].tolist())
        raise CTCError(Fault("not-whole", "targets", index, tensor[index].item(), hint="same-vocabulary"))
    return torch.where(whole, tensor.detach().double(), -1).long()


def check_tensor(name: str, given: object) -> None:
    """Checks that an argument is a tensor."""
    if not isinstance(given, Tensor):
        raise CTCError(Fault("not-a-tensor", name, (), type(given).__name__, hint="arrays-elsewhere"))


def as_tensor(values: Any) -> Tensor:
    """Lengths or targets as a tensor; arrays stay on the host, since copying one back from a device would wait."""
    if isinstance(values, Tensor):
        return values.detach() if values.is_floating_point() else values
    return torch.as_tensor(values, device="cpu")


def real_of(scores: Tensor) -> torch.dtype:
    """What losses and occupancies of these scores are computed in: float32 for half precision."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def all_integers(
    targets: Any, input_lengths: Any, target_lengths: Any
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """All of a call's integers as arrays, from any device."""
    if torch._C._functorch.peek_interpreter_stack() is not None:  # inside torch.func
        return (
            integers("targets", targets),
            integers("input_lengths", input_lengths),
            integers("target_lengths", target_lengths),
        )
    return (
        targets.numpy(force=True) if isinstance(targets, Tensor) else targets,
        input_lengths.numpy(force=True) if isinstance(input_lengths, Tensor) else input_lengths,
        target_lengths.numpy(force=True) if isinstance(target_lengths, Tensor) else target_lengths,
    )


def integers(name: str, values: Any) -> npt.NDArray[Any]:
    """Lengths or targets as an array, from any device."""
    if not isinstance(values, Tensor):
        return as_integers(name, values)
    array: npt.NDArray[Any]
    if torch._C._functorch.peek_interpreter_stack() is None:  # not inside torch.func
        array = values.numpy(force=True)
        return array
    values = _same_for_all(name, values)
    with torch._C._DisableFuncTorch():  # inside a transform, even plain tensors have no memory to read
        array = values.numpy(force=True)
        return array


def _same_for_all(name: str, values: Tensor) -> Tensor:
    """Lengths inside of a transform as a plain tensor, which they are if those that are mapped over are all equal."""
    functorch = torch._C._functorch
    while is_transformed(values):
        inner = functorch.get_unwrapped(values)
        if functorch.is_batchedtensor(values):
            with torch._C._DisableFuncTorch():
                rows = inner.movedim(functorch.maybe_get_bdim(values), 0)
                if is_transformed(rows) or name == "targets" or not bool((rows == rows[:1]).all()):
                    raise CTCError(Fault("mapped", name, hint="map-scores-only"))
                inner = rows[0]
        values = inner
    return values


def if_on_host(name: str, values: Any, validate: bool) -> npt.NDArray[Any] | None:
    """Integers as an array; None if they are on a device and must not be read."""
    if isinstance(values, Tensor) and not (validate or is_on_host(values)):
        return None
    return integers(name, values)


def values_on_host(tensor: Tensor) -> npt.NDArray[np.float64]:
    """A tensor's values, or zeros if reading them would wait for a device."""
    if is_transformed(tensor) or not is_on_host(tensor):
        return np.zeros(tuple(tensor.shape))
    array: npt.NDArray[np.float64] = tensor.detach().double().numpy()
    return array


def is_on_host(values: Tensor) -> bool:
    """Whether values can be read without waiting for a device."""
    return values.is_cpu


def is_transformed(scores: Tensor) -> bool:
    """Whether a tensor is a wrapper, inside torch.func's grad, vmap and the like, without memory of its own."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(scores))


def as_frames(tensor: Tensor, batch_first: bool) -> npt.NDArray[Any]:
    """A tensor's memory as an array, frames first; bfloat16, which NumPy lacks, as the integers of its bits."""
    array: npt.NDArray[Any]
    if tensor.dtype == torch.bfloat16:
        array = tensor.detach().view(torch.int16).numpy().view(np.uint16)
    else:
        array = tensor.numpy(force=True)
    return array.swapaxes(-3, -2) if batch_first else array


def unread_frames(scores: Tensor, batch_first: bool) -> npt.NDArray[Any]:
    """A zero-stride stand-in with the scores' shape and precision, for checks that must not touch device memory."""
    array = np.broadcast_to(np.zeros((), np.float64 if scores.dtype == torch.float64 else np.float32), scores.shape)
    return array.swapaxes(-3, -2) if batch_first else array


def shape_frames_first(scores: Any, batch_first: bool) -> tuple[int, ...]:
    """The shape of scores as (T, N, C), or (T, C) for one sample; () of what has no shape."""
    shape = tuple(getattr(scores, "shape", ()))
    return (shape[1], shape[0], shape[2]) if batch_first and len(shape) == 3 else shape


def frames_first(scores: Tensor, batch_first: bool) -> Tensor:
    """Scores as (T, N, C), or (H, T, N, C)."""
    scores = scores.transpose(-3, -2) if batch_first else scores
    return scores.unsqueeze(1) if scores.ndim == 2 else scores
