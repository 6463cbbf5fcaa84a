"""`ctckit.torch.Decoder` and `greedy_decode`: what the arrays' find, of any dtype, layout and device."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import ctckit
import ctckit.torch
from ctckit import CTCError, Hypotheses, Status, Vocabulary
from ctckit.decoding import beams, emissions

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.gpu),
]
LABELS = ["<blank>", "|", "a", "b", "c"]
LENGTHS = [12, 0, 7]


def draw(seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(T, N, C) log-probabilities."""
    scores = np.random.default_rng(seed).normal(0, 2, (12, 3, len(LABELS)))
    return torch.from_numpy(scores).log_softmax(-1).to(dtype)


def arrays(scores: torch.Tensor) -> np.ndarray[Any, Any]:
    return scores.detach().cpu().double().numpy()


def same(found: list[Hypotheses], expected: list[Hypotheses], tolerance: float = 0) -> None:
    assert [h.status for h in found] == [h.status for h in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert [h.text for h in ours] == [h.text for h in theirs]
        assert [h.tokens.tolist() for h in ours] == [h.tokens.tolist() for h in theirs]
        assert np.allclose([h.score for h in ours], [h.score for h in theirs], rtol=tolerance, atol=tolerance)
        words, others = ([word for h in each for word in h.words] for each in (ours, theirs))
        assert [word[:3] for word in words] == [word[:3] for word in others]
        assert np.allclose([w.confidence for w in words], [w.confidence for w in others], rtol=0, atol=1e-5)
        assert [h.alignment.starts.tolist() for h in ours] == [h.alignment.starts.tolist() for h in theirs]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("from_logits", [False, True])
def test_the_decoder_finds_what_the_arrays_does(dtype: torch.dtype, device: str, from_logits: bool) -> None:
    scores = draw(1, dtype)
    options: Any = {"lexicon": ["a", "cab", "bc"], "beam_width": 8}
    tolerance = 0 if dtype == torch.float64 else 1e-5
    expected = ctckit.Decoder(LABELS, **options).decode(arrays(scores), LENGTHS, from_logits=from_logits, nbest=3)
    decoder = ctckit.torch.Decoder(LABELS, **options)
    calls: Any = {"from_logits": from_logits, "nbest": 3}
    there = scores.to(device)
    same(decoder.decode(there, torch.tensor(LENGTHS), **calls), expected, tolerance)
    same(decoder.decode(there.transpose(0, 1), LENGTHS, batch_first=True, **calls), expected, tolerance)
    listed = [there[:used, n] for n, used in enumerate(LENGTHS)]
    same(decoder.decode(listed, **calls), expected, tolerance)
    same(decoder.decode(there[:, 0], **calls), expected[:1], tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("from_logits", [False, True])
def test_the_best_path_is_that_of_arrays(dtype: torch.dtype, device: str, from_logits: bool) -> None:
    scores, vocabulary = draw(2, dtype), Vocabulary(LABELS)
    calls: Any = {"from_logits": from_logits, "vocabulary": vocabulary}
    expected = ctckit.greedy_decode(arrays(scores), LENGTHS, **calls)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    there = scores.to(device)
    same(ctckit.torch.greedy_decode(there, torch.tensor(LENGTHS), **calls), expected, tolerance)
    batch_first = there.transpose(0, 1)
    same(ctckit.torch.greedy_decode(batch_first, LENGTHS, batch_first=True, **calls), expected, tolerance)
    same(ctckit.torch.greedy_decode([there[:used, n] for n, used in enumerate(LENGTHS)], **calls), expected, tolerance)
    same(ctckit.torch.greedy_decode(there[:, 0], **calls), expected[:1], tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_of_the_cpu_are_read_where_they_are(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    before = emissions.readable_scores

    def watch(array: np.ndarray[Any, Any], form: Any) -> np.ndarray[Any, Any]:
        scores = before(array, form)
        seen.append(scores.ctypes.data)
        return scores

    monkeypatch.setattr(emissions, "readable_scores", watch)
    scores = draw(3, dtype).requires_grad_()
    ctckit.torch.Decoder(LABELS).decode(scores)
    assert seen == [scores.data_ptr()]


def test_as_many_threads_as_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int | None] = []
    before = beams.native.search

    def watch(*args: Any, threads: int | None, **options: Any) -> Any:
        seen.append(threads)
        return before(*args, threads=threads, **options)

    monkeypatch.setattr(beams.native, "search", watch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    ctckit.torch.Decoder(LABELS).decode(draw(3))
    assert seen == [3]


def test_from_a_device_the_best_path_copies_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[int] = []
    before = ctckit.torch.decode._memory

    def watch(scores: torch.Tensor) -> np.ndarray[Any, Any]:
        copied.append(scores.shape[0])
        return before(scores)

    monkeypatch.setattr(ctckit.torch.decode, "_memory", watch)
    scores = draw(4).repeat(100, 1, 1)
    found = ctckit.torch.greedy_decode(scores, [1200, 400, 7], vocabulary=Vocabulary(LABELS))
    assert copied == [8]  # to see whether they are probabilities
    assert found[1][0].alignment.status == Status.OK
    assert copied == [8, 400]


def test_frames_that_are_no_scores() -> None:
    scores = draw(5)
    scores[3, 0], scores[8, 1], scores[7, 2] = torch.nan, -torch.inf, torch.nan
    lengths = [12, 12, 7]  # of the last sample, it is not read
    for found in (
        ctckit.torch.Decoder(LABELS).decode(scores, lengths),
        ctckit.torch.greedy_decode(scores, lengths, vocabulary=Vocabulary(LABELS)),
        ctckit.torch.greedy_decode(scores, lengths, from_logits=True, vocabulary=Vocabulary(LABELS)),
    ):
        assert [h.status for h in found] == [Status.NOT_FINITE, Status.IMPOSSIBLE, Status.OK]
        assert [len(h) for h in found] == [0, 0, 1]


def test_samples_of_one_frame() -> None:
    """With batch_first=True the order of the axes is said: (N, 1, C) is no mistake."""
    decoder, scores = ctckit.torch.Decoder(LABELS), draw(7)[0, :2]
    texts = [decoder.decode(row[None])[0].text for row in scores]
    assert [h.text for h in decoder.decode(scores[:, None], batch_first=True)] == texts
    assert len(ctckit.torch.greedy_decode(scores[:, None], batch_first=True)) == 2
    with pytest.raises(CTCError, match=r"log_probs has shape \(1, 2, 5\), so N=2 samples of one frame"):
        decoder.decode(scores[None])
    with pytest.raises(CTCError, match=r"log_probs has shape \(2, 1, 5\).* it looks like \(T, N, C\)"):
        decoder.decode(scores[:, None], [2], batch_first=True)


def test_streams_take_tensors() -> None:
    decoder, scores = ctckit.torch.Decoder(LABELS), draw(6, torch.bfloat16)
    stream = decoder.stream()
    for start in range(0, 12, 5):
        stream.feed(scores[start : start + 5, 0])
    assert stream.finish().text == decoder.decode(scores[:, 0])[0].text


def test_decoders_can_be_pickled() -> None:
    decoder, scores = ctckit.torch.Decoder(LABELS, lexicon=["cab"]), draw(7)
    same(pickle.loads(pickle.dumps(decoder)).decode(scores), decoder.decode(scores))


@pytest.mark.parametrize("function", ["decoder", "greedy"])
@pytest.mark.parametrize(
    ("given", "lengths", "message"),
    [
        (draw(8)[..., :4], None, "5 labels"),
        (draw(8).exp(), None, "probabilities"),
        (draw(8).round().long(), None, "int64"),
        (draw(8), [13, 1, 1], "input_lengths"),
        (arrays(draw(8)), None, "log_probs"),
        (draw(8)[None], None, "log_probs"),
        (torch.empty(3, 2, 5, device="meta"), None, "meta"),
    ],
    ids=["classes", "probabilities", "integers", "lengths", "arrays", "axes", "meta"],
)
def test_errors_are_those_of_tensors(function: str, given: Any, lengths: Any, message: str) -> None:
    decode: Any = ctckit.torch.Decoder(LABELS).decode
    if function == "greedy":
        decode = partial(ctckit.torch.greedy_decode, vocabulary=Vocabulary(LABELS))
    with pytest.raises(CTCError, match=message) as caught:
        decode(given, lengths)
    assert isinstance(caught.value, RuntimeError)
