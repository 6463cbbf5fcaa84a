"""What CTC means, without the package: every test's truth comes from here or from torch in float64.

Imports nothing of ctckit, on purpose: an oracle that shares code with what it judges proves nothing. So the rule of CTC
stands here once more, as the collapse that defines it and as Graves' equations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise, product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The widest float there is: 64 bits of mantissa on x86-64 Linux, where it is exact enough to judge float64 kernels;
# elsewhere it may be float64 itself, and error budgets that name ORACLE_EPS grow with it.
Wide = np.longdouble
ORACLE_EPS = float(np.finfo(Wide).eps)


def collapse(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """The label sequence of a path: repeats merged, then blanks dropped."""
    return tuple(label for label, _ in groupby(path) if label != blank)


class Enumerated(NamedTuple):
    """All paths of a target, added up."""

    count: int
    score: float  # log of the sum of the paths' probabilities
    classes: Array  # (T, C) probability, given the target, of class c at frame t
    states: Array  # (T, K) the same by lattice state φ y1 φ … yS φ
    best: float  # the score of the best path
    best_states: tuple[tuple[int, ...], ...]  # every path that reaches it, as states


def all_paths(frames: int, classes: int, target: Sequence[int], blank: int) -> Iterator[tuple[int, ...]]:
    """Every sequence of classes that reads as the target."""
    for path in product(range(classes), repeat=frames):
        if collapse(path, blank) == tuple(target):
            yield path


def states_of(path: Sequence[int], blank: int) -> tuple[int, ...]:
    """The lattice states that a path visits: 2i for the blank after i tokens, 2i+1 for token i (from 0)."""
    states, tokens = [], 0
    for label, run in groupby(path):
        tokens += label != blank
        states += [2 * tokens - (label != blank)] * len(list(run))
    return tuple(states)


def enumerate_ctc(log_probs: Array, target: Sequence[int], blank: int) -> Enumerated:
    """CTC by its definition: all C^T sequences, kept if they collapse to the target."""
    frames, classes = log_probs.shape
    states_count = 2 * len(target) + 1
    paths = list(all_paths(frames, classes, target, blank))
    values = [math.fsum(log_probs[t, c] for t, c in enumerate(path)) for path in paths]
    best = max(values, default=-math.inf)
    by_class, by_state = np.zeros((frames, classes)), np.zeros((frames, states_count))
    if best == -math.inf:
        return Enumerated(len(paths), -math.inf, by_class, by_state, best, ())
    score = best + math.log(math.fsum(math.exp(value - best) for value in values))
    for path, value in zip(paths, values, strict=True):
        share = math.exp(value - score)
        by_class[range(frames), path] += share
        by_state[range(frames), states_of(path, blank)] += share
    winners = tuple(states_of(path, blank) for path, value in zip(paths, values, strict=True) if value == best)
    return Enumerated(len(paths), score, by_class, by_state, best, winners)


def repeats(target: Sequence[int]) -> int:
    """R: how many neighbours are equal."""
    return sum(a == b for a, b in pairwise(target))


def paths_in_closed_form(frames: int, target: Sequence[int]) -> int:
    """How many paths read as the target: a path is a choice of the frames of its 2S state changes."""
    return math.comb(max(frames + len(target) - repeats(target), 0), 2 * len(target))


def log_softmax(logits: Array) -> Array:
    """Logits as log-probabilities, in the widest float."""
    wide = logits.astype(Wide)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class Textbook(NamedTuple):
    """One sample's log-score and its occupancy γ by class (T, C)."""

    score: float
    classes: Array


