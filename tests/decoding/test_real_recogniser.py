"""From a real recogniser's scores to texts: what a beam, a language and hotwords are worth, in words that are wrong."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from support import printed

import ctckit
from ctckit.text import Errors, word_errors

Make = Callable[..., ctckit.Decoder]


@pytest.fixture(scope="module")
def make() -> Make:
    """Makes a decoder with the kept language."""
    vocabulary = ctckit.Vocabulary(["<blank>", *printed.LABELS[1:]])
    model = ctckit.LanguageModel.read(BytesIO(printed.arpa().encode()))
    lexicon = ctckit.Lexicon(printed.lexicon())
    return lambda **options: ctckit.Decoder(vocabulary, language_model=model, lexicon=lexicon, **options)


def rate(part: str, noise: float, decode: Callable[[Any], list[ctckit.Hypotheses]]) -> float:
    """The share of words that are wrong."""
    lines = [line for line in printed.lines(part) if line.noise == noise]
    texts = [found.text for found in decode([line.log_probs for line in lines])]
    return sum((word_errors(line.text, text) for line, text in zip(lines, texts, strict=True)), Errors()).rate


def test_without_a_language_a_beam_gains_next_to_nothing() -> None:
    vocabulary = ctckit.Vocabulary(["<blank>", *printed.LABELS[1:]])
    greedy = rate("test", 0.65, lambda scores: ctckit.greedy_decode(scores, vocabulary=vocabulary))
    beam = rate("test", 0.65, ctckit.Decoder(vocabulary).decode)
    assert greedy == pytest.approx(364 / 825)  # as in test_printed_lines.py
    assert greedy - 0.02 < beam <= greedy


@pytest.mark.parametrize("options", [{"recombine": False}, {}, {"beam_width": 100}], ids=str)
@pytest.mark.parametrize(("noise", "most"), [(0.6, 0.015), (0.65, 0.02)])
def test_with_a_language_nearly_all_words_are_right(
    make: Make, noise: float, most: float, options: dict[str, Any]
) -> None:
    """Of 825 words, of which greedy decoding gets 232 and 364 wrong."""
    assert rate("test", noise, make(**options).decode) <= most


def test_hotwords_bring_in_words_that_the_language_lacks(make: Make) -> None:
    decode = make().decode
    words = {word for line in printed.lines("unknown") for word in line.text.split()}
    hotwords = dict.fromkeys(words.difference(printed.lexicon()), 8.0)
    assert len(hotwords) == 22
    assert rate("unknown", 0.6, decode) > 0.1
    assert rate("unknown", 0.6, lambda scores: decode(scores, hotwords=hotwords)) < 0.02
    assert rate("test", 0.6, lambda scores: decode(scores, hotwords=hotwords)) < 0.02  # where they aren't said
