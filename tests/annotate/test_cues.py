"""Subtitles that people can read: where a long line is divided, and what is true of every way to divide one."""

from __future__ import annotations

import io
import math
import re
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit.annotate import formats, write
from ctckit.annotate.cues import cues
from ctckit.results import Segment

NAN = math.nan
WIDE = re.compile("[\u3000-\u9fff\uff00-\uff60]")  # of what these tests write: two cells each


def said(text: str, start: float, end: float, *tokens: Segment) -> Segment:
    return Segment(text, start, end, -0.1, 0.9, tokens)


def spoken(text: str, letter: float = 0.05, pause: float = 0.1) -> Segment:
    """A line, its words one after another. (0.5) is a silence before the next word, besides the pause between words."""
    words, now = list[Segment](), 0.0
    for word in text.split():
        if re.fullmatch(r"\([\d.]+\)", word):
            now += float(word[1:-1])
            continue
        words.append(said(word, now, now + letter * len(word)))
        now = words[-1].end + pause
    return said(" ".join(word.text for word in words), words[0].start, words[-1].end, *words)


def written_together(text: str, letter: float = 0.2, mark: float = 0.4) -> Segment:
    """A line of Chinese or Japanese: one word, with a token for each letter and a silence for each punctuation mark."""
    tokens, now = list[Segment](), 0.0
    for character in text:
        if character.isalnum():
            tokens.append(said(character, now, now + letter))
        now += letter if character.isalnum() else mark
    word = said(text, tokens[0].start, tokens[-1].end, *tokens)
    return word._replace(parts=(word,))


def texts(line: Segment, line_length: int | None = None) -> list[str]:
    return [cue.text for cue in cues(line, line_length)]


class TestLinesThatFit:
    """What the author gives as a line stays one subtitle, with the line's own times."""

    @pytest.mark.parametrize("text", ["One.", "Two. Sentences. Short ones", "x" * 80])
    def test_one_line(self, text: str) -> None:
        line = spoken(text)
        assert [(cue.start, cue.end, cue.text) for cue in cues(line)] == [(line.start, line.end, text)]

    def test_two_lines(self) -> None:
        line = spoken("The cat sat on the mat and looked at the very large dog.")
        assert [(cue.start, cue.end, cue.text) for cue in cues(line)] == [
            (line.start, line.end, "The cat sat on the mat and\nlooked at the very large dog.")
        ]

    def test_lines_are_never_joined(self, tmp_path: Path) -> None:
        write([spoken("Yes."), spoken("No.")._replace(start=1, end=2)], tmp_path / "x.vtt")
        assert (tmp_path / "x.vtt").read_text().count("-->") == 2

    def test_a_line_may_be_kept_whole(self) -> None:
        line = spoken("word " * 60)
        assert [(cue.start, cue.end, cue.text) for cue in cues(line, 0)] == [(line.start, line.end, line.text)]


