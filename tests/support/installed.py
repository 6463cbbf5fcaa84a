"""Which optional packages and devices this machine has; imports nothing until asked."""

from __future__ import annotations

import importlib.util

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_TRITON = HAS_TORCH and importlib.util.find_spec("triton") is not None


def has_gpu() -> bool:
    """Whether Triton's kernels run on a GPU; without one they run in Triton's interpreter."""
    if not HAS_TRITON:
        return False
    import torch

    return torch.cuda.is_available()
