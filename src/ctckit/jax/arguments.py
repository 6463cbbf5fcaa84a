"""The arguments of a call on jax's arrays: checks of their form, and of their values where these are known already.

Inside of ``jit`` values are not known; there the C++ kernels check them, and say the same. May import jax, lattices.py,
lattice/, problem.py, validate/, kernels.backend, faults.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import CTCError
from ..faults import Fault
from ..lattice import Lattice, padded_rows
from ..problem import checked_lattice_problem, with_added_scores
from ..validate import (
    Form,
    as_array,
    as_integers,
    check_flag,
    check_form,
    check_lattice_form,
    check_values,
    dtype_name,
)
from .lattices import Array, LatticeArrays, TargetArrays, real_of

_ORDER = ("targets", "input_lengths", "target_lengths")


class Call(NamedTuple):
    """A checked call, with one axis for all samples.

    Attributes:
        scores: (N, T, C).
        batch: targets or lattices.
        num_tokens: (N,) tokens of each sample's target.
        lead: the axes that N stands for; () for a single sample.
        from_logits: whether scores are normalised first.
        blank: the blank's class.
    """

    scores: Array
    batch: Any
    num_tokens: Array
    lead: tuple[int, ...]
    from_logits: bool
    blank: int

    def by_sample(self, array: Array) -> Array:
        """What there is of each sample (N, ...), with the caller's axes (…, ...)."""
        return array.reshape(*self.lead, *array.shape[1:])


def checked_call(
    scores: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int, *, from_logits: bool
) -> Call:
    """Checks a call with targets; arguments as for :func:`ctckit.jax.ctc_loss`.

    Raises:
        CTCError: the first thing wrong.
    """
    from_logits = check_flag("from_logits", from_logits)
    name = "logits" if from_logits else "log_probs"
    array = as_jax(name, scores)
    integers = {
        name: as_jax(name, given, integers=True)
        for name, given in zip(_ORDER, (targets, input_lengths, target_lengths), strict=True)
    }
    _check_order(name, array, integers)
    lead = array.shape[:-2]
    if len(lead) > 1:
        for argument, given in integers.items():
            _check_lead(argument, given, lead, name, array)
            integers[argument] = given.reshape(-1, *given.shape[len(lead) :])
        array = array.reshape(-1, *array.shape[-2:])
    tokens, frames, lengths = integers.values()
    form = check_form(array, tokens, frames, lengths, blank, from_logits=from_logits, batch_first=True)
    if form.batched and not form.padded:
        raise CTCError(Fault("padded-shape", "targets", (), tokens.shape, hint="pad-rows"))
    known = [known_values(given) for given in (tokens, frames, lengths)]
    check_values(form, blank, *known, from_logits=from_logits)
    batch = TargetArrays(
        _as_int32(tokens.reshape(form.size, form.num_tokens)),
        _as_int32(frames.reshape(form.size)),
        _as_int32(lengths.reshape(form.size)),
    )
    rows = array.reshape(form.size, form.num_frames, form.classes)
    return Call(rows, batch, batch.target_lengths, lead, from_logits, int(blank))


def checked_lattice_call(
    scores: Any,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: Any | None,
    *,
    from_logits: bool,
    class_scores: Any | None = None,
    state_scores: Any | None = None,
) -> Call:
    """Checks a call with lattices; arguments as for :func:`ctckit.jax.lattice_loss`.

    Raises:
        CTCError: the first thing wrong.
    """
    from_logits = check_flag("from_logits", from_logits)
    array, frames, lead = checked_scores(scores, input_lengths, from_logits=from_logits)
    size, num_frames, classes = array.shape
    problem = checked_lattice_problem(
        np.broadcast_to(np.float32(0), (num_frames, size, classes)),  # a stand-in: values are not read
        Form(num_frames, size, classes, 0, True, True, "float32"),
        lattices,
        np.zeros(size, np.int64),
        from_logits=from_logits,
    )
    laid_out = problem.lattices
    by_state = _with_rows(state_scores, lead)
    with_added_scores(problem, _values(class_scores), _values(by_state))
    real = real_of(array.dtype)
    batch = LatticeArrays(
        frames,
        jnp.asarray(laid_out.num_states),
        jnp.asarray(laid_out.labels),
        jnp.asarray(laid_out.arcs),
        None if laid_out.entry_costs is None else jnp.asarray(laid_out.entry_costs, real),
        None if by_state is None else jnp.asarray(by_state, real),
        None if class_scores is None else jnp.asarray(class_scores, real),
        jnp.asarray(laid_out.tokens),
        *_long_arcs(laid_out.long_arcs, laid_out.long_arc_scores, size, real),
    )
    return Call(array, batch, jnp.asarray(laid_out.num_tokens, jnp.int32), lead, from_logits, 0)


def _long_arcs(arcs: Any, scores: Any, size: int, dtype: Any) -> tuple[Array | None, Array | None]:
    """Long arcs (J, 3) of a batch sample by sample (N, L, 2), padded with -1, and their scores (N, L)."""
    if not len(arcs):
        return None, None
    counts = np.bincount(arcs[:, 0], minlength=size)
    n, place = arcs[:, 0], np.arange(len(arcs)) - (counts.cumsum() - counts)[arcs[:, 0]]
    pairs, values = np.full((size, counts.max(), 2), -1, np.int32), np.zeros((size, counts.max()))
    pairs[n, place], values[n, place] = arcs[:, 1:], scores
    return jnp.asarray(pairs), jnp.asarray(values, dtype)


