"""The C++ backend: scaled floats, one sample a thread. Same signatures as reference.py; sources in native/.

May import backend.py, problem.py, validate/ and results.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _native
from ..errors import CTCError
from ..problem import ArrayProblem
from ..results import BestPaths, Posteriors
from ..validate import check_integer
from . import reference
from .backend import Gradients, Totals

Array = npt.NDArray[Any]

# From so many bytes on, a gradient's memory is recycled: malloc gives large blocks back to the system, and getting them
# anew costs a page fault a page.
RECYCLED = 2 << 20

_isa: str = _native.instruction_sets()[-1]
_threads: int | None = None


def instruction_sets() -> list[str]:
    """Names of the kernels that this CPU can run, the best last."""
    return list(_native.instruction_sets())


def instruction_set() -> str:
    """The name of the kernels in use."""
    return _isa


def use_instruction_set(name: str) -> None:
    """Switches kernels, for tests and benchmarks; by default the best are used."""
    global _isa
    if name not in instruction_sets():
        raise CTCError(f"instruction set {name!r} is not available: expected one of {', '.join(instruction_sets())}")
    _isa = name


def set_num_threads(threads: int) -> None:
    """Sets how many threads a call may use.

    Args:
        threads: at least 1. Results don't depend on it.
    """
    global _threads
    _threads = check_integer("threads", threads, 1)


def get_num_threads() -> int:
    """How many threads a call may use: what was set, else the CPUs that this process may run on."""
    return num_threads(default=None)


def num_threads(default: int | None) -> int:
    """What was set, else a frontend's default, else the CPUs that this process may run on."""
    if _threads is not None:
        return _threads
    if default is not None:
        return default
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gradient(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Memory for a gradient, to be written; a large one without page faults, if one of its size was dropped before."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory: npt.NDArray[Any]
    memory = np.empty(shape, dtype) if size < RECYCLED else np.ndarray(shape, dtype, _native.recycled(size))
    return memory


def total(
    problem: ArrayProblem,
    *,
    weights: Array | None = None,
    gradients: Gradients[Array] | None = None,
    threads: int | None = None,
) -> Totals[Array]:
    """Log-scores of all samples; writes the gradients of Σ weights·(-score) that are wanted.

    ``gradients.scores`` must have contiguous classes.
    """
    wanted: Gradients[Array] = Gradients() if gradients is None else gradients
    score = _sweep(problem, weights, wanted.scores, None, threads)
    return Totals(score, _status(problem, score))


def posteriors(problem: ArrayProblem, *, threads: int | None = None) -> Posteriors[Array]:
    """Occupancies by state and by class; scores must be log-probabilities."""
    frames, size, _ = problem.scores.shape
    states = np.empty((frames, size, problem.lattices.labels.shape[1]), problem.real)
    # The gradient of log-probabilities is -γ by class; a weight of -1 turns it into γ.
    classes = gradient(problem.scores.shape, problem.scores.dtype)
    score = _sweep(problem, -np.ones(size), classes, states, threads)
    return Posteriors(states, classes, score, _status(problem, score))


def best_path(
    problem: ArrayProblem,
    *,
    frame_scores: npt.NDArray[np.float64] | None = None,
    visits: npt.NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> BestPaths[Array]:
    """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states.

    Args:
        problem: the batch.
        frame_scores: float64 (N, T), where what each frame adds to the path's score is written: its label's
            log-probability with class and state scores, less the cost of entering its state, plus the score of the long
            arc taken there; 0 where there is no path.
        visits: int32 (N, K, 2), where the path's first frame in each state is written, and one past its last; -1 if it
            is never there.
        threads: a frontend's default number of threads.
    """
    scores = _aligned(problem.scores)
    path, score = np.empty(scores.shape[1::-1], np.int32), np.empty(scores.shape[1])
    _native.best_path(
        scores, problem.from_logits, problem.lattices, score, path, frame_scores, visits, _isa, num_threads(threads)
    )
    return BestPaths(path, score, _status(problem, score))


def occupancy_along(
    problem: ArrayProblem, states: npt.NDArray[np.int32], *, threads: int | None = None
) -> npt.NDArray[np.float64]:
    """(N, T) the occupancies of one state per frame (N, T); 0 beyond a sample's frames.

    The states must be a path's. Summed over are the paths that are never more than 1024 states away from it: in a long
    recording all others together weigh nothing, and would take most of the time. If more than a millionth of those
    paths, at any frame, goes along the edge of what is summed over, it is all paths.
    """
    along = np.empty(states.shape)
    _sweep(problem, None, None, None, threads, np.ascontiguousarray(states), along)
    return along


def _sweep(
    problem: ArrayProblem,
    weights: Array | None,
    grad: Array | None,
    occupancy: Array | None,
    threads: int | None,
    path: npt.NDArray[np.int32] | None = None,
    occupancy_along: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    scores = _aligned(problem.scores)
    score = np.empty(scores.shape[1])
    _native.sweep(
        scores,
        problem.from_logits,
        problem.lattices,
        score,
        grad,
        weights,
        occupancy,
        path,
        occupancy_along,
        _isa,
        num_threads(threads),
    )
    return score


def _status(problem: ArrayProblem, score: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    status = np.zeros(len(score), np.uint8)
    for n in np.flatnonzero(~np.isfinite(score)).tolist():
        status[n] = reference.status_of(problem.lattice(n), reference.log_probs_of(problem, n), score[n])
    return status


def _aligned(scores: Array) -> Array:
    """The scores themselves, unless they are a field of packed records: at addresses that no number may have."""
    return scores if scores.flags.aligned else scores.copy()
