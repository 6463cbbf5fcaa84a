"""CTC on JAX arrays: the loss with gradients of any order, alignment and greedy decoding, on any platform.

    loss.py         the loss of targets and of lattices
    optax.py        the same under optax's names, for code that was written for optax
    align.py        paths, token by token or frame by frame, and occupancies
    decode.py       the best class of each frame, collapsed
    arguments.py    checks of a call's arguments
    names.py        what optax calls the arguments, for messages
    lattices.py     lattices as arrays, and what backends return
    backends/       what computes: C++ kernels, Triton's, or jax's own operations

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
from .backends import TARGETS as _TARGETS
from .decode import Decoded, greedy_decode
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
