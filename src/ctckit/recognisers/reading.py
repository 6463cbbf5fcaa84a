"""From a file to scores: reads a recording or a line's image for a recogniser, and says what its frames are in time.

May import recogniser.py and media.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from .media import WHOLE, Part, Where, read_line, read_sound, seconds_of
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
    blocks: Iterable[npt.NDArray[np.float32]]
    is_sound = isinstance(takes, SoundInput)
    if isinstance(takes, SoundInput):
        blocks, scale = read_sound(path, takes.rate, part), 1.0
    else:
        columns, scale = read_line(path, takes.height)
        blocks = [columns]
    scores = recogniser.frames(blocks)
    if on_progress is not None and is_sound:
        scores = _told(scores, recogniser.frame_shift, seconds_of(path, part), on_progress)
    try:
        found = gathered(scores)
    except CTCError as error:
        raise (error if str(path) in str(error) else CTCError(f"{path}: {error}")) from None
    shift, delay, stretch = (scale * time for time in (recogniser.frame_shift, recogniser.delay, recogniser.stretch))
    return Recognised(found, shift, delay, stretch, not is_sound)


def _told(
    scores: Iterator[npt.NDArray[np.float32]], frame_shift: float, total: float, tell: Callable[[float, float], None]
) -> Iterator[npt.NDArray[np.float32]]:
    """The same scores; tells how far they are."""
    frames = 0
    for part in scores:
        yield part
        frames += len(part)
        tell(min(frames * frame_shift, total), total)
