"""Shards of webdataset: a ``.tar`` whose files belong together if their names are equal up to the first dot.

A file in it is named as a matrix of Kaldi's is, ``FILE:OFFSET``. Imports disk.py and errors.py.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import CTCError
from .disk import cause, check_file, unreadable

_NAME = re.compile(r"((?:.*/)?[^./][^/.]*)\.([^/]+)")  # folders and dots in front belong to the key
_READ = ("txt", "json")
_HEADER = 512  # bytes before a file's content, which say its size


class Sample(NamedTuple):
    """The files of a sample.

    Attributes:
        key: what their names have in common.
        places: the ending of each file, as ``.npy``, and its place.
        contents: the contents of its ``txt`` and ``json``.
    """

    key: str
    places: list[tuple[str, str]]
    contents: dict[str, bytes]


def list_tar(path: Path) -> Iterator[Sample]:
    """The samples of a shard, in its order. Of most files only the places are given.

    Raises:
        CTCError: it can't be read, or is not a tar that can be read from any place.
    """
    check_file(path)
    try:
        with tarfile.open(path, "r:") as tar:  # not compressed
            yield from _grouped(path, tar)
    except OSError as error:
        raise unreadable(path, error) from None
    except tarfile.TarError as error:
        raise CTCError(
            f"{path} is not a readable .tar file: {cause(error)}; is it complete, and not compressed? Files in it are "
            "read from their places"
        ) from None


def _grouped(path: Path, tar: tarfile.TarFile) -> Iterator[Sample]:
    sample: Sample | None = None
    for member in tar:
        named = _NAME.fullmatch(member.name.removeprefix("./"))
        if named is None or not member.isfile():
            continue
        key, ending = named[1], named[2].lower()
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key, [], {})
        sample.places.append(("." + ending.rpartition(".")[2], f"{path.name}:{member.offset_data}"))
        if ending in _READ:
            content = tar.extractfile(member)
            sample.contents[ending] = b"" if content is None else content.read()
    if sample is not None:
        yield sample


def read_member(path: Path, offset: int) -> bytes:
    """The content of the file that begins at a byte of a shard.

    Raises:
        CTCError: the shard can't be read, or no file begins there.
    """
    check_file(path)
    try:
        with path.open("rb") as shard:
            if offset < _HEADER or offset % _HEADER:
                raise tarfile.HeaderError
            shard.seek(offset - _HEADER)
            size = tarfile.TarInfo.frombuf(shard.read(_HEADER), "utf-8", "surrogateescape").size
            shard.seek(offset)
            content = shard.read(size)
    except OSError as error:
        raise unreadable(path, error) from None
    except tarfile.TarError:
        raise CTCError(f"{path}:{offset}: no file begins there; is the shard complete, and the offset right?") from None
    if len(content) < size:
        raise CTCError(
            f"{path}:{offset}: {size} bytes are expected there, and {len(content)} are left; is it complete?"
        )
    return content
