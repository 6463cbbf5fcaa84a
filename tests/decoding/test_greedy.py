"""Best path decoding against a loop over frames."""

from __future__ import annotations

import gc
import math
import weakref

import ml_dtypes
import numpy as np
import pytest
from oracles import collapse, log_softmax
from support.recogniser import ALPHABET, DATA, needs_data

from ctckit import CTCError, Status, Vocabulary, greedy_decode
from ctckit.decoding.greedy import reading

LABELS = ["<blank>", "a", "b", "c"]


@pytest.mark.parametrize("blank", [0, 3])
def test_against_a_loop(blank: int) -> None:
    rng = np.random.default_rng(blank)
    logits, lengths = rng.normal(size=(40, 5, 4)), np.array([40, 1, 17, 0, 33])
    log_probs = log_softmax(logits).astype(np.float64)
    for given, from_logits in ((log_probs, False), (logits, True)):
        for n, (found, *others) in enumerate(greedy_decode(given, lengths, blank, from_logits=from_logits)):
            path = [int(np.argmax(row)) for row in log_probs[: lengths[n], n]]
            assert tuple(found.tokens.tolist()) == collapse(path, blank)
            assert not others
            score = math.fsum(log_probs[t, n, c] for t, c in enumerate(path))
            assert math.isclose(found.score, score, rel_tol=1e-12, abs_tol=0)
            assert found.ctc_score == found.score
            assert [path[frame] for frame in found.frames] == found.tokens.tolist()
            assert found.alignment.starts.tolist() == found.frames.tolist()
            assert (found.text, found.words, found.segments(0.1)) == ("", (), [])


@needs_data
def test_handwriting() -> None:
    vocabulary = Vocabulary(list(ALPHABET), 79)
    for name, text in (("line", "the fak friend of the fomly hae tC"), ("word", "aircrapt")):
        logits = np.load(DATA / f"iam_{name}_logits.npy")
        assert greedy_decode(logits, from_logits=True, vocabulary=vocabulary)[0].text == text


def test_a_list_of_samples_and_half_precision() -> None:
    logits = np.random.default_rng(0).normal(size=(9, 2, 4))
    vocabulary = Vocabulary(LABELS)
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        given = logits.astype(dtype)
        listed = [given[:, 0], given[:5, 1]]
        found = greedy_decode(listed, from_logits=True, vocabulary=vocabulary)
        path = [logits[:, 0].astype(dtype).astype(float).argmax(axis=1), given[:5, 1].astype(float).argmax(axis=1)]
        assert [h.text for h in found] == ["".join(LABELS[c] for c in collapse(p.tolist(), 0)) for p in path]


@pytest.mark.parametrize(
    ("value", "status"), [(np.nan, Status.NOT_FINITE), (np.inf, Status.NOT_FINITE), (-np.inf, Status.IMPOSSIBLE)]
)
def test_frames_that_are_no_scores(value: float, status: Status) -> None:
    log_probs = np.log(np.full((6, 3, 4), 0.25))
    log_probs[2, 1, :] = value
    log_probs[5, 2, :] = value  # beyond its length
    found = greedy_decode(log_probs, [6, 6, 5])
    assert [hypotheses.status for hypotheses in found] == [Status.OK, status, Status.OK]
    assert [hypotheses.found for hypotheses in found] == [True, False, True]


def test_the_vocabularys_blank_counts() -> None:
    log_probs = np.log([[0.1, 0.1, 0.8], [0.1, 0.8, 0.1]])
    assert greedy_decode(log_probs, vocabulary=Vocabulary(["a", "b", "<blank>"]))[0].text == "b"
    with pytest.raises(CTCError, match=r"blank = 3 is not a class: log_probs has C=3 classes \(0..2\)"):
        greedy_decode(log_probs, blank=3)


def test_how_a_vocabulary_is_read_is_kept_as_long_as_it() -> None:
    vocabulary = Vocabulary(LABELS)
    first = reading(vocabulary, 0, 4)
    assert reading(vocabulary, 0, 4) is first
    assert reading(Vocabulary(LABELS), 0, 4) is not first
    kept, vocabulary = weakref.ref(first.graph), Vocabulary(LABELS)
    del first
    gc.collect()
    assert kept() is None


def test_labels_instead_of_a_vocabulary() -> None:
    log_probs = np.log([[0.1, 0.7, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]])
    assert greedy_decode(log_probs, vocabulary=LABELS)[0].text == "ac"
    with pytest.raises(CTCError, match="there are 3 labels"):
        greedy_decode(log_probs, vocabulary=LABELS[:3])
