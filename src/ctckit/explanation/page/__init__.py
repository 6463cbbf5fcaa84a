"""The interactive page: blocks.py says what it is made of, page.py puts it together from scripts and a style sheet."""

from __future__ import annotations

from .blocks import Addition, Block, Code, Collapsing, Exercise, Exercises, Figure, Interactive, Prose, Section, Widget
from .page import SCRIPTS, explanation_page, page, search_page

__all__ = [
    "SCRIPTS",
    "Addition",
    "Block",
    "Code",
    "Collapsing",
    "Exercise",
    "Exercises",
    "Figure",
    "Interactive",
    "Prose",
    "Section",
    "Widget",
    "explanation_page",
    "page",
    "search_page",
]
