"""Computes the gradient from the occupancies, with one read of the scores and one write of the gradient.

May import triton, tuning.py, launch.py, scaled.py, blocks.py, lattice.py, batch.py and rows.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import occupancy_of, results_of, runs_of, samples_of, softmax_of, states_of
from .lattice import INVALID
from .launch import Memory, launch
from .rows import SURE, columns, sum_of_columns
from .scaled import exp_nonpositive, reciprocal
from .tuning import SIZES, power_of_two

# How many scores, classes, frames and states of a frame one program processes at a time, at most. A program is one
# warp, so its threads never wait for each other. The order of a frame's sums depends on the number of classes alone.
TILE, MOST_CLASSES, MOST_ROWS, STATES_BLOCK = 512, 128, 16, 32
STRIDES = ["stride_t", "stride_n", "grad_stride_t", "grad_stride_n", "stride_factor"]
# How many states and frames one program sums at a time; fixed, since they determine the order.
VISITS_BLOCK, VISITS_ROWS = 64, 32


@triton.jit
def _sum_of_common(p_row, p_order, count, GENERAL: tl.constexpr, ROWS: tl.constexpr, LABELS: tl.constexpr):
    """For each frame, the occupancy of the common class: the sum over its states."""
    b_sum = tl.zeros((ROWS, LABELS), p_row.dtype.element_ty)
    for i0 in range(0, count, LABELS):
        i = i0 + tl.arange(0, LABELS)
        s = tl.load(p_order + i, mask=i < count, other=0) if GENERAL else i  # CTC's are the even states
        b_sum += tl.load(p_row[:, None] + s[None, :], mask=(i < count)[None, :], other=0.0)
    return sum_of_columns(b_sum)


@triton.jit
def _sums_of_classes(p_cell, runs, c, classes, common, b_common):
    """The occupancies of classes c: b_common for the common class, else the sum over the class's states in order."""
    p_order, p_begin, p_end = runs
    c = c[None, :]
    mask = (c < classes) & (c != common)
    b_begin = tl.load(p_begin + c, mask=mask, other=0)
    b_count = tl.load(p_end + c, mask=mask, other=0) - b_begin
    b_sum = tl.where(c == common, b_common[:, None], 0.0)
    for r in range(0, tl.max(b_count)):
        s = tl.load(p_order + b_begin + r, mask=r < b_count, other=0)
        b_sum += tl.load(p_cell[:, None] + s, mask=r < b_count, other=0.0)
    return b_sum


@triton.jit
def _sums_of_states(
    p_cell, p_labels, count, scores, b_best, classes, common, sums, SOFTMAX: tl.constexpr, LABELS: tl.constexpr
):
    """The sums, by column, of all occupancies, and of those without the class whose score is b_best.

    Each state's column is by its own number, so that the order does not depend on the other samples' lattices.
    """
    b_all, b_others = sums
    for s0 in range(0, count, LABELS):
        s = s0 + tl.arange(0, LABELS)
        b_label = tl.load(p_labels + s, mask=s < count, other=classes)
        mask = ((b_label < classes) & (b_label != common))[None, :]
        b_gamma = tl.load(p_cell[:, None] + s[None, :], mask=mask, other=0.0)
        b_all += b_gamma
        if SOFTMAX:
            x = tl.load(columns(scores[0], 0, b_label, scores[1]), mask=mask, other=0.0).to(b_gamma.dtype)
            b_others += tl.where(x == b_best[:, None], 0.0, b_gamma)
    return b_all, b_others


@triton.jit
def _sums_of_frames(
    p_row,
    p_labels,
    length,
    pairs,
    scores,
    b_best,
    classes,
    common,
    b_common,
    SOFTMAX: tl.constexpr,
    GENERAL: tl.constexpr,
    LABELS: tl.constexpr,
):
    """The sum of all occupancies of each frame, and the same without the class whose score is b_best."""
    none = tl.zeros((b_common.shape[0], LABELS), b_common.dtype)
    sums = none, none
    if GENERAL:
        sums = _sums_of_states(p_row, p_labels, length + 1, scores, b_best, classes, common, sums, SOFTMAX, LABELS)
        p_labels += pairs
    sums = _sums_of_states(p_row + pairs, p_labels, length, scores, b_best, classes, common, sums, SOFTMAX, LABELS)
    b_sum, b_rest = sum_of_columns(sums[0]) + b_common, sum_of_columns(sums[1])
    if SOFTMAX:
        x = tl.load(scores[0] + common.to(tl.int64) * scores[1]).to(b_common.dtype)
        b_rest += tl.where(x == b_best, 0.0, b_common)
    return b_sum, b_rest


