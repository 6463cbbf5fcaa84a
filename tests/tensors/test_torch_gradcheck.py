"""Ladder, rung 5: gradients, first and second, are the derivatives, by finite differences in float64."""

import pytest
import torch
from support.batches import draw
from torch.autograd import gradcheck, gradgradcheck

import ctckit.torch

# Central differences of 1e-6 of a loss near 50: 50 * 2^-53 / 1e-6 is 6e-9, and their own error of the third order less.
PRECISION = {"eps": 1e-6, "atol": 5e-8, "rtol": 0.0}

TARGETS = torch.tensor([[1, 2, 2, 4], [3, 1, 0, 0], [2, 2, 2, 2]])
FRAMES, LENGTHS = (9, 6, 7), (4, 2, 0)


def scores_of(kind: str) -> torch.Tensor:
    scores = torch.from_numpy(draw(1, 9, 3, 5, 1).scores)
    if kind == "log_probs":
        return scores.log_softmax(-1)
    if kind == "with zeros":  # the derivative at -inf can't be taken by differences: -100 does as well
        return torch.where(torch.rand(scores.shape, generator=torch.Generator().manual_seed(0)) < 0.1, -100.0, scores)
    return scores


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("kind", ["log_probs", "unnormalised", "with zeros"])
def test_gradcheck(kind: str, from_logits: bool, reduction: str) -> None:
    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, reduction=reduction, from_logits=from_logits)

    assert gradcheck(loss, scores_of(kind).requires_grad_(), **PRECISION)


@pytest.mark.parametrize("form", ["(T, C)", "batch_first", "blank last", "not contiguous", "infeasible"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
def test_gradcheck_of_forms(form: str, from_logits: bool) -> None:
    options = {"from_logits": from_logits, "reduction": "none"}
    targets, frames, lengths = TARGETS, FRAMES, LENGTHS
    x = scores_of("unnormalised")
    if form == "(T, C)":
        x, targets, frames, lengths = x[:, 0].contiguous(), targets[0], 9, 4
    elif form == "batch_first":
        x = x.transpose(0, 1).contiguous()
        options["batch_first"] = True
    elif form == "blank last":
        options["blank"] = 4
        targets = (targets + 3) % 4
    elif form == "not contiguous":
        x = x.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    elif form == "infeasible":
        frames, options["zero_infinity"] = (5, 1, 7), True

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, targets, frames, lengths, **options)

    assert gradcheck(loss, x.requires_grad_(), **PRECISION)


# Small: a check takes a backward pass for every pair of numbers.
SMALL = (torch.tensor([[1, 2], [1, 1], [2, 0]]), (4, 5, 3), (2, 2, 0))


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
def test_gradgradcheck(from_logits: bool, reduction: str) -> None:
    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, *SMALL, reduction=reduction, from_logits=from_logits)

    assert gradgradcheck(loss, torch.from_numpy(draw(1, 5, 3, 3, 1).scores).requires_grad_(), **PRECISION)


def test_gradgradcheck_of_an_infeasible_sample() -> None:
    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, SMALL[0], (4, 2, 3), SMALL[2], reduction="none", zero_infinity=True)

    assert gradgradcheck(loss, torch.from_numpy(draw(1, 5, 3, 3, 1).scores).requires_grad_(), **PRECISION)


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_hessian_vector_product(from_logits: bool, dtype: torch.dtype) -> None:
    """Against central differences of the kernels' own gradient, in float64."""

    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        loss = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=from_logits)
        return torch.autograd.grad(loss, x)[0]

    exact = scores_of("unnormalised").to(dtype).double()
    direction = torch.randn(exact.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = 1e-5
    truth = (gradient(exact + step * direction) - gradient(exact - step * direction)) / (2 * step)
    x = exact.to(dtype).requires_grad_()
    loss = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=from_logits)
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    (product,) = torch.autograd.grad(first, x, direction.to(dtype))
    assert product.dtype == dtype
    # Central differences err by step^2 and by 2^-53 / step; float32 by the rounding of the direction and of the result.
    torch.testing.assert_close(product.double(), truth, rtol=0, atol=1e-9 if dtype == torch.float64 else 1e-6)
    assert truth.abs().max() > 0.03


def test_a_gradient_penalty_teaches() -> None:
    """And agrees with torch's own loss, whose gradient is made of differentiable parts here: log_softmax above it."""
    x = scores_of("unnormalised").requires_grad_()
    loss = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=True)
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    (loss + first.square().sum()).backward()
    below = ctckit.torch.ctc_loss(x.log_softmax(-1), TARGETS, FRAMES, LENGTHS)
    (other,) = torch.autograd.grad(below, x, create_graph=True)
    (expected,) = torch.autograd.grad(below + other.square().sum(), x)
    torch.testing.assert_close(x.grad, expected, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(x.grad, first.detach(), atol=1e-3)


def test_through_the_factor() -> None:
    x = torch.from_numpy(draw(1, 5, 3, 3, 1).scores).requires_grad_()

    def squared(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, *SMALL).square()

    assert gradgradcheck(squared, x, **PRECISION)
