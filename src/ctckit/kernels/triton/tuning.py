"""How work is divided into programs: sizes of blocks and tiles, warps; and what keeps launches short.

These numbers change the speed, not results. May import triton; no torch, here or in any module of kernels.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import triton.language as tl

LARGEST_BLOCK = 2048  # how many pairs of states one program keeps in registers; longer rows are in memory
LARGEST_PART = 1024  # likewise for the sums' sweep, which cuts longer rows into parts; more would not fit in registers
SMALLEST_BLOCK = 32  # a pair for each thread of a warp
TILE = 256  # pairs per step of sums over states and of rows in memory; fixed, since it determines a sum's order
LANES = 32  # threads of a warp among which a row of a best path is divided
EACH = 5, 9  # how many pairs of such a row a thread holds at most; with 6 to 9 compiling takes up to half a minute
MOST_PACKED = 1 << 16  # of how many frames exponents may have 25 bits: a frame's are below 129
GROUP = 8  # after how many frames a best path's sweep stores moves, and warps exchange pairs
ROWS_TILE = 2048  # how many scores one program reads at a time: several frames, or a part of one

# Allows multiply and add with one rounding. Passed at each launch, since Triton warns that its default will change.
FUSED = True

# Arguments that Triton must not specialise for (it recompiles for 1 and for multiples of 16, which takes seconds).
# Sizes differ from batch to batch, and specialising for them gains nothing; nor does specialising for strides, except
# where whole rows are read.
SIZES = ["frames_max", "size", "classes", "blank", "o_blank", "pairs", "available", "most", "parts"]
SIZES_AND_STRIDES = [*SIZES, "stride_t", "stride_n", "stride_c", "stride_s"]


class Constant(tl.constexpr):  # type: ignore[misc]
    """A global constant of kernels. At each launch Triton compares all that a kernel uses with what they were before.

    A step compares some seventy. By constexpr's own way, which makes another constexpr, that takes the host 40 us.
    """

    def __ne__(self, other: Any) -> bool:
        return bool(self.value != other.value)


class Sizes(NamedTuple):
    """T, N, C, and the number of pairs of states in the longest lattice."""

    frames: int
    size: int
    classes: int
    pairs: int


def power_of_two(count: int) -> int:
    """The least power of two that is not below a count; Triton's own function takes the host 2 us."""
    return 1 << (count - 1).bit_length() if count > 1 else 1


class RowBlock(NamedTuple):
    """How a program stores a row of states.

    Attributes:
        block: how many pairs it holds at a time.
        tiled: whether a block is only a tile of the row; then rows are in memory.
        num_warps: warps per program.
    """

    block: int
    tiled: bool
    num_warps: int


def row_block(pairs: int) -> RowBlock:
    """The block for rows of this many pairs."""
    block = power_of_two(pairs)
    if block > LARGEST_BLOCK:
        return RowBlock(min(block, TILE), True, 8)
    return RowBlock(block, False, min(max(block // 64, 1), 16))


class Lanes(NamedTuple):
    """How a row of the sums' sweep is divided.

    Attributes:
        each: how many neighbouring pairs each thread holds.
        number: the number of threads of a program.
        parts: the number of programs that share a row.
    """

    each: int
    number: int
    parts: int


def lanes(pairs: int) -> Lanes:
    """The threads for rows of this many pairs: two pairs each, and only one if a warp holds the row."""
    block = min(max(power_of_two(pairs), SMALLEST_BLOCK), LARGEST_PART)
    each = 2 if block > SMALLEST_BLOCK else 1
    return Lanes(each, block // each, -(-pairs // block))


def row_blocks(classes: int, labels: int) -> tuple[int, int, int]:
    """How many classes, labels, and frames a program reads at a time, when all frames are read first."""
    block, tile = min(ROWS_TILE, power_of_two(classes)), min(ROWS_TILE, power_of_two(labels))
    return block, tile, ROWS_TILE // max(block, tile)


def score_block(classes: int) -> tuple[int, int]:
    """How many classes, and how many frames, a program reads at a time."""
    block = min(ROWS_TILE, power_of_two(classes))
    return block, ROWS_TILE // block


class BestRow(NamedTuple):
    """How a program stores a row of a best path's sweep.

    Attributes:
        warps: warps per program; a power of two.
        lanes: threads per warp.
        each: how many pairs each thread holds; 0 if rows are in memory.
    """

    warps: int
    lanes: int
    each: int

    @property
    def pairs(self) -> int:
        """How many pairs the threads hold. The first lane holds none, and GROUP of a warp's are the warp's below it."""
        return (self.warps * self.lanes - 1) * self.each - (self.warps - 1) * GROUP

    @property
    def cycles(self) -> float:
        """An estimate of a frame's cycles, to choose by; not measured yet.

        A frame is about 6 + 23 · each instructions (counted for an H100). A warp that is alone on one of the four
        schedulers takes 2.6 cycles for each (measured on an H200 for another sweep); several warps together are assumed
        to take 1.4, since a scheduler begins at most one per cycle. An exchange between warps is assumed to take 80
        cycles, for two barriers, a store and a load of shared memory; there are each + 1 of them in GROUP frames.
        """
        exchanges = (self.each + 1) * 80 / GROUP if self.warps > 1 else 0
        return (6 + 23 * self.each) * max(2.6, self.warps / 4 * 1.4) + exchanges


@cache
def best_row(pairs: int) -> BestRow:
    """The quickest way to store rows of this many pairs for a best path."""
    for most in EACH:
        ways = (BestRow(1 << log, LANES, each) for log in range(6) for each in range(1, most + 1))
        if enough := [way for way in ways if way.pairs >= pairs]:
            return min(enough, key=lambda way: way.cycles)
    return BestRow(8, LANES, 0)
