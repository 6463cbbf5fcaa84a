"""Ladder, rung 3: every instruction set in every dtype against the reference, within the dtype's error budget."""

from functools import cache

import numpy as np
import pytest
from oracles import Textbook
from support.backends import Backend, check_batch
from support.batches import DTYPES, Batch, decode, draw, encode, problem_of

from ctckit import Arc, Lattice
from ctckit.kernels import reference
from ctckit.kernels.backend import Gradients
from ctckit.problem import ArrayProblem, lattice_batch
from ctckit.results import Posteriors

# (T, N, C, S, blank): T around the tile of 8 frames, K = 2S+1 around lanes of 4, 8 and 16, C from the blank alone to
# more classes than a softmax's lanes.
SHAPES = [
    (1, 3, 2, 1, 0),
    (2, 3, 4, 1, 3),
    (7, 3, 5, 3, 0),
    (8, 3, 5, 3, 4),
    (9, 3, 9, 4, 2),
    (15, 4, 8, 7, 0),
    (16, 4, 16, 8, 15),
    (17, 4, 17, 9, 0),
    (24, 3, 40, 15, 20),
    (25, 3, 33, 16, 0),
    (40, 3, 6, 17, 0),
    (33, 3, 300, 11, 299),
    (5, 2, 1, 0, 0),
]
FEW = [(7, 3, 5, 3, 0)]  # for an interpreter
REFERENCE = 2.0**-53  # the unit of its logarithms


@cache
def case(shape: tuple[int, ...], dtype: str) -> Batch:
    """A batch whose scores a dtype holds exactly."""
    frames, size, classes, longest, blank = shape
    batch = draw(sum(shape), frames, size, classes, longest, blank=blank)
    return batch.with_scores(decode(encode(batch.scores, dtype)))


@cache
def gradients(shape: tuple[int, ...], dtype: str, from_logits: bool) -> list[Textbook]:
    """The reference's results for a case, computed once for all instruction sets."""
    batch = case(shape, dtype)
    grad = np.full(batch.scores.shape, np.nan)
    score = reference.total(problem_of(batch, "float64", from_logits=from_logits), gradients=Gradients(grad)).score
    return [Textbook(float(score[n]), grad[:used, n]) for n, used in enumerate(batch.frames)]


@cache
def occupancies(shape: tuple[int, ...], dtype: str) -> Posteriors:
    return reference.posteriors(problem_of(case(shape, dtype), "float64", from_logits=False))


@pytest.mark.interpreter(shape=[(5, 2, 1, 0, 0), *FEW])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_score_and_gradient(kernels: Backend, shape: tuple[int, ...], dtype: str, from_logits: bool) -> None:
    batch, truth = case(shape, dtype), gradients(shape, dtype, from_logits)
    weights = np.linspace(0.5, 2, len(truth))
    check_batch(kernels, batch, dtype, truth, from_logits=from_logits, weights=weights, oracle=REFERENCE)
    assert any(sample.score > -np.inf for sample in truth)


