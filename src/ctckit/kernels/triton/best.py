"""Best paths: a sweep with maxima over plain logarithms, then a trace back along the best moves.

At every fourth frame the row's best entry is subtracted from the row, so that float32 keeps its precision. May import
triton, tuning.py, scaled.py, lattice.py, batch.py, rows.py and cells.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .cells import OPEN, arc_mask, arc_score, arcs_into, carry_row, label_pointers, of_sample
from .lattice import END, START, store_score
from .rows import sum_of_offsets
from .scaled import relative
from .tuning import SIZES_AND_STRIDES

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit
def _open(value, mask):
    """The value where an arc exists, else -inf."""
    return tl.where(mask == OPEN, value, float("-inf"))


@triton.jit
def _better(best, move, other, back):
    """The better of two ways into a state; of equal ways the first, so ways from further below must come first."""
    takes = other > best
    return tl.where(takes, other, best), tl.where(takes, back, move)


@triton.jit
def _along(value, arc, GENERAL: tl.constexpr):
    """The score of a path along an arc between different states."""
    if GENERAL:
        return value + arc
    else:
        return _open(value, arc)


@triton.jit
def _best_entering(even, odd, even_below, odd_below, arcs, GENERAL: tl.constexpr):
    """The best ways into the states of pairs, and from how many states below each comes."""
    into_even, even_move = _along(odd_below, arcs[1], GENERAL), tl.full(even.shape, 1, tl.int32)
    if GENERAL:
        skipping, move = _along(even_below, arcs[2], GENERAL), tl.full(even.shape, 2, tl.int32)
        into_even, even_move = _better(skipping, move, into_even, 1)
    into_even, even_move = _better(into_even, even_move, _open(even, arcs[0]), 0)
    into_odd, odd_move = _along(odd_below, arcs[5], GENERAL), tl.full(odd.shape, 2, tl.int32)
    into_odd, odd_move = _better(into_odd, odd_move, _along(even, arcs[4], GENERAL), 1)
    into_odd, odd_move = _better(into_odd, odd_move, _open(odd, arcs[3]), 0)
    return into_even, into_odd, even_move | (odd_move << 2)


@triton.jit
def _base(peak):
    """The number that is subtracted from a row so that its best entry becomes 0."""
    return tl.where(peak == float("-inf"), 0.0, peak)


@triton.jit
def _begun(j, into, first):
    """What enters states at step j: at the first step, the beginnings of paths."""
    return tl.where(j == 0, first, into)


@triton.jit
def _best_firsts(p_arcs, p_entry, pairs, i, length, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """The row that paths begin from: 0 where a path may begin, or the score of beginning there; else -inf."""
    if GENERAL:
        even = arc_score(p_arcs, p_entry, i, i <= length, START, REAL)
        odd = arc_score(p_arcs, p_entry, pairs + i, i < length, START, REAL)
    else:
        even = _open(0.0, arc_mask(p_arcs, p_entry, i, i <= length, START, REAL)).to(REAL)
        odd = _open(0.0, arc_mask(p_arcs, p_entry, pairs + i, i < length, START, REAL)).to(REAL)
    return even, odd


@triton.jit
def _last(even, odd, p_arc, pairs, i, length, REAL: tl.constexpr):
    """The best score of the states that paths may end in, and its state: of equal ones the lowest."""
    ends_even = _open(even, arc_mask(p_arc, p_arc, i, i <= length, END, REAL))
    ends_odd = _open(odd, arc_mask(p_arc, p_arc, pairs + i, i < length, END, REAL))
    best = tl.max(tl.maximum(ends_even, ends_odd), axis=0)
    states = tl.minimum(tl.where(ends_even == best, 2 * i, OPEN), tl.where(ends_odd == best, 2 * i + 1, OPEN))
    return best, tl.where(best > float("-inf"), tl.min(states, axis=0).to(tl.int32), -1)


@triton.jit
def _best_step(
    j,
    FIRST: tl.constexpr,
    row,
    frame,
    sample,
    rows,
    constants,
    MEET: tl.constexpr,
    KEEP: tl.constexpr,
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
):
    """One frame of a row in registers. Before the first of four frames, the row's best entry is made 0."""
    _, length, _, stop, pairs, i = sample
    arcs, firsts, added = constants
    even, odd = row
    if FIRST:
        base = _base(tl.max(tl.maximum(even, odd), axis=0))
        even, odd = even - base, odd - base
    if j < stop:
        odd_below = tl.where(i > 0, tl.gather(odd, tl.maximum(i - 1, 0), 0), float("-inf"))
        even_below = odd_below
        if GENERAL:
            even_below = tl.where(i > 0, tl.gather(even, tl.maximum(i - 1, 0), 0), float("-inf"))
        into_even, into_odd, moves = _best_entering(even, odd, even_below, odd_below, arcs, GENERAL)
        even_label = relative(frame[0], frame[2], added[0], GENERAL)
        odd_label = relative(frame[1], frame[2], added[1], GENERAL)
        even = _begun(j, into_even, firsts[0]) + even_label
        odd = _begun(j, into_odd, firsts[1]) + odd_label
        tl.store(rows + j * pairs + i, moves.to(tl.uint8), mask=i <= length)
    return even, odd


