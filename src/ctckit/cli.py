"""The command line. May import everything; what a subcommand needs is imported when it runs."""

from __future__ import annotations

import importlib.util
import io
import os
import platform
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from .errors import CTCError, MissingExtraError

if TYPE_CHECKING:
    from .explanation import Explanation
    from .explanation.canvas import Picture as Drawn

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


class Picture(str, Enum):
    """The pictures that an explanation can draw."""

    inputs = "inputs"
    rule1 = "rule1"
    rule2 = "rule2"
    rule3 = "rule3"
    paths = "paths"
    computation = "computation"
    occupancy = "occupancy"
    gradient = "gradient"
    alignment = "alignment"


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


@app.command()
def explain(
    word: Annotated[
        str | None, typer.Argument(help="A word, to see its rules and paths: all classes equally probable.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames for a word; two more than it needs if not given.")] = None,
    log_probs: Annotated[
        Path | None, typer.Option(help="Scores (T, C): .npy, .npz, .csv, .pt or .safetensors.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="The target: text if there are labels, else classes: 4,4,1.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file, a line for each class, in their order.")] = None,
    blank: Annotated[int, typer.Option(help="The blank's class.")] = 0,
    logits: Annotated[bool, typer.Option("--logits", help="The scores are logits.")] = False,
    seed_page: Annotated[
        bool, typer.Option("--seed-page", help="The whole handbook page on CTCLoss, as HTML.")
    ] = False,
    picture: Annotated[
        Picture, typer.Option(help="Which picture to save as .svg, .png or .pdf.")
    ] = Picture.computation,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A page (.html) or a picture; without, text.")] = None,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
) -> None:
    """Shows what the CTC loss does with an input: in the terminal, as an interactive page, or as a picture."""
    from .explanation import explain_word
    from .files import write_whole

    if sum((word is not None, log_probs is not None, seed_page)) != 1:
        raise CTCError("explain takes one of: a WORD, --log-probs with --target, or --seed-page")
    if seed_page:
        from .explanation.seed_page import seed_page as whole_page

        out = _page(out or Path("ctc_loss.html"))
        write_whole(out, whole_page(lang).encode())
        print(f"wrote {out}")
        return
    if log_probs is None and (target is not None or labels is not None or logits or blank):
        raise CTCError("--target, --labels, --blank and --logits go with --log-probs: a WORD has classes of its own")
    if log_probs is not None and frames is not None:
        raise CTCError("--frames goes with a WORD: --log-probs has its own frames")
    if word is not None:
        explanation = explain_word(word, frames, lang=lang)
    else:
        explanation = _explain_file(log_probs, target, labels, blank, logits, lang)
    if out is None:
        return print(explanation)
    if out.suffix.lower() in (".html", ".htm"):
        explanation.save(out)
    else:
        _draw(explanation, picture).save(out)
    print(f"wrote {out}")


@app.command()
def diagnose(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Batches: .npz, .pt or .safetensors with log_probs, targets, "
            "input_lengths, target_lengths, and blank if it is not 0."
        ),
    ],
    blank: Annotated[
        int | None, typer.Option(help="The blank's class, if the files don't say and it is not 0.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Says what is wrong with batches, and how to mend it. Exits with 1 if anything is."""
    from json import dumps

    from .diagnosis import diagnose as diagnosed
    from .files import read_batch

    batches = [read_batch(file) for file in files]  # all of them, before any is judged
    found = {}
    for file, batch in zip(files, batches, strict=True):
        stored = batch.blank if blank is None else blank
        found[str(file)] = diagnosed(*batch[:4], 0 if stored is None else stored)
    if json:
        print(dumps({name: diagnosis.as_dict() for name, diagnosis in found.items()}, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(f"{name}\n{diagnosis}" for name, diagnosis in found.items()))
    if not all(diagnosis.healthy for diagnosis in found.values()):
        raise typer.Exit(1)


def _explain_file(
    log_probs: Path | None, target: str | None, labels: Path | None, blank: int, logits: bool, lang: str
) -> Explanation:
    """An explanation of scores in a file."""
    from .explanation import explain
    from .files import read_labels, read_log_probs

    if target is None or log_probs is None:
        raise CTCError("--target is missing: expected text with --labels, or classes, such as --target 4,4,1")
    names = None if labels is None else read_labels(labels)
    tokens: str | list[int] = target
    if names is None:
        try:
            tokens = [int(token) for token in target.replace(",", " ").split()]
        except ValueError:
            raise CTCError(
                f"--target {target!r} is text, and there are no --labels to read it by: "
                "expected classes, such as 4,4,1, or a file of labels"
            ) from None
    return explain(read_log_probs(log_probs), tokens, labels=names, blank=blank, from_logits=logits, lang=lang)


def _draw(explanation: Explanation, picture: Picture) -> Drawn:
    if picture.value.startswith("rule"):
        return explanation.rules()[int(picture.value[-1]) - 1]
    draw = {
        Picture.inputs: explanation.inputs,
        Picture.paths: explanation.example_paths,
        Picture.computation: explanation.computation,
        Picture.occupancy: explanation.occupancy,
        Picture.gradient: explanation.gradient,
        Picture.alignment: explanation.alignment,
    }
    drawn: Drawn = draw[picture]()
    return drawn


def _page(out: Path) -> Path:
    if out.suffix.lower() not in (".html", ".htm"):
        raise CTCError(f"--out {out}: the seed page is HTML: expected a name that ends in .html")
    return out


def _frontend(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return f"not importable: pip install 'ctckit[{name}]'"
    return f"importable ({name} {importlib.import_module(name).__version__})"


def main() -> None:
    """Runs the command line; bad input ends in one line, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no φ shows a question mark
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except (CTCError, MissingExtraError) as error:
        sys.exit(f"ctckit: {error}")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try once more
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"ctckit: the output can't be written: {error.strerror}")
