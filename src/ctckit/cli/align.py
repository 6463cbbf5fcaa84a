"""``ctckit align``: checks which options go together; annotate and corpus do the work."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer
from rich.console import Console

from ..annotate.formats import ENDINGS
from ..errors import CTCError
from .command import LabelFile, Logits, print_notes

if TYPE_CHECKING:
    from ..annotate.formats import Level
    from ..annotate.utterance import Aligned, Options, Scores
    from ..corpus import Defaults
    from ..text import Vocabulary
    from ..text.scripts import TranscriptFormat


def _switch(flag: str, help: str) -> Any:
    """An option without a value, which has no ``--no-…``."""
    return typer.Option(flag, help=help)


def align(
    emissions: Annotated[
        Path | None,
        typer.Argument(
            help="Scores (T, C): .npy, .npz, .csv, .pt, .pth, .safetensors, or x.ark:OFFSET; for a manifest whose rows "
            "don't say where theirs are, a folder of such files, an .scp or an .ark."
        ),
    ] = None,
    transcript: Annotated[
        Path | None, typer.Argument(help="The text, one line per segment; or .srt, .vtt, .jsonl, Kaldi's text.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="A corpus instead: NeMo's or lhotse's manifest, Kaldi's text, or JSON lines of id, emissions, text "
            "(or transcript, a file), and labels, frame_shift, offset, blank where they differ from the options."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help=f"The file: {', '.join(ENDINGS)}; - for the standard output; for a manifest the folder."
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", help="For -o -, one format; for a manifest, such as TextGrid,json (default json)."),
    ] = None,
    labels: LabelFile = None,
    frame_shift: Annotated[float | None, typer.Option(help="Seconds from one frame to the next.")] = None,
    offset: Annotated[float, typer.Option(help="Seconds at which the first frame begins.")] = 0.0,
    blank: Annotated[int | None, typer.Option(help="The blank's class; found from the labels by default.")] = None,
    from_logits: Logits = False,
    extend: Annotated[int, typer.Option(help="How many frames of blanks a token may take on each side.")] = 0,
    optional_words: Annotated[bool, _switch("--optional-words", "Words may be missing from the recording.")] = False,
    star: Annotated[bool, _switch("--star", "The recording may have more words, between those of the text.")] = False,
    spoken: Annotated[
        str, typer.Option(help="Characters that are read out, of those that are silent by default: '+→'.")
    ] = "",
    transcript_format: Annotated[
        str,
        typer.Option(help="What a file of text is: plain, subtitles, kaldi, jsonl; auto goes by its name and content."),
    ] = "auto",
    cue_times: Annotated[bool, _switch("--cue-times", "Each line of .srt or .vtt lies between its times.")] = False,
    strip_punctuation: Annotated[
        bool, _switch("--strip-punctuation", "Words without punctuation around them.")
    ] = False,
    level: Annotated[str | None, typer.Option(help="What .srt, .vtt, .ctm and .txt hold: line, word or token.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw a picture too: .png, .svg or .pdf.")] = None,
    audio: Annotated[Path | None, typer.Option(help="For the picture: the recording, as .wav.")] = None,
    image: Annotated[Path | None, typer.Option(help="For the picture: the image of the line.")] = None,
    lang: Annotated[str, typer.Option(help="The picture's language: en or zh.")] = "en",
    num_threads: Annotated[
        int | None, typer.Option("--threads", help="Rows aligned in parallel (manifests only; default 1).")
    ] = None,
) -> None:
    """Finds the time of every word and token of a text: of one recording, or of a corpus.

    A corpus may be stopped and started again.
    Exits with 1 if the text does not fit or any row failed (see errors.jsonl), with 2 for a command or a file that
    can't be used.
    """
    from ..annotate.utterance import Options

    options = Options(
        from_logits,
        extend,
        optional_words,
        star,
        spoken,
        cast("TranscriptFormat", transcript_format),
        cue_times,
        strip_punctuation,
        cast("Level | None", level),
    )
    if manifest is not None:
        from ..corpus import Defaults

        _refuse({"TRANSCRIPT": transcript, "--picture": picture, "--audio": audio, "--image": image})
        if out is None:
            raise CTCError("--out is missing: expected the folder of the outputs")
        if out == STDOUT:
            raise CTCError("--out - is for one recording: expected the folder of the outputs")
        defaults = Defaults(labels, frame_shift, blank, offset, emissions)
        num_threads = 1 if num_threads is None else num_threads
        return _align_corpus(manifest, out, formats or "json", options, defaults, num_threads)
    if emissions is None or transcript is None:
        raise CTCError("align takes EMISSIONS and TRANSCRIPT, or --manifest")
    if num_threads is not None:
        raise CTCError("--threads goes with --manifest")
    if (formats is not None) != (out == STDOUT):
        raise CTCError("--format goes with --manifest, and with -o -; the format of a file follows from its ending")
    if labels is None or frame_shift is None:
        raise CTCError(f"--{'labels' if labels is None else 'frame-shift'} is missing")
    if out is None and picture is None:
        raise CTCError("--out is missing: expected a file to write, or --picture")
    if picture is None and (audio is not None or image is not None):
        raise CTCError("--audio and --image are for --picture, which is missing")
    if picture is not None and offset:
        raise CTCError("--offset does not go with --picture, which begins with the first frame")
    inputs = _Inputs(emissions, transcript, labels, audio, image)
    _align_one(inputs, _Times(frame_shift, offset), blank, options, _Outputs(out, formats, picture), lang)


def _refuse(alone: dict[str, Path | None]) -> None:
    """Options that don't go with a manifest."""
    for name, value in alone.items():
        if value is not None:
            raise CTCError(f"{name} is for one recording: it does not go with --manifest")


