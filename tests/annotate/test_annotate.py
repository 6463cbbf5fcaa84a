"""Output formats: other packages read back what is written, and each possible fault is named."""

from __future__ import annotations

import csv
import html
import importlib.util
import io
import json
import math
import re
import tempfile
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctckit
from ctckit.annotate import formats, write
from ctckit.errors import MissingExtraError
from ctckit.results import Segment

NAN = math.nan
DOCS = Path(__file__).resolve().parents[2] / "docs"
SUFFIXES = formats.ENDINGS
PACKAGES = {format.ending: format.package for format in formats.FORMATS.values() if format.package}


def spelled(text: str, start: float, end: float, confidence: float = 0.9) -> Segment:
    """A word with one token per letter, all of the same length."""
    step = (end - start) / len(text)
    letters = [Segment(c, start + i * step, start + (i + 1) * step, -0.1, confidence) for i, c in enumerate(text)]
    return Segment(text, start, end, -0.2, confidence, tuple(letters))


def line(*words: Segment, text: str | None = None) -> Segment:
    timed = [word for word in words if not math.isnan(word.start)]
    start, end = (timed[0].start, timed[-1].end) if timed else (NAN, NAN)
    return Segment(" ".join(word.text for word in words) if text is None else text, start, end, -0.2, 0.9, words)


MISSING = Segment("left out", NAN, NAN, NAN, NAN)
HARD = Segment('"a,b"\t{c\\N}\n<i>&', 3.25, 3.5, -1.5, 0.25, (Segment(" ", 3.25, 3.5, -1.5, 0.25),))
LINES = [
    line(spelled("Hello", 0.1, 0.6), MISSING, spelled("world", 0.8, 1.2345678)),
    line(spelled("你好", 2.0, 2.5), spelled("ümläut", 2.5, 3.0), HARD),
    line(MISSING),
    Segment("no words", 4.0, 4.5, -0.5, 0.5),
    Segment("", NAN, NAN, NAN, NAN),
]
SPOKEN = [word for one in LINES for word in one.parts if not math.isnan(word.start)]


