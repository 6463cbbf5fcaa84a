"""Made-up recordings, and corpora of them: for the tests of corpora and of the command line."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctckit.corpus import Corpus, Defaults, parse_formats
from ctckit.corpus.job import Entry, Job
from ctckit.corpus.manifest import FailedRow, Row
from ctckit.corpus.store import LOCK

LABELS = ["φ", " ", *"abcdefghijklmnopqrstuvwxyz"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
SHIFT = 0.02


def spoken(text: str, seed: int = 0) -> tuple[npt.NDArray[np.float32], list[tuple[float, float]]]:
    """Log-probabilities that say a text, and the words' times."""
    rng = np.random.default_rng(seed)
    frames, starts, ends = [0] * 3, [], []
    for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if before == " ":
            starts.append(len(frames) * SHIFT)
        frames += [LABELS.index(letter)] * int(rng.integers(1, 3))
        if after == " ":
            ends.append(len(frames) * SHIFT)
        frames += [0] * int(rng.integers(1, 4))
    logits = rng.normal(size=(len(frames), len(LABELS)))
    logits[np.arange(len(frames)), frames] += 9
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs.astype(np.float32), list(zip(starts, ends, strict=True))


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


def aligning(folder: Path, out: str = "out", formats: str = "json,csv") -> Corpus:
    defaults = Defaults(folder / "labels.txt", SHIFT)
    return Corpus(folder / "corpus.jsonl", folder / out, parse_formats(formats), defaults=defaults)


def in_processes(job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
    """A runner as users may write one: it aligns rows in other processes."""
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
