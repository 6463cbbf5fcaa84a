"""Sums over paths: a forward and a backward sweep, which meet in the middle, and the total.

A sample's alpha is swept from its first frame and its beta from its last, at the same time, until they meet. There the
total is known. Then both continue, and each turns the other's stored rows into occupancies. So T frames take T steps,
not 2T, and one row per frame is stored, not two. May import triton, tuning.py, scaled.py, lattice.py, batch.py, rows.py
and cells.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .cells import (
    arc_factor,
    arc_mask,
    arcs_into,
    carry_row,
    first_row,
    frame_of_step,
    label_pointers,
    load_row,
    of_sample,
    pair_below,
    pair_cells,
    store_row,
)
from .lattice import store_score
from .rows import sum_of_offsets
from .scaled import DEAD, LN2, ZERO, emission, plain, product, sum_of_three, sum_of_two
from .tuning import SIZES_AND_STRIDES

if TYPE_CHECKING:
    from torch import Tensor


FLAGS = tl.constexpr(1024)  # the flags of this many frames are read at a time


@triton.jit
def _along(state, arc):
    """The sum of the paths along an arc with a weight."""
    return state[0] * arc[0], tl.maximum(state[1] + arc[1], ZERO)


@triton.jit
def _entering(even, odd, even_below, odd_below, arcs, GENERAL: tl.constexpr):
    """Sums along the arcs into pairs, from their own states and from the states of the pairs below.

    Returns:
        The sums into even states and into odd states, and with GENERAL the parts of both that come from other states.
    """
    if GENERAL:
        even_step, even_skip = _along(odd_below, arcs[1]), _along(even_below, arcs[2])
        odd_step, odd_skip = _along(even, arcs[4]), _along(odd_below, arcs[5])
        even_part = sum_of_two(even_step[0], even_step[1], even_skip[0], even_skip[1])
        odd_part = sum_of_two(odd_step[0], odd_step[1], odd_skip[0], odd_skip[1])
        even_sum = sum_of_two(even[0], tl.minimum(even[1], arcs[0]), even_part[0], even_part[1])
        odd_sum = sum_of_two(odd[0], tl.minimum(odd[1], arcs[3]), odd_part[0], odd_part[1])
        return even_sum, odd_sum, even_part, odd_part
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
        return even_sum, odd_sum, even_sum, odd_sum


@triton.jit
def _or_first(j, into, first):
    """What enters states at step j: at the first step, the beginnings of paths."""
    return tl.where(j == 0, first[0], into[0]), tl.where(j == 0, first[1], into[1])


@triton.jit
def _entering_from(p_m, p_e, pairs, i, length, backward, j, arcs, firsts, GENERAL: tl.constexpr):
    """What enters pairs i at step j, from a row in memory."""
    even, odd = load_row(p_m, p_e, pairs, i, length, backward, j > 0)
    even_below, odd_below = load_row(p_m, p_e, pairs, i - 1, length, backward, j > 0)
    into_even, into_odd, even_part, odd_part = _entering(even, odd, even_below, odd_below, arcs, GENERAL)
    return _or_first(j, into_even, firsts[0]), _or_first(j, into_odd, firsts[1]), even_part, odd_part


@triton.jit
def _occupancy(into, met, total):
    """An occupancy: what enters a state, times the other direction's value there, relative to the total."""
    return plain(into[0] * met[0], into[1] + (met[1] - total))


@triton.jit
def _store_occupancy(p_m, pairs, i, length, backward, even, odd, met, total):
    """Writes occupancies over the other direction's mantissas."""
    even_cell, is_even, odd_cell, is_odd = pair_cells(i, length, backward)
    tl.store(p_m + even_cell, _occupancy(even, met[0], total), mask=is_even)
    tl.store(p_m + pairs + odd_cell, _occupancy(odd, met[1], total), mask=is_odd)


