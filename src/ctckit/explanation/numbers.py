"""All numbers of one CTC computation. Pictures, texts and pages only show them.

May import kernels/ and what lies below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from ..kernels import reference
from ..kernels.reference import Float64Array
from ..lattice import MOVES, Arc, Lattice, ctc_lattice
from ..results import Status
from ..validate import check_language
from .letters import is_long

BLANK, EMPTY = "φ", "∅"  # the names of the blank, and of a target without tokens
ALL_PATHS = 200  # up to this number all paths are listed
BEST_PATHS = 8  # of more paths, the number of best ones that are listed

Self = TypeVar("Self", bound="Computation")


@dataclass(frozen=True)
class Path:
    """A path through the lattice: one state per frame.

    Attributes:
        states: (T,), the state at each frame.
        score: natural log of the path's probability.
        share: of the probability of all paths, 0 to 1.
        weight: nats, the part of the score that entry costs and long arcs add.
    """

    states: tuple[int, ...]
    score: float
    share: float
    weight: float = 0.0


@dataclass(frozen=True)
class StateCost:
    """What one lattice state adds to the loss.

    The loss is the sum of all states' costs minus the entropy of the paths: what knowing the path would save.

    Attributes:
        state: 0 to K-1.
        cost: nats, the sum over frames of occupancy times what the state emits, negated; plus the expected cost of
            entering the state.
        frames: expected number of frames spent here.
        peak: the frame of the greatest occupancy; None where no path goes.
    """

    state: int
    cost: float
    frames: float
    peak: int | None


class Move(NamedTuple):
    """An arc of a lattice, with what it adds to a path's score.

    Attributes:
        source: the state it comes from.
        to: the state it leads to, or the same.
        score: nats: its own, minus the cost of entering ``to``.
        own: nats, its own: the score of a long arc, 0 for other arcs.
    """

    source: int
    to: int
    score: float
    own: float = 0.0


@dataclass(frozen=True, eq=False)
class Computation:
    """The numbers of one computation; :class:`ctckit.Explanation` adds ways to see them.

    Its attributes are explained there.
    """

    log_probs: Float64Array
    target: tuple[int, ...]
    labels: tuple[str, ...]
    blank: int | None
    from_logits: bool
    lang: str
    lattice: Lattice
    state_scores: Float64Array
    alpha: Float64Array
    beta: Float64Array
    gamma: Float64Array
    grad: Float64Array
    arc_costs: Float64Array
    score: float
    path_count: int
    paths: tuple[Path, ...]

    @classmethod
    def of(
        cls: type[Self],
        sample: reference.Sample,
        labels: tuple[str, ...],
        blank: int | None,
        *,
        from_logits: bool,
        lang: str,
        state_scores: Float64Array | None = None,
    ) -> Self:
        """Computes everything.

        Args:
            sample: without NaN and +inf.
            labels: (C,) the name of each class.
            blank: the blank's class, or None.
            from_logits: take the gradient by logits.
            lang: "en" or "zh".
            state_scores: (K,) the part of what states emit that is not a log-probability; None for 0.
        """
        log_probs, lattice, emissions = sample
        alpha, beta = (sweep(lattice, emissions, reference.LOG) for sweep in (reference.forward, reference.backward))
        score = float(reference.over_ends(lattice, alpha, reference.LOG))
        reached = score > -math.inf
        gamma = np.exp(alpha + beta - score) if reached else np.zeros(alpha.shape)
        arc_costs = np.zeros(lattice.num_states)
        if reached:
            arc_costs = _arc_costs(reference.Sweep(sample, alpha, beta, gamma, score, Status.OK))
        count = reference.count_paths(lattice, len(log_probs))
        best = reference.best_paths(lattice, emissions, count if count <= ALL_PATHS else BEST_PATHS)
        grad = -reference.by_class(gamma, lattice, log_probs.shape[1])
        if from_logits and reached:
            grad = grad + np.exp(log_probs)
        return cls(
            log_probs=log_probs,
            target=tuple(lattice.target.tolist()),
            labels=labels,
            blank=blank,
            from_logits=from_logits,
            lang=lang,
            lattice=lattice,
            state_scores=np.zeros(lattice.num_states) if state_scores is None else state_scores,
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            grad=grad,
            arc_costs=arc_costs,
            score=score,
            path_count=count,
            paths=tuple(
                Path(path.states, path.score, math.exp(path.score - score) if reached else 0.0, path.weight)
                for path in best
            ),
        )

    @property
    def loss(self) -> float:
        """Nats; +inf if the target has no path."""
        return 0.0 - self.score

    @property
    def frames(self) -> int:
        """T."""
        return len(self.log_probs)

    @cached_property
    def is_ctc(self) -> bool:
        """Whether the lattice is the one that CTC gives the target."""
        if self.blank is None or self.blank in self.target or min(self.target, default=0) < 0:
            return False
        plain, own = ctc_lattice(self.target, self.blank), self.lattice
        bits = all(np.array_equal(getattr(plain, name), getattr(own, name)) for name in ("labels", "arcs", "tokens"))
        return bits and not len(own.long_arcs) and (own.entry_costs is None or not own.entry_costs.any())

    @cached_property
    def frames_needed(self) -> int | None:
        """The fewest frames of any path; None if the lattice has no path at all."""
        return self.lattice.fewest_frames()

    @cached_property
    def moves_into(self) -> tuple[tuple[Move, ...], ...]:
        """The arcs that lead into each state (K,), from itself, then from others, the nearest first."""
        lattice = self.lattice
        into: list[list[Move]] = [[] for _ in range(lattice.num_states)]
        costs = self.entry_costs
        for k, arc in enumerate(lattice.arcs):
            if arc & Arc.STAY:
                into[k].append(Move(k, k, 0.0))
            into[k] += [Move(k - back, k, -costs[k]) for bit, back in MOVES if arc & bit]
        for (source, to), score in zip(lattice.long_arcs.tolist(), lattice.long_arc_scores.tolist(), strict=True):
            into[to].append(Move(source, to, score - costs[to], score))
        return tuple(tuple(sorted(moves, key=lambda move: -move.source)) for moves in into)

    @property
    def entry_costs(self) -> list[float]:
        """Nats (K,): 0 where entering a state costs nothing."""
        costs = self.lattice.entry_costs
        return [0.0] * self.lattice.num_states if costs is None else costs.tolist()

    @property
    def emissions(self) -> Float64Array:
        """What each state adds to a path's score at each frame (T, K): its label's log-probability and its score."""
        return self.log_probs[:, self.lattice.labels] + self.state_scores

    @property
    def best_path(self) -> Path | None:
        """The most probable path; None if no path exists."""
        return self.paths[0] if self.paths else None

    @property
    def state_labels(self) -> tuple[str, ...]:
        """The label that each state emits (K,): φ y1 φ … yS φ in CTC's lattice."""
        return tuple(self.labels[c] for c in self.lattice.labels)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The same without repeats (K,): a label that occurs more than once gets the state's number, from 1 on."""
        labels = self.state_labels
        low = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
        return tuple(
            label + str(k + 1).translate(low) if labels.count(label) > 1 else label for k, label in enumerate(labels)
        )

    @property
    def state_costs(self) -> tuple[StateCost, ...]:
        """What each state, blanks included, adds to the loss (K,)."""
        with np.errstate(invalid="ignore"):  # 0 times -inf
            costs = np.where(self.gamma > 0, -self.gamma * self.emissions, 0.0).sum(axis=0) + self.arc_costs
        spent = self.gamma.sum(axis=0)
        return tuple(
            StateCost(k, float(costs[k]), float(spent[k]), int(self.gamma[:, k].argmax()) if spent[k] > 0 else None)
            for k in range(self.lattice.num_states)
        )

    @property
    def entropy(self) -> float:
        """Nats: how uncertain the path is, given the target. 0 for one path, log(n) for n equally probable ones."""
        return max(0.0, sum(state.cost for state in self.state_costs) - self.loss) if self.score > -math.inf else 0.0

    def in_language(self: Self, lang: str) -> Self:
        """The same in another language.

        Example:
            >>> from ctckit import explain
            >>> explain([[-0.7, -0.7]], [1]).in_language("zh").lang
            'zh'
        """
        return replace(self, lang=check_language(lang))

    def text(self, symbols: Sequence[int]) -> str:
        """The labels of classes as one string; * stands for a token that has no state in the lattice."""
        return self.joined([self.labels[c] if c >= 0 else "*" for c in symbols])

    def joined(self, labels: Sequence[str]) -> str:
        """Labels as one string, with spaces between them if the lattice's or these are longer than a letter.

        Example:
            >>> from ctckit import explain
            >>> explain([[-1.1, -1.1, -1.1]], [1], labels=["φ", "th", "e"]).joined(["th", "e"])
            'th e'
        """
        if not (self._long_labels or any(map(is_long, labels))):
            return "".join(labels)
        return " ".join("␣" if label == " " else label for label in labels)

    @cached_property
    def _long_labels(self) -> bool:
        return any(map(is_long, self.state_labels))

    @property
    def spelling(self) -> str:
        """The target as text, ∅ if it is empty; what the states emit if none of a lattice's is a token."""
        return self.text(self.target if self.target or self.is_ctc else self.lattice.labels.tolist()) or EMPTY

    def spelled(self, path: Path) -> str:
        """What a path emits, one label per frame."""
        labels = self.state_labels
        return self.joined([labels[k] for k in path.states])


def _arc_costs(swept: reference.Sweep) -> Float64Array:
    """(K,) the expected cost of entering each state: entry costs minus the scores of long arcs."""
    lattice = swept.sample.lattice
    costs = np.zeros(lattice.num_states)
    if lattice.entry_costs is not None:
        entries = swept.entries()
        costs += np.multiply(entries, lattice.entry_costs, where=entries > 0, out=np.zeros_like(entries))
    if len(lattice.long_arcs):
        taken, scores = swept.taken(), lattice.long_arc_scores
        gained = np.multiply(taken, scores, where=taken > 0, out=np.zeros_like(taken))
        np.subtract.at(costs, lattice.long_arcs[:, 1], gained)
    return costs
