"""The loss on jax's arrays: values and gradients against the textbook's in float64, on both backends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import log_softmax, textbook_gradient
from support.batches import Batch, decode, draw, encode
from support.budgets import Budget, assert_matches
from support.jax_arrays import BACKENDS, ONE_BRANCH_IS_LOWERED, arguments, batch_of, summed, x64
from support.lattices import CLASSES, enumerated, random_lattice

import ctckit
import ctckit.jax
from ctckit.jax.lattices import ctc_lattices
from ctckit.lattice import ARCS_BY_ROLE
from ctckit.native import lay_out

LOSS = jax.jit(partial(ctckit.jax.ctc_loss, reduction="none"), static_argnames=("blank", "from_logits", "backend"))


SUMMED = jax.jit(jax.value_and_grad(summed, has_aux=True), static_argnames=("blank", "from_logits", "backend"))


@pytest.mark.parametrize(
    ("dtype", "backend"),
    [("float64", "ffi"), ("float32", "ffi"), ("float16", "ffi"), ("bfloat16", "ffi"), ("float32", "scan")],
)
def test_against_the_textbook(dtype: str, backend: str) -> None:
    batch = batch_of(blank=1)
    with x64(dtype == "float64"):
        (_, loss), grad = SUMMED(*arguments(batch, dtype), blank=1, backend=backend)
        assert loss.dtype == ("float64" if dtype == "float64" else "float32")
        assert grad.dtype == dtype
        loss, grad = np.asarray(loss, float), np.asarray(grad.astype(loss.dtype), float)
    held = batch.with_scores(decode(encode(batch.scores, dtype)))
    for n, used in enumerate(batch.frames):
        scores, target = held.sample(n)
        truth = textbook_gradient(scores, target, 1, from_logits=True)
        assert_matches(Budget(scores, dtype), truth, -loss[n], grad[n, :used], n)
        assert not grad[n, used:].any()
    assert np.isinf(loss).any()


def test_log_probs_as_they_are() -> None:
    batch = batch_of()
    batch = batch.with_scores(log_softmax(batch.scores) - 0.5)
    (_, loss), grad = SUMMED(*arguments(batch), from_logits=False)
    for n, used in enumerate(batch.frames):
        scores, target = batch.sample(n)
        truth = textbook_gradient(scores, target, 0, from_logits=False)
        assert_matches(Budget(scores, "float32"), truth, -float(loss[n]), np.asarray(grad[n, :used]), n)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_finite_stays_in_its_sample(backend: str) -> None:
    batch = batch_of(blank=1)
    clean, clean_grad = SUMMED(*arguments(batch), blank=1, backend=backend)
    batch.scores[3, 0, 2] = np.nan
    batch.scores[2, 5, 2] = np.inf
    (_, loss), grad = SUMMED(*arguments(batch), blank=1, backend=backend)
    lost = np.arange(6) % 5 == 0
    assert np.isnan(loss).tolist() == lost.tolist()
    for n in np.flatnonzero(lost):
        assert np.isnan(grad[n, : batch.frames[n]]).all()
    np.testing.assert_array_equal(loss[~lost], clean[1][~lost])
    np.testing.assert_array_equal(grad[~lost], clean_grad[~lost])


@pytest.mark.parametrize("longest", [0, 1, 5])
def test_lattices_of_traced_targets_are_those_of_the_extension(longest: int) -> None:
    rng = np.random.default_rng(longest)
    targets, lengths = rng.integers(1, 3, (7, longest)), rng.integers(0, longest + 1, 7)
    made = jax.jit(ctc_lattices, static_argnums=3)(targets, np.arange(7), lengths, 0)
    want = lay_out(np.arange(7), targets, lengths, 7, 3, 0, ARCS_BY_ROLE)
    for name in ("labels", "arcs", "num_states"):
        np.testing.assert_array_equal(getattr(made, name), getattr(want, name))


def test_reductions_and_leading_axes() -> None:
    batch = batch_of()
    scores, targets, frames, lengths = arguments(batch)
    loss = ctckit.jax.ctc_loss
    each = loss(scores, targets, frames, lengths, reduction="none")
    want = ctckit.ctc_loss(batch.scores, *batch.arguments, reduction="none", from_logits=True)
    np.testing.assert_allclose(each, want, rtol=1e-6)
    for reduction in ("mean", "sum"):
        for zero_infinity in (False, True):
            found = loss(scores, targets, frames, lengths, reduction=reduction, zero_infinity=zero_infinity)
            want = ctckit.ctc_loss(batch.scores, *batch.arguments, reduction, zero_infinity, from_logits=True)
            np.testing.assert_allclose(found, want, rtol=1e-6)
            assert found.shape == ()
    rows = [np.asarray(given).reshape(2, 3, *np.shape(given)[1:]) for given in (scores, targets, frames, lengths)]
    np.testing.assert_array_equal(loss(*rows, reduction="none"), each.reshape(2, 3))
    one = [given[0] for given in (scores, targets, frames, lengths)]
    np.testing.assert_array_equal(loss(*one, reduction="none"), each[0])
    np.testing.assert_array_equal(loss(scores[0], targets[0].tolist(), 14, 4, reduction="none"), each[0])
    assert loss(scores[:, :0], targets, frames * 0, lengths, reduction="none").tolist()[:2] == [np.inf, 0]
    assert loss(scores[:1], np.zeros((1, 0), int), frames[:1], [0], reduction="none").shape == (1,)


def test_an_impossible_sample_has_no_gradient() -> None:
    scores, targets, frames, lengths = arguments(batch_of())
    for zero_infinity in (False, True):
        mean = partial(ctckit.jax.ctc_loss, zero_infinity=zero_infinity)
        grad = jax.grad(mean)(scores, targets, frames, lengths)
        assert np.isfinite(grad).all()
        assert not grad[2].any()
    with pytest.raises(ctckit.CTCError, match="expected one of 'none', 'mean', 'sum'"):
        ctckit.jax.ctc_loss(scores, targets, frames, lengths, reduction="max")


def peaky(frames: int, size: int, classes: int, longest: int) -> Batch:
    """A sure network: blanks, and each token in one frame."""
    batch = draw(3, frames, size, classes, longest, ragged=False)
    rng = np.random.default_rng(1)
    batch.scores[:, :, 0] += 6
    for n in range(size):
        for s, t in enumerate(sorted(rng.choice(frames, longest, replace=False))):
            batch.scores[t, n, batch.targets[n, s]] += 12
    return batch


@pytest.mark.parametrize("kind", ["long", "peaky"])
def test_long_and_peaky(kind: str) -> None:
    shape = (1500, 2, 32, 200)
    batch = draw(1, *shape, spread=1, ragged=False) if kind == "long" else peaky(*shape)
    held = batch.with_scores(batch.scores.astype(np.float32).astype(float))
    want = ctckit.ctc_loss_and_grad(held.scores, *batch.arguments, reduction="none", from_logits=True)
    (_, loss), grad = SUMMED(*arguments(batch))
    np.testing.assert_allclose(loss, want.loss, rtol=1e-6)
    assert np.abs(grad.swapaxes(0, 1) - want.grad).max() <= 1e-5


def test_never_below_0() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(64, 2, 2)) * [0, 1] + [0, 17]
    given = np.ones((64, 1), int), np.full(64, 2), np.ones(64, int)
    loss = LOSS(jnp.asarray(scores), *given)
    assert (loss >= 0).all()
    np.testing.assert_allclose(loss, 0, atol=1e-6)


def test_second_derivatives() -> None:
    """The Hessian's products, against differences of float64 gradients."""
    batch = batch_of()
    direction = np.random.default_rng(0).normal(size=batch.scores.shape)
    step = 1e-4

    def slope(scores):
        return jax.grad(summed, has_aux=True)(scores, *arguments(batch)[1:])[0]

    def along(scores):
        return jnp.where(jnp.isnan(scores), 0, slope(scores) * direction.swapaxes(0, 1)).sum()

    with x64():
        found = np.asarray(jax.jit(jax.grad(along))(arguments(batch, "float64")[0]))
        ahead, behind = (
            ctckit.ctc_loss_and_grad(
                batch.scores + sign * step * direction, *batch.arguments, reduction="sum", from_logits=True
            ).grad
            for sign in (1, -1)
        )
    want = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(np.swapaxes(found, 0, 1), want, atol=1e-6)


