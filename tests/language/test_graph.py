"""Search graphs: their words, the model's indices of these words, and notes."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from support.brute_force import Bigrams

from ctckit import CTCError, Vocabulary
from ctckit.language import GraphBuilder, LanguageModel
from ctckit.search_graph import UNKNOWN, Lexicon, SearchGraph

LETTERS = Vocabulary(["<pad>", "|", *"abc"])
PIECES = Vocabulary(["▁a", "b", "▁c", "a", "<unk>", "<blank>"])


def lexicon_of(graph: SearchGraph) -> Lexicon:
    assert graph.lexicon is not None
    return graph.lexicon


def said(graph: SearchGraph, model: Bigrams, words: tuple[str, ...]) -> dict[str, str | None]:
    """The model's name of each word."""
    numbers = lexicon_of(graph).model_words.tolist()
    return {w: None if m == UNKNOWN else model.vocabulary[m] for w, m in zip(words, numbers, strict=True)}


def test_a_lexicon_is_closed_and_its_unknown_words_are_left_a_score() -> None:
    model = Bigrams(["a", "b"], 0)
    builder = GraphBuilder(LETTERS, language_model=model, lexicon=["a", "cab", "b", "<unk>"])
    assert builder.closed
    graph, words, _ = builder.build()
    assert lexicon_of(graph).closed
    assert graph.unknown_score == -10
    assert said(graph, model, words) == {"a": "a", "cab": None, "b": "b", "<unk>": None}
    assert builder.notes == (
        "the lexicon: 1 of 4 words can't be spelled with the labels, and are left out: '<unk>'",
        "the language model lacks 1 of the 3 words of the lexicon: 'cab'",
    )


@pytest.mark.parametrize(
    ("lexicon", "unknown_score", "closed", "score"),
    [
        (["a"], None, True, -10.0),
        (["a"], -math.inf, True, -10.0),
        (["a"], -3, False, -3.0),
        (None, None, False, -30.0),
        (None, -3.0, False, -3.0),
        (None, -math.inf, True, -10.0),
    ],
)
def test_unknown_score(lexicon: list[str] | None, unknown_score: float | None, closed: bool, score: float) -> None:
    model = Bigrams(["a", "b"], 0)
    builder = GraphBuilder(LETTERS, language_model=model, lexicon=lexicon, unknown_score=unknown_score)
    graph, words, _ = builder.build()
    assert (builder.closed, lexicon_of(graph).closed, graph.unknown_score) == (closed, closed, score)
    assert words == tuple(lexicon or ("a", "b"))


def test_lookahead_is_the_best_word_below() -> None:
    model = Bigrams(["a", "ab", "aa", "cb"], 3)
    graph, _, _ = GraphBuilder(LETTERS, language_model=model, lexicon=["a", "ab", "aac", "aa", "cb", "ca"]).build()
    lexicon = lexicon_of(graph)
    alone = {word: model.table["", word] for word in model.vocabulary} | {"aac": -10.0, "ca": -10.0}
    below = {
        "a": ["a", "ab", "aac", "aa"],
        "ab": ["ab"],
        "aa": ["aa", "aac"],
        "aac": ["aac"],
        "c": ["cb", "ca"],
        "cb": ["cb"],
        "ca": ["ca"],
    }
    for beginning, words in below.items():
        node = 0
        for letter in beginning:
            found = lexicon.tree.child(node, graph.symbols.of(LETTERS.labels.index(letter))[0])
            assert found is not None
            node = found
        assert lexicon.lookahead[node] == max(alone[word] for word in words)
    assert lexicon.lookahead[0] == 0
    assert len(lexicon.lookahead) == len(below) + 1


def test_without_a_model_nothing_is_looked_ahead_and_without_both_words_are_worth_nothing() -> None:
    graph, _, _ = GraphBuilder(LETTERS, lexicon=["a"]).build(beta=3.0)
    assert (graph.beta, graph.model, lexicon_of(graph).lookahead.any()) == (3.0, None, False)
    graph, words, notes = GraphBuilder(LETTERS).build(beta=3.0, alpha=0.25, sentence_bounds=False)
    assert (graph.beta, graph.lexicon, words, notes) == (0.0, None, (), ())
    assert (graph.alpha, graph.sentence_bounds, graph.level) == (0.25, False, "word")


def test_other_weights_share_the_trees() -> None:
    builder = GraphBuilder(LETTERS, lexicon=["a", "b"])
    one, other = builder.build().graph, builder.build(alpha=0.1, hotwords=["a"]).graph
    assert one.lexicon is other.lexicon
    assert one.symbols is other.symbols


def test_hotwords_join_a_closed_lexicon_only() -> None:
    model = Bigrams(["a", "b", "cc"], 0)
    closed = GraphBuilder(LETTERS, language_model=model, lexicon=["a", "b"])
    graph, words, _ = closed.build(hotwords=["a cab", "B", "cc", "1"])
    assert words == ("a", "b", "cab", "cc")
    assert said(graph, model, words) == {"a": "a", "b": "b", "cab": None, "cc": "cc"}
    assert closed.build().words == ("a", "b")
    opened = GraphBuilder(LETTERS, language_model=model, lexicon=["a", "b"], unknown_score=-5.0)
    assert opened.build(hotwords=["a cab"]).words == ("a", "b")


