"""What a learner does on a page in a real browser: own words, own paths, exercises, paper, a phone, a notebook."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pages import Open, cell, formula, painted, show

import ctckit
from ctckit import explain
from ctckit.catalogue import words
from ctckit.explanation import explain_word
from ctckit.explanation.letters import letters
from ctckit.explanation.page import explanation_page

PAPER = 703  # pixels: A4 without its margins


@pytest.fixture(scope="module")
def cat() -> str:
    return explanation_page(explain_word("cat", 6), own_word=True)


@pytest.fixture(scope="module")
def see() -> str:
    return explanation_page(explain_word("see", 5), own_word=True)


def type_word(tab: Any, word: str, frames: int | str | None = None) -> None:
    tab.locator(".word input").first.fill(word)
    if frames is not None:
        tab.locator(".word input").nth(1).fill(str(frames))


def shown(letter: str) -> str:
    """As the page shows it: right-to-left letters are kept apart from what is around them."""
    is_turned = unicodedata.bidirectional(letter[0]) in ("R", "AL")
    return "␣" if letter == " " else f"\u2068{letter}\u2069" if is_turned else letter


def collapsed(labels: str) -> str:
    return "".join(label for label, _ in groupby(labels) if label != "φ")


def said(key: str, lang: str = "en", **values: object) -> str:
    return words("page", lang)[key].format(**values)


# An own word


@pytest.mark.parametrize(
    ("word", "frames"),
    [
        ("see", 6),
        ("hello", 9),
        ("你好你", 5),
        ("", 3),
        ("aaa", 3),
        ("a", 1),
        ("e\u0301te\u0301", 6),
        ("👩‍👧👍🏽🇨🇳", 5),
        ("שלום", 6),
        ("می\u200cخواهم", 9),
        ("ශ්\u200dරී", 4),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", 4),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007fa", 4),
        ("bookkeeper", 14),
        ("a b", 7),
    ],
)
def test_an_own_word_has_python_s_numbers(opened: Open, cat: str, word: str, frames: int) -> None:
    tab = opened(cat)
    type_word(tab, word, frames)
    for edited in (False, True):
        if edited:  # also after a change of probabilities
            cell(tab, frames // 2, 0).click()
            tab.locator(".probabilities input").first.fill("0.125")
            painted(tab)
        rows = np.array(tab.evaluate("ctckit.widgets[0].logProbs()"))
        truth = explain_word(word, frames)
        if not edited:
            np.testing.assert_allclose(rows, truth.log_probs, atol=1e-12)
        truth = explain(rows, truth.target, labels=truth.labels, blank=0, from_logits=True)
        told = tab.evaluate("ctckit.widgets[0].tables()")
        assert tab.evaluate("ctckit.widgets[0].loss()") == pytest.approx(truth.loss, abs=1e-5)
        for table in ("alpha", "beta", "gamma"):
            found = np.array(list(map(float, told[table]))).reshape(frames, -1)
            np.testing.assert_allclose(found, getattr(truth, table), atol=1e-5, err_msg=table)
        np.testing.assert_allclose(told["gradient"], truth.grad, atol=1e-5)
        assert told["pathCount"] == f"{truth.path_count:,}"
        scores = [truth.log_probs[range(frames), truth.lattice.labels[path["states"]]].sum() for path in told["paths"]]
        np.testing.assert_allclose(scores, [path.score for path in truth.paths], atol=1e-5)
        assert len({tuple(path["states"]) for path in told["paths"]}) == len(truth.paths)
    assert tab.locator(".names span").all_inner_texts()[1::2] == list(map(shown, letters(word)))
    assert tab.locator(".alert:visible").count() == (truth.path_count == 0)


def test_right_to_left_letters_make_one_text(opened: Open, cat: str) -> None:
    """In a path each is kept apart from what is around it; the text that the path reads is in their own order."""
    tab = opened(cat)
    type_word(tab, "שלום", 12)
    path, text = tab.locator(".paths .symbols").first.inner_text().split(" → ")
    assert list(dict.fromkeys(symbol for symbol in path.split() if symbol != "φ")) == list(map(shown, "שלום"))
    assert text == "\u2068שלום\u2069"
    assert tab.locator(".facts dd").last.inner_text() == text


def test_frames_follow_the_word_until_they_are_typed(opened: Open, cat: str) -> None:
    tab = opened(cat)
    frames = tab.locator(".word input").nth(1)
    for word in ("see", "bookkeeper", ""):
        type_word(tab, word)
        assert frames.input_value() == str(explain_word(word).frames)
    type_word(tab, "a" * 12)
    assert frames.input_value() == frames.get_attribute("max")  # it needs 23
    frames.fill("9")
    type_word(tab, "too")
    assert frames.input_value() == "9"


@pytest.mark.parametrize(
    ("word", "frames", "fields"), [("hello world again", None, 2), ("the cat sat on the mat", 66, 0)]
)
def test_a_long_word(opened: Open, word: str, frames: int | None, fields: int) -> None:
    """It may be longer than what is typed; one whose lattice is large has a page without fields for a word."""
    explanation = explain_word(word, frames)
    tab = opened(explanation._page())
    assert tab.locator(".word input").count() == fields
    assert tab.evaluate("ctckit.widgets[0].loss()") == pytest.approx(explanation.loss, rel=1e-6)


def test_no_word_holds_the_blank() -> None:
    with pytest.raises(ctckit.CTCError, match="word = 'aφ': φ is the blank"):
        explain_word("aφ")


def test_a_title_is_the_same_from_python(opened: Open, cat: str) -> None:
    """Letters that are more than one character, too, stand together."""
    for word in ("👩\u200d👧👍🏽", "e\u0301te\u0301"):
        text = explanation_page(explain_word(word), own_word=True)
        tab = opened(cat)
        type_word(tab, word)
        assert f"<title>{tab.title()}</title>" in text
        assert tab.title().startswith(f"{word}: ")


def test_a_word_is_read_when_it_is_composed(opened: Open, cat: str) -> None:
    """An input method's Latin letters, of which there may be many, are not the word yet."""
    tab = opened(cat)
    before = tab.title()
    tab.locator(".word input").first.select_text()
    keyboard = tab.context.new_cdp_session(tab)
    keyboard.send("Input.imeSetComposition", {"text": "ni'hao'shi'jie", "selectionStart": 14, "selectionEnd": 14})
    assert not tab.locator(".word .alert").is_visible()
    assert tab.title() == before
    keyboard.send("Input.insertText", {"text": "你好世界"})
    assert tab.title().startswith("你好世界: ")


