"""What a checked call can do, wherever its scores are, and what calls on the CPU and on a GPU share.

May import torch, arguments.py, errors.py and validate/.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..validate import Reduction
from .errors import TensorError

W = TypeVar("W")  # what forward leaves to backward


class Call(Protocol[W]):
    """A checked call of the loss. ``added`` are tensors as in ``arguments.Added``, those that are given."""

    @property
    def has_kernel(self) -> bool:
        """Whether one of our kernels can run; if not, use the portable loss."""

    def evaluate(self) -> Tensor:
        """The loss alone."""

    def sweep(self, scores: Tensor) -> W:
        """Log-scores, and all that the loss and gradients need."""

    def loss(self, swept: W) -> Tensor:
        """The loss that the caller asked for, rounded once."""

    def gradient(self, scores: Tensor, swept: W, grad_output: Tensor | None) -> Tensor:
        """The gradient by the scores, times ``grad_output``; None means 1."""

    def added_gradients(self, swept: W, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by ``Added``, times ``grad_output``; None for what needs none."""

    def tangent(self, gradient: Tensor, tangent: Tensor) -> Tensor:
        """The loss's tangent, given that of the scores and the gradient."""

    def scaled(self, scores: Tensor, score: Tensor, grad_output: Tensor) -> Tensor:
        """The gradient by the scores from log-scores alone, scaled before it is rounded."""

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by torch's operations: on any device, and differentiable any number of times."""


def reduced(
    score: Tensor, weights: Tensor, reduction: Reduction, zero_infinity: bool, batched: bool, heads: int = 0
) -> Tensor:
    """Log-scores (N,) as a loss, in torch's operations; those of all heads, head by head, as losses of each."""
    loss = 0.0 - score  # not -score: a certain target costs 0, not -0
    if zero_infinity:
        loss = torch.where(score == -torch.inf, 0, loss)
    if reduction == "none":
        return loss.reshape(heads, -1) if heads else loss if batched else loss[0]
    return (loss * weights).reshape(heads, -1).sum(1) if heads else (loss * weights).sum()


def inner_product(
    gradient: Tensor, tangent: Tensor, by_sample: bool, batch_first: bool, by_head: bool = False
) -> Tensor:
    """The tangent of a loss, in float32 at least; (N,) of one by sample, (H,) or (H, N) of one by head."""
    products = gradient.to(torch.promote_types(gradient.dtype, torch.float32)) * tangent
    if by_head and not by_sample:
        return products.sum(dim=(1, 2, 3))
    if not by_sample:
        return products.sum()
    return products.sum(dim=(-2, -1) if batch_first else (-3, -1))


def rows_of(scores: Tensor, index: npt.NDArray[np.int64]) -> Tensor:
    """Scores (T, N, C) as (T, M, C), the utterance of each of M targets.

    Its gradient is added in the order of an utterance's targets, on any device: each of the parts has an utterance once
    at most, and parts are added one after the other.
    """
    order = np.argsort(index, kind="stable")
    among = np.arange(len(index)) - np.searchsorted(index[order], index[order])  # of the targets of its utterance
    parts = [order[among == rank] for rank in range(int(among.max()) + 1)]

    def on_device(places: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(places).to(scores.device)

    rows = torch.cat([scores.index_select(1, on_device(index[part])) for part in parts], dim=1)
    return rows.index_select(1, on_device(np.argsort(np.concatenate(parts))))


class Replacement:
    """What blocks of ``replace_torch_ctc`` share with the calls in them."""

    calls = 0  # in the place of torch's loss, in this process
    warned_of_blanks = False


class _Last(threading.local):
    status: Tensor | npt.NDArray[np.uint8] | Callable[[], Tensor] | None = None


_last = _Last()


def remember(status: Tensor | npt.NDArray[np.uint8] | Callable[[], Tensor]) -> None:
    """Keeps the statuses of a call for :func:`last_status`."""
    _last.status = status


def last_status() -> Tensor:
    """What became of each sample in this thread's last eager loss: uint8 (N,), values of :class:`ctckit.Status`.

    On a GPU it is a tensor there: only reading it waits for the loss.

    Raises:
        CTCError: this thread has not computed a loss yet.

    Example:
        >>> import ctckit.torch
        >>> logits = torch.zeros(2, 2, 3)
        >>> logits[0, 1, 0] = torch.nan
        >>> loss = ctckit.torch.ctc_loss(logits, torch.tensor([[1, 1], [1, 0]]), [2, 2], [2, 1], from_logits=True)
        >>> [ctckit.Status(value).name for value in ctckit.torch.last_status().tolist()]
        ['INFEASIBLE', 'NOT_FINITE']
    """
    status = _last.status
    if status is None:
        raise TensorError("this thread has computed no loss yet: expected a call of ctckit.torch.ctc_loss before")
    if callable(status):
        status = status()
    return status if isinstance(status, Tensor) else torch.from_numpy(status)
