"""The batches that tests run on, and the dtypes of their scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from oracles import Textbook, textbook_gradient

from ctckit.problem import ArrayProblem, ctc_problem
from ctckit.validate import check_form

Array = npt.NDArray[Any]

DTYPES = ("float64", "float32", "float16", "bfloat16")
FRAMEWORK_FREE = DTYPES[:3]  # NumPy itself has no bfloat16


@dataclass(frozen=True)
class Batch:
    """A batch as a caller has it, scores in float64."""

    scores: Array  # (T, N, C)
    targets: Array  # (N, S)
    frames: Array  # (N,)
    lengths: Array  # (N,)
    blank: int = 0

    @property
    def arguments(self) -> tuple[Array, Array, Array, int]:
        return self.targets, self.frames, self.lengths, self.blank

    def sample(self, n: int) -> tuple[Array, list[int]]:
        """Sample n's used frames and tokens."""
        return self.scores[: self.frames[n], n], self.targets[n, : self.lengths[n]].tolist()

    def alone(self, n: int) -> Batch:
        """Sample n in a batch of its own, without the padding that the others needed."""
        scores, target = self.sample(n)
        return Batch(
            scores[:, None], np.array([target], int), self.frames[n : n + 1], self.lengths[n : n + 1], self.blank
        )

    def with_scores(self, scores: Array) -> Batch:
        return replace(self, scores=scores)


def draw_targets(rng: np.random.Generator, shape: tuple[int, ...], classes: int, blank: int) -> Array:
    """Tokens without the blank; a fifth of them repeat their left neighbour."""
    tokens = rng.integers(0, classes - 1, shape)
    tokens += tokens >= blank
    for s in range(1, shape[-1]):
        again = rng.random(shape[:-1]) < 0.2
        tokens[..., s] = np.where(again, tokens[..., s - 1], tokens[..., s])
    return tokens


def draw(
    seed: int,
    frames: int,
    size: int,
    classes: int,
    longest: int,
    *,
    blank: int = 0,
    spread: float = 2.0,
    ragged: bool = True,
) -> Batch:
    """A random batch: logits with standard deviation ``spread``; sample 0 has the most frames and tokens."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(frames, size, classes)) * spread
    targets = draw_targets(rng, (size, longest), classes, blank)
    used, lengths = np.full(size, frames), np.full(size, longest)
    if ragged and size > 1:
        used[1:] = rng.integers(frames // 2, frames + 1, size - 1)
        lengths[1:] = rng.integers(0, longest + 1, size - 1)
    return Batch(scores, targets, used, lengths, blank)


def to_bfloat16(x: Array) -> Array:
    """The bits of bfloat16, rounded to nearest, ties to even."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return np.where(np.isnan(x), 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(scores: Array, dtype: str) -> Array:
    """Scores in a dtype; bfloat16, which NumPy lacks, as the integers of its bits."""
    return to_bfloat16(scores) if dtype == "bfloat16" else scores.astype(dtype)


def decode(scores: Array) -> Array:
    """Encoded scores in float64: the numbers that an oracle must be given."""
    return (from_bfloat16(scores) if scores.dtype == np.uint16 else scores).astype(np.float64)


def problem_of(batch: Batch, dtype: str, *, from_logits: bool) -> ArrayProblem:
    return checked_problem(encode(batch.scores, dtype), *batch.arguments, dtype=dtype, from_logits=from_logits)


def checked_problem(scores: Array, *arguments: Any, dtype: str, from_logits: bool) -> ArrayProblem:
    """A problem on encoded scores, whose bits may be those of bfloat16."""
    given = [np.asarray(argument) for argument in arguments[:3]]
    form = check_form(np.empty(scores.shape), *given, arguments[3], from_logits=from_logits)._replace(dtype=dtype)
    return ctc_problem(scores, *given, arguments[3], from_logits=from_logits, form=form)


def truth_of(batch: Batch, dtype: str, *, from_logits: bool) -> list[Textbook]:
    """Each sample's score and gradient by the textbook, for the scores rounded to the dtype."""
    held = batch.with_scores(decode(encode(batch.scores, dtype)))
    samples = (held.sample(n) for n in range(len(batch.frames)))
    return [textbook_gradient(scores, target, batch.blank, from_logits=from_logits) for scores, target in samples]
