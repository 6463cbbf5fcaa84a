"""Any strides, any form of targets and lengths: the same bits as from a plain contiguous array."""

from collections.abc import Callable

import numpy as np
import pytest
from support.batches import FRAMEWORK_FREE, Batch, draw
from support.layouts import LAYOUTS, Layout

import ctckit
from ctckit.kernels import native

BATCH = draw(1, 21, 4, 9, 5)


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_scores(instruction_set: str, layout: Layout, dtype: str, from_logits: bool) -> None:
    plain = BATCH.scores.astype(dtype)
    laid_out = layout(plain)
    assert np.array_equal(laid_out, plain)
    before = laid_out.copy()
    expected = ctckit.ctc_loss_and_grad(plain, *BATCH.arguments, "none", from_logits=from_logits)
    found = ctckit.ctc_loss_and_grad(laid_out, *BATCH.arguments, "none", from_logits=from_logits)
    assert np.array_equal(found.loss, expected.loss)
    assert np.array_equal(found.grad, expected.grad)
    alone = ctckit.ctc_loss(laid_out, *BATCH.arguments, "none", from_logits=from_logits)
    assert np.array_equal(alone, expected.loss)
    expected_gamma = ctckit.posteriors(plain, *BATCH.arguments, from_logits=from_logits)
    gamma = ctckit.posteriors(laid_out, *BATCH.arguments, from_logits=from_logits)
    if from_logits:  # NumPy's own log_softmax adds up a row in an order that depends on its strides
        np.testing.assert_allclose(gamma.states, expected_gamma.states, rtol=0, atol=64 * np.finfo(np.float64).eps)
    else:
        assert np.array_equal(gamma.states, expected_gamma.states)
        assert np.array_equal(gamma.classes, expected_gamma.classes)
    assert np.array_equal(laid_out, before)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_reaches_the_kernels_is_aligned(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """C++ must not read a float at an address that is not a multiple of its size, though x86 allows it."""
    seen = []
    monkeypatch.setattr(native.extension, "sums", lambda scores, *rest: seen.append(scores))
    ctckit.ctc_loss(layout(BATCH.scores), *BATCH.arguments)
    (scores,) = seen
    assert scores.flags.aligned
    assert scores.dtype.isnative
    assert not any(stride % scores.itemsize for stride in scores.strides)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_broadcast_scores(instruction_set: str, axis: int, dtype: str) -> None:
    """A stride of 0: one row of memory for all frames, all samples or all classes."""
    row = np.take(BATCH.scores, [0], axis=axis).astype(dtype)
    broadcast = np.broadcast_to(row, BATCH.scores.shape)
    assert broadcast.strides[axis] == 0
    for from_logits in (False, True):
        expected = ctckit.ctc_loss_and_grad(broadcast.copy(), *BATCH.arguments, "none", from_logits=from_logits)
        found = ctckit.ctc_loss_and_grad(broadcast, *BATCH.arguments, "none", from_logits=from_logits)
        assert np.array_equal(found.loss, expected.loss)
        assert np.array_equal(found.grad, expected.grad)


def test_broadcast_samples_agree(instruction_set: str) -> None:
    scores = np.broadcast_to(BATCH.scores[:, :1], (21, 3, 9))
    losses = ctckit.ctc_loss(scores, [[1, 2, 2]] * 3, [21] * 3, [3] * 3, reduction="none")
    assert len(set(losses)) == 1


def test_single_sample_is_a_batch_of_one(instruction_set: str) -> None:
    for n in range(4):
        scores, target = BATCH.sample(n)
        batched = ctckit.ctc_loss_and_grad(scores[:, None], [target], [len(scores)], [len(target)])
        for layout in (np.asarray, np.asfortranarray, lambda x: np.ascontiguousarray(x[::-1])[::-1]):
            single = ctckit.ctc_loss_and_grad(layout(scores), target, len(scores), len(target))
            assert single.loss == batched.loss
            assert np.array_equal(single.grad, batched.grad[:, 0])
        gamma = ctckit.posteriors(scores, target, len(scores), len(target))
        many = ctckit.posteriors(scores[:, None], [target], [len(scores)], [len(target)])
        assert np.array_equal(gamma.states, many.states[:, 0])
        assert np.array_equal(gamma.classes, many.classes[:, 0])
        assert gamma.score == many.score[0]


def concatenated(batch: Batch) -> np.ndarray:
    return np.concatenate([batch.targets[n, :length] for n, length in enumerate(batch.lengths)])


INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_any_integer_dtype(dtype: str) -> None:
    expected = ctckit.ctc_loss_and_grad(BATCH.scores, *BATCH.arguments)
    targets, frames, lengths = (x.astype(dtype) for x in BATCH.arguments[:3])
    for form in (targets, concatenated(BATCH).astype(dtype)):
        found = ctckit.ctc_loss_and_grad(BATCH.scores, form, frames, lengths)
        assert found.loss == expected.loss
        assert np.array_equal(found.grad, expected.grad)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.tolist(),
        lambda x: tuple(x.tolist()),
        lambda x: list(x),
        lambda x: np.ascontiguousarray(x[::-1])[::-1],
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(x.dtype.newbyteorder()),
    ],
    ids=["lists", "tuples", "list of arrays", "negative strides", "every second", "byte order"],
)
def test_forms_of_targets_and_lengths(form: Callable[[np.ndarray], object]) -> None:
    expected = ctckit.ctc_loss_and_grad(BATCH.scores, *BATCH.arguments)
    targets, frames, lengths = (form(x) for x in BATCH.arguments[:3])
    found = ctckit.ctc_loss_and_grad(BATCH.scores, targets, frames, lengths)
    assert found.loss == expected.loss
    assert np.array_equal(found.grad, expected.grad)
    assert ctckit.ctc_loss(BATCH.scores, form(concatenated(BATCH)), frames, lengths) == expected.loss


