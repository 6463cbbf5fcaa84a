"""Faults of a whole batch: told apart from the data, said once, with numbers computed independently; no false alarm."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracles import textbook
from support.planted import KINDS, Arguments, alarms, draw_healthy, path_of, trained, untrained

import ctckit
from ctckit.diagnosis import Diagnosis, Finding, diagnose
from ctckit.kernels.reference import log_softmax

SHAPES: list[Arguments] = [
    {"seed": 1, "size": 4, "frames": 80, "classes": 9, "tokens": 14},
    {"seed": 2, "size": 8, "frames": 60, "classes": 30, "tokens": 12, "height": 14.0},
    {"seed": 3, "size": 16, "frames": 50, "classes": 6, "tokens": 9, "height": 6.0},
    {"seed": 4, "size": 3, "frames": 70, "classes": 400, "tokens": 10, "height": 12.0},
    {"seed": 5, "size": 6, "frames": 90, "classes": 40, "tokens": 20, "wrong": 0.15},
]
EACH = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"C{shape['classes']}")


def only(batch: Arguments, code: str, severity: str = "error", **options: Any) -> Finding:
    """The one finding of a batch beside notes; it can be shown in both languages."""
    found = diagnose(**batch, **options)
    assert alarms(found) == [(code, None)]
    finding = found.findings[0]
    assert finding.severity == severity
    assert re.search("[一-鿿].*[。？]$", finding.sentences("zh")[0])
    assert str(found)
    assert found._repr_html_()
    return finding


def note(found: Diagnosis, code: str) -> Finding:
    (finding,) = [finding for finding in found.findings if finding.code == code]
    assert finding.severity == "note"
    assert finding.message
    assert finding.sentences("zh")
    return finding


def per_token(batch: Arguments, targets: Any, blank: int) -> float:
    """The loss of other targets, by the textbook's recursion."""
    logs, frames = np.asarray(batch["log_probs"], np.float64), batch["input_lengths"]
    losses = [-textbook(logs[: frames[n], n], target, blank).score for n, target in enumerate(targets)]
    return sum(losses) / sum(map(len, targets))


