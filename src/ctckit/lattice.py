"""The CTC lattice as data: which states a target has, and which moves between them are legal.

This is the only place that knows the CTC rule; kernels read arc bits. May import NumPy, nothing of ctckit.

A target y1 … yS becomes the K = 2S+1 states φ y1 φ y2 … yS φ. A path visits one state a frame. It begins in one of the
first two states, ends in one of the last two, and from one frame to the next stays, steps to the next state, or skips
the φ between two *different* tokens (between equal ones the φ must be visited, or collapsing would merge them).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer]


class Arc(IntFlag):
    """How state k may be entered (from k, k-1, k-2), and whether a path may begin or end in it."""

    STAY = 1
    STEP = 2
    SKIP = 4
    START = 8
    END = 16


_SKIP, _END = np.uint8(Arc.SKIP), np.uint8(Arc.END)


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


@dataclass(frozen=True)
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


def ctc_lattices(targets: IntArray, lengths: IntArray, blank: int = 0) -> LatticeBatch:
    """The CTC lattices of a padded batch of targets.

    Args:
        targets: integer (N, S); entries at and beyond a row's length are ignored.
        lengths: integer (N,), each within 0..S.
        blank: the blank's class; no target may hold it.

    Example:
        >>> ctc_lattices(np.array([[3, 3], [5, 0]]), np.array([2, 1])).labels
        array([[0, 3, 0, 3, 0],
               [0, 5, 0, 0, 0]], dtype=int32)
    """
    size, longest = targets.shape
    count = 2 * longest + 1
    labels = np.full((size, count), blank, np.int32)
    labels[:, 1::2] = targets
    arcs = np.repeat(_row_of_arcs(count), size, axis=0)
    arcs[:, 3::2] |= _SKIP * (targets[:, 1:] != targets[:, :-1])

    numbers = lengths.tolist()  # for so few, lists are faster than arrays
    states = np.array([2 * length + 1 for length in numbers], np.int32)
    if min(numbers, default=longest) == longest:
        return LatticeBatch(labels, arcs, states)
    beyond = np.arange(count) - states[:, None]  # -2 and -1 at a lattice's last two states
    arcs &= ~_END
    arcs[(beyond == -2) | (beyond == -1)] |= _END
    labels[beyond >= 0] = blank
    arcs[beyond >= 0] = 0
    return LatticeBatch(labels, arcs, states)


@lru_cache(maxsize=256)
def _row_of_arcs(count: int) -> npt.NDArray[np.uint8]:
    """(1, K): the arcs of a lattice of K states, but for the skips, which depend on the target."""
    row = np.full((1, count), Arc.STAY | Arc.STEP, np.uint8)
    row[:, 0] = Arc.STAY  # there is no state before the first
    row[:, :2] |= np.uint8(Arc.START)
    row[:, -2:] |= _END
    row.flags.writeable = False
    return row


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
    target = np.asarray(target)
    return ctc_lattices(target[None], np.array([len(target)]), blank)[0]


def frames_needed(target: IntArray) -> int:
    """The fewest frames that can hold a target: S tokens plus a blank between each pair of equal neighbours.

    Example:
        >>> frames_needed(np.array([1, 1, 2]))
        4
    """
    target = np.asarray(target)
    return len(target) + int((target[1:] == target[:-1]).sum())
