"""pyctcdecode's decoder on ctckit's search.

May import decoding/, files/, validate/, and the other modules of its package except installing.py. Imports
huggingface_hub when a model of the Hub is read.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..decoding import Decoder, Hypotheses, Hypothesis
from ..errors import CTCError
from ..files import read_text, write_whole
from ..validate import as_array, check_beam_width, check_flag, check_number
from .alphabet import Alphabet
from .constants import (
    DEFAULT_ALPHA,
    DEFAULT_BEAM_WIDTH,
    DEFAULT_BETA,
    DEFAULT_HOTWORD_WEIGHT,
    DEFAULT_MIN_TOKEN_LOGP,
    DEFAULT_PRUNE_BEAMS,
    DEFAULT_PRUNE_LOGP,
    DEFAULT_SCORE_LM_BOUNDARY,
    DEFAULT_UNK_LOGP_OFFSET,
)
from .language_model import LanguageModel

WordFrames = tuple[str, tuple[int, int]]
OutputBeam = tuple[str, None, list[WordFrames], float, float]
OutputBeamMPSafe = tuple[str, list[WordFrames], float, float]


class _Search(NamedTuple):
    """The options of a search."""

    beam_width: int
    recombine: bool
    exact_scores: bool


class _Beam(NamedTuple):
    """A text: the best hypothesis with this text, and the summed scores of all hypotheses with it."""

    text: str
    hypothesis: Hypothesis | None
    logit_score: float
    lm_score: float


class BeamSearchDecoderCTC:
    """Decodes with ctckit under the names of pyctcdecode 0.5.0: code written for pyctcdecode runs unchanged.

    Scores follow pyctcdecode's formula. ``logit_score`` is the ln P of a text. ``lm_score`` adds to it
    ``alpha * ln(10) * (log10 P + unk_score_offset if it is unknown) + beta`` for each word,
    ``alpha * ln(10) * log10 P`` for the end of the sentence, and ``hotword_weight`` for each hotword. If the rows of a
    recording add up to 1 on average, they are taken as probabilities; otherwise they are normalised by log_softmax.

    Differences from pyctcdecode:

    - The search is exact for its beam. ``token_min_logp`` is ignored, and ``beam_prune_logp`` drops texts only at the
      end. ``logit_score`` sums all paths of the text, not only those that the beam followed.
    - The frames of words are those of the most probable path.
    - A text that is empty, or ends in a separator, has no unknown word at its end.
    - Hotwords and unigrams are spelled as :class:`ctckit.Decoder` spells words: in the labels' letter case, without
      accents that the labels lack. In texts, unigrams are written as they were given. As in pyctcdecode, a hotword of
      several words is split into hotwords of one word.
    - Labels such as ``<s>`` spell nothing. A language model of words needs labels with a word separator.
    - ``pool`` is ignored, and the language model is freed together with its decoder.
    - States of the language model are neither returned nor accepted: to decode a recording in chunks, use
      :meth:`ctckit.Decoder.stream`.
    - A recording with a frame that has NaN or +inf, or only -inf, has one text, ``""``, with scores of NaN.

    Args:
        alphabet: the labels of the classes.
        language_model: the language model; None: decode without one.

    Attributes:
        model_container: the language model, under ``_model_key``.
        notes: sentences about what is unusual in labels, unigrams and language model.

    Raises:
        CTCError: for anything malformed; the message says where.
    """

    _ALPHABET_SERIALIZED_FILENAME = "alphabet.json"
    _LANGUAGE_MODEL_SERIALIZED_DIRECTORY = "language_model"

    def __init__(self, alphabet: Alphabet, language_model: LanguageModel | None = None) -> None:
        if not isinstance(alphabet, Alphabet):
            raise CTCError(
                f"alphabet has type {type(alphabet).__name__}: expected a ctckit.compat.Alphabet; build_ctcdecoder "
                "takes labels"
            )
        if language_model is not None and not isinstance(language_model, LanguageModel):
            raise CTCError(
                f"language_model has type {type(language_model).__name__}: expected a ctckit.compat.LanguageModel; a "
                "model of your own can't be asked during the search: order the texts of decode_beams by it"
            )
        self._alphabet, self._language_model = alphabet, language_model
        self._model_key = os.urandom(16)
        self._base = self._built()
        self._weights = () if language_model is None else language_model.weights
        self._decoders: dict[_Search, Decoder] = {}
        self.notes = self._base.notes

    @property
    def model_container(self) -> dict[bytes, LanguageModel | None]:
        """The language model by its key. In pyctcdecode, one dictionary has the models of all decoders."""
        return {self._model_key: self._language_model}

    def reset_params(
        self,
        alpha: float | None = None,
        beta: float | None = None,
        unk_score_offset: float | None = None,
        lm_score_boundary: bool | None = None,
    ) -> None:
        """Sets the weights of the language model; None leaves a weight as it is. Does nothing without a model."""
        if self._language_model is not None:
            self._language_model.reset_params(
                alpha=alpha, beta=beta, unk_score_offset=unk_score_offset, score_boundary=lm_score_boundary
            )

    @classmethod
    def clear_class_models(cls) -> None:
        """Does nothing: a language model is freed together with its decoder."""

    def cleanup(self) -> None:
        """Does nothing: a language model is freed together with its decoder."""

    def decode_beams(
        self,
        logits: npt.ArrayLike,
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        prune_history: bool = DEFAULT_PRUNE_BEAMS,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
        lm_start_state: None = None,
    ) -> list[OutputBeam]:
        """Finds the best texts of a recording.

        Args:
            logits: (T, C) logits, log-probabilities or probabilities.
            beam_width: how many prefixes are kept at each frame.
            beam_prune_logp: nats, at most 0; texts that are further below the best are dropped.
            token_min_logp: ignored.
            prune_history: whether only the best is kept of prefixes with the same state of the language model.
            hotwords: words to boost.
            hotword_weight: nats for each hotword.
            lm_start_state: must be None.

        Returns:
            ``(text, None, [(word, (first frame, one past the last))], logit_score, lm_score)`` of each text, the best
            first.

        Raises:
            CTCError: for anything malformed; the message says where.
        """
        _check_start(lm_start_state)
        [beams] = self.decode_beams_batch(
            None, [logits], beam_width, beam_prune_logp, token_min_logp, prune_history, hotwords, hotword_weight
        )
        return [(text, None, frames, logit_score, lm_score) for text, frames, logit_score, lm_score in beams]

    def decode_beams_batch(
        self,
        pool: object,
        logits_list: Iterable[npt.ArrayLike],
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        prune_history: bool = DEFAULT_PRUNE_BEAMS,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
    ) -> list[list[OutputBeamMPSafe]]:
        """:meth:`decode_beams` for each recording of a list, without the second item; ``pool`` is ignored."""
        decoder = self._decoder(beam_width, check_flag("prune_history", prune_history), exact_scores=True)
        found = self._beams(decoder, logits_list, beam_prune_logp, hotwords, hotword_weight)
        return [[(b.text, _word_frames(b), b.logit_score, b.lm_score) for b in beams] for beams in found]

    def decode(
        self,
        logits: npt.ArrayLike,
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
        lm_start_state: None = None,
    ) -> str:
        """The best text of a recording; arguments as for :meth:`decode_beams`.

        As in pyctcdecode, it is searched with ``prune_history``, so it may be better than the first text of
        :meth:`decode_beams`.
        """
        _check_start(lm_start_state)
        [text] = self.decode_batch(
            None, [logits], beam_width, beam_prune_logp, token_min_logp, hotwords, hotword_weight
        )
        return text

    def decode_batch(
        self,
        pool: object,
        logits_list: Iterable[npt.ArrayLike],
        beam_width: int = DEFAULT_BEAM_WIDTH,
        beam_prune_logp: float = DEFAULT_PRUNE_LOGP,
        token_min_logp: float = DEFAULT_MIN_TOKEN_LOGP,
        hotwords: Iterable[str] | None = None,
        hotword_weight: float = DEFAULT_HOTWORD_WEIGHT,
    ) -> list[str]:
        """The best text of each recording of a list; ``pool`` is ignored."""
        decoder = self._decoder(beam_width, prune_history=True, exact_scores=False)
        found = self._beams(decoder, logits_list, beam_prune_logp, hotwords, hotword_weight)
        return [beams[0].text for beams in found]

    def _built(self) -> Decoder:
        model = self._language_model
        if model is None:
            return Decoder(self._alphabet.vocabulary, unique_texts=False)
        return Decoder(
            self._alphabet.vocabulary,
            language_model=model.model,
            lexicon=model.unigrams or None,
            alpha=model.alpha,
            beta=model.beta,
            unknown_score=model.unknown_score,
            sentence_bounds=model.score_boundary,
            unique_texts=False,  # _ranked() adds them up
        )

    def _decoder(self, beam_width: int, prune_history: bool, exact_scores: bool) -> Decoder:
        """The decoder for these options, with the current weights."""
        # Without a language, all prefixes with the same last token would be merged: few would be left.
        recombine = prune_history and self._language_model is not None
        search = _Search(check_beam_width(beam_width), recombine, exact_scores)
        model, before = self._language_model, self._weights
        if model is not None and model.weights != before:
            same_words = model.weights[2:] == before[2:]  # only alpha or beta changed
            base = self._base.with_weights(alpha=model.alpha, beta=model.beta) if same_words else self._built()
            self._base, self._weights, self._decoders = base, model.weights, {}
        if search not in self._decoders:
            self._decoders[search] = self._base.with_search(**search._asdict())
        return self._decoders[search]

    def _beams(
        self,
        decoder: Decoder,
        logits_list: Iterable[npt.ArrayLike],
        beam_prune_logp: float,
        hotwords: Iterable[str] | None,
        hotword_weight: float,
    ) -> list[list[_Beam]]:
        """The texts of each recording, the best first."""
        check_number("beam_prune_logp", beam_prune_logp, most=0, infinite=True)
        words = dict.fromkeys(_single_words(hotwords), check_number("hotword_weight", hotword_weight))
        logits = [_as_logits(f"logits[{n}]", array) for n, array in enumerate(logits_list)]
        if not logits:
            return []
        found = decoder.decode(logits, from_logits=True, nbest=decoder.beam_width, hotwords=words or None)
        return [self._ranked(hypotheses, beam_prune_logp) for hypotheses in found]

    def _ranked(self, hypotheses: Hypotheses, beam_prune_logp: float) -> list[_Beam]:
        """The texts with pyctcdecode's scores. Hypotheses with the same text, spelled differently, are added up."""
        ways: dict[str, list[Hypothesis]] = {}
        for hypothesis in hypotheses:
            ways.setdefault(hypothesis.text, []).append(hypothesis)
        if not ways:
            return [_Beam("", None, math.nan, math.nan)]
        worth = np.zeros(len(ways)) if self._language_model is None else self._language_model.worth(list(ways))
        beams = []
        for (text, alike), language in zip(ways.items(), worth.tolist(), strict=True):
            ctc = float(np.logaddexp.reduce([hypothesis.ctc_score for hypothesis in alike]))
            beams.append(_Beam(text, alike[0], ctc, ctc + language + alike[0].hotword_score))
        beams.sort(key=lambda beam: -beam.lm_score)
        return [beam for beam in beams if beam.lm_score >= beams[0].lm_score + beam_prune_logp]

    def save_to_dir(self, filepath: str | Path) -> None:
        """Writes a folder that :meth:`load_from_dir` and pyctcdecode can read.

        Raises:
            CTCError: a file can't be written there.
        """
        folder = Path(filepath)
        write_whole(folder / self._ALPHABET_SERIALIZED_FILENAME, self._alphabet.dumps().encode())
        if self._language_model is not None:
            inner = folder / self._LANGUAGE_MODEL_SERIALIZED_DIRECTORY
            inner.mkdir(exist_ok=True)
            self._language_model.save_to_dir(inner)

    @classmethod
    def load_from_dir(cls, filepath: str | Path, unigram_encoding: str | None = None) -> BeamSearchDecoderCTC:
        """Reads a folder that :meth:`save_to_dir` or pyctcdecode wrote.

        Raises:
            CTCError: a file is missing, or can't be used; the message says why.
        """
        folder = Path(filepath)
        alphabet = Alphabet.loads(read_text(folder / cls._ALPHABET_SERIALIZED_FILENAME))
        inner = folder / cls._LANGUAGE_MODEL_SERIALIZED_DIRECTORY
        return cls(alphabet, LanguageModel.load_from_dir(inner, unigram_encoding) if inner.is_dir() else None)

    @classmethod
    def load_from_hf_hub(cls, model_id: str, cache_dir: str | None = None, **kwargs: Any) -> BeamSearchDecoderCTC:
        """Reads a folder of :meth:`save_to_dir` from the Hugging Face Hub, with the package ``huggingface_hub``.

        Args:
            model_id: the model's name there.
            cache_dir: the folder for downloaded files; by default the Hub's cache.
            **kwargs: for ``huggingface_hub.snapshot_download``.

        Raises:
            ImportError: the package is not installed.
            CTCError: a file is missing, or can't be used; the message says why.
        """
        hub = importlib.import_module("huggingface_hub")
        return cls.load_from_dir(hub.snapshot_download(model_id, cache_dir=cache_dir, **kwargs))


