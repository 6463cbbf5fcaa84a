"""Recordings and images of lines from files, as recognisers take them: at a rate, of a height.

May import files/; soundfile, soxr and Pillow are imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from ..files import check_file, unreadable

Array = npt.NDArray[np.float32]

_SECONDS = 10  # of sound, read at a time
_WIDEST = 1 << 20  # columns of a scaled line


def read_sound(path: str | Path, rate: int) -> Iterator[Array]:
    """A recording in blocks of samples, its channels' mean, at a rate.

    Args:
        path: what libsndfile reads: WAV, FLAC, OGG, MP3, AIFF and others, of any number of bits.
        rate: samples a second.

    Raises:
        CTCError: the file can't be read, or holds no samples.
        MissingExtraError: soundfile or soxr is not installed.
    """
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise MissingExtraError("Reading sound", "sound", error.name or "soundfile") from None
    path = Path(path)
    check_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            if not file.frames:
                raise CTCError(f"{path} holds no samples")
            blocks = (block.mean(axis=1) for block in _blocks(file))
            yield from blocks if file.samplerate == rate else _resampled(soxr, blocks, file.samplerate, rate)
    except (soundfile.SoundFileError, TypeError, RuntimeError) as error:  # TypeError: .raw has no rate
        why = getattr(error, "error_string", "it says nothing of its rate and its bits")
        raise CTCError(
            f"{path} is not a readable recording: {why.strip().rstrip('.')}; expected .wav, .flac, .ogg, .mp3 or the "
            "like; convert others with ffmpeg"
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None


def _blocks(file: Any) -> Iterator[Array]:
    """Samples (M, channels), until there are no more."""
    while len(block := file.read(_SECONDS * file.samplerate, dtype="float32", always_2d=True)):
        yield block


def _resampled(soxr: Any, blocks: Iterator[Array], old: int, new: int) -> Iterator[Array]:
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


def read_line(path: str | Path, height: int) -> Line:
    """The image of a line, scaled to a height; what is transparent is white.

    Args:
        path: what Pillow reads: PNG, JPEG, TIFF, WebP and others; turned as the camera says.
        height: pixels.

    Raises:
        CTCError: it can't be read, or is too long for a line.
        MissingExtraError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("Reading images", "image", "pillow") from None
    path = Path(path)
    check_file(path)
    try:
        with Image.open(path) as image:
            seen = ImageOps.exif_transpose(image)
            seen = _eight_bits(Image, seen) if seen.mode[0] in "IF" else seen
            paper = Image.new("RGBA", seen.size, "white")
            paper.alpha_composite(seen.convert("RGBA"))
            width = max(1, round(seen.width * height / seen.height))
            if width > _WIDEST:
                raise CTCError(f"{path} has {seen.width} x {seen.height} pixels: expected the image of a line")
            scaled = paper.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            return Line(np.asarray(scaled, np.float32).transpose(1, 0, 2) / 255, seen.width / width)
    except UnidentifiedImageError:
        raise CTCError(f"{path} is not an image: expected .png, .jpg or the like") from None
    except Image.DecompressionBombError as error:
        raise CTCError(f"{path}: {error}; expected the image of a line") from None
    except OSError as error:  # also of a file that is cut off
        raise unreadable(path, error) from None


def _eight_bits(image_module: Any, image: Any) -> Any:
    """An image of more bits a pixel, its brightest white."""
    deep = np.asarray(image, np.float32)
    return image_module.fromarray((deep * (255 / max(float(deep.max()), 1e-30))).clip(0, 255).astype(np.uint8))
