"""Lattices of every kind, and what the oracles take them for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from oracles import Graph, Summed, enumerate_graph, log_softmax

from ctckit import Arc, Lattice, ctc_lattice
from support.batches import Array

CLASSES = 5  # of the scores that these lattices are for


def random_lattice(seed: int) -> Lattice:
    """Any bits, labels, costs and long arcs."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    arcs = rng.integers(0, 8, size) | np.where(rng.random(size) < 0.6, int(Arc.STEP), 0)
    arcs[rng.random(size) < 0.4] |= int(Arc.START)
    arcs[rng.random(size) < 0.4] |= int(Arc.END)
    if seed % 5:  # most have a path
        arcs[0] |= int(Arc.START | Arc.STAY)
        arcs[-1] |= int(Arc.END | Arc.STAY)
    ends = np.sort(rng.integers(0, size, (int(rng.integers(1, 6)), 2)), axis=1)
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
    "wildcards": lambda: ctc_lattice([1, 2]).with_wildcards(4),
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


def enumerated(
    lattice: Lattice,
    scores: Array,
    *,
    from_logits: bool = False,
    class_scores: Array | None = None,
    state_scores: Array | None = None,
) -> tuple[Summed, int]:
    """All paths of a lattice through scores (T, C), and where among their moves the long arcs begin."""
    log_probs = log_softmax(scores).astype(float) if from_logits else scores
    emissions = log_probs[:, lattice.labels]
    if class_scores is not None:
        emissions = emissions + class_scores[lattice.labels]
    if state_scores is not None:
        emissions = emissions + state_scores[: lattice.num_states]
    graph, first_far = graph_of(lattice)
    return enumerate_graph(emissions, graph), first_far
