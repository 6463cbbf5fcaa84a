"""The executable specification: every sweep as a loop over frames, in float64 and on plain logarithms.

Short enough to read aloud, and therefore slow. May import backend.py, problem.py, lattice/, results.py
and bfloat16.py.

A sweep is the same recursion over any pair of "plus" and "times": probabilities give the total, their maximum the best
path, and whole numbers count paths.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats, stored
from ..lattice import MOVES, Arc, Lattice
from ..problem import ArrayProblem
from ..results import BestPaths, Posteriors, Status
from .backend import Gradients, Totals

Array = npt.NDArray[Any]
Float64Array = npt.NDArray[np.float64]
Rows = npt.NDArray[Any]  # (T, K), of whatever a semiring's values are


@dataclass(frozen=True)
class Semiring:
    """What a sweep computes: how alternatives add up, how a path's steps multiply, and the neutral elements."""

    plus: np.ufunc
    times: np.ufunc
    zero: float
    one: float
    dtype: type


LOG = Semiring(np.logaddexp, np.add, -np.inf, 0.0, float)
MAX = Semiring(np.maximum, np.add, -np.inf, 0.0, float)
COUNT = Semiring(np.add, np.multiply, 0, 1, object)  # Python's integers, of any size
EXIST = Semiring(np.logical_or, np.logical_and, 0, 1, bool)  # whether there are paths at all


class Weights(NamedTuple):
    """The factors of a path's value besides emissions."""

    entry: Rows  # (K,) when it enters a state from another one, or begins in it
    far: Rows  # (J,) when it takes a long arc


def weights_of(lattice: Lattice, ring: Semiring) -> Weights:
    """Entry costs and scores of long arcs; or ones, if paths are counted, also those of probability 0."""
    entry: Rows
    counts = ring in (COUNT, EXIST)
    if counts or lattice.entry_costs is None:
        entry = np.full(lattice.num_states, ring.one, ring.dtype)
    else:
        entry = -lattice.entry_costs
    far = np.full(len(lattice.long_arcs), ring.one, ring.dtype) if counts else lattice.long_arc_scores
    return Weights(entry, far)


def forward(lattice: Lattice, emissions: Rows, ring: Semiring) -> Rows:
    """alpha[t, k]: all paths up to state k at frame t, with their emissions (T, K) including frame t's."""
    weights, stay = weights_of(lattice, ring), lattice.arcs & Arc.STAY
    alpha: Rows = np.full(emissions.shape, ring.zero, ring.dtype)
    for t, emission in enumerate(emissions):
        if t == 0:
            row = np.where(lattice.arcs & Arc.START, weights.entry, ring.zero)
        else:
            staying = np.where(stay, alpha[t - 1], ring.zero)
            row = ring.plus(staying, entered(lattice, alpha[t - 1], weights, ring))
        alpha[t] = ring.times(row, emission)
    return alpha


def entered(lattice: Lattice, row: Rows, weights: Weights, ring: Semiring) -> Rows:
    """(K,) what enters each state from other states, given alpha's row one frame earlier."""
    into: Rows = np.full(len(row), ring.zero, ring.dtype)
    for bit, back in MOVES:
        arriving = np.where(lattice.arcs[back:] & bit, row[: len(row) - back], ring.zero)
        into[back:] = ring.plus(into[back:], arriving)
    for j, (source, k) in enumerate(lattice.long_arcs.tolist()):  # slices, since a scalar would lose the dtype object
        arriving = ring.times(row[source : source + 1], weights.far[j : j + 1])
        into[k : k + 1] = ring.plus(into[k : k + 1], arriving)
    return np.asarray(ring.times(into, weights.entry))


def backward(lattice: Lattice, emissions: Rows, ring: Semiring) -> Rows:
    """beta[t, k]: all ways to go on from state k at frame t to an end, with their emissions (T, K) after t."""
    weights, stay = weights_of(lattice, ring), lattice.arcs & Arc.STAY
    beta: Rows = np.full(emissions.shape, ring.zero, ring.dtype)
    beta[-1:, lattice.arcs & Arc.END != 0] = ring.one
    for t in reversed(range(len(emissions) - 1)):
        ahead = ring.times(emissions[t + 1], beta[t + 1])
        entering = ring.times(ahead, weights.entry)
        beta[t] = np.where(stay, ahead, ring.zero)
        for bit, back in MOVES:
            row = beta[t, : lattice.num_states - back]
            row[...] = ring.plus(row, np.where(lattice.arcs[back:] & bit, entering[back:], ring.zero))
        for j, (source, k) in enumerate(lattice.long_arcs.tolist()):
            leaving = ring.times(entering[k : k + 1], weights.far[j : j + 1])
            beta[t, source : source + 1] = ring.plus(beta[t, source : source + 1], leaving)
    return beta


