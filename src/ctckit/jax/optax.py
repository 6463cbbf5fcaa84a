"""``optax.ctc_loss`` and ``optax.ctc_loss_with_forward_probs`` with our kernels; optax itself is not needed.

The names, arguments and shapes are optax's. What differs is what is wrong there: the loss and its gradient are exact,
a target that can't be reached has gradient 0, padding is never read and may stand between frames, and labels that are
not classes are errors. May import jax, arguments.py, backends/, lattices.py, names.py, faults.py and errors.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..errors import CTCError
from ..faults import Fault
from .arguments import as_jax, checked_call, known_values
from .backends import Options, differentiable_loss, logarithms, loss_and_gradients
from .lattices import Array, TargetArrays, ctc_lattices
from .names import as_optax_calls_it

__all__ = ["ctc_loss", "ctc_loss_with_forward_probs"]

_LOG_EPSILON = -100_000.0  # optax's logarithm of 0


def ctc_loss(
    logits: Any,
    logit_paddings: Any,
    labels: Any,
    label_paddings: Any,
    *,
    blank_id: int = 0,
    log_epsilon: float = _LOG_EPSILON,
) -> Array:
    """``optax.ctc_loss``, quicker and exact: change the import, and nothing else.

    Args:
        logits: (B, T, K) raw scores of K classes; any dtype that :func:`ctckit.jax.ctc_loss` takes.
        logit_paddings: (B, T), 1 or True where a frame is padding, which may be anywhere.
        labels: integers (B, N).
        label_paddings: (B, N), 1 or True where a label is padding, which is at the end.
        blank_id: the blank's class.
        log_epsilon: minus the loss of a sample whose labels can't be reached. Its gradient is 0.

    Returns:
        (B,) nats, in float32, or float64 for float64 logits. A sample whose paddings are neither 0 nor 1, which is an
        error outside of ``jit``, has a loss of NaN inside of it.

    Raises:
        CTCError: for anything malformed, such as a label that is not a class; the message says where. See
            :func:`ctckit.jax.ctc_loss` for values that are not known yet.

    Source:
        The interface: optax.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = ctc_loss(jnp.zeros((1, 4, 3)), jnp.zeros((1, 4)), jnp.array([[1, 2]]), jnp.zeros((1, 2)))
        >>> [round(each, 4) for each in loss.tolist()]
        [1.6864]
    """
    scores, used, batch, options = _checked(logits, logit_paddings, labels, label_paddings, blank_id)
    return _finite(_loss(scores, used, batch, options), log_epsilon)


def ctc_loss_with_forward_probs(
    logits: Any,
    logit_paddings: Any,
    labels: Any,
    label_paddings: Any,
    *,
    blank_id: int = 0,
    log_epsilon: float = _LOG_EPSILON,
) -> tuple[Array, Array, Array]:
    """``optax.ctc_loss_with_forward_probs``: the loss, and the logs of forward variables.

    Args:
        logits: as for :func:`ctc_loss`, and so all arguments.
        logit_paddings: (B, T).
        labels: integers (B, N).
        label_paddings: (B, N).
        blank_id: the blank's class.
        log_epsilon: minus the loss of a sample whose labels can't be reached, and the least forward variable.

    Returns:
        The loss (B,); the logs of the sums over all paths that are in the blank before label n at frame t (T, B, N+1),
        the last row with those that have come to label n, as in optax; and of those that are in label n (T, B, N). At a
        padded frame they are those of the frame before. All are differentiable.

    Raises:
        CTCError: as for :func:`ctc_loss`.

    Source:
        The interface: optax. Graves et al., "Connectionist Temporal Classification" (ICML 2006), equation 6.

    Example:
        >>> import jax.numpy as jnp
        >>> given = jnp.zeros((1, 4, 3)), jnp.zeros((1, 4)), jnp.array([[1, 2]]), jnp.zeros((1, 2))
        >>> [each.shape for each in ctc_loss_with_forward_probs(*given)]
        [(1,), (4, 1, 3), (4, 1, 2)]
    """
    scores, used, batch, options = _checked(logits, logit_paddings, labels, label_paddings, blank_id)
    loss = _finite(_loss(scores, used, batch, options), log_epsilon)
    lattices = ctc_lattices(*batch, options.blank)
    alphas = logarithms.forward_variables(
        logarithms.emissions(_compacted(scores, used), lattices, from_logits=True), lattices
    )
    begun = jnp.where(jnp.arange(lattices.max_states) == 0, 0.0, -jnp.inf).astype(alphas.dtype)
    at_start = jnp.broadcast_to(begun, (alphas.shape[0], 1, alphas.shape[2]))
    rows = jnp.concatenate([at_start, alphas], axis=1)
    rows = jnp.take_along_axis(rows, used.cumsum(1)[..., None], axis=1).swapaxes(0, 1)
    blanks, tokens = rows[..., ::2], rows[..., 1::2]
    come = jnp.pad(tokens[-1], ((0, 0), (1, 0)), constant_values=-jnp.inf)
    blanks = blanks.at[-1].set(logarithms.log_sum(jnp.stack([blanks[-1], come])))
    return loss, jnp.maximum(blanks, log_epsilon), jnp.maximum(tokens, log_epsilon)


def _checked(
    logits: Any, logit_paddings: Any, labels: Any, label_paddings: Any, blank_id: int
) -> tuple[Array, Array, TargetArrays, Options]:
    """The scores (B, T, K), which of their frames are used (B, T), the targets, and the call's options."""
    scores, tokens = as_jax("logits", logits), as_jax("labels", labels, integers=True)
    _check_axes(scores, tokens)
    frames = _paddings("logit_paddings", logit_paddings, scores.shape[:2])
    padding = _paddings("label_paddings", label_paddings, tokens.shape)
    known = known_values(padding)
    if known is not None and (np.diff(known.astype(np.float64), axis=1) < 0).any():
        b, n = np.argwhere(np.diff(known.astype(np.float64), axis=1) < 0)[0].tolist()
        where, found = (b, n + 1), known[b, n + 1].item()
        raise CTCError(Fault("paddings-order", "label_paddings", where, found, hint="pad-at-the-end"))
    used = frames == 0
    lengths = (padding == 0).sum(1, dtype=jnp.int32)
    try:
        call = checked_call(scores, tokens, used.sum(1, dtype=jnp.int32), lengths, blank_id, from_logits=True)
    except CTCError as error:
        raise as_optax_calls_it(error) from None
    wrong = (~_is_binary(frames)).any(1) | (~_is_binary(padding)).any(1)
    scores = jnp.where(wrong[:, None, None], jnp.nan, call.scores) if _may_be_fractions(frames, padding) else scores
    return scores, used, call.batch, Options(None, True, call.blank, as_optax=True)


