"""Networks from untrained to very sure: the gradient keeps its digits where softmax and γ are both near 1."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from oracles import log_softmax, textbook_gradient
from support.backends import Backend
from support.batches import Array, Batch, decode, encode, problem_of

import ctckit
from ctckit.kernels import native
from ctckit.kernels.backend import Gradients

FRAMES, TOKENS = 60, 9
# Of the gradient's largest number. Half precision is summed in float32 and rounded once.
BUDGET = {"float64": 1e-13, "float32": 10 * 2**-23, "bfloat16": 2 * 2**-8, "float16": 2 * 2**-11}
NARROW = 3e-6  # float32 on x86-64-v2, whose registers hold four numbers: a sum over 600 classes is rounded 150 times


def sure(classes: int, nats: float, seed: int = 0) -> Batch:
    """Logits whose best classes spell the targets, and stand above noise by that many nats."""
    rng = np.random.default_rng(seed)
    scores, targets = rng.normal(size=(FRAMES, 2, classes)), rng.integers(1, classes, (2, TOKENS))
    best = np.zeros((FRAMES, 2), int)
    best[np.linspace(1, FRAMES - 2, TOKENS).astype(int)] = targets.T
    scores[np.arange(FRAMES)[:, None], np.arange(2), best] += nats
    return Batch(scores, targets, np.array([FRAMES, FRAMES]), np.array([TOKENS, TOKENS]))


def gradient_of(backend: Backend, batch: Batch, dtype: str, *, from_logits: bool, adds_softmax: bool = False) -> Array:
    problem = problem_of(batch, dtype, from_logits=from_logits)
    grad = np.zeros(problem.scores.shape, problem.scores.dtype)
    backend.totals(problem, gradients=Gradients(grad, adds_softmax=adds_softmax))
    return decode(grad)


def check(found: Array, held: Batch, dtype: str, *, from_logits: bool) -> None:
    for n in range(2):
        scores, target = held.sample(n)
        truth = textbook_gradient(scores, target, 0, from_logits=from_logits)
        expected = truth.classes if from_logits else np.exp(log_softmax(scores)).astype(float) + truth.classes
        # The oracle's own γ is rounded to float64, near 1.
        narrow = native.instruction_set() == "x86-64-v2" and dtype == "float32" and scores.shape[1] > 100
        budget = NARROW if narrow else BUDGET[dtype]
        assert np.abs(found[:, n] - expected).max() <= budget * np.abs(expected).max() + 2**-53


SURE = pytest.mark.parametrize("nats", [0, 6, 10, 14, 18])
CLASSES = pytest.mark.parametrize("classes", [12, 40, 600])  # a table of all classes; one of the labels; long rows


@CLASSES
@SURE
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_logits(instruction_set: str, dtype: str, nats: float, classes: int) -> None:
    batch = sure(classes, nats)
    found = gradient_of(Backend(instruction_set), batch, dtype, from_logits=True)
    check(found, batch.with_scores(decode(encode(batch.scores, dtype))), dtype, from_logits=True)


@CLASSES
@SURE
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_log_probs_below_a_log_softmax(instruction_set: str, dtype: str, nats: float, classes: int) -> None:
    """Rounded log-probabilities don't quite add up to 1; what is below a log_softmax is normalised once more."""
    batch = sure(classes, nats)
    batch = batch.with_scores(log_softmax(batch.scores).astype(float))
    found = gradient_of(Backend(instruction_set), batch, dtype, from_logits=False, adds_softmax=True)
    check(found, batch.with_scores(decode(encode(batch.scores, dtype))), dtype, from_logits=False)


CASES = product([False, True], ["float32", "bfloat16"], [12, 600], [10, 16])
PAIRS = (  # each two values are together in one of them; the interpreter takes seconds for each case
    (False, "float32", 12, 10),
    (False, "bfloat16", 600, 16),
    (True, "float32", 600, 16),
    (True, "bfloat16", 12, 16),
    (True, "bfloat16", 600, 10),
)


