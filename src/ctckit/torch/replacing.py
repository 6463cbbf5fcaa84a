"""Replaces torch's loss by ours inside a ``with`` block, so that code which calls torch's need not change.

May import torch, validate/, arguments.py, calls.py, errors.py and loss.py.
"""

from __future__ import annotations

import importlib
import multiprocessing
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator
from functools import partial
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_variadic

from ..validate import Fault, check_choice, check_flag
from .arguments import Options
from .calls import Replacement
from .errors import TensorError, raises_tensor_errors
from .loss import loss_by_options

_handle: Callable[..., Any] = handle_torch_function
_lock = threading.Lock()
_KEY = "ctckit.torch.replace_torch_ctc"  # under which a process hands the replacement on to those that it starts
# What each open block of the process found. A block that closes puts back what the youngest one found: blocks of
# several threads need not close in order, and what the oldest one found comes back when all are closed.
_found: list[tuple[Any, Any, Any]] = []


class replace_torch_ctc(ContextDecorator):
    """Makes ``torch.nn.functional.ctc_loss``, ``torch.nn.CTCLoss`` and ``torch.ctc_loss`` ours inside the block.

    It holds for the whole process: other threads also get our loss while the block is open. Blocks can be nested, and
    opened by several threads at once; the last one to close puts back what the first one found, after an exception too.
    Processes that ``multiprocessing`` starts in the block by spawning, as ``torch.multiprocessing.spawn`` does, inherit
    it for good. A function that was imported by name before (``from torch.nn.functional import ctc_loss``) calls
    ``torch.ctc_loss``, and so ours; ``from torch import ctc_loss`` stays torch's, unless ``modules`` has its module.

    What differs from torch inside the block:

    - Malformed arguments raise a :class:`ctckit.CTCError`, which is a RuntimeError too, that says where. That includes
      targets that hold a number that is not a class, for which torch reads other memory, or the blank.
    - The gradient of log-probabilities is the true one, -γ; torch's is exp(log_probs) - γ. If log_softmax comes before
      the loss, as it should, both give the same gradient.
    - float16 and bfloat16 are accepted, and targets in floats.

    As in torch, and unlike elsewhere in ctckit, the gradient of an infeasible sample is NaN with
    ``zero_infinity=False``: some projects find such samples by it.

    Args:
        blank_in_targets: ``"raise"``; or ``"torch"``: the blank may be a token, and the loss is what torch computes for
            it, with one warning. On a GPU such calls wait for it.
        modules: modules, or their names, in which names bound to torch's functions are replaced too.

    Attributes:
        calls: how often the loss was called in this process while the block was open. If never, closing it warns.

    Raises:
        CTCError: a module of ``modules`` holds no ``ctc_loss`` of torch's.

    Example:
        >>> log_probs = torch.zeros(4, 2, 3).log_softmax(-1)
        >>> batch = torch.tensor([[1, 2], [2, 2]]), (4, 4), (2, 2)
        >>> with replace_torch_ctc() as replaced:
        ...     loss = torch.nn.CTCLoss()(log_probs, *batch)
        >>> round(loss.item(), 4), replaced.calls
        (1.1179, 1)
    """

    @raises_tensor_errors
    def __init__(
        self,
        *,
        blank_in_targets: Literal["raise", "torch"] = "raise",
        modules: Sequence[ModuleType | str] = (),
    ) -> None:
        self._blanks = check_choice("blank_in_targets", blank_in_targets, ("raise", "torch"))
        self._modules = list(modules)
        self._bound: list[tuple[ModuleType, str, Any]] = []  # names in modules, and what they were
        self._spawned = False
        self._calls: int | None = None
        self._before = 0

    def _recreate_cm(self) -> replace_torch_ctc:
        """A block of its own for each call of a decorated function."""
        return type(self)(blank_in_targets=self._blanks, modules=self._modules)

    @property
    def calls(self) -> int:
        """How often the loss was called while the block was open."""
        return Replacement.calls - self._before if self._calls is None else self._calls

    def __enter__(self) -> replace_torch_ctc:
        self._bound = self._bind()
        with _lock:
            _found.append((torch.nn.functional.ctc_loss, torch.ctc_loss, _handed_on(_Inherited(self))))
            _set(*_OURS[self._blanks])
        for module, name, before in self._bound:
            setattr(module, name, _ours_for(before, self._blanks))
        self._calls, self._before, Replacement.warned_of_blanks = None, Replacement.calls, False
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _lock:
            *functions, handed_on = _found.pop()
            _set(*functions)
            _handed_on(handed_on)
        for module, name, before in self._bound:
            setattr(module, name, before)
        self._calls = self.calls
        if not (self._calls or kind or self._spawned):
            name = "replace_torch_ctc()"
            warnings.warn(Fault("never-called", name, hint="early-names").message(), stacklevel=2)

    def _bind(self) -> list[tuple[ModuleType, str, Any]]:
        """The names in the modules that are bound to a loss of torch's."""
        found = []
        for n, given in enumerate(self._modules):
            module = importlib.import_module(given) if isinstance(given, str) else given
            names = [name for name, value in vars(module).items() if _ours_for(value, self._blanks)]
            if not names:
                name = str(getattr(module, "__name__", module))
                raise TensorError(Fault("no-early-name", "modules", (n,), name))
            found += [(module, name, getattr(module, name)) for name in names]
        return found


