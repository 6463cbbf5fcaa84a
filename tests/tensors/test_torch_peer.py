"""Ladder, rung 4: torch's own ctc_loss in float64, value and gradient, in every form it takes its arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import Batch, draw
from support.budgets import Budget
from torch import Tensor
from torch.nn import functional as F

import ctckit.torch

# torch adds up float64 logarithms. Paths here weigh e^-400 or more, over 50 frames: sqrt(50) * 400 * 2^-53.
CLOSE = {"rtol": 0.0, "atol": 4e-13}

REDUCTIONS = pytest.mark.parametrize("reduction", ["none", "sum", "mean"])

BATCH = draw(1, 50, 5, 12, 14)


def as_tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in batch.arguments[:3])


def concatenated(batch: Batch) -> Tensor:
    return torch.from_numpy(np.concatenate([batch.targets[n, :used] for n, used in enumerate(batch.lengths)]))


TARGETS: dict[str, Callable[[Batch], Any]] = {
    "padded": lambda batch: as_tensors(batch)[0],
    "padded int32": lambda batch: as_tensors(batch)[0].int(),
    "padded, not contiguous": lambda batch: as_tensors(batch)[0].t().contiguous().t(),
    "concatenated": concatenated,
    "concatenated int32": lambda batch: concatenated(batch).int(),
}
LENGTHS: dict[str, Callable[[np.ndarray], Any]] = {
    "int64 tensor": torch.from_numpy,
    "int32 tensor": lambda x: torch.from_numpy(x).int(),
    "list": lambda x: x.tolist(),
    "tuple": lambda x: tuple(x.tolist()),
}


def both(function: Callable[..., Tensor], logits: np.ndarray, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
    """A loss below log_softmax, and its gradient at the logits; for "none" each sample's loss counts differently."""
    x = torch.from_numpy(logits.copy()).requires_grad_()
    loss = function(x.log_softmax(-1), *arguments, **options)
    (loss * torch.arange(1, loss.numel() + 1).reshape(loss.shape)).sum().backward()
    return loss.detach(), x.grad


def compare(logits: np.ndarray, *arguments: Any, **options: Any) -> None:
    loss, grad = both(ctckit.torch.ctc_loss, logits, *arguments, **options)
    torch_loss, torch_grad = both(F.ctc_loss, logits, *arguments, **options)
    assert loss.shape == torch_loss.shape
    assert loss.dtype == torch_loss.dtype
    torch.testing.assert_close(loss, torch_loss, **CLOSE)
    torch.testing.assert_close(grad, torch_grad, **CLOSE)
    x = torch.from_numpy(logits.copy()).requires_grad_()
    fused = ctckit.torch.ctc_loss(x, *arguments, **options, from_logits=True)
    (fused * torch.arange(1, fused.numel() + 1).reshape(fused.shape)).sum().backward()
    torch.testing.assert_close(fused.detach(), torch_loss, **CLOSE)
    torch.testing.assert_close(x.grad, torch_grad, **CLOSE)


@REDUCTIONS
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("targets", TARGETS)
def test_forms(targets: str, lengths: str, reduction: str) -> None:
    frames, tokens = LENGTHS[lengths](BATCH.frames), LENGTHS[lengths](BATCH.lengths)
    compare(BATCH.scores, TARGETS[targets](BATCH), frames, tokens, reduction=reduction)


@REDUCTIONS
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.uint8])
def test_integer_dtypes_that_torch_does_not_take(dtype: torch.dtype, reduction: str) -> None:
    targets, frames, lengths = as_tensors(BATCH)
    scores = torch.from_numpy(BATCH.scores)
    expected = ctckit.torch.ctc_loss(scores, targets, frames, lengths, reduction=reduction)
    small = (x.to(dtype) for x in (targets, frames, lengths))
    assert torch.equal(ctckit.torch.ctc_loss(scores, *small, reduction=reduction), expected)


@REDUCTIONS
@pytest.mark.parametrize("blank", [0, 5, 11])
def test_blank(blank: int, reduction: str) -> None:
    batch = draw(2, 40, 4, 12, 10, blank=blank)
    targets, frames, lengths = as_tensors(batch)
    compare(batch.scores, targets, frames, lengths, blank=blank, reduction=reduction)


@REDUCTIONS
def test_single_sample(reduction: str) -> None:
    scores, target = BATCH.sample(0)
    tokens = torch.tensor(target)
    for frames, length in (
        (torch.tensor(50), torch.tensor(14)),
        (torch.tensor([50]), torch.tensor([14])),
        ((50,), (14,)),
    ):
        compare(scores, tokens, frames, length, reduction=reduction)
    # NumPy's users pass numbers; torch needs tensors or tuples.
    x = torch.from_numpy(scores)
    ours = ctckit.torch.ctc_loss(x, tokens, 50, 14, reduction=reduction)
    assert torch.equal(ours, ctckit.torch.ctc_loss(x, tokens, (50,), (14,), reduction=reduction))
    assert ours.shape == F.ctc_loss(x, tokens, torch.tensor(50), torch.tensor(14), reduction=reduction).shape


