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
import numpy.typing as npt
import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from ctckit.annotate.corpus import LOCK, Corpus, suffixes
from ctckit.annotate.manifest import Defaults
from ctckit.cli import main
from ctckit.errors import CTCError, MissingExtraError

LABELS = ["φ", " ", *"abcdefghijklmnopqrstuvwxyz"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
SHIFT = 0.02


def spoken(text: str, seed: int = 0) -> tuple[npt.NDArray[np.float32], list[tuple[float, float]]]:
    """Log-probabilities that say a text, and the words' times."""
    rng = np.random.default_rng(seed)
    frames, starts, ends = [0] * 3, [], []
    for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if before == " ":
            starts.append(len(frames) * SHIFT)
        frames += [LABELS.index(letter)] * int(rng.integers(1, 3))
        if after == " ":
            ends.append(len(frames) * SHIFT)
        frames += [0] * int(rng.integers(1, 4))
    logits = rng.normal(size=(len(frames), len(LABELS)))
    logits[np.arange(len(frames)), frames] += 9
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs.astype(np.float32), list(zip(starts, ends, strict=True))


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ctckit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs the command in the test's folder, as a shell does but for a new process."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["ctckit", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        if isinstance(code, str):
            return subprocess.CompletedProcess(arguments, 1, out, f"{err}{code}\n")
        return subprocess.CompletedProcess(arguments, code or 0, out, err)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One recording, and the labels."""
    np.save(tmp_path / "x.npy", spoken("the quick brown fox")[0])
    (tmp_path / "x.txt").write_text("The quick,\nbrown fox!\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    return tmp_path


ONE = ("align", "x.npy", "x.txt", "--labels", "labels.txt", "--frame-shift", SHIFT)


class TestOneRecording:
    def test_words_times_and_summary(self, folder: Path, ctckit: Run) -> None:
        done = ctckit(*ONE, "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        first, second, third = done.stdout.splitlines()
        assert first.startswith("4 words; mean confidence 1.000")
        assert second.startswith("least sure: ")
        assert third == "wrote out.json"
        read = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        assert [line["text"] for line in read["lines"]] == ["The quick,", "brown fox!"]
        words = [word for line in read["lines"] for word in line["words"]]
        _, times = spoken("the quick brown fox")
        for word, (start, end) in zip(words, times, strict=True):
            assert (word["start"], word["end"]) == pytest.approx((start, end))

    @pytest.mark.parametrize("suffix", ["TextGrid", "srt", "vtt", "ass", "ctm", "csv", "tsv", "txt"])
    def test_every_format(self, suffix: str, folder: Path, ctckit: Run) -> None:
        for package in ("praatio", "pysubs2"):
            pytest.importorskip(package, reason="an extra writes these")
        done = ctckit(*ONE, "-o", f"out.{suffix}")
        assert (done.returncode, done.stderr) == (0, "")
        assert "fox!" in re.sub(r"\{.*?\}", "", (folder / f"out.{suffix}").read_text(encoding="utf-8"))

    def test_what_is_not_in_the_vocabulary_is_told(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("the quick 7 brown fox", encoding="utf-8")
        np.save(folder / "x.npy", spoken("the quick seven brown fox")[0])
        done = ctckit(*ONE, "-o", "out.csv")
        assert done.returncode == 0
        assert "'7' is not in the vocabulary" in done.stderr

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
        ):
            bad = ctckit(*ONE, "-o", "y.csv", "--picture", *options)
            assert bad.returncode == 1, options
            assert len(bad.stderr.splitlines()) == 1
        assert sorted(folder.iterdir()) == before

    def test_logits(self, folder: Path, ctckit: Run) -> None:
        np.save(folder / "x.npy", 3 + spoken("the quick brown fox")[0])
        raw = ctckit(*ONE, "-o", "out.csv")
        assert raw.returncode == 1
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
            ([*ONE, "-o", "y.csv", "--threads", "2"], 2, "--format and --threads go with --manifest"),
            ([*ONE, "-o", "y.csv", "--image", "a.png"], 2, "--audio and --image are for --picture"),
            ([*ONE, "-o", "y.doc"], 1, "expected one of .TextGrid, .srt"),
            ([*ONE, "-o", "no/y.csv", "--picture", "x.svg"], 1, "can't be written: there is no folder no"),
            ([*ONE, "-o", "y.csv", "--picture", "no/x.svg"], 1, "can't be written: there is no folder no"),
            ([*ONE, "-o", "y.csv", "--lang", "fr"], 1, "lang = 'fr' is unknown"),
            ([*ONE, "-o", "y.csv", "--extend", "-1"], 1, "extend = -1: expected a number of frames"),
            ([*ONE, "-o", "y.csv", "--blank", "99"], 1, "labels.txt: blank = 99"),
            ([*ONE[:-1], "-1", "-o", "y.csv"], 1, "expected seconds from one frame to the next"),
            (["align", "no.npy", *ONE[2:], "-o", "y.csv"], 1, "no.npy"),
            (["align", "x.npy", "no.txt", *ONE[3:], "-o", "y.csv"], 1, "no.txt can't be read"),
            (["align", "x.npy", "empty.txt", *ONE[3:], "-o", "y.csv"], 1, "the text has no character"),
            (["align", "x.npy", "long.txt", *ONE[3:], "-o", "y.csv"], 1, "are they of the same recording?"),
            (["align", "narrow.npy", *ONE[2:], "-o", "y.csv"], 1, "have C=3 classes and there are 28 labels"),
            (["align", "turned.npy", *ONE[2:], "-o", "y.csv"], 1, "classes and there are 28 labels: transpose them"),
            (["align", "two.npy", *ONE[2:], "-o", "y.csv"], 1, "several recordings, of shape (4, 2, 3): expected one"),
            (["align", "nan.npy", *ONE[2:], "-o", "y.csv"], 1, "the emissions have NaN or +inf in frame 7 of "),
            (["align", "probs.npy", *ONE[2:], "-o", "y.csv"], 1, "are probabilities, each frame's add up to 1"),
            (["align", "probs.npy", *ONE[2:], "-o", "y.csv", "--logits"], 1, "expected their logarithms"),
            ([*ONE, "-o", "x.txt"], 1, "x.txt is an input, and would be written over"),
            ([*ONE, "-o", "../" * 9 + "proc/self/cwd/labels.txt"], 1, "labels.txt is an input"),
            ([*ONE, "--picture", "a.png", "--image", "a.png"], 1, "a.png is an input"),
            ([*ONE[:-1], "9" * 400, "-o", "y.csv"], 1, "expected seconds from one frame to the next"),
            (["align", "x.npy", "latin.txt", *ONE[3:], "-o", "y.csv"], 1, "latin.txt is no UTF-8 text"),
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


# --- a corpus ---------------------------------------------------------------------------------------------------------


def corpus_of(folder: Path, count: int) -> list[dict[str, Any]]:
    """A corpus of short recordings; the rows of its manifest, which is written too."""
    rng = random.Random(1)
    rows = []
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    for i in range(count):
        text = " ".join(rng.choices(WORDS, k=3))
        np.save(folder / f"{i}.npy", spoken(text, i)[0])
        rows.append({"id": f"row {i}", "emissions": f"{i}.npy", "text": text})
    manifest(folder, rows)
    return rows


def manifest(folder: Path, rows: list[Any]) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def aligning(folder: Path, out: str = "out", formats: str = "json,csv") -> Corpus:
    defaults = Defaults(folder / "labels.txt", SHIFT)
    return Corpus(folder / "corpus.jsonl", folder / out, suffixes(formats), defaults=defaults)


CORPUS = ("align", "--manifest", "corpus.jsonl", "--labels", "labels.txt", "--frame-shift", SHIFT)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def errors(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]

    def test_a_word_does_not_move_the_cursor(self, folder: Path, ctckit: Run) -> None:
        (folder / "x.txt").write_text("the\x1b[2J", encoding="utf-8")
        done = ctckit(*ONE, "-o", "out.json")
        assert done.returncode == 0
        assert "the\ufffd[2J" in done.stdout
        assert "\x1b" not in done.stdout + done.stderr

    def test_text_of_another_alphabet(self, folder: Path, ctckit: Run) -> None:
        """Some stars are fine, and told, though not by the thousand; nothing but stars is the wrong text."""
        (folder / "x.txt").write_text("the " + "7 " * 2 + "\n7" * 12, encoding="utf-8")
        done = ctckit(*ONE, "-o", "out.json")
        assert done.returncode == 0
        told = done.stderr.splitlines()
        assert len(told) == 11
        assert told[-1] == "and 4 more like these"
        (folder / "x.txt").write_text("猫在桌子上\n", encoding="utf-8")
        done = ctckit(*ONE, "-o", "other.json")
        assert done.returncode == 1
        assert "has no character that the labels can spell" in done.stderr
        assert not (folder / "other.json").exists()


class TestCorpus:
    def test_two_thousand_rows(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2000)
        seen: list[tuple[int, int, int]] = []
        outcome = aligning(tmp_path).run(2, lambda *now: seen.append(now))
        assert tuple(outcome) == (2000, 0, 0, 0)
        assert seen == [(i, 0, 2000) for i in range(2001)]
        assert len(contents(tmp_path / "out")) == 2 * len(rows) + 1
        again = aligning(tmp_path).run(2)
        assert tuple(again) == (0, 2000, 0, 0)

    def test_threads_change_nothing(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 40)
        aligning(tmp_path, "one").run(1)
        aligning(tmp_path, "three").run(3)
        assert contents(tmp_path / "one") == contents(tmp_path / "three")

    def test_only_a_few_rows_are_read_ahead(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from ctckit.annotate import corpus

        corpus_of(tmp_path, 60)
        read: list[Path] = []
        whole = corpus.read_scores
        monkeypatch.setattr(corpus, "read_scores", lambda path: (read.append(path), whole(path))[1])
        aligning(tmp_path).run(2, lambda done, bad, rows: time.sleep(0.002))
        ahead: list[int] = []
        read.clear()
        aligning(tmp_path, "again").run(2, lambda done, bad, rows: (time.sleep(0.002), ahead.append(len(read) - done)))
        assert max(ahead) <= corpus.AHEAD * 2

    def test_command(self, tmp_path: Path, ctckit: Run) -> None:
        rows = corpus_of(tmp_path, 5)
        good = ctckit(*CORPUS, "--out", "out", "--threads", 2)
        assert (good.returncode, good.stdout, good.stderr) == (0, "5 rows aligned, 0 bad\n", "")
        assert sorted(contents(tmp_path / "out")) == ["done.jsonl", *(f"row {i}.json" for i in range(5))]
        manifest(tmp_path, [*rows, {"id": "new", "emissions": "no.npy", "text": "a"}])
        bad = ctckit(*CORPUS, "--out", "out")
        assert (bad.returncode, bad.stdout, bad.stderr) == (
            1,
            f"0 rows aligned, 5 were before, 1 bad: see {Path('out/errors.jsonl')}\n",
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
            (["align", "x.npy", *CORPUS[1:], "--out", "new"], "EMISSIONS is for one recording"),
            ([*CORPUS, "--out", "new", "--picture", "x.png"], "--picture is for one recording"),
            ([*CORPUS, "--out", "new", "--format", "doc"], "expected one of .TextGrid"),
            ([*CORPUS, "--out", "new", "--format", "json,JSON"], "expected each format once"),
            ([*CORPUS, "--out", "new", "--threads", "0"], "--threads 0: expected at least 1"),
            ([*CORPUS, "--out", "new", "--extend", "-1"], "extend = -1"),
            ([*CORPUS, "--out", "labels.txt"], "labels.txt is a file: expected a folder"),
            (["align", "--manifest", "no.jsonl", "--out", "new"], "no.jsonl can't be read"),
            ([*CORPUS, "--out", "new", "--labels", "no.txt"], "no.txt can't be read"),
            ([*CORPUS, "--out", "used"], "is there, and no alignment wrote it"),
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

    def test_bad_rows(self, tmp_path: Path) -> None:
        good = corpus_of(tmp_path, 4)
        one = {"emissions": "0.npy", "text": "the fox"}
        (tmp_path / "cut.npy").write_bytes((tmp_path / "0.npy").read_bytes()[:200])
        bad: list[tuple[Any, str | None, str]] = [
            ("{", None, "the line is no JSON"),
            ("[1]", None, "the line is a list: expected an object"),
            (one, None, "id is None: expected a string"),
            ({**one, "id": 7}, None, "id is 7: expected a string"),
            ({**one, "id": "../x"}, "../x", "has '/'"),
            ({**one, "id": "a\\b"}, "a\\b", "it names files"),
            ({**one, "id": ".."}, "..", "begins with a dot"),
            ({**one, "id": "x" * 300}, "x" * 300, "has 300 bytes"),
            ({**one, "id": "row 1"}, "row 1", "is that of line 1"),
            ({**one, "id": "ROW 1"}, "ROW 1", "not told apart by all disks from 'row 1'"),
            ({"id": "a", "text": "a"}, "a", "'emissions' is missing"),
            ({"id": "b", "emissions": "0.npy"}, "b", "expected either 'text'"),
            ({**one, "id": "c", "frameshift": 1}, "c", "'frameshift' is unknown: expected id,"),
            ({**one, "id": "d", "frame_shift": "1"}, "d", "'frame_shift' is '1': expected seconds"),
            ({**one, "id": "e", "frame_shift": 0}, "e", "frame_shift = 0: expected seconds"),
            ({**one, "id": "e2", "frame_shift": 10**400}, "e2", "expected seconds from one frame to the next"),
            ({**one, "id": "f", "blank": True}, "f", "'blank' is True"),
            ({**one, "id": "g", "labels": "no.txt"}, "g", "no.txt can't be read"),
            ({**one, "id": "h", "text": 3}, "h", "'text' is 3: expected a string"),
            ({"id": "i", "emissions": "0.npy", "transcript": "no.txt"}, "i", "no.txt can't be read"),
            ({**one, "id": "j", "emissions": "cut.npy"}, "j", "cut.npy is no readable .npy file"),
            ({**one, "id": "k", "text": "z" * 400}, "k", "are they of the same recording?"),
            ({**one, "id": "l", "text": "a \ud800"}, "l", "U+D800"),
        ]
        manifest(tmp_path, [good[1], *(row for row, _, _ in bad), *good[2:]])
        for _ in range(2):
            outcome = aligning(tmp_path).run(2)
            assert outcome.bad == len(bad)
            told = errors(tmp_path / "out")
            assert [(row["id"], row["line"]) for row in told] == [(id, i) for i, (_, id, _) in enumerate(bad, start=2)]
            for row, (_, _, reason) in zip(told, bad, strict=True):
                assert reason in row["reason"], row
            names = {f"row {i}.{suffix}" for i in (1, 2, 3) for suffix in ("json", "csv")}
            assert set(contents(tmp_path / "out")) == {"done.jsonl", "errors.jsonl"} | names
        assert (outcome.now, outcome.before) == (0, 3)

    def test_rows_speak_for_themselves(self, tmp_path: Path) -> None:
        """Labels, blank and frame shift of a row, its text in a file, a note, a mark that editors write."""
        (tmp_path / "deep").mkdir()
        corpus_of(tmp_path, 1)
        other = [*LABELS[1:], "φ"]
        (tmp_path / "deep" / "other.txt").write_text("\n".join(other), encoding="utf-8")
        (tmp_path / "deep" / "text.txt").write_text("The fox 8", encoding="utf-8-sig")
        np.save(tmp_path / "deep" / "y.npy", np.roll(spoken("the fox eight")[0], -1, axis=1))
        row = {"id": "y", "emissions": "y.npy", "transcript": "text.txt", "labels": "other.txt", "blank": 27}
        (tmp_path / "deep" / "m.jsonl").write_text(
            "\ufeff\n" + json.dumps({**row, "frame_shift": 1}) + "\r\n\n", "utf-8"
        )
        Corpus(tmp_path / "deep" / "m.jsonl", tmp_path / "out", (".json",)).run()
        read = json.loads((tmp_path / "out" / "y.json").read_text(encoding="utf-8"))
        _, times = spoken("the fox eight")
        assert [word["start"] for word in read["lines"][0]["words"]] == [round(start / SHIFT) for start, _ in times]
        done = json.loads((tmp_path / "out" / "done.jsonl").read_text().splitlines()[1])
        assert done["notes"] == ["line 1: '8' is not in the vocabulary: it matches anything"]
        assert done["words"] == 3

    def test_an_output_never_overwrites_an_input(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 2)
        text = rows[0].pop("text")
        (tmp_path / "row 1.txt").write_text(text)
        rows[0]["transcript"] = "row 1.txt"  # Audacity's labels of the other row would go there
        manifest(tmp_path, rows)
        outcome = Corpus(
            tmp_path / "corpus.jsonl", tmp_path, (".txt",), defaults=Defaults(tmp_path / "labels.txt", 1)
        ).run()
        assert tuple(outcome) == (1, 0, 1, 0)
        assert "is an input" in errors(tmp_path)[0]["reason"]
        assert (tmp_path / "row 1.txt").read_text() == text


class TestGoingOn:
    def test_stopped_by_the_keyboard(self, tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(Corpus, "run", stopped)
        corpus_of(tmp_path, 1)
        done = ctckit(*CORPUS, "--out", "out")
        assert done.returncode == 130
        assert done.stderr == "stopped; the same command goes on where this one ended, in out\n"

    def test_what_changed_is_done_again(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 6)
        aligning(tmp_path).run()
        (tmp_path / "out" / "row 0.csv").unlink()
        (tmp_path / "out" / "row 1.json").write_text("")  # as after a loss of power
        rows[2]["text"] = "the fox"
        np.save(tmp_path / "3.npy", spoken(rows[3]["text"], seed=99)[0])
        manifest(tmp_path, rows)
        assert tuple(aligning(tmp_path).run()) == (4, 2, 0, 0)
        aligning(tmp_path, "new").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "new")

    def test_bad_rows_are_tried_again(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        fitting = rows[1]["text"]
        rows[1]["text"] = "z" * 300
        manifest(tmp_path, rows)
        assert tuple(aligning(tmp_path).run()) == (2, 0, 1, 0)
        rows[1]["text"] = fitting
        manifest(tmp_path, rows)
        assert tuple(aligning(tmp_path).run()) == (1, 2, 0, 0)
        aligning(tmp_path, "new").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "new")

    def test_a_row_that_turns_bad_leaves_no_old_files(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 3)
        aligning(tmp_path).run()
        rows[1]["text"] = "z" * 300
        manifest(tmp_path, rows)
        assert tuple(aligning(tmp_path).run()) == (0, 2, 1, 0)
        assert not [name for name in contents(tmp_path / "out") if name.startswith("row 1")]

    def test_a_row_whose_emissions_are_gone_keeps_its_files(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 3)
        aligning(tmp_path).run()
        before = contents(tmp_path / "out")
        (tmp_path / "1.npy").unlink()
        assert tuple(aligning(tmp_path).run()) == (0, 2, 1, 0)
        assert contents(tmp_path / "out")["row 1.json"] == before["row 1.json"]

    def test_a_folder_that_can_not_be_locked(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 1)
        (tmp_path / "out" / LOCK).mkdir(parents=True)
        with pytest.raises(CTCError, match=r"out can't be worked in: \.lock: "):
            aligning(tmp_path).run()

    def test_another_run_at_work_is_left_alone(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 30)
        refused = []

        def second(*_: int) -> None:
            if not refused:
                with pytest.raises(CTCError, match="another run is at work in") as error:
                    aligning(tmp_path).run()
                refused.append(error)

        assert tuple(aligning(tmp_path).run(2, second)) == (30, 0, 0, 0)
        assert refused
        aligning(tmp_path, "calm").run()
        assert contents(tmp_path / "out") == contents(tmp_path / "calm")
        assert tuple(aligning(tmp_path).run()) == (0, 30, 0, 0)

    def test_a_log_that_was_cut_off(self, tmp_path: Path) -> None:
        corpus_of(tmp_path, 5)
        aligning(tmp_path).run()
        log = tmp_path / "out" / "done.jsonl"
        whole = contents(tmp_path / "out")
        first = whole["done.jsonl"].index(b"\n") + 1
        for size in range(first, len(whole["done.jsonl"]), 37):
            log.write_bytes(whole["done.jsonl"][:size])
            (tmp_path / "out" / "row 2.json12345678.tmp").write_text("half")
            aligning(tmp_path).run()
            assert contents(tmp_path / "out") == whole

    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        rows = corpus_of(tmp_path, 300)
        rows[17]["text"] = "z" * 300
        rows[251]["emissions"] = "no.npy"
        manifest(tmp_path, rows)
        code = "from ctckit.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, CORPUS), "--format", "json,csv", "--threads", "2", "--out"]
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


def test_a_missing_package_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="praatio"):
        suffixes("json,TextGrid")
