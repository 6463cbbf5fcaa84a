"""Transcripts: how a vocabulary spells a text, and how an alignment becomes words with times."""

from __future__ import annotations

import string
import unicodedata
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recogniser import ALPHABET, DATA, needs_data

from ctckit import STAR, Alignment, CTCError, Transcript, Vocabulary, forced_align
from ctckit.text import Convention

SPEECH = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAOINHSRDLUMWCFGYPBVK'XJQZ"]
SENTENCEPIECE = ["<blk>", "<unk>", "▁", "▁he", "▁hell", "llo", "o", "l", "h", "e", "▁w", "or", "ld", "d"]
WORDPIECE = ["[PAD]", "[UNK]", "he", "hell", "##llo", "##l", "##o", "it", "'", "s"]


def spelled(vocabulary: Vocabulary, text: str, **options: bool) -> list[str]:
    """A text's tokens by name, stars as *."""
    return names(vocabulary, vocabulary.transcribe(text, **options))


def names(vocabulary: Vocabulary, transcript: Transcript) -> list[str]:
    return ["*" if token == STAR else vocabulary.labels[token] for token in transcript.tokens]


def words(transcript: Transcript) -> list[tuple[str, tuple[str, ...]]]:
    return [(word.text, word.tokens) for line in transcript.lines for word in line.words]


# --- conventions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "blank", "convention", "separator"),
    [
        (SPEECH, None, "separator", "|"),
        (ALPHABET, 79, "separator", " "),
        (["<blank>", "a", "<space>"], None, "separator", "<space>"),
        (["a", "▁", "φ"], None, "separator", "▁"),
        (SENTENCEPIECE, None, "sentencepiece", None),
        (WORDPIECE, None, "wordpiece", None),
        (["#", "a", "##", "_"], None, "plain", None),
        (["_", "你", "好"], None, "plain", None),
    ],
)
def test_the_convention_is_told_from_the_labels(
    labels: list[str], blank: int | None, convention: Convention, separator: str | None
) -> None:
    vocabulary = Vocabulary(labels, blank)
    assert vocabulary.convention == convention
    assert (vocabulary.separator is None) == (separator is None)
    if separator is not None:
        assert vocabulary.separator == labels.index(separator)
    assert Vocabulary(labels, vocabulary.blank, convention=convention).separator == vocabulary.separator
    assert f"convention={convention!r}" in repr(vocabulary)


@pytest.mark.parametrize(
    ("labels", "blank"),
    [
        (["a", "<blank>", "<pad>"], 1),
        (["a", "b", "[PAD]"], 2),
        (["a", "<eps>", "-"], 1),
        (["", "a", "-"], 0),
        (["-", "|", "a"], 0),
        (["α", "φ", "ω", "_"], 3),
        (["a", "-", "b", "φ"], 3),
    ],
)
def test_the_blank_is_told_from_its_name(labels: list[str], blank: int) -> None:
    assert Vocabulary(labels).blank == blank


def test_a_blank_may_come_after_all_labels() -> None:
    vocabulary = Vocabulary(ALPHABET, blank=79)
    assert (vocabulary.blank, vocabulary.labels[-1], len(vocabulary.labels)) == (79, "φ", 80)


def test_a_convention_may_be_given() -> None:
    labels = ["<blank>", "|", "▁", "a", "▁a"]
    assert spelled(Vocabulary(labels), "a a") == ["▁a", "▁a"]
    assert spelled(Vocabulary(labels, convention="plain"), "a a") == ["a", "a"]
    assert spelled(Vocabulary(labels, convention="separator"), "a a") == ["a", "|", "a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": []}, "labels is empty: expected the name of each class"),
        ({"labels": ["-", 3]}, "labels[1] = 3 has type int: expected a string"),
        ({"labels": ["-", "a", "a"]}, "labels[1] and labels[2] are both 'a': expected each label once"),
        (
            {"labels": ["a", "b", "c"]},
            "the blank can't be told from the 3 labels: expected one called <blank> or <pad>",
        ),
        (
            {"labels": ["-", "a", "_"]},
            "the blank can't be told from the labels: it may be any of labels[0] = '-', labels[2] = '_'; pass blank=",
        ),
        ({"labels": ["-", "a"], "blank": 3}, "blank = 3 is not a class: there are 2 labels (0..1)"),
        ({"labels": ["-", "a"], "blank": "-"}, "blank = '-' has type str: expected an integer"),
        ({"labels": {"a": 1, "-": 0}}, "labels is a mapping: expected names in their classes' order, sorted("),
        ({"labels": ["-", "a"], "convention": "bpe"}, "convention = 'bpe' is unknown: expected one of separator, "),
        (
            {"labels": ["-", "a"], "convention": "separator"},
            "no label is a separator of words: expected one of ' ', '|'",
        ),
    ],
)
def test_bad_vocabularies(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(CTCError) as raised:
        Vocabulary(**arguments)
    assert message in str(raised.value)


# --- pieces -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hello", ["▁hell", "o"]),
        ("o hello", ["▁", "o", "▁hell", "o"]),
        ("world", ["▁w", "or", "ld"]),
        ('"hello"', ["▁hell", "o"]),
        ("Hello", ["▁hell", "o"]),
        ("he§llo", ["▁he", "*", "llo"]),
    ],
)
def test_sentencepiece(text: str, pieces: list[str]) -> None:
    assert spelled(Vocabulary(SENTENCEPIECE), text) == pieces


