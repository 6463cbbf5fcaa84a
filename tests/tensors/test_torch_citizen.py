"""The loss under autocast, checkpointing, deterministic mode and torch.func's transforms."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from support.batches import draw
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import ctckit
import ctckit.torch
from ctckit.kernels import native

BATCH = draw(1, 21, 4, 9, 5)
ARGUMENTS = tuple(torch.from_numpy(x) for x in BATCH.arguments[:3])

# Eager mode, and the operators of compiled code: the same behaviour by two implementations.
MODES: dict[str, Callable[..., Callable[..., Any]]] = {
    "eager": lambda function: function,
    "compiled": lambda function: torch.compile(function, fullgraph=True, backend="aot_eager"),
}
IN_ALL_MODES = pytest.mark.parametrize("mode", MODES)
FORMS = pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def scores(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(BATCH.scores).to(dtype)


def loss_of(x: Tensor, **options: Any) -> Tensor:
    return ctckit.torch.ctc_loss(x, *ARGUMENTS, **options)


def gradient_of(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


# Autocast. The rule: the loss takes scores of any dtype and casts nothing. Half precision is computed in float32; the
# loss is float32, and the gradient is rounded once to the scores' dtype. Autocast runs torch's own loss in float32.


@IN_ALL_MODES
@FORMS
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(half: torch.dtype, from_logits: bool, mode: str) -> None:
    """The half-precision output of a layer under autocast gives the same numbers as such scores outside of it."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 9)
    seen: dict[str, Tensor] = {}

    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=half):
            logits = layer(x)
            return logits, loss_of(logits, from_logits=from_logits)

    logits, loss = MODES[mode](step)(scores())
    logits.register_hook(lambda gradient: seen.update(gradient=gradient))
    loss.backward()
    assert (logits.dtype, loss.dtype, layer.weight.grad.dtype) == (half, torch.float32, torch.float32)
    plain = logits.detach().requires_grad_()
    expected = loss_of(plain, from_logits=from_logits)
    assert torch.equal(loss.detach(), expected.detach())
    (gradient,) = torch.autograd.grad(expected, plain)
    assert gradient.dtype == half
    if mode == "eager":  # a compiled graph keeps its gradients to itself
        assert torch.equal(seen["gradient"], gradient)
    weight = torch.einsum("tnc,tnh->ch", gradient.float(), scores().to(half).float())
    torch.testing.assert_close(layer.weight.grad, weight, rtol=2**-7, atol=2**-9)  # a sum in half precision


