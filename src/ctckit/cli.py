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
    from .annotate.utterance import Options
    from .drawing.canvas import Picture as Drawn
    from .explanation import Explanation

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
NOTES = 10  # on what of a text the labels can't spell


class UsageError(CTCError):
    """A command that can't be meant: exit code 2."""


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


@app.command()
def align(
    emissions: Annotated[
        Path | None, typer.Argument(help="Scores (T, C): .npy, .npz, .csv, .pt or .safetensors.")
    ] = None,
    transcript: Annotated[Path | None, typer.Argument(help="The text, a line for each segment.")] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="A corpus instead, as JSON lines: id, emissions, text (or transcript, a file), and if they differ "
            "from the options labels, frame_shift, blank."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The file: .TextGrid, .srt, .vtt, .ass, .ctm, .txt (Audacity), .json, .csv or .tsv; for a manifest "
            "the folder.",
        ),
    ] = None,
    formats: Annotated[
        str | None, typer.Option("--format", help="For a manifest: TextGrid,json and so on; json if not given.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file, a line for each class, in their order.")] = None,
    frame_shift: Annotated[float | None, typer.Option(help="Seconds from one frame to the next.")] = None,
    blank: Annotated[int | None, typer.Option(help="The blank's class; told from the labels if not given.")] = None,
    logits: Annotated[bool, typer.Option("--logits", help="The scores are logits.")] = False,
    extend: Annotated[int, typer.Option(help="Frames of blanks that a token may grow over on each side.")] = 0,
    optional_words: Annotated[
        bool, typer.Option("--optional-words", help="Words of the text may be missing in the recording.")
    ] = False,
    star: Annotated[
        bool, typer.Option("--star", help="There may be more in the recording than in the text, between its words.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="A picture too: .png, .svg or .pdf.")] = None,
    audio: Annotated[Path | None, typer.Option(help="For the picture: the recording, as .wav.")] = None,
    image: Annotated[Path | None, typer.Option(help="For the picture: the line that was read.")] = None,
    lang: Annotated[str, typer.Option(help="The picture's language: en or zh.")] = "en",
    threads: Annotated[int | None, typer.Option(help="For a manifest: so many rows at a time; 1 if not given.")] = None,
) -> None:
    """Finds the time of every word and token of a text: of one recording, or of a corpus.

    A corpus may be stopped and started again. Exits with 1 if any of its rows is bad (see errors.jsonl), with 2 for a
    command that can't be meant.
    """
    from .annotate.utterance import Options

    options = Options(logits, extend, optional_words, star)
    if manifest is not None:
        alone = {"EMISSIONS": emissions, "--picture": picture, "--audio": audio, "--image": image}
        for name, value in alone.items():
            if value is not None:
                raise UsageError(f"{name} is for one recording: it does not go with --manifest")
        if out is None:
            raise UsageError("--out is missing: expected the folder of the outputs")
        try:
            threads = 1 if threads is None else threads
            return _align_corpus(manifest, out, formats or "json", options, (labels, frame_shift, blank), threads)
        except (CTCError, MissingExtraError) as error:
            raise UsageError(str(error)) from None
    if emissions is None or transcript is None:
        raise UsageError("align takes EMISSIONS and TRANSCRIPT, or --manifest")
    if formats is not None or threads is not None:
        raise UsageError("--format and --threads go with --manifest; the format of --out is told by its ending")
    if labels is None or frame_shift is None:
        raise UsageError(f"--{'labels' if labels is None else 'frame-shift'} is missing")
    if out is None and picture is None:
        raise UsageError("--out is missing: expected a file to write, or --picture")
    if picture is None and (audio is not None or image is not None):
        raise UsageError("--audio and --image are for --picture, which is missing")
    _align_one(emissions, transcript, labels, frame_shift, blank, options, out, picture, (audio, image), lang)


def _align_one(
    emissions: Path,
    transcript: Path,
    labels: Path,
    frame_shift: float,
    blank: int | None,
    options: Options,
    out: Path | None,
    picture: Path | None,
    strips: tuple[Path | None, Path | None],
    lang: str,
) -> None:
    """One recording: what can be wrong is found before anything is written."""
    from .annotate import formats
    from .annotate import utterance as one
    from .catalogue import check_language
    from .files import write_whole

    options.check()
    one.check_frame_shift(frame_shift)
    read = [os.path.realpath(path) for path in (emissions, transcript, labels, *strips) if path is not None]
    for path in (out, picture):
        if path is not None and os.path.realpath(path) in read:
            raise CTCError(f"{path} is an input, and would be written over: choose another name")
        if path is not None and not path.absolute().parent.is_dir():  # or one of them would be written, not the other
            raise CTCError(f"{path}: can't be written: there is no folder {path.parent}")
    if out is not None:
        formats.check_format(out)
    check_language(lang)
    vocabulary, scores = one.read_vocabulary(labels, blank), one.read_scores(emissions)
    found = one.align(scores, one.read_text(transcript), vocabulary, frame_shift, options)
    content = None if out is None else formats.encoded(found.lines, out, duration=found.duration)
    for note in found.notes[:NOTES]:
        print(note, file=sys.stderr)
    if len(found.notes) > NOTES:
        print(f"and {len(found.notes) - NOTES} more like these", file=sys.stderr)
    if picture is not None:
        import numpy as np

        from .annotate.picture import draw
        from .annotate.strips import read_strip
        from .kernels.reference import log_softmax

        log_probs = log_softmax(scores.astype(np.float64)) if options.from_logits else scores
        strip = read_strip(*strips)
        draw(found, log_probs, vocabulary.labels, vocabulary.blank, strip=strip, lang=lang).save(picture)
    if out is not None and content is not None:
        write_whole(out, content)
    print(one.summary(found.lines))
    for path in (out, picture):
        if path is not None:
            print(f"wrote {path}")


def _align_corpus(
    manifest: Path,
    out: Path,
    formats: str,
    options: Options,
    defaults: tuple[Path | None, float | None, int | None],
    threads: int,
) -> None:
    from .annotate.corpus import ERRORS, Corpus, suffixes
    from .annotate.manifest import Defaults
    from .annotate.progress import Display

    corpus = Corpus(manifest, out, suffixes(formats), options, Defaults(*defaults))
    try:
        with Display(Console(stderr=True)) as display:
            outcome = corpus.run(threads, display.update)
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on where this one ended, in {out}", file=sys.stderr)
        raise typer.Exit(130) from None
    before = f", {outcome.before} were before" if outcome.before else ""
    print(f"{outcome.now} rows aligned{before}, {outcome.bad} bad" + (f": see {out / ERRORS}" if outcome.bad else ""))
    if outcome.lost:
        print(f"{out} also has {outcome.lost} rows that {manifest} lacks")
    if outcome.bad:
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
    except UsageError as error:
        print(f"ctckit: {error}", file=sys.stderr)
        sys.exit(2)
    except (CTCError, MissingExtraError) as error:
        sys.exit(f"ctckit: {error}")
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter would try once more
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"ctckit: the output can't be written: {error.strerror}")
