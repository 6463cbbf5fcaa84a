"""Files as bytes and as text: reads them, and writes them whole or not at all.

The messages for a file that can't be read, is not UTF-8, or can't be unpacked are here and nowhere else. May import
errors.py.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import CTCError

GZIP = b"\x1f\x8b"  # a gzip file begins so


def check_file(path: Path) -> None:
    """Raises a CTCError unless there is a file, it can be read, and it is not empty."""
    try:
        if path.is_dir():
            raise CTCError(f"{path} is a folder: expected a file")
        with path.open("rb") as file:
            if not file.read(1):
                raise CTCError(f"{path} is empty: expected data; was it written completely?")
    except OSError as error:
        raise unreadable(path, error) from None


def read_text(path: str | Path) -> str:
    """The content of a UTF-8 text file, without the byte order mark that some editors begin it with.

    Raises:
        CTCError: the file can't be read, or is not UTF-8.
    """
    return decoded(read_bytes(path), str(path))


def read_packed_text(path: str | Path) -> str:
    """The same of a file that may be compressed by gzip."""
    return decoded(unpacked(read_bytes(path), str(path)), str(path))


def read_bytes(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        CTCError: the file can't be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unpacked(data: bytes, name: str) -> bytes:
    """A file's content, unpacked if it is compressed by gzip; ``name`` says in an error whose it is.

    Raises:
        CTCError: it is compressed, and can't be unpacked.
    """
    return b"".join(unpacked_pieces([data], name)) if data.startswith(GZIP) else data


def unpacked_pieces(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The same of a gzip file that is read in pieces. It may have several members, one after the other."""
    unpack = zlib.decompressobj(31)  # with a gzip header
    why = "it ends early"
    try:
        for piece in pieces:
            while piece:
                yield unpack.decompress(piece)
                piece = unpack.unused_data.lstrip(b"\0")
                if piece:
                    unpack = zlib.decompressobj(31)
    except zlib.error as error:
        why = str(error)
    if not unpack.eof:
        raise CTCError(f"{name} is not a readable gzip file: {why}; is it complete?")


def decoded(data: bytes, name: str) -> str:
    r"""UTF-8 bytes as text, without a byte order mark; ``name`` says in an error whose bytes these are.

    Raises:
        CTCError: they are not UTF-8.

    Example:
        >>> decoded(b"caf\xe9", "line 3")
        Traceback (most recent call last):
            ...
        ctckit.errors.CTCError: line 3 is not UTF-8 text: byte 3 is 0xe9
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CTCError(f"{name} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}") from None


def unreadable(path: str | Path, error: OSError) -> CTCError:
    """The error for a file that the system can't read."""
    return CTCError(f"{path} can't be read: {error.strerror or error}")


def cause(error: Exception) -> str:
    """What an error of another package says, in a line: its first one, or the name of its type."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def write_whole(path: str | Path, data: bytes | memoryview) -> None:
    """Writes a file whole or not at all: to a temporary file beside it, which then takes its name.

    The file gets the permissions that ``open`` would give a new file. Safe to call from several threads.

    Raises:
        CTCError: the file can't be written there.
    """
    path = Path(path)
    try:
        file, temporary = _open_temporary(path)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise CTCError(f"{path}: can't be written: {why}; choose a folder that exists and is yours") from None
    try:
        with file:
            file.write(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CTCError(f"{path}: can't be written: {error.strerror}") from None


def _open_temporary(path: Path) -> tuple[BinaryIO, Path]:
    """A new file beside ``path``, open for writing. Its name is that of ``path``, 8 random characters, and ``.tmp``.

    ``tempfile.mkstemp`` would make it private to the user. To undo that one must know the umask, and the only way to
    read the umask is to change it, for all threads of the process. Here the system applies it.
    """
    while True:
        temporary = path.with_name(f"{path.name}{secrets.token_hex(4)}.tmp")
        try:
            return temporary.open("xb"), temporary
        except FileExistsError:
            continue
