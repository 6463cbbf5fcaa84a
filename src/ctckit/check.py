"""Validation, once, at the public call: whatever the caller passed becomes one `Problem`, or one clear `CTCError`.

Form is checked here, values by the extension, and messages worded here. May import lattice.py, errors.py, and of the
extension the search for faults. Kernels trust what comes out of here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from . import _native
from .errors import CTCError
from .lattice import ARCS_BY_ROLE, Lattice

Reduction = Literal["none", "mean", "sum"]
Lengths = npt.ArrayLike

_REDUCTIONS = ("none", "mean", "sum")
_LARGEST = 2**26  # of frames, classes and tokens: days of speech, and what the kernels' numbers are good for


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
    checked, batched = _check_scores(name, scores, bfloat16, shape)
    frames_max, size, classes = checked.shape
    if max(frames_max, classes) > _LARGEST:
        raise CTCError(
            f"{name} has T={frames_max} frames and C={classes} classes: expected at most {_LARGEST} of either; "
            "cut the sequence into parts"
        )
    check_blank(blank, name, classes)
    given_frames = _check_lengths("input_lengths", input_lengths, size, batched)
    given_lengths = _check_lengths("target_lengths", target_lengths, size, batched)
    given_targets = _check_targets(targets, size, batched)
    prepared = _native.prepare(
        _as_int64(given_frames),
        _as_int64(given_targets if batched else np.atleast_2d(given_targets)),
        _as_int64(given_lengths),
        frames_max,
        classes,
        blank,
        ARCS_BY_ROLE,
    )
    if isinstance(prepared, tuple):
        given = _Integers(given_frames, given_targets, given_lengths)
        raise _worded(prepared, given, name, checked.shape, blank, batched)
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
    prepared = _native.Prepared(used, states.astype(np.int64) // 2, labels, arcs, states, np.concatenate(jumps), tolls)
    return problem._replace(prepared=prepared)


def check_reduction(reduction: str) -> Reduction:
    """Returns the reduction if there is one of that name."""
    if reduction not in _REDUCTIONS:
        raise CTCError(f"reduction = {reduction!r} is unknown: expected one of {', '.join(map(repr, _REDUCTIONS))}")
    return cast(Reduction, reduction)


def as_array(name: str, values: Any) -> npt.NDArray[Any]:
    """Whatever was passed as an array: a tensor of any framework on any device, a list, an array.

    Raises:
        CTCError: its rows differ in length.
    """
    if hasattr(values, "detach"):  # a tensor
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise CTCError(f"{name} is not a rectangular array: {error}; pad its rows to one length") from None


def check_blank(blank: int, name: str, classes: int) -> None:
    """Sees that the blank is one of the scores' classes."""
    if not 0 <= _integer("blank", blank) < classes:
        raise CTCError(
            f"blank = {blank} is not a class: {name} has C={classes} classes (0..{classes - 1}); "
            "pass the index of the blank's column"
        )


def _check_scores(
    name: str, scores: npt.ArrayLike, bfloat16: bool, shape: tuple[int, ...] | None
) -> tuple[npt.NDArray[Any], bool]:
    array = as_array(name, scores)
    if array.dtype.kind == "V" and array.dtype.name == "bfloat16":  # the ml_dtypes extension type
        array, bfloat16 = array.view(np.uint16), True
    if not bfloat16 and array.dtype.type not in (np.float32, np.float64, np.float16):
        raise wrong_dtype(name, array.dtype, f"{name}.astype('float32')")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    shape = array.shape if shape is None else tuple(shape)
    if array.ndim not in (2, 3):
        raise CTCError(
            f"{name} has shape {shape}: expected (T, N, C) frames x batch x classes, or (T, C) for one sample"
        )
    batched = array.ndim == 3
    if not batched:
        array = array[:, None, :]
    if array.shape[1] == 0:
        raise CTCError(f"{name} has shape {shape}: expected at least one sample (N); skip empty batches")
    if array.shape[2] == 0:
        raise CTCError(f"{name} has shape {shape}: expected at least one class, the blank, in the last axis")
    return array, batched


def wrong_dtype(name: str, dtype: object, mend: str) -> CTCError:
    """The error for scores that are no floats."""
    return CTCError(
        f"{name} has dtype {dtype}: expected float64, float32, bfloat16 or float16; convert it, for instance {mend}"
    )


