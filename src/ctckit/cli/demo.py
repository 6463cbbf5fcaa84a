"""``ctckit demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import CTCError


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("demo-report"),
    fast: Annotated[bool, typer.Option("--fast", help="A few seconds of training, to see that it works.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of data, network and batches.")] = 0,
) -> None:
    """Trains a recogniser of real handwriting, and writes a report."""
    from ..demo import run

    try:
        out.mkdir(parents=True, exist_ok=True)  # now, and not after the training
    except OSError as error:
        raise CTCError(f"out = {out} can't be made: {error.strerror}; expected a folder, or a name for one") from None
    run(out=out, fast=fast, seed=seed)