class TestWhereALineIsDivided:
    def test_at_commas_if_a_sentence_is_too_long(self) -> None:
        text = (
            "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
            "foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, "
            "it was the season of Darkness. Mr. Smith did not agree."
        )
        assert texts(spoken(text.replace(", ", ", (0.2) ").replace(". M", ". (0.4) M"))) == [
            "It was the best of times,\nit was the worst of times,",
            "it was the age of wisdom,\nit was the age of foolishness,",
            "it was the epoch of belief,\nit was the epoch of incredulity,",
            "it was the season of Light,\nit was the season of Darkness.",
            "Mr. Smith did not agree.",
        ]

    def test_after_a_sentence_rather_than_where_it_is_full(self) -> None:
        assert texts(spoken("One two three. Four five six seven eight nine"), 20) == [
            "One two three.",
            "Four five six\nseven eight nine",
        ]

    @pytest.mark.parametrize("name", ["Mr. Brown", "J. Brown", "etc. brown"])
    def test_a_point_that_ends_no_sentence(self, name: str) -> None:
        assert texts(spoken("We heard from him. Brown that all of it was well now"), 20)[0] == "We heard from him."
        assert not texts(spoken(f"We heard from {name} that all of it was well now"), 20)[0].endswith(".")

    def test_at_pauses_if_there_is_no_punctuation(self) -> None:
        text = (
            "so i said to him (0.6) no way that is going to happen and he just looked (1.5) and then he left the room"
        )
        assert texts(spoken(text), 30) == [
            "so i said to him",
            "no way that is going to\nhappen and he just looked",
            "and then he left the room",
        ]

    def test_a_pause_counts_more_than_a_comma_and_less_than_a_sentence(self) -> None:
        """Without a pause the comma is best, with one of 0.8 s the pause; the end of the sentence always is."""
        one = "aa bb cc, dd {}ee ff gg hh ii jj kk"

        def first(pause: str, mark: str = ",") -> str:
            return texts(spoken(one.format(pause).replace(", d", f"{mark} D"), 0.2), 12)[0]

        assert first("") == "aa bb cc,"
        assert first("(0.8) ") == "aa bb cc, Dd"
        assert first("(0.8) ", ".") == "aa bb cc."

    def test_a_line_that_lasts_too_long_is_divided_at_its_pause(self) -> None:
        assert [(cue.start, cue.end, cue.text) for cue in cues(spoken("wait a moment (6) there it is", 0.1, 0.1))] == [
            (0, pytest.approx(1.3), "wait a moment"),
            (pytest.approx(7.4), pytest.approx(8.5), "there it is"),
        ]

    def test_two_lines_are_even_and_no_word_is_left_over(self) -> None:
        text = "we all know very well what is going on in it"  # 44 letters: 42 and "it" would fit, too
        assert texts(spoken(text)) == ["we all know very well\nwhat is going on in it"]
        assert texts(spoken("a word of it, and then nothing but more words")) == [
            "a word of it, and then\nnothing but more words"
        ]

    def test_a_word_longer_than_a_line(self) -> None:
        long = "Donaudampfschifffahrtsgesellschaftskapitän"
        assert texts(spoken(f"Der {long} kam an Bord und grüßte alle"), 20) == [
            f"Der\n{long}",
            "kam an Bord\nund grüßte alle",
        ]


class TestChinese:
    def test_a_line(self) -> None:
        """Lines of at most 16 characters; cues end at punctuation, and neither words nor numbers are broken."""
        text = (
            "人工智能的发展正在改变我们的生活方式，从手机上的语音助手到自动驾驶的汽车，它几乎无处不在。不过，"
            "Python 3.12 这样的工具也让更多人能够参与其中，这在二十年前是难以想象的。你觉得呢？"
        )
        assert texts(written_together(text)) == [
            "人工智能的发展正在\n改变我们的生活方式，",
            "从手机上的语音助手到自动驾\n驶的汽车，它几乎无处不在。",
            "不过，Python 3.12 这样的工\n具也让更多人能够参与其中，",
            "这在二十年前是难以\n想象的。你觉得呢？",
        ]

    def test_as_long_a_line_as_asked_for(self) -> None:
        text = "人工智能的发展正在改变我们的生活方式。"
        assert texts(written_together(text), 42) == [text]
        assert texts(written_together(text), 20) == ["人工智能的发展正在\n改变我们的生活方式。"]

    def test_punctuation_stays_with_its_words(self) -> None:
        (word,) = written_together("他说：“你好！”她说：“再见。”").parts
        line = word._replace(parts=(word,))
        assert [part for cue in texts(line, 8) for part in cue.split("\n")] == [
            "他说：",
            "“你好！”",
            "她说：",
            "“再见。”",
        ]

    def test_decoded_letters_without_punctuation(self) -> None:
        tokens = [
            said(letter, t, t + 0.1)
            for letter, t in zip(
                "今天天气很好我们出去走走吧", (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14), strict=True
            )
        ]
        word = said("今天天气很好我们出去走走吧", 0, 14.1, *tokens)
        assert [(cue.start, cue.end, cue.text) for cue in cues(word._replace(parts=(word,)))] == [
            (0, 5.1, "今天天气很好"),
            (8, 14.1, "我们出去走走吧"),
        ]

    def test_without_times_of_its_letters_a_text_stays_one_cue(self) -> None:
        """It has as many lines as it needs: a time that nobody knows is not made up."""
        text = "人工智能的发展正在改变我们的生活方式"
        word = said(text, 0, 20, said("ʐ", 0, 10), said("ŋ", 10, 20))
        assert texts(word._replace(parts=(word,)), 12) == ["人工智能的发\n展正在改变我\n们的生活方式"]

    def test_japanese_and_korean(self) -> None:
        japanese = texts(written_together("コーヒーを飲みながら、ゆっくりと本を読んでいました。"))
        assert japanese == ["コーヒーを飲みながら、\nゆっくりと本を読んでいました。"]
        assert texts(spoken("데이터를 두 줄로 나누어 보여 주는 것이 좋다고 생각합니다")) == [
            "데이터를 두 줄로 나누어 보여\n주는 것이 좋다고 생각합니다"
        ]


