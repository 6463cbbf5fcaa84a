"""Infeasible targets, empty targets, no frames, and scores that are not finite."""

from dataclasses import replace

import numpy as np
import pytest
from oracles import repeats
from support.backends import Backend
from support.batches import FRAMEWORK_FREE, Batch, draw, problem_of

import ctckit


def four() -> Batch:
    """Samples: feasible; one frame too few for a repeat; no tokens; feasible with frames to spare."""
    batch = draw(1, 6, 4, 5, 4)
    targets = np.array([[1, 2, 3, 4], [1, 1, 2, 2], [1, 1, 1, 1], [3, 3, 0, 0]])
    return replace(batch, targets=targets, frames=np.array([6, 5, 4, 5]), lengths=np.array([4, 4, 0, 2]))


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_infeasible(implementation: tuple[Backend, str], from_logits: bool) -> None:
    """Too few frames: score -inf and a gradient of exactly 0; with one frame more, neither."""
    backend, dtype = implementation
    targets = ([1], [1, 1], [1, 2, 2, 3], [2, 2, 2, 2], list(range(1, 5)) * 5)
    for target in backend.some(targets, [[1], [1, 2, 2]]):
        needed = len(target) + repeats(target)
        for frames in range(needed + 2):
            batch = Batch(
                draw(frames, needed + 2, 1, 5, 0).scores,
                np.array([target]),
                np.array([frames]),
                np.array([len(target)]),
            )
            score, gradient = backend.score_and_gradient(problem_of(batch, dtype, from_logits=from_logits))
            assert (score[0] == -np.inf) == (frames < needed)
            assert gradient.any() == (frames >= needed)
            assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_infeasible_among_feasible(instruction_set: str, dtype: str) -> None:
    batch = four()
    scores = batch.scores.astype(dtype)
    losses = ctckit.ctc_loss(scores, *batch.arguments, "none")
    assert np.isposinf(losses).tolist() == [False, True, False, False]
    assert ctckit.ctc_loss(scores, *batch.arguments, "sum") == np.inf
    assert ctckit.ctc_loss(scores, *batch.arguments, "mean") == np.inf
    for how in ("none", "sum", "mean"):
        for zero_infinity in (False, True):
            grad = ctckit.ctc_loss_and_grad(scores, *batch.arguments, how, zero_infinity).grad
            assert not grad[:, 1].any()
            assert np.isfinite(grad).all()
            assert (np.abs(grad[0, [0, 2, 3]]).max(axis=1) > 0).all()


@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_zero_infinity(instruction_set: str, dtype: str) -> None:
    """An infeasible sample costs 0, and still counts in the mean."""
    batch = four()
    scores = batch.scores.astype(dtype)
    plain = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none")
    zeroed = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none", True)
    assert np.array_equal(zeroed.loss, np.where(np.isinf(plain.loss), 0, plain.loss))
    assert np.array_equal(zeroed.grad, plain.grad)
    losses = zeroed.loss.astype(np.float64)
    step = float(np.finfo(np.float64 if dtype == "float64" else np.float32).eps)
    assert ctckit.ctc_loss(scores, *batch.arguments, "sum", True) == pytest.approx(losses.sum(), rel=2 * step)
    mean = (losses / [4, 4, 1, 2]).sum() / 4
    assert ctckit.ctc_loss(scores, *batch.arguments, "mean", True) == pytest.approx(mean, rel=2 * step)


@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_reductions_scale_the_gradient(instruction_set: str, dtype: str) -> None:
    batch = four()
    scores = batch.scores.astype(dtype)
    each = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none").grad
    assert np.array_equal(ctckit.ctc_loss_and_grad(scores, *batch.arguments, "sum").grad, each)
    mean = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "mean").grad
    # Divided by target length (at least 1) and by N = 4: powers of two, so nothing is rounded.
    assert np.array_equal(mean, each / np.array([16, 16, 4, 8], dtype)[:, None])


def test_empty_target(implementation: tuple[Backend, str]) -> None:
    """One state, the blank: the only path is blank throughout."""
    backend, dtype = implementation
    scores = np.round(draw(2, 11, 3, 4, 0, ragged=False).scores * 8) / 8  # exact in every dtype, and so are their sums
    for blank in (0, 3):
        batch = Batch(scores, np.empty((3, 0), int), np.array([11, 1, 0]), np.zeros(3, int), blank)
        score, gradient = backend.score_and_gradient(problem_of(batch, dtype, from_logits=False))
        # Scores are sums of float64 offsets and the logarithm of a mantissa that is 1 up to rounding.
        np.testing.assert_allclose(score, [scores[:, 0, blank].sum(), scores[0, 1, blank], 0], rtol=0, atol=1e-14)
        expected = np.zeros_like(gradient)
        expected[:, 0, blank] = expected[0, 1, blank] = -1
        assert np.array_equal(gradient, expected)


