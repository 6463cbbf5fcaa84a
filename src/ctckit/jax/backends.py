"""Which backend computes: C++ on the CPU, Triton on a GPU, jax's own operations elsewhere; and vmap over any of them.

    sums, best_path, posteriors    on arrays by sample, whatever the platform
    differentiable_loss            the loss with gradients of any order

The platform is the one that a call is lowered for, which jax may decide long after it was traced. May import jax,
the backends ffi.py, triton.py, scan.py, paths.py and logarithms.py, lattices.py, refused.py, spread.py, kernels/,
results.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from ..errors import CTCError, MissingExtraError
from ..kernels import native
from ..kernels.backend import cannot_take
from ..results import Status
from . import ffi, logarithms, paths, scan, triton
from .lattices import Array, Batch, LatticeArrays, Paths, States, Sums, TargetArrays, ctc_lattices
from .refused import ONE_IS_LOWERED, instead_of
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
        lattices, valid = _checked_lattices(scores, batch, options.blank)
        are_ctc = isinstance(batch, TargetArrays)
        found = scan.sums(scores, lattices, from_logits=options.from_logits, wants_grad=wants_grad, are_ctc=are_ctc)
        return Sums(*jax.tree.map(partial(_where_valid, valid), tuple(found)))

    return _by_platform(options.backend, on_cpu, on_gpu, elsewhere)


def _best_path(options: Options) -> Callable[[Array, Batch], Paths]:
    def on_cpu(scores: Array, batch: Batch) -> Paths:
        return ffi.best_path(scores, batch, from_logits=options.from_logits, blank=options.blank, single=options.single)

    def on_gpu(scores: Array, batch: TargetArrays) -> Paths:
        states, status = triton.best_states(scores, batch, from_logits=options.from_logits, blank=options.blank)
        lattices, _ = _checked_lattices(scores, batch, options.blank)
        return paths.along(scores, lattices, states, status, from_logits=options.from_logits)

    def elsewhere(scores: Array, batch: Batch) -> Paths:
        lattices, valid = _checked_lattices(scores, batch, options.blank)
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
        lattices, valid = _checked_lattices(scores, batch, options.blank)
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
        if backend == "scan" and error is None:
            return elsewhere(scores, batch)
        if backend == "scan" and error is not None:
            raise error
        ways = {} if backend == "triton" else {"cpu": on_cpu}
        if backend != "ffi" and _has_triton(backend, scores, batch):
            ways[triton.PLATFORM] = on_gpu
        if error is None:
            ways["default"] = elsewhere
        elif ONE_IS_LOWERED:
            ways["default"] = instead_of(on_cpu, error)
        return lax.platform_dependent(scores, batch, **{platform: like_all(way) for platform, way in ways.items()})

    return chosen


def _why_not_scan(backend: str | None, batch: Batch) -> CTCError | None:
    """The error where jax's operations can't stand in for kernels: another backend is named, or there are long arcs."""
    if backend in PLATFORMS:
        return CTCError(f"backend={backend!r} computes on {PLATFORMS[backend]} only: leave it out on other devices")
    return _about_long_arcs(batch)


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


def _about_long_arcs(batch: Batch) -> CTCError | None:
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


def _checked_lattices(scores: Array, batch: Batch, blank: int) -> tuple[LatticeArrays, Array]:
    """Lattices, and which samples' values are right: off the CPU, where nobody can raise an error, others give NaN."""
    frames = batch.num_frames
    valid = (frames >= 0) & (frames <= scores.shape[1])
    frames = jnp.clip(frames, 0, scores.shape[1])
    if isinstance(batch, LatticeArrays):
        return batch._replace(num_frames=frames), valid
    targets, lengths = batch.targets, batch.target_lengths
    valid &= (lengths >= 0) & (lengths <= targets.shape[1])
    lengths = jnp.clip(lengths, 0, targets.shape[1])
    wrong = (targets < 0) | (targets >= scores.shape[2]) | (targets == blank)
    valid &= ~(wrong & (jnp.arange(targets.shape[1]) < lengths[:, None])).any(1)
    return ctc_lattices(jnp.where(wrong, blank, targets), frames, lengths, blank), valid


