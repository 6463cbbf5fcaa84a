"""Small searches whose results are known: by hand, or as sums over all paths."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from oracles import collapse
from support.searches import Case, letters

from ctckit.kernels.search import native
from ctckit.language import LanguageModel
from ctckit.search_graph import SearchGraph

Found = dict[str, float]
Search = Callable[[Case], Found]


def by_reference(case: Case) -> Found:
    found, _ = case.reference()
    return {_text(entry.prefix.tokens): entry.score for entry in found.entries}


def by_native(case: Case) -> Found:
    return {_text(text.tokens): text.score for text in case.native().texts}


def _text(tokens: object) -> str:
    return "".join("ab"[token - 1] for token in tokens)


@pytest.fixture(params=[by_reference, by_native])
def search(request: pytest.FixtureRequest) -> Search:
    return request.param


def case_of(rows: list[list[float]], width: int = 100, graph: SearchGraph | None = None) -> Case:
    return Case(np.log(rows), letters(len(rows[0])) if graph is None else graph, width, False)


def test_the_best_path_says_something_else(search: Search) -> None:
    assert _probabilities(search(case_of([[0.6, 0.4]] * 2))) == pytest.approx({"a": 0.64, "": 0.36})


def test_two_frames(search: Search) -> None:
    found = _probabilities(search(case_of([[0.4, 0.35, 0.25]] * 2)))
    assert found == pytest.approx({"a": 0.4025, "b": 0.2625, "": 0.16, "ab": 0.0875, "ba": 0.0875})
    assert list(found) == ["a", "b", "", "ab", "ba"]


THREE = [[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]]


def test_three_frames(search: Search) -> None:
    found = _probabilities(search(case_of(THREE)))
    expected = {"ab": 0.232, "a": 0.21, "b": 0.21, "ba": 0.144, "aa": 0.048, "bb": 0.048}
    assert {text: found[text] for text in expected} == pytest.approx(expected)
    assert sum(found.values()) == pytest.approx(1)


BIGRAMS = {"<s>": (0.8, 0.1, 0.1), "a": (0.2, 0.7, 0.1), "b": (0.3, 0.4, 0.3)}  # of a, b, </s>


def test_a_model_of_tokens(search: Search) -> None:
    """Sums of products of the tables: alpha is 1/2, a token counts 1."""
    words = ["a", "b", "</s>"]
    lines = ["\\data\\", "ngram 1=5", "ngram 2=9", "", "\\1-grams:", "-99\t<unk>", "-99\t<s>\t0"]
    lines += [f"-1\t{word}\t0" for word in words] + ["", "\\2-grams:"]
    lines += [
        f"{np.log10(p)}\t{context} {word}"
        for context, row in BIGRAMS.items()
        for word, p in zip(words, row, strict=True)
    ]
    model = LanguageModel.read(io.BytesIO("\n".join([*lines, "", "\\end\\", ""]).encode()))
    graph = replace(
        letters(3), model=model, level="token", model_tokens=model.ids(["?", "a", "b"]), alpha=0.5, beta=1.0
    )
    found = search(case_of(THREE, graph=graph))
    expected = {"ab": -0.352914, "a": -1.823512, "b": -2.313927, "aba": -2.367425}
    assert {text: found[text] for text in expected} == pytest.approx(expected, abs=2e-6)
    assert next(iter(found)) == "ab"


@pytest.mark.parametrize("seed", range(15))
def test_all_paths(search: Search, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.random((int(rng.integers(1, 7)), 3)) ** rng.choice([1, 6])
    rows[rng.random(rows.shape) < 0.2] = 0
    with np.errstate(divide="ignore"):
        found = _probabilities(search(case_of(rows.tolist(), 1000)))
    truth: Found = {}
    for path in product(range(3), repeat=len(rows)):
        text = _text(collapse(path, 0))
        truth[text] = truth.get(text, 0.0) + float(np.prod([row[c] for row, c in zip(rows, path, strict=True)]))
    assert found == pytest.approx({text: p for text, p in truth.items() if p > 0}, rel=1e-12, abs=0)


def _probabilities(found: Found) -> Found:
    return {text: float(np.exp(score)) for text, score in found.items()}


def test_the_beam_follows_what_it_has_room_for() -> None:
    """A beam of one that stays with the blank: what is better at the end has been left behind."""
    (text,) = by_native(case_of([[0.6, 0.4]] * 2, 1))
    assert text == ""
    assert native.search(np.log([[[0.6, 0.4]]] * 2), np.array([2]), letters(2), 2)[0].texts[0].tokens.tolist() == [1]
