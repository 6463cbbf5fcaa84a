"""Rows of lattice states: how they are stored, and which arcs enter them.

States are stored in pairs, as in native/sums/cells.h: pair i has states 2i and 2i+1; in the last pair only the first
exists. Without GENERAL, lattices are CTC's own, as lattice.py lays them out: state 2i emits the blank, state 2i+1 emits
token i, and no SKIP enters a blank. With GENERAL, labels and arcs are arbitrary, and arcs between different states have
weights. A backward sweep is a forward one on the mirrored lattice: states and frames are counted from the other end,
and an arc is read at the state where it ends. May import triton, tuning.py, scaled.py and lattice.py.
"""

import triton
import triton.language as tl

from .lattice import END, SKIP, START, STAY, STEP
from .scaled import ZERO, exponential
from .tuning import Constant

OPEN = Constant(1 << 30)  # an arc mask that changes no exponent


@triton.jit
def pair_cells(i, length, backward):
    """The indices of pair i's even and odd states in storage order, and whether they exist."""
    even = tl.where(backward, length - i, i)
    odd = tl.where(backward, length - 1 - i, i)
    return even, (i >= 0) & (i <= length), odd, (i >= 0) & (i < length)


@triton.jit
def _has(p_arcs, cell, mask, bit):
    """Whether states have an arc."""
    return (tl.load(p_arcs + cell, mask=mask, other=0) & bit) != 0


@triton.jit
def arc_mask(p_arcs, p_entry, cell, mask, bit, REAL: tl.constexpr):
    """An arc as a mask of exponents: min(e, mask) is e where the arc exists, and a zero's exponent where it doesn't."""
    return tl.where(_has(p_arcs, cell, mask, bit), OPEN, ZERO)


@triton.jit
def arc_factor(p_arcs, p_entry, cell, mask, bit, REAL: tl.constexpr):
    """An arc between different states as a scaled float: the factor for entering the state, 0 without an arc."""
    exists = _has(p_arcs, cell, mask, bit)
    m, e = exponential(tl.load(p_entry + cell, mask=mask, other=0.0))
    return m.to(REAL), tl.where(exists, e, ZERO)


@triton.jit
def arcs_into(p_arcs, p_entry, pairs, i, length, backward, READ: tl.constexpr, REAL: tl.constexpr):
    """Stay, step and skip into the even states of pairs i, then into the odd ones: stay as a mask, the others by READ.

    Forward, an arc's bit is stored at the state that it enters. Backward, the arc is followed in reverse, from the
    state where the bit is stored to one or two states below. Entry costs are stored at the same index as the bit.
    """
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    ahead = backward.to(tl.int64)
    step = ahead * pairs + even
    stay_even = arc_mask(p_arcs, p_entry, even, is_even, STAY, REAL)
    step_even = READ(p_arcs, p_entry, step, is_even & (even < length + 1 - ahead), STEP, REAL)
    skip_even = READ(p_arcs, p_entry, even + ahead, is_even & (even + ahead <= length), SKIP, REAL)
    step = (1 - ahead) * pairs + odd + ahead
    stay_odd = arc_mask(p_arcs, p_entry, pairs + odd, is_odd, STAY, REAL)
    step_odd = READ(p_arcs, p_entry, step, is_odd, STEP, REAL)
    skip_odd = READ(p_arcs, p_entry, pairs + odd + ahead, is_odd & (odd + ahead < length), SKIP, REAL)
    return stay_even, step_even, skip_even, stay_odd, step_odd, skip_odd


@triton.jit
def _first(p_arcs, p_entry, cell, mask, bit, backward, REAL: tl.constexpr):
    """The factor of a path that begins in a state: its entry cost; 1 backward, since the path ends there."""
    exists = _has(p_arcs, cell, mask, bit)
    m, e = exponential(tl.where(backward, 0.0, tl.load(p_entry + cell, mask=mask, other=0.0)))
    return m.to(REAL), tl.where(exists, e, ZERO)


@triton.jit
def first_row(p_arcs, p_entry, pairs, i, length, backward, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """The row that paths begin from: 1 where a path may begin (backward: end), or the factor of beginning there."""
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    bit = tl.where(backward, END, START)
    if GENERAL:
        first_even = _first(p_arcs, p_entry, even, is_even, bit, backward, REAL)
        first_odd = _first(p_arcs, p_entry, pairs + odd, is_odd, bit, backward, REAL)
    else:
        first_even = 1.0, tl.minimum(arc_mask(p_arcs, p_entry, even, is_even, bit, REAL), 0)
        first_odd = 1.0, tl.minimum(arc_mask(p_arcs, p_entry, pairs + odd, is_odd, bit, REAL), 0)
    return first_even, first_odd


@triton.jit
def load_row(p_m, p_e, pairs, i, length, backward, alive):
    """Loads pairs i of a stored row; zero for states that don't exist, and for all states if the row is not alive."""
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
    """The frame that a direction reads at step j."""
    return tl.where(backward, frames - 1 - j, j)


@triton.jit
def of_sample(n, lattices, scores, p_top, p_wide, frames_max, pairs, GENERAL: tl.constexpr):
    """Sample n's lattice and scores, as label_pointers takes them, and its frames' statistics with their stride.

    CTC's own lattices have no added scores and no entry scores; then these pointers are never read.
    """
    p_labels, p_arcs, p_added, p_entry = lattices
    p_scores, stride_t, stride_n, stride_c, o_blank = scores
    o_states = n * 2 * pairs
    p_label = p_labels + (o_states if GENERAL else n * (pairs - 1))
    p_added, p_entry, p_arc = p_added + o_states, p_entry + o_states, p_arcs + o_states
    layout = (p_arc, p_entry, p_label, p_added, p_scores + n * stride_n, o_blank, stride_c)
    return layout, (p_top + n * frames_max, p_wide + n * frames_max, stride_t)


@triton.jit
def label_pointers(layout, pairs, i, length, backward, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """Pointers to the scores of pairs i's labels in frame 0, and the scores that are added to them, if any."""
    p_arcs, _, p_label, p_added, p_score, o_blank, stride_c = layout
    even, is_even, odd, is_odd = pair_cells(i, length, backward)
    if GENERAL:
        # A state without an arc may not exist, and then its label is not a class.
        is_even = is_even & (tl.load(p_arcs + even, mask=is_even, other=0) != 0)
        is_odd = is_odd & (tl.load(p_arcs + pairs + odd, mask=is_odd, other=0) != 0)
        b_even = tl.load(p_label + even, mask=is_even, other=0).to(tl.int64)
        b_odd = tl.load(p_label + pairs + odd, mask=is_odd, other=0).to(tl.int64)
        added_even = tl.load(p_added + even, mask=is_even, other=0.0).to(REAL)
        added_odd = tl.load(p_added + pairs + odd, mask=is_odd, other=0.0).to(REAL)
        return p_score + b_even * stride_c, p_score + b_odd * stride_c, (added_even, added_odd)
    else:
        b_odd = tl.load(p_label + odd, mask=is_odd, other=0).to(tl.int64)
        return p_score + o_blank, p_score + b_odd * stride_c, (0, 0)
