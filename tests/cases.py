"""The batches that tests run on, the dtypes they come in, and the error that each dtype may make."""

from __future__ import annotations

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from unittest import mock

import numpy as np
import numpy.typing as npt
from oracles import ORACLE_EPS, Textbook, textbook_gradient

from ctckit.kernels import native, reference
from ctckit.problem import Problem, ctc_problem
from ctckit.results import BestPaths, Posteriors

Array = npt.NDArray[Any]
Item = TypeVar("Item")

HAS_TORCH = importlib.util.find_spec("torch") is not None
HAS_TRITON = HAS_TORCH and importlib.util.find_spec("triton") is not None

DTYPES = ("float64", "float32", "float16", "bfloat16")
FRAMEWORK_FREE = DTYPES[:3]  # what NumPy itself has


@dataclass(frozen=True)
class Batch:
    """A batch as a caller has it, scores in float64."""

    scores: Array  # (T, N, C)
    targets: Array  # (N, S)
    frames: Array  # (N,)
    lengths: Array  # (N,)
    blank: int = 0

    @property
    def arguments(self) -> tuple[Array, Array, Array, int]:
        return self.targets, self.frames, self.lengths, self.blank

    def sample(self, n: int) -> tuple[Array, list[int]]:
        """Sample n's used frames and tokens."""
        return self.scores[: self.frames[n], n], self.targets[n, : self.lengths[n]].tolist()

    def alone(self, n: int) -> Batch:
        """Sample n in a batch of its own, without the padding that the others needed."""
        scores, target = self.sample(n)
        return Batch(
            scores[:, None], np.array([target], int), self.frames[n : n + 1], self.lengths[n : n + 1], self.blank
        )

    def with_scores(self, scores: Array) -> Batch:
        return replace(self, scores=scores)


def draw_targets(rng: np.random.Generator, shape: tuple[int, ...], classes: int, blank: int) -> Array:
    """Tokens without the blank; a fifth of them repeat their left neighbour."""
    tokens = rng.integers(0, classes - 1, shape)
    tokens += tokens >= blank
    for s in range(1, shape[-1]):
        again = rng.random(shape[:-1]) < 0.2
        tokens[..., s] = np.where(again, tokens[..., s - 1], tokens[..., s])
    return tokens


def draw(
    seed: int,
    frames: int,
    size: int,
    classes: int,
    longest: int,
    *,
    blank: int = 0,
    spread: float = 2.0,
    ragged: bool = True,
) -> Batch:
    """A random batch: logits of that standard deviation; sample 0 is the longest in frames and tokens."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(frames, size, classes)) * spread
    targets = draw_targets(rng, (size, longest), classes, blank)
    used, lengths = np.full(size, frames), np.full(size, longest)
    if ragged and size > 1:
        used[1:] = rng.integers(frames // 2, frames + 1, size - 1)
        lengths[1:] = rng.integers(0, longest + 1, size - 1)
    return Batch(scores, targets, used, lengths, blank)


def to_bfloat16(x: Array) -> Array:
    """The bits of bfloat16, rounded to nearest, ties to even."""
    bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
    return np.where(np.isnan(x), 0x7FC0, (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(scores: Array, dtype: str) -> Array:
    """Scores in a dtype; bfloat16, which NumPy lacks, as the integers of its bits."""
    return to_bfloat16(scores) if dtype == "bfloat16" else scores.astype(dtype)


def decode(scores: Array) -> Array:
    """What was encoded, in float64: the numbers that an oracle must be given."""
    return (from_bfloat16(scores) if scores.dtype == np.uint16 else scores).astype(np.float64)


def problem_of(batch: Batch, dtype: str, *, from_logits: bool) -> Problem:
    targets, frames, lengths, blank = batch.arguments
    scores = encode(batch.scores, dtype)
    return ctc_problem(scores, targets, frames, lengths, blank, from_logits=from_logits, bfloat16=dtype == "bfloat16")


def has_gpu() -> bool:
    """Whether Triton's kernels are compiled; where not, its interpreter runs them."""
    if not HAS_TRITON:
        return False
    import torch

    return torch.cuda.is_available()


class AnyTopology(Problem):
    """A problem whose lattices are not CTC's: whoever lays them out anew must take these instead."""


