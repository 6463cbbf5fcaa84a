"""Scores of several heads, and several targets of one utterance: the same as calls one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit import CTCError, Status
from ctckit.kernels import native
from ctckit.torch import ctc_loss
from ctckit.torch.arguments import Options
from ctckit.torch.many import folded_heads, gathered_rows

H, T, N, C = 3, 14, 4, 6
TARGETS = torch.tensor([[1, 2, 2, 5], [3, 1, 0, 0], [4, 4, 4, 4], [0, 0, 0, 0]])
FRAMES, LENGTHS = torch.tensor([14, 9, 5, 3]), torch.tensor([4, 2, 4, 0])  # the third one has no path
INDEX = torch.tensor([2, 0, 2, 0, 2])  # of three utterances the second has no target
MORE = torch.tensor([[1, 2, 2, 5], [3, 1, 0, 0], [4, 4, 0, 0], [2, 5, 1, 0], [5, 0, 0, 0]])
MORE_LENGTHS = torch.tensor([4, 2, 2, 3, 0])
UTTERANCES = torch.tensor([14, 9, 11])


def heads_of(dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(H, T, N, C, generator=generator) * 3).to(dtype)


def utterances_of(dtype: torch.dtype) -> Tensor:
    return heads_of(dtype)[0, :, :3].clone()


def gradient_of(loss: Tensor, scores: Tensor, factors: Tensor | None = None) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, scores, torch.ones_like(loss) if factors is None else factors, True)
    return gradient


# --- heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("below_log_softmax", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_heads_are_calls_one_by_one(
    dtype: torch.dtype, reduction: str, batch_first: bool, below_log_softmax: bool, weighted: bool
) -> None:
    """Bit for bit: losses, gradients, statuses; for any factors of the losses."""
    more: dict[str, Any] = {"reduction": reduction, "batch_first": batch_first, "from_logits": not below_log_softmax}
    logits = heads_of(dtype)
    logits[1, 2, 1, 3] = torch.nan
    logits = logits.transpose(1, 2).contiguous() if batch_first else logits
    results: list[tuple[Tensor, ...]] = []
    for together in (True, False):
        leaf = logits.clone().requires_grad_()
        scores = leaf.log_softmax(-1) if below_log_softmax else leaf
        losses, statuses = [], []
        for each in [scores] if together else scores:
            losses.append(ctc_loss(each, TARGETS, FRAMES, LENGTHS, **more))
            statuses.append(ctckit.torch.last_status())
        loss = losses[0] if together else torch.stack(losses)
        factors = torch.rand(loss.shape, generator=torch.Generator().manual_seed(1)) if weighted else None
        status = statuses[0] if together else torch.stack(statuses)
        results.append((loss, status, gradient_of(loss, leaf, None if factors is None else factors.to(loss))))
    assert results[0][0].shape == ((H, N) if reduction == "none" else (H,))
    assert results[0][1].shape == (H, N)
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)


def test_heads_are_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets and lengths are read once, and one call of the kernel computes all."""
    counts = {"lay_out": 0, "sums": 0}
    for name in counts:
        real: Callable[..., Any] = getattr(native.extension, name)

        def counted(*given: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
            counts[name] += 1
            return real(*given)

        monkeypatch.setattr(native.extension, name, counted)
    logits = heads_of(torch.float32).requires_grad_()
    ctc_loss(logits, TARGETS, FRAMES, LENGTHS, from_logits=True).sum().backward()
    assert counts == {"lay_out": 1, "sums": 1}


@pytest.mark.parametrize("end_to_end", [False, True])
def test_heads_in_other_forms(end_to_end: bool) -> None:
    """The module; targets end to end, lists of lengths; class scores, and their gradient; zero_infinity."""
    logits = heads_of(torch.float64).requires_grad_()
    targets = torch.cat([row[:length] for row, length in zip(TARGETS, LENGTHS.tolist(), strict=True)])
    given = (targets if end_to_end else TARGETS, FRAMES.tolist(), tuple(LENGTHS.tolist()))
    module = ctckit.torch.CTCLoss(zero_infinity=True, from_logits=True)
    torch.testing.assert_close(
        module(logits, *given), torch.stack([module(each, *given) for each in logits]), rtol=0, atol=0
    )
    prior = torch.randn(C, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    more: dict[str, Any] = {"from_logits": True, "class_scores": prior, "zero_infinity": True}
    found = torch.autograd.grad(ctc_loss(logits, *given, **more).sum(), (logits, prior))
    expected = torch.autograd.grad(sum(ctc_loss(each, *given, **more) for each in logits), (logits, prior))
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def second_derivative(loss: Callable[[Tensor], Tensor], scores: Tensor) -> Tensor:
    leaf = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf).square().sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), leaf)
    return second


