"""Models of flax and equinox learn to read the demo's digits with our loss and optax's optimiser, as the guide says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ctckit
from ctckit.demo.data import Lines, load_digits, training_batches, write_lines
from ctckit.text.reading import edit_distance

jax = pytest.importorskip("jax", reason="the extra jax has it")
optax = pytest.importorskip("optax", reason="it has the optimisers")
pytest.importorskip("sklearn", reason="it has the digits")
pytestmark = pytest.mark.long

WIDTH, LONGEST, CLASSES, STRIDE = 112, 8, 11, 2
STEPS, BATCH = 500, 32
MOST_WRONG = 0.25  # of the held-out digits; measured: 0.08 with flax, 0.14 with equinox, whose weights begin smaller


def padded(lines: Lines) -> tuple[Any, ...]:
    """Columns (N, W, 8), targets (N, S), frames and lengths, always of the same shapes: one step is compiled."""
    size = len(lines)
    columns = np.zeros((size, WIDTH, 8), np.float32)
    columns[:, : lines.images.shape[2]] = lines.images.transpose(0, 2, 1)
    targets = np.zeros((size, LONGEST), np.int32)
    targets[:, : lines.targets.shape[1]] = lines.targets
    return columns, targets, -(-lines.widths // STRIDE), lines.target_lengths


def wrong_digits(read: Callable[[Any], Any]) -> float:
    """The share of wrong digits on held-out lines."""
    lines = write_lines(load_digits()[1], 64, np.random.default_rng(1))
    columns, _, frames, _ = padded(lines)
    texts = ctckit.greedy_decode(np.asarray(read(columns)).swapaxes(0, 1), frames)
    read_tokens = [[token - 1 for token in each[0].tokens] for each in texts]
    wrong = [edit_distance(lines.truth(n), tokens) for n, tokens in enumerate(read_tokens)]
    return sum(wrong) / int(lines.target_lengths.sum())


def batches() -> Any:
    given = training_batches(load_digits()[0], BATCH, np.random.default_rng(0))
    return (padded(next(given)) for _ in range(STEPS))


def test_flax() -> None:
    nnx = pytest.importorskip("flax.nnx")
    import ctckit.jax

    class Reader(nnx.Module):  # type: ignore[name-defined, misc]
        def __init__(self, rngs: Any) -> None:
            self.strokes = nnx.Conv(8, 64, (7,), strides=STRIDE, rngs=rngs)
            self.digits = nnx.Conv(64, 96, (7,), rngs=rngs)
            self.classes = nnx.Linear(96, CLASSES, rngs=rngs)

        def __call__(self, columns: Any) -> Any:
            return self.classes(nnx.relu(self.digits(nnx.relu(self.strokes(columns)))))

    @nnx.jit
    def step(model: Any, optimizer: Any, columns: Any, targets: Any, frames: Any, lengths: Any) -> Any:
        def loss_of(model: Any) -> Any:
            return ctckit.jax.ctc_loss(model(columns), targets, frames, lengths)

        loss, gradients = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, gradients)
        return loss

    model = Reader(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(5e-3), wrt=nnx.Param)
    losses = [float(step(model, optimizer, *batch)) for batch in batches()]
    assert losses[-1] < losses[0] / 4
    assert wrong_digits(nnx.jit(model)) < MOST_WRONG


def test_equinox() -> None:
    eqx = pytest.importorskip("equinox")
    import ctckit.jax

    class Reader(eqx.Module):  # type: ignore[name-defined, misc]
        strokes: Any
        digits: Any
        classes: Any

        def __init__(self) -> None:
            one, two, three = jax.random.split(jax.random.key(0), 3)
            self.strokes = eqx.nn.Conv1d(8, 64, 7, STRIDE, padding=3, key=one)
            self.digits = eqx.nn.Conv1d(64, 96, 7, padding=3, key=two)
            self.classes = eqx.nn.Conv1d(96, CLASSES, 1, key=three)

        def __call__(self, columns: Any) -> Any:
            return self.classes(jax.nn.relu(self.digits(jax.nn.relu(self.strokes(columns.T))))).T

    optimizer = optax.adam(5e-3)

    @eqx.filter_jit
    def step(model: Any, state: Any, columns: Any, targets: Any, frames: Any, lengths: Any) -> Any:
        def loss_of(model: Any) -> Any:
            return ctckit.jax.ctc_loss(jax.vmap(model)(columns), targets, frames, lengths)

        loss, gradients = eqx.filter_value_and_grad(loss_of)(model)
        updates, state = optimizer.update(gradients, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, loss

    model = Reader()
    state, losses = optimizer.init(eqx.filter(model, eqx.is_array)), []
    for batch in batches():
        model, state, loss = step(model, state, *batch)
        losses.append(float(loss))
    assert losses[-1] < losses[0] / 4
    assert wrong_digits(jax.jit(lambda columns: jax.vmap(model)(columns))) < MOST_WRONG
