"""The progress of a run over a corpus: a bar with its rate and the time left. Imports rich.

It is shown on a terminal only. In a log file, the line that the command prints at the end is enough.
"""

from __future__ import annotations

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


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
