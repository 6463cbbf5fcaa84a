"""Ladder, rung 5: the gradient is the derivative, by finite differences in float64."""

import pytest
import torch
from cases import draw
from torch.autograd import gradcheck

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


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_second_derivatives_are_refused(from_logits: bool, reduction: str) -> None:
    """Not supported: said, where it is asked for, rather than answered with a penalty that has no effect."""
    x = scores_of("unnormalised").requires_grad_()

    def penalised() -> None:
        loss = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, reduction=reduction, from_logits=from_logits).sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        (loss + gradient.square().sum()).backward()

    with pytest.raises(RuntimeError, match=r"twice|second|once_differentiable"):
        penalised()


def test_second_derivatives_through_the_factor_are_refused() -> None:
    x = scores_of("unnormalised").requires_grad_()
    loss = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS)
    (gradient,) = torch.autograd.grad(loss.square(), x, create_graph=True)  # its factor 2 * loss needs a gradient too
    with pytest.raises(RuntimeError, match=r"twice|second|once_differentiable"):
        gradient.sum().backward()
