"""Recognisers by name, for the command line. May import the modules beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ..errors import CTCError
from .hugging_face import transformers
from .onnx_files import pp_ocr
from .phones import hama
from .recogniser import Recogniser


class Named(NamedTuple):
    """A recogniser that needs no more than a name.

    Attributes:
        make: makes it.
        package: has its network, so that the package's version tells which one it is.
    """

    make: Callable[[], Recogniser]
    package: str


NAMED = {"hama": Named(hama, "hama"), "pp-ocr": Named(pp_ocr, "rapidocr-onnxruntime")}
_LOADING = threading.Lock()


def named(name: str) -> Recogniser:
    """The recogniser of this name, or that of a folder of transformers.

    Raises:
        CTCError: there is neither.
        MissingExtraError: its package is not installed.
    """
    if name in NAMED:
        return NAMED[name].make()
    if Path(name).is_dir():
        return transformers(name)
    raise CTCError(
        f"recogniser = {name} is unknown: expected {', '.join(NAMED)}, or a folder with a network of transformers"
    )


def shared(name: str) -> Recogniser:
    """The same, loaded once in this process. Threads may use it at the same time."""
    with _LOADING:  # lru_cache alone would let two threads load it
        return _kept(name)


@lru_cache(maxsize=1)
def _kept(name: str) -> Recogniser:
    return named(name)


def identity(name: str) -> str:
    """Which network a name means: its package and version; for a folder also its files, with their sizes and times."""
    if name in NAMED:
        return f"{NAMED[name].package} {_version(NAMED[name].package)}"
    files = sorted(path for path in Path(name).iterdir() if path.is_file())
    states = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    return "\n".join([f"transformers {_version('transformers')}", *states])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of a copy that is not installed"
