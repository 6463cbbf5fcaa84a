"""Lexicons: their sources, words that are left out, and their trees against plain dictionaries."""

from __future__ import annotations

import gzip
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ctckit import CTCError, Vocabulary
from ctckit.language import Lexicon
from ctckit.language.lexicon import SpelledLexicon, lexicon_of
from ctckit.language.spelling import Speller

LETTERS = Vocabulary(["<pad>", "|", "'", *"abcdefghijklmnopqrstuvwxyz"])
PHONEMES = Vocabulary(["<pad>", "|", "AH", "T", "TH", "H", "R", "EH", "IY", "D"])


def spelled(lexicon: Lexicon, vocabulary: Vocabulary = LETTERS) -> tuple[Speller, SpelledLexicon]:
    speller = Speller(vocabulary, by_token=lexicon.has_labels)
    return speller, lexicon.spelled(speller)


def by_spelling(speller: Speller, found: SpelledLexicon) -> dict[tuple[str, ...], list[str]]:
    """The tree's words, by their symbols as labels."""
    names = {
        s: speller.vocabulary.labels[c] for c in range(1, len(speller.vocabulary.labels)) for s in speller.symbols.of(c)
    }
    offsets, words = found.ends()
    words_at = {v: words[offsets[v] : offsets[v + 1]].tolist() for v in range(len(offsets) - 1)}
    result = {}
    pending: list[tuple[int, tuple[str, ...]]] = [(0, ())]
    while pending:
        node, path = pending.pop()
        if words_at[node]:
            result[path] = [found.words[i] for i in words_at[node]]
        children = range(found.tree.first[node] + 1, found.tree.first[node + 1] + 1)
        pending += [(child, (*path, names[int(found.tree.symbols[child - 1])])) for child in children]
    return result


def letters(words: dict[tuple[str, ...], list[str]]) -> dict[str, list[str]]:
    return {"".join(path): said for path, said in words.items()}


@pytest.mark.parametrize("seed", range(5))
def test_words_by_their_letters(seed: int) -> None:
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcABé'", k=draw.randint(1, 5))) for _ in range(300)]
    expected: dict[str, list[str]] = defaultdict(list)
    for word in dict.fromkeys(words):
        expected[word.lower().replace("é", "e")].append(word)
    assert letters(by_spelling(*spelled(Lexicon(words)))) == expected


def test_several_spellings_and_words_spelled_alike() -> None:
    found = by_spelling(
        *spelled(Lexicon({"Dr": ["doctor", "drive", "doctor"], "drive": "drive", "two": ["to"], "to": "to"}))
    )
    assert letters(found) == {"doctor": ["Dr"], "drive": ["Dr", "drive"], "to": ["two", "to"]}


def test_spellings_by_labels() -> None:
    lexicon = Lexicon({"read": ["R EH D", ["R", "IY", "D", "|"]], "red": ["R EH D"], "the": [("TH", "AH")]})
    assert lexicon.has_labels
    assert by_spelling(*spelled(lexicon, PHONEMES)) == {
        ("R", "EH", "D"): ["read", "red"],
        ("R", "IY", "D"): ["read"],
        ("TH", "AH"): ["the"],
    }
    _, found = spelled(lexicon, PHONEMES)
    assert [len(way) for way in found.spellings("read")] == [3, 3]
    assert found.spellings("row") == []


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_of_words(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "words.txt"
    text = "\ufeffcat\r\n\r\n  dog \nnew york\ncat\n".encode()
    path.write_bytes(gzip.compress(text) if packed else text)
    lexicon = Lexicon.read(path)
    assert lexicon.words == ("cat", "dog", "new york")
    assert not lexicon.has_labels
    _, found = spelled(lexicon_of(str(path)))
    assert found.notes == (f"{path}: 1 of 3 words can't be spelled with the labels, and are left out: 'new york'",)


def test_a_file_of_words_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("read\tR EH D |\nread R IY D\nthe  TH AH |\nrh R XX\n")
    lexicon = Lexicon.read(path)
    assert lexicon.words == ("read", "the", "rh")
    speller, found = spelled(lexicon, PHONEMES)
    assert by_spelling(speller, found) == {
        ("R", "EH", "D"): ["read"],
        ("R", "IY", "D"): ["read"],
        ("TH", "AH"): ["the"],
    }
    assert found.notes == (f"{path}: 1 of 3 words can't be spelled with the labels, and are left out: 'rh' as 'R XX'",)


def test_words_that_cannot_be_spelled_are_left_out_with_a_note() -> None:
    _, found = spelled(Lexicon(["a1", "ok", "b2", "...", "c3", "d4"]))
    assert found.notes == (
        "the lexicon: 5 of 6 words can't be spelled with the labels, and are left out: 'a1'; 'b2'; '...'; …",
    )
    with pytest.raises(
        CTCError, match=r"none of the 2 words of the lexicon can be spelled with the labels, such as '1'; '2'"
    ):
        spelled(Lexicon(["1", "2"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the lexicon is empty"),
        ({}, "the lexicon is empty"),
        (["a", 5], "word 2 is 5: expected a string"),
        ("words.txt", r"lexicon is 'words.txt': expected words, or a file of them: Lexicon.read"),
        ({"a": 5}, "'a' has the spelling 5"),
        ({"a": [5]}, "'a' has the spelling 5"),
        ({"a": [["x", 5]]}, r"'a' has the spelling \['x', 5\]"),
        ({"a": ""}, "'a' has the spelling ''"),
    ],
)
def test_what_is_no_lexicon(words: Any, message: str) -> None:
    with pytest.raises(CTCError, match=message):
        Lexicon(words)


def test_files_that_are_no_lexicon(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    with pytest.raises(CTCError, match="can't be read"):
        Lexicon.read(path)
    for content, message in [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"\x1f\x8b1", "not a readable gzip"),
    ]:
        path.write_bytes(content)
        with pytest.raises(CTCError, match=message):
            lexicon_of(path)


def test_words_join() -> None:
    speller, found = spelled(Lexicon({"cat": "cat", "Dr": "doctor"}))
    joined = found.with_words(["CAT", "dog", "1", "doctor", "dog", "Dr", "a b", "ox"], speller)
    assert joined.words == ("cat", "Dr", "dog", "ox")
    assert letters(by_spelling(speller, joined)) == {"cat": ["cat"], "doctor": ["Dr"], "dog": ["dog"], "ox": ["ox"]}
    assert found.words == ("cat", "Dr")
    assert found.with_words(["cat", "CAT", "2"], speller) is found


def test_one_spelling_that_looks_like_several() -> None:
    """A list has spellings, so ["R", "EH", "D"] are three spellings of one label each: that is probably a mistake."""
    with pytest.raises(
        CTCError, match=r"'red' has the spellings \['R', 'EH', 'D'\].*expected 'R EH D' for one.*\['R'\]"
    ):
        spelled(Lexicon({"red": ["R", "EH", "D"]}), PHONEMES)
    several = Lexicon({"a": [["AH"], ["EH"]]})
    assert by_spelling(*spelled(several, PHONEMES)) == {("AH",): ["a"], ("EH",): ["a"]}
    with_labels = Lexicon({"a": ["AH", "EH"], "red": ["R EH D"]})  # clear, since other words are spelled by labels
    assert set(by_spelling(*spelled(with_labels, PHONEMES))) == {("AH",), ("EH",), ("R", "EH", "D")}


def test_labels_of_words_that_cant_be_spelled() -> None:
    with pytest.raises(CTCError, match=r"can be spelled with the labels, such as 'red' as 'R X D'"):
        spelled(Lexicon({"red": "R X D"}), PHONEMES)
