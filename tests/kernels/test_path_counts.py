"""Ladder, rung 2: the number of paths in closed form, C(T+S-R, 2S)."""

import math

import numpy as np
import pytest
from oracles import all_paths, paths_in_closed_form, repeats
from support.backends import Backend
from support.batches import Batch, problem_of

from ctckit import ctc_lattice, frames_needed
from ctckit.kernels import reference

TARGETS = [(), (1,), (1, 2), (1, 1), (1, 2, 3), (1, 2, 2), (1, 1, 1), (1, 2, 1, 2), (3, 3, 2, 2, 1), (1,) * 6]


@pytest.mark.parametrize("target", TARGETS)
def test_closed_form_is_the_number_of_paths(target: tuple[int, ...]) -> None:
    for frames in range(1, 7):
        assert paths_in_closed_form(frames, target) == sum(1 for _ in all_paths(frames, 4, target, 0))


@pytest.mark.parametrize("target", [*TARGETS, tuple(range(1, 21)), (1, 1, 2, 2, 3) * 6])
def test_reference_counts(target: tuple[int, ...]) -> None:
    for frames in (0, 1, 2, 3, 5, 8, 13, 40, 70):
        expected = paths_in_closed_form(frames, target) if frames or not target else 0
        assert reference.count_paths(ctc_lattice(np.array(target, int)), frames) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_frames_needed_is_where_the_count_leaves_zero(target: tuple[int, ...]) -> None:
    needed = frames_needed(np.array(target, int))
    assert needed == len(target) + repeats(target)
    assert paths_in_closed_form(needed, target) == 1
    assert needed == 0 or paths_in_closed_form(needed - 1, target) == 0


@pytest.mark.interpreter(frames=[6], most={"frames": [6, 40, 500]})
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("frames", "tokens"), [(6, 3), (40, 11), (500, 100), (3000, 60), (3000, 1400)])
@pytest.mark.parametrize("value", [0.0, -3.25])
def test_uniform_scores_give_the_count(kernels: Backend, dtype: str, frames: int, tokens: int, value: float) -> None:
    """All paths weigh the same: the score is the logarithm of an integer that Python computes exactly."""
    target = np.random.default_rng(tokens).integers(1, 4, tokens)  # a third of the neighbours are equal
    count = paths_in_closed_form(frames, target.tolist())
    batch = Batch(np.full((frames, 1, 4), value), target[None], np.array([frames]), np.array([tokens]))
    score, gradient = kernels.score_and_gradient(problem_of(batch, dtype, from_logits=False))
    if count == 0:
        assert score[0] == -np.inf
        return
    expected = math.log(count) + frames * value
    # Emissions are exactly 1 here, so a frame costs its two additions; they are independent, hence the root.
    unit = 2.0**-53 if dtype == "float64" else 2.0**-24
    assert abs(score[0] - expected) <= 2 * math.sqrt(frames) * unit + (abs(expected) + 1) * 2.0**-51
    # Each used frame's occupancies sum to 1 up to their rounding.
    np.testing.assert_allclose(-gradient[:, 0].sum(axis=1), 1, atol=8 * unit)