LATTICE_LOSS = partial(ctckit.jax.lattice_loss, reduction="none")


def test_lattices_with_scores_of_classes_and_states() -> None:
    lattices = [ctckit.ctc_lattice([1, 2]).with_costs(0.3), ctckit.ctc_lattice([2, 2, 3]).selfless()]
    lattices.append(ctckit.ctc_lattice([3]).minimal())
    rng = np.random.default_rng(2)
    scores, by_class = rng.normal(size=(9, 3, 4)), rng.normal(size=4)
    by_state = rng.normal(size=(3, 7))
    frames = np.array([9, 8, 0])
    by_class[2] = -np.inf
    want = ctckit.lattice_loss_and_grad(
        scores, lattices, frames, "sum", True, from_logits=True, class_scores=by_class, state_scores=by_state
    )

    def loss(scores, by_class, by_state):
        each = LATTICE_LOSS(scores, lattices, frames, class_scores=by_class, state_scores=by_state, zero_infinity=True)
        return each.sum()

    given = (jnp.asarray(scores.swapaxes(0, 1)), jnp.asarray(by_class), jnp.asarray(by_state))
    found, grads = jax.value_and_grad(loss, argnums=(0, 1, 2))(*given)
    np.testing.assert_allclose(found, want.loss, rtol=1e-5)
    np.testing.assert_allclose(np.swapaxes(grads[0], 0, 1), want.grad, atol=1e-5)
    np.testing.assert_allclose(grads[1], want.class_scores, atol=1e-5)
    np.testing.assert_allclose(grads[2], want.state_scores, atol=1e-5)


