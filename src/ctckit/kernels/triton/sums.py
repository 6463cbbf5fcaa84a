"""What sums over paths are made of: sums along arcs and occupancies; their total, and the loss.

May import triton, tuning.py, launch.py, scaled.py, blocks.py, lattice.py, batch.py, rows.py and cells.py.
"""

from __future__ import annotations

from typing import NamedTuple

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import done_of, edges_of, results_of, samples_of, states_of, statistics_of
from .cells import arc_factor, arc_mask, arcs_into, first_row, load_row
from .lattice import store_score
from .launch import Memory, launch
from .rows import sum_of_offsets
from .scaled import DEAD, LN2, ZERO, plain, sum_of_three, sum_of_two
from .tuning import SIZES_AND_STRIDES


@triton.jit
def _along(state, arc):
    """The sum of the paths along an arc with a weight."""
    return state[0] * arc[0], tl.maximum(state[1] + arc[1], ZERO)


@triton.jit
def along_arcs(even, odd, even_below, odd_below, arcs, GENERAL: tl.constexpr):
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
def or_first(j, into, first):
    """What enters states at step j: at the first step, the beginnings of paths."""
    return tl.where(j == 0, first[0], into[0]), tl.where(j == 0, first[1], into[1])


@triton.jit
def occupancy(into, met, total):
    """An occupancy: what enters a state, times the other direction's value there, relative to the total."""
    return plain(into[0] * met[0], into[1] + (met[1] - total))


@triton.jit
def entered(first, into, part, met, total):
    """The part of a state's occupancy that has just entered the state; where the directions meet, all of it.

    Paths that are in a state where the directions meet have entered it once. Forward, paths that enter the state later
    are added; backward, paths that left it earlier.
    """
    entered = tl.where(first, into[0], part[0]), tl.where(first, into[1], part[1])
    return occupancy(entered, met, total).to(tl.float64)


@triton.jit
def halfway(frames, backward):
    """The number of steps of a direction until the two directions meet."""
    half = frames // 2
    return tl.where(backward, frames - half, half)


@triton.jit
def edge(n, pairs, backward):
    """The offset of a direction's last row before the directions meet: edges are (N, 2, 2, pairs)."""
    return (n * 2 + backward.to(tl.int64)) * 2 * pairs


@triton.jit
def _meeting_tile(i0, j, bounds, lattice, edges, pairs, GENERAL: tl.constexpr, BLOCK: tl.constexpr):
    """Where the directions meet, a tile of the row: what enters the states at step j, and the other direction's row."""
    n, _, length, backward = bounds
    p_arc, p_entry = lattice
    p_m, p_e = edges
    REAL: tl.constexpr = p_m.dtype.element_ty
    READ: tl.constexpr = arc_factor if GENERAL else arc_mask
    i = i0 + tl.arange(0, BLOCK)
    arcs = arcs_into(p_arc, p_entry, pairs, i, length, backward, READ, REAL)
    firsts = first_row(p_arc, p_entry, pairs, i, length, backward, GENERAL, REAL)
    o_own, o_other = edge(n, pairs, backward), edge(n, pairs, backward == 0)
    even, odd = load_row(p_m + o_own, p_e + o_own, pairs, i, length, backward, j > 0)
    even_below, odd_below = load_row(p_m + o_own, p_e + o_own, pairs, i - 1, length, backward, j > 0)
    into_even, into_odd, _, _ = along_arcs(even, odd, even_below, odd_below, arcs, GENERAL)
    into_even, into_odd = or_first(j, into_even, firsts[0]), or_first(j, into_odd, firsts[1])
    met = load_row(p_m + o_other, p_e + o_other, pairs, i, length, backward, True)
    return into_even, into_odd, met[0], met[1]


@triton.jit
def exponent_at_meeting(j, bounds, lattice, edges, pairs, GENERAL: tl.constexpr, BLOCK: tl.constexpr):
    """The greatest exponent of the occupancies at a direction's step j, where it meets the other."""
    top = tl.full((), ZERO, tl.int32)
    for i0 in range(0, bounds[2] + 1, BLOCK):
        even, odd, met_even, met_odd = _meeting_tile(i0, j, bounds, lattice, edges, pairs, GENERAL, BLOCK)
        top = tl.maximum(top, tl.max(tl.maximum(even[1] + met_even[1], odd[1] + met_odd[1]), axis=0))
    return top


@triton.jit
def _loss_of(score, LOST_IS_0: tl.constexpr):
    """The loss of log-scores; 0 rather than -0 for a certain target."""
    loss = 0.0 - score
    if LOST_IS_0:
        loss = tl.where(score == float("-inf"), 0.0, loss)
    return loss


