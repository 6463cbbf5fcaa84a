"""Over which axes of a mesh an array differs from device to device, as ``shard_map`` keeps track of it.

jax infers it for its own operations; a call of our kernels says it. Versions of jax name it differently. May import jax
and lattices.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import lax

from .lattices import Array


def axes_of(*arrays: Array) -> frozenset[str]:
    """The axes over which any of the arrays differs; none outside of ``shard_map``."""
    return frozenset[str]().union(*map(_axes, arrays))


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
