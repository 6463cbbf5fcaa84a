"""Forced alignment on arrays: paths against the enumeration of all paths, and what is reported about them."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import combinations, groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import all_paths, best_by_reading, enumerate_ctc, log_softmax
from support.batches import draw
from support.lattices import enumerated

import ctckit
import ctckit.lattice.topologies
from ctckit import STAR, Alignment, Arc, CTCError, InfeasibleError, Lattice, ctc_lattice, forced_align
from ctckit.adapters import ctc_segmentation_form

Array = np.ndarray[Any, Any]

# Sums of a dozen numbers of order one, in float64 as in the kernels.
EXACT = {"rtol": 1e-13, "atol": 1e-13}

TARGETS = [(), (1,), (2,), (1, 1), (1, 2), (2, 1), (1, 1, 1), (1, 2, 1), (2, 2, 1)]


def scores_of(seed: int, frames: int, classes: int = 3) -> Array:
    return np.asarray(log_softmax(np.random.default_rng(seed).normal(size=(frames, classes)) * 2).astype(np.float64))


def ties(seed: int, frames: int, classes: int = 3) -> Array:
    """Small integers, so that many paths have exactly the same sum."""
    return np.random.default_rng(seed).integers(-2, 1, (frames, classes)).astype(np.float64)


def read_from_its_end(walk: tuple[int, ...]) -> tuple[int, ...]:
    return walk[::-1]


def assert_whole(alignment: Alignment, log_probs: Array, target: list[int], blank: int) -> None:
    """Everything in an alignment follows from its states."""
    size = len(target)
    labels = [blank if k % 2 == 0 else target[k // 2] for k in alignment.states.tolist()]
    assert alignment.labels.tolist() == labels
    assert alignment.target.tolist() == target
    if STAR not in target:
        assert alignment.frame_scores.tolist() == log_probs[range(len(labels)), labels].tolist()
    assert alignment.score == pytest.approx(math.fsum(alignment.frame_scores), rel=1e-13, abs=1e-13)
    frames = [np.flatnonzero(alignment.states == 2 * s + 1) for s in range(size)]
    assert alignment.starts.tolist() == [f[0] if len(f) else -1 for f in frames]
    assert alignment.ends.tolist() == [f[-1] + 1 if len(f) else -1 for f in frames]
    means = [alignment.frame_scores[f].mean() if len(f) else math.nan for f in frames]
    np.testing.assert_allclose(alignment.token_scores, means, **EXACT)
    assert [span.index for span in alignment.spans()] == [s for s in range(size) if len(frames[s])]
    for span in alignment.spans():
        assert (span.token, span.start, span.end) == (target[span.index], frames[span.index][0], span.end)
        assert span.end - span.start == len(frames[span.index])
        assert span.score == pytest.approx(means[span.index])


# --- against enumeration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [0, 2], ids=["blank first", "blank last"])
@pytest.mark.parametrize("kind", [scores_of, ties])
def test_the_best_path(instruction_set: str, kind: Any, blank: int) -> None:
    compared = 0
    for frames in range(1, 7):
        log_probs = kind(frames, frames)
        for tokens in TARGETS:
            target = [token if blank == 0 else token - 1 for token in tokens]
            truth = enumerate_ctc(log_probs, target, blank)
            (found,) = forced_align(log_probs, target, blank=blank, on_infeasible="mark")
            assert found.found == (truth.best > -np.inf)
            if not found.found:
                assert (found.score, len(found.states), found.starts.tolist()) == (-np.inf, 0, [-1] * len(target))
                continue
            compared += 1
            assert found.score == pytest.approx(truth.best, rel=1e-13)
            assert tuple(found.states.tolist()) == min(truth.best_states, key=read_from_its_end)
            assert_whole(found, log_probs, target, blank)
            gamma = truth.states[range(frames), found.states]
            means = [gamma[a:b].mean() for a, b in zip(found.starts, found.ends, strict=True)]
            np.testing.assert_allclose(found.confidence, means, rtol=1e-12)
    assert compared > 35


# TensorFlow's example of five frames and six classes, on which torchaudio tests its own.
GRAVES = [
    [0.633766, 0.221185, 0.0917319, 0.0129757, 0.0142857, 0.0260553],
    [0.111121, 0.588392, 0.278779, 0.0055756, 0.00569609, 0.010436],
    [0.0357786, 0.633813, 0.321418, 0.00249248, 0.00272882, 0.0037688],
    [0.0663296, 0.643849, 0.280111, 0.00283995, 0.0035545, 0.00331533],
    [0.458235, 0.396634, 0.123377, 0.00648837, 0.00903441, 0.00623107],
]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ([0, 1, 2, 1, 0], [0, 1, 2, 1, 0]),
        ([0, 1, 1, 0], [0, 1, 5, 1, 0]),
        ([0, 1], [0, 1, 1, 1, 1]),
        ([2], [2, 2, 2, 2, 2]),
        ([0, 1, 0], [0, 1, 1, 1, 0]),
    ],
)
def test_golden_paths(instruction_set: str, target: list[int], labels: list[int]) -> None:
    """The paths are found by enumeration."""
    log_probs = np.log(GRAVES)
    assert enumerate_ctc(log_probs, target, 5).best == pytest.approx(log_probs[range(5), labels].sum())
    for dtype in ("float64", "float32"):
        (found,) = forced_align(log_probs.astype(dtype), target, blank=5)
        assert found.labels.tolist() == labels
        np.testing.assert_allclose(found.frame_scores, log_probs[range(5), labels], rtol=1e-6)


GROUPED = [
    ((1, 2), (1, 0)),
    ((1, 2), (0, 1)),
    ((1, 2), (1, 2)),
    ((1, 2), (1, 1)),
    ((1, 2, 1), (0, 1, 0)),
    ((1, 2, 2), (0, 1, 0)),
    ((1, 2, 1), (1, 1, 0)),
    ((2, 2, 1), (0, 1, 1)),
    ((1, 2, 1), (1, 2, 3)),
    ((1, 2, 1), (3, 0, 3)),
    ((1, 1, 1), (5, 0, 0)),
]


@pytest.mark.parametrize(("target", "groups"), GROUPED)
@pytest.mark.parametrize("kind", [scores_of, ties])
def test_optional_tokens_walk_their_lattice(
    instruction_set: str, kind: Any, target: tuple[int, ...], groups: tuple[int, ...]
) -> None:
    lattice = ctc_lattice(target).with_optional(groups)
    for frames in range(1, 6):
        log_probs = kind(frames, frames)
        truth, _ = enumerated(lattice, log_probs)
        (found,) = forced_align(log_probs, target, optional=groups, on_infeasible="mark")
        assert found.score == pytest.approx(truth.best, rel=1e-13)
        if truth.best_states:
            assert tuple(found.states.tolist()) == min(truth.best_states, key=read_from_its_end)
            assert_whole(found, log_probs, list(target), 0)


def runs_of(groups: list[int]) -> list[int]:
    """For each token the index of its run of equal groups; -1 for a token that must be there."""
    runs, run = [], 0
    for s, group in enumerate(groups):
        run += s > 0 and group != groups[s - 1]
        runs.append(run if group > 0 else -1)
    return runs


def choices(groups: list[int]) -> list[list[int]]:
    """Which tokens remain, for each set of runs that are kept."""
    runs = runs_of(groups)
    own = sorted(set(runs) - {-1})
    kept = [{-1, *some} for count in range(len(own) + 1) for some in combinations(own, count)]
    return [[s for s, run in enumerate(runs) if run in some] for some in kept]


@settings(max_examples=150)
@given(st.data())
def test_the_best_of_all_choices(data: st.DataObject) -> None:
    """Tokens that may be left out, and stars: the best plain alignment of all targets that may be meant."""
    target = data.draw(st.lists(st.sampled_from([1, 2, STAR]), min_size=1, max_size=5))
    groups = data.draw(st.lists(st.integers(0, 3), min_size=len(target), max_size=len(target)))
    frames, cost = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([0.0, 0.5, 3.0]))
    once = data.draw(st.sampled_from([0.0, 2.0, 8.0]))  # for a star in a run without other tokens
    log_probs = scores_of(data.draw(st.integers(0, 99)), frames)
    wide = np.column_stack((log_probs, log_probs.max(axis=1) - cost))
    readings = best_by_reading(wide, 0)
    runs = runs_of(groups)
    spelled = {-1} | {run for run, token in zip(runs, target, strict=True) if token != STAR}
    best = -math.inf
    for left in choices(groups):
        reading = tuple(3 if target[s] == STAR else target[s] for s in left)
        alone = sum(runs[s] not in spelled for s in left)
        best = max(best, readings.get(reading, -math.inf) - once * alone)
    (found,) = forced_align(
        log_probs, target, optional=groups, star_cost=cost, optional_star_cost=once, on_infeasible="mark"
    )
    assert found.frame_scores.sum() == pytest.approx(found.score if found.found else 0, rel=1e-13)
    assert found.score == pytest.approx(best, rel=1e-13)
    if found.found:
        assert_whole(found, log_probs, target, 0)
        assert np.flatnonzero(found.starts >= 0).tolist() in choices(groups)


@settings(max_examples=100)
@given(st.data())
def test_neighbours_are_passed_by_in_portions(data: st.DataObject) -> None:
    """Between two portions that are left out lies a blank: the best of all paths that have these blanks."""
    target = data.draw(st.lists(st.sampled_from([1, 2]), min_size=2, max_size=6))
    groups = data.draw(st.lists(st.integers(0, 5), min_size=len(target), max_size=len(target)))
    frames, portion = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 2))
    log_probs = scores_of(data.draw(st.integers(0, 99)), frames)
    runs = runs_of(groups)
    best = -math.inf
    for left in choices(groups):
        # The blanks that must lie between two remaining tokens.
        gone = [len(set(runs[a + 1 : b])) for a, b in pairwise(left)]
        needed = [max(math.ceil(count / portion) - 1, 0) for count in gone]
        for path in all_paths(frames, 3, [target[s] for s in left], 0):
            blanks = [len(list(run)) if label == 0 else -1 for label, run in groupby(path)]
            inner = "".join("t" if n < 0 else "b" * n for n in blanks).strip("b").split("t")[1:-1]
            if all(len(there) >= least for there, least in zip(inner, needed, strict=True)):
                best = max(best, math.fsum(log_probs[range(frames), path]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ctckit.lattice.topologies, "AT_ONCE", portion)
        (found,) = forced_align(log_probs, target, optional=groups, on_infeasible="mark")
    assert found.score == pytest.approx(best, rel=1e-13)


def test_confidence_of_a_choice_is_that_of_what_is_left(instruction_set: str) -> None:
    log_probs = scores_of(5, 6)
    log_probs[:, 2] -= 9
    (found,) = forced_align(log_probs, [1, 2, 1], optional=[0, 4, 0])
    assert found.starts.tolist()[1] == -1
    truth = enumerate_ctc(log_probs, [1, 1], 0).states
    spans = list(zip(found.starts, found.ends, strict=True))
    means = [truth[slice(*spans[s]), state].mean() for s, state in ((0, 1), (2, 3))]
    np.testing.assert_allclose(found.confidence, [means[0], np.nan, means[1]], rtol=1e-12)
    np.testing.assert_allclose(found.token_scores[1], np.nan)
    assert [span.index for span in found.spans()] == [0, 2]


def test_nothing_to_leave_out() -> None:
    (found,) = forced_align(scores_of(0, 3), [], optional=[])
    assert found.states.tolist() == [0, 0, 0]


def test_a_star_takes_whatever_is_there(instruction_set: str) -> None:
    log_probs = np.log(np.full((7, 4), 0.01) + 0.96 * np.eye(4)[[0, 1, 3, 2, 3, 1, 0]])
    (found,) = forced_align(log_probs, [1, STAR, 1])
    assert found.labels.tolist() == [0, 1, STAR, STAR, STAR, 1, 0]
    np.testing.assert_allclose(found.frame_scores, np.log(0.97) - 0.5 * (found.labels == STAR))
    assert found.spans()[1][:4] == (1, STAR, 2, 5)
    assert 0 < found.confidence[1] < 1
    (dear,) = forced_align(log_probs, [1, STAR, 1], star_cost=9)
    assert (dear.labels == STAR).sum() == 1


def test_a_star_in_logits(instruction_set: str) -> None:
    logits = np.random.default_rng(1).normal(size=(6, 4)) * 3 + 7
    for target in ([1, STAR, 2], [STAR]):
        (found,) = forced_align(logits, target, from_logits=True)
        (same,) = forced_align(log_softmax(logits).astype(float), target)
        assert found.states.tolist() == same.states.tolist()
        np.testing.assert_allclose(found.frame_scores, same.frame_scores)
        np.testing.assert_allclose(found.confidence, same.confidence)


# --- spans ------------------------------------------------------------------------------------------------------------


def along(path: str, target: str) -> Alignment:
    """The alignment along this path: '.' for φ, a letter for its token."""
    letters = "." + "".join(sorted(set(target)))
    log_probs = np.log(np.full((len(path), len(letters)), 1e-3))
    log_probs[range(len(path)), [letters.index(c) for c in path]] = -0.01
    return forced_align(log_probs, [letters.index(c) for c in target])[0]


def drawn(alignment: Alignment, extend: int) -> str:
    """The spans as text."""
    frames = ["."] * len(alignment.states)
    for span in alignment.spans(extend):
        frames[span.start : span.end] = [str(span.index)] * (span.end - span.start)
    return "".join(frames)


@pytest.mark.parametrize(
    ("extend", "spans"),
    [
        (0, "...00.....1....2.33."),
        (1, "..0000...111..222333"),
        (2, ".000000.111112222333"),
        (9, "00000000111112222333"),
    ],
)
def test_spans_meet_in_the_middle(extend: int, spans: str) -> None:
    assert drawn(along("...aa.....b....c.dd.", "abcd"), extend) == spans


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=5),
    st.integers(0, 5),
    st.integers(0, 4),
)
def test_extended_spans_frame_by_frame(runs: list[tuple[int, int]], rest: int, extend: int) -> None:
    letters = "abcde"
    path = (
        "".join("." * gap + letter * frames for letter, (gap, frames) in zip(letters, runs, strict=False)) + "." * rest
    )
    found = along(path, letters[: len(runs)])
    expected = [str(letters.index(c)) if c != "." else c for c in path]
    for t, c in enumerate(path):
        if c != ".":
            continue
        before = t - max((i for i in range(t) if path[i] != "."), default=-99)  # frames from the token before, from 1
        after = min((i for i in range(t, len(path)) if path[i] != "."), default=999) - t
        if before <= extend and before <= after:
            expected[t] = str(letters.index(path[t - before]))
        elif after <= extend and after < before:
            expected[t] = str(letters.index(path[t + after]))
    assert drawn(found, extend) == "".join(expected)
    assert [span.score for span in found.spans(extend)] == pytest.approx([-0.01] * len(runs))


@pytest.mark.parametrize("extend", [20, 2**31, 10**30])
def test_spans_grow_no_further_than_the_frames(extend: int) -> None:
    assert drawn(along("...aa.....b...", "ab"), extend) == drawn(along("...aa.....b...", "ab"), 14)


@pytest.mark.parametrize("extend", [-1, 1.5, math.nan, "2"])
def test_frames_to_extend_by(extend: Any) -> None:
    with pytest.raises(CTCError, match="expected a number of frames, at least 0"):
        along("..a..", "a").spans(extend)


def test_a_span_of_nothing() -> None:
    (found,) = forced_align(np.zeros((3, 2)), [])
    assert found.spans(2) == []
    with pytest.raises(CTCError, match="extend = -1: expected a number of frames, at least 0"):
        found.spans(-1)


# --- batches ----------------------------------------------------------------------------------------------------------


def assert_same(found: Alignment, other: Alignment) -> None:
    """Bit for bit."""
    for name in ("target", "states", "labels", "frame_scores", "starts", "ends", "token_scores", "confidence"):
        np.testing.assert_array_equal(getattr(found, name), getattr(other, name), name)
    np.testing.assert_array_equal(found.score, other.score)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("options", [False, True], ids=["tokens", "options"])
def test_a_sample_does_not_depend_on_its_batch(instruction_set: str, dtype: str, options: bool) -> None:
    batch = draw(3, 40, 5, 6, 9, blank=2)
    scores, targets = batch.scores.astype(dtype), batch.targets.copy()
    groups = None
    if options:
        batch.lengths[:] = batch.lengths.clip(1)  # a star in each: without one, a sample is not normalised beforehand
        targets[:, 0] = STAR
        groups = np.tile([0, 1, 1, 0, 2, 3, 0, 0, 4], (5, 1))
    together = forced_align(scores, targets, *batch.arguments[1:3], 2, from_logits=True, optional=groups)
    assert len(together) == 5
    assert together.found.all()
    assert [a.score for a in together] == together.score.tolist()
    for n, (frames, length) in enumerate(zip(batch.frames, batch.lengths, strict=True)):
        own = None if groups is None else groups[n, :length]
        (alone,) = forced_align(scores[:frames, n], targets[n, :length], blank=2, from_logits=True, optional=own)
        assert_same(together[n], alone)
        assert len(alone.states) == frames
        assert alone.target.tolist() == targets[n, :length].tolist()
    for threads in (1, 2):
        ctckit.set_num_threads(threads)
        again = forced_align(scores, targets, *batch.arguments[1:3], 2, from_logits=True, optional=groups)
        for n in range(5):
            assert_same(again[n], together[n])


def test_targets_end_to_end() -> None:
    batch = draw(4, 30, 4, 5, 6)
    flat = np.concatenate([batch.sample(n)[1] for n in range(4)])
    lengths = batch.lengths
    rows, ends = (
        forced_align(batch.scores, targets, batch.frames, lengths, from_logits=True)
        for targets in (batch.targets, flat)
    )
    groups = np.arange(len(flat)) % 3
    padded = np.zeros(batch.targets.shape, int)
    for n, end in enumerate(lengths.cumsum()):
        padded[n, : lengths[n]] = groups[end - lengths[n] : end]
    with_rows, with_ends = (
        forced_align(batch.scores, targets, batch.frames, lengths, from_logits=True, optional=optional)
        for targets, optional in ((batch.targets, padded), (flat, groups))
    )
    for n in range(4):
        assert_same(rows[n], ends[n])
        assert_same(with_rows[n], with_ends[n])


def test_lengths_that_are_not_given() -> None:
    batch = draw(5, 20, 3, 5, 6, ragged=False)
    given_, found = (
        forced_align(batch.scores, batch.targets, *lengths, from_logits=True)
        for lengths in ((batch.frames, batch.lengths), ())
    )
    for n in range(3):
        assert_same(found[n], given_[n])
    with pytest.raises(CTCError, match="target_lengths is missing"):
        forced_align(batch.scores, batch.targets.ravel(), batch.frames, from_logits=True)
    gamma, all_of_it = (
        ctckit.posteriors(batch.scores, batch.targets, *lengths, from_logits=True).states
        for lengths in ((batch.frames, batch.lengths), ())
    )
    assert np.array_equal(gamma, all_of_it)
    (alone,) = forced_align(batch.scores[:, 0], batch.targets[0], from_logits=True)
    assert_same(alone, given_[0])
    alone_gamma = ctckit.posteriors(batch.scores[:, 0], batch.targets[0], from_logits=True).states
    assert np.array_equal(alone_gamma, gamma[:, 0])


def test_slices() -> None:
    batch = draw(5, 20, 3, 5, 6)
    found = forced_align(batch.scores, *batch.arguments[:3], from_logits=True)
    assert [a.score for a in found[1:]] == found.score[1:].tolist()
    assert found[-1] is found[2]


def test_alignments_go_to_other_processes() -> None:
    batch = draw(5, 20, 3, 5, 6)
    found = forced_align(batch.scores, *batch.arguments[:3], from_logits=True)
    assert found[0] != found[1]  # comparing arrays would raise
    for made in (pickle.loads(pickle.dumps(found)), copy.deepcopy(found), [copy.deepcopy(a) for a in found]):
        for one, other in zip(made, found, strict=True):
            assert one.spans(1) == other.spans(1)
            np.testing.assert_array_equal(one.confidence, other.confidence)
            assert (one.score, one.states.tolist()) == (other.score, other.states.tolist())


# --- dtypes and layouts -----------------------------------------------------------------------------------------------


def separated(seed: int = 0, frames: int = 24, classes: int = 6, blank: int = 0) -> tuple[Array, list[int]]:
    """Unambiguous log-probabilities that every dtype holds exactly, and their target."""
    rng = np.random.default_rng(seed)
    path = [blank, 1, 1, blank, 1, 2, 3, blank, blank, 4, 3, 3]
    path = path + [blank] * (frames - len(path))
    log_probs = -8 + rng.integers(0, 9, (frames, classes)) * 0.125
    log_probs[range(frames), path] = -0.25
    return log_probs, [1, 1, 2, 3, 4, 3]


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", ">f4"])
def test_dtypes(instruction_set: str, dtype: str, from_logits: bool) -> None:
    log_probs, target = separated()
    (truth,) = forced_align(log_probs, target, from_logits=from_logits)
    given_dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    (found,) = forced_align(log_probs.astype(given_dtype), target, from_logits=from_logits)
    assert found.states.tolist() == truth.states.tolist()
    assert found.score == pytest.approx(truth.score, rel=1e-5, abs=1e-5)
    np.testing.assert_allclose(found.frame_scores, truth.frame_scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.confidence, truth.confidence, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_tensors(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    log_probs, target = separated()
    tensor = torch.tensor(log_probs, dtype=getattr(torch, dtype), requires_grad=True)
    (truth,) = forced_align(log_probs, target)
    (found,) = forced_align(tensor, torch.tensor(target))
    assert found.states.tolist() == truth.states.tolist()
    (optional,) = forced_align(tensor, torch.tensor(target), optional=torch.zeros(6, dtype=torch.int64))
    assert optional.states.tolist() == truth.states.tolist()


def test_layouts(instruction_set: str) -> None:
    log_probs, target = separated()
    (truth,) = forced_align(log_probs, target)
    for view in (np.asfortranarray(log_probs), np.repeat(log_probs, 2, axis=1)[:, ::2], log_probs[::-1].copy()[::-1]):
        assert_same(forced_align(view, target)[0], truth)


@pytest.mark.parametrize("blank", [0, 5])
def test_long_inputs_stay_exact(instruction_set: str, blank: int) -> None:
    """If one path is clearly the best, float32 finds the same path as float64 at any length."""
    rng = np.random.default_rng(blank)
    tokens = rng.integers(1, 5, 300)
    path = np.concatenate([np.repeat([blank, t], [rng.integers(1, 9), rng.integers(1, 3)]) for t in tokens])
    log_probs = np.full((len(path), 6), -9.0) + rng.integers(0, 16, (len(path), 6)) / 16
    log_probs[range(len(path)), path] = -0.125
    for dtype in ("float64", "float32"):
        (found,) = forced_align(log_probs.astype(dtype), tokens, blank=blank)
        assert found.labels.tolist() == path.tolist()
        assert found.score == pytest.approx(-0.125 * len(path), rel=1e-12)


# --- what has no path -------------------------------------------------------------------------------------------------


def test_too_few_frames(instruction_set: str) -> None:
    with pytest.raises(InfeasibleError) as raised:
        forced_align(np.zeros((3, 4)), [1, 2, 2])
    assert str(raised.value) == (
        "the target has no path: it has T=3 frames: expected at least 4, those of its shortest path; "
        "to mark it instead of raising an error, pass on_infeasible='mark'"
    )
    with pytest.raises(InfeasibleError, match=r"sample 1 has no path: it has T=3 frames: .*; 1 more has none;"):
        forced_align(np.zeros((4, 3, 4)), [[1, 2, 2]] * 3, [4, 3, 3], [3, 3, 3])
    with pytest.raises(InfeasibleError, match="T=2 frames: expected at least 3, those of its shortest path"):
        forced_align(np.zeros((2, 4)), [1, 2, 1, 3], optional=[0, 5, 0, 6])
    found = forced_align(np.zeros((4, 3, 4)), [[1, 2, 2]] * 3, [4, 3, 3], [3, 3, 3], on_infeasible="mark")
    assert found.found.tolist() == [True, False, False]
    lost = found[1]
    assert (lost.found, lost.score, lost.spans(1)) == (False, -np.inf, [])
    assert (lost.states.shape, lost.labels.shape, lost.frame_scores.shape) == ((0,), (0,), (0,))
    assert lost.starts.tolist() == lost.ends.tolist() == [-1] * 3
    assert np.isnan(lost.token_scores).all()
    assert np.isnan(lost.confidence).all()


def test_probabilities_of_zero(instruction_set: str) -> None:
    log_probs, target = separated()
    (truth,) = forced_align(log_probs, target)
    cut = np.where(log_probs > -1, log_probs, -np.inf)
    (found,) = forced_align(cut, target)
    assert found.states.tolist() == truth.states.tolist()
    assert found.confidence.tolist() == pytest.approx([1] * 6)
    cut[:, 4] = -np.inf
    with pytest.raises(InfeasibleError, match="none of its paths of T=24 frames has a probability above 0"):
        forced_align(cut, target)
    (optional,) = forced_align(cut[:4], [1, 4], optional=[0, 1])
    assert optional.starts.tolist() == [1, -1]


@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_nan_spoils_its_own_sample_only(instruction_set: str, poison: float) -> None:
    batch = draw(6, 12, 4, 5, 4, ragged=False)
    lengths = np.array([12, 12, 9, 12])
    truth = forced_align(batch.scores, batch.targets, lengths, from_logits=True)
    spoilt = batch.scores.copy()
    spoilt[5, 1, 3] = poison
    spoilt[9:, 2] = poison  # beyond its frames
    found = forced_align(spoilt, batch.targets, lengths, from_logits=True, on_infeasible="mark")
    assert found.found.tolist() == [True, False, True, True]
    assert np.isnan(found.score[1])
    assert np.isnan(found[1].confidence).all()
    for n in (0, 2, 3):
        assert_same(found[n], truth[n])
    with pytest.raises(InfeasibleError, match=r"sample 1 has no path: logits has NaN or \+inf in one of its 12 frames"):
        forced_align(spoilt, batch.targets, lengths, from_logits=True)
    starred = forced_align(
        spoilt, np.where([0, 0, 1, 0], STAR, batch.targets), lengths, from_logits=True, on_infeasible="mark"
    )
    assert starred.found.tolist() == [True, False, True, True]


def test_empty_targets_and_no_frames(instruction_set: str) -> None:
    (found,) = forced_align(np.log([[0.5, 0.5], [0.25, 0.75]]), [])
    assert found.labels.tolist() == [0, 0]
    assert found.score == pytest.approx(math.log(0.125))
    assert found.confidence.shape == found.token_scores.shape == (0,)
    (nothing,) = forced_align(np.zeros((0, 2)), [])
    assert (nothing.found, nothing.score, len(nothing.states)) == (True, 0, 0)
    found = forced_align(np.zeros((2, 2, 2)), [[1], [1]], [2, 0], [1, 0])
    assert [a.score for a in found] == [0, 0]
    assert found[1].spans() == []
    with pytest.raises(InfeasibleError, match="it has T=0 frames: expected at least 1"):
        forced_align(np.zeros((0, 2)), [1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_infeasible": "skip"}, "on_infeasible = 'skip' is unknown: expected one of 'raise', 'mark'"),
        ({"targets": [1, -2]}, "targets[1] = -2 is not a class"),
        ({"targets": [1, 0]}, "targets[1] = 0 is the blank"),
        ({"optional": [1.0, 1.0]}, "optional has dtype float64: expected integers"),
        ({"optional": [1]}, "optional has shape (1,): expected that of targets, a group for each token"),
        ({"optional": [[1, 1]]}, "optional has shape (1, 2): expected that of targets"),
        ({"targets": [1, STAR], "star_cost": -1.0}, "star_cost = -1.0: expected nats, from 0 to 1e+30"),
        ({"targets": [STAR], "optional": [1], "optional_star_cost": -1.0}, "optional_star_cost = -1.0: expected nats"),
        ({"targets": [1], "optional_star_cost": math.inf}, "optional_star_cost = inf: expected"),
        ({"targets": [1], "optional_star_cost": "8"}, "optional_star_cost = '8': expected nats"),
        ({"targets": [1], "star_cost": 10**400}, "star_cost = 1000"),
        ({"targets": [1], "star_cost": None}, "star_cost = None: expected nats"),
        ({"targets": [1, 2], "optional": [[[1, 0]]]}, "optional has shape (1, 1, 2): expected that of targets"),
        ({"targets": [1, 2], "optional": np.array([0, 2**63 + 5], np.uint64)}, "expected numbers up to 9223"),
        ({"targets": [1, STAR], "star_cost": math.nan}, "star_cost = nan: expected nats, from 0"),
        ({"blank": 9}, "blank = 9 is not a class"),
        ({"log_probs": None}, "log_probs has dtype object"),
        ({"log_probs": 0.0}, "log_probs has shape (): expected (T, N, C)"),
    ],
)
def test_messages(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CTCError) as raised:
        forced_align(**{"log_probs": np.zeros((4, 3)), "targets": [1, 2]} | arguments)
    assert message in str(raised.value)
    assert not isinstance(raised.value, InfeasibleError)


@pytest.mark.parametrize("optional", [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 2], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("cost", [0.0, 0.7])
def test_confidence_is_that_of_the_tokens_found_alone(optional: list[int], cost: float) -> None:
    """Whichever words were left out, and however the lattice allows that."""
    complete = 0
    for seed in range(12):
        scores = np.random.default_rng(seed).normal(size=(7, 5)) * 2
        lattice = ctc_lattice([1, 2, 3]).with_optional(optional).with_costs(cost)
        (found,) = forced_align(scores, lattices=lattice, from_logits=True)
        kept = found.starts >= 0
        complete += kept.all()
        gamma = ctckit.posteriors(scores, found.target[kept], from_logits=True).states
        own = zip(found.starts[kept], found.ends[kept], strict=True)
        expected = [gamma[a:b, 2 * s + 1].mean() for s, (a, b) in enumerate(own)]
        np.testing.assert_allclose(found.confidence[kept], expected, rtol=1e-11)
        assert np.isnan(found.confidence[~kept]).all()
    assert complete


def test_padding_is_no_star() -> None:
    """Even where it has the same number: such a batch takes the way of plain targets."""
    batch = draw(5, 20, 3, 5, 6)
    padded = np.where(np.arange(6) < batch.lengths[:, None], batch.targets, STAR)
    plain = forced_align(batch.scores, *batch.arguments[:3], from_logits=True)
    found = forced_align(batch.scores, padded, *batch.arguments[1:3], from_logits=True)
    assert (batch.lengths < 6).any()
    for n in range(3):
        assert_same(found[n], plain[n])
    with pytest.raises(CTCError, match=r"target_lengths\[0\] = 7 is out of range"):
        forced_align(batch.scores, padded, batch.frames, [7, 1, 1], from_logits=True)


def test_confidence_of_a_token_with_several_states() -> None:
    """The sum over the token's states, at each of its frames."""
    stay, step = int(Arc.STAY), int(Arc.STEP)
    arcs = [stay | int(Arc.START), stay | step, stay | step, step | stay | int(Arc.END)]
    lattice = Lattice([1, 1, 2, 2], arcs, tokens=[0, 0, 1, 1])
    scores = np.random.default_rng(0).normal(size=(7, 3))
    for from_logits in (False, True):
        found = forced_align(scores, lattices=lattice, from_logits=from_logits)[0]
        gamma = ctckit.posteriors(scores, lattices=lattice, from_logits=from_logits).states
        of_tokens = np.stack((gamma[:, :2].sum(axis=1), gamma[:, 2:].sum(axis=1)))
        for s in range(2):
            own = of_tokens[s, found.starts[s] : found.ends[s]]
            assert found.confidence[s] == pytest.approx(own.mean(), rel=1e-12)


def test_ctc_segmentations_form() -> None:
    """Times of tokens, scores of frames, and labels where tokens begin; with a star and tokens left out."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(14, 5)) * 3
    target, groups = [1, 2, 2, ctckit.STAR, 3], [0, 1, 1, 0, 0]
    alignment = ctckit.forced_align(logits, target, optional=groups, from_logits=True)[0]
    timings, scores, states = ctc_segmentation_form(alignment, ["_", "a", "b", "c", "d"], 0.04)
    assert len(timings) == 5
    assert len(states) == len(scores) == 14
    assert scores.sum() == pytest.approx(alignment.score)
    begun = [(round(time / 0.04), "_abcd*"[token]) for time, token in zip(timings, target, strict=True) if time >= 0]
    assert [(t, state) for t, state in enumerate(states) if state != "ε"] == begun
    with pytest.raises(ctckit.CTCError, match="frame_shift = 0"):
        ctc_segmentation_form(alignment, "_abcd", 0)
