"""All numbers of one CTC computation. Pictures, texts and pages only show them.

May import kernels/ and what lies below, and the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

import numpy as np

from ..catalogue import check_language
from ..kernels import native, reference
from ..kernels.reference import Float64Array
from ..lattice import Lattice, frames_needed
from ..problem import ctc_problem

BLANK = "φ"
ALL_PATHS = 200  # if there are at most as many, all are listed
BEST_PATHS = 8  # if there are more, as many as this

Self = TypeVar("Self", bound="Computation")


@dataclass(frozen=True)
class Path:
    """A path through the lattice: one state per frame.

    Attributes:
        states: (T,), the state at each frame.
        score: natural log of the path's probability.
        share: of the probability of all paths, 0 to 1.
    """

    states: tuple[int, ...]
    score: float
    share: float


@dataclass(frozen=True)
class StateCost:
    """What one lattice state adds to the loss.

    The loss is the sum of all states' costs minus the entropy of the paths: what knowing the path would save.

    Attributes:
        state: 0 to K-1.
        cost: nats, the sum over frames of occupancy times -log_prob.
        frames: expected number of frames spent here.
        peak: the frame of the greatest occupancy; None where no path goes.
    """

    state: int
    cost: float
    frames: float
    peak: int | None


@dataclass(frozen=True, eq=False)
class Computation:
    """The numbers of one computation; :class:`ctckit.Explanation` adds ways to see them.

    Its attributes are explained there.
    """

    log_probs: Float64Array
    target: tuple[int, ...]
    labels: tuple[str, ...]
    blank: int
    from_logits: bool
    lang: str
    lattice: Lattice
    alpha: Float64Array
    beta: Float64Array
    gamma: Float64Array
    grad: Float64Array
    score: float
    path_count: int
    paths: tuple[Path, ...]

    @classmethod
    def of(
        cls: type[Self],
        log_probs: Float64Array,
        lattice: Lattice,
        labels: tuple[str, ...],
        blank: int,
        *,
        from_logits: bool,
        lang: str,
    ) -> Self:
        """Computes everything.

        Args:
            log_probs: float64 (T, C), without NaN and +inf.
            lattice: of the target.
            labels: (C,) the name of each class.
            blank: the blank's class.
            from_logits: take the gradient by logits.
            lang: "en" or "zh".
        """
        target = lattice.labels[1::2]
        problem = ctc_problem(log_probs, target, len(log_probs), len(target), blank, from_logits=False)
        posteriors = native.posteriors(problem)
        score = float(posteriors.score[0])
        emissions = log_probs[:, lattice.labels]
        count = reference.count_paths(lattice, len(log_probs))
        best = reference.best_paths(lattice, emissions, count if count <= ALL_PATHS else BEST_PATHS)
        shares = [math.exp(path.score - score) if score > -math.inf else 0.0 for path in best]
        grad = -posteriors.classes[:, 0]
        if from_logits and score > -math.inf:
            grad = grad + np.exp(log_probs)
        return cls(
            log_probs=log_probs,
            target=tuple(target.tolist()),
            labels=labels,
            blank=blank,
            from_logits=from_logits,
            lang=lang,
            lattice=lattice,
            alpha=reference.forward(lattice, emissions, reference.LOG),
            beta=reference.backward(lattice, emissions, reference.LOG),
            gamma=posteriors.states[:, 0].astype(np.float64),
            grad=grad.astype(np.float64),
            score=score,
            path_count=count,
            paths=tuple(Path(path.states, path.score, share) for path, share in zip(best, shares, strict=True)),
        )

    @property
    def loss(self) -> float:
        """Nats; +inf if the target has no path."""
        return 0.0 - self.score

    @property
    def frames(self) -> int:
        """T."""
        return len(self.log_probs)

    @property
    def frames_needed(self) -> int:
        """The fewest frames that the target fits into."""
        return frames_needed(np.array(self.target, np.int64))

    @property
    def best_path(self) -> Path | None:
        """The most probable path; None if there is none."""
        return self.paths[0] if self.paths else None

    @property
    def state_labels(self) -> tuple[str, ...]:
        """What each state is called (K,): φ y1 φ … yS φ."""
        return tuple(self.labels[c] for c in self.lattice.labels)

    @property
    def state_names(self) -> tuple[str, ...]:
        """The same, told apart (K,): where a label comes more than once, with the state's number, from 1 on."""
        labels = self.state_labels
        low = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
        return tuple(
            label + str(k + 1).translate(low) if labels.count(label) > 1 else label for k, label in enumerate(labels)
        )

    @property
    def state_costs(self) -> tuple[StateCost, ...]:
        """What each state, blanks included, adds to the loss (K,)."""
        emissions = self.log_probs[:, self.lattice.labels]
        with np.errstate(invalid="ignore"):  # 0 times -inf
            costs = np.where(self.gamma > 0, -self.gamma * emissions, 0.0).sum(axis=0)
        spent = self.gamma.sum(axis=0)
        return tuple(
            StateCost(k, float(costs[k]), float(spent[k]), int(self.gamma[:, k].argmax()) if spent[k] > 0 else None)
            for k in range(self.lattice.states)
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
        """Classes or their labels as one string."""
        return "".join(self.labels[c] for c in symbols)

    def spelled(self, path: Path) -> str:
        """What a path emits, one label a frame."""
        return "".join(self.state_labels[k] for k in path.states)


def counted(paths: int) -> str:
    """A number of paths in groups of digits, or rounded if nobody would read them all.

    Example:
        >>> counted(1234567), counted(10**30)
        ('1,234,567', '1.00 × 10³⁰')
    """
    if paths < 10**15:
        return f"{paths:,}"
    mantissa, exponent = f"{Decimal(paths):.2e}".split("e+")
    return f"{mantissa} × 10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
