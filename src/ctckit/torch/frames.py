"""Scores by frame as terms and priors take them: checked, frames first, and which of their frames are used.

May import torch, arguments.py, validate/ and errors.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..validate import as_integers, check_flag, check_form, check_lattice_form, check_values, split_targets
from .arguments import (
    INTEGERS,
    Lengths,
    check_tensor,
    frames_first,
    if_on_host,
    integers,
    shape_frames_first,
    unread_frames,
)

BLOCK = 1 << 17  # numbers that are computed with at a time, so that they stay in a CPU's cache


class UsedFrames(NamedTuple):
    """Checked scores of a batch.

    Attributes:
        scores: (T, N, C), a view, or log-probabilities of it.
        unused: bool (T, N, 1), frames beyond a sample's own; None if all are used.
        lengths: int64 (N,), on the device of the scores.
        batched: False if the caller passed a single sample without the batch axis.
    """

    scores: Tensor
    unused: Tensor | None
    lengths: Tensor
    batched: bool

    def cleared(self, values: Tensor) -> Tensor:
        """Values (T, N, …), with 0 in the frames that are not used, whatever is there."""
        return values if self.unused is None else values.masked_fill(self.unused.view(_like(self.unused, values)), 0)

    def as_given(self, losses: Tensor) -> Tensor:
        """Losses (N,), or one of all: for a sample without the batch axis, a number."""
        return losses if self.batched or losses.ndim == 0 else losses[0]

    def log_probabilities(self, from_logits: bool) -> Tensor:
        """(T, N, C) in float32 at least, finite in frames that are not used."""
        wide = self.cleared(widened(self.scores))
        return wide.log_softmax(-1) if from_logits else wide


def used_frames(
    scores: Tensor, input_lengths: Lengths | None, *, from_logits: bool, batch_first: bool, name: str = ""
) -> UsedFrames:
    """Checks scores and lengths, without waiting for a device.

    Args:
        scores: (T, N, C), or (T, C) for one sample.
        input_lengths: (N,), or None for all frames.
        from_logits: whether scores are logits.
        batch_first: whether scores are (N, T, C).
        name: of the scores in errors; by default, that of their kind.

    Raises:
        CTCError: for anything malformed; of lengths on a device only the shape is checked.
    """
    logits, first = check_flag("from_logits", from_logits), check_flag("batch_first", batch_first)
    check_tensor(name or ("logits" if logits else "log_probs"), scores)
    given: Any = input_lengths
    if given is None:
        shape = shape_frames_first(scores, first)
        given = np.full(shape[1:-1], shape[0]) if shape else np.zeros(0, int)
    lengths = given if isinstance(given, Tensor) else as_integers("input_lengths", given)
    form = check_lattice_form(scores, lengths, from_logits=logits, batch_first=first)
    known = if_on_host("input_lengths", lengths, False)
    if known is not None:
        check_values(form, 0, None, known, None, from_logits=logits)
    view = frames_first(scores, first and form.batched)
    counts = torch.as_tensor(lengths).reshape(-1).to(view.device, torch.int64)
    if known is not None and (known >= len(view)).all():
        return UsedFrames(view, None, counts, form.batched)
    unused = (torch.arange(len(view), device=view.device)[:, None] >= counts)[..., None]
    return UsedFrames(view, unused, counts, form.batched)


def target_rows(given: UsedFrames, targets: Tensor, target_lengths: Lengths, blank: int) -> list[npt.NDArray[np.int64]]:
    """Each sample's tokens, on the host.

    Args:
        given: the checked scores.
        targets: (N, S) padded, or one dimension, all samples end to end.
        target_lengths: (N,).
        blank: the blank's class.

    Raises:
        CTCError: for anything malformed.
    """
    names = zip(INTEGERS, (targets, given.lengths, target_lengths), strict=True)
    tokens, frames, lengths = (integers(name, values) for name, values in names)
    if not given.batched:
        frames, lengths = frames.reshape(()), lengths.reshape(())
    unread = unread_frames(given.scores if given.batched else given.scores[:, 0], False)
    form = check_form(unread, tokens, frames, lengths, blank)
    check_values(form, blank, tokens, frames, lengths)
    return [row.astype(np.int64) for row in split_targets(form, tokens, lengths)]


def blocks(scores: Tensor) -> list[tuple[int, int]]:
    """The first frame of each block of frames, and the one after its last; on a device, all frames are one block."""
    frames, size, classes = scores.shape
    step = max(1, BLOCK // max(size * classes, 1)) if scores.is_cpu else max(frames, 1)
    return [(t, min(t + step, frames)) for t in range(0, frames, step)]


def widened(scores: Tensor) -> Tensor:
    """Scores in float32 at least."""
    return scores if scores.dtype == torch.float64 else scores.float()


def _like(mask: Tensor, values: Tensor) -> tuple[int, ...]:
    return (*mask.shape[:2], *[1] * (values.ndim - 2))
