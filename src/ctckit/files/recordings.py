"""Recordings and images as files, or as members of an archive or a table. Their content is read by recognisers/.

May import kaldi.py, parquet.py, tar.py and errors.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ..errors import CTCError
from .kaldi import file_of
from .parquet import read_cell
from .tar import read_member

Kind = Literal["audio", "image"]

ENDINGS: dict[Kind, tuple[str, ...]] = {
    "audio": (
        *(".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus"),
        *(".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph"),
    ),
    "image": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"),
}


def recording_at(path: Path, kind: Kind) -> Path | bytes:
    """The file of a recording, or its bytes.

    Args:
        path: a file; or ``FILE:OFFSET`` in a ``.tar`` or ``FILE:ROW`` in a ``.parquet``.
        kind: the column of a table that has it.

    Raises:
        CTCError: it can't be read.
        MissingExtraError: it is in a table, and pyarrow is not installed.
    """
    file = file_of(path)
    suffix = file.suffix.lower()
    if file == path or suffix not in (".tar", ".parquet"):
        return path
    number = int(str(path).rpartition(":")[2])
    if suffix == ".tar":
        return read_member(file, number)
    cell = read_cell(file, number, [kind]) or {}
    if cell.get("bytes"):
        return bytes(cell["bytes"])
    if cell.get("path"):
        return file.parent / str(cell["path"])
    raise CTCError(f"{path} has neither bytes nor a path: expected one of them in the column {kind!r}")
