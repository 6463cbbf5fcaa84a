"""The GPU kernels, in Triton, as operations of XLA, which the package jax-triton makes of them; for targets only.

The launches are those of kernels/triton/, in the same order, on memory that XLA allocates: kernels write to jax's
references, which are arrays again when all launches are noted. May import jax, jax-triton, kernels.triton, lattices.py,
later.py and spread.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp

from ..lattices import Array, Sums, TargetArrays, real_of
from .later import later
from .spread import Result, by_samples, shapes

if TYPE_CHECKING:
    from ...kernels.triton.batch import Batch

PLATFORM = "cuda"  # where these kernels run
OLDEST = (0, 4)  # of jax-triton: older versions can't write to an argument


def is_installed() -> bool:
    """Whether there is a jax-triton that can launch the kernels."""
    try:
        numbers = re.findall(r"\d+", version("jax-triton"))
    except PackageNotFoundError:
        return False
    return tuple(map(int, numbers[:2])) >= OLDEST


def sums(scores: Array, batch: TargetArrays, *, from_logits: bool, wants_grad: bool, blank: int) -> Sums:
    """Sums over all paths of each sample.

    Args:
        scores: (N, T, C).
        batch: the samples' targets; lengths and tokens may be wrong, which gives NaN.
        from_logits: whether scores are normalised first.
        wants_grad: whether the gradient is computed.
        blank: the blank's class.
    """
    results = (Result("n", real_of(scores.dtype)), Result("n t c", scores.dtype))[: 1 + wants_grad]
    return Sums(*_spread(_sums, results, from_logits, wants_grad, blank)(scores, *batch))


def best_states(scores: Array, batch: TargetArrays, *, from_logits: bool, blank: int) -> tuple[Array, Array]:
    """The states (N, T) of each sample's most probable path, -1 where there is none, and its status (N,).

    Args:
        scores: as for :func:`sums`, and so all others.
        batch: the samples' targets.
        from_logits: whether scores are normalised first.
        blank: the blank's class.
    """
    results = Result("n t", jnp.int32), Result("n", jnp.uint8)
    states, status = _spread(_best_states, results, from_logits, blank)(scores, *batch)
    return states, status


def posteriors(scores: Array, batch: TargetArrays, *, blank: int) -> tuple[Array, Array, Array]:
    """Log-scores (N,), statuses (N,) and occupancies of states (N, T, K); scores are log-probabilities.

    Args:
        scores: as for :func:`sums`, and so all others.
        batch: the samples' targets.
        blank: the blank's class.
    """
    real = real_of(scores.dtype)
    results = Result("n", real), Result("n", jnp.uint8), Result("t n k", real)
    score, status, occupancy = _spread(_posteriors, results, blank)(scores, *batch)
    return score, status, occupancy.swapaxes(0, 1)


@lru_cache(maxsize=256)
def _spread(compute: Callable[..., Any], results: tuple[Result, ...], *options: Any) -> Callable[..., Any]:
    """A function of scores and targets as an operation that XLA spreads over devices.

    It is traced, and jax-triton imported, where it is lowered for a GPU.
    """

    def on_one_device(scores: Array, *batch: Array) -> tuple[Array, ...]:
        found: tuple[Array, ...] = compute(scores, TargetArrays(*batch), *options)
        return found

    def made(scores: Array, *batch: Array) -> Any:
        return shapes(results, scores, TargetArrays(*batch).max_states)

    return by_samples(later(on_one_device, made), ("n t c", "n s", "n", "n"), results)


def _sums(scores: Array, targets: TargetArrays, from_logits: bool, wants_grad: bool, blank: int) -> tuple[Array, ...]:
    from ...kernels.triton.gradient import write_gradient

    batch = _batch(scores, targets, from_logits, blank)
    memory = {"loss": _Memory((batch.sizes.size,), real_of(scores.dtype))}
    if wants_grad:
        memory["grad"] = _Memory(scores.shape, scores.dtype, _BY_FRAME)

    def launches(loss: _Block, grad: _Block | None = None, **blocks: _Block) -> None:
        laid_out = _swept(batch, targets, loss, keep=wants_grad, **blocks)
        if grad is not None:
            weights = _Block(jnp.ones(batch.sizes.size))
            write_gradient(laid_out, blocks["kept"], blocks["results"], weights, grad, softmax=from_logits)

    written = _noted(launches, memory | _blocks_for_sums(batch, keep=wants_grad))
    return tuple(written[name] for name in memory)


def _posteriors(scores: Array, targets: TargetArrays, blank: int) -> tuple[Array, ...]:
    from ...kernels.triton.gradient import write_gradient

    batch = _batch(scores, targets, False, blank)
    frames, size, _, pairs = batch.sizes
    memory = {
        "loss": _Memory((size,), real_of(scores.dtype)),
        "states": _Memory((frames, size, 2 * pairs - 1), real_of(scores.dtype)),
        "classes": _Memory(scores.shape, scores.dtype, _BY_FRAME),  # the kernel writes it, too; nobody wants it
    }

    def launches(loss: _Block, states: _Block, classes: _Block, **blocks: _Block) -> None:
        laid_out = _swept(batch, targets, loss, keep=True, **blocks)
        weights = _Block(jnp.ones(size))
        write_gradient(laid_out, blocks["kept"], blocks["results"], weights, classes, states, softmax=False)

    written = _noted(launches, memory | _blocks_for_sums(batch, keep=True))
    return -written["loss"], _statuses(written), written["states"]


def _best_states(scores: Array, targets: TargetArrays, from_logits: bool, blank: int) -> tuple[Array, ...]:
    from ...kernels.triton import best, blocks, rows, trace

    batch = _batch(scores, targets, from_logits, blank)

    def launches(lattice: _Block, scratch: _Block, kept: _Block, results: _Block, states: _Block) -> None:
        laid_out = _laid_out(batch, targets, lattice)
        rows.read_rows(laid_out, scratch, kept, table=False)
        best.find_best(laid_out, scratch, states, results)

    memory = {
        "lattice": _Memory(blocks.lattice_size(batch.sizes, general=False)),
        "scratch": _Memory(trace.path_size(batch)),
        "kept": _Memory(blocks.kept_size(batch, keep=False)),
        "results": _Memory(blocks.results_size(batch.sizes)),
        "states": _Memory((batch.sizes.size, batch.sizes.frames), jnp.int32),
    }
    written = _noted(launches, memory)
    return written["states"], _statuses(written)


def _batch(scores: Array, targets: TargetArrays, from_logits: bool, blank: int) -> Batch:
    """The kernels' input, still without lattices."""
    from ...kernels.triton import batch, tuning

    size, frames, classes = scores.shape
    sizes = tuning.Sizes(frames, size, classes, targets.targets.shape[1] + 1)
    is_double = scores.dtype == jnp.float64
    return batch.Batch(_Block(scores, _BY_FRAME), from_logits, from_logits, blank, sizes, None, False, is_double)


