"""``ctckit info``."""

from __future__ import annotations

import importlib.util
import platform

from ..installation import install_command

FRONTENDS = ("torch",)


def info() -> None:
    """Says which version, kernels and frontends are in use."""
    from .. import __version__, get_num_threads
    from ..kernels import native

    available = ", ".join(native.instruction_sets())
    rows = {
        "ctckit": __version__,
        "instruction set": f"{native.instruction_set()} (available: {available})",
        "threads": str(get_num_threads()),
        **{f"ctckit.{name}": _frontend(name) for name in FRONTENDS},
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    }
    for name, value in rows.items():
        print(f"{name:<15}  {value}")


def _frontend(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"not importable: {install_command(name)}"
    return f"importable ({name} {importlib.import_module(name).__version__})"
