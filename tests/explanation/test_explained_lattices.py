"""Explanations of lattices other than CTC's: numbers by enumeration of all paths, and what pictures and text say."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from support.pictures import texts

from ctckit import Arc, CTCError, Lattice, ctc_lattice, explain
from ctckit.explanation import Explanation

LABELS = ["φ", "c", "a", "t", "g"]
LATTICES = {
    "no blank": ctc_lattice([1, 2, 3]).without_blank(),
    "selfless": ctc_lattice([1, 2, 2]).selfless(),
    "minimal": ctc_lattice([1, 2, 2]).minimal(),
    "optional": ctc_lattice([1, 2, 3]).with_optional([0, 7, 0]),
    "optional at the end": ctc_lattice([1, 2, 3]).with_optional([1, 0, 2]),
    "costs": ctc_lattice([1, 2]).with_costs(0.5),
    "scores": ctc_lattice([1, 2, 3]).with_costs([0, -0.25, 0.5, 0, math.inf, 0, 1]).with_long_arcs([(1, 5)], [-2.5]),
    "gaps": ctc_lattice([1, 2]).minimal().with_gaps([0, 4, 0]),
    "stars": ctc_lattice([1, 2]).with_stars(4, 0.5, before=False, after=False),
    "bypass": ctc_lattice([1, 2]).with_bypass([1, 2], 4, -2.0),
    "wildcards": ctc_lattice([1]).with_wildcards(4),
    "two states a token": Lattice([1, 1, 2], [11, 3, 19], tokens=[0, 0, 1]),
    "no tokens": Lattice([1, 2], [11, 19]),
}


class Enumerated(NamedTuple):
    """All paths of a lattice, added up."""

    scores: list[float]
    total: float
    gamma: np.ndarray


def moves(lattice: Lattice, source: int, to: int) -> list[float]:
    """What each arc between two states adds to a path's score: bits, then long arcs."""
    cost = 0.0 if lattice.entry_costs is None else float(lattice.entry_costs[to])
    bit = {0: Arc.STAY, 1: Arc.STEP, 2: Arc.SKIP}.get(to - source, 0)
    found = [-cost if to > source else 0.0] if lattice.arcs[to] & bit else []
    far = zip(lattice.long_arcs.tolist(), lattice.long_arc_scores.tolist(), strict=True)
    return found + [score - cost for arc, score in far if arc == [source, to]]


def enumerated(lattice: Lattice, log_probs: np.ndarray) -> Enumerated:
    """By its definition: every sequence of states, times the arcs between neighbours."""
    frames, gamma, scores = len(log_probs), np.zeros((len(log_probs), lattice.num_states)), []
    weighted = []
    for states in itertools.product(range(lattice.num_states), repeat=frames):
        if not (lattice.arcs[states[0]] & Arc.START and lattice.arcs[states[-1]] & Arc.END):
            continue
        begin = 0.0 if lattice.entry_costs is None else -float(lattice.entry_costs[states[0]])
        emitted = math.fsum(log_probs[t, lattice.labels[k]] for t, k in enumerate(states))
        for arcs in itertools.product(*(moves(lattice, *pair) for pair in pairwise(states))):
            scores.append(emitted + begin + math.fsum(arcs))
            weighted.append((states, scores[-1]))
    total = float(np.logaddexp.reduce([-math.inf, *scores]))
    for states, score in weighted:
        gamma[range(frames), states] += math.exp(score - total) if total > -math.inf else 0
    return Enumerated(sorted(scores, reverse=True), total, gamma)


def explained(name: str, frames: int = 5, lang: str = "en", *, from_logits: bool = True) -> Explanation:
    logits = np.random.default_rng(frames).normal(size=(frames, 5))
    return explain(logits, lattices=LATTICES[name], labels=LABELS, from_logits=from_logits, lang=lang)


