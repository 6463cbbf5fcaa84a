"""Reads every frame once before the sweep: finds the softmax's statistics, and writes the table of emissions.

May import triton, tuning.py, launch.py, scaled.py, blocks.py and batch.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import as_int64, samples_of, softmax_of, states_of, statistics_of, table_of
from .launch import Memory, launch
from .scaled import bias, exp_nonpositive, narrow, reciprocal
from .tuning import SIZES, Constant

SURE = Constant(1.25)  # a class is sure if the softmax's sum, in which it has 1, is below this
LARGEST = Constant(1 << 27)  # if the biases of normalised_biased add up to more, exponents may exceed 32 bits
STEPS = Constant(tuning.ROWS_TILE.bit_length() - 1)  # how often the longest row of a tile can be halved


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


@triton.jit
def _label_scores(k0, row, labels, GENERAL: tl.constexpr, LABELS: tl.constexpr, REAL: tl.constexpr):
    """Labels from column k0 of the table: the columns, which of them exist, their scores, and what is added to them."""
    p_row, stride_c, o_blank, used = row
    p_labels, p_added, length, pairs, classes = labels
    k = k0 + tl.arange(0, LABELS).to(tl.int64)
    b_added = tl.zeros((LABELS,), REAL)
    if GENERAL:
        b_label = tl.load(p_labels + k, mask=k < 2 * pairs, other=classes).to(tl.int64)
        exists = b_label < classes
        b_added = tl.load(p_added + k, mask=exists, other=0.0).to(REAL)
        o_label = b_label * stride_c
    else:
        exists = k <= length
        b_token = tl.load(p_labels + k - 1, mask=exists & (k > 0), other=0).to(tl.int64)
        o_label = tl.where(k > 0, b_token * stride_c, o_blank)
    mask = used[:, None] & exists[None, :]
    x = tl.load(p_row[:, None] + o_label[None, :], mask=mask, other=float("-inf")).to(REAL)
    return k, exists[None, :], x, b_added[None, :]


@triton.jit
def _reach(x, exists, b_added):
    """Labels' scores, and what limits them with what is added: from below and from above."""
    with_added = x + b_added
    return x, tl.where(exists, with_added, float("inf")), tl.where(exists, with_added, float("-inf"))


@triton.jit
def _store_emissions(p_out, k, exists, x, b_added, top, used):
    mask = used[:, None] & exists
    tl.store(p_out[:, None] + k[None, :], exp_nonpositive((x - top[:, None]) + b_added), mask=mask)


@triton.jit
def _finite(top):
    return tl.where(top == float("-inf"), 0.0, top)


@triton.jit
def _write_emissions(
    p_out,
    row,
    labels,
    TABLE: tl.constexpr,
    GENERAL: tl.constexpr,
    ONCE: tl.constexpr,
    ROWS: tl.constexpr,
    LABELS: tl.constexpr,
    REAL: tl.constexpr,
):
    """Finds the best label of each frame, and whether labels are far apart; writes emissions if TABLE.

    With ONCE all labels are in one block, and their scores are read once.
    """
    used, length, pairs = row[3], labels[2], labels[3]
    if ONCE:
        k, exists, x, b_added = _label_scores(0, row, labels, GENERAL, LABELS, REAL)
        b_top, b_least, b_most = _reach(x, exists, b_added)
    else:
        count = 2 * pairs if GENERAL else length + 1
        b_top = tl.full((ROWS, LABELS), float("-inf"), REAL)
        b_least, b_most = -b_top, b_top
        for k0 in range(0, count, LABELS):  # by column: Triton 3.6 fails at maxima of rows that a loop carries on
            _, exists, x, b_added = _label_scores(k0, row, labels, GENERAL, LABELS, REAL)
            reach = _reach(x, exists, b_added)
            b_top, b_least = tl.maximum(b_top, reach[0]), tl.minimum(b_least, reach[1])
            b_most = tl.maximum(b_most, reach[2])
    top, least, most = _finite(tl.max(b_top, axis=1)), tl.min(b_least, axis=1), tl.max(b_most, axis=1)
    if TABLE:
        if ONCE:
            _store_emissions(p_out, k, exists, x, b_added, top, used)
        else:
            for k0 in range(0, count, LABELS):
                k, exists, x, b_added = _label_scores(k0, row, labels, GENERAL, LABELS, REAL)
                _store_emissions(p_out, k, exists, x, b_added, top, used)
    FAR: tl.constexpr = narrow(REAL)
    return top, (least < top - FAR) | (most > top + FAR)


