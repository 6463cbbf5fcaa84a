"""The backend for torch tensors: allocates memory and launches kernels. Only this module and cpu.py need torch.

The host does not wait for the device, except for best paths that are found on the CPU. Errors in a sample are found on
the device and become its status. The order of sums depends only on the sample, so results do not depend on the rest of
the batch, and are the same bit for bit in every run; again except for those of the CPU. May import torch, triton,
ctckit/problem.py, ctckit/results.py, kernels/backend.py and the modules beside it.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...problem import Problem
from ...results import BestPaths, Posteriors, Status
from ..backend import Gradients, Totals, cannot_take
from .batch import Batch
from .best import find_best
from .blocks import kept_places, kept_size, lattice_places, lattice_size, results_size, sums_size
from .cpu import best_path_on_cpu, can_wait, is_quicker_on_cpu
from .gradient import count_visits, write_gradient
from .lattice import PLAIN, lay_out
from .pairs import find_infeasible, lay_out_states
from .rows import read_rows
from .sums import Loss, add_up
from .sweep import sweep
from .trace import path_size
from .tuning import Sizes, row_block

TensorProblem = Problem[Tensor]


@dataclass(frozen=True, eq=False)
class CTCLattices:
    """CTC's lattices on the device: a ``problem.LatticeBatch`` for which the kernels have a fast path.

    State 2s+1 is token s, and the other states emit the blank. Attributes that only other backends read are computed
    when they are asked for.

    Attributes:
        block: the lattices as the kernels read them: see blocks.py.
        sizes: T, N, C, and the number of pairs of states for the longest target.
        blank: the blank's class.
    """

    block: Tensor
    sizes: Sizes
    blank: int

    @property
    def frames(self) -> Tensor:
        """int64 (N,); 0 for samples whose status is not OK."""
        return _piece(self.block, 0, torch.int64, self.sizes.size)

    @property
    def num_tokens(self) -> Tensor:
        """int64 (N,)."""
        return _piece(self.block, 8 * self.sizes.size, torch.int64, self.sizes.size)

    @property
    def share(self) -> Tensor:
        """float64 (N,), the weight of each sample in a mean over the batch of scores per token."""
        return _piece(self.block, 16 * self.sizes.size, torch.float64, self.sizes.size)

    @property
    def status(self) -> Tensor:
        """int32 (N,): OK, INFEASIBLE or INVALID, found from targets and lengths only."""
        return _piece(self.block, 24 * self.sizes.size, torch.int32, self.sizes.size)

    @property
    def num_states(self) -> Tensor:
        """int32 (N,)."""
        return (2 * self.num_tokens + 1).int()

    @cached_property
    def labels(self) -> Tensor:
        """int32 (N, K)."""
        _, size, classes, pairs = self.sizes
        of_tokens = _piece(self.block, self._places[2], torch.int32, size, pairs - 1)
        labels = torch.full((size, 2 * pairs - 1), self.blank, dtype=torch.int32, device=self.block.device)
        labels[:, 1::2] = of_tokens.clamp(max=classes - 1)
        return labels

    @cached_property
    def arcs(self) -> Tensor:
        """uint8 (N, K); 0 for a sample without a path, so that it doesn't look like an empty target."""
        of_pairs = _piece(self.block, self._places[5], torch.uint8, self.sizes.size, 2, self.sizes.pairs)
        arcs = of_pairs.transpose(1, 2).flatten(1)[:, :-1]
        return arcs.masked_fill((self.status == Status.INFEASIBLE)[:, None], 0).contiguous()

    @cached_property
    def tokens(self) -> Tensor:
        """int32 (N, K)."""
        tokens = torch.full_like(self.labels, -1)
        tokens[:, 1::2] = torch.arange(self.sizes.pairs - 1, device=tokens.device)
        return tokens

    @property
    def entry_costs(self) -> None:
        """None: CTC's lattices have no entry costs."""
        return None

    @property
    def long_arcs(self) -> Tensor:
        """int32 (0, 3)."""
        return torch.empty((0, 3), dtype=torch.int32, device=self.block.device)

    @property
    def long_arc_scores(self) -> Tensor:
        """float64 (0,)."""
        return torch.empty(0, dtype=torch.float64, device=self.block.device)

    @property
    def _places(self) -> tuple[int, ...]:
        places: tuple[int, ...] = lattice_places.fn(self.sizes.size, self.sizes.classes, self.sizes.pairs, False)
        return places