@dataclass(frozen=True)
class Backend:
    """One implementation of the sweeps: reference, torch's operations, Triton's, the kernels of an instruction set."""

    name: str

    @property
    def is_triton(self) -> bool:
        return self.name == "triton"

    def some(self, cases: Sequence[Item], few: Sequence[Item]) -> Sequence[Item]:
        """All cases, but the few where they would take minutes: in Triton's interpreter, at 5 ms a frame."""
        return few if self.is_triton and not has_gpu() else cases

    @property
    def exact(self) -> bool:
        """Whether it computes in float64 whatever it is given."""
        return self.name in ("reference", "portable")

    def total(self, problem: Problem, *, weights: Array | None = None, grad: Array | None = None) -> Array:
        return self._module().total(problem, weights=weights, grad=grad)

    def posteriors(self, problem: Problem) -> Any:
        return self._module().posteriors(problem)

    def best_path(self, problem: Problem) -> BestPaths:
        return self._module().best_path(problem)

    def budget(self, scores: Array, dtype: str, oracle: float, repeating: bool = False) -> Budget:
        """What this backend's results may be off, on scores of a dtype."""
        if self.is_triton:
            return TritonBudget(scores, dtype, oracle, repeating)
        return Budget(scores, "float64" if self.exact else dtype, oracle, repeating)

    def score_and_gradient(self, problem: Problem, weights: Array | None = None) -> tuple[Array, Array]:
        """Log-scores and gradient in float64, the latter written over NaN: whatever is forgotten shows."""
        if self.exact:
            grad = np.full(problem.scores.shape, np.nan)
        elif problem.scores.dtype == np.uint16:
            grad = np.full(problem.scores.shape, 0x7FC1, np.uint16)
        else:
            grad = np.full(problem.scores.shape, np.nan, problem.scores.dtype)
        score = self.total(problem, weights=weights, grad=grad)
        return score, decode(grad)

    def _module(self) -> Any:
        if self.name == "reference":
            return reference
        if self.name == "portable":
            return Portable
        if self.is_triton:
            return Triton
        native.use_instruction_set(self.name)
        return native


class Portable:
    """The portable backend on arrays, in float64, which shows its rules; its gradient is torch's to find."""

    @staticmethod
    def total(problem: Problem, *, weights: Array | None = None, grad: Array | None = None) -> Array:
        import torch

        from ctckit.kernels import portable

        scores = torch.tensor(decode(problem.scores), requires_grad=True)
        lattices = portable.layout(problem, scores.device)
        score = portable.total(scores, lattices, from_logits=problem.from_logits)
        if grad is not None:
            factor = torch.ones(len(score)) if weights is None else torch.from_numpy(weights)
            grad[...] = torch.autograd.grad((-score * factor).sum(), scores)[0].numpy()
        return score.detach().numpy()

    @staticmethod
    def posteriors(problem: Problem) -> Posteriors:
        import torch

        from ctckit.kernels import portable

        scores = torch.tensor(decode(problem.scores))
        states, score = portable.posteriors(scores, portable.layout(problem, scores.device))
        classes = np.zeros(scores.shape)
        for n, k in np.ndindex(problem.prepared.labels.shape):
            if k < problem.prepared.num_states[n]:
                classes[:, n, problem.prepared.labels[n, k]] += states[:, n, k].numpy()
        return Posteriors(states.numpy(), classes, score.numpy())


