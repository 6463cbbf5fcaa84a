"""What all benchmarks share: arguments, interleaved timing, peak memory, and writing results and tables.

Contenders run in turn, once each per round, so that a busy moment of the machine affects all of them. A time is the
median over rounds. A ratio is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import csv
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table

import ctckit
from ctckit.kernels import native

ROOT = Path(__file__).resolve().parent.parent
BEST = native.instruction_sets()[-1]
CORES = native.num_threads(None)
TABLES = Path(__file__).with_name("tables.json")  # headings and captions of published tables, by language

Row = dict[str, object]
Name = TypeVar("Name")


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def parser(about: str | None, rounds: int, timed: str = "") -> argparse.ArgumentParser:
    """The parser of a benchmark's arguments: the docstring is its help, and all have ``--rounds``."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds{timed} (default {rounds})")
    return made


# --- time -------------------------------------------------------------------------------------------------------------


def _nothing() -> None:
    pass


class Contender(NamedTuple):
    """Something to be timed."""

    run: Callable[[], object]
    before: Callable[[], object] = _nothing  # called before each run, not timed


def seconds(
    contender: Contender,
    *,
    calls: int = 1,
    at_least: float = 0.0,
    most_calls: int = 1000,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The median time of several calls.

    Args:
        contender: what to time.
        calls: the least number of calls.
        at_least: calls are repeated until they have taken this many seconds in all.
        most_calls: the most calls for ``at_least``.
        clock: gives the time in seconds.
    """
    times: list[float] = []
    while len(times) < calls or (sum(times) < at_least and len(times) < most_calls):
        contender.before()
        begin = clock()
        contender.run()
        times.append(clock() - begin)
    return statistics.median(times)


def interleaved(
    contenders: Mapping[Name, Contender],
    rounds: int,
    *,
    timer: Callable[[Contender], float] = seconds,
    tick: Callable[[], object] = _nothing,
) -> dict[Name, list[float]]:
    """Each contender's time in each round, after one round to warm up. ``tick`` is called after every round."""
    times: dict[Name, list[float]] = {name: [] for name in contenders}
    for n in range(rounds + 1):
        for name, contender in contenders.items():
            times[name].append(timer(contender))
        tick()
        if n == 0:
            gc.freeze()  # otherwise collections in one contender's time would visit the objects of another's modules
    return {name: found[1:] for name, found in times.items()}


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median over rounds of the ratio of two contenders' times."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def milliseconds(times: Sequence[float]) -> float:
    """The median over rounds."""
    return statistics.median(times) * 1e3


# --- memory -----------------------------------------------------------------------------------------------------------


def extra_mib(*command: str) -> float:
    """Peak memory of a step in its own process, beyond its input; the process calls :func:`print_extra_mib`."""
    # By default glibc keeps memory that was freed while the input was made; reusing it would not change the peak.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def print_extra_mib(step: Callable[[], object]) -> None:
    """Prints the peak memory that a step adds. Run a small step first, so that libraries are loaded."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to what is in use now (Linux)
    before = _peak_mib()
    step()
    print(_peak_mib() - before)


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- results ----------------------------------------------------------------------------------------------------------


def show(title: str, rows: Sequence[Row], left: Sequence[str], columns: Sequence[str] = ()) -> None:
    """Prints a table of these columns (default: all); those not named in ``left`` are aligned to the right."""
    table, names = Table(title=title), columns or list(rows[0])
    for name in names:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    Console(width=150).print(table)


def write_results(name: str, rows: Sequence[Row], about: str) -> None:
    """Writes bench/results/NAME.csv; its first line names the machine and the run."""
    path = ROOT / "bench" / "results" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        file.write(f"# {cpu_name()}, {CORES} CPUs; ctckit {ctckit.__version__}; {about}\n")
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path.relative_to(ROOT)}")


class TableWords(NamedTuple):
    """The words of one published table in one language."""

    file: Path
    heading: Sequence[str]
    caption: str  # with placeholders such as {cpu} and {isa}
    words: Mapping[str, str]  # of cells


def published(name: str) -> list[TableWords]:
    """Where a table is published, and its words in each language."""
    tables = json.loads(TABLES.read_text(encoding="utf-8"))[name]
    return [TableWords(ROOT / each["file"], each["heading"], each["caption"], each.get("words", {})) for each in tables]


def publish(name: str, table: TableWords, cells: Sequence[Sequence[object]], *, left: int = 1, **facts: str) -> None:
    """Writes a table between the marks of that name in its file; ``left`` columns are aligned to the left."""
    lines = [
        _line(table.heading),
        _line(["---"] * left + ["---:"] * (len(table.heading) - left)),
        *map(_line, cells),
        "",
        table.caption.format(isa=BEST, cpu=cpu_name(), **facts),
    ]
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = table.file.read_text(encoding="utf-8")
    before, after = text.split(begin)[0], text.split(end)[1]
    table.file.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")
    print(f"and the table of {table.file.relative_to(ROOT)}")


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
