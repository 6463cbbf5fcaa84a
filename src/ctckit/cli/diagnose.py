"""``ctckit diagnose``."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from .command import LabelFile, Logits


def diagnose(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Batches: .npz, .pt, .pth or .safetensors with log_probs (or logits, or emissions), targets, "
            "input_lengths, target_lengths, and blank if it is not 0."
        ),
    ],
    blank: Annotated[
        int | None, typer.Option(help="The blank's class; by default what each file says, else 0.")
    ] = None,
    from_logits: Logits = False,
    batch_first: Annotated[bool, typer.Option("--batch-first", help="The scores are (N, T, C).")] = False,
    labels: LabelFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    lang: Annotated[str, typer.Option(help="The report's language: en or zh.")] = "en",
) -> None:
    """Says what is wrong with batches, and how to fix it.

    Exits with 1 if anything is, with 2 for a command or a file that can't be used.
    """
    from ..diagnosis import diagnose as diagnose_batch
    from ..files import read_batch, read_labels
    from ..validate import check_language

    check_language(lang)
    names = None if labels is None else read_labels(labels)
    # A file that can't be read is an error before any report.
    batches = [read_batch(file, from_logits=from_logits) for file in files]
    found = {}
    for file, batch in zip(files, batches, strict=True):
        stored = batch.blank if blank is None else blank
        found[str(file)] = diagnose_batch(
            *batch[:4],
            0 if stored is None else stored,
            from_logits=batch.from_logits,
            batch_first=batch_first,
            labels=names,
            lang=lang,
        )
    if json:
        print(dumps({name: diagnosis.as_dict() for name, diagnosis in found.items()}, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(f"{name}\n{diagnosis}" for name, diagnosis in found.items()))
    if not all(diagnosis.healthy for diagnosis in found.values()):
        raise typer.Exit(1)
