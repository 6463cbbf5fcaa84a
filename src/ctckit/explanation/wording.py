"""What all views say in the same words. Imports numbers.py, the catalogue, and drawing/text.py."""

from __future__ import annotations

import math
from decimal import Decimal

from ..catalogue import words
from ..drawing.text import number, shortened
from .numbers import Computation

SHOWN = 8  # things in one sentence


def phrase(e: Computation, key: str) -> str:
    """A text of the catalogue; for a lattice other than CTC's, the one that holds there."""
    return words("explanation", e.lang)[key if e.is_ctc else f"{key}.lattice"]


def why_no_path(e: Computation) -> str:
    """Why there is no path to show; empty if there is one.

    Example:
        >>> from ctckit import explain
        >>> why_no_path(explain([[-0.7, -0.7]], [1, 1]))
        'No path of 1 frame spells 11: it needs 3. The loss is +∞.'
    """
    if e.score > -math.inf:
        return ""
    say = words("explanation", e.lang)
    template = say["computation.impossible"] if e.path_count else phrase(e, "computation.none")
    counts = {"frames": Counted(e.frames), "count": Counted(e.path_count)}
    return template.format(**counts, target=shortened(e.spelling, 40), needed=e.frames_needed)


def frames_needed(e: Computation) -> str:
    """How many frames the shortest path has; a dash if no path exists."""
    return "–" if e.frames_needed is None else str(e.frames_needed)


def costs_in_words(e: Computation) -> list[str]:
    """A sentence on entry costs and one on long arcs; none where the lattice has none.

    Example:
        >>> from ctckit import ctc_lattice, explain
        >>> lattice = ctc_lattice([1]).with_costs(0.5).with_long_arcs([(0, 2)], [-1])
        >>> costs_in_words(explain([[-0.7, -0.7]], lattices=lattice))
        ['Entering a state costs, in nats: 1 0.50', 'Long arcs: φ₁ → φ₃ (−1.00)']
    """
    names, far = e.state_names, e.lattice.long_arcs.tolist()
    costs = [f"{names[k]} {number(cost, 2)}" for k, cost in enumerate(e.entry_costs) if cost]
    arcs = [
        f"{names[source]} → {names[to]}" + (f" ({number(score, 2)})" if score else "")
        for (source, to), score in zip(far, e.lattice.long_arc_scores.tolist(), strict=True)
    ]
    say = words("explanation", e.lang)
    sentences = []
    if costs:
        sentences.append(say["lattice.costs"].format(costs=listed(costs)))
    if arcs:
        sentences.append(say["lattice.long_arcs"].format(arcs=listed(arcs)))
    return sentences


def listed(parts: list[str]) -> str:
    """The first of many things."""
    return ", ".join(parts[:SHOWN]) + (", …" if len(parts) > SHOWN else "")


class Counted(int):
    """A number for texts: in groups of three digits, and ``{n:path|paths}`` is the first word for 1, else the second.

    Example:
        >>> "{n} {n:path|paths}".format(n=Counted(1)), "{n} {n:path|paths}".format(n=Counted(2000))
        ('1 path', '2,000 paths')
    """

    def __format__(self, spec: str) -> str:
        one, bar, many = spec.partition("|")
        return (one if self == 1 else many) if bar else counted(int(self))


def counted(paths: int) -> str:
    """A number of paths in groups of three digits; rounded if it has more than fifteen.

    Example:
        >>> counted(1234567), counted(10**30)
        ('1,234,567', '1.00 × 10³⁰')
    """
    if paths < 10**15:
        return f"{paths:,}"
    mantissa, exponent = f"{Decimal(paths):.2e}".split("e+")
    return f"{mantissa} × 10{exponent.translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
