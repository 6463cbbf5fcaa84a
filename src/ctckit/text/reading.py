"""What a recogniser's best classes say, and how that differs from what was meant.

The only greedy reader and the only edit distance of the package. Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Edit = tuple[int | None, int | None]  # (written, read): a token, or None
_FAR = 1 << 60  # a cost that nothing reaches


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


def edit_distance(written: Sequence[Hashable], read: Sequence[Hashable]) -> int:
    """Levenshtein distance: the fewest tokens to replace, insert or delete.

    Source:
        Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances" (2003); Python's integers
        are vectors of any length.

    Example:
        >>> edit_distance([4, 0, 7], [4, 7])
        1
    """
    places: dict[Hashable, int] = {}
    for j, token in enumerate(read):
        places[token] = places.get(token, 0) | 1 << j
    every = (1 << len(read)) - 1
    up, down = every, 0  # bit j: the distance to read[: j + 1] is one more, or one less, than that to read[:j]
    for token in written:
        here = places.get(token, 0)
        kept = (((here & up) + up) ^ up) | here | down
        right = (down | (every & ~(kept | up))) << 1 | 1
        up, down = (kept & up) << 1 | (every & ~(kept | right)), right & kept
    return len(written) + (up & every).bit_count() - (down & every).bit_count()


def edits(written: Sequence[int], read: Sequence[int]) -> list[Edit]:
    """Both sequences side by side, with as few differences as possible.

    Example:
        >>> edits([4, 0, 7], [4, 7])
        [(4, 4), (0, None), (7, 7)]
    """
    costs = [row.tolist() for row in _costs(written, read)]
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


def _costs(written: Sequence[int], read: Sequence[int]) -> list[npt.NDArray[np.int64]]:
    """Row i: the distances from the first i written tokens to each beginning of what was read."""
    columns = np.arange(len(read) + 1)
    across = np.array(read, np.int64)
    rows = [columns]
    for i, token in enumerate(written, start=1):
        row = np.concatenate([[i], np.minimum(rows[-1][1:] + 1, rows[-1][:-1] + (across != token))])
        rows.append(np.minimum.accumulate(row - columns) + columns)  # insertions, any number in a row
    return rows


@dataclass(frozen=True)
class Errors:
    """How a text that was read differs from what was meant; sums of them are those of many texts.

    Attributes:
        substitutions: words, or letters, that are others.
        deletions: that are missing.
        insertions: that are too many.
        length: of what was meant.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def total(self) -> int:
        """All errors: the edit distance."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors for each word, or letter, that was meant: the word, or letter, error rate. May be above 1."""
        return self.total / self.length if self.length else math.inf if self.total else 0.0


def word_errors(reference: str, hypothesis: str) -> Errors:
    """The fewest words to replace, insert or delete; of equal counts, that with the most words right.

    Words are between white space, and as they are written: see :meth:`ctckit.Vocabulary.comparable`.

    Example:
        >>> word_errors("the cat sat on the mat", "a cat sat on mat")
        Errors(substitutions=1, deletions=1, insertions=0, length=6)
        >>> word_errors("the cat", "a cat").rate
        0.5
    """
    return _errors(reference.split(), hypothesis.split())


def letter_errors(reference: str, hypothesis: str) -> Errors:
    """The same of characters; white space between words is one of them.

    Example:
        >>> letter_errors("the cat", "the  hats")
        Errors(substitutions=1, deletions=0, insertions=1, length=7)
    """
    return _errors(" ".join(reference.split()), " ".join(hypothesis.split()))


def _errors(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> Errors:
    begun, stop = ends_alike(reference, hypothesis)
    written, read = reference[begun : len(reference) - stop], hypothesis[begun : len(hypothesis) - stop]
    fewest = edit_distance(written, read)
    substitutions = _substitutions(written, read, fewest)
    gaps, longer = fewest - substitutions, len(written) - len(read)
    return Errors(substitutions, (gaps + longer) // 2, (gaps - longer) // 2, len(reference))


def ends_alike(written: Sequence[object], read: Sequence[object]) -> tuple[int, int]:
    """How many items two sequences begin with alike, and how many of the rest they end with.

    Example:
        >>> ends_alike("the cat sat", "the mat")
        (4, 2)
    """
    most = min(len(written), len(read))
    begun = next((i for i in range(most) if written[i] != read[i]), most)
    return begun, next((i for i in range(most - begun) if written[-1 - i] != read[-1 - i]), most - begun)


def _substitutions(written: Sequence[Hashable], read: Sequence[Hashable], fewest: int) -> int:
    """How many tokens are replaced in an alignment with the fewest errors, of those in the one that replaces fewest.

    A gap costs a little less than a replacement. Row i of the table holds the costs of (i, j) for the j near i: no
    alignment with so few errors goes further.
    """
    numbers: dict[Hashable, int] = {}
    gap = fewest + 1  # more than the replacements that break ties
    before, after = (fewest + len(written) - len(read)) // 2, (fewest - len(written) + len(read)) // 2
    near = np.arange(-before, after + 1)  # j - i
    padded = np.full(len(written) + len(near), -1)
    padded[before + 1 : before + 1 + len(read)] = [numbers.setdefault(token, len(numbers)) for token in read]
    gaps = np.arange(len(near)) * gap
    row = np.where(near < 0, _FAR, near * gap)
    for i, token in enumerate(written, start=1):
        changed = row + (gap + 1) * (padded[i : i + len(near)] != numbers.get(token, -2))
        changed[:-1] = np.minimum(changed[:-1], row[1:] + gap)
        row = np.minimum.accumulate(changed - gaps) + gaps  # insertions, any number in a row
    return int(row[len(read) - len(written) + before]) - gap * fewest
