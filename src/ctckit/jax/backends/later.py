"""A computation that jax traces when a call is lowered for a platform, and not before.

Of a choice by platform jax traces all branches and lowers one. Tracing the sums by ``lax.scan`` takes a third of a
second, in which nearly all calls on a CPU are compiled several times. And a branch that can't be computed raises its
error only where it is lowered. May import jax.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.experimental
from jax.extend.core import Primitive
from jax.interpreters import mlir

ONE_IS_LOWERED = jax.__version_info__ >= (0, 6)  # of the branches; before, all of them were

_later = Primitive("ctckit_later")
_later.multiple_results = True


def _results(*_: Any, results: tuple[Any, ...], **__: Any) -> tuple[Any, ...]:
    return results


def _lower(context: Any, *operands: Any, compute: Callable[..., Any], x64: bool, **_: Any) -> Any:
    with (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64(x64):  # as when the call was traced
        return mlir.lower_fun(compute, multiple_results=True)(context, *operands)


_later.def_abstract_eval(_results)
mlir.register_lowering(_later, _lower)


def later(compute: Callable[..., Any], made: Callable[..., Any]) -> Callable[..., Any]:
    """The same computation, traced when it is lowered.

    Args:
        compute: of arrays, in any structure. It must not be spread over devices: jax would not know of it in time.
        made: says of the same arguments what shapes and dtypes the results have, in their structure.
    """

    def bound(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(made(*arguments))
        operands, structure = jax.tree.flatten(arguments)

        def flat(*operands: Any) -> list[Any]:
            leaves: list[Any] = jax.tree.leaves(compute(*jax.tree.unflatten(structure, operands)))
            return leaves

        results = tuple(jax.core.ShapedArray(leaf.shape, leaf.dtype) for leaf in leaves)
        x64 = jax.config.jax_enable_x64  # type: ignore[attr-defined]  # jax adds its settings when it is imported
        found = _later.bind(*operands, compute=flat, results=results, x64=x64)
        return jax.tree.unflatten(tree, found)

    return bound
