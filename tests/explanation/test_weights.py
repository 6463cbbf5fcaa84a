"""What classes, states and arcs add to a path's score: in the numbers, the text and the pictures."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from support.pictures import check_texts, texts
from test_explained_lattices import LABELS, LATTICES, enumerated

import ctckit
from ctckit import CTCError, Lattice, ctc_lattice, explain
from ctckit.explanation import Explanation
from ctckit.explanation.wording import nats, signed

CLASS_SCORES = [-0.3, 0.25, 0.0, 0.0, -1.0]


def weighted(name: str, lang: str = "en") -> tuple[Explanation, np.ndarray, np.ndarray]:
    """A lattice with scores of classes and states, its scores, and those of its states."""
    lattice = ctc_lattice([1, 2]) if name == "CTC" else LATTICES[name]
    logits = np.random.default_rng(2).normal(size=(4, 5))
    states = np.round(np.random.default_rng(3).normal(size=lattice.num_states), 2)
    added = {"class_scores": CLASS_SCORES, "state_scores": states}
    return explain(logits, lattices=lattice, labels=LABELS, from_logits=True, lang=lang, **added), logits, states


@pytest.mark.parametrize("name", ["CTC", *LATTICES])
def test_numbers_with_added_scores(name: str) -> None:
    """Loss, posteriors and gradient are those of the library's other functions, and of an enumeration of all paths."""
    e, logits, states = weighted(name)
    added = {"class_scores": CLASS_SCORES, "state_scores": states}
    loss = ctckit.lattice_loss(logits, e.lattice, from_logits=True, reduction="sum", **added)
    assert e.loss == pytest.approx(loss, rel=1e-6)
    found = ctckit.posteriors(logits, lattices=e.lattice, from_logits=True, **added)
    np.testing.assert_allclose(e.gamma, found.states, atol=1e-6)
    by_state = Lattice(  # every state is a class of its own, so that its scores are part of the log-probabilities
        np.arange(e.lattice.num_states),
        e.lattice.arcs,
        e.lattice.tokens,
        e.lattice.entry_costs,
        e.lattice.long_arcs,
        e.lattice.long_arc_scores,
    )
    truth = enumerated(by_state, e.log_probs[:, e.lattice.labels] + np.array(CLASS_SCORES)[e.lattice.labels] + states)
    assert e.score == pytest.approx(truth.total, rel=1e-12)
    assert [path.score for path in e.paths] == pytest.approx(truth.scores, rel=1e-12)
    assert sum(state.cost for state in e.state_costs) - e.entropy == pytest.approx(e.loss, rel=1e-9)


def test_a_target_takes_them_too() -> None:
    log_probs = np.log([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.4, 0.3, 0.3]])
    delays = ctckit.delay_scores(ctc_lattice([1, 2]), 0.2)
    e = explain(log_probs, [1, 2], state_scores=delays)
    assert e.is_ctc
    np.testing.assert_allclose(e.gamma, ctckit.posteriors(log_probs, [1, 2], state_scores=delays).states, atol=1e-12)
    assert "Added to a state at every frame, in nats: φ₁ −0.20, 2 0.20, φ₅ 0.20" in str(e)
    assert any(text.startswith("Added to a state") for text in texts(e.inputs().svg()))
    assert "−(log_prob + score)" in str(e)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_scores": [0, 1]}, r"class_scores has shape \(2,\)"),
        ({"state_scores": np.zeros(4)}, r"state_scores has shape"),
        ({"class_scores": [0, math.nan, 0]}, r"class_scores\[1\]"),
    ],
)
def test_messages(options: dict[str, object], message: str) -> None:
    with pytest.raises(CTCError, match=message):
        explain(np.zeros((3, 3)), [1, 2], from_logits=True, **options)  # type: ignore[arg-type]


