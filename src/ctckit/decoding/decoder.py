"""The decoder: from scores to texts, by a beam search that is exact for its width.

May import the other modules of its package, language/ and what is below it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy.typing as npt

from ..errors import CTCError
from ..language import GraphBuilder, LanguageModel, Lexicon, PrefixModel
from ..language.hotwords import Source, weighted
from ..language.lexicon import LexiconSource
from ..native import LARGEST
from ..search_graph import MOST_NATS, SearchGraph
from ..text import Vocabulary
from ..validate import Fault, check_beam_width, check_flag, check_integer, check_nbest, check_number
from .beams import Found, Width, search_all
from .emissions import Emissions, read_emissions
from .exact import ctc_scores
from .hypothesis import Evidence, Hypotheses, Searched, best_of, hypotheses_of, most_of_beam
from .phrases import Phrases
from .reader import Reader
from .stream import Stream

_RECENT = 8  # lists of hotwords whose automata are kept


class Decoder:
    """Finds the most probable texts, given a recogniser's scores.

    A prefix beam search. The probabilities of all paths that spell the same text are added up. Every token is tried on
    every prefix, and only prefixes that the beam has no room for are dropped. The score of a text is
    ``ctc + alpha * language + beta * words + hotwords``, in nats.

    Many threads may use one decoder. It can be pickled.

    Args:
        vocabulary: the classes' names: a :class:`Vocabulary`, or a list of labels, from which one is made.
        language_model: a :class:`LanguageModel`, or the path of one; or a :class:`PrefixModel`, which wraps any other
            model.
        lexicon: the words that texts may have; other words are allowed only if `unknown_score` is given. A list of
            words, a mapping of words to their spellings, or the path of a file.
        alpha: the weight of the language model, at least 0.
        beta: nats for each word; ignored without a language model and a lexicon.
        unknown_score: nats, in place of ln P, of a word that the lexicon or the model lacks. The default is -30, or
            with a lexicon -inf, which allows no other words.
        beam_width: how many prefixes are kept from one frame to the next.
        recombine: whether only the best is kept of prefixes with equal last tokens and equal states of the language:
            what follows adds the same score to all of them. With a language this improves the best text, but leaves
            fewer other texts. So by default it is done for ``nbest=1`` with a language model or a lexicon.
        sentence_bounds: whether the language model scores the beginning and the end of a sentence.
        exact_scores: whether the ctc scores of the returned texts are summed over all paths, by one sweep of the loss
            for each text. The texts are ordered by these scores. Otherwise ctc scores are the beam's, which are sums
            over the paths that it followed.
        beam_threshold: nats; prefixes that are further below their frame's best are dropped. None turns this off.
        tokens_per_frame: how many of a frame's best tokens are tried. None: all.
        unique_texts: whether only the best is returned of hypotheses with the same text, whose tokens differ in
            separators or in the pieces of a word. Otherwise each sequence of tokens is returned.

    Attributes:
        vocabulary: the names of the classes.
        alpha: as given; beta and beam_width likewise.
        language_model: as given, or read from the given path; or None.
        notes: sentences about what is unusual in labels, lexicon and language model together.

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Graves and Jaitly (ICML 2014); Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using
        Bi-Directional Recurrent DNNs" (2014).

    Example:
        >>> import numpy as np
        >>> decoder = Decoder(["<blank>", "a"])
        >>> log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])  # the best path is empty
        >>> best, second = decoder.decode(log_probs, nbest=2)[0]
        >>> best.text, round(float(np.exp(best.score)), 2), second.text, round(float(np.exp(second.score)), 2)
        ('a', 0.64, '', 0.36)
    """

    def __init__(
        self,
        vocabulary: Vocabulary | Sequence[str],
        *,
        language_model: LanguageModel | PrefixModel | str | Path | None = None,
        lexicon: LexiconSource | None = None,
        alpha: float = 0.5,
        beta: float = 1.0,
        unknown_score: float | None = None,
        beam_width: int = 50,
        recombine: bool | None = None,
        sentence_bounds: bool = True,
        exact_scores: bool = True,
        beam_threshold: float | None = None,
        tokens_per_frame: int | None = None,
        unique_texts: bool = True,
    ) -> None:
        self.vocabulary = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
        self.alpha = check_number("alpha", alpha, least=0)
        self.beta = check_number("beta", beta, least=-MOST_NATS, most=MOST_NATS)
        unknown = None
        if unknown_score is not None:
            unknown = check_number("unknown_score", unknown_score, most=MOST_NATS, infinite=True)
        self.beam_width = check_beam_width(beam_width)
        self._recombine = None if recombine is None else check_flag("recombine", recombine)
        self._sentence_bounds = check_flag("sentence_bounds", sentence_bounds)
        self._exact_scores = check_flag("exact_scores", exact_scores)
        self._unique = check_flag("unique_texts", unique_texts)
        self._width = Width(
            self.beam_width,
            math.inf if beam_threshold is None else check_number("beam_threshold", beam_threshold, least=0),
            0 if tokens_per_frame is None else min(check_integer("tokens_per_frame", tokens_per_frame, 1), LARGEST),
        )
        model = LanguageModel.read(language_model) if isinstance(language_model, (str, Path)) else language_model
        if model is not None and not isinstance(model, (LanguageModel, PrefixModel)):
            raise CTCError(Fault("not-a-model", "language_model", (), type(model).__name__))
        if lexicon is not None and not isinstance(lexicon, (Lexicon, Iterable, Path)):
            raise CTCError(Fault("not-words", "lexicon", (), type(lexicon).__name__))
        self.language_model = model
        self._builder = GraphBuilder(self.vocabulary, language_model=model, lexicon=lexicon, unknown_score=unknown)
        self.notes = (*self.vocabulary.notes, *(() if model is None else model.notes), *self._builder.notes)
        self._plain = self._searched(None)
        self._recent: list[tuple[Phrases, Searched]] = []

    @property
    def has_language(self) -> bool:
        """Whether there is a language model or a lexicon."""
        return self.language_model is not None or self._plain.graph.lexicon is not None

    @property
    def words(self) -> tuple[str, ...]:
        """The known words: the lexicon's, otherwise the language model's; empty without both."""
        return self._plain.words

    def with_weights(self, *, alpha: float | None = None, beta: float | None = None) -> Decoder:
        """The same decoder with other weights. It is fast: everything that doesn't depend on them is shared."""
        other = copy(self)
        other.alpha = self.alpha if alpha is None else check_number("alpha", alpha, least=0)
        other.beta = self.beta if beta is None else check_number("beta", beta, least=-MOST_NATS, most=MOST_NATS)
        other._plain, other._recent = other._searched(None), []
        return other

    def with_search(
        self, *, beam_width: int | None = None, recombine: bool | None = None, exact_scores: bool | None = None
    ) -> Decoder:
        """The same decoder with other options of the search; None leaves an option as it is. It is fast."""
        other = copy(self)
        other.beam_width = self.beam_width if beam_width is None else check_beam_width(beam_width)
        other._width = replace(self._width, beam_width=other.beam_width)
        other._recombine = self._recombine if recombine is None else check_flag("recombine", recombine)
        other._exact_scores = self._exact_scores if exact_scores is None else check_flag("exact_scores", exact_scores)
        return other

    def decode(
        self,
        log_probs: npt.ArrayLike,
        input_lengths: npt.ArrayLike | None = None,
        *,
        from_logits: bool = False,
        nbest: int = 1,
        hotwords: Source | None = None,
    ) -> list[Hypotheses]:
        """Finds the best texts of each sample.

        Args:
            log_probs: (T, N, C) natural-log probabilities, or (T, C) for one sample; or a list of arrays (T, C) of
                different lengths. float64, float32, float16 or bfloat16. They are used as they are: -inf is a valid
                score, for a probability of 0.
            input_lengths: (N,) frames of each sample; all T if not given. Later frames are never read.
            from_logits: whether ``log_probs`` holds raw scores, which are then normalised.
            nbest: how many texts to return for each sample, at most `beam_width`.
            hotwords: phrases to boost: a list, a mapping of phrases to nats, or the path of a file.

        Returns:
            One :class:`Hypotheses` for each sample, whether there is a batch axis or not. Each has at most `nbest`
            texts, the best first, each text once. The beam chooses them: they are the first `nbest` at its end. With
            ``exact_scores`` they are then ordered by their exact scores; so for ``nbest=1`` the beam's first is
            returned, with its exact score. Without any frame the text is empty. Results don't depend on the batch, or
            on the number of threads.

        Raises:
            CTCError: for anything malformed; the message says where.

        Example:
            >>> import numpy as np
            >>> decoder = Decoder(["<blank>", "|", "a", "c", "t"])
            >>> log_probs = np.log([[0.1, 0.1, 0.1, 0.6, 0.1], [0.1, 0.1, 0.6, 0.1, 0.1], [0.1, 0.1, 0.1, 0.1, 0.6]])
            >>> (best,) = decoder.decode(log_probs)[0]
            >>> best.text, round(best.score, 4), [(word.text, word.start, word.end) for word in best.words]
            ('cat', -1.5325, [('cat', 0, 3)])
        """
        nbest = check_nbest(nbest, self.beam_width)
        batches = read_emissions(log_probs, input_lengths, from_logits, len(self.vocabulary.labels))
        return self._decoded(batches, nbest, hotwords)

    def _decoded(
        self, batches: list[Emissions], nbest: int, hotwords: Source | None, threads: int | None = None
    ) -> list[Hypotheses]:
        searched = self._with_hotwords(hotwords)
        most = most_of_beam(nbest, self._width, self._unique)
        found = search_all(batches, searched.graph, self._width, most, self._recombines(nbest), threads)
        return [
            hypotheses
            for emissions, texts in zip(batches, found, strict=True)
            for hypotheses in self._of_batch(
                emissions, [best_of(each, searched, nbest, most) for each in texts], searched
            )
        ]

    def stream(
        self, *, from_logits: bool = False, hotwords: Source | None = None, endpoint: int | None = None
    ) -> Stream:
        """Decodes one recording while its frames come in; see :class:`Stream`.

        Args:
            from_logits: whether frames are raw scores.
            hotwords: phrases to boost, as for :meth:`decode`.
            endpoint: a number of frames. The stream's ``ended`` becomes True when the blank has been the most probable
                class of this many frames in a row, after a frame where it was not. None: ``ended`` stays False.

        Raises:
            CTCError: for anything malformed.
        """
        if endpoint is not None:
            check_integer("endpoint", endpoint, 1)
        from_logits = check_flag("from_logits", from_logits)
        return Stream(
            self._with_hotwords(hotwords), self._width, self._recombines(1), self._unique, from_logits, endpoint
        )

    def graph(self, hotwords: Source | None = None) -> SearchGraph:
        """The search graph: which texts are possible, and what is added to their CTC scores.

        Args:
            hotwords: phrases to boost, as for :meth:`decode`.
        """
        return self._with_hotwords(hotwords).graph

    def _recombines(self, nbest: int) -> bool:
        if self._recombine is not None:
            return self._recombine
        # Without a language, all prefixes with the same last token would be merged: few would be left.
        return nbest == 1 and (self._plain.graph.lexicon is not None or self._plain.graph.model is not None)

    def _with_hotwords(self, hotwords: Source | None) -> Searched:
        """The graph for a call's hotwords; those of the last few calls are kept."""
        if hotwords is None:
            return self._plain
        if not isinstance(hotwords, (Iterable, Path)) or isinstance(hotwords, bytes):
            raise CTCError(Fault("not-hotwords", "hotwords", (), type(hotwords).__name__))
        phrases = Phrases.of(hotwords)
        if not set(map(type, phrases.phrases)) <= {str}:
            weighted(phrases.source)  # raises the error, before anything is compared
        for known, searched in self._recent:
            if known == phrases:
                return searched
        searched = self._searched(hotwords if isinstance(hotwords, (str, Path)) else phrases.source)
        self._recent = [(phrases, searched), *self._recent[: _RECENT - 1]]  # one assignment, since threads share it
        return searched

    def _searched(self, hotwords: Source | None) -> Searched:
        built = self._builder.build(
            hotwords=hotwords, alpha=self.alpha, beta=self.beta, sentence_bounds=self._sentence_bounds
        )
        _check_worth(built.graph, self.language_model)
        reader = Reader(self.vocabulary, built.graph.symbols, built.words)
        return Searched(built.graph, reader, built.notes, built.words)

    def _of_batch(self, emissions: Emissions, found: list[Found], searched: Searched) -> list[Hypotheses]:
        exact: Sequence[list[float] | None] = [None] * len(found)
        if self._exact_scores:
            tokens = [[text.tokens for text in sample.texts] for sample in found]
            exact = ctc_scores(emissions, searched.graph.blank, tokens)
        return [
            hypotheses_of(sample, scores, Evidence(searched, self._width, partial(emissions.sample, n)))
            for n, (sample, scores) in enumerate(zip(found, exact, strict=True))
        ]


def _check_worth(graph: SearchGraph, model: LanguageModel | PrefixModel | None) -> None:
    """Raises a CTCError if the score of a word may be higher than a search can multiply by."""
    bound = 0.0 if model is None else model.bound
    if bound > MOST_NATS:  # back-offs may be above 0, but not by so much
        raise CTCError(Fault("model-too-sure", "language_model", (), bound, MOST_NATS, "back-offs"))
    worth = graph.alpha * max(bound, graph.unknown_score, 0.0) + graph.beta
    if worth > MOST_NATS:
        details = {"alpha": graph.alpha, "beta": graph.beta}
        raise CTCError(Fault("word-too-precious", "alpha", (), worth, MOST_NATS, "smaller-weights", details=details))
