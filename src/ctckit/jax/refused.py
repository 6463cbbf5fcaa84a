"""Stands for what only CPUs compute, where a call is lowered for another platform: then it raises an error.

All branches of a choice by platform are traced, and only one is lowered, so no sooner is it known. Before jax 0.6 all
are lowered; there jax itself says that a call has no branch for a platform. May import jax and errors.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import mlir

from ..errors import CTCError

ONE_IS_LOWERED = jax.__version_info__ >= (0, 6)

_refused = Primitive("ctckit_refused")
_refused.multiple_results = True


def _made(*_: Any, made: tuple[Any, ...], error: CTCError) -> tuple[Any, ...]:
    return made


def _lower(*_: Any, made: tuple[Any, ...], error: CTCError) -> Any:
    raise error


_refused.def_abstract_eval(_made)
mlir.register_lowering(_refused, _lower)


def instead_of(compute: Callable[..., Any], error: CTCError) -> Callable[..., Any]:
    """A function with the results of another one, which can't be lowered."""

    def refused(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(jax.eval_shape(compute, *arguments))
        made = tuple(jax.core.ShapedArray(leaf.shape, leaf.dtype) for leaf in leaves)
        return jax.tree.unflatten(tree, _refused.bind(*jax.tree.leaves(arguments), made=made, error=error))

    return refused