def ctc_lattices(
    scores: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, blank: int
) -> CTCLattices:
    """Lays out CTC's lattices on the scores' device. The caller must check shapes and dtypes: memory safety needs it.

    Nothing here waits for the device, and it can be captured in a CUDA graph if targets and lengths are on the device.
    A sample with an invalid token or length becomes INVALID; other samples are not affected. (If targets are end to
    end, targets after an invalid length may be INVALID too, since their beginnings are unknown.)

    Args:
        scores: (T, N, C); only its shape and device are used.
        targets: (N, S) padded, or one dimension, all samples end to end; any integers, on any device.
        input_lengths: (N,) frames of each sample, on any device.
        target_lengths: (N,) tokens of each sample, on any device. If targets are end to end, they should be on the CPU:
            then the longest target is known, and memory is allocated for its length, not for T tokens.
        blank: the blank's class.
    """
    frames, size, classes = scores.shape
    longest = targets.shape[-1]
    if targets.ndim == 1:
        # If lengths are on the host, the longest target is known. If not, a target with a path has at most T tokens.
        longest = min(longest, int(target_lengths.max()) if target_lengths.is_cpu else frames)
    sizes = Sizes(frames, size, classes, max(longest, 0) + 1)
    device = scores.device
    targets, input_lengths, target_lengths = (
        values.to(device, non_blocking=True) for values in (targets, input_lengths, target_lengths)
    )
    block = _bytes(lattice_size(sizes, general=False), device)
    begins = target_lengths.long().cumsum(0) - target_lengths if targets.ndim == 1 else target_lengths
    with _on(device):
        lay_out(targets, begins, input_lengths.contiguous(), target_lengths.contiguous(), block, sizes, blank)
    return CTCLattices(block, sizes, blank)


def total(
    problem: TensorProblem,
    *,
    weights: Tensor | None = None,
    gradients: Gradients[Tensor] | None = None,
    threads: int | None = None,
) -> Totals[Tensor]:
    """The log-scores of all samples. Writes those gradients of Σ weights·(-score) that are given.

    Args:
        problem: lattices from :func:`ctc_lattices`, or any others without long arcs.
        weights: float64 (N,), 1 by default.
        gradients: tensors to write to, with any strides; the scores' gradient has their dtype, the others are float64.
        threads: ignored.
    """
    wanted: Gradients[Tensor] = Gradients() if gradients is None else gradients
    keep = bool(wanted.arrays())
    swept = Sweep(problem, keep=keep, wanted=wanted)
    swept.write(wanted, weights)
    return Totals(swept.score, swept.status)


def posteriors(problem: TensorProblem, *, threads: int | None = None) -> Posteriors[Tensor]:
    """The occupancies by state and by class."""
    swept = Sweep(problem, keep=True)
    frames, size, _, pairs = swept.batch.sizes
    states = torch.empty((frames, size, 2 * pairs - 1), dtype=_real(problem.scores), device=problem.scores.device)
    classes = torch.empty(problem.scores.shape, dtype=problem.scores.dtype, device=problem.scores.device)
    swept.occupancies(states, classes)
    return Posteriors(states[..., : problem.lattices.labels.shape[1]], classes, swept.score, swept.status)


