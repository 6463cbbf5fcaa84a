"""The beam as a tree: a column for each frame, the best prefix at the top, and below a line what is dropped."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ...catalogue import words
from ...catalogue.columns import wrapped
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import BLUE, BROWN, GREEN, GRID, INK, MUTED, PURPLE, TEAL
from ...drawing.text import number, shortened, subscript, widest
from ...errors import CTCError
from ..beam import Candidate, Search, Step, Way
from ..wording import Counted, answers, chance, ctc_rank_of, legend, notes, ordinal, rank_of, tail, terms_of
from .table import LINE, MARGIN

MOST_FRAMES, MOST_ROWS = 6, 6  # of a picture; of a beam
MOST_CLASSES = 4  # whose probabilities are written above a frame
LARGE, SMALL = 11.0, 8.5  # sizes of text
EM, PROSE = 0.66, 0.56  # widths, as parts of the size: of a column of numbers, and of sentences
FAN, JOINT = 44.0, 16.0  # between columns: where lines cross, and where they meet
PAD = 7.0  # within boxes
NODE, GAP, DROPPED = 42.0, 12.0, 25.0  # heights: of a prefix, between two, of a dropped one with its gap
SPREAD = 13.0  # between lines into one prefix
SMALL_LINE = 12.0
APART = "\u2003"  # between two texts in a line; browsers make one space of several
WAYS = {"blank": MUTED, "repeat": TEAL, "grow": BLUE}
ANSWERS = {"finds": GREEN, "reads": BROWN, "verdict": INK}


def tree(search: Search, first: int = 0, *, alone: bool = True) -> Picture:
    """At most six frames of the search.

    Args:
        search: the search.
        first: the frame to begin with.
        alone: with a heading above the tree, and below it what its colours mean and what was found.
    """
    last = max(1, search.frames) - 1
    if isinstance(first, bool) or not isinstance(first, int) or not 0 <= first <= last:
        raise CTCError(f"first = {first!r}: expected the first frame to be drawn, 0..{last}")
    steps = range(first, min(first + MOST_FRAMES, search.frames) + 1)
    heading = _heading(search, steps) if alone else []
    place = _place(search, steps, len(heading))
    width, below = place.x(steps[-1]) + place.box + MARGIN, []
    if alone:
        colors = [(text, WAYS[kind]) for kind, text in legend(search).items()]
        width = max(width, 2 * MARGIN + sum(_advance(text) for text, _ in colors))
        below = [colors, *_notes(search, width - 2 * MARGIN)]
    sheet = Sheet(width, place.bottom + 8 + LINE * len(below) + MARGIN)
    for i, line in enumerate(heading):
        how: dict[str, Any] = {"size": 11, "color": MUTED} if i else {"size": 13, "fontweight": "bold"}
        sheet.text(MARGIN, MARGIN + 8 + 22 * i, line, **how)
    _Tree(search, sheet, place).draw()
    for i, pieces in enumerate(below):
        x = MARGIN
        for text, color in pieces:
            sheet.text(x, place.bottom + 16 + LINE * i, text, size=LARGE, color=color)
            x += _advance(text)
    found = "–" if search.best is None else search.text(search.best.text.tokens)
    return sheet.picture(words("explanation", search.lang)["search.name"].format(text=shortened(found, 60)))


class _Place(NamedTuple):
    """Where things are, in points.

    Attributes:
        steps: those that are drawn, a column each.
        rows: how many prefixes of a beam there is room for.
        left: edge of the first column of boxes.
        label: width of the text on a line.
        box: width of a box.
        node: its height.
        top: of the first row.
        cut: the line below the beam.
        bottom: of everything.
    """

    steps: range
    rows: int
    left: float
    label: float
    box: float
    node: float
    top: float
    cut: float
    bottom: float

    def x(self, step: int) -> float:
        """The left edge of a step's boxes."""
        return self.left + (FAN + self.label + JOINT + self.box) * (step - self.steps.start)

    def y(self, row: int) -> float:
        """The middle of a row of the beam; the row after the last is for those that there is no room for."""
        return self.top + (self.node + GAP) * row + (self.node / 2 if row < self.rows else 4)


