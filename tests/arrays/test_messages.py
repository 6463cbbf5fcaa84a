"""Every kind of bad input: the message names argument, position, value, what was expected, and the likely fix."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.messages import BAD, END_TO_END, GOOD, REDUCTIONS, SINGLE, check

import ctckit
from ctckit.kernels import native


@pytest.mark.parametrize("function", [ctckit.ctc_loss, ctckit.ctc_loss_and_grad, ctckit.posteriors])
@pytest.mark.parametrize("case", BAD)
def test_numpy(function: Callable[..., Any], case: str) -> None:
    change, parts = BAD[case]
    if function is ctckit.posteriors and case == "no lengths":
        return  # all frames
    if function is ctckit.posteriors and case == "no targets":  # lattices may stand in their place
        parts = ["targets is missing: expected the classes of the tokens, or lattices in its place"]
    check(function, GOOD | change, parts)


@pytest.mark.parametrize("function", [ctckit.ctc_loss, ctckit.ctc_loss_and_grad])
@pytest.mark.parametrize("case", REDUCTIONS)
def test_numpy_reduction(function: Callable[..., Any], case: str) -> None:
    change, parts = REDUCTIONS[case]
    check(function, GOOD | change, parts)


@pytest.mark.parametrize("case", [name for name, (change, _) in BAD.items() if "log_probs" in change])
def test_posteriors_of_bad_logits(case: str) -> None:
    """Logits are normalised before they are checked; every fault must still be reported as a CTCError."""
    with pytest.raises(ctckit.CTCError):
        ctckit.posteriors(**(GOOD | BAD[case][0] | {"from_logits": True}))


def test_good_input_is_good() -> None:
    """The call that the bad cases are derived from."""
    assert np.isfinite(ctckit.ctc_loss(**GOOD))
    assert np.isfinite(ctckit.ctc_loss(**SINGLE))
    assert np.isfinite(ctckit.ctc_loss(**(GOOD | END_TO_END)))


@pytest.mark.parametrize("padding", [-100, -1, 0, 5, 2**40, -(2**40)])
def test_padding_beyond_target_lengths_is_no_error(padding: int) -> None:
    targets = GOOD["targets"].copy()
    targets[1, 2] = targets[2, 1:] = padding
    assert ctckit.ctc_loss(**(GOOD | {"targets": targets})) == ctckit.ctc_loss(**GOOD)


def test_minus_infinity_is_legal() -> None:
    assert ctckit.ctc_loss(**(GOOD | {"log_probs": np.full((6, 3, 5), -np.inf)})) == np.inf


def test_nothing_has_happened_when_the_error_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(native.extension, "sums", lambda *arguments: calls.append(arguments))
    for change, _ in BAD.values():
        with pytest.raises(ctckit.CTCError):
            ctckit.ctc_loss_and_grad(**(GOOD | change))
    assert not calls


@pytest.mark.parametrize("threads", [0, -1, True, 1.0, "2", None])
def test_number_of_threads(threads: Any) -> None:
    before = ctckit.get_num_threads()
    with pytest.raises(ctckit.CTCError, match=f"threads = {threads!r}.*expected an integer of at least 1"):
        ctckit.set_num_threads(threads)
    assert ctckit.get_num_threads() == before
