"""Best paths in JAX's operations, for every device that XLA compiles for.

The recursion with the maximum in place of sums, on plain logarithms, by the rules of the C++ kernels. Forward, the row
before each block of about √T frames is kept. Back, block by block, rows are computed again with the moves that led to
each state, and the path is read off those. May import jax, lattice/, results.py, lattices.py, spread.py
and emissions.py.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax

from ...lattice import MOVES, Arc
from ...results import Status
from ..lattices import Array, LatticeArrays, Paths, real_of
from . import spread
from .emissions import Block, Reader, accepts_nothing, added_scores, emissions, neighbours, reader


def best_path(scores: Array, lattices: LatticeArrays, *, from_logits: bool) -> Paths:
    """Each sample's most probable path. Of equally good ones, read from its end, that of the lowest states.

    Args:
        scores: (N, T, C).
        lattices: of the samples; their labels are classes, and no sample has more than T frames.
        from_logits: whether scores are normalised first.
    """
    dtype = real_of(scores.dtype)
    read = reader(scores, lattices, dtype, from_logits=from_logits)
    search = _search(read, dtype)
    rows, last = _forward(search)
    ends = jnp.where((lattices.arcs & Arc.END) != 0, last, -jnp.inf)
    found = ends.max(axis=1) > -jnp.inf
    found = jnp.where(lattices.num_frames == 0, accepts_nothing(lattices), found)
    status = _status(read, found)
    states = _traced_back(search, rows, jnp.argmax(ends, axis=1).astype(jnp.int32))
    return _scored(search, states, status, scores.shape[1])


def along(scores: Array, lattices: LatticeArrays, states: Array, status: Array, *, from_logits: bool) -> Paths:
    """Best paths that another backend has found.

    Args:
        scores: as for :func:`best_path`, and so lattices and from_logits.
        lattices: of the samples.
        states: int32 (N, T) the paths.
        status: uint8 (N,) a :class:`ctckit.Status` each.
        from_logits: whether scores are normalised first.
    """
    dtype = real_of(scores.dtype)
    search = _search(reader(scores, lattices, dtype, from_logits=from_logits), dtype)
    missing = search.read.scores.shape[1] - scores.shape[1]
    return _scored(search, jnp.pad(states, ((0, 0), (0, missing))), status, scores.shape[1])


def _scored(search: _Search, states: Array, status: Array, frames: int) -> Paths:
    """The scores of paths and of their first ``frames`` frames; states become -1 where a sample has no path."""
    read = search.read
    used = (jnp.arange(read.scores.shape[1]) < read.lattices.num_frames[:, None]) & (status == Status.OK)[:, None]
    states = jnp.where(used, states, -1)
    frame_scores = jnp.where(used, _frame_scores(search, states), 0)
    score = jnp.where(status == Status.OK, frame_scores.sum(axis=1), -jnp.inf)
    score = jnp.where(status >= Status.NOT_FINITE, jnp.nan, score)
    return Paths(score, status, states[:, :frames], frame_scores[:, :frames])


class _Search(NamedTuple):
    """What rows advance by.

    Attributes:
        read: the scores.
        added: (N, K) nats that a state emits at every frame.
        costs: (N, K) nats to enter a state.
    """

    read: Reader
    added: Array
    costs: Array


def _search(read: Reader, dtype: type) -> _Search:
    """Of broken samples all scores and costs are 0, so that what is left tells whether the lattice has a path."""
    costs = read.lattices.entry_costs
    costs = jnp.zeros(read.lattices.arcs.shape, dtype) if costs is None else costs.astype(dtype)
    return _Search(read, added_scores(read.lattices, dtype), jnp.where(read.broken[:, None], 0, costs))


def _emitted(search: _Search, block: Block) -> tuple[Array, Array]:
    """(B, N, K) what states emit, relative to each frame's best; and (B, N) where rows stay as they are."""
    values = emissions(block, search.read.lattices, search.read.broken, search.added)
    best = values.max(axis=1, keepdims=True)
    values = values - jnp.where(best > -jnp.inf, best, 0)
    return values.transpose(2, 0, 1), (~block.active | (block.frames == 0)).T


def _ways(search: _Search, row: Array) -> Array:
    """(3, N, K) the scores of all ways into each state: those from the lowest states first."""
    arcs = search.read.lattices.arcs
    ways = [jnp.where((arcs & Arc.STAY) != 0, row, -jnp.inf)]
    for bit, back in MOVES:
        ways.insert(0, jnp.where((arcs & bit) != 0, neighbours(row, -back, -jnp.inf) - search.costs, -jnp.inf))
    return jnp.stack(ways)


