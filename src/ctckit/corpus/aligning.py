"""The task of aligning each row's text with its scores. Imports job.py, manifest.py, annotate/ and text/."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..annotate.formats import Level, check_layout
from ..annotate.recording import read_transcript
from ..annotate.scans import align_page
from ..annotate.sources import Page, Seen
from ..annotate.utterance import Options, align
from ..errors import CTCError
from ..text.scripts import Script
from .job import Found
from .manifest import Defaults, Row


@dataclass(frozen=True)
class Aligning:
    """Aligns each row's text.

    Attributes:
        options: the options for all rows.
    """

    options: Options = field(default_factory=Options)

    name = "align"
    needs_text = True

    @property
    def level(self) -> Level | None:
        """The level for formats that hold only one."""
        return self.options.level

    @property
    def line_length(self) -> int | None:
        """The cells of a line of subtitles."""
        return self.options.line_length

    def check(self, suffixes: tuple[str, ...], defaults: Defaults) -> None:
        """Raises a CTCError for invalid options."""
        self.options.check()
        check_layout(self.level, self.line_length, [Path(f"x{suffix}") for suffix in suffixes])

    def settings(self) -> dict[str, Any]:
        """The options, as the log stores them."""
        return asdict(self.options)

    def run(self, row: Row, seen: Seen | Page) -> Found:
        """Aligns a row."""
        if row.text is None:
            raise CTCError("there is no text: expected one to align")
        form = self.options.transcript_format
        script = Script(row.text) if isinstance(row.text, str) else read_transcript(row.text, form)
        if isinstance(seen, Page):
            page = align_page(seen.lines, script, seen.vocabulary, self.options)
            return Found(page.lines, page.duration, page.facts, page.facts, page.notes, page.places)
        options = seen.with_times(self.options)
        found = align(seen.scores, script, seen.vocabulary, seen.shift, options, offset=row.offset)
        return Found(found.lines, found.duration, found.facts, found.facts, found.notes)
