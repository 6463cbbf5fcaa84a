"""Small searches whose results were computed by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from support import worked
from support.searches import Case, letters

from ctckit.kernels.search import native

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


def case_of(rows: list[list[float]], width: int = 100) -> Case:
    return Case(np.log(rows), letters(len(rows[0])), width, False)


def test_the_best_path_says_something_else(search: Search) -> None:
    assert _probabilities(search(case_of([[0.6, 0.4]] * 2))) == pytest.approx({"a": 0.64, "": 0.36})


def test_two_frames(search: Search) -> None:
    found = _probabilities(search(case_of([[0.4, 0.35, 0.25]] * 2)))
    assert found == pytest.approx({"a": 0.4025, "b": 0.2625, "": 0.16, "ab": 0.0875, "ba": 0.0875})
    assert list(found) == ["a", "b", "", "ab", "ba"]


def test_three_frames(search: Search) -> None:
    found = _probabilities(search(Case(worked.LOG_PROBS, letters(3), 100, False)))
    assert {text: found[text] for text in worked.PROBABILITIES} == pytest.approx(worked.PROBABILITIES)
    assert sum(found.values()) == pytest.approx(1)


def test_a_model_of_tokens(search: Search) -> None:
    model, alpha, beta = worked.bigrams(), worked.ALPHA, worked.BETA
    tokens = model.ids(["?", "a", "b"])
    graph = replace(letters(3), model=model, level="token", model_tokens=tokens, alpha=alpha, beta=beta)
    found = search(Case(worked.LOG_PROBS, graph, 100, False))
    assert {text: found[text] for text in worked.SCORES} == pytest.approx(worked.SCORES, abs=2e-6)
    assert next(iter(found)) == "ab"


def _probabilities(found: Found) -> Found:
    return {text: float(np.exp(score)) for text, score in found.items()}


def test_the_beam_follows_what_it_has_room_for() -> None:
    """A beam of one keeps the empty text: the text that is better at the end was dropped."""
    (text,) = by_native(case_of([[0.6, 0.4]] * 2, 1))
    assert text == ""
    assert native.search(np.log([[[0.6, 0.4]]] * 2), np.array([2]), letters(2), 2)[0].texts[0].tokens.tolist() == [1]
