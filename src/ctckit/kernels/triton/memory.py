"""What the sums' sweep reads and stores at each frame: emissions, rows to meet, and what parts of a row pass on.

Whatever is read is returned as it is stored, so that nothing has to wait for it until it is used. What a kernel is
compiled for is seen by the lengths of tuples: a tuple has an entry for each pair of states that a thread holds, a
pointer more if rows are packed, and none if a row is not cut into parts. May import triton,
tuning.py, scaled.py and batch.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from .scaled import ZERO
from .tuning import Constant

PACKED_ZERO = Constant(-(1 << 24))  # a zero's exponent in a row that is stored packed


@triton.jit
def _ask_table(o_row, cells, p_table, pairs, GENERAL: tl.constexpr):
    """The emissions of a frame: of each of a thread's pairs, or of the blank and each odd state."""
    evens, odds = (), ()
    if GENERAL:
        for p in tl.static_range(len(cells)):
            evens = evens + (tl.load(p_table + cells[p][0] + o_row, mask=cells[p][1], other=0.0),)
            odds = odds + (tl.load(p_table + (pairs + cells[p][2]) + o_row, mask=cells[p][3], other=0.0),)
    else:
        evens = (tl.load(p_table + o_row),)
        for p in tl.static_range(len(cells)):
            odds = odds + (tl.load(p_table + (1 + cells[p][2]) + o_row, mask=cells[p][3], other=0.0),)
    return evens, odds, 0, 0


@triton.jit
def _ask_scores(o_frame, cells, labels, statistics, GENERAL: tl.constexpr):
    """The labels' scores at a frame, the frame's best, and whether they are far apart."""
    p_top, p_wide, stride_t, origin = statistics
    o_row = (origin + o_frame) * stride_t
    b_top, b_wide = tl.load(p_top + o_frame), tl.load(p_wide + o_frame)
    evens, odds = (), ()
    for p in tl.static_range(len(cells)):
        odds = odds + (tl.load(labels[p][1] + o_row, mask=cells[p][3], other=0.0).to(b_top.dtype),)
        if GENERAL:
            evens = evens + (tl.load(labels[p][0] + o_row, mask=cells[p][1], other=0.0).to(b_top.dtype),)
        elif p == 0:
            evens = (tl.load(labels[p][0] + o_row).to(b_top.dtype),)
    return evens, odds, b_top, b_wide


@triton.jit
def _ask_met(j, direction, cells, stored, pairs, WIDE: tl.constexpr):
    """The row that the other direction has stored for a frame, as it is stored: see store_pair."""
    p_m, p_e = stored[0], stored[1]
    PACKED: tl.constexpr = len(stored) == 3
    m, e, low = (), (), ()
    for p in tl.static_range(len(cells)):
        o_row = j * (direction * 2 * pairs)
        even, is_even, odd, is_odd = cells[p]
        odd += pairs
        at_even, at_odd = (
            tl.load(p_m + even + o_row, mask=is_even, other=1.0),
            tl.load(p_m + odd + o_row, mask=is_odd, other=1.0),
        )
        m = m + ((at_even, at_odd),)
        if not PACKED:
            at_even, at_odd = (
                tl.load(p_e + even + o_row, mask=is_even, other=0),
                tl.load(p_e + odd + o_row, mask=is_odd, other=0),
            )
            e = e + ((at_even, at_odd),)
    P: tl.constexpr = len(cells)
    if PACKED:  # An odd state was stored beside the even state that is the next pair's here.
        for p in tl.static_range(P + 1):
            cell = cells[p][0] if p < P else cells[P - 1][0] + direction
            o_row, is_pair = j * (direction * pairs), cells[p][1] if p < P else cells[P - 1][3]
            e = e + (tl.load(p_e + cell + o_row, mask=is_pair, other=0),)
            if WIDE:
                low = low + (tl.load(stored[2] + cell + o_row, mask=is_pair, other=0),)
    return m, e, low


@triton.jit
def _ask_below(p_m, p_e, exists):
    """What the part of the row below has passed on, past the first-level cache, which may be older."""
    m = tl.load(p_m, mask=exists, other=1.0, cache_modifier=".cg")
    return m, tl.load(p_e, mask=exists, other=ZERO, cache_modifier=".cg")


@triton.jit
def ask(j, sample, sources, SECOND: tl.constexpr, WIDE: tl.constexpr, GENERAL: tl.constexpr):
    """What step j reads from memory: emissions or scores, the row to meet, and what the part below has passed on.

    After the last step, it reads the last step's again: loads without a condition need fewer instructions.
    """
    last, direction, pairs, _, cells = sample
    p_table, labels, statistics, stored, passed = sources
    j = tl.minimum(j, last)
    met, below = (), ((), ())
    if SECOND:
        met = _ask_met(j, direction, cells, stored, pairs, WIDE)
    if len(passed) > 0:  # the row is cut into parts
        p_m, p_e, _, _, o_even, has_below = passed
        p_m, p_e, exists = p_m + (j - 1), p_e + (j - 1), has_below & (j > 0)
        below = (_ask_below(p_m, p_e, exists),)
        if GENERAL:
            below = below + (_ask_below(p_m + o_even, p_e + o_even, exists),)
    if WIDE:
        return _ask_scores(j * direction, cells, labels, statistics, GENERAL), met, below
    else:
        o_row = j * (direction * (2 * pairs if GENERAL else pairs))
        return _ask_table(o_row, cells, p_table, pairs, GENERAL), met, below


