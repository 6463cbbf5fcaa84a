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
import triton, tuning.py, blocks.py, lattice.py and batch.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import as_int64, at, results_of, samples_of, states_of, statistics_of, statistics_places
from .lattice import store_score
from .launch import Memory, launch
from .tuning import SIZES, SIZES_AND_STRIDES, Constant, Sizes

GROUP = Constant(tuning.GROUP)  # how many moves a word has: four bits each, first the even state's
WINDOW = Constant(32)  # how many frames a warp follows with one load; in each a path descends by at most one pair
LOG_CHUNK, LOG_PARTS = Constant(7), Constant(5)
CHUNK = Constant(1 << LOG_CHUNK.value)  # frames
PARTS = Constant(1 << LOG_PARTS.value)  # how many chunks' sums are added at a time
NO_STATE = Constant(1 << 30)  # above all states and pairs
NO_PATH, NOT_A_NUMBER = Constant(-1), Constant(-2)  # instead of the state that a path ends in
STATES = 128  # how many states of a map one program follows
MOST_AT_ONCE = CHUNK.value * PARTS.value  # frames of a path that one program follows


def _is_long(sizes: Sizes) -> bool:
    """Whether paths are followed in chunks."""
    return bool(sizes.frames > MOST_AT_ONCE)


@triton.jit
def path_places(rows, size, groups, chunks, pairs, TILED: tl.constexpr, DOUBLE: tl.constexpr):
    """Where moves, last, parts, entries and maps begin, and where a best path's scratch block ends.

    It begins with the statistics of blocks.py, which end at rows.

    rows     R (N, 2, 2, P)         two rows of the sweep; with TILED: they are too long for registers
    moves    int32 (N, groups, P)   of GROUP frames, those of both states of each pair; after the last frame none
    last     int32 (N,)             the states that paths end in
    parts    float64 (N, chunks)    each chunk's part of the score; if paths are followed in chunks
    entries  int32 (N, chunks)      the path's state at each chunk's end; likewise
    maps     int32 (N, chunks, 2P)  for each state at a chunk's end the state at its beginning; likewise
    """
    moves = rows + ((32 if DOUBLE else 16) * size * pairs if TILED else 0)
    last = moves + 4 * size * groups * pairs
    parts = (last + 4 * size + 15) // 16 * 16
    entries = parts + 8 * size * chunks
    maps = entries + 4 * size * chunks
    return moves, last, parts, entries, maps, maps + 8 * size * chunks * pairs


@triton.jit
def moves_of(p_scratch, size, frames, pairs, TILED: tl.constexpr, DOUBLE: tl.constexpr):
    """Pointers to rows, moves and last states."""
    groups = tl.cdiv(frames, GROUP)
    _, _, rows = statistics_places(as_int64(size), frames, DOUBLE)
    moves, last, _, _, _, _ = path_places(rows, as_int64(size), groups, 0, pairs, TILED, DOUBLE)
    p_rows = at(p_scratch, rows, tl.float64 if DOUBLE else tl.float32)
    return p_rows, at(p_scratch, moves, tl.int32), at(p_scratch, last, tl.int32)


@triton.jit
def _chunks_of(p_scratch, size, frames, pairs, TILED: tl.constexpr, DOUBLE: tl.constexpr):
    """Pointers to parts, entries and maps."""
    groups, chunks = tl.cdiv(frames, GROUP), tl.cdiv(frames, CHUNK)
    _, _, rows = statistics_places(as_int64(size), frames, DOUBLE)
    _, _, parts, entries, maps, _ = path_places(rows, as_int64(size), groups, chunks, pairs, TILED, DOUBLE)
    return at(p_scratch, parts, tl.float64), at(p_scratch, entries, tl.int32), at(p_scratch, maps, tl.int32)


