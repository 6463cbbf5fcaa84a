"""The numbers of a page of recordings: sound, pictures as bytes, spans, and what was read beside what was meant.

A picture is a matrix of bytes from 0, the paper, to 255. The page paints it in its own colours, light or dark. May
import recording.py, picture.py, strips.py, recognisers/, text/ and what lies below; soundfile is imported when a sound
is packed.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import CTCError, MissingExtraError
from ...lattice import STAR
from ...recognisers.media import read_sound
from ...results import Segment
from ...text import Vocabulary
from ...text.reading import collapse, edit_distance, edits, greedy
from ..picture import LOUDNESS, UNSURE, beside_others
from ..recording import Scores, Timed, confidence, words_of
from ..strips import Scan, Sound, summarised

Bytes = npt.NDArray[np.uint8]

RATE = 16000  # of what is played: enough for speech
LONGEST = 300  # seconds: a page is one file, and its sound is in it
MOST_CLASSES = 40  # rows of probabilities; of more, only the text's own, the best other and the blank are shown
MOST_COLUMNS = 8192  # of a picture: browsers limit them
MOST_COMPARED = 1000  # tokens of a text that are compared with what was read
HIGHEST = 8.0  # kHz
TALLEST = 96  # rows of a picture of sound or print
PEAKS = 200  # a second, of the waveform


class Clip(NamedTuple):
    """What can be played: samples (M,) from -1 to 1, and their rate a second."""

    samples: npt.NDArray[np.float32]
    rate: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate


def read_clip(path: Path) -> Clip:
    """A file of sound, as :func:`ctckit.recognisers.media.read_sound` reads it, at a rate that is enough for speech.

    Raises:
        CTCError: it can't be read, or is too long for a page.
        MissingExtraError: the packages that read sound are not installed.
    """
    blocks: list[npt.NDArray[np.float32]] = []
    for block in read_sound(path, RATE):
        blocks.append(block)
        if sum(map(len, blocks)) > LONGEST * RATE:
            raise too_long(path.name)
    return Clip(np.concatenate(blocks), RATE)


def too_long(name: str) -> CTCError:
    """The error for a recording that does not fit on a page."""
    return CTCError(
        f"{name} is longer than {LONGEST} seconds, which is the most for a page: cut out a part, or look at it in "
        "Praat (.TextGrid) or Audacity (.txt)"
    )


@dataclass(frozen=True)
class Shown:
    """A recording, or the image of a line, with its text.

    Attributes:
        found: the text with its times.
        log_probs: (T, C), what the network says.
        vocabulary: of its classes.
        strip: the sound or the image, if it is there.
        name: what it is called, such as the file's name.
        written: the text that it should be, if `found` is what was read; otherwise that of `found` is meant.
    """

    found: Timed
    log_probs: Scores
    vocabulary: Vocabulary
    strip: Clip | Scan | None
    name: str
    written: str | None = None

    @property
    def scale(self) -> float:
        """Units of the axis for one of the times: 1, or columns, if the frames of an image have no size."""
        if isinstance(self.strip, Scan) and self.found.facts.get("unit") != "pixels":
            return float(self.strip.pixels.shape[1] / self.found.duration)
        return 1.0

    @property
    def length(self) -> float:
        """Of the axis, in seconds or columns: that of the frames, and of the sound or the image, if that is longer."""
        frames = self.found.duration * self.scale
        if isinstance(self.strip, Scan):
            return max(frames, float(self.strip.pixels.shape[1]))
        return max(frames, self.strip.seconds) if self.strip else frames


def recording_data(shown: Shown) -> dict[str, Any]:
    """What the script needs of a recording, for JSON.

    Raises:
        CTCError: it is too long for a page, or its sound has another length than its frames.
        MissingExtraError: the sound can't be packed, or its spectrogram not be computed.
    """
    if isinstance(shown.strip, Clip):
        _pictured(shown.strip).check_length(shown.found.duration)
        if shown.length > LONGEST:
            raise too_long(shown.name)
    words = words_of(shown.found.lines)
    timed = [word for word in words if not math.isnan(word.start)]
    tokens = [token for word in timed for token in word.parts]
    facts = shown.found.facts
    return {
        "name": shown.name,
        "text": "\n".join(line.text for line in shown.found.lines),
        "kind": "print" if isinstance(shown.strip, Scan) else "sound",
        "length": shown.length,
        "sound": packed(shown.strip) if isinstance(shown.strip, Clip) else None,
        "strip": _strip(shown.strip),
        "chances": _chances(shown),
        "words": [] if _spelled(timed) else _spans(timed, shown.scale),
        "tokens": _spans(tokens, shown.scale),
        "compared": _compared(shown),
        "count": len(words),
        "untimed": len(words) - len(timed),
        "confidence": _known(confidence(shown.found.lines)),
        "misfit": facts.get("misfit"),
        "unsure": UNSURE,
    }


def differences(shown: Shown) -> tuple[int, int]:
    """How many tokens, or characters, the network reads otherwise than they are meant, and of how many."""
    written, read = _texts(shown)
    return edit_distance(written, read), len(written)


def packed(clip: Clip) -> str:
    """The sound as FLAC of 16 bits, in base64; without loss for samples of 16 bits."""
    try:
        import soundfile
    except ImportError:
        raise MissingExtraError("A page that plays sound", "sound", "soundfile") from None
    memory = io.BytesIO()
    samples = np.rint(clip.samples.clip(-1, 1 - 2**-15) * 2**15).astype(np.int16)
    soundfile.write(memory, samples, clip.rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(memory.getvalue()).decode()


# --- pictures ---------------------------------------------------------------------------------------------------------


def _picture(values: Bytes, begin: float, end: float) -> dict[str, Any]:
    """A matrix (rows, columns) that lies between two places on the axis."""
    packed = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"rows": len(values), "columns": values.shape[1], "begin": begin, "end": end, "values": packed}


def _bytes(strength: npt.NDArray[np.floating[Any]]) -> Bytes:
    found: Bytes = np.rint(255 * strength.clip(0, 1)).astype(np.uint8)
    return found


def _pictured(clip: Clip) -> Sound:
    return summarised([clip.samples], clip.rate)


def _strip(strip: Clip | Scan | None) -> dict[str, Any] | None:
    if strip is None:
        return None
    if isinstance(strip, Scan):
        values = pooled(pooled(_bytes(1 - strip.pixels), MOST_COLUMNS).T, 4 * TALLEST).T
        return _picture(values, 0, strip.pixels.shape[1]) | {"tall": strip.pixels.shape[0]}
    loudness, (begin, end, _, top) = _pictured(strip).spectrogram(0, strip.seconds)
    low = loudness[: max(1, round(len(loudness) * min(1, HIGHEST / top)))]
    values = pooled(_bytes(1 + low / LOUDNESS), MOST_COLUMNS)
    picture = _picture(pooled(values.T, TALLEST).T[::-1], begin, end)  # high frequencies above
    return picture | {"highest": min(top, HIGHEST), "peaks": _peaks(strip), "seconds": strip.seconds}


def _peaks(clip: Clip) -> str:
    """The loudest sample of each short time, 1 to 255, in base64."""
    level = np.abs(clip.samples) / max(float(np.abs(clip.samples).max()), 1e-9)
    count = max(1, min(MOST_COLUMNS, round(PEAKS * clip.seconds), len(level)))
    starts = np.arange(count) * len(level) // count
    return base64.b64encode(_bytes(np.maximum.reduceat(level, starts)).tobytes()).decode()


def _chances(shown: Shown) -> dict[str, Any]:
    """How probable the text's classes are at each frame, in their order, and then the blank."""
    path, blank = shown.found.path, shown.vocabulary.blank
    probs = np.exp(shown.log_probs.astype(np.float64))
    classes = [c for c in dict.fromkeys(path.tolist()) if c not in (blank, STAR)]
    if len(classes) > MOST_CLASSES:
        rows, names = _summed(probs, path, blank), []
    else:
        rows = probs[:, [*classes, blank]].T
        separator = shown.vocabulary.separator
        names = [" " if c == separator else shown.vocabulary.labels[c] for c in classes]
    end = shown.found.duration * shown.scale
    return _picture(pooled(_bytes(rows), MOST_COLUMNS), 0, end) | {"names": names}


