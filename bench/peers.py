"""The implementations that ours are compared with: torch's loss, and other packages' aligners."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from shapes import Array, LossCase

Align = Callable[[Array, Array], Array]  # log_probs (T, C) and target (S,) to the first frame of each token (S,)


def torch_loss(case: LossCase) -> torch.Tensor:
    """torch's loss in float32; it has no bfloat16 on the CPU."""
    return F.ctc_loss(case.logits.float().log_softmax(-1), *case.rest)


def torch_loss64(case: LossCase) -> torch.Tensor:
    return F.ctc_loss(case.logits.log_softmax(-1), *case.rest)


def ctc_segmentation(log_probs: Array, target: Array) -> Array:
    import ctc_segmentation as package

    config = package.CtcSegmentationParameters(index_duration=1.0, blank=0)
    config.char_list = [str(c) for c in range(log_probs.shape[1])]
    table, _ = package.prepare_token_list(config, [target])
    timings, _, _ = package.ctc_segmentation(config, log_probs, table)
    return np.rint(timings[2 : 2 + len(target)]).astype(int)  # the package adds a mark and a blank before the text


def torchaudio(log_probs: Array, target: Array) -> Array:
    from torchaudio.functional import forced_align

    path, _ = forced_align(torch.from_numpy(log_probs)[None], torch.from_numpy(target)[None], blank=0)
    labels = path[0].numpy()
    return np.flatnonzero((labels != 0) & (np.diff(labels, prepend=0) != 0))


def aligners() -> dict[str, Align]:
    """Those that are installed and load."""
    found: dict[str, Align] = {}
    if importlib.util.find_spec("ctc_segmentation"):
        found["ctc-segmentation"] = ctc_segmentation
    try:
        import torchaudio.functional as _  # noqa: F401
    except (ImportError, OSError):  # not installed, or built for another torch
        pass
    else:
        found["torchaudio"] = torchaudio
    return found
