"""One run over a corpus: reads the manifest, makes a plan, and lets a runner do the rows.

Imports annotate/, files/, recognisers/ and validate/.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..annotate.formats import check_format
from ..annotate.recording import read_vocabulary
from ..annotate.sources import check_pixels
from ..errors import CTCError
from ..files import read_labels
from ..recognisers.named import identity
from ..validate import check_frame_shift, check_offset
from .job import Entry, Job, Task, digest
from .manifest import Defaults, FailedRow, Row, read_manifest, separate
from .plan import Plan, make_plan
from .runner import Runner, Threads
from .store import Store


class Outcome(NamedTuple):
    """How many rows a run did, skipped or failed to do, and how many orphaned rows are in the log.

    Attributes:
        done: rows that this run did.
        skipped: rows that an earlier run had done.
        failed: rows that could not be done; ``errors.jsonl`` says why.
        orphaned: rows in the log that the manifest no longer has.
        entries: the log's lines for all rows that are done, in the manifest's order.
    """

    done: int
    skipped: int
    failed: int
    orphaned: int
    entries: list[Entry]


def _ignore(done: int, failed: int, total: int) -> None:
    """The default for ``on_row``."""


@dataclass(frozen=True)
class Corpus:
    """The manifest, outputs and task of a run.

    Attributes:
        manifest: a file with a line for each recording: JSON lines in our form, NeMo's or lhotse's; or Kaldi's
            ``text``. With a recogniser also a folder of recordings, or a pattern such as ``*.flac``.
        out: the folder of the outputs.
        suffixes: the endings of a row's output files.
        task: what is done with each row.
        defaults: values for rows that don't give their own.
    """

    manifest: Path
    out: Path
    suffixes: tuple[str, ...]
    task: Task
    defaults: Defaults = field(default_factory=Defaults)

    def run(self, runner: Runner | None = None, on_row: Callable[[int, int, int], None] = _ignore) -> Outcome:
        """Does all rows that are not done yet.

        Args:
            runner: runs the rows; one thread if None.
            on_row: called at the start and after each row with three counts of rows: done, failed, total.

        Raises:
            CTCError: the run can't begin. A row that can't be done raises nothing: it is listed in ``errors.jsonl``.
        """
        self._check()
        rows = read_manifest(self.manifest, self.defaults, needs_text=self.task.needs_text)
        name = self.defaults.recogniser
        network = None if name is None else identity(name)
        job = Job(self.out, self.suffixes, self.task, self._settings(), network)
        rows = list(separate(rows, job.outputs, [self.manifest]))
        names = {path.name for row in rows if isinstance(row, Row) for path in job.outputs(row)}
        store = Store(self.out, job.settings)
        store.create(names)
        with store.locked():
            log = store.read_log()
            store.clean(names)
            return _run(rows, make_plan(rows, log, job), job, store, runner or Threads(), on_row)

    def _check(self) -> None:
        self.task.check(self.suffixes, self.defaults)
        if self.defaults.frame_shift is not None:
            check_frame_shift(self.defaults.frame_shift)
        check_offset(self.defaults.offset)
        for suffix in self.suffixes if self.defaults.kind == "image" else ():
            check_pixels(Path(f"x{suffix}"))
        if self.defaults.labels is not None:
            if self.defaults.blank is None:
                read_labels(self.defaults.labels)  # without a blank: the scores may tell which label it is
            else:
                read_vocabulary(self.defaults.labels, self.defaults.blank)

    def _settings(self) -> dict[str, Any]:
        """The options as the log stores them, with a hash of the label file."""
        defaults = self.defaults._asdict()
        del defaults["emissions"], defaults["texts"]  # only locations, like the manifest's path
        if self.defaults.labels is not None:
            defaults["labels"] = digest(self.defaults.labels)
        return {
            "task": self.task.name,
            **self.task.settings(),
            **defaults,
            "format": sorted(suffix[1:] for suffix in self.suffixes),
        }


def _run(
    rows: list[Row | FailedRow],
    plan: Plan,
    job: Job,
    store: Store,
    runner: Runner,
    on_row: Callable[[int, int, int], None],
) -> Outcome:
    lines = {row.id: row.line for row in rows if isinstance(row, Row)}
    entries = plan.done | plan.orphaned

    def write_log() -> list[Entry]:
        order = sorted(entries.values(), key=lambda entry: (lines.get(entry["id"], math.inf), entry["id"]))
        store.write_log(order)
        return order

    write_log()  # without the rows that will be done now
    done, skipped, failed = 0, len(plan.done), 0
    on_row(skipped, failed, len(rows))
    with closing(_results(plan.todo, job, runner)) as results:
        for result in results:
            store.add(result)
            if isinstance(result, FailedRow):
                failed += 1
            else:
                done += 1
                entries[result["id"]] = result
            on_row(skipped + done, failed, len(rows))
    order = write_log()  # in the manifest's order, even after several runs
    return Outcome(done, skipped, failed, len(plan.orphaned), order[: len(order) - len(plan.orphaned)])


def _results(todo: list[Row | FailedRow], job: Job, runner: Runner) -> Generator[Entry | FailedRow, None, None]:
    """The result of each row, in order; an invalid row is its own result."""
    results = runner(job, [row for row in todo if isinstance(row, Row)])
    for row in todo:
        yield row if isinstance(row, FailedRow) else next(results)


def parse_formats(names: str) -> tuple[str, ...]:
    """The file endings for a list of format names with commas: ``json,TextGrid``.

    Raises:
        CTCError: a name is unknown, or occurs twice.
        MissingExtraError: the package that writes a format is not installed.
    """
    suffixes = ["." + name.strip().removeprefix(".") for name in names.split(",")]
    for suffix in suffixes:
        check_format(Path("x" + suffix))
    if len({suffix.lower() for suffix in suffixes}) < len(suffixes):
        raise CTCError(f"formats = {names}: expected each format once")
    return tuple(suffixes)
