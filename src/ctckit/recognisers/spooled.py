"""Sound from a pipe: it is kept in a temporary file, from which any part can be read. May import media.py.

All of it is kept before the first sample is read, since formats such as WAV and MP3 are read by going back and forth.
It is on the disk and not in memory, so that its length does not matter.
"""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..errors import CTCError
from .media import Opened

_LARGEST = 0xFFFFFFFF  # bytes that a .wav can have: its sizes are numbers of 32 bits


@contextmanager
def spooled(pipe: BinaryIO, name: str) -> Iterator[Opened]:
    """What comes by a pipe, as a file.

    Args:
        pipe: is read to its end.
        name: what errors call it.

    Raises:
        CTCError: nothing comes, or it can't be kept.
    """
    with tempfile.TemporaryFile() as file:
        try:
            shutil.copyfileobj(pipe, file)
        except OSError as error:
            raise CTCError(
                f"{name} can't be kept in {tempfile.gettempdir()}: {error.strerror}; the environment variable TMPDIR "
                "names another folder"
            ) from None
        if not file.tell():
            raise CTCError(f"{name} is empty: expected a recording; did the program before the pipe fail?")
        _write_sizes(file, name)
        yield Opened(file, name)


def _write_sizes(file: BinaryIO, name: str) -> None:
    """Writes the sizes into the header of a .wav.

    Programs that write to a pipe can't go back to do so. They leave 0 or the largest number there (ffmpeg: 0xFFFFFFFF).
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        return
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        begin = file.tell()
        if kind != b"data":
            file.seek(begin + size + size % 2)
        elif 0 < size <= end - begin and size != _LARGEST:
            return
        elif end > _LARGEST:
            raise CTCError(
                f"{name} has {end / 2**30:.1f} GiB, and a .wav holds at most 4: expected a lower rate and one channel, "
                "as ffmpeg writes them with -ar 16000 -ac 1, or another format, as with -f flac"
            )
        else:
            file.seek(4)
            file.write(struct.pack("<I", end - 8))
            file.seek(begin - 4)
            file.write(struct.pack("<I", end - begin))
            return
