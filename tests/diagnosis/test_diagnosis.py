"""Diagnosis: each fault planted in a healthy batch is found with its numbers; healthy batches have no findings."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from support.batches import draw_targets
from support.planted import Arguments, alarms, path_of, trained, untrained
from support.recogniser import ALPHABET, DATA, needs_data

import ctckit
from ctckit.catalogue.columns import cells
from ctckit.diagnosis import Diagnosis, Finding, diagnose
from ctckit.kernels.reference import log_softmax


def holds(finding: Finding, **numbers: Any) -> bool:
    return {name: finding.evidence.get(name) for name in numbers} == numbers


def the(code: str, diagnosis: Diagnosis) -> Finding:
    (finding,) = [finding for finding in diagnosis.findings if finding.code == code]
    for number in (finding.message, finding.fix):
        assert number.endswith((".", "?"))
    return finding


class TestShape:
    def test_batch_first(self) -> None:
        batch = trained()
        whole = diagnose(**batch)
        batch["log_probs"] = batch["log_probs"].swapaxes(0, 1)
        found = diagnose(**batch)
        assert alarms(found) == [("batch-first", None)]
        assert the("batch-first", found).evidence["shape"] == [4, 40, 12]
        # What follows is about the batch turned round.
        assert found.statistics == whole.statistics

    def test_batch_first_with_as_many_samples_as_frames(self) -> None:
        batch = trained(size=30, frames=30)
        assert alarms(diagnose(**batch)) == []
        batch["log_probs"] = batch["log_probs"].swapaxes(0, 1)
        found = the("batch-first", diagnose(**batch))
        assert found.severity == "warning"
        losses = ctckit.ctc_loss(**batch, reduction="none")
        assert found.evidence["loss"] == pytest.approx(losses.sum())
        assert found.evidence["swapped"] < found.evidence["loss"] / 10

    def test_mismatch(self) -> None:
        batch = trained() | {"input_lengths": [40, 40, 40]}
        found = diagnose(**batch)
        assert alarms(found) == [("shape-mismatch", None)]
        assert the("shape-mismatch", found).evidence["samples"]["input_lengths"] == 3
        assert found.statistics["samples"] == 3

    def test_input_length_beyond_frames(self) -> None:
        batch = trained()
        batch["input_lengths"][2] = 161
        found = diagnose(**batch)
        assert alarms(found) == [("input-length-out-of-range", 2)]
        finding = the("input-length-out-of-range", found)
        assert holds(finding, input_length=161, frames=40)
        assert finding.message == (
            "input_lengths[2] = 161 is out of range: expected 0..40, since log_probs has T=40 frames."
        )
        assert "divide by 4" in finding.fix

    @pytest.mark.parametrize("joined", [False, True])
    def test_lengths_exchanged(self, joined: bool) -> None:
        batch = trained(size=8)
        whole = diagnose(**batch)
        batch["input_lengths"], batch["target_lengths"] = batch["target_lengths"], batch["input_lengths"]
        if joined:
            batch["targets"] = batch["targets"].ravel()
        found = diagnose(**batch)
        assert alarms(found) == [("lengths-swapped", None)]
        assert found.statistics == whole.statistics
        assert "the batch with the lengths exchanged" in found.findings[0].fix

    def test_negative_length(self) -> None:
        batch = trained()
        batch["input_lengths"][1] = -1
        assert ("input-length-out-of-range", 1) in alarms(diagnose(**batch))

    def test_target_length_beyond_targets(self) -> None:
        batch = trained()
        batch["target_lengths"][3] = 7
        found = diagnose(**batch)
        assert alarms(found) == [("target-length-out-of-range", 3)]
        assert the("target-length-out-of-range", found).evidence == {"target_length": 7, "tokens": 6}

    def test_end_to_end_targets_with_padding(self) -> None:
        batch = trained()
        batch["targets"] = np.append(batch["targets"].ravel(), [0, 0])
        found = diagnose(**batch)
        assert alarms(found) == [("target-lengths-sum", None)]
        assert the("target-lengths-sum", found).evidence == {"sum": 24, "tokens": 26}

    def test_blank_that_is_no_class(self) -> None:
        found = diagnose(**trained() | {"blank": -1})
        assert ("blank-out-of-range", None) in alarms(found)
        assert holds(the("blank-out-of-range", found), blank=-1, classes=12)


class TestNumbers:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, value: float) -> None:
        batch = trained()
        batch["log_probs"][17:20, 2, 5] = value
        found = diagnose(**batch)
        assert alarms(found) == [("not-finite", 2), ("mean-is-nan", 2)]
        evidence = the("not-finite", found).evidence
        assert (evidence["frame"], evidence["class"], evidence["frames"]) == (17, 5, 3)
        assert evidence["value"] == pytest.approx(value, nan_ok=True)
        rest = ctckit.ctc_loss(**trained(), reduction="none")[[0, 1, 3]] / 6
        assert the("mean-is-nan", found).evidence["mean_of_the_rest"] == pytest.approx(rest.mean())

    def test_a_frame_without_any_class(self) -> None:
        batch = trained()
        batch["log_probs"][3, 1] = -np.inf
        assert the("not-finite", diagnose(**batch)).evidence["frame"] == 3

    def test_logits(self) -> None:
        batch = trained()
        batch["log_probs"] = batch["log_probs"] + np.linspace(1, 3, 40)[:, None, None]
        found = diagnose(**batch)
        assert alarms(found) == [("not-log-probs", None)]
        evidence = the("not-log-probs", found).evidence
        assert (evidence["looks_like"], evidence["frames"], evidence["frame"]) == ("logits", 160, 39)
        assert evidence["logsumexp"] == pytest.approx(3)
        # The rest is judged on the scores normalised.
        assert found.statistics["loss"] == pytest.approx(diagnose(**trained()).statistics["loss"])

    def test_probabilities(self) -> None:
        batch = trained()
        batch["log_probs"] = np.exp(batch["log_probs"])
        found = diagnose(**batch)
        assert alarms(found) == [("not-log-probs", None)]
        assert the("not-log-probs", found).evidence["looks_like"] == "probabilities"

    def test_negated(self) -> None:
        batch = trained()
        batch["log_probs"] = -batch["log_probs"]
        assert the("not-log-probs", diagnose(**batch)).evidence["looks_like"] == "negated log-probabilities"

    def test_some_frames_are_no_log_probs(self) -> None:
        batch = trained()
        batch["log_probs"][5, 1] += 0.5
        evidence = the("not-log-probs", diagnose(**batch)).evidence
        assert (evidence["frames"], evidence["frame"], evidence["sample"]) == (1, 5, 1)
        assert evidence["looks_like"] == "log-probabilities"

    @pytest.mark.parametrize("axis", [0, 1])
    @pytest.mark.parametrize("exp", [False, True], ids=["log_softmax", "softmax"])
    def test_softmax_over_the_wrong_axis(self, axis: int, exp: bool) -> None:
        batch = untrained()
        scores = np.moveaxis(log_softmax(np.moveaxis(batch["log_probs"], axis, -1)), -1, axis)
        batch["log_probs"] = np.exp(scores) if exp else scores
        found = diagnose(**batch)
        assert alarms(found) == [("softmax-over-wrong-axis", None)]
        evidence = the("softmax-over-wrong-axis", found).evidence
        assert evidence["axis"] == axis
        assert evidence["looks_like"] == ("probabilities" if exp else "log-probabilities")

    def test_softmax_over_a_batch_of_one(self) -> None:
        batch = untrained(size=1)
        batch["log_probs"] = np.zeros_like(batch["log_probs"])
        assert the("softmax-over-wrong-axis", diagnose(**batch)).evidence["axis"] == 1


class TestTargets:
    def test_infeasible(self) -> None:
        batch = trained()
        batch["targets"][1] = [3, 3, 3, 5, 7, 7]
        batch["input_lengths"][1] = 8
        found = diagnose(**batch)
        assert ("infeasible", 1) in alarms(found)
        finding = the("infeasible", found)
        assert holds(finding, needed=9, frames=8, tokens=6, equal_pairs=[[0, 1], [1, 2], [4, 5]])
        assert "0-1 (3), 1-2 (3), 4-5 (7)" in finding.message
        mean = the("mean-is-inf", found)
        assert mean.sample == 1
        assert mean.evidence["samples"] == [1]
        rest = ctckit.ctc_loss(**batch, reduction="none")[[0, 2, 3]] / 6
        assert mean.evidence["mean_of_the_rest"] == pytest.approx(rest.mean())
        assert found.statistics["infeasible"] == 1

    def test_nine_frames_are_enough(self) -> None:
        batch = untrained()
        batch["targets"][1] = [3, 3, 3, 5, 7, 7]
        batch["input_lengths"][1] = 9
        assert alarms(diagnose(**batch)) == []

    def test_several_make_the_mean_inf(self) -> None:
        batch = trained()
        batch["input_lengths"][[0, 2]] = 5
        finding = the("mean-is-inf", diagnose(**batch))
        assert (finding.sample, finding.evidence["samples"]) == (None, [0, 2])

    def test_impossible(self) -> None:
        batch = untrained()
        batch["targets"][2] = [1, 2, 3, 4, 5, 6]
        batch["log_probs"][:, 2, 4] = -np.inf
        batch["log_probs"] = log_softmax(batch["log_probs"])
        found = diagnose(**batch)
        assert alarms(found) == [("impossible-target", 2), ("mean-is-inf", 2)]
        evidence = the("impossible-target", found).evidence
        assert evidence["never"] == [4]
        assert evidence["share"] == pytest.approx(1 / 12)

    def test_blank_inside(self) -> None:
        batch = trained()
        batch["targets"][2, [1, 3]] = 0
        found = diagnose(**batch)
        assert alarms(found) == [("blank-in-target", 2)]
        assert the("blank-in-target", found).evidence["positions"] == [1, 3]

    def test_labels_not_shifted_past_the_blank(self) -> None:
        batch = untrained()
        batch["targets"] = np.array([[0, 1, 0, 10, 9, 2]] * 4)
        finding = diagnose(**batch).findings[0]
        assert finding.code == "blank-in-target"
        assert "add 1 to each" in finding.fix
        assert "blank=11" in finding.fix

    @pytest.mark.parametrize("value", [-3, 12, 2**40])
    def test_out_of_range(self, value: int) -> None:
        batch = trained()
        batch["targets"][3, 2] = value
        found = diagnose(**batch)
        assert alarms(found) == [("token-out-of-range", 3)]
        finding = the("token-out-of-range", found)
        assert holds(finding, token=2, classes=12, count=1)
        assert finding.fault is not None
        assert (finding.fault.position, finding.fault.value) == ((3, 2), value)

    @pytest.mark.parametrize("value", [0, -1, -100, 12])
    def test_padding_counted(self, value: int) -> None:
        batch = trained()
        batch["targets"][1, 4:] = value
        found = diagnose(**batch)
        assert alarms(found) == [("target-length-counts-padding", 1)]
        finding = the("target-length-counts-padding", found)
        assert holds(finding, target_length=6, padding=2, tokens=4)
        assert finding.fault is not None
        assert finding.fault.value == value

    def test_padding_counted_that_is_a_class(self) -> None:
        batch = untrained(size=6, tokens=10, frames=60)
        batch["targets"] = np.where(batch["targets"] == 11, 3, batch["targets"])
        padding = [0, 5, 4, 6, 3, 5]
        for n, count in enumerate(padding):
            batch["targets"][n, 10 - count :] = 11
        found = diagnose(**batch)
        assert alarms(found) == [("target-length-counts-padding", None)]
        finding = the("target-length-counts-padding", found)
        assert holds(finding, target_length=10, value=11, padding=padding)
        batch["target_lengths"] = 10 - np.array(padding)
        assert alarms(diagnose(**batch)) == []

    def test_an_end_token_is_no_padding(self) -> None:
        batch = untrained(size=8, tokens=10, frames=60)
        batch["targets"] = np.where(batch["targets"] == 11, 3, batch["targets"])
        batch["targets"][:, -1] = 11
        assert alarms(diagnose(**batch)) == []


class TestNetwork:
    def test_input_length_short(self) -> None:
        batch = trained(frames=80)
        batch["input_lengths"][2] = 40
        found = diagnose(**batch)
        assert alarms(found) == [("input-length-short", 2)]
        evidence = the("input-length-short", found).evidence
        greedy = batch["log_probs"][:, 2].argmax(axis=1)
        assert evidence["last_signal"] == np.flatnonzero(greedy)[-1] + 1 > 40
        whole = ctckit.ctc_loss(**trained(frames=80), reduction="none")
        assert evidence["loss_of_all"] == pytest.approx(whole[2])

    def test_frames_unused(self) -> None:
        batch = untrained(frames=80)
        batch["input_lengths"] = np.full(4, 20)
        found = diagnose(**batch)
        assert found.healthy
        assert the("frames-unused", found).evidence["longest"] == 20
        batch["log_probs"][20:] = log_softmax(np.zeros(12))  # padding: constant
        assert "frames-unused" not in [finding.code for finding in diagnose(**batch).findings]

    def test_all_blank_collapse(self) -> None:
        batch = untrained()
        logits = batch["log_probs"].copy()
        logits[..., 0] = 12
        batch["log_probs"] = log_softmax(logits)
        found = diagnose(**batch)
        assert alarms(found) == [("all-blank-collapse", None)]
        evidence = the("all-blank-collapse", found).evidence
        mass = (1 - np.exp(batch["log_probs"][..., 0])).sum() / 24
        assert evidence["token_mass"] == pytest.approx(mass)
        assert evidence["blank_share"] == 1

    def test_the_blank_phase_is_no_collapse(self) -> None:
        """The most probable constant output, which training passes through."""
        batch = untrained()
        logits = 0.1 * (batch["log_probs"] - batch["log_probs"].mean(axis=-1, keepdims=True))
        logits[..., 0] = np.log(11 * 0.85 / 0.15)
        batch["log_probs"] = log_softmax(logits)
        found = diagnose(**batch)
        assert found.healthy
        assert the("all-blank", found).evidence["token_mass"] == pytest.approx(40 * 0.15 / 6, rel=0.05)

    def test_peaky(self) -> None:
        found = diagnose(**trained())
        assert found.healthy
        finding = the("peaky", found)
        assert finding.severity == "note"
        assert finding.evidence["blank_share"] == pytest.approx(34 / 40)
        assert finding.evidence["spike_width"] == 1
        logs = trained()["log_probs"]
        assert finding.evidence["entropy"] == pytest.approx(-(np.exp(logs) * logs).sum(axis=2).mean())
        assert "peaky" not in [finding.code for finding in diagnose(**untrained()).findings]

    def test_entropy_of_paths(self) -> None:
        batch = trained()
        names = ("targets", "input_lengths", "target_lengths", "blank")
        of_samples = ctckit.path_entropy(batch["log_probs"], *(batch.get(name, 0) for name in names))
        found = diagnose(**batch)
        frames = np.sum(batch["input_lengths"])
        assert found.statistics["path_entropy"] == pytest.approx(of_samples.sum() / frames, abs=1e-9)
        assert found.statistics["path_entropy"] < diagnose(**untrained()).statistics["path_entropy"]
        assert "paths' entropy" in found.text()

    def test_unlikely_target(self) -> None:
        batch = trained()
        right = batch["targets"][1].tolist()
        wrong = [7, 2, 9, 9, 1, 8]
        batch["targets"][1] = wrong
        found = diagnose(**batch)
        assert alarms(found) == [("unlikely-target", 1)]
        evidence = the("unlikely-target", found).evidence
        assert (evidence["target"], evidence["reading"]) == (wrong, right)
        loss = ctckit.ctc_loss(**batch, reduction="none")[1]
        best = batch["log_probs"][:, 1].max(axis=1).sum()
        assert evidence["gap"] == pytest.approx(loss + best)
        assert evidence["confidence"] == pytest.approx(np.exp(best / 40))

    def test_transcripts_swapped(self) -> None:
        batch = trained(seed=4)
        batch["targets"][[0, 2]] = batch["targets"][[2, 0]]
        assert alarms(diagnose(**batch)) == [("unlikely-target", 0), ("unlikely-target", 2)]

    @pytest.mark.parametrize("samples", [[1], [0, 1, 2, 3]])
    def test_constant_frames(self, samples: list[int]) -> None:
        batch = untrained()
        batch["log_probs"][:, samples] = batch["log_probs"][:1, samples]
        found = diagnose(**batch)
        assert alarms(found) == [("constant-frames", n) for n in samples]
        assert found.findings[0].evidence["largest_change"] == 0
        assert found.findings[0].evidence["frames"] == 40


def healthy(seed: int) -> Arguments:
    """A random batch without fault: sharp or noisy, any dtype, small or large, ragged, padded in one of many ways."""
    rng = np.random.default_rng(seed)
    size, classes = int(rng.integers(1, 7)), int(rng.choice([2, 3, 5, 20, 90]))
    blank = int(rng.choice([0, classes - 1, classes // 2]))
    most = int(rng.choice([1, 2, 3, 7, 20, 60]))
    input_lengths = rng.integers(min(most, 1 + most // 3), most + 1, size)
    peaky = rng.random() < 0.5
    logits = rng.normal(size=(most, size, classes)) * (1 if peaky else rng.choice([0.1, 1, 3]))
    targets, target_lengths = [], []
    for n, frames in enumerate(input_lengths):
        target = draw_targets(rng, (int(rng.integers(0, frames + 1)),), classes, blank)
        while ctckit.frames_needed(target) > frames:
            target = target[:-1]
        if peaky:
            path = path_of(target.tolist(), frames, blank, rng)
            hard = rng.random(frames) < 0.1
            height = np.log(classes) + 4 + 3 * rng.random(frames)
            logits[np.arange(frames), n, path] += np.where(hard, height / 4, height)
        targets.append(target)
        target_lengths.append(len(target))
    padding = int(rng.choice([0, blank, -1, -100]))
    padded = np.full((size, max(target_lengths)), padding)
    for n, target in enumerate(targets):
        padded[n, : len(target)] = target
    log_probs = log_softmax(logits).astype(rng.choice(["float16", "float32", "float64"]))
    if rng.random() < 0.3:
        for n, frames in enumerate(input_lengths):
            log_probs[frames:, n] = np.nan  # is never read
    return {
        "log_probs": log_probs,
        "targets": padded if rng.random() < 0.7 else np.concatenate(targets),
        "input_lengths": input_lengths,
        "target_lengths": np.array(target_lengths),
        "blank": blank,
    }


class TestSilence:
    def test_random_batches(self) -> None:
        found = {seed: alarms(diagnose(**healthy(seed))) for seed in range(200)}
        assert {seed: codes for seed, codes in found.items() if codes} == {}

    def test_random_batches_are_what_they_should_be(self) -> None:
        batches = [healthy(seed) for seed in range(200)]
        seen = Counter(str(batch["log_probs"].dtype) for batch in batches)
        assert min(seen[name] for name in ("float16", "float32", "float64")) > 40
        assert any(0 in batch["target_lengths"] for batch in batches)
        assert any(batch["log_probs"].shape[2] == 2 for batch in batches)
        notes = Counter(finding.code for batch in batches for finding in diagnose(**batch).findings)
        assert notes["peaky"] > 20

    def test_training(self) -> None:
        """Every step of a real training: untrained, all blank, learning, and finally peaky."""
        pytest.importorskip("torch", reason="the demo needs torch")
        pytest.importorskip("sklearn", reason="the demo needs scikit-learn")
        from ctckit.demo import data, train

        scans, rest = data.load_digits()
        held_out = data.write_lines(rest, 10, np.random.default_rng(1))
        steps = 24 * 4  # every fourth step's batch is kept
        with train.one_thread():
            record = train.train(scans, held_out, train.Budget(steps, 10, 1), 0, None, lambda record: None)
        assert len(record.kept) == 24
        found = [diagnose(logits.log_softmax(-1), *batch) for logits, *batch in record.kept]
        assert [alarms(diagnosis) for diagnosis in found] == [[]] * 24
        assert record.losses[-1] < 1.5 < record.losses[0]
        rates = [diagnosis.statistics["error_rate"] for diagnosis in found]
        assert rates[-1] < 0.6 < rates[0]

    @needs_data
    @pytest.mark.parametrize(
        ("name", "text", "other"),
        [
            (
                "iam_line_logits.npy",
                "the fake friend of the family, like the",
                "a longer line about something else now",
            ),
            ("iam_word_logits.npy", "aircraft", "sentence"),
        ],
    )
    def test_real_outputs(self, name: str, text: str, other: str) -> None:
        log_probs = log_softmax(np.load(DATA / name).astype(np.float64))
        spelled = [ALPHABET.index(character) for character in text]
        found = diagnose(log_probs, spelled, len(log_probs), len(spelled), blank=79)
        assert alarms(found) == []
        wrong = [ALPHABET.index(character) for character in other]
        found = diagnose(log_probs, wrong, len(log_probs), len(wrong), blank=79)
        assert alarms(found) == [("unlikely-target", 0)]


class TestInputs:
    def test_tensors_lists_and_arrays_are_the_same(self) -> None:
        torch = pytest.importorskip("torch", reason="tensors are torch's")
        batch = trained()
        batch["log_probs"] = batch["log_probs"].astype(np.float32)
        expected = diagnose(**batch).as_dict()
        tensors = {name: torch.as_tensor(value) for name, value in batch.items() if name != "blank"}
        tensors["log_probs"].requires_grad_()
        assert diagnose(**tensors).as_dict() == expected
        lists = {name: value.tolist() for name, value in batch.items() if name != "blank"}
        assert diagnose(**lists).as_dict() == expected

    def test_bfloat16(self) -> None:
        torch = pytest.importorskip("torch", reason="tensors are torch's")
        ml_dtypes = pytest.importorskip("ml_dtypes", reason="NumPy has no bfloat16")
        batch = trained()
        tensor = torch.as_tensor(batch["log_probs"]).bfloat16()
        found = diagnose(**batch | {"log_probs": tensor})
        assert found.healthy
        array = tensor.float().numpy().astype(ml_dtypes.bfloat16)
        assert diagnose(**batch | {"log_probs": array}).as_dict() == found.as_dict()

    def test_one_sample(self) -> None:
        batch = trained(size=1)
        one = diagnose(batch["log_probs"][:, 0], batch["targets"][0], 40, 6)
        assert one.as_dict() == diagnose(**batch).as_dict()

    def test_nothing_of_the_callers_is_changed(self) -> None:
        batch = trained()
        batch["log_probs"][3, 1, 2] = np.nan
        copies = {name: np.array(value, copy=True) for name, value in batch.items()}
        diagnose(**batch)
        for name, value in copies.items():
            np.testing.assert_array_equal(batch[name], value)

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            ({"log_probs": None}, ["log_probs has dtype object", "expected float64, float32"]),
            ({"log_probs": "cat"}, ["log_probs has dtype <U3", "expected float64, float32"]),
            ({"log_probs": np.zeros(5)}, ["log_probs has shape (5,)", "(T, N, C)"]),
            ({"log_probs": np.zeros((40, 0, 12))}, ["log_probs has shape (40, 0, 12)", "at least one sample"]),
            ({"log_probs": np.zeros((40, 4, 0))}, ["log_probs has shape (40, 4, 0)", "at least one class"]),
            ({"log_probs": [[0.0, 1.0], [0.0]]}, ["log_probs is not a rectangular array", "Pad its rows"]),
            ({"log_probs": np.broadcast_to(np.float32(0), (2**26 + 1, 4, 12))}, ["T=67108865", "at most 67108864"]),
            ({"targets": np.zeros((1, 4, 6), int)}, ["targets has shape (1, 4, 6)", "expected (N, S) padded"]),
            ({"targets": np.full((4, 6), 0.5)}, ["targets has dtype float64", "expected integers"]),
            ({"input_lengths": []}, ["input_lengths has shape (0,)", "N=4 samples"]),
            ({"blank": None}, ["blank = None has type NoneType", "expected an integer"]),
        ],
    )
    def test_what_is_not_a_batch(self, change: Arguments, parts: list[str]) -> None:
        """Nothing can be measured then, but the faults are still listed."""
        found = diagnose(**trained() | change)
        assert found.statistics["samples"] is None
        sentences = " ".join(found.findings[0].sentences())
        for part in parts:
            assert part in sentences
        json.dumps(found.as_dict(), allow_nan=False)
        assert str(found).startswith("Not healthy: ")
        assert found._repr_html_()

    def test_whole_numbers_in_floats_are_read_on(self) -> None:
        found = diagnose(**trained() | {"targets": trained()["targets"] * 1.0, "input_lengths": [[40]] * 4})
        assert alarms(found) == [("not-integers", None)]
        assert found.statistics["loss"] == diagnose(**trained()).statistics["loss"]

    def test_no_frames(self) -> None:
        batch = trained() | {"log_probs": np.zeros((0, 4, 12)), "input_lengths": [0] * 4}
        assert set(alarms(diagnose(**batch))) == {("infeasible", n) for n in range(4)} | {("mean-is-inf", None)}

    def test_logits_that_are_said_to_be_logits(self) -> None:
        batch = trained()
        expected = diagnose(**batch)
        batch["log_probs"] = 3 + batch["log_probs"] + np.linspace(0, 5, 40)[:, None, None]
        found = diagnose(**batch, from_logits=True)
        assert found.healthy
        assert found.statistics["loss"] == pytest.approx(expected.statistics["loss"])
        batch["log_probs"][3, 1, 2] = np.nan
        assert "logits[3, 1, 2] is nan" in the("not-finite", diagnose(**batch, from_logits=True)).message
        assert (
            "logits has T=40" in diagnose(**batch | {"input_lengths": [41] * 4}, from_logits=True).findings[0].message
        )

    def test_everything_at_once(self) -> None:
        """Faults don't hide each other, and none of them stops the diagnosis."""
        batch = untrained(size=6)
        batch["log_probs"][2, 0, 1] = np.nan
        batch["targets"][1, 2] = 0
        batch["targets"][2, 2] = 99
        batch["targets"][3, 3:] = -1
        batch["input_lengths"][4] = 3
        batch["input_lengths"][5] = 90
        assert set(alarms(diagnose(**batch))) == {
            ("not-finite", 0),
            ("blank-in-target", 1),
            ("token-out-of-range", 2),
            ("target-length-counts-padding", 3),
            ("infeasible", 4),
            ("input-length-out-of-range", 5),
            ("mean-is-nan", 0),
        }

    def test_nothing_stops_it(self) -> None:
        """Whatever numbers a batch holds, the diagnosis completes, without a warning from NumPy."""
        for seed in range(150):
            rng = np.random.default_rng(seed)
            batch = healthy(seed)
            log_probs = batch["log_probs"].astype(rng.choice(["float16", "float64"]))
            spoiled = rng.random(log_probs.shape) < rng.choice([0, 0.01, 1])
            log_probs[spoiled] = rng.choice([np.nan, np.inf, -np.inf, 0.0, 1e4], spoiled.sum())
            batch["log_probs"] = log_probs
            for name in ("targets", "input_lengths", "target_lengths"):
                spoiled = rng.random(batch[name].shape) < rng.choice([0, 0.3])
                batch[name] = np.where(spoiled, rng.choice([-5, 0, 3, 10**6], batch[name].shape), batch[name])
            batch["blank"] = int(rng.choice([batch["blank"], -1, 10**6]))
            found = diagnose(**batch)
            json.dumps(found.as_dict(), allow_nan=False)
            assert str(found)
            assert found._repr_html_()


