"""A batch's columns, and the values in them, in the forms that tables have: arrays, lists, pandas' and Arrow's.

Imports recording.py, files/ and errors.py; and pyarrow, only if a batch is one of its tables.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..files import decoded, npy_array, numbers_of
from .recording import Scores, one_recording

Batch = Any  # Mapping[str, Sequence] | pandas.DataFrame | pyarrow.Table | pyarrow.RecordBatch


def _is_arrow(batch: Batch) -> bool:
    pyarrow = sys.modules.get("pyarrow")  # who has a table has imported it
    return pyarrow is not None and isinstance(batch, (pyarrow.Table, pyarrow.RecordBatch))


def names_of(batch: Batch) -> list[str]:
    """The names of a batch's columns."""
    return list(batch.schema.names if _is_arrow(batch) else batch.keys())


def values_of(batch: Batch, name: str) -> Sequence[Any]:
    """A column's values. Lists of Arrow's become arrays, without a Python object for each number."""
    column = batch[name]
    return [_plain(value) for value in column] if _is_arrow(batch) else column


def _plain(value: Any) -> Any:
    import pyarrow

    if isinstance(value, pyarrow.StructScalar) and value.is_valid:
        return {name: numbers_of(value[name]) for name in value}
    return numbers_of(value)


def with_results(batch: Batch, left_out: str, results: Mapping[str, tuple[list[Any], Any]]) -> Any:
    """The batch without a column, and with the results: of each, a value for each row, and one as an example.

    A column's type is the example's, whatever the values are: in Arrow, a column of nothing else but empty lists would
    have another type than that of the next batch.
    """
    kept = {name: batch[name] for name in names_of(batch) if name != left_out and name not in results}
    if not _is_arrow(batch):
        return kept | {name: _column(values, example) for name, (values, example) in results.items()}
    added = {name: _arrow_column(values, example) for name, (values, example) in results.items()}
    columns = kept | added
    return type(batch).from_arrays(list(columns.values()), names=list(columns))


def _column(values: list[Any], example: Any) -> npt.NDArray[Any]:
    """An array of numbers, or of objects, since arrays of equal lengths would become an axis."""
    if isinstance(example, float):
        return np.array(values, float)
    column = np.empty(len(values), object)
    for n, value in enumerate(values):
        column[n] = value
    return column


def _arrow_column(values: list[Any], example: Any) -> Any:
    import pyarrow

    if isinstance(example, np.ndarray) and example.ndim == 2:  # an hour of 200 classes is 36 million numbers
        ends = np.cumsum([0, *(value.size for value in values)], dtype=np.int64)
        flat = np.concatenate([example.ravel(), *(value.ravel() for value in values)])
        return pyarrow.LargeListArray.from_arrays(ends, pyarrow.array(flat))
    kind = pyarrow.float64() if np.asarray(example).dtype.kind == "f" else pyarrow.string()
    return pyarrow.array(values, pyarrow.list_(kind) if isinstance(example, np.ndarray) else kind)


def matrix_of(value: Any, name: str, classes: int) -> Scores:
    """A row's scores (T, C), in any form that tables hold arrays in."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        array = npy_array(bytes(value), repr(name))
    else:
        array = array_of(value, name)
    if array.dtype.kind not in "fiu" or array.size == 0:
        raise CTCError(f"{name!r} holds {_kind(value, array)}: expected scores (T, C), numbers")
    if array.ndim == 1:
        if array.size % classes:
            raise CTCError(f"{name!r} holds {array.size} numbers in a row: expected a multiple of the {classes} labels")
        array = array.reshape(-1, classes)
    return one_recording(array if array.dtype.kind == "f" else array.astype(np.float64), repr(name))


def array_of(value: Any, name: str) -> npt.NDArray[Any]:
    """Nested lists, and arrays of arrays, as one array."""
    array = np.asarray(value) if not isinstance(value, (list, tuple)) else _stacked(value, name)
    return _stacked(array.tolist(), name) if array.dtype == object and array.ndim else array


def _stacked(rows: Sequence[Any], name: str) -> npt.NDArray[Any]:
    try:
        return np.array([np.asarray(row) for row in rows])
    except ValueError:
        raise CTCError(f"{name!r} has frames of different lengths: expected all classes in each frame") from None


def _kind(value: Any, array: npt.NDArray[Any]) -> str:
    return "no value" if value is None else f"{type(value).__name__} of {array.dtype}, shape {array.shape}"


def count_of(value: Any, name: str, most: int) -> int:
    """A row's number of frames, which tables may hold as a float."""
    count = float(value) if isinstance(value, (int, float, np.number)) else 0.0
    if not (1 <= count <= most and count.is_integer()):
        raise CTCError(f"{name!r} is {value!r}: expected a number of frames from 1 to {most}")
    return int(count)


def seconds_of(value: Any, name: str) -> float:
    """The second at which a row's first frame begins."""
    seconds = float(value) if isinstance(value, (int, float, np.number)) else math.nan
    if not 0 <= seconds < math.inf:
        raise CTCError(f"{name!r} is {value!r}: expected seconds, at least 0")
    return seconds


def shift_of(value: Any, name: str) -> float:
    """The seconds from one of a row's frames to the next."""
    seconds = float(value) if isinstance(value, (int, float, np.number)) else math.nan
    if not 0 < seconds < math.inf:
        raise CTCError(f"{name!r} is {value!r}: expected seconds from one frame to the next, above 0")
    return seconds


def text_of(value: Any, name: str) -> str:
    """A row's text; webdataset may hold it as bytes."""
    text = decoded(value, repr(name)) if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise CTCError(f"{name!r} is {value!r}: expected a text")
    return str(text)
