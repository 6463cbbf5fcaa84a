"""Where the replacement does what torch does, and ctckit elsewhere does not: against torch in float64."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ctckit
import ctckit.torch
from ctckit.torch import replace_torch_ctc

Call = tuple[Tensor, Tensor, Tensor, Tensor, int]


def drawn(seed: int) -> Call:
    """Scores in float64 and targets that may hold the blank; with samples without frames, tokens or a path."""
    rng = np.random.default_rng(seed)
    frames, size, classes, most = (int(rng.integers(*ends)) for ends in ((1, 16), (1, 5), (1, 6), (1, 7)))
    targets = torch.from_numpy(rng.integers(0, classes, (size, most)))
    lengths = torch.from_numpy(rng.integers(0, most + 1, size))
    if seed % 2:  # end to end
        targets = torch.cat([row[:length] for row, length in zip(targets, lengths.tolist(), strict=True)])
    scores = torch.from_numpy(rng.normal(size=(frames, size, classes)) * 2)
    return scores, targets, torch.from_numpy(rng.integers(0, frames + 1, size)), lengths, int(rng.integers(0, classes))


def numbers(call: Call, reduction: str, zero_infinity: bool) -> tuple[Tensor, Tensor]:
    scores, *others = call
    x = scores.clone().requires_grad_()
    loss = F.ctc_loss(x.log_softmax(-1), *others, reduction, zero_infinity)
    loss.backward(torch.arange(1, loss.numel() + 1, dtype=x.dtype).reshape(loss.shape))
    return loss.detach(), x.grad


@pytest.mark.slow
@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_blank_in_targets(reduction: str, zero_infinity: bool) -> None:
    blanks = infeasible = 0
    for seed in range(60):
        call = drawn(seed)
        expected = numbers(call, reduction, zero_infinity)
        with warnings.catch_warnings(record=True) as caught, replace_torch_ctc(blank_in_targets="torch"):
            warnings.simplefilter("always")
            found = [numbers(call, reduction, zero_infinity) for _ in range(2)]
        assert len(caught) <= 1  # one a block
        blanks += len(caught)
        infeasible += not expected[0].isfinite().all() or bool(expected[1].isnan().any())
        for each in found:
            torch.testing.assert_close(each, expected, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert blanks > 30
    assert zero_infinity or infeasible > 10


def test_blank_in_targets_by_enumeration() -> None:
    """Every path over the labels φ y1 φ y2 … φ, where a state may be skipped if the labels around it differ."""
    rng = np.random.default_rng(0)
    target, blank = [2, 2, 1, 0, 2], 2
    log_probs = torch.from_numpy(rng.normal(size=(8, 3))).log_softmax(-1)
    labels = [blank, *(label for token in target for label in (token, blank))]
    alpha = [float(log_probs[0, labels[k]]) if k < 2 else -np.inf for k in range(len(labels))]
    for row in log_probs[1:].tolist():
        into = [
            [alpha[k], *alpha[max(k - 1, 0) : k], *([alpha[k - 2]] if k > 1 and labels[k] != labels[k - 2] else [])]
            for k in range(len(labels))
        ]
        alpha = [np.logaddexp.reduce(ways) + row[label] for ways, label in zip(into, labels, strict=True)]
    with replace_torch_ctc(blank_in_targets="torch"), pytest.warns(UserWarning, match="targets hold the blank"):
        loss = F.ctc_loss(log_probs, torch.tensor(target), torch.tensor(8), torch.tensor(5), blank, "sum")
    assert loss.item() == pytest.approx(-np.logaddexp(*alpha[-2:]), rel=1e-12)


def test_blank_in_targets_is_an_error_with_three_hints_elsewhere() -> None:
    x, targets = torch.zeros(12, 1, 8), torch.tensor([[4, 5, 6, 4, 7, 4]])
    calls: list[Callable[..., Any]] = [ctckit.torch.ctc_loss]
    with replace_torch_ctc():
        calls.append(F.ctc_loss)
        for call in calls:
            with pytest.raises(ctckit.CTCError, match=r"shift the labels, or pass .* or, .*blank_in_targets='torch'"):
                call(x, targets, (12,), (6,), 4)
    with pytest.raises(ctckit.CTCError, match="blank_in_targets = 'no' is unknown"):
        replace_torch_ctc(blank_in_targets="no")


def test_other_faults_are_found_where_blanks_are_tokens() -> None:
    x = torch.zeros(12, 1, 8)
    with replace_torch_ctc(blank_in_targets="torch"), pytest.raises(ctckit.CTCError, match=r"targets\[0, 2\] = 9 is"):
        F.ctc_loss(x, torch.tensor([[4, 0, 9, 0]]), (12,), (4,))


INFEASIBLE = torch.tensor([[1, 2, 3], [1, 1, 1], [2, 2, 3]]), torch.tensor([6, 4, 5]), torch.tensor([3, 3, 3])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_node_can_be_called(dtype: torch.dtype, batch_first: bool) -> None:
    """As in FunASR and ESPnet; elsewhere than in the replacement, an infeasible sample's gradient is 0."""
    x = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    given = x.transpose(0, 1) if batch_first else x
    loss = ctckit.torch.ctc_loss(given, *INFEASIBLE, reduction="none", batch_first=batch_first, from_logits=True)
    found = loss.grad_fn(torch.ones_like(loss))
    again = loss.grad_fn(torch.ones_like(loss))
    assert not found.requires_grad
    loss[[0, 2]].sum().backward()
    assert torch.equal(found.transpose(0, 1) if batch_first else found, x.grad)
    assert torch.equal(again, found)


