"""Reads every frame once before the sweep: finds the reference for its emissions, and the softmax's statistics.

May import triton, tuning.py, scaled.py, lattice.py and batch.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .scaled import NARROW, exp_nonpositive, reciprocal
from .tuning import SIZES

SURE = tl.constexpr(1.25)  # a class is sure if the softmax's sum, in which it has 1, is below this
STEPS = tl.constexpr(tuning.ROWS_TILE.bit_length() - 1)  # how often the longest row of a tile can be halved


@triton.jit
def columns(p_row, c0, c, stride_c):
    """Pointers to columns c0 + c of rows."""
    return (p_row + (tl.zeros((), tl.int64) + c0) * stride_c)[:, None] + (c.to(tl.int64) * stride_c)[None, :]


@triton.jit
def sum_of_columns(x):
    """Each row's sum; the number of columns is a power of two.

    The order in which tl.sum adds depends on which threads hold which columns, and the compiler assigns columns to
    threads by the strides of the loaded data. A sum of two numbers does not depend on their order. So pairs are summed,
    then pairs of pairs, and so on: first four neighbours, which one thread holds if columns are contiguous, then the
    halves of rows.
    """
    for step in tl.static_range(STEPS):
        if x.shape[1] > 1:
            if step < 2:
                x = tl.sum(tl.reshape(x, (x.shape[0], x.shape[1] // 2, 2)), axis=2)
            else:
                x = tl.sum(tl.reshape(x, (x.shape[0], 2, x.shape[1] // 2)), axis=1)
    return tl.reshape(x, (x.shape[0],))


@triton.jit(do_not_specialize=SIZES)
def _rows_kernel(
    p_scores,
    p_labels,
    p_frames,
    p_lengths,
    p_added,
    p_top,
    p_wide,
    p_offset,
    p_peak,
    p_inverse,
    p_rest,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    classes,
    o_blank,
    pairs,
    LOGITS: tl.constexpr,
    SOFTMAX: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """Finds each frame's best label, whether labels are far apart, the softmax's statistics, and the common factor.

    The common factor is NaN for a frame with NaN or +inf, and so the sample's score becomes NaN.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    REAL: tl.constexpr = p_top.dtype.element_ty
    b_frames = tl.load(p_frames + n)
    if (tl.program_id(0) % tiles) * ROWS >= b_frames:
        return
    used = t < b_frames
    p_row = p_scores + n * stride_n + t * stride_t
    b_peak = tl.full((ROWS,), float("-inf"), REAL)
    b_sums, b_rests = tl.zeros((ROWS, BLOCK), REAL), tl.zeros((ROWS, BLOCK), REAL)
    b_bad = tl.zeros((ROWS,), tl.int32)
    # This loop reads all scores. So that it is fast, columns are 32-bit, and addresses are a base plus constants.
    c = tl.arange(0, BLOCK)
    for c0 in range(0, classes, BLOCK):
        mask = used[:, None] & (c < classes - c0)[None, :]
        x = tl.load(columns(p_row, c0, c, stride_c), mask=mask, other=float("-inf")).to(REAL)
        if SOFTMAX:  # NaN or +inf makes the sum NaN
            peak = tl.maximum(b_peak, tl.max(x, axis=1))
            base = tl.where(peak == float("-inf"), 0.0, peak)
            b_exp, shrunk = exp_nonpositive(x - base[:, None]), exp_nonpositive(b_peak - base)[:, None]
            b_rests = tl.where((peak > b_peak)[:, None], b_sums, b_rests) * shrunk
            b_rests += tl.where(x < peak[:, None], b_exp, 0.0)
            b_sums = b_sums * shrunk + b_exp
            b_peak = peak
        else:
            b_bad = tl.maximum(b_bad, tl.max(tl.where(x < float("inf"), 0, 1), axis=1))
    if GENERAL:  # the labels of all states; added scores are included in how far apart they are
        b_top = tl.full((ROWS,), float("-inf"), REAL)
        b_least, b_most = -b_top, b_top
        for s0 in range(0, 2 * pairs, LABELS):
            s = s0 + tl.arange(0, LABELS).to(tl.int64)
            b_label = tl.load(p_labels + n * 2 * pairs + s, mask=s < 2 * pairs, other=classes).to(tl.int64)
            b_added = tl.load(p_added + n * 2 * pairs + s, mask=b_label < classes, other=0.0).to(REAL)
            mask = used[:, None] & (b_label < classes)[None, :]
            x = tl.load(p_row[:, None] + (b_label * stride_c)[None, :], mask=mask, other=float("-inf")).to(REAL)
            b_top = tl.maximum(b_top, tl.max(x, axis=1))
            x += b_added[None, :]
            b_most = tl.maximum(b_most, tl.max(x, axis=1))
            b_least = tl.minimum(b_least, tl.min(tl.where(x == float("-inf"), float("inf"), x), axis=1))
        b_wide = (b_least < b_top - NARROW) | (b_most > b_top + NARROW)
    else:
        b_length = tl.load(p_lengths + n)
        b_top = tl.load(p_row + o_blank, mask=used, other=0.0).to(REAL)
        b_least = tl.where(b_top == float("-inf"), float("inf"), b_top)
        for s0 in range(0, b_length, LABELS):
            s = s0 + tl.arange(0, LABELS).to(tl.int64)
            is_token = s < b_length
            b_token = tl.load(p_labels + n * (pairs - 1) + s, mask=is_token, other=0).to(tl.int64)
            mask = used[:, None] & is_token[None, :]
            x = tl.load(p_row[:, None] + (b_token * stride_c)[None, :], mask=mask, other=float("-inf")).to(REAL)
            b_top = tl.maximum(b_top, tl.max(x, axis=1))
            b_least = tl.minimum(b_least, tl.min(tl.where(x == float("-inf"), float("inf"), x), axis=1))
        b_wide = b_least < b_top - NARROW
    b_top = tl.where(b_top == float("-inf"), 0.0, b_top)
    b_offset = b_top.to(tl.float64)
    o_row = n * frames_max + t
    if SOFTMAX:
        b_sum, b_rest = sum_of_columns(b_sums), sum_of_columns(b_rests)
        # If all classes have -inf, logits are invalid; log-probabilities then get no softmax part.
        impossible = b_peak == float("-inf")
        b_bad = tl.where(b_sum != b_sum, 1, 0)
        if LOGITS:
            b_bad = tl.where(impossible, 1, b_bad)
        b_sum = tl.where(impossible | (b_sum != b_sum), 1.0, b_sum)
        if LOGITS:
            b_whole = tl.where(b_sum < SURE, 1.0 + b_rest.to(tl.float64), b_sum.to(tl.float64))
            b_offset = b_offset - b_peak.to(tl.float64) - tl.log(b_whole)
        tl.store(p_peak + o_row, tl.where(impossible, 0.0, b_peak), mask=used)
        tl.store(p_inverse + o_row, reciprocal(b_sum), mask=used)
        tl.store(p_rest + o_row, b_rest, mask=used)
    tl.store(p_top + o_row, b_top, mask=used)
    tl.store(p_wide + o_row, b_wide.to(tl.int8), mask=used)
    tl.store(p_offset + o_row, tl.where(b_bad != 0, float("nan"), b_offset), mask=used)


