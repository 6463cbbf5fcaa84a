"""The errors that ctckit raises. May import faults.py and installation.py, so that every module may raise them."""

from __future__ import annotations

from .faults import Fault
from .installation import install_command


class CTCError(ValueError):
    """An argument is wrong.

    The message names the argument, the position, the value found, what was expected, and a hint on how to fix it. It is
    raised before any work is done, so nothing has been written or changed.

    Args:
        problem: the message; or a fault, whose English words are then the message.

    Attributes:
        fault: what is wrong, as data; or None, if there is only the message.

    Example:
        >>> import ctckit
        >>> try:
        ...     ctckit.ctc_loss([[0.0, -1.0]], [1], 2, 1)
        ... except ctckit.CTCError as error:
        ...     print(error.fault.code, error.fault.argument, error.fault.value, error.fault.expected)
        input-length-out-of-range input_lengths 2 range(0, 2)
    """

    def __init__(self, problem: str | Fault) -> None:
        self.fault = None if isinstance(problem, str) else problem
        super().__init__(problem if isinstance(problem, str) else problem.message("en"))


class InfeasibleError(CTCError):
    """A path was to be found, and the target has none.

    Attributes:
        sample: its index in the batch; None for a single sample without a batch axis.
        frames: how many frames it has.
        needed: the fewest frames that its target needs. If that is not more than `frames`, there are paths, but all of
            them meet a probability of 0, NaN or +inf.
    """

    def __init__(
        self, problem: str | Fault, *, sample: int | None = None, frames: int | None = None, needed: int | None = None
    ) -> None:
        super().__init__(problem)
        self.sample = sample
        self.frames = frames
        self.needed = needed


class CTCWarning(UserWarning):
    """A training run went wrong; ``warnings.filterwarnings("ignore", category=ctckit.CTCWarning)`` silences it."""


class MissingExtraError(ImportError):
    """A feature was used whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str, missing: str) -> None:
        super().__init__(f"{feature} needs the package {missing!r}: {install_command(extra)}")
