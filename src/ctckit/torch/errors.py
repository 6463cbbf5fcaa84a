"""The errors of calls on tensors: they are also RuntimeErrors, as torch's are, for code that catches those.

May import torch, errors.py and validate/.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import Tensor

from ..errors import CTCError, InfeasibleError
from ..validate import Fault, tensor_without_values

P = ParamSpec("P")
R = TypeVar("R")


class TensorError(CTCError, RuntimeError):
    """A :class:`ctckit.CTCError` from a call on tensors; code written for torch's loss catches it as a RuntimeError."""


class InfeasibleTensorError(InfeasibleError, TensorError):
    """A :class:`ctckit.InfeasibleError` from a call on tensors."""


def of_tensors(error: CTCError) -> CTCError:
    """The same error as one of tensors."""
    if isinstance(error, RuntimeError):
        return error
    kind = InfeasibleTensorError if isinstance(error, InfeasibleError) else TensorError
    made = kind.__new__(kind, *error.args)
    vars(made).update(vars(error))
    return made.with_traceback(error.__traceback__)


def explained(error: Exception, **arguments: object) -> Exception:
    """What to raise in place of an error: one of tensors; for a tensor that can't be read, which one and why."""
    if isinstance(error, CTCError):
        return of_tensors(error)
    for name, given in arguments.items():
        kind = _unreadable(given) if isinstance(given, Tensor) else ""
        if kind:
            return TensorError(Fault("unreadable-tensor", name, (), kind, hint="dense-tensor"))
    return error


def raises_tensor_errors(function: Callable[P, R]) -> Callable[P, R]:
    """A function on tensors whose errors are those of tensors. Not for the loss, where a call more would count."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            names = function.__code__.co_varnames
            failure = explained(error, **dict(zip(names, args, strict=False)), **kwargs)
            if failure is error:
                raise
            cause: Any = failure
        raise cause from None

    return checked


def _unreadable(tensor: Tensor) -> str:
    """What kind of tensor it is, if it is one without values that can be read; else empty."""
    if tensor_without_values(tensor):
        return tensor_without_values(tensor)
    if tensor.is_meta:
        return "meta"
    dispatch = getattr(type(tensor), "__torch_dispatch__", None)
    return "" if dispatch is Tensor.__torch_dispatch__ else type(tensor).__name__
