"""Another language model in a second pass: sums, orders, each prefix asked for once; a small network that helps."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ctckit import CTCError, Decoder, Status, rescore
from ctckit.decoding import by_prefix
from ctckit.text.reading import Errors, word_errors

LABELS = ["<blank>", " ", *"abcdefgh"]


def decoded(seed: int = 0, samples: int = 3, nbest: int = 8) -> list:
    scores = np.random.default_rng(seed).normal(size=(12, samples, len(LABELS)))
    return Decoder(LABELS).decode(scores, from_logits=True, nbest=nbest)


def letters(texts: Sequence[str]) -> list[float]:
    return [-0.7 * len(text) for text in texts]


@pytest.mark.parametrize("weight", [0.0, 0.3, 4.0])
def test_scores_are_sums_and_order_the_texts(weight: float) -> None:
    before = decoded()
    after = rescore(before, letters, weight)
    for old, new in zip(before, after, strict=True):
        expected = sorted(((t.score - weight * 0.7 * len(t.text), t.text) for t in old), key=lambda pair: -pair[0])
        assert [text.text for text in new] == [text for _, text in expected]
        np.testing.assert_allclose([text.score for text in new], [score for score, _ in expected], rtol=1e-12)
        for text in new:
            parts = (text.ctc_score, text.language_score, text.word_score, text.hotword_score, text.second_pass_score)
            assert text.score == pytest.approx(sum(parts), rel=1e-14)
            assert text.second_pass_score == pytest.approx(-weight * 0.7 * len(text.text))
    assert all(text.second_pass_score == 0 for sample in before for text in sample)


def test_the_search_language_gets_a_new_weight() -> None:
    lexicon = Decoder(LABELS, lexicon=["ab", "a", "cab"], unknown_score=-3, alpha=0.5)
    found = lexicon.decode(np.random.default_rng(1).normal(size=(9, len(LABELS))), from_logits=True, nbest=6)
    for text in rescore(found, letters, 1.0, alpha=2.0)[0]:
        assert text.language_score == 2.0 * text.language
    assert {text.language for text in found[0]} - {0.0}


def test_the_model_is_asked_once_for_each_text() -> None:
    asked: list[list[str]] = []

    def model(texts: Sequence[str]) -> list[float]:
        asked.append(list(texts))
        return [0.0] * len(texts)

    found = decoded(samples=2)
    rescore([*found, *found], model, 1.0)
    (texts,) = asked
    assert sorted(texts) == sorted({text.text for sample in found for text in sample})


def test_samples_without_a_text_stay_as_they_are() -> None:
    scores = np.zeros((4, len(LABELS)))
    scores[1, 2] = np.nan
    (found,) = rescore(Decoder(LABELS).decode(scores, from_logits=True), letters, 1.0)
    assert (found.status, list(found)) == (Status.NOT_FINITE, [])


def test_impossible_texts_come_last() -> None:
    found = decoded()
    first = [sample[0].text for sample in found]
    for sample, text in zip(
        rescore(found, lambda t: [-math.inf if x in first else 0 for x in t], 1.0), first, strict=True
    ):
        assert sample[-1].text == text
        assert sample[-1].score == -math.inf
    for sample, text in zip(rescore(found, lambda t: [-math.inf] * len(t), 0.0), first, strict=True):
        assert sample.text == text


class TestPrefixes:
    """A model that gives the probabilities of what follows a prefix."""

    @pytest.mark.parametrize("batch", [1, 3, 1000])
    def test_each_prefix_is_asked_once_in_order_of_length(self, batch: int) -> None:
        calls: list[list[tuple[int, ...]]] = []

        def following(prefixes: Sequence[tuple[int, ...]]) -> npt.NDArray[np.float64]:
            calls.append(list(prefixes))
            return np.array([[-math.log(2 + sum(prefix) + v) for v in range(4)] for prefix in prefixes])

        texts = ["", "ab", "abc", "abb", "c"]
        model = by_prefix(following, lambda text: [ord(letter) - 97 for letter in text], end=3, batch=batch)
        expected = []
        for text in texts:
            tokens = [*(ord(letter) - 97 for letter in text), 3]
            expected.append(sum(-math.log(2 + sum(tokens[:i]) + tokens[i]) for i in range(len(tokens))))
        np.testing.assert_allclose(model(texts), expected, rtol=1e-14)
        asked = [prefix for call in calls for prefix in call]
        assert asked == sorted(asked, key=lambda prefix: (len(prefix), prefix))
        assert set(asked) == {(), (0,), (0, 1), (0, 1, 2), (0, 1, 1), (2,)}
        assert len(asked) == len(set(asked))
        assert max(map(len, calls)) <= batch

    def test_texts_without_an_end(self) -> None:
        model = by_prefix(lambda prefixes: np.full((len(prefixes), 2), -1.0), lambda text: [0] * len(text))
        assert model(["", "a", "aaa"]).tolist() == [0, -1, -3]


class TestBadAnswers:
    """What a model must not return."""

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            ([0.0], r"model returned an array of shape \(1,\): expected \(\d+,\), nats"),
            (math.nan, r"model\[0\] returned nan: expected nats, finite or -inf"),
            (math.inf, r"model\[0\] returned inf"),
        ],
    )
    def test_of_texts(self, answer: object, message: str) -> None:
        def model(texts: Sequence[str]) -> object:
            return answer if isinstance(answer, list) else [answer] * len(texts)

        with pytest.raises(CTCError, match=message):
            rescore(decoded(), model, 1.0)  # type: ignore[arg-type]

    def test_of_prefixes(self) -> None:
        with pytest.raises(CTCError, match=r"model returned an array of shape \(1,\): expected \(1, V\), nats"):
            by_prefix(lambda prefixes: np.zeros(len(prefixes)), lambda text: [0])(["a"])
        with pytest.raises(
            CTCError, match="encode returned the token 5: expected one of the 3 tokens of the model's answer"
        ):
            by_prefix(lambda prefixes: np.zeros((len(prefixes), 3)), lambda text: [5])(["a"])

    @pytest.mark.parametrize("weights", [{"weight": -1}, {"weight": math.nan}, {"weight": 1, "alpha": -1}])
    def test_weights(self, weights: dict[str, float]) -> None:
        with pytest.raises(CTCError, match="expected a finite number of at least 0"):
            rescore(decoded(), letters, **weights)


def sentences(count: int, seed: int) -> list[str]:
    """Texts with a rule that only whole texts show: the name at the beginning is repeated at the end."""
    rng = random.Random(seed)
    return [
        f"{name} {rng.choice(['ad', 'be', 'fed'])} {name}"
        for name in rng.choices(["bad", "bed", "had", "head"], k=count)
    ]


def heard(text: str, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Scores of a recogniser that is unsure of every letter."""
    classes = [c for letter in text for c in (LABELS.index(letter), 0)]
    scores = rng.normal(0, 1.3, (len(classes), len(LABELS)))
    scores[np.arange(len(classes)), classes] += 3.5
    return scores


