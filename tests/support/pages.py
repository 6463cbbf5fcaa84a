"""Pages in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Open = Callable[..., Any]
SCREEN = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}  # nothing to wait for


def painted(tab: Any) -> None:
    """Waits until an edit is shown: the page draws between two repaints."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
