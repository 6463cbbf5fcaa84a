"""Alignments of arrays in the forms that other people's code asks for; ``ctckit.torch.adapters`` has those of tensors.

May import align.py and validate/.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .align import Alignment
from .validate import check_frame_shift

__all__ = ["ctc_segmentation_form"]

Float64Array = npt.NDArray[np.float64]


def ctc_segmentation_form(
    alignment: Alignment, labels: Sequence[str], frame_shift: float, self_transition: str = "ε"
) -> tuple[Float64Array, Float64Array, list[str]]:
    """An alignment as the package ctc_segmentation returns one.

    Args:
        alignment: from :func:`ctckit.forced_align`.
        labels: of the classes, as ``config.char_list`` there.
        frame_shift: seconds from one frame to the next, as ``config.index_duration_in_seconds`` there.
        self_transition: what stands for a frame in which no token begins.

    Returns:
        ``timings`` (S,), the second in which each token begins, NaN for one that was left out; ``char_probs`` (T,),
        what each frame adds to the score; and ``state_list``, for each frame the label of the token that begins there.

    Example:
        >>> import ctckit
        >>> log_probs = np.log([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]])
        >>> timings, char_probs, states = ctc_segmentation_form(ctckit.forced_align(log_probs, [1])[0], "_a", 0.02)
        >>> timings, states
        (array([0.02]), ['ε', 'a', 'ε', 'ε'])
    """
    shift = check_frame_shift(frame_shift)
    timings = np.where(alignment.starts < 0, np.nan, alignment.starts * shift)
    states = [self_transition] * len(alignment.states)
    for span in alignment.spans():
        states[span.start] = labels[span.token] if span.token >= 0 else "*"
    return timings, alignment.frame_scores.copy(), states
