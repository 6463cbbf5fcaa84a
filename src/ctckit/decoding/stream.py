"""Decoding while frames come in. May import all of its package except decoder.py, and what is below it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..errors import CTCError
from ..problem import readable_scores
from ..results import Status
from ..validate import Fault, as_array, check_classes, check_lattice_form, check_nbest, check_not_probabilities
from .beams import Live, Text, Width
from .hypothesis import Evidence, Hypotheses, Hypothesis, Searched, best_of, hypotheses_of, hypothesis_of, most_of_beam

Int32Array = npt.NDArray[np.int32]


class Stable(NamedTuple):
    """The beginning of a text that can't change any more.

    Attributes:
        text: the text so far; its last word may be incomplete.
        tokens: int32 (S,), its classes.
        frames: int32 (S,), the frame at which the search added each.
    """

    text: str
    tokens: Int32Array
    frames: Int32Array


class Stream:
    """One recording that is decoded while its frames come in; made by :meth:`Decoder.stream`.

    Chunks may have any number of frames; results don't depend on their sizes. They are those of :meth:`Decoder.decode`
    with ``exact_scores=False``, bit for bit. If `recombine` is None, it recombines as for ``nbest=1``, whatever `nbest`
    is. Memory grows only with the text. A stream keeps no scores, so the times of its words are those at which the
    search added their tokens. A stream can be pickled and then continued.

    Attributes:
        frames: the number of frames so far.
        notes: sentences about hotwords that can't be spelled.
        ended: whether the speaker has stopped, by the rule of `endpoint`.
        status: ``NOT_FINITE`` once a frame has held NaN or +inf; ``IMPOSSIBLE`` once no text is possible.

    Example:
        >>> from ctckit import Decoder
        >>> stream = Decoder(["<blank>", "|", "a", "c", "t"]).stream(endpoint=2)
        >>> log_probs = np.log(np.full((6, 5), 0.1) + 0.5 * np.eye(5)[[3, 2, 4, 0, 0, 0]])
        >>> for start in range(0, 6, 2):
        ...     stream.feed(log_probs[start : start + 2])
        ...     print(stream.best().text, stream.ended)
        ca False
        cat False
        cat True
        >>> stream.finish().text
        'cat'
    """

    def __init__(
        self,
        searched: Searched,
        width: Width,
        recombine: bool,
        unique: bool,
        from_logits: bool,
        endpoint: int | None,
    ) -> None:
        self._searched, self._width, self._unique = searched, width, unique
        self._from_logits, self._endpoint = from_logits, endpoint
        self._live = Live(searched.graph, width, recombine, from_logits)
        self.notes = searched.notes
        self._finished = False
        self._silence = -1  # blank frames in a row; -1 before the first frame that is not blank
        self.ended = False
        self.frames = 0

    @property
    def status(self) -> Status:
        """``OK``, ``NOT_FINITE`` or ``IMPOSSIBLE``."""
        return self._live.status

    def feed(self, chunk: npt.ArrayLike) -> None:
        """Takes the next frames.

        Args:
            chunk: (t, C) scores; t may be 0.

        Raises:
            CTCError: the chunk has another shape or dtype, or another number of classes, or the stream is finished.
        """
        rows = self._checked(chunk)
        if not len(rows):
            return
        self._live.feed(rows)
        self.frames += len(rows)
        if self._endpoint is not None:
            self._listen(rows, self._endpoint)

    def best(self) -> Hypothesis | None:
        """The best text so far; its last word is not closed. None if no text is possible.

        Later frames may change it.
        """
        text = self._live.best()
        if text is None:
            return None
        return hypothesis_of(text, text.ctc, text.score, self._evidence(lambda: [text]))

    def stable(self) -> Stable:
        """The beginning of the text that can't change any more, since all texts in the beam have it.

        A wide beam always holds very improbable texts, some of which differ early. With ``recombine=True`` and a
        `beam_threshold`, such as 25 nats, the decoder drops them, and more of the text is stable sooner.
        """
        tokens, frames, words = self._live.stem()
        return Stable(self._searched.reader.text(tokens, words), tokens, frames)

    def finish(self, nbest: int = 1) -> Hypotheses:
        """Ends the recording and returns its texts.

        Args:
            nbest: how many texts to return, at most the decoder's `beam_width`.

        Returns:
            At most `nbest` texts, the best first, without duplicates.

        Raises:
            CTCError: the stream is finished already, or `nbest` is out of range.
        """
        self._check_open("finish()")
        nbest = check_nbest(nbest, self._width.beam_width)
        most, width = most_of_beam(nbest, self._width, self._unique), self._width.beam_width
        found = best_of(self._live.finish(most), self._searched, nbest, most)
        self._finished = True
        return hypotheses_of(found, None, self._evidence(lambda: self._live.finish(width).texts))

    def _check_open(self, what: str) -> None:
        if self._finished:
            raise CTCError(Fault("stream-finished", what, hint="open-stream"))

    def _checked(self, chunk: npt.ArrayLike) -> npt.NDArray[Any]:
        self._check_open("chunk")
        array = as_array("chunk", chunk)
        if array.ndim != 2:
            raise CTCError(Fault("chunk-shape", "chunk", (), array.shape, hint="one-stream-each"))
        check_classes("chunk", array.shape, self._searched.graph.num_classes)
        form = check_lattice_form(array, scores_name="chunk")
        scores = readable_scores(array, form)
        if not self.frames:
            check_not_probabilities("chunk", scores, np.array([len(array)]), self._from_logits)
        return scores[:, 0]

    def _listen(self, rows: npt.NDArray[Any], endpoint: int) -> None:
        """Counts the frames in a row whose best class is the blank, after the first frame where it was not."""
        for silent in (as_floats(rows).argmax(axis=1) == self._searched.graph.blank).tolist():
            if not silent:
                self._silence = 0
            elif self._silence >= 0:
                self._silence += 1
                self.ended = self.ended or self._silence >= endpoint

    def _evidence(self, beam: Callable[[], Sequence[Text]]) -> Evidence:
        """What the hypotheses share: they are compared with the texts of the beam."""
        return Evidence(self._searched, self._width, None, beam, self.frames)
