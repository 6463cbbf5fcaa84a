"""Corpora of made-up recordings: their files, runs over them, and what a run has written. Needs filelock."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ctckit.corpus import Aligning, Corpus, Decoding, Defaults, parse_formats
from ctckit.corpus.job import Entry, Job
from ctckit.corpus.manifest import FailedRow, Row
from ctckit.corpus.store import LOCK

from .recordings import LABELS, SHIFT, WORDS, spoken


def write_labels(folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")


def corpus_of(folder: Path, count: int) -> list[dict[str, Any]]:
    """A corpus of short recordings; the rows of its manifest, which is written too."""
    rng = random.Random(1)
    rows = []
    write_labels(folder)
    for i in range(count):
        text = " ".join(rng.choices(WORDS, k=3))
        np.save(folder / f"{i}.npy", spoken(text, i)[0])
        rows.append({"id": f"row {i}", "emissions": f"{i}.npy", "text": text})
    manifest(folder, rows)
    return rows


def manifest(folder: Path, rows: Sequence[Any], name: str = "corpus.jsonl") -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def corpus(folder: Path, task: Aligning | Decoding, out: str = "out", formats: str = "json,csv") -> Corpus:
    """The rows of the manifest, with a task."""
    defaults = Defaults(folder / "labels.txt", SHIFT)
    return Corpus(folder / "corpus.jsonl", folder / out, parse_formats(formats), task, defaults)


def aligning(folder: Path, out: str = "out", formats: str = "json,csv") -> Corpus:
    return corpus(folder, Aligning(), out, formats)


def in_processes(job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
    """A runner as users may write one: it does rows in other processes."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield from pool.map(job.run, rows)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def words_of(file: Path) -> list[tuple[float, float]]:
    """The start and end of each word in an alignment written as JSON."""
    lines = json.loads(file.read_text(encoding="utf-8"))["lines"]
    return [(word["start"], word["end"]) for line in lines for word in line["words"]]


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's log, without its first line, which holds the options."""
    return [json.loads(line) for line in (folder / "done.jsonl").read_text().splitlines()[1:]]


def errors(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
