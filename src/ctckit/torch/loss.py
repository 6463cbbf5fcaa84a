"""The loss as a torch function and module.

May import torch, many.py, dispatch.py, operators.py, eager.py and what they may import.

On the CPU the gradient is computed together with the loss, already scaled for the reduction, and handed out by the
first ``backward``: a second one (``retain_graph=True``) computes it anew. So the usual step allocates one gradient and
copies nothing. On a GPU ``backward`` writes it. If there is no kernel (another device, second derivatives, torch.func),
torch's own operations compute the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor
from torch._C import _get_tracing_state, _len_torch_dispatch_stack
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.overrides import handle_torch_function, has_torch_function_variadic

from ..lattice import Lattice
from ..validate import FLAGS, check_reduction
from .arguments import NOTHING, Added, Lengths, Options, checked_flags
from .calls import Replacement
from .dispatch import (
    AnyCall,
    backend_of,
    check_known_values,
    checked_call,
    checked_lattice_call,
    goes_into_a_graph,
    with_added_to,
)
from .eager import outside_graphs
from .errors import TensorError, explained, raises_tensor_errors
from .many import check_heads, folded_heads, gathered_rows, heads_call, in_float32, index_call
from .operators import compiled_ctc_loss

_handle: Callable[..., Any] = handle_torch_function


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
    validate: bool = False,
    class_scores: Tensor | None = None,
    index: Lengths | None = None,
) -> Tensor:
    """``torch.nn.functional.ctc_loss``, faster and exact, on the device that the scores are on.

    On the CPU, C++ kernels; on a GPU (CUDA, ROCm) Triton's if triton 3.4 or later is installed; elsewhere torch's own
    operations. On a GPU nothing waits for the device, unless ``validate=True``.

    Args:
        log_probs: (T, N, C), or (T, C) for one sample; float64, float32, bfloat16 or float16; any strides. -inf is a
            legal probability of 0. (On a GPU, so is anything more than 1.8e8 nats below its frame's best label.)
        targets: (N, S) padded, or one dimension, all samples end to end; any integer dtype, or whole numbers in floats.
        input_lengths: (N,) tensor, list or tuple of frames, a column or a row of them; a number for one sample.
        target_lengths: likewise of tokens.
        blank: the blank's class.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by target length, at least 1, then over the batch).
        zero_infinity: infeasible samples cost 0 instead of +inf. Their gradient is 0 in either case.
        from_logits: ``log_probs`` holds raw scores: log_softmax is part of the loss, and the gradient is theirs. This
            is the fast way: no log-probabilities are stored.
        batch_first: ``log_probs`` is (N, T, C).
        validate: reads targets and lengths that are on a GPU, and raises if a value is wrong, at the price of waiting
            for the GPU. Otherwise such a sample has loss NaN and gradient NaN, and the others are not affected. Values
            on the CPU are always checked.
        class_scores: (C,) nats added to each class's log-probability after the log_softmax, such as minus a scaled log
            prior, or a blank penalty; -inf forbids a class. They may need a gradient, and the loss may be below 0.
            Inside of ``torch.compile`` they break the graph.
        index: (M,) integers: which utterance n of the scores each of M targets belongs to, such as several hypotheses
            of one utterance. ``targets`` and ``target_lengths`` are then of M targets, and M takes N's place in the
            losses; ``input_lengths`` are of the N utterances. On the CPU scores are not copied; elsewhere they are, for
            each target, and an index on a device is read back. An utterance's gradient is the sum over its targets,
            added in their order, and 0 without a target. Inside of ``torch.compile`` it breaks the graph.

    ``log_probs`` may also be (H, T, N, C), or (H, N, T, C) with ``batch_first``, from H heads of a network with the
    same targets and lengths, as for intermediate CTC. The losses are then those of H calls, (H,), or (H, N) for
    ``"none"``; on the CPU bit for bit, with targets and lengths checked and laid out once.

    Returns:
        Nats, in the dtype of ``log_probs`` (float32 for half precision, where the gradient is rounded once).

    Raises:
        CTCError: for anything malformed; the message says where.

    Source:
        Losses of inner layers: Lee and Watanabe, "Intermediate Loss Regularization for CTC-based Speech Recognition"
        (ICASSP 2021); Nozaki and Komatsu, "Relaxing the Conditional Independence Assumption of CTC-based ASR by
        Conditioning on Intermediate Predictions" (Interspeech 2021).

    Note:
        Log-probabilities are taken as they are and the gradient is the true derivative, -γ. torch's is exp(log_probs) -
        γ. Both give the same gradient if log_softmax comes before the loss, and only then.

    Example:
        >>> logits = torch.zeros(4, 2, 3, requires_grad=True)
        >>> loss = ctc_loss(logits, torch.tensor([[1, 2], [2, 2]]), (4, 4), (2, 2), from_logits=True)
        >>> loss.backward()
        >>> round(loss.item(), 4), logits.grad.shape
        (1.1179, torch.Size([4, 2, 3]))
        >>> ctc_loss(torch.zeros(3, 4, 2, 3), torch.tensor([[1, 2], [2, 2]]), (4, 4), (2, 2), from_logits=True)  # heads
        tensor([1.1179, 1.1179, 1.1179])
        >>> ctc_loss(logits, [[1, 2], [2, 1]], (4, 4), (2, 2), reduction="none", from_logits=True, index=[1, 1]).shape
        torch.Size([2])
    """
    # A tensor's subclass, a proxy of torch.fx, a default device:
    if has_torch_function_variadic(log_probs, targets, input_lengths, target_lengths):
        given = (log_probs, targets, input_lengths, target_lengths)
        more: dict[str, Any] = {"from_logits": from_logits, "batch_first": batch_first, "validate": validate}
        if class_scores is not None:
            more["class_scores"] = class_scores
        if index is not None:
            more["index"] = index
        found: Tensor = _handle(ctc_loss, given, *given, blank, reduction, zero_infinity, **more)
        return found
    try:
        options = Options(
            blank, reduction, FLAGS[zero_infinity], FLAGS[from_logits], FLAGS[batch_first], FLAGS[validate]
        )
    except (KeyError, TypeError):
        options = checked_flags(Options(blank, reduction, zero_infinity, from_logits, batch_first, validate))
    if index is not None or getattr(log_probs, "ndim", 3) == 4:
        return _many_loss(log_probs, targets, input_lengths, target_lengths, options, class_scores, index)
    if class_scores is not None:
        scored: Tensor = _scored_loss(log_probs, targets, input_lengths, target_lengths, options, class_scores)
        return scored
    return loss_by_options(log_probs, targets, input_lengths, target_lengths, options)


def loss_by_options(
    log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths, options: Options
) -> Tensor:
    """:func:`ctc_loss`, with what torch's has no arguments for."""
    if is_dynamo_compiling():
        return compiled_ctc_loss(log_probs, targets, input_lengths, target_lengths, options)
    if (
        _len_torch_dispatch_stack() or _get_tracing_state() or type(log_probs) is not Tensor or log_probs.is_meta
    ) and goes_into_a_graph(log_probs):
        check_known_values(log_probs, targets, input_lengths, target_lengths, options)
        return compiled_ctc_loss(log_probs, targets, input_lengths, target_lengths, options)
    if options.as_torch:
        Replacement.calls += 1
    try:
        call = checked_call(log_probs, targets, input_lengths, target_lengths, options)
        if not call.has_kernel:
            return call.portable_loss(log_probs)
        if (log_probs.requires_grad and torch.is_grad_enabled()) or _has_tangent(log_probs):
            return _apply(log_probs, call)
        return call.evaluate()
    except Exception as error:
        scores = {"logits" if options.from_logits else "log_probs": log_probs}
        others = {"targets": targets, "input_lengths": input_lengths, "target_lengths": target_lengths}
        failure = explained(error, **scores, **others)
        if failure is error:
            raise
    raise failure


def _has_tangent(scores: Tensor) -> bool:
    """Whether scores carry a tangent, for forward-mode differentiation."""
    return forward_ad._current_level >= 0 and forward_ad.unpack_dual(scores).tangent is not None  # type: ignore[no-untyped-call]


@raises_tensor_errors
@outside_graphs
def lattice_loss(
    scores: Tensor,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: Lengths | None = None,
    reduction: str = "mean",
    zero_infinity: bool = False,
    *,
    from_logits: bool = False,
    batch_first: bool = False,
    validate: bool = False,
    class_scores: Tensor | None = None,
    state_scores: Tensor | Sequence[Tensor] | None = None,
    entry_costs: Tensor | None = None,
    long_arc_scores: Tensor | None = None,
) -> Tensor:
    """Minus the log of the sum over all paths of a lattice: the loss for any topology, also differentiable by costs.

    :func:`ctc_loss` with lattices instead of targets. Inside ``torch.compile`` it breaks the graph.

    Args:
        scores: (T, N, C), or (T, C) for one sample; log-probabilities as they are, or logits.
        lattices: a :class:`ctckit.Lattice` for each sample, or one for all.
        input_lengths: (N,) frames of each sample; all T if not given.
        reduction: ``"none"``, ``"sum"`` or ``"mean"`` (by the lattice's number of tokens, at least 1, then over the
            batch).
        zero_infinity: infeasible samples cost 0 instead of +inf. Their gradient is 0 in either case.
        from_logits: ``scores`` holds raw scores; log_softmax is part of the loss.
        batch_first: ``scores`` is (N, T, C).
        validate: reads lengths that are on a GPU, as in :func:`ctc_loss`.
        class_scores: (C,) nats added to each class's log-probability after the log_softmax, such as minus a scaled log
            prior, or a blank penalty. -inf forbids a class.
        state_scores: (N, K) nats added to what a state emits at every frame, K of the largest lattice, or a list of N
            tensors, each as long as its lattice; (K,) for one sample.
        entry_costs: (N, K) nats instead of the lattices' own, which can be learned; (K,) for one sample.
        long_arc_scores: (J,) nats instead of the lattices' own, sample by sample, each in the order of
            ``Lattice.long_arcs``.

    Returns:
        Nats, in the dtype of ``scores`` (float32 for half precision). With added scores it may be below 0.

    Raises:
        CTCError: for anything malformed; the message says where. On a GPU also for long arcs.

    Source:
        Sums over the paths of a graph: Graves et al. (ICML 2006) for CTC's; Hannun et al., "Differentiable Weighted
        Finite-State Transducers" (2020), for any.

    Example:
        >>> import ctckit
        >>> lattice = ctckit.ctc_lattice([1, 2]).with_optional([0, 1])
        >>> logits, cost = torch.zeros(3, 3), torch.zeros(5, requires_grad=True)
        >>> lattice_loss(logits, lattice, from_logits=True, entry_costs=cost).backward()
        >>> cost.grad.sum()  # states entered by a path, by token
        tensor(1.1364)
    """
    options = checked_flags(Options(0, reduction, zero_infinity, from_logits, batch_first, validate))
    if isinstance(state_scores, (list, tuple)) and all(isinstance(row, Tensor) for row in state_scores):
        state_scores = torch.nn.utils.rnn.pad_sequence(list(state_scores), batch_first=True)
    added = Added(class_scores, cast("Tensor | None", state_scores), entry_costs, long_arc_scores)
    given = any(tensor is not None for tensor in added)
    call = checked_lattice_call(scores, lattices, input_lengths, options, added if given else NOTHING)
    return loss_of(call, scores, added)


@raises_tensor_errors
@outside_graphs
def _scored_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    options: Options,
    class_scores: Tensor,
) -> Tensor:
    """:func:`ctc_loss` with scores of classes."""
    return _loss_with(checked_call(log_probs, targets, input_lengths, target_lengths, options), log_probs, class_scores)


