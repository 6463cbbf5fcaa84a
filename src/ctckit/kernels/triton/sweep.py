"""Sweeps of the sums: forward and backward at the same time, with rows in registers.

A sample's alpha is swept from its first frame and its beta from its last, at the same time, until they meet. There the
total is known. Then both continue, and each turns the other's stored rows into occupancies. So T frames take T steps,
not 2T, and one row per frame is stored, not two.

Each thread holds a few neighbouring pairs of a row, so only its last pair is passed on to another thread. Emissions are
read from the table that rows.py has written. Only for a sample whose labels are too far apart for plain floats, they
are computed from its scores, as scaled floats, by a loop of its own.

May import triton, tuning.py, launch.py, scaled.py, blocks.py, lattice.py, batch.py, cells.py, sums.py and memory.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import edges_of, occupancy_of, packed, samples_of, states_of, statistics_of, sweep_of, table_of
from .cells import (
    arc_factor,
    arc_mask,
    arcs_into,
    first_row,
    label_pointers,
    load_row,
    of_sample,
    pair_cells,
    store_row,
)
from .lattice import SKIP
from .launch import Memory, launch
from .memory import PACKED_ZERO, ask, met_state, pass_on, report, store_pair, wait
from .scaled import ZERO, bias, emission, normalised_biased, product, sum_of_three, sum_of_two
from .sums import along_arcs, edge, entered, exponent_at_meeting, halfway, occupancy, or_first
from .tuning import SIZES_AND_STRIDES, Constant

FLAGS = Constant(1024)  # the flags of this many frames are read at a time
DISTANCE = Constant(32)  # a part of a row reports after this many frames


@triton.jit
def _cells(i, length, backward, P: tl.constexpr):
    """The cells of a thread's pairs, as of pair_cells."""
    cells = ()
    for p in tl.static_range(P):
        cells = cells + (pair_cells(i + p, length, backward),)
    return cells


