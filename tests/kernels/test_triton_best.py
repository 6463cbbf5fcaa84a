"""Best paths on the GPU: rows cut among warps and lanes, the way back in chunks, and what is left to the CPU.

Rows of few lanes take the same code as those of a GPU's 32, and are short enough for Triton's interpreter. The truth is
the reference backend's path, ties included.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import support.batches
from support.batches import Array, Batch, draw
from support.triton import Triton

from ctckit import Arc, CTCError, Lattice, ctc_lattice
from ctckit.kernels import reference
from ctckit.problem import ArrayProblem, ctc_problem, lattice_problem
from ctckit.results import BestPaths, Status

torch = pytest.importorskip("torch", reason="the GPU backend needs torch")
pytest.importorskip("triton", minversion="3.4", reason="the GPU backend needs triton")

from ctckit.kernels import triton as backend  # noqa: E402
from ctckit.kernels.triton import backend as host  # noqa: E402
from ctckit.kernels.triton import cpu, trace, tuning  # noqa: E402
from ctckit.kernels.triton.tuning import BestRow, Sizes  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
IN_MEMORY = BestRow(1, 8, 0)


def exact(scores: Array, dtype: str) -> Array:
    """Scores of which sums are exact in float32, so that equal paths are ties in any arithmetic."""
    return (np.rint(scores * 4) / 4).astype(dtype)


def problem_of(batch: Batch, dtype: str = "float32") -> ArrayProblem:
    made = support.batches.problem_of(batch, "float64", from_logits=False)
    made.scores = exact(made.scores, dtype)
    return made


def any_problem(seed: int, frames: int, states: int, dtype: str = "float32") -> ArrayProblem:
    """Lattices of any shape with costs and added scores, all of which are exact."""
    rng = np.random.default_rng(seed)
    lattices = []
    for _ in range(2):
        arcs = rng.choice(np.arange(8, dtype=np.uint8), states, p=[0.02, 0.1, 0.1, 0.25, 0.05, 0.08, 0.1, 0.3])
        arcs[rng.random(states) < 0.1] |= np.uint8(Arc.START | Arc.END)
        arcs[0], arcs[-1] = Arc.STAY | Arc.START, arcs[-1] | np.uint8(Arc.END)
        lattices.append(Lattice(rng.integers(0, 5, states), arcs, None, rng.integers(-3, 9, states) / 4))
    return lattice_problem(
        exact(rng.normal(size=(frames, 2, 5)), dtype),
        lattices,
        [frames, frames - 3],
        from_logits=False,
        class_scores=rng.integers(-4, 5, 5) / 4,
        state_scores=rng.integers(-4, 5, (2, states)) / 4,
    )


def check(problem: ArrayProblem) -> BestPaths:
    found, truth = Triton.best_path(problem), reference.best_path(problem)
    assert found.states.tolist() == truth.states.tolist()
    assert found.status.tolist() == truth.status.tolist()
    np.testing.assert_allclose(found.score, truth.score, rtol=1e-14)
    return found


ROWS = [
    BestRow(1, 16, 2),
    BestRow(1, 8, 5),
    BestRow(4, 16, 1),
    BestRow(4, 8, 2),
    BestRow(2, 8, 3),
    BestRow(2, 8, 9),
    IN_MEMORY,
]


@pytest.fixture(params=ROWS, ids=str)
def row(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> BestRow:
    """Ways to hold a row: lanes with one pair and with several, warps that share pairs, tiles of memory."""
    held: BestRow = request.param
    monkeypatch.setattr(tuning, "best_row", lambda pairs: held)
    if held == IN_MEMORY:
        monkeypatch.setattr(tuning, "TILE", 8)
    return held


def test_rows_of_all_shapes(row: BestRow) -> None:
    """A target that fills the row, so that the path goes through all warps and lanes."""
    tokens = (row.pairs if row.each else 30) - 1
    check(problem_of(draw(tokens, tokens + 12, 2, 4, tokens)))


def test_any_lattice_in_rows_of_all_shapes(row: BestRow) -> None:
    states = 2 * min(row.pairs if row.each else 30, 30) - 1
    for seed in (1, 2):
        check(any_problem(seed, 20, states))


def test_float64_in_rows_of_several_warps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "best_row", lambda pairs: BestRow(2, 8, 2))
    batch = draw(3, 30, 2, 5, 20)
    check(support.batches.problem_of(batch, "float64", from_logits=True))


def test_all_paths_are_equal(row: BestRow) -> None:
    """Then the path is the one of the lowest states, compared from the end."""
    check(ctc_problem(np.zeros((20, 1, 3), np.float32), [[1, 1, 2, 1]], [20], [4], 0, from_logits=False))


def test_any_number_of_frames() -> None:
    """Eight frames at a time, the last few one at a time: no frame twice, none left out."""
    batch = draw(8, 25, 26, 4, 3)
    given = Batch(batch.scores, batch.targets, np.arange(26), np.minimum(batch.lengths, np.arange(26) // 2))
    assert (check(problem_of(given)).status == Status.OK).all()


def test_digits_are_kept_over_many_frames() -> None:
    """All paths lose 18 million nats; float32 holds no quarters beside them, so they must be subtracted on the way.

    The best label of the first frames is the last token, which no path can have reached.
    """
    scores = exact(np.random.default_rng(9).normal(size=(80, 1, 5)), "float32")
    scores[:45, 0] = np.append(scores[:45, 0, :4] - np.float32(4e5), np.zeros((45, 1), np.float32), axis=1)
    target = np.append(1 + np.arange(49) % 3, 4)
    assert check(ctc_problem(scores, target, 80, 50, 0, from_logits=False)).score < -1.7e7


@pytest.mark.parametrize("held", [BestRow(4, 16, 1), BestRow(4, 8, 2), BestRow(2, 8, 3)], ids=str)
def test_a_path_goes_from_warp_to_warp_at_any_time(held: BestRow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of a pair per frame after 0 to 7 frames of blank: so they enter a warp at any of its eight frames."""
    monkeypatch.setattr(tuning, "best_row", lambda pairs: held)
    tokens = held.pairs - 1
    scores = np.full((tokens + 8, 8, 3), -1, np.float32)
    target = 1 + np.arange(tokens) % 2
    for wait in range(8):
        labels = np.concatenate((np.zeros(wait, int), target, np.zeros(8 - wait, int)))
        scores[np.arange(tokens + 8), wait, labels] = 0
    check(ctc_problem(scores, np.tile(target, (8, 1)), [tokens + 8] * 8, [tokens] * 8, 0, from_logits=False))


