"""What decoding returns: texts with their scores, times and confidences.

May import align.py, text/ and what lies below them, and its package but decoder.py, stream.py and greedy.py.
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

_NOTHING = SearchGraph(0, Symbols(np.zeros(1, np.int32), np.empty(0, np.int32)))  # of what is pickled


class TimedWord(NamedTuple):
    """A word of a hypothesis.

    Attributes:
        text: as the lexicon writes it, or as its tokens are read.
        start: its first frame.
        end: one past its last frame.
        confidence: 0 to 1, how probable it is that this word is said or written here; see
            :attr:`Hypothesis.words`.
    """

    text: str
    start: int
    end: int
    confidence: float


class Searched(NamedTuple):
    """What is searched, and how it is read.

    Attributes:
        graph: which texts there are, and what they are worth.
        reader: of their tokens.
        notes: on hotwords.
        words: the known ones, by number.
    """

    graph: SearchGraph
    reader: Reader
    notes: tuple[str, ...]
    words: tuple[str, ...] = ()


@dataclass(eq=False)
class Evidence:
    """What a sample's hypotheses share, and need when they are asked for more than their scores.

    Attributes:
        searched: that by which they were found.
        width: of the search.
        read: gives the sample's emissions, over the caller's scores; None if they are no longer there.
        beam: of a stream, gives all texts that it ended with.
        frames: of a stream, how many came in; None for other samples.
    """

    searched: Searched
    width: Width
    read: Callable[[], Emissions] | None
    beam: Callable[[], Sequence[Text]] = tuple
    frames: int | None = None

    @cached_property
    def rivals(self) -> Sequence[Rival]:
        """The texts that a hypothesis is compared with as a whole."""
        if self.read is None:
            return [rival_of(text, text.score, self.searched.reader) for text in self.beam()]
        return find_rivals(self.read(), self.searched.graph, self.searched.reader, self.width)

    def notes(self) -> tuple[str, ...]:
        """On the call's hotwords and on the scores."""
        return self.searched.notes + (() if self.read is None else self.read().notes())

    def alignment(self, tokens: Int32Array) -> Alignment:
        """The most probable path of these tokens."""
        if self.read is None:
            raise CTCError(Fault("no-scores-kept", "alignment", hint="align-pieces"))
        emissions, blank = self.read(), self.searched.graph.blank
        scores, from_logits = as_floats(emissions.scores[:, 0]), emissions.from_logits
        return forced_align(scores, tokens, blank=blank, from_logits=from_logits, on_infeasible="mark")[0]

    def by_search(self, tokens: Int32Array, frames: Int32Array) -> Alignment:
        """A stream's tokens where the search added them, each for a frame."""
        states, unknown = np.zeros(self.frames or 0, np.int32), np.full(self.frames or 0, np.nan)
        target = tokens.astype(np.int64)
        return Alignment(target, states, states, unknown, np.nan, Status.OK, frames, frames + 1, lambda: unknown)


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A text that may have been said or written, and what it is worth.

    Scores are in nats, and ``score`` is the sum of the other five: they are what is added up, with their weights.

    Attributes:
        text: words with a space between them; without words, what the tokens spell.
        tokens: int32 (S,), its classes.
        frames: int32 (S,), the frame at which the search added each token: early, and rough.
            :attr:`alignment` has the exact times.
        score: nats, by which hypotheses are ordered.
        ctc_score: ln P of the tokens, given the scores of the frames.
        language_score: ``alpha`` times the language model's ln P of the words, with ``unknown_score`` for each that is
            not known.
        word_score: ``beta`` for each word; with a model of tokens, for each token.
        hotword_score: of the hotwords that it has.
        units: how many words, or tokens, got ``beta``.
        language: nats, the language's part without its weight: ``language_score`` is ``alpha`` times this.
        second_pass_score: what :func:`ctckit.rescore` added: its weight times its model's ln P; 0 before.

    Of two equal scores, the search's order decides.
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
        """For pickle and copy: what the scores are needed for, instead of the scores."""
        state = {**vars(self), "words": self.words, "token_confidence": self.token_confidence}
        state |= {"probability": self.probability}
        state |= {"alignment": self.alignment} if self._evidence.frames is None else {}
        reader = self._evidence.searched.reader.only(self.tokens, self._words)
        bare = replace(self._evidence, searched=Searched(_NOTHING, reader, (), ()), read=None, beam=tuple)
        state.pop("_confidences", None)
        return {**state, "_evidence": bare}

    @cached_property
    def alignment(self) -> Alignment:
        """Its tokens' most probable path: exact frames and spans, and how sure each is, given the text.

        Takes a forced alignment, :func:`ctckit.forced_align`, when it is first asked for, over the scores as they are
        then.

        Raises:
            CTCError: it is of a stream, which keeps no scores.
        """
        return self._evidence.alignment(self.tokens)

    @cached_property
    def words(self) -> tuple[TimedWord, ...]:
        """The words with their frames and how probable each is: for whole texts see :attr:`probability`.

        Frames are the alignment's; in a stream, the search's. A text without words, as of a vocabulary that has no
        separator, is one.

        A confidence is how probable it is that the word stands here, given the others: its share among all that could
        stand in its place, found by searching anew with the words around it kept. One number, a temperature, was chosen
        so that of words with 0.9, nine in ten are right. It takes some searches when it is first asked for, over the
        scores as they are then. A stream has no scores any more: there it is the word's share among the texts of the
        beam, which is too sure.

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
        """(S,) 0 to 1: how probable it is that each token is right, as :attr:`words` has it of words."""
        return self._confidences.tokens

    @cached_property
    def probability(self) -> float:
        """0 to 1: its share among the texts that the search ended with, by their scores."""
        words = [word.text for word in self.spelled]
        own = Rival(self.tokens.tolist(), words, self.score)
        others = [rival.score for rival in self._evidence.rivals if rival[:2] != own[:2]]
        return float(shares([own.score, *others])[0])

    @property
    def expected_word_errors(self) -> float:
        """How many of its words are probably wrong; divided by their number, the expected error rate."""
        return sum(1 - word.confidence for word in self.words)

    def segments(self, frame_shift: float, *, extend: int = 0, offset: float = 0.0) -> list[Segment]:
        """The text as one line with its time; its parts are words, whose parts are tokens.

        ``ctckit.annotate.write`` writes them as subtitles, annotations and tables.

        Args:
            frame_shift: seconds from one frame to the next.
            extend: frames of blanks that a token may grow over on each side, as for :meth:`Alignment.spans`.
            offset: seconds, the time of the first frame.

        Returns:
            One :class:`Segment`. Confidences are how probable words and tokens are, as in :attr:`words`; the line's is
            the mean of its words'. A stream's have the score NaN.

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
        """Where the tokens are: the alignment; in a stream one of the search's frames, without scores."""
        return self.alignment if self._evidence.frames is None else self._evidence.by_search(self.tokens, self.frames)

    @property
    def spelled(self) -> list[Spelled]:
        """The words with the tokens that spell them: what of :attr:`words` takes no search and no alignment."""
        return self._evidence.searched.reader.words(self.tokens, self._words)

    @cached_property
    def _confidences(self) -> Confidences:
        """How probable words and tokens are."""
        evidence = self._evidence
        if evidence.read is None:
            return confidences_among(self.tokens, self.spelled, evidence.rivals)
        graph, reader = evidence.searched.graph, evidence.searched.reader
        return confidences_at_places(self.tokens, self.spelled, self.alignment, evidence.read(), graph, reader)


