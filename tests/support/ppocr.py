"""A real recogniser, from drawn text to scores: PP-OCRv4's, a file of the package rapidocr-onnxruntime.

The package is not imported, so its dependencies may be missing; `.ci/run`, `make test-long` and `make bench` install it
without them. Text is drawn in DejaVu Sans, which matplotlib has.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from ctckit.recognisers import pp_ocr
from support.printed import LABELS

PACKAGES = ("rapidocr_onnxruntime", "onnxruntime", "PIL", "matplotlib")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

HEIGHT, MARGIN, FONT_SIZE = 48, 24, 30  # pixels; the network wants this height


class Recogniser:
    """ctckit's own adapter of the network, for images in memory.

    Attributes:
        labels: of all 6625 classes; the blank is class 0, the space is the last.
        columns: (29,) the classes that :data:`support.printed.LABELS` names.
    """

    def __init__(self) -> None:
        self._network = pp_ocr()
        self.labels = ["", *self._network.labels[1:]]
        self.columns = np.array([self.labels.index(label) for label in LABELS])

    def log_probs(self, image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Scores (T, 6625) float32 of an image (48, W), 0 black and 1 white; about a frame for eight columns of it."""
        columns = np.broadcast_to(image.T[:, :, None].astype(np.float32), (*image.T.shape, 3))
        return self._network.log_probs(columns)

    def printed(self, text: str, noise: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Log-probabilities (T, 29) float32 of a drawn text, given that each frame is one of :data:`LABELS`."""
        return normalised(self.log_probs(draw(text, noise, rng))[:, self.columns])


def normalised(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Scores whose rows sum to 1."""
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


def draw(text: str, noise: float, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """A line of black text on white, (48, W) from 0 to 1, with Gaussian noise of this standard deviation."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), FONT_SIZE)
    sheet = Image.new("L", (int(font.getlength(text)) + 2 * MARGIN, HEIGHT), 255)
    ImageDraw.Draw(sheet).text((MARGIN, HEIGHT // 2), text, font=font, fill=0, anchor="lm")
    clean = np.asarray(sheet, np.float32) / 255
    return np.clip(clean + noise * rng.standard_normal(clean.shape, np.float32), 0, 1)
