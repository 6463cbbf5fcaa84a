"""Compiled and exported: one operator in the graph, no break, and eager mode's bits."""

import io
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.batches import draw
from support.messages import BAD, GOOD, REDUCTIONS
from support.torch_messages import as_tensors, is_tensor_case, on_tensors
from torch import Tensor
from torch._inductor import config as inductor
from torch._subclasses.fake_tensor import FakeTensorMode

import ctckit
import ctckit.torch
from ctckit.torch.arguments import Options
from ctckit.torch.operators import compiled_ctc_loss

BATCH = draw(1, 21, 4, 9, 5)
TARGETS, FRAMES, LENGTHS = (torch.from_numpy(x) for x in BATCH.arguments[:3])

ALL_DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
DTYPES = pytest.mark.parametrize("dtype", ALL_DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
FORMS = pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
REDUCED = pytest.mark.parametrize("reduction", ["none", "sum", "mean"])

LAYOUTS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor, bool]]] = {
    "TNC": lambda x: (x, TARGETS, FRAMES, LENGTHS, False),
    "NTC": lambda x: (x.transpose(0, 1).contiguous(), TARGETS, FRAMES, LENGTHS, True),
    "TC": lambda x: (x[:, 0], TARGETS[0], FRAMES[:1], LENGTHS[:1], False),
    "TC, batch first": lambda x: (x[:, 0], TARGETS[0], FRAMES[0], LENGTHS[0], True),
}