def _many_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    options: Options,
    class_scores: Tensor | None,
    index: Lengths | None,
) -> Tensor:
    """:func:`ctc_loss` of several heads, or with an index."""

    def each(scores: Tensor, tokens: Any, frames: Any, lengths: Any) -> Tensor:
        reduction = "none" if index is None else options.reduction
        blank, zero_infinity, more = options.blank, options.zero_infinity, options._asdict()
        rest = {name: more[name] for name in ("from_logits", "batch_first", "validate")}
        return ctc_loss(
            scores, tokens, frames, lengths, blank, reduction, zero_infinity, **rest, class_scores=class_scores
        )

    given = targets, input_lengths, target_lengths
    if index is not None:
        found: Tensor = _indexed_loss(each, in_float32(log_probs), *given, index, options, class_scores)
        return found
    check_heads(log_probs, index, options)
    if is_dynamo_compiling() or goes_into_a_graph(log_probs) or backend_of(log_probs) == "triton":
        return folded_heads(each, log_probs, *given, options)
    loss: Tensor = _heads_loss(log_probs, *given, options, class_scores)
    return loss


@raises_tensor_errors
@outside_graphs
def _indexed_loss(
    each: Callable[..., Tensor],
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    index: Lengths,
    options: Options,
    class_scores: Tensor | None,
) -> Tensor:
    if isinstance(log_probs, Tensor) and log_probs.ndim == 4:
        check_heads(log_probs, index, options)
    if isinstance(log_probs, Tensor) and goes_into_a_graph(log_probs):
        raise TensorError("index cannot go into a graph: pass log_probs[:, index] and input_lengths[index] without it")
    if isinstance(log_probs, Tensor) and backend_of(log_probs) == "triton":
        return gathered_rows(each, log_probs, targets, input_lengths, target_lengths, index, options)
    call = index_call(log_probs, targets, input_lengths, target_lengths, index, options)
    return _loss_with(call, log_probs, class_scores)


