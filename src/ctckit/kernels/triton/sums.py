"""Sums over paths: the forward and the backward sweep, which meet in the middle, and the total.

A sample's alpha is swept from its first frame and its beta from its last, at the same time, until they meet; there the
total is known, and both go on, each turning what the other left behind into occupancies. So T frames take T steps, not
2T, and one row a frame is kept, not two. May import triton, tuning.py, scaled.py, lattice.py, batch.py and cells.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .cells import (
    arc_masks,
    carry_row,
    first_row,
    frame_of_step,
    load_row,
    pair_below,
    pair_cells,
    store_row,
)
from .lattice import EVEN_SKIPS, INFEASIBLE, WRONG
from .scaled import DEAD, LN2, ZERO, emission, plain, product, sum_of_three, sum_of_two
from .tuning import SIZES_AND_STRIDES

if TYPE_CHECKING:
    from torch import Tensor


@triton.jit
def _entering(even, odd, even_below, odd_below, arcs, EVEN_SKIPS: tl.constexpr):
    """Sums along the arcs into pairs, from their own states and from those of the pairs below."""
    if EVEN_SKIPS:
        even_sum = sum_of_three(
            even[0],
            tl.minimum(even[1], arcs[0]),
            odd_below[0],
            tl.minimum(odd_below[1], arcs[1]),
            even_below[0],
            tl.minimum(even_below[1], arcs[2]),
        )
    else:
        even_sum = sum_of_two(even[0], tl.minimum(even[1], arcs[0]), odd_below[0], tl.minimum(odd_below[1], arcs[1]))
    odd_sum = sum_of_three(
        odd[0],
        tl.minimum(odd[1], arcs[3]),
        even[0],
        tl.minimum(even[1], arcs[4]),
        odd_below[0],
        tl.minimum(odd_below[1], arcs[5]),
    )
    return even_sum, odd_sum


@triton.jit
def _entering_from(p_m, p_e, pairs, i, length, backward, j, arcs, firsts, EVEN_SKIPS: tl.constexpr):
    """The sums along the arcs into pairs i at step j, from a row in memory."""
    even, odd = load_row(p_m, p_e, pairs, i, length, backward, j > 0)
    even_below, odd_below = load_row(p_m, p_e, pairs, i - 1, length, backward, j > 0)
    into_even, into_odd = _entering(even, odd, even_below, odd_below, arcs, EVEN_SKIPS)
    return _or_first(j, into_even, firsts[0]), _or_first(j, into_odd, firsts[1])


@triton.jit
def _or_first(j, into, first):
    """What enters at step j: at the first step, the beginnings of paths."""
    return tl.where(j == 0, 1.0, into[0]), tl.where(j == 0, first, into[1])


@triton.jit
def _store_occupancy(p_m, pairs, i, length, backward, even, odd, met, total):
    """Writes occupancies over the other direction's mantissas: what enters, times what the other direction has."""
    even_cell, is_even, odd_cell, is_odd = pair_cells(i, length, backward)
    gamma = plain(even[0] * met[0][0], even[1] + (met[0][1] - total))
    tl.store(p_m + even_cell, gamma, mask=is_even)
    gamma = plain(odd[0] * met[1][0], odd[1] + (met[1][1] - total))
    tl.store(p_m + pairs + odd_cell, gamma, mask=is_odd)


@triton.jit
def _edge(j, n, pairs, backward):
    """Offset of the row that a direction keeps from step j to step j + 2: edges are (2, 2, N, 2, pairs)."""
    return (((j & 1) * 2 + backward.to(tl.int64)) * tl.num_programs(0) + n) * 2 * pairs


@triton.jit
def _steps(frames, backward, SECOND: tl.constexpr):
    """A direction's range of steps: up to where the two meet, or from there on."""
    half = frames // 2
    meeting = tl.where(backward, frames - half, half)
    if SECOND:
        return meeting, frames
    else:
        return meeting * 0, meeting


@triton.jit
def _step(
    j,
    FIRST: tl.constexpr,
    row,
    frame,
    sample,
    rows,
    constants,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
):
    """One frame of a row in registers: along the arcs, then times the emissions."""
    frames, length, backward, stop, pairs, i = sample
    arcs, firsts, total = constants
    p_m, p_e = rows
    even, odd = row
    even_m, even_e = even
    odd_m, odd_e = odd
    if j < stop:
        t = frame_of_step(j, frames, backward)
        odd_below = pair_below(odd_m, odd_e, i)
        even_below = pair_below(even_m, even_e, i) if EVEN_SKIPS else odd_below
        into_even, into_odd = _entering((even_m, even_e), (odd_m, odd_e), even_below, odd_below, arcs, EVEN_SKIPS)
        into_even = _or_first(j, into_even, firsts[0])
        into_odd = _or_first(j, into_odd, firsts[1])
        if SECOND:
            _store_occupancy(p_m + t * 2 * pairs, pairs, i, length, backward, into_even, into_odd, frame[4], total)
        blank_m, blank_e = emission(frame[0], frame[2], frame[3])
        label_m, label_e = emission(frame[1], frame[2], frame[3])
        even_m, even_e = product(into_even[0], into_even[1], blank_m, blank_e)
        odd_m, odd_e = product(into_odd[0], into_odd[1], label_m, label_e)
        if KEEP:
            o_row = t * 2 * pairs
            store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, (even_m, even_e), (odd_m, odd_e))
    return (even_m, even_e), (odd_m, odd_e)


