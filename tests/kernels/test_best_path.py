"""Best paths: the native kernels against the reference, on any lattice, in any dtype, at any length."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import support.batches
from support.batches import DTYPES, Array, Batch, draw

from ctckit import Arc, Lattice, ctc_lattice
from ctckit.kernels import native, reference
from ctckit.problem import ArrayProblem, ctc_problem, lattice_batch, with_lattices
from ctckit.results import BestPaths


def problem_of(batch: Batch, dtype: str, *, from_logits: bool = False) -> ArrayProblem:
    return support.batches.problem_of(batch, dtype, from_logits=from_logits)


def check(problem: ArrayProblem) -> None:
    """States, visits, scores and each frame's score equal the reference's, and all of them are written."""
    shape, cells = problem.scores.shape[1::-1], (*problem.lattices.labels.shape, 2)
    frame_scores, expected_scores = np.full(shape, np.nan), np.full(shape, np.nan)
    visits, expected_visits = np.full(cells, -7, np.int32), np.full(cells, -7, np.int32)
    expected = reference.best_path(problem, frame_scores=expected_scores, visits=expected_visits)
    found = native.best_path(problem, frame_scores=frame_scores, visits=visits)
    assert np.array_equal(found.states, expected.states)
    assert np.array_equal(visits, expected_visits)
    tolerance = 1e-13 if problem.scores.dtype == np.float64 else 2e-6  # of logits: the float32 sum of the softmax
    np.testing.assert_allclose(found.score, expected.score, rtol=tolerance, atol=tolerance * 10)
    np.testing.assert_allclose(frame_scores, expected_scores, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [(1, 1, 2, 0), (1, 3, 3, 1), (7, 4, 5, 3), (8, 4, 5, 3), (40, 3, 3, 15), (90, 3, 300, 12), (200, 2, 6, 80)],
    ids=str,
)
def test_like_the_reference(
    instruction_set: str, shape: tuple[int, int, int, int], dtype: str, from_logits: bool
) -> None:
    for blank in {0, shape[2] - 1}:
        check(problem_of(draw(sum(shape), *shape, blank=blank), dtype, from_logits=from_logits))


def any_lattices(seed: int, dtype: str) -> ArrayProblem:
    """Random arcs and labels, and now and then some long arcs or entry costs."""
    rng = np.random.default_rng(seed)
    states, frames, size = int(rng.integers(1, 80)), int(rng.integers(1, 120)), int(rng.integers(1, 4))
    arcs = rng.choice(np.arange(8, dtype=np.uint8), (size, states), p=[0.02, 0.1, 0.1, 0.25, 0.05, 0.08, 0.1, 0.3])
    arcs[:, 0] = Arc.STAY | Arc.START
    arcs[:, 1:2] &= np.uint8(~Arc.SKIP & 0xFF)  # no state below the first
    arcs[:, -1] |= np.uint8(Arc.END)
    arcs[rng.random(arcs.shape) < 0.1] |= np.uint8(Arc.START | Arc.END)
    ends = np.sort(rng.integers(0, states, (size * int(rng.integers(0, 5)), 2)), axis=1)
    far = ends[ends[:, 0] < ends[:, 1]]
    sample = rng.integers(0, size, len(far))
    used = rng.integers(0, frames + 1, size)
    labels = rng.integers(0, 5, (size, states))
    costs = rng.integers(0, 9, (size, states)) / 4
    lattices = [
        Lattice(labels[n], arcs[n], None, costs[n] if seed % 3 == 0 else None, far[sample == n]) for n in range(size)
    ]
    batch = lattice_batch(lattices, used)
    scores = rng.normal(size=(frames, size, 5))
    if seed % 3:
        return ArrayProblem(scores.astype(dtype), bool(seed % 2), batch)
    # A cost may be paid sooner or later for the same labels: nothing is rounded, so that these are exact ties.
    return ArrayProblem((np.rint(scores * 64) / 64).astype(dtype), False, batch)


@pytest.mark.parametrize("seed", range(60))
def test_any_topology(instruction_set: str, seed: int) -> None:
    check(any_lattices(seed, "float64" if seed % 4 < 2 else "float32"))


@pytest.mark.parametrize("flat", [np.zeros, lambda shape: np.full(shape, -1.5)], ids=["zeros", "equal"])
def test_ties_are_resolved_as_in_the_reference(instruction_set: str, flat: object) -> None:
    for frames in (3, 4, 5, 9, 17, 60):
        scores = flat((frames, 1, 4))  # type: ignore[operator]
        problem = ctc_problem(scores, [[1, 1, 2]], [frames], [3], 0, from_logits=False)
        check(problem)
        check(with_lattices(problem, [problem.lattice(0).with_optional([0, 1, 1])]))


def test_zeros_and_what_is_no_number(instruction_set: str) -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(40, 6, 4))
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    scores[..., 3] = np.where(np.arange(6) % 2 == 0, -np.inf, 0)
    scores[17, 1, 2] = np.nan
    scores[30, 2, 0] = np.inf
    scores[35, 3, 1] = np.nan  # beyond its frames
    targets = np.tile([1, 2, 2, 1], (6, 1))
    problem = ctc_problem(scores, targets, [40, 40, 40, 30, 40, 5], [4, 4, 4, 4, 0, 4], 0, from_logits=False)
    best = native.best_path(problem)
    assert np.isnan(best.score[[1, 2]]).all()
    assert best.score[4] == -np.inf  # probability 0 on every path
    assert np.isfinite(best.score[3])
    check(problem)


def peaky(frames: int, classes: int, length: int, *, height: float = 10, spread: float = 1) -> tuple[Array, Array]:
    """Outputs like a trained recogniser's: each token for a frame, blanks between them, all with some noise."""
    rng = np.random.default_rng(frames)
    target = rng.integers(1, classes, length)
    labels = np.zeros(frames, int)
    labels[np.sort(rng.choice(frames, length, replace=False))] = target
    logits = rng.normal(size=(frames, classes)) * spread
    logits[np.arange(frames), labels] += height
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), target