@pytest.fixture(params=[True, False], ids=["at once", "in chunks"])
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The way back by one program, or by chunks side by side, whatever the number of frames."""
    whole: bool = request.param
    monkeypatch.setattr(trace, "MOST_AT_ONCE", 1 << 20 if whole else 0)
    return whole


@pytest.mark.parametrize("frames", [1, 128, 129, 300])
def test_the_way_back(at_once: bool, frames: int) -> None:
    """One frame; one chunk; a last chunk of one frame; three chunks; samples with fewer frames than others."""
    batch = draw(frames, frames, 3, 5, min(frames, 40))
    counts = np.array([frames, max(frames - 37, 1), frames])
    lengths = np.array([min(frames // 3, 40), 0, min(frames, 40)])
    found = check(problem_of(Batch(batch.scores, batch.targets, counts, lengths)))
    assert found.status[:2].tolist() == [Status.OK, Status.OK]


def test_the_way_back_of_any_lattice(at_once: bool) -> None:
    """Entry costs are counted once, also where a state is entered in the first frame of a chunk."""
    check(any_problem(6, 140, 21))
    k = np.arange(150)  # a state per frame
    arcs = np.where(k == 0, Arc.START, Arc.STEP) | np.where(k == 149, Arc.END, 0)
    steps = Lattice(k % 5, arcs, None, k / 8)
    check(lattice_problem(np.zeros((150, 1, 5), np.float32), steps, [150], from_logits=False))


@pytest.mark.long
def test_more_frames_than_one_program_follows() -> None:
    """33 chunks; the second sample is the same with fewer frames, and its score the same as alone, followed at once."""
    batch = draw(14, 4200, 1, 5, 60, ragged=False)
    scores, targets = np.repeat(batch.scores, 2, axis=1), np.repeat(batch.targets, 2, axis=0)
    together = Batch(scores, targets, np.array([4200, 3000]), np.array([60, 60]))
    found = check(problem_of(together))
    alone = Triton.best_path(problem_of(Batch(scores[:3000, 1:], targets[1:], np.array([3000]), np.array([60]))))
    assert found.score[1] == alone.score[0]
    assert np.array_equal(found.states[1, :3000], alone.states[0])


def test_no_frames(at_once: bool) -> None:
    found = check(ctc_problem(np.empty((0, 2, 3), np.float32), [[1], [1]], [0, 0], [0, 1], 0, from_logits=False))
    assert found.status.tolist() == [Status.OK, Status.INFEASIBLE]


def test_scores_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a sample alone or with longer ones, for all ways to hold its row, and for both ways back."""
    batch = draw(5, 200, 2, 5, 40)
    batch = Batch(batch.scores, batch.targets, np.array([200, 150]), np.array([40, 12]))
    together = Triton.best_path(support.batches.problem_of(batch, "float32", from_logits=True))
    monkeypatch.setattr(tuning, "best_row", lambda pairs: BestRow(4, 8, 2))
    alone = Triton.best_path(support.batches.problem_of(batch.alone(1), "float32", from_logits=True))
    monkeypatch.setattr(trace, "MOST_AT_ONCE", 0)
    in_chunks = Triton.best_path(support.batches.problem_of(batch.alone(1), "float32", from_logits=True))
    assert np.array_equal(together.states[1, :150], alone.states[0])
    assert np.array_equal(in_chunks.states, alone.states)
    assert together.score[1] == alone.score[0] == in_chunks.score[0]


