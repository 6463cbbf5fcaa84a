"""What decoding returns: texts with their scores, times and confidences.

May import align.py, text/ and what is below them, and its own package except decoder.py, stream.py and greedy.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from ..align import Alignment, forced_align
from ..bfloat16 import as_floats
from ..errors import CTCError
from ..results import Segment, Status
from ..search_graph import SearchGraph, Symbols
from ..text import Line, Transcript, Word
from ..validate import Fault, check_extend, check_frame_shift, check_offset
from .beams import Found, Text, Width
from .confidence import Confidences, Rival, confidences_among, find_rivals, rival_of, shares
from .emissions import Emissions
from .places import confidences_at_places
from .reader import Reader, Spelled

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]

_NOTHING = SearchGraph(0, Symbols(np.zeros(1, np.int32), np.empty(0, np.int32)))  # the graph of a pickled hypothesis


class TimedWord(NamedTuple):
    """A word of a hypothesis.

    Attributes:
        text: as the lexicon writes it, or else as its tokens spell it.
        start: its first frame.
        end: one past its last frame.
        confidence: 0 to 1, how probable it is that this word was said or written here; see :attr:`Hypothesis.words`.
    """

    text: str
    start: int
    end: int
    confidence: float


class Searched(NamedTuple):
    """A search graph, and how its results are read.

    Attributes:
        graph: which texts are possible, and what is added to their CTC scores.
        reader: reads their tokens.
        notes: sentences about hotwords that can't be spelled.
        words: the known words, by number.
    """

    graph: SearchGraph
    reader: Reader
    notes: tuple[str, ...]
    words: tuple[str, ...] = ()


@dataclass(eq=False)
class Evidence:
    """What the hypotheses of a sample share: the inputs of everything that is computed only when it is asked for.

    Attributes:
        searched: the graph that was searched.
        width: the width of the search.
        read: returns the sample's emissions, a view of the caller's scores; None if these are not kept.
        beam: for a stream, returns all texts that it ended with.
        frames: for a stream, how many frames came in; None for other samples.
    """

    searched: Searched
    width: Width
    read: Callable[[], Emissions] | None
    beam: Callable[[], Sequence[Text]] = tuple
    frames: int | None = None

    @cached_property
    def rivals(self) -> Sequence[Rival]:
        """The texts that a whole hypothesis is compared with."""
        if self.read is None:
            return [rival_of(text, text.score, self.searched.reader) for text in self.beam()]
        return find_rivals(self.read(), self.searched.graph, self.searched.reader, self.width)

    def notes(self) -> tuple[str, ...]:
        """Notes on the call's hotwords and on the scores."""
        return self.searched.notes + (() if self.read is None else self.read().notes())

    def alignment(self, tokens: Int32Array) -> Alignment:
        """The most probable path of these tokens."""
        if self.read is None:
            raise CTCError(Fault("no-scores-kept", "alignment", hint="align-pieces"))
        emissions, blank = self.read(), self.searched.graph.blank
        scores, from_logits = as_floats(emissions.scores[:, 0]), emissions.from_logits
        return forced_align(scores, tokens, blank=blank, from_logits=from_logits, on_infeasible="mark")[0]

    def by_search(self, tokens: Int32Array, frames: Int32Array) -> Alignment:
        """An alignment of a stream's tokens: each has one frame, at which the search added it."""
        states, unknown = np.zeros(self.frames or 0, np.int32), np.full(self.frames or 0, np.nan)
        target = tokens.astype(np.int64)
        return Alignment(target, states, states, unknown, np.nan, Status.OK, frames, frames + 1, lambda: unknown)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A text that may have been said or written, and its scores.

    Scores are in nats. ``score`` is the sum of the other five scores, which include their weights.

    Attributes:
        text: words with a space between them; without words, what the tokens spell.
        tokens: int32 (S,), the classes of its tokens.
        frames: int32 (S,), the frame at which the search added each token. These are early and inexact; for exact times
            see :attr:`alignment`.
        score: nats; hypotheses are ordered by it.
        ctc_score: ln P of the tokens, given the scores of the frames.
        language_score: ``alpha`` times the language model's ln P of the words, with ``unknown_score`` for each unknown
            word.
        word_score: ``beta`` for each word; with a model of tokens, for each token.
        hotword_score: the sum of the weights of the hotwords in it.
        units: the number of words, or of tokens, that ``beta`` was added for.
        language: nats, the language's score without its weight: ``language_score`` is ``alpha`` times this.
        second_pass_score: what :func:`ctckit.rescore` added: its weight times its model's ln P; 0 before it was called.

    Hypotheses with equal scores are in the search's order.
    """

    text: str
    tokens: Int32Array
    frames: Int32Array
    score: float
    ctc_score: float
    language_score: float
    word_score: float
    hotword_score: float
    units: int
    language: float
    _words: Int32Array = field(repr=False)
    _evidence: Evidence = field(repr=False)
    second_pass_score: float = field(default=0.0, kw_only=True)

    def __getstate__(self) -> dict[str, object]:
        """For pickle and copy: what is computed from the frames' scores, instead of these scores."""
        state = {**vars(self), "words": self.words, "token_confidence": self.token_confidence}
        state |= {"probability": self.probability}
        state |= {"alignment": self.alignment} if self._evidence.frames is None else {}
        reader = self._evidence.searched.reader.only(self.tokens, self._words)
        bare = replace(self._evidence, searched=Searched(_NOTHING, reader, (), ()), read=None, beam=tuple)
        state.pop("_confidences", None)
        return {**state, "_evidence": bare}

    @cached_property
    def alignment(self) -> Alignment:
        """The most probable path of its tokens: their exact frames, spans and confidences, given the text.

        It is computed by :func:`ctckit.forced_align` when it is first asked for, from the scores as they are then.

        Raises:
            CTCError: the hypothesis is of a stream, which keeps no scores.
        """
        return self._evidence.alignment(self.tokens)

    @cached_property
    def words(self) -> tuple[TimedWord, ...]:
        """The words with their frames and confidences; for the whole text see :attr:`probability`.

        Frames are those of the alignment; in a stream, those of the search. If the vocabulary has no separator, the
        whole text is one word.

        A confidence is the probability that the word is right, given the words around it. It is computed by a new
        search in which these words are kept: the word's share among everything that the search finds in its place. One
        number, a temperature, was chosen so that nine in ten of the words with confidence 0.9 are right. The searches
        run when words are first asked for, over the scores as they are then. A stream keeps no scores: there a
        confidence is the word's share among the texts of the beam, which is too high.

        Source:
            Wessel et al., "Confidence measures for large vocabulary continuous speech recognition" (2001).
        """
        starts, ends = self._timed.starts, self._timed.ends
        return tuple(
            TimedWord(word.text, int(starts[word.first]), int(ends[word.stop - 1]), confidence)
            for word, confidence in zip(self.spelled, self._confidences.words.tolist(), strict=True)
        )

    @cached_property
    def token_confidence(self) -> Float64Array:
        """(S,) 0 to 1: how probable it is that each token is right, computed as for :attr:`words`."""
        return self._confidences.tokens

    @cached_property
    def probability(self) -> float:
        """0 to 1: the text's share among all texts that the search ended with, by their scores."""
        words = [word.text for word in self.spelled]
        own = Rival(self.tokens.tolist(), words, self.score)
        others = [rival.score for rival in self._evidence.rivals if rival[:2] != own[:2]]
        return float(shares([own.score, *others])[0])

    @property
    def expected_word_errors(self) -> float:
        """The expected number of wrong words. Divided by the number of words, it is the expected error rate."""
        return sum(1 - word.confidence for word in self.words)

    def segments(self, frame_shift: float, *, extend: int = 0, offset: float = 0.0) -> list[Segment]:
        """The text as one timed line; its parts are words, whose parts are tokens.

        ``ctckit.annotate.write`` writes them as subtitles, annotations and tables.

        Args:
            frame_shift: seconds from one frame to the next.
            extend: the greatest number of blank frames that a token is extended by on each side, as for
                :meth:`Alignment.spans`.
            offset: seconds, the time of the first frame.

        Returns:
            One :class:`Segment`. Confidences are those of :attr:`words` and :attr:`token_confidence`; the line's is the
            mean of its words'. In a stream, scores are NaN.

        Raises:
            CTCError: `frame_shift` is not above 0, or a number is out of range.

        Example:
            >>> from ctckit import Vocabulary, greedy_decode
            >>> log_probs = np.log([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.1, 0.7]])
            >>> (best,) = greedy_decode(log_probs, vocabulary=Vocabulary(["<blank>", "h", "i"]))[0]
            >>> [line] = best.segments(frame_shift=0.02)
            >>> [(token.text, token.start, token.end) for token in line.parts[0].parts]
            [('h', 0.0, 0.02), ('i', 0.04, 0.06)]
        """
        check_frame_shift(frame_shift)
        check_extend(extend)
        check_offset(offset)
        words = self.spelled
        if not words:
            return []
        pieces = [self._evidence.searched.reader.piece(token) for token in self.tokens.tolist()]
        spoken = tuple(Word(word.text, word.first, tuple(pieces[word.first : word.stop])) for word in words)
        tokens = self.tokens.astype(np.int64)
        transcript = Transcript(tokens, np.zeros(len(tokens), np.int64), (Line(self.text, spoken),), ())
        (line,) = transcript.segments(self._timed, frame_shift, extend=extend, offset=offset)
        return [self._with_confidence(line, spoken)]

    def _with_confidence(self, line: Segment, words: Sequence[Word]) -> Segment:
        sure = self.token_confidence.tolist()
        parts = []
        for segment, word, timed in zip(line.parts, words, self.words, strict=True):
            of_word = sure[word.first : word.first + len(word.tokens)]
            tokens = tuple(
                part._replace(confidence=confidence) for part, confidence in zip(segment.parts, of_word, strict=True)
            )
            parts.append(segment._replace(confidence=timed.confidence, parts=tokens))
        mean = sum(part.confidence for part in parts) / len(parts)
        return line._replace(confidence=mean, parts=tuple(parts))

    @property
    def _timed(self) -> Alignment:
        """The alignment; in a stream one made of the search's frames, without scores."""
        return self.alignment if self._evidence.frames is None else self._evidence.by_search(self.tokens, self.frames)

    @property
    def spelled(self) -> list[Spelled]:
        """The words with the tokens that spell them: what :attr:`words` has without a search or an alignment."""
        return self._evidence.searched.reader.words(self.tokens, self._words)

    @cached_property
    def _confidences(self) -> Confidences:
        """How probable it is that words and tokens are right."""
        evidence = self._evidence
        if evidence.read is None:
            return confidences_among(self.tokens, self.spelled, evidence.rivals)
        graph, reader = evidence.searched.graph, evidence.searched.reader
        return confidences_at_places(self.tokens, self.spelled, self.alignment, evidence.read(), graph, reader)


