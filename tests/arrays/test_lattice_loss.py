"""Loss, posteriors and alignment of lattices on arrays, against the enumeration of their paths."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from oracles import Summed, log_softmax
from support.batches import Array, draw
from support.lattices import CLASSES, KINDS, enumerated

import ctckit
from ctckit import STAR, Arc, CTCError, InfeasibleError, Lattice, Status, ctc_lattice

FRAMES = 5
EXACT = {"rtol": 1e-11, "atol": 1e-12}  # of numbers of order 10, sums of some hundred terms in float64


class Given:
    """A call with everything that it may hold, and the truth about each of its samples."""

    def __init__(self, lattices: list[Lattice], from_logits: bool, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        size, most = len(lattices), max(lattice.num_states for lattice in lattices)
        self.lattices = lattices
        self.scores = rng.normal(size=(FRAMES, size, CLASSES)) * 2
        self.frames = np.r_[FRAMES, rng.integers(FRAMES - 1, FRAMES + 1, size - 1)]
        self.added = {"class_scores": rng.normal(size=CLASSES), "state_scores": rng.normal(size=(size, most))}
        self.options = {"from_logits": from_logits, **self.added}

    def truth(self, n: int) -> tuple[Summed, int]:
        options = {**self.options, "state_scores": self.added["state_scores"][n]}
        return enumerated(self.lattices[n], self.scores[: self.frames[n], n], **options)

    def weights(self, reduction: str) -> Array:
        """What each sample's loss counts."""
        if reduction != "mean":
            return np.ones(len(self.lattices))
        return 1 / np.array([max(lattice.num_tokens, 1) for lattice in self.lattices]) / len(self.lattices)


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_all_gradients(kind: str, from_logits: bool, reduction: str) -> None:
    given = Given([KINDS[kind](), KINDS["ctc"](), KINDS["scored long arcs"]()], from_logits)
    loss = ctckit.lattice_loss(given.scores, given.lattices, given.frames, reduction, **given.options)
    found = ctckit.lattice_loss_and_grad(given.scores, given.lattices, given.frames, reduction, **given.options)
    np.testing.assert_array_equal(found.loss, loss)
    weights, truths = given.weights(reduction), [given.truth(n) for n in range(3)]
    losses = np.array([-truth.score for truth, _ in truths])
    np.testing.assert_allclose(loss, losses if reduction == "none" else (weights * losses).sum(), **EXACT)
    by_classes, far = np.zeros(CLASSES), []
    for n, (truth, first_far) in enumerate(truths):
        used, k, weight = given.frames[n], given.lattices[n].num_states, weights[n]
        by_class = np.zeros((used, CLASSES))
        np.add.at(by_class.T, given.lattices[n].labels, truth.occupancy.T)
        dense = np.exp(log_softmax(given.scores[:used, n]).astype(float)) if from_logits and truth.count else 0
        np.testing.assert_allclose(found.grad[:used, n], weight * (dense - by_class), **EXACT)
        np.testing.assert_allclose(found.state_scores[n, :k], -weight * truth.occupancy.sum(axis=0), **EXACT)
        np.testing.assert_allclose(found.entry_costs[n, :k], weight * truth.entries, **EXACT)
        for padding in (found.grad[used:, n], found.state_scores[n, k:], found.entry_costs[n, k:]):
            assert not padding.any()
        by_classes -= weight * by_class.sum(axis=0)
        far.append(-weight * truth.taken[first_far:])
    np.testing.assert_allclose(found.class_scores, by_classes, **EXACT)
    np.testing.assert_allclose(found.long_arc_scores, np.concatenate(far), **EXACT)


def test_one_sample_is_a_batch_of_one() -> None:
    given = Given([KINDS["scored long arcs"]()], from_logits=True)
    options = {**given.options, "state_scores": given.added["state_scores"][0]}
    for lattices in (given.lattices[0], given.lattices):
        for frames in (None, FRAMES, [FRAMES]):
            alone = ctckit.lattice_loss_and_grad(given.scores[:, 0], lattices, frames, "none", **options)
            batch = ctckit.lattice_loss_and_grad(given.scores, given.lattices, given.frames, "none", **given.options)
            assert alone.loss.shape == ()
            assert alone.loss == batch.loss[0]
            np.testing.assert_array_equal(alone.grad, batch.grad[:, 0])
            np.testing.assert_array_equal(alone.class_scores, batch.class_scores)
            np.testing.assert_array_equal(alone.state_scores, batch.state_scores[0])
            np.testing.assert_array_equal(alone.entry_costs, batch.entry_costs[0])
            np.testing.assert_array_equal(alone.long_arc_scores, batch.long_arc_scores)


