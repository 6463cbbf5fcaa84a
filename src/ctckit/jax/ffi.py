"""The C++ kernels as operations of XLA on the CPU, by its foreign function interface; the handlers are native/jax.cpp.

A batch that is spread over devices stays so: ``custom_partitioning`` tells XLA that samples are independent, without
which it would gather the whole batch on each device, silently. May import jax, lattices.py, spread.py, lattice/,
kernels.native, validate/ and the extension, native.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from .. import native as extension
from ..errors import CTCError
from ..kernels import native
from ..lattice import ARCS_BY_ROLE
from ..validate import Form, check_values
from .lattices import Array, Batch, Paths, States, Sums, TargetArrays, real_of
from .spread import axes_of

_TOKENS, _ENTRY_COSTS, _STATE_SCORES, _CLASS_SCORES = 1, 2, 4, 8  # bits of `given`, as in native/jax.cpp
_GRAD, _CLASS_SCORES_GRAD, _STATE_SCORES_GRAD, _ENTRY_COSTS_GRAD = 1, 2, 4, 8  # bits of `wanted`


def sums(
    scores: Array, batch: Batch, *, from_logits: bool, wants_grad: bool, blank: int = 0, single: bool = False
) -> Sums:
    """Sums over all paths of each sample.

    Args:
        scores: (N, T, C).
        batch: the samples' targets, or their lattices.
        from_logits: whether scores are normalised first.
        wants_grad: whether the gradients by all that is given are computed.
        blank: the blank's class; for targets only.
        single: whether the caller knows one sample, without a batch axis; for messages.
    """
    arrays, axes, given = _flattened(batch)
    size, _, classes = scores.shape
    real, wanted = real_of(scores.dtype), _GRAD * wants_grad
    results = [("n", jax.ShapeDtypeStruct((size,), real))]
    if wants_grad:
        results.append(("n t c", jax.ShapeDtypeStruct(scores.shape, scores.dtype)))
        for bit, wanted_bit, columns, letters in (
            (_CLASS_SCORES, _CLASS_SCORES_GRAD, classes, "n c"),
            (_STATE_SCORES, _STATE_SCORES_GRAD, batch.max_states, "n k"),
            (_ENTRY_COSTS, _ENTRY_COSTS_GRAD, batch.max_states, "n k"),
        ):
            if given & bit:
                wanted |= wanted_bit
                results.append((letters, jax.ShapeDtypeStruct((size, columns), real)))
    call = _Call("sums", _blank(batch, blank), given, from_logits, single, wanted)
    loss, *grads = _run(call, scores, arrays, axes, results)
    grad = grads.pop(0) if wants_grad else None
    left = iter(grads)
    by_class, by_state, by_entry = (
        next(left) if wants_grad and given & bit else None for bit in (_CLASS_SCORES, _STATE_SCORES, _ENTRY_COSTS)
    )
    return Sums(loss, grad, by_class, by_state, by_entry)


def posteriors(scores: Array, batch: Batch, *, blank: int = 0, single: bool = False) -> States:
    """Occupancies by state; arguments as for `sums`, scores are log-probabilities."""
    arrays, axes, given = _flattened(batch)
    size, frames, _ = scores.shape
    real = real_of(scores.dtype)
    results = [
        ("n", jax.ShapeDtypeStruct((size,), real)),
        ("n", jax.ShapeDtypeStruct((size,), jnp.uint8)),
        ("t n k", jax.ShapeDtypeStruct((frames, size, batch.max_states), real)),
    ]
    call = _Call("posteriors", _blank(batch, blank), given, False, single)
    score, status, occupancy = _run(call, scores, arrays, axes, results)
    return States(score, status, occupancy.swapaxes(0, 1))


def best_path(scores: Array, batch: Batch, *, from_logits: bool, blank: int = 0, single: bool = False) -> Paths:
    """The most probable path of each sample; arguments as for `sums`."""
    arrays, axes, given = _flattened(batch)
    size, frames, _ = scores.shape
    real = real_of(scores.dtype)
    results = [
        ("n", jax.ShapeDtypeStruct((size,), real)),
        ("n", jax.ShapeDtypeStruct((size,), jnp.uint8)),
        ("n t", jax.ShapeDtypeStruct((size, frames), jnp.int32)),
        ("n t", jax.ShapeDtypeStruct((size, frames), real)),
    ]
    call = _Call("best_path", _blank(batch, blank), given, from_logits, single)
    return Paths(*_run(call, scores, arrays, axes, results))


class _Call(NamedTuple):
    """What XLA's text of a call says besides its arrays; with its types and shapes it is one operation."""

    name: str
    blank: int
    given: int
    from_logits: bool
    single: bool
    wanted: int = 0


def _blank(batch: Batch, blank: int) -> int:
    return blank if isinstance(batch, TargetArrays) else -1


def _flattened(batch: Batch) -> tuple[list[Array], list[str], int]:
    """A batch's arrays in the order in which native/jax.cpp takes them, the letters of their axes, and `given`."""
    if isinstance(batch, TargetArrays):
        return list(batch), ["n s", "n", "n"], 0
    real = [batch.num_frames, batch.num_states, batch.labels, batch.arcs]
    axes, given = ["n", "n", "n k", "n k"], 0
    for bit, array, letters in (
        (_TOKENS, batch.tokens, "n k"),
        (_ENTRY_COSTS, batch.entry_costs, "n k"),
        (_STATE_SCORES, batch.state_scores, "n k"),
        (_CLASS_SCORES, batch.class_scores, "c"),
    ):
        if array is not None:
            real.append(array)
            axes.append(letters)
            given |= bit
    return real, axes, given


