"""A checked batch as the kernels take it: scores, and for each sample its frames and its lattice.

May import validate/, lattice.py, and of the extension the layout of lattices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import _native
from .lattice import ARCS_BY_ROLE, Lattice
from .validate import Form, as_array, as_integers, check_form, check_values


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
    prepared: _native.Prepared
    batched: bool

    @property
    def real(self) -> type[np.float64] | type[np.float32]:
        """The type that losses and occupancies of these scores have."""
        return np.float64 if self.scores.dtype == np.float64 else np.float32

    def lattice(self, n: int) -> Lattice:
        """Sample n's lattice, without padding."""
        k = self.prepared.states[n]
        jumps, tolls = self.prepared.jumps, self.prepared.tolls
        return Lattice(
            self.prepared.labels[n, :k],
            self.prepared.arcs[n, :k],
            jumps[jumps[:, 0] == n, 1:],
            None if tolls is None else tolls[n, :k],
        )


def ctc_problem(
    scores: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int,
    *,
    from_logits: bool,
    form: Form | None = None,
) -> Problem:
    """Checks a CTC loss's arguments, all forms of them.

    Args:
        scores: (T, N, C), or (T, C) for one sample.
        targets: (N, S) padded or the samples' targets end to end in one dimension; (S,) for one sample.
        input_lengths: (N,) frames of each sample; a number for one sample.
        target_lengths: (N,) tokens of each sample; a number for one sample.
        blank: the blank's class.
        from_logits: whether scores are logits.
        form: the call's, if the caller has checked it. Then all are arrays already, scores frames first, and bfloat16
            may be the 16-bit integers of its bits.

    Raises:
        CTCError: whatever is wrong, before any work.
    """
    if form is None:
        scores = as_array("logits" if from_logits else "log_probs", scores)
        targets = as_integers("targets", targets)
        input_lengths = as_integers("input_lengths", input_lengths)
        target_lengths = as_integers("target_lengths", target_lengths)
        form = check_form(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    array, tokens, frames, lengths = map(np.asarray, (scores, targets, input_lengths, target_lengths))
    prepared = _native.prepare(
        np.ascontiguousarray(frames, np.int64),  # one dimension at least
        np.ascontiguousarray(tokens if form.batched else np.atleast_2d(tokens), np.int64),
        np.ascontiguousarray(lengths, np.int64),
        form.num_frames,
        form.classes,
        blank,
        ARCS_BY_ROLE,
    )
    if isinstance(prepared, tuple):  # a number too large for int64 has become negative, which is wrong as well
        check_values(form, blank, tokens, frames, lengths, from_logits=from_logits)
        raise RuntimeError(f"the extension finds fault with {prepared}, validate/ with nothing: please report this")
    if form.dtype == "bfloat16" and array.dtype.kind == "V":
        array = array.view(np.uint16)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return Problem(array if form.batched else array[:, None], from_logits, prepared, form.batched)


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
    prepared = _native.Prepared(used, states.astype(np.int64) // 2, labels, arcs, states, np.concatenate(jumps), tolls)
    return problem._replace(prepared=prepared)