@triton.jit(do_not_specialize=SIZES)
def _rows_kernel(
    p_scores,
    p_lattice,
    p_scratch,
    p_kept,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    size,
    classes,
    pairs,
    o_blank,
    parts,
    LOGITS: tl.constexpr,
    SOFTMAX: tl.constexpr,
    TABLE: tl.constexpr,
    DOUBLE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
    ONCE: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """Finds each frame's best label, the emissions, the softmax's statistics, and the common factor; no progress.

    The common factor is NaN for a frame with NaN or +inf, and so the sample's score becomes NaN.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    REAL: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    p_frames, p_lengths, _, _, _ = samples_of(p_lattice, size)
    p_labels, _, p_added, _ = states_of(p_lattice, size, classes, pairs, GENERAL)
    p_offset, p_top, p_wide = statistics_of(p_scratch, size, frames_max, DOUBLE)
    p_progress, p_table = table_of(p_scratch, size, frames_max, pairs, parts, DOUBLE)
    b_frames = tl.load(p_frames + n)
    if TABLE and tl.program_id(0) % tiles == 0:  # one count more than there are programs of the sweep
        programs = 2 * parts  # of a sample
        for k0 in range(0, programs, LABELS):
            k = k0 + tl.arange(0, LABELS)
            tl.store(p_progress + n * programs + k, 0, mask=k < programs)
        tl.store(p_progress + as_int64(size) * programs, 0, mask=n == 0)
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
    o_row = n * frames_max + t
    p_label = p_labels + n * (2 * pairs if GENERAL else pairs - 1)
    labels = (p_label, p_added + n * 2 * pairs, tl.load(p_lengths + n), pairs, classes)
    row = (p_row, stride_c, o_blank, used)
    p_out = p_table + o_row * (2 * pairs if GENERAL else pairs)
    b_top, b_wide = _write_emissions(p_out, row, labels, TABLE, GENERAL, ONCE, ROWS, LABELS, REAL)
    b_offset = b_top.to(tl.float64)
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
        p_peak, p_inverse, p_rest = softmax_of(p_kept, size, frames_max, DOUBLE)
        tl.store(p_peak + o_row, tl.where(impossible, 0.0, b_peak), mask=used)
        tl.store(p_inverse + o_row, reciprocal(b_sum), mask=used)
        tl.store(p_rest + o_row, b_rest, mask=used)
    tl.store(p_top + o_row, b_top, mask=used)
    tl.store(p_wide + o_row, (b_wide | (b_frames * bias(REAL) > LARGEST)).to(tl.int8), mask=used)
    tl.store(p_offset + o_row, tl.where(b_bad != 0, float("nan"), b_offset), mask=used)


@triton.jit
def sum_of_offsets(p_offset, frames, BLOCK: tl.constexpr):
    """The factor common to all paths of a sample, in nats; NaN if a frame holds NaN or +inf."""
    offset = tl.zeros((), tl.float64)
    for t0 in range(0, frames, BLOCK):
        t = t0 + tl.arange(0, BLOCK).to(tl.int64)
        offset += tl.sum(tl.load(p_offset + t, mask=t < frames, other=0.0), axis=0)
    return offset


def read_rows(batch: Batch, scratch: Memory, kept: Memory, *, table: bool) -> None:
    """Launches the kernel that reads the scores first.

    Args:
        batch: scores and lattices.
        scratch: the block; its statistics are written, and for sums the table, and that there is no progress.
        kept: the block; what is known of the softmax is written, if the gradient has a softmax part.
        table: whether for sums.
    """
    sizes = batch.sizes
    num_labels = (2 if batch.general else 1) * sizes.pairs
    block, labels, together = tuning.row_blocks(sizes.classes, num_labels)
    launch(
        _rows_kernel,
        (-(-sizes.frames // together) * sizes.size,),
        batch.scores,
        batch.lattice,
        scratch,
        kept,
        *batch.score_layout,
        tuning.lanes(sizes.pairs).parts,
        LOGITS=batch.from_logits,
        SOFTMAX=batch.softmax,
        TABLE=table,
        DOUBLE=batch.double,
        ROWS=together,
        BLOCK=block,
        LABELS=labels,
        ONCE=labels >= num_labels,
        GENERAL=batch.general,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
