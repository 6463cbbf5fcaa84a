"""Parts of tests/support that benchmarks need too: a recogniser, its kept outputs, a language and calibration."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support import calibration, ppocr, printed

__all__ = ["calibration", "ppocr", "printed"]
