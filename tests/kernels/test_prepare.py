"""What the extension does around the kernels, each against a few lines of Python that do the same."""

import itertools
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.installed import needs_linux

import ctckit
from ctckit import Arc, native
from ctckit.lattice import ARCS_BY_ROLE

INT64 = st.integers(-(2**63), 2**63 - 1)


@dataclass
class Call:
    """A call's integers, as validate/ hands them over."""

    frames: list[int]
    rows: list[list[int]]  # each sample's tokens, and padding if padded
    lengths: list[int]
    padded: bool
    frames_max: int
    classes: int
    blank: int

    @property
    def targets(self) -> np.ndarray:
        if self.padded:
            return np.array(self.rows, np.int64).reshape(len(self.rows), -1)
        return np.array([token for row in self.rows for token in row], np.int64)

    def lay_out(self, arcs_by_role: np.ndarray = ARCS_BY_ROLE) -> native.LatticeBatch | tuple[str, int]:
        frames, lengths = np.array(self.frames, np.int64), np.array(self.lengths, np.int64)
        return native.lay_out(frames, self.targets, lengths, self.frames_max, self.classes, self.blank, arcs_by_role)


@st.composite
def calls(draw_from: st.DrawFn) -> Call:
    """Good calls, ragged, of either form."""
    size, longest, padded = draw_from(st.integers(1, 4)), draw_from(st.integers(0, 5)), draw_from(st.booleans())
    classes, frames_max = draw_from(st.integers(2, 5)), draw_from(st.integers(0, 9))
    blank = draw_from(st.integers(0, classes - 1))
    tokens = st.sampled_from([token for token in range(classes) if token != blank])
    lengths = [draw_from(st.integers(0, longest)) for _ in range(size)]
    rows = [[draw_from(tokens) for _ in range(length)] for length in lengths]
    if padded:
        rows = [row + [draw_from(INT64) for _ in range(longest - len(row))] for row in rows]
    frames = [draw_from(st.integers(0, frames_max)) for _ in range(size)]
    return Call(frames, rows, lengths, padded, frames_max, classes, blank)


def first_fault(call: Call) -> tuple[str, int] | None:
    for n, frames in enumerate(call.frames):
        if not 0 <= frames <= call.frames_max:
            return "input_lengths", n
    flat = call.targets.ravel().tolist()
    most = call.targets.shape[1] if call.padded else len(flat)
    for n, length in enumerate(call.lengths):
        if not 0 <= length <= most:
            return "target_lengths", n
    if not call.padded and sum(call.lengths) != len(flat):
        return "sum", sum(call.lengths)
    used = [n * most + s for n, length in enumerate(call.lengths) for s in range(length)] if call.padded else None
    for i in range(len(flat)) if used is None else used:
        if not 0 <= flat[i] < call.classes or flat[i] == call.blank:
            return "token", i
    return None


@given(calls())
def test_good_calls_are_good(call: Call) -> None:
    """Whatever the padding holds."""
    made = call.lay_out()
    assert made.frames.tolist() == call.frames
    assert made.num_tokens.tolist() == call.lengths


@given(calls(), st.data())
def test_the_first_fault_is_found(call: Call, data: st.DataObject) -> None:
    """Any values anywhere: some harmless, some wrong, some wrong in several places."""
    for _ in range(data.draw(st.integers(1, 3))):
        cells = data.draw(st.sampled_from([call.frames, call.lengths, *call.rows]))
        if cells:
            cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(st.integers(-2, 9) | INT64)
    made, fault = call.lay_out(), first_fault(call)
    assert made == fault if isinstance(made, tuple) else fault is None


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64", ">i4"])
@pytest.mark.parametrize("single", [False, True], ids=["batch", "one sample"])
@pytest.mark.parametrize("end_to_end", [False, True], ids=["padded", "end to end"])
def test_a_bad_token_is_named_wherever_it_is(dtype: str, single: bool, end_to_end: bool) -> None:
    """By the position and the value that the caller knows, also where int64 does not hold it."""
    lengths = [3] if single else [3, 1, 2]
    scores = np.zeros((9, 4) if single else (9, 3, 4))
    frames = 9 if single else [9] * 3
    for n, length in enumerate(lengths):
        for s in range(length):
            for value in (0, np.iinfo(dtype).max, 4, np.iinfo(dtype).min):
                targets: Any = np.ones((len(lengths), 3), dtype)
                targets[n, s] = value
                where = f"targets[{n}, {s}]"
                if end_to_end:
                    targets = np.concatenate([row[:used] for row, used in zip(targets, lengths, strict=True)])
                    flat = sum(lengths[:n]) + s
                    where = f"targets[{flat}]" + ("" if single else f" (sample {n}, token {s})")
                with pytest.raises(ctckit.CTCError) as caught:
                    ctckit.ctc_loss(scores, targets, frames, lengths[0] if single else lengths)
                assert str(caught.value).startswith(f"{where} = {value} is ")