def _check_axes(logits: Array, labels: Array) -> None:
    for code, name, axes, array in (("batch-first-shape", "logits", 3, logits), ("padded-shape", "labels", 2, labels)):
        if array.ndim != axes:
            hint = "add-batch-axis" if array.ndim == axes - 1 else ""
            raise CTCError(Fault(code, name, (), array.shape, hint=hint))
    if len(labels) != len(logits):
        details = {"size": len(logits)}
        raise CTCError(
            Fault(
                "shape-mismatch", "labels", (), labels.shape, None, "one-row-a-sample", variant="rows", details=details
            )
        )


def _paddings(name: str, given: Any, shape: tuple[int, ...]) -> Array:
    array = as_jax(name, given)
    if array.ndim != 2 or array.shape != shape:
        raise CTCError(Fault("paddings-form", name, (), array.shape, shape))
    known = known_values(array)
    if known is not None and not ((known == 0) | (known == 1)).all():
        where = tuple(np.argwhere((known != 0) & (known != 1))[0].tolist())
        raise CTCError(Fault("paddings-value", name, where, known[where].item()))
    return array


def _may_be_fractions(*paddings: Array) -> bool:
    return any(jnp.issubdtype(each.dtype, jnp.inexact) and known_values(each) is None for each in paddings)


def _is_binary(padding: Array) -> Array:
    return (padding == 0) | (padding == 1)


def _finite(loss: Array, log_epsilon: float) -> Array:
    return jnp.where(loss == jnp.inf, -log_epsilon, loss)


def _order(used: Array) -> Array:
    """(B, T) the frames of each sample, those that are used first."""
    return jnp.argsort(~used, axis=1, stable=True)


def _compacted(scores: Array, used: Array) -> Array:
    """The used frames of each sample, moved to the front."""
    return jnp.take_along_axis(scores, _order(used)[..., None], axis=1)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _loss(scores: Array, used: Array, batch: TargetArrays, options: Options) -> Array:
    """(B,) losses of the used frames, wherever they are."""

    def of(scores: Array) -> Array:
        return differentiable_loss(scores, batch, options)

    loss: Array = lax.cond(_in_front(used), of, lambda scores: of(_compacted(scores, used)), scores)
    return loss


def _forward(scores: Array, used: Array, batch: TargetArrays, options: Options) -> tuple[Array, Any]:
    def with_gradient(scores: Array) -> tuple[Array, Array | None]:
        found = loss_and_gradients(scores, batch, options)
        return found.loss, found.grad

    def moved(scores: Array) -> tuple[Array, Array | None]:
        loss, gradient = with_gradient(_compacted(scores, used))
        back = jnp.argsort(_order(used), axis=1)[..., None]
        return loss, None if gradient is None else jnp.take_along_axis(gradient, back, axis=1)

    # A choice between calls, not between their scores, which would be copied; and so is the gradient not.
    found: tuple[Array, Array] = lax.cond(_in_front(used), with_gradient, moved, scores)
    return found


def _backward(_: Options, gradient: Array, cotangent: Array) -> tuple[Array, None, None]:
    return (gradient * cotangent[:, None, None]).astype(gradient.dtype), None, None


_loss.defvjp(_forward, _backward)


def _in_front(used: Array) -> Array:
    """Whether padding stands at the ends only, as it nearly always does."""
    return (used[:, 1:] <= used[:, :-1]).all()
