"""Best paths: a sweep with maxima over plain logarithms, which stores the best moves; trace.py follows them back.

Where a row of states is: each lane of a warp holds ``each`` neighbouring pairs of states in registers. What a pair
needs of the pair below it is in another register of the same lane, except for the lane's first pair. So one shuffle
between lanes per frame is enough. Warps exchange nothing for eight frames. Instead a warp also computes the eight pairs
below its own. One more of these is out of date after each frame, since it depends on a pair that only another warp has.
After eight frames they are copied again from the warp below.

The loop over frames is unrolled and has no branch that depends on data. Scores are loaded four frames ahead, and no
loaded register is ever moved. Before each eight frames the row's best entry is subtracted from the row, so that float32
keeps its precision; after them a word of eight moves is stored for each pair. Which lane holds a pair changes nothing
in what is computed for it. May import triton, tuning.py, launch.py, blocks.py, lattice.py,
batch.py and trace.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .blocks import samples_of, states_of, statistics_of
from .lattice import END, SKIP, START, STAY, STEP
from .launch import Memory, launch
from .trace import GROUP, NO_PATH, NO_STATE, NOT_A_NUMBER, moves_of, trace_back
from .tuning import SIZES_AND_STRIDES, Constant

AHEAD = Constant(4)  # by how many frames scores are loaded before they are used
NEVER = Constant(float("-inf"))  # the score of a state that no path reaches


@triton.jit
def _has(bits, bit):
    return (bits & bit) != 0


@triton.jit
def _load(p):
    """Loads from pointers, those of a row in one dimension.

    If addresses are in no order, Triton up to 3.6 gives neighbouring threads numbers of the first of two dimensions.
    What they have loaded must then be exchanged between warps, at each load.
    """
    if len(p.shape) == 2:
        return tl.reshape(tl.load(tl.ravel(p)), p.shape)
    else:
        return tl.load(p)


@triton.jit
def _load_where(p, exists, other: tl.constexpr):
    """The same, with another number for what doesn't exist."""
    return tl.reshape(tl.load(tl.ravel(p), mask=tl.ravel(exists), other=other), p.shape)


