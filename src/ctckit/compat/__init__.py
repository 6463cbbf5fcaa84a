"""pyctcdecode's names on ctckit's search: code for pyctcdecode runs without that package, and without kenlm.

    from ctckit.compat import build_ctcdecoder

decoder.py says what differs. After ``install()``, ``import pyctcdecode`` imports this package: for code that can't be
changed. May import decoding/ and what lies below it.
"""

from __future__ import annotations

from .alphabet import Alphabet
from .decoder import BeamSearchDecoderCTC, build_ctcdecoder
from .installing import install
from .language_model import LanguageModel

__all__ = ["Alphabet", "BeamSearchDecoderCTC", "LanguageModel", "build_ctcdecoder", "install"]
