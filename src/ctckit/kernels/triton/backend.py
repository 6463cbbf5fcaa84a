"""The backend on torch tensors: validation, memory, and the order of launches. The only module here that needs torch.

The host waits for nothing: lattices are laid out on the device, and what is wrong with a sample makes its own results
NaN. Sums run in an order that depends on the sample alone, so results do not depend on the batch around it, and are the
same bits in every run. May import torch, triton, ctckit/problem.py, ctckit/errors.py and the modules beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import triton.language as tl
from torch import Tensor

from ...errors import CTCError
from ...problem import ctc_problem
from .batch import Batch, Rows
from .best import find_best
from .gradient import Runs, write_gradient
from .lattice import Lattices, lay_out
from .rows import read_rows
from .sums import Sums, sweep
from .tuning import Sizes, row_block

Lengths = Tensor | Sequence[int]


class Problem(NamedTuple):
    """A batch on the device, as problem.Problem is one on the host.

    Attributes:
        scores: (T, N, C), any strides.
        from_logits: whether scores are logits.
        blank: the blank's class.
        sizes: T, N, C and pairs of states.
        lattices: laid out on the device.
    """

    scores: Tensor
    from_logits: bool
    blank: int
    sizes: Sizes
    lattices: Lattices

    @property
    def real(self) -> torch.dtype:
        """The dtype that sums are computed in."""
        return torch.float64 if self.scores.dtype == torch.float64 else torch.float32


class Posteriors(NamedTuple):
    """Occupancies γ, as in results.py, on tensors.

    Attributes:
        states: (T, N, K), by lattice state, K for the longest target.
        classes: (T, N, C), the same by class.
        score: float64 (N,), the total log-score in nats.
    """

    states: Tensor
    classes: Tensor
    score: Tensor


class BestPaths(NamedTuple):
    """The most probable path of each sample, as in results.py, on tensors.

    Attributes:
        states: int32 (N, T), -1 beyond a sample's frames and where there is no path.
        score: float64 (N,), in nats; -inf without a path; NaN where something is wrong with the sample.
    """

    states: Tensor
    score: Tensor


def problem(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool,
    validate: bool = False,
) -> Problem:
    """Checks the form of a call, which the kernels' memory safety rests on, and lays out its lattices on the device.

    Nothing here waits for the device, and it can be captured in a graph if targets and lengths are on the device. A
    sample with a wrong token or length is marked as such: its score will be NaN and its gradient NaN, all of it; the
    others are not touched by it. (With targets end to end, those after a wrong length are not where it says, and so are
    others' tokens or wrong.)

    Args:
        scores: (T, N, C), float64, float32, bfloat16 or float16, any strides; logits or log-probabilities.
        targets: (N, S) padded, or one dimension, all samples end to end; any integer dtype, on any device.
        input_lengths: (N,) frames of each sample, on any device.
        target_lengths: (N,) tokens of each sample, on any device. With targets end to end they are better on the CPU:
            from there the longest is known, and memory is taken for that many tokens, not for T.
        blank: the blank's class.
        from_logits: whether scores are logits.
        validate: raises the CPU's errors for wrong values, at the price of waiting for the device.

    Raises:
        CTCError: for malformed arguments, wrong values only on request.
    """
    _check_scores(scores, blank)
    frames, size, classes = scores.shape
    targets = _integers("targets", targets)
    if not (targets.ndim == 1 or (targets.ndim == 2 and targets.shape[0] == size)):
        raise CTCError(f"targets has shape {tuple(targets.shape)}: expected ({size}, S), or one dimension, end to end")
    lengths = []
    for name, values in (("input_lengths", input_lengths), ("target_lengths", target_lengths)):
        lengths.append(_integers(name, values))
        if lengths[-1].shape != (size,):
            raise CTCError(f"{name} has shape {tuple(lengths[-1].shape)}: expected ({size},), one for each sample")
    longest = targets.shape[-1]
    if targets.ndim == 1:
        # The longest target is known if its length is the host's; if not, none that has a path is longer than T.
        longest = min(longest, int(lengths[1].max()) if lengths[1].is_cpu else frames)
    sizes = Sizes(frames, size, classes, max(longest, 0) + 1)
    there = [values.to(scores.device, non_blocking=True) for values in (targets, *lengths)]
    with _on(scores.device):
        lattices = _lay_out(there[0], there[1].contiguous(), there[2].contiguous(), sizes, blank)
    made = Problem(scores.detach(), from_logits, blank, sizes, lattices)
    if validate:
        _validate(made, targets, *lengths)
    return made


def total(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool,
    weights: Tensor | None = None,
    grad: Tensor | None = None,
    validate: bool = False,
) -> Tensor:
    """Log-scores of all samples; writes the gradient of Σ weights·(-score) into ``grad`` if given.

    Arguments as for :func:`problem`. ``weights`` are (N,) factors of the samples' gradients, on the scores' device, 1
    by default. ``grad`` is (T, N, C), of the dtype and device of the scores, with any strides; every entry is written.

    Returns:
        float64 (N,): nats; -inf where the target can't be reached.
    """
    given = problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    sweep = Sweep(given, keep=grad is not None)
    if grad is not None:
        sweep.gradient(grad, weights)
    return sweep.score


def posteriors(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool = False,
    validate: bool = False,
) -> Posteriors:
    """Occupancies by state and by class; arguments as for :func:`problem`."""
    given = problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    frames, size, _, pairs = given.sizes
    states = torch.empty((frames, size, 2 * pairs - 1), dtype=given.real, device=scores.device)
    classes = torch.empty(scores.shape, dtype=scores.dtype, device=scores.device)
    sweep = Sweep(given, keep=True)
    sweep.occupancies(states, classes)
    return Posteriors(states, classes, sweep.score)


def best_path(
    scores: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int,
    *,
    from_logits: bool = False,
    validate: bool = False,
) -> BestPaths:
    """Each sample's most probable path; arguments as for :func:`problem`.

    Of equally good paths, read from the end, that of the lowest states. Maxima are compared in the scores' precision,
    float32 at least, so in float32 the path may be one that is not worse by more than rounding; its score is its own,
    added up in float64.
    """
    given = problem(scores, targets, input_lengths, target_lengths, blank, from_logits=from_logits, validate=validate)
    frames, size, _, pairs = given.sizes
    device, batch = scores.device, _batch(given)
    found = BestPaths(
        torch.empty((size, frames), dtype=torch.int32, device=device),
        torch.empty(size, dtype=torch.float64, device=device),
    )
    with _on(device):
        rows = _read_rows(given, batch)
        moves = torch.empty((size, frames, pairs), dtype=torch.uint8, device=device)
        edges = torch.empty((size, 2, 2, pairs) if row_block(pairs).tiled else (0,), dtype=given.real, device=device)
        find_best(batch, rows, moves, edges, torch.empty(size, dtype=torch.int32, device=device), *found)
    return found


class Sweep:
    """The sweeps over a batch: its log-scores, and if a gradient may be wanted, the occupancies for it.

    Attributes:
        score: float64 (N,), in nats.
        occupancy: (N, T, 2, pairs), not yet normalised. Autograd may keep it elsewhere between the two passes.
    """

    def __init__(self, problem: Problem, *, keep: bool) -> None:
        device, sizes = problem.scores.device, problem.sizes
        kept = (sizes.size, sizes.frames, 2, sizes.pairs) if keep else (0,)
        edges = (2, 2, sizes.size, 2, sizes.pairs)
        self.problem = problem
        self._batch = _batch(problem)
        with _on(device):
            self._rows = _read_rows(problem, self._batch)
            sums = Sums(
                torch.empty(kept, dtype=problem.real, device=device),
                torch.empty(kept, dtype=torch.int32, device=device),
                torch.empty(edges, dtype=problem.real, device=device),
                torch.empty(edges, dtype=torch.int32, device=device),
                torch.empty(sizes.size, dtype=torch.int32, device=device),
                torch.empty(sizes.size, dtype=torch.float64, device=device),
            )
            sweep(self._batch, self._rows, sums, keep=keep)
        self.score = sums.score
        self.occupancy: Tensor | None = sums.occupancy
        nothing = sums.exponents[:0]  # rows are not needed any more
        self._sums = sums._replace(occupancy=nothing, exponents=nothing, edges_m=nothing, edges_e=nothing)

    def gradient(self, grad: Tensor, weights: Tensor | None = None) -> None:
        """Writes the gradient of Σ weights·(-score) into ``grad``, as often as one likes."""
        if weights is None:
            weights = torch.ones(self.problem.sizes.size, dtype=torch.float64, device=grad.device)
        self._write(grad, None, weights.contiguous(), softmax=self.problem.from_logits)

    def occupancies(self, states: Tensor, classes: Tensor) -> None:
        """Writes γ by state and by class."""
        # Without its softmax the gradient is -γ by class; a weight of -1 turns it into γ.
        weights = torch.full((self.problem.sizes.size,), -1.0, dtype=torch.float64, device=classes.device)
        self._write(classes, states, weights, softmax=False)

    def _write(self, grad: Tensor, states: Tensor | None, weights: Tensor, *, softmax: bool) -> None:
        runs = _runs(self.problem.lattices.tokens)
        if self.occupancy is None:
            raise RuntimeError("the occupancies of this sweep are gone")
        sums = self._sums._replace(occupancy=self.occupancy)
        with _on(grad.device):
            write_gradient(self._batch, self._rows, sums, runs, weights, grad, states, softmax=softmax)


def _batch(problem: Problem) -> Batch:
    real = tl.float64 if problem.real == torch.float64 else tl.float32
    return Batch(problem.scores, problem.from_logits, problem.blank, problem.sizes, problem.lattices, real)


def _lay_out(targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, sizes: Sizes, blank: int) -> Lattices:
    size, pairs, device = sizes.size, sizes.pairs, targets.device
    lattices = Lattices(
        torch.empty((size, pairs - 1), dtype=torch.int32, device=device),
        torch.empty((size, 2, pairs), dtype=torch.uint8, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int32, device=device),
    )
    begins = target_lengths.long().cumsum(0) - target_lengths if targets.ndim == 1 else target_lengths
    lay_out(targets, begins, input_lengths, target_lengths, lattices, sizes, blank)
    return lattices


def _read_rows(problem: Problem, batch: Batch) -> Rows:
    device, real = problem.scores.device, problem.real
    shape = problem.sizes.size, problem.sizes.frames
    statistics = shape if problem.from_logits else (0,)
    rows = Rows(
        torch.empty(shape, dtype=real, device=device),
        torch.empty(shape, dtype=torch.int8, device=device),
        torch.empty(shape, dtype=torch.float64, device=device),
        torch.empty(statistics, dtype=real, device=device),
        torch.empty(statistics, dtype=real, device=device),
    )
    read_rows(batch, rows)
    return rows


def _runs(tokens: Tensor) -> Runs:
    """Which tokens (N, S) are equal."""
    ordered, order = tokens.sort(dim=1, stable=True)
    begins = torch.ones_like(ordered)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = begins.cumsum(1)
    number = torch.arange(1, tokens.shape[1] + 1, device=run.device).expand(len(tokens), -1).contiguous()
    return Runs(ordered, order, run, torch.searchsorted(run, number))


_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_LARGEST = 2**26  # of frames and classes: what zeros can stand


def _integers(name: str, values: Lengths) -> Tensor:
    # Lists are the host's, whatever torch's default device: there they can be read, and to go back would be to wait.
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(values, dtype=torch.int64, device="cpu")
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise CTCError(f"{name} has dtype {str(tensor.dtype).removeprefix('torch.')}: expected integers")
    return tensor


def _check_scores(scores: Tensor, blank: int) -> None:
    if scores.ndim != 3 or scores.dtype not in _DTYPES or 0 in scores.shape[1:] or max(scores.shape) > _LARGEST:
        raise CTCError(
            f"scores has shape {tuple(scores.shape)} and dtype {str(scores.dtype).removeprefix('torch.')}: expected "
            f"(T, N, C) frames x batch x classes, N and C at least 1, float64, float32, bfloat16 or float16"
        )
    classes = scores.shape[2]
    if not 0 <= blank < classes:
        raise CTCError(f"blank = {blank} is not a class: scores has C={classes} classes (0..{classes - 1})")


def _validate(problem: Problem, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor) -> None:
    """Raises what the CPU would. Waits for the device."""
    tokens, frames, lengths = (values.cpu().numpy() for values in (targets, input_lengths, target_lengths))
    shape = np.broadcast_to(np.float32(0), problem.scores.shape)  # no memory: only its shape is looked at
    ctc_problem(shape, tokens, frames, lengths, problem.blank, from_logits=problem.from_logits)


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
