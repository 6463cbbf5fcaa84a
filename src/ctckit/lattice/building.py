"""Lattices of a batch's targets, each built once.

May import topologies.py, ctc.py, validate/ and errors.py.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import as_integers, check_integer
from .ctc import ctc_lattice
from .topologies import Lattice


class LatticeBuilder:
    """Makes the lattices of a batch, and keeps them, since the same targets come again in every epoch.

    Args:
        build: makes a lattice of CTC's own lattice of a target, such as ``Lattice.selfless``.
        blank: the blank's class.
        keep: how many lattices are kept, those used last.

    Example:
        >>> selfless = LatticeBuilder(Lattice.selfless)
        >>> one, other, again = selfless([[1, 2], [3, 0], [1, 2]], [2, 1, 2])
        >>> one is again, other.target.tolist()
        (True, [3])
    """

    def __init__(self, build: Callable[[Lattice], Lattice], *, blank: int = 0, keep: int = 100_000) -> None:
        self._build, self._blank = build, check_integer("blank", blank, 0)
        self._most = check_integer("keep", keep, 1)
        self._kept: OrderedDict[bytes, Lattice] = OrderedDict()

    def __call__(self, targets: Any, target_lengths: npt.ArrayLike | None = None) -> list[Lattice]:
        """The lattice of each target.

        Args:
            targets: integer (N, S), padded; or, without lengths, a sequence of N targets of any lengths.
            target_lengths: (N,) tokens of each sample; all S if not given.

        Raises:
            CTCError: for targets of another shape, a wrong length, and what `build` refuses.
        """
        return [self._lattice(row) for row in _rows(targets, target_lengths)]

    def _lattice(self, target: npt.NDArray[np.int64]) -> Lattice:
        key = target.tobytes()
        found = self._kept.pop(key, None)
        self._kept[key] = found = found or self._build(ctc_lattice(target, self._blank))
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found


def _rows(targets: Any, target_lengths: Any) -> list[npt.NDArray[np.int64]]:
    ragged = isinstance(targets, Sequence) and len({np.size(row) for row in targets}) > 1
    if ragged and target_lengths is None:
        return [as_integers(f"targets[{n}]", row).astype(np.int64).reshape(-1) for n, row in enumerate(targets)]
    padded = as_integers("targets", targets)
    if padded.ndim != 2:
        raise CTCError(f"targets has shape {padded.shape}: expected (N, S), padded")
    rows = padded.astype(np.int64)
    if target_lengths is None:
        return list(rows)
    lengths = as_integers("target_lengths", target_lengths).reshape(-1)
    wrong = np.flatnonzero((lengths < 0) | (lengths > rows.shape[1]))
    if len(lengths) != len(rows) or len(wrong):
        n = int(wrong[0]) if len(wrong) else None
        what = f" has {len(lengths)} numbers" if n is None else f"[{n}] = {lengths[n]}"
        raise CTCError(f"target_lengths{what}: expected {len(rows)} numbers, each at most S={rows.shape[1]}")
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
