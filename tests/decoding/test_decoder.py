"""The decoder: right values, the forms of scores that it takes, samples without a text."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from oracles import log_softmax
from support.brute_force import ctc_scores
from support.hypotheses import as_data
from support.recogniser import ALPHABET, DATA, needs_data

import ctckit
from ctckit import Decoder, Hypotheses, Status, Vocabulary

LABELS = ["<blank>", "|", "a", "b", "c"]


def scores(frames: int = 12, size: int = 3, classes: int = len(LABELS), seed: int = 0) -> npt.NDArray[np.float64]:
    """Log-probabilities (T, N, C)."""
    logits = 2 * np.random.default_rng(seed).normal(size=(frames, size, classes))
    return log_softmax(logits).astype(np.float64)


def same(one: Hypotheses, other: Hypotheses) -> bool:
    return as_data(one) == as_data(other) and one.status == other.status


# --- right values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_every_text_of_tiny_scores(seed: int) -> None:
    """Against an enumeration of all paths, any blank, some probabilities 0."""
    rng = np.random.default_rng(seed)
    frames, blank = int(rng.integers(1, 6)), int(rng.integers(4))
    log_probs = scores(frames, 1, 4, seed)[:, 0]
    log_probs[rng.random(log_probs.shape) < 0.1] = -np.inf
    labels = ["x", "y", "z"]
    labels.insert(blank, "<blank>")
    truth = sorted(ctc_scores(log_probs, blank).items(), key=lambda item: -item[1])
    (hypotheses,) = Decoder(labels, beam_width=500).decode(log_probs, nbest=500)
    assert [tuple(h.tokens.tolist()) for h in hypotheses] == [text for text, _ in truth]
    np.testing.assert_allclose([h.score for h in hypotheses], [score for _, score in truth], rtol=1e-12, atol=1e-12)


@needs_data
def test_a_line_of_handwriting() -> None:
    logits = np.load(DATA / "iam_line_logits.npy")
    (hypotheses,) = Decoder(Vocabulary(list(ALPHABET), 79), beam_width=10).decode(logits, from_logits=True, nbest=3)
    assert [(h.text, round(h.score, 6)) for h in hypotheses] == [
        ("the fak friend of the fomcly hae tC", -11.540560),
        ("the fak friend of the fomaly hae tC", -11.578712),
        ("the fak friend of the fomly hae tC", -11.709801),
    ]


@needs_data
def test_a_word_of_handwriting() -> None:
    logits = np.load(DATA / "iam_word_logits.npy")
    (hypotheses,) = Decoder(Vocabulary(list(ALPHABET), 79)).decode(logits, from_logits=True, nbest=3)
    assert [(h.text, round(h.score, 4)) for h in hypotheses] == [
        ("aircrapt", -0.1403),
        ("aircrafpt", -2.6888),
        ("aircrapft", -4.5098),
    ]


# --- scores -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbest", [1, 4])
def test_exact_scores_are_minus_the_loss_and_order_the_texts(nbest: int) -> None:
    log_probs = scores(30, 4)
    decoded = Decoder(LABELS, beam_width=4).decode(log_probs, nbest=nbest)
    for n, hypotheses in enumerate(decoded):
        losses = [ctckit.ctc_loss(log_probs[:, n], h.tokens, 30, len(h.tokens), reduction="sum") for h in hypotheses]
        np.testing.assert_allclose([h.ctc_score for h in hypotheses], np.negative(losses), rtol=1e-12)
        assert losses == sorted(losses)
        assert len(hypotheses) == nbest


def test_the_beams_scores_are_at_most_the_exact_ones() -> None:
    log_probs = scores(30, 4)
    (narrow, exact) = (Decoder(LABELS, beam_width=4, exact_scores=e).decode(log_probs, nbest=4) for e in (False, True))
    below = []
    for beams, sums in zip(narrow, exact, strict=True):
        by_tokens = {tuple(h.tokens.tolist()): h.score for h in sums}
        below += [by_tokens[tuple(h.tokens.tolist())] - h.score for h in beams]
        assert [h.score for h in beams] == sorted((h.score for h in beams), reverse=True)
    assert min(below) > -1e-12
    assert max(below) > 1e-3  # the beam does not follow all paths


def test_parts_add_up() -> None:
    for exact in (False, True):
        (hypotheses,) = Decoder(LABELS, exact_scores=exact).decode(scores()[:, 0], nbest=5)
        for h in hypotheses:
            parts = h.ctc_score + h.language_score + h.word_score + h.hotword_score
            assert math.isclose(h.score, parts, rel_tol=1e-12)


def test_the_best_text_of_a_language_recombines() -> None:
    log_probs = scores(30, 1, seed=6)[:, 0]

    def score(nbest: int, **options: Any) -> float:
        return Decoder(LABELS, beam_width=6, **options).decode(log_probs, nbest=nbest)[0][0].score

    for lexicon, default in ((None, False), (["a", "ab", "ca", "cab", "b", "bc"], True)):
        by_flag = {flag: score(1, lexicon=lexicon, recombine=flag) for flag in (False, True)}
        assert by_flag[False] != by_flag[True]
        assert score(1, lexicon=lexicon) == by_flag[default]
        assert score(3, lexicon=lexicon) == score(3, lexicon=lexicon, recombine=False)


# --- forms of scores --------------------------------------------------------------------------------------------------


def test_a_batch_is_its_samples() -> None:
    log_probs, lengths = scores(20, 4), np.array([20, 7, 0, 13])
    decoder = Decoder(LABELS)
    together = decoder.decode(log_probs, lengths, nbest=3)
    alone = [decoder.decode(log_probs[:length, n], nbest=3)[0] for n, length in enumerate(lengths)]
    listed = decoder.decode([log_probs[:length, n] for n, length in enumerate(lengths)], nbest=3)
    by_length = decoder.decode(list(log_probs.swapaxes(0, 1)), lengths, nbest=3)
    for n in range(4):
        assert same(together[n], alone[n])
        assert same(together[n], listed[n])
        assert same(together[n], by_length[n])


def test_frames_beyond_a_length_are_never_read() -> None:
    log_probs, lengths = scores(20, 2), [12, 20]
    clean = Decoder(LABELS).decode(log_probs, lengths)
    log_probs[12:, 0] = np.nan
    assert all(map(same, clean, Decoder(LABELS).decode(log_probs, lengths)))


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16, ">f8"])
def test_any_float(dtype: Any) -> None:
    given = scores(15, 2).astype(dtype)
    exact = given.astype(np.float64)
    for one, other in zip(Decoder(LABELS).decode(given, nbest=3), Decoder(LABELS).decode(exact, nbest=3), strict=True):
        assert [h.text for h in one] == [h.text for h in other]
        np.testing.assert_allclose([h.score for h in one], [h.score for h in other], rtol=1e-5)
        assert [w[:3] for w in one[0].words] == [w[:3] for w in other[0].words]


def test_logits_are_normalised() -> None:
    log_probs = scores(15, 2)
    logits = log_probs + np.random.default_rng(1).normal(size=(15, 2, 1))
    plain = Decoder(LABELS).decode(log_probs, nbest=3)
    raw = Decoder(LABELS).decode(logits, from_logits=True, nbest=3)
    for one, other in zip(plain, raw, strict=True):
        assert [h.text for h in one] == [h.text for h in other]
        np.testing.assert_allclose([h.score for h in one], [h.score for h in other], rtol=1e-12)


def test_scores_of_any_layout() -> None:
    log_probs = scores(15, 2)
    wide = np.full((15, 4, 2 * len(LABELS)), np.nan)
    wide[:, ::2, ::2] = log_probs
    for given in (np.asfortranarray(log_probs), wide[:, ::2, ::2], log_probs[::-1].copy()[::-1]):
        assert all(map(same, Decoder(LABELS).decode(log_probs), Decoder(LABELS).decode(given)))


# --- samples without a text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_frame_that_is_not_finite(value: float) -> None:
    log_probs = scores(10, 3)
    clean = Decoder(LABELS).decode(log_probs)
    log_probs[4, 1, 2] = value
    decoded = Decoder(LABELS).decode(log_probs)
    assert (decoded[1].status, decoded[1].found, len(decoded[1]), decoded[1].text) == (Status.NOT_FINITE, False, 0, "")
    assert same(decoded[0], clean[0])
    assert same(decoded[2], clean[2])


def test_no_path_has_a_probability() -> None:
    log_probs = scores(10, 2)
    log_probs[4, 0] = -np.inf
    decoded = Decoder(LABELS).decode(log_probs)
    assert [(h.status, h.found) for h in decoded] == [(Status.IMPOSSIBLE, False), (Status.OK, True)]


def test_no_frames_say_nothing() -> None:
    (hypotheses,) = Decoder(LABELS).decode(np.empty((0, len(LABELS))), nbest=3)
    (nothing,) = hypotheses
    assert (nothing.text, nothing.score, nothing.words, nothing.segments(0.01)) == ("", 0.0, (), [])
    assert len(nothing.tokens) == 0
    assert nothing.probability == 1


def test_as_many_texts_as_there_are() -> None:
    (hypotheses,) = Decoder(["<blank>", "a"]).decode(np.log([[0.5, 0.5]]), nbest=10)
    assert [(h.text, round(math.exp(h.score), 6)) for h in hypotheses] == [("", 0.5), ("a", 0.5)]


# --- one decoder ------------------------------------------------------------------------------------------------------


def test_threads_share_a_decoder() -> None:
    decoder, batches = Decoder(LABELS), [scores(seed=seed) for seed in range(16)]
    alone = [decoder.decode(batch, nbest=2) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda batch: decoder.decode(batch, nbest=2), batches))
    assert all(same(a, b) for one, other in zip(alone, together, strict=True) for a, b in zip(one, other, strict=True))


def test_a_decoder_can_be_pickled() -> None:
    decoder = Decoder(LABELS, beam_width=7, exact_scores=False)
    copy = pickle.loads(pickle.dumps(decoder))
    assert all(map(same, decoder.decode(scores(), nbest=7), copy.decode(scores(), nbest=7)))


def test_another_search_at_once() -> None:
    log_probs = np.log(np.random.default_rng(3).dirichlet(np.ones(4), (15, 1)))
    options: dict[str, Any] = {"beam_width": 3, "recombine": True, "exact_scores": False}
    decoder = Decoder(["<blank>", "|", "a", "b"], lexicon=["ab", "b", "ba"], beta=0.5)
    expected = Decoder(["<blank>", "|", "a", "b"], lexicon=["ab", "b", "ba"], beta=0.5, **options)
    before = [h.score for h in decoder.decode(log_probs, nbest=3)[0]]
    for found in (decoder.with_search(**options), decoder.with_search(**options).with_search()):
        assert found.beam_width == 3
        assert [h.score for h in found.decode(log_probs, nbest=3)[0]] == [
            h.score for h in expected.decode(log_probs, nbest=3)[0]
        ]
    assert [h.score for h in decoder.decode(log_probs, nbest=3)[0]] == before
    assert before != [h.score for h in expected.decode(log_probs, nbest=3)[0]]
    with pytest.raises(ctckit.CTCError, match="beam_width"):
        decoder.with_search(beam_width=0)


# --- texts that read alike --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [LABELS, ["<blank>", "▁", "▁a", "a", "aa"]])
def test_each_text_once(labels: list[str]) -> None:
    """With the best of its token sequences, which differ in separators or in pieces."""
    alike = 0
    for seed in range(5):
        log_probs = scores(8, seed=seed)[:, 0]
        every = Decoder(labels, unique_texts=False, exact_scores=False)
        once = Decoder(labels, exact_scores=False)
        (ways,) = every.decode(log_probs, nbest=50)
        (texts,) = once.decode(log_probs, nbest=6)
        first = {h.text: h for h in reversed(ways)}
        best = sorted(first.values(), key=lambda h: -h.score)[:6]
        alike += len(ways) - len(first)
        assert [(h.text, h.tokens.tolist(), h.score) for h in texts] == [
            (h.text, h.tokens.tolist(), h.score) for h in best
        ]
        stream = once.stream()
        stream.feed(log_probs)
        assert same(stream.finish(6), texts)
    assert alike
