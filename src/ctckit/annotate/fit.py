"""How well a text fits a recording: how far it is below what the network reads by itself.

A confidence can't tell: it is how sure it is, given the text, that a frame is a token's own, and is high for any text.
May import text/ and what lies below it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..lattice import STAR
from ..text import Vocabulary
from ..text.reading import collapse

# Nats a token. Right texts of trained networks stay below 1, with one letter in 20 misread and one word in 30 not said;
# texts of other recordings are above 3, and the real networks' above 5.
WRONG = 2.5
CONTROLS = dict.fromkeys([*range(32), *range(127, 160)], "\ufffd")  # a text must not move the terminal's cursor
_SHOWN = 60  # characters of a reading in a sentence


class Fit(NamedTuple):
    """A text beside the network's own reading.

    Attributes:
        misfit: nats a token by which the text's path is below the best path of all; frames of stars don't count. NaN if
            no token has a frame.
        reading: the text of the best path of all: each frame's most probable class.
    """

    misfit: float
    reading: str

    def __str__(self) -> str:
        if math.isnan(self.misfit):
            return f"no token of the text was found; the network reads {_short(self.reading)!r}"
        return f"{self.misfit:.2f} nats a token below what the network reads: {_short(self.reading)!r}"

    @property
    def notes(self) -> tuple[str, ...]:
        """A warning, if the text is probably another recording's."""
        return (f"{self}; is it the same recording?",) if not self.misfit <= WRONG else ()

    def as_dict(self) -> dict[str, float | str | None]:
        """For JSON."""
        return {"misfit": None if math.isnan(self.misfit) else round(self.misfit, 6), "reading": self.reading}


def fit_of(scores: npt.NDArray[np.floating[Any]], path: npt.NDArray[np.int32], vocabulary: Vocabulary) -> Fit:
    """Compares a text's path (T,) with the best path through scores (T, C), log-probabilities or logits.

    Example:
        >>> scores = np.log([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]])
        >>> fit_of(scores, np.array([0, 1, 0], np.int32), Vocabulary(["φ", "a", "b"]))
        Fit(misfit=2.0794415416798357, reading='b')
    """
    best = scores.argmax(axis=1)
    frames = np.flatnonzero((path != STAR) & (path != best))
    below = np.subtract(scores[frames, best[frames]], scores[frames, path[frames]], dtype=np.float64)
    count = sum(run.token != STAR for run in collapse(path, vocabulary.blank))
    reading = vocabulary.read([run.token for run in collapse(best, vocabulary.blank)])
    return Fit(float(below.sum()) / count if count else math.nan, reading)


def _short(text: str) -> str:
    text = text.translate(CONTROLS)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
