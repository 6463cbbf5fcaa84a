"""`make bench`: the loss in JAX, ours and optax's: time, error, memory and compilation.

Jitted loss and gradient of float32 logits, on one core, in CPU time of the process: the C++ kernels that XLA calls
(ffi), jax's own operations (scan), and ``optax.ctc_loss``. Times are interleaved, see harness.py. Errors are against
our NumPy loss in float64; temporaries are XLA's own account of the compiled call; compilation is its CPU time, with
tracing. A tiny call is timed against the NumPy front, by the clock. (A file named jax.py would hide jax from the other
benchmarks.)

Writes bench/results/jax.csv, and the tables of docs/from-optax.md and its Chinese twin. Exits with status 1 if
something is below its bar.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from harness import (
    Contender,
    Row,
    interleaved,
    milliseconds,
    parser,
    publish,
    published,
    ratio,
    seconds,
    show,
    write_results,
)
from shapes import LossShape

import ctckit
import ctckit.jax

# How many times faster than optax the kernels must be. Of the scan: no slower, with a quarter of the memory.
SHAPES = {
    LossShape(150, 40, 32, 20): 5,
    LossShape(1500, 32, 16, 200): 12,
    LossShape(1500, 32, 16, 200, peaky=True): 12,
    LossShape(400, 5000, 8, 60): 9,
}
MOST_ERROR = 1e-5
MOST_TEMPORARIES = 1.0  # MiB, of the kernels
TINY, MOST_OF_NUMPY = LossShape(4, 5, 1, 2), 2.0

Given = tuple[Any, Any, Any, Any]


class Compiled(NamedTuple):
    run: Callable[..., Any]
    seconds: float
    temporaries: float  # MiB


def inputs(shape: LossShape) -> Given:
    """Logits (N, T, C), targets, frames and lengths; all frames and tokens are used."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((shape.N, shape.T, shape.C)).astype(np.float32)
    targets = rng.integers(1, shape.C, (shape.N, shape.S))
    if shape.peaky:
        logits[:, :, 0] += 6
        for n in range(shape.N):
            spikes = np.sort(rng.choice(shape.T, shape.S, replace=False))
            logits[n, spikes, targets[n]] += 12
    return jnp.asarray(logits), targets, np.full(shape.N, shape.T), np.full(shape.N, shape.S)


def with_optax(logits: Any, targets: Any, frames: Any, lengths: Any) -> Any:
    paddings = (jnp.zeros(each.shape[:2]) for each in (logits, targets))
    return optax.ctc_loss(logits, next(paddings), targets, next(paddings)).sum()


LOSSES: dict[str, Callable[..., Any]] = {
    "ffi": partial(ctckit.jax.ctc_loss, reduction="sum"),  # the default on a CPU, where the scan is traced too
    "scan": partial(ctckit.jax.ctc_loss, reduction="sum", backend="scan"),
    "optax": with_optax,
}


def compiled(loss: Callable[..., Any], given: Given) -> Compiled:
    begin = time.process_time()
    made = jax.jit(jax.value_and_grad(loss)).lower(*given).compile()
    taken = time.process_time() - begin
    return Compiled(made, taken, made.memory_analysis().temp_size_in_bytes / 2**20)


def error(step: Compiled, given: Given) -> float:
    logits, *others = given
    exact = ctckit.ctc_loss_and_grad(
        np.asarray(logits, float).swapaxes(0, 1), *others, reduction="sum", from_logits=True
    )
    return float(np.abs(np.swapaxes(step.run(*given)[1], 0, 1) - exact.grad).max())