def textbook(log_probs: Array, target: Sequence[int], blank: int) -> Textbook:
    """Graves' forward-backward recursion, on logarithms of the widest float there is.

    Graves et al. 2006, equations 5-8 (alpha), 9-11 (beta, here without frame t's own emission) and 13-14.
    """
    frames, classes = log_probs.shape
    extended = [blank] + [label for token in target for label in (int(token), blank)]
    k = len(extended)
    y = log_probs.astype(Wide)[:, extended]
    may_skip = np.array([i >= 2 and extended[i] not in (blank, extended[i - 2]) for i in range(k)])
    never = Wide(-np.inf)
    nothing = np.zeros((frames, classes))
    if frames == 0:
        return Textbook(0.0 if not len(target) else -math.inf, nothing)

    alpha = np.full((frames, k + 2), never)  # two impossible states before the first
    alpha[0, 2:4] = y[0, :2]
    for t in range(1, frames):
        before = alpha[t - 1]
        arrive = np.logaddexp(before[2:], before[1:-1])
        arrive = np.logaddexp(arrive, np.where(may_skip, before[:-2], never))
        alpha[t, 2:] = arrive + y[t]
    alpha = alpha[:, 2:]

    beta = np.full((frames, k + 2), never)  # two impossible states after the last
    beta[-1, max(k - 2, 0) : k] = 0
    may_leap = np.append(may_skip, (False, False))[2:]  # from state i to i + 2
    for t in range(frames - 2, -1, -1):
        after = beta[t + 1].copy()
        after[:k] += y[t + 1]
        leave = np.logaddexp(after[:k], after[1 : k + 1])
        beta[t, :k] = np.logaddexp(leave, np.where(may_leap, after[2:], never))
    beta = beta[:, :k]

    score = np.logaddexp.reduce(alpha[-1, max(k - 2, 0) :])
    if score == never:
        return Textbook(-math.inf, nothing)
    gamma = np.exp(alpha + beta - score)
    by_class = np.zeros((frames, classes), Wide)
    for i, label in enumerate(extended):
        by_class[:, label] += gamma[:, i]
    return Textbook(float(score), by_class.astype(np.float64))


def textbook_gradient(scores: Array, target: Sequence[int], blank: int, *, from_logits: bool) -> Textbook:
    """Log-score, and the gradient of the loss by class: -γ of log-probabilities, softmax - γ of logits."""
    log_probs = log_softmax(scores) if from_logits else scores
    score, gamma = textbook(log_probs, target, blank)
    if score == -math.inf:
        return Textbook(score, np.zeros(gamma.shape))
    return Textbook(score, (np.exp(log_probs) - gamma).astype(np.float64) if from_logits else -gamma)


def best_by_reading(log_probs: Array, blank: int) -> dict[tuple[int, ...], float]:
    """For each label sequence that these frames can spell, the score of its best path."""
    best: dict[tuple[int, ...], float] = {}
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        score = math.fsum(log_probs[t, c] for t, c in enumerate(path))
        reading = collapse(path, blank)
        best[reading] = max(score, best.get(reading, -math.inf))
    return best


class Graph(NamedTuple):
    """Any acyclic automaton whose states may also repeat: a lattice as plain lists."""

    stays: Sequence[bool]  # (K,) whether a state may follow itself
    moves: Sequence[tuple[int, int, float]]  # (from, to, nats that are added), entry costs not among them
    starts: Sequence[int]
    ends: Sequence[int]
    costs: Sequence[float]  # (K,) nats, paid on entering a state from another and on beginning in it


class Summed(NamedTuple):
    """All paths of a graph, added up. A path is its states and the moves that it takes."""

    count: int
    score: float
    occupancy: Array  # (T, K)
    entries: Array  # (K,) expected number of times that a state is entered
    taken: Array  # (J,) expected number of times that a move is taken
    best: float
    best_states: list[tuple[int, ...]]


def enumerate_graph(emissions: Array, graph: Graph) -> Summed:
    """Every path of T frames, one after the other."""
    frames, states = emissions.shape
    paths: list[tuple[tuple[int, ...], tuple[int, ...]]] = [((k,), ()) for k in graph.starts] if frames else []
    for _ in range(frames - 1):
        longer = [((*ks, ks[-1]), js) for ks, js in paths if graph.stays[ks[-1]]]
        for j, (source, to, _) in enumerate(graph.moves):
            longer += [((*ks, to), (*js, j)) for ks, js in paths if ks[-1] == source]
        paths = longer
    paths = [path for path in paths if path[0][-1] in graph.ends]

    def value(states: tuple[int, ...], moves: tuple[int, ...]) -> float:
        emitted = [emissions[t, k] for t, k in enumerate(states)]
        entered = [-graph.costs[states[0]]] + [graph.moves[j][2] - graph.costs[graph.moves[j][1]] for j in moves]
        return sum(emitted + entered)

    values = [value(*path) for path in paths]
    best = max(values, default=-math.inf)
    summed = Summed(
        len(paths), -math.inf, np.zeros((frames, states)), np.zeros(states), np.zeros(len(graph.moves)), best, []
    )
    if best == -math.inf:
        return summed
    score = best + math.log(math.fsum(math.exp(value - best) for value in values))
    for (states_, moves), value_ in zip(paths, values, strict=True):
        share = math.exp(value_ - score)
        summed.occupancy[range(frames), states_] += share
        summed.entries[states_[0]] += share
        for j in moves:
            summed.taken[j] += share
            summed.entries[graph.moves[j][1]] += share
    ties = [path[0] for path, value in zip(paths, values, strict=True) if value >= best - 1e-9]
    return summed._replace(score=score, best_states=ties)
