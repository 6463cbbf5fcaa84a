"""The fit of a text to what the network reads: no warning for right texts, one for those of other recordings."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from support.recogniser import ALPHABET, DATA, needs_data
from support.recordings import LABELS, SHIFT, WORDS, spoken

from ctckit import Vocabulary, forced_align
from ctckit.annotate.fit import Fit
from ctckit.annotate.recording import Scores
from ctckit.annotate.utterance import Aligned, Options, align
from ctckit.text.scripts import Script

QUESTION = "is it the same recording?"


def aligned(scores: Scores, text: str | Script, options: Options | None = None) -> Aligned:
    return align(scores, text, Vocabulary(LABELS), SHIFT, options or Options())


def warns(found: Aligned) -> bool:
    return any(QUESTION in note for note in found.notes)


@pytest.mark.parametrize("text", ["the quick brown fox", "the quik fox", "lazy dog", "a", "aabbaa"])
@pytest.mark.parametrize("logits", [False, True])
def test_misfit_is_the_difference_of_two_paths(text: str, logits: bool) -> None:
    """The free path's score is the sum of the frames' maxima, the text's is forced_align's."""
    scores = spoken("the quick brown fox")[0].astype(np.float64)
    tokens = Vocabulary(LABELS).transcribe(text).tokens
    expected = (scores.max(axis=1).sum() - forced_align(scores, tokens)[0].score) / len(tokens)
    shifted = scores + np.arange(len(scores))[:, None] if logits else scores
    found = aligned(shifted, text, Options(from_logits=logits))
    assert found.fit.misfit == pytest.approx(expected, abs=1e-9)
    assert found.fit.reading == "the quick brown fox"


@pytest.mark.parametrize(
    "options", [Options(), Options(star=True), Options(optional_words=True), Options(optional_words=True, star=True)]
)
def test_right_texts_never_warn(options: Options) -> None:
    rng = random.Random(3)
    for seed in range(30):
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 9)))
        found = aligned(spoken(text, seed)[0], text, options)
        assert not warns(found)
        assert found.fit == (pytest.approx(0, abs=1e-6), text)


@pytest.mark.parametrize("options", [Options(), Options(optional_words=True), Options(optional_words=True, star=True)])
def test_texts_of_other_recordings_always_warn(options: Options) -> None:
    """No word in common; as long as what is said, shorter, or longer."""
    rng = random.Random(4)
    for seed in range(30):
        mixed = rng.sample(WORDS, k=len(WORDS))
        said = " ".join(mixed[: rng.randint(1, 4)])
        scores = spoken(said, seed)[0]
        other = " ".join(mixed[4 : rng.randint(5, 9)])[: max(1, len(scores) // 3)]
        found = aligned(scores, other, options)
        assert warns(found)
        assert found.fit.reading == said


def test_a_word_that_the_labels_lack_does_not_count() -> None:
    found = aligned(spoken("the seven fox")[0], "the 7 fox")
    assert found.fit.misfit == pytest.approx(0, abs=1e-6)


def test_a_text_of_which_nothing_was_found() -> None:
    found = aligned(spoken("the quick brown fox")[0], "jjj", Options(optional_words=True, star=True))
    assert math.isnan(found.fit.misfit)
    assert found.notes == (f"no token of the text was found; the network reads 'the quick brown fox'; {QUESTION}",)
    assert found.fit.as_dict() == {"misfit": None, "reading": "the quick brown fox"}


def test_only_frames_within_subtitles_count() -> None:
    scores, times = spoken("the quick brown fox")
    script = Script("the\nfox", (times[0], times[3]))
    assert aligned(scores, script, Options(cue_times=True)).fit == (pytest.approx(0, abs=1e-6), "thefox")
    script = Script("mix\ndog", (times[0], times[3]))
    assert warns(aligned(scores, script, Options(cue_times=True)))


@pytest.mark.parametrize("offset", [0.0, 2.5, 3600.25])
@pytest.mark.parametrize("cues", [False, True])
def test_a_part_of_a_recording(offset: float, cues: bool) -> None:
    """Times of the text and of subtitles are the whole recording's; the frames found are the same."""
    scores, times = spoken("the fox the fox the fox")
    there = tuple((offset + times[i][0] - 0.01, offset + times[i + 1][1] + 0.01) for i in (0, 4))
    text = Script("the fox\nthe fox", there) if cues else Script("the fox the fox the fox")
    found = align(scores, text, Vocabulary(LABELS), SHIFT, Options(cue_times=cues), offset=offset)
    words = [(word.start, word.end) for line in found.lines for word in line.parts]
    expected = [times[i] for i in ((0, 1, 4, 5) if cues else range(6))]
    assert words == [pytest.approx((offset + start, offset + end)) for start, end in expected]
    assert found.duration == pytest.approx(offset + len(scores) * SHIFT)


@pytest.mark.parametrize("text", ["a", "the quick brown fox", "a lazy dog jumps over the quick brown fox"])
@pytest.mark.parametrize("milliseconds", [5, 10, 20, 40, 80])
def test_a_frame_shift_in_milliseconds_is_questioned(text: str, milliseconds: float) -> None:
    """Speech of 12 letters a second. The same frame shift in seconds is not questioned, however long the silence."""
    scores = spoken(text)[0]
    frames = max(len(scores), round(len(text) / 12 * 1000 / milliseconds))
    scores = np.concatenate((scores, np.repeat(scores[:1], frames - len(scores), axis=0)))
    found = align(scores, text, Vocabulary(LABELS), milliseconds, Options())
    assert f"are these milliseconds? then pass frame_shift={milliseconds / 1000:g}" in found.notes[0]
    silence = np.concatenate((scores, np.repeat(scores[:1], 20000, axis=0)))
    assert align(silence, text, Vocabulary(LABELS), milliseconds / 1000, Options()).notes == ()
    assert align(scores, text, Vocabulary(LABELS), 1, Options()).notes == ()


def test_sentences_are_short_and_have_no_control_characters() -> None:
    assert str(Fit(0.5, "x\x1b[2J")) == "0.50 nats a token below what the network reads: 'x�[2J'"
    assert len(str(Fit(0.5, "x" * 1000))) < 120
    assert Fit(2.4, "x").notes == ()
    assert Fit(2.6, "x").notes == (f"2.60 nats a token below what the network reads: 'x'; {QUESTION}",)


@needs_data
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("the fake friend of the family, like the", False),
        ("the fak friend of the fomly hae tC", False),
        ("an entirely other sentence", True),
        ("completely different sentence here", True),
        ("eht ekil ,ylimaf eht fo dneirf ekaf eht", True),
        ("the", True),
    ],
)
def test_handwriting(text: str, wrong: bool) -> None:
    scores = np.load(DATA / "iam_line_logits.npy").reshape(-1, 80)
    found = align(scores, text, Vocabulary([*ALPHABET, "φ"]), 1, Options(True))
    assert warns(found) == wrong
    assert found.fit.reading == "the fak friend of the fomly hae tC"
