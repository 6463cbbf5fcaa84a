"""The loss with gradients of any order: what jax is told about the derivatives of sums over paths.

The forward pass computes the gradient; the backward pass multiplies it by the cotangent, once. What is differentiated
again has the derivatives of sums in logarithms. May import jax, choice.py, logarithms.py and lattices.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..lattices import Array, Batch, Sums, TargetArrays, checked_lattices
from . import logarithms
from .choice import Options, about_long_arcs, sums


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def differentiable_loss(scores: Array, batch: Batch, options: Options) -> Array:
    """(N,) losses, differentiable by the scores and by what the lattices add to them."""
    return sums(scores, batch, options, wants_grad=False).loss


def _forward(scores: Array, batch: Batch, options: Options) -> tuple[Array, Any]:
    found = loss_and_gradients(scores, batch, options)
    return found.loss, (found, batch)


def _backward(options: Options, kept: tuple[Sums, Batch], cotangent: Array) -> tuple[Any, Any]:
    found, batch = kept

    def scaled(gradient: Array | None) -> Array | None:
        if gradient is None:
            return None
        factors = cotangent.reshape(-1, *[1] * (gradient.ndim - 1))
        return (gradient * factors).astype(gradient.dtype)  # in float32 at least, rounded once

    by_class = scaled(found.class_scores_grad)
    by_class = None if by_class is None else by_class.sum(0)
    others = (scaled(found.entry_costs_grad), scaled(found.state_scores_grad), by_class)
    return scaled(found.grad), _with_values(_no_cotangents(batch), *others)


differentiable_loss.defvjp(_forward, _backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def loss_and_gradients(scores: Array, batch: Batch, options: Options) -> Sums:
    """Losses and each one's gradients, all of them differentiable once."""
    return sums(scores, batch, options, wants_grad=True)


def _forward_again(scores: Array, batch: Batch, options: Options) -> tuple[Sums, Any]:
    return loss_and_gradients(scores, batch, options), (scores, batch)


def _backward_again(options: Options, kept: tuple[Array, Batch], cotangents: Sums) -> tuple[Any, Any]:
    """Second derivatives: those of the gradients that sums in logarithms have."""
    scores, batch = kept
    if error := about_long_arcs(batch):
        raise error
    lattices, _ = checked_lattices(scores, batch, options.blank)
    values = scores, lattices.entry_costs, lattices.state_scores, lattices.class_scores

    def in_logarithms(scores: Array, costs: Array | None, by_state: Array | None, by_class: Array | None) -> Sums:
        rows = None if by_class is None else jnp.broadcast_to(by_class, (scores.shape[0], 1, *by_class.shape))

        def losses(scores: Array, costs: Array | None, by_state: Array | None, rows: Array | None) -> Array:
            with_rows = _with_values(lattices, costs, by_state, rows)
            return logarithms.loss(scores, with_rows, from_logits=options.from_logits)

        loss, derivatives = jax.vjp(losses, scores, costs, by_state, rows)
        grad, by_entry, state_grad, class_grad = derivatives(jnp.ones_like(loss))
        return Sums(loss, grad, None if class_grad is None else class_grad[:, 0], state_grad, by_entry)

    _, derivatives = jax.vjp(in_logarithms, *values)
    by_scores, *others = derivatives(cotangents)
    return by_scores, _with_values(_no_cotangents(batch), *others)


loss_and_gradients.defvjp(_forward_again, _backward_again)


def _no_cotangents(batch: Batch) -> Batch:
    """None in the place of each array."""
    return type(batch)(*[None] * len(batch))  # type: ignore[arg-type]


def _with_values(batch: Any, costs: Array | None, by_state: Array | None, by_class: Array | None) -> Any:
    if isinstance(batch, TargetArrays):
        return batch
    return batch._replace(entry_costs=costs, state_scores=by_state, class_scores=by_class)
