"""The CTC rule, which stands here and nowhere else: what arcs are, which a state has by its role, and what follows.

Imports NumPy only.
"""

from __future__ import annotations

from enum import IntFlag

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


# What leads to a state before the first is removed when the table is laid out. Order as in native/layout.h.
ARCS_BY_ROLE = np.array(
    [
        Arc.STAY | Arc.STEP,  # a blank
        Arc.STAY | Arc.STEP | Arc.SKIP,  # a token
        Arc.STAY | Arc.STEP,  # a token equal to the one before it
        Arc.START,  # in addition, for the first two states
        Arc.END,  # in addition, for the last two states
    ],
    np.uint8,
)

MOVES = (
    (int(Arc.STEP), 1),
    (int(Arc.SKIP), 2),
)  # the bits of arcs from other states, and how far back these are


def equal_neighbours(target: IntArray) -> list[int]:
    """The indices s of tokens that equal the one before: between these two a path must visit the blank.

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
