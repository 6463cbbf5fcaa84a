"""Lines of print for ``ctckit demo-speech``, drawn by Pillow: Chinese and English, the last of each hard to read.

Imports drawing/, NumPy, Pillow, and matplotlib for its fonts.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..drawing.text import CJK_FONTS

_SIZE, _MARGIN, _HEIGHT = 36, 20, 60  # pixels: of the font, beside the text, of the image
_SEED = 16


class _Planned(NamedTuple):
    """A text, its font's family, and the standard deviation of the noise that is added, from paper 1 to ink 0."""

    text: str
    family: str
    noise: float


CHINESE = "Chinese"
_LINES = (
    _Planned("Call me Ishmael. Some years ago, never mind how long,", "DejaVu Serif", 0.0),
    _Planned("春眠不觉晓，处处闻啼鸟。", CHINESE, 0.0),
    _Planned("用 CTC 训练的网络只需要 1 行文字", CHINESE, 0.0),
    _Planned("It was the best of times, it was the worst of times", "DejaVu Sans", 0.55),
    _Planned("夜来风雨声，花落知多少。", CHINESE, 0.55),
)


class Line(NamedTuple):
    """A line that was drawn.

    Attributes:
        text: of it.
        pixels: (H, W), paper 1 and ink 0.
    """

    text: str
    pixels: npt.NDArray[np.float32]


def draw_lines() -> tuple[list[Line], bool]:
    """The lines, always the same; and whether some are missing, since no font here has Chinese."""
    rng = np.random.default_rng(_SEED)
    lines, complete = [], True
    for text, family, noise in _LINES:
        font = _font(family)
        if font is None:
            complete = False
        else:
            lines.append(Line(text, _drawn(text, font, noise, rng)))
    return lines, not complete


def _drawn(text: str, font: Any, noise: float, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    from PIL import Image, ImageDraw

    sheet = Image.new("L", (round(font.getlength(text)) + 2 * _MARGIN, _HEIGHT), 255)
    ImageDraw.Draw(sheet).text((_MARGIN, _HEIGHT // 2), text, font=font, fill=0, anchor="lm")
    clean = np.asarray(sheet, np.float32) / 255
    seen: npt.NDArray[np.float32] = (clean + noise * rng.standard_normal(clean.shape, np.float32)).clip(0, 1)
    return seen


def _font(family: str) -> Any:
    """A font of this family; None if there is none for Chinese."""
    from matplotlib.font_manager import FontProperties, findfont
    from PIL import ImageFont

    if family != CHINESE:
        return ImageFont.truetype(findfont(FontProperties(family=family)), _SIZE)
    for name in CJK_FONTS:
        with suppress(ValueError):  # not installed
            return _simplified(findfont(FontProperties(family=name), fallback_to_default=False))
    return None


def _simplified(path: str) -> Any:
    """The font for simplified Chinese of a file: matplotlib finds only the first of a collection, the Japanese one."""
    from PIL import ImageFont

    faces: list[Any] = []
    with suppress(OSError):  # there are no more
        faces += (ImageFont.truetype(path, _SIZE, index=index) for index in count())
    return next((face for face in faces if face.getname()[0].endswith("SC")), faces[0])