@given(calls(), st.lists(st.integers(0, 31), min_size=5, max_size=5))
def test_arcs_follow_the_table(call: Call, table: list[int]) -> None:
    """Any table: the layout knows no rule but that no arc comes from a state before the first."""
    made = call.lay_out(np.array(table, np.uint8))
    states_max = 2 * (call.targets.shape[1] if call.padded else max(call.lengths)) + 1
    assert made.labels.shape == made.arcs.shape == (len(call.rows), states_max)
    blank, token, repeat, first, last = table
    for n, length in enumerate(call.lengths):
        row, count = call.rows[n][:length], 2 * length + 1
        expected = [blank] * count
        for s in range(length):
            expected[2 * s + 1] = repeat if s and row[s] == row[s - 1] else token
        for k in range(count):
            expected[k] |= first * (k < 2) | last * (k >= count - 2)
            expected[k] &= ~((Arc.STEP if k < 1 else 0) | (Arc.SKIP if k < 2 else 0))
        beyond = states_max - count
        assert made.num_states[n] == count
        assert made.arcs[n].tolist() == expected + [0] * beyond
        assert (
            made.labels[n].tolist() == [call.blank, *(x for y in row for x in (y, call.blank))] + [call.blank] * beyond
        )


@pytest.mark.parametrize(
    ("target", "arcs"),
    [
        ([], "se"),
        ([1], "s se- -e"),
        ([1, 1], "s s- - -e -e"),
        ([1, 2], "s s- - -=e -e"),
        ([1, 2, 2, 1], "s s- - -= - - - -=e -e"),
    ],
)
def test_the_ctc_rule(target: list[int], arcs: str) -> None:
    """By hand. Each state may be stayed in; -: entered by a step; =: by a skip; s, e: where paths start and end."""
    letters = {"-": Arc.STEP, "=": Arc.SKIP, "s": Arc.START, "e": Arc.END}
    expected = [sum(letters[letter] for letter in state) + Arc.STAY for state in arcs.split()]
    assert ctckit.ctc_lattice(np.array(target, int)).arcs.tolist() == expected


@pytest.mark.parametrize("target", [[1, 0], [2, -2]])
def test_a_lattice_holds_tokens_only(target: list[int]) -> None:
    with pytest.raises(ctckit.CTCError, match=rf"target\[1\] = {target[1]} is not a token: .* other than the blank, 0"):
        ctckit.ctc_lattice(np.array(target))


def test_a_lattice_batch_holds_copies() -> None:
    """Its arrays keep it alive and are read-only; the caller's arrays may change."""
    lengths = np.array([2, 1])
    made = native.lay_out(lengths, np.array([[1, 1], [2, 0]]), lengths, 2, 3, 0, ARCS_BY_ROLE)
    labels = made.labels
    lengths[:] = 0
    assert made.frames.tolist() == made.num_tokens.tolist() == [2, 1]
    del made
    assert labels.tolist() == [[0, 1, 0, 1, 0], [0, 2, 0, 0, 0]]
    assert not labels.flags.writeable


ONES = np.ones(2, np.int64)


