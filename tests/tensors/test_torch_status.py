"""`ctckit.torch.last_status` and `ctckit.torch.posteriors` on every backend."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import draw
from support.devices import needs_triton, placed, pretend, take_for_gpus
from support.lattices import CLASSES, KINDS
from torch import Tensor

import ctckit
import ctckit.torch
from ctckit import CTCError, Status, ctc_lattice
from ctckit.kernels import native
from ctckit.torch import last_status

# The interpreter computes with NumPy, which warns of NaN and infinity where a GPU does not.
# On a GPU torch warns once that its synchronisation debug mode does not detect everything.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:Synchronization debug mode")
BACKENDS = [
    "native",
    "portable",
    pytest.param("triton", marks=needs_triton),
]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where there is no GPU, tensors of the CPU count as those of a device with that backend."""
    pretend(monkeypatch, request.param)
    return request.param


def names(status: Tensor) -> list[str]:
    assert status.dtype == torch.uint8
    return [Status(value).name for value in status.tolist()]


SCORES = torch.zeros(3, 4, 3)
SCORES[:, 2, 1], SCORES[1, 3, 2] = -torch.inf, torch.nan
TARGETS, FRAMES, LENGTHS = torch.tensor([[1, 2], [1, 1], [1, 2], [1, 2]]), torch.tensor([3, 2, 3, 3]), [2, 2, 2, 2]
LATTICES = [ctc_lattice(target) for target in TARGETS.tolist()]
STATUS = ["OK", "INFEASIBLE", "IMPOSSIBLE", "NOT_FINITE"]


def calls(backend: str) -> list[Callable[[Tensor], Any]]:
    """A loss of each front, and posteriors, which leave a status behind."""
    given = [placed(TARGETS, backend), placed(FRAMES, backend), placed(torch.tensor(LENGTHS), backend)]
    return [
        lambda scores: ctckit.torch.ctc_loss(scores, *given),
        lambda scores: ctckit.torch.ctc_loss(scores, *given, from_logits=True, zero_infinity=True),
        lambda scores: ctckit.torch.lattice_loss(scores, LATTICES, given[1]),
        lambda scores: ctckit.torch.posteriors(scores, *given),
        lambda scores: ctckit.torch.posteriors(scores, None, given[1], lattices=LATTICES),
    ]


@pytest.mark.parametrize("with_gradient", [False, True])
def test_each_status(with_gradient: bool, backend: str) -> None:
    for call in calls(backend):
        ctckit.torch.ctc_loss(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.long), [1], [1])
        scores = placed(SCORES, backend).clone().requires_grad_(with_gradient)
        call(scores)
        assert names(last_status()) == STATUS


@pytest.mark.parametrize("lattices", [False, True])
def test_status_after_backward_and_second_derivatives(lattices: bool, backend: str) -> None:
    """A gradient with a graph of its own, too, leaves the status of its sample."""
    scores = placed(SCORES, backend).double().requires_grad_()
    loss = calls(backend)[2 * lattices](scores)
    torch.autograd.grad(loss, scores, create_graph=True)
    assert names(last_status()) == STATUS


