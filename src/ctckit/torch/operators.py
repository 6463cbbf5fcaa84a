"""The loss as operators that ``torch.compile`` and ``torch.export`` take into their graphs as they are.

Eager calls don't go through here: an operator's dispatch costs as much as the loss of a short batch. Operators compute
what eager calls do (dispatch.py), bit for bit. A graph holds tensors only, so the gradient is an output beside the
loss. May import torch, dispatch.py and what that may import.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._C import _get_tracing_state
from torch.library import custom_op

from .arguments import HALF, Lengths, Options, as_tensor, real_of
from .calls import Replacement
from .dispatch import AnyCall, backend_of, checked_call
from .errors import TensorError, explained
from .graph import is_log_softmax

_ARGUMENTS = (
    "Tensor scores, Tensor targets, Tensor input_lengths, Tensor target_lengths, "
    "SymInt blank, str reduction, bool zero_infinity, bool from_logits, bool batch_first, bool validate, "
    "bool as_torch=False, bool blank_in_targets=False, "
    "bool below_log_softmax=False"
)


def compiled_ctc_loss(
    log_probs: Tensor, targets: Lengths, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> Tensor:
    """:func:`ctckit.torch.ctc_loss` while torch compiles or exports: one operator in the graph.

    Arguments are checked when the graph runs, by the same code as in eager mode. Of torch.func's transforms, only vmap
    takes such an operator, and without a gradient; use the others outside compiled code.

    Returns:
        The loss, and its gradient by ``backward``, bit for bit those of eager mode.

    Raises:
        CTCError: for anything malformed, from the running graph.
        RuntimeError: for a second derivative.

    Example:
        >>> logits = torch.zeros(4, 2, 3, requires_grad=True)
        >>> targets = torch.tensor([[1, 2], [2, 2]])
        >>> loss = compiled_ctc_loss(logits, targets, (4, 4), (2, 2), Options(0, "mean", False, True, False))
        >>> round(loss.item(), 4)
        1.1179
    """
    arguments = (as_tensor(targets), as_tensor(input_lengths), as_tensor(target_lengths), *options)
    # A trace is made with gradients or without, and run with them or without.
    if _get_tracing_state() or (log_probs.requires_grad and torch.is_grad_enabled()):
        if options.from_logits:
            loss: Tensor = _loss_and_grad(log_probs, *arguments)[0]
        else:
            loss = torch.ops.ctckit.ctc_loss_in_graph(log_probs, *arguments)
    else:
        loss = _loss(log_probs, *arguments)
    return loss


torch.library.define("ctckit::ctc_loss_in_graph", f"({_ARGUMENTS}) -> Tensor")


@torch.library.impl("ctckit::ctc_loss_in_graph", "CompositeImplicitAutograd")
def _in_graph(scores: Tensor, *arguments: Any) -> Tensor:
    """The loss of log-probabilities and its gradient. The compiler takes it apart where it has autograd's graph."""
    options = Options(*arguments[3:])
    options = options._replace(below_log_softmax=is_log_softmax(scores))
    loss: Tensor = _loss_and_grad(scores, *arguments[:3], *options)[0]
    return loss


@custom_op("ctckit::ctc_loss", mutates_args=(), schema=f"({_ARGUMENTS}) -> Tensor")
def _loss(scores: Tensor, *arguments: Any) -> Tensor:
    """The loss alone."""
    Replacement.calls += Options(*arguments[3:]).as_torch
    return _checked(scores, *arguments).evaluate()


@custom_op("ctckit::ctc_loss_and_grad", mutates_args=(), schema=f"({_ARGUMENTS}) -> (Tensor, Tensor, Tensor)")
def _loss_and_grad(scores: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The loss; its gradient, contiguous; and the log-scores (N,), float64, which tell backward what is infeasible."""
    Replacement.calls += Options(*arguments[3:]).as_torch
    call = _checked(scores, *arguments)
    swept = call.sweep(scores)
    return call.loss(swept), call.gradient(scores, swept, None), torch.as_tensor(swept.score)


@custom_op(
    "ctckit::ctc_loss_backward",
    mutates_args=(),
    schema=f"(Tensor grad_output, Tensor grad, Tensor score, {_ARGUMENTS}) -> Tensor",
)
def _backward(grad_output: Tensor, grad: Tensor, score: Tensor, scores: Tensor, *arguments: Any) -> Tensor:
    """The gradient times ``grad_output``; in half precision it is scaled before it is rounded, as in cpu.py."""
    if grad.dtype not in HALF or (grad.is_cpu and bool((grad_output == 1).all())):
        return _scaled(grad, score, grad_output, Options(*arguments[3:]))
    return _checked(scores, *arguments).scaled(scores, score, grad_output)


def _checked(scores: Tensor, targets: Tensor, input_lengths: Tensor, target_lengths: Tensor, *options: Any) -> AnyCall:
    given = Options(*options)
    if backend_of(scores) == "portable":
        raise TensorError(
            f"{'logits' if given.from_logits else 'log_probs'} is on {scores.device}: expected the CPU inside of "
            "torch.compile, or a GPU with Triton; leave the loss out of it"
        )
    arguments = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
    try:
        return checked_call(scores, **arguments, options=given)
    except Exception as error:
        failure = explained(error, **arguments)
        if failure is error:
            raise
    raise failure


def _factors(score: Tensor, grad_output: Tensor) -> Tensor:
    """The factor of each sample's gradient (N,): 0 if it is infeasible, whatever ``grad_output`` is."""
    return grad_output.double().masked_fill(score.isneginf(), 0)


def _scaled(grad: Tensor, score: Tensor, grad_output: Tensor, options: Options) -> Tensor:
    factors = _factors(score, grad_output).to(grad.dtype)
    if grad.ndim == 2:
        return grad * factors
    return grad * (factors[:, None, None] if options.batch_first else factors[:, None])


# Shapes and dtypes of what the operators return. Malformed arguments pass: the running operator says what is wrong.


@_loss.register_fake
def _(scores: Tensor, *arguments: Any) -> Tensor:
    options = Options(*arguments[3:])
    real = real_of(scores)
    batched = options.reduction == "none" and scores.ndim == 3
    return scores.new_empty((_size(scores, options),) if batched else (), dtype=real)


@_loss_and_grad.register_fake
def _(scores: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    size = _size(scores, Options(*arguments[3:]))
    loss: Tensor = torch.ops.ctckit.ctc_loss(scores, *arguments)
    return loss, scores.new_empty(scores.shape), scores.new_empty((size,), dtype=torch.float64)


@_backward.register_fake
def _(grad_output: Tensor, grad: Tensor, score: Tensor, scores: Tensor, *arguments: Any) -> Tensor:
    return grad.new_empty(grad.shape)


def _size(scores: Tensor, options: Options) -> int:
    """N."""
    return scores.shape[0 if options.batch_first else 1] if scores.ndim == 3 else 1


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    _, grad, score = output
    ctx.set_materialize_grads(False)  # or backward would get zeros of the gradient's size
    ctx.mark_non_differentiable(grad, score)
    ctx.save_for_backward(grad, score, *inputs[:4])
    ctx.options = Options(*inputs[4:])


def _differentiate(ctx: Any, grad_output: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    others = (None,) * (3 + len(ctx.options))
    if grad_output is None:
        return None, *others
    grad, score, *tensors = ctx.saved_tensors
    # A plain product is visible to the compiler, which can fuse it and drop the scores. The operator does what a
    # product can't: it scales before rounding, and refuses a second derivative, which create_graph=True announces.
    if grad.dtype in HALF or torch.is_grad_enabled():
        return _backward(grad_output, grad, score, *tensors, *ctx.options), *others
    return _scaled(grad, score, grad_output, ctx.options), *others


def _refuse(ctx: Any, grad_output: Tensor) -> None:
    raise RuntimeError(
        "ctckit's compiled loss can be differentiated once, not twice: its gradient was computed with "
        "create_graph=True, and now a second derivative is asked of it; call ctckit.torch.ctc_loss outside of "
        "torch.compile"
    )


_loss_and_grad.register_autograd(_differentiate, setup_context=_save)
_backward.register_autograd(_refuse)
