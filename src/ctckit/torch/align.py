"""Forced alignment and posteriors of tensors; the former with the signature of torchaudio's function.

May import torch, dispatch.py, ctckit.align, ctckit.loss, and what lies below them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..align import alignment_problem, find_paths, has_star, raise_infeasible, with_star
from ..errors import CTCError
from ..kernels import portable
from ..lattice import STAR, Lattice
from ..loss import posteriors_of
from ..problem import ArrayProblem, Problem, lengths_or_all
from ..results import Posteriors
from ..validate import Fault, check_blank, check_choice, check_flag, check_targets_or_lattices
from .arguments import (
    NOTHING,
    Added,
    Lengths,
    Options,
    as_frames,
    check_tensor,
    checked_flags,
    frames_first,
    integers,
    real_of,
    shape_frames_first,
    unread_frames,
)
from .calls import remember
from .dispatch import backend_of, checked_call, checked_lattice_call, with_added_to
from .errors import raises_tensor_errors


class LabelsAndScores(tuple[Tensor, Tensor]):
    """Labels (N, T) and their scores (N, T), as a pair, with more about them.

    Attributes:
        status: uint8 (N,), a :class:`ctckit.Status` for each sample.
        states: int32 (N, T), the lattice state of each frame; -1 beyond a sample's frames and without a path.
    """

    status: Tensor
    states: Tensor

    def __new__(cls, labels: Tensor, scores: Tensor, status: Tensor, states: Tensor) -> LabelsAndScores:
        """From all four."""
        pair = super().__new__(cls, (labels, scores))
        pair.status, pair.states = status, states
        return pair

    def __getnewargs__(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For pickle and copy."""
        return (*self, self.status, self.states)


@raises_tensor_errors
def forced_align(
    log_probs: Tensor,
    targets: Tensor | None = None,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    blank: int = 0,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
    class_scores: Tensor | None = None,
    state_scores: Tensor | None = None,
    optional: Tensor | None = None,
    star_cost: float = 0.5,
    optional_star_cost: float = 8,
    on_infeasible: Literal["raise", "mark"] = "raise",
) -> LabelsAndScores:
    """The most probable label of each frame given the target; as ``torchaudio.functional.forced_align``, for any batch.

    Args:
        log_probs: (N, T, C) natural-log probabilities; any float dtype, strides and device.
        targets: (N, S) tokens, padded; ``ctckit.STAR`` stands for anything that is said or written there.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of targets and their lengths: one for each sample, or one for all.
        from_logits: ``log_probs`` holds raw scores; they are normalised.
        class_scores: (C,) nats added to each class's log-probability.
        state_scores: (N, K) nats added to what a state emits at every frame.
        optional: (N, S) groups of tokens that may be left out, as for :func:`ctckit.forced_align`.
        star_cost: nats, as there.
        optional_star_cost: nats, as there.
        on_infeasible: ``"raise"``, or ``"mark"``: samples without a path have blanks for labels, scores of 0, and a
            status that says so.

    Returns:
        Labels (N, T), in the dtype of targets (int64 with lattices), ``ctckit.STAR`` for a star's; and what each frame
        adds to the path's score (N, T), in the dtype of log_probs. Frames beyond a sample's own are labelled blank,
        with score 0. Both on the device of log_probs. The pair has attributes ``status`` and ``states``. On a GPU with
        Triton the path is found there, and the call waits for it, except that the path of a long recording is found on
        the CPU if that is estimated to be quicker: roughly from 10,000 frames and 1,000 tokens, for one sample. On
        other devices it is found on the CPU, with as many threads as ``torch.get_num_threads()`` says.

    Raises:
        InfeasibleError: a sample has no path.
        CTCError: for anything malformed; the message says where. On a GPU also for optional tokens.

    Example:
        >>> log_probs = torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]).log()
        >>> labels, scores = forced_align(log_probs, torch.tensor([[1]]))
        >>> labels
        tensor([[0, 1, 0]])
    """
    check_choice("on_infeasible", on_infeasible, ("raise", "mark"))
    from_logits = check_flag("from_logits", from_logits)
    check_targets_or_lattices(lattices, targets=targets, target_lengths=target_lengths, optional=optional)
    _check_axes("log_probs", log_probs, 3, code="batch-first-shape", hint="add-batch-axis")
    if targets is not None:
        _check_axes("targets", targets, 2, code="padded-shape", hint="")
    else:
        check_blank(blank, log_probs.shape[2])
    scores, on_gpu = log_probs.detach(), backend_of(log_probs) == "triton"
    half = scores.dtype == torch.bfloat16 and not on_gpu  # NumPy has no bfloat16
    problem = alignment_problem(
        unread_frames(scores, True) if on_gpu else as_frames(scores.float() if half else scores, True),
        None if targets is None else integers("targets", targets),
        None if input_lengths is None else integers("input_lengths", input_lengths),
        None if target_lengths is None else integers("target_lengths", target_lengths),
        blank,
        lattices=lattices,
        from_logits=from_logits,
        class_scores=_values("class_scores", class_scores),
        state_scores=_values("state_scores", state_scores),
        optional=None if optional is None else integers("optional", optional),
        star_cost=star_cost,
        optional_star_cost=optional_star_cost,
    )
    star = scores.shape[2] if has_star(problem) else None
    dtype = torch.int64 if targets is None else targets.dtype
    if on_gpu:
        return _on_gpu(scores, problem, star, star_cost, blank, dtype, on_infeasible)
    if star is not None:
        problem = with_star(problem, star_cost)
    found = find_paths(problem, torch.get_num_threads())
    if on_infeasible == "raise":
        raise_infeasible(problem, found.best.status)
    labels = _labels(problem.lattices.labels, found.best.states, star, blank)
    return LabelsAndScores(
        torch.from_numpy(labels).to(scores.device, dtype),
        torch.from_numpy(found.frame_scores).to(scores),
        torch.from_numpy(found.best.status).to(scores.device),
        torch.from_numpy(found.best.states).to(scores.device),
    )


