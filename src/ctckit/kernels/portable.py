"""The loss in plain PyTorch operations: on any device that torch has, and differentiable as often as one likes.

Slower than a kernel and, in float32, no more exact than logarithms are; so it serves where there is no kernel, and for
second derivatives. All samples and states at once; a loop over frames only. May import torch, check.py and lattice.py.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..lattice import Arc
from ..problem import Problem
from .reference import MOVES

FARTHEST = 2.0**28 * math.log(2)  # nats below a frame's best label: what is farther counts as probability 0


class Layout(NamedTuple):
    """The lattices of a batch on the scores' device; K is the largest number of states.

    Attributes:
        labels: int64 (N, K), the class that each state emits.
        arcs: uint8 (N, K), bits of :class:`ctckit.Arc`; 0 beyond a sample's own states.
        frames: int64 (N,), how many are used.
        states: int64 (N,), K of each sample.
    """

    labels: Tensor
    arcs: Tensor
    frames: Tensor
    states: Tensor


def layout(problem: Problem, device: torch.device) -> Layout:
    """A checked batch's lattices."""
    prepared = problem.prepared
    own = np.arange(prepared.labels.shape[1]) < prepared.num_states[:, None]
    labels = np.where(own, prepared.labels, 0).astype(np.int64)
    arcs = np.where(own, prepared.arcs, 0).astype(np.uint8)
    arrays = (labels, arcs, prepared.frames.astype(np.int64), prepared.num_states.astype(np.int64))
    return Layout(*(torch.from_numpy(array).to(device) for array in arrays))


def total(scores: Tensor, lattices: Layout, *, from_logits: bool) -> Tensor:
    """Log-scores (N,) of scores (T, N, C), with a graph to differentiate, in the scores' dtype.

    The rules are those of all backends: -inf for a target without a path, whatever its frames hold, with gradient 0;
    NaN for a sample with NaN or +inf in a used frame; frames beyond a sample's own are not read.
    """
    score = _total(*_emissions(scores, lattices, from_logits=from_logits), lattices)
    return score if len(scores) else score + scores.sum()  # of nothing: a graph even so


def posteriors(log_probs: Tensor, lattices: Layout) -> tuple[Tensor, Tensor]:
    """Occupancies γ by state (T, N, K), and log-scores (N,): γ is the score's derivative by a state's emission."""
    emissions, used = _emissions(log_probs.detach(), lattices, from_logits=False)
    emissions = emissions.requires_grad_()
    with torch.enable_grad():
        score = _total(emissions, used, lattices)
        (gamma,) = torch.autograd.grad(score.sum(), emissions)
    return gamma, score.detach()


def _emissions(scores: Tensor, lattices: Layout, *, from_logits: bool) -> tuple[Tensor, Tensor]:
    """What each state emits at each frame (T, N, K), and which frames are used (T, N): none of hopeless samples."""
    used = torch.arange(len(scores), device=scores.device)[:, None] < lattices.frames
    flat = torch.zeros((), dtype=torch.float32, device=scores.device)
    hopeful = _swept(flat.expand(len(scores), *lattices.labels.shape), used, lattices) > -torch.inf
    used = used & hopeful
    read = torch.where(used[..., None], scores, 0)  # the rest can spoil neither a sum nor a derivative
    whole = torch.where((read < torch.inf).all(dim=2).all(dim=0), 1, torch.nan).to(scores.dtype)
    read = read * whole[:, None]  # one NaN or +inf is NaN for all of its sample, derivatives included
    log_probs = read.log_softmax(-1) if from_logits else read
    emissions = log_probs.gather(2, lattices.labels.expand(len(scores), -1, -1))
    lost = emissions.detach() < emissions.detach().amax(dim=2, keepdim=True) - FARTHEST
    return torch.where(lost, -torch.inf, emissions), used


def _total(emissions: Tensor, used: Tensor, lattices: Layout) -> Tensor:
    """The sweep, and -inf for those who had frames to use and no hope."""
    score = _swept(emissions, used, lattices)
    hopeless = (lattices.frames > 0) & ~used.any(dim=0) if len(used) else lattices.frames > 0
    return torch.where(hopeless, -torch.inf, score)


def _swept(emissions: Tensor, used: Tensor, lattices: Layout) -> Tensor:
    """The recursion over frames: log-scores (N,) of emissions (T, N, K), of frames that are used (T, N)."""
    start = torch.where(lattices.arcs & Arc.START != 0, 0.0, -torch.inf).to(emissions.dtype)
    alpha = start
    for t, emission in enumerate(emissions):
        row = _entered(alpha, lattices) if t else start
        alpha = torch.where(used[t][:, None], row + emission, alpha)
    score = _logsumexp(torch.where(lattices.arcs & Arc.END != 0, alpha, -torch.inf))
    # No frames: the only path is the empty one, and only the empty target accepts it.
    of_nothing = torch.where(lattices.states == 1, 0.0, -torch.inf).to(score.dtype)
    return torch.where(lattices.frames == 0, of_nothing, score)


def _entered(row: Tensor, lattices: Layout) -> Tensor:
    """All ways into each state (N, K) from the frame before."""
    ways = []
    for bit, back in MOVES:
        before = torch.nn.functional.pad(row, (back, 0), value=-torch.inf)[:, : row.shape[1]]
        ways.append(torch.where(lattices.arcs & bit != 0, before, -torch.inf))
    return _logsumexp(torch.stack(ways, dim=-1))


def _logsumexp(values: Tensor) -> Tensor:
    """Over the last axis; where all are -inf so is the result, with derivatives that are 0 and not NaN."""
    top = values.detach().amax(dim=-1, keepdim=True)
    top = torch.where(top > -torch.inf, top, 0)  # NaN, too, is left to the sum
    total = (values - top).exp().sum(dim=-1)
    some = total != 0  # true for NaN
    return torch.where(some, torch.where(some, total, 1).log() + top[..., 0], -torch.inf)
