"""The executable specification: every sweep as loops over frames and states, in float64 and on plain logarithms.

Short enough to read aloud; slow, and meant to be. May import check.py, lattice.py and results.py.

A sweep is the same recursion over any pair of "plus" and "times": probabilities give the total, their maximum the best
path, and whole numbers count paths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..check import Problem
from ..lattice import Arc, Lattice
from ..results import Posteriors

Value = TypeVar("Value")
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Semiring(Generic[Value]):
    """What a sweep computes: how alternatives add up, how a path's steps multiply, and their neutral elements."""

    plus: Callable[[Value, Value], Value]
    times: Callable[[Value, Value], Value]
    zero: Value
    one: Value


LOG = Semiring[float](lambda a, b: float(np.logaddexp(a, b)), lambda a, b: a + b, -np.inf, 0.0)
MAX = Semiring[float](max, lambda a, b: a + b, -np.inf, 0.0)
COUNT = Semiring[int](lambda a, b: a + b, lambda a, b: a * b, 0, 1)


def forward(lattice: Lattice, emissions: list[list[Value]], ring: Semiring[Value]) -> list[list[Value]]:
    """alpha[t][k]: all paths that are in state k at frame t, with their emissions up to and including t."""
    rows: list[list[Value]] = []
    for t, emission in enumerate(emissions):
        row = []
        for k, arc in enumerate(lattice.arcs):
            value = ring.one if t == 0 and arc & Arc.START else ring.zero
            for bit, back in ((Arc.STAY, 0), (Arc.STEP, 1), (Arc.SKIP, 2)):
                if t > 0 and arc & bit:
                    value = ring.plus(value, rows[t - 1][k - back])
            row.append(ring.times(value, emission[k]))
        rows.append(row)
    return rows


def backward(lattice: Lattice, emissions: list[list[Value]], ring: Semiring[Value]) -> list[list[Value]]:
    """beta[t][k]: all ways to go on from state k at frame t to an end, with their emissions after t."""
    last = [ring.one if arc & Arc.END else ring.zero for arc in lattice.arcs]
    rows = [last]
    for emission in reversed(emissions[1:]):
        row = [ring.zero] * lattice.states
        for k, arc in enumerate(lattice.arcs):
            for bit, back in ((Arc.STAY, 0), (Arc.STEP, 1), (Arc.SKIP, 2)):
                if arc & bit:
                    row[k - back] = ring.plus(row[k - back], ring.times(emission[k], rows[0][k]))
        rows.insert(0, row)
    return rows


def over_ends(lattice: Lattice, alpha: list[list[Value]], ring: Semiring[Value]) -> Value:
    """All paths' value. With no frames the only path is the empty one, and only the empty target (K = 1) accepts it."""
    if not alpha:
        return ring.one if lattice.states == 1 else ring.zero
    value = ring.zero
    for k, arc in enumerate(lattice.arcs):
        if arc & Arc.END:
            value = ring.plus(value, alpha[-1][k])
    return value


def count_paths(lattice: Lattice, frames: int) -> int:
    """How many paths of that many frames a lattice has, exactly.

    Example:
        >>> from ctckit import ctc_lattice
        >>> count_paths(ctc_lattice(np.array([1, 2, 3])), 6)  # "cat"
        84
        >>> count_paths(ctc_lattice(np.array([1, 2, 2])), 6)  # "see"
        28
    """
    ones = [[COUNT.one] * lattice.states] * frames
    return over_ends(lattice, forward(lattice, ones, COUNT), COUNT)


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


def best_path(problem: Problem, n: int) -> tuple[float, list[int]]:
    """Sample n's most probable path: its log-score and its states, one a frame; among equals the lowest states."""
    log_probs, lattice = sample(problem, n)
    emissions = log_probs[:, lattice.labels].tolist()
    alpha, beta = forward(lattice, emissions, MAX), backward(lattice, emissions, MAX)
    score = over_ends(lattice, alpha, MAX)
    path: list[int] = []
    for t in range(len(emissions)):
        legal = range(lattice.states) if t == 0 else _successors(lattice, path[-1])
        path.append(max(legal, key=lambda k: (alpha[t][k] if t == 0 else emissions[t][k]) + beta[t][k]))
    return score, path


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
    emissions = log_probs[:, lattice.labels].tolist()
    alpha = forward(lattice, emissions, LOG)
    score = over_ends(lattice, alpha, LOG)
    if score > -np.inf and emissions:
        gamma = np.exp(np.array(alpha) + np.array(backward(lattice, emissions, LOG)) - score)
    return gamma, score


def _successors(lattice: Lattice, k: int) -> list[int]:
    bits = ((Arc.STAY, 0), (Arc.STEP, 1), (Arc.SKIP, 2))
    return [k + ahead for bit, ahead in bits if k + ahead < lattice.states and lattice.arcs[k + ahead] & bit]
