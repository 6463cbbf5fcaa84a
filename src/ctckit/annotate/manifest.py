"""Manifests: JSON lines, one for each recording, checked one by one. Imports utterance.py.

Whatever is wrong with a line is that line's alone, so a manifest has good rows and bad ones.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CTCError
from .utterance import check_frame_shift

KEYS = ("id", "emissions", "text", "transcript", "labels", "frame_shift", "blank")


class Defaults(NamedTuple):
    """For rows that don't say.

    Attributes:
        labels: the file of the labels.
        frame_shift: seconds.
        blank: the blank's class; to be told from the labels if None.
    """

    labels: Path | None = None
    frame_shift: float | None = None
    blank: int | None = None


class Row(NamedTuple):
    """A row of the manifest, with the paths as they are from here.

    Attributes:
        line: its line, from 1.
        id: what its outputs are called.
        given: all that the manifest says of it.
        emissions: the file of its scores.
        text: the transcript, or the file that holds it.
        labels: the file of its labels.
        frame_shift: seconds.
        blank: the blank's class, if it isn't to be told from the labels.
    """

    line: int
    id: str
    given: dict[str, Any]
    emissions: Path
    text: str | Path
    labels: Path
    frame_shift: float
    blank: int | None

    @property
    def inputs(self) -> list[Path]:
        """The files that it is made from."""
        return [path for path in (self.emissions, self.text, self.labels) if isinstance(path, Path)]


class BadRow(NamedTuple):
    """A row that could not be aligned, as ``errors.jsonl`` has it."""

    id: str | None
    line: int
    reason: str


def read_manifest(path: Path, defaults: Defaults) -> list[Row | BadRow]:
    """The rows of a manifest, each by itself; empty lines are none.

    Raises:
        CTCError: it can't be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CTCError(f"{path} can't be read: {error.strerror or error}") from None
    lines = enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [_row(line, number, path.parent, defaults) for number, line in lines if line.strip()]


def _row(line: bytes, number: int, folder: Path, defaults: Defaults) -> Row | BadRow:
    """A line of the manifest, by itself."""
    id = None
    try:
        given = _object(line)
        id = given["id"] if isinstance(given.get("id"), str) else None
        checked = _checked_id(given.get("id"))
        unknown = [key for key in given if key not in KEYS]
        if unknown:
            raise CTCError(f"{unknown[0]!r} is unknown: expected {', '.join(KEYS)}")
        if ("text" in given) == ("transcript" in given):
            raise CTCError("expected either 'text', the transcript itself, or 'transcript', the file that holds it")
        text = _string(given, "text") if "text" in given else folder / _string(given, "transcript")
        labels = folder / _string(given, "labels") if "labels" in given else defaults.labels
        if labels is None:
            raise CTCError("'labels' is missing: expected the file of the labels here, or --labels for all rows")
        emissions = folder / _string(given, "emissions")
        shift, blank = _shift(given, defaults.frame_shift), _blank(given, defaults.blank)
        return Row(number, checked, given, emissions, text, labels, shift, blank)
    except CTCError as error:
        return BadRow(id, number, str(error))


def _object(line: bytes) -> dict[str, Any]:
    try:
        given = json.loads(line.decode())
    except UnicodeDecodeError:
        raise CTCError("the line is no UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise CTCError(f"the line is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise CTCError(f'the line is a {type(given).__name__}: expected an object, such as {{"id": …}}')
    return given


def _checked_id(id: object) -> str:
    """An id that can be the name of a file, everywhere."""
    if not isinstance(id, str) or not id:
        raise CTCError(f"id is {id!r}: expected a string that names the row's files")
    wrong = re.search(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', id)
    if wrong:
        raise CTCError(f'id {id!r} has {wrong[0]!r}: it names files, and may not hold / \\ : * ? " < > | or the like')
    if id[0] == "." or id[-1] in ". ":
        raise CTCError(f"id {id!r} begins with a dot, or ends with one or with a space: it names files")
    if len(id.encode()) > 200:
        raise CTCError(f"id {id[:20]!r}… has {len(id.encode())} bytes: it names files, expected at most 200")
    return id


def _string(given: dict[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise CTCError(f"{key!r} is {value!r}: expected a string, not empty" if key in given else f"{key!r} is missing")
    return value


def _shift(given: dict[str, Any], default: float | None) -> float:
    value = given.get("frame_shift", default)
    if value is None:
        raise CTCError("'frame_shift' is missing: expected seconds here, or --frame-shift for all rows")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CTCError(f"'frame_shift' is {value!r}: expected seconds")
    return check_frame_shift(value)


def _blank(given: dict[str, Any], default: int | None) -> int | None:
    value = given.get("blank", default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise CTCError(f"'blank' is {value!r}: expected a class, such as 0")
    return value


def separate(
    rows: Sequence[Row | BadRow], outputs: Callable[[Row], list[Path]], inputs: Sequence[Path]
) -> Iterator[Row | BadRow]:
    """The same rows, without those whose files would be another's, or something that is read.

    Args:
        rows: of the manifest.
        outputs: what will be written for a row.
        inputs: what is read besides the rows' own inputs.
    """
    read = {os.path.abspath(path) for row in rows if isinstance(row, Row) for path in row.inputs}
    read.update(map(os.path.abspath, inputs))
    seen: dict[str, Row] = {}
    for row in rows:
        if isinstance(row, BadRow):
            yield row
            continue
        key = unicodedata.normalize("NFC", row.id).casefold()  # as disks of Macs and Windows take them
        first = seen.setdefault(key, row)
        lost = [path for path in outputs(row) if os.path.abspath(path) in read]
        if first is not row:
            what = "that" if first.id == row.id else f"not told apart by all disks from {first.id!r},"
            yield BadRow(row.id, row.line, f"id {row.id!r} is {what} of line {first.line}: expected each id once")
        elif lost:
            yield BadRow(row.id, row.line, f"its output {lost[0]} is an input: choose another --out or --format")
        else:
            yield row
