"""The progress of a run over a corpus, where it goes to a log file."""

import io
from typing import Any

import pytest

pytest.importorskip("typer", reason="the command line needs typer")

from rich.console import Console

from ctckit.cli import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    log: Any = io.StringIO()
    with progress.Display(Console(file=log)) as display:
        for second in range(101):
            now[0] = second
            display.update(second, second // 50, 200)
    assert log.getvalue().splitlines() == [
        "row 30 of 200, 0 failed",
        "row 61 of 200, 1 failed",
        "row 91 of 200, 1 failed",
    ]
