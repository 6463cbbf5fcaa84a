"""Words whose times somebody has marked: TextGrids, CTMs, and what pocketsphinx says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.heard import ENDS, RECORDING, STARTS, WORDS
from support.installed import needs

from ctckit import CTCError
from ctckit.annotate.marks import Mark, Pocketsphinx, Unmarked, read_marks
from ctckit.errors import MissingExtraError

MARKS = [Mark("Él", 0.5, 0.75), Mark("dice:", 0.75, 1.25), Mark("sí", 1.5, 2.0)]


# --- TextGrids: written by tgt, another author's package --------------------------------------------------------------


def textgrid(path: Path, tiers: dict[str, list[Mark]], form: str = "long") -> Path:
    import tgt

    grid = tgt.TextGrid()
    for name, marks in tiers.items():
        intervals = [tgt.Interval(start, end, text) for text, start, end in marks]
        grid.add_tier(tgt.IntervalTier(0, 3, name, intervals))
    tgt.write_to_file(grid, str(path), format=form, encoding="utf-8")
    return path


@needs("praatio", "tgt")
class TestTextGrids:
    @pytest.mark.parametrize("form", ["long", "short"])
    @pytest.mark.parametrize("tier", ["words", "Words", "speaker - words", "word"])
    def test_the_tier_of_words(self, tier: str, form: str, tmp_path: Path) -> None:
        phones = [Mark("e", 0.5, 0.6), Mark("l", 0.6, 0.75)]
        path = textgrid(tmp_path / "x.TextGrid", {"phones": phones, tier: MARKS}, form)
        assert read_marks(path, "x") == MARKS

    def test_the_only_tier_may_have_any_name(self, tmp_path: Path) -> None:
        assert read_marks(textgrid(tmp_path / "x.TextGrid", {"ORT-MAU": MARKS}), "x") == MARKS

    def test_silences_and_noises_are_no_words(self, tmp_path: Path) -> None:
        rests = ["<eps>", "sil", "SP", "[noise]", "<cough>", "..."]
        marks = [*MARKS, *(Mark(text, 2 + i / 8, 2.125 + i / 8) for i, text in enumerate(rests))]
        assert read_marks(textgrid(tmp_path / "x.TextGrid", {"words": marks}), "x") == MARKS

    @pytest.mark.parametrize("names", [("a", "b"), ("A - words", "B - words")])
    def test_several_tiers(self, names: tuple[str, ...], tmp_path: Path) -> None:
        path = textgrid(tmp_path / "x.TextGrid", dict.fromkeys(names, MARKS))
        with pytest.raises(
            CTCError, match=rf"x\.TextGrid has the tiers '{names[0]}', '{names[1]}': expected one whose"
        ):
            read_marks(path, "x")

    @pytest.mark.parametrize("content", ["", "no TextGrid", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'])
    def test_other_files(self, content: str, tmp_path: Path) -> None:
        (tmp_path / "x.TextGrid").write_text(content, encoding="utf-8")
        with pytest.raises(CTCError, match=r"x\.TextGrid"):
            read_marks(tmp_path / "x.TextGrid", "x")

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match=r"x\.TextGrid can't be read: No such file"):
            read_marks(tmp_path / "x.TextGrid", "x")


def test_praatio_is_named_where_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"'praatio'.*\[align\]"):
        read_marks(tmp_path / "x.TextGrid", "x")


# --- CTMs -------------------------------------------------------------------------------------------------------------


class TestCtms:
    def read(self, content: str, folder: Path, name: str = "x") -> list[Mark]:
        (folder / "x.ctm").write_text(content, encoding="utf-8")
        return read_marks(folder / "x.ctm", name)

    def test_one_of_several_recordings(self, tmp_path: Path) -> None:
        """In the order of their times, with or without a confidence; ``;;`` begins a comment."""
        rows = ["y A 0 1 no", "x 1 0.75 0.5 dice: 0.9", "", "x 1 0.5 0.25 Él 0.5", "x 1 1.5 0.5 sí", "x 1 2 1 <eps>"]
        assert self.read("\n".join([";; a comment", *rows]), tmp_path) == MARKS

    @pytest.mark.parametrize("row", ["x 1 0.5 0.25", "x 1 half 0.25 word"])
    def test_other_lines(self, row: str, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match=rf"x\.ctm: line 2 is '{row}': expected recording, channel, start, duration"):
            self.read(f"x 1 0 0.25 word\n{row}\n", tmp_path)

    @pytest.mark.parametrize("times", ["0.5 0", "0.5 -1", "-1 0.5", "nan 1", "0.5 inf", "inf 1"])
    def test_wrong_times(self, times: str, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match=r"x\.ctm: 'word' is marked from .* expected words one after the other"):
            self.read(f"x 1 {times} word\n", tmp_path)

    @pytest.mark.parametrize("content", ["", "y 1 0 1 word\n", "x 1 0 1 <eps>\n"])
    def test_no_words_of_the_recording(self, content: str, tmp_path: Path) -> None:
        with pytest.raises(CTCError, match=r"x\.ctm has no word of x: expected its words with their times"):
            self.read(content, tmp_path)


# --- pocketsphinx -----------------------------------------------------------------------------------------------------


@needs("pocketsphinx", "soundfile", "soxr")
class TestPocketsphinx:
    def words(self, text: str, folder: Path) -> list[str]:
        (folder / "x.txt").write_text(text, encoding="utf-8")
        return Pocketsphinx().words(folder / "x.txt")

    def test_the_times_that_the_tests_of_recognisers_have(self) -> None:
        marks = Pocketsphinx().marks(RECORDING, WORDS.split())
        assert [mark.text for mark in marks] == WORDS.split()
        assert [mark.start for mark in marks] == pytest.approx(STARTS, abs=0.011)  # a frame, on another machine
        assert [mark.end for mark in marks] == pytest.approx(ENDS, abs=0.011)

    def test_words_as_the_dictionary_has_them(self, tmp_path: Path) -> None:
        """Without case, punctuation and hyphens, with straight apostrophes; of subtitles, the text."""
        assert self.words("Don’t go\nfor-ward — “Ten” Meters!\n", tmp_path) == [
            "don't",
            "go",
            "for",
            "ward",
            "ten",
            "meters",
        ]
        cue = "1\n00:00:01,000 --> 00:00:02,000\nGo forward\n"
        assert self.words(cue, tmp_path) == ["go", "forward"]

    def test_words_that_the_dictionary_lacks(self, tmp_path: Path) -> None:
        with pytest.raises(Unmarked, match="pocketsphinx's dictionary lacks '10', 'zeitgeisty'"):
            self.words("go 10 zeitgeisty 10", tmp_path)
        with pytest.raises(Unmarked, match="has no words"):
            self.words(" … \n", tmp_path)

    def test_another_text(self) -> None:
        """Far too many words for the recording; afterwards others can be aligned."""
        aligner = Pocketsphinx()
        with pytest.raises(Unmarked, match="pocketsphinx can't align it with its text"):
            aligner.marks(RECORDING, WORDS.split() * 20)
        assert len(aligner.marks(RECORDING, WORDS.split())) == 4

    def test_what_can_not_be_read(self, tmp_path: Path) -> None:
        shutil.copy(__file__, tmp_path / "x.wav")
        with pytest.raises(CTCError, match=r"x\.wav is not a readable recording"):
            Pocketsphinx().marks(tmp_path / "x.wav", ["go"])