def test_one_lattice_for_all_and_all_frames() -> None:
    lattice, scores = KINDS["optional and costs"](), np.random.default_rng(1).normal(size=(FRAMES, 3, CLASSES))
    shared = ctckit.lattice_loss_and_grad(scores, lattice)
    for other in (
        ctckit.lattice_loss_and_grad(scores, [lattice] * 3, [FRAMES] * 3),
        ctckit.lattice_loss_and_grad(scores, (lattice, KINDS["optional and costs"](), lattice)),
    ):
        for ours, theirs in zip(shared, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_class_of_minus_infinity_is_forbidden() -> None:
    """What is left is the lattice without the states of that class."""
    scores = np.random.default_rng(2).normal(size=(FRAMES, CLASSES))
    without_blank = np.where(np.arange(CLASSES) == 0, -np.inf, 0)
    lattice = ctc_lattice([1, 2, 3])
    found = ctckit.lattice_loss_and_grad(scores, lattice, class_scores=without_blank, from_logits=True)
    expected = ctckit.lattice_loss_and_grad(scores, lattice.without_blank(), from_logits=True)
    np.testing.assert_allclose(found.loss, expected.loss, **EXACT)
    np.testing.assert_allclose(found.grad, expected.grad, **EXACT)
    assert found.class_scores[0] == 0
    impossible = np.where(np.arange(CLASSES) == 2, -np.inf, 0)
    found = ctckit.lattice_loss_and_grad(scores, lattice, class_scores=impossible, from_logits=True)
    assert found.loss == np.inf
    assert not any(np.any(gradient) for gradient in found[1:])
    assert ctckit.posteriors(scores, lattices=lattice, class_scores=impossible).status == Status.IMPOSSIBLE


def test_a_sample_without_a_path() -> None:
    scores = np.zeros((2, 2, CLASSES))
    lattices = [ctc_lattice([1, 1]), ctc_lattice([1])]
    assert ctckit.lattice_loss(scores, lattices, reduction="none")[0] == np.inf
    assert ctckit.lattice_loss(scores, lattices, reduction="none", zero_infinity=True)[0] == 0
    assert ctckit.lattice_loss(scores, lattices) == np.inf
    both = ctckit.lattice_loss_and_grad(scores, lattices, zero_infinity=True, from_logits=True)
    assert both.loss == ctckit.lattice_loss(scores[:, 1], lattices[1], from_logits=True) / 2
    assert not both.grad[:, 0].any()
    assert not both.entry_costs[0].any()
    assert both.grad[:, 1].any()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_dtypes(dtype: str) -> None:
    """Computed in float32, rounded once: at most three bits of float32 in a loss, the last one in a gradient."""
    given = Given([KINDS["star with entry cost"](), KINDS["scored long arcs"]()], from_logits=True)
    scores = given.scores.astype(dtype)
    found = ctckit.lattice_loss_and_grad(scores, given.lattices, given.frames, **given.options)
    exact = ctckit.lattice_loss_and_grad(scores.astype(float), given.lattices, given.frames, **given.options)
    assert (found.loss.dtype, found.grad.dtype) == (np.float32, dtype)
    np.testing.assert_allclose(found.loss, exact.loss, rtol=2**-21)
    np.testing.assert_allclose(found.grad, exact.grad, rtol=0, atol=np.finfo(dtype).eps)
    for name in ("class_scores", "state_scores", "entry_costs", "long_arc_scores"):
        assert getattr(found, name).dtype == np.float64
        np.testing.assert_allclose(getattr(found, name), getattr(exact, name), atol=2**-20)


@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_posteriors(kind: str, from_logits: bool) -> None:
    given = Given([KINDS[kind](), KINDS["ctc"]()], from_logits)
    found = ctckit.posteriors(given.scores, None, given.frames, lattices=given.lattices, **given.options)
    for n, lattice in enumerate(given.lattices):
        (truth, _), used, k = given.truth(n), given.frames[n], lattice.num_states
        by_class = np.zeros((used, CLASSES))
        np.add.at(by_class.T, lattice.labels, truth.occupancy.T)
        np.testing.assert_allclose(found.score[n], truth.score, **EXACT)
        np.testing.assert_allclose(found.states[:used, n, :k], truth.occupancy, **EXACT)
        np.testing.assert_allclose(found.classes[:used, n], by_class, **EXACT)
        assert not found.states[used:, n].any()
        assert not found.states[:, n, k:].any()


def test_posteriors_and_alignments_of_ctcs_lattice_are_those_of_targets() -> None:
    batch = draw(3, 12, 4, 6, 4)
    lattices = [ctc_lattice(batch.sample(n)[1]) for n in range(4)]
    rng = np.random.default_rng(4)
    added = {"class_scores": rng.normal(size=6), "state_scores": rng.normal(size=(4, 9))}
    for options in ({}, {"from_logits": True}, added, {**added, "from_logits": True}):
        by_target = ctckit.posteriors(batch.scores, *batch.arguments, **options)
        by_lattice = ctckit.posteriors(batch.scores, None, batch.frames, lattices=lattices, **options)
        for name in ("states", "classes", "score", "status"):
            np.testing.assert_array_equal(getattr(by_lattice, name), getattr(by_target, name))
        options = {**options, "on_infeasible": "mark"}
        aligned = ctckit.forced_align(batch.scores, *batch.arguments, **options)
        again = ctckit.forced_align(batch.scores, None, batch.frames, lattices=lattices, **options)
        np.testing.assert_array_equal(aligned.score, again.score)
        for ours, theirs in zip(again, aligned, strict=True):
            for name in ("target", "states", "labels", "frame_scores", "starts", "ends", "confidence", "token_scores"):
                np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert ours.spans() == theirs.spans()


@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_path(kind: str, from_logits: bool) -> None:
    for seed in range(5):
        given = Given([KINDS[kind](), KINDS["ctc"]()], from_logits, seed)
        options = {**given.options, "on_infeasible": "mark"}
        found = ctckit.forced_align(given.scores, None, given.frames, lattices=given.lattices, **options)
        for n, (alignment, lattice) in enumerate(zip(found, given.lattices, strict=True)):
            truth, _ = given.truth(n)
            np.testing.assert_allclose(alignment.score, truth.best, **EXACT)
            assert alignment.found == bool(truth.count)
            if not truth.count:
                continue
            assert tuple(alignment.states) in truth.best_states
            np.testing.assert_allclose(alignment.frame_scores.sum(), truth.best, **EXACT)
            np.testing.assert_array_equal(alignment.labels, lattice.labels[alignment.states])
            np.testing.assert_array_equal(alignment.target, lattice.target)
            for s, (start, end) in enumerate(zip(alignment.starts, alignment.ends, strict=True)):
                own = np.flatnonzero(lattice.tokens[alignment.states] == s)
                assert (start, end) == ((own[0], own[-1] + 1) if len(own) else (-1, -1))


def test_ctcs_lattice_gives_the_bits_of_the_loss() -> None:
    batch = draw(7, 20, 4, 6, 5)
    lattices = [ctc_lattice(batch.sample(n)[1]) for n in range(4)]
    for reduction in ("none", "sum", "mean"):
        for from_logits in (False, True):
            by_target = ctckit.ctc_loss_and_grad(batch.scores, *batch.arguments, reduction, from_logits=from_logits)
            found = ctckit.lattice_loss_and_grad(
                batch.scores, lattices, batch.frames, reduction, from_logits=from_logits
            )
            np.testing.assert_array_equal(found.loss, by_target.loss)
            np.testing.assert_array_equal(found.grad, by_target.grad)


def test_what_pickles_and_copies_hold() -> None:
    given = Given([KINDS["optional and costs"](), ctc_lattice([1, 1, 1])], from_logits=True)
    given.frames[1] = 2
    options = {**given.options, "on_infeasible": "mark"}
    found = ctckit.forced_align(given.scores, None, given.frames, lattices=given.lattices, **options)
    again = pickle.loads(pickle.dumps(found))
    assert again.status.tolist() == found.status.tolist() == [Status.OK, Status.INFEASIBLE]
    for ours, theirs in zip(again, found, strict=True):
        assert ours.status is theirs.status
        np.testing.assert_array_equal(ours.confidence, theirs.confidence)
        np.testing.assert_array_equal(ours.states, theirs.states)


def test_a_star_in_a_lattice() -> None:
    """It emits a class more: the most probable of each frame, less what a star costs."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(FRAMES, CLASSES)) * 2
    log_probs = log_softmax(scores).astype(float)
    lattice = ctc_lattice([1, STAR, 2]).with_costs(np.array([0, 0, 0, 1.5, 0, 0, 0]))
    wide = np.c_[log_probs, log_probs.max(axis=1) - 0.25]
    truth, _ = enumerated(
        Lattice(np.where(lattice.labels == STAR, CLASSES, lattice.labels), lattice.arcs, None, lattice.entry_costs),
        wide,
    )
    (found,) = ctckit.forced_align(scores, lattices=lattice, from_logits=True, star_cost=0.25)
    np.testing.assert_allclose(found.score, truth.best, **EXACT)
    assert tuple(found.states) in truth.best_states
    assert found.target.tolist() == [1, STAR, 2]
    assert set(found.labels) <= {0, 1, STAR, 2}


@pytest.mark.parametrize("seed", range(5))
def test_confidence_is_the_mean_occupancy_given_the_tokens_that_were_found(seed: int) -> None:
    """With entry costs and state scores, and tokens that were left out."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(8, CLASSES)) * 3
    lattice = ctc_lattice([1, 2, 3]).with_optional([0, 1, 0]).with_costs(0.7)
    added = {"class_scores": rng.normal(size=CLASSES), "state_scores": rng.normal(size=7)}
    (found,) = ctckit.forced_align(scores, lattices=lattice, from_logits=True, **added)
    kept, index = lattice.through(found.starts >= 0)
    states = {"state_scores": added["state_scores"][np.unique(index, return_index=True)[1][-kept.num_states :]]}
    gamma = ctckit.posteriors(scores, lattices=kept, from_logits=True, **{**added, **states}).states
    along = gamma[range(8), index[found.states]]
    expected = [along[a:b].mean() if a >= 0 else np.nan for a, b in zip(found.starts, found.ends, strict=True)]
    np.testing.assert_allclose(found.confidence, expected, **EXACT)


def test_status() -> None:
    scores = np.zeros((3, 4, CLASSES))
    scores[:, 2, 1], scores[1, 3, 4] = -np.inf, np.nan
    targets = [[1, 2], [1, 1], [1, 2], [1, 2]]
    frames = [3, 2, 3, 3]
    expected = [Status.OK, Status.INFEASIBLE, Status.IMPOSSIBLE, Status.NOT_FINITE]
    for options in ({"targets": targets, "target_lengths": [2] * 4}, {"lattices": [ctc_lattice(y) for y in targets]}):
        gamma = ctckit.posteriors(scores, input_lengths=frames, **options)
        found = ctckit.forced_align(scores, input_lengths=frames, on_infeasible="mark", **options)
        assert gamma.status.tolist() == found.status.tolist() == expected
        assert [alignment.status for alignment in found] == expected
        assert found.found.tolist() == [alignment.found for alignment in found] == [True, False, False, False]
        assert all(isinstance(alignment.status, Status) for alignment in found)
        with pytest.raises(InfeasibleError) as raised:
            ctckit.forced_align(scores, input_lengths=frames, **options)
        assert (raised.value.sample, raised.value.frames, raised.value.needed) == (1, 2, 3)
    alone = ctckit.posteriors(scores[:2, 1], [1, 1], 2, 2)
    assert alone.status == Status.INFEASIBLE
    assert alone.status.shape == ()


SCORES = np.zeros((4, 2, 3))
LATTICE = ctc_lattice([1, 2])
PENALTY = LATTICE.with_costs(-1e8)
MESSAGES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "count": ([LATTICE] * 3, {}, r"lattices has 3 entries: expected 2, one for each sample"),
    "none": ([], {}, r"lattices has 0 entries: expected 2"),
    "not a lattice": ([LATTICE, [1, 2]], {}, r"lattices\[1\] is a list: expected a ctckit\.Lattice"),
    "a number": (5, {}, r"lattices is a int: expected a ctckit\.Lattice"),
    "label": ([LATTICE, ctc_lattice([1, 3])], {}, r"lattices\[1\]\.labels\[3\] = 3 is not a class: expected 0\.\.2"),
    "a star": (ctc_lattice([STAR]), {}, r"lattices\.labels\[1\] = -1 is not a class"),
    "twice": ([ctc_lattice([3])] * 2, {}, r"lattices\[0\]\.labels\[1\] = 3 is not a class"),
    "frames": (LATTICE, {"input_lengths": [4, 5]}, r"input_lengths\[1\] = 5 is out of range"),
    "lengths": (LATTICE, {"input_lengths": [4]}, r"input_lengths has shape \(1,\): expected \(2,\)"),
    "classes": (LATTICE, {"class_scores": np.zeros(4)}, r"class_scores has shape \(4,\) and dtype float64: expected"),
    "dtype": (LATTICE, {"class_scores": ["a", "b", "c"]}, r"class_scores has shape \(3,\) and dtype <U1: expected num"),
    "states": (LATTICE, {"state_scores": np.zeros(5)}, r"state_scores has shape \(5,\) .*: expected .* \(2, 5\)"),
    "NaN": (LATTICE, {"class_scores": [0, np.nan, 0]}, r"class_scores\[1\] = nan is out of range: expected nats"),
    "infinity": (LATTICE, {"state_scores": [[0] * 5, [0, 0, np.inf, 0, 0]]}, r"state_scores\[1, 2\] = inf is out of"),
    "gain": (PENALTY, {}, r"entry costs below 0, .* may add 4e\+08 nats to a path: expected at most 1e\+08"),
    "gain of states": (LATTICE, {"state_scores": np.full((2, 5), 1e8)}, r"may add 4e\+08 nats to a path"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case: str) -> None:
    lattices, options, message = MESSAGES[case]
    for call in (ctckit.lattice_loss, ctckit.lattice_loss_and_grad):
        with pytest.raises(CTCError, match=message):
            call(SCORES, lattices, **options)
    with pytest.raises(CTCError, match=message):
        ctckit.posteriors(SCORES, lattices=lattices, **options)
    if case != "a star":
        with pytest.raises(CTCError, match=message):
            ctckit.forced_align(SCORES, lattices=lattices, **options)


def test_targets_or_lattices() -> None:
    for call in (ctckit.posteriors, ctckit.forced_align):
        for name, values in {"targets": [[1], [1]], "target_lengths": [1, 1]}.items():
            with pytest.raises(CTCError, match=f"{name} and lattices are both given: expected one of them"):
                call(SCORES, lattices=LATTICE, **{name: values})
        with pytest.raises(CTCError, match="targets is missing: expected the classes of the tokens, or lattices"):
            call(SCORES)
    with pytest.raises(CTCError, match="optional and lattices are both given"):
        ctckit.forced_align(SCORES, lattices=LATTICE, optional=[1, 1])
    with pytest.raises(CTCError, match="reduction = 'average' is unknown"):
        ctckit.lattice_loss(SCORES, LATTICE, reduction="average")


def test_a_path_may_be_worth_more_than_certainty() -> None:
    """Costs below 0 and scores above 0 make a loss below 0."""
    lattice = Lattice([0, 1], [Arc.STAY | Arc.START, Arc.STEP | Arc.END], entry_costs=[0, -3])
    assert ctckit.lattice_loss(np.zeros((2, 2)), lattice, reduction="sum") == -3
    assert ctckit.lattice_loss(np.zeros((2, 2)), lattice, reduction="sum", class_scores=[0.5, 0.25]) == -3.75
