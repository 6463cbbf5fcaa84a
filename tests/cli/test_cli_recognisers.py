"""``ctckit align`` and ``decode`` of recordings and images, by recognisers; and the delay of frames."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from support import ears, ppocr
from support.corpora import contents, errors, log_of, words_of, write_labels
from support.drawn_pages import draw_page
from support.heard import RECORDING, STARTS
from support.installed import needs
from support.recordings import SHIFT, spoken

from ctckit.recognisers import named

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
        assert (read["delay"], read["stretch"]) == (0.1, 0.25)
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

    def test_another_stretch(self, folder: Path, ctckit: Run) -> None:
        """By default hama's: a word ends with the next one's beginning, or 0.25 s after its last spike."""

        def read(*options: object) -> list[tuple[float, float]]:
            assert ctckit(*SPEECH, "-o", "out.json", *options).returncode == 0
            return words_of(folder / "out.json")

        own, spikes = read(), read("--stretch", 0)
        assert [start for start, _ in own] == [start for start, _ in spikes]
        following = [*(start for start, _ in own[1:]), 9.0]
        assert [end for _, end in own] == pytest.approx(
            [min(end + 0.25, begin) for (_, end), begin in zip(spikes, following, strict=True)]
        )
        assert "stretch" not in json.loads((folder / "out.json").read_text(encoding="utf-8"))

    def test_the_recording_is_drawn(self, folder: Path, ctckit: Run) -> None:
        """Without being named again, in the format that it has."""
        pytest.importorskip("matplotlib", reason="pictures need matplotlib")
        for command in (SPEECH, ("decode", "speech.flac", "--recogniser", "hama")):
            done = ctckit(*command, "--picture", "out.svg")
            assert done.returncode == 0, done.stderr
            drawn = (folder / "out.svg").read_text(encoding="utf-8")
            assert drawn.count("<image") == 2  # the spectrogram, and the probabilities
            assert 'id="FillBetweenPolyCollection' in drawn or 'id="PolyCollection' in drawn  # the waveform
            (folder / "out.svg").unlink()

    @pytest.mark.parametrize("option", ["--audio", "--image"])
    def test_no_other_recording_is_drawn(self, option: str, folder: Path, ctckit: Run) -> None:
        done = ctckit(*SPEECH, "--picture", "out.svg", option, "speech.flac")
        assert done.returncode == 2
        assert f"{option} does not go with --recogniser, whose own recording or image is drawn" in done.stderr

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
        (("--stretch", -1), "--stretch -1.0: expected"),
    ],
)
def test_options_that_do_not_go_together(options: tuple[object, ...], message: str, folder: Path, ctckit: Run) -> None:
    done = ctckit(*SPEECH, "-o", "out.json", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ctckit: {message}")
    assert not (folder / "out.json").exists()


@needs("hama", "soundfile", "soxr")
def test_a_folder_of_real_recordings(folder: Path, ctckit: Run) -> None:
    (folder / "rec" / "x").mkdir(parents=True)
    for name in ("rec/a", "rec/x/a"):
        shutil.copy(RECORDING, folder / f"{name}.flac")
        shutil.copy(folder / "text.txt", folder / f"{name}.txt")
    done = ctckit("align", "rec", "--recogniser", "hama", "-o", "out", "--threads", 2)
    assert (done.returncode, done.stdout) == (0, "2 rows aligned, 0 failed\n")
    for name in ("a", "x_a"):
        written = folder / "out" / f"{name}.json"
        assert json.loads(written.read_text(encoding="utf-8"))["delay"] == 0.1
        np.testing.assert_allclose([start for start, _ in words_of(written)], STARTS, atol=0.1)


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
        np.testing.assert_allclose(starts, drawn, atol=6)  # the blank beside letters

    def test_pixels_are_no_seconds(self, line: Path, ctckit: Run) -> None:
        done = ctckit("decode", "line.png", "--recogniser", "pp-ocr", "-o", "out.srt")
        assert done.returncode == 2
        assert "out.srt would hold seconds, and places in an image are pixels: expected .json, .csv" in done.stderr
        assert not (line.parent / "out.srt").exists()


PAGE = ("The network reads one line", "at a time, so a page is", "", "cut into lines first.", "No dots are lost: i, j")
LINES = tuple(line for line in PAGE if line)


@needs(*ppocr.PACKAGES)
class TestPages:
    @pytest.fixture
    def page(self, tmp_path: Path) -> Path:
        """A page, and its text."""
        draw_page(PAGE).save(tmp_path / "page.png")
        (tmp_path / "page.txt").write_text("\n".join(PAGE), encoding="utf-8")
        return tmp_path

    def test_reads_lines(self, page: Path, ctckit: Run) -> None:
        done = ctckit("decode", "page.png", "--recogniser", "pp-ocr")
        assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, [*LINES], "")

    @pytest.mark.parametrize("command", [("decode", "page.png"), ("align", "page.png", "page.txt")])
    def test_boxes_and_a_picture(self, command: tuple[str, ...], page: Path, ctckit: Run) -> None:
        done = ctckit(*command, "--recogniser", "pp-ocr", "-o", "out.json", "--picture", "out.svg")
        assert (done.returncode, done.stderr) == (0, "")
        assert "px)" in done.stdout
        read = json.loads((page / "out.json").read_text(encoding="utf-8"))
        assert [line["text"] for line in read["lines"]] == [*LINES]
        boxes = [[line[key] for key in ("start", "top", "end", "bottom")] for line in read["lines"]]
        np.testing.assert_allclose(boxes, draw_page(PAGE).boxes, atol=1)
        drawn = (page / "out.svg").read_text(encoding="utf-8")
        assert "<image" in drawn
        assert ">network</text>" in drawn

    def test_a_table(self, page: Path, ctckit: Run) -> None:
        assert ctckit("decode", "page.png", "--recogniser", "pp-ocr", "-o", "out.csv").returncode == 0
        lines = (page / "out.csv").read_text(encoding="utf-8").splitlines()
        assert lines[0].endswith("start,end,score,confidence,top,bottom")

    def test_texts_of_other_pages(self, page: Path, ctckit: Run) -> None:
        (page / "page.txt").write_text("\n".join(LINES[:3]), encoding="utf-8")
        done = ctckit("align", "page.png", "page.txt", "--recogniser", "pp-ocr", "-o", "out.json")
        assert done.returncode == 2
        assert done.stderr.startswith("ctckit: the page has 4 lines and the text 3: expected equally many")
        assert not (page / "out.json").exists()

    @pytest.mark.parametrize("option", ["--delay", "--stretch"])
    def test_images_have_no_times(self, option: str, page: Path, ctckit: Run) -> None:
        for command in (("decode", "page.png"), ("align", "page.png", "page.txt")):
            done = ctckit(*command, "--recogniser", "pp-ocr", "-o", "out.json", option, 4)
            assert done.returncode == 2
            assert done.stderr.startswith(f"ctckit: {option} 4: expected a recording; the words of an image reach")
            assert not (page / "out.json").exists()

    def test_a_blank_page(self, page: Path, ctckit: Run) -> None:
        draw_page([""], margin=300).save(page / "page.png")
        done = ctckit("decode", "page.png", "--recogniser", "pp-ocr")
        assert (done.returncode, done.stdout) == (0, "")
        assert "no line of text was found on the page" in done.stderr


# --- many recordings, of a made-up language ---------------------------------------------------------------------------

TEXTS = {"a": "the quick brown fox", "x/a": "jumps over", "b": "a lazy dog"}


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recordings, with their texts in another."""
    for name, made in ears.MADE_UP.items():
        monkeypatch.setitem(named.NAMED, name, made)
    for name, text in TEXTS.items():
        ears.write(tmp_path / "rec" / f"{name}.wav", text)
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / f"{name}.txt").write_text(text, encoding="utf-8")
    return tmp_path


