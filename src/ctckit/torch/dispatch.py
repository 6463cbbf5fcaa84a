"""Chooses the backend of a call, from the device of its scores. This is the only place that does.

May import torch, cpu.py, gpu.py (when a GPU is there) and what they may import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import CTCError
from ..kernels import portable
from ..lattice import Lattice
from ..problem import (
    ArrayProblem,
    all_frames,
    check_added,
    checked_lattice_problem,
    ctc_problem,
    with_added_scores,
    with_values,
)
from ..validate import REDUCTIONS, Fault, Reduction, as_integers, check_lattice_form, check_reduction, check_values
from .arguments import (
    INTEGERS,
    Added,
    Given,
    Lengths,
    Options,
    all_integers,
    as_frames,
    check_tensor,
    checked_form,
    frames_first,
    if_on_host,
    is_transformed,
    shape_frames_first,
    unread_frames,
    values_on_host,
)
from .as_torch import TorchDifferences, ctc_problem_as_torch
from .calls import Call
from .cpu import CPUCall
from .errors import raises_tensor_errors
from .mapped import mapped_call

_TRITON = (3, 4)  # the oldest version known to work
AnyCall = Call[Any]


def backend_of(scores: Tensor) -> Literal["native", "triton", "portable"]:
    """Which backend takes these scores; it follows from the device that they are on."""
    if torch._C._functorch.is_functorch_wrapped_tensor(scores):  # inside torch.func: it has no memory of its own
        return "portable"
    if scores.is_cpu:
        return "native"
    return "triton" if scores.is_cuda and has_triton() else "portable"  # CUDA and ROCm


def goes_into_a_graph(scores: Tensor) -> bool:
    """Whether the loss must be an operator: torch exports, traces or records, or there are no values."""
    if torch._C._len_torch_dispatch_stack() or torch._C._get_tracing_state():
        return not is_transformed(scores)  # transforms of torch.func take torch's operations one by one
    if type(scores) is Tensor:
        return scores.is_meta
    if isinstance(scores, Tensor) and scores.is_nested:
        return False  # an error
    return isinstance(scores, Tensor) and type(scores).__torch_dispatch__ is not Tensor.__torch_dispatch__


@raises_tensor_errors
def check_known_values(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> None:
    """Checks a call whose scores are meta tensors, and whose other arguments may have values. Operators check the rest.

    Raises:
        CTCError: for anything malformed.
    """
    if log_probs.is_meta:
        form, *integers = checked_form(log_probs, targets, input_lengths, target_lengths, options)
        known = (if_on_host(name, values, False) for name, values in zip(INTEGERS, integers, strict=True))
        check_values(form, options.blank, *known, from_logits=options.from_logits)


@cache
def has_triton() -> bool:
    """Whether a Triton that our kernels can use is installed."""
    try:
        import triton
    except ImportError:
        return False
    return tuple(int(part) for part in triton.__version__.split(".")[:2]) >= _TRITON


def checked_call(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> AnyCall:
    """The arguments of :func:`ctckit.torch.ctc_loss`, checked.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = REDUCTIONS.get(options.reduction) or check_reduction(options.reduction)
    form, *given = checked_form(log_probs, targets, input_lengths, target_lengths, options)
    backend = backend_of(log_probs)
    if backend == "triton" and options.blank_in_targets:
        return _call_on_gpu_with_blanks(log_probs, (form, *given), options, how)
    if backend == "triton":
        from .gpu import gpu_call

        return gpu_call(log_probs, (form, *given), options, how)
    batch_first, has_kernel = options.batch_first and form.batched, backend == "native"
    if not has_kernel:
        if isinstance(given[0], Tensor) and is_transformed(given[0]):
            return cast(AnyCall, mapped_call(log_probs, (form, *given), options, how))
        array = unread_frames(log_probs, batch_first)
    elif batch_first or form.dtype == "bfloat16":
        array = as_frames(log_probs, batch_first)
    else:
        array = log_probs.numpy(force=True)
    checked = ctc_problem_as_torch if options.blank_in_targets else ctc_problem
    problem = checked(array, *all_integers(*given), options.blank, from_logits=options.from_logits, form=form)
    weights = problem.lattices.loss_weights(how == "mean")
    below = options.below_log_softmax
    call = CPUCall(problem, weights, how, options.zero_infinity, batch_first, has_kernel, below)
    return call._replace(differences=TorchDifferences.of(problem, options)) if options.as_torch else call


def _call_on_gpu_with_blanks(log_probs: Tensor, given: Given, options: Options, how: Reduction) -> AnyCall:
    """A call whose targets may hold the blank: as lattices of any shape, for which targets are read on the host."""
    from .gpu import GPUCall, gpu_weights

    form, *integers = given
    batch_first = options.batch_first and form.batched
    problem = ctc_problem_as_torch(
        unread_frames(log_probs, batch_first),
        *all_integers(*integers),
        options.blank,
        from_logits=options.from_logits,
        form=form,
    )
    there = portable.on_tensors(problem, frames_first(log_probs.detach(), batch_first))
    lost = None if options.zero_infinity else there.lattices.frames
    weights, zero, below = gpu_weights(there.lattices, how), options.zero_infinity, options.below_log_softmax
    return GPUCall(there, weights, how, zero, batch_first, form.batched, below, lost_is_nan=lost)