class Hypotheses(Sequence[Hypothesis]):
    """The texts that were found in one sample, the best first.

    Attributes:
        status: ``OK``; ``IMPOSSIBLE`` if there is no text, since a lexicon has none that fits or all have probability
            0; ``NOT_FINITE`` if a used frame holds NaN or +inf.
    """

    def __init__(
        self, hypotheses: Iterable[Hypothesis], status: Status, noted: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        self._hypotheses = tuple(hypotheses)
        self.status = status
        self._noted = noted

    def __getstate__(self) -> dict[str, object]:
        """For pickle and copy: the notes, instead of the scores that they are on."""
        return {**vars(self), "notes": self.notes, "_noted": tuple}

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """On hotwords that can't be spelled, and on scores that are no log-probabilities, as they are when it is asked.

        Reads all scores when it is first asked for.
        """
        return self._noted()

    @property
    def found(self) -> bool:
        """Whether there is a text."""
        return bool(self._hypotheses)

    @property
    def text(self) -> str:
        """The best one's; empty if there is none."""
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
    """How many texts are looked at: all, if of those that read alike only the best is returned."""
    return width.beam_width if unique and nbest > 1 else nbest


def best_of(found: Found, searched: Searched, nbest: int, most: int) -> Found:
    """The first `nbest` of `most` texts; if these are more, each that reads otherwise."""
    if most == nbest:
        return found
    first: dict[str, Text] = {}
    for text in found.texts:
        first.setdefault(searched.reader.text(text.tokens, text.words), text)
        if len(first) == nbest:
            break
    return found._replace(texts=list(first.values()))


def hypotheses_of(found: Found, exact: Sequence[float] | None, evidence: Evidence) -> Hypotheses:
    """The texts of a sample as users get them.

    Args:
        found: by the search.
        exact: their ctc scores, by which they are then ordered; None: the beam's.
        evidence: of the sample.
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
    """A text with these scores."""
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
