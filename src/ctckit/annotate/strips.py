"""What a picture shows above an alignment: the sound that was recorded, or the image of a line.

Of sound only a summary is kept, so memory and pictures stay small for recordings of any length. Files are read by
recognisers/media.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import CTCError
from ..recognisers.media import read_image, read_sound, sound_rate

Floats = npt.NDArray[np.float32]

MOST_COLUMNS = 1 << 14  # of a summary: more than a picture has room for
HIGHEST = 8000.0  # Hz, of a spectrogram
_WINDOW = 0.025  # seconds
_PER_WINDOW = 32  # columns of the waveform; the spectrogram's are 8 times as wide


class Spectrogram(NamedTuple):
    """Loudness (frequencies, times) in dB below the recording's maximum; extent: from and to, in s and in kHz."""

    decibels: Floats
    extent: tuple[float, float, float, float]


@dataclass(frozen=True)
class Sound:
    """A summary of a recording, column by column.

    Attributes:
        seconds: its duration.
        step: seconds of a column of the waveform.
        lowest: (W,) of the samples of each column.
        highest: (W,) of the samples of each column.
        hop: seconds of a column of the spectrogram.
        power: (V, frequencies) the mean of each column.
        top: Hz, the last frequency.
    """

    seconds: float
    step: float
    lowest: Floats
    highest: Floats
    hop: float
    power: Floats
    top: float

    def check_length(self, duration: float) -> None:
        """Raises a CTCError if the frames together have another duration."""
        if abs(self.seconds - duration) > max(0.5, 0.05 * duration):
            raise CTCError(
                f"the recording has {self.seconds:.2f} seconds and all frames together {duration:.2f}: expected about "
                "the same; check the frame shift"
            )

    def waveform(self, begin: float, end: float, most: int) -> tuple[Floats, Floats, Floats]:
        """Between two times, at most `most` columns: their middles in seconds, and the least and the greatest samples.

        Samples are relative to the largest of the recording.
        """
        first, last = max(0, math.floor(begin / self.step)), min(len(self.lowest), math.ceil(end / self.step))
        times = (np.arange(first, last, dtype=np.float32) + 0.5) * np.float32(self.step)
        size = max(1, math.ceil((last - first) / most))
        loudest = max(float(self.highest.max()), -float(self.lowest.min()), 1e-30)
        starts = np.arange(0, last - first, size)
        if not len(starts):
            return times, times, times
        low: Floats = np.minimum.reduceat(self.lowest[first:last], starts) / np.float32(loudest)
        high: Floats = np.maximum.reduceat(self.highest[first:last], starts) / np.float32(loudest)
        return times[starts] + np.float32((size - 1) / 2 * self.step), low, high

    def spectrogram(self, begin: float, end: float) -> Spectrogram:
        """Between two times, or a little more."""
        first, last = max(0, math.floor(begin / self.hop)), min(len(self.power), math.ceil(end / self.hop))
        last = max(last, first + 1)
        power = self.power[first:last] / max(float(self.power.max()), 1e-30)
        decibels: Floats = 10 * np.log10(np.maximum(power, 1e-12)).T
        return Spectrogram(decibels, (first * self.hop, last * self.hop, 0.0, self.top / 1000))


@dataclass(frozen=True)
class Scan:
    """An image (H, W), paper 1 and ink 0, of a line or a page."""

    pixels: npt.NDArray[np.floating[Any]]


def read_strip(audio: Path | None, image: Path | None) -> Sound | Scan | None:
    """What was recorded: a file of sound, or an image.

    Raises:
        CTCError: it can't be read, or both are given.
        MissingExtraError: the package that reads it is not installed; PCM .wav needs none.
    """
    if audio is not None and image is not None:
        raise CTCError(f"audio = {audio} and image = {image}: expected one of them")
    if audio is not None:
        rate = sound_rate(audio)
        return summarised(read_sound(audio, rate), rate)
    return None if image is None else Scan(read_image(image).mean(axis=2, dtype=np.float32) / 255)


def summarised(blocks: Iterable[Floats], rate: int) -> Sound:
    """The summary of a recording, from blocks of its samples and their rate a second."""
    window = max(_PER_WINDOW, 2 ** round(math.log2(_WINDOW * rate)))
    step, hop = window // _PER_WINDOW, window // 4
    bins = min(window // 2 + 1, math.ceil(HIGHEST * window / rate) + 1)
    lowest, highest, power = _Columns(np.min), _Columns(np.max), _Columns(np.mean)
    rest, heard = np.zeros(0, np.float32), np.zeros(window // 2 - hop // 2, np.float32)  # silence: windows are centred
    count = 0
    for block in blocks:
        count += len(block)
        rest, heard = np.concatenate([rest, block]), np.concatenate([heard, block])
        steps = rest[: len(rest) // step * step].reshape(-1, step)
        lowest.add(steps.min(axis=1))
        highest.add(steps.max(axis=1))
        rest = rest[steps.size :]
        spectra = _spectra(heard, window, hop, bins)
        power.add(spectra)
        heard = heard[len(spectra) * hop :]
    if len(rest):
        lowest.add(rest.min(keepdims=True))
        highest.add(rest.max(keepdims=True))
    power.add(_spectra(np.concatenate([heard, np.zeros(window, np.float32)]), window, hop, bins))
    top = (bins - 0.5) * rate / window
    return Sound(
        *(count / rate, lowest.size * step / rate, lowest.all(), highest.all()),
        *(power.size * hop / rate, power.all(), top),
    )


def _spectra(samples: Floats, window: int, hop: int, bins: int) -> Floats:
    """The power (windows, bins) of all windows that fit."""
    if len(samples) < window:
        return np.zeros((0, bins), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    power: Floats = np.square(np.abs(np.fft.rfft(windows * np.hanning(window), axis=1)[:, :bins])).astype(np.float32)
    return power


class _Columns:
    """Columns (W, ...) of a summary. When there are too many, each two neighbours become one.

    Attributes:
        size: how many of the columns that were added are in one.
    """

    def __init__(self, join: Callable[..., Any]) -> None:
        self.size = 1
        self._join = join
        self._parts: list[Floats] = []
        self._count = 0
        self._rest: Floats | None = None

    def add(self, columns: Floats) -> None:
        """Adds columns at the end."""
        rest = columns if self._rest is None else np.concatenate([self._rest, columns])
        while len(rest) >= self.size:
            most = min((2 * MOST_COLUMNS - self._count) * self.size, len(rest) // self.size * self.size)
            self._put(self._join(rest[:most].reshape(-1, self.size, *rest.shape[1:]), axis=1))
            rest = rest[most:]
        self._rest = rest

    def _put(self, columns: Floats) -> None:
        self._parts.append(columns)
        self._count += len(columns)
        if self._count == 2 * MOST_COLUMNS:
            whole = np.concatenate(self._parts)
            self._parts = [self._join(whole.reshape(MOST_COLUMNS, 2, *whole.shape[1:]), axis=1)]
            self._count, self.size = MOST_COLUMNS, 2 * self.size

    def all(self) -> Floats:
        """All of them."""
        if self._rest is not None and len(self._rest):
            self._parts.append(self._join(self._rest, axis=0, keepdims=True))
            self._rest = None
        return np.concatenate(self._parts)