def test_a_mark_that_no_piece_begins_with_is_dropped() -> None:
    vocabulary = Vocabulary(["<blk>", "▁a", "b", "c"])
    transcript = vocabulary.transcribe("b ab")
    assert names(vocabulary, transcript) == ["b", "▁a", "b"]
    assert transcript.notes == ()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("hello", ["hell", "##o"]),
        ("it's", ["it", "'", "s"]),
        ("hexo", ["he", "*", "##o"]),
    ],
)
def test_wordpiece(text: str, pieces: list[str]) -> None:
    assert spelled(Vocabulary(WORDPIECE), text) == pieces


def test_greed_gives_way_to_fewer_unknown_characters_then_to_fewer_pieces() -> None:
    greedy = Vocabulary(["-", "abc", "ab", "cd", "a", "b"], convention="plain")
    assert spelled(greedy, "abcd") == ["ab", "cd"]
    assert spelled(greedy, "abc") == ["abc"]
    fewest = Vocabulary(["-", "abcd", "ab", "c", "de", "a", "bcde"], convention="plain")
    assert spelled(fewest, "abcde") == ["a", "bcde"]  # not ab c de
    assert spelled(fewest, "abcdeX") == ["a", "bcde", "*"]


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=3), st.text("abc", min_size=1, max_size=7), st.data())
def test_the_split_is_the_best_of_all(first: list[str], word: str, data: st.DataObject) -> None:
    pieces = sorted({"".join(first), *data.draw(st.lists(st.text("abc", min_size=1, max_size=3), max_size=4))})
    vocabulary = Vocabulary(["<blank>", *pieces], convention="plain")
    found = spelled(vocabulary, word)

    def splits(rest: str) -> list[tuple[int, int]]:
        if not rest:
            return [(0, 0)]
        unknown = [(u + 1, n) for u, n in splits(rest[1:])]
        return unknown + [(u, n + 1) for p in pieces if rest.startswith(p) for u, n in splits(rest[len(p) :])]

    transcript = vocabulary.transcribe(word)
    left = sum(
        len(text) for token, text in zip(transcript.tokens, words(transcript)[0][1], strict=True) if token == STAR
    )
    assert left == min(splits(word))[0]
    if left:
        assert (left, sum(name != "*" for name in found)) == min(splits(word))
    assert "".join(words(transcript)[0][1]) == word


# --- characters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hi there", "HI|THERE"),
        ("it’s `it‘s´", "IT'S|'IT'S'"),
        ("ﬁne", "FINE"),
        ("ＡＢ", "AB"),
        ("e\u0301te\u0301", "ETE"),
        ("é", "E"),
        ("ß", "SS"),
        ("co\u00adop", "COOP"),
        ("“No!”—no…", "NONO"),
        ("  a \t b\u3000c  ", "A|B|C"),
        ("1984", "*"),
        ("a1b", "A*B"),
        ("$1,000.50!", "*"),
        ("x² + y", "X*|Y"),
        ("you & me", "YOU|*|ME"),
        ("50 %", "*|*"),
        ("я", "*"),
        ("a | b", "A|B"),
        ("<unk>", ["<unk>"]),
        ("", ""),
        (" . ", ""),
    ],
)
def test_characters(text: str, tokens: str | list[str]) -> None:
    assert spelled(Vocabulary(SPEECH), text) == [*tokens]


def test_the_vocabulary_has_its_own_way() -> None:
    assert spelled(Vocabulary(["φ", "’", "“", "—", "é"]), "'\"-e\u0301É") == ["’", "“", "—", "é", "é"]
    assert spelled(Vocabulary(["φ", "e\u0301"]), "é") == ["e\u0301"]
    assert spelled(Vocabulary(["φ", "e", "\u0301"]), "é") == ["e", "\u0301"]
    assert spelled(Vocabulary(["φ", *"1⁄2"]), "½") == ["1", "⁄", "2"]
    assert spelled(Vocabulary(ALPHABET, 79), "m² — “x”") == [*'m2 - "x"']
    assert spelled(Vocabulary(["φ", *"aBc"]), "Abc ABC") == [*"aBcaBc"]


