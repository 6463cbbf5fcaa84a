"""What TensorBoard shows of a batch: an alignment as an image, and how much of each sample is blank.

The image is made by NumPy: a training run needs no matplotlib. May import torch, ctckit.loss and what lies below them.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..align import forced_align
from ..loss import posteriors

Ints = npt.NDArray[np.int64]

_CELL = 4  # pixels of a frame or a state, at least
_WIDEST = 4000  # frames and states that are drawn
_PATH = (201, 42, 42)  # red


class PictureWriter(Protocol):
    """Anything that takes pictures too, such as TensorBoard's ``SummaryWriter``."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int, *, dataformats: str) -> object:
        """Writes an image."""

    def add_histogram(self, tag: str, values: Any, global_step: int) -> object:
        """Writes a histogram."""


def write_pictures(
    writer: PictureWriter, prefix: str, scores: Tensor, targets: list[Ints], frames: Ints, blank: int, step: int
) -> None:
    """An image of the first sample that has an alignment, and a histogram of all samples' shares of blanks.

    Args:
        writer: gets both.
        prefix: what their names begin with.
        scores: (T, N, C) logits or log-probabilities.
        targets: each sample's tokens.
        frames: (N,) used of each sample.
        blank: the blank's class.
        step: the number of the step.
    """
    shares = blank_shares(scores, frames, blank)
    if len(shares):
        writer.add_histogram(f"{prefix}blank_shares", shares, step)
    for n, target in enumerate(targets):
        image = alignment_image(scores[: frames[n], n].float().numpy(force=True), target, blank)
        if image is not None:
            writer.add_image(f"{prefix}alignment", image, step, dataformats="HWC")
            return


def blank_shares(scores: Tensor, frames: Ints, blank: int) -> npt.NDArray[np.float32]:
    """The share of frames (N,) whose most probable class is the blank; samples without frames are left out."""
    blanks = (scores.argmax(dim=2) == blank).numpy(force=True)
    used = np.arange(len(blanks))[:, None] < frames
    return np.asarray(((blanks & used).sum(axis=0)[frames > 0] / frames[frames > 0]).astype(np.float32))


def alignment_image(logits: npt.NDArray[np.float32], target: Ints, blank: int) -> npt.NDArray[np.uint8] | None:
    """Occupancies γ by state (upwards) and frame, dark where probable, and the best path in red; None without a path.

    Args:
        logits: (T, C), or log-probabilities.
        target: (S,).
        blank: the blank's class.

    Returns:
        (H, W, 3).
    """
    if not 0 < len(logits) <= _WIDEST or 2 * len(target) + 1 > _WIDEST:
        return None
    log_probs = torch.from_numpy(logits).log_softmax(-1).numpy()
    found = forced_align(log_probs, target, blank=blank, on_infeasible="mark")[0]
    if not found.found:
        return None
    gamma = np.asarray(posteriors(log_probs[:, None], target[None], blank=blank).states)[:, 0]
    image = np.repeat((255 * (1 - gamma.T[:, :, None])).astype(np.uint8), 3, axis=2)
    image[found.states, np.arange(len(logits))] = (image[found.states, np.arange(len(logits))] // 4) + np.array(
        _PATH, np.uint8
    ) // 4 * 3
    return np.ascontiguousarray(image[::-1].repeat(_CELL, axis=0).repeat(_CELL, axis=1))
