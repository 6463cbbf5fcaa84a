"""Builds a search graph from a vocabulary, a lexicon, a language model and hotwords.

May import search_graph.py, text/, validate/, and the other modules of its package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .. import search_graph
from ..errors import CTCError
from ..search_graph import UNKNOWN, Float64Array, Int32Array, Model, SearchGraph
from ..search_graph import UNKNOWN_SCORE as UNKNOWN_SCORE  # the command line uses it too
from ..text import Vocabulary
from ..validate import check_number
from .hotwords import Source, automaton, weighted, words_of
from .lexicon import Lexicon, LexiconSource, SpelledLexicon, lexicon_of
from .model import SPECIAL_WORDS
from .spelling import Speller, examples
from .trees import highest_below

Level = Literal["word", "token"]

UNSEEN_SCORE = -10.0  # nats, for words of a closed lexicon that the model lacks
_MOSTLY = 0.9  # a model is one of tokens if this share of its words are labels
_HARDLY = 0.1  # a lexicon doesn't fit a model that contains less than this share of its words
_NEMO_OFFSET = 100  # in NeMo's models, the character with this code point is token 0, the next one token 1, and so on
_SEPARATORS = ("|", "▁", "<space>", "_", "<sp>")  # names of the separator in models of characters


class VocabularyModel(Model, Protocol):
    """A language model whose words can be looked up.

    Attributes:
        vocabulary: its words, by number; empty if the model does not contain them as text.
        counts: the number of n-grams of each order.
    """

    @property
    def vocabulary(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def counts(self) -> Sequence[int]: ...  # noqa: D102

    def ids(self, words: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of words, 0 for those that it lacks."""

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The ln P without context of words, by number: what the search expects while a word is not complete."""


class Built(NamedTuple):
    """A search graph, with its words and notes.

    Attributes:
        graph: the graph.
        words: the texts of its words, by number.
        notes: sentences about hotwords that can't be spelled.
    """

    graph: SearchGraph
    words: tuple[str, ...]
    notes: tuple[str, ...]


class GraphBuilder:
    """Builds the search graphs of a vocabulary and a language, for any weights and hotwords. Threads may share one.

    Attributes:
        level: what the language model's words are: ``"token"`` if they are the labels, including the separator, or
            NeMo's characters for the labels; else ``"word"``.
        closed: whether texts can have no other words than the lexicon's.
        notes: sentences about words that are left out or are not spelled as they are written, and about a language
            model that doesn't fit the labels or the lexicon.

    Args:
        vocabulary: the recogniser's labels.
        language_model: a model of words or of tokens.
        lexicon: the words: a :class:`Lexicon`, what one can be made from, or a file's path. The default is the words of
            a model of words; then other words are allowed too, as unknown words.
        unknown_score: nats of an unknown word, in place of its ln P. The default is -30 without a lexicon. With one it
            is -inf, so that no other words are allowed; words of the lexicon that the model lacks then get -10.

    Raises:
        CTCError: no word can be spelled, or the model is one of words and the labels don't separate words.

    Example:
        >>> builder = GraphBuilder(Vocabulary(["<pad>", "|", "A", "C", "T"]), lexicon=["cat", "act", "ox"])
        >>> builder.notes
        ("the lexicon: 1 of 3 words can't be spelled with the labels, and are left out: 'ox'",)
        >>> graph, words, notes = builder.build(hotwords=["cat"], beta=1.0)
        >>> graph.lexicon.closed, graph.hotwords.rewards.tolist(), words
        (True, [0.0, 0.0, 0.0, 0.0, 0.0, 8.0], ('cat', 'act', 'ox'))
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        language_model: VocabularyModel | None = None,
        lexicon: LexiconSource | None = None,
        unknown_score: float | None = None,
    ) -> None:
        if unknown_score is not None:
            unknown_score = check_number("unknown_score", unknown_score, infinite=True)
        self._model = language_model
        self._classes = None if language_model is None else _model_classes(vocabulary, language_model)
        self.level: Level = "word" if self._classes is None else "token"
        self._word_model = language_model if self._classes is None else None
        if self._word_model is not None and vocabulary.convention == "plain":
            raise CTCError(
                "language_model is one of words, and the labels have nothing that separates words: expected a model of "
                "the labels, such as characters, or labels with a separator"
            )
        given = None if lexicon is None else lexicon_of(lexicon)
        source = _model_words(self._word_model) if given is None and self._word_model is not None else given
        self.closed = unknown_score == -math.inf or (unknown_score is None and given is not None)
        opened = UNKNOWN_SCORE if unknown_score is None else unknown_score
        self._unknown = UNSEEN_SCORE if self.closed else opened
        self._speller = Speller(vocabulary, by_token=source is not None and source.has_labels)
        self._spelled = None if source is None else source.spelled(self._speller)
        self._lexicon = None if self._spelled is None else self._compiled(self._spelled)
        self._blank = vocabulary.blank
        self.notes = self._noted(vocabulary, given)

    def build(
        self,
        *,
        hotwords: Source | None = None,
        alpha: float = 0.5,
        beta: float = 1.0,
        sentence_bounds: bool = True,
    ) -> Built:
        """Builds a search graph. Graphs share what doesn't depend on the arguments.

        Args:
            hotwords: phrases to boost: a list, a mapping with their weights in nats, or a file's path. Their words are
                added to a closed lexicon.
            alpha: the weight of the language.
            beta: nats for each word, or for each token if the model is one of tokens; ignored without a language.
            sentence_bounds: whether the model scores the sentence's beginning and end.

        Raises:
            CTCError: a hotword is empty or not a string, or its weight is not a finite number.
        """
        spelled, compiled, rewarded = self._spelled, self._lexicon, None
        notes: tuple[str, ...] = ()
        phrases = {} if hotwords is None else weighted(hotwords)
        if phrases:
            if spelled is not None and self.closed:
                spelled = spelled.with_words(words_of(phrases, self._speller), self._speller)
                compiled = compiled if spelled is self._spelled else self._compiled(spelled)
            rewarded, notes = automaton(phrases, self._speller, spelled)
        has_language = self._model is not None or compiled is not None
        graph = SearchGraph(
            blank=self._blank,
            symbols=self._speller.symbols,
            lexicon=compiled,
            model=self._model,
            level=self.level,
            model_tokens=self._classes,
            hotwords=rewarded,
            alpha=alpha,
            beta=beta if has_language else 0.0,
            unknown_score=self._unknown,
            sentence_bounds=sentence_bounds,
        )
        return Built(graph, () if spelled is None else spelled.words, notes)

    def _compiled(self, spelled: SpelledLexicon) -> search_graph.Lexicon:
        offsets, words = spelled.ends()
        model = self._word_model
        if model is None:
            model_words, lookahead = np.full(len(spelled.words), UNKNOWN, np.int32), np.zeros(len(offsets) - 1)
        else:
            model_words = _known(model.ids(spelled.words))
            lookahead = self._lookahead(model, spelled, offsets, model_words[words])
        return search_graph.Lexicon(spelled.tree, offsets, words, model_words, lookahead, self.closed)

    def _lookahead(
        self, model: VocabularyModel, spelled: SpelledLexicon, offsets: Int32Array, model_words: Int32Array
    ) -> Float64Array:
        """For each node, the highest ln P without context of the words below it."""
        unknown = model_words == UNKNOWN
        alone = np.where(unknown, self._unknown, model.alone(np.where(unknown, 0, model_words)))
        highest = np.full(len(offsets) - 1, -np.inf)
        np.maximum.at(highest, np.repeat(np.arange(len(highest)), np.diff(offsets)), alone)
        highest = highest_below(spelled.tree, highest)
        highest[0] = 0.0
        return highest

    def _noted(self, vocabulary: Vocabulary, given: Lexicon | None) -> tuple[str, ...]:
        notes = () if self._spelled is None else self._spelled.notes
        if given is not None and vocabulary.convention == "plain":
            notes += (f"the labels have nothing that separates words: a text is one word of {given.origin}",)
        if self._classes is not None:
            notes += _unknown_labels(vocabulary, self._classes, self._speller)
        model = self._word_model
        if given is not None and model is not None and self._spelled is not None and self._lexicon is not None:
            notes += _unknown_words(given.origin, model, self._spelled, self._lexicon, self._unknown)
        return notes


