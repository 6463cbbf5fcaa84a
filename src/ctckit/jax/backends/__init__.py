"""What computes, on arrays by sample: one backend for each kind of device, and the choice between them.

    choice.py       which backend computes a call, and vmap over it
    derivatives.py  gradients of any order
    ffi.py          C++ kernels, called by XLA on the CPU
    triton.py       the GPU kernels, by jax-triton
    scan.py         sums in jax's operations, on scaled floats (scaled.py), for all other platforms
    paths.py        best paths in jax's operations
    logarithms.py   sums in jax's operations that can be differentiated again
    emissions.py    scores as these three read them
    spread.py       calls of kernels over the devices of a mesh
    later.py        computations that are traced only where they are lowered

May import jax, lattices.py, names.py, kernels/ and what lies below them.
"""

from .choice import BACKENDS, Options, best_path, posteriors
from .derivatives import differentiable_loss, loss_and_gradients
from .ffi import TARGETS

__all__ = [
    "BACKENDS",
    "TARGETS",
    "Options",
    "best_path",
    "differentiable_loss",
    "loss_and_gradients",
    "posteriors",
]
