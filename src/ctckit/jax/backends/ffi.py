"""The C++ kernels as operations of XLA on the CPU, by its foreign function interface; the handlers are native/jax.cpp.

May import jax, lattices.py, names.py, spread.py, lattice/, kernels.native, validate/ and the extension, native.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ... import native as extension
from ...errors import CTCError
from ...kernels import native
from ...lattice import ARCS_BY_ROLE
from ...validate import Form, check_values
from ..lattices import Array, Batch, LatticeArrays, Paths, States, Sums, TargetArrays, real_of
from ..names import as_optax_calls_it
from .spread import Result, by_samples, shapes

# Bits of `given` and of `wanted`, as in native/jax.cpp.
_TOKENS, _ENTRY_COSTS, _STATE_SCORES, _CLASS_SCORES, _LONG_ARCS = 1, 2, 4, 8, 16
_GRAD, _CLASS_SCORES_GRAD, _STATE_SCORES_GRAD, _ENTRY_COSTS_GRAD = 1, 2, 4, 8


def sums(
    scores: Array,
    batch: Batch,
    *,
    from_logits: bool,
    wants_grad: bool,
    blank: int = 0,
    single: bool = False,
    as_optax: bool = False,
) -> Sums:
    """Sums over all paths of each sample.

    Args:
        scores: (N, T, C).
        batch: the samples' targets, or their lattices.
        from_logits: whether scores are normalised first.
        wants_grad: whether the gradients by all that is given are computed.
        blank: the blank's class; for targets only.
        single: whether the caller knows one sample, without a batch axis; for messages.
        as_optax: whether the caller knows optax's arguments; for messages.
    """
    real, wanted, given = real_of(scores.dtype), _GRAD * wants_grad, _given(batch)
    results = [Result("n", real)]
    if wants_grad:
        results.append(Result("n t c", scores.dtype))
        for bit, bit_of_gradient, axes in (
            (_CLASS_SCORES, _CLASS_SCORES_GRAD, "n c"),
            (_STATE_SCORES, _STATE_SCORES_GRAD, "n k"),
            (_ENTRY_COSTS, _ENTRY_COSTS_GRAD, "n k"),
        ):
            if given & bit:
                wanted |= bit_of_gradient
                results.append(Result(axes, real))
    call = _Call("sums", _blank(batch, blank), given, from_logits, single, as_optax, wanted)
    found = iter(_run(call, scores, batch, results))
    loss, grad = next(found), next(found) if wants_grad else None
    by_class, by_state, by_entry = (
        next(found) if wants_grad and given & bit else None for bit in (_CLASS_SCORES, _STATE_SCORES, _ENTRY_COSTS)
    )
    return Sums(loss, grad, by_class, by_state, by_entry)


def posteriors(scores: Array, batch: Batch, *, blank: int = 0, single: bool = False) -> States:
    """Occupancies by state; arguments as for `sums`, scores are log-probabilities."""
    real = real_of(scores.dtype)
    call = _Call("posteriors", _blank(batch, blank), _given(batch), False, single)
    results = Result("n", real), Result("n", jnp.uint8), Result("t n k", real)
    score, status, occupancy = _run(call, scores, batch, results)
    return States(score, status, occupancy.swapaxes(0, 1))


def best_path(scores: Array, batch: Batch, *, from_logits: bool, blank: int = 0, single: bool = False) -> Paths:
    """The most probable path of each sample; arguments as for `sums`."""
    real = real_of(scores.dtype)
    call = _Call("best_path", _blank(batch, blank), _given(batch), from_logits, single)
    results = Result("n", real), Result("n", jnp.uint8), Result("n t", jnp.int32), Result("n t", real)
    return Paths(*_run(call, scores, batch, results))


class _Call(NamedTuple):
    """What XLA's text of a call says besides its arrays; with its types and shapes it is one operation."""

    name: str
    blank: int
    given: int
    from_logits: bool
    single: bool
    as_optax: bool = False
    wanted: int = 0


