"""Inputs that break float32 logarithms: long, steep, certain, full of zeros. The textbook is the truth."""

from functools import cache

import numpy as np
import pytest
from oracles import Textbook, collapse, repeats
from support.backends import Backend, check_batch
from support.batches import DTYPES, Batch, decode, draw, encode, problem_of, truth_of

import ctckit
from ctckit.kernels import reference
from ctckit.kernels.backend import Gradients
from ctckit.problem import ctc_problem


def quantised(batch: Batch, step: float = 1 / 16) -> Batch:
    """Scores on a grid that every dtype holds exactly, so that one truth serves all (bfloat16 has 8 bits)."""
    rounded = np.clip(np.round(batch.scores / step), -255, 255) * step
    for dtype in DTYPES:
        assert np.array_equal(decode(encode(rounded, dtype)), rounded)
    return batch.with_scores(rounded)


def one(scores: np.ndarray, target: list[int], blank: int = 0) -> Batch:
    """A batch of a single sample."""
    return Batch(scores[:, None], np.array([target], int), np.array([len(scores)]), np.array([len(target)]), blank)


def many_blocks() -> Batch:
    """Too long for alpha to be kept whole: it is recomputed in blocks. T around multiples of tile and block."""
    frames = np.array([1033, 1032, 1031, 1025, 1024, 1023, 1017, 1016])
    batch = draw(3, 1033, len(frames), 12, 50, ragged=False)
    return quantised(Batch(batch.scores, batch.targets, frames, batch.lengths))


def steep(step: float) -> Batch:
    """Scores thousands apart, everywhere."""
    batch = draw(4, 70, 3, 6, 9, spread=100.0)
    return quantised(batch, step)


def abysses(classes: int, tokens: int) -> Batch:
    """Tame scores with a few extreme ones, over many blocks: tiles that need wide exponents among others."""
    batch = quantised(draw(5, 1100, 2, classes, tokens, ragged=False))
    rng = np.random.default_rng(5)
    return batch.with_scores(np.where(rng.random(batch.scores.shape) < 0.1 / classes, -4096.0, batch.scores))


def peaky() -> Batch:
    """Like a trained recogniser's: nearly all blank and sure of it, short spikes of tokens, some hard frames."""
    rng = np.random.default_rng(6)
    batch = draw(6, 400, 2, 32, 40, ragged=False)
    scores = rng.normal(size=batch.scores.shape)
    for n in range(2):
        for t in range(400):
            label = batch.targets[n, t // 10] if t % 10 == 5 else 0
            scores[t, n, label] += 2 if rng.random() < 0.15 else 12
    return quantised(batch.with_scores(scores))


def one_hot() -> Batch:
    """Certain to the last bit: all probability on one path."""
    batch = draw(7, 33, 1, 5, 6)
    target = batch.targets[0].tolist()
    path = [label for token in target for label in (token, token, 0, 0, 0)] + [0, 0, 0]
    assert collapse(path, 0) == tuple(target)
    scores = np.full((33, 1, 5), -255.0)
    scores[range(33), 0, path] = 255.0
    return batch.with_scores(scores)


HARD = {
    "20000 frames": lambda: quantised(draw(1, 20000, 1, 5, 20)),
    "20000 frames, a loss of 1e8": lambda: quantised(draw(2, 20000, 1, 4, 3, spread=4000), 64),
    "many blocks": many_blocks,
    "hundreds apart": lambda: steep(8),
    "thousands apart": lambda: steep(64),
    "ten thousands apart": lambda: steep(128),
    "abysses": lambda: abysses(9, 50),
    "abysses, too many labels to keep": lambda: abysses(300, 140),
    "peaky": peaky,
    "one-hot": one_hot,
    "5000 classes": lambda: draw(8, 19, 2, 5000, 6, blank=4999),
    "more tokens than classes": lambda: quantised(draw(9, 300, 2, 3, 140)),
}
SHORT = ["hundreds apart", "thousands apart", "ten thousands apart", "one-hot", "5000 classes"]


@cache
def hard(name: str, dtype: str) -> Batch:
    batch = HARD[name]()
    return batch.with_scores(decode(encode(batch.scores, dtype)))


@cache
def truth(name: str, dtype: str, from_logits: bool) -> list[Textbook]:
    if dtype != "float64" and np.array_equal(hard(name, dtype).scores, hard(name, "float64").scores):
        return truth(name, "float64", from_logits)
    return truth_of(hard(name, dtype), dtype, from_logits=from_logits)


@pytest.mark.interpreter(name=["one-hot"], dtype=["float32"], from_logits=[True], most={"name": SHORT})
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HARD)
def test_score_and_gradient(kernels: Backend, name: str, dtype: str, from_logits: bool) -> None:
    expected = truth(name, dtype, from_logits)
    assert any(sample.score > -np.inf for sample in expected)
    check_batch(kernels, hard(name, dtype), dtype, expected, from_logits=from_logits)


