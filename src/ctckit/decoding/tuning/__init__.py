"""Chooses a language's weights on samples with known texts, and tells whether the language helps.

    weights.py   the search for alpha and beta
    notes.py     possible reasons if a language doesn't help
    picture.py   draws the errors by alpha and beta

May import the other modules of decoding/, drawing/, text/ and what is below them.
"""

from __future__ import annotations

from .weights import ALPHAS, BETAS, Trial, Tuned, tune

__all__ = ["ALPHAS", "BETAS", "Trial", "Tuned", "tune"]
