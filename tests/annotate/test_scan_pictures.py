"""Pictures of pages: all words with their boxes, in red where they are not sure; of any size."""

from __future__ import annotations

import numpy as np
import pytest
from support.pictures import check_texts, texts

pytest.importorskip("matplotlib", reason="pictures need matplotlib")
pytest.importorskip("PIL", reason="the scan is read by Pillow")

from ctckit import Segment
from ctckit.annotate.scan_picture import HEIGHT, draw_page
from ctckit.annotate.scans import PageText
from ctckit.drawing.canvas import Picture
from ctckit.drawing.colors import BLUE, RED
from ctckit.recognisers import Place


def line(text: str, left: float, confidence: float = 0.9, letter: float = 12) -> Segment:
    """A line whose letters have this width; its tokens are letters."""
    words, at = [], left
    for word in text.split(" "):
        tokens = tuple(Segment(t, at + letter * i, at + letter * (i + 1), -0.1, confidence) for i, t in enumerate(word))
        words.append(Segment(word, at, at + letter * len(word), -0.1, confidence, tokens))
        at += letter * (len(word) + 1)
    return Segment(text, left, words[-1].end, -0.1, confidence, tuple(words))


def page(*lines: Segment, width: int = 600, slope: float = 0.0) -> PageText:
    places = [Place(each.start, 20 + 40 * i, each.end, 50 + 40 * i, slope) for i, each in enumerate(lines)]
    return PageText(list(lines), places, width, (), {})


def boxes(picture: Picture) -> list[tuple[float, float, float, float]]:
    """Of each rectangle: left, top, right, bottom, in points."""
    from matplotlib.patches import Rectangle

    (axes,) = picture.figure.axes
    found = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in found]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_words_and_places(lang: str) -> None:
    pixels = np.full((140, 600, 3), 255, np.uint8)
    picture = draw_page(page(line("the cat", 50), line("sat $ there", 90)), pixels, lang=lang)
    found = texts(picture.svg())
    assert {"the", "cat", "sat", "$", "there", {"en": "pixels", "zh": "像素"}[lang], "20", "60"} <= set(found)
    assert RED not in picture.svg()
    assert len(boxes(picture)) == 5
    check_texts(picture)


def test_doubt_is_red() -> None:
    picture = draw_page(page(line("the cat", 50, 0.3)), np.full((90, 600, 3), 255, np.uint8))
    assert "red: confidence below 0.5" in texts(picture.svg())
    assert RED in picture.svg()
    assert BLUE not in picture.svg()


def test_chinese_characters_have_boxes_of_their_own() -> None:
    picture = draw_page(page(line("连接CTC word", 50, letter=30)), np.full((90, 600, 3), 255, np.uint8))
    assert {"连", "接", "C", "T", "word"} <= set(texts(picture.svg()))
    assert len(boxes(picture)) == 6


@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_boxes_lie_on_the_ink(slope: float) -> None:
    """The part of the scan below a box is dark, also where the page is turned to be level."""
    rows, columns = np.indices((140, 600))
    text = page(line("the", 100), line("cat", 300), slope=slope)
    pixels = np.full((140, 600, 3), 255, np.uint8)
    for each, place in zip(text.lines, text.places, strict=True):
        level = rows - np.round(slope * (columns - place.left))
        inside = (level >= place.top) & (level < place.bottom) & (columns >= each.start) & (columns < each.end)
        pixels[inside] = 0
    picture = draw_page(text, pixels)
    (axes,) = picture.figure.axes
    for left, top, right, bottom in boxes(picture):
        dark = 0.0
        for image in axes.images:
            x0, x1, _y1, y0 = image.get_extent()
            shades = np.asarray(image.get_array())
            scale = shades.shape[1] / (x1 - x0)
            part = shades[
                max(0, round((top - y0) * scale)) : max(0, round((bottom - y0) * scale)),
                round((left - x0) * scale) : round((right - x0) * scale),
            ]
            dark += float((part < 128).sum()) / scale**2
        assert dark == pytest.approx((right - left) * (bottom - top), rel=0.2)


@pytest.mark.parametrize("shape", [(40, 30), (5000, 300), (60, 9000), (200, 400)])
def test_any_size(shape: tuple[int, int]) -> None:
    width = shape[1]
    few = line("a", 2, letter=8) if width < 100 else line("the cat sat", width / 4, letter=width / 60)
    picture = draw_page(page(few, width=width), np.full((*shape, 3), 200, np.uint8))
    assert picture.figure.get_figheight() * 72 < HEIGHT + 200
    check_texts(picture)


def test_a_page_without_words() -> None:
    picture = draw_page(page(), np.full((400, 300, 3), 255, np.uint8))
    assert "words: 0, mean confidence –" in texts(picture.svg())
