"""``ctckit delay``: measures how late a network is, and prints it as options of ``align`` and ``decode``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ..errors import CTCError
from . import recordings
from .command import LabelFile, Logits, print_notes

if TYPE_CHECKING:
    from ..annotate.delay import Lateness, Off
    from ..annotate.marks import Mark
    from ..annotate.sources import Seen

BY_POCKETSPHINX = Path("pocketsphinx")
SHOWN = 5  # words, those that are farthest off


def delay(
    emissions: Annotated[
        list[Path], typer.Argument(help="Recordings; or, without --recogniser, files of scores (T, C).")
    ],
    marks: Annotated[
        Path | None,
        typer.Option(
            help="Where the words' times are: a folder with a .TextGrid or .ctm of each recording's name, one .ctm of "
            "all, or pocketsphinx, which finds the times of English words in .txt files beside the recordings. By "
            "default the recordings' folder."
        ),
    ] = None,
    recogniser: recordings.RecogniserName = None,
    labels: LabelFile = None,
    frame_shift: recordings.FrameShift = None,
    blank: recordings.Blank = None,
    from_logits: Logits = False,
) -> None:
    """Measures by how much a network's tokens are late and short, on recordings whose words have marked times.

    Prints the options --delay and --stretch with which words are nearest to the marks, and how near they are. The first
    word of a recording does not count for the starts. Recordings that pocketsphinx can't mark, or whose words the
    network does not hear, are left out, with a note.
    Exits with 2 for a file that can't be used.
    """
    from ..annotate.delay import hear, measure
    from ..recognisers import ImageInput
    from ..recognisers.named import shared

    sources = [recordings.source_of(path, recogniser, labels, blank, frame_shift, from_logits) for path in emissions]
    if recogniser is None and frame_shift is None:
        raise CTCError(recordings.NO_SHIFT)
    for source in sources:
        recordings.Times(source.frame_shift, 0.0).check()
    if recogniser is not None and isinstance(shared(recogniser).takes, ImageInput):
        raise CTCError(f"--recogniser {recogniser} reads images: expected one that hears recordings")
    marked, notes = _marked(emissions, marks, recogniser is not None)
    heard = []
    for source in sources:
        if source.path not in marked:
            continue
        seen = cast("Seen", source.read())  # no image, as checked above
        name, mark = str(source.path), marked[source.path]
        try:
            heard.append(hear(name, seen.scores, seen.vocabulary, seen.shift, mark, from_logits))
        except CTCError as error:
            notes.append(f"{source.path} is left out: {error}")
    print_notes(notes)
    if not heard:
        raise CTCError("no recording is left to compare: see the notes above")
    _print(measure(heard), len(heard))


def _marked(paths: list[Path], marks: Path | None, is_sound: bool) -> tuple[dict[Path, list[Mark]], list[str]]:
    """The marks of each recording, read before any network runs; and notes on recordings that have none."""
    from ..annotate.marks import Pocketsphinx, Unmarked, read_marks

    if marks != BY_POCKETSPHINX:
        return {path: read_marks(_file_of(path, marks), path.stem) for path in paths}, []
    if not is_sound:
        raise CTCError("--marks pocketsphinx goes with --recogniser: it hears recordings, and these are scores")
    aligner = Pocketsphinx()
    found, notes = {}, []
    for path in paths:
        text = path.with_suffix(".txt")
        try:
            found[path] = aligner.marks(path, aligner.words(text))
        except Unmarked as error:
            notes.append(f"{path} is left out: {error}")
    return found, notes


def _file_of(path: Path, marks: Path | None) -> Path:
    """The file with a recording's marks."""
    from ..annotate.marks import FORMS

    if marks is not None and marks.suffix.lower() == ".ctm":
        return marks
    if marks is not None and not marks.is_dir():
        raise CTCError(f"--marks {marks} is not there: expected a folder, a .ctm, or pocketsphinx")
    files = [(marks or path.parent) / f"{path.stem}{form}" for form in FORMS]
    for file in files:
        if file.exists():
            return file
    raise CTCError(
        f"{path} has no marks: expected {files[0]} or {files[-1].name}; --marks names another folder, a .ctm, or "
        "pocketsphinx"
    )


def _print(found: Lateness, count: int) -> None:
    """The options; how near they bring the words; and which are farthest off."""
    import numpy as np

    from ..annotate.delay import ends_of, starts_of

    print(f"--delay {found.delay:g} --stretch {found.stretch:g}")
    late = float(np.median(starts_of(found.own)))
    if late < 0:
        print(f"words begin {-late:.3f} s before their marks in the median: a delay of 0 is the nearest")
    print(f"{len(found.both)} words of {count} recording{'s' * (count != 1)}, seconds from their marks:")
    rows = {
        "starts, as the network says them": starts_of(found.own),
        "starts, with --delay": starts_of(found.delayed),
        "ends, with --delay": ends_of(found.delayed),
        "ends, with both": ends_of(found.both),
    }
    print(f"{'':34}{'median':>8}{'90%':>8}{'worst':>8}")
    for name, errors in rows.items():
        off = np.abs(errors)
        print(f"{name:34}{np.median(off):8.3f}{np.percentile(off, 90):8.3f}{off.max():8.3f}")
    counted = [word for word in found.both if not word.is_first]
    farthest = sorted(counted, key=lambda word: -abs(word.start))[:SHOWN]
    print("starts are without each recording's first word; farthest off:")
    print(*map(_told, farthest), sep="\n")


def _told(word: Off) -> str:
    from ..annotate.fit import CONTROLS

    direction = "late" if word.start > 0 else "early"
    text = word.text.translate(CONTROLS)
    return f"  {text} of {word.recording}, at {word.at:.2f} s: {abs(word.start):.3f} s {direction}"
