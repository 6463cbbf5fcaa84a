"""The GPU backend's own features: tensor layouts, wrong values, rows cut into tiles, no synchronisation, compiling.

The rules that all backends share are tested elsewhere, in tests with the backend as a parameter. In Triton's
interpreter only few of those tests are run, with a GPU all of them.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.backends import Backend, check_batch
from support.batches import Array, Batch, draw, truth_of
from support.installed import has_gpu
from support.triton import Triton

from ctckit import Arc, CTCError, Lattice, ctc_lattice
from ctckit.kernels import reference
from ctckit.problem import ArrayProblem, lattice_problem
from ctckit.results import Status

torch = pytest.importorskip("torch", reason="the GPU backend needs torch")
triton = pytest.importorskip("triton", minversion="3.4", reason="the GPU backend needs triton")
HAS_GPU = has_gpu()

import triton.language as tl  # noqa: E402

from ctckit.kernels import triton as backend  # noqa: E402
from ctckit.kernels.backend import Gradients  # noqa: E402
from ctckit.kernels.triton import blocks, gradient, rows, scaled, tuning  # noqa: E402
from ctckit.problem import Problem  # noqa: E402
from ctckit.torch.arguments import as_tensor  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if HAS_GPU else "cpu"

# NumPy, which the interpreter computes with, warns of NaN and infinity where a GPU does not.
# On a GPU torch warns once that its synchronisation debug mode does not detect everything.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Synchronization debug mode")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Memory that nothing wrote cannot look like a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(before)


@pytest.fixture(params=[2048, 2], ids=["registers", "tiles"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in registers, and rows of several tiles, which are kept in memory; all classes at a time, and two."""
    monkeypatch.setattr(tuning, "LARGEST_BLOCK", request.param)
    if request.param == 2:
        monkeypatch.setattr(tuning, "LARGEST_PART", 2)
        monkeypatch.setattr(tuning, "TILE", 2)
        monkeypatch.setattr(tuning, "best_row", lambda pairs: tuning.BestRow(1, 32, 0))
        monkeypatch.setattr(gradient, "MOST_CLASSES", 2)
        monkeypatch.setattr(gradient, "STATES_BLOCK", 2)


def tensor(scores: Array) -> Any:
    return torch.from_numpy(scores).float().to(DEVICE)


def arguments(batch: Batch) -> tuple[Any, ...]:
    targets, frames, lengths, blank = batch.arguments
    return (*(torch.from_numpy(np.asarray(x)).to(DEVICE) for x in (targets, frames, lengths)), blank)


def problem(scores: Any, *given: Any, from_logits: bool = True) -> Any:
    return Problem(scores, from_logits, backend.ctc_lattices(scores, *given))


def problem_of(batch: Batch, *, from_logits: bool = True) -> Any:
    """Float32 scores, for any lengths and targets."""
    return problem(tensor(batch.scores), *arguments(batch), from_logits=from_logits)


def score_and_gradient(batch: Batch) -> tuple[Array, Array]:
    given = problem_of(batch)
    grad = torch.full_like(given.scores, float("nan"))
    score = backend.total(given, gradients=Gradients(grad)).score
    return score.cpu().numpy(), grad.double().cpu().numpy()


def check(batch: Batch) -> None:
    """A batch of float32 logits against the textbook, within the budget."""
    truth = truth_of(batch, "float32", from_logits=True)
    check_batch(Backend("triton"), batch, "float32", truth, from_logits=True)


def test_rows_in_memory(narrow: None) -> None:
    """The same bits for tiles of any size."""
    check(draw(10, 8, 1, 4, 4))


def test_cut_or_whole_rows_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(23, 7, 1, 4, 4)
    score, gradient = score_and_gradient(batch)
    monkeypatch.setattr(tuning, "LARGEST_PART", 2)
    cut, cut_gradient = score_and_gradient(batch)
    assert np.array_equal(cut, score)
    assert np.array_equal(cut_gradient, gradient)


