"""What is done for one row of a manifest: its text is aligned and its files are written.

A job is plain data. It can be pickled, so that a runner may call it in a thread or send it to another process.
Imports text/, annotate/ and files/.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..annotate import formats
from ..annotate.utterance import Options, Scores, align, confidence, read_scores, read_transcript, words_of
from ..errors import CTCError, MissingExtraError
from ..files import file_of, read_bytes, read_labels, read_text, unreadable, write_whole
from ..text import Vocabulary
from ..text.blank import settle_blank
from .manifest import FailedRow, Row

VERSION = version("ctckit")  # part of a fingerprint: another version may align differently

Entry = dict[str, Any]  # a line of the log


@dataclass(frozen=True)
class Job:
    """Aligns one row.

    Attributes:
        out: the folder of the outputs.
        suffixes: the endings of a row's output files.
        options: of all rows.
        settings: the run's options as the log has them; part of each row's fingerprint.
    """

    out: Path
    suffixes: tuple[str, ...]
    options: Options
    settings: Mapping[str, Any]

    # Many rows share few label files.
    _labels: dict[Path, list[str]] = field(default_factory=dict, repr=False, compare=False)
    _vocabularies: dict[tuple[Path, int], Vocabulary] = field(default_factory=dict, repr=False, compare=False)
    _digests: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)

    def outputs(self, row: Row) -> list[Path]:
        """The files that are written for a row."""
        return [self.out / (row.name + suffix) for suffix in self.suffixes]

    def fingerprint(self, row: Row) -> str:
        """A hash of everything that a row's outputs depend on.

        Emissions may be large: only their name counts, with the size and time of their file.

        Raises:
            CTCError: an input can't be read.
        """
        try:
            stat = file_of(row.emissions).stat()
        except OSError as error:
            raise unreadable(file_of(row.emissions), error) from None
        parts = [
            VERSION,
            self.settings,
            row.given,
            [row.emissions.name, stat.st_size, stat.st_mtime_ns],
            read_text(row.text) if isinstance(row.text, Path) else None,
            self._digest(row.labels),
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def is_done(self, row: Row, entry: Entry) -> bool:
        """Whether a row's files are there, and were made from the present inputs."""
        try:
            sizes = {path.name: path.stat().st_size for path in self.outputs(row)}
            return bool(entry["files"] == sizes and entry["fingerprint"] == self.fingerprint(row))
        except (CTCError, OSError, KeyError):
            return False

    def run(self, row: Row) -> Entry | FailedRow:
        """Aligns a row and writes its files. Returns its line for the log, or why it failed; it never raises.

        A failed row has no files, unless an input is missing: then the files of an earlier run are kept.
        """
        try:
            fingerprint = self.fingerprint(row)
        except CTCError as error:  # what was made from the missing input may be all that is left of it
            return FailedRow(row.id, row.line, str(error))
        try:
            return self._align(row, fingerprint)
        except (CTCError, MissingExtraError) as error:
            reason = str(error)
        except Exception as error:  # an error of this row must not stop the others
            reason = f"unexpected {type(error).__name__}: {error}"
        for path in self.outputs(row):
            with suppress(OSError):  # not there, or a folder
                path.unlink()
        return FailedRow(row.id, row.line, reason)

    def _align(self, row: Row, fingerprint: str) -> Entry:
        text = row.text if isinstance(row.text, str) else read_transcript(row.text, self.options)
        scores = read_scores(row.emissions)
        vocabulary = self._vocabulary(row.labels, row.blank, scores)
        found = align(scores, text, vocabulary, row.frame_shift, self.options, offset=row.offset)
        paths = self.outputs(row)
        details: Any = {"duration": found.duration, "fit": found.fit, "level": self.options.level}
        contents = [formats.encoded(found.lines, path, **details) for path in paths]
        for path, content in zip(paths, contents, strict=True):
            write_whole(path, content)
        mean = confidence(found.lines)
        return {
            **row.extra,
            "id": row.id,
            "words": len(words_of(found.lines)),
            "confidence": None if math.isnan(mean) else round(mean, 6),
            **found.fit.as_dict(),
            "notes": list(found.notes),
            "files": {path.name: len(content) for path, content in zip(paths, contents, strict=True)},
            "fingerprint": fingerprint,
        }

    def _vocabulary(self, labels: Path, blank: int | None, scores: Scores) -> Vocabulary:
        """A row's vocabulary: its notes on the blank are its own, and the rest is shared."""
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
        CTCError: it can't be read.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()[:16]