@REDUCTIONS
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_infeasible(reduction: str, zero_infinity: bool) -> None:
    """The loss is torch's, and so is the gradient if zero_infinity makes torch's finite. Ours is never NaN."""
    scores = draw(3, 6, 3, 5, 4, ragged=False).scores
    arguments = torch.tensor([[1, 2, 3, 4], [1, 1, 2, 2], [2, 2, 2, 2]]), (6, 5, 6), (4, 4, 3)
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    loss, grad = both(ctckit.torch.ctc_loss, scores, *arguments, **options)
    torch_loss, torch_grad = both(F.ctc_loss, scores, *arguments, **options)
    torch.testing.assert_close(loss, torch_loss, **CLOSE)
    assert torch.isfinite(grad).all()
    assert not grad[:, 1].any()
    if zero_infinity:
        torch.testing.assert_close(grad, torch_grad, **CLOSE)


@REDUCTIONS
def test_empty_targets(reduction: str) -> None:
    scores = draw(4, 9, 3, 5, 2, ragged=False).scores
    compare(scores, torch.tensor([[1, 2], [3, 3], [4, 4]]), (9, 8, 9), (2, 0, 1), reduction=reduction)
    compare(scores, torch.tensor([1, 2, 4]), (9, 8, 9), (2, 0, 1), reduction=reduction)
    compare(scores, torch.empty((3, 0), dtype=torch.long), (9, 8, 9), (0, 0, 0), reduction=reduction)
    compare(scores, torch.empty(0, dtype=torch.long), (9, 8, 9), (0, 0, 0), reduction=reduction)


@REDUCTIONS
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_no_frames(reduction: str, zero_infinity: bool) -> None:
    """Samples of no frames among others: 0 for the empty target, else +inf."""
    scores = draw(5, 9, 3, 5, 2, ragged=False).scores
    arguments = torch.tensor([[1, 2], [3, 3], [4, 4]]), (9, 0, 0), (2, 0, 1)
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    loss, grad = both(ctckit.torch.ctc_loss, scores, *arguments, **options)
    torch_loss, _ = both(F.ctc_loss, scores, *arguments, **options)
    torch.testing.assert_close(loss, torch_loss, **CLOSE)
    assert not grad[:, 1:].any()
    assert torch.isfinite(grad).all()


def test_no_samples_is_an_error_as_in_torch() -> None:
    arguments = torch.zeros(5, 0, 4), torch.ones((0, 2), dtype=torch.long), torch.zeros(0).long(), torch.zeros(0).long()
    with pytest.raises(RuntimeError):
        F.ctc_loss(*arguments)
    with pytest.raises(ctckit.CTCError, match="expected at least one sample"):
        ctckit.torch.ctc_loss(*arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("shape", [(2000, 2, 20, 300), (700, 3, 500, 40)], ids=str)
def test_large_against_float64(shape: tuple[int, ...], dtype: torch.dtype, from_logits: bool) -> None:
    """Sizes of real use, many blocks, within the error of the dtype."""
    batch = draw(sum(shape), *shape, ragged=False)
    targets, frames, lengths = as_tensors(batch)
    scores = torch.from_numpy(batch.scores).to(dtype)
    x = scores.clone().requires_grad_()
    loss = ctckit.torch.ctc_loss(x, targets, frames, lengths, reduction="none", from_logits=from_logits)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert x.grad.dtype == dtype
    wide = scores.double().requires_grad_()
    truth = F.ctc_loss(wide.log_softmax(-1) if from_logits else wide, targets, frames, lengths, reduction="none")
    truth.sum().backward()
    # torch's gradient of log-probabilities is exp(x) - γ; of logits below log_softmax it is right.
    true_grad = wide.grad if from_logits else wide.grad - wide.detach().exp()
    name = str(dtype).removeprefix("torch.")
    for n in range(shape[1]):
        budget = Budget(scores[:, n].double().numpy(), name, 2.0**-53)
        rounding = 2.0**-24 * abs(truth[n].item())
        assert abs(loss[n].item() - truth[n].item()) <= budget.score(truth[n].item()) + rounding
        expected = true_grad[:, n].numpy()
        assert (np.abs(x.grad[:, n].double().numpy() - expected) <= budget.gradient(expected)).all()


def test_gradient_of_log_probs_is_the_derivative_and_torchs_is_not() -> None:
    """Of unnormalised scores: checked by finite differences, independent of both libraries."""
    scores = torch.from_numpy(BATCH.scores[:, :1].copy())
    arguments = as_tensors(BATCH)[0][:1], (50,), (14,)
    x = scores.clone().requires_grad_()
    ctckit.torch.ctc_loss(x, *arguments, reduction="sum").backward()
    y = scores.clone().requires_grad_()
    F.ctc_loss(y, *arguments, reduction="sum").backward()
    step, (t, c) = 1e-5, (7, 3)
    moved = [scores.clone(), scores.clone()]
    moved[0][t, 0, c] += step
    moved[1][t, 0, c] -= step
    high, low = (F.ctc_loss(each, *arguments, reduction="sum").item() for each in moved)
    assert x.grad[t, 0, c].item() == pytest.approx((high - low) / (2 * step), abs=1e-7)
    assert abs(y.grad[t, 0, c].item() - x.grad[t, 0, c].item()) > 1e-3
    assert (y.grad - x.grad - scores.exp()).abs().max() < 1e-10
