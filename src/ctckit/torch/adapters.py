"""Alignment in the forms that other people's code asks for: torchaudio's functions by name, NeMo's states.

May import torch, arguments.py, errors.py and align.py; torchaudio when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from torch import Tensor

from .align import forced_align, merge_tokens
from .errors import raises_tensor_errors

__all__ = ["replace_torchaudio_align", "viterbi_decoding"]


@contextmanager
def replace_torchaudio_align() -> Iterator[None]:
    """Makes ``torchaudio.functional.forced_align`` and ``merge_tokens`` ours inside the block, for the whole process.

    So torchaudio's own aligners, such as ``torchaudio.pipelines.MMS_FA.get_aligner()``, take batches, targets of any
    length, and -inf. Names that were imported before stay torchaudio's.

    Raises:
        ImportError: torchaudio is not installed.

    Example:
        >>> with replace_torchaudio_align():  # doctest: +SKIP
        ...     spans = torchaudio.pipelines.MMS_FA.get_aligner()(emission, tokens)
    """
    functional: Any = import_module("torchaudio.functional")
    before = functional.forced_align, functional.merge_tokens
    functional.forced_align, functional.merge_tokens = forced_align, merge_tokens
    try:
        yield
    finally:
        functional.forced_align, functional.merge_tokens = before


@raises_tensor_errors
def viterbi_decoding(
    log_probs_batch: Tensor, y_batch: Tensor, T_batch: Tensor, U_batch: Tensor, viterbi_device: object = None
) -> list[list[int]]:
    """The state of each frame, as NeMo's forced aligner's function of this name.

    Args:
        log_probs_batch: (N, T, C) log-probabilities, where the padding of other samples may be anything.
        y_batch: (N, 2S+1) the classes of the lattice's states, a blank before, between and after tokens; padded.
        T_batch: (N,) frames.
        U_batch: (N,) states.
        viterbi_device: taken and not needed: the path is found where the scores are.

    Returns:
        For each sample and each of its frames, the index of its state, 0 to 2S.

    Raises:
        InfeasibleError: a sample has no path.
        CTCError: for anything malformed; the message says where.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]).log()
        >>> viterbi_decoding(log_probs, torch.tensor([[0, 1, 0]]), torch.tensor([3]), torch.tensor([3]))
        [[0, 1, 2]]
    """
    blank = int(y_batch[0, 0])
    found = forced_align(log_probs_batch, y_batch[:, 1::2], T_batch, U_batch // 2, blank)
    return [row[:frames].tolist() for row, frames in zip(found.states, T_batch.tolist(), strict=True)]
