"""How late and how short a network's tokens are: a made-up one, whose delay is known, hears sounds whose times are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from ctckit import CTCError
from ctckit.annotate.delay import Heard, hear, measure, offsets
from ctckit.annotate.marks import Mark
from ctckit.recognisers import Recogniser, SoundInput

LABELS = ["<blank>", "low", "high"]
RATE, STEP, LATE = 8000, 80, 7  # samples a second; samples a frame; frames by which the network is late
LEVELS = {"low": 0.3, "high": 0.8}
WORDS = [("low", 0.5, 0.7), ("high", 0.9, 1.3), ("low", 1.3, 1.5), ("high", 1.8, 1.9)]


def spiky(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """A spike of a frame for each change to another loudness, `LATE` frames after it."""
    level = np.abs(samples.reshape(len(samples), -1, STEP)).mean(axis=2)
    classes = np.searchsorted([0.1, 0.5], level)
    before = np.pad(classes, ((0, 0), (1, 0)))[:, :-1]
    spikes = np.where(classes != before, classes, 0)
    late = np.pad(spikes, ((0, 0), (LATE, 0)))[:, : spikes.shape[1]]
    return np.log(np.eye(3)[late] * 0.997 + 0.001)


NETWORK = Recogniser(spiky, SoundInput(RATE), LABELS, blank=0, step=STEP, speller=lambda word: [word])


def sound_of(words: list[tuple[str, float, float]]) -> npt.NDArray[np.float32]:
    sound = np.zeros(3 * RATE, np.float32)
    for text, start, end in words:
        sound[round(start * RATE) : round(end * RATE)] = LEVELS[text]
    return sound


def heard_by(network: Recogniser, name: str, words: list[tuple[str, float, float]], marks: list[Mark]) -> Heard:
    return hear(name, network.log_probs(sound_of(words)), network.vocabulary(), network.frame_shift, marks, False)


def heard(name: str, words: list[tuple[str, float, float]], shift: float = 0.0) -> Heard:
    marks = [Mark(text, start + shift, end + shift) for text, start, end in words]
    return heard_by(NETWORK, name, words, marks)


def test_the_delay_that_the_network_has() -> None:
    """And the stretch: words last 0.1 to 0.4 s after their beginnings, and a spike 0.01 s."""
    found = measure([heard("x", WORDS), heard("y", WORDS[1:])])
    assert found.delay == pytest.approx(LATE * STEP / RATE)
    assert [word.start for word in found.both] == pytest.approx([0] * 7)
    # Ends of x and y, with s for the stretch: 0.2, 0.4, 0.2, 0.1 and 0.4, 0.2, 0.1, less the spike; the words of 0.4 s
    # end with the next one's beginning where 0.01 + s is more. The mean of |0.01 + s - length| is least at 0.2 - 0.01.
    assert found.stretch == pytest.approx(0.19)
    assert [word.end for word in found.delayed] == pytest.approx([-0.19, -0.39, -0.19, -0.09, -0.39, -0.19, -0.09])
    assert [word.end for word in found.both] == pytest.approx([0, -0.2, 0, 0.1, -0.2, 0, 0.1])


def test_first_words_do_not_count() -> None:
    """Their marks are a second too early; the delay is the same, and they are told apart."""
    first = heard("x", WORDS)
    marks = [first.marks[0]._replace(start=-0.5), *first.marks[1:]]
    found = measure([first._replace(marks=marks)])
    assert found.delay == pytest.approx(LATE * STEP / RATE)
    assert [(word.text, word.is_first) for word in found.own] == [
        ("low", True), ("high", False), ("low", False), ("high", False)
    ]  # fmt: skip


def test_a_network_that_is_early_has_no_delay() -> None:
    found = measure([heard("x", WORDS, shift=0.2)])
    assert found.delay == 0
    assert [word.start for word in found.own] == pytest.approx([-0.13] * 4)


def test_the_errors_of_other_options() -> None:
    found = offsets([heard("x", WORDS)], 0.05, 0.2)
    assert [word.start for word in found] == pytest.approx([0.02] * 4)
    assert [word.end for word in found] == pytest.approx([0.03, -0.17, 0.03, 0.13])
    assert [(word.recording, word.at) for word in found] == [("x", start) for _, start, _ in WORDS]


def test_words_that_the_labels_can_not_spell() -> None:
    """They match anything, so their times mean nothing."""
    network = Recogniser(
        spiky, SoundInput(RATE), LABELS, blank=0, step=STEP, speller=lambda w: [w] if w != "loud" else []
    )
    marks = [Mark("loud" if i == 1 else text, start, end) for i, (text, start, end) in enumerate(WORDS)]
    found = offsets([heard_by(network, "x", WORDS, marks)], 0, 0)
    assert [word.text for word in found] == ["low", "low", "high"]


def test_a_word_may_be_marked_as_two() -> None:
    """A mark's text may have a space, or a line's end: it is one piece all the same."""
    marks = [Mark("low high", 0.5, 1.3), Mark("low\nhigh", 1.3, 1.9)]
    found = offsets([heard_by(NETWORK, "x", WORDS, marks)], 0, 0)
    assert [(word.start, word.end) for word in found] == [
        (pytest.approx(0.07), pytest.approx(0.97 + 0.01 - 1.3)),
        (pytest.approx(0.07), pytest.approx(1.87 + 0.01 - 1.9)),
    ]


def test_marks_of_another_recording() -> None:
    marks = [Mark("high", 0.1, 0.2), Mark("high", 0.4, 0.5), Mark("high", 0.7, 0.8)]
    with pytest.raises(CTCError, match="the same recording"):
        heard_by(NETWORK, "x", [], marks)


def test_nothing_to_compare() -> None:
    with pytest.raises(CTCError, match="no recording has two words to compare"):
        measure([heard("x", WORDS[:1])])