def dropped_by_gradient(x: Tensor, given: tuple[Tensor, ...]) -> Tensor:
    """What FunASR and ESPnet do: leaves out the samples whose gradient is not finite, and computes the loss again."""
    log_probs, (targets, frames, lengths) = x.log_softmax(-1), given
    loss = F.ctc_loss(log_probs, targets, frames, lengths, reduction="none")
    kept = loss.grad_fn(torch.ones_like(loss)).sum([0, 2]).isfinite()
    assert kept.tolist() == [True, False, True]
    loss = F.ctc_loss(log_probs[:, kept], targets[kept], frames[kept], lengths[kept], reduction="sum")
    loss.backward()
    return loss.detach()


def test_samples_are_dropped_by_their_gradient() -> None:
    """The same loss and gradient as with torch's, in which an infeasible sample's gradient is NaN."""
    results = []
    for context in (None, replace_torch_ctc()):
        x = torch.randn(6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        if context is None:
            results.append((dropped_by_gradient(x, INFEASIBLE), x.grad))
        else:
            with context:
                results.append((dropped_by_gradient(x, INFEASIBLE), x.grad))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("compiled", [False, True])
def test_an_infeasible_samples_gradient(dtype: torch.dtype, compiled: bool) -> None:
    """NaN in its used frames, and 0 beyond, as torch's; 0 if zero_infinity."""
    x = torch.zeros(6, 3, 4, dtype=dtype).requires_grad_()

    def step(x: Tensor, zero_infinity: bool) -> Tensor:
        return F.ctc_loss(x, *INFEASIBLE, reduction="none", zero_infinity=zero_infinity)

    torch.compiler.reset()
    with replace_torch_ctc() as replaced:
        run = torch.compile(step, fullgraph=True, backend="aot_eager") if compiled else step
        (found,) = torch.autograd.grad(run(x, False).sum() * 2, x)
        (zeroed,) = torch.autograd.grad(run(x, True).sum() * 2, x)
    torch.compiler.reset()
    assert replaced.calls == 2
    assert found[:, [0, 2]].isfinite().all()
    assert found[:4, 1].isnan().all()
    assert not found[4:, 1].any()
    assert zeroed.isfinite().all()
    assert not zeroed[:, 1].any()


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_lengths_of_a_batch_of_one(shape: tuple[int, ...]) -> None:
    x, lengths = torch.randn(6, 1, 4), (torch.tensor(6).reshape(shape), torch.tensor(3).reshape(shape))
    targets = torch.tensor([1, 2, 3])
    expected = F.ctc_loss(x.log_softmax(-1), targets, *lengths, reduction="none")
    for run in (ctckit.torch.ctc_loss, torch.compile(ctckit.torch.ctc_loss, fullgraph=True, backend="aot_eager")):
        torch.compiler.reset()
        for tokens in (targets, targets[None]):
            found = run(x, tokens, *lengths, reduction="none", from_logits=True)
            torch.testing.assert_close(found, expected)
            single = run(x[:, 0], tokens, *lengths, reduction="none", from_logits=True)
            torch.testing.assert_close(single, expected[0])
    arrays = [each.numpy() for each in (x, targets, *lengths)]
    loss = ctckit.ctc_loss(*arrays, reduction="none", from_logits=True)
    assert loss.shape == (1,)
    np.testing.assert_allclose(loss, expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 1), (1, 3)])
