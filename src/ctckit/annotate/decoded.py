"""Decodes one recording, with a language that is read from files.

May import recording.py, formats.py, decoding/ and what is below it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..decoding import Decoder, Hypotheses, Hypothesis
from ..errors import CTCError, InfeasibleError
from ..files import check_file
from ..language import LanguageModel
from ..language.hotwords import HOTWORD_WEIGHT, read_hotwords
from ..results import Segment
from ..text import Vocabulary
from ..validate import check_beam_width, check_extend, check_nbest, check_number
from .bare import bare_lines
from .formats import Level, check_layout
from .recording import Scores, check_scores, shift_notes
from .spikes import check_spikes, earlier, stretched, time_facts

_DIGITS = 6  # decimals of scores


@dataclass(frozen=True)
class Language:
    """The language of a decoder, its weights and the options of the search; see :class:`ctckit.Decoder`.

    Attributes:
        language_model: the model's file.
        lexicon: the lexicon's file.
        hotwords: the file of the hotwords.
        alpha: the weight of the language model.
        beta: nats for each word.
        unknown_score: nats of an unknown word; None: the decoder's default.
        hotword_weight: nats of the hotwords for which the file gives no weight.
        beam_width: how many prefixes are kept from one frame to the next.
        beam_threshold: nats; prefixes that are further below the best are dropped. None turns this off.
        recombine: whether only the best is kept of prefixes with equal states; None: the decoder's default.
    """

    language_model: Path | None = None
    lexicon: Path | None = None
    hotwords: Path | None = None
    alpha: float = 0.5
    beta: float = 1.0
    unknown_score: float | None = None
    hotword_weight: float = HOTWORD_WEIGHT
    beam_width: int = 50
    beam_threshold: float | None = None
    recombine: bool | None = None

    @property
    def files(self) -> dict[str, Path]:
        """The given files, by name."""
        named = {"language_model": self.language_model, "lexicon": self.lexicon, "hotwords": self.hotwords}
        return {name: path for name, path in named.items() if path is not None}


@dataclass(frozen=True)
class Options:
    """How to decode.

    Attributes:
        from_logits: whether the scores are logits.
        nbest: how many texts to return.
        extend: how many frames of blanks a token may take on each side.
        strip_punctuation: whether words are written without the punctuation around them.
        level: for formats that hold only one level: lines, words or tokens.
        line_length: cells of a line of subtitles; see :func:`ctckit.annotate.write`.
        delay: seconds by which the network's frames come after what they say; all times are earlier by it. None: the
            recogniser's own, or 0 for stored scores.
        stretch: seconds by which a token may go on over the blanks after it, until the next one begins. None: likewise.
        in_pixels: whether times are pixels of an image, not seconds.
    """

    from_logits: bool = False
    nbest: int = 1
    extend: int = 0
    strip_punctuation: bool = False
    level: Level | None = None
    line_length: int | None = None
    delay: float | None = None
    stretch: float | None = None
    in_pixels: bool = False

    def check(self, beam_width: int, files: list[Path]) -> None:
        """Raises a CTCError for values out of range, and for options that the formats of the files cannot hold."""
        check_nbest(self.nbest, check_beam_width(beam_width))
        check_extend(self.extend)
        check_spikes(self.delay, self.stretch)
        check_layout(self.level, self.line_length, files)
        if self.nbest > 1 and files and not any(path.suffix.lower() == ".json" for path in files):
            raise CTCError(f"nbest = {self.nbest}: expected .json, which holds several texts; others hold one")


class Decoders:
    """The decoders of a language, one for each vocabulary. Its files are read once. Threads may share it.

    Attributes:
        language: as given.
        notes: sentences about what is unusual in the language, for all decoders so far, without duplicates.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self.notes: list[str] = []
        self._made: dict[tuple[tuple[str, ...], int], Decoder] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[[Language], Decoders], tuple[Language]]:
        return _of_this_process, (self.language,)

    def read(self) -> None:
        """Reads the files.

        Raises:
            CTCError: a file can't be read.
        """
        for path in self.language.files.values():
            check_file(path)
        with self._lock:
            _ = self._model, self.hotwords

    def of(self, vocabulary: Vocabulary) -> Decoder:
        """The decoder of a vocabulary, without the vocabulary's own notes.

        Raises:
            CTCError: a file can't be read, a weight is out of range, or labels and language don't fit together.
        """
        key = vocabulary.labels, vocabulary.blank
        with self._lock:
            if key not in self._made:
                self._made[key] = self._decoder(vocabulary)
        return self._made[key]

    @cached_property
    def hotwords(self) -> dict[str, float] | None:
        """The hotwords with their weights."""
        file = self.language.hotwords
        weight = check_number("hotword_weight", self.language.hotword_weight)
        return None if file is None else read_hotwords(file, weight)

    @cached_property
    def _model(self) -> LanguageModel | None:
        file = self.language.language_model
        return None if file is None else LanguageModel.read(file)

    def _decoder(self, vocabulary: Vocabulary) -> Decoder:
        language = self.language
        decoder = Decoder(
            vocabulary,
            language_model=self._model,
            lexicon=language.lexicon,
            alpha=language.alpha,
            beta=language.beta,
            unknown_score=language.unknown_score,
            beam_width=language.beam_width,
            beam_threshold=language.beam_threshold,
            recombine=language.recombine,
        )
        notes = [*decoder.notes, *decoder.stream(hotwords=self.hotwords).notes]
        self.notes += [note for note in notes if note not in (*self.notes, *vocabulary.notes)]
        return decoder


