"""The command line: one file per command, and main.py, which runs them.

May import everything; a command imports what it needs when it runs, so that the others start fast. Only this package
knows flags: the library's messages name parameters, and command.py turns them into flags.
"""

from __future__ import annotations

from .main import app

__all__ = ["app"]