def _place(search: Search, steps: range, heading: int) -> _Place:
    """Gives everything as much room as its text needs, below the lines of the heading."""
    shown = [search.steps[i] for i in steps]
    rows = min(MOST_ROWS, max(1, *(len(step.beam) for step in shown)))
    kept = [candidate for step in shown for candidate in step.beam[:rows]]
    dropped = [candidate for step in shown[1:] for candidate in step.dropped]
    labels = [_label(search, way) for candidate in kept for way in candidate.ways]
    labels += [rank_of(search, candidate) for candidate in dropped]
    small = [line for candidate in kept for line in (APART.join(_split(search, candidate)), *_score(search, candidate))]
    small += [line for t in steps[1:] for line in _emissions(search, t - 1)]
    large = [_width(f"{_said(search, candidate)}  {chance(candidate.ctc)}") for candidate in (*kept, *dropped)]
    if not search.only_ctc:  # a dropped one has another text between these two
        between = [_width(ctc_rank_of(search, candidate), SMALL) for candidate in dropped]
        large += [a + b for a, b in zip(large[len(kept) :], between, strict=True)]
    over = max((len(_emissions(search, t - 1)) for t in steps[1:]), default=0)
    top = MARGIN + 22 * heading + 26 + SMALL_LINE * over
    node = NODE + SMALL_LINE * max((len(_score(search, candidate)) for candidate in kept), default=0)
    cut = top + (node + GAP) * rows + (SPREAD if any(len(step.beam) > rows for step in shown) else 0)
    depth = max((len(step.dropped) + (step.more > 0) for step in shown[1:]), default=0)
    return _Place(
        steps,
        rows,
        left=MARGIN + 12 + max(_width(ordinal(row + 1, search.lang), SMALL) for row in range(rows)),
        label=8 + max((_width(label, SMALL) for label in labels), default=0),
        box=2 * PAD + max(80.0, *large, *(_width(line, SMALL) for line in small)),
        node=node,
        top=top,
        cut=cut,
        bottom=cut + (10 + DROPPED * max(depth, 2) if dropped else 0),
    )