@pytest.mark.interpreter(dtype=["float32"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_score_is_the_same_without_a_gradient(kernels: Backend, dtype: str, from_logits: bool) -> None:
    """The memory layout differs then; the numbers do not."""
    for shape in kernels.some(SHAPES, FEW):
        problem = problem_of(case(shape, dtype), dtype, from_logits=from_logits)
        score, _ = kernels.score_and_gradient(problem)
        assert np.array_equal(kernels.total(problem), score), shape


@pytest.mark.interpreter(shape=FEW)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_posteriors(kernels: Backend, shape: tuple[int, ...], dtype: str) -> None:
    batch, truth = case(shape, dtype), occupancies(shape, dtype)
    found = kernels.posteriors(problem_of(batch, dtype, from_logits=False))
    assert found.states.dtype == ("float64" if dtype == "float64" else "float32")
    for n, used in enumerate(batch.frames):
        budget = kernels.budget(batch.scores[:used, n], dtype, REFERENCE)
        assert np.abs(found.states[:, n] - truth.states[:, n]).max() <= budget.occupancy
        error = np.abs(decode(found.classes)[:, n] - truth.classes[:, n])
        assert (error <= budget.gradient(truth.classes[:, n])).all()
        if truth.score[n] > -np.inf:
            assert abs(found.score[n] - truth.score[n]) <= budget.score(truth.score[n])
        else:
            assert found.score[n] == -np.inf
        assert not found.states[used:, n].any()
        assert not found.states[:, n, 2 * batch.lengths[n] + 1 :].any()


@pytest.mark.interpreter(shape=FEW, dtype=["float64", "bfloat16"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_best_path(pathfinder: Backend, shape: tuple[int, ...], dtype: str, from_logits: bool) -> None:
    """The same path in float64; in lower precision a legal path that is not worse by more than rounding."""
    batch = case(shape, dtype)
    problem = problem_of(batch, "float64", from_logits=from_logits)
    truth = reference.best_path(problem)
    found = pathfinder.best_path(problem_of(batch, dtype, from_logits=from_logits))
    assert (found.states.dtype, found.score.dtype) == ("int32", "float64")
    if dtype == "float64":
        assert np.array_equal(found.states, truth.states)
    for n, used in enumerate(batch.frames):
        if truth.score[n] == -np.inf:
            assert found.score[n] == -np.inf
            assert (found.states[n] == -1).all()
            continue
        log_probs, lattice, _ = reference.sample(problem, n)
        only = np.where(np.arange(lattice.num_states) == found.states[n, :used, None], 0, -np.inf)
        emissions = log_probs[:, lattice.labels] + only
        score = reference.over_ends(lattice, reference.forward(lattice, emissions, reference.MAX), reference.MAX)
        budget = pathfinder.budget(batch.scores[:used, n], dtype, REFERENCE)
        assert abs(found.score[n] - score) <= budget.score(score)  # its own score, so along legal arcs
        assert abs(score - truth.score[n]) <= budget.score(score)
        assert (found.states[n, used:] == -1).all()


def any_topology(seed: int, dtype: str, *, small: bool) -> ArrayProblem:
    """A lattice of up to 80 states, so of many registers, through which windows of states move; arcs at random."""
    rng = np.random.default_rng(seed)
    states, frames = int(rng.integers(1, 81)), int(rng.integers(20, 90))
    if small:
        states, frames = states // 4 + 1, frames // 5
    arcs = np.full(states, Arc.STAY | Arc.STEP, np.uint8)
    arcs[rng.random(states) < rng.choice([0, 0.3, 0.9])] |= np.uint8(Arc.SKIP)
    arcs[rng.random(states) < rng.choice([0, 0.1])] &= np.uint8(~Arc.STAY & 0xFF)
    arcs[0] = Arc.STAY | Arc.START
    arcs[1:2] &= np.uint8(~Arc.SKIP & 0xFF)
    arcs[-1] |= np.uint8(Arc.END)
    labels = rng.integers(0, 5, states).astype(np.int32)
    batch = lattice_batch([Lattice(labels, arcs)], np.array([frames]))
    return ArrayProblem(rng.normal(size=(frames, 1, 5)).astype(dtype), False, batch)


@pytest.mark.interpreter(seed=[0, 1, 2, 22, 31])  # in the last three, three odd states have the first state's label
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(60))
def test_any_topology(kernels: Backend, seed: int, dtype: str) -> None:
    problem = any_topology(seed, dtype, small=kernels.some([False], [True], [False])[0])
    expected, found = reference.posteriors(problem), kernels.posteriors(problem)
    tolerance = 1e-11 if dtype == "float64" else 2e-5
    np.testing.assert_allclose(found.score, expected.score, rtol=tolerance)
    np.testing.assert_allclose(found.states, expected.states, atol=tolerance)
    np.testing.assert_allclose(found.classes, expected.classes, atol=tolerance)