def _check_axes(name: str, given: Tensor, axes: int, code: str, hint: str) -> None:
    check_tensor(name, given)
    if given.ndim != axes:
        raise CTCError(Fault(code, name, (), tuple(given.shape), hint=hint))


def _values(name: str, added: Tensor | None) -> npt.NDArray[np.float64] | None:
    if added is None:
        return None
    check_tensor(name, added)
    return added.detach().cpu().double().numpy()


def _labels(labels_of_states: Any, states: Any, star: int | None, blank: int) -> Any:
    """(N, T) the label of each frame's state; the blank where there is none."""
    labels = np.take_along_axis(labels_of_states, np.maximum(states, 0), axis=1)
    labels = np.where(states < 0, blank, labels)
    return labels if star is None else np.where(labels == star, STAR, labels)


def _on_gpu(
    scores: Tensor,
    problem: ArrayProblem,
    star: int | None,
    star_cost: float,
    blank: int,
    dtype: torch.dtype,
    on_infeasible: str,
) -> LabelsAndScores:
    """The same where the scores are; the rest of the problem goes there."""
    from ..kernels import triton

    frames, from_logits = frames_first(scores, True), problem.from_logits
    if star is not None:
        frames = _log_softmax(frames) if from_logits else frames.to(real_of(frames))
        frames, from_logits = torch.cat((frames, frames.amax(-1, keepdim=True) - star_cost), -1), False
        if problem.class_scores is not None:
            problem = replace(problem, class_scores=np.append(problem.class_scores, 0))
    there = replace(portable.on_tensors(problem, frames), from_logits=from_logits)
    best = triton.best_path(there, threads=torch.get_num_threads())
    if on_infeasible == "raise":
        raise_infeasible(problem, best.status.cpu().numpy())
    labels = torch.from_numpy(_labels(problem.lattices.labels, best.states.cpu().numpy(), star, blank))
    frame_scores = _frame_scores(there, best.states).to(scores.dtype)
    return LabelsAndScores(labels.to(scores.device, dtype), frame_scores, best.status, best.states)


def _log_softmax(logits: Tensor) -> Tensor:
    return logits.log_softmax(-1, dtype=real_of(logits))


def _frame_scores(problem: Problem[Tensor], states: Tensor) -> Tensor:
    """(N, T) what each frame adds to the score of a path without long arcs."""
    batch, at = problem.lattices, states.clamp(min=0).long()
    labels = batch.labels.long().gather(1, at)
    log_probs = _log_softmax(problem.scores) if problem.from_logits else problem.scores
    found = log_probs.transpose(0, 1).gather(2, labels[..., None])[..., 0]
    if problem.class_scores is not None:
        found = found + problem.class_scores[labels]
    if problem.state_scores is not None:
        found = found + problem.state_scores.gather(1, at)
    if batch.entry_costs is not None:
        entered = torch.diff(at, dim=1, prepend=at[:, :1] - 1) != 0
        found = found - torch.where(entered, batch.entry_costs.gather(1, at), 0)
    return torch.where(states < 0, 0, found)


