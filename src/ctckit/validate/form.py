"""The form of a call's arguments: shapes and dtypes of anything array-like. Reads no value, so waits for no device.

Every loss calls `check_form`, which makes a few comparisons; only if one of them fails, `form_faults` goes through the
arguments one by one. May import faults.py, errors.py and ctckit.native; knows tensors by their attributes and imports
no framework.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault
from ..native import LARGEST

FLOATS = ("float64", "float32", "bfloat16", "float16")  # the dtypes of scores

_INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
_INTEGER_ARGUMENTS = ("input_lengths", "target_lengths", "targets")
_INTEGER = "integer"
_OTHER = ""

# What each dtype seen so far is: one of FLOATS, _INTEGER or _OTHER. NumPy's and torch's dtypes can be keys.
_kinds: dict[Any, str] = {}


class Form(NamedTuple):
    """The sizes of a call whose form is right.

    Attributes:
        num_frames: T.
        size: N; 1 for a single sample.
        classes: C.
        num_tokens: S of padded targets, or of one sample's; else the tokens of all samples together.
        batched: False for a single sample without a batch axis.
        padded: whether targets are rows; False if they are in one dimension, end to end.
        dtype: of the scores, one of FLOATS.
    """

    num_frames: int
    size: int
    classes: int
    num_tokens: int
    batched: bool
    padded: bool
    dtype: str


def check_form(
    scores: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> Form:
    """Checks shapes and dtypes of a loss's arguments, and that the blank is a class.

    Args:
        scores: (T, N, C), or (T, C) for one sample; an array or tensor on any device. Lists are accepted, but cost
            more.
        targets: integers, (N, S) padded, or one dimension, all samples end to end; (S,) or (1, S) for one sample.
        input_lengths: integers (N,), a column or a row of as many; or a number for one sample.
        target_lengths: likewise.
        blank: the blank's class.
        from_logits: whether scores are logits; for their name in messages.
        batch_first: a batch's scores are (N, T, C).

    Raises:
        CTCError: the first fault of `form_faults`.

    Example:
        >>> form = check_form(np.zeros((6, 2, 5)), np.array([[1, 2], [3, 3]]), np.array([6, 5]), np.array([2, 1]), 0)
        >>> form.num_frames, form.size, form.classes, form.num_tokens, form.padded
        (6, 2, 5, 2, True)
    """
    try:
        shape, target_shape = scores.shape, targets.shape
        dtype = _kinds[scores.dtype]
        batched, rows = len(shape) == 3, len(target_shape) == 2
        if not batched:
            (num_frames, classes), size = shape, 1
        elif batch_first:
            size, num_frames, classes = shape
        else:
            num_frames, size, classes = shape
        padded = rows or not batched
        one_each = ((size,),) if batched and size > 1 else ((), (1,))
        if (
            dtype in FLOATS
            and 0 < classes <= LARGEST
            and num_frames <= LARGEST
            and size > 0
            and type(blank) is int
            and 0 <= blank < classes
            and _kinds[targets.dtype] == _INTEGER
            and _kinds[input_lengths.dtype] == _INTEGER
            and _kinds[target_lengths.dtype] == _INTEGER
            and tuple(input_lengths.shape) in one_each
            and tuple(target_lengths.shape) in one_each
            and (target_shape[0] == size if rows else len(target_shape) == 1)
            and not (padded and target_shape[-1] > LARGEST)
        ):
            return Form(num_frames, size, classes, target_shape[-1], batched, padded, dtype)
    except Exception:
        pass  # not an array, a dtype not seen yet, or another rank: the slow way finds out
    name = "logits" if from_logits else "log_probs"
    faults, form = form_faults(
        scores, targets, input_lengths, target_lengths, blank, scores_name=name, batch_first=batch_first
    )
    if form is None:
        raise CTCError(faults[0])
    return form


def form_faults(
    scores: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    *,
    scores_name: str = "log_probs",
    batch_first: bool = False,
) -> tuple[list[Fault], Form | None]:
    """Everything that is wrong with the form of a loss's arguments; or the form. Arguments as above."""
    arguments = {
        scores_name: scores,
        "input_lengths": input_lengths,
        "target_lengths": target_lengths,
        "targets": targets,
    }
    return _faults(arguments, scores_name, blank, batch_first)


