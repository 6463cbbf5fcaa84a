"""Sweeps over lattices in logarithms, by jax's operations: differentiable any number of times, on any device.

They are what second derivatives, forward variables, and occupancies off the CPU are made of. Losses and first gradients
have quicker and more exact backends. May import jax, lattices.py, emissions.py, lattice/ and results.py.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from ...lattice import MOVES, Arc
from ...results import Status
from ..lattices import Array, LatticeArrays, States, real_of
from .emissions import accepts_nothing, neighbours


def loss(scores: Array, lattices: LatticeArrays, *, from_logits: bool) -> Array:
    """(N,) minus the log of the sum over all paths; +inf without one, NaN if a used frame is not finite."""
    by_state = emissions(scores, lattices, from_logits=from_logits)
    return jnp.where(_is_readable(scores, lattices), -_total(by_state, lattices), jnp.nan)


def forward_variables(by_state: Array, lattices: LatticeArrays) -> Array:
    """(N, T, K) log of the sum over all paths that are in a state at a frame; frozen beyond a sample's own frames."""
    first = jnp.where(_has(lattices, Arc.START), by_state[:, 0] - _costs(lattices), -jnp.inf)

    def step(alpha: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        t, emitted = inputs
        found = log_sum(jnp.stack(_candidates(alpha, lattices))) + emitted
        alpha = jnp.where((t < lattices.num_frames)[:, None], found, alpha)
        return alpha, alpha

    rest = jnp.arange(1, by_state.shape[1]), by_state.swapaxes(0, 1)[1:]
    _, alphas = lax.scan(step, first, rest)
    return jnp.concatenate([first[None], alphas]).swapaxes(0, 1)


def posteriors(scores: Array, lattices: LatticeArrays) -> States:
    """Occupancies by state, of log-probabilities."""
    by_state = emissions(scores, lattices, from_logits=False)
    total, occupancies = jax.vjp(lambda given: _total(given, lattices), by_state)
    status = _status(scores, total, lattices)
    (gamma,) = occupancies(jnp.ones_like(total))
    lost = _lost(status)[:, None] & _used(scores, lattices)
    gamma = jnp.where(lost[..., None], jnp.nan, gamma)
    return States(jnp.where(_lost(status), jnp.nan, total), status, gamma)


def emissions(scores: Array, lattices: LatticeArrays, *, from_logits: bool) -> Array:
    """(N, T, K) what each state emits at each frame, in nats, with the scores of classes and states."""
    scores = jnp.where(_used(scores, lattices)[..., None], scores.astype(real_of(scores.dtype)), 0)
    log_probs = jax.nn.log_softmax(scores) if from_logits else scores
    if lattices.class_scores is not None:
        log_probs = log_probs + lattices.class_scores.astype(log_probs.dtype)
    found = jnp.take_along_axis(log_probs, lattices.labels[:, None, :], axis=2)
    if lattices.state_scores is not None:
        found = found + lattices.state_scores[:, None, :].astype(log_probs.dtype)
    return found


def _total(by_state: Array, lattices: LatticeArrays) -> Array:
    nothing = jnp.where(accepts_nothing(lattices), 0.0, -jnp.inf).astype(by_state.dtype)
    if by_state.shape[1] == 0:
        return nothing
    last = forward_variables(by_state, lattices)[:, -1]
    total = log_sum(jnp.where(_has(lattices, Arc.END), last, -jnp.inf).T)
    return jnp.where(lattices.num_frames > 0, total, nothing)


def _candidates(alpha: Array, lattices: LatticeArrays) -> list[Array]:
    """The scores of the ways into each state, (N, K) each."""
    found = [jnp.where(_has(lattices, Arc.STAY), alpha, -jnp.inf)]
    for arc, back in MOVES:
        entering = neighbours(alpha, -back, -jnp.inf) - _costs(lattices)
        found.append(jnp.where(_has(lattices, arc), entering, -jnp.inf))
    return found


def _costs(lattices: LatticeArrays) -> Array:
    return jnp.zeros((), jnp.float32) if lattices.entry_costs is None else lattices.entry_costs


def _has(lattices: LatticeArrays, arc: int) -> Array:
    has: Array = (lattices.arcs & jnp.uint8(arc)) != 0
    return has


def log_sum(terms: Array) -> Array:
    """The log of the sum of exponentials over the first axis; -inf of nothing, with derivatives of 0 there."""
    top = lax.stop_gradient(terms.max(0))
    top = jnp.where(jnp.isfinite(top), top, 0)
    total = jnp.exp(terms - top).sum(0)
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1)) + top, -jnp.inf)


def _is_readable(scores: Array, lattices: LatticeArrays) -> Array:
    """(N,) whether no used frame holds NaN or +inf."""
    return ~((jnp.isnan(scores) | (scores == jnp.inf)).any(2) & _used(scores, lattices)).any(1)


def _used(scores: Array, lattices: LatticeArrays) -> Array:
    """(N, T) whether a frame is one of its sample's."""
    return jnp.arange(scores.shape[1]) < lattices.num_frames[:, None]


def _lost(status: Array) -> Array:
    return status == Status.NOT_FINITE


def _status(scores: Array, total: Array, lattices: LatticeArrays) -> Array:
    """(N,) a status each, by the scores of paths."""
    bare = lattices._replace(entry_costs=None)
    feasible = _total(jnp.zeros((*scores.shape[:2], lattices.max_states)), bare) > -jnp.inf
    without = jnp.where(feasible, Status.IMPOSSIBLE, Status.INFEASIBLE)
    status = jnp.where(total > -jnp.inf, Status.OK, without)
    readable = _is_readable(scores, lattices) & ~jnp.isnan(total)
    return jnp.where(readable, status, Status.NOT_FINITE).astype(jnp.uint8)
