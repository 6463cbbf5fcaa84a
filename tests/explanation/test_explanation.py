"""The numbers of `explain` against the enumeration of all paths; its text; and its error messages."""

import math
import unicodedata

import numpy as np
import pytest
from oracles import collapse, enumerate_ctc, log_softmax

import ctckit
from ctckit.explanation import Explanation, Path, explain, explain_word
from ctckit.kernels import reference

B = [[-2.2892, -0.1069], [-1.6550, -0.2121]]


def random_explanation(
    seed: int, frames: int, target: list[int], *, blank: int = 0, zeros: bool = False
) -> Explanation:
    rng = np.random.default_rng(seed)
    log_probs = log_softmax(rng.normal(size=(frames, 4)) * 2).astype(float)
    if zeros:
        log_probs[rng.random(log_probs.shape) < 0.2] = -np.inf
    return explain(log_probs, target, blank=blank)


@pytest.mark.parametrize("target", [[], [1], [1, 1], [1, 2, 1], [2, 2, 2], [3, 1, 1]], ids=str)
@pytest.mark.parametrize("frames", [1, 3, 5, 6])
@pytest.mark.parametrize("zeros", [False, True], ids=["", "zeros"])
def test_against_enumeration(frames: int, target: list[int], zeros: bool) -> None:
    e = random_explanation(frames, frames, target, zeros=zeros)
    truth = enumerate_ctc(e.log_probs, target, 0)
    assert e.path_count == truth.count
    assert e.score == pytest.approx(truth.score, rel=1e-13)
    np.testing.assert_allclose(e.gamma, truth.states, atol=1e-13)
    np.testing.assert_allclose(e.grad, -truth.classes, atol=1e-13)
    assert len(e.paths) == truth.count  # so few are all listed
    assert [path.score for path in e.paths] == sorted((path.score for path in e.paths), reverse=True)
    for path in e.paths:
        emitted = tuple(int(e.lattice.labels[k]) for k in path.states)
        assert collapse(emitted, 0) == tuple(target)
        assert path.score == pytest.approx(sum(e.log_probs[t, c] for t, c in enumerate(emitted)), rel=1e-13)
    assert len({path.states for path in e.paths}) == truth.count
    if truth.score > -math.inf:
        assert sum(path.share for path in e.paths) == pytest.approx(1, rel=1e-12)
        assert e.best_path is not None
        assert e.best_path.score == pytest.approx(truth.best, rel=1e-13)


def test_alpha_and_beta_meet_in_the_total() -> None:
    e = random_explanation(0, 9, [1, 2, 2, 3])
    for t in range(e.frames):
        assert np.logaddexp.reduce(e.alpha[t] + e.beta[t]) == pytest.approx(e.score, rel=1e-13)
    np.testing.assert_allclose(np.exp(e.alpha + e.beta - e.score), e.gamma, atol=1e-13)


def test_costs_less_entropy_are_the_loss() -> None:
    e = random_explanation(1, 7, [1, 2, 2])
    shares = np.array([path.share for path in e.paths])
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    assert entropy > 0.1
    assert e.entropy == pytest.approx(entropy, rel=1e-9)
    assert sum(state.cost for state in e.state_costs) - entropy == pytest.approx(e.loss, rel=1e-9)
    assert sum(state.frames for state in e.state_costs) == pytest.approx(e.frames)
    assert [state.peak for state in e.state_costs] == [int(e.gamma[:, k].argmax()) for k in range(7)]


def test_gradients() -> None:
    e = explain(B, [1], from_logits=True)
    np.testing.assert_allclose(e.grad, [[0.01775, -0.01775], [0.01598, -0.01598]], atol=5e-6)
    np.testing.assert_allclose(np.exp(e.log_probs).sum(axis=1), 1)
    of_log_probs = explain(log_softmax(np.array(B)).astype(float), [1]).grad
    np.testing.assert_allclose(of_log_probs, [[-0.08360, -0.91640], [-0.17512, -0.82488]], atol=5e-6)


def test_words() -> None:
    assert (explain_word("cat", 6).path_count, explain_word("see", 6).path_count) == (84, 28)
    assert explain_word("see").frames == 6
    e = explain_word("空白", 4)
    assert e.labels == ("φ", "空", "白")
    assert e.text(e.target) == "空白"
    assert e.state_names == ("φ₁", "空", "φ₃", "白", "φ₅")