def few(logits: Tensor, reduction: str) -> Tensor:
    """Losses of heads or of one, of samples that have a path."""
    return ctc_loss(logits[..., :2, :], TARGETS[:2], FRAMES[:2], LENGTHS[:2], reduction=reduction, from_logits=True)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_heads_are_differentiable_in_every_way(reduction: str) -> None:
    """Twice, in forward mode and by torch.func."""
    logits = heads_of(torch.float64)
    one_by_one = lambda x: torch.stack([few(each, reduction) for each in x])  # noqa: E731
    together = lambda x: few(x, reduction)  # noqa: E731
    torch.testing.assert_close(second_derivative(together, logits), second_derivative(one_by_one, logits))
    found, expected = (torch.func.grad(lambda x, f=f: f(x).sum())(logits) for f in (together, one_by_one))
    torch.testing.assert_close(found, expected)
    tangent = heads_of(torch.float64, seed=5)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(logits, tangent)
        found, expected = (torch.autograd.forward_ad.unpack_dual(f(dual)).tangent for f in (together, one_by_one))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_heads_as_one_batch(reduction: str, batch_first: bool) -> None:
    """What GPUs and graphs compute."""
    options = Options(0, reduction, True, True, batch_first)
    logits = heads_of(torch.float64).requires_grad_()
    scores = logits.transpose(1, 2) if batch_first else logits
    more: dict[str, Any] = {"zero_infinity": True, "from_logits": True, "batch_first": batch_first}
    found = folded_heads(
        lambda *given: ctc_loss(*given, reduction="none", **more), scores, TARGETS, FRAMES, LENGTHS.tolist(), options
    )
    expected = ctc_loss(scores, TARGETS, FRAMES, LENGTHS, reduction=reduction, **more)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(gradient_of(found, logits), gradient_of(expected, logits), rtol=1e-12, atol=1e-14)


def test_heads_in_graphs() -> None:
    """Compiled, without a break, and as meta tensors."""
    logits = heads_of(torch.float32).requires_grad_()
    loss = lambda x: ctc_loss(x, TARGETS, FRAMES, LENGTHS, zero_infinity=True, from_logits=True)  # noqa: E731
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(logits)
    torch.testing.assert_close(compiled, loss(logits), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradient_of(compiled, logits), gradient_of(loss(logits), logits), rtol=1e-5, atol=1e-6)
    assert loss(logits.detach().to("meta")).shape == (H,)


# --- an index ---------------------------------------------------------------------------------------------------------


def indexed(scores: Tensor, **more: Any) -> Tensor:
    return ctc_loss(scores, MORE, UTTERANCES, MORE_LENGTHS, index=INDEX, **more)


