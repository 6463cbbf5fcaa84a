"""A checked batch as the kernels take it: scores, and for each sample its frames and its lattice.

May import check.py, lattice.py, errors.py, and of the extension the layout of lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .check import (
    LARGEST,
    Integers,
    Lengths,
    as_int64,
    check_blank,
    check_lengths,
    check_scores,
    check_targets,
    worded,
)
from .errors import CTCError
from .lattice import ARCS_BY_ROLE, Lattice
from .native import LatticeBatch, lay_out


class Problem(NamedTuple):
    """A checked batch.

    Attributes:
        scores: (T, N, C) view of the caller's array: float16, float32, float64, or the bits of bfloat16 as uint16.
        from_logits: whether scores are logits; otherwise they are taken as log-probabilities, as they are.
        prepared: of each sample, the frames used, the target's length and its lattice; copies, not the caller's memory.
        batched: False if the caller passed a single sample without the batch axis.
    """

    scores: npt.NDArray[Any]
    from_logits: bool
    prepared: LatticeBatch
    batched: bool

    @property
    def real(self) -> type[np.float64] | type[np.float32]:
        """The type that losses and occupancies of these scores have."""
        return np.float64 if self.scores.dtype == np.float64 else np.float32

    def lattice(self, n: int) -> Lattice:
        """Sample n's lattice, without padding."""
        k = self.prepared.num_states[n]
        jumps, tolls = self.prepared.long_arcs, self.prepared.entry_costs
        return Lattice(
            self.prepared.labels[n, :k],
            self.prepared.arcs[n, :k],
            jumps[jumps[:, 0] == n, 1:],
            None if tolls is None else tolls[n, :k],
        )


def ctc_problem(
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool,
    bfloat16: bool = False,
    shape: tuple[int, ...] | None = None,
) -> Problem:
    """Checks a CTC loss's arguments, all forms of them.

    Args:
        scores: (T, N, C), or (T, C) for one sample.
        targets: (N, S) padded or the samples' targets end to end in one dimension; (S,) for one sample.
        input_lengths: (N,) frames of each sample; a number for one sample.
        target_lengths: (N,) tokens of each sample; a number for one sample.
        blank: the blank's class.
        from_logits: whether scores are logits.
        bfloat16: scores holds bfloat16 bits in an array of 16-bit integers.
        shape: what the caller knows as the scores' shape, for messages, if not this one.

    Raises:
        CTCError: whatever is wrong, before any work.
    """
    name = "logits" if from_logits else "log_probs"
    checked, batched = check_scores(name, scores, bfloat16, shape)
    frames_max, size, classes = checked.shape
    if max(frames_max, classes) > LARGEST:
        raise CTCError(
            f"{name} has T={frames_max} frames and C={classes} classes: expected at most {LARGEST} of either; "
            "cut the sequence into parts"
        )
    check_blank(blank, name, classes)
    given_frames = check_lengths("input_lengths", input_lengths, size, batched)
    given_lengths = check_lengths("target_lengths", target_lengths, size, batched)
    given_targets = check_targets(targets, size, batched)
    prepared = lay_out(
        as_int64(given_frames),
        as_int64(given_targets if batched else np.atleast_2d(given_targets)),
        as_int64(given_lengths),
        frames_max,
        classes,
        blank,
        ARCS_BY_ROLE,
    )
    if isinstance(prepared, tuple):
        given = Integers(given_frames, given_targets, given_lengths)
        raise worded(prepared, given, name, checked.shape, blank, batched)
    return Problem(checked, from_logits, prepared, batched)


def with_lattices(problem: Problem, lattices: Sequence[Lattice], frames: Sequence[int] | None = None) -> Problem:
    """A checked batch with other lattices, whose labels are classes of its scores; and other frames, if given."""
    states = np.array([lattice.states for lattice in lattices], np.int32)
    labels = np.zeros((len(lattices), states.max()), np.int32)
    arcs = np.zeros(labels.shape, np.uint8)
    tolls = np.zeros(labels.shape) if any(lattice.tolls is not None for lattice in lattices) else None
    for n, lattice in enumerate(lattices):
        labels[n, : states[n]], arcs[n, : states[n]] = lattice.labels, lattice.arcs
        if tolls is not None and lattice.tolls is not None:
            tolls[n, : states[n]] = lattice.tolls
    jumps = [np.insert(lattice.jumps, 0, n, axis=1) for n, lattice in enumerate(lattices)]
    used = problem.prepared.frames if frames is None else np.array(frames, np.int64)
    prepared = LatticeBatch(used, states.astype(np.int64) // 2, labels, arcs, states, np.concatenate(jumps), tolls)
    return problem._replace(prepared=prepared)
