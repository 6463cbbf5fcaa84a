"""``ctckit delay``: how late a network is, of scores and of a recording, by marks in files and by pocketsphinx."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from support import ppocr
from support.corpora import write_labels
from support.heard import ENDS, RECORDING, STARTS, WORDS
from support.installed import needs
from support.recordings import SHIFT, spoken

Run = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = {"a": "the quick brown fox", "b": "jumps over the lazy dog"}
SILENCE = 20  # frames before the words, so that all begin after two delays
LATE, SHORT = 0.08, 0.05  # seconds


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Scores of two recordings, and a CTM: words begin 0.08 s before the scores say so, and last 0.05 s longer."""
    rows = []
    for name, text in TEXTS.items():
        log_probs, times = spoken(text, seed=len(text))
        silence = np.full((SILENCE, log_probs.shape[1]), -9.0, np.float32)
        silence[:, 0] = np.log(1 - 27 * np.exp(-9))
        np.save(tmp_path / f"{name}.npy", np.concatenate([silence, log_probs]))
        for word, (start, end) in zip(text.split(), times, strict=True):
            begin = start + SILENCE * SHIFT - LATE
            rows.append(f"{name} 1 {begin:.6f} {end - start + SHORT:.6f} {word.title()}")
    (tmp_path / "words.ctm").write_text("\n".join(rows) + "\n", encoding="utf-8")
    write_labels(tmp_path)
    return tmp_path


OF_SCORES = ("--labels", "labels.txt", "--frame-shift", SHIFT)


class TestScores:
    def test_the_delay_and_the_stretch_that_the_marks_have(self, scores: Path, ctckit: Run) -> None:
        done = ctckit("delay", "a.npy", "b.npy", *OF_SCORES, "--marks", "words.ctm")
        assert (done.returncode, done.stderr) == (0, "")
        lines = done.stdout.splitlines()
        assert lines[0] == f"--delay {LATE} --stretch {SHORT}"
        assert lines[1] == "9 words of 2 recordings, seconds from their marks:"
        rows = {line[:34].strip(): [float(number) for number in line[34:].split()] for line in lines[3:7]}
        assert rows == {
            "starts, as the network says them": [LATE] * 3,
            "starts, with --delay": [0] * 3,
            "ends, with --delay": [SHORT] * 3,
            "ends, with both": [0] * 3,
        }

    def test_files_of_each_recording(self, scores: Path, ctckit: Run) -> None:
        """Beside it, or in a folder."""
        rows = (scores / "words.ctm").read_text(encoding="utf-8").splitlines(keepends=True)
        (scores / "marks").mkdir()
        for name in TEXTS:
            (scores / "marks" / f"{name}.ctm").write_text("".join(row for row in rows if row[0] == name))
        one = ctckit("delay", "a.npy", "b.npy", *OF_SCORES, "--marks", "marks")
        assert (one.returncode, one.stdout.splitlines()[0]) == (0, f"--delay {LATE} --stretch {SHORT}")
        for name in TEXTS:
            shutil.move(scores / "marks" / f"{name}.ctm", scores)
        assert ctckit("delay", "a.npy", "b.npy", *OF_SCORES).stdout == one.stdout

    def test_what_is_farthest_off(self, scores: Path, ctckit: Run) -> None:
        """A word whose mark is 0.06 s too early."""
        ctm = (scores / "words.ctm").read_text(encoding="utf-8")
        start = re.search(r"b 1 (\S+) \S+ Lazy", ctm)
        assert start is not None
        wrong = float(start[1]) - 0.06
        (scores / "words.ctm").write_text(ctm.replace(start[1], f"{wrong:.6f}"), encoding="utf-8")
        done = ctckit("delay", "a.npy", "b.npy", *OF_SCORES, "--marks", "words.ctm")
        assert done.stdout.splitlines()[0].startswith(f"--delay {LATE}")
        assert done.stdout.splitlines()[8] == f"  Lazy of b.npy, at {wrong:.2f} s: 0.060 s late"

    def test_a_recording_with_the_words_of_another_is_left_out(self, scores: Path, ctckit: Run) -> None:
        np.save(scores / "a.npy", np.load(scores / "b.npy"))
        done = ctckit("delay", "a.npy", "b.npy", *OF_SCORES, "--marks", "words.ctm")
        assert (done.returncode, done.stdout.splitlines()[0]) == (0, f"--delay {LATE} --stretch {SHORT}")
        assert done.stdout.splitlines()[1].startswith("5 words of 1 recording,")
        assert done.stderr.startswith("a.npy is left out: ")
        alone = ctckit("delay", "a.npy", *OF_SCORES, "--marks", "words.ctm")
        assert (alone.returncode, alone.stdout) == (2, "")
        assert "no recording is left to compare" in alone.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("a.npy", *OF_SCORES), "a.npy has no marks: expected a.TextGrid or a.ctm; --marks names another folder"),
            (("a.npy", *OF_SCORES, "--marks", "x.ctm"), "x.ctm can't be read"),
            (
                ("a.npy", *OF_SCORES, "--marks", "x"),
                "--marks x is not there: expected a folder, a .ctm, or pocketsphinx",
            ),
            (("c.npy", *OF_SCORES, "--marks", "words.ctm"), "words.ctm has no word of c"),
            (("a.npy", *OF_SCORES, "--marks", "pocketsphinx"), "--marks pocketsphinx goes with --recogniser"),
            (("a.npy", "--labels", "labels.txt"), "--frame-shift is missing"),
            (("a.npy", "--frame-shift", 0.02), "--labels is missing"),
            (("a.npy", "--labels", "labels.txt", "--frame-shift", 0), "--frame-shift 0.0: expected"),
            (("a.wav", "--recogniser", "hama", "--logits"), "--logits does not go with --recogniser"),
        ],
    )
    def test_what_does_not_go_together(
        self, arguments: tuple[object, ...], message: str, scores: Path, ctckit: Run
    ) -> None:
        done = ctckit("delay", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"ctckit: {message}")


