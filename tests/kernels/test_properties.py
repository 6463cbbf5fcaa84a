"""Ladder, rung 6: what holds for any input, on inputs that hypothesis invents."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from oracles import repeats
from support.batches import Batch, draw
from support.budgets import Budget

import ctckit
from ctckit.kernels import native, reference
from ctckit.problem import ctc_problem

pytestmark = pytest.mark.usefixtures("each_instruction_set")


@pytest.fixture(params=native.instruction_sets(), scope="module")
def each_instruction_set(request: pytest.FixtureRequest):
    """By module, since hypothesis runs a test's examples inside one fixture."""
    before = native.instruction_set()
    native.use_instruction_set(request.param)
    yield
    native.use_instruction_set(before)


@pytest.fixture(autouse=True)
def settings_restored(each_instruction_set: None) -> None:
    """The switch above must outlive each test, so what conftest.py puts back is left as it is."""


@st.composite
def batches(draw_from: st.DrawFn) -> Batch:
    """Ragged batches around the sizes where lanes and tiles end; scores tame, steep, or with impossible classes."""
    frames = draw_from(st.integers(1, 40))
    classes = draw_from(st.integers(2, 20))
    longest = draw_from(st.integers(0, min(frames, 20)))
    batch = draw(
        draw_from(st.integers(0, 2**32 - 1)),
        frames,
        draw_from(st.integers(1, 4)),
        classes,
        longest,
        blank=draw_from(st.integers(0, classes - 1)),
        spread=draw_from(st.sampled_from([0.0, 0.3, 2.0, 10.0, 300.0])),
    )
    if draw_from(st.booleans()):
        rng = np.random.default_rng(draw_from(st.integers(0, 99)))
        dead = rng.random(batch.scores.shape) < 0.1
        dead[..., batch.blank] = False  # a frame of nothing but -inf has no softmax
        batch.scores[dead] = -np.inf
    return batch


DTYPES = st.sampled_from(["float64", "float32", "float16"])
FORMS = st.booleans()

# The kernels divide each frame by its own sum; what is left is the rounding of its entries, in the output's dtype:
# half a unit each, of numbers that sum to 1 (or to 2, softmax and γ together, for logits).
ROUNDING = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11}
STEP = {"float64": 0.0, "float32": 0.0, "float16": 2.0**-25}


def feasible(batch: Batch, n: int) -> bool:
    return bool(batch.frames[n] >= batch.lengths[n] + repeats(batch.sample(n)[1]))


@given(batches(), DTYPES)
def test_occupancy_sums_to_one(batch: Batch, dtype: str) -> None:
    gamma = ctckit.posteriors(batch.scores.astype(dtype), *batch.arguments)
    states, classes = gamma.states.astype(float), gamma.classes.astype(float)
    real = "float64" if dtype == "float64" else "float32"
    assert (states >= 0).all()
    for n, used in enumerate(batch.frames):
        expected = float(gamma.score[n] > -np.inf)
        assert feasible(batch, n) or not expected
        # A sum of K terms in some order and the same sum again in another, each rounding by its partial sums.
        tolerance = (4 + np.sqrt(2 * batch.lengths[n] + 1)) * ROUNDING[real]
        np.testing.assert_allclose(states[:used, n].sum(axis=1), expected, rtol=0, atol=tolerance)
        tolerance += ROUNDING[dtype] + batch.scores.shape[2] * STEP[dtype]
        np.testing.assert_allclose(classes[:used, n].sum(axis=1), expected, rtol=0, atol=tolerance)
        assert not states[used:, n].any()
        assert not classes[used:, n].any()


