"""The forms that people keep transcripts in: plain lines, subtitles, Kaldi's text, JSON lines.

A module of its own because it knows files' forms and nothing of tokens. May import catalogue/,
validate/ and errors.py.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from ..catalogue.columns import unwrapped
from ..errors import CTCError
from ..validate import check_choice

TranscriptFormat = Literal["auto", "plain", "subtitles", "kaldi", "jsonl"]
TRANSCRIPT_FORMATS: tuple[TranscriptFormat, ...] = get_args(TranscriptFormat)

_TIME = r"(?:(\d+):)?(\d{1,2}):(\d\d)[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_NO_CUE = ("WEBVTT", "NOTE", "STYLE", "REGION")
_ID = re.compile(r"[A-Za-z]+[-_.]?\d[\w.-]*|\d+[-_]\d[\w.-]*")  # utt1, spk-03_5, 1089-134686-0000
_KEYS = ("text", "transcript")


class Script(NamedTuple):
    """A transcript as it was read.

    Attributes:
        text: its lines.
        times: of each line, where it begins and ends in seconds; empty if the form has no times.
        notes: what was left out, or may have been meant otherwise.
    """

    text: str
    times: tuple[tuple[float, float], ...] = ()
    notes: tuple[str, ...] = ()


def parse_transcript(text: str, name: str, transcript_format: TranscriptFormat = "auto") -> Script:
    r"""The lines of a transcript, without what is not said: cue numbers, times, ids.

    Args:
        text: the file's content.
        name: the file's name. ``.srt``, ``.vtt``, ``.jsonl`` and ``.json`` say what it is, and so do Kaldi's ``text``
            and ``….trans.txt``. Other files are plain, unless their content is clearly something else; then a note
            says so.
        transcript_format: what it is, whatever its name and content.

    Raises:
        CTCError: it is not what its name or the format says.

    Example:
        >>> parse_transcript("1\n00:00:01,000 --> 00:00:02,500\nA cat\nsat.\n", "x.srt")
        Script(text='A cat sat.', times=((1.0, 2.5),), notes=())
    """
    check_choice("transcript_format", transcript_format, TRANSCRIPT_FORMATS)
    form, notes = transcript_format, list[str]()
    if form == "auto":
        form, notes = _told(name, text.splitlines())
    lines = text.splitlines()
    if form == "subtitles":
        return _of_subtitles(lines, name)._replace(notes=tuple(notes))
    if form == "plain":
        return Script(text, notes=tuple(notes))
    said = [text for line in lines for text in line.split(maxsplit=1)[1:]] if form == "kaldi" else _of_json(lines, name)
    return Script("\n".join(said), notes=tuple(notes))


_FORMS = {
    "subtitles": "subtitles, without numbers and times",
    "kaldi": "Kaldi's text, without the ids",
    "jsonl": "JSON lines",
}


def _pass(transcript_format: str) -> str:
    return f"pass transcript_format={transcript_format}"


def _told(name: str, lines: Sequence[str]) -> tuple[TranscriptFormat, list[str]]:
    """What a file is by its name, else by its content, and a note where that may be wrong."""
    base = re.split(r"[/\\]", name)[-1].lower()
    if base.endswith((".srt", ".vtt")):
        return "subtitles", []
    if base.endswith((".jsonl", ".json")):
        return "jsonl", []
    seen, kaldis = _seen(lines), base == "text" or base.endswith(".trans.txt")
    if kaldis and seen == "kaldi":
        return "kaldi", []
    used = [line for line in lines if line.strip()]
    if seen == "plain" and not (kaldis and used):
        return "plain", []
    if kaldis or (seen == "kaldi" and len(used) == 1):
        first = used[0].split()[0]
        return "plain", [f"{name} looks like Kaldi's text: {first!r} is aligned as a word; {_pass('kaldi')}"]
    return seen, [f"{name} is read as {_FORMS[seen]}; if all of it is said, {_pass('plain')}"]


def _seen(lines: Sequence[str]) -> TranscriptFormat:
    """What the content of a file looks like."""
    used = [line.strip() for line in lines if line.strip()]
    if any(_TIMES.fullmatch(line) for line in used):
        return "subtitles"
    if used and all(line.startswith("{") and line.endswith("}") and '"' in line for line in used):
        return "jsonl"
    ids = [line.split()[0] for line in used]
    shapes = {re.sub(r"\d+", "0", id) for id in ids}
    alike = len(shapes) < len(ids) or len(ids) == 1
    different = len(set(ids)) == len(ids) and any(" " in line for line in used)
    return "kaldi" if ids and alike and different and all(map(_ID.fullmatch, ids)) else "plain"


def _of_subtitles(lines: Sequence[str], name: str) -> Script:
    """SubRip's and WebVTT's cues, a line for each that has text."""
    said: list[str] = []
    times: list[tuple[float, float]] = []
    found = False
    for block in _blocks(lines):
        starts = [i for i, line in enumerate(block) if _TIMES.fullmatch(line)]
        found = found or bool(starts)
        if not starts and said and not block[0].startswith(_NO_CUE):  # an empty line within a cue
            said[-1] = unwrapped([said[-1], *block])
        for start, end in zip(starts, [*starts, None][1:], strict=True):  # a file may lack the empty lines
            cue = [line.strip() for line in block[start + 1 : end]]
            text = unwrapped(cue[:-1] if end and cue and cue[-1].isdecimal() else cue)
            if text:
                said.append(html.unescape(text) if lines[0].startswith("WEBVTT") else text)
                times.append(_seconds(block[start]))
    if not found:
        raise CTCError(f"{name} has no times, as 00:00:01,000 --> 00:00:02,500: expected subtitles; {_pass('plain')}")
    return Script("\n".join(said), tuple(times))


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """Runs of lines between empty ones."""
    block: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            block.append(line)
        elif block:
            yield block
            block = []


def _seconds(line: str) -> tuple[float, float]:
    start, end = [
        3600 * int(hours or 0) + 60 * int(minutes) + float(f"{seconds}.{part}")
        for hours, minutes, seconds, part in re.findall(_TIME, line)[:2]
    ]
    return start, end


def _of_json(lines: Sequence[str], name: str) -> list[str]:
    """The text of each object."""
    said = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CTCError(f"{name}, line {number} is not JSON: {error}; {_pass('plain')}") from None
        text = next((row[key] for key in _KEYS if key in row), None) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise CTCError(f'{name}, line {number} has no text: expected an object, such as {{"text": "a cat"}}')
        said.append(" ".join(text.split()))
    return said
