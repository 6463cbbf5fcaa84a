"""What a search knows of the language.

    model.py      n-gram models of words or tokens
    spelling.py   what classes spell, and how texts are spelled in their symbols
    prefix_model.py  any other model, by a function
    trees.py      trees of many sequences, level by level
    lexicon.py    the words that there are
    hotwords.py   phrases that are worth more
    graph.py      all of it, as a search graph

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
