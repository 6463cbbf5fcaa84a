"""``ctckit demo`` and ``ctckit demo-speech``."""

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

    _make(out)  # now, and not after the training
    run(out=out, fast=fast, seed=seed)


def demo_speech(
    out: Annotated[Path, typer.Option(help="Folder of the page, and of the recordings.")] = Path("demo-speech"),
    lang: Annotated[str, typer.Option(help="The language that the page opens in: en or zh.")] = "en",
) -> None:
    """Finds the words of real recordings and drawn lines, on a page that plays each word."""
    from ..demo.speech import run

    _make(out)
    run(out=out, lang=lang)


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CTCError(f"out = {out} can't be made: {error.strerror}; expected a folder, or a name for one") from None