def with_added_to(call: AnyCall, scores: Tensor, added: Added) -> AnyCall:
    """The same call with targets, with scores of classes (C,) and of states (N, K) on the device of its scores.

    Raises:
        CTCError: another device, another shape, NaN.
    """
    from .gpu import GPUCall

    has_kernel = _backend_with(scores, added) != "portable"
    if isinstance(call, GPUCall):
        there = portable.with_added(call.problem, *added.detached())
        for name, given, shape in (
            ("class_scores", there.class_scores, there.scores.shape[2:]),
            ("state_scores", there.state_scores, there.lattices.labels.shape),
        ):
            if given is not None:
                check_added(name, values_on_host(given), tuple(shape))
        return call._replace(problem=there, added=added)
    on_cpu = cast(CPUCall, call)
    problem = _with_added_values(on_cpu.problem, added)
    return on_cpu._replace(problem=problem, has_kernel=on_cpu.has_kernel and has_kernel, added=added)


def checked_lattice_call(
    scores: Tensor, lattices: Lattice | Sequence[Lattice], input_lengths: Lengths | None, options: Options, added: Added
) -> AnyCall:
    """The arguments of :func:`ctckit.torch.lattice_loss`, checked.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    batch_first = options.batch_first and getattr(scores, "ndim", 0) == 3
    check_tensor("logits" if options.from_logits else "log_probs", scores)
    given = all_frames(shape_frames_first(scores, options.batch_first)) if input_lengths is None else input_lengths
    lengths: Any = given if isinstance(given, Tensor) else as_integers("input_lengths", given)
    form = check_lattice_form(scores, lengths, from_logits=options.from_logits, batch_first=options.batch_first)
    backend = _backend_with(scores, added)
    known = if_on_host("input_lengths", lengths, options.validate or backend != "triton")
    problem = checked_lattice_problem(
        as_frames(scores, batch_first) if backend == "native" else unread_frames(scores, batch_first),
        form,
        lattices,
        np.zeros(lengths.shape, int) if known is None else known,
        from_logits=options.from_logits,
    )
    problem = _with_added_values(problem, added)
    if backend != "triton":
        weights = problem.lattices.loss_weights(how == "mean")
        has_kernel = backend == "native"
        return CPUCall(problem, weights, how, options.zero_infinity, batch_first, has_kernel, added=added)
    from .gpu import GPUCall, gpu_weights

    laid_out = portable.on_tensors(problem, frames_first(scores.detach(), batch_first))
    laid_out = portable.with_added(laid_out, *added.detached())
    if known is None:
        counts = lengths.reshape(-1).to(scores.device, torch.int64)
        laid_out = replace(laid_out, lattices=replace(laid_out.lattices, frames=counts))  # type: ignore[type-var]
    factors = gpu_weights(laid_out.lattices, how)
    return GPUCall(laid_out, factors, how, options.zero_infinity, batch_first, form.batched, added=added)


def _backend_with(scores: Tensor, added: Added) -> Literal["native", "triton", "portable"]:
    """Which backend takes scores and added tensors, which must be on the scores' device."""
    for name, tensor in added._asdict().items():
        if tensor is None:
            continue
        check_tensor(name, tensor)
        if tensor.device != scores.device:
            raise CTCError(Fault("other-device", name, (), str(tensor.device), str(scores.device), "move-to-scores"))
    transformed = any(tensor is not None and is_transformed(tensor) for tensor in added)
    return "portable" if transformed else backend_of(scores)


def _with_added_values(problem: ArrayProblem, added: Added) -> ArrayProblem:
    """The same batch with the values of tensors on the host; of tensors on a device only the shape is checked."""
    values = {}
    if added.entry_costs is not None:
        values["entry_costs"] = _costs(added.entry_costs, problem)
    if added.long_arc_scores is not None:
        values["long_arc_scores"] = _long_arc_scores(added.long_arc_scores, problem)
    if values:
        problem = replace(problem, lattices=with_values(problem.lattices, **values))
    classes, states = (None if x is None else values_on_host(x) for x in (added.class_scores, added.state_scores))
    return with_added_scores(problem, classes, states)


def _costs(tensor: Tensor, problem: ArrayProblem) -> npt.NDArray[np.float64]:
    costs = values_on_host(tensor)
    costs = costs[None] if costs.ndim == 1 and not problem.batched else costs
    return check_added("entry_costs", costs, problem.lattices.labels.shape, cost=True)


def _long_arc_scores(tensor: Tensor, problem: ArrayProblem) -> npt.NDArray[np.float64]:
    return check_added("long_arc_scores", values_on_host(tensor), problem.lattices.long_arc_scores.shape)