@triton.jit
def _entered(first, into, part, met, total):
    """The part of a state's occupancy that has just entered the state; where the directions meet, all of it.

    Paths that are in a state where the directions meet have entered it once. Forward, paths that enter the state later
    are added; backward, paths that left it earlier.
    """
    entered = tl.where(first, into[0], part[0]), tl.where(first, into[1], part[1])
    return _occupancy(entered, met, total).to(tl.float64)


@triton.jit
def _edge(j, n, pairs, backward):
    """The offset of the row that a direction stores from step j to step j + 2: edges are (2, 2, N, 2, pairs)."""
    return (((j & 1) * 2 + backward.to(tl.int64)) * tl.num_programs(0) + n) * 2 * pairs


@triton.jit
def _steps(frames, backward, SECOND: tl.constexpr):
    """A direction's range of steps: up to where the two directions meet, or from there to the end."""
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
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
):
    """One frame of a row in registers: sums along the arcs, times the emissions."""
    frames, length, backward, stop, pairs, i = sample
    arcs, firsts, added, total, start = constants
    p_m, p_e = rows
    even_m, even_e = row[0]
    odd_m, odd_e = row[1]
    if COUNT:
        even_count, odd_count = row[2]
    if j < stop:
        t = frame_of_step(j, frames, backward)
        odd_below = pair_below(odd_m, odd_e, i)
        even_below = pair_below(even_m, even_e, i) if GENERAL else odd_below
        into_even, into_odd, even_part, odd_part = _entering(
            (even_m, even_e), (odd_m, odd_e), even_below, odd_below, arcs, GENERAL
        )
        into_even = _or_first(j, into_even, firsts[0])
        into_odd = _or_first(j, into_odd, firsts[1])
        if SECOND:
            _store_occupancy(p_m + t * 2 * pairs, pairs, i, length, backward, into_even, into_odd, frame[4], total)
        if COUNT:
            first = j == tl.where(backward, -1, start)
            even_count += _entered(first, into_even, even_part, frame[4][0], total)
            odd_count += _entered(first, into_odd, odd_part, frame[4][1], total)
        even_label_m, even_label_e = emission(frame[0], frame[2], added[0], frame[3], WIDE, GENERAL)
        odd_label_m, odd_label_e = emission(frame[1], frame[2], added[1], frame[3], WIDE, GENERAL)
        even_m, even_e = product(into_even[0], into_even[1], even_label_m, even_label_e)
        odd_m, odd_e = product(into_odd[0], into_odd[1], odd_label_m, odd_label_e)
        if KEEP:
            o_row = t * 2 * pairs
            store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, (even_m, even_e), (odd_m, odd_e))
    if COUNT:
        return (even_m, even_e), (odd_m, odd_e), (even_count, odd_count)
    else:
        return (even_m, even_e), (odd_m, odd_e)


@triton.jit
def _any_wide(p_wide, frames):
    """Whether any frame of a sample is wide."""
    found = tl.zeros((FLAGS,), tl.int8)
    for t0 in range(0, frames, FLAGS):
        t = t0 + tl.arange(0, FLAGS)
        found |= tl.load(p_wide + t, mask=t < frames, other=0)
    return tl.max(found, axis=0) != 0