STDOUT = Path("-")


class _Inputs(NamedTuple):
    """The files of one recording."""

    emissions: Path
    transcript: Path
    labels: Path
    audio: Path | None
    image: Path | None


class _Times(NamedTuple):
    """When frames begin, in seconds: from one to the next, and the first."""

    frame_shift: float
    offset: float


class _Outputs(NamedTuple):
    """What is written of one recording.

    Attributes:
        out: a file of timed text, or STDOUT.
        form: the format for STDOUT.
        picture: the file of a picture.
    """

    out: Path | None
    form: str | None
    picture: Path | None

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [path for path in (self.out, self.picture) if path not in (None, STDOUT)]

    def named(self, recording: Path) -> Path | None:
        """The file of timed text as formats know it: what goes to STDOUT has the recording's name."""
        return self.out if self.out != STDOUT else Path(f"{recording.stem}.{str(self.form).removeprefix('.')}")


def _align_one(
    inputs: _Inputs, times: _Times, blank: int | None, options: Options, outputs: _Outputs, lang: str
) -> None:
    """One recording. Whatever is wrong is found before anything is written."""
    from ..annotate import utterance
    from ..annotate.formats import check_format, check_level
    from ..files import write_whole
    from ..validate import check_frame_shift, check_language, check_offset

    options.check()
    check_frame_shift(times.frame_shift)
    check_offset(times.offset)
    _check_outputs(outputs.paths, inputs)
    named = outputs.named(inputs.emissions)
    if named is not None:
        check_format(named)
    check_level(options.level, [] if named is None else [named])
    check_language(lang)
    scores = utterance.read_scores(inputs.emissions)
    vocabulary = utterance.read_vocabulary(inputs.labels, blank, scores)
    script = utterance.read_transcript(inputs.transcript, options)
    found = utterance.align(scores, script, vocabulary, times.frame_shift, options, offset=times.offset)
    content = None if named is None else _encoded(found, named, options)
    print_notes(found.notes)
    if outputs.picture is not None:
        _draw(found, scores, vocabulary, options, inputs, outputs.picture, lang)
    log = sys.stdout
    if outputs.out == STDOUT and content is not None:
        log = sys.stderr
        sys.stdout.buffer.write(content)
    elif outputs.out is not None and content is not None:
        write_whole(outputs.out, content)
    print(utterance.summary(found.lines), found.fit, sep="\n", file=log)
    for path in outputs.paths:
        print(f"wrote {path}", file=log)


def _encoded(found: Aligned, named: Path, options: Options) -> bytes:
    from ..annotate.formats import encoded

    return encoded(found.lines, named, duration=found.duration, fit=found.fit, level=options.level)


def _check_outputs(outputs: list[Path], inputs: _Inputs) -> None:
    read = [os.path.realpath(path) for path in inputs if path is not None]
    for path in outputs:
        if os.path.realpath(path) in read:
            raise CTCError(f"{path} is an input, and would be overwritten: choose another name")
        if not path.absolute().parent.is_dir():  # checked first: else one output might be written and the other not
            raise CTCError(f"{path}: can't be written: there is no folder {path.parent}")


def _draw(
    found: Aligned,
    scores: Scores,
    vocabulary: Vocabulary,
    options: Options,
    inputs: _Inputs,
    picture: Path,
    lang: str,
) -> None:
    import numpy as np

    from ..annotate.picture import draw
    from ..annotate.strips import read_strip
    from ..kernels.reference import log_softmax

    log_probs = log_softmax(scores.astype(np.float64)) if options.from_logits else scores
    strip = read_strip(inputs.audio, inputs.image)
    draw(found, log_probs, vocabulary.labels, vocabulary.blank, strip=strip, lang=lang).save(picture)


def _align_corpus(
    manifest: Path, out: Path, formats: str, options: Options, defaults: Defaults, num_threads: int
) -> None:
    from ..corpus import Corpus, Threads, parse_formats
    from ..corpus.store import ERRORS
    from .progress import Display

    try:
        corpus = Corpus(manifest, out, parse_formats(formats), options, defaults)
        with Display(Console(stderr=True)) as display:
            outcome = corpus.run(Threads(num_threads), display.update)
    except KeyboardInterrupt:
        print(f"stopped; run the same command again to continue in {out}", file=sys.stderr)
        raise typer.Exit(130) from None
    skipped = f", {outcome.skipped} skipped (already done)" if outcome.skipped else ""
    errors = f": see {out / ERRORS}" if outcome.failed else ""
    print(f"{outcome.aligned} rows aligned{skipped}, {outcome.failed} failed{errors}")
    if outcome.orphaned:
        print(f"{out} also has {outcome.orphaned} rows that {manifest} lacks")
    if outcome.failed:
        raise typer.Exit(1)
