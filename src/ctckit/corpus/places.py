"""Finds what rows don't name, their scores or recordings: in a folder, Kaldi's files, webdataset's shards, or Parquet.

Only the names are read here, once; the scores or the recording of a row are read when it is done. Imports forms.py,
ids.py and files/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..errors import CTCError
from ..files import (
    ARRAYS,
    ENDINGS,
    Kind,
    file_of,
    list_ark,
    list_parquet,
    list_scp,
    list_tar,
    list_wav_scp,
    unreadable,
)
from .forms import id_of
from .ids import file_name


class Places:
    """Finds the scores or the recording of a row.

    Args:
        place: a folder with a file for each row, named as the row's outputs are; or an ``.scp``, ``.ark`` (of scores),
            ``.tar`` or ``.parquet``.
        kind: the kind of recordings; None for scores.

    Raises:
        CTCError: `place` is not one of these, or can't be read.
        MissingExtraError: the package that reads `place` is not installed.
    """

    def __init__(self, place: Path, kind: Kind | None = None) -> None:
        self.place = place
        self._what = {None: "scores", "audio": "recording", "image": "image"}[kind]
        self._kind_of_files = kind
        self._endings = ARRAYS if kind is None else ENDINGS[kind]
        self._kind = "folder" if place.is_dir() else place.suffix.lower()
        self._found: dict[str, list[str]] = defaultdict(list)
        for name, where in self._listed():
            self._found[name].append(where)

    def of(self, id: str) -> Path:
        """The place of what a row needs: its file, ``FILE:OFFSET`` or ``FILE:ROW``.

        Raises:
            CTCError: this row has none, or several.
        """
        name = file_name(id) if self._kind == "folder" else id
        found = self._found.get(name, [])
        if len(found) > 1:
            raise CTCError(f"{self.place} has the {self._what} of {id!r} as {' and as '.join(found[:3])}: expected one")
        if not found:
            endings = f"{name}{self._endings[0]}, or {', '.join(self._endings[1:])}"
            expected = endings if self._kind == "folder" else "an entry of this id"
            raise CTCError(f"{self.place} has no {self._what} for {id!r}: expected {expected}")
        return self._path(found[0])

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Lists each name, with the file or entry that it has."""
        scores = self._kind_of_files is None
        if self._kind == "folder":
            return self._files()
        if self._kind == ".scp":
            return list_scp(self.place) if scores else list_wav_scp(self.place)
        if self._kind == ".ark" and scores:
            return ((id, f"{self.place}:{offset}") for id, offset in list_ark(self.place))
        if self._kind == ".tar":
            return self._members()
        if self._kind == ".parquet":
            return self._table()
        raise CTCError(
            f"emissions = {self.place}: expected a folder that is there, an .scp, {'.ark, ' if scores else ''}.tar or "
            f".parquet, with all rows' {self._what}{'' if scores else 's'}"
        )

    def _members(self) -> Iterator[tuple[str, str]]:
        endings = (".npy",) if self._kind_of_files is None else self._endings
        for sample in list_tar(self.place):
            yield from ((sample.key, where) for ending, where in sample.places if ending in endings)

    def _table(self) -> Iterator[tuple[str, str]]:
        for number, facts in list_parquet(self.place):
            id = id_of(facts)
            if isinstance(id, str):
                yield id, f"{self.place.name}:{number}"

    def _files(self) -> Iterator[tuple[str, str]]:
        try:
            for path in self.place.iterdir():
                if path.suffix.lower() in self._endings and not path.name.startswith("."):
                    yield path.stem, path.name
        except OSError as error:
            raise unreadable(self.place, error) from None

    def _path(self, where: str) -> Path:
        """The path in an entry. In Kaldi's files it is relative to the working directory, or else to the ``.scp``."""
        if self._kind == "folder":
            return self.place / where
        if self._kind in (".tar", ".parquet"):
            return self.place.parent / where
        path = Path(where)
        if self._kind_of_files is None and file_of(path) == path and path.suffix.lower() not in ARRAYS:
            path = Path(f"{where}:0")  # one matrix, without an id before it
        return path if self._kind == ".ark" or file_of(path).exists() else self.place.parent / path
