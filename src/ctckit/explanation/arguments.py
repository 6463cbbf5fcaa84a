"""Checks the arguments of ``explain`` and brings them into one form. May import text/ and what lies below."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..text.pieces import Pieces
from ..validate import as_integers
from .numbers import BLANK


def one_sample(name: str, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One sample's scores (T, C), without NaN and +inf; `name` is what messages call them."""
    if scores.ndim == 3 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.ndim != 2:
        raise CTCError(
            f"{name} has shape {scores.shape}: expected (T, C), one sample; of a batch (T, N, C) pass {name}[:, n]"
        )
    if scores.dtype.kind in "iu":
        scores = scores.astype(np.float64)
    elif scores.dtype.kind == "V" and scores.dtype.name == "bfloat16":  # of ml_dtypes
        scores = scores.astype(np.float32)
    if scores.dtype.kind == "f":
        bad = np.argwhere(~(scores < np.inf))
        if len(bad):
            t, c = bad[0]
            raise CTCError(
                f"{name}[{t}, {c}] = {scores[t, c]}: expected a finite number, or -inf; a step of training before "
                "this one gave NaN or an infinite weight"
            )
    return scores


def classes_of(target: Sequence[int] | npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """A target in one dimension."""
    tokens = as_integers("target", target)
    if tokens.ndim == 2 and len(tokens) == 1:
        tokens = tokens[0]
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise CTCError(f"target = {target!r}: expected the tokens' classes (S,), or a string and labels to read it by")
    return tokens


def printable(name: str) -> str:
    """A label that can be shown in a line: control characters are replaced."""
    return "".join("�" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name)


def class_names(labels: Sequence[str] | None, classes: int, blank: int | None) -> tuple[str, ...]:
    """The name of each class (C,): its number, if no labels are given."""
    names = [str(c) for c in range(classes)] if labels is None else list(labels)
    if blank is not None and len(names) == classes - 1:
        names.insert(blank, BLANK)
    if len(names) != classes:
        raise CTCError(
            f"labels has {len(names)} entries: expected {classes}, one for each class of log_probs, "
            "with or without the blank"
        )
    for c, name in enumerate(names):
        if not isinstance(name, str):
            raise CTCError(f"labels[{c}] = {name!r} has type {type(name).__name__}: expected a string")
    if blank is not None:
        names[blank] = BLANK
    return tuple(names)


def spelled(text: str, names: tuple[str, ...], blank: int) -> list[int]:
    """A string as classes."""
    classes = {name: c for c, name in enumerate(names) if c != blank}
    tokens = []
    for piece in Pieces(classes).split(text):
        if piece.token is None:
            known = ", ".join(map(repr, list(classes)[:20])) + (", …" if len(classes) > 20 else "")
            raise CTCError(f"target[{piece.start}] = {text[piece.start]!r} is not a label: expected one of {known}")
        tokens.append(piece.token)
    return tokens
