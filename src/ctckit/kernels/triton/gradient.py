"""Computes the gradient from the occupancies, with one read of the scores and one write of the gradient.

May import triton, tuning.py, scaled.py, lattice.py, batch.py, rows.py and sums.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .lattice import INVALID, Runs
from .rows import SURE, columns, sum_of_columns
from .scaled import exp_nonpositive, reciprocal
from .sums import Sums
from .tuning import SIZES

if TYPE_CHECKING:
    from torch import Tensor

VISITS_BLOCK, VISITS_ROWS = 64, 32  # how many states and frames one program sums at a time
NO_CLASS = -1  # in place of the blank, if the even states have labels of their own


@triton.jit
def _exist(i, length, used):
    """Which even and which odd states of pairs i exist, in used frames."""
    return used[:, None] & (i <= length)[None, :], used[:, None] & (i < length)[None, :]


@triton.jit
def _shares(p_row, used, length, pairs, ROWS: tl.constexpr, LABELS: tl.constexpr):
    """For each frame, the sum of the even states' occupancies, and one over the sum of all states' occupancies."""
    real = p_row.dtype.element_ty
    b_evens, b_odds = tl.zeros((ROWS, LABELS), real), tl.zeros((ROWS, LABELS), real)
    for i0 in range(0, length + 1, LABELS):
        i = i0 + tl.arange(0, LABELS).to(tl.int64)
        even_mask, odd_mask = _exist(i, length, used)
        b_evens += tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0)
        b_odds += tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0)
    b_even = sum_of_columns(b_evens)
    return b_even, reciprocal(tl.where(used, b_even + sum_of_columns(b_odds), 1.0))


@triton.jit
def _store_states(p_out, p_row, b_share, exists, used, length, pairs, LABELS: tl.constexpr):
    """Writes some frames' occupancies by state."""
    for i0 in range(0, pairs, LABELS):
        i = i0 + tl.arange(0, LABELS).to(tl.int64)
        even_mask, odd_mask = _exist(i, length, used)
        b_gamma = tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0) * b_share[:, None]
        p_even = p_out[:, None] + (2 * i)[None, :]
        tl.store(p_even, b_gamma, mask=exists[:, None] & (i < pairs)[None, :])
        b_gamma = tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0) * b_share[:, None]
        tl.store(p_even + 1, b_gamma, mask=exists[:, None] & (i < pairs - 1)[None, :])


@triton.jit
def _softmax(x, scores):
    """The softmax of scores x, from the statistics of their frames."""
    return exp_nonpositive(x - scores[2][:, None]) * scores[3][:, None]


@triton.jit
def _store_classes(
    out, scores, b_blank, b_weight, exists, used, classes, blank, SOFTMAX: tl.constexpr, BLOCK: tl.constexpr
):
    """Writes the gradient of all classes as if only the blank had an occupancy."""
    p_out, stride = out
    p_in, stride_c = scores[0], scores[1]
    c = tl.arange(0, BLOCK)
    for c0 in range(0, classes, BLOCK):
        b_grad = tl.where((c == blank - c0)[None, :], -b_blank[:, None], 0.0)
        if SOFTMAX:
            mask = used[:, None] & (c < classes - c0)[None, :]
            x = tl.load(columns(p_in, c0, c, stride_c), mask=mask, other=float("-inf")).to(b_weight.dtype)
            b_grad += _softmax(x, scores)
        mask = exists[:, None] & (c < classes - c0)[None, :]
        b_grad = tl.where(used[:, None], b_grad * b_weight, 0.0)
        tl.store(columns(p_out, c0, c, stride), b_grad.to(p_out.dtype.element_ty), mask=mask)