def test_greedy_reading_follows(opened: Open, cat: str) -> None:
    tab = opened(cat)
    reading = tab.locator(".facts dd").last
    assert reading.inner_text() == "cat"
    tab.locator(".probabilities input").first.fill("0.9")
    painted(tab)
    assert reading.inner_text() == "at"


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize(
    ("word", "frames", "key"),
    [
        ("abcdefghijklm", None, "word_long"),
        ("aφ", None, "word_blank"),
        ("see", "0", "frames_wrong"),
        ("see", "25", "frames_wrong"),
        ("see", "2.5", "frames_wrong"),
        ("see", "", "frames_wrong"),
    ],
)
def test_what_is_refused_says_why(opened: Open, cat: str, lang: str, word: str, frames: str | None, key: str) -> None:
    tab = opened(cat)
    if lang == "zh":
        tab.get_by_role("button", name="中文").click()
    type_word(tab, "too", 6)
    before = tab.evaluate("ctckit.widgets[0].loss()")
    type_word(tab, "too" if frames is not None else word, frames)
    reason = said(key, lang, n=len(word), letters=12, frames=24)
    assert tab.locator(".word .alert").inner_text() == reason
    assert tab.locator('.word [aria-invalid="true"]').count() == 1
    assert tab.evaluate("ctckit.widgets[0].loss()") == before
    type_word(tab, "too", 6)
    assert not tab.locator(".word .alert").is_visible()


def test_the_most_that_is_taken(opened: Open, cat: str) -> None:
    tab = opened(cat)
    type_word(tab, "abcdefghijkl", 24)
    assert tab.evaluate("ctckit.widgets[0].loss()") == pytest.approx(explain_word("abcdefghijkl", 24).loss, abs=1e-5)
    assert tab.locator(".paths li").count() == len(explain_word("abcdefghijkl", 24).paths)


def test_a_view_stays_and_a_walk_begins_at_the_first_frame(opened: Open, cat: str) -> None:
    tab = opened(cat)
    assert tab.locator(".where").inner_text() == "Frame 1 of 6"
    show(tab, "gamma")
    cell(tab, 4, 3).click()
    type_word(tab, "see", 6)
    assert tab.locator(".views input:checked").get_attribute("value") == "gamma"
    assert tab.locator(".where").inner_text() == "Frame 1 of 6"


def test_the_title_follows(opened: Open, cat: str) -> None:
    """The tab's title and the heading, of any page with one computation."""
    for text in (cat, explanation_page(explain(np.log([[0.5, 0.3, 0.2]] * 3), [1, 2], labels=["_", "c", "t"]))):
        tab = opened(text)
        tab.locator(".probabilities input").first.fill("0.9")
        painted(tab)
        loss = tab.evaluate("ctckit.widgets[0].loss()")
        assert tab.title().endswith(f": loss {loss:.4f}")
        assert tab.locator("h1:visible").inner_text() == tab.title()
        tab.get_by_role("button", name="中文").click()
        assert tab.title().endswith(f"：损失 {loss:.4f}")
        assert tab.locator("h1:visible").inner_text() == tab.title()
    tab = opened(cat)
    type_word(tab, "")
    assert tab.title() == "The empty target: loss 0.0000"


# An own path


def type_path(tab: Any, labels: str) -> None:
    tab.locator(".own-path input").fill(labels)


def verdict(tab: Any) -> str:
    return tab.locator(".own-path .verdict").inner_text()


def test_all_sequences_of_labels(opened: Open, see: str) -> None:
    """Those that collapse to the target are paths, and each of the others is refused."""
    tab = opened(see)
    everything = ["".join(labels) for labels in product("φse", repeat=5)]
    told = tab.evaluate(
        """(all) => all.map((labels) => {
          const input = document.querySelector(".own-path input");
          input.value = labels;
          input.dispatchEvent(new Event("input"));
          const verdict = document.querySelector(".own-path .verdict");
          const steps = [...document.querySelectorAll(".collapse dd")].map((line) => line.textContent);
          return [verdict.textContent, verdict.classList.contains("wrong"), steps];
        })""",
        everything,
    )
    for labels, (text, is_wrong, steps) in zip(everything, told, strict=True):
        assert is_wrong == (collapsed(labels) != "see"), labels
        assert text.startswith("A path of see") != is_wrong, labels
        merged = [label for label, _ in groupby(labels)]
        read = " ".join(label for label in merged if label != "φ") or "(nothing)"
        assert [steps[0], steps[1]] == [" ".join(labels), " ".join(merged)], labels
        assert steps[2].replace(" ", "") == read.replace(" ", ""), labels
    assert sum(not is_wrong for _, is_wrong, _ in told) == explain_word("see", 5).path_count


@pytest.mark.parametrize(
    ("labels", "key", "values"),
    [
        ("e", "own_begin", {"first": "φ / s", "to": "e"}),
        ("sφs", "own_back", {"to": "s", "from": "φ"}),
        ("seee", "own_equal", {"to": "e"}),
        ("_e", "own_skip", {"missing": "s", "to": "e"}),
        ("φφ", "own_late", {"t": 2, "to": "φ"}),
        ("sx", "own_unknown", {"label": "x"}),
        ("seφeφφ", "own_long", {}),
        ("se", "own_so_far", {"n": 2, "T": 5}),
    ],
)
def test_a_path_is_refused_with_the_rule_that_it_breaks(
    opened: Open, see: str, labels: str, key: str, values: dict[str, object]
) -> None:
    tab = opened(see)
    for lang in ("en", "zh"):
        type_path(tab, labels)
        expected = words("page", lang)[key]
        for name, value in values.items():
            expected = expected.replace(f"{{{name}}}", str(value))
        expected = re.sub(r"\{T:.*?\|(.*?)\}", r"\1", expected).replace("{T}", "5")
        assert verdict(tab) == expected
        tab.get_by_role("button", name="中文").click()