class _Tree:
    """The tree on a sheet."""

    def __init__(self, search: Search, sheet: Sheet, place: _Place) -> None:
        self.search, self.sheet, self.place = search, sheet, place
        self.say = words("explanation", search.lang)
        whole = place.steps[-1] == search.frames
        self.best = search.best.text.tokens if whole and search.best else None
        self.read = search.best_path.text.tokens if whole else None

    def draw(self) -> None:
        """Everything between the heading and the notes."""
        place, sheet = self.place, self.sheet
        for row in range(place.rows):
            rank = ordinal(row + 1, self.search.lang)
            sheet.text(place.left - 12, place.y(row), rank, size=SMALL, color=MUTED, ha="right")
        if place.bottom > place.cut:
            self.draw_cut()
        for step in place.steps:
            self.draw_head(step)
            shown = self.search.steps[step]
            for row, candidate in enumerate(shown.beam[: place.rows]):
                if step > place.steps.start:
                    self.draw_ways(step, place.y(row), candidate)
                self.draw_node(step, row, candidate)
            if len(shown.beam) > place.rows:
                more = self.say["search.in_beam"].format(more=len(shown.beam) - place.rows)
                sheet.text(place.x(step), place.y(place.rows), more, size=SMALL, color=MUTED)
            if step > place.steps.start:
                self.draw_dropped(step, shown)

    def draw_cut(self) -> None:
        """The line below the beam, and what it means: below the first column, where nothing else is drawn."""
        place = self.place
        self.sheet.line([MARGIN, place.x(place.steps[-1]) + place.box], [place.cut] * 2, color=MUTED, width=0.8)
        cut = self.say["search.cut"].format(beam=self.search.beam_width)
        columns = int((place.left + place.box - MARGIN) / (SMALL * PROSE))
        for i, line in enumerate(wrapped(cut, columns)):
            self.sheet.text(MARGIN, place.cut + 14 + SMALL_LINE * i, line, size=SMALL, color=MUTED)

    def draw_head(self, step: int) -> None:
        """The frame's number, and the probabilities of its best classes."""
        place = self.place
        lines = [] if step == place.steps.start else _emissions(self.search, step - 1)
        number_ = f"t{subscript(step)}" if step else self.say["search.start"]
        middle, y = place.x(step) + place.box / 2, place.top - 14 - SMALL_LINE * len(lines)
        self.sheet.text(middle, y, number_, size=LARGE, color=MUTED, ha="center")
        for i, line in enumerate(lines):
            self.sheet.text(middle, y + 15 + SMALL_LINE * i, line, size=SMALL, color=MUTED, ha="center")

    def draw_node(self, step: int, row: int, candidate: Candidate) -> None:
        """A prefix: its probability, and how much of it ends in the blank and in its last token."""
        place, sheet = self.place, self.sheet
        x, y = place.x(step), place.y(row) - place.node / 2
        last = step == self.search.frames
        found, read = last and candidate.tokens == self.best, last and candidate.tokens == self.read
        edge, line = (ANSWERS["finds"], 2.2) if found else (ANSWERS["reads"], 2.2) if read else (MUTED, 1.0)
        sheet.box(x, y, place.box, place.node, edge=edge, line=line)
        right = x + place.box - PAD
        sheet.text(x + PAD, y + 11, _said(self.search, candidate), size=LARGE, fontweight="bold")
        sheet.text(right, y + 11, chance(candidate.ctc), size=LARGE, ha="right")
        bar = place.box - 2 * PAD
        blank = bar * math.exp(candidate.blank - candidate.ctc)
        sheet.box(x + PAD, y + 19.5, blank, 3.5, fill=MUTED, line=0)
        sheet.box(x + PAD + blank, y + 19.5, bar - blank, 3.5, fill=PURPLE, line=0)
        in_blank, in_token = _split(self.search, candidate)
        sheet.text(x + PAD, y + 32, in_blank, size=SMALL, color=MUTED)
        sheet.text(right, y + 32, in_token, size=SMALL, color=PURPLE, ha="right")
        for i, text in enumerate(_score(self.search, candidate)):
            sheet.text(x + PAD, y + 32 + SMALL_LINE * (i + 1), text, size=SMALL)

    def draw_ways(self, step: int, y: float, candidate: Candidate) -> None:
        """Where a prefix's paths come from: a line for each way, with its class and its probability."""
        place, sheet = self.place, self.sheet
        right = place.x(step) - JOINT
        left, joint = right - place.label, place.x(step) - 8
        for i, way in enumerate(candidate.ways):
            at = y + SPREAD * (i - (len(candidate.ways) - 1) / 2)
            color = _color(self.search, way)
            share = math.exp(way.score - candidate.ctc)
            self.draw_line(step, way, left, at, color, 0.8 + 2 * share)
            sheet.text((left + right) / 2, at, _label(self.search, way), size=SMALL, color=color, ha="center")
            sheet.line([right, joint], [at, y], color=color, width=0.8 + 2 * share)
        sheet.line([joint, place.x(step)], [y, y], width=2)
        if len(candidate.ways) > 1:
            sheet.dot(joint, y, color=INK, radius=3.2)

    def draw_line(self, step: int, way: Way, x: float, y: float, color: str, width: float) -> None:
        """From the prefix before to where a line's text begins."""
        source = min(way.source, self.place.rows)
        begin = self.place.x(step - 1) + self.place.box
        self.sheet.line(
            [begin, begin + 6, x], [self.place.y(source), self.place.y(source), y], color=color, width=width
        )

    def draw_dropped(self, step: int, shown: Step) -> None:
        """What a frame drops, each with its rank; with a language, also that by the CTC score alone."""
        place, sheet = self.place, self.sheet
        for i, candidate in enumerate(shown.dropped):
            x, y = place.x(step), place.cut + 10 + DROPPED * (i + 0.5)
            rank, chance_ = rank_of(self.search, candidate), chance(candidate.ctc)
            for way in candidate.ways:
                self.draw_line(step, way, x - JOINT - place.label, y, GRID, 0.8)
            sheet.line([x - JOINT - place.label, x - 14 - _width(rank, SMALL)], [y, y], color=GRID, width=0.8)
            sheet.text(x - 8, y, rank, size=SMALL, color=MUTED, ha="right")
            sheet.box(x, y - 9.5, place.box, 19)
            sheet.text(x + PAD, y, _said(self.search, candidate), size=LARGE, color=MUTED)
            right = x + place.box - PAD
            sheet.text(right, y, chance_, size=LARGE, color=MUTED, ha="right")
            if not self.search.only_ctc:
                by_ctc = ctc_rank_of(self.search, candidate)
                sheet.text(right - _width(f"{chance_} "), y, by_ctc, size=SMALL, color=MUTED, ha="right")
        if shown.more:
            more = self.say["search.more"].format(more=shown.more, lost=chance(shown.lost))
            y = place.cut + 10 + DROPPED * (len(shown.dropped) + 0.5)
            sheet.text(place.x(step) + place.box, y, more, size=SMALL, color=MUTED, ha="right")


