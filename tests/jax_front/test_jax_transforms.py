"""What jax does to functions, done to the loss: each row of the table of transformations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from support.jax_arrays import ONE_BRANCH_IS_LOWERED, arguments, batch_of, x64

import ctckit
import ctckit.jax

LOSS = ctckit.jax.ctc_loss
EACH = partial(LOSS, reduction="none", zero_infinity=True)
GIVEN = arguments(batch_of())
BY_SCAN = jax.jit(partial(EACH, backend="scan"))
SIZE = len(GIVEN[2])
SLOPE = jax.jit(jax.grad(lambda *given: EACH(*given).sum()))


@pytest.fixture(scope="module")
def want() -> tuple[jax.Array, jax.Array]:
    """Losses and gradients without any transformation but grad."""
    return EACH(*GIVEN), SLOPE(*GIVEN)


def test_jit_is_bit_for_bit_the_same(want) -> None:
    losses, grad = want
    np.testing.assert_array_equal(jax.jit(EACH)(*GIVEN), losses)
    pulled = jax.vjp(lambda scores: EACH(scores, *GIVEN[1:]), GIVEN[0])[1](jnp.full(SIZE, 2.0))[0]
    np.testing.assert_array_equal(pulled, 2 * grad)


@pytest.mark.parametrize("shared", [(), (0,), (1,), (2,), (3,), (1, 2, 3)])
def test_vmap_over_any_argument(shared: tuple[int, ...]) -> None:
    """Over single samples, with some arguments the same for all."""
    given = [jnp.nan_to_num(GIVEN[0]), np.array([[1, 2, 2, 4]] * SIZE), np.full(SIZE, 12), np.arange(SIZE) % 4 + 1]
    alone = [each[0] if i in shared else each for i, each in enumerate(given)]
    repeated = [np.array([each[0]] * SIZE) if i in shared else each for i, each in enumerate(given)]
    axes = [None if i in shared else 0 for i in range(4)]
    np.testing.assert_array_equal(jax.vmap(EACH, axes)(*alone), EACH(*repeated))
    np.testing.assert_array_equal(jax.vmap(jax.grad(EACH), axes)(*alone), SLOPE(*repeated))


def test_vmap_of_batches_and_of_vmap() -> None:
    scores = jnp.nan_to_num(GIVEN[0])
    many = jnp.stack([scores, 2 * scores])
    want = jnp.stack([EACH(scores, *GIVEN[1:]) for scores in many])
    over = jax.vmap(EACH, (0, None, None, None))
    np.testing.assert_array_equal(over(many, *GIVEN[1:]), want)
    twice = jax.vmap(jax.vmap(EACH), (0, None, None, None))
    np.testing.assert_array_equal(twice(many, *GIVEN[1:]), want)


def test_vmap_over_scores_of_classes() -> None:
    """They are shared by a call's samples, so elements are computed one by one."""
    lattices = [ctckit.ctc_lattice([1, 2])] * SIZE

    def loss(by_class):
        return ctckit.jax.lattice_loss(GIVEN[0], lattices, GIVEN[2], class_scores=by_class, zero_infinity=True)

    by_class = jnp.arange(10.0).reshape(2, 5) / 10
    step = jax.jit(jax.value_and_grad(loss))
    found, slopes = jax.jit(jax.vmap(step))(by_class)
    for n, row in enumerate(by_class):
        want = step(row)
        np.testing.assert_allclose(found[n], want[0], rtol=1e-6)
        np.testing.assert_allclose(slopes[n], want[1], rtol=1e-5)


def test_checkpoint_and_scan_over_the_loss(want) -> None:
    losses, grad = want
    again = jax.jit(jax.grad(lambda scores: jax.checkpoint(EACH)(scores, *GIVEN[1:]).sum()))
    np.testing.assert_array_equal(again(GIVEN[0]), grad)

    def step(total, scores):
        return total + EACH(scores, *GIVEN[1:]).sum(), None

    def run(many):
        return jax.lax.scan(step, 0.0, many)[0]

    total, slopes = jax.jit(jax.value_and_grad(run))(jnp.stack([GIVEN[0]] * 3))
    np.testing.assert_allclose(total, 3 * losses.sum(), rtol=1e-6)
    np.testing.assert_array_equal(slopes[2], grad)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
