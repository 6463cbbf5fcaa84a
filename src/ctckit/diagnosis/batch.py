"""Reads a batch as it is: where the loss's check raises the first fault, this gathers all of them and reads on.

Faults and their words are validate/'s. May import lattice/ and what lies below it; no framework.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault
from ..lattice import frames_needed
from ..validate import Form, as_array, as_integers, dtype_name, form_faults, split_targets, value_faults

Scores = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
Integers = npt.NDArray[np.integer[Any]]

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
        batch_first: whether they came as (N, T, C).
        dtype: what the scores were passed as.
        exchanged: the lengths were exchanged, since only so they make sense, though they fit the arrays as they are.
    """

    scores: Scores
    targets: list[Ints]
    frames: list[int]
    width: int | None
    blank: int
    from_logits: bool = False
    batch_first: bool = False
    dtype: str = "float64"
    exchanged: bool = False

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

    def turned(self) -> Batch:
        """The same with samples for frames, and frames for samples."""
        return replace(self, scores=self.scores.swapaxes(0, 1))

    def place(self, frame: int, n: int) -> str:
        """A frame of sample n as indices of what was passed."""
        return f"{n}, {frame}" if self.batch_first else f"{frame}, {n}"


def read_batch(
    scores: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: Any,
    from_logits: bool,
    batch_first: bool = False,
) -> tuple[Batch | None, list[Fault]]:
    """The batch, or None if it can't be read, and all that is wrong with the arguments."""
    name = "logits" if from_logits else "log_probs"
    faults, _ = form_faults(
        scores, targets, input_lengths, target_lengths, blank, scores_name=name, batch_first=batch_first
    )
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
    elif batch_first != ("batch-first" in codes):
        array = array.swapaxes(0, 1)
    if codes & {"batch-first", "shape-mismatch"}:  # axes that are swapped may hide that lengths don't match
        array, tokens, frames, lengths = _common_samples(array, tokens, frames, lengths)
    if array.shape[1] == 0:
        return None, faults
    num_frames, size, classes = array.shape
    form = Form(num_frames, size, classes, tokens.shape[-1], batched, tokens.ndim == 2, "float64")
    passed = tokens if batched or rows_passed else tokens[0]
    found = list(value_faults(form, int(blank), passed, frames, lengths, scores_name=name))
    told = bool(found) and found[-1].code == "lengths-swapped"
    exchanged = not told and _look_exchanged(form, tokens, frames, lengths, int(blank))
    if told or exchanged:
        frames, lengths = lengths, frames
        again = value_faults(form, int(blank), passed, frames, lengths, scores_name=name)
        found = [*(found if told else []), *again]
    rows = [row.astype(np.int64) for row in split_targets(form, tokens, lengths)]
    used = np.minimum(frames.reshape(-1), form.num_frames).astype(np.int64).clip(0).tolist()
    width = form.num_tokens if form.padded else None
    batch = Batch(array, rows, used, width, int(blank), from_logits, batch_first and batched, _dtype(scores), exchanged)
    return batch, [*faults, *found]


def _look_exchanged(form: Form, tokens: Integers, frames: Integers, lengths: Integers, blank: int) -> bool:
    """Whether the lengths make sense only if they are exchanged, though each of them fits the arrays.

    So they do where rows of targets are padded to more than the number of frames. As given, hardly a sample may be
    feasible; exchanged, nearly all must be, and the longest must fill its array, as the longest of a batch does.
    """
    frames, lengths = frames.reshape(-1), lengths.reshape(-1)
    if len(frames) == 0 or (frames < 0).any() or (lengths < 0).any():
        return False
    total, longest = int(frames.sum()), int(lengths.max())
    fills = longest == form.num_frames or (form.padded and int(frames.max()) == form.num_tokens)
    if not fills or longest > form.num_frames or int(frames.max()) > form.num_tokens:
        return False
    if total * 1.2 > int(lengths.sum()) or not (form.padded or total == form.num_tokens):
        return False
    as_given, otherwise = split_targets(form, tokens, lengths), split_targets(form, tokens, frames)
    feasible = [frames_needed(row) <= most for row, most in zip(as_given, frames.tolist(), strict=True)]
    turned = [
        frames_needed(row) <= most and bool(((row >= 0) & (row < form.classes) & (row != blank)).all())
        for row, most in zip(otherwise, lengths.tolist(), strict=True)
    ]
    return bool(sum(feasible) <= 0.1 * len(feasible) and sum(turned) >= 0.9 * len(turned))


def _dtype(scores: Any) -> str:
    return dtype_name(scores.dtype) if hasattr(scores, "dtype") else "float64"


class _UnreadableError(Exception):
    """The dtype holds no numbers, or no whole numbers where these are needed."""


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
