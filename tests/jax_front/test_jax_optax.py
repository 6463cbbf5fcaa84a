"""The drop-in for optax's CTC loss: its own cases, and what differs on purpose."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import log_softmax
from support.batches import draw

import ctckit
import ctckit.jax
from ctckit.jax import optax as ours

LOSS = jax.jit(ours.ctc_loss, static_argnames="blank_id")
WITH_PROBS = jax.jit(ours.ctc_loss_with_forward_probs)
MEAN = jax.jit(jax.value_and_grad(lambda *given: ours.ctc_loss(*given).mean()))


def paddings(lengths, longest: int):
    return (np.arange(longest) >= np.reshape(lengths, (-1, 1))).astype(np.float32)


def test_one_frame_for_each_label() -> None:
    """optax's first case: no room for blanks, so one path."""
    size, steps, classes = 8, 50, 40
    rng = np.random.default_rng(1234)
    logits = rng.normal(size=(size, steps, classes))
    labels = rng.integers(1, classes, (size, steps))
    for s in range(1, steps):
        labels[:, s] = np.where(labels[:, s] == labels[:, s - 1], labels[:, s] % (classes - 1) + 1, labels[:, s])
    loss, blanks, tokens = WITH_PROBS(logits, np.zeros((size, steps)), labels, np.zeros((size, steps)))
    assert (blanks.shape, tokens.shape) == ((steps, size, steps + 1), (steps, size, steps))
    log_probs = log_softmax(logits).astype(float)
    want = np.take_along_axis(log_probs, labels[..., None], axis=2).sum((1, 2))
    np.testing.assert_allclose(loss, -want, rtol=1e-6)
    np.testing.assert_allclose(blanks[-1, :, 0], log_probs[:, :, 0].sum(1), rtol=1e-6)  # blanks only
    np.testing.assert_allclose(tokens[-1, :, -1], -loss, rtol=1e-6)
    np.testing.assert_allclose(blanks[-1, :, -1], -loss, rtol=1e-6)


def test_one_frame_for_each_label_and_padding() -> None:
    """optax's second case, with the gradient."""
    size, classes, steps = 5, 13, 7
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(size, steps, classes))
    labels = np.stack([rng.permutation(np.arange(1, classes))[:steps] for _ in range(size)])
    lengths = rng.integers(3, 6, size)
    padded = paddings(lengths, steps)
    mean, grad = MEAN(logits, padded, labels, padded)
    log_probs = log_softmax(logits).astype(float)
    want, slope = [], np.exp(log_probs) * (1 - padded[..., None])
    for n, length in enumerate(lengths):
        want.append(-sum(log_probs[n, t, labels[n, t]] for t in range(length)))
        slope[n, np.arange(length), labels[n, :length]] -= 1
    np.testing.assert_allclose(LOSS(logits, padded, labels, padded), want, rtol=1e-6)
    np.testing.assert_allclose(mean, np.mean(want), rtol=1e-6)
    np.testing.assert_allclose(grad, slope / size, atol=1e-7)


def test_repeats_need_blanks() -> None:
    """optax's third case."""
    labels = np.pad([[1, 2, 2, 3], [2, 3, 4, 4], [1, 1, 1, 1], [1, 1, 2, 3], [1, 1, 1, 2]], [(0, 0), (0, 2)])
    paths = [[1, 2, 0, 2, 3], [2, 3, 4, 0, 4], [1, 0, 1, 0, 1, 0, 1], [1, 0, 1, 2, 3], [1, 0, 1, 0, 1, 2]]
    frames = [len(path) for path in paths]
    logits = np.random.default_rng(3).normal(size=(5, 7, 5))
    log_probs = log_softmax(logits).astype(float)
    want = [-sum(log_probs[n, t, k] for t, k in enumerate(path)) for n, path in enumerate(paths)]
    loss = LOSS(logits, paddings(frames, 7), labels, paddings([4] * 5, 6))
    np.testing.assert_allclose(loss, want, rtol=1e-6)