def test_donated_scores(want) -> None:
    given = jnp.array(GIVEN[0])
    step = jax.jit(lambda scores: jax.value_and_grad(lambda s: EACH(s, *GIVEN[1:]).sum())(scores), donate_argnums=0)
    for _ in range(3):
        loss, grad = step(jnp.array(given))
        np.testing.assert_array_equal(grad, want[1])
        np.testing.assert_allclose(loss, want[0].sum(), rtol=1e-6)


def test_export(want) -> None:
    """The user must say that the kernels' calls may pass: they are no part of jax."""
    pytest.importorskip("flatbuffers", reason="exported calls are bytes of flatbuffers")
    step = jax.jit(lambda *given: jax.value_and_grad(lambda *given: EACH(*given).sum())(*given))
    with pytest.raises(ValueError, match="custom call"):
        export.export(step)(*GIVEN)
    allowed = [export.DisabledSafetyCheck.custom_call(name) for name in ctckit.jax.EXPORTED]
    kept = export.export(step, disabled_checks=allowed)(*GIVEN).serialize()
    np.testing.assert_array_equal(export.deserialize(kept).call(*GIVEN)[1], want[1])


@pytest.mark.skipif(
    not ONE_BRANCH_IS_LOWERED,
    reason="before 0.6, jax exports the branches of all platforms; `make test` has a later one",
)
def test_export_for_other_devices_needs_no_kernel() -> None:
    kept = export.export(jax.jit(EACH), platforms=["tpu"])(*GIVEN)
    assert "custom_call" not in kept.mlir_module()
    assert export.export(BY_SCAN, platforms=["cuda"])(*GIVEN).platforms == ("cuda",)


def test_lowered_for_other_devices_when_64_bits_are_off_again() -> None:
    """What is computed there is traced no sooner, and still in 64 bits."""
    with x64():
        traced = jax.jit(EACH).trace(GIVEN[0].astype("float64"), *GIVEN[1:])
    assert "tensor<6xf64>" in traced.lower(lowering_platforms=("tpu",)).as_text()


def test_forward_mode_is_refused() -> None:
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda scores: LOSS(scores, *GIVEN[1:]), GIVEN[:1], GIVEN[:1])


def test_backends_by_name() -> None:
    with pytest.raises(ctckit.CTCError, match="backend = 'pallas' is unknown: expected one of 'ffi', 'triton', 'scan'"):
        LOSS(*GIVEN, backend="pallas")
    said = "backend='ffi' computes on CPUs only: leave it out on other devices" if ONE_BRANCH_IS_LOWERED else "cuda"
    with pytest.raises(Exception, match=said):
        export.export(jax.jit(partial(EACH, backend="ffi")), platforms=["cuda"])(*GIVEN)
    np.testing.assert_allclose(BY_SCAN(*GIVEN), EACH(*GIVEN), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("targets", (0, 1, 7), r"targets\[0, 1\] = 7 is not a class: logits has C=5 classes"),
        ("targets", (4, 0, 0), r"targets\[4, 0\] = 0 is the blank: expected tokens only"),
        ("input_lengths", (3, 15), r"input_lengths\[3\] = 15 is out of range: expected 0..14, since logits has T=14"),
        ("target_lengths", (0, -1), r"target_lengths\[0\] = -1 is out of range"),
    ],
)
def test_wrong_values_say_the_same_inside_of_jit(name: str, change: tuple[int, ...], said: str) -> None:
    given = dict(zip(("logits", "targets", "input_lengths", "target_lengths"), GIVEN, strict=True))
    changed = np.array(given[name])
    changed[change[:-1]] = change[-1]
    given[name] = changed
    with pytest.raises(ctckit.CTCError, match=said) as eager:
        LOSS(**given)
    with pytest.raises(Exception, match=said) as compiled:
        jax.jit(LOSS)(**given).block_until_ready()
    assert str(eager.value) in str(compiled.value)
    frames_first = np.swapaxes(given["logits"], 0, 1)
    with pytest.raises(ctckit.CTCError) as other:
        ctckit.ctc_loss(frames_first, *list(given.values())[1:], from_logits=True)
    assert str(other.value) == str(eager.value)