LOWER = ["<blank>", " ", *"abcdefghijklmnopqrstuvwxyz"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sing with me ♫", "sing with me"),
        ("♪ la la ♪", "la la"),
        ("go→home", "gohome"),
        ("a → b ⇒ c", "a b c"),
        ("x<y ± z = a | b ~ c", "xy z a b c"),
        ("Acme™ ok® ©", "acme ok"),
        ("℃ ㎏ №", ""),
        ("so ❤️ 👍🏽 🇩🇪 nice", "so nice"),
        ("ʰa ˈb ːc", "a b c"),
        ("^a `b ¨c", "a b c"),
        ("\u200ea\u200f\u202ab\u2069", "ab"),
        ("a\x07b \x1bc", "ab c"),
        ("\ue000a \U000f0000", "a"),
        ("\ud800b", "b"),
        ("<b>so</b>", "so"),
        ("<i>he</i>llo <font color='#ff0000'>x y</font>", "hello x y"),
        ("<v Roger Bingham>we <c.loud>are</c> <00:01.000>here", "we are here"),
        ("{\\an8}hi", "hi"),
    ],
)
def test_what_nobody_says_is_silent_and_kept(text: str, said: str) -> None:
    vocabulary = Vocabulary(LOWER)
    transcript = vocabulary.transcribe(text)
    assert "".join(names(vocabulary, transcript)) == said
    assert "\n".join(line.text for line in transcript.lines) == text
    assert [note for note in transcript.notes if "gets no time" not in note] == []


@pytest.mark.parametrize(
    ("extra", "text"), [("→", "a→b"), ("♪", "♪ a"), ("+", "a+b ＋ c"), ("ー", "aーｰ"), ("°", "a°")]
)
def test_what_the_vocabulary_has_is_not_silent(extra: str, text: str) -> None:
    assert "".join(spelled(Vocabulary([*LOWER, *extra]), text)) == unicodedata.normalize("NFKC", text)


def test_tags_are_silent_even_if_the_vocabulary_has_their_characters() -> None:
    assert spelled(Vocabulary([*LOWER, *"<>/"]), "<b>a</b>") == ["a"]


@pytest.mark.parametrize(
    ("spoken", "text", "tokens", "unknown"),
    [
        ("→", "go→home ♫", "go*home", ["→"]),
        ("+=", "a + b = c", "a * b * c", ["+", "="]),
        ("™", "acme™", "acme*", ["™"]),
        ("-", "a-b", "a*b", ["-"]),
        ("°", "x°y™", "x*y", ["°"]),
    ],
)
def test_what_somebody_reads_out(spoken: str, text: str, tokens: str, unknown: list[str]) -> None:
    vocabulary = Vocabulary(LOWER)
    transcript = vocabulary.transcribe(text, spoken=spoken)
    assert "".join(names(vocabulary, transcript)) == tokens
    expected = [f"line 1: {part!r} is not in the vocabulary: it matches anything" for part in unknown]
    assert list(transcript.notes) == expected
    assert "*" not in spelled(vocabulary, text)
    with pytest.raises(CTCError, match="spoken has type list: expected a string"):
        vocabulary.transcribe(text, spoken=[*spoken])  # type: ignore[arg-type]


def test_silence_after_a_symbol_is_left_alone() -> None:
    """The last word ends where it was said, and not ten seconds later."""
    vocabulary = Vocabulary(LOWER)
    classes = [vocabulary.labels.index(c) for c in "me"] + [0] * 500
    scores = np.log(np.full((502, len(LOWER)), 1e-4))
    scores[range(502), classes] = -0.01
    transcript = vocabulary.transcribe("me ♫")
    (alignment,) = forced_align(scores, transcript.tokens)
    (line,) = transcript.segments(alignment, 0.02)
    assert (line.text, line.end) == ("me ♫", pytest.approx(0.04))


# --- special classes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("well [breath] yes", [*"well", " ", "[breath]", " ", *"yes"]),
        ("a<cough>b", ["a", "<cough>", "b"]),
        ("[Breath], <COUGH>!", ["[breath]", " ", "<cough>"]),
        ("[breath] [in] [breath]", ["[breath] [in]", " ", "[breath]"]),
        ("[loud noise] a", ["[loud noise]", " ", "a"]),
        ("<i><cough></i>", ["<cough>"]),
        ("(breath)", [*"breath"]),
    ],
)
def test_special_classes_are_named_by_the_text(text: str, tokens: list[str]) -> None:
    vocabulary = Vocabulary([*LOWER, "[breath]", "<cough>", "[breath] [in]", "[loud noise]"])
    transcript = vocabulary.transcribe(text)
    assert names(vocabulary, transcript) == tokens
    assert transcript.lines[0].text == text
    assert transcript.notes == ()


def test_special_classes_beside_pieces() -> None:
    vocabulary = Vocabulary(["<blk>", "[breath]", "▁we", "ll", "▁ye", "s", "ye"])
    assert spelled(vocabulary, "well [breath] yes[breath]yes") == [
        *("▁we", "ll", "[breath]", "▁ye", "s", "[breath]", "ye", "s")
    ]
    assert words(vocabulary.transcribe("[breath]yes"))[0] == ("[breath]yes", ("[breath]", "ye", "s"))


