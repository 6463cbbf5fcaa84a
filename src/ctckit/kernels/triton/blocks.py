"""The memory of a call: a few blocks of bytes, which are cut into pieces. One rule says where each piece is.

With an array for each piece, the host would need more time than a short batch needs on the GPU: for allocating them,
and for looking at them at each launch. So pieces that are needed equally long share a block, and a kernel finds them by
the batch's sizes. The functions that say where pieces begin take Python's numbers as well as Triton's: the host calls
the function below the decorator, ``fn``. All places are bytes from a block's beginning. N samples have T frames, C
classes and P pairs of states; R is float32, or float64 for scores in float64.

The lattice, until the gradient is written. With CTC's own lattices L is the number of tokens, P - 1, and pieces of
states are those of odd states, since all even ones emit the blank. With GENERAL, L is 2P: even states, then odd ones.

    frames    int64 (N,)        the number of used frames; 0 for a sample whose status is not OK
    lengths   int64 (N,)        the number of pairs before the last one, which has only an even state
    share     float64 (N,)      the sample's weight in a mean of scores per token; not with GENERAL
    status    int32 (N,)        OK, INFEASIBLE or INVALID
    common    int32 (N,)        the class with the most states; with GENERAL
    done      int32 (4,)        the first: how many samples' scores are known, while they are being computed; else 0
    added     float64 (N, 2, P) nats that are added to each state's emission; with GENERAL
    entry     float64 (N, 2, P) nats that are added when a path enters a state: minus its entry cost; with GENERAL
    labels    int32 (N, L)      each state's class; C, which is not a class, if the state doesn't exist
    order     int32 (N, L)      the states sorted by label: each class's states are one run, in the lattice's order
    ranges    int32 (2, N, C)   where in the order each class's run begins and ends; equal numbers if it has none
    arcs      uint8 (N, 2, P)   bits of ctckit.Arc; 0 for a state that doesn't exist

The kept block, until the gradient is written:

    peak      R (N, T)          the best score of all classes; like the next two only if the gradient has a softmax part
    inverse   R (N, T)          1 over the softmax's sum
    rest      R (N, T)          the softmax's sum without the best class's 1, summed separately to keep its digits
    occupancy R (N, T, 2, P)    not normalised; until the directions have met, the mantissas of rows
    counts    float64 (N, 2, 2, P)  how often each state is entered, in two parts, not normalised; only if it is needed

The results, which the caller gets: score, float64 (N,), nats; status, uint8 (N,), a ctckit.Status.

The scratch block, until the sums are known. (A best path has another one, which begins in the same way: see trace.py.)

    offset    float64 (N, T)          the factor common to all paths, nats; NaN if the frame holds NaN or +inf
    top       R (N, T)                the best score of the lattice's labels; emissions are relative to it
    wide      int8 (N, T)             whether labels are so far apart that emissions need scaled floats
    edges     R, int32 (N, 2, 2, P)   each direction's last row before they meet: mantissas, exponents
    progress  int32 (2N · parts + 1)  how many steps each program of the sweep has done, and how many programs began
    table     R (N, T, P)             emissions of the blank and each token, or with GENERAL of all states (N, T, 2, P)
    passed    R, int32 (N, 2, parts, 2, T)  with CUT: what a part of a row passes on to the next one at each step
    exponents int32 (N, T, 2, P)      of the rows; (N, T, P) if rows are packed, two in one

May import triton, tuning.py and batch.py.
"""

from __future__ import annotations

import triton
import triton.language as tl

from . import tuning
from .batch import Batch
from .tuning import Sizes


@triton.jit
def at(p_block, place, dtype: tl.constexpr):
    """A pointer to a block's numbers of some type."""
    return (p_block + place).to(tl.pointer_type(dtype), bitcast=True)


@triton.jit
def as_int64(count):
    """A count as int64. A caller that compiles anew for counts of 1 gives those as constants."""
    return tl.cast(count, tl.int64)


