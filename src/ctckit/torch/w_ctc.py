"""W-CTC, for transcripts that lack their beginning or their end: by kernels on the CPU, elsewhere by lattices.

May import torch, loss.py, frames.py, stars.py, lattice/ and what they may import.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from ..kernels import native
from ..lattice import Arc, Lattice, LatticeBuilder
from ..validate import check_choice, check_flag, check_reduction
from .arguments import NOTHING, Lengths, Options, frames_first
from .calls import reduced
from .cpu import CPUCall
from .dispatch import backend_of, checked_call, goes_into_a_graph
from .eager import outside_graphs
from .errors import TensorError, raises_tensor_errors
from .frames import target_rows, used_frames
from .loss import lattice_loss, loss_of
from .stars import with_star

Ends = Literal["soft", "max_prob", "sum_prob"]
ENDS: tuple[Ends, ...] = ("soft", "max_prob", "sum_prob")
KERNEL_ENDS = {"sum_prob": native.Ends.SUM, "max_prob": native.Ends.BEST, "soft": native.Ends.MEAN}
LEFT_OUT = -70.0  # nats of a window that does not count: 4e-31 of the others, and quicker than -inf


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
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    rows = target_rows(given, targets, target_lengths, blank)
    log_p = given.log_probabilities(from_logits)
    classes = log_p.shape[2]
    if ends == "sum_prob":
        lattices = _builder("wildcards", classes, blank)(rows)
        found = lattice_loss(with_star(log_p, "all", blank), lattices, given.lengths, reduction, zero_infinity)
        return given.as_given(found)
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    lattices = _builder("windows", classes, blank)(rows)
    losses = _Windows.apply(log_p, lattices, given.lengths, ends)  # type: ignore[no-untyped-call]
    without_tokens = torch.tensor([len(row) == 0 for row in rows], device=losses.device)
    losses = losses.masked_fill((given.lengths == 0) & without_tokens, 0)  # as for any lattice
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
        blank = int(batch.labels[0, 0])
        lattices = _builder("wildcards", log_p.shape[-1], blank)(list(tokens))
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
def _builder(kind: Literal["wildcards", "windows"], classes: int, blank: int) -> LatticeBuilder:
    """What builds the lattices of one kind for scores of C classes."""
    build: dict[str, Callable[[Lattice], Lattice]] = {
        "wildcards": lambda lattice: lattice.with_wildcards(classes),
        "windows": lambda lattice: _windows(lattice, classes),
    }
    return LatticeBuilder(build[kind], blank=blank)
