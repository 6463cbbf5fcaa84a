"""Chooses the backend of a call, from the device of its scores. This is the only place that does.

May import torch, cpu.py, gpu.py (when a GPU is there) and what they may import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import native
from ..kernels import portable
from ..lattice import Lattice
from ..problem import ArrayProblem, check_added, checked_lattice_problem, ctc_problem, with_added_scores
from ..validate import check_reduction
from .arguments import (
    NOTHING,
    Added,
    Lengths,
    Options,
    as_frames,
    checked_form,
    frames_first,
    if_on_host,
    integers,
    is_transformed,
    unread_frames,
)
from .calls import Call
from .cpu import cpu_call, with_added

_TRITON = (3, 4)  # the oldest version known to work
AnyCall = Call[Any, Any]


def backend_of(scores: Tensor) -> Literal["native", "triton", "portable"]:
    """Which backend takes these scores; it follows from the device that they are on."""
    if is_transformed(scores):
        return "portable"
    if scores.is_cpu:
        return "native"
    return "triton" if scores.is_cuda and has_triton() else "portable"  # CUDA and ROCm


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
    how = check_reduction(options.reduction)
    given = checked_form(log_probs, targets, input_lengths, target_lengths, options)
    backend = backend_of(log_probs)
    if backend == "triton":
        from .gpu import gpu_call

        return gpu_call(log_probs, given, options, how)
    batch_first, has_kernel = options.batch_first and given.form.batched, backend == "native"
    problem = ctc_problem(
        as_frames(log_probs, batch_first) if has_kernel else unread_frames(log_probs, batch_first),
        integers("targets", given.targets),
        integers("input_lengths", given.input_lengths),
        integers("target_lengths", given.target_lengths),
        options.blank,
        from_logits=options.from_logits,
        form=given.form,
    )
    return cpu_call(problem, how, options.zero_infinity, batch_first, has_kernel, NOTHING)


def checked_lattice_call(
    scores: Tensor, lattices: Lattice | Sequence[Lattice], input_lengths: Lengths | None, options: Options, added: Added
) -> AnyCall:
    """The arguments of :func:`ctckit.torch.lattice_loss`, checked.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    batch_first = options.batch_first and getattr(scores, "ndim", 0) == 3
    shape = tuple(getattr(scores, "shape", ()))
    rows = shape[:1] if batch_first else shape[1:-1]  # (N,), or () for one sample
    frames = np.full(rows, shape[1 if batch_first else 0]) if input_lengths is None and shape else input_lengths
    no_tokens, none = np.zeros((*rows, 0), int), np.zeros(rows, int)
    given = checked_form(scores, no_tokens, frames, none, options._replace(blank=0))  # type: ignore[arg-type]
    backend = backend_of(scores)
    known = if_on_host("input_lengths", given.input_lengths, options.validate or backend != "triton")
    problem = checked_lattice_problem(
        as_frames(scores, batch_first) if backend == "native" else unread_frames(scores, batch_first),
        given.form,
        lattices,
        none if known is None else known,
        from_logits=options.from_logits,
    )
    problem = _with_added_values(problem, added)
    if backend != "triton":
        return cpu_call(problem, how, options.zero_infinity, batch_first, backend == "native", added)
    from .gpu import GPUCall, gpu_weights

    laid_out = portable.on_tensors(problem, frames_first(scores.detach(), batch_first))
    laid_out = with_added(laid_out, Added(*(None if tensor is None else tensor.detach() for tensor in added)))
    if known is None:
        counts = given.input_lengths.reshape(-1).to(scores.device, torch.int64)
        laid_out = replace(laid_out, lattices=replace(laid_out.lattices, frames=counts))  # type: ignore[type-var]
    weights = gpu_weights(laid_out.lattices, how)
    return GPUCall(laid_out, None, weights, how, options.zero_infinity, batch_first, given.form.batched, added)


def _with_added_values(problem: ArrayProblem, added: Added) -> ArrayProblem:
    """The same batch with the values of tensors on the host; of tensors on a device only the shape is checked."""
    costs, far = added.entry_costs, added.long_arc_scores
    batch = problem.lattices
    if costs is not None or far is not None:
        problem = replace(
            problem,
            lattices=native.LatticeBatch(
                batch.frames,
                batch.num_tokens,
                batch.labels,
                batch.arcs,
                batch.num_states,
                batch.long_arcs,
                batch.entry_costs if costs is None else _values("entry_costs", costs, batch.labels.shape),
                batch.tokens,
                batch.long_arc_scores if far is None else _values("long_arc_scores", far, (len(batch.long_arcs),)),
            ),
        )
    classes, states = (None if x is None else _host_values(x) for x in (added.class_scores, added.state_scores))
    return with_added_scores(problem, classes, states)


def _values(name: str, tensor: Tensor, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    array = _host_values(tensor)
    array = array.reshape(shape) if array.size == int(np.prod(shape)) and array.ndim < len(shape) else array
    checked = -array if name == "entry_costs" else array
    return check_added(name, checked, shape) * (-1 if name == "entry_costs" else 1)


def _host_values(tensor: Tensor) -> npt.NDArray[np.float64]:
    """A tensor's values, or zeros if reading them would wait for a device."""
    array: npt.NDArray[np.float64]
    if tensor.is_cpu and not is_transformed(tensor):
        array = tensor.detach().double().numpy()
    else:
        array = np.zeros(tuple(tensor.shape))
    return array
