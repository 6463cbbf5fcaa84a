"""Corpora of recordings and images: what a recogniser makes of them is right, whatever form the manifest has."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("filelock", reason="a run over a corpus needs filelock")
pytest.importorskip("soundfile", reason="the extra sound reads sound")
pytest.importorskip("soxr", reason="the extra sound changes rates")

import soundfile
from support import ears
from support.corpora import contents, errors, log_of, manifest, words_of, write_tar
from support.ears import RATE, sound, times, write
from support.installed import needs, needs_linux

from ctckit.annotate.utterance import Options
from ctckit.corpus import Aligning, Corpus, Decoding, Defaults, Threads
from ctckit.corpus.job import Entry, Job
from ctckit.corpus.manifest import FailedRow, Row
from ctckit.errors import CTCError
from ctckit.files import list_tar, recording_at
from ctckit.recognisers import named

TEXTS = {"a": "the quick brown fox", "b": "jumps over", "c": "a lazy dog"}


@pytest.fixture(autouse=True)
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, one in ears.MADE_UP.items():
        monkeypatch.setitem(named.NAMED, name, one)
    named._kept.cache_clear()
    yield
    named._kept.cache_clear()


def hearing(folder: Path, name: str, out: str = "out", place: Path | None = None, task: Any = None) -> Corpus:
    """A corpus of the recordings that a manifest, a folder or a pattern names."""
    return Corpus(
        folder / name, folder / out, (".json",), task or Aligning(), Defaults(recogniser="ears", emissions=place)
    )


# --- manifests --------------------------------------------------------------------------------------------------------

Form = Callable[[Path], tuple[str, Path | None]]


def ours(folder: Path) -> tuple[str, Path | None]:
    rows = [{"id": id, "audio": f"clips/{id}.flac", "text": text} for id, text in TEXTS.items()]
    for id, text in TEXTS.items():
        write(folder / "clips" / f"{id}.flac", text)
    manifest(folder, rows, "rows.jsonl")
    return "rows.jsonl", None


def nemo(folder: Path) -> tuple[str, Path | None]:
    for id, text in TEXTS.items():
        write(folder / f"{id}.wav", text)
    rows = [
        {"audio_filepath": f"{id}.wav", "duration": round(len(sound(text)) / RATE, 3), "text": text}
        for id, text in TEXTS.items()
    ]
    manifest(folder, rows, "manifest.json")
    return "manifest.json", None


def kaldi(folder: Path) -> tuple[str, Path | None]:
    for id, text in TEXTS.items():
        write(folder / "wav" / f"{id} 1.wav", text)
    (folder / "text").write_text("".join(f"{id} {text}\n" for id, text in TEXTS.items()))
    (folder / "wav.scp").write_text("".join(f"{id} wav/{id} 1.wav\n" for id in TEXTS))
    return "text", folder / "wav.scp"


def by_name(folder: Path) -> tuple[str, Path | None]:
    """A folder with a recording for each row, and files that are none."""
    for id, text in TEXTS.items():
        write(folder / "clips" / f"{id}.WAV", text)
    (folder / "clips" / "._a.wav").write_bytes(b"what macOS leaves on other systems' disks")
    (folder / "clips" / "a.txt").write_text("no recording")
    (folder / "text").write_text("".join(f"{id} {text}\n" for id, text in TEXTS.items()))
    return "text", folder / "clips"


def shard(folder: Path) -> tuple[str, Path | None]:
    """A shard of several formats."""
    members: list[tuple[str, bytes]] = []
    for (id, text), ending in zip(TEXTS.items(), ("wav", "flac", "WAV"), strict=True):
        write(folder / f"x.{ending.lower()}", text)
        members += [(f"{id}.{ending}", (folder / f"x.{ending.lower()}").read_bytes()), (f"{id}.txt", text.encode())]
        members += [(f"{id}.json", b'{"speaker": 1}'), (f"{id}.png", b"no sound")]
    write_tar(folder / "x.tar", members)
    return "x.tar", None


def table(bytes_too: bool, folder: Path) -> tuple[str, Path | None]:
    """As Hugging Face's datasets write it: bytes with the name that they had, or the path of a file."""
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    audio = []
    for id, text in TEXTS.items():
        write(folder / f"{id}.flac", text)
        audio.append({"bytes": (folder / f"{id}.flac").read_bytes() if bytes_too else None, "path": f"{id}.flac"})
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    made = pa.table({"audio": pa.array(audio, kind), "text": list(TEXTS.values()), "speaker": [1, 2, 3]})
    parquet.write_table(made, folder / "x.parquet", row_group_size=2)
    for id in TEXTS if bytes_too else ():
        (folder / f"{id}.flac").unlink()
    return "x.parquet", None


