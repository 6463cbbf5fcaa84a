"""What a search has found, as numbers that can be compared bit for bit."""

from __future__ import annotations

from typing import Any

from ctckit import Hypotheses


def as_data(found: Hypotheses) -> list[tuple[Any, ...]]:
    """The text, the tokens, their frames and all scores of each."""
    names = ("score", "ctc_score", "language_score", "word_score", "hotword_score")
    return [(h.text, h.tokens.tolist(), h.frames.tolist(), *(getattr(h, name) for name in names)) for h in found]
