"""What each variant of CTC means: a weight for each sequence of classes, and the sum over all of them.

Imports nothing of ctckit. Sequences are classes, a frame each, from all C^T; a class beyond the network's own is a
star, a column that is appended to the scores. Scores are log-probabilities (T, C), the blank is 0. A weight is a number
of nats that a sequence gains; -inf leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
from oracles import collapse, log_softmax

Array = npt.NDArray[Any]
Path = tuple[int, ...]
Weight = Callable[[Path], float]
BLANK = 0


def scores_of(seed: int, frames: int = 6, classes: int = 4) -> Array:
    """The log-probabilities that golden values are of."""
    return np.asarray(log_softmax(np.random.default_rng(seed).standard_normal((frames, classes))), np.float64)


def log_sum(values: Iterable[float]) -> float:
    """The log of a sum of exponentials, exactly rounded but for the exponentials; -inf of nothing."""
    given = [value for value in values if value > -math.inf]
    most = max(given, default=-math.inf)
    return most + math.log(math.fsum(math.exp(value - most) for value in given)) if given else -math.inf


def score_of(log_probs: Array, path: Path) -> float:
    return math.fsum(log_probs[t, c] for t, c in enumerate(path))


def loss(log_probs: Array, weight: Weight) -> float:
    """Minus the log of the sum over all sequences."""
    frames, classes = log_probs.shape
    ways = ((path, weight(path)) for path in product(range(classes), repeat=frames))
    return -log_sum(score_of(log_probs, path) + gain for path, gain in ways if gain > -math.inf)


def gradient(log_probs: Array, value: Callable[[Array], float], step: float = 1e-5) -> Array:
    """The gradient of a function of the scores, by central differences of fourth order: errors of some 1e-10."""
    found = np.zeros_like(log_probs)
    for index in np.ndindex(log_probs.shape):

        def at(offset: float, index: tuple[int, ...] = index) -> float:
            moved = log_probs.copy()
            moved[index] += offset
            return value(moved)

        found[index] = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    return found


def only(accepts: Callable[[Path], bool]) -> Weight:
    """All sequences that are accepted, without any weight."""
    return lambda path: 0.0 if accepts(path) else -math.inf


# --- predicates: which sequences spell the target ---------------------------------------------------------------------


def is_ctc(target: Sequence[int]) -> Callable[[Path], bool]:
    """Repeats merged, then blanks dropped: the target."""
    return lambda path: collapse(path, BLANK) == tuple(target)


def is_no_blank(target: Sequence[int]) -> Callable[[Path], bool]:
    """No blank at any frame, and repeats merged: the target."""
    return lambda path: BLANK not in path and tuple(label for label, _ in groupby(path)) == tuple(target)


def is_selfless(target: Sequence[int]) -> Callable[[Path], bool]:
    """As CTC, and each token takes one frame."""
    return lambda path: is_ctc(target)(path) and all(a == BLANK or a != b for a, b in pairwise(path))


def is_minimal(target: Sequence[int]) -> Callable[[Path], bool]:
    """The labels that are not blank are the target, one frame each."""
    return lambda path: tuple(label for label in path if label != BLANK) == tuple(target)


# --- weights ----------------------------------------------------------------------------------------------------------


def first_frames(path: Path) -> list[int]:
    """The frame at which each token of a sequence begins."""
    return [t for t, label in enumerate(path) if label != BLANK and (t == 0 or path[t - 1] != label)]


def delayed(target: Sequence[int], penalty: float, offset: float) -> Weight:
    """CTC, and a gain of penalty · (offset - t) for each token that begins at frame t."""
    accepts = is_ctc(target)
    return lambda path: sum(penalty * (offset - t) for t in first_frames(path)) if accepts(path) else -math.inf


def risky(target: Sequence[int], factor: float) -> Weight:
    """CTC, and a loss of factor · (τ + 1) / T, where τ is the last frame of the last token; 0 without tokens."""
    accepts = is_ctc(target)

    def weight(path: Path) -> float:
        if not accepts(path):
            return -math.inf
        last = max((t for t, label in enumerate(path) if label != BLANK), default=-1)
        return -factor * (last + 1) / len(path)

    return weight


def star_temporal(target: Sequence[int], prob: float) -> Weight:
    """Star temporal classification: the target is read off the labels that are not blank, each token at its first
    chance; each label that is not blank and not read costs log prob."""

    def weight(path: Path) -> float:
        read = extra = 0
        for label in path:
            if read < len(target) and label == target[read]:
                read += 1
            elif label != BLANK:
                extra += 1
        if read < len(target) or (extra and prob == 0):
            return -math.inf
        return extra * math.log(prob) if extra else 0.0

    return weight


def spelled_with(choices: Iterable[tuple[Sequence[int], float]]) -> Weight:
    """CTC of any of several strings, each with a gain; a string that is given twice counts twice."""
    gains: dict[tuple[int, ...], list[float]] = {}
    for target, gain in choices:
        gains.setdefault(tuple(target), []).append(gain)
    total = {target: log_sum(each) for target, each in gains.items()}
    return lambda path: total.get(collapse(path, BLANK), -math.inf)


def with_stars(
    words: Sequence[Sequence[int]],
    star: int,
    cost: float,
    wanted: Sequence[bool] | None = None,
    most: int = 1,
    bypass: float = -math.inf,
) -> list[tuple[Sequence[int], float]]:
    """Words, or a star instead of any; and up to `most` stars at each border that is wanted."""
    borders = [True] * (len(words) + 1) if wanted is None else wanted
    choices: list[tuple[list[int], float]] = [([], 0.0)]
    for s, want in enumerate(borders):
        choices = [(text + [star] * n, gain - n * cost) for text, gain in choices for n in range(want * most + 1)]
        if s < len(words):
            read = [(text + list(words[s]), gain) for text, gain in choices]
            choices = read + [([*text, star], gain + bypass) for text, gain in choices if bypass > -math.inf]
    return choices  # type: ignore[return-value]


def with_bypass(words: Sequence[Sequence[int]], star: int, score: float) -> list[tuple[Sequence[int], float]]:
    """Each word, or one star instead of it."""
    return with_stars(words, star, 0, [False] * (len(words) + 1), bypass=score)


def with_optional(target: Sequence[int], groups: Sequence[int]) -> list[tuple[Sequence[int], float]]:
    """The target without any choice of its groups, 0 being no group."""
    names = sorted({group for group in groups if group})
    choices = []
    for kept in product((True, False), repeat=len(names)):
        gone = {name for name, keep in zip(names, kept, strict=True) if not keep}
        choices.append(([token for token, group in zip(target, groups, strict=True) if group not in gone], 0.0))
    return choices  # type: ignore[return-value]


# --- other sums -------------------------------------------------------------------------------------------------------


def window_scores(log_probs: Array, target: Sequence[int]) -> Array:
    """(T,) W-CTC's s_t: the log of the sum, over all a ≤ t, of the probability that frames a … t spell the target."""
    frames = len(log_probs)
    spelled = {
        (a, t): -loss(log_probs[a : t + 1], only(is_ctc(target))) for a in range(frames) for t in range(a, frames)
    }
    return np.array([log_sum(spelled[a, t] for a in range(t + 1)) for t in range(frames)])


def windowed(log_probs: Array, target: Sequence[int], ends: str) -> float:
    """W-CTC's loss."""
    scores = window_scores(log_probs, target)
    total = log_sum(scores)
    if total == -math.inf:
        return math.inf
    if ends == "sum_prob":
        return -total
    if ends == "max_prob":
        return -float(scores.max())
    return -math.fsum(math.exp(s - total) * s for s in scores if s > -math.inf)


def path_entropy(log_probs: Array, target: Sequence[int]) -> float:
    """-Σ P log P over the target's sequences."""
    frames, classes = log_probs.shape
    accepts = is_ctc(target)
    scores = [score_of(log_probs, path) for path in product(range(classes), repeat=frames) if accepts(path)]
    total = log_sum(scores)
    return -math.fsum(math.exp(s - total) * (s - total) for s in scores if s > -math.inf)
