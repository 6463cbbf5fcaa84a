"""Lays out lattices of any shape as the kernels read them: states in pairs, with added scores and entry scores.

State k of a lattice is the even or the odd state of pair k/2, whichever class it emits. A lattice with an even number
of states gets one more state, which no arc enters. May import triton, tuning.py, launch.py, blocks.py and lattice.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .blocks import done_of, samples_of, states_of
from .lattice import END, INFEASIBLE, INVALID, OK, SKIP, START, STAY, STEP
from .launch import Memory, launch
from .tuning import SIZES, Sizes, power_of_two


@triton.jit
def _state(p, n, k, exists, most, other):
    """Loads the entries of sample n's states k from an array (N, K)."""
    return tl.load(p + n * most + k, mask=exists, other=other)


@triton.jit(do_not_specialize=SIZES)
def _pair_kernel(
    p_labels,
    p_bits,
    p_of_token,
    p_costs,
    p_class_scores,
    p_state_scores,
    p_num_states,
    p_num_frames,
    p_known,
    p_lattice,
    frames_max,
    size,
    classes,
    pairs,
    most,
    COSTS: tl.constexpr,
    CLASS_SCORES: tl.constexpr,
    STATE_SCORES: tl.constexpr,
    KNOWN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Copies one sample's states (N, K) into pairs (N, 2, pairs), and finds its status, except whether it has a path.

    Labels of states that don't exist are set to `classes`. Added scores and entry scores are float64.
    """
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, _, p_status, _ = samples_of(p_lattice, size)
    p_out_labels, p_out_arcs, p_added, p_entry = states_of(p_lattice, size, classes, pairs, True)
    b_frames = tl.load(p_num_frames + n).to(tl.int64)
    b_count = tl.load(p_num_states + n).to(tl.int64)
    sound = (b_count >= 1) & (b_count <= most) & (b_frames >= 0) & (b_frames <= frames_max)
    b_count = tl.where(sound, b_count, 0)
    b_wrong = tl.where(sound, 0, 1)
    b_empty = tl.zeros((), tl.int32)  # whether a path may have no frames
    for i0 in range(0, pairs, BLOCK):
        i = i0 + tl.arange(0, BLOCK).to(tl.int64)
        for odd in tl.static_range(2):
            k = 2 * i + odd
            exists = k < b_count
            b_label = _state(p_labels, n, k, exists, most, 0).to(tl.int64)
            b_arcs = _state(p_bits, n, k, exists, most, 0).to(tl.int32)
            bad = exists & ((b_label < 0) | (b_label >= classes))
            b_label = tl.where(exists & (bad == 0), b_label, classes)
            b_added = tl.zeros((BLOCK,), tl.float64)
            if CLASS_SCORES:
                b_added += tl.load(p_class_scores + b_label, mask=b_label < classes, other=0.0)
            if STATE_SCORES:
                b_added += _state(p_state_scores, n, k, exists, most, 0.0)
            b_entry = tl.zeros((BLOCK,), tl.float64)
            if COSTS:
                b_entry -= _state(p_costs, n, k, exists, most, 0.0)
            bad = bad | ((b_added < float("inf")) == 0) | ((b_entry < float("inf")) == 0)
            b_wrong = tl.maximum(b_wrong, tl.max(bad.to(tl.int32), axis=0))
            b_token = _state(p_of_token, n, k, exists, most, 0)
            both = (b_token < 0) & ((b_arcs & START) != 0) & ((b_arcs & END) != 0)
            b_empty = tl.maximum(b_empty, tl.max(both.to(tl.int32), axis=0))
            o_out = n * 2 * pairs + odd * pairs + i
            tl.store(p_out_labels + o_out, b_label.to(tl.int32), mask=i < pairs)
            tl.store(p_out_arcs + o_out, b_arcs.to(tl.uint8), mask=i < pairs)
            tl.store(p_added + o_out, b_added, mask=i < pairs)
            tl.store(p_entry + o_out, b_entry, mask=i < pairs)
    b_status = tl.where((b_frames == 0) & (b_empty == 0), INFEASIBLE, OK)
    if KNOWN:
        b_status = tl.load(p_known + n).to(tl.int32)
    b_status = tl.where(b_wrong != 0, INVALID, b_status)
    tl.store(p_status + n, b_status)
    tl.store(done_of(p_lattice, size), 0, mask=n == 0)
    tl.store(p_frames + n, tl.where(b_status == OK, b_frames, 0))
    tl.store(p_lengths + n, b_count // 2)


@triton.jit
def _has(arcs, bit):
    return ((arcs & bit) != 0).to(tl.int32)


@triton.jit
def _load_arcs(p_arcs, pairs, i, length):
    even = tl.load(p_arcs + i, mask=i <= length, other=0).to(tl.int32)
    return even, tl.load(p_arcs + pairs + i, mask=i < length, other=0).to(tl.int32)


@triton.jit
def _reached(row, below, even_arcs, odd_arcs):
    """The states that can be reached one frame later; bit 0 is a pair's even state, bit 1 its odd state."""
    even = row & _has(even_arcs, STAY) | (below >> 1) & _has(even_arcs, STEP) | below & _has(even_arcs, SKIP)
    odd = (row >> 1) & _has(odd_arcs, STAY) | row & _has(odd_arcs, STEP) | (below >> 1) & _has(odd_arcs, SKIP)
    return even | (odd << 1)


@triton.jit
def _begun(even_arcs, odd_arcs):
    """The states that a path may begin in."""
    return _has(even_arcs, START) | (_has(odd_arcs, START) << 1)


@triton.jit
def _ends(row, even_arcs, odd_arcs):
    """Whether a path may end in any of the reached states."""
    return tl.max(row & _has(even_arcs, END) | (row >> 1) & _has(odd_arcs, END), axis=0)


@triton.jit(do_not_specialize=SIZES)
def _feasible_kernel(p_lattice, p_rows, size, classes, pairs, TILED: tl.constexpr, BLOCK: tl.constexpr):
    """Finds whether a sample's lattice has a path with its number of frames, by a sweep over bits, without scores."""
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, _, p_status, _ = samples_of(p_lattice, size)
    _, p_arcs, _, _ = states_of(p_lattice, size, classes, pairs, True)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    p_arcs += n * 2 * pairs
    p_rows += n * 2 * pairs
    found = tl.zeros((), tl.int32)
    if TILED:
        for j in range(0, frames):
            p_before, p_after = p_rows + ((j + 1) & 1) * pairs, p_rows + (j & 1) * pairs
            found = tl.zeros((), tl.int32)
            for i0 in range(0, length + 1, BLOCK):
                i = i0 + tl.arange(0, BLOCK).to(tl.int64)
                even_arcs, odd_arcs = _load_arcs(p_arcs, pairs, i, length)
                row = tl.load(p_before + i, mask=(i <= length) & (j > 0), other=0).to(tl.int32)
                below = tl.load(p_before + i - 1, mask=(i > 0) & (i <= length) & (j > 0), other=0).to(tl.int32)
                row = tl.where(j > 0, _reached(row, below, even_arcs, odd_arcs), _begun(even_arcs, odd_arcs))
                tl.store(p_after + i, row.to(tl.uint8), mask=i <= length)
                found = tl.maximum(found, _ends(row, even_arcs, odd_arcs))
            tl.debug_barrier()
    else:
        i = tl.arange(0, BLOCK)
        even_arcs, odd_arcs = _load_arcs(p_arcs, pairs, i, length)
        row = _begun(even_arcs, odd_arcs)
        for _ in range(1, frames):
            below = tl.where(i > 0, tl.gather(row, tl.maximum(i - 1, 0), 0), 0)
            row = _reached(row, below, even_arcs, odd_arcs)
        found = _ends(row, even_arcs, odd_arcs)
    if (frames > 0) & (found == 0):
        tl.store(p_status + n, INFEASIBLE)
        tl.store(p_frames + n, tl.zeros((), tl.int64))


def lay_out_states(
    labels: Memory,
    arcs: Memory,
    tokens: Memory,
    num_states: Memory,
    frames: Memory,
    lattice: Memory,
    sizes: Sizes,
    *,
    entry_costs: Memory | None = None,
    class_scores: Memory | None = None,
    state_scores: Memory | None = None,
    known: Memory | None = None,
) -> None:
    """Launches the kernel that lays out lattices in pairs.

    Args:
        labels: int32 (N, K), contiguous, like all other arrays here.
        arcs: uint8 (N, K), bits of :class:`ctckit.Arc`.
        tokens: int32 (N, K), -1 for a state that is not a token.
        num_states: integers (N,).
        frames: integers (N,).
        lattice: the block, written, except the states' order.
        sizes: the sizes of the batch.
        entry_costs: float64 (N, K), nats.
        class_scores: float64 (C,), nats.
        state_scores: float64 (N, K), nats.
        known: int32 (N,), the statuses that are already known.
    """
    launch(
        _pair_kernel,
        (sizes.size,),
        labels,
        arcs,
        tokens,
        entry_costs if entry_costs is not None else labels,
        class_scores if class_scores is not None else labels,
        state_scores if state_scores is not None else labels,
        num_states,
        frames,
        known if known is not None else labels,
        lattice,
        *sizes,
        labels.shape[1],
        COSTS=entry_costs is not None,
        CLASS_SCORES=class_scores is not None,
        STATE_SCORES=state_scores is not None,
        KNOWN=known is not None,
        BLOCK=min(tuning.TILE, power_of_two(sizes.pairs)),
        num_warps=4,
        enable_fp_fusion=tuning.FUSED,
    )


def find_infeasible(lattice: Memory, rows: Memory, sizes: Sizes) -> None:
    """Launches the sweep over bits. Updates statuses and frames.

    Args:
        lattice: the block, laid out by :func:`lay_out_states`.
        rows: uint8 (N, 2, pairs), memory for two rows, if rows are too long for registers.
        sizes: the sizes of the batch.
    """
    block = tuning.row_block(sizes.pairs)
    launch(
        _feasible_kernel,
        (sizes.size,),
        lattice,
        rows,
        *sizes[1:],
        TILED=block.tiled,
        BLOCK=block.block,
        num_warps=block.num_warps,
        enable_fp_fusion=tuning.FUSED,
    )
