"""The gradient below a log_softmax, where softmax and γ cancel if the network is sure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

import ctckit.torch  # noqa: E402
from ctckit.torch.graph import is_log_softmax  # noqa: E402

X = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
TARGETS, LENGTHS = torch.tensor([[1, 2], [3, 1]]), torch.tensor([2, 2])

BELOW: dict[str, Callable[[Tensor], Tensor]] = {
    "itself": lambda x: x.log_softmax(-1),
    "the last axis by its number": lambda x: x.log_softmax(2),
    "cast": lambda x: x.log_softmax(-1).float().double(),
    "frames first": lambda x: x.transpose(0, 1).log_softmax(-1).transpose(0, 1),
    "classes moved to the end": lambda x: x.permute(1, 2, 0).log_softmax(1).permute(2, 0, 1).contiguous(),
    "a view of rows": lambda x: x.view(12, 4).log_softmax(-1).view(6, 2, 4),
    "a part of the frames": lambda x: torch.cat([x, x]).log_softmax(-1)[:6],
    "split": lambda x: torch.cat([x, x], 1).log_softmax(-1).split(2, 1)[1],
    "one sample and back": lambda x: x.log_softmax(-1)[:, :1].squeeze(1).unsqueeze(1).expand(6, 2, 4).clone(),
    "some samples": lambda x: x.log_softmax(-1).index_select(1, torch.tensor([1, 0])),
}
ELSEWHERE: dict[str, Callable[[Tensor], Tensor]] = {
    "a leaf": lambda x: x,
    "another axis": lambda x: x.log_softmax(0),
    "classes left out": lambda x: torch.cat([x, x], -1).log_softmax(-1)[..., :4],
    "rows cut anew": lambda x: x.view(6, 4, 2).log_softmax(-1).view(6, 2, 4),
    "scaled": lambda x: x.log_softmax(-1) * 0.5,
    "classes in the middle": lambda x: x.log_softmax(-1).transpose(1, 2)[:, :2].contiguous(),
    "several": lambda x: torch.stack([x[:, 0].log_softmax(-1), x[:, 1]], 1),
}


def leaf(dtype: torch.dtype = torch.float32, scores: Tensor = X) -> Tensor:
    return scores.to(dtype).clone().requires_grad_()


@pytest.mark.parametrize("how", [*BELOW, *ELSEWHERE])
def test_what_is_seen(how: str) -> None:
    """And the gradient is the same, whatever is seen, to the rounding of float64, or of float32 in between."""
    x = leaf(torch.float64)
    scores = (BELOW | ELSEWHERE)[how](x)
    expanded = how == "one sample and back"  # an operation that is not known, so that the gradient is -γ: right, too
    assert is_log_softmax(scores) == (how in BELOW and not expanded)
    frames = torch.full((scores.shape[1],), len(scores))
    options = {"reduction": "sum"}
    targets = TARGETS[: scores.shape[1]] % scores.shape[2]
    targets[targets == 0] = 1
    (found,) = torch.autograd.grad(ctckit.torch.ctc_loss(scores, targets, frames, LENGTHS, **options), x)
    again = (BELOW | ELSEWHERE)[how](x)
    hidden = again.clone().detach().requires_grad_()
    ctckit.torch.ctc_loss(hidden, targets, frames, LENGTHS, **options).backward()
    (expected,) = torch.autograd.grad(again, x, hidden.grad)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-7 if how == "cast" else 1e-14)


def sure(nats: float, classes: int = 12, frames: int = 60, tokens: int = 9) -> tuple[Tensor, Tensor]:
    """Logits whose best classes spell the target, and stand above noise by that many nats."""
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(frames, 1, classes)), rng.integers(1, classes, tokens)
    best = np.zeros(frames, int)
    best[np.linspace(1, frames - 2, tokens).astype(int)] = target
    scores[np.arange(frames), 0, best] += nats
    return torch.from_numpy(scores), torch.from_numpy(target[None])


@pytest.mark.parametrize("nats", [0, 6, 10, 14])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", ["frames first", "batch first", "widened after", "twice"])
def test_half_precision_below_a_log_softmax(layout: str, dtype: torch.dtype, nats: float) -> None:
    """As exact as torch's loss, which returns this form always, and in float32 more so."""
    scores, target = sure(nats)
    count = (torch.tensor([len(scores)]), torch.tensor([target.shape[1]]))

    def gradient(loss: Callable[..., Tensor], x: Tensor, ours: bool) -> Tensor:
        log_probs = x.log_softmax(-1)
        if layout == "widened after" or not ours:
            log_probs = log_probs.float() if x.dtype != torch.float64 else log_probs
        options = {"reduction": "sum"}
        if ours and layout == "batch first":
            log_probs, options = log_probs.transpose(0, 1), options | {"batch_first": True}
        value = loss(log_probs, target, *count, **options)
        if layout == "twice":
            torch.autograd.grad(value, x, retain_graph=True)
        return torch.autograd.grad(value, x)[0].double()

    held = leaf(dtype, scores)
    exact = gradient(torch.nn.functional.ctc_loss, held.detach().double().requires_grad_(), False)
    scale = exact.abs().max()
    ours = (gradient(ctckit.torch.ctc_loss, held, True) - exact).abs().max() / scale
    theirs = (gradient(torch.nn.functional.ctc_loss, held, False) - exact).abs().max() / scale
    assert ours <= 1.1 * theirs + 4 * torch.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_in_compiled_code(dtype: torch.dtype, scale: float) -> None:
    """The compiler sees the log_softmax too, whether or not the loss is scaled: the gradient is eager mode's."""
    scores, target = sure(12)

    def step(x: Tensor) -> Tensor:
        log_probs = x.transpose(0, 1).log_softmax(-1).transpose(0, 1).float()
        return scale * ctckit.torch.ctc_loss(log_probs, target, torch.tensor([60]), torch.tensor([9]), reduction="sum")

    torch.compiler.reset()
    gradients = []
    for function in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        x = leaf(dtype, scores)
        gradients += torch.autograd.grad(function(x), x)
    assert torch.equal(*gradients)
    torch.compiler.reset()


def test_under_autocast() -> None:
    scores, target = sure(10)
    x = leaf(torch.float32, scores)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ctckit.torch.ctc_loss(x.log_softmax(-1), target, [60], [9], reduction="sum")
    loss.backward()
    exact = leaf(torch.float64, scores)
    torch.nn.functional.ctc_loss(exact.log_softmax(-1), target, [60], [9], reduction="sum").backward()
    assert (x.grad - exact.grad).abs().max() <= 0.01 * exact.grad.abs().max()


def test_a_leaf_has_the_true_derivative() -> None:
    """-γ: a network that is trained on log-probabilities of its own making is not below a log_softmax."""
    log_probs = X.log_softmax(-1).detach().requires_grad_()
    ctckit.torch.ctc_loss(log_probs, TARGETS, [6, 6], LENGTHS, reduction="sum").backward()
    gamma = ctckit.torch.posteriors(log_probs.detach(), TARGETS, [6, 6], LENGTHS).classes
    torch.testing.assert_close(log_probs.grad, -gamma)
