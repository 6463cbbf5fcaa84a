"""What computed a loss's scores, read off autograd's graph: it decides in which form their gradient is best handed on.

The gradient of log-probabilities is -γ. A log_softmax above takes off softmax times its sum, which is -1. Where the
network is sure the two cancel, and of -γ, which was rounded near -1, few digits are left. Adding softmax(scores) first
changes nothing that a log_softmax hands on, and takes the difference before it is rounded. May import torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor


class _Axis(NamedTuple):
    """Where the classes are in a tensor."""

    at: int
    axes: int  # of the tensor
    size: int


def is_log_softmax(scores: Tensor) -> bool:
    """Whether scores are a log_softmax over their last axis, perhaps cast, copied, or with other axes rearranged.

    Example:
        >>> import torch
        >>> logits = torch.zeros(3, 2, 4, requires_grad=True)
        >>> is_log_softmax(logits.log_softmax(-1).transpose(0, 1).float())
        True
        >>> is_log_softmax(logits), is_log_softmax(logits.log_softmax(0)), is_log_softmax(logits.log_softmax(-1) * 2)
        (False, False, False)
    """
    node: Any = scores.grad_fn
    classes: _Axis | None = _Axis(scores.ndim - 1, scores.ndim, scores.shape[-1])
    while node is not None and classes is not None:
        name = node.name()
        if name == "LogSoftmaxBackward0":
            return _dim(node._saved_dim, classes.axes) == classes.at
        given = _GIVEN.get(name)
        if given is None:
            return False
        classes, node = given(node, classes), node.next_functions[0][0]
    return False


# For autograd's nodes that may stand between: where the classes are in what an operation was given, from where they are
# in what it returned; None if they are no longer together, or not all.


def _same(node: Any, classes: _Axis) -> _Axis | None:
    return classes


def _transposed(node: Any, classes: _Axis) -> _Axis | None:
    first, second = _dim(node._saved_dim0, classes.axes), _dim(node._saved_dim1, classes.axes)
    return classes._replace(at={first: second, second: first}.get(classes.at, classes.at))


def _permuted(node: Any, classes: _Axis) -> _Axis | None:
    return classes._replace(at=_dim(node._saved_dims[classes.at], classes.axes))


def _unsqueezed(node: Any, classes: _Axis) -> _Axis | None:
    new = _dim(node._saved_dim, classes.axes)
    return classes._replace(at=classes.at - (new < classes.at), axes=classes.axes - 1)


def _one_axis_less(node: Any, classes: _Axis) -> _Axis | None:
    axes = classes.axes + 1
    gone = _dim(node._saved_dim, axes)
    return classes._replace(at=classes.at + (gone <= classes.at), axes=axes)


def _squeezed(node: Any, classes: _Axis) -> _Axis | None:
    was_one = (
        len(node._saved_self_sym_sizes) > classes.axes
        and node._saved_self_sym_sizes[_dim(node._saved_dim, classes.axes + 1)] == 1
    )
    return _one_axis_less(node, classes) if was_one else classes


def _in_part(node: Any, classes: _Axis) -> _Axis | None:
    return None if _dim(node._saved_dim, classes.axes) == classes.at else classes


def _viewed(node: Any, classes: _Axis) -> _Axis | None:
    """Rows stay rows where the last axis keeps its size."""
    sizes, last = node._saved_self_sym_sizes, classes.at == classes.axes - 1
    return _Axis(len(sizes) - 1, len(sizes), classes.size) if last and sizes[-1:] == (classes.size,) else None


def _dim(saved: int, axes: int) -> int:
    """An axis as autograd saves it: a negative one as an unsigned number."""
    return (saved - 2**64 if saved >= 2**63 else saved) % axes


_GIVEN: dict[str, Callable[[Any, _Axis], _Axis | None]] = {
    "ToCopyBackward0": _same,
    "CloneBackward0": _same,
    "AliasBackward0": _same,
    "TransposeBackward0": _transposed,
    "PermuteBackward0": _permuted,
    "UnsqueezeBackward0": _unsqueezed,
    "SqueezeBackward1": _squeezed,
    "SelectBackward0": _one_axis_less,
    "UnbindBackward0": _one_axis_less,
    "SliceBackward0": _in_part,
    "SplitBackward0": _in_part,
    "IndexSelectBackward0": _in_part,
    "ViewBackward0": _viewed,
    "UnsafeViewBackward0": _viewed,
}
