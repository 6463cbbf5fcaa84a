"""Files of timed text in many formats, chosen by the file's ending: annotations, subtitles, tables.

A format is one function from lines to the file's text, and a row in `FORMATS`; everything else that lists the formats
reads that table. Imports files/, results.py, validate/, cues.py and syllables.py; the packages that write TextGrids
(praatio) and .ass files (pysubs2) are imported when such a file is written.
"""

from __future__ import annotations

import csv
import html
import importlib.util
import io
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args
from xml.etree import ElementTree

from ..errors import CTCError, MissingExtraError
from ..files import write_whole
from ..results import Place, Segment
from ..validate import check_choice, check_integer
from .cues import Cue, cues
from .syllables import flat

DIGITS = 6  # decimals of seconds, in formats that don't fix their own
COLUMNS = ("level", "line", "word", "token", "text", "start", "end", "score", "confidence")
ROWS = ("top", "bottom")  # also of an image: the rows of each piece


Level = Literal["line", "word", "token"]
LEVELS: tuple[Level, ...] = get_args(Level)


class Annotation(NamedTuple):
    """What is written to a file.

    Attributes:
        lines: of the transcript, with their words and tokens.
        duration: seconds, of the whole recording.
        name: of the recording, for formats that store it.
        facts: what else a file of everything says: numbers, strings, lists and dictionaries, by name.
        level: which pieces are written, in formats that hold one level.
        line_length: of subtitles, in cells; see :func:`ctckit.annotate.cues.cues`.
        places: of an image: where each line is. Times are then pixels from the left.
    """

    lines: Sequence[Segment]
    duration: float
    name: str
    facts: Mapping[str, Any] = MappingProxyType({})
    level: Level = "word"
    line_length: int | None = None
    places: Sequence[Place] = ()

    @property
    def placed(self) -> list[tuple[Segment, Place | None]]:
        """The lines, each with its place, if it has one."""
        places: Sequence[Place | None] = self.places or [None] * len(self.lines)
        return list(zip(self.lines, places, strict=True))


def write(
    lines: Sequence[Segment],
    path: str | Path,
    *,
    duration: float | None = None,
    level: Level | None = None,
    line_length: int | None = None,
) -> None:
    r"""Writes timed text, whole or not at all, in the format of the file's ending.

    Pieces without a time are left out, except in JSON and tables, where their numbers are null or empty.

    ==================  =================================================================================
    ``.TextGrid``       Praat: tiers of lines, words and tokens. Of two that overlap, the earlier ends early.
    ``.eaf``            ELAN: the same tiers; times in whole milliseconds.
    ``.srt`` ``.vtt``   subtitles: one per line; several if it is too long for one.
    ``.ass``            the same with karaoke: by token where a word's tokens spell it, else by word.
    ``.ctm``            one word per line: recording, channel 1, start, duration, word, confidence.
    ``.txt``            Audacity labels: one word per line.
    ``.json``           everything.
    ``.csv`` ``.tsv``   everything: one row per line, word and token.
    ==================  =================================================================================

    A subtitle has at most two lines and lasts at most 7 seconds. A line of the text that needs more is divided: after
    sentences, at pauses, after parts of sentences, or between words.

    Args:
        lines: as a transcript's ``segments`` gives them.
        path: the file; its name without the ending is the recording's name.
        duration: seconds, of the whole recording; the end of the last line if not given.
        level: ``"line"``, ``"word"`` or ``"token"``: one per piece of this level in ``.srt``, ``.vtt``, ``.ctm`` and
            ``.txt``; by default as the table says.
        line_length: cells of a line of subtitles, of which a full-width character takes two; a longer word stays whole.
            By default 42, or 32 for text of mostly full-width characters. 0 keeps the lines of the text whole.

    Raises:
        CTCError: the ending is unknown, the format can't hold such times or has no place for an option, or the file
            can't be written.
        MissingExtraError: when the package that writes this format is not installed.

    Example:
        >>> word = Segment("cat", 0.5, 1.0, -0.1, 0.9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "x.ctm"
        ...     write([Segment("cat", 0.5, 1.0, -0.1, 0.9, (word,))], file)
        ...     file.read_text()
        'x 1 0.500 0.500 cat 0.900\n'
    """
    path = Path(path)
    check_layout(level, line_length, [path])
    write_whole(path, encoded(lines, path, duration=duration, level=level, line_length=line_length))