class TestLabels:
    @EACH
    @pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
    def test_another_class_is_the_blank(self, shape: Arguments, dtype: str) -> None:
        last = shape["classes"] - 1
        batch = trained(**shape, blank=last)
        batch["targets"] = np.where(batch["targets"] == 0, last - 1, batch["targets"])
        logits = log_softmax(np.roll(batch["log_probs"], 0, axis=2))
        for n, target in enumerate(batch["targets"]):  # the network's own texts hold no 0 either
            path = path_of(target.tolist(), len(logits), last, np.random.default_rng(n))
            logits[:, n] = np.random.default_rng(n).normal(size=logits[:, n].shape)
            logits[np.arange(len(path)), n, path] += shape.get("height", 9.0)
        batch |= {"log_probs": log_softmax(logits).astype(dtype), "blank": 0}
        finding = only(batch, "blank-elsewhere")
        evidence = finding.evidence
        assert (evidence["token"], evidence["told"]) == (last, 0)
        wins = (batch["log_probs"].argmax(axis=2) == last).mean()
        assert evidence["share"] == pytest.approx(wins)
        rel = 1e-2 if dtype == "float16" else 1e-4
        assert evidence["loss"] == pytest.approx(per_token(batch, batch["targets"], last), rel=rel, abs=1e-3)
        assert evidence["before"] == pytest.approx(per_token(batch, batch["targets"], 0), rel=rel)
        assert f"{evidence['loss']:.3g} nats a token" in finding.message
        assert f"{evidence['before']:.3g} with blank=0" in finding.message

    @EACH
    def test_another_class_is_the_blank_and_targets_hold_the_one_that_was_told(self, shape: Arguments) -> None:
        last = shape["classes"] - 1
        batch = trained(**shape, blank=last) | {"blank": 0}
        batch["targets"][:, 0] = 0
        only(batch, "blank-elsewhere")

    @EACH
    @pytest.mark.parametrize("shift", [1, -1])
    def test_shifted(self, shape: Arguments, shift: int) -> None:
        batch = trained(**shape)
        right = batch["targets"]
        batch["targets"] = right + shift
        finding = only(batch, "ids-shifted")
        assert finding.evidence["shift"] == -shift
        assert finding.evidence["loss"] == pytest.approx(per_token(batch, right, 0), rel=1e-5)
        assert ("too large" if shift > 0 else "too small") in finding.message

    @EACH
    def test_shifted_and_another_blank(self, shape: Arguments) -> None:
        """The network's blank is its last class; the data count from 1, and take 0 for the blank."""
        last = shape["classes"] - 1
        batch = trained(**shape, blank=last)
        batch |= {"targets": batch["targets"] + 1, "blank": 0}
        finding = only(batch, "ids-shifted")
        assert (finding.evidence["shift"], finding.evidence["token"]) == (-1, last)
        assert str(last) in finding.fix

    @EACH
    def test_reversed(self, shape: Arguments) -> None:
        batch = trained(**shape)
        right = batch["targets"]
        lengths = batch["target_lengths"]
        lengths[0] -= 2
        batch["targets"] = np.array([[*row[:s][::-1], *row[s:]] for row, s in zip(right, lengths, strict=True)])
        finding = only(batch, "targets-reversed")
        rows = [row[:s] for row, s in zip(right, lengths, strict=True)]
        assert finding.evidence["loss"] == pytest.approx(per_token(batch, rows, 0), rel=1e-5)

    @EACH
    @pytest.mark.parametrize("step", [1, -1])
    def test_rolled(self, shape: Arguments, step: int) -> None:
        batch = trained(**shape)
        size = len(batch["targets"])
        right = batch["targets"]
        batch["targets"] = np.roll(right, step, axis=0)
        finding = only(batch, "transcripts-exchanged")
        assert finding.evidence["fits"] == {n: (n + step) % size for n in range(size)}
        assert finding.evidence["step"] == (step if size > 2 else 1)
        assert finding.evidence["loss"] == pytest.approx(per_token(batch, right, 0), rel=1e-5)
        assert f"0 → {step % size}" in finding.message

    def test_shuffled(self) -> None:
        batch = trained(size=7, seed=8)
        order = np.array([3, 4, 5, 6, 0, 2, 1])
        batch["targets"] = batch["targets"][order]
        assert only(batch, "transcripts-exchanged").evidence["fits"] == {int(m): n for n, m in enumerate(order)}

    def test_two_of_many_are_exchanged(self) -> None:
        batch = trained(size=6, seed=3)
        batch["targets"][[1, 4]] = batch["targets"][[4, 1]]
        found = diagnose(**batch)
        assert alarms(found) == [("unlikely-target", 1), ("unlikely-target", 4)]
        assert found.findings[0].evidence["whose"] == 4
        assert "It fits the target of sample 4." in found.findings[0].message

    @EACH
    def test_permuted(self, shape: Arguments) -> None:
        batch = trained(**shape)
        classes, right = shape["classes"], batch["targets"]
        order = np.concatenate([[0], 1 + np.random.default_rng(9).permutation(classes - 1)])
        batch["targets"] = order[right]
        finding = only(batch, "classes-permuted")
        back = np.argsort(order)
        moved = {int(c): int(back[c]) for c in np.unique(batch["targets"]) if back[c] != c}
        found = finding.evidence["map"]
        assert {a: b for a, b in found.items() if moved.get(a) == b} == found or shape.get("wrong")
        assert len(set(moved) & set(found)) >= 0.8 * len(moved)
        one = next(iter(found.items()))
        assert f"{one[0]} → {one[1]}" in finding.message
        if found == moved:
            assert finding.evidence["loss"] == pytest.approx(per_token(batch, right, 0), rel=1e-5)

    @EACH
    def test_two_classes_are_exchanged(self, shape: Arguments) -> None:
        batch = trained(**shape)
        (a, _), (b, _) = Counter(batch["targets"].ravel().tolist()).most_common(2)
        order = np.arange(shape["classes"])
        order[[a, b]] = b, a
        if shape["classes"] > 100:  # each class is used once or twice there: let two be used
            batch["targets"] = trained(**shape | {"classes": 9})["targets"]
            batch = _spoken(batch["targets"], shape)
            order[[1, 2, a, b]] = 2, 1, a, b
            a, b = 1, 2
        batch["targets"] = order[batch["targets"]]
        finding = only(batch, "classes-permuted", labels=[f"<{c}>" for c in range(shape["classes"])])
        assert finding.evidence["map"] == {a: b, b: a}
        assert f"{min(a, b)} ('<{min(a, b)}>') → {max(a, b)} ('<{max(a, b)}>')" in finding.message

    @pytest.mark.parametrize("plant", [np.sort, lambda row: np.concatenate([row[3:], row[:3]])], ids=["sort", "turn"])
    def test_what_has_no_name_is_still_said_once(self, plant: Callable[[Any], Any]) -> None:
        rng = np.random.default_rng(0)
        batch = trained(size=6, tokens=8, classes=40, seed=11)
        batch["targets"] = np.array([rng.integers(1, 40, 8) for _ in range(6)])
        finding = only(batch, "sure-and-wrong", "warning", labels=[chr(0x4E00 + c) for c in range(40)])
        assert finding.evidence["count"] == 6
        assert "The network reads " in finding.message
        assert "blank=" in finding.fix