@raises_tensor_errors
def _heads_loss(
    log_probs: Tensor,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    options: Options,
    class_scores: Tensor | None,
) -> Tensor:
    call = heads_call(log_probs, targets, input_lengths, target_lengths, options)
    return _loss_with(call, log_probs, class_scores)


def _loss_with(call: AnyCall, log_probs: Tensor, class_scores: Tensor | None) -> Tensor:
    if class_scores is None:
        return loss_of(call, log_probs, NOTHING)
    added = Added(class_scores)
    return loss_of(with_added_to(call, log_probs, added), log_probs, added)


def loss_of(call: AnyCall, scores: Tensor, added: Added) -> Tensor:
    """The loss of a checked call, differentiable by the scores and by what is added."""
    if not call.has_kernel:
        return call.portable_loss(scores)
    given = [tensor for tensor in (scores, *added) if tensor is not None]
    if (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)) or any(map(_has_tangent, given)):
        return _apply(scores, call, *added)
    return call.evaluate()


class CTCLoss(torch.nn.CTCLoss):
    """``torch.nn.CTCLoss``, faster and exact; arguments as for :func:`ctc_loss`.

    ``torch.jit.script`` takes a model that holds it, and leaves it out: a script can't call it.

    Example:
        >>> CTCLoss(blank=0, from_logits=True)
        CTCLoss(from_logits=True)
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: str = "mean",
        zero_infinity: bool = False,
        *,
        from_logits: bool = False,
        batch_first: bool = False,
        validate: bool = False,
    ) -> None:
        super().__init__(blank, _reduction(reduction), zero_infinity)
        self.from_logits = from_logits
        self.batch_first = batch_first
        self.validate = validate

    @torch.jit.unused
    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Lengths, target_lengths: Lengths) -> Tensor:
        """The loss; shapes as for :func:`ctc_loss`."""
        return ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
            from_logits=self.from_logits,
            batch_first=self.batch_first,
            validate=self.validate,
        )

    # A script calls nothing of this, but reads its signature where a model calls the loss.
    forward.__annotations__ = dict.fromkeys(
        ("log_probs", "targets", "input_lengths", "target_lengths", "return"), Tensor
    )

    def extra_repr(self) -> str:
        """The arguments that are not the defaults, as ``print`` shows them."""
        parameters = signature(type(self)).parameters.items()
        given = {name: getattr(self, name) for name, known in parameters if getattr(self, name) != known.default}
        return ", ".join(f"{name}={value!r}" for name, value in given.items())


@raises_tensor_errors
def _reduction(reduction: str) -> str:
    return check_reduction(reduction)


def _backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    scores, kept, *added = ctx.saved_tensors
    if torch.is_grad_enabled():  # create_graph=True: a gradient that can be differentiated itself
        return _differentiable(ctx.call, scores, added, grad_output)
    ctx.swept.kept = kept
    gradient = ctx.call.gradient(scores, ctx.swept, grad_output) if ctx.needs_input_grad[0] else None
    others = ctx.call.added_gradients(ctx.swept, grad_output) if added else ()
    ctx.swept.kept = None
    return gradient, None, *others


# Autograd, when it compiles, leaves it out; else it would say at length why it can't trace it.
_backward_alone = outside_graphs(_backward)


class _Loss(torch.autograd.Function):
    """The loss by a kernel; ``added`` are the call's other tensors that may need a gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, call: AnyCall, *added: Tensor | None) -> Tensor:
        ctx.call = call
        ctx.swept = call.sweep(scores)
        # So torch notices if they are changed before a second backward, and frees the large tensors after the last.
        ctx.save_for_backward(scores, ctx.swept.kept, *added)
        ctx.swept.kept = None
        return call.loss(ctx.swept)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return (_backward_alone if is_dynamo_compiling() else _backward)(ctx, grad_output)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, _: None, *added: Tensor | None) -> Tensor:
        """The loss's own tangent, in forward mode; only the scores may have one."""
        if tangent is None or any(each is not None for each in added):
            raise NotImplementedError("forward-mode differentiation by added scores: use torch.func.jvp")
        found: Tensor = ctx.call.tangent(ctx.call.gradient(tangent, ctx.swept, None), tangent)
        return found


