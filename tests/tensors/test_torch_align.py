"""`ctckit.torch.forced_align` and `merge_tokens`: torchaudio's signatures and results, on any batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.batches import draw

import ctckit
from ctckit import CTCError, InfeasibleError
from ctckit.torch import align, forced_align, merge_tokens
from ctckit.torch.align import TokenSpan

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture(params=["native", "triton"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where paths are found; Triton's interpreter takes tensors of the CPU for those of a GPU."""
    if request.param == "triton":
        pytest.importorskip("triton", reason="the GPU backend needs triton")
        monkeypatch.setattr(align, "backend_of", lambda scores: "triton")
    return request.param


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with NumPy, which warns of infinity
@pytest.mark.parametrize("integers", [torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_like_the_arrays(dtype: torch.dtype, integers: torch.dtype, backend: str) -> None:
    batch = draw(3, 40, 4, 7, 9, blank=6) if backend == "native" else draw(3, 9, 3, 7, 4, blank=6)
    batch.frames[1], batch.lengths[1] = batch.frames[0], batch.lengths[0]
    log_probs = torch.from_numpy(batch.scores).log_softmax(-1).to(dtype).transpose(0, 1)
    targets, frames, lengths = (torch.from_numpy(x).to(integers) for x in (batch.targets, batch.frames, batch.lengths))
    labels, scores = forced_align(log_probs, targets, frames, lengths, blank=6)
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
    log_probs, targets = torch.zeros(1, 4, 3), torch.tensor([[1, 1, 1]])
    with pytest.raises(InfeasibleError, match=r"T=4 frames: expected at least 5"):
        forced_align(log_probs, targets)
    with pytest.raises(CTCError, match=r"log_probs has shape \(4, 3\): expected a tensor \(N, T, C\)"):
        forced_align(log_probs[0], targets)
    with pytest.raises(CTCError, match=r"targets has shape \(3,\)"):
        forced_align(log_probs, targets[0])
    with pytest.raises(CTCError, match=r"targets\[0, 1\] = 3 is not a class"):
        forced_align(log_probs, torch.tensor([[1, 3]]))
    with pytest.raises(CTCError, match=r"expected \(T,\), the same for both"):
        merge_tokens(torch.zeros(2, 3), torch.zeros(2, 3))
