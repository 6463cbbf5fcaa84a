"""A search as text, frame by frame, in columns that line up in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ...catalogue import words
from ...catalogue.columns import in_columns
from ...drawing.text import number, shortened
from ..beam import Candidate, Search, Step
from ..wording import Counted, answers, chance, ctc_rank_of, rank_of, tail, terms_of

MOST_FRAMES = 12
MOST_ROWS = 8  # of a beam
NONE = "–"


def written_out(search: Search) -> str:
    r"""The beam by frame, the texts that were found, and the best path's.

    Example:
        >>> from ctckit.explanation import TWO_FRAMES, explain_search
        >>> search = explain_search(TWO_FRAMES, labels=["φ", "a"])
        >>> print(written_out(search).split("\n\n")[1])
        frame by frame: a text’s probability, the parts that end in φ and in its last token, and where it comes from (text before + the frame’s label)
        t1
               text    all      φ  last token  from
          1st     ∅  0.600  0.600           –  ∅ + φ 0.600
          2nd     a  0.400      –       0.400  ∅ + a 0.400
        t2
               text    all      φ  last token  from
          1st     a  0.640  0.240       0.400  ∅ + a 0.240, a + φ 0.240, a + a 0.160
          2nd     ∅  0.360  0.360           –  ∅ + φ 0.360
    """  # noqa: E501 (a line of the text)
    parts = (_head(search), _frames(search), _found(search), answers(search).values())
    sections = ("\n".join(part) for part in parts)
    return "\n\n".join(section for section in sections if section)


def _head(search: Search) -> Iterator[str]:
    say = words("explanation", search.lang)
    sizes = {"frames": Counted(search.frames), "classes": Counted(len(search.labels)), "beam": search.beam_width}
    yield say["search.title"].format(**sizes)
    if search.frames > MOST_FRAMES:
        yield say["search.text.window"].format(first=1, last=MOST_FRAMES, frames=search.frames)


def _frames(search: Search) -> Iterator[str]:
    if not search.frames:
        return
    say = words("explanation", search.lang)
    yield say["search.text.steps"]
    if not search.only_ctc:
        yield say["search.legend.parts"]
    if search.recombine:
        yield say["search.legend.like"]
    for t in range(min(search.frames, MOST_FRAMES)):
        yield f"t{t + 1}"
        yield from _frame(search, search.steps[t].beam, search.steps[t + 1])


def _frame(search: Search, before: Sequence[Candidate], step: Step) -> Iterator[str]:
    """One frame's rows: the beam, and below a line what was dropped."""
    say = words("explanation", search.lang)
    head = ["", say["search.text.text"], say["search.text.all"], "φ", say["search.text.token"]]
    if not search.only_ctc:
        head += [say["search.score"], ""]
    shown = step.beam[:MOST_ROWS]
    rows = [_row(search, before, candidate) for candidate in (*shown, *step.dropped)]
    lines = list(in_columns([[*head, say["search.text.ways"]], *rows], last_left=True))
    kept = 1 + len(shown)
    yield from lines[:kept]
    if len(step.beam) > len(shown):
        yield "  " + say["search.in_beam"].format(more=len(step.beam) - len(shown))
    if step.dropped:
        yield "  " + say["search.cut"].format(beam=search.beam_width)
        yield from lines[kept:]
    if step.more:
        yield "  " + say["search.more"].format(more=step.more, lost=chance(step.lost))


def _row(search: Search, before: Sequence[Candidate], candidate: Candidate) -> list[str]:
    ends = [NONE if score == -math.inf else chance(score) for score in (candidate.blank, candidate.token)]
    row = [rank_of(search, candidate), tail(search, candidate.tokens), chance(candidate.ctc), *ends]
    if not search.only_ctc:
        row += [number(candidate.score, 2), ", ".join([*terms_of(search, candidate), ctc_rank_of(search, candidate)])]
    ways = [
        f"{tail(search, before[way.source].tokens)} + {shortened(search.label(way.token))} {chance(way.score)}"
        for way in candidate.ways
    ]
    return [*row, ", ".join(ways)]


def _found(search: Search) -> Iterator[str]:
    if not search.found:
        return
    say = words("explanation", search.lang)
    yield say["search.text.found"]
    head = [
        say["search.text.in_beam" if search.only_ctc else "search.score"],
        say["search.text.all_paths"],
        say["search.text.text"],
    ]
    rows = [
        [
            chance(found.score) if search.only_ctc else number(found.score, 4),
            chance(found.text.score),
            search.text(found.text.tokens),
        ]
        for found in search.found
    ]
    yield from in_columns([head, *rows], last_left=True)
