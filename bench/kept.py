"""What the tests have and benchmarks need too: kept outputs of a recogniser and a language, and the recogniser."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import calibration, ppocr, printed

__all__ = ["calibration", "ppocr", "printed"]
