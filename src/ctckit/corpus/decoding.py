"""The task of decoding each row's scores. The text is compared with the row's own text, if there is one.

Imports development.py, job.py, manifest.py, annotate/, recognisers/, text/ and validate/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..annotate.decoded import Decoders, Language, Options, decode, timed
from ..annotate.formats import Level
from ..annotate.recording import read_vocabulary
from ..annotate.scans import decode_page
from ..annotate.sources import Page, Seen
from ..errors import CTCError
from ..recognisers.named import shared
from ..text import Errors, Vocabulary, letter_errors, word_errors
from ..text.scripts import TRANSCRIPT_FORMATS, TranscriptFormat
from ..validate import check_choice
from .development import text_of
from .job import Entry, Found, digest
from .manifest import Defaults, Row

_RATES = 6  # decimals


class Totals(NamedTuple):
    """The errors of all rows that have a text.

    Attributes:
        rows: how many rows have a text.
        words: errors of words; None if the labels don't separate words.
        letters: errors of characters.
    """

    rows: int
    words: Errors | None
    letters: Errors


@dataclass(frozen=True)
class Decoding:
    """Decodes each row.

    Attributes:
        language: the language for all rows.
        options: the options for all rows.
        transcript_format: the format of text files, see :func:`ctckit.text.scripts.parse_transcript`.
    """

    language: Language = field(default_factory=Language)
    options: Options = field(default_factory=Options)
    transcript_format: TranscriptFormat = "auto"

    name = "decode"
    needs_text = False

    @cached_property
    def decoders(self) -> Decoders:
        """The decoders for all label files that rows have."""
        return Decoders(self.language)

    @property
    def level(self) -> Level | None:
        """The level for formats that hold only one."""
        return self.options.level

    @property
    def line_length(self) -> int | None:
        """The cells of a line of subtitles."""
        return self.options.line_length

    def check(self, suffixes: tuple[str, ...], defaults: Defaults) -> None:
        """Raises a CTCError for invalid options, and for a language that can't be read or doesn't fit the labels."""
        check_choice("transcript_format", self.transcript_format, TRANSCRIPT_FORMATS)
        self.options.check(self.language.beam_width, [Path(f"x{suffix}") for suffix in suffixes])
        self.decoders.read()
        if defaults.recogniser is not None:
            self.decoders.of(shared(defaults.recogniser).vocabulary())
        if defaults.labels is None:
            return
        try:
            vocabulary = read_vocabulary(defaults.labels, defaults.blank)
        except CTCError:
            return  # the blank is found from each row's scores, or the row has labels of its own
        self.decoders.of(vocabulary)

    def settings(self) -> dict[str, Any]:
        """The options, as the log stores them, with hashes of the files."""
        files = {name: digest(path) for name, path in self.language.files.items()}
        return {**asdict(self.language), **files, **asdict(self.options), "transcript_format": self.transcript_format}

    def run(self, row: Row, seen: Seen | Page) -> Found:
        """Decodes a row."""
        reference = text_of(row, self.transcript_format)
        found, text = self._page(seen) if isinstance(seen, Page) else self._recording(row, seen)
        entry: dict[str, Any] = {"text": text}
        if reference is not None:
            entry |= _compared(seen.vocabulary, reference, text)
        return found._replace(entry=entry, notes=found.notes + seen.vocabulary.notes)

    def _recording(self, row: Row, seen: Seen) -> tuple[Found, str]:
        options = seen.with_times(self.options)
        texts = decode(seen.scores, seen.vocabulary, self.decoders, options)
        found = timed(texts, len(seen.scores), seen.shift, options, row.offset)
        return Found(found.lines, found.duration, found.facts, {}, found.notes), texts.text

    def _page(self, page: Page) -> tuple[Found, str]:
        found = decode_page(page.lines, page.vocabulary, self.decoders, self.options)
        return Found(found.lines, found.duration, found.facts, {}, found.notes, found.places), found.text


def _compared(vocabulary: Vocabulary, reference: str, text: str) -> dict[str, Any]:
    """A row's errors, as the log stores them."""
    meant, read = vocabulary.comparable(reference), vocabulary.comparable(text)
    letters = letter_errors(meant, read)
    found: dict[str, Any] = {"reference": meant, "cer": _rate(letters), "letter_errors": asdict(letters)}
    if vocabulary.convention != "plain":
        words = word_errors(meant, read)
        found |= {"wer": _rate(words), "word_errors": asdict(words)}
    return found


def _rate(errors: Errors) -> float | None:
    return round(errors.rate, _RATES) if errors.length else None


def totals(entries: Sequence[Entry]) -> Totals | None:
    """The errors of all rows, from their lines in the log; None if none has a text."""
    counted = [entry for entry in entries if "letter_errors" in entry]
    if not counted:
        return None
    of_words = [Errors(**entry["word_errors"]) for entry in counted if "word_errors" in entry]
    letters = sum((Errors(**entry["letter_errors"]) for entry in counted), Errors())
    return Totals(len(counted), sum(of_words, Errors()) if len(of_words) == len(counted) else None, letters)