def flat(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")


def needs(suffix: str) -> None:
    if suffix in PACKAGES:
        pytest.importorskip(PACKAGES[suffix], reason="an extra writes these")


def written(suffix: str, lines: list[Segment], folder: Path, duration: float | None = None) -> str:
    needs(suffix)
    path = folder / f"take 1{suffix}"
    write(lines, path, duration=duration)
    assert [file.name for file in folder.iterdir()] == [path.name]
    return path.read_text(encoding="utf-8")


class TestTextGrid:
    @pytest.fixture
    def read(self, tmp_path: Path) -> Any:
        tgt = pytest.importorskip("tgt", reason="another reader of TextGrids")

        def reading(lines: list[Segment], duration: float | None = None) -> dict[str, list[tuple[float, float, str]]]:
            written(".TextGrid", lines, tmp_path, duration)
            grid = tgt.io.read_textgrid(str(tmp_path / "take 1.TextGrid"), include_empty_intervals=True)
            tiers = {
                tier.name: [(float(i.start_time), float(i.end_time), i.text) for i in tier.intervals]
                for tier in grid.tiers
            }
            for intervals in tiers.values():  # they tile the whole recording
                assert intervals[0][0] == 0
                assert len({tier[-1][1] for tier in tiers.values()}) == 1
                for (_, end, _), (start, _, _) in pairwise(intervals):
                    assert start == end
                assert all(start < end for start, end, _ in intervals)
            return tiers

        return reading

    def test_three_tiers(self, read: Any) -> None:
        tiers = read(LINES, 6.0)
        assert list(tiers) == ["lines", "words", "tokens"]
        assert tiers["lines"][-1] == (4.5, 6.0, "")
        words = [interval for interval in tiers["words"] if interval[2]]
        assert [text for _, _, text in words] == [flat(word.text) for word in SPOKEN]
        for (start, end, _), word in zip(words, SPOKEN, strict=True):
            assert (start, end) == pytest.approx((word.start, word.end), abs=1e-6)
        tokens = [text for _, _, text in tiers["tokens"] if text]
        assert tokens == [*"Helloworld你好ümläut", "␣"]

    def test_overlaps_and_spans_without_length(self, read: Any) -> None:
        words = (spelled("a", 0.0, 1.0), spelled("b", 0.5, 2.0), spelled("c", 2.0, 2.0), spelled("d", 1.8, 2.4))
        tiers = read([line(*words)])
        assert tiers["words"] == [(0, 0.5, "a"), (0.5, 1.8, "b"), (1.8, 2.0, "d"), (2.0, 2.4, "")]

    @pytest.mark.parametrize("lines", [[], [line(MISSING)]], ids=["no lines", "no times"])
    def test_nothing_at_all(self, read: Any, lines: list[Segment]) -> None:
        assert read(lines, 2.0) == {name: [(0.0, 2.0, "")] for name in ("lines", "words", "tokens")}
        assert read(lines)["words"][0][2] == ""


class TestEaf:
    def test_three_tiers(self, tmp_path: Path) -> None:
        elan = pytest.importorskip("pympi.Elan", reason="another reader of ELAN's files")
        root = ElementTree.fromstring(written(".eaf", LINES, tmp_path))
        document = elan.Eaf(str(tmp_path / "take 1.eaf"))
        assert list(document.get_tier_names()) == ["lines", "words", "tokens"]
        words = document.get_annotation_data_for_tier("words")
        assert [(start, end, text) for start, end, text in words] == [
            (round(1000 * word.start), round(1000 * word.end), flat(word.text)) for word in SPOKEN
        ]
        lines = document.get_annotation_data_for_tier("lines")
        assert [(start, end) for start, end, _ in lines] == [
            (round(1000 * start), round(1000 * end)) for start, end in CUES
        ]
        tokens = document.get_annotation_data_for_tier("tokens")
        assert [text for _, _, text in tokens] == [*"Helloworld你好ümläut", "␣"]
        slots = [int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")]
        assert slots == sorted(slots)
        ids = [one.attrib["ANNOTATION_ID"] for one in root.iter("ALIGNABLE_ANNOTATION")]
        assert len(set(ids)) == len(ids) == len(slots) // 2

    def test_annotations_of_a_tier_do_not_overlap(self, tmp_path: Path) -> None:
        words = (spelled("a", 0.0, 1.0), spelled("b", 0.5, 2.0), spelled("c", 2.0, 2.0004), spelled("d", 1.8, 2.4))
        root = ElementTree.fromstring(written(".eaf", [line(*words)], tmp_path))
        times = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
        tier = root.find("TIER[@TIER_ID='words']")
        assert tier is not None
        assert [
            (times[one.attrib["TIME_SLOT_REF1"]], times[one.attrib["TIME_SLOT_REF2"]], one.findtext("ANNOTATION_VALUE"))
            for one in tier.iter("ALIGNABLE_ANNOTATION")
        ] == [(0, 500, "a"), (500, 1800, "b"), (1800, 2000, "d")]

    def test_the_same_file_each_time(self, tmp_path: Path) -> None:
        first = written(".eaf", LINES, tmp_path)
        assert written(".eaf", LINES, tmp_path) == first


def seconds(stamp: str) -> float:
    return sum(float(part) * unit for part, unit in zip(stamp.split(":"), (3600, 60, 1), strict=True))


SUBTITLES = ["Hello world", '你好 ümläut "a,b" {c\\N} <i>&', "no words"]
CUES = [(0.1, 1.2345678), (2.0, 3.5), (4.0, 4.5)]


class TestSubtitles:
    def test_srt(self, tmp_path: Path) -> None:
        srt = pytest.importorskip("srt", reason="another reader of subtitles")
        cues = list(srt.parse(written(".srt", LINES, tmp_path), ignore_errors=False))
        assert [cue.content for cue in cues] == SUBTITLES
        for cue, times in zip(cues, CUES, strict=True):
            assert (cue.start.total_seconds(), cue.end.total_seconds()) == pytest.approx(times, abs=5.1e-4)

    def test_vtt(self, tmp_path: Path) -> None:
        webvtt = pytest.importorskip("webvtt", reason="another reader of subtitles")
        text = written(".vtt", LINES, tmp_path)
        cues = list(webvtt.from_buffer(io.StringIO(text)))
        assert [html.unescape(cue.raw_text) for cue in cues] == SUBTITLES
        assert "&lt;i&gt;&amp;" in text
        for cue, times in zip(cues, CUES, strict=True):
            assert (seconds(cue.start), seconds(cue.end)) == pytest.approx(times, abs=5.1e-4)

    @pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ass"])
    def test_a_cue_has_a_length(self, suffix: str, tmp_path: Path) -> None:
        text = written(suffix, [line(Segment("x", 1.0, 1.0, -1, 0.5))], tmp_path)
        first, last = re.findall(r"\d+:\d\d:\d\d[.,]\d+", text)
        assert first < last

    def test_words_that_are_not_in_their_line(self, tmp_path: Path) -> None:
        text = written(".srt", [line(spelled("a", 0, 1), MISSING, spelled("b", 1, 2), text="another text")], tmp_path)
        assert text.splitlines()[2] == "a b"

    @pytest.mark.parametrize(("suffix", "hours"), [(".srt", 100), (".vtt", 100), (".ass", 10)])
    def test_too_long(self, suffix: str, hours: int, tmp_path: Path) -> None:
        needs(suffix)
        with pytest.raises(ctckit.CTCError, match=rf"less than {hours} h"):
            write([line(spelled("x", 3600 * hours, 3600 * hours + 1))], tmp_path / f"x{suffix}")
        assert not list(tmp_path.iterdir())
        written(suffix, [line(spelled("x", 3600 * hours - 2, 3600 * hours - 1))], tmp_path)


def karaoke(text: str) -> list[tuple[float, float, list[tuple[float, float, str]]]]:
    """A strict reader of the events of an ASS file: start, end, and syllables with their times."""
    head, _, events = text.partition("\n[Events]\n")
    assert head.startswith("[Script Info]")
    assert "ScriptType: v4.00+" in head
    assert "\n[V4+ Styles]\n" in head
    layout, *rows = events.strip().splitlines()
    fields = [name.strip() for name in layout.removeprefix("Format:").split(",")]
    found = []
    for row in rows:
        event = dict(zip(fields, row.removeprefix("Dialogue: ").split(",", len(fields) - 1), strict=True))
        start, end = seconds(event["Start"]), seconds(event["End"])
        pieces = re.findall(r"\{\\k(\d+)\}((?:\\[{}]|[^{}])*)", event["Text"])
        assert "".join(f"{{\\k{length}}}{piece}" for length, piece in pieces) == event["Text"]
        now, syllables = start, []
        for length, piece in pieces:
            later = now + int(length) / 100
            if piece:
                syllables.append((now, later, re.sub(r"\\([{}])", r"\1", piece).replace("\u2060", "")))
            now = later
        found.append((start, end, syllables))
    return found


class TestKaraoke:
    def test_by_token_or_word(self, tmp_path: Path) -> None:
        events = karaoke(written(".ass", LINES, tmp_path))
        assert ["".join(text for _, _, text in syllables) for _, _, syllables in events] == [
            "Hello world",
            '你好 ümläut "a,b" {c\\N} <i>&',
            "no words",
        ]
        hello, second, third = (syllables for _, _, syllables in events)
        assert [text for _, _, text in hello] == ["H", "e", "l", "l", "o ", "w", "o", "r", "l", "d"]
        assert [text for _, _, text in second][-1] == '"a,b" {c\\N} <i>&'  # its tokens do not spell it
        assert [text for _, _, text in third] == ["no words"]
        tokens = [token for word in (*LINES[0].parts, *LINES[1].parts[:2]) for token in word.parts]
        for (start, end, _), token in zip([*hello, *second], tokens, strict=False):
            assert (start, end) == pytest.approx((token.start, token.end), abs=5.1e-3)
        for (start, end, syllables), times in zip(events, CUES, strict=True):
            assert (start, end) == pytest.approx(times, abs=5.1e-3)
            assert syllables[-1][1] <= end + 1e-9

    def test_punctuation_stays_with_its_word(self, tmp_path: Path) -> None:
        word = Segment("«Hi!»", 0, 1, -1, 0.5, spelled("Hi", 0, 1).parts)
        ((_, _, syllables),) = karaoke(written(".ass", [line(word, spelled("x", 1, 2))], tmp_path))
        assert [text for _, _, text in syllables] == ["«H", "i!» ", "x"]

    def test_a_backslash_is_no_tag(self, tmp_path: Path) -> None:
        text = written(".ass", [line(Segment(r"C:\new", 0, 1, -1, 0.5))], tmp_path)
        assert "\\n" not in text.partition("[Events]")[2]


class TestTables:
    def test_ctm(self, tmp_path: Path) -> None:
        rows = [row.split(" ") for row in written(".ctm", LINES, tmp_path).splitlines()]
        assert [row[:2] for row in rows] == [["take_1", "1"]] * len(SPOKEN)
        for (_, _, start, duration, text, confidence), word in zip(rows, SPOKEN, strict=True):
            assert (float(start), float(confidence)) == pytest.approx((word.start, word.confidence), abs=5.1e-4)
            assert float(start) + float(duration) == pytest.approx(word.end, abs=5.1e-4)
            assert text == re.sub(r"\s", "_", word.text)

    @pytest.mark.parametrize(
        ("shift", "digits"), [(0.02, 3), (0.001, 3), (0.0003, 4), (0.00004, 5), (0.000003, 6), (1.0, 3)]
    )
    def test_ctm_of_short_frames(self, shift: float, digits: int, tmp_path: Path) -> None:
        """Words of a frame each, one after another: no duration is 0, and no two begin at once."""
        words = [Segment("a", i * shift, (i + 1) * shift, -0.1, 0.9) for i in range(40)]
        rows = [row.split(" ") for row in written(".ctm", [line(*words)], tmp_path).splitlines()]
        assert {len(number.partition(".")[2]) for row in rows for number in row[2:4]} == {digits}
        assert all(float(row[3]) > 0 for row in rows)
        assert len({row[2] for row in rows}) == len(words)

    def test_audacity(self, tmp_path: Path) -> None:
        rows = [row.split("\t") for row in written(".txt", LINES, tmp_path).splitlines()]
        for (start, end, text), word in zip(rows, SPOKEN, strict=True):
            assert (float(start), float(end)) == pytest.approx((word.start, word.end), abs=1e-6)
            assert text == flat(word.text)

    @pytest.mark.parametrize("suffix", [".csv", ".tsv"])
    def test_tables(self, suffix: str, tmp_path: Path) -> None:
        text = written(suffix, LINES, tmp_path)
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="," if suffix == ".csv" else "\t"))
        assert tuple(rows[0]) == formats.COLUMNS
        again = []
        for row in rows:
            numbers = [float(row[name]) if row[name] else NAN for name in Segment._fields[1:5]]
            again.append((row["level"], row["line"], row["word"], row["token"], row["text"], *numbers))
        expected = []
        for i, one in enumerate(LINES):
            expected.append(("line", str(i), "", "", one))
            for j, word in enumerate(one.parts):
                expected.append(("word", str(i), str(j), "", word))
                expected += [("token", str(i), str(j), str(k), token) for k, token in enumerate(word.parts)]
        for found, (*place, piece) in zip(again, expected, strict=True):
            assert list(found[:5]) == [*place, piece.text]
            assert found[5:] == pytest.approx(piece[1:5], abs=1e-6, nan_ok=True)

    def test_json(self, tmp_path: Path) -> None:
        def pieces(read: list[dict[str, Any]], *levels: str) -> list[Segment]:
            return [
                Segment(
                    piece["text"],
                    *(NAN if piece[name] is None else piece[name] for name in Segment._fields[1:5]),
                    tuple(pieces(piece[levels[0]], *levels[1:])) if levels else (),
                )
                for piece in read
            ]

        def same(one: Segment, other: Segment) -> None:
            assert one.text == other.text
            assert one[1:5] == pytest.approx(other[1:5], abs=1e-6, nan_ok=True)
            for a, b in zip(one.parts, other.parts, strict=True):
                same(a, b)

        read = json.loads(written(".json", LINES, tmp_path, 6.0), parse_constant=lambda name: pytest.fail(name))
        assert (read["name"], read["duration"]) == ("take 1", 6.0)
        for one, other in zip(pieces(read["lines"], "words", "tokens"), LINES, strict=True):
            same(one, other)


