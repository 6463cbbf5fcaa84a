"""What people want from alignments: files in the formats of their tools, whole corpora, and pictures.

May import all that lies below the demo; what needs an optional package is imported when it is used.
"""

from __future__ import annotations

from .formats import write

__all__ = ["write"]
