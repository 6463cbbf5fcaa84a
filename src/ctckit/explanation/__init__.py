"""Explains any CTC computation: the numbers, and ways to see them: pictures, text, an interactive page.

Floors, each importing only those below: explanation.py, the class that users hold; views/ and page/, what draws and
writes; numbers.py, what they show; arguments.py, the checks. May import drawing/, text/, kernels/ and what lies below,
and the catalogue; matplotlib only when a picture is drawn.
"""

from __future__ import annotations

from .explanation import Explanation, explain, explain_word
from .numbers import Path, StateCost

__all__ = ["Explanation", "Path", "StateCost", "explain", "explain_word"]
