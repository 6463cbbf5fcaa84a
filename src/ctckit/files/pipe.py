"""Reads frames of scores from a pipe, as they come in. May import errors.py.

A pipe has either ``.npy`` arrays one after the other, as ``numpy.save`` writes them, or only numbers: float32, little
endian, all classes of a frame and then the next frame. The first bytes decide which.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError

Array = npt.NDArray[Any]

_MAGIC = np.lib.format.MAGIC_PREFIX
_RAW = np.dtype("<f4")
_HEADERS = {  # by version: the bytes of the header's length, and what reads the header
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}


def read_frames(read: Callable[[], bytes], classes: int, name: str) -> Iterator[Array]:
    r"""The frames of a pipe, each as soon as it is complete.

    Args:
        read: returns the bytes that have come in, at least one; empty at the end.
        classes: C, the number of classes.
        name: the name of the pipe in errors.

    Yields:
        (t, C) scores of the next frames, at least one.

    Raises:
        CTCError: the pipe ends within a frame, or its arrays are not frames of C classes.

    Example:
        >>> pieces = iter([b"\0\0\x80\xbf\0\0", b"\0\xc0\0\0\0\0\0\0\x80\xbf", b""])
        >>> [frames.tolist() for frames in read_frames(lambda: next(pieces), 2, "the pipe")]
        [[[-1.0, -2.0], [0.0, -1.0]]]
    """
    pipe = _Pipe(read, name)
    if pipe.fill(len(_MAGIC)) and pipe.starts_with(_MAGIC):
        while not pipe.at_end:
            yield from _array(pipe, classes)
    else:
        yield from _rows(pipe, _RAW, classes, None)


class _Pipe:
    """The bytes that have come in and have not been taken."""

    def __init__(self, read: Callable[[], bytes], name: str) -> None:
        self.name = name
        self.size = 0  # how many bytes can be taken
        self._read, self._pieces, self._ended = read, [b""], False

    @property
    def at_end(self) -> bool:
        """Whether no more bytes will come."""
        return not self.size and not self.more()

    def more(self) -> bool:
        """Waits for more bytes; False at the end."""
        piece = b"" if self._ended else self._read()
        self._ended = not piece
        self._pieces.append(piece)
        self.size += len(piece)
        return not self._ended

    def fill(self, size: int) -> bool:
        """Waits until at least `size` bytes can be taken; False if the pipe ends before."""
        while self.size < size:
            if not self.more():
                return False
        return True

    def take(self, size: int) -> bytes:
        """Takes the next `size` bytes, which must have come in."""
        whole = b"".join(self._pieces)
        self._pieces = [whole[size:]]
        self.size = len(whole) - size
        return whole[:size]

    def starts_with(self, start: bytes) -> bool:
        """Whether the next bytes are `start`."""
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0].startswith(start)


def _rows(pipe: _Pipe, dtype: np.dtype[Any], classes: int, rows: int | None) -> Iterator[Array]:
    """The next `rows` frames, or all frames up to the end."""
    width = classes * dtype.itemsize
    while rows != 0:
        if not pipe.fill(width):
            if not pipe.size and rows is None:
                return
            of_them = "" if rows is None else f", and {rows} frames of the array are missing"
            raise CTCError(
                f"{pipe.name} ends within a frame: after {pipe.size} of its {width} bytes{of_them}; expected frames of "
                f"C={classes} numbers, {dtype.name}; was it cut off, or does it have other classes?"
            )
        count = pipe.size // width if rows is None else min(pipe.size // width, rows)
        numbers = np.frombuffer(pipe.take(count * width), dtype).reshape(count, classes)
        yield numbers.astype(dtype.newbyteorder("="), copy=False)
        rows = None if rows is None else rows - count


def _array(pipe: _Pipe, classes: int) -> Iterator[Array]:
    """The frames of the next array."""
    shape, by_column, dtype = _header(pipe)
    frames = (1, *shape) if len(shape) == 1 else shape
    if dtype.kind != "f" or len(frames) != 2 or frames[1] != classes:
        raise CTCError(
            f"{pipe.name} holds an array of shape {shape} and dtype {dtype}: expected floats (t, C), C={classes}, "
            "the number of labels"
        )
    if not by_column:
        yield from _rows(pipe, dtype, classes, frames[0])
    elif frames[0]:  # such as a transposed array: no frame is complete before the last byte
        yield np.concatenate(list(_rows(pipe, dtype, frames[0], classes))).T


def _header(pipe: _Pipe) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape of an array, whether it is stored column by column, and its dtype."""
    start = len(_MAGIC) + 2
    whole = pipe.fill(start) and pipe.starts_with(_MAGIC)
    if not whole:
        raise CTCError(f"{pipe.name}: expected another .npy array or the end, found {pipe.take(min(pipe.size, 8))!r}")
    version = pipe.take(start)[-2:]
    size, parse = _HEADERS.get((version[0], version[1]), (0, None))
    if parse is None:
        raise CTCError(f"{pipe.name} holds an .npy array of version {version[0]}.{version[1]}: expected 1.0 or 2.0")
    try:
        length = pipe.take(size) if pipe.fill(size) else b""
        pipe.fill(int.from_bytes(length, "little"))
        shape, by_column, dtype = parse(io.BytesIO(length + pipe.take(int.from_bytes(length, "little"))))
    except (ValueError, EOFError, SyntaxError) as error:
        raise CTCError(f"{pipe.name}: the header of an .npy array can't be read: {error}; was it cut off?") from None
    return shape, by_column, dtype
