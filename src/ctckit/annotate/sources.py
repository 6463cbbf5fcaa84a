"""Where a recording's scores come from: a file of scores, or a recogniser that hears the recording or sees the image.

May import recording.py, utterance.py, decoded.py, recognisers/, files/ and text/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

from ..errors import CTCError
from ..files import Kind, check_file, file_of, recording_at
from ..recognisers import (
    ImageInput,
    Opened,
    Part,
    RecognisedPage,
    Recogniser,
    SoundInput,
    recognise,
    recognise_page,
)
from ..recognisers.media import WHOLE, Where
from ..recognisers.named import shared
from ..text import Vocabulary
from .decoded import Options as Decoding
from .recording import Scores, read_scores, read_vocabulary
from .utterance import Options as Aligning

PLACES = (".json", ".csv", ".tsv")  # formats whose numbers may be pixels

AnyOptions = TypeVar("AnyOptions", Aligning, Decoding)


class Seen(NamedTuple):
    """A recording's scores, and what they mean.

    Attributes:
        scores: (T, C).
        vocabulary: of their classes.
        frame_shift: seconds from one frame to the next; None if it is not known.
        delay: seconds, of the recogniser; 0 for scores from a file.
        stretch: likewise.
        audio: the file of the recording that a recogniser heard.
    """

    scores: Scores
    vocabulary: Vocabulary
    frame_shift: float | None
    delay: float = 0.0
    stretch: float = 0.0
    audio: Path | None = None

    @property
    def shift(self) -> float:
        """The frame shift, where it is known: a recogniser's is, and rows of corpora must have one."""
        return cast("float", self.frame_shift)

    def with_times(self, options: AnyOptions) -> AnyOptions:
        """The options, with what these scores say of times where the options don't."""
        delay = self.delay if options.delay is None else options.delay
        stretch = self.stretch if options.stretch is None else options.stretch
        return replace(options, delay=delay, stretch=stretch)


class Page(NamedTuple):
    """The lines of an image, and the vocabulary of their scores.

    Attributes:
        lines: are recognised when they are asked for.
        vocabulary: of the recogniser.
    """

    lines: RecognisedPage
    vocabulary: Vocabulary


class Stored(NamedTuple):
    """Scores in a file.

    Attributes:
        path: the file, ``FILE:OFFSET`` in an archive, or ``FILE:ROW`` in a table.
        labels: the file of the labels.
        blank: the blank's class; found from the labels if None.
        frame_shift: seconds; None if it is not known.
    """

    path: Path
    labels: Path
    blank: int | None
    frame_shift: float | None

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [file_of(self.path), self.labels]

    def read(self) -> Seen:
        """Reads the scores and the labels."""
        scores = read_scores(self.path)
        return Seen(scores, read_vocabulary(self.labels, self.blank, scores), self.frame_shift)


class Recorded(NamedTuple):
    """A recording or an image, which a recogniser makes scores of.

    Attributes:
        path: the file, ``FILE:OFFSET`` in a ``.tar``, or ``FILE:ROW`` in a ``.parquet``.
        recogniser: its name.
        part: which part of the recording.
    """

    path: Path
    recogniser: str
    part: Part = WHOLE

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return [file_of(self.path)]

    @property
    def frame_shift(self) -> None:
        """Known when it has been read."""

    def read(
        self, on_progress: Callable[[float, float], None] | None = None, where: Where | None = None
    ) -> Seen | Page:
        """Runs the recogniser, which is loaded once in a process.

        Args:
            on_progress: told the seconds that are done, and all that there are.
            where: the recording, if it is open already.
        """
        if where is None:
            check_file(file_of(self.path))  # first: loading the recogniser takes longer
        recogniser = shared(self.recogniser)
        found = where or self._found(kind_of(recogniser))
        if isinstance(recogniser.takes, ImageInput):
            return Page(recognise_page(recogniser, found), _vocabulary(recogniser))
        heard = recognise(recogniser, found, self.part, on_progress)
        audio = found if isinstance(found, Path) and self.part == WHOLE else None
        return Seen(heard.log_probs, _vocabulary(recogniser), heard.frame_shift, heard.delay, heard.stretch, audio)

    def _found(self, kind: Kind) -> Where:
        found = recording_at(self.path, kind)
        return Opened(BytesIO(found), str(self.path)) if isinstance(found, bytes) else found


Source = Stored | Recorded


def kind_of(recogniser: Recogniser) -> Kind:
    """What a recogniser takes."""
    return "audio" if isinstance(recogniser.takes, SoundInput) else "image"


@lru_cache(maxsize=1)
def _vocabulary(recogniser: Recogniser) -> Vocabulary:
    """Made once, since thousands of labels take a while."""
    return recogniser.vocabulary()


def check_pixels(path: Path) -> None:
    """Raises a CTCError for a file that holds seconds, where pixels are to be written."""
    if path.suffix.lower() not in PLACES:
        raise CTCError(f"{path} would hold seconds, and places in an image are pixels: expected {', '.join(PLACES)}")
