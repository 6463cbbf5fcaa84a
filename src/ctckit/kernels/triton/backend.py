"""The backend for torch tensors: allocates memory and launches kernels. Only this module and cpu.py need torch.

The host does not wait for the device, except for best paths that are found on the CPU. Errors in a sample are found on
the device and become its status. The order of sums depends only on the sample, so results do not depend on the rest of
the batch, and are the same bit for bit in every run; again except for those of the CPU. May import torch, triton,
ctckit/problem.py, ctckit/results.py, kernels/backend.py and the modules beside it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ...problem import Problem
from ...results import BestPaths, Posteriors, Status
from ..backend import Gradients, Totals, cannot_take
from .batch import Batch, Rows
from .best import find_best
from .cpu import best_path_on_cpu, can_wait, is_quicker_on_cpu
from .gradient import count_visits, write_gradient
from .lattice import PLAIN, Runs, States, lay_out
from .memory import packed
from .pairs import find_infeasible, lay_out_states
from .rows import read_rows
from .sums import Sums, add_up
from .sweep import sweep
from .trace import Memory, Paths, memory_shapes
from .tuning import Sizes, lanes, row_block

TensorProblem = Problem[Tensor]


@dataclass(frozen=True, eq=False)
class CTCLattices:
    """CTC's lattices on the device: a ``problem.LatticeBatch`` for which the kernels have a fast path.

    State 2s+1 is token s, and the other states emit the blank. Attributes that only other backends read are computed
    when they are asked for.

    Attributes:
        states: the lattices as the kernels read them. Samples whose status is not OK have no frames here.
        share: float64 (N,), the weight of each sample in a mean over the batch of scores per token.
        runs: which tokens are equal.
        sizes: T, N, C, and the number of pairs of states for the longest target.
        blank: the blank's class.
    """

    states: States
    share: Tensor
    runs: Runs
    sizes: Sizes
    blank: int

    @property
    def status(self) -> Tensor:
        """uint8 (N,): OK, INFEASIBLE or INVALID, found from targets and lengths only."""
        return self.states.status.to(torch.uint8)

    @property
    def frames(self) -> Tensor:
        """int64 (N,)."""
        return self.states.frames

    @property
    def num_tokens(self) -> Tensor:
        """int64 (N,)."""
        return self.states.lengths

    @property
    def num_states(self) -> Tensor:
        """int32 (N,)."""
        return (2 * self.states.lengths + 1).int()

    @cached_property
    def labels(self) -> Tensor:
        """int32 (N, K)."""
        labels = torch.full((self.sizes.size, 2 * self.sizes.pairs - 1), self.blank, device=self.frames.device)
        labels[:, 1::2] = self.states.labels.clamp(max=self.sizes.classes - 1)
        return labels.int()

    @cached_property
    def arcs(self) -> Tensor:
        """uint8 (N, K); 0 for a sample without a path, so that it doesn't look like an empty target."""
        arcs = self.states.arcs.transpose(1, 2).flatten(1)[:, :-1]
        return arcs.masked_fill((self.states.status == Status.INFEASIBLE)[:, None], 0).contiguous()

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
        return torch.empty((0, 3), dtype=torch.int32, device=self.frames.device)

    @property
    def long_arc_scores(self) -> Tensor:
        """float64 (0,)."""
        return torch.empty(0, dtype=torch.float64, device=self.frames.device)


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
    states = States(
        torch.empty((size, sizes.pairs - 1), dtype=torch.int32, device=device),
        torch.empty((size, 2, sizes.pairs), dtype=torch.uint8, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int64, device=device),
        torch.empty(size, dtype=torch.int32, device=device),
    )
    share = torch.empty(size, dtype=torch.float64, device=device)
    runs = Runs(
        torch.empty((size, sizes.pairs - 1), dtype=torch.int32, device=device),
        torch.empty((2, size, classes), dtype=torch.int32, device=device),
    )
    begins = target_lengths.long().cumsum(0) - target_lengths if targets.ndim == 1 else target_lengths
    with _on(device):
        lay_out(
            targets, begins, input_lengths.contiguous(), target_lengths.contiguous(), states, share, runs, sizes, blank
        )
    return CTCLattices(states, share, runs, sizes, blank)


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
    device, real = problem.scores.device, _real(problem.scores)
    with _on(device):
        batch = _batch(problem, softmax=problem.from_logits)
        paths = Paths(
            torch.empty((batch.sizes.size, batch.sizes.frames), dtype=torch.int32, device=device),
            torch.empty(batch.sizes.size, dtype=torch.float64, device=device),
            torch.empty(batch.sizes.size, dtype=torch.uint8, device=device),
        )
        dtypes = torch.int32, torch.int32, real, torch.int32, torch.int32, torch.float64
        shapes = zip(memory_shapes(batch.sizes), dtypes, strict=True)
        memory = Memory(*(torch.empty(shape, dtype=dtype, device=device) for shape, dtype in shapes))
        find_best(batch, _read_rows(batch, table=False), memory, paths)
    return BestPaths(*paths)


