"""Finds the scores of rows that don't name them: in a folder, Kaldi's archives, webdataset's shards, or Parquet.

Only the names are read here, once; the scores of a row are read when it is done. Imports forms.py, ids.py
and files/.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from ..errors import CTCError
from ..files import ARRAYS, file_of, list_ark, list_parquet, list_scp, list_tar, unreadable
from .forms import id_of
from .ids import file_name


class Emissions:
    """Finds the scores of a row.

    Args:
        place: a folder with a file for each row, named as the row's outputs are; or an ``.scp``, ``.ark``, ``.tar`` or
            ``.parquet``.

    Raises:
        CTCError: `place` is not one of these, or can't be read.
        MissingExtraError: the package that reads `place` is not installed.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self._kind = "folder" if place.is_dir() else place.suffix.lower()
        self._found: dict[str, list[str]] = defaultdict(list)
        for name, where in self._listed():
            self._found[name].append(where)

    def of(self, id: str) -> Path:
        """The place of a row's scores: their file, or ``FILE:OFFSET``.

        Raises:
            CTCError: there are no scores of this row, or there are several.
        """
        name = file_name(id) if self._kind == "folder" else id
        found = self._found.get(name, [])
        if len(found) > 1:
            raise CTCError(f"the scores of {id!r} are in {self.place} as {' and '.join(found[:3])}: expected them once")
        if not found:
            expected = (
                f"{name}{ARRAYS[0]}, or {', '.join(ARRAYS[1:])}" if self._kind == "folder" else "an entry of this id"
            )
            raise CTCError(f"{self.place} has no scores for {id!r}: expected {expected}")
        return self._path(found[0])

    def _listed(self) -> Iterator[tuple[str, str]]:
        """Lists each name, with the file or entry that has its scores."""
        if self._kind == "folder":
            return self._files()
        if self._kind == ".scp":
            return list_scp(self.place)
        if self._kind == ".ark":
            return ((id, f"{self.place}:{offset}") for id, offset in list_ark(self.place))
        if self._kind == ".tar":
            return ((sample.key, where) for sample in list_tar(self.place) for where in sample.scores)
        if self._kind == ".parquet":
            return self._table()
        raise CTCError(
            f"emissions = {self.place}: expected a folder that is there, an .scp, .ark, .tar or .parquet, with all "
            "rows' scores"
        )

    def _table(self) -> Iterator[tuple[str, str]]:
        for number, facts in list_parquet(self.place):
            id = id_of(facts)
            if isinstance(id, str):
                yield id, f"{self.place.name}:{number}"

    def _files(self) -> Iterator[tuple[str, str]]:
        try:
            for path in self.place.iterdir():
                if path.suffix.lower() in ARRAYS:
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
        if file_of(path) == path and path.suffix.lower() not in ARRAYS:
            path = Path(f"{where}:0")  # one matrix, without an id before it
        return path if self._kind == ".ark" or file_of(path).exists() else self.place.parent / path
