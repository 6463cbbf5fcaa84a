"""The loss of targets and of lattices, as functions that jax transforms.

May import jax, arguments.py, backends/, lattices.py, lattice/ and validate/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax.numpy as jnp

from ..lattice import Lattice
from ..validate import Reduction, check_choice, check_flag, check_reduction
from .arguments import Call, checked_call, checked_lattice_call
from .backends import BACKENDS, Options, differentiable_loss
from .lattices import Array

Backend = Literal["ffi", "triton", "scan"]


def ctc_loss(
    logits: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
    from_logits: bool = True,
    backend: Backend | None = None,
) -> Array:
    """The CTC loss of jax's arrays: :func:`ctckit.ctc_loss`, batch first, from logits, and differentiable.

    On the CPU it is computed by C++ kernels, which XLA calls; on GPUs by Triton's, if jax-triton is installed; else by
    jax's own operations.

    Args:
        logits: (…, T, C) raw scores of C classes at T frames, with any number of axes before, or none for one sample;
            float32, bfloat16, float16, and float64 where jax has it.
        targets: integers (…, S) tokens, padded to one length. Padding is never read.
        input_lengths: integers (…) frames of each sample. Frames beyond are never read.
        target_lengths: integers (…) tokens of each sample.
        blank: the blank's class; no target may hold it.
        reduction: ``"none"``; ``"sum"``; or ``"mean"``: each loss divided by its target length (at least 1), then the
            mean over all samples.
        zero_infinity: an infeasible sample (one whose target has no path of its length) costs 0 instead of +inf. Its
            gradient is 0 in either case.
        from_logits: False: ``logits`` holds log-probabilities, which are taken as they are; -inf is a probability of 0.
        backend: ``"ffi"`` for the C++ kernels, on CPUs only; ``"triton"`` for the GPU kernels, on NVIDIA's GPUs, for
            targets, with jax-triton; ``"scan"`` for jax's operations, anywhere. By default the platform that the call
            is compiled for decides.

    Returns:
        Nats, (…) for ``"none"``, else a scalar; float64 for float64 logits, else float32. NaN, with a gradient of NaN,
        for a sample with NaN or +inf in a used frame; its neighbours are exact. Scores 1.8e8 nats below their frame's
        best label count as -inf.

    Raises:
        CTCError: for anything malformed; the message says where. Values that are not known yet, inside of ``jit``,
            raise a ``jax.errors.JaxRuntimeError`` on the CPU, in the same words; on other devices such a sample has
            loss NaN and gradient NaN.

    Note:
        ``jit``, ``grad`` of any order, ``vmap``, ``shard_map``, ``checkpoint`` and batches that are spread over a mesh
        of devices work; forward mode (``jvp``) does not. Second derivatives are computed by jax's operations.
        ``jax.export`` for CPUs must be told to let the kernels through:
        ``disabled_checks=[jax.export.DisabledSafetyCheck.custom_call(name) for name in ctckit.jax.EXPORTED]``.

    Source:
        Graves et al., "Connectionist Temporal Classification" (ICML 2006), equations 3-8.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> logits = jnp.zeros((2, 4, 3))
        >>> targets, frames, lengths = jnp.array([[1, 2], [2, 2]]), jnp.array([4, 4]), jnp.array([2, 2])
        >>> loss, gradient = jax.value_and_grad(ctc_loss)(logits, targets, frames, lengths)
        >>> print(round(float(loss), 4), gradient.shape)
        1.1179 (2, 4, 3)
    """
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    call = checked_call(logits, targets, input_lengths, target_lengths, blank, from_logits=from_logits)
    return _reduced(call, _losses(call, backend), how, zero_infinity)


def lattice_loss(
    logits: Any,
    lattices: Lattice | Sequence[Lattice],
    input_lengths: Any | None = None,
    *,
    reduction: str = "mean",
    zero_infinity: bool = False,
    from_logits: bool = True,
    class_scores: Any | None = None,
    state_scores: Any | None = None,
    backend: Backend | None = None,
) -> Array:
    """Minus the log of the sum over all paths of a lattice: :func:`ctc_loss` for any topology.

    Differentiable by the logits, the class scores and the state scores.

    Args:
        logits: (…, T, C), as for :func:`ctc_loss`.
        lattices: a :class:`ctckit.Lattice` for each sample, in the order of the samples, or one for all.
        input_lengths: integers (…) frames of each sample; all T if not given.
        reduction: as for :func:`ctc_loss`; tokens are those of the lattices.
        zero_infinity: as for :func:`ctc_loss`.
        from_logits: as for :func:`ctc_loss`.
        class_scores: (C,) nats added to each class's log-probability after the log_softmax; -inf forbids a class.
        state_scores: (…, K) nats added to what a state emits at every frame, K of the largest lattice, or a list of
            rows, each as long as its lattice.
        backend: as for :func:`ctc_loss`.

    Returns:
        Nats, as :func:`ctc_loss`. With added scores it may be below 0.

    Raises:
        CTCError: for anything malformed; the message says where. And for lattices with long arcs, which have losses and
            first derivatives on CPUs only.

    Source:
        Sums over the paths of a graph: Graves et al. (ICML 2006) for CTC's; Hannun et al., "Differentiable Weighted
        Finite-State Transducers" (2020), for any.

    Example:
        >>> import ctckit, jax.numpy as jnp
        >>> loss = lattice_loss(jnp.zeros((3, 3)), ctckit.ctc_lattice([1, 2]).minimal(), reduction="sum")
        >>> print(round(float(loss), 4))
        2.1972
    """
    how, zero_infinity = check_reduction(reduction), check_flag("zero_infinity", zero_infinity)
    call = checked_lattice_call(
        logits,
        lattices,
        input_lengths,
        from_logits=from_logits,
        class_scores=class_scores,
        state_scores=state_scores,
    )
    return _reduced(call, _losses(call, backend), how, zero_infinity)


def options_of(call: Call, backend: str | None) -> Options:
    """What a call says besides its arrays.

    Raises:
        CTCError: for an unknown name of a backend.
    """
    chosen = None if backend is None else check_choice("backend", backend, BACKENDS)
    return Options(chosen, call.from_logits, call.blank, not call.lead)


def _losses(call: Call, backend: str | None) -> Array:
    return differentiable_loss(call.scores, call.batch, options_of(call, backend))


def _reduced(call: Call, loss: Array, how: Reduction, zero_infinity: bool) -> Array:
    if zero_infinity:
        loss = jnp.where(loss == jnp.inf, 0, loss)
    if how == "none":
        return call.by_sample(loss)
    if how == "mean":
        loss = loss / (jnp.maximum(call.num_tokens, 1) * loss.shape[0])
    return loss.sum()
