"""Aligns or decodes the rows of a table, a batch at a time, for frameworks that hand batches to a function.

Such are Ray Data, Hugging Face's datasets, Spark and webdataset. A row that can't be done says why in the column
``error``: one bad recording in ten thousand hours must not end a job. Imports columns.py, utterance.py, decoded.py,
recording.py, text/ and what is below them, and no framework.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..decoding import Decoder
from ..errors import CTCError
from ..files import read_labels
from ..language.hotwords import Source, weighted
from ..results import Segment
from ..text import Vocabulary
from ..validate import check_extend, check_flag, check_frame_shift
from . import decoded as decoding
from . import utterance as aligning
from .columns import Batch, count_of, matrix_of, names_of, seconds_of, text_of, values_of, with_results
from .recording import Scores, confidence, words_of

Row = dict[str, Any]


class _Batches(ABC):
    """What both callables share: reads the columns, does the rows one by one, and puts the results into columns."""

    _of_failed: Row  # the results for a row that can't be done, besides those of its words and its error

    def __init__(
        self,
        vocabulary: Vocabulary,
        frame_shift: float,
        scores: str,
        frames: str | None,
        offset: str | None,
        prefix: str,
    ) -> None:
        self._vocabulary = vocabulary
        self._frame_shift = check_frame_shift(frame_shift)
        self._scores, self._frames, self._offset = scores, frames, offset
        self._prefix = prefix

    @abstractmethod
    def _done(self, scores: Scores, offset: float, row: Mapping[str, Any]) -> Row:
        """The results for a row; it may raise anything."""

    def _inputs(self) -> list[str]:
        return [name for name in (self._scores, self._frames, self._offset) if name is not None]

    @property
    def _failed(self) -> Row:
        """All results for a row that can't be done, in the columns' order; its error is still empty."""
        return _words([]) | self._of_failed | {"error": ""}

    def __call__(self, batch: Batch) -> Any:
        """Does a batch.

        Args:
            batch: columns of equal lengths, by name: arrays or lists, a pandas DataFrame, or a table or record batch of
                pyarrow.

        Returns:
            All columns except the scores, and those of the results: a table or record batch of pyarrow if it was given
            one, else a dict.

        Raises:
            CTCError: a column is missing, or has the name of a result. What is wrong with a row raises nothing.
        """
        self._check(names_of(batch))
        failed = self._failed
        done = [self._row(row, failed) for row in self._rows(batch)]
        columns = {self._prefix + name: ([row[name] for row in done], failed[name]) for name in failed}
        return with_results(batch, self._scores, columns)

    def _check(self, names: list[str]) -> None:
        there = ", ".join(map(repr, names)) or "none"
        for name in self._inputs():
            if name not in names:
                raise CTCError(f"the batch has no column {name!r}: expected one; it has {there}")
        for name in self._failed:
            if self._prefix + name in names:
                raise CTCError(
                    f"the batch has a column {self._prefix + name!r} already, which the result would replace: remove "
                    "it, or pass prefix='ctc_' for other names"
                )

    def _rows(self, batch: Batch) -> Iterator[Row]:
        columns = {name: values_of(batch, name) for name in self._inputs()}
        sizes = {name: len(values) for name, values in columns.items()}
        if len(set(sizes.values())) > 1:
            raise CTCError(f"the batch has columns of different lengths: {sizes}: expected a value for each row")
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(columns, values, strict=True))

    def _row(self, row: Row, failed: Row) -> Row:
        try:
            scores = matrix_of(row[self._scores], self._scores, len(self._vocabulary.labels))
            if self._frames is not None:
                scores = scores[: count_of(row[self._frames], self._frames, len(scores))]
            offset = 0.0 if self._offset is None else seconds_of(row[self._offset], self._offset)
            return self._done(scores, offset, row) | {"error": ""}
        except CTCError as error:
            reason = str(error)
        except Exception as error:  # an error of this row must not stop the others
            reason = f"unexpected {type(error).__name__}: {error}"
        return failed | {"error": reason}


class AlignBatch(_Batches):
    """Aligns the rows of a table, a batch at a time: a function for ``map_batches``, ``map`` and the like.

    It can be pickled, and several threads may call it. A row's scores (T, C) are an array, nested lists, a flat list of
    T · C numbers, or the bytes of a ``.npy`` file; with `frames`, scores may be padded.

    The result has the batch's columns without the scores, and:

    - ``words``, ``starts``, ``ends`` (seconds) and ``confidences``: arrays, an element for each word;
    - ``confidence``: the words' mean;
    - ``misfit``: nats a token by which the text is below what the network reads; above 2.5 it is probably another
      recording's. ``reading`` is what the network reads;
    - ``notes``: what is unusual, as sentences;
    - ``error``: why a row could not be aligned, else "". Such a row has no words, and NaN as numbers.

    No column's type depends on the rows, so that a batch of failed rows goes into the same table as the others.

    Args:
        labels: the classes' names, a :class:`ctckit.Vocabulary`, or the path of a file of labels.
        frame_shift: seconds from one frame to the next.
        blank: the blank's class; found from the labels if None.
        scores: the column of the scores.
        text: the column of the texts.
        frames: the column with each row's number of frames; all count by default.
        offset: the column with the second at which each row's first frame begins; 0 by default.
        from_logits: whether the scores are logits.
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
        frame_shift: float,
        *,
        blank: int | None = None,
        scores: str = "log_probs",
        text: str = "text",
        frames: str | None = None,
        offset: str | None = None,
        from_logits: bool = False,
        extend: int = 0,
        optional_words: bool = False,
        star: bool = False,
        spoken: str = "",
        strip_punctuation: bool = False,
        prefix: str = "",
    ) -> None:
        super().__init__(_vocabulary(labels, blank), frame_shift, scores, frames, offset, prefix)
        self._text = text
        self._options = aligning.Options(
            from_logits=check_flag("from_logits", from_logits),
            extend=check_extend(extend),
            optional_words=check_flag("optional_words", optional_words),
            star=check_flag("star", star),
            spoken=spoken,
            strip_punctuation=check_flag("strip_punctuation", strip_punctuation),
        )

    def _inputs(self) -> list[str]:
        return [*super()._inputs(), self._text]

    def _done(self, scores: Scores, offset: float, row: Mapping[str, Any]) -> Row:
        text = text_of(row[self._text], self._text)
        found = aligning.align(scores, text, self._vocabulary, self._frame_shift, self._options, offset=offset)
        return _words(found.lines) | {
            "misfit": found.fit.misfit,
            "reading": found.fit.reading,
            "notes": _sentences(found.notes),
        }


