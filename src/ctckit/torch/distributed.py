"""The mean over all samples of all processes: not the mean of their means.

May import torch, arguments.py and errors.py.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from .arguments import Lengths
from .errors import TensorError


def global_mean(
    losses: Tensor, target_lengths: Lengths | None = None, group: dist.ProcessGroup | None = None
) -> Tensor:
    """This rank's share of the mean loss over all samples of all ranks, for training with DistributedDataParallel.

    DDP averages the ranks' gradients. So with ``reduction="mean"`` the step follows the mean over ranks of each rank's
    own mean: a sample in a batch of 3 counts twice as much as one in a batch of 6. That is the mean over all samples if
    all batches are of one size, and only then. (``reduction="sum"`` gives the sum over all samples divided by the
    number of ranks.)

    What is returned here, the sum of this rank's losses · ranks / samples of all ranks, has the right gradient for any
    sizes: averaged by DDP, it is that of the one mean, as a single process with the whole batch computes it. The
    average of the returned values is the mean loss; a single rank's value is only its share.

    Args:
        losses: (N,) nats, from ``reduction="none"``; N may differ from rank to rank. It may be 0.
        target_lengths: (N,) tokens; if given, each loss is first divided by its own (at least 1), as ``"mean"`` does.
        group: the ranks over which DDP averages; all of them by default.

    Returns:
        A scalar. Without an initialised process group, the mean over the N samples.

    Raises:
        CTCError: if losses or target_lengths don't have one number per sample. It is raised before anything is sent, so
            the other ranks wait for this one until their timeout.

    Example:
        >>> losses = torch.tensor([6.0, 2.0, 1.0])
        >>> global_mean(losses).item(), global_mean(losses, target_lengths=(3, 1, 0)).item()
        (3.0, 1.6666666269302368)
    """
    if losses.ndim != 1:
        raise TensorError(
            f"losses has shape {tuple(losses.shape)}: expected (N,), a loss for each sample; compute them with "
            "reduction='none'"
        )
    if target_lengths is not None:
        losses = losses / _divisors(target_lengths, losses)
    ranks, samples = 1, torch.tensor(len(losses), device=losses.device)
    if dist.is_available() and dist.is_initialized():
        ranks = dist.get_world_size(group)
        dist.all_reduce(samples, group=group)
    return losses.sum() * ranks / samples.clamp(min=1)


def _divisors(target_lengths: Lengths, losses: Tensor) -> Tensor:
    lengths = torch.as_tensor(target_lengths, device=losses.device)
    if lengths.shape != losses.shape:
        raise TensorError(
            f"target_lengths has shape {tuple(lengths.shape)}: expected {tuple(losses.shape)}, one for each of the "
            f"N={len(losses)} losses"
        )
    return lengths.clamp(min=1)
