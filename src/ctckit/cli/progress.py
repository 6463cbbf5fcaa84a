"""How far a run over a corpus is, or one through a long recording: a bar with its rate and the time left. Imports rich.

In a terminal it is drawn again and again. Elsewhere, such as in a log file, it is a line every half a minute.
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
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

EVERY = 30.0  # seconds from one line of a log to the next
_QUICK = 2.0  # seconds; what takes no longer shows no progress


class Display:
    """Live progress, as a context manager; pass `update` to :meth:`Corpus.run`."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("row"),
            MofNCompleteColumn(),
            BarColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]} failed"),
            console=console,
            disable=not console.is_terminal,
        )
        self._logged = time.monotonic()

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, failed: int, total: int) -> None:
        """Shows how far it is. The first call sets the start: rows done by earlier runs don't count for the rate."""
        if not self._bar.task_ids:
            self._bar.add_task("", total=total, completed=done + failed, failed=failed)
        self._bar.update(self._bar.task_ids[0], completed=done + failed, failed=failed)
        if not self._bar.console.is_terminal and time.monotonic() - self._logged >= EVERY:
            self._logged = time.monotonic()
            self._bar.console.print(f"row {done + failed} of {total}, {failed} failed", highlight=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class Seconds:
    """The same of one recording, in its seconds; pass `update` to :func:`ctckit.recognisers.recognise`.

    A recording that takes no more than two seconds shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
            BarColumn(),
            _TimesRealTime(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._begun = self._logged = time.monotonic()
        self._task = self._bar.add_task("")

    def __enter__(self) -> Seconds:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: float, total: float) -> None:
        """Shows how many seconds of all are done."""
        now = time.monotonic()
        self._bar.update(self._task, completed=done, total=total)
        if done >= total:
            return
        if now - self._begun >= _QUICK:
            self._bar.start()
        if not self._bar.console.is_terminal and now - self._logged >= EVERY:
            self._logged = now
            rate = done / (now - self._begun)
            left = (total - done) / rate / 60
            line = f"{done:.0f} of {total:.0f} s, {rate:.1f} times real time, {left:.0f} min left"
            self._bar.console.print(line, highlight=False)


class _TimesRealTime(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed:.1f} times real time" if task.elapsed else "")
