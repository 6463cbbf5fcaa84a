"""What the commands on recordings and corpora share: options, output files, messages, and the run over a corpus.

Imports typer, and annotate/, corpus/, files/, kernels/, recognisers/, text/ and validate/ when they are needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TextIO, cast

import typer
from rich.console import Console

from ..annotate.formats import ENDINGS
from ..errors import CTCError

if TYPE_CHECKING:
    from ..annotate.formats import Level
    from ..annotate.page import Clip
    from ..annotate.recording import Scores, Timed
    from ..annotate.scans import PageText
    from ..annotate.sources import Page, Seen, Source
    from ..annotate.strips import Scan
    from ..corpus import Corpus, Outcome
    from ..text import Vocabulary

STDIN = STDOUT = Path("-")
PAGES = (".html", ".htm")  # pictures that play


def switch(flag: str, help: str) -> Any:
    """An option without a value, which has no ``--no-…``."""
    return typer.Option(flag, help=help)


Emissions = Annotated[
    Path | None,
    typer.Argument(
        help="Scores (T, C): .npy, .npz, .csv, .pt, .pth, .safetensors, or x.ark:OFFSET; for a manifest whose rows "
        "don't name theirs, a folder of such files, or an .scp, .ark, .tar or .parquet. With --recogniser, a "
        "recording, or the image of a page or a line; - for a recording from a pipe; or a folder of them, or a "
        "pattern in quotes: '*.flac'."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help=f"The file: {', '.join(ENDINGS)}; - for the standard output; for a manifest or a folder, the folder.",
    ),
]
Formats = Annotated[
    str | None,
    typer.Option(
        "--format", help="For -o -, one format; for a manifest or a folder, such as TextGrid,json (default json)."
    ),
]
FrameShift = Annotated[float | None, typer.Option(help="Seconds from one frame to the next.")]
Offset = Annotated[float, typer.Option(help="Seconds at which the first frame begins.")]
Blank = Annotated[int | None, typer.Option(help="The blank's class; found from the labels by default.")]
RecogniserName = Annotated[
    str | None,
    typer.Option(
        "--recogniser",
        help="Makes the scores of a recording (.wav, .flac, .mp3 or the like) or of the image of a page or a line: "
        "hama, pp-ocr, or a folder with a network of transformers.",
    ),
]
Delay = Annotated[
    float | None,
    typer.Option(
        help="Seconds by which the network says a token after it begins; all times are earlier by it. By default the "
        "recogniser's own; 0 for scores. Not for images."
    ),
]
Stretch = Annotated[
    float | None,
    typer.Option(
        help="Seconds by which a token may go on over the blanks after it, until the next one begins. By default the "
        "recogniser's own; 0 for scores. Not for images."
    ),
]
Extend = Annotated[int, typer.Option(help="How many frames of blanks a token may take on each side.")]
TranscriptForm = Annotated[
    str,
    typer.Option(help="The format of a text file: plain, subtitles, kaldi, jsonl; auto: by its name and content."),
]
StripPunctuation = Annotated[bool, switch("--strip-punctuation", "Words without punctuation around them.")]
AtLevel = Annotated[str | None, typer.Option(help="What .srt, .vtt, .ctm and .txt hold: line, word or token.")]
LineLength = Annotated[
    int | None,
    typer.Option(
        help="Cells of a line of subtitles; a Chinese character takes two. Longer lines of the text are divided; 0 "
        "keeps them whole. By default 42, and 32 for Chinese, Japanese and Korean."
    ),
]
PictureFile = Annotated[
    Path | None, typer.Option(help="Draw a picture too: .png, .svg, .pdf; or .html, a page that plays each word.")
]
Audio = Annotated[
    Path | None,
    typer.Option(
        help="For the picture of scores: the recording, .wav, .flac or the like. A recogniser's is drawn anyway."
    ),
]
Image = Annotated[
    Path | None,
    typer.Option(help="For the picture of scores: the image of the line. A recogniser's is drawn anyway."),
]
Lang = Annotated[str, typer.Option(help="The picture's language: en or zh.")]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Rows done in parallel (manifests and folders only; default 1).")
]


NO_LABELS = "--labels is missing: expected the file with the classes' names"
NO_SHIFT = "--frame-shift is missing: expected the seconds from one frame to the next, such as --frame-shift 0.02"


def refuse(alone: Mapping[str, object]) -> None:
    """Raises a CTCError for options that don't go with a manifest or a folder of recordings."""
    for name, value in alone.items():
        if value is not None:
            raise CTCError(f"{name} is for one recording: it does not go with --manifest, or a folder of recordings")


def folder_of(out: Path | None) -> Path:
    """The folder of a corpus's outputs, checked."""
    if out is None:
        raise CTCError("--out is missing: expected the folder of the outputs")
    if out == STDOUT:
        raise CTCError("--out - is for one recording: expected the folder of the outputs")
    return out


