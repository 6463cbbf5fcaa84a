"""A real recogniser's outputs for lines of noisy print, kept in tests/data, and a language for them.

tests/data/README.md says how they were made. None of the lines is in the language's sentences.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ctckit import Decoder, Hypotheses, LanguageModel
from ctckit.text import Errors, word_errors
from support import ngrams

DATA = Path(__file__).resolve().parent.parent / "data"
LABELS = ["", " ", *"abcdefghijklmnopqrstuvwxyz", "'"]  # the blank is class 0
LEAST = 3  # least number of occurrences of a word of the lexicon
STEP = 1 / 8  # nats; scores are kept as multiples of it,
LOWEST = 64  # down to this one: e^-8


class Line(NamedTuple):
    """A line of print: its text, and the recogniser's output."""

    text: str
    noise: float  # standard deviation, of pixels from 0 to 1
    log_probs: np.ndarray[Any, Any]  # (T, 29) float32, rows sum to 1


@cache
def sentences() -> list[str]:
    """The language: prose of Python's documentation, words in lower case without marks."""
    return gzip.decompress((DATA / "python_docs.txt.gz").read_bytes()).decode().splitlines()


@cache
def lexicon() -> list[str]:
    """The language's words, in alphabetical order."""
    return ngrams.vocabulary(sentences(), at_least=LEAST)


@cache
def arpa(order: int = 3) -> str:
    """An n-gram model of the language over :func:`lexicon`, as the text of an ARPA file; takes some seconds."""
    return ngrams.arpa(sentences(), lexicon(), order=order)


@cache
def language_model(order: int = 3) -> LanguageModel:
    """This model, read."""
    return LanguageModel.read(io.BytesIO(arpa(order).encode()))


def with_language(order: int = 3, **options: Any) -> Decoder:
    """A decoder with the model and the lexicon."""
    return Decoder(LABELS, language_model=language_model(order), lexicon=lexicon(), **options)


def lines(part: str, noise: float | None = None) -> list[Line]:
    """The lines of a part: ``test``, ``develop``, ``calibrate`` or ``unknown``; all, or those with this noise."""
    return [line for line in _lines(part) if noise in (None, line.noise)]


def errors_of(
    decode: Callable[[list[np.ndarray[Any, Any]]], Sequence[Hypotheses]],
    some: Sequence[Line],
    count: Callable[[str, str], Errors] = word_errors,
) -> Errors:
    """The wrong words of the best texts that a decoder finds, or other errors by ``count``."""
    found = decode([line.log_probs for line in some])
    return sum((count(line.text, sample.text) for line, sample in zip(some, found, strict=True)), Errors())


@cache
def _lines(part: str) -> list[Line]:
    with np.load(DATA / "printed_lines.npz") as kept:
        texts, lengths, noises = (kept[f"{part}_{field}"].tolist() for field in ("texts", "lengths", "noises"))
        scores = -STEP * kept[f"{part}_scores"].T.astype(np.float32)
    scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
    frames = np.split(scores, np.cumsum(lengths)[:-1])
    return [Line(*line) for line in zip(texts, noises, frames, strict=True)]
