"""The command line: one file per command, and main.py, which runs them.

May import everything; a command imports what it needs when it runs, so that the others start fast. Only this package
knows flags: the library's messages name parameters, and command.py turns them into flags.
"""

from __future__ import annotations

from ..errors import MissingExtraError

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError as error:
    raise SystemExit(str(MissingExtraError("The command line", "cli", error.name or "typer"))) from None

from .main import app

__all__ = ["app"]
