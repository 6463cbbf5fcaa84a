"""RecogniseBatch: the scores that one recording gets, from every form of a column, with errors as a column."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import needs

from ctckit.annotate import AlignBatch, DecodeBatch, RecogniseBatch
from ctckit.errors import CTCError
from ctckit.recognisers import ImageInput, Recogniser, SoundInput, recognise

pytestmark = needs("soundfile", "soxr")

RATE, STEP = 16000, 160
TONES = {"a": 500, "b": 1000, "c": 2000}  # Hz, of the letters
LABELS = ["<blank>", *TONES]


def tones(samples: np.ndarray) -> np.ndarray:
    """A network that hears which tone each frame has."""
    frames = samples[:, : samples.shape[1] // STEP * STEP].reshape(len(samples), -1, STEP)
    power = np.abs(np.fft.rfft(frames, axis=2))[:, :, [0, *(hertz * STEP // RATE for hertz in TONES.values())]] ** 2
    power[:, :, 0] = 10  # the blank, where it is quiet
    return np.log(power + 1e-3) - np.log((power + 1e-3).sum(axis=2, keepdims=True))


def hearing() -> Recogniser:
    return Recogniser(tones, SoundInput(RATE), LABELS, blank=0, step=STEP, delay=0.005)


def said(text: str, rate: int = RATE) -> np.ndarray:
    """A tone of 50 ms for each letter, after 50 ms of silence each."""
    time = np.arange(rate // 20) / rate
    parts = [part for letter in text for part in (0 * time, 0.5 * np.sin(2 * np.pi * TONES[letter] * time))]
    return np.concatenate([*parts, 0 * time])


def file_of(samples: np.ndarray, rate: int = RATE, kind: str = "FLAC") -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind)
    return file.getvalue()


TEXTS = ["abc", "cab", "bb", "a"]
SOUND = [said(text) for text in TEXTS]


def written(folder: Path) -> list[str]:
    paths = [folder / f"声 {n}.flac" for n in range(len(TEXTS))]
    for path, samples in zip(paths, SOUND, strict=True):
        path.write_bytes(file_of(samples))
    return [str(path) for path in paths]


def decoded(batch: Any, **options: Any) -> list[str]:
    done = RecogniseBatch(hearing, **options)(batch)
    assert list(done["error"]) == [""] * len(TEXTS)
    return list(DecodeBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch")(done)["decoded"])


class TestForms:
    def test_paths(self, tmp_path: Path) -> None:
        paths = written(tmp_path)
        done = RecogniseBatch(hearing)({"id": list("wxyz"), "audio": paths})
        assert list(done) == ["id", "log_probs", "frame_shift", "delay", "stretch", "error"]
        for path, log_probs in zip(paths, done["log_probs"], strict=True):
            assert np.array_equal(log_probs, recognise(hearing(), path).log_probs)
            assert log_probs.dtype == np.float32
        assert (done["frame_shift"].tolist(), done["delay"].tolist()) == ([0.01] * 4, [0.005] * 4)
        assert decoded({"audio": paths}) == TEXTS

    @pytest.mark.parametrize("kind", ["FLAC", "OGG", "WAV"])
    def test_bytes_of_files(self, kind: str) -> None:
        files = [file_of(np.stack([said(text, 48000)] * 2, axis=1), 48000, kind) for text in TEXTS]
        assert decoded({"flac": files}, source="flac") == TEXTS

    def test_structs(self, tmp_path: Path) -> None:
        paths = written(tmp_path)
        structs: list[dict[str, Any]] = [
            {"bytes": file_of(SOUND[0]), "path": "a.flac"},
            {"bytes": None, "path": paths[1]},
            {"array": SOUND[2], "sampling_rate": RATE, "path": None},
            {"array": said("a", 8000).tolist(), "sampling_rate": 8000.0},
        ]
        assert decoded({"audio": structs}) == TEXTS

    def test_samples(self) -> None:
        assert decoded({"audio": SOUND}, rate=RATE) == TEXTS
        rates = [8000, 44100, 48000, 16000]
        sound = [said(text, rate) for text, rate in zip(TEXTS, rates, strict=True)]
        assert decoded({"audio": sound, "hz": np.array(rates)}, rate="hz") == TEXTS
        assert decoded({"audio": [(one * 32767).astype(np.int16) for one in SOUND]}, rate=RATE) == TEXTS

    def test_integers_are_as_loud_as_floats(self) -> None:
        quiet = [np.full(STEP, 0.25, np.float32), np.full(STEP, 8192, np.int16), np.full(STEP, 2**29, np.int32)]
        first = Recogniser(lambda x: np.log([[[1 - x[0, 0], x[0, 0]]]]), SoundInput(RATE), ["φ", "a"], 0, STEP)
        found = RecogniseBatch(lambda: first, rate=RATE)({"audio": quiet})["log_probs"]
        assert [np.exp(one).tolist() for one in found] == [[pytest.approx([0.75, 0.25])]] * 3

    @needs("PIL")
    def test_images(self, tmp_path: Path) -> None:
        from PIL import Image

        dark = Recogniser(
            lambda x: np.log(np.stack([x.mean((2, 3)), 1 - x.mean((2, 3))], 2).clip(1e-6)),
            ImageInput(4),
            ["φ", "i"],
            0,
            1,
        )
        pixels = np.full((8, 12), 255, np.uint8)
        pixels[:, 4:6] = 0
        Image.fromarray(pixels).save(tmp_path / "行.png")
        file = (tmp_path / "行.png").read_bytes()
        done = RecogniseBatch(lambda: dark, source="image")({"image": [tmp_path / "行.png", file, {"bytes": file}]})
        assert done["error"].tolist() == [""] * 3
        assert done["frame_shift"].tolist() == [2.0] * 3  # pixels of the file for one of its scaled columns
        aligned = AlignBatch(dark.vocabulary(), "frame_shift", delay="delay", stretch="stretch", in_pixels=True)(
            done | {"text": ["i"] * 3}
        )
        assert [ends.tolist() for ends in aligned["ends"]] == [[6.0]] * 3
        assert aligned["notes"].tolist() == [""] * 3
        wrong = RecogniseBatch(lambda: dark, source="image")({"image": [pixels, file_of(SOUND[0])]})
        assert "expected a path or a file's bytes" in wrong["error"][0]
        assert "'image' is not an image" in wrong["error"][1]

    def test_arrow(self, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow", reason="the extra tests has it")
        recognise_rows = RecogniseBatch(hearing, rate=RATE)
        align = AlignBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch")
        expected = align(recognise_rows({"audio": SOUND, "text": TEXTS}))
        forms = {
            "paths": (pa.string(), written(tmp_path)),
            "bytes": (pa.binary(), [file_of(one, kind="WAV") for one in SOUND]),
            "large": (pa.large_binary(), [file_of(one, kind="WAV") for one in SOUND]),
            "samples": (pa.list_(pa.float32()), SOUND),
            "structs": (
                pa.struct({"bytes": pa.binary(), "path": pa.string()}),
                [{"bytes": file_of(one), "path": None} for one in SOUND],
            ),
            "arrays": (
                pa.struct({"array": pa.list_(pa.float64()), "sampling_rate": pa.int64()}),
                [{"array": one, "sampling_rate": RATE} for one in SOUND],
            ),
        }
        for kind, values in forms.values():
            table = pa.table({"audio": pa.array(values, kind), "text": TEXTS})
            found = recognise_rows(table)
            assert found.schema.field("log_probs").type == pa.large_list(pa.float32())
            assert found.schema == recognise_rows(table.slice(0, 0)).schema
            assert align(found)["words"].to_pylist() == [[text] for text in TEXTS]
            starts = align(found)["starts"].to_pylist()
            assert starts == [pytest.approx(one.tolist()) for one in expected["starts"]]
            failed = recognise_rows(pa.table({"audio": pa.array([None], kind), "text": ["a"]}))
            assert failed.schema == found.schema
            assert "'audio' holds no value" in failed["error"][0].as_py()
            assert (failed["log_probs"].to_pylist(), align(failed)["words"].to_pylist()) == ([[]], [[]])

    def test_datasets(self) -> None:
        """An Audio column of datasets is a struct {bytes, path} where it is not decoded."""
        datasets = pytest.importorskip("datasets", reason="the extra tests has it")
        rows = {"audio": [{"bytes": file_of(one), "path": f"{n}.flac"} for n, one in enumerate(SOUND)], "text": TEXTS}
        table = datasets.Dataset.from_dict(rows).with_format("arrow")
        heard = table.map(RecogniseBatch(hearing), batched=True, batch_size=3, remove_columns=["audio"])
        align = AlignBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch")
        done = heard.map(align, batched=True, batch_size=3, remove_columns=["log_probs"]).with_format(None)[:]
        assert (done["words"], done["error"]) == ([[text] for text in TEXTS], [""] * 4)


class TestErrors:
    def test_a_bad_row_is_no_error_of_the_others(self, tmp_path: Path) -> None:
        good = file_of(SOUND[0])
        rows: list[tuple[Any, str]] = [
            (good, ""),
            (None, "'audio' holds no value: expected a path, a file's bytes or samples"),
            ({"bytes": None, "path": None}, "'audio' holds no value"),
            (7, "'audio' holds int: expected a path"),
            (b"", "'audio'"),
            (good[:100], "'audio'"),
            ({"bytes": good[:50], "path": "声.flac"}, "声.flac"),
            (str(tmp_path / "none.wav"), "none.wav"),
            (np.zeros(0), "'audio'"),
            (np.zeros((2, 800)), "'audio' holds samples of float64, shape (2, 800): expected those of one channel"),
            (["a", "b"], "'audio' holds samples of <U1"),
            (np.full(800, np.nan), "NaN"),
            ({"array": np.zeros(800), "sampling_rate": None}, "their rate is None: expected samples a second"),
            ({"array": np.zeros(800), "sampling_rate": 0.5}, "their rate is 0.5"),
            (good, ""),
        ]
        done = RecogniseBatch(hearing, rate=RATE)({"audio": [value for value, _ in rows]})
        for (value, reason), error in zip(rows, done["error"], strict=True):
            assert bool(reason) == bool(error), (value, error)
            assert reason in error
        assert [len(one) > 0 for one in done["log_probs"]] == [not reason for _, reason in rows]
        assert np.isnan(done["frame_shift"]).tolist() == [bool(reason) for _, reason in rows]

    def test_samples_without_a_rate(self) -> None:
        done = RecogniseBatch(hearing)({"audio": SOUND})
        assert "'audio' holds samples, and their rate is None" in done["error"][0]

    def test_an_unexpected_error_is_one_of_its_row(self) -> None:
        def fails(samples: np.ndarray) -> np.ndarray:
            if samples.shape[1] == len(SOUND[1]):
                raise RuntimeError("CUDA out of memory")
            return tones(samples)

        broken = Recogniser(fails, SoundInput(RATE), LABELS, 0, STEP)
        done = RecogniseBatch(lambda: broken, rate=RATE)({"audio": [SOUND[2], SOUND[1], SOUND[3]]})
        assert done["error"].tolist() == ["", "unexpected RuntimeError: CUDA out of memory", ""]

    def test_errors_are_passed_on(self) -> None:
        heard = RecogniseBatch(hearing, rate=RATE)({"audio": [SOUND[0], None, SOUND[2], SOUND[3]], "text": TEXTS})
        heard["error"][3] = "an earlier one"
        done = AlignBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch")(heard)
        assert [words.tolist() for words in done["words"]] == [["abc"], [], ["bb"], []]
        assert done["error"].tolist() == ["", heard["error"][1], "", "an earlier one"]
        assert list(done)[-1] == "error"
        again = RecogniseBatch(hearing, rate=RATE)({"audio": SOUND, "error": ["", "no text", None, ""]})
        assert again["error"].tolist() == ["", "no text", "", ""]
        with pytest.raises(CTCError, match=r"a column 'error' that holds 0.25: expected the errors of an earlier step"):
            RecogniseBatch(hearing, rate=RATE)({"audio": SOUND, "error": [0.25] * 4})

    def test_what_is_wrong_with_the_whole_job_is_raised(self) -> None:
        with pytest.raises(CTCError, match=r"no column 'audio': expected one; it has 'sound'"):
            RecogniseBatch(hearing)({"sound": SOUND})
        with pytest.raises(CTCError, match=r"a column 'delay' already"):
            RecogniseBatch(hearing)({"audio": SOUND, "delay": [0] * 4})
        with pytest.raises(CTCError, match=r"recogniser = whisper is unknown"):
            RecogniseBatch("whisper")({"audio": SOUND})


class TestTimes:
    def test_each_rows_own(self) -> None:
        """The tone of the only letter begins at 0.05 s; the delay is taken off, and the offset added."""
        heard = RecogniseBatch(hearing, rate=RATE)({"audio": [SOUND[3]] * 3, "text": ["a"] * 3})
        columns = {"frame_shift": [0.01, 0.02, 0.01], "delay": [0.0, 0.0, 0.02], "begin": [0.0, 0.0, 7.0]}
        align = AlignBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch", offset="begin")
        done = align(heard | {name: np.array(values) for name, values in columns.items()})
        assert [one.tolist() for one in done["starts"]] == [pytest.approx([t]) for t in (0.05, 0.10, 7.03)]
        decode = DecodeBatch(hearing().vocabulary(), 0.01, delay=0.02)(heard)
        assert decode["starts"][0].tolist() == pytest.approx([0.03])

    @pytest.mark.parametrize("wrong", [0, -1.0, np.nan, np.inf, None, "x"])
    def test_bad_ones(self, wrong: Any) -> None:
        heard = RecogniseBatch(hearing, rate=RATE)({"audio": [SOUND[3]], "text": ["a"]})
        align = AlignBatch(hearing().vocabulary(), "frame_shift", delay="delay", stretch="stretch")
        assert f"'frame_shift' is {wrong!r}: expected seconds" in align(heard | {"frame_shift": [wrong]})["error"][0]
        reason = align(heard | {"delay": [wrong]})["error"][0]
        assert reason == ("" if wrong == 0 else f"'delay' is {wrong!r}: expected seconds, at least 0")


def test_the_network_is_not_pickled(tmp_path: Path) -> None:
    recognise_rows = RecogniseBatch(hearing)
    paths = written(tmp_path)
    before = pickle.dumps(recognise_rows)
    done = recognise_rows({"audio": paths})
    assert pickle.dumps(recognise_rows) == before
    again = pickle.loads(before)({"audio": paths})
    assert all(np.array_equal(a, b) for a, b in zip(done["log_probs"], again["log_probs"], strict=True))


@needs("hama")
def test_hamas_vocabulary_can_be_pickled() -> None:
    from ctckit.recognisers import hama

    vocabulary = hama().vocabulary()
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert copy.transcribe("ten meters").tokens.tolist() == vocabulary.transcribe("ten meters").tokens.tolist()
