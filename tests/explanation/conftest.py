"""A browser for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.pages import SCREEN, Open


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from a file. At the end no error must be logged and nothing but the file requested."""
    faults: list[str] = []
    asked: list[str] = []
    contexts: list[Any] = []

    def visit(text: str, **context: Any) -> Any:
        file = tmp_path / f"page{len(contexts)}.html"
        file.write_bytes(text.encode())
        contexts.append(browser.new_context(**(SCREEN | context)))
        tab = contexts[-1].new_page()
        tab.set_default_timeout(60_000)  # milliseconds: the machine may be slow
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file.as_uri())
        return tab

    try:
        yield visit
    finally:
        for context in contexts:
            context.close()
    assert not faults
    assert all(url.startswith(tmp_path.as_uri()) for url in asked), asked
    assert len(asked) == len(contexts)


@pytest.fixture(scope="session")
def handbook() -> str:
    """The seed page."""
    for package in ("torch", "matplotlib"):
        pytest.importorskip(package, reason="the seed page needs torch and matplotlib")
    from ctckit.explanation.seed_page import seed_page

    return seed_page("en")
