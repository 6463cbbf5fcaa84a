"""Paths that lie below what the kernels' scaled floats hold: finite, with their gradient, wherever float64 is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracles import textbook_gradient
from support.batches import DTYPES, Array, Batch, decode, encode, problem_of

import ctckit
from ctckit.kernels import native
from ctckit.kernels.backend import Gradients

T, S = 40, 12


def deep(step: float) -> Batch:
    """All tokens cost that many nats a frame; one sample of the two is ordinary."""
    scores = np.zeros((T, 2, 4))
    scores[:, 0, 1:] = -step * np.arange(1, 4)
    return Batch(scores, np.tile([1, 2, 3], (2, S // 3)), np.array([T, T - 5]), np.array([S, S - 3]))


CASES: dict[str, tuple[Array, list[int], bool]] = {
    "every frame": (np.where(np.arange(3) > 0, -1e6, 0.0) * np.ones((200, 1)), [1, 2] * 100, False),
    "one frame of logits": (np.array([[3e8, 0.0], [3e8, 0.0]]), [1], True),
    "exploded": (np.array([[1e30, 0.0, -1e30]] * 4), [2, 1], True),
    "two kinds of paths": (np.array([[-3e8, 0.0, -1.0], [-1.0, -5e8, -4e8], [0.0, -3e8, -3e8]]), [1], False),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient(instruction_set: str, case: str, dtype: str) -> None:
    scores, target, from_logits = CASES[case]
    held = scores.astype(dtype).astype(float)
    truth = textbook_gradient(held, target, 0, from_logits=from_logits)
    assert np.isfinite(truth.score)
    loss, grad = ctckit.ctc_loss_and_grad(
        held.astype(dtype), target, len(held), len(target), reduction="sum", from_logits=from_logits
    )
    np.testing.assert_allclose(loss, -float(truth.score), rtol=1e-6 if dtype == "float32" else 1e-14)
    np.testing.assert_allclose(grad, truth.classes, atol=2e-7 * max(1, abs(float(truth.score)) / 1e9))
    (path,) = ctckit.forced_align(held.astype(dtype), target, from_logits=from_logits)
    assert path.score <= -loss * (1 - 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_and_dtypes(instruction_set: str, dtype: str) -> None:
    """Each sample's numbers are its own, in every dtype."""
    batch = deep(2e4 if dtype == "float16" else 2e7)
    problem = problem_of(batch, dtype, from_logits=False)
    grad = np.zeros(problem.scores.shape, problem.scores.dtype)
    weights = np.array([2.0, -1.0])
    totals = native.total(problem, weights=weights, gradients=Gradients(grad))
    held = batch.with_scores(decode(encode(batch.scores, dtype)))
    for n in range(2):
        truth = textbook_gradient(*held.sample(n), 0, from_logits=False)
        np.testing.assert_allclose(totals.score[n], float(truth.score), rtol=1e-6)
        used = batch.frames[n]
        np.testing.assert_allclose(
            decode(grad)[:used, n], weights[n] * truth.classes, atol=2e-2 if "16" in dtype else 1e-5
        )
        assert not decode(grad)[used:, n].any()


def test_posteriors_and_confidence(instruction_set: str) -> None:
    batch = deep(2e7)
    found = ctckit.posteriors(batch.scores, *batch.arguments)
    assert found.status.tolist() == [0, 0]
    np.testing.assert_allclose(found.states[:T, 0].sum(axis=1), 1, rtol=1e-6)
    for alignment in ctckit.forced_align(batch.scores, *batch.arguments):
        assert (alignment.confidence > 0).all()


def test_impossible_stays_impossible(instruction_set: str) -> None:
    batch = deep(2e7)
    batch.scores[3, 0, :] = -np.inf
    loss, grad = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, reduction="none")
    assert loss[0] == np.inf
    assert not grad[:, 0].any()
    assert np.isfinite(loss[1])


@pytest.mark.parametrize("how", ["eager", "no gradient"])
def test_in_torch(how: str) -> None:
    torch: Any = pytest.importorskip("torch")
    import ctckit.torch

    logits = torch.tensor([[[3e8, 0.0]], [[3e8, 0.0]]], requires_grad=how == "eager")
    loss = ctckit.torch.ctc_loss(logits, torch.tensor([[1]]), [2], [1], from_logits=True)
    assert loss.item() == 3e8
    if how == "eager":
        loss.backward()
        assert logits.grad.tolist() == [[[0.5, -0.5]], [[0.5, -0.5]]]  # the token in one of two frames
