"""Forced alignment of tensors, with the signatures and results of torchaudio's functions of these names.

May import torch, call.py, ctckit.align, and what lies below them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..align import forced_align as forced_align_arrays
from ..errors import CTCError
from ..problem import Problem
from ..results import Status
from ..validate import check_form, check_values
from .call import backend_of, if_on_host


def forced_align(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | None = None,
    target_lengths: Tensor | None = None,
    blank: int = 0,
) -> tuple[Tensor, Tensor]:
    """The most probable label of each frame given the target; as ``torchaudio.functional.forced_align``, for any batch.

    Args:
        log_probs: (N, T, C) natural-log probabilities; any float dtype, strides and device.
        targets: (N, S) tokens, padded.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.

    Returns:
        Labels (N, T), in the dtype of targets, and each one's log-probability (N, T), in that of log_probs. Frames
        beyond a sample's own are labelled blank, with log-probability 0. Both on the device of log_probs. On a GPU with
        Triton the path is found there, and the call waits for it, to know of samples without one; else on the CPU.

    Raises:
        InfeasibleError: a sample has no path.
        CTCError: for anything malformed; the message says where.

    Example:
        >>> log_probs = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]).log()
        >>> forced_align(log_probs, torch.tensor([[1]]))[0]
        tensor([[0, 1, 0]])
    """
    if not isinstance(log_probs, Tensor) or log_probs.ndim != 3:
        raise CTCError(
            f"log_probs has shape {tuple(getattr(log_probs, 'shape', ()))}: expected a tensor (N, T, C), batch first; "
            "for one sample, log_probs[None]"
        )
    if not isinstance(targets, Tensor) or targets.ndim != 2:
        raise CTCError(f"targets has shape {tuple(getattr(targets, 'shape', ()))}: expected a tensor (N, S), padded")
    scores = log_probs.detach().transpose(0, 1)
    if backend_of(scores) == "triton":
        states = _states_on_gpu(scores, targets, input_lengths, target_lengths, blank)
        if states is not None:
            return _labelled(log_probs.detach(), targets, states, blank)
    found = forced_align_arrays(scores, targets, input_lengths, target_lengths, blank)
    labels = torch.full(log_probs.shape[:2], blank, dtype=targets.dtype)
    frame_scores = torch.zeros(log_probs.shape[:2], dtype=log_probs.dtype)
    for n, alignment in enumerate(found):
        used = len(alignment.labels)
        labels[n, :used] = torch.from_numpy(alignment.labels)
        frame_scores[n, :used] = torch.from_numpy(alignment.frame_scores)
    return labels.to(log_probs.device), frame_scores.to(log_probs.device)


def _states_on_gpu(
    scores: Tensor, targets: Tensor, input_lengths: Tensor | None, target_lengths: Tensor | None, blank: int
) -> Tensor | None:
    """The paths' states (N, T); None if a sample has no path, which the CPU has the words for."""
    from ..kernels import triton

    size = len(targets)
    frames = torch.full((size,), len(scores)) if input_lengths is None else input_lengths
    lengths = torch.full((size,), targets.shape[1]) if target_lengths is None else target_lengths
    form = check_form(scores, targets, frames, lengths, blank)
    given = {"targets": targets, "input_lengths": frames, "target_lengths": lengths}
    check_values(form, blank, *(if_on_host(name, values, True) for name, values in given.items()))
    lattices = triton.ctc_lattices(scores, targets, frames, lengths, blank)
    best = triton.best_path(Problem(scores, False, lattices))
    return best.states if bool((best.status == Status.OK).all()) else None


def _labelled(log_probs: Tensor, targets: Tensor, states: Tensor, blank: int) -> tuple[Tensor, Tensor]:
    """Labels and their scores (N, T), from states: token s is 2s + 1, blanks are even, and -1 is beyond the frames."""
    tokens = targets.to(states.device, torch.int64)
    tokens = torch.nn.functional.pad(tokens, (0, 1), value=blank)  # the last blank has no token after it
    labels = tokens.gather(1, states.clamp(min=0).long() // 2).where(states % 2 == 1, blank)
    labels = labels.where(states >= 0, blank)
    frame_scores = log_probs.gather(2, labels[..., None])[..., 0]
    return labels.to(targets.dtype), frame_scores.masked_fill(states < 0, 0)


@dataclass(frozen=True)
class TokenSpan:
    """A token's frames, as torchaudio's class of this name.

    Attributes:
        token: its class.
        start: its first frame.
        end: one past its last frame.
        score: the mean of its frames' scores.
    """

    token: int
    start: int
    end: int
    score: float

    def __len__(self) -> int:
        return self.end - self.start


def merge_tokens(tokens: Tensor, scores: Tensor, blank: int = 0) -> list[TokenSpan]:
    """The spans of equal labels that are not the blank; as ``torchaudio.functional.merge_tokens``.

    Args:
        tokens: (T,) labels by frame, as from :func:`forced_align`.
        scores: (T,) of each frame.
        blank: the blank's class.

    Raises:
        CTCError: the two don't have one dimension and the same size.

    Example:
        >>> merge_tokens(torch.tensor([0, 1, 1, 0, 2]), torch.tensor([0.0, -1.0, -2.0, 0.0, -0.5]))
        [TokenSpan(token=1, start=1, end=3, score=-1.5), TokenSpan(token=2, start=4, end=5, score=-0.5)]
    """
    if tokens.ndim != 1 or tokens.shape != scores.shape:
        raise CTCError(
            f"tokens has shape {tuple(tokens.shape)} and scores {tuple(scores.shape)}: expected (T,), the same for "
            "both; pass one sample of a batch at a time"
        )
    labels, runs = torch.unique_consecutive(tokens, return_counts=True)
    parts = torch.split(scores, runs.tolist())
    ends = runs.cumsum(0).tolist()
    return [
        TokenSpan(label, end - len(part), end, part.mean().item())
        for label, end, part in zip(labels.tolist(), ends, parts, strict=True)
        if label != blank
    ]
