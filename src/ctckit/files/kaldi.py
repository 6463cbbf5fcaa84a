"""Kaldi's archives: which matrices an ``.scp`` or an ``.ark`` has, and one of them, which is all that is read.

A matrix is named as Kaldi names it, ``FILE:OFFSET``. kaldiio reads it, but does not open the file: it would also run a
command that an ``.scp`` names, and load pickles. May import disk.py and errors.py; kaldiio is imported when there is an
archive.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from .disk import cause, check_file, read_text, unreadable

_PLACE = re.compile(r"(.+):(\d{1,18})", re.DOTALL)
_HEADER = struct.Struct("<5sbibi")  # a matrix of floats: how it begins, then 4, its rows, 4, its columns
_ITEM = {b"\0BFM ": 4, b"\0BDM ": 8}  # bytes of a number
_LONGEST = 4096  # bytes of an id: in a file that is not an archive, the next space may be gigabytes away
# What kaldiio raises for content that is something else.
_UNREADABLE = (ValueError, AssertionError, RuntimeError, EOFError, OverflowError, MemoryError, IndexError, struct.error)


def file_of(path: Path) -> Path:
    """The file that a path names: FILE, if it is ``FILE:OFFSET``."""
    place = _PLACE.fullmatch(str(path))
    return Path(place[1]) if place else path


def read_matrix(path: Path) -> npt.NDArray[Any]:
    """The matrix at ``FILE:OFFSET``.

    Raises:
        CTCError: the file can't be read, or no whole matrix is there.
        MissingExtraError: kaldiio is not installed.
    """
    matio = _kaldiio()
    wrong, hint = f"{path}: no matrix begins there", "is the file complete, and the offset that of its .scp?"
    with _opened(file_of(path), lambda: wrong, hint) as file:
        file.seek(int(str(path).rpartition(":")[2]))
        return _matrix(matio, file)


def list_scp(path: Path) -> Iterator[tuple[str, str]]:
    """Each id of an ``.scp`` and where its scores are, as the file says it.

    Raises:
        CTCError: the file can't be read, or a line is not an id and a file.
        MissingExtraError: kaldiio is not installed.
    """
    _kaldiio()
    return _entries(path, "FILE:OFFSET; commands and ranges are not read")


def list_wav_scp(path: Path) -> Iterator[tuple[str, str]]:
    """Each id of a ``wav.scp`` and the file of its recording.

    Raises:
        CTCError: the file can't be read, or a line is not an id and a file.
    """
    return _entries(path, "a file; commands are not run: write what they give to files, and name those")


def _entries(path: Path, expected: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        id, *rest = line.split(maxsplit=1)
        place = "".join(rest).strip()
        if not place or "|" in (place[0], place[-1]) or place.endswith("]"):
            raise CTCError(f"{path}, line {number} is {line.strip()[:80]!r}: expected an id and {expected}")
        yield id, place


def list_ark(path: Path) -> Iterator[tuple[str, int]]:
    """Each id of an ``.ark`` and the offset of its matrix. Matrices of floats are skipped; others are read one by one.

    Raises:
        CTCError: it can't be read, or is not an archive.
        MissingExtraError: kaldiio is not installed.
    """
    matio = _kaldiio()
    offset = 0
    with _opened(path, lambda: f"{path} is not a readable .ark file: after byte {offset}", "is it complete?") as file:
        while id := _read_id(file):
            offset = file.tell()
            yield id, offset
            _skip(matio, file)


@contextmanager
def _opened(path: Path, wrong: Callable[[], str], hint: str) -> Iterator[BinaryIO]:
    """An open file; what goes wrong with its content becomes a CTCError that begins with ``wrong()``."""
    check_file(path)
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable(path, error) from None
    except _UNREADABLE as error:
        raise CTCError(f"{wrong()}: {cause(error)}; {hint}") from None


def _kaldiio() -> Any:
    try:
        from kaldiio import matio
    except ImportError:
        raise MissingExtraError("Reading Kaldi's .scp and .ark files", "kaldi", "kaldiio") from None
    return matio


def _read_id(file: BinaryIO) -> str:
    """What is before the next space; empty at the end of the file."""
    start = file.tell()
    id, space, _ = file.read(_LONGEST).partition(b" ")
    if id.strip() and not space:
        raise ValueError(f"{id[:20]!r} is not an id: expected an id, a space and a matrix")
    file.seek(start + len(id) + 1)
    return id.strip().decode()


def _skip(matio: Any, file: BinaryIO) -> None:
    size = _size(file)
    if size is None:
        _matrix(matio, file)
    else:
        file.seek(size, os.SEEK_CUR)


def _matrix(matio: Any, file: BinaryIO) -> npt.NDArray[Any]:
    start = file.tell()
    begins = file.read(64)
    file.seek(start)
    if not (begins.startswith(b"\0B") or begins.lstrip().startswith(b"[")):
        raise ValueError(f"it begins with {begins[:5]!r}")
    size = _size(file)
    if size is not None and start + size > os.fstat(file.fileno()).st_size:
        raise ValueError(f"its {size} bytes go past the end of the file")
    return np.asarray(matio.read_kaldi(file))


def _size(file: BinaryIO) -> int | None:
    """How many bytes the next matrix takes, if its numbers are floats; None if only reading it tells."""
    start = file.tell()
    header = file.read(_HEADER.size)
    file.seek(start)
    if len(header) < _HEADER.size or header[:5] not in _ITEM:
        return None
    rows: int
    columns: int
    begins, _, rows, _, columns = _HEADER.unpack(header)
    if rows < 0 or columns < 0:
        raise ValueError(f"it has {rows} x {columns} numbers")
    return _HEADER.size + rows * columns * _ITEM[begins]
