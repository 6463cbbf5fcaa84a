"""The page of a search in a real browser, against numbers from Python."""

from __future__ import annotations

import math
import re
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from oracles import log_softmax
from support.pages import Open, painted

from ctckit import Decoder, SearchExplanation, Vocabulary, explain_search
from ctckit.explanation import TWO_FRAMES
from ctckit.explanation.page import search_page
from ctckit.explanation.wording import answers, legend

ABC = ["φ", "a", "b", "c"]
THREE = np.log([[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])

# A search of the script as Python has it: steps, what was found, and the best path.
TOLD = """() => {
  const { steps, found, bestPath, verdict } = ctckit.widgets[0].search();
  const plain = ({ tokens, blank, token, ctc, rank, ways }) => ({
    tokens, rank, scores: [blank, token, ctc].map(String),
    ways: ways.map(({ source, token, grows, score }) => [source.rank - 1, token, grows, score]),
  });
  return {
    steps: steps.map(({ beam, dropped, more, lost }) => (
      { beam: beam.map(plain), dropped: dropped.map(plain), more, lost: String(lost) }
    )),
    found: found.map(({ tokens, ctc, all }) => [tokens, ctc, all]),
    best: [bestPath.classes, bestPath.tokens, String(bestPath.score), String(bestPath.all)],
    verdict,
  };
}"""


def random_search(seed: int, frames: int = 6, *, zeros: bool = False, lang: str = "en") -> SearchExplanation:
    rng = np.random.default_rng(seed)
    log_probs = log_softmax(rng.normal(size=(frames, 4)) * 2).astype(float)
    if zeros:
        log_probs[rng.random(log_probs.shape) < 0.2] = -np.inf
    return explain_search(log_probs, labels=ABC, lang=lang)


def told_by_python(search: SearchExplanation) -> dict[str, Any]:
    def plain(candidate: Any) -> dict[str, Any]:
        scores = [candidate.blank, candidate.token, candidate.ctc]
        ways = [list(way) for way in candidate.ways]
        return {"tokens": list(candidate.tokens), "rank": candidate.rank, "scores": scores, "ways": ways}

    path = search.best_path
    return {
        "steps": [
            {
                "beam": list(map(plain, step.beam)),
                "dropped": list(map(plain, step.dropped)),
                "more": step.more,
                "lost": step.lost,
            }
            for step in search.steps
        ],
        "found": [[list(found.text.tokens), found.ctc, found.text.score] for found in search.found],
        "best": [list(path.classes), list(path.text.tokens), path.score, path.text.score],
    }


def same(script: Any, python: Any) -> bool:
    """Equal, with numbers nearly equal: the page has nine digits of the scores."""
    if isinstance(python, dict):
        return all(same(script[key], value) for key, value in python.items())
    if isinstance(python, list):
        return len(script) == len(python) and all(map(same, script, python))
    if isinstance(python, float):
        return float(script) == pytest.approx(python, abs=1e-7)
    return bool(script == python)


def scores(tab: Any) -> list[list[float]]:
    rows = tab.evaluate("ctckit.widgets[0].logProbs().map((row) => row.map(String))")
    return [[float(x) for x in row] for row in rows]


# Numbers


@pytest.mark.parametrize("zeros", [False, True], ids=["", "zeros"])
@pytest.mark.parametrize("seed", range(3))
def test_the_script_searches_as_python_does(opened: Open, seed: int, zeros: bool) -> None:
    search = random_search(seed, zeros=zeros)
    tab = opened(search_page(search))
    assert same(tab.evaluate(TOLD), told_by_python(search))
    for beam_width in (1, 2, 8):
        tab.locator(".beam input").fill(str(beam_width))
        other = explain_search(search.log_probs, labels=ABC, beam_width=beam_width)
        assert same(tab.evaluate(TOLD), told_by_python(other))


def test_an_edit_is_searched_again(opened: Open) -> None:
    """The two frames: with 0.71 for the blank in the second one, the best path has the best text."""
    tab = opened(search_page(explain_search(TWO_FRAMES, labels=["φ", "a"])))
    assert tab.locator(".answer .value").all_inner_texts() == ["a", "∅"]
    assert "P = 0.6400" in tab.locator(".finds").first.inner_text()
    assert "φφ: P = 0.3600" in tab.locator(".reads").first.inner_text()
    assert tab.evaluate(TOLD)["verdict"] == "better"
    tab.locator(".probabilities input").first.fill("0.9")
    painted(tab)
    changed = explain_search(scores(tab), labels=["φ", "a"])
    assert np.exp(changed.log_probs[1]) == pytest.approx([0.9, 0.1])
    assert same(tab.evaluate(TOLD), told_by_python(changed))
    assert tab.locator(".answer .value").all_inner_texts() == ["∅", "∅"]
    assert tab.locator(".verdict").inner_text() == "Both give the same text."
    tab.get_by_role("button", name="Reset").click()
    assert tab.locator(".answer .value").all_inner_texts() == ["a", "∅"]
    assert scores(tab) == [pytest.approx(row, abs=1e-8) for row in TWO_FRAMES]


def test_many_classes_share_a_column(opened: Open) -> None:
    """They are not searched, and the page says so; the beams are the same."""
    rng = np.random.default_rng(0)
    search = explain_search(rng.normal(size=(5, 300)) * 3, from_logits=True)
    tab = opened(search_page(search))
    columns = len(scores(tab)[0])
    assert columns < 80
    assert f"{300 - columns + 1} other classes are not searched" in tab.locator(".paths").inner_text()
    beams = tab.evaluate(TOLD)["steps"]
    for step, drawn in zip(search.steps, beams, strict=True):
        got = [float(prefix["scores"][2]) for prefix in (*drawn["beam"], *drawn["dropped"])]
        assert got == pytest.approx([c.ctc for c in (*step.beam, *step.dropped)], abs=1e-7)


# What is shown


def test_what_the_tree_shows(opened: Open) -> None:
    search = explain_search(THREE, labels=ABC[:3])
    tab = opened(search_page(search))
    for t, step in enumerate(search.steps):
        for candidate in (*step.beam, *(step.dropped if t else ())):
            node = tab.locator(f'.prefix[data-step="{t}"][data-rank="{candidate.rank}"]')
            seen = node.locator("text").all_text_contents()
            assert {search.text(candidate.tokens), f"{math.exp(candidate.ctc):.3f}"} <= set(seen)
    labels = tab.locator(".tree text.way").all_text_contents()
    ways = [way for step in search.steps for c in step.beam for way in c.ways]
    truth = [f"{'+ ' if way.grows else ''}{ABC[way.token]} {math.exp(way.score):.3f}" for way in ways]
    assert sorted(labels) == sorted(truth)
    assert tab.locator(".prefix.finds text.said").text_content() == "a"
    assert tab.locator(".prefix.reads text.said").text_content() == "ab"
    assert "the beam was too narrow" in tab.locator(".verdict").inner_text()
    assert tab.locator(".found .share").all_inner_texts() == ["0.210", "0.210", "0.148 / 0.232"]


def test_formulas_are_sums_that_hold(opened: Open) -> None:
    search = explain_search(THREE, labels=ABC[:3])
    tab = opened(search_page(search))
    tab.locator('.prefix[data-step="2"][data-rank="1"]').hover()
    assert tab.locator(".formula .line").all_inner_texts() == [
        "p₂(a·φ) = p₁(a) · y₂(φ) = 0.4000 · 0.4000 = 0.1600",
        "p₂(a·a) = p₁(a·a) · y₂(a) + p₁(∅) · y₂(a) = 0.4000 · 0.3000 + 0.3000 · 0.3000 = 0.2100",
        "p₂(a) = 0.1600 + 0.2100 = 0.3700",
    ]
    for t, step in enumerate(search.steps[1:], start=1):
        for candidate in (*step.beam, *step.dropped):
            lines = tab.evaluate(f"ctckit.widgets[0].formula({t}, {candidate.rank})")
            for line in lines:
                *_, terms, result = line.split(" = ")
                if re.fullmatch(r"[\d. ·+]+", terms):
                    assert eval(terms.replace("·", "*")) == pytest.approx(float(result), abs=2e-4), line
            assert float(lines[-1].split(" = ")[-1]) == pytest.approx(math.exp(candidate.ctc), abs=6e-5)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_nothing_overlaps_or_leaves_the_page(opened: Open, width: int, scheme: str, lang: str) -> None:
    rng = np.random.default_rng(0)
    cases = [
        random_search(1, lang=lang),
        explain_search(rng.normal(size=(24, 30)) * 2, from_logits=True, beam_width=12, lang=lang),
        explain_search(THREE, labels=["<blank>", "<a very long one>", "한국어"], lang=lang),
    ]
    for search in cases:
        tab = opened(search_page(search), viewport={"width": width, "height": 900}, color_scheme=scheme)
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        boxes = tab.locator(".tree text").evaluate_all(
            "all => all.filter(e => e.textContent).map(e => [e.getBoundingClientRect(), e.textContent])"
        )
        grid = tab.locator(".tree").bounding_box()
        for box, text in boxes:
            assert box["left"] >= grid["x"] - 1, text
            assert box["right"] <= grid["x"] + grid["width"] + 1, text
        for (one, text), (other, covered) in combinations(boxes, 2):
            across = min(one["right"], other["right"]) - max(one["left"], other["left"])
            down = min(one["bottom"], other["bottom"]) - max(one["top"], other["top"])
            assert across < 1 or down < 4, (text, covered)


def test_a_window_moves_with_the_frame(opened: Open) -> None:
    tab = opened(search_page(random_search(0, 20)))
    heads = "text.quiet, text.current"

    def frames() -> list[str]:
        return [text for text in tab.locator(f".tree > {heads}").all_text_contents() if text.startswith("t")]

    assert frames()[-1] == "t₂₀"
    tab.locator(".step input").focus()
    tab.keyboard.press("Home")
    assert tab.locator(".where").inner_text() == "Frame 1 of 20"
    assert tab.locator(".tree .current").text_content() == "t₁"
    assert frames() == [f"t{n}" for n in "₁₂₃₄₅₆"]
    assert tab.locator(".probabilities h3").inner_text() == "Probabilities in frame 1"


def test_by_keyboard(opened: Open) -> None:
    tab = opened(search_page(random_search(0)))
    assert tab.locator('.prefix[tabindex="0"]').count() == 1
    tab.locator('.prefix[tabindex="0"]').focus()
    tab.keyboard.press("ArrowDown")
    assert tab.locator(".formula .which").inner_text().startswith("Frame 6, rank 2")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".formula .which").inner_text().startswith("Frame 5, rank 2")
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')").startswith("Frame 5, rank 2")
    assert tab.locator(".where").inner_text() == "Frame 5 of 6"


