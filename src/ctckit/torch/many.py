"""Losses of which several share a target or an utterance: heads of a network, and targets of one utterance.

A call on the CPU lays out the lattices once and copies no scores; on devices without a kernel it is computed by
torch's operations. On a GPU, and in a graph, the same loss is one of a larger batch. May import torch, dispatch.py and
what that may import.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CTCError
from ..problem import ctc_problem
from ..validate import Fault, check_indexed_form, check_reduction
from .arguments import (
    HALF,
    INTEGERS,
    Lengths,
    Options,
    all_integers,
    as_frames,
    as_tensor,
    check_tensor,
    checked_form,
    integers,
    unread_frames,
    whole_numbers,
)
from .calls import rows_of
from .cpu import CPUCall
from .dispatch import backend_of
from .errors import raises_tensor_errors

Loss = Callable[[Tensor, Any, Any, Any], Tensor]


@raises_tensor_errors
def check_heads(log_probs: Tensor, index: object, options: Options) -> None:
    """Checks the axes of scores of several heads, which go without an index."""
    check_tensor(_name(options), log_probs)
    shape = tuple(log_probs.shape)
    if index is not None:
        raise CTCError(Fault("index-and-heads", "index", (), shape, hint="call-by-head"))
    if not shape[0]:
        raise CTCError(Fault("no-heads", _name(options), (), shape, hint="pass-heads"))


def heads_call(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> CPUCall:
    """The call of scores (H, T, N, C), or (H, N, T, C) with ``batch_first``.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    form, *given = checked_form(log_probs[0], targets, input_lengths, target_lengths, options)
    has_kernel = backend_of(log_probs) == "native"
    array = (as_frames if has_kernel else unread_frames)(log_probs, options.batch_first)
    problem = ctc_problem(array, *all_integers(*given), options.blank, from_logits=options.from_logits, form=form)
    problem = replace(problem, heads=len(log_probs))
    weights = np.tile(problem.lattices.loss_weights(how == "mean"), len(log_probs))
    return CPUCall(problem, weights, how, options.zero_infinity, options.batch_first, has_kernel)


def index_call(
    log_probs: Tensor,
    targets: Lengths,
    input_lengths: Lengths,
    target_lengths: Lengths,
    index: Lengths,
    options: Options,
) -> CPUCall:
    """The call of targets by an index.

    Raises:
        CTCError: for anything malformed; the message says where.
    """
    how = check_reduction(options.reduction)
    check_tensor(_name(options), log_probs)
    frames, lengths, utterances = (
        integers(name, values)
        for name, values in (("input_lengths", input_lengths), ("target_lengths", target_lengths), ("index", index))
    )
    tokens = integers("targets", whole_numbers(targets))
    form, counts, rows = check_indexed_form(
        log_probs,
        tokens,
        frames,
        lengths,
        utterances,
        options.blank,
        from_logits=options.from_logits,
        batch_first=options.batch_first,
    )
    has_kernel = backend_of(log_probs) == "native"
    array = (as_frames if has_kernel else unread_frames)(log_probs, options.batch_first)
    problem = ctc_problem(
        array, tokens, counts, lengths, options.blank, from_logits=options.from_logits, form=form, index=rows
    )
    weights = problem.lattices.loss_weights(how == "mean")
    return CPUCall(problem, weights, how, options.zero_infinity, options.batch_first, has_kernel)


def folded_heads(
    loss: Loss, log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any, options: Options
) -> Tensor:
    """The loss of scores of heads as one of a batch of H * N samples; ``loss`` is without a reduction."""
    heads = log_probs.shape[0]
    scores = log_probs.flatten(0, 1) if options.batch_first else log_probs.movedim(0, 1).flatten(1, 2)
    tokens, frames, lengths = (as_tensor(values) for values in (targets, input_lengths, target_lengths))
    frames, lengths = frames.reshape(-1), lengths.reshape(-1)
    found = loss(
        scores, tokens.repeat(heads, *[1] * (tokens.ndim - 1)), frames.repeat(heads), lengths.repeat(heads)
    ).reshape(heads, -1)
    if options.reduction == "none":
        return found
    if options.reduction == "sum":
        return found.sum(1)
    return (found / lengths.to(found.device).clamp(min=1)).mean(1)


def gathered_rows(
    loss: Loss,
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    index: Lengths,
    options: Options,
) -> Tensor:
    """The loss of targets by an index, of a copy of the scores for each target. The index is read on the host."""
    given = dict(zip(INTEGERS, (targets, input_lengths, target_lengths), strict=True))
    shapes: dict[str, Any] = {
        name: np.ones(tuple(values.shape), np.int64) if isinstance(values, Tensor) else integers(name, values)
        for name, values in given.items()
    }
    *_, utterances = check_indexed_form(
        log_probs,
        shapes["targets"],
        np.minimum(shapes["input_lengths"], log_probs.shape[1 if options.batch_first else 0]),
        shapes["target_lengths"],
        integers("index", index),
        options.blank,
        from_logits=options.from_logits,
        batch_first=options.batch_first,
    )
    rows = rows_of(log_probs.transpose(0, 1) if options.batch_first else log_probs, utterances)
    frames = as_tensor(input_lengths).reshape(-1)
    each = frames[torch.from_numpy(utterances).to(frames.device)]
    return loss(rows.transpose(0, 1) if options.batch_first else rows, targets, each, target_lengths)


def in_float32(log_probs: Tensor) -> Tensor:
    """Half precision as float32, since gradients of an utterance's targets are added before they are rounded."""
    return log_probs.float() if isinstance(log_probs, Tensor) and log_probs.dtype in HALF else log_probs


def _name(options: Options) -> str:
    return "logits" if options.from_logits else "log_probs"
