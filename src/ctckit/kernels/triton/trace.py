"""The way back along the best moves, and the path's score in float64.

A warp follows a path through WINDOW frames at a time: it loads all moves that the path may take there, a pair of states
per lane, and then goes from frame to frame between its registers. So each frame waits for a shuffle and some five more
instructions (some 30 ns by their latencies), and only each window for memory (215 ns, measured on an H200).

One warp follows a path of up to MOST_AT_ONCE frames, in one launch. Of longer paths all chunks of CHUNK frames are
followed side by side. For each chunk and each state at its end the state at its beginning is found (a map: CHUNK loads,
one after the other); then the maps are followed from chunk to chunk (a load each); then each chunk writes its part of
the path. That is three launches more. A launch takes the host about 50 us, and by one warp 4096 frames take about
150 us: so this is where it begins to pay. A chunk is as short as it can be without many maps: 60,000 frames have 469
chunks, and following their maps takes about 0.1 ms.

The order of a score's sum depends only on the number of a sample's frames, not on the way: each chunk's frames are
added in pairs, then pairs of pairs and so on; then likewise PARTS chunks; these sums are added one after the other. May
import triton, tuning.py, lattice.py and batch.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import triton
import triton.language as tl

from . import tuning
from .batch import Batch, Rows
from .lattice import store_score
from .tuning import SIZES, SIZES_AND_STRIDES, Sizes

if TYPE_CHECKING:
    from torch import Tensor

GROUP = tl.constexpr(tuning.GROUP)  # how many moves a word has: four bits each, first the even state's
WINDOW = tl.constexpr(32)  # how many frames a warp follows with one load; in each a path descends by at most one pair
LOG_CHUNK, LOG_PARTS = tl.constexpr(7), tl.constexpr(5)
CHUNK = tl.constexpr(1 << LOG_CHUNK.value)  # frames
PARTS = tl.constexpr(1 << LOG_PARTS.value)  # how many chunks' sums are added at a time
NO_STATE = tl.constexpr(1 << 30)  # above all states and pairs
NO_PATH, NOT_A_NUMBER = tl.constexpr(-1), tl.constexpr(-2)  # instead of the state that a path ends in
STATES = 128  # how many states of a map one program follows
MOST_AT_ONCE = CHUNK.value * PARTS.value  # frames of a path that one program follows


class Memory(NamedTuple):
    """Memory for the sweep and the way back.

    Attributes:
        moves: int32 (N, T / GROUP, pairs), eight moves of both states of each pair; after a sample's last frame none,
            so that the state stays as it is.
        last: int32 (N,), the states that paths end in.
        rows: (N, 2, 2, pairs), two rows, if rows are too long for registers.
        maps: int32 (N, T / CHUNK, 2 · pairs), for each state at a chunk's end the state at its beginning; like the
            following only if there are more than MOST_AT_ONCE frames.
        entries: int32 (N, T / CHUNK), the path's state at each chunk's end.
        parts: float64 (N, T / CHUNK), each chunk's part of the score.
    """

    moves: Tensor
    last: Tensor
    rows: Tensor
    maps: Tensor
    entries: Tensor
    parts: Tensor


def memory_shapes(sizes: Sizes) -> tuple[tuple[int, ...], ...]:
    """The shapes of a batch's :class:`Memory`, in its order."""
    size, chunks = sizes.size, triton.cdiv(sizes.frames, CHUNK.value)
    long, tiled = sizes.frames > MOST_AT_ONCE, tuning.best_row(sizes.pairs).each == 0
    return (
        (size, triton.cdiv(sizes.frames, GROUP.value), sizes.pairs),
        (size,),
        (size, 2, 2, sizes.pairs) if tiled else (0,),
        (size, chunks, 2, sizes.pairs) if long else (0,),
        (size, chunks) if long else (0,),
        (size, chunks) if long else (0,),
    )


class Paths(NamedTuple):
    """What is written.

    Attributes:
        states: int32 (N, T), the paths; -1 beyond a sample's frames and without a path.
        score: float64 (N,), nats.
        status: uint8 (N,), as ctckit.Status.
    """

    states: Tensor
    score: Tensor
    status: Tensor


