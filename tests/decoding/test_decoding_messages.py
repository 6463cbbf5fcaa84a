"""Every kind of bad input to the decoder, and what its message must say."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from support.codes import DECODING
from support.messages import check

from ctckit import CTCError, Decoder, LanguageModel, Stream, Vocabulary, greedy_decode, rescore, tune
from ctckit.decoding import by_prefix
from ctckit.language import PrefixModel

LABELS = ["<blank>", "|", "a", "b", "c"]
SCORES = np.log(np.full((6, 3, 5), 0.2))

MODEL = LanguageModel.read(
    BytesIO(
        b"\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-1 <unk>\n-99 <s>\n-1 </s>\n-1.5 a 200\n\n"
        b"\\2-grams:\n-1 a a\n\n\\end\\\n"
    )
)

CALLS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "one class more than labels": (
        {"log_probs": np.zeros((6, 3, 6))},
        ["log_probs has C=6 classes and there are 5 labels", "the blank's included", "is the blank missing?"],
    ),
    "other labels": (
        {"log_probs": np.zeros((6, 3, 9))},
        ["log_probs has C=9 classes and there are 5 labels", "do labels and network agree"],
    ),
    "classes first": (
        {"log_probs": np.zeros((5, 9))},
        ["log_probs has C=9 classes and there are 5 labels", "are the axes exchanged?"],
    ),
    "logits are called so": (
        {"log_probs": np.zeros((6, 9)), "from_logits": True},
        ["logits has C=9 classes and there are 5 labels"],
    ),
    "probabilities": (
        {"log_probs": np.exp(SCORES)},
        ["log_probs holds probabilities, which are at least 0 and add up to 1 in each frame", "pass np.log(log_probs)"],
    ),
    "probabilities as logits": (
        {"log_probs": np.exp(SCORES).astype(np.float32), "from_logits": True},
        ["logits holds probabilities"],
    ),
    "probabilities in half precision": ({"log_probs": np.exp(SCORES).astype(np.float16)}, ["log_probs holds prob"]),
    "integers": ({"log_probs": np.zeros((6, 5), int)}, ["log_probs has dtype int64", "expected float64, float32"]),
    "complex numbers": ({"log_probs": np.zeros((6, 5), complex)}, ["log_probs has dtype complex128"]),
    "rank 1": ({"log_probs": np.zeros(5)}, ["log_probs has shape (5,)", "expected (T, N, C)"]),
    "rank 4": ({"log_probs": SCORES[None]}, ["log_probs has shape (1, 6, 3, 5)", "expected (T, N, C)"]),
    "no samples": ({"log_probs": SCORES[:, :0]}, ["log_probs has shape (6, 0, 5)", "at least one sample"]),
    "nothing": ({"log_probs": None}, ["log_probs has dtype object"]),
    "masked": ({"log_probs": np.ma.masked_less(SCORES, 0)}, ["log_probs is a masked array"]),
    "a length beyond T": (
        {"log_probs": SCORES, "input_lengths": [6, 7, 4]},
        ["input_lengths[1] = 7 is out of range: expected 0..6, since log_probs has T=6 frames"],
    ),
    "a negative length": ({"log_probs": SCORES, "input_lengths": [6, 5, -1]}, ["input_lengths[2] = -1 is out of"]),
    "float lengths": ({"log_probs": SCORES, "input_lengths": [6.0, 5.0, 4.0]}, ["input_lengths has dtype float64"]),
    "too few lengths": (
        {"log_probs": SCORES, "input_lengths": [6, 5]},
        ["input_lengths has shape (2,)", "expected (3,), one length for each of the N=3 samples"],
    ),
    "batch first": (
        {"log_probs": SCORES, "input_lengths": [3, 2, 1, 3, 3, 3]},
        ["log_probs has shape (6, 3, 5), so N=3 samples of T=6 frames, but lengths are of 6 samples", "swapaxes(0, 1)"],
    ),
    "one sample, batch first": (
        {"log_probs": SCORES[:, 0][None]},
        ["log_probs has shape (1, 6, 5), so N=6 samples of one frame", "pass log_probs[0]", "input_lengths=[1] * 6"],
    ),
    "one sample, batch first, with its length": (
        {"log_probs": SCORES[:, 0][None], "input_lengths": [6]},
        ["log_probs has shape (1, 6, 5), so N=6 samples of T=1 frames, but lengths are of 1 sample"],
    ),
    "an item of a list": (
        {"log_probs": [SCORES[:, 0], SCORES[:, 0, :4]]},
        ["log_probs[1] has C=4 classes and there are 5 labels"],
    ),
    "probabilities in a list": (
        {"log_probs": [SCORES[:, 0], np.exp(SCORES[:, 0])]},
        ["log_probs[1] holds probabilities", "pass np.log(log_probs[1])"],
    ),
    "a length of a list": (
        {"log_probs": [SCORES[:, 0], SCORES[:3, 0]], "input_lengths": [6, 4]},
        ["input_lengths[1] = 4 is out of range: expected 0..3, since log_probs[1] has T=3 frames"],
    ),
    "lengths of a list": (
        {"log_probs": [SCORES[:, 0]] * 2, "input_lengths": [6]},
        ["input_lengths has shape (1,)", "expected (2,), one length for each of the N=2 samples"],
    ),
    "a flag that is none": ({"log_probs": SCORES, "from_logits": "yes"}, ["from_logits = 'yes': expected True or"]),
}
DECODES = CALLS | {
    "more texts than a beam holds": (
        {"log_probs": SCORES, "nbest": 51},
        ["nbest = 51: expected at most beam_width = 50", "pass a greater beam_width to the decoder"],
    ),
    "no texts": ({"log_probs": SCORES, "nbest": 0}, ["nbest = 0: expected an integer of at least 1"]),
    "half a text": ({"log_probs": SCORES, "nbest": 1.5}, ["nbest = 1.5: expected an integer"]),
    "an empty hotword": ({"log_probs": SCORES, "hotwords": ["a", " "]}, ["hotwords: phrase 2 is ' '"]),
    "a hotword that is none": ({"log_probs": SCORES, "hotwords": [1]}, ["hotwords: phrase 1 is 1: expected a text"]),
    "a hotword without a weight": (
        {"log_probs": SCORES, "hotwords": {"a": float("nan")}},
        ["hotwords: 'a' has the weight nan"],
    ),
    "no file of hotwords": ({"log_probs": SCORES, "hotwords": "new york"}, ["hotwords = 'new york'", "no such file"]),
    "a hotword with its weight": (
        {"log_probs": SCORES, "hotwords": [("a", 8.0)]},
        ["hotwords: phrase 1 is ('a', 8.0)", "mapping"],
    ),
    "a hotword of bytes": ({"log_probs": SCORES, "hotwords": b"ab"}, ["hotwords has type bytes: expected phrases"]),
    "an array among hotwords": ({"log_probs": SCORES, "hotwords": [np.array(["a", "b"])]}, ["hotwords: phrase 1 is"]),
    "a hotword that outweighs all": (
        {"log_probs": SCORES, "hotwords": {"a": 301}},
        ["hotwords: 'a' has the weight 301: expected nats, a number from -300 to 300"],
    ),
    "hotwords that outweigh all": (  # at the end of the last, 40 phrases of 8 nats each are complete
        {"log_probs": SCORES, "hotwords": [" ".join("a" * n) for n in range(1, 41)]},
        ["hotwords: phrases within one another", "nats together: expected at most 300; give them smaller weights"],
    ),
    "hotwords of no kind": ({"log_probs": SCORES, "hotwords": 3}, ["hotwords has type int: expected phrases"]),
}
DECODERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "labels twice": ({"vocabulary": ["<blank>", "a", "a"]}, ["labels[1] and labels[2] are both 'a'"]),
    "no blank": ({"vocabulary": ["a", "b"]}, ["the blank can't be told from the 2 labels"]),
    "a label that is none": ({"vocabulary": ["<blank>", 1]}, ["labels[1] = 1 has type int"]),
    "labels in one string": ({"vocabulary": "labels.txt"}, ["labels = 'labels.txt': expected a list of names"]),
    "no labels": ({"vocabulary": None}, ["labels = None: expected a list of names"]),
    "no beam": ({"beam_width": 0}, ["beam_width = 0: expected an integer of at least 1"]),
    "a beam of floats": ({"beam_width": 50.0}, ["beam_width = 50.0: expected an integer"]),
    "alpha below 0": ({"alpha": -0.1}, ["alpha = -0.1: expected a finite number of at least 0"]),
    "alpha NaN": ({"alpha": float("nan")}, ["alpha = nan: expected a finite number of at least 0"]),
    "alpha of text": ({"alpha": "0.5"}, ["alpha = '0.5': expected a finite number"]),
    "beta NaN": ({"beta": float("nan")}, ["beta = nan: expected a finite number"]),
    "beta without end": ({"beta": float("inf")}, ["beta = inf: expected a finite number"]),
    "unknown words of NaN": (
        {"unknown_score": float("nan")},
        ["unknown_score = nan: expected a finite number, or -inf"],
    ),
    "unknown words of inf": (
        {"unknown_score": float("inf")},
        ["unknown_score = inf: expected a finite number, or -inf"],
    ),
    "a threshold below 0": ({"beam_threshold": -1}, ["beam_threshold = -1: expected a finite number of at least 0"]),
    "a beam without end": ({"beam_width": 2**40}, [f"beam_width = {2**40}: expected an integer of at most 1048576"]),
    "beta too large": ({"beta": 301}, ["beta = 301: expected a finite number of at most 300"]),
    "beta too small": ({"beta": -301}, ["beta = -301: expected a finite number of at least -300"]),
    "unknown words too large": (
        {"unknown_score": 301},
        ["unknown_score = 301: expected a finite number of at"],
    ),
    "unknown words that outweigh all": (
        {"unknown_score": 200, "alpha": 10, "lexicon": ["ab"]},
        ["alpha = 10 and beta = 1 may make a word worth 2001 nats: expected at most 300"],
    ),
    "a model with back-offs that outweigh all": (
        {"language_model": MODEL},
        ["language_model may give a word an ln P of 458 nats: expected at most 300"],
    ),
    "no tokens": ({"tokens_per_frame": 0}, ["tokens_per_frame = 0: expected an integer of at least 1"]),
    "recombine": ({"recombine": "no"}, ["recombine = 'no': expected True or False"]),
    "exact scores": ({"exact_scores": 2}, ["exact_scores = 2: expected True or False"]),
    "sentence bounds": ({"sentence_bounds": "yes"}, ["sentence_bounds = 'yes': expected True or False"]),
    "no words": ({"lexicon": []}, ["the lexicon is empty"]),
    "no such model": ({"language_model": "no/such.arpa"}, ["no/such.arpa"]),
    "a model of no kind": ({"language_model": 3}, ["language_model has type int", "path of one"]),
    "a lexicon of no kind": ({"lexicon": 3}, ["lexicon has type int", "expected words"]),
}


@pytest.mark.parametrize("name", DECODES)
def test_calls(name: str) -> None:
    arguments, parts = DECODES[name]
    check(Decoder(LABELS).decode, arguments, parts)


@pytest.mark.parametrize("name", CALLS)
def test_greedy_calls(name: str) -> None:
    arguments, parts = CALLS[name]
    check(greedy_decode, {**arguments, "vocabulary": Vocabulary(LABELS)}, parts)


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str) -> None:
    arguments, parts = DECODERS[name]
    check(Decoder, {"vocabulary": LABELS, **arguments}, parts)


def test_scores_that_are_no_probabilities() -> None:
    """Log-probabilities of a single sure class, logits that add up to 1 in some frames, or by hand."""
    Decoder(["<blank>"]).decode(np.zeros((3, 1)))
    logits = np.full((6, 5), 0.2)
    logits[3, 2] = 3
    Decoder(LABELS).decode(logits, from_logits=True)
    Decoder(LABELS).decode(np.eye(5), from_logits=True)
    Decoder(LABELS).decode(np.zeros((4, 5)))


def test_threshold_0() -> None:
    """Only prefixes as good as a frame's best are kept, as with a beam of one."""
    scores = np.log(np.random.default_rng(1).dirichlet(np.ones(5), (30, 3)))
    narrow, strict = Decoder(LABELS, beam_width=1), Decoder(LABELS, beam_threshold=0)
    assert [h.text for h in strict.decode(scores)] == [h.text for h in narrow.decode(scores)]