@IN_ALL_MODES
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_autocast_leaves_wide_scores_alone(dtype: torch.dtype, mode: str) -> None:
    def step(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss_of(x, from_logits=True)

    assert MODES[mode](step)(scores(dtype)).dtype == dtype
    assert torch.equal(MODES[mode](step)(scores(dtype)), loss_of(scores(dtype), from_logits=True))
    found = gradient_of(MODES[mode](step), scores(dtype))
    assert torch.equal(found, gradient_of(lambda x: loss_of(x, from_logits=True), scores(dtype)))


@FORMS
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_activation_checkpointing(from_logits: bool, reduction: str) -> None:
    """Inside a checkpoint, forward runs again in backward and gives the same bits."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(9, 9)
    calls = []

    def segment(x: Tensor) -> Tensor:
        calls.append(None)
        return loss_of(layer(x).tanh(), from_logits=from_logits, reduction=reduction).sum() * 0.3

    plain = gradient_of(segment, scores())
    found = gradient_of(lambda x: checkpoint(segment, x, use_reentrant=False), scores())
    assert torch.equal(found, plain)
    assert found.any()
    assert len(calls) == 3


def test_activation_checkpointing_compiled() -> None:
    def segment(x: Tensor) -> Tensor:
        return loss_of(x.tanh(), from_logits=True)

    def step(x: Tensor) -> Tensor:
        return checkpoint(segment, x, use_reentrant=False)

    found = gradient_of(MODES["compiled"](step), scores())
    torch.testing.assert_close(found, gradient_of(segment, scores()), rtol=2**-22, atol=0)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """torch refuses what it knows to be otherwise, and fills fresh memory with NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("deterministic")
@IN_ALL_MODES
@pytest.mark.parametrize("recycled", [native.RECYCLED, 1], ids=["", "recycled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_deterministic_mode(dtype: torch.dtype, recycled: int, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is accepted, and rightly: the same bits in every run, for any number of threads."""
    monkeypatch.setattr(native, "RECYCLED", recycled)
    step = MODES[mode](lambda x: loss_of(x, from_logits=True) * 3)
    gradients = []
    for threads in (1, 2, 4, 1):
        ctckit.set_num_threads(threads)
        gradients.append(gradient_of(step, scores(dtype)))
    assert gradients[0].isfinite().all()
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients[1:])


# torch.func: test_torch_portable.py has its transforms one by one. Here two of them, and what can't be mapped over:
# lengths make the lattices, and those of a batch are as they are.


def test_a_gradient_for_each_of_several_batches() -> None:
    several = torch.stack([scores(torch.float64) * factor for factor in (1.0, 0.5, -1.0)])

    def step(x: Tensor) -> Tensor:
        return loss_of(x, from_logits=True) * 3

    expected = torch.stack([gradient_of(step, x) for x in several])
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(step))(several), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("position", "name"), [(1, "input_lengths"), (2, "target_lengths")])
def test_vmap_over_lengths_is_refused(position: int, name: str) -> None:
    def step(mapped: Tensor) -> Tensor:
        arguments = [*ARGUMENTS[:position], mapped, *ARGUMENTS[position + 1 :]]
        return ctckit.torch.ctc_loss(scores(), *arguments)

    with pytest.raises(
        ctckit.CTCError, match=f"{name} is mapped over by torch.func.vmap: .* only scores may be mapped"
    ):
        torch.func.vmap(step)(torch.stack([ARGUMENTS[position], ARGUMENTS[position] - 1]))


@FORMS
@pytest.mark.parametrize("mapped_lengths", [False, True])
def test_a_gradient_for_each_sample(from_logits: bool, mapped_lengths: bool) -> None:
    """vmap over samples with their targets and equal lengths, which may be mapped over too; with equal neighbours."""
    targets = torch.tensor([[1, 1, 2, 2], [3, 3, 3, 1], [1, 2, 1, 2], [4, 1, 1, 4]])
    x = scores(torch.float64)[:9].transpose(0, 1).contiguous()  # (N, T, C)
    for frames, length in ((9, 4), (8, 3), (7, 0), (4, 4)):
        lengths = [torch.full((4,), size) for size in (frames, length)] if mapped_lengths else [frames, length]
        places = (0, 0, 0, 0) if mapped_lengths else (0, 0, None, None)

        def loss(x: Tensor, targets: Tensor, frames: Any, length: Any) -> Tensor:
            return ctckit.torch.ctc_loss(x, targets, frames, length, from_logits=from_logits, reduction="sum")

        found = torch.func.vmap(torch.func.grad(loss), in_dims=places)(x, targets, *lengths)
        losses = torch.func.vmap(loss, in_dims=places)(x, targets, *lengths)
        for n in range(4):
            torch.testing.assert_close(losses[n], loss(x[n], targets[n], frames, length), rtol=1e-12, atol=1e-12)
            one = partial(loss, targets=targets[n], frames=frames, length=length)
            expected = gradient_of(one, x[n])
            torch.testing.assert_close(found[n], expected, rtol=1e-10, atol=1e-12)


def test_a_gradient_for_each_of_several_batches_with_their_targets() -> None:
    x = torch.stack([scores(torch.float64), scores(torch.float64).flip(0)])
    targets = torch.stack([ARGUMENTS[0], ARGUMENTS[0].flip(1).roll(1, 0)])
    targets = torch.where((targets > 0) & (targets < 9), targets, 1)

    def loss(x: Tensor, targets: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x.transpose(0, 1), targets, *ARGUMENTS[1:], batch_first=True)

    found = torch.func.vmap(torch.func.grad(loss))(x, targets)
    for n in range(2):
        expected = gradient_of(partial(loss, targets=targets[n]), x[n])
        torch.testing.assert_close(found[n], expected, rtol=1e-10, atol=1e-12)