class Sweep:
    """The sweeps over a batch: they compute its log-scores and, for gradients, its occupancies.

    Args:
        problem: as for :func:`total`.
        keep: whether occupancies are needed.
        wanted: which gradients are needed besides that of the scores.

    Attributes:
        batch: the kernels' input.
        score: float64 (N,), in nats.
        status: uint8 (N,), a :class:`ctckit.Status` for each sample.
        occupancy: (N, T, 2, pairs), not normalised. Autograd may store it elsewhere between the two passes.
    """

    def __init__(self, problem: TensorProblem, *, keep: bool, wanted: Gradients[Tensor] | None = None) -> None:
        of_states, count = _of_states(wanted), wanted is not None and wanted.entry_costs is not None
        device, real = problem.scores.device, _real(problem.scores)
        self._lattices = problem.lattices
        with _on(device):
            adds_softmax = wanted is not None and wanted.adds_softmax
            self.batch = batch = _batch(problem, general=of_states, softmax=problem.from_logits or adds_softmax)
            rows = _read_rows(batch, table=True)
            frames, size, _, pairs = batch.sizes
            kept, edges = (size, frames, 2, pairs), (size, 2, 2, pairs)
            parts = lanes(pairs).parts
            exponents = (size, frames, pairs) if packed(batch) else kept
            passed = (size, 2, parts, 2, frames) if parts > 1 else 0
            sums = Sums(
                torch.empty(kept if keep else 0, dtype=real, device=device),
                torch.empty(exponents if keep else 0, dtype=torch.int32, device=device),
                torch.empty(edges, dtype=real, device=device),
                torch.empty(edges, dtype=torch.int32, device=device),
                torch.empty(passed, dtype=real, device=device),
                torch.empty(passed, dtype=torch.int32, device=device),
                (torch.zeros if count else torch.empty)(edges if count else 0, dtype=torch.float64, device=device),
                torch.empty(size, dtype=torch.float64, device=device),
                torch.empty(size, dtype=torch.uint8, device=device),
            )
            sweep(batch, rows, sums, keep=keep, count=count)
            add_up(batch, rows, sums)
        self.score, self.status = sums.score, sums.status
        self.occupancy: Tensor | None = sums.occupancy
        # What the gradient does not need is freed. A slice of it would keep its memory.
        free = sums.score
        self._rows = rows._replace(top=free, wide=free, offset=free, table=free, progress=free)
        self._sums = sums._replace(
            occupancy=free, exponents=free, edges_m=free, edges_e=free, passed_m=free, passed_e=free
        )

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
        frames, occupancy = self.batch.states.frames, self._occupancy()
        shape = len(frames), *occupancy.shape[2:]
        visits = torch.empty(shape, dtype=torch.float64, device=occupancy.device)
        sums = visits.new_empty(len(frames))
        with _on(visits.device):
            count_visits(self.batch, occupancy, visits, sums)
        if gradients.class_scores is not None:
            self._write_by_class(gradients.class_scores, visits, weights)
        # A path is in one state per frame, so the sum over states gives the common factor of all occupancies.
        factor = (weights * frames / torch.where(sums > 0, sums, 1))[:, None, None]
        if gradients.state_scores is not None:
            self._write_states(gradients.state_scores, -visits * factor)
        if gradients.entry_costs is not None:
            self._write_states(gradients.entry_costs, self._sums.counts.sum(dim=1) * factor)

    def _write_states(self, out: Tensor, pairs: Tensor) -> None:
        """Writes values of pairs in the order of states; 0 for a sample without a path, NaN for an invalid sample."""
        values = pairs.transpose(1, 2).flatten(1)[:, : out.shape[1]]
        status = self.status[:, None]
        without = torch.where(status >= Status.NOT_FINITE, torch.nan, 0.0).to(values)
        out.copy_(torch.where(status == Status.OK, values, without))

    def _write_by_class(self, out: Tensor, visits: Tensor, weights: Tensor) -> None:
        """Writes a gradient by class, computed as that of a single frame whose occupancies are the visits."""
        states = self.batch.states
        once = states._replace(frames=states.frames.clamp(max=1))
        batch = self.batch._replace(states=once, sizes=self.batch.sizes._replace(frames=1))
        sums = self._sums._replace(occupancy=visits)
        with _on(out.device):
            write_gradient(batch, self._rows, sums, self._runs, weights * states.frames, out[None], softmax=False)

    def _write(
        self, grad: Tensor, states: Tensor | None, weights: Tensor, factor: Tensor | None = None, *, softmax: bool
    ) -> None:
        sums = self._sums._replace(occupancy=self._occupancy())
        with _on(grad.device):
            write_gradient(self.batch, self._rows, sums, self._runs, weights, grad, states, factor, softmax=softmax)

    @cached_property
    def _runs(self) -> Runs:
        """The states of each sample in the order of their labels."""
        lattices, states = self._lattices, self.batch.states
        if isinstance(lattices, CTCLattices) and not states.general:
            return lattices.runs
        labels, order = states.labels.flatten(1).sort(dim=1, stable=True)
        classes = torch.arange(self.batch.sizes.classes, dtype=labels.dtype, device=labels.device)
        classes = classes.expand(len(labels), -1).contiguous()
        ends = [torch.searchsorted(labels, classes, right=right, out_int32=True) for right in (False, True)]
        return Runs(order.int(), torch.stack(ends), (ends[1] - ends[0]).argmax(dim=1).int())

    def _weights(self, weights: Tensor | None) -> Tensor:
        if weights is None:
            return torch.ones(self.batch.sizes.size, dtype=torch.float64, device=self.score.device)
        return weights.double().contiguous()

    def _occupancy(self) -> Tensor:
        if self.occupancy is None:
            raise RuntimeError("the occupancies of this sweep are gone")
        return self.occupancy


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
    if isinstance(lattices, CTCLattices):
        added = problem.class_scores is not None or problem.state_scores is not None
        if PLAIN and not (general or added):
            return Batch(scores, problem.from_logits, softmax, lattices.blank, lattices.sizes, lattices.states)
    _refuse_long_arcs(problem)
    sizes = _sizes(problem)
    return Batch(scores, problem.from_logits, softmax, 0, sizes, _states(problem, sizes))


