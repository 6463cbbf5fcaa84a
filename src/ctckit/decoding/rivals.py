"""Searches for the texts that a hypothesis is compared with.

May import beams.py, exact.py, reader.py, confidence.py and what lies below them.
"""

from __future__ import annotations

from ..search_graph import SearchGraph
from .beams import Width, search
from .confidence import Rival
from .emissions import Emissions
from .exact import ctc_scores
from .reader import Reader


def find_rivals(emissions: Emissions, n: int, graph: SearchGraph, reader: Reader, width: Width) -> list[Rival]:
    """All texts that a beam holds at the end of sample n, alike ones apart, with their exact scores."""
    sample = emissions.sample(n)
    (found,) = search(sample, graph, width, width.beam_width, recombine=False)
    (exact,) = ctc_scores(sample, graph.blank, [[text.tokens for text in found.texts]])
    return [
        Rival(
            text.tokens.tolist(),
            [word.text for word in reader.words(text.tokens, text.words)],
            graph.score(ctc, text.language, text.units, text.hotwords),
        )
        for text, ctc in zip(found.texts, exact, strict=True)
    ]
