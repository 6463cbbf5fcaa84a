"""Where tests of the torch front put the tensors that the GPU backend takes.

With a GPU they are on it, and nothing is replaced. Without one they stay on the CPU, marked as a GPU's, and Triton's
interpreter takes them. What a test forgets to put there is not marked, and goes to the CPU's kernels, as it would on a
machine with a GPU; a fixture can see that from the backends that were taken.
"""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from ctckit.torch import align, arguments, dispatch
from support.installed import has_gpu


class Marked(Tensor):
    """A tensor of the CPU that counts as a GPU's, as does what torch computes from it."""

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_function__(function, types, args, kwargs or {})
        return found.as_subclass(Tensor) if function is Tensor.cpu else found


def on_gpu(values: Any) -> Any:
    """A tensor where the GPU backend takes it; anything else unchanged."""
    if not isinstance(values, Tensor):
        return values
    return values.to("cuda") if has_gpu() else values.as_subclass(Marked)


def placed(tensor: Tensor, backend: str) -> Tensor:
    """A tensor where that backend takes it."""
    return on_gpu(tensor) if backend == "triton" else tensor


def take_for_gpus(monkeypatch: pytest.MonkeyPatch, kind: type[Tensor] = Marked) -> list[str]:
    """Without a GPU, makes marked tensors, or all, go to the GPU backend, which must not read their values.

    Returns:
        The backends that calls have gone to, as they go.
    """
    backend_of, is_on_host, taken = dispatch.backend_of, arguments.is_on_host, []

    def noted(scores: Tensor) -> str:
        marked = isinstance(scores, kind) and not has_gpu()
        taken.append("triton" if marked else backend_of(scores))
        return taken[-1]

    for module in (dispatch, align):
        monkeypatch.setattr(module, "backend_of", noted)
    if not has_gpu():
        monkeypatch.setattr(arguments, "is_on_host", lambda x: not isinstance(x, kind) and is_on_host(x))
    return taken


def pretend(monkeypatch: pytest.MonkeyPatch, backend: str, kind: type[Tensor] = Marked) -> None:
    """Makes calls go to a backend: the GPU's as above, another whatever the tensors are."""
    if backend == "triton":
        take_for_gpus(monkeypatch, kind)
        return
    for module in (dispatch, align):
        monkeypatch.setattr(module, "backend_of", lambda scores: backend)
