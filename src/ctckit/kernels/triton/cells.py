"""Rows of lattice states: where they lie, which arcs enter them, and the loop that carries one from frame to frame.

States are kept in pairs, as in native/cells.h: pair i holds state 2i, which emits the blank, and state 2i+1, which
emits token i; of the last pair only the first state exists. A backward sweep is a forward one on the mirrored lattice:
states and frames are counted from the other end, and an arc is read where it arrives. May import triton, scaled.py and
lattice.py.
"""

import triton
import triton.language as tl

from .lattice import END, SKIP, START, STAY, STEP
from .scaled import ZERO

OPEN = tl.constexpr(1 << 30)  # an arc mask that leaves every exponent alone
AHEAD = tl.constexpr(4)  # frames whose scores are loaded before they are used


@triton.jit
def pair_cells(i, length, backward):
    """Indices of pair i's even and odd state in storage order, and whether they exist."""
    even = tl.where(backward, length - i, i)
    odd = tl.where(backward, length - 1 - i, i)
    return even, (i >= 0) & (i <= length), odd, (i >= 0) & (i < length)


@triton.jit
def arc_mask(p_arcs, cell, mask, bit):
    """An arc as a mask of exponents: min(e, mask) keeps e where the arc exists, and makes a zero where it does not."""
    return tl.where((tl.load(p_arcs + cell, mask=mask, other=0) & bit) != 0, OPEN, ZERO)


@triton.jit
def arc_masks(p_arcs, pairs, i, length, backward):
    """Masks of stay, step and skip into the even states of pairs i, then into the odd ones.

    Forward, an arc's bit is stored at the state that it enters. Backward it is taken in reverse, from the state where
    the bit is stored to one or two below.
    """
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    ahead = backward.to(tl.int64)
    p_even, p_odd = p_arcs, p_arcs + pairs
    stay_even = arc_mask(p_even, even, is_even, STAY)
    step_even = arc_mask(p_arcs + ahead * pairs, even, is_even & (even < length + 1 - ahead), STEP)
    skip_even = arc_mask(p_even, even + ahead, is_even & (even + ahead <= length), SKIP)
    stay_odd = arc_mask(p_odd, odd, is_odd, STAY)
    step_odd = arc_mask(p_arcs + (1 - ahead) * pairs, odd + ahead, is_odd, STEP)
    skip_odd = arc_mask(p_odd, odd + ahead, is_odd & (odd + ahead < length), SKIP)
    return stay_even, step_even, skip_even, stay_odd, step_odd, skip_odd


@triton.jit
def first_row(p_arcs, pairs, i, length, backward):
    """Exponents of the row that paths begin from: 0, which is the number 1, where a path may begin (backward: end)."""
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    bit = tl.where(backward, END, START)
    return tl.minimum(arc_mask(p_arcs, even, is_even, bit), 0), tl.minimum(
        arc_mask(p_arcs + pairs, odd, is_odd, bit), 0
    )


@triton.jit
def pair_below(m, e, i):
    """For each pair, what the one below it holds: a row in registers, moved up by one."""
    below = tl.maximum(i - 1, 0)
    if m.dtype == tl.float64:
        moved_m, moved_e = tl.gather(m, below, 0), tl.gather(e, below, 0)
    else:
        both = (e.to(tl.int64) << 32) | m.to(tl.int32, bitcast=True).to(tl.int64)
        both = tl.gather(both, below, 0)
        moved_m, moved_e = both.to(tl.int32).to(tl.float32, bitcast=True), (both >> 32).to(tl.int32)
    return moved_m, tl.where(i > 0, moved_e, ZERO)


@triton.jit
def load_row(p_m, p_e, pairs, i, length, backward, alive):
    """Pairs i of a stored row; zero where there is no state, and everywhere if the row is not alive."""
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    reach = tl.where(alive, length, -1)
    is_even, is_odd = is_even & (i <= reach), is_odd & (i < reach)
    even_m, even_e = tl.load(p_m + even, mask=is_even, other=1.0), tl.load(p_e + even, mask=is_even, other=ZERO)
    odd_m = tl.load(p_m + pairs + odd, mask=is_odd, other=1.0)
    odd_e = tl.load(p_e + pairs + odd, mask=is_odd, other=ZERO)
    return (even_m, even_e), (odd_m, odd_e)


@triton.jit
def store_row(p_m, p_e, pairs, i, length, backward, even, odd):
    """Stores pairs i of a row."""
    even_cell, is_even, odd_cell, is_odd = pair_cells(i, length, backward)
    tl.store(p_m + even_cell, even[0], mask=is_even)
    tl.store(p_e + even_cell, even[1], mask=is_even)
    tl.store(p_m + pairs + odd_cell, odd[0], mask=is_odd)
    tl.store(p_e + pairs + odd_cell, odd[1], mask=is_odd)


@triton.jit
def frame_of_step(j, frames, backward):
    """The frame of a direction's step j."""
    return tl.where(backward, frames - 1 - j, j)


@triton.jit
def load_frame(j, sample, sources, rows, MEET: tl.constexpr):
    """What step j needs: scores of the blank and of the tokens, the frame's top, and the row to meet, if any."""
    frames, length, backward, stop, pairs, i = sample
    p_blank, p_label, p_top, p_wide, stride_t = sources
    valid = j < stop
    t = tl.where(valid, frame_of_step(j, frames, backward), 0)
    b_top = tl.load(p_top + t, mask=valid, other=0.0)
    b_wide = tl.load(p_wide + t, mask=valid, other=0)
    b_blank = tl.load(p_blank + t * stride_t, mask=valid, other=0.0).to(b_top.dtype)
    b_label = tl.load(p_label + t * stride_t, mask=i < tl.where(valid, length, 0), other=0.0).to(b_top.dtype)
    if MEET:
        p_m, p_e = rows
        met = load_row(p_m + t * 2 * pairs, p_e + t * 2 * pairs, pairs, i, length, backward, valid)
        return b_blank, b_label, b_top, b_wide, met
    else:
        return b_blank, b_label, b_top, b_wide


@triton.jit
def carry_row(
    start,
    row,
    sample,
    sources,
    rows,
    constants,
    STEP: tl.constexpr,
    MEET: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
):
    """Carries a row in registers from step ``start`` to the sample's last; scores are loaded four frames ahead.

    The loop is unrolled by as many frames as are on their way, so that none of their registers is ever moved.

    Args:
        start: the first step.
        row: the row before it.
        sample: frames, length, backward, stop, pairs, i.
        sources: where scores are, as for load_frame.
        rows: stored rows, as for load_frame.
        constants: what STEP gets besides, the same at each step.
        STEP: makes the next row from (j, first of four or not, row, frame, sample, rows, constants, MEET, KEEP,
            EVEN_SKIPS); must leave a row alone beyond the last step.
        MEET: whether rows of the other direction are loaded.
        KEEP: whether STEP stores the rows.
        EVEN_SKIPS: whether even states may be skipped into.
    """
    queue = ()
    for q in tl.static_range(AHEAD):
        queue = queue + (load_frame(start + q, sample, sources, rows, MEET),)
    for j in range(start, sample[3], AHEAD):
        loaded = ()
        for q in tl.static_range(AHEAD):
            row = STEP(j + q, q == 0, row, queue[q], sample, rows, constants, MEET, KEEP, EVEN_SKIPS)
            loaded = loaded + (load_frame(j + q + AHEAD, sample, sources, rows, MEET),)
        queue = loaded
    return row