def over_ends(lattice: Lattice, alpha: Rows, ring: Semiring) -> Any:
    """All paths' value. With 0 frames, only the empty path: it needs a START and END state that is not a token."""
    if len(alpha) == 0:
        both = Arc.START | Arc.END
        return ring.one if ((lattice.arcs & both == both) & (lattice.tokens < 0)).any() else ring.zero
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
    ones = np.full((frames, lattice.num_states), COUNT.one, object)
    return int(over_ends(lattice, forward(lattice, ones, COUNT), COUNT))


def total(
    problem: ArrayProblem,
    *,
    weights: Array | None = None,
    gradients: Gradients[Array] | None = None,
    threads: int | None = None,
) -> Totals[Array]:
    """Log-scores of all samples."""
    size = problem.scores.shape[1]
    score, status = np.empty(size), np.empty(size, np.uint8)
    wanted: Gradients[Array] = Gradients() if gradients is None else gradients
    for array in wanted.arrays().values():
        array[...] = 0
    for n in range(size):
        swept = write_sample(problem, n, 1.0 if weights is None else float(weights[n]), wanted)
        score[n], status[n] = swept.score, swept.status
    return Totals(score, status)


def write_sample(problem: ArrayProblem, n: int, weight: float, wanted: Gradients[Array]) -> Sweep:
    """Sums over the paths of sample n, and writes its gradients; the arrays hold zeros."""
    swept = sweep(sample(problem, n))
    if swept.status in (Status.INFEASIBLE, Status.IMPOSSIBLE):
        return swept
    log_probs, lattice, _ = swept.sample
    k, own = lattice.num_states, problem.lattices.long_arcs[:, 0] == n
    by_class_ = by_class(swept.gamma, lattice, log_probs.shape[1])
    if swept.status == Status.NOT_FINITE:
        by_class_ = np.full(log_probs.shape, np.nan)
    if wanted.scores is not None:
        softmax = np.exp(log_softmax(log_probs)) if problem.from_logits or wanted.adds_softmax else 0
        wanted.scores[: len(log_probs), n] = stored((softmax - by_class_) * weight, wanted.scores.dtype)
    if wanted.class_scores is not None:
        wanted.class_scores[n] = -by_class_.sum(axis=0) * weight
    if wanted.state_scores is not None:
        wanted.state_scores[n, :k] = -swept.gamma.sum(axis=0) * weight
    if wanted.entry_costs is not None:
        wanted.entry_costs[n, :k] = swept.entries() * weight
    if wanted.long_arc_scores is not None:
        wanted.long_arc_scores[own] = -swept.taken() * weight
    return swept