def _advance(search: _Search, row: Array, ways: Array, frame: tuple[Array, Array]) -> Array:
    emission, rests = frame
    return jnp.where(rests[:, None], row, ways.max(axis=0)) + emission


def _forward(search: _Search) -> tuple[Array, Array]:
    """The rows (N, K) before each block, and the last; relative to their best states."""
    read = search.read

    def over_block(row: Array, first: Array) -> tuple[Array, Array]:
        best = row.max(axis=1, keepdims=True)
        row = row - jnp.where(best > -jnp.inf, best, 0)
        frames = _emitted(search, read.block(first))
        last, _ = spread.scan(lambda row, at: (_advance(search, row, _ways(search, row), at), None), row, frames)
        return last, row

    start = jnp.where((read.lattices.arcs & Arc.START) != 0, -search.costs, -jnp.inf)
    last, rows = spread.scan(over_block, start, read.starts)
    return rows, last


def _traced_back(search: _Search, rows: Array, end: Array) -> Array:
    """(N, T) the states of each sample's best path into its state ``end`` (N,); of no use if there is no such path."""
    read = search.read

    def over_block(carry: tuple[Array, Array], at: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        (state, states), (first, row) = carry, at
        block = read.block(first)

        def ahead(row: Array, frame: tuple[Array, Array]) -> tuple[Array, Array]:
            ways = _ways(search, row)
            return _advance(search, row, ways, frame), jnp.argmax(ways, axis=0).astype(jnp.int8)

        def back(state: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            way, rests = at
            steps = len(MOVES) - jnp.take_along_axis(way, state[:, None], axis=1)[:, 0].astype(jnp.int32)
            return jnp.where(rests, state, jnp.maximum(state - steps, 0)), state

        emission, rests = _emitted(search, block)
        _, ways = spread.scan(ahead, row, (emission, rests))
        state, visited = spread.scan(back, state, (ways, rests), reverse=True)
        return (state, lax.dynamic_update_slice_in_dim(states, visited.T, block.start, axis=1)), None

    empty = jnp.zeros(read.scores.shape[:2], jnp.int32)
    found: tuple[Array, Array]
    found, _ = spread.scan(over_block, (end, empty), (read.starts, rows), reverse=True)
    return found[1]


def _frame_scores(search: _Search, states: Array) -> Array:
    """(N, T) what each frame adds to a path's score."""
    read, states = search.read, jnp.maximum(states, 0)
    label = jnp.take_along_axis(read.lattices.labels, states, axis=1)
    emitted = jnp.take_along_axis(read.scores, label[..., None], axis=2)[..., 0].astype(search.added.dtype)
    if read.normalisers is not None:
        emitted = (emitted - read.normalisers.top) - jnp.log(read.normalisers.mass)
    emitted += jnp.take_along_axis(search.added, states, axis=1)
    entered = jnp.concatenate([states[:, :1] >= 0, states[:, 1:] != states[:, :-1]], axis=1)
    return emitted - jnp.where(entered, jnp.take_along_axis(search.costs, states, axis=1), 0)


def _status(read: Reader, found: Array) -> Array:
    """(N,) what became of each sample, given which ones have a path of probability above 0."""
    lost = jnp.where(found, Status.OK, Status.IMPOSSIBLE)
    unknown = ~found & ~read.broken
    feasible = found | (unknown & lax.cond(unknown.any(), _has_path, lambda _: unknown, read))
    whole = jnp.where(read.broken, Status.NOT_FINITE, lost)
    return jnp.where(feasible, whole, Status.INFEASIBLE).astype(jnp.uint8)


def _has_path(read: Reader) -> Array:
    """(N,) whether a lattice has a path of its sample's number of frames, whatever the scores are."""
    lattices = read.lattices
    arcs = lattices.arcs

    def ahead(row: Array, frame: Array) -> tuple[Array, None]:
        into = [row & ((arcs & Arc.STAY) != 0)]
        into += [neighbours(row, -back, False) & ((arcs & bit) != 0) for bit, back in MOVES]
        rests = (frame >= lattices.num_frames)[:, None]
        return jnp.where(rests, row, into[0] | into[1] | into[2]), None

    row: Array
    row, _ = spread.scan(ahead, (arcs & Arc.START) != 0, jnp.arange(1, read.scores.shape[1]))
    return jnp.any(row & ((arcs & Arc.END) != 0), axis=1) & (lattices.num_frames > 0)