def encoded(
    lines: Sequence[Segment],
    path: Path,
    *,
    duration: float | None = None,
    facts: Mapping[str, Any] = MappingProxyType({}),
    level: Level | None = None,
    line_length: int | None = None,
    places: Sequence[Place] = (),
) -> bytes:
    """The bytes that :func:`write` would write to this path; with what the format has a place for."""
    found = check_format(path)
    ends = [piece.end for piece in _timed(lines)]
    level, duration = level or found.level or "word", max([duration or 0.0, *ends])
    annotation = Annotation(lines, duration, path.stem, facts, level, line_length, places)
    if annotation.duration == math.inf:
        raise CTCError(f"{path}: the recording has inf seconds: expected a finite time; check the frame shift")
    if annotation.duration >= 3600 * found.hours:
        raise CTCError(
            f"{path}: the recording has {annotation.duration:.0f} s: expected less than {found.hours:g} h, the limit "
            f"of {path.suffix}; choose another format"
        )
    try:
        return found.text(annotation).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise CTCError(
            f"{path}: the text holds U+{code:04X}, half of a surrogate pair, which UTF-8 can't encode"
        ) from None


def check_format(path: Path) -> Format:
    """The format of a path's ending.

    Raises:
        CTCError: the ending is unknown.
        MissingExtraError: the package that writes the format is not installed.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise CTCError(f"{path} has the ending {path.suffix!r}: expected one of {', '.join(ENDINGS)}")
    if found.package and importlib.util.find_spec(found.package) is None:
        raise MissingExtraError(f"Writing {path.suffix} files", "align", found.package)
    return found


def check_layout(level: Level | None, line_length: int | None, paths: Sequence[Path]) -> None:
    """Raises a CTCError for an unknown level, a line length that is none, and for what no file has a place for."""
    formats = [check_format(path) for path in paths]
    if level is not None:
        check_choice("level", level, LEVELS)
        if not any(format.level for format in formats):
            able = ", ".join(format.ending for format in FORMATS.values() if format.level)
            raise CTCError(f"level = {level}: expected a format that holds one level: {able}; others hold all of them")
    if line_length is not None:
        check_integer("line_length", line_length, 0)
        if not any(format.divides and (format.level is None or level in (None, "line")) for format in formats):
            able = ", ".join(format.ending for format in FORMATS.values() if format.divides)
            raise CTCError(f"line_length = {line_length}: expected subtitles of lines: {able}; others are not divided")


def _at_level(annotation: Annotation) -> list[Segment]:
    """The pieces for a format that holds one level."""
    return _timed(_tiers(annotation)[f"{annotation.level}s"])


def _timed(pieces: Sequence[Segment]) -> list[Segment]:
    return [piece for piece in pieces if not math.isnan(piece.start)]


# --- tiers: Praat and ELAN --------------------------------------------------------------------------------------------


def _textgrid(annotation: Annotation) -> str:
    from praatio.textgrid import IntervalTier, Textgrid

    end = round(annotation.duration, DIGITS) or 10.0**-DIGITS  # Praat accepts no grid of length 0
    grid = Textgrid(0, end)
    for name, pieces in _tiers(annotation).items():
        intervals = list(_intervals(pieces))
        grid.addTier(IntervalTier(name, intervals or [(0, end, "")], 0, end))
    with tempfile.TemporaryDirectory() as folder:  # praatio writes to a path only
        file = Path(folder) / "x.TextGrid"
        grid.save(str(file), "long_textgrid", includeBlankSpaces=True)
        return file.read_text(encoding="utf-8")


def _eaf(annotation: Annotation) -> str:
    """An ELAN document (EAF 3.0) with three independent tiers of time-aligned annotations."""
    root = ElementTree.Element(
        "ANNOTATION_DOCUMENT",
        {"AUTHOR": "ctckit", "DATE": "1970-01-01T00:00:00+00:00", "FORMAT": "3.0", "VERSION": "3.0"}  # a fixed date
        | {"xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"}
        | {"xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"},
    )
    ElementTree.SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order = ElementTree.SubElement(root, "TIME_ORDER")
    times: list[tuple[int, ElementTree.Element, str]] = []  # each with the element that refers to it, and how
    for name, pieces in _tiers(annotation).items():
        tier = ElementTree.SubElement(root, "TIER", LINGUISTIC_TYPE_REF="default-lt", TIER_ID=name)
        for start, end, text in _intervals(pieces, digits=3):
            aligned = ElementTree.SubElement(ElementTree.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION")
            aligned.set("ANNOTATION_ID", f"a{len(times) // 2 + 1}")
            times.append((round(1000 * start), aligned, "TIME_SLOT_REF1"))
            times.append((round(1000 * end), aligned, "TIME_SLOT_REF2"))
            # XML lacks these two characters.
            ElementTree.SubElement(aligned, "ANNOTATION_VALUE").text = re.sub("[\ufffe\uffff]", "\ufffd", text)
    for number, (time, aligned, reference) in enumerate(sorted(times, key=lambda time: time[0]), start=1):
        ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=f"ts{number}", TIME_VALUE=str(time))
        aligned.set(reference, f"ts{number}")
    ElementTree.SubElement(root, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="default-lt", TIME_ALIGNABLE="true")
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _tiers(annotation: Annotation) -> dict[str, Sequence[Segment]]:
    words = [word for line in annotation.lines for word in line.parts]
    return {"lines": annotation.lines, "words": words, "tokens": [token for word in words for token in word.parts]}


def _intervals(pieces: Sequence[Segment], digits: int = DIGITS) -> Iterator[tuple[float, float, str]]:
    """The intervals of a tier, none of them empty, and none overlapping the next."""
    ordered = sorted(_timed(pieces), key=lambda piece: piece.start)
    limits = [*(piece.start for piece in ordered[1:]), math.inf]
    for piece, limit in zip(ordered, limits, strict=False):  # without pieces there is one limit too many
        start, end = round(piece.start, digits), round(min(piece.end, limit), digits)
        if start < end:
            text = flat(piece.text)
            yield start, end, "␣" if text.isspace() else text  # spaces alone would mean an empty interval


# --- subtitles --------------------------------------------------------------------------------------------------------


def _srt(annotation: Annotation) -> str:
    cues = enumerate(_cues(annotation), 1)
    return "".join(f"{i}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n\n" for i, (start, end, text) in cues)


def _vtt(annotation: Annotation) -> str:
    cues = ((start, end, html.escape(text, quote=False)) for start, end, text in _cues(annotation))
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n\n" for start, end, text in cues
    )


def _cues(annotation: Annotation) -> Iterator[tuple[int, int, str]]:
    """Start and end in milliseconds, and the text, of the pieces that have a time and a text."""
    for piece in _at_level(annotation):
        whole = annotation.level != "line"
        for cue in cues(piece._replace(parts=()), 0) if whole else cues(piece, annotation.line_length):
            text = cue.text.strip()
            if text:
                start = round(1000 * cue.start)
                yield start, max(round(1000 * cue.end), start + 1), text  # players drop subtitles of length 0


def _clock(milliseconds: int, point: str) -> str:
    """Hours, minutes, seconds and milliseconds, as subtitles write them."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{rest:03}"


