"""bfloat16, which NumPy lacks: arrays of its bits, from floats and to floats. Imports nothing of ctckit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def as_floats(scores: Array) -> Array:
    """Scores with the bits of bfloat16, the upper half of a float32, as float32; any other array as it is."""
    return (scores.astype(np.uint32) << 16).view(np.float32) if scores.dtype == np.uint16 else scores


def stored(values: npt.NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """Numbers as an array of scores holds them; as bits of bfloat16, rounded to the nearest, ties to even."""
    if dtype != np.uint16:
        return values.astype(dtype)
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
