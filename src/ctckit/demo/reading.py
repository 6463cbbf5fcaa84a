"""From network output to digits, and from digits to an error rate. Imports NumPy only.

Best-path reading is the simplest there is: the likeliest class of every frame, repeats merged, blanks dropped. It
shows what the loss alone has taught the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from .data import Floats, Ints

Edit = tuple[int | None, int | None]  # (written, read): a digit, or None where there is none


def best_path(log_probs: npt.NDArray[np.floating]) -> list[int]:
    """The digits that the likeliest class of each frame of `log_probs` (T, C) spells."""
    return [int(label) - 1 for label, _ in groupby(log_probs.argmax(axis=-1)) if label != 0]


def align(written: Sequence[int], read: Sequence[int]) -> list[Edit]:
    """Both sequences side by side, with as few differences as can be (Levenshtein).

    Example:
        >>> align([4, 0, 7], [4, 7])
        [(4, 4), (0, None), (7, 7)]
    """
    rows, columns = len(written), len(read)
    cost = [[i + j for j in range(columns + 1)] for i in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            replaced = cost[i - 1][j - 1] + (written[i - 1] != read[j - 1])
            cost[i][j] = min(replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1)

    edits: list[Edit] = []
    i, j = rows, columns
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (written[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            edits.append((written[i], read[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            edits.append((written[i], None))
        else:
            j -= 1
            edits.append((None, read[j]))
    return edits[::-1]


@dataclass(frozen=True)
class HeldOut:
    """What the network makes of the held-out lines.

    `log_probs` (T, N, C) with `frames` (N,) in use, and for each line how what was written and what was read differ.
    """

    log_probs: Floats
    frames: Ints
    edits: list[list[Edit]]

    @property
    def right(self) -> list[bool]:
        """For each line, whether all of it was read as written."""
        return [all(written == read for written, read in line) for line in self.edits]

    @property
    def cer(self) -> float:
        """Character error rate: wrong, missed and invented digits, as a share of the digits written."""
        wrong = sum(written != read for line in self.edits for written, read in line)
        return wrong / sum(written is not None for line in self.edits for written, _ in line)

    @property
    def line_accuracy(self) -> float:
        """The share of lines without any error."""
        return float(np.mean(self.right))

    def read(self, n: int) -> list[int]:
        """The digits that were read on line `n`."""
        return [read for _, read in self.edits[n] if read is not None]