@needs_triton
def test_what_is_wrong_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN on a GPU says which it is."""
    take_for_gpus(monkeypatch)
    targets = TARGETS.clone()
    targets[0, 1] = 3
    given = [placed(values, "triton") for values in (targets, FRAMES, torch.tensor(LENGTHS))]
    loss = ctckit.torch.ctc_loss(placed(SCORES, "triton"), *given, reduction="none")
    assert loss.isnan().tolist() == [True, False, False, True]
    assert names(last_status()) == ["INVALID", *STATUS[1:]]


@needs_triton
def test_reading_on_a_gpu_waits_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, unread: Callable[[Callable[[], Any]], None]
) -> None:
    take_for_gpus(monkeypatch)
    scores, (loss, *_) = placed(SCORES, "triton"), calls("triton")
    kept = []
    unread(lambda: kept.append((loss(scores), last_status())))
    assert names(kept[-1][1]) == STATUS


def test_each_thread_has_its_own() -> None:
    ctckit.torch.ctc_loss(SCORES, TARGETS, FRAMES, LENGTHS)
    found: list[Any] = []

    def other() -> None:
        try:
            last_status()
        except CTCError as error:
            found.append(str(error))
        ctckit.torch.ctc_loss(torch.zeros(1, 1, 2), torch.tensor([[1]]), [1], [1])
        found.append(names(last_status()))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert found[0].startswith("this thread has computed no loss yet: expected a call of ctckit.torch.ctc_loss")
    assert found[1:] == [["OK"]]
    assert names(last_status()) == STATUS


@pytest.mark.slow
@pytest.mark.parametrize("from_logits", [False, True], ids=["as scores", "as logits"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("by", ["targets", "lattices"])
def test_posteriors_are_numpys(by: str, dtype: torch.dtype, from_logits: bool, backend: str) -> None:
    batch = draw(4, 6, 3, CLASSES, 2)
    lattices = [KINDS["selfless"](), KINDS["no blank"](), KINDS["star with entry cost"]()]
    scores = torch.from_numpy(batch.scores).log_softmax(-1).to(dtype)
    arrays = scores.double().numpy()
    frames = placed(torch.from_numpy(batch.frames), backend)
    if by == "targets":
        expected = ctckit.posteriors(arrays, *batch.arguments, from_logits=from_logits)
        given = (
            placed(torch.from_numpy(batch.targets), backend),
            frames,
            placed(torch.from_numpy(batch.lengths), backend),
        )
        options: dict[str, Any] = {"from_logits": from_logits}
    else:
        expected = ctckit.posteriors(arrays, None, batch.frames, lattices=lattices, from_logits=from_logits)
        given, options = (None, frames), {"from_logits": from_logits, "lattices": lattices}
    found = ctckit.torch.posteriors(placed(scores, backend), *given, **options)
    real = torch.float64 if dtype == torch.float64 else torch.float32
    assert (found.states.dtype, found.classes.dtype, found.score.dtype) == (real, dtype, torch.float64)
    close = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 2e-6, "atol": 2e-6}
    np.testing.assert_allclose(found.score.cpu(), expected.score, **close)
    np.testing.assert_allclose(found.states.cpu().double(), expected.states, **close)
    unit = max(torch.finfo(dtype).eps, close["atol"])  # Triton's interpreter truncates bfloat16
    np.testing.assert_allclose(found.classes.cpu().double(), expected.classes, rtol=unit, atol=close["atol"])
    assert found.status.tolist() == expected.status.tolist()
    turned = ctckit.torch.posteriors(placed(scores.transpose(0, 1), backend), *given, **options, batch_first=True)
    assert torch.equal(turned.states.transpose(0, 1), found.states)
    assert torch.equal(turned.classes.transpose(0, 1), found.classes)
    assert not found.states.requires_grad


def test_posteriors_of_one_sample(backend: str) -> None:
    scores = torch.from_numpy(draw(5, 6, 2, CLASSES, 2).scores).requires_grad_()
    target = torch.tensor([1, 2])
    batch = ctckit.torch.posteriors(placed(scores, backend), placed(target.repeat(2, 1), backend), [6, 6], [2, 2])
    for batch_first in (False, True):
        for given in (
            {"targets": placed(target, backend), "input_lengths": 6, "target_lengths": 2},
            {"lattices": ctc_lattice([1, 2])},
        ):
            alone = ctckit.torch.posteriors(placed(scores[:, 1], backend), **given, batch_first=batch_first)
            assert alone.states.shape == (6, 5)
            assert alone.score.shape == alone.status.shape == ()
            torch.testing.assert_close(alone.states, batch.states[:, 1], rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(alone.classes, batch.classes[:, 1], rtol=1e-12, atol=1e-14)
            torch.testing.assert_close(alone.score, batch.score[1], rtol=1e-12, atol=0)


def test_posteriors_use_torchs_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    whole = native.posteriors

    def spy(*args: Any, threads: int | None = None) -> Any:
        seen.append(threads)
        return whole(*args, threads=threads)

    monkeypatch.setattr(native, "posteriors", spy)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        ctckit.torch.posteriors(SCORES, TARGETS, FRAMES, LENGTHS)
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_posteriors_of_targets_or_lattices() -> None:
    for name, values in {"targets": TARGETS, "target_lengths": LENGTHS}.items():
        with pytest.raises(CTCError, match=f"{name} and lattices are both given: expected one of them"):
            ctckit.torch.posteriors(SCORES, lattices=LATTICES, **{name: values})
    with pytest.raises(CTCError, match="targets is missing: expected the classes of the tokens, or lattices"):
        ctckit.torch.posteriors(SCORES)
    with pytest.raises(CTCError, match="target_lengths is missing"):
        ctckit.torch.posteriors(SCORES, TARGETS.flatten())


@pytest.mark.parametrize("batch_first", [False, True])
def test_posteriors_of_all_frames_and_tokens(backend: str, batch_first: bool) -> None:
    batch = draw(5, 9, 3, CLASSES, 3, ragged=False)
    scores = torch.from_numpy(batch.scores)
    expected = ctckit.posteriors(batch.scores, batch.targets, [9] * 3, [3] * 3, from_logits=True)
    given = (
        placed(scores.transpose(0, 1) if batch_first else scores, backend),
        placed(torch.from_numpy(batch.targets), backend),
    )
    found = ctckit.torch.posteriors(*given, batch_first=batch_first, from_logits=True)
    states = found.states.transpose(0, 1) if batch_first else found.states
    np.testing.assert_allclose(states.cpu(), expected.states, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("by_lattice", [False, True])
def test_posteriors_with_added_scores(backend: str, by_lattice: bool) -> None:
    """As of log-probabilities in which each state's label has a class of its own, with all that is added."""
    rng = np.random.default_rng(0)
    batch = draw(5, 9, 3, CLASSES, 3)
    by_class, by_state = rng.normal(size=CLASSES), rng.normal(size=(3, 7))
    log_probs = torch.from_numpy(batch.scores).log_softmax(-1).numpy()
    labels = np.zeros((3, 7), int)
    for n, (target, length) in enumerate(zip(batch.targets, batch.lengths, strict=True)):
        labels[n, 1 : 2 * length : 2] = target[:length]
    emitted = (log_probs + by_class)[:, np.arange(3)[:, None], labels] + by_state
    plain = [ctckit.ctc_lattice(target[:length]) for target, length in zip(batch.targets, batch.lengths, strict=True)]
    own = [ctckit.Lattice(np.arange(len(each.labels)), each.arcs, each.tokens) for each in plain]
    expected = ctckit.posteriors(emitted, lattices=own, input_lengths=batch.frames)
    given = {"lattices": plain} if by_lattice else {"targets": placed(torch.from_numpy(batch.targets), backend)}
    if not by_lattice:
        given["target_lengths"] = torch.from_numpy(batch.lengths)
    added = {
        "class_scores": placed(torch.from_numpy(by_class), backend),
        "state_scores": placed(torch.from_numpy(by_state), backend),
    }
    scores, frames = placed(torch.from_numpy(log_probs), backend), torch.from_numpy(batch.frames)
    found = ctckit.torch.posteriors(scores, input_lengths=frames, **given, **added)
    np.testing.assert_allclose(found.states.cpu(), expected.states, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.score.cpu(), expected.score, rtol=1e-12)
    with pytest.raises(CTCError, match=r"state_scores has shape \(3, 6\)"):
        ctckit.torch.posteriors(scores, input_lengths=frames, **given, state_scores=added["state_scores"][:, :6])
