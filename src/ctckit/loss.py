"""The CTC loss and posteriors on NumPy arrays.

May import kernels/ and what lies below, and the extension's reductions; no framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .bfloat16 import as_floats, stored
from .kernels import native
from .kernels.backend import Gradients, added_gradients
from .lattice import Lattice
from .native import weighted_loss
from .problem import ArrayProblem, ctc_problem, lattice_problem, lengths_or_all, with_added_scores
from .results import Array, FloatArray, LatticeLossAndGrad, LossAndGrad, Posteriors, Status
from .validate import Reduction, as_array, check_flag, check_reduction, check_targets_or_lattices, dtype_name


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
    class_scores: npt.ArrayLike | None = None,
    index: npt.ArrayLike | None = None,
) -> FloatArray:
    """The Connectionist Temporal Classification loss: -log of the probability of all paths that collapse to the target.

    Args:
        log_probs: (T, N, C) natural-log probabilities of C classes at T frames, or (T, C) for one sample; float64,
            float32, float16 or bfloat16 (an ``ml_dtypes`` array). Taken as they are: -inf is a legal probability of 0.
        targets: (N, S) tokens padded to one length, or all samples' tokens end to end in one dimension; (S,) for one
            sample. Padding is never read.
        input_lengths: (N,) frames of each sample. Frames beyond are never read.
        target_lengths: (N,) tokens of each sample.
        blank: the blank's class; no target may hold it.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``: each loss divided by its target length (at least 1), then the
            mean over the batch.
        zero_infinity: an infeasible sample (one whose target has no path of its length) costs 0 instead of +inf.
        from_logits: ``log_probs`` holds raw scores; log_softmax is part of the loss.
        class_scores: (C,) nats added to each class's log-probability after the log_softmax, such as minus a scaled log
            prior, or a blank penalty. -inf forbids a class. With them a loss may be below 0.
        index: (M,) integers: which utterance n of the scores each of M targets belongs to, such as several hypotheses
            of one utterance. ``targets`` and ``target_lengths`` are then of M targets, and M takes N's place in the
            losses; ``input_lengths`` are of the N utterances. Scores are not copied. An utterance's gradient is the
            sum over its targets, added in their order, and 0 without a target.

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
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    problem = ctc_problem(
        log_probs, targets, input_lengths, target_lengths, blank, from_logits=from_logits, index=index
    )
    problem = with_added_scores(problem, class_scores, None)
    weights = problem.lattices.loss_weights(how == "mean")
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
    class_scores: npt.ArrayLike | None = None,
    index: npt.ArrayLike | None = None,
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
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    problem = ctc_problem(
        log_probs, targets, input_lengths, target_lengths, blank, from_logits=from_logits, index=index
    )
    problem = with_added_scores(problem, class_scores, None)
    grad = native.gradient(problem.scores.shape, problem.scores.dtype)
    weights = problem.lattices.loss_weights(how == "mean")
    score = native.total(problem, weights=weights, gradients=Gradients(grad)).score
    loss = reduced_loss(problem, score, weights, how, zero_infinity)
    grad = _like(grad, log_probs)
    return LossAndGrad(_rounded(problem, loss), grad if problem.batched else grad[:, 0])


