"""Replaces pyctcdecode by ctckit.compat, for code that imports pyctcdecode by name.

May import the other modules of its package.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

_MODULES = ("alphabet", "constants", "decoder", "language_model")


def install() -> None:
    """Makes ``import pyctcdecode`` import ``ctckit.compat`` in the whole process; and ``kenlm``, if it isn't installed.

    Then ``transformers``' ``Wav2Vec2ProcessorWithLM`` runs on ctckit unchanged. Call it first: names that were imported
    before are not replaced, and transformers checks only once whether the packages are installed.

    Example:
        >>> install()  # doctest: +SKIP
        >>> from pyctcdecode import build_ctcdecoder  # doctest: +SKIP
    """
    package = __package__ or ""
    sys.modules["pyctcdecode"] = importlib.import_module(package)
    for name in _MODULES:
        sys.modules[f"pyctcdecode.{name}"] = importlib.import_module(f"{package}.{name}")
    if find_spec("kenlm") is None:
        sys.modules["kenlm"] = importlib.import_module(f"{package}.kenlm")
