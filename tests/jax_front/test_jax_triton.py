"""The GPU kernels under jax: what they compute, by Triton's interpreter; and that XLA can compile them for a card.

The interpreter stands in for jax-triton, on the CPU: then launches, their order, their memory, and which of it is
written are those of a GPU. That each is lowered for one is tested with jax-triton itself, where it is installed.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.installed import HAS_TRITON
from support.jax_arrays import arguments, batch_of, run_alone, summed, x64

import ctckit
import ctckit.jax
from ctckit.errors import MissingExtraError
from ctckit.jax.backends import triton

interpreted = pytest.mark.skipif(not HAS_TRITON, reason="Triton's interpreter needs triton and torch")
BATCH = batch_of(blank=1)
LAUNCHES = ["lattice", "rows", "sweep", "sweep", "total", "gradient"]


@pytest.fixture
def launched():
    from support.jax_triton import interpreted

    with interpreted() as names:
        yield names


LOSSES = jax.value_and_grad(partial(summed, blank=1, backend="triton"), has_aux=True)


def same(found, want, rtol: float) -> None:
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(want, float), rtol=rtol, atol=rtol)


@interpreted
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize(
    ("dtype", "rtol"), [("float32", 2e-6), ("float64", 1e-12), ("float16", 1e-3), ("bfloat16", 8e-3)]
)
def test_losses_and_gradients(launched, dtype: str, rtol: float, from_logits: bool) -> None:
    """Those of the C++ kernels; samples that can't be reached, empty ones and padding among them."""
    with x64(dtype == "float64"):
        given = arguments(BATCH, dtype)
        (_, found), grad = LOSSES(*given, from_logits=from_logits)
        assert launched == [f"_{name}_kernel" for name in LAUNCHES]
        (_, want), slope = LOSSES(*given, from_logits=from_logits, backend="ffi")
    assert (found.dtype, grad.dtype) == (want.dtype, slope.dtype)
    same(found, want, 2e-6 if dtype != "float64" else rtol)
    same(grad, slope, rtol)
    assert np.isinf(found).any()


@interpreted
def test_paths_and_occupancies(launched) -> None:
    given = arguments(BATCH)
    for call in (ctckit.jax.forced_align, ctckit.jax.posteriors):
        found, want = (jax.jit(partial(call, blank=1, backend=backend))(*given) for backend in ("triton", "ffi"))
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
            assert one.dtype == other.dtype
            same(one, other, 2e-6)
    assert "_best_kernel" in launched


@interpreted
def test_wrong_values_are_NaN_in_their_sample_only(launched) -> None:
    """Inside of jit nobody has looked at them; as on other devices, and in paths, too."""
    scores, targets, frames, lengths = arguments(BATCH)
    targets, scores = np.array(targets), scores.at[4, 0, 0].set(jnp.nan)
    targets[0, 0] = 9
    given = scores, targets, frames, lengths
    wrong = [0, 4]
    (_, loss), grad = jax.jit(LOSSES)(*given)
    assert np.flatnonzero(np.isnan(loss)).tolist() == wrong
    assert np.flatnonzero(np.isnan(grad).any((1, 2))).tolist() == wrong
    found = jax.jit(partial(ctckit.jax.forced_align, blank=1, backend="triton"))(*given)
    assert found.status[jnp.array(wrong)].tolist() == [ctckit.Status.INVALID, ctckit.Status.NOT_FINITE]
    assert np.flatnonzero(np.isnan(found.score)).tolist() == wrong


@interpreted
def test_mapped_and_by_default(launched) -> None:
    """A platform of its own has these kernels without being asked; what they can't take goes another way."""
    scores, *rest = arguments(BATCH)
    each = partial(ctckit.jax.ctc_loss, reduction="none", blank=1)
    want = each(scores, *rest, backend="scan")
    same(jax.vmap(partial(each, backend="triton"))(scores, *rest), want, 2e-6)
    assert set(launched) == {f"_{name}_kernel" for name in ("lattice", "rows", "sweep", "total")}
    launched.clear()
    same(each(scores, *rest), want, 2e-6)
    assert launched
    no_frames = each(scores[:, :0], rest[0], 0 * rest[1], rest[2])
    assert np.isinf(no_frames).tolist() == (rest[2] > 0).tolist()
    with pytest.raises(ctckit.CTCError, match="the triton backend cannot take lattices of jax's arrays yet"):
        ctckit.jax.lattice_loss(jnp.zeros((3, 3)), ctckit.ctc_lattice([1, 2]), backend="triton")


@interpreted
def test_a_batch_spread_over_devices_stays_so() -> None:
    """As XLA compiles it. It is not run: a callback, with which the interpreter is called, does not outlive that."""
    code = """
    from functools import partial
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    from support.jax_arrays import arguments, batch_of
    from support.jax_triton import interpreted
    import ctckit.jax
    mesh = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
    given = arguments(batch_of())
    with interpreted() as launched:
        loss = partial(ctckit.jax.ctc_loss, reduction="sum", zero_infinity=True)
        step = jax.jit(jax.value_and_grad(partial(loss, backend="triton")))
        compiled = step.lower(*(jax.device_put(each, mesh) for each in given)).compile()
        assert "all-gather" not in compiled.as_text()
    assert launched
    """
    run_alone(code, devices=2)


@pytest.mark.skipif(
    not triton.is_installed(), reason="jax-triton 0.4 needs Python 3.12: test_jax_versions.py runs this there"
)
@pytest.mark.parametrize("shape", ["1500, 32, 3, 200", "1, 1, 1, 1", "7, 30, 2, 0"])
def test_lowered_for_a_card(shape: str) -> None:
    """Without a card: kernels are compiled for one, calls write to the memory they are given, and no loop is left."""
    code = f"""
    from functools import partial
    import jax, jax.numpy as jnp, jax_triton
    jax_triton.triton_call = partial(jax_triton.triton_call, compute_capability=90)
    import ctckit.jax
    T, C, N, S = {shape}
    given = jnp.zeros((N, T, C)), jnp.ones((N, S), int), jnp.full(N, T), jnp.full(N, S)
    for call, kernels in (
        (jax.value_and_grad(ctckit.jax.ctc_loss), 6), (ctckit.jax.ctc_loss, 4), (ctckit.jax.posteriors, 6),
        (ctckit.jax.best_path, 4),
    ):
        text = jax.jit(call).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
        assert text.count("@triton_kernel_call_ffi") == kernels, text
        assert text.count("output_operand_alias") >= kernels, text
        assert "stablehlo.while" not in text, text
    """
    run_alone(code, TRITON_INTERPRET="0")


def test_named_where_it_cannot_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments(BATCH)
    for version in ("0.3.1", "0.4.1", "0.5rc1"):
        monkeypatch.setattr(triton, "version", lambda _, found=version: found)
        assert triton.is_installed() == (version != "0.3.1")
    monkeypatch.setattr(triton, "is_installed", lambda: False)
    with pytest.raises(MissingExtraError, match=r"jax-triton>=0.4.*jax-gpu"):
        LOSSES(*given)
    monkeypatch.setattr(triton, "is_installed", lambda: True)
    with pytest.raises(ctckit.CTCError, match="backend='triton' computes on NVIDIA's GPUs only"):
        jax.jit(LOSSES).trace(*given).lower(lowering_platforms=("tpu",))