def _run(
    call: _Call,
    scores: Array,
    arrays: Sequence[Array],
    axes: Sequence[str],
    results: Sequence[tuple[str, jax.ShapeDtypeStruct]],
) -> list[Array]:
    """Calls a handler, device by device."""
    real = real_of(scores.dtype)
    floats = [array.astype(real) if jnp.issubdtype(array.dtype, jnp.floating) else array for array in arrays]
    letters = tuple(each for each, _ in results)
    dtypes = tuple(struct.dtype for _, struct in results)
    sizes = dict(zip("ntc", scores.shape, strict=True))
    for array, names in zip(arrays, axes, strict=True):
        sizes |= zip(names.split(), array.shape, strict=True)
    if "k" not in sizes:
        sizes["k"] = 2 * sizes["s"] + 1
    threads, isa = native.num_threads(None), native.instruction_set()
    best = native.instruction_sets()[-1]
    operation = _partitioned(call, ("n t c", *axes), letters, dtypes, sizes["k"], threads, "" if isa == best else isa)
    return list(operation(scores, *floats))


@lru_cache(maxsize=1024)
def _partitioned(
    call: _Call,
    axes: tuple[str, ...],
    results: tuple[str, ...],
    dtypes: tuple[Any, ...],
    states: int,
    threads: int,
    isa: str,
) -> Callable[..., tuple[Array, ...]]:
    """A handler as an operation that XLA spreads over devices by samples.

    Args:
        call: what it computes.
        axes: the letters of the arguments' axes.
        results: the letters of the results' axes.
        dtypes: of the results.
        states: K.
        threads: how many a call may use.
        isa: the instruction set; empty for the best of the machine that runs it.
    """
    attributes: dict[str, Any] = {
        name: np.int64(value) for name, value in (*call._asdict().items(), ("threads", threads)) if name != "name"
    }

    def on_one_device(*arrays: Array) -> tuple[Array, ...]:
        size, frames, classes = arrays[0].shape
        sizes = {"n": size, "t": frames, "c": classes, "k": states}
        made = [
            jax.ShapeDtypeStruct(tuple(sizes[letter] for letter in letters.split()), dtype)
            for letters, dtype in zip(results, dtypes, strict=True)
        ]
        return tuple(jax.ffi.ffi_call(TARGETS[call.name], made)(*arrays, isa=isa, **attributes))

    def shardings(mesh: Any, infos: Any, letters: Sequence[str]) -> tuple[NamedSharding, ...]:
        axis = _axis_of_samples(infos)
        specs = [[axis if letter == "n" else None for letter in each.split()] for each in letters]
        return tuple(NamedSharding(mesh, PartitionSpec(*spec)) for spec in specs)

    def infer(mesh: Any, arguments: Any, _: Any) -> tuple[NamedSharding, ...]:
        return shardings(mesh, arguments, results)

    def partition(mesh: Any, arguments: Any, _: Any) -> Any:
        return mesh, on_one_device, shardings(mesh, arguments, results), shardings(mesh, arguments, axes)

    operation = custom_partitioning(on_one_device)
    operation.def_partition(
        infer_sharding_from_operands=infer,
        partition=partition,
        sharding_rule=f"{', '.join(axes)} -> {', '.join(results)}",
    )

    def anywhere(*arrays: Array) -> tuple[Array, ...]:
        """Inside of ``shard_map`` each device has its part already."""
        found: tuple[Array, ...] = (on_one_device if axes_of(*arrays) else operation)(*arrays)
        return found

    return anywhere


def _axis_of_samples(infos: Sequence[Any]) -> Any:
    """The axis of the mesh over which the samples are spread, by the first argument that is; else None."""
    for info in infos:
        spec: Sequence[Any] = getattr(info.sharding, "spec", ())
        if len(spec) and spec[0] is not None and len(info.shape) != 1:
            return spec[0]
    return None


def _explained(
    shape: tuple[int, int, int],
    targets: npt.NDArray[np.int64] | None,
    frames: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64] | None,
    blank: int,
    from_logits: bool,
    single: bool,
) -> str:
    """What is wrong with a call's integers, in the words of the other frontends. Native/jax.cpp calls it."""
    size, num_frames, classes = shape
    single = single and size == 1
    num_tokens = 0 if targets is None else targets.shape[1]
    form = Form(num_frames, size, classes, num_tokens, not single, True, "float32")
    try:
        check_values(
            form,
            blank,
            targets[0] if single and targets is not None else targets,
            frames[0] if single else frames,
            lengths[0] if single and lengths is not None else lengths,
            from_logits=from_logits,
        )
    except CTCError as error:
        return str(error)
    return "native/jax.cpp finds a fault, validate/ finds none: please report this"


TARGETS = {name: f"ctckit_{name}" for name in ("sums", "posteriors", "best_path")}
"""The names under which XLA knows the handlers: what ``jax.export`` must be told to let through."""

for _name, _handler in extension.xla_handlers(ARCS_BY_ROLE, _explained).items():
    jax.ffi.register_ffi_target(TARGETS[_name], _handler, platform="cpu")
