"""The form of a call: from shapes and dtypes of anything array-like, without a look at a value."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from support.messages import BAD, GOOD, SINGLE

import ctckit
from ctckit.validate import Form, check_form, check_lattice_form, check_values, form_faults

NAMES = ("log_probs", "targets", "input_lengths", "target_lengths")
EXPECTED = Form(6, 3, 5, 3, batched=True, padded=True, dtype="float32")


def given(arguments: dict[str, Any]) -> tuple[Any, ...]:
    return *(arguments[name] for name in NAMES), arguments.get("blank", 0)


def test_arrays_and_lists() -> None:
    arrays = {name: np.asarray(value) for name, value in GOOD.items()}
    assert check_form(*given(arrays)) == EXPECTED
    assert check_form(*given(GOOD)) == EXPECTED
    assert check_form(GOOD["log_probs"].tolist(), *given(GOOD)[1:]) == EXPECTED._replace(dtype="float64")
    assert check_form(*given(SINGLE)) == Form(6, 1, 5, 3, batched=False, padded=True, dtype="float32")
    joined = GOOD | {"targets": np.array([1, 2, 3, 4, 4, 2])}
    assert check_form(*given(joined)) == EXPECTED._replace(num_tokens=6, padded=False)
    turned = GOOD | {"log_probs": GOOD["log_probs"].swapaxes(0, 1)}
    assert check_form(*given(turned), batch_first=True) == EXPECTED
    assert check_lattice_form(GOOD["log_probs"], [6, 5, 4]) == EXPECTED._replace(num_tokens=0)


def test_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy has no bfloat16")
    for dtype in ("float64", "float32", "float16", ml_dtypes.bfloat16, ">f4", "<f8"):
        scores = GOOD["log_probs"].astype(dtype)
        assert check_form(scores, *given(GOOD)[1:]).dtype == scores.dtype.newbyteorder("=").name
    for dtype in ("uint8", "int16", ">i4", "uint64"):
        targets = GOOD["targets"].astype(dtype)
        assert check_form(*given(GOOD | {"targets": targets})) == EXPECTED


def test_no_value_is_read() -> None:
    """Meta tensors have none."""
    torch = pytest.importorskip("torch", reason="tensors are torch's")
    meta = [torch.as_tensor(value).to("meta") for value in given(GOOD)[:4]]
    assert check_form(*meta, 0) == EXPECTED
    assert check_form(meta[0].bfloat16(), *meta[1:], 0).dtype == "bfloat16"
    with pytest.raises(ctckit.CTCError, match=r"input_lengths has shape \(2,\): expected \(3,\)"):
        check_form(meta[0], meta[1], meta[2][:2], meta[3], 0)
    with pytest.raises(ctckit.CTCError, match=r"targets has dtype float32: .* targets\.long\(\)"):
        check_form(meta[0], meta[1].float(), *meta[2:], 0)


def test_a_good_call_is_checked_in_two_functions() -> None:
    arrays = given({name: np.asarray(value) for name, value in GOOD.items()})
    check_form(*arrays)  # dtypes are known from here on
    entered: list[str] = []
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_code.co_name) if event == "call" else None)
    check_form(*arrays)
    sys.setprofile(None)
    assert len(entered) <= 2


@pytest.mark.parametrize("case", BAD)
def test_fast_and_slow_agree(case: str) -> None:
    """The comparisons of a good call let nothing through that the list of faults holds, and stop nothing else."""
    arguments = given(GOOD | BAD[case][0])
    faults, form = form_faults(*arguments)
    assert (form is None) == bool(faults)
    if faults:
        with pytest.raises(ctckit.CTCError) as caught:
            check_form(*arguments)
        assert caught.value.fault is not None
        assert caught.value.fault.code == faults[0].code
    else:
        assert check_form(*arguments) == form


def test_values_that_stay_on_a_device_are_not_asked_for() -> None:
    targets, frames, lengths = np.array([[9, 2, 3]] * 3), np.array([6, 7, 6]), np.array([3, 3, 4])
    check_values(EXPECTED, 0, None, None, None)
    check_values(EXPECTED, 0, targets, None, None)  # without lengths any token may be padding
    with pytest.raises(ctckit.CTCError, match=r"input_lengths\[1\] = 7"):
        check_values(EXPECTED, 0, None, frames, None)
    with pytest.raises(ctckit.CTCError, match=r"target_lengths\[2\] = 4"):
        check_values(EXPECTED, 0, None, None, lengths)
    with pytest.raises(ctckit.CTCError, match=r"targets\[0, 0\] = 9"):
        check_values(EXPECTED, 0, targets, None, lengths.clip(0, 3))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("lengths", [([6], [3]), (6, 3), ([[6]], [[3]])], ids=["(1,)", "()", "(1, 1)"])
def test_a_batch_of_one_keeps_its_axis(dtype: str, lengths: tuple[Any, Any]) -> None:
    """NumPy 1's scalar types make a scalar of an array with one entry; lengths may be numbers, a column or a row."""
    scores = np.zeros((6, 1, 5), dtype)
    for targets in ([[1, 2, 3]], [1, 2, 3]):
        given = (scores, targets, *lengths)
        assert ctckit.ctc_loss(*given, reduction="none").shape == (1,)
        assert ctckit.ctc_loss_and_grad(*given, reduction="none").loss.shape == (1,)
        assert ctckit.ctc_loss(*given).shape == ()
    assert ctckit.lattice_loss(scores, ctckit.ctc_lattice([1, 2, 3]), lengths[0], "none").shape == (1,)
    assert ctckit.ctc_loss(scores[:, 0], [1, 2, 3], 6, 3, reduction="none").shape == ()
