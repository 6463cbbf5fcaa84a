"""Text in columns: widths counted by hand, and lines that are full, whole and never too long."""

import unicodedata

import pytest

from ctckit.catalogue.columns import breaks, cells, wrapped


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("naïve", 5),
        (unicodedata.normalize("NFD", "naïve"), 5),
        ("损失，𠀀", 8),
        ("ｱｲ", 2),  # halfwidth katakana
        ("ガ", 2),
        (unicodedata.normalize("NFD", "ガ"), 2),
        ("한국어", 6),
        (unicodedata.normalize("NFD", "한국어"), 6),  # eight letters, in three blocks
        ("שָׁלוֹם", 4),  # points below and above the letters
        ("ที่", 1),  # two marks of combining class 0 and 107 over one consonant
        ("a\u200bb\ufeff", 2),
        ("\u00adx", 2),  # terminals show a soft hyphen
    ],
)
def test_columns_of_a_text(text: str, columns: int) -> None:
    assert cells(text) == columns


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("한국어는 아름답다", 8, ["한국어는", "아름답다"]),  # Korean is broken at spaces
        ("한국어는아름답다", 7, ["한국어", "는아름", "답다"]),
        (unicodedata.normalize("NFD", "한국어"), 4, [unicodedata.normalize("NFD", part) for part in ("한국", "어")]),
        ("e\u0301" * 5, 2, ["e\u0301" * 2, "e\u0301" * 2, "e\u0301"]),
        (unicodedata.normalize("NFD", "ガギ"), 2, [unicodedata.normalize("NFD", part) for part in ("ガ", "ギ")]),
        ("𠀀𠀁𠀂", 5, ["𠀀𠀁", "𠀂"]),
        ("宽宽", 1, ["宽", "宽"]),  # wider than the line: one a line, and no empty lines
        ("读『损失』。", 6, ["读『损", "失』。"]),
        ("/data/utterances/emissions.npy", 16, ["/data/utterances", "/emissions.npy"]),
        ("", 4, [""]),
    ],
)
def test_lines_of_a_text(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines


@pytest.mark.parametrize(
    "text",  # with a bar wherever a line may begin
    [
        "a |well-known |price: |$3.50 |(in |2026), |e.g. |word(s)",
        "il |dit : |« Bonjour », |et |rit !",  # French has spaces around some punctuation
        "“Er |sagt |»Ja« |zu |»mir«.”",  # and German quotes the other way round
        "他|说，|“读|第 |3.5 |页”！",
        "用|Python|写|《程|序》|(初|版)|吧",
        "价|￥２０．５|元，|約|５０％……",
        "あっ、|ちょっ|と|コー|ヒー|を|人々|に",
        "데이터를 |두 |줄로",  # Korean has spaces between words
        unicodedata.normalize("NFD", "ガ|ギ|グ"),
        "สวัสดี\u200b|ชาว\u200b|โลก",
        " 字|字 ",
        "",
        "  ",
    ],
)
def test_where_lines_may_begin(text: str) -> None:
    pieces = text.split("|")
    assert breaks("".join(pieces)) == [len("".join(pieces[:i])) for i in range(1, len(pieces))]
