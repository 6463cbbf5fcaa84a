"""Corpora in webdataset's shards and in Parquet: the same results as from single files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("filelock", reason="a run over a corpus needs filelock")

from support.corpora import aligning, corpus_of, errors, log_of, words_of, write_tar

from ctckit.corpus import Corpus, Defaults, Threads
from ctckit.corpus.manifest import FailedRow, Row, read_manifest
from ctckit.errors import CTCError, MissingExtraError
from ctckit.files import read_log_probs

Rows = list[dict[str, Any]]


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def as_tar(folder: Path, rows: Rows) -> None:
    """Each row as a sample; the first text is in its JSON, the others in files of their own."""
    members: list[tuple[str, bytes]] = []
    for n, row in enumerate(rows):
        facts = {"speaker": n} | ({} if n else {"text": row["text"]})
        members.append((f"{row['id']}.log_probs.npy", (folder / row["emissions"]).read_bytes()))
        members.append((f"{row['id']}.json", json.dumps(facts).encode()))
        members += [(f"{row['id']}.txt", row["text"].encode() + b"\n")] if n else []
    write_tar(folder / "corpus.tar", members)


def as_parquet(folder: Path, rows: Rows, form: str = "lists") -> None:
    """Each row as a row, in groups of two."""
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    scores = [np.load(folder / row["emissions"]) for row in rows]
    column = {
        "lists": lambda: pa.array([one.tolist() for one in scores], pa.list_(pa.list_(pa.float32()))),
        "fixed": lambda: pa.array([one.tolist() for one in scores], pa.list_(pa.list_(pa.float32(), 28))),
        "batch axis": lambda: pa.array([[one.tolist()] for one in scores]),
        "npy": lambda: pa.array([npy(one) for one in scores], pa.binary()),
    }[form]()
    columns = {
        "id": [row["id"] for row in rows],
        "text": pa.array([row["text"] for row in rows]).dictionary_encode(),
        "speaker": list(range(len(rows))),
        "offset": pa.array([None] * len(rows), pa.float64()),
        "audio": [b"\x00"] * len(rows),
        "log_probs": column,
    }
    parquet.write_table(pa.table(columns), folder / "corpus.parquet", row_group_size=2)


def run(folder: Path, name: str, out: str) -> list[dict[str, Any]]:
    """The log of a run over a manifest, whose rows are all done."""
    rows = replace(aligning(folder, out, "json"), manifest=folder / name)
    outcome = rows.run(Threads(2))
    assert outcome.failed == 0, errors(folder / out)
    return log_of(folder / out)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_tar, "corpus.tar"),
        *[
            (lambda folder, rows, form=form: as_parquet(folder, rows, form), "corpus.parquet")
            for form in ("lists", "fixed", "batch axis", "npy")
        ],
    ],
    ids=["tar", "lists", "fixed", "batch axis", "npy"],
)
def test_what_single_files_give(write: Callable[[Path, Rows], None], name: str, tmp_path: Path) -> None:
    rows = corpus_of(tmp_path, 5)
    write(tmp_path, rows)
    run(tmp_path, "corpus.jsonl", "single")
    for row in rows:
        (tmp_path / row["emissions"]).unlink()
    log = run(tmp_path, name, "out")
    assert [(entry["id"], entry["speaker"]) for entry in log] == [(row["id"], n) for n, row in enumerate(rows)]
    for row in rows:
        file = f"{row['id']}.json"
        assert words_of(tmp_path / "out" / file) == words_of(tmp_path / "single" / file)
    again = replace(aligning(tmp_path, "out", "json"), manifest=tmp_path / name).run()
    assert (again.done, again.skipped) == (0, 5)


@pytest.mark.parametrize(("write", "name"), [(as_tar, "corpus.tar"), (as_parquet, "corpus.parquet")])
def test_scores_of_another_manifest(write: Callable[[Path, Rows], None], name: str, tmp_path: Path) -> None:
    rows = [row | {"id": row["id"].replace(" ", "-")} for row in corpus_of(tmp_path, 3)]
    write(tmp_path, rows)
    (tmp_path / "text").write_text("".join(f"{row['id']} {row['text']}\n" for row in rows[::-1]))
    corpus = aligning(tmp_path, "out", "json")
    corpus = replace(corpus, manifest=tmp_path / "text", defaults=corpus.defaults._replace(emissions=tmp_path / name))
    assert corpus.run()[:3] == (3, 0, 0)
    assert [entry["reading"] for entry in log_of(tmp_path / "out")] == [row["text"] for row in rows[::-1]]
    (tmp_path / "text").write_text("other the fox\n")
    replace(corpus, out=tmp_path / "no").run()
    assert "has no scores for 'other': expected an entry of this id" in errors(tmp_path / "no")[0]["reason"]


def test_a_table_without_scores(tmp_path: Path) -> None:
    """Its rows name their files, or have those of NeMo and lhotse."""
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = corpus_of(tmp_path, 2)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus.parquet")
    assert [entry["reading"] for entry in run(tmp_path, "corpus.parquet", "out")] == [row["text"] for row in rows]
    cuts = [
        {"id": str(n), "start": 1.5, "supervisions": [{"start": 0.0, "text": row["text"]}]}
        for n, row in enumerate(rows)
    ]
    parquet.write_table(pa.Table.from_pylist(cuts), tmp_path / "cuts.parquet")
    defaults = Defaults(tmp_path / "labels.txt", 0.02, emissions=tmp_path)
    read = read_manifest(tmp_path / "cuts.parquet", defaults, needs_text=True)
    assert [(row.id, row.text, row.offset) for row in read if isinstance(row, Row)] == [
        (str(n), row["text"], 1.5) for n, row in enumerate(rows)
    ]


def test_names_in_a_tar(tmp_path: Path) -> None:
    """A key is all before the first dot of the file's own name; what is neither scores nor text is passed over."""
    scores = np.zeros((2, 3), np.float32)
    members = [
        ("./a.b/x.npy", npy(scores)),
        ("./a.b/x.flac", b"sound"),
        ("./a.b/x.TXT", b"one"),
        ("README", b"no sample"),
        ("y.tokens.npy.txt", b"two"),
        ("y.txt", b"two"),
        ("y.npy", npy(scores + 1)),
        ("z.npy", npy(scores)),
        ("z.logits.npy", npy(scores)),
        ("z.txt", b"three"),
        ("v.json", b"["),
        ("w.txt", b"\xff"),
    ]
    write_tar(tmp_path / "x.tar", members)
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    rows = read_manifest(tmp_path / "x.tar", Defaults(tmp_path / "labels.txt", 0.02), needs_text=True)
    first, second = (row for row in rows if isinstance(row, Row))
    assert (first.line, second.line) == (1, 2)
    assert (first.text, second.text) == ("one", "two")
    assert (first.id, second.id) == ("a.b/x", "y")
    assert (read_log_probs(first.source.path) == scores).all()
    assert (read_log_probs(second.source.path) == scores + 1).all()
    wrong = [row.reason for row in rows if isinstance(row, FailedRow)]
    assert "x.tar has the scores of 'z' as x.tar:" in wrong[0]
    assert "and as x.tar:" in wrong[0]
    assert "not JSON" in wrong[1]
    assert "w.txt is not UTF-8 text" in wrong[2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tar", b"no tar" * 200, "x.tar is not a readable .tar file"),
        ("x.tar", b"", "x.tar is empty"),
        ("x.tar.gz", b"\x1f\x8b", "x.tar.gz is compressed: unpack it"),
        ("x.tgz", b"\x1f\x8b", "x.tgz is compressed: unpack it"),
        ("x.parquet", b"PAR1 and no table", "x.parquet is not a readable .parquet file"),
        ("x.parquet", b"", "x.parquet is empty"),
    ],
)
def test_files_that_are_something_else(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet is an extra")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CTCError, match=message):
        read_manifest(tmp_path / name, Defaults(), needs_text=True)


def test_a_file_that_is_cut(tmp_path: Path) -> None:
    rows = corpus_of(tmp_path, 3)
    as_tar(tmp_path, rows)
    whole = (tmp_path / "corpus.tar").read_bytes()
    corpus = replace(aligning(tmp_path, "out", "json"), manifest=tmp_path / "corpus.tar")
    (tmp_path / "corpus.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        CTCError, match=r"corpus.tar is not a readable .tar file: unexpected end of data; is it complete"
    ):
        corpus.run()


def test_places_that_hold_no_scores(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_tar(tmp_path / "x.tar", [("a.txt", b"words")])
    with pytest.raises(CTCError, match=r"x.tar:512 is not a readable .npy file: it does not begin as NumPy files do"):
        read_log_probs(tmp_path / "x.tar:512")
    for name, place in [("x.tar", "FILE:OFFSET for one .npy of a shard"), ("x.parquet", "FILE:ROW for one row")]:
        with pytest.raises(CTCError, match=place):
            read_log_probs(tmp_path / name)
    with pytest.raises(CTCError, match=r"no-file.tar can't be read"):
        read_log_probs(tmp_path / "no-file.tar:0")
    uneven = [[[0.0, 1.0], [2.0]], None, [[0.5, 0.5]], [["a"]]]
    parquet.write_table(pa.table({"log_probs": uneven[:3]}), tmp_path / "x.parquet")
    parquet.write_table(pa.table({"log_probs": uneven[3:]}), tmp_path / "y.parquet")
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "z.parquet")
    assert read_log_probs(tmp_path / "x.parquet:2").tolist() == [[0.5, 0.5]]
    for place, message in [
        ("x.parquet:0", "x.parquet:0 has frames of different lengths"),
        ("x.parquet:1", "x.parquet:1 holds no scores there"),
        ("x.parquet:3", "x.parquet:3: expected a row from 0 to 2"),
        ("y.parquet:0", "y.parquet:0 holds an array of dtype"),
        ("z.parquet:0", "z.parquet has no column of scores: expected log_probs, logits, emissions; it has 'id'"),
    ]:
        with pytest.raises(CTCError, match=message):
            read_log_probs(tmp_path / place)


def test_a_table_that_is_written_again(tmp_path: Path) -> None:
    """What was kept of the old one is not used."""
    pa = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet")
    for value in (0.25, 0.5):
        parquet.write_table(pa.table({"log_probs": [[[value, value]]]}), tmp_path / "x.parquet")
        assert read_log_probs(tmp_path / "x.parquet:0").tolist() == [[value, value]]


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Reading .parquet files needs the package 'pyarrow'"):
        Corpus(tmp_path / "x.parquet", tmp_path / "out", (".json",), aligning(tmp_path).task).run()
