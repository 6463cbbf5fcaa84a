"""Chooses a language's weights on texts that are known, and says whether the language helps.

    weights.py   the search for alpha and beta
    notes.py     what may be the reason if a language doesn't help
    picture.py   the errors by alpha and beta

May import the other modules of decoding/, drawing/, text/ and what lies below them.
"""

from __future__ import annotations

from .weights import ALPHAS, BETAS, Trial, Tuned, tune

__all__ = ["ALPHAS", "BETAS", "Trial", "Tuned", "tune"]
