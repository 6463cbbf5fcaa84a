"""Checks the numbers that lattices are made of. May import validate/ and errors.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import as_array


def numbers(name: str, values: npt.ArrayLike, dtype: type, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A copy of numbers as an array of the given shape; -1 in it means any length."""
    given = as_array(name, values)
    if given.size == 0 and min(shape, default=1) <= 0:  # [] for no arcs, or for no tokens
        given = np.zeros([max(size, 0) for size in shape])
    kinds = "iub" if np.dtype(dtype).kind in "iu" else "iubf"
    if given.dtype.kind not in kinds and given.size:
        expected = "integers" if kinds == "iub" else "numbers"
        raise CTCError(f"{name} has dtype {given.dtype}: expected {expected}")
    if given.ndim != len(shape) or any(size not in (-1, found) for size, found in zip(shape, given.shape, strict=True)):
        expected = ", ".join("any" if size < 0 else str(size) for size in shape)
        raise CTCError(f"{name} has shape {given.shape}: expected ({expected}{',' if len(shape) == 1 else ''})")
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    if limits is not None and given.size:
        refuse(name, (given < limits.min) | (given > limits.max), given, f"numbers that {np.dtype(dtype)} can hold")
    return given.astype(dtype)


def refuse(name: str, wrong: npt.NDArray[np.bool_], values: npt.NDArray[Any], expected: str) -> None:
    """Raises the error for the first wrong entry, if there is one."""
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        where, value = (f"{name}[{i}]", values[i]) if values.ndim else (name, values)
        raise CTCError(f"{where} = {value.tolist()} is out of range: expected {expected}")
