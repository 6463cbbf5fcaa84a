"""Bad input to the torch calls: the same messages as NumPy's, and those that only tensors can cause."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.messages import BAD, GOOD, REDUCTIONS, check
from support.torch_messages import as_tensors, is_tensor_case, on_tensors

import ctckit
import ctckit.torch


@pytest.mark.parametrize("case", [name for name in BAD if is_tensor_case(name)])
@pytest.mark.parametrize("call", ["function", "module"])
def test_same_messages_as_numpy(call: str, case: str) -> None:
    arguments, parts = on_tensors(case)
    if call == "module":
        options = {name: arguments.pop(name) for name in ("blank", "from_logits") if name in arguments}
        check(ctckit.torch.CTCLoss(**options), arguments, parts)
    else:
        check(ctckit.torch.ctc_loss, arguments, parts)


@pytest.mark.parametrize("case", REDUCTIONS)
def test_reduction(case: str) -> None:
    change, parts = REDUCTIONS[case]
    check(ctckit.torch.ctc_loss, as_tensors(GOOD) | change, parts)
    check(ctckit.torch.CTCLoss, change, parts)


@pytest.mark.parametrize("scores", [GOOD["log_probs"], GOOD["log_probs"].tolist(), None], ids=["array", "list", "None"])
def test_scores_that_are_no_tensor(scores: Any) -> None:
    parts = [f"log_probs is a {type(scores).__name__}", "expected a torch.Tensor", "functions of ctckit take arrays"]
    check(ctckit.torch.ctc_loss, as_tensors(GOOD) | {"log_probs": scores}, parts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["input_lengths", "target_lengths"])
def test_float_tensors_for_integers(name: str, dtype: torch.dtype) -> None:
    value = torch.as_tensor(GOOD[name]).to(dtype)
    for each in (value, value.clone().requires_grad_()):
        check(ctckit.torch.ctc_loss, as_tensors(GOOD) | {name: each}, [f"{name} has dtype", "expected integers"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_float_targets_that_are_not_whole(dtype: torch.dtype) -> None:
    for wrong in (2.5, -torch.inf, torch.inf, torch.nan):
        targets = torch.as_tensor(GOOD["targets"]).to(dtype)
        targets[1, 1:] = torch.tensor([wrong, torch.nan])  # the last is padding
        parts = [f"targets[1, 1] = {wrong} is not a whole number", "agree on the vocabulary"]
        parts = ["targets[1, 1] = -1 is not a class"] if wrong != wrong else parts
        check(ctckit.torch.ctc_loss, as_tensors(GOOD) | {"targets": targets}, parts)
        lists = [[1.0, 2.0, 3.0], [4.0, wrong, torch.nan], [2.0, 0.0, 0.0]]
        check(ctckit.torch.ctc_loss, as_tensors(GOOD) | {"targets": lists}, parts)


def test_errors_are_torchs_too() -> None:
    """Code written for torch's loss catches RuntimeError; everything else catches ctckit.CTCError, a ValueError."""
    good, x = as_tensors(GOOD), torch.zeros(2, 3)
    short = {"log_probs": torch.zeros(1, 2, 3), "targets": torch.tensor([[1, 1]])}
    calls: list[tuple[type[Exception], Callable[[], object]]] = [
        (ctckit.CTCError, lambda: ctckit.torch.ctc_loss(**good | {"input_lengths": [6, 5]})),
        (ctckit.CTCError, lambda: ctckit.torch.ctc_loss(**good, class_scores=x)),
        (ctckit.CTCError, lambda: ctckit.torch.CTCLoss(reduction="average")),
        (ctckit.CTCError, lambda: ctckit.torch.lattice_loss(x, "lattice")),
        (ctckit.CTCError, lambda: ctckit.torch.posteriors(x, [9], 2, 1)),
        (ctckit.CTCError, lambda: ctckit.torch.global_mean(x)),
        (ctckit.CTCError, lambda: ctckit.torch.merge_tokens(x, x)),
        (ctckit.CTCError, lambda: ctckit.torch.CTCMonitor(every=0)),
        (ctckit.InfeasibleError, lambda: ctckit.torch.forced_align(**short)),
    ]
    for kind, call in calls:
        with pytest.raises(kind) as caught:
            call()
        assert isinstance(caught.value, RuntimeError)
        assert isinstance(caught.value, ValueError)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again), again.fault) == (type(caught.value), str(caught.value), caught.value.fault)
    assert (caught.value.sample, caught.value.frames, caught.value.needed) == (0, 2, 3)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_dtypes_of_scores(dtype: torch.dtype) -> None:
    scores = torch.zeros(6, 3, 5).to(dtype)
    check(
        ctckit.torch.ctc_loss,
        as_tensors(GOOD) | {"log_probs": scores},
        ["log_probs has dtype", "expected float64, float32, bfloat16 or float16"],
    )


def test_batch_first_speaks_of_the_callers_shape() -> None:
    """Messages give the shape as it was passed, not the transposed one."""
    arguments = as_tensors(GOOD) | {"batch_first": True}
    check(ctckit.torch.ctc_loss, arguments | {"log_probs": torch.zeros(0, 6, 5)}, ["log_probs has shape (0, 6, 5)"])
    check(ctckit.torch.ctc_loss, arguments | {"log_probs": torch.zeros(3, 6, 0)}, ["log_probs has shape (3, 6, 0)"])
    lengths = {"input_lengths": (6, 7, 6)}
    check(
        ctckit.torch.ctc_loss,
        arguments | {"log_probs": torch.zeros(3, 6, 5)} | lengths,
        ["input_lengths[1] = 7", "T=6"],
    )


def test_error_leaves_no_graph_behind() -> None:
    scores = torch.zeros(6, 3, 5, requires_grad=True)
    with pytest.raises(ctckit.CTCError):
        ctckit.torch.ctc_loss(**(as_tensors(GOOD) | {"log_probs": scores, "blank": 9}))
    ctckit.torch.ctc_loss(**(as_tensors(GOOD) | {"log_probs": scores})).backward()
    assert torch.isfinite(scores.grad).all()
