"""The lattice as data: the states of a target, and which moves between them are legal.

    rule.py          the CTC rule, a table of arcs by role, which the extension lays out over targets and kernels read
    graph.py         a graph as arrays, and the parts of it that are on paths
    topologies.py    a target's lattice; every other topology is a method that returns a new one
    ctc.py           CTC's own lattice of a target
    building.py      the lattices of a batch, each target's built once
    state_scores.py  scores of states, such as the delay penalty
    arrays.py        checks of the numbers that lattices are made of

A target y1 … yS becomes the K = 2S+1 states φ y1 φ y2 … yS φ. A path visits one state per frame. It begins in one of
the first two states, ends in one of the last two, and from one frame to the next stays, steps to the next state, or
skips the φ between two *different* tokens (between equal ones the φ must be visited, or collapsing would merge them).

May import validate/, errors.py and, of the extension, the layout.
"""

from __future__ import annotations

from .building import LatticeBuilder
from .ctc import ctc_lattice
from .graph import STAR, target_of
from .rule import ARCS_BY_ROLE, MOVES, Arc, equal_neighbours, frames_needed
from .state_scores import delay_scores, padded_rows, risk_scores
from .topologies import Lattice

__all__ = [
    "ARCS_BY_ROLE",
    "MOVES",
    "STAR",
    "Arc",
    "Lattice",
    "LatticeBuilder",
    "ctc_lattice",
    "delay_scores",
    "equal_neighbours",
    "frames_needed",
    "padded_rows",
    "risk_scores",
    "target_of",
]
