"""The sweeps over lattices, once per backend; backend.py has the protocol that all satisfy.

``total`` (log-scores, and the gradients that are wanted), ``posteriors`` and ``best_path`` take a checked ``Problem``.
``reference`` is the executable specification in float64, ``native`` the C++ backend; ``portable`` (torch's operations)
and ``triton`` (GPUs) take problems of tensors. May import problem.py and what lies below it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what keeps the backends to the protocol
    from torch import Tensor

    from ..problem import Problem
    from . import native, portable, reference, triton
    from .backend import ArrayBackend, Backend

    ON_ARRAYS: tuple[ArrayBackend, ...] = (reference, native)
    ON_TENSORS: tuple[Backend[Problem[Tensor], Tensor], ...] = (portable, triton)
