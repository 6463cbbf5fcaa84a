"""The forms of manifests: JSON lines (ours, NeMo's or lhotse's), Kaldi's ``text``, Parquet, and webdataset's shards.

A row of another tool keeps its keys; our keys are added where it has the same facts under others. May import files/ and
errors.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import CTCError
from ..files import SCORES, Kind, Sample, decoded, has_column, list_parquet, list_tar, read_bytes, unpacked

Given = dict[str, Any]  # a row as it is in the manifest


class Listed(NamedTuple):
    """A row of a manifest, which has not been parsed.

    Attributes:
        number: its line, from 1; in a table its row, in a shard its sample.
        given: returns its content; raises a CTCError if that is malformed.
    """

    number: int
    given: Callable[[], Given]


def list_rows(path: Path, needs_text: bool) -> list[Listed]:
    """The rows of a manifest, whose form is known by its suffix or else its content.

    Args:
        path: the manifest. Lines may be compressed by gzip; empty ones are skipped.
        needs_text: if no text is needed, lines may have only an id.

    Raises:
        CTCError: the file can't be read.
        MissingExtraError: it is a table, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".tar":
        return [Listed(n, partial(_of_sample, sample)) for n, sample in enumerate(list_tar(path), start=1)]
    if suffix == ".parquet":
        return [Listed(n + 1, partial(dict, facts)) for n, facts in list_parquet(path)]
    lines = _lines(path)
    parse = _of_scp if suffix == ".scp" else _parser_of(lines, needs_text)
    return [Listed(number, partial(parse, line)) for number, line in lines]


def gives_places(path: Path, kind: Kind | None) -> bool:
    """Whether a manifest also says where its rows' scores or recordings are, other than by keys of rows.

    Args:
        path: the manifest.
        kind: the kind of recordings; None for scores.

    Raises:
        CTCError: the file can't be read.
        MissingExtraError: it is a table, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    names = SCORES if kind is None else [kind]
    return suffix in (".scp", ".tar") or (suffix == ".parquet" and has_column(path, names))


def _lines(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a manifest that are not empty, with their numbers."""
    if path.name.lower().endswith((".tar.gz", ".tgz")):
        raise CTCError(f"{path} is compressed: unpack it to a .tar, from whose places the scores are read")
    content = unpacked(read_bytes(path), str(path))
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


def _parser_of(lines: Sequence[tuple[int, bytes]], needs_text: bool) -> Callable[[bytes], Given]:
    """A parser for such lines, of JSON or of an id and words as in Kaldi's ``text``; it may raise a CTCError."""
    if any(line.lstrip()[:1] in (b"{", b"[") for _, line in lines):
        return _of_json
    return _of_kaldi if not needs_text or any(len(line.split(maxsplit=1)) == 2 for _, line in lines) else _of_json


def _of_sample(sample: Sample) -> Given:
    """A row of webdataset: its ``.txt`` is the text, its ``.json`` has other facts, its key is the id."""
    given = _of_json(sample.contents["json"]) if "json" in sample.contents else {}
    if "txt" in sample.contents:
        given["text"] = decoded(sample.contents["txt"], f"{sample.key}.txt").strip()
    return given | {"id": sample.key}


def _of_json(line: bytes) -> Given:
    text = decoded(line, "the line")
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CTCError(f"the line is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise CTCError(f'the line is a {type(given).__name__}: expected an object, such as {{"id": …}}')
    return given


def _of_kaldi(line: bytes) -> Given:
    id, *words = decoded(line, "the line").split(maxsplit=1)
    return {"id": id, "text": "".join(words).rstrip()}


def _of_scp(line: bytes) -> Given:
    """A row of an ``.scp``, without a text. Its place is read by places.py."""
    return {"id": _of_kaldi(line)["id"]}


def id_of(given: Given) -> Any:
    """A row's id, of any type. NeMo's rows have none: for them it is the stem of the recording's file.

    Example:
        >>> id_of({"audio_filepath": "clips/a.wav", "text": "a cat"})
        'a'
    """
    named = (given.get(key) for key in ("audio_filepath", "audio", "image"))
    paths = (value.get("path") if isinstance(value, Mapping) else value for value in named)
    path = next((path for path in paths if isinstance(path, str)), None)
    if "id" in given or path is None:
        return given.get("id")
    return Path(re.split(r"[/\\]", path)[-1]).stem


def names_recording(given: Given, kind: Kind) -> Any:
    """The file of a row's recording or image, of any type; None if the row names none.

    It is under our key, ``audio`` or ``image``; NeMo's ``audio_filepath``; or in lhotse's ``recording``.

    Raises:
        CTCError: lhotse's recording is not a file.

    Example:
        >>> source = {"type": "file", "channels": [0], "source": "a.flac"}
        >>> names_recording({"id": "c-0", "recording": {"id": "a", "sources": [source]}}, "audio")
        'a.flac'
    """
    if kind in given and not isinstance(given[kind], Mapping):  # those of tables hold the recording itself
        return given[kind]
    if kind == "audio" and "audio_filepath" in given:
        return given["audio_filepath"]
    recording = given.get("recording")
    if kind != "audio" or not isinstance(recording, Mapping):
        return None
    source = _source_of(recording.get("sources"), given.get("channel"))
    if source.get("type") != "file":
        shown = str(recording.get("sources"))[:80]
        raise CTCError(
            f"'recording' has the sources {shown}: expected a file; write others, such as commands, to files"
        )
    return source.get("source")


def _source_of(sources: Any, channel: Any) -> Mapping[str, Any]:
    """Of lhotse's sources, the one with a channel; else the first."""
    known = [one for one in sources if isinstance(one, Mapping)] if isinstance(sources, list) else []
    fitting = [one for one in known if isinstance(one.get("channels"), list) and channel in one["channels"]]
    return next(iter(fitting or known), {})


def in_our_words(given: Given, needs_text: bool = True) -> Given:
    r"""A row to which lhotse's text and offset are added under our keys, if it has none of its own.

    Raises:
        CTCError: supervisions are malformed, or none of them has a text and one is needed.

    Example:
        >>> supervisions = [{"start": 0.5, "text": "cat"}, {"start": 0, "text": "a"}]
        >>> ours = in_our_words({"id": "c-0", "start": 1.5, "supervisions": supervisions})
        >>> ours["text"], ours["offset"]
        ('a\ncat', 1.5)
    """
    added: Given = {}
    if "supervisions" in given or "recording_id" in given:
        added["offset"] = given.get("start")
    if "supervisions" in given and not {"text", "transcript"} & given.keys():
        added["text"] = "\n".join(_texts(given["supervisions"], needs_text))
    return added | given


def _texts(supervisions: Any, needed: bool) -> Iterator[str]:
    """The text of each supervision that has one, ordered by their beginnings."""
    if not isinstance(supervisions, list) or not all(map(_is_supervision, supervisions)):
        raise CTCError(f"'supervisions' is {str(supervisions)[:80]}: expected objects, with their start and text")
    texts = [
        " ".join((one.get("text") or "").split()) for one in sorted(supervisions, key=lambda one: one.get("start", 0))
    ]
    if needed and not any(texts):
        raise CTCError("'supervisions' has no text: expected at least one with a text")
    yield from filter(None, texts)


def _is_supervision(one: Any) -> bool:
    return (
        isinstance(one, Mapping)
        and isinstance(one.get("start", 0), (int, float))
        and isinstance(one.get("text", ""), (str, type(None)))
    )
