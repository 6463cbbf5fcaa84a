"""The loss under autograd: factors, second backward calls, layouts, half precision, ownership of memory."""

import pickle
from copy import deepcopy

import numpy as np
import pytest
import torch
from support.batches import draw
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit.kernels import native

BATCH = draw(1, 21, 4, 9, 5)
TARGETS = torch.from_numpy(BATCH.targets)
FRAMES, LENGTHS = tuple(BATCH.frames.tolist()), tuple(BATCH.lengths.tolist())

ALL_DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
DTYPES = pytest.mark.parametrize("dtype", ALL_DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
FORMS = pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
REDUCTIONS = pytest.mark.parametrize("reduction", ["none", "sum", "mean"])


@pytest.fixture(autouse=True)
def poisoned_tensors():
    """torch.empty gives NaN."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


@pytest.fixture(autouse=True, params=[native.RECYCLED, 1], ids=["", "recycled"])
def small_gradients_too(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with recycled memory, which large gradients use."""
    monkeypatch.setattr(native, "RECYCLED", request.param)


def leaf(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(BATCH.scores).to(dtype).requires_grad_()


def loss_of(x: Tensor, **options: object) -> Tensor:
    return ctckit.torch.ctc_loss(x, TARGETS, FRAMES, LENGTHS, **options)


def gradient_of(x: Tensor, **options: object) -> Tensor:
    return torch.autograd.grad(loss_of(x, **options).sum(), x)[0]


@DTYPES
@FORMS
@REDUCTIONS
def test_torch_is_numpy(dtype: torch.dtype, from_logits: bool, reduction: str) -> None:
    """One implementation: the same bits as the NumPy call."""
    x = leaf(dtype)
    loss = loss_of(x, reduction=reduction, from_logits=from_logits)
    loss.sum().backward()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert x.grad.dtype == dtype
    assert x.grad.shape == x.shape
    assert x.grad.is_contiguous()
    arguments = (*BATCH.arguments, reduction)
    if dtype == torch.bfloat16:  # every bfloat16 is a float32; rounding the gradient is torch's own here
        same = ctckit.ctc_loss_and_grad(x.detach().float().numpy(), *arguments, from_logits=from_logits)
        assert torch.equal(loss.detach(), torch.as_tensor(same.loss))
        assert torch.equal(x.grad, torch.from_numpy(same.grad).bfloat16())
    else:
        same = ctckit.ctc_loss_and_grad(x.detach().numpy(), *arguments, from_logits=from_logits)
        assert torch.equal(loss.detach(), torch.as_tensor(same.loss))
        assert torch.equal(x.grad, torch.from_numpy(same.grad))


@DTYPES
@FORMS
@REDUCTIONS
def test_without_a_gradient_the_loss_is_the_same(dtype: torch.dtype, from_logits: bool, reduction: str) -> None:
    x = leaf(dtype)
    options = {"from_logits": from_logits, "reduction": reduction}
    loss = loss_of(x, **options)
    assert loss.requires_grad
    with torch.no_grad():
        alone = loss_of(x, **options)
    assert not alone.requires_grad
    assert torch.equal(alone, loss)
    with torch.inference_mode():
        assert torch.equal(loss_of(x, **options), loss)
    detached = loss_of(x.detach(), **options)
    assert not detached.requires_grad
    assert torch.equal(detached, loss)


def assert_scaled(found: Tensor, plain: Tensor, factor: Tensor | float) -> None:
    """The plain gradient times a factor, up to one more rounding; exact for powers of two, except in half precision."""
    expected, limits = plain.double() * factor, torch.finfo(plain.dtype)
    allowed = expected.abs() * limits.eps + 2 * limits.smallest_normal * limits.eps
    assert ((found.double() - expected).abs() <= allowed).all()
    if plain.dtype in (torch.float64, torch.float32) and torch.as_tensor(factor).log2().frac().eq(0).all():
        assert torch.equal(found.double(), expected)


@DTYPES
@FORMS
@REDUCTIONS
@pytest.mark.parametrize("factor", [2.0, -0.3])
def test_grad_output(dtype: torch.dtype, from_logits: bool, reduction: str, factor: float) -> None:
    """A factor of the loss is a factor of its gradient."""
    x = leaf(dtype)
    plain = gradient_of(x, from_logits=from_logits, reduction=reduction)
    loss = loss_of(x, from_logits=from_logits, reduction=reduction)
    (scaled,) = torch.autograd.grad((loss * factor).sum(), x)
    assert_scaled(scaled, plain, factor)


@DTYPES
@pytest.mark.parametrize("batch_first", [False, True])
def test_grad_output_of_each_sample(dtype: torch.dtype, batch_first: bool) -> None:
    factors = torch.tensor([0.0, 1.0, -2.0, 0.5])
    x = leaf(dtype)
    plain = gradient_of(x, reduction="none")
    y = x.detach().transpose(0, 1).contiguous().requires_grad_() if batch_first else leaf(dtype)
    losses = loss_of(y, reduction="none", batch_first=batch_first)
    losses.backward(factors.to(losses.dtype))
    found = y.grad.transpose(0, 1) if batch_first else y.grad
    for n, factor in enumerate(factors.tolist()):
        assert_scaled(found[:, n], plain[:, n], factor)
    assert not found[:, 0].any()


@pytest.mark.parametrize("how", ["autograd.grad", "backward"])
@FORMS
def test_backward_twice(from_logits: bool, how: str) -> None:
    """With retain_graph: the same gradient again, and the first one untouched."""
    x = leaf()
    loss = loss_of(x, from_logits=from_logits)
    if how == "autograd.grad":
        gradients = [torch.autograd.grad(loss * 3, x, retain_graph=True)[0] for _ in range(3)]
        assert torch.equal(gradients[0], gradients[1])
        assert torch.equal(gradients[0], gradients[2])
        assert gradients[0].data_ptr() != gradients[1].data_ptr()
        gradients[0].zero_()
        assert gradients[1].any()
        return
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward(retain_graph=True)
    assert torch.equal(x.grad, once * 2)
    loss.backward()
    assert torch.equal(x.grad, once * 3)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_second_backward_does_not_see_changed_targets() -> None:
    """Targets and lengths are read in forward; the caller may change them afterwards."""
    x, targets = leaf(), TARGETS.clone()
    frames, lengths = torch.tensor(FRAMES), torch.tensor(LENGTHS)
    loss = ctckit.torch.ctc_loss(x, targets, frames, lengths)
    first = torch.autograd.grad(loss, x, retain_graph=True)[0].clone()
    targets.fill_(1)
    frames.fill_(1)
    lengths.fill_(1)
    assert torch.equal(torch.autograd.grad(loss, x)[0], first)


@pytest.mark.parametrize("backward_before", [False, True])
def test_scores_changed_in_place_are_noticed(backward_before: bool) -> None:
    """Scores changed in place before backward raise an error, as with torch's own loss."""
    x = leaf()
    y = x * 1
    loss = loss_of(y, from_logits=True)
    if backward_before:
        loss.backward(retain_graph=True)
    with torch.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_non_leaf() -> None:
    """Below other operations: the chain rule through a linear layer, and the scores are no leaf."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(21, 4, 6, generator=generator).requires_grad_()
    weight = torch.randn(6, 9, generator=generator).requires_grad_()
    logits = hidden @ weight
    loss = loss_of(logits, from_logits=True)
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
    loss.backward()
    torch.testing.assert_close(weight.grad, torch.einsum("tnh,tnc->hc", hidden.detach(), gradient))
    torch.testing.assert_close(hidden.grad, gradient @ weight.detach().T)


def test_two_losses_of_the_same_scores() -> None:
    x = leaf()
    first, second = loss_of(x), loss_of(x, from_logits=True)
    both = torch.autograd.grad(first + 2 * second, x)[0]
    torch.testing.assert_close(both, gradient_of(x) + 2 * gradient_of(x, from_logits=True), rtol=0, atol=2**-23)


def test_gradient_accumulates_in_the_leaf() -> None:
    x = leaf()
    loss_of(x).backward()
    kept = x.grad
    once = kept.clone()
    loss_of(x).backward()
    assert x.grad is kept
    assert torch.equal(x.grad, once * 2)


KEPT = {
    "the gradient": lambda gradient: gradient,
    "a slice": lambda gradient: gradient[3:5, 1:, 2],
    "its array": lambda gradient: gradient.numpy(),
    "its storage": lambda gradient: torch.tensor([]).set_(gradient.untyped_storage(), 7, (5,)),
    "a deep copy": deepcopy,
    "a pickle": lambda gradient: pickle.loads(pickle.dumps(gradient)),
}


@pytest.mark.parametrize("what", KEPT)
def test_later_calls_leave_a_gradient_alone(what: str) -> None:
    """Memory is used again only when nothing refers to it."""
    x, other = leaf(), (leaf().detach() * 2).requires_grad_()
    loss_of(x).backward()
    kept = KEPT[what](x.grad)
    before = torch.as_tensor(kept).clone()
    for _ in range(6):
        x.grad = other.grad = None
        loss_of(other, from_logits=True).backward()
    assert torch.equal(torch.as_tensor(kept), before)
    assert torch.equal(other.grad, gradient_of(other, from_logits=True))


LAYOUTS = {
    "contiguous": lambda x: x,
    "(N, C, T) of a convolution": lambda x: x.permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "(N, T, C)": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "sliced classes": lambda x: torch.nn.functional.pad(x, (2, 3), value=float("nan"))[..., 2:-3],
    "every second frame": lambda x: x.repeat_interleave(2, 0)[::2],
    "expanded samples": lambda x: x[:, :1].expand_as(x),
    "expanded classes": lambda x: x[..., :1].expand_as(x),
}


@DTYPES
@FORMS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides(layout: str, dtype: torch.dtype, from_logits: bool) -> None:
    """Bit for bit what a contiguous copy gives."""
    laid_out = LAYOUTS[layout](leaf(dtype).detach())
    x, y = laid_out.requires_grad_(), laid_out.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    ours, plain = (loss_of(each, from_logits=from_logits, reduction="none") for each in (x, y))
    assert torch.equal(ours, plain)
    (gradient,) = torch.autograd.grad(ours.sum(), x)
    assert torch.equal(gradient, torch.autograd.grad(plain.sum(), y)[0])
    assert gradient.shape == x.shape


def test_scores_that_torch_negates_lazily() -> None:
    """The imaginary part of a conjugate: memory holds the negative of the tensor's values."""
    lazy = torch.complex(leaf().detach(), -leaf().detach()).conj().imag.requires_grad_()
    assert lazy.is_neg()
    assert torch.equal(gradient_of(lazy), gradient_of(leaf()))


def test_the_usual_step_copies_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leaf gets the memory that forward wrote."""
    made = []

    def record(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def recorded(*args: object, **options: object) -> object:
            made.append(original(*args, **options))
            return made[-1]

        monkeypatch.setattr(owner, name, recorded)

    record(torch, "empty_like")
    record(native, "gradient")
    x = leaf()
    loss = loss_of(x)
    addresses = [torch.as_tensor(memory).data_ptr() for memory in made]
    made.clear()
    loss.backward()
    assert addresses == [x.grad.data_ptr()]


@DTYPES
@FORMS
@REDUCTIONS
def test_batch_first(dtype: torch.dtype, from_logits: bool, reduction: str) -> None:
    x = leaf(dtype)
    options = {"from_logits": from_logits, "reduction": reduction}
    plain = loss_of(x, **options)
    (expected,) = torch.autograd.grad(plain.sum(), x)
    turned = x.detach().transpose(0, 1)
    for form in (turned.contiguous(), turned, turned.transpose(1, 2).contiguous().transpose(1, 2)):
        y = form.detach().requires_grad_()
        loss = loss_of(y, **options, batch_first=True)
        loss.sum().backward()
        assert torch.equal(loss, plain)
        assert torch.equal(y.grad, expected.transpose(0, 1))
    with torch.no_grad():
        assert torch.equal(loss_of(turned, **options, batch_first=True), plain)


@pytest.mark.parametrize("batch_first", [False, True])
def test_single_sample(batch_first: bool) -> None:
    """(T, C) has no batch axis to come first; its gradient has the same two axes."""
    x = leaf()
    one = x.detach()[:, 0].clone().requires_grad_()
    loss = ctckit.torch.ctc_loss(one, TARGETS[0], 21, 5, batch_first=batch_first)
    loss.backward()
    assert loss.shape == ()
    many = x.detach()[:, :1].clone().requires_grad_()
    ctckit.torch.ctc_loss(many, TARGETS[:1], (21,), (5,)).backward()
    assert torch.equal(one.grad, many.grad[:, 0])


@FORMS
def test_infeasible_samples_have_gradient_zero_whatever_comes_from_above(from_logits: bool) -> None:
    """The upstream gradient of an infeasible sample may be infinite; 0 times infinity must not become NaN."""
    x = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    targets = torch.tensor([[1, 2, 3], [1, 1, 1], [2, 3, 3]])
    losses = ctckit.torch.ctc_loss(x, targets, (4, 4, 4), (3, 3, 3), reduction="none", from_logits=from_logits)
    assert losses.isinf().tolist() == [False, True, False]
    losses.square().sum().backward()
    assert not x.grad[:, 1].any()
    assert torch.isfinite(x.grad).all()
    assert x.grad[:, 0].any()


@REDUCTIONS
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_infeasible_samples(reduction: str, zero_infinity: bool) -> None:
    x = leaf()
    frames = (FRAMES[0], 1, *FRAMES[2:])
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    loss = ctckit.torch.ctc_loss(x, TARGETS, frames, (5, 4, 3, 0), **options)
    loss.sum().backward()
    assert loss.isinf().any() == (not zero_infinity)
    assert torch.isfinite(x.grad).all()
    assert not x.grad[:, 1].any()


@FORMS
def test_nan_poisons_its_sample_only(from_logits: bool) -> None:
    x, clean = leaf(), leaf()
    with torch.no_grad():
        x[3, 2, 0] = float("nan")
        for n, used in enumerate(FRAMES):
            x[used:, n] = float("nan")  # never read
    losses = loss_of(x, from_logits=from_logits, reduction="none")
    losses.sum().backward()
    expected = loss_of(clean, from_logits=from_logits, reduction="none")
    expected.sum().backward()
    others = [0, 1, 3]
    assert losses.isnan().tolist() == [False, False, True, False]
    assert torch.equal(losses[others], expected[others])
    assert torch.equal(x.grad[:, others], clean.grad[:, others])
    assert x.grad[: FRAMES[2], 2].isnan().all()
    assert not x.grad[FRAMES[2] :, 2].any()


@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 3)])
def test_no_frames_at_all(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    targets = torch.zeros((*shape[1:-1], 0), dtype=torch.long)
    lengths = (0,) * 2 if len(shape) == 3 else 0
    for batch_first in (False, True):
        y = x.transpose(0, 1) if batch_first and len(shape) == 3 else x
        loss = ctckit.torch.ctc_loss(y, targets, lengths, lengths, reduction="sum", batch_first=batch_first)
        assert loss.item() == 0
        loss.backward()
        assert x.grad.shape == shape


def test_nothing_of_the_callers_is_modified() -> None:
    x, targets = leaf(), TARGETS.clone()
    frames, lengths = torch.tensor(FRAMES), torch.tensor(LENGTHS)
    tensors = [x, targets, frames, lengths]
    before = [(tensor.detach().clone(), tensor._version) for tensor in tensors]
    loss = ctckit.torch.ctc_loss(x, targets, frames, lengths, from_logits=True)
    loss.backward(retain_graph=True)
    loss.backward()
    for tensor, (copy, version) in zip(tensors, before, strict=True):
        assert torch.equal(tensor.detach(), copy)
        assert tensor._version == version


def test_grad_output_is_not_modified() -> None:
    losses = loss_of(leaf(), reduction="none")
    factors = torch.tensor([0.5, 1.0, 2.0, 4.0])
    losses.backward(factors)
    assert factors.tolist() == [0.5, 1, 2, 4]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    """Half precision computes in float32; the gradient is rounded to half precision once."""
    x = leaf(dtype)
    for from_logits in (False, True):
        gradient = gradient_of(x, from_logits=from_logits, reduction="sum")
        wide = gradient_of(x.detach().float().requires_grad_(), from_logits=from_logits, reduction="sum")
        assert torch.equal(gradient, wide.to(dtype))
        assert torch.equal(loss_of(x, from_logits=from_logits), loss_of(x.detach().float(), from_logits=from_logits))


def test_float16_gradient_under_loss_scaling() -> None:
    """What mixed-precision training does: the loss times 2^16, so that small gradients survive float16.

    So the gradient must be scaled before it is rounded: afterwards, what the scale was to save is already gone.
    """
    batch = draw(2, 600, 8, 9, 250)  # a mean over 8 samples of 250 tokens: weights of 2^-11
    arguments = torch.from_numpy(batch.targets), tuple(batch.frames.tolist()), tuple(batch.lengths.tolist())
    x = torch.from_numpy(batch.scores).half().requires_grad_()
    wide = x.detach().float().requires_grad_()
    (exact,) = torch.autograd.grad(ctckit.torch.ctc_loss(wide, *arguments) * 2.0**16, wide)
    (found,) = torch.autograd.grad(ctckit.torch.ctc_loss(x, *arguments) * 2.0**16, x)
    error = (found.float() - exact).abs()
    # Half a unit of float16, half of its smallest step, and the rounding of float32.
    assert (error <= exact.abs() * 2.0**-11 + 2.0**-25 + exact.abs().max() * 2.0**-22).all()


def test_torch_threads_are_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls from torch use torch's number of threads, until ours is set."""
    seen = []
    sweep = native.extension.sums
    monkeypatch.setattr(native.extension, "sums", lambda *arguments: (seen.append(arguments[-1]), sweep(*arguments)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    loss_of(leaf()).backward()
    loss_of(leaf().detach())
    ctckit.set_num_threads(2)
    loss_of(leaf().detach())
    assert seen == [3, 3, 2]


def test_default_dtype_does_not_matter() -> None:
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        x = leaf(torch.float32)
        assert loss_of(x).dtype == torch.float32
        assert gradient_of(x).dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_bits_do_not_depend_on_threads_or_neighbours() -> None:
    x = leaf()
    everything = gradient_of(x, from_logits=True, reduction="sum")
    for threads in (1, 2, 4):
        ctckit.set_num_threads(threads)
        assert torch.equal(gradient_of(x, from_logits=True, reduction="sum"), everything)
    for n in range(4):
        y = x.detach()[:, n : n + 1].clone().requires_grad_()
        loss = ctckit.torch.ctc_loss(
            y, TARGETS[n : n + 1], FRAMES[n : n + 1], LENGTHS[n : n + 1], reduction="sum", from_logits=True
        )
        loss.backward()
        assert torch.equal(y.grad[:, 0], everything[:, n])


def test_lengths_in_any_form() -> None:
    expected = loss_of(leaf())
    x = leaf()
    for form in (
        list,
        torch.tensor,
        np.array,
        lambda v: torch.tensor(v, dtype=torch.int32),
        lambda v: torch.tensor(v, dtype=torch.uint8),
    ):
        assert torch.equal(ctckit.torch.ctc_loss(x, TARGETS, form(FRAMES), form(LENGTHS)), expected)
