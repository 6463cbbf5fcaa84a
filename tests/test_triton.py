"""The GPU backend, in Triton's interpreter: the same rules, oracles and error budgets as for the others.

Where there is a GPU the kernels are compiled and run on it, and so are the tests of what only a GPU can show.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import DTYPES, Array, Batch, Budget, assert_matches, decode, draw, encode, problem_of, truth_of
from oracles import Textbook

from ctckit import CTCError, ctc_lattice
from ctckit.kernels import reference

torch = pytest.importorskip("torch", reason="the GPU backend needs torch")
HAS_GPU = torch.cuda.is_available()
pytest.importorskip("triton", reason="the GPU backend needs triton")

from ctckit.kernels import triton as backend  # noqa: E402

DEVICE = "cuda" if HAS_GPU else "cpu"
gpu_only = pytest.mark.skipif(not HAS_GPU, reason="needs a GPU")

# NumPy, which the interpreter computes with, warns of NaN and infinity where a GPU does not.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


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
    monkeypatch.setattr(backend, "LARGEST_BLOCK", request.param)
    if request.param == 2:
        monkeypatch.setattr(backend, "TILE", 2)


class KernelBudget(Budget):
    """The same, from the roundings of four frames at least: fewer do not average out."""

    def _frames(self, most: float = np.inf) -> float:
        return max(super()._frames(most), 2.0)

    def gradient(self, truth: Array) -> Array:
        """As ever, and what the interpreter cuts off of a bfloat16 that a GPU rounds to nearest."""
        cut = 2.0**-8 if self.dtype == "bfloat16" and not HAS_GPU else 0.0
        return super().gradient(truth) + cut * np.abs(truth)


def tensor(scores: Array, dtype: str) -> Any:
    return torch.from_numpy(scores).to(getattr(torch, dtype)).to(DEVICE)


def arguments(batch: Batch) -> tuple[Any, ...]:
    targets, frames, lengths, blank = batch.arguments
    return (*(torch.from_numpy(np.asarray(x)).to(DEVICE) for x in (targets, frames, lengths)), blank)


def score_and_gradient(
    batch: Batch, dtype: str, *, from_logits: bool, weights: Array | None = None
) -> tuple[Array, Array]:
    scores = tensor(batch.scores, dtype)
    grad = torch.full_like(scores, float("nan"))
    given = None if weights is None else torch.from_numpy(weights).to(DEVICE)
    score = backend.total(scores, *arguments(batch), from_logits=from_logits, weights=given, grad=grad)
    return score.cpu().numpy(), grad.double().cpu().numpy()


def check(batch: Batch, dtype: str, *, from_logits: bool, weights: Array | None = None) -> tuple[Array, Array]:
    """A batch against the textbook, within the dtype's budget; frames past a sample's own have gradient 0."""
    batch = batch.with_scores(decode(encode(batch.scores, dtype)))
    score, gradient = score_and_gradient(batch, dtype, from_logits=from_logits, weights=weights)
    for n, expected in enumerate(truth_of(batch, dtype, from_logits=from_logits)):
        used = batch.frames[n]
        scaled = expected._replace(classes=expected.classes * (1 if weights is None else weights[n]))
        assert_matches(KernelBudget(batch.scores[:used, n], dtype), scaled, score[n], gradient[:used, n], n)
        assert not gradient[used:, n].any()
    return score, gradient


def repeated() -> Batch:
    """Tokens that come again, next to each other and further on; the longest target just fits."""
    targets = np.array([[1, 1, 2, 1, 3, 3], [2, 2, 2, 0, 0, 0], [3, 1, 3, 1, 3, 1]])
    scores = np.random.default_rng(2).normal(size=(9, 3, 5)) * 2
    return Batch(scores, targets, np.array([8, 5, 9]), np.array([6, 3, 6]), 4)


CASES = {
    "blank first": lambda: draw(1, 9, 2, 6, 4),
    "blank amid": lambda: draw(2, 7, 2, 5, 3, blank=2),
    "blank last": lambda: draw(3, 6, 2, 4, 2, blank=3),
    "one frame": lambda: draw(4, 1, 2, 3, 1),
    "two frames": lambda: draw(5, 2, 2, 3, 1, ragged=False),
    "nothing but the blank": lambda: draw(6, 4, 2, 1, 0),
    "repeated": repeated,
    "many classes": lambda: draw(7, 3, 2, 2100, 2, blank=2099, ragged=False),
    "steep": lambda: draw(8, 7, 1, 4, 3, spread=3000.0),
}


@pytest.mark.parametrize(("dtype", "from_logits"), [("float32", True), ("float64", False)], ids=["logits", "log_probs"])
@pytest.mark.parametrize("name", CASES)
def test_score_and_gradient(name: str, dtype: str, from_logits: bool) -> None:
    batch = CASES[name]()
    check(batch, dtype, from_logits=from_logits, weights=np.linspace(0.5, 2, len(batch.frames)))


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: str, from_logits: bool) -> None:
    check(draw(9, 5, 2, 5, 2), dtype, from_logits=from_logits)


def test_rows_in_memory(narrow: None) -> None:
    """However a row is cut, and however it is passed on."""
    check(draw(10, 8, 1, 4, 4), "float32", from_logits=True)


def test_cut_or_whole_rows_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(23, 7, 1, 4, 4)
    score, gradient = score_and_gradient(batch, "float32", from_logits=True)
    monkeypatch.setattr(backend, "LARGEST_BLOCK", 2)
    cut, cut_gradient = score_and_gradient(batch, "float32", from_logits=True)
    assert np.array_equal(cut, score)
    assert np.array_equal(cut_gradient, gradient)


def test_lattice_is_that_of_the_table() -> None:
    targets = np.array([[1, 1, 2, 0], [3, 2, 2, 2], [0, 0, 0, 0]])
    lengths = torch.tensor([3, 4, 0])
    sizes = backend._Sizes(9, 3, 5, 5)
    made = backend._lay_out(torch.from_numpy(targets).to(DEVICE), lengths.to(DEVICE) + 5, lengths.to(DEVICE), sizes, 4)
    arcs = made.arcs.cpu().numpy()
    for n, length in enumerate(lengths.tolist()):
        lattice = ctc_lattice(targets[n, :length], 4)
        assert arcs[n].T.ravel()[: lattice.states].tolist() == lattice.arcs.tolist()
        assert not arcs[n].T.ravel()[lattice.states :].any()


def test_infeasible_and_empty() -> None:
    """No path: -inf and a gradient of exactly 0, even where there is NaN. No tokens: all blanks. No frames: nothing."""
    batch = draw(11, 6, 6, 4, 3, ragged=False)
    targets = np.array([[1, 1, 2], [1, 2, 3], [1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    frames, lengths = np.array([3, 2, 4, 6, 0, 0]), np.array([3, 3, 3, 0, 0, 1])
    scores = batch.scores.copy()
    scores[0, 0, 0] = np.nan
    batch = Batch(scores, targets, frames, lengths)
    score, gradient = score_and_gradient(batch, "float32", from_logits=True)
    assert (score[[0, 1, 2, 5]] == -np.inf).all()
    assert score[4] == 0
    assert not gradient[:, [0, 1, 2, 4, 5]].any()
    check(batch.alone(3), "float32", from_logits=True)


def test_no_frames_at_all() -> None:
    score, gradient = score_and_gradient(
        Batch(np.empty((0, 2, 3)), np.array([[1], [1]]), np.zeros(2, int), np.array([0, 1])),
        "float32",
        from_logits=True,
    )
    assert score.tolist() == [0, -np.inf]
    assert gradient.shape == (0, 2, 3)


@pytest.mark.parametrize("from_logits", [False, True], ids=["log_probs", "logits"])
def test_padding_is_never_read_and_nan_spoils_its_own_sample(from_logits: bool) -> None:
    clean = draw(12, 6, 4, 4, 2)
    whole = score_and_gradient(clean, "float32", from_logits=from_logits)
    scores, targets = clean.scores.copy(), clean.targets.copy()
    for n, (used, length) in enumerate(zip(clean.frames, clean.lengths, strict=True)):
        scores[used:, n] = np.nan
        targets[n, length:] = -100
    scores[clean.frames[1] - 1, 1, 2] = np.nan
    scores[0, 2, 3] = np.inf
    dirty = Batch(scores, targets, clean.frames, clean.lengths)
    score, gradient = score_and_gradient(dirty, "float32", from_logits=from_logits)
    for n in (1, 2):
        assert np.isnan(score[n])
        assert np.isnan(gradient[: clean.frames[n], n]).all()
        assert not gradient[clean.frames[n] :, n].any()
    for n in (0, 3):
        assert score[n] == whole[0][n]
        assert np.array_equal(gradient[:, n], whole[1][:, n])


def test_minus_infinity_is_a_probability_of_zero() -> None:
    batch = draw(13, 5, 6, 4, 1, ragged=False)
    rng = np.random.default_rng(13)
    dead = rng.random(batch.scores.shape) < 0.3
    dead[..., 3] = False
    dead[3, 5] = True  # a frame of nothing else
    batch = batch.with_scores(np.where(dead, -np.inf, batch.scores))
    score, _ = check(batch, "float32", from_logits=False)
    assert np.isinf(score).any()
    assert np.isfinite(score).any()
    alive = Batch(batch.scores[:, :5], batch.targets[:5], batch.frames[:5], batch.lengths[:5])
    check(alive, "float32", from_logits=True)


def test_labels_buried_under_another_class() -> None:
    """Labels count by each other, however much likelier a class is that is no label."""
    scores = np.zeros((6, 1, 3))
    scores[:, :, :2] -= 1e9
    batch = Batch(scores, np.array([[1]]), np.array([6]), np.array([1]))
    expected = np.empty(scores.shape)
    truth = reference.total(problem_of(batch, "float64", from_logits=True), grad=expected)
    score, gradient = score_and_gradient(batch, "float32", from_logits=True)
    np.testing.assert_allclose(score, truth, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected, atol=1e-4)  # logarithms of 1e9 cost the reference 1e-5


def test_layouts() -> None:
    """Any strides of the scores, the gradient and the targets; any integers; lists; end to end."""
    batch = draw(14, 5, 2, 5, 2)
    expected = score_and_gradient(batch, "float32", from_logits=True)
    targets, frames, lengths, blank = arguments(batch)
    wide = torch.full((2, 10, 10), float("nan"), device=DEVICE)
    strided = wide[:, ::2, ::2].transpose(0, 1)
    strided.copy_(tensor(batch.scores, "float32"))
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
    return batch, score_and_gradient(batch, "float32", from_logits=True)


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
    score, gradient = score_and_gradient(broken, "float32", from_logits=True)
    assert np.isnan(score[1])
    assert np.isnan(gradient[:, 1]).all()
    for n in (0, 2):
        assert score[n] == whole[0][n]
        assert np.array_equal(gradient[:, n], whole[1][:, n])
    with pytest.raises(CTCError, match=rf"{name}\[1"):
        backend.total(tensor(batch.scores, "float32"), *arguments(broken), from_logits=True, validate=True)


def test_end_to_end_lengths_that_lie() -> None:
    """Nothing beyond the tokens is read; a sample before the lie is right."""
    batch = draw(16, 6, 3, 5, 2, ragged=False)
    flat = torch.from_numpy(batch.targets).flatten().to(DEVICE)
    grad = torch.empty((6, 3, 5), device=DEVICE)
    lengths = torch.tensor([2, 900, -7], device=DEVICE)
    score = backend.total(tensor(batch.scores, "float32"), flat, [6] * 3, lengths, 0, from_logits=True, grad=grad)
    assert torch.isnan(score[1:]).all()
    assert torch.isnan(grad[:, 1:]).all()
    assert score[0] == score_and_gradient(batch, "float32", from_logits=True)[0][0]


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


def test_the_same_bits_in_any_batch() -> None:
    """Twice, without a gradient, and alone without the padding that the others needed."""
    batch = draw(17, 7, 3, 5, 5)
    score, gradient = score_and_gradient(batch, "float32", from_logits=True)
    again = score_and_gradient(batch, "float32", from_logits=True)
    assert np.array_equal(again[0], score)
    assert np.array_equal(again[1], gradient)
    alone = backend.total(tensor(batch.scores, "float32"), *arguments(batch), from_logits=True)
    assert np.array_equal(alone.cpu().numpy(), score)
    for n in (1, 2):
        single, single_gradient = score_and_gradient(batch.alone(n), "float32", from_logits=True)
        assert single[0] == score[n]
        assert np.array_equal(single_gradient[:, 0], gradient[: batch.frames[n], n])


def test_the_host_never_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a tensor reaches Python: on a GPU each of these would wait for it."""
    batch = draw(18, 3, 2, 4, 1)
    scores, given = tensor(batch.scores, "float32"), arguments(batch)
    grad = torch.empty_like(scores)
    if HAS_GPU:
        backend.total(scores, *given, from_logits=True, grad=grad)  # compiles
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            backend.total(scores, *given, from_logits=True, grad=grad)
        finally:
            torch.cuda.set_sync_debug_mode(before)
        return

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor's value was asked for")

    class Guard:
        """Inside a launch the interpreter itself reads the tensors; outside of it nobody may."""

        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Any:
            def launch(*args: Any, **kwargs: Any) -> Any:
                with monkeypatch.context() as inside:
                    for name, value in kept.items():
                        inside.setattr(torch.Tensor, name, value)
                    return self.kernel[grid](*args, **kwargs)

            return launch

    names = ("item", "cpu", "tolist", "numpy", "nonzero", "__bool__", "__int__", "__float__", "__index__")
    kept = {name: getattr(torch.Tensor, name) for name in names}
    for name in [name for name in vars(backend) if name.endswith("_kernel")]:
        monkeypatch.setattr(backend, name, Guard(getattr(backend, name)))
    for name in names:
        monkeypatch.setattr(torch.Tensor, name, refuse)
    with pytest.raises(AssertionError, match="asked for"):
        bool(grad.sum() > 0)
    backend.total(scores, *given, from_logits=True, grad=grad)
    backend.posteriors(scores, *given)


