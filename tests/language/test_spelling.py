"""Texts in symbols: the fast speller agrees with transcribe, and a word is found for any split into pieces."""

from __future__ import annotations

import random
import unicodedata
from itertools import groupby

import numpy as np
import pytest

from ctckit import STAR, Vocabulary
from ctckit.language.spelling import Speller

VOCABULARIES = {
    "separator": Vocabulary(["<pad>", "|", "'", *"ABCDEIN", "Ü"]),
    "small letters": Vocabulary(["<pad>", " ", *"abcdeinßüσς"]),
    "both cases": Vocabulary(["<pad>", "|", *"abAB"]),
    "Turkish": Vocabulary(["<pad>", "|", *"abiı"]),
    "pieces": Vocabulary(["<blk>", "▁", "▁a", "b", "a", "ab", "▁ba", "n", "e", "[breath]"]),
    "Greek capitals": Vocabulary(["<pad>", "|", *"ΑΒΣΊ"]),
    "Greek small letters": Vocabulary(["<pad>", "|", *"αβσί"]),
    "pieces that begin no word": Vocabulary(["<blk>", "▁a", "b", "a"]),
    "pieces without a bare mark": Vocabulary(["<blk>", "▁a", "▁b", "a", "b", "ab", "▁bab"]),
    "pieces that lack letters": Vocabulary(["<blk>", "▁", "ab", "▁ba", "a", "ne"]),
    "pieces with marks within": Vocabulary(["<blk>", "▁a", "b", "a", "b▁a", "▁"]),
    "wordpiece": Vocabulary(["[PAD]", "a", "##a", "b", "##b", "##ab", "'", "##'", "n", "##n"]),
    "plain": Vocabulary(["φ", *"abne", "-"], 0),
    "marks": Vocabulary(["<pad>", "|", *"abकि", "e", "\u0301", "<", "i", ">"]),
    "hindi": Vocabulary(["<pad>", "|", *"कखिन", "ा"]),
    "characters": Vocabulary(["<pad>", *"你好世界"], convention="plain"),
}
LETTERS = "abABeinüÜßΣσς'| <>▁कखिा你好é3-\u0301\u200b"


def by_definition(speller: Speller, text: str) -> list[int]:
    """What transcribe spells, without boundaries at the ends or repeated ones; empty if it cannot."""
    tokens = speller.vocabulary.transcribe(text).tokens
    if STAR in tokens:
        return []
    words = [
        list(word)
        for gap, word in groupby((s for t in tokens for s in speller.symbols.of(t)), lambda s: s == 0)
        if not gap
    ]
    return [symbol for i, word in enumerate(words) for symbol in ([0] * (i > 0) + word)]


def texts(vocabulary: Vocabulary, seed: int, count: int) -> list[str]:
    """Mostly of the labels' letters, with other letters, cases and spaces."""
    draw = random.Random(seed)
    own = [letter for label in vocabulary.labels[1:] for letter in label if letter not in "<>[]▁#|"] or ["a"]
    found = []
    for _ in range(count):
        letters = draw.choices([*own, " "], k=draw.randint(1, 7))
        if draw.random() < 0.4:
            letters[draw.randrange(len(letters))] = draw.choice(LETTERS)
        found.append(draw.choice([str, str, str.upper, str.lower])("".join(letters)))
    return found


@pytest.mark.parametrize("name", VOCABULARIES)
def test_texts_are_spelled_as_transcribe_does(name: str) -> None:
    speller = Speller(VOCABULARIES[name])
    written = [*texts(speller.vocabulary, 0, 1500), "<i>a", "a[b", "ΑΣ", "ας"]
    spelled = speller.spell(written)
    found = dict(zip(spelled.sequences.of.tolist(), range(len(written)), strict=False))
    assert len(found) == len(spelled.sequences.of)
    assert sorted([*found, *spelled.failed]) == list(range(len(written)))
    for i, text in enumerate(written):
        expected = by_definition(speller, text)
        assert (spelled.sequences.row(found[i]) if i in found else []) == expected, text


def test_in_two_cases_a_word_is_spelled_as_it_is_written() -> None:
    """transcribe prefers fewer tokens, which the letters of a lexicon's word must not depend on."""
    vocabulary = Vocabulary(["<blk>", "▁", *"abcAB", "▁ab", "abc"])
    speller = Speller(vocabulary)
    spelled = speller.spell(["AB", "ab", "Ab", "ABC"])
    said = {i: spelled.sequences.row(row) for row, i in enumerate(spelled.sequences.of.tolist())}
    names = {symbol: vocabulary.labels[c] for c in range(2, 7) for symbol in speller.symbols.of(c)}
    assert {i: "".join(names[s] for s in row) for i, row in said.items()} == {0: "AB", 1: "ab", 2: "Ab", 3: "abc"}
    assert speller.spell(["AB", "ba", "BA"]).notes == ()
    (note,) = speller.spell(["AB", "ABAB", "ba"]).notes
    assert note == (
        "the labels have longer pieces for most of them in another case: 'AB' is spelled 'ab', which has fewer tokens"
    )