ONE = line(spelled("ab", 1.0, 2.0), MISSING, spelled("c", 3.0, 3.5))  # its pieces, by level:
PIECES = {
    "line": [(1.0, 3.5, "ab left out c")],
    "word": [(1.0, 2.0, "ab"), (3.0, 3.5, "c")],
    "token": [(1.0, 1.5, "a"), (1.5, 2.0, "b"), (3.0, 3.5, "c")],
}


class TestLevels:
    """Each format has the texts and times of its level. The files are read here, without any package."""

    @staticmethod
    def found(suffix: str, text: str) -> list[tuple[float, float, str]]:
        if suffix == ".ctm":
            rows = [row.split(" ") for row in text.splitlines()]
            return [(float(row[2]), float(row[2]) + float(row[3]), row[4].replace("_", " ")) for row in rows]
        if suffix == ".txt":
            rows = [row.split("\t") for row in text.splitlines()]
            return [(float(row[0]), float(row[1]), row[2]) for row in rows]
        cues = re.findall(r"(\S+) --> (\S+)\n(.*)", text)
        return [(seconds(start.replace(",", ".")), seconds(end.replace(",", ".")), said) for start, end, said in cues]

    @pytest.mark.parametrize("suffix", [".srt", ".vtt", ".ctm", ".txt"])
    @pytest.mark.parametrize("level", ["line", "word", "token", None])
    def test_pieces(self, suffix: str, level: Any, tmp_path: Path) -> None:
        needs(suffix)
        write([ONE], tmp_path / f"x{suffix}", level=level)
        subtitles = suffix in (".srt", ".vtt")
        expected = PIECES[level or ("line" if subtitles else "word")]
        if subtitles:  # words that were not said are not shown
            expected = [(start, end, said.replace("left out ", "")) for start, end, said in expected]
        assert self.found(suffix, (tmp_path / f"x{suffix}").read_text(encoding="utf-8")) == expected

    def test_formats_without_levels_and_unknown_levels(self, tmp_path: Path) -> None:
        with pytest.raises(ctckit.CTCError, match=r"level = word: expected a format that holds one level: \.srt, "):
            write([ONE], tmp_path / "x.json", level="word")
        with pytest.raises(ctckit.CTCError, match="level = 'words' is unknown"):
            write([ONE], tmp_path / "x.ctm", level="words")  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("lines", [[], [line()], [line(MISSING)]], ids=["no lines", "no words", "no times"])
