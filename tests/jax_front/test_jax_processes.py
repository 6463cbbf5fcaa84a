"""Several devices, threads and processes. jax reads the number of host devices once, so each test is a process."""

import os
import textwrap

import pytest
from support.jax_arrays import run_alone

START = """
import threading
from functools import partial
import jax, jax.numpy as jnp, numpy as np
from support.jax_arrays import arguments, batch_of
import ctckit, ctckit.jax

SCORES, TARGETS, FRAMES, LENGTHS = GIVEN = arguments(batch_of())
EACH = partial(ctckit.jax.ctc_loss, reduction="none", zero_infinity=True)
STEP = jax.jit(jax.value_and_grad(lambda *given: EACH(*given).sum()))
LOSS, GRAD = map(np.asarray, STEP(*GIVEN))
"""


def run(code: str, devices: int = 1) -> None:
    run_alone(START + textwrap.dedent(code), devices)


def test_a_batch_spread_over_devices_stays_so() -> None:
    """No device gathers the others' samples, whichever argument is spread; a mesh by classes is gathered, and right."""
    run(
        """
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        mesh = Mesh(np.array(jax.devices()), ("data",))
        spread = partial(jax.device_put, device=NamedSharding(mesh, P("data")))
        two = [spread(each) for each in GIVEN]
        for given in (two, [two[0], *GIVEN[1:]], [SCORES, *two[1:]]):
            compiled = STEP.lower(*given).compile()
            text = compiled.as_text()
            moved = [name for name in ("all-gather", "all-to-all", "collective-permute") if name in text]
            assert not moved, moved
            loss, grad = compiled(*given)
            np.testing.assert_allclose(loss, LOSS, rtol=1e-6)
            np.testing.assert_array_equal(grad, GRAD)
            assert grad.sharding.spec[0] == "data", grad.sharding
        from ctckit.jax.optax import ctc_loss
        padded = [(np.arange(longest) >= each[:, None]) * 1.0 for each, longest in ((FRAMES, 14), (LENGTHS, 4))]
        given = [spread(each) for each in (SCORES, padded[0], TARGETS, padded[1])]
        slope = jax.jit(jax.grad(lambda *given: ctc_loss(*given).sum()))
        assert "all-gather" not in slope.lower(*given).compile().as_text()
        np.testing.assert_array_equal(slope(*given), GRAD)
        by_class = jax.device_put(np.zeros((6, 14, 4), np.float32), NamedSharding(mesh, P(None, None, "data")))
        targets = np.abs(TARGETS) % 3 + 1
        np.testing.assert_allclose(
            jax.jit(EACH)(by_class, targets, FRAMES, LENGTHS),
            EACH(np.zeros((6, 14, 4), np.float32), targets, FRAMES, LENGTHS),
        )
        """,
        devices=2,
    )


def test_long_arcs_spread_over_devices_and_threads() -> None:
    run(
        """
        from concurrent.futures import ThreadPoolExecutor
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
        plain = [ctckit.ctc_lattice([1 + n % 3, 2]) for n in range(6)]
        lattices = [each.with_long_arcs([(0, 3)], [0.5]) if n % 2 else each for n, each in enumerate(plain)]

        def loss(scores):
            return ctckit.jax.lattice_loss(scores, lattices, FRAMES, reduction="sum", zero_infinity=True)

        step = jax.jit(jax.value_and_grad(loss))
        held = np.asarray(SCORES).swapaxes(0, 1)
        want = ctckit.lattice_loss_and_grad(held, lattices, FRAMES, "sum", True, from_logits=True)

        def check(scores):
            loss, grad = step(scores)
            np.testing.assert_allclose(loss, want.loss, rtol=1e-6)
            np.testing.assert_allclose(np.swapaxes(grad, 0, 1), want.grad, atol=1e-5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(check, [SCORES] * 40))
        mesh = Mesh(np.array(jax.devices()), ("data",))
        spread = jax.device_put(SCORES, NamedSharding(mesh, P("data")))
        text = step.lower(spread).compile().as_text()
        assert not [name for name in ("all-gather", "all-to-all", "collective-permute") if name in text]
        check(spread)
        """,
        devices=2,
    )


def test_shard_map_and_pmap() -> None:
    run(
        """
        from jax.sharding import Mesh, PartitionSpec as P
        mesh = Mesh(np.array(jax.devices()), ("data",))
        try:
            from jax import shard_map
        except ImportError:  # before jax 0.6; it has no rule for calls of other code
            from jax.experimental.shard_map import shard_map
            shard_map = partial(shard_map, check_rep=False)
        over = shard_map(EACH, mesh=mesh, in_specs=(P("data"),) * 4, out_specs=P("data"))
        step = jax.jit(jax.value_and_grad(lambda scores: over(scores, *GIVEN[1:]).sum()))
        loss, grad = step(SCORES)
        np.testing.assert_allclose(loss, LOSS, rtol=1e-6)
        np.testing.assert_array_equal(grad, GRAD)
        assert "while" in step.trace(SCORES).lower(lowering_platforms=("tpu",)).as_text()
        halves = [np.asarray(each).reshape(2, 3, *each.shape[1:]) for each in GIVEN]
        found = jax.pmap(jax.grad(lambda *given: EACH(*given).sum()))(*halves)
        np.testing.assert_array_equal(found.reshape(GRAD.shape), GRAD)
        """,
        devices=2,
    )


def test_many_threads() -> None:
    """Right and wrong calls from many threads, which ask Python for words, while the main thread holds its lock."""
    run(
        """
        wrong = np.array(TARGETS)
        wrong[0, 0] = 9
        failures = []

        def work(n):
            for i in range(15):
                if (n + i) % 3 == 0:
                    try:
                        jax.block_until_ready(STEP(SCORES, wrong, FRAMES, LENGTHS))
                        failures.append("no error")
                    except Exception as error:
                        if "targets[0, 0] = 9 is not a class" not in str(error):
                            failures.append(str(error))
                elif not np.array_equal(STEP(*GIVEN)[1], GRAD):
                    failures.append("another gradient")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            sum(i * i for i in range(1000))
        assert not failures, failures[:3]
        """,
        devices=2,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork")
def test_after_a_fork() -> None:
    """The kernels have no threads or locks of their own that a child would miss. (jax itself does not promise that.)"""
    run(
        """
        import os, warnings
        warnings.simplefilter("ignore")
        scores = np.array(SCORES).swapaxes(0, 1)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                given = scores, TARGETS, FRAMES, LENGTHS, 0, "sum", True
                loss = ctckit.ctc_loss(*given, from_logits=True)
                os._exit(0 if abs(float(loss) - float(LOSS)) < 1e-3 else 1)
            assert os.waitpid(child, 0)[1] == 0
            np.testing.assert_array_equal(STEP(*GIVEN)[1], GRAD)
        """
    )
