"""Sums over all paths in JAX's operations: for every device that XLA compiles for, and the only way on a TPU.

One forward and one backward pass over frames, on scaled floats (scaled.py). Of the forward pass only the row before
each block of about √T frames is kept; a block's rows are computed again on the way back. The rules and results are
those of the C++ kernels (`native/ctckit.h`). Nothing here can be differentiated. May import jax, lattice/,
lattices.py, spread.py, scaled.py and emissions.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ...lattice import MOVES, Arc
from ..lattices import Array, LatticeArrays, Sums, real_of
from . import scaled, spread
from .emissions import Block, Normalisers, Reader, accepts_nothing, added_scores, emissions, neighbours, reader
from .scaled import Scaled

STEPS, LARGE = 8, 1 << 20  # parts of a nat: sums of whole ones are exact; nats of which parts don't matter
FEW_CLASSES = 64  # occupancies are summed by class by a product of matrices; else by adding each to its class


def sums(scores: Array, lattices: LatticeArrays, *, from_logits: bool, wants_grad: bool, are_ctc: bool = False) -> Sums:
    """Sums over all paths of each sample.

    Args:
        scores: (N, T, C).
        lattices: of the samples; their labels are classes, and no sample has more than T frames.
        from_logits: whether scores are normalised first.
        wants_grad: whether the gradients by all that is given are computed.
        are_ctc: whether the caller knows that these are CTC's lattices: then the loss of logits is never below 0.
    """
    dtype = real_of(scores.dtype)
    read = reader(scores, lattices, dtype, from_logits=from_logits)
    graphs = _graphs(lattices, read.broken, dtype)
    rows, last, nats = _forward(read, graphs)
    score, whole = _score(read, graphs, last, nats)
    loss = jnp.where(read.broken & (score > -jnp.inf), jnp.nan, 0 - score)
    if from_logits and are_ctc:
        loss = jnp.maximum(loss, 0)
    return _backward(read, graphs, rows, whole, loss, scores.shape[1]) if wants_grad else Sums(loss)


class _Move(NamedTuple):
    """One way from each state's neighbour into it.

    Attributes:
        arc: the row of masks that says which states are entered in that way. Not an array.
        offset: where the neighbour is: -1 is the state before. Not an array.
        factor: (N, K) what that costs; or None.
    """

    arc: int
    offset: int
    factor: Scaled | None


class _Graph(NamedTuple):
    """What rows advance by, in one direction.

    Attributes:
        masks: int32 (1 + moves, N, K + 2) of exponents: which states may be stayed in, and entered by each of `MOVES`;
            all in one array, and with what stands after the last state, since XLA compiles each array's computation.
        moves: the ways into states from others.
        begin: (N, K) the row before the first frame.
    """

    masks: Array
    moves: list[_Move]
    begin: Scaled


class _Graphs(NamedTuple):
    """Of a batch.

    Attributes:
        forward: rows of all paths from the start up to a frame.
        backward: rows of all paths from a frame to the end.
        added: (N, K) nats that a state emits at every frame.
    """

    forward: _Graph
    backward: _Graph
    added: Array


def _graphs(lattices: LatticeArrays, broken: Array, dtype: Any) -> _Graphs:
    arcs, cost = lattices.arcs, None
    start, end = (scaled.indicator((arcs & bit) != 0, dtype) for bit in (Arc.START, Arc.END))
    if lattices.entry_costs is not None:
        cost = scaled.normalised(scaled.exp(jnp.where(broken[:, None], 0, -lattices.entry_costs.astype(dtype))))
        start = scaled.times(start, cost)
    bits = jnp.asarray([Arc.STAY, *(bit for bit, _ in MOVES)], jnp.uint8)
    wide = jnp.pad(arcs, ((0, 0), (0, max(back for _, back in MOVES))))
    masks = scaled.as_mask((wide & bits[:, None, None]) != 0)
    into = [_Move(arc, -back, cost) for arc, (_, back) in enumerate(MOVES, 1)]
    out_of = [_Move(move.arc, -move.offset, _from(cost, -move.offset)) for move in into]
    return _Graphs(_Graph(masks, into, start), _Graph(masks, out_of, end), added_scores(lattices, dtype))


def _from(row: Scaled | None, offset: int) -> Scaled | None:
    """At each state the number that stands so many states after it."""
    if row is None:
        return None
    return Scaled(neighbours(row.mantissa, offset, 1), neighbours(row.exponent, offset, scaled.ZERO))


class _Frame(NamedTuple):
    """One frame of all samples, or a block of them with a first axis more.

    Attributes:
        emission: (N, K).
        rests: (N,) whether paths don't move into the frame: into the first one, and where frames are passed over.
    """

    emission: Scaled
    rests: Array


def _advance(graph: _Graph, row: Scaled, frame: _Frame) -> tuple[Scaled, Scaled]:
    """The next row, which is not normalised: that is cheaper before its next use, once for all neighbours.

    And what entered states from others, before they emit.
    """
    row, arriving = _with_neighbours(graph, scaled.normalised(row))
    entered = scaled.plus(*arriving)
    stayed = row.masked(graph.masks[0, :, : row.exponent.shape[1]])
    reached = scaled.where(frame.rests[:, None], row, scaled.plus(stayed, entered))
    return scaled.times(reached, frame.emission), entered


def _with_neighbours(graph: _Graph, row: Scaled) -> tuple[Scaled, list[Scaled]]:
    """The row, and what arrives at each state by each move."""
    offsets, size = [move.offset for move in graph.moves], row.mantissa.shape[1]
    before, after = max(0, -min(offsets)), max(0, *offsets)
    mantissa = jnp.pad(row.mantissa, ((0, 0), (before, after)), constant_values=1)
    exponent = jnp.pad(row.exponent, ((0, 0), (before, after)), constant_values=scaled.ZERO)
    # All neighbours are parts of one padded row. XLA would make it anew for each of them, number by number.
    wide = lax.optimization_barrier((mantissa, exponent))

    def part(offset: int) -> Scaled:
        return Scaled(*(array[:, before + offset : before + offset + size] for array in wide))

    def arriving(move: _Move) -> Scaled:
        entered = max(0, move.offset)  # backward, a path comes from the state that it entered by the arc
        way = part(move.offset).masked(graph.masks[move.arc, :, entered : entered + size])
        return way if move.factor is None else scaled.times(way, move.factor)

    return part(0), [arriving(move) for move in graph.moves]


class _Passed(NamedTuple):
    """What the forward pass has found.

    Attributes:
        start: of the next block; kept, and not made of an index, so that XLA finds the same kernels in both passes.
        row: (N, K) of all paths up to there.
        nats: (N,) that it is relative to.
    """

    start: Array
    row: Scaled
    nats: Array


def _forward(read: Reader, graphs: _Graphs) -> tuple[Scaled, Scaled, Array]:
    """The rows before each block, the last row, and the nats that it is relative to (N,)."""

    def over_block(carry: _Passed, _: Array) -> tuple[_Passed, Scaled]:
        block = read.block(carry.start)
        emission, offset = _scaled_emissions(read, graphs, block)
        frames = _Frame(emission, _rests(read, block, 0))
        last, _ = spread.scan(lambda row, frame: (_advance(graphs.forward, row, frame)[0], None), carry.row, frames)
        return _Passed(read.after(block), last, carry.nats + offset.sum(axis=1)), carry.row

    nats = jnp.zeros(read.broken.shape, graphs.added.dtype)
    begin = _Passed(jnp.int32(0), graphs.forward.begin, nats)
    found, rows = spread.scan(over_block, begin, jnp.arange(read.blocks))
    return rows, found.row, found.nats


def _scaled_emissions(read: Reader, graphs: _Graphs, block: Block) -> tuple[Scaled, Array]:
    """A block's emissions (B, N, K), and the nats (N, B) that they are relative to, near each frame's best label."""
    values = emissions(block, read.lattices, read.broken, graphs.added)
    best = values.max(axis=1)
    best = jnp.where(best > -jnp.inf, _whole_steps(best), 0)
    return scaled.exp((values - best[:, None]).transpose(2, 0, 1)), best


def _whole_steps(nats: Array) -> Array:
    """Rounded so that sums of them are exact; large ones, which might overflow here, are whole already."""
    return jnp.where(jnp.abs(nats) < LARGE, jnp.round(nats * STEPS) / STEPS, nats)


def _rests(read: Reader, block: Block, first: int | Array) -> Array:
    """(B, N) whether paths don't move into a frame: into the first one, and where frames are passed over."""
    frames = block.frames[:, None]
    return (frames >= read.lattices.num_frames) | (frames < block.new) | (frames == first)


