"""The batch tried otherwise: with another blank, with other targets. May import evidence.py, batch.py and below.

Whether the network fits the targets better in another way is decided by the data alone: by its reading, which is cheap,
and then by the loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..text.reading import edit_distance, edits
from .batch import Ints
from .evidence import Evidence, Sample, is_spelled

MILLION = math.log(1e6)  # nats of evidence that chance doesn't reach
ENOUGH = math.log(1e4)  # where the loss is evidence besides
THOUSAND = math.log(1e3)  # where both are

_PART = 64  # samples of a large batch
_FEWER = 0.7  # of the errors that may be left
_PAIRED = 20000  # tokens that are paired with readings: more would say the same
_LONGEST = 500  # tokens of a target or a reading that is paired
_BUCKETS = 512  # classes that targets are first compared by
_CANDIDATES = 3  # targets that are then compared token by token


_Texts = list[tuple[list[int], list[int]]]
_Pairs = Counter[tuple[int, int]]


class Attempt(NamedTuple):
    """What comes of a batch that is read otherwise.

    Attributes:
        loss: nats per token.
        before: nats per token as passed; NaN if nothing could be computed.
        errors: tokens that the network reads otherwise.
        tokens: of the targets.
        samples: how many were tried.
    """

    loss: float
    before: float
    errors: int
    tokens: int
    samples: int

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """For a finding."""
        before = None if math.isnan(self.before) else self.before
        return {"loss": self.loss, "before": before, "errors": self.errors, "tokens": self.tokens}


def attempt(evidence: Evidence, targets: Mapping[int, Ints], blank: int, *, few: int = 0) -> Attempt | None:
    """What comes of other targets and another blank, if that is beyond doubt: None if not.

    The reading must differ from the targets in half of the tokens at most, and clearly less than before; the tokens
    that fit must be more than noise could spell; the loss must be less than half of what it was, and 20 nats less over
    the batch. If there was no loss before, a third of the tokens may differ. Of a large batch a part is tried first,
    since nearly all attempts come to nothing.

    Args:
        evidence: the batch as passed.
        targets: of the samples that are to be tried, by index.
        blank: the blank's class.
        few: only so many tokens are concerned, and there is evidence enough for them: the rest may be misread as
            before, but each of these must win two nats.
    """
    part = dict(list(targets.items())[:: -(-len(targets) // _PART)]) if len(targets) > _PART else None
    if part is not None and _attempt(evidence, part, blank, few) is None:
        return None
    return _attempt(evidence, targets, blank, few)


def _attempt(evidence: Evidence, targets: Mapping[int, Ints], blank: int, few: int) -> Attempt | None:
    classes = evidence.batch.classes
    tried = [
        sample
        for sample in evidence.readable
        if sample.index in targets and is_spelled(targets[sample.index], classes, blank)
    ]
    tokens = sum(len(targets[sample.index]) for sample in tried)
    # Nearly all samples must be legal targets then.
    if not tokens or len(tried) < 0.9 * len(targets):
        return None
    bound = sum(_fewest_errors(targets[sample.index], sample.read(blank)) for sample in tried)
    if 2 * bound > tokens:
        return None
    errors = sum(edit_distance(targets[sample.index].tolist(), sample.read(blank)) for sample in tried)
    errors_before = sum(sample.tokens if math.isnan(sample.loss) else sample.errors for sample in tried)
    fits = (tokens - errors) * per_token(evidence)
    if 2 * errors > tokens or errors >= (1 if few else _FEWER) * errors_before or fits < ENOUGH:
        return None
    losses = {sample.index: evidence.loss_of(sample.index, targets[sample.index], blank) for sample in tried}
    loss = sum(losses.values())
    known = [sample for sample in tried if not math.isnan(sample.loss)]
    before, after = sum(sample.loss for sample in known), sum(losses[sample.index] for sample in known)
    better = after < (1 if few else 0.5) * before and before - after > max(20, 2 * few)
    if not loss < math.inf or not (better if known else 3 * errors <= tokens):
        return None
    tokens_known = sum(sample.tokens for sample in known)
    return Attempt(loss / tokens, before / tokens_known if tokens_known else math.nan, errors, tokens, len(tried))


def _fewest_errors(target: Ints, reading: Sequence[int]) -> int:
    """A bound on the edit distance from below: by how often each class occurs."""
    if abs(len(target) - len(reading)) * 2 > len(target):
        return abs(len(target) - len(reading))
    common = sum((Counter(target.tolist()) & Counter(reading)).values())
    return max(len(target), len(reading)) - common


def fitting_targets(evidence: Evidence, samples: Sequence[Sample]) -> dict[int, int]:
    """Of samples that don't fit their own targets: whose target their reading fits, by index.

    Targets are first compared by how often each class occurs in them, then token by token.
    """
    batch = evidence.batch
    others = [n for n, target in enumerate(batch.targets) if len(target)]
    counts = np.zeros((len(batch), _BUCKETS), np.int32)
    for n in others:
        counts[n] = np.bincount(batch.targets[n] % _BUCKETS, minlength=_BUCKETS)
    found = {}
    for sample in samples:
        reading = sample.reading
        own = np.bincount(np.array(reading, np.int64) % _BUCKETS, minlength=_BUCKETS)
        apart = np.abs(counts[others] - own).sum(axis=1)
        nearest = [others[i] for i in np.argsort(apart, kind="stable")[:_CANDIDATES]]
        errors = {m: edit_distance(batch.targets[m].tolist(), reading) for m in nearest}
        best = min(errors, key=lambda m: errors[m], default=sample.index)
        tokens = len(batch.targets[best])
        meant = (tokens - errors.get(best, tokens)) * per_token(evidence)
        if best != sample.index and 2 * errors[best] <= min(tokens, sample.errors) and meant > MILLION:
            found[sample.index] = best
    return found


def per_token(evidence: Evidence) -> float:
    """Nats that a token says: none if there is but one class beside the blank."""
    return math.log(max(evidence.batch.classes - 1, 1))


class Moves(NamedTuple):
    """Which class the network means by each class of the targets, where that is another.

    Attributes:
        of: class to class.
        closed: all of them go round in circles, as classes do that change places among themselves.
        weight: nats of evidence. The first pair of a class tells where it goes, all others must agree; where classes
            go round in a circle, the last one's way follows from the others'.
    """

    of: dict[int, int]
    closed: bool
    weight: float

    def applied(self, targets: Mapping[int, Ints]) -> dict[int, Ints]:
        """The targets as the network means them. Classes that nothing is known of get what is left, one to one."""
        used = sorted({int(token) for target in targets.values() for token in np.unique(target)})
        moves = {token: self.of.get(token, token) for token in used}
        taken = set(self.of.values())
        free = iter(sorted(set(self.of) - taken))
        for token in used:
            if token not in self.of and token in taken:
                moves[token] = next(free, token)
        return {n: np.array([moves[token] for token in target.tolist()], np.int64) for n, target in targets.items()}


def class_moves(evidence: Evidence) -> list[Moves]:
    """The classes that the network means by others, as far as pairs of tokens agree on it.

    First those that change places among themselves, then all: misread tokens are among these.

    Two beginnings: targets and readings side by side with the fewest differences, which is right if few classes are
    exchanged, and by position, which is right if all are. From each, pairs and map are found by turns.
    """
    chosen, room = [], _PAIRED
    for sample in evidence.readable:
        if 0 < sample.tokens <= min(room, _LONGEST) and 0 < len(sample.reading) <= min(2 * sample.tokens, _LONGEST):
            chosen.append((sample.target.tolist(), sample.reading))
            room -= sample.tokens
    tried = []
    for pairs in (_side_by_side(chosen, {}), _by_position(chosen)):
        for _ in range(2):
            pairs = _side_by_side(chosen, _agreed(pairs))
        tried.append((pairs, _agreed(pairs)))
    pairs, found = min(tried, key=lambda each: _errors(chosen, each[1]))
    if sum(pairs[move] > 1 for move in found.items()) < 2:
        return []  # a network that always reads the same fits any target, mapped
    moved = {a: b for a, b in sorted(found.items()) if a != b}
    circles = _circles(moved)
    changing = {a: moved[a] for circle in circles for a in circle}
    closed, nats = len(changing) == len(moved), per_token(evidence)
    weight = (_agreement(pairs, changing) + len(circles)) * nats
    return [
        Moves(changing, True, weight),
        *([] if closed else [Moves(moved, False, (_agreement(pairs, moved) + len(circles)) * nats)]),
    ]


def _agreement(pairs: _Pairs, moved: Mapping[int, int]) -> int:
    """How many more pairs agree with a map than don't, without the first of each class."""
    agreeing = sum(2 * pairs[move] - 1 for move in moved.items())
    return agreeing - sum(count for (token, _), count in pairs.items() if token in moved)


def _circles(moved: Mapping[int, int]) -> list[list[int]]:
    """The circles in which classes change places."""
    seen: set[int] = set()
    circles = []
    for first in moved:
        token, way = first, []
        while token in moved and token not in seen:
            seen.add(token)
            way.append(token)
            token = moved[token]
        if way and token == first:
            circles.append(way)
    return circles


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
