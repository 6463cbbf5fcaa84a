"""Validation, once, at the public call: one clear `CTCError` for whatever no CTC computation can take.

Form is checked here, values by the extension, and messages worded here. May import errors.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from .errors import CTCError

Reduction = Literal["none", "mean", "sum"]
Lengths = npt.ArrayLike

_REDUCTIONS = ("none", "mean", "sum")
LARGEST = 2**26  # of frames, classes and tokens: days of speech, and what the kernels' numbers are good for


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


def check_scores(
    name: str, scores: npt.ArrayLike, bfloat16: bool, shape: tuple[int, ...] | None
) -> tuple[npt.NDArray[Any], bool]:
    """Scores as (T, N, C) in the machine's byte order, and whether they had a batch axis."""
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


def as_int64(array: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """In one dimension at least. A number too large for int64 becomes negative, and so is found to be wrong too."""
    return np.ascontiguousarray(array, np.int64)


def check_lengths(name: str, lengths: Lengths, size: int, batched: bool) -> npt.NDArray[np.integer]:
    """One length a sample; for one sample a number will do."""
    array = _integers(name, lengths)
    if array.shape == (size,) or (array.ndim == 0 and not batched):
        return array
    raise CTCError(f"{name} has shape {array.shape}: expected ({size},), one length for each of the N={size} samples")


def check_targets(targets: npt.ArrayLike, size: int, batched: bool) -> npt.NDArray[np.integer]:
    """A padded (N, S), or one dimension."""
    array = _integers("targets", targets)
    if array.ndim == 1 or (array.ndim == 2 and array.shape[0] == size):
        return array
    if array.ndim == 2:
        raise CTCError(f"targets has shape {array.shape}: expected ({size}, S), a row for each of the N={size} samples")
    raise CTCError(f"targets has shape {array.shape}: expected (N, S) padded, or one dimension, end to end")


class Integers(NamedTuple):
    """A call's integers as the caller passed them, whatever their dtype: what messages show."""

    input_lengths: npt.NDArray[np.integer]
    targets: npt.NDArray[np.integer]
    target_lengths: npt.NDArray[np.integer]


def worded(
    fault: tuple[str, int], given: Integers, name: str, shape: tuple[int, ...], blank: int, batched: bool
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


def _bad_token(given: Integers, index: int, name: str, classes: int, blank: int, batched: bool) -> CTCError:
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
