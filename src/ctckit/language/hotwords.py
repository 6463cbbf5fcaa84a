"""Phrases that a user expects, as an automaton that raises their scores.

May import files/, search_graph.py, and of its package lexicon.py, spelling.py and trees.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import islice, product
from numbers import Real
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..files import check_file, read_packed_text
from ..search_graph import BOUNDARY, MOST_NATS, Float64Array, Hotwords, Int32Array, Tree
from .lexicon import SpelledLexicon
from .spelling import Spelled, Speller, left_out
from .trees import Finder, Sequences, highest_below, levels, parents, tree_of

HOTWORD_WEIGHT = 8.0  # nats; from 0 to 24, 6 and 8 gave the fewest errors in printed lines, with and without a language
_MOST_SPELLINGS = 64  # the most spellings of a phrase, if its words have several

Source = Iterable[str] | Mapping[str, float] | str | Path


def weighted(source: Source) -> dict[str, float]:
    """Phrases with their weights, from any form that users can pass.

    Args:
        source: phrases; phrases with their weights in nats; or the path of a file that :func:`read_hotwords` reads.

    Raises:
        CTCError: a phrase is empty or not a string, or a weight is not a number from -300 to 300.
    """
    if isinstance(source, (str, Path)):
        return read_hotwords(source)
    pairs = source.items() if isinstance(source, Mapping) else ((phrase, HOTWORD_WEIGHT) for phrase in source)
    found: dict[str, float] = {}
    for i, (phrase, weight) in enumerate(pairs, start=1):
        if not isinstance(phrase, str) or not phrase.strip():
            weights = "; weights are given by a mapping, {phrase: weight}" if isinstance(phrase, tuple) else ""
            raise CTCError(f"hotwords: phrase {i} is {phrase!r}: expected a text that is not empty{weights}")
        if not isinstance(weight, Real) or isinstance(weight, bool) or not abs(float(weight)) <= MOST_NATS:
            raise CTCError(
                f"hotwords: {phrase!r} has the weight {weight!r}: expected nats, a number from {-MOST_NATS:g} to "
                f"{MOST_NATS:g}, such as 8.0"
            )
        found[phrase] = float(weight)
    return found


def read_hotwords(path: str | Path, weight: float = HOTWORD_WEIGHT) -> dict[str, float]:
    """Reads a file with a phrase on each line, or a phrase, a tab and its weight in nats. Empty lines are ignored.

    Args:
        path: the file's path.
        weight: nats; the weight of phrases for which the file gives none.

    Raises:
        CTCError: the file can't be read, is not UTF-8, or a weight is not a number.
    """
    path = Path(path)
    if not path.exists():
        raise CTCError(f"hotwords = {str(path)!r}: there is no such file; phrases are passed as a list")
    check_file(path)
    found: dict[str, float] = {}
    for number, line in enumerate(read_packed_text(path).split("\n"), start=1):
        phrase, tab, own = line.partition("\t")
        if not line.strip():
            continue
        try:
            found |= weighted({phrase.strip(): float(own) if tab else weight})
        except (ValueError, CTCError):
            raise CTCError(
                f"{path}, line {number} is {line.strip()[:60]!r}: expected a phrase, or a phrase, a tab and its weight"
            ) from None
    return found


def words_of(phrases: Iterable[str], speller: Speller) -> list[str]:
    """The words of phrases, each once; whole phrases if the labels don't separate words."""
    if not speller.has_words:
        return list(phrases)
    return list(dict.fromkeys(word for phrase in phrases for word in phrase.split()))


def automaton(
    phrases: Mapping[str, float], speller: Speller, lexicon: SpelledLexicon | None
) -> tuple[Hotwords | None, tuple[str, ...]]:
    """The automaton of some phrases, or None if no phrase can be spelled with the labels; and notes.

    Args:
        phrases: the phrases, with their weights in nats.
        speller: spells texts with the labels.
        lexicon: has the spellings of its words.
    """
    texts = list(phrases)
    spelled = _spelled(texts, speller, lexicon)
    notes = spelled.notes
    if spelled.failed:
        notes = (left_out(len(spelled.failed), str(len(texts)), [repr(texts[i]) for i in spelled.failed]), *notes)
    noted = tuple(f"hotwords: {note}" for note in notes)
    sequences = spelled.sequences
    if not len(sequences.of):
        return None, noted
    weights = np.array(list(phrases.values()))[sequences.of]
    return _grown(_bounded(sequences) if speller.has_words else sequences, weights, speller.has_words), noted