def test_nothing_to_write(suffix: str, lines: list[Segment], tmp_path: Path) -> None:
    text = written(suffix, lines, tmp_path)
    assert not re.search(r"nan|NaN|None", text)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whole_or_not_at_all(suffix: str, tmp_path: Path) -> None:
    needs(suffix)
    path = tmp_path / f"x{suffix.upper()}"
    write(LINES, path)
    before = path.read_bytes()
    with pytest.raises(ctckit.CTCError, match=r"U\+D800, half of a surrogate pair"):
        write([line(spelled("\ud800", 0, 1))], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ctckit.CTCError, match="can't be written"):
        write(LINES, tmp_path / "no" / f"x{suffix}")


WILD = st.text(
    st.one_of(st.sampled_from(" \t\n\r\\{}<>&,;\"'|#-=kN0\u2028"), st.characters(exclude_categories=("Cs",))),
    min_size=1,
)


@given(texts=st.lists(WILD, min_size=1, max_size=4), gaps=st.lists(st.sampled_from([0, 1e-7, 0.01, 2]), min_size=8))
def test_any_text_and_times(texts: list[str], gaps: list[float]) -> None:
    """What is read back is what was written, except for white space."""
    srt, webvtt, tgt = (pytest.importorskip(name, reason="another reader") for name in ("srt", "webvtt", "tgt"))

    def plain(text: str) -> str:
        return " ".join(formats.flat(text).split())

    times = list(accumulate(gaps))
    lines = [line(spelled(text, *times[2 * i : 2 * i + 2])) for i, text in enumerate(texts)]
    expected = [plain(text) for text in texts if plain(text)]
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            write(lines, Path(folder) / f"x{suffix}")
        read = {suffix: (Path(folder) / f"x{suffix}").read_bytes().decode() for suffix in SUFFIXES}
        grid = tgt.io.read_textgrid(str(Path(folder) / "x.TextGrid"))
    assert [plain(cue.content) for cue in srt.parse(read[".srt"], ignore_errors=False)] == expected
    assert [plain(html.unescape(cue.raw_text)) for cue in webvtt.from_buffer(io.StringIO(read[".vtt"]))] == expected
    assert len(karaoke(read[".ass"])) == len(lines)
    long = [plain(one.text) for one in lines if round(one.end, 6) > round(one.start, 6)]
    words = [plain(interval.text).replace("␣", "") for interval in grid.get_tier_by_name("words").intervals]
    assert [word for word in words if word] == [text.replace("␣", "") for text in long if text.replace("␣", "")]
    longer = [plain(one.text) for one in lines if round(one.end, 3) > round(one.start, 3)]
    values = ElementTree.fromstring(read[".eaf"]).findall("TIER[@TIER_ID='words']/*/*/ANNOTATION_VALUE")
    assert [plain(value.text or "") for value in values if value.text != "␣"] == [
        re.sub("[\ufffe\uffff]", "\ufffd", text) for text in longer if text and text != "␣"
    ]
    assert len(list(csv.DictReader(io.StringIO(read[".csv"], newline="")))) == sum(2 + len(text) for text in texts)
    assert [one["text"] for one in json.loads(read[".json"])["lines"]] == texts
    assert [row.count("\t") for row in read[".txt"].removesuffix("\n").split("\n")] == [2] * len(texts)
    assert [len(row.split(" ")) for row in read[".ctm"].removesuffix("\n").split("\n")] == [6] * len(texts)


@pytest.mark.parametrize("page", [None, "alignment.md", "alignment.zh.md"])
def test_every_format_is_documented(page: str | None) -> None:
    """The tables in the docstring and in the guide list exactly the existing formats."""
    text = write.__doc__ if page is None else (DOCS / page).read_text(encoding="utf-8")
    rows = re.findall(r"^ *(?:\| )?(`+\.\w.*?`)(?: \||  )", text or "", re.MULTILINE)
    assert sorted(re.findall(r"\.\w+", " ".join(rows))) == sorted(SUFFIXES)


@pytest.mark.parametrize("name", ["x.doc", "x", "x.textgrid.bak"])
def test_unknown_ending(name: str, tmp_path: Path) -> None:
    with pytest.raises(ctckit.CTCError) as raised:
        write(LINES, tmp_path / name)
    for suffix in SUFFIXES:
        assert suffix in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_few_formats_need_a_package() -> None:
    assert PACKAGES == {".TextGrid": "praatio", ".ass": "pysubs2"}


@pytest.mark.parametrize(("suffix", "package"), PACKAGES.items())
def test_missing_package(suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=rf"'{package}': pip install .*\[align\]'"):
        write(LINES, tmp_path / f"x{suffix}")
