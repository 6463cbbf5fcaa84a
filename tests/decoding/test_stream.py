"""Streams: the same as the whole recording at once, whatever the chunks."""

from __future__ import annotations

import pickle
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from oracles import log_softmax
from support.hypotheses import as_data

from ctckit import CTCError, Decoder, Status, Stream

LABELS = ["<blank>", "|", "a", "b", "c"]
CHUNKS = (1, 2, 7, 64)


def scores(frames: int = 40, seed: int = 0, spread: float = 2) -> npt.NDArray[np.float64]:
    logits = spread * np.random.default_rng(seed).normal(size=(frames, len(LABELS)))
    return log_softmax(logits).astype(np.float64)


def fed(stream: Stream, log_probs: npt.NDArray[Any], size: int) -> Stream:
    for start in range(0, len(log_probs), size):
        stream.feed(log_probs[start : start + size])
    return stream


OPTIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, {}),
    "recombined": ({"recombine": True}, {}),
    "a lexicon, not recombined": ({"recombine": False, "lexicon": ["abba", "cab", "a", "b", "c", "bc"]}, {}),
    "a lexicon": ({"lexicon": ["abba", "cab", "a", "b", "c", "bc"]}, {}),
    "hotwords": ({}, {"hotwords": {"cab": 5.0, "a b": 3.0}}),
    "logits": ({}, {"from_logits": True}),
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, ml_dtypes.bfloat16])
def test_chunks_are_the_whole_bit_for_bit(name: str, dtype: Any) -> None:
    given, called = OPTIONS[name]
    log_probs = scores().astype(dtype)
    decoder = Decoder(LABELS, beam_width=8, **given)
    offline = Decoder(LABELS, beam_width=8, **({"recombine": "lexicon" in given} | given), exact_scores=False)
    (whole,) = offline.decode(log_probs, nbest=3, **called)
    assert len(whole) == 3
    for size in CHUNKS:
        assert as_data(fed(decoder.stream(**called), log_probs, size).finish(nbest=3)) == as_data(whole)


def test_a_long_recording_is_the_whole_too() -> None:
    """The kernel has forgotten its beginning, whether `stable()` was called or not."""
    log_probs, decoder = scores(2500, spread=8), Decoder(LABELS, beam_width=8, recombine=True)
    whole = as_data(decoder.with_search(exact_scores=False).decode(log_probs, nbest=3)[0])
    for size in (1, 700):
        assert as_data(fed(decoder.stream(), log_probs, size).finish(nbest=3)) == whole
    asked = decoder.stream()
    for start in range(0, len(log_probs), 99):
        asked.feed(log_probs[start : start + 99])
        best = asked.best()
        assert best is not None
        stable = asked.stable().tokens.tolist()
        assert best.tokens.tolist()[: len(stable)] == stable
    assert len(stable) > 1000
    assert as_data(asked.finish(nbest=3)) == whole


@pytest.mark.parametrize("recombine", [True, False])
def test_what_is_stable_stays(recombine: bool) -> None:
    log_probs = np.concatenate([scores(30, seed) for seed in range(3)])
    stream = Decoder(LABELS, beam_width=4, recombine=recombine).stream()
    seen: list[list[int]] = [[]]
    for row in log_probs:
        stream.feed(row[None])
        stable = stream.stable()
        best = stream.best()
        assert best is not None
        assert stable.tokens.tolist()[: len(seen[-1])] == seen[-1]
        assert best.tokens.tolist()[: len(stable.tokens)] == stable.tokens.tolist()
        assert best.frames.tolist()[: len(stable.tokens)] == stable.frames.tolist()
        assert best.text.startswith(stable.text)
        seen.append(stable.tokens.tolist())
    assert len(seen[-1]) > (20 if recombine else 10)
    assert all(h.tokens.tolist()[: len(seen[-1])] == seen[-1] for h in stream.finish(nbest=4))


