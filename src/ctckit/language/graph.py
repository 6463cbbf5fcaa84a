"""Puts a search graph together: from a vocabulary, a lexicon, a language model and hotwords.

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
from ..text import Vocabulary
from ..validate import check_number
from .hotwords import Source, automaton, weighted, words_of
from .lexicon import Lexicon, LexiconSource, SpelledLexicon, lexicon_of
from .model import SPECIAL_WORDS
from .spelling import Speller, examples
from .trees import highest_below

Level = Literal["word", "token"]

UNKNOWN_SCORE = -30.0  # nats, chosen on lines of a recogniser: at -10, misread words go for unknown ones
UNSEEN_SCORE = -10.0  # nats, of a closed lexicon's words that the model lacks
_MOSTLY = 0.9  # of a model's words are labels, if it is one of tokens
_HARDLY = 0.1  # of a lexicon's words are in the model, if the two don't fit
_NEMO_OFFSET = 100  # NeMo's models have the character of this code point for token 0, and so on
_SEPARATORS = ("|", "▁", "<space>", "_", "<sp>")  # what models of characters call it


class VocabularyModel(Model, Protocol):
    """A language model whose words can be looked up.

    Attributes:
        vocabulary: its words, by number; empty if they are not kept.
        counts: how many n-grams of each order it has.
    """

    @property
    def vocabulary(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def counts(self) -> Sequence[int]: ...  # noqa: D102

    def ids(self, words: Iterable[str]) -> npt.NDArray[np.int32]:
        """The numbers of words, 0 for those that it lacks."""

    def alone(self, words: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        """The ln P of words, by number, whatever was said before: what the search expects of a word that is begun."""


class Built(NamedTuple):
    """A search graph, and what belongs to it.

    Attributes:
        graph: for a search.
        words: what its words are called, by number.
        notes: on hotwords.
    """

    graph: SearchGraph
    words: tuple[str, ...]
    notes: tuple[str, ...]


class GraphBuilder:
    """Builds the search graphs of a vocabulary with a language, for any weights and hotwords. Safe to share by threads.

    Attributes:
        level: what the language model's words are: ``"token"`` if they are the labels, with the separator, also in
            NeMo's encoding; else ``"word"``.
        closed: whether texts have the lexicon's words only.
        notes: on words that are left out or spelled otherwise than they are written, and on a language that doesn't
            fit the labels or the lexicon.

    Args:
        vocabulary: spells and reads.
        language_model: of words or of tokens.
        lexicon: the words: a :class:`Lexicon`, what makes one, or a file's path. By default those of a model of words,
            but open: other words are unknown.
        unknown_score: nats of a word that is not known, in place of its ln P. -inf, the default with a lexicon: there
            are no other words; those of the lexicon that the model lacks count -10. The default without: -30.

    Raises:
        CTCError: nothing can be spelled, or the model is one of words and the labels don't separate words.

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
        given = None if lexicon is None else lexicon_of(lexicon)
        by_word = language_model is not None and self.level == "word"
        if by_word and vocabulary.convention == "plain":
            raise CTCError(
                "language_model is one of words, and the labels have nothing that separates words: expected a model of "
                "the labels, such as characters, or labels with a separator"
            )
        self.closed = unknown_score == -math.inf or (unknown_score is None and given is not None)
        opened = UNKNOWN_SCORE if unknown_score is None else unknown_score
        self._unknown = UNSEEN_SCORE if self.closed else opened
        source = given if given is not None else _model_words(language_model) if by_word and language_model else None
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
        """A search graph. What doesn't depend on the arguments is shared by all graphs.

        Args:
            hotwords: phrases that are worth more, as a list or with their weights in nats, or a file's path. Their
                words join a closed lexicon.
            alpha: the weight of the language.
            beta: nats for each word, or token; without a language it counts for nothing.
            sentence_bounds: whether the model is asked for the sentence's beginning and end.

        Raises:
            CTCError: a hotword is empty or no string, or its weight is no finite number.
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
        by_word = self._model is not None and self.level == "word"
        model_words = np.full(len(spelled.words), UNKNOWN, np.int32)
        if self._model is not None and by_word:
            model_words = _known(self._model.ids(spelled.words))
        lookahead = np.zeros(len(offsets) - 1)
        if self._model is not None and by_word:
            lookahead = self._lookahead(self._model, spelled, offsets, model_words[words])
        return search_graph.Lexicon(spelled.tree, offsets, words, model_words, lookahead, self.closed)

    def _lookahead(
        self, model: VocabularyModel, spelled: SpelledLexicon, offsets: Int32Array, said: Int32Array
    ) -> Float64Array:
        """The highest ln P, without context, of the words below each node."""
        alone = np.where(said == UNKNOWN, self._unknown, model.alone(np.maximum(said, 0)))
        highest = np.full(len(offsets) - 1, -np.inf)
        np.maximum.at(highest, np.repeat(np.arange(len(highest)), np.diff(offsets)), alone)
        highest = highest_below(spelled.tree, highest)
        highest[0] = 0.0
        return highest

    def _noted(self, vocabulary: Vocabulary, given: Lexicon | None) -> tuple[str, ...]:
        notes = () if self._spelled is None else self._spelled.notes
        if given is not None and vocabulary.convention == "plain":
            notes += (f"the labels have nothing that separates words: a text is one word of {given.origin}",)
        if self._model is None:
            return notes
        if self._classes is not None:
            return notes + _unknown_labels(vocabulary, self._classes, self._speller)
        if given is not None and self._spelled is not None and self._lexicon is not None:
            notes += _unknown_words(given.origin, self._model, self._spelled, self._lexicon, self._unknown)
        return notes


def _known(ids: npt.NDArray[np.int32]) -> Int32Array:
    """What a model calls words: `UNKNOWN` for those that it lacks."""
    return np.where(ids == 0, UNKNOWN, ids).astype(np.int32)


def _model_words(model: VocabularyModel) -> Lexicon:
    words = [word for word in model.vocabulary if word not in SPECIAL_WORDS]
    if not words:
        raise CTCError("language_model keeps no words: expected a lexicon, the words that it was made of")
    return Lexicon(words, origin="the language model")


def _model_classes(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array | None:
    """(C,): what the model calls each class, if its words are classes; None if they are words."""
    ways = [_by_name(vocabulary, model), _by_code_point(vocabulary, model)]
    found = [len(set(way.tolist()) - {UNKNOWN}) for way in ways]
    best = int(np.argmax(found))
    size = max(len(set(model.vocabulary) - set(SPECIAL_WORDS)) if model.vocabulary else model.counts[0] - 3, 1)
    lacks_separator = vocabulary.separator is not None and ways[best][vocabulary.separator] == UNKNOWN
    if found[best] < _MOSTLY * size or lacks_separator:  # words may be letters too
        return None
    return ways[best]


def _by_name(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array:
    """Labels as they are."""
    names = _known(model.ids(vocabulary.labels))
    if vocabulary.separator is not None and names[vocabulary.separator] == UNKNOWN:
        others = _known(model.ids(_SEPARATORS))
        names[vocabulary.separator] = next((other for other in others.tolist() if other != UNKNOWN), UNKNOWN)
    return _of_text(vocabulary, names)


def _by_code_point(vocabulary: Vocabulary, model: VocabularyModel) -> Int32Array:
    """A character for each class."""
    return _of_text(vocabulary, _known(model.ids([chr(_NEMO_OFFSET + c) for c in range(len(vocabulary.labels))])))


def _of_text(vocabulary: Vocabulary, classes: Int32Array) -> Int32Array:
    spells = np.array([vocabulary.adds(c) != "" for c in range(len(classes))])
    return np.where(spells, classes, UNKNOWN).astype(np.int32)


def _unknown_labels(vocabulary: Vocabulary, classes: Int32Array, speller: Speller) -> tuple[str, ...]:
    spells = np.diff(speller.symbols.offsets) > 0
    missing = [repr(vocabulary.labels[c]) for c in np.flatnonzero(spells & (classes == UNKNOWN)).tolist()]
    if not missing:
        return ()
    return (f"the language model lacks {len(missing)} of {spells.sum()} labels: {examples(missing)}",)


def _unknown_words(
    origin: str, model: VocabularyModel, spelled: SpelledLexicon, lexicon: search_graph.Lexicon, score: float
) -> tuple[str, ...]:
    """On the words of a lexicon that a model lacks."""
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
