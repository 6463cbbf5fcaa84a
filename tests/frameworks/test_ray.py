"""A corpus on Ray Data, with the guide's call: all rows come back once, and the failed ones say why.

Ray weighs 600 MB and starts for half a minute, so these tests are run by ``make test-ray`` only.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.recordings import LABELS, SHIFT, spoken

from ctckit.annotate import AlignBatch, DecodeBatch, RecogniseBatch
from ctckit.recognisers import hama

ray = pytest.importorskip("ray", reason="make test-ray installs it")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

GUIDE = Path(__file__).parents[2] / "docs" / "alignment.md"
TEXTS = ["the quick fox", "a lazy dog", "", "over the dog", None, "the fox jumps"]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # or Ray writes a secret into the home folder
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    yield
    ray.shutdown()


def corpus(folder: Path, shards: int = 4, rows: int = 24) -> list[str | None]:
    """Parquet shards; the first one has only rows that fail. Returns the texts."""
    folder.mkdir()
    texts = [None if n < rows else TEXTS[n % len(TEXTS)] for n in range(shards * rows)]
    for shard in range(shards):
        numbers = range(shard * rows, shard * rows + rows)
        scores = [spoken(texts[n] or "the fox", n)[0].tolist() for n in numbers]
        columns = {
            "id": [str(n) for n in numbers],
            "text": pa.array([texts[n] for n in numbers], pa.string()),
            "log_probs": pa.array(scores, pa.list_(pa.list_(pa.float32()))),
        }
        pq.write_table(pa.table(columns), folder / f"{shard}.parquet")
    return texts


def test_the_guides_lines(tmp_path: Path) -> None:
    texts = corpus(tmp_path / "scores")
    (lines,) = re.findall(r"^```python\n(import ray\n.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    for folder in ("scores", "aligned"):
        lines = lines.replace(f'"{folder}"', repr(str(tmp_path / folder)))
    exec(lines, {"AlignBatch": AlignBatch, "labels": LABELS})
    found = pq.read_table(tmp_path / "aligned").to_pylist()
    assert sorted(int(row["id"]) for row in found) == list(range(len(texts)))
    for row in found:
        text = texts[int(row["id"])]
        assert (row["words"], bool(row["error"])) == ((text or "").split(), not text)
        assert len(row["starts"]) == len(row["ends"]) == len(row["words"])


def test_recordings(tmp_path: Path) -> None:
    """The lines of the guide to recognisers, but for the GPU: from files of sound to words."""
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("hama")
    audio = []
    for seed in range(6):
        file = io.BytesIO()
        soundfile.write(file, np.random.default_rng(seed).normal(0, 0.1, 9600), 16000, format="FLAC")
        audio.append({"bytes": file.getvalue(), "path": f"{seed}.flac"})
    audio[2] = {"bytes": None, "path": "none.flac"}
    table = pa.table({"id": [str(n) for n in range(6)], "audio": audio, "text": ["ten"] * 6})
    (tmp_path / "recordings").mkdir()
    for shard in range(2):
        pq.write_table(table.slice(shard * 3, 3), tmp_path / "recordings" / f"{shard}.parquet")
    guide = GUIDE.with_name("recognisers.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"^```python\n(import ray\n.*?)^```$", guide, re.M | re.S)
    lines = lines.replace("    num_gpus=0.25,\n", "")
    for folder in ("recordings", "aligned"):
        lines = lines.replace(f'"{folder}"', repr(str(tmp_path / folder)))
    exec(lines, {})
    found = sorted(pq.read_table(tmp_path / "aligned").to_pylist(), key=lambda row: row["id"])
    vocabulary = hama().vocabulary()
    expected = AlignBatch(vocabulary, "frame_shift", delay="delay", stretch="stretch")(
        RecogniseBatch("hama")(table)
    ).to_pylist()
    assert [row["id"] for row in found] == [str(n) for n in range(6)]
    assert [(row["words"], row["starts"], row["error"]) for row in found] == [
        (row["words"], row["starts"], row["error"]) for row in expected
    ]
    assert [bool(row["error"]) for row in found] == [n == 2 for n in range(6)]
    assert "log_probs" not in found[0]


def test_an_instance_in_tasks(tmp_path: Path) -> None:
    texts = corpus(tmp_path / "in", shards=2, rows=6)
    found = ray.data.read_parquet(str(tmp_path / "in")).map_batches(
        DecodeBatch(LABELS, SHIFT).__call__, batch_format="pyarrow", batch_size=4
    )
    assert {row["id"]: row["decoded"] for row in found.take_all()} == {
        str(n): text or "the fox" for n, text in enumerate(texts)
    }