@triton.jit
def _beside(even, odd):
    """The lower 16 bits of two numbers in 32 bits."""
    return (even & 0xFFFF) | (odd << 16)


@triton.jit
def store_pair(j, direction, cell, stored, pairs, even, odd, WIDE: tl.constexpr):
    """Stores a pair's mantissas and exponents.

    Packed, 32 bits hold a mantissa and the exponent's lowest 9 bits, and 16 bits the exponent's highest, a pair's side
    by side. With WIDE 25 bits may be too few: the exponents' lowest 16 bits are stored where the sample's table would
    be, which is not used.
    """
    p_m, p_e = stored[0], stored[1]
    PACKED: tl.constexpr = len(stored) == 3
    even_cell, is_even, odd_cell, is_odd = cell
    o_row, o_packed = j * (direction * 2 * pairs), j * (direction * pairs)
    p_even, p_odd = p_m + even_cell + o_row, p_m + (pairs + odd_cell) + o_row
    even_m, odd_m = even[0], odd[0]
    if not PACKED:
        tl.store(p_even, even_m, mask=is_even)
        tl.store(p_odd, odd_m, mask=is_odd)  # stores under one condition in a row would become a branch
        tl.store(p_e + even_cell + o_row, even[1], mask=is_even)
        tl.store(p_e + (pairs + odd_cell) + o_row, odd[1], mask=is_odd)
    else:
        if WIDE:
            highs = _beside(even[1] >> 16, odd[1] >> 16)
            tl.store(stored[2] + even_cell + o_packed, _beside(even[1], odd[1]), mask=is_even)
        else:  # a mantissa's bits have the bias 127
            highs = _beside((even[1] + 127) >> 9, (odd[1] + 127) >> 9)
            even_m = (even_m.to(tl.int32, bitcast=True) + (even[1] << 23)).to(tl.float32, bitcast=True)
            odd_m = (odd_m.to(tl.int32, bitcast=True) + (odd[1] << 23)).to(tl.float32, bitcast=True)
        tl.store(p_even, even_m, mask=is_even)
        tl.store(p_odd, odd_m, mask=is_odd)
        tl.store(p_e + even_cell + o_packed, highs, mask=is_even)


@triton.jit
def met_state(met, p: tl.constexpr, odd: tl.constexpr, PACKED: tl.constexpr, WIDE: tl.constexpr):
    """A state that _ask_met has read: mantissa and exponent. Unless WIDE, a packed exponent has the bias 127."""
    m = met[0][p][odd]
    if PACKED:
        high = met[1][p + odd]
        if WIDE:
            low = met[2][p + odd]
            e = (high >> 16 << 16) | ((low >> 16) & 0xFFFF) if odd else (high << 16) | (low & 0xFFFF)
        else:
            word = m.to(tl.int32, bitcast=True)
            m = ((word & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
            high = high >> 16 if odd else high
            e = (((high.to(tl.int64) << 32) | (word.to(tl.int64) & 0xFFFFFFFF)) >> 23).to(tl.int32)
            e = e if odd else (e << 7) >> 7  # drops the other number of _beside
        return m, e
    else:
        return m, met[1][p][odd]


@triton.jit
def pass_on(j, row, passed, lane, GENERAL: tl.constexpr):
    """Writes the last pair for the part of the row above."""
    _, _, p_m, p_e, o_even, _ = passed
    LAST: tl.constexpr = len(row) - 1
    even, odd = row[LAST][0], row[LAST][1]
    o_odd, is_last = j + lane * 0, lane == lane.shape[0] - 1
    tl.store(p_m + o_odd, odd[0], mask=is_last)
    tl.store(p_e + o_odd, odd[1], mask=is_last)
    if GENERAL:
        tl.store(p_m + o_even + o_odd, even[0], mask=is_last)
        tl.store(p_e + o_even + o_odd, even[1], mask=is_last)


@triton.jit
def report(p_progress, steps):
    """Tells other programs how many steps are done: what was stored before can be read by those that have waited."""
    tl.debug_barrier()
    tl.atomic_xchg(p_progress, steps, sem="release")


@triton.jit
def wait(p_progress, steps):
    """Waits until another program has done this many steps."""
    while tl.atomic_add(p_progress, 0, sem="acquire") < steps:
        pass
    tl.debug_barrier()
