"""`ctckit align` takes folders as other people's tools leave them, and the words' times are right.

The scores are made by `spoken`, which also says when each word begins and ends.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import contents, errors, in_processes, log_of, manifest, words_of, write_labels
from support.folders import TEXTS, Times, hugging_face_folder, kaldi_folder, lhotse_folder, nemo_folder
from support.recordings import SHIFT, spoken

from ctckit.corpus import Aligning, Corpus, Defaults

Run = Callable[..., subprocess.CompletedProcess[str]]


def moved(times: Times, offset: float) -> list[Any]:
    """The times of words that were said so many seconds later, up to rounding."""
    return [pytest.approx((start + offset, end + offset)) for start, end in times]


def plain_labels(folder: Path) -> tuple[object, ...]:
    """Writes a file of labels; the options that pass it, and where the outputs go."""
    write_labels(folder)
    return ("--labels", "labels.txt", "--frame-shift", SHIFT, "--out", "out")


# --- folders of five tools --------------------------------------------------------------------------------------------


def test_nemo(tmp_path: Path, ctckit: Run) -> None:
    """NeMo's manifest, and its configuration, whose labels lack the blank. Files of scores are named as recordings."""
    truth = nemo_folder(tmp_path)
    options = ("--labels", "model_config.yaml", "--frame-shift", SHIFT, "--out", "out")
    done = ctckit("align", "scores", "--manifest", "manifest.json", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
    for seed, offset in enumerate([0, 12.5, 0]):
        assert words_of(tmp_path / "out" / f"utt{seed}.json") == moved(truth[seed], offset)


@pytest.mark.parametrize("place", ["logprobs.scp", "logprobs.ark"])
def test_kaldi(place: str, tmp_path: Path, ctckit: Run) -> None:
    ids = ["sp1-utt1", "sp1-utt2", "sw02001-A_000098-001156"]
    truth = kaldi_folder(tmp_path, ids)
    done = ctckit("align", place, "--manifest", "text", *plain_labels(tmp_path), "--threads", 2)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
    for id, times in zip(ids, truth, strict=True):
        assert words_of(tmp_path / "out" / f"{id}.json") == moved(times, 0)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [(np.float64, {}), (np.float32, {"compression_method": 2}), (np.float32, {"text": True})],
    ids=["doubles", "compressed", "text"],
)
def test_archives_of_other_numbers(dtype: type, options: dict[str, Any], tmp_path: Path, ctckit: Run) -> None:
    """The archive is listed matrix by matrix, so the size of each must be known."""
    kaldiio = pytest.importorskip("kaldiio", reason="Kaldi's archives are an extra")
    truth = kaldi_folder(tmp_path, ["a", "b", "c"])
    floats = kaldiio.load_ark(str(tmp_path / "logprobs.ark"))
    kaldiio.save_ark(str(tmp_path / "x.ark"), {id: scores.astype(dtype) for id, scores in floats}, **options)
    done = ctckit("align", "x.ark", "--manifest", "text", *plain_labels(tmp_path))
    assert (done.returncode, done.stdout) == (0, "3 rows aligned, 0 failed\n")
    for id, times in zip("abc", truth, strict=True):
        assert words_of(tmp_path / "out" / f"{id}.json") == moved(times, 0)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_lhotse(ending: str, tmp_path: Path, ctckit: Run) -> None:
    """Cuts begin within a recording; their supervisions are in no order, and each is a line."""
    truth = lhotse_folder(tmp_path, ending)
    done = ctckit("align", ".", "--manifest", f"cuts{ending}", *plain_labels(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
    for seed, text in enumerate(TEXTS):
        assert words_of(tmp_path / "out" / f"rec-1-{seed}.json") == moved(truth[seed], 0)
        written = json.loads((tmp_path / "out" / f"rec-1-{seed}.json").read_text(encoding="utf-8"))
        assert [line["text"] for line in written["lines"]] == text.split(" ", 1)


def test_lhotse_supervisions(tmp_path: Path, ctckit: Run) -> None:
    scores, times = spoken(TEXTS[0])
    np.save(tmp_path / "rec-1-utt.npy", scores)
    row = {"id": "rec-1-utt", "recording_id": "rec-1", "start": 3.25, "duration": 2.0, "channel": 0, "text": TEXTS[0]}
    manifest(tmp_path, [row], "supervisions.jsonl")
    done = ctckit("align", ".", "--manifest", "supervisions.jsonl", *plain_labels(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert words_of(tmp_path / "out" / "rec-1-utt.json") == moved(times, 3.25)


def test_hugging_face(tmp_path: Path, ctckit: Run) -> None:
    """A model's logits as torch saves them, (1, T, C), and the vocab.json of its tokenizer."""
    times = hugging_face_folder(tmp_path)
    (tmp_path / "text.txt").write_text("The quick brown fox.\n")
    command = ("align", "logits.pt", "text.txt", "--labels", "vocab.json", "--frame-shift", SHIFT, "--logits")
    done = ctckit(*command, "-o", "x.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert words_of(tmp_path / "x.json") == moved(times, 0)


def test_subtitles(tmp_path: Path, ctckit: Run) -> None:
    """Each line has been said twice; the subtitles say which of them is meant, roughly."""
    scores, times = spoken("a lazy dog a lazy dog over the dog")
    np.save(tmp_path / "talk.npy", scores)
    middle, end = times[3][0] - 0.04, len(scores) * SHIFT
    between = times[6][0] - 0.04

    def clock(seconds: float) -> str:
        return f"00:00:{int(seconds):02d},{round(1000 * (seconds % 1)):03d}"

    cues = [(middle, between, "<i>A lazy dog</i>"), (between, end, "- Over\n- the dog! ♪")]
    blocks = [f"{i}\n{clock(a)} --> {clock(b)}\n{text}\n" for i, (a, b, text) in enumerate(cues, start=1)]
    (tmp_path / "talk.srt").write_text("\n".join(blocks), encoding="utf-8-sig")
    plain_labels(tmp_path)
    command = ("align", "talk.npy", "talk.srt", "--labels", "labels.txt", "--frame-shift", SHIFT, "--cue-times")
    done = ctckit(*command, "-o", "talk.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert words_of(tmp_path / "talk.json") == moved(times[3:], 0)


# --- where scores are, and what rows are called -----------------------------------------------------------------------


def test_ids_that_no_file_can_have(tmp_path: Path, ctckit: Run) -> None:
    """File names have `_` for what they cannot hold; the log has the ids as they are."""
    ids = ["swbd/sw2001:A", "b/../c", "swbd_sw2001_A"]
    truth = kaldi_folder(tmp_path, ids)
    done = ctckit("align", "logprobs.ark", "--manifest", "text", *plain_labels(tmp_path))
    assert done.stdout.startswith("2 rows aligned, 1 failed")
    assert sorted(contents(tmp_path / "out")) == ["b_.._c.json", "done.jsonl", "errors.jsonl", "swbd_sw2001_A.json"]
    assert words_of(tmp_path / "out" / "swbd_sw2001_A.json") == moved(truth[0], 0)
    assert [entry["id"] for entry in log_of(tmp_path / "out")] == ids[:2]
    (failed,) = errors(tmp_path / "out")
    assert failed["reason"].startswith(
        "id 'swbd_sw2001_A' is used on line 1 as 'swbd/sw2001:A', which is the same file"
    )


def test_scores_that_are_missing_or_there_twice(tmp_path: Path, ctckit: Run) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    scores, times = spoken(TEXTS[0])
    np.save(folder / "one.npy", scores)
    (folder / "one.txt").write_text("The quick brown fox")
    np.save(folder / "two.npy", scores)
    np.savez(folder / "two.npz", scores)
    np.save(folder / "no.left.npy", scores)
    rows = [{"audio_filepath": f"{name}.wav", "text": TEXTS[0]} for name in ("one", "two", "no", "x/one")]
    manifest(tmp_path, rows, "manifest.json")
    for skipped in ("", ", 1 skipped (already done)"):
        done = ctckit("align", "scores", "--manifest", "manifest.json", *plain_labels(tmp_path))
        assert (done.returncode, done.stderr) == (1, "")
        assert f"{0 if skipped else 1} rows aligned{skipped}, 3 failed" in done.stdout
        assert words_of(tmp_path / "out" / "one.json") == moved(times, 0)
        reasons = [row["reason"] for row in errors(tmp_path / "out")]
        assert "scores has the scores of 'two' as two.np" in reasons[0]
        assert reasons[1] == "scores has no scores for 'no': expected no.npy, or .npz, .pt, .pth, .safetensors"
        assert reasons[2].endswith("it is the stem of the recording's file: add an 'id' to rows of the same name")
    (folder / "one.npy").unlink()  # its outputs stay, and it is no row that the manifest lacks
    before = contents(tmp_path / "out")
    done = ctckit("align", "scores", "--manifest", "manifest.json", *plain_labels(tmp_path))
    assert done.stdout == f"0 rows aligned, 4 failed: see {Path('out/errors.jsonl')}\n"
    assert contents(tmp_path / "out")["one.json"] == before["one.json"]


def test_a_row_says_where_its_matrix_is(tmp_path: Path, ctckit: Run) -> None:
    truth = kaldi_folder(tmp_path, ["a", "b", "c"])
    places = [line.split(" ", 1)[1] for line in (tmp_path / "logprobs.scp").read_text().splitlines()]
    rows = [{"id": "x", "emissions": os.path.basename(places[2]), "text": TEXTS[2]}]
    manifest(tmp_path, rows)
    options = plain_labels(tmp_path)
    assert ctckit("align", "--manifest", "corpus.jsonl", *options).returncode == 0
    assert words_of(tmp_path / "out" / "x.json") == moved(truth[2], 0)
    (tmp_path / "c.txt").write_text(TEXTS[2])
    done = ctckit("align", places[2], "c.txt", *options[:-1], "c.json")
    assert done.returncode == 0
    assert words_of(tmp_path / "c.json") == moved(truth[2], 0)


def test_a_table_of_files(tmp_path: Path, ctckit: Run) -> None:
    """Files that are not in the working directory are looked for beside the table. Some hold one matrix and no id."""
    kaldiio = pytest.importorskip("kaldiio", reason="Kaldi's archives are an extra")
    (tmp_path / "data").mkdir()
    made = [spoken(text, seed) for seed, text in enumerate(TEXTS)]
    np.save(tmp_path / "data" / "a.npy", made[0][0])
    kaldiio.save_mat(str(tmp_path / "b.mat"), made[1][0])
    kaldiio.save_ark(str(tmp_path / "data" / "c.ark"), {"c": made[2][0].astype(np.float64)}, text=True)
    (tmp_path / "data" / "x.scp").write_text("a\ta.npy\n\nb b.mat\nc   c.ark:2 \n")
    (tmp_path / "text").write_text("".join(f"{id} {text}\n" for id, text in zip("abc", TEXTS, strict=True)))
    done = ctckit("align", "data/x.scp", "--manifest", "text", *plain_labels(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 rows aligned, 0 failed\n", "")
    for id, (_, times) in zip("abc", made, strict=True):
        assert words_of(tmp_path / "out" / f"{id}.json") == moved(times, 0)


def test_going_on_with_an_archive(tmp_path: Path, ctckit: Run) -> None:
    """Rows are done again if their archive has changed, or if its table now points elsewhere."""
    kaldi_folder(tmp_path, ["a", "b", "c"])
    command = ("align", "logprobs.scp", "--manifest", "text", *plain_labels(tmp_path))
    assert ctckit(*command).stdout == "3 rows aligned, 0 failed\n"
    assert ctckit(*command).stdout == "0 rows aligned, 3 skipped (already done), 0 failed\n"
    first = contents(tmp_path / "out")
    table = (tmp_path / "logprobs.scp").read_text()
    rows = [line.split(" ", 1) for line in table.splitlines()]
    swapped = [f"{id} {place}" for id, place in [(rows[0][0], rows[1][1]), (rows[1][0], rows[0][1]), rows[2]]]
    (tmp_path / "logprobs.scp").write_text("\n".join(swapped) + "\n")
    assert "1 skipped (already done), " in ctckit(*command).stdout
    (tmp_path / "logprobs.scp").write_text(table)
    ctckit(*command)
    assert contents(tmp_path / "out") == first
    kaldi_folder(tmp_path, ["a", "b", "c"])
    os.utime(tmp_path / "logprobs.ark", (10**9, 10**9))
    assert ctckit(*command).stdout == "3 rows aligned, 0 failed\n"


def test_only_a_rows_own_matrix_is_read(tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive may be larger than the memory: here the matrix before the rows' has 3 GB, a hole in the file."""
    kaldi_folder(tmp_path, ["a", "b", "c"])
    from kaldiio import matio

    read: list[tuple[int, ...]] = []
    original = matio.read_kaldi

    def counted(file: Any) -> Any:
        matrix = original(file)
        read.append(matrix.shape)
        return matrix

    monkeypatch.setattr(matio, "read_kaldi", counted)
    small, rows = (tmp_path / "logprobs.ark").read_bytes(), 20_000_000
    with (tmp_path / "huge.ark").open("wb") as file:
        file.write(b"hole \0BFM \4" + rows.to_bytes(4, "little") + b"\4" + (40).to_bytes(4, "little"))
        file.seek(4 * 40 * rows, os.SEEK_CUR)
        file.write(small)
    done = ctckit("align", "huge.ark", "--manifest", "text", *plain_labels(tmp_path))
    assert (done.returncode, done.stdout) == (0, "3 rows aligned, 0 failed\n")
    assert read == [spoken(text, seed)[0].shape for seed, text in enumerate(TEXTS)]
    (tmp_path / "huge.ark").unlink()
    found = {name: content for name, content in contents(tmp_path / "out").items() if name != "done.jsonl"}
    ctckit("align", "logprobs.ark", "--manifest", "text", *plain_labels(tmp_path)[:-1], "small")
    assert {name: content for name, content in contents(tmp_path / "small").items() if name != "done.jsonl"} == found


def test_other_processes_read_archives_too(tmp_path: Path) -> None:
    truth = kaldi_folder(tmp_path, ["a", "b", "c"])
    plain_labels(tmp_path)
    defaults = Defaults(tmp_path / "labels.txt", SHIFT, emissions=tmp_path / "logprobs.ark")
    corpus = Corpus(tmp_path / "text", tmp_path / "out", (".json",), Aligning(), defaults)
    assert corpus.run(in_processes)[:4] == (3, 0, 0, 0)
    for id, times in zip("abc", truth, strict=True):
        assert words_of(tmp_path / "out" / f"{id}.json") == moved(times, 0)


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("x.scp", b"a cat a.ark |\n", "x.scp, line 1 is 'a cat a.ark |': expected an id and FILE:OFFSET; commands"),
        ("x.scp", b"a\n", "x.scp, line 1 is 'a': expected an id and FILE:OFFSET"),
        ("x.scp", b"a a.ark:5[0:9]\n", "commands and ranges are not read"),
        ("x.ark", b"x" * 9000, "x.ark is not a readable .ark file: after byte 0: b'xxxxxxxxxxxxxxxxxxxx' is not an id"),
        ("x.ark", b"a PKL\x80\x04.", "x.ark is not a readable .ark file: after byte 2: it begins with b'PKL"),
        ("x.ark", b"", "x.ark is empty"),
        ("x.hdf5", b"x", "EMISSIONS x.hdf5: expected a folder that is there, an .scp, .ark, .tar or .parquet"),
    ],
)
def test_files_that_are_not_archives(place: str, content: bytes, message: str, tmp_path: Path, ctckit: Run) -> None:
    pytest.importorskip("kaldiio", reason="Kaldi's archives are an extra")
    (tmp_path / place).write_bytes(content)
    (tmp_path / "text").write_text("a the fox\n")
    done = ctckit("align", place, "--manifest", "text", *plain_labels(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_damaged_matrix_is_one_row_that_failed(tmp_path: Path, ctckit: Run) -> None:
    kaldi_folder(tmp_path, ["a", "b", "c"])
    archive = tmp_path / "logprobs.ark"
    archive.write_bytes(archive.read_bytes()[:-9])
    done = ctckit("align", "logprobs.ark", "--manifest", "text", *plain_labels(tmp_path))
    assert done.stdout.startswith("2 rows aligned, 1 failed")
    (failed,) = errors(tmp_path / "out")
    assert (failed["id"], failed["line"]) == ("c", 3)
    assert "bytes go past the end of the file; is the file complete" in failed["reason"]


def test_kaldi_is_an_extra(tmp_path: Path, ctckit: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.scp").write_text("a x.ark:2\n")
    (tmp_path / "text").write_text("a the fox\n")
    monkeypatch.setitem(sys.modules, "kaldiio", None)
    done = ctckit("align", "x.scp", "--manifest", "text", *plain_labels(tmp_path))
    assert done.returncode == 2
    assert re.search(r"needs the package 'kaldiio': pip install .*\[kaldi\]'", done.stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"supervisions": 5}, "'supervisions' is 5: expected objects, with their start and text"),
        ({"supervisions": [{"start": "0"}]}, "expected objects, with their start and text"),
        ({"supervisions": [{"start": 0}]}, "'supervisions' has no text"),
        ({"supervisions": [{"text": "the fox"}], "start": "1"}, "offset = '1': expected the seconds"),
        ({"audio_filepath": "x.wav", "text": "the fox"}, "'emissions' is missing: expected a file in this row, or a"),
    ],
)
def test_rows_that_are_wrong(row: dict[str, Any], reason: str, tmp_path: Path, ctckit: Run) -> None:
    manifest(tmp_path, [{"id": "x", **row}])
    np.save(tmp_path / "x.npy", spoken("the fox")[0])
    places = () if "audio_filepath" in row else (".",)
    assert ctckit("align", *places, "--manifest", "corpus.jsonl", *plain_labels(tmp_path)).returncode == 1
    assert reason in errors(tmp_path / "out")[0]["reason"]


def test_a_manifest_that_was_cut_off(tmp_path: Path, ctckit: Run) -> None:
    (tmp_path / "cuts.jsonl.gz").write_bytes(gzip.compress(b'{"id": "x"}\n' * 99)[:30])
    done = ctckit("align", ".", "--manifest", "cuts.jsonl.gz", *plain_labels(tmp_path))
    assert done.returncode == 2
    assert "cuts.jsonl.gz is not a readable gzip file" in done.stderr


def test_an_utterance_without_words(tmp_path: Path, ctckit: Run) -> None:
    np.save(tmp_path / "a.npy", spoken("the fox")[0])
    (tmp_path / "text").write_text("a the fox\nb\n")
    done = ctckit("align", ".", "--manifest", "text", *plain_labels(tmp_path))
    assert done.stdout.startswith("1 rows aligned, 1 failed")
    assert errors(tmp_path / "out")[0] == {"id": "b", "line": 2, "reason": "'text' is '': expected a string, not empty"}
