"""What all views say in the same words. Imports numbers.py, beam.py, the catalogue, and drawing/text.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from ..catalogue import words
from ..drawing.text import number, shortened
from .beam import Candidate, Search
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
    """A sentence on entry costs, one on scores of states, and one on long arcs; none of what there is none.

    Example:
        >>> from ctckit import ctc_lattice, explain
        >>> lattice = ctc_lattice([1]).with_costs(0.5).with_long_arcs([(0, 2)], [-1])
        >>> costs_in_words(explain([[-0.7, -0.7]], lattices=lattice))
        ['Entering a state costs, in nats: 1 0.50', 'Long arcs: φ₁ → φ₃ (−1.00)']
    """
    names, far = e.state_names, e.lattice.long_arcs.tolist()
    costs = [f"{names[k]} {nats(cost)}" for k, cost in enumerate(e.entry_costs) if cost]
    scores = [f"{names[k]} {nats(score)}" for k, score in enumerate(e.state_scores.tolist()) if score]
    arcs = [
        f"{names[source]} → {names[to]}" + (f" ({nats(score)})" if score else "")
        for (source, to), score in zip(far, e.lattice.long_arc_scores.tolist(), strict=True)
    ]
    say = words("explanation", e.lang)
    sentences = []
    if costs:
        sentences.append(say["lattice.costs"].format(costs=listed(costs)))
    if scores:
        sentences.append(say["lattice.state_scores"].format(scores=listed(scores)))
    if arcs:
        sentences.append(say["lattice.long_arcs"].format(arcs=listed(arcs)))
    return sentences


def weights_by_state(e: Computation) -> dict[str, list[float]]:
    """What states add to a path's score (K,), by the text that says when; nothing of what no state has.

    Example:
        >>> from ctckit import ctc_lattice, explain
        >>> weights_by_state(explain([[-0.7, -0.7]], lattices=ctc_lattice([1]).with_costs(0.5)))
        {'graph.entry': [0.0, -0.5, 0.0]}
    """
    weights = {"graph.entry": [0.0 - cost for cost in e.entry_costs], "graph.frame": e.state_scores.tolist()}
    return {key: values for key, values in weights.items() if any(values)}


def nats(score: float) -> str:
    """Nats, with two to four digits after the point: as many as they have.

    Example:
        >>> nats(-0.5), nats(0.125), nats(1 / 3)
        ('−0.50', '0.125', '0.3333')
    """
    return number(score, next((n for n in (2, 3) if round(score, n) == round(score, 6)), 4))


def signed(score: float) -> str:
    """Nats with their sign: what is added to a score.

    Example:
        >>> signed(0.5), signed(-0.5)
        ('+0.50', '−0.50')
    """
    return f"+{nats(score)}" if score > 0 else nats(score)


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


def chance(score: float) -> str:
    """A probability from its logarithm: three digits after the point, or two that count.

    Example:
        >>> chance(math.log(0.64)), chance(-1000.0), chance(-math.inf)
        ('0.640', '5.1×10⁻⁴³⁵', '0')
    """
    if score == -math.inf:
        return "0"
    if score >= math.log(0.001):
        return f"{math.exp(score):.3f}"
    mantissa, exponent = f"{Decimal(score).exp():.1e}".split("e")
    return f"{mantissa}×10{exponent.translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def ordinal(rank: int, lang: str) -> str:
    """A place.

    Example:
        >>> [ordinal(rank, "en") for rank in (1, 2, 3, 11, 112, 21)], ordinal(2, "zh")
        (['1st', '2nd', '3rd', '11th', '112th', '21st'], '第 2')
    """
    if lang == "zh":
        return f"第 {rank}"
    teens = 10 < rank % 100 < 20
    return f"{rank}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(rank % 10, 'th')}"


def answers(search: Search) -> dict[str, str]:
    """What the search finds, if it does, what best path decoding reads, and how they compare: a sentence each.

    Example:
        >>> from ctckit.explanation import TWO_FRAMES, explain_search
        >>> answers(explain_search(TWO_FRAMES, labels=["φ", "a"]))["finds"]
        'Search: a, probability 0.640 = φa 0.240 + aφ 0.240 + aa 0.160'
    """
    say, best, path = words("explanation", search.lang), search.best, search.best_path
    sentences = {}
    if best is not None:
        told = {"text": _short(search.text(best.text.tokens)), "score": chance(best.ctc)}
        told["all"] = chance(best.text.score)
        key = "search.found" if told["all"] == told["score"] else "search.found.all"
        listed_paths = best.text.paths if len(best.text.paths) > 1 and key == "search.found" else ()
        terms = " + ".join(f"{search.text(classes)} {chance(score)}" for classes, score in listed_paths)
        sentences["finds"] = say[key].format(**told) + (f" = {terms}" if terms else "")
    read = {"text": _short(search.text(path.text.tokens)), "path": _short(search.text(path.classes))}
    sentences["reads"] = say["search.best_path"].format(**read, score=chance(path.score), all=chance(path.text.score))
    told = {"text": "" if best is None else _short(search.text(best.text.tokens))}
    sentences["verdict"] = say[f"search.verdict.{_verdict(search)}"].format(**told)
    return sentences


def _verdict(search: Search) -> str:
    """Which sentence compares the two answers."""
    best, read = search.best, search.best_path.text
    if best is None:
        return "none"
    if best.text.tokens == read.tokens:
        return "same"
    if not search.only_ctc:
        return "language"
    return "better" if best.text.score > read.score else "worse"


def legend(search: Search) -> dict[str, str]:
    """What the lines of a tree mean, by kind."""
    say = words("explanation", search.lang)
    return {kind: say[f"search.legend.{kind}"] for kind in ("blank", "repeat", "grow")}


def notes(search: Search) -> list[str]:
    """What else is needed to read a tree."""
    keys = ["merge", "split"]
    if not search.only_ctc:
        keys.append("parts")
    if search.recombine:
        keys.append("like")
    say = words("explanation", search.lang)
    return [say[f"search.legend.{key}"] for key in keys]


def _short(text: str) -> str:
    return shortened(text, 30)


def tail(search: Search, tokens: Sequence[int], limit: int = 14) -> str:
    """A text, or its end if it is long: of two prefixes of one length, the beginnings are mostly alike."""
    shown = list(tokens)
    while len(text := search.text(shown)) > limit and len(shown) > 1:
        del shown[0]
    return ("…" if len(shown) < len(tokens) else "") + shortened(text, limit)


def rank_of(search: Search, candidate: Candidate) -> str:
    """A prefix's place in its frame; or the prefix that it was recombined with."""
    if candidate.rank is not None:
        return ordinal(candidate.rank, search.lang)
    return words("explanation", search.lang)["search.like"].format(text=tail(search, candidate.like or (), 8))


def terms_of(search: Search, candidate: Candidate) -> list[str]:
    """What a prefix's score is made of, in nats: the CTC score, and what else counts."""
    say = words("explanation", search.lang)
    terms = {"ctc": candidate.ctc, **candidate.parts._asdict()}
    return [f"{say[f'search.part.{name}']} {number(nats, 2)}" for name, nats in terms.items() if nats or name == "ctc"]


def ctc_rank_of(search: Search, candidate: Candidate) -> str:
    """The place that a prefix would have by its CTC score alone."""
    say = words("explanation", search.lang)
    return say["search.ctc_rank"].format(rank=ordinal(candidate.ctc_rank, search.lang))