@pytest.mark.parametrize("apart", [1, 300], ids=["narrow", "wide"])
def test_parts_of_rows_follow_each_other(apart: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For more frames than they are apart; one sample has fewer parts; wide emissions need scaled floats."""
    monkeypatch.setattr(tuning, "LARGEST_PART", 4)
    batch = draw(25, 70, 2, 9, 9)
    batch.scores[30, 0, int(batch.targets[0, 0])] -= apart
    check(Batch(batch.scores, batch.targets, batch.frames, np.array([9, 3])))


def test_memory_until_the_backward_pass() -> None:
    """Bytes of storages: 8 a pair of states, 4 for each of three statistics of a frame, and little for a sample."""
    given = problem_of(draw(27, 30, 2, 5, 9, ragged=False))
    swept = backend.Sweep(given, keep=True)
    assert swept.kept.untyped_storage().nbytes() <= 2 * 30 * (10 * 8 + 3 * 4) + 32
    others = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in vars(swept).values() if torch.is_tensor(x)}
    del others[swept.kept.untyped_storage().data_ptr()]
    assert sum(storage.nbytes() for storage in others.values()) == 2 * (8 + 1)
    assert swept.batch.lattice.untyped_storage().nbytes() == 16 + 2 * (32 + 9 * 8 + 5 * 8 + 10 * 2)


@pytest.mark.parametrize("frames", [tuning.MOST_PACKED, 5])
def test_exponents_are_packed_or_not(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample 0 has a label of probability 0 for a while, which needs exponents of 32 bits; sample 1 does not."""
    monkeypatch.setattr(tuning, "MOST_PACKED", frames)
    batch = draw(26, 12, 2, 5, 3, ragged=False)
    batch.scores[2:6, 0, int(batch.targets[0, 1])] = -np.inf
    batch.scores[7, 0] *= 40_000
    check(batch)


def test_best_paths_of_cut_or_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(24, 11, 2, 4, 5)
    given = problem_of(batch)
    whole = backend.best_path(given)
    monkeypatch.setattr(tuning, "best_row", lambda pairs: tuning.BestRow(1, 32, 0))
    monkeypatch.setattr(tuning, "TILE", 2)
    cut = backend.best_path(given)
    assert torch.equal(cut.states, whole.states)
    assert torch.equal(cut.score, whole.score)
    assert (whole.states[0] >= 0).all()


def test_more_classes_than_a_program_reads_at_once() -> None:
    check(draw(7, 3, 2, tuning.ROWS_TILE + 50, 2, blank=tuning.ROWS_TILE + 49, ragged=False))


@triton.jit
def _exponentials(p_x, p_y, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(p_y + i, scaled.exp_nonpositive(tl.load(p_x + i)))


def exponentials(values: Array) -> Array:
    """The kernels' e^x of float32 numbers, whose count is a power of two."""
    x = tensor(values)
    y = torch.full_like(x, float("nan"))
    _exponentials[(1,)](x, y, BLOCK=len(x), num_warps=4)
    return y.cpu().numpy()


@pytest.mark.parametrize(("least", "most"), [(0, 0.3), (0, 1), (1, 5), (5, 20), (20, 87.3)])
def test_the_softmaxs_exponential(least: float, most: float) -> None:
    """Right to a unit of the last place, and as often too large as too small: its errors do not add up over frames.

    The mean error is 2e-9: the polynomial's errors of 4e-9 have both signs. A rounded product x log2(e) would have a
    mean error of 4e-8 between 1 and 5, and of 7e-7 between 20 and 87.
    """
    x = -np.linspace(least, most, 1 << 14, dtype=np.float32)
    true = np.exp(x.astype(float))
    errors = exponentials(x) / true - 1
    assert np.abs(errors).max() < 2 * 2.0**-24
    assert abs(errors.mean()) < 4e-9 + errors.std() / np.sqrt(errors.size)


def test_ends_of_the_softmaxs_exponential() -> None:
    x = np.array([0, -1e-30, -87.3, -87.4, -88, -1e30, -np.inf, np.nan], np.float32)
    found = exponentials(x)
    assert found[:2].tolist() == [1, 1]
    assert found[4:7].tolist() == [0, 0, 0]
    assert np.isnan(found[7])
    np.testing.assert_allclose(found[2:4], np.exp(x[2:4].astype(float)), rtol=2e-7, atol=2.0**-126)


def statistics_of(given: Problem[Any]) -> tuple[Any, Any]:
    """What the rows kernel finds of each frame: offset and wide."""
    batch = backend.backend._batch(given, softmax=True)
    frames, size, _, _ = batch.sizes
    scratch, kept = (torch.zeros(64 * frames * size + 64, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    rows.read_rows(batch, scratch, kept, table=False)
    _, wide, _ = blocks.statistics_places.fn(size, frames, batch.double)
    count = frames * size
    found = scratch[: 8 * count].view(torch.float64), scratch[wide : wide + count].view(torch.int8)
    return tuple(piece.view(size, frames) for piece in found)


def test_normalisers_of_many_frames() -> None:
    """Their errors average out: the sum grows only with the root of the number of frames."""
    batch = draw(1, 20000, 1, 5, 1, ragged=False)
    given = problem_of(batch)
    offset, _ = statistics_of(given)
    x = tensor(batch.scores).double().cpu()[:, 0]
    best = x[:, [0, int(batch.targets[0, 0])]].max(dim=1).values
    found, true = offset[0].cpu(), best - x.logsumexp(dim=1)
    assert (found - true).abs().max() < 4 * 2.0**-24
    assert (found - true).sum().abs() < 20000 * 2e-9 + 4 * np.sqrt(20000) * 2.0**-24


@pytest.mark.skipif(HAS_GPU, reason="compiled kernels keep their constants")
@pytest.mark.parametrize(("dtype", "wide"), [("float32", [True, False, False]), ("float64", [True, True, False])])
def test_frames_whose_biases_exceed_an_exponent_are_wide(
    dtype: str, wide: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bias of float64 is eight times that of float32."""
    monkeypatch.setattr(rows, "LARGEST", 8 * 127 + 100)
    batch = draw(27, 9, 3, 4, 0)
    frames = torch.tensor([9, 8, 1])
    given = problem(tensor(batch.scores).to(getattr(torch, dtype)), *arguments(batch)[:1], frames, frames * 0, 0)
    _, found = statistics_of(given)
    assert [bool(found[n, 0]) for n in range(3)] == wide


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("c", [0, 4])
def test_what_is_no_score_is_found_in_any_part_of_a_row(bad: float, c: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "ROWS_TILE", 2)
    batch = draw(25, 4, 2, 5, 1, ragged=False)
    batch.scores[1, 0, c] = bad
    score, gradient = score_and_gradient(batch)
    assert np.isnan(score).tolist() == [True, False]
    assert np.isnan(gradient[:, 0]).all()
    assert np.isfinite(gradient[:, 1]).all()


def test_lists_are_the_hosts_whatever_the_default_device() -> None:
    with torch.device("meta"):
        assert as_tensor(np.array([1, 2])).is_cpu


def test_lattice_is_that_of_the_table() -> None:
    targets = np.array([[1, 1, 2, 0], [3, 2, 2, 2], [0, 0, 0, 0]])
    lengths = torch.tensor([3, 4, 0])
    scores = torch.empty((9, 3, 5), device=DEVICE)
    made = backend.ctc_lattices(
        scores, torch.from_numpy(targets).to(DEVICE), lengths.to(DEVICE) + 5, lengths.to(DEVICE), 4
    )
    assert made.num_tokens.tolist() == lengths.tolist()
    for n, length in enumerate(lengths.tolist()):
        lattice = ctc_lattice(targets[n, :length], 4)
        k = int(made.num_states[n])
        assert made.arcs[n, :k].tolist() == lattice.arcs.tolist()
        assert made.labels[n, :k].tolist() == lattice.labels.tolist()
        assert made.tokens[n, :k].tolist() == lattice.tokens.tolist()
        assert not made.arcs[n, k:].any()


@pytest.mark.parametrize("classes", [3, 40])
def test_tokens_are_sorted(classes: int, narrow: None) -> None:
    """By token, equal ones in the target's order; each class knows its run."""
    rng = np.random.default_rng(classes)
    lengths = np.array([9, 0, 30, 1])
    targets = rng.integers(1, classes, (4, 30))
    made = backend.ctc_lattices(
        torch.empty((70, 4, classes), device=DEVICE),
        *(torch.from_numpy(array).to(DEVICE) for array in (targets, np.full(4, 70), lengths)),
        0,
    )
    _, _, _, of_order, of_ranges, _, _ = blocks.lattice_places.fn(4, classes, 31, False)
    order = made.block[of_order:of_ranges].view(torch.int32).view(4, 30)
    ranges = made.block[of_ranges : of_ranges + 32 * classes].view(torch.int32).view(2, 4, classes)
    for n, length in enumerate(lengths.tolist()):
        tokens = targets[n, :length]
        assert order[n, :length].tolist() == np.argsort(tokens, kind="stable").tolist()
        counts = np.bincount(tokens, minlength=classes)
        begin, end = ranges[:, n].tolist()
        assert np.subtract(end, begin).tolist() == counts.tolist()
        assert [begin[c] for c in np.flatnonzero(counts)] == [int((tokens < c).sum()) for c in np.flatnonzero(counts)]


def test_no_frames_at_all() -> None:
    score, gradient = score_and_gradient(
        Batch(np.empty((0, 2, 3)), np.array([[1], [1]]), np.zeros(2, int), np.array([0, 1])),
    )
    assert score.tolist() == [0, -np.inf]
    assert gradient.shape == (0, 2, 3)


def test_layouts() -> None:
    """Any strides of the scores, the gradient and the targets; any integers; concatenated targets."""
    batch = draw(14, 5, 2, 5, 2)
    expected = score_and_gradient(batch)
    targets, frames, lengths, blank = arguments(batch)
    wide = torch.full((2, 10, 10), float("nan"), device=DEVICE)
    strided = wide[:, ::2, ::2].transpose(0, 1)
    strided.copy_(tensor(batch.scores))
    grad = torch.full((5, 2, 5), float("nan"), device=DEVICE).permute(2, 1, 0)
    column = targets.int().T.contiguous().T
    flat = torch.cat([row[:n] for row, n in zip(targets, batch.lengths.tolist(), strict=True)])
    for given in (
        (column, frames.int(), lengths.to(torch.uint8)),
        (flat.to(torch.uint8), frames.cpu(), lengths.cpu().short()),
        (flat.int(), frames, lengths),
    ):
        grad.fill_(float("nan"))
        score = backend.total(problem(strided, *given, blank), gradients=Gradients(grad)).score
        assert np.array_equal(score.cpu().numpy(), expected[0])
        assert np.array_equal(grad.cpu().numpy(), expected[1])


WRONG = {
    "a negative token": ("targets", -1),
    "a token beyond the classes": ("targets", 5),
    "the blank": ("targets", 0),
    "a huge token": ("targets", 2**40),
    "a negative target length": ("target_lengths", -3),
    "too long a target": ("target_lengths", 5),
    "a huge target length": ("target_lengths", 2**62),
    "negative frames": ("input_lengths", -1),
    "too many frames": ("input_lengths", 9),
}


@cache
def sound() -> tuple[Batch, tuple[Array, Array]]:
    batch = draw(15, 4, 3, 5, 4, ragged=False)
    batch = Batch(batch.scores, batch.targets, batch.frames, np.array([2, 3, 2]))
    return batch, score_and_gradient(batch)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_sample_is_its_own(what: str) -> None:
    batch, whole = sound()
    name, value = WRONG[what]
    given = {
        "targets": batch.targets.copy(),
        "input_lengths": batch.frames.copy(),
        "target_lengths": batch.lengths.copy(),
    }
    given[name][(1, 2) if name == "targets" else 1] = value
    broken = Batch(batch.scores, given["targets"], given["input_lengths"], given["target_lengths"])
    score, gradient = score_and_gradient(broken)
    assert np.isnan(score[1])
    assert np.isnan(gradient[:, 1]).all()
    path = backend.best_path(problem_of(broken))
    assert path.status.tolist() == [Status.OK, Status.INVALID, Status.OK]
    assert backend.total(problem_of(broken)).status.tolist() == path.status.tolist()
    assert torch.isnan(path.score).tolist() == [False, True, False]
    assert (path.states[1] == -1).all()
    for n in (0, 2):
        assert score[n] == whole[0][n]
        assert np.array_equal(gradient[:, n], whole[1][:, n])


def test_end_to_end_lengths_that_lie() -> None:
    """Nothing outside the tokens is read; samples before the wrong length are right."""
    batch = draw(16, 6, 3, 5, 2, ragged=False)
    flat = torch.from_numpy(batch.targets).flatten().to(DEVICE)
    grad = torch.empty((6, 3, 5), device=DEVICE)
    lengths = torch.tensor([2, 900, -7], device=DEVICE)
    frames = torch.full((3,), 6, device=DEVICE)
    score = backend.total(problem(tensor(batch.scores), flat, frames, lengths, 0), gradients=Gradients(grad)).score
    assert torch.isnan(score[1:]).all()
    assert torch.isnan(grad[:, 1:]).all()
    assert score[0] == score_and_gradient(batch)[0][0]


def test_the_host_never_asks(unread: Callable[[Callable[[], Any]], None]) -> None:
    batch = draw(18, 3, 2, 4, 1)
    scores, given = tensor(batch.scores), arguments(batch)
    grad = torch.empty_like(scores)
    unread(lambda: backend.total(problem(scores, *given), gradients=Gradients(grad)))
    unread(lambda: backend.posteriors(problem(scores, *given)))
    unread(lambda: backend.best_path(problem(scores, *given)))


def test_the_host_never_asks_about_any_lattice(unread: Callable[[Callable[[], Any]], None]) -> None:
    given = Triton.problem(random_problem(3, "float32", 2, 3))
    outputs = gradients_of(given)
    unread(lambda: backend.total(given, gradients=outputs))
    unread(lambda: backend.posteriors(given))
    unread(lambda: backend.best_path(given))


def test_posteriors_of_logits() -> None:
    """Occupancies do not depend on a number added to all classes of a frame; the score does."""
    batch = draw(19, 6, 2, 5, 3)
    found = backend.posteriors(problem_of(batch))
    same = backend.posteriors(problem_of(batch, from_logits=False))
    assert torch.equal(found.states, same.states)
    assert torch.equal(found.classes, same.classes)
    assert torch.equal(found.score, backend.total(problem_of(batch)).score)


def test_nothing_of_the_callers_is_changed() -> None:
    batch = draw(20, 2, 1, 4, 1)
    scores, given = tensor(batch.scores), arguments(batch)
    before = [x.clone() for x in (scores, *given[:3])]
    backend.total(problem(scores, *given), gradients=Gradients(torch.empty_like(scores)))
    assert all(torch.equal(a, b) for a, b in zip(before, (scores, *given[:3]), strict=True))


def random_lattice(rng: np.random.Generator, states: int, classes: int) -> Lattice:
    """Random labels, bits and costs; a state in three is a token."""
    bits = (Arc.STAY, 0.7), (Arc.STEP, 0.8), (Arc.SKIP, 0.6), (Arc.START, 0.5), (Arc.END, 0.5)
    arcs = sum(int(bit) * (rng.random(states) < share) for bit, share in bits)
    costs = np.where(rng.random(states) < 0.1, np.inf, rng.normal(size=states) * 2)
    tokens = np.where(rng.random(states) < 1 / 3, np.arange(states), -1)
    return Lattice(rng.integers(0, classes, states), arcs, tokens, costs if rng.random() < 0.7 else None)


def random_problem(seed: int, dtype: str, size: int = 3, frames: int | None = None) -> ArrayProblem:
    """Lattices of any shape, some without a path; scores of classes and states; some -inf or NaN."""
    rng = np.random.default_rng(seed)
    classes, longest = 4, int(rng.integers(0, 7)) if frames is None else frames
    lattices = [random_lattice(rng, int(rng.integers(1, 8)), classes) for _ in range(size)]
    scores = (rng.normal(size=(longest, size, classes)) * 2).astype(dtype)
    for value in (-np.inf, np.nan):
        if frames is None and longest and rng.random() < 0.3:
            scores[rng.integers(longest), rng.integers(size), rng.integers(classes)] = value
    states = max(lattice.num_states for lattice in lattices)
    return lattice_problem(
        scores,
        lattices,
        rng.integers(0, longest + 1, size) if frames is None else np.full(size, frames),
        from_logits=bool(rng.random() < 0.5),
        class_scores=rng.normal(size=classes) if rng.random() < 0.7 else None,
        state_scores=rng.normal(size=(size, states)) if rng.random() < 0.7 else None,
    )


def gradients_of(given: Any) -> Any:
    """Memory for all of them, on tensors."""
    size, states = given.lattices.labels.shape
    nan = {"fill_value": float("nan"), "dtype": torch.float64, "device": DEVICE}
    by_class = torch.full((size, given.scores.shape[2]), **nan)
    return Gradients(
        torch.full_like(given.scores, torch.nan),
        by_class,
        torch.full((size, states), **nan),
        torch.full((size, states), **nan),
    )


FEW = (4, 6, 7, 11)  # of the last, no sample has a frame
SEEDS = [pytest.param(seed, marks=() if seed in FEW else pytest.mark.long) for seed in range(200 if HAS_GPU else 40)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("seed", SEEDS)
def test_lattices_of_any_shape(seed: int, dtype: str, narrow: None) -> None:
    """Scores, statuses, occupancies, paths and all gradients are the reference's."""
    given = random_problem(seed, dtype)
    bound = {"float64": 1e-12, "float32": 5e-6}[dtype]
    (frames, size, classes), states = given.scores.shape, given.lattices.labels.shape[1]
    weights = np.random.default_rng(seed).normal(size=size)
    shapes = ((frames, size, classes), (size, classes), (size, states), (size, states))
    ours, expected = (Gradients(*(np.full(shape, np.nan) for shape in shapes)) for _ in range(2))
    ours.scores = ours.scores.astype(dtype)
    found = Triton.total(given, weights=weights, gradients=ours)
    truth = reference.total(given, weights=weights, gradients=expected)
    assert found.status.tolist() == truth.status.tolist()
    np.testing.assert_allclose(found.score, truth.score, rtol=bound, atol=bound)
    gamma, true_gamma = Triton.posteriors(given), reference.posteriors(given)
    path, true_path = Triton.best_path(given), reference.best_path(given)
    assert path.status.tolist() == true_path.status.tolist()
    np.testing.assert_allclose(path.score, true_path.score, rtol=bound, atol=bound)
    if dtype == "float64":
        assert path.states.tolist() == true_path.states.tolist()
    for n in np.flatnonzero(truth.status != Status.NOT_FINITE):
        np.testing.assert_allclose(ours.scores[:, n], expected.scores[:, n], atol=bound)
        np.testing.assert_allclose(gamma.states[:, n], true_gamma.states[:, n], atol=bound)
        np.testing.assert_allclose(gamma.classes[:, n], true_gamma.classes[:, n], atol=bound)
        for name in ("class_scores", "state_scores", "entry_costs"):
            np.testing.assert_allclose(getattr(ours, name)[n], getattr(expected, name)[n], rtol=bound, atol=bound)
    for n in np.flatnonzero(truth.status == Status.NOT_FINITE):
        assert np.isnan(ours.scores[: given.lattices.frames[n], n]).all()
        assert all(np.isnan(part[n]).all() for part in (ours.class_scores, ours.state_scores, ours.entry_costs))


@pytest.mark.parametrize(("states", "block"), [((41, 83), 128), ((19, 41), 2)], ids=["at once", "in tiles"])
def test_any_lattice_alone_gives_the_same_bits(
    states: tuple[int, int], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of all sums is by the lattice's own states, wherever those of a longer one beside it lie."""
    monkeypatch.setattr(gradient, "MOST_CLASSES", block)
    monkeypatch.setattr(gradient, "STATES_BLOCK", min(block, 32))
    rng = np.random.default_rng(0)
    lattices = []
    for count in states:
        arcs = np.full(count, Arc.STAY | Arc.STEP | Arc.START | Arc.END)
        arcs[0] -= Arc.STEP
        lattices.append(Lattice(rng.integers(0, 4, count), arcs, None, rng.normal(size=count)))
    scores = rng.normal(size=(20, 2, 4)).astype(np.float32)
    found = []
    for size in (1, 2):
        given = lattice_problem(scores[:, :size].copy(), lattices[:size], [20] * size, from_logits=True)
        by_state = size, given.lattices.labels.shape[1]
        wanted = Gradients(np.empty_like(given.scores), *(np.empty(x) for x in ((size, 4), by_state, by_state)))
        score = Triton.total(given, gradients=wanted).score
        parts = wanted.state_scores[0, : states[0]], wanted.entry_costs[0, : states[0]]
        found.append((score[0], wanted.scores[:, 0], wanted.class_scores[0], *parts))
    for alone, beside in zip(*found, strict=True):
        assert np.array_equal(alone, beside)


@pytest.mark.parametrize(
    ("labels", "from_logits"),
    [
        ([1, 1, 1], False),
        ([1, 1, 1], True),
        pytest.param([0, 1, 0, 0, 0, 2], False, marks=pytest.mark.long),
        ([0, 1, 0, 0, 0, 2], True),
        ([3, 1, 2, 3, 3], False),
        pytest.param([3, 1, 2, 3, 3], True, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_odd_states_may_have_the_label_of_even_ones(labels: list[int], from_logits: bool, narrow: None) -> None:
    """In CTC's lattices they do not. There the blank's sum is over the even states, and tokens are written after it."""
    arcs = np.full(len(labels), Arc.STAY | Arc.STEP)
    arcs[0], arcs[-1] = Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END
    lattice = Lattice(labels, arcs)
    scores = np.random.default_rng(len(labels)).normal(size=(7, 2, 4))
    scores[3, :, labels[0]] += 20 * from_logits  # a frame that is sure of the shared label
    given = lattice_problem(scores, lattice, [7, 6], from_logits=from_logits)
    ours, expected = (Gradients(np.full(scores.shape, np.nan), np.full((2, 4), np.nan)) for _ in range(2))
    Triton.total(given, gradients=ours)
    reference.total(given, gradients=expected)
    np.testing.assert_allclose(ours.scores, expected.scores, atol=1e-12)
    np.testing.assert_allclose(ours.class_scores, expected.class_scores, atol=1e-12)
    np.testing.assert_allclose(Triton.posteriors(given).classes, reference.posteriors(given).classes, atol=1e-12)


def test_statuses_of_any_lattice(narrow: None) -> None:
    """A lattice with paths of two frames only: infeasible with any frames, impossible, not finite."""
    two = Lattice([1, 2, 1], [Arc.START, Arc.STEP, Arc.STEP | Arc.SKIP | Arc.END])
    scores = np.zeros((4, 4, 3))
    scores[0, 0], scores[0, 1], scores[0, 2, 1] = np.nan, np.nan, -np.inf
    given = lattice_problem(scores, two, [4, 2, 2, 2], from_logits=False)
    expected = [Status.INFEASIBLE, Status.NOT_FINITE, Status.IMPOSSIBLE, Status.OK]
    for backend_ in (Triton, reference):
        assert backend_.total(given).status.tolist() == expected
        assert backend_.best_path(given).status.tolist() == expected
        assert backend_.posteriors(given).status.tolist() == expected


def test_what_a_device_may_hold_is_invalid() -> None:
    """Tensors on the device were not checked: a wrong label, number of states or frames is NaN."""
    lattice = Lattice([1, 2], [Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END])
    given = Triton.problem(lattice_problem(np.zeros((2, 6, 3)), lattice, [2] * 6, from_logits=False))
    batch = given.lattices
    batch.labels[0, 0], batch.labels[1, 0], batch.num_states[2], batch.frames[3] = 3, -1, 3, 3
    given.state_scores = torch.zeros((6, 2), dtype=torch.float64, device=DEVICE)
    given.state_scores[4] = torch.nan
    outputs = gradients_of(given)
    found = backend.total(given, gradients=outputs)
    assert found.status.tolist() == [Status.INVALID] * 5 + [Status.OK]
    assert torch.isnan(found.score).tolist() == [True] * 5 + [False]
    for found_gradient in (outputs.scores.transpose(0, 1), outputs.state_scores, outputs.class_scores):
        assert torch.isnan(found_gradient[:5]).all()
        assert torch.isfinite(found_gradient[5]).all()
    assert backend.best_path(given).status.tolist() == found.status.tolist()


def test_class_scores_of_ctc_lattices() -> None:
    """With added scores, CTC's lattices run the general code. The scores are 0 here, so both must give the same."""
    batch = draw(26, 5, 2, 4, 2)
    given, same = problem_of(batch), problem_of(batch)
    same.class_scores = torch.zeros(4, device=DEVICE)
    same.lattices.status[1] = Status.INFEASIBLE.value  # what the layout kernel has found is not computed again
    plain, general = gradients_of(given), gradients_of(given)
    score = backend.total(given, gradients=Gradients(plain.scores)).score
    found = backend.total(same, gradients=general)
    assert found.status.tolist() == [Status.OK, Status.INFEASIBLE]
    torch.testing.assert_close(found.score[0], score[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(general.scores[:, 0], plain.scores[:, 0], rtol=1e-5, atol=1e-6)
    assert general.class_scores[0].sum().item() == pytest.approx(-5)
    assert not general.class_scores[1].any()


def test_long_arcs_are_refused() -> None:
    lattice = ctc_lattice([1, 2, 3]).with_long_arcs([(1, 5)])
    given = Triton.problem(lattice_problem(np.zeros((4, 1, 4)), lattice, [4], from_logits=False))
    for call in (backend.total, backend.posteriors, backend.best_path):
        with pytest.raises(CTCError, match="the triton backend cannot take long arcs yet"):
            call(given)


def without_the_interpreter(*arguments: str | Path, **setting: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a process in which Triton compiles."""
    inherited = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, *arguments], env=inherited | setting, capture_output=True, text=True, check=False
    )


COMPILED = """
import re
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ctckit.kernels.triton import best, gradient, lattice, pairs, rows, sums, sweep, trace

MODULES = lattice, pairs, rows, sums, sweep, gradient, best, trace
REAL, SCORE = {real!r}, {score!r}
DOUBLE = REAL == "fp64"
POINTERS = dict(
    p_scores=SCORE, p_grad=SCORE, p_weights="fp64", p_targets="i64", p_begins="i64", p_input_lengths="i32",
    p_target_lengths="i64", p_labels="i32", p_bits="u8", p_of_token="i32", p_costs="fp64", p_class_scores="fp64",
    p_state_scores="fp64", p_num_states="i32", p_num_frames="i64", p_known="i32", p_rows="u8", p_visits="fp64",
    p_sum="fp64", p_path="i32", p_factor="fp32", p_states=REAL, p_loss=REAL,
    p_lattice="u8", p_scratch="u8", p_kept="u8", p_results="u8",
)
CTC, ANY = dict(GENERAL=False, DOUBLE=DOUBLE, BLOCK=64), dict(GENERAL=True, DOUBLE=DOUBLE, BLOCK=64)
ROWS = dict(DOUBLE=DOUBLE, ROWS=8, BLOCK=32, LABELS=32)
CTC_SUMS = dict(GENERAL=False, COUNT=False, LONG=False, PACKED=not DOUBLE, DOUBLE=DOUBLE, P=2, LANES=64)
ANY_SUMS = dict(GENERAL=True, PACKED=False, DOUBLE=DOUBLE, P=1, LANES=32)
GRADIENT = dict(DOUBLE=DOUBLE, ROWS=8, BLOCK=32, LABELS=32)
PATH = dict(TILED=True, DOUBLE=DOUBLE)
compiled_once = set()
for name, fixed in (
    ("_lattice_kernel", dict(FLAT=True, BLOCK=64, INNER=16, FILL=64)),
    ("_pair_kernel", dict(COSTS=True, CLASS_SCORES=True, STATE_SCORES=True, KNOWN=False, BLOCK=64)),
    ("_feasible_kernel", dict(TILED=False, BLOCK=64)),
    ("_feasible_kernel", dict(TILED=True, BLOCK=64)),
    ("_rows_kernel", dict(LOGITS=True, SOFTMAX=True, TABLE=True, ONCE=True, GENERAL=False, **ROWS)),
    ("_rows_kernel", dict(LOGITS=False, SOFTMAX=True, TABLE=True, ONCE=False, GENERAL=True, **ROWS)),
    ("_sweep_kernel", dict(SECOND=False, KEEP=True, CUT=False, **CTC_SUMS)),
    ("_sweep_kernel", dict(SECOND=True, KEEP=False, CUT=True, **CTC_SUMS)),
    ("_sweep_kernel", dict(SECOND=False, KEEP=True, COUNT=False, CUT=False, LONG=False, **ANY_SUMS)),
    ("_sweep_kernel", dict(SECOND=True, KEEP=False, COUNT=True, CUT=True, LONG=True, **ANY_SUMS)),
    ("_total_kernel", dict(PROBABILITY=True, LOSS=True, SUM=True, LOST_IS_0=True, **CTC)),
    ("_total_kernel", dict(PROBABILITY=False, LOSS=True, SUM=False, LOST_IS_0=False, **ANY)),
    ("_best_kernel", dict(WARPS=2, LANES=32, EACH=3, **CTC)),
    ("_best_kernel", dict(WARPS=2, LANES=32, EACH=1, **ANY)),
    ("_best_kernel", dict(WARPS=2, LANES=32, EACH=0, **ANY)),
    ("_trace_kernel", dict(LONG=False, GENERAL=False, **PATH)),
    ("_trace_kernel", dict(LONG=True, GENERAL=True, **PATH)),
    ("_map_kernel", dict(BLOCK=128, **PATH)),
    ("_chain_kernel", PATH),
    ("_score_kernel", PATH),
    ("_gradient_kernel", dict(SOFTMAX=True, STATES=False, FACTOR=True, GENERAL=False, WHOLE=True, **GRADIENT)),
    ("_gradient_kernel", dict(SOFTMAX=True, STATES=False, FACTOR=False, GENERAL=True, WHOLE=False, **GRADIENT)),
    ("_gradient_kernel", dict(SOFTMAX=False, STATES=True, FACTOR=False, GENERAL=True, WHOLE=True, **GRADIENT)),
    ("_visits_kernel", dict(DOUBLE=DOUBLE, ROWS=8, BLOCK=32)),
    ("_visits_sum_kernel", dict(BLOCK=32)),
):
    if name == "_sweep_kernel" and not {every} and (fixed["SECOND"] or not fixed["GENERAL"]):
        continue  # these take most of the time; CTC's are compiled to count their instructions, too
    if name in compiled_once and not {every}:
        continue
    compiled_once.add(name)
    kernel = next(vars(module)[name] for module in MODULES if name in vars(module))
    varying = {{x.name for x in kernel.params if not (x.is_constexpr or x.do_not_specialize or x.name[:2] == "p_")}}
    rows = {{"stride_t", "stride_n", "stride_c"}}
    allowed = {{"_rows_kernel": rows, "_gradient_kernel": {{"stride_c", "grad_stride_c"}}}}
    assert varying <= allowed.get(name, set()), (name, varying)
    types = {{x: "*" + POINTERS[x] if x.startswith("p_") else "i32" for x in kernel.arg_names}}
    types.update(dict.fromkeys(fixed, "constexpr"))
    compiled = triton.compile(
        ASTSource(kernel, types, constexprs=fixed), target=GPUTarget({target}), options=dict(num_warps=2)
    )
    for approximate in ("ex2.approx", "div.full", "div.approx"):
        assert approximate not in compiled.asm.get("ptx", ""), (name, approximate, "errors add up over frames")
    if name == "_best_kernel" and "ptx" in compiled.asm:
        moved = compiled.asm["ttgir"].count("convert_layout")
        assert not moved, (moved, "what lanes have loaded is exchanged between warps in each frame")
    if name in ("_rows_kernel", "_gradient_kernel"):  # whose layouts follow the strides
        reduce = r'"tt.reduce"[^\\n]*axis = (\\d+)[^\\n]*\\n(.*?)\\}}\\) : \\(tensor<([0-9x]+)x[a-z]'
        reduced = re.findall(reduce, compiled.asm["ttir"], re.S)
        sums = [int(shape.split("x")[int(axis)]) for axis, body, shape in reduced if "addf" in body]
        assert sums and set(sums) == {{2}}, (name, "sums of more than two have an order", sums)
    if name == "_gradient_kernel" and not fixed["STATES"]:
        stores = compiled.asm["ttir"].count("tt.store")
        assert stores == 2, (stores, "a frame is written in one place, or filled where there is no score")
print("all compiled")
"""


@pytest.mark.parametrize(
    ("score", "real", "target", "every"),
    [
        pytest.param("bf16", "fp32", "'cuda', 90, 32", False, id="sm_90"),
        pytest.param("bf16", "fp32", "'cuda', 90, 32", True, id="sm_90, every sweep", marks=pytest.mark.long),
        pytest.param("fp64", "fp64", "'hip', 'gfx942', 64", True, id="gfx942", marks=pytest.mark.long),
    ],
)
def test_kernels_compile_without_a_gpu(tmp_path: Path, score: str, real: str, target: str, every: bool) -> None:
    """The compiler is stricter than the interpreter: layouts, types, annotations.

    Two things are visible only in compiled code: approximate exponentials, whose errors add up over frames, and the
    order of a row's sum, which depends on the strides unless all sums are of two numbers.
    """
    code = COMPILED.format(score=score, real=real, target=target, every=every)
    (tmp_path / "compiled.py").write_text(code)
    setting = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    done = without_the_interpreter(tmp_path / "compiled.py", **setting)
    assert done.stdout.strip() == "all compiled", done.stderr[-3000:]


MOST = {
    "launches": 6,
    "operations": 1,
    "allocations": 7,
    "instructions_before_P1": 57,
    "instructions_before_P2": 103,
    "instructions_after_P1": 77,
    "instructions_after_P2": 145,
    "best_P1": 31,
    "best_P2": 58,
}


@pytest.mark.long
def test_what_a_step_costs_is_counted(tmp_path: Path) -> None:
    """No change makes a step longer unnoticed: present counts, with a tenth more instructions for other compilers."""
    done = without_the_interpreter(ROOT / "bench" / "gpu_counts.py", TRITON_CACHE_DIR=str(tmp_path))
    counts = {name: int(value) for name, value in map(str.split, done.stdout.splitlines())}
    assert counts.keys() == {*MOST, "frames", "host_us"}, done.stderr[-3000:]
    assert not {name: counts[name] for name in MOST if counts[name] > MOST[name]}


def test_older_versions_of_triton_can_read_the_kernels() -> None:
    """Up to 3.6 they fail at a tuple in the target of an assignment's tuple, and 3.4 has no constexpr_function."""
    for path in (ROOT / "src/ctckit/kernels/triton").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets = node.targets if isinstance(node, ast.Assign) else []
            parts = [part for target in targets if isinstance(target, ast.Tuple) for part in target.elts]
            nested = [ast.unparse(node) for part in parts if isinstance(part, ast.Tuple)]
            assert not nested, (path.name, nested)
            assert getattr(node, "attr", "") != "constexpr_function", path.name


def test_kernels_need_no_torch() -> None:
    """They are for any framework that Triton supports; only backend.py and cpu.py need it."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ctckit.kernels.triton import batch, best, blocks, cells, gradient, lattice, pairs, rows, scaled\n"
        "from ctckit.kernels.triton import launch, sums, sweep, trace, tuning\n"
        "print('imported')"
    )
    done = without_the_interpreter("-c", code)
    assert done.stdout.strip() == "imported", done.stderr[-3000:]


@pytest.mark.gpu
def test_captured_in_a_graph() -> None:
    batch = draw(21, 40, 4, 8, 10)
    scores, given = tensor(batch.scores), arguments(batch)
    grad = torch.empty_like(scores)

    def step() -> tuple[Any, Any]:
        laid_out = problem(scores, *given)
        return backend.total(laid_out, gradients=Gradients(grad)).score, backend.best_path(laid_out)

    expected, expected_path = step()
    expected_grad = grad.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        score, path = step()
    grad.fill_(float("nan"))
    graph.replay()
    assert torch.equal(score, expected)
    assert torch.equal(grad, expected_grad)
    assert torch.equal(path.states, expected_path.states)


@pytest.mark.gpu
def test_more_states_than_registers_hold() -> None:
    check(draw(22, 5000, 1, 30, 2100, ragged=False))
