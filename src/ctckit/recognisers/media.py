"""Sound and images from files, as recognisers take them (at a rate, of a height), and as they are, for pictures.

The only readers of such files. May import files/ and installation.py; soundfile, soxr and Pillow are imported when
they are needed.
"""

from __future__ import annotations

import warnings
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from ..files import check_file, unreadable
from ..installation import install_command

Array = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

_SECONDS = 10  # of sound, read at a time
_WIDEST = 1 << 20  # columns of a scaled line


class Opened(NamedTuple):
    """An open file that can be read from any place, such as a member of an archive.

    Attributes:
        file: the file; it is read from its beginning.
        name: what errors call it.
    """

    file: BinaryIO
    name: str

    def __str__(self) -> str:
        return self.name


Where = str | Path | Opened


class Part(NamedTuple):
    """A part of a recording.

    Attributes:
        start: seconds, where it begins.
        duration: seconds; None: up to the end. A part may be longer than the recording, which then ends it.
        channel: from 0; None: the mean of all channels.
    """

    start: float = 0.0
    duration: float | None = None
    channel: int | None = None


WHOLE = Part()


def read_sound(where: Where, rate: int, part: Part = WHOLE) -> Iterator[Array]:
    """A recording in blocks of samples of one channel, at a rate.

    Args:
        where: what libsndfile reads: WAV, FLAC, OGG, MP3, AIFF and others, of any number of bits. Without soundfile, a
            .wav of integers.
        rate: samples a second.
        part: which part of it.

    Raises:
        CTCError: the file can't be read, or holds no samples there.
        MissingExtraError: soundfile or soxr is needed and not installed.
    """
    with _reading(where) as file:
        count = _seek(file, part, where)
        blocks = (_one_channel(block, part.channel) for block in _blocks(file, count))
        yield from blocks if file.samplerate == rate else _resampled(blocks, file.samplerate, rate)


def seconds_of(where: Where, part: Part = WHOLE) -> float:
    """How long a recording, or a part of it, is.

    Raises:
        CTCError: as :func:`read_sound`.
        MissingExtraError: soundfile or soxr is not installed.
    """
    with _reading(where) as file:
        return _seek(file, part, where) / float(file.samplerate)


def sound_rate(where: Where) -> int:
    """A recording's own rate, samples a second.

    Raises:
        CTCError: as :func:`read_sound`.
        MissingExtraError: as :func:`read_sound`.
    """
    with _reading(where) as file:
        return int(file.samplerate)


@contextmanager
def _reading(where: Where) -> Iterator[Any]:
    """An open recording, a SoundFile or a _Wav; what goes wrong with it becomes a CTCError."""
    if isinstance(where, Opened):
        where.file.seek(0)
    else:
        check_file(Path(where))
    try:
        import soundfile
    except ImportError:
        if not str(where).lower().endswith(".wav"):
            raise MissingExtraError("Reading sound", "sound", "soundfile") from None
        with _reading_wav(where) as wav:
            yield wav
        return
    try:
        with soundfile.SoundFile(where.file if isinstance(where, Opened) else where) as file:
            yield file
    except (soundfile.SoundFileError, TypeError, RuntimeError) as error:  # TypeError: .raw has no rate
        why = getattr(error, "error_string", "it says nothing of its rate and its bits")
        raise CTCError(
            f"{where} is not a readable recording: {why.strip().rstrip('.')}; expected .wav, .flac, .ogg, .mp3 or the "
            "like; convert others with ffmpeg"
        ) from None
    except OSError as error:
        raise unreadable(str(where), error) from None


@contextmanager
def _reading_wav(where: Where) -> Iterator[_Wav]:
    """A .wav file, by the standard library."""
    try:
        with wave.open(where.file if isinstance(where, Opened) else str(where), "rb") as file:
            bits, rate = 8 * file.getsampwidth(), file.getframerate()
            if bits > 32 or rate < 1:
                raise CTCError(f"{where} holds {bits} bits a sample and {rate} samples a second; convert it to 16 bits")
            yield _Wav(file)
    except OSError as error:
        raise unreadable(str(where), error) from None
    except (wave.Error, EOFError) as error:
        raise CTCError(
            f"{where} is not a PCM .wav file: {str(error) or 'it is truncated'}; convert it to 16 bits, or read it "
            f"with soundfile: {install_command('sound')}"
        ) from None