def in_order(scores: Tensor, factors: Tensor, **more: Any) -> Tensor:
    """The gradients of the targets one by one, added up in their order."""
    total = torch.zeros_like(scores)
    for m, n in enumerate(INDEX.tolist()):
        leaf = scores[:, n].clone().requires_grad_()
        loss = ctc_loss(leaf, MORE[m, : MORE_LENGTHS[m]], UTTERANCES[n], MORE_LENGTHS[m], reduction="sum", **more)
        total[:, n] += gradient_of(loss * factors[m], leaf)
    return total


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_targets_by_index(dtype: torch.dtype, batch_first: bool, from_logits: bool) -> None:
    """Losses are those of copied scores; gradients, bit for bit, those of single calls added in order."""
    logits = utterances_of(dtype)
    scores = logits if from_logits else logits.log_softmax(-1)
    leaf = (scores.transpose(0, 1).contiguous() if batch_first else scores.clone()).requires_grad_()
    more: dict[str, Any] = {"from_logits": from_logits}
    copied = ctc_loss(scores[:, INDEX], MORE, UTTERANCES[INDEX], MORE_LENGTHS, reduction="none", **more)
    each = indexed(leaf, reduction="none", batch_first=batch_first, **more)
    torch.testing.assert_close(each, copied, rtol=0, atol=0)
    assert ctckit.torch.last_status().tolist() == [Status.OK] * 5
    for factors in (torch.ones(5, dtype=dtype), torch.rand(5, dtype=dtype, generator=torch.Generator().manual_seed(3))):
        found = gradient_of(each, leaf, factors)
        found = found.transpose(0, 1) if batch_first else found
        expected = in_order(scores, factors, **more)
        if bool((factors == 1).all()):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
        torch.testing.assert_close(found, expected)
        assert not found[:, 1].any()
        assert not found[11:, 2].any()
    for reduction, weights in (("sum", torch.ones(5)), ("mean", 1 / (5 * MORE_LENGTHS.clamp(min=1)))):
        loss = indexed(leaf, reduction=reduction, batch_first=batch_first, **more)
        torch.testing.assert_close(loss, (copied * weights.to(dtype)).sum())
        found = gradient_of(loss, leaf, torch.tensor(1.5, dtype=dtype))
        found = found.transpose(0, 1) if batch_first else found
        torch.testing.assert_close(found, in_order(scores, 1.5 * weights.to(dtype), **more))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    """Gradients of an utterance's targets are added in float32."""
    logits = utterances_of(dtype).requires_grad_()
    wide = logits.detach().float().requires_grad_()
    losses = [indexed(leaf, reduction="sum", from_logits=True) for leaf in (logits, wide)]
    assert losses[0].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0, atol=0)
    expected = gradient_of(losses[1], wide).to(dtype)
    torch.testing.assert_close(gradient_of(losses[0], logits), expected, rtol=0, atol=0)
    if dtype == torch.float16:
        arrays = (MORE.numpy(), UTTERANCES.numpy(), MORE_LENGTHS.numpy())
        found = ctckit.ctc_loss_and_grad(
            logits.detach().numpy(), *arrays, reduction="sum", from_logits=True, index=INDEX.numpy()
        )
        np.testing.assert_array_equal(found.grad, expected.numpy())


def test_scores_are_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel reads the caller's own memory."""
    logits, real = utterances_of(torch.float32).requires_grad_(), native.extension.sums
    seen: list[int] = []
    monkeypatch.setattr(native.extension, "sums", lambda *given: seen.append(given[0].ctypes.data) or real(*given))
    indexed(logits, from_logits=True).backward()
    assert seen == [logits.data_ptr()]


def test_threads_change_no_bit() -> None:
    """However the utterances are divided."""
    generator = torch.Generator().manual_seed(0)
    frames, size, many = 80, 7, 60
    logits = torch.randn(frames, size, 30, generator=generator).requires_grad_()
    index = torch.randint(size, (many,), generator=generator)
    targets = torch.randint(1, 30, (many, 12), generator=generator)
    given = (targets, torch.full((size,), frames), torch.full((many,), 12))
    found = []
    before = ctckit.get_num_threads()
    for threads in (1, 2, 3, 8):
        ctckit.set_num_threads(threads)
        found.append(gradient_of(ctc_loss(logits, *given, from_logits=True, index=index), logits))
    ctckit.set_num_threads(before)
    assert all(torch.equal(found[0], each) for each in found)


