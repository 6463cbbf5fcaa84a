"""The values of a call's integers, on the host: lengths within the arrays, targets of tokens only.

The kernels check the same, and faster, when they lay lattices out. What they find is explained here, and a diagnosis
lists all of it. May import faults.py and errors.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault
from .form import Form

Integers = npt.NDArray[np.integer[Any]]


def check_values(
    form: Form,
    blank: int,
    targets: Integers | None,
    input_lengths: Integers | None,
    target_lengths: Integers | None,
    *,
    from_logits: bool = False,
) -> None:
    """Checks a call's integers; arguments as for `value_faults`.

    Raises:
        CTCError: the first fault.
    """
    name = "logits" if from_logits else "log_probs"
    for fault in value_faults(form, blank, targets, input_lengths, target_lengths, scores_name=name):
        raise CTCError(fault)


def value_faults(
    form: Form,
    blank: int,
    targets: Integers | None,
    input_lengths: Integers | None,
    target_lengths: Integers | None,
    *,
    scores_name: str = "log_probs",
) -> Iterator[Fault]:
    """Everything that is wrong with a call's integers, in the order in which the kernels check: lengths, then tokens.

    Args:
        form: of the call.
        blank: the blank's class.
        targets: as the caller passed them, any integer dtype; None if they are on a device and must not be read.
            Without target lengths, tokens are not checked, since padding may hold anything.
        input_lengths: likewise.
        target_lengths: likewise.
        scores_name: what messages call the scores.
    """
    input_lengths, target_lengths = _in_a_row(input_lengths), _in_a_row(target_lengths)
    if input_lengths is not None and target_lengths is not None:
        swapped = _swapped_lengths(form, input_lengths, target_lengths)
        if swapped is not None:
            yield swapped
            return
    if input_lengths is not None:
        yield from _input_lengths(form, input_lengths, scores_name)
    if target_lengths is not None:
        yield from _target_lengths(form, target_lengths)
        if targets is not None:
            yield from _tokens(form, blank, targets, target_lengths, scores_name)


def split_targets(form: Form, targets: Integers, target_lengths: Integers) -> list[Integers]:
    """Each sample's own tokens; lengths that go beyond the array are cut.

    Example:
        >>> form = Form(6, 2, 5, 3, batched=True, padded=False, dtype="float32")
        >>> [row.tolist() for row in split_targets(form, np.array([1, 2, 3]), np.array([2, 1]))]
        [[1, 2], [3]]
    """
    lengths = np.minimum(target_lengths.reshape(-1), form.num_tokens).astype(np.int64).clip(0)
    if form.padded:
        return [row[:length] for row, length in zip(np.atleast_2d(targets), lengths.tolist(), strict=True)]
    ends = lengths.cumsum()
    return np.split(targets[: ends[-1]], ends[:-1])


def _in_a_row(lengths: Integers | None) -> Integers | None:
    """Lengths that are a column or a row as (N,); a single number as it is."""
    return lengths.reshape(-1) if lengths is not None and lengths.ndim > 1 else lengths


def _swapped_lengths(form: Form, input_lengths: Integers, target_lengths: Integers) -> Fault | None:
    """Lengths that don't fit the arrays, but do if frames and tokens are exchanged."""
    most, total = form.num_tokens, sum(target_lengths.reshape(-1).tolist())
    wrong = _outside(target_lengths, most)
    if not wrong and (form.padded or total == most):
        return None
    exchanged_fit = not _outside(input_lengths, most) and not _outside(target_lengths, form.num_frames)
    if not exchanged_fit or (target_lengths < input_lengths).any():
        return None
    if form.padded:
        position, value = (wrong[0],) if target_lengths.ndim else (), target_lengths.item(wrong[0])
        return Fault("lengths-swapped", "target_lengths", position, value, range(most + 1), "swap-lengths")
    if sum(input_lengths.tolist()) != most:
        return None
    return Fault("lengths-swapped", "target_lengths", (), total, most, "swap-lengths", variant="joined")


def _input_lengths(form: Form, lengths: Integers, scores_name: str) -> Iterator[Fault]:
    most = form.num_frames
    wrong = _outside(lengths, most)
    # Lengths from before the network's strides are too long by a whole factor, up to rounding.
    ratio = int(lengths.max(initial=0)) / max(most, 1)
    factor = max(2, round(ratio))
    strided = most > 0 and abs(ratio - factor) < 0.1 * factor
    hint = "divide-lengths" if strided else "count-after-downsampling"
    for n in wrong:
        value = lengths.item(n)
        details = {"scores": scores_name, "input_length": value, "frames": most, "factor": factor}
        yield _of_sample("input-length-out-of-range", "input_lengths", lengths, n, value, most, hint, details)


def _target_lengths(form: Form, lengths: Integers) -> Iterator[Fault]:
    most = form.num_tokens
    hint = "count-without-padding" if form.padded else "count-tokens"
    for n in _outside(lengths, most):
        value = lengths.item(n)
        details = {"target_length": value, "tokens": most}
        variant = "" if form.padded else "joined"
        yield _of_sample(
            "target-length-out-of-range", "target_lengths", lengths, n, value, most, hint, details, variant
        )
    if not form.padded:
        total = sum(length for length in lengths.tolist() if 0 <= length <= most)
        if total != most and not _outside(lengths, most):
            details = {"sum": total, "tokens": most}
            yield Fault("target-lengths-sum", "target_lengths", (), total, most, "drop-padding", details=details)


