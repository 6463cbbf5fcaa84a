"""Files of timed text, in the format that the name ends in: annotations, subtitles, tables.

A format is one function from lines to the file's text, and a row in `FORMATS`. Imports files.py and results.py; the
packages that write TextGrids (praatio) and subtitles (pysubs2) are imported when such a file is written.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CTCError, MissingExtraError
from ..files import write_whole
from ..results import Segment

DIGITS = 6  # after the point, of seconds: microseconds, where a format does not have fewer
COLUMNS = ("level", "line", "word", "token", "text", "start", "end", "score", "confidence")


class Annotation(NamedTuple):
    """What a file says.

    Attributes:
        lines: of the transcript, with their words and tokens.
        duration: seconds, of the whole recording.
        name: of the recording, for the formats that repeat it.
    """

    lines: Sequence[Segment]
    duration: float
    name: str


def write(lines: Sequence[Segment], path: str | Path, *, duration: float | None = None) -> None:
    r"""Writes timed text, whole or not at all, in the format that the name ends in.

    Pieces without a time are left out, but for JSON and tables, where their numbers are null or empty.

    ==================  =================================================================================
    ``.TextGrid``       Praat's: tiers of lines, words and tokens. Where two overlap, the earlier ends early.
    ``.srt`` ``.vtt``   subtitles: one for each line.
    ``.ass``            the same as karaoke: by token where a word's tokens spell it, else by word.
    ``.ctm``            a word a line: recording, channel 1, start, duration, word, confidence.
    ``.txt``            Audacity's labels: a word a line.
    ``.json``           everything.
    ``.csv`` ``.tsv``   everything: a row for each line, word and token.
    ==================  =================================================================================

    Args:
        lines: as a transcript's ``segments`` gives them.
        path: the file; what stands before its ending names the recording.
        duration: seconds, of the whole recording; that of the lines if not given.

    Raises:
        CTCError: for any other ending, for times that the format can't hold, or when the file can't be written.
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
    write_whole(path, encoded(lines, path, duration=duration))


def encoded(lines: Sequence[Segment], path: Path, *, duration: float | None = None) -> bytes:
    """What :func:`write` would write to this path."""
    written = check_format(path)
    ends = [piece.end for piece in _timed(lines)]
    annotation = Annotation(lines, max([duration or 0.0, *ends]), path.stem)
    if annotation.duration >= 3600 * written.hours:
        raise CTCError(
            f"{path}: the recording has {annotation.duration:.0f} seconds: expected less than {written.hours} hours, "
            f"which is all that {path.suffix} can tell; choose another format"
        )
    try:
        return written.text(annotation).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise CTCError(f"{path}: the text holds U+{code:04X}, half of a character, which no file can hold") from None


def check_format(path: Path) -> Format:
    """The format that a path ends in.

    Raises:
        CTCError: there is none.
        MissingExtraError: its package is not installed.
    """
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        known = ", ".join(".TextGrid" if suffix == ".textgrid" else suffix for suffix in FORMATS)
        raise CTCError(f"{path} has the ending {path.suffix!r}: expected one of {known}")
    if found.package and importlib.util.find_spec(found.package) is None:
        raise MissingExtraError(f"Writing {path.suffix} files", "align", found.package)
    return found


def _timed(pieces: Sequence[Segment]) -> list[Segment]:
    return [piece for piece in pieces if not math.isnan(piece.start)]


def _flat(text: str) -> str:
    """Text for formats that give it one line: what would end the line, or a field of it, becomes a space."""
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]+", " ", text)


# --- Praat ------------------------------------------------------------------------------------------------------------


def _textgrid(annotation: Annotation) -> str:
    from praatio.textgrid import IntervalTier, Textgrid

    lines = annotation.lines
    words = [word for line in lines for word in line.parts]
    tokens = [token for word in words for token in word.parts]
    end = round(annotation.duration, DIGITS) or 10.0**-DIGITS  # Praat has no grid without any time
    grid = Textgrid(0, end)
    for name, pieces in (("lines", lines), ("words", words), ("tokens", tokens)):
        intervals = list(_intervals(pieces))
        grid.addTier(IntervalTier(name, intervals or [(0, end, "")], 0, end))
    with tempfile.TemporaryDirectory() as folder:  # praatio writes to a path only
        file = Path(folder) / "x.TextGrid"
        grid.save(str(file), "long_textgrid", includeBlankSpaces=True)
        return file.read_text(encoding="utf-8")