def build_ctcdecoder(
    labels: Sequence[str],
    kenlm_model_path: str | Path | None = None,
    unigrams: Collection[str] | None = None,
    alpha: float = DEFAULT_ALPHA,
    beta: float = DEFAULT_BETA,
    unk_score_offset: float = DEFAULT_UNK_LOGP_OFFSET,
    lm_score_boundary: bool = DEFAULT_SCORE_LM_BOUNDARY,
) -> BeamSearchDecoderCTC:
    """A decoder with pyctcdecode's arguments; see :class:`BeamSearchDecoderCTC` for what differs.

    Args:
        labels: the labels of the classes; see :meth:`Alphabet.build_alphabet`.
        kenlm_model_path: a language model, in any format that :meth:`ctckit.LanguageModel.read` reads, such as ARPA.
        unigrams: the known words; by default the model's words. Ignored without a model.
        alpha: the weight of the model's ln P.
        beta: nats for each word.
        unk_score_offset: added to the log10 P of each unknown word.
        lm_score_boundary: whether the model scores the beginning and the end of a sentence.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> decoder = build_ctcdecoder(["", "a", "b", " "])
        >>> probs = np.full((3, 4), 0.1) + 0.6 * np.eye(4)[[1, 3, 2]]
        >>> decoder.decode(probs)
        'a b'
        >>> text, _, frames, logit_score, lm_score = decoder.decode_beams(probs)[0]
        >>> frames, round(float(np.exp(logit_score)), 3)
        ([('a', (0, 1)), ('b', (2, 3))], 0.343)
    """
    model = None
    if kenlm_model_path is not None:
        model = LanguageModel(kenlm_model_path, unigrams, alpha, beta, unk_score_offset, lm_score_boundary)
    return BeamSearchDecoderCTC(Alphabet.build_alphabet(labels), model)


