"""Lays out CTC lattices on the device: applies the table of arcs in ctckit/lattice/rule.py to each target.

The host never reads a token or a length. Errors in a sample become its status. May import triton, tuning.py, launch.py,
blocks.py, ctckit/lattice/ and ctckit/results.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ...lattice import ARCS_BY_ROLE, Arc
from ...results import Status
from . import tuning
from .blocks import done_of, runs_of, samples_of, states_of
from .launch import Memory, launch
from .tuning import SIZES_AND_STRIDES, Constant, Sizes, power_of_two

STAY, STEP, SKIP = Constant(int(Arc.STAY)), Constant(int(Arc.STEP)), Constant(int(Arc.SKIP))
START, END = Constant(int(Arc.START)), Constant(int(Arc.END))
BLANK_ROLE, TOKEN_ROLE, REPEAT_ROLE, START_ROLE, END_ROLE = (Constant(role) for role in ARCS_BY_ROLE.tolist())
# Whether CTC's lattices have the shape that the kernels' fast path needs.
PLAIN = not ARCS_BY_ROLE[0] & Arc.SKIP and all(role & Arc.STAY and role & Arc.STEP for role in ARCS_BY_ROLE[:3])

# A sample's status, with the numbers of ctckit.Status.
OK, INFEASIBLE, IMPOSSIBLE, NOT_FINITE, INVALID = (Constant(int(status)) for status in Status)


@triton.jit
def _token(p_targets, stride, s, mask):
    return tl.load(p_targets + s * stride, mask=mask, other=0).to(tl.int64)


@triton.jit
def _sort(p_labels, p_order, count, BLOCK: tl.constexpr, INNER: tl.constexpr):
    """Sorts one sample's labels: the place of each is the number of labels that come before it."""
    for s0 in range(0, count, BLOCK):
        s = s0 + tl.arange(0, BLOCK)
        b_label = tl.load(p_labels + s, mask=s < count, other=0)
        b_before = tl.zeros((BLOCK, INNER), tl.int32)
        for r0 in range(0, count, INNER):
            r = r0 + tl.arange(0, INNER)
            b_other = tl.load(p_labels + r, mask=r < count, other=2147483647)
            less = b_other[None, :] < b_label[:, None]
            before = less | ((b_other[None, :] == b_label[:, None]) & (r[None, :] < s[:, None]))
            b_before += before.to(tl.int32)
        tl.store(p_order + tl.sum(b_before, axis=1), s, mask=s < count)


@triton.jit
def _sorted_label(p_labels, p_order, i, exists, other):
    return tl.load(p_labels + tl.load(p_order + i, mask=exists, other=0), mask=exists, other=other)


@triton.jit
def _find_runs(p_labels, p_order, p_begin, p_end, classes, count, BLOCK: tl.constexpr):
    """Writes where each label's run begins and ends, in order by label. C, which is not a class, has no run."""
    for i0 in range(0, count, BLOCK):
        i = i0 + tl.arange(0, BLOCK)
        b_label = _sorted_label(p_labels, p_order, i, i < count, classes)
        b_before = _sorted_label(p_labels, p_order, i - 1, (i > 0) & (i < count), -1)
        b_after = _sorted_label(p_labels, p_order, i + 1, i + 1 < count, classes)
        tl.store(p_begin + b_label, i, mask=(b_label != b_before) & (b_label < classes))
        tl.store(p_end + b_label, i + 1, mask=(b_label != b_after) & (b_label < classes))


@triton.jit
def _clear(p_out, count, BLOCK: tl.constexpr):
    for i0 in range(0, count, BLOCK):
        i = i0 + tl.arange(0, BLOCK)
        tl.store(p_out + i, tl.zeros((BLOCK,), tl.int32), mask=i < count)