def test_broadcast_lengths_and_targets() -> None:
    scores = BATCH.scores
    frames, lengths = np.broadcast_to(np.int64(21), 4), np.broadcast_to(np.int32(2), 4)
    targets = np.broadcast_to(np.array([3, 3]), (4, 2))
    expected = ctckit.ctc_loss(scores, targets.copy(), [21] * 4, [2] * 4)
    assert ctckit.ctc_loss(scores, targets, frames, lengths) == expected


def test_scores_as_nested_lists() -> None:
    log_probs = [[-2.2892, -0.1069], [-1.6550, -0.2121]]
    loss, grad = ctckit.ctc_loss_and_grad(log_probs, [1], 2, 1)
    assert loss == ctckit.ctc_loss(np.array(log_probs), [1], 2, 1)
    assert grad.dtype == np.float64


@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_dtypes_of_results(dtype: str) -> None:
    real = "float64" if dtype == "float64" else "float32"
    for how in ("none", "sum", "mean"):
        loss, grad = ctckit.ctc_loss_and_grad(BATCH.scores.astype(dtype), *BATCH.arguments, how)
        assert (loss.dtype, grad.dtype) == (real, dtype)
        assert np.shape(loss) == ((4,) if how == "none" else ())
    gamma = ctckit.posteriors(BATCH.scores.astype(dtype), *BATCH.arguments)
    assert (gamma.states.dtype, gamma.classes.dtype, gamma.score.dtype) == (real, dtype, "float64")
    assert gamma.states.shape == (21, 4, 11)


def test_ml_dtypes_bfloat16() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")
    scores = BATCH.scores.astype(ml_dtypes.bfloat16)
    loss, grad = ctckit.ctc_loss_and_grad(scores, *BATCH.arguments)
    same, same_grad = ctckit.ctc_loss_and_grad(scores.astype(np.float32), *BATCH.arguments)
    assert loss == same
    assert grad.dtype == ml_dtypes.bfloat16
    assert np.array_equal(grad, same_grad.astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("dtype", FRAMEWORK_FREE)
def test_posteriors_from_logits_lose_nothing_on_the_way(instruction_set: str, dtype: str) -> None:
    """log_softmax must not be rounded to half precision before the sweep; the loss is the reference."""
    batch = draw(2, 300, 2, 30, 12, spread=4.0)
    scores = batch.scores.astype(dtype)
    gamma = ctckit.posteriors(scores, *batch.arguments, from_logits=True)
    loss, grad = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none", from_logits=True)
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    np.testing.assert_allclose(gamma.score, -loss.astype(float), rtol=8 * unit, atol=0)
    wide = scores.astype(np.float64)
    softmax = np.exp(wide - wide.max(axis=2, keepdims=True))
    softmax /= softmax.sum(axis=2, keepdims=True)
    for n, used in enumerate(batch.frames):
        difference = np.abs(softmax[:used, n] - gamma.classes[:used, n].astype(float) - grad[:used, n].astype(float))
        # Each of the two was rounded once, to at most half a unit of a number up to 1, in the scores' dtype.
        assert difference.max() <= (2.0**-11 + 2.0**-20 if dtype == "float16" else 40 * unit)
