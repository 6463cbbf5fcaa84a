"""The C++ backend: scaled floats, one sample per thread. Sources in native/.

May import reference.py, backend.py, problem.py, validate/, results.py and the extension (ctckit.native).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import native as extension
from ..errors import CTCError
from ..problem import ArrayProblem
from ..results import BestPaths, Posteriors, Status
from ..validate import check_integer
from . import reference
from .backend import Gradients, Totals

Array = npt.NDArray[Any]

# A gradient of at least this many bytes gets recycled memory: malloc returns large blocks to the system, and getting
# them again costs a page fault for each page.
RECYCLED = 2 << 20


class Ends(IntEnum):
    """Where paths begin and end: with the first frame and the last; or anywhere, and how their ends combine.

    With s_t the log of the sum over all runs of frames that end with t: log Σ e^s_t, max s_t, or Σ softmax(s)_t s_t.
    For CTC's own lattices, without scores of states. Where frames' best labels add up to 9e7 nats or more, or minus
    that, a sample counts as impossible.
    """

    WHOLE = 0
    SUM = 1
    BEST = 2
    MEAN = 3


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
_NONE: Gradients[Array] = Gradients()


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

    Raises:
        CTCError: for anything else.

    Example:
        >>> set_num_threads(4)  # doctest: +SKIP
    """
    global _threads
    _threads = min(check_integer("threads", threads, 1), 2**31 - 1)  # more than samples are never used


def get_num_threads() -> int:
    """How many threads a call may use: what was set, else the number of CPUs that this process may run on.

    Example:
        >>> get_num_threads() >= 1
        True
    """
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
    problem: ArrayProblem,
    *,
    weights: Array | None = None,
    gradients: Gradients[Array] | None = None,
    threads: int | None = None,
    readable: bool = False,
    ends: Ends = Ends.WHOLE,
) -> Totals[Array]:
    """Log-scores of all samples; in ``gradients.scores``, classes must be contiguous.

    Frames that are known to be `readable`, without NaN and +inf, are not searched for these.
    """
    return _sums(problem, threads, weights, gradients, readable=readable, ends=ends)


def posteriors(problem: ArrayProblem, *, threads: int | None = None) -> Posteriors[Array]:
    """Occupancies by state and by class; scores must be log-probabilities."""
    frames, size, _ = problem.scores.shape
    states = np.empty((frames, size, problem.lattices.labels.shape[1]), problem.real)
    # The gradient of log-probabilities is -γ by class; a weight of -1 turns it into γ.
    classes = gradient(problem.scores.shape, problem.scores.dtype)
    sums = _sums(problem, threads, -np.ones(size), Gradients(classes), states)
    return Posteriors(states, classes, sums.score, sums.status)


def best_path(
    problem: ArrayProblem,
    *,
    frame_scores: npt.NDArray[np.float64] | None = None,
    visits: npt.NDArray[np.int32] | None = None,
    threads: int | None = None,
) -> BestPaths[Array]:
    """Each sample's most probable path."""
    scores = _aligned(problem.scores)
    size = scores.shape[1]
    states, score, status = np.empty(scores.shape[1::-1], np.int32), np.empty(size), np.empty(size, np.uint8)
    extension.best_path(
        scores,
        problem.from_logits,
        problem.lattices,
        score,
        status,
        states,
        frame_scores,
        visits,
        problem.class_scores,
        problem.state_scores,
        _isa,
        num_threads(threads),
    )
    return BestPaths(states, score, status)


def occupancy_along(
    problem: ArrayProblem, states: npt.NDArray[np.int32], *, threads: int | None = None
) -> npt.NDArray[np.float64]:
    """(N, T) the occupancies along a path.

    The sums are over paths that stay within 1024 states from it: in a long recording all
    others together have a negligible probability, and would take most of the time. If at any frame more than a
    millionth of these paths goes along the edge of that band, and always for lattices with long arcs, the sums are over
    all paths.
    """
    along = np.empty(states.shape)
    _sums(problem, threads, along=np.ascontiguousarray(states), occupancy_along=along)
    return along


