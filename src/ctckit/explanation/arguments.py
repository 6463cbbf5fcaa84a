"""Checks the arguments of ``explain`` and ``explain_search``. May import diagnosis/, text/ and what lies below."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ..diagnosis.kinds import check_kind
from ..errors import CTCError
from ..lattice import STAR
from ..text import Vocabulary
from ..text.blank import check_count, check_labels
from ..validate import as_array, as_integers, check_blank
from .numbers import BLANK


class Given(NamedTuple):
    """One sample's scores and what their classes are.

    Attributes:
        scores: (T, C), without NaN and +inf.
        names: (C,) of the classes.
        blank: the blank's class, or None.
        vocabulary: None if no labels were given.
    """

    scores: npt.NDArray[Any]
    names: tuple[str, ...]
    blank: int | None
    vocabulary: Vocabulary | None


def given(
    log_probs: npt.ArrayLike,
    labels: Sequence[str] | Vocabulary | None,
    blank: int | Literal["auto"] | None,
    *,
    from_logits: bool,
) -> Given:
    """Checks scores, labels and blank."""
    name = "logits" if from_logits else "log_probs"
    scores = one_sample(name, as_array(name, log_probs))
    check_kind(name, scores, from_logits)
    vocabulary = None if labels is None or blank is None else vocabulary_of(labels, blank, scores)
    if vocabulary is not None:
        labels, blank = vocabulary.labels, vocabulary.blank
    elif blank is not None:
        blank = check_blank(0 if blank == "auto" else blank, scores.shape[1])
    names = class_names(cast("Sequence[str] | None", labels), scores, blank)
    return Given(scores, names, blank, vocabulary)


def check_possible(log_probs: npt.NDArray[np.float64]) -> None:
    """Checks that no frame of logits is all -inf, by what log_softmax made of them."""
    if len(impossible := np.flatnonzero(np.isnan(log_probs).any(axis=1))):
        raise CTCError(
            f"logits[{impossible[0]}] are all -inf: expected a finite one, or no class is possible in that frame; "
            "is a mask applied to the wrong axis?"
        )


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


def vocabulary_of(
    labels: Sequence[str] | Vocabulary, blank: int | Literal["auto"], scores: npt.NDArray[Any]
) -> Vocabulary:
    """Labels as align reads them, with the blank that they or the scores (T, C) show."""
    if not isinstance(labels, Vocabulary):
        return Vocabulary(labels, None if blank == "auto" else blank, scores=scores)
    check_count(len(labels.labels), scores.shape)
    if blank not in ("auto", labels.blank):
        raise CTCError(f"blank = {blank!r}: expected {labels.blank}, that of the vocabulary; leave it out")
    return labels


def class_names(labels: Sequence[str] | None, scores: npt.NDArray[Any], blank: int | None) -> tuple[str, ...]:
    """The name of each class (C,): its number, if no labels are given."""
    names = list(map(str, range(scores.shape[1]))) if labels is None else list(labels)
    check_labels(names)
    check_count(len(names), scores.shape)
    if blank is not None:
        names[blank] = BLANK
    return tuple(names)


def spelled(text: str, vocabulary: Vocabulary) -> list[int]:
    """A string as classes."""
    transcript = vocabulary.transcribe(text)
    words = [word for line in transcript.lines for word in line.words]
    for index, part in ((word.first + i, part) for word in words for i, part in enumerate(word.tokens)):
        if transcript.tokens[index] == STAR:
            known = [name for c, name in enumerate(vocabulary.labels) if c != vocabulary.blank]
            shown = ", ".join(map(repr, known[:20])) + (", …" if len(known) > 20 else "")
            raise CTCError(f"target has {part!r}, which the labels can't spell: expected some of {shown}")
    return [int(token) for token in transcript.tokens]
