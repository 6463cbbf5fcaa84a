"""Recognisers by name, for the command line. May import the modules beside it."""

from __future__ import annotations

from pathlib import Path

from ..errors import CTCError
from .hugging_face import transformers
from .onnx_files import pp_ocr
from .phones import hama
from .recogniser import Recogniser

NAMED = {"hama": hama, "pp-ocr": pp_ocr}


def named(name: str) -> Recogniser:
    """The recogniser of this name, or that of a folder of transformers.

    Raises:
        CTCError: there is neither.
        MissingExtraError: its package is not installed.
    """
    if name in NAMED:
        return NAMED[name]()
    if Path(name).is_dir():
        return transformers(name)
    raise CTCError(
        f"recogniser = {name} is unknown: expected {', '.join(NAMED)}, or a folder with a network of transformers"
    )