def _intervals(pieces: Sequence[Segment]) -> Iterator[tuple[float, float, str]]:
    """Intervals of a tier, which have a length and do not overlap."""
    ordered = sorted(_timed(pieces), key=lambda piece: piece.start)
    limits = [*(piece.start for piece in ordered[1:]), math.inf]
    for piece, limit in zip(ordered, limits, strict=False):  # one limit too many if there is nothing
        start, end = round(piece.start, DIGITS), round(min(piece.end, limit), DIGITS)
        if start < end:
            text = _flat(piece.text)
            yield start, end, "␣" if text.isspace() else text  # spaces alone would say that there is nothing


# --- subtitles --------------------------------------------------------------------------------------------------------


def _srt(annotation: Annotation) -> str:
    return _subtitles(annotation, "srt", lambda text: text)


def _vtt(annotation: Annotation) -> str:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    return _subtitles(annotation, "vtt", escaped)


def _subtitles(annotation: Annotation, kind: str, escaped: Callable[[str], str]) -> str:
    from pysubs2 import SSAEvent, SSAFile

    subtitles = SSAFile()
    for line in _timed(annotation.lines):
        text = "".join(text for _, text in _spoken(line)).strip()
        if text:
            start = round(1000 * line.start)
            end = max(round(1000 * line.end), start + 1)  # players drop what has no length
            # pysubs2 would take \n for the end of a line.
            subtitles.append(SSAEvent(start, end, text=escaped(text).replace("\\", "\0")))
    return str(subtitles.to_string(kind, keep_ssa_tags=True)).replace("\0", "\\")


def _ass(annotation: Annotation) -> str:
    from pysubs2 import SSAEvent, SSAFile

    subtitles = SSAFile()
    for line in _timed(annotation.lines):
        text = "".join(_karaoke(line))
        if text:
            start = 10 * round(100 * line.start)
            subtitles.append(SSAEvent(start, max(10 * round(100 * line.end), start + 10), text=text))
    return str(subtitles.to_string("ass", header_notice="Written by ctckit"))


def _karaoke(line: Segment) -> Iterator[str]:
    """A line's syllables, each with its length in hundredths of a second, and its pauses."""
    now = round(100 * line.start)
    for piece, text in _syllables(line):
        start = max(now, round(100 * piece.start))
        end = max(start, round(100 * piece.end))
        if start > now:
            yield f"{{\\k{start - now}}}"
        # A brace would begin a tag, and a backslash may be one; players know the first of these ways out, and the
        # second keeps the backslash away from what follows.
        escaped = text.replace("\\", "\\\N{WORD JOINER}").replace("{", "\\{").replace("}", "\\}")
        yield f"{{\\k{end - start}}}{escaped}"
        now = end


def _syllables(line: Segment) -> Iterator[tuple[Segment, str]]:
    """The tokens of words that are spelled by them, and the other words; each with its text."""
    for word, text in _spoken(line):
        tokens = "".join(_flat(token.text) for token in word.parts)
        at = text.find(tokens)
        if not tokens or at < 0 or len(_timed(word.parts)) < len(word.parts):
            yield word, text
            continue
        before, after = text[:at], text[at + len(tokens) :]
        for i, token in enumerate(word.parts):
            last = i == len(word.parts) - 1
            yield token, (before if i == 0 else "") + _flat(token.text) + (after if last else "")


