"""Runners, which execute any job for many rows.

For another way to run (processes, a cluster), write a class with the same call. Imports job.py and manifest.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from ..errors import CTCError
from .job import Entry, Job
from .manifest import FailedRow, Row

AHEAD = 2  # rows per thread that run or wait: more would fill the memory with emissions


class Runner(Protocol):
    """Runs a job for each row."""

    def __call__(self, job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
        """Yields ``job.run(row)`` for each row, in the rows' order. The job may be pickled."""
        ...


@dataclass(frozen=True)
class Threads:
    """Runs rows in parallel threads of this process.

    Attributes:
        num_threads: how many rows are done at the same time.

    Raises:
        CTCError: ``num_threads`` is less than 1.
    """

    num_threads: int = 1

    def __post_init__(self) -> None:
        if self.num_threads < 1:
            raise CTCError(f"num_threads = {self.num_threads}: expected at least 1")

    def __call__(self, job: Job, rows: Sequence[Row]) -> Iterator[Entry | FailedRow]:
        """Yields the results in order, and reads only a few rows ahead of them."""
        with ThreadPoolExecutor(self.num_threads) as pool:
            pending: deque[Future[Entry | FailedRow]] = deque()
            try:
                for row in rows:
                    pending.append(pool.submit(job.run, row))
                    if len(pending) >= AHEAD * self.num_threads:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
