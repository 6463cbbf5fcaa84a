"""Where there is no kernel, torch's own operations compute the loss: on other devices, and inside of torch.func."""

import math

import numpy as np
import pytest
import torch
from support.batches import draw

import ctckit.torch
from ctckit.kernels import portable
from ctckit.torch import dispatch

BATCH = draw(5, 12, 4, 6, 4)
TARGETS = torch.from_numpy(BATCH.targets)
ARGUMENTS = (TARGETS, tuple(BATCH.frames.tolist()), tuple(BATCH.lengths.tolist()))


@pytest.fixture
def no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treats the CPU as a device without a kernel."""
    monkeypatch.setattr(dispatch, "backend_of", lambda scores: "portable")


def results(scores: torch.Tensor, **options: object) -> tuple[torch.Tensor, torch.Tensor]:
    x = scores.clone().requires_grad_()
    loss = ctckit.torch.ctc_loss(x, *ARGUMENTS, **options)
    loss.sum().backward()
    return loss.detach(), x.grad


FORMS = {
    "": {},
    "logits": {"from_logits": True},
    "sum": {"reduction": "sum"},
    "none": {"reduction": "none", "from_logits": True},
    "batch first": {"batch_first": True},
    "zero infinity": {"zero_infinity": True, "reduction": "none"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_same_as_the_kernels(form: str, dtype: torch.dtype, request: pytest.FixtureRequest) -> None:
    scores = torch.from_numpy(BATCH.scores).to(dtype)
    if form == "batch first":
        scores = scores.transpose(0, 1).contiguous()
    expected = results(scores, **FORMS[form])
    request.getfixturevalue("no_kernel")
    loss, grad = results(scores, **FORMS[form])
    assert (loss.dtype, grad.dtype) == (expected[0].dtype, dtype)
    # Twelve frames of float32 logarithms near 30: a few of their 24 bits' units. Half precision rounds the gradient.
    unit = {torch.float64: 1e-13, torch.float32: 2e-6, torch.bfloat16: 2**-8, torch.float16: 2**-10}[dtype]
    torch.testing.assert_close(loss, expected[0], rtol=1e-13 if dtype == torch.float64 else 2e-6, atol=0)
    torch.testing.assert_close(grad, expected[1], rtol=0, atol=unit)


@pytest.mark.usefixtures("no_kernel")
def test_one_sample_without_the_batch_axis() -> None:
    scores, target = torch.from_numpy(BATCH.scores[:, 0]), TARGETS[0]
    loss = ctckit.torch.ctc_loss(scores, target, 12, 4, reduction="none")
    assert loss.shape == ()
    assert loss.item() == pytest.approx(float(ctckit.ctc_loss(scores.numpy(), target.numpy(), 12, 4, reduction="none")))


@pytest.mark.usefixtures("no_kernel")
def test_the_module_and_no_grad() -> None:
    module = ctckit.torch.CTCLoss(from_logits=True)
    scores = torch.from_numpy(BATCH.scores).requires_grad_()
    with torch.no_grad():
        assert not module(scores, *ARGUMENTS).requires_grad


def test_long_utterances_keep_their_precision_in_float64() -> None:
    batch = draw(6, 400, 2, 20, 50)
    problem = ctckit.problem.ctc_problem(batch.scores, *batch.arguments, from_logits=True)
    score = portable.log_scores(portable.on_tensors(problem, torch.from_numpy(batch.scores)))
    exact = ctckit.ctc_loss(batch.scores, *batch.arguments, "none", from_logits=True)
    np.testing.assert_allclose(-score.numpy(), exact, rtol=1e-13)


def test_another_device() -> None:
    """Meta tensors, the only other device of every torch, hold shapes and a graph but no numbers."""
    scores = torch.zeros(BATCH.scores.shape, device="meta", requires_grad=True)
    loss = ctckit.torch.ctc_loss(scores, *ARGUMENTS, from_logits=True)
    assert (loss.device.type, loss.shape) == ("meta", ())
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.shape == scores.shape
    with pytest.raises(ctckit.CTCError, match=r"input_lengths\[0\] = 13 is out of range"):
        ctckit.torch.ctc_loss(scores, TARGETS, (13, 12, 12, 12), ARGUMENTS[2])


def test_func_grad_and_hessian() -> None:
    scores = torch.from_numpy(draw(7, 5, 2, 3, 2).scores)
    targets, frames, lengths = torch.tensor([[1, 2], [1, 1]]), (5, 4), (2, 2)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, targets, frames, lengths, from_logits=True)

    x = scores.clone().requires_grad_()
    loss(x).backward()
    torch.testing.assert_close(torch.func.grad(loss)(scores), x.grad, rtol=0, atol=1e-13)
    hessian = torch.func.hessian(loss)(scores)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(loss, scores), rtol=0, atol=1e-12)
    assert hessian.abs().max() > 0.01


def test_vmap_over_scores() -> None:
    scores = torch.from_numpy(np.stack([BATCH.scores, BATCH.scores[::-1]]))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ctckit.torch.ctc_loss(x, *ARGUMENTS)

    expected = torch.stack([loss(x) for x in scores])
    torch.testing.assert_close(torch.func.vmap(loss)(scores), expected, rtol=1e-13, atol=0)


def test_vmap_over_targets_alone_is_refused_clearly() -> None:
    """Without the scores; or with them, but end to end, where lengths would say whose they are."""
    scores = torch.from_numpy(np.stack([BATCH.scores] * 2))
    targets = torch.stack([TARGETS] * 2)
    joined = torch.cat([row[:length] for row, length in zip(TARGETS, BATCH.lengths.tolist(), strict=True)])
    refused = pytest.raises(
        ctckit.CTCError, match=r"targets is mapped over by torch\.func\.vmap: expected the same targets"
    )
    with refused:
        torch.func.vmap(lambda t: ctckit.torch.ctc_loss(scores[0], t, *ARGUMENTS[1:]))(targets)
    with refused:
        torch.func.vmap(lambda x, t: ctckit.torch.ctc_loss(x, t, *ARGUMENTS[1:]))(scores, torch.stack([joined] * 2))


def test_a_graph_even_without_frames() -> None:
    scores = torch.zeros(0, 1, 3, dtype=torch.float64, requires_grad=True)
    loss = ctckit.torch.ctc_loss(scores, torch.zeros(1, 0, dtype=torch.long), [0], [0])
    (gradient,) = torch.autograd.grad(loss, scores, create_graph=True)
    assert gradient.shape == scores.shape


def test_labels_far_below_the_best() -> None:
    """As the kernels have it: finite in the loss, and in the gradient with a graph."""
    scores = torch.tensor([[[0.0, -1e9, -1e9]]] * 3, dtype=torch.float64, requires_grad=True)
    loss = ctckit.torch.ctc_loss(scores, torch.tensor([[1]]), [3], [1], zero_infinity=True, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, scores, create_graph=True)
    torch.testing.assert_close(loss.item(), 1e9 - math.log(3))  # the token in one of three frames
    torch.testing.assert_close(gradient[:, 0, 1], torch.full((3,), -1 / 3, dtype=torch.float64), rtol=1e-6, atol=0)
