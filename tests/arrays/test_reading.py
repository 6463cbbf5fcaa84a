"""From classes to text: a vocabulary reads what it spells, the greedy reader collapses, and edits are the fewest."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctckit import STAR, CTCError, Vocabulary, explain
from ctckit.text.pieces import Pieces
from ctckit.text.reading import Errors, collapse, edit_distance, edits, greedy, letter_errors, word_errors

CHARACTERS = Vocabulary(["<pad>", "<s>", "<unk>", "|", *"ABC'"])
SPACED = Vocabulary([*"abc", " ", "φ"])
SENTENCEPIECE = Vocabulary(["<blk>", "<unk>", "▁", "▁a", "▁ab", "a", "b", "c", "bc"])
WORDPIECE = Vocabulary(["[PAD]", "[UNK]", "a", "ab", "b", "c", "##a", "##b", "##bc", "##c", "'"])
PLAIN = Vocabulary(["_", *"你好吗"])


# --- a vocabulary reads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocabulary", "labels", "text"),
    [
        (CHARACTERS, ["A", "|", "B", "B"], "A BB"),
        (CHARACTERS, ["|", "A", "|", "<pad>", "|", "B", "|"], "A B"),
        (CHARACTERS, ["<s>", "A", "<unk>", "B", "<pad>"], "AB"),
        (SPACED, ["a", "φ", "a", " ", "b"], "aa b"),
        (SENTENCEPIECE, ["▁ab", "c", "▁", "b", "▁a"], "abc b a"),
        (SENTENCEPIECE, ["c", "▁ab"], "c ab"),
        (WORDPIECE, ["ab", "##c", "c", "[UNK]", "[PAD]", "##a"], "abc ca"),
        (WORDPIECE, ["a", "'", "b"], "a ' b"),
        (PLAIN, ["你", "_", "好"], "你好"),
        (PLAIN, [], ""),
        (CHARACTERS, ["|", "|"], ""),
    ],
)
def test_reads(vocabulary: Vocabulary, labels: list[str], text: str) -> None:
    tokens = [vocabulary.labels.index(label) for label in labels]
    assert vocabulary.read(tokens) == text
    assert vocabulary.read(np.array(tokens, np.int32)) == text


def test_a_star_is_seen() -> None:
    tokens = CHARACTERS.transcribe("a 1st").tokens
    assert STAR in tokens
    assert CHARACTERS.read(tokens) == "A *"
    assert CHARACTERS.read([STAR]) == "*"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([4, 8], r"tokens\[1\] = 8 is not a class: there are 8 labels \(0\.\.7\)"),
        ([-2], r"tokens\[0\] = -2 is not a class"),
        ([4, 0.5], r"tokens\[1\] = 0\.5 has type float: expected a class"),
        ([True], r"tokens\[0\] = True has type bool"),
        (np.zeros((2, 2), int), r"tokens\[0\] = .* has type ndarray"),
    ],
)
def test_what_is_not_a_class_is_refused(tokens: Any, message: str) -> None:
    with pytest.raises(CTCError, match=message):
        CHARACTERS.read(tokens)


WORDS = st.lists(st.text("abc", min_size=1, max_size=6), max_size=5)


@pytest.mark.parametrize("vocabulary", [CHARACTERS, SPACED, SENTENCEPIECE, WORDPIECE], ids=lambda v: v.convention)
@given(WORDS, st.data())
def test_what_is_spelled_is_read(vocabulary: Vocabulary, words: list[str], data: st.DataObject) -> None:
    """Round trips, with blanks anywhere: text to tokens to text, and tokens to text to tokens."""
    text = " ".join(words).upper() if vocabulary is CHARACTERS else " ".join(words)
    tokens = vocabulary.transcribe(text).tokens.tolist()
    assert vocabulary.read(tokens) == text
    assert vocabulary.transcribe(vocabulary.read(tokens)).tokens.tolist() == tokens
    for at in sorted(data.draw(st.lists(st.integers(0, len(tokens)), max_size=4)), reverse=True):
        tokens.insert(at, vocabulary.blank)
    assert vocabulary.read(tokens) == text


@given(st.text("你好吗"))
def test_what_has_no_words_is_read(text: str) -> None:
    assert PLAIN.read(PLAIN.transcribe(text).tokens) == text


@given(WORDS, st.data())
def test_from_frames_to_text(words: list[str], data: st.DataObject) -> None:
    """Any path of a text's lattice, as the most probable classes of a recogniser, is read as the text."""
    text = " ".join(words)
    tokens = SPACED.transcribe(text).tokens.tolist()
    path = []
    for token in tokens:
        blanks = data.draw(st.integers(int(path[-1:] == [token]), 2))
        path += [SPACED.blank] * blanks + [token] * data.draw(st.integers(1, 3))
    scores = np.log(0.1 + np.eye(len(SPACED.labels))[np.array(path, int)])
    assert SPACED.read([run.token for run in greedy(scores, SPACED.blank)]) == text


# --- the greedy reader ------------------------------------------------------------------------------------------------


