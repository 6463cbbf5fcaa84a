"""`ctckit decode`: one recording, a corpus and a pipe; what is printed and written, exit codes, what is stopped."""

from __future__ import annotations

import inspect
import io
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import contents, corpus_of, errors, log_of, manifest, words_of, write_labels
from support.recordings import LABELS, SHIFT, WORDS, spoken

from ctckit import Decoder
from ctckit.annotate.decoded import Language
from ctckit.annotate.formats import ENDINGS
from ctckit.cli.decode import decode
from ctckit.cli.explain import explain
from ctckit.cli.live import THRESHOLD
from ctckit.corpus import Corpus

Run = Callable[..., subprocess.CompletedProcess[str]]

ONE = ("decode", "x.npy", "--labels", "labels.txt")
TIMED = (*ONE, "--frame-shift", SHIFT)
LN10 = math.log(10)
ARPA = """\\data\\
ngram 1=6

\\1-grams:
-3 <unk>
-99 <s>
-0.7 </s>
-0.5 the
-1 fox
-2 fax

\\end\\
"""


def scores_of(*frames: str | dict[str, float]) -> npt.NDArray[np.float64]:
    """Frames that leave one path for each choice: a letter, or letters with their probabilities."""
    probs = np.zeros((len(frames), len(LABELS)))
    for row, frame in zip(probs, frames, strict=True):
        for letter, prob in ({frame: 1.0} if isinstance(frame, str) else frame).items():
            row[LABELS.index(letter)] = prob
    with np.errstate(divide="ignore"):
        return np.log(probs)