@triton.jit
def _sweep_in_registers(
    sample,
    layout,
    sources,
    rows,
    edges,
    p_counts,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One direction of a sample, with its row in registers."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_entry = layout[0], layout[1]
    p_top, p_wide, stride_t = sources
    REAL: tl.constexpr = p_top.dtype.element_ty
    p_edge_m, p_edge_e = edges
    i = tl.arange(0, BLOCK)
    READ: tl.constexpr = arc_factor if GENERAL else arc_mask
    arcs = arcs_into(p_arc, p_entry, pairs, i, length, backward, READ, REAL)
    firsts = first_row(p_arc, p_entry, pairs, i, length, backward, GENERAL, REAL)
    p_even, p_odd, added = label_pointers(layout, pairs, i, length, backward, GENERAL, REAL)
    pointers = (p_even, p_odd, p_top, p_wide, stride_t)
    carried = (frames, length, backward, stop, pairs, i)

    # The row before the first step: zeros, or for the second half the last row of the first half.
    o_edge = _edge(start - 1, n, pairs, backward)
    even, odd = load_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, start > 0)
    constants = (arcs, firsts, added, total, start)
    row = (even, odd)
    if COUNT:
        none = tl.zeros((BLOCK,), tl.float64)
        row = (even, odd, (none, none))
    if p_top.dtype.element_ty == tl.float64:
        row = carry_row(start, row, carried, pointers, rows, constants, _step, SECOND, KEEP, False, GENERAL, COUNT)
    else:
        if _any_wide(p_wide, frames):
            row = carry_row(start, row, carried, pointers, rows, constants, _step, SECOND, KEEP, True, GENERAL, COUNT)
        else:
            row = carry_row(start, row, carried, pointers, rows, constants, _step, SECOND, KEEP, False, GENERAL, COUNT)
    if COUNT:
        even_cell, is_even, odd_cell, is_odd = pair_cells(i, length, backward)
        tl.store(p_counts + even_cell, row[2][0], mask=is_even)
        tl.store(p_counts + pairs + odd_cell, row[2][1], mask=is_odd)
    if not SECOND:
        o_edge = _edge(stop - 1, n, pairs, backward)
        store_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, row[0], row[1])


