"""The lattices that a learner's page offers for one word, in a real browser, against Python's numbers."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from support.pages import Open, cell, painted, show
from test_explained_lattices import enumerated

import ctckit
from ctckit.catalogue import words
from ctckit.explanation import explain, explain_word
from ctckit.explanation.page import explanation_page
from ctckit.explanation.page.data import LATTICES


@pytest.fixture(scope="module")
def cat() -> str:
    return explanation_page(explain_word("cat", 5), own_word=True)


def type_word(tab: Any, word: str, frames: int) -> None:
    tab.locator(".word input").first.fill(word)
    tab.locator(".word input").nth(1).fill(str(frames))


def radio(tab: Any, name: str) -> Any:
    return tab.locator(f".lattices input[value={name}]")


def losses(tab: Any) -> list[str]:
    """What the switch says, in the order of the lattices."""
    return tab.locator(".lattices small").all_inner_texts()


@pytest.mark.parametrize(
    ("word", "frames", "missing"),
    [("cat", 5, 0), ("see", 6, 1), ("你好你", 5, 0), ("abcdefghijkl", 14, 0), ("a", 1, 0), ("cat", 2, 0), ("", 3, 1)],
)
def test_each_lattice_has_python_s_numbers(opened: Open, cat: str, word: str, frames: int, missing: int) -> None:
    """Of the same scores, also after a change of one."""
    tab = opened(cat)
    type_word(tab, word, frames)
    assert tab.locator(".lattices input:disabled").count() == missing
    cell(tab, 0, 0).click()
    tab.locator(".probabilities input").first.fill("0.125")
    painted(tab)
    rows = np.array(tab.evaluate("ctckit.widgets[0].logProbs()"), float)
    target = explain_word(word, frames).target
    shown = []
    for name, build in LATTICES.items():
        if radio(tab, name).is_disabled():
            with pytest.raises(ctckit.CTCError):
                build(ctckit.ctc_lattice(target))
            shown.append("–")
            continue
        radio(tab, name).check()
        assert tab.evaluate("ctckit.widgets[0].logProbs()") == rows.tolist()
        truth = explain(rows, lattices=build(ctckit.ctc_lattice(target)), from_logits=True)
        told = tab.evaluate("ctckit.widgets[0].tables()")
        loss = tab.evaluate("ctckit.widgets[0].loss()")
        assert loss == pytest.approx(truth.loss, abs=1e-9)
        assert loss == pytest.approx(ctckit.lattice_loss(rows, truth.lattice, reduction="sum"), rel=1e-6)
        for table in ("alpha", "beta", "gamma"):
            found = np.array(list(map(float, told[table]))).reshape(frames, -1)
            np.testing.assert_allclose(found, getattr(truth, table), atol=1e-9, err_msg=table)
        np.testing.assert_allclose(told["gradient"], truth.grad, atol=1e-9)
        np.testing.assert_allclose(ctckit.posteriors(rows, lattices=truth.lattice).states, truth.gamma, atol=1e-5)
        assert told["pathCount"] == f"{truth.path_count:,}"
        scores = [rows[range(frames), truth.lattice.labels[path["states"]]].sum() for path in told["paths"]]
        np.testing.assert_allclose(scores, [path.score for path in truth.paths], atol=1e-9)
        assert tab.locator(".names span").count() == truth.lattice.num_states
        assert tab.locator(".head .alert:visible").count() == (truth.path_count == 0)
        shown.append("∞" if np.isinf(truth.loss) else f"{truth.loss:.3f}")
    assert losses(tab) == shown


@pytest.mark.parametrize("name", LATTICES)
def test_paths_are_those_of_an_enumeration(opened: Open, cat: str, name: str) -> None:
    tab = opened(cat)
    radio(tab, name).check()
    rows = np.array(tab.evaluate("ctckit.widgets[0].logProbs()"), float)
    truth = enumerated(LATTICES[name](ctckit.ctc_lattice([1, 2, 3])), rows)
    told = tab.evaluate("ctckit.widgets[0].tables()")
    assert int(told["pathCount"]) == len(truth.scores)
    assert tab.evaluate("ctckit.widgets[0].loss()") == pytest.approx(-truth.total, abs=1e-9)
    shares = [float(text.rstrip("%").lstrip("<")) for text in tab.locator(".paths .share").all_inner_texts()]
    assert shares == pytest.approx([100 * np.exp(score - truth.total) for score in truth.scores], abs=0.11)


def test_the_bits_are_in_the_page_s_data(cat: str) -> None:
    """Each lattice's, as the library has them: the script knows of none."""
    data = json.loads(re.findall(r'<div class="widget"[^>]*><script type="application/json">(.*?)</script>', cat)[0])
    assert list(data["lattices"]) == list(LATTICES)
    assert data["lattices"]["ctc"] == {"blank": 3, "token": 7, "repeat": 3, "starts": 2, "ends": 2}
    assert data["lattices"]["selfless"] == {"blank": 3, "token": 6, "repeat": 2, "starts": 2, "ends": 2}
    assert data["lattices"]["without_blank"] == {"blank": None, "token": 3, "repeat": None, "starts": 1, "ends": 1}


