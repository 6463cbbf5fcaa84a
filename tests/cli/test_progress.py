"""The progress of a run over a corpus, and through a long recording: in a log file and in a terminal."""

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


class TestSeconds:
    def shown(self, updates: list[tuple[float, float]], monkeypatch: pytest.MonkeyPatch, terminal: bool = False) -> str:
        """What is shown of a recording of an hour, at these times with so many seconds done."""
        now = [0.0]
        monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
        log: Any = io.StringIO()
        with progress.Seconds(Console(file=log, force_terminal=terminal, width=100)) as display:
            for now[0], done in updates:
                display.update(done, 3600)
                display._bar.refresh()
        return log.getvalue()

    def test_a_log_gets_a_line_now_and_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        updates = [(float(second), 20.0 * second) for second in range(181)]
        assert self.shown(updates, monkeypatch).splitlines() == [
            "600 of 3600 s, 20.0 times real time, 2 min left",
            "1200 of 3600 s, 20.0 times real time, 2 min left",
            "1800 of 3600 s, 20.0 times real time, 2 min left",
            "2400 of 3600 s, 20.0 times real time, 1 min left",
            "3000 of 3600 s, 20.0 times real time, 0 min left",
        ]

    def test_a_terminal_has_a_bar(self, monkeypatch: pytest.MonkeyPatch) -> None:
        shown = self.shown([(1.0, 20.0), (2.0, 40.0), (3.0, 60.0)], monkeypatch, terminal=True)
        assert "60 of 3600 s" in shown
        assert "times real time" in shown
        assert "20 of 3600 s" not in shown

    @pytest.mark.parametrize("terminal", [True, False])
    def test_what_is_quick_shows_nothing(self, terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.shown([(1.0, 1800.0), (1.9, 3600.0)], monkeypatch, terminal) == ""
