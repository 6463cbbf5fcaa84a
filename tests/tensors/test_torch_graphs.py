"""The loss where torch records, scripts or fakes what it computes: an operator, an error, and never a constant."""

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

import ctckit
import ctckit.torch
from ctckit.torch import CTCLoss, replace_torch_ctc

X = torch.randn(6, 2, 4, generator=torch.Generator().manual_seed(0))
GIVEN = torch.tensor([[1, 2, 3], [1, 1, 3]]), torch.tensor([6, 5]), torch.tensor([3, 3])
# torch's own warnings: of scripts as such, of lengths that a trace holds as constants, of the old exporter.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


class Holds(torch.nn.Module):
    """A model that holds a loss and does not call it."""

    def __init__(self, loss: torch.nn.Module) -> None:
        super().__init__()
        self.layer, self.loss = torch.nn.Linear(4, 4), loss

    def forward(self, x):  # a script takes no annotation that is put off
        return self.layer(x)


class Computes(Holds):
    """One that returns its loss."""

    def forward(self, x):
        return self.loss(self.layer(x).log_softmax(-1), *GIVEN)


class Wraps(Holds):
    """One that calls it by torch's name."""

    def forward(self, x):
        return F.ctc_loss(self.layer(x).log_softmax(-1), *GIVEN)


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("loss", [CTCLoss(from_logits=True), torch.nn.CTCLoss()], ids=["ours", "torch's"])
def test_a_script_leaves_out_the_loss_that_a_model_holds(loss: torch.nn.Module, replaced: bool) -> None:
    model, memory = Holds(loss), io.BytesIO()
    if replaced:
        with replace_torch_ctc():
            scripted = torch.jit.script(model)
            F.ctc_loss(X, *GIVEN)
    else:
        scripted = torch.jit.script(model)
    torch.jit.save(scripted, memory)
    memory.seek(0)
    assert torch.equal(torch.jit.load(memory)(X), model(X))


@pytest.mark.parametrize("kind", [Computes, Wraps])
def test_a_trace_holds_an_operator(kind: type[Holds]) -> None:
    """Other inputs give another loss, and the gradients of eager mode."""
    model = kind(CTCLoss())
    with replace_torch_ctc() as replaced:
        traced = torch.jit.trace(model, X)
        assert bool(replaced.calls) == (kind is Wraps)
        F.ctc_loss(X, *GIVEN)
    assert "ctckit::ctc_loss" in str(traced.inlined_graph)
    for x in (X, X * -2):
        loss = traced(x)
        assert torch.equal(loss, ctckit.torch.ctc_loss(model.layer(x).log_softmax(-1), *GIVEN))
        loss.backward()
        found, model.layer.weight.grad = model.layer.weight.grad, None
        ctckit.torch.ctc_loss(model.layer(x).log_softmax(-1), *GIVEN).backward()
        torch.testing.assert_close(found, model.layer.weight.grad)
        model.layer.weight.grad = None


def test_the_old_exporter_refuses() -> None:
    pytest.importorskip("torch.onnx", reason="a torch without exporters")
    with pytest.raises(Exception, match="ctckit::ctc_loss"):
        torch.onnx.export(Computes(CTCLoss()), (X,), io.BytesIO(), **old_exporter())


def old_exporter() -> dict[str, Any]:
    """What asks for the exporter that traces; older torches have no other by default, and no such argument."""
    import inspect

    return {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}


def test_fx_has_the_loss_as_a_call() -> None:
    def step(x: Tensor, targets: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, targets, frames, lengths, reduction="sum", from_logits=True)

    graph = torch.fx.symbolic_trace(step)
    assert torch.equal(graph(X, *GIVEN), step(X, *GIVEN))
    assert torch.equal(torch.fx.symbolic_trace(CTCLoss())(X, *GIVEN), CTCLoss()(X, *GIVEN))
    with replace_torch_ctc():
        graph = torch.fx.symbolic_trace(lambda x: F.ctc_loss(x, *GIVEN))
        assert torch.equal(graph(X), F.ctc_loss(X, *GIVEN))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(mode: str) -> None:
    graph = make_fx(lambda *given: ctckit.torch.ctc_loss(*given), tracing_mode=mode)(X, *GIVEN)
    assert "ctckit.ctc_loss" in graph.code
    assert torch.equal(graph(X * 2, *GIVEN), ctckit.torch.ctc_loss(X * 2, *GIVEN))


@pytest.mark.parametrize(("reduction", "shape"), [("none", (2,)), ("mean", ())])
def test_tensors_without_values(reduction: str, shape: tuple[int, ...]) -> None:
    """Fake and meta tensors have the loss's shape and dtype, and a gradient."""
    fake = FakeTensorMode()
    for made in (fake.from_tensor, lambda tensor: tensor.to("meta")):
        for dtype, real in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
            x = made(X.to(dtype)).requires_grad_()
            loss = ctckit.torch.ctc_loss(x, *(made(each) for each in GIVEN), reduction=reduction)
            assert (tuple(loss.shape), loss.dtype, loss.device.type) == (shape, real, x.device.type)
            loss.sum().backward()
            assert (x.grad.shape, x.grad.dtype) == (x.shape, dtype)
    with fake:
        loss = ctckit.torch.ctc_loss(torch.zeros(6, 2, 4), torch.ones(2, 3, dtype=torch.long), (6, 5), (3, 3))
    assert loss.shape == ()