def lattice_loss(
    scores: npt.ArrayLike,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: npt.ArrayLike | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
) -> FloatArray:
    """Minus the log of the sum over all paths of a lattice: :func:`ctc_loss` for any topology.

    Args:
        scores: (T, N, C), or (T, C) for one sample; log-probabilities as they are, or logits; dtypes as for
            :func:`ctc_loss`.
        lattices: a :class:`Lattice` for each sample, or one for all.
        input_lengths: (N,) frames of each sample; all T if not given.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by the lattice's number of tokens, at least 1, then over the
            batch).
        zero_infinity: an infeasible sample costs 0 instead of +inf.
        from_logits: ``scores`` holds raw scores; log_softmax is part of the loss.
        class_scores: (C,) nats added to each class's log-probability after the log_softmax, such as minus a scaled log
            prior, or a blank penalty. -inf forbids a class.
        state_scores: (N, K) nats added to what a state emits at every frame, K of the largest lattice, or a list of N
            rows, each as long as its lattice; (K,) for one sample.

    Returns:
        Nats; (N,) for ``"none"``, else a scalar. With added scores, or costs below 0, it may be below 0.

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Sums over the paths of a graph: Graves et al. (ICML 2006) for CTC's; Hannun et al., "Differentiable Weighted
        Finite-State Transducers" (2020), for any.

    Example:
        >>> from ctckit import ctc_lattice
        >>> log_probs = np.log([[0.5, 0.25, 0.25]] * 3)
        >>> print(round(float(lattice_loss(log_probs, ctc_lattice([1, 2]).minimal(), reduction="sum")), 4))
        2.3671
    """
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    problem = lattice_problem(
        scores,
        lattices,
        input_lengths,
        from_logits=from_logits,
        class_scores=class_scores,
        state_scores=state_scores,
    )
    weights = problem.lattices.loss_weights(how == "mean")
    return _rounded(problem, reduced_loss(problem, native.total(problem).score, weights, how, zero_infinity))


def lattice_loss_and_grad(
    scores: npt.ArrayLike,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: npt.ArrayLike | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
) -> LatticeLossAndGrad:
    """:func:`lattice_loss` and its gradients by everything that it depends on, in one pass; arguments are the same.

    Returns:
        The loss; its gradient by ``scores``, in their shape and dtype; and, in float64, by class scores (C,), state
        scores (N, K), the lattices' entry costs (N, K) and the scores of their long arcs (J,), sample by sample in the
        order of ``Lattice.long_arcs``. The gradient by an entry cost is how often a path is expected to enter that
        state; by a long arc's score, minus how often it is expected to take that arc.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> from ctckit import ctc_lattice
        >>> found = lattice_loss_and_grad(np.zeros((3, 3)), ctc_lattice([1, 2]), from_logits=True, reduction="sum")
        >>> found.entry_costs.round(2).tolist()  # each token is entered once
        [0.2, 1.0, 0.2, 1.0, 0.2]
    """
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    problem = lattice_problem(
        scores,
        lattices,
        input_lengths,
        from_logits=from_logits,
        class_scores=class_scores,
        state_scores=state_scores,
    )
    gradients = added_gradients(problem, [True] * 4, np.empty)
    gradients.scores = native.gradient(problem.scores.shape, problem.scores.dtype)
    weights = problem.lattices.loss_weights(how == "mean")
    score = native.total(problem, weights=weights, gradients=gradients).score
    loss = reduced_loss(problem, score, weights, how, zero_infinity)
    grad = _like(cast(Array, gradients.scores), scores)
    by_state, costs = cast(Array, gradients.state_scores), cast(Array, gradients.entry_costs)
    return LatticeLossAndGrad(
        _rounded(problem, loss),
        grad if problem.batched else grad[:, 0],
        cast(Array, gradients.class_scores).sum(axis=0),
        by_state if problem.batched else by_state[0],
        costs if problem.batched else costs[0],
        cast(Array, gradients.long_arc_scores),
    )


