"""A target's lattice, and the topologies that are built from it: a method each.

May import graph.py, rule.py, arrays.py, validate/ and errors.py.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import check_integer
from .arrays import numbers
from .graph import Added, Graph
from .rule import Arc

AT_ONCE = 5  # neighbouring groups that one arc may leave out: two words, with what stands between


class Lattice(Graph):
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
        added = {0: Added(wildcard, Arc.STAY | Arc.START), last: Added(wildcard, Arc.STAY | Arc.END)}
        return self._extended(places, added, moves)

    def with_stars(
        self,
        label: int,
        cost: float = 0.0,
        *,
        before: bool = True,
        between: bool | npt.ArrayLike = True,
        after: bool = True,
        most: int = 1,
    ) -> Lattice:
        """Something else may be said where the target has a gap: x, or x with a ★⁺, or several, in any of its gaps.

        The star is a class of its own, a column of the scores, which says what a star's frame costs. Whether blanks are
        part of it depends on that column: :func:`ctckit.with_star` appends the usual ones. Blanks may stand on both
        sides of a star, and one must stand between two stars. Each choice of a number of stars for each gap counts
        once.

        Args:
            label: the star's class.
            cost: nats that a path pays for each star that it enters; below 0 it gains.
            before: whether stars may stand before the first token.
            between: whether they may stand between two tokens; or (S-1,) whether between the tokens s and s+1.
            after: whether they may stand after the last token.
            most: the most stars in a gap.

        Raises:
            CTCError: a gap without a blank, or with several states, as after ``with_wildcards``.

        Source:
            A garbage or filler model with an entry cost. With the borders of words as gaps, the self-loops of Gao et
            al., "Learning from Flawed Data: Weakly Supervised Automatic Speech Recognition" (2023), with at most `most`
            turns.

        Example:
            >>> from ctckit import ctc_lattice
            >>> lattice = ctc_lattice([1, 2]).with_stars(9, 0.5, before=False, after=False)
            >>> lattice.labels.tolist(), lattice.entry_costs.tolist()
            ([0, 1, 0, 9, 0, 2, 0], [0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0])
        """
        star, nats = int(numbers("label", label, np.int32, ())), float(numbers("cost", cost, np.float64, ()))
        turns = check_integer("most", most, 1)
        blanks = self._blank_of_gaps(before, between, after)
        shift = np.zeros(self.num_states, np.int64)
        shift[blanks] = 2 * turns
        places = np.arange(self.num_states) + np.cumsum(shift) - shift
        source, to, scores = (values.tolist() for values in self._moves())
        added: dict[int, Added] = {}
        moves: list[tuple[int, int, float]] = []
        for blank in blanks:
            own, bits = int(places[blank]), self.arcs[blank]
            stars = [own + 2 * turn + 1 for turn in range(turns)]
            for entry in stars:
                start = bits & Arc.START if entry == stars[0] else 0
                added[entry] = Added(star, Arc.STAY | start | (bits & Arc.END), nats)
                added[entry + 1] = Added(int(self.labels[blank]), bits & (Arc.STAY | Arc.END))
                moves += [(entry - 1, entry, 0.0), (entry, entry + 1, 0.0)]
            for i, j, score in zip(source, to, scores, strict=True):
                if j == blank and self.labels[i] != star:  # else a blank must stand between
                    moves.append((int(places[i]), stars[0], score))
                if i == blank:
                    leaving = [k for k in (0, 1) if k or self.labels[j] != star]
                    moves += [(entry + k, int(places[j]), score) for entry in stars for k in leaving]
        return self._extended(places, added, moves)

    def _blank_of_gaps(self, before: bool, between: bool | npt.ArrayLike, after: bool) -> list[int]:
        """The states of the blanks of those gaps that are wanted, in order."""
        size, inner = self.num_tokens, max(self.num_tokens - 1, 0)
        every = np.full(inner, between) if np.ndim(between) == 0 else numbers("between", between, np.bool_, (inner,))
        wanted = [before, *every.tolist(), after] if size else [before or after]
        begun = np.maximum.accumulate(np.append(-1, self.tokens[:-1])) + 1  # tokens before each state
        blanks = []
        for gap in np.flatnonzero(wanted).tolist():
            states = np.flatnonzero((self.tokens < 0) & (begun == gap))
            if len(states) != 1:
                raise CTCError(
                    f"gap {gap}, after {gap} tokens, has {len(states)} states: expected one, a blank; call with_stars "
                    "once, before without_blank and what adds states there"
                )
            blanks.append(int(states[0]))
        return blanks

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
        added: dict[int, Added] = {}
        moves: list[tuple[int, int, float]] = []
        for first, end in runs:
            begin, last = state[first], state[end - 1]
            place = int(places[last]) + 1
            bits = Arc.STAY | (self.arcs[begin] & Arc.START) | (self.arcs[last] & Arc.END)
            added[place] = Added(star, bits, -gain, end - 1)
            sources = [state[first - 1]] if first else []
            sources += [begin - 1] if begin and self.tokens[begin - 1] < 0 else []
            ends = [state[end]] if end < size else []
            ends += [last + 1] if last + 1 < self.num_states and self.tokens[last + 1] < 0 else []
            moves += [(int(places[i]), place, 0.0) for i in sources] + [(place, int(places[j]), 0.0) for j in ends]
        return self._extended(places, added, moves)

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


def _runs(groups: list[int]) -> list[tuple[int, int]]:
    """The first token of each group, a run of equal positive numbers, and the one after its last."""
    size = len(groups)
    bounds = [0, *(s for s in range(1, size) if groups[s] != groups[s - 1]), size] if size else [0]
    return [(first, end) for first, end in pairwise(bounds) if groups[first] > 0]