@triton.jit
def lattice_places(size, classes, pairs, GENERAL: tl.constexpr):
    """Where added, entry, labels, order, ranges and arcs begin, and where the block ends.

    Before them are frames, lengths, share, status, common and done.
    """
    added = 32 * size + 16
    entry = added + (16 * size * pairs if GENERAL else 0)
    labels = entry + (16 * size * pairs if GENERAL else 0)
    order = labels + 4 * size * (2 * pairs if GENERAL else pairs - 1)
    ranges = order + 4 * size * (2 * pairs if GENERAL else pairs - 1)
    arcs = ranges + 8 * size * classes
    return added, entry, labels, order, ranges, arcs, arcs + 2 * size * pairs


@triton.jit
def samples_of(p_lattice, size):
    """Pointers to each sample's frames, length, share, status and common class."""
    p_frames, size = at(p_lattice, 0, tl.int64), as_int64(size)
    p_share, p_status = at(p_lattice, 16 * size, tl.float64), at(p_lattice, 24 * size, tl.int32)
    return p_frames, p_frames + size, p_share, p_status, p_status + size


@triton.jit
def done_of(p_lattice, size):
    """A pointer to the number of known scores."""
    return at(p_lattice, 32 * as_int64(size), tl.int32)


@triton.jit
def states_of(p_lattice, size, classes, pairs, GENERAL: tl.constexpr):
    """Pointers to labels, arcs, added scores and entry scores; the last two are not to be read without GENERAL."""
    added, entry, labels, _, _, arcs, _ = lattice_places(as_int64(size), classes, pairs, GENERAL)
    p_added, p_entry = at(p_lattice, added, tl.float64), at(p_lattice, entry, tl.float64)
    return at(p_lattice, labels, tl.int32), at(p_lattice, arcs, tl.uint8), p_added, p_entry


@triton.jit
def runs_of(p_lattice, size, classes, pairs, GENERAL: tl.constexpr):
    """Pointers to the states in order, and to the beginnings and ends of runs."""
    _, _, _, order, ranges, _, _ = lattice_places(as_int64(size), classes, pairs, GENERAL)
    p_begin = at(p_lattice, ranges, tl.int32)
    return at(p_lattice, order, tl.int32), p_begin, p_begin + as_int64(size) * classes


@triton.jit
def kept_places(size, frames, pairs, DOUBLE: tl.constexpr):
    """Where inverse, rest, occupancy and counts begin."""
    BYTES: tl.constexpr = 8 if DOUBLE else 4
    inverse = BYTES * size * frames
    occupancy = (3 * inverse + 15) // 16 * 16
    return inverse, 2 * inverse, occupancy, occupancy + (2 * pairs * inverse + 15) // 16 * 16


@triton.jit
def softmax_of(p_kept, size, frames, DOUBLE: tl.constexpr):
    """Pointers to peak, inverse and rest."""
    inverse, rest, _, _ = kept_places(as_int64(size), frames, 0, DOUBLE)
    REAL: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    return at(p_kept, 0, REAL), at(p_kept, inverse, REAL), at(p_kept, rest, REAL)


@triton.jit
def occupancy_of(p_kept, size, frames, pairs, DOUBLE: tl.constexpr):
    """Pointers to occupancies and counts."""
    _, _, occupancy, counts = kept_places(as_int64(size), frames, pairs, DOUBLE)
    return at(p_kept, occupancy, tl.float64 if DOUBLE else tl.float32), at(p_kept, counts, tl.float64)


@triton.jit
def results_of(p_results, size):
    """Pointers to scores and statuses."""
    return at(p_results, 0, tl.float64), p_results + 8 * as_int64(size)


@triton.jit
def statistics_places(size, frames, DOUBLE: tl.constexpr):
    """Where top and wide begin, and where a scratch block goes on."""
    top = 8 * size * frames
    wide = top + (8 if DOUBLE else 4) * size * frames
    return top, wide, (wide + size * frames + 15) // 16 * 16


@triton.jit
def statistics_of(p_scratch, size, frames, DOUBLE: tl.constexpr):
    """Pointers to offset, top and wide."""
    top, wide, _ = statistics_places(as_int64(size), frames, DOUBLE)
    p_top = at(p_scratch, top, tl.float64 if DOUBLE else tl.float32)
    return at(p_scratch, 0, tl.float64), p_top, at(p_scratch, wide, tl.int8)