@triton.jit
def _lattice(layout, i, cells, length, backward, pairs, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """For each of a thread's pairs: the arcs into it, and how paths begin in it.

    Of CTC's lattices only the skips differ from state to state: their masks are all that is returned.
    """
    p_arc, p_entry = layout[0], layout[1]
    arcs, firsts = (), ()
    for p in tl.static_range(len(cells)):
        if GENERAL:
            arcs = arcs + (arcs_into(p_arc, p_entry, pairs, i + p, length, backward, arc_factor, REAL),)
            firsts = firsts + (first_row(p_arc, p_entry, pairs, i + p, length, backward, GENERAL, REAL),)
        else:
            end = cells[p][2] + backward.to(tl.int32)  # the state that a skip of this direction's enters, or mirrored
            is_skip = cells[p][3] & (end < length)
            arcs = arcs + (arc_mask(p_arc, p_entry, pairs + end, is_skip, SKIP, REAL),)
            firsts = firsts + (0,)
    return arcs, firsts


@triton.jit
def _labels(layout, i, cells, length, backward, pairs, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """For each of a thread's pairs: pointers to its labels' scores, and the scores that are added to them."""
    labels = ()
    for p in tl.static_range(len(cells)):
        labels = labels + (label_pointers(layout, pairs, i + p, length, backward, GENERAL, REAL),)
    return labels


@triton.jit
def _passed_on(state, lane, below):
    """What the thread below holds; for the first thread what the part of the row below has passed on, if any."""
    m, e = state
    source = tl.maximum(lane - 1, 0)
    if m.shape[0] > 32 and m.dtype == tl.float32:  # one exchange between warps instead of two
        both = (e.to(tl.int64) << 32) | m.to(tl.int32, bitcast=True).to(tl.int64)
        both = tl.gather(both, source, 0)
        m, e = both.to(tl.int32).to(tl.float32, bitcast=True), (both >> 32).to(tl.int32)
    else:
        m, e = tl.gather(m, source, 0), tl.gather(e, source, 0)
    if len(below) == 0:  # of a zero only the exponent matters
        return m, tl.where(lane > 0, e, ZERO)
    else:
        return tl.where(lane > 0, m, below[0]), tl.where(lane > 0, e, below[1])


@triton.jit
def _enter(j, row, below, lattice, lane, GENERAL: tl.constexpr):
    """What enters each pair's states at step j: the sums, and with GENERAL the parts that come from other states."""
    arcs, firsts = lattice
    P: tl.constexpr = len(row)
    odd_below = _passed_on(row[P - 1][1], lane, below[0])
    even_below = odd_below
    if GENERAL:
        even_below = _passed_on(row[P - 1][0], lane, below[1])
    into = ()
    for p in tl.static_range(P):
        even, odd = row[p][0], row[p][1]
        if GENERAL:
            into_even, into_odd, even_part, odd_part = along_arcs(even, odd, even_below, odd_below, arcs[p], GENERAL)
            into_even, into_odd = or_first(j, into_even, firsts[p][0]), or_first(j, into_odd, firsts[p][1])
        else:
            into_even = sum_of_two(even[0], even[1], odd_below[0], odd_below[1])
            skip_e = tl.minimum(odd_below[1], arcs[p])
            into_odd = sum_of_three(odd[0], odd[1], even[0], even[1], odd_below[0], skip_e)
            even_part, odd_part = into_even, into_odd
        into = into + ((into_even, into_odd, even_part, odd_part),)
        even_below, odd_below = even, odd
    return into


@triton.jit
def _emit(into, x, top, added, wide, WIDE: tl.constexpr, GENERAL: tl.constexpr):
    """What enters a state, times its emission: x, or with WIDE e^x relative to the frame's best."""
    if WIDE:
        m, e = emission(x, top, added, wide, True, GENERAL)
        return product(into[0], into[1], m, e)
    else:
        return normalised_biased(into[0] * x, into[1])


@triton.jit
def _step(
    j,
    row,
    given,
    sample,
    sources,
    lattice,
    meeting,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """One frame of a row: sums along the arcs, times the emissions."""
    _, direction, pairs, lane, cells = sample
    _, labels, _, stored, passed = sources
    PACKED: tl.constexpr = len(stored) == 3
    emissions, met, below = given
    evens, odds, top, wide = emissions
    o_row = j * (direction * 2 * pairs)
    into = _enter(j, row, below, lattice, lane, GENERAL)
    after = ()
    for p in tl.static_range(len(row)):
        even_cell, is_even, odd_cell, is_odd = cells[p]
        into_even, into_odd, even_part, odd_part = into[p]
        if SECOND:
            total, first = meeting
            met_even, met_odd = met_state(met, p, 0, PACKED, WIDE), met_state(met, p, 1, PACKED, WIDE)
            tl.store(stored[0] + even_cell + o_row, occupancy(into_even, met_even, total), mask=is_even)
            tl.store(stored[0] + (pairs + odd_cell) + o_row, occupancy(into_odd, met_odd, total), mask=is_odd)
        even_x, even_added, odd_added = evens[0], 0, 0
        if GENERAL:
            even_x = evens[p]
            if WIDE:
                even_added, odd_added = labels[p][2]
        even = _emit(into_even, even_x, top, even_added, wide, WIDE, GENERAL)
        odd = _emit(into_odd, odds[p], top, odd_added, wide, WIDE, GENERAL)
        if KEEP:
            store_pair(j, direction, cells[p], stored, pairs, even, odd, WIDE)
        if len(row[p]) == 3:  # only in the second halves
            even_count = row[p][2][0] + entered(j == first, into_even, even_part, met_even, total)
            odd_count = row[p][2][1] + entered(j == first, into_odd, odd_part, met_odd, total)
            after = after + ((even, odd, (even_count, odd_count)),)
        else:
            after = after + ((even, odd),)
    if len(passed) > 0:
        pass_on(j, after, passed, lane, GENERAL)
    return after


@triton.jit
def _sweep_frames(
    start,
    stop,
    row,
    sample,
    sources,
    lattice,
    meeting,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """Updates a row by each frame from step ``start`` to ``stop``.

    Loads are some frames ahead, and the loop is unrolled by the same number, so that nothing that is being loaded is
    moved from one register to another: that would wait for it. The more instructions a frame has, the fewer frames are
    needed; and the time to compile grows with the third power of the unrolled code.
    """
    AHEAD: tl.constexpr = 1 if WIDE else 2 if GENERAL else 4
    queue = ()
    for q in tl.static_range(AHEAD):
        queue = queue + (ask(start + q, sample, sources, SECOND, WIDE, GENERAL),)
    whole = start + (stop - start) // AHEAD * AHEAD
    for j in range(start, whole, AHEAD):
        asked = ()
        for q in tl.static_range(AHEAD):
            row = _step(j + q, row, queue[q], sample, sources, lattice, meeting, SECOND, KEEP, WIDE, GENERAL)
            asked = asked + (ask(j + q + AHEAD, sample, sources, SECOND, WIDE, GENERAL),)
        queue = asked
    if AHEAD > 1:
        for j in range(whole, stop):
            given = ask(j, sample, sources, SECOND, WIDE, GENERAL)
            row = _step(j, row, given, sample, sources, lattice, meeting, SECOND, KEEP, WIDE, GENERAL)
    return row


@triton.jit
def _any_wide(p_wide, frames):
    """Whether any frame of a sample is wide."""
    found = tl.zeros((FLAGS,), tl.int8)
    for t0 in range(0, frames, FLAGS):
        t = t0 + tl.arange(0, FLAGS)
        found |= tl.load(p_wide + t, mask=t < frames, other=0)
    return tl.max(found, axis=0) != 0


@triton.jit
def _sweep_part(
    start,
    stop,
    row,
    sample,
    sources,
    lattice,
    meeting,
    p_progress,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """Updates a row, or a part of a row, which follows the part below at a distance of some frames."""
    passed = sources[4]
    if len(passed) > 0:
        has_below = passed[5]
        for j in range(start, stop, DISTANCE):
            end = tl.minimum(j + DISTANCE, stop)
            if has_below:
                wait(p_progress - 1, end)
            row = _sweep_frames(j, end, row, sample, sources, lattice, meeting, SECOND, KEEP, WIDE, GENERAL)
            report(p_progress, end)
    else:
        row = _sweep_frames(start, stop, row, sample, sources, lattice, meeting, SECOND, KEEP, WIDE, GENERAL)
    return row


@triton.jit
def _before_first(
    i, lane, NONE: tl.constexpr, GENERAL: tl.constexpr, COUNT: tl.constexpr, P: tl.constexpr, REAL: tl.constexpr
):
    """The row before the first step: zeros, and for CTC's lattices a 1 from where paths enter the first two states."""
    row = ()
    for p in tl.static_range(P):
        m, e = tl.full(lane.shape, 1.0, REAL), tl.full(lane.shape, NONE, tl.int32)
        even_e = e
        if p == 0 and not GENERAL:
            even_e = tl.where(i == 0, 0, NONE)
        if COUNT:
            none = tl.zeros(lane.shape, tl.float64)
            row = row + (((m, even_e), (m, e), (none, none)),)
        else:
            row = row + (((m, even_e), (m, e)),)
    return row


@triton.jit
def _load_edge(edges, o_edge, biases, row, i, length, backward, pairs, NONE: tl.constexpr):
    """The row that the first launch has left."""
    loaded = ()
    for p in tl.static_range(len(row)):
        even, odd = load_row(edges[0] + o_edge, edges[1] + o_edge, pairs, i + p, length, backward, True)
        even, odd = (even[0], tl.maximum(even[1], NONE) + biases), (odd[0], tl.maximum(odd[1], NONE) + biases)
        loaded = loaded + ((even, odd, row[p][2]) if len(row[p]) == 3 else (even, odd),)
    return loaded


@triton.jit
def _sweep(
    bounds,
    sample,
    i,
    sources,
    layout,
    lattice,
    edges,
    p_counts,
    p_progress,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    WIDE: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
):
    """One direction of a sample, or one part of it: up to where the directions meet, or from there to its end."""
    _, _, pairs, lane, cells = sample
    n, frames, length, backward = bounds
    REAL: tl.constexpr = edges[0].dtype.element_ty
    p_table, _, statistics, stored, passed = sources
    labels = _labels(layout, i, cells, length, backward, pairs, GENERAL, REAL) if WIDE else ()
    sources = (p_table, labels, statistics, stored, passed)
    meet = halfway(frames, backward)
    biases = 0 if WIDE else meet * bias(REAL)
    o_edge = edge(n, pairs, backward)
    PACKED: tl.constexpr = len(stored) == 3 and not WIDE
    NONE: tl.constexpr = PACKED_ZERO if PACKED else ZERO
    row = _before_first(i, lane, NONE, GENERAL, COUNT, len(cells), REAL)
    start, stop, meeting = meet * 0, meet, (0, 0)
    if SECOND:
        if meet > 0:
            row = _load_edge(edges, o_edge, biases, row, i, length, backward, pairs, NONE)
        total = exponent_at_meeting(meet, bounds, (layout[0], layout[1]), edges, pairs, GENERAL, lane.shape[0])
        start, stop = meet, frames
        total += 0 if WIDE else frames * bias(REAL)
        meeting = (total + (bias(REAL) if PACKED else 0), tl.where(backward, -1, meet))
    row = _sweep_part(start, stop, row, sample, sources, lattice, meeting, p_progress, SECOND, KEEP, WIDE, GENERAL)
    for p in tl.static_range(len(cells)):
        o_even, is_even, o_odd, is_odd = cells[p]
        if COUNT:
            tl.store(p_counts + o_even, row[p][2][0], mask=is_even)
            tl.store(p_counts + pairs + o_odd, row[p][2][1], mask=is_odd)
        if not SECOND:
            even_e, odd_e = row[p][0][1] - biases, row[p][1][1] - biases
            if PACKED:  # whose zeros are the negative exponents
                even_e = tl.where(row[p][0][1] < 0, ZERO, even_e)
                odd_e = tl.where(row[p][1][1] < 0, ZERO, odd_e)
            even, odd = (row[p][0][0], even_e), (row[p][1][0], odd_e)
            store_row(edges[0] + o_edge, edges[1] + o_edge, pairs, i + p, length, backward, even, odd)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _sweep_kernel(
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
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    GENERAL: tl.constexpr,
    COUNT: tl.constexpr,
    CUT: tl.constexpr,
    LONG: tl.constexpr,
    PACKED: tl.constexpr,
    DOUBLE: tl.constexpr,
    P: tl.constexpr,
    LANES: tl.constexpr,
):
    """One sample in one direction; with CUT one part of its row, which follows the part below.

    The order in which programs start is not promised, so with CUT they are numbered as they start: a program waits only
    for one that has started before it.
    """
    REAL: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    program, parts, part = tl.program_id(0), 1, 0
    if CUT:
        parts = tl.cdiv(pairs, P * LANES)
    p_frames, p_lengths, _, _, _ = samples_of(p_lattice, size)
    _, p_top, p_wide = statistics_of(p_scratch, size, frames_max, DOUBLE)
    p_progress, p_table = table_of(p_scratch, size, frames_max, pairs, parts, DOUBLE)
    p_passed_m, p_passed_e, p_e = sweep_of(p_scratch, size, frames_max, pairs, parts, GENERAL, CUT, DOUBLE)
    p_m, p_counts = occupancy_of(p_kept, size, frames_max, pairs, DOUBLE)
    if CUT:
        started = tl.atomic_add(p_progress + tl.num_programs(0), 1, sem="relaxed") % tl.num_programs(0)
        program, part = started // (2 * parts) * 2 + started % 2, started // 2 % parts
    n, backward = (program // 2).to(tl.int64), program % 2 == 1
    frames, length = tl.load(p_frames + n).to(tl.int32), tl.load(p_lengths + n).to(tl.int32)
    if (frames == 0) | (part * P * LANES > length):
        return
    lattices = states_of(p_lattice, size, classes, pairs, GENERAL)
    scores = (p_scores, stride_t, stride_n, stride_c, o_blank)
    layout, statistics = of_sample(n, lattices, scores, p_top, p_wide, frames_max, pairs, GENERAL)
    p_top, p_wide, _ = statistics
    lane = tl.arange(0, LANES)
    i = (part * LANES + lane) * P
    cells = _cells(i, length, backward, P)
    lattice = _lattice(layout, i, cells, length, backward, pairs, GENERAL, REAL)
    # The type of all offsets within a sample.
    direction = tl.where(backward, -1, 1).to(tl.int64 if LONG else tl.int32)
    origin = tl.where(backward, frames - 1, 0).to(tl.int64)
    bounds, sample = (n, frames, length, backward), (frames - 1, direction, pairs, lane, cells)
    o_program = n * 2 + program % 2
    o_passed = (o_program * parts + part) * 2 * frames_max
    p_passed_m, p_passed_e = p_passed_m + o_passed, p_passed_e + o_passed
    p_below_m, p_below_e = p_passed_m - 2 * frames_max, p_passed_e - 2 * frames_max
    passed = (p_below_m, p_below_e, p_passed_m, p_passed_e, frames_max, part > 0) if CUT else ()
    statistics = (p_top + origin, p_wide + origin, stride_t, origin)
    o_frame = n * frames_max + origin
    p_low = p_table.to(tl.pointer_type(tl.int32), bitcast=True) + o_frame * pairs  # used only if rows are packed
    p_table += o_frame * (2 * pairs if GENERAL else pairs)
    p_m, p_e = p_m + o_frame * 2 * pairs, p_e + o_frame * (pairs if PACKED else 2 * pairs)
    stored = (p_m, p_e, p_low) if PACKED else (p_m, p_e)
    sources = (p_table, (), statistics, stored, passed)
    edges, p_counts = edges_of(p_scratch, size, frames_max, pairs, DOUBLE), p_counts + o_program * 2 * pairs
    p_progress += o_program * parts + part
    wide = _any_wide(p_wide, frames)
    for WIDE in tl.static_range(2):
        if wide == (WIDE != 0):
            _sweep(
                bounds,
                sample,
                i,
                sources,
                layout,
                lattice,
                edges,
                p_counts,
                p_progress,
                SECOND,
                KEEP,
                WIDE != 0,
                GENERAL,
                COUNT,
            )


def sweep(batch: Batch, scratch: Memory, kept: Memory, *, keep: bool, count: bool = False) -> None:
    """Launches both directions of all samples up to where they meet, and with ``keep`` from there to their ends.

    With ``count`` (general lattices only), the second halves count how often each state is entered.
    """
    sizes = batch.sizes
    lanes = tuning.lanes(sizes.pairs)
    if sizes.frames == 0:  # then read_rows has launched nothing that says that no program has begun
        return
    for second in [False, True] if keep else [False]:
        launch(
            _sweep_kernel,
            (2 * sizes.size * lanes.parts,),
            batch.scores,
            batch.lattice,
            scratch,
            kept,
            *batch.score_layout,
            SECOND=second,
            KEEP=keep and not second,
            GENERAL=batch.general,
            COUNT=count and second,
            CUT=lanes.parts > 1,
            LONG=sizes.frames * 2 * sizes.pairs >= 1 << 31,
            PACKED=packed(batch),
            DOUBLE=batch.double,
            P=lanes.each,
            LANES=lanes.number,
            num_warps=max(lanes.number // 32, 1),
            enable_fp_fusion=tuning.FUSED,
        )