def table_of_names(folder: Path) -> tuple[str, Path | None]:
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    for id, text in TEXTS.items():
        write(folder / f"{id}.wav", text)
    names = [{"id": id, "audio": f"{id}.wav", "text": text} for id, text in TEXTS.items()]
    parquet.write_table(pa.Table.from_pylist(names), folder / "x.parquet")
    return "x.parquet", None


@pytest.mark.parametrize(
    "form",
    [ours, nemo, kaldi, by_name, shard, partial(table, True), partial(table, False), table_of_names],
    ids=["ours", "nemo", "kaldi", "by name", "shard", "bytes in a table", "paths in a table", "names in a table"],
)
def test_manifests(form: Form, tmp_path: Path) -> None:
    """Words are where they were said; done rows are skipped; and another task hears the same texts."""
    name, place = form(tmp_path)
    assert hearing(tmp_path, name, place=place).run(Threads(2))[:3] == (3, 0, 0), errors(tmp_path / "out")
    for id, text in TEXTS.items():
        assert words_of(tmp_path / "out" / f"{id}.json") == [pytest.approx(word) for word in times(text)]
    assert hearing(tmp_path, name, place=place).run()[:3] == (0, 3, 0)
    hearing(tmp_path, name, "read", place, Decoding()).run()
    log = log_of(tmp_path / "read")
    assert [(entry["id"], entry["text"], entry["cer"]) for entry in log] == [
        (id, text, 0.0) for id, text in TEXTS.items()
    ]


