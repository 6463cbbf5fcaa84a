"""Transcripts in the forms that people keep them in: what is said in them, when, and what is noted."""

from __future__ import annotations

import pytest

from ctckit import CTCError
from ctckit.text.scripts import TranscriptFormat, parse_transcript

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello there,
how are you?

2
00:01:02,040 --> 01:00:00,250  X1:100 X2:200
1984

3
00:59:00,000 --> 01:00:00,000

"""
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE
about this, that

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Roger>Hello &amp; goodbye

00:00:03.000 --> 00:00:04.000
- so
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["x.srt", "FILM.SRT", "folder.txt/x.srt"])
def test_subrip(name: str, end: str) -> None:
    script = parse_transcript(SRT.replace("\n", end), name)
    assert script.text.split("\n") == ["Hello there, how are you?", "1984"]
    assert script.times == ((1.0, 2.5), (62.04, 3600.25))
    assert script.notes == ()


def test_webvtt() -> None:
    script = parse_transcript(VTT, "x.vtt")
    assert script.text.split("\n") == ["<v Roger>Hello & goodbye", "- so"]
    assert script.times == ((1.0, 2.5), (3.0, 4.0))


def test_subtitles_that_are_not_quite_right() -> None:
    crowded = "1\n00:00:01,000 --> 00:00:02,000\na\nb\n2\n00:00:02,000 --> 00:00:03,000\nc"
    assert parse_transcript(crowded, "x.srt").text == "a b\nc"
    gap = "1\n00:00:01,000 --> 00:00:02,000\na\n\nb\n\n2\n00:00:02,000 --> 00:00:03,000\nc"
    script = parse_transcript(gap, "x.srt")
    assert (script.text, len(script.times)) == ("a b\nc", 2)


def test_a_cue_s_lines_are_joined_as_their_script_is_written() -> None:
    cue = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"
    for lines, text in (
        ("今天天气\n很好。", "今天天气很好。"),
        ("用\nCTC 训练", "用 CTC 训练"),
        ("오늘\n날씨", "오늘 날씨"),
    ):
        assert parse_transcript(cue.format(lines), "x.srt").text == text


def test_subtitles_of_other_authors() -> None:
    """What their packages write is read back."""
    srt = pytest.importorskip("srt", reason="another author's package writes it")
    from datetime import timedelta

    cues = [("a cat", 0.5, 1.25), ("on\ntwo lines", 61.0, 3725.5), ("7", 4000.0, 4001.0)]
    made = srt.compose(
        [srt.Subtitle(i, timedelta(seconds=s), timedelta(seconds=e), t) for i, (t, s, e) in enumerate(cues)]
    )
    script = parse_transcript(made, "x.srt")
    assert script.text.split("\n") == [text.replace("\n", " ") for text, _, _ in cues]
    assert script.times == tuple((start, end) for _, start, end in cues)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("utt1 a cat\nutt2 the dog\n", ["a cat", "the dog"]),
        ("1089-134686-0000 HE HOPED\n1089-134686-0001 STUFF IT\n", ["HE HOPED", "STUFF IT"]),
        ("spk1_03 a\n\nspk2_01 b c\nspk2_02\n", ["a", "b c"]),
        ("BAC009S0002W0122\t而 对\nBAC009S0002W0123\t也 成为\n", ["而 对", "也 成为"]),
    ],
)
def test_kaldis_text(text: str, said: list[str]) -> None:
    for name in ("text", "data/train/text", "1089-134686.trans.txt"):
        assert parse_transcript(text, name) == ("\n".join(said), (), ())
    script = parse_transcript(text, "x.txt")
    assert script.text.split("\n") == said
    assert script.notes == (
        "x.txt is read as Kaldi's text, without the ids; if all of it is said, pass transcript_format=plain",
    )
    assert parse_transcript(text, "x.txt", "plain") == (text, (), ())


def test_one_line_may_be_kaldis() -> None:
    assert parse_transcript("utt1 a cat", "text") == ("a cat", (), ())
    script = parse_transcript("\nutt1 a cat", "x.txt")
    assert script.text == "\nutt1 a cat"
    assert script.notes == ("x.txt looks like Kaldi's text: 'utt1' is aligned as a word; pass transcript_format=kaldi",)
    assert parse_transcript("alice a cat", "x.txt", "kaldi").text == "a cat"
    named = parse_transcript("the cat\nsat down", "data/text")
    assert named.text == "the cat\nsat down"
    assert named.notes[0].startswith("data/text looks like Kaldi's text: 'the' is aligned as a word")


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "5th of May\n2nd of June\n",
        "covid-19 is over\nthey say\n",
        "2 apples\n3 pears\n",
        "1984\n1985\n",
        "at 10:30 --> then\n",
        "{so} it goes\n",
        "- he said\n- she said\n",
        "",
        "a\n\nb\n",
    ],
)
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert parse_transcript(text, "x.txt") == (text, (), ())


@pytest.mark.parametrize(
    ("text", "name", "said", "read_as"),
    [
        ('{"text": "a  cat", "duration": 2}\n\n{"id": 5, "transcript": "b\\nc"}\n', "x.jsonl", "a cat\nb c", None),
        ('{"text": "a"}\n', "manifest.json", "a", None),
        ('{"text": "a"}\n{"text": "b"}', "x.txt", "a\nb", "JSON lines"),
        (SRT, "x.txt", "Hello there, how are you?\n1984", "subtitles, without numbers and times"),
        (VTT, "x", "<v Roger>Hello & goodbye\n- so", "subtitles, without numbers and times"),
    ],
)
def test_content_tells_and_a_note_says_so(text: str, name: str, said: str, read_as: str | None) -> None:
    script = parse_transcript(text, name)
    assert script.text == said
    told = (
        () if read_as is None else (f"{name} is read as {read_as}; if all of it is said, pass transcript_format=plain",)
    )
    assert script.notes == told
    assert parse_transcript(text, name, "plain") == (text, (), ())


@pytest.mark.parametrize(
    ("text", "name", "form", "message"),
    [
        ("a cat", "x.srt", "auto", "x.srt has no times, as 00:00:01,000 --> 00:00:02,500: expected subtitles; pass"),
        ("a cat", "x.txt", "subtitles", "x.txt has no times"),
        ("a cat", "x.jsonl", "auto", "x.jsonl, line 1 is not JSON: "),
        ('{"text": "a"}\n{"txt": "a"}', "x.jsonl", "auto", 'line 2 has no text: expected an object, such as {"text": '),
        ('{"text": 5}', "x.jsonl", "auto", "line 1 has no text"),
        ("[1]", "x.txt", "jsonl", "line 1 has no text"),
        (
            "a",
            "x.txt",
            "srt",
            "transcript_format = 'srt' is unknown: expected one of 'auto', 'plain', 'subtitles', 'kaldi', 'jsonl'",
        ),
    ],
)
def test_faults(text: str, name: str, form: TranscriptFormat, message: str) -> None:
    with pytest.raises(CTCError) as raised:
        parse_transcript(text, name, form)
    assert message in str(raised.value)
