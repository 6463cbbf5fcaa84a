"""Pictures drawn by hand: the inputs, the rules, example paths, and the computation as tables. Imports canvas.py.

They show numbers that an explanation holds, and moves that its lattice's arcs allow; nothing is computed here but where
things go. What is too large for a table is shown by heatmaps.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..catalogue import words
from ..kernels import reference
from ..lattice import Arc, Lattice, ctc_lattice, equal_neighbours
from . import heatmaps
from .canvas import BLUE, GREEN, GRID, INK, MUTED, ORANGE, PATH_COLORS, RED, Picture, Sheet, shortened
from .computation import Explanation, Path, counted
from .terminal import cells, number

LINE = 17.0  # from one line of text to the next
MARGIN = 16.0
MOST_FRAMES, MOST_STATES = 14, 15  # of a table; more becomes a heat map
MOST_COLORED = 6  # paths, or all arrows are grey


def inputs(explanation: Explanation) -> Picture:
    """The matrix of log-probabilities (T, C) with its names, and the target."""
    e = explanation
    say = words("explanation", e.lang)
    if e.frames > 2 * MOST_FRAMES or len(e.labels) > MOST_FRAMES:
        return heatmaps.inputs(e)
    heads = [f"C{_low(c)}={shortened(label)}" + (f"={c}" if c == e.blank else "") for c, label in enumerate(e.labels)]
    numbers = [[number(value, 4) for value in frame] for frame in e.log_probs]
    longest = max((len(text) for frame in numbers for text in frame), default=0)
    cell, row = max(62.0, 7.4 * longest + 10, 6.6 * max(map(_width, heads)) + 10), 20.0
    left = MARGIN + 12 + 7.2 * _width(say["inputs.frames"].format(frames=e.frames))
    top = MARGIN + 62
    matrix_width, matrix_height = cell * len(e.labels), row * max(e.frames, 1)
    target = shortened("[" + ", ".join(map(str, e.target)) + "]", 60)
    right = left + 44 + matrix_width + 60
    notes = [
        say["inputs.note.rows"].format(classes=len(e.labels)),
        say["inputs.note.blank"],
        say["inputs.note.length"].format(needed=e.frames_needed, frames=e.frames),
    ]
    target_width = max(8.2 * len(target), 8 * _width(say["inputs.lengths"].format(length=len(e.target))))
    width = max(right + target_width, 7.2 * max(map(_width, notes))) + MARGIN
    sheet = Sheet(width, top + matrix_height + 34 + LINE * len(notes) + MARGIN)

    begin = left + 44
    sheet.text(
        begin + matrix_width / 2,
        MARGIN + 6,
        say["inputs.classes"].format(classes=len(e.labels)),
        color=GREEN,
        ha="center",
    )
    sheet.brace(begin, begin + matrix_width, MARGIN + 18, upright=False, color=GREEN)
    for c, head in enumerate(heads):
        sheet.text(begin + cell * (c + 0.5), top - 16, head, ha="center", color=MUTED, size=11)
    for t in range(e.frames):
        y = top + row * (t + 0.5)
        sheet.text(begin - 12, y, f"t{_low(t + 1)}", ha="right", color=MUTED)
        for c in range(len(e.labels)):
            sheet.text(begin + cell * (c + 1) - 8, y, numbers[t][c], ha="right")
    for x, side in ((begin - 4, 1), (begin + matrix_width + 4, -1)):
        sheet.line([x + 4 * side, x, x, x + 4 * side], [top, top, top + matrix_height, top + matrix_height], width=1.2)
    sheet.brace(top, top + matrix_height, left, upright=True, color=GREEN)
    sheet.text(left - 6, top + matrix_height / 2, say["inputs.frames"].format(frames=e.frames), color=GREEN, ha="right")
    sheet.text(
        begin + matrix_width / 2, top + matrix_height + 16, say["inputs.matrix"], color=MUTED, size=11, ha="center"
    )

    sheet.text(
        right + target_width / 2, top - 40, say["inputs.lengths"].format(length=len(e.target)), color=GREEN, ha="center"
    )
    span = min(target_width, 7.4 * len(target))
    sheet.brace(
        right + (target_width - span) / 2, right + (target_width + span) / 2, top - 26, upright=False, color=GREEN
    )
    sheet.text(right + target_width / 2, top, target, ha="center", size=13)
    sheet.text(right + target_width / 2, top + 22, say["inputs.target"], ha="center", color=MUTED, size=11)
    if any(e.labels[c] != str(c) for c in e.target):
        sheet.text(right + target_width / 2, top + 42, shortened(e.text(e.target), 30), ha="center", color=INK, size=13)
    for i, note in enumerate(notes):
        sheet.text(MARGIN, top + matrix_height + 44 + LINE * i, note, color=INK, size=11.5)
    name = say["inputs.name"].format(frames=e.frames, classes=len(e.labels), target=e.text(e.target))
    return sheet.picture(name)


class Table:
    """A lattice as a table on a sheet: a row a state, a column a frame, and a corner that paths start from."""

    CELL, WIDE_CELL, ROW = 54.0, 70.0, 32.0

    def __init__(
        self, sheet: Sheet, x: float, y: float, states: Sequence[str], frames: int, cell: float = CELL
    ) -> None:
        self.sheet, self.x, self.y, self.frames, self.cell = sheet, x, y, frames, cell
        width, height = self.size(states, frames, cell)
        self.names = width - cell * frames
        for edge in (x, *(x + self.names + cell * i for i in range(frames + 1))):
            sheet.line([edge] * 2, [y, y + height], color=GRID)
        for i in range(len(states) + 2):
            sheet.line([x, x + width], [y + self.ROW * i] * 2, color=GRID)
        for t in range(frames):
            sheet.text(*self.place(-1, t), f"t{_low(t + 1)}", ha="center", color=MUTED)
        for k, label in enumerate(states):
            blank = k % 2 == 0
            sheet.text(*self.place(k, -1), shortened(label), ha="center", color=MUTED if blank else INK, size=13)

    @classmethod
    def size(cls, states: Sequence[str], frames: int, cell: float = CELL) -> tuple[float, float]:
        """Width and height of a table; its first column is as wide as the names need."""
        names = max(cell, *(8.6 * _width(shortened(label)) + 16 for label in states))
        return names + cell * frames, cls.ROW * (len(states) + 1)

    def place(self, k: int, t: int) -> tuple[float, float]:
        """The middle of a cell; of the header or the names for -1."""
        across = self.names / 2 if t < 0 else self.names + self.cell * (t + 0.5)
        return self.x + across, self.y + self.ROW * (k + 1.5)

    def start(self) -> None:
        """The dot that paths start from."""
        self.sheet.dot(*self.place(-1, -1), color=ORANGE, radius=7)

    def move(
        self, begin: tuple[int, int], end: tuple[int, int], *, color: str = INK, label: str = "", shift: float = 0
    ) -> None:
        """An arrow from cell to cell, (state, frame) each, with room left for what the cells hold."""
        (x0, y0), (x1, y1) = self.place(*begin), self.place(*end)
        long = math.hypot(x1 - x0, y1 - y0)
        dx, dy = (x1 - x0) / long, (y1 - y0) / long
        x0, x1, y0, y1 = x0 - dy * shift, x1 - dy * shift, y0 + dx * shift, y1 + dx * shift
        gap = 11.0
        self.sheet.arrow((x0 + dx * gap, y0 + dy * gap), (x1 - dx * gap, y1 - dy * gap), color=color)
        if label:
            self.sheet.text(
                (x0 + x1) / 2 + 5 * dy, (y0 + y1) / 2 - 7 - 2 * dy, label, color=color, size=10, ha="center"
            )

    def cross(self, begin: tuple[int, int], end: tuple[int, int]) -> None:
        """A move that no path makes."""
        self.move(begin, end, color=RED)
        x, y = (np.array(self.place(*begin)) + self.place(*end)) / 2
        for sign in (1, -1):
            self.sheet.line([x - 6, x + 6], [y - 6 * sign, y + 6 * sign], color=RED, width=2.6)


def rules(explanation: Explanation) -> tuple[Picture, ...]:
    """The rules, on the first tokens of the target: no token skipped, the moves, and equal neighbours."""
    return _no_skip(explanation), _moves(explanation), _equal_neighbours(explanation)


def _rule(e: Explanation, number: int, key: str, states: Sequence[str], frames: int, note: str) -> tuple[Sheet, Table]:
    """A sheet with a title, an empty table and a note."""
    say = words("explanation", e.lang)
    lines = note.split("\n")
    table_width, table_height = Table.size(states, frames)
    width = max(table_width, 6.6 * max(map(_width, lines)), 8 * _width(say[f"rules.{key}.title"])) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + 30 + table_height + 16 + LINE * len(lines) + MARGIN / 2)
    sheet.text(MARGIN, MARGIN + 8, say[f"rules.{key}.title"], size=14, fontweight="bold")
    table = Table(sheet, MARGIN, MARGIN + 30, states, frames)
    for i, line in enumerate(lines):
        sheet.text(MARGIN, MARGIN + 30 + table_height + 18 + LINE * i, line, size=11, color=MUTED)
    return sheet, table


def _named(e: Explanation, sheet: Sheet, number: int, key: str) -> Picture:
    say = words("explanation", e.lang)
    title = say[f"rules.{key}.title"]
    return sheet.picture(say["rules.name"].format(number=number, target=e.text(e.target), title=title[3:]))


def _window(e: Explanation, tokens: int = 3) -> tuple[Lattice, list[str]]:
    """The lattice of the target's first tokens, which rules can be shown on, and the names of its states."""
    lattice = ctc_lattice(np.array(e.target[:tokens], np.int64), e.blank)
    return lattice, [e.labels[c] for c in lattice.labels]


