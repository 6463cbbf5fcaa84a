"""The sums and best paths by `lax.scan`: against enumerations in float64, and against the NumPy front in float32.

All jitted functions are shared, and batches have few shapes: compiling takes longer than anything else here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracles import log_softmax
from support.batches import Batch, decode, draw, encode
from support.budgets import Budget
from support.lattices import CLASSES, KINDS, enumerated, random_lattice

import ctckit
from ctckit import Lattice, Status
from ctckit.kernels import reference
from ctckit.problem import ArrayProblem, lattice_problem

jax = pytest.importorskip("jax")

from support.jax_arrays import x64  # noqa: E402

from ctckit.jax.backends import logarithms, paths, scaled, scan  # noqa: E402
from ctckit.jax.lattices import LatticeArrays, ctc_lattices  # noqa: E402

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
def paths_of(from_logits: bool) -> Any:
    return jax.jit(partial(paths.best_path, from_logits=from_logits), compiler_options=QUICKLY)


def ctc_sums(scores: Any, targets: Any, frames: Any, lengths: Any, wants_grad: bool = True) -> Any:
    lattices = ctc_lattices(targets, frames, lengths, 0)
    return scan.sums(scores, lattices, from_logits=True, wants_grad=wants_grad, are_ctc=True)


def batch_first(batch: Batch, dtype: str = "float64") -> tuple[Any, ...]:
    """A batch's arguments, with NaN in all frames that are not used."""
    scores = batch.scores.swapaxes(0, 1).copy()
    scores[np.arange(scores.shape[1]) >= batch.frames[:, None]] = np.nan
    if dtype == "bfloat16":
        scores = encode(scores, dtype).view(jax.numpy.bfloat16)
    return scores.astype(dtype), batch.targets, batch.frames, batch.lengths


class Case:
    """A batch of small lattices, with scores of classes and states and entry costs, or with none of them."""

    def __init__(
        self, lattices: Sequence[Lattice], seed: int, *, from_logits: bool, costly: bool, whole: bool = False
    ) -> None:
        rng = np.random.default_rng(seed)

        def draw_numbers(*shape: int) -> Array:
            numbers = rng.normal(size=shape) * 2
            return np.round(numbers) if whole else numbers

        self.lattices = [of_kind(lattices[n % len(lattices)], costly, whole) for n in range(SIZE)]
        most = max(lattice.num_states for lattice in self.lattices)
        self.scores = draw_numbers(FRAMES, SIZE, CLASSES)
        self.scores[rng.random(self.scores.shape) < 0.05] = -np.inf
        self.scores[..., 0] = 1  # a frame of nothing but -inf has no softmax
        self.frames = np.append(FRAMES, rng.integers(1, FRAMES + 1, SIZE - 1))
        self.from_logits, self.costly = from_logits, costly
        self.class_scores = draw_numbers(CLASSES) if costly else None
        self.state_scores = draw_numbers(SIZE, most) if costly else None

    @property
    def problem(self) -> ArrayProblem:
        added = {"class_scores": self.class_scores, "state_scores": self.state_scores}
        return lattice_problem(self.scores, self.lattices, self.frames, from_logits=self.from_logits, **added)

    @property
    def arrays(self) -> LatticeArrays:
        problem = self.problem
        batch = problem.lattices

        def padded(array: Array, value: float = 0) -> Array:
            return np.pad(array, ((0, 0), (0, STATES - array.shape[1])), constant_values=value)

        costs = np.zeros(batch.labels.shape) if batch.entry_costs is None else batch.entry_costs
        return LatticeArrays(
            batch.frames.astype(np.int32),
            batch.num_states,
            padded(batch.labels),
            padded(batch.arcs),
            padded(costs) if self.costly else None,
            None if problem.state_scores is None else padded(problem.state_scores),
            problem.class_scores,
            padded(batch.tokens, -1),
        )

    def found(self, sweep: Any) -> Any:
        """What a sweep finds, with NaN in all frames that are not used."""
        scores = self.scores.swapaxes(0, 1).copy()
        scores[np.arange(FRAMES) >= self.frames[:, None]] = np.nan
        with x64():
            return jax.tree.map(np.asarray, sweep(self.from_logits)(scores, self.arrays))

    def check_sums(self) -> None:
        found = self.found(sums_of)
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
        found, frame_scores = self.found(paths_of), np.zeros((SIZE, FRAMES))
        expected = reference.best_path(self.problem, frame_scores=frame_scores)
        assert found.status.tolist() == expected.status.tolist()
        assert found.states.tolist() == expected.states.tolist()
        np.testing.assert_allclose(found.score, expected.score, **EXACT)
        np.testing.assert_allclose(found.frame_scores, frame_scores, **EXACT)


