"""CTC on JAX arrays: the loss with gradients of any order, alignment and greedy decoding, on any platform.

    loss.py         the loss of targets and of lattices
    optax.py        the same under optax's names, for code that was written for optax
    align.py        paths, token by token or frame by frame, and occupancies
    decode.py       the best class of each frame, collapsed
    arguments.py    checks of a call's arguments
    backends.py     the choice of a backend, vmap, and derivatives
    ffi.py          C++ kernels, called by XLA on the CPU
    triton.py       the GPU kernels, by jax-triton
    scan.py         sums in jax's operations, for all other platforms
    logarithms.py   sums that can be differentiated again, and best paths, in jax's operations
    lattices.py     lattices as arrays
    refused.py      an error where a call is lowered for a platform that can't take it
    names.py        what optax calls the arguments, for messages

May import jax, kernels/ and what lies below them.
"""

from __future__ import annotations

try:
    from jax.ffi import register_ffi_target_as_batch_partitionable as _  # noqa: F401  # since jax 0.5.3
except ImportError as error:
    from ..errors import MissingExtraError

    raise MissingExtraError("ctckit.jax", "jax", "jax>=0.5.3") from error

from . import optax as optax
from .align import Alignment, Posteriors, best_path, forced_align, posteriors
from .decode import Decoded, greedy_decode
from .ffi import TARGETS as _TARGETS
from .lattices import Paths
from .loss import ctc_loss, lattice_loss

EXPORTED = tuple(_TARGETS.values())
"""The custom calls that ``jax.export`` must be told to let through."""

__all__ = [
    "EXPORTED",
    "Alignment",
    "Decoded",
    "Paths",
    "Posteriors",
    "best_path",
    "ctc_loss",
    "forced_align",
    "greedy_decode",
    "lattice_loss",
    "posteriors",
]