@pytest.mark.parametrize("name", LATTICES)
@pytest.mark.parametrize("frames", [1, 3, 5])
def test_numbers(name: str, frames: int) -> None:
    e = explained(name, frames)
    truth = enumerated(e.lattice, e.log_probs)
    assert e.path_count == len(truth.scores)
    assert e.score == pytest.approx(truth.total, rel=1e-12)
    np.testing.assert_allclose(e.gamma, truth.gamma, atol=1e-12)
    assert [path.score for path in e.paths] == pytest.approx(truth.scores, rel=1e-12)
    for path in e.paths:
        emitted = sum(e.log_probs[t, c] for t, c in enumerate(e.lattice.labels[list(path.states)]))
        assert path.score - emitted == pytest.approx(path.weight, abs=1e-12)
    by_class = np.zeros(e.grad.shape)
    for k, label in enumerate(e.lattice.labels):
        by_class[:, label] += truth.gamma[:, k]
    expected = np.exp(e.log_probs) - by_class if e.path_count else 0
    np.testing.assert_allclose(e.grad, np.broadcast_to(expected, e.grad.shape), atol=1e-12)
    if e.path_count:
        shares = np.array([math.exp(score - truth.total) for score in truth.scores])
        entropy = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        assert e.entropy == pytest.approx(entropy, abs=1e-9)
        assert sum(state.cost for state in e.state_costs) - entropy == pytest.approx(e.loss, rel=1e-9)


def test_paths_along_parallel_arcs_have_their_own_weights() -> None:
    e = explain(np.zeros((2, 2)), lattices=ctc_lattice([1]).with_long_arcs([(0, 1)], [-3.0]), from_logits=True)
    twins = [path for path in e.paths if path.states == (0, 1)]
    assert [path.weight for path in twins] == [0.0, -3.0]
    assert twins[0].score - twins[1].score == pytest.approx(3, rel=1e-12)


@pytest.mark.parametrize("name", LATTICES)
def test_frames_needed(name: str) -> None:
    e = explained(name)
    feasible = [frames for frames in range(8) if explained(name, frames).path_count]
    assert e.frames_needed == min(feasible)


def test_no_path_at_all() -> None:
    e = explain(np.zeros((3, 2)), lattices=Lattice([1, 0], [Arc.START, Arc.END]), from_logits=True)
    assert (e.frames_needed, e.path_count, e.loss) == (None, 0, math.inf)
    assert "frames needed: –" in str(e)
    assert "No path of the lattice has 3 frames" in str(e)


def test_which_lattice_is_ctcs() -> None:
    logits = np.zeros((5, 5))
    for target in ([], [1, 2, 3], [1, 1]):
        plain = explain(logits, target, from_logits=True)
        assert plain.is_ctc
        same = explain(logits, lattices=ctc_lattice(target).with_costs(0), from_logits=True)
        assert same.is_ctc
        assert (same.loss, same.paths, same.target) == (plain.loss, plain.paths, plain.target)
        assert str(same) == str(plain)
    assert not any(explained(name).is_ctc for name in LATTICES)


def test_targets() -> None:
    assert explained("selfless").target == (1, 2, 2)
    assert explained("two states a token").target == (1, 2)
    assert (explained("no tokens").target, explained("no tokens").spelling) == ((), "ca")
    second_left_out = Lattice([1, 0, 3], [11, 3, 23], tokens=[0, -1, 2])
    e = explain(np.zeros((4, 5)), lattices=second_left_out, labels=LABELS, from_logits=True)
    assert e.text(e.target) == "c*t"
    assert e.alignment().svg()


def test_no_class_is_the_blank() -> None:
    """A recogniser without a blank keeps the names of all its classes."""
    lattice = Lattice([0, 1, 2], [11, 3, 19], tokens=[0, 1, 2])
    e = explain(np.zeros((5, 3)), lattices=lattice, labels=["c", "a", "t"], blank=None, from_logits=True)
    assert (e.labels, e.spelling, e.path_count) == (("c", "a", "t"), "cat", math.comb(4, 2))
    for draw in (e.inputs, e.example_paths, e.computation, e.occupancy, e.gradient, e.alignment):
        assert not any("φ" in text for text in texts(draw().svg()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "target is missing: expected the classes of the tokens"),
        ({"target": [1], "lattices": LATTICES["costs"]}, "target and lattices are both given: expected one of them"),
        ({"target": [1], "blank": None}, "blank = None: expected the blank's class; only a lattice"),
        ({"lattices": ctc_lattice([5])}, r"labels\[1\] = 5 is not a class"),
        ({"lattices": ctc_lattice([-1])}, r"labels\[1\] = -1 is not a class"),
        ({"lattices": [1]}, r"lattices\[0\] is a int: expected a ctckit.Lattice; build one"),
        ({"lattices": LATTICES["no blank"], "blank": 5}, "blank = 5 is not a class"),
    ],
)
def test_messages(options: dict[str, object], message: str) -> None:
    with pytest.raises(CTCError, match=message):
        explain(np.zeros((3, 5)), **options)  # type: ignore[arg-type]


# --- what is seen -----------------------------------------------------------------------------------------------------


