"""What all tests share: the kernels they run on, outputs poisoned before every call, settings put back afterwards."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

# `make sanitize` runs these tests on an extension module of its own, built with AddressSanitizer.
if path := os.environ.get("CTCKIT_NATIVE"):
    spec = importlib.util.spec_from_file_location("ctckit._native", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ctckit._native"] = module
    spec.loader.exec_module(module)

from cases import BACKENDS, IMPLEMENTATIONS, NATIVE, Backend

import ctckit.loss
from ctckit.kernels import native

# The package works without torch, and so do its tests; those of the torch frontend are then left out.
HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH and importlib.util.find_spec("triton") is not None:
    import torch

    if not torch.cuda.is_available():  # read when triton is imported, by whomever
        os.environ.setdefault("TRITON_INTERPRET", "1")
collect_ignore_glob = [] if HAS_TORCH else ["test_torch_*.py", "test_golden.py"]


def pytest_report_header() -> str:
    return "torch: " + ("tested" if HAS_TORCH else f"not installed, so these are left out: {collect_ignore_glob}")


# The same examples in every run: a red build must be one that its author can repeat. No deadline: machines vary.
settings.register_profile("ctckit", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("ctckit")


class PoisonedNumPy:
    """NumPy, except that fresh memory is full of NaN, so that an output which nobody wrote can't look like one."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, shape: Any, dtype: Any = float) -> Any:
        dtype = np.dtype(dtype)
        bfloat16_nan = 0x7FC1
        return np.full(shape, bfloat16_nan if dtype == np.uint16 else np.nan if dtype.kind == "f" else -1, dtype)

    def ndarray(self, shape: Any, dtype: Any, recycled: Any) -> Any:
        recycled.fill(0xFF)  # NaN in any float
        return np.ndarray(shape, dtype, recycled)


@pytest.fixture(scope="session", autouse=True)
def poisoned_outputs() -> Iterator[None]:
    """Every output array of the NumPy API is NaN before the kernels see it."""
    with pytest.MonkeyPatch.context() as patch:
        for user in (native, ctckit.loss):
            patch.setattr(user, "np", PoisonedNumPy())
        yield


@pytest.fixture(autouse=True)
def settings_restored() -> Iterator[None]:
    """Tests may switch kernels and set threads."""
    kernels, threads = native.instruction_set(), native._threads
    yield
    native.use_instruction_set(kernels)
    native._threads = threads


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name, scope="module")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each implementation in turn: the reference, and the kernels of each instruction set."""
    return request.param


@pytest.fixture(params=IMPLEMENTATIONS, ids=lambda pair: f"{pair[0].name} {pair[1]}", scope="module")
def implementation(request: pytest.FixtureRequest) -> tuple[Backend, str]:
    """Each backend, in each dtype that it treats differently."""
    return request.param


@pytest.fixture(params=NATIVE, ids=lambda backend: backend.name, scope="module")
def kernels(request: pytest.FixtureRequest) -> Backend:
    """The native kernels of each instruction set in turn."""
    return request.param


@pytest.fixture(params=NATIVE, ids=lambda backend: backend.name)
def instruction_set(request: pytest.FixtureRequest) -> str:
    """Switches the public API to the kernels of each instruction set in turn."""
    native.use_instruction_set(request.param.name)
    return request.param.name
