"""Runs the commands; turns errors into one line and an exit status."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from ..errors import CTCError, InfeasibleError, MissingExtraError
from .align import align
from .command import Command
from .decode import decode
from .delay import delay
from .demo import demo, demo_speech
from .diagnose import diagnose
from .explain import explain
from .info import info
from .lm import lm

app = typer.Typer(
    name="ctckit",
    help="Connectionist Temporal Classification: train with it, and see what it does.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes cut the names of options in a narrow terminal
)
for command in (info, demo, demo_speech, explain, diagnose, align, decode, delay, lm):
    app.command(cls=Command)(command)


def _print_version(asked: bool) -> None:
    if asked:
        from .. import __version__

        print(f"ctckit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The options of ctckit itself."""


def main() -> None:
    """Runs the command line. Bad input ends in one line, not in a traceback.

    Status 2: the command, or a file that it names, can't be used, and nothing was done. Status 1: it was done, and the
    answer is no: an unhealthy batch, a text that does not fit, rows of a corpus that failed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without φ shows a question mark
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except (CTCError, MissingExtraError) as error:
        print(f"ctckit: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, InfeasibleError) else 2)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter flushes stdout again
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"ctckit: the output can't be written: {error.strerror}")
