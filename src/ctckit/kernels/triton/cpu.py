"""Best paths of long recordings on the CPU, where that is estimated to be quicker than on the GPU.

A sweep's frames follow one another, so one long recording keeps one of a GPU's many multiprocessors busy, and nothing
else. The CPU's kernel leaves out all states that cannot be on the best path; so it needs less time than the GPU for an
hour of audio, the copy of the scores included. May import torch, tuning.py, kernels/native.py, kernels/backend.py,
ctckit/native, ctckit/problem.py and ctckit/results.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ... import native as extension
from ...problem import ArrayProblem, LatticeBatch, Problem
from ...results import BestPaths, Status
from .. import native
from . import tuning
from .tuning import Sizes

Array = npt.NDArray[Any]

# Seconds, measured on an H200 and its host, except where a comment says otherwise; bench/gpu_align.py compares the two.
CYCLE = 1 / 1.7e9  # of an H100 or H200; tuning.BestRow counts a frame's cycles
TILED_PAIR = 18e-6 / 8001  # a pair and a frame, with rows in memory: 18 us a frame at S = 8000
PROGRAMS = 132  # how many samples such a GPU sweeps at the same time: one on each multiprocessor
CPU_PAIR = 32e-3 / (60000 * 8001)  # a pair and a frame on the CPU: 11 to 32 ms at T = 60,000, S = 8000
COPIED_BYTE = 1 / 6e9  # a copy to pageable memory; not measured
WAIT = 1e-4  # for both copies to begin; not measured
PATIENCE = 2e-3  # below this the GPU does it, so that the host need not wait


def is_quicker_on_cpu(sizes: Sizes, size_of_score: int) -> bool:
    """Whether best paths are quicker on the CPU. Depends on sizes only, so no value is read to decide it."""
    row = tuning.best_row(sizes.pairs)
    frame = row.cycles * CYCLE if row.each else TILED_PAIR * sizes.pairs
    on_gpu = frame * sizes.frames * -(-sizes.size // PROGRAMS)
    copied = sizes.frames * sizes.size * sizes.classes * size_of_score
    on_cpu = CPU_PAIR * sizes.pairs * sizes.frames * sizes.size + COPIED_BYTE * copied + WAIT
    return on_gpu > PATIENCE and on_cpu < on_gpu


def can_wait(scores: Tensor) -> bool:
    """Whether the host may wait for a tensor: not while operations are recorded in a CUDA graph."""
    return not (scores.is_cuda and torch.cuda.is_current_stream_capturing())


def best_path_on_cpu(problem: Problem[Tensor], threads: int | None) -> BestPaths[Tensor]:
    """Copies the scores and the lattices, which have no long arcs, and copies the paths back to the scores' device.

    Labels and lengths on a device have not been checked. As by the GPU's kernels, a sample with a wrong one is INVALID.
    """
    scores = problem.scores.detach().cpu()
    array = scores.view(torch.int16).numpy().view(np.uint16) if scores.dtype == torch.bfloat16 else scores.numpy()
    class_scores, state_scores = _doubles(problem.class_scores), _doubles(problem.state_scores)
    batch, invalid = _checked(problem.lattices, array.shape, class_scores, state_scores)
    found = native.best_path(
        ArrayProblem(array, problem.from_logits, batch, True, class_scores, state_scores), threads=threads
    )
    found.states[invalid], found.score[invalid], found.status[invalid] = -1, np.nan, Status.INVALID
    arrays = found.states, found.score, found.status
    return BestPaths(*(torch.from_numpy(array).to(problem.scores.device) for array in arrays))


def _doubles(values: Tensor | None) -> npt.NDArray[np.float64] | None:
    return None if values is None else np.array(values.detach().double().cpu().numpy())


def _checked(
    lattices: LatticeBatch[Tensor],
    shape: tuple[int, ...],
    class_scores: npt.NDArray[np.float64] | None,
    state_scores: npt.NDArray[np.float64] | None,
) -> tuple[extension.LatticeBatch, npt.NDArray[np.bool_]]:
    """The lattices on the host, and which of them are invalid: these are replaced by lattices without a path.

    ``state_scores`` of such a sample are set to 0.
    """
    names = ("frames", "num_tokens", "labels", "arcs", "num_states", "tokens")
    frames, num_tokens, labels, arcs, num_states, tokens = (
        np.array(getattr(lattices, name).cpu().numpy()) for name in names
    )
    costs = _doubles(lattices.entry_costs)
    exists = np.arange(labels.shape[1]) < num_states[:, None]
    wrong = exists & ((labels < 0) | (labels >= shape[2]))
    labels[wrong | ~exists] = 0
    if class_scores is not None:
        wrong |= exists & ~(class_scores[labels] < np.inf)
    if state_scores is not None:
        wrong |= exists & ~(state_scores < np.inf)
    if costs is not None:
        wrong |= exists & ~(costs > -np.inf)
    invalid = wrong.any(axis=1) | (num_states < 1) | (num_states > labels.shape[1])
    invalid |= (frames < 0) | (frames > shape[0])
    known = getattr(lattices, "status", None)  # of CTC's own lattices, from their targets and lengths
    if known is not None:
        invalid |= known.cpu().numpy() == Status.INVALID
    for values, instead in ((frames, 0), (labels, 0), (arcs, 0), (num_states, 1), (costs, 0), (state_scores, 0)):
        if values is not None:
            values[invalid] = instead
    order = frames, num_tokens, labels, arcs, num_states, None, costs, tokens, None
    return extension.LatticeBatch(*order), invalid