def test_the_other_language(opened: Open) -> None:
    tab = opened(search_page(random_search(0)))
    tab.get_by_role("button", name="中文").click()
    assert tab.title().startswith("搜索结果：")
    assert tab.locator(".answer .name").all_inner_texts() == ["搜索找到", "最优路径解码读作"]
    assert tab.locator(".tree text").first.text_content() == "1"
    assert "开始" in tab.locator(".tree text").all_text_contents()


def test_nothing_to_find(opened: Open) -> None:
    none = opened(search_page(explain_search(np.full((2, 2), -np.inf))))
    assert none.locator(".answer .value").first.inner_text() == "–"
    assert "The search finds nothing" in none.locator(".verdict").inner_text()
    empty = opened(search_page(explain_search(np.zeros((0, 3)))))
    assert empty.locator(".answer .value").all_inner_texts() == ["∅", "∅"]
    assert empty.locator(".tree").count() == 0


def test_hostile_labels_stay_text(opened: Open) -> None:
    labels = ["φ", "</script><b>&amp;", "<img src=x onerror=alert(1)>"]
    tab = opened(search_page(explain_search(THREE, labels=labels)))
    assert tab.locator("b, img").count() == 0
    assert "</script><b>&amp;" in tab.locator(".found .symbols").first.inner_text()


