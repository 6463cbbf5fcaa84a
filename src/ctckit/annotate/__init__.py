"""Alignments as files in the formats of users' tools, as pictures, and as columns of tables. It knows no command line.

May import every layer below it. Optional packages are imported when they are used.
"""

from __future__ import annotations

from .batches import AlignBatch, DecodeBatch
from .formats import write
from .recognising import RecogniseBatch

__all__ = ["AlignBatch", "DecodeBatch", "RecogniseBatch", "write"]