def _spoken(targets: Any, shape: Arguments) -> Arguments:
    """A batch whose network reads these targets."""
    rng = np.random.default_rng(0)
    size, tokens = targets.shape
    logits = rng.normal(size=(shape["frames"], size, shape["classes"]))
    for n, target in enumerate(targets.tolist()):
        logits[np.arange(len(logits)), n, path_of(target, len(logits), 0, rng)] += shape.get("height", 9.0)
    return {
        "log_probs": log_softmax(logits),
        "targets": targets,
        "input_lengths": np.full(size, len(logits)),
        "target_lengths": np.full(size, tokens),
        "blank": 0,
    }


class TestLengths:
    @EACH
    @pytest.mark.parametrize("wide", [False, True])
    @pytest.mark.parametrize("padding", [0, -1])
    def test_exchanged(self, shape: Arguments, wide: bool, padding: int) -> None:
        """Rows of targets may be padded to more than the number of frames: then no length is out of range."""
        batch = trained(**shape)
        batch["target_lengths"][1:] -= np.arange(len(batch["targets"]) - 1) % 3
        right = [row[:s] for row, s in zip(batch["targets"], batch["target_lengths"], strict=True)]
        batch["targets"] = np.full((len(right), 100 if wide else shape["tokens"]), padding)
        for n, row in enumerate(right):
            batch["targets"][n, : len(row)] = row
        whole = diagnose(**batch).statistics
        batch["input_lengths"], batch["target_lengths"] = batch["target_lengths"], batch["input_lengths"]
        found = diagnose(**batch)
        assert [code for code, _ in alarms(found) if code != "unlikely-target"] == ["lengths-swapped"]
        assert found.statistics == whole
        finding = found.findings[0]
        assert finding.evidence["loss"] == whole["loss"]
        assert f"{whole['loss']:.3g} nats a token" in finding.message + finding.fix
        assert found.text("zh")

    def test_a_short_batch_is_not_exchanged(self) -> None:
        batch = trained(size=8) | {"input_lengths": np.full(8, 5)}
        assert "lengths-swapped" not in [code for code, _ in alarms(diagnose(**batch))]

    def test_padding_that_is_a_class_too(self) -> None:
        batch = untrained(size=6, tokens=12, frames=60)
        rows = batch["targets"]
        rows[:, 3] = 7  # an ordinary token
        rows[rows[:, 4] == 7, 4] = 6
        for n, count in enumerate([5, 3, 7, 0, 4, 6]):
            rows[n, 12 - count :] = 7
        finding = note(diagnose(**batch), "target-length-counts-padding")
        assert finding.evidence["value"] == 7
        assert finding.evidence["most"] >= 7
        assert "('h')" in note(diagnose(**batch, labels="abcdefghijkl"), finding.code).message

    def test_texts_that_end_alike_are_no_padding(self) -> None:
        batch = untrained(size=6, tokens=12, frames=60, classes=3)
        assert "target-length-counts-padding" not in [finding.code for finding in diagnose(**batch).findings]

    @pytest.mark.parametrize("where", ["first", "last"])
    @pytest.mark.parametrize("samples", [[0], [1, 3], [0, 1, 2, 3]])
    def test_frozen_frames(self, where: str, samples: list[int]) -> None:
        batch = trained(frames=3000, classes=30)  # several blocks are read
        if where == "first":
            batch["log_probs"][:9, samples] = batch["log_probs"][8, samples]
        else:
            batch["log_probs"][-9:, samples] = batch["log_probs"][-9, samples]
        found = diagnose(**batch)
        assert found.healthy
        evidence = note(found, "frozen-frames").evidence
        assert evidence["samples"] == samples
        assert evidence[where] == [9] * len(samples)
        batch["input_lengths"] = np.full(4, 2991 if where == "last" else 3000)
        if where == "last":
            assert "frozen-frames" not in [finding.code for finding in diagnose(**batch).findings]

    @pytest.mark.parametrize("samples", [[2], [0, 3], [0, 1, 2, 3]])
    def test_empty_targets(self, samples: list[int]) -> None:
        batch = untrained()
        batch["target_lengths"][samples] = 0
        found = diagnose(**batch)
        assert found.healthy
        assert note(found, "empty-target").evidence["samples"] == samples


