"""Explained searches: numbers against the reference and enumerations, texts, pictures, wrong input."""

from __future__ import annotations

import math
import re
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from oracles import collapse, log_softmax
from support.brute_force import ctc_scores
from support.ngrams import arpa
from support.pictures import check_texts, texts

import ctckit
from ctckit import Decoder, LanguageModel, SearchExplanation, Vocabulary, explain_search
from ctckit.explanation import TWO_FRAMES
from ctckit.explanation.beam import DROPPED
from ctckit.kernels.search import reference

Scores = npt.NDArray[np.float64]
THREE = np.log([[0.3, 0.4, 0.3], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])
ABC = ["φ", "a", "b", "c"]


def scores(seed: int, frames: int = 5, classes: int = 4, *, zeros: bool = False) -> Scores:
    rng = np.random.default_rng(seed)
    log_probs = log_softmax(rng.normal(size=(frames, classes)) * 2).astype(float)
    if zeros:
        log_probs[rng.random(log_probs.shape) < 0.3] = -np.inf
    return log_probs


def with_language(**how: Any) -> SearchExplanation:
    """Letters and words, a lexicon with homophones, a model of the words, and a hotword."""
    vocabulary = Vocabulary(["φ", " ", "a", "b"], 0)
    words = {"a": ["a"], "ab": ["ab"], "A": ["a"], "ba": ["ba"]}
    model = LanguageModel.read(BytesIO(arpa(["a ab", "ab ba ab", "A ab a"], words, order=2).encode()))
    decoder = Decoder(vocabulary, language_model=model, lexicon=words, unknown_score=-3.0, alpha=0.7, beta=0.4)
    return explain_search(scores(1, 5), decoder, hotwords={"ab": 1.5}, **how)


def summed(scores: list[float]) -> float:
    return float(np.logaddexp.reduce(scores, initial=-np.inf))


# Numbers


