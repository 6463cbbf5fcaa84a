"""Confidences: shares of texts computed by hand, and calibration on a real recogniser's lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from support import printed
from support.calibration import curve, expected_error, right

from ctckit import Decoder, Hypothesis, Vocabulary, ctc_loss, greedy_decode
from ctckit.decoding import places
from ctckit.decoding.confidence import agreement, shares

# --- by hand ----------------------------------------------------------------------------------------------------------


def test_shares() -> None:
    np.testing.assert_allclose(shares([math.log(0.1), math.log(0.3)]), [0.25, 0.75])
    np.testing.assert_allclose(shares([-1000.0, -1000.0 + math.log(9)], 0.5), [1 / 82, 81 / 82])


AGREEMENTS: list[tuple[str, list[str], list[float]]] = [
    ("a cat sat", ["a cat sat"] * 3, [1, 1, 1]),
    ("a cat sat", ["a cat sat", "a hat sat", "a cat"], [1, 0.7, 0.8]),
    ("a cat", ["a cat", "the old cat", ""], [0.5, 0.8]),
    ("a cat", ["a cat", "oh a big cat is", "cat a"], [0.8, 0.8]),
    ("", ["", "a", "b"], []),
]


@pytest.mark.parametrize(("own", "others", "expected"), AGREEMENTS)
def test_agreement(own: str, others: list[str], expected: list[float]) -> None:
    found = agreement(own.split(), [other.split() for other in others], np.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(found, expected)


def test_a_words_share_of_all_that_may_stand_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """One word of two letters: its share is its probability among all texts of such scores."""
    monkeypatch.setattr(places, "TEMPERATURE", 1.0)
    log_probs = np.log([[0.1, 0.1, 0.6, 0.2], [0.3, 0.1, 0.1, 0.5]])
    vocabulary = Vocabulary(["<blank>", "|", "a", "b"])
    (found,) = Decoder(vocabulary).decode(log_probs)[0]
    assert found.text == "ab"
    probability = math.exp(-ctc_loss(log_probs, [2, 3], 2, 2, reduction="sum"))
    assert math.isclose(probability, 0.6 * 0.5)
    (word,) = found.words
    assert math.isclose(word.confidence, probability, rel_tol=1e-9)
    assert math.isclose(found.probability, probability, rel_tol=1e-9)
    assert math.isclose(found.expected_word_errors, 1 - probability, rel_tol=1e-9)
    # All texts: ab .3, a .25, a| .06, nothing .03, | .05, b .21, |a .01, |b .05, ba .02, b| .02. ab, a and a| have the
    # first token at its place; ab, b and |b the second. In |a, ba and b| both tokens are replaced.
    assert found.token_confidence.tolist() == pytest.approx([0.3 + 0.25 + 0.06, 0.3 + 0.21 + 0.05])


def test_the_words_around_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word's share does not depend on the confidence of the others."""
    monkeypatch.setattr(places, "TEMPERATURE", 1.0)
    labels = ["<blank>", "|", "a", "b"]
    sure = [0.01, 0.97, 0.01, 0.01]
    word = [0.02, 0.02, 0.66, 0.3]
    alone = np.log([sure, word, sure])
    (one,) = Decoder(labels).decode(alone)[0]
    (many,) = Decoder(labels).decode(np.log([word, sure] * 12 + [word]))[0]
    assert many.text == " ".join("a" * 13)
    confidences = [found.confidence for found in many.words]
    np.testing.assert_allclose(confidences, confidences[5], atol=0.02)
    assert abs(confidences[5] - one.words[0].confidence) < 0.05
    assert many.probability > 1.5 * math.prod(confidences)  # its share of the beam's final texts is too high


# --- calibration ------------------------------------------------------------------------------------------------------


DECODERS: dict[str, Callable[[], Decoder]] = {
    "none": lambda: Decoder(printed.LABELS),
    "lexicon": lambda: Decoder(printed.LABELS, lexicon=printed.lexicon()),
    "model": lambda: Decoder(printed.LABELS, language_model=printed.language_model()),
    "both": printed.with_language,
}
IN_SHORT = {("none", 0.65), ("both", 0.65)}  # these are in the default run


def judged(read: Callable[[np.ndarray], Hypothesis], noise: float) -> tuple[list[float], list[bool]]:
    """The confidences of all words of the lines with a noise, and whether each word is right."""
    sure: list[float] = []
    hits: list[bool] = []
    for line in printed.lines("test", noise):
        found = read(line.log_probs)
        sure += [word.confidence for word in found.words]
        hits += right([word.text for word in found.words], line.text.split())
    return sure, hits


@pytest.mark.parametrize(
    ("language", "noise"),
    [
        pytest.param(*case, marks=() if case in IN_SHORT else pytest.mark.long)
        for case in product(DECODERS, (0.6, 0.65))
    ],
)
def test_calibrated_on_lines_kept_apart(language: str, noise: float) -> None:
    """The expected calibration error is at most 0.05, and wrong words are told from right ones."""
    decoder = DECODERS[language]()
    sure, hits = judged(lambda scores: decoder.decode(scores)[0][0], noise)
    assert len(sure) > 750
    assert expected_error(curve(sure, hits)) <= 0.05
    by_hit = {hit: np.array([s for s, h in zip(sure, hits, strict=True) if h == hit]) for hit in (True, False)}
    assert (by_hit[True][:, None] > by_hit[False]).mean() > 0.75  # that a right word has more than a wrong one


def test_greedy_is_calibrated_too() -> None:
    vocabulary = Vocabulary(printed.LABELS)
    sure, hits = judged(lambda scores: greedy_decode(scores, vocabulary=vocabulary)[0][0], 0.6)
    assert expected_error(curve(sure, hits)) <= 0.05
