"""Memory of large gradients: reused once nothing refers to it, never before, and at most a few blocks."""

import multiprocessing
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.installed import needs_linux

import ctckit
from ctckit.kernels import native
from ctckit.native import recycled

MIB = 1 << 20


def address(array: np.ndarray) -> int:
    return array.ctypes.data


@pytest.fixture(autouse=True)
def empty_store() -> None:
    """Four blocks of an unused size push out the blocks of earlier tests."""
    blocks = [recycled(200 * MIB) for _ in range(4)]
    del blocks


def test_the_same_memory_again() -> None:
    first = recycled(5 * MIB)
    place = address(first)
    assert place % 64 == 0
    del first
    assert address(recycled(5 * MIB - 1)) == place


def test_what_is_referred_to_stays() -> None:
    gradient = native.gradient((native.RECYCLED // 4, 1, 1), np.float32)
    place, view = address(gradient), gradient[5:9, 0].reshape(2, 2)
    view[...] = 7
    del gradient
    other = native.gradient((native.RECYCLED // 4, 1, 1), np.float32)
    assert address(other) != place
    assert (view == 7).all()


def test_best_fit_up_to_twice_the_size() -> None:
    blocks = {mib: recycled(mib * MIB) for mib in (20, 12, 16)}
    places = {mib: address(block) for mib, block in blocks.items()}
    blocks.clear()
    assert address(recycled(10 * MIB)) == places[12]
    assert address(recycled(14 * MIB)) == places[16]
    assert address(recycled(18 * MIB)) == places[20]
    assert address(recycled(4 * MIB)) not in places.values()


@needs_linux
def test_many_sizes_stay_within_a_few_blocks() -> None:
    def resident() -> int:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) * 1024

    before = resident()
    for mib in np.random.default_rng(0).integers(1, 30, 80).tolist():
        blocks = [recycled((mib + i) * MIB) for i in range(3)]
        for block in blocks:
            block.fill(1)
        del block, blocks
    assert resident() - before <= (4 * 32 + 8) * MIB


def test_too_much() -> None:
    for size in (1 << 62, (1 << 64) - 1):
        with pytest.raises(MemoryError):
            recycled(size)
    assert recycled(0).size == 0


def test_eight_threads() -> None:
    """No thread's numbers change while others take and drop memory."""

    def work(me: int) -> bool:
        rng, right = np.random.default_rng(me), True
        for _ in range(50):
            block = recycled(int(rng.integers(1, 4 * MIB)))
            block[::4096] = me
            ctckit.ctc_loss(np.zeros((4, 3)), [1], 4, 1)
            right &= bool((block[::4096] == me).all())
        return right

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def _child(kept: np.ndarray) -> None:
    """Takes and drops memory; what the parent holds must not change by it."""
    for _ in range(10):
        recycled(MIB).fill(2)
    sys.exit(0 if (kept == 1).all() else 1)


@needs_linux
def test_fork_while_other_threads_take_and_drop() -> None:
    kept = recycled(MIB)
    kept.fill(1)
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            recycled(MIB)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(10):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside any thread
                child = multiprocessing.get_context("fork").Process(target=_child, args=(kept,))
                child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        done.set()
        thread.join()
    assert (kept == 1).all()


def test_gradients_may_outlive_the_module() -> None:
    """At exit the order of destruction is unknown."""
    script = """
import builtins, sys, numpy as np
from ctckit.kernels import native
builtins.kept = [native.gradient((9 << 20, 1, 1), np.float32) for _ in range(6)]
for name in [name for name in sys.modules if name.startswith("ctckit")]:
    del sys.modules[name]
del native
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_large_gradients_are_what_small_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=(30, 4, 6)).astype(np.float32)
    call = (scores, np.full((4, 5), 3), [30, 20, 12, 2], [5, 4, 0, 3])
    small = ctckit.ctc_loss_and_grad(*call, from_logits=True).grad
    gamma = ctckit.posteriors(*call, from_logits=True).classes
    monkeypatch.setattr(native, "RECYCLED", 1)
    for _ in range(3):
        large = ctckit.ctc_loss_and_grad(*call, from_logits=True).grad
        assert large.flags.writeable
        assert np.array_equal(large, small)
        assert np.array_equal(ctckit.posteriors(*call, from_logits=True).classes, gamma)