@pytest.mark.parametrize("zeros", [False, True], ids=["", "zeros"])
@pytest.mark.parametrize("beam_width", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_the_beam_is_the_reference_search_s(seed: int, beam_width: int, zeros: bool) -> None:
    log_probs = scores(seed, zeros=zeros)
    shown = explain_search(log_probs, labels=ABC, beam_width=beam_width)
    frames: list[tuple[list[reference.Entry], list[reference.Entry]]] = []
    found = reference.search(log_probs, shown.graph, beam_width, watch=lambda _, *seen: frames.append(seen))
    assert len(shown.steps) == len(frames) + 1
    for step, (candidates, beam) in zip(shown.steps[1:], frames, strict=True):
        ranked = sorted(candidates, key=lambda entry: -entry.score)
        assert [(c.tokens, c.ctc) for c in step.beam] == [(e.prefix.tokens, e.score) for e in ranked[:beam_width]]
        assert {c.tokens for c in step.beam} == {e.prefix.tokens for e in beam}
        assert [c.rank for c in (*step.beam, *step.dropped)] == [*range(1, len(step.beam) + len(step.dropped) + 1)]
        assert [c.tokens for c in step.dropped] == [e.prefix.tokens for e in ranked[beam_width:][:DROPPED]]
        assert len(step.beam) + len(step.dropped) + step.more == len(candidates)
    assert [(f.text.tokens, f.ctc) for f in shown.found] == [(e.prefix.tokens, e.score) for e in found.entries[:5]]


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_unseen(seed: int) -> None:
    """Ways add up to the text that they lead to; a text of a beam is in the next beam, or is reported as dropped."""
    log_probs = scores(seed, zeros=seed % 2 == 1)
    shown = explain_search(log_probs, labels=ABC, beam_width=2)
    for t, (before, after) in enumerate(pairwise(shown.steps)):
        for candidate in (*after.beam, *after.dropped):
            assert candidate.ways
            for token_is_blank, part in ((True, candidate.blank), (False, candidate.token)):
                ways = [way.score for way in candidate.ways if (way.token == 0) == token_is_blank]
                assert summed(ways) == pytest.approx(part, abs=1e-12)
            for way in candidate.ways:
                source = before.beam[way.source].tokens
                assert candidate.tokens == ((*source, way.token) if way.grows else source)
                assert way.grows or way.token in (0, *source[-1:])
        mass = summed([c.ctc for c in before.beam]) + summed(log_probs[t].tolist())
        assert summed([*(c.ctc for c in after.beam), after.lost]) == pytest.approx(mass, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_with_room_for_all_texts_are_those_of_an_enumeration(seed: int) -> None:
    log_probs = scores(seed, 4, zeros=seed % 2 == 1)
    truth = ctc_scores(log_probs)
    shown = explain_search(log_probs, labels=ABC, beam_width=400)
    last = {c.tokens: c.ctc for c in shown.steps[-1].beam}
    assert last.keys() == truth.keys()
    np.testing.assert_allclose([last[text] for text in truth], list(truth.values()), atol=1e-12)
    assert shown.best is not None
    assert truth[shown.best.text.tokens] == pytest.approx(max(truth.values()), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_texts_have_all_their_paths_whatever_the_beam_lost(seed: int) -> None:
    log_probs = scores(seed, 4)
    truth = ctc_scores(log_probs)
    shown = explain_search(log_probs, labels=ABC, beam_width=2)
    for text in (*(found.text for found in shown.found), shown.best_path.text):
        assert text.score == pytest.approx(truth[text.tokens], abs=1e-12)
        if text.paths:
            assert len(text.paths) == text.path_count
            assert all(collapse(classes, 0) == text.tokens for classes, _ in text.paths)
            assert summed([score for _, score in text.paths]) == pytest.approx(text.score, abs=1e-12)
    assert all(found.ctc <= found.text.score + 1e-12 for found in shown.found)
    path = shown.best_path
    assert path.classes == tuple(log_probs.argmax(axis=1))
    assert path.text.tokens == collapse(path.classes, 0)
    assert path.score == pytest.approx(log_probs.max(axis=1).sum(), abs=1e-12)


def test_two_frames_in_which_the_best_path_is_wrong() -> None:
    shown = explain_search(TWO_FRAMES, labels=["φ", "a"])
    a, nothing = shown.steps[-1].beam
    assert (a.tokens, nothing.tokens) == ((1,), ())
    assert np.exp([a.ctc, a.blank, a.token, nothing.ctc]) == pytest.approx([0.64, 0.24, 0.4, 0.36])
    assert [(way.source, way.token, way.grows) for way in a.ways] == [(0, 1, True), (1, 0, False), (1, 1, False)]
    assert np.exp([way.score for way in a.ways]) == pytest.approx([0.24, 0.24, 0.16])
    assert shown.best_path.text.tokens == ()
    said = str(shown).split("\n\n")[-1].split("\n")
    assert said[:2] == [
        "Search: a, probability 0.640 = φa 0.240 + aφ 0.240 + aa 0.160",
        "Best path: φφ, probability 0.360; it reads ∅, whose paths have 0.360 in all",
    ]
    assert said[2].endswith("all paths of a together are more probable than all paths of the best path’s text.")


def test_a_beam_that_is_too_narrow() -> None:
    """ab ties for the third place of the second frame, is dropped, and appears again without most of its paths."""
    narrow, wide = (explain_search(THREE, labels=ABC[:3], beam_width=width) for width in (3, 4))
    assert [c.tokens for c in narrow.steps[2].dropped] == [(1, 2), (2, 1)]
    assert narrow.steps[2].dropped[0].ctc == pytest.approx(narrow.steps[2].beam[2].ctc)
    assert narrow.best is not None
    assert wide.best is not None
    assert (narrow.best.text.tokens, wide.best.text.tokens) == ((1,), (1, 2))
    assert math.exp(wide.best.ctc) == pytest.approx(0.232)
    assert "the beam was too narrow" in str(narrow)
    assert str(wide).endswith("Both give the same text.")


# With a language


@pytest.mark.parametrize("recombine", [False, True])
def test_parts_add_up_and_ranks_are_by_them(recombine: bool) -> None:
    shown = with_language(recombine=recombine)
    told = set()
    for step in shown.steps[1:]:
        ranked = [c for c in (*step.beam, *step.dropped) if c.rank is not None]
        assert [c.rank for c in ranked] == [*range(1, len(ranked) + 1)]
        for candidate in (*step.beam, *step.dropped):
            assert candidate.ctc + sum(candidate.parts) == pytest.approx(candidate.score, abs=1e-12)
            told |= {name for name, nats in candidate.parts._asdict().items() if nats}
            assert (candidate.like is None) == (candidate.rank is not None)
            if candidate.like is not None:
                better = next(c for c in ranked if c.tokens == candidate.like)
                assert better.score >= candidate.score
                assert better.tokens[-1:] == candidate.tokens[-1:]
    assert told == {"language", "words", "hotwords", "lookahead"}
    assert any(c.ctc_rank != c.rank for step in shown.steps for c in step.beam)
    assert any(c.like for step in shown.steps for c in step.dropped) == recombine
    for found in shown.found:
        assert found.ctc + sum(found.parts) == pytest.approx(found.score, abs=1e-12)
        assert found.parts.lookahead == 0
    said = str(shown)
    assert "language −" in said
    assert "by CTC" in said
    assert ("“like x”: recombined" in said) == recombine


def test_it_finds_what_the_decoder_finds() -> None:
    """With the same language; of its best texts, those that the explanation lists."""
    vocabulary = Vocabulary(["φ", " ", "a", "b"], 0)
    decoder = Decoder(vocabulary, lexicon=["a", "ab", "ba"], unknown_score=-3.0, beam_width=4, exact_scores=False)
    for seed in range(5):
        log_probs, hotwords = scores(seed, 6), {"ba": 2.0}
        shown = explain_search(log_probs, decoder, hotwords=hotwords, beam_width=4)
        found = decoder.decode(log_probs, nbest=4, hotwords=hotwords)[0]
        assert [f.text.tokens for f in shown.found] == [tuple(h.tokens) for h in found]
        assert [f.score for f in shown.found] == pytest.approx([h.score for h in found], abs=1e-12)
        assert [sum(f.parts[2:]) for f in shown.found] == pytest.approx([h.hotword_score for h in found], abs=1e-12)


def test_a_language_that_allows_nothing() -> None:
    vocabulary = Vocabulary(["φ", " ", "a", "b"], 0)
    shown = explain_search(scores(0, 3), Decoder(vocabulary, lexicon=["aaaa"]), beam_width=2)
    assert shown.best is None
    assert "found=nothing" in repr(shown)
    assert "The search finds nothing" in str(shown)


# Texts


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_text_lines_up_and_says_what_is_dropped(lang: str) -> None:
    said = str(explain_search(scores(3, 4), labels=ABC, lang=lang))
    steps = said.split("\n\n")[1]
    assert steps.count("\nt") == 4
    for frame in steps.split("\nt")[1:]:
        rows = frame.split("\n")
        assert ("kept: 3; dropped:" if lang == "en" else "保留 3 个；落选：") in frame
        assert sum(" + " in row for row in rows) == len({row for row in rows if " + " in row}) >= 4
    assert bool(re.search("[\u4e00-\u9fff]", said)) == (lang == "zh")


def test_small_numbers_and_many_frames() -> None:
    shown = explain_search(scores(0, 40, 30), beam_width=12)
    said = str(shown)
    assert "Frames 1 to 12 of 40 are printed" in said
    assert "\nt12\n" in said
    assert "\nt13\n" not in said
    assert "4 more in the beam" in said
    assert re.search(r"\d\.\d×10⁻[¹²³⁴⁵⁶⁷⁸⁹]", said)


def test_labels_of_several_letters_are_told_apart() -> None:
    shown = explain_search(scores(0, 3), labels=["φ", "th", " ", "e"])
    assert shown.text([1, 2, 3]) == "th ␣ e"
    assert explain_search(THREE, labels=["φ", " ", "b"]).text([2, 1, 2]) == "b␣b"
    assert shown.text([]) == "∅"


def test_languages_differ_in_nothing_but_words() -> None:
    shown = explain_search(THREE, labels=ABC[:3])
    other = shown.in_language("zh")
    assert other.steps == shown.steps
    assert other.lang == "zh"
    assert "前缀搜索" in str(other)
    assert shown.in_language("en").__class__ is SearchExplanation


# Pictures

matplotlib = pytest.importorskip("matplotlib", reason="pictures need matplotlib")

CASES = {
    "two frames": lambda lang: explain_search(TWO_FRAMES, labels=["φ", "a"], lang=lang),
    "three frames": lambda lang: explain_search(THREE, labels=ABC[:3], lang=lang),
    "many": lambda lang: explain_search(scores(0, 40, 30), beam_width=12, lang=lang),
    "long labels": lambda lang: explain_search(
        scores(0, 3), labels=["<blank>", "<a very long one>", "$x$", "한국어"], lang=lang
    ),
    "one frame, one prefix": lambda lang: explain_search(scores(0, 1), beam_width=1, lang=lang),
    "no frames": lambda lang: explain_search(np.zeros((0, 3)), lang=lang),
    "zeros": lambda lang: explain_search(scores(1, zeros=True), labels=ABC, lang=lang),
    "impossible": lambda lang: explain_search(np.full((2, 2), -np.inf), lang=lang),
    "language": lambda lang: with_language(lang=lang),
    "recombined": lambda lang: with_language(lang=lang, recombine=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", CASES)
def test_nothing_is_cut_off_or_overlaps(name: str, lang: str) -> None:
    picture = CASES[name](lang).tree()
    check_texts(picture)
    svg = picture.svg()
    assert texts(svg)
    assert svg == CASES[name](lang).tree().svg()
    assert bool(re.search("[\u4e00-\u9fff]", svg)) == (lang == "zh")


def test_what_the_tree_shows() -> None:
    shown = explain_search(THREE, labels=ABC[:3])
    seen = texts(shown.tree().svg())
    assert {"start", "t₁", "t₂", "t₃", "φ 0.300\u2003a 0.400", "1st", "2nd", "3rd", "4th", "7th"} <= set(seen)
    for step in shown.steps[1:]:
        for candidate in (*step.beam, *step.dropped):
            assert shown.text(candidate.tokens) in seen
            assert f"{math.exp(candidate.ctc):.3f}" in seen
        for candidate in step.beam:
            for way in candidate.ways:
                label = ("+ " if way.grows else "") + ABC[way.token]
                assert f"{label} {math.exp(way.score):.3f}" in seen
    assert seen.count("ab") == 2  # once in grey
    assert "it finds a" in shown.tree().name


def test_a_long_search_is_drawn_in_windows() -> None:
    shown = explain_search(scores(0, 40, 30), beam_width=12)
    seen = texts(shown.tree(30).svg())
    assert "Frames 31 to 36 of 40 are shown." in seen
    assert {"t₃₀", "t₃₁", "t₃₆"} <= set(seen)
    assert not {"start", "t₂₉", "t₃₇"} & set(seen)
    assert seen.count("6 more in the beam") == 7
    assert texts(shown.tree(39).svg()).count("t₄₀") == 1


def test_a_tree_is_saved_in_every_format(tmp_path: Path) -> None:
    picture = explain_search(TWO_FRAMES, labels=["φ", "a"]).tree()
    for suffix, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("html", b"<!doctype")):
        picture.save(tmp_path / f"x.{suffix}")
        assert (tmp_path / f"x.{suffix}").read_bytes().startswith(magic)
    assert not re.search(r"(?<!, )#1f2429", picture.svg(themed=True))


# Wrong input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beam_width": 0}, "beam_width = 0: expected an integer of at least 1"),
        ({"beam_width": 2.5}, "beam_width = 2.5: expected an integer"),
        ({"recombine": "yes"}, "recombine = 'yes'"),
        ({"lang": "fr"}, "lang = 'fr' is unknown"),
        ({"blank": 3}, "blank = 3 is not a class"),
        ({"blank": None}, "blank = None: expected the blank's class; a search can't do without one"),
        ({"labels": ["φ", "a"]}, "C=3 classes and there are 2 labels"),
        ({"decoder": Decoder(["φ", "a"])}, "C=3 classes and there are 2 labels"),
        ({"decoder": Decoder(ABC[:3]), "blank": 1}, "blank = 1: expected 0, that of the vocabulary"),
        ({"decoder": Decoder(ABC[:3]), "labels": ABC[:3]}, "labels and decoder are both given"),
        ({"decoder": ABC[:3]}, "decoder has type .*: expected a Decoder; labels go to labels="),
        ({"decoder": Decoder(ABC[:3]), "hotwords": 3}, "hotwords"),
        ({"labels": ABC[:3], "hotwords": ["ab"]}, "hotwords are given without a decoder"),
        ({"log_probs": THREE[:, None].repeat(2, 1)}, r"log_probs has shape \(3, 2, 3\)"),
        ({"log_probs": np.exp(THREE)}, "log_probs are probabilities"),
        ({"log_probs": np.full((2, 2), np.nan)}, r"log_probs\[0, 0\] = nan"),
        ({"log_probs": np.full((2, 2), -np.inf), "from_logits": True}, r"logits\[0\] are all -inf"),
        ({"log_probs": np.full((500, 300), -5.7), "beam_width": 7}, r"at most 1,000,000 of T \* C \* beam_width"),
    ],
)
def test_messages(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ctckit.CTCError, match=message):
        explain_search(**({"log_probs": THREE} | arguments))


@pytest.mark.parametrize("first", [-1, 3, 1.5, True])
def test_frames_that_are_not_there(first: Any) -> None:
    with pytest.raises(ctckit.CTCError, match=r"first = .*: expected the first frame to be drawn, 0\.\.2"):
        explain_search(THREE).tree(first)


def test_a_search_is_saved_as_a_page(tmp_path: Path) -> None:
    with pytest.raises(ctckit.CTCError, match=r"saved as a page, \.html; a picture of it is saved by its own save"):
        explain_search(THREE).save(tmp_path / "x.svg")