def test_hotwords_of_other_floats() -> None:
    """Weights are compared with those of earlier calls as Python's floats: float16 cannot hold 1e-30."""
    decoder = Decoder(LABELS)
    for weight in (8.0, np.float16(8), 1e-30, np.float32(8)):
        decoder.decode(SCORES, hotwords={"a": weight})


def finished() -> Stream:
    stream = Decoder(LABELS).stream()
    stream.feed(SCORES[:, 0])
    stream.finish()
    return stream


FOUND = Decoder(LABELS).decode(SCORES[:, 0])
WRONG: list[Callable[[], object]] = [
    lambda: Decoder(LABELS).stream().feed(np.zeros(3)),
    lambda: Decoder(LABELS).decode(np.zeros((2, 6))),
    lambda: rescore(FOUND, lambda texts: [np.nan], 1),
    lambda: rescore(FOUND, lambda texts: [0.0, 0.0], 1),
    lambda: Decoder(LABELS, language_model=MODEL),
    lambda: Decoder(LABELS).decode(SCORES, nbest=99),
    lambda: tune(Decoder(LABELS), SCORES, ["a"] * 3),
    lambda: Decoder(LABELS).stream().finish()[0].alignment,
    lambda: Decoder(LABELS, language_model=3),  # type: ignore[arg-type]
    lambda: Decoder(LABELS).decode(SCORES, hotwords=3),  # type: ignore[arg-type]
    lambda: Decoder(LABELS, lexicon=3),  # type: ignore[arg-type]
    lambda: Decoder(LABELS, beta=np.nan),
    lambda: tune(Decoder(LABELS, lexicon=["a"]), SCORES, "a"),
    lambda: Decoder(LABELS).decode(np.exp(SCORES)),
    lambda: finished().feed(SCORES[:, 0]),
    lambda: tune(Decoder(LABELS, lexicon=["a"]), SCORES, ["a"]),
    lambda: by_prefix(lambda prefixes: np.zeros((len(prefixes), 2)), lambda text: [7])(["a"]),
    lambda: Decoder(LABELS, lexicon=["ab"], unknown_score=200, alpha=10),
    lambda: Decoder(LABELS, language_model=PrefixModel(lambda p: np.ones((len(p), 2)), ["</s>", "a"])).decode(SCORES),
    lambda: greedy_decode(SCORES[:1]),
]


