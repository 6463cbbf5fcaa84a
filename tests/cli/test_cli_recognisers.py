"""``ctckit align`` and ``decode`` of recordings and images, by recognisers; and the delay of frames."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from support import ppocr
from support.corpora import words_of, write_labels
from support.heard import RECORDING, STARTS
from support.installed import needs
from support.recordings import SHIFT, spoken

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(RECORDING, tmp_path / "speech.flac")
    (tmp_path / "text.txt").write_text("Go forward\nten meters.\n", encoding="utf-8")
    return tmp_path


SPEECH = ("align", "speech.flac", "text.txt", "--recogniser", "hama")


@needs("hama", "soundfile", "soxr")
class TestSound:
    def test_words_and_phones_in_time(self, folder: Path, ctckit: Run) -> None:
        done = ctckit(*SPEECH, "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[2].endswith("what the network reads: 'ɡo fɔɹwɝ tɛn mitɝz'")
        read = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        assert read["delay"] == 0.1
        assert "unit" not in read
        assert [line["text"] for line in read["lines"]] == ["Go forward", "ten meters."]
        np.testing.assert_allclose([start for start, _ in words_of(folder / "out.json")], STARTS, atol=0.1)
        phones = [token["text"] for line in read["lines"] for word in line["words"] for token in word["tokens"]]
        assert phones == [*"ɡofɔɹwɝdtɛnmitɝz"]

    def test_a_textgrid(self, folder: Path, ctckit: Run) -> None:
        pytest.importorskip("praatio", reason="the extra align writes these")
        assert ctckit(*SPEECH, "-o", "out.TextGrid").returncode == 0
        written = (folder / "out.TextGrid").read_text(encoding="utf-8")
        assert 'text = "forward"' in written
        assert 'text = "ɝ"' in written

    def test_another_delay(self, folder: Path, ctckit: Run) -> None:
        def starts(*options: object) -> list[float]:
            assert ctckit(*SPEECH, "-o", "out.json", *options).returncode == 0
            return [start for start, _ in words_of(folder / "out.json")]

        assert starts("--delay", 0) == pytest.approx([start + 0.1 for start in starts()])

    def test_decodes(self, folder: Path, ctckit: Run) -> None:
        done = ctckit("decode", "speech.flac", "--recogniser", "hama")
        assert (done.returncode, done.stdout) == (0, "ɡo fɔɹwɝ tɛn mitɝz\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "text.txt"), "--labels does not go with --recogniser, which knows its own"),
        (("--frame-shift", 0.02), "--frame-shift does not go with --recogniser"),
        (("--blank", 0), "--blank does not go with --recogniser"),
        (("--logits",), "--logits does not go with --recogniser"),
        (("--delay", -1), "--delay -1.0: expected"),
    ],
)
def test_options_that_do_not_go_together(options: tuple[object, ...], message: str, folder: Path, ctckit: Run) -> None:
    done = ctckit(*SPEECH, "-o", "out.json", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ctckit: {message}")
    assert not (folder / "out.json").exists()


def test_a_manifest_names_scores(folder: Path, ctckit: Run) -> None:
    for command in ("align", "decode"):
        done = ctckit(command, "--manifest", "text.txt", "--recogniser", "hama", "-o", "out")
        assert (done.returncode, "--recogniser is for one recording" in done.stderr) == (2, True)


def test_what_can_not_be_read(folder: Path, ctckit: Run) -> None:
    done = ctckit("align", "x.wav", "text.txt", "--recogniser", "hama", "-o", "out.json")
    assert (done.returncode, done.stderr) == (2, "ctckit: x.wav can't be read: No such file or directory\n")
    done = ctckit("decode", "speech.flac", "--recogniser", "whisper")
    assert done.returncode == 2
    assert done.stderr.startswith("ctckit: --recogniser whisper is unknown: expected hama, pp-ocr, or a folder")


@needs(*ppocr.PACKAGES)
class TestImages:
    TEXT = "Hello world 2026"

    @pytest.fixture
    def line(self, tmp_path: Path) -> Path:
        from PIL import Image

        pixels = ppocr.draw(self.TEXT, 0, np.random.default_rng(0))
        image = Image.fromarray((pixels * 255).astype(np.uint8))
        image.resize((2 * image.width, 2 * image.height)).save(tmp_path / "line.png")
        return tmp_path / "line.png"

    def test_reads_a_line(self, line: Path, ctckit: Run) -> None:
        done = ctckit("decode", "line.png", "--recogniser", "pp-ocr")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{self.TEXT}\n", "")

    @pytest.mark.parametrize("command", [("decode", "line.png"), ("align", "line.png", "text.txt")])
    def test_places_are_pixels_of_the_file(self, command: tuple[str, ...], line: Path, ctckit: Run) -> None:
        (line.parent / "text.txt").write_text(self.TEXT, encoding="utf-8")
        done = ctckit(*command, "--recogniser", "pp-ocr", "-o", "out.json")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((line.parent / "out.json").read_text(encoding="utf-8"))["unit"] == "pixels"
        starts = [start for start, _ in words_of(line.parent / "out.json")]
        widths = [ppocr.draw(text, 0, np.random.default_rng(0)).shape[1] for text in ("", "Hello ", "Hello world ")]
        drawn = [2 * (width - ppocr.MARGIN) for width in widths]
        np.testing.assert_allclose(starts, drawn, atol=2 * ppocr.FONT_SIZE / 2)

    def test_pixels_are_no_seconds(self, line: Path, ctckit: Run) -> None:
        done = ctckit("decode", "line.png", "--recogniser", "pp-ocr", "-o", "out.srt")
        assert done.returncode == 2
        assert "out.srt would hold seconds, and places in an image are pixels: expected .json, .csv" in done.stderr
        assert not (line.parent / "out.srt").exists()


# --- the delay of anyone's network ------------------------------------------------------------------------------------


class TestDelay:
    @pytest.fixture
    def scores(self, tmp_path: Path) -> Path:
        np.save(tmp_path / "x.npy", spoken("the quick brown fox")[0])
        (tmp_path / "x.txt").write_text("The quick brown fox", encoding="utf-8")
        write_labels(tmp_path)
        return tmp_path

    @pytest.mark.parametrize("command", [("align", "x.npy", "x.txt"), ("decode", "x.npy")])
    def test_all_times_are_earlier(self, command: tuple[str, ...], scores: Path, ctckit: Run) -> None:
        """From the second delay on; before that they are halved, so that nothing begins before the recording."""
        options = ("--labels", "labels.txt", "--frame-shift", SHIFT, "-o", "out.json")
        done = ctckit(*command, *options, "--delay", 0.08)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads((scores / "out.json").read_text(encoding="utf-8"))["delay"] == 0.08
        wanted = [[t - min(0.08, t / 2) for t in word] for word in spoken("the quick brown fox")[1]]
        assert words_of(scores / "out.json") == [pytest.approx(word) for word in wanted]

    def test_cues_are_when_it_is_said(self, scores: Path, ctckit: Run) -> None:
        """With a delay of d, the frames of d later than a subtitle's times are searched."""
        late = 15
        silence = np.full((late, 28), -9.0)
        silence[:, 0] = -0.01
        np.save(scores / "x.npy", np.concatenate([silence, spoken("the quick brown fox")[0]]))
        times = spoken("the quick brown fox")[1]
        begin, end = (f"00:00:{time:06.3f}" for time in (times[1][0], times[-1][1]))
        (scores / "x.vtt").write_text(f"WEBVTT\n\n{begin} --> {end}\nquick brown fox\n", encoding="utf-8")
        command = ("align", "x.npy", "x.vtt", "--labels", "labels.txt", "--frame-shift", SHIFT, "--cue-times")
        assert ctckit(*command, "-o", "out.json", "--delay", late * SHIFT).returncode == 0
        found = words_of(scores / "out.json")
        assert found[1:] == [pytest.approx(word) for word in times[2:]]

    def test_a_corpus(self, scores: Path, ctckit: Run) -> None:
        row = {"id": "a", "emissions": "x.npy", "text": "The quick brown fox"}
        (scores / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
        options = ("--manifest", "rows.jsonl", "--labels", "labels.txt", "--frame-shift", SHIFT, "-o", "out")
        assert ctckit("align", *options, "--delay", 0.06).returncode == 0
        assert json.loads((scores / "out" / "a.json").read_text(encoding="utf-8"))["delay"] == 0.06