def path_size(batch: Batch) -> int:
    """Bytes of a best path's scratch block."""
    frames, size, _, pairs = batch.sizes
    groups, chunks = -(-frames // GROUP.value), -(-frames // CHUNK.value) if _is_long(batch.sizes) else 0
    tiled = tuning.best_row(pairs).each == 0
    rows = statistics_places.fn(size, frames, batch.double)[-1]
    return int(path_places.fn(rows, size, groups, chunks, pairs, tiled, batch.double)[-1])


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
    p_lattice,
    p_scratch,
    p_path,
    p_results,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    size,
    classes,
    pairs,
    o_blank,
    LONG: tl.constexpr,
    TILED: tl.constexpr,
    GENERAL: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    """Writes a sample's path and adds up its score. With LONG a program does so for one chunk of frames."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = (tl.program_id(0) // (chunks if LONG else 1)).to(tl.int64)
    p_frames, _, _, p_status, _ = samples_of(p_lattice, size)
    p_labels, _, p_added, p_entry = states_of(p_lattice, size, classes, pairs, GENERAL)
    p_offset, p_top, _ = statistics_of(p_scratch, size, frames_max, DOUBLE)
    _, p_moves, p_last = moves_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    p_parts, p_entries, _ = _chunks_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    last = tl.load(p_last + n)
    last_frame = tl.where(last >= 0, tl.load(p_frames + n).to(tl.int32) - 1, -1)
    p_path += n * frames_max
    p_words = p_moves + n * tl.cdiv(frames_max, GROUP) * pairs
    o_states = n * 2 * pairs
    p_labels += o_states if GENERAL else n * (pairs - 1)
    lattice = p_labels, p_added + o_states, p_entry + o_states, pairs, o_blank
    o_frames = n * frames_max
    scores = p_scores + n * stride_n, p_top + o_frames, p_offset + o_frames, stride_t, stride_c
    if not LONG:
        parts, state = tl.zeros((PARTS,), tl.float64), last
        for back in range(0, chunks):
            c = chunks - 1 - back
            after = state
            state = _follow_chunk(c, state, p_words, p_path, last_frame, frames_max, pairs)
            tl.debug_barrier()
            part = _score_of_chunk(c, after, p_path, last_frame, lattice, scores, GENERAL)
            parts = tl.where(tl.arange(0, PARTS) == c, part, parts)
        score = tl.max(_sum(parts, LOG_PARTS), axis=0)
        _store_status(n, size, p_results, p_status, p_frames, last, score)
    else:
        c = tl.program_id(0) % chunks
        after = tl.load(p_entries + n * chunks + c)
        _follow_chunk(c, after, p_words, p_path, last_frame, frames_max, pairs)
        tl.debug_barrier()
        part = _score_of_chunk(c, after, p_path, last_frame, lattice, scores, GENERAL)
        tl.store(p_parts + n * chunks + c, tl.max(part, axis=0))


@triton.jit
def _store_status(n, size, p_results, p_status, p_frames, last, score):
    """Stores a sample's score and status."""
    p_score, p_final = results_of(p_results, size)
    offset = tl.where(last == NOT_A_NUMBER, float("nan"), 0.0)
    store_score(p_score + n, p_final + n, score, tl.load(p_status + n), tl.load(p_frames + n), last >= 0, offset)


@triton.jit(do_not_specialize=SIZES)
def _map_kernel(
    p_lattice,
    p_scratch,
    frames_max,
    size,
    classes,
    pairs,
    TILED: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """For a block of states at a chunk's end: the states at the chunk's beginning that their best paths come from."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n, c = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks
    k = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    p_frames, p_lengths, _, _, _ = samples_of(p_lattice, size)
    _, p_moves, _ = moves_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    _, _, p_maps = _chunks_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
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
def _chain_kernel(p_lattice, p_scratch, frames_max, size, classes, pairs, TILED: tl.constexpr, DOUBLE: tl.constexpr):
    """Follows a path from chunk to chunk: writes its state in the frame after each chunk; of the last one, its last."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = tl.program_id(0).to(tl.int64)
    p_frames, _, _, _, _ = samples_of(p_lattice, size)
    _, _, p_last = moves_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    _, p_entries, p_maps = _chunks_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    state = tl.load(p_last + n)
    if state < 0:
        return
    final = (tl.load(p_frames + n).to(tl.int32) - 1) // CHUNK
    for back in range(0, final + 1):
        o_chunk = n * chunks + final - back
        tl.store(p_entries + o_chunk, state)
        state = tl.load(p_maps + o_chunk * 2 * pairs + state, mask=back < final, other=0)  # the first has no map


@triton.jit(do_not_specialize=SIZES)
def _score_kernel(
    p_lattice, p_scratch, p_results, frames_max, size, classes, pairs, TILED: tl.constexpr, DOUBLE: tl.constexpr
):
    """Adds up the parts of a sample's score, and stores its status."""
    chunks = tl.cdiv(frames_max, CHUNK)
    n = tl.program_id(0).to(tl.int64)
    p_frames, _, _, p_status, _ = samples_of(p_lattice, size)
    _, _, p_last = moves_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    p_parts, _, _ = _chunks_of(p_scratch, size, frames_max, pairs, TILED, DOUBLE)
    last = tl.load(p_last + n)
    used = tl.where(last >= 0, tl.cdiv(tl.load(p_frames + n).to(tl.int32), CHUNK), 0)
    score = tl.zeros((1,), tl.float64)
    for c0 in range(0, used, PARTS):
        c = c0 + tl.arange(0, PARTS)
        parts = tl.load(p_parts + n * chunks + c, mask=c < used, other=0.0)
        score += _sum(parts, LOG_PARTS)
    _store_status(n, size, p_results, p_status, p_frames, last, tl.max(score, axis=0))


def trace_back(batch: Batch, scratch: Memory, path: Memory, results: Memory) -> None:
    """Launches the way back; the arguments are those of ``best.find_best``."""
    sizes, long, tiled = batch.sizes, _is_long(batch.sizes), tuning.best_row(batch.sizes.pairs).each == 0
    programs = sizes.size * -(-sizes.frames // CHUNK.value)
    if long:
        launch(
            _map_kernel,
            (programs, -(-2 * sizes.pairs // STATES)),
            batch.lattice,
            scratch,
            *sizes,
            TILED=tiled,
            DOUBLE=batch.double,
            BLOCK=STATES,
            num_warps=4,
        )
        launch(
            _chain_kernel, (sizes.size,), batch.lattice, scratch, *sizes, TILED=tiled, DOUBLE=batch.double, num_warps=1
        )
    launch(
        _trace_kernel,
        (programs if long else sizes.size,),
        batch.scores,
        batch.lattice,
        scratch,
        path,
        results,
        *batch.score_layout,
        LONG=long,
        TILED=tiled,
        GENERAL=batch.general,
        DOUBLE=batch.double,
        num_warps=1,
        enable_fp_fusion=tuning.FUSED,
    )
    if long:
        launch(
            _score_kernel,
            (sizes.size,),
            batch.lattice,
            scratch,
            results,
            *sizes,
            TILED=tiled,
            DOUBLE=batch.double,
            num_warps=1,
        )
