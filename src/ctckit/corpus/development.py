"""A development set: the scores and texts of a manifest's rows, all in memory, for choosing a language's weights.

Imports manifest.py, annotate/ and text/.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..annotate.recording import Scores, check_scores, read_scores, read_transcript, read_vocabulary
from ..annotate.sources import Stored
from ..errors import CTCError
from ..text import Vocabulary
from ..text.scripts import TranscriptFormat
from .manifest import Defaults, FailedRow, Row, read_manifest


class Development(NamedTuple):
    """The rows that weights are chosen on.

    Attributes:
        scores: (T, C) of each row.
        texts: the right text of each row.
        vocabulary: the vocabulary of all rows.
    """

    scores: list[Scores]
    texts: list[str]
    vocabulary: Vocabulary


def read_development(
    manifest: Path, defaults: Defaults, transcript_format: TranscriptFormat, *, from_logits: bool
) -> Development:
    """Reads the rows of a manifest, each of which must be valid and have a text.

    Raises:
        CTCError: a row is invalid, has no text, or has other labels than the first; or there are no rows.
        MissingExtraError: a package that reads the scores is not installed.
    """
    rows: list[Row] = []
    for row in read_manifest(manifest, defaults, needs_text=True):
        if isinstance(row, FailedRow):
            raise CTCError(f"{manifest}, line {row.line}: {row.reason}")
        if rows and _stored(row)[1:3] != _stored(rows[0])[1:3]:
            raise CTCError(
                f"{manifest}, line {row.line} has other labels than line {rows[0].line}: expected those of one "
                "recogniser"
            )
        rows.append(row)
    if not rows:
        raise CTCError(f"{manifest} has no rows: expected some, with their texts")
    sources = [_stored(row) for row in rows]
    scores = [read_scores(source.path) for source in sources]
    vocabulary = read_vocabulary(sources[0].labels, sources[0].blank, scores[0])
    for row, found in zip(rows, scores, strict=True):
        with _errors_of(manifest, row):
            check_scores(found, len(vocabulary.labels), from_logits)
    return Development(scores, [str(text_of(row, transcript_format)) for row in rows], vocabulary)


def _stored(row: Row) -> Stored:
    if isinstance(row.source, Stored):
        return row.source
    raise CTCError("weights are chosen on stored scores: expected no recogniser")


@contextmanager
def _errors_of(manifest: Path, row: Row) -> Iterator[None]:
    """Puts the manifest's name and the row's line before an error message."""
    try:
        yield
    except CTCError as error:
        raise CTCError(f"{manifest}, line {row.line}: {error}") from None


def text_of(row: Row, transcript_format: TranscriptFormat) -> str | None:
    """The text of a row, without what is not spoken; None if it has no text.

    Raises:
        CTCError: the file of the text can't be read.
    """
    return read_transcript(row.text, transcript_format).text if isinstance(row.text, Path) else row.text
