"""The tests' own n-gram builder: numbers computed by hand, and probabilities that sum to 1 after every context."""

import math
from typing import NamedTuple

import pytest
from support.ngrams import arpa, vocabulary

TEXT = ["a b a b c", "a b", "b c a", "c", "a c c b a b a"]


class Model(NamedTuple):
    grams: dict[str, float]
    back_offs: dict[str, float]

    def log10(self, context: tuple[str, ...], word: str) -> float:
        gram = " ".join((*context, word))
        if gram in self.grams:
            return self.grams[gram]
        return self.back_offs.get(" ".join(context), 0) + self.log10(context[1:], word)


def read(text: str) -> Model:
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    return Model({row[1]: float(row[0]) for row in rows}, {row[1]: float(row[2]) for row in rows if len(row) > 2})


@pytest.mark.parametrize("order", [2, 3, 4])
def test_probabilities_add_up_after_every_context(order: int) -> None:
    model = read(arpa(TEXT, ["a", "b"], order=order))
    contexts = {tuple(gram.split()[:-1]) for gram in model.grams} | {("a", "nowhere")}
    assert len(contexts) > 4
    for context in contexts:
        total = sum(10 ** model.log10(context, word) for word in ("a", "b", "<unk>", "</s>"))
        assert total == pytest.approx(1, abs=1e-5), context


def test_by_hand() -> None:
    """Two sentences. Bigrams: <s> a 2, a b 1, a </s> 1, b </s> 1. Two words precede </s>, one precedes a, one b.

    Bigrams: n1 = 3, n2 = 1, D = 3/5. Unigrams: </s> 2, a 1, b 1: n1 = 2, n2 = 1, D = 1/2. 3/8 go to the uniform
    distribution over a, b, </s> and <unk>.
    """
    model = read(arpa(["a b", "a"], ["a", "b"], order=2))
    a, b, end, unknown = 1 / 8 + 3 / 32, 1 / 8 + 3 / 32, 3 / 8 + 3 / 32, 3 / 32
    expected = {
        "a": a,
        "b": b,
        "</s>": end,
        "<unk>": unknown,
        "<s> a": (2 - 0.6) / 2 + 0.3 * a,
        "a b": 0.4 / 2 + 0.6 * b,
        "a </s>": 0.4 / 2 + 0.6 * end,
        "b </s>": 0.4 + 0.6 * end,
    }
    found = {gram: value for gram, value in model.grams.items() if gram != "<s>"}
    assert found == pytest.approx({gram: math.log10(value) for gram, value in expected.items()}, abs=1e-6)
    back_offs = {gram: math.log10(left) for gram, left in {"<s>": 0.3, "a": 0.6, "b": 0.6}.items()}
    assert model.back_offs == pytest.approx(back_offs, abs=1e-6)


def test_vocabulary_counts_and_sorts() -> None:
    assert vocabulary(TEXT, at_least=5) == ["a", "b", "c"]
    assert vocabulary(TEXT, at_least=6) == ["a", "b"]