@needs("soundfile", "soxr")
class TestMany:
    def test_folders(self, many: Path, ctckit: Run) -> None:
        command = ("align", "rec", "texts", "--recogniser", "ears", "-o", "out", "--format", "json,ctm")
        done = ctckit(*command)
        assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
        for name, text in TEXTS.items():
            found = words_of(many / "out" / f"{name.replace('/', '_')}.json")
            assert found == [pytest.approx(word) for word in ears.times(text)]
        assert ctckit(*command).stdout == "0 rows aligned, 3 skipped (already done), 0 failed\n"
        (many / "texts" / "b.txt").unlink()
        done = ctckit(*command)
        assert (done.returncode, done.stdout) == (
            1,
            f"0 rows aligned, 2 skipped (already done), 1 failed: see {Path('out/errors.jsonl')}\n",
        )
        assert errors(many / "out")[0]["reason"] == f"{Path('texts/b.txt')} can't be read: No such file or directory"
        shutil.rmtree(many / "rec" / "x")
        assert "out also has 1 rows that rec lacks" in ctckit(*command).stdout

    def test_a_pattern(self, many: Path, ctckit: Run) -> None:
        done = ctckit("decode", "rec/*.wav", "--recogniser", "ears", "-o", "out")
        assert (done.returncode, done.stdout, done.stderr) == (0, "2 rows decoded, 0 failed\n", "")
        assert [entry["text"] for entry in log_of(many / "out")] == [TEXTS["a"], TEXTS["b"]]

    def test_a_manifest(self, many: Path, ctckit: Run) -> None:
        (many / "text").write_text("".join(f"{name} {text}\n" for name, text in TEXTS.items()))
        (many / "wav.scp").write_text("".join(f"{name} rec/{name}.wav\n" for name in TEXTS))
        done = ctckit("align", "wav.scp", "--manifest", "text", "--recogniser", "ears", "-o", "out", "--threads", 2)
        assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
        done = ctckit("decode", "--manifest", "wav.scp", "--recogniser", "ears", "-o", "read")
        assert (done.returncode, done.stdout) == (0, "3 rows decoded, 0 failed\n")
        assert [entry["text"] for entry in log_of(many / "read")] == list(TEXTS.values())

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("align", "rec"), "none of the 3 audio files of rec has a text: expected a.txt beside a.wav"),
            (("align", "texts"), "texts has no audio files: expected .wav, .flac"),
            (("align", "no/*.wav"), f"{Path('no/*.wav')} has no audio files"),
            (
                ("align", "rec", "texts/a.txt"),
                f"{Path('texts/a.txt')} is not a folder: expected the folder of the texts",
            ),
            (("align", "rec", "--labels", "x.txt"), "--labels does not go with --recogniser, which knows its own"),
            (("decode", "rec", "--frame-shift", 1), "--frame-shift does not go with --recogniser"),
            (("align", "rec", "texts", "--picture", "x.png"), "--picture is for one recording"),
            (("decode", "rec", "--audio", "x.wav"), "--audio is for one recording"),
            (("decode", "rec", "--format", "doc"), "x.doc has the ending '.doc': expected one of .TextGrid"),
            (("align", "--manifest", "no.jsonl"), "no.jsonl can't be read"),
        ],
    )
    def test_usage(self, arguments: tuple[object, ...], message: str, many: Path, ctckit: Run) -> None:
        done = ctckit(*arguments, "--recogniser", "ears", "-o", "out")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"ctckit: {message}")
        assert len(done.stderr.splitlines()) == 1
        assert not (many / "out").exists()

    def test_killed_at_any_moment(self, many: Path) -> None:
        """The result is that of a run which was not killed, whatever was half done."""
        for n in range(120):
            ears.write(many / "rec" / f"{n}.wav", "the fox" if n % 3 else "dog")
            (many / "texts" / f"{n}.txt").write_text("the fox" if n % 3 else "dog", encoding="utf-8")
        (many / "rec" / "7.wav").write_bytes(b"no sound")
        command = [*ears.COMMAND, "align", "rec", "texts", "--recogniser", "ears", "--threads", "2", "-o"]

        def begin(out: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen([*command, out], cwd=many, env=ears.ENVIRONMENT, stdout=subprocess.DEVNULL)

        assert begin("calm").wait() == 1
        out, killed = many / "out", 0
        for enough in (5, 40, 80):
            process = begin("out")
            while process.poll() is None and not (out.is_dir() and len(list(out.iterdir())) >= enough):
                time.sleep(0.001)
            killed += process.poll() is None
            process.kill()
            process.wait()
        assert killed > 1
        assert begin("out").wait() == 1
        assert contents(out) == contents(many / "calm")


@needs("soundfile", "soxr")
class TestPipes:
    """A real pipe: the command is another process."""

    TEXT = "the quick brown fox"

    def wav(self) -> bytes:
        """As ffmpeg writes it to a pipe, whose header it can't complete."""
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, ears.RATE, 2 * ears.RATE, 2, 16)
        begin = b"RIFF\xff\xff\xff\xffWAVE" + form + b"data\xff\xff\xff\xff"
        return begin + (ears.sound(self.TEXT) * 2**15).astype("<i2").tobytes()

    def piped(self, folder: Path, content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [*ears.COMMAND, *arguments, "--recogniser", "ears"]
        return subprocess.run(command, cwd=folder, env=ears.ENVIRONMENT, input=content, capture_output=True)

    def test_aligns(self, tmp_path: Path) -> None:
        (tmp_path / "text.txt").write_text(self.TEXT, encoding="utf-8")
        done = self.piped(tmp_path, self.wav(), "align", "-", "text.txt", "-o", "-", "--format", "ctm")
        assert (done.returncode, done.stderr.decode().splitlines()[0][:7]) == (0, "4 words")
        rows = [line.split() for line in done.stdout.decode().splitlines()]
        assert [(row[0], row[4]) for row in rows] == [("stdin", word) for word in self.TEXT.split()]
        assert [float(row[2]) for row in rows] == pytest.approx([start for start, _ in ears.times(self.TEXT)])

    def test_decodes(self, tmp_path: Path) -> None:
        done = self.piped(tmp_path, self.wav(), "decode", "-")
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{self.TEXT}\n", b"")

    def test_nothing_comes(self, tmp_path: Path) -> None:
        done = self.piped(tmp_path, b"", "decode", "-", "-o", "x.srt")
        assert (done.returncode, done.stdout) == (2, b"")
        message = "ctckit: the standard input is empty: expected a recording; did the program before the pipe fail?\n"
        assert done.stderr.decode() == message
        assert not (tmp_path / "x.srt").exists()

    def test_a_terminal_is_no_pipe(self, many: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says so, and does not wait for somebody to type a recording."""
        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        done = ctckit("decode", "-", "--recogniser", "ears")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("ctckit: - is the standard input, which is a terminal here: expected a recording")


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

    @pytest.mark.parametrize("command", [("align", "x.npy", "x.txt"), ("decode", "x.npy")])
    def test_words_end_later(self, command: tuple[str, ...], scores: Path, ctckit: Run) -> None:
        """By half a frame: there is at least one frame of blanks after each word."""
        options = ("--labels", "labels.txt", "--frame-shift", SHIFT, "-o", "out.json")
        assert ctckit(*command, *options, "--stretch", SHIFT / 2).returncode == 0
        wanted = [(start, end + SHIFT / 2) for start, end in spoken("the quick brown fox")[1]]
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
        assert ctckit("align", *options, "--delay", 0.06, "--stretch", 0.05).returncode == 0
        read = json.loads((scores / "out" / "a.json").read_text(encoding="utf-8"))
        assert (read["delay"], read["stretch"]) == (0.06, 0.05)