def best_path(problem: TensorProblem, *, threads: int | None = None) -> BestPaths[Tensor]:
    """The most probable path of each sample.

    Of equally good paths it takes the one with the lowest states, compared from the end. Maxima are computed in the
    scores' precision, at least float32. So in float32 the path may be worse than the best by a rounding error; its own
    score is summed in float64.

    Long paths of few samples are found on the CPU, where its kernel is estimated to be quicker, copies included: for
    one sample roughly from 10,000 frames and 1,000 tokens (``cpu.is_quicker_on_cpu``). Then the host waits, and the
    score may differ in its last digits from that found on the GPU. In a CUDA graph all are found on the GPU.

    Args:
        problem: lattices from :func:`ctc_lattices`, or any others without long arcs.
        threads: how many threads a call on the CPU may use.
    """
    _refuse_long_arcs(problem)
    if is_quicker_on_cpu(_sizes(problem), problem.scores.element_size()) and can_wait(problem.scores):
        return best_path_on_cpu(problem, threads)
    device = problem.scores.device
    with _on(device):
        batch = _batch(problem, softmax=problem.from_logits)
        path = torch.empty((batch.sizes.size, batch.sizes.frames), dtype=torch.int32, device=device)
        results = _bytes(results_size(batch.sizes), device)
        scratch, kept = _bytes(path_size(batch), device), _bytes(kept_size(batch, keep=False), device)
        read_rows(batch, scratch, kept, table=False)
        find_best(batch, scratch, path, results)
    return BestPaths(path, *_score_and_status(results, batch.sizes.size))


