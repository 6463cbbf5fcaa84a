"""The check of a call in which several targets read the scores of one utterance.

May import form.py, values.py, faults.py and errors.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..faults import Fault
from .form import Form, check_form, check_lattice_form, dtype_name
from .values import check_values

Integers = npt.NDArray[np.integer[Any]]
Index = npt.NDArray[np.int64]


def check_index(index: Integers, targets: int, utterances: int, *, scores_name: str = "log_probs") -> Index:
    """Returns an index as int64 (M,) if each of its entries is an utterance.

    Args:
        index: (M,) as the caller passed it, as an array.
        targets: M, by the target lengths.
        utterances: N.
        scores_name: what messages call the scores.

    Raises:
        CTCError: not integers, another length, or a number that is not an utterance.
    """
    if dtype_name(index.dtype) != "integer":
        raise CTCError(Fault("not-integers", "index", (), str(index.dtype), hint="array-to-integers"))
    if index.shape != (targets,) or not targets:
        raise CTCError(Fault("index-shape", "index", (), index.shape, (targets,), "one-utterance-each"))
    wrong = np.flatnonzero((index < 0) | (index >= utterances))
    if len(wrong):
        m = int(wrong[0])
        details = {"scores": scores_name, "size": utterances}
        raise CTCError(
            Fault(
                "index-out-of-range",
                "index",
                (m,),
                int(index[m]),
                range(utterances),
                "count-utterances",
                m,
                "",
                details,
            )
        )
    return index.astype(np.int64)


def check_indexed_form(
    scores: Any,
    targets: Any,
    input_lengths: Integers,
    target_lengths: Integers,
    index: Integers,
    blank: int,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
) -> tuple[Form, Integers, Index]:
    """Checks the form of a loss's arguments, and the values of lengths and index.

    Args:
        scores: (T, N, C), an array or a tensor on any device.
        targets: of M targets, as for ``check_form``.
        input_lengths: (N,).
        target_lengths: (M,).
        index: (M,), which utterance each target belongs to.
        blank: the blank's class.
        from_logits: whether scores are logits; for their name in messages.
        batch_first: scores are (N, T, C).

    Returns:
        The form of a batch in which each target has scores of its own, so that its N is M; the frames of each target
        (M,); and the index as int64.

    Raises:
        CTCError: the first fault.

    Example:
        >>> scores, frames, index = np.zeros((6, 2, 5)), np.array([6, 5]), np.array([0, 0, 1])
        >>> form, frames, _ = check_indexed_form(scores, np.ones((3, 2), int), frames, np.full(3, 2), index, 0)
        >>> form.size, frames.tolist()
        (3, [6, 6, 5])
    """
    name = "logits" if from_logits else "log_probs"
    shape = tuple(getattr(scores, "shape", ()))
    if len(shape) == 2:
        raise CTCError(Fault("index-one-sample", name, (), shape, hint="add-utterance-axis"))
    given = check_lattice_form(scores, input_lengths, from_logits=from_logits, batch_first=batch_first)
    utterances = check_index(index, int(target_lengths.size), given.size, scores_name=name)
    check_values(given, 0, None, input_lengths, None, from_logits=from_logits)
    frames = input_lengths.reshape(-1)[utterances]
    each = np.broadcast_to(np.zeros(()), (given.num_frames, len(utterances), given.classes))
    form = check_form(each, targets, frames, target_lengths, blank, from_logits=from_logits)
    return form._replace(dtype=given.dtype), frames, utterances
