"""What a search knows of the language.

    model.py   n-gram models of words or tokens

May import errors.py, files and native.
"""

from __future__ import annotations

from .model import LanguageModel, WordScore

__all__ = ["LanguageModel", "WordScore"]
