"""The gradient from the occupancies: one read of the scores, one write of the gradient.

May import triton, tuning.py, lattice.py, batch.py, rows.py and sums.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .lattice import WRONG
from .rows import columns
from .sums import Sums
from .tuning import SIZES

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit(do_not_specialize=SIZES)
def _gradient_kernel(
    p_scores,
    p_grad,
    p_states,
    p_weights,
    p_gamma,
    p_frames,
    p_lengths,
    p_status,
    p_score,
    p_peak,
    p_inverse,
    p_sorted,
    p_order,
    p_run,
    p_first,
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
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Writes some frames of one sample's gradient: weight · (softmax - occupancy by class).

    Each frame's occupancies are divided by their own sum, which is the total up to rounding: so the total's rounding
    does not reach the gradient.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    status, score = tl.load(p_status + n), tl.load(p_score + n)
    exists, used = t < frames_max, t < frames
    o_grad = n * grad_stride_n + t * grad_stride_t
    real = p_gamma.dtype.element_ty
    out = p_grad.dtype.element_ty
    o_state = (t * size + n) * (2 * pairs - 1)

    num_nan = tl.where(status == WRONG, frames_max, tl.where(score != score, frames, 0))
    b_fill = tl.where(t < num_nan, float("nan"), 0.0).to(real)
    if (score > float("-inf")) & ((tl.program_id(0) % tiles) * ROWS < frames):
        p_row = p_gamma + (n * frames_max + t) * 2 * pairs
        b_evens, b_odds = tl.zeros((ROWS, LABELS), real), tl.zeros((ROWS, LABELS), real)
        for i0 in range(0, length + 1, LABELS):
            i = i0 + tl.arange(0, LABELS).to(tl.int64)
            even_mask, odd_mask = used[:, None] & (i <= length)[None, :], used[:, None] & (i < length)[None, :]
            b_evens += tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0)
            b_odds += tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0)
        b_even = tl.sum(b_evens, axis=1)
        b_share = 1.0 / tl.where(used, b_even + tl.sum(b_odds, axis=1), 1.0)
        if STATES:
            for i0 in range(0, pairs, LABELS):
                i = i0 + tl.arange(0, LABELS).to(tl.int64)
                even_mask, odd_mask = used[:, None] & (i <= length)[None, :], used[:, None] & (i < length)[None, :]
                b_gamma = tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0) * b_share[:, None]
                p_out = p_states + o_state[:, None] + (2 * i)[None, :]
                tl.store(p_out, b_gamma, mask=exists[:, None] & (i < pairs)[None, :])
                b_gamma = tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0) * b_share[:, None]
                tl.store(p_out + 1, b_gamma, mask=exists[:, None] & (i < pairs - 1)[None, :])

        # All classes: the softmax, and the blank's occupancy.
        b_weight = tl.load(p_weights + n).to(real)
        p_in = p_scores + n * stride_n + t * stride_t
        b_blank = tl.where(used, b_even * b_share, 0.0)
        if SOFTMAX:
            b_peak = tl.load(p_peak + n * frames_max + t, mask=used, other=0.0)
            b_inverse = tl.load(p_inverse + n * frames_max + t, mask=used, other=0.0)
        c = tl.arange(0, BLOCK)
        for c0 in range(0, classes, BLOCK):
            b_grad = tl.where((c == blank - c0)[None, :], -b_blank[:, None], 0.0)
            if SOFTMAX:
                mask = used[:, None] & (c < classes - c0)[None, :]
                x = tl.load(columns(p_in, c0, c, stride_c), mask=mask, other=float("-inf")).to(real)
                b_grad += tl.exp(x - b_peak[:, None]) * b_inverse[:, None]
            mask = exists[:, None] & (c < classes - c0)[None, :]
            b_grad = tl.where(used[:, None], b_grad * b_weight, 0.0)
            tl.store(columns(p_grad + o_grad, c0, c, grad_stride_c), b_grad.to(out), mask=mask)
        tl.debug_barrier()

        # The target's labels again. Equal tokens are runs of the sorted ones; each run is summed in the target's order.
        longest = pairs - 1
        runs = tl.load(p_run + n * longest + length - 1, mask=length > 0, other=0)
        for q0 in range(0, runs, LABELS):
            q = q0 + tl.arange(0, LABELS).to(tl.int64)[None, :]
            is_run = q < runs
            b_first = tl.load(p_first + n * longest + q, mask=is_run, other=0)
            b_next = tl.load(p_first + n * longest + q + 1, mask=q + 1 < runs, other=0)
            b_count = tl.where(is_run, tl.where(q + 1 < runs, b_next, length) - b_first, 0)
            b_sum = tl.zeros((ROWS, LABELS), real)
            for r in range(0, tl.max(b_count)):
                s = tl.load(p_order + n * longest + b_first + r, mask=r < b_count, other=0)
                b_sum += tl.load(p_row[:, None] + (pairs + s), mask=used[:, None] & (r < b_count), other=0.0)
            b_label = tl.load(p_sorted + n * longest + b_first, mask=is_run, other=0).to(tl.int64)
            b_grad = -b_sum * b_share[:, None]
            mask = used[:, None] & is_run
            if SOFTMAX:
                x = tl.load(p_in[:, None] + b_label * stride_c, mask=mask, other=0.0).to(real)
                b_grad = tl.exp(x - b_peak[:, None]) * b_inverse[:, None] + b_grad
            p_out = p_grad + o_grad[:, None] + b_label * grad_stride_c
            tl.store(p_out, (b_grad * b_weight).to(out), mask=mask)
    else:
        for c0 in range(0, classes, BLOCK):
            c = c0 + tl.arange(0, BLOCK).to(tl.int64)
            mask = exists[:, None] & (c < classes)[None, :]
            b_grad = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
            tl.store(p_grad + o_grad[:, None] + (c * grad_stride_c)[None, :], b_grad.to(out), mask=mask)
        if STATES:
            for k0 in range(0, 2 * pairs - 1, BLOCK):
                k = k0 + tl.arange(0, BLOCK).to(tl.int64)
                mask = exists[:, None] & (k < 2 * pairs - 1)[None, :]
                b_gamma = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
                tl.store(p_states + o_state[:, None] + k[None, :], b_gamma, mask=mask)


class Runs(NamedTuple):
    """Which tokens of a target are equal: runs of the sorted tokens, in the target's order within a run.

    Attributes:
        tokens: int32 (N, S), sorted.
        order: int64 (N, S), the index in the target of each sorted token.
        run: int64 (N, S), the number of runs up to each sorted token.
        first: int64 (N, S), the index in sorted order of each run's first token.
    """

    tokens: Tensor
    order: Tensor
    run: Tensor
    first: Tensor


def write_gradient(
    batch: Batch,
    rows: Rows,
    sums: Sums,
    runs: Runs,
    weights: Tensor,
    grad: Tensor,
    states: Tensor | None = None,
    *,
    softmax: bool,
) -> None:
    """Launches the gradient of Σ weights·(-score).

    Args:
        batch: scores and lattices.
        rows: what is known of each frame.
        sums: the occupancies.
        runs: equal tokens.
        weights: float64 (N,).
        grad: (T, N, C), any strides, written.
        states: (T, N, 2·pairs - 1), written if given: occupancies by state.
        softmax: whether the gradient goes to logits.
    """
    sizes, lattices = batch.sizes, batch.lattices
    block, together = tuning.score_block(sizes.classes)
    _gradient_kernel[(triton.cdiv(sizes.frames, together) * sizes.size,)](
        batch.scores,
        grad,
        states if states is not None else sums.occupancy,
        weights,
        sums.occupancy,
        lattices.frames,
        lattices.lengths,
        lattices.status,
        sums.score,
        rows.peak,
        rows.inverse,
        *runs,
        *batch.scores.stride(),
        *grad.stride(),
        sizes.frames,
        sizes.size,
        sizes.classes,
        batch.blank,
        sizes.pairs,
        SOFTMAX=softmax,
        STATES=states is not None,
        ROWS=together,
        BLOCK=block,
        LABELS=min(block, tuning.TILE),
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
