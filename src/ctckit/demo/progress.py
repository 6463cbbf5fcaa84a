"""What the demo prints while it runs and when it ends. Imports rich.

On a terminal there is a live bar; elsewhere (a log, CI) only the lines that are worth keeping.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from . import GOAL_CER, GOAL_LINES, DemoResult
from .data import Lines
from .train import Comparison, Record

WATCHED = 0  # the held-out line whose reading is shown as it improves


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{round(seconds) // 60:02}:{round(seconds) % 60:02}"


class _Elapsed(ProgressColumn):
    """The time since the program's start, not since the bar's."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self._start = start

    def render(self, task: Task) -> Text:
        return Text(clock(time.perf_counter() - self._start))


class Display:
    """Live progress of a training run, as a context manager; give `update` to `train`.

    Args:
        console: where it is shown.
        steps: how many are planned.
        held_out: the lines that are read from time to time.
        start: when the program began, by `time.perf_counter`; the times that are shown count from there.
    """

    def __init__(self, console: Console, steps: int, held_out: Lines, start: float) -> None:
        self._console, self._start = console, start
        self._written = "".join(map(str, held_out.truth(WATCHED)))
        self._tests = 0
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[loss]}"),
            _Elapsed(start),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, loss="")

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, record: Record) -> None:
        """Shows the last step, and the last test if it is new."""
        self._bar.update(self._task, completed=len(record.losses), loss=f"loss {record.losses[-1]:.3f}")
        if len(record.tests) == self._tests:
            return
        self._tests = len(record.tests)
        test = record.tests[-1]
        read = "".join(map(str, test.held_out.read(WATCHED))) or "nothing"
        self._console.print(
            f"step {test.step:5d}  {clock(time.perf_counter() - self._start)}  loss {test.loss:6.3f}  held-out: "
            f"{test.held_out.cer:6.1%} of digits wrong, {test.held_out.line_accuracy:6.1%} of lines right; "
            f"reads {self._written} as {read}",
        )


def say_result(
    console: Console, result: DemoResult, sentence: str, record: Record, comparison: Comparison | None
) -> None:
    """Prints where the time went, what torch's loss would have cost, and how well the held-out lines are read."""
    table = Table(box=None, title="Where the time went", title_justify="left", pad_edge=False)
    table.add_column("part")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    whole = sum(record.seconds.values())
    for part, seconds in record.seconds.items():
        table.add_row(part, f"{seconds:.2f}", f"{seconds / whole:.1%}")
    console.print()
    console.print(table)
    if comparison is not None:
        spent = record.seconds["CTC loss"]
        console.print(
            f"\nThe CTC loss took {result.loss_share:.1%} of the training steps' time. torch's own loss, measured in "
            f"turns on the same batches, takes {comparison.ratio:.1f} times as long: {comparison.torchs:.2f} ms a "
            f"batch, not {comparison.ours:.2f} ms; {spent * comparison.ratio:.1f} s in all, not {spent:.1f} s.",
        )
    console.print(
        f"\n{len(record.last.edits)} held-out lines: {result.cer:.2%} of digits wrong, "
        f"{result.line_accuracy:.1%} of lines entirely right, after {clock(result.seconds)}."
    )
    console.print(sentence)
    console.print(f"Report: {result.report}")


def verdict(result: DemoResult, record: Record, fast: bool) -> str:
    """One sentence on whether the demo's goal was met."""
    goal = f"at most {GOAL_CER:.0%} of digits wrong and at least {GOAL_LINES:.0%} of lines right"
    if record.interrupted:
        return f"Stopped by Ctrl-C after {len(record.losses)} of {record.steps} steps; the goal is {goal}."
    if fast:
        return "A fast run, to see that everything works: too short to claim a goal."
    return f"Goal met: {goal}." if result.goal_met else f"Goal NOT met: it is {goal}."
