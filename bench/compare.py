"""`python bench/compare.py --old PATH`: this build against an older one, interleaved in one run.

PATH is another checkout, built in its own .venv. Each build runs in its own worker process, on one thread. The two take
turns, one short turn each per round in alternating order, so that noise affects both. Both processes are replaced a few
times, since the addresses of a process's memory can change its speed by some percent.

Rows are the shapes of loss.py (float32 logits, loss and gradient through the torch API) and the first three of
align.py. Times are CPU time of the process: on one thread, the time without waiting for a core. For
each row: the median time of each build, the median over rounds of new / old, and the 95 % confidence interval of that
median. A row whose interval contains the limit gets more rounds, up to --most. A row is slower if its median ratio is
over the limit and the interval excludes 1. Exits with status 1 if a row is slower.

Results with --old at this same checkout show the effect of noise alone.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from shapes import ALIGN, LOSS, align_case, loss_case

LIMIT = 1.03
TURN = 0.02  # seconds that a worker spends on one turn; a longer call is made once
PROCESSES = 3  # pairs of workers, one after the other
ROWS = {f"loss {shape}": shape for shape in LOSS} | {f"align {shape}": shape for shape in ALIGN[:3]}


# --- a worker ---------------------------------------------------------------------------------------------------------


def action(row: str) -> Callable[[], object]:
    """What is timed: only functions that both builds have."""
    import ctckit
    import ctckit.torch

    if row.startswith("align"):
        log_probs, target = align_case(ROWS[row])
        return lambda: ctckit.forced_align(log_probs, target)
    import torch

    case = loss_case(ROWS[row]).leaf(torch.float32)

    def step() -> None:
        case.logits.grad = None
        ctckit.torch.ctc_loss(case.logits, *case.rest, from_logits=True).backward()

    return step


def work() -> None:
    """Reads the name of a row and prints the median seconds of one turn. Prepares a row at its first turn."""
    import torch

    import ctckit

    torch.set_num_threads(1)
    ctckit.set_num_threads(1)
    print(json.dumps(ctckit.__file__), flush=True)
    row, run = "", lambda: None
    for line in sys.stdin:
        if json.loads(line) != row:
            row = json.loads(line)
            run = action(row)
            run()
            gc.collect()
            gc.disable()
        times: list[float] = []
        while sum(times) < TURN and len(times) < 1000:
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
        print(json.dumps(statistics.median(times)), flush=True)


class Worker:
    """A process that runs one build."""

    def __init__(self, checkout: Path) -> None:
        self.process = subprocess.Popen(
            [checkout / ".venv" / "bin" / "python", __file__, "--worker"],
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.package = self._answer()
        if not Path(self.package).is_relative_to(checkout):
            sys.exit(f"{checkout}/.venv holds the package of another checkout: {self.package}")

    def turn(self, row: str) -> float:
        """Seconds of one call, the median of a turn."""
        self._stream(self.process.stdin).write(json.dumps(row) + "\n")
        self._stream(self.process.stdin).flush()
        return self._answer()

    def close(self) -> None:
        self._stream(self.process.stdin).close()
        self.process.wait()

    def _answer(self):
        line = self._stream(self.process.stdout).readline()
        if not line:
            sys.exit(f"the worker of {self.process.args[0]} ended")
        return json.loads(line)

    @staticmethod
    def _stream(stream: IO[str] | None) -> IO[str]:
        assert stream is not None
        return stream


# --- rounds and rows --------------------------------------------------------------------------------------------------


class Measured(NamedTuple):
    """One row: seconds of each build by round."""

    old: list[float]
    new: list[float]

    @property
    def ratios(self) -> list[float]:
        return sorted(new / old for old, new in zip(self.old, self.new, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """The median's 95 % confidence interval, from order statistics: no assumption on the noise."""
        ratios, reach = self.ratios, 0.98 * math.sqrt(len(self.old))
        middle = (len(ratios) - 1) / 2
        return ratios[max(0, math.floor(middle - reach))], ratios[min(len(ratios) - 1, math.ceil(middle + reach))]

    @property
    def is_slower(self) -> bool:
        return self.ratio > LIMIT and self.interval[0] > 1

    @property
    def is_settled(self) -> bool:
        low, high = self.interval
        return high <= LIMIT or low > LIMIT


def measure(checkouts: tuple[Path, Path], measured: dict[str, Measured], rounds: int) -> None:
    """More rounds of these rows, by a fresh pair of workers."""
    workers = [Worker(checkout) for checkout in checkouts]
    for row, times in measured.items():
        for worker in workers:
            worker.turn(row)  # sets up and warms up
        for i in range(rounds):
            for which in (0, 1) if i % 2 else (1, 0):
                times[which].append(workers[which].turn(row))
    for worker in workers:
        worker.close()


def show(measured: dict[str, Measured]) -> None:
    print(f"{'T, C, N, S or T, C, S':28} {'old ms':>9} {'new ms':>9} {'new / old':>9}   95 % interval  rounds")
    for row, times in measured.items():
        low, high = times.interval
        old, new = (statistics.median(side) * 1e3 for side in (times.old, times.new))
        mark = "  SLOWER" if times.is_slower else "" if times.is_settled else "  within noise of the limit"
        print(f"{row:28} {old:9.3f} {new:9.3f} {times.ratio:9.3f}   {low:.3f} - {high:.3f} {len(times.old):7}{mark}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=Path, help="the other checkout, with its own .venv")
    parser.add_argument("--rounds", type=int, default=60, help="rounds of each row to begin with (default 60)")
    parser.add_argument("--most", type=int, default=240, help="rounds of a row at most (default 240)")
    parser.add_argument("--rows", default="", help="only rows whose name contains this, such as 'align' or '50, 20'")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return work()
    if not arguments.old:
        parser.error("--old PATH is required")

    checkouts = arguments.old.resolve(), Path(__file__).resolve().parent.parent
    measured = {row: Measured([], []) for row in ROWS if arguments.rows in row}
    each = math.ceil(arguments.rounds / PROCESSES)
    for _ in range(PROCESSES):
        measure(checkouts, measured, each)
    while unsettled := {
        row: times
        for row, times in measured.items()
        if not times.is_settled and len(times.old) + each <= arguments.most
    }:
        measure(checkouts, unsettled, each)
    show(measured)
    if slower := [row for row, times in measured.items() if times.is_slower]:
        sys.exit(f"slower by more than {LIMIT - 1:.0%}: {'; '.join(slower)}")


if __name__ == "__main__":
    main()
