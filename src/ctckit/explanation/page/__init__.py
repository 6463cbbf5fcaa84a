"""The interactive page: page.py puts it together from the scripts and the style sheet beside it."""

from __future__ import annotations

from .page import SCRIPTS, Block, Code, Figure, Interactive, Prose, explanation_page, page, search_page

__all__ = ["SCRIPTS", "Block", "Code", "Figure", "Interactive", "Prose", "explanation_page", "page", "search_page"]