def of_kind(lattice: Lattice, costly: bool, whole: bool) -> Lattice:
    """A lattice without long arcs, which this backend does not take."""
    costs = lattice.entry_costs if costly else None
    costs = np.round(costs) if costs is not None and whole else costs
    return Lattice(lattice.labels, lattice.arcs, lattice.tokens, costs)


def some_lattices(seed: int) -> list[Lattice]:
    kinds = [kind() for kind in KINDS.values()]
    return kinds if seed % 4 == 0 else [random_lattice(100 * seed + n) for n in range(SIZE)]


@pytest.mark.parametrize(("from_logits", "costly"), [(True, True), (False, True)])
def test_sums_over_enumerated_paths(from_logits: bool, costly: bool) -> None:
    for seed in range(12):
        Case(some_lattices(seed), seed, from_logits=from_logits, costly=costly).check_sums()


@pytest.mark.parametrize("from_logits", [True, False])
def test_best_paths(from_logits: bool) -> None:
    """Whole numbers add up exactly, and make many ties."""
    for seed in range(12):
        Case(some_lattices(seed), seed, from_logits=from_logits, costly=True, whole=not from_logits).check_best_path()


def test_exponentials() -> None:
    """Of any depth: some roundings near 1; and that of log(2)'s low part, times the number of them, above 1e4."""
    rng = np.random.default_rng(0)
    x = -np.concatenate([rng.uniform(0, 100, 500), np.exp(rng.uniform(0, 18.3, 500))]).astype(np.float32)
    found = jax.tree.map(lambda array: np.asarray(array, float), scaled.exp(x))
    error = np.abs(np.log(found.mantissa) + found.exponent * np.log(2) - x)
    assert (error <= 2.0**-22 + 2.0**-34 * np.abs(x)).all()
    assert ((found.mantissa > 0.7) & (found.mantissa < 1.42)).all()
    np.testing.assert_array_equal(scaled.exp(np.float32([-np.inf, -1e9])).exponent < scaled.DEAD, True)


def test_frames_that_are_not_finite() -> None:
    """They spoil their own sample only. If it has no path, whatever the scores are, it stays so."""
    case = Case([random_lattice(n) for n in range(SIZE)], 1, from_logits=True, costly=True)
    before = case.found(sums_of)
    for n in range(0, SIZE, 2):
        case.scores[case.frames[n] - 1, n, 3] = np.nan if n % 4 else np.inf
    after, best = case.found(sums_of), case.found(paths_of)
    status = reference.total(case.problem).status
    assert {Status.OK, Status.INFEASIBLE, Status.NOT_FINITE} <= set(status)
    assert best.status.tolist() == status.tolist()
    for n in range(SIZE):
        used, infinite = case.frames[n], np.isinf(before.loss[n])
        if n % 2:
            jax.tree.map(lambda a, b, n=n: np.testing.assert_array_equal(a[n], b[n]), before, after)
        elif status[n] == Status.NOT_FINITE:
            assert np.isnan(after.loss[n])
            assert np.isnan(after.grad[n, :used]).all()
            assert not after.grad[n, used:].any()
        else:
            assert infinite
            assert np.isinf(after.loss[n])
            assert not after.grad[n].any()


def test_second_derivatives() -> None:
    """Those of the sums in logarithms are finite differences of the gradients by this backend's."""
    case = Case([random_lattice(n) for n in range(SIZE)], 1, from_logits=True, costly=True)
    rng = np.random.default_rng(0)
    scores, arrays = rng.normal(size=(SIZE, FRAMES, CLASSES)), case.arrays
    along, step = rng.normal(size=scores.shape), 1e-4
    with x64():
        grads = [np.asarray(sums_of(True)(scores + by * along, arrays).grad) for by in (step, -step)]

        def total(scores: Any) -> Any:
            losses = logarithms.loss(scores, arrays, from_logits=True)
            return jax.numpy.where(losses < np.inf, losses, 0).sum()

        def second(scores: Any) -> Any:
            return jax.jvp(jax.grad(total), (scores,), (along,))[1]

        found = jax.jit(second, compiler_options=QUICKLY)(scores)
    np.testing.assert_allclose(found, (grads[0] - grads[1]) / (2 * step), atol=1e-6)


LONG, MANY, TOKENS = 1500, 32, 200  # frames, classes and tokens of the benchmarks' long batch


