"""The CTC lattice as data: which states a target has, and which moves between them are legal.

This is the only place that knows the CTC rule: a table of arcs by role, which the extension lays out over targets and
whose bits the kernels read. May import NumPy, and of the extension that layout; nothing else of ctckit.

A target y1 … yS becomes the K = 2S+1 states φ y1 φ y2 … yS φ. A path visits one state a frame. It begins in one of the
first two states, ends in one of the last two, and from one frame to the next stays, steps to the next state, or skips
the φ between two *different* tokens (between equal ones the φ must be visited, or collapsing would merge them).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from . import _native

IntArray = npt.NDArray[np.integer]
Int64Array = npt.NDArray[np.int64]


class Arc(IntFlag):
    """How state k may be entered (from k, k-1, k-2), and whether a path may begin or end in it."""

    STAY = 1
    STEP = 2
    SKIP = 4
    START = 8
    END = 16


# What leads to a state before the first falls away when the table is laid out. Order as in native/prepare.h.
_ARCS_BY_ROLE = np.array(
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
    """

    labels: npt.NDArray[np.int32]
    arcs: npt.NDArray[np.uint8]

    @property
    def states(self) -> int:
        """K."""
        return len(self.labels)


@dataclass(slots=True)
class LatticeBatch:
    """Lattices of a batch, padded to the longest.

    Attributes:
        labels: int32 (N, K).
        arcs: uint8 (N, K); 0 in the padding.
        states: int32 (N,), each lattice's own K.
    """

    labels: npt.NDArray[np.int32]
    arcs: npt.NDArray[np.uint8]
    states: npt.NDArray[np.int32]

    def __getitem__(self, n: int) -> Lattice:
        """Sample n's lattice, without padding."""
        k = int(self.states[n])
        return Lattice(self.labels[n, :k], self.arcs[n, :k])


def ctc_lattices(targets: Int64Array, lengths: Int64Array, blank: int = 0) -> LatticeBatch:
    """The CTC lattices of a batch of targets.

    Args:
        targets: int64 (N, S), entries at and beyond a row's length ignored; or all targets end to end.
        lengths: int64 (N,), each within 0..S; end to end, they add up to all tokens.
        blank: the blank's class; no target may hold it.

    Example:
        >>> ctc_lattices(np.array([[3, 3], [5, 0]]), np.array([2, 1])).labels
        array([[0, 3, 0, 3, 0],
               [0, 5, 0, 0, 0]], dtype=int32)
    """
    size = len(lengths)
    longest = targets.shape[1] if targets.ndim == 2 else max(lengths.tolist(), default=0)
    shape = size, 2 * longest + 1
    lattices = LatticeBatch(np.empty(shape, np.int32), np.empty(shape, np.uint8), np.empty(size, np.int32))
    _native.expand(targets, lengths, blank, _ARCS_BY_ROLE, lattices.labels, lattices.arcs, lattices.states)
    return lattices


def ctc_lattice(target: IntArray, blank: int = 0) -> Lattice:
    """The CTC lattice of one target.

    Args:
        target: integer (S,), without blanks.
        blank: the blank's class.

    Example:
        >>> lattice = ctc_lattice(np.array([1, 1, 2]))
        >>> lattice.labels.tolist()
        [0, 1, 0, 1, 0, 2, 0]
        >>> [bool(arc & Arc.SKIP) for arc in lattice.arcs]
        [False, False, False, False, False, True, False]
    """
    tokens = np.array(target, np.int64)
    return ctc_lattices(tokens, np.array([len(tokens)]), blank)[0]


def frames_needed(target: IntArray) -> int:
    """The fewest frames that can hold a target: S tokens plus a blank between each pair of equal neighbours.

    Example:
        >>> frames_needed(np.array([1, 1, 2]))
        4
    """
    target = np.asarray(target)
    return len(target) + int((target[1:] == target[:-1]).sum())