def test_text() -> None:
    text = str(explained("scores", 3))
    assert text.startswith("Loss of cat = [1, 2, 3] on a lattice")
    assert "Entering a state costs, in nats: c −0.25, φ₃ 0.50, φ₅ ∞, φ₇ 1.00" in text
    assert "Long arcs: c → t (−2.50)" in text
    assert "α1(c) = log y1(c) + 0.25000 = " in text
    assert "α2(t) = log y2(t) + logsumexp(" in text
    assert "α1(c) − 2.50000)" in text
    assert "进入状态的代价" in str(explained("scores", 3, "zh"))


@pytest.mark.parametrize("name", LATTICES)
def test_printed_formulas_are_right(name: str) -> None:
    """Each α is what its printed terms come to."""
    e = explained(name, 3)
    lines = [line for line in str(e).split("\n") if line.startswith("  α")]
    assert len(lines) == (e.alpha > -math.inf).sum()
    for line in lines:
        *_, terms, result = line.replace("−∞", "-math.inf").replace("∞", "math.inf").replace("−", "-").split(" = ")
        if terms.startswith("log y"):  # the emission alone
            continue
        found = eval(terms, {"math": math, "logsumexp": lambda *terms: float(np.logaddexp.reduce(terms))})
        assert found == pytest.approx(float(result), abs=3e-5), line


@pytest.mark.parametrize("name", LATTICES)
def test_costs_of_tokens_and_of_the_rest(name: str) -> None:
    e = explained(name)
    table = str(e).split("\n\n")[4].split("\n")[2:]
    rows = [line.split()[0] for line in table]
    tokens = [e.state_names[k] for k in np.flatnonzero(e.lattice.tokens >= 0)]
    between = dict.fromkeys(e.state_labels[k] for k in np.flatnonzero(e.lattice.tokens < 0))
    assert rows == [*tokens, *between]
    assert sum(float(line.split()[1].replace("−", "-")) for line in table) == pytest.approx(
        e.loss + e.entropy, abs=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", LATTICES)
def test_pictures(name: str, lang: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    e = explained(name, lang=lang)
    assert e.rules() == ()
    for draw in (e.inputs, e.example_paths, e.computation, e.occupancy, e.gradient, e.alignment, e.graph):
        picture = draw()
        assert texts(picture.svg())
        assert "CTC" not in picture.name
    shown = texts(e.computation().svg())
    assert any(f"{e.loss:.10f}" in text for text in shown)
    assert any(text.startswith(("Entering a state costs", "进入状态的代价")) for text in shown) == (
        name in ("costs", "scores", "stars", "bypass")
    )
    count = "such paths" if lang == "en" else "条这样的路径"
    assert any(count in text and f" {e.path_count} " in text for text in texts(e.example_paths().svg()))


def test_infeasible_pictures() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    e = explained("no blank", 2)
    assert e.loss == math.inf
    for draw in (e.example_paths, e.computation, e.alignment, e.occupancy, e.gradient):
        assert any("No path of the lattice has 2 frames" in text for text in texts(draw().svg())), draw


@pytest.mark.parametrize("frames", [4, 40])
def test_pictures_of_an_impossible_target(frames: int) -> None:
    """All paths have probability 0: the pictures say so, show no path, and name none the best."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    logits = np.zeros((frames, 5))
    logits[:, 2] = -math.inf
    e = explain(logits, [1, 2], labels=LABELS, from_logits=True)
    for draw in (e.example_paths, e.computation, e.alignment, e.occupancy, e.gradient):
        seen = " ".join(texts(draw().svg()))
        assert "have probability 0: some token is impossible" in seen, draw
        assert "Example paths" not in seen
        assert "best path" not in seen
    assert "have probability 0" in str(e)
    if frames == 4:  # α as far as it goes
        assert f"{e.alpha[0, 1]:.5f}".replace("-", "−") in texts(e.computation().svg())


def test_a_path_s_tokens_lie_over_their_own_frames() -> None:
    """Two states of one token are one span, and a token that was left out has none."""
    from matplotlib.figure import Figure

    scores = np.full((4, 5), -9.0)
    scores[[0, 1, 2, 3], [1, 1, 2, 2]] = 0
    for lattice, spans in (
        (LATTICES["two states a token"], [(0.6, 2.4), (2.6, 4.4)]),
        (LATTICES["optional"], [(0.6, 2.4), (2.6, 4.4)]),
    ):
        scores[[2, 3]] = scores[[2, 3]][:, [0, 1, 3, 2, 4]] if lattice is LATTICES["optional"] else scores[[2, 3]]
        e = explain(scores, lattices=lattice, labels=LABELS, from_logits=True)
        axes = e.alignment(ax=Figure().subplots())
        drawn = [tuple(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
        assert drawn == spans


def test_the_alignment_shows_what_each_state_emits() -> None:
    """The classes of all of a token's states, those of gaps, and frames as wide as they are, the first and last too."""
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    lattice = Lattice([1, 2, 4, 3], [11, 3, 3, 19], tokens=[0, 0, -1, 1])
    scores = np.full((4, 5), -9.0)
    scores[range(4), [1, 2, 4, 3]] = 0
    e = explain(scores, lattices=lattice, labels=LABELS, from_logits=True)
    axes = e.alignment(ax=Figure().subplots())
    spans = [(tuple(line.get_xdata()), to_hex(line.get_color())) for line in axes.lines]
    assert [place for place, _ in spans] == [(t + 0.6, t + 1.4) for t in range(4)]
    assert len({color for _, color in spans}) == 4
    assert {text.get_text() for text in axes.texts} == {"c", "a", "g", "t"}
    curves = {to_hex(curve.get_edgecolor()): curve for curve in axes.patches[1:]}
    for (place, color), label in zip(spans, (1, 2, 4, 3), strict=True):
        values, edges, _ = curves[color].get_data()
        np.testing.assert_array_equal(values, np.exp(e.log_probs[:, label]))
        assert (edges[0], edges[-1]) == axes.get_xlim() == (0.5, 4.5), place
    assert "dashed: g" in axes.get_title(loc="left")


def test_the_table_of_costs_names_what_is_in_it() -> None:
    """Its sum is the loss and the entropy, and arcs are part of it only where they cost something."""
    assert "plus the expected costs of the arcs into it (entropy" in str(explained("costs"))
    assert "summed over frames (entropy" in str(explained("selfless"))
    assert "进入该状态的弧的期望代价" in str(explained("scores", lang="zh"))


def test_nothing_is_cut_off_or_overlaps() -> None:
    """A long target is broken into lines, and long labels get wider columns and one place for each arrow."""
    e = explain(np.zeros((3, 12)), np.arange(60) % 11 + 1, from_logits=True)
    joined = " ".join(texts(e.inputs().svg()))
    assert str(list(e.target)) in joined
    assert "…" not in joined
    names = ["φ", "<begin>", "<a very long one>"]
    drawn = explain(np.zeros((4, 3)), [1, 2], labels=names, from_logits=True).example_paths()
    figure = drawn.figure
    figure.draw_without_rendering()
    boxes = [
        text.get_window_extent() for text in figure.axes[0].texts if text.get_text() in ("<begin>", "<a very long…")
    ]
    assert len(boxes) > 3
    spans = explain(np.zeros((4, 3)), [1, 2], labels=names, from_logits=True).alignment().figure.axes[0].texts
    assert [text.get_text() for text in spans] == ["<begin>", "<a␣very␣lon…"]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))


