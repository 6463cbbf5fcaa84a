"""What ctckit raises for bad input, and how its messages are made. Imports nothing of ctckit."""

from __future__ import annotations


class CTCError(ValueError):
    """Input that no CTC computation can take.

    The message names the argument, the position and the value found, what was expected, and the likely mend.
    It is raised before any work is done, so nothing has been written or changed.
    """


class InfeasibleError(CTCError):
    """A target that no path can reach, where one was to be found."""


class MissingExtraError(ImportError):
    """A feature was used whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str, missing: str) -> None:
        super().__init__(f"{feature} needs the package {missing!r}: pip install 'ctckit[{extra}]'")