def test_random_lattices() -> None:
    """Against an enumeration of their paths, long arcs included."""
    frames = 5
    rng = np.random.default_rng(0)
    log_probs = log_softmax(rng.normal(size=(frames, CLASSES))).astype(float)
    taken = [random_lattice(seed) for seed in range(40)]
    far = [len(lattice.long_arcs) for lattice in taken]
    assert 0 in far
    assert max(far) > 1
    batch = jnp.asarray(np.broadcast_to(log_probs, (len(taken), frames, CLASSES)))
    found = LATTICE_LOSS(batch, taken, from_logits=False)
    want = [-enumerated(lattice, log_probs)[0].score for lattice in taken]
    np.testing.assert_allclose(found, want, rtol=1e-5)


def with_long_arcs():
    """Logits (N, T, C), lattices of different numbers of long arcs, frames, and scores of classes and states."""
    rng = np.random.default_rng(4)
    lattices = [
        ctckit.ctc_lattice([1, 2, 3]).with_long_arcs([(1, 5), (0, 3)], [-2.5, 0.5]),
        ctckit.ctc_lattice([2, 2]),
        ctckit.ctc_lattice([3, 1, 2, 1]).with_optional([0, 7, 7, 0]),
    ]
    logits = rng.normal(size=(3, 9, CLASSES)).astype(np.float32)
    by_class, by_state = rng.normal(size=CLASSES).astype(np.float32), rng.normal(size=(3, 9)).astype(np.float32)
    return logits, lattices, np.array([9, 6, 8]), by_class, by_state


def test_long_arcs() -> None:
    logits, lattices, frames, by_class, by_state = with_long_arcs()
    want = ctckit.lattice_loss_and_grad(
        logits.swapaxes(0, 1), lattices, frames, "sum", from_logits=True, class_scores=by_class, state_scores=by_state
    )

    def loss(logits, by_class, by_state):
        return ctckit.jax.lattice_loss(
            logits, lattices, frames, reduction="sum", class_scores=by_class, state_scores=by_state
        )

    found, grads = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))(logits, by_class, by_state)
    np.testing.assert_allclose(found, want.loss, rtol=1e-6)  # float32
    for grad, other in zip(grads, (want.grad.swapaxes(0, 1), want.class_scores, want.state_scores), strict=True):
        np.testing.assert_allclose(grad, other, atol=1e-5)  # as for other lattices
    without = loss(logits, by_class, by_state) - ctckit.jax.lattice_loss(
        logits,
        [ctckit.ctc_lattice(target) for target in ([1, 2, 3], [2, 2], [3, 1, 2, 1])],
        frames,
        reduction="sum",
        class_scores=by_class,
        state_scores=by_state,
    )
    assert abs(float(without)) > 0.01  # the arcs matter


def test_long_arcs_of_mapped_samples() -> None:
    logits, lattices, frames, *_ = with_long_arcs()
    one = lattices[0]
    found = jax.jit(jax.vmap(lambda row: ctckit.jax.lattice_loss(row, one, reduction="none")))(logits)
    want = ctckit.lattice_loss(logits.swapaxes(0, 1), one, [9] * 3, reduction="none", from_logits=True)
    np.testing.assert_allclose(found, want, rtol=1e-6)
    gamma = ctckit.jax.posteriors(logits, lattices=lattices, input_lengths=frames).states.sum(2)
    np.testing.assert_allclose(gamma, np.arange(9) < frames[:, None], atol=1e-6)
    paths = ctckit.jax.best_path(logits[:1] * 0, lattices=[one.with_long_arcs([(0, 6)], [50.0])])
    assert paths.states[0, -1] == 6
    assert float(paths.score[0]) > 0


def test_long_arcs_elsewhere() -> None:
    logits, lattices, frames, *_ = with_long_arcs()

    def loss(logits, **options):
        return ctckit.jax.lattice_loss(logits, lattices, frames, **options)

    with pytest.raises(ctckit.CTCError, match="the scan backend cannot take long arcs yet: on a CPU"):
        loss(logits, backend="scan")
    with pytest.raises(ctckit.CTCError, match="no second ones"):
        jax.grad(lambda logits: jax.grad(loss)(logits).sum())(logits)
    said = "the scan backend cannot take long arcs yet: on a CPU" if ONE_BRANCH_IS_LOWERED else "cuda"
    with pytest.raises(Exception, match=said):
        jax.jit(loss).trace(logits).lower(lowering_platforms=("cuda",))
