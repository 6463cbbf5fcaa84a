"""A graph as arrays of its states and arcs, and the parts of it that are on paths.

May import rule.py, arrays.py and errors.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from .arrays import numbers, refuse
from .rule import MOVES, Arc

STAR = -1
"""In a target: a token that matches whatever class is the most probable."""

AT_STATE = np.uint8(Arc.STAY | Arc.START | Arc.END)  # the bits of a state that lead from no other

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]
G = TypeVar("G", bound="Graph")


class Added(NamedTuple):
    """A state that a builder adds."""

    label: int
    bits: int
    cost: float = 0.0
    token: int = -1


@dataclass(frozen=True, eq=False, init=False)
class Graph:
    """States and arcs, and which of them lie on paths. :class:`Lattice` adds the topologies that are built from it."""

    labels: Int32Array
    arcs: npt.NDArray[np.uint8]
    tokens: Int32Array
    entry_costs: Float64Array | None
    long_arcs: Int32Array
    long_arc_scores: Float64Array

    def __init__(
        self,
        labels: npt.ArrayLike,
        arcs: npt.ArrayLike,
        tokens: npt.ArrayLike | None = None,
        entry_costs: npt.ArrayLike | None = None,
        long_arcs: npt.ArrayLike = (),
        long_arc_scores: npt.ArrayLike | None = None,
    ) -> None:
        states = numbers("labels", labels, np.int32, (-1,))
        size = len(states)
        if not size:
            raise CTCError("labels is empty: expected at least one state")
        bits = numbers("arcs", arcs, np.int64, (size,))
        of_target = np.full(size, -1, np.int32) if tokens is None else numbers("tokens", tokens, np.int32, (size,))
        refuse("labels", states < STAR, states, "a class, or ctckit.STAR")
        refuse("arcs", (bits < 0) | (bits > 31), bits, "bits of ctckit.Arc, 0..31")
        refuse("tokens", (of_target < -1) | (of_target >= size), of_target, f"-1, or a token's index below K={size}")
        bits[0] &= ~(Arc.STEP | Arc.SKIP)  # there is no state before the first
        bits[1:2] &= ~Arc.SKIP
        costs = None if entry_costs is None else numbers("entry_costs", entry_costs, np.float64, (size,))
        if costs is not None:
            refuse("entry_costs", ~(costs > -np.inf), costs, "nats, finite or +inf")
        far = numbers("long_arcs", long_arcs, np.int32, (-1, 2))
        backwards = (far[:, 0] < 0) | (far[:, 0] >= far[:, 1]) | (far[:, 1] >= size)
        refuse("long_arcs", backwards, far, f"(from, to) with 0 <= from < to < K={size}")
        scores = np.zeros(len(far)) if long_arc_scores is None else long_arc_scores
        scores = numbers("long_arc_scores", scores, np.float64, (len(far),))
        refuse("long_arc_scores", ~(scores < np.inf), scores, "nats, finite or -inf")
        order = np.lexsort((far[:, 0], far[:, 1]))
        values = (states, bits.astype(np.uint8), of_target, costs, far[order], scores[order])
        for attribute, value in zip(fields(self), values, strict=True):
            if value is not None:
                value.flags.writeable = False
            object.__setattr__(self, attribute.name, value)

    @property
    def num_states(self) -> int:
        """K."""
        return len(self.labels)

    @property
    def num_tokens(self) -> int:
        """S: one more than the largest index in ``tokens``."""
        return int(self.tokens.max()) + 1

    @property
    def target(self) -> npt.NDArray[np.int64]:
        """(S,) the class of each token: the label of its first state."""
        return target_of(self.labels, self.tokens, self.num_tokens)

    @classmethod
    def _of_moves(
        cls: type[G],
        labels: npt.ArrayLike,
        arcs: npt.NDArray[np.uint8],
        tokens: npt.ArrayLike,
        entry_costs: Float64Array | None,
        moves: tuple[Int32Array, Int32Array, Float64Array],
    ) -> G:
        """A graph of states and moves (from, to, score); ``arcs`` has the bits that lead from no other state."""
        source, to, scores = moves
        bits = np.select([to - source == 1, to - source == 2], [int(Arc.STEP), int(Arc.SKIP)], 0)
        as_bits = (bits > 0) & (scores == 0)
        arcs = arcs.copy()
        np.bitwise_or.at(arcs, to[as_bits], bits[as_bits].astype(np.uint8))
        return cls(labels, arcs, tokens, entry_costs, np.stack((source, to), axis=1)[~as_bits], scores[~as_bits])

    def _extended(
        self: G, places: npt.NDArray[np.int64], added: dict[int, Added], moves: list[tuple[int, int, float]]
    ) -> G:
        """This graph's states at new places (K,), with states added at the others, and moves (from, to, score)."""
        size = self.num_states + len(added)
        labels, arcs = np.zeros(size, np.int32), np.zeros(size, np.uint8)
        tokens, costs = np.full(size, -1, np.int32), np.zeros(size)
        labels[places], arcs[places], tokens[places] = self.labels, self.arcs & AT_STATE, self.tokens
        costs[places] = 0 if self.entry_costs is None else self.entry_costs
        for k, state in added.items():
            labels[k], arcs[k], costs[k], tokens[k] = state.label, np.uint8(state.bits), state.cost, state.token
        source, to, scores = self._moves()
        more = np.array(moves, np.float64).reshape(-1, 3)
        all_moves = (
            np.concatenate((places[source], more[:, 0])).astype(np.int32),
            np.concatenate((places[to], more[:, 1])).astype(np.int32),
            np.concatenate((scores, more[:, 2])),
        )
        return self._of_moves(
            labels, arcs, tokens, costs if costs.any() or self.entry_costs is not None else None, all_moves
        )

    def through(self: G, tokens: npt.ArrayLike) -> tuple[G, Int32Array]:
        """Only the paths that visit exactly the given tokens.

        Args:
            tokens: bool (S,). The states of each token must be consecutive.

        Returns:
            A lattice of the states that are on such a path; and int32 (K,), the index in it of each state, or -1. Arcs
            that bits can express become bits, and neighbouring blanks are merged. So nothing remains of an optional
            word that is left out, and each label sequence has one path.

        Raises:
            CTCError: no such path exists.

        Example:
            >>> from ctckit import ctc_lattice
            >>> lattice, index = ctc_lattice([1, 2, 3]).with_optional([0, 7, 0]).through([True, False, True])
            >>> lattice.labels.tolist(), index.tolist()
            ([0, 1, 0, 3, 0], [0, 1, 2, -1, -1, 3, 4])
        """
        wanted = numbers("tokens", tokens, np.bool_, (self.num_tokens,))
        lattice, index = self._without_detours(wanted)._restricted(np.append(wanted, True)[self.tokens])
        lattice, merged = lattice._merged()
        return lattice, np.where(index >= 0, merged[index], -1).astype(np.int32)

    @property
    def visits_every_token(self) -> bool:
        """Whether no path leaves out a token.

        Example:
            >>> from ctckit import ctc_lattice
            >>> lattice = ctc_lattice([1, 2])
            >>> lattice.visits_every_token, lattice.with_optional([0, 7]).visits_every_token
            (True, False)
        """
        same = self._without_detours(np.ones(self.num_tokens, np.bool_))
        return np.array_equal(same.arcs, self.arcs) and len(same.long_arcs) == len(self.long_arcs)

    def _without_detours(self: G, wanted: npt.NDArray[np.bool_]) -> G:
        """The lattice without the beginnings, ends and arcs by which a path misses a wanted token (S,)."""
        state = np.flatnonzero(self.tokens >= 0)
        of_state = self.tokens[state]
        first, last = np.full(len(wanted), self.num_states), np.full(len(wanted), -1)
        np.minimum.at(first, of_state, state)
        np.maximum.at(last, of_state, state)
        first, last = np.sort(first[wanted]), np.sort(last[wanted])
        next_token = np.searchsorted(first, np.arange(self.num_states), side="right")  # the first one after a state
        end_of_next = np.append(last, self.num_states)[next_token]
        arcs = self.arcs.copy()
        if wanted.any():
            arcs[last[0] + 1 :] &= ~np.uint8(Arc.START)
            arcs[: first[-1]] &= ~np.uint8(Arc.END)
        for bit, back in MOVES:
            entered = np.flatnonzero(arcs & bit)
            arcs[entered[end_of_next[entered - back] < entered]] &= ~np.uint8(bit)
        fits = end_of_next[self.long_arcs[:, 0]] >= self.long_arcs[:, 1]
        return replace(self, arcs=arcs, long_arcs=self.long_arcs[fits], long_arc_scores=self.long_arc_scores[fits])

    def without_common_costs(self: G) -> G:
        """The same lattice without entry costs, if all paths pay the same; otherwise this one.

        All pay the same in a lattice whose paths visit every token (see :meth:`through`), where only tokens have costs
        and each has one state.
        """
        if self.entry_costs is None or self.entry_costs[self.tokens < 0].any():
            return self
        return replace(self, entry_costs=None) if (self.tokens >= 0).sum() == self.num_tokens else self

    def _restricted(self: G, keep: npt.NDArray[np.bool_]) -> tuple[G, Int32Array]:
        """The lattice of kept states that lie on a path through kept states, and the index of each state in it."""
        alive = self._on_paths(keep)
        if not alive.any():
            raise CTCError("no path is left: expected those of one path at least")
        return self._renumbered(np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32))

    def _merged(self: G) -> tuple[G, Int32Array]:
        """Merges neighbouring states that are not tokens, emit the same class and cost nothing to enter."""
        gap = self.tokens < 0
        if self.entry_costs is not None:
            gap &= self.entry_costs == 0
        same = gap[1:] & gap[:-1] & (self.labels[1:] == self.labels[:-1])
        return self._renumbered((np.cumsum(~np.append(False, same)) - 1).astype(np.int32))

    def _renumbered(self: G, index: Int32Array) -> tuple[G, Int32Array]:
        """The lattice in which state k becomes state index[k]; several may become one, and -1 drops a state."""
        source, to, scores = self._moves()
        kept = (index[source] >= 0) & (index[to] >= 0) & (index[source] != index[to])
        _, first = np.unique(index, return_index=True)
        first = first[-(int(index.max()) + 1) :]  # not that of -1
        arcs = np.zeros(len(first), np.uint8)
        states = np.flatnonzero(index >= 0)
        np.bitwise_or.at(arcs, index[states], self.arcs[states] & AT_STATE)
        tokens = self.tokens[first]
        left = np.unique(tokens[tokens >= 0])
        lattice = self._of_moves(
            self.labels[first],
            arcs,
            np.where(tokens >= 0, np.searchsorted(left, tokens), -1),
            None if self.entry_costs is None else self.entry_costs[first],
            (index[source[kept]], index[to[kept]], scores[kept]),
        )
        return lattice, index

    def fewest_frames(self) -> int | None:
        """The frames of the shortest path; None if no path leads from a START to an END.

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 1, 2]).fewest_frames()
            4
        """
        if ((self.arcs & (Arc.START | Arc.END) == Arc.START | Arc.END) & (self.tokens < 0)).any():
            return 0
        source, to, _ = self._moves()
        frames = np.where(self.arcs & Arc.START, 1.0, np.inf)
        for j in np.argsort(to, kind="stable").tolist():  # arcs lead forward, so what a state needs is known by then
            frames[to[j]] = min(frames[to[j]], frames[source[j]] + 1)
        fewest = float(frames[self.arcs & Arc.END != 0].min(initial=np.inf))
        return int(fewest) if fewest < np.inf else None

    def _on_paths(self, keep: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """(K,) which of the states kept lie on some path from a START to an END through kept states."""
        source, to, _ = self._moves()
        alive: npt.NDArray[np.bool_] = keep.copy()
        while True:
            through = alive[source] & alive[to]
            entered, left = self.arcs & Arc.START != 0, self.arcs & Arc.END != 0
            entered[to[through]] = True
            left[source[through]] = True
            dead: npt.NDArray[np.bool_] = alive & ~(entered & left)
            if not dead.any():
                return alive
            alive[dead] = False

    def _moves(self) -> tuple[Int32Array, Int32Array, Float64Array]:
        """All arcs between different states: from, to, and scores."""
        far = self.long_arcs
        sources, ends = [far[:, 0]], [far[:, 1]]
        for bit, back in MOVES:
            entered = np.flatnonzero(self.arcs & bit)
            sources.append((entered - back).astype(np.int32))
            ends.append(entered.astype(np.int32))
        source, to = np.concatenate(sources), np.concatenate(ends)
        scores = np.concatenate((self.long_arc_scores, np.zeros(len(to) - len(far))))
        return source, to, scores


def target_of(labels: Int32Array, tokens: Int32Array, num_tokens: int) -> npt.NDArray[np.int64]:
    """(S,) the class of each token: the label of the first of its states; ``STAR`` for one that has none.

    Args:
        labels: (K,) of each state.
        tokens: (K,) the token that each state is, or -1.
        num_tokens: S.
    """
    target = np.full(num_tokens, STAR, np.int64)
    is_token = np.flatnonzero(tokens >= 0)[::-1]  # of several states, the first is written last
    target[tokens[is_token]] = labels[is_token]
    return target