@cache
def occupancies() -> tuple[Batch, Any]:
    batch = draw(19, 6, 2, 5, 3)
    return batch, reference.posteriors(problem_of(batch, "float64", from_logits=False))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_posteriors(dtype: str) -> None:
    batch, _ = occupancies()
    batch = batch.with_scores(decode(encode(batch.scores, dtype)))
    truth = reference.posteriors(problem_of(batch, "float64", from_logits=False))
    found = backend.posteriors(tensor(batch.scores, dtype), *arguments(batch))
    assert str(found.states.dtype) == ("torch.float64" if dtype == "float64" else "torch.float32")
    assert found.states.shape == truth.states.shape
    for n, used in enumerate(batch.frames):
        budget = KernelBudget(batch.scores[:used, n], dtype, 2.0**-53)
        assert np.abs(found.states[:, n].double().cpu().numpy() - truth.states[:, n]).max() <= budget.occupancy
        error = np.abs(found.classes[:, n].double().cpu().numpy() - truth.classes[:, n])
        assert (error <= budget.gradient(truth.classes[:, n])).all()
        expected = Textbook(float(truth.score[n]), np.zeros((used, 5)))
        assert_matches(budget, expected, float(found.score[n]), np.zeros((used, 5)), n)


def test_posteriors_of_logits() -> None:
    """Occupancies do not depend on what all classes of a frame have in common; the score does."""
    batch, _ = occupancies()
    scores = tensor(batch.scores, "float32")
    found = backend.posteriors(scores, *arguments(batch), from_logits=True)
    same = backend.posteriors(scores, *arguments(batch))
    assert torch.equal(found.states, same.states)
    assert torch.equal(found.classes, same.classes)
    assert torch.equal(found.score, backend.total(scores, *arguments(batch), from_logits=True))