def test_models_of_labels_are_told_by_their_words() -> None:
    pieces = Bigrams(["▁a", "b", "a", "▁c"], 0)
    builder = GraphBuilder(PIECES, language_model=pieces)
    graph = builder.build().graph
    assert (builder.level, graph.level, graph.lexicon) == ("token", "token", None)
    assert graph.model_tokens is not None
    assert graph.model_tokens.tolist() == [3, 4, 6, 5, UNKNOWN, UNKNOWN]
    assert builder.notes == ()


def test_a_model_of_characters_has_a_name_for_the_separator() -> None:
    model = Bigrams(["a", "b", "<space>"], 0)
    builder = GraphBuilder(LETTERS, language_model=model)
    graph = builder.build().graph
    assert graph.model_tokens is not None
    assert graph.model_tokens.tolist() == [UNKNOWN, 5, 3, 4, UNKNOWN]
    assert builder.notes == ("the language model lacks 1 of 4 labels: 'c'",)


def test_nemos_models_have_a_character_for_each_class() -> None:
    model = Bigrams([chr(100 + c) for c in (0, 1, 2, 3)], 0)
    graph = GraphBuilder(PIECES, language_model=model).build().graph
    assert graph.model_tokens is not None
    assert graph.model_tokens.tolist() == [3, 4, 5, 6, UNKNOWN, UNKNOWN]


def test_a_model_of_words_may_have_all_letters_as_words() -> None:
    model = Bigrams(["a", "b", "c", "cab", "abba"], 0)
    assert GraphBuilder(LETTERS, language_model=model).level == "word"
    letters = Bigrams(["a", "b", "c"], 0)  # without a separator
    assert GraphBuilder(LETTERS, language_model=letters).build().words == ("a", "b", "c")
    letters = Bigrams(["a", "b", "c", "|"], 0)
    assert GraphBuilder(LETTERS, language_model=letters).level == "token"


def test_a_model_that_keeps_no_words() -> None:
    model = Bigrams(["a", "b", "cab", "abba"], 0)
    numbers = {word: i for i, word in enumerate(model.vocabulary)}
    model.ids = lambda words: np.array([numbers.get(word, 0) for word in words], np.int32)  # type: ignore[method-assign]
    model.vocabulary = []
    for vocabulary in (LETTERS, PIECES):  # two of the model's four words are labels: not enough for a model of labels
        with pytest.raises(CTCError, match="language_model has no words as text: expected a lexicon"):
            GraphBuilder(vocabulary, language_model=model)
    model.vocabulary = [*numbers]
    assert GraphBuilder(LETTERS, language_model=model, lexicon=["a"]).level == "word"


def test_a_lexicon_in_another_case_than_the_model() -> None:
    model = Bigrams(["A", "B", "CAB", "x"], 0)
    builder = GraphBuilder(LETTERS, language_model=model, lexicon=["a", "b", "cab", "ab"])
    assert builder.notes == (
        "the language model and the lexicon don't fit: it lacks 4 of 4 words, as 'a'; 'b'; 'cab'; …; each counts "
        "unknown_score = -10; it has them in capitals",
    )


def test_texts_without_separators() -> None:
    characters = Vocabulary(["<pad>", *"你好世界"], convention="plain")
    with pytest.raises(
        CTCError, match=r"language_model is one of words, and the labels have nothing that separates words"
    ):
        GraphBuilder(characters, language_model=Bigrams(["你好", "世界"], 0))
    assert GraphBuilder(characters, language_model=Bigrams([*"你好世界"], 0)).level == "token"
    builder = GraphBuilder(characters, lexicon=["你好", "世界"])
    assert builder.notes == ("the labels have nothing that separates words: a text is one word of the lexicon",)
    assert builder.build(hotwords=["世 好"]).words == ("你好", "世界", "世 好")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unknown_score": math.nan}, "unknown_score = nan: expected a finite number, or -inf"),
        ({"unknown_score": math.inf}, "unknown_score = inf"),
        ({"unknown_score": "low"}, "unknown_score = 'low'"),
        ({"lexicon": "no such file"}, "no such file can't be read"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CTCError, match=message):
        GraphBuilder(LETTERS, language_model=Bigrams(["xyz"], 0), **options)


def test_a_model_from_a_file() -> None:
    arpa = b"\\data\\\nngram 1=5\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-0.5 </s>\n-0.25 cab\n-0.75 BA\n\n\\end\\\n"
    model = LanguageModel.read(BytesIO(arpa))
    builder = GraphBuilder(LETTERS, language_model=model)
    graph, words, _ = builder.build()
    assert (builder.level, sorted(words)) == ("word", ["BA", "cab"])
    lexicon = lexicon_of(graph)
    assert sorted(lexicon.model_words.tolist()) == sorted(model.ids(["cab", "BA"]).tolist())
    ends = lexicon.tree.child(0, graph.symbols.of(4)[0]), lexicon.tree.child(0, graph.symbols.of(3)[0])
    np.testing.assert_allclose(lexicon.lookahead[list(ends)], [-0.25 * math.log(10), -0.75 * math.log(10)], rtol=1e-6)