def test_every_code_is_raised_and_worded() -> None:
    codes = set()
    for wrong in WRONG:
        with pytest.raises(CTCError) as caught:
            wrong()
        fault = caught.value.fault
        assert fault is not None
        codes.add(fault.code)
        chinese = fault.message("zh")
        assert re.search("[一-鿿]", chinese)
        assert not re.search(r"\{\w", fault.message() + chinese)
    assert codes == DECODING


def test_samples_of_one_frame() -> None:
    """They are not a mistake if the lengths are given, or if there is only one sample."""
    decoder, one = Decoder(LABELS), np.log([[0.1, 0.1, 0.5, 0.2, 0.1], [0.1, 0.1, 0.2, 0.5, 0.1]])
    assert [h.text for h in decoder.decode(one[None], [1, 1])] == ["a", "b"]
    assert [h.text for h in decoder.decode(one[None, :1])] == ["a"]
    assert [h.text for h in greedy_decode(one[None], [1, 1], vocabulary=Vocabulary(LABELS))] == ["a", "b"]


def test_logits_that_are_not_called_so() -> None:
    """They may be intended, as when priors were subtracted: texts are found, and only their sample has a note."""
    decoder, scores = Decoder(LABELS), SCORES.copy()
    scores[:, 1] += 4
    plain, noted, empty = decoder.decode(scores, [6, 6, 0])
    assert (plain.notes, empty.notes) == ((), ())
    assert "pass from_logits=True for logits" in noted.notes[0]
    assert noted.text == plain.text
    assert not any(found.notes for found in decoder.decode(scores, from_logits=True))
    assert greedy_decode(scores, [6, 6, 0], vocabulary=Vocabulary(LABELS))[1].notes == noted.notes

    one = np.log(np.full((6, 5), 0.19))
    assert Decoder(LABELS).decode(one)[0].notes == ()
    one[4] += 0.5  # no score is above 0, and 5 · 0.19 · e^0.5 is 1.57
    (found,) = pickle.loads(pickle.dumps(Decoder(LABELS).decode(one)))
    assert found.notes[0].startswith("the probabilities of frame 4 add up to 1.57")
