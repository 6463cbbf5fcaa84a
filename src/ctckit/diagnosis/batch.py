"""Reads a batch as it is: where check.py raises at the first fault, this writes it down and goes on.

May import check.py and what lies below it, and report.py beside it; no framework.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..validate import as_array
from .report import Finding

Scores = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """A batch in the layout that the loss expects, as far as that can be made of what was passed.

    Attributes:
        scores: (T, N, C) floats as passed.
        targets: for each sample its tokens; what a wrong length would count beyond the array is left out.
        frames: for each sample its frames, 0 to T.
        width: S of padded targets, None if they came end to end.
        blank: as passed; it may be no class.
    """

    scores: Scores
    targets: list[Ints]
    frames: list[int]
    width: int | None
    blank: int

    @property
    def classes(self) -> int:
        """C."""
        return int(self.scores.shape[2])

    def __len__(self) -> int:
        return len(self.targets)

    def used(self, n: int) -> Scores:
        """Sample n's frames (T, C) as passed, in float64."""
        return self.scores[: self.frames[n], n].astype(np.float64)


def read_batch(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int
) -> tuple[Batch, list[Finding]]:
    """A batch, and what is wrong with its form.

    Raises:
        CTCError: for what is no array of numbers, or one of another rank.
    """
    scores = _scores(log_probs)
    tokens = _whole("targets", targets, (1, 2))
    frames = _whole("input_lengths", input_lengths, (0, 1)).reshape(-1)
    lengths = _whole("target_lengths", target_lengths, (0, 1)).reshape(-1)
    if scores.ndim == 2:
        scores = scores[:, None]
        tokens = tokens.reshape(1, -1) if tokens.ndim == 1 else tokens

    findings: list[Finding] = []
    rows = {"input_lengths": len(frames), "target_lengths": len(lengths)}
    if tokens.ndim == 2:
        rows["targets"] = len(tokens)
    scores, layout = _layout(scores, rows)
    findings += layout
    size = min(scores.shape[1], *rows.values())
    if size == 0:
        empty = next(name for name, count in rows.items() if count == 0)
        raise CTCError(f"{empty} is empty: expected an entry for each of the N={scores.shape[1]} samples")
    scores, frames, lengths = scores[:, :size], frames[:size], lengths[:size]

    findings += _input_lengths(frames, scores.shape[0])
    cut, wrong = _cut(tokens, lengths)
    findings += wrong
    if not 0 <= blank < scores.shape[2]:
        findings.append(_bad_blank(blank, scores.shape[2]))
    clipped = frames.clip(0, scores.shape[0]).tolist()
    width = int(tokens.shape[1]) if tokens.ndim == 2 else None
    return Batch(scores, cut, clipped, width, blank), findings


def _array(name: str, values: Any) -> Scores:
    array = as_array(name, values)
    if array.dtype.name == "bfloat16":  # the ml_dtypes extension type
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiu":
        raise CTCError(f"{name} is a {type(values).__name__} of dtype {array.dtype}: expected an array of numbers")
    return array


def _scores(log_probs: Any) -> Scores:
    array = _array("log_probs", log_probs)
    if array.ndim not in (2, 3) or array.size == 0:
        raise CTCError(
            f"log_probs has shape {array.shape}: expected (T, N, C) frames x batch x classes, or (T, C) for one "
            "sample, none of them 0"
        )
    return array


def _whole(name: str, values: Any, ranks: tuple[int, int]) -> Ints:
    array = _array(name, values)
    if array.ndim not in ranks:
        raise CTCError(f"{name} has shape {array.shape}: expected {ranks[0]} or {ranks[1]} dimensions")
    if array.dtype.kind == "f" and not (np.isfinite(array).all() and (array == np.rint(array)).all()):
        raise CTCError(f"{name} has dtype {array.dtype} and numbers that are not whole: expected integers")
    return array.astype(np.int64)


def _layout(scores: Scores, rows: dict[str, int]) -> tuple[Scores, list[Finding]]:
    """The scores with frames first, and whether they had to be turned for that."""
    first, second, _ = scores.shape
    misfits = {name: count for name, count in rows.items() if count != second}
    if not misfits:
        return scores, []
    evidence: dict[str, Any] = {"shape": list(scores.shape), "samples": rows}
    told = ", ".join(f"{name} has {count}" for name, count in rows.items())
    if all(count == first for count in misfits.values()):
        return scores.swapaxes(0, 1), [
            Finding(
                "error",
                "batch-first",
                None,
                f"log_probs has shape {scores.shape}, so N={second} samples of T={first} frames, but {told}: "
                "it looks like (N, T, C).",
                "Pass log_probs.transpose(0, 1), or batch_first=True to ctckit.torch; "
                "all that follows is about the batch turned so.",
                evidence,
            )
        ]
    return scores, [
        Finding(
            "error",
            "shape-mismatch",
            None,
            f"log_probs has shape {scores.shape}, so N={second} samples, but {told}.",
            "Pass one row and one length for each sample; "
            f"what follows is about the first {min(second, *rows.values())}.",
            evidence,
        )
    ]


def _input_lengths(frames: Ints, most: int) -> list[Finding]:
    ratio = frames.max(initial=0) / most
    # Lengths from before the network's strides are a power of two too long, give or take a rounding.
    factor = max(2, round(ratio))
    mend = "Count frames after the network's downsampling"
    mend += f": divide by {factor}." if abs(ratio - factor) < 0.1 * factor else "."
    return [
        Finding(
            "error",
            "input-length-out-of-range",
            n,
            f"input_lengths[{n}] = {frames[n]}, but log_probs has T={most} frames.",
            mend,
            {"input_length": int(frames[n]), "frames": most},
        )
        for n in np.flatnonzero((frames < 0) | (frames > most)).tolist()
    ]


def _cut(tokens: Ints, lengths: Ints) -> tuple[list[Ints], list[Finding]]:
    """Each sample's own tokens, and the lengths that don't fit the array."""
    if tokens.ndim == 1:
        ends = lengths.clip(0).cumsum()
        total = int(ends[-1])
        wrong = Finding(
            "error",
            "target-lengths-sum",
            None,
            f"target_lengths sums to {total}, but the one-dimensional targets holds {len(tokens)} tokens.",
            "Pass padded targets as (N, S), or drop the padding before joining them.",
            {"sum": total, "tokens": len(tokens)},
        )
        return np.split(tokens[:total], ends[:-1]), [wrong] if total != len(tokens) else []
    most = tokens.shape[1]
    rows = [row[:length] for row, length in zip(tokens, lengths.clip(0, most), strict=False)]
    return rows, [
        Finding(
            "error",
            "target-length-out-of-range",
            n,
            f"target_lengths[{n}] = {lengths[n]}, but targets has S={most} tokens a sample.",
            "Count each target's tokens, before padding.",
            {"target_length": int(lengths[n]), "tokens": most},
        )
        for n in np.flatnonzero((lengths < 0) | (lengths > most)).tolist()
    ]


def _bad_blank(blank: int, classes: int) -> Finding:
    return Finding(
        "error",
        "blank-out-of-range",
        None,
        f"blank = {blank}, but log_probs has C={classes} classes (0..{classes - 1}).",
        f"Pass the index of the blank's column: 0 in torch's habit, {classes - 1} if it is the last.",
        {"blank": blank, "classes": classes},
    )
