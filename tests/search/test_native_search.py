"""The C++ search finds what the textbook's does."""

from __future__ import annotations

import numpy as np
import pytest
from support.searches import FORMS, Case, draw

from ctckit.kernels.search import native, reference

NEAR = 1e-12  # nats; scores nearer to each other may be in any order


def assert_alike(found: native.Found, truth: reference.Found) -> None:
    """The same texts in the same order, with the same parts of their scores."""
    assert found.status == truth.status
    texts = [(tuple(text.tokens.tolist()), tuple(text.words.tolist())) for text in found.texts]
    scores = np.array([text.score for text in found.texts])
    expected = np.array([entry.score for entry in truth.entries])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=NEAR)
    by_text = {(entry.prefix.tokens, entry.prefix.words): entry for entry in truth.entries}
    assert set(texts) == set(by_text)
    for i, (text, entry) in enumerate(zip(texts, truth.entries, strict=True)):
        if text != (entry.prefix.tokens, entry.prefix.words):
            assert abs(by_text[text].score - expected[i]) < NEAR
    for text, one in zip(found.texts, texts, strict=True):
        entry = by_text[one]
        parts = np.logaddexp(entry.blank, entry.token), entry.state.language, entry.state.hotwords
        np.testing.assert_allclose((text.ctc, text.language, text.hotwords), parts, rtol=0, atol=NEAR)
        assert text.units == entry.state.units


def check(case: Case) -> None:
    assert_alike(case.native(), case.reference())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(40))
def test_random_cases(form: str, seed: int) -> None:
    check(draw(seed, form))


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_many_random_cases(form: str) -> None:
    for seed in range(40, 290):
        check(draw(seed, form))
