"""The sums by `lax.scan`: against enumerations in float64, and against the C++ kernels in float32.

All jitted functions are shared, and batches padded to few shapes: compiling takes longer than anything else here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracles import log_softmax
from support.batches import Batch, draw, to_bfloat16
from support.budgets import Budget
from support.lattices import CLASSES, KINDS, enumerated, random_lattice

import ctckit
from ctckit import Lattice, ctc_lattice
from ctckit.kernels import reference
from ctckit.problem import ArrayProblem, lattice_problem

jax = pytest.importorskip("jax")
jnp = jax.numpy

from ctckit.jax import lattices as jax_lattices  # noqa: E402
from ctckit.jax import paths, scan  # noqa: E402

Array = npt.NDArray[Any]

FRAMES, SIZE, STATES = 5, 16, 9
EXACT = {"rtol": 1e-10, "atol": 1e-11}  # of numbers of order 10, sums of some thousand terms in float64


# Compiling is most of what these tests do. It takes half as long so, and the operations are the same.
QUICKLY = {"xla_backend_optimization_level": "0"}


@cache
def sums_of(from_logits: bool) -> Any:
    how = partial(scan.sums, from_logits=from_logits, wants_grad=True)
    return jax.jit(how, compiler_options=QUICKLY)


@cache
def ctc_of(dtype: str, wants_grad: bool = True) -> Any:
    """As users have it."""

    def how(scores: Any, targets: Any, frames: Any, lengths: Any) -> Any:
        lattices = jax_lattices.ctc_lattices(targets, frames, lengths, 0)
        return scan.sums(scores.astype(dtype), lattices, from_logits=True, wants_grad=wants_grad, are_ctc=True)

    return jax.jit(how)


@cache
def paths_of() -> Any:
    return jax.jit(partial(paths.best_path, from_logits=True), compiler_options=QUICKLY)


def arrays_of(problem: ArrayProblem, states: int, *, costly: bool) -> Any:
    """A problem's lattices for this backend, padded to so many states."""
    batch = problem.lattices

    def padded(array: Array, value: float = 0) -> Array:
        return np.pad(array, ((0, 0), (0, states - array.shape[1])), constant_values=value)

    costs = np.zeros(batch.labels.shape) if batch.entry_costs is None else batch.entry_costs
    scores = problem.state_scores
    return jax_lattices.LatticeArrays(
        batch.frames.astype(np.int32),
        batch.num_states,
        padded(batch.labels),
        padded(batch.arcs),
        padded(costs) if costly else None,
        None if scores is None else padded(scores),
        problem.class_scores,
        padded(batch.tokens, -1),
    )


class Case:
    """A batch of small lattices, with scores of classes and states and entry costs, or with none of them."""

    def __init__(self, lattices: Sequence[Lattice], seed: int, *, from_logits: bool, costly: bool) -> None:
        rng = np.random.default_rng(seed)
        self.lattices = [lattices[n % len(lattices)] for n in range(SIZE)]
        most = max(lattice.num_states for lattice in self.lattices)
        self.scores = rng.normal(size=(FRAMES, SIZE, CLASSES)) * 2
        self.scores[rng.random(self.scores.shape) < 0.05] = -np.inf
        self.scores[..., 0] = 0.5  # a frame of nothing but -inf has no softmax
        self.frames = np.append(FRAMES, rng.integers(1, FRAMES + 1, SIZE - 1))
        self.from_logits, self.costly = from_logits, costly
        self.class_scores = rng.normal(size=CLASSES) if costly else None
        self.state_scores = rng.normal(size=(SIZE, most)) if costly else None
        self.problem = lattice_problem(
            self.scores,
            self.lattices,
            self.frames,
            from_logits=from_logits,
            class_scores=self.class_scores,
            state_scores=self.state_scores,
        )

    def found(self, sweep: Any) -> Any:
        """By this backend, with NaN in all frames that are not used."""
        scores = self.scores.swapaxes(0, 1).copy()
        scores[np.arange(FRAMES) >= self.frames[:, None]] = np.nan
        with jax.enable_x64(True):
            found = sweep(scores, arrays_of(self.problem, STATES, costly=self.costly))
        return jax.tree.map(np.asarray, found)

    def check_sums(self) -> None:
        found = self.found(sums_of(self.from_logits))
        for n, lattice in enumerate(self.lattices):
            used, k = self.frames[n], lattice.num_states
            truth, _ = enumerated(
                lattice,
                self.scores[:used, n],
                from_logits=self.from_logits,
                class_scores=self.class_scores,
                state_scores=None if self.state_scores is None else self.state_scores[n],
            )
            np.testing.assert_allclose(found.loss[n], -truth.score, **EXACT)
            counts = np.zeros((used, CLASSES))
            for state, label in enumerate(lattice.labels):
                counts[:, label] += truth.occupancy[:, state]
            is_dense = self.from_logits and truth.score > -np.inf
            dense = np.exp(log_softmax(self.scores[:used, n]).astype(float)) if is_dense else 0
            np.testing.assert_allclose(found.grad[n, :used], dense - counts, **EXACT)
            assert not found.grad[n, used:].any()
            if self.costly:
                np.testing.assert_allclose(found.class_scores_grad[n], -counts.sum(axis=0), **EXACT)
                np.testing.assert_allclose(found.state_scores_grad[n, :k], -truth.occupancy.sum(axis=0), **EXACT)
                np.testing.assert_allclose(found.entry_costs_grad[n, :k], truth.entries, **EXACT)
                assert not found.state_scores_grad[n, k:].any()
                assert not found.entry_costs_grad[n, k:].any()


    def check_best_path(self) -> None:
        """The very path of the executable specification, whose rule of ties is that of all backends."""
        found = self.found(paths_of())
        frame_scores = np.zeros((SIZE, FRAMES))
        expected = reference.best_path(self.problem, frame_scores=frame_scores)
        assert found.status.tolist() == expected.status.tolist()
        assert found.states.tolist() == expected.states.tolist()
        np.testing.assert_allclose(found.score, expected.score, **EXACT)
        np.testing.assert_allclose(found.frame_scores, frame_scores, **EXACT)