def _where_valid(valid: Array, found: Array) -> Array:
    return jnp.where(valid.reshape(-1, *[1] * (found.ndim - 1)), found, jnp.nan)


def _status_where_valid(valid: Array, status: Array) -> Array:
    return jnp.where(valid, status, jnp.uint8(Status.INVALID))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def differentiable_loss(scores: Array, batch: Batch, options: Options) -> Array:
    """(N,) losses, differentiable by the scores and by what the lattices add to them."""
    return sums(scores, batch, options, wants_grad=False).loss


def _forward(scores: Array, batch: Batch, options: Options) -> tuple[Array, Any]:
    found = loss_and_gradients(scores, batch, options)
    return found.loss, (found, batch)


def _backward(options: Options, kept: tuple[Sums, Batch], cotangent: Array) -> tuple[Any, Any]:
    found, batch = kept

    def scaled(gradient: Array | None) -> Array | None:
        if gradient is None:
            return None
        factors = cotangent.reshape(-1, *[1] * (gradient.ndim - 1))
        return (gradient * factors).astype(gradient.dtype)  # in float32 at least, rounded once

    by_class = scaled(found.class_scores_grad)
    by_class = None if by_class is None else by_class.sum(0)
    others = (scaled(found.entry_costs_grad), scaled(found.state_scores_grad), by_class)
    return scaled(found.grad), _with_values(_no_cotangents(batch), *others)


differentiable_loss.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def loss_and_gradients(scores: Array, batch: Batch, options: Options) -> Sums:
    """Losses and each one's gradients, all of them differentiable once."""
    return sums(scores, batch, options, wants_grad=True)


def _forward_again(scores: Array, batch: Batch, options: Options) -> tuple[Sums, Any]:
    return loss_and_gradients(scores, batch, options), (scores, batch)


def _backward_again(options: Options, kept: tuple[Array, Batch], cotangents: Sums) -> tuple[Any, Any]:
    """Second derivatives: those of the gradients that sums in logarithms have."""
    scores, batch = kept
    if error := _about_long_arcs(batch):
        raise error
    lattices, _ = _checked_lattices(scores, batch, options.blank)
    values = scores, lattices.entry_costs, lattices.state_scores, lattices.class_scores

    def in_logarithms(scores: Array, costs: Array | None, by_state: Array | None, by_class: Array | None) -> Sums:
        rows = None if by_class is None else jnp.broadcast_to(by_class, (scores.shape[0], 1, *by_class.shape))

        def losses(scores: Array, costs: Array | None, by_state: Array | None, rows: Array | None) -> Array:
            with_rows = _with_values(lattices, costs, by_state, rows)
            return logarithms.loss(scores, with_rows, from_logits=options.from_logits)

        loss, derivatives = jax.vjp(losses, scores, costs, by_state, rows)
        grad, by_entry, state_grad, class_grad = derivatives(jnp.ones_like(loss))
        return Sums(loss, grad, None if class_grad is None else class_grad[:, 0], state_grad, by_entry)

    _, derivatives = jax.vjp(in_logarithms, *values)
    by_scores, *others = derivatives(cotangents)
    return by_scores, _with_values(_no_cotangents(batch), *others)


loss_and_gradients.defvjp(_forward_again, _backward_again)


def _no_cotangents(batch: Batch) -> Batch:
    """None in the place of each array."""
    return type(batch)(*[None] * len(batch))  # type: ignore[arg-type]


def _with_values(batch: Any, costs: Array | None, by_state: Array | None, by_class: Array | None) -> Any:
    if isinstance(batch, TargetArrays):
        return batch
    return batch._replace(entry_costs=costs, state_scores=by_state, class_scores=by_class)
