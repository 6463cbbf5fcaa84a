"""Made-up outputs of a recogniser that is not always sure, for decoding. Imports nothing of the package.

A token has one to three frames. In them the blank and three other classes, always the same three for a token, are
within some nats of it, and may be more probable. Between tokens the blank is the most probable. All other scores are
noise. So a frame has about as many classes above 1/1000, 1/150 and 1/20 as in the tests' noisy lines of print, and its
best class is below 0.9 about as often: in 0.31 of the frames for C=32, in 0.27 of those lines at noise 0.65.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NOISE = 2.0  # nats, its standard deviation
SURE = 6.0  # nats of a frame's class above the sum of the others, without noise: 6 + ln C above each
LONGEST = 3  # frames of a token, at most


class Doubt(NamedTuple):
    """Scores of the blank and of others in a token's frames: nats above the token's own, drawn between two bounds."""

    blank: tuple[float, float]
    others: tuple[float, float]  # three classes


SOME = Doubt((-6, 1), (-10, 0.5))
MUCH = Doubt((-5, 2), (-6, 2))  # needs a language


class Shape(NamedTuple):
    T: int
    C: int
    S: int

    def __str__(self) -> str:
        return f"T={self.T} C={self.C}"


PLAIN = [Shape(1000, 32, 180), Shape(500, 1000, 90), Shape(127, 6625, 30)]


def random_tokens(shape: Shape) -> tuple[Array, Array]:
    """Random tokens (S,), and scores (T, C) for them."""
    rng = np.random.default_rng([*shape])
    tokens = rng.integers(1, shape.C, shape.S)
    return tokens, log_probs(tokens, shape.T, shape.C, rng)


def log_probs(
    tokens: Sequence[int] | Array, frames: int, classes: int, rng: np.random.Generator, doubt: Doubt = SOME
) -> Array:
    """Log-probabilities (T, C) float32 of a recording of these tokens; class 0 is the blank."""
    tokens = np.asarray(tokens)
    lengths = rng.integers(1, LONGEST + 1, len(tokens))
    # Each token's frames, then a blank's; the other frames are distributed over the pauses.
    pauses = np.bincount(rng.integers(0, len(tokens), frames - len(tokens) - lengths.sum()), minlength=len(tokens))
    starts = np.cumsum(lengths + 1 + pauses) - lengths - 1
    mistaken = rng.integers(1, classes, (classes, 3))
    top = SURE + np.log(classes)
    scores = NOISE * rng.standard_normal((frames, classes))
    scores[:, 0] = top
    for token, start, length in zip(tokens, starts, lengths, strict=True):
        shown = slice(start, start + length)
        scores[shown, mistaken[token]] = top + rng.uniform(*doubt.others, (length, 3))
        scores[shown, 0] = top + rng.uniform(*doubt.blank, length)
        scores[shown, token] = top
    return (scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)).astype(np.float32)
