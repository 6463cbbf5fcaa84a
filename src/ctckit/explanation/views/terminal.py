"""The computation as text, step by step, in columns that line up in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...catalogue import words
from ...catalogue.columns import cells, in_columns
from ...drawing.text import number
from ...lattice import Arc
from ..numbers import ALL_PATHS, EMPTY, Computation, StateCost
from ..wording import Counted, costs_in_words, counted, frames_needed, phrase, why_no_path

MOST_CELLS = 120  # of α, whose formulas are all written out
MOST_NUMBERS = 240  # of a matrix of log-probabilities
SHOWN_PATHS = 12


def written_out(computation: Computation) -> str:
    r"""Inputs, α with its formulas, the loss, what each token costs, and the paths.

    Example:
        >>> from ctckit import explain
        >>> print(written_out(explain([[-2.2892, -0.1069], [-1.6550, -0.2121]], [1])).split("\n\n")[2])
        α, frame by frame: the log-probability of all ways to be in a state
          α1(φ₁) = log y1(φ) = −2.28920
          α1(1) = log y1(1) = −0.10690
          α2(φ₁) = log y2(φ) + logsumexp(α1(φ₁)) = −1.65500 + logsumexp(−2.28920) = −3.94420
          α2(1) = log y2(1) + logsumexp(α1(1), α1(φ₁)) = −0.21210 + logsumexp(−0.10690, −2.28920) = −0.21214
          α2(φ₃) = log y2(φ) + logsumexp(α1(φ₃), α1(1)) = −1.65500 + logsumexp(−∞, −0.10690) = −1.76190
    """
    parts = (_head, _matrix, _recursion, _loss, _tokens, _paths)
    sections = ("\n".join(part(computation)) for part in parts)
    return "\n\n".join(section for section in sections if section)


def _head(e: Computation) -> Iterator[str]:
    say = words("explanation", e.lang)
    yield phrase(e, "text.title").format(target=f"{e.text(e.target) or EMPTY} = {list(e.target)}")
    sizes = {"frames": e.frames, "classes": len(e.labels), "tokens": len(e.target), "states": e.lattice.num_states}
    yield say["text.size"].format(**sizes, needed=frames_needed(e), count=counted(e.path_count))
    yield from costs_in_words(e)
    if reason := why_no_path(e):
        yield reason


def _matrix(e: Computation) -> Iterator[str]:
    """The log-probabilities, if they are few."""
    if e.log_probs.size == 0 or e.log_probs.size > MOST_NUMBERS or len(e.labels) > 12:
        return
    yield words("explanation", e.lang)["text.log_probs"]
    rows = [[f"t{t + 1}", *(number(value, 4) for value in row)] for t, row in enumerate(e.log_probs)]
    yield from in_columns([["", *e.labels], *rows])


def _recursion(e: Computation) -> Iterator[str]:
    say = words("explanation", e.lang)
    if e.frames * e.lattice.num_states > MOST_CELLS:
        yield say["text.alpha.large"].format(frames=e.frames, states=e.lattice.num_states)
        return
    if e.frames == 0:
        return
    yield say["text.alpha"]
    for t in range(e.frames):
        for k in range(e.lattice.num_states):
            if e.alpha[t, k] > -math.inf:
                yield "  " + formula(e, t, k)


def formula(e: Computation, t: int, k: int) -> str:
    """How α of one cell is computed, in letters and in numbers."""
    names = e.state_names
    added = _added(e.state_scores[k])
    own = f"log y{t + 1}({e.state_labels[k]}){added}"
    emission = number(e.log_probs[t, e.lattice.labels[k]], 5) + added
    result = number(e.alpha[t, k], 5)
    if t == 0:
        cost = _added(-e.entry_costs[k])
        terms = f"{emission}{cost} = " if cost or added else ""
        return f"α1({names[k]}) = {own}{cost} = {terms}{result}"
    moves = e.moves_into[k]
    letters = ", ".join(f"α{t}({names[move.source]}){_added(move.score)}" for move in moves)
    numbers = ", ".join(f"{number(e.alpha[t - 1, move.source], 5)}{_added(move.score)}" for move in moves)
    return f"α{t + 1}({names[k]}) = {own} + logsumexp({letters}) = {emission} + logsumexp({numbers}) = {result}"


def _added(score: float) -> str:
    """A term of a sum; none for 0."""
    return f" {'−' if score < 0 else '+'} {number(abs(score), 5)}" if score else ""


def _loss(e: Computation) -> Iterator[str]:
    say = words("explanation", e.lang)
    if e.path_count == 0 or e.frames == 0:
        yield f"loss = {number(e.loss, 10)}"
        return
    ends = np.flatnonzero(e.lattice.arcs & Arc.END).tolist()
    yield say["text.ends"].format(labels=", ".join(f"α{e.frames}({e.state_names[k]})" for k in ends))
    terms = ", ".join(number(e.alpha[-1, k], 5) for k in ends)
    yield say["text.loss"].format(ends=terms, loss=number(e.loss, 10))


def _tokens(e: Computation) -> Iterator[str]:
    """What each token, and all blanks together, add to the loss."""
    if not e.score > -math.inf or e.frames == 0:
        return
    say = words("explanation", e.lang)
    key = "text.tokens.with_arcs" if e.arc_costs.any() else "text.tokens"
    emitted = say["text.emitted.with_scores" if e.state_scores.any() else "text.emitted"]
    yield say[key].format(entropy=number(e.entropy, 5), emitted=emitted)
    rows = [["", say["text.tokens.cost"], say["text.tokens.frames"], say["text.tokens.peak"]]]
    between: dict[str, list[StateCost]] = {}  # by label, the states that are not tokens: the blanks
    for state in e.state_costs:
        if e.lattice.tokens[state.state] < 0:
            between.setdefault(e.state_labels[state.state], []).append(state)
            continue
        peak = "" if state.peak is None else f"t{state.peak + 1}"
        rows.append([e.state_names[state.state], number(state.cost, 5), f"{state.frames:.2f}", peak])
    for label, states in between.items():
        cost, spent = sum(state.cost for state in states), sum(state.frames for state in states)
        rows.append([label, number(cost, 5), f"{spent:.2f}", ""])
    yield from in_columns(rows)


def _paths(e: Computation) -> Iterator[str]:
    if not e.paths:
        return
    say = words("explanation", e.lang)
    shown = e.paths[:SHOWN_PATHS]
    whole = len(shown) == e.path_count and e.path_count <= ALL_PATHS
    title = say["text.paths.all" if whole else "text.paths.best"]
    yield title.format(shown=len(shown), count=Counted(e.path_count))
    head = [say["text.paths.share"], say["text.paths.score"], say["text.paths.path"]]
    rows = [[f"{100 * path.share:.4g} %", number(path.score, 5), _short(e.spelled(path))] for path in shown]
    yield from in_columns([head, *rows], last_left=True)


def _short(text: str) -> str:
    return text if cells(text) <= 80 else text[:60] + "…"