def test_not_finite_utterances_stay_alone() -> None:
    """NaN in one does not touch the others, and targets without a path add nothing."""
    clean = utterances_of(torch.float64)
    logits = clean.clone()
    logits[3, 2, 1] = torch.nan
    logits.requires_grad_()
    losses = indexed(logits, reduction="none", from_logits=True)
    assert losses.isnan().tolist() == (INDEX == 2).tolist()
    gradient = gradient_of(losses, logits)
    expected = gradient_of(indexed(clean.requires_grad_(), reduction="none", from_logits=True), clean)
    assert torch.equal(gradient[:, :2], expected[:, :2])
    assert bool(gradient[:11, 2].isnan().all())
    assert not gradient[11:, 2].any()
    short = torch.tensor([14, 9, 1])
    lost = ctc_loss(clean, MORE, short, MORE_LENGTHS, reduction="none", from_logits=True, index=INDEX)
    assert lost.isinf().tolist() == [True, False, True, False, False]
    assert bool(gradient_of(lost, clean, torch.tensor([torch.inf, 1, torch.inf, 1, 1]).double()).isfinite().all())


def test_index_is_differentiable_in_every_way() -> None:
    """By class scores; twice; by torch.func; and what GPUs compute, of copied scores."""
    logits = utterances_of(torch.float64)
    prior = torch.randn(C, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    frames = UTTERANCES[INDEX]
    for reduction in ("mean", "none"):
        more: dict[str, Any] = {"reduction": reduction, "from_logits": True}
        copied = lambda x, more=more: ctc_loss(x[:, INDEX], MORE, frames, MORE_LENGTHS, **more)  # noqa: E731
        by_index = lambda x, more=more: indexed(x, **more)  # noqa: E731
        torch.testing.assert_close(second_derivative(by_index, logits), second_derivative(copied, logits))
        found, expected = (torch.func.grad(lambda x, f=f: f(x).sum())(logits) for f in (by_index, copied))
        torch.testing.assert_close(found, expected)
        leaf = logits.clone().requires_grad_()
        options = Options(0, reduction, False, True, False)
        rows = gathered_rows(
            lambda *given, more=more: ctc_loss(*given, **more), leaf, MORE, UTTERANCES, MORE_LENGTHS, INDEX, options
        )
        torch.testing.assert_close(rows, copied(leaf))
        torch.testing.assert_close(gradient_of(rows, leaf), gradient_of(copied(leaf), leaf))
        found = torch.autograd.grad(indexed(leaf, class_scores=prior, **more).sum(), (leaf, prior))
        one_by_one = ctc_loss(leaf[:, INDEX], MORE, frames, MORE_LENGTHS, class_scores=prior, **more)
        torch.testing.assert_close(found, torch.autograd.grad(one_by_one.sum(), (leaf, prior)))


def test_index_of_arrays() -> None:
    """``ctckit.ctc_loss`` and its gradient take it too."""
    scores = utterances_of(torch.float64).requires_grad_()
    arrays = (scores.detach().numpy(), MORE.numpy(), UTTERANCES.numpy(), MORE_LENGTHS.numpy())
    more: dict[str, Any] = {"reduction": "sum", "from_logits": True}
    expected = indexed(scores, **more)
    found = ctckit.ctc_loss_and_grad(*arrays, index=INDEX.tolist(), **more)
    np.testing.assert_array_equal(found.loss, expected.detach().numpy())
    np.testing.assert_array_equal(found.grad, gradient_of(expected, scores).numpy())
    assert ctckit.ctc_loss(*arrays, index=INDEX.numpy(), **more) == found.loss


def test_far_below(instruction_set: str) -> None:
    """Targets below what scaled floats hold are summed in logarithms: of heads, and by an index."""
    logits = torch.zeros(3, 4, 2, 3, dtype=torch.float64)
    logits[1, :, 1, 1] = -1e9
    targets, lengths = torch.tensor([[1], [1]]), torch.tensor([1, 1])
    leaf = logits.clone().requires_grad_()
    loss = ctc_loss(leaf, targets, (4, 4), lengths, reduction="none", from_logits=True)
    single = logits.clone().requires_grad_()
    expected = torch.stack([ctc_loss(x, targets, (4, 4), lengths, reduction="none", from_logits=True) for x in single])
    assert 1e8 < float(loss.detach().max()) < 1e10
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient_of(loss, leaf), gradient_of(expected, single))
    head, index, frames = logits[1].clone().requires_grad_(), torch.tensor([1, 0, 1]), torch.tensor([4, 4])
    given = (torch.tensor([[1], [1], [2]]), frames, torch.tensor([1, 1, 1]))
    loss = ctc_loss(head, *given, reduction="sum", from_logits=True, index=index)
    copied = ctc_loss(head[:, index], given[0], frames[index], given[2], reduction="sum", from_logits=True)
    torch.testing.assert_close(loss, copied)
    torch.testing.assert_close(gradient_of(loss, head), gradient_of(copied, head))


