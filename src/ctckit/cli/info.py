"""``ctckit info``."""

from __future__ import annotations

import importlib.util
import platform

from rich.console import Console
from rich.table import Table

FRONTENDS = ("torch",)


def info() -> None:
    """Says which version, kernels and frontends are in use."""
    from .. import __version__, get_num_threads
    from ..kernels import native

    table = Table(show_header=False, box=None)
    available = ", ".join(native.instruction_sets())
    table.add_row("ctckit", __version__)
    table.add_row("instruction set", f"{native.instruction_set()} (available: {available})")
    table.add_row("threads", str(get_num_threads()))
    for name in FRONTENDS:
        table.add_row(f"ctckit.{name}", _frontend(name))
    table.add_row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    Console().print(table)


def _frontend(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"not importable: pip install 'ctckit[{name}]'"
    return f"importable ({name} {importlib.import_module(name).__version__})"