@pytest.mark.parametrize(("frames", "classes", "length"), [(1500, 32, 200), (15000, 32, 2000), (60000, 64, 8000)])
def test_token_starts_in_float32_are_those_of_float64(frames: int, classes: int, length: int) -> None:
    """All of the path, and its score; the truth is the reference where it is fast enough."""
    log_probs, target = peaky(frames, classes, length)
    log_probs = log_probs.astype(np.float32)
    narrow = ctc_problem(log_probs, target, frames, length, 0, from_logits=False)
    wide = ctc_problem(log_probs.astype(np.float64), target, frames, length, 0, from_logits=False)
    truth = reference.best_path(wide) if frames <= 1500 else native.best_path(wide)
    found = native.best_path(narrow)
    starts = [np.flatnonzero(np.diff(best.states[0], prepend=0) > 0) for best in (found, truth)]
    assert np.array_equal(*starts)
    np.testing.assert_allclose(found.score, truth.score, rtol=1e-12)


def long_outputs(kind: str) -> tuple[Array, Array]:
    """T = 2400 frames and S = 700 tokens, of the kinds that make a bound on the score tight, loose or useless."""
    log_probs, target = peaky(2400, 8, 700, height=0 if kind in ("unsure", "flat") else 10, spread=2)
    rng = np.random.default_rng(8)
    if kind == "flat":
        log_probs[...] = -2
    elif kind == "another text":
        target = np.where(rng.random(700) < 0.3, rng.integers(1, 8, 700), target)
    elif kind == "a part is missing":
        target = np.concatenate((target[:200], target[350:], rng.integers(1, 8, 150)))
    elif kind == "silence":
        log_probs[700:1300] = [0, *[-60.0] * 7]
        target = target[:500]
    elif kind == "holes":
        log_probs[rng.random(log_probs.shape) < 0.05] = -np.inf
        log_probs[:, 0] = np.maximum(log_probs[:, 0], -80)
    elif kind == "steep":
        log_probs = log_probs * 300
    return log_probs, target


