"""Reads and checks the scores that a call decodes, in any form. May import problem.py and what is below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..errors import CTCError
from ..problem import all_frames, readable_scores
from ..validate import (
    Fault,
    Form,
    as_array,
    as_integers,
    check_classes,
    check_flag,
    check_lattice_form,
    check_not_probabilities,
    check_values,
)

_MOST = 1.1  # the most that a frame's probabilities may add up to, with rounding

# The given object, with a shape and a dtype to check; and its memory as an array: of bfloat16 the bits, as integers.
View = Callable[[str, Any], tuple[Any, npt.NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Emissions:
    """A batch's scores.

    Attributes:
        scores: (T, N, C) view of the caller's: any float dtype; uint16 holds the bits of bfloat16.
        frames: int64 (N,), how many frames of each sample are used.
        from_logits: whether scores are logits.
        form: the shape and dtype of the batch, checked.
    """

    scores: npt.NDArray[Any]
    frames: npt.NDArray[np.int64]
    from_logits: bool
    form: Form

    def sample(self, n: int) -> Emissions:
        """The emissions of sample n alone."""
        frames = self.frames[n : n + 1]
        return replace(self, scores=self.scores[: frames[0], n : n + 1], frames=frames, form=self.form._replace(size=1))

    def notes(self) -> tuple[str, ...]:
        """A note if scores that should be log-probabilities are not; for a batch of one sample."""
        if self.from_logits or not len(self.scores):
            return ()
        sums = np.logaddexp.reduce(as_floats(self.scores[: self.frames[0], 0]), axis=1, dtype=np.float64)
        t = int(np.nan_to_num(sums, nan=-np.inf).argmax())
        if not np.log(_MOST) < sums[t] < np.inf:
            return ()
        return (
            f"the probabilities of frame {t} add up to {np.exp(min(sums[t], 700.0)):.3g}: log_probs are used as they "
            "are, and so the texts' scores are not log-probabilities; pass from_logits=True for logits",
        )


def of_arrays(name: str, given: Any) -> tuple[Any, npt.NDArray[Any]]:
    """The view of an array, or of anything that NumPy can convert to one."""
    array = as_array(name, given)
    return array, array


def read_emissions(
    log_probs: Any, input_lengths: Any, from_logits: bool, labels: int | None, view: View = of_arrays
) -> list[Emissions]:
    """Checks the scores of a call.

    Args:
        log_probs: (T, N, C); (T, C) for one sample; or a list of such arrays (T, C), each a sample of its own length.
        input_lengths: (N,) frames of each sample; a number for one sample; None for all frames.
        from_logits: whether they are logits.
        labels: how many labels there are; None if that is not known.
        view: reads `log_probs`, or each item of a list.

    Returns:
        One batch; for a list, one for each array.

    Raises:
        CTCError: for anything malformed, before any work.
    """
    from_logits = check_flag("from_logits", from_logits)
    name = "logits" if from_logits else "log_probs"
    if not _is_list_of_samples(log_probs):
        return [_read(name, log_probs, input_lengths, from_logits, labels, view)]
    lengths = None if input_lengths is None else as_integers("input_lengths", input_lengths)
    if lengths is not None and lengths.shape != (len(log_probs),):
        details = {"size": len(log_probs)}
        fault = Fault("shape-mismatch", "input_lengths", (), lengths.shape, (len(log_probs),), "one-a-sample")
        raise CTCError(replace(fault, variant="lengths", details=details))
    return [
        _of_list(n, name, scores, None if lengths is None else lengths[n], from_logits, labels, view)
        for n, scores in enumerate(log_probs)
    ]


def _is_list_of_samples(log_probs: Any) -> bool:
    """Whether the argument is a list of arrays (T, C); a nested list of numbers is one array."""
    return (
        isinstance(log_probs, (list, tuple))
        and len(log_probs) > 0
        and all(len(getattr(scores, "shape", ())) == 2 for scores in log_probs)
    )


def _of_list(
    n: int, name: str, scores: Any, length: Any, from_logits: bool, labels: int | None, view: View
) -> Emissions:
    """Reads item n of a list; errors name the item."""
    try:
        return _read(name, scores, length, from_logits, labels, view)
    except CTCError as error:
        if error.fault is None:
            raise
        details = {**error.fault.details, "scores": f"{name}[{n}]"}
        argument = f"{error.fault.argument}[{n}]"
        raise CTCError(replace(error.fault, argument=argument, details=details)) from None


def _read(
    name: str, log_probs: Any, input_lengths: Any, from_logits: bool, labels: int | None, view: View
) -> Emissions:
    given, array = view(name, log_probs)
    shape = tuple(given.shape)
    frames = as_integers("input_lengths", all_frames(shape) if input_lengths is None else input_lengths)
    form = check_lattice_form(given, frames, from_logits=from_logits)
    if labels is not None:
        check_classes(name, shape, labels)
    if input_lengths is not None:
        check_values(form, 0, None, frames, None, from_logits=from_logits)
    counts = np.ascontiguousarray(frames.reshape(-1), np.int64)
    if input_lengths is None and form.batched and form.num_frames == 1 < form.size:  # most probably (N, T, C), N = 1
        raise CTCError(Fault("one-frame-each", name, (), shape, [1], "one-sample", details={"size": form.size}))
    scores = readable_scores(array, form)
    check_not_probabilities(name, scores, counts, from_logits)
    return Emissions(scores, counts, from_logits, form._replace(batched=True))
