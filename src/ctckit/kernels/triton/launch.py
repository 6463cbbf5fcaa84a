"""The one place where kernels are launched: by Triton itself, or in the way that a framework's own arrays bring along.

Triton launches a kernel on memory that somebody holds. A framework that compiles a whole program first, like JAX, has
no memory yet: it notes the launch. May import nothing.
"""

from __future__ import annotations

from typing import Any

# An array that kernels read or write, as a launch takes it: torch's tensor, or any other with shape, ndim and stride().
Memory = Any


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Launches a kernel.

    Args:
        kernel: what ``triton.jit`` has made.
        grid: the number of programs, in up to three dimensions.
        arguments: the kernel's arrays and numbers. If the type of the first has a function ``launch``, that is called.
        options: the kernel's constants, and Triton's options.
    """
    own = getattr(type(arguments[0]), "launch", None)
    if own is None:
        kernel[grid](*arguments, **options)
    else:
        own(kernel, grid, *arguments, **options)
