"""`ctckit.torch.forced_align` and `merge_tokens`: torchaudio's signatures and results, on any batch."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import draw
from support.devices import placed, take_for_gpus
from support.lattices import CLASSES, KINDS

import ctckit
import ctckit.torch
from ctckit import STAR, CTCError, InfeasibleError, Status, ctc_lattice
from ctckit.kernels import native
from ctckit.torch import forced_align, merge_tokens
from ctckit.torch.adapters import viterbi_decoding
from ctckit.torch.align import TokenSpan

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(params=["native", "triton"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where paths are found."""
    if request.param == "triton":
        pytest.importorskip("triton", minversion="3.4", reason="the GPU backend needs triton")
    taken = take_for_gpus(monkeypatch)
    yield request.param
    assert set(taken) == {request.param}, "where the test has put its scores"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with NumPy, which warns of infinity
@pytest.mark.parametrize("integers", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_like_the_arrays(dtype: torch.dtype, integers: torch.dtype, backend: str) -> None:
    batch = draw(3, 40, 4, 7, 9, blank=6) if backend == "native" else draw(3, 9, 3, 7, 4, blank=6)
    batch.frames[1], batch.lengths[1] = batch.frames[0], batch.lengths[0]
    log_probs = torch.from_numpy(batch.scores).log_softmax(-1).to(dtype).transpose(0, 1)
    targets, frames, lengths = (torch.from_numpy(x).to(integers) for x in (batch.targets, batch.frames, batch.lengths))
    pair = forced_align(placed(log_probs, backend), targets, frames, lengths, blank=6)
    labels, scores = (tensor.cpu() for tensor in pair)
    assert labels.shape == scores.shape == log_probs.shape[:2]
    assert labels.dtype == integers
    assert scores.dtype == dtype
    arrays = log_probs.transpose(0, 1).float().numpy() if dtype.itemsize == 2 else log_probs.transpose(0, 1).numpy()
    for n, expected in enumerate(ctckit.forced_align(arrays, batch.targets, batch.frames, batch.lengths, 6)):
        used = batch.frames[n]
        assert labels[n, :used].tolist() == expected.labels.tolist()
        assert (labels[n, used:] == 6).all()
        assert not scores[n, used:].any()
        np.testing.assert_allclose(scores[n, :used].double(), expected.frame_scores, rtol=torch.finfo(dtype).eps)
        spans = merge_tokens(labels[n], scores[n].double(), blank=6)
        assert [tuple(vars(span).values())[:3] for span in spans] == [span[1:4] for span in expected.spans()]
        assert [len(span) for span in spans] == [span.end - span.start for span in expected.spans()]


def test_lengths_need_not_be_given_and_scores_may_need_a_gradient() -> None:
    log_probs = torch.randn(2, 12, 5, requires_grad=True).log_softmax(-1)
    targets = torch.tensor([[1, 2, 2], [4, 3, 1]])
    labels, scores = forced_align(log_probs, targets)
    assert not scores.requires_grad
    for n in range(2):
        assert [span.token for span in merge_tokens(labels[n], scores[n])] == targets[n].tolist()
    full = forced_align(log_probs, targets, torch.tensor([12, 12]), torch.tensor([3, 3]))
    assert torch.equal(full[0], labels)


def test_merge_tokens() -> None:
    tokens, scores = torch.tensor([3, 3, 0, 3, 1, 1]), torch.tensor([-1.0, -2, 0, -4, -1, -0.5])
    assert merge_tokens(tokens, scores) == [
        TokenSpan(3, 0, 2, -1.5),
        TokenSpan(3, 3, 4, -4.0),
        TokenSpan(1, 4, 6, -0.75),
    ]
    assert [span.token for span in merge_tokens(tokens, scores, blank=3)] == [0, 1]
    assert merge_tokens(tokens[:0], scores[:0]) == []


def test_messages(backend: str) -> None:
    log_probs, targets = placed(torch.zeros(1, 4, 3), backend), torch.tensor([[1, 1, 1]])
    with pytest.raises(InfeasibleError, match=r"T=4 frames: expected at least 5"):
        forced_align(log_probs, targets)
    with pytest.raises(CTCError, match=r"log_probs has shape \(4, 3\): expected \(N, T, C\), batch first"):
        forced_align(log_probs[0], targets)
    with pytest.raises(CTCError, match=r"targets has shape \(3,\)"):
        forced_align(log_probs, targets[0])
    with pytest.raises(CTCError, match=r"targets\[0, 1\] = 3 is not a class"):
        forced_align(log_probs, torch.tensor([[1, 3]]))
    with pytest.raises(CTCError, match=r"expected \(T,\), the same for both"):
        merge_tokens(torch.zeros(2, 3), torch.zeros(2, 3))


BATCH = draw(6, 9, 3, CLASSES, 3, ragged=False)
TARGETS = torch.from_numpy(BATCH.targets)
WITH_STAR = torch.tensor([[1, STAR, 2], [STAR, 3, 3], [2, 1, STAR]])
RANDOM = torch.Generator().manual_seed(0)
BY_CLASS = torch.randn(CLASSES, generator=RANDOM)
BY_STATE = torch.randn(3, 7, generator=RANDOM, dtype=torch.float64)
ADDED = {"class_scores": BY_CLASS, "state_scores": BY_STATE}
FORMS: dict[str, dict[str, Any]] = {
    "logits": {"targets": TARGETS, "from_logits": True},
    "added": {"targets": TARGETS, **ADDED},
    "added to logits": {"targets": TARGETS, "from_logits": True, **ADDED},
    "stars": {"targets": WITH_STAR, "from_logits": True},
    "dear stars": {"targets": WITH_STAR, "star_cost": 2.5, "input_lengths": [9, 7, 8]},
    "stars, added": {"targets": WITH_STAR, "from_logits": True, **ADDED},
    "optional": {"targets": TARGETS, "from_logits": True, "optional": torch.tensor([[0, 1, 2], [1, 1, 0], [0, 0, 3]])},
    "optional stars": {
        "targets": WITH_STAR,
        "optional": torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        "optional_star_cost": 1.5,
        "star_cost": 0.25,
    },
    "one lattice": {"lattices": KINDS["star with entry cost"](), "from_logits": True},
    "lattices": {"lattices": [KINDS["selfless"](), KINDS["no blank"](), KINDS["ctc"]()], "input_lengths": [9, 8, 7]},
    "stars in lattices": {"lattices": ctc_lattice([1, STAR]).with_costs([0, 0, 0, 2, 0]), "star_cost": 0.75},
    "long arcs": {"lattices": KINDS["scored long arcs"](), **ADDED},
}
LONG_ARCS = ("optional", "optional stars", "long arcs")


def on_arrays(form: dict[str, Any]) -> dict[str, Any]:
    return {name: x.numpy() if isinstance(x, torch.Tensor) else x for name, x in form.items()}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with NumPy, which warns of infinity
@pytest.mark.interpreter(dtype=[torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_option_is_that_of_the_arrays(dtype: torch.dtype, form: str, backend: str) -> None:
    """In half precision too the path and its score are computed in float32 at least."""
    log_probs = torch.from_numpy(BATCH.scores).transpose(0, 1).to(dtype)
    if backend == "triton" and form in LONG_ARCS:
        with pytest.raises(CTCError, match="the triton backend cannot take long arcs yet"):
            forced_align(placed(log_probs, backend), **FORMS[form])
        return
    arrays = log_probs.float().numpy() if dtype == torch.bfloat16 else log_probs.numpy()
    expected = ctckit.forced_align(arrays.swapaxes(0, 1), **on_arrays(FORMS[form]))
    found = forced_align(placed(log_probs, backend), **FORMS[form])
    labels, scores = (tensor.cpu() for tensor in found)
    assert labels.dtype == torch.int64
    assert scores.dtype == dtype
    assert found.status.tolist() == expected.status.tolist() == [Status.OK] * 3
    close = {"rtol": max(torch.finfo(dtype).eps, 1e-12), "atol": 1e-12 if dtype == torch.float64 else 2e-6}
    for n, alignment in enumerate(expected):
        used = len(alignment.states)
        assert found.states[n, :used].tolist() == alignment.states.tolist()
        assert labels[n, :used].tolist() == alignment.labels.tolist()
        np.testing.assert_allclose(scores[n, :used].double(), alignment.frame_scores, **close)
        assert (found.states[n, used:] == -1).all()
        assert not labels[n, used:].any()
        assert not scores[n, used:].any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("given", ["targets", "lattices"])
def test_samples_without_a_path_are_marked(given: str, backend: str) -> None:
    log_probs = torch.zeros(4, 3, 3).log_softmax(-1)
    log_probs[2, :, 1], log_probs[3, 1, 2] = -torch.inf, torch.nan
    log_probs = placed(log_probs, backend)
    targets, frames = torch.tensor([[1, 2], [1, 1], [1, 2], [1, 2]]), [3, 2, 3, 3]
    options: dict[str, Any] = {"targets": targets.int(), "input_lengths": frames}
    if given == "lattices":
        options = {"lattices": [ctc_lattice(y) for y in targets.tolist()], "input_lengths": frames}
    found = forced_align(log_probs, **options, on_infeasible="mark")
    assert found.status.tolist() == [Status.OK, Status.INFEASIBLE, Status.IMPOSSIBLE, Status.NOT_FINITE]
    labels, scores = found
    assert labels.dtype == (torch.int32 if given == "targets" else torch.int64)
    assert (found.states[1:] == -1).all()
    assert not labels[1:].any()
    assert not scores[1:].any()
    assert labels[0].any()
    with pytest.raises(InfeasibleError, match=r"sample 1 .*T=2 frames.*; 2 more have none"):
        forced_align(log_probs, **options)
    with pytest.raises(CTCError, match="on_infeasible = 'skip' is unknown"):
        forced_align(log_probs, **options, on_infeasible="skip")


def test_torchs_number_of_threads_reaches_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    whole = native.best_path

    def spy(*args: Any, threads: int | None = None, **options: Any) -> Any:
        seen.append(threads)
        return whole(*args, threads=threads, **options)

    monkeypatch.setattr(native, "best_path", spy)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            forced_align(torch.zeros(1, 4, 3), torch.tensor([[1, 2]]))
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 3]


def test_pairs_go_to_other_processes() -> None:
    pair = forced_align(torch.zeros(1, 4, 3), torch.tensor([[1, 2]]))
    for found in (pickle.loads(pickle.dumps(pair)), copy.deepcopy(pair)):
        for name in ("status", "states"):
            assert torch.equal(getattr(found, name), getattr(pair, name))
        assert all(map(torch.equal, found, pair))


def test_what_is_no_tensor_or_class() -> None:
    log_probs, lattice = torch.zeros(1, 4, 3), ctc_lattice([1])
    for arguments, message in (
        ({"log_probs": log_probs.numpy(), "targets": torch.tensor([[1]])}, "log_probs is a ndarray: expected a torch"),
        ({"log_probs": log_probs, "targets": [[1]]}, "targets is a list: expected a torch.Tensor"),
        ({"log_probs": log_probs, "lattices": lattice, "class_scores": [0.0] * 3}, "class_scores is a list"),
        ({"log_probs": log_probs, "lattices": lattice, "blank": None}, "blank = None has type NoneType"),
        ({"log_probs": log_probs, "lattices": lattice, "blank": 99}, "blank = 99 is not a class"),
    ):
        with pytest.raises(CTCError, match=message):
            forced_align(**arguments)


def test_targets_or_lattices() -> None:
    log_probs, lattice = torch.zeros(1, 4, 3), ctc_lattice([1])
    values = {"targets": torch.tensor([[1]]), "target_lengths": torch.tensor([1]), "optional": torch.tensor([[1]])}
    for name, tensor in values.items():
        with pytest.raises(CTCError, match=f"{name} and lattices are both given: expected one of them"):
            forced_align(log_probs, lattices=lattice, **{name: tensor})
    with pytest.raises(CTCError, match="targets is missing: expected the classes of the tokens, or lattices"):
        forced_align(log_probs)
    with pytest.raises(CTCError, match=r"lattices has 2 entries: expected 1"):
        forced_align(log_probs, lattices=[lattice] * 2)


# The forms of other people's aligners.


def test_spans_until_the_next() -> None:
    """Ends run to the next token, the last one's to the last frame; tokens without frames are left out as before."""
    labels = torch.tensor([0, 1, 1, 0, 0, 2, 0, 2, 0])
    scores = -torch.arange(9.0)
    own = ctckit.torch.merge_tokens(labels, scores)
    found = ctckit.torch.merge_tokens(labels, scores, until="next")
    assert [(span.start, span.end) for span in own] == [(1, 3), (5, 6), (7, 8)]
    assert [(span.start, span.end) for span in found] == [(1, 5), (5, 7), (7, 9)]
    assert [span.score for span in found] == [span.score for span in own]
    assert ctckit.torch.merge_tokens(torch.zeros(3).long(), torch.zeros(3), until="next") == []
    peaky = torch.nn.functional.one_hot(labels, 3).double().mul(9).log_softmax(-1).numpy()
    alignment = ctckit.forced_align(peaky, [1, 2, 2])[0]
    assert [(span.start, span.end) for span in alignment.spans(until="next")] == [(1, 5), (5, 7), (7, 9)]
    assert [(span.start, span.end) for span in alignment.spans(1, until="next")] == [(0, 4), (4, 7), (7, 9)]
    assert alignment.spans(until="own") == alignment.spans()
    for call in (alignment.spans, lambda until: ctckit.torch.merge_tokens(labels, scores, until=until)):
        with pytest.raises(ctckit.CTCError, match="until = 'end' is unknown: expected one of 'own', 'next'"):
            call(until="end")


def test_nemos_states() -> None:
    """By the definition: each frame's state is that of the best path of the lattice φ y1 φ … yS φ; any blank."""
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(3, 12, 5, dtype=torch.float64, generator=generator).mul(3).log_softmax(-1)
    targets, frames, lengths = [[1, 2, 2], [3, 1], [0]], torch.tensor([12, 10, 7]), torch.tensor([7, 5, 3])
    states = torch.full((3, 7), 5)
    for n, target in enumerate(targets):
        states[n, : lengths[n]] = 4
        states[n, 1 : lengths[n] : 2] = torch.tensor(target)
    states[states == 5] = 4
    found = viterbi_decoding(log_probs, states, frames, lengths, viterbi_device="cpu")
    for n, target in enumerate(targets):
        expected = ctckit.forced_align(log_probs[n, : frames[n]].numpy(), target, blank=4)[0].states
        assert found[n] == expected.tolist()


def test_torchaudios_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced in the block, whatever happens in it; a stand-in takes torchaudio's place."""
    package, functional = ModuleType("torchaudio"), ModuleType("torchaudio.functional")
    functional.forced_align, functional.merge_tokens = before = (object(), object())
    monkeypatch.setitem(sys.modules, "torchaudio", package)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", functional)
    with ctckit.torch.replace_torchaudio_align():
        assert functional.forced_align is ctckit.torch.forced_align
        assert functional.merge_tokens is ctckit.torch.merge_tokens
    assert (functional.forced_align, functional.merge_tokens) == before
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    with pytest.raises(ImportError, match="torchaudio"), ctckit.torch.replace_torchaudio_align():
        pass