@triton.jit
def sums_places(edges_m, size, frames, pairs, parts, GENERAL: tl.constexpr, CUT: tl.constexpr, DOUBLE: tl.constexpr):
    """Where edges' exponents, progress, table, passed (twice) and exponents begin, if the first edges do at edges_m."""
    BYTES: tl.constexpr = 8 if DOUBLE else 4
    edges_e = edges_m + 4 * BYTES * size * pairs
    progress = edges_e + 16 * size * pairs
    table = progress + (4 * (2 * size * parts + 1) + 15) // 16 * 16
    passed_m = table + BYTES * size * frames * (2 * pairs if GENERAL else pairs)
    passed_e = passed_m + (4 * BYTES * size * parts * frames if CUT else 0)
    return edges_e, progress, table, passed_m, passed_e, passed_e + (16 * size * parts * frames if CUT else 0)


@triton.jit
def edges_of(p_scratch, size, frames, pairs, DOUBLE: tl.constexpr):
    """Pointers to the edges' mantissas and exponents."""
    _, _, begin = statistics_places(as_int64(size), frames, DOUBLE)
    edges_e, _, _, _, _, _ = sums_places(begin, as_int64(size), frames, pairs, 1, False, False, DOUBLE)
    return at(p_scratch, begin, tl.float64 if DOUBLE else tl.float32), at(p_scratch, edges_e, tl.int32)


@triton.jit
def table_of(p_scratch, size, frames, pairs, parts, DOUBLE: tl.constexpr):
    """Pointers to the progress and the table of emissions."""
    _, _, begin = statistics_places(as_int64(size), frames, DOUBLE)
    _, progress, table, _, _, _ = sums_places(begin, as_int64(size), frames, pairs, parts, False, False, DOUBLE)
    return at(p_scratch, progress, tl.int32), at(p_scratch, table, tl.float64 if DOUBLE else tl.float32)


@triton.jit
def sweep_of(p_scratch, size, frames, pairs, parts, GENERAL: tl.constexpr, CUT: tl.constexpr, DOUBLE: tl.constexpr):
    """Pointers to what is passed on, mantissas and exponents, and to the exponents of rows."""
    _, _, begin = statistics_places(as_int64(size), frames, DOUBLE)
    _, _, _, passed_m, passed_e, exponents = sums_places(
        begin, as_int64(size), frames, pairs, parts, GENERAL, CUT, DOUBLE
    )
    p_passed_m = at(p_scratch, passed_m, tl.float64 if DOUBLE else tl.float32)
    return p_passed_m, at(p_scratch, passed_e, tl.int32), at(p_scratch, exponents, tl.int32)


def packed(batch: Batch) -> bool:
    """Whether rows are stored with exponents of 25 bits, in three quarters of the memory."""
    return not (batch.double or batch.general) and batch.sizes.frames <= tuning.MOST_PACKED


def lattice_size(sizes: Sizes, *, general: bool) -> int:
    """Bytes of a lattice block."""
    return int(lattice_places.fn(sizes.size, sizes.classes, sizes.pairs, general)[-1])


def kept_size(batch: Batch, *, keep: bool, count: bool = False) -> int:
    """Bytes of a kept block, without occupancies unless ``keep``, and without counts unless ``count``."""
    frames, size, _, pairs = batch.sizes
    _, _, occupancy, counts = kept_places.fn(size, frames, pairs, batch.double)
    return int(counts + 32 * size * pairs if count else counts if keep else occupancy)


def results_size(sizes: Sizes) -> int:
    """Bytes of the results."""
    return 9 * sizes.size


def sums_size(batch: Batch, *, keep: bool) -> int:
    """Bytes of a scratch block for sums, without the rows' exponents unless ``keep``."""
    frames, size, _, pairs = batch.sizes
    parts = tuning.lanes(pairs).parts
    begin = statistics_places.fn(size, frames, batch.double)[-1]
    exponents = sums_places.fn(begin, size, frames, pairs, parts, batch.general, parts > 1, batch.double)[-1]
    return int(exponents + keep * (4 if packed(batch) else 8) * size * frames * pairs)