@given(batches(), DTYPES)
def test_gradient_of_logits_sums_to_zero(batch: Batch, dtype: str) -> None:
    """Adding a number to all logits of a frame changes nothing."""
    grad = ctckit.ctc_loss_and_grad(batch.scores.astype(dtype), *batch.arguments, "none", from_logits=True).grad
    real = "float64" if dtype == "float64" else "float32"
    classes = batch.scores.shape[2]
    tolerance = (8 + 2 * np.sqrt(classes)) * ROUNDING[real] + 2 * ROUNDING[dtype] + classes * STEP[dtype]
    np.testing.assert_allclose(grad.astype(float).sum(axis=2), 0, rtol=0, atol=tolerance)


@given(batches(), FORMS)
def test_best_is_at_most_total(batch: Batch, from_logits: bool) -> None:
    """And at least the total divided by the number of paths."""
    assume(batch.frames[0] * batch.lengths[0] < 300)
    problem = ctc_problem(batch.scores, *batch.arguments, from_logits=from_logits)
    total = native.total(problem).score
    best, path = reference.best_path(problem).score[0], reference.best_path(problem).states[0]
    paths = reference.count_paths(problem.lattice(0), int(batch.frames[0]))
    assert (best == -np.inf) == (total[0] == -np.inf)
    if best == -np.inf:
        return
    slack = Budget(batch.sample(0)[0], "float64", 2.0**-53).score(best)
    assert best <= total[0] + slack
    assert best >= total[0] - float(np.log(float(paths))) - slack
    assert (path[: batch.frames[0]] >= 0).all()


@given(batches(), DTYPES, FORMS)
def test_time_reversal(batch: Batch, dtype: str, from_logits: bool) -> None:
    """Frames and target read backwards: the same paths backwards."""
    for n in range(len(batch.frames)):
        scores, target = batch.sample(n)
        scores = scores.astype(dtype)
        there = ctckit.ctc_loss_and_grad(
            scores, target, len(scores), len(target), batch.blank, "sum", from_logits=from_logits
        )
        back = ctckit.ctc_loss_and_grad(
            scores[::-1], target[::-1], len(scores), len(target), batch.blank, "sum", from_logits=from_logits
        )
        if there.loss == np.inf:
            assert back.loss == np.inf
            continue
        held = scores.astype(np.float64)
        budget = Budget(held, dtype, 0)
        output = 2.0**-53 if dtype == "float64" else 2.0**-24  # half a unit of the last place: the loss is rounded
        assert abs(float(there.loss) - float(back.loss)) <= 2 * (
            budget.score(float(there.loss)) + output * abs(float(there.loss))
        )
        expected = there.grad[::-1].astype(float)
        assert (np.abs(back.grad.astype(float) - expected) <= 2 * budget.gradient(expected)).all()


@given(batches(), DTYPES, FORMS)
def test_batched_is_single(batch: Batch, dtype: str, from_logits: bool) -> None:
    """Bit for bit, with and without padding and the batch axis."""
    scores = batch.scores.astype(dtype)
    loss, grad = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none", from_logits=from_logits)
    concatenated = [token for n in range(len(batch.frames)) for token in batch.sample(n)[1]]
    together = ctckit.ctc_loss(
        scores, concatenated, batch.frames, batch.lengths, batch.blank, "none", from_logits=from_logits
    )
    assert np.array_equal(together, loss)
    for n, used in enumerate(batch.frames):
        target = batch.sample(n)[1]
        alone = ctckit.ctc_loss_and_grad(
            scores[:used, n], target, used, len(target), batch.blank, "none", from_logits=from_logits
        )
        assert alone.loss.shape == ()
        assert alone.loss == loss[n]
        assert np.array_equal(alone.grad, grad[:used, n])
        assert not grad[used:, n].any()


