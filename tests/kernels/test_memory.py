"""Memory: an hour of audio against a book's chapter, in as much as a phone can spare."""

import json
import subprocess
import sys
from typing import Any

import pytest
from support.installed import needs_linux

ACCOUNTS = """
import json
import numpy as np
from ctckit.problem import ctc_problem
from ctckit.kernels import native
from ctckit.kernels.backend import Gradients

def account(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name))
    return int(line.split()[1]) * 1024

def resident():
    return account("VmRSS:")

def peak():  # getrusage's peak would include the process that started this one
    return account("VmHWM:")
"""

LOSS = """
frames, classes, tokens = 60000, 64, 8000
rng = np.random.default_rng(0)
logits = np.empty((frames, 1, classes), np.float32)
rng.standard_normal(out=logits, dtype=np.float32)  # in place: no temporary may raise the peak beforehand
grad = np.full(logits.shape, np.nan, np.float32)
problem = ctc_problem(logits, rng.integers(1, classes, (1, tokens)), [frames], [tokens], 0, from_logits=True)
before = resident()
score = native.total(problem, gradients=Gradients(grad), weights=np.ones(1)).score
growth = peak() - before
worst = max(float(abs(rows.sum(axis=2, dtype=np.float64)).max()) for rows in np.split(grad, 60))
control = np.ones(200 << 20, np.uint8)
print(json.dumps({
    "growth": growth,
    "controlled": peak() - before,
    "loss": -float(score[0]),
    "largest row sum": worst,
    "entries": [float(grad.min()), float(grad.max())],
}))
"""

ALIGNMENT = """
import ctckit
frames, classes, tokens = {shape}
rng = np.random.default_rng(0)
log_probs = np.empty((frames, classes), np.float32)
rng.standard_normal(out=log_probs, dtype=np.float32)
target = rng.integers(1, classes, tokens)
ctckit.forced_align(log_probs[:100], target[:10])[0].spans()  # libraries load what they load
before = resident()
alignment = ctckit.forced_align(log_probs, target)[0]
growth = peak() - before
spans = alignment.spans()
control = np.ones(200 << 20, np.uint8)
print(json.dumps({{"growth": growth, "controlled": peak() - before, "spans": len(spans)}}))
"""

FAILURE = """
import resource, ctckit
frames, size = 2000000, 16
log_probs = np.broadcast_to(np.zeros((1, 1, 2), np.float32), (frames, size, 2))
problem = ctc_problem(log_probs, np.ones((size, 1), int), [frames] * size, [1] * size, 0, from_logits=False)
ctckit.set_num_threads(size)
before = account("VmSize:")
resource.setrlimit(resource.RLIMIT_AS, (before + (300 << 20), resource.RLIM_INFINITY))
try:
    native.total(problem)
    failed = False
except MemoryError:
    failed = True
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
growth = account("VmSize:") - before
control = np.ones(200 << 20, np.uint8)
print(json.dumps({"failed": failed, "growth": growth, "controlled": account("VmSize:") - before}))
"""

MIB = 1 << 20


def measured(script: str) -> Any:
    """The memory that a script in a process of its own reports."""
    done = subprocess.run([sys.executable, "-c", ACCOUNTS + script], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["controlled"] >= 200 * MIB  # the measurement would have noticed
    return found


@needs_linux
@pytest.mark.parametrize(("shape", "most"), [((60000, 64, 8000), 60), ((15000, 32, 2000), 8)], ids=str)
def test_alignment(shape: tuple[int, int, int], most: int, capsys: pytest.CaptureFixture[str]) -> None:
    """T, C, S; storing two bits per move would take 240 MB for the first."""
    found = measured(ALIGNMENT.format(shape=shape))
    with capsys.disabled():
        print(f"\n  {found['growth'] / MIB:.1f} MiB beyond input", end=" ")
    assert found["growth"] <= most * MIB
    assert found["spans"] == shape[2]


@needs_linux
def test_an_hour_in_150_mib(capsys: pytest.CaptureFixture[str]) -> None:
    """T = 60000, C = 64, S = 8000: loss and gradient; a table of float32 α alone would be 3.8 GB."""
    found = measured(LOSS)
    with capsys.disabled():
        print(f"\n  {found['growth'] / MIB:.0f} MiB beyond input and gradient", end=" ")
    assert found["growth"] <= 150 * MIB
    assert 0 < found["loss"] < float("inf")
    # Softmax and occupancy each sum to 1 in float32; 64 entries are rounded.
    assert found["largest row sum"] <= (8 + 2 * 8) * 2.0**-24
    assert -1 <= found["entries"][0] < 0 < found["entries"][1] <= 1


@needs_linux
def test_a_call_that_fails_for_memory_gives_back_what_it_had() -> None:
    """16 threads want some 40 MiB each, and 300 are left."""
    found = measured(FAILURE)
    assert found["failed"]
    assert found["growth"] <= 40 * MIB


DIAGNOSIS = """
import ctckit
frames, size, classes, tokens = {shape}
rng = np.random.default_rng(0)
ctckit.diagnose(np.zeros((50, 2, 5)), [[1], [2]], [50, 50], [1, 1], from_logits=True)  # loads what it needs
scores = np.empty((frames, size, classes), np.float32)
rng.standard_normal(out=scores, dtype=np.float32)
step = max(1, 2**16 // (size * classes))
for start in range(0, frames, step):  # in place, as above
    rows = scores[start : start + step]
    if "{kind}" == "log-probabilities":
        rows -= np.logaddexp.reduce(rows, axis=-1, keepdims=True)
    if "{kind}" == "probabilities":
        np.exp(rows, out=rows)
        rows /= rows.sum(axis=-1, keepdims=True)
lengths = [frames] * size, [tokens] * size
before = resident()
found = ctckit.diagnose(
    scores, rng.integers(1, classes, (size, tokens)), *lengths, from_logits="{kind}" == "logits"
)
growth = peak() - before
control = np.ones(200 << 20, np.uint8)
print(json.dumps({{
    "growth": growth, "controlled": peak() - before, "input": scores.nbytes, "healthy": found.healthy
}}))
"""


@pytest.mark.slow
@needs_linux
@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((800, 16, 1000, 100), "log-probabilities"),
        ((800, 16, 1000, 100), "logits"),
        ((800, 16, 1000, 100), "raw"),
        ((800, 16, 1000, 100), "probabilities"),
        ((400000, 1, 32, 200), "log-probabilities"),
        ((32, 512, 1000, 20), "log-probabilities"),
    ],
    ids=str,
)
def test_diagnosis(shape: tuple[int, ...], kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its input, a diagnosis takes less than twice the input."""
    found = measured(DIAGNOSIS.format(shape=shape, kind=kind))
    with capsys.disabled():
        print(f"\n  {found['growth'] / found['input']:.2f} of the input beyond it", end=" ")
    assert found["growth"] <= found["input"]
    assert found["healthy"] == (kind in ("log-probabilities", "logits"))
