"""The page in a real browser, by mouse, keyboard and screen reader, against numbers from Python."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pages import Open, cell, expect, formula, painted, show

import ctckit
from ctckit import Explanation, explain
from ctckit.catalogue import words
from ctckit.explanation import explain_word
from ctckit.explanation.page import SCRIPTS, Code, Figure, Interactive, Prose, explanation_page, page
from ctckit.kernels import reference

SOURCES = Path(ctckit.__file__).parent / "explanation" / "page"
RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(6, 5)) * 1.6
CAT = explain(LOGITS, [1, 2, 3], labels=["_", "c", "a", "t", "x"], from_logits=True)
RAW = explain(CAT.log_probs, [1, 2, 2], labels=["_", "s", "e", "t", "x"])  # log_probs as they are; a repeated token


def loss(tab: Any) -> float:
    return tab.evaluate("ctckit.widgets[0].loss()")


def loss_in_python(tab: Any, explanation: Explanation) -> float:
    """The library's results for the probabilities that the page holds now."""
    rows = tab.evaluate("ctckit.widgets[0].logProbs().map((row) => row.map((x) => x.toString()))")
    log_probs = np.array([[float(x) for x in row] for row in rows])
    target = explanation.target
    return float(ctckit.ctc_loss(log_probs, target, len(log_probs), len(target), explanation.blank, "sum"))


def said(number: float, digits: int = 3) -> str:
    return "−∞" if number == -math.inf else f"{number:.{digits}f}".replace("-", "−")


@pytest.fixture(scope="module")
def tables() -> tuple[Any, ...]:
    """α, β and log y of CAT by the reference."""
    emissions = CAT.log_probs[:, CAT.lattice.labels]
    sweeps = (sweep(CAT.lattice, emissions, reference.LOG) for sweep in (reference.forward, reference.backward))
    return *sweeps, emissions


# What the page shows at first


def test_loss_and_facts(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    assert loss(tab) == pytest.approx(CAT.loss, rel=1e-8)
    assert tab.locator(".loss .value").inner_text() == f"{CAT.loss:.4f}"
    assert tab.locator(".facts dd").all_inner_texts()[:3] == ["6", "7", "84"]
    assert tab.title() == f"cat: loss {CAT.loss:.4f}"
    assert tab.locator(".names span").all_inner_texts() == list("φcφaφtφ")


def test_cells_of_no_whole_path_show_no_number(opened: Open) -> None:
    tab = opened(explanation_page(RAW))
    for t in range(6):
        for k in range(7):
            reached = RAW.gamma[t, k] > 0
            assert cell(tab, t, k).locator("text").count() == reached, (t, k)


def test_every_arc_of_a_whole_path_is_drawn_and_no_other(opened: Open) -> None:
    """Read back from the drawing, between "see"'s equal tokens too; paths of the reference are the truth."""
    tab = opened(explanation_page(RAW))
    assert RAW.path_count == len(RAW.paths)
    truth = {(t, j, k) for path in RAW.paths for t, (j, k) in enumerate(pairwise(path.states), 1)}
    assert arrows(tab) == truth


def arrows(tab: Any) -> set[tuple[int, int, int]]:
    """The arcs that are drawn: the frame that each leads into, and the states it comes from and leads to."""
    drawn = set()
    for t, outline in enumerate(tab.locator(".arcs path").evaluate_all("all => all.map(e => e.getAttribute('d'))"), 1):
        for y0, y1 in re.findall(r"M[\d.]+ ([\d.]+)L[\d.]+ ([\d.]+)M[^M]*L[^M]*L", outline):
            drawn.add((t, round((float(y0) - 57) / 46), round((float(y1) - 57) / 46)))
    return drawn


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes(opened: Open, scheme: str) -> None:
    tab = opened(explanation_page(CAT), color_scheme=scheme)
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.querySelector('.widget')).backgroundColor]"
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (ink, paper)]
    assert (brightness[0] < 150 and brightness[1] > 650) == (scheme == "light")
    assert (brightness[0] > 600 and brightness[1] < 150) == (scheme == "dark")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_phone_is_wide_enough(opened: Open, lang: str) -> None:
    long = explain(RNG.normal(size=(20, 30)), RNG.integers(1, 30, 6), from_logits=True, lang=lang)
    tab = opened(explanation_page(long), viewport={"width": 390, "height": 844})
    for view in ("alpha", "beta", "gamma", "gradient", "path"):
        show(tab, view)
        assert tab.evaluate("document.documentElement.scrollWidth") == 390, view
    assert tab.locator(".scroll").evaluate("box => box.scrollWidth > box.clientWidth")


# Stepping


def test_slider_keys_and_fading(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    slider = tab.locator(".step input")
    assert slider.get_attribute("aria-valuetext") == "Frame 1 of 6"
    slider.focus()
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    assert tab.locator(".where").inner_text() == "Frame 3 of 6"
    assert tab.locator(".heads .current").text_content() == "t₃"
    later = tab.locator(".cell.later").evaluate_all("all => [...new Set(all.map(c => Number(c.dataset.t)))]")
    assert later == [3, 4, 5]
    show(tab, "beta")
    later = tab.locator(".cell.later").evaluate_all("all => [...new Set(all.map(c => Number(c.dataset.t)))]")
    assert later == [0, 1]
    tab.locator(".play").focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".where").inner_text() == "Frame 2 of 6"


