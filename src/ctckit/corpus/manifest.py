"""Manifests: one line per recording. Imports forms.py, emissions.py, ids.py, files/ and validate/.

Each line is checked by itself: a line that is wrong becomes a failed row, and the others are not affected.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import CTCError
from ..files import file_of
from ..validate import check_frame_shift, check_offset
from .emissions import Emissions
from .forms import Given, Listed, holds_scores, id_of, in_our_words, list_rows
from .ids import checked_id, file_name

KEYS = ("id", "emissions", "text", "transcript", "labels", "frame_shift", "offset", "blank")


class Defaults(NamedTuple):
    """Values for rows that don't give their own.

    Attributes:
        labels: the file of the labels.
        frame_shift: seconds.
        blank: the blank's class; found from the labels if None.
        offset: seconds; the beginning of the first frame.
        emissions: where the scores are: a folder, or an ``.scp``, ``.ark``, ``.tar`` or ``.parquet``.
    """

    labels: Path | None = None
    frame_shift: float | None = None
    blank: int | None = None
    offset: float = 0.0
    emissions: Path | None = None


class Row(NamedTuple):
    """A valid row of the manifest. Its paths are relative to the working directory.

    Attributes:
        line: its line number, from 1.
        id: its name.
        given: the content of the line.
        emissions: the file of its scores, or ``FILE:OFFSET`` in archives and ``FILE:ROW`` in tables.
        text: the transcript, or the file that holds it; None if the row has none and does not need one.
        labels: the file of its labels.
        frame_shift: seconds.
        blank: the blank's class; found from the labels if None.
        offset: seconds; the beginning of the first frame.
    """

    line: int
    id: str
    given: Given
    emissions: Path
    text: str | Path | None
    labels: Path
    frame_shift: float
    blank: int | None
    offset: float

    @property
    def name(self) -> str:
        """The name of its outputs, without their endings."""
        return file_name(self.id)

    @property
    def extra(self) -> Given:
        """The other keys of the line, which are copied to the log."""
        return {key: value for key, value in self.given.items() if key not in KEYS}

    @property
    def inputs(self) -> list[Path]:
        """The files that its outputs are made from."""
        return [path for path in (file_of(self.emissions), self.text, self.labels) if isinstance(path, Path)]


class FailedRow(NamedTuple):
    """A row that is invalid or could not be done; a line of ``errors.jsonl``."""

    id: str | None
    line: int
    reason: str


def read_manifest(path: Path, defaults: Defaults, *, needs_text: bool) -> list[Row | FailedRow]:
    """The rows of a manifest; empty lines are skipped.

    Args:
        path: the manifest's path. An ``.scp`` has rows without a text. It, a ``.tar`` and a ``.parquet`` with a column
            of scores also give the rows' scores, unless the defaults do.
        defaults: values for rows that don't give their own.
        needs_text: whether a row without a text is invalid. If not, an empty text is treated as no text.

    Raises:
        CTCError: the manifest or the place of the scores can't be read.
        MissingExtraError: a package is missing that reads the manifest, or the place of the scores.
    """
    rows = list_rows(path, needs_text)
    place = path if defaults.emissions is None and holds_scores(path) else defaults.emissions
    places = None if place is None else Emissions(place)
    return [_row(row, path.parent, defaults, places, needs_text) for row in rows]


def _row(row: Listed, folder: Path, defaults: Defaults, places: Emissions | None, needs_text: bool) -> Row | FailedRow:
    id = None
    try:
        raw = row.given()
        named = id_of(raw)
        id = named if isinstance(named, str) else None
        checked = checked_id(named)
        _check_keys(raw)
        given = in_our_words(raw, needs_text)
        text = _text(given, folder, needs_text)
        labels = folder / _name(given, "labels") if "labels" in given else defaults.labels
        if labels is None:
            raise CTCError("'labels' is missing: expected the label file in this row, or a default for all rows")
        emissions = _emissions(given, checked, folder, places)
        shift, blank = _shift(given, defaults.frame_shift), _blank(given, defaults.blank)
        offset = check_offset(defaults.offset if given.get("offset") is None else given["offset"])
        return Row(row.number, checked, raw, emissions, text, labels, shift, blank, offset)
    except CTCError as error:
        return FailedRow(id, row.number, str(error))


def _text(given: Given, folder: Path, needed: bool) -> str | Path | None:
    if not needed and not given.get("text") and not given.get("transcript"):
        return None
    if ("text" in given) == ("transcript" in given):
        raise CTCError("expected either 'text', the transcript itself, or 'transcript', the file that holds it")
    return _string(given, "text") if "text" in given else folder / _name(given, "transcript")


def _check_keys(given: Given) -> None:
    """Raises a CTCError for a key that is one of ours in another spelling. Other keys are allowed."""
    for key in given:
        meant = re.sub(r"[\W_]", "", key).lower()
        ours = next((known for known in KEYS if known != key and known.replace("_", "") == meant), None)
        if ours is not None:
            raise CTCError(f"{key!r} is unknown: expected {ours!r}")


def _emissions(given: Given, id: str, folder: Path, places: Emissions | None) -> Path:
    if "emissions" in given:
        return folder / _name(given, "emissions")
    if places is None:
        raise CTCError(
            "'emissions' is missing: expected a file in this row, or a folder or archive with those of all rows"
        )
    return places.of(id)


def _string(given: Given, key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise CTCError(f"{key!r} is {value!r}: expected a string, not empty" if key in given else f"{key!r} is missing")
    return value


def _name(given: Given, key: str) -> str:
    name = _string(given, key)
    if re.search("[\ud800-\udfff]", name):
        raise CTCError(f"{key!r} is {name!r}: expected a file's name, without lone surrogates")
    return name


def _shift(given: Given, default: float | None) -> float:
    value = given.get("frame_shift", default)
    if value is None:
        raise CTCError("'frame_shift' is missing: expected seconds in this row, or a default for all rows")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CTCError(f"'frame_shift' is {value!r}: expected seconds")
    return check_frame_shift(value)


def _blank(given: Given, default: int | None) -> int | None:
    value = given.get("blank", default)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise CTCError(f"'blank' is {value!r}: expected a class, such as 0")
    return value


def separate(
    rows: Sequence[Row | FailedRow], outputs: Callable[[Row], list[Path]], inputs: Sequence[Path]
) -> Iterator[Row | FailedRow]:
    """The same rows, except that rows fail whose outputs would overwrite those of another row, or an input.

    Args:
        rows: the manifest's rows.
        outputs: returns the files that will be written for a row.
        inputs: files that are read besides the rows' own inputs.
    """
    read = {os.path.abspath(path) for row in rows if isinstance(row, Row) for path in row.inputs}
    read.update(map(os.path.abspath, inputs))
    seen: dict[str, Row] = {}
    for row in rows:
        if isinstance(row, FailedRow):
            yield row
            continue
        key = unicodedata.normalize("NFC", row.name).casefold()  # macOS and Windows take such names for the same
        first = seen.setdefault(key, row)
        clash = [path for path in outputs(row) if os.path.abspath(path) in read]
        if first is not row:
            same = "" if first.id == row.id else f" as {first.id!r}, which is the same file name on some systems"
            reason = f"id {row.id!r} is used on line {first.line}{same}: expected each id once"
            if "id" not in row.given:
                reason += "; it is the stem of audio_filepath: add an 'id' to rows of the same name"
            yield FailedRow(row.id, row.line, reason)
        elif clash:
            yield FailedRow(row.id, row.line, f"its output {clash[0]} is an input: choose another folder or format")
        else:
            yield row