@triton.jit
def _best_in_registers(sample, layout, sources, p_moves, GENERAL: tl.constexpr, BLOCK: tl.constexpr):
    """A sample's sweep, with its row in registers."""
    frames, length, forward, pairs = sample
    p_arc, p_entry = layout[0], layout[1]
    p_top, p_wide, stride_t = sources
    REAL: tl.constexpr = p_top.dtype.element_ty
    i = tl.arange(0, BLOCK)
    READ: tl.constexpr = arc_score if GENERAL else arc_mask
    arcs = arcs_into(p_arc, p_entry, pairs, i, length, forward, READ, REAL)
    firsts = _best_firsts(p_arc, p_entry, pairs, i, length, GENERAL, REAL)
    p_even, p_odd, added = label_pointers(layout, pairs, i, length, forward, GENERAL, REAL)
    pointers = (p_even, p_odd, p_top, p_wide, stride_t)
    carried = (frames, length, forward, frames, pairs, i)
    constants = (arcs, firsts, added)
    row = tl.full((BLOCK,), float("-inf"), REAL), tl.full((BLOCK,), float("-inf"), REAL)
    even, odd = carry_row(0, row, carried, pointers, p_moves, constants, _best_step, False, True, False, GENERAL, False)
    _, last = _last(even, odd, p_arc, pairs, i, length, REAL)
    return last


@triton.jit
def _load_best(p_row, pairs, i, length, alive):
    """Loads pairs i of a stored row of logarithms."""
    reach = tl.where(alive, length, -1)
    even = tl.load(p_row + i, mask=(i >= 0) & (i <= reach), other=float("-inf"))
    return even, tl.load(p_row + pairs + i, mask=(i >= 0) & (i < reach), other=float("-inf"))


