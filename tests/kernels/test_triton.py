"""What is the GPU backend's own: layouts of tensors, wrong values, rows cut into tiles, no word to the host, compiling.

The rules that all backends share are tested where they are for all: the backend is a parameter there. In Triton's
interpreter those tests are few, with a GPU they are all of them.
"""

from __future__ import annotations

import importlib.util
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

from ctckit import CTCError, ctc_lattice

torch = pytest.importorskip("torch", reason="the GPU backend needs torch")
pytest.importorskip("triton", reason="the GPU backend needs triton")
HAS_GPU = has_gpu()

from ctckit.kernels import triton as backend  # noqa: E402
from ctckit.kernels.triton import backend as on_tensors  # noqa: E402
from ctckit.kernels.triton import tuning  # noqa: E402
from ctckit.torch import gpu  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "cuda" if HAS_GPU else "cpu"
gpu_only = pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")

# NumPy, which the interpreter computes with, warns of NaN and infinity where a GPU does not.
# On a GPU torch says once that its mode that finds out who waits does not find out everything.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Synchronization debug mode")


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Memory that nobody wrote can't look like a result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        yield
        torch.use_deterministic_algorithms(before)


@pytest.fixture(params=[2048, 2], ids=["registers", "tiles"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in registers, and rows of several tiles by way of memory."""
    monkeypatch.setattr(tuning, "LARGEST_BLOCK", request.param)
    if request.param == 2:
        monkeypatch.setattr(tuning, "TILE", 2)


def tensor(scores: Array) -> Any:
    return torch.from_numpy(scores).float().to(DEVICE)


def arguments(batch: Batch) -> tuple[Any, ...]:
    targets, frames, lengths, blank = batch.arguments
    return (*(torch.from_numpy(np.asarray(x)).to(DEVICE) for x in (targets, frames, lengths)), blank)


def score_and_gradient(batch: Batch) -> tuple[Array, Array]:
    """Of float32 logits, whatever the lengths and targets say."""
    scores = tensor(batch.scores)
    grad = torch.full_like(scores, float("nan"))
    score = backend.total(scores, *arguments(batch), from_logits=True, grad=grad)
    return score.cpu().numpy(), grad.double().cpu().numpy()


def check(batch: Batch) -> None:
    """A batch of float32 logits against the textbook, within the budget."""
    truth = truth_of(batch, "float32", from_logits=True)
    check_batch(Backend("triton"), batch, "float32", truth, from_logits=True)


def test_rows_in_memory(narrow: None) -> None:
    """However a row is cut, and however it is passed on."""
    check(draw(10, 8, 1, 4, 4))


def test_cut_or_whole_rows_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(23, 7, 1, 4, 4)
    score, gradient = score_and_gradient(batch)
    monkeypatch.setattr(tuning, "LARGEST_BLOCK", 2)
    cut, cut_gradient = score_and_gradient(batch)
    assert np.array_equal(cut, score)
    assert np.array_equal(cut_gradient, gradient)


def test_best_paths_of_cut_or_whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(24, 11, 2, 4, 5)
    given = tensor(batch.scores), *arguments(batch)
    whole = backend.best_path(*given, from_logits=True)
    monkeypatch.setattr(tuning, "LARGEST_BLOCK", 2)
    monkeypatch.setattr(tuning, "TILE", 2)
    cut = backend.best_path(*given, from_logits=True)
    assert torch.equal(cut.states, whole.states)
    torch.testing.assert_close(cut.score, whole.score, rtol=1e-15, atol=0)  # added up in another order
    assert (whole.states[0] >= 0).all()


def test_more_classes_than_a_program_reads_at_once() -> None:
    check(draw(7, 3, 2, tuning.ROWS_TILE + 50, 2, blank=tuning.ROWS_TILE + 49, ragged=False))


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
        assert on_tensors._integers("target_lengths", [1, 2]).is_cpu
        assert gpu._integers([1, 2]).is_cpu


def test_lattice_is_that_of_the_table() -> None:
    targets = np.array([[1, 1, 2, 0], [3, 2, 2, 2], [0, 0, 0, 0]])
    lengths = torch.tensor([3, 4, 0])
    sizes = tuning.Sizes(9, 3, 5, 5)
    made = on_tensors._lay_out(
        torch.from_numpy(targets).to(DEVICE), lengths.to(DEVICE) + 5, lengths.to(DEVICE), sizes, 4
    )
    arcs = made.arcs.cpu().numpy()
    for n, length in enumerate(lengths.tolist()):
        lattice = ctc_lattice(targets[n, :length], 4)
        assert arcs[n].T.ravel()[: lattice.states].tolist() == lattice.arcs.tolist()
        assert not arcs[n].T.ravel()[lattice.states :].any()


def test_no_frames_at_all() -> None:
    score, gradient = score_and_gradient(
        Batch(np.empty((0, 2, 3)), np.array([[1], [1]]), np.zeros(2, int), np.array([0, 1])),
    )
    assert score.tolist() == [0, -np.inf]
    assert gradient.shape == (0, 2, 3)


def test_layouts() -> None:
    """Any strides of the scores, the gradient and the targets; any integers; lists; end to end."""
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
        (flat.int(), batch.frames.tolist(), batch.lengths.tolist()),
    ):
        grad.fill_(float("nan"))
        score = backend.total(strided, *given, blank, from_logits=True, grad=grad)
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
    path = backend.best_path(tensor(batch.scores), *arguments(broken), from_logits=True)
    assert torch.isnan(path.score).tolist() == [False, True, False]
    assert (path.states[1] == -1).all()
    for n in (0, 2):
        assert score[n] == whole[0][n]
        assert np.array_equal(gradient[:, n], whole[1][:, n])
    with pytest.raises(CTCError, match=rf"{name}\[1"):
        backend.total(tensor(batch.scores), *arguments(broken), from_logits=True, validate=True)


def test_end_to_end_lengths_that_lie() -> None:
    """Nothing beyond the tokens is read; a sample before the lie is right."""
    batch = draw(16, 6, 3, 5, 2, ragged=False)
    flat = torch.from_numpy(batch.targets).flatten().to(DEVICE)
    grad = torch.empty((6, 3, 5), device=DEVICE)
    lengths = torch.tensor([2, 900, -7], device=DEVICE)
    score = backend.total(tensor(batch.scores), flat, [6] * 3, lengths, 0, from_logits=True, grad=grad)
    assert torch.isnan(score[1:]).all()
    assert torch.isnan(grad[:, 1:]).all()
    assert score[0] == score_and_gradient(batch)[0][0]


@pytest.mark.parametrize(
    ("scores", "targets", "frames", "lengths", "blank", "named"),
    [
        ((4, 2), (2, 1), (2,), (2,), 0, "scores"),
        ((4, 2, 3), (3, 1), (2,), (2,), 0, "targets"),
        ((4, 2, 3), (2, 1), (1,), (2,), 0, "input_lengths"),
        ((4, 2, 3), (2, 1), (2,), (2, 1), 0, "target_lengths"),
        ((4, 2, 3), (2, 1), (2,), (2,), 3, "blank"),
    ],
)
def test_malformed_arguments(scores: Any, targets: Any, frames: Any, lengths: Any, blank: int, named: str) -> None:
    integers = (torch.ones(shape, dtype=torch.int64) for shape in (targets, frames, lengths))
    with pytest.raises(CTCError, match=named):
        backend.total(torch.zeros(scores), *integers, blank, from_logits=True)


def test_wrong_types() -> None:
    ones = torch.ones(1, dtype=torch.int64)
    with pytest.raises(CTCError, match="scores"):
        backend.total(torch.zeros((2, 1, 3), dtype=torch.int32), ones[None], ones, ones, 0, from_logits=True)
    with pytest.raises(CTCError, match="targets has dtype float32"):
        backend.total(torch.zeros((2, 1, 3)), ones[None].float(), ones, ones, 0, from_logits=True)


def test_the_host_never_asks(unread: Callable[[Callable[[], Any]], None]) -> None:
    batch = draw(18, 3, 2, 4, 1)
    scores, given = tensor(batch.scores), arguments(batch)
    grad = torch.empty_like(scores)
    unread(lambda: backend.total(scores, *given, from_logits=True, grad=grad))
    unread(lambda: backend.posteriors(scores, *given))
    unread(lambda: backend.best_path(scores, *given))


def test_posteriors_of_logits() -> None:
    """Occupancies do not depend on what all classes of a frame have in common; the score does."""
    batch = draw(19, 6, 2, 5, 3)
    scores = tensor(batch.scores)
    found = backend.posteriors(scores, *arguments(batch), from_logits=True)
    same = backend.posteriors(scores, *arguments(batch))
    assert torch.equal(found.states, same.states)
    assert torch.equal(found.classes, same.classes)
    assert torch.equal(found.score, backend.total(scores, *arguments(batch), from_logits=True))


def test_nothing_of_the_callers_is_changed() -> None:
    batch = draw(20, 2, 1, 4, 1)
    scores, given = tensor(batch.scores), arguments(batch)
    before = [x.clone() for x in (scores, *given[:3])]
    backend.total(scores, *given, from_logits=True, grad=torch.empty_like(scores))
    assert all(torch.equal(a, b) for a, b in zip(before, (scores, *given[:3]), strict=True))


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ctckit.kernels.triton import best, gradient, lattice, rows, sums

MODULES = lattice, rows, sums, gradient, best
REAL, SCORE = {real!r}, {score!r}
POINTERS = dict(
    p_scores=SCORE, p_grad=SCORE, p_weights="fp64", p_targets="i64", p_begins="i64", p_input_lengths="i32",
    p_target_lengths="i64",
    p_tokens="i32", p_arcs="u8", p_frames="i64", p_lengths="i64", p_status="i32", p_wide="i8", p_offset="fp64",
    p_e="i32", p_edge_e="i32", p_moves="u8", p_last="i32", p_path="i32",
    p_total="i32", p_score="fp64", p_sorted="i32", p_order="i64", p_run="i64", p_first="i64",
)
kind = getattr(triton.language, REAL)
SWEEP = dict(EVEN_SKIPS=False, BLOCK=64)
GRADIENT = dict(ROWS=8, BLOCK=32, LABELS=32)
for name, fixed in (
    ("_lattice_kernel", dict(FLAT=True, BLOCK=64)),
    ("_rows_kernel", dict(LOGITS=True, ROWS=8, BLOCK=32, LABELS=32, REAL=kind)),
    ("_sweep_kernel", dict(TILED=False, SECOND=False, KEEP=True, **SWEEP)),
    ("_sweep_kernel", dict(TILED=False, SECOND=True, KEEP=False, **SWEEP)),
    ("_sweep_kernel", dict(TILED=True, SECOND=True, KEEP=False, **SWEEP)),
    ("_total_kernel", SWEEP),
    ("_best_kernel", dict(TILED=False, REAL=kind, **SWEEP)),
    ("_best_kernel", dict(TILED=True, REAL=kind, **SWEEP)),
    ("_trace_kernel", dict(BLOCK=64)),
    ("_gradient_kernel", dict(SOFTMAX=True, STATES=False, **GRADIENT)),
    ("_gradient_kernel", dict(SOFTMAX=False, STATES=True, **GRADIENT)),
):
    kernel = next(vars(module)[name] for module in MODULES if name in vars(module))
    varying = {{x.name for x in kernel.params if not (x.is_constexpr or x.do_not_specialize or x.name[:2] == "p_")}}
    rows = {{"stride_t", "stride_n", "stride_c", "grad_stride_t", "grad_stride_n", "grad_stride_c"}}
    assert varying <= (rows if name in ("_rows_kernel", "_gradient_kernel") else set()), (name, varying)
    real = REAL.replace("float", "fp")
    types = {{x: "*" + POINTERS.get(x, real) if x.startswith("p_") else "i32" for x in kernel.arg_names}}
    types.update(dict.fromkeys(fixed, "constexpr"))
    triton.compile(ASTSource(kernel, types, constexprs=fixed), target=GPUTarget({target}), options=dict(num_warps=2))
print("all compiled")
"""


@pytest.mark.parametrize(
    ("score", "real", "target"),
    [
        pytest.param("bf16", "float32", "'cuda', 90, 32", id="sm_90"),
        pytest.param("fp64", "float64", "'hip', 'gfx942', 64", id="gfx942", marks=pytest.mark.long),
    ],
)
def test_kernels_compile_without_a_gpu(tmp_path: Path, score: str, real: str, target: str) -> None:
    """What the interpreter takes, the compiler may not: layouts, types, annotations."""
    setting = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    setting |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    code = COMPILED.format(score=score, real=real, target=target)
    (tmp_path / "compiled.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "compiled.py"], env=setting, capture_output=True, text=True)
    assert done.stdout.strip() == "all compiled", done.stderr[-3000:]


def test_kernels_need_no_torch() -> None:
    """They are for any framework that Triton has; only backend.py allocates, by torch."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from ctckit.kernels.triton import batch, best, cells, gradient, lattice, rows, scaled, sums, tuning\n"
        "print('imported')"
    )
    setting = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", code], env=setting, capture_output=True, text=True)
    assert done.stdout.strip() == "imported", done.stderr[-3000:]


def test_what_the_benchmark_asks_before_it_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of bench/gpu.py that needs no GPU: inputs, steps, errors, ratios."""
    torch.use_deterministic_algorithms(False)  # with which torch's own CUDA loss has no gradient
    specification = importlib.util.spec_from_file_location("bench_gpu", ROOT / "bench" / "gpu.py")
    bench = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bench)
    case = bench.Case(bench.Shape(T=6, C=5, N=2, S=2), DEVICE)
    errors = bench.gradient_errors(case, {**bench.OURS, "torch": bench.torchs})
    assert max(errors.values()) < 1e-5
    assert errors["kernels"] > 0
    bench.check_path(case)
    monkeypatch.setitem(bench.OURS, "ours", lambda case: bench.kernels(case) * 1.001)
    with pytest.raises(bench.Wrong, match="'ours' is off by"):
        bench.gradient_errors(case, bench.OURS)
    times = {"ours": [1.0, 2.0, 1.0], "torch": [4.0, 6.0, 9.0], "cudnn": [5.0, 4.0, 3.0]}
    assert bench.ratios(times) == {"torch / ours": 4.0, "cudnn / ours": 3.0, "torch's best / ours": 3.0}


@pytest.mark.skipif(HAS_GPU, reason="would run the benchmark")
def test_the_benchmark_says_that_there_is_no_gpu() -> None:
    done = subprocess.run([sys.executable, ROOT / "bench" / "gpu.py"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs a GPU that torch can use, and there is none here: nothing was measured" in done.stderr


@gpu_only
def test_captured_in_a_graph() -> None:
    batch = draw(21, 40, 4, 8, 10)
    scores, given = tensor(batch.scores), arguments(batch)
    grad = torch.empty_like(scores)
    expected = backend.total(scores, *given, from_logits=True, grad=grad).clone()
    expected_grad, expected_path = grad.clone(), backend.best_path(scores, *given, from_logits=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        score = backend.total(scores, *given, from_logits=True, grad=grad)
        path = backend.best_path(scores, *given, from_logits=True)
    grad.fill_(float("nan"))
    graph.replay()
    assert torch.equal(score, expected)
    assert torch.equal(grad, expected_grad)
    assert torch.equal(path.states, expected_path.states)


@gpu_only
def test_more_states_than_registers_hold() -> None:
    check(draw(22, 5000, 1, 30, 2100, ragged=False))
