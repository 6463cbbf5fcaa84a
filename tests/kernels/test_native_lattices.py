"""The C++ kernels on lattices of every shape, with costs and scores of every kind, against the reference."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from support.batches import decode

import ctckit
from ctckit import Arc, Lattice, Status
from ctckit.kernels import native, reference
from ctckit.kernels.backend import Gradients
from ctckit.problem import ArrayProblem, lattice_problem

SHAPES = ("plain", "selfless", "shared", "no blank", "no skips", "any", "gaps", "mirrored")
Array = np.ndarray


def random_lattice(rng: np.random.Generator, shape: str, tokens: int, classes: int) -> Lattice:
    """A lattice that the kernels recognise as that shape; extra arcs, starts and ends where the shape has them."""
    target = rng.integers(1, classes, tokens)
    if shape in ("plain", "selfless", "shared", "gaps", "mirrored"):
        lattice = ctckit.ctc_lattice(target)
        if shape == "gaps":
            lattice = lattice.with_gaps(rng.integers(0, classes, tokens + 1))
        if shape == "mirrored":
            lattice = lattice.with_wildcards(classes - 1)
        arcs = lattice.arcs.copy()
        if shape == "selfless":
            arcs[1::2] &= np.uint8(~Arc.STAY & 31)
        if shape == "mirrored":
            arcs[2::2] ^= np.where(rng.random(tokens + 1) < 0.3, Arc.STAY, 0).astype(np.uint8)
        if shape in ("shared", "gaps"):
            arcs[1::2] ^= np.where(rng.random(tokens) < 0.3, Arc.STAY, 0).astype(np.uint8)
            arcs |= np.where(rng.random(len(arcs)) < 0.2, Arc.START | Arc.END, 0).astype(np.uint8)
        return Lattice(lattice.labels, arcs, lattice.tokens)
    states = 2 * tokens + int(rng.integers(1, 3))
    labels, token_of = rng.integers(0, classes, states), np.arange(states)
    if shape == "no blank":
        arcs = np.full(states, Arc.STAY | Arc.STEP)
        arcs[0], arcs[-1] = Arc.STAY | Arc.START, arcs[-1] | Arc.END
    else:
        arcs = rng.integers(0, 32, states) & ~(Arc.SKIP if shape == "no skips" else 0)
        arcs |= np.where(rng.random(states) < 0.6, Arc.STAY | Arc.STEP, 0)
    return Lattice(labels, arcs, token_of)


def with_extras(rng: np.random.Generator, lattice: Lattice, extras: str) -> Lattice:
    """Entry costs of both signs (c, some infinite: C), and long arcs (l), some of them twice and some beside bits.

    :func:`random_problem` adds scores of classes (p), and of states (s, far apart and some of them -inf: S).
    """
    k = lattice.num_states
    costs = rng.normal(size=k) * 3 if "c" in extras.lower() else None
    if costs is not None and "C" in extras:
        costs[rng.random(k) < 0.15] = np.inf
    ends = np.sort(rng.integers(0, k, (int(rng.integers(1, 12)), 2)), axis=1)
    far = ends[ends[:, 0] < ends[:, 1]] if "l" in extras else np.empty((0, 2), int)
    far = np.concatenate([far, far[:2]])
    scores = rng.choice([0.0, 0.0, 1.5, -2.0, -np.inf], len(far))
    return Lattice(lattice.labels, lattice.arcs, lattice.tokens, costs, far, scores)


def random_problem(seed: int, shape: str, extras: str, dtype: str = "float64") -> ArrayProblem:
    rng = np.random.default_rng([seed, SHAPES.index(shape), *map(ord, extras)])
    frames, size, classes = int(rng.integers(1, 28)), 3, int(rng.integers(2, 9))
    lattices = [
        with_extras(
            rng, random_lattice(rng, shape, int(rng.integers(0 if "no" not in shape else 1, 14)), classes), extras
        )
        for _ in range(size)
    ]
    scores = rng.normal(size=(frames, size, classes)) * rng.choice([1, 1, 40])
    if seed % 4 == 0:
        scores[rng.random(scores.shape) < 0.1] = -np.inf
        scores[..., 0] = np.where(np.isinf(scores[..., 0]), -1.0, scores[..., 0])
    if seed % 7 == 3:
        scores[rng.integers(0, frames), 1, 0] = rng.choice([np.nan, np.inf])
    class_scores = rng.normal(size=classes) * 2 if "p" in extras else None
    if class_scores is not None and seed % 3 == 0:
        class_scores[rng.integers(0, classes)] = -np.inf
    most = max(lattice.num_states for lattice in lattices)
    state_scores = rng.normal(size=(size, most)) * 2 if "s" in extras.lower() else None
    if state_scores is not None and "S" in extras:  # more than plain numbers hold; and some that forbid their states
        state_scores *= rng.choice([20, 400])
        state_scores[rng.random(state_scores.shape) < 0.1] = -np.inf
    return lattice_problem(
        scores.astype(dtype),
        lattices,
        rng.integers(0 if seed % 5 == 0 else 1, frames + 1, size),
        from_logits=bool(rng.random() < 0.5),
        class_scores=class_scores,
        state_scores=state_scores,
    )


def all_gradients(problem: ArrayProblem) -> Gradients[Any]:
    """Memory for every gradient, full of NaN."""
    size, states = problem.lattices.labels.shape
    return Gradients(
        np.full(problem.scores.shape, np.nan, problem.scores.dtype),
        np.full((size, problem.scores.shape[2]), np.nan),
        np.full((size, states), np.nan),
        np.full((size, states), np.nan),
        np.full(len(problem.lattices.long_arcs), np.nan),
    )


def check_sums(problem: ArrayProblem, tolerance: float) -> None:
    weights = np.random.default_rng(0).normal(size=problem.scores.shape[1])
    found, truth = all_gradients(problem), all_gradients(problem)
    with np.errstate(invalid="ignore"):
        expected = reference.total(problem, weights=weights, gradients=truth)
    sums = native.total(problem, weights=weights, gradients=found)
    np.testing.assert_array_equal(sums.status, expected.status)
    np.testing.assert_allclose(sums.score, expected.score, rtol=tolerance, atol=tolerance)
    bad = expected.status == Status.NOT_FINITE
    far = problem.lattices.long_arcs[:, 0]
    for name, array in found.arrays().items():
        of_sample = far if name == "long_arc_scores" else np.arange(len(weights))
        by_sample = array.swapaxes(0, 1) if name == "scores" else array
        right = getattr(truth, name).swapaxes(0, 1) if name == "scores" else getattr(truth, name)
        fine = ~bad[of_sample]
        scale = max(1.0, float(np.abs(right[fine]).max(initial=0)))
        np.testing.assert_allclose(by_sample[fine], right[fine], rtol=0, atol=tolerance * scale, err_msg=name)
    for n in np.flatnonzero(bad):
        used, states = problem.lattices.frames[n], problem.lattices.num_states[n]
        assert np.isnan(found.scores[:used, n]).all()
        assert not found.scores[used:, n].any()
        assert np.isnan(found.class_scores[n]).all()
        for array in (found.state_scores, found.entry_costs):
            assert np.isnan(array[n, :states]).all()
            assert not array[n, states:].any()
        assert np.isnan(found.long_arc_scores[far == n]).all()


def check_path(problem: ArrayProblem, tolerance: float) -> None:
    shape = problem.scores.shape[1::-1]
    ours, theirs = np.full(shape, np.nan), np.full(shape, np.nan)
    with np.errstate(invalid="ignore"):
        expected = reference.best_path(problem, frame_scores=theirs)
    found = native.best_path(problem, frame_scores=ours)
    np.testing.assert_array_equal(found.status, expected.status)
    np.testing.assert_allclose(found.score, expected.score, rtol=tolerance, atol=tolerance)
    for n, used in enumerate(problem.lattices.frames):
        assert (found.states[n] >= 0).sum() == (used if found.status[n] == Status.OK else 0)
        assert not ours[n, found.states[n] < 0].any()
        if (found.states[n] == expected.states[n]).all():
            np.testing.assert_allclose(ours[n], theirs[n], rtol=tolerance, atol=tolerance)
        else:  # equally good: a cost may be paid sooner or later for the same labels
            np.testing.assert_allclose(
                path_value(problem, n, found.states[n, :used]), expected.score[n], rtol=tolerance
            )


def path_value(problem: ArrayProblem, n: int, states: Array) -> float:
    """A path's score from its definition; -inf if it is not a path."""
    _, lattice, emissions = reference.sample(problem, n)
    costs = np.zeros(lattice.num_states) if lattice.entry_costs is None else lattice.entry_costs
    value = emissions[0, states[0]] - costs[states[0]]
    fine = bool(lattice.arcs[states[0]] & Arc.START and lattice.arcs[states[-1]] & Arc.END)
    for t, (before, k) in enumerate(pairwise(states), 1):
        ways = [0.0] if before == k and lattice.arcs[k] & Arc.STAY else []
        bit = {1: Arc.STEP, 2: Arc.SKIP}.get(int(k - before), 0)
        ways += [-costs[k]] if lattice.arcs[k] & bit else []
        far = (lattice.long_arcs == (before, k)).all(axis=1)
        ways += (lattice.long_arc_scores[far] - costs[k]).tolist()
        fine &= bool(ways)
        value += emissions[t, k] + max(ways, default=0)
    return float(value) if fine else -np.inf


