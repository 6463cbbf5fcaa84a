"""float16 and bfloat16, all 65536 of each: read exactly, and written as the nearest, ties to even."""

import numpy as np
import pytest
from support.backends import Backend
from support.batches import checked_problem, from_bfloat16, to_bfloat16

from ctckit.problem import ArrayProblem

HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
EVERY = np.arange(2**16, dtype=np.uint16)


def problem_of_bits(bits: np.ndarray, dtype: str) -> ArrayProblem:
    """A sample for each number: one frame, one class, the empty target, so its score is that number."""
    scores = bits.reshape(1, -1, 1)
    size = bits.size
    return checked_problem(
        scores if dtype == "bfloat16" else scores.view(np.float16),
        np.empty((size, 0), int),
        np.ones(size, int),
        np.zeros(size, int),
        0,
        from_logits=False,
        dtype=dtype,
    )


@pytest.mark.interpreter(only=False)
@HALVES
def test_every_number_is_read_exactly(kernels: Backend, dtype: str) -> None:
    with np.errstate(invalid="ignore"):  # some NaN are of the signalling kind
        values = (from_bfloat16(EVERY) if dtype == "bfloat16" else EVERY.view(np.float16)).astype(np.float64)
    expected = np.where(values == np.inf, np.nan, values)  # +inf is not a log-probability
    np.testing.assert_array_equal(kernels.total(problem_of_bits(EVERY, dtype)), expected)


@pytest.mark.interpreter(only=False)
@HALVES
def test_every_number_is_written_rounded_to_even(kernels: Backend, dtype: str) -> None:
    """The gradient of a certain frame is minus its weight: numbers of half precision, and those between them."""
    halves = from_bfloat16(EVERY) if dtype == "bfloat16" else EVERY.view(np.float16).astype(np.float32)
    positive = np.sort(halves[np.isfinite(halves) & (halves > 0)]).astype(np.float64)
    middle = (positive[1:] + positive[:-1]) / 2  # exact ties
    beyond = positive[-1] * np.array([1 + 2.0**-12, 1 + 2.0**-8, 1.5])  # up to the step to infinity, and past it
    with np.errstate(over="ignore"):
        near = [np.nextafter(middle.astype(np.float32), np.float32(to)).astype(np.float64) for to in (0, np.inf)]
        weights = np.concatenate([positive, middle, *near, beyond, -middle])
        weights = weights.astype(np.float32)
        weights = weights[np.isfinite(weights) & (weights != 0)].astype(np.float64)
        expected = (-weights).astype(np.float32)
        expected = to_bfloat16(expected) if dtype == "bfloat16" else expected.astype(np.float16).view(np.uint16)
    problem = problem_of_bits(np.zeros(weights.size, np.uint16), dtype)
    grad = np.full(problem.scores.shape, 0x7FC1, np.uint16)
    kernels.total(problem, weights=weights, grad=grad if dtype == "bfloat16" else grad.view(np.float16))
    wrong = grad.ravel() != expected
    assert not wrong.any(), (weights[wrong][:4], grad.ravel()[wrong][:4], expected[wrong][:4])