@triton.jit
def _sum(x, LOG: tl.constexpr):
    """The sum of 2^LOG numbers, always in the same order: of pairs, then of pairs of pairs and so on."""
    for _ in tl.static_range(LOG):
        x = tl.sum(tl.reshape(x, (2, x.shape[0] // 2)), axis=0)
    return tl.reshape(x, (1,))


@triton.jit
def _follow_window(t0, state, p_words, last_frame, pairs):
    """Follows a path from the end of a window of frames to its beginning.

    Args:
        t0: the window's first frame.
        state: (WINDOW,) the state after the window, or in the path's last frame if that is in it; the same everywhere.
        p_words: the sample's moves.
        last_frame: the path's last frame.
        pairs: the number of pairs in a row of moves.

    Returns:
        The state in the window's first frame, as ``state``, and the states in all of its frames.
    """
    lane = tl.arange(0, WINDOW)
    lowest = (state >> 1) - (WINDOW - 1)
    words = ()
    for g in tl.static_range(WINDOW // GROUP):
        group = t0 // GROUP + g
        mask = lowest + lane >= tl.where(group * GROUP < last_frame, 0, NO_STATE)  # none was stored after the last
        word = tl.load(p_words + group.to(tl.int64) * pairs + lowest + lane, mask=mask, other=0)
        words = words + (word,)
    states = state
    for g in tl.static_range(WINDOW // GROUP - 1, -1, -1):
        for q in tl.static_range(GROUP - 1, -1, -1):
            word = tl.gather(words[g], (state >> 1) - lowest, 0)
            state -= (word >> (4 * q + 2 * (state & 1))) & 3
            states = tl.where(lane == g * GROUP + q, state, states)
    return state, states


@triton.jit
def _follow_chunk(c, state, p_words, p_path, last_frame, frames_max, pairs):
    """Follows a path through a chunk of frames and writes it; returns the state in the chunk's first frame."""
    lane = tl.arange(0, WINDOW)
    state = tl.full((WINDOW,), state, tl.int32)
    for back in range(0, CHUNK // WINDOW):
        t0 = (c + 1) * CHUNK - (back + 1) * WINDOW
        states = tl.full((WINDOW,), -1, tl.int32)
        if t0 <= last_frame:
            state, states = _follow_window(t0, state, p_words, last_frame, pairs)
        t = t0 + lane
        tl.store(p_path + t, tl.where(t <= last_frame, states, -1), mask=t < frames_max)
    return tl.max(state, axis=0)


@triton.jit
def _score_of_chunk(c, after, p_path, last_frame, lattice, scores, GENERAL: tl.constexpr):
    """What a chunk's frames add to the score of a path. A state's entry is added in the frame before it.

    Args:
        c: the chunk.
        after: the state in the frame after the chunk.
        p_path: the path; written in this chunk.
        last_frame: the path's last frame.
        lattice: pointers to the sample's labels, added scores and entry scores, the number of pairs, and the offset of
            the blank's score in a frame.
        scores: pointers to the sample's scores, tops and offsets, and the scores' strides.
        GENERAL: whether the lattice is arbitrary, not CTC's own.
    """
    p_labels, p_added, p_entry, pairs, o_blank = lattice
    p_scores, p_top, p_offset, stride_t, stride_c = scores
    t = c * CHUNK + tl.arange(0, CHUNK)
    on_path = t <= last_frame
    state = tl.load(p_path + t, mask=on_path, other=0)
    cell = (state & 1) * pairs + (state >> 1)
    if GENERAL:
        o_label = tl.load(p_labels + cell, mask=on_path, other=0).to(tl.int64) * stride_c
    else:
        is_token = on_path & ((state & 1) == 1)
        b_token = tl.load(p_labels + (state >> 1), mask=is_token, other=0).to(tl.int64)
        o_label = tl.where(is_token, b_token * stride_c, o_blank)
    x = tl.load(p_scores + t.to(tl.int64) * stride_t + o_label, mask=on_path, other=0.0).to(tl.float64)
    x -= tl.load(p_top + t, mask=on_path, other=0.0).to(tl.float64)
    if GENERAL:
        x += tl.load(p_added + cell, mask=on_path, other=0.0)
        x += tl.load(p_entry + cell, mask=t == 0, other=0.0)
        inside = (t < last_frame) & (t < (c + 1) * CHUNK - 1)
        later = tl.where(inside, tl.load(p_path + t + 1, mask=inside, other=0), after)
        enters = (t < last_frame) & (later != state)
        x += tl.load(p_entry + (later & 1) * pairs + (later >> 1), mask=enters, other=0.0)
    return _sum(x + tl.load(p_offset + t, mask=on_path, other=0.0), LOG_CHUNK)


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
    p_entries,
    p_parts,
    p_path,
    p_score,
    p_final,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    o_blank,
    pairs,
    WHOLE: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """Writes a sample's path and adds up its score. Without WHOLE a program does so for one chunk of frames."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = (tl.program_id(0) // (1 if WHOLE else chunks)).to(tl.int64)
    last = tl.load(p_last + n)
    last_frame = tl.where(last >= 0, tl.load(p_frames + n).to(tl.int32) - 1, -1)
    p_path += n * frames_max
    p_words = p_moves + n * tl.cdiv(frames_max, GROUP) * pairs
    o_states = n * 2 * pairs
    p_labels += o_states if GENERAL else n * (pairs - 1)
    lattice = p_labels, p_added + o_states, p_entry + o_states, pairs, o_blank
    o_frames = n * frames_max
    scores = p_scores + n * stride_n, p_top + o_frames, p_offset + o_frames, stride_t, stride_c
    if WHOLE:
        parts, state = tl.zeros((PARTS,), tl.float64), last
        for back in range(0, chunks):
            c = chunks - 1 - back
            after = state
            state = _follow_chunk(c, state, p_words, p_path, last_frame, frames_max, pairs)
            tl.debug_barrier()
            part = _score_of_chunk(c, after, p_path, last_frame, lattice, scores, GENERAL)
            parts = tl.where(tl.arange(0, PARTS) == c, part, parts)
        score = tl.max(_sum(parts, LOG_PARTS), axis=0)
        _store_status(n, p_score, p_final, p_status, p_frames, last, score)
    else:
        c = tl.program_id(0) % chunks
        after = tl.load(p_entries + n * chunks + c)
        _follow_chunk(c, after, p_words, p_path, last_frame, frames_max, pairs)
        tl.debug_barrier()
        part = _score_of_chunk(c, after, p_path, last_frame, lattice, scores, GENERAL)
        tl.store(p_parts + n * chunks + c, tl.max(part, axis=0))


@triton.jit
def _store_status(n, p_score, p_final, p_status, p_frames, last, score):
    """Stores a sample's score and status."""
    offset = tl.where(last == NOT_A_NUMBER, float("nan"), 0.0)
    store_score(p_score + n, p_final + n, score, tl.load(p_status + n), tl.load(p_frames + n), last >= 0, offset)


@triton.jit(do_not_specialize=SIZES)
def _map_kernel(p_moves, p_frames, p_lengths, p_maps, frames_max, pairs, BLOCK: tl.constexpr):
    """For a block of states at a chunk's end: the states at the chunk's beginning that their best paths come from."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n, c = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    states = 2 * tl.load(p_lengths + n).to(tl.int32) + 1
    last_frame = tl.load(p_frames + n).to(tl.int32) - 1
    begin, end = c * CHUNK, tl.minimum((c + 1) * CHUNK, last_frame)
    if (c == 0) | (begin > last_frame) | (tl.program_id(1) * BLOCK >= states):
        return
    p_words = p_moves + n * tl.cdiv(frames_max, GROUP) * pairs
    state = k
    for back in range(0, end - begin):
        t = end - 1 - back
        word = tl.load(p_words + (t // GROUP).to(tl.int64) * pairs + (state >> 1), mask=k < states, other=0)
        # States that no path reaches have moves, too, which may lead to below the first state.
        state = tl.maximum(state - ((word >> (4 * (t % GROUP) + 2 * (state & 1))) & 3), 0)
    tl.store(p_maps + (n * chunks + c) * 2 * pairs + k, state, mask=k < states)


@triton.jit(do_not_specialize=SIZES)
def _chain_kernel(p_frames, p_last, p_maps, p_entries, frames_max, pairs):
    """Follows a path from chunk to chunk: writes its state in the frame after each chunk; of the last one, its last."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = tl.program_id(0).to(tl.int64)
    state = tl.load(p_last + n)
    if state < 0:
        return
    final = (tl.load(p_frames + n).to(tl.int32) - 1) // CHUNK
    for back in range(0, final + 1):
        o_chunk = n * chunks + final - back
        tl.store(p_entries + o_chunk, state)
        state = tl.load(p_maps + o_chunk * 2 * pairs + state)


@triton.jit(do_not_specialize=SIZES)
def _score_kernel(p_parts, p_frames, p_status, p_last, p_score, p_final, frames_max):
    """Adds up the parts of a sample's score, and stores its status."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = tl.program_id(0).to(tl.int64)
    last = tl.load(p_last + n)
    used = tl.where(last >= 0, tl.cdiv(tl.load(p_frames + n).to(tl.int32), CHUNK), 0)
    score = tl.zeros((1,), tl.float64)
    for c0 in range(0, used, PARTS):
        c = c0 + tl.arange(0, PARTS)
        parts = tl.load(p_parts + n * chunks + c, mask=c < used, other=0.0)
        score += _sum(parts, LOG_PARTS)
    _store_status(n, p_score, p_final, p_status, p_frames, last, tl.max(score, axis=0))


def trace_back(batch: Batch, rows: Rows, memory: Memory, paths: Paths) -> None:
    """Launches the way back. Writes ``paths``; the arguments are those of ``best.find_best``."""
    lattices, sizes = batch.states, batch.sizes
    whole, programs = sizes.frames <= MOST_AT_ONCE, sizes.size * triton.cdiv(sizes.frames, CHUNK.value)
    if not whole:
        blocks = triton.cdiv(2 * sizes.pairs, STATES)
        _map_kernel[(programs, blocks)](
            memory.moves,
            lattices.frames,
            lattices.lengths,
            memory.maps,
            sizes.frames,
            sizes.pairs,
            BLOCK=STATES,
            num_warps=4,
        )
        _chain_kernel[(sizes.size,)](
            lattices.frames, memory.last, memory.maps, memory.entries, sizes.frames, sizes.pairs, num_warps=1
        )
    _trace_kernel[(sizes.size if whole else programs,)](
        batch.scores,
        lattices.labels,
        *batch.extra,
        lattices.frames,
        lattices.status,
        rows.top,
        rows.offset,
        memory.moves,
        memory.last,
        memory.entries,
        memory.parts,
        *paths,
        *batch.score_layout,
        WHOLE=whole,
        GENERAL=lattices.general,
        num_warps=1,
        enable_fp_fusion=tuning.FUSED,
    )
    if not whole:
        _score_kernel[(sizes.size,)](
            memory.parts, lattices.frames, lattices.status, memory.last, *paths[1:], sizes.frames, num_warps=1
        )
