"""From a file to scores: reads a recording, a line's image or a page for a recogniser, and says what its frames are.

May import recogniser.py, media.py, pages.py and results.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..results import Place
from .media import WHOLE, Line, Part, Where, read_line, read_sound, seconds_of
from .pages import Page, read_page
from .pieces import gathered
from .recogniser import Recogniser, SoundInput


class Recognised(NamedTuple):
    """What a recogniser makes of a file.

    Attributes:
        log_probs: float32 (T, C).
        frame_shift: seconds from one frame to the next; for an image, pixels of the file.
        delay: by which the first frame of a token usually comes after its beginning, in the same unit.
        stretch: by which a token usually goes on after its last frame, in the same unit.
        in_pixels: whether they are pixels.
    """

    log_probs: npt.NDArray[np.float32]
    frame_shift: float
    delay: float
    stretch: float
    in_pixels: bool


def recognise(
    recogniser: Recogniser, path: Where, part: Part = WHOLE, on_progress: Callable[[float, float], None] | None = None
) -> Recognised:
    """Reads a recording or the image of a line, and runs the recogniser on it, in pieces if it is long.

    Args:
        recogniser: which takes one of them.
        path: a file of sound (what libsndfile reads: WAV, FLAC, OGG, MP3 and others), any number of channels, any rate;
            or an image (what Pillow reads: PNG, JPEG, TIFF and others). A file may also be open:
            ``Opened(file, name)``.
        part: of a recording, which part is read: ``Part(start, duration, channel)``, in seconds.
        on_progress: of a recording, called with the seconds that are done and all that there are, after each piece.

    Raises:
        CTCError: the file can't be read, or is too short for the network.
        MissingExtraError: the packages that read such files are not installed.

    Example:
        >>> from ctckit.recognisers import hama
        >>> found = recognise(hama(), "speech.wav")  # doctest: +SKIP
        >>> found.log_probs.shape, found.frame_shift, found.delay  # doctest: +SKIP
        ((140, 191), 0.02, 0.1)
    """
    takes = recogniser.takes
    if not isinstance(takes, SoundInput):
        return _of_line(recogniser, read_line(path, takes.height), path)
    scores = recogniser.frames(read_sound(path, takes.rate, part))
    if on_progress is not None:
        scores = _told(scores, recogniser.frame_shift, seconds_of(path, part), on_progress)
    times = (recogniser.frame_shift, recogniser.delay, recogniser.stretch)
    return Recognised(_gathered(scores, path), *times, False)


def _told(
    scores: Iterator[npt.NDArray[np.float32]], frame_shift: float, total: float, tell: Callable[[float, float], None]
) -> Iterator[npt.NDArray[np.float32]]:
    """The same scores; tells how far they are."""
    frames = 0
    for part in scores:
        yield part
        frames += len(part)
        tell(min(frames * frame_shift, total), total)


class RecognisedLine(NamedTuple):
    """What a recogniser makes of a line of a page; all numbers but the scores are pixels of the page.

    Attributes:
        log_probs: float32 (T, C).
        frame_shift: from one frame to the next.
        begin: the column at which the first frame begins.
        place: where the line's ink is: left, top, right, bottom.
        ink: (W,) how many pixels of ink each column has, from `begin` on.
    """

    log_probs: npt.NDArray[np.float32]
    frame_shift: float
    begin: int
    place: Place
    ink: npt.NDArray[np.int32]


class RecognisedPage(NamedTuple):
    """A page, whose lines are recognised one after the other.

    Attributes:
        pixels: the page: uint8 (H, W, 3), red, green and blue.
        total: how many parts may be lines; those in which the network reads nothing are then left out.
        lines: from top to bottom.
    """

    pixels: npt.NDArray[np.uint8]
    total: int
    lines: Iterator[RecognisedLine]


def recognise_page(recogniser: Recogniser, path: Where) -> RecognisedPage:
    """Cuts the image of a page into lines, at rows without ink, and runs the recogniser on each.

    The page may be light or dark, and lines may rise or fall by one degree. Rules, and parts in which the network reads
    nothing, are left out. The image of a single line is a page with one line. Columns are not told apart: their lines
    are read across.

    Args:
        recogniser: which takes images.
        path: what Pillow reads: PNG, JPEG, TIFF and others.

    Raises:
        CTCError: the recogniser takes sound, or the file can't be read.
        MissingExtraError: Pillow is not installed.

    Example:
        >>> from ctckit.recognisers import pp_ocr
        >>> page = recognise_page(pp_ocr(), "page.png")  # doctest: +SKIP
        >>> [line.place for line in page.lines]  # doctest: +SKIP
        [Place(left=61, top=66, right=566, bottom=95, slope=0.0), Place(left=63, …)]
    """
    if isinstance(recogniser.takes, SoundInput):
        raise CTCError(f"{path}: the recogniser takes sound: expected one that takes images")
    page = read_page(path, recogniser.takes.height)
    return RecognisedPage(page.pixels, page.total, _lines_of(recogniser, page, path))


def _lines_of(recogniser: Recogniser, page: Page, path: Where) -> Iterator[RecognisedLine]:
    """Lines without those in which the network reads nothing, unless there is only one."""
    for line in page.lines:
        found = _of_line(recogniser, line.image, path)
        if page.total == 1 or (found.log_probs.argmax(axis=1) != recogniser.blank).any():
            yield RecognisedLine(*found[:2], line.left, line.place, line.ink)


def _of_line(recogniser: Recogniser, line: Line, path: Where) -> Recognised:
    shift, delay, stretch = (
        line.scale * time for time in (recogniser.frame_shift, recogniser.delay, recogniser.stretch)
    )
    return Recognised(_gathered(recogniser.frames([line.columns]), path), shift, delay, stretch, True)


def _gathered(scores: Iterator[npt.NDArray[np.float32]], path: Where) -> npt.NDArray[np.float32]:
    """The scores of a whole input; errors name the file."""
    try:
        return gathered(scores)
    except CTCError as error:
        raise (error if str(path) in str(error) else CTCError(f"{path}: {error}")) from None
