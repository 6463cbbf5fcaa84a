"""The picture of what the loss takes in: the matrix of log-probabilities, and the target."""

from __future__ import annotations

from ...catalogue import words
from ...drawing.canvas import Picture, Sheet
from ...drawing.colors import GREEN, INK, MUTED
from ...drawing.text import number, shortened, subscript, widest
from ..numbers import Computation
from ..wording import costs_in_words, frames_needed, phrase
from . import heatmaps
from .table import LINE, MARGIN, MOST_FRAMES


def inputs(computation: Computation) -> Picture:
    """The matrix of log-probabilities (T, C) with its names, and the target."""
    e = computation
    say = words("explanation", e.lang)
    if e.frames > 2 * MOST_FRAMES or len(e.labels) > MOST_FRAMES:
        return heatmaps.inputs(e)
    heads = [
        f"C{subscript(c)}={shortened(label)}" + (f"={c}" if c == e.blank else "") for c, label in enumerate(e.labels)
    ]
    numbers = [[number(value, 4) for value in frame] for frame in e.log_probs]
    longest = max((len(text) for frame in numbers for text in frame), default=0)
    cell, row = max(62.0, 7.4 * longest + 10, 6.6 * max(map(widest, heads)) + 10), 20.0
    left = MARGIN + 12 + 7.2 * widest(say["inputs.frames"].format(frames=e.frames))
    top = MARGIN + 62
    matrix_width, matrix_height = cell * len(e.labels), row * max(e.frames, 1)
    target = shortened("[" + ", ".join(map(str, e.target)) + "]", 60)
    right = left + 44 + matrix_width + 60
    rows = "inputs.note.rows" if e.blank is not None else "inputs.note.rows.without_blank"
    notes = [
        say[rows].format(classes=len(e.labels)),
        *([say["inputs.note.blank"]] if e.is_ctc else costs_in_words(e)),
        phrase(e, "inputs.note.length").format(needed=frames_needed(e), frames=e.frames),
    ]
    lengths = phrase(e, "inputs.lengths").format(length=len(e.target))
    target_width = max(8.2 * len(target), 8 * widest(lengths))
    width = max(right + target_width, 7.2 * max(map(widest, notes))) + MARGIN
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
        sheet.text(begin - 12, y, f"t{subscript(t + 1)}", ha="right", color=MUTED)
        for c in range(len(e.labels)):
            sheet.text(begin + cell * (c + 1) - 8, y, numbers[t][c], ha="right")
    for x, side in ((begin - 4, 1), (begin + matrix_width + 4, -1)):
        sheet.line([x + 4 * side, x, x, x + 4 * side], [top, top, top + matrix_height, top + matrix_height], width=1.2)
    sheet.brace(top, top + matrix_height, left, upright=True, color=GREEN)
    sheet.text(left - 6, top + matrix_height / 2, say["inputs.frames"].format(frames=e.frames), color=GREEN, ha="right")
    sheet.text(
        begin + matrix_width / 2, top + matrix_height + 16, say["inputs.matrix"], color=MUTED, size=11, ha="center"
    )

    sheet.text(right + target_width / 2, top - 40, lengths, color=GREEN, ha="center")
    span = min(target_width, 7.4 * len(target))
    sheet.brace(
        right + (target_width - span) / 2, right + (target_width + span) / 2, top - 26, upright=False, color=GREEN
    )
    sheet.text(right + target_width / 2, top, target, ha="center", size=13)
    sheet.text(right + target_width / 2, top + 22, say["inputs.target"], ha="center", color=MUTED, size=11)
    if any(c < 0 or e.labels[c] != str(c) for c in e.target):
        sheet.text(right + target_width / 2, top + 42, shortened(e.text(e.target), 30), ha="center", color=INK, size=13)
    for i, note in enumerate(notes):
        sheet.text(MARGIN, top + matrix_height + 44 + LINE * i, note, color=INK, size=11.5)
    name = phrase(e, "inputs.name").format(frames=e.frames, classes=len(e.labels), target=e.spelling)
    return sheet.picture(name)