def _no_skip(e: Explanation) -> Picture:
    lattice, names = _window(e)
    note = words("explanation", e.lang)["rules.skip.note"]
    sheet, table = _rule(e, 1, "skip", names, 4, note)
    first = 1
    for t, (begin, ahead) in enumerate(((first, 4), (first + 1, 2))):
        end = begin + ahead
        if end < lattice.num_states:
            table.cross((begin, t), (end, t + 1))
    for k in (first, first + 3):
        for ahead in _steps(lattice, k) if k < lattice.num_states else ():
            t = 2
            table.move((k, t), (k + ahead, t + 1))
    return _named(e, sheet, 1, "skip")


def _moves(e: Explanation) -> Picture:
    lattice, names = _window(e)
    frames = 5
    note = words("explanation", e.lang)["rules.moves.note"]
    sheet, table = _rule(e, 2, "moves", names, frames, note)
    table.start()
    for k in np.flatnonzero(lattice.arcs & Arc.START).tolist():
        table.move((-1, -1), (k, 0))
    for k in np.flatnonzero(lattice.arcs & Arc.END).tolist():
        sheet.dot(*table.place(k, frames - 1), color=BLUE)
    for t, k in ((0, 1), (2, 2)):
        if k < lattice.num_states:
            for ahead in _steps(lattice, k):
                table.move((k, t), (k + ahead, t + 1))
    return _named(e, sheet, 2, "moves")