def test_with_a_language_the_tree_is_drawn_as_pictures(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said about all of them is written once, above them."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    vocabulary = Vocabulary(["φ", " ", "a", "b"], 0)
    log_probs = log_softmax(np.random.default_rng(0).normal(size=(9, 4))).astype(float)
    search = explain_search(log_probs, Decoder(vocabulary, lexicon=["a", "ab"]))
    tab = opened(search_page(search))
    assert tab.locator(".widget").count() == 0
    assert tab.locator("figure:visible").count() == 2
    captions = tab.locator("figcaption:visible").all_inner_texts()
    assert [caption.split(".")[0] for caption in captions] == ["Frames 1 to 6 of 9", "Frames 7 to 9 of 9"]
    assert tab.evaluate("document.documentElement.scrollWidth") == 1280
    told = {
        kind: tab.locator(f"p.{kind}:visible").all_inner_texts() for kind in ("finds", "reads", "verdict", "legend")
    }
    assert {kind: text for kind, (text,) in told.items() if kind != "legend"} == answers(search)
    assert told["legend"] == ["\n".join(legend(search).values())]
    assert not set(tab.locator("figure:visible svg text").all_text_contents()) & {*answers(search).values()}
    monkeypatch.setattr(sys.modules[search_page.__module__], "MOST_PICTURES", 1)
    tab = opened(search_page(search.in_language("zh")))
    assert tab.locator("figure:visible").count() == 1
    assert tab.locator(".prose:visible").last.inner_text() == "其余 3 帧没有画出。"


def test_right_to_left_letters_make_one_text(opened: Open) -> None:
    """Kept apart from what is around it, in the letters' own order."""
    scores = np.log([[0.05, 0.9, 0.05], [0.05, 0.05, 0.9]])
    tab = opened(search_page(explain_search(scores, labels=["φ", "ש", "ל"])))
    assert tab.locator(".answer.finds .value").inner_text() == "\u2068של\u2069"