def test_runs_cover_the_path_but_for_blanks() -> None:
    path = np.random.default_rng(0).integers(0, 3, 200)
    rebuilt = np.full(200, 2)
    runs = collapse(path, blank=2)
    for run in runs:
        rebuilt[run.start : run.end] = run.token
    np.testing.assert_array_equal(rebuilt, path)
    assert all(a.token != b.token or a.end < b.start for a, b in pairwise(runs))


def test_greedy_takes_the_lowest_of_equals() -> None:
    assert greedy(np.zeros((3, 2))) == []
    assert [tuple(run) for run in greedy(np.zeros((3, 2)), blank=1)] == [(0, 0, 3)]
    assert greedy(np.zeros((0, 2))) == []


# --- edits ------------------------------------------------------------------------------------------------------------

SHORT = st.lists(st.integers(0, 3), max_size=7)


@given(SHORT, SHORT)
def test_edits_are_the_fewest(written: list[int], read: list[int]) -> None:
    @cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        replaced = fewest(i - 1, j - 1) + (written[i - 1] != read[j - 1])
        return min(replaced, fewest(i - 1, j) + 1, fewest(i, j - 1) + 1)

    found = edits(written, read)
    assert [a for a, _ in found if a is not None] == written
    assert [b for _, b in found if b is not None] == read
    assert (None, None) not in found
    distance = edit_distance(written, read)
    assert sum(a != b for a, b in found) == distance == fewest(len(written), len(read))


@given(SHORT, SHORT)
def test_errors_are_the_fewest_and_then_those_with_the_most_right(written: list[int], read: list[int]) -> None:
    @cache
    def best(i: int, j: int) -> tuple[int, int, int, int]:
        """All errors; of them replacements, deletions, insertions: the lowest in this order."""
        ways = []
        if i and j:
            total, replaced, *gaps = best(i - 1, j - 1)
            wrong = int(written[i - 1] != read[j - 1])
            ways.append((total + wrong, replaced + wrong, *gaps))
        if i:
            total, replaced, deleted, inserted = best(i - 1, j)
            ways.append((total + 1, replaced, deleted + 1, inserted))
        if j:
            total, replaced, deleted, inserted = best(i, j - 1)
            ways.append((total + 1, replaced, deleted, inserted + 1))
        return min(ways, default=(0, 0, 0, 0))

    total, *expected = best(len(written), len(read))
    found = word_errors(" ".join(map(str, written)), " ".join(map(str, read)))
    assert found == Errors(*expected, len(written))
    assert found.total == total
    letters = letter_errors("".join(map(str, written)), "".join(map(str, read)))
    assert letters == found


@pytest.mark.parametrize("size", [300, 5000])
def test_errors_of_long_texts(size: int) -> None:
    """Errors that can't be explained by fewer: new words, in places far from each other."""
    rng = np.random.default_rng(size)
    said = [str(word) for word in rng.permutation(size)]
    read, places = list(said), np.sort(rng.choice(size // 4, size // 20, replace=False)) * 4
    for n, place in enumerate(places[::-1].tolist()):
        read[place : place + 1] = [[], ["x"], [said[place], "y"]][n % 3]
    kinds = [len(places[::-1][n::3]) for n in range(3)]
    assert word_errors(" ".join(said), " ".join(read)) == Errors(kinds[1], kinds[0], kinds[2], size)


@pytest.mark.parametrize(
    ("vocabulary", "text", "expected"),
    [
        (CHARACTERS, "A b’c — cab!", "a b'c cab"),
        (CHARACTERS, "ÀB 7% ♫ cat.", "ab 7% cat"),  # the words that can't be spelled are kept
        (SPACED, "cab\nA  BA", "cab a ba"),
        (SENTENCEPIECE, "Ab abc aB", "ab abc ab"),
        (WORDPIECE, "ab ABC x-ray", "ab abc xray"),
        (PLAIN, "你好 吗？", "你好吗"),
        (PLAIN, "你 们", "你们"),
        (Vocabulary(["<blank>", "|", "K", "AE", "T"]), "cat Tk", "cat tk"),  # phonemes: words are a lexicon's
        (SPACED, "", ""),
    ],
)
def test_comparable_texts(vocabulary: Vocabulary, text: str, expected: str) -> None:
    assert vocabulary.comparable(text) == expected
    assert vocabulary.comparable(expected) == expected


def test_sums_and_rates_of_errors() -> None:
    both = word_errors("a b c d", "a x c") + word_errors("a", "b c")
    assert both == Errors(2, 1, 1, 5)
    assert (both.total, both.rate) == (4, 0.8)
    assert [word_errors("", read).rate for read in ("", "a")] == [0.0, np.inf]


# --- pieces -----------------------------------------------------------------------------------------------------------


def test_a_text_is_split_another_way_where_the_longest_pieces_leave_letters() -> None:
    pieces = Pieces({"a": 1, "ab": 2, "bc": 3})
    assert [piece.token for piece in pieces.split("abab")] == [2, 2]
    assert [piece.token for piece in pieces.split("abc")] == [1, 3]
    assert [piece.token for piece in pieces.split("abd")] == [2, None]
    # Explanations spell their targets in the same way.
    assert explain(np.log(np.full((3, 4), 0.25)), "abc", labels=["", "a", "ab", "bc"]).target == (1, 3)