@pytest.mark.parametrize("end_to_end", [False, True])
def test_lengths_in_a_column_or_a_row(shape: tuple[int, int], end_to_end: bool) -> None:
    x, (targets, *lengths) = torch.randn(6, 3, 4), INFEASIBLE
    targets = targets.flatten() if end_to_end else targets
    turned = [each.reshape(shape) for each in lengths]
    expected = F.ctc_loss(x.log_softmax(-1), targets, *turned, reduction="none")
    for run in (ctckit.torch.ctc_loss, torch.compile(ctckit.torch.ctc_loss, fullgraph=True, backend="aot_eager")):
        torch.compiler.reset()
        torch.testing.assert_close(run(x, targets, *turned, reduction="none", from_logits=True), expected)
    score = ctckit.torch.posteriors(x.log_softmax(-1), targets, *turned).score
    torch.testing.assert_close(score.float(), -expected)
    loss = ctckit.ctc_loss(*(each.numpy() for each in (x, targets, *turned)), reduction="none", from_logits=True)
    np.testing.assert_allclose(loss, expected.numpy(), rtol=1e-6)
    with pytest.raises(ctckit.CTCError, match=r"input_lengths\[1\] = 7 is out of range"):
        ctckit.torch.ctc_loss(x, targets, torch.tensor([6, 7, 5]).reshape(shape), turned[1])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_float_targets(dtype: torch.dtype) -> None:
    """Whole numbers in floats, as Keras passes labels; a gradient of theirs is not asked for."""
    x, (targets, *lengths) = torch.randn(6, 3, 4), INFEASIBLE
    expected = ctckit.torch.ctc_loss(x, targets, *lengths, from_logits=True, reduction="none")
    compiled = torch.compile(ctckit.torch.ctc_loss, fullgraph=True, backend="aot_eager")
    torch.compiler.reset()
    for tokens in (targets.to(dtype), targets.flatten().to(dtype), targets.to(dtype).requires_grad_()):
        for run in (ctckit.torch.ctc_loss, compiled):
            assert torch.equal(run(x, tokens, *lengths, from_logits=True, reduction="none"), expected)
    with replace_torch_ctc():
        found = F.ctc_loss(x.log_softmax(-1), targets.to(dtype), *lengths, reduction="none")
    torch.testing.assert_close(found, expected)


FLAGS = pytest.mark.parametrize("flag", [np.True_, np.bool_(True), 1, np.int64(1), True], ids=repr)


@FLAGS
def test_flags(flag: Any) -> None:
    arrays = np.random.default_rng(0).normal(size=(6, 3, 4)), *(each.numpy() for each in INFEASIBLE)
    x, *others = (torch.from_numpy(array) for array in arrays)
    expected = ctckit.torch.ctc_loss(x, *others, 0, "mean", True, from_logits=True)
    turned = x.transpose(0, 1)
    options = {"from_logits": flag, "batch_first": flag, "validate": flag}
    assert torch.equal(ctckit.torch.ctc_loss(turned, *others, 0, "mean", flag, **options), expected)
    assert torch.equal(ctckit.torch.CTCLoss(0, "mean", flag, **options)(turned, *others), expected)
    assert ctckit.ctc_loss(*arrays, 0, "mean", flag, from_logits=flag) == expected.numpy()
    assert ctckit.ctc_loss_and_grad(*arrays, 0, "mean", flag, from_logits=flag).loss == expected.numpy()
    lattices = [ctckit.ctc_lattice(row) for row in arrays[1]]
    loss = ctckit.lattice_loss(arrays[0], lattices, arrays[2], "mean", flag, from_logits=flag)
    assert loss == pytest.approx(expected.item())
    loss = ctckit.torch.lattice_loss(x, lattices, others[1], "mean", flag, from_logits=flag)
    assert loss.item() == pytest.approx(expected.item())
    feasible = [array[..., :1, :] if array.ndim > 1 else array[:1] for array in arrays]
    ctckit.posteriors(*feasible, from_logits=flag)
    ctckit.forced_align(*feasible, from_logits=flag)
    ctckit.torch.posteriors(turned, *others, from_logits=flag, batch_first=flag)
    ctckit.torch.forced_align(turned[:1], *(each[:1] for each in others), from_logits=flag)
    with replace_torch_ctc():
        assert torch.nn.CTCLoss(zero_infinity=flag)(x.log_softmax(-1), *others) == pytest.approx(expected.item())


@pytest.mark.parametrize("flag", ["yes", None, 2, 0.5, [True], np.array([True, False]), torch.tensor([True])], ids=repr)
@pytest.mark.parametrize("name", ["zero_infinity", "from_logits", "batch_first", "validate"])
def test_what_is_no_flag(name: str, flag: Any) -> None:
    x, given = torch.zeros(6, 3, 4), INFEASIBLE
    arrays = [each.numpy() for each in (x, *given)]
    calls: list[Callable[[], object]] = [lambda: ctckit.torch.ctc_loss(x, *given, **{name: flag})]
    if name in ("zero_infinity", "from_logits"):
        calls.append(lambda: ctckit.ctc_loss(*arrays, **{name: flag}))
        calls.append(lambda: ctckit.lattice_loss(arrays[0], ctckit.ctc_lattice([1]), **{name: flag}))
        calls.append(lambda: ctckit.torch.lattice_loss(x, ctckit.ctc_lattice([1]), **{name: flag}))
    if name == "from_logits":
        calls.append(lambda: ctckit.forced_align(*arrays, from_logits=flag))
        calls.append(lambda: ctckit.posteriors(*arrays, from_logits=flag))
        calls.append(lambda: ctckit.torch.posteriors(x, *given, from_logits=flag))
        calls.append(lambda: ctckit.torch.forced_align(x.transpose(0, 1), *given, from_logits=flag))
    for call in calls:
        with pytest.raises(ctckit.CTCError, match=f"{name} = .*: expected True or False"):
            call()