def _blank(batch: Batch, blank: int) -> int:
    return blank if isinstance(batch, TargetArrays) else -1


def _given(batch: Batch) -> int:
    """The bits of what lattices have besides what all have."""
    if isinstance(batch, TargetArrays):
        return 0
    bits = sum(bit for bit, array, _ in _optional(batch) if array is not None)
    return bits + (0 if batch.long_arcs is None else _LONG_ARCS)


def _optional(batch: LatticeArrays) -> list[tuple[int, Array | None, str]]:
    """What lattices may have: its bit, itself, and the letters of its axes; in the order of native/jax.cpp."""
    return [
        (_TOKENS, batch.tokens, "n k"),
        (_ENTRY_COSTS, batch.entry_costs, "n k"),
        (_STATE_SCORES, batch.state_scores, "n k"),
        (_CLASS_SCORES, batch.class_scores, "c"),
    ]


def _flattened(batch: Batch, real: Any) -> list[tuple[Array, str]]:
    """A batch's arrays as native/jax.cpp takes them, and the letters of their axes."""
    if isinstance(batch, TargetArrays):
        return list(zip(batch, ("n s", "n", "n"), strict=True))
    made = [(batch.num_frames, "n"), (batch.num_states, "n"), (batch.labels, "n k"), (batch.arcs, "n k")]
    for bit, array, axes in _optional(batch):
        if array is not None:
            made.append((array if bit == _TOKENS else array.astype(real), axes))
    if batch.long_arcs is not None and batch.long_arc_scores is not None:
        made += [(batch.long_arcs, "n l p"), (batch.long_arc_scores.astype(real), "n l")]
    return made


def _run(call: _Call, scores: Array, batch: Batch, results: Sequence[Result]) -> tuple[Array, ...]:
    """Calls a handler, device by device."""
    arrays, axes = zip(*_flattened(batch, real_of(scores.dtype)), strict=True)
    threads, isa = native.num_threads(None), native.instruction_set()
    best = native.instruction_sets()[-1]
    shapes = ("n t c", *axes), tuple(results), batch.max_states
    return _partitioned(call, *shapes, threads, "" if isa == best else isa)(scores, *arrays)


@lru_cache(maxsize=1024)
def _partitioned(
    call: _Call,
    axes: tuple[str, ...],
    results: tuple[Result, ...],
    states: int,
    threads: int,
    isa: str,
) -> Callable[..., tuple[Array, ...]]:
    """A handler as an operation that XLA spreads over devices by samples.

    Args:
        call: what it computes.
        axes: the letters of the arguments' axes.
        results: the letters of the results' axes, and their dtypes.
        states: K.
        threads: how many a call may use.
        isa: the instruction set; empty for the best of the machine that runs it.
    """
    attributes: dict[str, Any] = {
        name: np.int64(value) for name, value in (*call._asdict().items(), ("threads", threads)) if name != "name"
    }

    def on_one_device(*arrays: Array) -> tuple[Array, ...]:
        made = shapes(results, arrays[0], states)
        return tuple(jax.ffi.ffi_call(TARGETS[call.name], made)(*arrays, isa=isa, **attributes))

    return by_samples(on_one_device, axes, results)


def _explained(
    shape: tuple[int, int, int],
    targets: npt.NDArray[np.int64] | None,
    frames: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64] | None,
    blank: int,
    from_logits: bool,
    single: bool,
    as_optax: bool,
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
        return str(as_optax_calls_it(error) if as_optax else error)
    return "native/jax.cpp finds a fault, validate/ finds none: please report this"


TARGETS = {name: f"ctckit_{name}" for name in ("sums", "posteriors", "best_path")}
"""The names under which XLA knows the handlers: what ``jax.export`` must be told to let through."""

for _name, _handler in extension.xla_handlers(ARCS_BY_ROLE, _explained).items():
    jax.ffi.register_ffi_target(TARGETS[_name], _handler, platform="cpu")
