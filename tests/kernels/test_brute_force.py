"""Ladder, rung 1: every backend against the enumeration of all C^T paths."""

import numpy as np
import pytest
from oracles import enumerate_ctc, log_softmax, textbook
from support.backends import Backend
from support.batches import Batch as CaseBatch
from support.batches import problem_of

from ctckit import ctc_loss, ctc_loss_and_grad, posteriors
from ctckit.problem import ctc_problem

TARGETS = [(), (1,), (2,), (1, 1), (1, 2), (2, 1), (1, 1, 1), (1, 2, 1), (1, 1, 2), (2, 2, 1, 1), (1, 2, 1, 2, 1)]
CLASSES = 3

# Sums of a few hundred numbers of order one: in float64 good to about ten units of the last place.
EXACT = {"rtol": 1e-14, "atol": 4e-15}


def relabelled(target: tuple[int, ...], blank: int) -> list[int]:
    """The target's tokens, renumbered as classes other than the blank."""
    tokens = [c for c in range(CLASSES) if c != blank]
    return [tokens[label - 1] for label in target]


def scores_of(kind: str, frames: int) -> np.ndarray:
    scores = np.random.default_rng(frames).normal(size=(frames, CLASSES)) * 2
    if kind == "unnormalised":
        return scores
    log_probs = log_softmax(scores).astype(np.float64)
    if kind == "with zeros":
        log_probs[frames // 2, 1] = -np.inf
        log_probs[0, 0] = -np.inf
    return log_probs


@pytest.mark.interpreter(blank=[1], kind=["with zeros", "logits"])
@pytest.mark.parametrize("blank", [0, 1, 2], ids=["blank first", "blank middle", "blank last"])
@pytest.mark.parametrize("kind", ["log_probs", "unnormalised", "with zeros", "logits"])
def test_all_targets_and_lengths(backend: Backend, kind: str, blank: int) -> None:
    from_logits = kind == "logits"
    compared = 0
    all_lengths, all_targets = range(1, 7), TARGETS
    for frames in backend.some(all_lengths, [1, 4], range(1, 5)):
        scores = scores_of("unnormalised" if from_logits else kind, frames)
        log_probs = log_softmax(scores).astype(np.float64) if from_logits else scores
        for target in backend.some(all_targets, [(), (1,), (1, 1), (2, 1), (1, 2, 1)], all_targets):
            labels = relabelled(target, blank)
            truth = enumerate_ctc(log_probs, labels, blank)
            batch = CaseBatch(
                scores[:, None], np.array([labels], int), np.array([frames]), np.array([len(labels)]), blank
            )
            score, gradient = backend.score_and_gradient(problem_of(batch, "float64", from_logits=from_logits))
            if truth.score == -np.inf:
                assert score[0] == -np.inf
                assert not gradient.any()
                continue
            compared += 1
            expected = (np.exp(log_probs) if from_logits else 0) - truth.classes
            np.testing.assert_allclose(score[0], truth.score, **EXACT)
            np.testing.assert_allclose(gradient[:, 0], expected, **EXACT)
            if not from_logits:
                gamma = backend.posteriors(problem_of(batch, "float64", from_logits=False))
                np.testing.assert_allclose(gamma.score[0], truth.score, **EXACT)
                np.testing.assert_allclose(gamma.classes[:, 0], truth.classes, **EXACT)
                np.testing.assert_allclose(gamma.states[:, 0], truth.states, **EXACT)
    (enough,) = backend.some([20], [2], [10])
    assert compared > enough


@pytest.mark.parametrize("blank", [0, 2])
def test_public_functions(instruction_set: str, blank: int) -> None:
    scores = scores_of("unnormalised", 5)
    labels = relabelled((1, 1, 2), blank)
    truth = enumerate_ctc(scores, labels, blank)
    normalised = enumerate_ctc(log_softmax(scores).astype(np.float64), labels, blank)
    loss, grad = ctc_loss_and_grad(scores, labels, 5, 3, blank, "sum")
    np.testing.assert_allclose(loss, -truth.score, **EXACT)
    np.testing.assert_allclose(grad, -truth.classes, **EXACT)
    np.testing.assert_allclose(ctc_loss(scores, labels, 5, 3, blank), -truth.score / 3, **EXACT)
    np.testing.assert_allclose(
        ctc_loss(scores, labels, 5, 3, blank, "sum", from_logits=True), -normalised.score, **EXACT
    )
    np.testing.assert_allclose(posteriors(scores, labels, 5, 3, blank).states, truth.states, **EXACT)
    np.testing.assert_allclose(
        posteriors(scores, labels, 5, 3, blank, from_logits=True).states, normalised.states, **EXACT
    )


@pytest.mark.interpreter(target=[(), (1, 1), (1, 2, 1)])
@pytest.mark.parametrize("target", TARGETS)
def test_best_path(pathfinder: Backend, target: tuple[int, ...]) -> None:
    for frames in pathfinder.some(range(1, 7), [1, 3, 6], range(1, 7)):
        scores = scores_of("unnormalised", frames)
        truth = enumerate_ctc(scores, target, 0)
        problem = ctc_problem(scores, list(target), frames, len(target), 0, from_logits=False)
        best = pathfinder.best_path(problem)
        if truth.count == 0:
            assert best.score[0] == -np.inf
            continue
        assert best.score[0] == pytest.approx(truth.best, rel=1e-14)
        assert truth.best_states == (tuple(best.states[0]),)


def test_best_path_among_equals_takes_the_lowest_states(pathfinder: Backend) -> None:
    truth = enumerate_ctc(np.zeros((4, 3)), (1, 2), 0)
    problem = ctc_problem(np.zeros((4, 3)), [1, 2], 4, 2, 0, from_logits=False)
    best = pathfinder.best_path(problem)
    assert (best.score[0], tuple(best.states[0])) == (0, min(truth.best_states, key=lambda states: states[::-1]))
    assert len(truth.best_states) == truth.count > 1


def test_the_oracles_agree() -> None:
    """The textbook recursion, the oracle of what is too long to enumerate, against the enumeration."""
    for frames in range(1, 7):
        log_probs = scores_of("with zeros", frames)
        for target in TARGETS:
            truth = enumerate_ctc(log_probs, target, 0)
            score, classes = textbook(log_probs, target, 0)
            np.testing.assert_allclose(score, truth.score, **EXACT)
            np.testing.assert_allclose(classes, truth.classes, **EXACT)
