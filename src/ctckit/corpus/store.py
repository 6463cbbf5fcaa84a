"""The output folder of a corpus: its log, its lock and its list of errors.

The log, ``done.jsonl``, begins with the run's settings. Each row that is done adds a line, with a fingerprint of
everything that went into its files. The order makes it safe to kill a run: first a row's files are written, each whole
or not at all, then its line. A truncated line is ignored, and its row is done again. During a run, a lock on the folder
is held; the system releases it when the process ends, however it ends.

Imports files/, job.py, manifest.py, and filelock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import CTCError
from ..files import read_bytes, write_whole
from .job import Entry
from .manifest import FailedRow

LOG, ERRORS, LOCK = "done.jsonl", "errors.jsonl", ".lock"


class Store:
    """The folder of a corpus's outputs.

    Args:
        folder: where the outputs go.
        settings: the run's options, as the log stores them.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = settings

    def create(self, names: Iterable[str]) -> None:
        """Makes the folder, or checks that its files were written by earlier runs.

        Args:
            names: the names of the files that this run will write.

        Raises:
            CTCError: the folder can't be made, or a file would be overwritten that was not written by a run.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise CTCError(f"out = {self.folder} is a file: expected a folder")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CTCError(f"out = {self.folder} can't be made: {error.strerror}") from None
        if (self.folder / LOG).exists():
            return
        present = sorted(name for name in {*names, ERRORS} if (self.folder / name).exists())
        if present:
            raise CTCError(
                f"Refusing to overwrite {self.folder / present[0]}: no previous run wrote it ({LOG} not found); choose "
                "another folder, or move the file away"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder's lock.

        Raises:
            CTCError: another run holds it, or the folder can't be written to.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CTCError(
                f"another run is working in {self.folder}: wait until it ends, or choose another folder"
            ) from None
        except OSError as error:
            raise CTCError(f"out = {self.folder} can't be locked: {LOCK}: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def read_log(self) -> dict[str, Entry]:
        """The log's lines, by row id.

        Raises:
            CTCError: the earlier runs had other settings.
        """
        path = self.folder / LOG
        if not path.exists():
            return {}
        first, *lines = _json_lines(path) or [{}]
        old = first.get("options") or {}
        if old.get("task", self.settings["task"]) != self.settings["task"]:
            raise CTCError(f"{self.folder} holds the files of {old['task']}: choose another folder")
        changed = [
            f"{key} was {old.get(key)!r} and is {now!r}" for key, now in self.settings.items() if old.get(key) != now
        ]
        if changed:
            raise CTCError(
                f"{self.folder} holds files made with other options: {', '.join(changed)}; choose another "
                "folder, or the same options"
            )
        return {entry["id"]: entry for entry in lines if isinstance(entry.get("id"), str)}

    def clean(self, names: Iterable[str]) -> None:
        """Removes temporary files of a killed run, and the list of errors, which this run will find again."""
        (self.folder / ERRORS).unlink(missing_ok=True)
        known = {*names, LOG, ERRORS}
        for path in self.folder.glob("*.tmp"):
            if re.sub(r".{8}\.tmp$", "", path.name) in known:
                path.unlink(missing_ok=True)

    def write_log(self, entries: Iterable[Entry]) -> None:
        """Replaces the log."""
        write_whole(self.folder / LOG, b"".join(map(_json_line, [{"options": self.settings}, *entries])))

    def add(self, result: Entry | FailedRow) -> None:
        """Adds a row's result to the log, or to the list of errors."""
        failed = isinstance(result, FailedRow)
        with (self.folder / (ERRORS if failed else LOG)).open("ab") as file:
            file.write(_json_line(result._asdict() if isinstance(result, FailedRow) else result))


def _json_line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=True).encode() + b"\n"


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects in a file, without truncated lines."""
    found = []
    for line in read_bytes(path).split(b"\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found