def _score(read: Reader, graphs: _Graphs, last: Scaled, nats: Array) -> tuple[Array, Array]:
    """The log-scores (N,), and the exponents of what the rows sum up to."""
    lattices = read.lattices
    ends = scaled.total(scaled.times(scaled.normalised(last), graphs.backward.begin))
    coarse, fine = scaled.log(ends)
    if read.normalisers is not None:
        used = jnp.arange(read.scores.shape[1]) < lattices.num_frames[:, None]
        top = _whole_steps(read.normalisers.top)
        nats -= jnp.where(used, top, 0).sum(axis=1)
        fine -= jnp.where(used, (read.normalisers.top - top) + jnp.log(read.normalisers.mass), 0).sum(axis=1)
    score = jnp.where(ends.exponent > scaled.DEAD, (coarse + nats) + fine, -jnp.inf)
    return jnp.where(lattices.num_frames == 0, jnp.where(accepts_nothing(lattices), 0, -jnp.inf), score), ends.exponent


class _Gathered(NamedTuple):
    """What the backward pass has found.

    Attributes:
        start: of the next block.
        row: (N, K) of all paths from the last block that was read on.
        memory: for the rows of a block.
        grad: (N, T, C) by the scores.
        others: the other gradients of what is given, by their names in `Sums`.
    """

    start: Array
    row: Scaled
    memory: _Rows
    grad: Array
    others: dict[str, Array]


