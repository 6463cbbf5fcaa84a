"""What pictures say."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations

from ctckit.drawing.canvas import Picture


def texts(svg: str) -> list[str]:
    """All text of an SVG, as a reader sees it."""
    root = ET.fromstring(svg)
    return ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]


def check_texts(picture: Picture) -> None:
    """No text is cut off or covers another."""
    from matplotlib.text import Text

    figure = picture.figure
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    for axes in figure.axes:  # ticks outside of the axis are never drawn
        low, high = sorted(axes.get_xlim())
        hidden = {tick.label1 for tick in axes.xaxis.get_major_ticks() if not low <= tick.get_loc() <= high}
        found = [text for text in found if text not in hidden]
    boxes = [(text.get_window_extent(), text.get_text()) for text in found]
    for box, text in boxes:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, text), (other, covered) in combinations(boxes, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        down = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across < 1 or down < 4, (text, covered)  # a font's boxes are higher than its letters
