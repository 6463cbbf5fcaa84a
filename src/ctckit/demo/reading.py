"""What the network reads, and how often it is wrong.

The reader is the simplest possible (the most probable class of every frame), so that it shows what the loss alone has
taught the network. May import text/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..text.reading import Edit, greedy
from .data import Floats, Ints


def digits(log_probs: npt.NDArray[np.floating[Any]]) -> list[int]:
    """The digits that the most probable classes of the frames of `log_probs` (T, C) spell; class 0 is the blank."""
    return [run.token - 1 for run in greedy(log_probs)]


@dataclass(frozen=True)
class HeldOut:
    """The network's output for the held-out lines.

    Attributes:
        log_probs: (T, N, C).
        frames: (N,), how many are in use.
        edits: for each line, how what was written and what was read differ.
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
