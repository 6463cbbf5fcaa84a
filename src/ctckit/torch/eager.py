"""Functions that torch.compile leaves alone. May import torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from torch._compile import _disable_dynamo
from torch.compiler import is_dynamo_compiling

P = ParamSpec("P")
R = TypeVar("R")


def outside_graphs(function: Callable[P, R]) -> Callable[P, R]:
    """A function that breaks the graph and runs as it is, as by ``torch.compiler.disable``.

    That would import the compiler, which takes as long as the rest of torch. Here it stays unimported until somebody
    compiles something.
    """
    alone: Callable[P, R] = _disable_dynamo(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        if is_dynamo_compiling() or "torch._dynamo" in sys.modules:
            return alone(*args, **kwargs)
        return function(*args, **kwargs)

    return called
