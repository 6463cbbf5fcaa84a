"""`make gpu-report`: all that a GPU is needed for, in one run: installs, tests, benchmarks, and compares with the bars.

The stages are programs of their own, so that one that fails or hangs takes no other with it: gpu_tests.py, gpu.py,
gpu_sweep.py, gpu_align.py, gpu_graphs.py. Each writes its tables to bench/results/gpu-CARD/, where report.md collects
them after every stage, with the card, the versions, each stage's time, and what it says if it fails. The bars are what
the kernels should reach; for each it is written where it is met.

The package is built from this checkout into a folder of its own and nothing is downloaded, unless this Python already
imports it from here. With --dry no GPU is needed: all stages run on small shapes in Triton's interpreter, and their
tables, marked dry, are written to a temporary folder. May import gpu_bars.py, gpu_stage.py and what that may import.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

import gpu_bars
import torch
from gpu_stage import DRY, ROOT, folder_of, nothing_measured

BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results"


class Stage(NamedTuple):
    """A program, its tables, and after how many seconds it is stopped."""

    name: str
    program: str
    tables: tuple[str, ...]
    limit: float


STAGES = [
    Stage("tests", "gpu_tests.py", ("tests",), 240),
    Stage("steps", "gpu.py", ("steps", "kernels"), 180),
    Stage("sweep", "gpu_sweep.py", ("sweep",), 90),
    Stage("alignment", "gpu_align.py", ("alignment",), 90),
    Stage("graphs", "gpu_graphs.py", ("graphs",), 120),
]


class Done(NamedTuple):
    """How a stage ended: its seconds, and the last line that it printed if it failed."""

    name: str
    seconds: float
    error: str


def first_line(*command: str) -> str:
    """What a program prints, where it is installed and works."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def machine(card: str) -> dict[str, str]:
    import triton

    return {
        "card": card,
        "driver": first_line("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "torch": torch.__version__,
        "Triton": triton.__version__,
        "Python": platform.python_version(),
        "CPUs": str(os.cpu_count()),
        "commit": first_line("git", "describe", "--always", "--dirty", "--exclude=*"),
        "date": time.strftime("%Y-%m-%d"),
    }


def is_installed() -> bool:
    """Whether this Python imports the package from this checkout, as in the environment that make sets up."""
    found = importlib.util.find_spec("ctckit")
    return found is not None and found.origin is not None and Path(found.origin).is_relative_to(ROOT / "src")


def run(name: str, command: list[str], limit: float, environment: dict[str, str]) -> Done:
    """Runs a stage and shows what it prints. At its limit it is stopped, with all processes that it has started."""
    print(f"--- {name}", flush=True)
    begin, last = time.monotonic(), deque[str](maxlen=1)
    stopped = threading.Event()
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:

        def stop() -> None:
            stopped.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(limit, stop)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last.extend([line.strip()] if line.strip() else [])
        code = process.wait()
        timer.cancel()
    message = last[0].replace(f"{ROOT}{os.sep}", "")[:300] if last else f"exit status {code}"
    if code < 0:
        message = f"stopped after {limit:.0f} s" if stopped.is_set() else f"ended by signal {-code}"
    return Done(name, time.monotonic() - begin, message if code else "")


IMPORTED = """
import sys, ctckit
sys.exit(None if ctckit.__file__.startswith(sys.argv[1]) else f"this Python imports ctckit from {ctckit.__file__}")
"""


def install(folder: str, environment: dict[str, str]) -> Done:
    """Builds the package from this checkout into a folder, without downloads, and lets the stages import it."""
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--quiet", "--target", folder]
    built = run("install", ["-m", "pip", "install", *options, str(ROOT)], 300, environment)
    if built.error:
        return built
    imported = run("install", ["-c", IMPORTED, folder], 60, environment)
    return imported._replace(seconds=built.seconds + imported.seconds)


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_markdown(rows: list[dict[str, str]]) -> str:
    """A table, without the column that the title names."""
    names = [name for name in rows[0] if name != "card"]
    lines = [names, ["---"] * len(names)] + [[row[name] for name in names] for row in rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def write_report(out: Path, about: dict[str, str], done: list[Done]) -> None:
    """report.md: the machine, the stages so far, the bars, and all tables."""
    tables = {name: rows_of(out / f"{name}.csv") for stage in STAGES for name in stage.tables}
    dry = about["card"] == DRY
    title = "**dry**: no card, small shapes, made-up numbers" if dry else about["card"]
    stages = [{"stage": x.name, "seconds": f"{x.seconds:.0f}", "result": x.error or "done"} for x in done]
    stages.append({"stage": "all", "seconds": f"{sum(x.seconds for x in done):.0f}", "result": ""})
    parts = {"Machine": [about], "Stages": stages, "Bars": gpu_bars.judged(tables, dry=dry), **tables}
    text = f"# GPU report: {title}\n"
    for name, rows in parts.items():
        if rows:
            text += f"\n## {name}\n\n{as_markdown(rows)}"
    (out / "report.md").write_text(text, encoding="utf-8")


def folder_for(given: Path | None, card: str) -> Path:
    """Where the tables go; those of a dry run never over measured ones."""
    if card == DRY and given is None:
        return Path(tempfile.mkdtemp(prefix="gpu-report-dry-"))
    out = RESULTS / folder_of(card) if given is None else given.resolve()
    if card == DRY and out.is_relative_to(RESULTS):
        sys.exit("a dry run writes nothing to bench/results/, where measured tables are")
    return out


def name_of_card() -> str:
    """In a process of its own, since a stage needs the whole card."""
    command = [sys.executable, "-c", "import torch; print(torch.cuda.get_device_name())"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="all stages on small shapes, without a GPU")
    parser.add_argument("--out", type=Path, help="the folder of the tables")
    given = parser.parse_args()
    if not given.dry and (reason := nothing_measured("make gpu-report")):
        sys.exit(f"{reason}; DRY=1 runs all stages without a GPU")
    card = DRY if given.dry else name_of_card()
    out, about, done = folder_for(given.out, card), machine(card), list[Done]()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        # A stage's output ends with the last process that holds it, so torch must not start processes that compile.
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        for table in (table for stage in STAGES for table in stage.tables):
            (out / f"{table}.csv").unlink(missing_ok=True)  # an earlier run's
        if not is_installed():
            done.append(install(folder, environment))
            write_report(out, about, done)
            if done[0].error:  # the stages would measure another build, or nothing
                sys.exit(f"install failed: {done[0].error}")
        for stage in STAGES:
            command = [str(BENCH / stage.program), "--out", str(out), *(["--dry"] if given.dry else [])]
            done.append(run(stage.name, command, stage.limit, environment))
            write_report(out, about, done)
    print(f"written: {out / 'report.md'}")
    if failed := [x for x in done if x.error]:
        sys.exit("; ".join(f"{x.name} failed: {x.error}" for x in failed))


if __name__ == "__main__":
    main()
