"""``ctckit decode``: checks that the options fit together; annotate, corpus and decoding do the work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TextIO, cast

import typer

from ..errors import CTCError
from ..language.hotwords import HOTWORD_WEIGHT
from . import recordings
from .command import LabelFile, Logits, print_notes
from .language_options import Alpha, Beta, HotwordFile, HotwordWeight, LexiconFile, ModelFile, UnknownScore
from .live import THRESHOLD

if TYPE_CHECKING:
    from ..annotate.decoded import Decoders, Language, Options
    from ..annotate.formats import Level
    from ..annotate.sources import Page, Source, Stored
    from ..corpus import Corpus, Decoding, Defaults, Totals
    from ..decoding import Hypotheses
    from ..results import Segment
    from ..text import Errors
    from ..text.scripts import TranscriptFormat


def decode(
    emissions: recordings.Emissions = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="A corpus instead: NeMo's or lhotse's manifest, Kaldi's text or .scp, Parquet, a webdataset's .tar, "
            "or JSON lines of id, emissions, and labels, frame_shift, offset, blank where they differ from the "
            "options; with --recogniser, of id and audio (or image). Rows with a text (or transcript, a file) are "
            "compared with it."
        ),
    ] = None,
    stream: Annotated[
        Path | None,
        typer.Option(
            help="Frames from a pipe instead, - for the standard input: float32 numbers, little endian, all classes "
            "of a frame and then the next frame; or .npy arrays (t, C), one after the other. The text appears as soon "
            f"as it can't change any more. For this to be soon, texts {THRESHOLD:g} nats below the best are dropped; "
            "with --nbest the text may still not appear before the end."
        ),
    ] = None,
    out: recordings.Out = None,
    formats: recordings.Formats = None,
    recogniser: recordings.RecogniserName = None,
    labels: LabelFile = None,
    language_model: ModelFile = None,
    lexicon: LexiconFile = None,
    hotwords: HotwordFile = None,
    alpha: Alpha = 0.5,
    beta: Beta = 1.0,
    unknown_score: UnknownScore = None,
    hotword_weight: HotwordWeight = HOTWORD_WEIGHT,
    beam_width: Annotated[int, typer.Option("--beam", help="How many prefixes are kept at each frame.")] = 50,
    tune: Annotated[
        bool,
        recordings.switch(
            "--tune",
            "Choose the alpha and beta with the fewest errors in a manifest's rows, which must all have a text. "
            "--picture shows the errors of all pairs that were tried.",
        ),
    ] = False,
    nbest: Annotated[int, typer.Option(help="How many texts to print, or to write to .json.")] = 1,
    frame_shift: recordings.FrameShift = None,
    offset: recordings.Offset = 0.0,
    delay: recordings.Delay = None,
    stretch: recordings.Stretch = None,
    blank: recordings.Blank = None,
    from_logits: Logits = False,
    extend: recordings.Extend = 0,
    transcript_format: recordings.TranscriptForm = "auto",
    strip_punctuation: recordings.StripPunctuation = False,
    level: recordings.AtLevel = None,
    line_length: recordings.LineLength = None,
    picture: recordings.PictureFile = None,
    audio: recordings.Audio = None,
    image: recordings.Image = None,
    lang: recordings.Lang = "en",
    num_threads: recordings.Threads = None,
) -> None:
    """Finds what was said or written: in one recording, a corpus, or a pipe.

    Without -o, prints the text; with --nbest, several texts with their numbers and scores. Scores are natural
    logarithms (nats). A corpus may be stopped and started again. Errors are counted after both texts are spelled with
    the labels: letter case, and punctuation that the labels lack, are ignored. Exits with 1 if no text fits the lexicon
    or any row failed (see errors.jsonl), with 2 for a command or a file that can't be used.
    """
    from ..annotate.decoded import Language, Options
    from ..corpus import Corpus, Decoding, Defaults, parse_formats

    language = Language(language_model, lexicon, hotwords, alpha, beta, unknown_score, hotword_weight, beam_width)
    at_level = cast("Level | None", level)
    options = Options(from_logits, nbest, extend, strip_punctuation, at_level, line_length, delay, stretch)
    form = cast("TranscriptFormat", transcript_format)
    if tune:
        _refuse_beside_tune({"--stream": stream, "--out": out, "--format": formats, "--threads": num_threads})
        _refuse_beside_tune({"--recogniser": recogniser, "--delay": delay, "--stretch": stretch})
        defaults = Defaults(labels, frame_shift or 1.0, blank, emissions=emissions)  # times don't matter
        return _tune(manifest, defaults, language, from_logits, form, picture, lang)
    rows = recordings.rows_of(emissions, manifest, recogniser)
    if rows is not None:
        recordings.refuse({"--stream": stream, "--picture": picture, "--audio": audio, "--image": image})
        if recogniser is not None:
            recordings.refuse_told(labels, blank, frame_shift, from_logits)
        task = Decoding(language, options, form)
        defaults = Defaults(labels, frame_shift, blank, offset, rows.place, recogniser)
        corpus = Corpus(rows.manifest, recordings.folder_of(out), parse_formats(formats or "json"), task, defaults)
        return _decode_corpus(corpus, task, 1 if num_threads is None else num_threads)
    source = emissions if stream is None else stream
    if source is None or (emissions is not None and stream is not None):
        raise CTCError("decode takes one of EMISSIONS, --manifest and --stream")
    if stream is not None and recogniser is not None:
        raise CTCError("--recogniser does not go with --stream, which takes scores")
    outputs, strip = recordings.Outputs(out, formats, picture, source), recordings.Strip(audio, image)
    outputs.check_options(num_threads, strip, offset)
    strip.check(recogniser)
    if transcript_format != "auto":
        raise CTCError("--transcript-format goes with --manifest")
    found = recordings.source_of(source, recogniser, labels, blank, frame_shift, from_logits)
    if recogniser is None and frame_shift is None and (outputs.named is not None or picture is not None):
        raise CTCError(recordings.NO_SHIFT)
    one = _Recording(found, language, options, offset, outputs)
    one.check(strip, lang)
    if stream is None:
        return _decode_one(one, strip, lang)
    if picture is not None:
        raise CTCError("--picture does not go with --stream, which keeps no scores")
    _follow(one, cast("Stored", found))


class _Recording(NamedTuple):
    """One recording, how it is decoded, and which files are written.

    Attributes:
        source: where its scores come from; with --stream, from a pipe.
        language: the language, read from files.
        options: how to decode.
        offset: seconds, when the first frame begins.
        outputs: the files that are written.
    """

    source: Source
    language: Language
    options: Options
    offset: float
    outputs: recordings.Outputs

    def check(self, strip: recordings.Strip, lang: str) -> None:
        """Raises a CTCError for everything that can be checked before a file is read."""
        self.outputs.check([*self.source.inputs, *self.language.files.values(), *strip], lang)
        self.options.check(self.language.beam_width, [] if self.outputs.named is None else [self.outputs.named])
        recordings.Times(self.source.frame_shift, self.offset).check()


def _decode_one(one: _Recording, strip: recordings.Strip, lang: str) -> None:
    """Decodes one recording. All errors are found before anything is written."""
    from ..annotate.decoded import Decoders, decode, timed
    from ..annotate.sources import Page

    outputs = one.outputs
    decoders = Decoders(one.language)
    decoders.read()
    seen = recordings.read(one.source)
    if isinstance(seen, Page):
        return _decode_page(one, seen, decoders, lang)
    options = seen.with_times(one.options)
    texts = decode(seen.scores, seen.vocabulary, decoders, options)
    if seen.frame_shift is None:
        print_notes([*seen.vocabulary.notes, *decoders.notes])
        return _print(texts, sys.stdout)
    found = timed(texts, len(seen.scores), seen.frame_shift, options, one.offset)
    content = outputs.encoded(found, options.level, options.line_length)
    print_notes([*found.notes, *seen.vocabulary.notes, *decoders.notes])
    outputs.draw(found, seen.scores, seen.vocabulary, options.from_logits, strip.of(seen), lang)
    outputs.write(content)
    if outputs.out is None:
        _print(texts, sys.stdout)
    _tell(found.lines, outputs)


def _decode_page(one: _Recording, page: Page, decoders: Decoders, lang: str) -> None:
    """Decodes the lines of an image. All errors are found before anything is written."""
    from ..annotate.scans import decode_page

    one.outputs.check_pixels()
    found = decode_page(page.lines, page.vocabulary, decoders, one.options)
    print_notes([*found.notes, *page.vocabulary.notes, *decoders.notes])
    one.outputs.write_page(found, page, one.options.level, lang)
    if one.outputs.out is None:
        _print(found.texts, sys.stdout)
    _tell(found.lines, one.outputs, "px")


def _tell(lines: list[Segment], outputs: recordings.Outputs, unit: str = "s") -> None:
    """Prints what was written; not to the standard output if that has text for other programs."""
    from ..annotate.recording import summary

    if outputs.out is None:
        return outputs.tell(sys.stderr)
    print(summary(lines, unit), file=outputs.log)
    outputs.tell(outputs.log)


def _print(texts: Hypotheses | Sequence[str], to: TextIO) -> None:
    """Prints the text, or the text of each line of a page; of several hypotheses, number, score and text."""
    from ..annotate.fit import CONTROLS

    shown = [(text if isinstance(text, str) else text.text).translate(CONTROLS) for text in texts]
    scores = [text.score for text in texts if not isinstance(text, str)]
    if len(scores) > 1:
        shown = [f"{i}\t{score:.4f}\t{line}" for i, (score, line) in enumerate(zip(scores, shown, strict=True), 1)]
    for line in shown:
        print(line, file=to, flush=True)


def _follow(one: _Recording, source: Stored) -> None:
    """Decodes frames as they come in. If the user stops with Ctrl-C, the text so far is printed and written."""
    from ..annotate.decoded import Decoders, checked, timed
    from ..annotate.recording import read_vocabulary
    from .live import Printer, follow

    options, outputs = one.options, one.outputs
    vocabulary = read_vocabulary(source.labels, source.blank)
    recombine = True if options.nbest == 1 else None  # it leaves few texts besides the best
    decoders = Decoders(replace(one.language, beam_threshold=THRESHOLD, recombine=recombine))
    decoders.read()
    stream = decoders.of(vocabulary).stream(from_logits=options.from_logits, hotwords=decoders.hotwords)
    print_notes([*vocabulary.notes, *decoders.notes])
    printer = Printer(outputs.log, vocabulary.convention != "plain", outputs.out is None)
    stopped, wrong = False, None
    try:
        stopped = follow(stream, source.path, len(vocabulary.labels), options.from_logits, printer)
    except CTCError as error:
        wrong = error
    texts = stream.finish(options.nbest)
    if stream.frames or wrong is None:
        printer.end(texts.text)
    if wrong is not None:
        raise wrong
    checked(texts)
    if source.frame_shift is not None and outputs.out is not None:
        found = timed(texts, stream.frames, source.frame_shift, options, one.offset)
        outputs.write(outputs.encoded(found, options.level, options.line_length))
        _tell(found.lines, outputs)
    elif len(texts) > 1:
        _print(texts, outputs.log)
    if stopped:
        raise typer.Exit(130)


def _decode_corpus(corpus: Corpus, task: Decoding, num_threads: int) -> None:
    """Decodes all rows, then prints their errors in total."""
    from ..corpus import totals

    task.check(corpus.suffixes, corpus.defaults)  # first, so that its notes are printed before the run
    print_notes(task.decoders.notes)
    known = len(task.decoders.notes)
    outcome = recordings.run_corpus(corpus, num_threads, "decoded")
    print_notes(task.decoders.notes[known:])  # notes on rows with labels of their own
    found = totals(outcome.entries)
    if found is not None:
        print(_told(found))
    if outcome.failed:
        raise typer.Exit(1)


def _refuse_beside_tune(options: dict[str, object]) -> None:
    for name, value in options.items():
        if value is not None:
            raise CTCError(f"{name} does not go with --tune, which prints weights")


def _tune(
    manifest: Path | None,
    defaults: Defaults,
    language: Language,
    from_logits: bool,
    transcript_format: TranscriptFormat,
    picture: Path | None,
    lang: str,
) -> None:
    """Prints the chosen weights as options, then the errors with them, with the old weights and without a language."""
    from ..annotate.decoded import Decoders
    from ..corpus import read_development
    from ..decoding import tune
    from ..validate import check_language

    if manifest is None:
        raise CTCError("--tune goes with --manifest, whose rows have texts")
    if language.language_model is None and language.lexicon is None:
        raise CTCError("--tune chooses the weights of a language: expected --lm or --lexicon")
    check_language(lang)
    recordings.Outputs(None, None, picture, manifest).check([manifest, defaults.labels, *language.files.values()], lang)
    decoders = Decoders(language)
    decoders.read()
    found = read_development(manifest, defaults, transcript_format, from_logits=from_logits)
    decoder = decoders.of(found.vocabulary)
    print_notes([*found.vocabulary.notes, *decoders.notes])
    has_words = found.vocabulary.convention != "plain"
    tuned = tune(
        decoder,
        found.scores,
        found.texts,
        from_logits=from_logits,
        hotwords=decoders.hotwords,
        unit="words" if has_words else "letters",
    )
    print_notes(tuned.notes)
    rate = ("WER", "words") if has_words else ("CER", "characters")
    print(f"--alpha {tuned.chosen.alpha:g} --beta {tuned.chosen.beta:g}")
    print("with these:", _rate(rate[0], tuned.chosen.errors, rate[1]))
    before = tuned.before
    print(f"with --alpha {before.alpha:g} --beta {before.beta:g}:", _rate(rate[0], before.errors, rate[1]))
    print("without a language:", _rate(rate[0], tuned.without, rate[1]))
    if picture is not None:
        tuned.picture(lang).save(picture)
        print(f"wrote {picture}", file=sys.stderr)


def _told(totals: Totals) -> str:
    """The errors of a corpus, a line for each kind."""
    lines = [] if totals.words is None else [_rate("WER", totals.words, "words")]
    lines.append(_rate("CER", totals.letters, "characters"))
    return "\n".join([*lines, f"in {totals.rows} rows with a text"])


def _rate(name: str, errors: Errors, units: str) -> str:
    kinds = f"{errors.substitutions} substituted, {errors.deletions} deleted, {errors.insertions} inserted"
    return f"{name} {100 * errors.rate:.2f}%: {errors.total} of {errors.length} {units} ({kinds})"