def measured(shape: LossShape, bar: float, rounds: int) -> tuple[list[Row], list[str]]:
    """The rows of a shape, and what is below its bar."""
    given = inputs(shape)
    steps = {name: compiled(loss, given) for name, loss in LOSSES.items()}
    contenders = {
        name: Contender(partial(lambda step: jax.block_until_ready(step.run(*given)), step))
        for name, step in steps.items()
    }
    timer = partial(seconds, at_least=0.1, most_calls=20, clock=time.process_time)
    times = interleaved(contenders, rounds, timer=timer)
    errors = {name: error(step, given) for name, step in steps.items()}
    rows: list[Row] = [
        {
            **{letter: getattr(shape, letter) for letter in "TCNS"},
            "kind": "peaky" if shape.peaky else "random",
            "loss": name,
            "ms": f"{milliseconds(times[name]):.3g}",
            "optax / it": f"{ratio(times['optax'], times[name]):.2f}",
            "error": f"{errors[name]:.1e}",
            "temporaries MiB": f"{step.temporaries:.3g}",
            "compile s": f"{step.seconds:.2g}",
        }
        for name, step in steps.items()
    ]
    failed = []
    if ratio(times["optax"], times["ffi"]) < bar:
        failed.append(f"{shape}: ffi's speed")
    if steps["ffi"].temporaries > MOST_TEMPORARIES:
        failed.append(f"{shape}: ffi's temporaries")
    if max(errors["ffi"], errors["scan"]) > MOST_ERROR:
        failed.append(f"{shape}: error")
    if ratio(times["optax"], times["scan"]) < 1:
        failed.append(f"{shape}: the scan's speed")
    if steps["scan"].temporaries > steps["optax"].temporaries / 4:
        failed.append(f"{shape}: the scan's temporaries")
    return rows, failed


def tiny(rounds: int) -> tuple[list[Row], list[str]]:
    """A call whose work is nothing: what is left is the way to the kernels and back."""
    given = inputs(TINY)
    step = jax.jit(jax.value_and_grad(ctckit.jax.ctc_loss))
    frames_first = np.asarray(given[0]).swapaxes(0, 1)
    contenders = {
        "ffi": Contender(lambda: jax.block_until_ready(step(*given))),
        "NumPy": Contender(lambda: ctckit.ctc_loss_and_grad(frames_first, *given[1:], from_logits=True)),
    }
    times = interleaved(contenders, rounds, timer=partial(seconds, calls=200))
    shape = {letter: getattr(TINY, letter) for letter in "TCNS"}
    rows: list[Row] = [
        {**shape, "kind": "tiny", "loss": name, "ms": f"{milliseconds(each):.2g}"} for name, each in times.items()
    ]
    return rows, ["the tiny call"] if ratio(times["ffi"], times["NumPy"]) > MOST_OF_NUMPY else []


def cells(rows: list[Row]) -> list[list[object]]:
    """The published rows, one a shape."""
    found: list[list[object]] = []
    for first in range(0, len(rows), len(LOSSES)):
        ours, scan, theirs = rows[first : first + len(LOSSES)]
        shape = ", ".join(str(ours[letter]) for letter in "TCNS") + (" \\*" if ours["kind"] == "peaky" else "")
        times = [theirs["ms"], ours["ms"], f"**{float(str(ours['optax / it'])):.3g}**", scan["ms"]]
        errors = [each["error"] for each in (theirs, ours, scan)]
        memory = [f"{float(str(each['temporaries MiB'])):.1f}" for each in (theirs, ours, scan)]
        found.append([shape, *times, *errors, *memory])
    return found


def main() -> None:
    rounds = parser(__doc__, 9).parse_args().rounds
    rows: list[Row] = []
    failed: list[str] = []
    for shape, bar in SHAPES.items():
        more, below = measured(shape, bar, rounds)
        rows, failed = rows + more, failed + below
    for table in published("jax"):
        publish("jax", table, cells(rows), jax=jax.__version__, optax=optax.__version__)
    more, below = tiny(rounds)
    rows, failed = rows + more, failed + below
    columns = list(rows[0])
    show("loss and gradient in JAX, one core", [dict.fromkeys(columns, "") | row for row in rows], ("kind", "loss"))
    write_results("jax", rows, f"float32 logits, one core; jax {jax.__version__}, optax {optax.__version__}")
    if failed:
        sys.exit(f"below the bar: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