class Sweep:
    """The sweeps over a batch: they compute its log-scores and, for gradients, its occupancies.

    Args:
        problem: as for :func:`total`.
        keep: whether occupancies are needed.
        wanted: which gradients are needed besides that of the scores.
        loss: written, if given.

    Attributes:
        batch: the kernels' input.
        score: float64 (N,), in nats.
        status: uint8 (N,), a :class:`ctckit.Status` for each sample.
        loss: the loss, until somebody takes it.
        kept: the block that gradients are written from. Autograd may store it elsewhere between the two passes.
    """

    def __init__(
        self, problem: TensorProblem, *, keep: bool, wanted: Gradients[Tensor] | None = None, loss: Loss | None = None
    ) -> None:
        of_states, count = _of_states(wanted), wanted is not None and wanted.entry_costs is not None
        device, adds_softmax = problem.scores.device, wanted is not None and wanted.adds_softmax
        with _on(device):
            self.batch = batch = _batch(problem, general=of_states, softmax=problem.from_logits or adds_softmax)
            self._results = _bytes(results_size(batch.sizes), device)
            kept = _bytes(kept_size(batch, keep=keep, count=count), device)
            scratch = _bytes(sums_size(batch, keep=keep), device)
            if count:
                _counts(batch, kept).zero_()
            if keep and batch.general:
                _sort_states(batch)
            read_rows(batch, scratch, kept, table=True)
            sweep(batch, scratch, kept, keep=keep, count=count)
            add_up(batch, scratch, self._results, loss)
        self.score, self.status = _score_and_status(self._results, batch.sizes.size)
        self.kept: Tensor | None = kept
        self.loss: Tensor | None = None if loss is None else loss.out

    def gradient(self, grad: Tensor, weights: Tensor | None = None, factor: Tensor | None = None) -> None:
        """Writes the gradient of Σ weights·(-score) by the scores to ``grad``. May be called any number of times.

        Args:
            grad: (T, N, C), written.
            weights: float64 (N,), 1 by default.
            factor: (N,), or () for all samples: weights are multiplied by it; any float dtype.
        """
        self._write(grad, None, self._weights(weights), factor, softmax=self.batch.softmax)

    def occupancies(self, states: Tensor, classes: Tensor) -> None:
        """Writes γ by state (T, N, 2·pairs - 1) and by class (T, N, C)."""
        # Without the softmax the gradient is -γ by class; a weight of -1 makes it γ.
        self._write(classes, states, -self._weights(None), softmax=False)

    def write(self, gradients: Gradients[Tensor], weights: Tensor | None = None) -> None:
        """Writes all gradients of Σ weights·(-score) that are given; the sweep must have been made for them."""
        factors = self._weights(weights)
        if gradients.scores is not None:
            self.gradient(gradients.scores, factors)
        if _of_states(gradients):
            self._write_by_state(gradients, factors)
        if gradients.long_arc_scores is not None:
            gradients.long_arc_scores.zero_()  # there are no long arcs

    def _write_by_state(self, gradients: Gradients[Tensor], weights: Tensor) -> None:
        """Writes gradients that are sums over frames: from how long states are visited, and how often entered."""
        kept = self._kept()
        frames = _piece(self.batch.lattice, 0, torch.int64, self.batch.sizes.size)
        # The sums are kept like the occupancies of a single frame. So a gradient by class is that of this frame.
        once = self.batch._replace(sizes=self.batch.sizes._replace(frames=1), double=True)
        summed = _bytes(kept_size(once, keep=True), kept.device)
        visits = _occupancies(once, summed)
        sums = visits.new_empty(len(frames))
        with _on(kept.device):
            count_visits(self.batch, kept, visits, sums)
            if gradients.class_scores is not None:
                out = gradients.class_scores[None]
                write_gradient(once, summed, self._results, weights * frames, out, softmax=False)
        # A path is in one state per frame, so the sum over states gives the common factor of all occupancies.
        factor = (weights * frames / torch.where(sums > 0, sums, 1))[:, None, None]
        if gradients.state_scores is not None:
            self._write_states(gradients.state_scores, -visits * factor)
        if gradients.entry_costs is not None:
            self._write_states(gradients.entry_costs, _counts(self.batch, kept).sum(dim=1) * factor)

    def _write_states(self, out: Tensor, pairs: Tensor) -> None:
        """Writes values of pairs in the order of states; 0 for a sample without a path, NaN for an invalid sample."""
        values = pairs.transpose(1, 2).flatten(1)[:, : out.shape[1]]
        status = self.status[:, None]
        without = torch.where(status >= Status.NOT_FINITE, torch.nan, 0.0).to(values)
        out.copy_(torch.where(status == Status.OK, values, without))

    def _write(
        self, grad: Tensor, states: Tensor | None, weights: Tensor, factor: Tensor | None = None, *, softmax: bool
    ) -> None:
        kept = self._kept()
        with _on(grad.device):
            write_gradient(self.batch, kept, self._results, weights, grad, states, factor, softmax=softmax)

    def _weights(self, weights: Tensor | None) -> Tensor:
        if weights is None:
            return torch.ones(self.batch.sizes.size, dtype=torch.float64, device=self.score.device)
        return weights.double().contiguous()

    def _kept(self) -> Tensor:
        if self.kept is None:
            raise RuntimeError("the occupancies of this sweep are gone")
        return self.kept


def _of_states(gradients: Gradients[Tensor] | None) -> bool:
    """Whether gradients are needed that CTC's fast path can't compute."""
    if gradients is None:
        return False
    return any(array is not None for array in (gradients.class_scores, gradients.state_scores, gradients.entry_costs))