class DecodeBatch(_Batches):
    """Decodes the rows of a table, a batch at a time: a function for ``map_batches``, ``map`` and the like.

    It can be pickled, and several threads may call it. Scores are read as by :class:`AlignBatch`. The result has the
    batch's columns without the scores, and: ``decoded``, the best text; ``score``, its score in nats; ``words``,
    ``starts``, ``ends``, ``confidences``, ``confidence``, ``notes`` and ``error`` as there.

    Args:
        decoder: a :class:`ctckit.Decoder`, or what one can be made from: labels, or the path of a file of labels.
        frame_shift: seconds from one frame to the next.
        scores: the column of the scores.
        frames: the column with each row's number of frames; all count by default.
        offset: the column with the second at which each row's first frame begins; 0 by default.
        from_logits: whether the scores are logits.
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
        frame_shift: float,
        *,
        scores: str = "log_probs",
        frames: str | None = None,
        offset: str | None = None,
        from_logits: bool = False,
        hotwords: Source | None = None,
        extend: int = 0,
        strip_punctuation: bool = False,
        prefix: str = "",
    ) -> None:
        self._decoder = decoder if isinstance(decoder, Decoder) else Decoder(_vocabulary(decoder, None))
        super().__init__(self._decoder.vocabulary, frame_shift, scores, frames, offset, prefix)
        self._hotwords = None if hotwords is None else weighted(hotwords)
        self._options = decoding.Options(
            from_logits=check_flag("from_logits", from_logits),
            extend=check_extend(extend),
            strip_punctuation=check_flag("strip_punctuation", strip_punctuation),
        )

    def _done(self, scores: Scores, offset: float, row: Mapping[str, Any]) -> Row:
        texts = decoding.searched(scores, self._decoder, self._options, self._hotwords)
        found = decoding.timed(texts, len(scores), self._frame_shift, self._options, offset)
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
