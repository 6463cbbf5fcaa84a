"""What states emit, read from scores block by block of frames. May import jax, lattices.py and scaled.py."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from . import scaled
from .lattices import Array, LatticeArrays
from .scaled import Scaled

STEPS = 8  # a nat's parts: sums of so many of them are exact


class Block(NamedTuple):
    """Some frames B of all samples.

    The last block overlaps the one before it if T is not a multiple of B: frames that are not new are passed over.

    Attributes:
        start: the first frame.
        frames: (B,).
        active: (N, B) whether a frame is new and used.
        scores: (N, B, C).
    """

    start: Array
    frames: Array
    active: Array
    scores: Array


class Reader(NamedTuple):
    """Scores and what is known of them.

    Attributes:
        scores: (N, T, C).
        lattices: of the batch.
        top: (N, T) each frame's highest score if scores are logits; or None.
        mass: (N, T) the sum over e^(score - top); or None.
        broken: (N,) whether a used frame holds NaN or +inf.
    """

    scores: Array
    lattices: LatticeArrays
    top: Array | None
    mass: Array | None
    broken: Array

    @property
    def length(self) -> int:
        """B: about √T."""
        frames = self.scores.shape[1]
        return math.ceil(frames / math.ceil(math.sqrt(frames)))

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return math.ceil(self.scores.shape[1] / self.length)

    def block(self, index: Array) -> Block:
        """One of the blocks."""
        start = jnp.minimum(index * self.length, self.scores.shape[1] - self.length)
        frames = start + jnp.arange(self.length)
        active = (frames < self.lattices.num_frames[:, None]) & (frames >= index * self.length)
        return Block(start, frames, active, self.part(self.scores, start))

    def part(self, of_frames: Array, start: Array) -> Array:
        """A block's part of an array (N, T, ...)."""
        return lax.dynamic_slice_in_dim(of_frames, start, self.length, axis=1)


def reader(scores: Array, lattices: LatticeArrays, dtype: Any, *, from_logits: bool) -> Reader:
    """Reads all scores once: normalisers, and whether a sample has a frame that is not finite."""
    used = jnp.arange(scores.shape[1]) < lattices.num_frames[:, None]
    if not from_logits:
        fine = (scores < jnp.inf).all(axis=2)
        return Reader(scores, lattices, None, None, (used & ~fine).any(axis=1))
    real = scores.astype(dtype)
    top = real.max(axis=2)
    mass = jnp.exp(real - top[..., None]).sum(axis=2)
    return Reader(scores, lattices, top, mass, (used & ~(mass < jnp.inf)).any(axis=1))


def emissions(block: Block, lattices: LatticeArrays, broken: Array, added: Array) -> tuple[Scaled, Array]:
    """Emissions of a block, and the nats that they are relative to.

    Of samples that are broken all emissions are 1, so that what is left tells whether the lattice has a path at all.

    Args:
        block: of the scores.
        lattices: of the batch.
        broken: (N,).
        added: (N, K) nats added at every frame.

    Returns:
        (B, N, K), and (N, B) multiples of 1/8, near each frame's best label.
    """
    # Whole columns of frames are copied, which takes half as long as single numbers.
    of_states = jax.vmap(lambda columns, labels: columns.at[labels].get(mode="promise_in_bounds"))
    scores = of_states(block.scores.swapaxes(1, 2), lattices.labels).astype(added.dtype)  # (N, K, B)
    read = (block.active & ~broken[:, None])[:, None]
    scores = jnp.where(read, scores + added[..., None], 0)
    best = scores.max(axis=1)
    best = jnp.where(best > -jnp.inf, jnp.round(best * STEPS) / STEPS, 0)
    return scaled.exp((scores - best[:, None]).transpose(2, 0, 1)), best
