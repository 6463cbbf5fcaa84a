"""What jax-triton does on a GPU, done by Triton's interpreter on the CPU: its ``triton_call``, as far as it is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


@contextmanager
def interpreted() -> Iterator[list[str]]:
    """Within, ``ctckit.jax`` finds a jax-triton that runs kernels in the interpreter; yields the kernels' names."""
    from ctckit.jax.backends import choice, triton

    launched: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        choice._mapped.cache_clear()
        patch.setitem(sys.modules, "jax_triton", SimpleNamespace(triton_call=_caller(launched)))
        patch.setattr(triton, "is_installed", lambda: True)
        patch.setattr(triton, "PLATFORM", "cpu")
        yield launched
    choice._mapped.cache_clear()


def _tensor(array: Any) -> Any:
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: Any) -> Any:
    import jax.numpy as jnp
    import torch

    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(jnp.bfloat16)
    return tensor.numpy()


def _caller(launched: list[str]) -> Any:
    import jax

    def triton_call(
        *arguments: Any, kernel: Any, grid: Any, out_type: Any, num_warps: int, backend_options: Any, **constants: Any
    ) -> None:
        assert out_type == ()
        assert backend_options.keys() == {"enable_fp_fusion"}
        launched.append(kernel.__name__)
        arrays = [each for each in arguments if not isinstance(each, int)]
        refs = [each for each in arrays if "Ref" in type(jax.typeof(each)).__name__]

        def run(*values: Any) -> list[np.ndarray]:
            memory = [_tensor(np.array(value)) for value in values]
            of = iter(memory)
            kernel[grid](*(each if isinstance(each, int) else next(of) for each in arguments), **constants)
            kept = [any(each is ref for ref in refs) for each in arrays]
            return [_array(tensor) for tensor, is_kept in zip(memory, kept, strict=True) if is_kept]

        values = [each[...] for each in arrays]
        shapes = [jax.ShapeDtypeStruct(ref.shape, ref.dtype) for ref in refs]
        for ref, found in zip(refs, jax.pure_callback(run, shapes, *values), strict=True):
            ref[...] = found

    return triton_call