def check_lattice_form(
    scores: Any,
    input_lengths: Any | None = None,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
    scores_name: str = "",
) -> Form:
    """Checks the form of a call that has no targets; arguments as for `check_form`, and what messages call the scores.

    Raises:
        CTCError: the first fault.
    """
    try:
        dtype, sizes = _kinds[scores.dtype], _Sizes.of(scores.shape, batch_first)
        one_each = ((sizes.size,),) if sizes.batched and sizes.size > 1 else ((), (1,))
        if (
            dtype in FLOATS
            and len(scores.shape) in (2, 3)
            and 0 < sizes.classes <= LARGEST
            and sizes.num_frames <= LARGEST
            and sizes.size > 0
            and type(scores) is np.ndarray
            and (input_lengths is None or (_kinds[input_lengths.dtype] == _INTEGER and input_lengths.shape in one_each))
        ):
            return Form(sizes.num_frames, sizes.size, sizes.classes, 0, sizes.batched, True, dtype)
    except Exception:
        pass  # the slow way finds out
    name = scores_name or ("logits" if from_logits else "log_probs")
    arguments = {name: scores} if input_lengths is None else {name: scores, "input_lengths": input_lengths}
    faults, form = _faults(arguments, name, 0, batch_first)
    if form is None:
        raise CTCError(faults[0])
    return form


def _faults(
    arguments: dict[str, Any], scores_name: str, blank: Any, batch_first: bool
) -> tuple[list[Fault], Form | None]:
    given, faults = _described(arguments)
    sizes, shape = None, given[scores_name].shape if scores_name in given else ()
    if scores_name in given:
        faults += _scores_faults(scores_name, given[scores_name])
        if len(shape) in (2, 3):
            sizes = _Sizes.of(shape, batch_first)
            fault = _size_fault(scores_name, shape, sizes)
            if fault:
                faults, sizes = [*faults, fault], None
    fault = _blank_fault(blank, scores_name, sizes.classes if sizes else None)
    faults += [fault] if fault else []
    integers = {name: given[name] for name in _INTEGER_ARGUMENTS if name in given}
    faults += _layout_faults(integers, sizes, scores_name, shape, batch_first)
    if faults or sizes is None:
        return faults, None
    layout = given["targets"].shape if "targets" in given else (sizes.size, 0)
    padded = len(layout) == 2 or not sizes.batched
    form = Form(sizes.num_frames, sizes.size, sizes.classes, layout[-1], sizes.batched, padded, given[scores_name].kind)
    return [], form


def check_blank(blank: int, classes: int, *, scores_name: str = "log_probs", of_labels: bool = False) -> int:
    """Returns the blank if it is one of the C classes.

    Args:
        blank: as the caller passed it.
        classes: C.
        scores_name: what messages call the scores.
        of_labels: classes are known by their labels, not by scores.

    Raises:
        CTCError: it is not.
    """
    fault = _blank_fault(blank, scores_name, classes, "labels" if of_labels else "")
    if fault:
        raise CTCError(fault)
    return int(blank)


def dtype_name(dtype: object) -> str:
    """The kind of a dtype, of any library: one of FLOATS, "integer", or "" for any other.

    Example:
        >>> dtype_name(np.dtype("float32")), dtype_name(np.dtype(">u2")), dtype_name(np.dtype(bool))
        ('float32', 'integer', '')
    """
    name = dtype.newbyteorder("=").name if isinstance(dtype, np.dtype) else str(dtype).removeprefix("torch.")
    kind = name if name in FLOATS else _INTEGER if name in _INTEGERS else _OTHER
    if kind:
        _kinds[dtype] = kind
    return kind


def as_array(name: str, values: Any) -> npt.NDArray[Any]:
    """Converts an array, a list, or a tensor of any framework on any device to a NumPy array.

    Raises:
        CTCError: it can't be converted to an array, for example because its rows differ in length.
    """
    if kind := tensor_without_values(values):
        raise CTCError(Fault("unreadable-tensor", name, (), kind, hint="dense-tensor"))
    try:
        if hasattr(values, "detach"):  # a tensor
            values = values.detach().cpu()
            values = values.float() if "bfloat16" in str(values.dtype) else values
        masked = int(np.ma.getmaskarray(values).sum()) if isinstance(values, np.ma.MaskedArray) else 0
        array = np.asarray(values)
    except Exception as error:
        if "inhomogeneous" in str(error):
            raise CTCError(Fault("not-rectangular", name, hint="pad-rows")) from None
        raise CTCError(_unreadable(name, values, error)) from None
    if masked:
        raise CTCError(Fault("masked-array", name, (), masked, 0, "fill-mask"))
    return array


