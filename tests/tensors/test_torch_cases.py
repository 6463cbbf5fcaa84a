"""torch's own test cases of CTC, from its wheel, run on our loss."""

from functools import cache

import pytest
import torch

import ctckit.torch

try:
    from torch.testing._internal.common_methods_invocations import op_db
    from torch.testing._internal.common_modules import module_db
except ImportError as error:
    pytest.skip(f"torch's private test modules can't be imported: {error}", allow_module_level=True)

MODULE = next(info for info in module_db if info.module_cls is torch.nn.CTCLoss)
OPERATOR = next(info for info in op_db if info.name == "nn.functional.ctc_loss")
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])

# torch adds up logarithms of paths near e^-150 over 50 frames: sqrt(50) * 150 half-units of its dtype at most.
TORCH = {torch.float64: 2e-13, torch.float32: 1e-4}


@cache
def module_inputs(dtype: torch.dtype) -> list:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODULE.module_inputs_func(MODULE, "cpu", dtype, requires_grad=True, training=True)


def module_cases() -> list[str]:
    return [f"{n}-{each.desc}" for n, each in enumerate(module_inputs(torch.float64))]


@DTYPES
@pytest.mark.parametrize("number", range(len(module_cases())), ids=module_cases())
def test_module(number: int, dtype: torch.dtype) -> None:
    case = module_inputs(dtype)[number]
    ours = ctckit.torch.CTCLoss(*case.constructor_input.args, **case.constructor_input.kwargs)
    peer = torch.nn.CTCLoss(*case.constructor_input.args, **case.constructor_input.kwargs)
    scores, *rest = case.forward_input.args
    scores = scores.detach()
    loss = ours(scores, *rest, **case.forward_input.kwargs)
    torch.testing.assert_close(loss, peer(scores, *rest), rtol=0, atol=4 * TORCH[dtype])
    if dtype == torch.float64 and number < 20 and number % 4 == 0:  # slow; once a constructor
        reference = case.reference_fn(peer, scores, *rest)
        torch.testing.assert_close(loss, reference, rtol=0, atol=4 * TORCH[dtype])
    both = []
    for module in (ours, peer):
        x = scores.clone().requires_grad_()
        module(x.log_softmax(-1), *rest).sum().backward()
        both.append(x.grad)
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=TORCH[dtype])


@cache
def samples(dtype: torch.dtype) -> list:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return list(OPERATOR.sample_inputs("cpu", dtype, requires_grad=True))


@DTYPES
@pytest.mark.parametrize("number", range(len(samples(torch.float64))))
def test_operator(number: int, dtype: torch.dtype) -> None:
    sample = samples(dtype)[number]
    both = []
    for function in (ctckit.torch.ctc_loss, OPERATOR.op):
        x = sample.input.detach().clone().requires_grad_()
        loss = function(x.log_softmax(-1), *sample.args, **sample.kwargs)
        loss.sum().backward()
        both.append((loss.detach(), x.grad))
    assert both[0][0].shape == both[1][0].shape
    torch.testing.assert_close(both[0][0], both[1][0], rtol=0, atol=4 * TORCH[dtype])
    torch.testing.assert_close(both[0][1], both[1][1], rtol=0, atol=TORCH[dtype])
