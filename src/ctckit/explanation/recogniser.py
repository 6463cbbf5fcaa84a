"""A made-up recogniser: what a network might give for a word. Its twin on the page is page/recogniser.js.

Imports NumPy only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLANK_LOGIT, SHARPNESS = 2.0, 12.0
PEAKS = (4.5, 3.9, 3.3)  # of tokens in turn: it is surer of some than of others, so no two paths are equally good
EARLY = 0.2  # frames: a peak between two frames is nearer to the first


def recognised(target: list[int], classes: int, frames: int) -> npt.NDArray[np.float64]:
    """Logits (T, C) of a recogniser that hears a target: each token rises and falls at its own time.

    The blank, class 0, is as probable in all frames.

    Example:
        >>> recognised([1, 2], 3, 4).round(2).tolist()
        [[2.0, 3.44, 0.0], [2.0, 1.03, 0.02], [2.0, 0.0, 2.98], [2.0, 0.0, 0.9]]
    """
    logits = np.zeros((frames, classes))
    for s, token in enumerate(target):
        middle = (s + 0.5) * frames / len(target) - 0.5 - EARLY
        distance = (np.arange(frames) - middle) * len(target) / max(frames, 1)
        peak = PEAKS[s % len(PEAKS)]
        np.maximum(logits[:, token], peak * np.exp(-SHARPNESS * distance**2), out=logits[:, token])
    logits[:, 0] = BLANK_LOGIT
    return logits