@pytest.fixture
def torch_on_one_thread() -> Iterator[Any]:
    """Torch; a small network is slower on several threads, and much slower if other processes use the CPUs too."""
    torch = pytest.importorskip("torch", reason="the network is torch's")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(before)


def test_a_small_network_helps(torch_on_one_thread: Any) -> None:
    """A recurrent network over letters, trained here, prefers the right one of the n best texts."""
    torch = torch_on_one_thread
    torch.manual_seed(0)
    size = len(LABELS) + 1  # its last class is a text's end; 0, the blank, its beginning

    class Network(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(size, 16)
            self.layers = torch.nn.GRU(16, 32, batch_first=True)
            self.out = torch.nn.Linear(32, size)

        def forward(self, tokens: object) -> object:
            return self.out(self.layers(self.embedding(tokens))[0]).log_softmax(-1)

    def encode(text: str) -> list[int]:
        return [LABELS.index(letter) for letter in text]

    network = Network()
    said = [[0, *encode(text), size - 1] for text in sentences(100, seed=1)]
    length = max(map(len, said))
    batch = torch.tensor([tokens + [-100] * (length - len(tokens)) for tokens in said])
    for step in range(60):
        network.zero_grad()
        found = network(batch[:, :-1].clamp(min=0))
        torch.nn.functional.nll_loss(found.flatten(0, 1), batch[:, 1:].flatten()).backward()
        with torch.no_grad():  # an optimiser of torch's takes seconds to import
            for parameter in network.parameters():
                parameter -= 0.02 * (1 - step / 60) * parameter.grad.sign()

    def following(prefixes: Sequence[tuple[int, ...]]) -> npt.NDArray[np.float64]:
        longest = max(map(len, prefixes))
        rows = torch.tensor([[0, *prefix] + [0] * (longest - len(prefix)) for prefix in prefixes])
        with torch.no_grad():
            out = network(rows)
        last = torch.tensor([len(prefix) for prefix in prefixes])
        return out[torch.arange(len(prefixes)), last].double().numpy()

    rng = np.random.default_rng(2)
    texts = sentences(20, seed=2)
    found = Decoder(LABELS).decode([heard(text, rng) for text in texts], from_logits=True, nbest=40)
    better = rescore(found, by_prefix(following, encode, end=size - 1), 1.0)

    def wrong(samples: list) -> int:
        return sum((word_errors(t, sample.text) for t, sample in zip(texts, samples, strict=True)), Errors()).total

    assert wrong(better) < wrong(found) / 2