@triton.jit
def _add_losses(p_loss, p_weights, p_score, size, LOST_IS_0: tl.constexpr, BLOCK: tl.constexpr):
    """Stores the weighted sum of all losses, past the first-level cache, which does not know other programs' scores."""
    loss = tl.zeros((), tl.float64)
    for n0 in range(0, size, BLOCK):
        n = n0 + tl.arange(0, BLOCK)
        b_score = tl.load(p_score + n, mask=n < size, other=0.0, cache_modifier=".cg")
        b_weight = tl.load(p_weights + n, mask=n < size, other=0.0)
        loss += tl.sum(_loss_of(b_score, LOST_IS_0) * b_weight, axis=0)
    tl.store(p_loss, loss.to(p_loss.dtype.element_ty))


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _total_kernel(
    p_lattice,
    p_scratch,
    p_results,
    p_loss,
    p_weights,
    frames_max,
    size,
    classes,
    pairs,
    GENERAL: tl.constexpr,
    DOUBLE: tl.constexpr,
    PROBABILITY: tl.constexpr,
    LOSS: tl.constexpr,
    SUM: tl.constexpr,
    LOST_IS_0: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's log-score in float64, from where its directions meet, and its status; with LOSS its loss.

    With PROBABILITY the score is the logarithm of a probability, and rounding is not allowed to make it greater than 0.
    With SUM the loss is that of the batch: the program that ends last adds up all, in the order of the samples.
    """
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, _, p_status, _ = samples_of(p_lattice, size)
    _, p_arcs, _, p_entry = states_of(p_lattice, size, classes, pairs, GENERAL)
    p_offset, _, _ = statistics_of(p_scratch, size, frames_max, DOUBLE)
    p_score, p_final = results_of(p_results, size)
    edges = edges_of(p_scratch, size, frames_max, pairs, DOUBLE)
    frames, length = tl.load(p_frames + n).to(tl.int32), tl.load(p_lengths + n).to(tl.int32)
    bounds = (n, frames, tl.where(frames > 0, length, -1), n < 0)  # false: cells are those of the forward direction
    lattice = (p_arcs + n * 2 * pairs, p_entry + n * 2 * pairs)
    top = exponent_at_meeting(frames // 2, bounds, lattice, edges, pairs, GENERAL, BLOCK)
    b_sum = tl.zeros((), tl.float64)
    for i0 in range(0, bounds[2] + 1, BLOCK):
        even, odd, met_even, met_odd = _meeting_tile(i0, frames // 2, bounds, lattice, edges, pairs, GENERAL, BLOCK)
        part = plain(even[0].to(tl.float64) * met_even[0].to(tl.float64), even[1] + met_even[1] - top)
        part += plain(odd[0].to(tl.float64) * met_odd[0].to(tl.float64), odd[1] + met_odd[1] - top)
        b_sum += tl.sum(part, axis=0)
    offset = sum_of_offsets(p_offset + n * frames_max, frames, BLOCK)
    alive = top >= DEAD
    score = tl.log(tl.where(alive, b_sum, 1.0)) + top.to(tl.float64) * LN2 + offset
    if PROBABILITY:
        score = tl.minimum(score, 0.0)
    score = store_score(p_score + n, p_final + n, score, tl.load(p_status + n), frames, alive, offset)
    if LOSS and not SUM:
        tl.store(p_loss + n, _loss_of(score, LOST_IS_0).to(p_loss.dtype.element_ty))
    if LOSS and SUM:
        p_done = done_of(p_lattice, size)
        if tl.atomic_add(p_done, 1, sem="acq_rel") == size - 1:
            _add_losses(p_loss, p_weights, p_score, size, LOST_IS_0, BLOCK)
            tl.store(p_done, 0)


class Loss(NamedTuple):
    """The loss that is made of log-scores.

    Attributes:
        out: float32 or float64, written, rounded once: (N,), or () for a weighted sum or an only sample.
        weights: float64 (N,), if it is a sum.
        lost_is_0: whether a sample without a path has a loss of 0, instead of +inf.
    """

    out: Memory
    weights: Memory | None
    lost_is_0: bool


def add_up(batch: Batch, scratch: Memory, results: Memory, loss: Loss | None = None) -> None:
    """Launches the kernel that computes the results and the loss, from where the directions have met."""
    summed = loss is not None and loss.weights is not None
    if loss is not None and batch.sizes.size == 0:
        loss.out.zero_()
    launch(
        _total_kernel,
        (batch.sizes.size,),
        batch.lattice,
        scratch,
        results,
        results if loss is None else loss.out,
        results if loss is None or loss.weights is None else loss.weights,
        *batch.sizes,
        GENERAL=batch.general,
        DOUBLE=batch.double,
        PROBABILITY=batch.from_logits and not batch.general,
        LOSS=loss is not None,
        SUM=summed,
        LOST_IS_0=loss is not None and loss.lost_is_0,
        BLOCK=tuning.TILE,
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )
