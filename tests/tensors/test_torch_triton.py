"""The torch frontend on the GPU backend: the same results as on the CPU, without synchronisation.

Without a GPU, marked tensors on the CPU are taken for a GPU's (``support/devices.py``); the kernels then run in
Triton's interpreter. With one, the tensors are on it and nothing is replaced.
"""

import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import draw
from support.devices import needs_triton, on_gpu, take_for_gpus
from support.installed import has_gpu
from support.triton import Triton
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit.torch import dispatch, replace_torch_ctc

pytestmark = [
    needs_triton,
    # The interpreter computes with NumPy, which warns of NaN and infinity where a GPU does not.
    # On a GPU torch warns once that its synchronisation debug mode does not detect everything.
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Synchronization debug mode"),
]

BATCH = draw(1, 6, 3, 5, 2)
TARGETS, FRAMES, LENGTHS = (torch.from_numpy(x) for x in BATCH.arguments[:3])
BUILTIN = torch.ctc_loss
DTYPES = {
    "float64": 1e-13,
    "float32": 2e-6,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
}  # it truncates bfloat16


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the device count as a GPU's, and their values must not be read."""
    take_for_gpus(monkeypatch)


@pytest.fixture
def all_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for all tensors, without marks, which torch's graphs would show."""
    take_for_gpus(monkeypatch, Tensor)


of = on_gpu


def unmarked(tensor: Tensor) -> Tensor:
    return tensor.to(Triton.device())


def step(scores: Tensor, *given: Any, factor: float | list[float] = 1.0, **options: Any) -> tuple[Tensor, Tensor]:
    """A loss, and the gradient of its product with a factor from above."""
    x = scores.clone().requires_grad_()
    loss = ctckit.torch.ctc_loss(x, *given, **options)
    loss.backward(torch.as_tensor(factor, dtype=loss.dtype, device=loss.device).expand(loss.shape))
    assert x.grad is not None
    return loss.detach().cpu(), x.grad.cpu()


FLAT = torch.cat([row[:n] for row, n in zip(TARGETS, LENGTHS.tolist(), strict=True)])
FORMS: dict[str, tuple[tuple[Any, Any, Any], dict[str, Any]]] = {
    "mean": ((TARGETS, FRAMES, LENGTHS), {"from_logits": True}),
    "sum, times 3": ((TARGETS, FRAMES, LENGTHS), {"reduction": "sum", "factor": 3.0}),
    "each by a factor": ((TARGETS, FRAMES, LENGTHS), {"reduction": "none", "factor": [0.0, -2.0, 0.3]}),
    "infeasible": (
        (torch.tensor([[1, 1], [1, 2], [2, 2]]), torch.tensor([6, 6, 2]), torch.tensor([2, 2, 2])),
        {"reduction": "none", "factor": [1.0, 2.0, float("inf")]},
    ),
    "infeasible, a mean of zeros": (
        (torch.tensor([[1, 1], [1, 2], [2, 2]]), torch.tensor([6, 6, 2]), torch.tensor([2, 2, 2])),
        {"zero_infinity": True},
    ),
    "end to end": ((FLAT.int(), FRAMES, LENGTHS), {"from_logits": True}),
    "lengths on the CPU": ((TARGETS, FRAMES.tolist(), tuple(LENGTHS.tolist())), {"blank": 0}),
    "batch first": ((TARGETS, FRAMES, LENGTHS), {"batch_first": True, "reduction": "none", "factor": [1.0, 2.0, 3.0]}),
    "one sample": ((TARGETS[0], 6, 2), {"reduction": "none"}),
    "one sample, batch first": ((TARGETS[:1], FRAMES[:1], LENGTHS[:1]), {"batch_first": True}),
}


def scores_for(form: str, dtype: str) -> Tensor:
    scores = torch.from_numpy(BATCH.scores).to(getattr(torch, dtype))
    if "one sample" in form:
        return scores[:, 0]
    return scores.transpose(0, 1).contiguous() if "batch first" in form else scores


