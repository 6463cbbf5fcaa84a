"""Real outputs of a handwriting recogniser, for one line and one word; not part of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ALPHABET = " !\"#&'()*+,-./0123456789:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # then the blank
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the recogniser's outputs are not part of the repository")
