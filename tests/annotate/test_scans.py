"""Texts of pages: words where their ink is, files with rows and columns, and what is said if lines don't match."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ctckit import CTCError, Segment
from ctckit.annotate.decoded import Decoders, Language
from ctckit.annotate.decoded import Options as Decoding
from ctckit.annotate.formats import COLUMNS, encoded
from ctckit.annotate.scans import PageText, align_page, at_ink, decode_page
from ctckit.annotate.utterance import Options as Aligning
from ctckit.recognisers import Place, RecognisedLine, RecognisedPage
from ctckit.text import Vocabulary
from ctckit.text.scripts import Script

LABELS = ["φ", " ", *"abcdefghijklmnopqrstuvwxyz"]
STEP = 8  # columns of a frame
HEIGHT = 30


def seen(text: str, left: int, top: int, slope: float = 0.0) -> RecognisedLine:
    """A line of letters that are 10 columns wide, 16 columns apart, each with a spike in its third quarter."""
    ink = np.zeros(16 * len(text) + 24, np.int32)
    scores = np.full((math.ceil(len(ink) / STEP), len(LABELS)), -9.0, np.float32)
    scores[:, 0] = -0.01
    for i, letter in enumerate(text):
        first = 12 + 16 * i
        if letter != " ":
            ink[first : first + 10] = 5
        frame = (first + 7) // STEP
        scores[frame, 0], scores[frame, LABELS.index(letter)] = -9.0, -0.01
    place = Place(left + 12, top, left + len(ink) - 18, top + HEIGHT, slope)
    return RecognisedLine(scores, float(STEP), left, place, ink)


def page(*lines: RecognisedLine) -> RecognisedPage:
    return RecognisedPage(np.full((400, 600, 3), 255, np.uint8), len(lines), iter(lines))


def decoded(*lines: RecognisedLine, options: Decoding | None = None) -> PageText:
    decoders = Decoders(Language())
    return decode_page(page(*lines), Vocabulary(LABELS), decoders, options or Decoding())


def aligned(text: str, *lines: RecognisedLine, options: Aligning | None = None) -> PageText:
    return align_page(page(*lines), Script(text), Vocabulary(LABELS), options or Aligning())


def words(found: PageText) -> list[tuple[str, float, float]]:
    return [(word.text, word.start, word.end) for line in found.lines for word in line.parts]


def drawn(text: str, left: int) -> list[tuple[str, float, float]]:
    """The words of a line, with the first column of the first letter and the one after the last letter's last."""
    found, at = [], 0
    for word in text.split(" "):
        found.append((word, left + 12 + 16 * at, left + 12 + 16 * (at + len(word) - 1) + 10))
        at += len(word) + 1
    return found


def test_words_are_where_their_ink_is() -> None:
    lines = seen("the cat", 50, 20), seen("sat", 90, 70)
    for found in (decoded(*lines), aligned("the cat\n\nsat\n", *lines)):
        assert words(found) == drawn("the cat", 50) + drawn("sat", 90)
        assert [(line.text, line.start, line.end) for line in found.lines] == [("the cat", 62, 168), ("sat", 102, 144)]
        assert found.places == [line.place for line in lines]
        assert found.duration == 600
        tokens = [token for line in found.lines for word in line.parts for token in word.parts]
        assert all(token.end - token.start == 10 for token in tokens)


def test_what_a_page_says() -> None:
    lines = seen("the cat", 50, 20), seen("sat", 90, 70)
    found = decoded(*lines)
    assert found.texts == ("the cat", "sat")
    assert found.facts == {"text": "the cat\nsat", "unit": "pixels"}
    assert found.notes == ()
    found = aligned("the cat\nsat", *lines)
    assert found.fit is not None
    assert found.fit.reading == "the cat\nsat"
    assert found.facts == {"misfit": pytest.approx(0, abs=1e-6), "reading": "the cat\nsat", "unit": "pixels"}


def test_one_line_has_all_texts_that_were_found() -> None:
    found = decoded(seen("cat", 0, 0), options=Decoding(nbest=3))
    assert len(found.texts) == 3
    assert next(text["text"] for text in found.facts["hypotheses"]) == "cat"
    with pytest.raises(CTCError, match="nbest = 3: expected 1 for a page of several lines"):
        decoded(seen("cat", 0, 0), seen("sat", 0, 40), options=Decoding(nbest=3))


def test_a_page_without_lines() -> None:
    found = decoded()
    assert (found.lines, found.texts, found.notes) == ([], (), ("no line of text was found on the page",))
    assert json.loads(encoded(found.lines, Path("x.json"), duration=600, facts=found.facts))["lines"] == []