@pytest.fixture(autouse=True)
def nothing_compiled():
    """Each test compiles for itself."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(function: Callable[..., Any], *, backend: str = "aot_eager", **options: Any) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, backend=backend, **options)


def scores(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(BATCH.scores).to(dtype)


def loss_and_gradient(function: Callable[..., Tensor], x: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    """The loss that a function returns, and its gradient at a leaf."""
    x = x.detach().clone().requires_grad_()
    loss = function(x, *arguments)
    loss.backward()
    return loss.detach(), x.grad


def assert_same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for ours, eager in zip(found, expected, strict=True):
        assert ours.dtype == eager.dtype
        assert torch.equal(ours, eager)
        assert eager.isfinite().all()


@pytest.mark.parametrize(
    ("layout", "reduction", "dtype", "from_logits"),
    [  # in make test half of them, in which each two values are together
        pytest.param(layout, reduction, dtype, from_logits, marks=() if (i + j + from_logits) % 2 else pytest.mark.long)
        for i, (layout, reduction) in enumerate(
            [("TNC", "sum"), ("TNC", "mean"), *((name, "none") for name in LAYOUTS)]
        )
        for j, dtype in enumerate(ALL_DTYPES)
        for from_logits in (False, True)
    ],
)
def test_bits_are_those_of_eager_mode(layout: str, reduction: str, dtype: torch.dtype, from_logits: bool) -> None:
    """With other operations before and after, and a factor from above that is not 1 and not a power of 2."""
    x, *arguments, batch_first = LAYOUTS[layout](scores(dtype))
    options = {"reduction": reduction, "from_logits": from_logits, "batch_first": batch_first}

    def step(x: Tensor) -> Tensor:
        losses = ctckit.torch.ctc_loss(x * 1.5, *arguments, **options)
        return (losses * torch.arange(3, 3 + losses.numel()).reshape(losses.shape)).sum()

    assert_same(loss_and_gradient(compiled(step), x), loss_and_gradient(step, x))


@DTYPES
def test_a_factor_of_one(dtype: torch.dtype) -> None:
    """The usual step: no factor between the loss and backward."""

    def step(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=True)

    assert_same(loss_and_gradient(compiled(step), scores(dtype)), loss_and_gradient(step, scores(dtype)))


def test_inductor_without_a_kernel_of_its_own() -> None:
    """The default backend. In half precision backward is an operator too, so that there is nothing to be generated."""

    def step(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=True)

    x = scores(torch.bfloat16)
    assert_same(loss_and_gradient(compiled(step, backend="inductor"), x), loss_and_gradient(step, x))


@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
def test_inductor() -> None:
    """inductor generates code for the upstream factors that the gradient is multiplied by."""

    def step(x: Tensor) -> Tensor:
        losses = ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, reduction="none", from_logits=True)
        return losses.square().sum()

    with inductor.patch({"compile_threads": 1, "cpp.simdlen": 1}):  # the quickest to build
        found = loss_and_gradient(compiled(step, backend="inductor"), scores())
    expected = loss_and_gradient(step, scores())
    torch.testing.assert_close(found, expected, rtol=2**-22, atol=0)


@REDUCED
def test_without_a_gradient(reduction: str) -> None:
    """Without a gradient another operator is called, with the same result."""

    def evaluate(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, reduction=reduction, from_logits=True)

    taken = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        taken.extend(node.target for node in graph.graph.nodes if "ctckit" in str(node.target))
        return graph.forward

    ours = torch.compile(evaluate, fullgraph=True, backend=backend)
    expected = evaluate(scores())
    assert torch.equal(ours(scores()), expected)
    with torch.no_grad():
        assert torch.equal(ours(scores().requires_grad_()), expected)
    assert {str(target) for target in taken} == {"ctckit.ctc_loss.default"}
    assert torch.equal(ours(scores().requires_grad_()).detach(), expected)
    assert str(taken[-1]) == "ctckit.ctc_loss_and_grad.default"


def test_the_backward_graph_needs_no_scores() -> None:
    """Between forward and backward only the gradient is kept, not the scores."""
    ours = compiled(lambda x: ctckit.torch.ctc_loss(x * 1.5, TARGETS, FRAMES, LENGTHS, from_logits=True))
    x = scores().requires_grad_()
    ours(x)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.nbytes) or x, lambda x: x):
        ours(x)
    assert x.nbytes <= sum(kept) < 1.5 * x.nbytes


def test_one_graph_for_all_shapes() -> None:
    """dynamic=True: other T, N, C and S, and the graph of the first call serves them."""
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    def step(x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, targets, frames, lengths, from_logits=True) * 2

    ours = torch.compile(step, fullgraph=True, backend=backend, dynamic=True)
    for seed, shape in enumerate([(21, 4, 9, 5), (33, 6, 12, 7), (12, 3, 5, 2)]):
        batch = draw(seed, *shape)
        x, *arguments = (torch.from_numpy(each) for each in (batch.scores, *batch.arguments[:3]))
        assert_same(loss_and_gradient(ours, x, *arguments), loss_and_gradient(step, x, *arguments))
    assert len(graphs) == 1


@pytest.mark.parametrize("batch_first", [False, True])
@REDUCED
def test_dynamic_shapes_through_autograd(reduction: str, batch_first: bool) -> None:
    def step(x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        options = {"reduction": reduction, "batch_first": batch_first, "from_logits": True}
        return ctckit.torch.ctc_loss(x * 2, targets, frames, lengths, **options).square().sum()

    ours = compiled(step, dynamic=True)
    for seed, shape in enumerate([(21, 4, 9, 5), (33, 6, 12, 7)]):
        batch = draw(seed, *shape)
        x, *arguments = (torch.from_numpy(each) for each in (batch.scores, *batch.arguments[:3]))
        x = x.transpose(0, 1).contiguous() if batch_first else x
        assert_same(loss_and_gradient(ours, x, *arguments), loss_and_gradient(step, x, *arguments))


@pytest.mark.parametrize("form", [list, tuple, torch.tensor], ids=["list", "tuple", "tensor"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_lengths_in_any_form(form: Callable[[list[int]], Any], dynamic: bool) -> None:
    def step(x: Tensor, frames: Any, lengths: Any) -> Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, frames, lengths, from_logits=True)

    ours = compiled(step, dynamic=dynamic)
    for frames in ([21, 20, 19, 18], [21, 12, 13, 21]):
        arguments = form(frames), form([5, 4, 3, 2])
        assert_same(loss_and_gradient(ours, scores(), *arguments), loss_and_gradient(step, scores(), *arguments))


def test_lengths_of_one_sample_as_numbers() -> None:
    def step(x: Tensor, frames: int, length: int) -> Tensor:
        return ctckit.torch.ctc_loss(x[:, 0], TARGETS[0], frames, length)

    assert_same(loss_and_gradient(compiled(step), scores(), 20, 4), loss_and_gradient(step, scores(), 20, 4))


def test_module_in_a_model() -> None:
    class Recogniser(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(9, 9, dtype=torch.float64)
            self.criterion = ctckit.torch.CTCLoss(from_logits=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.criterion(self.layer(x).relu(), TARGETS, FRAMES, LENGTHS)

    torch.manual_seed(0)
    model = Recogniser()
    gradients = []
    for each in (model, compiled(model)):
        model.zero_grad()
        each(scores(torch.float64)).backward()
        gradients.append(model.layer.weight.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-15)  # one matrix product by two orders of summation
    assert gradients[0].any()


@REDUCED
@FORMS
def test_infeasible_samples_have_gradient_zero_whatever_comes_from_above(reduction: str, from_logits: bool) -> None:
    """The upstream gradient of an infeasible sample may be infinite; 0 times infinity must not become NaN."""
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 2, 3], [1, 1, 1], [2, 3, 3]])

    def step(x: Tensor) -> Tensor:
        losses = ctckit.torch.ctc_loss(x, targets, (4, 4, 4), (3, 3, 3), reduction=reduction, from_logits=from_logits)
        return losses.square().sum()

    for dtype in (torch.float32, torch.bfloat16):
        loss, grad = loss_and_gradient(compiled(step), x.to(dtype))
        assert loss == torch.inf
        assert not grad[:, 1].any()
        if reduction == "none":
            assert torch.equal(grad, loss_and_gradient(step, x.to(dtype))[1])
            assert grad.isfinite().all()


def test_float16_is_scaled_before_it_is_rounded() -> None:
    """A loss scale is to save gradients that float16 would lose, compiled or not."""

    def step(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, from_logits=True) * 2.0**-10 * 2.0**16

    x = scores(torch.float16) * 10  # many gradients below the smallest float16
    found = loss_and_gradient(compiled(step), x)[1]
    assert torch.equal(found, loss_and_gradient(step, x)[1])
    unscaled = torch.ops.ctckit.ctc_loss_and_grad(x, TARGETS, FRAMES, LENGTHS, 0, "mean", False, True, False, False)[1]
    assert ((unscaled == 0) & (found != 0)).any()


class Exported(torch.nn.Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.criterion = ctckit.torch.CTCLoss(reduction=reduction, from_logits=True)

    def forward(self, x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        return self.criterion(x, targets, frames, lengths)


@REDUCED
@pytest.mark.parametrize("strict", [False, True])
def test_export(reduction: str, strict: bool) -> None:
    """Exported with free T, N and S, saved, loaded, and run on a batch of other sizes."""
    module = Exported(reduction)
    time, size, longest = (torch.export.Dim(name, min=2, max=1000) for name in ("time", "size", "longest"))
    shapes = {0: time, 1: size}, {0: size, 1: longest}, {0: size}, {0: size}
    program = torch.export.export(module, (scores(), TARGETS, FRAMES, LENGTHS), dynamic_shapes=shapes, strict=strict)
    assert "ctckit.ctc_loss.default" in str(program.graph)
    saved = io.BytesIO()
    torch.export.save(program, saved)
    saved.seek(0)
    loaded = torch.export.load(saved).module()
    batch = draw(3, 33, 6, 9, 7)
    arguments = [torch.from_numpy(x) for x in (batch.scores, *batch.arguments[:3])]
    arguments[0] = arguments[0].float()
    assert torch.equal(loaded(*arguments), module(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "reduction"), [("TNC", "none"), ("NTC", "none"), ("TNC", "mean"), ("TC", "none")])
@DTYPES
def test_opcheck(dtype: torch.dtype, layout: str, reduction: str) -> None:
    """torch's own opcheck: schema, autograd, fake kernel, traced with symbolic shapes."""
    x, *arguments, batch_first = LAYOUTS[layout](scores(dtype))
    options = 0, reduction, False, True, batch_first, False
    torch.library.opcheck(torch.ops.ctckit.ctc_loss, (x, *arguments, *options))
    leaf = x.detach().clone().requires_grad_()
    torch.library.opcheck(torch.ops.ctckit.ctc_loss_and_grad, (leaf, *arguments, *options))
    loss, grad, score = torch.ops.ctckit.ctc_loss_and_grad(x, *arguments, *options)
    torch.library.opcheck(torch.ops.ctckit.ctc_loss_backward, (loss * 3, grad, score, x, *arguments, *options))


