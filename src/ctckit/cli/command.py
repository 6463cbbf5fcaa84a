"""What the commands share: their errors, and options that several of them have. Imports errors.py and typer."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import CTCError, InfeasibleError

LabelFile = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="A file of labels: one per line in class order, or as vocab.json, tokens.txt, .vocab, YAML."
    ),
]
Logits = Annotated[bool, typer.Option("--logits", help="The scores are logits.")]


NOTES = 10  # printed of those on a text
_FLAGS = {
    "blank": "--blank",
    "frame_shift": "--frame-shift",
    "transcript_format": "--transcript-format",
    "unknown_score": "--unknown-score",
}


class Command(TyperCommand):
    """A command whose errors name its flags where the library's messages name parameters.

    For this to work, a command's function calls its parameters what the library calls them.
    """

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except CTCError as error:
            flags = {parameter.name: _shown(parameter) for parameter in self.params if parameter.name}
            kind = InfeasibleError if isinstance(error, InfeasibleError) else CTCError
            raise kind(with_flags(str(error), flags)) from error


def _shown(parameter: Any) -> str:
    """What the help calls an option or an argument."""
    return max(parameter.opts, key=len) if parameter.param_type_name == "option" else str(parameter.name).upper()


def with_flags(message: str, flags: Mapping[str, str]) -> str:
    """A message with flags for parameters.

    Args:
        message: names parameters with a value, as ``extend = -1`` or ``from_logits=True``.
        flags: of parameters, by name. Other names are left as they are.

    Example:
        >>> with_flags("extend = -1: expected at least 0; pass from_logits=True", {"extend": "--extend"})
        '--extend -1: expected at least 0; pass from_logits=True'
        >>> with_flags("pass from_logits=True", {"from_logits": "--logits"})
        'pass --logits'
    """

    def flag(found: re.Match[str]) -> str:
        name, switch = found.groups()
        return found[0] if name not in flags else flags[name] + ("" if switch else " ")

    return re.sub(r"(?<![\w.])(\w+) ?= ?(True\b)?", flag, message)


def print_notes(notes: Sequence[str]) -> None:
    """Prints what was noted about labels and text to the error output, the first few only."""
    for note in notes[:NOTES]:
        print(with_flags(note, _FLAGS), file=sys.stderr)
    if len(notes) > NOTES:
        print(f"and {len(notes) - NOTES} more like these", file=sys.stderr)
