"""The CTC loss and posteriors on NumPy arrays.

May import kernels/ and what lies below, and of the extension its reductions; no framework.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .kernels import native, reference
from .kernels.backend import Gradients
from .native import mean_weights, weighted_loss
from .problem import ArrayProblem, ctc_problem
from .results import Array, FloatArray, LossAndGrad, Posteriors
from .validate import Reduction, check_reduction


def ctc_loss(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
) -> FloatArray:
    """The Connectionist Temporal Classification loss: -log of the probability of all paths that collapse to the target.

    Args:
        log_probs: (T, N, C) natural-log probabilities of C classes at T frames, or (T, C) for one sample; float64,
            float32, float16 or bfloat16 (an ``ml_dtypes`` array). Taken as they are: -inf is a legal probability of 0,
            and so is anything more than 1.8e8 nats below the best label of its frame (to mask a class, use -inf).
        targets: (N, S) tokens padded to one length, or all samples' tokens end to end in one dimension; (S,) for one
            sample. Padding is never read.
        input_lengths: (N,) frames of each sample. Frames beyond are never read.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class; no target may hold it.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``: each loss divided by its target length (at least 1), then the
            mean over the batch.
        zero_infinity: an infeasible sample (one whose target has no path of its length) costs 0 instead of +inf.
        from_logits: ``log_probs`` holds raw scores; log_softmax is part of the loss.

    Returns:
        Nats; (N,) for ``"none"``, else a scalar; float64 for float64 scores, else float32. NaN for a sample with NaN or
        +inf in a used frame; its neighbours are exact.

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), equations 3-8.

    Example:
        >>> log_probs = np.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> print(round(float(ctc_loss(log_probs, [1], 2, 1)), 12))
        0.019619004552
    """
    how = check_reduction(reduction)
    problem = ctc_problem(log_probs, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    weights = reduction_weights(problem, how)
    return _rounded(problem, reduced_loss(problem, native.total(problem).score, weights, how, zero_infinity))


def ctc_loss_and_grad(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
) -> LossAndGrad:
    """:func:`ctc_loss` and its gradient, in one pass.

    The gradient is the true derivative: -γ for log-probabilities (γ the occupancy by class), softmax - γ for logits,
    scaled as the reduction scales the loss. It is exactly 0 for infeasible samples and beyond ``input_lengths``.

    Example:
        >>> log_probs = np.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> ctc_loss_and_grad(log_probs, [1], 2, 1).grad.round(5)
        array([[-0.0836 , -0.9164 ],
               [-0.17512, -0.82488]])
    """
    how = check_reduction(reduction)
    problem = ctc_problem(log_probs, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    grad = native.gradient(problem.scores.shape, problem.scores.dtype)
    weights = reduction_weights(problem, how)
    score = native.total(problem, weights=weights, gradients=Gradients(grad)).score
    loss = reduced_loss(problem, score, weights, how, zero_infinity)
    grad = _like(grad, log_probs)
    return LossAndGrad(_rounded(problem, loss), grad if problem.batched else grad[:, 0])


def posteriors(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int = 0,
    *,
    from_logits: bool = False,
) -> Posteriors[Array]:
    """Occupancies γ: the probability, given the target, of being in each lattice state at each frame.

    Arguments as for :func:`ctc_loss`.

    Returns:
        ``states`` (T, N, K) with K = 2S+1 states φ y1 φ … yS φ, ``classes`` (T, N, C), and ``score`` (N,), the total
        log-score in nats. Without the N axis for one sample. γ of an infeasible sample is 0.

    Example:
        >>> log_probs = np.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> posteriors(log_probs, [1], 2, 1).states.round(5)
        array([[0.0836 , 0.9164 , 0.     ],
               [0.     , 0.82488, 0.17512]])
    """
    problem = ctc_problem(log_probs, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    gamma = native.posteriors(_normalised(problem) if from_logits else problem)
    classes = gamma.classes if from_logits else _like(gamma.classes, log_probs)
    if problem.batched:
        return Posteriors(gamma.states, classes, gamma.score, gamma.status)
    return Posteriors(gamma.states[:, 0], classes[:, 0], gamma.score[0], gamma.status[0])


def reduction_weights(problem: ArrayProblem, reduction: Reduction) -> npt.NDArray[np.float64]:
    """What a reduction multiplies each sample's loss with before it adds them up (N,)."""
    size = problem.scores.shape[1]
    if reduction != "mean":
        return np.ones(size)
    weights = np.empty(size)
    mean_weights(problem.lattices, weights)
    return weights


def reduced_loss(
    problem: ArrayProblem,
    score: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    reduction: Reduction,
    zero_infinity: bool,
) -> npt.NDArray[np.float64] | float:
    """Log-scores (N,) as the loss that the caller asked for, in nats, still to be rounded."""
    if reduction == "none" and problem.batched:
        loss = 0.0 - score  # not -score: a certain target costs 0, not -0
        if zero_infinity:
            loss[loss == np.inf] = 0
        return loss
    return weighted_loss(score, weights, zero_infinity)


def _rounded(problem: ArrayProblem, loss: npt.NDArray[np.float64] | float) -> FloatArray:
    rounded: FloatArray = problem.real(loss)
    return rounded


def _normalised(problem: ArrayProblem) -> ArrayProblem:
    """The same problem on log-probabilities, in float32 at least; frames beyond a sample's own stay unread."""
    log_probs = np.zeros(problem.scores.shape, problem.real)
    for n, frames in enumerate(problem.lattices.frames):
        log_probs[:frames, n] = reference.log_probs_of(problem, n)
    return replace(problem, scores=log_probs, from_logits=False)


def _like(array: npt.NDArray[Any], scores: npt.ArrayLike) -> npt.NDArray[Any]:
    """Bits of bfloat16 as the bfloat16 that the scores were; any other array as it is."""
    dtype = getattr(scores, "dtype", None)
    return array.view(dtype) if array.dtype == np.uint16 and isinstance(dtype, np.dtype) else array
