"""A page of print for ``ctckit demo-speech``, drawn by Pillow: Chinese and English lines, the last of each blurred.

Imports drawing/, NumPy, Pillow, and matplotlib for its fonts.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..drawing.text import CJK_FONTS

_SIZE, _MARGIN, _HEIGHT = 36, 40, 84  # pixels: of the font, beside the text, from one line to the next
_NOISE, _SEED = 0.06, 16  # the noise's standard deviation, from paper 1 to ink 0


class _Planned(NamedTuple):
    """A text, its font's family, and the radius of its blur in pixels."""

    text: str
    family: str
    blur: float


CHINESE = "Chinese"
_LINES = (
    _Planned("Call me Ishmael. Some years ago, never mind how long,", "DejaVu Serif", 0.0),
    _Planned("春眠不觉晓，处处闻啼鸟。", CHINESE, 0.0),
    _Planned("用 CTC 训练的网络只需要 1 行文字", CHINESE, 0.0),
    _Planned("It was the best of times, it was the worst of times", "DejaVu Sans", 2.8),
    _Planned("夜来风雨声，花落知多少。", CHINESE, 2.8),
)


class Drawn(NamedTuple):
    """A page that was drawn.

    Attributes:
        texts: of its lines.
        pixels: uint8 (H, W), paper 255 and ink 0.
        complete: whether it has all lines; it has none in Chinese if no font here has Chinese.
    """

    texts: list[str]
    pixels: npt.NDArray[np.uint8]
    complete: bool


def draw_page() -> Drawn:
    """The page, always the same."""
    fonts = [_font(line.family) for line in _LINES]
    lines = [(line, font) for line, font in zip(_LINES, fonts, strict=True) if font is not None]
    width = max(round(font.getlength(line.text)) for line, font in lines) + 2 * _MARGIN
    page = np.concatenate([_drawn(line, font, width) for line, font in lines])
    page = page + 255 * _NOISE * np.random.default_rng(_SEED).standard_normal(page.shape, np.float32)
    return Drawn([line.text for line, _ in lines], page.clip(0, 255).astype(np.uint8), None not in fonts)


def _drawn(line: _Planned, font: Any, width: int) -> npt.NDArray[np.float32]:
    """A strip of the page, with one line."""
    from PIL import Image, ImageDraw, ImageFilter

    strip = Image.new("L", (width, _HEIGHT), 255)
    ImageDraw.Draw(strip).text((_MARGIN, _HEIGHT // 2), line.text, font=font, fill=0, anchor="lm")
    return np.asarray(strip.filter(ImageFilter.GaussianBlur(line.blur)), np.float32)


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