def _heading(search: Search, steps: range) -> list[str]:
    say = words("explanation", search.lang)
    sizes = {"frames": Counted(search.frames), "classes": Counted(len(search.labels)), "beam": search.beam_width}
    heading = [say["search.title"].format(**sizes)]
    if len(steps) <= search.frames:
        heading.append(say["search.window"].format(first=steps[0] + 1, last=steps[-1], frames=search.frames))
    return heading


def _notes(search: Search, width: float) -> list[list[tuple[str, str]]]:
    """What is written below the tree, line by line: pieces of text with their colours."""
    sentences = [(note, MUTED) for note in notes(search)]
    sentences += [(answer, ANSWERS[kind]) for kind, answer in answers(search).items()]
    columns = int(width / (LARGE * PROSE))
    return [[(line, color)] for sentence, color in sentences for line in wrapped(sentence, columns)]


def _emissions(search: Search, t: int) -> list[str]:
    """The probabilities of a frame's best classes, two a line."""
    row = search.log_probs[t]
    best = sorted(sorted(range(len(row)), key=lambda c: -row[c])[:MOST_CLASSES])
    texts = [f"{shortened(search.label(c))} {chance(float(row[c]))}" for c in best]
    return [*_in_pairs(texts), *(["…"] if len(row) > MOST_CLASSES else [])]


def _said(search: Search, candidate: Candidate) -> str:
    return tail(search, candidate.tokens)


def _split(search: Search, candidate: Candidate) -> tuple[str, str]:
    """How much of a prefix ends in the blank, and how much in its last token; nothing where that is 0."""
    blank = f"φ {chance(candidate.blank)}" if candidate.blank > -math.inf else ""
    return blank, _emitted(search, candidate.tokens[-1], candidate.token) if candidate.token > -math.inf else ""


def _score(search: Search, candidate: Candidate) -> list[str]:
    """With a language: what a prefix is ranked by, in nats."""
    if search.only_ctc:
        return []
    score = words("explanation", search.lang)["search.score"]
    ranked = f"{score} {number(candidate.score, 2)}, {ctc_rank_of(search, candidate)}"
    return [ranked, *_in_pairs(terms_of(search, candidate))]


def _in_pairs(texts: list[str]) -> list[str]:
    return [APART.join(texts[i : i + 2]) for i in range(0, len(texts), 2)]


def _label(search: Search, way: Way) -> str:
    return ("+ " if way.grows else "") + _emitted(search, way.token, way.score)


def _emitted(search: Search, token: int, score: float) -> str:
    return f"{shortened(search.label(token), 8)} {chance(score)}"


def _color(search: Search, way: Way) -> str:
    return WAYS["grow" if way.grows else "blank" if way.token == search.blank else "repeat"]


def _width(text: str, size: float = LARGE) -> float:
    return EM * size * widest(text)


def _advance(text: str) -> float:
    """From one piece of prose in a line to the next."""
    return PROSE * LARGE * widest(text) + 18