def test_loss_grad_and_score() -> None:
    """The operator returns the same numbers as the NumPy call."""
    x = scores(torch.float64)
    loss, grad, score = torch.ops.ctckit.ctc_loss_and_grad(
        x.transpose(0, 1), TARGETS, FRAMES, LENGTHS, 0, "mean", False, True, True, False
    )
    expected = ctckit.ctc_loss_and_grad(x.numpy(), *BATCH.arguments, from_logits=True)
    each = ctckit.ctc_loss(x.numpy(), *BATCH.arguments, reduction="none", from_logits=True)
    assert loss.item() == expected.loss
    assert torch.equal(grad.transpose(0, 1), torch.from_numpy(expected.grad))
    assert grad.is_contiguous()
    assert torch.equal(score, torch.from_numpy(-each))


def test_only_the_loss_is_differentiable() -> None:
    """The gradient that the operator returns cannot be differentiated by accident."""
    x = scores().requires_grad_()
    outputs = torch.ops.ctckit.ctc_loss_and_grad(x, TARGETS, FRAMES, LENGTHS, 0, "mean", False, True, False, False)
    assert [output.requires_grad for output in outputs] == [True, False, False]


@DTYPES
@pytest.mark.parametrize("batch_first", [False, True])
def test_fake_outputs_are_laid_out_as_the_real_ones(batch_first: bool, dtype: torch.dtype) -> None:
    """Of scores of other strides, for which opcheck doesn't compare them."""
    x = scores(dtype).permute(1, 2, 0).contiguous().permute((0, 2, 1) if batch_first else (2, 0, 1))
    arguments = x, TARGETS, FRAMES, LENGTHS, 0, "none", False, True, batch_first, False
    real = torch.ops.ctckit.ctc_loss_and_grad(*arguments)
    with FakeTensorMode() as mode:
        tensors = [mode.from_tensor(each) for each in arguments[:4]]
        fake = torch.ops.ctckit.ctc_loss_and_grad(*tensors, *arguments[4:])
    for ours, expected in zip(fake, real, strict=True):
        assert (ours.shape, ours.stride(), ours.dtype) == (expected.shape, expected.stride(), expected.dtype)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # of torch, to itself
