"""Paths and occupancies on jax's arrays, with results of fixed shapes, so that they work inside of ``jit``.

May import jax, arguments.py, backends/, lattices.py, loss.py, lattice/ and validate/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from ..lattice import Lattice
from ..validate import check_targets_or_lattices
from . import backends
from .arguments import Call, checked_call, checked_lattice_call
from .lattices import Array, Paths, TargetArrays, ctc_lattices
from .loss import Backend, options_of


class Alignment(NamedTuple):
    """The most probable path of each target, token by token and frame by frame.

    Attributes:
        starts: int32 (…, S) each token's first frame; -1 in the padding, and without a path.
        ends: int32 (…, S) one past its last frame; likewise.
        token_scores: (…, S) nats, the mean frame score of each token; NaN in the padding, and without a path.
        labels: int32 (…, T) the class of each frame; the blank beyond a sample's frames, and without a path.
        frame_scores: (…, T) nats, what each frame adds to the path's score; 0 there.
        score: (…) nats, the path's; -inf without one, NaN if a used frame is not finite.
        status: uint8 (…) a :class:`ctckit.Status` each.
    """

    starts: Array
    ends: Array
    token_scores: Array
    labels: Array
    frame_scores: Array
    score: Array
    status: Array


class Posteriors(NamedTuple):
    """Occupancies γ: how probable it is, given the target, that a path is in a state at a frame.

    Attributes:
        states: (…, T, K) by lattice state, for targets K = 2S+1 states φ y1 φ … yS φ.
        classes: (…, T, C) the same by class.
        score: (…) nats, the log of the sum over all paths.
        status: uint8 (…) a :class:`ctckit.Status` each.
    """

    states: Array
    classes: Array
    score: Array
    status: Array


def forced_align(
    logits: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int = 0,
    from_logits: bool = True,
    backend: Backend | None = None,
) -> Alignment:
    """Finds the most probable path of each target: which frames are which token. Works inside of ``jit``.

    Args:
        logits: (…, T, C), as for :func:`ctckit.jax.ctc_loss`.
        targets: integers (…, S), padded.
        input_lengths: integers (…) frames of each sample.
        target_lengths: integers (…) tokens of each sample.
        blank: the blank's class.
        from_logits: False: ``logits`` holds log-probabilities.
        backend: as for :func:`ctckit.jax.ctc_loss`.

    Returns:
        An :class:`Alignment`. A sample without a path is marked by its status, since compiled code can't raise errors.
        Among equally good paths, the one that, read from its end, has the lowest states. Not differentiable.

    Raises:
        CTCError: for anything malformed, as :func:`ctckit.jax.ctc_loss`.

    Source:
        Viterbi's algorithm on the lattice of Graves et al., "Connectionist Temporal Classification" (ICML 2006).

    Example:
        >>> import jax.numpy as jnp
        >>> logits = jnp.log(jnp.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]) + 1e-9)
        >>> found = forced_align(logits, jnp.array([1, 2]), 4, 2)
        >>> found.starts.tolist(), found.ends.tolist(), found.labels.tolist()
        ([1, 3], [2, 4], [0, 1, 0, 2])
    """
    call = checked_call(logits, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    found = backends.best_path(*_constant(call), options_of(call, backend))
    batch: TargetArrays = call.batch
    size, longest = batch.targets.shape
    tokens = jnp.where(found.states % 2 == 1, found.states // 2, longest)  # token s is state 2s+1; -1 is odd
    tokens = jnp.where(found.states < 0, longest, tokens)
    row, frame = jnp.arange(size)[:, None], jnp.arange(found.states.shape[1])
    counts, sums = (
        jnp.zeros((size, longest + 1), found.score.dtype).at[row, tokens].add(values)[:, :longest]
        for values in (1, found.frame_scores)
    )
    never = jnp.iinfo(jnp.int32).max
    starts = jnp.full((size, longest + 1), never, jnp.int32).at[row, tokens].min(frame)[:, :longest]
    ends = jnp.zeros((size, longest + 1), jnp.int32).at[row, tokens].max(frame + 1)[:, :longest]
    there = counts > 0
    labels = jnp.take_along_axis(jnp.pad(batch.targets, ((0, 0), (0, 1)), constant_values=call.blank), tokens, axis=1)
    made = Alignment(
        jnp.where(there, starts, -1),
        jnp.where(there, ends, -1),
        jnp.where(there, sums / counts, jnp.nan),
        labels,
        found.frame_scores,
        found.score,
        found.status,
    )
    return jax.tree.map(call.by_sample, made)  # type: ignore[no-any-return]


def best_path(
    logits: Any,
    targets: Any | None = None,
    input_lengths: Any | None = None,
    target_lengths: Any | None = None,
    *,
    blank: int = 0,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = True,
    class_scores: Any | None = None,
    state_scores: Any | None = None,
    backend: Backend | None = None,
) -> Paths:
    """The most probable path of each sample, as lattice states: :func:`forced_align` for any lattice.

    Args:
        logits: (…, T, C), as for :func:`ctckit.jax.ctc_loss`.
        targets: integers (…, S), padded.
        input_lengths: integers (…) frames of each sample; all T if not given.
        target_lengths: integers (…) tokens of each sample; all S if not given.
        blank: the blank's class.
        lattices: instead of targets and their lengths: a :class:`ctckit.Lattice` for each sample, or one for all.
        from_logits: False: ``logits`` holds log-probabilities.
        class_scores: (C,) nats added to each class's log-probability; with lattices only.
        state_scores: (…, K) nats added to what a state emits at every frame; with lattices only.
        backend: as for :func:`ctckit.jax.ctc_loss`.

    Returns:
        Scores (…), statuses (…), states (…, T), which are -1 where there is none, and frames' scores (…, T).

    Raises:
        CTCError: for anything malformed, as :func:`ctckit.jax.ctc_loss`.

    Example:
        >>> import jax.numpy as jnp
        >>> best_path(jnp.eye(3)[jnp.array([0, 1, 0, 2])], jnp.array([1, 2])).states.tolist()
        [0, 1, 2, 3]
    """
    call = _call(
        logits, targets, input_lengths, target_lengths, blank, lattices, from_logits, class_scores, state_scores
    )
    found = backends.best_path(*_constant(call), options_of(call, backend))
    return jax.tree.map(call.by_sample, found)  # type: ignore[no-any-return]


def posteriors(
    logits: Any,
    targets: Any | None = None,
    input_lengths: Any | None = None,
    target_lengths: Any | None = None,
    *,
    blank: int = 0,
    lattices: Lattice | Sequence[Lattice] | None = None,
    from_logits: bool = True,
    class_scores: Any | None = None,
    state_scores: Any | None = None,
    backend: Backend | None = None,
) -> Posteriors:
    """Occupancies γ: the probability, given the target, of being in each lattice state at each frame.

    Args:
        logits: (…, T, C), as for :func:`ctckit.jax.ctc_loss`.
        targets: as for :func:`best_path`, and so all arguments after it.
        input_lengths: integers (…).
        target_lengths: integers (…).
        blank: the blank's class.
        lattices: instead of targets and their lengths.
        from_logits: False: ``logits`` holds log-probabilities.
        class_scores: (C,).
        state_scores: (…, K).
        backend: as for :func:`ctckit.jax.ctc_loss`.

    Returns:
        Occupancies by state (…, T, K) and by class (…, T, C), float64 for float64 logits, else float32; the log of the
        sum over all paths (…); statuses (…). γ of an infeasible sample is 0. Not differentiable.

    Raises:
        CTCError: for anything malformed, as :func:`ctckit.jax.ctc_loss`.

    Example:
        >>> import jax.numpy as jnp
        >>> log_probs = jnp.array([[-2.2892, -0.1069], [-1.6550, -0.2121]])
        >>> found = posteriors(log_probs, jnp.array([1]), 2, 1, from_logits=False)
        >>> print(np.asarray(found.states).round(3))
        [[0.084 0.916 0.   ]
         [0.    0.825 0.175]]
    """
    call = _call(
        logits, targets, input_lengths, target_lengths, blank, lattices, from_logits, class_scores, state_scores
    )
    scores, batch = _constant(call)
    log_probs = jax.nn.log_softmax(scores.astype(jnp.promote_types(scores.dtype, jnp.float32)))
    log_probs = log_probs if call.from_logits else scores
    found = backends.posteriors(log_probs, batch, options_of(call, backend))
    labels = batch.labels if not isinstance(batch, TargetArrays) else ctc_lattices(*batch, call.blank).labels
    n, t = jnp.arange(scores.shape[0])[:, None, None], jnp.arange(scores.shape[1])[:, None]
    empty = jnp.zeros(scores.shape, found.occupancy.dtype)
    classes = empty.at[n, t, labels[:, None, :]].add(found.occupancy)
    made = Posteriors(found.occupancy, classes, found.score, found.status)
    return jax.tree.map(call.by_sample, made)  # type: ignore[no-any-return]


def _call(
    logits: Any,
    targets: Any | None,
    input_lengths: Any | None,
    target_lengths: Any | None,
    blank: int,
    lattices: Lattice | Sequence[Lattice] | None,
    from_logits: bool,
    class_scores: Any | None,
    state_scores: Any | None,
) -> Call:
    """A checked call with targets or lattices."""
    of_targets = {"targets": targets, "target_lengths": target_lengths}
    check_targets_or_lattices(lattices, **of_targets)
    if lattices is not None:
        more = {"class_scores": class_scores, "state_scores": state_scores}
        return checked_lattice_call(logits, lattices, input_lengths, from_logits=from_logits, **more)
    shape, row = np.shape(logits), np.shape(cast(Any, targets))
    if input_lengths is None:
        input_lengths = jnp.full(shape[:-2], shape[-2] if len(shape) > 1 else 0)
    if target_lengths is None:
        target_lengths = jnp.full(row[:-1], row[-1] if row else 0)
    return checked_call(logits, targets, input_lengths, target_lengths, blank, from_logits=from_logits)


def _constant(call: Call) -> tuple[Array, Any]:
    """Scores and batch without a gradient."""
    return jax.lax.stop_gradient((call.scores, call.batch))
