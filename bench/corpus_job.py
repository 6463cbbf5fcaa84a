"""`python bench/corpus_job.py RECORDINGS`: the job of examples/align_corpus.py on recordings.

RECORDINGS is `usr/share/pocketsphinx/test/data` of Debian's pocketsphinx-testdata (`apt-get download`, `dpkg -x`): six
sentences, 35 s. Rows of three sentences are made of them, at other speeds, louder or softer, with noise, and repeated.

First the cost of an hour of sound by stage, with hama, in CPU seconds. Then a corpus of `--hours`, with one worker and
with two in turn, on Ray or with `--processes`. There the network is a stand-in, a product of matrices with hama's
frames and classes, since hama takes up to 0.2 s for a second of sound. Starting Ray and workers is not counted.

Ends with status 1 unless two workers do at least 1.8 times what one does, and memory in the last third of a run is at
most 1.1 times that in the first third. Writes bench/results/corpus_job_ray.csv, or …_processes.csv. Other work on the
machine spoils it.
"""

from __future__ import annotations

import io
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
import soxr
from harness import Row, parser, show, write_results

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
import align_corpus

from ctckit.annotate import AlignBatch, RecogniseBatch
from ctckit.recognisers import Opened, Recogniser, SoundInput, hama
from ctckit.recognisers.media import read_sound

RATE = 22050  # of the files, so that they are resampled
VARIED = 48  # rows that differ; then they are repeated
SHARDS = 40
LEAST_SPEEDUP, MOST_GROWTH = 1.8, 1.1


class Sentence(NamedTuple):
    sound: np.ndarray
    text: str


def sentences(folder: Path) -> list[Sentence]:
    """Those of the package whose texts are there, at 16 kHz."""
    raw = np.frombuffer((folder / "goforward.raw").read_bytes(), "<i2").astype(np.float32) / 32768
    found = [Sentence(raw, "go forward ten meters")]
    for line in (folder / "librivox" / "transcription").read_text().splitlines():
        text, _, name = line.removeprefix("<s> ").partition(" </s> ")
        sound, rate = soundfile.read(folder / "librivox" / f"{name.strip('()')}.wav", dtype="float32")
        found.append(Sentence(soxr.resample(sound, rate, 16000), text))
    return found


def varied(known: list[Sentence], seed: int) -> dict[str, Any]:
    """A row: three sentences, and a quarter of a second between them."""
    rng = np.random.default_rng(seed)
    chosen = [known[n] for n in rng.choice(len(known), 3, replace=False)]
    pause = np.zeros(4000, np.float32)
    sound = np.concatenate([part for one in chosen for part in (one.sound, pause)])
    sound = soxr.resample(sound, 16000 * rng.uniform(0.92, 1.08), RATE) * rng.uniform(0.3, 1.0)
    sound = sound + rng.normal(0, 10 ** rng.uniform(-3.5, -2.5), len(sound))
    file = io.BytesIO()
    soundfile.write(file, sound.clip(-1, 1), RATE, format="FLAC")
    return {"audio": file.getvalue(), "text": " ".join(one.text for one in chosen), "seconds": len(sound) / RATE}


# --- the cost of an hour, by stage ------------------------------------------------------------------------------------


def stages(rows: list[dict[str, Any]]) -> list[Row]:
    """CPU seconds for an hour of sound, with hama in one thread; and those of spelling a word."""
    recogniser = hama()
    align = AlignBatch(recogniser.vocabulary(), "frame_shift", delay="delay", stretch="stretch")
    table = pa.Table.from_pylist(rows)
    batches = [pa.table(table.slice(n, 1)) for n in range(len(rows))]
    used: dict[str, float] = {}

    def timed(stage: str, work: Any) -> Any:
        begun = time.process_time()
        done = work()
        used[stage] = time.process_time() - begun
        return done

    takes = recogniser.takes
    assert isinstance(takes, SoundInput)
    files = [Opened(io.BytesIO(row["audio"]), "row") for row in rows]
    blocks = timed("read, 22.05 to 16 kHz", lambda: [list(read_sound(file, takes.rate)) for file in files])
    timed("network: hama", lambda: [recogniser.log_probs(one) for one in blocks])
    heard = [RecogniseBatch(lambda: recogniser)(batch) for batch in batches]
    words = {word for row in rows for word in row["text"].split()}
    timed("spell and align", lambda: [align(batch) for batch in heard])
    aligned = timed("align", lambda: [align(batch) for batch in heard])
    spelling = used.pop("spell and align") - used["align"]
    done = [one for batch in aligned for one in batch.to_batches()]
    with tempfile.TemporaryFile() as file:
        timed("write", lambda: write(file, done))
    hours = sum(row["seconds"] for row in rows) / 3600
    assert not any(error for batch in done for error in batch["error"].to_pylist())
    found = [{"what": stage, "CPU s an hour": f"{seconds / hours:.2f}"} for stage, seconds in used.items()]
    return [*found, {"what": "spell a new word, once", "CPU s an hour": f"{spelling / len(words):.3f} s"}]


def write(file: Any, batches: list[pa.RecordBatch]) -> None:
    rows = align_corpus.with_structs(pa.concat_batches(batches))
    with pq.ParquetWriter(file, rows.schema) as writer:
        writer.write_batch(rows)


# --- the job ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def weights() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (320, 191)).astype(np.float32)