def long_and_hard() -> Batch:
    """Sixteen samples of all kinds: lengths, sure and steep networks, no frames, no tokens, no path."""
    rng = np.random.default_rng(0)
    batch = draw(0, LONG, 16, MANY, TOKENS, spread=1.0)
    scores, frames, lengths = batch.scores, batch.frames, batch.lengths
    frames[:8], lengths[:8] = LONG, TOKENS
    for n in (2, 3):  # sure of the blank, and at some frames of a token
        scores[:, n, 0] += 6
        at = np.sort(rng.choice(LONG, TOKENS, replace=False))
        scores[at, n, batch.targets[n]] += 12
    scores[:, 4] *= 100  # hundreds of nats apart
    scores[:, 5] = np.where(rng.random((LONG, MANY)) < 0.01, -np.inf, scores[:, 5])
    scores[:, 6, 0], lengths[6] = 40, 0
    frames[9], lengths[9] = 0, 0
    frames[10], lengths[10] = 0, 5  # no path
    frames[11], lengths[11] = 7, 30  # nor here
    frames[12], lengths[12] = 1, 1
    frames[13], lengths[13] = 2, 1  # rounding would make it less than 0
    scores[:2, 13], scores[:2, 13, 0], scores[:2, 13, batch.targets[13, 0]] = -np.inf, 0, 17
    scores[5, 14] = np.finfo(np.float32).min / 4  # as some mask classes: every label here but one
    scores[5, 14, MANY - 1], scores[6, 14, 1:] = 0, np.finfo(np.float32).min
    return batch.with_scores(scores.astype(np.float32).astype(float))


def test_long_and_hard_samples() -> None:
    """Gradients within the C++ kernels' own budget; losses too, and a rounding to float32; memory O(√T)."""
    batch = long_and_hard()
    truth = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, reduction="none", from_logits=True)
    given = batch_first(batch, "float32")
    compiled = jax.jit(ctc_sums).lower(*given).compile()
    rows = 16 * (2 * TOKENS + 1) * np.sqrt(LONG)
    assert compiled.memory_analysis().temp_size_in_bytes < 48 * rows  # four rows of scaled floats, and copies of some
    found = compiled(*given)
    assert found.loss.dtype == found.grad.dtype == np.float32
    for n in range(16):
        used, expected, loss = batch.frames[n], truth.grad[:, n], float(found.loss[n])
        budget = Budget(batch.sample(n)[0], "float32")
        assert loss >= 0
        if np.isfinite(truth.loss[n]):
            assert abs(loss - truth.loss[n]) <= budget.score(-truth.loss[n]) + 2e-7 * loss, n
        else:
            assert loss == np.inf
        errors = np.abs(np.asarray(found.grad[n, :used], float) - expected[:used])
        assert (errors <= np.minimum(budget.gradient(expected[:used]), 1e-5)).all(), (n, errors.max())
        assert not found.grad[n, used:].any()


def check_half_precision(batch: Batch, dtype: str, found: Any) -> None:
    """Computed in float32; the gradient is rounded once."""
    truth = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, reduction="none", from_logits=True)
    assert found.loss.dtype == np.float32
    assert found.grad.dtype == dtype
    np.testing.assert_allclose(found.loss, truth.loss, rtol=1e-6)
    for n, used in enumerate(batch.frames):
        bound = Budget(batch.sample(n)[0], dtype).gradient(truth.grad[:used, n])
        assert (np.abs(np.asarray(found.grad[n, :used], float) - truth.grad[:used, n]) <= bound).all()


def test_half_precision() -> None:
    batch = draw(3, 24, 4, 6, 5)
    batch = batch.with_scores(decode(encode(batch.scores, "float16")))
    found = jax.jit(ctc_sums, compiler_options=QUICKLY)(*batch_first(batch, "float16"))
    check_half_precision(batch, "float16", found)


def test_mapped_over_anything() -> None:
    """By vmap, over heads with the same targets; in the other half precision."""
    batch = draw(4, 12, 3, 5, 3)
    heads = [batch, batch.with_scores(batch.scores[:, ::-1]), batch.with_scores(2 * batch.scores)]
    heads = [head.with_scores(decode(encode(head.scores, "bfloat16"))) for head in heads]
    scores = np.stack([batch_first(head, "bfloat16")[0] for head in heads])
    mapped = jax.vmap(ctc_sums, in_axes=(0, None, None, None))
    found = jax.jit(mapped, compiler_options=QUICKLY)(scores, *batch_first(batch)[1:])
    for h, head in enumerate(heads):
        check_half_precision(head, "bfloat16", jax.tree.map(lambda array, h=h: array[h], found))


@pytest.mark.parametrize(("size", "frames", "longest"), [(2, 0, 3), (0, 4, 2), (2, 4, 0)])
def test_nothing_there(size: int, frames: int, longest: int) -> None:
    """No frames at all, no samples, no tokens."""
    scores = np.zeros((size, frames, 3), np.float32)
    targets, used = np.ones((size, longest), int), np.full(size, frames)
    found = jax.jit(ctc_sums, compiler_options=QUICKLY)(scores, targets, used, np.full(size, longest))
    loss = 0 if frames == longest == 0 else np.inf if frames == 0 else 4 * np.log(3)
    np.testing.assert_allclose(found.loss, np.full(size, loss), rtol=1e-6)
    assert found.grad.shape == scores.shape