def posteriors(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike | None = None,
    input_lengths: npt.ArrayLike | None = None,
    target_lengths: npt.ArrayLike | None = None,
    blank: int = 0,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
    class_scores: npt.ArrayLike | None = None,
    state_scores: npt.ArrayLike | None = None,
) -> Posteriors[Array]:
    """Occupancies γ: the probability, given the target, of being in each lattice state at each frame.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample, as for :func:`ctc_loss`.
        targets: (N, S) padded, or all samples' tokens end to end; (S,) for one sample.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of targets and their lengths: a :class:`Lattice` for each sample, or one for all.
        from_logits: ``log_probs`` holds raw scores; they are normalised.
        class_scores: (C,) nats added to each class's log-probability.
        state_scores: (N, K) nats added to what a state emits at every frame.

    Returns:
        ``states`` (T, N, K), for targets of K = 2S+1 states φ y1 φ … yS φ; ``classes`` (T, N, C); ``score`` (N,), the
        total log-score in nats; and ``status`` (N,). Without the N axis for one sample. γ of an infeasible sample is 0.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> log_probs = np.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> posteriors(log_probs, [1], 2, 1).states.round(5)
        array([[0.0836 , 0.9164 , 0.     ],
               [0.     , 0.82488, 0.17512]])
    """
    problem = _with_targets_or_lattices(
        log_probs, targets, input_lengths, target_lengths, blank, lattices, from_logits=from_logits
    )
    problem = with_added_scores(problem, class_scores, state_scores)
    gamma = posteriors_of(problem)
    classes = gamma.classes if problem.from_logits else _like(gamma.classes, log_probs)
    if problem.batched:
        return Posteriors(gamma.states, classes, gamma.score, gamma.status)
    return Posteriors(gamma.states[:, 0], classes[:, 0], gamma.score[0], gamma.status[0])


def path_entropy(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike | None = None,
    input_lengths: npt.ArrayLike | None = None,
    target_lengths: npt.ArrayLike | None = None,
    blank: int = 0,
    *,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = False,
) -> FloatArray:
    """How undecided the network is between a target's paths: H = -Σ P(π|y) log P(π|y), over all of its paths π.

    0 if there is one path, log M if M paths are equally probable. Divided by the frames it tells a peaky network, which
    is sure where each token stands, from one that is not.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample, as for :func:`ctc_loss`.
        targets: as for :func:`posteriors`.
        input_lengths: (N,) frames of each sample; all T if not given.
        target_lengths: (N,) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of targets and their lengths.
        from_logits: ``log_probs`` holds raw scores; they are normalised.

    Returns:
        Nats, (N,), or a number for one sample; 0 without a path, NaN if a used frame is not finite.

    Raises:
        CTCError: for anything malformed; the message says where.

    Example:
        >>> print(round(float(np.exp(path_entropy(np.zeros((6, 4)), [1, 2], from_logits=True))), 6))  # paths
        70.0
    """
    problem = _with_targets_or_lattices(
        log_probs, targets, input_lengths, target_lengths, blank, lattices, from_logits=from_logits
    )
    if problem.from_logits:
        scores = _as_log_probs(problem).scores
        with np.errstate(invalid="ignore"):  # NaN in, NaN out
            scores = scores - np.logaddexp.reduce(scores, axis=2, keepdims=True)
        problem = replace(problem, scores=scores, from_logits=False)
    scores, batch = as_floats(problem.scores), problem.lattices
    has_costs, has_arcs = batch.entry_costs is not None, len(batch.long_arcs) > 0
    slopes = added_gradients(problem, [False, False, has_costs, has_arcs], np.empty)
    slopes.scores = native.gradient(scores.shape, problem.scores.dtype)
    size = scores.shape[1]
    totals = native.total(problem, weights=-np.ones(size), gradients=slopes)
    # A path's score is linear in scores and costs, so their products with the slopes add up to its expected score.
    occupancy = as_floats(cast(Array, slopes.scores))
    expected = np.zeros(size)
    for n, frames in enumerate(batch.frames.tolist()):
        expected[n] = _products(occupancy[:frames, n], scores[:frames, n]).sum(dtype=np.float64)
    if has_costs:
        expected += _products(cast(Array, slopes.entry_costs), cast(Array, batch.entry_costs)).sum(axis=1)
    if has_arcs:
        np.add.at(
            expected, batch.long_arcs[:, 0], _products(cast(Array, slopes.long_arc_scores), batch.long_arc_scores)
        )
    with np.errstate(invalid="ignore"):
        entropy: FloatArray = np.where(totals.score == -np.inf, 0, np.maximum(totals.score - expected, 0))
    entropy = entropy.astype(problem.real)
    return entropy if problem.batched else entropy[0]