@triton.jit
def _arcs_of(lattice, cell, exists, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """How states are entered: the scores of beginning there, of STEP and of SKIP, and whether they can be stayed in.

    Without an arc a score is -inf. CTC's own lattices have no entry scores.
    """
    _, p_arcs, _, p_entry, _ = lattice
    bits = _load_where(p_arcs + cell, exists, 0).to(tl.int32)
    entry = tl.zeros(cell.shape, REAL)
    if GENERAL:
        entry = _load_where(p_entry + cell, bits != 0, 0.0).to(REAL)
    begin, step = tl.where(_has(bits, START), entry, NEVER), tl.where(_has(bits, STEP), entry, NEVER)
    return begin, step, tl.where(_has(bits, SKIP), entry, NEVER), _has(bits, STAY)


@triton.jit
def _labels_of(lattice, cell, exists, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """The offsets of the scores of states' labels in a frame, and what is added to these scores, if anything.

    With GENERAL a state without an arc may not exist; then its label is not a class.
    """
    p_labels, p_arcs, p_added, _, stride_c = lattice
    if GENERAL:
        exists = exists & (_load_where(p_arcs + cell, exists, 0) != 0)
    b_label = _load_where(p_labels + cell, exists, 0).to(tl.int64)
    added = tl.zeros(cell.shape, REAL)
    if GENERAL:
        added = _load_where(p_added + cell, exists, 0.0).to(REAL)
    return b_label * stride_c, added


@triton.jit
def _pairs_of(lattice, i, pairs, length, o_blank, GENERAL: tl.constexpr, REAL: tl.constexpr):
    """All that a sweep needs to know about pairs i: begins, arcs, offsets of labels and added scores, as one tuple."""
    is_even, is_odd = (i >= 0) & (i <= length), (i >= 0) & (i < length)
    begin_even, step_even, skip_even, stay_even = _arcs_of(lattice, i, is_even, GENERAL, REAL)
    begin_odd, step_odd, skip_odd, stay_odd = _arcs_of(lattice, pairs + i, is_odd, GENERAL, REAL)
    if GENERAL:
        o_even, added_even = _labels_of(lattice, i, is_even, GENERAL, REAL)
        o_odd, added_odd = _labels_of(lattice, pairs + i, is_odd, GENERAL, REAL)
    else:  # even states emit the blank, and only the odd ones have labels
        o_even, added_even = o_blank, 0.0
        o_odd, added_odd = _labels_of(lattice, i, is_odd, GENERAL, REAL)
    arcs = (step_even, skip_even, stay_even, step_odd, skip_odd, stay_odd)
    return (begin_even, begin_odd), arcs, (o_even, o_odd), (added_even, added_odd), (is_even, is_odd)


@triton.jit
def _move(takes, states: tl.constexpr, ODD: tl.constexpr, Q: tl.constexpr):
    """A move from `states` below, as bits of a word: those of the odd or the even state in the Q-th of eight frames."""
    return tl.where(takes, tl.full(takes.shape, states << (4 * Q + 2 * ODD), tl.uint32), 0)


@triton.jit
def _entering(even, odd, even_below, odd_below, arcs, Q: tl.constexpr, GENERAL: tl.constexpr):
    """The best ways into the states of pairs, and the moves of these ways as bits of a word.

    Of equal ways the one from furthest below is taken. In CTC's own lattices all states can be stayed in and stepped
    into, and only odd ones can be skipped into.
    """
    step_even, skip_even, stay_even, step_odd, skip_odd, stay_odd = arcs
    if GENERAL:
        stay, step, skip = tl.where(stay_even, even, NEVER), odd_below + step_even, even_below + skip_even
        best = tl.maximum(step, stay)
        into_even = tl.maximum(skip, best)
        move = tl.where(skip >= best, _move(skip >= best, 2, 0, Q), _move(step >= stay, 1, 0, Q))
        stay, step, skip = tl.where(stay_odd, odd, NEVER), even + step_odd, odd_below + skip_odd
    else:
        into_even = tl.maximum(even, odd_below)
        move = _move(odd_below >= even, 1, 0, Q)
        stay, step, skip = odd, even, odd_below + skip_odd
    best = tl.maximum(step, stay)
    into_odd = tl.maximum(skip, best)
    move |= tl.where(skip >= best, _move(skip >= best, 2, 1, Q), _move(step >= stay, 1, 1, Q))
    return into_even, into_odd, move


@triton.jit
def _base(peak):
    """The number that is subtracted from a row so that its best entry becomes 0."""
    return tl.where(peak == NEVER, 0.0, peak)


@triton.jit
def _ordered(x):
    """An integer for each float32, in the same order; its own inverse. NaN is beyond all numbers."""
    return x ^ ((x >> 31) & 0x7FFFFFFF)


@triton.jit
def _most(x):
    """The greatest entry of (warps, lanes): for float32 by integers, whose maximum in a warp is one instruction."""
    if x.dtype == tl.float32:
        most = tl.max(tl.max(_ordered(x.to(tl.int32, bitcast=True)), axis=1), axis=0)
        return _ordered(most).to(tl.float32, bitcast=True)
    else:
        return tl.max(tl.max(x, axis=1), axis=0)


@triton.jit
def _load_heads(t, places, scores, GENERAL: tl.constexpr):
    """Of frames t: the best label's score, and relative to it the blank's, for the even states of CTC's lattices.

    They are the same for all states. So each lane loads those of one frame, and later gives them to the other lanes.
    """
    p_scores, p_top, stride_t = scores
    b_top = _load(p_top + t)
    b_blank = b_top
    if not GENERAL:
        b_blank = _load(p_scores + (tl.zeros((), tl.int64) + t) * stride_t + places[0][0]).to(b_top.dtype) - b_top
    return b_top, b_blank


@triton.jit
def _load_labels(t, places, scores, EACH: tl.constexpr, GENERAL: tl.constexpr):
    """The scores in frame t of the labels of a row's states; in CTC's lattices only of the odd states."""
    p_scores, p_top, stride_t = scores
    p_frame = p_scores + (tl.zeros((), tl.int64) + t) * stride_t
    even, odd = (), ()
    for p in tl.static_range(EACH):
        o_even, o_odd = places[p]
        if GENERAL:
            even = even + (_load(p_frame + o_even).to(p_top.dtype.element_ty),)
        odd = odd + (_load(p_frame + o_odd).to(p_top.dtype.element_ty),)
    return even, odd


@triton.jit
def _emit(into, heads, labels, added, EACH: tl.constexpr, GENERAL: tl.constexpr):
    """A row after a frame, from what enters its states: labels' scores are added, relative to the best label's."""
    b_top, b_blank = heads
    even, odd = (), ()
    for p in tl.static_range(EACH):
        if GENERAL:
            even = even + (into[0][p] + ((labels[0][p] - b_top) + added[p][0]),)
            odd = odd + (into[1][p] + ((labels[1][p] - b_top) + added[p][1]),)
        else:
            even, odd = even + (into[0][p] + b_blank,), odd + (into[1][p] + (labels[1][p] - b_top),)
    return even, odd


@triton.jit
def _enter(row, words, lanes, arcs, Q: tl.constexpr, EACH: tl.constexpr, GENERAL: tl.constexpr):
    """What enters the states of a row by its best way, and the words with these ways' moves."""
    even, odd = row
    odd_below = tl.gather(odd[EACH - 1], lanes, 1)
    even_below = odd_below
    if GENERAL:
        even_below = tl.gather(even[EACH - 1], lanes, 1)
    into_even, into_odd, moved = (), (), ()
    for p in tl.static_range(EACH):
        if p > 0:
            even_below, odd_below = even[p - 1], odd[p - 1]
        e, o, move = _entering(even[p], odd[p], even_below, odd_below, arcs[p], Q, GENERAL)
        into_even, into_odd, moved = into_even + (e,), into_odd + (o,), moved + (words[p] | move,)
    return (into_even, into_odd), moved


@triton.jit
def _below(x, LANES_BELOW: tl.constexpr):
    """What the lane LANES_BELOW further down holds; a warp's first lane comes after the last of the warp below."""
    flat = tl.arange(0, x.shape[0] * x.shape[1])
    moved = tl.gather(tl.reshape(x, flat.shape), tl.maximum(flat - LANES_BELOW, 0), 0)
    return tl.reshape(moved, x.shape)


@triton.jit
def _both_below(even, odd, LANES_BELOW: tl.constexpr):
    """The same for two numbers; those of float32 in one exchange."""
    if even.dtype == tl.float32:
        low, high = even.to(tl.uint32, bitcast=True).to(tl.int64), odd.to(tl.int32, bitcast=True).to(tl.int64)
        both = _below(low | (high << 32), LANES_BELOW)
        return both.to(tl.int32).to(tl.float32, bitcast=True), (both >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    else:
        return _below(even, LANES_BELOW), _below(odd, LANES_BELOW)


@triton.jit
def _refreshed(row, first, EACH: tl.constexpr):
    """The row after each warp has copied the pairs below its own from the warp that they belong to.

    The pair in register p of a lane is GROUP pairs further up in the warp below, which is another register there.
    """
    even, odd = (), ()
    for p in tl.static_range(EACH):
        e, o = row[0][p], row[1][p]
        if e.shape[0] > 1 and p < GROUP:
            from_even, from_odd = row[0][(p - GROUP) % EACH], row[1][(p - GROUP) % EACH]
            from_even, from_odd = _both_below(from_even, from_odd, (GROUP - p + EACH - 1) // EACH)
            copied = first + p < GROUP
            e, o = tl.where(copied, from_even, e), tl.where(copied, from_odd, o)
        even, odd = even + (e,), odd + (o,)
    return even, odd


@triton.jit
def _relative_to_best(row, exist, due, EACH: tl.constexpr):
    """The row with its best entry 0, if that is due, and -inf for what does not exist."""
    even, odd = (), ()
    peak = tl.full(row[0][0].shape, NEVER, row[0][0].dtype)
    for p in tl.static_range(EACH):
        is_even, is_odd = exist[p]
        e, o = tl.where(is_even, row[0][p], NEVER), tl.where(is_odd, row[1][p], NEVER)
        even, odd, peak = even + (e,), odd + (o,), tl.maximum(peak, tl.maximum(e, o))
    base = tl.where(due, _base(_most(peak)), 0.0)
    new_even, new_odd = (), ()
    for p in tl.static_range(EACH):
        new_even, new_odd = new_even + (even[p] - base,), new_odd + (odd[p] - base,)
    return new_even, new_odd


@triton.jit
def _combined(words, moves, by, EACH: tl.constexpr):
    """Words to which moves are added, shifted up by some bits."""
    combined = ()
    for p in tl.static_range(EACH):
        combined = combined + (words[p] | (moves[p] << by),)
    return combined


@triton.jit
def _zeros(lane, EACH: tl.constexpr):
    words = ()
    for _ in tl.static_range(EACH):
        words = words + (tl.zeros(lane.shape, tl.uint32),)
    return words


@triton.jit
def _if(some, words, EACH: tl.constexpr):
    """The words, or zeros."""
    found = ()
    for p in tl.static_range(EACH):
        found = found + (tl.where(some, words[p], 0),)
    return found


@triton.jit
def _words_of(j, p_words, pairs):
    """Where the words with the moves into frame j + 1 are."""
    return p_words + (tl.zeros((), tl.int64) + j // GROUP) * pairs


@triton.jit
def _store_words(p_words, words, lanes, EACH: tl.constexpr):
    """Stores a word for each pair that is a warp's own."""
    _, _, _, cells, own = lanes
    for p in tl.static_range(EACH):
        p_word, word = tl.ravel(p_words + cells[p]), tl.ravel(words[p].to(tl.int32, bitcast=True))
        tl.store(p_word, word, mask=tl.ravel(own[p]))  # in one dimension, as _load loads


@triton.jit
def _next_frame(
    row, words, q, heads, labels, lanes, states, Q: tl.constexpr, EACH: tl.constexpr, GENERAL: tl.constexpr
):
    """Updates a row by the frame whose heads lane q holds, and adds the moves into it to the words, as the Q-th."""
    lane, lane_below, _, _, _ = lanes
    arcs, _, added, _ = states
    into, words = _enter(row, words, lane_below, arcs, Q, EACH, GENERAL)
    frame = tl.zeros(lane.shape, tl.int32) + q
    b_blank = heads[1] if GENERAL else tl.gather(heads[1], frame, 1)
    return _emit(into, (tl.gather(heads[0], frame, 1), b_blank), labels, added, EACH, GENERAL), words


@triton.jit
def _four_frames(j, begin, row, words, heads, queue, lanes, states, scores, EACH: tl.constexpr, GENERAL: tl.constexpr):
    """Updates a row by four of the frames j + 1 to j + 8, and loads the scores of the four after these."""
    lane, _, _, _, _ = lanes
    _, places, _, _ = states
    moves, loaded = _zeros(lane, EACH), ()
    for q in tl.static_range(AHEAD):
        row, moves = _next_frame(row, moves, begin + q, heads, queue[q], lanes, states, q, EACH, GENERAL)
        loaded = loaded + (_load_labels(j + (begin + q + 1 + AHEAD), places, scores, EACH, GENERAL),)
    return row, _combined(words, moves, 4 * begin, EACH), loaded


@triton.jit
def _eight_frames(j, row, heads, queue, lanes, states, scores, EACH: tl.constexpr, GENERAL: tl.constexpr):
    """Updates a row by frames j + 1 to j + 8; returns the words of their moves, too."""
    lane, _, first, _, _ = lanes
    _, _, _, exist = states
    row = _relative_to_best(_refreshed(row, first, EACH), exist, True, EACH)
    words = _zeros(lane, EACH)
    if EACH <= 2:
        for half in tl.static_range(GROUP // AHEAD):
            row, words, queue = _four_frames(
                j, half * AHEAD, row, words, heads, queue, lanes, states, scores, EACH, GENERAL
            )
    else:  # Not unrolled: Triton's time grows with the square of the loads and stores, to minutes for nine pairs.
        for begin in range(0, GROUP, AHEAD):
            row, words, queue = _four_frames(j, begin, row, words, heads, queue, lanes, states, scores, EACH, GENERAL)
    return row, queue, words


@triton.jit
def _last_of(even, odd, p_arcs, pairs, i, exist):
    """The best score of the states that paths may end in, and the lowest such state."""
    is_even, is_odd = exist
    ends_even = is_even & _has(_load_where(p_arcs + i, is_even, 0), END)
    ends_odd = is_odd & _has(_load_where(p_arcs + pairs + i, is_odd, 0), END)
    even, odd = tl.where(ends_even, even, NEVER), tl.where(ends_odd, odd, NEVER)
    best = tl.max(tl.ravel(tl.maximum(even, odd)), axis=0)
    states = tl.minimum(tl.where(even == best, 2 * i, NO_STATE), tl.where(odd == best, 2 * i + 1, NO_STATE))
    return best, tl.min(tl.ravel(states), axis=0).to(tl.int32)


@triton.jit
def _better(best, state, other, other_state):
    """The better of two states that paths may end in; of equal ones the lower."""
    takes = (other > best) | ((other == best) & (other_state < state))
    return tl.where(takes, other, best), tl.where(takes, other_state, state)


@triton.jit
def _in_registers(
    sample,
    lattice,
    scores,
    o_blank,
    p_words,
    WARPS: tl.constexpr,
    LANES: tl.constexpr,
    EACH: tl.constexpr,
    GENERAL: tl.constexpr,
):
    """A sample's sweep with its row in registers: the best score, relative to some number, and the state it ends in."""
    frames, length, pairs = sample
    REAL: tl.constexpr = scores[1].dtype.element_ty
    lane = tl.arange(0, LANES)[None, :] + tl.zeros((WARPS, 1), tl.int32)
    warp = tl.arange(0, WARPS)[:, None] + tl.zeros((1, LANES), tl.int32)
    begin_even, begin_odd, arcs, places, added, exist, cells, own = (), (), (), (), (), (), (), ()
    for p in tl.static_range(EACH):
        # The first lane holds pairs that do not exist, and reads those of itself as the ones below it. No path reaches
        # them. So no lane needs a test for having nothing below it.
        i = warp * (EACH * LANES - GROUP) + lane * EACH + (p - EACH)
        begin, arc, place, add, is_state = _pairs_of(lattice, i, pairs, length, o_blank, GENERAL, REAL)
        begin_even, begin_odd, arcs = begin_even + (begin[0],), begin_odd + (begin[1],), arcs + (arc,)
        places, added, exist, cells = places + (place,), added + (add,), exist + (is_state,), cells + (i,)
        own = own + (is_state[0] & ((warp == 0) | (lane * EACH + p >= GROUP)),)
    heads = _load_heads(tl.zeros(lane.shape, tl.int32), places, scores, GENERAL)
    labels = _load_labels(tl.zeros((), tl.int32), places, scores, EACH, GENERAL)
    row = _emit((begin_even, begin_odd), heads, labels, added, EACH, GENERAL)
    heads = _load_heads(tl.minimum(1 + lane % GROUP, frames - 1), places, scores, GENERAL)
    queue = ()
    for q in tl.static_range(AHEAD):
        queue = queue + (_load_labels(tl.minimum(1 + q, frames - 1), places, scores, EACH, GENERAL),)
    first = tl.where(warp == 0, GROUP, lane * EACH)  # a lane's first pair within its warp; the lowest warp copies none
    lanes = lane, tl.maximum(lane - 1, 0), first, cells, own
    states = arcs, places, added, exist
    whole = tl.maximum(frames - 1 - AHEAD, 0) // GROUP * GROUP  # before it no load is beyond the last frame
    for j in range(0, whole, GROUP):
        later = _load_heads(tl.minimum(lane % GROUP + j + 1 + GROUP, frames - 1), places, scores, GENERAL)
        row, queue, words = _eight_frames(j, row, heads, queue, lanes, states, scores, EACH, GENERAL)
        _store_words(_words_of(j, p_words, pairs), words, lanes, EACH)
        heads = later
    words = _zeros(lane, EACH)
    for j in range(whole, frames - 1):  # the last few frames, without loads ahead
        move = (j - whole) % GROUP
        row = _relative_to_best(_refreshed(row, first, EACH), exist, move == 0, EACH)
        heads = _load_heads(j + 1 + tl.zeros(lane.shape, tl.int32), places, scores, GENERAL)
        labels = _load_labels(j + 1, places, scores, EACH, GENERAL)
        row, moves = _next_frame(row, _zeros(lane, EACH), 0, heads, labels, lanes, states, 0, EACH, GENERAL)
        words = _combined(_if(move > 0, words, EACH), moves, 4 * move, EACH)
        _store_words(_words_of(j, p_words, pairs), words, lanes, EACH)
    best, last = tl.full((), NEVER, REAL), tl.full((), NO_STATE, tl.int32)
    for p in tl.static_range(EACH):
        mine = own[p] & exist[p][0], own[p] & exist[p][1]
        score, state = _last_of(row[0][p], row[1][p], lattice[1], pairs, cells[p], mine)
        best, last = _better(best, last, score, state)
    return best, last


@triton.jit
def _load_row(p_row, pairs, i, length, alive):
    """Loads pairs i of a stored row."""
    reach = tl.where(alive, length, -1)
    even = tl.load(p_row + i, mask=(i >= 0) & (i <= reach), other=NEVER)
    return even, tl.load(p_row + pairs + i, mask=(i >= 0) & (i < reach), other=NEVER)


@triton.jit
def _in_tiles(sample, lattice, scores, o_blank, p_words, p_rows, TILE: tl.constexpr, GENERAL: tl.constexpr):
    """The same for rows of any length, tile by tile: the last two rows are in memory."""
    frames, length, pairs = sample
    REAL: tl.constexpr = scores[1].dtype.element_ty
    peak = tl.full((), NEVER, REAL)
    for t in range(0, frames):
        move = tl.maximum(t - 1, 0)
        base = tl.where((t > 0) & (move % GROUP == 0), _base(peak), 0.0)
        peak = tl.full((), NEVER, REAL)
        p_before, p_after = p_rows + ((t & 1) ^ 1) * 2 * pairs, p_rows + (t & 1) * 2 * pairs
        for i0 in range(0, length + 1, TILE):
            i = i0 + tl.arange(0, TILE)
            begin, arcs, place, added, exist = _pairs_of(lattice, i, pairs, length, o_blank, GENERAL, REAL)
            even, odd = _load_row(p_before, pairs, i, length, t > 0)
            even_below, odd_below = _load_row(p_before, pairs, i - 1, length, t > 0)
            even, odd, moves = _entering(even - base, odd - base, even_below - base, odd_below - base, arcs, 0, GENERAL)
            into = (tl.where(t == 0, begin[0], even),), (tl.where(t == 0, begin[1], odd),)
            heads, labels = _load_heads(t, (place,), scores, GENERAL), _load_labels(t, (place,), scores, 1, GENERAL)
            even, odd = _emit(into, heads, labels, (added,), 1, GENERAL)
            even, odd = tl.where(exist[0], even[0], NEVER), tl.where(exist[1], odd[0], NEVER)
            tl.store(p_after + i, even, mask=exist[0])
            tl.store(p_after + pairs + i, odd, mask=exist[1])
            peak = tl.maximum(peak, tl.max(tl.maximum(even, odd), axis=0))
            p_word = _words_of(move, p_words, pairs) + i
            words = tl.load(p_word, mask=i <= tl.where(move % GROUP > 0, length, -1), other=0)
            moves = (moves << (4 * (move % GROUP))).to(tl.int32, bitcast=True)
            tl.store(p_word, words | moves, mask=i <= tl.where(t > 0, length, -1))
        tl.debug_barrier()
    best, last = tl.full((), NEVER, REAL), tl.full((), NO_STATE, tl.int32)
    for i0 in range(0, length + 1, TILE):
        i = i0 + tl.arange(0, TILE)
        even, odd = _load_row(p_rows + ((frames - 1) & 1) * 2 * pairs, pairs, i, length, True)
        score, state = _last_of(even, odd, lattice[1], pairs, i, (i <= length, i < length))
        best, last = _better(best, last, score, state)
    return best, last


@triton.jit
def _not_finite(p_offset, frames, BLOCK: tl.constexpr):
    """Whether a sample has a frame with NaN or +inf."""
    found = tl.zeros((), tl.int32)
    for t0 in range(0, frames, BLOCK):
        t = t0 + tl.arange(0, BLOCK)
        b_offset = tl.load(p_offset + t, mask=t < frames, other=0.0)
        found = tl.maximum(found, tl.max((b_offset != b_offset).to(tl.int32), axis=0))
    return found != 0


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _best_kernel(
    p_scores,
    p_lattice,
    p_scratch,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    size,
    classes,
    pairs,
    o_blank,
    WARPS: tl.constexpr,
    LANES: tl.constexpr,
    EACH: tl.constexpr,
    GENERAL: tl.constexpr,
    DOUBLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's sweep with maxima: writes the best moves, and the state that the path ends in.

    Rows are in registers, EACH pairs per lane; in memory if EACH is 0.
    """
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, _, _, _ = samples_of(p_lattice, size)
    p_labels, p_arcs, p_added, p_entry = states_of(p_lattice, size, classes, pairs, GENERAL)
    p_offset, p_top, _ = statistics_of(p_scratch, size, frames_max, DOUBLE)
    p_rows, p_moves, p_last = moves_of(p_scratch, size, frames_max, pairs, EACH == 0, DOUBLE)
    frames, length = tl.load(p_frames + n).to(tl.int32), tl.load(p_lengths + n).to(tl.int32)
    if frames == 0:
        tl.store(p_last + n, NO_PATH)
        return
    o_states = n * 2 * pairs
    p_label = p_labels + (o_states if GENERAL else n * (pairs - 1))
    lattice = p_label, p_arcs + o_states, p_added + o_states, p_entry + o_states, stride_c
    scores = p_scores + n * stride_n, p_top + n * frames_max, stride_t
    p_words = p_moves + n * tl.cdiv(frames_max, GROUP) * pairs
    sample = frames, length, pairs
    if EACH == 0:
        best, last = _in_tiles(sample, lattice, scores, o_blank, p_words, p_rows + n * 4 * pairs, BLOCK, GENERAL)
    else:
        best, last = _in_registers(sample, lattice, scores, o_blank, p_words, WARPS, LANES, EACH, GENERAL)
    last = tl.where(best > NEVER, last, NO_PATH)
    tl.store(p_last + n, tl.where(_not_finite(p_offset + n * frames_max, frames, BLOCK), NOT_A_NUMBER, last))


def find_best(batch: Batch, scratch: Memory, path: Memory, results: Memory) -> None:
    """Launches the sweep, then the way back.

    Args:
        batch: scores and lattices.
        scratch: a best path's block, with the statistics of each frame.
        path: int32 (N, T), written: the states; -1 beyond a sample's frames and without a path.
        results: the block, written.
    """
    held = tuning.best_row(batch.sizes.pairs)
    launch(
        _best_kernel,
        (batch.sizes.size,),
        batch.scores,
        batch.lattice,
        scratch,
        *batch.score_layout,
        WARPS=held.warps,
        LANES=held.lanes,
        EACH=held.each,
        GENERAL=batch.general,
        DOUBLE=batch.double,
        BLOCK=tuning.TILE,
        num_warps=held.warps,
        enable_fp_fusion=tuning.FUSED,
    )
    trace_back(batch, scratch, path, results)