def _equal_neighbours(e: Explanation) -> Picture:
    say = words("explanation", e.lang)
    repeats = equal_neighbours(np.array(e.target, np.int64))
    note = ""
    if repeats:
        first = max(0, repeats[0] - 2)
        target, at = e.target[first : repeats[0] + 1], repeats[0] - first
    elif e.target:
        target, at = (*e.target[:2], e.target[min(1, len(e.target) - 1)]), min(2, len(e.target))
        note = "\n" + say["rules.repeat.made_up"].format(target=e.text(e.target), example=e.text(target))
    else:
        other = next((c for c in range(len(e.labels)) if c != e.blank), None)
        target, at = ((other, other), 1) if other is not None else ((), 0)
        note = "\n" + say["rules.repeat.made_up"].format(target="∅", example=e.text(target))
    lattice = ctc_lattice(np.array(target, np.int64), e.blank)
    names = [e.labels[c] for c in lattice.labels]
    token = e.labels[target[at]] if target else "?"
    sheet, table = _rule(e, 3, "repeat", names, 5, say["rules.repeat.note"].format(pair=token * 2, token=token) + note)
    k = 2 * at - 1  # the first of the two
    if target:
        table.cross((k, 0), (k + 2, 1))
        for ahead in _steps(lattice, k):
            table.move((k, 2), (k + ahead, 3))
        table.move((k + 1, 3), (k + 2, 4))
    return _named(e, sheet, 3, "repeat")


def _steps(lattice: Lattice, k: int) -> Iterator[int]:
    """How many states up one may go from state k."""
    for bit, ahead in ((Arc.STAY, 0), *reference.MOVES):
        if k + ahead < lattice.num_states and lattice.arcs[k + ahead] & bit:
            yield ahead