ROUGH: list[Arguments] = [
    {"seed": 11, "size": 8, "frames": 340, "classes": 90, "tokens": 28, "height": 3.0},
    {"seed": 12, "size": 16, "frames": 80, "classes": 65, "tokens": 20, "height": 3.0, "wrong": 0.1},
    {"seed": 13, "size": 6, "frames": 460, "classes": 180, "tokens": 30, "height": 4.0},
]
EACH_ROUGH = pytest.mark.parametrize("shape", ROUGH, ids=lambda shape: f"C{shape['classes']}")


def draw_planted(seed: int) -> Arguments:
    """The shape of a batch to plant a fault in, of a network that can be read, more or less."""
    rng = np.random.default_rng([77, seed])
    tokens = int(rng.integers(5, 61))
    return {
        "seed": seed,
        "size": int(rng.choice([2, 4, 8, 16])),
        "frames": int(rng.integers(max(50, 2 * tokens + 2), 501)),
        "classes": int(rng.integers(20, 201)),
        "tokens": tokens,
        "height": float(rng.choice([6, 9, 14])),
        "wrong": float(rng.choice([0, 0.1, 0.2])),
    }


class TestRoughNetworks:
    """Networks that can hardly be read, or not at all: the order of tokens tells."""

    @staticmethod
    def check(batch: Arguments, right: Any, finding: Finding) -> None:
        assert diagnose(**batch).statistics["error_rate"] > 0.9
        assert finding.evidence["loss"] == pytest.approx(per_token(batch, right, 0), rel=1e-5)
        rng = np.random.default_rng(99)
        shuffled = per_token(batch, [rng.permutation(row) for row in right], 0)
        assert finding.evidence["shuffled"] == pytest.approx(shuffled, rel=0.03)
        assert finding.evidence["shuffled"] > finding.evidence["loss"]

    @EACH_ROUGH
    @pytest.mark.parametrize("shift", [1, -1])
    def test_shifted(self, shape: Arguments, shift: int) -> None:
        batch = trained(**shape)
        if shift > 0:  # the last class is not used, so that all ids are classes as passed
            batch["log_probs"] = log_softmax(np.insert(batch["log_probs"], shape["classes"], -4.0, axis=2))
        right = batch["targets"]
        batch["targets"] = right + shift
        if shift < 0:
            batch["targets"][right == 1] = 1  # no blanks
        finding = only(batch, "ids-shifted")
        assert finding.evidence["shift"] == -shift
        if shift > 0:
            self.check(batch, right, finding)
        assert "which is still rough" in finding.message

    @EACH_ROUGH
    def test_shifted_out_of_range(self, shape: Arguments) -> None:
        batch = trained(**shape)
        batch["targets"] = batch["targets"] + 1
        batch["targets"][:, 0] = shape["classes"]  # none of them can be computed as passed
        finding = only(batch, "ids-shifted")
        assert finding.evidence["before"] is None
        assert finding.message

    @EACH_ROUGH
    def test_reversed(self, shape: Arguments) -> None:
        batch = trained(**shape)
        right = batch["targets"]
        batch["targets"] = right[:, ::-1].copy()
        self.check(batch, right, only(batch, "targets-reversed"))

    @EACH_ROUGH
    def test_rolled(self, shape: Arguments) -> None:
        batch = trained(**shape)
        right = batch["targets"]
        batch["targets"] = np.roll(right, 2, axis=0)
        finding = only(batch, "transcripts-exchanged")
        assert finding.evidence["step"] == 2
        self.check(batch, right, finding)

    @EACH_ROUGH
    def test_silence(self, shape: Arguments) -> None:
        """Right targets, targets of a network that knows nothing, and one that prefers classes."""
        assert alarms(diagnose(**trained(**shape))) == []
        batch = untrained(**{key: value for key, value in shape.items() if key != "height"})
        assert alarms(diagnose(**batch)) == []
        bias = 2 * np.random.default_rng(0).normal(size=shape["classes"])
        assert alarms(diagnose(**batch | {"log_probs": log_softmax(batch["log_probs"] + bias)})) == []

    def test_half_of_the_ids_are_shifted(self) -> None:
        """The targets as passed fit in part, too: it would be wrong to say that all ids are shifted."""
        batch = trained(**ROUGH[0])
        batch["targets"] = np.where(batch["targets"] > 45, np.maximum(batch["targets"] - 1, 46), batch["targets"])
        assert alarms(diagnose(**batch)) == []

    @pytest.mark.parametrize("fault", ["ids-shifted", "classes-permuted"])
    def test_random_plantings(self, fault: str) -> None:
        """Every one is found, unless the batch has too few tokens to tell where classes go."""
        shapes = {seed: draw_planted(seed) for seed in range(60)}
        enough = {
            seed: shape
            for seed, shape in shapes.items()
            if shape["size"] * shape["tokens"] >= (20 if fault == "ids-shifted" else 0.3 * shape["classes"])
        }
        assert len(enough) > 50
        missed = []
        for seed, shape in enough.items():
            batch = trained(**shape)
            order = np.concatenate([[0], 1 + np.random.default_rng(seed).permutation(shape["classes"] - 1)])
            batch["targets"] = batch["targets"] + 1 if fault == "ids-shifted" else order[batch["targets"]]
            if fault not in [code for code, _ in alarms(diagnose(**batch))]:
                missed.append(shape)
        assert missed == []

    def test_few_short_texts_that_are_misread(self) -> None:
        """Three of sixteen misread texts fit better backwards. They have two classes only: that is chance."""
        assert alarms(diagnose(**draw_healthy(3669)[1])) == []