@pytest.mark.parametrize("name", ["[laughs]", "<noise>", "[door slams]"])
def test_brackets_that_name_no_class(name: str) -> None:
    transcript = Vocabulary(LOWER).transcribe(f"so {name}\n{name} x < y > z")
    assert transcript.notes == (f"line 1: {name!r} names no class of the vocabulary: its letters are aligned",)


# --- other ways to write it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "text", "tokens", "told"),
    [
        (["▁we", "▁go", "▁", *"WEGOe"], "WE GO", ["▁we", "▁go"], ["'WE' is spelled 'we'", "'GO' is spelled 'go'"]),
        (["▁WE", "▁we", "▁", *"we"], "we", ["▁we"], []),
        (["▁HI", "▁", *"hi"], "hi", ["▁HI"], ["'hi' is spelled 'HI'"]),
        (["▁Hi", "▁", *"HIhi"], "HI", ["▁Hi"], ["'HI' is spelled 'Hi'"]),
        (["▁no", "▁NO", "▁", *"No"], "No", ["▁no"], ["'No' is spelled 'no'"]),
        (["▁NO", "▁no", "▁", *"No"], "No", ["▁NO"], ["'No' is spelled 'NO'"]),
        (["▁we", "▁", *"we"], "WE", ["▁we"], []),
    ],
)
def test_the_case_with_the_fewest_then_likeliest_tokens(
    pieces: list[str], text: str, tokens: list[str], told: list[str]
) -> None:
    vocabulary = Vocabulary(["<blk>", *pieces])
    transcript = vocabulary.transcribe(text)
    assert names(vocabulary, transcript) == tokens
    assert list(transcript.notes) == [f"line 1: {note}, which has fewer tokens" for note in told]


GREEK, TURKISH = "αβγδεζηθικλμνξοπρστυφχψω", "abcçdefgğhıijklmnoöprsştuüvyz"


@pytest.mark.parametrize(
    ("letters", "text", "tokens"),
    [
        ("abcß", "ẞ ß", "ßß"),
        ("astre", "Straße STRAẞE", "strassestrasse"),
        ("ASTRE", "straße", "STRASSE"),
        ("SATsat", "Saß SAẞ", "SassSASS"),
        ("ATẞ", "aß", "Aẞ"),
        ("abs", "baſs ſ", "basss"),
        (GREEK, "οδος ΟΔΟΣ", "οδοσοδοσ"),
        (GREEK + "ς", "ΟΔΟΣ ΣΟΣ σος", "οδοςσοςσος"),
        (GREEK.upper(), "οδός", "ΟΔΟΣ"),
        (TURKISH, "IŞIK İstanbul ısı", "ışıkistanbulısı"),
        ("ABCDEFGHIİJKLMNOÖPRSŞTUÜVYZ", "ışık istanbul", "IŞIKİSTANBUL"),
        ("abcdeəfgğhxıijqlz", "QIZ Fİ Ə", "qızfiə"),
        ("bcdeıißøam", "I am", "iam"),  # of many languages
        ("abcdefghijklz", "GIZ İ", "gizi"),
        ("كتاب", "كتـــاب", "كتاب"),
        ("ブルー", "ﾌﾞﾙｰ", "ブルー"),
        ("ガプ", "ｶﾞﾌﾟ カ\u3099", "ガプガ"),
        ("นำ", "น\u0e4d\u0e32 นำ", "นำนำ"),
        ("น้ำ", "น้ำ น\u0e4d\u0e49\u0e32 น\u0e49\u0e4d\u0e32", "น้ำ" * 3),
        ("ກຳ", "ກ\u0ecd\u0eb2", "ກຳ"),
        ("น\u0e4d\u0e32", "นำ", "น\u0e4d\u0e32"),
        ("n1", "ŉ ⑴", "n1"),
        ("nहिक", "हि क़ n", "हिकn"),
        ("abcfi", "ﬁ Ⅽ", "fic"),
        ("ㄴㅏㅁㅜ", "나무", "ㄴㅏㅁㅜ"),
        ("ㄱㄲㄳㅏㅘㅇ", "각 깎 와 갃", "ㄱㅏㄱㄲㅏㄲㅇㅘㄱㅏㄳ"),
        ("ㄱㅅㅂㅏ", "값", "ㄱㅏㅂㅅ"),
        ("\u1102\u1161", "나", "\u1102\u1161"),
        ("나무", "나무", "나무"),
    ],
)
def test_forms_that_say_the_same(letters: str, text: str, tokens: str) -> None:
    vocabulary = Vocabulary(["<blank>", *letters], convention="plain")
    transcript = vocabulary.transcribe(text)
    assert "".join(names(vocabulary, transcript)) == tokens
    assert transcript.notes == ()
    assert transcript.lines[0].text == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("letters", "text", "tokens", "folds"),
    [
        ("aedłlorz", "łaø", "łao", {"ø": "o"}),
        ("aelodzn", "Łódź Æon œ", "lodzaeonoe", {"Ł": "l", "Æ": "ae", "œ": "oe"}),
        ("AEL", "łæ", "LAE", {"ł": "L", "æ": "AE"}),
        ("كي", "کی", "كي", {"ک": "ك", "ی": "ي"}),
        ("کی", "كيى", "کیی", {"ك": "ک", "ي": "ی", "ى": "ی"}),
        ("ال", "ٱل", "ال", {"ٱ": "ا"}),
        ("あか", "アカ", "あか", {"ア": "あ", "カ": "か"}),
        ("がー", "ｶﾞー", "がー", {"ｶﾞ": "が"}),
        ("アカ", "あか", "アカ", {"あ": "ア", "か": "カ"}),
        ("0123456789", "٣۴५", "345", {"٣": "3", "۴": "4", "५": "5"}),
        ("٠١٢٣٤٥٦٧٨٩", "35", "٣٥", {"3": "٣", "5": "٥"}),
        ("0123456789", "３５", "35", {}),
        ("abi", "ıb", "ib", {"ı": "i"}),
    ],
)
def test_look_alikes_are_noted(letters: str, text: str, tokens: str, folds: dict[str, str]) -> None:
    vocabulary = Vocabulary(["<blank>", *letters], convention="plain")
    transcript = vocabulary.transcribe(f"{text}\n{text}")
    assert "".join(names(vocabulary, transcript)) == tokens * 2
    told = [f"line 1: {a!r} is not in the vocabulary: it is spelled {b!r}" for a, b in folds.items()]
    assert list(transcript.notes) == told