@triton.jit
def _scores_of(scores, c, classes, b_best, SOFTMAX: tl.constexpr):
    """The scores of classes c; not read if the gradient has no softmax part."""
    x = tl.zeros((b_best.shape[0], c.shape[0]), b_best.dtype)
    if SOFTMAX:
        c = tl.minimum(c, classes - 1)
        x = tl.load(columns(scores[0], 0, c, scores[1])).to(b_best.dtype)
    return x


@triton.jit
def _store_classes(out, b_share, softmax, c, x, b_gamma, exists, classes, SOFTMAX: tl.constexpr):
    """Writes the gradient of classes c from their scores x and their occupancies, not normalised."""
    b_grad = 0.0 - b_gamma * b_share[:, None]
    if SOFTMAX:
        b_peak, b_inverse, b_best, b_entry = softmax
        b_grad += exp_nonpositive(x - b_peak[:, None]) * b_inverse[:, None]
        b_grad = tl.where(x == b_best[:, None], b_entry[:, None], b_grad)
    mask = exists[:, None] & (c < classes)[None, :]
    tl.store(columns(out[0], 0, c, out[1]), b_grad.to(out[0].dtype.element_ty), mask=mask)


@triton.jit
def _store_states(p_out, p_row, b_share, exists, length, pairs, LABELS: tl.constexpr):
    """Writes some frames' occupancies by state."""
    for i0 in range(0, pairs, LABELS):
        i = i0 + tl.arange(0, LABELS)
        b_gamma = tl.load(p_row[:, None] + i[None, :], mask=(i <= length)[None, :], other=0.0) * b_share[:, None]
        p_even = p_out[:, None] + (2 * i)[None, :]
        tl.store(p_even, b_gamma, mask=exists[:, None] & (i < pairs)[None, :])
        b_gamma = tl.load(p_row[:, None] + (pairs + i)[None, :], mask=(i < length)[None, :], other=0.0)
        tl.store(p_even + 1, b_gamma * b_share[:, None], mask=exists[:, None] & (i < pairs - 1)[None, :])


