"""Pictures of alignments: their text, no overlaps, any length; and the audio and image files that are read."""

from __future__ import annotations

import math
import re
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from support.pictures import check_texts, texts
from support.recogniser import DATA, needs_data

import ctckit
from ctckit.annotate.fit import Fit
from ctckit.annotate.picture import draw
from ctckit.annotate.recording import read_scores
from ctckit.annotate.strips import MOST_COLUMNS, Scan, Sound, read_strip, summarised
from ctckit.annotate.utterance import Aligned, Options, align
from ctckit.drawing.colors import RED
from ctckit.errors import MissingExtraError
from ctckit.recognisers.media import read_sound, sound_rate
from ctckit.text import Vocabulary

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")

LABELS = ["φ", " ", *"abcdefghijklmnopqrstuvwxyz$"]
SHIFT = 0.02

Scores = npt.NDArray[np.floating]


def spoken(text: str, frames: int, seed: int = 0) -> Scores:
    """Log-probabilities (T, C) of a text, its letters spread over all frames."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(frames, len(LABELS)))
    places = np.linspace(3, frames - 4, len(text)).astype(int)
    states = np.zeros(frames, int)
    states[places] = [LABELS.index(letter) for letter in text]
    logits[np.arange(frames), states] += 8
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def aligned(text: str, frames: int, options: Options | None = None) -> tuple[Aligned, Scores]:
    scores = spoken(text, frames)
    return align(scores, text, Vocabulary(LABELS), SHIFT, options or Options()), scores


def lines_only(line: ctckit.Segment) -> Aligned:
    """An alignment of a second that knows no path and no fit: for pictures, which show neither."""
    return Aligned([line], 1.0, (), np.zeros(0, np.int32), Fit(math.nan, ""))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_what_it_says(lang: str, tmp_path: Path) -> None:
    found, scores = aligned("costs $ five", 90)
    picture = draw(found, scores, LABELS, lang=lang)
    seen = texts(picture.svg())
    assert {"costs", "$", "five", "␣", "φ"} <= set(seen)
    assert [text for text in seen if text in "costsfive"].count("s") == 3  # two spans, and a row of the map
    assert "costs $ five" in picture.name
    assert bool(re.search("[\u4e00-\u9fff]", "".join(seen))) == (lang == "zh")
    assert seen == texts(draw(found, scores, LABELS, lang=lang).svg())
    check_texts(picture)
    for suffix in ("svg", "pdf", "png") if lang == "en" else ("svg",):
        picture.save(tmp_path / f"x.{suffix}")
        assert (tmp_path / f"x.{suffix}").stat().st_size > 5000


@pytest.mark.parametrize("seconds", [0.6, 4, 30])
def test_any_length_is_legible(seconds: float) -> None:
    rng = np.random.default_rng(3)
    known = ["the", "quick", "brown", "fox", "a", "extraordinary", "circumstances", "over", "dog"]
    text = " ".join(rng.choice(known, max(1, round(2.5 * seconds))))
    found, scores = aligned(text, round(seconds / SHIFT) + len(text))
    sound = summarised([rng.normal(size=round(found.duration * 8000)).astype(np.float32)], 8000)
    picture = draw(found, scores, LABELS, strip=sound)
    seen = texts(picture.svg())
    for word in known:
        assert seen.count(word) >= text.split().count(word), word
    check_texts(picture)


def test_too_dense_for_a_picture() -> None:
    word = ctckit.Segment("extraordinary", 0.0, 0.001, -1, 0.5)
    line = ctckit.Segment("x", 0.0, 1.0, -1, 0.5, (word,) * 500)
    with pytest.raises(ctckit.CTCError, match=r"500 words with 0 tokens in 1.0 seconds are too many for one picture"):
        draw(lines_only(line))
    start = time.perf_counter()
    letter = ctckit.Segment("a", 0.0, 0.001, -1, 0.5)
    for short in (letter, letter._replace(parts=(letter,))):
        line = ctckit.Segment("x", 0.0, 1.0, -1, 0.5, (short,) * 100_000)
        with pytest.raises(ctckit.CTCError, match="100000 words"):
            draw(lines_only(line))
    assert time.perf_counter() - start < 10


def test_many_classes_become_curves() -> None:
    text = "the quick brown fox jumps over a lazy dog"
    found, scores = aligned(text, 200)
    picture = draw(found, scores, LABELS)
    assert {"token of the text", "best other class"} <= set(texts(picture.svg()))
    check_texts(picture)


def test_controls_are_not_drawn() -> None:
    scores = spoken("the fox", 60)
    found = align(scores, "the \x00fox\x1b \ufffe", Vocabulary(LABELS), SHIFT, Options())
    shown = "".join(texts(draw(found, scores, LABELS).svg()))
    assert "fox" in shown
    assert not re.search("[\x00-\x1f\ufffe]", shown)


def test_words_without_time_stars_and_doubt() -> None:
    scores = spoken("the fox", 60)
    found = align(scores, "the lazy 7 fox", Vocabulary(LABELS), SHIFT, Options(optional_words=True, star=True))
    picture = draw(found, scores, LABELS)
    assert any("of them without a time" in text for text in texts(picture.svg()))
    doubtful = align(
        np.log(np.full((40, len(LABELS)), 1 / len(LABELS))), "the fox", Vocabulary(LABELS), SHIFT, Options()
    )
    picture = draw(doubtful, None)
    assert "red: confidence below 0.5" in texts(picture.svg())
    assert RED in picture.svg()
    check_texts(picture)


def test_nothing_but_an_image() -> None:
    digits = tuple(ctckit.Segment(str(d), d / 4, d / 4 + 0.2, -0.1, 0.9) for d in range(4))
    line = ctckit.Segment("0123", 0, 1, -0.1, 0.9, digits)
    picture = draw(lines_only(line), strip=Scan(np.ones((8, 40))))
    assert {"0", "1", "2", "3", "image columns"} <= set(texts(picture.svg()))
    check_texts(picture)


@needs_data
def test_spans_lie_on_the_handwriting() -> None:
    """Each word of the line is where its ink is, and gaps between words have little."""
    pytest.importorskip("PIL")
    characters = " !\"#&'()*+,-./0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    scores = read_scores(DATA / "iam_line_logits.npy")
    vocabulary = Vocabulary([*characters, "φ"], 79)
    found = align(scores, "the fake friend of the family, like the", vocabulary, 1.0, Options(True, extend=2))
    scan = read_strip(None, DATA / "iam_line.png")
    assert isinstance(scan, Scan)
    columns = scan.pixels.shape[1] / found.duration
    ink = (1 - scan.pixels).mean(axis=0)
    inside = np.zeros(len(ink), bool)
    for word in found.lines[0].parts:
        inside[round(word.start * columns) : round(word.end * columns)] = True
    assert ink[inside].mean() > 2 * ink[~inside].mean()
    picture = draw(found, None, strip=scan)
    assert picture.svg().count("#e8710a") > 15
    check_texts(picture)


# --- strips -----------------------------------------------------------------------------------------------------------


def write_wav(path: Path, samples: npt.NDArray[np.floating], size: int, channels: int, rate: int = 8000) -> None:
    whole = np.round(samples * (2 ** (8 * size - 1) - 1)).astype("<i4")
    if size == 1:
        data = (whole + 128).astype(np.uint8).tobytes()
    else:
        data = whole.view(np.uint8).reshape(-1, 4)[:, :size].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(size)
        file.setframerate(rate)
        file.writeframes(data)


@pytest.fixture(params=["soundfile", "standard library"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """By which PCM .wav is read."""
    if request.param == "soundfile":
        pytest.importorskip("soundfile", reason="the extra sound reads sound")
    else:
        monkeypatch.setitem(sys.modules, "soundfile", None)
    return str(request.param)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds(size: int, channels: int, reader: str, tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(4000) / 8000 + 0.3)
    write_wav(tmp_path / "x.wav", np.repeat(tone, channels), size, channels)
    assert sound_rate(tmp_path / "x.wav") == 8000
    samples = np.concatenate(list(read_sound(tmp_path / "x.wav", 8000)))
    np.testing.assert_allclose(samples, tone, atol=2.0 ** (2 - 8 * size) + 1e-6)
    sound = read_strip(tmp_path / "x.wav", None)
    assert isinstance(sound, Sound)
    assert sound.seconds == 0.5
    seen = sound.spectrogram(0.1, 0.4)
    start, end, low, high = seen.extent
    assert start <= 0.1
    assert end >= 0.4
    assert (low, high) == (0, pytest.approx(4, abs=0.02))
    loudest = seen.decibels.mean(axis=1).argmax() / (len(seen.decibels) - 1) * 4
    assert loudest == pytest.approx(1, abs=0.05)


def test_a_waveform_has_the_least_and_the_greatest_sample_of_each_column() -> None:
    samples = np.random.default_rng(0).normal(size=8000 * 3 + 5).astype(np.float32)
    sound = summarised(np.split(samples, [1, 700, 9001]), 8000)
    step = round(sound.step * 8000)
    times, low, high = sound.waveform(0, sound.seconds, 10**6)
    assert len(times) == len(low) == len(high) == math.ceil(len(samples) / step)
    whole = samples[: len(samples) // step * step].reshape(-1, step) / abs(samples).max()
    np.testing.assert_allclose(low[: len(whole)], whole.min(axis=1), rtol=1e-6)
    np.testing.assert_allclose(high[: len(whole)], whole.max(axis=1), rtol=1e-6)
    np.testing.assert_allclose(times[:2], [step / 8000 / 2, step / 8000 * 1.5], rtol=1e-6)
    few, low, high = sound.waveform(1.0, 2.0, 50)
    assert len(few) <= 50
    assert 1.0 <= few[0] < few[-1] <= 2.0
    assert low.min() == pytest.approx(samples[8000:16000].min() / abs(samples).max(), rel=1e-6)


def test_a_loud_moment_is_where_it_is_heard() -> None:
    """In the spectrogram, within a column; also of a long recording, whose columns are wider."""
    for seconds, moment in ((2, 1.5), (400, 321.0)):
        rate = 8000
        sound = summarised(_click(seconds, moment, rate), rate)
        assert sound.seconds == seconds
        assert max(len(sound.power), len(sound.lowest)) <= 2 * MOST_COLUMNS
        loud = (sound.power.mean(axis=1).argmax() + 0.5) * sound.hop
        assert loud == pytest.approx(moment, abs=sound.hop)
        place = (sound.highest.argmax() + 0.5) * sound.step
        assert place == pytest.approx(moment, abs=sound.step)


def _click(seconds: int, moment: float, rate: int) -> Iterator[npt.NDArray[np.float32]]:
    for second in range(seconds):
        block = np.full(rate, 1e-3, np.float32)
        if second <= moment < second + 1:
            block[round((moment - second) * rate)] = 1
        yield block


def test_silence_and_a_short_sound_are_drawn() -> None:
    found, scores = aligned("cat", 50)
    for samples in (np.zeros(8000, np.float32), np.ones(6000, np.float32)):
        draw(found, scores, LABELS, strip=summarised([samples], 8000)).svg()


@pytest.mark.parametrize("name", ["x.flac", "x.ogg"])
def test_other_sounds(name: str, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the extra sound reads sound")
    soundfile.write(tmp_path / name, np.sin(np.arange(24000) / 5), 48000)
    sound = read_strip(tmp_path / name, None)
    assert isinstance(sound, Sound)
    assert (sound.seconds, sound.top) == (0.5, pytest.approx(8000, abs=50))


def test_other_sounds_need_a_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    (tmp_path / "x.flac").write_bytes(b"fLaC")
    with pytest.raises(MissingExtraError, match="Reading sound needs the package 'soundfile'"):
        read_strip(tmp_path / "x.flac", None)


def test_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("L", (30, 10), 64).save(tmp_path / "grey.png")
    image.new("RGBA", (30, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    image.fromarray(np.repeat([[0, 65535]], (10, 20), axis=1).repeat(10, axis=0).astype(np.uint16)).save(
        tmp_path / "deep.png"
    )
    deep = read_strip(None, tmp_path / "deep.png")
    assert isinstance(deep, Scan)
    assert deep.pixels.mean() == pytest.approx(2 / 3)
    for name, shade in (("grey.png", 64 / 255), ("clear.png", 1.0)):
        scan = read_strip(None, tmp_path / name)
        assert isinstance(scan, Scan)
        assert scan.pixels.shape == (10, 30)
        assert scan.pixels == pytest.approx(shade)


def test_bad_strips(reader: str, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    (tmp_path / "x.png").write_bytes(b"no image")
    write_wav(tmp_path / "empty.wav", np.zeros(0), 2, 1)
    write_wav(tmp_path / "zero.wav", np.zeros(8), 2, 1)
    whole = bytearray((tmp_path / "zero.wav").read_bytes())
    whole[24:28] = bytes(4)
    (tmp_path / "zero.wav").write_bytes(whole)
    for audio, image, message in (
        ("x.wav", None, "is not a (PCM .wav file|readable recording)"),
        ("zero.wav", None, "zero.wav (is not a readable recording|holds 16 bits a sample and 0 samples a second)"),
        ("no.wav", None, "no.wav can't be read"),
        ("empty.wav", None, "holds no samples"),
        (None, "x.png", "is not an image"),
        (None, "no.png", "no.png can't be read"),
        ("x.wav", "x.png", "expected one of them"),
    ):
        with pytest.raises(ctckit.CTCError, match=message):
            read_strip(*(None if name is None else tmp_path / name for name in (audio, image)))
    found, scores = aligned("cat", 50)
    with pytest.raises(
        ctckit.CTCError, match=r"has 2.00 seconds and all frames together 1.00: .* check the frame shift"
    ):
        draw(found, scores, LABELS, strip=summarised([np.zeros(16000, np.float32)], 8000))