def test_marks_of_unknown_letters() -> None:
    vocabulary = Vocabulary(["<blank>", *"हिनी"], convention="plain")
    transcript = vocabulary.transcribe("दी हिम")
    assert names(vocabulary, transcript) == ["*", "ी", "ह", "ि", "*"]
    assert words(transcript) == [("दी", ("द", "ी")), ("हिम", ("ह", "ि", "म"))]


def test_unknown_characters_keep_their_text_and_get_a_note() -> None:
    transcript = Vocabulary(SPEECH).transcribe("Call me\n\non 5th of May, $1,000.50!\n§ 7")
    assert transcript.notes == (
        "line 3: '5' is not in the vocabulary: it matches anything",
        "line 3: '$1,000.50' is not in the vocabulary: it matches anything",
        "line 4: '§' is not in the vocabulary: it matches anything",
        "line 4: '7' is not in the vocabulary: it matches anything",
    )
    assert [line.text for line in transcript.lines] == ["Call me", "on 5th of May, $1,000.50!", "§ 7"]
    assert words(transcript)[3] == ("5th", ("5", "t", "h"))
    assert words(transcript)[6] == ("$1,000.50!", ("$1,000.50",))


def test_punctuation_alone_joins_its_neighbour() -> None:
    transcript = Vocabulary(SPEECH).transcribe("« a — b »\n- c\n...\n")
    assert [word for word, _ in words(transcript)] == ["« a —", "b »", "- c", "..."]
    assert [line.text for line in transcript.lines] == ["« a — b »", "- c", "..."]
    assert transcript.notes == ("line 3: '...' has no token: it gets no time",)
    assert words(transcript)[-1] == ("...", ())


def test_lines_are_separated_as_words_are() -> None:
    assert spelled(Vocabulary(SPEECH), "\na b\r\n\nc\n") == [*"A|B|C"]
    assert spelled(Vocabulary(["φ", "a"]), "a a\na") == [*"aaa"]


@pytest.mark.parametrize(
    ("labels", "text", "plain"),
    [
        (SPEECH, "|A|CAB|", "a cab"),
        (SPEECH, "a | cab", "a cab"),
        (SENTENCEPIECE, "▁hello▁world", "hello world"),
        (["<blank>", "a", "b", "<space>"], "a<space>b", "a b"),
    ],
)
def test_texts_prepared_for_a_network(labels: list[str], text: str, plain: str) -> None:
    vocabulary = Vocabulary(labels)
    transcript = vocabulary.transcribe(text)
    assert names(vocabulary, transcript) == spelled(vocabulary, plain)
    assert [word.lower() for word, _ in words(transcript)] == plain.split()
    assert transcript.notes == ()


def test_no_text() -> None:
    with pytest.raises(CTCError, match="text has type bytes: expected a string"):
        Vocabulary(SPEECH).transcribe(b"a")  # type: ignore[arg-type]


IN_VOCABULARY = st.lists(
    st.lists(st.text("".join(ALPHABET[1:]), min_size=1, max_size=8), min_size=1, max_size=4).map(" ".join),
    max_size=3,
).map("\n".join)