@REDUCED
def test_compiled_autograd(reduction: str, caplog: pytest.LogCaptureFixture) -> None:
    """It leaves out the backward of an eager loss, and logs no warning about it."""

    def step(x: Tensor) -> Tensor:
        loss = ctckit.torch.ctc_loss(3 * x, TARGETS, FRAMES, LENGTHS, reduction=reduction, from_logits=True)
        loss.sum().backward()
        return loss.detach()

    eager, under = (scores().requires_grad_() for _ in range(2))
    expected = step(eager)
    logger = logging.getLogger("torch._dynamo")  # its records do not reach the root logger
    logger.addHandler(caplog.handler)
    try:
        with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
            loss = step(under)
    finally:
        logger.removeHandler(caplog.handler)
    assert torch.equal(loss, expected)
    assert torch.equal(under.grad, eager.grad)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_a_second_derivative_is_refused(half: bool) -> None:
    """Not 0, which it would be if the gradient were taken for a constant."""
    x = scores(torch.bfloat16 if half else torch.float32).requires_grad_()
    loss = compiled_ctc_loss(x, TARGETS, FRAMES, LENGTHS, Options(0, "mean", False, True, False))
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once, not twice.*call ctckit\.torch\.ctc_loss outside of torch\.compile"):
        (gradient.square().sum() + x.sum()).backward()


def test_a_second_derivative_of_compiled_code_is_refused_by_torch() -> None:
    x = scores().requires_grad_()
    loss = compiled(lambda x: ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS))(x)
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"does not currently support double backward|does not require grad"):
        gradient.square().sum().backward()


def gets_into_the_graph(name: str) -> bool:
    """All cases except wrong Python types, which torch itself refuses to trace."""
    change = as_tensors(BAD[name][0])
    return (
        is_tensor_case(name)
        and not name.endswith("without end")
        and all(
            isinstance(value, Tensor) or (key == "blank" and type(value) is int) or key == "from_logits"
            for key, value in change.items()
        )
    )


@pytest.mark.parametrize("case", [name for name in BAD if gets_into_the_graph(name)])
def test_errors_come_out_of_the_graph_as_they_are(case: str) -> None:
    arguments, parts = on_tensors(case)
    with pytest.raises(ctckit.CTCError) as caught:
        compiled(ctckit.torch.ctc_loss)(**arguments)
    message = str(caught.value)
    assert message.startswith(parts[0])
    assert all(part in message for part in parts[1:])


@pytest.mark.parametrize("reduction", ["average", "Mean", ""])
def test_an_unknown_reduction(reduction: str) -> None:
    with pytest.raises(ctckit.CTCError, match=REDUCTIONS[repr(reduction)][1][0]):
        compiled(ctckit.torch.ctc_loss)(**as_tensors(GOOD), reduction=reduction)


def test_an_error_with_a_gradient_and_a_good_call_after_it() -> None:
    """The graph that raised is still good for the next batch."""
    ours = compiled(lambda x, targets: ctckit.torch.ctc_loss(x * 2, targets, FRAMES, LENGTHS))
    with pytest.raises(ctckit.CTCError, match=r"targets\[0, 0\] = 99 is not a class"):
        ours(scores().requires_grad_(), torch.full_like(TARGETS, 99))
    assert torch.isfinite(ours(scores().requires_grad_(), TARGETS))


def test_scores_elsewhere() -> None:
    """Calls the check itself: meta tensors, the only other device available everywhere, run the fake kernel."""
    x = torch.zeros(6, 3, 5, device="meta")
    with pytest.raises(ctckit.CTCError, match=r"logits is on meta: expected the CPU inside of torch\.compile"):
        ctckit.torch.operators._checked(x, TARGETS, FRAMES, LENGTHS, 0, "mean", False, True, False, False)


def test_the_compiler_is_not_imported_before_it_is_used() -> None:
    """It takes as long to import as the rest of torch."""
    program = (
        "import sys, torch, ctckit, ctckit.torch\n"
        "scores = torch.zeros(3, 1, 3, requires_grad=True)\n"
        "ctckit.torch.lattice_loss(scores, ctckit.ctc_lattice([1, 2]), from_logits=True).backward()\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
