"""The executable specification: every sweep as a loop over frames, in float64 and on plain logarithms.

Short enough to read aloud; slow, and meant to be. May import validate/, lattice.py and results.py.

A sweep is the same recursion over any pair of "plus" and "times": probabilities give the total, their maximum the best
path, and whole numbers count paths.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..lattice import Arc, Lattice
from ..problem import Problem
from ..results import BestPaths, Posteriors

Float64Array = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]  # (T, K), of whatever a semiring's values are

MOVES = (
    (Arc.STAY, 0),
    (Arc.STEP, 1),
    (Arc.SKIP, 2),
)  # the arcs within a path, and how many states they come from below


@dataclass(frozen=True)
class Semiring:
    """What a sweep computes: how alternatives add up, how a path's steps multiply, and their neutral elements."""

    plus: np.ufunc
    times: np.ufunc
    zero: float
    one: float
    dtype: type


LOG = Semiring(np.logaddexp, np.add, -np.inf, 0.0, float)
MAX = Semiring(np.maximum, np.add, -np.inf, 0.0, float)
COUNT = Semiring(np.add, np.multiply, 0, 1, object)  # Python's integers, of any size


def forward(lattice: Lattice, emissions: Rows, ring: Semiring) -> Rows:
    """alpha[t, k]: all paths that are in state k at frame t, with their emissions (T, K) up to and including t.

    Less the tolls on the way, where states have some; then values are logarithms.
    """
    toll = np.full(lattice.states, ring.one, ring.dtype) if lattice.tolls is None else -lattice.tolls
    alpha: Rows = np.full(emissions.shape, ring.zero, ring.dtype)
    for t, emission in enumerate(emissions):
        row = alpha[t]
        if t == 0:
            row[lattice.arcs & Arc.START != 0] = toll[lattice.arcs & Arc.START != 0]
        else:
            for bit, back in MOVES:
                source = alpha[t - 1, : lattice.states - back]
                reached = ring.times(source, toll[back:]) if back else source
                row[back:] = ring.plus(row[back:], np.where(lattice.arcs[back:] & bit, reached, ring.zero))
            for source, k in lattice.jumps:
                row[k] = ring.plus(row[k], ring.times(alpha[t - 1, source], toll[k]))
        row[...] = ring.times(row, emission)
    return alpha


def backward(lattice: Lattice, emissions: Rows, ring: Semiring) -> Rows:
    """beta[t, k]: all ways to go on from state k at frame t to an end, with their emissions (T, K) after t."""
    beta: Rows = np.full(emissions.shape, ring.zero, ring.dtype)
    beta[-1:, lattice.arcs & Arc.END != 0] = ring.one
    for t in reversed(range(len(emissions) - 1)):
        ahead = ring.times(emissions[t + 1], beta[t + 1])
        for bit, back in MOVES:
            row = beta[t, : lattice.states - back]
            row[...] = ring.plus(row, np.where(lattice.arcs[back:] & bit, ahead[back:], ring.zero))
        for source, k in lattice.jumps:
            beta[t, source] = ring.plus(beta[t, source], ahead[k])
    return beta


def over_ends(lattice: Lattice, alpha: Rows, ring: Semiring) -> Any:
    """All paths' value. With no frames the only path is the empty one, and only the empty target (K = 1) accepts it."""
    if len(alpha) == 0:
        return ring.one if lattice.states == 1 else ring.zero
    ends = alpha[-1][lattice.arcs & Arc.END != 0]
    return ring.plus.reduce(np.append(np.array([ring.zero], ring.dtype), ends))


def count_paths(lattice: Lattice, frames: int) -> int:
    """How many paths of that many frames a lattice has, exactly.

    Example:
        >>> from ctckit import ctc_lattice
        >>> count_paths(ctc_lattice(np.array([1, 2, 3])), 6)  # "cat"
        84
        >>> count_paths(ctc_lattice(np.array([1, 2, 2])), 6)  # "see"
        28
    """
    ones = np.full((frames, lattice.states), COUNT.one, object)
    return int(over_ends(lattice, forward(replace(lattice, tolls=None), ones, COUNT), COUNT))