class TestTimes:
    def test_a_short_cue_stays_for_a_second_if_it_can(self) -> None:
        line = spoken("No. (2) I do not think so. (2) But he did it all the same", 0.03)
        first, second, third = cues(line, 20)
        assert (first.start, first.end, first.text) == (0, 1, "No.")
        assert second.end == pytest.approx(second.start + 1)
        assert (third.start, third.end) == (line.parts[6].start, line.end)

    def test_words_that_were_not_said_are_not_shown(self) -> None:
        words = list(spoken("one two three four five six").parts)
        words[2:4] = [said("three", NAN, NAN), said("four", NAN, NAN)]
        line = said("one two three four five six", 0, words[-1].end, *words)
        assert texts(line, 7) == ["one two", "five\nsix"]

    def test_the_lines_own_times_are_kept(self) -> None:
        """A line may begin before its first word, and end after its last."""
        line = spoken("word " * 40)._replace(start=-0.5)
        found = cues(line._replace(end=line.end + 0.5))
        assert (found[0].start, found[-1].end) == (-0.5, line.end + 0.5)


# --- what is always true ----------------------------------------------------------------------------------------------

WORDS = st.one_of(
    st.from_regex(r"[a-zé]{1,12}[.,!?]?", fullmatch=True),
    st.from_regex(r"[0-9]{1,3}\.[0-9]{1,2}", fullmatch=True),
    st.integers(20, 60).map(lambda letters: "x" * letters),
    st.lists(st.sampled_from(["好", "世界", "好，", "「世界」", "界。"]), min_size=1, max_size=12).map("".join),
)
GAPS = st.sampled_from([0.0, 0.02, 0.1, 0.4, 1.5, 9.0])


@st.composite
def any_line(draw: st.DrawFn) -> Segment:
    words, now = list[Segment](), 0.0
    for text in draw(st.lists(WORDS, min_size=1, max_size=15)):
        letter, pause, is_said = draw(st.sampled_from([0.0, 0.05, 0.3])), draw(GAPS), draw(st.integers(0, 9)) > 0
        if not is_said and words:
            words.append(said(text, NAN, NAN))
            continue
        tokens = []
        for part in filter(str.isalnum, text):
            tokens.append(said(part, now, now + letter))
            now += letter + (pause if WIDE.match(part) else 0)
        words.append(said(text, tokens[0].start, tokens[-1].end, *tokens))
        now += pause
    timed = [word for word in words if not math.isnan(word.start)]
    return said(" ".join(word.text for word in words), timed[0].start, timed[-1].end, *words)


def width(text: str) -> int:
    return sum(2 if WIDE.match(letter) else 1 for letter in text)


def is_one_piece(text: str) -> bool:
    """Whether a text has no place to break: it has no space, and one letter if it is Chinese."""
    letters = [letter for letter in text if letter.isalnum()]
    return " " not in text and (not WIDE.search("".join(letters)) or len(letters) == 1)


@given(line=any_line(), line_length=st.sampled_from([None, 1, 7, 20, 42, 200]))
def test_any_line(line: Segment, line_length: int | None) -> None:
    found = cues(line, line_length)
    shown = [word for word in line.parts if not math.isnan(word.start)]
    text = " ".join(word.text for word in shown)
    starts = {}  # of each character that begins a word or a token
    at = 0
    for word in shown:
        for token in word.parts:
            place = text.index(token.text, at)
            starts[place], at = token.start, place + len(token.text)
    at = 0
    for cue in found:  # the text is all there, in order, and only spaces at breaks are not
        first = at
        for part in cue.text.split("\n"):
            assert text.startswith(part, at)
            if at:
                assert text[at - 1] == " " or WIDE.match(text[at - 1]) or WIDE.match(text[at])
            at += len(part)
            at += len(text[at:]) - len(text[at:].lstrip())
            assert part == part.strip()
        assert cue.start == starts[next(i for i in range(first, len(text)) if text[i].isalnum())]
    assert at == len(text)
    wide = sum(map(bool, map(WIDE.match, text)))
    limit = line_length or (32 if 2 * wide > len(text) else 42)
    for cue in found:
        parts = cue.text.replace("\n", "")
        assert len(cue.text.split("\n")) <= 2
        assert all(width(part) <= limit or is_one_piece(part) for part in cue.text.split("\n"))
        assert cue.end - cue.start <= 7 or is_one_piece(parts)
        assert line.start <= cue.start <= cue.end <= line.end
    assert all(cue.end <= following.start for cue, following in pairwise(found))
    if len(found) > 1:  # then a line is too long, or lasts too long
        assert width(text) > limit or line.end - line.start > 7