def test_nothing_of_the_callers_is_changed() -> None:
    batch = draw(20, 2, 1, 4, 1)
    scores, given = tensor(batch.scores, "float32"), arguments(batch)
    before = [x.clone() for x in (scores, *given[:3])]
    backend.total(scores, *given, from_logits=True, grad=torch.empty_like(scores))
    assert all(torch.equal(a, b) for a, b in zip(before, (scores, *given[:3]), strict=True))


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ctckit.kernels import triton as backend

REAL, SCORE = {real!r}, {score!r}
POINTERS = dict(
    p_scores=SCORE, p_grad=SCORE, p_targets="i64", p_begins="i64", p_input_lengths="i32", p_target_lengths="i64",
    p_tokens="i32", p_arcs="u8", p_frames="i64", p_lengths="i64", p_status="i32", p_wide="i8", p_offset="fp64",
    p_e="i32", p_edge_e="i32", p_total="i32", p_score="fp64", p_sorted="i32", p_order="i64", p_run="i64", p_first="i64",
)
SWEEP = dict(EVEN_SKIPS=False, BLOCK=64)
GRADIENT = dict(ROWS=8, BLOCK=32, LABELS=32)
for name, fixed in (
    ("_lattice_kernel", dict(FLAT=True, BLOCK=64)),
    ("_rows_kernel", dict(LOGITS=True, ROWS=8, BLOCK=32, LABELS=32, REAL=getattr(triton.language, REAL))),
    ("_sweep_kernel", dict(TILED=False, SECOND=False, KEEP=True, **SWEEP)),
    ("_sweep_kernel", dict(TILED=False, SECOND=True, KEEP=False, **SWEEP)),
    ("_sweep_kernel", dict(TILED=True, SECOND=True, KEEP=False, **SWEEP)),
    ("_total_kernel", SWEEP),
    ("_gradient_kernel", dict(SOFTMAX=True, STATES=False, **GRADIENT)),
    ("_gradient_kernel", dict(SOFTMAX=False, STATES=True, **GRADIENT)),
):
    kernel = getattr(backend, name)
    real = REAL.replace("float", "fp")
    types = {{x: "*" + POINTERS.get(x, real) if x.startswith("p_") else "i32" for x in kernel.arg_names}}
    types.update(dict.fromkeys(fixed, "constexpr"))
    triton.compile(ASTSource(kernel, types, constexprs=fixed), target=GPUTarget({target}), options=dict(num_warps=2))
