"""What a recogniser promises: pieces of a long input joined are the whole, memory stays flat, and faults are named."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ctckit import CTCError
from ctckit.recognisers import ImageInput, Recogniser, SoundInput

Array = npt.NDArray[np.float32]

RATE, STEP, CLASSES, REACH = 16000, 320, 5, 6
SECOND = RATE // STEP  # frames
LABELS = ["<blank>", *"abcd"]


def normalised(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    scores = scores - scores.max(axis=-1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))


def convolution(samples: Array) -> Array:
    """A network that sees `REACH` frames on either side: two convolutions of energies, with zeros beyond the ends."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(7, 4, 8)), rng.normal(size=(7, 8, CLASSES))
    frames = samples[:, : samples.shape[1] // STEP * STEP].reshape(len(samples), -1, 4, STEP // 4)
    seen = np.log(1e-3 + np.square(frames).mean(axis=3))
    for weights in (first, second):
        padded = np.pad(seen, ((0, 0), (3, 3), (0, 0)))
        seen = np.tanh(sum(padded[:, i : i + seen.shape[1]] @ weights[i] for i in range(7)))
    return normalised(4 * seen).astype(np.float32)


def recogniser(piece: int, overlap: int, batch: int = 1, network: Any = convolution) -> Recogniser:
    return Recogniser(network, SoundInput(RATE), LABELS, 0, STEP, piece=piece, overlap=overlap, batch=batch)


def sound(seconds: float) -> Array:
    rng = np.random.default_rng(1)
    loudness = np.repeat(rng.random(int(seconds * 20) + 1), RATE // 20)[: int(seconds * RATE)]
    return (rng.normal(size=len(loudness)) * loudness * 0.2).astype(np.float32)


WHOLE = 10**6


@pytest.mark.parametrize("batch", [1, 4])
def test_pieces_joined_are_the_whole(batch: int) -> None:
    """60 s in pieces of 5 s."""
    heard = sound(60)
    whole = recogniser(WHOLE, 0).log_probs(heard)
    assert whole.shape == (60 * SECOND, CLASSES)
    np.testing.assert_array_equal(whole, convolution(heard[None])[0])
    pieces = recogniser(5 * SECOND, REACH, batch).log_probs(heard)
    np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-5)


def test_away_from_seams_pieces_without_enough_overlap_are_the_whole_too() -> None:
    heard = sound(60)
    whole = recogniser(WHOLE, 0).log_probs(heard)
    pieces = recogniser(5 * SECOND, 0).log_probs(heard)
    away = np.minimum(np.arange(len(whole)) % (5 * SECOND), -np.arange(1, len(whole) + 1) % (5 * SECOND)) >= REACH
    away[:REACH] = away[-REACH:] = True  # there is no seam at the ends
    difference = np.abs(pieces - whole).max(axis=1)
    assert difference[away].max() <= 1e-3
    assert difference[~away].max() > 0.1


@pytest.mark.parametrize("frames", [1, 9, 10, 11, 19, 20, 21, 30, 31, 57])
@pytest.mark.parametrize("block", [1, 3, 1000])
@pytest.mark.parametrize(("piece", "overlap", "batch"), [(10, 2, 1), (13, REACH, 3), (10, 0, 2)])
def test_every_frame_is_there_once(frames: int, block: int, piece: int, overlap: int, batch: int) -> None:
    """Each frame's scores say its number."""

    def numbers(samples: Array) -> Array:
        number = samples[:, ::STEP, None]
        return np.concatenate([-number, -np.ones_like(number).repeat(CLASSES - 1, axis=2)], axis=2)

    values = np.arange(frames, dtype=np.float32).repeat(STEP)
    blocks = [values[i : i + block * 100] for i in range(0, len(values), block * 100)]
    found = recogniser(piece, overlap, batch, numbers).log_probs(blocks)
    np.testing.assert_array_equal(-found[:, 0], np.arange(frames))


def test_images_go_in_pieces_too() -> None:
    def columns(images: Array) -> Array:
        dark = images.mean(axis=(2, 3)).reshape(len(images), -1, 8).mean(axis=2)
        return np.log(np.stack([1 - dark, dark], axis=2))

    pixels = np.random.default_rng(2).random((8 * 100, 4, 3), np.float32)
    eye = Recogniser(columns, ImageInput(4), ["<blank>", "x"], 0, 8, piece=20, overlap=3)
    np.testing.assert_allclose(eye.log_probs(pixels), columns(pixels[None])[0], rtol=1e-6)
    assert eye.frame_shift == 8


def test_memory_does_not_grow_with_the_length() -> None:
    """Ten minutes and an hour, in blocks of a second, have the same peak: a few pieces."""

    def blocks(minutes: int) -> Iterator[Array]:
        return (np.full(RATE, 0.1, np.float32) for _ in range(60 * minutes))

    def peak(minutes: int) -> tuple[int, int]:
        tracemalloc.start()
        count = sum(map(len, recogniser(10 * SECOND, 10, 2, level).frames(blocks(minutes))))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return count, highest

    def level(samples: Array) -> Array:
        loud = np.abs(samples[:, ::STEP, None])
        return np.concatenate([-loud] * CLASSES, axis=2)

    (short, low), (long, high) = peak(10), peak(60)
    assert (short, long) == (600 * SECOND, 3600 * SECOND)
    assert high < 1.05 * low < 16e6


def test_all_scores_are_in_memory_once() -> None:
    """Of an hour, 191 classes. The parts are not kept beside the whole, which has at most an eighth to spare."""

    def level(samples: Array) -> Array:
        return np.full((len(samples), samples.shape[1] // STEP, 191), -1, np.float32)

    hears = Recogniser(level, SoundInput(RATE), [f"l{c}" for c in range(191)], 0, STEP, piece=10 * SECOND)
    tracemalloc.start()
    scores = hears.log_probs(np.zeros(RATE, np.float32) for _ in range(3600))
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert scores.shape == (3600 * SECOND, 191)
    assert (scores == -1).all()
    assert highest < 1.125 * scores.nbytes + 16e6


def returning(*shape: int, value: float = -1.0, dtype: type = np.float32) -> Any:
    return lambda samples: np.full(shape, value, dtype)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (returning(10, CLASSES), r"returned shape \(10, 5\) and dtype float32: expected floats \(N, T, C\), with N=1"),
        (returning(1, 10, 4), r"shape \(1, 10, 4\).*C=5, the number of labels"),
        (returning(1, 10, CLASSES, dtype=np.int64), "dtype int64: expected floats"),
        (returning(1, 10, CLASSES, value=3), "scores up to 3: expected log-probabilities; apply log_softmax to logits"),
        (returning(1, 10, CLASSES, value=np.nan), "scores up to nan: expected log-probabilities$"),
        (returning(1, 0, CLASSES), "gives 0 frames for an input of length 16000: expected at least 1"),
    ],
)
def test_what_a_network_returns_is_checked(network: Any, message: str) -> None:
    with pytest.raises(CTCError, match=message):
        recogniser(WHOLE, 0, network=network).log_probs(sound(1))


def test_a_step_that_is_too_small_is_told() -> None:
    wrong = Recogniser(convolution, SoundInput(RATE), LABELS, 0, step=160, piece=100, overlap=10)
    with pytest.raises(
        CTCError, match=r"gives 50 frames for an input of length 16000: expected at least 90.*the step wrong"
    ):
        wrong.log_probs(sound(3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(0, np.float32), "the input is empty"),
        (np.zeros((3, 2), np.float32), r"shape \(3, 2\) and dtype float32: expected floats, \(M,\) samples"),
        (np.zeros(3, np.int16), "dtype int16: expected floats"),
        (np.full(3, np.nan, np.float32), "NaN or infinite"),
    ],
)
def test_inputs_are_checked(values: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(CTCError, match=message):
        recogniser(WHOLE, 0).log_probs(values)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"takes": SoundInput(0)}, "rate = 0"),
        ({"takes": ImageInput(0)}, "height = 0"),
        ({"labels": ["a", "a"]}, "both 'a'"),
        ({"blank": 5}, "blank = 5"),
        ({"step": 0}, "step = 0"),
        ({"delay": -0.1}, r"delay = -0\.1"),
        ({"stretch": -0.1}, r"stretch = -0\.1"),
        ({"piece": 20, "overlap": 10}, "piece = 20"),
        ({"batch": 0}, "batch = 0"),
    ],
)
def test_numbers_are_checked(changed: dict[str, Any], message: str) -> None:
    given = {"network": convolution, "takes": SoundInput(RATE), "labels": LABELS, "blank": 0, "step": STEP}
    with pytest.raises(CTCError, match=message):
        Recogniser(**(given | changed))