class Triton:
    """The GPU backend on arrays: on a GPU where there is one, else in the interpreter. Its memory is NaN before use."""

    @staticmethod
    def total(problem: Problem, *, weights: Array | None = None, grad: Array | None = None) -> Array:
        import torch

        from ctckit.kernels import triton

        given = None if weights is None else torch.from_numpy(weights).to(Triton.device())
        memory = None if grad is None else Triton.tensor(grad)
        with Triton.running(problem):
            score = triton.total(
                *Triton.arguments(problem), from_logits=problem.from_logits, weights=given, grad=memory
            )
        if grad is not None and has_gpu():
            Triton.tensor(grad, "cpu").copy_(memory)
        return score.cpu().numpy()

    @staticmethod
    def posteriors(problem: Problem) -> Posteriors:
        import torch

        from ctckit.kernels import triton

        with Triton.running(problem):
            found = triton.posteriors(*Triton.arguments(problem), from_logits=problem.from_logits)
        classes = found.classes.cpu()
        if classes.dtype == torch.bfloat16:
            return Posteriors(
                found.states.cpu().numpy(), classes.view(torch.int16).numpy().view(np.uint16), found.score.cpu().numpy()
            )
        return Posteriors(found.states.cpu().numpy(), classes.numpy(), found.score.cpu().numpy())

    @staticmethod
    def best_path(problem: Problem) -> BestPaths:
        from ctckit.kernels import triton

        with Triton.running(problem):
            found = triton.best_path(*Triton.arguments(problem), from_logits=problem.from_logits)
        return BestPaths(found.states.cpu().numpy(), found.score.cpu().numpy())

    @staticmethod
    def device() -> str:
        return "cuda" if has_gpu() else "cpu"

    @staticmethod
    def tensor(scores: Array, device: str | None = None) -> Any:
        """An array as a tensor; on the CPU it is the array's own memory."""
        import torch

        if scores.dtype == np.uint16:
            tensor = torch.from_numpy(scores.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(scores)
        return tensor.to(device or Triton.device())

    @staticmethod
    def arguments(problem: Problem) -> tuple[Any, ...]:
        """What the kernels are called with: of the checked lattices, only their tokens."""
        prepared = problem.prepared
        targets = np.ascontiguousarray(prepared.labels[:, 1::2], np.int64)
        integers = (Triton.tensor(np.array(x, np.int64)) for x in (targets, prepared.frames, prepared.num_tokens))
        return Triton.tensor(problem.scores), *integers, int(prepared.labels[0, 0])

    @staticmethod
    @contextlib.contextmanager
    def running(problem: Problem) -> Iterator[None]:
        import torch

        from ctckit.kernels import triton

        with contextlib.ExitStack() as stack:
            if isinstance(problem, AnyTopology):
                given = Triton._lattices(problem)
                stack.enter_context(mock.patch.multiple(triton, EVEN_SKIPS=True, _lay_out=lambda *_: given))
            # NumPy, which the interpreter computes with, warns of NaN and infinity where a GPU does not.
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore", RuntimeWarning)
            before = torch.are_deterministic_algorithms_enabled()
            torch.use_deterministic_algorithms(True)  # which fills uninitialised memory
            stack.callback(torch.use_deterministic_algorithms, before)
            yield

    @staticmethod
    def _lattices(problem: Problem) -> Any:
        """Lattices as they are given, in pairs of states; all even states of a sample must emit the blank."""
        from ctckit.kernels import triton

        prepared = problem.prepared
        size, states = prepared.labels.shape
        arcs = np.zeros((size, 2 * (states // 2 + 1)), np.uint8)
        arcs[:, :states] = prepared.arcs
        arcs = arcs.reshape(size, -1, 2).transpose(0, 2, 1)
        hopeful = np.array([reference.count_paths(problem.lattice(n), prepared.frames[n]) > 0 for n in range(size)])
        parts = (
            prepared.labels[:, 1::2].astype(np.int32),
            arcs,
            np.where(hopeful, prepared.frames, 0).astype(np.int64),
            prepared.num_tokens.astype(np.int64),
            np.where(hopeful, 0, triton.INFEASIBLE.value).astype(np.int32),
        )
        return triton.Lattices(*(Triton.tensor(np.ascontiguousarray(part)) for part in parts))


NATIVE = tuple(Backend(name) for name in native.instruction_sets())
TRITON = (Backend("triton"),) if HAS_TRITON else ()
EXACT = tuple(Backend(name) for name in ("reference", "portable")[: 2 if HAS_TORCH else 1])
BACKENDS = (*EXACT, *NATIVE, *TRITON)
KERNELS = (*NATIVE, *TRITON)
PATHFINDERS = (Backend("reference"), *KERNELS)  # those with a best_path
# Those that turn whatever they are given into float64 are told whole by one dtype; so are half precision's rules by
# float32, which the interpreter is spared.
IMPLEMENTATIONS = (
    *((backend, "float64") for backend in EXACT),
    *((kernels, dtype) for kernels in NATIVE for dtype in DTYPES),
    *((kernels, dtype) for kernels in TRITON for dtype in kernels.some(DTYPES, ["float32"])),
)


def truth_of(batch: Batch, dtype: str, *, from_logits: bool) -> list[Textbook]:
    """Each sample's score and gradient by the textbook, for the numbers that the dtype really holds."""
    held = batch.with_scores(decode(encode(batch.scores, dtype)))
    samples = (held.sample(n) for n in range(len(batch.frames)))
    return [textbook_gradient(scores, target, batch.blank, from_logits=from_logits) for scores, target in samples]


# What arithmetic of a dtype must cost, as bounds on |error|, in half-units of the last place of the kernels' floats.
#
# A path's weight is a product of one emission a frame. Each costs the rounding of its argument (a difference of two
# scores, so relative to their spread D; beyond 80 the kernels take it in float64, exactly) and four more: the
# exponential, two additions, the product. Roundings are independent, so T of them grow as sqrt(T). (Where frames repeat
# each other, so do their roundings, and grow as T.)
#
# - The score collects (4 + D) a frame, and a softmax sum over C classes, added in 8 lanes, half of sqrt(C / 8) more. It
#   is held in float64: there the sum of all frames' offsets costs a unit of the last place of its own size.
# - An occupancy, at most 1, is a ratio: paths share all but what lies around a frame, each frame is divided by its own
#   sum, and so roundings from far away cancel. Half of the above, from no more than 64 frames, bounds the rest. (Peers
#   that add up float32 logarithms err by the rounding of the whole score instead: a thousand times more at T = 1500.)
#
# An oracle that works on logarithms errs by its own unit times the largest logarithm that it can have met.

_UNIT = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-24, "bfloat16": 2.0**-24}  # the kernels' arithmetic
_ROUND = {"float64": 0.0, "float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}  # the gradient's, on the way out
_STEP = {"float64": 0.0, "float32": 0.0, "float16": 2.0**-25, "bfloat16": 0.0}  # half of the smallest step


@dataclass(frozen=True)
class Budget:
    """The error that one sample's results may have: its used scores (T, C), in a dtype, by an oracle of that unit."""

    scores: Array
    dtype: str
    oracle: float = ORACLE_EPS

    repeating: bool = False  # all frames alike

    @property
    def occupancy(self) -> float:
        arithmetic = self._frames(64) * (2 + self._ranges.mean() / 2) * _UNIT[self.dtype]
        return float(arithmetic + self._of_the_oracle)

    def gradient(self, truth: Array) -> Array:
        """For a gradient, or occupancies by class, whose true entries are given: they are rounded on the way out."""
        arithmetic = self.occupancy * max(1.0, float(np.abs(truth).max(initial=0)))
        return arithmetic + _ROUND[self.dtype] * (np.abs(truth) + arithmetic) + _STEP[self.dtype]

    def score(self, truth: float) -> float:
        softmax = np.sqrt(self.scores.shape[-1] / 8) / 2
        arithmetic = self._frames() * (4 + self._ranges.max() + softmax) * _UNIT[self.dtype]
        return float(arithmetic + (abs(truth) + self._magnitude) * 2.0**-52 + self._of_the_oracle)

    def _frames(self, most: float = np.inf) -> float:
        count = len(self.scores)
        return count if self.repeating else float(np.sqrt(min(count, most)))

    @property
    def _of_the_oracle(self) -> float:
        return self._frames() * self._magnitude * self.oracle

    @property
    def _magnitude(self) -> float:
        """A bound on any path's log-score, normalised or not."""
        finite = np.where(np.isfinite(self.scores), self.scores, 0)
        largest = np.maximum(np.abs(finite).max(axis=-1), finite.max(axis=-1) - finite.min(axis=-1))
        return float((largest + np.log(self.scores.shape[-1])).sum()) + 1

    @property
    def _ranges(self) -> Array:
        """D of each frame."""
        if not len(self.scores):
            return np.zeros(1)
        finite = np.isfinite(self.scores)
        highest = np.where(finite, self.scores, -np.inf).max(axis=-1)
        lowest = np.where(finite, self.scores, np.inf).min(axis=-1)
        return np.clip(highest - lowest, 0, 80)


class TritonBudget(Budget):
    """The same, from the roundings of four frames at least: fewer do not average out."""

    def _frames(self, most: float = np.inf) -> float:
        return max(super()._frames(most), 2.0)

    def gradient(self, truth: Array) -> Array:
        """As ever, and what the interpreter cuts off of a bfloat16 that a GPU rounds to nearest."""
        cut = 2.0**-8 if self.dtype == "bfloat16" and not has_gpu() else 0.0
        return super().gradient(truth) + cut * np.abs(truth)


def assert_matches(budget: Budget, truth: Textbook, score: float, gradient: Array, where: Any = "") -> None:
    """A sample's score and gradient (used frames only) are the truth's, within the budget."""
    if truth.score == -np.inf:
        assert score == -np.inf, where
        assert not gradient.any(), where
        return
    error, allowed = abs(score - truth.score), budget.score(truth.score)
    assert error <= allowed, (where, error, allowed)
    errors, bounds = np.abs(gradient - truth.classes), budget.gradient(truth.classes)
    assert (errors <= bounds).all(), (where, float(errors.max()), float(bounds.max()))


def check_batch(
    backend: Backend,
    batch: Batch,
    dtype: str,
    truth: Sequence[Textbook],
    *,
    from_logits: bool,
    weights: Array | None = None,
    oracle: float = ORACLE_EPS,
    repeating: bool = False,
    where: Any = "",
) -> None:
    """A whole batch against its truth; frames beyond a sample's own have gradient 0."""
    problem = problem_of(batch, dtype, from_logits=from_logits)
    score, gradient = backend.score_and_gradient(problem, weights)
    held = decode(problem.scores)
    for n, used in enumerate(batch.frames):
        budget = backend.budget(held[:used, n], dtype, oracle, repeating)
        expected = truth[n]._replace(classes=truth[n].classes * (1 if weights is None else weights[n]))
        assert_matches(budget, expected, score[n], gradient[:used, n], (where, n))
        assert not gradient[used:, n].any(), (where, n)