@triton.jit
def sum_of_offsets(p_offset, frames, BLOCK: tl.constexpr):
    """The factor common to all paths of a sample, in nats; NaN if a frame holds NaN or +inf."""
    offset = tl.zeros((), tl.float64)
    for t0 in range(0, frames, BLOCK):
        t = t0 + tl.arange(0, BLOCK).to(tl.int64)
        offset += tl.sum(tl.load(p_offset + t, mask=t < frames, other=0.0), axis=0)
    return offset


def read_rows(batch: Batch, rows: Rows) -> None:
    """Launches the kernel that reads the scores first. Writes ``rows``."""
    sizes = batch.sizes
    block, together = tuning.score_block(sizes.classes)
    _rows_kernel[(triton.cdiv(sizes.frames, together) * sizes.size,)](
        batch.scores,
        batch.states.labels,
        batch.states.frames,
        batch.states.lengths,
        batch.extra[0],
        *rows,
        *batch.scores.stride(),
        sizes.frames,
        sizes.classes,
        batch.blank * batch.scores.stride(2),
        sizes.pairs,
        LOGITS=batch.from_logits,
        SOFTMAX=batch.softmax,
        ROWS=together,
        BLOCK=block,
        LABELS=min(block, tuning.TILE),
        GENERAL=batch.states.general,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
