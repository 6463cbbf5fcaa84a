"""A call inside of torch.func.vmap over samples with their targets: lattices laid out by torch's operations.

Nobody can read a mapped tensor, so tokens are not checked; lengths are the same for all and are. May import torch,
arguments.py, calls.py, problem.py, kernels/portable.py and what lies below them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import CTCError
from ..kernels import portable
from ..problem import ArrayProblem, Lattices, ctc_problem
from ..validate import Fault, Reduction
from .arguments import Given, Options, frames_first, integers, unread_frames
from .calls import reduced


class MappedCall(NamedTuple):
    """A checked call, of which torch's operations compute the loss; methods as in :class:`calls.Call`."""

    problem: ArrayProblem
    lattices: Lattices[Tensor]
    weights: Tensor
    reduction: Reduction
    options: Options

    @property
    def has_kernel(self) -> bool:
        """Never: no kernel can read a mapped tensor."""
        return False

    def portable_loss(self, scores: Tensor) -> Tensor:
        """The loss by torch's operations."""
        scores = frames_first(scores, self.options.batch_first and self.problem.batched)
        scores = scores if scores.dtype == torch.float64 else scores.float()
        problem: portable.TensorProblem = replace(portable.on_tensors(self.problem, scores), lattices=self.lattices)
        score = portable.log_scores(problem)
        return reduced(score, self.weights.to(score), self.reduction, self.options.zero_infinity, self.problem.batched)


def mapped_call(scores: Tensor, given: Given, options: Options, reduction: Reduction) -> MappedCall:
    """The call of targets that are mapped over.

    Raises:
        CTCError: targets are end to end, or lengths are mapped over or out of range.
    """
    form, targets, input_lengths, target_lengths = given
    if not form.padded:
        raise CTCError(Fault("mapped", "targets", hint="map-scores-only"))
    lengths = integers("input_lengths", input_lengths), integers("target_lengths", target_lengths)
    wide = form._replace(classes=form.classes + 3)  # so that there are two tokens that are not the blank

    def laid_out(tokens: list[int]) -> ArrayProblem:
        """The lattices of targets made of these tokens by turns."""
        shape = (form.size, form.num_tokens) if form.batched else (form.num_tokens,)
        made = np.broadcast_to(np.resize(tokens, form.num_tokens), shape)
        frames = unread_frames(scores, options.batch_first and form.batched)
        return ctc_problem(frames, made, *lengths, options.blank, from_logits=options.from_logits, form=wide)

    one, other = (token for token in (form.classes, form.classes + 1))
    problem = laid_out([one, other])
    plain, repeats = (portable.on_tensors(each, scores.detach()).lattices for each in (problem, laid_out([one])))
    rows = targets.reshape(form.size, form.num_tokens).long()
    equal = torch.nn.functional.pad(rows[:, 1:] == rows[:, :-1], (1, 0))
    states = (form.size, 2 * form.num_tokens)
    again = torch.nn.functional.pad(torch.stack((equal, equal), -1).reshape(states), (0, 1))
    labels = torch.stack((torch.full_like(rows, options.blank), rows), -1).reshape(states)
    fields: Any = {name: getattr(plain, name) for name in Lattices.__dataclass_fields__}
    fields |= {
        "labels": torch.nn.functional.pad(labels, (0, 1), value=options.blank),
        "arcs": torch.where(again, repeats.arcs, plain.arcs),
    }
    weights = torch.from_numpy(problem.lattices.loss_weights(reduction == "mean"))
    return MappedCall(problem, Lattices(**fields), weights, reduction, options)
