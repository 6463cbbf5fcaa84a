"""Losses for labels that lack words: wildcards at the ends (W-CTC), stars in every gap (STC), and a star's column.

May import torch, loss.py, frames.py, lattice/ and what they may import. On the CPU, W-CTC has kernels of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..kernels import native
from ..kernels.portable import log_sum
from ..lattice import Arc, Lattice, LatticeBuilder, ctc_lattice
from ..stars import STARS, Star
from ..validate import (
    check_blank,
    check_choice,
    check_flag,
    check_form,
    check_number,
    check_reduction,
    check_values,
    split_targets,
)
from .arguments import INTEGERS, NOTHING, Lengths, Options, frames_first, integers, unread_frames
from .calls import reduced
from .cpu import CPUCall
from .dispatch import backend_of, checked_call, goes_into_a_graph
from .eager import outside_graphs
from .errors import TensorError, raises_tensor_errors
from .frames import UsedFrames, blocks, used_frames
from .loss import lattice_loss, loss_of

Ends = Literal["soft", "max_prob", "sum_prob"]
KERNEL_ENDS = {"sum_prob": native.Ends.SUM, "max_prob": native.Ends.BEST, "soft": native.Ends.MEAN}
LEFT_OUT = -70.0  # nats of a window that does not count: 4e-31 of the others, and quicker than -inf
MOST_DISTANCE = 700.0  # nats between a gap and its frame's best class; float64 holds the exponential
SMALLEST = 1e-8  # a gap's probability, relative to the frame's best class: a difference has all digits in float64
ENDS: tuple[Ends, ...] = ("soft", "max_prob", "sum_prob")


@raises_tensor_errors
def with_star(log_probs: Tensor, star: Star = "all", blank: int = 0) -> Tensor:
    """Log-probabilities (…, C) with one more class, C, for a star; as :func:`ctckit.with_star`, and differentiable.

    A frame with NaN has NaN there, too, and no gradient goes through it, since it may be padding.

    Example:
        >>> with_star(torch.tensor([[0.5, 0.25, 0.25]]).log(), "tokens").exp()
        tensor([[0.5000, 0.2500, 0.2500, 0.5000]])
    """
    check_choice("star", star, STARS)
    check_blank(blank, log_probs.shape[-1])
    if star == "all":
        column = torch.zeros_like(log_probs[..., :1])
    else:
        tokens = torch.cat((log_probs[..., :blank], log_probs[..., blank + 1 :]), -1)
        bad = tokens.isnan().any(-1, keepdim=True)
        column = torch.where(bad, torch.nan, _log_sum(tokens.masked_fill(bad, 0))[..., None])
        if star == "mean":
            column = column - torch.tensor(tokens.shape[-1], dtype=column.dtype, device=column.device).log()
    return torch.cat((log_probs, column.to(log_probs.dtype)), -1)


@raises_tensor_errors
@outside_graphs
def w_ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    ends: Ends = "soft",
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """W-CTC's loss: the transcript may lack the beginning and the end of what was said.

    With s_t the log of the summed probabilities that the transcript fills frames a … t, over all a ≤ t, the loss is
    -log Σ_t e^(s_t) (``"sum_prob"``), -max_t s_t (``"max_prob"``), or -Σ_t softmax(s)_t · s_t (``"soft"``).

    Args:
        log_probs: (T, N, C), or (T, C) for one sample, as for :func:`ctckit.torch.ctc_loss`.
        targets: (N, S) padded, or one dimension, all samples end to end. Read on the host.
        input_lengths: (N,) frames of each sample. Frames beyond are never read, and are no part of a sum.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by target length, at least 1, then over the batch).
        zero_infinity: infeasible samples cost 0 instead of +inf. Their gradient is 0 in either case.
        ends: how the frames at which the transcript may end are combined; of several best ones, the first counts.
        from_logits: ``log_probs`` holds raw scores.
        batch_first: ``log_probs`` is (N, T, C).

    Returns:
        Nats. Windows overlap, so their probabilities may add up to more than 1, and the loss may be below 0.

    Raises:
        CTCError: for anything malformed. Second derivatives exist of ``"sum_prob"`` only.

    Source:
        Cai et al., "W-CTC: a Connectionist Temporal Classification Loss with Wild Cards" (ICLR 2022).

    Example:
        >>> scores = torch.zeros(6, 1, 4)
        >>> w_ctc_loss(scores, torch.tensor([[1, 2]]), [6], [2], reduction="sum", from_logits=True, ends="max_prob")
        tensor(1.3843)
    """
    check_choice("ends", ends, ENDS)
    if isinstance(log_probs, Tensor) and not goes_into_a_graph(log_probs) and backend_of(log_probs) == "native":
        options = Options(blank, reduction, zero_infinity, from_logits, batch_first)
        return _loss_by_kernel(log_probs, targets, input_lengths, target_lengths, options, ends)
    given, rows = _checked(log_probs, targets, input_lengths, target_lengths, blank, from_logits, batch_first)
    log_p = given.log_probabilities(from_logits)
    classes = log_p.shape[2]
    if ends == "sum_prob":
        lattices = _builder("wildcards", classes, blank)(rows)
        return _lattice_loss(with_star(log_p, "all", blank), lattices, given, reduction, zero_infinity)
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    lattices = _builder("windows", classes, blank)(rows)
    losses = _Windows.apply(log_p, lattices, given.lengths, ends)  # type: ignore[no-untyped-call]
    weights = losses.new_tensor([1 / max(len(row), 1) / len(rows) if how == "mean" else 1.0 for row in rows])
    return reduced(-losses, weights, how, zero_infinity, given.batched)


class _KernelCall(CPUCall):
    """A call of kernels whose paths fill any run of frames."""

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by lattices whose gradient can be differentiated, which there are for ``"sum_prob"`` only."""
        if self.ends != KERNEL_ENDS["sum_prob"]:
            raise TensorError('second derivatives of w_ctc_loss exist for ends="sum_prob" only')
        frames = frames_first(scores, self.batch_first)
        log_p = frames.log_softmax(-1) if self.problem.from_logits else frames
        batch, batched = self.problem.lattices, self.problem.batched
        tokens = (row[1 : 2 * size : 2] for row, size in zip(batch.labels, batch.num_tokens.tolist(), strict=True))
        blank, star = int(batch.labels[0, 0]), log_p.shape[-1]
        lattices = [ctc_lattice(row, blank=blank).with_wildcards(star) for row in tokens]
        starred = with_star(log_p if batched else log_p[:, None], blank=blank)
        losses = lattice_loss(starred, lattices, batch.frames.tolist(), "none")
        weights = torch.from_numpy(self.weights).to(losses)
        return reduced(-losses, weights, self.reduction, self.zero_infinity, batched)


