"""CTC's own lattice of a target.

May import topologies.py and what that may import, validate/ and, of native/, the layout.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..native import lay_out
from ..validate import check_integer
from .arrays import numbers
from .graph import STAR
from .rule import ARCS_BY_ROLE
from .topologies import Lattice


def ctc_lattice(target: npt.ArrayLike, blank: int = 0) -> Lattice:
    """The CTC lattice of one target: K = 2S+1 states φ y1 φ … yS φ, with a blank needed between equal neighbours only.

    Args:
        target: integer (S,), without blanks. ``ctckit.STAR`` stands for any class, in lattices for
            :func:`ctckit.forced_align`.
        blank: the blank's class.

    Raises:
        CTCError: for a blank or a negative number in the target.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006).

    Example:
        >>> from ctckit import Arc
        >>> lattice = ctc_lattice([1, 1, 2])
        >>> lattice.labels.tolist()
        [0, 1, 0, 1, 0, 2, 0]
        >>> [bool(arc & Arc.SKIP) for arc in lattice.arcs]
        [False, False, False, False, False, True, False]
    """
    given = numbers("target", target, np.int64, (-1,))
    most = np.iinfo(np.int32).max
    numbers("blank", check_integer("blank", blank, 0), np.int32, ())
    tokens = np.where(given == STAR, most - 1, given)  # a class that no target has
    no_frames, lengths = np.zeros(1, np.int64), np.array([len(tokens)], np.int64)
    laid_out = lay_out(no_frames, tokens, lengths, 0, most, blank, ARCS_BY_ROLE)
    if isinstance(laid_out, tuple):
        s = laid_out[1]
        raise CTCError(f"target[{s}] = {tokens[s]} is not a token: expected classes other than the blank, {blank}")
    labels, state = laid_out.labels[0], np.arange(2 * len(tokens) + 1)
    return Lattice(
        np.where(labels == most - 1, STAR, labels), laid_out.arcs[0], np.where(state % 2 == 1, state // 2, -1)
    )