def _set(function: Any, builtin: Any) -> None:
    torch.nn.functional.ctc_loss, torch.ctc_loss = function, builtin


class _Inherited:
    """What a process that is started in a block is handed: reading it there opens the same block, for good."""

    def __init__(self, block: replace_torch_ctc) -> None:
        self._block = block

    def __reduce__(self) -> tuple[Any, ...]:
        block = self._block
        block._spawned = True
        names = [given if isinstance(given, str) else given.__name__ for given in block._modules]
        return _inherit, (block._blanks, [name for name in names if name != "__main__"])


def _inherit(blanks: Literal["raise", "torch"], modules: list[str]) -> _Inherited:
    return _Inherited(replace_torch_ctc(blank_in_targets=blanks, modules=modules).__enter__())


def _handed_on(inherited: _Inherited | None) -> _Inherited | None:
    """Sets what processes started from here on are handed; returns what it was.

    multiprocessing copies a process's settings into those that it starts, and pickles them if it spawns them.
    """
    settings: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before: _Inherited | None = settings.pop(_KEY, None)
    if inherited is not None:
        settings[_KEY] = inherited
    return before


@torch.jit.unused
def _ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """With the signature of torch's, without our additional arguments."""
    given = (log_probs, targets, input_lengths, target_lengths)
    return _called(_ctc_loss, given, blank, reduction, zero_infinity, blank_in_targets=False)


@torch.jit.unused
def _ctc_loss_with_blanks(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """The same, for targets that may hold the blank."""
    given = (log_probs, targets, input_lengths, target_lengths)
    return _called(_ctc_loss_with_blanks, given, blank, reduction, zero_infinity, blank_in_targets=True)


# A script calls nothing of these, but reads their signatures.
_TYPES = {"blank": int, "reduction": str, "zero_infinity": bool}
for _each in (_ctc_loss, _ctc_loss_with_blanks):
    _each.__annotations__ = dict.fromkeys(_each.__annotations__, Tensor) | _TYPES


def _called(
    itself: Any,
    given: tuple[Tensor, Tensor, Tensor, Tensor],
    blank: int,
    reduction: str,
    zero_infinity: bool,
    *,
    blank_in_targets: bool,
) -> Tensor:
    if has_torch_function_variadic(*given):
        found: Tensor = _handle(itself, given, *given, blank, reduction, zero_infinity)
        return found
    if type(zero_infinity) is not bool:
        zero_infinity = _flag(zero_infinity)
    options = Options(blank, reduction, zero_infinity, False, False, False, True, blank_in_targets)
    return loss_by_options(*given, options)


def _builtin_ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor,
    target_lengths: Tensor,
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
    *,
    blank_in_targets: bool = False,
) -> Tensor:
    """With the signature of ``torch.ctc_loss``, whose reduction is a number."""
    by_name = _ctc_loss_with_blanks if blank_in_targets else _ctc_loss
    how: Any = dict(enumerate(("none", "mean", "sum"))).get(reduction, reduction)
    loss: Tensor = by_name(log_probs, targets, input_lengths, target_lengths, blank, how, zero_infinity)
    return loss


@raises_tensor_errors
def _flag(zero_infinity: object) -> bool:
    return check_flag("zero_infinity", zero_infinity)


_OURS = {
    "raise": (_ctc_loss, _builtin_ctc_loss),
    "torch": (_ctc_loss_with_blanks, partial(_builtin_ctc_loss, blank_in_targets=True)),
}
_TORCHS = (torch.nn.functional.ctc_loss, torch.ctc_loss)


def _ours_for(function: object, blanks: str) -> Any:
    """What stands for one of torch's functions; None for anything else."""
    for torchs, ours in zip(_TORCHS, _OURS[blanks], strict=True):
        if function is torchs:
            return ours
    return None