KINDS = ("peaky", "unsure", "flat", "another text", "a part is missing", "silence", "holes", "steep")


WORDS = np.repeat(np.arange(1, 141), 5)
OPTIONAL = {
    "all must be there": np.zeros(700, int),
    "all words": WORDS,
    "some words": np.where(WORDS % 4 == 1, WORDS, 0),
    "most of it at once": np.where((WORDS > 10) & (WORDS < 120), 1, 0),
}


def left_out_problem(kind: str, optional: str) -> ArrayProblem:
    log_probs, target = long_outputs(kind)
    problem = ctc_problem(log_probs, target, 2400, len(target), 0, from_logits=False)
    groups = OPTIONAL[optional][: len(target)]
    if not groups.any():
        return problem
    lattice = problem.lattice(0).with_optional(groups)
    if optional == "some words":
        lattice = lattice.with_costs(np.append(np.repeat(np.where(groups > 0, 1.5, 0), 2), 0))
    return with_lattices(problem, [lattice])


@pytest.mark.parametrize(
    ("kind", "optional"),
    [(kind, "all must be there") for kind in KINDS]
    + [(kind, optional) for kind in ("peaky", "a part is missing") for optional in ("some words", "most of it at once")]
    + [pytest.param(kind, "all words", marks=pytest.mark.long) for kind in ("peaky", "a part is missing")]
    + [("flat", "some words"), ("silence", "most of it at once")],
)
def test_what_is_left_out_is_on_no_best_path(instruction_set: str, kind: str, optional: str) -> None:
    """Long rows are cut to the states that may still reach the score that a first sweep has found."""
    problem, truth = left_out_problem(kind, optional), expected_of(kind, optional)
    found = native.best_path(problem)
    assert np.array_equal(found.states, truth.states)
    np.testing.assert_allclose(found.score, truth.score, rtol=1e-13)
    narrow = replace(problem, scores=problem.scores.astype(np.float32))
    exact = replace(problem, scores=narrow.scores.astype(np.float64))  # of the rounded scores
    np.testing.assert_allclose(native.best_path(narrow).score, native.best_path(exact).score, rtol=2e-7)


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_what_is_left_out_is_not_where_a_jump_leads(instruction_set: str, tokens: int) -> None:
    """A passage that was not said begins anywhere beside the end of what is visited, and nothing else fits."""
    tail = 30
    target = 1 + np.arange(1100) % 7
    for first in range(9, 210):
        groups = np.zeros(1100, int)
        groups[first : 1100 - tail] = 1
        labels = np.repeat(np.concatenate((target[:first], target[-tail:])), tokens)
        if target[first - 1] == target[-tail]:
            continue  # they would be one
        log_probs = np.full((len(labels), 8), -40, np.float32)
        log_probs[np.arange(len(labels)), labels] = -0.25
        problem = ctc_problem(log_probs, target, len(labels), 1100, 0, from_logits=False)
        problem = with_lattices(problem, [problem.lattice(0).with_optional(groups)])
        assert native.best_path(problem).score[0] == -0.25 * len(labels)


@cache
def expected_of(kind: str, optional: str) -> BestPaths:
    return reference.best_path(left_out_problem(kind, optional))


