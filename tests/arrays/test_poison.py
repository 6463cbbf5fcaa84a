"""Outputs are NaN before they are written, wherever they are allocated. Other tests rely on it."""

import numpy as np
import pytest
from support.installed import HAS_TORCH

from ctckit.kernels import native


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("frames", [3, native.RECYCLED // 2], ids=["small", "recycled"])
def test_gradients_begin_as_nan(frames: int, dtype: str) -> None:
    assert np.isnan(native.gradient((frames, 1, 1), dtype)).all()


def test_arrays_begin_as_nan() -> None:
    assert np.isnan(np.empty((2, 3))).all()
    assert np.isnan(np.empty_like(np.zeros(4, np.float32))).all()
    assert (np.empty(4, np.int32) == -1).all()


@pytest.mark.skipif(not HAS_TORCH, reason="needs torch")
def test_tensors_begin_as_nan() -> None:
    import torch

    assert torch.empty_like(torch.zeros(3, dtype=torch.bfloat16)).isnan().all()
