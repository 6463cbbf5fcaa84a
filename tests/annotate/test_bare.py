"""Words without the punctuation around them, in many scripts; what is said stays."""

from __future__ import annotations

import math

import pytest
from support.recordings import LABELS, SHIFT, spoken

from ctckit import Segment, Vocabulary
from ctckit.annotate.bare import bare, bare_lines
from ctckit.annotate.utterance import Options, align


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("fox", "fox"),
        ("“Fox,”", "Fox"),
        ("don't", "don't"),
        ("well-known.", "well-known"),
        ("one —", "one"),
        ("♫ la ♫", "la"),
        ("<i>so</i>,", "so"),
        ("[breath]", "[breath]"),
        ("<cough>", "<cough>"),
        ("5%", "5%"),
        ("$5.", "$5"),
        ("AT&T?", "AT&T"),
        ("¿qué?", "qué"),
        ("你好。", "你好"),
        ("「ラーメン」", "ラーメン"),
        ("हिन्दी।", "हिन्दी"),
        ("cafe\u0301!", "cafe\u0301"),
        ("…", ""),
        ("", ""),
    ],
)
def test_words(word: str, expected: str) -> None:
    assert bare(word) == expected


def test_characters_that_are_read_out_stay() -> None:
    assert (bare("→x+", "+"), bare("→x+")) == ("x+", "x")


def test_lines_keep_their_numbers() -> None:
    words = (Segment("«A", 0, 1, -1, 0.5), Segment("–", 1, 2, -1, 0.5), Segment("cat».", 2, 3, -1, 0.5))
    (line,) = bare_lines([Segment("«A – cat».", 0, 3, -1, 0.5, words)])
    assert line == Segment("A cat", 0, 3, -1, 0.5, (words[0]._replace(text="A"), words[2]._replace(text="cat")))


def test_an_alignment_is_the_same_but_for_its_text() -> None:
    scores = spoken("the quick brown fox")[0]
    vocabulary = Vocabulary(LABELS)
    whole, short = (
        align(scores, "The “quick” brown — fox!\n", vocabulary, SHIFT, Options(strip_punctuation=strip)).lines[0]
        for strip in (False, True)
    )
    assert [word.text for word in whole.parts] == ["The", "“quick”", "brown —", "fox!"]
    assert (short.text, [word.text for word in short.parts]) == ("The quick brown fox", short.text.split())
    for one, other in zip(whole.parts, short.parts, strict=True):
        assert one[1:] == other[1:]
        assert not math.isnan(one.start)