@pytest.mark.parametrize("classes", [8, 3000])
@pytest.mark.parametrize("frame", [3, 1000, 2399])
def test_no_number_in_a_long_sample(frame: int, classes: int) -> None:
    """Also if the sweep ends before it gets there, since nothing reaches that far; and in any class."""
    log_probs, target = peaky(2400, classes, 700)
    others = {*range(1, classes)} - {*target.tolist()}
    for dead in (False, True):
        if dead:
            log_probs[500] = -np.inf
        for label in {target[0], min(others, default=2)}:
            before, log_probs[frame, label] = log_probs[frame, label], np.nan
            problem = ctc_problem(log_probs, target, 2400, 700, 0, from_logits=False)
            assert np.isnan(native.best_path(problem).score[0])
            log_probs[frame, label] = before


def test_labels_far_below_the_best_class(instruction_set: str) -> None:
    """Precision is relative to the other labels, however improbable all of them are."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(50, 1, 5)).astype(np.float32)
    scores[..., 4] = 1e9
    check(ctc_problem(scores, [[1, 2, 3]], [50], [3], 0, from_logits=False))


def test_alone_or_with_others_and_on_any_threads() -> None:
    batch = draw(11, 300, 9, 20, 40)
    problem = problem_of(batch, "float32")
    whole = native.best_path(problem)
    for threads in (1, 2, 5):
        native.set_num_threads(threads)
        assert np.array_equal(native.best_path(problem).states, whole.states)
    for n, used in enumerate(batch.frames):
        alone = native.best_path(problem_of(batch.alone(n), "float32"))
        assert np.array_equal(alone.states[0], whole.states[n, :used])
        assert alone.score[0] == whole.score[n]


@pytest.mark.parametrize("dtype", DTYPES)
def test_occupancy_along_a_path(instruction_set: str, dtype: str) -> None:
    batch = draw(4, 50, 4, 7, 12)
    problem = problem_of(batch, dtype)
    states = np.clip(native.best_path(problem).states + np.int32(1), 0, None)  # not the best one, and beyond the last
    states = np.minimum(states, problem.lattices.num_states[:, None] - 1)
    expected = reference.occupancy_along(problem, states)
    assert expected.max() > 0.1
    np.testing.assert_allclose(
        native.occupancy_along(problem, states), expected, atol=1e-13 if dtype == "float64" else 1e-5
    )
    outside = native.occupancy_along(problem, np.full(states.shape, 99, np.int32))
    assert not outside.any()


@pytest.mark.parametrize(("height", "spread"), [(10, 1), (0, 2), (0, 0)], ids=["peaky", "unsure", "flat"])
def test_occupancy_along_a_long_path(instruction_set: str, height: float, spread: float) -> None:
    """Few states are visited if the others have no weight, and all of them otherwise."""
    log_probs, target = peaky(3000, 8, 1300, height=height, spread=spread)
    problem = ctc_problem(log_probs, target, 3000, 1300, 0, from_logits=False)
    states = native.best_path(problem).states
    exact = native.posteriors(problem).states[np.arange(3000), 0, states[0]]
    np.testing.assert_allclose(native.occupancy_along(problem, states)[0], exact, rtol=1e-9, atol=1e-9)
    assert exact.mean() > 0.9 if height else exact.mean() < 0.5


def test_occupancy_along_where_there_is_no_path_or_no_number() -> None:
    scores = np.zeros((4, 3, 3), np.float32)
    scores[1, 1, 0] = np.nan
    problem = ctc_problem(scores, [[1, 1, 1], [1, 0, 0], [1, 0, 0]], [4, 3, 3], [3, 1, 1], 0, from_logits=False)
    along = native.occupancy_along(problem, np.zeros((3, 4), np.int32))
    assert not along[0].any()
    assert np.isnan(along[1, :3]).all()
    assert not along[1:, 3].any()
    assert along[2, 0] > 0


def test_lattices_of_the_builder_are_not_changed_by_optional_tokens_left_alone() -> None:
    lattice = ctc_lattice(np.array([1, 2, 2, 3]))
    same = lattice.with_optional(np.zeros(4, int))
    assert np.array_equal(same.arcs, lattice.arcs)
    assert same.long_arcs.shape == (0, 2)
