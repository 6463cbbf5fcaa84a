"""Explains any CTC computation, and any search for a text: the numbers, and ways to see them: pictures, text, pages.

Floors, each importing only those below: explanation.py and search.py, the classes that users hold; views/ and page/,
what draws and writes; arguments.py, the checks; numbers.py, beam.py and recogniser.py, what is shown; letters.py. May
import drawing/, text/, kernels/ and what lies below, and the catalogue; matplotlib only when a picture is drawn.
"""

from __future__ import annotations

from .explanation import Explanation, WordExplanation, explain, explain_word
from .numbers import Path, StateCost
from .search import TWO_FRAMES, SearchExplanation, explain_search

__all__ = [
    "TWO_FRAMES",
    "Explanation",
    "Path",
    "SearchExplanation",
    "StateCost",
    "WordExplanation",
    "explain",
    "explain_search",
    "explain_word",
]
