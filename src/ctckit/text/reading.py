"""What a recogniser's best classes say, and how that differs from what was meant.

The only greedy reader and the only edit distance of the package. Imports NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Edit = tuple[int | None, int | None]  # (written, read): a token, or None


class Run(NamedTuple):
    """A token as a path emits it: neighbouring frames of one class.

    Attributes:
        token: its class.
        start: its first frame.
        end: one past its last frame.
    """

    token: int
    start: int
    end: int


def collapse(path: npt.ArrayLike, blank: int = 0) -> list[Run]:
    """What a path says: repeats merged, blanks left out.

    Args:
        path: (T,), the class of each frame.
        blank: the blank's class.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), the map B in section 3.1.

    Example:
        >>> [tuple(run) for run in collapse([0, 7, 7, 0, 7, 2])]
        [(7, 1, 3), (7, 4, 5), (2, 5, 6)]
    """
    labels = np.asarray(path)
    starts = np.flatnonzero(np.append(True, labels[1:] != labels[:-1])[: len(labels)])
    runs = zip(labels[starts].tolist(), starts.tolist(), [*starts[1:].tolist(), len(labels)], strict=False)
    return [Run(int(label), start, end) for label, start, end in runs if label != blank]


def greedy(scores: npt.NDArray[Any], blank: int = 0) -> list[Run]:
    """The tokens that the most probable class of each frame spells (best path decoding).

    Args:
        scores: (T, C), log-probabilities, probabilities or logits. Of equal classes the lowest counts.
        blank: the blank's class.

    Example:
        >>> [run.token for run in greedy(np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3], [0.4, 0.6]]))]
        [1, 1]
    """
    return collapse(scores.argmax(axis=1), blank)


def edit_distance(written: Sequence[int], read: Sequence[int]) -> int:
    """Levenshtein distance: the fewest tokens to replace, insert or delete.

    Example:
        >>> edit_distance([4, 0, 7], [4, 7])
        1
    """
    return int(_costs(written, read, keep=False)[-1][-1])


def edits(written: Sequence[int], read: Sequence[int]) -> list[Edit]:
    """Both sequences side by side, with as few differences as possible.

    Example:
        >>> edits([4, 0, 7], [4, 7])
        [(4, 4), (0, None), (7, 7)]
    """
    costs = [row.tolist() for row in _costs(written, read, keep=True)]
    found: list[Edit] = []
    i, j = len(written), len(read)
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + (written[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            found.append((written[i], read[j]))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            found.append((written[i], None))
        else:
            j -= 1
            found.append((None, read[j]))
    return found[::-1]


def _costs(written: Sequence[int], read: Sequence[int], *, keep: bool) -> list[npt.NDArray[np.int64]]:
    """Row i: the distances from the first i written tokens to each beginning of what was read; the last row, or all."""
    columns = np.arange(len(read) + 1)
    across = np.array(read, np.int64)
    rows = [columns]
    for i, token in enumerate(written, start=1):
        row = np.concatenate([[i], np.minimum(rows[-1][1:] + 1, rows[-1][:-1] + (across != token))])
        row = np.minimum.accumulate(row - columns) + columns  # insertions, any number in a row
        if not keep:
            rows.clear()
        rows.append(row)
    return rows
