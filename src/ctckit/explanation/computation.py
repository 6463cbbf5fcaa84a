"""All that there is to know about one CTC computation, in numbers; pictures and pages only show it.

May import kernels/, loss.py and what lies below, and the catalogue; what draws is imported when it is asked for.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..catalogue import check_language
from ..check import as_array, check_blank
from ..errors import CTCError
from ..files import write_whole
from ..kernels import native, reference
from ..kernels.reference import Float64Array
from ..lattice import Lattice, frames_needed
from ..problem import ctc_problem
from ..text.pieces import Pieces

if TYPE_CHECKING:
    from pathlib import Path as FilePath

    from .canvas import Picture

BLANK = "φ"
ALL_PATHS = 200  # up to so many are listed whole
BEST_PATHS = 8  # of more, so many


@dataclass(frozen=True)
class Path:
    """One way of reading the target off the frames.

    Attributes:
        states: (T,), the lattice's state at each frame.
        score: natural log of the path's probability.
        share: of the probability of all paths, 0 to 1.
    """

    states: tuple[int, ...]
    score: float
    share: float


@dataclass(frozen=True)
class Token:
    """What one lattice state adds to the loss.

    The loss is the sum of all states' costs, less the entropy of the paths: what it would save to know which was taken.

    Attributes:
        state: 0 to K-1.
        cost: nats, the sum over frames of occupancy times -log_prob.
        frames: expected number of frames spent here.
        peak: the frame of the greatest occupancy; None where no path comes by.
    """

    state: int
    cost: float
    frames: float
    peak: int | None


@dataclass(frozen=True, eq=False)
class Explanation:
    """One CTC computation, opened up. Made by :func:`ctckit.explain`.

    Letters: T frames, C classes, K = 2S+1 states. Logarithms are natural; -inf is a probability of 0.

    Attributes:
        log_probs: float64 (T, C), as the loss sees them: normalised if logits were given.
        target: the tokens' classes (S,).
        labels: (C,) what each class is called; the blank is φ.
        blank: the blank's class.
        from_logits: whether scores were logits, and the gradient is theirs.
        lang: the language of pictures and texts.
        lattice: the states and the legal moves between them.
        alpha: (T, K) log-probability of all ways to be in a state at a frame, the frame included.
        beta: (T, K) log-probability of all ways to go on from there to the end.
        gamma: (T, K) occupancy: how probable it is, given the target, to be there.
        grad: (T, C) of the loss.
        score: log-probability of the target; the loss is minus that.
        path_count: how many paths there are, exactly.
        paths: all of them, or the best, best first.
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
    def tokens(self) -> tuple[Token, ...]:
        """What each state, blanks included, adds to the loss (K,)."""
        emissions = self.log_probs[:, self.lattice.labels]
        with np.errstate(invalid="ignore"):  # 0 times -inf
            costs = np.where(self.gamma > 0, -self.gamma * emissions, 0.0).sum(axis=0)
        spent = self.gamma.sum(axis=0)
        return tuple(
            Token(k, float(costs[k]), float(spent[k]), int(self.gamma[:, k].argmax()) if spent[k] > 0 else None)
            for k in range(self.lattice.num_states)
        )

    @property
    def entropy(self) -> float:
        """Nats: how undecided it is, given the target, which path was taken. 0 for one path, log(paths) for equals."""
        return max(0.0, sum(token.cost for token in self.tokens) - self.loss) if self.score > -math.inf else 0.0

    def in_language(self, lang: str) -> Explanation:
        """The same in another language.

        Example:
            >>> explain_word("cat", 6).in_language("zh").lang
            'zh'
        """
        return replace(self, lang=check_language(lang))

    def text(self, symbols: Sequence[int]) -> str:
        """Classes or their labels as one string."""
        return "".join(self.labels[c] for c in symbols)

    def spelled(self, path: Path) -> str:
        """What a path emits, one label a frame."""
        return "".join(self.state_labels[k] for k in path.states)

    def __str__(self) -> str:
        """The computation step by step, as `print` shows it."""
        from .terminal import written_out

        return written_out(self)

    def __repr__(self) -> str:
        return (
            f"Explanation(target={self.text(self.target)!r}, T={self.frames}, C={len(self.labels)}, "
            f"loss={self.loss:.6g}, paths={counted(self.path_count)})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the page, in a frame of its own."""
        import html

        from .page import explanation_page

        source = html.escape(explanation_page(self), quote=True)
        return f'<iframe srcdoc="{source}" style="width:100%;height:44rem;border:0" title="{self!r}"></iframe>'

    def save(self, path: str | FilePath) -> None:
        """Writes the interactive page as one HTML file; for pictures see :meth:`inputs` and its neighbours.

        Raises:
            CTCError: the name does not end in .html.
        """
        from .page import explanation_page

        if not str(path).lower().endswith((".html", ".htm")):
            raise CTCError(
                f"{path}: an explanation is saved as a page, .html; a picture of it is saved by its own "
                "save(), for instance explanation.computation().save('x.svg')"
            )
        write_whole(path, explanation_page(self).encode())

    def inputs(self) -> Picture:
        """The matrix of log-probabilities and the target, with their names."""
        from .pictures import inputs

        return inputs(self)

    def rules(self) -> tuple[Picture, ...]:
        """The rules by which paths move, on this target's table: one picture each."""
        from .pictures import rules

        return rules(self)

    def example_paths(self) -> Picture:
        """A few paths through the table, each in its own colour."""
        from .pictures import example_paths

        return example_paths(self)

    def computation(self) -> Picture:
        """The loss, worked out: one table for each state that paths may end in."""
        from .pictures import computation

        return computation(self)

    def occupancy(self, ax: Any = None) -> Any:
        """γ as a heat map; a picture, or the axes if some were given."""
        from .heatmaps import occupancy

        return occupancy(self, ax)

    def gradient(self, ax: Any = None) -> Any:
        """The gradient as a heat map; a picture, or the axes if some were given."""
        from .heatmaps import gradient

        return gradient(self, ax)

    def alignment(self, ax: Any = None) -> Any:
        """Probabilities by frame, and the best path's tokens; a picture, or the axes if some were given."""
        from .heatmaps import alignment

        return alignment(self, ax)


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


def explain(
    log_probs: npt.ArrayLike,
    target: Sequence[int] | npt.NDArray[np.integer] | str,
    *,
    labels: Sequence[str] | None = None,
    blank: int = 0,
    from_logits: bool = False,
    lang: str = "en",
) -> Explanation:
    """Opens up one CTC computation: lattice, α, β, γ, paths, loss and gradient, to print, draw or walk through.

    Args:
        log_probs: (T, C) natural-log probabilities of one sample; an array or a tensor.
        target: (S,) classes; or a string, if `labels` tell which classes its letters are.
        labels: (C,) what each class is called, or (C-1,) without the blank, which is always shown as φ.
        blank: the blank's class.
        from_logits: `log_probs` holds raw scores.
        lang: "en" or "zh", of all pictures and texts.

    Raises:
        CTCError: for anything malformed, and for NaN or +inf; the message says where.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), equations 5-16.

    Example:
        >>> seed = explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], [1])
        >>> round(seed.loss, 12), seed.alpha.round(5).tolist()
        (0.019619004552, [[-2.2892, -0.1069, -inf], [-3.9442, -0.21214, -1.7619]])
    """
    check_language(lang)
    scores = _one_sample(as_array("log_probs", log_probs))
    check_blank(blank, "log_probs", scores.shape[1])
    names = _class_names(labels, scores.shape[1], blank)
    tokens = _tokens(target, names, blank) if isinstance(target, str) else _classes(target)
    problem = ctc_problem(scores, tokens, len(scores), len(tokens), blank, from_logits=from_logits)
    sample = reference.sample(problem, 0)
    if len(impossible := np.flatnonzero(np.isnan(sample.log_probs).any(axis=1))):
        raise CTCError(
            f"logits[{impossible[0]}] are all -inf: expected a finite one, or no class is possible in that frame; "
            "is a mask applied to the wrong axis?"
        )
    return _computed(sample.log_probs, sample.lattice, tuple(map(_printable, names)), blank, from_logits, lang)


def explain_word(word: str, frames: int | None = None, *, lang: str = "en") -> Explanation:
    """A word's rules and paths: each of its letters is a class, and all classes are equally probable in each frame.

    Args:
        word: the target.
        frames: T; by default two more than the word needs.
        lang: "en" or "zh".

    Example:
        >>> explain_word("cat", 6).path_count, explain_word("see", 6).path_count
        (84, 28)
    """
    letters = list(dict.fromkeys(word))
    if frames is None:
        frames = 2 + frames_needed(np.array([letters.index(letter) for letter in word], np.int64))
    if frames < 0:
        raise CTCError(f"frames = {frames}: expected a number of frames, at least 0")
    classes = 1 + len(letters)
    return explain(np.full((frames, classes), -math.log(classes)), word, labels=[BLANK, *letters], lang=lang)


def _computed(
    log_probs: Float64Array, lattice: Lattice, names: tuple[str, ...], blank: int, from_logits: bool, lang: str
) -> Explanation:
    """All numbers of an explanation."""
    target = lattice.labels[1::2]
    problem = ctc_problem(log_probs, target, len(log_probs), len(target), blank, from_logits=False)
    gamma = native.posteriors(problem)
    score = float(gamma.score[0])
    emissions = log_probs[:, lattice.labels]
    count = reference.count_paths(lattice, len(log_probs))
    best = reference.best_paths(lattice, emissions, count if count <= ALL_PATHS else BEST_PATHS)
    shares = [math.exp(path.score - score) if score > -math.inf else 0.0 for path in best]
    grad = -gamma.classes[:, 0]
    if from_logits and score > -math.inf:
        grad = grad + np.exp(log_probs)
    return Explanation(
        log_probs=log_probs,
        target=tuple(target.tolist()),
        labels=names,
        blank=blank,
        from_logits=from_logits,
        lang=lang,
        lattice=lattice,
        alpha=reference.forward(lattice, emissions, reference.LOG),
        beta=reference.backward(lattice, emissions, reference.LOG),
        gamma=gamma.states[:, 0].astype(np.float64),
        grad=grad.astype(np.float64),
        score=score,
        path_count=count,
        paths=tuple(Path(path.states, path.score, share) for path, share in zip(best, shares, strict=True)),
    )


def _one_sample(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One sample's scores (T, C), all of them readable."""
    if scores.ndim == 3 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 2:
        raise CTCError(
            f"log_probs has shape {scores.shape}: expected (T, C), one sample; "
            "of a batch (T, N, C) pass log_probs[:, n]"
        )
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    if scores.dtype.kind == "f":
        bad = np.argwhere(~(scores < np.inf))
        if len(bad):
            t, c = bad[0]
            raise CTCError(
                f"log_probs[{t}, {c}] = {scores[t, c]}: expected log-probabilities, at most 0; a step of training "
                "before this one gave NaN or an infinite weight"
            )
    return scores


def _classes(target: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """A target in one dimension."""
    tokens = as_array("target", target)
    if tokens.ndim == 2 and len(tokens) == 1:
        tokens = tokens[0]
    if tokens.ndim != 1 or tokens.dtype.kind not in "iuf":
        raise CTCError(f"target = {target!r}: expected the tokens' classes (S,), or a string and labels to read it by")
    return tokens if tokens.size else tokens.astype(np.int64)


def _printable(name: str) -> str:
    """A label as it can be shown in a line: what has no form of its own is replaced."""
    return "".join("�" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name)


def _class_names(labels: Sequence[str] | None, classes: int, blank: int) -> tuple[str, ...]:
    """What each class is called: numbers, if nothing else is known."""
    names = [str(c) for c in range(classes)] if labels is None else list(labels)
    if len(names) == classes - 1:
        names.insert(blank, BLANK)
    if len(names) != classes:
        raise CTCError(
            f"labels has {len(names)} entries: expected {classes}, one for each class of log_probs, "
            "with or without the blank"
        )
    for c, name in enumerate(names):
        if not isinstance(name, str):
            raise CTCError(f"labels[{c}] = {name!r} has type {type(name).__name__}: expected a string")
    names[blank] = BLANK
    return tuple(names)


def _tokens(text: str, names: tuple[str, ...], blank: int) -> list[int]:
    """A string as classes."""
    classes = {name: c for c, name in enumerate(names) if c != blank}
    tokens = []
    for piece in Pieces(classes).split(text):
        if piece.token is None:
            known = ", ".join(map(repr, list(classes)[:20])) + (", …" if len(classes) > 20 else "")
            raise CTCError(f"target[{piece.start}] = {text[piece.start]!r} is not a label: expected one of {known}")
        tokens.append(piece.token)
    return tokens