def test_by_keyboard(opened: Open, cat: str) -> None:
    """The switch is one tab stop after the fields; arrow keys change it, and the focus, the frame and the view stay."""
    tab = opened(cat)
    show(tab, "path")
    tab.locator(".step input").fill("3")
    tab.locator(".word input").nth(1).focus()
    tab.keyboard.press("Tab")
    for name in ("selfless", "without_blank"):
        tab.keyboard.press("ArrowRight")
        assert radio(tab, name).is_checked()
        assert tab.evaluate("document.activeElement.value") == name
        assert tab.locator(".where").inner_text() == "Frame 3 of 5"
        assert tab.locator(".views input[value=path]").is_checked()
        assert tab.locator(".cell.on-path").count() == 5
    assert tab.get_by_role("group", name="Lattice").count() == 1
    assert tab.locator(".names span").all_inner_texts() == list("cat")


def test_an_edit_is_kept_and_undone(opened: Open, cat: str) -> None:
    tab = opened(cat)
    before = losses(tab)
    tab.locator(".probabilities input").first.fill("0.5")
    painted(tab)
    edited = losses(tab)
    assert all(one != other for one, other in zip(before, edited, strict=True))
    radio(tab, "selfless").check()
    assert losses(tab) == edited
    assert f"was {before[1]}" in re.sub(r"(\d\.\d{3})\d", r"\1", tab.locator(".change").inner_text())
    tab.locator(".reset").click()
    assert losses(tab) == before
    radio(tab, "ctc").check()
    assert losses(tab) == before
    assert tab.locator(".reset").is_disabled()


def test_a_word_without_such_a_lattice(opened: Open, cat: str) -> None:
    """The page says why, shows CTC's, and comes back to the choice with the next word that has one."""
    tab = opened(cat)
    radio(tab, "without_blank").check()
    for word, reason in (("see", "two e in a row would be one"), ("", "the empty word has no states")):
        tab.locator(".word input").first.fill(word)
        assert radio(tab, "without_blank").is_disabled()
        assert radio(tab, "ctc").is_checked()
        assert tab.locator(".which-lattice .meaning").inner_text().endswith(f"{reason}.")
    tab.locator(".word input").first.fill("so")
    assert radio(tab, "without_blank").is_checked()
    assert tab.locator(".names span").all_inner_texts() == ["s", "o"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_screen_and_language(opened: Open, cat: str, width: int, scheme: str) -> None:
    tab = opened(cat, viewport={"width": width, "height": 844}, color_scheme=scheme)
    for language, lang in (("中文", "zh"), ("English", "en")):
        tab.get_by_role("button", name=language).click()
        for name in LATTICES:
            radio(tab, name).check()
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            said = words("page", lang)
            assert tab.locator(".which-lattice .meaning").inner_text() == said[f"lattice_{name}_about"]
            assert tab.locator(".lattices b").all_inner_texts() == [said[f"lattice_{other}"] for other in LATTICES]
