"""Which class is the blank: what the labels call it, what the scores rest on, and what the user says.

A module of its own so that align, explain and diagnose answer this in one way, and count classes in the same words. May
import validate/ and what lies below it, and marks.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import as_array, check_blank
from .marks import SPECIAL

Shares = npt.NDArray[np.float64]  # (C,) mean probability of each class

# Names of the blank, the least ambiguous first. A name of one character may be a letter: it counts at an end only.
_BLANKS = (
    ("", "<blank>", "[blank]", "<blk>", "[blk]", "<ctc>", "[ctc]", "<ctc_blank>", "φ", "∅"),
    ("<pad>", "[pad]"),
    ("<eps>", "<epsilon>"),
    ("ε", "-", "_"),
)
_MAYBE = _BLANKS[-1]
_FRAMES = 4096  # looked at; enough to see where a recording rests
_RESTS = 0.25  # a label that stands for no text, and has this share of the probability, is where the scores rest
_MOSTLY = 0.5  # for a letter, which may be long: a space, a held vowel
_RARE = 0.1  # a blank has more


class Settled(NamedTuple):
    """Labels, and which of them is the blank.

    Attributes:
        labels: (C,) names.
        blank: the blank's class.
        notes: where names, scores and what the user says disagree.
    """

    labels: list[str]
    blank: int
    notes: tuple[str, ...]


def settle_blank(labels: Iterable[str], blank: int | None, scores: npt.ArrayLike | None) -> Settled:
    """Finds the blank.

    Args:
        labels: (C,) names, or those of all classes but a blank that comes after them.
        blank: the class that the user says, or None.
        scores: (T, C) or (T, N, C) log-probabilities or logits, or None.

    Raises:
        CTCError: labels are not strings or not unique, there are not as many as classes, or the blank can't be told.
    """
    path = isinstance(labels, str) and len(set(labels)) < len(labels)  # others may be names of one character each
    if path or isinstance(labels, bytes) or not isinstance(labels, Iterable):
        raise CTCError(
            f"labels = {labels!r}: expected a list of names, one for each class; ctckit.files.read_labels reads a file"
        )
    names = list(labels)
    check_labels(names)
    if blank is not None:
        blank = check_blank(blank, len(names) + 1 if blank == len(names) else len(names), of_labels=True)
        names += ["φ"] * (blank == len(names))
    if scores is None:
        return Settled(names, *_found(names, blank, None))
    array = as_array("scores", scores)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiuV":
        raise CTCError(f"scores has shape {array.shape} and dtype {array.dtype}: expected floats (T, C) or (T, N, C)")
    check_count(len(names), array.shape)
    return Settled(names, *_found(names, blank, _shares(array)))


def check_labels(labels: Sequence[str], name: str = "labels") -> None:
    """Raises a CTCError unless labels are strings, and each is there once; ``name`` is their argument's name."""
    seen: dict[str, int] = {}
    for c, label in enumerate(labels):
        if not isinstance(label, str):
            raise CTCError(f"{name}[{c}] = {label!r} has type {type(label).__name__}: expected a string")
        if label in seen:
            raise CTCError(f"{name}[{seen[label]}] and {name}[{c}] are both {label!r}: expected each label once")
        seen[label] = c
    if not labels:
        raise CTCError(f"{name} is empty: expected the name of each class")


def check_count(labels: int, shape: tuple[int, ...]) -> None:
    """Raises a CTCError unless there is a label for each class of the scores, whose shape is (T, C) or (T, N, C)."""
    classes, frames = shape[-1], shape[0]
    if labels == classes:
        return
    hint = "expected a label for each class, blank included"
    if labels == frames:
        hint = "transpose them"
    elif labels == classes - 1:
        hint += f"; if the blank comes after them, pass blank={labels}"
    raise CTCError(f"the scores have C={classes} classes and there are {labels} labels: {hint}")