def check_along(problem: ArrayProblem, tolerance: float) -> None:
    states = np.maximum(reference.best_path(problem).states, 0)
    np.testing.assert_allclose(
        native.occupancy_along(problem, states), reference.occupancy_along(problem, states), rtol=0, atol=tolerance
    )


EXTRAS = ("", "c", "l", "p", "s", "S", "cs", "ls", "cl", "Clps", "cp")


@pytest.mark.parametrize("extras", EXTRAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_paths(instruction_set: str, shape: str, extras: str) -> None:
    """Scores, statuses, all gradients; and the best path with its scores."""
    for seed in range(6):
        problem = random_problem(seed, shape, extras)
        check_sums(problem, 1e-9)
        check_path(problem, 1e-9)
        if seed % 7 != 3:
            check_along(problem, 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_float32(instruction_set: str, shape: str) -> None:
    for seed in range(4):
        for extras in ("c", "ps", "clps"):
            check_sums(random_problem(seed, shape, extras, "float32"), 2e-4)


@pytest.mark.parametrize("frames", [700, 1800])
@pytest.mark.parametrize("shape", ["plain", "selfless", "no blank"])
def test_long_samples(instruction_set: str, shape: str, frames: int) -> None:
    """Of many blocks of frames: where no blank is, or tokens last one frame, or entering costs."""
    rng = np.random.default_rng(frames)
    lattice = random_lattice(rng, shape, frames // 8, 12)
    for costs in (None, rng.normal(size=lattice.num_states)):
        lattice = Lattice(lattice.labels, lattice.arcs, lattice.tokens, costs)
        scores = rng.normal(size=(frames, 1, 12)) * 3
        problem = lattice_problem(scores, lattice, None, from_logits=True)
        check_sums(problem, 1e-7)
        narrow = lattice_problem(scores.astype(np.float32), lattice, None, from_logits=True)
        np.testing.assert_allclose(native.total(narrow).score, native.total(problem).score, rtol=1e-5)


@pytest.mark.parametrize("shape", ["plain", "selfless", "gaps", "mirrored"])
def test_state_scores_cost_no_digits(instruction_set: str, shape: str) -> None:
    """A delay penalty: in float32, loss and gradient are as near to float64 as without it."""
    rng = np.random.default_rng(7)
    lattices = [random_lattice(rng, shape, 100, 20) for _ in range(2)]
    begun = np.stack([np.maximum.accumulate(lattice.tokens) + 1 for lattice in lattices])
    scores = rng.normal(size=(750, 2, 20)).astype(np.float32) * 2
    for added in (None, 0.01 * (begun - 50), 0.5 * (begun - 50.0)):  # the last ones do not fit in plain numbers
        found = []
        for dtype in (np.float32, np.float64):
            problem = lattice_problem(scores.astype(dtype), lattices, None, from_logits=True, state_scores=added)
            gradient = np.empty(scores.shape, dtype)
            found.append((native.total(problem, gradients=Gradients(gradient)).score, gradient))
        (score, gradient), (exact_score, exact) = found
        np.testing.assert_allclose(score, exact_score, rtol=3e-6)
        np.testing.assert_allclose(gradient, exact, rtol=0, atol=3e-6)


def test_gains_are_counted_however_large(instruction_set: str) -> None:
    """Scores far above 0 neither overflow nor bring back what is impossible."""
    lattice = ctckit.ctc_lattice(np.array([1, 2, 2, 1]))
    costs = np.where(np.arange(9) % 2, -1e4, 0.0)
    scores = np.log(np.full((300, 1, 3), 1 / 3))
    for extra in ({}, {"state_scores": np.full((1, 9), 2e5)}, {"class_scores": np.array([0.0, 1e6, -np.inf])}):
        changed = Lattice(lattice.labels, lattice.arcs, lattice.tokens, costs)
        problem = lattice_problem(scores, changed, None, from_logits=False, **extra)
        check_sums(problem, 1e-6)  # the reference's own rounding, of scores up to 6e7
        check_path(problem, 1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_class_scores_leave_the_softmax_alone(instruction_set: str, dtype: str, from_logits: bool) -> None:
    """The dense part of the gradient is that of the plain softmax, in wide tiles too."""
    rng = np.random.default_rng(5)
    for spread in (1, 60):
        scores = (rng.normal(size=(50, 2, 30)) * spread).astype(dtype)
        lattices = [ctckit.ctc_lattice(rng.integers(1, 30, 12)) for _ in range(2)]
        class_scores = rng.normal(size=30) * 20
        problem = lattice_problem(scores, lattices, None, from_logits=from_logits, class_scores=class_scores)
        wide = lattice_problem(scores.astype(float), lattices, None, from_logits=from_logits, class_scores=class_scores)
        found, truth = np.full(scores.shape, np.nan, dtype), np.full(scores.shape, np.nan)
        native.total(problem, gradients=Gradients(found))
        reference.total(wide, gradients=Gradients(truth))
        tolerance = {"float16": 1e-3, "float32": 2e-4, "float64": 1e-9}[dtype]
        np.testing.assert_allclose(decode(found), truth, rtol=0, atol=tolerance)


def test_infeasible_comes_before_not_finite(instruction_set: str) -> None:
    """Whatever the frames hold: of lattices without STAY, and of lattices with long arcs."""
    chain = Lattice([1, 2, 1], [Arc.START, Arc.STEP, Arc.STEP | Arc.END])
    shortcut = Lattice([1, 2, 1], [Arc.START, 0, Arc.END], long_arcs=[[0, 2]])
    scores = np.full((5, 4, 3), np.nan)
    frames = np.array([3, 4, 2, 3])
    problem = lattice_problem(scores, [chain, chain, shortcut, shortcut], frames, from_logits=False)
    expected = [Status.NOT_FINITE, Status.INFEASIBLE, Status.NOT_FINITE, Status.INFEASIBLE]
    for result in (native.total(problem), native.best_path(problem)):
        assert result.status.tolist() == expected
        np.testing.assert_array_equal(result.score, [np.nan, -np.inf, np.nan, -np.inf])


def test_lattices_that_are_forbidden_are_impossible(instruction_set: str) -> None:
    """Paths exist, but an infinite cost lies on each of them."""
    lattice = Lattice([1, 2], [Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END], entry_costs=[0, np.inf])
    problem = lattice_problem(np.zeros((4, 1, 3)), lattice, None, from_logits=True)
    for result in (native.total(problem), native.best_path(problem)):
        assert result.status.tolist() == [Status.IMPOSSIBLE]
        assert result.score.tolist() == [-np.inf]