class Times(NamedTuple):
    """The times of frames, in seconds: from one frame to the next, if that is known; the beginning of the first."""

    frame_shift: float | None
    offset: float

    def check(self) -> None:
        """Raises a CTCError for times out of range."""
        from ..validate import check_frame_shift, check_offset

        if self.frame_shift is not None:
            check_frame_shift(self.frame_shift)
        check_offset(self.offset)


def source_of(
    path: Path,
    recogniser: str | None,
    labels: Path | None,
    blank: int | None,
    frame_shift: float | None,
    from_logits: bool,
) -> Source:
    """Where one recording's scores come from.

    Raises:
        CTCError: the labels are missing, or an option says what the recogniser knows.
    """
    from ..annotate.sources import Recorded, Stored

    if recogniser is None:
        if labels is None:
            raise CTCError(NO_LABELS)
        return Stored(path, labels, blank, frame_shift)
    refuse_told(labels, blank, frame_shift, from_logits)
    return Recorded(path, recogniser)


def refuse_told(labels: Path | None, blank: int | None, frame_shift: float | None, from_logits: bool) -> None:
    """Raises a CTCError for options that say what a recogniser knows."""
    told = {"--labels": labels, "--blank": blank, "--frame-shift": frame_shift, "--logits": from_logits or None}
    for name, value in told.items():
        if value is not None:
            raise CTCError(f"{name} does not go with --recogniser, which knows its own")


class Rows(NamedTuple):
    """Where a corpus is.

    Attributes:
        manifest: its manifest; or a folder of recordings, or a pattern.
        place: where the scores or the recordings are that a manifest does not name.
    """

    manifest: Path
    place: Path | None


def rows_of(emissions: Path | None, manifest: Path | None, recogniser: str | None) -> Rows | None:
    """The corpus that a command is given; None if it is one recording."""
    from ..corpus.folder import is_folder

    if manifest is not None:
        return Rows(manifest, emissions)
    if emissions is not None and recogniser is not None and is_folder(emissions):
        return Rows(emissions, None)
    return None


def read(source: Source) -> Seen | Page:
    """Reads scores, or runs a recogniser and shows how far it is; a recording may come by a pipe."""
    from ..annotate.sources import Recorded
    from .progress import Seconds

    if not isinstance(source, Recorded):
        return source.read()
    with Seconds(Console(stderr=True)) as display:
        if source.path != STDIN:
            return source.read(display.update)
        from ..recognisers.spooled import spooled

        if sys.stdin.isatty():
            raise CTCError(
                "- is the standard input, which is a terminal here: expected a recording from a pipe, as in ffmpeg -i "
                "x.mp4 -f wav - | ctckit …"
            )
        with spooled(sys.stdin.buffer, "the standard input") as opened:
            return source.read(display.update, opened)


class Strip(NamedTuple):
    """The sound or the image of a recording, for a picture."""

    audio: Path | None
    image: Path | None

    def of(self, seen: Seen) -> Strip:
        """That of a recording that a recogniser heard, or the one that was given with scores."""
        return self if seen.audio is None else Strip(seen.audio, None)

    def check(self, recogniser: str | None) -> None:
        """Raises a CTCError for files that are given although the recogniser has read one."""
        for name, path in (("--audio", self.audio), ("--image", self.image)):
            if recogniser is not None and path is not None:
                raise CTCError(f"{name} does not go with --recogniser, whose own recording or image is drawn")


