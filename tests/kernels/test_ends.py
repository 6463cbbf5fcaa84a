"""Paths that fill any run of frames, in the kernels: against the same recursion in logarithms, by torch, in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ctckit.kernels import native
from ctckit.kernels.backend import Gradients
from ctckit.kernels.native import Ends
from ctckit.problem import ctc_problem
from ctckit.results import Status

torch = pytest.importorskip("torch")
Array = npt.NDArray[Any]
FREE = [Ends.SUM, Ends.BEST, Ends.MEAN]
# Frames, classes, tokens, spread of the scores: tables of classes and of labels, many blocks of frames, wide emissions.
SHAPES = [(1, 3, 1, 1.0), (30, 4, 5, 3.0), (40, 300, 4, 3.0), (60, 9, 8, 60.0), (20, 5, 0, 1.0), (37, 400, 3, 200.0)]
LONG = (3000, 6, 40, 1.0)


def log_sum(ways: Any) -> Any:
    """Of the first axis; -inf of nothing else, with derivatives 0."""
    top = ways.detach().amax(0)
    possible = top > -math.inf
    safe = torch.where(possible, top, 0)
    total = torch.where(possible, (ways - safe).exp().sum(0), 1)
    return torch.where(possible, total.log() + safe, -math.inf)


def expected(logits: Array, target: Array, ends: Ends, class_scores: Array | None = None) -> tuple[float, Array]:
    """The score of one sample (T, C), and its gradient by the logits."""
    leaf = torch.tensor(np.asarray(logits, np.float64), requires_grad=True)
    emitted = leaf.log_softmax(-1) + (0 if class_scores is None else torch.from_numpy(class_scores))
    labels = [0, *(label for token in target.tolist() for label in (token, 0))]
    skips = torch.tensor([k > 2 and k % 2 == 1 and labels[k] != labels[k - 2] for k in range(len(labels))])
    never = torch.full((1,), -math.inf, dtype=torch.float64)
    begins = torch.cat((torch.zeros(min(2, len(labels)), dtype=torch.float64), never.expand(max(0, len(labels) - 2))))
    alpha, scores = never.expand(len(labels)), []
    for frame in emitted:
        step = torch.cat((never, alpha[:-1]))
        skip = torch.where(skips, torch.cat((never, never, alpha))[: len(labels)], -math.inf)
        alpha = log_sum(torch.stack((alpha, step, skip, begins))) + frame[labels]
        scores.append(log_sum(alpha[-2:]))
    s = torch.stack(scores)
    s = s[s.detach() > -math.inf]
    if ends == Ends.SUM:
        score = s.logsumexp(0)
    elif ends == Ends.BEST:
        score = s[int(s.argmax())]
    else:
        score = (s.softmax(0) * s).sum()
    score.backward()
    assert leaf.grad is not None
    return score.item(), leaf.grad.numpy()


def drawn(frames: int, classes: int, tokens: int, spread: float, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(frames, 1, classes)) * spread, rng.integers(1, classes, (1, tokens))


def swept(
    logits: Array, target: Array, ends: Ends, dtype: str = "float64", lengths: Any = None, **more: Any
) -> tuple[Array, Array, Array]:
    """Scores, statuses and gradients of samples, whose targets all have their full length."""
    size = len(target)
    frames = [len(logits)] * size if lengths is None else lengths
    problem = ctc_problem(logits.astype(dtype), target, frames, [target.shape[1]] * size, 0, from_logits=True)
    gradient = np.full(logits.shape, np.nan, dtype)
    totals = native.total(problem, gradients=Gradients(gradient), ends=ends, **more)
    return totals.score, totals.status, gradient


@pytest.fixture(params=native.instruction_sets())
def isa(request: pytest.FixtureRequest) -> Any:
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield request.param
    native.use_instruction_set(before)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
def test_scores_and_gradients(ends: Ends, shape: tuple[int, int, int, float], isa: str) -> None:
    logits, target = drawn(*shape)
    score, gradient = expected(logits[:, 0], target[0], ends)
    for dtype, close in (("float64", 1e-11), ("float32", 3e-6)):
        found, status, by_logits = swept(logits.astype(dtype).astype("float64"), target, ends, dtype)
        if dtype == "float32":
            score, gradient = expected(logits[:, 0].astype(dtype), target[0], ends)
        assert status[0] == Status.OK
        assert found[0] == pytest.approx(score, rel=1e-6 if dtype == "float32" else 1e-12, abs=close)
        np.testing.assert_allclose(by_logits[:, 0], -gradient, atol=close)


@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
def test_many_blocks_of_frames(ends: Ends) -> None:
    """The rows of so many frames are not all kept, but computed again on the way back."""
    logits, target = drawn(*LONG)
    logits[1000:1400, 0, 0] -= 8  # windows that matter begin and end far from the ends
    score, gradient = expected(logits[:, 0], target[0], ends)
    found, _, by_logits = swept(logits, target, ends)
    assert found[0] == pytest.approx(score, rel=1e-11)
    np.testing.assert_allclose(by_logits[:, 0], -gradient, atol=1e-9)
    _, _, single = swept(logits, target, ends, "float32")
    np.testing.assert_allclose(single[:, 0], -gradient, atol=1e-5)


@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
@pytest.mark.parametrize("classes", [6, 300])
def test_class_scores(ends: Ends, classes: int) -> None:
    logits, target = drawn(25, classes, 4, 2.0)
    scores = np.linspace(-3, 2, classes)
    score, gradient = expected(logits[:, 0], target[0], ends, scores)
    problem = ctc_problem(logits, target, [25], [4], 0, from_logits=True)
    problem = type(problem)(**{**vars(problem), "class_scores": scores})
    by_logits = np.empty_like(logits)
    totals = native.total(problem, gradients=Gradients(by_logits), ends=ends)
    assert totals.score[0] == pytest.approx(score, abs=1e-11)
    np.testing.assert_allclose(by_logits[:, 0], -gradient, atol=1e-11)


@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_do_not_touch_each_other(ends: Ends, dtype: str) -> None:
    """Too short, NaN in a used frame, NaN in padding, and a usual one: each as if it were alone."""
    logits, target = drawn(12, 5, 3, 2.0)
    target = np.array([[1, 1, 2]] * 4)
    logits = np.repeat(logits, 4, axis=1)
    logits[5, 1] = np.nan
    logits[9:, 2] = np.nan
    lengths = [3, 12, 9, 12]
    score, status, gradient = swept(logits, target, ends, dtype, lengths)
    assert status.tolist() == [Status.INFEASIBLE, Status.NOT_FINITE, Status.OK, Status.OK]
    assert score[0] == -math.inf
    assert np.isnan([score[1], *gradient[:, 1].flat]).all()
    assert not np.append(gradient[:, 0], gradient[9:, 2]).any()
    for n in (2, 3):
        alone, _, by_logits = swept(logits[: lengths[n], n : n + 1], target[n : n + 1], ends, dtype)
        assert alone[0] == score[n]
        assert np.array_equal(by_logits[:, 0], gradient[: lengths[n], n])


@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_weights_multiply_gradients(ends: Ends, dtype: str) -> None:
    logits, target = drawn(15, 300, 3, 1.0)
    _, _, plain = swept(logits, target, ends, dtype)
    _, _, weighted = swept(logits, target, ends, dtype, weights=np.array([-4.0]))
    np.testing.assert_allclose(
        weighted, -4 * plain.astype("float64"), rtol=2e-3 if dtype == "float16" else 1e-6, atol=1e-6
    )


def test_of_several_best_ends_the_first_counts() -> None:
    logits = np.full((3, 1, 3), -np.inf)
    logits[[0, 1, 2], 0, [1, 2, 1]] = 0
    logits[0, 0, 2] = logits[2, 0, 2] = 0  # the token has 1/2 in the first frame, 0 in the second, 1/2 in the third
    score, _, gradient = swept(logits, np.array([[1]]), Ends.BEST)
    assert score[0] == pytest.approx(-math.log(2))
    assert gradient[:, 0].tolist() == [[0, -0.5, 0.5], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_scaled_floats_cannot_hold_is_impossible(dtype: str) -> None:
    """Log-probabilities of labels that add up to 2e8 nats; not a wrong number."""
    scores = np.full((20, 2, 3), -1e7)
    scores[:, 1] = -3
    problem = ctc_problem(scores.astype(dtype), [[1, 2]] * 2, [20, 20], [2, 2], 0, from_logits=False)
    for ends in FREE:
        totals = native.total(problem, ends=ends)
        assert totals.status.tolist() == [Status.IMPOSSIBLE, Status.OK]
        assert totals.score[0] == -math.inf
        assert math.isfinite(totals.score[1])


@pytest.mark.parametrize("ends", FREE, ids=lambda ends: ends.name)
def test_no_possible_path(ends: Ends) -> None:
    logits = np.zeros((6, 1, 3))
    logits[:, 0, 1] = -np.inf
    score, status, gradient = swept(logits, np.array([[1]]), ends)
    assert (score[0], status[0]) == (-math.inf, Status.IMPOSSIBLE)
    assert not gradient.any()


def test_other_lattices_have_no_free_ends() -> None:
    """The caller's own mistake, since no public function asks for it: the sample is invalid, and nothing else."""
    problem = ctc_problem(np.zeros((5, 1, 3)), [[1, 2]], [5], [2], 0, from_logits=True)
    arcs = problem.lattices.arcs.copy()
    arcs[0, 2] = 2  # the blank between is not stayed in
    batch = native.extension.LatticeBatch(
        frames=problem.lattices.frames,
        num_tokens=problem.lattices.num_tokens,
        labels=problem.lattices.labels,
        arcs=arcs,
        num_states=problem.lattices.num_states,
    )
    totals = native.total(type(problem)(**{**vars(problem), "lattices": batch}), ends=Ends.SUM)
    assert math.isnan(totals.score[0])
