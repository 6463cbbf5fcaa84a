"""A hypothesis: its words and their times, in every convention; pickled and written to files."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
from support.recordings import said

from ctckit import CTCError, Decoder, Hypothesis, Vocabulary, forced_align, greedy_decode
from ctckit.annotate import write

LABELS = ["<blank>", "|", "a", "c", "t", "'"]


def best(labels: list[str], path: list[str]) -> Hypothesis:
    return Decoder(labels).decode(said(labels, path))[0][0]


CONVENTIONS = {
    "separator": (
        ["<blank>", "|", "a", "c", "t"],
        ["c", "a", "a", "t", "<blank>", "|", "a", "<blank>"],
        [("cat", 0, 4), ("a", 6, 7)],
    ),
    "a separator at both ends": (["<blank>", "|", "a"], ["|", "a", "|", "|"], [("a", 1, 2)]),
    "sentencepiece": (
        ["<blank>", "▁", "▁ca", "t", "▁a"],
        ["▁ca", "<blank>", "t", "▁a", "▁", "t"],
        [("cat", 0, 3), ("a", 3, 4), ("t", 5, 6)],
    ),
    "wordpiece": (["[PAD]", "ca", "##t", "a"], ["ca", "##t", "[PAD]", "a"], [("cat", 0, 2), ("a", 3, 4)]),
    "plain": (["<blank>", "天", "气"], ["天", "<blank>", "气"], [("天气", 0, 3)]),
    "special classes": (["<blank>", "<unk>", "|", "a"], ["<unk>", "|", "a"], [("a", 2, 3)]),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_words(name: str) -> None:
    labels, path, words = CONVENTIONS[name]
    vocabulary = Vocabulary(labels)
    (found,) = Decoder(vocabulary).decode(said(labels, path))[0]
    assert [word[:3] for word in found.words] == words
    assert found.text == vocabulary.read(found.tokens) == " ".join(word for word, *_ in words)
    assert all(0 < word.confidence <= 1 for word in found.words)
    (line,) = found.segments(0.1)
    assert [(part.text, round(part.start, 6), round(part.end, 6)) for part in line.parts] == [
        (word, start / 10, end / 10) for word, start, end in words
    ]


def test_times_are_an_alignments() -> None:
    log_probs = said(LABELS, ["<blank>", "c", "c", "<blank>", "a", "t", "t"])
    (found,) = Decoder(LABELS).decode(log_probs)[0]
    (aligned,) = forced_align(log_probs, found.tokens)
    assert found.alignment.spans() == aligned.spans()
    assert [(span.start, span.end) for span in found.alignment.spans()] == [(1, 3), (4, 5), (5, 7)]
    (line,) = found.segments(0.5, offset=10, extend=1)
    assert (line.text, line.start, line.end) == ("cat", 10, 13.5)
    assert [(part.text, part.start, part.end) for part in line.parts[0].parts] == [
        ("c", 10, 12),
        ("a", 12, 12.5),
        ("t", 12.5, 13.5),
    ]


def test_a_hypothesis_can_be_pickled() -> None:
    (found,) = Decoder(LABELS).decode(said(LABELS, ["c", "a", "t", "|", "a", "t"], 0.5))[0]
    copy = pickle.loads(pickle.dumps(found))
    assert copy.words == found.words
    assert copy.segments(0.1) == found.segments(0.1)
    assert copy.token_confidence.tolist() == found.token_confidence.tolist()
    assert (copy.probability, copy.expected_word_errors) == (found.probability, found.expected_word_errors)
    assert copy.alignment.confidence.tolist() == found.alignment.confidence.tolist()
    again = pickle.loads(pickle.dumps(copy))
    assert again.segments(0.1) == found.segments(0.1)


def test_all_texts_of_a_sample_can_be_pickled() -> None:
    (hypotheses,) = Decoder(LABELS).decode(said(LABELS, ["c", "a", "t"], 0.5), nbest=3)
    copy = pickle.loads(pickle.dumps(hypotheses))
    assert [(h.text, h.score) for h in copy] == [(h.text, h.score) for h in hypotheses]
    assert copy.status == hypotheses.status


def test_a_hypothesis_is_written_as_subtitles_and_tables(tmp_path: Path) -> None:
    found = best(LABELS, ["c", "a", "t", "|", "a", "t"])
    for ending in ("ctm", "json", "csv", "txt"):
        write(found.segments(0.5), tmp_path / f"x.{ending}")
    rows = [row.split() for row in (tmp_path / "x.ctm").read_text().splitlines()]
    assert [row[2:5] for row in rows] == [["0.000", "1.500", "cat"], ["2.000", "1.000", "at"]]
    assert all(0.5 < float(row[5]) <= 1 for row in rows)


def test_bad_arguments_of_segments() -> None:
    found = best(LABELS, ["c", "a", "t"])
    for arguments, message in (
        ({"frame_shift": 0}, "frame_shift = 0: expected seconds"),
        ({"frame_shift": 0.1, "extend": -1}, "extend = -1: expected a number of frames"),
        ({"frame_shift": 0.1, "offset": math.nan}, "offset = nan: expected the seconds"),
        ({"frame_shift": 0.1, "offset": -1}, "offset = -1: expected the seconds"),
    ):
        with pytest.raises(CTCError, match=message):
            found.segments(**arguments)


def test_hypotheses_are_a_sequence() -> None:
    (hypotheses,) = Decoder(LABELS).decode(said(LABELS, ["c", "a", "t"], 0.5), nbest=3)
    assert len(hypotheses) == 3
    assert hypotheses[0].text == hypotheses.text == "cat"
    assert [h.text for h in hypotheses[1:]] == [h.text for h in list(hypotheses)[1:]]
    assert repr(hypotheses).startswith("Hypotheses(['cat', ")


def test_greedy_words_have_confidences_too() -> None:
    log_probs = said(["<blank>", "a", "b"], ["a", "b"], 0.5)
    (found,) = greedy_decode(log_probs, vocabulary=Vocabulary(["<blank>", "a", "b"]))[0]
    (word,) = found.words
    assert word[:3] == ("ab", 0, 2)
    assert 0 < word.confidence < 0.9