@triton.jit
def _sweep_in_tiles(
    sample,
    layout,
    sources,
    rows,
    edges,
    p_counts,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One direction of a sample with any number of states, tile by tile: rows are in memory, one barrier per frame."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_entry, _, _, p_score, o_blank, _ = layout
    p_top, p_wide, stride_t = sources
    REAL: tl.constexpr = p_top.dtype.element_ty
    p_m, p_e = rows
    p_edge_m, p_edge_e = edges
    READ: tl.constexpr = arc_factor if GENERAL else arc_mask
    for j in range(start, stop):
        t = frame_of_step(j, frames, backward)
        b_top, b_wide = tl.load(p_top + t), tl.load(p_wide + t)
        if not GENERAL:
            b_blank = tl.load(p_score + t * stride_t + o_blank).to(b_top.dtype)
            even_m, even_e = emission(b_blank, b_top, 0, b_wide, True, GENERAL)
        o_last, o_next = _edge(j - 1, n, pairs, backward), _edge(j, n, pairs, backward)
        o_row = t * 2 * pairs
        for i0 in range(0, length + 1, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            arcs = arcs_into(p_arc, p_entry, pairs, i, length, backward, READ, REAL)
            firsts = first_row(p_arc, p_entry, pairs, i, length, backward, GENERAL, REAL)
            into_even, into_odd, even_part, odd_part = _entering_from(
                p_edge_m + o_last, p_edge_e + o_last, pairs, i, length, backward, j, arcs, firsts, GENERAL
            )
            even_cell, is_even, odd_cell, is_odd = pair_cells(i, length, backward)
            if SECOND:
                met = load_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, True)
                _store_occupancy(p_m + o_row, pairs, i, length, backward, into_even, into_odd, met, total)
            if COUNT:
                first = j == tl.where(backward, -1, start)
                even_count = tl.load(p_counts + even_cell, mask=is_even, other=0.0)
                odd_count = tl.load(p_counts + pairs + odd_cell, mask=is_odd, other=0.0)
                even_count += _entered(first, into_even, even_part, met[0], total)
                odd_count += _entered(first, into_odd, odd_part, met[1], total)
                tl.store(p_counts + even_cell, even_count, mask=is_even)
                tl.store(p_counts + pairs + odd_cell, odd_count, mask=is_odd)
            p_even, p_odd, added = label_pointers(layout, pairs, i, length, backward, GENERAL, REAL)
            b_odd = tl.load(p_odd + t * stride_t, mask=is_odd, other=0.0).to(b_top.dtype)
            if GENERAL:
                b_even = tl.load(p_even + t * stride_t, mask=is_even, other=0.0).to(b_top.dtype)
                even_m, even_e = emission(b_even, b_top, added[0], b_wide, True, GENERAL)
            odd_m, odd_e = emission(b_odd, b_top, added[1], b_wide, True, GENERAL)
            even = product(into_even[0], into_even[1], even_m, even_e)
            odd = product(into_odd[0], into_odd[1], odd_m, odd_e)
            store_row(p_edge_m + o_next, p_edge_e + o_next, pairs, i, length, backward, even, odd)
            if KEEP:
                store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, even, odd)
        tl.debug_barrier()


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _sweep_kernel(
    p_scores,
    p_labels,
    p_arcs,
    p_added,
    p_entry,
    p_frames,
    p_lengths,
    p_top,
    p_wide,
    p_m,
    p_e,
    p_edge_m,
    p_edge_e,
    p_counts,
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
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample in one direction: the first half, up to where the directions meet, or the second half."""
    n = tl.program_id(0).to(tl.int64)
    backward = tl.program_id(1) == 1
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    start, stop = _steps(frames, backward, SECOND)
    sample = (n, frames, length, backward, start, stop, pairs)
    lattices, scores = (p_labels, p_arcs, p_added, p_entry), (p_scores, stride_t, stride_n, stride_c, o_blank)
    layout, sources = of_sample(n, lattices, scores, p_top, p_wide, frames_max, pairs, GENERAL)
    if COUNT:
        p_counts += (n * 2 + tl.program_id(1)) * 2 * pairs
    rows = (p_m + n * frames_max * 2 * pairs, p_e + n * frames_max * 2 * pairs)
    edges = (p_edge_m, p_edge_e)
    b_total = tl.load(p_total + n)
    if TILED:
        _sweep_in_tiles(sample, layout, sources, rows, edges, p_counts, b_total, SECOND, KEEP, GENERAL, COUNT, BLOCK)
    else:
        _sweep_in_registers(
            sample, layout, sources, rows, edges, p_counts, b_total, SECOND, KEEP, GENERAL, COUNT, BLOCK
        )


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _total_kernel(
    p_arcs,
    p_entry,
    p_frames,
    p_lengths,
    p_status,
    p_offset,
    p_edge_m,
    p_edge_e,
    p_total,
    p_score,
    p_final,
    frames_max,
    pairs,
    GENERAL: tl.constexpr,
    PROBABILITY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's log-score in float64, from where its directions meet; its status; the occupancies' exponent.

    With PROBABILITY the score is the logarithm of a probability, and rounding is not allowed to make it greater than 0.
    """
    n = tl.program_id(0).to(tl.int64)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    half = frames // 2
    backward = n < 0  # false: cells are those of the forward direction
    o_before, o_met = _edge(half - 1, n, pairs, backward), _edge(frames - half - 1, n, pairs, n >= 0)
    top = tl.full((), ZERO, tl.int32)
    b_sum = tl.zeros((), tl.float64)
    swept = tl.where(frames > 0, length + 1, 0)
    REAL: tl.constexpr = p_edge_m.dtype.element_ty
    READ: tl.constexpr = arc_factor if GENERAL else arc_mask
    p_arc, p_entry = p_arcs + n * 2 * pairs, p_entry + n * 2 * pairs
    for turn in tl.static_range(2):
        for i0 in range(0, swept, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            arcs = arcs_into(p_arc, p_entry, pairs, i, length, backward, READ, REAL)
            firsts = first_row(p_arc, p_entry, pairs, i, length, backward, GENERAL, REAL)
            even, odd, _, _ = _entering_from(
                p_edge_m + o_before, p_edge_e + o_before, pairs, i, length, backward, half, arcs, firsts, GENERAL
            )
            met_even, met_odd = load_row(p_edge_m + o_met, p_edge_e + o_met, pairs, i, length, backward, True)
            even_e, odd_e = even[1] + met_even[1], odd[1] + met_odd[1]
            if turn == 0:
                top = tl.maximum(top, tl.max(tl.maximum(even_e, odd_e), axis=0))
            else:
                part = plain(even[0].to(tl.float64) * met_even[0].to(tl.float64), even_e - top)
                part += plain(odd[0].to(tl.float64) * met_odd[0].to(tl.float64), odd_e - top)
                b_sum += tl.sum(part, axis=0)
    offset = sum_of_offsets(p_offset + n * frames_max, frames, BLOCK)
    alive = top >= DEAD
    score = tl.log(tl.where(alive, b_sum, 1.0)) + top.to(tl.float64) * LN2 + offset
    if PROBABILITY:
        score = tl.minimum(score, 0.0)
    store_score(p_score + n, p_final + n, score, tl.load(p_status + n), frames, alive, offset)
    tl.store(p_total + n, top)


class Sums(NamedTuple):
    """A sweep's memory on the device; R is float32 or float64.

    Attributes:
        occupancy: R (N, T, 2, pairs), not normalised; before the directions have met, the mantissas of rows.
        exponents: int32, the exponents of the rows. It and `occupancy` are empty if only the score is needed.
        edges_m: R (2, 2, N, 2, pairs), each direction's last two rows.
        edges_e: int32, the exponents of these rows.
        counts: float64 (N, 2, 2, pairs), how often each state is entered, in two parts, not normalised; empty if that
            is not needed.
        total: int32 (N,), the exponent that occupancies are relative to.
        score: float64 (N,), nats.
        status: uint8 (N,), as ctckit.Status.
    """

    occupancy: Tensor
    exponents: Tensor
    edges_m: Tensor
    edges_e: Tensor
    counts: Tensor
    total: Tensor
    score: Tensor
    status: Tensor


def sweep(batch: Batch, rows: Rows, sums: Sums, *, keep: bool, count: bool = False) -> None:
    """Launches both directions up to where they meet, then the total, and with ``keep`` their second halves.

    With ``count`` (general lattices only), the second halves count how often each state is entered.
    """
    _sweep_half(batch, rows, sums, second=False, keep=keep, count=False)
    _meet(batch, rows, sums)
    if keep:
        _sweep_half(batch, rows, sums, second=True, keep=False, count=count)


def _sweep_half(batch: Batch, rows: Rows, sums: Sums, *, second: bool, keep: bool, count: bool) -> None:
    states = batch.states
    block = tuning.row_block(batch.sizes.pairs)
    _sweep_kernel[(batch.sizes.size, 2)](
        batch.scores,
        states.labels,
        states.arcs,
        *batch.extra,
        states.frames,
        states.lengths,
        rows.top,
        rows.wide,
        sums.occupancy,
        sums.exponents,
        sums.edges_m,
        sums.edges_e,
        sums.counts,
        sums.total,
        *batch.score_layout,
        TILED=block.tiled,
        SECOND=second,
        KEEP=keep,
        GENERAL=states.general,
        COUNT=count,
        BLOCK=block.block,
        num_warps=block.num_warps,
        enable_fp_fusion=tuning.FUSED,
    )


def _meet(batch: Batch, rows: Rows, sums: Sums) -> None:
    states, sizes = batch.states, batch.sizes
    _total_kernel[(sizes.size,)](
        states.arcs,
        batch.extra[1],
        states.frames,
        states.lengths,
        states.status,
        rows.offset,
        sums.edges_m,
        sums.edges_e,
        sums.total,
        sums.score,
        sums.status,
        sizes.frames,
        sizes.pairs,
        GENERAL=states.general,
        PROBABILITY=batch.from_logits and not states.general,
        BLOCK=tuning.TILE,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
