"""Made-up recordings, and corpora of them: for the tests of corpora and of the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctckit.corpus import Corpus, Defaults, parse_formats
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


def corpus_of(folder: Path, count: int) -> list[dict[str, Any]]:
    """A corpus of short recordings; the rows of its manifest, which is written too."""
    rng = random.Random(1)
    rows = []
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    for i in range(count):
        text = " ".join(rng.choices(WORDS, k=3))
        np.save(folder / f"{i}.npy", spoken(text, i)[0])
        rows.append({"id": f"row {i}", "emissions": f"{i}.npy", "text": text})
    manifest(folder, rows)
    return rows


def manifest(folder: Path, rows: list[Any]) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def aligning(folder: Path, out: str = "out", formats: str = "json,csv") -> Corpus:
    defaults = Defaults(folder / "labels.txt", SHIFT)
    return Corpus(folder / "corpus.jsonl", folder / out, parse_formats(formats), defaults=defaults)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def errors(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "errors.jsonl").read_text().splitlines()]