def case(scattered: bool):
    """Logits (B, T, K), paddings of frames, labels, their paddings, and the used frames of each sample."""
    batch = draw(5, 14, 6, 5, 4)
    batch.lengths[1] = 0
    used = paddings(batch.frames, 14) == 0
    if scattered:
        used = np.random.default_rng(0).permuted(used, axis=1)
    logits = np.swapaxes(batch.scores, 0, 1).astype(np.float32)
    logits[~used] = np.nan
    return logits, (~used).astype(np.float32), batch.targets, paddings(batch.lengths, 4)


@pytest.mark.parametrize("scattered", [False, True])
def test_frames_are_padded_anywhere(scattered: bool) -> None:
    logits, padded, labels, label_paddings = case(scattered)
    loss, (_, grad) = LOSS(logits, padded, labels, label_paddings), MEAN(logits, padded, labels, label_paddings)
    for n in range(6):
        used = padded[n] == 0
        target = labels[n, : int((label_paddings[n] == 0).sum())]
        alone = ctckit.ctc_loss_and_grad(
            logits[n, used].astype(float), target, used.sum(), len(target), reduction="sum", from_logits=True
        )
        np.testing.assert_allclose(loss[n], alone.loss, rtol=1e-6)
        np.testing.assert_allclose(grad[n, used], alone.grad / 6, atol=1e-6)
        assert not grad[n, ~used].any()
    as_booleans = LOSS(logits, padded == 1, labels, label_paddings == 1)
    np.testing.assert_array_equal(as_booleans, loss)


THEIRS = jax.jit(optax.ctc_loss_with_forward_probs)


@pytest.mark.parametrize("scattered", [False, True])
def test_against_optax(scattered: bool) -> None:
    logits, *given = case(scattered)
    given = np.nan_to_num(logits), *given
    want = THEIRS(*given)
    found = WITH_PROBS(*given)
    np.testing.assert_allclose(found[0], want[0], rtol=1e-5)
    lengths = (given[3] == 0).sum(1)
    for mine, other, more in zip(found[1:], want[1:], (1, 0), strict=True):
        for n, length in enumerate(lengths):  # what optax holds for padded labels means nothing
            a, b = mine[:, n, : length + more], other[:, n, : length + more]
            np.testing.assert_allclose(a[a > -1e4], b[a > -1e4], rtol=1e-4)
            assert (b[a <= -1e4] <= -9e4).all()


def test_what_cannot_be_reached() -> None:
    logits = np.zeros((1, 3, 3), np.float32)
    given = logits, np.zeros((1, 3)), np.array([[1, 1, 2]]), np.zeros((1, 3))
    loss, grad = MEAN(*given)
    assert float(loss) == 1e5
    assert not grad.any()
    assert float(ours.ctc_loss(*given, log_epsilon=-50.0)[0]) == 50


def test_blank_by_id() -> None:
    logits = np.random.default_rng(0).normal(size=(1, 6, 4)).astype(np.float32)
    given = np.zeros((1, 6)), np.array([[0, 2]]), np.zeros((1, 2))
    want = ctckit.ctc_loss(logits[0], [0, 2], 6, 2, 3, "sum", from_logits=True)
    np.testing.assert_allclose(LOSS(logits, *given, blank_id=3)[0], want, rtol=1e-6)


def test_forward_variables_are_differentiable() -> None:
    logits, *given = case(False)
    given = np.nan_to_num(logits), *given

    def last(logits):
        return ours.ctc_loss_with_forward_probs(logits, *given[1:])[1][-1, 0, -1]

    found, slopes = jax.jit(jax.grad(last))(given[0]), MEAN(*given)[1]
    np.testing.assert_allclose(found[0], -6 * slopes[0], atol=1e-5)
    assert not found[1:].any()


@pytest.mark.parametrize(
    ("which", "change", "said"),
    [
        (1, np.full((6, 14), 0.5), r"logit_paddings\[0, 0\] = 0.5: expected 0 or 1"),
        (1, np.zeros((6, 13)), r"logit_paddings has shape \(6, 13\): expected \(6, 14\)"),
        (3, np.eye(6, 4), r"label_paddings\[0, 1\] = 0.0 after padding: .* move the padding"),
    ],
)
def test_wrong_paddings(which: int, change: np.ndarray, said: str) -> None:
    given = [*case(False)]
    given[which] = change
    with pytest.raises(ctckit.CTCError, match=said):
        ours.ctc_loss(*given)


