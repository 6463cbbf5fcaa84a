"""A real recording, and a drawn line, as the tests of recognisers read them."""

from __future__ import annotations

from pathlib import Path

RECORDING = Path(__file__).parents[1] / "data" / "goforward.flac"
WORDS = "go forward ten meters"
STARTS = (0.46, 0.64, 1.17, 1.53)  # seconds; as pocketsphinx 5.1.1 aligns these words
ENDS = (0.64, 1.17, 1.53, 2.12)
