"""Pages in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Open = Callable[..., Any]
SCREEN = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}  # nothing to wait for


def painted(tab: Any) -> None:
    """Waits until an edit is shown: the page draws between two repaints."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def expect(found: Any) -> Any:
    """playwright's assertions on a locator, which wait until they are true."""
    from playwright.sync_api import expect  # imported late: the fixture skips tests without a browser

    expect.set_options(timeout=60_000)  # milliseconds: the machine may be slow
    return expect(found)


def cell(tab: Any, t: int, k: int) -> Any:
    return tab.locator(f'.cell[data-t="{t}"][data-k="{k}"]')


def show(tab: Any, view: str) -> None:
    tab.locator(f".views label:has(input[value={view}])").click()


def formula(tab: Any) -> list[str]:
    return tab.locator(".formula .line").all_inner_texts()