FOX_OR_FAX = (*"the f", {"o": 0.4, "a": 0.6}, "x")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, the labels and a language."""
    np.save(tmp_path / "x.npy", spoken("the quick brown fox")[0])
    np.save(tmp_path / "two.npy", scores_of(*FOX_OR_FAX))
    write_labels(tmp_path)
    (tmp_path / "x.arpa").write_text(ARPA)
    (tmp_path / "words.txt").write_text("the\nfox\n7up\n")
    return tmp_path


# --- one recording ----------------------------------------------------------------------------------------------------


class TestOneRecording:
    def test_the_text(self, folder: Path, ctckit: Run) -> None:
        done = ctckit(*ONE)
        assert (done.returncode, done.stdout, done.stderr) == (0, "the quick brown fox\n", "")
        assert sorted(path.name for path in folder.iterdir()) == [
            "labels.txt",
            "two.npy",
            "words.txt",
            "x.arpa",
            "x.npy",
        ]

    def test_a_long_recording_is_several_subtitles(self, folder: Path, ctckit: Run) -> None:
        """They end at the pauses: the text has no punctuation."""
        silence = scores_of(*[LABELS[0]] * 80)
        parts = [spoken(text)[0] for text in ("the quick brown fox", "jumps over the lazy dog", "over a fox")]
        text_frames = [parts[0], silence, scores_of(" "), parts[1], silence, scores_of(" "), parts[2]]
        np.save(folder / "x.npy", np.concatenate(text_frames))
        assert ctckit(*TIMED, "-o", "out.srt", "--line-length", 26).returncode == 0
        blocks = (folder / "out.srt").read_text(encoding="utf-8").strip().split("\n\n")
        shown = [block.split("\n", 2)[2] for block in blocks]
        assert shown == ["the quick brown fox", "jumps over the lazy dog", "over a fox"]

    def test_several_texts_with_their_scores(self, folder: Path, ctckit: Run) -> None:
        done = ctckit("decode", "two.npy", *ONE[2:], "--nbest", 3)
        expected = f"1\t{math.log(0.6):.4f}\tthe fax\n2\t{math.log(0.4):.4f}\tthe fox\n"
        assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")

    def test_a_language_model(self, folder: Path, ctckit: Run) -> None:
        command = ("decode", "two.npy", *ONE[2:], "--lm", "x.arpa", "--alpha", 0.3, "--beta", 0.25)
        fox, fax = (math.log(p) + 0.3 * LN10 * (-0.5 - said - 0.7) + 0.5 for p, said in ((0.4, 1), (0.6, 2)))
        done = ctckit(*command, "--nbest", 2)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"1\t{fox:.4f}\tthe fox\n2\t{fax:.4f}\tthe fax\n"
        assert ctckit(*command[:-3], 0.01).stdout == "the fax\n"
        (folder / "x.arpa").write_text(ARPA.replace("-1 fox\n", "").replace("=6", "=5"))
        unknown = math.log(0.4) + 0.3 * (LN10 * (-0.5 - 0.7) - 4) + 0.5
        assert f"\t{unknown:.4f}\tthe fox\n" in ctckit(*command, "--nbest", 2, "--unknown-score", -4).stdout

    def test_a_lexicon(self, folder: Path, ctckit: Run) -> None:
        """What can't be spelled is told once, on the error output."""
        command = ("decode", "two.npy", *ONE[2:], "--lexicon", "words.txt")
        done = ctckit(*command)
        assert (done.returncode, done.stdout) == (0, "the fox\n")
        assert done.stderr.splitlines() == [
            "words.txt: 1 of 3 words can't be spelled with the labels, and are left out: '7up'"
        ]
        assert ctckit(*command, "--unknown-score", -0.1, "--nbest", 2).stdout.count("\n") == 2
        none = ctckit(*ONE, "--lexicon", "words.txt")
        np.save(folder / "x.npy", scores_of(*"dog"))
        none = ctckit(*ONE, "--lexicon", "words.txt")
        assert (none.returncode, none.stdout) == (1, "")
        assert none.stderr.startswith("ctckit: found no text: all texts of the lexicon have probability 0")
        assert none.stderr.rstrip().endswith("--unknown-score -30 allows other words, too")

    def test_hotwords(self, folder: Path, ctckit: Run) -> None:
        """A weight tips the scales if it is more than the odds."""
        odds = math.log(0.6 / 0.4)
        (folder / "hot.txt").write_text("fox\n\n7up\n")
        command = ("decode", "two.npy", *ONE[2:], "--hotwords", "hot.txt")
        assert ctckit(*command).stdout == "the fox\n"
        for weight, text in ((odds - 0.01, "the fax\n"), (odds + 0.01, "the fox\n")):
            done = ctckit(*command, "--hotword-weight", weight)
            assert (done.returncode, done.stdout) == (0, text)
            assert done.stderr.splitlines() == [
                "hotwords: 1 of 2 can't be spelled with the labels, and are left out: '7up'"
            ]
        (folder / "hot.txt").write_text(f"the fox\t{odds - 0.01}\nfax\n")
        assert ctckit(*command, "--hotword-weight", -0.1).stdout == "the fox\n"

    def test_a_file_of_everything(self, folder: Path, ctckit: Run) -> None:
        done = ctckit("decode", "two.npy", *TIMED[2:], "--lm", "x.arpa", "--nbest", 2, "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        first, second, third = done.stdout.splitlines()
        assert first.startswith("2 words; mean confidence 0.")
        assert second.startswith("least sure: fox 0.")
        assert third == "wrote out.json"
        read = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        assert (read["text"], [line["text"] for line in read["lines"]]) == ("the fox", ["the fox"])
        fox, fax = read["hypotheses"]
        assert (fox["text"], fax["text"]) == ("the fox", "the fax")
        for found, p, said in ((fox, 0.4, 1), (fax, 0.6, 2)):
            parts = [found[f"{part}_score"] for part in ("ctc", "language", "word", "hotword")]
            assert parts == pytest.approx([math.log(p), 0.5 * LN10 * (-1.2 - said), 2, 0], abs=1e-5)
            assert found["score"] == pytest.approx(sum(parts), abs=1e-5)
        assert fox["probability"] + fax["probability"] == pytest.approx(1, abs=1e-5)

    def test_times(self, folder: Path, ctckit: Run) -> None:
        assert ctckit(*TIMED, "-o", "out.json").returncode == 0
        times = spoken("the quick brown fox")[1]
        assert words_of(folder / "out.json") == [pytest.approx(word) for word in times]
        assert ctckit(*TIMED, "--offset", 7.5, "--extend", 1, "-o", "moved.json").returncode == 0
        moved = words_of(folder / "moved.json")  # a separator between words takes blanks too
        assert (moved[0][0], moved[-1][1]) == pytest.approx((7.5 + times[0][0] - SHIFT, 7.5 + times[-1][1] + SHIFT))
        done = ctckit(*ONE, "--frame-shift", 20, "-o", "x.csv")
        assert re.search(r"are these milliseconds\? then pass --frame-shift 0\.02\n", done.stderr)

    @pytest.mark.parametrize("ending", ENDINGS)
    def test_every_format(self, ending: str, folder: Path, ctckit: Run) -> None:
        for package in ("praatio", "pysubs2"):
            pytest.importorskip(package, reason="an extra writes these")
        (folder / "there").mkdir()
        done = ctckit(*TIMED, "-o", f"there/x{ending}")
        assert (done.returncode, done.stderr) == (0, "")
        written = (folder / "there" / f"x{ending}").read_text(encoding="utf-8")
        assert "fox" in re.sub(r"\{\\k\d+\}", "", written)
        out = ctckit(*TIMED, "-o", "-", "--format", ending)
        assert (out.returncode, out.stdout) == (0, written)
        assert out.stderr == "".join(done.stdout.splitlines(keepends=True)[:-1])

    def test_levels_and_punctuation(self, folder: Path, ctckit: Run) -> None:
        (folder / "labels.txt").write_text("\n".join([*LABELS[:-1], "!"]) + "\n")
        np.save(folder / "x.npy", spoken("the fox")[0][:, [*range(27), 27]])
        scores = scores_of(*"the fo", "z")  # the last class is the mark
        np.save(folder / "x.npy", scores)

        def texts(*options: str) -> list[str]:
            return [
                row.split(" ")[4] for row in ctckit(*TIMED, "-o", "-", "--format", "ctm", *options).stdout.splitlines()
            ]

        assert texts() == ["the", "fo!"]
        assert texts("--strip-punctuation", "--level", "line") == ["the_fo"]
        assert texts("--level", "token") == [*"thefo!"]

    def test_picture(self, folder: Path, ctckit: Run) -> None:
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
        done = ctckit(*TIMED, "--picture", "x.svg", "--lang", "zh")
        assert (done.returncode, done.stdout, done.stderr) == (0, "the quick brown fox\n", "wrote x.svg\n")
        assert "平均置信度" in (folder / "x.svg").read_text(encoding="utf-8")

    def test_logits_batches_and_blanks(self, folder: Path, ctckit: Run) -> None:
        np.save(folder / "x.npy", 3 + spoken("the quick brown fox")[0][None])
        raw = ctckit(*ONE)
        assert (raw.returncode, raw.stdout) == (2, "")
        assert "pass --logits" in raw.stderr
        assert ctckit(*ONE, "--logits").stdout == "the quick brown fox\n"
        (folder / "labels.txt").write_text("\n".join(["<s>", *LABELS[1:-1], "<pad>"]) + "\n")
        done = ctckit(*ONE, "--logits")
        assert (done.returncode, done.stdout) == (0, "the quick brown fox\n")
        assert "the scores rest on labels[0] = '<s>'" in done.stderr

    def test_nothing_said(self, folder: Path, ctckit: Run) -> None:
        np.save(folder / "x.npy", scores_of("φ", "φ"))
        assert ctckit(*ONE).stdout == "\n"
        done = ctckit(*TIMED, "-o", "x.json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((folder / "x.json").read_text())["lines"] == []

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["decode"], "decode takes one of EMISSIONS, --manifest and --stream"),
            ([*ONE, "--stream", "x.npy"], "decode takes one of EMISSIONS, --manifest and --stream"),
            (["decode", "x.npy"], "--labels is missing"),
            ([*ONE, "-o", "y.csv"], "--frame-shift is missing"),
            ([*ONE, "--picture", "y.svg"], "--frame-shift is missing"),
            ([*ONE, "--threads", "2"], "--threads goes with --manifest"),
            ([*ONE, "--format", "csv"], "--format goes with --manifest, and with -o -"),
            ([*ONE, "--transcript-format", "plain"], "--transcript-format goes with --manifest"),
            ([*TIMED, "-o", "-"], "--format goes with --manifest, and with -o -"),
            ([*TIMED, "-o", "y.csv", "--audio", "a.wav"], "--audio and --image are for --picture"),
            ([*TIMED, "-o", "y.doc"], "expected one of .TextGrid, "),
            ([*TIMED, "-o", "no/y.csv"], "can't be written: there is no folder no"),
            ([*TIMED, "-o", "y.csv", "--nbest", "2"], "--nbest 2: expected .json, which holds several texts"),
            ([*TIMED, "-o", "y.json", "--level", "line"], "--level line: expected a format that holds one level"),
            ([*TIMED, "-o", "y.csv", "--lang", "fr"], "--lang 'fr' is unknown"),
            ([*TIMED, "-o", "y.csv", "--extend", "-1"], "--extend -1: expected a number of frames"),
            ([*TIMED, "-o", "x.arpa", "--lm", "x.arpa"], "x.arpa is an input, and would be overwritten"),
            ([*TIMED, "-o", "words.txt", "--lexicon", "words.txt"], "words.txt is an input, and would be overwritten"),
            ([*ONE, "--frame-shift", "-1", "-o", "y.csv"], "--frame-shift -1.0: expected seconds from one frame"),
            ([*ONE, "--beam", "0"], "--beam 0: expected"),
            ([*ONE, "--nbest", "51"], "--nbest 51: "),
            ([*ONE, "--alpha", "-1"], "--alpha -1.0: expected"),
            ([*ONE, "--beta", "nan"], "--beta nan: expected"),
            ([*ONE, "--unknown-score", "inf"], "--unknown-score inf: expected"),
            ([*ONE, "--hotword-weight", "nan"], "--hotword-weight nan: expected"),
            ([*ONE, "--blank", "99"], "labels.txt: --blank 99"),
            ([*ONE, "--lm", "no.arpa"], "no.arpa can't be read"),
            ([*ONE, "--lm", "words.txt"], "words.txt, line 1"),
            ([*ONE, "--lexicon", "no.txt"], "no.txt can't be read"),
            ([*ONE, "--hotwords", "no.txt"], "no.txt can't be read"),
            ([*ONE, "--lexicon", "other.txt"], "none of the 2 words of other.txt can be spelled"),
            (["decode", "no.npy", *ONE[2:]], "no.npy"),
            (["decode", "narrow.npy", *ONE[2:]], "have C=3 classes and there are 28 labels"),
            (["decode", "nan.npy", *ONE[2:]], "the emissions have NaN or +inf in frame 2 of "),
            (["decode", "probs.npy", *ONE[2:]], "are probabilities, each frame's add up to 1"),
            (["decode", "--stream", "no.raw", *ONE[2:]], "no.raw can't be read"),
            (["decode", "--stream", "x.npy", *TIMED[2:], "--picture", "y.svg"], "--picture does not go with --stream"),
        ],
    )
    def test_one_line_for_what_is_wrong(self, arguments: list[str], message: str, folder: Path, ctckit: Run) -> None:
        np.save(folder / "narrow.npy", np.zeros((4, 3)))
        scores = np.load(folder / "x.npy")
        np.save(folder / "probs.npy", np.exp(scores))
        scores[2, 3] = np.nan
        np.save(folder / "nan.npy", scores)
        (folder / "other.txt").write_text("猫\n狗\n", encoding="utf-8")
        before = contents(folder)
        done = ctckit(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert done.stderr.startswith("ctckit: ")
        assert len(done.stderr.splitlines()) == 1
        assert contents(folder) == before

    def test_defaults_are_the_decoders(self) -> None:
        of_class = inspect.signature(Decoder).parameters
        of_command = inspect.signature(decode).parameters
        of_explain = inspect.signature(explain).parameters
        for name in ("alpha", "beta", "unknown_score", "beam_width"):
            assert of_class[name].default == of_command[name].default == getattr(Language(), name)
        assert of_command["hotword_weight"].default == Language().hotword_weight
        for name in ("language_model", "lexicon", "hotwords", "alpha", "beta", "unknown_score", "hotword_weight"):
            assert of_explain[name] == of_command[name]

    def test_help_says_what_a_stream_drops(self, ctckit: Run) -> None:
        assert f"texts {THRESHOLD:g} nats below the best are dropped" in " ".join(ctckit("decode", "-h").stdout.split())

    def test_help_names_every_format(self, ctckit: Run) -> None:
        done = ctckit("decode", "--help")
        assert done.returncode == 0
        assert set(ENDINGS) - {word.rstrip(",;") for word in done.stdout.split()} == set()


# --- a corpus ---------------------------------------------------------------------------------------------------------


CORPUS = ("decode", "--manifest", "corpus.jsonl", "--labels", "labels.txt", "--frame-shift", SHIFT)


def distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The fewest errors, by the textbook's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


class TestCorpus:
    def test_texts_and_error_rates(self, tmp_path: Path, ctckit: Run) -> None:
        """Rows' texts differ from what is said; one has none, one is in capitals with marks."""
        rows = corpus_of(tmp_path, 6)
        said = [row["text"] for row in rows]
        meant = [said[0], "the " + said[1], said[2].replace("a", "e"), said[3].split(" ", 1)[1], said[4].upper() + " !"]
        for row, text in zip(rows, meant, strict=False):
            row["text"] = text
        del rows[5]["text"]
        manifest(tmp_path, rows)
        done = ctckit(*CORPUS, "--out", "out", "--threads", 2)
        assert (done.returncode, done.stderr) == (0, "")
        expected = [text.lower().removesuffix(" !") for text in meant]
        words = sum(distance(text.split(), read.split()) for text, read in zip(expected, said, strict=False))
        letters = sum(map(distance, expected, said))
        total, wer, cer, rows_told = done.stdout.splitlines()
        assert total == "6 rows decoded, 0 failed"
        size = sum(len(text.split()) for text in expected)
        assert wer.startswith(f"WER {100 * words / size:.2f}%: {words} of {size} words (")
        size = sum(map(len, expected))
        assert cer.startswith(f"CER {100 * letters / size:.2f}%: {letters} of {size} characters (")
        assert sum(map(int, re.findall(r"(\d+) (?:substituted|deleted|inserted)", wer))) == words
        assert rows_told == "in 5 rows with a text"
        log = log_of(tmp_path / "out")
        assert [entry["text"] for entry in log] == said
        assert [entry.get("reference") for entry in log] == [*expected, None]
        for entry, text, read in zip(log[:5], expected, said, strict=False):
            assert entry["wer"] == pytest.approx(distance(text.split(), read.split()) / len(text.split()), abs=1e-6)
        assert "wer" not in log[5]
        assert words_of(tmp_path / "out" / "row 3.json") == [pytest.approx(word) for word in spoken(said[3], 3)[1]]

    def test_going_on(self, tmp_path: Path, ctckit: Run) -> None:
        """What is done is counted with what is new."""
        rows = corpus_of(tmp_path, 4)
        manifest(tmp_path, rows[:2])
        first = ctckit(*CORPUS, "--out", "out").stdout.splitlines()
        assert first[0] == "2 rows decoded, 0 failed"
        manifest(tmp_path, [*rows[1:], {"id": "new", "emissions": "no.npy"}])
        done = ctckit(*CORPUS, "--out", "out")
        out = Path("out")
        assert done.returncode == 1
        assert done.stdout.splitlines()[:2] == [
            f"2 rows decoded, 1 skipped (already done), 1 failed: see {out / 'errors.jsonl'}",
            "out also has 1 rows that corpus.jsonl lacks",
        ]
        assert "0 of 9 words" in done.stdout
        assert done.stdout.endswith("in 3 rows with a text\n")
        assert "no.npy can't be read" in errors(tmp_path / "out")[0]["reason"]
        rows[1]["text"] = "fox"  # another reference
        manifest(tmp_path, rows[1:])
        assert ctckit(*CORPUS, "--out", "out").stdout.startswith("1 rows decoded, 2 skipped")

    def test_a_language_is_part_of_the_options(self, tmp_path: Path, ctckit: Run) -> None:
        corpus_of(tmp_path, 2)
        (tmp_path / "words.txt").write_text("\n".join([*WORDS, "7up"]))
        command = (*CORPUS, "--lexicon", "words.txt", "--out", "out")
        done = ctckit(*command)
        assert done.returncode == 0
        told = "words.txt: 1 of 10 words can't be spelled with the labels, and are left out: '7up'\n"
        assert done.stderr == told  # once, and not for each row
        assert ctckit(*command).stdout.startswith("0 rows decoded, 2 skipped")
        before = contents(tmp_path / "out")
        for change in (("--alpha", 0.7), ("--beam", 20), ("--nbest", 2)):
            refused = ctckit(*command, *change)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert "out holds files made with other options: " in refused.stderr
        (tmp_path / "words.txt").write_text("the\nfox\n")
        assert "lexicon was " in ctckit(*command).stderr
        assert contents(tmp_path / "out") == before

    def test_a_folder_of_alignments_is_refused(self, tmp_path: Path, ctckit: Run) -> None:
        corpus_of(tmp_path, 2)
        assert ctckit("align", *CORPUS[1:], "--out", "out").returncode == 0
        before = contents(tmp_path / "out")
        done = ctckit(*CORPUS, "--out", "out")
        assert (done.returncode, done.stderr) == (2, "ctckit: out holds the files of align: choose another folder\n")
        assert contents(tmp_path / "out") == before

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([*CORPUS], "--out is missing: expected the folder of the outputs"),
            ([*CORPUS, "--out", "-"], "--out - is for one recording"),
            ([*CORPUS, "--out", "new", "--stream", "-"], "--stream is for one recording"),
            ([*CORPUS, "--out", "new", "--picture", "x.png"], "--picture is for one recording"),
            ([*CORPUS, "--out", "new", "--format", "ctm", "--nbest", "2"], "--nbest 2: expected .json"),
            ([*CORPUS, "--out", "new", "--transcript-format", "x"], "--transcript-format 'x' is unknown"),
            ([*CORPUS, "--out", "new", "--threads", "0"], "--threads 0: expected at least 1"),
            ([*CORPUS, "--out", "new", "--alpha", "-2"], "--alpha -2.0: expected"),
            ([*CORPUS, "--out", "new", "--lm", "no.arpa"], "no.arpa can't be read"),
            ([*CORPUS, "--out", "new", "--lexicon", "other.txt"], "none of the 1 words of other.txt can be spelled"),
        ],
    )
    def test_usage(self, arguments: list[str], message: str, tmp_path: Path, ctckit: Run) -> None:
        corpus_of(tmp_path, 1)
        (tmp_path / "other.txt").write_text("猫\n", encoding="utf-8")
        done = ctckit(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "new").exists()

    def test_stopped_by_the_keyboard(self, tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Corpus, "run", stopped)
        corpus_of(tmp_path, 1)
        done = ctckit(*CORPUS, "--out", "out")
        assert (done.returncode, done.stderr) == (130, "stopped; run the same command again to continue in out\n")

    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 60)
        command = [sys.executable, "-m", "ctckit", *map(str, CORPUS), "--format", "json,ctm", "--out"]
        calm = subprocess.run([*command, "calm"], cwd=tmp_path, capture_output=True)
        rng, out, killed = random.Random(3), tmp_path / "out", 0
        for kill in range(3):
            process = subprocess.Popen([*command, "out"], cwd=tmp_path, stdout=subprocess.DEVNULL)
            enough = (len(list(out.iterdir())) if out.is_dir() else 0) + rng.randrange(20 * kill + 1)
            while process.poll() is None and not (out.is_dir() and len(os.listdir(out)) >= enough):
                time.sleep(0.001)
            killed += process.poll() is None
            process.kill()
            process.wait()
        assert killed > 1
        last = subprocess.run([*command, "out"], cwd=tmp_path, capture_output=True)
        assert (last.returncode, last.stdout.splitlines()[-3:]) == (0, calm.stdout.splitlines()[-3:])
        assert contents(out) == contents(tmp_path / "calm")


