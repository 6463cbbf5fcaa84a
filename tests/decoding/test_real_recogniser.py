"""From a real recogniser's scores to texts: wrong words with a beam, with a language and with hotwords."""

from functools import partial
from typing import Any

import pytest
from support import printed

from ctckit import Decoder, greedy_decode


def test_without_a_language_a_beam_gains_next_to_nothing() -> None:
    lines = printed.lines("test", 0.65)
    greedy = printed.errors_of(lambda scores: greedy_decode(scores, vocabulary=printed.LABELS), lines)
    beam = printed.errors_of(Decoder(printed.LABELS).decode, lines)
    assert (greedy.total, greedy.length) == (364, 825)  # as in test_printed_lines.py
    assert greedy.rate - 0.02 < beam.rate <= greedy.rate


@pytest.mark.parametrize("options", [{"recombine": False}, {}, {"beam_width": 100}], ids=str)
@pytest.mark.parametrize(("noise", "most"), [(0.6, 0.015), (0.65, 0.02)])
def test_with_a_language_nearly_all_words_are_right(noise: float, most: float, options: dict[str, Any]) -> None:
    """Of 825 words, of which greedy decoding gets 232 and 364 wrong."""
    assert printed.errors_of(printed.with_language(**options).decode, printed.lines("test", noise)).rate <= most


def test_hotwords_bring_in_words_that_the_language_lacks() -> None:
    decode = printed.with_language().decode
    words = {word for line in printed.lines("unknown") for word in line.text.split()}
    hotwords = dict.fromkeys(words.difference(printed.lexicon()), 8.0)
    assert len(hotwords) == 22
    boosted = partial(decode, hotwords=hotwords)
    assert printed.errors_of(decode, printed.lines("unknown")).rate > 0.1
    assert printed.errors_of(boosted, printed.lines("unknown")).rate < 0.02
    assert printed.errors_of(boosted, printed.lines("test", 0.6)).rate < 0.02  # on lines without these words
