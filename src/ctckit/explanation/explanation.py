"""The explanation that users hold: the numbers, and each way to see them as a method.

May import everything else of the package but the seed page; what draws is imported when it is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..kernels import reference
from ..lattice import Lattice, frames_needed
from ..problem import ctc_problem, lattice_problem, with_added_scores
from ..text import Vocabulary
from ..validate import check_language, check_targets_or_lattices
from .arguments import check_possible, classes_of, given, printable, spelled
from .as_page import AsPage
from .letters import letters
from .numbers import BLANK, Computation
from .recogniser import recognised
from .wording import counted

if TYPE_CHECKING:
    from ..drawing.canvas import Picture


class Explanation(AsPage, Computation):
    """One CTC computation, to print, draw or walk through. Made by :func:`ctckit.explain`.

    Letters: T frames, C classes, K states (2S+1 in CTC's lattice). Logarithms are natural; -inf is a probability of 0.

    Attributes:
        log_probs: float64 (T, C), as the loss sees them: normalised if logits were given.
        target: (S,) the tokens' classes.
        labels: (C,) the name of each class; the blank is φ.
        blank: the blank's class, or None.
        from_logits: whether the scores were logits, and the gradient is theirs.
        lang: the language of pictures and texts.
        lattice: the states and the legal moves between them.
        state_scores: (K,) nats added to what each state emits at every frame: its class's score, and its own.
        alpha: (T, K) log-probability of all ways to be in a state at a frame, the frame included.
        beta: (T, K) log-probability of all ways to go on from there to the end.
        gamma: (T, K) occupancy: how probable it is, given the target, to be there.
        grad: (T, C) gradient of the loss.
        arc_costs: (K,) nats, the expected cost of entering each state: entry costs minus the scores of long arcs.
        score: log-probability of the target; the loss is minus that.
        path_count: how many paths there are, exactly.
        paths: all of them, or the best, best first.
    """

    _kind, _picture = "an explanation", "explanation.computation()"

    def __str__(self) -> str:
        """The computation step by step, as `print` shows it."""
        from .views.terminal import written_out

        return written_out(self)

    def __repr__(self) -> str:
        return (
            f"Explanation(target={self.text(self.target)!r}, T={self.frames}, C={len(self.labels)}, "
            f"loss={self.loss:.6g}, paths={counted(self.path_count)})"
        )

    def _page(self) -> str:
        from .page import explanation_page

        return explanation_page(self)

    def inputs(self) -> Picture:
        """The matrix of log-probabilities and the target, with their names."""
        from .views.inputs import inputs

        return inputs(self)

    def rules(self) -> tuple[Picture, ...]:
        """CTC's rules on this target's table, one picture each; none for a lattice other than CTC's."""
        from .views.rules import rules

        return rules(self)

    def example_paths(self) -> Picture:
        """A few paths through the table, each in its own colour."""
        from .views.tables import example_paths

        return example_paths(self)

    def graph(self) -> Picture:
        """The lattice's states, the arcs between them, and what each adds to a path's score."""
        from .views.graph import graph

        return graph(self)

    def computation(self) -> Picture:
        """The loss worked out: one table for each state in which paths may end."""
        from .views.tables import computation

        return computation(self)

    def occupancy(self, ax: Any = None) -> Any:
        """γ as a heat map; returns a picture, or `ax` if it is given."""
        from .views.heatmaps import occupancy

        return occupancy(self, ax)

    def gradient(self, ax: Any = None) -> Any:
        """The gradient as a heat map; returns a picture, or `ax` if it is given."""
        from .views.heatmaps import gradient

        return gradient(self, ax)

    def alignment(self, ax: Any = None) -> Any:
        """Probabilities by frame, and the best path's tokens; returns a picture, or `ax` if it is given."""
        from .views.heatmaps import alignment

        return alignment(self, ax)


def explain(
    log_probs: npt.ArrayLike,
    target: Sequence[int] | npt.NDArray[np.integer] | str | None = None,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    labels: Sequence[str] | Vocabulary | None = None,
    blank: int | Literal["auto"] | None = "auto",
    from_logits: bool = False,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
    lang: str = "en",
) -> Explanation:
    """Opens up one CTC computation: lattice, α, β, γ, paths, loss and gradient, to print, draw or walk through.

    Args:
        log_probs: (T, C) natural-log probabilities of one sample; an array or a tensor.
        target: (S,) classes; or a string, if `labels` say which classes its letters are.
        lattices: instead of a target, a lattice of any topology: without blanks, selfless, with optional words, with
            entry costs; one, or a list of one. Sums are then over its paths.
        labels: (C,) the name of each class, or a vocabulary; the blank is always shown as φ. A target is spelled as
            :meth:`ctckit.Vocabulary.transcribe` spells it.
        blank: the blank's class, C-1 if it comes after all labels; by default the one that labels and scores show, as
            for :class:`Vocabulary`, or 0 without labels. None, with a lattice, if no class is one.
        from_logits: `log_probs` holds raw scores.
        class_scores: (C,) nats added to each class's log-probability.
        state_scores: (K,) nats added to what a state emits at every frame.
        lang: "en" or "zh", of all pictures and texts.

    Raises:
        CTCError: for anything malformed, for NaN or +inf, and for scores that are probabilities or negated
            log-probabilities; the message says where.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), equations 5-16.

    Example:
        >>> seed = explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], [1])
        >>> round(seed.loss, 12), seed.alpha.round(5).tolist()
        (0.019619004552, [[-2.2892, -0.1069, -inf], [-3.9442, -0.21214, -1.7619]])
        >>> from ctckit import ctc_lattice
        >>> explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], lattices=ctc_lattice([1]).without_blank()).path_count
        1
    """
    check_language(lang)
    scores, names, blank, vocabulary = given(log_probs, labels, blank, from_logits=from_logits)
    check_targets_or_lattices(lattices, target=target)
    if lattices is not None:
        problem = lattice_problem(scores, lattices, len(scores), from_logits=from_logits)
    elif blank is None:
        raise CTCError("blank = None: expected the blank's class; only a lattice can do without one")
    else:
        if isinstance(target, str):
            target = spelled(target, vocabulary or Vocabulary(names, blank))
        tokens = classes_of(cast("Sequence[int] | npt.NDArray[np.integer]", target))
        problem = ctc_problem(scores, tokens, len(scores), len(tokens), blank, from_logits=from_logits)
    problem = with_added_scores(problem, class_scores, state_scores)
    sample = reference.sample(problem, 0)
    check_possible(sample.log_probs)
    shown, added = tuple(map(printable, names)), reference.added_scores(problem, 0)
    return Explanation.of(sample, shown, blank, from_logits=from_logits, lang=lang, state_scores=added)


class WordExplanation(Explanation):
    """What a made-up recogniser gives for a word; on its page another word can be typed. Made by ``explain_word``."""

    def _page(self) -> str:
        from .page import explanation_page

        return explanation_page(self, own_word=True)


def explain_word(word: str, frames: int | None = None, *, lang: str = "en") -> WordExplanation:
    """Explains a word, as a made-up recogniser gives it: each letter is a class, and rises and falls at its own time.

    Args:
        word: the target. What a reader counts as one letter is one class, an emoji or a letter with accents too.
        frames: T; by default two more than the word needs.
        lang: "en" or "zh".

    Raises:
        CTCError: the word holds φ, or the number of frames is negative.

    Example:
        >>> explain_word("cat", 6).path_count, explain_word("see", 6).path_count
        (84, 28)
    """
    spelt = letters(word)
    if BLANK in spelt:
        raise CTCError(f"word = {word!r}: {BLANK} is the blank, which no target holds; expected other letters")
    known = list(dict.fromkeys(spelt))
    target = [1 + known.index(letter) for letter in spelt]
    if frames is None:
        frames = 2 + frames_needed(np.array(target, np.int64))
    if frames < 0:
        raise CTCError(f"frames = {frames}: expected a number of frames, at least 0")
    problem = ctc_problem(recognised(target, 1 + len(known), frames), target, frames, len(target), 0, from_logits=True)
    names = tuple(map(printable, [BLANK, *known]))
    return WordExplanation.of(reference.sample(problem, 0), names, 0, from_logits=True, lang=check_language(lang))
