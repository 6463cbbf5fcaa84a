"""Triton's interpreter in less than half of its time: what it computes for nothing is left out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any


def hasten() -> None:
    """Patches the interpreter. A version of Triton that lacks one of the names keeps its own way."""
    from triton.language import core
    from triton.runtime import interpreter

    if hasattr(interpreter, "_patch_lang"):
        _patch_language_once(interpreter)
    options = interpreter.interpreter_builder.options
    if not options.debug:  # each sum's overflow is computed, and nothing is done with it
        interpreter.interpreter_builder.options = replace(options, sanitize_overflow=False)
    if hasattr(interpreter, "_get_np_dtype"):
        _keep_dtypes(interpreter)
    _keep_types(core)


def _patch_language_once(interpreter: Any) -> None:
    """Else it patches its language at every call of a function."""
    patch, patched = interpreter._patch_lang, {}

    def patch_once(function: Any) -> Any:
        if id(function.__globals__) not in patched:
            patched[id(function.__globals__)] = patch(function)
        return SimpleNamespace(restore=lambda: None)

    interpreter._patch_lang = patch_once


def _keep_dtypes(interpreter: Any) -> None:
    """Else it makes a dictionary of all dtypes for each look-up."""
    find, found = interpreter._get_np_dtype, {}

    def kept(dtype: Any) -> Any:
        scalar = dtype.scalar
        if scalar.name not in found:
            found[scalar.name] = find(scalar)
        return found[scalar.name]

    interpreter._get_np_dtype = kept


def _keep_types(core: Any) -> None:
    """Else it validates, names and wraps the shape of each number and vector anew."""
    types: dict[tuple[Any, ...], dict[str, Any]] = {}
    tensors: dict[str, dict[str, Any]] = {}
    make_type, make_tensor = core.block_type.__init__, core.tensor.__init__

    def block_type(self: Any, element_ty: Any, shape: Any) -> None:
        key = element_ty.name, *(size.value if isinstance(size, core.constexpr) else size for size in shape)
        if key not in types:
            make_type(self, element_ty, shape)
            types[key] = vars(self).copy()
        vars(self).update(types[key])

    def tensor(self: Any, handle: Any, type: Any) -> None:
        if type.name not in tensors:
            make_tensor(self, handle, type)
            tensors[type.name] = vars(self).copy()
        vars(self).update(tensors[type.name], handle=handle, type=type)

    core.block_type.__init__, core.tensor.__init__ = block_type, tensor
