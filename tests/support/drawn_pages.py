"""Pages of text drawn by Pillow, and where the ink of each line is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

CHINESE = Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
needs_chinese = pytest.mark.skipif(
    not CHINESE.exists(), reason="needs Debian's fonts-noto-cjk; .ci/run installs it, so nothing is skipped there"
)
Pixels = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]  # left, top, right, bottom


class Drawn(NamedTuple):
    """A page: pixels (H, W) from 0 to 255, and the box of each line's ink."""

    pixels: Pixels
    boxes: list[Box]

    def save(self, path: Path) -> Path:
        from PIL import Image

        Image.fromarray(self.pixels.clip(0, 255).astype(np.uint8)).save(path)
        return path

    @property
    def rgb(self) -> Pixels:
        return np.repeat(self.pixels.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def latin() -> Path:
    """DejaVu Sans, which matplotlib has."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def draw_page(
    lines: Sequence[str],
    *,
    font: Path | None = None,
    size: int = 30,
    leading: float = 1.3,
    margin: int = 60,
    width: int | None = None,
    ink: float = 0,
    paper: float = 255,
) -> Drawn:
    """Lines one below the other, ``leading * size`` pixels apart; empty ones leave a gap.

    Each line is also drawn alone, which says where its ink is: darker than half.
    """
    from PIL import Image, ImageDraw, ImageFont

    letters = ImageFont.truetype(str(font or latin()), size)
    shape = width or math.ceil(max(letters.getlength(line) for line in lines)) + 2 * margin
    tall = round(len(lines) * leading * size) + 2 * margin
    page, boxes = np.zeros((tall, shape), np.float32), []
    for i, line in enumerate(lines):
        sheet = Image.new("L", (shape, 2 * size), 0)
        ImageDraw.Draw(sheet).text((margin, 0), line, font=letters, fill=255)
        top = margin + round(i * leading * size)
        part = page[top : top + 2 * size]
        alone = np.asarray(sheet, np.float32)[: len(part)] / 255
        np.maximum(part, alone, out=part)
        if line.strip():
            rows, columns = (np.flatnonzero((alone > 0.5).any(axis=axis)) for axis in (1, 0))
            boxes.append((int(columns[0]), top + int(rows[0]), int(columns[-1]) + 1, top + int(rows[-1]) + 1))
    return Drawn(paper + (ink - paper) * page, boxes)


def letter_edges(text: str, font: Path | None, size: int) -> np.ndarray[Any, Any]:
    """(N, 2) where the ink of each letter begins and ends, by the font's own measures; spaces have none."""
    from PIL import ImageFont

    letters = ImageFont.truetype(str(font or latin()), size)
    ends = [letters.getlength(text[: i + 1]) for i in range(len(text))]
    starts = [end - letters.getlength(letter) for end, letter in zip(ends, text, strict=True)]
    boxes = [(start, letters.getbbox(letter)) for start, letter in zip(starts, text, strict=True) if letter != " "]
    return np.array([(start + box[0], start + box[2]) for start, box in boxes])


def turned(page: Drawn, degrees: float) -> Drawn:
    """A page that was laid askew on the scanner: its right side is lower by this angle."""
    from PIL import Image

    image = Image.fromarray(page.pixels.clip(0, 255).astype(np.uint8))
    return Drawn(np.asarray(image.rotate(-degrees, Image.Resampling.BICUBIC, fillcolor=255), np.float32), page.boxes)
