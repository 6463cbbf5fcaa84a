"""Manifests: one JSON line per recording. May import files/, errors.py and validate/.

Each line is checked by itself: a line that is wrong becomes a failed row, and the others are not affected.
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
from ..files import decoded, read_bytes
from ..validate import check_frame_shift, check_offset

KEYS = ("id", "emissions", "text", "transcript", "labels", "frame_shift", "offset", "blank")
# Windows takes these for devices, whatever follows a dot: no file can be called so.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9¹²³]) *(\..*)?", re.IGNORECASE)


class Defaults(NamedTuple):
    """For rows that don't say.

    Attributes:
        labels: the file of the labels.
        frame_shift: seconds.
        blank: the blank's class; found from the labels if None.
        offset: seconds, when the first frame begins.
    """

    labels: Path | None = None
    frame_shift: float | None = None
    blank: int | None = None
    offset: float = 0.0


class Row(NamedTuple):
    """A valid row of the manifest. Its paths are relative to the working directory.

    Attributes:
        line: its line number, from 1.
        id: the name of its outputs, without their endings.
        given: the line's JSON object.
        emissions: the file of its scores.
        text: the transcript, or the file that holds it.
        labels: the file of its labels.
        frame_shift: seconds.
        blank: the blank's class; found from the labels if None.
        offset: seconds, when the first frame begins.
    """

    line: int
    id: str
    given: dict[str, Any]
    emissions: Path
    text: str | Path
    labels: Path
    frame_shift: float
    blank: int | None
    offset: float

    @property
    def extra(self) -> dict[str, Any]:
        """What else the line says; it is passed on."""
        return {key: value for key, value in self.given.items() if key not in KEYS}

    @property
    def inputs(self) -> list[Path]:
        """The files that its outputs are made from."""
        return [path for path in (self.emissions, self.text, self.labels) if isinstance(path, Path)]


class FailedRow(NamedTuple):
    """A row that is invalid or could not be aligned; a line of ``errors.jsonl``."""

    id: str | None
    line: int
    reason: str


def read_manifest(path: Path, defaults: Defaults) -> list[Row | FailedRow]:
    """The rows of a manifest; empty lines are skipped.

    Raises:
        CTCError: the file can't be read.
    """
    lines = enumerate(read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1)
    return [_row(line, number, path.parent, defaults) for number, line in lines if line.strip()]


def _row(line: bytes, number: int, folder: Path, defaults: Defaults) -> Row | FailedRow:
    id = None
    try:
        given = _object(line)
        id = given["id"] if isinstance(given.get("id"), str) else None
        checked = _checked_id(given.get("id"))
        _check_keys(given)
        if ("text" in given) == ("transcript" in given):
            raise CTCError("expected either 'text', the transcript itself, or 'transcript', the file that holds it")
        text = _string(given, "text") if "text" in given else folder / _name(given, "transcript")
        labels = folder / _name(given, "labels") if "labels" in given else defaults.labels
        if labels is None:
            raise CTCError("'labels' is missing: expected the label file in this row, or a default for all rows")
        emissions = folder / _name(given, "emissions")
        shift, blank = _shift(given, defaults.frame_shift), _blank(given, defaults.blank)
        offset = check_offset(given.get("offset", defaults.offset))
        return Row(number, checked, given, emissions, text, labels, shift, blank, offset)
    except CTCError as error:
        return FailedRow(id, number, str(error))


def _check_keys(given: dict[str, Any]) -> None:
    """Raises a CTCError for a key that is one of ours in another spelling. Other keys are passed on."""
    for key in given:
        meant = re.sub(r"[\W_]", "", key).lower()
        ours = next((known for known in KEYS if known != key and known.replace("_", "") == meant), None)
        if ours is not None:
            raise CTCError(f"{key!r} is unknown: expected {ours!r}")


def _object(line: bytes) -> dict[str, Any]:
    text = decoded(line, "the line")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CTCError(f"the line is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise CTCError(f'the line is a {type(given).__name__}: expected an object, such as {{"id": …}}')
    return given


def _checked_id(id: object) -> str:
    """The id, if files can be named after it on all systems."""
    if not isinstance(id, str) or not id:
        raise CTCError(f"id is {id!r}: expected a string that names the row's files")
    wrong = re.search(r'[/\\:*?"<>|\x00-\x1f\x7f\ud800-\udfff]', id)
    if wrong:
        raise CTCError(
            f'id {id!r} has {wrong[0]!r}: it names files: expected none of / \\ : * ? " < > | and no controls'
        )
    if id[0] == "." or id[-1] in ". ":
        raise CTCError(f"id {id!r} begins with a dot, or ends with one or with a space: it names files")
    if _DEVICES.fullmatch(id):
        raise CTCError(f"id {id!r} is a device on Windows: it names files, expected another name")
    if len(id.encode()) > 200:
        raise CTCError(f"id {id[:20]!r}… has {len(id.encode())} bytes: it names files, expected at most 200")
    return id


def _string(given: dict[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise CTCError(f"{key!r} is {value!r}: expected a string, not empty" if key in given else f"{key!r} is missing")
    return value


def _name(given: dict[str, Any], key: str) -> str:
    name = _string(given, key)
    if re.search("[\ud800-\udfff]", name):
        raise CTCError(f"{key!r} is {name!r}: expected a file's name, without halves of surrogate pairs")
    return name


def _shift(given: dict[str, Any], default: float | None) -> float:
    value = given.get("frame_shift", default)
    if value is None:
        raise CTCError("'frame_shift' is missing: expected seconds in this row, or a default for all rows")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CTCError(f"'frame_shift' is {value!r}: expected seconds")
    return check_frame_shift(value)


def _blank(given: dict[str, Any], default: int | None) -> int | None:
    value = given.get("blank", default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise CTCError(f"'blank' is {value!r}: expected a class, such as 0")
    return value


def separate(
    rows: Sequence[Row | FailedRow], outputs: Callable[[Row], list[Path]], inputs: Sequence[Path]
) -> Iterator[Row | FailedRow]:
    """The same rows, but rows fail whose outputs would overwrite those of another row, or an input.

    Args:
        rows: of the manifest.
        outputs: the files that will be written for a row.
        inputs: files that are read besides the rows' own inputs.
    """
    read = {os.path.abspath(path) for row in rows if isinstance(row, Row) for path in row.inputs}
    read.update(map(os.path.abspath, inputs))
    seen: dict[str, Row] = {}
    for row in rows:
        if isinstance(row, FailedRow):
            yield row
            continue
        key = unicodedata.normalize("NFC", row.id).casefold()  # names that macOS and Windows take for the same
        first = seen.setdefault(key, row)
        clash = [path for path in outputs(row) if os.path.abspath(path) in read]
        if first is not row:
            same = "" if first.id == row.id else f" as {first.id!r}, which is the same file name on some systems"
            reason = f"id {row.id!r} is used on line {first.line}{same}: expected each id once"
            yield FailedRow(row.id, row.line, reason)
        elif clash:
            yield FailedRow(row.id, row.line, f"its output {clash[0]} is an input: choose another folder or format")
        else:
            yield row
