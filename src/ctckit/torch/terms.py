"""Terms that are added to a CTC loss or weigh it: each a sum over the frames used, or over samples.

May import torch, loss.py, frames.py and what they may import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..lattice import Lattice
from ..validate import Reduction, check_number, check_reduction
from .arguments import Lengths
from .errors import TensorError, raises_tensor_errors
from .frames import UsedFrames, blocks, used_frames, widened
from .loss import ctc_loss, lattice_loss

__all__ = ["consistency", "expected_risk", "focal", "frame_entropy", "frame_smoothing", "path_entropy"]


@raises_tensor_errors
def consistency(
    log_probs: Tensor,
    other: Tensor,
    input_lengths: Lengths | None = None,
    reduction: str = "sum",
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """How far two views of the same utterances disagree: CR-CTC's term, ½ Σ_t (KL(other‖this) + KL(this‖other)).

    Each view is the target of the other, and targets have no gradient. The whole loss is ½ · (CTC of both views) +
    λ · ``consistency``; λ = 0.2 is usual, and 0.02 beside a transducer, rising from 0 over the first 2000 steps.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample: one view.
        other: the other view of the same samples, of the same shape.
        input_lengths: (N,) frames of each sample; all T if not given. Frames beyond are never read.
        reduction: ``"sum"``; ``"mean"`` over the frames used; or ``"none"``, a sum for each sample.
        from_logits: both hold raw scores; log_softmax is part of the term.
        batch_first: both are (N, T, C).

    Returns:
        Nats, 0 or more. A class that both views forbid (-inf) adds 0; one that only a single view forbids gives inf.

    Raises:
        CTCError: for anything malformed, and views of different shapes.

    Source:
        Yao et al., "CR-CTC: Consistency regularization on CTC for improved speech recognition" (ICLR 2025).

    Example:
        >>> views = torch.tensor([[[0.0, 1.0]], [[0.5, 0.0]]], requires_grad=True)
        >>> consistency(views, views.flip(0), from_logits=True)
        tensor(0.5303, grad_fn=<SumBackward0>)
    """
    how = check_reduction(reduction)
    one = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    if not isinstance(other, Tensor) or other.shape != log_probs.shape:
        raise TensorError(
            f"other has shape {tuple(getattr(other, 'shape', ()))}: expected {tuple(log_probs.shape)}, that of the "
            "first view"
        )
    two = used_frames(other, input_lengths, from_logits=from_logits, batch_first=batch_first, name="other")
    by_frame = _Disagreement.apply(one.scores, two.scores, one.unused, from_logits)  # type: ignore[no-untyped-call]
    return _reduced(by_frame, one, how)


class _Disagreement(torch.autograd.Function):
    """Half of both divergences of each frame (T, N), in one pass over blocks of frames."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, unused: Tensor | None, from_logits: bool) -> Tensor:
        real = torch.promote_types(first.dtype, torch.float32)
        found = torch.zeros(first.shape[:2], dtype=real, device=first.device)
        wanted = any(ctx.needs_input_grad[:2])
        difference = torch.empty(first.shape, dtype=real, device=first.device) if wanted and from_logits else None
        for t, end in blocks(first):
            a, b = first[t:end].to(real), second[t:end].to(real)
            left_out = None if unused is None else unused[t:end]
            p, q = (a.softmax(-1), b.softmax(-1)) if from_logits else (a.exp(), b.exp())
            p -= q  # the normalisers cancel: Σ (p - q) = 0
            if left_out is not None:
                p.masked_fill_(left_out, 0)
            b = a - b
            sums = torch.linalg.vecdot(p, b)
            if not (first.is_cpu and sums.isfinite().all()):  # on a device, asking would wait for it
                b.masked_fill_(p == 0, 0)  # what both forbid, and frames that are not used
                sums = torch.linalg.vecdot(p, b)
            torch.mul(sums, 0.5, out=found[t:end])
            if difference is not None:
                torch.mul(p, 0.5, out=difference[t:end])
        ctx.unused, ctx.from_logits = unused, from_logits
        if difference is not None:
            ctx.save_for_backward(difference)
        elif wanted:
            ctx.save_for_backward(first, second)
        ctx.dtypes = first.dtype, second.dtype
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grad_outputs
        factor = grad[..., None]
        if ctx.from_logits:
            (difference,) = ctx.saved_tensors
            by_first = difference * factor
            return by_first.to(ctx.dtypes[0]), by_first.neg().to(ctx.dtypes[1]), None, None
        first, second = ctx.saved_tensors
        found = []
        for target, dtype in zip((second, first), ctx.dtypes, strict=True):
            by_view = widened(target).exp().mul_(-0.5 * factor)
            found.append((by_view if ctx.unused is None else by_view.masked_fill_(ctx.unused, 0)).to(dtype))
        return found[0], found[1], None, None


