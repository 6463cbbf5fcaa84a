"""Any lattice, as arrays of its states and arcs, and the builders of other topologies.

May import rule.py, arrays.py and errors.py.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from .arrays import numbers, refuse
from .rule import MOVES, Arc

STAR = -1
"""In a target: a token that matches whatever class is the most probable."""

AT_STATE = np.uint8(Arc.STAY | Arc.START | Arc.END)  # the bits of a state that lead from no other

AT_ONCE = 5  # neighbouring groups that one arc may leave out: two words, with what stands between

Int32Array = npt.NDArray[np.int32]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, init=False)
class Lattice:
    """One target's graph (k2: topology): K states with a class each, and arcs; long, since each topology is a method.

    A path visits one state per frame. Its score is the sum of the log-probabilities of its labels, minus the entry
    costs it pays, plus the scores of the long arcs it takes. Sums over paths count every path of the graph, as k2 does:
    a label sequence that two paths spell is counted twice. So a builder must give each label sequence one path. CTC's
    lattice does; :meth:`with_optional` says when it does.

    Args:
        labels: int32 (K,), the class that each state emits; ``ctckit.STAR`` in lattices for :func:`forced_align`.
        arcs: uint8 (K,), bits of :class:`Arc`.
        tokens: int32 (K,), the index of the token that each state is; -1, the default, for a state that is not a token,
            such as a blank.
        entry_costs: float64 (K,), nats that a path pays when it enters a state from another one or begins in it, but
            not while it stays. May be negative; +inf forbids entering. None: no costs.
        long_arcs: int32 (J, 2), arcs (from, to) with from < to, in addition to the bits. Stored in order of ``to``,
            then ``from``. If two arcs connect the same states, or an arc and a bit do, each counts as a path of its
            own.
        long_arc_scores: float64 (J,), nats added when such an arc is taken; 0 if not given. -inf forbids.

    Raises:
        CTCError: shapes that don't match, unknown bits, an arc that leads backwards, NaN.

    If a path may begin and end in a state that is not a token, the lattice also has a path of 0 frames, as the empty
    target needs.

    Example:
        >>> lattice = Lattice([1, 2], [Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END], tokens=[0, 1])
        >>> lattice.num_states, lattice.num_tokens
        (2, 2)
    """

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

    def with_optional(self, groups: npt.ArrayLike) -> Lattice:
        """Tokens may be left out: all paths of the tokens that are kept, for every choice of groups to leave out.

        Args:
            groups: integer (S,), the group of each token: a run of equal positive numbers, such as a word's tokens, is
                left out as a whole; 0 for a token that must be there.

        Long arcs lead past a group to the token after it: from the token before it, and from the blank after that
        token. If the two tokens are equal, only the arc from the blank exists. One arc passes up to five neighbouring
        groups; where more are left out, each portion of five leaves a blank behind.

        Each choice of groups counts once: a string that two choices leave, such as "12" of "1212", counts twice. If at
        most five groups are neighbours, a choice gives a label sequence exactly one path. With more,
        a pause between two portions can be spread over their blanks in several ways, and sums count each of them.

        Raises:
            CTCError: not one group per token; several states of a token, or between two, such as wildcards.

        Source:
            Words that an arc bypasses: Gao et al., "Bypass Temporal Classification" (Interspeech 2023).

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 2, 3]).with_optional([0, 7, 0]).long_arcs.tolist()
            [[1, 5], [2, 5]]
        """
        state, size = self._state_of_token(), self.num_tokens
        group = numbers("groups", groups, np.int64, (size,)).tolist()
        runs = _runs(group)
        far = [arc for i in range(len(runs)) for arc in self._passing_by(runs[i : i + AT_ONCE], group, state)]
        arcs = self.arcs.copy()
        left_out = 0
        for first, end in runs:  # at the beginning: paths begin in the token after, or come from the first blank
            if first != left_out or end == size:
                break
            left_out = end
            arcs[state[end]] |= np.uint8(Arc.START)
            far += [(blank, state[end]) for blank in range(state[0])]
        left_out = size
        for first, end in reversed(runs):  # at the end: paths end in the token before, or in the blank after that
            if end != left_out:
                break
            left_out = first
            arcs[state[first - 1] if first else 0 : state[first]] |= np.uint8(Arc.END)
        return replace(self, arcs=arcs).with_long_arcs(far)

    def _passing_by(self, runs: list[tuple[int, int]], group: list[int], state: list[int]) -> list[tuple[int, int]]:
        """The arcs that leave out the first of these groups, alone and with its neighbours."""
        (first, _), size = runs[0], len(group)
        if first == 0:
            return []
        before, arcs = state[first - 1], []
        for j, (begin, end) in enumerate(runs):
            if (j and begin != runs[j - 1][1]) or end == size:
                break
            after, blank = state[end], self.tokens[before + 1] < 0
            portion = blank and j + 1 == AT_ONCE and group[end] > 0  # there may be more to pass by
            if self.labels[before] != self.labels[after]:
                arcs.append((before, after))
            if blank:
                arcs.append((before + 1, after))
            if portion:
                arcs += [(before, after - 1), (before + 1, after - 1)]
        return arcs

    def without_blank(self) -> Lattice:
        """Only the tokens: y1 … yS, each for one frame or more.

        Raises:
            CTCError: two equal tokens are neighbours: only a blank could separate them.

        Source:
            The "no blank" topology: Collobert et al., "Wav2Letter" (2016), without its transition scores.

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 2, 3]).without_blank().labels.tolist()
            [1, 2, 3]
        """
        missing = self._missing_detours()
        if missing:
            before, after = missing[0]
            raise CTCError(
                f"target[{self.tokens[before]}] and target[{self.tokens[after]}] are both {self.labels[after]}: "
                "without a blank between them nothing tells two equal neighbours apart; merge them into one token"
            )
        if not self.num_tokens:
            raise CTCError("the target is empty: expected a token, since without blanks no state is left")
        return self._restricted(self.tokens >= 0)[0]

    def selfless(self) -> Lattice:
        """A token takes exactly one frame: φ* y1 φ* y2 … φ*, with a blank between equal neighbours as in CTC.

        Source:
            "Selfless-CTC": Laptev et al., "CTC Variations Through New WFST Topologies" (Interspeech 2022).

        Example:
            >>> from ctckit import ctc_lattice
            >>> [bool(arc & Arc.STAY) for arc in ctc_lattice([1]).selfless().arcs]
            [True, False, True]
        """
        return replace(self, arcs=np.where(self.tokens >= 0, self.arcs & ~np.uint8(Arc.STAY), self.arcs))

    def minimal(self) -> Lattice:
        """A token takes exactly one frame, and equal neighbours need no blank: φ* y1 φ* y2 … φ*, whatever y is.

        Source:
            "Minimal-CTC": Laptev et al., "CTC Variations Through New WFST Topologies" (Interspeech 2022).

        Example:
            >>> from ctckit import ctc_lattice
            >>> bool(ctc_lattice([1, 1]).minimal().arcs[3] & Arc.SKIP)
            True
        """
        arcs, far = self.selfless().arcs.copy(), []
        for before, after in self._missing_detours():
            if after == before + 2:
                arcs[after] |= np.uint8(Arc.SKIP)
            else:
                far.append((before, after))
        return replace(self, arcs=arcs).with_long_arcs(far)

    def with_gaps(self, labels: npt.ArrayLike) -> Lattice:
        """States that are not tokens emit other classes than the blank, for example one per gap between tokens.

        With ``minimal()`` this is the graph of Star Temporal Classification: gap s emits a column of the scores that
        holds log(p_blank + w · p_star), where p_star is the probability of all classes but the blank and token s.

        Args:
            labels: integer, a class for each state that is not a token, in order: (S + 1,) for CTC's lattice.

        Source:
            Pratap et al., "Star Temporal Classification" (NeurIPS 2022).

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 2]).minimal().with_gaps([5, 6, 7]).labels.tolist()
            [5, 1, 6, 2, 7]
        """
        gaps = self.tokens < 0
        values = self.labels.copy()
        values[gaps] = numbers("labels", labels, np.int32, (int(gaps.sum()),))
        return replace(self, labels=values)

    def with_wildcards(self, label: int) -> Lattice:
        """Anything may come before and after: ★* x ★*, where x is what the lattice accepts.

        For texts that lack the beginning or the end of what was said. The wildcard is a class of its own: a column of
        the scores, such as zeros, that says what a frame outside the text costs.

        Args:
            label: the wildcard's class.

        Source:
            "W-CTC": Cai et al., "W-CTC: a Connectionist Temporal Classification Loss with Wild Cards" (ICLR 2022).

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1]).with_wildcards(9).labels.tolist()
            [9, 0, 1, 0, 9]
        """
        wildcard, last = int(numbers("label", label, np.int32, ())), self.num_states + 1
        places = np.arange(1, last)
        moves = [(0, int(k), 0.0) for k in places[self.arcs & Arc.START != 0]]
        moves += [(int(k), last, 0.0) for k in places[self.arcs & Arc.END != 0]]
        added = {0: _Added(wildcard, Arc.STAY | Arc.START), last: _Added(wildcard, Arc.STAY | Arc.END)}
        return self._extended(places, added, moves)

    def with_stars(
        self, label: int, cost: float = 0.0, *, before: bool = True, between: bool = True, after: bool = True
    ) -> Lattice:
        """Something else may be said where the target has a gap: x, or x with one ★⁺ in any of its gaps.

        The star is a class of its own, a column of the scores, which says what a star's frame costs. Whether blanks are
        part of it depends on that column: :func:`ctckit.with_star` appends the usual ones. Next to a star, a blank may
        stand on both sides. Each choice of gaps with a star counts once.

        Args:
            label: the star's class.
            cost: nats that a path pays for each star that it enters.
            before: whether a star may stand before the first token.
            between: whether one may stand between two tokens.
            after: whether one may stand after the last token.

        Raises:
            CTCError: a gap without a blank, where nothing can be inserted.

        Source:
            A garbage or filler model with an entry cost; without the cost, the stars of Pratap et al., "Star Temporal
            Classification" (NeurIPS 2022), which may repeat.

        Example:
            >>> from ctckit import ctc_lattice
            >>> lattice = ctc_lattice([1, 2]).with_stars(9, 0.5, before=False, after=False)
            >>> lattice.labels.tolist(), lattice.entry_costs.tolist()
            ([0, 1, 0, 9, 0, 2, 0], [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0])
        """
        star, nats = int(numbers("label", label, np.int32, ())), float(numbers("cost", cost, np.float64, ()))
        state = [-1, *self._state_of_token(), self.num_states]
        wanted = [before, *[between] * (self.num_tokens - 1), after] if self.num_tokens else [before or after]
        gaps = [(low + 1, high) for (low, high), want in zip(pairwise(state), wanted, strict=True) if want]
        for blank, end in gaps:
            if blank == end:
                raise CTCError(f"a gap at state {blank} has no blank: expected with_stars before without_blank")
        chosen = np.zeros(self.num_states, np.int64)
        chosen[[blank for blank, _ in gaps]] = 2
        places = np.arange(self.num_states) + np.cumsum(chosen) - chosen
        source, to, scores = (values.tolist() for values in self._moves())
        added: dict[int, _Added] = {}
        moves: list[tuple[int, int, float]] = []
        for blank in np.flatnonzero(chosen).tolist():
            own = int(places[blank])
            entry, second = own + 1, own + 2
            bits = self.arcs[blank]
            added[entry] = _Added(star, Arc.STAY | (bits & (Arc.START | Arc.END)), nats)
            added[second] = _Added(int(self.labels[blank]), bits & (Arc.STAY | Arc.END))
            moves += [(own, entry, 0.0), (entry, second, 0.0)]
            for i, j, score in zip(source, to, scores, strict=True):
                if j == blank:
                    moves.append((int(places[i]), entry, score))
                if i == blank:
                    moves += [(entry, int(places[j]), score), (second, int(places[j]), score)]
        return self._extended(places, added, moves)

    def with_bypass(self, words: npt.ArrayLike, label: int, score: float) -> Lattice:
        """Each word may be read as one ★⁺ instead, where a transcript has wrong words; every choice counts once.

        Args:
            words: integer (S,), the word of each token, a run of equal positive numbers; 0 for a token that must be
                read.
            label: the star's class, a column of the scores; published models use the mean of all tokens'
                probabilities (:func:`ctckit.with_star`, ``"mean"``).
            score: nats added for each word that is read as a star; usually far below 0 at first. -inf: none ever is.

        Like any two equal tokens, two stars side by side need a blank between them.

        Raises:
            CTCError: not one word per token; several states of a token.

        Source:
            Gao et al., "Bypass Temporal Classification" (Interspeech 2023).

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 2]).with_bypass([1, 1], 9, -2.0).labels.tolist()
            [0, 1, 0, 2, 9, 0]
        """
        star, gain = int(numbers("label", label, np.int32, ())), float(numbers("score", score, np.float64, ()))
        if not gain < np.inf:
            raise CTCError(f"score = {gain} is out of range: expected nats, finite or -inf")
        state, size = self._state_of_token(), self.num_tokens
        runs = _runs(numbers("words", words, np.int64, (size,)).tolist())
        shift = np.zeros(self.num_states + 1, np.int64)
        shift[[state[end - 1] + 1 for _, end in runs]] = 1
        places = np.arange(self.num_states) + np.cumsum(shift)[:-1]
        added: dict[int, _Added] = {}
        moves: list[tuple[int, int, float]] = []
        for first, end in runs:
            begin, last = state[first], state[end - 1]
            place = int(places[last]) + 1
            bits = Arc.STAY | (self.arcs[begin] & Arc.START) | (self.arcs[last] & Arc.END)
            added[place] = _Added(star, bits, -gain, end - 1)
            sources = [state[first - 1]] if first else []
            sources += [begin - 1] if begin and self.tokens[begin - 1] < 0 else []
            ends = [state[end]] if end < size else []
            ends += [last + 1] if last + 1 < self.num_states and self.tokens[last + 1] < 0 else []
            moves += [(int(places[i]), place, 0.0) for i in sources] + [(place, int(places[j]), 0.0) for j in ends]
        return self._extended(places, added, moves)

    def _extended(
        self, places: npt.NDArray[np.int64], added: dict[int, _Added], moves: list[tuple[int, int, float]]
    ) -> Lattice:
        """This lattice's states at new places (K,), with states added at the others, and moves (from, to, score)."""
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
        return _of_moves(
            labels, arcs, tokens, costs if costs.any() or self.entry_costs is not None else None, all_moves
        )

    def with_costs(self, costs: npt.ArrayLike) -> Lattice:
        """Replaces the entry costs: a path's score falls by costs[k] each time the path enters state k.

        Args:
            costs: nats (K,), or one number for all states that are tokens.

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1]).with_costs(0.5).entry_costs.tolist()
            [0.0, 0.5, 0.0]
        """
        given = numbers("costs", costs, np.float64, (self.num_states,)[: np.ndim(costs)])
        return replace(self, entry_costs=np.where(self.tokens >= 0, given, 0) if given.ndim == 0 else given)

    def with_long_arcs(self, arcs: npt.ArrayLike, scores: npt.ArrayLike | None = None) -> Lattice:
        """Adds long arcs: a path may go from state i to state j > i, and the arc's score is added to its own.

        Args:
            arcs: integer (J, 2), (from, to).
            scores: nats (J,), added; 0 if not given.

        Example:
            >>> from ctckit import ctc_lattice
            >>> ctc_lattice([1, 2, 3]).with_long_arcs([(1, 5)], [-2.5]).long_arc_scores.tolist()
            [-2.5]
        """
        more = numbers("arcs", arcs, np.int64, (-1, 2))
        added = np.zeros(len(more)) if scores is None else numbers("scores", scores, np.float64, (len(more),))
        return replace(
            self,
            long_arcs=np.concatenate((self.long_arcs, more)),
            long_arc_scores=np.concatenate((self.long_arc_scores, added)),
        )

    def through(self, tokens: npt.ArrayLike) -> tuple[Lattice, Int32Array]:
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

    def _without_detours(self, wanted: npt.NDArray[np.bool_]) -> Lattice:
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

    def without_common_costs(self) -> Lattice:
        """The same lattice without entry costs, if all paths pay the same; otherwise this one.

        All pay the same in a lattice whose paths visit every token (see :meth:`through`), where only tokens have costs
        and each has one state.
        """
        if self.entry_costs is None or self.entry_costs[self.tokens < 0].any():
            return self
        return replace(self, entry_costs=None) if (self.tokens >= 0).sum() == self.num_tokens else self

    def _restricted(self, keep: npt.NDArray[np.bool_]) -> tuple[Lattice, Int32Array]:
        """The lattice of kept states that lie on a path through kept states, and the index of each state in it."""
        alive = self._on_paths(keep)
        if not alive.any():
            raise CTCError("no path is left: expected those of one path at least")
        return self._renumbered(np.where(alive, np.cumsum(alive) - 1, -1).astype(np.int32))

    def _merged(self) -> tuple[Lattice, Int32Array]:
        """Merges neighbouring states that are not tokens, emit the same class and cost nothing to enter."""
        gap = self.tokens < 0
        if self.entry_costs is not None:
            gap &= self.entry_costs == 0
        same = gap[1:] & gap[:-1] & (self.labels[1:] == self.labels[:-1])
        return self._renumbered((np.cumsum(~np.append(False, same)) - 1).astype(np.int32))

    def _renumbered(self, index: Int32Array) -> tuple[Lattice, Int32Array]:
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
        lattice = _of_moves(
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

    def _missing_detours(self) -> list[tuple[int, int]]:
        """States (before, after) of tokens between which a path must take the blank after the first."""
        source, to, _ = self._moves()
        direct = set(zip(source.tolist(), to.tolist(), strict=True))
        by_blank = (self.tokens[source] < 0) & (source > 0) & (self.tokens[source - 1] >= 0) & (self.tokens[to] >= 0)
        pairs = zip((source[by_blank] - 1).tolist(), to[by_blank].tolist(), strict=True)
        return sorted(pair for pair in pairs if pair not in direct)

    def _state_of_token(self) -> list[int]:
        """(S,) the state of each token, where each has one."""
        state = np.flatnonzero(self.tokens >= 0)
        others = np.diff(state, prepend=-1, append=self.num_states) - 1  # states before, between and after tokens
        if not np.array_equal(self.tokens[state], np.arange(len(state))) or (others > 1).any():
            raise CTCError(
                "tokens: expected one state for each token of the target, in order, and at most one between two of "
                "them; call with_optional before what adds states"
            )
        return [int(k) for k in state]


class _Added(NamedTuple):
    """A state that a builder adds."""

    label: int
    bits: int
    cost: float = 0.0
    token: int = -1


def _runs(groups: list[int]) -> list[tuple[int, int]]:
    """The first token of each group, a run of equal positive numbers, and the one after its last."""
    size = len(groups)
    bounds = [0, *(s for s in range(1, size) if groups[s] != groups[s - 1]), size] if size else [0]
    return [(first, end) for first, end in pairwise(bounds) if groups[first] > 0]


def _of_moves(
    labels: npt.ArrayLike,
    arcs: npt.NDArray[np.uint8],
    tokens: npt.ArrayLike,
    entry_costs: Float64Array | None,
    moves: tuple[Int32Array, Int32Array, Float64Array],
) -> Lattice:
    """A lattice of states and moves (from, to, score); ``arcs`` has the bits that lead from no other state."""
    source, to, scores = moves
    bits = np.select([to - source == 1, to - source == 2], [int(Arc.STEP), int(Arc.SKIP)], 0)
    as_bits = (bits > 0) & (scores == 0)
    arcs = arcs.copy()
    np.bitwise_or.at(arcs, to[as_bits], bits[as_bits].astype(np.uint8))
    return Lattice(labels, arcs, tokens, entry_costs, np.stack((source, to), axis=1)[~as_bits], scores[~as_bits])


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
