"""The interactive page: blocks.py says what it is made of, page.py puts it together from scripts and a style sheet."""

from __future__ import annotations

from .blocks import Block, Code, Collapsing, Exercise, Exercises, Figure, Interactive, Prose, Section
from .page import SCRIPTS, explanation_page, page, search_page

__all__ = [
    "SCRIPTS",
    "Block",
    "Code",
    "Collapsing",
    "Exercise",
    "Exercises",
    "Figure",
    "Interactive",
    "Prose",
    "Section",
    "explanation_page",
    "page",
    "search_page",
]