def test_words_have_the_searchs_frames() -> None:
    rows = [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    log_probs = np.log(np.array(rows) * 0.88 + 0.03)
    stream = fed(Decoder(["<blank>", "a", "b", "|"]).stream(), log_probs, 2)
    (found,) = stream.finish()
    assert [word[:3] for word in found.words] == [("ab", 0, 2), ("a", 4, 5)]
    assert all(0 < word.confidence <= 1 for word in found.words)
    (line,) = found.segments(0.5, offset=1)
    assert [(word.text, word.start, word.end) for word in line.parts] == [("ab", 1, 2), ("a", 3, 3.5)]
    assert pickle.loads(pickle.dumps(found)).words == found.words
    with pytest.raises(CTCError, match="alignment is not known: a stream keeps no scores"):
        _ = found.alignment


def test_it_continues_from_a_pickle() -> None:
    log_probs, decoder = scores(), Decoder(LABELS, beam_width=8, lexicon=["abba", "cab", "a", "b", "c"])
    whole = as_data(fed(decoder.stream(hotwords=["cab"], endpoint=2), log_probs, 5).finish(nbest=3))
    stream = decoder.stream(hotwords=["cab"], endpoint=2)
    for start in range(0, len(log_probs), 5):
        stream = pickle.loads(pickle.dumps(stream))
        stream.feed(log_probs[start : start + 5])
    assert stream.frames == len(log_probs)
    assert as_data(stream.finish(nbest=3)) == whole


def test_memory_stays_flat() -> None:
    """Of past frames, a stream keeps only tokens, their frames and words, four bytes each."""
    stream = Decoder(LABELS, beam_width=8, recombine=True).stream()
    sizes = []
    for n in range(20):
        fed(stream, scores(500, n, spread=8), 50)
        stable = stream.stable()
        sizes.append(len(pickle.dumps(stream)) - 8 * len(stable.tokens) - 4 * len(stable.text.split()))
    assert len(stream.stable().tokens) > 3000
    assert max(sizes) < min(sizes) + 2000


def test_differences_of_the_distant_past_are_forgotten() -> None:
    """The first frame leaves two texts that continue alike. The less probable one is dropped when memory is full."""
    stream = Decoder(LABELS, beam_width=2).stream()
    first = np.log([[0.1, 0.1, 0.45, 0.3, 0.05]])
    sure = np.log(
        np.full((20_000, 5), 0.001) + 0.995 * np.eye(5)[np.arange(20_000) % 2 * 3 + np.arange(20_000) % 4 // 3]
    )
    stream.feed(first)
    for start in range(0, 20_000, 5000):
        assert len(stream.stable().tokens) == 0
        stream.feed(sure[start : start + 5000])
    for _ in range(2):
        stream.feed(sure)
    stable = stream.stable()
    assert len(stable.tokens) > 10_000
    assert stable.tokens[:2].tolist() == [2, 3]


def test_nothing_comes_in() -> None:
    stream = Decoder(LABELS).stream()
    stream.feed(np.empty((0, len(LABELS))))
    best = stream.best()
    assert best is not None
    assert (best.text, stream.stable().text, stream.frames) == ("", "", 0)
    (nothing,) = stream.finish(nbest=3)
    assert (nothing.text, best.score, nothing.score) == ("", *[pytest.approx(0, abs=1e-12)] * 2)


@pytest.mark.parametrize(("value", "status"), [(np.nan, Status.NOT_FINITE), (-np.inf, Status.IMPOSSIBLE)])
def test_a_frame_that_is_no_score(value: float, status: Status) -> None:
    log_probs = scores(10)
    log_probs[4] = value
    stream = fed(Decoder(LABELS).stream(), log_probs[:4], 2)
    assert stream.status == Status.OK
    fed(stream, log_probs[4:], 2)
    assert stream.status == status
    assert stream.best() is None
    found = stream.finish()
    assert (found.found, found.status) == (False, status)


def test_the_endpoint() -> None:
    def ended(path: str, endpoint: int | None, size: int = 1) -> list[int]:
        """The numbers of frames after which the stream has ended."""
        stream = Decoder(["<blank>", "a"]).stream(endpoint=endpoint)
        rows = np.log([[0.9, 0.1] if said == "." else [0.1, 0.9] for said in path])
        found = []
        for start in range(0, len(rows), size):
            stream.feed(rows[start : start + size])
            found += [start + size] if stream.ended else []
        return found

    assert ended("....a.a..a", 2) == [9, 10]  # it stays ended
    assert ended("....a.a..a", 3) == []
    assert ended("....a.a..a", None) == []
    assert ended("......", 2) == []
    assert ended("....a.a..a...", 2, size=4) == [12, 16]
    for endpoint in (0, 1.5, True):
        with pytest.raises(CTCError, match="endpoint = "):
            ended("a", endpoint)  # type: ignore[arg-type]


WRONG: list[tuple[Any, str]] = [
    (np.zeros(5), r"chunk has shape \(5,\): expected \(t, C\), the next frames of one recording"),
    (np.zeros((2, 1, 5)), r"chunk has shape \(2, 1, 5\): expected \(t, C\)"),
    (np.zeros((2, 6)), "chunk has C=6 classes and there are 5 labels.*is the blank missing"),
    (np.zeros((2, 5), int), "chunk has dtype int64: expected float64, float32, bfloat16 or float16"),
    (np.full((2, 5), 0.2), r"chunk holds probabilities.*pass np.log\(chunk\)"),
    ("text", "chunk has shape"),
]


@pytest.mark.parametrize(("chunk", "message"), WRONG)
def test_wrong_chunks_change_nothing(chunk: Any, message: str) -> None:
    stream = Decoder(LABELS).stream()
    with pytest.raises(CTCError, match=message):
        stream.feed(chunk)
    assert stream.frames == 0
    assert as_data(fed(stream, scores(), 7).finish()) == as_data(fed(Decoder(LABELS).stream(), scores(), 7).finish())


def test_after_the_end() -> None:
    stream = fed(Decoder(LABELS, beam_width=5).stream(), scores(), 7)
    with pytest.raises(CTCError, match="nbest = 6: expected at most beam_width = 5"):
        stream.finish(nbest=6)
    stream.finish(nbest=5)
    with pytest.raises(
        CTCError, match=r"chunk comes after finish\(\): expected a new stream.*decoder.stream\(\) again"
    ):
        stream.feed(scores())
    with pytest.raises(CTCError, match=r"finish\(\) comes after finish\(\)"):
        stream.finish()