@pytest.mark.parametrize(
    ("frames", "targets", "lengths"),
    [(ONES, ONES, ONES[:1]), (ONES[:1], np.ones((2, 3), int), ONES[:1]), (ONES, np.ones((2, 3, 1), int), ONES)],
)
def test_lay_out_takes_only_arrays_that_fit(frames: np.ndarray, targets: np.ndarray, lengths: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must have N entries"):
        native.lay_out(frames, targets, lengths, 5, 5, 0, ARCS_BY_ROLE)


@pytest.mark.parametrize(
    "bad", ["frames", "num_tokens", "labels", "arcs", "num_states", "too many states", "no states"]
)
def test_a_lattice_batch_takes_only_arrays_that_fit(bad: str) -> None:
    arrays = {
        "frames": ONES,
        "num_tokens": ONES,
        "labels": np.zeros((2, 3), np.int32),
        "arcs": np.zeros((2, 3), np.uint8),
    }
    arrays["num_states"] = np.array([3, {"too many states": 4, "no states": 0}.get(bad, 3)], np.int32)
    if bad in arrays:
        arrays[bad] = arrays[bad][:1]
    with pytest.raises(ValueError, match="must"):
        native.LatticeBatch(**arrays)


@pytest.mark.parametrize(
    "long_arcs",
    ["0 2 2", "0 2 1", "0 -1 1", "0 0 3", "2 0 2", "-1 0 2", "1 0 2, 0 0 2", "0 0 2, 0 0 1"],
)
def test_a_lattice_batch_takes_only_long_arcs_that_lead_on(long_arcs: str) -> None:
    cells = np.zeros((2, 3), np.int32), np.zeros((2, 3), np.uint8), np.full(2, 3, np.int32)
    fine = np.array([[0, 0, 2], [0, 1, 2], [1, 0, 1]], np.int32)
    assert native.LatticeBatch(ONES, ONES, *cells, fine).long_arcs.tolist() == fine.tolist()
    with pytest.raises(ValueError, match="long_arcs must"):
        native.LatticeBatch(
            ONES, ONES, *cells, np.array([row.split() for row in long_arcs.split(", ")]).astype(np.int32)
        )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("entry_costs", np.zeros((2, 2))),
        ("entry_costs", np.zeros((1, 3))),
        ("entry_costs", np.full((2, 3), -np.inf)),
        ("entry_costs", np.full((2, 3), np.nan)),
        ("tokens", np.zeros((2, 2), np.int32)),
        ("long_arc_scores", np.zeros(2)),
        ("long_arc_scores", np.array([np.inf])),
        ("long_arc_scores", np.array([np.nan])),
    ],
)
def test_a_lattice_batch_takes_only_numbers_that_fit(name: str, wrong: np.ndarray) -> None:
    cells = np.zeros((2, 3), np.int32), np.zeros((2, 3), np.uint8), np.full(2, 3, np.int32)
    plain = native.LatticeBatch(ONES, ONES, *cells)
    assert plain.entry_costs is None
    assert plain.tokens.tolist() == [[-1] * 3] * 2
    assert not plain.long_arc_scores.size
    fine: dict[str, Any] = {
        "long_arcs": np.array([[1, 0, 2]], np.int32),
        "entry_costs": np.array([[-1, 0.5, np.inf], [0, 0, 2]]),
        "tokens": np.array([[0, -1, 1]] * 2, np.int32),
        "long_arc_scores": np.array([-np.inf]),
    }
    made = native.LatticeBatch(ONES, ONES, *cells, **fine)
    for attribute, value in fine.items():
        np.testing.assert_array_equal(getattr(made, attribute), value)
    with pytest.raises(ValueError, match=f"{name} must"):
        native.LatticeBatch(ONES, ONES, *cells, **fine | {name: wrong})


def test_tokens_of_a_layout() -> None:
    lengths = np.array([2, 0])
    made = native.lay_out(lengths, np.array([[1, 1], [9, 9]]), lengths, 2, 3, 0, ARCS_BY_ROLE)
    assert isinstance(made, native.LatticeBatch)
    assert made.tokens.tolist() == [[-1, 0, -1, 1, -1], [-1] * 5]


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-100, 0) | st.just(-np.inf)), min_size=1), st.booleans())
def test_reductions(samples: list[tuple[int, float]], zero_infinity: bool) -> None:
    lengths, scores = (np.array(column) for column in zip(*samples, strict=True))
    size = len(lengths)
    cells = np.zeros((size, 1), np.int32), np.zeros((size, 1), np.uint8), np.ones(size, np.int32)
    batch = native.LatticeBatch(np.zeros(size, np.int64), lengths, *cells)
    assert batch.loss_weights(False).tolist() == [1] * size
    weights = batch.loss_weights(True)
    np.testing.assert_allclose(weights, [1 / (max(length, 1) * len(samples)) for length in lengths], rtol=2**-52)
    losses = [0.0 if zero_infinity and score == -np.inf else -score for score in scores]
    found = native.weighted_loss(scores, weights, zero_infinity)
    np.testing.assert_allclose(found, sum(w * x for w, x in zip(weights, losses, strict=True)), rtol=1e-14)
    assert not np.signbit(found)


def call_of(lattices: native.LatticeBatch, scores: np.ndarray) -> dict[str, Any]:
    """Arguments of native.sums without optional ones."""
    names = ("grad", "weights", "occupancy", "along", "occupancy_along", "class_scores", "state_scores", "index")
    gradients = [f"{name}_grad" for name in ("class_scores", "state_scores", "entry_costs", "long_arc_scores")]
    size = scores.shape[1]
    call = {"scores": scores, "from_logits": True, "lattices": lattices, "isa": native.instruction_sets()[0]}
    call |= {"adds_softmax": False, "readable": False, "ends": 0}
    call |= {"threads": 1, "score": np.zeros(size), "status": np.zeros(size, np.uint8)}
    return call | dict.fromkeys((*names, *gradients))


