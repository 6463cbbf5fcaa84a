"""What the tests keep and benchmarks need too: a recogniser's outputs, a language, and the recogniser itself."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import ppocr, printed

__all__ = ["ppocr", "printed"]