# --- errors -----------------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {
    "log_probs": torch.zeros(T, 3, C),
    "targets": MORE,
    "input_lengths": UTTERANCES,
    "target_lengths": MORE_LENGTHS,
    "index": INDEX,
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an utterance that is not there": (
        {"index": torch.tensor([0, 1, 3, 0, 0])},
        "index[2] = 3 is out of range: expected 0..2, since log_probs has N=3 utterances; count utterances from 0",
    ),
    "a negative utterance": ({"index": [0, -1, 0, 0, 0]}, "index[1] = -1 is out of range: expected 0..2"),
    "another length": ({"index": [0, 1]}, "index has shape (2,): expected (5,), the utterance of each target"),
    "not integers": ({"index": torch.zeros(5)}, "index has dtype float32: expected integers"),
    "frames by target": (
        {"input_lengths": torch.full((5,), 9)},
        "input_lengths has shape (5,): expected (3,), one length for each of the N=3 samples",
    ),
    "too many frames": ({"input_lengths": [14, 15, 3]}, "input_lengths[1] = 15 is out of range: expected 0..14"),
    "rows of another number": ({"targets": MORE[:4]}, "targets has shape (4, 4): expected (5, S)"),
    "a token that is no class": ({"targets": MORE + 3}, "is not a class"),
    "one utterance": (
        {"log_probs": torch.zeros(T, C)},
        "log_probs has shape (14, 6): expected (T, N, C) with index; for one utterance, pass log_probs[:, None]",
    ),
    "heads too": (
        {"log_probs": torch.zeros(2, T, 3, C)},
        "index is given, and scores have shape (2, 14, 3, 6), of several heads: expected one of the two",
    ),
    "no heads": (
        {"log_probs": torch.zeros(0, T, 3, C), "index": None},
        "log_probs has shape (0, 14, 3, 6): expected at least one head (H)",
    ),
    "lengths of heads": (
        {"log_probs": torch.zeros(2, T, 3, C), "index": None},
        "target_lengths has shape (5,): expected (3,), one length for each of the N=3 samples",
    ),
    "five axes": ({"log_probs": torch.zeros(2, 2, T, 3, C), "index": None}, "log_probs has shape (2, 2, 14, 3, 6)"),
    "an array of heads": (
        {"log_probs": np.zeros((2, T, 3, C)), "index": None},
        "log_probs is a ndarray: expected a torch.Tensor",
    ),
    "in a graph": ({"log_probs": torch.zeros(T, 3, C, device="meta")}, "index cannot go into a graph: pass log_probs"),
}


@pytest.mark.parametrize("case", BAD)
def test_messages(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear, before any work."""
    monkeypatch.setattr(native.extension, "sums", None)
    change, message = BAD[case]
    with pytest.raises(CTCError) as caught:
        ctc_loss(**(GOOD | change))
    assert message in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    if "heads" not in case and "axes" not in case and "graph" not in case:
        arrays = {name: np.asarray(value) for name, value in (GOOD | change).items()}
        with pytest.raises(CTCError) as caught:
            ctckit.ctc_loss(**arrays)
        assert message in str(caught.value)