def _loss_by_kernel(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, options: Options, ends: Ends
) -> Tensor:
    call = checked_call(log_probs, targets, input_lengths, target_lengths, options)
    return loss_of(_KernelCall(*cast(CPUCall, call))._replace(ends=KERNEL_ENDS[ends]), log_probs, NOTHING)


class _Windows(torch.autograd.Function):
    """On any device: a function of the scores s_t of windows that end at frame t, by sweeps over one lattice.

    Its state "ended" is visited once, in the frame after the last of the window; what it emits there weighs that
    window. Without weights, its occupancies are softmax(s). With the weights |∂loss/∂s_t| / softmax(s)_t, the lattice's
    gradient is the loss's but for a factor, for the windows where ∂loss/∂s_t has one sign; so each sign has a sweep.
    """

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, lattices: list[Lattice], lengths: Tensor, ends: Ends) -> Tensor:
        frames, size, classes = log_p.shape
        padded = log_p.new_zeros(frames + 1, size, classes + 2)  # with a frame more, the star's column, and the weights
        padded[:frames, :, :classes] = log_p

        def swept(weights: Tensor | float) -> tuple[Tensor, Tensor]:
            padded[..., -1] = weights
            leaf = padded.detach().requires_grad_()
            with torch.enable_grad():
                losses = lattice_loss(leaf, lattices, lengths + 1, "none")
                (grad,) = torch.autograd.grad(losses.sum(), leaf)
            return losses.detach(), grad

        total, grad = swept(0.0)
        shares = -grad[..., -1].double()  # (T+1, N), softmax(s)
        mean, slopes = _combined(shares, ends)
        possible = total.isfinite()
        if ctx.needs_input_grad[0]:
            found = torch.zeros_like(log_p)
            for sign in (1, -1) if ends == "soft" else (1,):
                part = (sign * slopes).clamp(min=0)
                weights = torch.where(part > 0, (part / torch.where(shares > 0, shares, 1)).log(), LEFT_OUT)
                _, grad = swept(weights.to(log_p.dtype))
                # Without a path the gradient is 0 already, and NaN where a frame is.
                factor = torch.where(possible, sign * part.sum(0), 1).to(log_p.dtype)
                found.addcmul_(grad[:frames, :, :classes], factor[:, None])
            ctx.save_for_backward(found, total)
        return torch.where(possible, total.double() - mean, total.double()).to(log_p.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        found, total = ctx.saved_tensors
        factor = torch.where(total == torch.inf, 0, grad_outputs[0])
        return found * factor[:, None], None, None, None


def _combined(shares: Tensor, ends: Ends) -> tuple[Tensor, Tensor]:
    """From softmax(s) (T+1, N): the combined score less the log of Σ e^s (N,), and its slopes by s."""
    ended = shares > 0
    scores = torch.where(ended, shares, 1).log()
    if ends == "soft":
        mean = (shares * scores).sum(0)
        return mean, shares * (1 + scores - mean)
    best = torch.where(ended, scores, -torch.inf).argmax(0, keepdim=True)
    return scores.gather(0, best)[0], torch.zeros_like(scores).scatter(0, best, 1.0)


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
    given, rows = _checked(log_probs, targets, input_lengths, target_lengths, blank, from_logits, batch_first)
    lattices = _builder("gaps", given.scores.shape[2], blank)(rows)
    scores = _WithGaps.apply(given.scores, given.unused, blank, prob, from_logits)  # type: ignore[no-untyped-call]
    return _lattice_loss(scores, lattices, given, reduction, zero_infinity)


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
        frames, size, classes = scores.shape
        real = torch.promote_types(scores.dtype, torch.float32)
        both = _memory((frames, size, 2 * classes), real, scores.device)
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
        found = _memory((*both.shape[:2], both.shape[2] // 2), ctx.dtype, both.device)
        for (t, end), wide in zip(blocks(found), ctx.wide, strict=True):
            part, by_part = both[t:end], grad[t:end]
            if wide:
                part, by_part = part.double(), by_part.double()
            by_score = _through_gaps(part, by_part, ctx)
            found[t:end] = by_score if ctx.unused is None else by_score.masked_fill_(ctx.unused[t:end], 0)
        return found, None, None, None, None


def _memory(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Uninitialised; on the CPU, a large one is recycled, since new pages take longer than what is written to them."""
    real = {torch.float32: np.float32, torch.float64: np.float64}.get(dtype)
    if real is None or device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.from_numpy(native.gradient(shape, real))


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


def _log_sum(values: Tensor) -> Tensor:
    """The log of the sum of exponentials over the last axis; of nothing but -inf it is -inf, with derivatives 0."""
    return log_sum(values) if values.shape[-1] else values.new_full(values.shape[:-1], -torch.inf)


def _windows(lattice: Lattice, star: int) -> Lattice:
    """★* x E ★*: E is visited once, after the last frame of x."""
    inner = lattice.with_wildcards(star)  # ★ x ★
    last = inner.num_states - 1
    arcs = np.append(inner.arcs, np.uint8(Arc.STAY | Arc.STEP | Arc.END))
    ended = ((inner.arcs & Arc.END) != 0) & (np.arange(last + 1) < last)
    arcs[:-1][ended] &= ~np.uint8(Arc.END)
    arcs[last] = (arcs[last] | Arc.END) & ~np.uint8(Arc.STAY)
    labels = np.append(inner.labels, star)
    labels[last] = star + 1
    return Lattice(labels, arcs, np.append(inner.tokens, -1), None, inner.long_arcs, inner.long_arc_scores)


@lru_cache(maxsize=8)
def _builder(kind: str, classes: int, blank: int) -> LatticeBuilder:
    """What builds the lattices of one kind for scores of C classes."""
    build: dict[str, Callable[[Lattice], Lattice]] = {
        "wildcards": lambda lattice: lattice.with_wildcards(classes),
        "windows": lambda lattice: _windows(lattice, classes),
        "gaps": lambda lattice: lattice.minimal().with_gaps([*(classes + lattice.target), classes + blank]),
    }
    return LatticeBuilder(build[kind], blank=blank)


def _checked(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    from_logits: bool,
    batch_first: bool,
) -> tuple[UsedFrames, list[npt.NDArray[np.int64]]]:
    """Checked frames, and the targets' rows."""
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    names = zip(INTEGERS, (targets, given.lengths, target_lengths), strict=True)
    tokens, frames, lengths = (integers(name, values) for name, values in names)
    if not given.batched:
        frames, lengths = frames.reshape(()), lengths.reshape(())
    unread = unread_frames(given.scores if given.batched else given.scores[:, 0], False)
    form = check_form(unread, tokens, frames, lengths, blank)
    check_values(form, blank, tokens, frames, lengths)
    rows = split_targets(form, tokens, lengths)
    return given, [row.astype(np.int64) for row in rows]


def _lattice_loss(
    scores: Tensor, lattices: list[Lattice], given: UsedFrames, reduction: str, zero_infinity: bool
) -> Tensor:
    """The loss of lattices, whose tokens are the targets'; a number for one sample."""
    losses = lattice_loss(scores, lattices, given.lengths, reduction, zero_infinity)
    return losses if given.batched or losses.ndim == 0 else losses[0]
