"""`ctckit align`: one recording and a corpus; what is printed and written, exit codes, and runs that are killed."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import aligning, contents, corpus_of, manifest, words_of, write_labels
from support.recordings import LABELS, SHIFT, spoken

from ctckit.annotate.formats import ENDINGS
from ctckit.corpus import Corpus

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recording, and the labels."""
    np.save(tmp_path / "x.npy", spoken("the quick brown fox")[0])
    (tmp_path / "x.txt").write_text("The quick,\nbrown fox!\n", encoding="utf-8")
    write_labels(tmp_path)
    return tmp_path


ONE = ("align", "x.npy", "x.txt", "--labels", "labels.txt", "--frame-shift", SHIFT)


class TestOneRecording:
    def test_words_times_and_summary(self, folder: Path, ctckit: Run) -> None:
        done = ctckit(*ONE, "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        first, second, fit, third = done.stdout.splitlines()
        assert first.startswith("4 words; mean confidence 1.000")
        assert second.startswith("least sure: ")
        assert fit == "0.00 nats a token below what the network reads: 'the quick brown fox'"
        assert third == "wrote out.json"
        read = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        assert [line["text"] for line in read["lines"]] == ["The quick,", "brown fox!"]
        assert (read["misfit"], read["reading"]) == (0, "the quick brown fox")
        times = spoken("the quick brown fox")[1]
        assert words_of(folder / "out.json") == [pytest.approx(word) for word in times]

    def test_a_text_of_another_recording_is_told(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("jumps over a lazy dog", encoding="utf-8")
        done = ctckit(*ONE, "-o", "out.json")
        fit = done.stdout.splitlines()[2]
        assert fit.endswith(" nats a token below what the network reads: 'the quick brown fox'")
        assert (done.returncode, done.stderr) == (0, f"{fit}; is it the same recording?\n")
        assert json.loads((folder / "out.json").read_text(encoding="utf-8"))["misfit"] > 5

    def test_levels_and_punctuation(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("The quick — brown fox!\n", encoding="utf-8")
        command = (*ONE, "-o", "-", "--format", "ctm")

        def texts(*options: str) -> list[str]:
            return [row.split(" ")[4] for row in ctckit(*command, *options).stdout.splitlines()]

        assert texts() == ["The", "quick_—", "brown", "fox!"]
        assert texts("--strip-punctuation") == ["The", "quick", "brown", "fox"]
        assert texts("--strip-punctuation", "--level", "line") == ["The_quick_brown_fox"]
        assert texts("--level", "token") == list("Thequickbrownfox")
        done = ctckit(*ONE, "-o", "x.json", "--level", "line")
        assert (done.returncode, (folder / "x.json").exists()) == (2, False)
        assert "--level line: expected a format that holds one level" in done.stderr

    def test_milliseconds(self, folder: Path, ctckit: Run) -> None:
        done = ctckit(*ONE[:-1], 20, "-o", "x.csv")
        assert done.returncode == 0
        question = r"a frame shift of 20 s makes \d+ s, \d+ s a token: are these milliseconds\?"
        assert re.fullmatch(rf"{question} then pass --frame-shift 0\.02\n", done.stderr)

    def test_an_offset(self, folder: Path, ctckit: Run) -> None:
        def starts(*options: object) -> list[float]:
            done = ctckit(*ONE, "-o", "-", "--format", "ctm", *options)
            assert done.returncode == 0
            return [float(row.split(" ")[2]) for row in done.stdout.splitlines()]

        assert starts("--offset", 12.5) == pytest.approx([start + 12.5 for start in starts()])

    @pytest.mark.parametrize("form", ["csv", "ctm", ".json", "txt"])
    def test_the_standard_output(self, form: str, folder: Path, ctckit: Run) -> None:
        """It has the file and nothing else; what is told otherwise goes to the error output."""
        ending = form.removeprefix(".")
        (folder / "there").mkdir()
        file = folder / "there" / f"x.{ending}"
        told = ctckit(*ONE, "-o", file).stdout
        done = ctckit(*ONE, "-o", "-", "--format", form)
        assert (done.returncode, done.stdout) == (0, file.read_text(encoding="utf-8"))
        assert done.stderr == "".join(told.splitlines(keepends=True)[:-1])

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_every_format(self, ending: str, folder: Path, ctckit: Run) -> None:
        for package in ("praatio", "pysubs2"):
            pytest.importorskip(package, reason="an extra writes these")
        done = ctckit(*ONE, "-o", f"out{ending}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "fox!" in re.sub(r"\{\\k\d+\}", "", (folder / f"out{ending}").read_text(encoding="utf-8"))

    def test_what_is_not_in_the_vocabulary_is_told(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("the quick 7 brown fox", encoding="utf-8")
        np.save(folder / "x.npy", spoken("the quick seven brown fox")[0])
        done = ctckit(*ONE, "-o", "out.csv")
        assert done.returncode == 0
        assert "'7' is not in the vocabulary" in done.stderr

    def test_what_is_read_out(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("the quick → brown fox ♫", encoding="utf-8")
        np.save(folder / "x.npy", spoken("the quick arrow brown fox")[0])
        assert "'→'" not in ctckit(*ONE, "-o", "out.csv").stderr
        done = ctckit(*ONE, "--spoken", "→", "-o", "out.json")
        assert done.stderr == "line 1: '→' is not in the vocabulary: it matches anything\n"
        (line,) = json.loads((folder / "out.json").read_text(encoding="utf-8"))["lines"]
        assert [word["text"] for word in line["words"]] == ["the", "quick", "→", "brown", "fox ♫"]
        times = spoken("the quick arrow brown fox")[1]
        assert words_of(folder / "out.json")[-2:] == [pytest.approx(word) for word in times[-2:]]

    def test_labels_in_other_forms(self, folder: Path, ctckit: Run) -> None:
        assert ctckit(*ONE, "-o", "one.csv").returncode == 0
        (folder / "vocab.json").write_text(json.dumps({name: c for c, name in enumerate(LABELS)}), encoding="utf-8")
        (folder / "tokens.txt").write_text("".join(f"{x} {c}\n" for c, x in enumerate(LABELS)), encoding="utf-8")
        for labels in ("vocab.json", "tokens.txt"):
            done = ctckit(*ONE[:4], labels, *ONE[5:], "-o", "two.csv")
            assert (done.returncode, done.stderr) == (0, "")
            assert (folder / "two.csv").read_bytes() == (folder / "one.csv").read_bytes()

    def test_a_blank_that_is_doubtful_is_told(self, folder: Path, ctckit: Run) -> None:
        assert ctckit(*ONE, "-o", "one.csv").returncode == 0
        done = ctckit(*ONE, "--blank", 3, "-o", "two.csv")
        assert done.returncode == 0
        assert "the blank is class 3 ('b'), but labels[0] = 'φ' is called as blanks are, and the scores" in done.stderr
        (folder / "labels.txt").write_text("\n".join(["<s>", *LABELS[1:-1], "<pad>"]) + "\n", encoding="utf-8")
        (folder / "x.txt").write_text("The quick,\nbrown fox!\n", encoding="utf-8")
        done = ctckit(*ONE, "-o", "two.csv")
        assert "the scores rest on labels[0] = '<s>'" in done.stderr
        assert (folder / "two.csv").read_bytes() == (folder / "one.csv").read_bytes()

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("x.srt", "1\n00:00:00,000 --> 00:00:01,000\nThe quick,\n\n2\n00:00:01,000 --> 00:00:02,000\nbrown fox!\n"),
            ("x.vtt", "WEBVTT\n\n00:00.000 --> 00:01.000\nThe quick,\n\n00:01.000 --> 00:02.000\nbrown fox!\n"),
            ("text", "utt1 The quick,\nutt2 brown fox!\n"),
            ("x.jsonl", '{"text": "The quick,"}\n{"text": "brown fox!"}\n'),
        ],
    )
    def test_transcripts_in_other_forms(self, name: str, content: str, folder: Path, ctckit: Run) -> None:
        assert ctckit(*ONE, "-o", "one.csv").returncode == 0
        (folder / name).write_text(content, encoding="utf-8")
        done = ctckit(*ONE[:2], name, *ONE[3:], "-o", "two.csv")
        assert (done.returncode, done.stderr) == (0, "")
        assert (folder / "two.csv").read_bytes() == (folder / "one.csv").read_bytes()
        (folder / "other.txt").write_text(content, encoding="utf-8")
        done = ctckit(*ONE[:2], "other.txt", *ONE[3:], "-o", "two.csv")
        assert done.stderr.startswith("other.txt is read as ")
        assert done.stderr.endswith("; if all of it is said, pass --transcript-format plain\n")
        assert (folder / "two.csv").read_bytes() == (folder / "one.csv").read_bytes()
        assert (
            "_format" not in ctckit(*ONE[:2], "other.txt", *ONE[3:], "--transcript-format", "no", "-o", "a.csv").stderr
        )

    def test_lines_between_the_times_of_subtitles(self, folder: Path, ctckit: Run) -> None:
        """The same words three times: the times say which are meant."""
        scores, times = spoken("the fox the fox the fox")
        np.save(folder / "x.npy", scores)
        start, end = times[2][0] - 0.1, times[3][1] + 0.05
        cues = f"1\n00:00:00,{1000 * start:03.0f} --> 00:00:0{int(end)},{1000 * (end % 1):03.0f}\nthe fox\n\n"
        last = f"2\n00:00:0{int(times[5][0] - 0.1)},{1000 * ((times[5][0] - 0.1) % 1):03.0f} --> 00:00:09,000\nfox ♪\n"
        (folder / "x.srt").write_text(cues + last, encoding="utf-8")
        done = ctckit(*ONE[:2], "x.srt", *ONE[3:], "--cue-times", "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        assert words_of(folder / "out.json") == [pytest.approx(times[i]) for i in (2, 3, 5)]
        (folder / "x.srt").write_text(cues.replace("the fox", "the quick brown fox " * 9), encoding="utf-8")
        done = ctckit(*ONE[:2], "x.srt", *ONE[3:], "--cue-times", "-o", "out.json")
        assert done.returncode == 1
        assert "line 1, from " in done.stderr
        assert "or leave out --cue-times" in done.stderr
        assert (
            "the text has no times, and --cue-times asks for them" in ctckit(*ONE, "--cue-times", "-o", "a.csv").stderr
        )

    def test_subtitles_of_a_line_length(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("The quick, brown fox!", encoding="utf-8")

        def shown(*options: object) -> list[str]:
            assert ctckit(*ONE, "-o", "out.srt", *options).returncode == 0
            blocks = (folder / "out.srt").read_text(encoding="utf-8").strip().split("\n\n")
            return [block.split("\n", 2)[2] for block in blocks]

        assert shown() == shown("--line-length", 0) == ["The quick, brown fox!"]
        assert shown("--line-length", 12) == ["The quick,\nbrown fox!"]
        assert "".join(shown("--line-length", 5)).split() == ["The", "quick,brown", "fox!"]
        for wrong in (("out.json", 42), ("out.srt", -1)):
            done = ctckit(*ONE, "-o", wrong[0], "--line-length", wrong[1])
            assert done.returncode == 2
            assert f"--line-length {wrong[1]}: expected" in done.stderr
        assert not (folder / "out.json").exists()

    def test_help_names_every_format(self, ctckit: Run) -> None:
        done = ctckit("align", "--help")
        assert done.returncode == 0
        assert set(ENDINGS) - {word.rstrip(",;") for word in done.stdout.split()} == set()

    def test_picture(self, folder: Path, ctckit: Run) -> None:
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
        done = ctckit(*ONE, "--picture", "x.svg", "--lang", "zh")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == "wrote x.svg"
        assert "平均置信度" in (folder / "x.svg").read_text(encoding="utf-8")
        before = sorted(folder.iterdir())
        for options in (
            ("x.jpg",),
            ("y.svg", "--lang", "fr"),
            ("y.svg", "--audio", "no.wav"),
            ("y.svg", "--image", "x.npy"),
            ("y.svg", "--image", "x.npy", "--audio", "no.wav"),
        ):
            bad = ctckit(*ONE, "-o", "y.csv", "--picture", *options)
            assert bad.returncode == 2, options
            assert len(bad.stderr.splitlines()) == 1
        assert sorted(folder.iterdir()) == before

    def test_logits(self, folder: Path, ctckit: Run) -> None:
        np.save(folder / "x.npy", 3 + spoken("the quick brown fox")[0])
        raw = ctckit(*ONE, "-o", "out.csv")
        assert raw.returncode == 2
        assert "pass --logits" in raw.stderr
        assert ctckit(*ONE, "--logits", "-o", "out.csv").returncode == 0

    @pytest.mark.parametrize("axis", [0, 1])
    def test_a_batch_of_one(self, axis: int, folder: Path, ctckit: Run) -> None:
        assert ctckit(*ONE, "-o", "plain.csv").returncode == 0
        np.save(folder / "x.npy", np.expand_dims(np.load(folder / "x.npy"), axis))
        done = ctckit(*ONE, "-o", "batch.csv")
        assert (done.returncode, done.stderr) == (0, "")
        assert (folder / "batch.csv").read_bytes() == (folder / "plain.csv").read_bytes()

    def test_extend_optional_words_and_star(self, folder: Path, ctckit: Run) -> None:
        def words(*options: object) -> dict[str, dict[str, Any]]:
            done = ctckit(*ONE, *options, "-o", "out.json")
            assert done.returncode == 0, done.stderr
            read = json.loads((folder / "out.json").read_text(encoding="utf-8"))
            return {word["text"]: word for line in read["lines"] for word in line["words"]}

        assert words("--extend", 1)["quick,"]["end"] > words()["quick,"]["end"]
        (folder / "x.txt").write_text("the quick lazy brown fox", encoding="utf-8")
        found = words("--optional-words")
        assert found["lazy"]["start"] is None
        _, times = spoken("the quick brown fox")
        assert [found[word]["start"] for word in ("the", "quick", "brown", "fox")] == pytest.approx(
            [start for start, _ in times]
        )
        (folder / "x.txt").write_text("the fox", encoding="utf-8")
        assert words("--star")["fox"]["start"] == pytest.approx(times[-1][0])

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["align"], 2, "align takes EMISSIONS and TRANSCRIPT, or --manifest"),
            (["align", "x.npy", "x.txt", "-o", "y.csv"], 2, "--labels is missing"),
            (["align", "x.npy", "x.txt", "--labels", "labels.txt", "-o", "y.csv"], 2, "--frame-shift is missing"),
            ([*ONE], 2, "--out is missing"),
            ([*ONE, "-o", "y.csv", "--threads", "2"], 2, "--threads goes with --manifest"),
            ([*ONE, "--picture", "y.svg", "--offset", "3"], 2, "--offset does not go with --picture"),
            (
                [*ONE, "-o", "y.csv", "--offset", "-3"],
                2,
                "--offset -3.0: expected the seconds at which the first frame",
            ),
            ([*ONE, "-o", "y.csv", "--format", "csv"], 2, "--format goes with --manifest, and with -o -"),
            ([*ONE, "-o", "-"], 2, "--format goes with --manifest, and with -o -"),
            ([*ONE, "-o", "-", "--format", "doc"], 2, "expected one of .TextGrid, "),
            ([*ONE, "-o", "y.csv", "--image", "a.png"], 2, "--audio and --image are for --picture"),
            ([*ONE, "-o", "y.doc"], 2, "expected one of .TextGrid, "),
            ([*ONE, "-o", "no/y.csv", "--picture", "x.svg"], 2, "can't be written: there is no folder no"),
            ([*ONE, "-o", "y.csv", "--picture", "no/x.svg"], 2, "can't be written: there is no folder no"),
            ([*ONE, "-o", "y.csv", "--lang", "fr"], 2, "--lang 'fr' is unknown"),
            ([*ONE, "-o", "y.csv", "--extend", "-1"], 2, "--extend -1: expected a number of frames"),
            ([*ONE, "-o", "y.csv", "--blank", "99"], 2, "labels.txt: --blank 99"),
            ([*ONE[:-1], "-1", "-o", "y.csv"], 2, "--frame-shift -1.0: expected seconds from one frame to the next"),
            (["align", "no.npy", *ONE[2:], "-o", "y.csv"], 2, "no.npy"),
            (["align", "x.npy", "no.txt", *ONE[3:], "-o", "y.csv"], 2, "no.txt can't be read"),
            (["align", "x.npy", "empty.txt", *ONE[3:], "-o", "y.csv"], 2, "the text has no character"),
            (["align", "x.npy", "long.txt", *ONE[3:], "-o", "y.csv"], 1, "are they of the same recording?"),
            (["align", "narrow.npy", *ONE[2:], "-o", "y.csv"], 2, "have C=3 classes and there are 28 labels"),
            (["align", "turned.npy", *ONE[2:], "-o", "y.csv"], 2, "classes and there are 28 labels: transpose them"),
            (["align", "two.npy", *ONE[2:], "-o", "y.csv"], 2, "several recordings, of shape (4, 2, 3): expected one"),
            (["align", "nan.npy", *ONE[2:], "-o", "y.csv"], 2, "the emissions have NaN or +inf in frame 7 of "),
            (["align", "probs.npy", *ONE[2:], "-o", "y.csv"], 2, "are probabilities, each frame's add up to 1"),
            (["align", "probs.npy", *ONE[2:], "-o", "y.csv", "--logits"], 2, "expected their logarithms"),
            (["align", "costs.npy", *ONE[2:], "-o", "y.csv"], 2, "are negated log-probabilities, at least 0"),
            (["align", "costs.npy", *ONE[2:], "-o", "y.csv", "--logits"], 2, "change their sign"),
            ([*ONE, "-o", "x.txt"], 2, "x.txt is an input, and would be overwritten"),
            ([*ONE, "-o", "../" * 9 + "proc/self/cwd/labels.txt"], 2, "labels.txt is an input"),
            ([*ONE, "--picture", "a.png", "--image", "a.png"], 2, "a.png is an input"),
            ([*ONE[:-1], "9" * 400, "-o", "y.csv"], 2, "expected seconds from one frame to the next"),
            (["align", "x.npy", "latin.txt", *ONE[3:], "-o", "y.csv"], 2, "latin.txt is not UTF-8 text"),
        ],
    )
    def test_one_line_for_what_is_wrong(
        self, arguments: list[str], code: int, message: str, folder: Path, ctckit: Run
    ) -> None:
        (folder / "empty.txt").write_text("\n")
        (folder / "long.txt").write_text("z" * 500)
        (folder / "latin.txt").write_bytes(b"caf\xe9")
        np.save(folder / "narrow.npy", np.zeros((4, 3)))
        scores = np.load(folder / "x.npy")
        np.save(folder / "turned.npy", scores.T)
        np.save(folder / "probs.npy", np.exp(scores).astype(np.float16))
        np.save(folder / "costs.npy", -scores.astype(np.float16))
        scores[7, 3] = np.nan
        np.save(folder / "nan.npy", scores)
        np.save(folder / "two.npy", np.zeros((4, 2, 3)))
        before = sorted(folder.iterdir())
        done = ctckit(*arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("ctckit: ")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert sorted(folder.iterdir()) == before

    def test_what_fails_leaves_the_old_file(self, folder: Path, ctckit: Run) -> None:
        (folder / "y.csv").write_text("old")
        (folder / "x.txt").write_text("z" * 500)
        assert ctckit(*ONE, "-o", "y.csv").returncode == 1
        assert (folder / "y.csv").read_text() == "old"

    def test_a_word_does_not_move_the_cursor(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("the\x1b[2J", encoding="utf-8")
        done = ctckit(*ONE, "-o", "out.json")
        assert done.returncode == 0
        assert "the\ufffd[2J" in done.stdout
        assert "\x1b" not in done.stdout + done.stderr

    def test_text_of_another_alphabet(self, folder: Path, ctckit: Run) -> None:
        """Some stars are fine, and the first few are reported; a text of nothing but stars is an error."""
        (folder / "x.txt").write_text("the " + "7 " * 2 + "\n7" * 12, encoding="utf-8")
        done = ctckit(*ONE, "-o", "out.json")
        assert done.returncode == 0
        told = done.stderr.splitlines()
        assert len(told) == 11
        assert told[-1] == "and 5 more like these"
        (folder / "x.txt").write_text("猫在桌子上\n", encoding="utf-8")
        done = ctckit(*ONE, "-o", "other.json")
        assert done.returncode == 2
        assert "has no character that the labels can spell" in done.stderr
        assert not (folder / "other.json").exists()


# --- a corpus ---------------------------------------------------------------------------------------------------------


CORPUS = ("align", "--manifest", "corpus.jsonl", "--labels", "labels.txt", "--frame-shift", SHIFT)


class TestCorpus:
    def test_command(self, tmp_path: Path, ctckit: Run) -> None:
        rows = corpus_of(tmp_path, 5)
        good = ctckit(*CORPUS, "--out", "out", "--threads", 2)
        assert (good.returncode, good.stdout, good.stderr) == (0, "5 rows aligned, 0 failed\n", "")
        assert sorted(contents(tmp_path / "out")) == ["done.jsonl", *(f"row {i}.json" for i in range(5))]
        manifest(tmp_path, [*rows, {"id": "new", "emissions": "no.npy", "text": "a"}])
        bad = ctckit(*CORPUS, "--out", "out")
        assert (bad.returncode, bad.stdout, bad.stderr) == (
            1,
            f"0 rows aligned, 5 skipped (already done), 1 failed: see {Path('out/errors.jsonl')}\n",
            "",
        )
        manifest(tmp_path, rows[1:])
        fewer = ctckit(*CORPUS, "--out", "out")
        assert fewer.returncode == 0
        assert "out also has 1 rows that corpus.jsonl lacks" in fewer.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([*CORPUS], "--out is missing"),
            ([*CORPUS, "--out", "-"], "--out - is for one recording: expected the folder of the outputs"),
            (
                ["align", "x.npy", *CORPUS[1:], "--out", "new"],
                "EMISSIONS x.npy: expected a folder that is there, an .scp",
            ),
            (["align", "x.npy", "x.txt", *CORPUS[1:], "--out", "new"], "TRANSCRIPT is for one recording"),
            ([*CORPUS, "--out", "new", "--picture", "x.png"], "--picture is for one recording"),
            ([*CORPUS, "--out", "new", "--format", "doc"], "expected one of .TextGrid"),
            ([*CORPUS, "--out", "new", "--format", "json,JSON"], "--format json,JSON: expected each format once"),
            ([*CORPUS, "--out", "new", "--threads", "0"], "--threads 0: expected at least 1"),
            ([*CORPUS, "--out", "new", "--extend", "-1"], "--extend -1"),
            ([*CORPUS, "--out", "labels.txt"], "--out labels.txt is a file: expected a folder"),
            (["align", "--manifest", "no.jsonl", "--out", "new"], "no.jsonl can't be read"),
            ([*CORPUS, "--out", "new", "--labels", "no.txt"], "no.txt can't be read"),
            (
                [*CORPUS, "--out", "used"],
                "Refusing to overwrite used/row 1.json: no previous run wrote it (done.jsonl not found)",
            ),
            ([*CORPUS, "--out", "out", "--extend", "2"], "made with other options: extend was 0 and is 2"),
            ([*CORPUS, "--out", "out", "--format", "csv"], "format was ['json'] and is ['csv']"),
        ],
    )
    def test_usage(self, arguments: list[str], message: str, tmp_path: Path, ctckit: Run) -> None:
        corpus_of(tmp_path, 2)
        aligning(tmp_path, formats="json").run()
        (tmp_path / "used").mkdir()
        (tmp_path / "used" / "row 1.json").write_text("mine")
        before = contents(tmp_path / "out")
        done = ctckit(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert contents(tmp_path / "out") == before
        assert not (tmp_path / "new").exists()
        assert contents(tmp_path / "used") == {"row 1.json": b"mine"}

    def test_stopped_by_the_keyboard(self, tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Corpus, "run", stopped)
        corpus_of(tmp_path, 1)
        done = ctckit(*CORPUS, "--out", "out")
        assert done.returncode == 130
        assert done.stderr == "stopped; run the same command again to continue in out\n"

    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 300)
        rows[17]["text"] = "z" * 300
        rows[251]["emissions"] = "no.npy"
        manifest(tmp_path, rows)
        command = [sys.executable, "-m", "ctckit", *map(str, CORPUS), "--format", "json,csv", "--threads", "2", "--out"]
        assert subprocess.run([*command, "calm"], cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 1
        rng, out, killed = random.Random(5), tmp_path / "out", 0
        for kill in range(6):
            before = len(list(out.iterdir())) if out.is_dir() else 0
            process = subprocess.Popen([*command, "out"], cwd=tmp_path, stdout=subprocess.DEVNULL)
            enough = before + rng.randrange(90) if kill else 0
            while process.poll() is None and not (out.is_dir() and len(os.listdir(out)) >= enough):
                time.sleep(0.001)
            time.sleep(rng.random() * 0.01)
            killed += process.poll() is None  # on a busy machine it may be done by now
            process.kill()
            process.wait()
        assert killed > 1
        assert subprocess.run([*command, "out"], cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 1
        assert contents(out) == contents(tmp_path / "calm")
