"""What is done for one row of a manifest: a task's work, its files and its line for the log.

A job is plain data. It can be pickled, so that a runner may call it in a thread or send it to another process.
Imports text/, annotate/, files/, results.py and manifest.py.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..annotate import formats
from ..annotate.recording import Scores, confidence, read_scores, words_of
from ..annotate.sources import Page, Recorded, Seen, Source, Stored
from ..errors import CTCError, MissingExtraError
from ..files import file_of, read_labels, read_text, unreadable, write_whole
from ..results import Place, Segment
from ..text import Vocabulary
from ..text.blank import settle_blank
from .manifest import Defaults, FailedRow, Row

VERSION = version("ctckit")  # part of a fingerprint: another version may give other results
_PIECE = 1 << 20  # how many bytes of a file are read at a time

Entry = dict[str, Any]  # a line of the log


class Found(NamedTuple):
    """The result of a task for one row.

    Attributes:
        lines: the lines of the text, with their words and tokens.
        duration: seconds; the end of the last frame.
        facts: what .json files hold besides the lines.
        entry: what the log stores besides the number of words and their confidence.
        notes: notes for the log.
        places: of an image: where each line is.
    """

    lines: list[Segment]
    duration: float
    facts: Mapping[str, Any]
    entry: Mapping[str, Any]
    notes: tuple[str, ...]
    places: Sequence[Place] = ()


class Task(Protocol):
    """The work that is done on each row's scores. It is plain data, which can be pickled.

    Attributes:
        name: the name in the log.
        needs_text: whether rows must have a text.
        level: for formats that hold only one level: lines, words or tokens.
        line_length: cells of a line of subtitles.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def needs_text(self) -> bool: ...  # noqa: D102
    @property
    def level(self) -> formats.Level | None: ...  # noqa: D102
    @property
    def line_length(self) -> int | None: ...  # noqa: D102

    def check(self, suffixes: tuple[str, ...], defaults: Defaults) -> None:
        """Raises a CTCError if no row can be done."""

    def settings(self) -> dict[str, Any]:
        """The options as the log stores them, with hashes of the files."""

    def run(self, row: Row, seen: Seen | Page) -> Found:
        """Does a row. Several threads may call it at the same time.

        Raises:
            CTCError: the row can't be done; the message says why.
            MissingExtraError: a package is missing.
        """


@dataclass(frozen=True)
class Job:
    """Does one row.

    Attributes:
        out: the folder of the outputs.
        suffixes: the endings of a row's output files.
        task: the task to do.
        settings: the run's options as the log stores them; part of each row's fingerprint.
        network: which network the recogniser is, as :func:`ctckit.recognisers.named.identity` says it; part of the
            fingerprint, too.
    """

    out: Path
    suffixes: tuple[str, ...]
    task: Task
    settings: Mapping[str, Any]
    network: str | None = None

    # Many rows use the same few label files.
    _labels: dict[Path, list[str]] = field(default_factory=dict, repr=False, compare=False)
    _vocabularies: dict[tuple[Path, int], Vocabulary] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)

    def outputs(self, row: Row) -> list[Path]:
        """The files that are written for a row."""
        return [self.out / (row.name + suffix) for suffix in self.suffixes]

    def fingerprint(self, row: Row) -> str:
        """A hash of everything that a row's outputs depend on.

        Emissions and recordings may be large: they are represented by their name, and the size and time of their file.

        Raises:
            CTCError: an input can't be read.
        """
        source = row.source
        try:
            stat = file_of(source.path).stat()
        except OSError as error:
            raise unreadable(file_of(source.path), error) from None
        parts = [
            VERSION,
            self.settings,
            row.given,
            [source.path.name, stat.st_size, stat.st_mtime_ns],
            read_text(row.text) if isinstance(row.text, Path) else None,
            self._digest(source.labels) if isinstance(source, Stored) else self.network,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def is_done(self, row: Row, entry: Entry) -> bool:
        """Whether a row's files exist, and were made from the current inputs."""
        try:
            sizes = {path.name: path.stat().st_size for path in self.outputs(row)}
            return bool(entry["files"] == sizes and entry["fingerprint"] == self.fingerprint(row))
        except (CTCError, OSError, KeyError):
            return False

    def run(self, row: Row) -> Entry | FailedRow:
        """Does a row and writes its files. Returns its line for the log, or why it failed; it never raises.

        A failed row has no files, unless an input is missing: then the files of an earlier run are kept.
        """
        try:
            fingerprint = self.fingerprint(row)
        except CTCError as error:  # if an input is missing, its old outputs may be all that is left: they are kept
            return FailedRow(row.id, row.line, str(error))
        try:
            return self._done(row, fingerprint)
        except (CTCError, MissingExtraError) as error:
            reason = str(error)
        except Exception as error:  # an error of this row must not stop the others
            reason = f"unexpected {type(error).__name__}: {error}"
        for path in self.outputs(row):
            with suppress(OSError):  # not there, or a folder
                path.unlink()
        return FailedRow(row.id, row.line, reason)

    def _done(self, row: Row, fingerprint: str) -> Entry:
        found = self.task.run(row, self._seen(row.source))
        paths = self.outputs(row)
        layout = {"level": self.task.level, "line_length": self.task.line_length}
        details: Any = {"duration": found.duration, "facts": found.facts, "places": found.places, **layout}
        contents = [formats.encoded(found.lines, path, **details) for path in paths]
        for path, content in zip(paths, contents, strict=True):
            write_whole(path, content)
        mean = confidence(found.lines)
        return {
            **row.extra,
            "id": row.id,
            "words": len(words_of(found.lines)),
            "confidence": None if math.isnan(mean) else round(mean, 6),
            **found.entry,
            "notes": list(found.notes),
            "files": {path.name: len(content) for path, content in zip(paths, contents, strict=True)},
            "fingerprint": fingerprint,
        }

    def _seen(self, source: Source) -> Seen | Page:
        """A row's scores, and what they mean."""
        if isinstance(source, Recorded):
            return source.read()
        scores = read_scores(source.path)
        return Seen(scores, self._vocabulary(source.labels, source.blank, scores), source.frame_shift)

    def _vocabulary(self, labels: Path, blank: int | None, scores: Scores) -> Vocabulary:
        """A row's vocabulary. Rows with the same labels share it, except for the notes on the blank."""
        if labels not in self._labels:
            self._labels[labels] = read_labels(labels)
        try:
            settled = settle_blank(self._labels[labels], blank, scores)
            if (labels, settled.blank) not in self._vocabularies:
                self._vocabularies[labels, settled.blank] = Vocabulary(settled.labels, settled.blank)
        except CTCError as error:
            raise CTCError(f"{labels}: {error}") from None
        vocabulary = copy(self._vocabularies[labels, settled.blank])
        vocabulary.notes = settled.notes
        return vocabulary

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = digest(path)
        return self._digests[path]


def digest(path: Path) -> str:
    """A hash of a file's content.

    Raises:
        CTCError: the file can't be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except OSError as error:
        raise unreadable(path, error) from None
    return found.hexdigest()[:16]