def without_long_arcs(lattice: Lattice) -> Lattice:
    return Lattice(lattice.labels, lattice.arcs, lattice.tokens, lattice.entry_costs)


@pytest.mark.parametrize(("from_logits", "costly"), [(True, True), (False, True), (True, False)])
def test_random_lattices(from_logits: bool, costly: bool) -> None:
    for seed in range(0, 160, SIZE):
        lattices = [without_long_arcs(random_lattice(s)) for s in range(seed, seed + SIZE)]
        if not costly:
            lattices = [Lattice(lattice.labels, lattice.arcs, lattice.tokens) for lattice in lattices]
        case = Case(lattices, seed, from_logits=from_logits, costly=costly)
        case.check_sums()
        if costly and from_logits:
            case.check_best_path()


@pytest.mark.parametrize("from_logits", [False, True])
def test_every_kind(from_logits: bool) -> None:
    kinds = [kind() for kind in KINDS.values()]
    lattices = [lattice for lattice in kinds if not len(lattice.long_arcs)]
    for seed in range(3):
        Case(lattices, seed, from_logits=from_logits, costly=True).check_sums()


LONG, MANY, TOKENS = 1500, 32, 200  # frames, classes, tokens of the long case, here in one shape for all


def drawn() -> Batch:
    """Sixteen samples of all kinds: lengths, sure and steep networks, no frames, no tokens, no path."""
    rng = np.random.default_rng(0)
    batch = draw(0, LONG, 16, MANY, TOKENS, spread=1.0)
    scores, frames, lengths = batch.scores, batch.frames, batch.lengths
    frames[:8] = LONG
    lengths[:8] = TOKENS
    for n in (2, 3):  # peaky: sure of the blank, and at some frames of a token
        scores[:, n, 0] += 6
        at = np.sort(rng.choice(LONG, TOKENS, replace=False))
        scores[at, n, batch.targets[n]] += 12
    scores[:, 4] *= 100  # hundreds of nats apart
    scores[:, 5] = np.where(rng.random((LONG, MANY)) < 0.01, -np.inf, scores[:, 5])
    scores[:, 6] = 0
    scores[:, 6, 0] = 40  # certain of nothing but blanks
    lengths[6] = 0
    frames[9], lengths[9] = 0, 0
    frames[10], lengths[10] = 0, 5
    frames[11], lengths[11] = 7, 30  # no path
    frames[12], lengths[12] = 1, 1
    return batch.with_scores(scores.astype(np.float32).astype(float))


def test_long_and_hard_samples() -> None:
    """Gradients are within the C++ kernels' own budget, losses within a rounding to float32 and 1e-7 of themselves."""
    batch = drawn()
    truth = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, reduction="none", from_logits=True)
    scores = batch.scores.swapaxes(0, 1).copy()
    scores[np.arange(LONG) >= batch.frames[:, None]] = np.nan
    found = ctc_of("float32")(scores.astype(np.float32), batch.targets, batch.frames, batch.lengths)
    assert found.loss.dtype == found.grad.dtype == np.float32
    for n in range(16):
        used, expected, loss = batch.frames[n], truth.grad[:, n], float(found.loss[n])
        budget = Budget(batch.sample(n)[0], "float32")
        assert loss >= 0
        assert loss == pytest.approx(truth.loss[n], rel=2e-7, abs=budget.score(0) if np.isfinite(loss) else 0), n
        errors = np.abs(np.asarray(found.grad[n, :used], float) - expected[:used])
        assert (errors <= np.minimum(budget.gradient(expected[:used]), 1e-5)).all(), (n, errors.max())
        assert not found.grad[n, used:].any()