@raises_tensor_errors
def frame_entropy(
    log_probs: Tensor,
    input_lengths: Lengths | None = None,
    reduction: str = "sum",
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """The entropy of the network's output, Σ_t H(p_t); subtract a small part of it to keep the network less sure.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample.
        input_lengths: (N,) frames of each sample; all T if not given. Frames beyond are never read.
        reduction: ``"sum"``; ``"mean"`` over the frames used; or ``"none"``, a sum for each sample.
        from_logits: ``log_probs`` holds raw scores.
        batch_first: ``log_probs`` is (N, T, C).

    Returns:
        Nats. A class of probability 0 adds 0.

    Raises:
        CTCError: for anything malformed.

    Example:
        >>> frame_entropy(torch.zeros(3, 1, 4), from_logits=True, reduction="mean")  # log 4
        tensor(1.3863)
    """
    how = check_reduction(reduction)
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    log_p = given.log_probabilities(from_logits)
    possible = torch.where(log_p == -torch.inf, 0, log_p)
    return _reduced(-(log_p.exp() * possible).sum(-1), given, how)


@raises_tensor_errors
def frame_smoothing(
    log_probs: Tensor,
    input_lengths: Lengths | None = None,
    reduction: str = "sum",
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """How far the network's output is from uniform, Σ_t KL(u‖p_t): label smoothing for CTC, by frame.

    Arguments and errors as for :func:`frame_entropy`.

    Returns:
        Nats: Σ_t (-mean_c log p_t(c) - log C), 0 or more; inf where a class has probability 0.

    Note:
        Recipes add 0.05 to 0.1 of it, or use (1 - w) · CTC + w · this.

    Example:
        >>> frame_smoothing(torch.zeros(3, 1, 4), from_logits=True)
        tensor(0.)
    """
    how = check_reduction(reduction)
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    log_p = given.log_probabilities(from_logits)
    uniform = torch.tensor(log_p.shape[2], dtype=log_p.dtype, device=log_p.device).log()
    return _reduced(given.cleared(-log_p.mean(-1) - uniform), given, how)


@raises_tensor_errors
def path_entropy(
    log_probs: Tensor,
    targets: Tensor | None = None,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    blank: int = 0,
    reduction: str = "sum",
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Tensor:
    """How undecided the network is between the target's paths: H = -Σ P(π|y) log P(π|y), over all of its paths π.

    0 if there is one path; near 0 for peaky outputs. EnCTC's loss is (1 - h) · CTC - h · H, with h = 0.1.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample.
        targets: as for :func:`ctckit.torch.ctc_loss`.
        input_lengths: (N,) frames of each sample.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class.
        reduction: ``"sum"`` or ``"mean"`` over the samples, or ``"none"``.
        lattices: instead of targets and their lengths; without costs and scores of arcs.
        from_logits: ``log_probs`` holds raw scores.
        batch_first: ``log_probs`` is (N, T, C).

    Returns:
        Nats, 0 or more. 0, with gradient 0, for a sample without a path.

    Raises:
        CTCError: for anything malformed.

    Note:
        Its gradient is a second derivative of the loss, which torch's own operations compute in float64: much slower
        than the loss (``bench/variants.py``). The number alone takes less than twice the loss's time.

    Source:
        Liu et al., "Connectionist Temporal Classification with Maximum Entropy Regularization" (NeurIPS 2018).

    Example:
        >>> path_entropy(torch.zeros(6, 1, 4), torch.tensor([[1, 2]]), [6], [2], from_logits=True).exp()  # 70 paths
        tensor(70.0000)
    """
    how = check_reduction(reduction)
    given = used_frames(log_probs, input_lengths, from_logits=from_logits, batch_first=batch_first)
    log_p = given.log_probabilities(from_logits)
    if not log_p.requires_grad or not torch.is_grad_enabled():
        log_p = log_p.detach().requires_grad_()
        create_graph = False
    else:
        log_p, create_graph = log_p.view_as(log_p), True
    frames = given.lengths if input_lengths is None else input_lengths
    with torch.enable_grad():
        if lattices is None:
            if targets is None or target_lengths is None:
                raise TensorError("targets and target_lengths are missing: expected them, or lattices")
            rows = targets if targets.ndim != 1 or given.batched else targets[None]
            counts = torch.as_tensor(target_lengths).reshape(-1)
            losses = ctc_loss(log_p, rows, torch.as_tensor(frames).reshape(-1), counts, blank, "none")
        else:
            losses = lattice_loss(log_p, lattices, torch.as_tensor(frames).reshape(-1), "none")
        (grad,) = torch.autograd.grad(losses.sum(), log_p, create_graph=create_graph)
    finite = torch.where(log_p == -torch.inf, 0, log_p)  # which no path visits
    products = (grad * finite).sum((0, 2), dtype=torch.float64)
    entropy = torch.where(losses.isinf(), 0, products - torch.where(losses.isinf(), 0, losses).double())
    entropy = entropy.clamp(min=0).to(losses.dtype)
    if not create_graph:
        entropy = entropy.detach()
    if how == "none":
        return entropy if given.batched else entropy[0]
    return entropy.sum() if how == "sum" else entropy.mean()


@raises_tensor_errors
def focal(losses: Tensor, gamma: float = 2.0, reduction: str = "mean") -> Tensor:
    """Samples that the network already reads weigh less: ℓ · (1 - e^-ℓ)^γ.

    Args:
        losses: (N,) nats, from ``reduction="none"``. Below 0 counts as 0; inf stays inf, and its gradient is that of
            the loss, 0.
        gamma: γ, 0 or more; 0 leaves losses as they are.
        reduction: ``"mean"`` over the samples, ``"sum"`` or ``"none"``.

    Raises:
        CTCError: a gamma below 0.

    Source:
        Feng et al., "Focal CTC Loss for Chinese Optical Character Recognition on Unbalanced Datasets" (2019).

    Example:
        >>> focal(torch.tensor([0.1, 4.0]), reduction="none")
        tensor([9.0559e-04, 3.8548e+00])
    """
    how, power = check_reduction(reduction), check_number("gamma", gamma, least=0)
    finite = losses.isfinite()
    safe = torch.where(finite, losses, 0).clamp(min=0)
    missed = (-torch.expm1(-safe)).clamp(min=torch.finfo(losses.dtype).tiny)  # the probability of not reading it
    weighted = torch.where(finite, safe * missed**power, losses)
    return {"none": weighted, "sum": weighted.sum(), "mean": weighted.mean()}[how]


@raises_tensor_errors
def expected_risk(losses: Tensor, errors: Tensor, index: Tensor, reduction: str = "sum") -> Tensor:
    """The expected number of errors over each utterance's hypotheses: the risk of minimum word error rate training.

    An utterance's hypotheses have probabilities P_i = softmax(-ℓ_i), and the risk is Σ_i P_i · errors_i.

    Args:
        losses: (M,) nats of each hypothesis: a ``ctc_loss`` with ``reduction="none"`` and the same ``index``.
        errors: (M,) the errors of each hypothesis, such as words that differ from the transcript.
        index: (M,) the utterance of each hypothesis, from 0. If it is on a device, the call waits for it.
        reduction: ``"sum"`` or ``"mean"`` over the utterances, or ``"none"``.

    Returns:
        Errors. A hypothesis without a path has P = 0; an utterance with no other hypotheses has risk 0.

    Raises:
        CTCError: other shapes, an index below 0.

    Note:
        Recipes subtract the mean of an utterance's errors, a constant, and add 0.01 of the CTC loss of the transcript.
        The sums are in a fixed order, so results are the same in every run.

    Source:
        Prabhavalkar et al., "Minimum Word Error Rate Training for Attention-based Sequence-to-Sequence Models" (2018).

    Example:
        >>> expected_risk(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1]), "none")
        tensor([0.5000, 2.0000])
    """
    how = check_reduction(reduction)
    errors, index = (torch.as_tensor(each, device=losses.device) for each in (errors, index))
    for name, given in (("errors", errors), ("index", index)):
        if given.shape != losses.shape or losses.ndim != 1:
            raise TensorError(
                f"{name} has shape {tuple(given.shape)} and losses {tuple(losses.shape)}: expected (M,) of both, one "
                "for each hypothesis"
            )
    if index.is_floating_point():
        raise TensorError(f"index has dtype {index.dtype}: expected integers")
    for m in torch.nonzero(index < 0)[:1].flatten().tolist():
        raise TensorError(f"index[{m}] = {int(index[m])} is out of range: expected 0 or more")
    table, place = _by_utterance(index)
    scores = torch.full(table, -torch.inf, dtype=losses.dtype, device=losses.device)
    scores = scores.index_put(place, torch.where(losses.isnan(), losses, -losses))
    wrong = torch.zeros(table, dtype=losses.dtype, device=losses.device).index_put(place, errors.to(losses.dtype))
    possible = (scores > -torch.inf) | scores.isnan()
    some = possible.any(1, keepdim=True)
    shares = torch.where(some, scores, 0).softmax(1)
    risk = torch.where(some[:, 0], (shares * wrong).sum(1), 0)
    return {"none": risk, "sum": risk.sum(), "mean": risk.mean()}[how]


def _by_utterance(index: Tensor) -> tuple[tuple[int, int], tuple[Tensor, Tensor]]:
    """The shape of a table with a row of hypotheses for each utterance, and the place of each hypothesis in it."""
    if not len(index):
        return (0, 0), (index, index)
    order = index.argsort(stable=True)
    count = torch.bincount(index)
    begins = count.cumsum(0) - count
    rank = torch.empty_like(index)
    rank[order] = torch.arange(len(index), device=index.device) - begins[index[order]]
    return (len(count), int(count.max())), (index, rank)


def _reduced(by_frame: Tensor, given: UsedFrames, reduction: Reduction) -> Tensor:
    """Sums over the used frames of (T, N)."""
    by_frame = given.cleared(by_frame)
    if reduction == "none":
        return by_frame.sum(0) if given.batched else by_frame.sum()
    total = by_frame.sum()
    return total if reduction == "sum" else total / given.lengths.sum().clamp(min=1)
