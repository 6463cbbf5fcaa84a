"""Sound and images from files of many forms, and one line for each that can't be read."""

from __future__ import annotations

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
from ctckit.recognisers import Recogniser, SoundInput, recognise
from ctckit.recognisers.media import read_line, read_sound

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