class TestReport:
    def test_worst_first(self) -> None:
        batch = trained()
        batch["targets"][0] = [7, 2, 9, 9, 1, 8]
        batch["input_lengths"][1] = 5
        found = diagnose(**batch)
        severities = [finding.severity for finding in found.findings]
        assert severities == sorted(severities, key=["error", "warning", "note"].index)
        assert set(severities) == {"error", "warning", "note"}
        assert not found.healthy

    def test_text(self) -> None:
        batch = trained()
        batch["input_lengths"][1] = 5
        text = str(diagnose(**batch))
        lines = text.splitlines()
        assert lines[0] == "Not healthy: 2 errors, 1 warning, 1 note (N=4 samples, T=40 frames, C=12 classes, blank=0)"
        assert max(map(len, lines)) <= 100
        assert "error: infeasible" in lines
        shown = " ".join(text.split())
        for finding in diagnose(**batch).findings:
            assert finding.message in shown
            assert finding.fix in shown
        assert str(diagnose(**trained())).startswith("Healthy: no errors, no warnings, 1 note (N=4")

    def test_the_same_fault_in_many_samples_is_short(self) -> None:
        batch = trained(size=40)
        batch["input_lengths"][:] = 5
        found = diagnose(**batch)
        assert sum(finding.code == "infeasible" for finding in found.findings) == 40
        text = str(found)
        assert text.count("error: infeasible") == 3
        assert "The same in 37 more: samples 3, 4, 5" in text

    def test_html_is_escaped_and_whole(self) -> None:
        found = diagnose(**trained() | {"blank": "1 < 2 & <script>"})
        page = found._repr_html_()
        assert "1 &lt; 2 &amp; &lt;script&gt;" in page
        assert "<script>" not in page
        page += diagnose(**trained())._repr_html_()
        for tag in ("div", "ul", "li", "table"):
            assert page.count(f"<{tag}") == page.count(f"</{tag}>") > 0

    def test_chinese(self) -> None:
        batch = trained(size=8)
        batch["log_probs"][3, 0, 2] = np.nan
        batch["targets"][1, 2] = 0
        batch["input_lengths"][2:] = 5
        found = diagnose(**batch)
        text = found.text("zh")
        assert text.startswith("不正常：")
        assert "另有 3 个样本也如此" in text
        for finding in found.findings:
            for sentence in finding.sentences("zh"):
                assert re.search("[一-鿿].*[。？]$", sentence)
        assert "不正常：" in found.html("zh")
        with pytest.raises(ctckit.CTCError, match="lang = 'fr' is unknown"):
            found.text("fr")

    def test_chinese_columns(self) -> None:
        """A Chinese character takes two columns: the statistics line up, and no line is longer than an English one."""
        batch = trained(size=8)
        batch["input_lengths"][2:] = 5
        lines = diagnose(**batch).text("zh").split("\n")
        assert all(cells(line) <= 100 for line in lines)
        assert any(cells(line) > 80 for line in lines)
        assert not any(line.lstrip().startswith(("，", "。", "；", "）")) for line in lines)
        table = lines[len(lines) - lines[::-1].index("") :]
        begins = {cells(re.match(r"\S+(?: 的概率)? +", line)[0]) for line in table}  # type: ignore[index]
        assert len(table) > 5
        assert len(begins) == 1

    def test_dictionary_is_strict_json(self) -> None:
        batch = trained()
        batch["log_probs"][0, 0, 0] = np.inf
        batch["input_lengths"][1] = 3
        found = diagnose(**batch)
        read = json.loads(json.dumps(found.as_dict(), allow_nan=False))
        assert read["healthy"] is False
        assert [finding["code"] for finding in read["findings"]] == [finding.code for finding in found.findings]
        assert read["findings"][0]["evidence"]["value"] == "inf"
        assert read["statistics"]["losses"][:2] == [None, "inf"]