@raises_tensor_errors
def posteriors(
    log_probs: Tensor,
    targets: Tensor | None = None,
    input_lengths: Lengths | None = None,
    target_lengths: Lengths | None = None,
    blank: int = 0,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
    class_scores: Tensor | None = None,
    state_scores: Tensor | None = None,
    batch_first: bool = False,
    validate: bool = False,
) -> Posteriors[Tensor]:
    """Occupancies γ: the probability, given the target, of being in each lattice state at each frame.

    :func:`ctckit.posteriors` for tensors, on their device; not differentiable.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample; as for :func:`ctc_loss`.
        targets: as for :func:`ctc_loss`.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of targets and their lengths: one for each sample, or one for all.
        from_logits: ``log_probs`` holds raw scores; they are normalised.
        class_scores: (C,) nats added to each class's log-probability.
        state_scores: (N, K) nats added to what a state emits at every frame; (K,) for one sample.
        batch_first: ``log_probs`` is (N, T, C), and so are the occupancies.
        validate: as for :func:`ctc_loss`.

    Returns:
        ``states`` (T, N, K), ``classes`` (T, N, C), ``score`` (N,) in nats and ``status`` (N,). Without the N axis for
        one sample.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> log_probs = torch.tensor([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> posteriors(log_probs, torch.tensor([1]), 2, 1).states
        tensor([[0.0836, 0.9164, 0.0000],
                [0.0000, 0.8249, 0.1751]])
    """
    options = checked_flags(Options(blank, "none", False, from_logits, batch_first, validate))
    from_logits, batch_first = options.from_logits, options.batch_first
    check_targets_or_lattices(lattices, targets=targets, target_lengths=target_lengths)
    added = NOTHING if class_scores is None and state_scores is None else Added(class_scores, state_scores)
    call: Any
    if lattices is not None:
        call = checked_lattice_call(log_probs, lattices, input_lengths, options, added)
    else:
        shape, tokens = shape_frames_first(log_probs, batch_first), cast(Tensor, targets)
        targets_shape = tuple(getattr(tokens, "shape", ()))
        frames, lengths = lengths_or_all(shape, targets_shape, input_lengths, target_lengths)
        call = checked_call(log_probs, tokens, frames, lengths, options)
        call = call if added is NOTHING else with_added_to(call, log_probs, added)
    batch_first = batch_first and log_probs.ndim == 3
    found = _posteriors(call, log_probs.detach(), batch_first)
    states, classes = (array.transpose(0, 1) if batch_first else array for array in (found.states, found.classes))
    remember(found.status)
    if log_probs.ndim == 3:
        return Posteriors(states, classes, found.score, found.status)
    return Posteriors(states[:, 0], classes[:, 0], found.score[0], found.status[0])


def _posteriors(call: Any, scores: Tensor, batch_first: bool) -> Posteriors[Tensor]:
    backend, problem = backend_of(scores), call.problem
    if backend == "native":
        found = posteriors_of(problem, torch.get_num_threads())
        arrays = (found.states, found.classes, found.score, found.status)
        states, classes, score, status = (torch.from_numpy(array) for array in arrays)
        if scores.dtype == torch.bfloat16 and not problem.from_logits:
            classes = classes.view(torch.bfloat16)
        return Posteriors(states, classes.to(scores.dtype), score, status)
    if backend == "portable":
        on_tensors = portable.on_tensors(problem, frames_first(scores, batch_first))
        return portable.posteriors(portable.with_added(on_tensors, *call.added.detached()))
    from ..kernels import triton

    return triton.posteriors(problem)


@dataclass(frozen=True)
class TokenSpan:
    """A token's frames, as torchaudio's class of this name.

    Attributes:
        token: its class.
        start: its first frame.
        end: one past its last frame.
        score: the mean of its frames' scores.
    """

    token: int
    start: int
    end: int
    score: float

    def __len__(self) -> int:
        return self.end - self.start


@raises_tensor_errors
def merge_tokens(
    tokens: Tensor, scores: Tensor, blank: int = 0, *, until: Literal["own", "next"] = "own"
) -> list[TokenSpan]:
    """The spans of equal labels that are not the blank; as ``torchaudio.functional.merge_tokens``.

    Args:
        tokens: (T,) labels by frame, as from :func:`forced_align`.
        scores: (T,) of each frame.
        blank: the blank's class.
        until: ``"next"``: each span's end runs on to the next one's start, and the last one's to the last frame, as
            whisperX's do. Scores stay those of the token's own frames.

    Raises:
        CTCError: the two don't have one dimension and the same size.

    Example:
        >>> merge_tokens(torch.tensor([0, 1, 1, 0, 2]), torch.tensor([0.0, -1.0, -2.0, 0.0, -0.5]))
        [TokenSpan(token=1, start=1, end=3, score=-1.5), TokenSpan(token=2, start=4, end=5, score=-0.5)]
    """
    check_choice("until", until, ("own", "next"))
    check_tensor("tokens", tokens)
    check_tensor("scores", scores)
    if tokens.ndim != 1 or tokens.shape != scores.shape:
        raise CTCError(
            f"tokens has shape {tuple(tokens.shape)} and scores {tuple(scores.shape)}: expected (T,), the same for "
            "both; pass one sample of a batch at a time"
        )
    labels, runs = torch.unique_consecutive(tokens, return_counts=True)
    parts = torch.split(scores, runs.tolist())
    ends = runs.cumsum(0).tolist()
    spans = [
        TokenSpan(label, end - len(part), end, part.mean().item())
        for label, end, part in zip(labels.tolist(), ends, parts, strict=True)
        if label != blank
    ]
    if until == "own":
        return spans
    starts = [*(span.start for span in spans[1:]), len(tokens)]
    return [replace(span, end=start) for span, start in zip(spans, starts, strict=True)] if spans else []