def test_one_line_gets_the_whole_text() -> None:
    assert words(aligned("the\ncat", seen("the cat", 50, 20))) == drawn("the cat", 50)


@pytest.mark.parametrize("text", ["the cat", "the cat\nsat\non", ""])
def test_lines_that_do_not_match(text: str) -> None:
    count = len([line for line in text.split("\n") if line])
    with pytest.raises(CTCError, match=rf"the page has 2 lines and the text {count}: expected equally many"):
        aligned(text, seen("the cat", 50, 20), seen("sat", 90, 70))


def test_a_line_that_does_not_fit_is_named() -> None:
    with pytest.raises(CTCError, match=r"line 2: .*frames"):
        aligned("the cat\nextraordinarily long", seen("the cat", 50, 20), seen("sat", 90, 70))
    found = aligned("the cat\ns7t", seen("the cat", 50, 20), seen("sat", 90, 70))
    assert any(note.startswith("line 2: '7' is not in the vocabulary") for note in found.notes)


def test_images_have_no_times() -> None:
    with pytest.raises(CTCError, match="cue_times=True: expected a recording"):
        aligned("cat", seen("cat", 0, 0), options=Aligning(cue_times=True))


def test_ink_far_away_is_no_letter() -> None:
    """Nor is it a reason to move a token that has none."""
    line = seen("cat", 0, 0)
    far = line._replace(ink=np.pad(line.ink, (0, 400), constant_values=3))
    tokens = [Segment("c", 16, 24, 0, 1), Segment("t", 48, 56, 0, 1)]
    word = Segment("ct", 16, 56, 0, 1, tuple(tokens))
    (found,) = at_ink([Segment("ct", 16, 56, 0, 1, (word,))], far)
    assert found.end <= 52 + 1.25 * HEIGHT + 1
    blank = line._replace(ink=np.zeros_like(line.ink))
    assert at_ink([Segment("ct", 16, 56, 0, 1, (word,))], blank) == [Segment("ct", 16, 56, 0, 1, (word,))]


def test_words_without_a_place_stay_without() -> None:
    line, gone = seen("cat", 0, 0), Segment("dog", *[math.nan] * 4)
    tokens = tuple(Segment(letter, 16 + 16 * i, 24 + 16 * i, 0, 1) for i, letter in enumerate("cat"))
    word = Segment("cat", 16, 56, 0, 1, tokens)
    (found,) = at_ink([Segment("dog cat", 16, 24, 0, 1, (gone, word))], line)
    assert math.isnan(found.parts[0].start)
    assert (found.start, found.end) == (12, 54)


def rows_of(content: bytes, separator: str) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines(), delimiter=separator))


def test_files_have_the_rows_of_each_piece() -> None:
    """Of a line that goes down by a row in ten columns, later words are lower."""
    lines = seen("the cat", 50, 20, slope=0.1), seen("sat", 90, 70)
    found = decoded(*lines)

    def content(name: str) -> bytes:
        return encoded(found.lines, Path(name), duration=600, facts=found.facts, places=found.places)

    read = json.loads(content("x.json"))
    first = read["lines"][0]
    assert (read["unit"], read["duration"]) == ("pixels", 600)
    assert [first[key] for key in ("start", "top", "end", "bottom")] == [62, 20, 168, pytest.approx(50 + 10.6)]
    cat = first["words"][1]
    assert [cat[key] for key in ("start", "top", "end", "bottom")] == [
        126,
        pytest.approx(26.4),
        168,
        pytest.approx(60.6),
    ]
    assert cat["tokens"][0]["top"] == pytest.approx(26.4)
    for name, separator in (("x.csv", ","), ("x.tsv", "\t")):
        rows = rows_of(content(name), separator)
        assert tuple(rows[0]) == (*COLUMNS, "top", "bottom")
        words = [row for row in rows if row["level"] == "word"]
        assert [(row["text"], row["top"], row["bottom"]) for row in words] == [
            *(("the", "20.0", "54.2"), ("cat", "26.4", "60.6"), ("sat", "70.0", "100.0"))
        ]


def test_other_files_are_as_before() -> None:
    lines: Sequence[Segment] = [Segment("cat", 0, 1, -0.1, 0.9)]
    assert "top" not in json.loads(encoded(lines, Path("x.json")))["lines"][0]
    assert encoded(lines, Path("x.csv")).decode().splitlines()[0] == ",".join(COLUMNS)
