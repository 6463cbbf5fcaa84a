"""What torch's loss does and ours does not, for code in which ours replaces it (replacing.py).

May import torch, calls.py, arguments.py, kernels/, problem.py and what lies below them.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import CTCError
from ..kernels import native
from ..lattice import Arc
from ..problem import ArrayProblem, ctc_problem, with_values
from ..validate import Fault, Form
from .arguments import Options
from .calls import Replacement

Array = npt.NDArray[Any]


def ctc_problem_as_torch(
    scores: Array,
    targets: Array,
    input_lengths: Array,
    target_lengths: Array,
    blank: int,
    *,
    from_logits: bool,
    form: Form,
) -> ArrayProblem:
    """:func:`ctckit.problem.ctc_problem`, but the blank may be a token; that it is one is warned of once.

    Whether a path may pass the blank between two tokens depends on whether the tokens differ, whatever they are. So
    lattices are laid out around a class that no token is, which then is renamed to the blank.

    Raises:
        CTCError: whatever else is wrong.
    """
    lengths, more = (input_lengths, target_lengths), {"from_logits": from_logits}
    try:
        return ctc_problem(scores, targets, *lengths, blank, form=form, **more)
    except CTCError:
        pass  # the blank is a token, or something else is wrong
    between = form.classes
    try:
        problem = ctc_problem(scores, targets, *lengths, between, form=form._replace(classes=between + 1), **more)
    except CTCError:  # said again of the classes that there are
        tokens = np.where(targets == blank, 0 if blank else 1, targets)
        return ctc_problem(scores, tokens, *lengths, blank, form=form, **more)
    if not Replacement.warned_of_blanks:
        Replacement.warned_of_blanks = True
        warnings.warn(Fault("blank-in-target-as-torch", "targets", value=blank).message(), stacklevel=5)
    labels = problem.lattices.labels
    labels = np.where(labels == between, np.int32(blank), labels)
    return replace(problem, lattices=with_values(problem.lattices, labels=labels))


class TorchDifferences(NamedTuple):
    """How torch's gradient on the CPU differs from ours.

    Attributes:
        problem: the batch.
        lost_is_nan: samples without a path have gradient NaN.
        end_in_blank: the samples whose last token is the blank.
    """

    problem: ArrayProblem
    lost_is_nan: bool
    end_in_blank: list[int]

    @classmethod
    def of(cls, problem: ArrayProblem, options: Options) -> TorchDifferences:
        """Those of a call's batch."""
        samples = _end_in_blank(problem, options.blank) if options.blank_in_targets else []
        return cls(problem, not options.zero_infinity, samples)

    def write(self, gradient: Tensor, score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> None:
        """Makes a weighted gradient (T, N, C) torch's."""
        frames = self.problem.lattices.frames
        for n in np.flatnonzero(score == -np.inf).tolist() if self.lost_is_nan else ():
            gradient[: frames[n], n] = torch.nan
        if self.end_in_blank:
            self._drop_last_state(gradient, score, weights)

    def _drop_last_state(
        self, gradient: Tensor, score: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
    ) -> None:
        """Leaves out the paths that end in the last state, where the last token is the blank too.

        At a sample's last frame, torch's CPU kernel writes the last token's part over that of the last state, instead
        of adding the two, which have one label there.
        """
        batch = self.problem.lattices
        arcs = batch.arcs.copy()
        arcs[self.end_in_blank, 2 * batch.num_tokens[self.end_in_blank] - 1] &= ~np.uint8(Arc.END)
        last_state_only = replace(self.problem, lattices=with_values(batch, arcs=arcs))
        ending = native.total(last_state_only, threads=torch.get_num_threads()).score
        for n in self.end_in_blank:
            if score[n] > -np.inf:
                gradient[batch.frames[n] - 1, n, batch.labels[n, 0]] += weights[n] * np.exp(ending[n] - score[n])


def _end_in_blank(problem: ArrayProblem, blank: int) -> list[int]:
    batch = problem.lattices
    last = np.maximum(2 * batch.num_tokens - 1, 0)  # a target without tokens has state 0 there, which is none
    index = np.arange(len(last))
    found: list[int] = np.flatnonzero((batch.labels[index, last] == blank) & (batch.tokens[index, last] >= 0)).tolist()
    return found