def _laid_out(batch: Batch, targets: TargetArrays, lattice: _Block) -> Batch:
    """The kernels' input with CTC's lattices."""
    from ...kernels.triton.lattice import lay_out

    tokens, input_lengths, target_lengths = map(_Block, targets)
    lay_out(tokens, target_lengths, input_lengths, target_lengths, lattice, batch.sizes, batch.blank)
    return batch._replace(lattice=lattice)


def _swept(
    batch: Batch,
    targets: TargetArrays,
    loss: _Block,
    lattice: _Block,
    scratch: _Block,
    kept: _Block,
    results: _Block,
    *,
    keep: bool,
) -> Batch:
    """The kernels' input with lattices, when the sweeps over it are noted."""
    from ...kernels.triton import rows, sums, sweep

    laid_out = _laid_out(batch, targets, lattice)
    rows.read_rows(laid_out, scratch, kept, table=True)
    sweep.sweep(laid_out, scratch, kept, keep=keep)
    sums.add_up(laid_out, scratch, results, sums.Loss(loss, None, lost_is_0=False))
    return laid_out


class _Memory(NamedTuple):
    """What kernels write to.

    Attributes:
        shape: of the array that it becomes.
        dtype: likewise.
        axes: the kernels' order of axes, if it is another.
    """

    shape: tuple[int, ...] | int
    dtype: Any = jnp.uint8
    axes: tuple[int, ...] | None = None


def _blocks_for_sums(batch: Batch, *, keep: bool) -> dict[str, _Memory]:
    """The blocks of blocks.py."""
    from ...kernels.triton import blocks

    return {
        "lattice": _Memory(blocks.lattice_size(batch.sizes, general=False)),
        "scratch": _Memory(blocks.sums_size(batch, keep=keep)),
        "kept": _Memory(blocks.kept_size(batch, keep=keep)),
        "results": _Memory(blocks.results_size(batch.sizes)),
    }


def _statuses(written: dict[str, Array]) -> Array:
    """The statuses of the block with results, behind scores in float64."""
    size = len(written["results"]) // 9
    return written["results"][8 * size :]


_BY_FRAME = 1, 0, 2  # the kernels' order of axes, of arrays (N, T, C)


def _noted(launches: Callable[..., None], memory: dict[str, _Memory]) -> dict[str, Array]:
    """What is in memory when kernels have written to it; before, it holds anything.

    ``run_state`` keeps the references to itself. With others, XLA could not spread the call over devices.
    """
    from jax.experimental.pallas import run_state

    def on_references(references: dict[str, Any]) -> None:
        launches(**{name: _Block(each, memory[name].axes, is_written=True) for name, each in references.items()})

    empty = {name: jnp.empty(each.shape, each.dtype) for name, each in memory.items()}
    written: dict[str, Array] = run_state(on_references)(empty)
    return written


class _Block:
    """Memory, or an array, as launches take it.

    Attributes:
        array: jax's array, or its reference to memory that kernels write to.
        is_written: whether it is such a reference.
        shape: of the axes in the kernels' order.
        ndim: the number of axes.
    """

    def __init__(self, array: Any, axes: tuple[int, ...] | None = None, *, is_written: bool = False) -> None:
        shape, strides = array.shape, [1] * len(array.shape)
        for axis in reversed(range(len(shape) - 1)):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        order = range(len(shape)) if axes is None else axes
        self.array, self.ndim, self.is_written = array, len(shape), is_written
        self.shape, self._strides = tuple(shape[axis] for axis in order), tuple(strides[axis] for axis in order)

    def stride(self, axis: int | None = None) -> Any:
        """How far apart neighbours are: along one axis, or along each."""
        return self._strides if axis is None else self._strides[axis]

    @staticmethod
    def launch(
        kernel: Any,
        grid: tuple[int, ...],
        *arguments: Any,
        num_warps: int,
        enable_fp_fusion: bool = True,
        **constants: Any,
    ) -> None:
        """Notes a launch. Memory that is given twice is a stand-in at its later places, where nothing is used."""
        import jax_triton

        given: list[Any] = []
        for each in arguments:
            array = each.array if isinstance(each, _Block) else each
            stands_in = isinstance(each, _Block) and each.is_written and any(array is other for other in given)
            given.append(jnp.empty(1, array.dtype) if stands_in else array)
        jax_triton.triton_call(
            *given,
            kernel=kernel,
            grid=grid,
            out_type=(),
            num_warps=num_warps,
            backend_options={"enable_fp_fusion": enable_fp_fusion},
            **constants,
        )