def checked_scores(
    scores: Any, input_lengths: Any | None, *, from_logits: bool
) -> tuple[Array, Array, tuple[int, ...]]:
    """Scores as (N, T, C), the lengths (N,), and the axes that N stands for; all of T frames if there are no lengths.

    Raises:
        CTCError: the first thing wrong.
    """
    name = "logits" if from_logits else "log_probs"
    array = as_jax(name, scores)
    lead = array.shape[:-2]
    given = np.full(lead, array.shape[-2]) if input_lengths is None and array.ndim > 1 else input_lengths
    frames = as_jax("input_lengths", given, integers=True)
    if len(lead) > 1:
        _check_lead("input_lengths", frames, lead, name, array)
        frames, array = frames.reshape(-1), array.reshape(-1, *array.shape[-2:])
    form = check_lattice_form(array, frames, from_logits=from_logits, batch_first=True)
    check_values(form, 0, None, known_values(frames), None, from_logits=from_logits)
    rows = array.reshape(form.size, form.num_frames, form.classes)
    return rows, _as_int32(frames.reshape(form.size)), lead


def as_jax(name: str, given: Any, *, integers: bool = False) -> Array:
    """An argument as jax's array; tracers as they are."""
    if isinstance(given, jax.Array):
        return given
    array = as_integers(name, given) if integers else as_array(name, given)
    if dtype_name(array.dtype) or array.dtype.kind == "b":
        return jnp.asarray(array)
    hint = "array-to-integers" if integers else "array-to-float"
    expected = None if integers else ["float64", "float32", "bfloat16", "float16"]
    raise CTCError(Fault("not-integers" if integers else "not-floats", name, (), str(array.dtype), expected, hint))


def _as_int32(array: Array) -> Array:
    """Integers of any type; those too large for int32 become its largest, which is as wrong."""
    if jnp.iinfo(array.dtype).bits < 32 or array.dtype == jnp.int32:
        return array.astype(jnp.int32)
    least, most = (-1, np.iinfo(np.int32).max)
    return jnp.clip(array, 0 if jnp.iinfo(array.dtype).min == 0 else least, most).astype(jnp.int32)


def known_values(array: Array) -> Any:
    """Integers on the host; None if they are traced, or if reading them would wait for a device."""
    if isinstance(array, jax.core.Tracer) or not array.is_fully_addressable:
        return None
    if any(device.platform != "cpu" for device in array.devices()):
        return None
    return np.asarray(array)


def _values(array: Any) -> Any:
    """Added scores to be checked; zeros of their shape if they are traced."""
    if not isinstance(array, jax.core.Tracer):
        return array
    return np.zeros(array.shape, np.float32 if jnp.issubdtype(array.dtype, jnp.floating) else bool)


def _with_rows(state_scores: Any, lead: tuple[int, ...]) -> Any:
    """State scores as (N, K)."""
    if isinstance(state_scores, (list, tuple)):
        return padded_rows(state_scores)
    if state_scores is None or len(lead) == 1 or np.shape(state_scores)[:-1] != lead:
        return state_scores
    return state_scores.reshape(-1, state_scores.shape[-1])


def _check_order(name: str, scores: Array, integers: dict[str, Array]) -> None:
    """Checks that no two arguments look exchanged, and that the batch comes first."""
    targets, frames, lengths = integers.values()
    if dtype_name(scores.dtype) == "integer" and jnp.issubdtype(targets.dtype, jnp.floating):
        raise _exchanged(name, scores, "targets", targets)
    axes = scores.ndim - 2  # of lengths; targets have one more
    for other, given in (("input_lengths", frames), ("target_lengths", lengths)):
        if targets.ndim == axes and given.ndim == axes + 1 and axes > 0:
            raise _exchanged("targets", targets, other, given)
        if targets.ndim == 0 and given.ndim == 1 and axes == 0:
            raise _exchanged("targets", targets, other, given)
    if axes != 1 or scores.shape[0] == scores.shape[1] or scores.shape[1] == 0:
        return
    rows = {other: given.shape[0] for other, given in integers.items() if given.ndim > 0}
    if len(rows) > 1 and set(rows.values()) == {scores.shape[1]}:
        size, num_frames = scores.shape[:2]
        details = {"frames": num_frames, "size": size, "rows": num_frames}
        raise CTCError(
            Fault("batch-first", name, (), scores.shape, None, "batch-axis-first", variant="jax", details=details)
        )


def _exchanged(name: str, given: Array, other: str, other_given: Array) -> CTCError:
    details = {"other": other, "other_shape": other_given.shape}
    return CTCError(Fault("arguments-exchanged", name, (), given.shape, None, "usual-order", details=details))


def _check_lead(argument: str, given: Array, lead: tuple[int, ...], name: str, scores: Array) -> None:
    axes = given.shape[:-1] if argument == "targets" else given.shape
    if axes != lead:
        expected = (*lead, "S") if argument == "targets" else lead
        shown = f"({', '.join(map(str, expected))})"
        details = {"scores": name, "shape": scores.shape, "axes": shown}
        raise CTCError(Fault("shape-mismatch", argument, (), given.shape, expected, variant="lead", details=details))