def test_a_typed_path_is_followed(opened: Open, cat: str) -> None:
    tab = opened(cat)
    type_path(tab, "c c _ a t t")
    share = next(path.share for path in explain_word("cat", 6).paths if path.states == (1, 1, 2, 3, 5, 5))
    assert verdict(tab) == f"A path of cat, with {100 * share:.1f}% of its probability."
    on_path = tab.locator(".cell.on-path").evaluate_all("all => all.map(c => [+c.dataset.t, +c.dataset.k]).sort()")
    assert on_path == [[0, 1], [1, 1], [2, 2], [3, 3], [4, 5], [5, 5]]
    tab.get_by_role("button", name="Clear").click()
    assert tab.locator(".cell.on-path").count() == 0
    assert verdict(tab) == ""


def test_a_drawn_path(opened: Open, see: str) -> None:
    """Cell by cell, by mouse and keyboard; what breaks a rule is refused, and drawing goes on from before it."""
    tab = opened(see)
    draw = tab.get_by_role("button", name="Draw")
    draw.click()
    assert draw.get_attribute("aria-pressed") == "true"
    cell(tab, 1, 1).click()
    assert verdict(tab) == said("own_next", t=1)
    cell(tab, 0, 1).click()
    cell(tab, 1, 3).click()
    assert verdict(tab) == said("own_so_far", n=2, T=5)
    cell(tab, 2, 5).click()
    assert verdict(tab) == said("own_equal", to="e")
    cell(tab, 2, 1).click()
    assert verdict(tab) == said("own_back", to="s", **{"from": "e"})
    cell(tab, 2, 4).focus()
    tab.keyboard.press("Enter")
    cell(tab, 3, 5).click()
    cell(tab, 4, 6).click()
    assert verdict(tab).startswith("A path of see, with ")
    assert tab.locator(".own-path input").input_value() == "seφeφ"
    assert tab.locator(".collapse dd").all_inner_texts() == ["s e φ e φ", "s e φ e φ", "see"]
    assert tab.locator(".trail path").count() == 4
    assert formula(tab)[-1].startswith("= −")
    cell(tab, 1, 2).click()  # another way from here
    assert tab.locator(".own-path input").input_value() == "sφ"
    draw.click()
    cell(tab, 0, 0).click()
    assert tab.locator(".own-path input").input_value() == "sφ"


def test_drawing_can_be_given_up(opened: Open, cat: str) -> None:
    tab = opened(cat)
    tab.get_by_role("button", name="Draw").dblclick()
    assert verdict(tab) == ""
    assert tab.locator(".collapse").is_hidden()
    tab.get_by_role("button", name="Draw").click()
    tab.locator(".paths li button").nth(2).click()
    tab.get_by_role("button", name="Draw").click()
    assert verdict(tab) == ""
    assert tab.locator(".paths li button").nth(2).get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(
    ("word", "states", "typed", "labels"),
    [
        ("a b", (1, 2, 3, 5, 6), "aφ␣bφ", "a _ ␣ b ＿"),
        ("_a", (0, 1, 3, 3, 4), "φ_aaφ", "φ_aaφ"),
        ("👩\u200d👧👍🏽", (1, 1, 3, 4, 4), "👩\u200d👧👩\u200d👧👍🏽φφ", "👩\u200d👧👩\u200d👧👍🏽__"),
    ],
)
def test_what_is_drawn_can_be_typed(
    opened: Open, cat: str, word: str, states: tuple[int, ...], typed: str, labels: str
) -> None:
    """Also a space, an underscore, and letters of more than one character."""
    tab = opened(cat)
    type_word(tab, word, 5)
    tab.get_by_role("button", name="Draw").click()
    for t, k in enumerate(states):
        cell(tab, t, k).click()
    said_of_drawn = verdict(tab)
    assert said_of_drawn.startswith(f"A path of {word}, ")
    assert tab.locator(".own-path input").input_value() == typed
    for again in (typed, labels):
        type_path(tab, "")
        type_path(tab, again)
        assert verdict(tab) == said_of_drawn


def test_a_path_of_labels_longer_than_a_letter(opened: Open) -> None:
    scores = np.zeros((4, 3))
    tab = opened(explanation_page(explain(scores, [1, 2], labels=["φ", "th", "e"], from_logits=True)))
    assert "with spaces between them" in tab.locator(".own-path .hint").inner_text()
    type_path(tab, "th _ _ e")
    assert verdict(tab).startswith("A path of th e, ")
    type_path(tab, "th__e")
    assert verdict(tab) == said("own_unknown", label="th__e")