def test_counts_of_one_and_of_nothing() -> None:
    e = explain(np.zeros((2, 2)), [], from_logits=True)
    assert "The only path collapses to ∅" in " ".join(texts(e.example_paths().svg()))
    assert "the only path\n" in str(e)
    assert str(e).startswith("CTC loss of ∅ = []")
    none = explain(np.zeros((0, 2)), [], from_logits=True)
    assert any(
        "the empty path is the only one. loss = 0.0000000000" in text for text in texts(none.computation().svg())
    )
    one = explain(np.zeros((2, 2)), lattices=ctc_lattice([1]).without_blank(), from_logits=True)
    assert "S = 1 token" in texts(one.inputs().svg())


def test_labels_of_several_letters_are_told_apart() -> None:
    labels = ["φ", "11", "1", "2", " "]
    e = explain(np.zeros((4, 5)), [1, 4, 3], labels=labels, from_logits=True)
    assert (e.spelling, e.spelled(e.paths[0])) == ("11 ␣ 2", e.joined([e.state_labels[k] for k in e.paths[0].states]))
    assert "11 11 ␣ 2" in {e.spelled(path) for path in e.paths}
    assert "“11 11” without a blank" in "".join(
        texts(explain(np.zeros((4, 5)), [1, 1], from_logits=True, labels=labels).rules()[2].svg())
    )
    assert explain(np.zeros((4, 5)), [2, 3], labels=labels, from_logits=True).spelling == "12"  # no need here