def _known(ids: npt.NDArray[np.int32]) -> Int32Array:
    """A model's numbers of words, with `UNKNOWN` for those that it lacks."""
    return np.where(ids == 0, UNKNOWN, ids).astype(np.int32)


def _model_words(model: VocabularyModel) -> Lexicon:
    words = [word for word in model.vocabulary if word not in SPECIAL_WORDS]
    if not words:
        raise CTCError(
            "language_model has no words as text: expected a lexicon, the words that it was made of, or a file that "
            "KenLM's build_binary made without -v"
        )
    return Lexicon(words, origin="the language model")


def _model_classes(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array | None:
    """(C,): the model's word for each class, if the model is one of tokens; None if it is one of words."""
    ways = [_by_name(vocabulary, model), _by_code_point(vocabulary, model)]
    found = [len(set(way.tolist()) - {UNKNOWN}) for way in ways]
    best = int(np.argmax(found))
    size = max(len(set(model.vocabulary) - set(SPECIAL_WORDS)) if model.vocabulary else model.counts[0] - 3, 1)
    lacks_separator = vocabulary.separator is not None and ways[best][vocabulary.separator] == UNKNOWN
    if found[best] < _MOSTLY * size or lacks_separator:  # letters may be among the words of a model of words
        return None
    return ways[best]


def _by_name(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array:
    """(C,): the model's word that is named like each label."""
    names = _known(model.ids(vocabulary.labels))
    if vocabulary.separator is not None and names[vocabulary.separator] == UNKNOWN:
        others = _known(model.ids(_SEPARATORS))
        names[vocabulary.separator] = next((other for other in others.tolist() if other != UNKNOWN), UNKNOWN)
    return _of_text(vocabulary, names)


def _by_code_point(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array:
    """(C,): the model's word that is NeMo's character for each class."""
    return _of_text(vocabulary, _known(model.ids([chr(_NEMO_OFFSET + c) for c in range(len(vocabulary.labels))])))


def _of_text(vocabulary: Vocabulary, classes: Int32Array) -> Int32Array:
    """The given classes, with `UNKNOWN` for those that spell nothing."""
    spells = np.array([vocabulary.adds(c) != "" for c in range(len(classes))])
    return np.where(spells, classes, UNKNOWN).astype(np.int32)


def _unknown_labels(vocabulary: Vocabulary, classes: Int32Array, speller: Speller) -> tuple[str, ...]:
    """A note on the labels that a model of tokens lacks."""
    spells = np.diff(speller.symbols.offsets) > 0
    missing = [repr(vocabulary.labels[c]) for c in np.flatnonzero(spells & (classes == UNKNOWN)).tolist()]
    if not missing:
        return ()
    return (f"the language model lacks {len(missing)} of {spells.sum()} labels: {examples(missing)}",)


def _unknown_words(
    origin: str, model: VocabularyModel, spelled: SpelledLexicon, lexicon: search_graph.Lexicon, score: float
) -> tuple[str, ...]:
    """A note on the words of a lexicon that a model lacks."""
    numbers = np.unique(lexicon.words)
    missing = numbers[lexicon.model_words[numbers] == UNKNOWN]
    if not missing.size:
        return ()
    words = [spelled.words[i] for i in missing.tolist()]
    named = examples([repr(word) for word in words])
    if len(numbers) - len(missing) >= _HARDLY * len(numbers):
        return (f"the language model lacks {len(words)} of the {len(numbers)} words of {origin}: {named}",)
    note = (
        f"the language model and {origin} don't fit: it lacks {len(words)} of {len(numbers)} words, as {named}; each "
        f"counts unknown_score = {score:g}"
    )
    for case, changed in (("small letters", str.lower), ("capitals", str.upper)):
        if (model.ids(map(changed, words)) != 0).mean() > _HARDLY:
            note += f"; it has them in {case}"
    return (note,)