def test_a_very_long_path_is_refused(opened: Open, see: str) -> None:
    tab = opened(see)
    type_path(tab, "seφeφ" * 4000)
    assert verdict(tab).startswith("That is one label too many: 5 frames")
    assert tab.locator(".collapse .run").count() == 2 * 6


def test_no_path_is_a_path_of_an_infeasible_word(opened: Open, see: str) -> None:
    tab = opened(see)
    type_word(tab, "see", 3)
    assert "needs 4 frames and has 3" in tab.locator(".head .alert").inner_text()
    for labels in ("seφ", "see", "sφe"):
        type_path(tab, labels)
        assert "A path of see" not in verdict(tab)
        assert tab.locator(".own-path .verdict.wrong").count() == 1


def test_paths_keep_their_order_after_an_edit(opened: Open, cat: str) -> None:
    tab = opened(cat)
    tab.locator(".paths li button").nth(3).click()
    followed = tab.locator(".paths li [aria-pressed=true] .symbols").inner_text()
    tab.locator(".probabilities input").first.fill("0.97")
    painted(tab)
    shares = tab.locator(".paths .fill").evaluate_all("all => all.map(e => parseFloat(e.style.width))")
    assert shares == sorted(shares, reverse=True)
    assert tab.locator(".paths li [aria-pressed=true] .symbols").inner_text() == followed


# The course


def test_stretched_letters(opened: Open, handbook: str) -> None:
    tab = opened(handbook)
    widget = tab.locator('[data-kind="collapsing"]')
    for labels, meant in (("ccaaat", "cat"), ("ttoooo", "too"), ("hheeii", "hi"), ("tto_oo", "too"), ("hh__ii", "hi")):
        widget.get_by_role("button", name=labels).click()
        text = collapsed(labels.replace("_", "φ"))
        key = "reads_right" if text == meant else "reads_wrong"
        assert widget.locator(".verdict").inner_text() == said(key, text=text, wanted=meant)
    widget.locator("input").fill("h_i")
    assert widget.locator(".collapse dd").all_inner_texts() == ["h φ i", "h φ i", "hi"]
    assert widget.locator(".verdict").inner_text() == said("reads", text="hi")


def test_greedy_reading_misses_the_best_text(opened: Open, handbook: str) -> None:
    """The text's numbers are those of the search below it."""
    tab = opened(handbook)
    widget = tab.locator('[data-kind="search"]')
    assert [widget.locator(f".{kind} .value").inner_text() for kind in ("finds", "reads")] == ["a", "∅"]
    shares = "".join(widget.locator(".answer .unit").all_inner_texts())
    loss = ctckit.ctc_loss(np.log([[0.6, 0.4]] * 2), [1], 2, 1)
    assert f"{math.exp(-loss):.4f}" in shares
    assert "0.3600" in shares
    for text in ("together 0.64", "0.6 × 0.6 = 0.36"):
        assert text in tab.inner_text("main")


def test_exercises(opened: Open, handbook: str) -> None:
    tab = opened(handbook)
    tries = (
        ("hhi", "hi"),
        ("s_e_e", "s_ee_"),
        ("13", "10"),
        ("6", "7"),
        ("0,75", "0.5"),
    )
    forms = tab.locator(".exercise")
    assert forms.count() == len(tries)
    texts = words("seed_page", "en"), words("seed_page", "zh")
    for n, (right, wrong) in enumerate(tries):
        form = forms.nth(n)
        assert form.locator(".verdict").inner_text() == ""
        form.locator("input").fill(wrong)
        form.locator("input").press("Enter")
        assert form.locator(".verdict.wrong").count() == 1
        form.locator("input").fill(right)
        form.get_by_role("button", name="Check").click()
        assert form.locator(".verdict.right").inner_text() == f"Right. {texts[0][f'exercise{n + 1}.reason']}"
        form.locator("input").fill("?")
        form.get_by_role("button", name="Show the answer").click()
        assert form.locator(".verdict.right").count() == 1
    tab.get_by_role("button", name="中文").click()
    for n in range(len(tries)):
        assert forms.nth(n).locator(".verdict").inner_text() == f"对。{texts[1][f'exercise{n + 1}.reason']}"
    forms.nth(1).locator("input").fill("see__")
    forms.nth(1).get_by_role("button", name="检查").click()
    assert forms.nth(1).locator(".verdict").inner_text() == "还不对：这条路径有 5 帧，读作 se。"


