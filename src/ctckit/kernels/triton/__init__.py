"""The GPU backend, in Triton: it uses scaled floats and two programs per sample, and the host need not wait for it.

Kernels and their launches, by what they do: lattice.py (lays out CTC's lattices), pairs.py (lays out lattices of any
shape), rows.py (reads each frame once), sweep.py and memory.py (forward and backward sweeps, and what they read and
store), sums.py (totals), gradient.py, best.py and trace.py (best paths, forwards and back), on top of scaled.py
(numbers), cells.py (rows of states) and blocks.py (where everything is in memory). They don't need torch: their caller
allocates memory, and arrays may be of any kind that Triton takes, or bring their own way of launching (launch.py).
backend.py is the caller for torch, with cpu.py (best paths that are quicker on the CPU); its functions are exported
here, and torch is imported when one of them is first used.

In kernels, the names of pointers begin with p_, of offsets with o_, of loaded blocks with b_. Needs Triton 3.4 or
later.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .backend import CTCLattices, Sweep, best_path, ctc_lattices, posteriors, total
    from .sums import Loss

__all__ = ["CTCLattices", "Loss", "Sweep", "best_path", "ctc_lattices", "posteriors", "total"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import backend

    return getattr(backend, name)