def test_meta_tensors_where_values_are_needed() -> None:
    for position, name in enumerate(("targets", "input_lengths", "target_lengths")):
        given = [each.to("meta") if n == position else each for n, each in enumerate(GIVEN)]
        with pytest.raises(ctckit.CTCError, match=f"{name} is a meta tensor, whose values can't be read"):
            ctckit.torch.ctc_loss(X, *given)


class Kept(torch.Tensor):
    """A subclass that changes nothing."""


def test_subclasses_are_kept() -> None:
    x = X.clone().as_subclass(Kept).requires_grad_()
    loss = ctckit.torch.ctc_loss(x, *GIVEN, from_logits=True)
    loss.backward()
    assert type(loss) is Kept
    assert torch.equal(loss.as_subclass(Tensor), ctckit.torch.ctc_loss(X, *GIVEN, from_logits=True))
    with replace_torch_ctc():
        assert type(torch.nn.CTCLoss()(x, *GIVEN)) is Kept
    parameter = torch.nn.Parameter(X)
    assert type(ctckit.torch.ctc_loss(parameter, *GIVEN)) is Tensor


@pytest.fixture(params=["meta", "cuda"])
def default_device(request: pytest.FixtureRequest) -> Iterator[None]:
    torch.set_default_device(request.param)
    yield
    torch.set_default_device(None)