@lru_cache(maxsize=1)
def _of_this_process(language: Language) -> Decoders:
    """The decoders of an unpickled language: each process reads the files itself, once."""
    return Decoders(language)


class Decoded(NamedTuple):
    """The texts of a recording; the best with its times.

    Attributes:
        lines: the lines of the best text, with their words and tokens; none if the text is empty.
        duration: seconds; the end of the last frame.
        notes: sentences about the frame shift.
        hypotheses: the texts, the best first.
        unusual: the delay, the stretch and the unit of the times, for JSON, if they are not 0, 0 and seconds.
    """

    lines: list[Segment]
    duration: float
    notes: tuple[str, ...]
    hypotheses: Hypotheses
    unusual: Mapping[str, Any] = MappingProxyType({})

    @property
    def path(self) -> npt.NDArray[np.int32]:
        """int32 (T,), the class of each frame on the best path of the best text."""
        return self.hypotheses[0].alignment.labels

    @property
    def facts(self) -> dict[str, Any]:
        """What .json files hold besides the lines: all texts and their scores."""
        texts = [_facts(hypothesis) for hypothesis in self.hypotheses]
        return {"text": self.hypotheses.text, "hypotheses": texts, **self.unusual}


def decode(scores: Scores, vocabulary: Vocabulary, decoders: Decoders, options: Options) -> Hypotheses:
    """Decodes scores (T, C).

    Args:
        scores: (T, C) log-probabilities, or logits.
        vocabulary: the names of the scores' classes.
        decoders: have the decoder of this vocabulary.
        options: how to decode.

    Returns:
        At least one text.

    Raises:
        InfeasibleError: no text of the lexicon fits.
        CTCError: the labels, the language and the scores don't fit together; the message says why.
    """
    return searched(scores, decoders.of(vocabulary), options, decoders.hotwords)


def searched(
    scores: Scores, decoder: Decoder, options: Options, hotwords: Mapping[str, float] | None = None
) -> Hypotheses:
    """The same with a decoder that is there already."""
    check_scores(scores, len(decoder.vocabulary.labels), options.from_logits)
    (found,) = decoder.decode(scores, from_logits=options.from_logits, nbest=options.nbest, hotwords=hotwords)
    return checked(found)


def checked(found: Hypotheses) -> Hypotheses:
    """Returns the texts.

    Raises:
        InfeasibleError: no text was found.
    """
    if not found.found:
        raise InfeasibleError(
            "found no text: all texts of the lexicon have probability 0. Is the lexicon for another language? "
            "unknown_score=-30 allows other words, too"
        )
    return found


def timed(found: Hypotheses, frames: int, frame_shift: float, options: Options, offset: float = 0.0) -> Decoded:
    """The best text with its times.

    Args:
        found: the texts, the best first.
        frames: the number of frames of the recording.
        frame_shift: seconds from one frame to the next.
        options: how to decode.
        offset: seconds; the beginning of the first frame, if the scores are of a part of a recording.
    """
    duration = offset + frames * frame_shift
    lines = found[0].segments(frame_shift, extend=options.extend, offset=offset)
    lines = stretched(lines, options.stretch, duration + (options.delay or 0.0))
    lines = earlier(lines, options.delay, offset)
    if options.strip_punctuation:
        lines = bare_lines(lines)
    tokens = len(found[0].tokens)
    notes = shift_notes(frame_shift, frames, tokens) if tokens and not options.in_pixels else ()
    return Decoded(lines, duration, notes, found, time_facts(options.delay, options.stretch, options.in_pixels))


def _facts(hypothesis: Hypothesis) -> dict[str, Any]:
    names = ("score", "ctc_score", "language_score", "word_score", "hotword_score", "probability")
    return {"text": hypothesis.text} | {name: round(getattr(hypothesis, name), _DIGITS) for name in names}
