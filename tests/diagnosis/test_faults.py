"""Faults: the loss raises the first of what a diagnosis lists, in the same words; each code has words and a call."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.codes import DECODING
from support.installed import HAS_JAX
from support.messages import BAD, GOOD, SINGLE

import ctckit
from ctckit.catalogue import words
from ctckit.faults import Fault
from ctckit.text import Vocabulary
from ctckit.validate import check_offset

OF_JAX = {"arguments-exchanged", "paddings-form", "paddings-value", "paddings-order"}
CODES = {key.split("/")[0] for key in words("faults", "en")} - {"hint", "where"}


def fault_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> Fault:
    with pytest.raises(ctckit.CTCError) as caught:
        function(*arguments, **options)
    assert caught.value.fault is not None
    assert str(caught.value) == caught.value.fault.message()
    return caught.value.fault


@pytest.mark.parametrize("case", BAD)
def test_the_loss_raises_the_first_that_a_diagnosis_lists(case: str) -> None:
    arguments = GOOD | BAD[case][0]
    fault = fault_of(ctckit.ctc_loss, **arguments)
    finding = ctckit.diagnose(**arguments).findings[0]
    assert finding.fault == fault
    assert (finding.severity, finding.code, finding.sample) == ("error", fault.code, fault.sample)
    assert finding.message == f"{fault.statement()}."
    advice = fault.advice()
    assert finding.fix.startswith(advice[:1].upper() + advice[1:])


# Several faults in one call, and the codes that a diagnosis lists, in their order.
SEVERAL: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"input_lengths": [7, 5, -1], "target_lengths": [3, 4, 1]},
        ["input-length-out-of-range", "input-length-out-of-range", "target-length-out-of-range"],
    ),
    (
        {"targets": np.array([[9, 0, 0], [4, 4, 0], [2, 0, 0]]), "blank": 5},
        ["blank-out-of-range", "token-out-of-range"],
    ),
    (
        {"targets": np.array([[9, 0, 3], [1, -1, 0], [7, 0, 0]])},
        ["token-out-of-range", "blank-in-target", "target-length-counts-padding", "token-out-of-range"],
    ),
    (
        {"log_probs": GOOD["log_probs"] > 0, "targets": GOOD["targets"] * 0.5, "blank": "_", "target_lengths": 3},
        ["not-floats", "blank-not-integer", "shape-mismatch", "not-integers"],
    ),
    (
        {"target_lengths": [3, 2, 1, 1], "targets": GOOD["targets"][:2], "blank": -1},
        ["blank-out-of-range", "shape-mismatch", "shape-mismatch"],
    ),
]


@pytest.mark.parametrize(("change", "codes"), SEVERAL)
def test_a_diagnosis_lists_them_all(change: dict[str, Any], codes: list[str]) -> None:
    arguments = GOOD | change
    found = [finding.fault for finding in ctckit.diagnose(**arguments).findings if finding.fault]
    assert [fault.code for fault in found] == codes
    assert fault_of(ctckit.ctc_loss, **arguments) == found[0]


def test_axes_swapped_are_one_fault() -> None:
    swapped = GOOD | {"log_probs": np.zeros((3, 6, 5))}
    fault = fault_of(ctckit.ctc_loss, **swapped)
    assert (fault.code, fault.argument, fault.value) == ("batch-first", "log_probs", (3, 6, 5))
    assert "it looks like (N, T, C)" in fault.message()


@pytest.mark.parametrize("lengths", [([8, 8, 8], 8), (8, [2, 2, 1]), (8, 2), ([8, 8], [2, 2, 1])], ids=str)
def test_axes_swapped_and_other_counts_of_lengths(lengths: tuple[Any, Any]) -> None:
    found = ctckit.diagnose(np.zeros((3, 8, 5)), np.array([[1, 2], [3, 1], [2, 0]]), *lengths, 4)
    assert found.findings[0].fault is not None
    assert found.text("zh")


def test_lists_are_shown_as_they_are() -> None:
    fault = fault_of(ctckit.ctc_loss, **GOOD, reduction=["mean"])
    assert fault.message().startswith("reduction = ['mean'] is unknown: expected one of 'none', 'mean', 'sum'")


class Unreadable:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise KeyError("nothing here")


def odd_values() -> list[Any]:
    """What people pass by mistake, and what libraries make of arrays."""
    torch = pytest.importorskip("torch", reason="tensors are torch's")
    return [
        *(None, "cat", b"x", 1, -1, 10**30, 1.5, 1j, True, math.nan, object(), {"a": 1}, Unreadable(), range(2)),
        *([], [[]], [1, 2], [[1], [2, 3]], [10**30, 1], (1, 2, 3), iter([1, 2])),
        *(np.zeros(0), np.zeros((0, 0)), np.zeros((2, 0, 3)), np.zeros((0, 2, 3)), np.array(5), np.float32(2)),
        *(np.array([2**64 - 1, 1], np.uint64), np.array([math.nan, 2]), np.array(["a"]), np.zeros((2, 1), int)),
        *(np.zeros((3, 2, 4), complex), np.zeros((3, 2, 4), ">f4"), np.zeros((3, 2, 4), np.longdouble)),
        *(
            np.array([1e300, 2]),
            np.full((3, 2, 4), math.inf),
            np.full((3, 2, 4), -math.inf),
            np.array([1, 2], "datetime64[s]"),
        ),
        *(torch.zeros(3, 2, 4), torch.zeros(3, 2, 4, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bool)),
        *(torch.zeros(2, 2, device="meta"), torch.zeros(2, 2).to_sparse()),
    ]


def test_odd_arguments() -> None:
    """Whatever is passed, the loss and a diagnosis find the same, and nothing else than a CTCError is raised."""
    rng = np.random.default_rng(0)
    odd = odd_values()
    good = [np.log(np.full((3, 2, 4), 0.25)), np.array([[1, 2], [3, 1]]), np.array([3, 3]), np.array([2, 1]), 0]
    places = [(i, o) for i in range(5) for o in range(len(odd))]
    changes = [[place] for place in places]
    changes += [[places[p] for p in rng.integers(len(places), size=rng.integers(2, 6))] for _ in range(800)]
    for change in changes:
        arguments = list(good)
        for i, o in change:
            arguments[i] = odd[o]
        found = ctckit.diagnose(*arguments)
        listed = [finding.fault for finding in found.findings if finding.fault]
        assert found.text("zh")
        json.dumps(found.as_dict(), allow_nan=False)
        raised = []
        try:
            ctckit.ctc_loss(*arguments)
        except ctckit.CTCError as error:
            raised.append(error.fault)
        assert repr(listed[:1]) == repr(raised)  # not ==: a value may be NaN, or an array


def other_calls() -> list[tuple[Callable[..., Any], dict[str, Any], str]]:
    """Calls whose faults a loss on arrays does not have."""
    torch = pytest.importorskip("torch", reason="tensors are torch's")
    import ctckit.torch

    align, scores = ctckit.forced_align, SINGLE["log_probs"]
    (alignment,) = align(scores, [1, 2])
    tensor = torch.zeros(6, 2, 5)
    lengths = {"input_lengths": [6, 6], "target_lengths": [1, 1]}

    def mapped(targets: Any) -> Any:
        return ctckit.torch.ctc_loss(tensor, targets, **lengths)

    def aligned(**options: Any) -> Any:
        return align(scores, [1, 2], **options)

    def along(**options: Any) -> Any:
        return align(scores, **options)

    def over_targets(targets: Any) -> Any:
        return torch.func.vmap(mapped)(targets)

    def entered(**options: Any) -> None:
        ctckit.torch.replace_torch_ctc(**options).__enter__()

    lattice = ctckit.ctc_lattice([1])
    of_lattice, costs = {"scores": tensor, "lattices": lattice}, torch.full((2, 3), torch.inf)
    timed = Vocabulary(["_", "a", "b"]).transcribe("ab").segments
    return [
        (ctckit.ctc_loss, GOOD | {"reduction": "all"}, "unknown-choice"),
        (aligned, {"on_infeasible": "skip"}, "unknown-choice"),
        (aligned, {"star_cost": -1.0}, "cost-out-of-range"),
        (aligned, {"optional": [1]}, "optional-shape"),
        (aligned, {"optional": np.array([1, 2**63], np.uint64)}, "optional-too-large"),
        (aligned, {"optional": [0.5, 0.5]}, "not-integers"),
        (align, {"log_probs": GOOD["log_probs"], "targets": [1, 2, 3]}, "target-lengths-missing"),
        (align, {"log_probs": scores[:1], "targets": [1, 1]}, "no-path"),
        (along, {}, "targets-missing"),
        (along, {"lattices": lattice, "targets": [1]}, "targets-and-lattices"),
        (ctckit.torch.forced_align, {"log_probs": tensor[0], "targets": torch.ones(1, 1)}, "batch-first-shape"),
        (ctckit.torch.forced_align, {"log_probs": tensor, "targets": torch.ones(2)}, "padded-shape"),
        (along, {"lattices": "ab"}, "not-a-lattice"),
        (along, {"lattices": [lattice] * 2}, "lattices-count"),
        (along, {"lattices": ctckit.ctc_lattice([7])}, "label-out-of-range"),
        (along, {"lattices": lattice, "class_scores": [0.0]}, "added-scores-form"),
        (along, {"lattices": lattice, "class_scores": [0.0, 0.0, math.nan, 0.0, 0.0]}, "added-scores-value"),
        (along, {"lattices": lattice, "class_scores": [0.0, 1e9, 0.0, 0.0, 0.0]}, "added-scores-value"),
        (along, {"lattices": lattice.with_costs([-1e9] * 3)}, "gain-too-large"),
        (alignment.spans, {"extend": -1}, "extend-out-of-range"),
        (ctckit.set_num_threads, {"threads": 0}, "integer-out-of-range"),
        (Vocabulary, {"labels": ["a", "b"], "blank": 7}, "blank-out-of-range"),
        (timed, {"alignment": alignment, "frame_shift": 0}, "frame-shift-out-of-range"),
        (check_offset, {"seconds": -1}, "offset-out-of-range"),
        (ctckit.torch.ctc_loss, {"log_probs": scores, "targets": [1], **lengths}, "not-a-tensor"),
        (ctckit.torch.lattice_loss, {**of_lattice, "class_scores": torch.zeros(5, device="meta")}, "other-device"),
        (ctckit.torch.lattice_loss, {**of_lattice, "entry_costs": -costs}, "added-scores-value"),
        (over_targets, {"targets": torch.ones(2, 2, 1, dtype=torch.long)}, "mapped"),
        (ctckit.ctc_loss, GOOD | {"targets": torch.ones(3, 3, dtype=torch.long, device="meta")}, "not-an-array"),
        (ctckit.ctc_loss, GOOD | {"zero_infinity": "yes"}, "not-a-flag"),
        (ctckit.torch.ctc_loss, {"log_probs": tensor.to_sparse(), "targets": [1, 1], **lengths}, "unreadable-tensor"),
        (ctckit.torch.ctc_loss, {"log_probs": tensor, "targets": torch.tensor([1.5, 2]), **lengths}, "not-whole"),
        (entered, {"modules": ["math"]}, "no-early-name"),
        (ctckit.ctc_loss, GOOD | {"index": [0, 1]}, "index-shape"),
        (ctckit.ctc_loss, GOOD | {"index": [0, 1, 3]}, "index-out-of-range"),
        (ctckit.ctc_loss, SINGLE | {"index": [0]}, "index-one-sample"),
        (
            ctckit.torch.ctc_loss,
            {"log_probs": tensor[None], "targets": [1, 1], **lengths, "index": [0]},
            "index-and-heads",
        ),
        (ctckit.torch.ctc_loss, {"log_probs": tensor[None][:0], "targets": [1, 1], **lengths}, "no-heads"),
    ]


def calls_of_jax() -> list[tuple[Callable[..., Any], dict[str, Any], str]]:
    import ctckit.jax
    from ctckit.jax import optax

    ones = np.ones(2, np.int32)
    exchanged = {"targets": ones, "input_lengths": np.ones((2, 3), np.int32), "target_lengths": ones}
    paddings = {
        "logits": np.zeros((2, 4, 3), np.float32),
        "logit_paddings": np.zeros((2, 4)),
        "labels": np.ones((2, 3), np.int32),
        "label_paddings": np.zeros((2, 3)),
    }
    return [
        (ctckit.jax.ctc_loss, {"logits": paddings["logits"], **exchanged}, "arguments-exchanged"),
        (optax.ctc_loss, paddings | {"logit_paddings": np.zeros(4)}, "paddings-form"),
        (optax.ctc_loss, paddings | {"logit_paddings": np.full((2, 4), 0.5)}, "paddings-value"),
        (optax.ctc_loss, paddings | {"label_paddings": np.array([[1, 0, 0]] * 2)}, "paddings-order"),
    ]


@pytest.mark.skipif(not HAS_JAX, reason="jax is not installed: the extra tests has it for Python below 3.15")
def test_codes_of_jax_are_raised_and_worded() -> None:
    found = [fault_of(function, **arguments) for function, arguments, _ in calls_of_jax()]
    assert [fault.code for fault in found] == [code for *_, code in calls_of_jax()]
    assert {fault.code for fault in found} == OF_JAX
    for fault in found:
        assert not re.search(r"\{\w", fault.message() + fault.message("zh"))
        assert re.search("[一-鿿]", fault.message("zh"))


def test_every_code_is_raised_and_worded() -> None:
    found = [fault_of(ctckit.ctc_loss, **GOOD | change) for change, _ in BAD.values()]
    found.append(fault_of(ctckit.ctc_loss, **GOOD | {"log_probs": np.zeros((3, 6, 5))}))
    for function, arguments, code in other_calls():
        fault = fault_of(function, **arguments)
        assert fault.code == code
        found.append(fault)
    elsewhere = {"text-does-not-fit", "never-called", "blank-in-target-as-torch"}  # in other tests; two are warnings
    assert {fault.code for fault in found} | elsewhere | DECODING | OF_JAX == CODES
    for fault in found:
        chinese = fault.message("zh")
        assert re.search("[一-鿿]", chinese)
        assert not re.search(r"\{\w", fault.message() + chinese)
        assert (fault.argument in chinese) == (fault.argument in fault.message())


def test_infeasible_says_which_sample_and_how_many_frames() -> None:
    batch = {"log_probs": np.zeros((6, 3, 5)), "targets": [[1, 2, 3], [4, 4, 4], [2, 2, 1]]}
    with pytest.raises(ctckit.InfeasibleError) as caught:
        ctckit.forced_align(**batch, input_lengths=[6, 4, 3])
    error = caught.value
    assert (error.sample, error.frames, error.needed) == (1, 4, 5)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.sample, again.fault) == (str(error), 1, error.fault)
    with pytest.raises(ctckit.InfeasibleError) as caught:
        ctckit.forced_align(np.zeros((2, 5)), [3, 3])
    assert (caught.value.sample, caught.value.frames, caught.value.needed) == (None, 2, 3)


def test_an_error_that_is_not_about_arguments_has_no_fault() -> None:
    with pytest.raises(ctckit.CTCError) as caught:
        Vocabulary([])
    assert caught.value.fault is None