def _spelled(texts: list[str], speller: Speller, lexicon: SpelledLexicon | None) -> Spelled:
    """The spellings of phrases. Words are spelled as in the lexicon, or if it lacks them as they are written."""
    if lexicon is None or not lexicon.has_spellings:
        return speller.spell(texts)
    found: list[tuple[int, list[int]]] = []
    failed: list[int] = []
    notes: dict[str, None] = {}
    for i, text in enumerate(texts):
        ways: list[list[list[int]]] = []
        for word in text.split():
            spellings = lexicon.spellings(word)
            if not spellings:
                alone = speller.spell([word])
                notes |= dict.fromkeys(alone.notes)
                spellings = [alone.sequences.row(0)] if len(alone.sequences.of) else []
            ways.append(spellings)
        for way in islice(product(*ways), _MOST_SPELLINGS):
            between = [BOUNDARY] if speller.has_words else []
            found.append((i, [symbol for j, word in enumerate(way) for symbol in ([*between, *word] if j else word)]))
        if not all(ways):
            failed.append(i)
        elif math.prod(map(len, ways)) > _MOST_SPELLINGS:
            notes[f"{text!r} has more than {_MOST_SPELLINGS} spellings: the others are left out"] = None
    return Spelled(Sequences.made_of(found), failed, tuple(notes))


def _bounded(sequences: Sequences) -> Sequences:
    """The sequences with a boundary before and after each."""
    places = np.repeat(sequences.offsets, [1, *[2] * (len(sequences.of) - 1), 1])
    offsets = sequences.offsets + 2 * np.arange(len(sequences.offsets))
    return Sequences(sequences.of, offsets, np.insert(sequences.symbols, places, BOUNDARY))


def _grown(sequences: Sequences, weights: Float64Array, has_words: bool) -> Hotwords:
    """The automaton of some phrases.

    A node's potential is the highest of three values: for the phrases below it, the weight of each times the share of
    its symbols up to the node; the parent's potential minus the node's reward, but at most the highest weight below the
    node; and the potential of the node that it falls back to.
    """
    tree, ends = tree_of(sequences)
    size, above = len(tree.first) - 1, parents(tree)
    ahead = int(has_words)  # the boundary before a phrase adds no credit
    lengths = np.diff(sequences.offsets) - ahead
    own = _highest_at(size, ends, weights)
    rewards = np.where(np.isfinite(own), own, 0.0)
    best = _strictly_below(tree, above, _highest_at(size, ends, weights))
    steepest = _strictly_below(tree, above, _highest_at(size, ends, weights / lengths))
    potentials, fail = np.zeros(size), np.zeros(size, np.int32)
    finder = Finder(tree)
    for depth, nodes in enumerate(levels(tree)):
        if depth == 0:
            continue
        over = above[nodes]
        if depth > 1:
            fail[nodes] = _suffixes(finder, fail, fail[over], tree.symbols[nodes.start - 1 : nodes.stop - 1])
        rewards[nodes] += rewards[fail[nodes]]
        kept = np.minimum(potentials[over] - np.maximum(rewards[nodes], 0.0), best[nodes])
        potentials[nodes] = np.maximum.reduce([steepest[nodes] * (depth - ahead), kept, potentials[fail[nodes]]])
    most = np.abs(rewards + potentials).max()
    if most > MOST_NATS:
        raise CTCError(
            f"hotwords: phrases within one another may be worth {most:.0f} nats together: expected at most "
            f"{MOST_NATS:g}; give them smaller weights"
        )
    return Hotwords(tree, fail, rewards, potentials, int(tree.child(0, BOUNDARY) or 0) if has_words else 0)


def _suffixes(finder: Finder, fail: Int32Array, states: Int32Array, symbols: Int32Array) -> npt.NDArray[np.int64]:
    """The nodes that some nodes fall back to: from the parent's fallback, one step with the node's symbol."""
    found = finder.children(states, symbols)
    while (pending := np.flatnonzero((found < 0) & (states > 0))).size:
        states = states.copy()
        states[pending] = fail[states[pending]]
        found[pending] = finder.children(states[pending], symbols[pending])
    return np.maximum(found, 0)


def _highest_at(size: int, ends: Int32Array, values: Float64Array) -> Float64Array:
    """(V,): the highest value of the phrases that end at each node: of phrases with equal spellings one is rewarded."""
    highest = np.full(size, -np.inf)
    np.maximum.at(highest, ends, values)
    return highest


def _strictly_below(tree: Tree, above: Int32Array, values: Float64Array) -> Float64Array:
    """(V,): for each node, the highest value of all nodes below it, or 0 if that is higher."""
    highest = np.zeros(len(values))
    np.maximum.at(highest, above[1:], highest_below(tree, values)[1:])
    return highest
