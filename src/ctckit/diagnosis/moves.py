"""The map from the classes of the targets to those of the network, found from what the network reads.

May import evidence.py, attempts.py and what lies below them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..text.reading import edit_distance, edits
from .attempts import per_token
from .batch import Ints
from .evidence import Evidence

_PAIRED = 20000  # tokens to pair with readings, at most: more would not change the map
_LONGEST = 500  # tokens of a target or a reading that is paired

_Texts = list[tuple[list[int], list[int]]]
_Pairs = Counter[tuple[int, int]]


class Moves(NamedTuple):
    """Classes that the network numbers differently.

    Attributes:
        of: from a class of the targets to the network's class.
        closed: the map consists of cycles only: these classes change places among themselves.
        weight: nats of evidence. The first pair of a class only tells where it goes; each later one supports the map or
            contradicts it. In a cycle the last class follows from the others, so its first pair counts too.
    """

    of: dict[int, int]
    closed: bool
    weight: float

    def applied(self, targets: Mapping[int, Ints]) -> dict[int, Ints]:
        """The targets in the network's classes. Classes without a pair get those that are left over, one each."""
        used = sorted({int(token) for target in targets.values() for token in np.unique(target)})
        moves = {token: self.of.get(token, token) for token in used}
        taken = set(self.of.values())
        free = iter(sorted(set(self.of) - taken))
        for token in used:
            if token not in self.of and token in taken:
                moves[token] = next(free, token)
        return {n: np.array([moves[token] for token in target.tolist()], np.int64) for n, target in targets.items()}


def class_moves(evidence: Evidence) -> list[Moves]:
    """The classes that the network numbers differently, as far as most pairs of written and read tokens agree.

    The first map has only the classes that change places among themselves. If there are others, a second map has all;
    some of these may be plain misreadings.
    """
    texts = _texts(evidence)
    # Aligned with the fewest edits, if few classes are exchanged; by position, if nearly all are.
    starts = (_side_by_side(texts, {}), _by_position(texts))
    pairs, found = min((_refined(texts, pairs) for pairs in starts), key=lambda each: _errors(texts, each[1]))
    if sum(pairs[move] > 1 for move in found.items()) < 2:
        return []  # a network that reads one class only fits any target, mapped to that class
    moved = {a: b for a, b in sorted(found.items()) if a != b}
    cycles = _cycles(moved)
    changing = {a: moved[a] for cycle in cycles for a in cycle}
    maps = [changing] if len(changing) == len(moved) else [changing, moved]
    nats = per_token(evidence)
    return [Moves(each, each is changing, (_agreement(pairs, each) + len(cycles)) * nats) for each in maps]


def _texts(evidence: Evidence) -> _Texts:
    """Targets and readings that are about as long, up to a number of tokens."""
    texts, room = [], _PAIRED
    for sample in evidence.readable:
        if 0 < sample.tokens <= min(room, _LONGEST) and 0 < len(sample.reading) <= min(2 * sample.tokens, _LONGEST):
            texts.append((sample.target.tolist(), sample.reading))
            room -= sample.tokens
    return texts


def _refined(texts: _Texts, pairs: _Pairs) -> tuple[_Pairs, dict[int, int]]:
    """Pairs and the map that they agree on, each computed from the other, twice."""
    for _ in range(2):
        pairs = _side_by_side(texts, _agreed(pairs))
    return pairs, _agreed(pairs)


def _agreement(pairs: _Pairs, moved: Mapping[int, int]) -> int:
    """How many more pairs agree with a map than disagree; the first pair of each class doesn't count."""
    agreeing = sum(2 * pairs[move] - 1 for move in moved.items())
    return agreeing - sum(count for (token, _), count in pairs.items() if token in moved)


def _cycles(moved: Mapping[int, int]) -> list[list[int]]:
    """The cycles of a map: classes that change places among themselves."""
    seen: set[int] = set()
    cycles = []
    for first in moved:
        token, way = first, []
        while token in moved and token not in seen:
            seen.add(token)
            way.append(token)
            token = moved[token]
        if way and token == first:
            cycles.append(way)
    return cycles


def _mapped(tokens: Sequence[int], moves: Mapping[int, int]) -> list[int]:
    return [moves.get(token, token) for token in tokens]


def _errors(texts: _Texts, moves: Mapping[int, int]) -> int:
    return sum(edit_distance(_mapped(target, moves), reading) for target, reading in texts)


def _side_by_side(texts: _Texts, moves: Mapping[int, int]) -> _Pairs:
    pairs: _Pairs = Counter()
    for target, reading in texts:
        tokens = iter(target)
        for written, read in edits(_mapped(target, moves), reading):
            token = None if written is None else next(tokens)
            if token is not None and read is not None:
                pairs[token, read] += 1
    return pairs


def _by_position(texts: _Texts) -> _Pairs:
    pairs: _Pairs = Counter()
    for target, reading in texts:
        places = np.linspace(0, len(reading) - 1, len(target)).round().astype(int).tolist()
        pairs.update((token, reading[place]) for token, place in zip(target, places, strict=True))
    return pairs


def _agreed(pairs: _Pairs) -> dict[int, int]:
    """The map that most pairs agree on: one to one, the most frequent pairs first."""
    uses: Counter[int] = Counter()
    for (token, _), count in pairs.items():
        uses[token] += count
    moves: dict[int, int] = {}
    taken: set[int] = set()
    for (token, read), count in sorted(pairs.items(), key=lambda pair: -pair[1]):
        if token not in moves and read not in taken and 2 * count > uses[token]:
            moves[token] = read
            taken.add(read)
    return moves