def _summed(probs: npt.NDArray[np.float64], path: npt.NDArray[np.int32], blank: int) -> npt.NDArray[np.float64]:
    """Three rows: the token that the text has at a frame, the best other one, and the blank."""
    return np.stack([*beside_others(probs, path, blank), probs[:, blank]])


def pooled(values: Bytes, most: int) -> Bytes:
    """Reduces the columns to at most `most`: of neighbours, the strongest is kept.

    Example:
        >>> pooled(np.array([[1, 5, 2, 3, 9]], np.uint8), 2)
        array([[5, 9]], dtype=uint8)
    """
    columns = values.shape[1]
    if columns <= most:
        return values
    found: Bytes = np.maximum.reduceat(values, np.arange(most) * columns // most, axis=1)
    return found


# --- texts ------------------------------------------------------------------------------------------------------------


def _spans(pieces: Sequence[Segment], scale: float) -> list[list[Any]]:
    """Text, begin, end and confidence of each."""
    return [
        [piece.text, piece.start * scale, piece.end * scale, _known(piece.confidence)]
        for piece in pieces
        if not math.isnan(piece.start)
    ]


def _spelled(words: Sequence[Segment]) -> bool:
    """Whether the text is a single word that its tokens spell; then a row of words would repeat the row of tokens."""
    return len(words) == 1 and words[0].text == "".join(token.text for token in words[0].parts)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _compared(shown: Shown) -> list[list[str | None]]:
    """What was meant beside what the network reads by itself, token by token; nothing of a long text."""
    texts = _texts(shown)
    if max(map(len, texts)) > MOST_COMPARED:
        return []
    numbers: dict[str, int] = {}
    written, read = ([numbers.setdefault(text, len(numbers)) for text in side] for side in texts)
    names = list(numbers)
    return [[None if token is None else names[token] for token in pair] for pair in edits(written, read)]


def _texts(shown: Shown) -> tuple[list[str], list[str]]:
    """What was meant, and what the network reads, in tokens; in characters, if the text was read and not given."""
    vocabulary = shown.vocabulary
    if shown.written is not None:
        return list(shown.written), list("\n".join(line.text for line in shown.found.lines))
    meant = collapse(shown.found.path, vocabulary.blank)
    read = greedy(shown.log_probs, vocabulary.blank)
    return [_adds(vocabulary, run.token) for run in meant], [_adds(vocabulary, run.token) for run in read]


def _adds(vocabulary: Vocabulary, token: int) -> str:
    return "*" if token == STAR else vocabulary.adds(token)
