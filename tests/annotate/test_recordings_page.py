"""The page of recordings: its numbers, and what a browser plays, shows and says."""

from __future__ import annotations

import base64
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import needs
from support.pages import Open, expect
from support.recordings import LABELS, SHIFT, said, spoken

from ctckit import CTCError, Vocabulary
from ctckit.annotate.decoded import Decoders, Language, decode, timed
from ctckit.annotate.decoded import Options as Reading
from ctckit.annotate.page import Clip, Shown, differences, recordings_page
from ctckit.annotate.page import data as numbers
from ctckit.annotate.page.data import recording_data
from ctckit.annotate.recording import Timed, words_of
from ctckit.annotate.strips import Scan
from ctckit.annotate.utterance import Options, align
from ctckit.catalogue import words
from ctckit.drawing.colors import PALETTE
from ctckit.results import Segment

pytestmark = needs("soundfile", "matplotlib")
TEXT = "the quick brown fox"
RATE = 16000
SCORES, TIMES = spoken(TEXT)
LETTERS = Vocabulary(LABELS, 0)


def tone(seconds: float, hertz: float = 1000.0) -> Clip:
    """Silence, and from the middle on a tone."""
    time = np.arange(round(seconds * RATE)) / RATE
    loud = 0.5 * np.sin(2 * np.pi * hertz * time)
    return Clip(np.where(time < seconds / 2, 0, loud).astype(np.float32), RATE)


def heard(text: str = TEXT, **options: Any) -> Shown:
    """A made-up recording: scores of a text, and a tone of the same length."""
    found = align(SCORES, text, LETTERS, SHIFT, Options(**options))
    return Shown(found, SCORES, LETTERS, tone(SHIFT * len(SCORES)), "fox.wav")