def assert_close(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor], dtype: str) -> None:
    for ours, native, unit in zip(found, expected, (min(DTYPES[dtype], 2e-6), DTYPES[dtype]), strict=True):
        assert (ours.dtype, ours.shape) == (native.dtype, native.shape)
        torch.testing.assert_close(ours, native, rtol=2 * unit, atol=unit)


@pytest.mark.parametrize(
    ("form", "dtype"), [*((form, "float32") for form in FORMS), *(("each by a factor", dtype) for dtype in DTYPES)]
)
def test_the_cpus_numbers(form: str, dtype: str, request: pytest.FixtureRequest) -> None:
    (targets, frames, lengths), options = FORMS[form]
    scores = scores_for(form, dtype)
    expected = step(scores, targets, frames, lengths, **options)
    request.getfixturevalue("on_a_gpu")
    found = step(of(scores), of(targets), of(frames), of(lengths), **options)
    assert_close(found, expected, dtype)
    if form == "infeasible":
        assert found[0][2] == torch.inf
        assert not found[1][:, 2].any()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_sure_network_below_a_log_softmax(dtype: str, scaled: bool, request: pytest.FixtureRequest) -> None:
    """Where softmax and γ are both near 1, -γ in half precision would leave the log_softmax nothing to train on."""
    rng = np.random.default_rng(0)
    best, target = np.repeat([0, 2, 0, 1, 0, 3], 3), torch.tensor([[2, 1, 3]])
    logits = rng.normal(size=(len(best), 1, 6))
    logits[np.arange(len(best)), 0, best] += 12
    x = torch.from_numpy(logits).to(getattr(torch, dtype))
    exact = x.double().requires_grad_()
    torch.nn.functional.ctc_loss(exact.log_softmax(-1), target, [len(best)], [3], reduction="sum").backward()
    request.getfixturevalue("on_a_gpu")
    x = of(x).requires_grad_()
    factor = 8.0 if scaled else 1.0
    loss = ctckit.torch.ctc_loss(x.log_softmax(-1), of(target), [len(best)], [3], reduction="sum") * factor
    loss.backward()
    assert x.grad is not None
    assert exact.grad is not None
    error = (x.grad.cpu().double() / factor - exact.grad).abs().max() / exact.grad.abs().max()
    # Half precision has rounded the log-probabilities.
    assert error <= {"float32": 2e-6, "bfloat16": 0.02, "float16": 0.01}[dtype]


@pytest.mark.usefixtures("on_a_gpu")
def test_without_a_gradient_and_twice_with_one() -> None:
    """A second backward gives the same gradient in new memory, even if targets and lengths have changed."""
    x, given = of(torch.from_numpy(BATCH.scores)).requires_grad_(), [of(v.clone()) for v in (TARGETS, FRAMES, LENGTHS)]
    with torch.no_grad():
        alone = ctckit.torch.ctc_loss(x, *given)
    loss = ctckit.torch.ctc_loss(x, *given)
    assert torch.equal(alone, loss)
    first, again = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    for integers in given:
        integers.fill_(1)
    (last,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, again)
    assert torch.equal(first, last)
    assert first.data_ptr() != again.data_ptr()


@pytest.mark.usefixtures("all_on_a_gpu")
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sum_of_more_losses_than_are_read_at_once(reduction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctckit.kernels.triton.tuning.TILE", 2)
    given = [unmarked(x) for x in (torch.from_numpy(BATCH.scores), TARGETS, FRAMES, LENGTHS)]
    each = ctckit.torch.ctc_loss(*given, reduction="none")
    weights = 1 / (3 * unmarked(LENGTHS).double()) if reduction == "mean" else torch.ones_like(each)
    summed = ctckit.torch.ctc_loss(*given, reduction=reduction)
    again = ctckit.torch.ctc_loss(*given, reduction=reduction)  # no count is left over from the first call
    torch.testing.assert_close(summed, (each * weights).sum(), rtol=1e-14, atol=0)
    assert torch.equal(again, summed)


@pytest.mark.usefixtures("all_on_a_gpu")
def test_a_loss_does_not_hold_itself() -> None:
    """Its graph leads to what the forward pass has left. If that led to the loss, it would never be freed."""
    x = unmarked(torch.from_numpy(BATCH.scores)).requires_grad_()
    loss = ctckit.torch.ctc_loss(x, unmarked(TARGETS), unmarked(FRAMES), unmarked(LENGTHS))
    seen = weakref.ref(loss)
    gc.disable()
    try:
        del loss
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("all_on_a_gpu")
def test_autograd_keeps_what_is_large_and_frees_it() -> None:
    """After backward the loss no longer holds occupancies; a third backward raises torch's usual error."""
    x = unmarked(torch.from_numpy(BATCH.scores)).requires_grad_()
    kept: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(tuple(x.shape)) or x, lambda x: x):
        loss = ctckit.torch.ctc_loss(x, unmarked(TARGETS), unmarked(FRAMES), unmarked(LENGTHS))
    assert (3 * 6 * (3 + 2 * 3) * 8,) in kept  # bytes: of each frame three statistics and the states
    loss.backward(retain_graph=True)
    loss.backward()
    assert loss.grad_fn.swept.kept is None
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