def _backward(read: Reader, graphs: _Graphs, rows: Scaled, whole: Array, loss: Array, num_frames: int) -> Sums:
    """The gradients, given the rows before each block; that by the scores of so many frames."""

    def over_block(carry: _Gathered, before: Scaled) -> tuple[_Gathered, None]:
        block = read.block(carry.start)
        row, memory, occupancy, entries = _occupancies(read, graphs, block, before, carry.row, carry.memory, whole)
        # A frame's occupancies sum up to 1: dividing by what they do sum up to takes rounding out of them.
        mass = occupancy.sum(axis=2, keepdims=True)
        factor = jnp.where(block.active.T[..., None] & (mass > 0), 1 / mass, 0)
        occupancy *= factor
        by_class = _by_class(occupancy, read.lattices.labels, read.scores.shape[2])
        dense = 0 if read.normalisers is None else _softmax(read, block, read.normalisers)
        grad = jnp.where(block.active[..., None], _judged(dense - by_class, loss), 0).astype(carry.grad.dtype)
        grad = lax.dynamic_update_slice_in_dim(carry.grad, grad, block.start, axis=1)
        more = {"class_scores_grad": -by_class.sum(axis=1), "state_scores_grad": -occupancy.sum(axis=0)}
        if entries is not None:
            first = (block.frames == 0)[:, None, None]
            more["entry_costs_grad"] = jnp.where(first, occupancy, entries * factor).sum(axis=0)
        others = {name: sums + more[name] for name, sums in carry.others.items()}
        return _Gathered(read.before(block), row, memory, grad, others), None

    grad = jnp.zeros(read.scores.shape, read.scores.dtype)
    others = _nothing(read, graphs.added.dtype)
    begin = _Gathered(jnp.int32(read.last), graphs.backward.begin, _memory(read, graphs), grad, others)
    found, _ = spread.scan(over_block, begin, rows, reverse=True)
    return Sums(loss, found.grad[:, :num_frames], **{name: _judged(sums, loss) for name, sums in found.others.items()})


def _nothing(read: Reader, dtype: Any) -> dict[str, Array]:
    """Zeros for all gradients but that by the scores, of what is given."""
    lattices, (size, _, classes) = read.lattices, read.scores.shape
    given = {
        "class_scores_grad": (lattices.class_scores, classes),
        "state_scores_grad": (lattices.state_scores, lattices.max_states),
        "entry_costs_grad": (lattices.entry_costs, lattices.max_states),
    }
    return {name: jnp.zeros((size, columns), dtype) for name, (by, columns) in given.items() if by is not None}