def stop_time(tab: Any) -> None:
    """From now on, a window's time passes only when the test says so: a slow machine plays no frame too many."""
    tab.clock.install(time=0)
    tab.clock.pause_at(1000)


@pytest.mark.parametrize(("view", "first", "last"), [("alpha", 1, 6), ("beta", 6, 1)])
def test_play(opened: Open, view: str, first: int, last: int) -> None:
    """Goes through all frames in the recursion's own direction, and stops."""
    tab = opened(explanation_page(CAT), own_window=True)
    show(tab, view)
    tab.locator(".step input").evaluate(f"e => {{ e.value = {last}; e.dispatchEvent(new Event('input')); }}")
    tab.evaluate(
        "window.seen = []; new MutationObserver(() => seen.push(document.querySelector('.where').textContent))"
        ".observe(document.querySelector('.where'), { childList: true });"
    )
    stop_time(tab)
    play = tab.locator(".play")
    play.click()
    assert play.inner_text() == "Pause"
    for _ in range(6):
        tab.clock.run_for(700)
    assert play.inner_text() == "Play"
    step = 1 if last > first else -1
    assert tab.evaluate("seen") == [f"Frame {t} of 6" for t in range(first, last + step, step)]


def test_pause(opened: Open) -> None:
    tab = opened(explanation_page(CAT), own_window=True)
    stop_time(tab)
    tab.locator(".play").click()
    tab.clock.run_for(800)
    tab.locator(".play").click()
    tab.clock.run_for(3000)
    assert tab.locator(".where").inner_text() == "Frame 2 of 6"


# Formulas


def test_alpha_formula(opened: Open, tables: Any) -> None:
    alpha, _, emissions = tables
    tab = opened(explanation_page(CAT))
    cell(tab, 2, 3).hover()
    terms = ", ".join(said(alpha[1][k]) for k in (3, 2, 1))
    assert formula(tab) == [
        "α₃(a) = log y₃(a) + logsumexp(α₂(a), α₂(φ₃), α₂(c))",
        f"= {said(emissions[2, 3])} + logsumexp({terms})",
        f"= {said(alpha[2][3])}",
    ]
    cell(tab, 0, 1).hover()
    assert formula(tab) == [f"α₁(c) = log y₁(c) = {said(alpha[0][1])}"]
    cell(tab, 0, 3).hover()
    assert formula(tab) == ["α₁(a) = −∞", words("page", "en")["no_start"]]
    cell(tab, 1, 3).hover()
    assert formula(tab)[1].endswith(f"logsumexp(−∞, −∞, {said(alpha[0][1])})")


def test_beta_formula(opened: Open, tables: Any) -> None:
    _, beta, emissions = tables
    tab = opened(explanation_page(CAT))
    show(tab, "beta")
    cell(tab, 3, 3).hover()
    terms = ", ".join(
        f"{said(emissions[4, k])} − {said(-beta[4][k])}" if beta[4][k] else f"{said(emissions[4, k])} + 0.000"
        for k in (3, 4, 5)
    )
    assert formula(tab) == [
        "β₄(a) = logsumexp(log y₅(a) + β₅(a), log y₅(φ) + β₅(φ₅), log y₅(t) + β₅(t))",
        f"= logsumexp({terms})",
        f"= {said(beta[3][3])}",
    ]
    cell(tab, 5, 5).hover()
    assert formula(tab) == ["β₆(t) = 0", words("page", "en")["may_end"]]