@given(batches(), DTYPES, FORMS, st.sampled_from([np.nan, np.inf, -np.inf, 1e4]), st.integers(-(2**31), 2**31 - 1))
def test_padding_is_irrelevant(batch: Batch, dtype: str, from_logits: bool, frame: float, token: int) -> None:
    plain = ctckit.ctc_loss_and_grad(batch.scores.astype(dtype), *batch.arguments, from_logits=from_logits)
    for n in range(len(batch.frames)):
        batch.scores[batch.frames[n] :, n] = frame
        batch.targets[n, batch.lengths[n] :] = token
    padded = ctckit.ctc_loss_and_grad(batch.scores.astype(dtype), *batch.arguments, from_logits=from_logits)
    assert np.array_equal(padded.loss, plain.loss)
    assert np.array_equal(padded.grad, plain.grad)


@given(batches(), st.integers(-(2**12), 2**12), st.sampled_from(["float64", "float32"]))
@example(draw(0, 9, 1, 4, 3), 4096, "float32")
def test_shift_invariance_of_logits(batch: Batch, shift: int, dtype: str) -> None:
    """On a grid where adding the shift rounds nothing, not even the gradient's bits may move."""
    grid = np.where(np.isinf(batch.scores), batch.scores, np.clip(np.round(batch.scores * 256), -(2**18), 2**18) / 256)
    scores = grid.astype(dtype)
    plain = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none", from_logits=True)
    shifted = ctckit.ctc_loss_and_grad(scores + scores.dtype.type(shift), *batch.arguments, "none", from_logits=True)
    assert np.array_equal(shifted.grad, plain.grad)
    # The shift goes into T offsets in float64 and comes out again.
    unit = 2.0**-24 if dtype == "float32" else 2.0**-52
    finite = np.isfinite(plain.loss)
    assert np.array_equal(finite, np.isfinite(shifted.loss))
    difference = np.abs(shifted.loss[finite].astype(float) - plain.loss[finite])
    assert (difference <= 2 * unit * plain.loss[finite] + batch.frames[finite] * (abs(shift) + 1024) * 2.0**-51).all()


@given(batches(), st.floats(-50, 50))
def test_log_probs_shift_the_score(batch: Batch, shift: float) -> None:
    """Log-probabilities are taken as they are: a number added to a frame is added to every path, and γ stays."""
    plain = ctckit.posteriors(batch.scores, *batch.arguments)
    moved = batch.scores.copy()
    moved[0] += shift
    shifted = ctckit.posteriors(moved, *batch.arguments)
    for n in range(len(batch.frames)):
        if plain.score[n] == -np.inf or batch.frames[n] == 0:
            assert shifted.score[n] == plain.score[n]
            continue
        budget = Budget(moved[: batch.frames[n], n], "float64", 0)
        # Adding the shift has rounded the scores themselves: half a unit of the largest.
        rounded = 2.0**-53 * (np.abs(np.where(np.isinf(moved[0, n]), 0, moved[0, n])).max() + abs(shift))
        assert abs(shifted.score[n] - plain.score[n] - shift) <= 2 * budget.score(plain.score[n]) + rounded
        assert np.abs(shifted.states[:, n] - plain.states[:, n]).max() <= 2 * budget.occupancy + 2 * rounded


@given(batches())
def test_log_softmax_changes_nothing_but_the_form(batch: Batch) -> None:
    """From logits, or from their log_softmax: one loss, one occupancy."""
    top = batch.scores.max(axis=2, keepdims=True)
    log_probs = batch.scores - top - np.log(np.exp(batch.scores - top).sum(axis=2, keepdims=True))
    fused = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, "none", from_logits=True)
    plain = ctckit.ctc_loss_and_grad(log_probs, *batch.arguments, "none")
    for n, used in enumerate(batch.frames):
        if plain.loss[n] == np.inf or used == 0:
            assert fused.loss[n] == plain.loss[n]
            continue
        budget = Budget(batch.scores[:used, n], "float64", 2.0**-53)
        assert abs(fused.loss[n] - plain.loss[n]) <= 2 * budget.score(plain.loss[n])
        difference = np.abs(fused.grad[:used, n] - np.exp(log_probs[:used, n]) - plain.grad[:used, n])
        assert difference.max() <= 2 * budget.occupancy
