"""What a picture shows above an alignment: the sound that was recorded, or the image of a line.

Sounds are read by the standard library, images by the library that matplotlib brings.
"""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import CTCError, MissingExtraError
from ..files import unreadable


@dataclass(frozen=True)
class Sound:
    """A recording: samples (M,), and their rate per second."""

    samples: npt.NDArray[np.float32]
    rate: int

    def check_length(self, duration: float) -> None:
        """Raises a CTCError if the frames together have another duration."""
        seconds = len(self.samples) / self.rate
        if abs(seconds - duration) > max(0.5, 0.05 * duration):
            raise CTCError(
                f"the recording has {seconds:.2f} seconds and all frames together {duration:.2f}: expected about the "
                "same; check the frame shift"
            )

    def spectrogram(
        self, begin: float, end: float
    ) -> tuple[npt.NDArray[np.float64], tuple[float, float, float, float]]:
        """Between two times: loudness (frequencies, times) in dB below the maximum, and the extent, s and kHz."""
        from matplotlib.mlab import specgram

        window = max(16, 2 ** round(math.log2(0.025 * self.rate)))
        first, last = round(begin * self.rate) - window, round(end * self.rate) + window
        part = np.zeros(last - first, np.float32)  # silence before and after
        inside = self.samples[max(first, 0) : max(last, 0)]
        part[max(-first, 0) : max(-first, 0) + len(inside)] = inside
        power, frequencies, times = map(np.asarray, specgram(part, NFFT=window, Fs=self.rate, noverlap=window * 3 // 4))
        decibels = 10 * np.log10(np.maximum(power / max(float(power.max()), 1e-30), 1e-12))
        half = window / 8 / self.rate  # of the step from one time to the next
        start = first / self.rate
        return decibels, (
            start + float(times[0]) - half,
            start + float(times[-1]) + half,
            0,
            float(frequencies[-1]) / 1000,
        )


@dataclass(frozen=True)
class Scan:
    """An image (H, W) of a line, paper 1 and ink 0; its columns are proportional to the frames."""

    pixels: npt.NDArray[np.floating[Any]]


def read_strip(audio: Path | None, image: Path | None) -> Sound | Scan | None:
    """What was recorded: a ``.wav`` file of integers, or an image.

    Raises:
        CTCError: it can't be read, or both are given.
    """
    if audio is not None and image is not None:
        raise CTCError(f"audio = {audio} and image = {image}: expected one of them")
    if audio is not None:
        return _read_sound(audio)
    return None if image is None else _read_scan(image)


def _read_sound(path: Path) -> Sound:
    try:
        with wave.open(str(path), "rb") as file:
            channels, size, rate, count = file.getparams()[:4]
            data = file.readframes(count)
    except OSError as error:
        raise unreadable(path, error) from None
    except (wave.Error, EOFError) as error:
        raise CTCError(
            f"{path} is not a PCM .wav file: {str(error) or 'it is truncated'}; convert it to 16 bits"
        ) from None
    if size > 4 or rate < 1:
        raise CTCError(f"{path} has {8 * size} bits a sample and {rate} samples a second; convert it to 16 bits")
    whole = np.frombuffer(data[: len(data) // (channels * size) * channels * size], np.uint8).reshape(
        -1, channels, size
    )
    if not len(whole):
        raise CTCError(f"{path} holds no samples")
    if size == 1:  # the only size without a sign
        values = whole[..., 0].astype(np.float32) - 128
    else:
        wide = np.zeros((*whole.shape[:2], 4), np.uint8)
        wide[..., 4 - size :] = whole
        values = wide.view("<i4")[..., 0].astype(np.float32)
    return Sound(values.mean(axis=1) / max(float(np.abs(values).max()), 1.0), rate)


def _read_scan(path: Path) -> Scan:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("A picture", "plot", "matplotlib") from None
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # more than 8 bits, which converting would cut off at 255
                deep = np.asarray(image, np.float32)
                return Scan(deep / max(float(deep.max()), 1e-30))
            paper = Image.new("RGBA", image.size, "white")
            paper.alpha_composite(image.convert("RGBA"))
            return Scan(np.asarray(paper.convert("L"), np.float32) / 255)
    except UnidentifiedImageError:
        raise CTCError(f"{path} is not an image: expected .png, .jpg or the like") from None
    except OSError as error:
        raise unreadable(path, error) from None
