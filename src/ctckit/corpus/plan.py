"""Compares a manifest's rows with the log of earlier runs, to find what is left. Imports job.py and manifest.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .job import Entry, Job
from .manifest import FailedRow, Row


class Plan(NamedTuple):
    """The rows of a manifest, sorted by whether they must be done.

    Attributes:
        todo: rows to do, and rows that are invalid, in the manifest's order.
        done: the log's lines for rows whose outputs are up to date, by id.
        orphaned: the log's lines for rows that the manifest no longer has, by id.
    """

    todo: list[Row | FailedRow]
    done: dict[str, Entry]
    orphaned: dict[str, Entry]


def make_plan(rows: Sequence[Row | FailedRow], log: Mapping[str, Entry], job: Job) -> Plan:
    """Sorts rows by whether the job must do them.

    Args:
        rows: the manifest's rows.
        log: the lines of earlier runs, by id.
        job: tells whether a row's outputs are up to date.
    """
    valid = [row for row in rows if isinstance(row, Row)]
    done = {row.id: log[row.id] for row in valid if row.id in log and job.is_done(row, log[row.id])}
    ids = {row.id for row in rows}
    return Plan(
        todo=[row for row in rows if isinstance(row, FailedRow) or row.id not in done],
        done=done,
        orphaned={id: entry for id, entry in log.items() if id not in ids},
    )