@needs("hama", "soundfile", "soxr")
class TestHama:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        shutil.copy(RECORDING, tmp_path / "go forward.flac")
        return tmp_path

    def test_a_textgrid(self, folder: Path, ctckit: Run) -> None:
        """Three words count: their starts are late by 0.1 s, within a few frames."""
        tgt = pytest.importorskip("tgt", reason="writes the TextGrid")
        intervals = [tgt.Interval(*times) for times in zip(STARTS, ENDS, WORDS.split(), strict=True)]
        grid = tgt.TextGrid()
        grid.add_tier(tgt.IntervalTier(0, 2.8, "words", intervals))
        tgt.write_to_file(grid, str(folder / "go forward.TextGrid"), encoding="utf-8")
        done = ctckit("delay", "go forward.flac", "--recogniser", "hama")
        assert (done.returncode, done.stderr) == (0, "")
        found = re.match(r"--delay (\S+) --stretch (\S+)\n4 words of 1 recording,", done.stdout)
        assert found is not None
        assert float(found[1]) == pytest.approx(0.1, abs=0.06)
        assert 0 < float(found[2]) < 0.5

    @needs("pocketsphinx")
    def test_pocketsphinx(self, folder: Path, ctckit: Run) -> None:
        (folder / "go forward.txt").write_text("Go forward, ten meters.\n", encoding="utf-8")
        shutil.copy(RECORDING, folder / "other.flac")
        (folder / "other.txt").write_text("Go forward, 10 metres\n", encoding="utf-8")
        command = ("delay", "go forward.flac", "other.flac", "--recogniser", "hama", "--marks", "pocketsphinx")
        done = ctckit(*command)
        assert done.returncode == 0
        assert done.stderr == "other.flac is left out: pocketsphinx's dictionary lacks '10'\n"
        assert done.stdout.splitlines()[1].startswith("4 words of 1 recording,")
        (folder / "other.txt").unlink()
        done = ctckit(*command)
        assert (done.returncode, done.stderr) == (2, "ctckit: other.txt can't be read: No such file or directory\n")


@needs(*ppocr.PACKAGES)
def test_images_have_no_seconds(ctckit: Run) -> None:
    done = ctckit("delay", "x.png", "--recogniser", "pp-ocr")
    assert (done.returncode, done.stderr.startswith("ctckit: --recogniser pp-ocr reads images: expected")) == (2, True)
