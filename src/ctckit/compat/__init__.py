"""pyctcdecode's API on ctckit's search: code written for pyctcdecode runs without that package, and without kenlm.

    from ctckit.compat import build_ctcdecoder

decoder.py lists the differences. For code that can't be changed, ``install()`` makes ``import pyctcdecode`` import this
package. May import decoding/ and what is below it.
"""

from __future__ import annotations

from .alphabet import Alphabet
from .decoder import BeamSearchDecoderCTC, build_ctcdecoder
from .installing import install
from .language_model import LanguageModel

__all__ = ["Alphabet", "BeamSearchDecoderCTC", "LanguageModel", "build_ctcdecoder", "install"]
