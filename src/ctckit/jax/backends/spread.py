"""How calls of our kernels are spread over the devices of a mesh.

A batch that is spread stays so: ``custom_partitioning`` tells XLA that samples are independent, without which it would
gather the whole batch on each device, silently. And ``shard_map`` keeps track of the axes over which an array differs
from device to device: jax infers it for its own operations, a call of our kernels says it. Versions of jax name it
differently. May import jax and lattices.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from ..lattices import Array


def axes_of(*arrays: Array) -> frozenset[str]:
    """The axes over which any of the arrays differs; none outside of ``shard_map``."""
    return frozenset[str]().union(*map(_axes, arrays))


class Result(NamedTuple):
    """One of a call's results.

    Attributes:
        axes: the letters of its axes: n samples, t frames, c classes, k states.
        dtype: its dtype.
    """

    axes: str
    dtype: Any


def shapes(results: Sequence[Result], scores: Array, states: int) -> tuple[jax.ShapeDtypeStruct, ...]:
    """What results of scores (N, T, C) look like, and of so many states K."""
    sizes = dict(zip("ntck", (*scores.shape, states), strict=True))
    return tuple(
        jax.ShapeDtypeStruct(tuple(sizes[letter] for letter in axes.split()), dtype) for axes, dtype in results
    )


def by_samples(compute: Callable[..., Any], given: Sequence[str], results: Sequence[Result]) -> Callable[..., Any]:
    """An operation on arrays by sample that XLA spreads over devices by samples.

    Args:
        compute: what one device does.
        given: the letters of each argument's axes.
        results: what it returns.
    """
    made = [result.axes for result in results]

    def shardings(mesh: Any, infos: Any, letters: Sequence[str]) -> tuple[NamedSharding, ...]:
        axis = _axis_of_samples(infos)
        specs = [[axis if letter == "n" else None for letter in each.split()] for each in letters]
        return tuple(NamedSharding(mesh, PartitionSpec(*spec)) for spec in specs)

    def infer(mesh: Any, arguments: Any, _: Any) -> tuple[NamedSharding, ...]:
        return shardings(mesh, arguments, made)

    def partition(mesh: Any, arguments: Any, _: Any) -> Any:
        return mesh, compute, shardings(mesh, arguments, made), shardings(mesh, arguments, given)

    operation = custom_partitioning(compute)
    operation.def_partition(
        infer_sharding_from_operands=infer,
        partition=partition,
        sharding_rule=f"{', '.join(given)} -> {', '.join(made)}",
    )

    def anywhere(*arrays: Array) -> Any:
        """Inside of ``shard_map`` each device has its part already."""
        return (compute if axes_of(*arrays) else operation)(*arrays)

    return anywhere


def _axis_of_samples(infos: Sequence[Any]) -> Any:
    """The axis of the mesh over which the samples are spread, by the first argument that is; else None."""
    for info in infos:
        spec: Sequence[Any] = getattr(info.sharding, "spec", ())
        if len(spec) and spec[0] is not None and len(info.shape) != 1:
            return spec[0]
    return None


def like_all(compute: Callable[..., Any]) -> Callable[..., Any]:
    """The same computation, whose results differ over all the axes over which any argument does."""

    def spread(*arguments: Any) -> Any:
        axes = axes_of(*jax.tree.leaves(arguments))
        if not axes:
            return compute(*arguments)
        over = partial(jax.tree.map, partial(_spread, axes))
        return over(compute(*over(arguments)))

    return spread


def scan(body: Callable[..., Any], begin: Any, rows: Any, *, reverse: bool = False) -> tuple[Any, Any]:
    """``lax.scan`` whose first carry may hold constants, although what follows differs from device to device."""
    axes = axes_of(*jax.tree.leaves((begin, rows)))
    found: tuple[Any, Any] = lax.scan(body, jax.tree.map(partial(_spread, axes), begin), rows, reverse=reverse)
    return found


def _axes(array: Array) -> frozenset[str]:
    if not hasattr(jax, "typeof"):  # before jax 0.6
        return frozenset()
    kind = jax.typeof(array)
    varying = getattr(getattr(kind, "manual_axis_type", None), "varying", None)
    found: frozenset[str] = getattr(kind, "vma", frozenset()) if varying is None else varying
    return found


def _spread(axes: frozenset[str], array: Array) -> Array:
    missing = tuple(axes - _axes(array))
    if not missing:
        return array
    cast = partial(lax.pcast, to="varying") if hasattr(lax, "pcast") else lax.pvary  # type: ignore[attr-defined]
    found: Array = cast(array, missing)
    return found