def _of_sample(
    code: str,
    argument: str,
    lengths: Integers,
    n: int,
    value: int,
    most: int,
    hint: str,
    details: dict[str, Any],
    variant: str = "",
) -> Fault:
    position = (n,) if lengths.ndim else ()
    return Fault(code, argument, position, value, range(most + 1), hint, n, variant, details)


def _outside(lengths: Integers, most: int) -> list[int]:
    """The samples whose length is not in 0..most."""
    found: list[int] = np.flatnonzero((lengths < 0) | (lengths > most)).tolist()
    return found


def _tokens(form: Form, blank: int, targets: Integers, target_lengths: Integers, scores_name: str) -> Iterator[Fault]:
    """One fault for each sample and kind, where the first of its tokens is."""
    wrong = (targets < 0) | (targets >= form.classes) | (targets == blank)
    if targets.ndim == 2:  # padding may hold anything
        wrong &= np.arange(targets.shape[1]) < target_lengths.reshape(-1, 1)
    if not wrong.any():
        return
    rows = split_targets(form, targets, target_lengths)
    common = {"scores": scores_name, "blank": blank, "classes": form.classes}
    lost = {*_outside(target_lengths.reshape(-1), form.num_tokens)}  # whose tokens are not known
    if lost and not form.padded:
        return
    start = 0
    for n, row in enumerate(rows):
        if n not in lost and ((row < 0) | (row >= form.classes) | (row == blank)).any():
            padding = _padding(row, blank, form.classes)
            inner = row[: len(row) - padding]
            counted = f"target_lengths[{n}]" if target_lengths.ndim else "target_lengths"
            counted = f"{counted} = {len(row)}"
            faults = (
                _blanks(inner, blank, form.classes, rows),
                _not_classes(inner, form.classes),
                _counted_padding(row, padding, blank, form.classes, counted),
            )
            for fault in sorted(filter(None, faults), key=lambda fault: int(fault.details["token"])):
                yield _placed(fault, form, targets.ndim == 2, n, start, len(row), common)
        start += len(row)


def _placed(fault: Fault, form: Form, rows: bool, n: int, start: int, length: int, common: dict[str, Any]) -> Fault:
    """A fault of sample n's target, with its index in the argument."""
    s = fault.details["token"]
    details = {**common, "length": length, **fault.details}
    if rows:
        return replace(fault, position=(n, s), sample=n, details=details)
    if form.padded:  # one sample in one dimension
        return replace(fault, position=(s,), sample=n, details=details)
    details["index"] = start + s
    return replace(fault, position=(start + s,), sample=n, details=details, parts={"where": "where/joined"})


def _blanks(tokens: Integers, blank: int, classes: int, rows: list[Integers]) -> Fault | None:
    where = np.flatnonzero(tokens == blank).tolist()
    if not where:
        return None
    details = {
        "token": where[0],
        "count": len(where),
        "others": len(where) - 1,
        "positions": where,
        "last": classes - 1,
        "largest": classes - 2,
    }
    from_zero = blank == 0 and max(int(row.max(initial=0)) for row in rows) == classes - 2
    return Fault(
        "blank-in-target",
        "targets",
        value=blank,
        hint="labels-from-zero" if from_zero else "no-blank-in-targets",
        variant="several" if len(where) > 1 else "",
        details=details,
    )


def _not_classes(tokens: Integers, classes: int) -> Fault | None:
    where = np.flatnonzero((tokens < 0) | (tokens >= classes)).tolist()
    if not where:
        return None
    value = tokens.item(where[0])
    return Fault(
        "token-out-of-range",
        "targets",
        value=value,
        expected=range(classes),
        hint="mask-padding" if value < 0 else "same-vocabulary",
        variant="several" if len(where) > 1 else "",
        details={"token": where[0], "count": len(where), "others": len(where) - 1},
    )


def _counted_padding(row: Integers, padding: int, blank: int, classes: int, counted: str) -> Fault | None:
    if not padding:
        return None
    value, length = row.item(-1), len(row)
    tokens = length - padding
    return Fault(
        "target-length-counts-padding",
        "targets",
        value=value,
        expected=range(classes),
        hint="count-before-padding",
        variant="blank" if value == blank else "",
        details={"token": tokens, "target_length": length, "padding": padding, "tokens": tokens, "counted": counted},
    )


def _padding(row: Integers, blank: int, classes: int) -> int:
    """How many tokens at a target's end are surely padding: blanks, negative numbers, or at least two of one non-class.

    A target that holds nothing else counts as having none, since it may have another reason.
    """
    last = row.item(-1)
    others = np.flatnonzero(row != last)
    if not len(others):
        return 0
    run = len(row) - 1 - int(others[-1])
    if last == blank or last < 0:
        return run
    return run if last >= classes and run > 1 else 0