@triton.jit(do_not_specialize=SIZES_AND_STRIDES)
def _lattice_kernel(
    p_targets,
    p_begins,
    p_input_lengths,
    p_target_lengths,
    p_lattice,
    stride_n,
    stride_s,
    frames_max,
    size,
    classes,
    pairs,
    blank,
    available,
    FLAT: tl.constexpr,
    BLOCK: tl.constexpr,
    INNER: tl.constexpr,
    FILL: tl.constexpr,
):
    """Writes the arcs of one sample's target, sorts its tokens, and finds the sample's status."""
    n = tl.program_id(0).to(tl.int64)
    p_frames, p_lengths, p_share, p_status, _ = samples_of(p_lattice, size)
    p_labels, p_arcs, _, _ = states_of(p_lattice, size, classes, pairs, False)
    p_order, p_begin, p_end = runs_of(p_lattice, size, classes, pairs, False)
    b_frames = tl.load(p_input_lengths + n).to(tl.int64)
    b_length = tl.load(p_target_lengths + n).to(tl.int64)
    # If targets are end to end, each begins where the previous one ends. Nothing outside the tokens may be read.
    if FLAT:
        b_begin = tl.load(p_begins + n)
        room = available - b_begin
        p_target = p_targets + b_begin * stride_s
        sound = (b_begin >= 0) & (b_length <= room)
    else:
        p_target = p_targets + n * stride_n
        sound = b_length <= available
    sound = sound & (b_frames >= 0) & (b_frames <= frames_max) & (b_length >= 0)
    too_long = b_length > pairs - 1  # then it is also longer than the frames
    b_length = tl.where(sound & (too_long == 0), b_length, 0)
    b_wrong = tl.where(sound, 0, 1)
    b_detours = tl.zeros((), tl.int64)  # the number of even states that no path can skip
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
        tl.store(p_labels + n * (pairs - 1) + s, b_token.to(tl.int32), mask=s < pairs - 1)
    b_status = tl.where(too_long | (b_frames < b_length + b_detours), INFEASIBLE, OK)
    b_status = tl.where(b_wrong != 0, INVALID, b_status)
    tl.store(p_status + n, b_status)
    tl.store(done_of(p_lattice, size), 0, mask=n == 0)
    tl.store(p_frames + n, tl.where(b_status == OK, b_frames, 0))
    b_length = tl.where(b_status == INVALID, 0, b_length)
    tl.store(p_lengths + n, b_length)
    tl.store(p_share + n, 1.0 / (tl.maximum(b_length, 1) * size).to(tl.float64))
    p_label, p_place = p_labels + n * (pairs - 1), p_order + n * (pairs - 1)
    p_begin, p_end = p_begin + n * classes, p_end + n * classes
    _clear(p_begin, classes, FILL)
    _clear(p_end, classes, FILL)
    tl.debug_barrier()
    _sort(p_label, p_place, pairs - 1, BLOCK, INNER)
    tl.debug_barrier()
    _find_runs(p_label, p_place, p_begin, p_end, classes, pairs - 1, BLOCK)


@triton.jit
def store_score(p_score, p_final, score, status, frames, alive, offset):
    """Stores a sample's final score and status; returns the score.

    Args:
        p_score: the score is written here.
        p_final: the status is written here.
        score: the log-score, if the status is OK.
        status: OK, INFEASIBLE or INVALID, as known before the sweep.
        frames: the number of the sample's frames; if it is 0, the score is 0.
        alive: whether any path has a probability above 0.
        offset: the factor common to all paths, NaN if a frame holds NaN or +inf.
    """
    score = tl.where(frames == 0, 0.0, score)
    final = tl.where(offset != offset, NOT_FINITE, tl.where(alive | (frames == 0), OK, IMPOSSIBLE))
    final = tl.where(status == OK, final, status)
    score = tl.where((final == IMPOSSIBLE) | (final == INFEASIBLE), float("-inf"), score)
    score = tl.where((final == NOT_FINITE) | (final == INVALID), float("nan"), score)
    tl.store(p_score, score)
    tl.store(p_final, final.to(tl.uint8))
    return score


def lay_out(
    targets: Memory,
    begins: Memory,
    input_lengths: Memory,
    target_lengths: Memory,
    lattice: Memory,
    sizes: Sizes,
    blank: int,
) -> None:
    """Launches the kernel that lays out all lattices.

    Args:
        targets: (N, S) padded, or one dimension, all samples end to end.
        begins: int64 (N,), where each target begins; read only if targets are end to end.
        input_lengths: (N,) integers, contiguous.
        target_lengths: (N,) integers, contiguous.
        lattice: the block of CTC's own lattices, written.
        sizes: the sizes of the batch.
        blank: the blank's class.
    """
    flat = targets.ndim == 1
    launch(
        _lattice_kernel,
        (sizes.size,),
        targets,
        begins,
        input_lengths,
        target_lengths,
        lattice,
        0 if flat else targets.stride(0),
        targets.stride(-1),
        *sizes,
        blank,
        targets.shape[-1],
        FLAT=flat,
        BLOCK=min(tuning.TILE, power_of_two(sizes.pairs)),
        INNER=16,
        FILL=min(1024, power_of_two(sizes.classes)),
        num_warps=4 if sizes.pairs <= tuning.TILE else 16,  # the sort compares all tokens with each other
        enable_fp_fusion=tuning.FUSED,
    )
