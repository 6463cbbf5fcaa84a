"""``ctckit align``: checks which options go together; annotate and corpus do the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import CTCError
from . import recordings
from .command import LabelFile, Logits, print_notes
from .recordings import switch

if TYPE_CHECKING:
    from ..annotate.formats import Level
    from ..annotate.sources import Page, Source
    from ..annotate.utterance import Options
    from ..text.scripts import Script, TranscriptFormat


def align(
    emissions: recordings.Emissions = None,
    transcript: Annotated[
        Path | None,
        typer.Argument(
            help="The text, one line per segment; or .srt, .vtt, .jsonl, Kaldi's text. For a folder of recordings, the "
            "folder of their texts, if they are not beside them; a text has the name of its recording."
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="A corpus instead: NeMo's or lhotse's manifest, Kaldi's text, Parquet, a webdataset's .tar, or JSON "
            "lines of id, emissions, text (or transcript, a file), and labels, frame_shift, offset, blank where they "
            "differ from the options; with --recogniser, of id, audio (or image) and text."
        ),
    ] = None,
    out: recordings.Out = None,
    formats: recordings.Formats = None,
    recogniser: recordings.RecogniserName = None,
    labels: LabelFile = None,
    frame_shift: recordings.FrameShift = None,
    offset: recordings.Offset = 0.0,
    delay: recordings.Delay = None,
    stretch: recordings.Stretch = None,
    blank: recordings.Blank = None,
    from_logits: Logits = False,
    extend: recordings.Extend = 0,
    optional_words: Annotated[bool, switch("--optional-words", "Words may be missing from the recording.")] = False,
    star: Annotated[bool, switch("--star", "The recording may have more words, between those of the text.")] = False,
    spoken: Annotated[
        str, typer.Option(help="Characters that are read out, of those that are silent by default: '+→'.")
    ] = "",
    transcript_format: recordings.TranscriptForm = "auto",
    cue_times: Annotated[bool, switch("--cue-times", "Each line of .srt or .vtt lies between its times.")] = False,
    strip_punctuation: recordings.StripPunctuation = False,
    level: recordings.AtLevel = None,
    line_length: recordings.LineLength = None,
    picture: recordings.PictureFile = None,
    audio: recordings.Audio = None,
    image: recordings.Image = None,
    lang: recordings.Lang = "en",
    num_threads: recordings.Threads = None,
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
        line_length,
        delay,
        stretch,
    )
    rows = recordings.rows_of(emissions, manifest, recogniser)
    if rows is not None:
        from ..corpus import Aligning, Corpus, Defaults, parse_formats

        recordings.refuse({"--picture": picture, "--audio": audio, "--image": image})
        if manifest is not None:
            recordings.refuse({"TRANSCRIPT": transcript})
        if recogniser is not None:
            recordings.refuse_told(labels, blank, frame_shift, from_logits)
        folder = recordings.folder_of(out)
        defaults = Defaults(labels, frame_shift, blank, offset, rows.place, recogniser, transcript)
        corpus = Corpus(rows.manifest, folder, parse_formats(formats or "json"), Aligning(options), defaults)
        if recordings.run_corpus(corpus, 1 if num_threads is None else num_threads, "aligned").failed:
            raise typer.Exit(1)
        return
    if emissions is None or transcript is None:
        raise CTCError(
            "align takes EMISSIONS and TRANSCRIPT, or --manifest; with --recogniser also a folder of recordings"
        )
    outputs, strip = recordings.Outputs(out, formats, picture, emissions), recordings.Strip(audio, image)
    outputs.check_options(num_threads, strip, offset)
    strip.check(recogniser)
    source = recordings.source_of(emissions, recogniser, labels, blank, frame_shift, from_logits)
    if recogniser is None and frame_shift is None:
        raise CTCError(recordings.NO_SHIFT)
    if out is None and picture is None:
        raise CTCError("--out is missing: expected a file to write, or --picture")
    _align_one(source, transcript, offset, options, outputs, strip, lang)


def _align_one(
    source: Source,
    transcript: Path,
    offset: float,
    options: Options,
    outputs: recordings.Outputs,
    strip: recordings.Strip,
    lang: str,
) -> None:
    """One recording. Whatever is wrong is found before anything is written.

    Args:
        source: where its scores come from.
        transcript: the file of its text.
        offset: seconds, when the first frame begins.
        options: how to align.
        outputs: the files that are written.
        strip: for the picture.
        lang: the picture's language.
    """
    from ..annotate.formats import check_layout
    from ..annotate.recording import read_transcript, summary
    from ..annotate.sources import Page
    from ..annotate.utterance import align

    options.check()
    recordings.Times(source.frame_shift, offset).check()
    outputs.check([*source.inputs, transcript, *strip], lang)
    check_layout(options.level, options.line_length, [] if outputs.named is None else [outputs.named])
    script = read_transcript(transcript, options.transcript_format)
    seen = recordings.read(source)
    if isinstance(seen, Page):
        return _align_page(seen, script, options, outputs, lang)
    options = seen.with_times(options)
    found = align(seen.scores, script, seen.vocabulary, seen.shift, options, offset=offset)
    content = outputs.encoded(found, options.level, options.line_length)
    print_notes(found.notes)
    outputs.draw(found, seen.scores, seen.vocabulary, options.from_logits, strip.of(seen), lang)
    outputs.write(content)
    print(summary(found.lines), found.fit, sep="\n", file=outputs.log)
    outputs.tell(outputs.log)


def _align_page(page: Page, script: Script, options: Options, outputs: recordings.Outputs, lang: str) -> None:
    """The lines of an image. Whatever is wrong is found before anything is written."""
    from ..annotate.recording import summary
    from ..annotate.scans import align_page

    outputs.check_pixels()
    found = align_page(page.lines, script, page.vocabulary, options)
    print_notes(found.notes)
    outputs.write_page(found, page, options.level, lang)
    print(summary(found.lines, "px"), found.fit, sep="\n", file=outputs.log)
    outputs.tell(outputs.log)
