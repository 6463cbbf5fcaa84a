"""Every kind of bad input to the loss, and what its message must say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ctckit

GOOD: dict[str, Any] = {
    "log_probs": np.zeros((6, 3, 5), np.float32),
    "targets": np.array([[1, 2, 3], [4, 4, 0], [2, 0, 0]]),
    "input_lengths": [6, 5, 4],
    "target_lengths": [3, 2, 1],
}
SCORES = GOOD["log_probs"]
SINGLE = {"log_probs": SCORES[:, 0], "targets": [1, 2, 3], "input_lengths": 6, "target_lengths": 3}
END_TO_END = {"targets": [1, 2, 3, 4, 4, 2]}


def with_token(n: int, s: int, value: int) -> dict[str, Any]:
    targets = GOOD["targets"].copy()
    targets[n, s] = value
    return {"targets": targets}


SHAPES = "expected (T, N, C) frames x batch x classes, or (T, C) for one sample"
DTYPES = "expected float64, float32, bfloat16 or float16"
CLASSES = "log_probs has C=5 classes (0..4), blank=0"
VOCABULARY = "do labels and network agree on the vocabulary?"
INTEGERS = "expected integers (any integer dtype)"
FRAMES = "expected 0..6, since log_probs has T=6 frames; count frames after downsampling"

# What is changed in the call above, and what the message must say: its beginning, and parts.
BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    # log_probs
    "scores of rank 0": ({"log_probs": np.float32(1)}, ["log_probs has shape ()", SHAPES]),
    "scores of rank 1": ({"log_probs": SCORES[0, 0]}, ["log_probs has shape (5,)", SHAPES]),
    "scores of rank 4": ({"log_probs": SCORES[None]}, ["log_probs has shape (1, 6, 3, 5)", SHAPES]),
    "integer scores": ({"log_probs": SCORES.astype(int)}, ["log_probs has dtype int64", DTYPES, "astype('float32')"]),
    "complex scores": ({"log_probs": SCORES.astype(complex)}, ["log_probs has dtype complex128", DTYPES]),
    "boolean scores": ({"log_probs": SCORES > 0}, ["log_probs has dtype bool", DTYPES]),
    "scores of objects": ({"log_probs": None}, ["log_probs has dtype object", DTYPES]),
    "scores of strings": ({"log_probs": SCORES.astype(str)}, ["log_probs has dtype <U", DTYPES]),
    "ragged scores": ({"log_probs": [[0.0, 1.0], [0.0]]}, ["log_probs is not a rectangular array"]),
    "no samples": (
        {"log_probs": SCORES[:, :0]},
        ["log_probs has shape (6, 0, 5)", "at least one sample (N)", "skip empty"],
    ),
    "no classes": ({"log_probs": SCORES[..., :0]}, ["log_probs has shape (6, 3, 0)", "at least one class, the blank"]),
    "frames without end": (
        {"log_probs": np.broadcast_to(SCORES[:1], (2**26 + 1, 3, 5))},
        ["log_probs has T=67108865 frames", "at most 67108864", "cut the sequence"],
    ),
    "targets without end": (
        {"targets": np.broadcast_to(np.int8(1), (3, 2**26 + 1))},
        ["targets has S=67108865 tokens", "at most 67108864", "cut the sequence"],
    ),
    "one target without end": (
        SINGLE | {"targets": np.broadcast_to(np.int8(1), 2**26 + 1)},
        ["targets has S=67108865 tokens", "at most 67108864", "cut the sequence"],
    ),
    "no classes, one sample": (
        SINGLE | {"log_probs": SCORES[:, 0, :0]},
        ["log_probs has shape (6, 0)", "at least one class"],
    ),
    "logits are called so": (
        {"log_probs": SCORES.astype(int), "from_logits": True},
        ["logits has dtype int64", DTYPES],
    ),
    # targets
    "a token below 0": (
        with_token(1, 0, -1),
        ["targets[1, 0] = -1 is not a class", CLASSES, "mask padding with target_lengths"],
    ),
    "padding counted in": (with_token(0, 2, -100), ["targets[0, 2] = -100 is not a class", CLASSES, "target_lengths"]),
    "a token of C": (with_token(1, 1, 5), ["targets[1, 1] = 5 is not a class", CLASSES, VOCABULARY]),
    "a token far beyond C": (
        with_token(2, 0, 2**40),
        ["targets[2, 0] = 1099511627776 is not a class", CLASSES, VOCABULARY],
    ),
    "a token that is the blank": (
        with_token(0, 1, 0),
        [
            "targets[0, 1] = 0 is the blank",
            "expected tokens only",
            "shift the labels, or pass the blank's index as blank= (now 0)",
        ],
    ),
    "a token that is another blank": ({"blank": 4}, ["targets[1, 0] = 4 is the blank", "(now 4)"]),
    "a token end to end": (
        {"targets": [1, 2, 3, 4, 7, 2]},
        ["targets[4] (sample 1, token 1) = 7 is not a class", CLASSES, VOCABULARY],
    ),
    "the blank end to end": ({"targets": [1, 2, 3, 4, 4, 0]}, ["targets[5] (sample 2, token 0) = 0 is the blank"]),
    "a token of a single sample": (
        SINGLE | {"targets": [1, 9, 2]},
        ["targets[1] = 9 is not a class", CLASSES, VOCABULARY],
    ),
    "a token of a single sample in a row": (
        SINGLE | {"targets": [[1, 9, 2]]},
        ["targets[0, 1] = 9 is not a class", CLASSES, VOCABULARY],
    ),
    "float targets": ({"targets": GOOD["targets"] * 1.0}, ["targets has dtype float64", INTEGERS]),
    "boolean targets": ({"targets": GOOD["targets"] > 0}, ["targets has dtype bool", INTEGERS]),
    "ragged targets": (
        {"targets": [[1, 2, 3], [4, 4], [2]]},
        ["targets is not a rectangular array", "pad its rows to one length"],
    ),
    "no targets": ({"targets": None}, ["targets has dtype object", INTEGERS]),
    "text as targets": ({"targets": ["cat", "see", "sat"]}, ["targets has dtype <U3", INTEGERS]),
    "targets of rank 0": (
        {"targets": 1},
        ["targets has shape ()", "expected (N, S) padded, or one dimension, end to end"],
    ),
    "targets of rank 3": (
        {"targets": GOOD["targets"][None]},
        ["targets has shape (1, 3, 3)", "expected (N, S) padded"],
    ),
    "too few rows": (
        {"targets": GOOD["targets"][:2]},
        ["targets has shape (2, 3)", "expected (3, S), a row for each of the N=3"],
    ),
    "rows for one sample": (SINGLE | {"targets": [[1, 2, 3]] * 2}, ["targets has shape (2, 3)", "expected (1, S)"]),
    # input_lengths
    "a length beyond T": ({"input_lengths": [6, 7, 4]}, ["input_lengths[1] = 7 is out of range", FRAMES]),
    "a negative length": ({"input_lengths": [6, 5, -1]}, ["input_lengths[2] = -1 is out of range", FRAMES]),
    "a length beyond int64": (
        {"input_lengths": np.array([6, 5, 2**64 - 1], np.uint64)},
        ["input_lengths[2] = 18446744073709551615 is out of range", FRAMES],
    ),
    "a single length beyond T": (SINGLE | {"input_lengths": 7}, ["input_lengths = 7 is out of range", FRAMES]),
    "float lengths": ({"input_lengths": [6.0, 5.0, 4.0]}, ["input_lengths has dtype float64", INTEGERS]),
    "boolean lengths": ({"input_lengths": [True] * 3}, ["input_lengths has dtype bool", INTEGERS]),
    "no lengths": ({"input_lengths": None}, ["input_lengths has dtype object", INTEGERS]),
    "ragged lengths": ({"input_lengths": [[6, 5], [4]]}, ["input_lengths is not a rectangular array"]),
    "too few lengths": (
        {"input_lengths": [6, 5]},
        ["input_lengths has shape (2,)", "expected (3,), one length for each of the N=3"],
    ),
    "one length for all": ({"input_lengths": 6}, ["input_lengths has shape ()", "expected (3,), one length for each"]),
    "lengths of rank 2": ({"input_lengths": [[6, 5, 4]] * 2}, ["input_lengths has shape (2, 3)", "expected (3,)"]),
    "a column of too few lengths": (
        {"input_lengths": [[6], [5]]},
        ["input_lengths has shape (2, 1)", "expected (3,), one length for each of the N=3"],
    ),
    "masked scores": (
        {"log_probs": np.ma.masked_less(SCORES - np.eye(5)[0], 0)},
        ["log_probs is a masked array", "18 of its entries are masked", "leave padding out with the lengths"],
    ),
    "masked targets": (
        {"targets": np.ma.masked_equal(GOOD["targets"], 0)},
        ["targets is a masked array", "3 of its entries are masked", ".filled()"],
    ),
    # target_lengths
    "a target longer than its row": (
        {"target_lengths": [3, 4, 1]},
        [
            "target_lengths[1] = 4 is out of range",
            "expected 0..3, since targets has S=3 tokens a sample",
            "count tokens, not padding",
        ],
    ),
    "a negative target length": (
        {"target_lengths": [3, 2, -2]},
        ["target_lengths[2] = -2 is out of range", "expected 0..3"],
    ),
    "a negative target length end to end": (
        END_TO_END | {"target_lengths": [3, 4, -1]},
        ["target_lengths[2] = -1 is out of range", "expected 0..6, since targets has 6 tokens in all"],
    ),
    "too few tokens end to end": (
        END_TO_END | {"target_lengths": [3, 2, 2]},
        [
            "target_lengths sums to 7",
            "expected 6, the tokens in the one-dimensional targets",
            "pass padded targets as (N, S)",
        ],
    ),
    "too many tokens end to end": (
        END_TO_END | {"target_lengths": [3, 1, 1]},
        ["target_lengths sums to 5", "or drop the padding"],
    ),
    "one target end to end is too long": (
        END_TO_END | {"target_lengths": [3, 2, 9]},
        ["target_lengths[2] = 9", "expected 0..6"],
    ),
    "float target lengths": ({"target_lengths": [3.0, 2.0, 1.0]}, ["target_lengths has dtype float64", INTEGERS]),
    "boolean target lengths": ({"target_lengths": np.ones(3, bool)}, ["target_lengths has dtype bool", INTEGERS]),
    "too many target lengths": ({"target_lengths": [3, 2, 1, 1]}, ["target_lengths has shape (4,)", "expected (3,)"]),
    "lengths exchanged": (
        {"input_lengths": [3, 2, 1], "target_lengths": [6, 5, 4]},
        [
            "target_lengths[0] = 6 is out of range: expected 0..3",
            "all lengths are in range if input_lengths and target_lengths are exchanged",
            "pass input_lengths, the frames, before target_lengths",
        ],
    ),
    "lengths exchanged end to end": (
        END_TO_END | {"input_lengths": [3, 2, 1], "target_lengths": [6, 5, 4]},
        ["target_lengths sums to 15: expected 6", "which is what input_lengths sums to", "if the two are exchanged"],
    ),
    "lengths exchanged, one sample": (
        SINGLE | {"input_lengths": 3, "target_lengths": 6},
        ["target_lengths = 6 is out of range: expected 0..3", "are exchanged"],
    ),
    # blank
    "blank of C": (
        {"blank": 5},
        ["blank = 5 is not a class", "log_probs has C=5 classes (0..4)", "the blank's column"],
    ),
    "negative blank": ({"blank": -1}, ["blank = -1 is not a class", "(0..4)"]),
    "float blank": ({"blank": 0.0}, ["blank = 0.0 has type float", "expected an integer"]),
    "boolean blank": ({"blank": False}, ["blank = False has type bool", "expected an integer"]),
    "text as blank": ({"blank": "_"}, ["blank = '_' has type str", "expected an integer"]),
    "no blank": ({"blank": None}, ["blank = None has type NoneType", "expected an integer"]),
}
REDUCTIONS: dict[str, tuple[dict[str, Any], list[str]]] = {
    repr(reduction): ({"reduction": reduction}, [f"reduction = {reduction!r} is unknown", "'none', 'mean', 'sum'"])
    for reduction in ("average", "Mean", "", None, 0)
}


def check(function: Callable[..., Any], arguments: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ctckit.CTCError) as caught:
        function(**arguments)
    message = str(caught.value)
    assert message.startswith(parts[0])
    for part in parts[1:]:
        assert part in message
    assert isinstance(caught.value, ValueError)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # one traceback, not two