@pytest.mark.usefixtures("default_device")
def test_default_device() -> None:
    """All stays where the scores are: here on the CPU, though fresh tensors would go elsewhere."""
    x = X.clone().requires_grad_()
    lists = [each.tolist() for each in GIVEN]
    lattices = [ctckit.ctc_lattice(row) for row in lists[0]]
    with replace_torch_ctc():
        losses = [torch.nn.CTCLoss()(x.log_softmax(-1), *GIVEN)]
    losses += [
        ctckit.torch.ctc_loss(x, *GIVEN, from_logits=True),
        ctckit.torch.ctc_loss(x, *lists, from_logits=True, reduction="none").sum(),
        ctckit.torch.ctc_loss(x, *GIVEN, class_scores=X[0, 0].clone()),
        ctckit.torch.lattice_loss(x, lattices, GIVEN[1], from_logits=True),
    ]
    for loss in losses:
        assert loss.device.type == "cpu"
        loss.backward()
    (gradient,) = torch.autograd.grad(ctckit.torch.ctc_loss(x, *GIVEN, from_logits=True), x, create_graph=True)
    gradient.square().sum().backward()
    found = ctckit.torch.posteriors(X, *GIVEN)
    labels, scores = ctckit.torch.forced_align(X.transpose(0, 1), *GIVEN)
    spans = ctckit.torch.merge_tokens(labels[0], scores[0])
    ctckit.torch.CTCMonitor()(X, *GIVEN)
    mean = ctckit.torch.global_mean(X[0, :, 0].clone(), lists[2])
    tensors = (x.grad, found.states, found.status, labels, scores, ctckit.torch.last_status(), mean)
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert len(spans) == 3


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_forward_mode(reduction: str, from_logits: bool) -> None:
    """Also outside of torch.func, with scores that need a gradient or not, and dual numbers of half precision."""

    def loss(x: Tensor) -> Tensor:
        return ctckit.torch.ctc_loss(x, *GIVEN, reduction=reduction, from_logits=from_logits)

    x, tangent = X.double(), torch.randn(6, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, expected = torch.func.jvp(loss, (x,), (tangent,))
    for needs_gradient, mode in ((False, torch.enable_grad), (True, torch.enable_grad), (False, torch.no_grad)):
        with forward_ad.dual_level(), mode():
            dual = forward_ad.make_dual(x.clone().requires_grad_(needs_gradient), tangent)
            found = forward_ad.unpack_dual(loss(dual))
        torch.testing.assert_close(found.tangent, expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.primal, loss(x))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x.bfloat16(), tangent.bfloat16())
        found = forward_ad.unpack_dual(loss(dual))
    torch.testing.assert_close(found.tangent.double(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("real", [torch.float64, torch.float32])
def test_views_that_are_negated_or_conjugated(real: torch.dtype, batch_first: bool) -> None:
    z = torch.complex(X.to(real), X.flip(0).to(real))
    for view in (z.conj().imag, torch.imag(z.conj())[::2], z.conj().transpose(0, 1).imag.transpose(0, 1)):
        assert view.is_neg()
        turned = view.transpose(0, 1) if batch_first else view
        lengths = [each.clamp(max=len(view)) for each in GIVEN[1:]]
        results = []
        for x in (turned, turned.resolve_neg().clone()):
            x = x.detach().requires_grad_()
            loss = ctckit.torch.ctc_loss(x, GIVEN[0], *lengths, from_logits=True, batch_first=batch_first)
            loss.backward()
            gamma = ctckit.torch.posteriors(x.detach(), GIVEN[0], *lengths, batch_first=batch_first).classes
            results.append((loss.detach(), x.grad.resolve_neg(), gamma))
        for found, expected in zip(*results, strict=True):
            assert torch.equal(found, expected)


def odd_tensors() -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "sparse coo": X.to_sparse(),
            "sparse csr": X.transpose(0, 1).contiguous().to_sparse_csr(),
            "nested": torch.nested.nested_tensor([X[:, 0], X[:3, 1]]),
            "nested jagged": torch.nested.nested_tensor([X[:, 0], X[:3, 1]], layout=torch.jagged),
        }


@pytest.mark.parametrize("kind", odd_tensors())
def test_odd_tensors(kind: str) -> None:
    """One sentence that names the argument and what it is; never torch's inner ones."""
    odd, name = odd_tensors()[kind], kind.removesuffix(" jagged")
    calls: list[tuple[str, Callable[[], object]]] = [
        ("log_probs", lambda: ctckit.torch.ctc_loss(odd, *GIVEN)),
        ("logits", lambda: ctckit.torch.ctc_loss(odd, *GIVEN, from_logits=True)),
        ("targets", lambda: ctckit.torch.ctc_loss(X, odd, *GIVEN[1:])),
        ("input_lengths", lambda: ctckit.torch.ctc_loss(X, GIVEN[0], odd, GIVEN[2])),
        ("log_probs", lambda: ctckit.torch.posteriors(odd, *GIVEN)),
        ("log_probs", lambda: ctckit.torch.forced_align(odd, *GIVEN)),
        ("log_probs", lambda: ctckit.ctc_loss(odd, *GIVEN)),
        ("targets", lambda: ctckit.forced_align(X, odd)),
    ]
    for argument, call in calls:
        with pytest.raises(ctckit.CTCError, match=f"^{argument} is a {name} tensor, whose values can't be read"):
            call()


class NoArray:
    def __array__(self, *arguments: object, **options: object) -> np.ndarray:
        raise RuntimeError("no array here")


class NoShape:
    @property
    def shape(self) -> tuple[int, ...]:
        raise ZeroDivisionError("no shape here")


@pytest.mark.parametrize("odd", [NoArray(), NoShape()], ids=["__array__", "shape"])
def test_arrays_that_raise(odd: object) -> None:
    arrays = [each.numpy() for each in (X, *GIVEN)]
    for position, name in enumerate(("log_probs", "targets", "input_lengths", "target_lengths")):
        given = [odd if n == position else each for n, each in enumerate(arrays)]
        for call in (ctckit.ctc_loss, ctckit.ctc_loss_and_grad, ctckit.posteriors, ctckit.forced_align):
            with pytest.raises(ctckit.CTCError, match=rf"^{name} is a No\w+ that can't be read as an array: .* here"):
                call(*given)


def test_other_odd_arguments() -> None:
    before = ctckit.get_num_threads()
    with pytest.raises(ctckit.CTCError, match="target has dtype <U1: expected integers"):
        ctckit.ctc_lattice("a")
    for given in ([0, 1], np.array([0, 1])):
        with pytest.raises(ctckit.CTCError, match=f"tokens is a {type(given).__name__}: expected a torch.Tensor"):
            ctckit.torch.merge_tokens(given, torch.zeros(2))
    with pytest.raises(ctckit.CTCError, match=r"scores is a list: expected a torch\.Tensor"):
        ctckit.torch.merge_tokens(torch.zeros(2), [0.0, 0.0])
    ctckit.set_num_threads(2**70)
    assert np.isfinite(ctckit.ctc_loss(X.numpy(), *(each.numpy() for each in GIVEN)))
    ctckit.set_num_threads(before)
    masked = np.ma.masked_array(GIVEN[0].numpy(), np.zeros((2, 3)))  # nothing is masked
    arrays = X.numpy(), *(each.numpy() for each in GIVEN)
    assert ctckit.ctc_loss(arrays[0], masked, *arrays[2:]) == ctckit.ctc_loss(*arrays)


def test_forward_mode_of_a_lattice() -> None:
    x, tangent = X.double(), torch.randn(6, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    lattices = [ctckit.ctc_lattice([1, 2]), ctckit.ctc_lattice([3]).selfless()]
    _, expected = torch.func.jvp(lambda x: ctckit.torch.lattice_loss(x, lattices), (x,), (tangent,))
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(ctckit.torch.lattice_loss(forward_ad.make_dual(x, tangent), lattices))
        torch.testing.assert_close(found.tangent, expected, rtol=1e-10, atol=1e-12)
        scores = forward_ad.make_dual(torch.zeros(4).double(), torch.ones(4).double())
        with pytest.raises(NotImplementedError, match=r"by added scores: use torch\.func\.jvp"):
            ctckit.torch.lattice_loss(x, lattices, class_scores=scores)