@pytest.mark.parametrize(
    "targets", [np.empty((2, 0), int), np.array([], int), [], [[], []]], ids=["(2, 0)", "(0,)", "[]", "[[], []]"]
)
def test_forms_of_no_tokens_at_all(instruction_set: str, targets: object) -> None:
    log_probs = np.log(np.full((3, 2, 4), 0.25))
    losses = ctckit.ctc_loss(log_probs, targets, [3, 2], [0, 0], reduction="none")
    np.testing.assert_allclose(losses, [3 * np.log(4), 2 * np.log(4)], rtol=1e-15)
    assert ctckit.ctc_loss(log_probs[:, 0], [], 3, 0) == losses[0]  # mean divides by at least 1


@pytest.mark.parametrize("axis", [0, 3])
@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_no_frames(instruction_set: str, axis: int, dtype: str) -> None:
    """No frames: the empty target costs 0, any other +inf; also when the axis itself has none."""
    scores = np.full((axis, 2, 3), np.nan, dtype)
    for from_logits in (False, True):
        loss, grad = ctckit.ctc_loss_and_grad(
            scores, [[1], [1]], [0, 0], [0, 1], reduction="none", from_logits=from_logits
        )
        assert loss.tolist() == [0, np.inf]
        assert not np.signbit(loss).any()
        assert grad.shape == scores.shape
        assert not grad.any()
        gamma = ctckit.posteriors(scores, [[1], [1]], [0, 0], [0, 1], from_logits=from_logits)
        assert gamma.score.tolist() == [0, -np.inf]
        assert gamma.states.shape == (axis, 2, 3)
        assert not gamma.states.any()


def test_best_paths_of_what_has_none(pathfinder: Backend) -> None:
    """Samples: feasible; too few frames and NaN; NaN; a frame that kills all paths; no tokens; no tokens, no frames."""
    scores = draw(9, 4, 6, 4, 2, ragged=False).scores
    scores[0, 1, 0] = scores[2, 2, 3] = np.nan
    scores[1, 3] = -np.inf
    scores[3, 4] = np.inf  # not read
    targets = np.array([[1, 2], [1, 1], [1, 2], [1, 2], [0, 0], [0, 0]])
    batch = Batch(scores, targets, np.array([4, 2, 4, 4, 3, 0]), np.array([2, 2, 2, 2, 0, 0]))
    found = pathfinder.best_path(problem_of(batch, "float64", from_logits=False))
    assert np.isfinite(found.score).tolist() == [True, False, False, False, True, True]
    assert np.isnan(found.score).tolist() == [False, False, True, False, False, False]
    assert (found.states[0] >= 0).all()
    assert found.states[1:].tolist() == [[-1] * 4, [-1] * 4, [-1] * 4, [0, 0, 0, -1], [-1] * 4]
    assert found.score[5] == 0


# --- scores that are not finite -------------------------------------------------------------------------------------

NO_NUMBER = [np.nan, np.inf]


@pytest.mark.interpreter(spread=[2000.0], from_logits=[True], bad=[np.nan])
@pytest.mark.parametrize("bad", NO_NUMBER)
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("spread", [2.0, 2000.0], ids=["tame", "steep"])
def test_nan_anywhere_poisons_its_sample_only(
    implementation: tuple[Backend, str], from_logits: bool, bad: float, spread: float
) -> None:
    """At every frame and class, in the target or not, on a path or not."""
    backend, dtype = implementation
    batch = draw(3, 10, 3, 5, 3, spread=spread, ragged=False)
    batch = replace(batch, targets=np.array([[1, 2, 3], [1, 2, 2], [3, 2, 1]]), frames=np.array([10, 9, 10]))
    clean_score, clean = backend.score_and_gradient(problem_of(batch, dtype, from_logits=from_logits))
    others = [0, 2]
    for t in range(9) if not backend.exact else (0, 4, 8):
        for c in range(5):
            if (t, c) not in backend.some([(t, c)], [(0, 4), (8, 0)]):
                continue
            scores = batch.scores.copy()
            scores[t, 1, c] = bad
            problem = problem_of(batch.with_scores(scores), dtype, from_logits=from_logits)
            score, gradient = backend.score_and_gradient(problem)
            assert np.isnan(score[1]), (t, c)
            assert np.isnan(backend.total(problem)[1]), (t, c)
            assert np.isnan(gradient[:9, 1]).all(), (t, c)
            assert not gradient[9, 1].any(), (t, c)
            assert np.array_equal(score[others], clean_score[others])
            assert np.array_equal(gradient[:, others], clean[:, others])


