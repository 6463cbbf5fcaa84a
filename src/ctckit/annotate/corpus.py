"""Thousands of recordings: a manifest is worked off row by row, and a run that was stopped goes on where it ended.

A folder of outputs has a log, ``done.jsonl``. Its first line holds the options, and each row that is done adds a line
with a fingerprint of all that went into its files. The order is what makes a kill harmless: a row's files are written,
each whole or not at all, and then its line. A line that was cut off is none, and its row is done again. Rows that fail
have no files, unless an input of theirs is gone: then those of an earlier run are left. While a run lasts, it holds a
lock on the folder, which ends with its process however that ends.

Imports the other modules of the package, and filelock.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CTCError, MissingExtraError
from ..files import write_whole
from ..text import Vocabulary
from . import formats
from .manifest import BadRow, Defaults, Row, read_manifest, separate
from .utterance import Options, align, check_frame_shift, confidence, read_scores, read_text, read_vocabulary, words_of

try:
    from filelock import FileLock, Timeout
except ImportError as error:
    raise MissingExtraError("A run over a corpus", "cli", error.name or "filelock") from None

LOG, ERRORS, LOCK = "done.jsonl", "errors.jsonl", ".lock"
AHEAD = 2  # rows for each thread, in work or waiting: more would fill the memory with emissions

VERSION = version("ctckit")  # another may align otherwise: what it has done is done again

Entry = dict[str, Any]  # a line of the log


class Outcome(NamedTuple):
    """How a run went: rows that were aligned now, before, and not at all; outputs whose rows the manifest has lost."""

    now: int
    before: int
    bad: int
    lost: int


@dataclass(frozen=True)
class Corpus:
    """What a run works on.

    Attributes:
        manifest: the file with a row a line.
        out: the folder of the outputs.
        suffixes: of a row's outputs.
        options: of all rows.
        defaults: for rows that don't say.
    """

    manifest: Path
    out: Path
    suffixes: tuple[str, ...]
    options: Options = field(default_factory=Options)
    defaults: Defaults = field(default_factory=Defaults)

    # Few files of labels serve many rows.
    _vocabulary: Callable[[Path, int | None], Vocabulary] = field(
        default_factory=lambda: cache(read_vocabulary), init=False, repr=False, compare=False
    )
    _digest: Callable[[Path], str] = field(
        default_factory=lambda: cache(_digest), init=False, repr=False, compare=False
    )

    def run(self, threads: int = 1, on_row: Callable[[int, int, int], None] = lambda done, bad, rows: None) -> Outcome:
        """Aligns all rows that are not done yet.

        Args:
            threads: so many rows at a time.
            on_row: called when it begins and after each row, with how many are done, bad, and there in all.

        Raises:
            CTCError: nothing can be begun; rows that can't be aligned are told in ``errors.jsonl``.
        """
        self._check(threads)
        read = read_manifest(self.manifest, self.defaults)
        rows = list(separate(read, self._paths, [self.manifest]))
        names = {path.name for row in rows if isinstance(row, Row) for path in self._paths(row)}
        self._make_folder()
        self._check_folder(names)
        with self._alone():
            log = self._log()
            self._clean(names)
            return self._run(rows, log, threads, on_row)

    def _run(
        self, rows: list[Row | BadRow], log: dict[str, Entry], threads: int, on_row: Callable[[int, int, int], None]
    ) -> Outcome:
        good = [row for row in rows if isinstance(row, Row)]
        done = {row.id: log[row.id] for row in good if row.id in log and self._is_done(row, log[row.id])}
        known = {row.id for row in good}
        lost = {id: entry for id, entry in log.items() if id not in known}
        self._write_log(rows, done | lost)  # from here on it claims nothing that is about to change
        before, bad = len(done), 0
        on_row(before, bad, len(rows))
        with (self.out / LOG).open("ab") as file:
            for result in self._results(
                [row for row in rows if row.id not in done or isinstance(row, BadRow)], threads
            ):
                if isinstance(result, BadRow):
                    bad += 1
                    with (self.out / ERRORS).open("ab") as errors:
                        errors.write(_json_line(result._asdict()))
                else:
                    done[result["id"]] = result
                    file.write(_json_line(result))
                    file.flush()
                on_row(len(done), bad, len(rows))
        self._write_log(rows, done | lost)  # in the manifest's order, however often it took
        return Outcome(len(done) - before, before, bad, len(lost))

    # --- before anything is aligned ---

    def _check(self, threads: int) -> None:
        if threads < 1:
            raise CTCError(f"--threads {threads}: expected at least 1")
        self.options.check()
        if self.defaults.frame_shift is not None:
            check_frame_shift(self.defaults.frame_shift)
        if self.defaults.labels is not None:
            self._vocabulary(self.defaults.labels, self.defaults.blank)

    def _make_folder(self) -> None:
        if self.out.exists() and not self.out.is_dir():
            raise CTCError(f"--out {self.out} is a file: expected a folder")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CTCError(f"--out {self.out} can't be made: {error.strerror}") from None

    def _check_folder(self, names: set[str]) -> None:
        if (self.out / LOG).exists():
            return
        there = sorted(name for name in names | {ERRORS} if (self.out / name).exists())
        if there:
            raise CTCError(
                f"{self.out / there[0]} is there, and no alignment wrote it (there is no {LOG}): choose another "
                "--out, or move it away"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        lock = FileLock(self.out / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise CTCError(
                f"another run is at work in {self.out}: wait until it ends, or choose another --out"
            ) from None
        except OSError as error:
            raise CTCError(f"--out {self.out} can't be worked in: {LOCK}: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def _log(self) -> dict[str, Entry]:
        """What earlier runs have done here, by row."""
        path = self.out / LOG
        if not path.exists():
            return {}
        first, *lines = _json_lines(path) or [{}]
        old = first.get("options") or {}
        changed = [
            f"{key} was {old.get(key)!r} and is {now!r}" for key, now in self._told.items() if old.get(key) != now
        ]
        if changed:
            raise CTCError(
                f"{self.out} holds alignments made with other options: {', '.join(changed)}; choose another --out, or "
                "the same options"
            )
        return {entry["id"]: entry for entry in lines if isinstance(entry.get("id"), str)}

    @cached_property
    def _told(self) -> dict[str, Any]:
        """The options, as the log has them."""
        defaults = self.defaults._asdict()
        if self.defaults.labels is not None:
            defaults["labels"] = self._digest(self.defaults.labels)
        return {**asdict(self.options), **defaults, "format": sorted(s[1:] for s in self.suffixes)}

    def _clean(self, names: set[str]) -> None:
        """Removes what a killed run has half written, and the errors, which are about to be found again."""
        (self.out / ERRORS).unlink(missing_ok=True)
        for path in self.out.glob("*.tmp"):
            if re.sub(r".{8}\.tmp$", "", path.name) in names | {LOG, ERRORS}:
                path.unlink(missing_ok=True)

    def _write_log(self, rows: Sequence[Row | BadRow], entries: dict[str, Entry]) -> None:
        order = {row.id: row.line for row in rows if isinstance(row, Row)}
        ordered = sorted(entries.values(), key=lambda entry: (order.get(entry["id"], math.inf), entry["id"]))
        lines: list[Entry] = [{"options": self._told}, *ordered]
        write_whole(self.out / LOG, b"".join(map(_json_line, lines)))

    # --- a row ---

    def _paths(self, row: Row) -> list[Path]:
        return [self.out / (row.id + suffix) for suffix in self.suffixes]

    def _is_done(self, row: Row, entry: Entry) -> bool:
        """Whether its files are there, and made from what there is now."""
        try:
            sizes = {path.name: path.stat().st_size for path in self._paths(row)}
            return bool(entry["files"] == sizes and entry["fingerprint"] == self._fingerprint(row))
        except (CTCError, OSError, KeyError):
            return False

    def _fingerprint(self, row: Row) -> str:
        """Of all that a row's outputs depend on. Of emissions, which may be large, it takes size and time only."""
        try:
            stat = row.emissions.stat()
        except OSError as error:
            raise CTCError(f"{row.emissions} can't be read: {error.strerror}") from None
        parts = [
            VERSION,
            self._told,
            row.given,
            [stat.st_size, stat.st_mtime_ns],
            read_text(row.text) if isinstance(row.text, Path) else None,
            self._digest(row.labels),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def _results(self, rows: list[Row | BadRow], threads: int) -> Iterator[Entry | BadRow]:
        """What comes of each row, in their order; no more than a few are in work."""
        with ThreadPoolExecutor(threads) as pool:
            working: deque[Future[Entry | BadRow]] = deque()
            try:
                for row in rows:
                    working.append(pool.submit(self._result, row))
                    if len(working) >= AHEAD * threads:
                        yield working.popleft().result()
                while working:
                    yield working.popleft().result()
            finally:
                for future in working:
                    future.cancel()

    def _result(self, row: Row | BadRow) -> Entry | BadRow:
        """A row's line for the log, once its files are written; or why there are none."""
        if isinstance(row, BadRow):
            return row
        try:
            fingerprint = self._fingerprint(row)
        except CTCError as error:  # an input is gone: what was made from it may be all that is left
            return BadRow(row.id, row.line, str(error))
        try:
            return self._aligned(row, fingerprint)
        except (CTCError, MissingExtraError) as error:
            reason = str(error)
        except Exception as error:  # whatever it is, it is this row's: the others go on
            reason = f"unexpected {type(error).__name__}: {error}"
        for path in self._paths(row):
            path.unlink(missing_ok=True)
        return BadRow(row.id, row.line, reason)

    def _aligned(self, row: Row, fingerprint: str) -> Entry:
        text = row.text if isinstance(row.text, str) else read_text(row.text)
        vocabulary = self._vocabulary(row.labels, row.blank)
        found = align(read_scores(row.emissions), text, vocabulary, row.frame_shift, self.options)
        paths = self._paths(row)
        contents = [formats.encoded(found.lines, path, duration=found.duration) for path in paths]
        for path, content in zip(paths, contents, strict=True):
            write_whole(path, content)
        sure = confidence(found.lines)
        return {
            "id": row.id,
            "words": len(words_of(found.lines)),
            "confidence": None if math.isnan(sure) else round(sure, 6),
            "notes": list(found.notes),
            "files": {path.name: len(content) for path, content in zip(paths, contents, strict=True)},
            "fingerprint": fingerprint,
        }


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise CTCError(f"{path} can't be read: {error.strerror}") from None


def suffixes(names: str) -> tuple[str, ...]:
    """The endings of formats that are named with commas between them.

    Raises:
        CTCError: one is unknown, or there twice.
        MissingExtraError: its package is not installed.
    """
    found = ["." + name.strip().removeprefix(".") for name in names.split(",")]
    for suffix in found:
        formats.check_format(Path("x" + suffix))
    if len({suffix.lower() for suffix in found}) < len(found):
        raise CTCError(f"--format {names}: expected each format once")
    return tuple(found)


def _json_line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=True).encode() + b"\n"


def _json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file, without lines that were cut off."""
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            content = json.loads(line)
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append(content)
    return found