def _check_start(lm_start_state: object) -> None:
    if lm_start_state is not None:
        raise CTCError(
            "lm_start_state is not None: a search begins at the start of a text; a recording that comes in pieces is "
            "decoded by ctckit.Decoder.stream()"
        )


def _single_words(hotwords: Iterable[str] | None) -> list[str]:
    """The words of all hotwords."""
    if hotwords is None:
        return []
    if isinstance(hotwords, str) or not isinstance(hotwords, Iterable):
        raise CTCError(f"hotwords = {hotwords!r}: expected a list of words")
    phrases = list(hotwords)
    for i, phrase in enumerate(phrases):
        if not isinstance(phrase, str):
            raise CTCError(f"hotwords[{i}] = {phrase!r}: expected a list of words")
    return [word for phrase in phrases for word in phrase.split()]


def _as_logits(name: str, given: npt.ArrayLike) -> npt.NDArray[Any]:
    """(T, C) logits: the scores, or the logarithms of probabilities, distinguished by pyctcdecode's rule."""
    array = as_array(name, given)
    if array.ndim != 2:
        raise CTCError(f"{name} has shape {array.shape}: expected (T, C), one recording")
    if not array.size or not math.isclose(array.sum(axis=1).mean(), 1):
        return array
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: npt.NDArray[Any] = np.log(array)
    return logs


def _word_frames(beam: _Beam) -> list[WordFrames]:
    if beam.hypothesis is None:
        return []
    path = beam.hypothesis.alignment
    return [
        (word.text, (int(path.starts[word.first]), int(path.ends[word.stop - 1]))) for word in beam.hypothesis.spelled
    ]