@pytest.mark.parametrize("bad", NO_NUMBER)
def test_nan_where_minus_infinity_has_closed_every_path(backend: Backend, bad: float) -> None:
    """The target is feasible by its length, so NaN decides the result, not the zero probabilities."""
    scores = draw(4, 6, 1, 4, 2).scores
    scores[2, 0, :3] = -np.inf
    scores[4, 0, 1] = bad
    batch = Batch(scores, np.array([[1, 2]]), np.array([6]), np.array([2]))
    score, gradient = backend.score_and_gradient(problem_of(batch, "float64", from_logits=False))
    assert np.isnan(score[0])
    assert np.isnan(gradient).all()


@pytest.mark.parametrize("bad", NO_NUMBER)
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_infeasible_wins_over_nan(implementation: tuple[Backend, str], from_logits: bool, bad: float) -> None:
    backend, dtype = implementation
    scores = draw(5, 4, 1, 4, 3).scores
    scores[1, 0, :] = bad
    batch = Batch(scores, np.array([[2, 2, 2]]), np.array([4]), np.array([3]))
    score, gradient = backend.score_and_gradient(problem_of(batch, dtype, from_logits=from_logits))
    assert score[0] == -np.inf
    assert not gradient.any()


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_nan_in_public_results(instruction_set: str, from_logits: bool) -> None:
    batch = draw(6, 7, 3, 5, 2, ragged=False)
    batch.scores[3, 1, 4] = np.nan
    for zero_infinity in (False, True):  # NaN is not an infinity to be zeroed
        losses = ctckit.ctc_loss(batch.scores, *batch.arguments, "none", zero_infinity, from_logits=from_logits)
        assert np.isnan(losses).tolist() == [False, True, False]
        for how in ("sum", "mean"):
            loss = ctckit.ctc_loss(batch.scores, *batch.arguments, how, zero_infinity, from_logits=from_logits)
            assert np.isnan(loss)
    gamma = ctckit.posteriors(batch.scores, *batch.arguments, from_logits=from_logits)
    assert np.isnan(gamma.score).tolist() == [False, True, False]
    assert np.isnan(gamma.states[:, 1]).all()
    assert np.isfinite(gamma.states[:, [0, 2]]).all()


@pytest.mark.interpreter(from_logits=[True])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_padding_is_never_read(implementation: tuple[Backend, str], from_logits: bool) -> None:
    """Values beyond input_lengths and target_lengths change no bit, and frames there have gradient 0."""
    backend, dtype = implementation
    (frames,) = backend.some([21], [8])
    batch = draw(7, frames, 4, 6, 5)
    assert (batch.frames < frames).any()
    assert (batch.lengths < 5).any()
    clean_score, clean = backend.score_and_gradient(problem_of(batch, dtype, from_logits=from_logits))
    paddings = [(np.nan, -100), (np.inf, 0), (-np.inf, 6), (1e4, 2**31 - 1), (np.nan, -(2**31))]
    for frame_padding, token_padding in backend.some(paddings, paddings[-1:]):
        scores, targets = batch.scores.copy(), batch.targets.copy()
        for n in range(4):
            scores[batch.frames[n] :, n] = frame_padding
            targets[n, batch.lengths[n] :] = token_padding
        padded = replace(batch, scores=scores, targets=targets)
        score, gradient = backend.score_and_gradient(problem_of(padded, dtype, from_logits=from_logits))
        assert np.array_equal(score, clean_score)
        assert np.array_equal(gradient, clean)
    for n in range(4):
        assert not clean[batch.frames[n] :, n].any()


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_nothing_of_the_callers_is_modified(instruction_set: str, dtype: str, from_logits: bool) -> None:
    batch = draw(8, 21, 4, 6, 5)
    batch.scores[20, 1:] = np.nan
    arrays = [batch.scores.astype(dtype), batch.targets, batch.frames, batch.lengths]
    before = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    ctckit.ctc_loss(*arrays, from_logits=from_logits)
    ctckit.ctc_loss_and_grad(*arrays, from_logits=from_logits)
    ctckit.posteriors(*arrays, from_logits=from_logits)
    for array, copy in zip(arrays, before, strict=True):
        assert array.tobytes() == copy.tobytes()