def test_gamma_and_gradient_formulas(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    show(tab, "gamma")
    cell(tab, 2, 1).hover()
    assert formula(tab)[0] == "γ₃(c) = exp(α₃(c) + β₃(c) − log P)"
    assert formula(tab)[-1] == f"= {said(CAT.gamma[2, 1], 4)}"
    show(tab, "gradient")
    cell(tab, 2, 0).hover()
    lines = formula(tab)
    assert lines[0] == "∂loss/∂x₃(φ) = y₃(φ) − Σ γ₃(φ)"
    blanks = " + ".join(said(p, 4) for p in CAT.gamma[2, ::2] if p > 1e-3)
    assert lines[1].startswith(f"= {said(math.exp(CAT.log_probs[2, 0]), 4)} − ({blanks}")
    assert lines[2] == f"= {said(CAT.grad[2, 0], 4)}"
    assert cell(tab, 2, 0).locator("text").text_content() == said(CAT.grad[2, 0])


def test_gradient_of_log_probs_is_minus_gamma(opened: Open) -> None:
    tab = opened(explanation_page(RAW))
    show(tab, "gradient")
    cell(tab, 2, 1).hover()
    assert formula(tab) == [
        "∂loss/∂log y₃(s) = −γ₃(s)",
        f"= −{said(-RAW.grad[2, 1], 4)}",
        f"= {said(RAW.grad[2, 1], 4)}",
    ]


def test_every_cell_shows_its_number(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    reached = CAT.gamma > 0
    for view, values, digits in (("alpha", CAT.alpha, 2), ("beta", CAT.beta, 2)):
        show(tab, view)
        shown = tab.locator(".cell text").all_text_contents()
        expected = [said(values[t, k], digits) for k in range(7) for t in range(6) if reached[t, k]]
        assert shown == [text.replace("−0.00", "0.00") for text in expected]


def test_keyboard_in_the_lattice(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    assert tab.locator('.cell[tabindex="0"]').count() == 1
    tab.locator('.cell[tabindex="0"]').focus()
    for key in ["ArrowUp"] * 7 + ["End", "Home", "ArrowRight"] + ["ArrowDown"] * 4:
        tab.keyboard.press(key)
    place = tab.evaluate("document.activeElement.dataset")
    assert (place["t"], place["k"]) == ("1", "4")
    assert tab.locator(".where").inner_text() == "Frame 2 of 6"
    tab.keyboard.press("ArrowUp")
    name = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert name == f"Frame 2, state 4 of 7, a: α forward {said(CAT.alpha[1, 3])}"
    assert formula(tab)[0].startswith("α₂(a) = ")
    assert tab.locator('.cell[tabindex="0"]').count() == 1
    for _ in range(9):  # does not lead out of the lattice
        tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.dataset.k") == "6"


def test_what_a_screen_reader_finds(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    assert tab.get_by_role("grid").count() == 1
    assert tab.get_by_role("row", include_hidden=False).count() >= 7
    assert tab.get_by_role("gridcell").count() == 42
    assert tab.get_by_role("radio", name="β backward").count() == 1
    assert tab.get_by_role("slider", name="Current frame").count() == 1
    assert tab.get_by_role("spinbutton", name="Probability of a in frame 1").count() == 1
    assert tab.locator(".formula").get_attribute("aria-live") == "polite"
    assert tab.locator("button").evaluate_all("all => all.every(b => b.textContent.trim())")


# Paths


def test_following_a_path(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    buttons = tab.locator(".paths li button")
    assert buttons.count() == 84
    best = CAT.paths[0]
    assert buttons.first.locator(".share").inner_text() == f"{100 * best.share:.1f}%"
    buttons.nth(1).click()
    path = CAT.paths[1].states
    assert buttons.nth(1).get_attribute("aria-pressed") == "true"
    on_path = tab.locator(".cell.on-path").evaluate_all("all => all.map(c => [+c.dataset.t, +c.dataset.k])")
    assert sorted(map(tuple, on_path)) == list(enumerate(path))
    symbols = [CAT.state_labels[k] for k in path]
    assert buttons.nth(1).locator(".symbols").inner_text() == f"{' '.join(symbols)} → cat"
    steps = tab.locator(".collapse dd").all_inner_texts()
    assert steps[0] == " ".join(symbols)
    assert steps[2] == "c a t"
    cell(tab, 5, path[5]).hover()
    assert formula(tab)[-1] == f"= {said(CAT.paths[1].score)}"
    buttons.nth(1).click()
    assert tab.locator(".cell.on-path").count() == 0


def test_all_shares_together_are_the_whole(opened: Open) -> None:
    tab = opened(explanation_page(RAW))
    widths = tab.locator(".paths .track .fill").evaluate_all("all => all.map(e => parseFloat(e.style.width))")
    assert sum(widths) == pytest.approx(100, abs=1e-3)


# Editing


@pytest.mark.parametrize(
    ("explanation", "typed"), [(CAT, "0.5"), (RAW, "0.5"), (CAT, "0"), (CAT, "1"), (CAT, "7"), (RAW, "1e-7")], ids=repr
)
def test_typing_a_probability(opened: Open, explanation: Explanation, typed: str) -> None:
    tab = opened(explanation_page(explanation))
    cell(tab, 2, 1).click()
    before = np.exp(np.array(tab.evaluate("ctckit.widgets[0].logProbs()[2]")))
    field = tab.locator(".probabilities input").nth(1)
    field.fill(typed)
    field.blur()
    painted(tab)
    after = np.exp(
        np.array([float(x) for x in tab.evaluate("ctckit.widgets[0].logProbs()[2].map((x) => x.toString())")])
    )
    wanted = min(float(typed), 1.0)
    assert after[1] == pytest.approx(wanted, abs=1e-7)
    assert after.sum() == pytest.approx(before.sum(), abs=1e-12)
    if wanted < 1:  # the others keep their proportions
        np.testing.assert_allclose(
            np.delete(after, 1) / (1 - wanted), np.delete(before, 1) / (1 - before[1]), rtol=1e-6
        )
    assert loss(tab) == pytest.approx(loss_in_python(tab, explanation), rel=1e-5)
    assert loss(tab) != pytest.approx(explanation.loss, rel=1e-4)
    shown = tab.locator(".loss .value").inner_text()
    assert shown == said(loss(tab), 4)
    assert f"was {explanation.loss:.4f}" in tab.locator(".loss .change").inner_text()
    reset = tab.locator(".reset")
    reset.click()
    assert loss(tab) == pytest.approx(explanation.loss, rel=1e-8)
    assert tab.locator(".loss .change").inner_text() == ""
    assert reset.is_disabled()


def test_dragging_a_bar(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    cell(tab, 3, 3).click()
    before = np.exp(np.array(tab.evaluate("ctckit.widgets[0].logProbs()[3]")))
    track = tab.locator(".probabilities .track").nth(2)
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + 0.2 * box["width"], y)
    tab.mouse.down()
    for part in (1.2, -0.2, 0.75):  # over both ends and back: the others' proportions survive
        tab.mouse.move(box["x"] + part * box["width"], y)
    tab.mouse.up()
    painted(tab)
    tab.mouse.move(box["x"] + 0.1 * box["width"], y)  # let go: nothing moves any more
    after = np.exp(np.array(tab.evaluate("ctckit.widgets[0].logProbs()[3]")))
    assert after[2] == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(np.delete(after, 2) / (1 - after[2]), np.delete(before, 2) / (1 - before[2]), rtol=1e-9)
    assert loss(tab) == pytest.approx(loss_in_python(tab, CAT), rel=1e-5)
    expect(tab.locator(".loss .value")).to_have_text(said(loss(tab), 4))
    expect(tab.locator(".probabilities input").nth(2)).to_have_value(re.compile(r"0\.7[45]"))


def test_no_number_is_no_edit(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    field = tab.locator(".probabilities input").first
    for typed in ("", "-1"):
        field.fill(typed)
        field.blur()
        painted(tab)
        assert loss(tab) == pytest.approx(CAT.loss, rel=1e-8)
    assert float(field.input_value()) == pytest.approx(math.exp(CAT.log_probs[0, 0]), rel=1e-3)


# Languages


def test_language_switch(opened: Open) -> None:
    tab = opened(explanation_page(CAT))
    assert tab.evaluate("document.documentElement.lang") == "en"
    assert not re.search(r"[\u4e00-\u9fff]", tab.inner_text("main"))
    tab.get_by_role("button", name="中文").click()
    assert tab.evaluate("document.documentElement.lang") == "zh"
    assert tab.title() == f"cat：损失 {CAT.loss:.4f}"
    chinese = words("page", "zh")
    for view in ("alpha", "beta", "gamma", "gradient", "path"):
        show(tab, view)
        text = tab.inner_text("main")
        assert chinese[f"meaning_{view}" if view != "gradient" else "meaning_gradient_of_logits"] in text
        english = set(re.findall(r"[A-Za-z]{4,}", text)) - {"logit", "logsumexp", "loss"}
        assert not english, english
    tab.get_by_role("button", name="English").click()
    assert "One path, and log y" in tab.inner_text("main")


def test_opens_in_the_explanation_s_language(opened: Open) -> None:
    tab = opened(explanation_page(CAT.in_language("zh")))
    assert tab.locator(".loss .name").inner_text() == "损失"
    assert tab.get_by_role("button", name="中文").get_attribute("aria-pressed") == "true"


def test_words_are_complete() -> None:
    """Both languages have the same keys and placeholders, and each key is used."""
    english, chinese = words("page", "en"), words("page", "zh")
    assert list(english) == list(chinese)
    sources = [SOURCES / "page.py", *(SOURCES / name for name in SCRIPTS)]
    used = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    for key, text in english.items():
        placeholder = r"\{(\w+)\}"
        assert sorted(re.findall(placeholder, text)) == sorted(re.findall(placeholder, chinese[key])), key
        chosen = key.startswith(("meaning_", "lattice_"))  # the script puts the rest of the key behind
        assert chosen or re.search(rf'"{key}"|\b{key}:|, {key},', used), key


# Hostile and extreme input


def test_hostile_labels_stay_text(opened: Open) -> None:
    labels = [
        "φ",
        "<img src=x onerror=alert(1)>",
        "</script><b>&amp;",
        "\"'",
        " ",
        "",
        "👩‍👩‍👧",
        "한국語",
        "\u0301",
        "שלום",
        "\u2028",
        "@@blocks@@",
    ]
    target = [*range(1, len(labels))]
    hostile = explain(RNG.normal(size=(12, len(labels))), target, labels=labels, blank=0, from_logits=True)
    tab = opened(explanation_page(hostile))
    assert tab.locator("main img, main b, h1 img, h1 b").count() == 0
    shown = tab.locator(".names span").all_inner_texts()
    assert shown[1] == labels[1]
    assert shown[3] == labels[2]
    assert shown[7:10:2] == ["␣", "“”"]
    assert shown[15] == "◌\u0301"
    for view in ("beta", "gamma", "gradient", "path"):
        show(tab, view)
        cell(tab, 1, 3).hover()
        assert labels[2] in "".join(formula(tab))
    tab.locator(".paths li button").first.click()
    assert labels[1] in tab.title()


def test_half_a_surrogate_pair_can_be_written(opened: Open) -> None:
    """As labels read with errors="surrogateescape" may hold."""
    tab = opened(explanation_page(explain(np.zeros((2, 2)), [1], labels=["", "\udcff"], from_logits=True)))
    assert tab.title().startswith("�: loss ")


def test_infeasible(opened: Open) -> None:
    tab = opened(explanation_page(explain(LOGITS[:3], [1, 1, 2], from_logits=True)))
    assert tab.locator(".loss .value").inner_text() == "∞"
    assert "needs 4 frames and has 3" in tab.locator(".alert").inner_text()
    for view in ("beta", "gamma", "gradient", "path", "alpha"):
        show(tab, view)
        cell(tab, 2, 3).hover()
        assert "NaN" not in tab.inner_text("main")
    assert tab.locator(".paths li").count() == 0
    field = tab.locator(".probabilities input").first
    field.fill("0.3")
    field.blur()
    painted(tab)
    assert loss(tab) == math.inf
    assert tab.locator(".loss .change").inner_text() == "was ∞"


@pytest.mark.parametrize(
    ("frames", "target", "shown"), [(0, [], "0.0000"), (0, [1], "∞"), (1, [], "1.0986"), (4, [], "4.3944")]
)
def test_almost_nothing(opened: Open, frames: int, target: list[int], shown: str) -> None:
    tab = opened(explanation_page(explain(np.zeros((frames, 3)), target, from_logits=True)))
    assert tab.locator(".loss .value").inner_text() == shown
    assert "NaN" not in tab.inner_text("main")
    if frames:
        tab.locator(".paths li button").first.click()
        assert tab.locator(".collapse dd").all_inner_texts() == [" ".join("φ" * frames), "φ", "(nothing)"]


def test_probability_zero(opened: Open) -> None:
    """True zeros: a class that never was possible, then an edit that makes the loss finite, and infinite again."""
    log_probs = np.log(
        [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]],
        where=[[1, 1, 0]] * 2 + [[1, 1, 1]],
        out=np.full((3, 3), -np.inf),
    )
    explanation = explain(log_probs, [1, 2, 1])
    tab = opened(explanation_page(explanation))
    assert tab.locator(".loss .value").inner_text() == "∞"
    assert tab.locator(".alert").inner_text() == words("page", "en")["impossible"]
    cell(tab, 1, 3).click()
    field = tab.locator(".probabilities input").nth(2)
    field.fill("0.25")
    assert loss(tab) == pytest.approx(-math.log(0.5 * 0.25 * 0.3), rel=1e-6)
    expect(tab.locator(".alert")).to_be_hidden()
    field.fill("0")
    assert loss(tab) == math.inf
    assert "NaN" not in tab.inner_text("main")


def test_scores_that_are_no_probabilities(opened: Open) -> None:
    """Taken as they are, by the loss and so by the page: an edit keeps the frame's sum, whatever it is."""
    explanation = explain(LOGITS, [1, 2, 3])
    tab = opened(explanation_page(explanation))
    assert loss(tab) == pytest.approx(explanation.loss, rel=1e-8)
    field = tab.locator(".probabilities input").first
    field.fill("0.25")
    field.blur()
    painted(tab)
    after = np.exp(np.array(tab.evaluate("ctckit.widgets[0].logProbs()[0]")))
    assert after.sum() == pytest.approx(np.exp(LOGITS[0]).sum(), rel=1e-7)
    assert loss(tab) == pytest.approx(loss_in_python(tab, explanation), rel=1e-5)


@pytest.fixture(scope="module")
def long_page() -> tuple[Explanation, str]:
    rng = np.random.default_rng(5)
    explanation = explain(rng.normal(size=(1500, 300)) * 2, rng.integers(1, 300, 200), from_logits=True)
    return explanation, explanation_page(explanation)


def test_a_long_utterance(opened: Open, long_page: tuple[Explanation, str]) -> None:
    explanation, text = long_page
    assert len(text) < 8_000_000
    tab = opened(text)
    assert loss(tab) == pytest.approx(explanation.loss, rel=1e-7)
    painted = tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? performance.now()")
    assert painted < 2000
    assert tab.locator(".cell").count() == 10 * 15
    ink = (
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".filter((value, i) => i % 4 === 3 && value > 0).length"
    )
    assert tab.locator("canvas").evaluate(ink) > 1000
    show(tab, "gamma")
    box = tab.locator("canvas").bounding_box()
    tab.mouse.click(box["x"] + box["width"] * 700.5 / 1500, box["y"] + box["height"] / 2)
    place = tab.evaluate("document.activeElement.dataset")
    t, k = int(place["t"]), int(place["k"])
    assert abs(t - 700) < 3
    assert abs(k - 200) < 3
    tab.keyboard.press("ArrowDown")
    colours = "c => c.toDataURL()"
    light = tab.locator("canvas").evaluate(colours)
    tab.emulate_media(color_scheme="dark")
    assert tab.locator("canvas").evaluate(colours) != light
    show(tab, "alpha")
    cell(tab, t, k).hover()
    assert formula(tab)[-1] == f"= {said(explanation.alpha[t, k])}"
    for _ in range(12):  # past the edge of what is drawn: the window follows
        tab.locator('.cell[tabindex="0"]').focus()
        tab.keyboard.press("ArrowRight")
    assert tab.evaluate("document.activeElement.dataset.t") == str(t + 12)
    tab.locator(".probabilities input").first.fill("0.9")
    tab.locator(".probabilities input").first.blur()
    assert loss(tab) != pytest.approx(explanation.loss, abs=1e-3)


def test_many_classes_share_a_column(opened: Open, long_page: tuple[Explanation, str]) -> None:
    explanation, text = long_page
    own = len({0, *explanation.target})
    tab = opened(text)
    log_probs = np.array(tab.evaluate("ctckit.widgets[0].logProbs()"))
    assert log_probs.shape == (1500, own + 12 + 1)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=1), 1, rtol=1e-7)
    assert tab.locator(".probabilities th").last.inner_text() == f"{300 - own - 12} others"


# The file itself


def test_blocks(opened: Open) -> None:
    """Several of each kind on one page; pictures with the same ids do not mix."""
    svg = (
        '<?xml version="1.0"?><svg width="40" height="20">'
        '<defs><rect id="r" width="40" height="20" fill="{}"/></defs><use href="#r"/></svg>'
    )
    both = {"en": "Words & more", "zh": "文字"}
    figures = [
        Figure({"en": svg.format(a), "zh": svg.format(b)}, both) for a, b in (("red", "blue"), ("green", "black"))
    ]
    blocks = [
        Prose({"en": "<h2>Words</h2>", "zh": "<h2>文字</h2>"}),
        *figures,
        Code("print('<b>')", "<b>"),
        Interactive(CAT, both),
        Interactive(RAW, both),
    ]
    tab = opened(page({"en": "A < B", "zh": "甲"}, blocks, "en"))
    assert tab.locator("h1:visible").all_inner_texts() == ["A < B"]
    assert tab.locator("pre.output").inner_text() == "<b>"
    assert tab.locator("figcaption:visible").all_inner_texts() == ["Words & more"] * 2
    ids = tab.locator("svg [id]").evaluate_all("all => all.map(e => e.id)")
    assert len(ids) == len(set(ids)) == 4
    assert tab.locator("svg use").evaluate_all("all => all.every(e => document.querySelector(e.getAttribute('href')))")
    losses = tab.evaluate("ctckit.widgets.map((widget) => widget.loss())")
    assert losses == pytest.approx([CAT.loss, RAW.loss], rel=1e-7)
    tab.locator(".widget").nth(1).locator("label:has(input[value=gamma])").click()
    assert tab.locator("input[value=alpha]").first.is_checked()
    tab.get_by_role("button", name="中文").click()
    assert tab.locator("h2:visible").all_inner_texts() == ["文字"]


def test_nothing_is_loaded_and_nothing_may_be() -> None:
    text = explanation_page(CAT)
    assert "default-src 'none'" in text
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert addresses == {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}  # names, not places
    assert "innerHTML" not in text
    assert not re.search(r"@@\w+@@", text)


def test_the_script_has_no_copy_of_the_rule() -> None:
    """It takes the arcs as they are: a lattice in which tokens may be skipped is swept as it stands."""
    script = "\n".join((SOURCES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    assert not re.search(r"(label|column|token)\w*\[[^\]]*\]\s*[!=]==?\s*\S*(label|column|token)\w*\[", script)
    data = json.loads(
        re.findall(r'<div class="widget"[^>]*><script type="application/json">(.*?)</script>', explanation_page(CAT))[0]
    )
    assert data["arcs"] == CAT.lattice.arcs.tolist()
    assert data["moves"] == [[ctckit.Arc.STAY, 0], [ctckit.Arc.STEP, 1], [ctckit.Arc.SKIP, 2]]


# Other lattices than CTC's

OTHERS = {
    "no blank": ctckit.ctc_lattice([1, 2, 3]).without_blank(),
    "selfless": ctckit.ctc_lattice([1, 2, 2]).selfless(),
    "optional": ctckit.ctc_lattice([1, 2, 3]).with_optional([1, 0, 2]),
    "costs": ctckit.ctc_lattice([1, 2]).with_costs([0, 0.5, 0, -0.25, 0]),
    "long arcs": ctckit.ctc_lattice([1, 2, 3]).with_costs(0.5).with_long_arcs([(0, 5), (1, 5)], [-1, -2.5]),
    "gaps": ctckit.ctc_lattice([1, 2]).minimal().with_gaps([0, 4, 0]),
    "stars": ctckit.ctc_lattice([1, 2]).with_stars(4, 0.5),
    "added scores": ctckit.ctc_lattice([1, 2]).with_costs(0.125).with_long_arcs([(0, 3)], [0.75]),
    "no tokens": ctckit.Lattice([1, 2], [11, 19]),
    "from blank to blank": ctckit.Lattice(CAT.lattice.labels, CAT.lattice.arcs | ctckit.Arc.SKIP, CAT.lattice.tokens),
}


ADDED = {"class_scores": [-0.3, 0, 0.25, 0, 0], "state_scores": [0, 0, 0.3, -0.5, 0]}


def other(name: str, lang: str = "en") -> Explanation:
    added = ADDED if name == "added scores" else {}
    return explain(LOGITS, lattices=OTHERS[name], labels=CAT.labels, from_logits=True, lang=lang, **added)


@pytest.mark.parametrize("name", OTHERS)
def test_other_lattices(opened: Open, name: str) -> None:
    """The script's sums, formulas, paths and drawing are those of Python."""
    e = other(name)
    tab = opened(explanation_page(e))
    assert loss(tab) == pytest.approx(e.loss, rel=1e-7)
    kinds = ["token" if token >= 0 else "blank" for token in e.lattice.tokens]
    assert tab.locator(".names span").evaluate_all("all => all.map(e => e.className)") == kinds
    for view in ("alpha", "beta", "gamma", "gradient"):
        show(tab, view)
        table = e.grad[:, e.lattice.labels] if view == "gradient" else getattr(e, view)
        for t in range(e.frames):
            for k in range(e.lattice.num_states):
                lines = tab.evaluate(f"ctckit.widgets[0].formula('{view}', {t}, {k})")
                if view in ("alpha", "beta") and table[t, k] > -np.inf and lines[-1].startswith("= "):
                    assert lines[-1] == f"= {said(table[t, k])}", (view, t, k)
                    terms = lines[-2][2:].replace("−", "-").replace("∞", "np.inf")
                    found = eval(terms, {"np": np, "logsumexp": lambda *terms: np.logaddexp.reduce(terms)})
                    assert found == pytest.approx(table[t, k], abs=4e-3), (view, t, k, lines)
    show(tab, "path")
    shares = [float(text.rstrip("%").lstrip("<")) for text in tab.locator(".paths .share").all_inner_texts()]
    assert shares == pytest.approx([100 * path.share for path in e.paths], abs=0.11)
    spelt = [text.split(" → ")[1] for text in tab.locator(".paths .symbols").all_inner_texts()]
    expected = []
    for path in e.paths:
        tokens = dict.fromkeys(e.lattice.tokens[list(path.states)].tolist())
        expected.append("".join(e.labels[e.target[token]] for token in tokens if token >= 0) or "(nothing)")
    assert spelt == expected
    last = tab.evaluate(f"ctckit.widgets[0].formula('path', {e.frames - 1}, {e.paths[0].states[-1]})")
    assert last[-1] == f"= {said(e.paths[0].score)}"


@pytest.mark.parametrize("name", ["optional", "long arcs"])
def test_long_arcs_are_drawn_and_counted(opened: Open, name: str) -> None:
    e = other(name)
    tab = opened(explanation_page(e))
    assert tab.locator(".facts dt").all_inner_texts()[2] == "Long arcs"
    assert tab.locator(".facts dd").all_inner_texts()[2] == str(len(e.lattice.long_arcs))
    truth = {(t, j, k) for path in e.paths for t, (j, k) in enumerate(pairwise(path.states), 1)}
    drawn = arrows(tab)
    assert drawn >= truth
    assert {(j, k) for _, j, k in drawn if k - j > 2} == {(j, k) for j, k in e.lattice.long_arcs.tolist() if k - j > 2}


def test_what_states_and_arcs_add_is_shown(opened: Open) -> None:
    """Beside the states, in the formula's head, and on the long arcs of the path that is followed."""
    e = other("added scores")
    tab = opened(explanation_page(e))
    assert tab.locator(".names .heads small").all_inner_texts() == ["entry", "each frame"]
    beside = tab.locator(".names span").evaluate_all("all => all.map(e => [...e.children].map(c => c.textContent))")
    frame = ["−0.30", "", "", "−0.25", "−0.30"]
    assert beside == [
        [entry, own, e.state_labels[k]]
        for k, (entry, own) in enumerate(zip(["", "−0.125"] * 2 + [""], frame, strict=True))
    ]
    cell(tab, 3, 3).hover()
    assert tab.locator(".which").inner_text() == "Frame 4, state 4 of 5: a · entry −0.125 nats · each frame −0.25 nats"
    assert formula(tab)[0].startswith("α₄(a) = log y₄(a) − 0.250 + logsumexp(")
    show(tab, "path")
    assert "and the state’s own score" in tab.locator(".meaning").inner_text()
    for i, path in enumerate(e.paths[:6]):
        if i:  # the first is followed already
            tab.locator(".paths li button").nth(i).click()
        leaps = [step for step in pairwise(path.states) if step == (0, 3)]
        assert tab.locator(".trail text").all_text_contents() == ["+0.75"] * len(leaps)
    plain = opened(explanation_page(CAT))
    assert not plain.locator(".names small, .trail text").count()


def test_words_for_other_lattices(opened: Open) -> None:
    """Where there is no blank, none is dropped; and what arcs add is part of a path's score."""
    gaps = opened(explanation_page(other("gaps", "zh")))
    assert gaps.get_by_role("grid").get_attribute("aria-label").startswith("网格")
    assert gaps.locator(".lead:visible").count() == 1
    show(gaps, "path")
    assert gaps.locator(".collapse dt").all_inner_texts() == ["逐帧输出", "逐个状态", "只留 token"]
    for name, said_of_arcs in (("gaps", False), ("costs", True), ("long arcs", True)):
        tab = opened(explanation_page(other(name)))
        show(tab, "path")
        assert ("with what its arcs cost or add" in tab.locator(".meaning").inner_text()) == said_of_arcs
        assert tab.locator(".collapse dt").all_inner_texts() == ["Frame by frame", "State by state", "Tokens only"]


def test_a_picture_saved_as_html_follows_the_window_and_the_scheme(opened: Open, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    CAT.computation().save(tmp_path / "picture.html")
    text = (tmp_path / "picture.html").read_text(encoding="utf-8")
    for width, scheme in ((390, "dark"), (700, "light")):
        tab = opened(text, viewport={"width": width, "height": 800}, color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(25, 29, 36)" if scheme == "dark" else "rgb(255, 255, 255)")
        assert tab.evaluate("getComputedStyle(document.querySelector('#patch_1 path')).fill") == paper


def test_a_wide_box_shows_that_it_goes_on(opened: Open) -> None:
    tab = opened(explanation_page(CAT), viewport={"width": 390, "height": 844})
    box = tab.locator(".scroll")
    for place, sides in ((0, ["right"]), (10, ["left", "right"]), (10_000, ["left"])):
        box.evaluate("(box, place) => (box.scrollLeft = place)", place)
        painted(tab)
        classes = box.get_attribute("class").split()
        assert [side for side in ("left", "right") if f"more-{side}" in classes] == sides
        assert box.evaluate("box => getComputedStyle(box).maskImage").startswith("linear-gradient")
    assert not opened(explanation_page(CAT)).locator("[class*=more-]").count()


def test_an_infeasible_lattice_says_so(opened: Open) -> None:
    e = explain(LOGITS[:2], lattices=OTHERS["no blank"], labels=CAT.labels, from_logits=True)
    tab = opened(explanation_page(e))
    assert tab.locator(".alert").inner_text().startswith("No path of the lattice has 2 frames.")
    assert "The paths of a lattice" in tab.locator(".lead:visible").inner_text()


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("width", [1280, 390])
def test_other_lattices_fit_any_screen(opened: Open, lang: str, width: int) -> None:
    for name in ("optional", "added scores"):
        tab = opened(explanation_page(other(name, lang)), viewport={"width": width, "height": 900})
        for view in ("alpha", "path"):
            show(tab, view)
            assert tab.evaluate("document.documentElement.scrollWidth") == width
        names = tab.locator(".names bdi").evaluate_all("all => all.map(e => e.scrollWidth <= e.clientWidth)")
        assert all(names)


# The handbook page


def test_the_seed_page(opened: Open, handbook: str) -> None:
    """One of its three lattices, by every kind of input."""
    tab = opened(handbook)
    kinds = tab.locator(".widget").evaluate_all("all => all.map(e => e.dataset.kind)")
    assert kinds == ["collapsing", "word", "computation", "computation", "search"]
    assert tab.locator("figure:visible").count() == 9
    widget = tab.locator(".widget").nth(2)
    assert widget.locator(".loss .value").inner_text() == "0.0196"
    widget.locator(".step input").focus()
    tab.keyboard.press("Home")
    assert widget.locator(".where").inner_text() == "Frame 1 of 2"
    tab.keyboard.press("End")
    widget.locator('.cell[data-t="1"][data-k="1"]').hover()
    lines = widget.locator(".formula .line").all_inner_texts()
    assert lines[1:] == ["= −0.212 + logsumexp(−0.107, −2.289)", "= −0.212"]
    assert widget.locator(".paths li button").count() == 3
    widget.locator(".paths li button").nth(2).click()
    assert widget.locator(".cell.on-path").count() == 2
    field = widget.locator(".probabilities input").first
    field.fill("0.75")
    field.blur()
    painted(tab)
    rows = np.array(tab.evaluate("ctckit.widgets[2].logProbs()"))
    assert np.exp(rows[1, 0]) == pytest.approx(0.75, abs=1e-6)
    changed = float(ctckit.ctc_loss(rows, [1], 2, 1))
    assert changed > 0.02
    assert tab.evaluate("ctckit.widgets[2].loss()") == pytest.approx(changed, abs=1e-5)
    others = [tab.evaluate(f"ctckit.widgets[{i}].loss()") for i in (1, 3)]
    assert others == pytest.approx(
        [explain_word("cat", 6).loss, 11.829253], abs=1e-5
    )  # an edit of one leaves the others alone
    tab.get_by_role("button", name="中文").click()
    assert tab.locator("h1:visible").inner_text() == "图解 CTCLoss"
    assert tab.locator("figure:visible").count() == 9


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_seed_page_fits_any_screen(opened: Open, handbook: str, width: int, scheme: str) -> None:
    tab = opened(handbook, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    ink = tab.locator("figure text:visible").first.evaluate("e => getComputedStyle(e).fill")
    levels = [int(level) for level in re.findall(r"\d+", ink)[:3]]
    assert (sum(levels) > 330) == (scheme == "dark")