def _ass(annotation: Annotation) -> str:
    from pysubs2 import SSAEvent, SSAFile

    subtitles = SSAFile()
    for line in _timed(annotation.lines):
        for cue in cues(line, annotation.line_length):
            start = 10 * round(100 * cue.start)
            text = "".join(_karaoke(cue))
            subtitles.append(SSAEvent(start, max(10 * round(100 * cue.end), start + 10), text=text))
    return str(subtitles.to_string("ass", header_notice="Written by ctckit"))


def _karaoke(cue: Cue) -> Iterator[str]:
    """A cue's syllables and pauses, each with its length in hundredths of a second."""
    now = round(100 * cue.start)
    for syllable in cue.syllables:
        start = max(now, round(100 * syllable.start))
        end = max(start, round(100 * syllable.end))
        if start > now:
            yield f"{{\\k{start - now}}}"
        # A brace would begin a tag, and a backslash may be one. Players understand an escaped brace; a word joiner
        # keeps a backslash from forming a tag with the next letter.
        escaped = syllable.text.replace("\\", "\\\N{WORD JOINER}").replace("{", "\\{").replace("}", "\\}")
        yield f"{{\\k{end - start}}}{escaped}".replace("\n", "\\N")
        now = end


# --- tables -----------------------------------------------------------------------------------------------------------


def _ctm(annotation: Annotation) -> str:
    def field(text: str) -> str:
        return re.sub(r"\s+", "_", flat(text).strip()) or "<eps>"  # white space ends a field

    words = _at_level(annotation)
    digits, name = _digits(words), field(annotation.name)
    rows = []
    for word in words:
        start, end = round(word.start, digits), round(word.end, digits)
        times = f"{start:.{digits}f} {end - start:.{digits}f}"
        rows.append(f"{name} 1 {times} {field(word.text)} {word.confidence:.3f}\n")
    return "".join(rows)