def as_integers(name: str, values: Any) -> npt.NDArray[Any]:
    """The same for integers: NumPy makes floats of an empty list."""
    array = as_array(name, values)
    return array.astype(np.int64) if array.size == 0 and isinstance(values, Sequence) else array


def checked_arrays(
    scores: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, *, from_logits: bool
) -> tuple[tuple[npt.NDArray[Any], ...], Form]:
    """A call's scores, targets and lengths as arrays, and their form; arguments as for `check_form`.

    Raises:
        CTCError: the first fault, with the hint that fits what was passed.
    """
    name = "logits" if from_logits else "log_probs"
    given = (scores, targets, input_lengths, target_lengths)
    try:
        arrays = (
            as_array(name, scores),
            as_integers("targets", targets),
            as_integers("input_lengths", input_lengths),
            as_integers("target_lengths", target_lengths),
        )
        return arrays, check_form(*arrays, blank, from_logits=from_logits)
    except CTCError as error:
        failure = error
    check_form(*given, blank, from_logits=from_logits)  # raises, unless something that has a form can't be read
    raise failure


class _Described(NamedTuple):
    shape: tuple[int, ...]
    dtype: str  # as the caller knows it
    kind: str  # as from dtype_name
    is_tensor: bool


class _Sizes(NamedTuple):
    num_frames: int
    size: int
    classes: int
    batched: bool

    @classmethod
    def of(cls, shape: tuple[int, ...], batch_first: bool) -> _Sizes:
        """From a shape of two or three numbers."""
        if len(shape) == 2:
            return cls(shape[0], 1, shape[1], False)
        size, num_frames = shape[:2] if batch_first else shape[1::-1]
        return cls(num_frames, size, shape[2], True)


def _described(arguments: dict[str, Any]) -> tuple[dict[str, _Described], list[Fault]]:
    """Shape and dtype of each argument that has them, and a fault for each that doesn't."""
    given: dict[str, _Described] = {}
    faults: list[Fault] = []
    for name, values in arguments.items():
        found = _describe(name, values)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            given[name] = found
    return given, faults


def _describe(name: str, values: Any) -> _Described | Fault:
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = as_array(name, values)
        is_tensor = hasattr(values, "detach")
        if kind := tensor_without_values(values):
            return Fault("unreadable-tensor", name, (), kind, hint="dense-tensor")
        if not is_tensor and not (hasattr(values, "shape") and dtype_name(values.dtype)):
            values = as_integers(name, values) if name in _INTEGER_ARGUMENTS else as_array(name, values)
        dtype = str(values.dtype).removeprefix("torch.")
        return _Described(tuple(values.shape), dtype, dtype_name(values.dtype), is_tensor)
    except Exception as error:  # an array-like of some library may raise anything
        fault = getattr(error, "fault", None)
        return fault if isinstance(fault, Fault) else _unreadable(name, values, error)


def tensor_without_values(tensor: Any) -> str:
    """What kind of tensor it is, if it is not a dense one of numbers; else empty."""
    if not hasattr(tensor, "detach"):
        return ""
    for kind in ("nested", "quantized"):
        if getattr(tensor, f"is_{kind}", False):
            return kind
    layout = str(getattr(tensor, "layout", "torch.strided")).removeprefix("torch.")
    return "" if layout == "strided" else layout.replace("_", " ")


def _unreadable(name: str, values: Any, error: Exception) -> Fault:
    reason = " ".join(str(error).split())
    return Fault("not-an-array", name, (), type(values).__name__, hint="pass-numbers", details={"reason": reason})


def _scores_faults(name: str, given: _Described) -> list[Fault]:
    faults = []
    if given.kind not in FLOATS:
        hint = "tensor-to-float" if given.is_tensor else "array-to-float"
        faults.append(Fault("not-floats", name, (), given.dtype, list(FLOATS), hint))
    if len(given.shape) not in (2, 3):
        faults.append(Fault("scores-shape", name, (), given.shape, ["(T, N, C)", "(T, C)"], "change-axes"))
    return faults


