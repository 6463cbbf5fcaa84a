"""Chromium, for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .pages import SCREEN


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; without one the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pages are tested in a browser, by playwright")
    with playwright.sync_playwright() as driver:
        executable = shutil.which("chromium")  # the system's, which .ci/run installs; or else playwright's
        try:
            started = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        except playwright.Error as error:
            if executable is None and "Executable doesn't exist" in str(error):
                pytest.skip("no Chromium here: `playwright install chromium` fetches one")
            raise
        try:
            yield started
        finally:
            started.close()


class Windows:
    """A browser's windows, one for each set of options. To open a window takes longer than most tests."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._kept: dict[str, Any] = {}
        self._opened: list[Any] = []  # since `close_tabs` was called: tabs, and windows with a single tab

    def tab(self, *, own_window: bool = False, **options: Any) -> Any:
        """A tab in the window of these options, or in a window of its own, if the test changes what tabs share."""
        options = SCREEN | options
        if own_window:
            self._opened.append(window := self._browser.new_context(**options))
            tab = window.new_page()
        else:
            self._opened.append(tab := self._window(options).new_page())
        tab.set_default_timeout(60_000)  # milliseconds: the machine may be slow
        return tab

    def _window(self, options: dict[str, Any]) -> Any:
        key = repr(sorted(options.items()))
        if key not in self._kept:
            self._kept[key] = self._browser.new_context(**options)
            self._kept[key].new_page()  # stays open, and with it the window
        return self._kept[key]

    def close_tabs(self) -> None:
        """Closes what a test has opened."""
        while self._opened:
            self._opened.pop().close()
