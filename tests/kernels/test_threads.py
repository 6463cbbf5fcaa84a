"""Threads and processes: several Python threads at once, a released GIL, a fork after threads were used."""

import multiprocessing
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import numpy as np
import pytest
from support.backends import Backend
from support.batches import Batch, draw, problem_of
from support.installed import needs_linux

import ctckit

# Work for several threads each, of sizes that need workspaces of different lengths.
BATCHES = [draw(seed, 150 + 40 * seed, 12, 20 + 30 * seed, 40) for seed in range(4)]


def result_of(batch: Batch, from_logits: bool) -> tuple[bytes, bytes]:
    scores = batch.scores.astype(np.float32)
    loss, grad = ctckit.ctc_loss_and_grad(scores, *batch.arguments, "none", from_logits=from_logits)
    return loss.tobytes(), grad.tobytes()


def all_results() -> list[tuple[bytes, bytes]]:
    return [result_of(batch, from_logits) for batch in BATCHES for from_logits in (False, True)]


def test_any_number_of_threads_may_be_set(instruction_set: str) -> None:
    expected = all_results()
    ctckit.set_num_threads(2**40)
    assert all_results() == expected


@pytest.mark.parametrize("inner", [1, 2])
def test_eight_python_threads(instruction_set: str, inner: int) -> None:
    """Eight threads call at the same time, each in another order, and get the same bits as one thread alone."""
    ctckit.set_num_threads(1)
    expected = all_results()
    ctckit.set_num_threads(inner)
    barrier = threading.Barrier(8)
    jobs = [(batch, from_logits) for batch in BATCHES for from_logits in (False, True)]

    def work(first: int) -> bool:
        barrier.wait()
        order = [(first + i) % len(jobs) for i in range(len(jobs))]
        return all(result_of(*jobs[i]) == expected[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_gil_is_released() -> None:
    """While one thread is in a long call, another runs Python."""
    frames, tokens = 12000, 3000
    scores = np.zeros((frames, 1, 4), np.float32)
    target = np.random.default_rng(0).integers(1, 4, (1, tokens))
    ctckit.set_num_threads(1)
    moments: dict[str, float] = {}

    def call() -> None:
        moments["begin"] = time.perf_counter()
        ctckit.ctc_loss_and_grad(scores, target, [frames], [tokens])
        moments["end"] = time.perf_counter()

    thread = threading.Thread(target=call)
    thread.start()
    ticks = []
    while thread.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.001)
    thread.join()
    # With the GIL held, this thread could not have ticked between the first tenth of the call and the last.
    margin = (moments["end"] - moments["begin"]) / 10
    assert any(moments["begin"] + margin < tick < moments["end"] - margin for tick in ticks)


def _child(pipe: Connection) -> None:
    pipe.send(all_results())
    pipe.close()


@needs_linux
@pytest.mark.parametrize("threads", [1, 4])
def test_fork_after_threads(threads: int) -> None:
    """Threads end with each call, so none is missing in a forked child; its own calls start new ones."""
    ctckit.set_num_threads(threads)
    expected = all_results()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any fork beside any thread
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_child, args=(sender,))
        child.start()
    sender.close()
    try:
        assert receiver.poll(120), "the child does not answer"  # it takes far less than a second
        assert receiver.recv() == expected
    finally:
        child.join(1)
        if child.is_alive():
            child.kill()
            child.join()
    assert child.exitcode == 0
    assert all_results() == expected  # the parent goes on


def test_default_number_of_threads() -> None:
    """The CPUs that this process may use; not those that the machine has."""
    if hasattr(os, "sched_getaffinity"):
        before = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {min(before)})
            assert ctckit.get_num_threads() == 1
        finally:
            os.sched_setaffinity(0, before)
        assert ctckit.get_num_threads() == len(before)
    else:
        assert ctckit.get_num_threads() == os.cpu_count()


def test_set_number_of_threads() -> None:
    ctckit.set_num_threads(3)
    assert ctckit.get_num_threads() == 3
    ctckit.set_num_threads(1000)  # more than samples: as many as are useful are started
    assert all_results()


@pytest.mark.interpreter(only=False)
def test_more_threads_than_samples(kernels: Backend) -> None:
    problem = problem_of(BATCHES[0], "float32", from_logits=True)
    ctckit.set_num_threads(1)
    score, gradient = kernels.score_and_gradient(problem)
    ctckit.set_num_threads(64)
    again, again_gradient = kernels.score_and_gradient(problem)
    assert np.array_equal(score, again)
    assert np.array_equal(gradient, again_gradient)