def example_paths(explanation: Explanation, paths: Sequence[Path] | None = None) -> Picture:
    """A few paths through the table, each in its own colour, every arrow with the label that it emits."""
    e = explanation
    say = words("explanation", e.lang)
    shown = _unlike(e.paths) if paths is None else list(paths)
    if e.frames > MOST_FRAMES or e.lattice.num_states > MOST_STATES:
        return heatmaps.paths(e, shown)
    target = e.text(e.target)
    heading = say["paths.heading"].format(
        target=target, frames=e.frames, examples=", ".join(_listed(e, path) for path in shown)
    )
    note = say["paths.note"].format(count=counted(e.path_count), target=target)
    if not shown:
        heading = say["computation.none"].format(frames=e.frames, target=target, needed=e.frames_needed)
        note = ""
    table_width, table_height = Table.size(e.state_labels, e.frames)
    legend = 10.5 * max((_width(_listed(e, path)) for path in shown), default=0)
    width = max(table_width + 24 + legend, 6.8 * _width(heading), 6.8 * _width(note)) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + 56 + table_height + 36)
    sheet.text(MARGIN, MARGIN + 8, say["paths.title"], size=14, fontweight="bold")
    sheet.text(MARGIN, MARGIN + 32, heading, size=11, color=MUTED)
    table = Table(sheet, MARGIN, MARGIN + 56, e.state_labels, e.frames)
    table.start()
    for i, (path, color) in enumerate(zip(shown, PATH_COLORS, strict=False)):
        _follow(table, path, color, names=e.state_labels, shift=5.0 * (i - (len(shown) - 1) / 2))
        sheet.text(MARGIN + table_width + 18, table.place(0, 0)[1] + 24 * i, _listed(e, path), color=color, size=14)
    for k in np.flatnonzero(e.lattice.arcs & Arc.END).tolist():
        if e.frames:
            x, y = table.place(k, e.frames - 1)
            sheet.dot(x + 16, y, color=BLUE, radius=4)
    sheet.text(MARGIN, MARGIN + 56 + table_height + 18, note, size=11, color=MUTED)
    return sheet.picture(say["paths.name"].format(target=target))


def _follow(table: Table, path: Path, color: str, *, names: Sequence[str] | None = None, shift: float = 0) -> None:
    """A path's arrows, from the start dot on."""
    places = [(-1, -1), *((k, t) for t, k in enumerate(path.states))]
    for begin, end in pairwise(places):
        table.move(begin, end, color=color, label=names[end[0]] if names else "", shift=shift)


def _unlike(paths: Sequence[Path]) -> list[Path]:
    """The best path, and the one that agrees with it in the fewest frames."""
    if len(paths) < 2:
        return list(paths)
    best = np.array(paths[0].states)
    return [paths[0], max(paths[1:], key=lambda path: int((np.array(path.states) != best).sum()))]