def test_a_number_may_be_written_as_one_likes(opened: Open, handbook: str) -> None:
    tab = opened(handbook)
    form = tab.locator(".exercise").nth(4)
    for typed, is_right in (
        *((text, True) for text in (".75", "0,75", "75%", "75 %", "3/4", "¾", "０．７５")),
        *((text, False) for text in ("0.7", "75", "3/0", "three", "-0.75", "1/4%")),
    ):
        form.locator("input").fill(typed)
        form.locator("input").press("Enter")
        assert form.locator(f".verdict.{'right' if is_right else 'wrong'}").count() == 1, typed


def test_answers_of_exercises(handbook: str) -> None:
    """By other means than the page's: all sequences of labels."""
    told = [json.loads(found) for found in re.findall(r'"application/json">(\{"answer".*?)</script>', handbook)]
    assert told[0]["answer"] == collapsed("φhhφhiiφ")
    assert collapsed(told[1]["answer"].replace("_", "φ")) == told[1]["reads"]
    assert told[2]["answer"] == str(next(n for n in range(10, 20) if explain_word("bookkeeper", n).path_count))
    paths = ["".join(labels) for labels in product("φa", repeat=3) if collapsed("".join(labels)) == "a"]
    assert told[3]["answer"] == str(len(paths))
    halves = [labels for labels in product("φa", repeat=2) if collapsed("".join(labels)) == "a"]
    assert float(told[4]["answer"]) == len(halves) * 0.25


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_contents_and_skip_link(opened: Open, handbook: str, lang: str) -> None:
    tab = opened(handbook)
    if lang == "zh":
        tab.get_by_role("button", name="中文").click()
    links = tab.locator(".contents a:visible")
    assert links.all_inner_texts() == tab.locator("main h2:visible").all_inner_texts()
    links.nth(6).click()
    painted(tab)
    assert abs(tab.locator("main h2:visible").nth(6).bounding_box()["y"]) < 100
    skip = tab.locator(".skip:visible")
    assert skip.inner_text() == said("skip", lang)
    skip.focus()
    assert tab.evaluate("document.querySelectorAll('a, button, input')[0].classList.contains('skip')")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"


def test_a_group_is_one_tab_stop(opened: Open, handbook: str) -> None:
    tab = opened(handbook)
    for group in (".paths ol", ".examples", ".lattice"):
        stops = tab.locator(group).evaluate_all("all => all.map(e => e.querySelectorAll('[tabindex=\"0\"]').length)")
        assert set(stops) <= {0, 1}, group
        assert 1 in stops, group
    rows = tab.locator('[data-kind="word"] .paths li button')
    rows.first.focus()
    for key, row in (("ArrowDown", 1), ("End", 83), ("ArrowDown", 83), ("ArrowUp", 82), ("Home", 0)):
        tab.keyboard.press(key)
        assert rows.nth(row).evaluate("e => e === document.activeElement && e.tabIndex === 0"), key
    tab.locator('[data-kind="word"] .step input').focus()
    for kind in ("cell", "probabilities"):  # the next stops after the slider
        tab.keyboard.press("Tab")
        assert tab.evaluate("kind => document.activeElement.closest(`.${kind}`) !== null", kind), kind
    scrolling = ".scroll, .box"
    assert tab.locator(scrolling).evaluate_all(
        "all => all.every(e => !e.closest('.lattice, .paths') || e.tabIndex < 0)"
    )


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_chinese_emphasis_is_upright(opened: Open, handbook: str, lang: str) -> None:
    tab = opened(handbook)
    tab.get_by_role("button", name={"en": "English", "zh": "中文"}[lang]).click()
    slants = tab.locator("main em:visible, main cite:visible").evaluate_all(
        "all => [...new Set(all.map(e => getComputedStyle(e).fontStyle))]"
    )
    assert slants == [{"en": "italic", "zh": "normal"}[lang]]


