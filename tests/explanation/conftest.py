"""The seed page, for the tests of pages."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def handbook() -> str:
    """The seed page."""
    for package in ("torch", "matplotlib"):
        pytest.importorskip(package, reason="the seed page needs torch and matplotlib")
    from ctckit.explanation.seed_page import seed_page

    return seed_page("en")