@triton.jit
def _best_in_tiles(n, sample, layout, sources, p_moves, p_edge, GENERAL: tl.constexpr, BLOCK: tl.constexpr):
    """A sample's sweep for any number of states, tile by tile: the last two rows are in memory."""
    frames, length, forward, pairs = sample
    p_arc, p_entry = layout[0], layout[1]
    p_top, _, stride_t = sources
    REAL: tl.constexpr = p_top.dtype.element_ty
    READ: tl.constexpr = arc_score if GENERAL else arc_mask
    p_row = p_edge + n * 4 * pairs
    peak = tl.full((), float("-inf"), REAL)
    for j in range(0, frames):
        b_top = tl.load(p_top + j)
        base = tl.where((j & 3) == 0, _base(peak), 0.0)
        peak = tl.full((), float("-inf"), REAL)
        p_before, p_after = p_row + ((j & 1) ^ 1) * 2 * pairs, p_row + (j & 1) * 2 * pairs
        for i0 in range(0, length + 1, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            arcs = arcs_into(p_arc, p_entry, pairs, i, length, forward, READ, REAL)
            firsts = _best_firsts(p_arc, p_entry, pairs, i, length, GENERAL, REAL)
            even, odd = _load_best(p_before, pairs, i, length, j > 0)
            even_below, odd_below = _load_best(p_before, pairs, i - 1, length, j > 0)
            into_even, into_odd, moves = _best_entering(
                even - base, odd - base, even_below - base, odd_below - base, arcs, GENERAL
            )
            p_even, p_odd, added = label_pointers(layout, pairs, i, length, forward, GENERAL, REAL)
            b_odd = tl.load(p_odd + j * stride_t, mask=i < length, other=0.0).to(REAL)
            odd_label = relative(b_odd, b_top, added[1], GENERAL)
            if GENERAL:
                b_even = tl.load(p_even + j * stride_t, mask=i <= length, other=0.0).to(REAL)
            else:
                b_even = tl.load(p_even + j * stride_t).to(REAL)
            even_label = relative(b_even, b_top, added[0], GENERAL)
            even = _begun(j, into_even, firsts[0]) + even_label
            odd = _begun(j, into_odd, firsts[1]) + odd_label
            tl.store(p_moves + j * pairs + i, moves.to(tl.uint8), mask=i <= length)
            tl.store(p_after + i, even, mask=i <= length)
            tl.store(p_after + pairs + i, odd, mask=i < length)
            peak = tl.maximum(peak, tl.max(tl.maximum(even, odd), axis=0))
        tl.debug_barrier()
    best, last = tl.full((), float("-inf"), REAL), tl.full((), -1, tl.int32)
    for i0 in range(0, tl.where(frames > 0, length + 1, 0), BLOCK):
        i = i0 + tl.arange(0, BLOCK).to(tl.int64)
        even, odd = _load_best(p_row + ((frames - 1) & 1) * 2 * pairs, pairs, i, length, True)
        value, state = _last(even, odd, p_arc, pairs, i, length, REAL)
        best, last = _better(best, last, value, state)
    return last


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _best_kernel(
    p_scores,
    p_labels,
    p_arcs,
    p_added,
    p_entry,
    p_frames,
    p_lengths,
    p_top,
    p_wide,
    p_moves,
    p_edge,
    p_last,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    o_blank,
    pairs,
    TILED: tl.constexpr,
    GENERAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's sweep with maxima: writes the best moves (a byte per pair), and the state that the path ends in."""
    n = tl.program_id(0).to(tl.int64)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    sample = (frames, length, n < 0, pairs)  # false for backward: cells are those of the forward direction
    lattices, scores = (p_labels, p_arcs, p_added, p_entry), (p_scores, stride_t, stride_n, stride_c, o_blank)
    layout, sources = of_sample(n, lattices, scores, p_top, p_wide, frames_max, pairs, GENERAL)
    p_moves += n * frames_max * pairs
    if TILED:
        last = _best_in_tiles(n, sample, layout, sources, p_moves, p_edge, GENERAL, BLOCK)
    else:
        last = _best_in_registers(sample, layout, sources, p_moves, GENERAL, BLOCK)
    tl.store(p_last + n, last)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _trace_kernel(
    p_scores,
    p_labels,
    p_added,
    p_entry,
    p_frames,
    p_status,
    p_top,
    p_offset,
    p_moves,
    p_last,
    p_path,
    p_score,
    p_final,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    o_blank,
    pairs,
    GENERAL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Follows one sample's moves back from its last state, and sums the path's score in float64."""
    n = tl.program_id(0).to(tl.int64)
    frames, last = tl.load(p_frames + n), tl.load(p_last + n)
    p_top, p_offset, p_path = p_top + n * frames_max, p_offset + n * frames_max, p_path + n * frames_max
    offset = sum_of_offsets(p_offset, frames, BLOCK)
    used = tl.where((last >= 0) & (offset == offset), frames, 0)
    state = last
    for j in range(0, used):
        t = used - 1 - j
        tl.store(p_path + t, state)
        pair = (state >> 1).to(tl.int64)
        moves = tl.load(p_moves + (n * frames_max + t) * pairs + pair).to(tl.int32)
        state -= tl.where((state & 1) == 1, moves >> 2, moves & 3)
    tl.debug_barrier()
    score = tl.zeros((), tl.float64)
    for t0 in range(0, frames_max, BLOCK):
        t = t0 + tl.arange(0, BLOCK).to(tl.int64)
        on_path = t < used
        b_state = tl.load(p_path + t, mask=on_path, other=0).to(tl.int64)
        if GENERAL:
            o_state = n * 2 * pairs + (b_state & 1) * pairs + (b_state >> 1)
            o_label = tl.load(p_labels + o_state, mask=on_path, other=0).to(tl.int64) * stride_c
        else:
            is_token = on_path & ((b_state & 1) == 1)
            b_token = tl.load(p_labels + n * (pairs - 1) + (b_state >> 1), mask=is_token, other=0).to(tl.int64)
            o_label = tl.where(is_token, b_token * stride_c, o_blank)
        x = tl.load(p_scores + n * stride_n + t * stride_t + o_label, mask=on_path, other=0.0).to(tl.float64)
        x -= tl.load(p_top + t, mask=on_path, other=0.0).to(tl.float64)
        if GENERAL:
            x += tl.load(p_added + o_state, mask=on_path, other=0.0)
            b_before = tl.load(p_path + t - 1, mask=on_path & (t > 0), other=-1)
            x += tl.load(p_entry + o_state, mask=on_path & (b_before != b_state), other=0.0)
        score += tl.sum(x + tl.load(p_offset + t, mask=on_path, other=0.0), axis=0)
        tl.store(p_path + t, -1, mask=(t < frames_max) & (on_path == 0))
    store_score(p_score + n, p_final + n, score, tl.load(p_status + n), frames, last >= 0, offset)


def find_best(
    batch: Batch, rows: Rows, moves: Tensor, edges: Tensor, last: Tensor, states: Tensor, score: Tensor, status: Tensor
) -> None:
    """Launches the sweep, then the trace back.

    Args:
        batch: scores and lattices.
        rows: the statistics of each frame.
        moves: uint8 (N, T, pairs), memory for the best moves.
        edges: (N, 2, 2, pairs), memory for two rows, if rows are too long for registers.
        last: int32 (N,), memory for the states that paths end in.
        states: int32 (N, T), written: the paths.
        score: float64 (N,), written: their scores.
        status: uint8 (N,), written, as ctckit.Status.
    """
    lattices = batch.states
    block = tuning.row_block(batch.sizes.pairs)
    _best_kernel[(batch.sizes.size,)](
        batch.scores,
        lattices.labels,
        lattices.arcs,
        *batch.extra,
        lattices.frames,
        lattices.lengths,
        rows.top,
        rows.wide,
        moves,
        edges,
        last,
        *batch.score_layout,
        TILED=block.tiled,
        GENERAL=lattices.general,
        BLOCK=block.block,
        num_warps=block.num_warps,
        enable_fp_fusion=tuning.FUSED,
    )
    _trace_kernel[(batch.sizes.size,)](
        batch.scores,
        lattices.labels,
        *batch.extra,
        lattices.frames,
        lattices.status,
        rows.top,
        rows.offset,
        moves,
        last,
        states,
        score,
        status,
        *batch.score_layout,
        GENERAL=lattices.general,
        BLOCK=tuning.TILE,
        num_warps=1,
        enable_fp_fusion=tuning.FUSED,
    )