# --- weights ----------------------------------------------------------------------------------------------------------


class TestTune:
    COMMAND = ("decode", "--manifest", "dev.jsonl", "--labels", "labels.txt", "--lm", "x.arpa", "--tune")

    @pytest.fixture
    def corpus(self, folder: Path) -> Path:
        """Ten of eleven times it was the less probable word of two, which the language prefers."""
        rows = []
        for n in range(11):
            np.save(folder / f"{n}.npy", scores_of(*"the f", {"o": 0.02, "a": 0.98} if n < 10 else "a", "x"))
            rows.append({"id": str(n), "emissions": f"{n}.npy", "text": "The fox!" if n < 10 else "the fax"})
        manifest(folder, rows, "dev.jsonl")
        return folder

    def test_weights_that_make_fewer_errors(self, corpus: Path, ctckit: Run) -> None:
        done = ctckit(*self.COMMAND, "--alpha", 0.1)
        assert done.returncode == 0
        weights, chosen, before, without = done.stdout.splitlines()
        assert chosen == "with these: WER 0.00%: 0 of 22 words (0 substituted, 0 deleted, 0 inserted)"
        assert before.startswith("with --alpha 0.1 --beta 1: WER 45.45%: 10 of 22 words (10 substituted, ")
        assert without.startswith("without a language: WER 45.45%: 10 of 22 words")
        found = re.fullmatch(r"--alpha (\S+) --beta (\S+)", weights)
        assert found is not None
        assert float(found[1]) > math.log(0.98 / 0.02) / LN10  # the language's odds are 10 to 1
        assert ctckit("decode", "0.npy", *self.COMMAND[3:7], *weights.split()).stdout == "the fox\n"
        assert sorted(path.suffix for path in corpus.iterdir() if path.suffix in (".json", ".svg")) == []

    def test_picture(self, corpus: Path, ctckit: Run) -> None:
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
        done = ctckit(*self.COMMAND, "--picture", "x.svg")
        assert (done.returncode, done.stderr) == (0, "wrote x.svg\n")
        assert (corpus / "x.svg").stat().st_size > 5000

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["decode", "x.npy", "--labels", "labels.txt", "--tune"], "--tune goes with --manifest"),
            ([*COMMAND, "--out", "x"], "--out does not go with --tune"),
            ([*COMMAND, "--stream", "-"], "--stream does not go with --tune"),
            ([*COMMAND[:5], "--tune"], "expected --lm or --lexicon"),
            ([*COMMAND, "--manifest", "empty.jsonl"], "empty.jsonl has no rows"),
            ([*COMMAND, "--manifest", "bad.jsonl"], "bad.jsonl, line 2: expected either 'text'"),
            ([*COMMAND, "--manifest", "other.jsonl"], "other.jsonl, line 2 has other labels than line 1"),
            ([*COMMAND, "--manifest", "narrow.jsonl"], "narrow.jsonl, line 2: the scores have C=3 classes"),
            ([*COMMAND, "--picture", "x.arpa"], "x.arpa is an input"),
            ([*COMMAND, "--lang", "fr"], "--lang 'fr' is unknown"),
        ],
    )
    def test_usage(self, arguments: list[str], message: str, corpus: Path, ctckit: Run) -> None:
        row = {"id": "a", "emissions": "x.npy", "text": "the fox"}
        np.save(corpus / "narrow.npy", np.zeros((4, 3)))
        (corpus / "empty.jsonl").write_text("")
        manifest(corpus, [row, {"id": "b", "emissions": "x.npy"}], "bad.jsonl")
        manifest(corpus, [row, {**row, "id": "b", "labels": "words.txt"}], "other.jsonl")
        manifest(corpus, [row, {**row, "id": "b", "emissions": "narrow.npy"}], "narrow.jsonl")
        done = ctckit(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


# --- a pipe -----------------------------------------------------------------------------------------------------------


def saved(*arrays: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    for array in arrays:
        np.save(file, array)
    return file.getvalue()


class TestStream:
    COMMAND = ("decode", "--stream", "x.pipe", "--labels", "labels.txt")

    @pytest.mark.parametrize(
        "bytes_of",
        [
            lambda x: x.astype("<f4").tobytes(),
            lambda x: saved(x),
            lambda x: saved(x[:0], *np.split(x, [1, 7, 8, 40]), x[0][:, None][:0].T.reshape(0, 28)),
            lambda x: saved(*x[:5], x[5:].astype(np.float16)),
            lambda x: saved(
                x.T.copy().T,
            ),
            lambda x: saved(x.astype(">f8")),
        ],
        ids=["raw", "npy", "pieces", "frames", "by column", "big endian"],
    )
    def test_forms(self, bytes_of: Callable[[Any], bytes], folder: Path, ctckit: Run) -> None:
        (folder / "x.pipe").write_bytes(bytes_of(np.load(folder / "x.npy")))
        done = ctckit(*self.COMMAND)
        assert (done.returncode, done.stdout, done.stderr) == (0, "the quick brown fox\n", "")

    def test_a_language_and_several_texts(self, folder: Path, ctckit: Run) -> None:
        (folder / "two.pipe").write_bytes(saved(scores_of(*FOX_OR_FAX)))
        command = ("decode", "--stream", "two.pipe", "--labels", "labels.txt", "--lm", "x.arpa", "--nbest", 2)
        streamed = ctckit(*command)
        whole = ctckit("decode", "two.npy", *command[3:])
        assert whole.stdout.startswith("1\t")
        assert (streamed.returncode, streamed.stdout) == (0, "the fox\n" + whole.stdout)
        (folder / "two.pipe").write_bytes(saved(spoken("the dog")[0]))
        (folder / "words.txt").write_text("The\nFOX\nDog\n")
        done = ctckit(*command[:5], "--lexicon", "words.txt")
        assert done.stdout == "The Dog\n"

    def test_a_file_and_the_standard_output(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.pipe").write_bytes(saved(np.load(folder / "x.npy")))
        done = ctckit(*self.COMMAND, "--frame-shift", SHIFT, "-o", "x.json")
        assert done.returncode == 0
        assert done.stdout.splitlines()[0] == "the quick brown fox"
        assert done.stdout.splitlines()[-1] == "wrote x.json"
        starts = [start for start, _ in words_of(folder / "x.json")]
        assert starts == pytest.approx([start for start, _ in spoken("the quick brown fox")[1]], abs=2 * SHIFT)
        out = ctckit(*self.COMMAND, "--frame-shift", SHIFT, "-o", "-", "--format", "ctm")
        assert [row.split(" ")[4] for row in out.stdout.splitlines()] == ["the", "quick", "brown", "fox"]
        assert out.stderr.splitlines()[0] == "the quick brown fox"

    def test_nothing_comes(self, folder: Path, ctckit: Run) -> None:
        for content in (b"", saved(np.zeros((0, 28)))):
            (folder / "x.pipe").write_bytes(content)
            done = ctckit(*self.COMMAND)
            assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")

    @pytest.mark.parametrize(
        ("content", "message", "text"),
        [
            (
                lambda x: x.tobytes()[:-9],
                "ends within a frame: after 103 of its 112 bytes; expected frames of C=28",
                True,
            ),
            (lambda x: saved(x)[:-9], "after 103 of its 112 bytes, and 1 frames of the array are missing", True),
            (lambda x: saved(x) + b"more", "expected another .npy array or the end, found b'more'", True),
            (lambda x: saved(x)[:40], "the header of an .npy array can't be read", False),
            (
                lambda x: saved(x[:, :9]),
                "holds an array of shape (61, 9) and dtype float32: expected floats (t, C), C=28",
                False,
            ),
            (lambda x: saved(x.astype(np.int64)), "and dtype int64: expected floats (t, C), C=28", False),
            (lambda x: saved(x[None]), "holds an array of shape (1, 61, 28)", False),
            (lambda x: saved(np.exp(x)), "are probabilities, each frame's add up to 1", False),
            (lambda x: saved(x + 3), "pass --logits", False),
            (lambda x: saved(x[:5], np.where(np.eye(28)[:4], np.nan, x[:4])), "NaN or +inf in frame 5 of 9", False),
            (lambda x: saved(x)[:6] + b"\x09\x00" + saved(x)[8:], "an .npy array of version 9.0", False),
        ],
    )
    def test_what_is_wrong_with_the_frames(
        self, content: Callable[[Any], bytes], message: str, text: bool, folder: Path, ctckit: Run
    ) -> None:
        """What was said before is printed."""
        scores = np.load(folder / "x.npy")[:61]
        assert len(scores) == 61
        (folder / "x.pipe").write_bytes(content(scores))
        done = ctckit(*self.COMMAND, "--frame-shift", SHIFT, "-o", "no.json")
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout.startswith("the quick") == text
        assert done.stdout.endswith("\n") == bool(done.stdout)
        assert not (folder / "no.json").exists()

    def piped(self, folder: Path, *options: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ctckit", "decode", "--stream", "-", *map(str, (*self.COMMAND[3:], *options))]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        killer = threading.Timer(60, process.kill)  # else a test of what doesn't come would wait for ever
        killer.daemon = True
        killer.start()
        return process

    def test_text_appears_while_frames_come(self, folder: Path) -> None:
        """Each word is there before the frames after the next one are sent."""
        scores, times = spoken("the quick brown fox")
        process = self.piped(folder)
        assert process.stdin is not None
        assert process.stdout is not None
        sent, read = 0, b""
        for word, (_, until) in zip(("the", " quick", " brown"), times[1:], strict=True):
            upto = round(until / SHIFT) + 1
            process.stdin.write(scores[sent:upto].tobytes())
            sent = upto
            while len(read) < len("the quick brown".partition(word)[0] + word):
                read += process.stdout.read(64) or pytest.fail(f"only {read!r} came")
        process.stdin.write(scores[sent:].tobytes())
        out, err = process.communicate()
        assert (process.returncode, read + out, err) == (0, b"the quick brown fox\n", b"")

    def test_the_keyboard_ends_a_recording(self, folder: Path) -> None:
        process = self.piped(folder, "--frame-shift", SHIFT, "-o", "x.json")
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(np.load(folder / "x.npy").tobytes())
        begun = process.stdout.read(3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert (process.returncode, err) == (130, b"")
        assert (begun + out).decode().splitlines()[0] == "the quick brown fox"
        assert json.loads((folder / "x.json").read_text())["text"] == "the quick brown fox"

    @pytest.mark.parametrize("file", [False, True])
    def test_nobody_reads(self, file: bool, folder: Path) -> None:
        """The text's reader has gone: the command ends quietly, or goes on if it has a file to write."""
        process = self.piped(folder, *(("--frame-shift", SHIFT, "-o", "x.json") if file else ()))
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(np.load(folder / "x.npy").tobytes())
        process.stdin.close()
        assert process.stderr is not None
        with process.stderr as told:
            assert told.read() == b""
        assert process.wait() == 1
        assert (folder / "x.json").exists() == file
