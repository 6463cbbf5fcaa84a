"""The numbers of a page, as its scripts read them. Imports numbers.py, beam.py, wording.py and what lies below."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...drawing.text import shortened
from ...errors import CTCError
from ...lattice import MOVES, Arc, Lattice, ctc_lattice
from ..beam import Search
from ..numbers import ALL_PATHS, BEST_PATHS, Computation
from ..recogniser import BLANK_LOGIT, EARLY, PEAKS, SHARPNESS
from ..wording import counted

LONG_TITLE = 60  # characters of a target in a heading
ALL_CLASSES = 40  # up to this number all classes are on the page
LIKELIEST = 12  # of more classes, those shown besides the lattice's own; the rest share one column
ALL_CELLS = 1500  # a lattice of more is drawn as a heat map, and its paths are found here and not by the script
LATTICES: dict[str, Callable[[Lattice], Lattice]] = {  # of a word on the page, made of CTC's
    "ctc": lambda lattice: lattice,
    "selfless": Lattice.selfless,
    "without_blank": Lattice.without_blank,
}
MOST_LETTERS, MOST_FRAMES = 12, 24  # of a word that is typed on the page: its lattice is never large


def is_large(computation: Computation) -> bool:
    """Whether a lattice has too many cells for the script to draw each and to find the paths."""
    return computation.frames * computation.lattice.num_states > ALL_CELLS


def computation_data(computation: Computation) -> dict[str, Any]:
    """What the script needs of a computation. Infinities are strings that JavaScript's Number() reads."""
    lattice = computation.lattice
    own = {*lattice.labels.tolist(), *(() if computation.blank is None else (computation.blank,))}
    shared, column_of = _columns(computation, own)
    return {
        **shared,
        "isLarge": is_large(computation),
        "states": [column_of[c] for c in lattice.labels.tolist()],
        "tokens": lattice.tokens.tolist(),
        "arcs": lattice.arcs.tolist(),
        **_arcs(),
        "entryCosts": [_number(cost) for cost in computation.entry_costs],
        "stateScores": [_number(score) for score in computation.state_scores.tolist()],
        "longArcs": [
            [source, to, _number(score)]
            for (source, to), score in zip(lattice.long_arcs.tolist(), lattice.long_arc_scores.tolist(), strict=True)
        ],
        "isCTC": computation.is_ctc,
        "blank": None if computation.blank is None else column_of.get(computation.blank),
        "target": shortened(computation.text(computation.target), LONG_TITLE),
        "framesNeeded": computation.frames_needed,
        "fromLogits": computation.from_logits,
        "score": _number(computation.score),
        "mostPaths": [ALL_PATHS, BEST_PATHS],
        **(_paths(computation) if is_large(computation) else {}),
    }


def word_data(computation: Computation) -> dict[str, Any]:
    """What the script needs to make the lattices of any word."""
    return {
        "tokens": [computation.labels[c] for c in computation.target],
        "frames": computation.frames,
        "mostLetters": MOST_LETTERS,
        "mostFrames": MOST_FRAMES,
        "lattices": {name: _roles(build) for name, build in LATTICES.items()},
        "peaks": PEAKS,
        "early": EARLY,
        "sharpness": SHARPNESS,
        "blankLogit": BLANK_LOGIT,
        "mostPaths": [ALL_PATHS, BEST_PATHS],
        **_arcs(),
    }


def _roles(build: Callable[[Lattice], Lattice]) -> dict[str, int | None]:
    """A lattice's arcs as bits, by what a state is, read off the lattices of two words.

    A state is a blank, a token, or a token equal to the one before; None if the lattice has no such states. Paths begin
    in the first ``starts`` states, and end in the last ``ends``.
    """
    plain = build(ctc_lattice([1, 2, 3]))
    k = int(np.flatnonzero(plain.tokens == 1)[0])
    try:
        doubled = build(ctc_lattice([1, 2, 2, 3]))
    except CTCError:  # there equal tokens can't be neighbours
        repeat = None
    else:
        repeat = int(doubled.arcs[doubled.tokens == 2][0])
    return {
        "blank": int(plain.arcs[k - 1]) if plain.tokens[k - 1] < 0 else None,
        "token": int(plain.arcs[k]),
        "repeat": repeat,
        "starts": int((plain.arcs & Arc.START != 0).sum()),
        "ends": int((plain.arcs & Arc.END != 0).sum()),
    }


def _arcs() -> dict[str, Any]:
    """What the bits of a state's arcs mean."""
    moves = [[int(bit), back] for bit, back in ((Arc.STAY, 0), *MOVES)]
    return {"moves": moves, "start": int(Arc.START), "end": int(Arc.END)}


def _paths(computation: Computation) -> dict[str, Any]:
    """The best paths of a lattice, if the script does not look for them."""
    return {
        "pathCount": counted(computation.path_count),
        "allPaths": len(computation.paths) == computation.path_count,
        "paths": [list(path.states) for path in computation.paths],
        "pathWeights": [_number(path.weight) for path in computation.paths],
    }


def search_data(search: Search) -> dict[str, Any]:
    """What the script needs of a search without a language."""
    tokens = {c for step in search.steps for prefix in (*step.beam, *step.dropped) for c in prefix.tokens}
    shared, column_of = _columns(search, tokens.union(search.best_path.classes, [search.blank]))
    return {
        **shared,
        "blank": column_of[search.blank],
        "beamWidth": search.beam_width,
        "separated": search.long_labels,
    }


def _columns(shown: Computation | Search, own: set[int]) -> tuple[dict[str, Any], dict[int, int]]:
    """Labels and scores of the classes, and the column of each: if there are many, the rest share the last one.

    Args:
        shown: whose classes they are.
        own: classes that must have a column.
    """
    everything, rest = list(range(len(shown.labels))), []
    if len(everything) > ALL_CLASSES:
        height = shown.log_probs.max(axis=0, initial=-np.inf)
        others = [c for c in np.argsort(-height, kind="stable").tolist() if c not in own]
        kept = own.union(others[:LIKELIEST])
        rest = [c for c in everything if c not in kept]
        everything = sorted(kept)
    scores = shown.log_probs[:, everything]
    columns: list[dict[str, Any]] = [{"label": shown.labels[c], "class": c} for c in everything]
    if rest:
        scores = np.column_stack([scores, np.logaddexp.reduce(shown.log_probs[:, rest], axis=1)])
        columns.append({"rest": len(rest)})
    rows = [[_number(value) for value in row] for row in scores.tolist()]
    data = {"columns": columns, "frames": shown.frames, "logProbs": rows}
    return data, {c: i for i, c in enumerate(everything)}


def _number(value: float) -> float | str:
    """Nine digits: enough for a loss with a relative error below 1e-6, and long utterances stay small files."""
    return float(f"{value:.9g}") if math.isfinite(value) else "-Infinity" if value < 0 else "Infinity"
