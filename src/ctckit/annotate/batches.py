"""Aligns or decodes the rows of a table, a batch at a time, for frameworks that hand batches to a function.

Such are Ray Data, Hugging Face's datasets, Spark and webdataset. A row that can't be done says why in the column
``error``. Imports row_by_row.py, columns.py, utterance.py, decoded.py, recording.py, text/ and what is below them, and
no framework.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..decoding import Decoder
from ..files import read_labels
from ..language.hotwords import Source, weighted
from ..results import Segment
from ..text import Vocabulary
from ..validate import check_extend, check_flag, check_frame_shift, check_number
from . import decoded as decoding
from . import utterance as aligning
from .columns import count_of, matrix_of, seconds_of, shift_of, text_of
from .recording import Scores, confidence, words_of
from .row_by_row import Row, RowByRow


class _OfScores(RowByRow):
    """Reads a row's scores, and what their frames are in time."""

    _of_failed: Row  # the results for a row that can't be done, besides those of its words

    def __init__(
        self,
        vocabulary: Vocabulary,
        frame_shift: float | str,
        delay: float | str,
        stretch: float | str,
        scores: str,
        frames: str | None,
        offset: str | None,
        prefix: str,
    ) -> None:
        super().__init__(scores, prefix)
        self._vocabulary = vocabulary
        self._frame_shift = frame_shift if isinstance(frame_shift, str) else check_frame_shift(frame_shift)
        self._delay = delay if isinstance(delay, str) else check_number("delay", delay, least=0.0)
        self._stretch = stretch if isinstance(stretch, str) else check_number("stretch", stretch, least=0.0)
        self._scores, self._frames, self._offset = scores, frames, offset

    @abstractmethod
    def _found(self, scores: Scores, times: _Times, row: Row) -> Row:
        """The results for a row; it may raise anything."""

    def _inputs(self) -> list[str]:
        named = (self._scores, self._frames, self._offset, self._frame_shift, self._delay, self._stretch)
        return [name for name in named if isinstance(name, str)]

    def _failed(self) -> Row:
        return _words([]) | self._of_failed

    def _done(self, row: Row) -> Row:
        scores = matrix_of(row[self._scores], self._scores, len(self._vocabulary.labels))
        if self._frames is not None:
            scores = scores[: count_of(row[self._frames], self._frames, len(scores))]
        offset = 0.0 if self._offset is None else seconds_of(row[self._offset], self._offset)
        shift = self._frame_shift
        if isinstance(shift, str):
            shift = shift_of(row[shift], shift)
        delay, stretch = (_seconds(row, each) for each in (self._delay, self._stretch))
        return self._found(scores, _Times(shift, delay, stretch, offset), row)


def _seconds(row: Row, given: float | str) -> float:
    """Seconds that are given for all rows, or in this row's column."""
    return seconds_of(row[given], given) if isinstance(given, str) else given


class _Times(NamedTuple):
    """What a row's frames are in time, in seconds.

    Attributes:
        frame_shift: from one to the next.
        delay: how late they are.
        stretch: how much a token may go on after its last.
        offset: when the first begins.
    """

    frame_shift: float
    delay: float
    stretch: float
    offset: float


