"""The same sample gives the same bits, whatever the batch, the threads, the run, and the memory used before."""

from dataclasses import replace

import numpy as np
import pytest
from support.backends import Backend
from support.batches import DTYPES, Batch, draw, encode, problem_of

import ctckit
from ctckit.kernels import native
from ctckit.problem import ArrayProblem

FORMS = pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])


def bits(backend: Backend, problem: ArrayProblem, weights: np.ndarray | None = None) -> tuple[bytes, bytes]:
    score, gradient = backend.score_and_gradient(problem, weights)
    return score.tobytes(), gradient.tobytes()


def large(kernels: Backend) -> Batch:
    """Enough work for five threads, in samples of very different cost."""
    (shape,) = kernels.some([(400, 24, 40, 60)], [(6, 3, 5, 4)])
    return draw(1, *shape)


@pytest.mark.interpreter(only=False)
@FORMS
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_runs(kernels: Backend, dtype: str, from_logits: bool) -> None:
    problem = problem_of(large(kernels), dtype, from_logits=from_logits)
    other = problem_of(draw(2, 90, 3, 50, 30), dtype, from_logits=not from_logits)
    results = set()
    for threads in (1, 2, 3, 4, 1, 4):
        ctckit.set_num_threads(threads)
        results.add(bits(kernels, problem))
        kernels.total(other)  # leaves other numbers in the workspace
    assert len(results) == 1


@pytest.mark.interpreter(dtype=["float32"], from_logits=[True])
@FORMS
@pytest.mark.parametrize("dtype", DTYPES)
def test_batched_is_single(kernels: Backend, dtype: str, from_logits: bool) -> None:
    """Alone, without the padding that its neighbours needed, a sample gives the same bits."""
    batch = large(kernels)
    score, gradient = kernels.score_and_gradient(problem_of(batch, dtype, from_logits=from_logits))
    for n, used in enumerate(batch.frames):
        alone, alone_gradient = kernels.score_and_gradient(problem_of(batch.alone(n), dtype, from_logits=from_logits))
        assert alone[0] == score[n]
        assert np.array_equal(alone_gradient[:, 0], gradient[:used, n])


@pytest.mark.interpreter(from_logits=[True])
@FORMS
def test_position_in_the_batch(kernels: Backend, from_logits: bool) -> None:
    batch = large(kernels)
    score, gradient = kernels.score_and_gradient(problem_of(batch, "float32", from_logits=from_logits))
    order = np.random.default_rng(3).permutation(len(score))
    moved = Batch(batch.scores[:, order], batch.targets[order], batch.frames[order], batch.lengths[order])
    moved_score, moved_gradient = kernels.score_and_gradient(problem_of(moved, "float32", from_logits=from_logits))
    assert np.array_equal(moved_score, score[order])
    assert np.array_equal(moved_gradient, gradient[:, order])


@pytest.mark.interpreter(dtype=[])
@FORMS
@pytest.mark.parametrize("dtype", DTYPES)
def test_loss_alone_is_the_loss_beside_its_gradient(kernels: Backend, dtype: str, from_logits: bool) -> None:
    problem = problem_of(large(kernels), dtype, from_logits=from_logits)
    score, _ = kernels.score_and_gradient(problem)
    assert np.array_equal(kernels.total(problem), score)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_known_to_be_readable(dtype: str, from_logits: bool) -> None:
    """They are not searched for NaN, which changes no bit."""
    for frames, classes in ((3, 5), (70, 40), (40, 2000)):
        problem = problem_of(draw(0, frames, 4, classes, 20), dtype, from_logits=from_logits)
        known, found = native.total(problem, readable=True), native.total(problem)
        assert (known.score.tobytes(), known.status.tobytes()) == (found.score.tobytes(), found.status.tobytes())


@pytest.mark.interpreter(dtype=["bfloat16"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_occupancy_is_the_gradient(kernels: Backend, dtype: str) -> None:
    """γ by class is minus the gradient of log-probabilities, bit for bit."""
    problem = problem_of(large(kernels), dtype, from_logits=False)
    score, gradient = kernels.score_and_gradient(problem)
    gamma = kernels.posteriors(problem)
    assert np.array_equal(gamma.score, score)
    held = np.full(problem.scores.shape, 0, problem.scores.dtype)
    kernels.total(problem, grad=held, weights=-np.ones(len(score)))
    assert np.array_equal(gamma.classes.view(np.uint8), held.view(np.uint8))
    np.testing.assert_array_equal(np.abs(gradient), np.abs(-gradient))


def test_gradient_may_lie_in_any_layout(kernels: Backend) -> None:
    """batch_first, a slice of a larger array: the same numbers, and nothing outside of it is written."""
    (frames,) = kernels.some([33], [4])
    batch = draw(4, frames, 5, 9, 8)
    problem = problem_of(batch, "float32", from_logits=True)
    _, plain = kernels.score_and_gradient(problem)
    batch_first = np.full((5, frames, 9), np.nan, np.float32)
    kernels.total(problem, grad=batch_first.transpose(1, 0, 2))
    assert np.array_equal(batch_first.transpose(1, 0, 2), plain)
    larger = np.full((2 * frames + 4, 12, 20), 7.0, np.float32)
    inside = larger[2:-2:2, 1:11:2, 4:13]
    kernels.total(problem, grad=inside)
    assert np.array_equal(inside, plain)
    inside[...] = 7
    assert (larger == 7).all()


def test_weights_scale_and_nothing_else(kernels: Backend) -> None:
    (frames,) = kernels.some([33], [4])
    batch = draw(5, frames, 5, 9, 8)
    problem = problem_of(batch, "float32", from_logits=False)
    score, plain = kernels.score_and_gradient(problem)
    weights = np.array([1, 0.5, 0, -2, 1024.0])
    weighted_score, weighted = kernels.score_and_gradient(problem, weights)
    assert np.array_equal(weighted_score, score)
    assert np.array_equal(weighted, plain * weights[:, None])  # powers of two: exact


def test_the_default_kernels_are_the_best() -> None:
    assert native.instruction_set() == native.instruction_sets()[-1]


def test_unknown_instruction_set() -> None:
    with pytest.raises(
        ctckit.CTCError, match="'sse9' is not available: expected one of " + native.instruction_sets()[0]
    ):
        native.use_instruction_set("sse9")


def test_poison_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """That outputs are NaN before the kernels write them, or else these tests would prove less than they say."""
    monkeypatch.setattr(native.extension, "sums", lambda *arguments: None)
    batch = draw(6, 5, 2, 4, 2)
    loss, grad = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments)
    assert np.isnan(loss)
    assert np.isnan(grad).all()
    assert np.isnan(ctckit.posteriors(batch.scores, *batch.arguments).states).all()


def test_encoding_of_bfloat16() -> None:
    """The tests' own rounding, on the cases that matter: ties go to even."""
    numbers = np.array([1.0, 1.00390625, 1.01171875, -3.0, 0.0, np.inf, np.nan])
    assert encode(numbers, "bfloat16").tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC040, 0, 0x7F80, 0x7FC0]
    assert replace(draw(1, 5, 2, 4, 2)).blank == 0