def _refuse_long_arcs(problem: TensorProblem) -> None:
    if not isinstance(problem.lattices, CTCLattices) and len(problem.lattices.long_arcs):
        raise cannot_take("triton", "long arcs", "pass the scores on the CPU")


def _sizes(problem: TensorProblem) -> Sizes:
    if isinstance(problem.lattices, CTCLattices):
        return problem.lattices.sizes
    frames, size, classes = problem.scores.shape
    return Sizes(frames, size, classes, problem.lattices.labels.shape[1] // 2 + 1)


def _states(problem: TensorProblem, sizes: Sizes) -> States:
    """Lays out lattices of any shape in pairs."""
    lattices, device = problem.lattices, problem.scores.device
    shape = sizes.size, 2, sizes.pairs
    states = States(
        torch.empty(shape, dtype=torch.int32, device=device),
        torch.empty(shape, dtype=torch.uint8, device=device),
        torch.empty(sizes.size, dtype=torch.int64, device=device),
        torch.empty(sizes.size, dtype=torch.int64, device=device),
        torch.empty(sizes.size, dtype=torch.int32, device=device),
        torch.empty(shape, dtype=torch.float64, device=device),
        torch.empty(shape, dtype=torch.float64, device=device),
        torch.empty(sizes.size, dtype=torch.int64, device=device),
    )
    known = lattices.states.status if isinstance(lattices, CTCLattices) else None
    lay_out_states(
        lattices.labels.contiguous(),
        lattices.arcs.contiguous(),
        lattices.tokens.contiguous(),
        lattices.num_states.contiguous(),
        lattices.frames.contiguous(),
        states,
        sizes,
        entry_costs=_nats(lattices.entry_costs),
        class_scores=_nats(problem.class_scores),
        state_scores=_nats(problem.state_scores),
        known=known,
    )
    if known is None:
        rows = torch.empty(shape if row_block(sizes.pairs).tiled else 0, dtype=torch.uint8, device=device)
        find_infeasible(states, rows, sizes)
    return states


def _nats(values: Tensor | None) -> Tensor | None:
    return None if values is None else values.detach().double().contiguous()


def _read_rows(batch: Batch, *, table: bool) -> Rows:
    device, real = batch.scores.device, _real(batch.scores)
    shape = batch.sizes.size, batch.sizes.frames
    statistics = shape if batch.softmax else (0,)
    peak, inverse, rest = (torch.empty(statistics, dtype=real, device=device) for _ in range(3))
    columns = (2 if batch.states.general else 1) * batch.sizes.pairs
    programs = 2 * batch.sizes.size * lanes(batch.sizes.pairs).parts
    rows = Rows(
        torch.empty(shape, dtype=real, device=device),
        torch.empty(shape, dtype=torch.int8, device=device),
        torch.empty(shape, dtype=torch.float64, device=device),
        peak,
        inverse,
        rest,
        torch.empty((*shape, columns) if table else 0, dtype=real, device=device),
        torch.empty(programs + 1 if table else 0, dtype=torch.int32, device=device),
    )
    read_rows(batch, rows, table=table)
    return rows


def _on(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