def printed(text: str = "ab c", written: str = "ab c") -> Shown:
    """A made-up line, whose frames are four pixels wide: each character has one, and there is a blank after it."""
    names = ["φ", "|", *"abcde"]
    vocabulary = Vocabulary(names, 0)
    frames = ["φ" if i % 2 else text[i // 2].replace(" ", "|") for i in range(2 * len(text))]
    scores = said(names, frames).astype(np.float32)
    options = Reading(in_pixels=True)
    found = timed(decode(scores, vocabulary, Decoders(Language()), options), len(scores), 4.0, options)
    ink = np.linspace(0, 1, 4 * len(scores), dtype=np.float32)
    return Shown(found, scores, vocabulary, Scan(np.tile(ink, (20, 1))), "line.png", written)


class Lines:
    """A text with its times, as a page takes it."""

    facts: dict[str, Any]

    def __init__(self, lines: list[Segment], frames: list[int], **facts: Any) -> None:
        self.lines, self.path, self.duration, self.facts = lines, np.array(frames, np.int32), SHIFT * len(frames), facts


def shown(found: Timed, scores: Any, labels: list[str]) -> Shown:
    return Shown(found, np.asarray(scores, np.float32), Vocabulary(labels, 0), None, "x")


def matrix(picture: dict[str, Any]) -> np.ndarray[Any, Any]:
    values = np.frombuffer(base64.b64decode(picture["values"]), np.uint8)
    return values.reshape(picture["rows"], picture["columns"])


# --- numbers ----------------------------------------------------------------------------------------------------------


class TestNumbers:
    def test_sound_is_packed_without_loss(self) -> None:
        import soundfile

        samples = np.array([0, 1, -1, 12345, 32767, -32768, 7], np.int16)
        packed = numbers.packed(Clip((samples / 2**15).astype(np.float32), 22050))
        read, rate = soundfile.read(io.BytesIO(base64.b64decode(packed)), dtype="int16")
        assert rate == 22050
        assert read.tolist() == samples.tolist()

    def test_probabilities_of_the_texts_classes_in_their_order(self) -> None:
        """Two tokens, b before a, then the blank; 0.2 is 51 of 255."""
        probs = np.array([[0.6, 0.2, 0.2], [0, 0, 1.0], [1, 0, 0], [0, 1.0, 0]])
        with np.errstate(divide="ignore"):
            scores = np.log(probs)
        found = Lines([Segment("ba", 0.02, 0.08, -0.1, 0.9)], [0, 2, 0, 1])
        picture = recording_data(shown(found, scores, ["φ", "a", "b"]))["chances"]
        assert picture["names"] == ["b", "a"]
        assert matrix(picture).tolist() == [[51, 255, 0, 0], [51, 0, 0, 255], [153, 0, 255, 0]]
        assert (picture["begin"], picture["end"]) == (0, 0.08)

    def test_of_many_classes_the_texts_own_the_best_other_and_the_blank(self) -> None:
        classes = numbers.MOST_CLASSES + 2
        labels = ["φ", *(chr(0x4E00 + i) for i in range(classes - 1))]
        path = list(range(classes))  # the blank, and then each other class
        scores = said(labels, [labels[c] for c in path], sure=0.6)
        picture = recording_data(shown(Lines([], path), scores, labels))["chances"]
        rest = round(255 * 0.4 / (classes - 1))
        assert picture["names"] == []
        own, other, blank = matrix(picture).tolist()
        assert own == [0] + [153] * (classes - 1)
        assert set(other) == {rest}
        assert blank == [153] + [rest] * (classes - 1)

    def test_of_many_frames_the_strongest_of_neighbours(self) -> None:
        values = np.arange(20, dtype=np.uint8).reshape(2, 10)
        assert numbers.pooled(values, 4).tolist() == [[1, 4, 6, 9], [11, 14, 16, 19]]
        assert numbers.pooled(values, 10) is values

    def test_the_spectrogram_has_the_tone_where_it_is(self) -> None:
        strip = recording_data(heard())["strip"]
        values = matrix(strip)
        last = values[:, -strip["columns"] // 4]
        kilohertz = strip["highest"] * (1 - (last.argmax() + 0.5) / strip["rows"])  # high ones above
        assert kilohertz == pytest.approx(1, abs=strip["highest"] / strip["rows"])
        assert values[:, : strip["columns"] // 4].max() == 0
        assert strip["begin"] == pytest.approx(0, abs=0.03)
        assert strip["end"] == pytest.approx(SHIFT * len(SCORES), abs=0.03)
        peaks = np.frombuffer(base64.b64decode(strip["peaks"]), np.uint8)
        assert peaks[: len(peaks) // 2 - 1].max() == 0
        assert peaks[len(peaks) // 2 + 1 :].min() >= 254

    def test_words_and_tokens_with_their_times(self) -> None:
        found = recording_data(heard())
        assert [word[:3] for word in found["words"]] == [
            [word, pytest.approx(begin), pytest.approx(end)]
            for word, (begin, end) in zip(TEXT.split(), TIMES, strict=True)
        ]
        assert "".join(token[0] for token in found["tokens"]) == TEXT.replace(" ", "")
        assert (found["count"], found["untimed"], found["kind"]) == (4, 0, "sound")

    def test_words_without_a_time_are_counted(self) -> None:
        nan = math.nan
        parts = (Segment("a", 0.02, 0.04, -0.1, 0.9), Segment("7", nan, nan, nan, nan))
        found = Lines([Segment("a 7", 0.02, 0.04, -0.1, 0.9, parts)], [0, 1])
        data = recording_data(shown(found, np.log([[0.9, 0.1], [0.1, 0.9]]), ["φ", "a"]))
        assert (data["count"], data["untimed"], data["words"]) == (2, 1, [["a", 0.02, 0.04, 0.9]])

    def test_text_beside_what_is_heard(self) -> None:
        labels = ["φ", "|", "c", "a", "t", "u"]
        scores = said(labels, ["c", "u", "t", "|", "φ", "a"])
        found = align(scores, "cat a", Vocabulary(labels, 0), SHIFT, Options())
        pair = shown(found, scores, labels)
        expected = [["c", "c"], ["a", "u"], ["t", "t"], [" ", " "], ["a", "a"]]
        assert recording_data(pair)["compared"] == expected
        assert differences(pair) == (1, 5)

    def test_a_long_text_is_not_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(numbers, "MOST_COMPARED", 18)
        assert recording_data(heard())["compared"] == []

    def test_places_in_an_image_are_its_pixels(self) -> None:
        data = recording_data(printed())
        assert [token[:3] for token in data["tokens"]] == [["a", 0, 4], ["b", 8, 12], ["c", 24, 28]]
        assert (data["kind"], data["length"], data["sound"]) == ("print", 32, None)
        assert data["strip"]["tall"] == 20
        row = np.rint(255 * (1 - np.linspace(0, 1, 32, dtype=np.float32)))
        assert (matrix(data["strip"]) == row).all()

    def test_frames_without_a_size_are_spread_over_the_image(self) -> None:
        found = align(SCORES, TEXT, LETTERS, SHIFT, Options())
        wide = Shown(found, SCORES, LETTERS, Scan(np.ones((8, 10 * len(SCORES)), np.float32)), "x.png")
        starts = [word[1] for word in recording_data(wide)["words"]]
        assert starts == pytest.approx([10 * begin / SHIFT for begin, _ in TIMES])

    def test_one_word_that_its_tokens_spell_has_no_row(self) -> None:
        assert recording_data(printed("abc", "abc"))["words"] == []
        assert len(recording_data(printed())["words"]) == 2


class TestErrors:
    def test_too_long(self) -> None:
        frames = round(301 / SHIFT)
        found = Lines([], [0] * frames)
        long = Shown(found, np.zeros((frames, 1), np.float32), Vocabulary(["φ"], 0), tone(301.0), "talk.wav")
        with pytest.raises(
            CTCError, match=r"talk\.wav is longer than 300 seconds, which is the most for a page: cut out a part"
        ):
            recordings_page([long])

    def test_another_recording(self) -> None:
        one = heard()
        other = Shown(one.found, one.log_probs, one.vocabulary, tone(9.0), one.name)
        with pytest.raises(CTCError, match=r"the recording has 9\.00 seconds and all frames together"):
            recordings_page([other])

    def test_an_unknown_language(self) -> None:
        with pytest.raises(CTCError, match="lang"):
            recordings_page([heard()], "fr")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_delay_and_stretch_are_said_if_there_are_any(lang: str) -> None:
    def about(facts: dict[str, float]) -> str:
        one = heard()
        found = Lines(one.found.lines, one.found.path.tolist(), **facts)
        return recordings_page([Shown(found, one.log_probs, one.vocabulary, one.strip, one.name)], lang)

    say = words("recordings", lang)
    late, stretched = say["late"].format(seconds="0.10"), say["stretched"].format(seconds="0.25")
    assert late in about({"delay": 0.1})
    assert stretched not in about({"delay": 0.1})
    assert stretched in about({"delay": 0.1, "stretch": 0.25})
    plain = about({})
    assert late.split("0.10")[0] not in plain.split("<script")[0]


# --- in a browser -----------------------------------------------------------------------------------------------------

LISTENS = """
window.begun = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset, length) {
  window.begun.push({ offset, length, seconds: this.buffer.duration });
  return start.call(this, when, offset, length);
};
"""


CLOCK = """
let clock = 0;
let ahead;
Object.defineProperty(AudioContext.prototype, "currentTime", { get: () => clock });
AudioBufferSourceNode.prototype.start = (when) => (ahead = when);
"""


def page(*items: Shown, lang: str = "en", before: str = "") -> str:
    """A page that records which spans of its sound are started; `before` is a script that runs first of all."""
    own = '<script>\n"use strict";'
    return recordings_page(items, lang).replace(own, f"<script>{before}{LISTENS}</script>\n{own}", 1)


def begun(tab: Any) -> list[dict[str, float]]:
    return list(tab.evaluate("begun"))


def started(tab: Any, count: int) -> dict[str, float]:
    tab.wait_for_function(f"begun.length === {count}")
    return begun(tab)[-1]


def is_span(played: dict[str, float], begin: float, end: float) -> bool:
    return (played["offset"], played["length"]) == (pytest.approx(begin), pytest.approx(end - begin))


class TestPlaying:
    def test_a_click_on_a_word_plays_its_span(self, opened: Open) -> None:
        tab = opened(page(heard()))
        for i, times in enumerate(TIMES):
            tab.locator(".words button").nth(i).click()
            played = started(tab, i + 1)
            assert is_span(played, *times), i
            assert played["seconds"] == pytest.approx(SHIFT * len(SCORES), abs=0.002)

    def test_a_click_on_a_token_plays_its_span(self, opened: Open) -> None:
        one = heard()
        tab = opened(page(one))
        tab.locator(".tokens button").nth(4).click()
        token = [token for word in words_of(one.found.lines) for token in word.parts][4]
        assert is_span(started(tab, 1), token.start, token.end)

    def test_the_whole_recording_and_stop(self, opened: Open) -> None:
        tab = opened(page(heard()))
        button = tab.locator(".play")
        button.click()
        assert is_span(started(tab, 1), 0, SHIFT * len(SCORES))
        expect(button).to_have_text("Stop")
        button.click()
        expect(button).to_have_text("Play")
        expect(tab.locator(".now-line")).to_be_hidden()

    def test_it_ends_by_itself(self, opened: Open) -> None:
        tab = opened(page(heard()))
        tab.locator(".words button").first.click()
        started(tab, 1)
        expect(tab.locator(".play")).to_have_text("Play")

    def test_one_at_a_time(self, opened: Open) -> None:
        tab = opened(page(heard(), heard()))
        tab.locator(".play").first.click()
        tab.locator(".play").last.click()
        expect(tab.locator(".play").last).to_have_text("Stop")
        expect(tab.locator(".play").first).to_have_text("Play")

    def test_the_line_and_the_word_follow_the_sound(self, opened: Open) -> None:
        """By a clock of the test, which stands still until it is set; the sound itself is not started."""
        tab = opened(page(heard(), before=CLOCK))
        tab.locator(".play").click()
        started(tab, 1)
        for i, (begin, end) in enumerate(TIMES):
            middle = (begin + end) / 2
            tab.evaluate(f"clock = {middle} + ahead")
            expect(tab.locator(".words .now")).to_have_text(TEXT.split()[i])
            line, sheet = (tab.locator(part).bounding_box() for part in (".now-line", ".sheet"))
            place = (line["x"] + 1 - sheet["x"]) / tab.evaluate("ctckit.widgets[0].scale()")
            assert place == pytest.approx(middle, abs=0.01)


class TestKeyboard:
    def test_tab_arrows_enter_and_space(self, opened: Open) -> None:
        tab = opened(page(heard()))
        tab.locator(".play").focus()
        tab.keyboard.press("Tab")  # the tokens
        assert tab.evaluate("document.activeElement.textContent") == "t"
        tab.keyboard.press("Tab")  # the words
        assert tab.evaluate("document.activeElement.textContent") == "the"
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        assert is_span(started(tab, 1), *TIMES[1])
        tab.keyboard.press("End")
        tab.keyboard.press("Space")
        assert is_span(started(tab, 2), *TIMES[3])
        tab.keyboard.press("ArrowLeft")
        assert tab.evaluate("document.activeElement.textContent") == "brown"

    @pytest.mark.parametrize(("lang", "between"), [("en", " to "), ("zh", " 到 ")])
    def test_what_is_said_of_a_word(self, opened: Open, lang: str, between: str) -> None:
        tab = opened(page(heard(), lang=lang))
        button = tab.locator(".words button").nth(1)
        begin, end = TIMES[1]
        label = button.get_attribute("aria-label")
        assert label.startswith("quick")
        assert f"{begin:.2f}{between}{end:.2f}" in label
        button.click()
        expect(tab.locator("[role=status]")).to_have_text(label)
        other = {"en": "zh", "zh": "en"}[lang]
        tab.locator(f"[data-choose={other}]").click()
        assert tab.locator("[role=status]").inner_text() == button.get_attribute("aria-label") != label


class TestLooks:
    def test_spans_are_where_they_are_said(self, opened: Open) -> None:
        tab = opened(page(heard()))
        left = tab.locator(".sheet").bounding_box()["x"]
        scale = tab.evaluate("ctckit.widgets[0].scale()")
        for i, (begin, end) in enumerate(TIMES):
            bar = tab.locator(".words .bar").nth(i).bounding_box()
            assert bar["x"] - left == pytest.approx(begin * scale, abs=1)
            assert bar["width"] == pytest.approx((end - begin) * scale, abs=1)

    @pytest.mark.parametrize("lang", ["en", "zh"])
    def test_a_phone_is_wide_enough(self, opened: Open, lang: str) -> None:
        tab = opened(page(heard(), printed(), lang=lang), viewport={"width": 390, "height": 844})
        assert tab.evaluate("document.documentElement.scrollWidth") == 390

    def test_texts_do_not_cover_each_other(self, opened: Open) -> None:
        tab = opened(page(heard()), viewport={"width": 390, "height": 844})
        for row in (".tokens", ".words"):
            boxes = [tab.locator(f"{row} button").nth(i).bounding_box() for i in range(4)]
            for i, one in enumerate(boxes):
                for other in boxes[i + 1 :]:
                    apart = one["x"] + one["width"] <= other["x"] + 1
                    assert apart or one["y"] + 15 <= other["y"] or other["y"] + 15 <= one["y"]

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_pictures_have_the_schemes_colours(self, opened: Open, scheme: str) -> None:
        """A frame in which the network is sure of a token, as painted: the palette's blue, nearly opaque."""
        tab = opened(page(heard()), color_scheme=scheme)
        pixels = tab.locator(".chances canvas").evaluate(
            "e => [...e.getContext('2d').getImageData(0, 0, e.width, e.height - 1).data]"
        )
        strongest = max((pixels[i : i + 4] for i in range(0, len(pixels), 4)), key=lambda pixel: pixel[3])
        blues = re.findall(r"--blue: #(..)(..)(..)", PALETTE)  # light, then dark
        wanted = [int(value, 16) for value in blues[scheme == "dark"]]
        assert strongest[3] > 240
        assert strongest[:3] == pytest.approx(wanted, abs=2)

    def test_a_change_of_the_scheme_repaints(self, opened: Open) -> None:
        tab = opened(page(heard()), color_scheme="light")
        before = tab.locator(".strip canvas").evaluate("e => e.toDataURL()")
        tab.emulate_media(color_scheme="dark")
        tab.wait_for_function("was => document.querySelector('.strip canvas').toDataURL() !== was", arg=before)

    def test_words_that_are_not_sure_are_red(self, opened: Open) -> None:
        parts = tuple(Segment(text, 0.02 * i, 0.02 * i + 0.02, -1, 0.4 + 0.2 * i) for i, text in enumerate("ab"))
        found = Lines([Segment("a b", 0, 0.04, -1, 0.5, parts)], [1, 2])
        tab = opened(page(shown(found, np.log([[0.1, 0.5, 0.4]] * 2), ["φ", "a", "b"])))
        assert tab.locator(".unsure").all_inner_texts() == ["a"]

    def test_differences_are_marked(self, opened: Open) -> None:
        tab = opened(page(printed("ab d", written="ab c")))
        assert tab.locator(".compared mark").all_inner_texts() == ["c", "d"]
        assert tab.locator(".compared dd").all_inner_texts() == ["ab c", "ab d"]

    def test_a_click_shows_the_place_in_the_image(self, opened: Open) -> None:
        tab = opened(page(printed()))
        tab.locator(".tokens button").nth(2).click()
        assert tab.locator(".mark.now").count() == 1
        box, image = tab.locator(".mark.now").bounding_box(), tab.locator(".strip").bounding_box()
        assert (box["x"] - image["x"]) / image["width"] == pytest.approx(24 / 32, abs=0.01)
        assert tab.locator("[role=status]").inner_text().startswith("c: 24 to 28 px")
        tab.locator(".words button").first.click()
        assert tab.locator(".mark.now").count() == 2
        tab.locator(".mark").first.click()
        assert tab.locator("[role=status]").inner_text().startswith("a: 0 to 4 px")

    def test_hostile_texts_stay_texts(self, opened: Open) -> None:
        text = "<b>&amp;</script><script>throw 1</script>"
        found = Lines([Segment(text, 0, 0.04, -1, 0.9, (Segment(text, 0, 0.04, -1, 0.9),))], [1, 2])
        item = Shown(
            found, np.log([[0.1, 0.5, 0.4]] * 2).astype(np.float32), Vocabulary(["φ", "<i>", "b"], 0), None, text
        )
        tab = opened(page(item))
        assert tab.locator("h3").inner_text() == text
        assert tab.locator(".words button").text_content() == text


def test_one_file_of_moderate_size(tmp_path: Path) -> None:
    """It holds the scripts that it needs, and no others; nothing in it is an address."""
    text = recordings_page([heard()])
    assert "class RecordingWidget" in text
    assert "class Widget" not in text
    assert not re.search(r"https?:|<link|@import|src=", re.sub(r"http://www\.w3\.org/\S+", "", text))


def test_all_words_of_the_page_are_used() -> None:
    folder = Path(numbers.__file__).parent
    used = "".join((folder / name).read_text(encoding="utf-8") for name in ("page.py", "recording.js"))
    for key in words("recordings", "en"):
        assert re.search(rf'"{key}"', used), key