def stand_in_network(samples: np.ndarray) -> np.ndarray:
    frames = samples[:, : samples.shape[1] // 320 * 320].reshape(len(samples), -1, 320)
    logits = frames @ weights()
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))


def stand_in(labels: tuple[str, ...]) -> Recogniser:
    return Recogniser(stand_in_network, SoundInput(16000), labels, 0, 320)


class Run(NamedTuple):
    """Hours of sound a second; and memory in the last third of the run, as a multiple of that in the first."""

    rate: float
    growth: dict[str, float]
    megabytes: dict[str, float]


def run(shards: list[Path], hours: float, step: align_corpus.Step, workers: int, on_ray: bool) -> Run:
    out = shards[0].parent.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    work = partial(align_corpus.align_shard, step, out)
    started = (
        align_corpus.on_ray(work, shards, workers, 0) if on_ray else align_corpus.in_processes(work, shards, workers)
    )
    ended: list[float] = []
    with Memory() as memory:
        for shard, reason in started:
            assert not reason, (shard, reason)
            ended.append(time.monotonic())
    assert f"{len(shards)} shards" in align_corpus.summary(shards, out)
    warm = ended[workers - 1]  # each worker has done a shard
    rate = (len(shards) - workers) / len(shards) * hours / (ended[-1] - warm)
    return Run(rate, memory.growth(warm), memory.largest())


class Memory:
    """Samples the memory that is a process's own, of this one and of the largest worker."""

    def __enter__(self) -> Memory:
        self._samples: list[tuple[float, dict[str, float]]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _sample(self) -> None:
        this = psutil.Process()
        while not self._end.wait(0.5):
            sizes = {"driver": own(this), "worker": 0.0}
            for child in this.children(recursive=True):
                with suppress(psutil.Error):  # it has ended
                    if any(name in " ".join(child.cmdline()) for name in ("spawn_main", "OnRay")):
                        sizes["worker"] = max(sizes["worker"], own(child))
            self._samples.append((time.monotonic(), sizes))

    def growth(self, since: float) -> dict[str, float]:
        warm = [sizes for at, sizes in self._samples if at > since and sizes["worker"]]
        third = max(1, len(warm) // 3)
        first, last = warm[:third], warm[-third:]
        return {
            who: statistics.median(one[who] for one in last) / statistics.median(one[who] for one in first)
            for who in ("driver", "worker")
        }

    def largest(self) -> dict[str, float]:
        return {who: max(sizes[who] for _, sizes in self._samples) for who in ("driver", "worker")}


def own(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / 2**20


def corpus(folder: Path, rows: list[dict[str, Any]], hours: float) -> list[Path]:
    """Shards of equal sizes."""
    folder.mkdir()
    seconds = sum(row["seconds"] for row in rows) / len(rows)
    table = pa.Table.from_pylist(rows)
    each = max(1, round(hours * 3600 / seconds / SHARDS))
    shards = [folder / f"{n:02}.parquet" for n in range(SHARDS)]
    for n, shard in enumerate(shards):
        pq.write_table(table.take([(n * each + row) % len(rows) for row in range(each)]), shard, row_group_size=8)
    return shards


def main() -> int:
    arguments = parser(__doc__, 3)
    arguments.add_argument("recordings", type=Path)
    arguments.add_argument("--hours", type=float, default=10.0, help="of the corpus (default 10)")
    arguments.add_argument("--processes", action="store_true", help="without Ray")
    given = arguments.parse_args()
    known = sentences(given.recordings)
    rows = [varied(known, seed) for seed in range(VARIED)]
    costs = stages(list(islice(rows, 12)))
    show("An hour of sound", costs, ["what"])
    if not given.processes:
        import ray

        modules = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path[:2])}}  # of the example, and this file
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=modules)
    recogniser = hama()
    make = partial(stand_in, tuple(recogniser.labels))
    align = AlignBatch(recogniser.vocabulary(), "frame_shift", delay="delay", stretch="stretch")
    step = partial(align_corpus.from_sound, RecogniseBatch(make), align)
    runs: dict[int, list[Run]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        shards = corpus(Path(folder) / "in", rows, given.hours)
        for _ in range(given.rounds):
            for workers, found in runs.items():
                found.append(run(shards, given.hours, step, workers, not given.processes))
    ratio = statistics.median(two.rate / one.rate for one, two in zip(runs[1], runs[2], strict=True))
    growth = max(max(one.growth.values()) for found in runs.values() for one in found)
    table: list[Row] = [
        {
            "what": f"{workers} workers" if workers > 1 else "1 worker",
            "hours of sound a minute": round(60 * statistics.median(one.rate for one in found), 2),
            "driver MB": round(max(one.megabytes["driver"] for one in found)),
            "largest worker MB": round(max(one.megabytes["worker"] for one in found)),
            "last third / first": round(max(max(one.growth.values()) for one in found), 3),
        }
        for workers, found in runs.items()
    ]
    show(f"{given.hours:g} hours, a stand-in network: two workers do {ratio:.2f} times what one does", table, ["what"])
    where = "processes" if given.processes else "ray"
    write_results(f"corpus_job_{where}", [*costs, *table], f"{given.hours:g} hours; two workers / one: {ratio:.2f}")
    return 0 if ratio >= LEAST_SPEEDUP and growth <= MOST_GROWTH else 1


if __name__ == "__main__":
    import corpus_job  # Ray's workers cannot load functions of the script itself

    sys.exit(corpus_job.main())
