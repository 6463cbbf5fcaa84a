"""The example for large corpora: whatever is killed, each row comes out once, and what is there is complete."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import needs, needs_linux
from support.recordings import LABELS, SHIFT, spoken

from ctckit.annotate import AlignBatch, RecogniseBatch
from ctckit.recognisers import hama

pa = pytest.importorskip("pyarrow", reason="the example reads Parquet")
pq = pytest.importorskip("pyarrow.parquet", reason="the example reads Parquet")
pytest.importorskip("filelock", reason="the example locks its output")

EXAMPLE = Path(__file__).parents[2] / "examples" / "align_corpus.py"
TEXTS = ["the quick fox", "a lazy dog", None, "over the dog", "the fox jumps"]
SHARDS, ROWS = 8, 200
PATIENCE = 180  # seconds that anything may take on a busy machine


def write_shards(folder: Path, shards: int = SHARDS, rows: int = ROWS) -> None:
    (folder / "in").mkdir()
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    scores = [spoken(text or "the fox", n)[0].tolist() for n, text in enumerate(TEXTS)]
    for shard in range(shards):
        columns = {
            "id": [f"{shard}-{n}" for n in range(rows)],
            "text": pa.array([TEXTS[n % len(TEXTS)] for n in range(rows)], pa.string()),
            "log_probs": pa.array([scores[n % len(TEXTS)] for n in range(rows)], pa.list_(pa.list_(pa.float32()))),
        }
        pq.write_table(pa.table(columns), folder / "in" / f"{shard}.parquet")


def command(folder: Path, *more: str) -> list[str]:
    options = ["--labels", str(folder / "labels.txt"), "--frame-shift", str(SHIFT), "--workers", "2", *more]
    return [sys.executable, str(EXAMPLE), str(folder / "in"), str(folder / "out"), *options]


def run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    with started(command, folder) as driver:
        told, warned = driver.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(command, driver.returncode, told, warned)


@contextmanager
def started(command: list[str], folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """A run, with its workers in a group of processes that is killed at the end, whatever has happened."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    driver = subprocess.Popen(command, cwd=folder, start_new_session=True, **streams)
    try:
        yield driver
    finally:
        with suppress(ProcessLookupError):
            os.killpg(driver.pid, signal.SIGKILL) if sys.platform == "linux" else driver.kill()
        driver.communicate(timeout=PATIENCE)


def outputs(folder: Path) -> list[Path]:
    return sorted((folder / "out").glob("*.parquet"))


def check_complete(folder: Path, shards: int = SHARDS, rows: int = ROWS) -> None:
    """Each row of each shard is there once, with the words that AlignBatch finds."""
    assert [path.name for path in outputs(folder)] == [f"{shard}.parquet" for shard in range(shards)]
    assert sorted(path.name for path in (folder / "out").iterdir() if path.suffix != ".parquet") in ([".lock"], [])
    expected = AlignBatch(LABELS, SHIFT)(pq.read_table(folder / "in" / "0.parquet").slice(0, len(TEXTS))).to_pylist()
    for path in outputs(folder):
        found = pq.read_table(path).to_pylist()
        assert [row["id"] for row in found] == [f"{path.stem}-{n}" for n in range(rows)]
        for n, row in enumerate(found):
            right = expected[n % len(TEXTS)]
            assert [word["text"] for word in row["words"]] == right["words"]
            assert [word["start"] for word in row["words"]] == right["starts"]
            assert row["error"] == right["error"]


def temporary(folder: Path) -> set[Path]:
    """What is being written, or was when its worker was killed."""
    return set((folder / "out").glob(".*.tmp"))


def workers_of(driver: subprocess.Popen[str]) -> list[int]:
    """Those that run; one that was killed may still be listed, without a command, until it is asked for its status."""
    found = proc(driver.pid, f"task/{driver.pid}/children").split()
    return [int(one) for one in found if "spawn_main" in proc(int(one), "cmdline")]


def proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def wait_for(happened: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = happened()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("it did not happen in time")


def test_a_corpus(tmp_path: Path) -> None:
    write_shards(tmp_path, 3, 10)
    done = run(command(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 shards, 30 rows, 6 of them failed\n6 times: 'text' is None: expected a text" in done.stdout
    check_complete(tmp_path, 3, 10)
    word = pq.read_schema(outputs(tmp_path)[0]).field("words").type.value_type
    assert [field.name for field in word] == ["text", "start", "end", "confidence"]
    times = [path.stat().st_mtime_ns for path in outputs(tmp_path)]
    again = run(command(tmp_path))
    assert again.stdout == "\n".join(done.stdout.splitlines()[3:]) + "\n"
    assert [path.stat().st_mtime_ns for path in outputs(tmp_path)] == times


@needs_linux
def test_the_run_is_killed(tmp_path: Path) -> None:
    write_shards(tmp_path)
    with started(command(tmp_path)) as driver:
        wait_for(lambda: outputs(tmp_path))
        workers = workers_of(driver)
        driver.kill()
        assert workers
        wait_for(lambda: not any(proc(worker, "cmdline") for worker in workers))
    there = {path: path.stat().st_mtime_ns for path in outputs(tmp_path)}
    assert 0 < len(there) < SHARDS
    assert all(pq.read_metadata(path).num_rows == ROWS for path in there)
    assert run(command(tmp_path)).returncode == 0
    check_complete(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in there} == there


@needs_linux
def test_workers_are_killed(tmp_path: Path) -> None:
    """Two, one after the other, while shards are written."""
    write_shards(tmp_path)
    seen: set[Path] = set()
    with started(command(tmp_path)) as driver:
        for _ in range(2):
            wait_for(lambda: temporary(tmp_path) - seen)
            os.kill(wait_for(lambda: workers_of(driver))[0], signal.SIGKILL)
            seen.update(temporary(tmp_path))
        assert len(outputs(tmp_path)) < SHARDS
        told, warned = driver.communicate(timeout=PATIENCE)
    assert (driver.returncode, warned) == (0, "")
    assert f"{SHARDS} shards, {SHARDS * ROWS} rows" in told
    check_complete(tmp_path)


@needs("hama", "soundfile", "webdataset")
class TestRecordings:
    """Shards of sound, by a real recogniser. Noise is sound, too: what is tested is that each row comes out, once."""

    def test_tables_and_webdatasets(self, tmp_path: Path) -> None:
        write_sound(tmp_path, 1, 3)
        write_tar(
            tmp_path / "in" / "语.tar", {"a/1": ("flac", "ten"), "a/2": ("wav", None), "a/3": (None, "ten meters")}
        )
        done = run(of_sound(tmp_path))
        assert (done.returncode, done.stderr) == (0, "")
        assert "2 shards, 6 rows, 3 of them failed" in done.stdout
        table, shard = (pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("0", "语"))
        results = ["confidence", "misfit", "reading", "notes", "error", "words"]
        assert (table.column_names, shard.column_names) == (["id", "text", *results],) * 2
        check_sound(tmp_path, 1, 3)
        assert shard["id"].to_pylist() == ["a/1", "a/2", "a/3"]
        errors = shard["error"].to_pylist()
        assert (errors[0], errors[1], errors[2][:24]) == (
            "",
            "'text' is None: expected a text",
            "'audio' holds no value: ",
        )

    @needs_linux
    def test_the_run_and_a_worker_are_killed(self, tmp_path: Path) -> None:
        write_sound(tmp_path, 4, 4)
        with started(of_sound(tmp_path)) as driver:
            (first, *_) = wait_for(lambda: temporary(tmp_path))
            os.kill(wait_for(lambda: workers_of(driver))[0], signal.SIGKILL)
            wait_for(lambda: outputs(tmp_path))
            driver.kill()
        there = {path: path.stat().st_mtime_ns for path in outputs(tmp_path)}
        assert 0 < len(there) < 4
        assert run(of_sound(tmp_path)).returncode == 0
        assert not first.exists()
        check_sound(tmp_path, 4, 4)
        assert {path: path.stat().st_mtime_ns for path in there} == there


def of_sound(folder: Path, *more: str) -> list[str]:
    return [sys.executable, str(EXAMPLE), str(folder / "in"), str(folder / "out"), "--recogniser", "hama", *more]


def noise(seed: int) -> bytes:
    """A file of 0.6 s."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).normal(0, 0.1, 9600), 16000, format="FLAC")
    return file.getvalue()


def write_sound(folder: Path, shards: int, rows: int) -> None:
    """Each shard's second row has no file."""
    (folder / "in").mkdir()
    for shard in range(shards):
        audio = [{"bytes": None if row == 1 else noise(shard * rows + row), "path": "none.flac"} for row in range(rows)]
        columns = {"id": [f"{shard}-{row}" for row in range(rows)], "audio": audio, "text": ["ten"] * rows}
        pq.write_table(pa.table(columns), folder / "in" / f"{shard}.parquet", row_group_size=2)


def write_tar(path: Path, samples: dict[str, tuple[str | None, str | None]]) -> None:
    with tarfile.open(path, "w") as tar:
        for n, (key, (ending, text)) in enumerate(samples.items()):
            for name, data in ((ending, noise(n)), ("txt", None if text is None else text.encode())):
                if name is not None and data is not None:
                    member = tarfile.TarInfo(f"{key}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def check_sound(folder: Path, shards: int, rows: int) -> None:
    """Each row is there once, with what hama and the aligner give for its file."""
    recogniser = hama()
    align = AlignBatch(recogniser.vocabulary(), "frame_shift", delay="delay", stretch="stretch")
    for shard in range(shards):
        found = pq.read_table(folder / "out" / f"{shard}.parquet").to_pylist()
        assert [row["id"] for row in found] == [f"{shard}-{row}" for row in range(rows)]
        source = pq.read_table(folder / "in" / f"{shard}.parquet")
        expected = align(RecogniseBatch(lambda: recogniser)(source)).to_pylist()
        for row, right in zip(found, expected, strict=True):
            assert [(word["text"], word["start"], word["end"]) for word in row["words"]] == [
                *zip(right["words"], right["starts"], right["ends"], strict=True)
            ]
            assert row["error"] == right["error"]
        assert [bool(row["error"]) for row in found] == [row == 1 for row in range(rows)]
    assert not temporary(folder)


DEADLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from align_corpus import in_processes

def work(shard):
    with open("begun", "a") as file:
        file.write(shard.name)
    if shard.name == "d":
        os._exit(9)
    if shard.name == "c":
        raise ValueError("c")

if __name__ == "__main__":
    for shard, reason in in_processes(work, [Path(name) for name in "adbc"], 2):
        print(shard.name, reason)
"""


def test_a_shard_that_kills_its_workers(tmp_path: Path) -> None:
    """It is given up after three tries; the other shards are done, each once."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    done = run([sys.executable, "deadly.py", str(EXAMPLE.parent)], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    reason = "its worker ended 3 times without a result: was it killed for lack of memory?"
    assert sorted(done.stdout.splitlines()) == ["a ", "b ", "c ValueError: c", f"d {reason}"]
    assert sorted((tmp_path / "begun").read_text()) == list("abcddd")


def test_a_damaged_shard(tmp_path: Path) -> None:
    write_shards(tmp_path, 3, 10)
    whole = (tmp_path / "in" / "1.parquet").read_bytes()
    (tmp_path / "in" / "1.parquet").write_bytes(whole[:-20])
    done = run(command(tmp_path))
    assert done.returncode == 1
    assert "1.parquet: ArrowInvalid" in done.stderr
    assert "2 shards, 20 rows" in done.stdout
    (tmp_path / "in" / "1.parquet").write_bytes(whole)
    assert run(command(tmp_path)).returncode == 0
    check_complete(tmp_path, 3, 10)


def test_a_shard_has_changed(tmp_path: Path) -> None:
    write_shards(tmp_path, 1, 10)
    assert run(command(tmp_path)).returncode == 0
    table = pq.read_table(tmp_path / "in" / "0.parquet")
    pq.write_table(table.slice(1), tmp_path / "in" / "0.parquet")
    assert "0.parquet has changed since" in run(command(tmp_path)).stderr


def test_only_one_run(tmp_path: Path) -> None:
    from filelock import FileLock

    write_shards(tmp_path, 1, 1)
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        done = run(command(tmp_path))
    assert (done.returncode, "another run is working in" in done.stderr) == (2, True)


@needs_linux
@needs("ray")
@pytest.mark.long
class TestOnRay:
    @pytest.fixture(autouse=True)
    def _no_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or Ray writes a secret into the home folder

    def test_the_run_is_killed(self, tmp_path: Path) -> None:
        write_shards(tmp_path)
        with started(command(tmp_path, "--ray")) as driver:
            wait_for(lambda: outputs(tmp_path))
            driver.kill()
        there = {path: path.stat().st_mtime_ns for path in outputs(tmp_path)}
        assert 0 < len(there) < SHARDS
        assert run(command(tmp_path, "--ray")).returncode == 0
        check_complete(tmp_path)
        assert {path: path.stat().st_mtime_ns for path in there} == there

    @needs("hama", "soundfile")
    def test_a_worker_is_killed(self, tmp_path: Path) -> None:
        write_sound(tmp_path, 6, 4)
        with started(of_sound(tmp_path, "--ray", "--workers", "2")) as driver:
            wait_for(lambda: temporary(tmp_path))
            worker = wait_for(lambda: [one for one in descendants(driver.pid) if "OnRay" in proc(one, "cmdline")])[0]
            os.kill(worker, signal.SIGKILL)
            assert len(outputs(tmp_path)) < 6
            told, _ = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0
        assert "6 shards, 24 rows, 6 of them failed" in told
        check_sound(tmp_path, 6, 4)


def descendants(pid: int) -> list[int]:
    found = [int(child) for child in proc(pid, f"task/{pid}/children").split()]
    return found + [one for child in found for one in descendants(child)]