# Where a plain float stops holding e^-D: at 80 the kernels keep separate exponents, at 87 (708 in float64) e^-D is
# subnormal.
@pytest.mark.interpreter(gap=[81, 746, 30000], dtype=["float32"])
@pytest.mark.parametrize("gap", [0, 1, 79, 80, 81, 86, 87, 88, 103, 104, 689, 690, 691, 708, 709, 745, 746, 30000])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gap_between_labels(kernels: Backend, gap: int, dtype: str) -> None:
    """Blank at 0 and tokens at -gap: each token of the target costs gap."""
    scores = np.full((21, 4), -float(gap))
    scores[:, 0] = 0
    batch = one(decode(encode(scores, dtype)), [1, 2, 2, 3])
    for from_logits in (False, True):
        expected = truth_of(batch, dtype, from_logits=from_logits)
        check_batch(kernels, batch, dtype, expected, from_logits=from_logits, repeating=True)


@pytest.mark.interpreter(steep=[8], dtype=["float32"])
@pytest.mark.parametrize("steep", range(17))
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_single_steep_frame_that_no_path_avoids(kernels: Backend, steep: int, dtype: str) -> None:
    """At every position within a tile; all tokens are improbable there, and only one blank fits."""
    target = [1, 2, 3, 1, 2, 3, 3, 2, 1, 3, 1, 2, 3, 1, 2, 1]
    batch = quantised(one(draw(steep, len(target) + repeats(target), 1, 4, 0).scores[:, 0], target))
    batch.scores[steep, 0] = [960, 0, -96, 3]
    for from_logits in (False, True):
        expected = truth_of(batch, dtype, from_logits=from_logits)
        check_batch(kernels, batch, dtype, expected, from_logits=from_logits)


@pytest.mark.interpreter(only=False)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_exponential(kernels: Backend, dtype: str) -> None:
    """e^-d at 60000 values of d, from a one-frame loss (an emission) and from the gradient of logits (a softmax)."""
    d = np.concatenate([np.linspace(0, 90, 40000), np.linspace(90, 1500, 20000)]).astype(dtype)
    scores = np.zeros((1, d.size, 2), dtype)
    scores[0, :, 1] = -d
    wide = d.astype(np.longdouble)
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    every = np.ones(d.size, int)
    # The target's one token is d below the blank: the score is log e^-d, off by what that exponential is off.
    emissions = Batch(scores, np.ones((d.size, 1), int), every, every)
    error = np.abs(kernels.total(problem_of(emissions, dtype, from_logits=False)) + wide)
    assert (error <= 2 * unit + 2 * d * 2.0**-53).all()
    # The empty target: the gradient at the other class is its softmax. An exponential, a sum, a quotient, a product.
    softmaxes = Batch(scores, np.empty((d.size, 0), int), every, 0 * every)
    _, gradient = kernels.score_and_gradient(problem_of(softmaxes, dtype, from_logits=True))
    expected = np.exp(-wide) / (1 + np.exp(-wide))
    smallest = float(np.finfo(dtype).smallest_normal)
    assert (np.abs(gradient[0, :, 1] - expected) <= 4 * unit * expected + 2 * smallest).all()


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_minus_infinity_is_a_probability_of_zero(implementation: tuple[Backend, str], from_logits: bool) -> None:
    """Some entries are impossible: some samples lose all paths, others do not."""
    backend, dtype = implementation
    (size,) = backend.some([40], [4])
    batch = quantised(draw(10, 24, size, 5, 4))
    rng = np.random.default_rng(10)
    dead = rng.random(batch.scores.shape) < rng.choice([0.05, 0.3, 0.5], (1, size, 1))
    dead[..., 4] &= from_logits  # a frame of nothing but -inf has no softmax
    dead[:, :, 4] = False
    batch = batch.with_scores(np.where(dead, -np.inf, batch.scores))
    expected = truth_of(batch, dtype, from_logits=from_logits)
    died = sum(sample.score == -np.inf for sample in expected)
    assert size / 13 < died < size - size / 13
    oracle = 2.0**-53 if backend.exact else 2.0**-60
    check_batch(backend, batch, dtype, expected, from_logits=from_logits, oracle=oracle)


def test_a_frame_without_any_possibility(implementation: tuple[Backend, str]) -> None:
    """All classes impossible at a frame: loss +inf and gradient exactly 0, for log-probabilities."""
    backend, dtype = implementation
    (frames,) = backend.some([18], [8])
    batch = quantised(draw(11, frames, 3, 5, 4, ragged=False))
    scores = batch.scores.copy()
    scores[7, 1] = -np.inf
    batch = batch.with_scores(scores)
    score, gradient = backend.score_and_gradient(problem_of(batch, dtype, from_logits=False))
    assert score[1] == -np.inf
    assert not gradient[:, 1].any()
    assert np.isfinite(score[[0, 2]]).all()
    check_batch(backend, batch, dtype, truth_of(batch, dtype, from_logits=False), from_logits=False, oracle=2.0**-53)


