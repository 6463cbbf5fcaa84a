"""The devices of tensors in tests of the torch frontend on the GPU backend.

With a GPU, tensors are moved to it, and nothing is replaced. Without one they stay on the CPU, marked as a GPU's, and
Triton's interpreter takes them. If a test forgets to move a tensor, it is not marked and the CPU's kernels take it, as
on a machine with a GPU. A fixture can check this in the list of backends that were used.
"""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from ctckit.torch import align, arguments, dispatch, w_ctc
from support.installed import HAS_TRITON, has_gpu

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="the GPU backend needs triton, which Linux's tests install")


class Marked(Tensor):
    """A tensor on the CPU that counts as a GPU's. So do tensors that torch computes from it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(Tensor) if function is Tensor.cpu else found


def on_gpu(values: Any) -> Any:
    """A tensor on the device of the GPU backend; anything else unchanged."""
    if not isinstance(values, Tensor):
        return values
    return values.to("cuda") if has_gpu() else values.as_subclass(Marked)


def placed(tensor: Tensor, backend: str) -> Tensor:
    """A tensor on the device of that backend."""
    return on_gpu(tensor) if backend == "triton" else tensor


def take_for_gpus(monkeypatch: pytest.MonkeyPatch, kind: type[Tensor] = Marked) -> list[str]:
    """Without a GPU, sends calls with marked tensors, or with any, to the GPU backend, which must not read values.

    Returns:
        A list to which each call adds the backend that takes it.
    """
    backend_of, is_on_host, taken = dispatch.backend_of, arguments.is_on_host, []

    def noted(scores: Tensor) -> str:
        marked = isinstance(scores, kind) and not has_gpu()
        taken.append("triton" if marked else backend_of(scores))
        return taken[-1]

    for module in (dispatch, align, w_ctc):
        monkeypatch.setattr(module, "backend_of", noted)
    if not has_gpu():
        monkeypatch.setattr(arguments, "is_on_host", lambda x: not isinstance(x, kind) and is_on_host(x))
    return taken


def pretend(monkeypatch: pytest.MonkeyPatch, backend: str, kind: type[Tensor] = Marked) -> None:
    """Sends calls to a backend: to the GPU's as above, to another for any tensors."""
    if backend == "triton":
        take_for_gpus(monkeypatch, kind)
        return
    for module in (dispatch, align, w_ctc):
        monkeypatch.setattr(module, "backend_of", lambda scores: backend)