def test_rows_hold_what_is_asked_for() -> None:
    """Rows of more pairs than all lanes of a program hold are in memory."""
    for pairs in [1, 31, 32, 62, 63, 201, 455, 456, 2001, 8001, 8959]:
        held = tuning.best_row(pairs)
        assert held.each >= 1
        assert held.pairs >= pairs
    assert tuning.best_row(1) == BestRow(1, 32, 1)
    assert tuning.best_row(8960).each == 0


@pytest.mark.parametrize(
    ("sizes", "on_cpu"),
    [
        (Sizes(60000, 1, 64, 8001), True),
        (Sizes(15000, 1, 32, 2001), True),
        (Sizes(60000, 1, 64, 9001), True),  # in tiles of memory
        (Sizes(1500, 1, 32, 201), False),  # the host need not wait
        (Sizes(1500, 64, 32, 201), False),
        (Sizes(60000, 16, 64, 8001), False),  # many samples at a time
        (Sizes(60000, 1, 100000, 301), False),  # 24 GB to copy
    ],
    ids=str,
)
def test_what_the_cpu_does(sizes: Sizes, on_cpu: bool) -> None:
    assert cpu.is_quicker_on_cpu(sizes, size_of_score=4) == on_cpu


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU finds all paths, whatever their sizes."""
    monkeypatch.setattr(host, "is_quicker_on_cpu", lambda sizes, size_of_score: True)

    def launched(*_: Any) -> None:
        raise AssertionError("a kernel of the GPU")

    monkeypatch.setattr(host, "find_best", launched)


@pytest.mark.usefixtures("on_cpu")
def test_paths_of_the_cpu() -> None:
    batch = draw(12, 40, 3, 5, 9)
    for dtype in support.batches.DTYPES:
        made = support.batches.problem_of(batch, dtype, from_logits=True)
        found, truth = Triton.best_path(made), reference.best_path(made)
        assert found.states.tolist() == truth.states.tolist()
        np.testing.assert_allclose(found.score, truth.score, rtol=1e-6)
    check(any_problem(3, 30, 41))
    check(ctc_problem(np.zeros((3, 2, 3)), [[1, 1], [1, 0]], [3, 2], [2, 1], 0, from_logits=False))
    check(ctc_problem(np.zeros((2, 2, 3)), [[1, 1], [1, 0]], [2, 2], [2, 1], 0, from_logits=False))


@pytest.mark.usefixtures("on_cpu")
def test_the_cpu_is_told_of_no_wrong_number() -> None:
    """What a device may hold and nobody has checked: such samples are INVALID, the others are not affected."""
    lattice = Lattice([1, 2], [Arc.STAY | Arc.START, Arc.STAY | Arc.STEP | Arc.END], None, [0.0, 1.0])
    given = Triton.problem(lattice_problem(np.zeros((2, 7, 3)), lattice, [2] * 7, from_logits=False))
    batch = given.lattices
    batch.labels[0, 0], batch.labels[1, 0], batch.num_states[2], batch.frames[3] = 3, -1, 3, 3
    given.state_scores = torch.zeros((7, 2), dtype=torch.float64, device=batch.labels.device)
    given.state_scores[4, 1], batch.entry_costs[5, 1] = torch.nan, -torch.inf
    found = backend.best_path(given)
    assert found.status.tolist() == [Status.INVALID] * 6 + [Status.OK]
    assert torch.isnan(found.score).tolist() == [True] * 6 + [False]
    assert found.states.tolist() == [[-1, -1]] * 6 + [[0, 1]]
    assert found.score[6] == -1


@pytest.mark.usefixtures("on_cpu")
def test_wrong_targets_are_invalid_on_the_cpu_too() -> None:
    scores = torch.zeros((4, 3, 3), device=Triton.device())
    numbers = (torch.tensor(x, device=Triton.device()) for x in ([[1, 2], [1, 7], [1, 1]], [4, 4, 2], [2, 2, 2]))
    lattices = backend.ctc_lattices(scores, *numbers, 0)
    found = backend.best_path(host.Problem(scores, False, lattices))
    assert found.status.tolist() == [Status.OK, Status.INVALID, Status.INFEASIBLE]
    assert (found.states[1:] == -1).all()


@pytest.mark.usefixtures("on_cpu")
def test_long_arcs_are_refused_whoever_would_find_the_path() -> None:
    lattice = ctc_lattice([1, 2, 3]).with_long_arcs([(1, 5)])
    given = Triton.problem(lattice_problem(np.zeros((4, 1, 4)), lattice, [4], from_logits=False))
    with pytest.raises(CTCError, match="the triton backend cannot take long arcs yet"):
        backend.best_path(given)


@pytest.mark.gpu
def test_nothing_is_copied_to_the_cpu_in_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(13, 40, 2, 5, 9)
    given = Triton.problem(support.batches.problem_of(batch, "float32", from_logits=True))
    expected = backend.best_path(given)
    monkeypatch.setattr(host, "is_quicker_on_cpu", lambda sizes, size_of_score: True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = backend.best_path(given)
    graph.replay()
    assert torch.equal(found.states, expected.states)
    assert torch.equal(found.score, expected.score)