@pytest.mark.interpreter(only=False)
def test_zeros_stay_zeros(kernels: Backend) -> None:
    """A true zero stays zero, however many frames multiply it."""
    frames = 70000
    scores = np.zeros((frames, 1, 3), np.float32)
    scores[5, 0, 1] = -np.inf
    scores[6:, 0, 1] = 200.0  # large enough to lift anything finite
    scores[:5, 0, 1] = -np.inf
    scores[6:, 0, 1] = -np.inf
    batch = Batch(scores, np.array([[1]]), np.array([frames]), np.array([1]))
    score, gradient = kernels.score_and_gradient(problem_of(batch, "float32", from_logits=False))
    assert score[0] == -np.inf
    assert not gradient.any()


@pytest.mark.interpreter(tokens=[0, 2], dtype=["float64"], most={"tokens": [*range(10), 15, 16, 17, 31, 32, 33]})
@pytest.mark.parametrize("tokens", range(0, 42))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_number_of_states(kernels: Backend, tokens: int, dtype: str) -> None:
    """K = 1, 3 … 83 across the lanes of every instruction set; T just short of feasible, just enough, and more."""
    rng = np.random.default_rng(tokens)
    target = rng.integers(1, 6, tokens).tolist()
    needed = tokens + repeats(target)
    for frames in {max(needed - 1, 1), max(needed, 1), needed + 1, needed + 7, needed + 30}:
        batch = quantised(one(rng.normal(size=(frames, 6)) * 2, target))
        expected = truth_of(batch, dtype, from_logits=True)
        assert (expected[0].score == -np.inf) == (frames < needed)
        check_batch(kernels, batch, dtype, expected, from_logits=True, where=frames)


@pytest.mark.interpreter(frames=[1, 2])
@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 15, 16, 17, 23, 24, 25])
def test_every_tile_of_frames(kernels: Backend, frames: int) -> None:
    for tokens in (0, 1, 3, 7, 8):
        batch = quantised(draw(frames, frames, 1, 7, tokens))
        for dtype in kernels.some(DTYPES, ["float32"]):
            for from_logits in (False, True):
                expected = truth_of(batch, dtype, from_logits=from_logits)
                check_batch(kernels, batch, dtype, expected, from_logits=from_logits, where=(tokens, dtype))


def test_probabilities_that_float32_cannot_hold(instruction_set: str) -> None:
    """A score of -4e5: e to that power is 0 in any float, but γ is ordinary."""
    rng = np.random.default_rng(12)
    scores = (rng.normal(size=(2000, 4)) * 2 - 200).astype(np.float32)
    target = [1, 2, 3, 1, 2, 3]
    loss, gradient = ctckit.ctc_loss_and_grad(scores, target, 2000, 6, reduction="sum")
    batch = one(scores.astype(np.float64), target)
    assert loss > 3e5
    (expected,) = truth_of(batch, "float32", from_logits=False)
    assert loss == pytest.approx(-expected.score, rel=2.0**-23)
    assert np.abs(gradient - expected.classes).max() <= 1e-5
    np.testing.assert_allclose(gradient.sum(axis=1), -1, atol=4 * 2.0**-24)


def test_what_is_certain_costs_nothing(instruction_set: str) -> None:
    """Probability 1 on one path: loss exactly 0 (not -0, not 1e-8), gradient of the logits exactly 0."""
    for dtype in (np.float64, np.float32, np.float16):
        log_probs = np.full((5, 3), -np.inf, dtype)
        log_probs[range(5), [0, 1, 1, 0, 2]] = 0
        loss, gradient = ctckit.ctc_loss_and_grad(log_probs, [1, 2], 5, 2, reduction="sum")
        assert loss == 0
        assert not np.signbit(loss)
        assert np.array_equal(gradient, np.where(log_probs == 0, -1, 0))
        loss, gradient = ctckit.ctc_loss_and_grad(log_probs, [1, 2], 5, 2, reduction="sum", from_logits=True)
        assert loss == 0
        assert not gradient.any()


@pytest.mark.interpreter(classes=[3], dtype=["float32"])
@pytest.mark.parametrize("classes", [3, 9])  # few enough for a table of all classes, and not
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_labels_buried_under_another_class(kernels: Backend, dtype: str, classes: int) -> None:
    """A class that is not in the target may be more probable by any number of nats: γ depends on the labels only."""
    (frames,) = kernels.some([300], [6])
    for buried, depth in ((slice(1, 2), 1e9), (slice(None), 1e6)):
        scores = np.zeros((frames, 1, classes))
        scores[buried, :, :2] -= depth
        problem = ctc_problem(scores.astype(dtype), [[1]], [frames], [1], 0, from_logits=True)
        expected = np.empty(problem.scores.shape)
        score = reference.total(problem, weights=np.ones(1), gradients=Gradients(expected)).score
        assert -np.inf < score[0] < -depth
        found, gradient = kernels.score_and_gradient(problem)
        np.testing.assert_allclose(found, score, rtol=1e-6)
        np.testing.assert_allclose(gradient, expected, atol=1e-4)  # logarithms of 1e9 cost the reference 1e-5