class Outputs(NamedTuple):
    """The files that are written for one recording.

    Attributes:
        out: a file of timed text, or STDOUT.
        form: the format for STDOUT.
        picture: the file of a picture.
        recording: the file of the scores: text on STDOUT is named after it.
    """

    out: Path | None
    form: str | None
    picture: Path | None
    recording: Path

    @property
    def paths(self) -> list[Path]:
        """The files that are written."""
        return [path for path in (self.out, self.picture) if path not in (None, STDOUT)]

    @property
    def named(self) -> Path | None:
        """The name of the timed text, whose ending gives the format."""
        stem = "stdin" if self.recording == STDIN else self.recording.stem
        return self.out if self.out != STDOUT else Path(f"{stem}.{str(self.form).removeprefix('.')}")

    @property
    def log(self) -> TextIO:
        """Where messages are printed: not into the timed text."""
        return sys.stderr if self.out == STDOUT else sys.stdout

    def check_options(self, num_threads: int | None, strip: Strip, offset: float) -> None:
        """Raises a CTCError for options of one recording that don't go together."""
        if num_threads is not None:
            raise CTCError("--threads goes with --manifest, or a folder of recordings")
        if (self.form is not None) != (self.out == STDOUT):
            raise CTCError("--format goes with --manifest, and with -o -; the format of a file follows from its ending")
        if self.picture is None and strip != (None, None):
            raise CTCError("--audio and --image are for --picture, which is missing")
        if self.picture is not None and offset:
            raise CTCError("--offset does not go with --picture, which begins with the first frame")

    def check(self, inputs: Sequence[Path | None], lang: str) -> None:
        """Raises a CTCError for an unknown format, and for a file that can't or must not be written."""
        from ..annotate.formats import check_format
        from ..validate import check_language

        read = [os.path.realpath(path) for path in inputs if path is not None]
        for path in self.paths:
            if os.path.realpath(path) in read:
                raise CTCError(f"{path} is an input, and would be overwritten: choose another name")
            if not path.absolute().parent.is_dir():  # checked first: otherwise only one of the outputs might be written
                raise CTCError(f"{path}: can't be written: there is no folder {path.parent}")
        if self.named is not None:
            check_format(self.named)
        check_language(lang)

    def check_pixels(self) -> None:
        """Raises a CTCError for files that can't show places in an image."""
        from ..annotate.sources import check_pixels

        if self.named is not None:
            check_pixels(self.named)

    def encoded(self, found: Timed, level: Level | None, line_length: int | None) -> bytes | None:
        """The content of the file of timed text."""
        from ..annotate.formats import encoded

        if self.named is None:
            return None
        details: Any = {"duration": found.duration, "facts": found.facts, "level": level, "line_length": line_length}
        return encoded(found.lines, self.named, **details)

    def write(self, content: bytes | None) -> None:
        """Writes the file of timed text."""
        from ..files import write_whole

        if self.out == STDOUT and content is not None:
            sys.stdout.buffer.write(content)
        elif self.out is not None and content is not None:
            write_whole(self.out, content)

    def write_page(self, found: PageText, page: Page, level: Level | None, lang: str) -> None:
        """Writes the texts of an image with their places, and the picture."""
        from ..annotate.formats import encoded
        from ..annotate.scan_picture import draw_page

        content = None
        if self.named is not None:
            details: Any = {"duration": found.duration, "facts": found.facts, "level": level, "places": found.places}
            content = encoded(found.lines, self.named, **details)
        if self.picture is not None:
            draw_page(found, page.lines.pixels, lang=lang).save(self.picture)
        self.write(content)

    def tell(self, log: TextIO) -> None:
        """Names the files that were written."""
        for path in self.paths:
            print(f"wrote {path}", file=log)

    def draw(
        self, found: Timed, scores: Scores, vocabulary: Vocabulary, from_logits: bool, strip: Strip, lang: str
    ) -> None:
        """Writes the picture, if one is wanted."""
        import numpy as np

        from ..annotate.picture import draw
        from ..annotate.strips import read_strip
        from ..files import write_whole
        from ..kernels.reference import log_softmax

        if self.picture is not None:
            log_probs = log_softmax(scores.astype(np.float64)) if from_logits else scores
            if self.picture.suffix.lower() in PAGES:
                return write_whole(self.picture, _page(found, log_probs, vocabulary, strip, self.recording, lang))
            seen = read_strip(strip.audio, strip.image)
            draw(found, log_probs, vocabulary.labels, vocabulary.blank, strip=seen, lang=lang).save(self.picture)


def _page(found: Timed, log_probs: Scores, vocabulary: Vocabulary, strip: Strip, recording: Path, lang: str) -> bytes:
    """The page of one recording; its sound is played, whatever libsndfile reads."""
    from ..annotate.page import Shown, read_clip, recordings_page
    from ..annotate.strips import read_strip

    if strip.audio is not None and strip.image is None:
        seen: Clip | Scan | None = read_clip(strip.audio)
    else:
        seen = cast("Scan | None", read_strip(strip.audio, strip.image))
    return recordings_page([Shown(found, log_probs, vocabulary, seen, recording.name)], lang).encode()


def run_corpus(corpus: Corpus, num_threads: int, done: str) -> Outcome:
    """Does the rows of a corpus and prints how many. If it is stopped, prints how to continue.

    Args:
        corpus: the rows.
        num_threads: how many rows are done at the same time.
        done: the participle for rows that are done, such as "aligned".
    """
    from ..corpus import Threads as InThreads
    from ..corpus.store import ERRORS
    from .progress import Display

    try:
        with Display(Console(stderr=True)) as display:
            outcome = corpus.run(InThreads(num_threads), display.update)
    except KeyboardInterrupt:
        print(f"stopped; run the same command again to continue in {corpus.out}", file=sys.stderr)
        raise typer.Exit(130) from None
    skipped = f", {outcome.skipped} skipped (already done)" if outcome.skipped else ""
    errors = f": see {corpus.out / ERRORS}" if outcome.failed else ""
    print(f"{outcome.done} rows {done}{skipped}, {outcome.failed} failed{errors}")
    if outcome.orphaned:
        print(f"{corpus.out} also has {outcome.orphaned} rows that {corpus.manifest} lacks")
    return outcome
