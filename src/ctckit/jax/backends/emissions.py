"""What the scans over frames share: blocks of scores, what states emit in them, and states' neighbours.

May import jax, lattice/ and lattices.py.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ...lattice import Arc
from ..lattices import Array, LatticeArrays


class Block(NamedTuple):
    """Some frames B of all samples.

    The last block overlaps the one before it if T is not a multiple of B: frames that are not new are passed over.

    Attributes:
        start: the first frame.
        new: the first one that is not in the block before.
        frames: (B,).
        active: (N, B) whether a frame is new and used.
        scores: (N, B, C).
    """

    start: Array
    new: Array
    frames: Array
    active: Array
    scores: Array


class Normalisers(NamedTuple):
    """What makes logits log-probabilities.

    Attributes:
        top: (N, T) each frame's highest logit.
        mass: (N, T) the sum over e^(logit - top).
    """

    top: Array
    mass: Array


class Reader(NamedTuple):
    """Scores and what is known of them.

    Attributes:
        scores: (N, T, C).
        lattices: of the batch.
        normalisers: if scores are logits; else None.
        broken: (N,) whether a used frame holds NaN or +inf.
    """

    scores: Array
    lattices: LatticeArrays
    normalisers: Normalisers | None
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

    @property
    def last(self) -> int:
        """The first frame of the last block."""
        return self.scores.shape[1] - self.length

    @property
    def starts(self) -> Array:
        """The first frame of each block."""
        return jnp.minimum(jnp.arange(self.blocks) * self.length, self.last)

    def block(self, start: Array) -> Block:
        """The block that begins at a frame."""
        frames = start + jnp.arange(self.length)
        new = jnp.where(start == self.last, (self.blocks - 1) * self.length, start)
        active = (frames < self.lattices.num_frames[:, None]) & (frames >= new)
        return Block(start, new, frames, active, self.part(self.scores, start))

    def after(self, block: Block) -> Array:
        """The first frame of the next block."""
        return jnp.minimum(block.start + self.length, self.last)

    def before(self, block: Block) -> Array:
        """The first frame of the block before."""
        return block.new - self.length

    def part(self, of_frames: Array, start: Array) -> Array:
        """A block's part of an array (N, T, ...)."""
        return lax.dynamic_slice_in_dim(of_frames, start, self.length, axis=1)


def reader(scores: Array, lattices: LatticeArrays, dtype: Any, *, from_logits: bool) -> Reader:
    """Reads all scores once: normalisers, and whether a sample has a frame that is not finite."""
    if scores.shape[1] == 0:  # blocks need a frame, though nobody uses it
        scores = jnp.zeros((scores.shape[0], 1, scores.shape[2]), scores.dtype)
    used = jnp.arange(scores.shape[1]) < lattices.num_frames[:, None]
    if not from_logits:
        fine = (scores < jnp.inf).all(axis=2)
        return Reader(scores, lattices, None, (used & ~fine).any(axis=1))
    real = scores.astype(dtype)
    top = real.max(axis=2)
    mass = jnp.exp(real - top[..., None]).sum(axis=2)
    return Reader(scores, lattices, Normalisers(top, mass), (used & ~(mass < jnp.inf)).any(axis=1))


def added_scores(lattices: LatticeArrays, dtype: Any) -> Array:
    """(N, K) nats that each state emits at every frame; -inf for states that only pad the lattice."""
    added = jnp.where(lattices.arcs != 0, jnp.zeros((), dtype), -jnp.inf)
    if lattices.class_scores is not None:
        added += lattices.class_scores.astype(dtype)[lattices.labels]
    if lattices.state_scores is not None:
        added += lattices.state_scores.astype(dtype)
    return added


def emissions(block: Block, lattices: LatticeArrays, broken: Array, added: Array) -> Array:
    """(N, K, B) what each state emits, in nats.

    It is 0 in frames that are not active, and of samples that are broken: then what comes out of a scan tells whether
    the lattice has a path at all.

    Args:
        block: of the scores.
        lattices: of the batch.
        broken: (N,).
        added: (N, K) nats added at every frame.
    """
    # Whole columns of frames are copied, which takes half as long as single numbers.
    scores = jax.vmap(_columns)(block.scores, lattices.labels).astype(added.dtype)
    return jnp.where((block.active & ~broken[:, None])[:, None], scores + added[..., None], 0)


def _columns(scores: Array, labels: Array) -> Array:
    """(K, B) of one sample's (B, C)."""
    columns: Array = scores.T.at[labels].get(mode="promise_in_bounds")
    return columns


def neighbours(row: Array, offset: int, outside: float) -> Array:
    """A row (N, K) moved: each state gets the number of the state ``offset`` after it, or ``outside``."""
    size = row.shape[1]
    if offset < 0:
        return jnp.pad(row, ((0, 0), (-offset, 0)), constant_values=outside)[:, :size]
    return jnp.pad(row, ((0, 0), (0, offset)), constant_values=outside)[:, offset:]


def accepts_nothing(lattices: LatticeArrays) -> Array:
    """(N,) whether there is a path of no frames: a state that is not a token may be both the first and the last."""
    both = jnp.uint8(Arc.START | Arc.END)
    no_token = jnp.arange(lattices.max_states) % 2 == 0 if lattices.tokens is None else lattices.tokens < 0
    return jnp.any((lattices.arcs & both == both) & no_token, axis=1)