@pytest.mark.parametrize("name", VOCABULARIES)
def test_any_split_spells_the_word(name: str) -> None:
    """Random tokens are read as text, and the text is spelled in the symbols of the tokens."""
    vocabulary = VOCABULARIES[name]
    speller = Speller(vocabulary)
    draw = random.Random(1)
    compared = 0
    for _ in range(500):
        tokens = draw.choices(range(1, len(vocabulary.labels)), k=draw.randint(1, 6))
        text = vocabulary.read(tokens)
        symbols = [symbol for token in tokens for symbol in speller.symbols.of(token)]
        words = [list(word) for gap, word in groupby(symbols, lambda s: s == 0) if not gap]
        spelled = speller.spell([text])
        if not spelled.failed and unicodedata.is_normalized("NFC", text) and set(text).isdisjoint("<>[]-"):
            compared += 1
            joined = [symbol for i, word in enumerate(words) for symbol in ([0] * (i > 0) + word)]
            if vocabulary.convention == "wordpiece":  # there punctuation is a separate word
                assert [s for s in spelled.sequences.row(0) if s] == [s for s in joined if s]
            else:
                assert spelled.sequences.row(0) == joined, text
    assert compared > 30


def test_symbols_of_each_convention() -> None:
    def of(labels: list[str]) -> list[list[int]]:
        speller = Speller(Vocabulary(labels))
        return [speller.symbols.of(c) for c in range(len(labels))]

    assert of(["<pad>", "|", "a", "b", "<unk>"]) == [[], [0], [1], [2], []]
    assert of(["<blank>", "▁ca", "▁", "t"]) == [[], [0, 2, 1], [0], [3]]
    assert of(["[PAD]", "ca", "##t", "[UNK]"]) == [[], [0, 2, 1], [3], []]
    assert of(["φ", "ch", "c"]) == [[], [1, 2], [1]]


def test_equal_letters_in_other_forms_are_one_symbol() -> None:
    speller = Speller(Vocabulary(["<pad>", "|", "é", "e\u0301a"]))
    assert speller.symbols.of(2) == speller.symbols.of(3)[:1]
    spelled = speller.spell(["e\u0301", "é"])
    assert spelled.sequences.row(0) == spelled.sequences.row(1) == speller.symbols.of(2)


def test_separator_class() -> None:
    assert Speller(Vocabulary(["<pad>", "|", "a"])).symbols.separator == 1
    assert Speller(Vocabulary(["<pad>", "▁", "▁a", "a"])).symbols.separator == -1


def test_by_token() -> None:
    speller = Speller(Vocabulary(["<pad>", "|", "AH", "T", "H", "<unk>"]), by_token=True)
    assert [speller.symbols.of(c) for c in range(6)] == [[], [0], [3], [4], [5], []]
    assert speller.of_labels(["T", "AH", "|"]) == [4, 3]
    assert speller.of_labels(["T", "EH"]) is None
    assert speller.of_labels(["<unk>"]) is None
    pieces = Speller(Vocabulary(["<pad>", "▁ca", "▁", "t"]), by_token=True)
    assert [pieces.symbols.of(c) for c in range(4)] == [[], [0, 2], [0], [4]]
    assert pieces.of_labels(["▁ca", "t"]) == [2, 4]


def test_notes_name_what_is_folded() -> None:
    spelled = Speller(Vocabulary(["<pad>", "|", *"lodz"])).spell(["łodz", "lód", "ł", "ł3"])
    assert spelled.failed == [3]
    assert spelled.notes == (
        "2 not spelled as written: 'łodz': 'ł' is not in the vocabulary: it is spelled 'l'; "
        "'ł': 'ł' is not in the vocabulary: it is spelled 'l'",
    )


def test_no_text_and_empty_texts() -> None:
    speller = Speller(VOCABULARIES["separator"])
    assert speller.spell([]).failed == []
    spelled = speller.spell(["", " ", "A", "", "|"])
    assert spelled.failed == [0, 1, 3, 4]
    np.testing.assert_array_equal(spelled.sequences.of, [2])
