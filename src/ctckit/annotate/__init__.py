"""Alignments as files in the formats of users' tools, and as pictures. A library: it knows of no command line.

May import every layer below it. Optional packages are imported when they are used.
"""

from __future__ import annotations

from .formats import write

__all__ = ["write"]
