"""The computation as text, step by step, in columns that line up in a terminal. Imports computation.py."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from ..catalogue import words
from ..kernels import reference
from ..lattice import Arc
from .computation import ALL_PATHS, Explanation, counted

MOST_CELLS = 120  # of α, whose formulas are all written out
MOST_NUMBERS = 240  # of a matrix of log-probabilities
SHOWN_PATHS = 12


def written_out(explanation: Explanation) -> str:
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
    sections = ("\n".join(part(explanation)) for part in parts)
    return "\n\n".join(section for section in sections if section)


def _head(e: Explanation) -> Iterator[str]:
    say = words("explanation", e.lang)
    yield say["text.title"].format(target=f"{e.text(e.target)} = {list(e.target)}")
    sizes = {"frames": e.frames, "classes": len(e.labels), "tokens": len(e.target), "states": e.lattice.num_states}
    yield say["text.size"].format(**sizes, needed=e.frames_needed, count=counted(e.path_count))
    if e.path_count == 0:
        yield say["text.infeasible"].format(frames=e.frames, needed=e.frames_needed)


def _matrix(e: Explanation) -> Iterator[str]:
    """The log-probabilities, if they are few."""
    if e.log_probs.size == 0 or e.log_probs.size > MOST_NUMBERS or len(e.labels) > 12:
        return
    yield words("explanation", e.lang)["text.log_probs"]
    rows = [[f"t{t + 1}", *(number(value, 4) for value in row)] for t, row in enumerate(e.log_probs)]
    yield from _columns([["", *e.labels], *rows])


def _recursion(e: Explanation) -> Iterator[str]:
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


def formula(e: Explanation, t: int, k: int) -> str:
    """How α at one cell came about, in letters and in numbers."""
    names = e.state_names
    own = f"log y{t + 1}({e.state_labels[k]})"
    result = number(e.alpha[t, k], 5)
    if t == 0:
        return f"α1({names[k]}) = {own} = {result}"
    sources = [k - back for bit, back in reference.MOVES if k >= back and e.lattice.arcs[k] & bit]
    letters = ", ".join(f"α{t}({names[j]})" for j in sources)
    numbers = ", ".join(number(e.alpha[t - 1, j], 5) for j in sources)
    emission = number(e.log_probs[t, e.lattice.labels[k]], 5)
    return f"α{t + 1}({names[k]}) = {own} + logsumexp({letters}) = {emission} + logsumexp({numbers}) = {result}"


def _loss(e: Explanation) -> Iterator[str]:
    say = words("explanation", e.lang)
    if e.path_count == 0 or e.frames == 0:
        yield f"loss = {number(e.loss, 10)}"
        return
    ends = np.flatnonzero(e.lattice.arcs & Arc.END).tolist()
    yield say["text.ends"].format(labels=", ".join(f"α{e.frames}({e.state_names[k]})" for k in ends))
    terms = ", ".join(number(e.alpha[-1, k], 5) for k in ends)
    yield say["text.loss"].format(ends=terms, loss=number(e.loss, 10))


def _tokens(e: Explanation) -> Iterator[str]:
    """What each token, and all blanks, add to the loss."""
    if not e.score > -math.inf or e.frames == 0:
        return
    say = words("explanation", e.lang)
    yield say["text.tokens"].format(entropy=number(e.entropy, 5))
    rows = [["", say["text.tokens.cost"], say["text.tokens.frames"], say["text.tokens.peak"]]]
    states = e.tokens
    for token in states[1::2]:
        peak = "" if token.peak is None else f"t{token.peak + 1}"
        rows.append([e.state_names[token.state], number(token.cost, 5), f"{token.frames:.2f}", peak])
    blanks = states[::2]
    cost, spent = sum(token.cost for token in blanks), sum(token.frames for token in blanks)
    rows.append(["φ", number(cost, 5), f"{spent:.2f}", ""])
    yield from _columns(rows)


def _paths(e: Explanation) -> Iterator[str]:
    if not e.paths:
        return
    say = words("explanation", e.lang)
    shown = e.paths[:SHOWN_PATHS]
    whole = len(shown) == e.path_count and e.path_count <= ALL_PATHS
    yield (
        say["text.paths.all"] if whole else say["text.paths.best"].format(shown=len(shown), count=counted(e.path_count))
    )
    head = [say["text.paths.share"], say["text.paths.score"], say["text.paths.path"]]
    rows = [[f"{100 * path.share:.4g} %", number(path.score, 5), _short(e.spelled(path))] for path in shown]
    yield from _columns([head, *rows], last_left=True)


def _columns(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest cell and flush right."""
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [" " * (width - cells(text)) + text for width, text in zip(widths, row, strict=True)]
        if last_left:
            padded[-1] = row[-1]
        yield ("  " + "  ".join(padded)).rstrip()


def cells(text: str) -> int:
    r"""How many columns of a terminal a text takes: two for a Chinese character, none for a combining mark.

    Example:
        >>> cells("空白 φ"), cells("e\u0301")
        (6, 1)
    """
    wide = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.combining(letter) else wide.get(unicodedata.east_asian_width(letter), 1) for letter in text
    )


def number(value: float, digits: int) -> str:
    """A number as it is printed: so many places after the point, a true minus sign, and ∞."""
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    return f"{value:.{digits}f}".replace("-", "−")


def _short(text: str) -> str:
    return text if cells(text) <= 80 else text[:60] + "…"