def _gradient_of(node: Any, grad_output: Tensor) -> Tensor | tuple[Tensor | None, ...]:
    """``loss.grad_fn(grad_output)``: some code calls the node itself, to see which samples have no finite gradient."""
    with torch.no_grad():
        gradient, _, *others = node.apply(grad_output)
    return (gradient, *others) if others else gradient


_Loss._backward_cls.__call__ = _gradient_of  # type: ignore[method-assign]

# The C++ part of `_Loss.apply`. Its Python part is for torch.func, whose tensors the portable loss takes.
_apply: Callable[..., Tensor] = super(torch.autograd.Function, _Loss).apply


def _differentiable(
    call: AnyCall, scores: Tensor, added: Sequence[Tensor | None], grad_output: Tensor
) -> tuple[Tensor | None, ...]:
    """The gradients with a graph of their own, in float64."""
    loss = call.portable_loss(scores.double()).to(grad_output.dtype)
    inputs = [tensor for tensor in (scores, *added) if tensor is not None and tensor.requires_grad]
    found = iter(torch.autograd.grad(loss, inputs, grad_output, create_graph=True, allow_unused=True))
    first, *others = (
        next(found) if tensor is not None and tensor.requires_grad else None for tensor in (scores, *added)
    )
    return first, None, *others
