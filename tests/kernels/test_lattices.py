"""Every backend on every kind of lattice, against the enumeration of its paths; and which backend refuses what.

``CANNOT`` is the one list of what a backend refuses.
"""

from __future__ import annotations

import numpy as np
import pytest
from oracles import Summed, log_softmax
from support.backends import BACKENDS, Backend
from support.batches import Array
from support.lattices import CLASSES, KINDS, enumerated, random_lattice

from ctckit import CTCError, Lattice, Status
from ctckit.kernels.backend import Gradients
from ctckit.problem import lattice_problem

FRAMES = 5
CANNOT = {"triton": ("long arcs",)}  # backend: what it refuses

EXACT = {"rtol": 1e-11, "atol": 1e-12}  # of numbers of order 10, sums of some thousand terms in float64


def cannot(backend: Backend, lattices: list[Lattice]) -> bool:
    return "long arcs" in CANNOT.get(backend.name, ()) and any(len(lattice.long_arcs) for lattice in lattices)


class Case:
    """A problem with class and state scores, and the truth about each of its samples."""

    def __init__(self, lattices: list[Lattice], seed: int, from_logits: bool) -> None:
        rng = np.random.default_rng(seed)
        size, most = len(lattices), max(lattice.num_states for lattice in lattices)
        self.scores = rng.normal(size=(FRAMES, size, CLASSES)) * 2
        self.frames = rng.integers(1, FRAMES + 1, size)
        self.frames[0] = FRAMES
        self.class_scores = rng.normal(size=CLASSES) if seed // 2 % 2 else None
        self.state_scores = rng.normal(size=(size, most)) if seed % 3 == 0 else None
        self.weights = rng.normal(size=size)
        self.lattices, self.from_logits = lattices, from_logits
        self.problem = lattice_problem(
            self.scores,
            lattices,
            self.frames,
            from_logits=from_logits,
            class_scores=self.class_scores,
            state_scores=self.state_scores,
        )

    def truth(self, n: int) -> tuple[Summed, int]:
        return enumerated(
            self.lattices[n],
            self.scores[: self.frames[n], n],
            from_logits=self.from_logits,
            class_scores=self.class_scores,
            state_scores=None if self.state_scores is None else self.state_scores[n],
        )

    def outputs(self) -> dict[str, Array]:
        """Memory for all gradients, full of NaN."""
        cells = self.problem.lattices.labels.shape
        shapes = {
            "scores": self.scores.shape,
            "class_scores": (cells[0], CLASSES),
            "state_scores": cells,
            "entry_costs": cells,
            "long_arc_scores": (len(self.problem.lattices.long_arcs),),
        }
        return {name: np.full(shape, np.nan) for name, shape in shapes.items()}


def status_of(truth: Summed) -> Status:
    """What a sample without NaN must be."""
    return Status.INFEASIBLE if not truth.count else Status.OK if truth.score > -np.inf else Status.IMPOSSIBLE


def by_class(truth: Summed, lattice: Lattice) -> Array:
    """(T, C) occupancies, summed over the states that emit the same class."""
    summed = np.zeros((len(truth.occupancy), CLASSES))
    for state, label in enumerate(lattice.labels):
        summed[:, label] += truth.occupancy[:, state]
    return summed


def check_sums(backend: Backend, case: Case) -> None:
    outputs = case.outputs()
    totals = backend.totals(case.problem, weights=case.weights, gradients=Gradients(**outputs))
    far = case.problem.lattices.long_arcs[:, 0]
    for n, lattice in enumerate(case.lattices):
        truth, first_far = case.truth(n)
        used, k, weight = case.frames[n], lattice.num_states, case.weights[n]
        np.testing.assert_allclose(totals.score[n], truth.score, **EXACT)
        expected, counts = status_of(truth), by_class(truth, lattice)
        assert totals.status[n] == expected
        dense = np.exp(log_softmax(case.scores[:used, n]).astype(float)) if case.from_logits and not expected else 0
        parts = {
            "scores": (outputs["scores"][:used, n], dense - counts),
            "class_scores": (outputs["class_scores"][n], -counts.sum(axis=0)),
            "state_scores": (outputs["state_scores"][n, :k], -truth.occupancy.sum(axis=0)),
            "entry_costs": (outputs["entry_costs"][n, :k], truth.entries),
            "long_arc_scores": (outputs["long_arc_scores"][far == n], -truth.taken[first_far:]),
        }
        for name, (found, exact) in parts.items():
            np.testing.assert_allclose(found, weight * exact, err_msg=name, **EXACT)
        assert not outputs["scores"][used:, n].any()
        assert not outputs["state_scores"][n, k:].any()
        assert not outputs["entry_costs"][n, k:].any()


def check_posteriors(backend: Backend, case: Case) -> None:
    found = backend.posteriors(case.problem)
    for n, lattice in enumerate(case.lattices):
        truth, _ = case.truth(n)
        used, k = case.frames[n], lattice.num_states
        np.testing.assert_allclose(found.states[:used, n, :k], truth.occupancy, **EXACT)
        np.testing.assert_allclose(found.classes[:used, n], by_class(truth, lattice), **EXACT)
        np.testing.assert_allclose(found.score[n], truth.score, **EXACT)
        assert found.status[n] == status_of(truth)
        assert not found.states[used:, n].any()
        assert not found.classes[used:, n].any()
        assert not found.states[:, n, k:].any()


def check_best_path(backend: Backend, case: Case) -> None:
    found = backend.best_path(case.problem)
    for n in range(len(case.lattices)):
        truth, _ = case.truth(n)
        np.testing.assert_allclose(found.score[n], truth.best, **EXACT)
        path = tuple(found.states[n, : case.frames[n]].tolist())
        assert path in truth.best_states if truth.best > -np.inf else set(path) <= {-1}
        assert set(found.states[n, case.frames[n] :].tolist()) <= {-1}
        assert found.status[n] == status_of(truth)


CHECKS = {"sums": check_sums, "posteriors": check_posteriors, "best_path": check_best_path}


def check_or_refuses(backend: Backend, what: str, lattices: list[Lattice], seed: int, from_logits: bool) -> None:
    case = Case(lattices, seed, from_logits)
    if cannot(backend, lattices):
        with pytest.raises(CTCError, match=f"the {backend.name} backend cannot take long arcs yet"):
            CHECKS[what](backend, case)
    else:
        CHECKS[what](backend, case)


@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_each_kind(backend: Backend, kind: str, what: str) -> None:
    from_logits = what != "posteriors"
    for seed in backend.some(range(6), [3], range(6)):
        check_or_refuses(backend, what, [KINDS[kind](), KINDS["ctc"]()], seed, from_logits)


@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.interpreter(seed=range(0, 200, 14))
def test_random_lattices(backend: Backend, seed: int, what: str) -> None:
    from_logits = what != "posteriors" and seed // 3 % 2 == 0
    check_or_refuses(backend, what, [random_lattice(seed), random_lattice(1000 + seed)], seed, from_logits)
