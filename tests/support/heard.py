"""A real recording, and a drawn line, as the tests of recognisers read them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

RECORDING = Path(__file__).parents[1] / "data" / "goforward.flac"
WORDS = "go forward ten meters"
STARTS = (0.46, 0.64, 1.17, 1.53)  # seconds; as pocketsphinx 5.1.1 aligns these words


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips a test, and says why, where a package is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
