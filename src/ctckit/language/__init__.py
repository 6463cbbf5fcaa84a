"""The language of a search: models, lexicons and hotwords.

    model.py         n-gram models of words or tokens
    prefix_model.py  any other language model, as a function
    spelling.py      what each class spells, and how texts are spelled in symbols
    trees.py         trees of many sequences of symbols, built level by level
    lexicon.py       the words that texts may have
    hotwords.py      phrases to boost
    graph.py         builds one search graph from all of these

May import text/ and what is below it, and native; model.py needs errors.py, files and native only.
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
