"""Stand-in for language/spelling.py."""

from __future__ import annotations

import numpy as np

from ..search_graph import BOUNDARY, Symbols
from ..text import Vocabulary


def symbols_of(vocabulary: Vocabulary) -> Symbols:
    """What each class spells."""
    numbers: dict[str, int] = {}
    spelled: list[list[int]] = []
    for token in range(len(vocabulary.labels)):
        text = vocabulary.adds(token)
        spelled.append([BOUNDARY if c == " " else numbers.setdefault(c, len(numbers) + 1) for c in text])
    offsets = np.concatenate(([0], np.cumsum([len(symbols) for symbols in spelled])))
    symbols = np.array([symbol for row in spelled for symbol in row], np.int32)
    separator = -1 if vocabulary.separator is None else vocabulary.separator
    return Symbols(offsets.astype(np.int32), symbols, separator)