def _found(labels: Sequence[str], given: int | None, shares: Shares | None) -> tuple[int, tuple[str, ...]]:
    """The blank's class, and notes."""
    named = _named(labels)
    best = named[0] if named else []
    if given is not None:
        return given, _contradicted(labels, given, best, shares)
    rests = None if shares is None else _rest(labels, shares, {c for tier in named for c in tier})
    if len(best) == 1 and rests in (None, best[0]):
        return best[0], _contradicted(labels, best[0], best, shares)
    if rests is None or shares is None:
        raise _unknown(labels, best, shares)
    if rests in best:
        return rests, ()
    name = "".join(f"labels[{c}] = {labels[c]!r} is called as blanks are, but " for c in best[:1])
    return rests, (f"{name}{_resting(labels, shares, rests)}: that is taken as the blank",)


def _named(labels: Sequence[str]) -> list[list[int]]:
    """The classes that are called as blanks are, the least ambiguous names first."""
    ends = (0, len(labels) - 1)
    called = [(c, x.lower()) for c, x in enumerate(labels) if len(x) != 1 or c in ends]
    tiers = [[c for c, name in called if name in names] for names in _BLANKS]
    return [tier for tier in tiers if tier]


def _shares(scores: npt.NDArray[Any]) -> Shares:
    """Each class's mean probability (C,), over some of the frames."""
    frames = scores.reshape(-1, scores.shape[-1])
    frames = frames[:: 1 + len(frames) // _FRAMES].astype(np.float64)
    frames = frames[np.isfinite(frames.max(axis=1))]
    if not len(frames):
        return np.zeros(frames.shape[1])
    probs = np.exp(frames - frames.max(axis=1, keepdims=True))
    shares: Shares = (probs / probs.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _rest(labels: Sequence[str], shares: Shares, named: set[int]) -> int | None:
    """The class that the scores rest on, if it stands for no text; else None."""
    most = int(shares.argmax())
    textless = most in named or SPECIAL.fullmatch(labels[most])
    alone = np.count_nonzero(shares >= shares[most] * (1 - 1e-6)) == 1
    return most if textless and alone and shares[most] >= _RESTS and _is_clear(shares, named, most) else None


def _is_clear(shares: Shares, named: set[int], most: int) -> bool:
    """Whether the scores speak against the other classes that are called as blanks are."""
    return all(shares[c] < max(_RARE, shares[most] / 2) for c in named if c != most)


def _contradicted(labels: Sequence[str], chosen: int, best: Sequence[int], shares: Shares | None) -> tuple[str, ...]:
    """A note, if neither the names nor the scores say that the chosen class is the blank, but something else is."""
    against, few = [], _RARE
    if best and chosen not in best:
        surely = [c for c in best if labels[c] not in _MAYBE or shares is not None]
        doubtful = [c for c in surely if shares is None or shares[chosen] < shares[c]]
        against += [f"labels[{c}] = {labels[c]!r} is called as blanks are" for c in doubtful]
        few = 1.0
    most = chosen if shares is None else int(shares.argmax())
    if shares is not None and most != chosen and shares[chosen] < few:
        textless = most in best or SPECIAL.fullmatch(labels[most])
        if shares[most] >= (_RESTS if textless else _MOSTLY):
            against.append(_resting(labels, shares, most))
    if not against:
        return ()
    return (f"the blank is class {chosen} ({labels[chosen]!r}), but {', and '.join(against)}: check blank={chosen}",)


def _resting(labels: Sequence[str], shares: Shares, most: int) -> str:
    return f"the scores rest on labels[{most}] = {labels[most]!r}, with {shares[most]:.0%} of the probability"


def _unknown(labels: Sequence[str], best: Sequence[int], shares: Shares | None) -> CTCError:
    if best:
        both = ", ".join(f"labels[{c}] = {labels[c]!r}" for c in best)
        return CTCError(f"the blank can't be told from the labels: it may be any of {both}; pass blank=")
    hint = ""
    if shares is not None and shares.max() >= _MOSTLY:
        hint = f"; {_resting(labels, shares, int(shares.argmax()))}"
    return CTCError(
        f"the blank can't be told from the {len(labels)} labels: expected one called <blank> or <pad>, or the first or "
        f"last called φ, - or _; the first is {labels[0]!r}, the last {labels[-1]!r}{hint}; pass blank="
    )
