"""Replaces torch's loss by ours inside a ``with`` block, so that code which calls torch's need not change.

May import torch, arguments.py and loss.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from .arguments import Lengths
from .loss import ctc_loss

_lock = threading.Lock()
# What each open block of the process found. A block that closes puts back what the youngest one found: blocks of
# several threads need not close in order, and what the oldest one found comes back when all are closed.
_found: list[Callable[..., Tensor]] = []


@contextmanager
def replace_torch_ctc() -> Iterator[None]:
    """Makes ``torch.nn.functional.ctc_loss``, and so ``torch.nn.CTCLoss``, ours inside the block.

    It holds for the whole process: other threads also get our loss while the block is open. Blocks can be nested, and
    opened by several threads at once; the last one to close puts back what the first one found, after an exception too.
    A function that was imported by name before (``from torch.nn.functional import ctc_loss``) stays torch's.

    What differs from torch inside the block:

    - The gradient of an infeasible sample is 0, with ``zero_infinity=False`` too, where torch's is NaN.
    - Malformed arguments raise a :class:`ctckit.CTCError` that says where. That includes targets that hold the blank,
      or a number that is not a class, for which torch computes something or reads other memory.
    - The gradient of log-probabilities is the true one, -γ; torch's is exp(log_probs) - γ. If log_softmax comes before
      the loss, as it should, both give the same gradient.
    - float16 and bfloat16 are accepted.

    Example:
        >>> log_probs = torch.zeros(4, 2, 3).log_softmax(-1)
        >>> batch = torch.tensor([[1, 2], [2, 2]]), (4, 4), (2, 2)
        >>> with replace_torch_ctc():
        ...     loss = torch.nn.CTCLoss()(log_probs, *batch)
        >>> round(loss.item(), 4)
        1.1179
    """
    with _lock:
        _found.append(torch.nn.functional.ctc_loss)
        torch.nn.functional.ctc_loss = _ctc_loss
    try:
        yield
    finally:
        with _lock:
            torch.nn.functional.ctc_loss = _found.pop()


def _ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """With the signature of torch's, without our additional arguments."""
    return ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)
