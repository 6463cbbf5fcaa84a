"""Aligns a large corpus: shards of Parquet in, one file of Parquet for each out.

    python examples/align_corpus.py scores aligned --labels labels.txt --frame-shift 0.02 --workers 8

A shard has the columns id, text and log_probs, and may have others, which are passed on. What comes out has a row for
each row, with words as a list of structs, and in its column `error` why a row could not be aligned.

The run may be killed at any moment, as may its workers: nothing is lost, and nothing is there twice. A shard is written
under a temporary name and then renamed, so a file that is there is complete; the same command goes on with the shards
that lack theirs. With `--ray`, the shards are done on a Ray cluster, whose machines must see both folders.

Scores of thousands of hours are too large to keep. Where a network computes them, call it in `align_shard`, before
`align`.
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
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from ctckit import CTCError
from ctckit.annotate import AlignBatch

ROWS = 64  # rows in memory
TRIES = 3  # how often a shard's worker may be killed
WORDS = {"words": "text", "starts": "start", "ends": "end", "confidences": "confidence"}

Work = Callable[[Path], None]
Done = tuple[Path, str]  # a shard, and why it failed, or ""


def align_shard(align: AlignBatch, out: Path, shard: Path) -> None:
    """Aligns a shard, unless that has been done."""
    target = out / shard.name
    if target.exists():
        return
    source = pq.ParquetFile(shard)
    nothing = pa.RecordBatch.from_pylist([], schema=source.schema_arrow)
    temporary = out / f".{shard.name}.{secrets.token_hex(8)}.tmp"  # its own, should another worker do the same shard
    try:
        with temporary.open("xb") as file:
            writer = pq.ParquetWriter(file, with_structs(align(nothing)).schema)
            for batch in source.iter_batches(ROWS):
                writer.write_batch(with_structs(align(batch)))
            writer.close()
            file.flush()
            os.fsync(file.fileno())  # before the name, should the machine fail
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


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
                    reason = f"its worker ended {TRIES} times without a result: was it killed for lack of memory?"
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


def on_ray(work: Work, shards: list[Path], _workers: int) -> Iterator[Done]:
    """Does the shards on a Ray cluster, or on all CPUs of this machine; Ray repeats those whose worker was killed."""
    import ray

    done = ray.remote(num_cpus=1, max_retries=TRIES)(_reason)
    left = {done.remote(work, shard): shard for shard in shards}
    while left:
        (task,), _ = ray.wait(list(left))
        error = "its worker was killed"
        with suppress(ray.exceptions.WorkerCrashedError):
            error = ray.get(task)
        yield left.pop(task), error


def summary(shards: list[Path], out: Path) -> str:
    """Counts rows, and those that failed.

    Raises:
        RuntimeError: a shard has another number of rows than its file.
    """
    rows, failed = 0, Counter[str]()
    for shard in shards:
        errors = pq.read_table(out / shard.name, columns=["error"])["error"]
        if len(errors) != pq.read_metadata(shard).num_rows:
            raise RuntimeError(f"{shard} has changed since {out / shard.name} was written: remove that file")
        rows += len(errors)
        failed.update(error for error in errors.to_pylist() if error)
    told = [f"{len(shards)} shards, {rows} rows, {failed.total()} of them failed"]
    return "\n".join(told + [f"{count} times: {error}" for error, count in failed.most_common(5)])


def run(shards: list[Path], out: Path, align: AlignBatch, workers: int, ray: bool) -> int:
    """Does all shards whose files are not there, and returns the exit status."""
    _remove_temporary(out)
    todo = [shard for shard in shards if not (out / shard.name).exists()]
    failed = {}
    results = (on_ray if ray else in_processes)(partial(align_shard, align, out), todo, workers)
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
    parser.add_argument("shards", type=Path, help="the folder of the shards, .parquet")
    parser.add_argument("out", type=Path, help="the folder of what is written")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--frame-shift", type=float, required=True, help="seconds")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--ray", action="store_true")
    given = parser.parse_args()
    shards = sorted(given.shards.resolve().glob("*.parquet"))
    if not shards:
        parser.error(f"{given.shards} holds no .parquet: expected a folder of shards")
    out = given.out.resolve()
    if out == shards[0].parent:
        parser.error(f"{given.out} is the folder of the shards: expected another one")
    try:
        align = AlignBatch(given.labels, given.frame_shift)
    except CTCError as error:
        parser.error(str(error))
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            return run(shards, out, align, given.workers, given.ray)
    except Timeout:
        parser.error(f"another run is working in {given.out}: wait until it ends, or choose another folder")


if __name__ == "__main__":
    sys.exit(main())
