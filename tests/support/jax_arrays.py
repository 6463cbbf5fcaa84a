"""What tests of jax's arrays share."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import ctckit.jax
from support.batches import Batch, draw

TESTS = Path(__file__).resolve().parents[1]
BACKENDS = ["ffi", "scan"]


# Before 0.6, jax lowers the branches of all platforms.
ONE_BRANCH_IS_LOWERED = jax.__version_info__ >= (0, 6)


def x64(wanted: bool = True) -> AbstractContextManager[None]:
    """jax with 64-bit numbers; versions differ in where it is."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(wanted)
    from jax.experimental import enable_x64

    return enable_x64(wanted)


def batch_of(blank: int = 0) -> Batch:
    """Mixed lengths, an empty target, one that can't be reached, and padding that must not be read."""
    batch = draw(5, 14, 6, 5, 4, blank=blank)
    batch.lengths[1:4] = 0, 4, 4
    batch.targets[2] = (blank + 1) % 5
    batch.frames[2:5] = 6, 5, 14
    for n, (used, length) in enumerate(zip(batch.frames, batch.lengths, strict=True)):
        batch.scores[used:, n] = np.nan
        batch.targets[n, length:] = -7
    return batch


def arguments(batch: Batch, dtype: str = "float32") -> tuple[jax.Array, np.ndarray, np.ndarray, np.ndarray]:
    """A batch as :func:`ctckit.jax.ctc_loss` takes it."""
    scores = jnp.asarray(batch.scores.swapaxes(0, 1).astype(float).astype(jnp.dtype(dtype)))
    return scores, batch.targets, batch.frames, batch.lengths


def summed(scores: Any, *given: Any, **options: Any) -> tuple[jax.Array, jax.Array]:
    """The sum of the losses, to be differentiated, and the losses."""
    loss = ctckit.jax.ctc_loss(scores, *given, reduction="none", **options)
    return loss.sum(), loss


def run_alone(code: str, devices: int = 1, **environment: str) -> None:
    """Runs code in a process of its own, with so many host devices. It can import what tests import."""
    path = [f"import sys; sys.path.insert(0, {str(TESTS)!r})"]
    alone = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu", **environment}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*path, textwrap.dedent(code)])],
        capture_output=True,
        text=True,
        timeout=500,
        env=os.environ | alone,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
