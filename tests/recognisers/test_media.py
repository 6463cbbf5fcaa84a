"""Sound and images from files of many forms, and one line for each that can't be read."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("soundfile", reason="the extra sound reads sound")
pytest.importorskip("soxr", reason="the extra sound changes rates")
pytest.importorskip("PIL", reason="the extra image reads images")

import soundfile
from PIL import Image
from support.heard import RECORDING

from ctckit import CTCError
from ctckit.recognisers import Opened, Part, Recogniser, SoundInput, recognise
from ctckit.recognisers.media import read_line, read_sound, seconds_of
from ctckit.recognisers.spooled import spooled

RATE = 16000


def whole(path: Path, rate: int = RATE) -> npt.NDArray[np.float32]:
    return np.concatenate(list(read_sound(path, rate)))


@pytest.fixture(scope="module")
def original() -> npt.NDArray[np.float32]:
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    assert rate == RATE
    return samples


def agreement(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    assert abs(len(one) - len(other)) <= RATE // 50
    length = min(len(one), len(other))
    return float(np.corrcoef(one[:length], other[:length])[0, 1])


@pytest.mark.parametrize(
    ("name", "subtype", "least"),
    [
        ("x.wav", "PCM_16", 0.999999),
        ("x.wav", "PCM_24", 0.999999),
        ("x.wav", "PCM_U8", 0.99),
        ("x.wav", "FLOAT", 0.999999),
        ("x.wav", "ULAW", 0.99),
        ("x.flac", "PCM_24", 0.999999),
        ("x.ogg", "VORBIS", 0.95),
        ("x.mp3", "MPEG_LAYER_III", 0.95),
        ("x.aiff", "PCM_16", 0.999999),
    ],
)
def test_formats(name: str, subtype: str, least: float, tmp_path: Path, original: npt.NDArray[np.float32]) -> None:
    soundfile.write(tmp_path / name, original, RATE, subtype=subtype)
    found = whole(tmp_path / name)
    assert found.dtype == np.float32
    assert agreement(found, original) >= least


def test_channels_are_averaged(tmp_path: Path, original: npt.NDArray[np.float32]) -> None:
    soundfile.write(tmp_path / "x.wav", np.stack([original, np.zeros_like(original)], axis=1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(whole(tmp_path / "x.wav"), original / 2, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_rates(rate: int, tmp_path: Path) -> None:
    """A tone has the same pitch and place at any rate; 25 s are more than are read at a time."""
    times = np.arange(25 * rate) / rate
    soundfile.write(tmp_path / "x.wav", (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32), rate)
    found = whole(tmp_path / "x.wav")
    assert len(found) == 25 * RATE
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(25 * RATE) / RATE)
    np.testing.assert_allclose(found[RATE:-RATE], wanted[RATE:-RATE], atol=2e-3)


def test_sounds_that_cannot_be_read(tmp_path: Path) -> None:
    def fails(name: str, content: bytes | None, message: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CTCError, match=message):
            whole(tmp_path / name)

    fails("none.wav", None, r"none\.wav can't be read: No such file")
    fails("empty.wav", b"", r"empty\.wav is empty")
    fails("text.wav", b"hello, world" * 9, r"text\.wav is not a readable recording: .*; expected \.wav, \.flac.*ffmpeg")
    fails("x.raw", b"\0" * 320, r"x\.raw is not a readable recording: it says nothing of its rate")
    fails(".", None, "is a folder")
    soundfile.write(tmp_path / "silent.wav", np.zeros(0, np.float32), RATE)
    fails("silent.wav", None, r"silent\.wav holds no samples")


def test_the_recording_is_named_where_its_samples_are_wrong(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(100, np.nan, np.float32), RATE, subtype="FLOAT")
    deaf = Recogniser(lambda samples: samples[:, :, None], SoundInput(RATE), ["<blank>"], 0, 1)
    with pytest.raises(CTCError, match=r"x\.wav: the input has NaN"):
        recognise(deaf, tmp_path / "x.wav")


def test_how_far_it_is_is_told(tmp_path: Path) -> None:
    """In seconds of the file, whatever its rate is, after each piece."""
    soundfile.write(tmp_path / "x.wav", np.zeros(25 * 8000, np.float32), 8000)
    deaf = Recogniser(lambda samples: -samples[:, ::160, None] - 1, SoundInput(RATE), ["<blank>"], 0, 160, piece=1000)
    told: list[tuple[float, float]] = []
    whole = recognise(deaf, tmp_path / "x.wav", on_progress=lambda *now: told.append(now))
    assert told == [(pytest.approx(done), 25.0) for done in (9.0, 17.0, 25.0)]  # seams are 1 s before a piece's end
    part = recognise(deaf, tmp_path / "x.wav", Part(5.0, 2.0), lambda *now: told.append(now))
    assert told[3:] == [(pytest.approx(2.0), 2.0)]
    assert (len(whole.log_probs), len(part.log_probs)) == (2500, 200)
    with (tmp_path / "x.wav").open("rb") as file:
        again = recognise(deaf, Opened(file, "a member"))
    np.testing.assert_array_equal(again.log_probs, whole.log_probs)


# --- parts ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    """Three seconds: each sample of the first channel is its number, of the second its number below 0."""
    numbers = np.arange(3 * RATE, dtype=np.float32) / 2**17
    soundfile.write(tmp_path / "x.wav", np.stack([numbers, -numbers], axis=1), RATE, subtype="FLOAT")
    return tmp_path / "x.wav"


@pytest.mark.parametrize(
    ("part", "first", "end", "sign"),
    [
        (Part(channel=0), 0, 48000, 1),
        (Part(1.5, channel=1), 24000, 48000, -1),
        (Part(0.5, 1.25, 0), 8000, 28000, 1),
        (Part(2.0, 9.0, 1), 32000, 48000, -1),
        (Part(1.0, 1.0), 16000, 32000, 0),
    ],
)
def test_parts(part: Part, first: int, end: int, sign: int, stereo: Path) -> None:
    found = np.concatenate(list(read_sound(stereo, RATE, part)))
    np.testing.assert_array_equal(found, sign * np.arange(first, end, dtype=np.float32) / 2**17)
    assert seconds_of(stereo, part) == (end - first) / RATE


@pytest.mark.parametrize("suffix", [".mp3", ".ogg", ".flac"])
def test_parts_of_compressed_recordings(suffix: str, tmp_path: Path, original: npt.NDArray[np.float32]) -> None:
    soundfile.write(tmp_path / f"x{suffix}", original, RATE)
    found = np.concatenate(list(read_sound(tmp_path / f"x{suffix}", RATE, Part(1.0, 1.5))))
    assert agreement(found, original[RATE : RATE * 5 // 2]) > 0.95


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(3.0), r"x\.wav has 3 s: expected a part that begins before its end, not at 3 s"),
        (Part(1.0, 0.0), r"x\.wav has 3 s: expected a part of at least one sample, not 0 s"),
        (Part(channel=2), r"x\.wav has 2 channels: expected one of them, from 0, not 2"),
    ],
)
def test_parts_that_are_not_there(part: Part, message: str, stereo: Path) -> None:
    with pytest.raises(CTCError, match=message):
        next(read_sound(stereo, RATE, part))


# --- pipes ------------------------------------------------------------------------------------------------------------


def streamed(samples: npt.NDArray[np.float32], riff: int, data: int, comment: bool = True) -> bytes:
    """A .wav as ffmpeg writes it to a pipe, but for its sizes: a LIST stands before the samples."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    made_by = struct.pack("<4sI4s4sI14s", b"LIST", 26, b"INFO", b"ISFT", 14, b"Lavf61.7.100") if comment else b""
    header = b"".join(
        [struct.pack("<4sI4s", b"RIFF", riff, b"WAVE"), form, made_by, struct.pack("<4sI", b"data", data)]
    )
    return header + (samples * 2**15).astype("<i2").tobytes()