@pytest.mark.usefixtures("on_a_gpu")
def test_half_precision_is_scaled_before_it_is_rounded() -> None:
    scores = of(torch.from_numpy(BATCH.scores * 10).half())
    given = of(TARGETS), of(FRAMES), of(LENGTHS)
    _, small = step(scores, *given, from_logits=True, factor=2.0**-10)
    _, scaled = step(scores, *given, from_logits=True)
    assert ((small == 0) & (scaled != 0)).any()
    _, wide = step(scores.float(), *given, from_logits=True, factor=2.0**-10)
    assert torch.equal(small, wide.half())


def test_second_derivative(request: pytest.FixtureRequest) -> None:
    """By torch's operations, from the same lattices, including infeasible and empty targets."""
    scores = torch.from_numpy(draw(2, 4, 4, 4, 2).scores)
    given = torch.tensor([[1, 2], [1, 1], [3, 3], [0, 0]]), torch.tensor([4, 2, 4, 3]), torch.tensor([2, 2, 2, 0])

    def twice(scores: Tensor, *given: Tensor) -> tuple[Tensor, Tensor]:
        x = scores.clone().requires_grad_()
        loss = ctckit.torch.ctc_loss(x, *given, from_logits=True, zero_infinity=True)
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        gradient.square().sum().backward()
        assert x.grad is not None
        return gradient.detach().cpu(), x.grad.cpu()

    expected = twice(scores, *given)
    request.getfixturevalue("on_a_gpu")
    torch.testing.assert_close(twice(of(scores), *map(of, given)), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("wrong", ["targets", "input_lengths", "target_lengths"])
def test_what_is_wrong_is_nan_or_said(wrong: str) -> None:
    """A sample with a wrong number is NaN, its neighbours are unchanged; validate=True reports the fault."""
    scores = of(torch.from_numpy(BATCH.scores).float())
    given = {"targets": of(TARGETS), "input_lengths": of(FRAMES), "target_lengths": of(LENGTHS)}
    clean = step(scores, *given.values(), reduction="none")
    given[wrong] = given[wrong].clone()
    given[wrong][1] = 17
    given["target_lengths"] = given["target_lengths"].clamp(min=1)
    sound = step(scores, of(TARGETS), of(FRAMES), of(LENGTHS.clamp(min=1)), reduction="none")
    loss, gradient = step(scores, *given.values(), reduction="none")
    assert torch.isnan(loss).tolist() == [False, True, False]
    assert torch.isnan(gradient[:, 1]).all()
    assert torch.equal(loss[[0, 2]], sound[0][[0, 2]])
    assert torch.equal(gradient[:, [0, 2]], sound[1][:, [0, 2]])
    assert torch.isfinite(clean[0]).all()
    with pytest.raises(ctckit.CTCError, match=rf"{wrong}\[1"):
        ctckit.torch.ctc_loss(scores, *given.values(), validate=True)


@pytest.mark.parametrize("wrong", ["targets", "input_lengths", "target_lengths"])
def test_what_the_cpu_has_is_checked_always(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be read without waiting, whatever else is on the GPU."""
    given: dict[str, Any] = {"targets": of(TARGETS), "input_lengths": of(FRAMES), "target_lengths": of(LENGTHS)}
    given[wrong] = {"targets": TARGETS + 17, "input_lengths": [6, 17, 6], "target_lengths": [1, 17, 1]}[wrong]
    if wrong == "targets":  # how many of them count is known only if their lengths are
        given["target_lengths"] = LENGTHS.tolist()
    take_for_gpus(monkeypatch)
    with pytest.raises(ctckit.CTCError, match=rf"{wrong}\["):
        ctckit.torch.ctc_loss(of(torch.from_numpy(BATCH.scores)), *given.values())


@pytest.mark.usefixtures("on_a_gpu")
def test_malformed_calls_say_what_the_cpu_says() -> None:
    scores = of(torch.from_numpy(BATCH.scores))
    good = {"targets": of(TARGETS), "input_lengths": of(FRAMES), "target_lengths": of(LENGTHS)}
    for change, message in (
        ({"targets": of(TARGETS[:2])}, r"targets has shape \(2, 2\): expected \(3, S\)"),
        ({"input_lengths": of(FRAMES[:2])}, r"input_lengths has shape \(2,\): expected \(3,\)"),
        ({"target_lengths": of(LENGTHS.float())}, "target_lengths has dtype float32: expected integers"),
        ({"targets": of(TARGETS.bool())}, "targets has dtype bool: expected integers"),
        ({"blank": 9}, r"blank = 9 is not a class: log_probs has C=5 classes"),
        ({"reduction": "average"}, "reduction = 'average' is unknown"),
    ):
        with pytest.raises(ctckit.CTCError, match=message):
            ctckit.torch.ctc_loss(scores, **(good | change))


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("form", ["mean", "each by a factor", "batch first"])
def test_a_step_asks_the_device_nothing(form: str, unread: Callable[[Callable[[], Any]], None]) -> None:
    given, options = FORMS[form]
    options = {name: value for name, value in options.items() if name != "factor"}
    x, given = of(scores_for(form, "bfloat16")).requires_grad_(), tuple(map(of, given))
    above = of(torch.full((3,) if "reduction" in options else (), 2.0))
    unread(lambda: ctckit.torch.ctc_loss(x, *given, **options).backward(above))


@pytest.mark.usefixtures("all_on_a_gpu")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_compiled(dtype: str) -> None:
    """Operators give the same results; in half precision the upstream factor is applied before the rounding."""
    torch.compiler.reset()
    given = unmarked(TARGETS), unmarked(FRAMES), unmarked(LENGTHS)

    def loss(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x * 1.5, *given, reduction="none", from_logits=True).square().sum()

    both = []
    for function in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        x = unmarked(torch.from_numpy(BATCH.scores).to(getattr(torch, dtype))).requires_grad_()
        value = function(x)
        value.backward()
        both.append((value.detach().cpu(), x.grad.cpu()))
    assert_close(both[1], both[0], dtype)
    torch.compiler.reset()


@pytest.mark.gpu
def test_a_step_captured_in_a_graph() -> None:
    """Replayed, the public loss and its gradient have the bits of eager mode, for whatever scores are there then."""
    scores, given = torch.from_numpy(BATCH.scores).float().cuda(), [x.cuda() for x in (TARGETS, FRAMES, LENGTHS)]
    x, side = scores.clone().requires_grad_(), torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # compiles; torch asks for some steps before the capture
        for _ in range(3):
            ctckit.torch.ctc_loss(x, *given, from_logits=True).backward()
    torch.cuda.current_stream().wait_stream(side)
    x.grad, graph = None, torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = ctckit.torch.ctc_loss(x, *given, from_logits=True)
        loss.backward()
    for factor in (1.0, -2.0):
        with torch.no_grad():
            x.copy_(scores * factor)
        graph.replay()
        expected = step(scores * factor, *given, from_logits=True)
        assert torch.equal(loss.detach().cpu(), expected[0])
        assert torch.equal(x.grad.cpu(), expected[1])


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")  # the compiler's, of its own settings
def test_a_step_compiled_into_graphs() -> None:
    """Compiled with CUDA graphs, recorded, then replayed: the bits of eager mode, and no graph is left out."""
    from torch._dynamo.utils import counters
    from torch._inductor import config

    torch.compiler.reset()
    counters.clear()
    scores, given = torch.from_numpy(BATCH.scores).float().cuda(), [x.cuda() for x in (TARGETS, FRAMES, LENGTHS)]
    compiled = torch.compile(ctckit.torch.ctc_loss, mode="reduce-overhead", fullgraph=True)
    with config.patch({"compile_threads": 1}):
        for factor in (1.0, -2.0, 0.5, 3.0):
            torch.compiler.cudagraph_mark_step_begin()
            x = (scores * factor).requires_grad_()
            loss = compiled(x, *given, from_logits=True)
            loss.backward()
            expected = step(scores * factor, *given, from_logits=True)
            assert torch.equal(loss.detach().cpu(), expected[0])
            assert torch.equal(x.grad.cpu(), expected[1])
    assert not counters["inductor"]["cudagraph_skips"]
    torch.compiler.reset()


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 3)])
def test_no_frames_at_all(shape: tuple[int, ...]) -> None:
    x = of(torch.zeros(shape)).requires_grad_()
    targets = of(torch.zeros((*shape[1:-1], 0), dtype=torch.long))
    lengths = of(torch.zeros(2, dtype=torch.long)) if len(shape) == 3 else 0
    loss = ctckit.torch.ctc_loss(x, targets, lengths, lengths, reduction="sum")
    assert loss.item() == 0
    loss.backward()
    assert x.grad is not None
    assert x.grad.shape == shape


def test_where_scores_are_says_which_backend() -> None:
    assert dispatch.backend_of(torch.zeros(1)) == "native"
    assert dispatch.backend_of(torch.zeros(1, device="meta")) == "portable"
    assert dispatch.has_triton()
    if has_gpu():
        assert dispatch.backend_of(torch.zeros(1, device="cuda")) == "triton"


def test_numbers_are_those_of_numpy(on_a_gpu: None) -> None:
    """The public loss from end to end against the NumPy call."""
    loss, gradient = step(of(torch.from_numpy(BATCH.scores)), *map(of, (TARGETS, FRAMES, LENGTHS)), from_logits=True)
    expected = ctckit.ctc_loss_and_grad(BATCH.scores, *BATCH.arguments, from_logits=True)
    np.testing.assert_allclose(loss.numpy(), expected.loss, rtol=1e-13)
    np.testing.assert_allclose(gradient.numpy(), expected.grad, atol=1e-14)


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_in_the_place_of_torchs_loss(zero_infinity: bool) -> None:
    """NaN for an infeasible sample; blanks as tokens, with the derivative of torch's loss."""
    scores = torch.from_numpy(BATCH.scores)
    blanks = torch.tensor([[1, 0], [0, 2], [3, 3]])
    for targets, frames in ((TARGETS, torch.tensor([6, 1, 0])), (blanks, torch.tensor([6, 4, 2]))):
        lengths = torch.tensor([2, 2, 2])
        kind = "torch" if targets is blanks else "raise"
        with warnings.catch_warnings(), replace_torch_ctc(blank_in_targets=kind) as replaced:
            warnings.simplefilter("ignore")
            x = of(scores).clone().requires_grad_()
            given = [of(each) for each in (targets, frames, lengths)]
            losses = torch.nn.functional.ctc_loss(x.log_softmax(-1), *given, 0, "none", zero_infinity)
            losses.sum().backward()
        assert replaced.calls == 1
        y = scores.clone().requires_grad_()
        expected = BUILTIN(y.log_softmax(-1), targets, frames, lengths, 0, 0, zero_infinity)
        expected.sum().backward()
        torch.testing.assert_close(losses.cpu(), expected, rtol=1e-12, atol=1e-12)
        gradient = y.grad
        if targets is blanks:  # torch's CPU kernel loses a part in the last frame of the first sample
            assert (x.grad.cpu()[5, 0] - gradient[5, 0]).abs().max() > 1e-3
            gradient[5, 0] = x.grad.cpu()[5, 0]
        torch.testing.assert_close(x.grad.cpu(), gradient, rtol=1e-10, atol=1e-12, equal_nan=True)
