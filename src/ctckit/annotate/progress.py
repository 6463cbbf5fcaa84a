"""What a run over a corpus shows while it lasts: a bar with its rate and the time left. Imports rich.

On a terminal only: a log has the last line, which the command line prints.
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
    """Live progress, as a context manager; give `update` to :meth:`Corpus.run`."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("row"),
            MofNCompleteColumn(),
            BarColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[bad]} bad"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, done: int, bad: int, rows: int) -> None:
        """Shows how far it is; rows that were done before count for the bar and not for the rate."""
        if not self._bar.task_ids:
            self._bar.add_task("", total=rows, completed=done + bad, bad=bad)
        self._bar.update(self._bar.task_ids[0], completed=done + bad, bad=bad)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")