class Hypotheses(Sequence[Hypothesis]):
    """The texts that were found in one sample, the best first.

    Attributes:
        status: ``OK``; ``IMPOSSIBLE`` if no text of the lexicon fits, or all have probability 0;
            ``NOT_FINITE`` if a used frame holds NaN or +inf.
    """

    def __init__(
        self, hypotheses: Iterable[Hypothesis], status: Status, noted: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        self._hypotheses = tuple(hypotheses)
        self.status = status
        self._noted = noted

    def __getstate__(self) -> dict[str, object]:
        """For pickle and copy: the notes, instead of the scores that they are computed from."""
        return {**vars(self), "notes": self.notes, "_noted": tuple}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes on hotwords that can't be spelled, and on scores that are not log-probabilities.

        All scores are read when notes are first asked for, as they are then.
        """
        return self._noted()

    @property
    def found(self) -> bool:
        """Whether there is a text."""
        return bool(self._hypotheses)

    @property
    def text(self) -> str:
        """The best text; empty if none was found."""
        return self._hypotheses[0].text if self._hypotheses else ""

    @overload
    def __getitem__(self, n: int) -> Hypothesis: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[Hypothesis]: ...
    def __getitem__(self, n: int | slice) -> Hypothesis | Sequence[Hypothesis]:
        return self._hypotheses[n]

    def __iter__(self) -> Iterator[Hypothesis]:
        return iter(self._hypotheses)

    def __len__(self) -> int:
        return len(self._hypotheses)

    def __repr__(self) -> str:
        return f"Hypotheses({[hypothesis.text for hypothesis in self]}, {self.status.name})"


def most_of_beam(nbest: int, width: Width, unique: bool) -> int:
    """How many texts to take from the beam: all of it if `unique`, since equal texts are then dropped; else `nbest`."""
    return width.beam_width if unique and nbest > 1 else nbest


def best_of(found: Found, searched: Searched, nbest: int, most: int) -> Found:
    """The first `nbest` texts; if `most` is greater, texts equal to an earlier one are skipped."""
    if most == nbest:
        return found
    first: dict[str, Text] = {}
    for text in found.texts:
        first.setdefault(searched.reader.text(text.tokens, text.words), text)
        if len(first) == nbest:
            break
    return found._replace(texts=list(first.values()))


def hypotheses_of(found: Found, exact: Sequence[float] | None, evidence: Evidence) -> Hypotheses:
    """The hypotheses of a sample, as they are returned to users.

    Args:
        found: the search's result.
        exact: the texts' exact ctc scores, by which they are then ordered; None: the beam's scores are used.
        evidence: what the sample's hypotheses share.
    """
    graph = evidence.searched.graph
    scores = [(text.ctc, text.score) for text in found.texts]
    if exact is not None:
        scores = [
            (ctc, graph.score(ctc, text.language, text.units, text.hotwords))
            for text, ctc in zip(found.texts, exact, strict=True)
        ]
    made = [hypothesis_of(text, *both, evidence) for text, both in zip(found.texts, scores, strict=True)]
    if exact is not None:
        made.sort(key=lambda hypothesis: -hypothesis.score)
    return Hypotheses(made, found.status, evidence.notes)


def hypothesis_of(text: Text, ctc: float, score: float, evidence: Evidence) -> Hypothesis:
    """The hypothesis of a text, with these scores."""
    graph = evidence.searched.graph
    return Hypothesis(
        evidence.searched.reader.text(text.tokens, text.words),
        text.tokens,
        text.frames,
        score,
        ctc,
        graph.alpha * text.language if text.language else 0.0,
        graph.beta * text.units,
        text.hotwords,
        text.units,
        text.language,
        text.words,
        evidence,
    )
