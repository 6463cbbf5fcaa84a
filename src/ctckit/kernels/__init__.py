"""The sweeps over lattices, once per backend, all by the protocol in backend.py.

``total`` (log-scores, and gradients when asked), ``posteriors`` and ``best_path`` take a checked ``Problem``.
``reference`` is the executable specification in float64, ``native`` the C++ one, both on arrays; ``portable`` (torch's
operations) and ``triton`` (GPUs) take tensors. May import problem.py, lattice.py, validate/, errors.py and results.py.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what keeps the backends to the protocol
    from torch import Tensor

    from ..problem import Array, ArrayProblem, Problem
    from . import native, portable, reference, triton
    from .backend import Backend

    ON_ARRAYS: tuple[Backend[ArrayProblem, Array], ...] = (reference, native)
    ON_TENSORS: tuple[Backend[Problem[Tensor], Tensor], ...] = (portable, triton)
