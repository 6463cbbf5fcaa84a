"""A made-up language of loudness, its recordings, and a recogniser that hears it exactly. Needs soundfile and soxr.

Each letter is a level that is kept for 50 ms, with silence of 50 ms after it. The recogniser has a frame every 10 ms,
so all times are known. It is called "ears" on the command line; "eyes" reads the same from the brightness of columns.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ctckit.recognisers import ImageInput, Recogniser, SoundInput
from ctckit.recognisers.named import NAMED, Named

from .recordings import LABELS

RATE, STEP, FRAMES, LEVELS = 16000, 160, 5, 32
COMMAND = [sys.executable, "-c", "import support.ears; support.ears.main()"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}

Array = npt.NDArray[np.float32]
Times = list[tuple[float, float]]


def levels(text: str) -> npt.NDArray[np.int64]:
    """The class of each frame of a text."""
    frames = [[0] * FRAMES, *([LABELS.index(letter)] * FRAMES + [0] * FRAMES for letter in text)]
    return np.concatenate(frames)


def sound(text: str) -> Array:
    """Samples of a text: 0.05 s of silence, and 0.1 s for each letter and each space."""
    return np.repeat(levels(text) / LEVELS, STEP).astype(np.float32)


def times(text: str, begin: float = 0.0) -> Times:
    """When each word is said, if the recording of the text begins at this second."""
    found, at = [], 0
    for word in text.split(" "):
        found.append((begin + 0.05 + 0.1 * at, begin + 0.1 * (at + len(word))))
        at += len(word) + 1
    return found


def write(path: Path, text: str) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(text), RATE)


def draw(path: Path, text: str) -> None:
    """An image eight pixels high, whose columns are as bright as the sound is loud."""
    from PIL import Image

    columns = np.repeat(levels(text) * (256 // LEVELS), 2).astype(np.uint8)
    Image.fromarray(np.tile(columns, (8, 1))).save(path)


def _log_probs(level: npt.NDArray[Any]) -> Array:
    classes = np.rint(level * LEVELS).astype(int).clip(0, len(LABELS) - 1)
    probable = np.where(np.eye(len(LABELS)) > 0, 0.9, 0.1 / (len(LABELS) - 1))
    return np.log(probable)[classes].astype(np.float32)


def ears() -> Recogniser:
    def hears(samples: Array) -> Array:
        whole = samples[:, : samples.shape[1] // STEP * STEP].reshape(len(samples), -1, STEP)
        return _log_probs(np.abs(whole).mean(axis=2))

    return Recogniser(hears, SoundInput(RATE), LABELS, 0, STEP)


def eyes() -> Recogniser:
    def sees(columns: Array) -> Array:
        return _log_probs(columns[:, : columns.shape[1] // 2 * 2].reshape(len(columns), -1, 2 * 8 * 3).mean(axis=2))

    return Recogniser(sees, ImageInput(8), LABELS, 0, 2)


MADE_UP = {"ears": Named(ears, "numpy"), "eyes": Named(eyes, "numpy")}


def main() -> None:
    """The command, which knows these recognisers too."""
    from ctckit.cli.main import main as command

    NAMED.update(MADE_UP)
    command()
