"""Aligns a large corpus: shards of recordings or of scores in, one file of Parquet for each out.

    python examples/align_corpus.py recordings aligned --recogniser hama --workers 8
    python examples/align_corpus.py scores aligned --labels labels.txt --frame-shift 0.02 --workers 8

A shard of recordings is a table of Parquet with the columns audio (a path, the bytes of a file, or datasets' struct of
both) and text, or a webdataset's .tar of .flac or the like and .txt. A shard of scores has the columns log_probs and
text. Other columns are passed on. What comes out has a row for each row, with words as a list of structs, and in its
column `error` why a row could not be aligned. The scores of recordings are in memory only.

The run may be killed at any moment, as may its workers: nothing is lost, and nothing is there twice. A shard is written
under a temporary name and then renamed, so a file that is there is complete; the same command goes on with the shards
that lack theirs. With `--ray`, the shards are done on a Ray cluster, whose machines must see both folders;
`--gpus 0.25` lets four workers share a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ctckit import CTCError
from ctckit.annotate import AlignBatch, RecogniseBatch
from ctckit.recognisers.named import named

ROWS = 16  # rows in memory
SIZE = b"bytes of the shard"  # in an output's metadata
TRIES = 3  # how often a shard's worker may be killed
KILLED = f"its worker ended {TRIES} times without a result: was it killed for lack of memory?"
SOUND = {"wav", "flac", "mp3", "ogg", "opus"}  # endings in a webdataset's shard
WORDS = {"words": "text", "starts": "start", "ends": "end", "confidences": "confidence"}

Step = Callable[[pa.RecordBatch], pa.RecordBatch]
Work = Callable[[Path], None]
Done = tuple[Path, str]  # a shard, and why it failed, or ""


def from_sound(recognise: RecogniseBatch, align: AlignBatch, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Recognises and aligns recordings one after the other: the scores of one are in memory."""
    rows = [batch.slice(n, 1) for n in range(batch.num_rows)] or [batch]
    return pa.concat_batches([align(recognise(row)).drop_columns(["frame_shift", "delay", "stretch"]) for row in rows])


def align_shard(step: Step, out: Path, shard: Path) -> None:
    """Aligns a shard, unless that has been done."""
    target = target_of(shard, out)
    if target.exists():
        return
    temporary = out / f".{target.name}.{secrets.token_hex(8)}.tmp"  # its own, should another worker do the same shard
    try:
        with temporary.open("xb") as file:
            batches = (with_structs(step(batch)) for batch in batches_of(shard))
            first = next(batches)
            with pq.ParquetWriter(file, first.schema.with_metadata({SIZE: str(shard.stat().st_size)})) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())  # before the name, should the machine fail
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def target_of(shard: Path, out: Path) -> Path:
    return out / f"{shard.stem}.parquet"


def batches_of(shard: Path) -> Iterator[pa.RecordBatch]:
    """A shard's rows; first none of them, which has the columns' types."""
    if shard.suffix == ".parquet":
        source = pq.ParquetFile(shard)
        yield pa.RecordBatch.from_pylist([], schema=source.schema_arrow)
        yield from source.iter_batches(ROWS)
        return
    import webdataset

    audio = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"id": pa.string(), "audio": audio, "text": pa.string()})
    yield pa.RecordBatch.from_pylist([], schema=schema)
    rows = map(row_of, webdataset.WebDataset(str(shard), shardshuffle=False))
    while some := list(islice(rows, ROWS)):
        yield pa.RecordBatch.from_pylist(some, schema=schema)


