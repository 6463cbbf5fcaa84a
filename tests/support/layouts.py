"""The same scores in every kind of memory layout that NumPy allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Layout = Callable[[np.ndarray], np.ndarray]


def convolution(scores: np.ndarray) -> np.ndarray:
    """(N, C, T), as a convolution leaves them, seen as (T, N, C)."""
    return np.ascontiguousarray(scores.transpose(1, 2, 0)).transpose(2, 0, 1)


def batch_first(scores: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(scores.transpose(1, 0, 2)).transpose(1, 0, 2)


def classes_outermost(scores: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(scores.transpose(2, 0, 1)).transpose(1, 2, 0)


def backwards(scores: np.ndarray) -> np.ndarray:
    """Negative strides on every axis."""
    return np.ascontiguousarray(scores[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]


def inside_a_larger_array(scores: np.ndarray) -> np.ndarray:
    frames, size, classes = scores.shape
    larger = np.full((2 * frames + 1, size + 3, 3 * classes + 2), np.nan, scores.dtype)
    view = larger[1 : 2 * frames + 1 : 2, 1 : size + 1, 2 : 3 * classes + 2 : 3]
    view[...] = scores
    return view


def classes_cut_off(scores: np.ndarray) -> np.ndarray:
    """Rows wider than what is used of them: classes are neighbours, frames are not."""
    wider = np.full((*scores.shape[:2], scores.shape[2] + 7), np.nan, scores.dtype)
    wider[..., : scores.shape[2]] = scores
    return wider[..., : scores.shape[2]]


def record_field(scores: np.ndarray) -> np.ndarray:
    """A field of packed records: strides that are not multiples of the item size, unaligned addresses."""
    records = np.zeros(scores.shape, np.dtype([("flag", "u1"), ("score", scores.dtype)]))
    records["score"] = scores
    return records["score"]


def unaligned(scores: np.ndarray) -> np.ndarray:
    """Contiguous, but a byte off, as a buffer of a file format may be."""
    memory = np.zeros(scores.nbytes + 1, np.uint8)[1:]
    view = memory.view(scores.dtype).reshape(scores.shape)
    view[...] = scores
    assert not view.flags.aligned
    return view


def fortran(scores: np.ndarray) -> np.ndarray:
    return np.asfortranarray(scores)


def other_byte_order(scores: np.ndarray) -> np.ndarray:
    return scores.astype(scores.dtype.newbyteorder())


LAYOUTS = [
    convolution,
    batch_first,
    classes_outermost,
    backwards,
    inside_a_larger_array,
    classes_cut_off,
    record_field,
    unaligned,
    fortran,
    other_byte_order,
]