def _judged(gradient: Array, loss: Array) -> Array:
    """A gradient (N, ...): 0 of samples without a path, NaN of those that are not finite."""
    factor = jnp.where(jnp.isfinite(loss), 1, jnp.where(loss == jnp.inf, 0, jnp.nan)).astype(gradient.dtype)
    factor = factor.reshape(-1, *[1] * (gradient.ndim - 1))
    return jnp.where(factor == 0, 0, gradient * factor)


class _Rows(NamedTuple):
    """Memory for a block's rows (B, N, K), of both directions: one for all blocks, since clearing it takes time."""

    forward: Scaled
    backward: Scaled


def _memory(read: Reader, graphs: _Graphs) -> _Rows:
    shape = (read.length, *graphs.added.shape)
    empty = Scaled(jnp.zeros(shape, graphs.added.dtype), jnp.zeros(shape, jnp.int32))
    return _Rows(empty, empty)


def _fill(
    graph: _Graph, row: Scaled, frames: _Frame, rows: Scaled, *, reverse: bool
) -> tuple[Scaled, Scaled, Scaled | None]:
    """All rows of a block, given the one before: the last, all, and what entered states if that costs something."""
    costly = graph.moves[0].factor is not None

    def step(carry: tuple[Scaled, Scaled], at: tuple[Array, _Frame]) -> tuple[tuple[Scaled, Scaled], Scaled | None]:
        index, frame = at
        row, entered = _advance(graph, carry[0], frame)
        rows = Scaled(*(lax.dynamic_update_index_in_dim(*pair, index, 0) for pair in zip(carry[1], row, strict=True)))
        return (row, rows), entered if costly else None

    indices = jnp.arange(len(frames.rests))
    (last, rows), entered = spread.scan(step, (row, rows), (indices, frames), reverse=reverse)
    return last, rows, entered


def _occupancies(
    read: Reader, graphs: _Graphs, block: Block, before: Scaled, behind: Scaled, rows: _Rows, whole: Array
) -> tuple[Scaled, _Rows, Array, Array | None]:
    """A block's occupancies.

    Args:
        read: the scores.
        graphs: of the batch.
        block: of the scores.
        before: (N, K) the row before the block, of all paths up to there.
        behind: (N, K) the row behind it, of all paths from there.
        rows: memory.
        whole: (N,) exponents of what the products of rows sum up to.

    Returns:
        The row from the block's first frame on; the memory; occupancies (B, N, K); and, if that costs something, how
        often each state is entered (B, N, K), wrong at the first frame of all.
    """
    emission, _ = _scaled_emissions(read, graphs, block)
    frames, back = (_Frame(emission, _rests(read, block, first)) for first in (0, read.lattices.num_frames - 1))
    _, forward, entered = _fill(graphs.forward, before, frames, rows.forward, reverse=False)
    first, backward, _ = _fill(graphs.backward, behind, back, rows.backward, reverse=True)
    exponent = whole[:, None]
    entries = None if entered is None else scaled.plain(scaled.times(entered, backward), exponent)
    twice = Scaled(forward.mantissa * backward.mantissa, forward.exponent + backward.exponent)  # with their emissions
    occupancy = Scaled(twice.mantissa / emission.mantissa, twice.exponent - emission.exponent)
    return first, _Rows(forward, backward), scaled.plain(occupancy, exponent), entries


def _by_class(occupancy: Array, labels: Array, classes: int) -> Array:
    """Occupancies (B, N, K) summed over the states with the same label (N, B, C)."""
    by_sample = occupancy.swapaxes(0, 1)
    if classes <= FEW_CLASSES:
        states = (labels[..., None] == jnp.arange(classes)).astype(occupancy.dtype)
        return jnp.einsum("nbk,nkc->nbc", by_sample, states, precision=lax.Precision.HIGHEST)
    empty = jnp.zeros((by_sample.shape[1], classes), occupancy.dtype)
    return jax.vmap(lambda of_states, label: empty.at[:, label].add(of_states))(by_sample, labels)


def _softmax(read: Reader, block: Block, normalisers: Normalisers) -> Array:
    top, mass = (read.part(array, block.start)[..., None] for array in normalisers)
    return jnp.exp(block.scores.astype(mass.dtype) - top) / mass