print("all compiled")
"""


@pytest.mark.parametrize(
    ("score", "real", "target"),
    [("bf16", "float32", "'cuda', 90, 32"), ("fp64", "float64", "'hip', 'gfx942', 64")],
    ids=["sm_90", "gfx942"],
)
def test_kernels_compile_without_a_gpu(tmp_path: Path, score: str, real: str, target: str) -> None:
    """What the interpreter takes, the compiler may not: layouts, types, annotations."""
    setting = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    setting |= {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    code = COMPILED.format(score=score, real=real, target=target)
    (tmp_path / "compiled.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "compiled.py"], env=setting, capture_output=True, text=True)
    assert done.stdout.strip() == "all compiled", done.stderr[-3000:]


@gpu_only
def test_captured_in_a_graph() -> None:
    batch = draw(21, 40, 4, 8, 10)
    scores, given = tensor(batch.scores, "float32"), arguments(batch)
    grad = torch.empty_like(scores)
    expected = backend.total(scores, *given, from_logits=True, grad=grad).clone()
    expected_grad = grad.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        score = backend.total(scores, *given, from_logits=True, grad=grad)
    grad.fill_(float("nan"))
    graph.replay()
    assert torch.equal(score, expected)
    assert torch.equal(grad, expected_grad)


@gpu_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(300, 4, 32, 60), (200, 2, 5000, 30), (700, 2, 20, 300), (60, 2, 9, 30)], ids=str)
def test_larger_shapes(shape: tuple[int, ...], dtype: str) -> None:
    check(draw(sum(shape), *shape), dtype, from_logits=True)


@gpu_only
def test_more_states_than_registers_hold() -> None:
    check(draw(22, 5000, 1, 30, 2100, ragged=False), "float32", from_logits=True)