def computation(explanation: Explanation) -> Picture:
    """One table for each end state, the paths that end there in colour, α in the cells, and the loss below."""
    e = explanation
    say = words("explanation", e.lang)
    if e.frames > MOST_FRAMES or e.lattice.num_states > MOST_STATES:
        return heatmaps.alpha(e)
    ends = [k for k in np.flatnonzero(e.lattice.arcs & Arc.END).tolist() if e.frames and e.alpha[-1, k] > -np.inf]
    values = [number(value, 5) for value in e.alpha[e.alpha > -np.inf].ravel()]
    cell = max(Table.WIDE_CELL, 6.6 * max(map(len, values), default=0) + 20)
    table_width, table_height = Table.size(e.state_labels, e.frames, cell)
    listed = 9.5 * max(8, 2 + max((_width(_listed(e, path)) for path in e.paths), default=0))
    panel = table_width + listed
    loss = _loss_line(e, ends)
    footer = [say["computation.note"], loss]
    per_row = 2 if panel < 520 else 1
    rows = -(-len(ends) // per_row)
    panel_height = 30 + table_height + 24
    width = max(per_row * panel, 6.9 * max(map(_width, footer))) + 2 * MARGIN
    sheet = Sheet(width, MARGIN + rows * panel_height + 2 * LINE + MARGIN)
    colors = iter(PATH_COLORS * 99)
    for i, k in enumerate(ends):
        x, y = MARGIN + i % per_row * panel, MARGIN + i // per_row * panel_height
        sheet.text(
            x, y + 8, say["computation.ends"].format(state=k + 1, label=e.state_labels[k]), size=12, fontweight="bold"
        )
        table = Table(sheet, x, y + 26, e.state_labels, e.frames, cell)
        _end_table(e, table, k, colors)
    for i, line in enumerate(footer):
        sheet.text(MARGIN, MARGIN + rows * panel_height + 6 + LINE * i, line, size=11.5, color=INK if i else MUTED)
    return sheet.picture(say["computation.name"].format(target=e.text(e.target), loss=number(e.loss, 10)))


def _end_table(e: Explanation, table: Table, end: int, colors: Iterator[str]) -> None:
    """What leads to one end state: α where that can still be reached, and the paths, if they are few, in colour."""
    sheet = table.sheet
    table.start()
    reaches = _reaching(e.lattice, e.frames, end)
    for t, k in np.argwhere(reaches & (e.alpha > -np.inf)).tolist():
        sheet.text(*table.place(k, t), number(e.alpha[t, k], 5), ha="center", size=9.5, zorder=6)
    paths = sorted((path for path in e.paths if path.states[-1] == end), key=lambda path: path.states)
    whole = len(e.paths) == e.path_count and e.path_count <= MOST_COLORED
    shown = paths[: max(4, int((Table.ROW * (e.lattice.num_states + 1) - 60) / 20))]
    left, top = table.place(0, e.frames)[0] - table.cell / 2 + 12, table.place(0, 0)[1]
    for i, path in enumerate(shown):
        color = next(colors) if whole else INK
        if whole:
            _cell_arrows(table, path, color, shift=3.0 * (i - (len(shown) - 1) / 2))
        sheet.text(left, top + 20 * i, _listed(e, path), color=color)
    if not whole:
        _all_arrows(e, table, reaches)
    rest = len(paths) - len(shown) if whole else _ending_in(e.lattice, e.frames, end) - len(shown)
    if rest > 0:
        more = words("explanation", e.lang)["computation.more"].format(count=counted(rest))
        sheet.text(left, top + 20 * len(shown), more, color=MUTED, size=11)


def _cell_arrows(table: Table, path: Path, color: str, shift: float) -> None:
    """A path's arrows, from border to border, so that the numbers in the cells stay free."""
    places = [(-1, -1), *((k, t) for t, k in enumerate(path.states))]
    for (k0, t0), (k1, t1) in pairwise(places):
        (x0, y0), (x1, y1) = table.place(k0, t0), table.place(k1, t1)
        down = 9.0 if k1 == k0 else math.copysign(9.0, k1 - k0)
        if k1 == k0:
            table.sheet.arrow((x0 + 9, y0 + down + shift), (x1 - 9, y1 + down + shift), color=color, width=1.3)
        else:
            table.sheet.arrow((x0 + 9 + shift, y0 + down), (x1 - 9 + shift, y1 - down), color=color, width=1.3)


def _all_arrows(e: Explanation, table: Table, reaches: npt.NDArray[np.bool_]) -> None:
    """Every move that some path to the end makes, in grey."""
    alive = reaches & (e.alpha > -np.inf)
    for k in np.flatnonzero(alive[0] if e.frames else []).tolist():
        _cell_arrows(table, Path((k,), 0, 0), MUTED, 0)
    for t in range(1, e.frames):
        for k in np.flatnonzero(alive[t - 1]).tolist():
            for ahead in _steps(e.lattice, k):
                if alive[t, k + ahead]:
                    (x0, y0), (x1, y1) = table.place(k, t - 1), table.place(k + ahead, t)
                    down = 9.0 if ahead else 0.0
                    begin, stop = (x0 + (10 if ahead else 27), y0 + down), (x1 - (10 if ahead else 27), y1 - down)
                    table.sheet.arrow(begin, stop, color=MUTED, width=0.8)


def _reaching(lattice: Lattice, frames: int, end: int) -> npt.NDArray[np.bool_]:
    """Which cells (T, K) one state at the last frame can be reached from."""
    return np.asarray(_ways(lattice, frames, end) != 0, bool)


def _ending_in(lattice: Lattice, frames: int, end: int) -> int:
    """How many paths end in one state."""
    only = _only(lattice, end)
    return reference.count_paths(only, frames)


def _ways(lattice: Lattice, frames: int, end: int) -> npt.NDArray[np.object_]:
    return reference.backward(_only(lattice, end), np.ones((frames, lattice.num_states), object), reference.COUNT)


def _only(lattice: Lattice, end: int) -> Lattice:
    """The same lattice, with one state to end in."""
    arcs = lattice.arcs & ~np.uint8(Arc.END)
    arcs[end] |= Arc.END
    return replace(lattice, arcs=arcs)


def _loss_line(e: Explanation, ends: Sequence[int]) -> str:
    say = words("explanation", e.lang)
    if e.path_count and not ends:
        return say["computation.impossible"].format(frames=e.frames, count=counted(e.path_count))
    if not ends:
        return say["computation.none"].format(frames=e.frames, target=e.text(e.target), needed=e.frames_needed)
    terms = ", ".join(number(e.alpha[-1, k], 5) for k in ends)
    return say["computation.loss"].format(ends=terms, loss=number(e.loss, 10))


def _listed(e: Explanation, path: Path) -> str:
    """A path as it stands in a list."""
    return shortened(e.spelled(path), 40)


def _low(number: int) -> str:
    """A number as a subscript."""
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _width(text: str) -> int:
    """The width of text in letters: of its longest line."""
    return max(map(cells, text.split("\n")))