# A phone, and paper


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_phone_shows_rules_and_target(opened: Open, handbook: str, lang: str) -> None:
    """Tables fit, and their rules are said in HTML; what scrolls fades at its edge."""
    tab = opened(handbook, viewport={"width": 390, "height": 844})
    tab.get_by_role("button", name={"en": "English", "zh": "中文"}[lang]).click()
    painted(tab)
    told = tab.locator("figure .drawing:visible").evaluate_all(
        "all => all.map(e => [e.scrollWidth > e.clientWidth, e.classList.contains('more-right')])"
    )
    assert told == [[False, False]] * 6 + [[True, True]] * 3  # tables; heat maps and curves
    code = tab.locator(".program pre").evaluate_all(
        "all => all.map(e => [e.scrollWidth > e.clientWidth, e.classList.contains('more-right')])"
    )
    assert [True, True] in code
    assert [True, False] not in code
    headings = tab.locator("figure h3:visible").all_inner_texts()
    assert headings[:3] == [words("seed_page", lang)[f"rule{n}.heading"] for n in (1, 2, 3)]
    drawn = set(tab.locator("figure:has(h3) svg:visible text").all_text_contents())
    assert max(map(len, drawn - {"φcatφφ", "ccccat"})) == 2, drawn
    for text in ("[4, 4, 1, 3, 4, 1, 2]", words("explanation", lang)["inputs.target"]):
        box = tab.locator("figure svg:visible text", has_text=text).first.bounding_box()
        assert box["x"] > 0
        assert box["x"] + box["width"] < 390
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_paper(opened: Open, handbook: str, lang: str) -> None:
    """Ten A4 pages at most; nothing is wider than the paper; lists are short; all frames are there."""
    tab = opened(handbook)
    tab.get_by_role("button", name={"en": "English", "zh": "中文"}[lang]).click()
    show(tab.locator('[data-kind="word"]'), "gamma")
    printed = tab.pdf(prefer_css_page_size=True, print_background=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 10
    tab.emulate_media(media="print")
    tab.set_viewport_size({"width": PAPER, "height": 1000})
    painted(tab)
    cut = tab.locator("main *:visible").evaluate_all(
        """(all, width) => all.filter((e) => {
          const box = e.getBoundingClientRect();
          const hidden = getComputedStyle(e).overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1;
          return box.right > width + 1 || (hidden && !e.closest(".symbols") && e.tagName !== "INPUT");
        }).map((e) => e.outerHTML.slice(0, 90))""",
        PAPER,
    )
    assert not cut
    lists = tab.locator(".paths ol").evaluate_all(
        "all => all.map(e => [...e.children].filter(one => one.offsetHeight).length)"
    )
    assert max(lists) == 12
    assert said("more_on_paper", lang, n=12, all="84") in tab.inner_text("main")
    heads = tab.locator('[data-kind="computation"]').nth(1).locator(".heads text")
    assert heads.last.text_content() == "t₁₀"
    assert heads.last.bounding_box()["x"] < PAPER


# A notebook


def test_a_notebook_shows_the_page(opened: Open, tmp_path: Path) -> None:
    """A cell is run by Jupyter's own client, and what it shows is put into a page, as Jupyter does."""
    nbformat = pytest.importorskip("nbformat", reason="notebooks are run with developers' tools")
    nbclient = pytest.importorskip("nbclient", reason="notebooks are run with developers' tools")
    pytest.importorskip("ipykernel", reason="notebooks are run with developers' tools")
    source = "from ctckit.explanation import explain_word\nexplain_word('cat', 6)"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = notebook.cells[0].outputs[0]["data"]["text/html"]
    tab = opened(f"<!doctype html><meta charset=utf-8><body>{shown}")
    frame = tab.frame_locator("iframe")
    frame.locator(".word input").first.fill("see")
    assert frame.locator("h1:visible").inner_text().startswith("see: loss ")
    assert frame.locator(".names span").all_inner_texts() == list("φsφeφeφ")
    assert tab.locator("iframe").get_attribute("sandbox") == "allow-scripts"  # it can't touch the notebook
    assert tab.locator("iframe").bounding_box()["height"] > 600
