"""The cases of bad input on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from support.messages import BAD, GOOD


def as_tensors(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arrays of numbers as tensors; everything else unchanged."""

    def of(array: np.ndarray) -> torch.Tensor:
        if array.ndim and array.strides[0] == 0:  # one row broadcast to many: a copy might not fit into memory
            return torch.from_numpy(array[:1].copy()).expand(array.shape)
        return torch.from_numpy(np.ascontiguousarray(array))

    return {
        name: of(value) if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" else value
        for name, value in arguments.items()
    }


def is_tensor_case(name: str) -> bool:
    change = BAD[name][0]
    if name in ("float targets", "scores of rank 4"):  # tensors of whole numbers and of heads are taken
        return False
    if name.startswith("masked"):  # tensors have no masks
        return False
    return "log_probs" not in change or (
        isinstance(change["log_probs"], np.ndarray) and change["log_probs"].dtype.kind != "U"
    )


def on_tensors(case: str) -> tuple[dict[str, Any], list[str]]:
    """A case of BAD on tensors: its arguments, and what its message must say."""
    change, parts = BAD[case]
    if case == "integer scores":
        parts = [*parts[:-1], "float()"]  # a tensor has no astype
    return as_tensors(GOOD | change), parts
