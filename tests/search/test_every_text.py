"""Searches whose beam holds every prefix find every text, with its score by definition."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from support.brute_force import SPECIAL, Bigrams, Language, Text

from ctckit import Vocabulary
from ctckit.kernels.search import native, reference
from ctckit.language import GraphBuilder, LanguageModel
from ctckit.search_graph import UNKNOWN, SearchGraph

Found = list[tuple[tuple[int, ...], tuple[int, ...], float]]


class Search(NamedTuple):
    """A search, and how to call it.

    Attributes:
        run: takes scores, a graph, the beam's width and whether to recombine.
        model: converts a model to one that the search can use.
        near: nats, the tolerance of scores with a model: the extension's models have floats.
    """

    run: Callable[[npt.NDArray[np.float64], SearchGraph, int, bool], Found]
    model: Callable[[Bigrams], Any]
    near: float


WIDE = 100_000
LABELS = {
    "separator": ["", " ", "a", "b", SPECIAL],
    "sentencepiece": ["", "▁a", "b", "▁", "ab"],
    "wordpiece": ["", "a", "##a", "b", "##b"],
    "plain": ["", "a", "b", "ab"],
}
LEXICONS = {
    "none": None,
    "words": {"a": ["a"], "ab": ["ab"], "aab": ["aab"], "b": ["b"]},
    "spellings": {"a": ["a", "ba"], "A": ["a"], "bab": ["bab"], "ba": ["ba"], "AB": ["ab"]},
}
HOTWORDS = {"none": {}, "some": {"a": 0.7, "ab": 1.5, "a b": 2.0, "ab a": 1.1, "b": -0.4}}


def by_reference(log_probs: npt.NDArray[np.float64], graph: SearchGraph, width: int, recombine: bool) -> Found:
    entries = reference.search(log_probs, graph, width, recombine=recombine).entries
    return [(*entry.prefix, entry.score) for entry in entries]


def by_native(log_probs: npt.NDArray[np.float64], graph: SearchGraph, width: int, recombine: bool) -> Found:
    lengths = np.array([len(log_probs)])
    (found,) = native.search(log_probs[:, None], lengths, graph, width, width, recombine=recombine)
    return [(tuple(text.tokens.tolist()), tuple(text.words.tolist()), text.score) for text in found.texts]


SEARCHES = {
    "reference": Search(by_reference, lambda model: model, 1e-12),
    "native": Search(by_native, lambda model: LanguageModel.read(BytesIO(model.arpa().encode())), 1e-6),
}


def language(convention: str, lexicon: str, closed: bool, model: str, hotwords: str, seed: int) -> Language | None:
    """None if there is no such language."""
    spellings = LEXICONS[lexicon]
    if (closed and spellings is None) or (model == "words" and (convention == "plain" or spellings is None)):
        return None
    bigrams = None
    if model == "words":
        bigrams = Bigrams([*list(spellings or ())[:-1], "c"], seed)  # one word of the lexicon is missing, one is added
    elif model == "tokens":
        bigrams = Bigrams(
            [label.replace(" ", "|") for label in LABELS[convention] if label not in ("", SPECIAL, "b")], seed
        )
    phrases = {p: w for p, w in HOTWORDS[hotwords].items() if convention != "plain" or " " not in p}
    return Language(
        LABELS[convention],
        convention,
        spellings,
        closed,
        bigrams,
        model == "tokens",
        phrases,
        unknown_score=-10.0 if closed else -3.0,
        sentence_bounds=seed % 2 == 0,
    )


def graph_of(language: Language, search: Search) -> tuple[SearchGraph, tuple[str, ...]]:
    builder = GraphBuilder(
        Vocabulary(language.labels, 0, convention=language.convention),
        language_model=None if language.model is None else search.model(language.model),
        lexicon=language.spellings,
        unknown_score=None if language.closed else language.unknown_score,
    )
    assert (builder.level == "token") == language.by_token
    built = builder.build(
        hotwords=language.hotwords,
        alpha=language.alpha,
        beta=language.beta,
        sentence_bounds=language.sentence_bounds,
    )
    return built.graph, built.words


def scores(classes: int, seed: int) -> npt.NDArray[np.float64]:
    random = np.random.default_rng(seed)
    found = random.normal(size=(4 + seed % 2, classes)) * random.choice([0.5, 3])
    found[random.random(found.shape) < 0.1] = -np.inf
    found[:, 0] = np.maximum(found[:, 0], -8)  # so that some path is possible
    return np.asarray(found - np.logaddexp.reduce(found, axis=1, keepdims=True))


def named(found: Found, words: tuple[str, ...]) -> list[tuple[Text, float]]:
    return [((t, tuple(None if w == UNKNOWN else words[w] for w in ws)), score) for t, ws, score in found]


CASES = [
    case
    for case in product(LABELS, LEXICONS, (False, True), ("none", "words", "tokens"), HOTWORDS)
    if language(*case, 0) is not None
]


def check_every_text(search: Search, meant: Language, graph: SearchGraph, words: tuple[str, ...], seed: int) -> None:
    log_probs = scores(len(meant.labels), seed)
    truth = meant.texts(log_probs)
    found = named(search.run(log_probs, graph, WIDE, False), words)
    assert len(found) == len(truth) > 0
    near = 1e-12 if meant.model is None else search.near
    assert dict(found) == pytest.approx(truth, rel=0, abs=near)
    ordered = [score for _, score in found]
    assert ordered == sorted(ordered, reverse=True)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize(("convention", "lexicon", "closed", "model", "hotwords"), CASES)
def test_every_text_is_found(
    search: Search, convention: str, lexicon: str, closed: bool, model: str, hotwords: str
) -> None:
    for seed in range(2):
        meant = language(convention, lexicon, closed, model, hotwords, seed)
        assert meant is not None
        check_every_text(search, meant, *graph_of(meant, search), seed)


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("closed", [False, True])
def test_a_model_without_a_lexicon_brings_its_words(search: Search, closed: bool) -> None:
    model = Bigrams(["a", "bab"], 0)
    meant = Language(LABELS["separator"], "separator", {"a": ["a"], "bab": ["bab"]}, model=model, closed=closed)
    builder = GraphBuilder(
        Vocabulary(meant.labels, 0),
        language_model=search.model(model),
        unknown_score=-np.inf if closed else meant.unknown_score,
    )
    graph, words, _ = builder.build(alpha=meant.alpha, beta=meant.beta)
    check_every_text(search, meant, graph, words, 0)


@pytest.mark.slow
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("model", ["words", "tokens"])
@pytest.mark.parametrize("closed", [False, True])
def test_recombining_finds_no_text_too_good_and_mostly_the_best(search: Search, model: str, closed: bool) -> None:
    """Of entries that can continue in the same ways the lower one is dropped, although it might have become better."""
    best = dropped = 0
    for seed in range(40):
        meant = language("separator", "spellings", closed, model, "some", seed)
        assert meant is not None
        graph, words = graph_of(meant, search)
        log_probs = scores(len(meant.labels), seed)
        truth = meant.texts(log_probs)
        found = named(search.run(log_probs, graph, WIDE, True), words)
        dropped += len(truth) - len(found)
        for text, score in found:
            assert score <= truth[text] + search.near
        best += found[0][0] == max(truth, key=truth.__getitem__)
    assert dropped > 0
    assert best >= 30
