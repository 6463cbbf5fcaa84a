"""The interactive page: page.py writes it, the scripts and the style sheet beside it are what it consists of."""

from __future__ import annotations

from .page import SCRIPTS, Block, Code, Figure, Interactive, Prose, explanation_page, page

__all__ = ["SCRIPTS", "Block", "Code", "Figure", "Interactive", "Prose", "explanation_page", "page"]