def posteriors_of(problem: ArrayProblem, threads: int | None = None) -> Posteriors[Array]:
    """Occupancies of a checked batch; those by class are in its scores' dtype, or in that of sums for logits."""
    if not problem.from_logits:
        return native.posteriors(problem, threads=threads)
    # A number added to all scores of a frame changes no occupancy: for them, nothing need be normalised and rounded.
    found = native.posteriors(_as_log_probs(problem), threads=threads)
    totals = native.total(problem, threads=threads)
    for n in np.flatnonzero(totals.status == Status.NOT_FINITE):  # logits of -inf throughout, which log_probs may be
        for occupancies in (found.states, found.classes):
            occupancies[: problem.lattices.frames[n], n] = np.nan
    return Posteriors(found.states, found.classes, totals.score, totals.status)


def _with_targets_or_lattices(
    log_probs: npt.ArrayLike,
    targets: npt.ArrayLike | None,
    input_lengths: npt.ArrayLike | None,
    target_lengths: npt.ArrayLike | None,
    blank: int,
    lattices: Lattice | Sequence[Lattice] | None,
    *,
    from_logits: bool,
) -> ArrayProblem:
    """The checked batch of a call that takes targets or lattices, and lengths or none."""
    check_targets_or_lattices(lattices, targets=targets, target_lengths=target_lengths)
    from_logits = check_flag("from_logits", from_logits)
    if lattices is not None:
        return lattice_problem(log_probs, lattices, input_lengths, from_logits=from_logits)
    tokens = cast(npt.ArrayLike, targets)
    scores_shape = as_array("logits" if from_logits else "log_probs", log_probs).shape
    frames, lengths = lengths_or_all(scores_shape, as_array("targets", tokens).shape, input_lengths, target_lengths)
    return ctc_problem(log_probs, tokens, frames, lengths, blank, from_logits=from_logits)


def reduced_loss(
    problem: ArrayProblem,
    score: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    reduction: Reduction,
    zero_infinity: bool,
) -> npt.NDArray[np.float64] | float:
    """Turns log-scores (N,) into the loss that the caller asked for, in nats, not yet rounded."""
    if reduction == "none" and problem.batched:
        loss = 0.0 - score  # not -score: a certain target costs 0, not -0
        if zero_infinity:
            loss[loss == np.inf] = 0
        return problem.by_head(loss)
    if problem.heads:
        rows = zip(problem.by_head(score), problem.by_head(weights), strict=True)
        return np.array([weighted_loss(*row, zero_infinity) for row in rows])
    return weighted_loss(score, weights, zero_infinity)


def _products(shares: Array, values: Array) -> Array:
    """Their products; 0 where a share is 0, even of -inf."""
    return np.multiply(shares, values, where=shares != 0, out=np.zeros(shares.shape))


def _rounded(problem: ArrayProblem, loss: npt.NDArray[np.float64] | float) -> FloatArray:
    # NumPy 1's scalar types make a scalar of an array with one entry.
    rounded: FloatArray = problem.real(loss) if isinstance(loss, float) else loss.astype(problem.real)
    return rounded


def _as_log_probs(problem: ArrayProblem) -> ArrayProblem:
    """The same problem as if its logits were log-probabilities, in float32 or float64."""
    scores = as_floats(problem.scores).astype(problem.real, copy=False)
    return replace(problem, scores=scores, from_logits=False)


def _like(array: npt.NDArray[Any], scores: npt.ArrayLike) -> npt.NDArray[Any]:
    """The bits of bfloat16 with the scores' own dtype; rounded to half precision, if scores have it; else as it is."""
    dtype = getattr(scores, "dtype", None)
    kind = dtype_name(dtype)
    if kind in ("float16", "bfloat16") and array.dtype == np.float32:
        array = stored(array, np.dtype(np.float16 if kind == "float16" else np.uint16))
    return array.view(dtype) if array.dtype == np.uint16 and isinstance(dtype, np.dtype) else array