def _real(scores: Tensor) -> torch.dtype:
    """The dtype that sums are computed in."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def _batch(problem: TensorProblem, *, softmax: bool, general: bool = False) -> Batch:
    """The kernels' input. CTC's own lattices take the fast path, if nothing is added to scores."""
    scores, lattices = problem.scores.detach(), problem.lattices
    double = scores.dtype == torch.float64
    if isinstance(lattices, CTCLattices):
        added = problem.class_scores is not None or problem.state_scores is not None
        if PLAIN and not (general or added):
            sizes, block = lattices.sizes, lattices.block
            return Batch(scores, problem.from_logits, softmax, lattices.blank, sizes, block, False, double)
    _refuse_long_arcs(problem)
    sizes = _sizes(problem)
    return Batch(scores, problem.from_logits, softmax, 0, sizes, _lay_out(problem, sizes), True, double)


def _refuse_long_arcs(problem: TensorProblem) -> None:
    if not isinstance(problem.lattices, CTCLattices) and len(problem.lattices.long_arcs):
        raise cannot_take("triton", "long arcs", "pass the scores on the CPU")


def _sizes(problem: TensorProblem) -> Sizes:
    if isinstance(problem.lattices, CTCLattices):
        return problem.lattices.sizes
    frames, size, classes = problem.scores.shape
    return Sizes(frames, size, classes, problem.lattices.labels.shape[1] // 2 + 1)


def _lay_out(problem: TensorProblem, sizes: Sizes) -> Tensor:
    """Lays out lattices of any shape in pairs."""
    lattices, device = problem.lattices, problem.scores.device
    block = _bytes(lattice_size(sizes, general=True), device)
    known = lattices.status if isinstance(lattices, CTCLattices) else None
    lay_out_states(
        lattices.labels.contiguous(),
        lattices.arcs.contiguous(),
        lattices.tokens.contiguous(),
        lattices.num_states.contiguous(),
        lattices.frames.contiguous(),
        block,
        sizes,
        entry_costs=_nats(lattices.entry_costs),
        class_scores=_nats(problem.class_scores),
        state_scores=_nats(problem.state_scores),
        known=known,
    )
    if known is None:
        rows = _bytes(2 * sizes.size * sizes.pairs if row_block(sizes.pairs).tiled else 0, device)
        find_infeasible(block, rows, sizes)
    return block


def _sort_states(batch: Batch) -> None:
    """Finds the order of the states of general lattices, and the runs of their classes."""
    _, size, classes, pairs = batch.sizes
    _, _, of_labels, of_order, of_ranges, _, _ = lattice_places.fn(size, classes, pairs, True)
    labels, order = (_piece(batch.lattice, begin, torch.int32, size, 2 * pairs) for begin in (of_labels, of_order))
    ranges = _piece(batch.lattice, of_ranges, torch.int32, 2, size, classes)
    common = _piece(batch.lattice, 28 * size, torch.int32, size)
    in_order, states = labels.sort(dim=1, stable=True)
    order.copy_(states)
    every = torch.arange(classes, dtype=torch.int32, device=labels.device).expand(size, -1).contiguous()
    for out, right in zip(ranges, (False, True), strict=True):
        out.copy_(torch.searchsorted(in_order, every, right=right, out_int32=True))
    common.copy_((ranges[1] - ranges[0]).argmax(dim=1))


def _nats(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().double().contiguous()


def _bytes(count: int, device: torch.device) -> Tensor:
    return torch.empty(count, dtype=torch.uint8, device=device)


def _piece(block: Tensor, begin: int, dtype: torch.dtype, *shape: int) -> Tensor:
    """A piece of a block as a tensor, which shares its memory."""
    return block[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)


def _occupancies(batch: Batch, kept: Tensor) -> Tensor:
    """The occupancies (N, 2, pairs) of a kept block for one frame."""
    frames, size, _, pairs = batch.sizes
    begin = kept_places.fn(size, frames, pairs, batch.double)[2]
    return _piece(kept, begin, torch.float64, size, 2, pairs)


def _counts(batch: Batch, kept: Tensor) -> Tensor:
    """How often each state is entered: float64 (N, 2, 2, pairs), in two parts."""
    frames, size, _, pairs = batch.sizes
    begin = kept_places.fn(size, frames, pairs, batch.double)[3]
    return _piece(kept, begin, torch.float64, size, 2, 2, pairs)


def _score_and_status(results: Tensor, size: int) -> tuple[Tensor, Tensor]:
    return _piece(results, 0, torch.float64, size), results[8 * size :]


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
