"""Uninitialised memory is full of NaN, so that an output which nobody wrote cannot pass for a result.

Every Python function that hands out uninitialised memory is replaced once, whoever calls it: NumPy's, torch's, and the
extension's store of large gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from ctckit import native
from support.installed import HAS_TORCH

_BFLOAT16_NAN = 0x7FC1


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Within the context ``empty`` and ``empty_like`` of NumPy and torch, and recycled blocks hold NaN."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("empty", "empty_like"):
            patch.setattr(np, name, _filled(getattr(np, name), _poison_array))
        patch.setattr(native, "recycled", _filled(native.recycled, _poison_bytes))
        if HAS_TORCH:
            import torch

            for name in ("empty", "empty_like"):
                patch.setattr(torch, name, _filled(getattr(torch, name), _poison_tensor))
        yield


def _filled(allocate: Callable[..., Any], poison: Callable[[Any], object]) -> Callable[..., Any]:
    def filled(*args: Any, **kwargs: Any) -> Any:
        memory = allocate(*args, **kwargs)
        poison(memory)
        return memory

    return filled


def _poison_array(array: np.ndarray) -> None:
    if array.dtype.kind in "fc":
        array.fill(np.nan)
    elif array.dtype == np.uint16:  # the bits of bfloat16
        array.fill(_BFLOAT16_NAN)
    elif array.dtype.kind == "i":
        array.fill(-1)


def _poison_bytes(block: np.ndarray) -> None:
    block.fill(0xFF)  # NaN in any float


def _poison_tensor(tensor: Any) -> None:
    if tensor.is_floating_point():
        tensor.detach().fill_(float("nan"))
