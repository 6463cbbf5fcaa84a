"""The C++ search finds what the textbook's does, in every form of graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from support.searches import FORMS, Case, as_data, draw, letters

from ctckit import Status
from ctckit.kernels.search import native, reference

NEAR = 1e-12  # nats; texts whose scores differ by less may be in any order
CASES = 25  # of each form in the default run; the long test has the rest of about a thousand


def assert_alike(found: native.Found, truth: reference.Found, near: float = NEAR) -> None:
    """The same texts in the same order, with the same parts of their scores."""
    assert found.status == truth.status
    texts = [(tuple(text.tokens.tolist()), tuple(text.words.tolist())) for text in found.texts]
    by_text = {tuple(entry.prefix): entry for entry in truth.entries}
    assert set(texts) == set(by_text)
    assert len(texts) == len(by_text)
    for text, name, at_its_place in zip(found.texts, texts, truth.entries, strict=True):
        assert name == at_its_place.prefix or abs(by_text[name].score - at_its_place.score) < near
        entry = by_text[name]
        parts = entry.score, np.logaddexp(entry.blank, entry.token), entry.state.language, entry.state.hotwords
        np.testing.assert_allclose((text.score, text.ctc, text.language, text.hotwords), parts, rtol=0, atol=near)
        assert text.units == entry.state.units


@cache
def judged(form: str, seed: int, **options: Any) -> tuple[Case, reference.Found, bool]:
    """A random case, what the reference finds in it, and whether more than rounding decided that."""
    case = draw(seed, form)
    return case, *case.reference(**options)


def check_all(cases: Sequence[tuple[Case, reference.Found, bool]], **options: Any) -> None:
    """Cases that rounding decides are left out: fewer than a quarter."""
    decided = [(case, truth) for case, truth, is_decided in cases if is_decided]
    for case, truth in decided:
        assert_alike(case.native(**options), truth)
    assert len(decided) > 0.75 * len(cases)


def check(form: str, seeds: range, **options: Any) -> None:
    check_all([judged(form, seed, **options) for seed in seeds], **options)


@pytest.mark.parametrize("form", FORMS)
def test_random_cases(instruction_set: str, form: str) -> None:
    check(form, range(CASES))


@pytest.mark.long
@pytest.mark.parametrize("form", FORMS)
def test_a_thousand_random_cases(form: str) -> None:
    check(form, range(CASES, CASES + 270))


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3, 63, 64, 65, 255, 256, 257, 513, 20_000])
@pytest.mark.parametrize("spread", [1.0, 8.0])
def test_any_number_of_classes(classes: int, spread: float) -> None:
    """Scores are read in blocks, and the exponentials of few classes are all computed."""
    frames, width = (8, 10) if classes < 1000 else (3, 4)  # the reference tries every token
    scores = spread * np.random.default_rng(classes).normal(size=(frames, classes))
    case = Case(scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), letters(classes), width, False)
    truth, is_decided = case.reference()
    assert is_decided
    assert_alike(case.native(), truth)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beam_threshold", [0.5, 4.0])
def test_a_threshold_leaves_out_what_lies_below(form: str, beam_threshold: float) -> None:
    check(form, range(15), beam_threshold=beam_threshold)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("count", [1, 3])
def test_only_the_best_tokens_of_a_frame(form: str, count: int) -> None:
    check(form, range(15), tokens_per_frame=count)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_other_floats_are_searched_as_the_numbers_that_they_are(dtype: str) -> None:
    cases = []
    for seed, form in product(range(10), FORMS):
        case = draw(seed, form)
        given = exact = case.log_probs.astype(np.float32 if dtype == "bfloat16" else dtype)
        if dtype == "bfloat16":  # NumPy has no bfloat16, so its bits are integers
            bits = exact.view(np.uint32) & 0xFFFF0000
            given, exact = (bits >> 16).astype(np.uint16), bits.view(np.float32)
        cases.append((replace(case, log_probs=given), *replace(case, log_probs=exact.astype(np.float64)).reference()))
    check_all(cases)


@pytest.mark.parametrize("classes", [5, 70])
def test_logits_are_normalised(classes: int) -> None:
    rng = np.random.default_rng(classes)
    logits = rng.normal(size=(20, classes)) * 5
    logits[3, 2] = -np.inf
    case = Case(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True), letters(classes), 10, False)
    found = native.search(logits[:, None], np.array([20]), case.graph, 10, 10, from_logits=True)[0]
    assert_alike(found, case.reference()[0])
    logits[7] = -np.inf  # its softmax is NaN
    assert native.search(logits[:, None], np.array([20]), case.graph, 10, from_logits=True)[0].status == (
        Status.NOT_FINITE
    )


def test_any_layout_of_scores() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, 3, 6)).astype(np.float32)
    graph, lengths = letters(6), np.array([9, 0, 5])
    truth = of_samples(native.search(scores, lengths, graph, 8, 8))
    for array in (
        np.asfortranarray(scores),
        scores[::-1].copy()[::-1],
        np.repeat(scores, 2, axis=2)[..., ::2],
        np.ascontiguousarray(scores.transpose(2, 0, 1)).transpose(1, 2, 0),
    ):
        assert of_samples(native.search(array, lengths, graph, 8, 8)) == truth
    memory = np.frombuffer(b"0" + scores.tobytes(), np.uint8)
    unaligned = np.ndarray(scores.shape, scores.dtype, memory, 1)
    assert of_samples(native.search(unaligned, lengths, graph, 8, 8)) == truth


def of_samples(found: list[native.Found]) -> list[object]:
    return [(one.status, as_data(one.texts)) for one in found]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("beam_threshold", [np.inf, 3.0])
def test_samples_do_not_depend_on_each_other(form: str, beam_threshold: float) -> None:
    """Nor on the size of the beam of the sample before: some samples begin with frames of one token only."""
    rng = np.random.default_rng(1)
    case = draw(3, form)
    scores = rng.normal(size=(60, 12, case.graph.num_classes)) * 3
    lengths = rng.integers(0, 61, 12)
    for n, length in enumerate(lengths):
        if n % 2:
            sure = rng.integers(0, case.graph.num_classes, 20)
            scores[:20, n] = np.where(np.arange(case.graph.num_classes) == sure[:, None], 0, -np.inf)
        scores[length:, n] = np.nan  # never read
    options = {"recombine": case.recombine, "beam_threshold": beam_threshold}
    alone = [
        native.search(scores[:, n : n + 1], lengths[n : n + 1], case.graph, 50, 5, **options)[0] for n in range(12)
    ]
    for threads in (1, 2, 5):
        assert of_samples(native.search(scores, lengths, case.graph, 50, 5, threads=threads, **options)) == of_samples(
            alone
        )


@pytest.mark.parametrize("form", FORMS)
def test_a_beam_that_shrinks_and_grows(form: str) -> None:
    """Where the network is sure, few prefixes are within the threshold."""
    cases = []
    for seed in range(CASES):
        case = draw(seed, form)
        sure = np.random.default_rng(seed).random((-(-len(case.log_probs) // 4), 1)).repeat(4, 0) < 0.5
        case = replace(case, log_probs=case.log_probs * np.where(sure[: len(case.log_probs)], 8.0, 1.0))
        cases.append((case, *case.reference(beam_threshold=4.0)))
    check_all(cases, beam_threshold=4.0)


def test_ties_go_to_the_earlier() -> None:
    """Rows of equal scores: first those of the beam, then by parent and token."""
    for classes in (4, 70):
        rows = np.full((3, classes), -np.log(classes))
        found = native.search(rows[:, None], np.array([3]), letters(classes), 3, 3)[0].texts
        # In paths: "" 1, 1 1, 2 1 (3 1 and so on came later); "" 1, 1 3, 2 3; 1 6, 2 6, 12 3 (as 13, 21 and so on).
        assert [text.tokens.tolist() for text in found] == [[1], [2], [1, 2]]
        np.testing.assert_allclose([text.ctc + 3 * np.log(classes) for text in found], np.log([6, 6, 3]), atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("classes", [2, 9, 70])
def test_a_frame_that_is_no_number(classes: int, value: float) -> None:
    for place in (0, classes // 2, classes - 1):
        scores = np.zeros((12, 2, classes), np.float32)
        scores[10, 0, place] = value
        found = native.search(scores, np.array([12, 12]), letters(classes), 5)
        assert (found[0].status, found[0].texts) == (Status.NOT_FINITE, [])
        assert found[1].status == Status.OK
        assert native.search(scores, np.array([10, 12]), letters(classes), 5)[0].status == Status.OK


def test_no_path_is_left() -> None:
    scores = np.zeros((5, 1, 3))
    scores[2] = -np.inf
    found = native.search(scores, np.array([5]), letters(3), 5)[0]
    assert (found.status, found.texts) == (Status.IMPOSSIBLE, [])
    scores[4, 0, 1] = np.nan  # it is still read
    assert native.search(scores, np.array([5]), letters(3), 5)[0].status == Status.NOT_FINITE


def test_no_frames() -> None:
    found = native.search(np.empty((0, 1, 3)), np.array([0]), letters(3), 5)[0]
    assert [(text.tokens.tolist(), text.score) for text in found.texts] == [([], 0.0)]


@pytest.mark.parametrize("form", FORMS)
def test_what_is_possible_may_lie_far_below_the_best_of_a_frame(form: str) -> None:
    """A double cannot represent e^-1000: such frames are searched in logarithms."""
    compared = 0
    for seed in range(40):
        case = draw(seed, form, most_classes=8, most_width=8)
        if not len(case.log_probs):
            continue
        rng = np.random.default_rng(seed)
        rows = case.log_probs.copy()
        rows[rng.random(len(rows)) < 0.5] -= 1000 + rng.random()
        rows[rng.random(len(rows)) < 0.3, case.graph.blank] -= 2000
        far = replace(case, log_probs=rows)
        truth, is_decided = far.reference()
        scores = [entry.score for entry in truth.entries]
        if not is_decided or spread(far) > 600:  # see native.py
            continue
        compared += 1
        found = far.native()
        assert found.status == truth.status
        best = [text.score for text in found.texts[:1]]
        np.testing.assert_allclose(best, scores[:1], rtol=1e-14, atol=NEAR)
        assert [text.tokens.tolist() for text in found.texts] == [list(entry.prefix.tokens) for entry in truth.entries]
    assert compared >= 10


def spread(case: Case) -> float:
    """The largest difference of the scores in a beam, in nats."""
    found = [0.0]

    def watch(t: int, candidates: list[reference.Entry], beam: list[reference.Entry]) -> None:
        found.append(np.ptp([entry.score for entry in beam] or [0.0]))

    reference.search(case.log_probs, case.graph, case.beam_width, recombine=case.recombine, watch=watch)
    return max(found)


def test_a_token_s_frame_is_that_of_its_peak() -> None:
    scores = np.log(np.full((9, 4), 0.02) + 0.9 * np.eye(4)[[0, 0, 1, 0, 2, 2, 0, 2, 0]])
    for chunked in (False, True):
        graph = letters(4)
        if chunked:
            search = native.Search(graph, 20)
            for row in scores:
                search.feed(row[None])
            (text,) = search.texts()
        else:
            (text,) = native.search(scores[:, None], np.array([9]), graph, 20)[0].texts
        assert text.tokens.tolist() == [1, 2, 2]
        assert text.frames.tolist() == [2, 4, 7]


def test_weights_share_trees() -> None:
    case = next(c for c in (draw(seed, "words") for seed in range(50)) if c.graph.lexicon and c.graph.hotwords)
    for alpha in (0.0, 0.9):
        other = replace(case, graph=replace(case.graph, alpha=alpha))
        truth, is_decided = other.reference()
        assert is_decided
        assert_alike(other.native(), truth)
    assert case.graph.lexicon in native._lexicons
    assert len(native._hotwords[case.graph.hotwords]) == 1


def test_a_search_outlives_its_graph() -> None:
    case = draw(4, "tokens")
    truth = case.native()
    scores, graph = case.log_probs, case.graph
    search = native.Search(graph, case.beam_width, recombine=case.recombine)
    del case, graph
    search.feed(scores)
    assert of_samples([native.Found(search.status, search.texts(10**9))]) == of_samples([truth])