def test_a_single_sample_says_the_same_inside_of_jit() -> None:
    given = GIVEN[0][0], np.array([1, 9]), 14, 2
    with pytest.raises(ctckit.CTCError, match=r"targets\[1\] = 9 is not a class") as eager:
        LOSS(*given)
    with pytest.raises(Exception, match="INVALID_ARGUMENT") as compiled:
        jax.jit(LOSS)(*given).block_until_ready()
    assert str(eager.value) in str(compiled.value)


def test_wrong_lengths_of_lattices_say_the_same_inside_of_jit() -> None:
    def loss(frames):
        return ctckit.jax.lattice_loss(GIVEN[0], ctckit.ctc_lattice([1, 2]), frames)

    frames = np.full(SIZE, 15)
    with pytest.raises(ctckit.CTCError, match=r"input_lengths\[0\] = 15 is out of range") as eager:
        loss(frames)
    with pytest.raises(Exception, match="INVALID_ARGUMENT") as compiled:
        jax.jit(loss)(frames).block_until_ready()
    assert str(eager.value) in str(compiled.value)


def test_wrong_values_elsewhere_give_nan() -> None:
    targets = np.array(GIVEN[1])
    targets[0, 1] = 7
    loss = BY_SCAN(GIVEN[0], targets, *GIVEN[2:])
    assert np.isnan(loss).tolist() == [n == 0 for n in range(SIZE)]


NAMES = ("logits", "targets", "input_lengths", "target_lengths")


@pytest.mark.parametrize(
    ("order", "said"),
    [
        ((0, 2, 1, 3), r"targets has shape \(6,\) and input_lengths shape \(6, 4\): the two look exchanged"),
        ((0, 2, 3, 1), r"targets has shape \(6,\) and target_lengths shape \(6, 4\): the two look exchanged"),
        ((1, 0, 2, 3), r"logits has shape \(6, 4\) and targets shape \(6, 14, 5\): the two look exchanged"),
        ((0, 1, 3, 2), "all lengths are in range if input_lengths and target_lengths are exchanged"),
    ],
)
def test_exchanged_arguments_are_named(order: tuple[int, ...], said: str) -> None:
    with pytest.raises(ctckit.CTCError, match=said):
        LOSS(*(GIVEN[i] for i in order))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"logits": GIVEN[0].swapaxes(0, 1)},
            r"logits has shape \(14, 6, 5\).* it looks like \(T, N, C\); pass logits",
        ),
        ({"logits": GIVEN[0][None]}, r"targets has shape \(6, 4\): expected \(1, 6, S\), since logits has shape"),
        ({"targets": np.arange(4)}, r"targets has shape \(4,\): expected \(N, S\), padded"),
        ({"targets": GIVEN[1] / 2}, "targets has dtype float.*: expected integers"),
        ({"logits": GIVEN[0].astype(int)}, "logits has dtype int32: expected float64, float32, bfloat16 or float16"),
        ({"logits": [[["a"]]]}, "logits has dtype <U1"),
        ({"blank": 5}, r"blank = 5 is not a class: logits has C=5 classes"),
        ({"from_logits": 2}, "from_logits = 2"),
        ({"target_lengths": np.ones(4, int)}, r"target_lengths has shape \(4,\): expected \(6,\)"),
    ],
)
def test_wrong_forms(change: dict, said: str) -> None:
    given = dict(zip(NAMES, GIVEN, strict=True)) | change
    with pytest.raises(ctckit.CTCError, match=said):
        LOSS(**given)
