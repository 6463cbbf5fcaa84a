"""Searches for the texts that a hypothesis is compared with.

May import beams.py, exact.py, reader.py, confidence.py and what lies below them.
"""

from __future__ import annotations

from ..search_graph import SearchGraph
from .beams import Text, Width, search
from .confidence import Rival
from .emissions import Emissions
from .exact import ctc_scores
from .reader import Reader


def find_rivals(emissions: Emissions, graph: SearchGraph, reader: Reader, width: Width) -> list[Rival]:
    """All texts that a beam ends with in one sample, alike ones apart, with their exact scores."""
    (found,) = search(emissions, graph, width, width.beam_width, recombine=False)
    (exact,) = ctc_scores(emissions, graph.blank, [[text.tokens for text in found.texts]])
    return [
        rival_of(text, graph.score(ctc, text.language, text.units, text.hotwords), reader)
        for text, ctc in zip(found.texts, exact, strict=True)
    ]


def rival_of(text: Text, score: float, reader: Reader) -> Rival:
    """A text that was found, as one to compare with."""
    return Rival(text.tokens.tolist(), reader.texts(text.tokens, text.words), score)
