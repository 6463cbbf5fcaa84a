"""The GPU backend, in Triton: scaled floats, two programs a sample, and nothing that the host would have to wait for.

Why so. The host never sees a length or a token: the lattice is laid out on the device, from the table in lattice.py,
and what is wrong with a sample makes its own results NaN. A sample's alpha is swept from its first frame and its beta
from its last, at the same time, until they meet in the middle; there the total is known, and both go on, each turning
what the other left behind into occupancies. So T frames take T steps, not 2T, and one row a frame is kept, not two.
Numbers are those of native/scaled.h: a mantissa and an integer exponent.

The backward sweep is the forward one on the mirrored lattice: states and frames are counted from the other end, and an
arc is read where it arrives. States are kept in pairs, as in native/cells.h: pair i holds state 2i, which emits blank,
and state 2i+1, which emits token i; of the last pair only the first is real.

Sums run in an order that depends on the sample alone, so that results do not depend on the batch around it, and are
the same bits in every run. Names: p_ a pointer, o_ offsets, b_ what a program holds.

Like native.py, on torch tensors: may import torch, triton, validate/, errors.py and lattice.py. Triton 3.4 or later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ..errors import CTCError
from ..lattice import ARCS_BY_ROLE, Arc
from ..problem import ctc_problem

Lengths = Tensor | Sequence[int]

STAY, STEP, SKIP = tl.constexpr(int(Arc.STAY)), tl.constexpr(int(Arc.STEP)), tl.constexpr(int(Arc.SKIP))
START, END = tl.constexpr(int(Arc.START)), tl.constexpr(int(Arc.END))
BLANK_ROLE, TOKEN_ROLE, REPEAT_ROLE, START_ROLE, END_ROLE = (tl.constexpr(role) for role in ARCS_BY_ROLE.tolist())
EVEN_SKIPS = bool(ARCS_BY_ROLE[0] & Arc.SKIP)

# What a sample is, besides a number of frames.
SOUND, INFEASIBLE, WRONG = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2)

# As in native/scaled.h: a true zero is any number whose exponent is below DEAD.
ZERO, DEAD = tl.constexpr(-(1 << 29)), tl.constexpr(-(1 << 28))
ANY = tl.constexpr(1 << 30)  # a cap that no exponent reaches
LN2 = tl.constexpr(0.6931471805599453)
NARROW = tl.constexpr(80.0)  # labels further apart than this take their differences in float64

LARGEST_BLOCK = 2048  # pairs of states that one program keeps in registers; beyond, rows go through memory
TILE = 256  # of sums over pairs, and of rows that go through memory: the same for all, or a sum's order would change
ROWS_TILE = 2048  # scores that one program reads at a time: several frames, or a part of one

FUSED = True  # x·y + z rounds once: said at each launch, since Triton's default is changing, with a warning

# Triton compiles anew for sizes of 1 and of multiples of 16, which takes seconds. Sizes differ from batch to batch, and
# gain nothing by it; nor do strides, except where whole rows are read.
SIZES = ["frames_max", "size", "classes", "blank", "o_blank", "pairs", "available"]
SIZES_AND_STRIDES = [*SIZES, "stride_t", "stride_n", "stride_c", "stride_s"]


# ---------------------------------------------------------------------------------------------------- scaled floats


@triton.jit
def _shifted(x, d):
    """x·2^d for x >= 1 and d <= 0, by x's own exponent; far below 1 it stops at a number that no sum notices."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True) + (tl.maximum(d, -1022).to(tl.int64) << 52)
        return bits.to(tl.float64, bitcast=True)
    else:
        bits = x.to(tl.int32, bitcast=True) + (tl.maximum(d, -126) << 23)
        return bits.to(tl.float32, bitcast=True)


@triton.jit
def _plain(x, d):
    """x·2^d for x >= 1 as a plain number, exactly 0 where it is too small for one."""
    if x.dtype == tl.float64:
        return tl.where(d > -1022, _shifted(x, d), 0.0)
    else:
        return tl.where(d > -126, _shifted(x, d), 0.0)


@triton.jit
def _normalised(x, e):
    """x·2^e, for x > 0, as a mantissa in [1, 2) and an exponent."""
    if x.dtype == tl.float64:
        bits = x.to(tl.int64, bitcast=True)
        mantissa = ((bits & 0xFFFFFFFFFFFFF) | 0x3FF0000000000000).to(tl.float64, bitcast=True)
        return mantissa, e + (bits >> 52).to(tl.int32) - 1023
    else:
        bits = x.to(tl.int32, bitcast=True)
        mantissa = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
        return mantissa, e + (bits >> 23) - 127


@triton.jit
def _sum(am, ae, bm, be):
    """The sum of two numbers; its mantissa is not normalised."""
    top = tl.maximum(ae, be)
    return _shifted(am, ae - top) + _shifted(bm, be - top), top


@triton.jit
def _sum_of_three(am, ae, bm, be, cm, ce):
    """The sum of three numbers; its mantissa is not normalised."""
    top = tl.maximum(tl.maximum(ae, be), ce)
    return _shifted(am, ae - top) + _shifted(bm, be - top) + _shifted(cm, ce - top), top


@triton.jit
def _product(am, ae, bm, be):
    """The product of two numbers, normalised; zeros that drifted down are put back."""
    return _normalised(am * bm, tl.maximum(ae + be, ZERO))


