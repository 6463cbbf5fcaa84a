"""The CTC lattice as data: which states a target has, and which moves between them are legal.

This is the only place that knows the CTC rule: a table of arcs by role, which the extension lays out over targets and
whose bits the kernels read. May import errors.py, and of the extension that layout.

A target y1 … yS becomes the K = 2S+1 states φ y1 φ y2 … yS φ. A path visits one state a frame. It begins in one of the
first two states, ends in one of the last two, and from one frame to the next stays, steps to the next state, or skips
the φ between two *different* tokens (between equal ones the φ must be visited, or collapsing would merge them).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntFlag
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .errors import CTCError
from .native import lay_out

AT_ONCE = 5  # neighbouring groups that are passed by without a blank: two words, with what stands between

IntArray = npt.NDArray[np.integer]


class Arc(IntFlag):
    """How state k may be entered (from k, k-1, k-2), and whether a path may begin or end in it."""

    STAY = 1
    STEP = 2
    SKIP = 4
    START = 8
    END = 16


# What leads to a state before the first falls away when the table is laid out. Order as in native/layout.h.
ARCS_BY_ROLE = np.array(
    [
        Arc.STAY | Arc.STEP,  # a blank
        Arc.STAY | Arc.STEP | Arc.SKIP,  # a token
        Arc.STAY | Arc.STEP,  # a token equal to the one before it
        Arc.START,  # the first two states, besides
        Arc.END,  # the last two states, besides
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Lattice:
    """One target's states.

    Attributes:
        labels: int32 (K,), the class that each state emits.
        arcs: uint8 (K,), bits of :class:`Arc`.
        jumps: int32 (J, 2), arcs from a state to one further on than bits reach, in order of the latter; none in CTC's
            own lattices.
        tolls: float64 (K,), nats that a path pays to enter a state from another, or at its start; none in CTC's own
            lattices. Like jumps they are for best paths only.
    """

    labels: npt.NDArray[np.int32]
    arcs: npt.NDArray[np.uint8]
    jumps: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 2), np.int32))
    tolls: npt.NDArray[np.float64] | None = None

    @property
    def states(self) -> int:
        """K."""
        return len(self.labels)


def ctc_lattice(target: IntArray, blank: int = 0) -> Lattice:
    """The CTC lattice of one target.

    Args:
        target: integer (S,), without blanks.
        blank: the blank's class.

    Raises:
        CTCError: for a blank or a negative number in the target.

    Example:
        >>> lattice = ctc_lattice(np.array([1, 1, 2]))
        >>> lattice.labels.tolist()
        [0, 1, 0, 1, 0, 2, 0]
        >>> [bool(arc & Arc.SKIP) for arc in lattice.arcs]
        [False, False, False, False, False, True, False]
    """
    tokens = np.array(target, np.int64)
    no_frames, lengths = np.zeros(1, np.int64), np.array([len(tokens)], np.int64)
    made = lay_out(no_frames, tokens, lengths, 0, np.iinfo(np.int32).max, blank, ARCS_BY_ROLE)
    if isinstance(made, tuple):
        s = made[1]
        raise CTCError(f"target[{s}] = {tokens[s]} is not a token: expected classes other than the blank, {blank}")
    return Lattice(made.labels[0], made.arcs[0])


def with_optional(lattice: Lattice, groups: IntArray) -> Lattice:
    """A CTC lattice in which some of the target's tokens may be left out, group by group.

    A group is a run of equal positive numbers, such as a word's tokens. A path may pass it by on a jump, from the token
    before it or from the blank before it to the token after it, and up to ``AT_ONCE`` neighbouring groups likewise. Of
    more, each portion leaves a blank behind. Those that begin or end the target are passed by all at once.

    Args:
        lattice: that of the whole target.
        groups: integer (S,), the group of each token; 0 for a token that must be there.

    Example:
        >>> with_optional(ctc_lattice(np.array([1, 2, 3])), np.array([0, 7, 0])).jumps.tolist()
        [[1, 5], [2, 5]]
    """
    size = len(groups)
    bounds = [0, *(1 + np.flatnonzero(np.diff(groups))).tolist(), size] if size else [0]
    runs = [(first, end) for first, end in pairwise(bounds) if groups[first] > 0]
    arcs, jumps = lattice.arcs.copy(), []
    for i, (first, _) in enumerate(runs):
        before = 2 * first - 1  # states of the tokens around what is passed by; their blanks lie one nearer
        for j, (begin, end) in enumerate(runs[i : i + AT_ONCE]):
            if j and begin != runs[i + j - 1][1]:
                break  # no neighbour
            after = 2 * end + 1
            portion = j + 1 == AT_ONCE and end < size and groups[end] > 0  # there may be more to pass by
            for source in (before, before + 1)[first == 0 :]:
                if end < size and lattice.labels[source] != lattice.labels[after]:
                    jumps.append((source, after))
                if portion:
                    jumps.append((source, after - 1))
    for first, end in runs:
        if arcs[2 * first] & Arc.START:
            arcs[2 * end : 2 * end + 2] |= np.uint8(Arc.START)
    for first, end in reversed(runs):
        if arcs[2 * end] & Arc.END:
            arcs[max(2 * first - 1, 0) : 2 * first + 1] |= np.uint8(Arc.END)
    jumps.sort(key=lambda jump: jump[::-1])
    return replace(lattice, arcs=arcs, jumps=np.array(jumps, np.int32).reshape(-1, 2))


def equal_neighbours(target: IntArray) -> list[int]:
    """The positions s whose token equals the one before it: between these two a path must visit the blank.

    Example:
        >>> equal_neighbours(np.array([7, 7, 2, 2, 2]))
        [1, 3, 4]
    """
    target = np.asarray(target)
    return [int(s) for s in 1 + np.flatnonzero(target[1:] == target[:-1])]


def frames_needed(target: IntArray) -> int:
    """The fewest frames that can hold a target: S tokens plus a blank between each pair of equal neighbours.

    Example:
        >>> frames_needed(np.array([1, 1, 2]))
        4
    """
    return len(target) + len(equal_neighbours(target))
