"""Chromium, for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; without one the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pages are tested in a browser, by playwright")
    with playwright.sync_playwright() as driver:
        # The system's: its shell without windows, which .ci/run installs, takes half the time. Or else playwright's.
        executable = shutil.which("chromium-headless-shell") or shutil.which("chromium")
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