@triton.jit
def _exp(d):
    """e^d for d <= 0: by Taylor's sum around the nearest power of two."""
    alive = d > DEAD * LN2
    d = tl.where(alive, d, 0.0)
    n = tl.floor(d * 1.4426950408889634 + 0.5)
    if d.dtype == tl.float64:
        r = (d - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10
        p = r * (1.0 / 6227020800.0) + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
    else:
        r = (d - n * 0.693359375) - n * -2.12194440e-4
        p = r * (1.0 / 5040.0) + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    mantissa, exponent = _normalised(p, n.to(tl.int32))
    return mantissa, tl.where(alive, exponent, ZERO)


@triton.jit
def _emission(x, top, wide):
    """e^(x - top). In a wide frame the difference is float64's, or its rounding would be the result's error."""
    if x.dtype == tl.float64:
        mantissa, exponent = _exp(x - top)
    else:
        if wide != 0:
            exact, exponent = _exp(x.to(tl.float64) - top.to(tl.float64))
            mantissa = exact.to(tl.float32)
        else:
            mantissa, exponent = _exp(x - top)
    return mantissa, exponent


# ---------------------------------------------------------------------------------------------------------- lattice


@triton.jit
def _token(p_targets, stride, s, mask):
    return tl.load(p_targets + s * stride, mask=mask, other=0).to(tl.int64)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _lattice_kernel(
    p_targets,
    p_begins,
    p_input_lengths,
    p_target_lengths,
    p_tokens,
    p_arcs,
    p_frames,
    p_lengths,
    p_status,
    stride_n,
    stride_s,
    frames_max,
    classes,
    blank,
    available,
    pairs,
    FLAT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Lays the table of arcs out over one sample's target, and says whether the sample is sound.

    Arcs are (N, 2, pairs): of the even states, then of the odd ones. Tokens past a target are `classes`.
    """
    n = tl.program_id(0).to(tl.int64)
    b_frames = tl.load(p_input_lengths + n).to(tl.int64)
    b_length = tl.load(p_target_lengths + n).to(tl.int64)
    # With targets end to end, each begins where those before it end: what lies beyond is not theirs to read.
    if FLAT:
        b_begin = tl.load(p_begins + n)
        room = available - b_begin
        p_target = p_targets + b_begin * stride_s
        sound = (b_begin >= 0) & (b_length <= room)
    else:
        p_target = p_targets + n * stride_n
        sound = b_length <= available
    sound = sound & (b_frames >= 0) & (b_frames <= frames_max) & (b_length >= 0)
    too_long = b_length > pairs - 1  # then it is longer than the frames, too
    b_length = tl.where(sound & (too_long == 0), b_length, 0)
    b_wrong = tl.where(sound, 0, 1)
    b_detours = tl.zeros((), tl.int64)  # even states that no path can skip
    for s0 in range(0, pairs, BLOCK):
        s = s0 + tl.arange(0, BLOCK).to(tl.int64)
        is_token = s < b_length
        b_token = _token(p_target, stride_s, s, is_token)
        b_previous = _token(p_target, stride_s, s - 1, is_token & (s > 0))
        bad = is_token & ((b_token < 0) | (b_token >= classes) | (b_token == blank))
        b_wrong = tl.maximum(b_wrong, tl.max(bad.to(tl.int32), axis=0))
        b_even = tl.where(s <= b_length, BLANK_ROLE, 0)
        b_even = tl.where(s == 0, (b_even & ~(STEP | SKIP)) | START_ROLE, b_even)
        b_even = tl.where(s == b_length, b_even | END_ROLE, b_even)
        b_odd = tl.where(b_token == b_previous, REPEAT_ROLE, TOKEN_ROLE)
        b_odd = tl.where(s == 0, (TOKEN_ROLE & ~SKIP) | START_ROLE, b_odd)
        b_odd = tl.where(s == b_length - 1, b_odd | END_ROLE, b_odd)
        b_odd = tl.where(is_token, b_odd, 0)
        b_detours += tl.sum((is_token & (s > 0) & ((b_odd & SKIP) == 0)).to(tl.int64), axis=0)
        p_out = p_arcs + n * 2 * pairs + s
        tl.store(p_out, b_even.to(tl.uint8), mask=s < pairs)
        tl.store(p_out + pairs, b_odd.to(tl.uint8), mask=s < pairs)
        b_token = tl.where(is_token & (bad == 0), b_token, classes)
        tl.store(p_tokens + n * (pairs - 1) + s, b_token.to(tl.int32), mask=s < pairs - 1)
    b_status = tl.where(too_long | (b_frames < b_length + b_detours), INFEASIBLE, SOUND)
    b_status = tl.where(b_wrong != 0, WRONG, b_status)
    tl.store(p_status + n, b_status)
    tl.store(p_frames + n, tl.where(b_status == SOUND, b_frames, 0))
    tl.store(p_lengths + n, tl.where(b_status == WRONG, 0, b_length))


# ------------------------------------------------------------------------------------------------------------- rows


@triton.jit
def _columns(p_row, c0, c, stride_c):
    """Where the columns c0 + c of rows are."""
    return (p_row + (tl.zeros((), tl.int64) + c0) * stride_c)[:, None] + (c.to(tl.int64) * stride_c)[None, :]


@triton.jit(do_not_specialize=SIZES)
def _rows_kernel(
    p_scores,
    p_tokens,
    p_frames,
    p_lengths,
    p_top,
    p_wide,
    p_offset,
    p_peak,
    p_inverse,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    classes,
    o_blank,
    pairs,
    LOGITS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
    REAL: tl.constexpr,
):
    """Of each frame: the best label, whether labels are far apart, the softmax's statistics, what all paths share.

    A frame with NaN or +inf shares NaN, and so the sample's score becomes NaN.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    b_frames = tl.load(p_frames + n)
    if (tl.program_id(0) % tiles) * ROWS >= b_frames:
        return
    used = t < b_frames
    p_row = p_scores + n * stride_n + t * stride_t
    b_peak = tl.full((ROWS,), float("-inf"), REAL)
    b_sum = tl.zeros((ROWS,), REAL)
    b_bad = tl.zeros((ROWS,), tl.int32)
    # The loop that reads all there is: columns are 32 bits, their addresses a base and a constant.
    c = tl.arange(0, BLOCK)
    for c0 in range(0, classes, BLOCK):
        mask = used[:, None] & (c < classes - c0)[None, :]
        x = tl.load(_columns(p_row, c0, c, stride_c), mask=mask, other=float("-inf")).to(REAL)
        if LOGITS:  # what is NaN or +inf makes the sum NaN
            peak = tl.maximum(b_peak, tl.max(x, axis=1))
            base = tl.where(peak == float("-inf"), 0.0, peak)
            b_sum = b_sum * tl.exp(b_peak - base) + tl.sum(tl.exp(x - base[:, None]), axis=1)
            b_peak = peak
        else:
            b_bad = tl.maximum(b_bad, tl.max(tl.where(x < float("inf"), 0, 1), axis=1))
    b_length = tl.load(p_lengths + n)
    b_top = tl.load(p_row + o_blank, mask=used, other=0.0).to(REAL)
    b_least = tl.where(b_top == float("-inf"), float("inf"), b_top)
    for s0 in range(0, b_length, LABELS):
        s = s0 + tl.arange(0, LABELS).to(tl.int64)
        is_token = s < b_length
        b_token = tl.load(p_tokens + n * (pairs - 1) + s, mask=is_token, other=0).to(tl.int64)
        mask = used[:, None] & is_token[None, :]
        x = tl.load(p_row[:, None] + (b_token * stride_c)[None, :], mask=mask, other=float("-inf")).to(REAL)
        b_top = tl.maximum(b_top, tl.max(x, axis=1))
        b_least = tl.minimum(b_least, tl.min(tl.where(x == float("-inf"), float("inf"), x), axis=1))
    b_top = tl.where(b_top == float("-inf"), 0.0, b_top)
    b_offset = b_top.to(tl.float64)
    o_row = n * frames_max + t
    if LOGITS:
        b_bad = tl.where((b_peak == float("-inf")) | (b_sum != b_sum), 1, 0)
        b_sum = tl.where(b_bad != 0, 1.0, b_sum)
        b_offset = b_offset - b_peak.to(tl.float64) - tl.log(b_sum.to(tl.float64))
        tl.store(p_peak + o_row, b_peak, mask=used)
        tl.store(p_inverse + o_row, 1.0 / b_sum, mask=used)
    tl.store(p_top + o_row, b_top, mask=used)
    tl.store(p_wide + o_row, (b_least < b_top - NARROW).to(tl.int8), mask=used)
    tl.store(p_offset + o_row, tl.where(b_bad != 0, float("nan"), b_offset), mask=used)


# ------------------------------------------------------------------------------------------------------------ sweep


@triton.jit
def _cells(i, length, backward):
    """Where pair i of a direction is: the places of its even and its odd state, and whether they exist."""
    even = tl.where(backward, length - i, i)
    odd = tl.where(backward, length - 1 - i, i)
    return even, (i >= 0) & (i <= length), odd, (i >= 0) & (i < length)


@triton.jit
def _cap(p_arcs, cell, mask, bit):
    """An arc as a cap: min(e, cap) leaves an exponent alone where the arc exists, and makes a zero where not."""
    return tl.where((tl.load(p_arcs + cell, mask=mask, other=0) & bit) != 0, ANY, ZERO)


@triton.jit
def _caps(p_arcs, pairs, i, length, backward):
    """Stay, step and skip into the even states of pairs i, then into the odd ones.

    Forward, an arc stands at the state that it enters. Backward it is taken the other way round, from the state where
    it stands to one or two below.
    """
    even, is_even, odd, is_odd = _cells(i, length, backward)
    ahead = backward.to(tl.int64)
    p_even, p_odd = p_arcs, p_arcs + pairs
    stay_even = _cap(p_even, even, is_even, STAY)
    step_even = _cap(p_arcs + ahead * pairs, even, is_even & (even < length + 1 - ahead), STEP)
    skip_even = _cap(p_even, even + ahead, is_even & (even + ahead <= length), SKIP)
    stay_odd = _cap(p_odd, odd, is_odd, STAY)
    step_odd = _cap(p_arcs + (1 - ahead) * pairs, odd + ahead, is_odd, STEP)
    skip_odd = _cap(p_odd, odd + ahead, is_odd & (odd + ahead < length), SKIP)
    return stay_even, step_even, skip_even, stay_odd, step_odd, skip_odd


@triton.jit
def _firsts(p_arcs, pairs, i, length, backward):
    """The exponents of the row that paths begin from: 1 where a path may begin (backward: end), else zero."""
    even, is_even, odd, is_odd = _cells(i, length, backward)
    bit = tl.where(backward, END, START)
    return tl.minimum(_cap(p_arcs, even, is_even, bit), 0), tl.minimum(_cap(p_arcs + pairs, odd, is_odd, bit), 0)


@triton.jit
def _entering(even, odd, even_below, odd_below, caps, EVEN_SKIPS: tl.constexpr):
    """The sums along the arcs into pairs, from their own states and from those of the pairs below."""
    if EVEN_SKIPS:
        even_sum = _sum_of_three(
            even[0],
            tl.minimum(even[1], caps[0]),
            odd_below[0],
            tl.minimum(odd_below[1], caps[1]),
            even_below[0],
            tl.minimum(even_below[1], caps[2]),
        )
    else:
        even_sum = _sum(even[0], tl.minimum(even[1], caps[0]), odd_below[0], tl.minimum(odd_below[1], caps[1]))
    odd_sum = _sum_of_three(
        odd[0],
        tl.minimum(odd[1], caps[3]),
        even[0],
        tl.minimum(even[1], caps[4]),
        odd_below[0],
        tl.minimum(odd_below[1], caps[5]),
    )
    return even_sum, odd_sum


@triton.jit
def _pair_below(m, e, i):
    """Of each pair, what the one below it holds: a row in registers, moved up by one."""
    below = tl.maximum(i - 1, 0)
    if m.dtype == tl.float64:
        moved_m, moved_e = tl.gather(m, below, 0), tl.gather(e, below, 0)
    else:
        both = (e.to(tl.int64) << 32) | m.to(tl.int32, bitcast=True).to(tl.int64)
        both = tl.gather(both, below, 0)
        moved_m, moved_e = both.to(tl.int32).to(tl.float32, bitcast=True), (both >> 32).to(tl.int32)
    return moved_m, tl.where(i > 0, moved_e, ZERO)


@triton.jit
def _load_row(p_m, p_e, pairs, i, length, backward, alive):
    """Pairs i of a stored row; zero where there is no state, and everywhere in a row that is not alive."""
    even, is_even, odd, is_odd = _cells(i, length, backward)
    reach = tl.where(alive, length, -1)
    is_even, is_odd = is_even & (i <= reach), is_odd & (i < reach)
    even_m, even_e = tl.load(p_m + even, mask=is_even, other=1.0), tl.load(p_e + even, mask=is_even, other=ZERO)
    odd_m = tl.load(p_m + pairs + odd, mask=is_odd, other=1.0)
    odd_e = tl.load(p_e + pairs + odd, mask=is_odd, other=ZERO)
    return (even_m, even_e), (odd_m, odd_e)


@triton.jit
def _store_row(p_m, p_e, pairs, i, length, backward, even, odd):
    even_cell, is_even, odd_cell, is_odd = _cells(i, length, backward)
    tl.store(p_m + even_cell, even[0], mask=is_even)
    tl.store(p_e + even_cell, even[1], mask=is_even)
    tl.store(p_m + pairs + odd_cell, odd[0], mask=is_odd)
    tl.store(p_e + pairs + odd_cell, odd[1], mask=is_odd)


@triton.jit
def _store_occupancy(p_m, pairs, i, length, backward, even, odd, met, total):
    """Puts occupancies in the place of the other direction's mantissas: what enters, times what is still to come."""
    even_cell, is_even, odd_cell, is_odd = _cells(i, length, backward)
    gamma = _plain(even[0] * met[0][0], even[1] + (met[0][1] - total))
    tl.store(p_m + even_cell, gamma, mask=is_even)
    gamma = _plain(odd[0] * met[1][0], odd[1] + (met[1][1] - total))
    tl.store(p_m + pairs + odd_cell, gamma, mask=is_odd)


@triton.jit
def _frame(j, frames, backward):
    """The frame of a direction's step j."""
    return tl.where(backward, frames - 1 - j, j)


@triton.jit
def _edge(j, n, pairs, backward):
    """Where a direction keeps its row of step j, until step j + 2: edges are (2, 2, N, 2, pairs)."""
    return (((j & 1) * 2 + backward.to(tl.int64)) * tl.num_programs(0) + n) * 2 * pairs


@triton.jit
def _or_first(j, into, first):
    """What enters at step j: at the first one, the beginnings of paths."""
    return tl.where(j == 0, 1.0, into[0]), tl.where(j == 0, first, into[1])


@triton.jit
def _entering_from(p_m, p_e, pairs, i, length, backward, j, caps, firsts, EVEN_SKIPS: tl.constexpr):
    """The sums along the arcs into pairs i at step j, from a row in memory."""
    even, odd = _load_row(p_m, p_e, pairs, i, length, backward, j > 0)
    even_below, odd_below = _load_row(p_m, p_e, pairs, i - 1, length, backward, j > 0)
    into_even, into_odd = _entering(even, odd, even_below, odd_below, caps, EVEN_SKIPS)
    return _or_first(j, into_even, firsts[0]), _or_first(j, into_odd, firsts[1])


@triton.jit
def _steps(frames, backward, SECOND: tl.constexpr):
    """A direction's steps: up to where the two meet, or from there on."""
    half = frames // 2
    meeting = tl.where(backward, frames - half, half)
    if SECOND:
        return meeting, frames
    else:
        return meeting * 0, meeting


@triton.jit
def _ask(j, sample, sources, rows, SECOND: tl.constexpr):
    """What step j will need: scores of the blank and of the tokens, the frame's top, the row to meet."""
    frames, length, backward, stop, pairs, i = sample
    p_blank, p_label, p_top, p_wide, stride_t = sources
    valid = j < stop
    t = tl.where(valid, _frame(j, frames, backward), 0)
    b_top = tl.load(p_top + t, mask=valid, other=0.0)
    b_wide = tl.load(p_wide + t, mask=valid, other=0)
    b_blank = tl.load(p_blank + t * stride_t, mask=valid, other=0.0).to(b_top.dtype)
    b_label = tl.load(p_label + t * stride_t, mask=i < tl.where(valid, length, 0), other=0.0).to(b_top.dtype)
    if SECOND:
        p_m, p_e = rows
        met = _load_row(p_m + t * 2 * pairs, p_e + t * 2 * pairs, pairs, i, length, backward, valid)
        return b_blank, b_label, b_top, b_wide, met
    else:
        return b_blank, b_label, b_top, b_wide


@triton.jit
def _step(
    j,
    sample,
    given,
    rows,
    total,
    even,
    odd,
    firsts,
    caps,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
):
    """One frame of a row in registers: along the arcs, then times the emissions."""
    frames, length, backward, stop, pairs, i = sample
    p_m, p_e = rows
    even_m, even_e = even
    odd_m, odd_e = odd
    if j < stop:
        t = _frame(j, frames, backward)
        odd_below = _pair_below(odd_m, odd_e, i)
        even_below = _pair_below(even_m, even_e, i) if EVEN_SKIPS else odd_below
        into_even, into_odd = _entering((even_m, even_e), (odd_m, odd_e), even_below, odd_below, caps, EVEN_SKIPS)
        into_even = _or_first(j, into_even, firsts[0])
        into_odd = _or_first(j, into_odd, firsts[1])
        if SECOND:
            _store_occupancy(p_m + t * 2 * pairs, pairs, i, length, backward, into_even, into_odd, given[4], total)
        blank_m, blank_e = _emission(given[0], given[2], given[3])
        label_m, label_e = _emission(given[1], given[2], given[3])
        even_m, even_e = _product(into_even[0], into_even[1], blank_m, blank_e)
        odd_m, odd_e = _product(into_odd[0], into_odd[1], label_m, label_e)
        if KEEP:
            o_row = t * 2 * pairs
            _store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, (even_m, even_e), (odd_m, odd_e))
    return (even_m, even_e), (odd_m, odd_e)


@triton.jit
def _sweep_in_registers(
    sample,
    place,
    sources,
    rows,
    edges,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One direction of a sample, its row in registers. Four frames are asked for ahead of their use."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = place
    p_top, p_wide, stride_t = sources
    p_edge_m, p_edge_e = edges
    i = tl.arange(0, BLOCK)
    caps = _caps(p_arc, pairs, i, length, backward)
    firsts = _firsts(p_arc, pairs, i, length, backward)
    _, _, odd_cell, is_odd = _cells(i, length, backward)
    b_token = tl.load(p_token + odd_cell, mask=is_odd, other=0).to(tl.int64)
    asked = (p_score + o_blank, p_score + b_token * stride_c, p_top, p_wide, stride_t)
    given = (frames, length, backward, stop, pairs, i)

    # The row before the first step: dead, or where the first half of this direction left off.
    o_edge = _edge(start - 1, n, pairs, backward)
    even, odd = _load_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, start > 0)
    ask0 = _ask(start, given, asked, rows, SECOND)
    ask1 = _ask(start + 1, given, asked, rows, SECOND)
    ask2 = _ask(start + 2, given, asked, rows, SECOND)
    ask3 = _ask(start + 3, given, asked, rows, SECOND)
    for j in range(start, stop, 4):
        even, odd = _step(j, given, ask0, rows, total, even, odd, firsts, caps, SECOND, KEEP, EVEN_SKIPS)
        ask0 = _ask(j + 4, given, asked, rows, SECOND)
        even, odd = _step(j + 1, given, ask1, rows, total, even, odd, firsts, caps, SECOND, KEEP, EVEN_SKIPS)
        ask1 = _ask(j + 5, given, asked, rows, SECOND)
        even, odd = _step(j + 2, given, ask2, rows, total, even, odd, firsts, caps, SECOND, KEEP, EVEN_SKIPS)
        ask2 = _ask(j + 6, given, asked, rows, SECOND)
        even, odd = _step(j + 3, given, ask3, rows, total, even, odd, firsts, caps, SECOND, KEEP, EVEN_SKIPS)
        ask3 = _ask(j + 7, given, asked, rows, SECOND)
    if not SECOND:
        o_edge = _edge(stop - 1, n, pairs, backward)
        _store_row(p_edge_m + o_edge, p_edge_e + o_edge, pairs, i, length, backward, even, odd)


@triton.jit
def _sweep_in_tiles(
    sample,
    place,
    sources,
    rows,
    edges,
    total,
    SECOND: tl.constexpr,
    KEEP: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The same for any number of states, tile by tile: each row is read back from memory, one barrier a frame."""
    n, frames, length, backward, start, stop, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = place
    p_top, p_wide, stride_t = sources
    p_m, p_e = rows
    p_edge_m, p_edge_e = edges
    for j in range(start, stop):
        t = _frame(j, frames, backward)
        b_top, b_wide = tl.load(p_top + t), tl.load(p_wide + t)
        b_blank = tl.load(p_score + t * stride_t + o_blank).to(b_top.dtype)
        blank_m, blank_e = _emission(b_blank, b_top, b_wide)
        o_last, o_next = _edge(j - 1, n, pairs, backward), _edge(j, n, pairs, backward)
        o_row = t * 2 * pairs
        for i0 in range(0, length + 1, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            caps = _caps(p_arc, pairs, i, length, backward)
            firsts = _firsts(p_arc, pairs, i, length, backward)
            into_even, into_odd = _entering_from(
                p_edge_m + o_last, p_edge_e + o_last, pairs, i, length, backward, j, caps, firsts, EVEN_SKIPS
            )
            if SECOND:
                met = _load_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, True)
                _store_occupancy(p_m + o_row, pairs, i, length, backward, into_even, into_odd, met, total)
            _, _, odd_cell, is_odd = _cells(i, length, backward)
            b_token = tl.load(p_token + odd_cell, mask=is_odd, other=0).to(tl.int64)
            p_label = p_score + t * stride_t + b_token * stride_c
            b_label = tl.load(p_label, mask=is_odd, other=0.0).to(b_top.dtype)
            label_m, label_e = _emission(b_label, b_top, b_wide)
            even = _product(into_even[0], into_even[1], blank_m, blank_e)
            odd = _product(into_odd[0], into_odd[1], label_m, label_e)
            _store_row(p_edge_m + o_next, p_edge_e + o_next, pairs, i, length, backward, even, odd)
            if KEEP:
                _store_row(p_m + o_row, p_e + o_row, pairs, i, length, backward, even, odd)
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
    """One sample in one direction: the first half of it, up to where the two meet, or the second."""
    n = tl.program_id(0).to(tl.int64)
    backward = tl.program_id(1) == 1
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    start, stop = _steps(frames, backward, SECOND)
    sample = (n, frames, length, backward, start, stop, pairs)
    place = (p_arcs + n * 2 * pairs, p_tokens + n * (pairs - 1), p_scores + n * stride_n, o_blank, stride_c)
    sources = (p_top + n * frames_max, p_wide + n * frames_max, stride_t)
    rows = (p_m + n * frames_max * 2 * pairs, p_e + n * frames_max * 2 * pairs)
    edges = (p_edge_m, p_edge_e)
    b_total = tl.load(p_total + n)
    if TILED:
        _sweep_in_tiles(sample, place, sources, rows, edges, b_total, SECOND, KEEP, EVEN_SKIPS, BLOCK)
    else:
        _sweep_in_registers(sample, place, sources, rows, edges, b_total, SECOND, KEEP, EVEN_SKIPS, BLOCK)


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
    """One sample's log-score, where its two directions meet, in float64; and the exponent that occupancies refer to."""
    n = tl.program_id(0).to(tl.int64)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    status = tl.load(p_status + n)
    half = frames // 2
    backward = n < 0  # no: cells are those of the forward direction
    o_before, o_met = _edge(half - 1, n, pairs, backward), _edge(frames - half - 1, n, pairs, n >= 0)
    top = tl.full((), ZERO, tl.int32)
    b_sum = tl.zeros((), tl.float64)
    swept = tl.where(frames > 0, length + 1, 0)
    for turn in tl.static_range(2):
        for i0 in range(0, swept, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            caps = _caps(p_arcs + n * 2 * pairs, pairs, i, length, backward)
            firsts = _firsts(p_arcs + n * 2 * pairs, pairs, i, length, backward)
            even, odd = _entering_from(
                p_edge_m + o_before, p_edge_e + o_before, pairs, i, length, backward, half, caps, firsts, EVEN_SKIPS
            )
            met_even, met_odd = _load_row(p_edge_m + o_met, p_edge_e + o_met, pairs, i, length, backward, True)
            even_e, odd_e = even[1] + met_even[1], odd[1] + met_odd[1]
            if turn == 0:
                top = tl.maximum(top, tl.max(tl.maximum(even_e, odd_e), axis=0))
            else:
                part = _plain(even[0].to(tl.float64) * met_even[0].to(tl.float64), even_e - top)
                part += _plain(odd[0].to(tl.float64) * met_odd[0].to(tl.float64), odd_e - top)
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


# --------------------------------------------------------------------------------------------------------- gradient


@triton.jit(do_not_specialize=SIZES)
def _gradient_kernel(
    p_scores,
    p_grad,
    p_states,
    p_weights,
    p_gamma,
    p_frames,
    p_lengths,
    p_status,
    p_score,
    p_peak,
    p_inverse,
    p_sorted,
    p_order,
    p_run,
    p_first,
    stride_t,
    stride_n,
    stride_c,
    grad_stride_t,
    grad_stride_n,
    grad_stride_c,
    frames_max,
    size,
    classes,
    blank,
    pairs,
    SOFTMAX: tl.constexpr,
    STATES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    LABELS: tl.constexpr,
):
    """Writes some frames of one sample's gradient: weight · (softmax - occupancy by class).

    Each frame's occupancies are divided by their own sum, which is the total up to rounding: that takes the rounding of
    the total out of the gradient.
    """
    tiles = tl.cdiv(frames_max, ROWS)
    n = (tl.program_id(0) // tiles).to(tl.int64)
    t = (tl.program_id(0) % tiles).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    status, score = tl.load(p_status + n), tl.load(p_score + n)
    exists, used = t < frames_max, t < frames
    o_grad = n * grad_stride_n + t * grad_stride_t
    real = p_gamma.dtype.element_ty
    out = p_grad.dtype.element_ty
    o_state = (t * size + n) * (2 * pairs - 1)

    spoilt = tl.where(status == WRONG, frames_max, tl.where(score != score, frames, 0))
    b_fill = tl.where(t < spoilt, float("nan"), 0.0).to(real)
    if (score > float("-inf")) & ((tl.program_id(0) % tiles) * ROWS < frames):
        p_row = p_gamma + (n * frames_max + t) * 2 * pairs
        b_evens, b_odds = tl.zeros((ROWS, LABELS), real), tl.zeros((ROWS, LABELS), real)
        for i0 in range(0, length + 1, LABELS):
            i = i0 + tl.arange(0, LABELS).to(tl.int64)
            even_mask, odd_mask = used[:, None] & (i <= length)[None, :], used[:, None] & (i < length)[None, :]
            b_evens += tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0)
            b_odds += tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0)
        b_even = tl.sum(b_evens, axis=1)
        b_share = 1.0 / tl.where(used, b_even + tl.sum(b_odds, axis=1), 1.0)
        if STATES:
            for i0 in range(0, pairs, LABELS):
                i = i0 + tl.arange(0, LABELS).to(tl.int64)
                even_mask, odd_mask = used[:, None] & (i <= length)[None, :], used[:, None] & (i < length)[None, :]
                b_gamma = tl.load(p_row[:, None] + i[None, :], mask=even_mask, other=0.0) * b_share[:, None]
                p_out = p_states + o_state[:, None] + (2 * i)[None, :]
                tl.store(p_out, b_gamma, mask=exists[:, None] & (i < pairs)[None, :])
                b_gamma = tl.load(p_row[:, None] + (pairs + i)[None, :], mask=odd_mask, other=0.0) * b_share[:, None]
                tl.store(p_out + 1, b_gamma, mask=exists[:, None] & (i < pairs - 1)[None, :])

        # All classes: the softmax, and the blank's occupancy.
        b_weight = tl.load(p_weights + n).to(real)
        p_in = p_scores + n * stride_n + t * stride_t
        b_blank = tl.where(used, b_even * b_share, 0.0)
        if SOFTMAX:
            b_peak = tl.load(p_peak + n * frames_max + t, mask=used, other=0.0)
            b_inverse = tl.load(p_inverse + n * frames_max + t, mask=used, other=0.0)
        c = tl.arange(0, BLOCK)
        for c0 in range(0, classes, BLOCK):
            b_grad = tl.where((c == blank - c0)[None, :], -b_blank[:, None], 0.0)
            if SOFTMAX:
                mask = used[:, None] & (c < classes - c0)[None, :]
                x = tl.load(_columns(p_in, c0, c, stride_c), mask=mask, other=float("-inf")).to(real)
                b_grad += tl.exp(x - b_peak[:, None]) * b_inverse[:, None]
            mask = exists[:, None] & (c < classes - c0)[None, :]
            b_grad = tl.where(used[:, None], b_grad * b_weight, 0.0)
            tl.store(_columns(p_grad + o_grad, c0, c, grad_stride_c), b_grad.to(out), mask=mask)
        tl.debug_barrier()

        # The labels once more. Equal tokens are runs of the sorted ones; each run is added up in the target's order.
        longest = pairs - 1
        runs = tl.load(p_run + n * longest + length - 1, mask=length > 0, other=0)
        for q0 in range(0, runs, LABELS):
            q = q0 + tl.arange(0, LABELS).to(tl.int64)[None, :]
            is_run = q < runs
            b_first = tl.load(p_first + n * longest + q, mask=is_run, other=0)
            b_next = tl.load(p_first + n * longest + q + 1, mask=q + 1 < runs, other=0)
            b_count = tl.where(is_run, tl.where(q + 1 < runs, b_next, length) - b_first, 0)
            b_sum = tl.zeros((ROWS, LABELS), real)
            for r in range(0, tl.max(b_count)):
                s = tl.load(p_order + n * longest + b_first + r, mask=r < b_count, other=0)
                b_sum += tl.load(p_row[:, None] + (pairs + s), mask=used[:, None] & (r < b_count), other=0.0)
            b_label = tl.load(p_sorted + n * longest + b_first, mask=is_run, other=0).to(tl.int64)
            b_grad = -b_sum * b_share[:, None]
            mask = used[:, None] & is_run
            if SOFTMAX:
                x = tl.load(p_in[:, None] + b_label * stride_c, mask=mask, other=0.0).to(real)
                b_grad = tl.exp(x - b_peak[:, None]) * b_inverse[:, None] + b_grad
            p_out = p_grad + o_grad[:, None] + b_label * grad_stride_c
            tl.store(p_out, (b_grad * b_weight).to(out), mask=mask)
    else:
        for c0 in range(0, classes, BLOCK):
            c = c0 + tl.arange(0, BLOCK).to(tl.int64)
            mask = exists[:, None] & (c < classes)[None, :]
            b_grad = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
            tl.store(p_grad + o_grad[:, None] + (c * grad_stride_c)[None, :], b_grad.to(out), mask=mask)
        if STATES:
            for k0 in range(0, 2 * pairs - 1, BLOCK):
                k = k0 + tl.arange(0, BLOCK).to(tl.int64)
                mask = exists[:, None] & (k < 2 * pairs - 1)[None, :]
                b_gamma = tl.broadcast_to(b_fill[:, None], (ROWS, BLOCK))
                tl.store(p_states + o_state[:, None] + k[None, :], b_gamma, mask=mask)


# -------------------------------------------------------------------------------------------------------- best path


@triton.jit
def _open(value, cap):
    """What comes along an arc, on logarithms: nothing where there is none."""
    return tl.where(cap == ANY, value, float("-inf"))


@triton.jit
def _better(best, move, other, back):
    """The better of two ways into a state. Of equals the first, so those from further below must come first."""
    takes = other > best
    return tl.where(takes, other, best), tl.where(takes, back, move)


@triton.jit
def _best_entering(even, odd, even_below, odd_below, caps, EVEN_SKIPS: tl.constexpr):
    """The best ways into pairs, and how many states below they come from."""
    into_even, even_move = _open(odd_below, caps[1]), tl.full(even.shape, 1, tl.int32)
    if EVEN_SKIPS:
        into_even, even_move = _better(_open(even_below, caps[2]), tl.full(even.shape, 2, tl.int32), into_even, 1)
    into_even, even_move = _better(into_even, even_move, _open(even, caps[0]), 0)
    into_odd, odd_move = _open(odd_below, caps[5]), tl.full(odd.shape, 2, tl.int32)
    into_odd, odd_move = _better(into_odd, odd_move, _open(even, caps[4]), 1)
    into_odd, odd_move = _better(into_odd, odd_move, _open(odd, caps[3]), 0)
    return into_even, into_odd, even_move | (odd_move << 2)


@triton.jit
def _base(peak):
    """What is taken off a row, so that its best entry becomes 0 and float32 keeps its precision."""
    return tl.where(peak == float("-inf"), 0.0, peak)


@triton.jit
def _begun(j, into, first):
    """What enters at step j: at the first one, the beginnings of paths."""
    return tl.where(j == 0, tl.where(first == 0, 0.0, float("-inf")).to(into.dtype), into)


@triton.jit
def _last(even, odd, p_arc, pairs, i, length):
    """The best score of pairs that paths may end in, and its state: of equals the lowest."""
    ends_even = _open(even, _cap(p_arc, i, i <= length, END))
    ends_odd = _open(odd, _cap(p_arc + pairs, i, i < length, END))
    best = tl.max(tl.maximum(ends_even, ends_odd), axis=0)
    states = tl.minimum(tl.where(ends_even == best, 2 * i, ANY), tl.where(ends_odd == best, 2 * i + 1, ANY))
    return best, tl.where(best > float("-inf"), tl.min(states, axis=0).to(tl.int32), -1)


@triton.jit
def _best_step(j, given, asked, p_moves, even, odd, firsts, caps, EVEN_SKIPS: tl.constexpr):
    """One frame of a row in registers."""
    _, length, _, stop, pairs, i = given
    if j < stop:
        odd_below = tl.where(i > 0, tl.gather(odd, tl.maximum(i - 1, 0), 0), float("-inf"))
        even_below = odd_below
        if EVEN_SKIPS:
            even_below = tl.where(i > 0, tl.gather(even, tl.maximum(i - 1, 0), 0), float("-inf"))
        into_even, into_odd, moves = _best_entering(even, odd, even_below, odd_below, caps, EVEN_SKIPS)
        even = _begun(j, into_even, firsts[0]) + (asked[0] - asked[2])
        odd = _begun(j, into_odd, firsts[1]) + (asked[1] - asked[2])
        tl.store(p_moves + j * pairs + i, moves.to(tl.uint8), mask=i <= length)
    return even, odd


@triton.jit
def _best_in_registers(
    sample, place, sources, p_moves, REAL: tl.constexpr, EVEN_SKIPS: tl.constexpr, BLOCK: tl.constexpr
):
    """A sample's sweep, its row in registers; as in _sweep_in_registers."""
    frames, length, forward, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = place
    p_top, p_wide, stride_t = sources
    i = tl.arange(0, BLOCK)
    caps = _caps(p_arc, pairs, i, length, forward)
    firsts = _firsts(p_arc, pairs, i, length, forward)
    b_token = tl.load(p_token + i, mask=i < length, other=0).to(tl.int64)
    asked = (p_score + o_blank, p_score + b_token * stride_c, p_top, p_wide, stride_t)
    given = (frames, length, forward, frames, pairs, i)
    unmet = (p_moves, p_moves)  # no row comes the other way
    even, odd = tl.full((BLOCK,), float("-inf"), REAL), tl.full((BLOCK,), float("-inf"), REAL)
    ask0 = _ask(0, given, asked, unmet, False)
    ask1 = _ask(1, given, asked, unmet, False)
    ask2 = _ask(2, given, asked, unmet, False)
    ask3 = _ask(3, given, asked, unmet, False)
    for j in range(0, frames, 4):
        base = _base(tl.max(tl.maximum(even, odd), axis=0))
        even, odd = _best_step(j, given, ask0, p_moves, even - base, odd - base, firsts, caps, EVEN_SKIPS)
        ask0 = _ask(j + 4, given, asked, unmet, False)
        even, odd = _best_step(j + 1, given, ask1, p_moves, even, odd, firsts, caps, EVEN_SKIPS)
        ask1 = _ask(j + 5, given, asked, unmet, False)
        even, odd = _best_step(j + 2, given, ask2, p_moves, even, odd, firsts, caps, EVEN_SKIPS)
        ask2 = _ask(j + 6, given, asked, unmet, False)
        even, odd = _best_step(j + 3, given, ask3, p_moves, even, odd, firsts, caps, EVEN_SKIPS)
        ask3 = _ask(j + 7, given, asked, unmet, False)
    _, last = _last(even, odd, p_arc, pairs, i, length)
    return last


@triton.jit
def _load_best(p_row, pairs, i, length, alive):
    """Pairs i of a stored row of logarithms."""
    reach = tl.where(alive, length, -1)
    even = tl.load(p_row + i, mask=(i >= 0) & (i <= reach), other=float("-inf"))
    return even, tl.load(p_row + pairs + i, mask=(i >= 0) & (i < reach), other=float("-inf"))


@triton.jit
def _best_in_tiles(
    n, sample, place, sources, p_moves, p_edge, REAL: tl.constexpr, EVEN_SKIPS: tl.constexpr, BLOCK: tl.constexpr
):
    """The same for any number of states, as in _sweep_in_tiles: the last two rows are in memory."""
    frames, length, forward, pairs = sample
    p_arc, p_token, p_score, o_blank, stride_c = place
    p_top, _, stride_t = sources
    p_row = p_edge + n * 4 * pairs
    peak = tl.full((), float("-inf"), REAL)
    for j in range(0, frames):
        b_top = tl.load(p_top + j)
        b_blank = tl.load(p_score + j * stride_t + o_blank).to(REAL)
        base = tl.where((j & 3) == 0, _base(peak), 0.0)
        peak = tl.full((), float("-inf"), REAL)
        p_before, p_after = p_row + ((j & 1) ^ 1) * 2 * pairs, p_row + (j & 1) * 2 * pairs
        for i0 in range(0, length + 1, BLOCK):
            i = i0 + tl.arange(0, BLOCK).to(tl.int64)
            caps = _caps(p_arc, pairs, i, length, forward)
            firsts = _firsts(p_arc, pairs, i, length, forward)
            even, odd = _load_best(p_before, pairs, i, length, j > 0)
            even_below, odd_below = _load_best(p_before, pairs, i - 1, length, j > 0)
            into_even, into_odd, moves = _best_entering(
                even - base, odd - base, even_below - base, odd_below - base, caps, EVEN_SKIPS
            )
            b_token = tl.load(p_token + i, mask=i < length, other=0).to(tl.int64)
            b_label = tl.load(p_score + j * stride_t + b_token * stride_c, mask=i < length, other=0.0).to(REAL)
            even = _begun(j, into_even, firsts[0]) + (b_blank - b_top)
            odd = _begun(j, into_odd, firsts[1]) + (b_label - b_top)
            tl.store(p_moves + j * pairs + i, moves.to(tl.uint8), mask=i <= length)
            tl.store(p_after + i, even, mask=i <= length)
            tl.store(p_after + pairs + i, odd, mask=i < length)
            peak = tl.maximum(peak, tl.max(tl.maximum(even, odd), axis=0))
        tl.debug_barrier()
    best, last = tl.full((), float("-inf"), REAL), tl.full((), -1, tl.int32)
    for i0 in range(0, tl.where(frames > 0, length + 1, 0), BLOCK):
        i = i0 + tl.arange(0, BLOCK).to(tl.int64)
        even, odd = _load_best(p_row + ((frames - 1) & 1) * 2 * pairs, pairs, i, length, True)
        value, state = _last(even, odd, p_arc, pairs, i, length)
        best, last = _better(best, last, value, state)
    return last


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _best_kernel(
    p_scores,
    p_tokens,
    p_arcs,
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
    REAL: tl.constexpr,
    EVEN_SKIPS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One sample's best path as a sweep with maxima: the moves that won (a byte a pair), and where the path ends."""
    n = tl.program_id(0).to(tl.int64)
    frames, length = tl.load(p_frames + n), tl.load(p_lengths + n)
    sample = (frames, length, n < 0, pairs)  # cells are those of the forward direction
    place = (p_arcs + n * 2 * pairs, p_tokens + n * (pairs - 1), p_scores + n * stride_n, o_blank, stride_c)
    sources = (p_top + n * frames_max, p_wide + n * frames_max, stride_t)
    p_moves += n * frames_max * pairs
    if TILED:
        last = _best_in_tiles(n, sample, place, sources, p_moves, p_edge, REAL, EVEN_SKIPS, BLOCK)
    else:
        last = _best_in_registers(sample, place, sources, p_moves, REAL, EVEN_SKIPS, BLOCK)
    tl.store(p_last + n, last)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _trace_kernel(
    p_scores,
    p_tokens,
    p_frames,
    p_status,
    p_top,
    p_offset,
    p_moves,
    p_last,
    p_path,
    p_score,
    stride_t,
    stride_n,
    stride_c,
    frames_max,
    o_blank,
    pairs,
    BLOCK: tl.constexpr,
):
    """Follows one sample's moves from its last state back, and adds up in float64 what the path is worth."""
    n = tl.program_id(0).to(tl.int64)
    frames, status, last = tl.load(p_frames + n), tl.load(p_status + n), tl.load(p_last + n)
    p_top, p_offset, p_path = p_top + n * frames_max, p_offset + n * frames_max, p_path + n * frames_max
    offset = tl.zeros((), tl.float64)  # NaN if a frame holds NaN or +inf
    for t0 in range(0, frames, BLOCK):
        t = t0 + tl.arange(0, BLOCK).to(tl.int64)
        offset += tl.sum(tl.load(p_offset + t, mask=t < frames, other=0.0), axis=0)
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
        is_token = on_path & ((b_state & 1) == 1)
        b_token = tl.load(p_tokens + n * (pairs - 1) + (b_state >> 1), mask=is_token, other=0).to(tl.int64)
        o_label = tl.where(is_token, b_token * stride_c, o_blank)
        x = tl.load(p_scores + n * stride_n + t * stride_t + o_label, mask=on_path, other=0.0).to(tl.float64)
        x -= tl.load(p_top + t, mask=on_path, other=0.0).to(tl.float64)
        score += tl.sum(x + tl.load(p_offset + t, mask=on_path, other=0.0), axis=0)
        tl.store(p_path + t, -1, mask=(t < frames_max) & (on_path == 0))
    score = tl.where(last < 0, float("-inf"), score)
    score = tl.where(offset != offset, float("nan"), score)
    score = tl.where(frames == 0, 0.0, score)
    score = tl.where(status == INFEASIBLE, float("-inf"), score)
    score = tl.where(status == WRONG, float("nan"), score)
    tl.store(p_score + n, score)


# -------------------------------------------------------------------------------------------------------- launchers


class _Sizes(NamedTuple):
    """T, N, C, and the pairs of states of the longest target."""

    frames: int
    size: int
    classes: int
    pairs: int


class Lattices(NamedTuple):
    """A batch's lattices, on the device.

    Attributes:
        tokens: int32 (N, S); C, which is no class, past a target.
        arcs: uint8 (N, 2, S + 1), bits of :class:`ctckit.Arc`: of the even states, then of the odd ones.
        frames: int64 (N,), how many are used: none of a sample that is not sound.
        lengths: int64 (N,), tokens; none of a sample that is wrong.
        status: int32 (N,), SOUND, INFEASIBLE or WRONG.
    """

    tokens: Tensor
    arcs: Tensor
    frames: Tensor
    lengths: Tensor
    status: Tensor


class Problem(NamedTuple):
    """A batch on the device, as check.Problem is one on the host: the caller's integers are not looked at again."""

    scores: Tensor  # (T, N, C), any strides
    from_logits: bool
    blank: int
    sizes: _Sizes
    lattices: Lattices

    @property
    def real(self) -> torch.dtype:
        """What is computed in."""
        return torch.float64 if self.scores.dtype == torch.float64 else torch.float32

    @property
    def real_in_kernels(self) -> Any:
        """The same, as kernels name it."""
        return tl.float64 if self.scores.dtype == torch.float64 else tl.float32

    @property
    def place(self) -> tuple[int, ...]:
        """Where scores lie: what most kernels are told alike."""
        return (*self.scores.stride(), self.sizes.frames, self.blank * self.scores.stride(2), self.sizes.pairs)


class _Rows(NamedTuple):
    """Of each frame (N, T): what emissions are relative to, and the softmax's statistics."""

    top: Tensor
    wide: Tensor
    offset: Tensor
    peak: Tensor
    inverse: Tensor


def _lay_out(targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, sizes: _Sizes, blank: int) -> Lattices:
    size, pairs, device = sizes.size, sizes.pairs, targets.device
    flat = targets.ndim == 1
    made = Lattices(
        torch.empty((size, pairs - 1), dtype=torch.int32, device=device),
        torch.empty((size, 2, pairs), dtype=torch.uint8, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int32, device=device),
    )
    begins = target_lengths.long().cumsum(0) - target_lengths if flat else target_lengths
    _lattice_kernel[(size,)](
        targets,
        begins,
        input_lengths,
        target_lengths,
        *made,
        0 if flat else targets.stride(0),
        targets.stride(-1),
        sizes.frames,
        sizes.classes,
        blank,
        targets.shape[-1],
        pairs,
        FLAT=flat,
        BLOCK=min(TILE, triton.next_power_of_2(pairs)),
        num_warps=4,
        enable_fp_fusion=FUSED,
    )
    return made


def _read_rows(problem: Problem) -> _Rows:
    sizes, device, real = problem.sizes, problem.scores.device, problem.real
    shape = sizes.size, sizes.frames
    statistics = shape if problem.from_logits else (0,)
    rows = _Rows(
        torch.empty(shape, dtype=real, device=device),
        torch.empty(shape, dtype=torch.int8, device=device),
        torch.empty(shape, dtype=torch.float64, device=device),
        torch.empty(statistics, dtype=real, device=device),
        torch.empty(statistics, dtype=real, device=device),
    )
    block, together = _cut(sizes)
    _rows_kernel[(triton.cdiv(sizes.frames, together) * sizes.size,)](
        problem.scores,
        problem.lattices.tokens,
        problem.lattices.frames,
        problem.lattices.lengths,
        *rows,
        *problem.scores.stride(),
        sizes.frames,
        sizes.classes,
        problem.blank * problem.scores.stride(2),
        sizes.pairs,
        LOGITS=problem.from_logits,
        ROWS=together,
        BLOCK=block,
        LABELS=min(block, TILE),
        REAL=problem.real_in_kernels,
        num_warps=4,
        enable_fp_fusion=FUSED,
    )
    return rows


def _cut(sizes: _Sizes) -> tuple[int, int]:
    """How many classes, and how many frames, a program reads at a time."""
    block = min(ROWS_TILE, triton.next_power_of_2(sizes.classes))
    return block, ROWS_TILE // block


def _blocks(sizes: _Sizes) -> tuple[int, bool, int]:
    """How many pairs of states a program holds, whether that is only a tile of them, and how many warps do it."""
    block = triton.next_power_of_2(sizes.pairs)
    if block > LARGEST_BLOCK:
        return min(block, TILE), True, 8
    return block, False, min(max(block // 64, 1), 16)


class Sweep:
    """The sweeps over a batch: its log-scores, and where a gradient may be asked for, the occupancies for it.

    Attributes:
        score: float64 (N,), in nats.
        occupancy: (N, T, 2, pairs), not yet normalised; the mantissas of rows until both halves have met. Whoever keeps
            a sweep for later may put it elsewhere meanwhile.
    """

    def __init__(self, problem: Problem, *, keep: bool) -> None:
        device, real, sizes = problem.scores.device, problem.real, problem.sizes
        kept = (sizes.size, sizes.frames, 2, sizes.pairs) if keep else (0,)
        edges = (2, 2, sizes.size, 2, sizes.pairs)
        self.problem, self.keep = problem, keep
        with _on(device):
            self._rows = _read_rows(problem)
            self.occupancy: Tensor | None = torch.empty(kept, dtype=real, device=device)
            exponents = torch.empty(kept, dtype=torch.int32, device=device)
            mantissas_of_edges = torch.empty(edges, dtype=real, device=device)
            exponents_of_edges = torch.empty(edges, dtype=torch.int32, device=device)
            self._total = torch.empty(sizes.size, dtype=torch.int32, device=device)
            self.score = torch.empty(sizes.size, dtype=torch.float64, device=device)
            parts = exponents, mantissas_of_edges, exponents_of_edges
            self._launch(*parts, second=False)
            self._meet(mantissas_of_edges, exponents_of_edges)
            if keep:
                self._launch(*parts, second=True)

    def _launch(self, exponents: Tensor, edges_m: Tensor, edges_e: Tensor, *, second: bool) -> None:
        problem, lattices = self.problem, self.problem.lattices
        block, tiled, warps = _blocks(problem.sizes)
        _sweep_kernel[(problem.sizes.size, 2)](
            problem.scores,
            lattices.tokens,
            lattices.arcs,
            lattices.frames,
            lattices.lengths,
            self._rows.top,
            self._rows.wide,
            self.occupancy,
            exponents,
            edges_m,
            edges_e,
            self._total,
            *problem.place,
            TILED=tiled,
            SECOND=second,
            KEEP=self.keep and not second,
            EVEN_SKIPS=EVEN_SKIPS,
            BLOCK=block,
            num_warps=warps,
            enable_fp_fusion=FUSED,
        )

    def _meet(self, edges_m: Tensor, edges_e: Tensor) -> None:
        lattices, sizes = self.problem.lattices, self.problem.sizes
        _total_kernel[(sizes.size,)](
            lattices.arcs,
            lattices.frames,
            lattices.lengths,
            lattices.status,
            self._rows.offset,
            edges_m,
            edges_e,
            self._total,
            self.score,
            sizes.frames,
            sizes.pairs,
            EVEN_SKIPS=EVEN_SKIPS,
            BLOCK=TILE,
            num_warps=4,
            enable_fp_fusion=FUSED,
        )

    def gradient(self, grad: Tensor, weights: Tensor | None = None) -> None:
        """Writes the gradient of Σ weights·(-score) into ``grad``, as often as one likes."""
        scores = self.problem.scores
        if weights is None:
            weights = torch.ones(self.problem.sizes.size, dtype=torch.float64, device=scores.device)
        self._write(grad, None, weights.contiguous(), self.problem.from_logits)

    def occupancies(self, states: Tensor, classes: Tensor) -> None:
        """Writes γ by state and by class."""
        # Without its softmax the gradient is -γ by class; a weight of -1 turns it into γ.
        weights = torch.full((self.problem.sizes.size,), -1.0, dtype=torch.float64, device=classes.device)
        self._write(classes, states, weights, False)

    def _write(self, grad: Tensor, states: Tensor | None, weights: Tensor, softmax: bool) -> None:
        """Launches the gradient, after finding out which tokens are equal: runs, once they are sorted."""
        problem, lattices, rows, sizes = self.problem, self.problem.lattices, self._rows, self.problem.sizes
        ordered, order = lattices.tokens.sort(dim=1, stable=True)
        begins = torch.ones_like(ordered)
        begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        run = begins.cumsum(1)  # how many runs there are up to a place
        number = torch.arange(1, sizes.pairs, device=run.device).expand(sizes.size, -1).contiguous()
        first = torch.searchsorted(run, number)
        block, together = _cut(sizes)
        with _on(grad.device):
            _gradient_kernel[(triton.cdiv(sizes.frames, together) * sizes.size,)](
                problem.scores,
                grad,
                states if states is not None else self.occupancy,
                weights,
                self.occupancy,
                lattices.frames,
                lattices.lengths,
                lattices.status,
                self.score,
                rows.peak,
                rows.inverse,
                ordered,
                order,
                run,
                first,
                *problem.scores.stride(),
                *grad.stride(),
                sizes.frames,
                sizes.size,
                sizes.classes,
                problem.blank,
                sizes.pairs,
                SOFTMAX=softmax,
                STATES=states is not None,
                ROWS=together,
                BLOCK=block,
                LABELS=min(block, TILE),
                num_warps=4,
                enable_fp_fusion=FUSED,
            )


def _find_best(problem: Problem) -> BestPaths:
    """Launches the best path's sweep, and then its way back."""
    sizes, lattices, device = problem.sizes, problem.lattices, problem.scores.device
    frames, size, _, pairs = sizes
    block, tiled, warps = _blocks(sizes)
    moves = torch.empty((size, frames, pairs), dtype=torch.uint8, device=device)
    last = torch.empty(size, dtype=torch.int32, device=device)
    found = BestPaths(
        torch.empty((size, frames), dtype=torch.int32, device=device),
        torch.empty(size, dtype=torch.float64, device=device),
    )
    with _on(device):
        rows = _read_rows(problem)
        _best_kernel[(size,)](
            problem.scores,
            lattices.tokens,
            lattices.arcs,
            lattices.frames,
            lattices.lengths,
            rows.top,
            rows.wide,
            moves,
            torch.empty((size, 2, 2, pairs) if tiled else (0,), dtype=problem.real, device=device),
            last,
            *problem.place,
            TILED=tiled,
            REAL=problem.real_in_kernels,
            EVEN_SKIPS=EVEN_SKIPS,
            BLOCK=block,
            num_warps=warps,
            enable_fp_fusion=FUSED,
        )
        _trace_kernel[(size,)](
            problem.scores,
            lattices.tokens,
            lattices.frames,
            lattices.status,
            rows.top,
            rows.offset,
            moves,
            last,
            *found,
            *problem.place,
            BLOCK=TILE,
            num_warps=1,
            enable_fp_fusion=FUSED,
        )
    return found


_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_LARGEST = 2**26  # of frames and classes: what zeros can stand


def _integers(name: str, values: Lengths) -> Tensor:
    # Lists are the host's, whatever torch's default device: there they can be read, and to go back would be to wait.
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.int64, device="cpu")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise CTCError(f"{name} has dtype {str(tensor.dtype).removeprefix('torch.')}: expected integers")
    return tensor


def _check_scores(scores: Tensor, blank: int) -> None:
    if scores.ndim != 3 or scores.dtype not in _DTYPES or 0 in scores.shape[1:] or max(scores.shape) > _LARGEST:
        raise CTCError(
            f"scores has shape {tuple(scores.shape)} and dtype {str(scores.dtype).removeprefix('torch.')}: expected "
            f"(T, N, C) frames x batch x classes, N and C at least 1, float64, float32, bfloat16 or float16"
        )
    classes = scores.shape[2]
    if not 0 <= blank < classes:
        raise CTCError(f"blank = {blank} is not a class: scores has C={classes} classes (0..{classes - 1})")


def _validate(problem: Problem, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> None:
    """Raises what the CPU would. Waits for the device."""
    tokens, frames, lengths = (values.cpu().numpy() for values in (targets, input_lengths, target_lengths))
    shape = np.broadcast_to(np.float32(0), problem.scores.shape)  # no memory: only its shape is looked at
    ctc_problem(shape, tokens, frames, lengths, problem.blank, from_logits=problem.from_logits)


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


# ----------------------------------------------------------------------------------------------------------- public


class Posteriors(NamedTuple):
    """Occupancies γ, as in results.py, on tensors.

    Attributes:
        states: (T, N, K), by lattice state, K for the longest target.
        classes: (T, N, C), the same by class.
        score: float64 (N,), the total log-score in nats.
    """

    states: Tensor
    classes: Tensor
    score: Tensor


class BestPaths(NamedTuple):
    """The most probable path of each sample, as in results.py, on tensors.

    Attributes:
        states: int32 (N, T), -1 beyond a sample's frames and where there is no path.
        score: float64 (N,), in nats; -inf without a path; NaN where something is wrong with the sample.
    """

    states: Tensor
    score: Tensor


def problem(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool,
    validate: bool = False,
) -> Problem:
    """Checks the form of a call, which the kernels' memory safety rests on, and lays out its lattices on the device.

    Nothing here waits for the device, and it can be captured in a graph if targets and lengths are on the device. A
    sample with a wrong token or length is marked as such: its score will be NaN and its gradient NaN, all of it; the
    others are not touched by it. (With targets end to end, those after a wrong length are not where it says, and so are
    others' tokens or wrong.)

    Args:
        scores: (T, N, C), float64, float32, bfloat16 or float16, any strides; logits or log-probabilities.
        targets: (N, S) padded, or one dimension, all samples end to end; any integer dtype, on any device.
        input_lengths: (N,) frames of each sample, on any device.
        target_lengths: (N,) tokens of each sample, on any device. With targets end to end they are better on the CPU:
            from there the longest is known, and memory is taken for that many tokens, not for T.
        blank: the blank's class.
        from_logits: whether scores are logits.
        validate: raises the CPU's errors for wrong values, at the price of waiting for the device.

    Raises:
        CTCError: for malformed arguments, wrong values only on request.
    """
    _check_scores(scores, blank)
    frames, size, classes = scores.shape
    targets = _integers("targets", targets)
    if not (targets.ndim == 1 or (targets.ndim == 2 and targets.shape[0] == size)):
        raise CTCError(f"targets has shape {tuple(targets.shape)}: expected ({size}, S), or one dimension, end to end")
    lengths = []
    for name, values in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        lengths.append(_integers(name, values))
        if lengths[-1].shape != (size,):
            raise CTCError(f"{name} has shape {tuple(lengths[-1].shape)}: expected ({size},), one for each sample")
    longest = targets.shape[-1]
    if targets.ndim == 1:
        # The longest target is known if its length is the host's; if not, none that has a path is longer than T.
        longest = min(longest, int(lengths[1].max()) if lengths[1].is_cpu else frames)
    sizes = _Sizes(frames, size, classes, max(longest, 0) + 1)
    there = [values.to(scores.device, non_blocking=True) for values in (targets, *lengths)]
    with _on(scores.device):
        lattices = _lay_out(there[0], there[1].contiguous(), there[2].contiguous(), sizes, blank)
    made = Problem(scores.detach(), from_logits, blank, sizes, lattices)
    if validate:
        _validate(made, targets, *lengths)
    return made


def total(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool,
    weights: Tensor | None = None,
    grad: Tensor | None = None,
    validate: bool = False,
) -> Tensor:
    """Log-scores of all samples; writes the gradient of Σ weights·(-score) into ``grad`` if given.

    Arguments as for :func:`problem`. ``weights`` are (N,) factors of the samples' gradients, on the scores' device, 1
    by default. ``grad`` is (T, N, C), of the dtype and device of the scores, with any strides; every entry is written.

    Returns:
        float64 (N,): nats; -inf where the target can't be reached.
    """
    given = problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    sweep = Sweep(given, keep=grad is not None)
    if grad is not None:
        sweep.gradient(grad, weights)
    return sweep.score


def posteriors(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool = False,
    validate: bool = False,
) -> Posteriors:
    """Occupancies by state and by class; arguments as for :func:`problem`."""
    given = problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    frames, size, _, pairs = given.sizes
    states = torch.empty((frames, size, 2 * pairs - 1), dtype=given.real, device=scores.device)
    classes = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    sweep = Sweep(given, keep=True)
    sweep.occupancies(states, classes)
    return Posteriors(states, classes, sweep.score)


def best_path(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool = False,
    validate: bool = False,
) -> BestPaths:
    """Each sample's most probable path; arguments as for :func:`problem`.

    Of equally good paths, read from the end, that of the lowest states. Maxima are compared in the scores' precision,
    float32 at least, so in float32 the path may be one that is not worse by more than rounding; its score is its own,
    added up in float64.
    """
    return _find_best(
        problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    )
