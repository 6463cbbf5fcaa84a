"""Manifests: one line per recording.

Imports forms.py, folder.py, places.py, ids.py, annotate/, files/, recognisers/ and validate/. Each line is
checked by itself: a line that is wrong becomes a failed row, and the others are not affected.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..annotate.sources import Recorded, Source, Stored, kind_of
from ..errors import CTCError
from ..files import Kind
from ..recognisers import Part
from ..recognisers.named import shared
from ..validate import check_frame_shift, check_offset
from .folder import is_folder, list_folder, root_of
from .forms import Given, Listed, gives_places, id_of, in_our_words, list_rows, names_recording
from .ids import checked_id, file_name
from .places import Places

KEYS = ("id", "emissions", "text", "transcript", "labels", "frame_shift", "offset", "blank")


class Defaults(NamedTuple):
    """Values for rows that don't give their own.

    Attributes:
        labels: the file of the labels.
        frame_shift: seconds.
        blank: the blank's class; found from the labels if None.
        offset: seconds; the beginning of the first frame.
        emissions: where the scores are, or with a recogniser the recordings: a folder, or an ``.scp``, ``.ark``,
            ``.tar`` or ``.parquet``.
        recogniser: the name of the recogniser that makes scores of the rows' recordings or images. It also says what
            labels, frame shift and blank do for scores.
        texts: for a folder of recordings, the folder of their texts; None: beside them.
    """

    labels: Path | None = None
    frame_shift: float | None = None
    blank: int | None = None
    offset: float = 0.0
    emissions: Path | None = None
    recogniser: str | None = None
    texts: Path | None = None

    @property
    def kind(self) -> Kind | None:
        """The kind of recordings that rows have; None if they have scores. The recogniser is loaded."""
        return None if self.recogniser is None else kind_of(shared(self.recogniser))


class Row(NamedTuple):
    """A valid row of the manifest. Its paths are relative to the working directory.

    Attributes:
        line: its line number, from 1.
        id: its name.
        given: the content of the line.
        source: where its scores come from.
        text: the transcript, or the file that holds it; None if the row has none and does not need one.
        offset: seconds; the beginning of the first frame.
    """

    line: int
    id: str
    given: Given
    source: Source
    text: str | Path | None
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
        return [*self.source.inputs, *([self.text] if isinstance(self.text, Path) else [])]


class FailedRow(NamedTuple):
    """A row that is invalid or could not be done; a line of ``errors.jsonl``."""

    id: str | None
    line: int
    reason: str


def read_manifest(path: Path, defaults: Defaults, *, needs_text: bool) -> list[Row | FailedRow]:
    """The rows of a manifest; empty lines are skipped.

    Args:
        path: the manifest's path. An ``.scp`` has rows without a text. It, a ``.tar`` and a ``.parquet`` with a column
            of scores also give the rows' scores, unless the defaults do; with a recogniser, the rows' recordings. A
            folder of recordings, or a pattern such as ``*.flac``, has a row for each.
        defaults: values for rows that don't give their own.
        needs_text: whether a row without a text is invalid. If not, an empty text is treated as no text.

    Raises:
        CTCError: the manifest or the place of the scores can't be read.
        MissingExtraError: a package is missing that reads the manifest, or the place of the scores.
    """
    kind = defaults.kind
    if kind is not None and is_folder(path):
        rows = list_folder(path, defaults.texts, kind, needs_text)
        return [_row(row, root_of(path), defaults, None, needs_text) for row in rows]
    rows = list_rows(path, needs_text)
    place = path if defaults.emissions is None and gives_places(path, kind) else defaults.emissions
    places = None if place is None else Places(place, kind)
    return [_row(row, path.parent, defaults, places, needs_text) for row in rows]


def _row(row: Listed, folder: Path, defaults: Defaults, places: Places | None, needs_text: bool) -> Row | FailedRow:
    id = None
    try:
        raw = row.given()
        named = id_of(raw)
        id = named if isinstance(named, str) else None
        checked = checked_id(named)
        _check_keys(raw)
        given = in_our_words(raw, needs_text)
        text = _text(given, defaults.texts or folder, needs_text)
        if defaults.recogniser is None:
            source: Source = _stored(given, checked, folder, defaults, places)
        else:
            source = _recorded(given, checked, folder, defaults.recogniser, places)
        offset = check_offset(defaults.offset if given.get("offset") is None else given["offset"])
        return Row(row.number, checked, raw, source, text, offset)
    except CTCError as error:
        return FailedRow(id, row.number, str(error))


def _stored(given: Given, id: str, folder: Path, defaults: Defaults, places: Places | None) -> Stored:
    labels = folder / _name(given, "labels") if "labels" in given else defaults.labels
    if labels is None:
        raise CTCError("'labels' is missing: expected the label file in this row, or a default for all rows")
    emissions = _emissions(given, id, folder, places)
    return Stored(emissions, labels, _blank(given, defaults.blank), _shift(given, defaults.frame_shift))


def _recorded(given: Given, id: str, folder: Path, recogniser: str, places: Places | None) -> Recorded:
    """A row's recording; a part of it, if the row names its file and says which part."""
    kind = kind_of(shared(recogniser))
    named = names_recording(given, kind)
    if named is None and places is None:
        raise CTCError(
            f"{kind!r} is missing: expected a file in this row, or a folder, shard or table with those of all rows"
        )
    if named is None and places is not None:
        return Recorded(places.of(id), recogniser)
    path = _there(_name({kind: named}, kind), folder)
    return Recorded(path, recogniser, _part(given) if kind == "audio" else Part())


def _there(name: str, folder: Path) -> Path:
    """A file beside the manifest; or else from the working directory, as lhotse names it."""
    beside = folder / name
    return Path(name) if not beside.exists() and Path(name).exists() else beside


def _part(given: Given) -> Part:
    """The part of a file that a row is about."""
    start = check_offset(given.get("offset") or 0.0)
    duration, channel = given.get("duration"), given.get("channel")
    number = isinstance(duration, (int, float)) and not isinstance(duration, bool)
    if duration is not None and not (number and 0 < duration < math.inf):
        raise CTCError(f"'duration' is {duration!r}: expected seconds, above 0")
    return Part(start, duration, channel if type(channel) is int and channel >= 0 else None)


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


def _emissions(given: Given, id: str, folder: Path, places: Places | None) -> Path:
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
            of = f" ({first.source.path})" if isinstance(first.source, Recorded) else ""
            reason = f"id {row.id!r} is used on line {first.line}{of}{same}: expected each id once"
            if "id" not in row.given:
                reason += "; it is the stem of the recording's file: add an 'id' to rows of the same name"
            yield FailedRow(row.id, row.line, reason)
        elif clash:
            yield FailedRow(row.id, row.line, f"its output {clash[0]} is an input: choose another folder or format")
        else:
            yield row