@triton.jit
def _fill(p_out, stride, count, b_fill, exists, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    """Writes one number per frame to all columns of the frame."""
    for c0 in range(0, count, BLOCK):
        c = c0 + tl.arange(0, BLOCK).to(tl.int64)
        mask = exists[:, None] & (c < count)[None, :]
        b_out = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
        tl.store(p_out[:, None] + (c * stride)[None, :], b_out.to(p_out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=[*SIZES, *STRIDES])
def _gradient_kernel(
    p_scores,
    p_grad,
    p_states,
    p_weights,
    p_factor,
    p_lattice,
    p_kept,
    p_results,
    stride_factor,
    stride_t,
    stride_n,
    stride_c,
    grad_stride_t,
    grad_stride_n,
    grad_stride_c,
    frames_max,
    size,
    classes,
    pairs,
    blank,
    SOFTMAX: tl.constexpr,
    STATES: tl.constexpr,
    FACTOR: tl.constexpr,
    GENERAL: tl.constexpr,
    DOUBLE: tl.constexpr,
    WHOLE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Writes some frames of one sample's gradient: weight · (softmax - occupancy by class).

    The sample may have more frames than frames_max, if its occupancies are sums over frames.

    Each frame's occupancies are divided by their own sum, which equals the total up to rounding. So the total's
    rounding error does not enter the gradient. With WHOLE, all classes are one block, whose sums give that sum. Else
    the occupancies are read once more before.

    Where the network is sure of a class, its softmax and occupancy are both near 1, and their difference has few
    correct digits. The other entries are accurate, and a frame's entries add up to 0. So this class's entry is computed
    as minus the sum of the others.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles) * ROWS + tl.arange(0, ROWS)
    p_frames, p_lengths, _, p_status, p_common = samples_of(p_lattice, size)
    p_order, p_begin, p_end = runs_of(p_lattice, size, classes, pairs, GENERAL)
    p_labels = states_of(p_lattice, size, classes, pairs, GENERAL)[0]
    p_peak, p_inverse, p_rest = softmax_of(p_kept, size, frames_max, DOUBLE)
    p_gamma = occupancy_of(p_kept, size, frames_max, pairs, DOUBLE)[0]
    p_score = results_of(p_results, size)[0]
    frames = tl.minimum(tl.load(p_frames + n).to(tl.int32), frames_max)
    length, status, score = tl.load(p_lengths + n).to(tl.int32), tl.load(p_status + n), tl.load(p_score + n)
    exists, used = t < frames_max, t < frames
    REAL: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    out = (p_grad + n * grad_stride_n + t.to(tl.int64) * grad_stride_t, grad_stride_c)
    p_state = p_states + (t.to(tl.int64) * size + n) * (2 * pairs - 1)

    if (score > float("-inf")) & ((tl.program_id(0) % tiles) * ROWS < frames):
        row = tl.minimum(t, frames - 1)  # after the last frame, it is read again, and 0 is written
        o_sample = n * frames_max
        p_row = p_gamma + o_sample * 2 * pairs + row.to(tl.int64) * (2 * pairs)
        scores = (p_scores + n * stride_n + row.to(tl.int64) * stride_t, stride_c)
        p_begin, p_end = p_begin + n * classes, p_end + n * classes
        if GENERAL:  # runs are of all states
            o_states, p_cell, common = n * 2 * pairs, p_row, tl.load(p_common + n)
            first = tl.load(p_begin + common)
            num_common = tl.load(p_end + common) - first
        else:  # of the odd states
            o_states, p_cell, common = n * (pairs - 1), p_row + pairs, blank
            first, num_common = 0, length + 1
        runs = (p_order + o_states, p_begin, p_end)
        b_best = tl.zeros((ROWS,), REAL)
        if SOFTMAX:
            b_peak, b_inverse = tl.load(p_peak + o_sample + row), tl.load(p_inverse + o_sample + row)
            b_rest = tl.load(p_rest + o_sample + row) * b_inverse
            b_best = tl.where(b_inverse * SURE > 1.0, b_peak, float("inf"))  # no score is inf

        b_common = _sum_of_common(p_row, runs[0] + first, num_common, GENERAL, ROWS, LABELS)
        if WHOLE:
            c = tl.arange(0, BLOCK)
            x = _scores_of(scores, c, classes, b_best, SOFTMAX)
            b_gamma = _sums_of_classes(p_cell, runs, c, classes, common, b_common)
            b_sum = sum_of_columns(b_gamma)
            b_others = sum_of_columns(tl.where(x == b_best[:, None], 0.0, b_gamma))
        else:
            p_label = p_labels + o_states
            b_sum, b_others = _sums_of_frames(
                p_row, p_label, length, pairs, scores, b_best, classes, common, b_common, SOFTMAX, GENERAL, LABELS
            )
        b_share = reciprocal(b_sum)
        if STATES:
            _store_states(p_state, p_row, tl.where(used, b_share, 0.0), exists, length, pairs, LABELS)
        weight = tl.load(p_weights + n)
        if FACTOR:
            weight *= tl.load(p_factor + n * stride_factor).to(tl.float64)
        b_weight = tl.where(used, weight.to(REAL), 0.0)
        softmax = ()
        if SOFTMAX:
            softmax = (b_peak, b_inverse * b_weight, b_best, (b_others * b_share - b_rest) * b_weight)
        b_share *= b_weight
        if WHOLE:
            _store_classes(out, b_share, softmax, c, x, b_gamma, exists, classes, SOFTMAX)
        else:
            for c0 in range(0, classes, BLOCK):
                c = c0 + tl.arange(0, BLOCK)
                x = _scores_of(scores, c, classes, b_best, SOFTMAX)
                b_gamma = _sums_of_classes(p_cell, runs, c, classes, common, b_common)
                _store_classes(out, b_share, softmax, c, x, b_gamma, exists, classes, SOFTMAX)
    else:
        num_nan = tl.where(status == INVALID, frames_max, tl.where(score != score, frames, 0))
        b_fill = tl.where(t < num_nan, float("nan"), 0.0).to(REAL)
        _fill(out[0], out[1], classes, b_fill, exists, ROWS, BLOCK)
        if STATES:
            _fill(p_state, 1, 2 * pairs - 1, b_fill, exists, ROWS, BLOCK)


@triton.jit(do_not_specialize=SIZES)
def _visits_kernel(
    p_lattice,
    p_kept,
    p_visits,
    frames_max,
    size,
    classes,
    pairs,
    DOUBLE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums some states' occupancies over the frames of one sample, in float64."""
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, _, _, _ = samples_of(p_lattice, size)
    p_gamma, _ = occupancy_of(p_kept, size, frames_max, pairs, DOUBLE)
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


@triton.jit(do_not_specialize=SIZES)
def _visits_sum_kernel(p_lattice, p_visits, p_sum, size, pairs, BLOCK: tl.constexpr):
    """Sums one sample's visits over its states."""
    n = tl.program_id(0).to(tl.int64)
    _, p_lengths, _, _, _ = samples_of(p_lattice, size)
    length = tl.load(p_lengths + n)
    p_even = p_visits + n * 2 * pairs
    b_sum = tl.zeros((BLOCK,), tl.float64)
    for i0 in range(0, length + 1, BLOCK):
        i = i0 + tl.arange(0, BLOCK).to(tl.int64)
        b_sum += tl.load(p_even + i, mask=i <= length, other=0.0)
        b_sum += tl.load(p_even + pairs + i, mask=i < length, other=0.0)
    tl.store(p_sum + n, tl.sum(b_sum, axis=0))


def write_gradient(
    batch: Batch,
    kept: Memory,
    results: Memory,
    weights: Memory,
    grad: Memory,
    states: Memory | None = None,
    factor: Memory | None = None,
    *,
    softmax: bool,
) -> None:
    """Launches the gradient of Σ weights·(-score).

    Args:
        batch: scores and lattices.
        kept: the block with the occupancies.
        results: the block with the scores.
        weights: float64 (N,).
        grad: (T, N, C), any strides, written.
        states: (T, N, 2·pairs - 1), written if given: occupancies by state.
        factor: (N,), or () for all samples: weights are multiplied by it if given.
        softmax: whether to write softmax - γ, as for logits; else -γ.
    """
    sizes = batch.sizes
    block = min(power_of_two(sizes.classes), MOST_CLASSES)
    together = min(TILE // block, MOST_ROWS)
    launch(
        _gradient_kernel,
        (-(-sizes.frames // together) * sizes.size,),
        batch.scores,
        grad,
        grad if states is None else states,
        weights,
        weights if factor is None else factor,
        batch.lattice,
        kept,
        results,
        factor.stride(0) if factor is not None and factor.ndim else 0,
        *batch.scores.stride(),
        *grad.stride(),
        *sizes,
        batch.blank,
        SOFTMAX=softmax,
        STATES=states is not None,
        FACTOR=factor is not None,
        GENERAL=batch.general,
        DOUBLE=batch.double,
        WHOLE=sizes.classes <= block,
        ROWS=together,
        BLOCK=block,
        LABELS=STATES_BLOCK,
        num_warps=1,
        enable_fp_fusion=tuning.FUSED,
    )


def count_visits(batch: Batch, kept: Memory, visits: Memory, visits_sum: Memory) -> None:
    """Launches the sums of occupancies over frames, not normalised, and their sums over states.

    Args:
        batch: the lattices.
        kept: the block with the occupancies.
        visits: float64 (N, 2, pairs), written.
        visits_sum: float64 (N,), written.
    """
    sizes = batch.sizes
    launch(
        _visits_kernel,
        (sizes.size, -(-2 * sizes.pairs // VISITS_BLOCK)),
        batch.lattice,
        kept,
        visits,
        *sizes,
        DOUBLE=batch.double,
        ROWS=VISITS_ROWS,
        BLOCK=VISITS_BLOCK,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
    launch(
        _visits_sum_kernel,
        (sizes.size,),
        batch.lattice,
        visits,
        visits_sum,
        sizes.size,
        sizes.pairs,
        BLOCK=STATES_BLOCK,
        num_warps=1,
    )