def through_a_pipe(content: bytes) -> npt.NDArray[np.float32]:
    """The samples of what comes by a real pipe, which nobody can go back in."""
    end, begin = os.pipe()

    def write() -> None:
        with open(begin, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with open(end, "rb") as pipe, spooled(pipe, "the pipe") as opened:
            assert seconds_of(opened) > 0
            return np.concatenate(list(read_sound(opened, RATE)))
    finally:
        writer.join()


UNKNOWN = 0xFFFFFFFF


@pytest.mark.parametrize("comment", [True, False])
@pytest.mark.parametrize(
    ("riff", "data"),
    [(UNKNOWN, UNKNOWN), (0, 0), (36, 0), (UNKNOWN, 0), (0x7FFFF024, 0x7FFFF000)],
    ids=["ffmpeg", "zeros", "an empty file's", "no data", "sox"],
)
def test_a_wav_whose_sizes_are_unknown(riff: int, data: int, comment: bool, original: npt.NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(through_a_pipe(streamed(original, riff, data, comment)), original)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_other_recordings_by_a_pipe(form: str, original: npt.NDArray[np.float32]) -> None:
    file = io.BytesIO()
    soundfile.write(file, original, RATE, format=form)
    assert agreement(through_a_pipe(file.getvalue()), original) > 0.95


def test_what_stands_after_the_samples_is_no_sound(original: npt.NDArray[np.float32]) -> None:
    content = streamed(original, 36 + 2 * len(original), 2 * len(original), False) + b"LIST\x04\0\0\0INFO"
    np.testing.assert_array_equal(through_a_pipe(content), original)


def test_pipes_that_bring_no_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CTCError, match="the pipe is empty: expected a recording; did the program before the pipe fail"):
        through_a_pipe(b"")
    with pytest.raises(CTCError, match="the pipe is not a readable recording"):
        through_a_pipe(b"no sound" * 99)
    for cut in (4, 20, 50, 76):
        with pytest.raises(CTCError, match=r"the pipe (is not a readable recording|holds no samples)"):
            through_a_pipe(streamed(np.zeros(9, np.float32), UNKNOWN, UNKNOWN)[:cut])
    monkeypatch.setattr("ctckit.recognisers.spooled._LARGEST", 500)
    with pytest.raises(CTCError, match=r"the pipe has 0\.0 GiB, and a \.wav holds at most 4: expected a lower rate"):
        through_a_pipe(streamed(np.zeros(999, np.float32), 0, 0))


def test_a_disk_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with (
        pytest.raises(CTCError, match=r"the pipe can't be kept in .*: No space left on device; .* TMPDIR"),
        spooled(io.BytesIO(b"x"), "the pipe"),
    ):
        pass


# --- images -----------------------------------------------------------------------------------------------------------

BLACK, WHITE = 0, 255


def drawn(mode: str) -> Image.Image:
    """A line 80 x 24 whose left half is black."""
    image = Image.new("L", (80, 24), WHITE)
    image.paste(BLACK, (0, 0, 40, 24))
    if mode == "RGBA":  # black on nothing
        clear = Image.new("RGBA", image.size, (0, 0, 0, 0))
        clear.paste((0, 0, 0, 255), (0, 0, 40, 24))
        return clear
    if mode == "I;16":
        return Image.fromarray(np.asarray(image, np.uint16) * 16)  # 12 bits, as scanners have
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "name"), [(m, "x.png") for m in ("1", "L", "P", "RGB", "RGBA", "I;16")] + [("L", "x.jpg"), ("L", "x.tif")]
)
def test_lines(mode: str, name: str, tmp_path: Path) -> None:
    drawn(mode).save(tmp_path / name)
    line = read_line(tmp_path / name, 48)
    assert line.columns.shape == (160, 48, 3)
    assert line.scale == 0.5
    np.testing.assert_allclose(line.columns[:76], 0, atol=0.02)
    np.testing.assert_allclose(line.columns[84:], 1, atol=0.07)


def test_colours_are_kept(tmp_path: Path) -> None:
    Image.new("RGB", (10, 48), (255, 0, 51)).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_line(tmp_path / "x.png", 48).columns[3, 5], [1, 0, 0.2], atol=1e-6)


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_bytes(b"hello")
    with pytest.raises(CTCError, match=r"text\.png is not an image"):
        read_line(tmp_path / "text.png", 48)
    with pytest.raises(CTCError, match=r"none\.png can't be read"):
        read_line(tmp_path / "none.png", 48)
    drawn("RGB").save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(CTCError, match=r"cut\.png can't be read"):
        read_line(tmp_path / "cut.png", 48)
    Image.new("L", (30000, 1)).save(tmp_path / "long.png")
    with pytest.raises(CTCError, match=r"long\.png has 30000 x 1 pixels: expected the image of a line"):
        read_line(tmp_path / "long.png", 48)