def _size_fault(name: str, shape: tuple[int, ...], sizes: _Sizes) -> Fault | None:
    if sizes.size == 0:
        return Fault("no-samples", name, (), shape, 1, "skip-empty-batch")
    if sizes.classes == 0:
        return Fault("no-classes", name, (), shape, 1, "last-layer")
    if max(sizes.num_frames, sizes.classes) > LARGEST:
        details = {"frames": sizes.num_frames, "classes": sizes.classes}
        return Fault("too-large", name, (), shape, LARGEST, "cut-sequence", details=details)
    return None


def _blank_fault(blank: Any, scores_name: str, classes: int | None, variant: str = "") -> Fault | None:
    hint = "index-of-blank" if variant else "blank-column"
    if isinstance(blank, bool) or not isinstance(blank, (int, np.integer)):
        return Fault("blank-not-integer", "blank", value=blank, hint=hint, details={"type": type(blank).__name__})
    if classes is None or 0 <= blank < classes:
        return None
    details = {"scores": scores_name, "blank": int(blank), "classes": classes}
    return Fault("blank-out-of-range", "blank", (), int(blank), range(classes), hint, None, variant, details)


def _integer_fault(name: str, given: _Described) -> Fault | None:
    if given.kind == _INTEGER:
        return None
    hint = "tensor-to-integers" if given.is_tensor else "array-to-integers"
    return Fault("not-integers", name, (), given.dtype, None, hint)


def _layout_faults(
    given: dict[str, _Described],
    sizes: _Sizes | None,
    scores_name: str,
    scores_shape: tuple[int, ...],
    batch_first: bool,
) -> list[Fault]:
    """What is wrong with the dtypes and shapes of lengths and targets."""
    rows = {
        name: array.shape[0] for name, array in given.items() if len(array.shape) == (2 if name == "targets" else 1)
    }
    about = {"scores": scores_name, "shape": list(scores_shape), "samples": rows}
    faults = []
    for name, array in given.items():
        check = _rows_fault if name == "targets" else _lengths_fault
        found = (_integer_fault(name, array), check(name, array.shape, sizes, about) if sizes else None)
        faults += [fault for fault in found if fault]
    if sizes is None or not _other_axis_first(rows, sizes, alone=len(given) == 1):
        return faults
    details = {**about, "frames": sizes.num_frames, "size": sizes.size, "rows": sizes.num_frames}
    variant, hint = ("frames", "drop-batch-first") if batch_first else ("", "swap-axes")
    if len(given) == 1:
        variant = "lengths-frames" if batch_first else "lengths"
    turned = Fault("batch-first", scores_name, (), scores_shape, None, hint, variant=variant, details=details)
    return [turned] + [fault for fault in faults if fault.code != "shape-mismatch"]


def _lengths_fault(name: str, shape: tuple[int, ...], sizes: _Sizes, about: dict[str, Any]) -> Fault | None:
    if math.prod(shape) == sizes.size and sum(axis != 1 for axis in shape) <= 1:  # a column, a row, a number for one
        return None
    expected = (sizes.size,)
    details = {**about, "size": sizes.size}
    return Fault("shape-mismatch", name, (), shape, expected, "one-a-sample", variant="lengths", details=details)


def _rows_fault(name: str, shape: tuple[int, ...], sizes: _Sizes, about: dict[str, Any]) -> Fault | None:
    if len(shape) not in (1, 2):
        return Fault("targets-shape", name, (), shape, ["(N, S)", "(S,)"], "pad-rows")
    if len(shape) == 2 and shape[0] != sizes.size:
        details = {**about, "size": sizes.size}
        return Fault("shape-mismatch", name, (), shape, None, "one-a-sample", variant="rows", details=details)
    if (len(shape) == 2 or not sizes.batched) and shape[-1] > LARGEST:
        details = {**about, "tokens": shape[-1]}
        return Fault("too-large", name, (), shape, LARGEST, "cut-sequence", variant="tokens", details=details)
    return None


def _other_axis_first(rows: dict[str, int], sizes: _Sizes, *, alone: bool) -> bool:
    """Whether lengths and targets all have as many rows as the scores have frames, so that the axes look swapped.

    Of several arguments one alone may be what is wrong; of a call without targets, there is only one: it is `alone`.
    """
    return (
        sizes.batched
        and sizes.num_frames != sizes.size
        and sizes.num_frames > 0
        and len(rows) > (0 if alone else 1)
        and all(count == sizes.num_frames for count in rows.values())
    )