@pytest.mark.parametrize(
    ("from_logits", "dtype", "classes", "nats"),
    [pytest.param(*case, marks=() if case in PAIRS else pytest.mark.long) for case in CASES],
)
def test_on_a_gpu(from_logits: bool, dtype: str, classes: int, nats: float) -> None:
    """Or in Triton's interpreter, which truncates bfloat16."""
    pytest.importorskip("triton")
    batch = sure(classes, nats)
    if not from_logits:
        batch = batch.with_scores(log_softmax(batch.scores).astype(float))
    found = gradient_of(Backend("triton"), batch, dtype, from_logits=from_logits, adds_softmax=not from_logits)
    check(found, batch.with_scores(decode(encode(batch.scores, dtype))), dtype, from_logits=from_logits)


@pytest.mark.parametrize("classes", [12, 200])  # all at a time, and several blocks
@pytest.mark.parametrize("nats", [3, 12])
def test_sure_of_a_class_that_is_no_label_on_a_gpu(nats: float, classes: int) -> None:
    pytest.importorskip("triton")
    batch = sure(classes, nats)
    wrong = Batch(batch.scores, 1 + batch.targets % (classes - 1), batch.frames, batch.lengths)
    held = wrong.with_scores(wrong.scores.astype(np.float32).astype(float))
    check(gradient_of(Backend("triton"), held, "float32", from_logits=True), held, "float32", from_logits=True)


def test_a_loss_from_logits_is_never_below_0_on_a_gpu() -> None:
    pytest.importorskip("triton")
    nats = np.linspace(13, 18, 24)
    scores = np.stack([np.zeros((2, len(nats))), np.broadcast_to(nats, (2, len(nats)))], axis=-1)
    ones = np.ones(len(nats), int)
    batch = Batch(scores, ones[:, None], 2 * ones, ones)
    assert (Backend("triton").totals(problem_of(batch, "float32", from_logits=True)).score <= 0).all()


@pytest.mark.parametrize("name", ["reference", "portable", "triton"])
def test_the_other_backends_add_the_softmax_too(name: str) -> None:
    if name != "reference":
        pytest.importorskip("torch")
    if name == "triton":
        pytest.importorskip("triton")
    batch = sure(7, 3.0)
    batch = batch.with_scores(log_softmax(batch.scores).astype(float))
    batch.scores[4, 0] = -np.inf  # no class is possible: nothing to add, and no path
    found = gradient_of(Backend(name), batch, "float64", from_logits=False, adds_softmax=True)
    kernels = gradient_of(Backend("x86-64-v2"), batch, "float64", from_logits=False, adds_softmax=True)
    np.testing.assert_allclose(found[:, 1], kernels[:, 1], atol=1e-12)
    assert not kernels[:, 0].any()


def test_frames_without_a_possible_class(instruction_set: str) -> None:
    """All -inf is no NaN among log-probabilities, in either form of the gradient."""
    batch = sure(12, 4.0)
    batch.scores[5, 0] = -np.inf
    for adds_softmax in (False, True):
        found = gradient_of(Backend(instruction_set), batch, "float32", from_logits=False, adds_softmax=adds_softmax)
        assert not found[:, 0].any()
        assert np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize("classes", [2, 30, 300])
def test_a_loss_from_logits_is_never_below_0(instruction_set: str, classes: int) -> None:
    for seed in range(60):
        batch = sure(classes, 10 + seed / 5, seed)
        loss = ctckit.ctc_loss(batch.scores.astype(np.float32), *batch.arguments, "none", from_logits=True)
        assert (loss >= 0).all()
        assert not np.signbit(loss).any()
    logits = np.array([[[0, 17]], [[0, 17]]], np.float32)
    assert ctckit.ctc_loss(logits, [[1]], [2], [1], reduction="none", from_logits=True)[0] >= 0


@pytest.mark.parametrize("classes", [12, 600])
@pytest.mark.parametrize("nats", [8, 12, 16])
def test_the_loss_of_a_sure_network(instruction_set: str, nats: float, classes: int) -> None:
    """Its error is a rounding of 1 a frame at most, however small it is."""
    batch = sure(classes, nats)
    held = batch.with_scores(batch.scores.astype(np.float32).astype(float))
    loss = ctckit.ctc_loss(batch.scores.astype(np.float32), *batch.arguments, "none", from_logits=True)
    for n in range(2):
        scores, target = held.sample(n)
        truth = -textbook_gradient(scores, target, 0, from_logits=True).score
        assert abs(loss[n] - truth) <= 1e-6 * float(truth) + 3e-6