@given(IN_VOCABULARY)
def test_what_the_vocabulary_has_is_spelled_as_it_stands(text: str) -> None:
    vocabulary = Vocabulary(ALPHABET, 79)
    transcript = vocabulary.transcribe(text)
    assert "".join(names(vocabulary, transcript)) == text.replace("\n", " ")
    assert "\n".join(line.text for line in transcript.lines) == text
    assert transcript.notes == ()
    for word, tokens in words(transcript):
        assert "".join(tokens) == word


@given(
    st.text(max_size=40),
    st.sampled_from([Vocabulary(SPEECH), Vocabulary(SENTENCEPIECE), Vocabulary(WORDPIECE), Vocabulary(["_", "a"])]),
    st.booleans(),
    st.booleans(),
)
def test_every_token_belongs_to_one_word_or_stands_between(
    text: str, vocabulary: Vocabulary, optional: bool, stars: bool
) -> None:
    transcript = vocabulary.transcribe(text, optional_words=optional, star_between_words=stars)
    owned = [
        s for line in transcript.lines for word in line.words for s in range(word.first, word.first + len(word.tokens))
    ]
    assert owned == sorted(set(owned))
    between = sorted(set(range(len(transcript.tokens))) - set(owned))
    assert set(transcript.tokens[between]) <= {STAR if stars else vocabulary.separator, vocabulary.separator}
    assert vocabulary.blank not in transcript.tokens
    assert len(transcript.optional) == len(transcript.tokens)
    # Each word is a group of its own, in one run.
    groups = [int(g) for g in transcript.optional if g]
    runs = 1 + np.count_nonzero(np.diff(groups)) if groups else 0
    assert runs == len(set(groups))
    for line in transcript.lines:
        assert line.text == " ".join(word.text for word in line.words)
        for word in line.words:
            own = transcript.optional[word.first : word.first + len(word.tokens)]
            assert (own > 0).all() if optional else not own.any()
            assert len(set(own.tolist())) <= 1


# --- words that may be missing, and other words between ---------------------------------------------------------------


def test_groups() -> None:
    vocabulary = Vocabulary(SPEECH)

    def grouped(text: str, **options: bool) -> list[str]:
        transcript = vocabulary.transcribe(text, **options)
        shown = zip(names(vocabulary, transcript), transcript.optional.tolist(), strict=True)
        runs: list[tuple[str, int]] = []
        for name, group in shown:
            if runs and runs[-1][1] == group:
                runs[-1] = (runs[-1][0] + name, group)
            else:
                runs.append((name, group))
        return [f"[{name}]" if group else name for name, group in runs]

    assert grouped("ab c de") == ["AB|C|DE"]
    assert grouped("ab c de", optional_words=True) == ["[AB]", "[|]", "[C]", "[|]", "[DE]"]
    assert grouped("ab c", star_between_words=True) == ["[*]", "AB|", "[*]", "C", "[*]"]
    assert grouped("", star_between_words=True) == ["[*]"]


# --- words that may be missing, and other words between: from audio to times ------------------------------------------

SOME = """
    about after again along always among another around because before below between both called change could
    different every example father follow found great house important large letter little might mother never number
    often people picture place point right sentence should small sound spell still study their there these thing
"""


