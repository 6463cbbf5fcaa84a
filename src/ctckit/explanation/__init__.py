"""Explains any CTC input: the numbers (computation.py), and ways to see them: on paper, in a terminal, on a page.

May import kernels/, loss.py and what lies below, and the catalogue; matplotlib only when a picture is asked for.
"""

from __future__ import annotations

from .computation import Explanation, Path, Token, explain, explain_word

__all__ = ["Explanation", "Path", "Token", "explain", "explain_word"]