# --- files ------------------------------------------------------------------------------------------------------------

LONG = spoken(
    "One two three four <five> & six. Seven eight nine ten. {Eleven} twelve thirteen, fourteen fifteen sixteen"
)
PARTS = [
    "One two three\nfour <five> & six.",
    "Seven eight nine ten.",
    "{Eleven} twelve thirteen,\nfourteen fifteen sixteen",
]


class TestFiles:
    def test_srt(self, tmp_path: Path) -> None:
        srt = pytest.importorskip("srt", reason="another reader of subtitles")
        write([LONG, spoken("Short")], tmp_path / "x.srt", line_length=26)
        found = list(srt.parse((tmp_path / "x.srt").read_text(encoding="utf-8"), ignore_errors=False))
        assert [cue.content for cue in found] == [*PARTS, "Short"]
        starts = [LONG.parts[i].start for i in (0, 7, 11)]
        assert [cue.start.total_seconds() for cue in found[:3]] == pytest.approx(starts, abs=6e-4)
        assert found[2].end.total_seconds() == pytest.approx(LONG.end, abs=6e-4)

    def test_vtt(self, tmp_path: Path) -> None:
        webvtt = pytest.importorskip("webvtt", reason="another reader of subtitles")
        write([LONG], tmp_path / "x.vtt", line_length=26)
        text = (tmp_path / "x.vtt").read_text(encoding="utf-8")
        raw = [cue.raw_text for cue in webvtt.from_buffer(io.StringIO(text))]
        assert raw == [part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for part in PARTS]

    def test_ass(self, tmp_path: Path) -> None:
        pysubs2 = pytest.importorskip("pysubs2", reason="an extra writes these")
        write([LONG], tmp_path / "x.ass", line_length=26)
        events = pysubs2.load(str(tmp_path / "x.ass")).events
        assert [re.sub(r"\{\\k\d+\}", "", event.text).replace("\\N", "\n") for event in events] == [
            part.replace("{", "\\{").replace("}", "\\}") for part in PARTS
        ]
        for event in events:  # the words of a cue begin with it, and end with it or before it
            times = list(accumulate(map(int, re.findall(r"\\k(\d+)", event.text))))
            assert 10 * times[-1] <= event.end - event.start + 10

    def test_chinese_karaoke_is_by_letter(self, tmp_path: Path) -> None:
        pytest.importorskip("pysubs2", reason="an extra writes these")
        write([written_together("你好，世界")], tmp_path / "x.ass")
        assert "{\\k20}你{\\k20}好，{\\k40}{\\k20}世{\\k20}界" in (tmp_path / "x.ass").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("name", "options", "error"),
        [
            ("x.json", {"line_length": 42}, r"line_length = 42: expected subtitles of lines: \.srt, \.vtt, \.ass"),
            ("x.srt", {"line_length": 42, "level": "word"}, "line_length = 42: expected subtitles of lines"),
            ("x.srt", {"line_length": -1}, "line_length = -1: expected an integer of at least 0"),
            ("x.srt", {"line_length": 4.5}, r"line_length = 4\.5: expected an integer"),
            ("x.srt", {"line_length": True}, "line_length = True: expected an integer"),
        ],
    )
    def test_a_length_that_is_none_or_has_no_place(
        self, name: str, options: dict[str, object], error: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ctckit.CTCError, match=error):
            write([LONG], tmp_path / name, **options)  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())

    def test_which_formats_divide(self) -> None:
        assert [format.ending for format in formats.FORMATS.values() if format.divides] == [".srt", ".vtt", ".ass"]
