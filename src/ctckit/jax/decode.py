"""The most probable class of each frame, collapsed, with results of fixed shapes.

May import jax, arguments.py, lattices.py and validate/.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..validate import check_blank
from .arguments import checked_scores
from .lattices import Array, real_of


class Decoded(NamedTuple):
    """The tokens that a network reads in each sample.

    Attributes:
        tokens: int32 (…, T) the tokens, then -1.
        lengths: int32 (…) how many there are.
        frames: int32 (…, T) the frame at which each begins, then -1.
        score: (…) nats, of the path.
    """

    tokens: Array
    lengths: Array
    frames: Array
    score: Array


def greedy_decode(
    logits: Any, input_lengths: Any | None = None, *, blank: int = 0, from_logits: bool = True
) -> Decoded:
    """Takes the most probable class of each frame, merges repeats and drops blanks. Works inside of ``jit``.

    For texts, words and a beam search, pass arrays to :func:`ctckit.greedy_decode` and :class:`ctckit.Decoder`.

    Args:
        logits: (…, T, C), as for :func:`ctckit.jax.ctc_loss`.
        input_lengths: integers (…) frames of each sample; all T if not given.
        blank: the blank's class.
        from_logits: False: ``logits`` holds log-probabilities. Only the score depends on it.

    Returns:
        A :class:`Decoded`. Of classes with equal scores, the lowest is taken. The score is NaN if a used frame holds
        NaN or +inf.

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), section 3.2.

    Example:
        >>> import jax.numpy as jnp
        >>> found = greedy_decode(jnp.eye(3)[jnp.array([0, 1, 1, 0, 1, 2])])
        >>> found.tokens.tolist(), int(found.lengths), found.frames.tolist()
        ([1, 1, 2, -1, -1, -1], 3, [1, 4, 5, -1, -1, -1])
    """
    scores, frames, lead = checked_scores(logits, input_lengths, from_logits=from_logits)
    blank = check_blank(blank, scores.shape[2], scores_name="logits" if from_logits else "log_probs")
    used = jnp.arange(scores.shape[1]) < frames[:, None]
    path = scores.argmax(2).astype(jnp.int32)
    begins = (path != blank) & used & (jnp.diff(path, axis=1, prepend=-1) != 0)
    place = jnp.where(begins, begins.cumsum(1) - 1, path.shape[1])
    n = jnp.arange(path.shape[0])[:, None]
    nothing = jnp.full((path.shape[0], path.shape[1] + 1), -1, jnp.int32)
    tokens = nothing.at[n, place].set(jnp.where(begins, path, -1))[:, :-1]
    starts = nothing.at[n, place].set(jnp.where(begins, jnp.arange(path.shape[1], dtype=jnp.int32), -1))[:, :-1]
    floats = scores.astype(real_of(scores.dtype))
    best = (jax.nn.log_softmax(floats) if from_logits else floats).max(2)
    best = jnp.where((jnp.isnan(floats) | (floats == jnp.inf)).any(2), jnp.nan, best)
    score = jnp.where(used, best, 0).sum(1)
    made = Decoded(tokens, begins.sum(1, dtype=jnp.int32), starts, score)
    return jax.tree.map(lambda array: array.reshape(*lead, *array.shape[1:]), made)  # type: ignore[no-any-return]
