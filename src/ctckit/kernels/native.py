"""The C++ backend: scaled floats, one sample a thread. Same signatures as reference.py; sources in native/.

May import problem.py, results.py, errors.py and the extension (ctckit.native).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import native as extension
from ..errors import CTCError
from ..problem import Problem
from ..results import BestPaths, Posteriors

# A gradient of at least this many bytes gets recycled memory: malloc returns large blocks to the system, and getting
# them again costs a page fault for each page.
RECYCLED = 2 << 20


def instruction_sets() -> list[str]:
    """Names of the instruction sets that this CPU can run, the best last."""
    return list(extension.instruction_sets())


def _available(name: str, origin: str) -> str:
    if name not in instruction_sets():
        raise CTCError(f"{origin} = {name!r} is not available: expected one of {', '.join(instruction_sets())}")
    return name


# The environment variable forces a set, for bug reports and tests; it is read once. By default the best is used.
_isa: str = _available(os.environ.get("CTCKIT_ISA") or instruction_sets()[-1], "CTCKIT_ISA")
_threads: int | None = None


def instruction_set() -> str:
    """The name of the instruction set in use."""
    return _isa


def use_instruction_set(name: str) -> None:
    """Switches to another instruction set, for tests and benchmarks."""
    global _isa
    _isa = _available(name, "instruction set")


def set_num_threads(threads: int) -> None:
    """Sets how many threads a call may use.

    Args:
        threads: at least 1. Results do not depend on it.
    """
    global _threads
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise CTCError(f"threads = {threads!r}: expected an integer of at least 1")
    _threads = threads


def get_num_threads() -> int:
    """How many threads a call may use: what was set, else the number of CPUs that this process may run on."""
    return num_threads(default=None)


def num_threads(default: int | None) -> int:
    """What was set, else a frontend's default, else the number of CPUs that this process may run on."""
    if _threads is not None:
        return _threads
    if default is not None:
        return default
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gradient(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Uninitialised memory for a gradient; a large one is recycled, without page faults, where that is possible."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory: npt.NDArray[Any]
    memory = np.empty(shape, dtype) if size < RECYCLED else np.ndarray(shape, dtype, extension.recycled(size))
    return memory


def total(
    problem: Problem,
    *,
    weights: npt.NDArray[np.float64] | None = None,
    grad: npt.NDArray[Any] | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.float64]:
    """Log-scores of all samples; writes the gradient of Σ weights·(-score) into ``grad`` if given.

    Args:
        problem: the batch.
        weights: (N,) factors of the samples' gradients, 1 by default.
        grad: (T, N, C) like ``problem.scores``, classes contiguous; every entry is written.
        threads: a frontend's default number of threads.
    """
    return _sums(problem, weights, grad, None, threads)


def posteriors(problem: Problem, *, threads: int | None = None) -> Posteriors:
    """Occupancies by state and by class; scores must be log-probabilities."""
    frames, size, _ = problem.scores.shape
    states = np.empty((frames, size, problem.prepared.labels.shape[1]), problem.real)
    # The gradient of log-probabilities is -γ by class; a weight of -1 turns it into γ.
    classes = gradient(problem.scores.shape, problem.scores.dtype)
    score = _sums(problem, -np.ones(size), classes, states, threads)
    return Posteriors(states, classes, score)


def best_path(
    problem: Problem,
    *,
    frame_scores: npt.NDArray[np.float64] | None = None,
    visits: npt.NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> BestPaths:
    """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states.

    Args:
        problem: the batch.
        frame_scores: (N, T) out: the log-probability of each frame's label, less the entry cost paid there; 0 where
            there is no path.
        visits: (N, K, 2) out: the path's first frame in each state and one past its last; -1 if it is never there.
        threads: a frontend's default number of threads.
    """
    scores = _aligned(problem.scores)
    path, score = np.empty(scores.shape[1::-1], np.int32), np.empty(scores.shape[1])
    extension.best_path(
        scores, problem.from_logits, problem.prepared, score, path, frame_scores, visits, _isa, num_threads(threads)
    )
    return BestPaths(path, score)


def occupancy_along(
    problem: Problem, states: npt.NDArray[np.int32], *, threads: int | None = None
) -> npt.NDArray[np.float64]:
    """(N, T) the occupancies of one state a frame (N, T); 0 beyond a sample's frames.

    The states must be a path's. The sums are over paths that stay within 1024 states from it: in a long recording all
    others together have a negligible probability, and would take most of the time. If at any frame more than a
    millionth of these paths goes along the edge of that band, the sums are over all paths.
    """
    along = np.empty(states.shape)
    _sums(problem, None, None, None, threads, np.ascontiguousarray(states), along)
    return along


def _sums(
    problem: Problem,
    weights: npt.NDArray[np.float64] | None,
    grad: npt.NDArray[Any] | None,
    occupancy: npt.NDArray[Any] | None,
    threads: int | None,
    along: npt.NDArray[np.int32] | None = None,
    occupancy_along: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    scores = _aligned(problem.scores)
    score = np.empty(scores.shape[1])
    extension.sums(
        scores,
        problem.from_logits,
        problem.prepared,
        score,
        grad,
        weights,
        occupancy,
        along,
        occupancy_along,
        _isa,
        num_threads(threads),
    )
    return score


def _aligned(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The scores themselves; a copy if they are a field of packed records, whose addresses are not aligned."""
    return scores if scores.flags.aligned else scores.copy()