class TestScores:
    @EACH
    @pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_softmax_twice(self, shape: Arguments, dtype: str, from_logits: bool) -> None:
        batch = trained(**shape)
        once = np.exp(batch["log_probs"])
        batch["log_probs"] = (once if from_logits else log_softmax(once)).astype(dtype)
        finding = only(batch, "softmax-twice", from_logits=from_logits)
        largest = float((once.max(axis=2) - once.min(axis=2)).max())
        assert finding.evidence["range"] == pytest.approx(largest, abs=0.02)
        assert ("from_logits" in finding.fix) == from_logits

    def test_log_softmax_twice_is_harmless(self) -> None:
        batch = trained()
        assert alarms(diagnose(**batch | {"log_probs": log_softmax(batch["log_probs"])})) == []

    @pytest.mark.parametrize("classes", [2, 3, 4, 8, 40])
    @pytest.mark.parametrize("spread", [0.01, 0.1, 0.3, 0.7])
    def test_small_logits_are_no_softmax(self, classes: int, spread: float) -> None:
        for seed in range(10):
            logits = np.random.default_rng(seed).normal(size=(40, 4, classes)) * spread
            logits[..., 0] += seed % 2 * 0.9  # the phase of blanks
            batch = untrained(seed, classes=classes, tokens=3) | {"log_probs": log_softmax(logits)}
            assert "softmax-twice" not in [finding.code for finding in diagnose(**batch).findings]

    @EACH
    @pytest.mark.parametrize("mask", [-3e4, -1e9, -65504.0, -200.0])
    def test_masked(self, shape: Arguments, mask: float) -> None:
        batch = trained(**shape)
        masked = sorted({int(batch["targets"][0, 0]), int(batch["targets"][1, 1])})
        logits = batch["log_probs"].copy()
        logits[..., masked] = mask
        batch["log_probs"] = log_softmax(logits)
        found = diagnose(**batch, labels=[f"c{c}" for c in range(shape["classes"])])
        finding = found.findings[0]
        assert (finding.severity, finding.code, finding.evidence["masked"]) == ("error", "impossible-target", masked)
        assert [code for code, _ in alarms(found)][1:] in ([], ["mean-is-inf"])
        assert finding.evidence["greatest"] == pytest.approx(
            {c: float(batch["log_probs"][..., c].max()) for c in masked}
        )
        assert f"c{masked[0]}" in finding.message
        using = [n for n, target in enumerate(batch["targets"]) if set(target.tolist()) & set(masked)]
        assert finding.evidence["samples"] == using

    @pytest.mark.parametrize("plant", [np.nan, "one class"])
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_the_weights_are_nan(self, plant: Any, from_logits: bool) -> None:
        for shape in SHAPES[:3]:
            batch = trained(**shape)
            batch["log_probs"][:, :, 2 if plant == "one class" else slice(None)] = np.nan
            finding = only(batch, "weights-not-finite", from_logits=from_logits)
            for word in ("last good step", "learning rate", "clip"):
                assert word in finding.fix
            assert finding.evidence["frames"] == shape["size"] * shape["frames"]

    @pytest.mark.parametrize(
        ("dtype", "largest"), [("float16", "65504"), ("float32", "3.4028e+38"), ("float64", "1.7977e+308")]
    )
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_overflow(self, dtype: str, largest: str, from_logits: bool) -> None:
        batch = trained()
        scores = (batch["log_probs"] + 30).astype(dtype)
        scores[5, :, 3] = np.inf
        finding = only(batch | {"log_probs": scores}, "overflow", from_logits=from_logits)
        assert f"{dtype} holds no number beyond {largest}" in finding.message
        scores = (batch["log_probs"]).astype(dtype)
        scores[5, 1, 3] = np.inf  # one sample: its own finding
        found = diagnose(**batch | {"log_probs": scores})
        assert alarms(found) == [("not-finite", 1), ("mean-is-nan", 1)]
        assert f"{largest}, the largest of {dtype}" in found.findings[0].fix

    def test_overflow_of_bfloat16(self) -> None:
        torch = pytest.importorskip("torch", reason="NumPy has no bfloat16")
        batch = trained()
        scores = torch.as_tensor(batch["log_probs"]).bfloat16()
        scores[3, :, 2] = np.inf
        assert "bfloat16 holds no number beyond 3.3895e+38" in only(batch | {"log_probs": scores}, "overflow").message

    @pytest.mark.parametrize("size", [1e6, 1e10, 1e30])
    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("collapsed", [False, True])
    def test_exploded(self, size: float, from_logits: bool, collapsed: bool) -> None:
        batch = trained()
        scores = np.random.default_rng(0).normal(size=(40, 4, 12)) * size
        scores[..., 5] += 10 * size * collapsed
        scores = scores.astype(np.float32)
        finding = only(batch | {"log_probs": scores}, "overflow", from_logits=from_logits)
        assert finding.evidence["greatest"] == pytest.approx(float(np.abs(scores).max()))
        assert "float32 holds numbers up to 3.4028e+38" in finding.message
        assert "learning rate" in finding.fix