GOOD = {
    "logits": np.zeros((3, 14, 6), np.float32),
    "logit_paddings": np.zeros((3, 14)),
    "labels": np.array([[1, 2, 3, 4]] * 3),
    "label_paddings": np.zeros((3, 4)),
}
CLASSES = "logits has C=6 classes (0..5), blank_id=0"


def labelled(**changed: int):
    """The labels above, with others in the second sample."""
    labels = GOOD["labels"].copy()
    for place, label in changed.items():
        labels[1, int(place[1:])] = label
    return {"labels": labels}


# What is changed in the call above, and what the message must say: its beginning, and parts.
BAD = {
    "not a class": (labelled(_2=9), ["labels[1, 2] = 9 is not a class", CLASSES]),
    "several": (labelled(_1=9, _2=8), ["labels[1, 1] = 9 is not a class, nor is 1 more", CLASSES]),
    "below 0": (labelled(_1=-1), ["labels[1, 1] = -1 is", CLASSES, "mask padding with label_paddings"]),
    "the blank": (labelled(_2=0), ["labels[1, 2] = 0 is the blank", "pass blank_id=5"]),
    "another blank": (
        {"blank_id": 3},
        ["labels[0, 2] = 3 is the blank", "pass the blank's index as blank_id= (now 3)"],
    ),
    "padding": (
        labelled(_3=-1),
        ["labels[1, 3] = -1 is not a class", CLASSES, "label_paddings[1, 3] = 0", "1 in label_paddings where labels"],
    ),
    "padding by blanks": (labelled(_3=0), ["labels[1, 3] = 0 is the blank", "label_paddings[1, 3] = 0"]),
    "no such blank": ({"blank_id": 6}, ["blank_id = 6 is not a class: logits has C=6"]),
    "no number": ({"blank_id": "no"}, ["blank_id = 'no' has type str"]),
    "one sample": ({"logits": GOOD["logits"][0]}, ["logits has shape (14, 6): expected (N, T, C)", "logits[None]"]),
    "one target": ({"labels": np.ones(4, int)}, ["labels has shape (4,)", "labels[None]"]),
    "other rows": (
        {"labels": np.ones((2, 4), int), "label_paddings": np.zeros((2, 4))},
        ["labels has shape (2, 4): expected (3, S)", "one row for each sample"],
    ),
    "floats": ({"labels": jnp.ones((3, 4))}, ["labels has dtype float32", "labels.astype"]),
    "exchanged": (
        {"logits": np.zeros((3, 14, 6), int), "labels": jnp.ones((3, 4))},
        ["logits has shape (3, 14, 6) and labels shape (3, 4)", "pass logits, logit_paddings, labels, label_paddings"],
    ),
}


@pytest.mark.parametrize("call", [ours.ctc_loss, LOSS], ids=["eager", "jit"])
@pytest.mark.parametrize("name", BAD)
def test_errors_name_what_was_given(name: str, call) -> None:
    change, parts = BAD[name]
    with pytest.raises(Exception, match=re.escape(parts[0])) as caught:  # jax's own inside of jit
        jax.block_until_ready(call(**GOOD | change))
    message = str(caught.value)
    assert all(part in message for part in parts)
    assert not {"targets", "input_lengths", "target_lengths", "blank="} & {*re.findall(r"\w+=?", message)}


def test_faults_name_what_was_given() -> None:
    with pytest.raises(ctckit.CTCError) as caught:
        ours.ctc_loss(**GOOD | labelled(_1=-1))
    fault = caught.value.fault
    assert (fault.argument, fault.position, fault.value) == ("labels", (1, 1), -1)
    assert fault.message("zh").endswith("blank_id=0；请用 label_paddings 排除填充")


def test_fractions_inside_of_jit_give_nan() -> None:
    logits, padded, *labels = case(False)
    padded[2, 3] = 0.25
    assert np.isnan(LOSS(logits, padded, *labels)).tolist() == [n == 2 for n in range(6)]


def test_jnp_is_enough() -> None:
    given = [jnp.asarray(each) for each in case(False)]
    np.testing.assert_array_equal(ours.ctc_loss(*given), LOSS(*given))