def best_path(
    problem: ArrayProblem,
    *,
    frame_scores: Float64Array | None = None,
    visits: npt.NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> BestPaths[Array]:
    """Each sample's most probable path."""
    frames, size, _ = problem.scores.shape
    states = np.full((size, frames), -1, np.int32)
    score, status = np.empty(size), np.empty(size, np.uint8)
    if frame_scores is not None:
        frame_scores[...] = 0
    for n in range(size):
        log_probs, lattice, emissions = sample(problem, n)
        with np.errstate(invalid="ignore"):  # NaN in, NaN out
            alpha = forward(lattice, emissions, MAX)
            score[n] = over_ends(lattice, alpha, MAX)
        status[n] = status_of(lattice, log_probs, score[n])
        if status[n]:
            score[n] = np.nan if status[n] == Status.NOT_FINITE else -np.inf
            continue
        states[n, : len(alpha)], steps = _traced_back(lattice, alpha)
        if frame_scores is not None:
            used = np.arange(len(alpha))
            frame_scores[n, used] = emissions[used, states[n, used]] + steps
    if visits is not None:
        visits[...] = -1
        for (n, t), k in np.ndenumerate(states):
            if k >= 0:
                visits[n, k] = t if visits[n, k, 0] < 0 else visits[n, k, 0], t + 1
    return BestPaths(states, score, status)


def _traced_back(lattice: Lattice, alpha: Rows) -> tuple[list[int], list[float]]:
    """The path behind alpha's maxima, one state per frame, and what each frame's arc adds to its score."""
    entry = weights_of(lattice, MAX).entry
    states: list[int] = []
    steps: list[float] = []
    candidates = [(int(k), 0.0) for k in np.flatnonzero(lattice.arcs & Arc.END)]
    for row in alpha[::-1]:
        state, step = max(candidates, key=lambda way: (row[way[0]] + way[1], -way[0]))
        states.append(state)
        steps.append(step)
        candidates = _predecessors(lattice, state)
    # A step belongs to the frame that it leads to; the first frame's step is the entry into the first state.
    return states[::-1], [float(entry[states[-1]]), *steps[:0:-1]] if states else []


class Path(NamedTuple):
    """A path through a lattice.

    Attributes:
        score: nats.
        states: (T,), one per frame.
        weight: nats, the part of the score that entry costs and long arcs add.
    """

    score: float
    states: tuple[int, ...]
    weight: float


class _Way(NamedTuple):
    """A path up to frame t. A heap puts the one first that can become the best."""

    order: float  # negated log-score of the best path that begins so, quantised so that rounding cannot reorder ties
    frames_left: int  # among equals the longest first, or all of them would be extended before one is complete
    serial: int  # then the one with the lowest states, which was found first
    state: int
    score: float
    weight: float
    before: _Way | None


def best_paths(lattice: Lattice, emissions: Rows, count: int) -> list[Path]:
    """The most probable paths, at most ``count``, best first; paths of probability 0 last.

    A search from the first frame on that always extends the path with the most probable completion. Beta gives the
    exact score of the best completion, so no path is extended in vain.
    """
    frames = len(emissions)
    if frames == 0:
        return [Path(0.0, (), 0.0)][:count] if over_ends(lattice, emissions, LOG) == LOG.one else []
    beta = backward(lattice, emissions, MAX)
    # Paths of probability 0 count too, so the states on paths are found without scores.
    alive = backward(lattice, np.ones(emissions.shape, bool), EXIST)
    weights = weights_of(lattice, MAX)
    largest = np.abs(np.where(np.isfinite(emissions), emissions, 0)).max(axis=1).sum()
    step = 1e-10 * max(1.0, float(largest))  # rounding is relative to the largest sum on the way
    heap: list[_Way] = []
    serial = itertools.count()

    def extend(t: int, moves: Iterable[tuple[int, float]], before: _Way | None) -> None:
        for k, weight in moves:
            if alive[t, k]:
                score = float(emissions[t, k]) + weight + (before.score if before else 0.0)
                total = weight + (before.weight if before else 0.0)
                bound = score + float(beta[t, k])
                order = round(-bound / step) if bound > -np.inf else np.inf
                heappush(heap, _Way(order, frames - 1 - t, next(serial), k, score, total, before))

    extend(0, [(int(k), float(weights.entry[k])) for k in np.flatnonzero(lattice.arcs & Arc.START)], None)
    paths: list[Path] = []
    while heap and len(paths) < count:
        way = heappop(heap)
        if way.frames_left:
            extend(frames - way.frames_left, _successors(lattice, weights, way.state), way)
        else:
            paths.append(_path(way))
    return sorted(paths, key=lambda path: -path.score)  # a stable sort: equals stay in the order found


def _path(way: _Way) -> Path:
    states = []
    step: _Way | None = way
    while step:
        states.append(step.state)
        step = step.before
    return Path(float(way.score), tuple(reversed(states)), float(way.weight))


def posteriors(problem: ArrayProblem, *, threads: int | None = None) -> Posteriors[Array]:
    """Occupancies by state and by class."""
    frames, size, _ = problem.scores.shape
    states = np.zeros((frames, size, problem.lattices.labels.shape[1]))
    classes = np.zeros(problem.scores.shape)
    score, status = np.empty(size), np.empty(size, np.uint8)
    for n in range(size):
        swept = sweep(sample(problem, n))
        log_probs, lattice, _ = swept.sample
        score[n], status[n] = swept.score, swept.status
        states[: len(log_probs), n, : lattice.num_states] = swept.gamma
        classes[: len(log_probs), n] = by_class(swept.gamma, lattice, log_probs.shape[1])
    return Posteriors(states, classes, score, status)


def occupancy_along(
    problem: ArrayProblem, states: npt.NDArray[np.int32], *, threads: int | None = None
) -> Float64Array:
    """(N, T) the occupancies along a path."""
    gamma = posteriors(problem).states
    along = np.zeros(states.shape)
    for n, used in enumerate(problem.lattices.frames):
        along[n, :used] = gamma[np.arange(used), n, states[n, :used]]
    return along


def by_class(gamma: Float64Array, lattice: Lattice, classes: int) -> Float64Array:
    """γ by state (T, K), summed over the states that emit the same class (T, C)."""
    total = np.zeros((len(gamma), classes))
    for k, label in enumerate(lattice.labels):
        total[:, label] += gamma[:, k]
    return total


class Sample(NamedTuple):
    """One sample of a batch: its used frames (T, C) in float64, its lattice, and what each state emits (T, K)."""

    log_probs: Float64Array
    lattice: Lattice
    emissions: Float64Array


def sample(problem: ArrayProblem, n: int) -> Sample:
    """Sample n, its scores normalised if they are logits."""
    log_probs, lattice = log_probs_of(problem, n), problem.lattice(n)
    emissions = log_probs[:, lattice.labels]
    if problem.class_scores is not None:
        emissions = emissions + problem.class_scores[lattice.labels]
    if problem.state_scores is not None:
        emissions = emissions + problem.state_scores[n, : lattice.num_states]
    return Sample(log_probs, lattice, emissions)


def added_scores(problem: ArrayProblem, n: int) -> Float64Array:
    """(K,) the part of what sample n's states emit that is the same at every frame: scores of classes and states."""
    lattice = problem.lattice(n)
    added = np.zeros(lattice.num_states)
    if problem.class_scores is not None:
        added += problem.class_scores[lattice.labels]
    if problem.state_scores is not None:
        added += problem.state_scores[n, : lattice.num_states]
    return added


def log_probs_of(problem: ArrayProblem, n: int) -> Float64Array:
    """Sample n's used frames (T, C), normalised if they are logits."""
    used = as_floats(problem.scores[: problem.lattices.frames[n], n])
    with np.errstate(invalid="ignore"):  # a signalling NaN counts as any other NaN
        scores = used.astype(np.float64)
    return log_softmax(scores) if problem.from_logits else scores


def log_softmax(logits: Float64Array) -> Float64Array:
    """Logits as log-probabilities, along the last axis."""
    with np.errstate(invalid="ignore"):  # NaN in, NaN out
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def status_of(lattice: Lattice, log_probs: Float64Array, score: float) -> Status:
    """A sample's status, given its frames and the sum over its paths, or the best path's score."""
    finite = bool((log_probs < np.inf).all())
    if finite and score > -np.inf:
        return Status.OK
    if count_paths(lattice, len(log_probs)) == 0:
        return Status.INFEASIBLE
    return Status.IMPOSSIBLE if finite else Status.NOT_FINITE


@dataclass(frozen=True)
class Sweep:
    """One sample's sums over paths: γ (T, K) is 0 without a path, and NaN if a frame is not finite."""

    sample: Sample
    alpha: Rows
    beta: Rows
    gamma: Float64Array
    score: float
    status: Status

    def entries(self) -> Float64Array:
        """(K,) how often a path is expected to enter each state, from another one or at its beginning."""
        _, lattice, emissions = self.sample
        expected: Float64Array = self.gamma[:1].sum(axis=0)
        for t in range(1, len(self.gamma)):
            into = entered(lattice, self.alpha[t - 1], weights_of(lattice, LOG), LOG)
            expected = expected + np.exp(into + emissions[t] + self.beta[t] - self.score)
        return expected

    def taken(self) -> Float64Array:
        """(J,) how often a path is expected to take each long arc."""
        _, lattice, emissions = self.sample
        weights = weights_of(lattice, LOG)
        source, to = lattice.long_arcs.T
        arriving = (emissions + self.beta)[1:, to] + weights.entry[to] + weights.far
        return np.asarray(np.exp(self.alpha[:-1][:, source] + arriving - self.score).sum(axis=0))


def sweep(sample: Sample) -> Sweep:
    """Sums over the paths of one sample."""
    log_probs, lattice, emissions = sample
    with np.errstate(invalid="ignore"):  # NaN in, NaN out
        alpha, beta = forward(lattice, emissions, LOG), backward(lattice, emissions, LOG)
        score = float(over_ends(lattice, alpha, LOG))
    status = status_of(lattice, log_probs, score)
    gamma = np.zeros(emissions.shape)
    if status == Status.OK:
        gamma = np.exp(alpha + beta - score)
    elif status == Status.NOT_FINITE:
        gamma, score = gamma + np.nan, np.nan
    else:
        score = -np.inf
    return Sweep(sample, alpha, beta, gamma, score, status)


def _successors(lattice: Lattice, weights: Weights, k: int) -> list[tuple[int, float]]:
    """Where state k leads to, and what an arc adds to a path's score."""
    ways = [(k, 0.0)] if lattice.arcs[k] & Arc.STAY else []
    ways += [
        (k + ahead, float(weights.entry[k + ahead]))
        for bit, ahead in MOVES
        if k + ahead < lattice.num_states and lattice.arcs[k + ahead] & bit
    ]
    far = np.flatnonzero(lattice.long_arcs[:, 0] == k)
    return ways + [(int(to), float(weights.entry[to] + weights.far[j])) for j in far for to in lattice.long_arcs[j, 1:]]


def _predecessors(lattice: Lattice, k: int) -> list[tuple[int, float]]:
    """Where state k may be entered from, and what an arc adds to a path's score."""
    weights = weights_of(lattice, MAX)
    entry = float(weights.entry[k])
    ways = [(k, 0.0)] if lattice.arcs[k] & Arc.STAY else []
    ways += [(k - back, entry) for bit, back in MOVES if lattice.arcs[k] & bit]
    far = np.flatnonzero(lattice.long_arcs[:, 1] == k)
    return ways + [(int(source), entry + float(weights.far[j])) for j in far for source in lattice.long_arcs[j, :1]]
