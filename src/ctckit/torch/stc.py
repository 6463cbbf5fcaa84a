"""Star temporal classification, for transcripts that lack words anywhere.

May import torch, loss.py, frames.py, lattice/ and what they may import.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..lattice import LatticeBuilder
from ..validate import check_number
from .arguments import Lengths
from .cpu import memory_like
from .errors import raises_tensor_errors
from .frames import blocks, target_rows, used_frames
from .loss import lattice_loss

MOST_DISTANCE = 700.0  # nats between a gap and its frame's best class; float64 holds the exponential
SMALLEST = 1e-8  # a gap's probability, relative to the frame's best class: a difference has all digits in float64


@raises_tensor_errors
def stc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    star_prob: float = 1.0,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """The loss of star temporal classification: any number of words may be missing, anywhere in the transcript.

    The transcript is read off the frames that are not blank, each token at its first chance, one frame each; every
    other frame that is not blank costs log ``star_prob``.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample, normalised, or logits.
        targets: (N, S) padded, or one dimension, all samples end to end. Read on the host.
        input_lengths: (N,) frames of each sample. Frames beyond are never read.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by target length, at least 1, then over the batch). The
            published code's mean divides by T instead.
        zero_infinity: infeasible samples cost 0 instead of +inf. Their gradient is 0 in either case.
        star_prob: the factor of each frame of a star, in [0, 1]; :func:`star_probability` lets it fall during training.
        from_logits: ``log_probs`` holds raw scores.
        batch_first: ``log_probs`` is (N, T, C).

    Returns:
        Nats.

    Raises:
        CTCError: for anything malformed.

    Source:
        Pratap et al., "Star Temporal Classification: Sequence Classification with Partially Labeled Data" (2022).

    Example:
        >>> scores = torch.zeros(3, 1, 4)
        >>> stc_loss(scores, torch.tensor([[1, 2]]), [3], [2], reduction="sum", from_logits=True)
        tensor(1.8563)
    """
    prob = check_number("star_prob", star_prob, least=0, most=1)
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    rows = target_rows(given, targets, target_lengths, blank)
    lattices = _builder(given.scores.shape[2], blank)(rows)
    scores = _WithGaps.apply(given.scores, given.unused, blank, prob, from_logits)  # type: ignore[no-untyped-call]
    return given.as_given(lattice_loss(scores, lattices, given.lengths, reduction, zero_infinity))


def star_probability(step: int, first: float = 1.0, last: float = 1.0, half_life: float = 1.0) -> float:
    """The schedule of :func:`stc_loss`: from ``first`` to ``last``, half of the way in each ``half_life`` steps.

    Users take a first value of 0.05 to 0.1.

    Example:
        >>> star_probability(1000, first=0.1, last=1.0, half_life=1000)
        0.55
    """
    share: float = 2.0 ** (-step / half_life)
    return last + (first - last) * share


class _WithGaps(torch.autograd.Function):
    """Log-probabilities (T, N, C), and behind them those of gaps: log(p_blank + prob · Σ p of all tokens but c).

    At c = blank, the sum is over all tokens. Blocks of frames stay in the cache. A block in which a gap is far less
    probable than the frame's best class is computed in float64, so that it keeps its digits. On a device, where looking
    for such gaps would wait for it, all blocks are.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, unused: Tensor | None, blank: int, prob: float, from_logits: bool) -> Tensor:
        both = memory_like(scores, 2 * scores.shape[2], torch.promote_types(scores.dtype, torch.float32))
        ctx.unused, ctx.blank, ctx.prob, ctx.from_logits, ctx.dtype = unused, blank, prob, from_logits, scores.dtype
        ctx.wide = []  # of each block, whether it is computed in float64
        for t, end in blocks(scores):
            part = scores[t:end].to(both.dtype)
            if unused is not None:
                part = part.masked_fill(unused[t:end], 0)
            ctx.wide.append(not _write_gaps(part, both[t:end], ctx) and both.dtype != torch.float64)
            if ctx.wide[-1]:
                wide = both[t:end].double()
                _write_gaps(part.double(), wide, ctx)
                both[t:end] = wide
        ctx.save_for_backward(both)
        return both

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (both,), (grad,) = ctx.saved_tensors, grad_outputs
        found = memory_like(both, both.shape[2] // 2, ctx.dtype)
        for (t, end), wide in zip(blocks(found), ctx.wide, strict=True):
            part, by_part = both[t:end], grad[t:end]
            if wide:
                part, by_part = part.double(), by_part.double()
            by_score = _through_gaps(part, by_part, ctx)
            found[t:end] = by_score if ctx.unused is None else by_score.masked_fill_(ctx.unused[t:end], 0)
        return found, None, None, None, None


def _write_gaps(scores: Tensor, both: Tensor, ctx: Any) -> bool:
    """Writes log-probabilities, and behind them those of gaps; returns whether the latter have all their digits."""
    log_p, gaps = both.chunk(2, -1)
    best = _best(scores)
    own = (scores - best).exp_()  # relative to the frame's best class
    if ctx.from_logits:
        normaliser = own.sum(-1, keepdim=True).log_().add_(best)
        torch.sub(scores, normaliser, out=log_p)
        best = best - normaliser  # as a log-probability
    else:
        log_p.copy_(scores)
    of_blank = own[..., ctx.blank, None].clone()
    own[..., ctx.blank] = 0
    star = _all_but_each(own).mul_(ctx.prob).add_(of_blank)
    exact = scores.is_cpu and not bool(star.min() < SMALLEST)
    torch.add(star.log_(), best, out=gaps)
    return exact


def _through_gaps(both: Tensor, grad: Tensor, ctx: Any) -> Tensor:
    """The gradient by scores, given that by log-probabilities and gaps."""
    (log_p, gaps), (by_log_p, by_gap) = both.chunk(2, -1), grad.chunk(2, -1)
    best = _best(log_p)
    own = (log_p - best).exp_()
    # By the gaps' probabilities, relative to the frame's best class; finite, since no path is in a gap without any.
    slopes = (best - gaps).clamp_(max=MOST_DISTANCE).exp_().mul_(by_gap)
    by_score = _all_but_each(slopes).mul_(own).mul_(ctx.prob)
    by_score[..., ctx.blank] = own[..., ctx.blank] * slopes.sum(-1)
    by_score += by_log_p
    if ctx.from_logits:
        by_score -= own.mul_(best.exp() * by_score.sum(-1, keepdim=True))
    return by_score


def _all_but_each(values: Tensor) -> Tensor:
    """(…, C) the sum over all classes but one, for each class; numbers of one sign.

    In float32, the sum has more digits than what is subtracted from it. In float64, the largest number is added where
    it belongs and never subtracted.
    """
    if values.dtype == torch.float32:
        total = values.sum(-1, keepdim=True, dtype=torch.float64)
        high = total.float()
        return (high - values).add_((total - high).float())
    top = values.abs().argmax(-1, keepdim=True)
    most = values.gather(-1, top)
    rest = values.scatter(-1, top, 0)
    others = rest.sum(-1, keepdim=True)
    return torch.sub(most + others, rest, out=rest).scatter_(-1, top, others)


def _best(scores: Tensor) -> Tensor:
    """(…, 1) each frame's best score; 0 where all are -inf."""
    best = scores.amax(-1, keepdim=True)
    return best.masked_fill_(best == -torch.inf, 0)


@lru_cache(maxsize=8)
def _builder(classes: int, blank: int) -> LatticeBuilder:
    """What builds the lattices for scores of C classes, with as many columns of gaps behind them."""
    return LatticeBuilder(
        lambda lattice: lattice.minimal().with_gaps([*(classes + lattice.target), classes + blank]), blank=blank
    )