def _spoken(line: Segment) -> Iterator[tuple[Segment, str]]:
    """A line's words that have a time, each with its text and what stands between it and the next."""
    text = _flat(line.text)
    if not line.parts:
        yield line, text
        return
    starts, end = [], 0
    for word in line.parts:
        start = text.find(_flat(word.text), end)
        if start < 0:  # words of another spelling than the line's
            text = " ".join(_flat(word.text) for word in line.parts)
            lengths = [len(_flat(word.text)) + 1 for word in line.parts]
            starts = [sum(lengths[:i]) for i in range(len(lengths))]
            break
        starts.append(start)
        end = start + len(_flat(word.text))
    limits = [0, *starts[1:], len(text)]
    for word, start, limit in zip(line.parts, limits[:-1], limits[1:], strict=True):
        if not math.isnan(word.start):
            yield word, text[start:limit]


# --- tables -----------------------------------------------------------------------------------------------------------


def _words(annotation: Annotation) -> list[Segment]:
    return _timed([word for line in annotation.lines for word in line.parts])


def _ctm(annotation: Annotation) -> str:
    def field(text: str) -> str:
        return re.sub(r"\s+", "_", _flat(text).strip()) or "<eps>"  # white space ends a field

    rows = []
    for word in _words(annotation):
        start, end = round(word.start, 3), round(word.end, 3)
        rows.append(
            f"{field(annotation.name)} 1 {start:.3f} {end - start:.3f} {field(word.text)} {word.confidence:.3f}\n"
        )
    return "".join(rows)


def _audacity(annotation: Annotation) -> str:
    return "".join(f"{word.start:.6f}\t{word.end:.6f}\t{_flat(word.text)}\n" for word in _words(annotation))


def _json(annotation: Annotation) -> str:
    def pieces(given: Sequence[Segment], *levels: str) -> list[dict[str, Any]]:
        return [
            dict(zip(Segment._fields, (piece.text, *_numbers(piece)), strict=False))
            | ({levels[0]: pieces(piece.parts, *levels[1:])} if levels else {})
            for piece in given
        ]

    def text(content: Any) -> str:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)

    lines = ",\n".join(map(text, pieces(annotation.lines, "words", "tokens")))  # each on a line of its own
    name, duration = text(annotation.name), text(round(annotation.duration, DIGITS))
    return f'{{"name": {name}, "duration": {duration}, "lines": [\n{lines}\n]}}\n'


def _csv(annotation: Annotation) -> str:
    return _table(annotation, ",")


def _tsv(annotation: Annotation) -> str:
    return _table(annotation, "\t")


def _table(annotation: Annotation, separator: str) -> str:
    """A row for each line, word and token, numbered from 0 in what they belong to."""
    memory = io.StringIO()
    table = csv.writer(memory, delimiter=separator, lineterminator="\n")
    table.writerow(COLUMNS)

    def row(level: str, place: tuple[int | None, ...], piece: Segment) -> None:
        text = re.sub(r"\r\n?", "\n", piece.text)  # alone it ends a row, and Python's writer does not quote it
        table.writerow((level, *place, text, *_numbers(piece)))

    for i, line in enumerate(annotation.lines):
        row("line", (i, None, None), line)
        for j, word in enumerate(line.parts):
            row("word", (i, j, None), word)
            for k, token in enumerate(word.parts):
                row("token", (i, j, k), token)
    return memory.getvalue()


def _numbers(piece: Segment) -> list[float | None]:
    """Start, end, score and confidence; None for those that there are not."""
    values = (piece.start, piece.end, piece.score, piece.confidence)
    return [round(value, DIGITS) if math.isfinite(value) else None for value in values]


# --- the formats ------------------------------------------------------------------------------------------------------


class Format(NamedTuple):
    """A way to write an annotation.

    Attributes:
        text: makes the file's text.
        package: what must be installed for it.
        hours: times must be less than these.
    """

    text: Callable[[Annotation], str]
    package: str | None = None
    hours: float = math.inf


FORMATS = {
    ".textgrid": Format(_textgrid, "praatio"),
    ".srt": Format(_srt, "pysubs2", 100),
    ".vtt": Format(_vtt, "pysubs2", 100),
    ".ass": Format(_ass, "pysubs2", 10),
    ".ctm": Format(_ctm),
    ".json": Format(_json),
    ".csv": Format(_csv),
    ".tsv": Format(_tsv),
    ".txt": Format(_audacity),
}
