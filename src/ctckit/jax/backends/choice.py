"""Which backend computes: C++ on the CPU, Triton on a GPU, jax's own operations elsewhere; and vmap over any of them.

The platform is the one that a call is lowered for, which jax may decide long after it was traced. May import jax,
the backends beside it, later.py, spread.py, lattices.py, kernels/, results.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from ...errors import CTCError, MissingExtraError
from ...kernels import native
from ...kernels.backend import cannot_take
from ...results import Status
from ..lattices import Array, Batch, LatticeArrays, Paths, States, Sums, TargetArrays, checked_lattices
from . import ffi, logarithms, paths, scan, triton
from .later import ONE_IS_LOWERED, later
from .spread import like_all

BACKENDS = ("ffi", "triton", "scan")
PLATFORMS = {"ffi": "CPUs", "triton": "NVIDIA's GPUs"}


class Options(NamedTuple):
    """What a call says besides its arrays; part of what is compiled.

    Attributes:
        backend: one of `BACKENDS`; None for that of the platform.
        from_logits: whether scores are normalised first.
        blank: the blank's class; for targets only.
        single: whether the caller knows one sample only; for messages.
        as_optax: whether the caller knows optax's arguments; for messages.
        threads: how many a call may use on the CPU.
        instruction_set: the C++ kernels'.
    """

    backend: str | None
    from_logits: bool
    blank: int = 0
    single: bool = False
    as_optax: bool = False
    threads: int = 0
    instruction_set: str = ""

    def now(self) -> Options:
        """With the threads and the instruction set that are chosen now."""
        return self._replace(threads=native.num_threads(None), instruction_set=native.instruction_set())


def sums(scores: Array, batch: Batch, options: Options, *, wants_grad: bool) -> Sums:
    """Sums over the paths of each sample.

    Args:
        scores: (N, T, C).
        batch: targets or lattices.
        options: of the call.
        wants_grad: whether gradients by all that is given are computed too.
    """
    found: Sums = _mapped(_sums, options.now(), wants_grad)(scores, batch)
    return found


def best_path(scores: Array, batch: Batch, options: Options) -> Paths:
    """The most probable path of each sample."""
    found: Paths = _mapped(_best_path, options.now())(scores, batch)
    return found


def posteriors(log_probs: Array, batch: Batch, options: Options) -> States:
    """Occupancies by state."""
    found: States = _mapped(_posteriors, options.now())(log_probs, batch)
    return found


def _sums(options: Options, wants_grad: bool) -> Callable[[Array, Batch], Sums]:
    def on_cpu(scores: Array, batch: Batch) -> Sums:
        return ffi.sums(
            scores,
            batch,
            from_logits=options.from_logits,
            wants_grad=wants_grad,
            blank=options.blank,
            single=options.single,
            as_optax=options.as_optax,
        )

    def on_gpu(scores: Array, batch: TargetArrays) -> Sums:
        return triton.sums(scores, batch, from_logits=options.from_logits, wants_grad=wants_grad, blank=options.blank)

    def elsewhere(scores: Array, batch: Batch) -> Sums:
        lattices, valid = checked_lattices(scores, batch, options.blank)
        are_ctc = isinstance(batch, TargetArrays)
        found = scan.sums(scores, lattices, from_logits=options.from_logits, wants_grad=wants_grad, are_ctc=are_ctc)
        return Sums(*jax.tree.map(partial(_where_valid, valid), tuple(found)))

    return _by_platform(options.backend, on_cpu, on_gpu, elsewhere)


def _best_path(options: Options) -> Callable[[Array, Batch], Paths]:
    def on_cpu(scores: Array, batch: Batch) -> Paths:
        return ffi.best_path(scores, batch, from_logits=options.from_logits, blank=options.blank, single=options.single)

    def on_gpu(scores: Array, batch: TargetArrays) -> Paths:
        states, status = triton.best_states(scores, batch, from_logits=options.from_logits, blank=options.blank)
        lattices, _ = checked_lattices(scores, batch, options.blank)
        return paths.along(scores, lattices, states, status, from_logits=options.from_logits)

    def elsewhere(scores: Array, batch: Batch) -> Paths:
        lattices, valid = checked_lattices(scores, batch, options.blank)
        found = paths.best_path(scores, lattices, from_logits=options.from_logits)
        score = _where_valid(valid, found.score)
        states = jnp.where(valid[:, None], found.states, -1)
        return Paths(score, _status_where_valid(valid, found.status), states, found.frame_scores)

    return _by_platform(options.backend, on_cpu, on_gpu, elsewhere)


def _posteriors(options: Options) -> Callable[[Array, Batch], States]:
    def on_cpu(scores: Array, batch: Batch) -> States:
        return ffi.posteriors(scores, batch, blank=options.blank, single=options.single)

    def on_gpu(scores: Array, batch: TargetArrays) -> States:
        return States(*triton.posteriors(scores, batch, blank=options.blank))

    def elsewhere(scores: Array, batch: Batch) -> States:
        lattices, valid = checked_lattices(scores, batch, options.blank)
        found = logarithms.posteriors(scores, lattices)
        score, occupancy = _where_valid(valid, found.score), _where_valid(valid, found.occupancy)
        return States(score, _status_where_valid(valid, found.status), occupancy)

    return _by_platform(options.backend, on_cpu, on_gpu, elsewhere)


def _by_platform(
    backend: str | None, on_cpu: Callable[..., Any], on_gpu: Callable[..., Any], elsewhere: Callable[..., Any]
) -> Callable[..., Any]:
    """The backend of the platform, or the one that was named; where it can't compute, an error when it is lowered."""

    def chosen(scores: Array, batch: Batch) -> Any:
        error = _why_not_scan(backend, batch)
        otherwise = elsewhere if error is None else _refusing(error)
        if backend == "scan":
            return otherwise(scores, batch)
        ways = {} if backend == "triton" else {"cpu": on_cpu}
        if backend != "ffi" and _has_triton(backend, scores, batch):
            ways[triton.PLATFORM] = on_gpu
        if error is None or ONE_IS_LOWERED:
            ways["default"] = later(otherwise, partial(jax.eval_shape, on_cpu))
        return lax.platform_dependent(scores, batch, **{platform: like_all(way) for platform, way in ways.items()})

    return chosen


