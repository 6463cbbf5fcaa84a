"""The hotwords' automaton against counting occurrences in the text, and its credit for incomplete phrases."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctckit import CTCError, Vocabulary
from ctckit.language import HOTWORD_WEIGHT, GraphBuilder, read_hotwords
from ctckit.language.hotwords import automaton, weighted
from ctckit.language.spelling import Speller
from ctckit.language.trees import parents
from ctckit.search_graph import BOUNDARY, Hotwords

VOCABULARIES = {
    "separator": Vocabulary(["<pad>", "|", *"abc"]),
    "sentencepiece": Vocabulary(["<pad>", "▁", "▁a", "ab", "▁ca", *"abc"]),
    "wordpiece": Vocabulary(["[PAD]", *"abc", "##a", "##b", "##c", "##bc"]),
    "plain": Vocabulary(["<pad>", *"abc", "ab"]),
}


def phrases(vocabulary: Vocabulary, seed: int, equal: bool) -> dict[str, float]:
    draw = random.Random(seed)
    longest = 1 if vocabulary.convention == "plain" else 3
    words = ["".join(draw.choices("abc", k=draw.randint(1, 4))) for _ in range(6)]
    return {
        " ".join(draw.choices(words, k=draw.randint(1, longest))): 2.0 if equal else draw.uniform(-1, 5)
        for _ in range(draw.randint(1, 8))
    }


def hotwords_of(vocabulary: Vocabulary, weights: dict[str, float]) -> tuple[Speller, Hotwords]:
    speller = Speller(vocabulary)
    found, notes = automaton(weights, speller, None)
    assert notes == ()
    assert found is not None
    return speller, found


def occurrences(vocabulary: Vocabulary, phrase: str, text: str) -> int:
    if vocabulary.convention != "plain":
        phrase, text = f" {phrase} ", f" {text} "
    return sum(text.startswith(phrase, i) for i in range(len(text)))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_occurrence_is_rewarded_once(name: str, seed: int) -> None:
    vocabulary = VOCABULARIES[name]
    weights = phrases(vocabulary, seed, equal=False)
    speller, hotwords = hotwords_of(vocabulary, weights)
    draw = random.Random(seed + 100)
    rewarded = 0
    for _ in range(40):
        tokens = draw.choices(range(1, len(vocabulary.labels)), k=draw.randint(0, 12))
        text, state, total, last = vocabulary.read(tokens), hotwords.start, 0.0, BOUNDARY
        for symbol in [*(s for token in tokens for s in speller.symbols.of(token)), BOUNDARY]:
            if symbol == last == BOUNDARY:
                continue  # as in the search, several boundaries are one
            state, last = hotwords.step(state, symbol), symbol
            total += hotwords.rewards[state]
        expected = sum(w * occurrences(vocabulary, phrase, text) for phrase, w in weights.items())
        assert total == pytest.approx(expected, abs=1e-12)
        rewarded += expected != 0
    assert rewarded or seed != 1


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", VOCABULARIES)
def test_credit_grows_within_a_match(name: str, seed: int) -> None:
    """With equal weights it never decreases while a match continues, whatever other phrases begin or end within it."""
    vocabulary = VOCABULARIES[name]
    _, hotwords = hotwords_of(vocabulary, phrases(vocabulary, seed, equal=True))
    above = parents(hotwords.tree)
    credit = hotwords.potentials[1:] + hotwords.rewards[1:]
    assert (credit >= hotwords.potentials[above[1:]] - 1e-12).all()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", VOCABULARIES)
def test_credit_is_at_least_the_part_that_is_said_and_at_most_the_highest_weight(name: str, seed: int) -> None:
    vocabulary = VOCABULARIES[name]
    weights = phrases(vocabulary, seed, equal=False)
    speller, hotwords = hotwords_of(vocabulary, weights)
    assert hotwords.potentials[hotwords.start] == 0
    assert hotwords.potentials.min() >= 0
    assert hotwords.potentials.max() <= max(0.0, *weights.values())
    for phrase, weight in weights.items():
        symbols = speller.spell([phrase]).sequences.row(0)
        size = len(symbols) + (vocabulary.convention != "plain")
        state, earned = hotwords.start, 0.0
        for said, symbol in enumerate(symbols, start=1):
            state = hotwords.step(state, symbol)
            earned += max(hotwords.rewards[state], 0.0)
            if said < size:
                assert hotwords.potentials[state] + earned >= weight * said / size - 1e-12


def credits(vocabulary: Vocabulary, weights: dict[str, float], said: str) -> list[tuple[float, float]]:
    """The reward and the credit after each character."""
    speller, hotwords = hotwords_of(vocabulary, weights)
    state, found = hotwords.start, []
    for letter in said:
        symbol = BOUNDARY if letter == " " else speller.spell([letter]).sequences.row(0)[0]
        state = hotwords.step(state, symbol)
        found.append((float(hotwords.rewards[state]), float(hotwords.potentials[state])))
    return found


@pytest.mark.parametrize(
    ("said", "credit"),
    [
        ("ab c", [1.0, 2.0, 3.0, 4.0]),
        ("ab a", [1.0, 2.0, 3.0, 1.0]),
        ("abc ", [1.0, 2.0, 0.0, 0.0]),
        ("cab ", [0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_credit_is_taken_back_where_a_phrase_breaks_off(said: str, credit: list[float]) -> None:
    assert credits(VOCABULARIES["separator"], {"ab c": 5.0}, said) == [(0.0, x) for x in credit]


def test_a_reward_takes_the_place_of_credit() -> None:
    words = credits(VOCABULARIES["separator"], {"a": 6.0, "a b": 6.0}, "a b ")
    assert words == [(0.0, 3.0), (6.0, 3.0), (0.0, 4.5), (6.0, 0.0)]
    # After "a", "ab" has half of its 6. When "ab" is complete, the credit is that of the longer phrase: 2 of 8 letters.
    assert credits(VOCABULARIES["plain"], {"ab": 6.0, "abcabcab": 8.0}, "ab")[:2] == [(0.0, 3.0), (6.0, 2.0)]


def test_a_phrase_that_is_a_part_of_another_has_its_credit() -> None:
    found = credits(VOCABULARIES["plain"], {"abcab": 5.0, "bca": 9.0}, "abcab")
    assert found == [(0.0, 1.0), (0.0, 3.0), (0.0, 6.0), (9.0, 4.0), (5.0, 3.0)]


def test_credit_of_a_heavier_phrase_is_taken_back_down_to_what_may_still_come() -> None:
    found = credits(VOCABULARIES["plain"], {"cab": 90.0, "caccaa": 6.0}, "caccaa")
    assert found == [(0.0, 30.0), (0.0, 60.0), (0.0, 30.0), (0.0, 30.0), (0.0, 60.0), (6.0, 0.0)]
    found = credits(VOCABULARIES["separator"], {"cab": 90.0, "caccaa": 6.0}, "caccaa ")
    assert found == [(0.0, 22.5), (0.0, 45.0), *[(0.0, 6.0)] * 4, (6.0, 0.0)]


def test_phrases_spelled_alike_count_once() -> None:
    _, hotwords = hotwords_of(VOCABULARIES["separator"], {"AB": 3.0, "ab": 4.0, "a-b": 1.0})
    assert hotwords.rewards.sum() == 4.0


def test_words_are_spelled_as_the_lexicon_says() -> None:
    vocabulary = Vocabulary(["<pad>", "|", "AH", "TH", "R", "EH", "IY", "D"])
    builder = GraphBuilder(vocabulary, lexicon={"read": ["R EH D", "R IY D"], "the": ["TH AH"]})
    graph, _, notes = builder.build(hotwords={"read the": 2.0, "the row": 1.0})
    assert notes == ("hotwords: 1 of 2 can't be spelled with the labels, and are left out: 'the row'",)
    assert graph.hotwords is not None
    for labels in (["R", "EH", "D", "|", "TH", "AH"], ["R", "IY", "D", "|", "TH", "AH"]):
        state, total = graph.hotwords.start, 0.0
        for symbol in [*(s for x in labels for s in graph.symbols.of(vocabulary.labels.index(x))), BOUNDARY]:
            state = graph.hotwords.step(state, symbol)
            total += graph.hotwords.rewards[state]
        assert total == 2.0


def test_a_phrase_of_too_many_spellings() -> None:
    builder = GraphBuilder(Vocabulary(["<pad>", "|", *"ab"]), lexicon={"x": ["a", "b", "ab"]})
    graph, _, notes = builder.build(hotwords=[" ".join("x" * 4)])
    assert notes == ("hotwords: 'x x x x' has more than 64 spellings: the others are left out",)
    assert graph.hotwords is not None
    assert np.count_nonzero(graph.hotwords.rewards) == 64


def test_hotwords_that_cannot_be_spelled() -> None:
    builder = GraphBuilder(VOCABULARIES["separator"])
    built = builder.build(hotwords=["1", "ab", "2"])
    assert built.notes == ("hotwords: 2 of 3 can't be spelled with the labels, and are left out: '1'; '2'",)
    assert builder.build(hotwords=["1"]).graph.hotwords is None
    assert builder.build(hotwords=[]).graph.hotwords is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (["a", ""], "phrase 2 is ''"),
        ({" ": 1.0}, "phrase 1 is ' '"),
        (["a", None], "phrase 2 is None"),
        ({"a": float("nan")}, "'a' has the weight nan"),
        ({"a": float("inf")}, "'a' has the weight inf"),
        ({"a": "8"}, "'a' has the weight '8'"),
        ({"a": True}, "'a' has the weight True"),
        ("new york", "hotwords = 'new york': there is no such file; phrases are passed as a list"),
    ],
)
def test_what_are_no_hotwords(source: Any, message: str) -> None:
    with pytest.raises(CTCError, match=message):
        weighted(source)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "hot.txt"
    path.write_text("new york\t12.5\r\n\nchess\n queen \t-1\n")
    assert read_hotwords(path) == {"new york": 12.5, "chess": HOTWORD_WEIGHT, "queen": -1.0}
    for line in ("a\tb", "\t3", "a\tnan", "a\t"):
        path.write_text(f"ok\n{line}\n")
        with pytest.raises(
            CTCError, match=r"hot.txt, line 2 is .*: expected a phrase, or a phrase, a tab and its weight"
        ):
            read_hotwords(path)