def long_recording(folder: Path) -> dict[str, float]:
    """All texts in one recording, the second channel silent; when each begins."""
    parts, begins, begin = [], {}, 0.0
    for id, text in TEXTS.items():
        begins[id] = begin
        parts.append(np.pad(sound(text), (0, RATE // 2)))
        begin += len(parts[-1]) / RATE
    one = np.concatenate(parts)
    soundfile.write(folder / "long.wav", np.stack([np.zeros_like(one), one], axis=1), RATE)
    return begins


def test_a_part_of_a_recording(tmp_path: Path) -> None:
    """Only that part is read, and of lhotse's channels only one. Its times are those of the whole."""
    begins = long_recording(tmp_path)
    source = {"type": "file", "channels": [0, 1], "source": "long.wav"}
    recording = {"id": "r", "sources": [source], "sampling_rate": RATE, "num_samples": 1, "duration": 1.0}
    cuts = []
    for id, text in TEXTS.items():
        cut = {"id": id, "start": begins[id], "duration": len(sound(text)) / RATE, "channel": 1, "type": "MonoCut"}
        cuts.append({**cut, "supervisions": [{"start": 0.0, "text": text}], "recording": recording})
    manifest(tmp_path, cuts, "cuts.jsonl")
    assert hearing(tmp_path, "cuts.jsonl").run()[:3] == (3, 0, 0), errors(tmp_path / "out")
    for id, text in TEXTS.items():
        assert words_of(tmp_path / "out" / f"{id}.json") == [pytest.approx(word) for word in times(text, begins[id])]
    assert [entry["reading"] for entry in log_of(tmp_path / "out")] == list(TEXTS.values())


def test_rows_of_nemo_with_an_offset(tmp_path: Path) -> None:
    begins = long_recording(tmp_path)
    left, one = soundfile.read(tmp_path / "long.wav", dtype="float32")[0].T
    assert not left.any()
    soundfile.write(tmp_path / "mono.wav", one, RATE)
    rows = [
        {"id": id, "audio_filepath": "mono.wav", "offset": begins[id], "duration": 0.05 + 0.1 * len(text), "text": text}
        for id, text in TEXTS.items()
    ]
    manifest(tmp_path, [*rows, {**rows[2], "id": "to the end", "duration": None}], "manifest.json")
    assert hearing(tmp_path, "manifest.json").run()[:3] == (4, 0, 0), errors(tmp_path / "out")
    for id, text in TEXTS.items():
        assert words_of(tmp_path / "out" / f"{id}.json") == [pytest.approx(word) for word in times(text, begins[id])]
    assert words_of(tmp_path / "out" / "to the end.json") == words_of(tmp_path / "out" / "c.json")


def test_bad_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", TEXTS["a"])
    (tmp_path / "text.wav").write_bytes(b"no sound" * 20)
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), RATE)
    soundfile.write(tmp_path / "short.wav", np.zeros(20, np.float32), RATE)
    one = {"audio": "a.wav", "text": TEXTS["a"]}
    piped = {"recording": {"sources": [{"type": "command", "channels": [0], "source": "sox"}]}, "text": "a"}
    bad: list[tuple[dict[str, Any], str]] = [
        ({"text": "a"}, "'audio' is missing: expected a file in this row, or a folder, shard or table"),
        ({**one, "audio": 3}, "'audio' is 3: expected a string"),
        ({**one, "audio": "no.wav"}, "no.wav can't be read: No such file"),
        ({**one, "audio": "."}, "is a folder: expected a file"),
        ({**one, "audio": "text.wav"}, "text.wav is not a readable recording"),
        ({**one, "audio": "empty.wav"}, "empty.wav is empty"),
        ({**one, "audio": "none.wav"}, "none.wav holds no samples"),
        ({**one, "audio": "short.wav"}, "short.wav: the network gives 0 frames"),
        ({**one, "offset": 60}, "a.wav has 1.95 s: expected a part that begins before its end, not at 60 s"),
        ({**one, "offset": -1}, "offset = -1: expected the seconds"),
        ({**one, "duration": 0}, "'duration' is 0: expected seconds, above 0"),
        ({**one, "duration": "1"}, "'duration' is '1': expected seconds, above 0"),
        (piped, "'recording' has the sources [{'type': 'command'"),
        ({**one, "text": "z" * 400}, "are they of the same recording?"),
    ]
    rows = [{**row, "id": f"bad {n}"} for n, (row, _) in enumerate(bad)]
    manifest(tmp_path, [*rows[:7], {**one, "id": "good"}, *rows[7:]], "rows.jsonl")
    assert hearing(tmp_path, "rows.jsonl").run(Threads(2))[:3] == (1, 0, len(bad))
    for row, (_, reason) in zip(errors(tmp_path / "out"), bad, strict=True):
        assert reason in row["reason"]
    assert words_of(tmp_path / "out" / "good.json") == [pytest.approx(word) for word in times(TEXTS["a"])]


def test_places_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a the fox\n")

    def fails(name: str, content: str, message: str) -> None:
        (tmp_path / name).write_text(content)
        with pytest.raises(CTCError, match=message):
            hearing(tmp_path, "text", place=tmp_path / name).run()
        assert not (tmp_path / "out").exists()

    fails(
        "wav.scp", "a flac -cds a.flac |\n", r"line 1 is 'a flac -cds a\.flac \|': expected an id and a file; commands"
    )
    fails("x.ark", "a", r"expected a folder that is there, an \.scp, \.tar or \.parquet, with all rows' recordings")


def test_places_in_a_shard(tmp_path: Path) -> None:
    shard(tmp_path)
    write_tar(tmp_path / "long.tar", [("a.wav", b"one"), ("z" * 150 + ".wav", b"other")])  # its name has another header
    places = [place for sample in list_tar(tmp_path / "long.tar") for _, place in sample.places]
    assert [recording_at(tmp_path / place, "audio") for place in places] == [b"one", b"other"]
    with pytest.raises(CTCError, match=r"x\.tar:100: no file begins there"):
        recording_at(tmp_path / "x.tar:100", "audio")
    cut = (tmp_path / "x.tar").read_bytes()[:2000]
    (tmp_path / "x.tar").write_bytes(cut)
    with pytest.raises(CTCError, match=r"x\.tar:512: 62444 bytes are expected there, and 1488 are left"):
        recording_at(tmp_path / "x.tar:512", "audio")


def test_a_table_without_bytes_and_path(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = pa.array([{"bytes": None, "path": None}, None], kind)
    parquet.write_table(pa.table({"id": ["a", "b"], "audio": audio, "text": ["a", "b"]}), tmp_path / "x.parquet")
    assert hearing(tmp_path, "x.parquet").run()[:3] == (0, 0, 2)
    for row in errors(tmp_path / "out"):
        assert "has neither bytes nor a path: expected one of them in the column 'audio'" in row["reason"]


# --- runs -------------------------------------------------------------------------------------------------------------


class TestGoingOn:
    def test_what_changed_is_done_again(self, tmp_path: Path) -> None:
        ours(tmp_path)
        hearing(tmp_path, "rows.jsonl").run()
        write(tmp_path / "clips" / "b.flac", "jumps over")
        (tmp_path / "out" / "c.json").write_text("")
        assert hearing(tmp_path, "rows.jsonl").run()[:3] == (2, 1, 0)

    def test_another_version_of_the_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ours(tmp_path)
        hearing(tmp_path, "rows.jsonl").run()
        monkeypatch.setattr(named, "version", lambda package: f"{package} 99")
        assert hearing(tmp_path, "rows.jsonl").run()[:3] == (3, 0, 0)

    def test_another_recogniser_needs_another_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ours(tmp_path)
        hearing(tmp_path, "rows.jsonl").run()
        monkeypatch.setitem(named.NAMED, "others", ears.MADE_UP["ears"])
        corpus = hearing(tmp_path, "rows.jsonl")
        corpus = replace(corpus, defaults=corpus.defaults._replace(recogniser="others"))
        with pytest.raises(CTCError, match="other options: recogniser was 'ears' and is 'others'"):
            corpus.run()

    def test_a_folder_of_transformers_is_known_by_its_files(self, tmp_path: Path) -> None:
        (tmp_path / "model.safetensors").write_bytes(b"weights")
        before = named.identity(str(tmp_path))
        assert named.identity(str(tmp_path)) == before
        (tmp_path / "model.safetensors").write_bytes(b"others!!")
        assert named.identity(str(tmp_path)) != before


def test_the_network_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def slow() -> Any:
        loaded.append(1)
        return ears.ears()

    monkeypatch.setitem(named.NAMED, "ears", named.Named(slow, "numpy"))
    ours(tmp_path)
    hearing(tmp_path, "rows.jsonl", "one").run(Threads(1))
    hearing(tmp_path, "rows.jsonl", "three").run(Threads(3))
    assert contents(tmp_path / "one") == contents(tmp_path / "three")
    assert loaded == [1]


def test_a_job_is_plain_data(tmp_path: Path) -> None:
    ours(tmp_path)

    def pickled(job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
        for row in rows:
            job, row = pickle.loads(pickle.dumps((job, row)))
            named._kept.cache_clear()  # as in another process
            yield job.run(row)

    hearing(tmp_path, "rows.jsonl", "threads").run()
    assert hearing(tmp_path, "rows.jsonl", "pickled").run(pickled)[:3] == (3, 0, 0)
    assert contents(tmp_path / "threads") == contents(tmp_path / "pickled")


def test_delays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recogniser's own, unless another is given."""
    late = named.Named(lambda: replace(ears.ears(), delay=0.03), "numpy")
    monkeypatch.setitem(named.NAMED, "ears", late)
    ours(tmp_path)

    def second(out: str, delay: float | None) -> float:
        hearing(tmp_path, "rows.jsonl", out, task=Aligning(Options(delay=delay))).run()
        return words_of(tmp_path / out / "a.json")[1][0]

    said = times(TEXTS["a"])[1][0]
    assert [second("own", None), second("given", 0.04), second("none", 0.0)] == pytest.approx(
        [said - 0.03, said - 0.04, said]
    )


# --- folders ----------------------------------------------------------------------------------------------------------

NAMES = {"a": "the quick brown fox", "x/a": "jumps over", "y/ü 1": "a lazy dog"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Recordings in subfolders, two of the same name, with their texts beside them in three forms."""
    for name, text in NAMES.items():
        write(tmp_path / "rec" / f"{name}.wav", text)
    (tmp_path / "rec" / "a.lab").write_text(NAMES["a"], encoding="utf-8")
    (tmp_path / "rec" / "x" / "a.TXT").write_text(NAMES["x/a"], encoding="utf-8")
    (tmp_path / "rec" / "x" / "a.srt").write_text("of a text and subtitles, the text counts", encoding="utf-8")
    srt = f"1\n00:00:00,000 --> 00:00:01,000\n{NAMES['y/ü 1']}\n"
    (tmp_path / "rec" / "y" / "ü 1.srt").write_text(srt, encoding="utf-8")
    (tmp_path / "rec" / ".hidden.wav").write_bytes(b"no recording")
    (tmp_path / "rec" / ".cache").mkdir()
    (tmp_path / "rec" / ".cache" / "b.wav").write_bytes(b"no recording")
    (tmp_path / "rec" / "notes.md").write_text("no recording")
    return tmp_path


def heard(folder: Path, out: str = "out") -> dict[str, str]:
    return {entry["id"]: entry["reading"] for entry in log_of(folder / out)}


class TestFolders:
    def test_recordings_with_their_texts(self, folder: Path) -> None:
        assert hearing(folder, "rec").run()[:3] == (3, 0, 0), errors(folder / "out")
        assert heard(folder) == NAMES
        for name, text in NAMES.items():
            file = folder / "out" / f"{name.replace('/', '_')}.json"
            assert words_of(file) == [pytest.approx(word) for word in times(text)]
        assert hearing(folder, "rec").run()[:3] == (0, 3, 0)

    def test_a_folder_of_texts(self, folder: Path) -> None:
        (folder / "texts [1]" / "x").mkdir(parents=True)
        (folder / "texts [1]" / "y").mkdir()
        (folder / "rec").rename(folder / "rec [1]")
        for name, text in NAMES.items():
            (folder / "texts [1]" / f"{name}.txt").write_text(text, encoding="utf-8")
        corpus = hearing(folder, "rec [1]")
        corpus = replace(corpus, defaults=corpus.defaults._replace(texts=folder / "texts [1]"))
        assert corpus.run()[:3] == (3, 0, 0), errors(folder / "out")
        assert heard(folder) == NAMES

    @pytest.mark.parametrize(
        ("pattern", "ids"),
        [
            ("rec/*.wav", ["a"]),
            ("rec/*/*.wav", ["x/a", "y/ü 1"]),
            ("rec/**/a.*", ["a", "x/a"]),
            ("r?c/x/*", ["rec/x/a"]),
        ],
    )
    def test_patterns(self, pattern: str, ids: list[str], folder: Path) -> None:
        assert hearing(folder, pattern).run()[:3] == (len(ids), 0, 0), errors(folder / "out")
        assert heard(folder) == {id: NAMES[id.removeprefix("rec/")] for id in ids}

    def test_a_recording_without_a_text(self, folder: Path) -> None:
        (folder / "rec" / "x" / "a.TXT").unlink()
        (folder / "rec" / "x" / "a.srt").unlink()
        assert hearing(folder, "rec").run()[:3] == (2, 0, 1)
        (row,) = errors(folder / "out")
        assert row["id"] == "x/a"
        assert row["reason"] == f"{folder / 'rec' / 'x' / 'a.txt'} can't be read: No such file or directory"

    def test_no_texts_at_all(self, folder: Path) -> None:
        for pattern in ("*.TXT", "*.srt", "*.lab"):
            for path in (folder / "rec").rglob(pattern):
                path.unlink()
        with pytest.raises(
            CTCError, match=r"none of the 3 audio files of .*rec has a text: expected a\.txt beside a\.wav"
        ):
            hearing(folder, "rec").run()
        assert not (folder / "out").exists()
        hearing(folder, "rec", task=Decoding()).run()
        assert {entry["id"]: entry["text"] for entry in log_of(folder / "out")} == NAMES

    def test_texts_beside_recordings_count_the_errors(self, folder: Path) -> None:
        (folder / "rec" / "a.lab").write_text("the quick brown cat")
        hearing(folder, "rec", task=Decoding()).run()
        assert [entry["word_errors"]["substitutions"] for entry in log_of(folder / "out")] == [1, 0, 0]

    @needs_linux
    def test_a_link_that_leads_back(self, folder: Path) -> None:
        (folder / "rec" / "x" / "again").symlink_to(folder / "rec", target_is_directory=True)
        (folder / "more").mkdir()
        (folder / "rec" / "z").symlink_to(folder / "more", target_is_directory=True)
        write(folder / "more" / "c.wav", "a dog")
        (folder / "more" / "c.txt").write_text("a dog")
        assert hearing(folder, "rec").run()[:3] == (4, 0, 0), errors(folder / "out")
        assert heard(folder) == {**NAMES, "z/c": "a dog"}

    def test_two_recordings_of_a_name(self, folder: Path) -> None:
        write(folder / "rec" / "a.flac", NAMES["a"])
        write(folder / "rec" / "x_a.wav", NAMES["x/a"])
        (folder / "rec" / "x_a.txt").write_text(NAMES["x/a"])
        assert hearing(folder, "rec").run()[:3] == (3, 0, 2)
        reasons = {row["id"]: row["reason"] for row in errors(folder / "out")}
        assert reasons["a"] == f"id 'a' is used on line 1 ({folder / 'rec' / 'a.flac'}): expected each id once"
        assert "x/a.wav) as 'x/a', which is the same file name" in reasons["x_a"]

    def test_what_is_no_folder_of_recordings(self, folder: Path) -> None:
        (folder / "empty").mkdir()
        for name, message in [
            ("empty", r"empty has no audio files: expected \.wav, \.flac"),
            ("no/*.wav", r"\*\.wav has no audio files"),
        ]:
            with pytest.raises(CTCError, match=message):
                hearing(folder, name).run()
        corpus = hearing(folder, "rec")
        with pytest.raises(CTCError, match=r"notes\.md is not a folder: expected the folder of the texts"):
            replace(corpus, defaults=corpus.defaults._replace(texts=folder / "rec" / "notes.md")).run()
        assert not (folder / "out").exists()


# --- images -----------------------------------------------------------------------------------------------------------


@needs("PIL")
class TestImages:
    def seeing(self, folder: Path, name: str, formats: tuple[str, ...] = (".json",)) -> Corpus:
        return Corpus(folder / name, folder / "out", formats, Aligning(), Defaults(recogniser="eyes"))

    def check(self, folder: Path) -> None:
        """A frame is two pixels, and 10 ms of the sound."""
        for id, text in TEXTS.items():
            written = folder / "out" / f"{id}.json"
            assert json.loads(written.read_text())["unit"] == "pixels"
            assert words_of(written) == [pytest.approx((200 * s, 200 * e)) for s, e in times(text)]

    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "lines").mkdir()
        for id, text in TEXTS.items():
            ears.draw(tmp_path / "lines" / f"{id}.png", text)
            (tmp_path / "lines" / f"{id}.txt").write_text(text)
            write(tmp_path / "lines" / f"{id}.wav", "its sound beside it")
        assert self.seeing(tmp_path, "lines").run()[:3] == (3, 0, 0), errors(tmp_path / "out")
        self.check(tmp_path)

    @pytest.mark.parametrize("form", ["lines", "shard"])
    def test_manifests(self, form: str, tmp_path: Path) -> None:
        members: list[tuple[str, bytes]] = []
        for id, text in TEXTS.items():
            ears.draw(tmp_path / f"{id}.png", text)
            members += [(f"{id}.png", (tmp_path / f"{id}.png").read_bytes()), (f"{id}.txt", text.encode())]
            members += [(f"{id}.wav", b"its sound")]
        write_tar(tmp_path / "shard", members)
        (tmp_path / "shard").rename(tmp_path / "shard.tar")
        rows = [{"id": id, "image": f"{id}.png", "audio": "x.wav", "text": text} for id, text in TEXTS.items()]
        manifest(tmp_path, rows, "lines")
        assert self.seeing(tmp_path, "shard.tar" if form == "shard" else "lines").run()[:3] == (3, 0, 0)
        self.check(tmp_path)

    def test_pixels_are_no_seconds(self, tmp_path: Path) -> None:
        manifest(tmp_path, [{"id": "a", "image": "a.png", "text": "a"}], "lines")
        with pytest.raises(CTCError, match=r"x\.ctm would hold seconds, and places in an image are pixels"):
            self.seeing(tmp_path, "lines", (".json", ".ctm")).run()
        assert not (tmp_path / "out").exists()