def spoken(
    words: list[str], vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Peaky log-probabilities of some words, and where each begins and ends: tokens of one to three frames, blanks
    between them, and noise."""
    classes = [vocabulary.blank] * 3
    spans = []
    for word in words:
        if spans and vocabulary.separator is not None:
            classes += [vocabulary.separator] * rng.integers(1, 4) + [vocabulary.blank] * rng.integers(1, 4)
        start = len(classes)
        for letter in word:
            classes += [vocabulary.labels.index(letter)] * rng.integers(1, 4) + [vocabulary.blank] * rng.integers(1, 4)
        blanks = next(n for n, c in enumerate(reversed(classes)) if c != vocabulary.blank)
        spans.append((start, len(classes) - blanks))
    frames, size = len(classes), len(vocabulary.labels)
    probable = rng.uniform(0.5, 0.95, frames)
    probs = rng.dirichlet(np.full(size, 0.3), frames) * (1 - probable[:, None]) + 1e-8
    probs[range(frames), classes] += probable
    return np.log(probs / probs.sum(axis=1, keepdims=True)), spans


@pytest.mark.parametrize("separator", ["|", ""], ids=["separator", "no separator"])
@pytest.mark.parametrize("seed", range(50))
def test_words_too_many_and_too_few(seed: int, separator: str) -> None:
    """Of 33 words 27 are in both; three are only spoken, three only written. Those in both have the right times."""
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary(["<blank>", *string.ascii_lowercase, *separator])
    both, only_spoken, only_written = np.split(rng.permutation(SOME.split())[:33], [27, 30])
    order = [str(word) for word in both]
    for word in (*only_spoken, *only_written):
        order.insert(rng.integers(len(order) + 1), str(word))
    heard = [word for word in order if word not in only_written]
    log_probs, spans = spoken(heard, vocabulary, rng)
    text = " ".join(word for word in order if word not in only_spoken)
    transcript = vocabulary.transcribe(text, optional_words=True, star_between_words=True)
    (alignment,) = forced_align(log_probs, transcript.tokens, optional=transcript.optional)
    (line,) = transcript.segments(alignment, 1.0)
    found = {word.text: (word.start, word.end) for word in line.parts if word.start >= 0}
    truth = dict(zip(heard, spans, strict=True))
    assert {word: found.get(word) for word in map(str, both)} == {str(word): truth[word] for word in both}
    assert len(found) <= 28  # a word that was only written may be placed on one that was only spoken


@pytest.mark.parametrize("stars", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_a_text_longer_than_the_recording(seed: int, stars: bool) -> None:
    """If the last words were not said, the last spoken one has its right time and needs no separator after it."""
    rng = np.random.default_rng(seed)
    vocabulary = Vocabulary(["<blank>", *string.ascii_lowercase, "|"])
    text = SOME.split()[:12]
    for first, end in ((0, 9), (3, 12), (2, 8)):
        log_probs, spans = spoken(text[first:end], vocabulary, rng)
        transcript = vocabulary.transcribe(" ".join(text), optional_words=True, star_between_words=stars)
        (alignment,) = forced_align(log_probs, transcript.tokens, optional=transcript.optional)
        (line,) = transcript.segments(alignment, 1.0)
        found = {word.text: (word.start, word.end) for word in line.parts if word.start >= 0}
        assert found == dict(zip(text[first:end], spans, strict=True))


# --- times ------------------------------------------------------------------------------------------------------------


def along(vocabulary: Vocabulary, path: str, transcript: Transcript, **options: Any) -> Alignment:
    """The alignment along a path of single letters, . for the blank."""
    classes = [vocabulary.blank if c == "." else vocabulary.labels.index(c) for c in path]
    log_probs = np.log(np.full((len(path), len(vocabulary.labels)), 1e-4))
    log_probs[range(len(path)), classes] = -np.arange(1, len(path) + 1) / 100
    return forced_align(log_probs, transcript.tokens, blank=vocabulary.blank, optional=transcript.optional, **options)[
        0
    ]


def test_times_scores_and_confidences() -> None:
    vocabulary = Vocabulary(["<pad>", "|", "A", "B", "C"])
    transcript = vocabulary.transcribe("ab!\n« c")
    alignment = along(vocabulary, ".AA..B|..CCC.", transcript)
    first, second = transcript.segments(alignment, 0.5, offset=10.0)
    assert (first.text, first.start, first.end) == ("ab!", 10.5, 13.0)
    assert (second.text, second.start, second.end) == ("« c", 14.5, 16.0)
    (word,) = first.parts
    assert word[:5] == (*("ab!", 10.5, 13.0), first.score, first.confidence)
    assert [(token.text, token.start, token.end, token.parts) for token in word.parts] == [
        ("a", 10.5, 11.5, ()),
        ("b", 12.5, 13.0, ()),
    ]
    assert word.score == pytest.approx(-(0.02 + 0.03 + 0.06) / 3)
    assert word.parts[0].score == pytest.approx(-0.025)
    assert second.score == pytest.approx(-(0.10 + 0.11 + 0.12) / 3)
    weighted = (2 * alignment.confidence[0] + alignment.confidence[1]) / 3
    assert word.confidence == pytest.approx(weighted)
    assert 0.9 < word.confidence < 1
    wider = transcript.segments(alignment, 0.5, extend=1)[0]
    assert (wider.start, wider.end, wider.score) == (0.0, 3.0, first.score)
    assert [(token.start, token.end) for token in wider.parts[0].parts] == [(0.0, 2.0), (2.0, 3.0)]


def test_what_was_left_out_has_no_time() -> None:
    vocabulary = Vocabulary(["<pad>", "|", "A", "B", "C"])
    transcript = vocabulary.transcribe("a b c\nb", optional_words=True)
    alignment = along(vocabulary, ".A.|.C..", transcript)
    first, second = transcript.segments(alignment, 1.0)
    assert (first.start, first.end) == (1, 6)
    a, b, c = first.parts
    assert (a.start, c.end) == (1, 6)
    for lost in (b, b.parts[0], second, second.parts[0]):
        assert np.isnan(lost[1:5]).all()
    assert np.isfinite([first.score, first.confidence, a.score, c.confidence]).all()
    infeasible = along(vocabulary, ".", vocabulary.transcribe("abc"), on_infeasible="mark")
    (line,) = vocabulary.transcribe("abc").segments(infeasible, 1.0)
    assert np.isnan([timed[1:5] for timed in (line, *line.parts, *line.parts[0].parts)]).all()


def test_words_without_tokens_have_no_time() -> None:
    vocabulary = Vocabulary(["<pad>", "|", "A"])
    transcript = vocabulary.transcribe("a\n...")
    line = transcript.segments(along(vocabulary, "A", transcript), 1.0)[1]
    assert (line.text, len(line.parts), line.parts[0].text, line.parts[0].parts) == ("...", 1, "...", ())
    assert np.isnan([line[1:5], line.parts[0][1:5]]).all()
    empty = vocabulary.transcribe("")
    assert empty.segments(forced_align(np.zeros((2, 3)), empty.tokens)[0], 1.0) == []


def test_bad_times() -> None:
    vocabulary = Vocabulary(["<pad>", "|", "A"])
    transcript = vocabulary.transcribe("a")
    alignment = along(vocabulary, "A", transcript)
    for options, message in (
        ({"frame_shift": 0.0}, "frame_shift = 0.0: expected seconds from one frame to the next, more than 0"),
        ({"frame_shift": float("nan")}, "frame_shift = nan: expected seconds"),
        ({"frame_shift": 1.0, "offset": float("inf")}, "offset = inf: expected the seconds at which the first frame"),
        ({"frame_shift": 1.0, "offset": -1}, "offset = -1: expected the seconds at which the first frame"),
        ({"frame_shift": 1.0, "extend": -1}, "extend = -1: expected a number of frames"),
    ):
        with pytest.raises(CTCError) as raised:
            transcript.segments(alignment, **options)
        assert message in str(raised.value)
    with pytest.raises(
        CTCError, match="of another target: it has 1 tokens, the transcript 3, and they must be the same"
    ):
        vocabulary.transcribe("a a").segments(alignment, 1.0)


@needs_data
def test_handwriting() -> None:
    """Words as columns of the image: side by side, in order, and where greedy reading finds them."""
    logits = np.load(DATA / "iam_line_logits.npy")
    vocabulary = Vocabulary(ALPHABET, blank=79)
    transcript = vocabulary.transcribe("the fake friend of the family, like the")
    (alignment,) = forced_align(logits, transcript.tokens, blank=79, from_logits=True)
    (line,) = transcript.segments(alignment, 1 / len(logits))
    assert [word.text for word in line.parts] == ["the", "fake", "friend", "of", "the", "family,", "like", "the"]
    times = [(word.start, word.end) for word in line.parts]
    assert times == sorted(times)
    assert all(end <= start for (_, end), (start, _) in pairwise(times))
    frames = [(round(start * 100), round(end * 100)) for start, end in times]
    assert frames == [(0, 4), (9, 17), (21, 34), (39, 42), (46, 50), (56, 74), (80, 88), (92, 96)]
    assert line.parts[2].confidence > 0.95 > line.parts[4].confidence


# --- labels that are no letters ---------------------------------------------------------------------------------------

PHONES = ["<blank>", "|", "<unk>", "ð", "ə", "k", "w", "ɪ", "f", "ɑ", "s", "oʊ", "n", "t"]
SAID = {"the": ["ð", "ə"], "quick": ["k", "w", "ɪ", "k"], "fox": ["f", "ɑ", "k", "s"], "don't": ["d"], "of": ["<unk>"]}


def phones(word: str) -> list[str]:
    return SAID.get(word.lower(), [])


def test_a_speller_gives_the_labels_of_a_word() -> None:
    vocabulary = Vocabulary(PHONES, speller=phones)
    transcript = vocabulary.transcribe("“The quick-fox,” 7\nfox")
    assert names(vocabulary, transcript) == [*"ðə|kwɪkfɑks|", "*", *"|fɑks"]
    assert words(transcript) == [
        ("“The", ("ð", "ə")),
        ("quick-fox,”", tuple("kwɪkfɑks")),
        ("7", ("7",)),
        ("fox", tuple("fɑks")),
    ]
    assert transcript.notes == ("line 1: '7' is not in the vocabulary: it matches anything",)
    assert vocabulary.read(transcript.tokens) == "ðə kwɪkfɑks * fɑks"


def test_a_speller_sees_one_apostrophe() -> None:
    heard: list[str] = []
    Vocabulary(PHONES, speller=lambda word: heard.append(word) or []).transcribe("don’t dogs’ rock’n’roll é")
    assert heard == ["don't", "dogs", "rock'n'roll", "é"]


@pytest.mark.parametrize(("word", "label"), [("don't", "d"), ("of", "<unk>")])
def test_a_speller_gives_labels_that_spell(word: str, label: str) -> None:
    with pytest.raises(CTCError, match=rf"speller\(\"?'?{word}.* gives '{label}': expected labels"):
        Vocabulary(PHONES, speller=phones).transcribe(word)


def test_a_speller_beside_special_labels() -> None:
    vocabulary = Vocabulary(PHONES, speller=phones)
    assert names(vocabulary, vocabulary.transcribe("<unk> fox")) == ["<unk>", "|", *"fɑks"]
    assert vocabulary.comparable("The Fox!") == "ðə fɑks"
