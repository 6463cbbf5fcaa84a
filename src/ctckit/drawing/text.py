"""Text in pictures: how wide it is, how numbers are printed, which fonts can draw it.

Imports catalogue/; matplotlib only when fonts are asked for.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from functools import cache

from ..catalogue.columns import cells

# Tried in this order, by matplotlib and by browsers.
CJK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "PingFang SC",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Source Han Sans SC",
    "Arial Unicode MS",
)


@cache
def families() -> list[str]:
    """The font that comes with matplotlib, then the installed ones that have Chinese."""
    from matplotlib import font_manager

    known = font_manager.fontManager
    if not any(font.name in CJK_FONTS for font in known.ttflist):
        seen = {font.fname for font in known.ttflist}
        for path in font_manager.findSystemFonts():  # matplotlib's list may be older than a font
            if path not in seen and "mono" not in path.lower():
                with suppress(RuntimeError, OSError):  # not a font after all
                    known.addfont(path)
    installed = {font.name for font in known.ttflist}
    return ["DejaVu Sans", *(name for name in CJK_FONTS if name in installed)]


def widest(text: str) -> int:
    """The columns of a text's longest line."""
    return max(map(cells, text.split("\n")))


def shortened(text: str, limit: int = 12) -> str:
    """Text of at most `limit` characters.

    Example:
        >>> shortened("word"), shortened("a very long label")
        ('word', 'a very long…')
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float, digits: int) -> str:
    """A number as it is printed: `digits` digits after the point, a true minus sign, and ∞.

    Example:
        >>> number(-0.25, 3), number(float("-inf"), 3), number(-0.0001, 3)
        ('−0.250', '−∞', '0.000')
    """
    if math.isinf(value):
        return "−∞" if value < 0 else "∞"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # + 0.0: what rounds to −0 is 0
    return text.replace("-", "−")


def subscript(number: int) -> str:
    """A number in small digits below the line.

    Example:
        >>> "t" + subscript(12)
        't₁₂'
    """
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: a dollar sign would begin a formula."""
    return printable(text).replace("$", r"\$")


def printable(text: str) -> str:
    """Text with spaces instead of control characters, which no font can draw and SVG may not hold."""
    return re.sub("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", text)
