"""The functions for NumPy take JAX's arrays as they are: the same numbers, and on a CPU without a copy."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from support.jax_arrays import batch_of

import ctckit


def test_diagnosis() -> None:
    batch = batch_of()
    scores = jnp.asarray(batch.scores.astype(np.float32))
    given: list[Any] = [batch.targets, batch.frames, batch.lengths]
    found = ctckit.diagnose(scores, *map(jnp.asarray, given), from_logits=True)
    assert str(found) == str(ctckit.diagnose(np.asarray(scores), *given, from_logits=True))
    assert found.findings


def test_explanation() -> None:
    logits = 3 * np.eye(4, dtype=np.float32)[[0, 1, 0, 2, 0, 3]]
    found = ctckit.explain(jnp.asarray(logits), jnp.array([1, 2, 3]), from_logits=True)
    assert str(found) == str(ctckit.explain(logits, [1, 2, 3], from_logits=True))


def test_no_copy() -> None:
    scores = jnp.asarray(batch_of().scores.astype(np.float32))
    assert np.asarray(scores).ctypes.data == scores.unsafe_buffer_pointer()
