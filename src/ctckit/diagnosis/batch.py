"""Reads a batch as it is: where the loss's check raises the first fault, this gathers all of them and reads on.

Faults and their words are validate/'s. May import validate/ and what lies below it; no framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault
from ..validate import Form, as_array, as_integers, form_faults, split_targets, value_faults

Scores = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

# Faults after which there is a batch to look at: in part, or after a conversion. Any other leaves none.
_READABLE = ("not-floats", "not-integers", "batch-first", "shape-mismatch", "blank-out-of-range")


@dataclass(frozen=True)
class Batch:
    """A batch in the layout that the loss expects, as far as that can be made of what was passed.

    Attributes:
        scores: (T, N, C) floats as passed.
        targets: each sample's tokens, without what a wrong length would count beyond the array.
        frames: each sample's frames, 0 to T.
        width: S of padded targets, None if they came end to end.
        blank: as passed; it may not be a class.
        from_logits: whether scores are said to be logits.
    """

    scores: Scores
    targets: list[Ints]
    frames: list[int]
    width: int | None
    blank: int
    from_logits: bool = False

    @property
    def classes(self) -> int:
        """C."""
        return int(self.scores.shape[2])

    @property
    def scores_name(self) -> str:
        """What the caller knows the scores as."""
        return "logits" if self.from_logits else "log_probs"

    def __len__(self) -> int:
        return len(self.targets)

    def used(self, n: int) -> Scores:
        """Sample n's frames (T, C) as passed, in float64."""
        return self.scores[: self.frames[n], n].astype(np.float64)


def read_batch(
    scores: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: Any, from_logits: bool
) -> tuple[Batch | None, list[Fault]]:
    """A batch, None if there is none to look at; and all that is wrong with the arguments."""
    name = "logits" if from_logits else "log_probs"
    faults, _ = form_faults(scores, targets, input_lengths, target_lengths, blank, scores_name=name)
    codes = {fault.code for fault in faults}
    if not codes <= set(_READABLE):
        return None, faults
    try:
        array = _floats(as_array(name, scores))
        tokens, frames, lengths = (
            _whole(as_integers("", values)) for values in (targets, input_lengths, target_lengths)
        )
    except (CTCError, _UnreadableError):
        return None, faults
    batched, rows_passed = array.ndim == 3, tokens.ndim == 2
    if not batched:
        array, tokens = array[:, None], np.atleast_2d(tokens)
    if "batch-first" in codes:
        array = array.swapaxes(0, 1)
    if codes & {"batch-first", "shape-mismatch"}:  # axes that are swapped may hide that lengths don't match
        array, tokens, frames, lengths = _common_samples(array, tokens, frames, lengths)
    if array.shape[1] == 0:
        return None, faults
    num_frames, size, classes = array.shape
    form = Form(num_frames, size, classes, tokens.shape[-1], batched, tokens.ndim == 2, "float64")
    passed = tokens if batched or rows_passed else tokens[0]
    faults += value_faults(form, int(blank), passed, frames, lengths, scores_name=name)
    if faults and faults[-1].code == "lengths-swapped":
        frames, lengths = lengths, frames
        faults += value_faults(form, int(blank), passed, frames, lengths, scores_name=name)
    rows = [row.astype(np.int64) for row in split_targets(form, tokens, lengths)]
    used = np.minimum(frames.reshape(-1), form.num_frames).astype(np.int64).clip(0).tolist()
    return Batch(array, rows, used, form.num_tokens if form.padded else None, int(blank), from_logits), faults


class _UnreadableError(Exception):
    """Of a dtype that holds no numbers, or no whole ones."""


def _floats(array: Scores) -> Scores:
    if array.dtype.name == "bfloat16":  # the ml_dtypes extension type
        return array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        raise _UnreadableError
    return array


def _whole(array: npt.NDArray[Any]) -> npt.NDArray[np.integer[Any]]:
    if array.dtype.kind == "f" and (np.abs(array) < 2**63).all() and (array == np.rint(array)).all():
        return array.astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim > 2:
        raise _UnreadableError
    return array


def _common_samples(
    scores: Scores, tokens: npt.NDArray[Any], frames: npt.NDArray[Any], lengths: npt.NDArray[Any]
) -> tuple[Scores, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """The first samples, as many as all arguments have."""
    frames, lengths = frames.reshape(-1), lengths.reshape(-1)
    size = min(scores.shape[1], len(frames), len(lengths))
    if tokens.ndim == 2:
        size = min(size, len(tokens))
        tokens = tokens[:size]
    else:
        tokens = tokens[: lengths[:size].clip(0).sum()]
    return scores[:, :size], tokens, frames[:size], lengths[:size]