def row_of(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of a webdataset as a row; what it lacks is None, which becomes the row's error."""
    key, text = sample["__key__"], sample.get("txt")
    ending = next((ending for ending in sample if ending in SOUND), None)
    audio = None if ending is None else {"bytes": sample[ending], "path": f"{key}.{ending}"}
    return {"id": key, "audio": audio, "text": None if text is None else text.decode(errors="replace")}


def with_structs(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The words' columns as one, a list of structs."""
    lists = [batch[name] for name in WORDS]
    structs = pa.StructArray.from_arrays([column.values for column in lists], names=list(WORDS.values()))
    words = pa.ListArray.from_arrays(lists[0].offsets, structs)
    columns = {name: batch[name] for name in batch.schema.names if name not in WORDS} | {"words": words}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def in_processes(work: Work, shards: list[Path], workers: int) -> Iterator[Done]:
    """Does the shards in processes of this machine. Each has its own pipe: one that is killed disturbs no other."""
    waiting, tries = deque(shards), Counter[Path]()
    started: list[BaseProcess] = []
    idle: list[Connection] = []
    busy: dict[Any, Path] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < workers:
                pipe = idle.pop() if idle else _start(work, started)
                shard = busy[pipe] = waiting.popleft()
                with suppress(OSError):  # killed while it had nothing to do: below, its pipe is at an end
                    pipe.send(shard)
            for pipe in wait(list(busy)):
                shard = busy.pop(pipe)
                try:
                    reason = pipe.recv()
                    idle.append(pipe)
                except (EOFError, OSError):
                    tries[shard] += 1
                    if tries[shard] < TRIES:
                        waiting.append(shard)
                        continue
                    reason = KILLED
                yield shard, reason
    finally:
        for process in started:
            process.kill()


def _start(work: Work, started: list[BaseProcess]) -> Connection:
    """Starts a worker, and returns the pipe by which it gets shards."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()  # now the worker alone has this end: when it is killed, ours is at an end
    started.append(process)
    return ours


def _worker(work: Work, pipe: Connection) -> None:
    """Does the shards that it is sent, until the run ends or is killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            pipe.send(_reason(work, pipe.recv()))


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _reason(work: Work, shard: Path) -> str:
    """Does a shard, and returns why it failed, or ""."""
    try:
        work(shard)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


class OnRay:
    """A worker on a Ray cluster. It keeps its recogniser from shard to shard."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def started(self) -> str:
        return ""

    def reason(self, shard: Path) -> str:
        return _reason(self.work, shard)


def on_ray(work: Work, shards: list[Path], workers: int, gpus: float) -> Iterator[Done]:
    """Does the shards on a Ray cluster. A worker that is killed is started anew by Ray, and its shard done again."""
    import ray

    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=TRIES - 1)(OnRay)
    waiting, left = deque(shards), len(shards)
    busy: dict[Any, tuple[Any, Path | None]] = {}
    for _ in range(min(workers, len(shards))):  # those for which the cluster has no room get no shards
        worker = actor.remote(work)
        busy[worker.started.remote()] = worker, None
    while left:
        (task,), _ = ray.wait(list(busy))
        worker, shard = busy.pop(task)
        try:
            reason = ray.get(task)
        except ray.exceptions.RayActorError:
            if shard is None:  # it can't start
                raise
            reason = KILLED
        if waiting:
            following = waiting.popleft()
            busy[worker.reason.remote(following)] = worker, following
        if shard:
            left -= 1
            yield shard, reason


def summary(shards: list[Path], out: Path) -> str:
    """Counts rows, and those that failed.

    Raises:
        RuntimeError: a shard has another size than when its file was written.
    """
    rows, failed = 0, Counter[str]()
    for shard in shards:
        target = target_of(shard, out)
        errors = pq.read_table(target, columns=["error"])["error"]
        if int((pq.read_schema(target).metadata or {}).get(SIZE, -1)) != shard.stat().st_size:
            raise RuntimeError(f"{shard} has changed since {target} was written: remove that file")
        rows += len(errors)
        failed.update(error for error in errors.to_pylist() if error)
    told = [f"{len(shards)} shards, {rows} rows, {failed.total()} of them failed"]
    return "\n".join(told + [f"{count} times: {error}" for error, count in failed.most_common(5)])


def run(shards: list[Path], out: Path, step: Step, workers: int, gpus: float | None) -> int:
    """Does all shards whose files are not there, and returns the exit status. On Ray, a worker has so many `gpus`."""
    _remove_temporary(out)
    todo = [shard for shard in shards if not target_of(shard, out).exists()]
    failed = {}
    work = partial(align_shard, step, out)
    results = in_processes(work, todo, workers) if gpus is None else on_ray(work, todo, workers, gpus)
    for count, (shard, reason) in enumerate(results, start=1):
        print(f"{count} of {len(todo)}: {shard.name} {reason or 'done'}", flush=True)
        if reason:
            failed[shard] = reason
    _remove_temporary(out)
    print(summary([shard for shard in shards if shard not in failed], out))
    for shard, reason in failed.items():
        print(f"{shard}: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _remove_temporary(out: Path) -> None:
    """Removes what killed workers have left."""
    for path in out.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shards", type=Path, help="the folder of the shards, .parquet or .tar")
    parser.add_argument("out", type=Path, help="the folder of what is written")
    parser.add_argument("--recogniser", help="for recordings: hama, or a folder with a network of transformers")
    parser.add_argument("--labels", type=Path, help="for scores: the file of their labels")
    parser.add_argument("--frame-shift", type=float, help="for scores: seconds from one frame to the next")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--ray", action="store_true", help="run on a Ray cluster, or on this machine by Ray")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each of Ray's workers; 0.25: four share one")
    given = parser.parse_args()
    shards = sorted(path for path in given.shards.resolve().glob("*.*") if path.suffix in (".parquet", ".tar"))
    if not shards:
        parser.error(f"{given.shards} holds no .parquet and no .tar: expected a folder of shards")
    out = given.out.resolve()
    if out == shards[0].parent:
        parser.error(f"{given.out} is the folder of the shards: expected another one")
    if len({shard.stem for shard in shards}) < len(shards):
        parser.error(f"{given.shards} holds a .tar and a .parquet of one name: expected different names")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker for each core, so one thread for each worker
    try:
        step = step_of(given, parser)
    except CTCError as error:
        parser.error(str(error))
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return run(shards, out, step, given.workers, given.gpus if given.ray else None)
    except Timeout:
        parser.error(f"another run is working in {given.out}: wait until it ends, or choose another folder")


def step_of(given: argparse.Namespace, parser: argparse.ArgumentParser) -> Step:
    """What is done with a batch of rows."""
    if (given.recogniser is None) == (given.labels is None or given.frame_shift is None):
        parser.error("expected --recogniser for recordings, or --labels and --frame-shift for scores")
    if given.recogniser is None:
        return AlignBatch(given.labels, given.frame_shift)
    align = AlignBatch(named(given.recogniser).vocabulary(), "frame_shift", delay="delay", stretch="stretch")
    return partial(from_sound, RecogniseBatch(given.recogniser), align)


if __name__ == "__main__":
    sys.exit(main())