def _sums(
    problem: ArrayProblem,
    threads: int | None,
    weights: Array | None = None,
    gradients: Gradients[Array] | None = None,
    occupancy: Array | None = None,
    along: npt.NDArray[np.int32] | None = None,
    occupancy_along: npt.NDArray[np.float64] | None = None,
    readable: bool = False,
    ends: Ends = Ends.WHOLE,
) -> Totals[Array]:
    # On the way of every short loss, where each call of a function counts: nothing here is one that need not be.
    scores = problem.scores if problem.scores.flags.aligned else _aligned(problem.scores)
    size = problem.samples if problem.heads or problem.index is not None else scores.shape[1]
    score, status = np.empty(size), np.empty(size, np.uint8)
    wanted = _NONE if gradients is None else gradients
    far_below = extension.sums(
        scores,
        problem.from_logits,
        problem.lattices,
        score,
        status,
        wanted.scores,
        wanted.adds_softmax,
        weights,
        occupancy,
        along,
        occupancy_along,
        problem.class_scores,
        problem.state_scores,
        wanted.class_scores,
        wanted.state_scores,
        wanted.entry_costs,
        wanted.long_arc_scores,
        problem.index,
        ends,
        readable,
        _isa,
        _threads or threads or num_threads(None),
    )
    totals: Totals[Array] = Totals(score, status)
    if ends or not far_below:
        return totals
    if problem.heads or problem.index is not None:
        _sum_logarithms_by_head(problem, totals, weights, wanted)
    else:
        _sum_logarithms(problem, totals, weights, wanted, occupancy, along, occupancy_along)
    return totals


def _sum_logarithms(
    problem: ArrayProblem,
    totals: Totals[Array],
    weights: Array | None,
    wanted: Gradients[Array],
    occupancy: Array | None,
    along: npt.NDArray[np.int32] | None,
    occupancy_along: npt.NDArray[np.float64] | None,
) -> None:
    """Samples whose paths lie below what scaled floats hold, 1.8e8 nats below each frame's best label: in logarithms.

    The best path, which is searched in logarithms, tells them from samples without a possible path. They are rare, and
    the reference is quick enough.
    """
    has_path = best_path(problem).status == Status.OK
    for n in np.flatnonzero(has_path & (totals.status == Status.IMPOSSIBLE)).tolist():
        swept = reference.write_sample(problem, n, 1.0 if weights is None else float(weights[n]), wanted)
        totals.score[n], totals.status[n] = swept.score, swept.status
        frames, states = swept.gamma.shape
        if occupancy is not None:
            occupancy[:frames, n, :states] = swept.gamma
        if along is not None and occupancy_along is not None:
            occupancy_along[n, :frames] = swept.gamma[np.arange(frames), along[n, :frames]]


def _sum_logarithms_by_head(
    problem: ArrayProblem, totals: Totals[Array], weights: Array | None, wanted: Gradients[Array]
) -> None:
    """The same where samples share lattices or scores; where nothing is that low, nothing changes."""
    size = len(problem.lattices.frames)
    for head in range(problem.heads or 1):
        own = slice(head * size, (head + 1) * size)
        if Status.IMPOSSIBLE not in totals.status[own]:
            continue
        usual, part = problem.usual(head), Totals(totals.score[own], totals.status[own])
        scores = wanted.scores if wanted.scores is None or not problem.heads else wanted.scores[head]
        each = scores if scores is None or problem.index is None else np.zeros_like(usual.scores)
        by_class = None if wanted.class_scores is None else wanted.class_scores[own]
        gradients = Gradients(each, by_class, adds_softmax=wanted.adds_softmax)
        _sum_logarithms(usual, part, None if weights is None else weights[own], gradients, None, None, None)
        if scores is not None and each is not None and problem.index is not None:
            for m, n in enumerate(problem.index.tolist()):
                scores[:, n] += each[:, m]


def _aligned(scores: Array) -> Array:
    """The scores themselves; a copy if they are a field of packed records, whose addresses are not aligned."""
    return scores if scores.flags.aligned else scores.copy()