class AlignBatch(_OfScores):
    """Aligns the rows of a table, a batch at a time: a function for ``map_batches``, ``map`` and the like.

    It can be pickled, and several threads may call it. A row's scores (T, C) are an array, nested lists, a flat list of
    T · C numbers, or the bytes of a ``.npy`` file; with `frames`, scores may be padded.

    The result has the batch's columns without the scores, and:

    - ``words``, ``starts``, ``ends`` (seconds) and ``confidences``: arrays, an element for each word;
    - ``confidence``: the words' mean;
    - ``misfit``: nats a token by which the text is below what the network reads; above 2.5 it is probably another
      recording's. ``reading`` is what the network reads;
    - ``notes``: what is unusual, as sentences;
    - ``error``: why a row could not be aligned, else "". Such a row has no words, and NaN as numbers. If the batch has
      this column, from :class:`RecogniseBatch` for example, rows with an error are not aligned and keep it.

    No column's type depends on the rows, so that a batch of failed rows goes into the same table as the others.

    Args:
        labels: the classes' names, a :class:`ctckit.Vocabulary`, or the path of a file of labels.
        frame_shift: seconds from one frame to the next, or the column that has them for each row.
        delay: seconds by which the network's frames come after what they say, or the column that has them for each row.
            All times are earlier by it.
        stretch: seconds by which a token may go on over the blanks after it, until the next one begins, or the column
            that has them for each row.
        blank: the blank's class; found from the labels if None.
        scores: the column of the scores.
        text: the column of the texts.
        frames: the column with each row's number of frames; all count by default.
        offset: the column with the second at which each row's first frame begins; 0 by default.
        from_logits: whether the scores are logits.
        in_pixels: whether all times are pixels of an image.
        extend: how many frames of blanks a token may take on each side.
        optional_words: whether words of the text may be missing from the recording.
        star: whether the recording may have more words than the text.
        spoken: characters that are silent by default, and that somebody reads out.
        strip_punctuation: whether words are written without the punctuation around them.
        prefix: put before the names of the results.

    Raises:
        CTCError: an option is wrong, or the labels don't say which class is the blank.

    Example:
        >>> align = AlignBatch(["<blank>", "a", "b"], frame_shift=0.5)
        >>> log_probs = np.log([[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]])
        >>> done = align({"id": ["x"], "log_probs": log_probs, "text": ["ab"]})
        >>> list(done)
        ['id', 'text', 'words', 'starts', 'ends', 'confidences', 'confidence', 'misfit', 'reading', 'notes', 'error']
        >>> done["words"][0].tolist(), done["starts"][0].tolist(), done["ends"][0].tolist()
        (['ab'], [0.5], [1.5])
        >>> align({"id": ["x"], "log_probs": log_probs, "text": ["aabb"]})["error"].tolist()
        ['the text does not fit the emissions: it has T=3 frames: expected at least 6, those of its shortest path; are
        they of the same recording?']
    """

    _of_failed = {"misfit": math.nan, "reading": "", "notes": ""}  # noqa: RUF012

    def __init__(
        self,
        labels: Vocabulary | Sequence[str] | str | Path,
        frame_shift: float | str,
        *,
        delay: float | str = 0.0,
        stretch: float | str = 0.0,
        blank: int | None = None,
        scores: str = "log_probs",
        text: str = "text",
        frames: str | None = None,
        offset: str | None = None,
        from_logits: bool = False,
        in_pixels: bool = False,
        extend: int = 0,
        optional_words: bool = False,
        star: bool = False,
        spoken: str = "",
        strip_punctuation: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__(_vocabulary(labels, blank), frame_shift, delay, stretch, scores, frames, offset, prefix)
        self._text = text
        self._options = aligning.Options(
            from_logits=check_flag("from_logits", from_logits),
            in_pixels=check_flag("in_pixels", in_pixels),
            extend=check_extend(extend),
            optional_words=check_flag("optional_words", optional_words),
            star=check_flag("star", star),
            spoken=spoken,
            strip_punctuation=check_flag("strip_punctuation", strip_punctuation),
        )

    def _inputs(self) -> list[str]:
        return [*super()._inputs(), self._text]

    def _found(self, scores: Scores, times: _Times, row: Row) -> Row:
        text = text_of(row[self._text], self._text)
        options = replace(self._options, delay=times.delay, stretch=times.stretch)
        found = aligning.align(scores, text, self._vocabulary, times.frame_shift, options, offset=times.offset)
        return _words(found.lines) | {
            "misfit": found.fit.misfit,
            "reading": found.fit.reading,
            "notes": _sentences(found.notes),
        }


class DecodeBatch(_OfScores):
    """Decodes the rows of a table, a batch at a time: a function for ``map_batches``, ``map`` and the like.

    It can be pickled, and several threads may call it. Scores are read as by :class:`AlignBatch`. The result has the
    batch's columns without the scores, and: ``decoded``, the best text; ``score``, its score in nats; ``words``,
    ``starts``, ``ends``, ``confidences``, ``confidence``, ``notes`` and ``error`` as there.

    Args:
        decoder: a :class:`ctckit.Decoder`, or what one can be made from: labels, or the path of a file of labels.
        frame_shift: seconds from one frame to the next, or the column that has them for each row.
        delay: seconds by which the network's frames come after what they say, or the column that has them for each row.
            All times are earlier by it.
        stretch: seconds by which a token may go on over the blanks after it, until the next one begins, or the column
            that has them for each row.
        scores: the column of the scores.
        frames: the column with each row's number of frames; all count by default.
        offset: the column with the second at which each row's first frame begins; 0 by default.
        from_logits: whether the scores are logits.
        in_pixels: whether all times are pixels of an image.
        hotwords: words and phrases that are expected, see :meth:`ctckit.Decoder.decode`.
        extend: how many frames of blanks a token may take on each side.
        strip_punctuation: whether words are written without the punctuation around them.
        prefix: put before the names of the results.

    Raises:
        CTCError: an option is wrong, or the labels don't say which class is the blank.

    Example:
        >>> decode = DecodeBatch(["<blank>", "a", "b"], frame_shift=0.5)
        >>> log_probs = np.log([[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]])
        >>> decode({"log_probs": log_probs})["decoded"].tolist()
        ['ab']
    """

    _of_failed = {"decoded": "", "score": math.nan, "notes": ""}  # noqa: RUF012

    def __init__(
        self,
        decoder: Decoder | Vocabulary | Sequence[str] | str | Path,
        frame_shift: float | str,
        *,
        delay: float | str = 0.0,
        stretch: float | str = 0.0,
        scores: str = "log_probs",
        frames: str | None = None,
        offset: str | None = None,
        from_logits: bool = False,
        in_pixels: bool = False,
        hotwords: Source | None = None,
        extend: int = 0,
        strip_punctuation: bool = False,
        prefix: str = "",
    ) -> None:
        self._decoder = decoder if isinstance(decoder, Decoder) else Decoder(_vocabulary(decoder, None))
        super().__init__(self._decoder.vocabulary, frame_shift, delay, stretch, scores, frames, offset, prefix)
        self._hotwords = None if hotwords is None else weighted(hotwords)
        self._options = decoding.Options(
            from_logits=check_flag("from_logits", from_logits),
            in_pixels=check_flag("in_pixels", in_pixels),
            extend=check_extend(extend),
            strip_punctuation=check_flag("strip_punctuation", strip_punctuation),
        )

    def _found(self, scores: Scores, times: _Times, row: Row) -> Row:
        options = replace(self._options, delay=times.delay, stretch=times.stretch)
        texts = decoding.searched(scores, self._decoder, options, self._hotwords)
        found = decoding.timed(texts, len(scores), times.frame_shift, options, times.offset)
        notes = _sentences(found.notes + self._decoder.notes)
        return {"decoded": texts.text, "score": texts[0].score} | _words(found.lines) | {"notes": notes}


def _vocabulary(labels: Vocabulary | Sequence[str] | str | Path, blank: int | None) -> Vocabulary:
    if isinstance(labels, Vocabulary):
        return labels
    return Vocabulary(read_labels(labels) if isinstance(labels, (str, Path)) else labels, blank)


def _words(lines: list[Segment]) -> Row:
    """The words' columns. They are arrays with a dtype, so that an empty one has the column's type in Arrow, too."""
    words = words_of(lines)
    return {
        "words": np.array([word.text for word in words], str),
        "starts": np.array([word.start for word in words], float),
        "ends": np.array([word.end for word in words], float),
        "confidences": np.array([word.confidence for word in words], float),
        "confidence": confidence(lines),
    }


def _sentences(notes: Sequence[str]) -> str:
    return "; ".join(notes)