def not_integers(name: str, dtype: object) -> CTCError:
    """The error for lengths or targets that are no integers."""
    return CTCError(f"{name} has dtype {dtype}: expected integers (any integer dtype)")


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise CTCError(f"{name} = {value!r} has type {type(value).__name__}: expected an integer")
    return int(value)


def _integers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.integer]:
    array = as_array(name, values)
    if array.dtype.kind in "iu":
        return array
    if array.size == 0 and isinstance(values, Sequence):  # NumPy makes floats of an empty list
        return array.astype(np.int64)
    raise not_integers(name, array.dtype)


def _as_int64(array: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """In one dimension at least. A number too large for int64 becomes negative, and so is found to be wrong too."""
    return np.ascontiguousarray(array, np.int64)


def _check_lengths(name: str, lengths: Lengths, size: int, batched: bool) -> npt.NDArray[np.integer]:
    """One length a sample; for one sample a number will do."""
    array = _integers(name, lengths)
    if array.shape == (size,) or (array.ndim == 0 and not batched):
        return array
    raise CTCError(f"{name} has shape {array.shape}: expected ({size},), one length for each of the N={size} samples")


def _check_targets(targets: npt.ArrayLike, size: int, batched: bool) -> npt.NDArray[np.integer]:
    """A padded (N, S), or one dimension."""
    array = _integers("targets", targets)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[0] == size):
        return array
    if array.ndim == 2:
        raise CTCError(f"targets has shape {array.shape}: expected ({size}, S), a row for each of the N={size} samples")
    raise CTCError(f"targets has shape {array.shape}: expected (N, S) padded, or one dimension, end to end")


class _Integers(NamedTuple):
    """A call's integers as the caller passed them, whatever their dtype: what messages show."""

    input_lengths: npt.NDArray[np.integer]
    targets: npt.NDArray[np.integer]
    target_lengths: npt.NDArray[np.integer]


def _worded(
    fault: tuple[str, int], given: _Integers, name: str, shape: tuple[int, ...], blank: int, batched: bool
) -> CTCError:
    """What the extension found wrong, in words."""
    what, index = fault
    frames_max, _, classes = shape
    if what == "input_lengths":
        axis = f"{name} has T={frames_max} frames"
        return _out_of_range(what, given.input_lengths, index, frames_max, axis, "count frames after downsampling")
    if what == "token":
        return _bad_token(given, index, name, classes, blank, batched)
    if given.targets.ndim == 1 and batched:
        tokens = given.targets.size
        if what == "sum":
            return CTCError(
                f"target_lengths sums to {index}: expected {tokens}, the tokens in the one-dimensional targets; "
                "pass padded targets as (N, S), or drop the padding"
            )
        axis = f"targets has {tokens} tokens in all"
        return _out_of_range(what, given.target_lengths, index, tokens, axis, "count tokens")
    longest = given.targets.shape[-1]
    axis = f"targets has S={longest} tokens a sample"
    return _out_of_range(what, given.target_lengths, index, longest, axis, "count tokens, not padding")


def _out_of_range(name: str, lengths: npt.NDArray[np.integer], n: int, most: int, axis: str, mend: str) -> CTCError:
    where = f"{name}[{n}]" if lengths.ndim else name
    return CTCError(f"{where} = {lengths.item(n)} is out of range: expected 0..{most}, since {axis}; {mend}")


def _bad_token(given: _Integers, index: int, name: str, classes: int, blank: int, batched: bool) -> CTCError:
    targets = given.targets
    value = targets.item(index)
    where = f"targets[{index}]"
    if targets.ndim == 2:
        where = "targets[{}, {}]".format(*divmod(index, targets.shape[1]))
    elif batched:
        ends = given.target_lengths.cumsum()
        n = int(np.searchsorted(ends, index, side="right"))
        where += f" (sample {n}, token {index - int(ends[n] - given.target_lengths[n])})"
    if value == blank:
        return CTCError(
            f"{where} = {value} is the blank: expected tokens only, since the lattice adds its own blanks; "
            f"shift the labels, or pass the blank's index as blank= (now {blank})"
        )
    mend = "mask padding with target_lengths" if value < 0 else "do labels and network agree on the vocabulary?"
    return CTCError(
        f"{where} = {value} is not a class: {name} has C={classes} classes (0..{classes - 1}), blank={blank}; {mend}"
    )