def test_many_paths_give_the_best_and_the_count() -> None:
    e = random_explanation(2, 40, [1, 2, 3, 3, 1])
    assert e.path_count == math.comb(40 + 5 - 1, 10)
    assert len(e.paths) == 8
    everything = reference.best_paths(e.lattice, e.log_probs[:, e.lattice.labels], 300)
    assert [path.states for path in everything[:8]] == [path.states for path in e.paths]
    assert len({path.states for path in everything}) == 300


def test_best_paths_of_a_long_and_flat_input_come_at_once() -> None:
    """All paths are equal: a breadth-first search over ties would never end."""
    lattice = ctckit.ctc_lattice(np.arange(1, 60))
    paths = reference.best_paths(lattice, np.full((400, lattice.num_states), -1.5), 5)
    assert [path.score for path in paths] == [-600.0] * 5
    assert len({path.states for path in paths}) == 5


def test_infeasible() -> None:
    e = explain_word("see", 3)
    assert (e.loss, e.path_count, e.paths, e.best_path, e.frames_needed) == (math.inf, 0, (), None, 4)
    assert not e.grad.any()
    assert not e.gamma.any()
    assert e.entropy == 0
    assert "No path of 3 frames spells see: it needs 4" in str(e)


@pytest.mark.parametrize(("frames", "target"), [(0, []), (0, [1]), (3, [])])
def test_nothing_to_read(frames: int, target: list[int]) -> None:
    e = explain(np.full((frames, 2), math.log(0.5)), target)
    assert e.path_count == (0 if target else 1)
    assert e.loss == (math.inf if target else frames * math.log(2))
    assert f"T = {frames}" in str(e)


def test_what_is_passed() -> None:
    torch = pytest.importorskip("torch", reason="tensors need torch")
    tensor = torch.tensor(B, requires_grad=True)
    assert explain(tensor, [1]).loss == pytest.approx(0.0196190, abs=1e-6)
    assert explain(torch.tensor(B).bfloat16(), torch.tensor([1]).numpy()).frames == 2
    assert explain(np.array(B)[:, None], [1]).frames == 2
    labels = ["a", "b"]
    e = explain(np.zeros((3, 3)), "ba", labels=labels, blank=2, from_logits=True)
    assert (e.target, e.labels, labels) == ((1, 0), ("a", "b", "φ"), ["a", "b"])
    assert explain(np.zeros((3, 4)), "shes", labels=["φ", "s", "sh", "e"], from_logits=True).target == (2, 3, 1)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([[0.0, np.nan]], [1]), {}, r"log_probs\[0, 1\] = nan: expected a finite number, or -inf"),
        (([[0.0, np.inf]], [1]), {}, r"log_probs\[0, 1\] = inf"),
        ((np.zeros((2, 3, 4)), [1]), {}, r"log_probs has shape \(2, 3, 4\): expected \(T, C\), one sample"),
        (([[0.0], [0.0, 1.0]], [1]), {}, "not a rectangular array"),
        ((B, [2]), {}, r"targets\[0\] = 2 is not a class"),
        ((B, [0]), {}, "is the blank"),
        ((B, [1]), {"blank": 5}, "blank = 5 is not a class"),
        ((B, [1]), {"labels": ["a", "b", "c"]}, "the scores have C=2 classes and there are 3 labels"),
        ((np.zeros((2, 4)), [1]), {"labels": ["_", "a", "b"]}, "C=4 classes and there are 3 labels: .* pass blank=3"),
        ((B, [1]), {"labels": ["a", "b"]}, "the blank can't be told from the 2 labels"),
        ((B, [1]), {"labels": ["a", 7]}, r"labels\[1\] = 7 has type int: expected a string"),
        ((B, "x"), {"labels": ["φ", "a"]}, "target has 'x', which the labels can't spell: expected some of 'a'"),
        ((B, [1]), {"lang": "fr"}, "lang = 'fr' is unknown: expected one of 'en', 'zh'"),
    ],
)
def test_messages(arguments, options, message: str) -> None:
    with pytest.raises(ctckit.CTCError, match=message):
        explain(*arguments, **options)


def test_a_word_needs_frames() -> None:
    with pytest.raises(ctckit.CTCError, match="frames = -1: expected a number of frames"):
        explain_word("a", -1)


def columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_text_shows_the_numbers_in_columns(lang: str) -> None:
    text = str(explain(B, [1], lang=lang))
    for number in ("−2.2892", "−0.1069", "−0.21214", "−1.76190", "0.0196190046", "74.13 %"):
        assert number in text
    assert "α2(1) = log y2(1) + logsumexp(α1(1), α1(φ₁)) = −0.21210 + logsumexp(−0.10690, −2.28920) = −0.21214" in text
    wide = str(explain_word("空a", 3, lang=lang)).split("\n\n")
    table = wide[1].split("\n")[1:]
    assert len({columns(line) for line in table}) == 1  # the header has a wide character, the numbers have none