def _digits(words: Sequence[Segment]) -> int:
    """The fewest decimals of seconds, at least 3, that keep words from having no duration, or another's start."""
    starts = {word.start for word in words}
    for digits in range(3, DIGITS):
        lasting = all(round(word.start, digits) < round(word.end, digits) for word in words)
        if lasting and len({round(start, digits) for start in starts}) == len(starts):
            return digits
    return DIGITS


def _audacity(annotation: Annotation) -> str:
    return "".join(f"{word.start:.6f}\t{word.end:.6f}\t{flat(word.text)}\n" for word in _at_level(annotation))


def _json(annotation: Annotation) -> str:
    def pieces(given: Sequence[tuple[Segment, Place | None]], *levels: str) -> list[dict[str, Any]]:
        return [
            dict(zip(Segment._fields, (piece.text, *_numbers(piece)), strict=False))
            | (dict(zip(ROWS, _rows(piece, place), strict=True)) if place else {})
            | ({levels[0]: pieces([(part, place) for part in piece.parts], *levels[1:])} if levels else {})
            for piece, place in given
        ]

    def text(content: Any) -> str:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)

    lines = ",\n".join(map(text, pieces(annotation.placed, "words", "tokens")))  # one per line
    name, duration = text(annotation.name), text(round(annotation.duration, DIGITS))
    known = "".join(f"{text(key)}: {text(value)}, " for key, value in annotation.facts.items())
    return f'{{"name": {name}, "duration": {duration}, {known}"lines": [\n{lines}\n]}}\n'


def _csv(annotation: Annotation) -> str:
    return _table(annotation, ",")


def _tsv(annotation: Annotation) -> str:
    return _table(annotation, "\t")


def _table(annotation: Annotation, separator: str) -> str:
    """One row per line, word and token; each is numbered from 0 within its parent."""
    memory = io.StringIO()
    table = csv.writer(memory, delimiter=separator, lineterminator="\n")
    table.writerow((*COLUMNS, *ROWS) if annotation.places else COLUMNS)

    def row(level: str, index: tuple[int | None, ...], piece: Segment, place: Place | None) -> None:
        text = re.sub(r"\r\n?", "\n", piece.text)  # a lone \r ends a row, and Python's writer does not quote it
        table.writerow((level, *index, text, *_numbers(piece), *(_rows(piece, place) if place else ())))

    for i, (line, place) in enumerate(annotation.placed):
        row("line", (i, None, None), line, place)
        for j, word in enumerate(line.parts):
            row("word", (i, j, None), word, place)
            for k, token in enumerate(word.parts):
                row("token", (i, j, k), token, place)
    return memory.getvalue()


def _rows(piece: Segment, place: Place) -> list[float | None]:
    """The rows of a piece, from its top to its bottom; None without a place."""
    if math.isnan(piece.start):
        return [None, None]
    return [round(row, 1) for row in place.rows(piece.start, piece.end)]


def _numbers(piece: Segment) -> list[float | None]:
    """Start, end, score and confidence; None for missing values."""
    values = (piece.start, piece.end, piece.score, piece.confidence)
    return [round(value, DIGITS) if math.isfinite(value) else None for value in values]


# --- the formats ------------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """A way to write an annotation.

    Attributes:
        ending: of the files' names, as people write it; upper and lower case are the same.
        text: makes a file's content.
        package: what must be installed for it.
        hours: times must be less than this.
        level: of its pieces by default, if it holds one level.
        divides: whether it divides lines that are too long.
    """

    ending: str
    text: Callable[[Annotation], str]
    package: str | None = None
    hours: float = math.inf
    level: Level | None = None
    divides: bool = False


FORMATS = {
    format.ending.lower(): format
    for format in (
        Format(".TextGrid", _textgrid, "praatio"),
        Format(".eaf", _eaf),
        Format(".srt", _srt, hours=100, level="line", divides=True),
        Format(".vtt", _vtt, hours=100, level="line", divides=True),
        Format(".ass", _ass, "pysubs2", 10, divides=True),
        Format(".ctm", _ctm, level="word"),
        Format(".json", _json),
        Format(".csv", _csv),
        Format(".tsv", _tsv),
        Format(".txt", _audacity, level="word"),
    )
}
ENDINGS = tuple(format.ending for format in FORMATS.values())
