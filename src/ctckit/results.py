"""What the public calls return. Imports NumPy only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.floating[Any]]
A = TypeVar("A")  # an array of NumPy's, or a tensor


class Status(IntEnum):
    """What became of a sample.

    ``OK``: a path has a probability above 0. ``INFEASIBLE``: no path has the sample's number of frames, whatever they
    hold. ``IMPOSSIBLE``: all of its paths have probability 0. ``NOT_FINITE``: a used frame holds NaN or +inf.
    ``INVALID``: a token or a length is wrong; on a GPU only, where the host does not read them.
    """

    OK = 0
    INFEASIBLE = 1
    IMPOSSIBLE = 2
    NOT_FINITE = 3
    INVALID = 4


class LossAndGrad(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: nats; (N,) for ``reduction="none"``, else a scalar.
        grad: shape and dtype of the scores. For ``reduction="none"`` each sample holds the gradient of its own loss.
    """

    loss: FloatArray
    grad: FloatArray


class LatticeLossAndGrad(NamedTuple):
    """A lattice's loss and its gradients.

    Attributes:
        loss: nats; (N,) for ``reduction="none"``, else a scalar.
        grad: by the scores, in their shape and dtype.
        class_scores: float64 (C,), summed over the batch.
        state_scores: float64 (N, K); (K,) for one sample.
        entry_costs: float64 (N, K); (K,) for one sample.
        long_arc_scores: float64 (J,), all samples' end to end.
    """

    loss: FloatArray
    grad: FloatArray
    class_scores: FloatArray
    state_scores: FloatArray
    entry_costs: FloatArray
    long_arc_scores: FloatArray


@dataclass(frozen=True)
class Posteriors(Generic[A]):
    """Occupancies γ: how probable it is, given the target, that a path is in a state at a frame.

    Attributes:
        states: (T, N, K), by lattice state; each used frame of a feasible sample sums to 1, all else is 0.
        classes: (T, N, C), the same by class.
        score: float64 (N,), the total log-score in nats: minus the loss; -inf where the target can't be reached.
        status: uint8 (N,), a :class:`Status` for each sample.
    """

    states: A
    classes: A
    score: A
    status: A


@dataclass(frozen=True)
class BestPaths(Generic[A]):
    """The most probable path of each sample.

    Attributes:
        states: int32 (N, T), the lattice state at each frame; -1 beyond a sample's frames, and everywhere if all of its
            paths have probability 0.
        score: float64 (N,), the path's log-score in nats; -inf without a path; NaN, and no states, if a used frame
            holds NaN or +inf.
        status: uint8 (N,), a :class:`Status` for each sample.
    """

    states: A
    score: A
    status: A


class TokenSpan(NamedTuple):
    """When a token of a target is said or written.

    Attributes:
        index: its index in the target, from 0.
        token: its class, or ``ctckit.STAR``.
        start: its first frame.
        end: one past its last frame.
        score: nats, the mean of its own frames' log-probabilities; frames that a span was extended over don't count.
    """

    index: int  # type: ignore[assignment]  # replaces tuple.index, which spans don't need
    token: int
    start: int
    end: int
    score: float


class Segment(NamedTuple):
    """A piece of text and its time: a line, a word of it, or a token of that.

    Attributes:
        text: as in the transcript.
        start: seconds.
        end: seconds.
        score: nats, the mean over the frames of its tokens.
        confidence: the mean occupancy of its frames, 0 to 1: how probable it is, given the transcript, that they are
            its own. Of a decoded text, how probable it is that the piece itself is right.
        parts: what it consists of: a line's words, a word's tokens.

    For a piece without audio (a skipped optional word), start, end, score and confidence are NaN.
    """

    text: str
    start: float
    end: float
    score: float
    confidence: float
    parts: tuple[Segment, ...] = ()


class Place(NamedTuple):
    """Where a line is on a page, in pixels from its upper left corner.

    Attributes:
        left: the first column with ink.
        top: the first row with ink, at `left`.
        right: the column after the last.
        bottom: the row after the last, at `left`.
        slope: rows per column by which the line goes down to the right.
    """

    left: float
    top: float
    right: float
    bottom: float
    slope: float = 0.0

    def rows(self, start: float, end: float) -> tuple[float, float]:
        """The rows from the top to the bottom of a part of the line, between two columns.

        Example:
            >>> Place(100, 20, 300, 50, slope=0.01).rows(200, 300)
            (21.0, 52.0)
        """
        moves = [self.slope * (column - self.left) for column in (start, end)]
        return self.top + min(moves), self.bottom + max(moves)
