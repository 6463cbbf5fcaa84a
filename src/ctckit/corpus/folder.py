"""A folder of recordings, or a pattern such as ``recordings/*.flac``, as rows of a manifest.

A row is a recording. Its text is the file with the same name but for the ending, beside it or in a folder of texts.
Imports forms.py and files/.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import CTCError
from ..files import ENDINGS, Kind, unreadable
from .forms import Given, Listed

TEXTS = (".txt", ".lab", ".srt", ".vtt")  # endings of texts; of several, the first counts


def is_folder(path: Path) -> bool:
    """Whether this is a folder, or a pattern of files."""
    return path.is_dir() or (glob.has_magic(str(path)) and not path.exists())


def root_of(path: Path) -> Path:
    """The folder that names are relative to: the folder itself, or that before the first part with a wildcard.

    Example:
        >>> root_of(Path("talks/2026-*/*.wav")).as_posix()
        'talks'
    """
    if path.is_dir():  # whatever it is called
        return path
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:first])


def list_folder(path: Path, texts: Path | None, kind: Kind, needs_text: bool) -> list[Listed]:
    """The rows of a folder, with its subfolders, or of a pattern; in the order of their names.

    A row's id is its file's name without the ending, with the names of subfolders before it.

    Args:
        path: the folder or the pattern.
        texts: the folder of the texts; None: they are beside the recordings.
        kind: what is recorded.
        needs_text: if so, recordings without a text fail, and all others are done.

    Raises:
        CTCError: there are no recordings; a text is needed, and none of them has one; or a folder can't be read.
    """
    root = root_of(path)
    names = sorted(name for name in _names(path, root) if name.suffix.lower() in ENDINGS[kind])
    if not names:
        raise CTCError(f"{path} has no {kind} files: expected {', '.join(ENDINGS[kind])}")
    found = _texts(root if texts is None else texts)
    rows = [_row(name, kind, found.get(_stem(name)), needs_text) for name in names]
    if needs_text and not any(_stem(name) in found for name in names):
        expected = _stem(names[0]) + TEXTS[0]
        place = f"beside {names[0].as_posix()}" if texts is None else f"in {texts}"
        raise CTCError(
            f"none of the {len(names)} {kind} files of {path} has a text: expected {expected} {place}, and so on; or "
            f"with another ending: {', '.join(TEXTS[1:])}"
        )
    return [Listed(number, row.copy) for number, row in enumerate(rows, start=1)]


def _row(name: Path, kind: Kind, text: Path | None, needs_text: bool) -> Given:
    row: Given = {"id": _stem(name), kind: name.as_posix()}
    if text is not None or needs_text:  # a text that is missing is found to be so when the row is done
        row["transcript"] = _stem(name) + TEXTS[0] if text is None else text.as_posix()
    return row


def _stem(name: Path) -> str:
    return name.with_suffix("").as_posix()


def _texts(folder: Path) -> dict[str, Path]:
    """The text of each name without its ending."""
    if not folder.is_dir():
        raise CTCError(f"{folder} is not a folder: expected the folder of the texts")
    found: dict[str, Path] = {}
    for name in _files(folder):
        rank = TEXTS.index(name.suffix.lower()) if name.suffix.lower() in TEXTS else None
        before = found.get(_stem(name))
        if rank is not None and (before is None or rank < TEXTS.index(before.suffix.lower())):
            found[_stem(name)] = name
    return found


def _names(path: Path, root: Path) -> Iterator[Path]:
    """The files of a folder or a pattern, relative to the root."""
    if path.is_dir():
        yield from _files(path)
        return
    for found in glob.iglob(str(path), recursive=True):
        if Path(found).is_file():
            yield Path(found).relative_to(root)


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder and its subfolders, relative to it, without those whose name begins with a dot."""

    def failed(error: OSError) -> None:
        raise unreadable(error.filename or folder, error) from None

    for place, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        if _leads_back(Path(place), folder):
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield Path(place, name).relative_to(folder)


def _leads_back(place: Path, folder: Path) -> bool:
    """Whether a place in a folder is a link to one of the folders that it is in."""
    above = [parent for parent in place.parents if parent == folder or folder in parent.parents]
    return os.path.realpath(place) in map(os.path.realpath, above)
