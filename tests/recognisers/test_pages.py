"""The lines of pages: each where it was drawn, whatever the size, the paper, the dirt and the slope."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from support.drawn_pages import CHINESE, Drawn, draw_page, needs_chinese, turned
from support.installed import needs

pytest.importorskip("PIL", reason="the extra image reads images")
pytest.importorskip("matplotlib", reason="it has the font of the pages")

import itertools

from ctckit.recognisers.media import read_line
from ctckit.recognisers.pages import Region, find_lines, read_page

TEXT = (
    "The quick brown fox jumps over",
    "a lazy dog, and nobody was",
    "seen on moors.",  # no letter is high or low
    "Ready? Yes, in 2026: 30% more",
    "iiiii animus vini",  # the dots of i are a row of their own
    "Äpfel, naïve café - or six",
)
HAN = ("连接时序分类的对齐与解码", "二三一二三", "一一一", "这里有十二个字，三行文字", "人工智能识别")


def check(page: Drawn, within: int = 1) -> list[Region]:
    """All lines are found, and their ink is where it was drawn."""
    found = find_lines(page.rgb)
    assert [tuple(map(round, where.place[:4])) for where in found] == [pytest.approx(b, abs=within) for b in page.boxes]
    for where, (left, top, right, bottom) in zip(found, page.boxes, strict=True):  # nothing of it is cut off
        assert where.rows[0] <= top + within
        assert where.rows[1] >= bottom - within
        assert where.columns[0] <= left
        assert where.columns[1] >= right
    for one, other in itertools.pairwise(found):
        assert one.rows[1] <= other.rows[0]
    return found


@pytest.mark.parametrize("size", [16, 20, 30, 60, 120])
@pytest.mark.parametrize("leading", [1.25, 1.6, 2.5])
def test_print(size: int, leading: float) -> None:
    check(draw_page(TEXT, size=size, leading=leading, margin=2 * size), within=3 if size < 20 else 1)


@needs_chinese
@pytest.mark.parametrize("size", [16, 30, 60])
@pytest.mark.parametrize("leading", [1.4, 1.8, 2.6])
def test_strokes_are_no_lines(size: int, leading: float) -> None:
    """二 and 三 have rows without ink; a line of 一 is as low as a rule."""
    check(draw_page(HAN, font=CHINESE, size=size, leading=leading, margin=2 * size), within=3 if size < 20 else 1)


@needs_chinese
@pytest.mark.parametrize("text", ["二三", "三", "一", "二三得六"])
@pytest.mark.parametrize("margin", [12, 200])
def test_strokes_alone(text: str, margin: int) -> None:
    check(draw_page([text], font=CHINESE, size=40, margin=margin))


@pytest.mark.parametrize(("ink", "paper"), [(230, 20), (255, 0), (100, 160), (160, 100), (120, 255)])
def test_light_and_dark_pages(ink: float, paper: float) -> None:
    check(draw_page(TEXT, ink=ink, paper=paper))


@pytest.mark.parametrize("noise", [5, 15, 40])
def test_noise(noise: float) -> None:
    page = draw_page(TEXT)
    check(Drawn(page.pixels + np.random.default_rng(0).normal(0, noise, page.pixels.shape), page.boxes))


def test_shadow() -> None:
    page = draw_page(TEXT * 3, margin=100)
    rows, columns = np.indices(page.pixels.shape)
    check(Drawn(page.pixels - 60 * columns / columns.max() - 40 * rows / rows.max(), page.boxes))


def test_specks() -> None:
    page = draw_page(TEXT)
    page.pixels[np.random.default_rng(0).random(page.pixels.shape) < 0.002] = 0
    check(page)


def test_blots_on_the_margin_are_no_lines() -> None:
    page = draw_page(TEXT, margin=150)
    page.pixels[40:46, 200:206] = 0
    page.pixels[-60:-54, 90:96] = 0
    check(page)


def test_rules_and_frames() -> None:
    page = draw_page(TEXT, leading=2, margin=100)
    _tall, wide = page.pixels.shape
    page.pixels[50:53, 60:-60] = 0
    page.pixels[page.boxes[2][3] + 10 :][:2, 100 : wide // 2] = 0
    check(page)
    for edge in (page.pixels[20:23, 20:-20], page.pixels[-23:-20, 20:-20]):
        edge[:] = 0
    for edge in (page.pixels[20:-20, 20:23], page.pixels[20:-20, -23:-20]):
        edge[:] = 0
    check(page)


@pytest.mark.parametrize("degrees", [0.3, -0.6, 1.0])
def test_slope(degrees: float) -> None:
    page = turned(draw_page(TEXT * 4, margin=100, width=1600), degrees)
    found = find_lines(page.rgb)
    assert len(found) == len(page.boxes)
    rise = math.tan(math.radians(degrees))
    middle = np.array(page.pixels.shape[::-1]) / 2
    for where, (left, top, _, _) in zip(found, page.boxes, strict=True):
        assert where.place.slope == pytest.approx(rise, abs=0.006)
        wanted = middle[1] + (top - middle[1]) + rise * (left - middle[0])
        assert where.place.rows(left, left + 20)[0] == pytest.approx(wanted, abs=8)


def test_a_title_is_larger() -> None:
    title = draw_page(["Animus vini"], size=80, width=900)
    below = draw_page(TEXT, size=25, width=900)
    moved = [(a, b + len(title.pixels), c, d + len(title.pixels)) for a, b, c, d in below.boxes]
    check(Drawn(np.concatenate([title.pixels, below.pixels]), title.boxes + moved))


def test_a_large_page() -> None:
    """Of 4000 pixels, which is looked at at half its size."""
    page = draw_page(TEXT * 8, size=60, margin=200, width=4000)
    assert min(page.pixels.shape) == 4000
    check(page, within=2)


def test_a_blank_page() -> None:
    assert find_lines(np.full((900, 700, 3), 250, np.uint8)) == []
    noise = 240 + np.random.default_rng(0).normal(0, 6, (900, 700, 1)).repeat(3, axis=2)
    assert find_lines(noise.astype(np.uint8)) == []
    assert find_lines(np.zeros((1, 1, 3), np.uint8)) == []


def test_lines_that_touch_are_not_divided() -> None:
    page = draw_page(["jumping foggy", "bold blob"], leading=0.95)
    assert len(find_lines(page.rgb)) == 1


@pytest.mark.parametrize("dirt", [False, True])
@pytest.mark.parametrize("text", ["Hello world 2026", "seen on moors", "iii", "="])
def test_a_single_line_stays_itself(text: str, dirt: bool, tmp_path: Path) -> None:
    """The recogniser sees the whole image, as it does without looking for lines."""
    page = draw_page([text], size=30, leading=1.2, margin=12)
    if dirt:
        page.pixels[1:3, 30:32] = 0
    file = page.save(tmp_path / "x.png")
    found = read_page(file, 48)
    (line,) = found.lines
    assert (found.total, line.left) == (1, 0)
    np.testing.assert_array_equal(line.image.columns, read_line(file, 48).columns)
    assert len(line.ink) == page.pixels.shape[1]


@needs("PIL")
def test_the_ink_of_columns(tmp_path: Path) -> None:
    page = draw_page(TEXT, margin=100)
    for line, (left, top, right, bottom) in zip(
        read_page(page.save(tmp_path / "x.png"), 48).lines, page.boxes, strict=True
    ):
        wanted = (page.pixels[top:bottom, left:right] < 128).sum(axis=0)
        found = line.ink[left - line.left : right - line.left]
        assert np.corrcoef(found, wanted)[0, 1] > 0.9  # edges that are lighter than half are ink, too
        assert ((found > 0) == (wanted > 0)).mean() > 0.9
