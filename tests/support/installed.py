"""Which system, optional packages and devices this machine has; imports no such package until asked."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import packages_distributions, version

import pytest


def _triton_is_new_enough() -> bool:
    """Whether the kernels can use it: from 3.4 on. Other distributions than "triton" have the package, too."""
    versions = [version(name) for name in packages_distributions().get("triton", [])]
    return any(tuple(map(int, found.split(".")[:2])) >= (3, 4) for found in versions)


needs_linux = pytest.mark.skipif(
    sys.platform != "linux",
    reason="needs Linux: its /proc, its limit of memory, or a fork that is safe next to threads",
)
# Of the tests of Triton's kernels, its interpreter runs few in `make test`, and most of them in `make test-long`.
MOST_INTERPRETED = os.environ.get("CTCKIT_INTERPRETED") == "most"
HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_JAX = importlib.util.find_spec("jax") is not None
HAS_TRITON = HAS_TORCH and _triton_is_new_enough()


def has_gpu() -> bool:
    """Whether Triton's kernels run on a GPU; without one they run in Triton's interpreter."""
    if not HAS_TRITON:
        return False
    import torch

    return torch.cuda.is_available()


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips a test, and says why, where a package is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")
