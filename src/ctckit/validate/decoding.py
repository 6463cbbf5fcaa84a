"""Checks of scores that only decoding needs: a class for each label, and logarithms. Diagnosing a loss needs neither.

May import faults.py, errors.py and bfloat16.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..errors import CTCError
from ..faults import Fault

_LOOKED_AT = 32  # how many frames of each sample are checked
_ADDS_UP = 0.02  # how far the sum of a frame's probabilities may be from 1, since half precision rounds

Integers = npt.NDArray[np.integer[Any]]


def check_classes(scores_name: str, shape: tuple[int, ...], labels: int) -> None:
    """Raises a CTCError unless scores of that shape, (T, N, C) or (T, C), have a class for each label."""
    classes = shape[-1]
    if classes == labels:
        return
    hint = "blank-missing" if abs(classes - labels) == 1 else "same-vocabulary"
    if labels in shape[:-1]:
        hint = "classes-last"
    raise CTCError(Fault("classes-differ", scores_name, (), classes, labels, hint, details={"shape": shape}))


def check_not_probabilities(name: str, scores: npt.NDArray[Any], frames: Integers, from_logits: bool) -> None:
    """Raises a CTCError if a sample's frames are probabilities, where their logarithms, or logits, are expected.

    Some frames of each sample are checked, with all their classes. Rows of zeros and ones are accepted: they may be
    logits that were written by hand.

    Args:
        name: the name of the scores in messages.
        scores: (T, N, C); uint16 holds the bits of bfloat16.
        frames: (N,) how many frames of each sample are used.
        from_logits: whether the caller passed the scores as logits.
    """
    for n, used in enumerate(frames.tolist()):
        some = as_floats(scores[: used : max(1, used // _LOOKED_AT), n])
        if not (len(some) and some[0].min() >= 0 and some.min() >= 0):
            continue  # the usual case
        sums = some.sum(axis=1, dtype=np.float64)
        if (np.abs(sums - 1) < _ADDS_UP).all() and not (from_logits and np.isin(some, (0, 1)).all()):
            raise CTCError(Fault("probabilities", name, (), float(sums[0]), hint="take-log", sample=n))