class TestCollapse:
    @EACH
    @pytest.mark.parametrize("noise", [0.0, 1.0])
    def test_to_one_token(self, shape: Arguments, noise: float) -> None:
        batch = trained(**shape)
        logits = np.random.default_rng(0).normal(size=batch["log_probs"].shape) * noise
        logits[..., 5] += 12 + np.log(shape["classes"])
        batch["log_probs"] = log_softmax(logits)
        finding = only(batch, "token-collapse", "warning")
        assert finding.evidence["token"] == 5
        assert finding.evidence["confidence"] == pytest.approx(float(np.exp(batch["log_probs"]).max(axis=2).mean()))
        assert finding.evidence["loss"] == pytest.approx(per_token(batch, batch["targets"], 0), rel=1e-5)

    def test_to_another_token_in_each_sample(self) -> None:
        batch = trained(size=6, tokens=10)
        logits = np.random.default_rng(0).normal(size=batch["log_probs"].shape)
        logits[:, np.arange(6), np.arange(1, 7)] += 14
        assert only(batch | {"log_probs": log_softmax(logits)}, "sure-and-wrong", "warning").evidence["count"] == 6

    @pytest.mark.parametrize("size", [1, 2, 6])
    @pytest.mark.parametrize("every", [1, 3])
    def test_sure_of_far_too_many_tokens(self, size: int, every: int) -> None:
        rng = np.random.default_rng(0)
        batch = trained(size=size, tokens=6, frames=90, classes=40)
        path = rng.integers(1, 40, (90 // every, size)).repeat(every, axis=0)
        logits = rng.normal(size=(90, size, 40))
        logits[np.arange(90)[:, None], np.arange(size), path] += 20
        only(batch | {"log_probs": log_softmax(logits)}, "sure-and-wrong", "warning")

    def test_one_long_token_is_right(self) -> None:
        logits = np.random.default_rng(0).normal(size=(40, 2, 12))
        logits[..., 5] += 14
        batch = {"targets": [[5], [5]], "input_lengths": [40, 40], "target_lengths": [1, 1]}
        assert alarms(diagnose(log_softmax(logits), **batch)) == []


class TestSilence:
    @pytest.mark.parametrize("seeds", [range(0, 100), pytest.param(range(100, 500), marks=pytest.mark.long)], ids=str)
    def test_healthy_batches(self, seeds: range) -> None:
        """Batches of every kind, with few classes and many, one sample and many, and no frame to spare."""
        batches = {seed: draw_healthy(seed, most=200_000) for seed in seeds}
        found = {seed: alarms(diagnose(**batch)) for seed, (_, batch) in batches.items()}
        assert {seed: codes for seed, codes in found.items() if codes} == {}
        assert {kind for kind, _ in batches.values()} == set(KINDS)
        shapes = [batch["log_probs"].shape for _, batch in batches.values()]
        assert {2, 1000, 20000} <= {classes for _, _, classes in shapes}
        assert {1, 512} <= {size for _, size, _ in shapes}
        assert any(
            frames == tokens > 3
            for _, batch in batches.values()
            for frames, tokens in zip(batch["input_lengths"], batch["target_lengths"], strict=True)
        )

    @pytest.mark.long
    def test_more_and_larger_batches(self) -> None:
        found = {seed: alarms(diagnose(**draw_healthy(seed)[1])) for seed in range(3000)}
        assert {seed: codes for seed, codes in found.items() if codes} == {}


class TestLimits:
    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("batch_first", [False, True])
    def test_too_many_frames(self, from_logits: bool, batch_first: bool) -> None:
        scores = np.zeros((2**26 + 1, 1, 1), np.float16)
        turned = scores.swapaxes(0, 1) if batch_first else scores
        options = {"from_logits": from_logits, "batch_first": batch_first}
        for given in (turned, scores[:, 0]):
            found = diagnose(given, [[0]], [2**26 + 1], [1], **options)
            assert alarms(found) == [("too-large", None)]
            assert "at most 67108864" in found.findings[0].message


class TestOptions:
    def test_batch_first(self) -> None:
        batch = trained()
        expected = diagnose(**batch).as_dict()
        turned = batch | {"log_probs": batch["log_probs"].swapaxes(0, 1)}
        assert diagnose(**turned, batch_first=True).as_dict() == expected
        wrong = diagnose(**batch, batch_first=True)
        assert alarms(wrong) == [("batch-first", None)]
        assert wrong.statistics == expected["statistics"]
        turned["log_probs"] = turned["log_probs"].copy()
        turned["log_probs"][2, 7, 5] = np.nan
        assert diagnose(**turned, batch_first=True).findings[0].message.startswith("log_probs[2, 7, 5] is nan")

    @pytest.mark.parametrize(
        "make", [list, tuple, "".join, np.array, ctckit.Vocabulary], ids=["list", "tuple", "str", "array", "vocabulary"]
    )
    def test_labels(self, make: Callable[[Any], Any]) -> None:
        batch = trained()
        batch["targets"][1] = [7, 2, 9, 9, 1, 8]
        found = diagnose(**batch, labels=make([*"-abcdefghijk"]))
        (finding,) = [finding for finding in found.findings if finding.code == "unlikely-target"]
        spelled = "".join("-abcdefghijk"[c] for c in finding.evidence["reading"])
        assert f"The network reads {spelled!r}; the target is 'gbiiah'." in finding.message
        assert spelled in finding.sentences("zh")[0]
        assert spelled in str(found)

    def test_labels_in_words(self) -> None:
        names = ["<pad>", *"abcdefghij", "|"]
        batch = trained()
        batch["targets"][1] = [8, 9, 11, 1, 2, 3]
        (finding,) = [f for f in diagnose(**batch, labels=names).findings if f.code == "unlikely-target"]
        assert "the target is 'hi abc'" in finding.message

    def test_labels_that_come_twice(self) -> None:
        batch = trained()
        batch["targets"][1] = [7, 2, 9, 9, 1, 8]
        found = diagnose(**batch, labels=["-", *"aabcdefghij"])
        assert "the target is " in str(found).replace("\n ", "")

    @pytest.mark.parametrize("count", [0, 11, 13])
    def test_wrong_number_of_labels(self, count: int) -> None:
        with pytest.raises(ctckit.CTCError, match=f"labels has {count} entries: expected 12, one for each class"):
            diagnose(**trained(), labels=[f"c{c}" for c in range(count)])

    def test_labels_without_the_blank_that_is_last(self) -> None:
        diagnose(**trained(blank=11), labels=[f"c{c}" for c in range(11)])

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ([*"-abcdefghij", 3], r"labels\[11\] = 3 has type int"),
            ({"a": 1}, "labels is a mapping"),
            (12, "labels has type int: expected a sequence"),
        ],
    )
    def test_labels_of_a_wrong_type(self, labels: Any, message: str) -> None:
        with pytest.raises(ctckit.CTCError, match=message):
            diagnose(**trained(), labels=labels)

    @pytest.mark.parametrize("flag", ["from_logits", "batch_first"])
    @pytest.mark.parametrize("value", ["yes", None, 2])
    def test_flags_of_a_wrong_type(self, flag: str, value: Any) -> None:
        with pytest.raises(ctckit.CTCError, match=f"{flag} = {value!r}"):
            diagnose(**trained(), **{flag: value})
        diagnose(**trained(), **{flag: np.False_})

    def test_language(self) -> None:
        batch = trained()
        batch["input_lengths"][1] = 3
        found = diagnose(**batch, lang="zh")
        assert str(found) == repr(found) == found.text("zh")
        assert found._repr_html_() == found.html("zh")
        assert re.search("[一-鿿]", found.as_dict()["findings"][0]["message"])
        assert found.text("en") == str(diagnose(**batch))
        with pytest.raises(ctckit.CTCError, match="lang = 'fr' is unknown"):
            diagnose(**batch, lang="fr")
