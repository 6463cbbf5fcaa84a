"""What benchmarks share: what the machine is, how much memory a step takes, and where results go."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ctckit.kernels import native

ROOT = Path(__file__).resolve().parent.parent
BEST = native.instruction_sets()[-1]
CORES = native.num_threads(None)

Row = dict[str, object]


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# --- memory -----------------------------------------------------------------------------------------------------------


def extra_mib(*command: str) -> float:
    """What a process of its own says, which ends with :func:`print_extra_mib`."""
    # glibc would keep what making the input freed, and hand it out again: memory used, and not seen.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout.splitlines()[-1])


def print_extra_mib(step: Callable[[], object]) -> None:
    """The peak that a step adds to what is in use. Run a small one before: libraries load what they load."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is in use now (Linux)
    before = _peak_mib()
    step()
    print(_peak_mib() - before)


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- results ----------------------------------------------------------------------------------------------------------


def show(title: str, rows: Sequence[Row], left: Sequence[str]) -> None:
    """A table of all columns in the terminal; those not named in ``left`` are numbers."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=130).print(table)


def write_results(name: str, rows: Sequence[Row], about: str) -> None:
    """bench/results/NAME.csv, after a line on the machine and the run."""
    path = ROOT / "bench" / "results" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        file.write(f"# {cpu_name()}, {CORES} CPUs; {about}\n")
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"wrote {path.relative_to(ROOT)}")


def put_between_marks(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replaces what stands between a file's marks of that name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    text = path.read_text(encoding="utf-8")
    before, after = text.split(begin)[0], text.split(end)[1]
    path.write_text("\n".join([before + begin, *lines, end + after]), encoding="utf-8")
