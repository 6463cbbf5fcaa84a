"""A search whose frames come in chunks: the same, bit for bit; its stem, its state, its memory."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from support.searches import FORMS, as_data, draw, letters

from ctckit import Status
from ctckit.kernels.search import native

MANY = 10**9


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_make_no_difference(form: str, chunk: int) -> None:
    for seed in range(25):
        case = draw(seed, form)
        at_once, stream = case.native(), case.stream(chunk)
        assert (stream.status, as_data(stream.texts(MANY))) == (at_once.status, as_data(at_once.texts))
        assert stream.num_frames == len(case.log_probs)


@pytest.mark.parametrize("form", FORMS)
def test_stem_and_state_lose_nothing(form: str) -> None:
    """Texts are read and the search is pickled after each frame, and at times the stem is taken away."""
    taken = 0
    for seed in range(25):
        case = draw(seed, form)
        stem: tuple[list[int], ...] = ([], [], [])
        search = native.Search(case.graph, case.beam_width, recombine=case.recombine)
        for t, row in enumerate(case.log_probs):
            search.feed(row[None])
            search.texts(1, finished=False)
            search = pickle.loads(pickle.dumps(search))
            if t % 3 == 2:
                for part, more in zip(stem, search.take_stem(), strict=True):
                    part.extend(more.tolist())
        found = [
            (stem[0] + tokens, stem[1] + frames, stem[2] + words, *scores)
            for tokens, frames, words, *scores in as_data(search.texts(MANY))
        ]
        assert found == as_data(case.native().texts)
        taken += len(stem[0])
    assert taken > 0


def test_a_text_that_is_not_finished() -> None:
    case = next(c for c in (draw(seed, "words") for seed in range(99)) if len(c.native().texts) > 3)
    search = case.stream(5)
    before = as_data(search.texts(MANY, finished=False))
    assert [text[3] for text in before] == sorted((text[3] for text in before), reverse=True)
    for tokens, _, words, score, ctc, language, units, hotwords in before:
        assert len(words) <= len(tokens)
        assert score == pytest.approx(case.graph.score(ctc, language, units, hotwords), abs=1e-12)
    assert as_data(search.texts(MANY)) == as_data(case.native().texts)  # it can still be finished


def test_memory_stays_the_same() -> None:
    """Over a million frames: memory depends only on the prefixes that are kept."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(10_000, 6)).astype(np.float32) * 4
    search, sizes, tokens = native.Search(letters(6), 20, from_logits=True), [], 0
    for _ in range(100):
        search.feed(rows)
        tokens += len(search.take_stem()[0])
        sizes.append(len(pickle.dumps(search)))
    assert search.num_frames == 1_000_000
    assert tokens > 100_000
    assert max(sizes[1:]) < 2 * sizes[0]
    (text,) = search.texts()
    assert len(text.tokens) < 10_000
    assert -1e7 < text.score < 0


def test_what_is_forgotten_does_not_depend_on_what_was_taken() -> None:
    """The first frame gives two texts that continue alike, until memory is full."""
    sure = np.log(np.full((60_000, 4), 1e-3) + 0.99 * np.eye(4)[np.arange(60_000) % 4])
    rows = np.concatenate([np.log([[0.1, 0.5, 0.1, 0.3]]), sure])
    at_once = native.Search(letters(4), 2)
    at_once.feed(rows)
    (whole,) = at_once.texts(1)
    search, stem = native.Search(letters(4), 2), []
    for t in range(0, len(rows), 5000):
        search.feed(rows[t : t + 5000])
        search = pickle.loads(pickle.dumps(search))
        stem += search.take_stem()[0].tolist()
    (rest,) = search.texts(1)
    assert len(stem) > 10_000  # it has been forgotten
    assert stem + rest.tokens.tolist() == whole.tokens.tolist()
    assert rest.score == whole.score


def test_much_that_is_not_settled_takes_no_longer() -> None:
    """Noise: after 5,000 frames the 200 texts have hardly a token in common."""
    rows = np.random.default_rng(0).normal(size=(5000, 32))
    search, seconds = native.Search(letters(32), 200), []
    for t in range(0, 5000, 500):
        begin = time.thread_time()
        search.feed(rows[t : t + 500])
        seconds.append(time.thread_time() - begin)
    assert min(seconds[-3:]) < 20 * max(seconds[:3])


def test_scores_of_a_long_recording_are_exact() -> None:
    """A hundred thousand equal frames: the sum of their best scores is not rounded frame by frame."""
    row = np.log([0.7, 0.2, 0.1])
    search = native.Search(letters(3), 1)
    for _ in range(10):
        search.feed(np.tile(row, (10_000, 1)))
    (text,) = search.texts()
    assert text.tokens.tolist() == []
    assert text.score == pytest.approx(1e5 * row[0], rel=1e-14)


def test_started_again() -> None:
    case = draw(2, "words")
    search = case.stream(9)
    found = as_data(search.texts(MANY))
    search.reset()
    assert (search.status, search.num_frames) == (Status.OK, 0)
    search.feed(case.log_probs)
    assert as_data(search.texts(MANY)) == found


def test_a_frame_that_is_no_number_ends_it() -> None:
    search = native.Search(letters(3), 5)
    search.feed(np.zeros((2, 3)))
    search.feed(np.zeros((0, 3)))
    assert search.status == Status.OK
    search.feed(np.array([[0, np.nan, 0]]))
    search.feed(np.zeros((2, 3)))
    assert (search.status, search.texts(), search.num_frames) == (Status.NOT_FINITE, [], 5)
    search.reset()
    assert search.status == Status.OK


def test_a_state_of_something_else() -> None:
    def state(search: native.Search) -> bytes:
        return search._search.save()

    search, other = native.Search(letters(3), 5), native.Search(letters(4), 5)
    search.feed(np.zeros((4, 3)))
    good = state(search)
    with pytest.raises(ValueError, match="not the state of a search with this graph"):
        other._search.restore(good)
    for broken in (b"", good[:-1], good + b"0", b"x" + good[1:]):
        with pytest.raises(ValueError, match="not the state of a search with this graph"):
            search._search.restore(broken)
        assert search.num_frames == 0  # it starts again
    rng = np.random.default_rng(0)
    for _ in range(300):  # any content is an error or a search
        bytes_ = bytearray(good)
        for place in rng.integers(0, len(bytes_), 3):
            bytes_[place] = rng.integers(256)
        try:
            search._search.restore(bytes(bytes_))
        except ValueError:
            continue
        search.feed(np.zeros((3, 3)))
        search.texts(MANY)
        search.take_stem()


def test_one_thread_at_a_time() -> None:
    search = native.Search(letters(32), 200)
    rows = np.random.default_rng(0).normal(size=(20_000, 32)).astype(np.float32)

    def is_refused(call: Callable[[], object]) -> bool:
        try:
            call()
        except RuntimeError as error:
            return "in use by another thread" in str(error)
        return False

    def feed() -> None:
        while is_refused(lambda: search.feed(rows)):  # the other thread may be the first
            pass

    feeding = threading.Thread(target=feed)
    feeding.start()
    refused = False
    while feeding.is_alive() and not refused:
        refused = is_refused(search.texts)
    feeding.join()
    assert refused
    assert search.num_frames == len(rows)


def test_another_number_of_classes() -> None:
    search = native.Search(letters(3), 5)
    with pytest.raises(ValueError, match="scores must have C classes"):
        search.feed(np.zeros((4, 4)))