def _refusing(error: CTCError) -> Callable[..., Any]:
    """What stands for a computation that there is not."""

    def refused(*_: Any) -> Any:
        raise error

    return refused


def _why_not_scan(backend: str | None, batch: Batch) -> CTCError | None:
    """The error where jax's operations can't stand in for kernels: another backend is named, or there are long arcs."""
    if backend in PLATFORMS:
        return CTCError(f"backend={backend!r} computes on {PLATFORMS[backend]} only: leave it out on other devices")
    return about_long_arcs(batch)


def _has_triton(backend: str | None, scores: Array, batch: Batch) -> bool:
    """Whether the GPU kernels can compute a call; if they are named, they must.

    Raises:
        CTCError: if they are named and can't.
    """
    if backend == "triton":
        if isinstance(batch, LatticeArrays):
            raise cannot_take("triton", "lattices of jax's arrays", "leave backend out")
        if not triton.is_installed():
            raise MissingExtraError('backend="triton"', "jax-gpu", "jax-triton>=0.4")
    return triton.is_installed() and isinstance(batch, TargetArrays) and min(scores.shape) > 0


def about_long_arcs(batch: Batch) -> CTCError | None:
    """The error where jax's operations would have to take long arcs."""
    if not isinstance(batch, LatticeArrays) or batch.long_arcs is None:
        return None
    return cannot_take(
        "scan",
        "long arcs",
        "on a CPU, without backend='scan', they have losses and first derivatives, but no second ones",
    )


@lru_cache(maxsize=256)
def _mapped(make: Callable[..., Callable[..., Any]], *options: Any) -> Callable[[Array, Batch], Any]:
    """An operation on arrays by sample, compiled, and mapped over by making more samples of what is mapped."""
    operation = custom_vmap(make(*options))

    @operation.def_vmap
    def rule(size: int, is_mapped: Any, scores: Array, batch: Batch) -> tuple[Any, Any]:
        if getattr(is_mapped[1], "class_scores", None):  # shared by all samples of a call
            found = _one_by_one(operation, size, is_mapped, scores, batch)
        else:
            mapped = is_mapped[0], _without_shared(is_mapped[1])
            rows = jax.tree.map(partial(_more_samples, size), (scores, _without_shared(batch)), mapped)
            found = operation(rows[0], _with_shared(rows[1], batch))
            found = jax.tree.map(lambda array: array.reshape(size, -1, *array.shape[1:]), found)
        return found, jax.tree.map(lambda _: True, found)

    return jax.jit(operation)


def _more_samples(size: int, array: Array, is_mapped: bool) -> Array:
    array = array if is_mapped else jnp.broadcast_to(array, (size, *array.shape))
    return array.reshape(-1, *array.shape[2:])


def _without_shared(batch: Any) -> Any:
    return batch._replace(class_scores=None) if isinstance(batch, LatticeArrays) else batch


def _with_shared(rows: Any, batch: Batch) -> Any:
    return rows._replace(class_scores=batch.class_scores) if isinstance(batch, LatticeArrays) else rows


def _one_by_one(operation: Callable[..., Any], size: int, is_mapped: Any, scores: Array, batch: Batch) -> Any:
    given = jax.tree.map(
        lambda array, mapped: array if mapped else jnp.broadcast_to(array, (size, *array.shape)),
        (scores, batch),
        tuple(is_mapped),
    )
    return lax.map(lambda each: operation(*each), given)


def _where_valid(valid: Array, found: Array) -> Array:
    return jnp.where(valid.reshape(-1, *[1] * (found.ndim - 1)), found, jnp.nan)


def _status_where_valid(valid: Array, status: Array) -> Array:
    return jnp.where(valid, status, jnp.uint8(Status.INVALID))