def test_outputs_are_written_to_or_refused() -> None:
    """An output that had to be converted would be written as a copy, and lost."""
    cells = np.zeros((2, 1), np.int32), np.zeros((2, 1), np.uint8), np.ones(2, np.int32)
    lattices, scores = native.LatticeBatch(ONES, ONES, *cells), np.zeros((3, 2, 4), np.float32)
    wrongs = {
        "score": np.zeros(2, np.float32),
        "status": np.zeros(2, np.int32),
        "occupancy": np.zeros((3, 2, 2))[..., ::2],
        "class_scores_grad": np.zeros((2, 4), np.float32),
        "long_arc_scores_grad": np.zeros(4)[::2],
    }
    for name, wrong in wrongs.items():
        with pytest.raises(TypeError, match="incompatible"):
            native.sums(**call_of(lattices, scores) | {name: wrong})


def test_sums_take_only_arrays_that_fit() -> None:
    cells = np.zeros((2, 1), np.int32), np.zeros((2, 1), np.uint8), np.ones(2, np.int32)
    lattices, scores = native.LatticeBatch(ONES, ONES, *cells), np.zeros((3, 2, 4), np.float32)
    native.sums(**call_of(lattices, scores))
    wrongs = {
        "status": np.zeros(3, np.uint8),
        "class_scores": np.zeros(3),
        "state_scores": np.zeros((2, 2)),
        "class_scores_grad": np.zeros((2, 3)),
        "state_scores_grad": np.zeros((1, 1)),
        "entry_costs_grad": np.zeros((2, 2)),
        "long_arc_scores_grad": np.zeros(1),
        "index": np.zeros(3, np.int64),
        "ends": 4,
        "isa": "x86-64-v9",
    }
    for index in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="index must be within N"):
            native.sums(**call_of(lattices, scores) | {"index": np.array(index)})
    for name, wrong in wrongs.items():
        with pytest.raises(ValueError, match=r"must|unknown instruction set"):
            native.sums(**call_of(lattices, scores) | {name: wrong})


def test_free_ends_go_with_few_outputs() -> None:
    cells = np.zeros((2, 1), np.int32), np.full((2, 1), 25, np.uint8), np.ones(2, np.int32)
    lattices, scores = native.LatticeBatch(ONES, ONES, *cells), np.zeros((3, 2, 4), np.float32)
    call = call_of(lattices, scores) | {"ends": 1}
    native.sums(**call)
    wrongs = {
        "state_scores": np.zeros((2, 1)),
        "class_scores_grad": np.zeros((2, 4)),
        "state_scores_grad": np.zeros((2, 1)),
        "entry_costs_grad": np.zeros((2, 1)),
        "occupancy": np.zeros((3, 2, 1), np.float32),
    }
    for name, wrong in wrongs.items():
        with pytest.raises(ValueError, match="ends must be known, and have no outputs but scores and their gradient"):
            native.sums(**call | {name: wrong})


def started_with(instruction_set: str) -> subprocess.CompletedProcess[str]:
    """A new Python under CTCKIT_ISA that prints the instruction set in use."""
    code = "from ctckit.kernels import native; print(native.instruction_set())"
    environment = os.environ | {"CTCKIT_ISA": instruction_set}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", native.instruction_sets())
def test_the_environment_forces_an_instruction_set(name: str) -> None:
    done = started_with(name)
    assert done.stdout.strip() == name, done.stderr


def test_an_instruction_set_that_is_not_there() -> None:
    done = started_with("x86-64-v9")
    names = ", ".join(native.instruction_sets())
    assert f"CTCError: CTCKIT_ISA = 'x86-64-v9' is not available: expected one of {names}" in done.stderr
    assert started_with("").stdout.strip() == native.instruction_sets()[-1]  # empty means not set


# Beyond x86-64-v2, by the names that Linux has for them: "abm" is LZCNT.
FEATURES = {
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
}


@needs_linux
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the levels are those of x86-64")
def test_a_level_is_there_if_linux_lists_all_its_features() -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    expected = ["x86-64-v2", *itertools.takewhile(lambda name: FEATURES[name] <= {*flags.split()}, FEATURES)]
    assert native.instruction_sets() == expected
