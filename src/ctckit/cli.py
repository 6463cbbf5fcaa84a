"""The command line. May import everything; what a subcommand needs is imported when it runs."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path
from typing import Annotated

from .errors import CTCError, MissingExtraError

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError as error:
    raise SystemExit(str(MissingExtraError("The command line", "cli", error.name or "typer"))) from None

app = typer.Typer(
    name="ctckit",
    help="Connectionist Temporal Classification: train with it, and see what it does.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FRONTENDS = ("torch",)


@app.command()
def info() -> None:
    """Version, kernels in use, threads, and which frontends can be imported."""
    from . import __version__, get_num_threads
    from .kernels import native

    table = Table(show_header=False, box=None)
    available = ", ".join(native.instruction_sets())
    table.add_row("ctckit", __version__)
    table.add_row("instruction set", f"{native.instruction_set()} (available: {available})")
    table.add_row("threads", str(get_num_threads()))
    for name in FRONTENDS:
        table.add_row(f"ctckit.{name}", _frontend(name))
    table.add_row("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    Console().print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("demo-report"),
    fast: Annotated[bool, typer.Option("--fast", help="A few seconds of training, to see that all works.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of data, network and batches.")] = 0,
) -> None:
    """Trains a recogniser of real handwriting with the CTC loss, and writes a report of it."""
    from .demo import run

    run(out=out, fast=fast, seed=seed)


def _frontend(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"not importable: pip install 'ctckit[{name}]'"
    return f"importable ({name} {importlib.import_module(name).__version__})"


def main() -> None:
    """Runs the command line; bad input ends in one line, not in a traceback."""
    try:
        app()
    except (CTCError, MissingExtraError) as error:
        sys.exit(f"ctckit: {error}")