class _Wav:
    """A .wav of integers of any size, as soundfile has it."""

    def __init__(self, file: wave.Wave_read) -> None:
        self._file = file
        self.frames, self.samplerate, self.channels = file.getnframes(), file.getframerate(), file.getnchannels()

    def seek(self, frame: int) -> None:
        """Goes to a frame."""
        self._file.setpos(frame)

    def read(self, count: int, **_: Any) -> Array:
        """The next samples (M, channels) from -1 to 1, at most so many."""
        size, data = self._file.getsampwidth(), self._file.readframes(count)
        frame = self.channels * size
        whole = np.frombuffer(data[: len(data) // frame * frame], np.uint8).reshape(-1, size)
        if size == 1:  # the only size without a sign
            values: Array = whole[:, 0].astype(np.float32) / np.float32(128) - 1
        else:
            wide = np.zeros((len(whole), 4), np.uint8)
            wide[:, 4 - size :] = whole
            values = wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        return values.reshape(-1, self.channels)


def _seek(file: Any, part: Part, where: Where) -> int:
    """Goes to the beginning of a part; returns how many samples it has."""
    if not file.frames:
        raise CTCError(f"{where} holds no samples")
    seconds = f"{where} has {file.frames / file.samplerate:g} s"
    first = round(part.start * file.samplerate)
    if first >= file.frames:
        raise CTCError(f"{seconds}: expected a part that begins before its end, not at {part.start:g} s")
    left: int = file.frames - first
    count = left if part.duration is None else min(left, round(part.duration * file.samplerate))
    if count < 1:
        raise CTCError(f"{seconds}: expected a part of at least one sample, not {part.duration:g} s")
    if part.channel is not None and 1 < file.channels <= part.channel:  # a single channel may have any number
        raise CTCError(f"{where} has {file.channels} channels: expected one of them, from 0, not {part.channel}")
    if first:
        file.seek(first)
    return count


def _blocks(file: Any, count: int) -> Iterator[Array]:
    """The next samples (M, channels), or all that there are."""
    while len(block := file.read(min(count, _SECONDS * file.samplerate), dtype="float32", always_2d=True)):
        yield block
        count -= len(block)


def _one_channel(block: Array, channel: int | None) -> Array:
    mean: Array = block.mean(axis=1) if channel is None or block.shape[1] == 1 else block[:, channel]
    return mean


def _resampled(blocks: Iterator[Array], old: int, new: int) -> Iterator[Array]:
    try:
        import soxr
    except ImportError:
        raise MissingExtraError("Changing the rate of sound", "sound", "soxr") from None
    stream = soxr.ResampleStream(old, new, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


class Line(NamedTuple):
    """The image of a line, scaled.

    Attributes:
        columns: float32 (W, height, 3), from 0 to 1.
        scale: pixels of the image on the disk for a column.
    """

    columns: Array
    scale: float


def read_line(where: Where, height: int) -> Line:
    """The image of a line, scaled to a height.

    Args:
        where: as for :func:`read_image`.
        height: pixels.

    Raises:
        CTCError: it can't be read, or is too long for a line.
        MissingExtraError: Pillow is not installed.
    """
    return scaled(read_image(where), height, str(where))


def read_image(where: Where) -> Pixels:
    """An image: uint8 (H, W, 3), red, green and blue; what is transparent is white.

    Args:
        where: what Pillow reads: PNG, JPEG, TIFF, WebP and others; turned as the camera says.

    Raises:
        CTCError: it can't be read, or is too large.
        MissingExtraError: Pillow is not installed.
    """
    Image, ImageOps, UnidentifiedImageError = _pillow()
    if not isinstance(where, Opened):
        check_file(Path(where))
    try:
        with warnings.catch_warnings(), Image.open(where.file if isinstance(where, Opened) else where) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as large is an error
            seen = ImageOps.exif_transpose(image)
            seen = _eight_bits(Image, seen) if seen.mode[0] in "IF" else seen
            paper = Image.new("RGBA", seen.size, "white")
            paper.alpha_composite(seen.convert("RGBA"))
            return np.asarray(paper.convert("RGB"))
    except UnidentifiedImageError:
        raise CTCError(f"{where} is not an image: expected .png, .jpg or the like") from None
    except Image.DecompressionBombError as error:
        raise CTCError(f"{where}: {error}; expected the scan of a page or a line") from None
    except OSError as error:  # also of a file that is cut off
        raise unreadable(str(where), error) from None


def scaled(pixels: Pixels, height: int, name: str) -> Line:
    """The image of a line at another height; ``name`` says in an error whose it is.

    Raises:
        CTCError: it is too long for a line.
    """
    Image, _, _ = _pillow()
    rows, columns = pixels.shape[:2]
    width = max(1, round(columns * height / rows))
    if width > _WIDEST:
        raise CTCError(f"{name} has {columns} x {rows} pixels: expected the image of a line")
    small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return Line(np.asarray(small, np.float32).transpose(1, 0, 2) / 255, columns / width)


def grey(pixels: Pixels, times: int = 1) -> Array:
    """How light an image is, (H, W) from 0 to 255, and so many times smaller."""
    Image, _, _ = _pillow()
    return np.asarray(Image.fromarray(pixels).convert("L").reduce(times), np.float32)


def _pillow() -> Any:
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("Reading images", "image", "pillow") from None
    return Image, ImageOps, UnidentifiedImageError


def _eight_bits(image_module: Any, image: Any) -> Any:
    """An image of more bits a pixel, its brightest white."""
    deep = np.asarray(image, np.float32)
    return image_module.fromarray((deep * (255 / max(float(deep.max()), 1e-30))).clip(0, 255).astype(np.uint8))
