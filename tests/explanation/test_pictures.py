"""Pictures: their text, every format, any size; and no window opens and no figure stays open."""

import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from support.pictures import texts

import ctckit
from ctckit.explanation import Explanation, explain, explain_word

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")

B = [[-2.2892, -0.1069], [-1.6550, -0.2121]]
DRAWINGS = {
    "inputs": lambda e: e.inputs(),
    "rule1": lambda e: e.rules()[0],
    "rule2": lambda e: e.rules()[1],
    "rule3": lambda e: e.rules()[2],
    "paths": lambda e: e.example_paths(),
    "computation": lambda e: e.computation(),
    "occupancy": lambda e: e.occupancy(),
    "gradient": lambda e: e.gradient(),
    "alignment": lambda e: e.alignment(),
    "graph": lambda e: e.graph(),
}


def seed_a() -> Explanation:
    torch = pytest.importorskip("torch", reason="the seed's first example is drawn by torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(666)
        log_probs = torch.randn(10, 5).log_softmax(1)
    return explain(log_probs, [4, 4, 1, 3, 4, 1, 2])


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_golden_numbers_of_the_computation(lang: str) -> None:
    seen = texts(explain(B, [1], lang=lang).computation().svg())
    # Twice where a cell can still reach the ends of both tables; only once where not.
    assert [seen.count(number) for number in ("−2.28920", "−0.10690", "−0.21214", "−1.76190")] == [1, 2, 1, 1]
    assert not any("3.94420" in text for text in seen)  # α of the first blank at t2, which reaches no end
    assert {"φ1", "11", "1φ"} <= set(seen)
    assert any("−logsumexp(−0.21214, −1.76190) = 0.0196190046" in text for text in seen)


def test_paths_have_the_colours_of_the_first_page() -> None:
    svg = explain(B, [1]).computation().svg()
    colors = {}
    for style, text in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', svg):
        colors[text] = (re.search(r"fill: (#\w+)", style) or ["", ""])[1]
    red, blue, green = colors["φ1"], colors["11"], colors["1φ"]
    assert (red, blue, green) == ("#cf2a36", "#1c64d9", "#1a7f3c")


def test_golden_numbers_of_the_inputs() -> None:
    seen = texts(seed_a().inputs().svg())
    for row in ("−2.5501", "−0.9828", "−1.7815", "−2.2131", "−1.3097", "−2.0254", "−2.9660"):
        assert row in seen
    assert {"[4, 4, 1, 3, 4, 1, 2]", "target_lengths = 7", "C₀=φ=0", "C₄=4", "t₁₀"} <= set(seen)
    assert "T = 10: frames of input" in seen
    assert any("here 8, of 10" in text for text in seen)


def test_golden_numbers_of_the_larger_table() -> None:
    seen = texts(seed_a().computation().svg())
    assert any(re.search(r"= 11\.829\d+$", text) for text in seen)
    listed = sum(bool(re.fullmatch(r"[φ1-4]{10}", text)) for text in seen)
    more = [int(text.split()[1]) for text in seen if text.startswith("and ")]
    assert listed + sum(more) == 120


def test_paths_say_how_many_and_which() -> None:
    e = explain_word("cat", 6)
    seen = texts(e.example_paths().svg())
    assert any("All 84 paths collapse to cat" in text for text in seen)
    shown = [text for text in seen if re.fullmatch("[φcat]{6}", text)]
    assert len(shown) == 2
    labels = [text for text in seen if text in ("φ", "c", "a", "t")]
    assert len(labels) == 7 + 2 * 6  # the rows' names, and one on each arrow
    two = [path for path in e.paths if e.spelled(path) in ("φcatφφ", "ccccat")]
    from ctckit.explanation.views.tables import example_paths

    assert {"φcatφφ", "ccccat"} <= set(texts(example_paths(e, two).svg()))


def test_rules_show_this_target() -> None:
    cat, see = explain_word("cat", 6), explain_word("see", 6)
    for number in range(3):
        rows = texts(cat.rules()[number].svg())
        assert {"φ", "c", "a"} <= set(rows)
    assert any("“ee” without a blank" in text for text in texts(see.rules()[2].svg()))
    assert not any("no equal neighbours" in text for text in texts(see.rules()[2].svg()))
    assert any("cat has no equal neighbours" in text for text in texts(cat.rules()[2].svg()))


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWINGS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_formats(name: str, lang: str, tmp_path: Path) -> None:
    picture = DRAWINGS[name](explain(B, [1], lang=lang))
    svg = picture.svg()
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == picture.name
    assert texts(svg)
    assert svg == DRAWINGS[name](explain(B, [1], lang=lang)).svg()  # the same every time
    assert picture._repr_svg_() == svg
    assert svg in picture._repr_html_()
    themed = picture.svg(themed=True)
    for suffix, drawn in (("svg", svg), ("html", themed)):
        picture.save(tmp_path / f"x.{suffix}")
        assert drawn in (tmp_path / f"x.{suffix}").read_text(encoding="utf-8")
    assert "var(--ink, #1f2429)" in themed
    assert not re.search(r"(?<!, )#1f2429", themed)
    if lang == "en":  # a machine need not have Chinese fonts
        for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
            picture.save(tmp_path / f"x.{suffix}")
            assert (tmp_path / f"x.{suffix}").read_bytes().startswith(magic)


def test_a_character_that_no_font_has_is_named(tmp_path: Path) -> None:
    picture = explain_word("\U000f0000", 2).computation()  # private use: no font has it
    with pytest.raises(ctckit.CTCError, match=r"no font here can draw .* or save as \.svg or \.html"):
        picture.save(tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
    picture.save(tmp_path / "x.svg")


def test_bad_names(tmp_path: Path) -> None:
    with pytest.raises(ctckit.CTCError, match=r"saved as \.svg, \.png, \.pdf or \.html; the name ends in '\.jpg'"):
        explain(B, [1]).computation().save(tmp_path / "x.jpg")


def test_labels_are_text_not_markup() -> None:
    e = explain(np.zeros((4, 5)), [1, 2, 3, 4], labels=["φ", "<b>", "$x$", "&", '"'], from_logits=True)
    for draw in DRAWINGS.values():
        assert any("<b>" in text for text in texts(draw(e).svg()))


SHAPES = [(0, 2, []), (3, 2, []), (0, 2, [1]), (1, 3, [2]), (3, 4, [1, 1, 2]), (30, 8, [1, 2, 3]), (5, 90, [7, 80])]


@pytest.mark.slow
@pytest.mark.parametrize(("frames", "classes", "target"), SHAPES, ids=str)
def test_any_size(frames: int, classes: int, target: list[int]) -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(frames, classes))
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    scores[:, :2] = 0
    e = explain(scores, target, from_logits=True)
    for name, draw in DRAWINGS.items():
        assert texts(draw(e).svg()), name


def test_the_target_is_named_beside_its_inputs() -> None:
    """Also where the log-probabilities are too many to be written out."""
    e = explain(np.zeros((40, 3)), [1, 2, 2, 1], labels=["φ", "a", "b"], from_logits=True)
    assert "target: abba" in texts(e.inputs().svg())


def test_a_long_input_is_drawn_readably_and_soon() -> None:
    rng = np.random.default_rng(0)
    e = explain(rng.normal(size=(1500, 32)), rng.integers(1, 32, 200), from_logits=True)
    for draw in DRAWINGS.values():
        begin = time.perf_counter()
        svg = draw(e).svg()
        assert time.perf_counter() - begin < 20  # the bar is 2 s, in bench/pictures.py; this only catches a hang
        assert len(texts(svg)) < 120
        assert len(svg) < 6_000_000


def test_axes_are_used_and_returned_and_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    monkeypatch.setattr(pyplot, "show", lambda *_, **__: pytest.fail("show() was called"))
    e = explain(B, [1])
    for name in ("occupancy", "gradient", "alignment"):
        axes = Figure().subplots()
        assert getattr(e, name)(ax=axes) is axes
        assert axes.get_title(loc="left")
    assert pyplot.get_fignums() == []


def contrast(one: str, other: str) -> float:
    """Of two colours, by WCAG 2."""

    def luminance(color: str) -> float:
        channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_text_of_any_colour_is_legible() -> None:
    """4.5 to 1, on white, and with a page's colours on its light and dark ground."""
    from ctckit.drawing.colors import INK, MUTED, PALETTE, PAPER, PATH_COLORS, VARIABLES

    assert all(contrast(color, PAPER) >= 4.5 for color in (INK, MUTED, *PATH_COLORS))
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", half)) for half in PALETTE.split("@media"))
    assert set(light) == set(dark) == set(VARIABLES.values())
    for scheme in (light, dark):
        for name in set(scheme) - {"paper", "grid"}:
            assert contrast(scheme[name], scheme["paper"]) >= 4.5, name


def test_heat_maps_have_no_ground_of_their_own() -> None:
    """What is 0 is transparent: on a dark page it is dark."""
    from matplotlib.figure import Figure

    e = explain(B, [1])
    for name in ("occupancy", "gradient"):
        image = getattr(e, name)(ax=Figure().subplots()).images[0]
        assert image.cmap(image.norm(0.0))[3] < 0.01
        assert image.cmap(1.0)[3] == 1


def test_what_heat_maps_show() -> None:
    from matplotlib.figure import Figure

    e = explain(B, [1])
    axes = e.occupancy(ax=Figure().subplots())
    np.testing.assert_array_equal(axes.images[0].get_array(), e.gamma.T)
    axes = e.gradient(ax=Figure().subplots())
    np.testing.assert_array_equal(axes.images[0].get_array(), e.grad.T)
