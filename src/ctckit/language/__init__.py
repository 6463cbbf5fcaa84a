"""What a search knows of the language.

    model.py         n-gram models of words or tokens
    prefix_model.py  any other model, as a function
    spelling.py      what classes spell, and how texts are spelled in their symbols
    trees.py         trees of many sequences, built level by level
    lexicon.py       the words that texts may have
    hotwords.py      phrases that are worth more
    graph.py         all of these in one search graph

May import text/ and what lies below it, and native; model.py needs errors.py, files and native only.
"""

from __future__ import annotations

from .graph import Built, GraphBuilder
from .hotwords import HOTWORD_WEIGHT, read_hotwords
from .lexicon import Lexicon
from .model import LanguageModel, WordScore
from .prefix_model import PrefixModel

__all__ = [
    "HOTWORD_WEIGHT",
    "Built",
    "GraphBuilder",
    "LanguageModel",
    "Lexicon",
    "PrefixModel",
    "WordScore",
    "read_hotwords",
]
