"""Every backend on every kind of lattice, against the enumeration of its paths; and which backend refuses what.

``CANNOT`` is the one list of what a backend refuses.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from oracles import Graph, Summed, enumerate_graph, log_softmax
from support.backends import BACKENDS, Backend
from support.batches import Array

from ctckit import Arc, CTCError, Lattice, Status, ctc_lattice
from ctckit.kernels.backend import Gradients
from ctckit.problem import lattice_problem

CLASSES = 5
FRAMES = 5
CANNOT = {"triton": ("long arcs",)}  # backend: what it refuses

EXACT = {"rtol": 1e-11, "atol": 1e-12}  # of numbers of order 10, sums of some thousand terms in float64


def random_lattice(seed: int) -> Lattice:
    """Any bits, labels, costs and long arcs."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    arcs = rng.integers(0, 8, size) | np.where(rng.random(size) < 0.6, int(Arc.STEP), 0)
    arcs[rng.random(size) < 0.4] |= int(Arc.START)
    arcs[rng.random(size) < 0.4] |= int(Arc.END)
    ends = np.sort(rng.integers(0, size, (int(rng.integers(0, 4)), 2)), axis=1)
    far = ends[ends[:, 0] < ends[:, 1]] if seed % 2 else np.empty((0, 2), int)
    costs = rng.normal(size=size) if seed % 3 else None
    if costs is not None and seed % 7 == 0:
        costs[-1] = np.inf
    tokens = np.where(rng.random(size) < 0.5, np.arange(size), -1)
    return Lattice(rng.integers(0, CLASSES, size), arcs, tokens, costs, far, rng.normal(size=len(far)))


KINDS: dict[str, Callable[[], Lattice]] = {
    "ctc": lambda: ctc_lattice([1, 2, 2]),
    "empty": lambda: ctc_lattice([]),
    "no blank": lambda: ctc_lattice([1, 2, 3]).without_blank(),
    "selfless": lambda: ctc_lattice([1, 2, 2]).selfless(),
    "minimal": lambda: ctc_lattice([1, 2, 2]).minimal(),
    "star with entry cost": lambda: ctc_lattice([1, 4, 2]).with_costs(np.array([0, 0, 0, 1.5, 0, 0, 0])),
    "STC gap": lambda: ctc_lattice([1, 2]).minimal().with_gaps([0, 3, 4]),
    "optional words": lambda: ctc_lattice([1, 2, 3]).with_optional([1, 1, 2]),
    "optional and costs": lambda: ctc_lattice([1, 2, 3]).with_optional([0, 1, 0]).with_costs(0.7),
    "scored long arcs": lambda: ctc_lattice([1, 2, 3]).with_long_arcs([(1, 5), (1, 5), (2, 3)], [-1.0, 0.5, -0.25]),
}


def graph_of(lattice: Lattice) -> tuple[Graph, int]:
    """A lattice as plain lists, and where among its moves the long arcs begin."""
    bits = [
        (k - back, k, 0.0) for bit, back in ((Arc.STEP, 1), (Arc.SKIP, 2)) for k in np.flatnonzero(lattice.arcs & bit)
    ]
    far = [
        (int(i), int(j), float(score)) for (i, j), score in zip(lattice.long_arcs, lattice.long_arc_scores, strict=True)
    ]
    costs = np.zeros(lattice.num_states) if lattice.entry_costs is None else lattice.entry_costs
    starts, ends = (np.flatnonzero(lattice.arcs & bit).tolist() for bit in (Arc.START, Arc.END))
    return Graph((lattice.arcs & Arc.STAY != 0).tolist(), bits + far, starts, ends, costs.tolist()), len(bits)


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
        self.class_scores = rng.normal(size=CLASSES) if seed % 2 else None
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
        lattice, used = self.lattices[n], self.scores[: self.frames[n], n]
        log_probs = log_softmax(used).astype(float) if self.from_logits else used
        emissions = log_probs[:, lattice.labels]
        if self.class_scores is not None:
            emissions = emissions + self.class_scores[lattice.labels]
        if self.state_scores is not None:
            emissions = emissions + self.state_scores[n, : lattice.num_states]
        graph, first_far = graph_of(lattice)
        return enumerate_graph(emissions, graph), first_far

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


def check_sums(backend: Backend, case: Case) -> None:
    outputs = case.outputs()
    totals = backend.totals(case.problem, weights=case.weights, gradients=Gradients(**outputs))
    far = case.problem.lattices.long_arcs[:, 0]
    for n, lattice in enumerate(case.lattices):
        truth, first_far = case.truth(n)
        used, k, weight = case.frames[n], lattice.num_states, case.weights[n]
        np.testing.assert_allclose(totals.score[n], truth.score, **EXACT)
        expected = Status.INFEASIBLE if not truth.count else Status.OK if truth.score > -np.inf else Status.IMPOSSIBLE
        assert totals.status[n] == expected
        by_class = np.zeros((used, CLASSES))
        for state, label in enumerate(lattice.labels):
            by_class[:, label] += truth.occupancy[:, state]
        dense = np.exp(log_softmax(case.scores[:used, n]).astype(float)) if case.from_logits and not expected else 0
        parts = {
            "scores": (outputs["scores"][:used, n], dense - by_class),
            "class_scores": (outputs["class_scores"][n], -by_class.sum(axis=0)),
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
        assert not found.states[used:, n].any()
        assert not found.states[:, n, k:].any()


def check_best_path(backend: Backend, case: Case) -> None:
    found = backend.best_path(case.problem)
    for n in range(len(case.lattices)):
        truth, _ = case.truth(n)
        np.testing.assert_allclose(found.score[n], truth.best, **EXACT)
        path = tuple(found.states[n, : case.frames[n]].tolist())
        assert path in truth.best_states if truth.best > -np.inf else set(path) <= {-1}


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
    for seed in backend.some(range(6), [3]):
        check_or_refuses(backend, what, [KINDS[kind](), KINDS["ctc"]()], seed, from_logits)


@pytest.mark.parametrize("what", CHECKS)
@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.interpreter(seed=range(0, 200, 10))
def test_random_lattices(backend: Backend, seed: int, what: str) -> None:
    from_logits = what != "posteriors" and seed % 5 < 2
    check_or_refuses(backend, what, [random_lattice(seed), random_lattice(1000 + seed)], seed, from_logits)
