"""Made-up recordings: scores of a text, and the times of its words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LABELS = ["φ", " ", *"abcdefghijklmnopqrstuvwxyz"]
WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog"]
SHIFT = 0.02


def said(labels: Sequence[str], path: Sequence[str], sure: float = 0.9) -> npt.NDArray[np.float64]:
    """Log-probabilities in which each frame's best class is the path's, and the others are equal."""
    rest = (1 - sure) / (len(labels) - 1)
    return np.log([[sure if label == named else rest for label in labels] for named in path])


def spoken(text: str, seed: int = 0) -> tuple[npt.NDArray[np.float32], list[tuple[float, float]]]:
    """Log-probabilities of a text, and the words' times."""
    rng = np.random.default_rng(seed)
    frames, starts, ends = [0] * 3, [], []
    for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False):
        if before == " ":
            starts.append(len(frames) * SHIFT)
        frames += [LABELS.index(letter)] * int(rng.integers(1, 3))
        if after == " ":
            ends.append(len(frames) * SHIFT)
        frames += [0] * int(rng.integers(1, 4))
    logits = rng.normal(size=(len(frames), len(LABELS)))
    logits[np.arange(len(frames)), frames] += 9
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return log_probs.astype(np.float32), list(zip(starts, ends, strict=True))
