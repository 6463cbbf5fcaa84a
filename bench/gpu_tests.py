"""The tests that need a card or run the GPU's kernels, in parallel: the stage "tests" of `make gpu-report`.

They have the Triton backend as a parameter or in their file's name, are marked ``gpu``, or use CUDA. Writes tests.csv:
how many tests passed and were skipped, and the name and the message of each that failed; it is written at every
failure, too. With --dry one test is run, in Triton's interpreter. Needs pytest, and uses pytest-xdist where it is
installed. May import gpu_stage.py and what that may import.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from typing import Any

import pytest
from gpu_stage import ROOT, Table, stage

SELECTED = "triton or gpu or cuda"
DRY_TEST = "tests/kernels/test_triton.py::test_no_frames_at_all"
MOST_WORKERS = 14


class Outcomes:
    """What pytest reports, as rows: the counts, then a row for each failure."""

    def __init__(self, table: Table) -> None:
        self.table, self.counts = table, Counter[str]()
        self.failures: list[dict[str, object]] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._fails(report)
        elif report.skipped or report.when == "call":
            self.counts[report.outcome] += 1
            if sum(self.counts.values()) % 100 == 0:
                self.write()

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self._fails(report)

    def _fails(self, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = str(report.longrepr).strip().splitlines()[-1].removeprefix("E ") if crash is None else crash.message
        row = {"outcome": "failed", "number": 1, "test": report.nodeid, "message": " ".join(message.split())[:300]}
        if row not in self.failures:  # each worker reports what it cannot collect
            self.failures.append(row)
            self.write()

    def write(self) -> None:
        rows = [{"outcome": name, "number": self.counts[name]} for name in ("passed", "skipped") if self.counts[name]]
        self.table.rows = [{"card": self.table.card, **row} for row in (*rows, *self.failures)]
        self.table.write()


def arguments(dry: bool) -> list[str]:
    """pytest's arguments. The project's own would turn warnings of other versions of packages into errors."""
    plain = ["-o", "addopts=", "-o", "filterwarnings=default", "-p", "no:cacheprovider", "-q", "--rootdir", str(ROOT)]
    if dry:
        return [*plain, str(ROOT / DRY_TEST)]
    workers = min(max((os.cpu_count() or 1) - 2, 1), MOST_WORKERS)
    parallel = ["-n", str(workers), "--dist", "worksteal"] if importlib.util.find_spec("xdist") else []
    return [*plain, *parallel, "--continue-on-collection-errors", "-k", SELECTED, str(ROOT / "tests")]


def main() -> None:
    run = stage(__doc__, "bench/gpu_tests.py", rounds=1)
    outcomes = Outcomes(run.table("tests"))
    code = pytest.main(arguments(run.device.dry), plugins=[outcomes])
    outcomes.write()
    if code != pytest.ExitCode.OK:
        sys.exit(f"pytest: {pytest.ExitCode(code).name}, {len(outcomes.failures)} failed")


if __name__ == "__main__":
    main()