def total(
    problem: Problem,
    *,
    weights: Float64Array | None = None,
    grad: npt.NDArray[Any] | None = None,
    threads: int | None = None,
) -> Float64Array:
    """Log-scores of all samples; writes the gradient of Σ weights·(-score) into ``grad`` if given."""
    score = np.empty(problem.scores.shape[1])
    if grad is not None:
        grad[...] = 0
    for n in range(len(score)):
        log_probs, lattice = sample(problem, n)
        gamma, score[n] = _occupancy(lattice, log_probs)
        if grad is None or score[n] == -np.inf:
            continue
        row = -by_class(gamma, lattice, log_probs.shape[1])
        if problem.from_logits:
            row += np.exp(log_probs)
        row[...] = np.nan if np.isnan(score[n]) else row * (1 if weights is None else weights[n])
        grad[: len(log_probs), n] = row
    return score


def best_path(
    problem: Problem,
    *,
    frame_scores: Float64Array | None = None,
    visits: npt.NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> BestPaths:
    """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states.

    Writes the log-probability of each frame's label, less what is paid to enter its state, into ``frame_scores`` (N, T)
    if given: 0 where there is no path; and into ``visits`` (N, K, 2) the path's first frame in each state and one past
    its last: -1 if it is never there.
    """
    frames, size, _ = problem.scores.shape
    states = np.full((size, frames), -1, np.int32)
    score = np.empty(size)
    for n in range(size):
        log_probs, lattice = sample(problem, n)
        emissions = log_probs[:, lattice.labels]
        if not (log_probs < np.inf).all():
            score[n] = np.nan if count_paths(lattice, len(log_probs)) else -np.inf
            if frame_scores is not None:
                frame_scores[n] = 0
            continue
        alpha = forward(lattice, emissions, MAX)
        score[n] = over_ends(lattice, alpha, MAX)
        if score[n] > -np.inf:
            states[n, : len(alpha)] = _traced_back(lattice, alpha)
        if frame_scores is not None:
            found = np.flatnonzero(states[n] >= 0)
            frame_scores[n] = 0
            frame_scores[n, found] = emissions[found, states[n, found]]
            if lattice.tolls is not None:
                entering = found[np.diff(states[n, found], prepend=-1) != 0]
                frame_scores[n, entering] -= lattice.tolls[states[n, entering]]
    if visits is not None:
        visits[...] = -1
        for (n, t), k in np.ndenumerate(states):
            if k >= 0:
                visits[n, k] = t if visits[n, k, 0] < 0 else visits[n, k, 0], t + 1
    return BestPaths(states, score)


def _traced_back(lattice: Lattice, alpha: Rows) -> list[int]:
    """The path that alpha's maxima came along, one state a frame."""
    states: list[int] = []
    candidates = np.flatnonzero(lattice.arcs & Arc.END).tolist()
    tolls = np.zeros(lattice.states) if lattice.tolls is None else lattice.tolls
    for row in alpha[::-1]:
        paid = {k: tolls[states[-1]] if states and k != states[-1] else 0 for k in candidates}
        states.append(max(candidates, key=lambda k: (row[k] - paid[k], -k)))
        candidates = _predecessors(lattice, states[-1])
    return states[::-1]


class Path(NamedTuple):
    """One way through a lattice: its log-score in nats, and its states, one a frame (T,)."""

    score: float
    states: tuple[int, ...]


class _Way(NamedTuple):
    """The beginning of a path, up to frame t: in a heap, that which may become the best comes first."""

    order: float  # minus the log-score of the best path that begins so, in steps above what rounding does
    frames_left: int  # among equals the longest, or all of them would be looked at before one is whole
    serial: int  # then the lowest states, which were found first
    state: int
    score: float
    before: _Way | None


def best_paths(lattice: Lattice, emissions: Rows, count: int) -> list[Path]:
    """The most probable paths, at most so many, best first; paths of probability 0 last.

    A search from the first frame on that always goes on where the best path may yet come of it. How good a path can
    become is known exactly, from the other end, so nothing is looked at in vain.
    """
    frames = len(emissions)
    if frames == 0:
        return [Path(0.0, ())][:count] if lattice.states == 1 else []
    beta = backward(lattice, emissions, MAX)
    alive = (
        backward(lattice, np.zeros(emissions.shape), MAX) > -np.inf
    )  # probability 0 is no reason to leave a path out
    largest = np.abs(np.where(np.isfinite(emissions), emissions, 0)).max(axis=1).sum()
    step = 1e-10 * max(1.0, float(largest))  # rounding is a part of the largest sum on the way, not of the result
    heap: list[_Way] = []
    serial = itertools.count()

    def go_on(t: int, states: Iterable[int], before: _Way | None) -> None:
        for k in states:
            if alive[t, k]:
                score = float(emissions[t, k]) + (before.score if before else 0.0)
                bound = score + float(beta[t, k])
                order = round(-bound / step) if bound > -np.inf else np.inf
                heappush(heap, _Way(order, frames - 1 - t, next(serial), k, score, before))

    go_on(0, np.flatnonzero(lattice.arcs & Arc.START).tolist(), None)
    paths: list[Path] = []
    while heap and len(paths) < count:
        way = heappop(heap)
        if way.frames_left:
            go_on(frames - way.frames_left, _successors(lattice, way.state), way)
        else:
            paths.append(_path(way))
    return sorted(paths, key=lambda path: -path.score)  # a stable sort: equals stay as they were found


def _path(way: _Way) -> Path:
    states = []
    step: _Way | None = way
    while step:
        states.append(step.state)
        step = step.before
    return Path(float(way.score), tuple(reversed(states)))


def posteriors(problem: Problem, *, threads: int | None = None) -> Posteriors:
    """Occupancies by state and by class."""
    frames, size, _ = problem.scores.shape
    states = np.zeros((frames, size, problem.prepared.labels.shape[1]))
    classes = np.zeros(problem.scores.shape)
    score = np.empty(size)
    for n in range(size):
        log_probs, lattice = sample(problem, n)
        gamma, score[n] = _occupancy(lattice, log_probs)
        states[: len(log_probs), n, : lattice.states] = gamma
        classes[: len(log_probs), n] = by_class(gamma, lattice, log_probs.shape[1])
    return Posteriors(states, classes, score)


def occupancy_along(problem: Problem, states: npt.NDArray[np.int32], *, threads: int | None = None) -> Float64Array:
    """(N, T) the occupancies of one state a frame (N, T); 0 beyond a sample's frames."""
    gamma = posteriors(problem).states
    along = np.zeros(states.shape)
    for n, used in enumerate(problem.prepared.frames):
        along[n, :used] = gamma[np.arange(used), n, states[n, :used]]
    return along


def by_class(gamma: Float64Array, lattice: Lattice, classes: int) -> Float64Array:
    """γ by state (T, K), summed over the states that emit the same class (T, C)."""
    total = np.zeros((len(gamma), classes))
    for k, label in enumerate(lattice.labels):
        total[:, label] += gamma[:, k]
    return total


class Sample(NamedTuple):
    """One sample of a batch: its used frames (T, C) in float64, and its lattice."""

    log_probs: Float64Array
    lattice: Lattice


def sample(problem: Problem, n: int) -> Sample:
    """Sample n, its scores normalised if they are logits."""
    used = problem.scores[: problem.prepared.frames[n], n]
    if used.dtype.kind == "u":  # bfloat16: the upper half of a float32
        used = (used.astype(np.uint32) << 16).view(np.float32)
    scores = used.astype(np.float64)
    return Sample(log_softmax(scores) if problem.from_logits else scores, problem.lattice(n))


def log_softmax(logits: Float64Array) -> Float64Array:
    """Logits as log-probabilities, along the last axis."""
    with np.errstate(invalid="ignore"):  # NaN in, NaN out
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _occupancy(lattice: Lattice, log_probs: Float64Array) -> tuple[Float64Array, float]:
    """γ (T, K) and the total log-score: all 0 if the target can't be reached, all NaN if a frame holds NaN or +inf."""
    gamma = np.zeros((len(log_probs), lattice.states))
    if count_paths(lattice, len(log_probs)) == 0:
        return gamma, -np.inf
    if not (log_probs < np.inf).all():
        return gamma + np.nan, np.nan
    emissions = log_probs[:, lattice.labels]
    alpha = forward(lattice, emissions, LOG)
    score = float(over_ends(lattice, alpha, LOG))
    if score > -np.inf:
        gamma = np.exp(alpha + backward(lattice, emissions, LOG) - score)
    return gamma, score


def _successors(lattice: Lattice, k: int) -> list[int]:
    steps = [k + ahead for bit, ahead in MOVES if k + ahead < lattice.states and lattice.arcs[k + ahead] & bit]
    return steps + [int(to) for source, to in lattice.jumps if source == k]


def _predecessors(lattice: Lattice, k: int) -> list[int]:
    steps = [k - back for bit, back in MOVES if lattice.arcs[k] & bit]
    return steps + [int(source) for source, to in lattice.jumps if to == k]
