"""`ctckit.torch.lattice_loss`: NumPy's numbers, and gradients by all that it depends on, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.devices import needs_triton, pretend
from support.lattices import CLASSES, KINDS
from support.triton import Triton
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import ctckit
import ctckit.torch
from ctckit import CTCError, Lattice, ctc_lattice
from ctckit.torch import lattice_loss

# The interpreter computes with NumPy, which warns of NaN and infinity where a GPU does not.
# On a GPU torch warns once that its synchronisation debug mode does not detect everything.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Synchronization debug mode")

FRAMES = 5
NAMES = ("class_scores", "state_scores", "entry_costs", "long_arc_scores")
# Central differences of 1e-6 of a loss near 50: 50 * 2^-53 / 1e-6 is 6e-9, and their own error of the third order less.
PRECISION = {"eps": 1e-6, "atol": 5e-8, "rtol": 0.0}
DEVICE = Triton.device()


@pytest.fixture(params=["native", "portable"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    pretend(monkeypatch, request.param, Tensor)
    return request.param


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "triton", Tensor)


class Given:
    """A call with everything that it may hold, as tensors."""

    def __init__(self, lattices: list[Lattice], seed: int = 0, dtype: torch.dtype = torch.float64) -> None:
        rng = np.random.default_rng(seed)
        size, most = len(lattices), max(lattice.num_states for lattice in lattices)
        arcs = sum(len(lattice.long_arcs) for lattice in lattices)
        shapes = dict(zip(NAMES, (CLASSES, (size, most), (size, most), arcs), strict=True))
        self.lattices = lattices
        self.scores = torch.from_numpy(rng.normal(size=(FRAMES, size, CLASSES)) * 2).to(dtype)
        self.frames = torch.from_numpy(np.r_[FRAMES, rng.integers(FRAMES - 1, FRAMES + 1, size - 1)])
        self.added = {name: torch.from_numpy(rng.normal(size=shape)) for name, shape in shapes.items()}

    def on_arrays(self, reduction: str, **options: Any) -> ctckit.results.LatticeLossAndGrad:
        """What NumPy's call says of lattices that hold these costs and scores themselves."""
        arrays = {name: tensor.numpy() for name, tensor in self.added.items()}
        far, lattices = np.cumsum([0, *(len(lattice.long_arcs) for lattice in self.lattices)]), []
        for n, old in enumerate(self.lattices):
            scores = arrays["long_arc_scores"][far[n] : far[n + 1]]
            costs = arrays["entry_costs"][n, : old.num_states]
            lattices.append(Lattice(old.labels, old.arcs, old.tokens, costs, old.long_arcs, scores))
        added = {name: arrays[name] for name in NAMES[:2]}
        scores = self.scores.numpy() if self.scores.dtype != torch.bfloat16 else self.scores.float().numpy()
        return ctckit.lattice_loss_and_grad(scores, lattices, self.frames.numpy(), reduction, **added, **options)

    def step(self, *, factor: Any = 1.0, device: str = "cpu", **options: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and the gradients of its product with a factor from above, on the CPU."""
        leaves = {
            name: tensor.detach().to(device).clone().requires_grad_()
            for name, tensor in {"scores": self.scores, **self.added}.items()
        }
        scores, *added = leaves.values()
        if options.get("batch_first"):
            scores = scores.transpose(0, 1)
        given = dict(zip(NAMES, added, strict=True))
        loss = lattice_loss(scores, self.lattices, self.frames.to(device), **given, **options)
        loss.backward(torch.as_tensor(factor, dtype=loss.dtype, device=device).expand(loss.shape))
        return loss.detach().cpu(), {name: leaf.grad.cpu() for name, leaf in leaves.items() if leaf.grad is not None}


def some_lattices() -> list[Lattice]:
    return [KINDS["scored long arcs"](), KINDS["selfless"](), KINDS["optional and costs"]()]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_numpy(kind: str, from_logits: bool, reduction: str, backend: str) -> None:
    given = Given([KINDS[kind](), KINDS["ctc"](), KINDS["scored long arcs"]()])
    expected = given.on_arrays(reduction, from_logits=from_logits)
    factor = torch.tensor([1.0, -2.0, 0.5]) if reduction == "none" else torch.tensor(-2.0)
    loss, found = given.step(reduction=reduction, from_logits=from_logits, factor=factor)
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-12)
    by_sample = factor.numpy() if factor.ndim else np.full(3, -2.0)
    np.testing.assert_allclose(found["scores"], expected.grad * by_sample[:, None], atol=1e-12)
    for name in NAMES[1:3]:
        np.testing.assert_allclose(found[name], getattr(expected, name) * by_sample[:, None], atol=1e-12)
    of_arcs = np.repeat(by_sample, [len(lattice.long_arcs) for lattice in given.lattices])
    np.testing.assert_allclose(found["long_arc_scores"], expected.long_arc_scores * of_arcs, atol=1e-12)
    if reduction != "none":  # which NumPy sums over samples without factors
        np.testing.assert_allclose(found["class_scores"], expected.class_scores * -2.0, atol=1e-12)


def test_class_scores_are_summed_over_samples_with_their_factors(backend: str) -> None:
    given, factor = Given(some_lattices()), [1.0, -2.0, 0.5]
    _, found = given.step(reduction="none", factor=factor)
    _, parts = zip(*(given.step(reduction="none", factor=row) for row in np.diag(factor).tolist()), strict=True)
    total = torch.stack([part["class_scores"] for part in parts]).sum(dim=0)
    torch.testing.assert_close(found["class_scores"], total, rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("reduction", ["none", "mean"])
def test_gradcheck(reduction: str, from_logits: bool, twice: bool, backend: str) -> None:
    """By all five at once, and by each alone; second derivatives along random directions."""
    given = Given(some_lattices())

    def loss(scores: Tensor, *added: Tensor) -> Tensor:
        options = dict(zip(NAMES, added, strict=True))
        return lattice_loss(scores, given.lattices, given.frames, reduction, from_logits=from_logits, **options)

    tensors = [given.scores, *given.added.values()]
    check = gradgradcheck if twice else gradcheck
    alone_too = [] if twice or reduction == "mean" else list(range(5))
    for alone in (None, *alone_too):
        leaves = [tensor.clone().requires_grad_(alone in (None, i)) for i, tensor in enumerate(tensors)]
        assert check(loss, leaves, **PRECISION, fast_mode=twice)


def test_scores_need_no_gradient() -> None:
    """A cost can be learned from fixed scores, with second derivatives too."""
    given = Given(some_lattices())
    costs = given.added["entry_costs"].clone().requires_grad_()
    loss = lattice_loss(given.scores, given.lattices, given.frames, entry_costs=costs)
    (first,) = torch.autograd.grad(loss, costs, create_graph=True)
    (plain,) = torch.autograd.grad(lattice_loss(given.scores, given.lattices, given.frames, entry_costs=costs), costs)
    torch.testing.assert_close(first.detach(), plain, rtol=0, atol=1e-12)
    (second,) = torch.autograd.grad(first.square().sum(), costs)
    assert second.abs().max() > 1e-3


@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
def test_batch_first(from_logits: bool, backend: str) -> None:
    given = Given(some_lattices())
    expected = given.step(reduction="none", factor=[1.0, 2.0, -3.0], from_logits=from_logits)
    found = given.step(reduction="none", factor=[1.0, 2.0, -3.0], from_logits=from_logits, batch_first=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("where", ["native", "portable", pytest.param("triton", marks=needs_triton)])
@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sample(where: str, batch_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores (T, C), and all that is per state in one dimension, its gradients too."""
    kind = "star with entry cost" if where == "triton" else "scored long arcs"
    given = Given([KINDS[kind]()])
    loss, expected = given.step(reduction="none")
    given.scores = given.scores[:, 0]
    given.added |= {name: given.added[name][0] for name in NAMES[1:3]}
    pretend(monkeypatch, where, Tensor)
    device = DEVICE if where == "triton" else "cpu"
    leaves = {
        name: tensor.to(device).clone().requires_grad_()
        for name, tensor in {"scores": given.scores, **given.added}.items()
    }
    scores, *added = leaves.values()
    options = {"reduction": "none", "batch_first": batch_first, **dict(zip(NAMES, added, strict=True))}
    alone = lattice_loss(scores, given.lattices[0], **options)
    alone.backward()
    assert alone.shape == ()
    torch.testing.assert_close(alone.detach().cpu(), loss[0], rtol=1e-12, atol=0)
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad.cpu(), expected[name].reshape(leaf.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_precision(dtype: torch.dtype, backend: str) -> None:
    """Computed in float32 and rounded once, after the factor from above."""
    given = Given(some_lattices(), dtype=dtype)
    loss, found = given.step(reduction="none", factor=[1.0, 2.0, -3.0], from_logits=True)
    given.scores = given.scores.double()
    exact_loss, exact = given.step(reduction="none", factor=[1.0, 2.0, -3.0], from_logits=True)
    assert loss.dtype == torch.float32
    assert found["scores"].dtype == dtype
    torch.testing.assert_close(loss.double(), exact_loss, rtol=2e-6, atol=2e-6)
    unit = torch.finfo(dtype).eps
    torch.testing.assert_close(found["scores"].double(), exact["scores"], rtol=unit, atol=3e-6)
    for name in NAMES:
        assert found[name].dtype == torch.float64
        torch.testing.assert_close(found[name], exact[name], rtol=3e-6, atol=3e-6)


def test_gradients_have_the_dtype_of_what_they_are_by(backend: str) -> None:
    given = Given(some_lattices())
    given.added = {name: tensor.float() for name, tensor in given.added.items()}
    _, found = given.step()
    assert found["scores"].dtype == torch.float64
    assert {found[name].dtype for name in NAMES} == {torch.float32}


@pytest.mark.parametrize("where", ["native", pytest.param("triton", marks=needs_triton)])
def test_backward_twice_and_no_grad(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Given([KINDS["star with entry cost"](), KINDS["selfless"]()])
    pretend(monkeypatch, where, Tensor)
    device = DEVICE if where == "triton" else "cpu"
    leaves = [tensor.to(device).clone().requires_grad_() for tensor in (given.scores, *given.added.values())]

    def loss() -> Tensor:
        options = dict(zip(NAMES, leaves[1:], strict=True))
        return lattice_loss(leaves[0], given.lattices, from_logits=True, **options)

    with torch.no_grad():
        alone = loss()
    value = loss()
    assert not alone.requires_grad
    assert torch.equal(alone, value)
    first = torch.autograd.grad(value, leaves, retain_graph=True)
    again = torch.autograd.grad(value, leaves, torch.full_like(value, 2.0))
    for one, two in zip(first, again, strict=True):
        assert one.data_ptr() != two.data_ptr() or not one.numel()
        torch.testing.assert_close(2 * one, two, rtol=1e-14, atol=0)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(value, leaves)


@pytest.mark.parametrize("changed", ["scores", *NAMES])
def test_what_was_changed_in_between_is_not_differentiated(changed: str) -> None:
    given = Given(some_lattices())
    leaves = {name: x.clone().requires_grad_() for name, x in {"scores": given.scores, **given.added}.items()}
    loss = lattice_loss(lattices=given.lattices, input_lengths=given.frames, **leaves)
    leaves[changed].detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("where", ["native", "portable", pytest.param("triton", marks=needs_triton)])
def test_infeasible_samples_have_no_gradient(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ``grad_output`` is, and whatever their frames hold."""
    given = Given([ctc_lattice([1, 1, 1, 1]), KINDS["selfless"]()])
    given.scores[:, 0] = torch.nan
    given.frames[:] = FRAMES
    pretend(monkeypatch, where, Tensor)
    device = DEVICE if where == "triton" else "cpu"
    loss, found = given.step(reduction="none", factor=[torch.inf, 1.0], device=device)
    assert loss[0] == torch.inf
    assert not found["scores"][:, 0].any()
    assert not found["state_scores"][0].any()
    assert not found["entry_costs"][0].any()
    assert found["class_scores"].isfinite().all()
    assert found["entry_costs"][1].any()
    zero, _ = given.step(zero_infinity=True, device=device)
    assert zero == pytest.approx(loss[1].item() / 6)


@pytest.mark.parametrize("where", ["native", "portable", pytest.param("triton", marks=needs_triton)])
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
def test_what_is_forbidden(from_logits: bool, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes, states and arcs with a score of -inf, entries with a cost of inf: they have no part in any gradient."""
    arcs = [] if where == "triton" else [KINDS["scored long arcs"]()]
    given = Given([KINDS["ctc"](), KINDS["selfless"](), ctc_lattice([4]), *arcs])
    given.added["class_scores"][4] = -torch.inf
    given.added["state_scores"][0, 4] = -torch.inf
    given.added["entry_costs"][1, 0] = torch.inf
    given.added["long_arc_scores"][:1] = -torch.inf
    expected = given.on_arrays("none", from_logits=from_logits)
    assert expected.loss[2] == np.inf
    pretend(monkeypatch, where, Tensor)
    device = DEVICE if where == "triton" else "cpu"
    loss, found = given.step(reduction="none", from_logits=from_logits, device=device)
    np.testing.assert_allclose(loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(found["scores"], expected.grad, atol=1e-12)
    for name in NAMES:
        np.testing.assert_allclose(found[name], getattr(expected, name), atol=1e-12, err_msg=name)
    assert found["class_scores"][4] == 0
    assert found["state_scores"][0, 4] == 0
    assert found["entry_costs"][1, 0] == 0


def test_a_cost_is_learned() -> None:
    """A few steps of gradient descent on the cost of leaving a word out lower the loss."""
    lattice = ctc_lattice([1, 2, 3]).with_optional([0, 1, 0])
    scores = torch.randn(9, CLASSES, generator=torch.Generator().manual_seed(0))
    costs = torch.zeros(lattice.num_states, requires_grad=True)
    arcs = torch.zeros(len(lattice.long_arcs), requires_grad=True)
    optimizer, losses = torch.optim.SGD([costs, arcs], lr=0.3), []
    for _ in range(5):
        optimizer.zero_grad()
        loss = lattice_loss(scores, lattice, from_logits=True, entry_costs=costs, long_arc_scores=arcs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which torch asks for itself at the break
def test_inside_of_compiled_code_the_graph_breaks() -> None:
    given = Given(some_lattices())

    def loss(scores: Tensor, costs: Tensor) -> Tensor:
        options = {"entry_costs": costs * 2, "from_logits": True}
        return lattice_loss(scores * 1.5, given.lattices, given.frames, **options) * 3

    both = []
    torch.compiler.reset()
    for function in (loss, torch.compile(loss, backend="aot_eager")):
        leaves = [x.clone().requires_grad_() for x in (given.scores, given.added["entry_costs"])]
        value = function(*leaves)
        both.append((value.detach(), *torch.autograd.grad(value, leaves)))
    torch.testing.assert_close(both[1], both[0], rtol=0, atol=1e-12)
    explained = torch._dynamo.explain(loss)(given.scores, given.added["entry_costs"])
    assert explained.graph_break_count >= 1
    torch.compiler.reset()


@needs_triton
@pytest.mark.parametrize("kind", ["no blank", "selfless", "star with entry cost"])
def test_a_gpu_gives_the_cpus_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = Given([KINDS[kind](), KINDS["ctc"]()])
    options = {"reduction": "none", "factor": [-2.0, 0.5], "from_logits": True}
    loss, expected = given.step(**options)
    pretend(monkeypatch, "triton", Tensor)
    again, found = given.step(device=DEVICE, **options)
    torch.testing.assert_close(again, loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    mean, _ = given.step(device=DEVICE, batch_first=True)
    np.testing.assert_allclose(mean, given.on_arrays("mean").loss, rtol=1e-12)


@needs_triton
@pytest.mark.usefixtures("on_a_gpu")
def test_the_lattices_own_costs_on_a_gpu() -> None:
    lattice, scores = KINDS["star with entry cost"](), Given([KINDS["selfless"]()]).scores
    expected = ctckit.lattice_loss(scores.numpy(), lattice)
    np.testing.assert_allclose(lattice_loss(scores.to(DEVICE), lattice).cpu(), expected, rtol=1e-12)


@needs_triton
@pytest.mark.usefixtures("on_a_gpu")
def test_a_gpu_refuses_long_arcs() -> None:
    lattice = KINDS["optional words"]()
    scores = torch.zeros(FRAMES, 1, CLASSES, device=DEVICE, requires_grad=True)
    with pytest.raises(CTCError, match="the triton backend cannot take long arcs yet: pass the scores on the CPU"):
        lattice_loss(scores, lattice)
    with pytest.raises(CTCError, match="the triton backend cannot take long arcs yet"):
        ctckit.torch.posteriors(scores, lattices=lattice)


@needs_triton
@pytest.mark.usefixtures("on_a_gpu")
def test_lengths_on_a_gpu_are_not_read(unread: Callable[[Callable[[], Any]], None]) -> None:
    given = Given([KINDS["no blank"](), KINDS["selfless"]()], dtype=torch.bfloat16)
    leaves = [tensor.to(DEVICE).requires_grad_() for tensor in (given.scores, *given.added.values())]
    lengths, above = given.frames.to(DEVICE), torch.full((2,), 2.0, device=DEVICE)

    def work() -> None:
        options = dict(zip(NAMES, leaves[1:], strict=True))
        lattice_loss(leaves[0], given.lattices, lengths, "none", **options).backward(above)

    unread(work)


@needs_triton
@pytest.mark.usefixtures("on_a_gpu")
def test_a_wrong_length_on_a_gpu_is_nan_or_said() -> None:
    given = Given([KINDS["selfless"](), KINDS["no blank"]()])
    scores, lengths = given.scores.to(DEVICE), torch.tensor([FRAMES, FRAMES + 1], device=DEVICE)
    loss = lattice_loss(scores, given.lattices, lengths, "none")
    assert loss.isnan().tolist() == [False, True]
    assert ctckit.torch.last_status().tolist() == [ctckit.Status.OK, ctckit.Status.INVALID]
    with pytest.raises(CTCError, match=r"input_lengths\[1\] = 6 is out of range"):
        lattice_loss(scores, given.lattices, lengths, validate=True)
    with pytest.raises(CTCError, match=r"input_lengths\[1\] = 6 is out of range"):
        lattice_loss(scores, given.lattices, [FRAMES, FRAMES + 1])


def test_what_torch_func_maps_or_differentiates() -> None:
    """Costs and scores of classes may be transformed where the scores are not."""
    given = Given(some_lattices())

    def loss(classes: Tensor, costs: Tensor) -> Tensor:
        options = {"class_scores": classes, "entry_costs": costs, "from_logits": True}
        return lattice_loss(given.scores, given.lattices, given.frames, **options)

    leaves = [given.added[name].clone().requires_grad_() for name in ("class_scores", "entry_costs")]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    plain = [leaf.detach() for leaf in leaves]
    torch.testing.assert_close(torch.func.grad(loss, (0, 1))(*plain), expected, rtol=0, atol=1e-12)
    several = [torch.stack([tensor, -tensor]) for tensor in plain]
    mapped = torch.func.vmap(loss)(*several)
    torch.testing.assert_close(mapped, torch.stack([loss(*row) for row in zip(*several, strict=True)]))


MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "classes": ({"class_scores": torch.zeros(4)}, r"class_scores has shape \(4,\) .*: expected .* \(3,\)"),
    "states": ({"state_scores": torch.zeros(5)}, r"state_scores has shape \(5,\) .*: expected .* \(2, 5\)"),
    "costs": ({"entry_costs": torch.zeros(2, 4)}, r"entry_costs has shape \(2, 4\) .*: expected .* \(2, 5\)"),
    "flat costs": ({"entry_costs": torch.zeros(10)}, r"entry_costs has shape \(10,\) .*: expected .* \(2, 5\)"),
    "arcs": ({"long_arc_scores": torch.zeros(1)}, r"long_arc_scores has shape \(1,\) .*: expected .* \(0,\)"),
    "NaN": ({"class_scores": torch.tensor([0, torch.nan, 0])}, r"class_scores\[1\] = nan is out of range"),
    "a cost": ({"entry_costs": torch.full((2, 5), -torch.inf)}, r"entry_costs\[0, 0\] = -inf is out of range"),
    "device": ({"state_scores": torch.zeros(2, 5, device="meta")}, r"state_scores is on meta: expected cpu"),
    "no tensor": ({"class_scores": [0.0] * 3}, r"class_scores is a list: expected a torch.Tensor"),
    "an array of costs": ({"entry_costs": np.zeros((2, 5))}, r"entry_costs is a ndarray: expected a torch.Tensor"),
    "a large score": (
        {"class_scores": torch.tensor([0, 1e9, 0])},
        r"class_scores\[1\] = 1000000000.0 is out of range: expected nats, at most 1e\+08, or -inf",
    ),
    "gain": ({"entry_costs": torch.full((2, 5), -1e8)}, r"may add 4e\+08 nats to a path: expected at most 1e\+08"),
    "frames": ({"input_lengths": [4, 5]}, r"input_lengths\[1\] = 5 is out of range"),
    "lattices": ({"lattices": [ctc_lattice([1])]}, r"lattices has 1 entries: expected 2"),
    "reduction": ({"reduction": "average"}, r"reduction = 'average' is unknown"),
    "an array": ({"scores": np.zeros((4, 2, 3))}, r"log_probs is a ndarray"),
    "rank": ({"scores": torch.zeros(3)}, r"log_probs has shape \(3,\)"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case: str) -> None:
    change, message = MESSAGES[case]
    with pytest.raises(CTCError, match=message):
        lattice_loss(**{"scores": torch.zeros(4, 2, 3), "lattices": ctc_lattice([1, 2]), **change})


def test_costs_that_are_replaced_do_not_count() -> None:
    own, costs = ctc_lattice([1, 2]).with_costs([-1e9] * 5), torch.zeros(2, 5)
    found = lattice_loss(torch.zeros(4, 2, 3), own, entry_costs=costs)
    assert torch.equal(found, lattice_loss(torch.zeros(4, 2, 3), ctc_lattice([1, 2])))


@pytest.mark.parametrize("backend", ["native", "portable", pytest.param("triton", marks=needs_triton)])
def test_class_scores_of_ctc_loss(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As lattice_loss has them: the same loss and gradients, with targets."""
    pretend(monkeypatch, backend, Tensor)
    device = DEVICE if backend == "triton" else "cpu"
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 2, 4, generator=generator, dtype=torch.float64).to(device)
    targets, frames, lengths = (torch.tensor(x, device=device) for x in ([[1, 3], [2, 0]], [5, 4], [2, 1]))
    lattices = [ctckit.ctc_lattice([1, 3]), ctckit.ctc_lattice([2])]
    found = []
    for with_targets in (True, False):
        x, prior = logits.clone().requires_grad_(), torch.tensor([0.5, -1, 2, 0.25], dtype=torch.float64, device=device)
        prior.requires_grad_()
        options = {"from_logits": True, "reduction": "sum", "class_scores": prior}
        if with_targets:
            loss = ctckit.torch.ctc_loss(x, targets, frames, lengths, **options)
        else:
            loss = ctckit.torch.lattice_loss(x, lattices, frames, **options)
        loss.backward()
        found.append((loss.detach(), x.grad, prior.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-13)
    on_arrays = ctckit.ctc_loss(
        logits.cpu().numpy(),
        targets.cpu().numpy(),
        [5, 4],
        [2, 1],
        reduction="sum",
        from_logits=True,
        class_scores=[0.5, -1, 2, 0.25],
    )
    assert found[0][0].item() == pytest.approx(float(on_arrays), rel=1e-12)
    with pytest.raises(ctckit.CTCError, match="class_scores has shape"):
        ctckit.torch.ctc_loss(logits, targets, frames, lengths, class_scores=torch.zeros(3, device=device))