@triton.jit
def _sweep_in_registers(
    sample,
    layout,
    sources,
    rows,
    edges,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One direction of a sample, its row in registers."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = layout
    p_top, p_wide, stride_t = sources
    p_edge_m, p_edge_e = edges
    i = tl.arange(0, BLOCK)
    arcs = arc_masks(p_arc, pairs, i, length, backward)
    firsts = first_row(p_arc, pairs, i, length, backward)
    _, _, odd_cell, is_odd = pair_cells(i, length, backward)
    b_token = tl.load(p_token + odd_cell, mask=is_odd, other=0).to(tl.int64)
    pointers = (p_score + o_blank, p_score + b_token * stride_c, p_top, p_wide, stride_t)
    carried = (frames, length, backward, stop, pairs, i)

    # The row before the first step: zeros, or the last row of this direction's first half.
    o_edge = _edge(start - 1, n, pairs, backward)
    even, odd = load_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, start > 0)
    constants = (arcs, firsts, total)
    even, odd = carry_row(start, (even, odd), carried, pointers, rows, constants, _step, SECOND, KEEP, EVEN_SKIPS)
    if not SECOND:
        o_edge = _edge(stop - 1, n, pairs, backward)
        store_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, even, odd)


@triton.jit
def _sweep_in_tiles(
    sample,
    layout,
    sources,
    rows,
    edges,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The same for any number of states, tile by tile: each row is read back from memory, one barrier per frame."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = layout
    p_top, p_wide, stride_t = sources
    p_m, p_e = rows
    p_edge_m, p_edge_e = edges
    for j in range(start, stop):
        t = frame_of_step(j, frames, backward)
        b_top, b_wide = tl.load(p_top + t), tl.load(p_wide + t)
        b_blank = tl.load(p_score + t * stride_t + o_blank).to(b_top.dtype)
        blank_m, blank_e = emission(b_blank, b_top, b_wide)
        o_last, o_next = _edge(j - 1, n, pairs, backward), _edge(j, n, pairs, backward)
        o_row = t * 2 * pairs
        for i0 in range(0, length + 1, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            arcs = arc_masks(p_arc, pairs, i, length, backward)
            firsts = first_row(p_arc, pairs, i, length, backward)
            into_even, into_odd = _entering_from(
                p_edge_m + o_last, p_edge_e + o_last, pairs, i, length, backward, j, arcs, firsts, EVEN_SKIPS
            )
            if SECOND:
                met = load_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, True)
                _store_occupancy(p_m + o_row, pairs, i, length, backward, into_even, into_odd, met, total)
            _, _, odd_cell, is_odd = pair_cells(i, length, backward)
            b_token = tl.load(p_token + odd_cell, mask=is_odd, other=0).to(tl.int64)
            p_label = p_score + t * stride_t + b_token * stride_c
            b_label = tl.load(p_label, mask=is_odd, other=0.0).to(b_top.dtype)
            label_m, label_e = emission(b_label, b_top, b_wide)
            even = product(into_even[0], into_even[1], blank_m, blank_e)
            odd = product(into_odd[0], into_odd[1], label_m, label_e)
            store_row(p_edge_m + o_next, p_edge_e + o_next, pairs, i, length, backward, even, odd)
            if KEEP:
                store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, even, odd)
        tl.debug_barrier()


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _sweep_kernel(
    p_scores,
    p_tokens,
    p_arcs,
    p_frames,
    p_lengths,
    p_top,
    p_wide,
    p_m,
    p_e,
    p_edge_m,
    p_edge_e,
    p_total,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    o_blank,
    pairs,
    TILED: tl.constexpr,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample in one direction: its first half, up to where the two meet, or its second."""
    n = tl.program_id(0).to(tl.int64)
    backward = tl.program_id(1) == 1
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    start, stop = _steps(frames, backward, SECOND)
    sample = (n, frames, length, backward, start, stop, pairs)
    layout = (p_arcs + n * 2 * pairs, p_tokens + n * (pairs - 1), p_scores + n * stride_n, o_blank, stride_c)
    sources = (p_top + n * frames_max, p_wide + n * frames_max, stride_t)
    rows = (p_m + n * frames_max * 2 * pairs, p_e + n * frames_max * 2 * pairs)
    edges = (p_edge_m, p_edge_e)
    b_total = tl.load(p_total + n)
    if TILED:
        _sweep_in_tiles(sample, layout, sources, rows, edges, b_total, SECOND, KEEP, EVEN_SKIPS, BLOCK)
    else:
        _sweep_in_registers(sample, layout, sources, rows, edges, b_total, SECOND, KEEP, EVEN_SKIPS, BLOCK)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _total_kernel(
    p_arcs,
    p_frames,
    p_lengths,
    p_status,
    p_offset,
    p_edge_m,
    p_edge_e,
    p_total,
    p_score,
    frames_max,
    pairs,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's log-score in float64, where its directions meet, and the exponent that occupancies refer to."""
    n = tl.program_id(0).to(tl.int64)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    status = tl.load(p_status + n)
    half = frames // 2
    backward = n < 0  # false: cells are those of the forward direction
    o_before, o_met = _edge(half - 1, n, pairs, backward), _edge(frames - half - 1, n, pairs, n >= 0)
    top = tl.full((), ZERO, tl.int32)
    b_sum = tl.zeros((), tl.float64)
    swept = tl.where(frames > 0, length + 1, 0)
    for turn in tl.static_range(2):
        for i0 in range(0, swept, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            arcs = arc_masks(p_arcs + n * 2 * pairs, pairs, i, length, backward)
            firsts = first_row(p_arcs + n * 2 * pairs, pairs, i, length, backward)
            even, odd = _entering_from(
                p_edge_m + o_before, p_edge_e + o_before, pairs, i, length, backward, half, arcs, firsts, EVEN_SKIPS
            )
            met_even, met_odd = load_row(p_edge_m + o_met, p_edge_e + o_met, pairs, i, length, backward, True)
            even_e, odd_e = even[1] + met_even[1], odd[1] + met_odd[1]
            if turn == 0:
                top = tl.maximum(top, tl.max(tl.maximum(even_e, odd_e), axis=0))
            else:
                part = plain(even[0].to(tl.float64) * met_even[0].to(tl.float64), even_e - top)
                part += plain(odd[0].to(tl.float64) * met_odd[0].to(tl.float64), odd_e - top)
                b_sum += tl.sum(part, axis=0)
    offset = tl.zeros((), tl.float64)
    for t0 in range(0, frames, BLOCK):
        t = t0 + tl.arange(0, BLOCK).to(tl.int64)
        offset += tl.sum(tl.load(p_offset + n * frames_max + t, mask=t < frames, other=0.0), axis=0)
    alive = top >= DEAD
    score = tl.log(tl.where(alive, b_sum, 1.0)) + top.to(tl.float64) * LN2 + offset
    score = tl.where(alive | (offset != offset), score, float("-inf"))
    score = tl.where(frames == 0, 0.0, score)
    score = tl.where(status == INFEASIBLE, float("-inf"), score)
    score = tl.where(status == WRONG, float("nan"), score)
    tl.store(p_score + n, score)
    tl.store(p_total + n, top)


class Sums(NamedTuple):
    """Memory of a sweep, on the device; R is float32 or float64.

    Attributes:
        occupancy: R (N, T, 2, pairs), not yet normalised; before the directions have met, mantissas of rows.
        exponents: int32, those of the rows; both are empty if only the score is wanted.
        edges_m: R (2, 2, N, 2, pairs), each direction's last two rows.
        edges_e: int32, their exponents.
        total: int32 (N,), the exponent that occupancies are relative to.
        score: float64 (N,), nats.
    """

    occupancy: Tensor
    exponents: Tensor
    edges_m: Tensor
    edges_e: Tensor
    total: Tensor
    score: Tensor


def sweep(batch: Batch, rows: Rows, sums: Sums, *, keep: bool) -> None:
    """Launches both directions up to where they meet, the total, and if ``keep`` their second halves."""
    _sweep_half(batch, rows, sums, second=False, keep=keep)
    _meet(batch, rows, sums)
    if keep:
        _sweep_half(batch, rows, sums, second=True, keep=False)


def _sweep_half(batch: Batch, rows: Rows, sums: Sums, *, second: bool, keep: bool) -> None:
    lattices = batch.lattices
    block = tuning.row_block(batch.sizes.pairs)
    _sweep_kernel[(batch.sizes.size, 2)](
        batch.scores,
        lattices.tokens,
        lattices.arcs,
        lattices.frames,
        lattices.lengths,
        rows.top,
        rows.wide,
        sums.occupancy,
        sums.exponents,
        sums.edges_m,
        sums.edges_e,
        sums.total,
        *batch.score_layout,
        TILED=block.tiled,
        SECOND=second,
        KEEP=keep,
        EVEN_SKIPS=EVEN_SKIPS,
        BLOCK=block.block,
        num_warps=block.num_warps,
        enable_fp_fusion=tuning.FUSED,
    )


def _meet(batch: Batch, rows: Rows, sums: Sums) -> None:
    lattices, sizes = batch.lattices, batch.sizes
    _total_kernel[(sizes.size,)](
        lattices.arcs,
        lattices.frames,
        lattices.lengths,
        lattices.status,
        rows.offset,
        sums.edges_m,
        sums.edges_e,
        sums.total,
        sums.score,
        sizes.frames,
        sizes.pairs,
        EVEN_SKIPS=EVEN_SKIPS,
        BLOCK=tuning.TILE,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