def test_large_text_stays_short() -> None:
    e = explain(np.zeros((200, 30)), list(range(1, 25)), from_logits=True)
    text = str(e)
    assert len(text) < 6000
    assert "too many to print" in text


def test_repr_and_language() -> None:
    e = explain(B, [1])
    assert repr(e) == "Explanation(target='1', T=2, C=2, loss=0.019619, paths=3)"
    assert e.in_language("zh").lang == "zh"
    assert "损失" in str(e.in_language("zh"))
    assert isinstance(e.paths[0], Path)


def test_a_page_is_saved_whole_or_not_at_all(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    e = explain(B, [1])
    with pytest.raises(ctckit.CTCError, match=r"saved as a page, \.html; a picture of it is saved by its own save"):
        e.save(tmp_path / "x.svg")
    with pytest.raises(ctckit.CTCError, match="can't be written: No such file or directory"):
        e.save(tmp_path / "missing" / "x.html")
    e.save(tmp_path / "x.html")
    before = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert before.startswith("<!doctype html>") or before.startswith("<!DOCTYPE html>")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ctckit.CTCError, match="No space left on device"):
        e.save(tmp_path / "x.html")
    assert [file.name for file in tmp_path.iterdir()] == ["x.html"]
    assert (tmp_path / "x.html").read_text(encoding="utf-8") == before


def test_scores_above_zero_and_all_equal() -> None:
    """Scores passed as log-probabilities may be anything; ties must not make the search endless."""
    e = explain(np.full((60, 3), 1000.1), [1, 2, 1, 2])
    assert len(e.paths) == 8
    assert [path.score for path in e.paths] == pytest.approx([60006.0] * 8)


@pytest.mark.parametrize("target", [[[1, 2]], np.array([[1, 2]])], ids=["list", "array"])
def test_the_target_of_a_batch_of_one(target) -> None:
    assert explain(np.zeros((4, 3)), target, from_logits=True).target == (1, 2)


def test_a_frame_without_a_possible_class_is_named() -> None:
    logits = np.zeros((3, 2))
    logits[1] = -np.inf
    with pytest.raises(ctckit.CTCError, match=r"logits\[1\] are all -inf: expected a finite one"):
        explain(logits, [1], from_logits=True)


def test_every_path_impossible_is_not_no_path() -> None:
    e = explain(np.full((5, 3), -np.inf), [1, 2])
    assert (e.loss, e.path_count, len(e.paths)) == (math.inf, 35, 35)


def test_labels_without_a_form_of_their_own() -> None:
    e = explain(np.zeros((4, 4)), [1, 2, 3], labels=["φ", "a\nb", "\x07", "\udcff"], from_logits=True)
    assert e.labels == ("φ", "a�b", "�", "�")


def test_very_many_paths_are_counted_in_few_letters() -> None:
    from dataclasses import replace

    e = replace(explain(B, [1]), path_count=10**5000)
    assert "paths=1.00 × 10⁵⁰⁰⁰" in repr(e)
    assert "paths: 1.00 × 10⁵⁰⁰⁰" in str(e)


def test_bfloat16_is_looked_at_like_the_others() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    scores = np.array([[-0.5, -1.0], [-0.7, np.nan]], np.float32)
    for dtype in (np.float32, bfloat16):
        with pytest.raises(ctckit.CTCError, match=r"log_probs\[1, 1\] = nan"):
            ctckit.explain(scores.astype(dtype), [1])


@pytest.mark.parametrize("classes", [2, 7, 400])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_probabilities_and_costs_are_refused(classes: int, dtype: type) -> None:
    logits = np.random.default_rng(classes).normal(size=(12, classes)) * 3
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    log_probs[3, 1:] = -np.inf
    log_probs[3, 0] = 0
    explain(log_probs.astype(dtype), [1])
    explain(logits + logits.min(), [1], from_logits=True)  # logits may all be below 0
    explain(5 * np.eye(classes), [1], from_logits=True)  # and at least 0
    with pytest.raises(ctckit.CTCError, match="log_probs are probabilities, each frame's add up to 1"):
        explain(np.exp(log_probs).astype(dtype), [1])
    finite = np.delete(log_probs, 3, axis=0)
    for from_logits in (False, True) if classes > 2 else (False,):  # costs of two classes look like logits
        with pytest.raises(ctckit.CTCError, match="are negated log-probabilities, at least 0"):
            explain(-finite.astype(dtype), [1], from_logits=from_logits)
