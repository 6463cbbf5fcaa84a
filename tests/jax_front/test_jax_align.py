"""Alignment, occupancies and greedy decoding on jax's arrays, against those of NumPy's front."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.jax_arrays import BACKENDS, arguments, batch_of

import ctckit
import ctckit.jax
from ctckit import Status

BATCH = batch_of(blank=2)
GIVEN = arguments(BATCH)


@cache
def compiled(call, backend: str | None = None):
    """Compiled once: compiling takes longer than all else here."""
    more = {} if call is ctckit.jax.greedy_decode else {"backend": backend}
    return jax.jit(partial(call, blank=2, **more))


@pytest.mark.parametrize("backend", BACKENDS)
def test_forced_align(backend: str) -> None:
    want = ctckit.forced_align(BATCH.scores, *BATCH.arguments, from_logits=True, on_infeasible="mark")
    found = compiled(ctckit.jax.forced_align, backend)(*GIVEN)
    assert found.status.tolist() == want.status.tolist()
    assert Status.INFEASIBLE in want.status
    np.testing.assert_allclose(found.score, want.score, rtol=1e-6)
    for n, alignment in enumerate(want):
        spans = alignment.spans()
        length = BATCH.lengths[n] if spans else 0
        assert found.starts[n].tolist() == [span.start for span in spans] + [-1] * (4 - length)
        assert found.ends[n].tolist() == [span.end for span in spans] + [-1] * (4 - length)
        np.testing.assert_allclose(found.token_scores[n, :length], [span.score for span in spans], rtol=1e-5)
        assert np.isnan(found.token_scores[n, length:]).all()
        labels = np.full(14, 2)
        for span in spans:
            labels[span.start : span.end] = span.token
        assert found.labels[n].tolist() == labels.tolist()
        frame_scores = np.zeros(14)
        frame_scores[: len(alignment.frame_scores)] = alignment.frame_scores
        np.testing.assert_allclose(found.frame_scores[n], frame_scores, atol=1e-5)


def test_single_samples_and_leading_axes() -> None:
    align = compiled(ctckit.jax.forced_align)
    one = align(GIVEN[0][0], GIVEN[1][0], 14, 4)
    assert one.starts.shape == (4,)
    assert one.score.shape == ()
    rows = [np.asarray(given).reshape(2, 3, *np.shape(given)[1:]) for given in GIVEN]
    found = align(*rows)
    assert found.labels.shape == (2, 3, 14)
    assert found.starts[0, 0].tolist() == one.starts.tolist()
    over = jax.jit(jax.vmap(align))(*GIVEN)
    assert over.labels.tolist() == found.labels.reshape(6, 14).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_posteriors(backend: str) -> None:
    want = ctckit.posteriors(BATCH.scores, *BATCH.arguments, from_logits=True)
    found = compiled(ctckit.jax.posteriors, backend)(*GIVEN)
    used = np.arange(14)[:, None] < BATCH.frames
    for mine, other in ((found.states, want.states), (found.classes, want.classes)):
        np.testing.assert_allclose(np.swapaxes(mine, 0, 1), np.where(used[..., None], other, 0), atol=2e-6)
    assert found.status.tolist() == want.status.tolist()
    np.testing.assert_allclose(found.score, want.score, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_best_path_of_lattices(backend: str) -> None:
    lattices = [ctckit.ctc_lattice([1, 3]).with_costs(0.5), ctckit.ctc_lattice([3, 3, 4]).selfless()] * 3
    scores = np.nan_to_num(BATCH.scores)
    by_class = np.random.default_rng(0).normal(size=5)
    want = ctckit.forced_align(
        scores, lattices=lattices, input_lengths=BATCH.frames, from_logits=True, class_scores=by_class
    )
    rows = jnp.asarray(scores.swapaxes(0, 1))
    found = ctckit.jax.best_path(
        rows, input_lengths=BATCH.frames, lattices=lattices, class_scores=jnp.asarray(by_class), backend=backend
    )
    np.testing.assert_allclose(found.score, want.score, rtol=1e-6)
    for n, alignment in enumerate(want):
        assert found.states[n, : len(alignment.states)].tolist() == alignment.states.tolist()
        np.testing.assert_allclose(found.frame_scores[n, : len(alignment.states)], alignment.frame_scores, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_frames_that_are_not_finite(backend: str) -> None:
    scores = jnp.array(GIVEN[0]).at[0, 3, 1].set(jnp.nan)
    found = compiled(ctckit.jax.forced_align, backend)(scores, *GIVEN[1:])
    assert found.status[0] == Status.NOT_FINITE
    assert np.isnan(found.score[0])
    assert (found.starts[0] == -1).all()
    gamma = compiled(ctckit.jax.posteriors, backend)(scores, *GIVEN[1:])
    assert np.isnan(gamma.states[0]).all()
    assert np.isfinite(gamma.states[1:]).all()


def test_lattices_or_targets() -> None:
    with pytest.raises(ctckit.CTCError, match="lattices"):
        ctckit.jax.best_path(GIVEN[0], GIVEN[1], lattices=ctckit.ctc_lattice([1]))
    with pytest.raises(ctckit.CTCError, match="targets is missing"):
        ctckit.jax.posteriors(GIVEN[0])


def test_greedy_decode() -> None:
    want = ctckit.greedy_decode(BATCH.scores, BATCH.frames, 2, from_logits=True)
    decode = compiled(ctckit.jax.greedy_decode)
    found = decode(GIVEN[0], GIVEN[2])
    for n, hypotheses in enumerate(want):
        (best,) = hypotheses
        length = len(best.tokens)
        assert found.tokens[n].tolist() == [*best.tokens.tolist(), *[-1] * (14 - length)]
        assert found.frames[n].tolist() == [*best.frames.tolist(), *[-1] * (14 - length)]
        assert found.lengths[n] == length
        np.testing.assert_allclose(found.score[n], best.score, rtol=1e-5)
    one = decode(GIVEN[0][0], 14)
    assert one.tokens.tolist() == found.tokens[0].tolist()
    with pytest.raises(ctckit.CTCError, match="blank = 9"):
        ctckit.jax.greedy_decode(GIVEN[0], blank=9)