def columns(e: Explanation) -> dict[str, list[float]]:
    """What is written beside the states of a graph, by the head of its column."""
    drawn = [(*text.get_position(), text.get_text()) for text in e.graph().figure.axes[0].texts]
    heads = {x: text for x, y, text in drawn if text in ("entry", "each frame")}
    names = [(x, y) for x, y, text in drawn if text in LABELS]
    rows = {y: k for k, y in enumerate(sorted(y for _, y in names))}
    read = {head: [0.0] * e.lattice.num_states for head in ("entry", "each frame")}
    for x, y, text in drawn:
        if x in heads and y in rows:
            read[heads[x]][rows[y]] = float(text.replace("−", "-").replace("∞", "inf"))
    return read


@pytest.mark.parametrize("name", ["CTC", *LATTICES])
def test_a_path_s_score_can_be_read_from_the_graph(name: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    e, _, states = weighted(name)
    read, labels = columns(e), e.lattice.labels
    np.testing.assert_allclose(read["each frame"], states + np.array(CLASS_SCORES)[labels], atol=1e-9)
    far = {
        tuple(arc): score for arc, score in zip(e.lattice.long_arcs.tolist(), e.lattice.long_arc_scores, strict=True)
    }
    for path in e.paths:
        steps = list(pairwise((-1, *path.states)))
        entered = [k for source, k in steps if source != k]
        score = sum(e.log_probs[t, labels[k]] + read["each frame"][k] for t, k in enumerate(path.states))
        score += sum(read["entry"][k] for k in entered) + sum(far.get(step, 0.0) for step in steps)
        assert score == pytest.approx(path.score, abs=1e-9)
    shown = texts(e.graph().svg())
    assert all(signed(score) in shown for score in far.values() if score)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ["CTC", *LATTICES])
def test_nothing_covers_another_text(name: str, lang: str) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    e, *_ = weighted(name, lang)
    check_texts(e.graph())
    check_texts(e.example_paths())


def test_graphs_of_any_size() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    empty = explain(np.zeros((2, 2)), [], from_logits=True)
    assert "The lattice of ∅: 1 state" in texts(empty.graph().svg())
    large = explain(np.zeros((60, 30)), np.arange(1, 26), from_logits=True)
    assert "and 11 more states" in texts(large.graph().svg())
    names = explain(np.zeros((4, 3)), [1, 2], labels=["φ", "<begin>", "$x$"], from_logits=True).graph()
    assert {"<begin>", "$x$"} <= set(texts(names.svg()))
    check_texts(names)


def test_a_graph_says_only_what_there_is() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    seen = " ".join(texts(explain(np.zeros((3, 3)), [1, 2], from_logits=True).graph().svg()))
    assert "entry" not in seen
    assert "each frame" not in seen


def test_long_arcs_are_curves_and_name_their_scores() -> None:
    """Between two columns, where they cross no cell; the label says what the arc adds."""
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    from matplotlib.path import Path

    lattice = ctc_lattice([1, 2, 3]).with_costs([0, 0.5, 0, 0, 0, 0, 0]).with_long_arcs([(1, 5)], [2.5])
    e = explain(np.zeros((2, 5)), lattices=lattice, labels=LABELS, from_logits=True)
    picture = e.example_paths()
    assert {"entry", "−0.50", "t +2.50"} <= set(texts(picture.svg()))
    curves = [patch for patch in picture.figure.axes[0].patches if Path.CURVE4 in patch.get_path().codes]
    assert curves
    assert not {"entry", "each frame"} & set(
        texts(explain(np.zeros((2, 5)), [1], from_logits=True).computation().svg())
    )


def test_digits() -> None:
    assert [nats(x) for x in (0.5, 0.125, -0.0069, 1 / 3, math.inf, -2.0)] == [
        "0.50",
        "0.125",
        "−0.0069",
        "0.3333",
        "∞",
        "−2.00",
    ]


def test_a_star_has_the_name_that_labels_give_it() -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    lattice = ctc_lattice([1, 2]).with_stars(3, 0.5)
    log_probs = ctckit.with_star(np.log(np.full((4, 3), 1 / 3)))
    for labels, name in ((["φ", "c", "a", "★"], "★"), (None, "3")):
        e = explain(log_probs, lattices=lattice, labels=labels)
        assert texts(e.graph().svg()).count(name) == 3
        assert f"{name}₂ 0.50" in str(e)