@triton.jit
def _store_labels(
    out,
    scores,
    p_cell,
    runs,
    count,
    b_blank,
    b_share,
    b_weight,
    used,
    blank,
    SOFTMAX: tl.constexpr,
    ROWS: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Writes the gradient of the lattice's labels. Each run of equal labels is summed in the lattice's order.

    Where the network is sure of a label, its softmax and occupancy are both near 1, and their difference has few
    correct digits. The other entries are accurate, and a frame's entries add up to 0. So this label's entry is computed
    as minus the sum of the others.
    """
    p_out, stride = out
    p_in, stride_c = scores[0], scores[1]
    if SOFTMAX:
        has_blank = used & (tl.where(used, blank, -1) >= 0)
        at_blank = tl.load(p_in + blank.to(tl.int64) * stride_c, mask=has_blank, other=float("-inf"))
        blank_is_best = has_blank & (at_blank.to(b_weight.dtype) == scores[2])
        b_others = tl.where(blank_is_best, 0.0, tl.where(has_blank, b_blank, 0.0))
        b_best = tl.where(blank_is_best, blank, -1).to(tl.int64)
    p_sorted, p_order, p_first, num_runs = runs
    real = b_weight.dtype
    for q0 in range(0, num_runs, LABELS):
        q = q0 + tl.arange(0, LABELS).to(tl.int64)[None, :]
        is_run = q < num_runs
        b_first = tl.load(p_first + q, mask=is_run, other=0)
        b_next = tl.load(p_first + q + 1, mask=q + 1 < num_runs, other=0)
        b_count = tl.where(is_run, tl.where(q + 1 < num_runs, b_next, count) - b_first, 0)
        b_sum = tl.zeros((ROWS, LABELS), real)
        for r in range(0, tl.max(b_count)):
            s = tl.load(p_order + b_first + r, mask=r < b_count, other=0)
            b_sum += tl.load(p_cell[:, None] + s, mask=used[:, None] & (r < b_count), other=0.0)
        b_label = tl.load(p_sorted + b_first, mask=is_run, other=0).to(tl.int64)
        b_grad = -b_sum * b_share[:, None]
        mask = used[:, None] & is_run
        if SOFTMAX:
            x = tl.load(p_in[:, None] + b_label * stride_c, mask=mask, other=0.0).to(real)
            is_best = mask & (x == scores[2][:, None])
            b_others -= sum_of_columns(tl.where(is_best, 0.0, b_grad))
            b_best = tl.maximum(b_best, tl.max(tl.where(is_best, b_label, -1), axis=1))
            b_grad = _softmax(x, scores) + b_grad
        tl.store(p_out[:, None] + b_label * stride, (b_grad * b_weight).to(p_out.dtype.element_ty), mask=mask)
    if SOFTMAX:
        tl.debug_barrier()
        b_grad = (b_others - scores[4] * scores[3]) * b_weight
        is_sure = used & (b_best >= 0) & (scores[3] * SURE > 1.0)
        tl.store(p_out + b_best * stride, b_grad.to(p_out.dtype.element_ty), mask=is_sure)


@triton.jit
def _fill(p_out, stride, count, b_fill, exists, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Writes one number per frame to all columns of the frame."""
    for c0 in range(0, count, BLOCK):
        c = c0 + tl.arange(0, BLOCK).to(tl.int64)
        mask = exists[:, None] & (c < count)[None, :]
        b_out = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
        tl.store(p_out[:, None] + (c * stride)[None, :], b_out.to(p_out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=[*SIZES, "stride_factor"])
def _gradient_kernel(
    p_scores,
    p_grad,
    p_states,
    p_weights,
    p_factor,
    stride_factor,
    p_gamma,
    p_frames,
    p_lengths,
    p_count,
    p_status,
    p_score,
    p_peak,
    p_inverse,
    p_rest,
    p_sorted,
    p_order,
    p_first,
    p_number,
    stride_t,
    stride_n,
    stride_c,
    grad_stride_t,
    grad_stride_n,
    grad_stride_c,
    frames_max,
    size,
    classes,
    blank,
    pairs,
    SOFTMAX: tl.constexpr,
    STATES: tl.constexpr,
    FACTOR: tl.constexpr,
    GENERAL: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Writes some frames of one sample's gradient: weight · (softmax - occupancy by class).

    Each frame's occupancies are divided by their own sum, which equals the total up to rounding. So the total's
    rounding error does not enter the gradient.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    status, score = tl.load(p_status + n), tl.load(p_score + n)
    exists, used = t < frames_max, t < frames
    real = p_gamma.dtype.element_ty
    out = (p_grad + n * grad_stride_n + t * grad_stride_t, grad_stride_c)
    p_state = p_states + (t * size + n) * (2 * pairs - 1)

    if (score > float("-inf")) & ((tl.program_id(0) % tiles) * ROWS < frames):
        p_row = p_gamma + (n * frames_max + t) * 2 * pairs
        b_even, b_share = _shares(p_row, used, length, pairs, ROWS, LABELS)
        if STATES:
            _store_states(p_state, p_row, b_share, exists, used, length, pairs, LABELS)
        b_weight = tl.load(p_weights + n)
        if FACTOR:
            b_weight *= tl.load(p_factor + n * stride_factor).to(tl.float64)
        b_weight = b_weight.to(real)
        scores = (p_scores + n * stride_n + t * stride_t, stride_c)
        b_blank = tl.where(used, b_even * b_share, 0.0)
        if SOFTMAX:
            b_peak = tl.load(p_peak + n * frames_max + t, mask=used, other=0.0)
            b_inverse = tl.load(p_inverse + n * frames_max + t, mask=used, other=0.0)
            scores = scores + (b_peak, b_inverse, tl.load(p_rest + n * frames_max + t, mask=used, other=0.0))
        _store_classes(out, scores, b_blank, b_weight, exists, used, classes, blank, SOFTMAX, BLOCK)
        tl.debug_barrier()
        if GENERAL:  # the labels of all states
            o_runs, p_cell, count = n * 2 * pairs, p_row, tl.load(p_count + n)
        else:  # the labels of the odd states
            o_runs, p_cell, count = n * (pairs - 1), p_row + pairs, length
        runs = (p_sorted + o_runs, p_order + o_runs, p_first + o_runs, tl.load(p_number + n))
        _store_labels(out, scores, p_cell, runs, count, b_blank, b_share, b_weight, used, blank, SOFTMAX, ROWS, LABELS)
    else:
        num_nan = tl.where(status == INVALID, frames_max, tl.where(score != score, frames, 0))
        b_fill = tl.where(t < num_nan, float("nan"), 0.0).to(real)
        _fill(out[0], out[1], classes, b_fill, exists, ROWS, BLOCK)
        if STATES:
            _fill(p_state, 1, 2 * pairs - 1, b_fill, exists, ROWS, BLOCK)


@triton.jit(do_not_specialize=SIZES)
def _visits_kernel(p_gamma, p_frames, p_lengths, p_visits, frames_max, pairs, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums some states' occupancies over the frames of one sample, in float64."""
    n = tl.program_id(0).to(tl.int64)
    cell = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    exists = (cell <= length) | ((cell >= pairs) & (cell < pairs + length))
    b_sum = tl.zeros((BLOCK,), tl.float64)
    for t0 in range(0, frames, ROWS):
        t = t0 + tl.arange(0, ROWS).to(tl.int64)
        p_row = p_gamma + (n * frames_max + t) * 2 * pairs
        mask = (t < frames)[:, None] & exists[None, :]
        b_sum += tl.sum(tl.load(p_row[:, None] + cell[None, :], mask=mask, other=0.0).to(tl.float64), axis=0)
    tl.store(p_visits + n * 2 * pairs + cell, b_sum, mask=cell < 2 * pairs)


def write_gradient(
    batch: Batch,
    rows: Rows,
    sums: Sums,
    runs: Runs,
    weights: Tensor,
    grad: Tensor,
    states: Tensor | None = None,
    factor: Tensor | None = None,
    *,
    softmax: bool,
) -> None:
    """Launches the gradient of Σ weights·(-score).

    Args:
        batch: scores and lattices.
        rows: the statistics of each frame.
        sums: the occupancies.
        runs: which labels are equal.
        weights: float64 (N,).
        grad: (T, N, C), any strides, written.
        states: (T, N, 2·pairs - 1), written if given: occupancies by state.
        factor: (N,), or () for all samples: weights are multiplied by it if given.
        softmax: whether to write softmax - γ, as for logits; else -γ.
    """
    sizes, lattices = batch.sizes, batch.states
    block, together = tuning.score_block(sizes.classes)
    _gradient_kernel[(triton.cdiv(sizes.frames, together) * sizes.size,)](
        batch.scores,
        grad,
        states if states is not None else sums.occupancy,
        weights,
        weights if factor is None else factor,
        factor.stride(0) if factor is not None and factor.ndim else 0,
        sums.occupancy,
        lattices.frames,
        lattices.lengths,
        lattices.count if lattices.count is not None else lattices.lengths,
        lattices.status,
        sums.score,
        rows.peak,
        rows.inverse,
        rows.rest,
        *runs,
        *batch.scores.stride(),
        *grad.stride(),
        sizes.frames,
        sizes.size,
        sizes.classes,
        NO_CLASS if lattices.general else batch.blank,
        sizes.pairs,
        SOFTMAX=softmax,
        STATES=states is not None,
        FACTOR=factor is not None,
        GENERAL=lattices.general,
        ROWS=together,
        BLOCK=block,
        LABELS=min(block, tuning.TILE),
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )


def count_visits(batch: Batch, gamma: Tensor, visits: Tensor) -> None:
    """Launches the sums of occupancies over frames, not normalised.

    Args:
        batch: the lattices.
        gamma: (N, T, 2, pairs), occupancies as a sweep writes them.
        visits: float64 (N, 2, pairs), written.
    """
    sizes = batch.sizes
    block = min(triton.next_power_of_2(2 * sizes.pairs), VISITS_BLOCK)
    _visits_kernel[(sizes.size, triton.cdiv(2 * sizes.pairs, block))](
        gamma,
        batch.states.frames,
        batch.states.lengths,
        visits,
        sizes.frames,
        sizes.pairs,
        ROWS=VISITS_ROWS,
        BLOCK=block,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
