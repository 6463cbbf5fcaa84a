"""A batch of lattices as traced arrays, and what sums over their paths return: what the backends of this package share.

May import jax and lattice/.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..lattice import ARCS_BY_ROLE, Arc

Array = jax.Array


class TargetArrays(NamedTuple):
    """The targets of a batch, whose lattices are CTC's.

    Attributes:
        targets: int32 (N, S) padded.
        num_frames: int32 (N,) the frames that each sample uses.
        target_lengths: int32 (N,) its tokens.
    """

    targets: Array
    num_frames: Array
    target_lengths: Array

    @property
    def max_states(self) -> int:
        """K."""
        return 2 * self.targets.shape[1] + 1


class LatticeArrays(NamedTuple):
    """The lattices of a batch, one a sample, padded to K states.

    Attributes:
        num_frames: int32 (N,) the frames that each sample uses.
        num_states: int32 (N,) its own states, at least 1; what lies beyond has no arcs.
        labels: int32 (N, K) the class that each state emits.
        arcs: uint8 (N, K) bits of :class:`ctckit.Arc`.
        entry_costs: (N, K) nats to enter a state from another or to begin in it; or None.
        state_scores: (N, K) nats added to what a state emits at every frame; or None.
        class_scores: (C,) nats added to each class's log-probability; or None.
        tokens: int32 (N, K) the target's token that each state is, -1 for none; or None for CTC's layout, where odd
            states are tokens. A path of no frames stands in a state that is none, and may both begin and end there.
        long_arcs: int32 (N, L, 2) arcs (from, to) in order of ``to``, then -1; or None. For the C++ kernels only.
        long_arc_scores: (N, L) nats added when an arc is taken; or None.
    """

    num_frames: Array
    num_states: Array
    labels: Array
    arcs: Array
    entry_costs: Array | None = None
    state_scores: Array | None = None
    class_scores: Array | None = None
    tokens: Array | None = None
    long_arcs: Array | None = None
    long_arc_scores: Array | None = None

    @property
    def max_states(self) -> int:
        """K."""
        return self.labels.shape[1]


Batch = TargetArrays | LatticeArrays


class Sums(NamedTuple):
    """Sums over all paths, and their gradients; each is that of the sample's own loss.

    Attributes:
        loss: (N,) nats, float64 for float64 scores, else float32: +inf without a path, NaN if a used frame holds NaN
            or +inf.
        grad: (N, T, C) by the scores, in their dtype; or None.
        class_scores_grad: (N, C) by the class scores, sample by sample; or None.
        state_scores_grad: (N, K) by the state scores; or None.
        entry_costs_grad: (N, K) by the entry costs; or None.
    """

    loss: Array
    grad: Array | None = None
    class_scores_grad: Array | None = None
    state_scores_grad: Array | None = None
    entry_costs_grad: Array | None = None


class States(NamedTuple):
    """Occupancies of states.

    Attributes:
        score: (N,) nats, the log of the sum over all paths.
        status: uint8 (N,) a :class:`ctckit.Status` each.
        occupancy: (N, T, K), float64 for float64 scores, else float32.
    """

    score: Array
    status: Array
    occupancy: Array


class Paths(NamedTuple):
    """Most probable paths.

    Attributes:
        score: (N,) nats, of the path.
        status: uint8 (N,) a :class:`ctckit.Status` each.
        states: int32 (N, T) its state at each frame, -1 where there is none.
        frame_scores: (N, T) what each frame adds to its score.
    """

    score: Array
    status: Array
    states: Array
    frame_scores: Array


def real_of(dtype: Any) -> Any:
    """What losses and occupancies of scores of that dtype are computed in: float32 for half precision."""
    return jnp.float64 if dtype == jnp.float64 else jnp.float32


def ctc_lattices(targets: Array, num_frames: Array, target_lengths: Array, blank: int) -> LatticeArrays:
    """CTC's lattices of padded targets, in jax's operations: those that ``native/layout.cpp`` makes of the same rule.

    Args:
        targets: integers (N, S); what stands in the padding doesn't matter.
        num_frames: (N,).
        target_lengths: (N,).
        blank: the blank's class.
    """
    blanks, tokens, repeats, first, last = (jnp.uint8(bits) for bits in ARCS_BY_ROLE.tolist())
    size, longest = targets.shape
    lengths = target_lengths.astype(jnp.int32)
    states = 2 * lengths + 1
    within = jnp.arange(longest) < lengths[:, None]
    token = jnp.where(within, targets.astype(jnp.int32), blank)
    before = jnp.pad(token[:, :-1], ((0, 0), (1, 0)), constant_values=-1)[:, :longest]

    def alternating(of_blanks: int | Array, of_tokens: Array) -> Array:
        """A row that begins and ends with a blank's entry."""
        others = jnp.full((size, longest + 1), of_blanks, of_tokens.dtype)
        pairs = jnp.stack([others[:, :-1], of_tokens], axis=2).reshape(size, 2 * longest)
        return jnp.concatenate([pairs, others[:, -1:]], axis=1)

    k = jnp.arange(2 * longest + 1)
    arcs = alternating(blanks, jnp.where(token == before, repeats, tokens))
    arcs |= jnp.where(k < 2, first, jnp.uint8(0))
    arcs |= jnp.where((k >= states[:, None] - 2) & (k < states[:, None]), last, jnp.uint8(0))
    # The first state has none before it.
    arcs &= jnp.where(k == 0, jnp.uint8(~(Arc.STEP | Arc.SKIP) & 0xFF), jnp.uint8(0xFF))
    arcs &= jnp.where(k == 1, jnp.uint8(~Arc.SKIP & 0xFF), jnp.uint8(0xFF))
    arcs = jnp.where(k < states[:, None], arcs, jnp.uint8(0))
    return LatticeArrays(num_frames.astype(jnp.int32), states, alternating(blank, token), arcs)


def checked_lattices(scores: Array, batch: Batch, blank: int) -> tuple[LatticeArrays, Array]:
    """Lattices, and which samples' values are right (N,): of a call whose values nobody has checked.

    Args:
        scores: (N, T, C); only its shape is used.
        batch: targets or lattices. Of a sample that is wrong, what comes back is safe to read.
        blank: the blank's class, of targets.
    """
    frames = batch.num_frames
    valid = (frames >= 0) & (frames <= scores.shape[1])
    frames = jnp.clip(frames, 0, scores.shape[1])
    if isinstance(batch, LatticeArrays):
        return batch._replace(num_frames=frames), valid
    targets, lengths = batch.targets, batch.target_lengths
    valid &= (lengths >= 0) & (lengths <= targets.shape[1])
    lengths = jnp.clip(lengths, 0, targets.shape[1])
    wrong = (targets < 0) | (targets >= scores.shape[2]) | (targets == blank)
    valid &= ~(wrong & (jnp.arange(targets.shape[1]) < lengths[:, None])).any(1)
    return ctc_lattices(jnp.where(wrong, blank, targets), frames, lengths, blank), valid
