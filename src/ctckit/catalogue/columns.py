"""Text in columns, as terminals show it: a Chinese or Korean character takes two. Imports nothing of ctckit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

_CJK = re.compile("[\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
# What belongs to the word before it, or after it, even with a space between, as in French.
_AFTER_SPACE, _BEFORE_SPACE = "!?;:…»)]}，。、！？；：）」』】》", "«([{（「『【《"
# Unicode's categories of what belongs to the letter before it (punctuation, sound marks, accents) and after it.
_CLOSING, _OPENING = {"Pe", "Pf", "Po", "Pd", "Lm", "Mn", "Mc", "Me", "Cf"}, {"Ps", "Pi", "Sc"}


def cells(text: str) -> int:
    r"""How many columns of a terminal a text takes: two for a Chinese or Korean character, none for an accent.

    Example:
        >>> cells("空白 φ"), cells("한"), cells("e\u0301")
        (6, 2, 1)
    """
    return sum(map(_cells, text))


def _cells(letter: str) -> int:
    """The columns that a letter adds to those before it, as in Markus Kuhn's wcwidth, which terminals follow."""
    joins_hangul = "\u1160" <= letter <= "\u11ff"  # a vowel or final consonant, in the block of the one before
    if joins_hangul or (unicodedata.category(letter) in ("Mn", "Me", "Cf") and letter != "\u00ad"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Text in lines of at most `width` columns, broken at spaces, between Chinese characters, and in words too long.

    Args:
        text: in one line.
        width: columns of a line; a line holds at least one letter, with its accents.
        first: what the first line begins with.
        later: what the other lines begin with.

    Example:
        >>> wrapped("a rose is a rose", 9, "- ", "  ")
        ['- a rose', '  is a', '  rose']
        >>> wrapped("损失是无穷大。", 9), wrapped("abcdef", 4)
        (['损失是无', '穷大。'], ['abcd', 'ef'])
    """
    lines, line, begun = [], first, False
    for space, piece in _pieces(text):
        if begun and cells(line + space + piece) > width:
            lines.append(line)
            line, begun = later, False
        line += space if begun else ""
        while not begun and (end := _fitting(piece, width - cells(line))) < len(piece):
            lines.append(line + piece[:end])
            line, piece = later, piece[end:]
        line, begun = line + piece, True
    return [*lines, line]


def unwrapped(lines: Sequence[str]) -> str:
    """Lines as one: with a space between them, but none between two Chinese or Japanese characters.

    Example:
        >>> unwrapped(["a rose", "is a rose"]), unwrapped(["损失是无", "穷大。"]), unwrapped(["", "a"])
        ('a rose is a rose', '损失是无穷大。', 'a')
    """
    text = ""
    for line in filter(None, lines):
        joins = not text or (_CJK.match(text[-1]) and _CJK.match(line[0]))
        text += line if joins else f" {line}"
    return text


def breaks(text: str) -> list[int]:
    """Where a new line may begin within a text: after spaces, and beside a Chinese or Japanese character.

    Punctuation stays with what it belongs to, and words and numbers stay whole. This is what Unicode's line breaking
    (UAX 14) comes to for such texts. Languages without spaces that need a dictionary, such as Thai, are broken at their
    spaces, and where U+200B marks a word.

    Example:
        >>> breaks("a rose"), breaks("他说：“读 3.5 页。”")
        ([2], [1, 3, 6, 10])
    """
    places = [i for i, letter in enumerate(text) if not letter.isspace()]
    return [j for i, j in pairwise(places) if (_may_break if j == i + 1 else _may_break_at_space)(text, i, j)]


def _may_break_at_space(text: str, i: int, j: int) -> bool:
    """Whether a line may end with the letter at i, and the next begin with that at j, if spaces are between them."""
    closes = text[j] in _AFTER_SPACE and not text[j + 1 : j + 2].isalnum()
    opens = text[i] in _BEFORE_SPACE and not text[max(0, i - 1) : i].isalnum()
    return not (closes or opens)


def _may_break(text: str, i: int, j: int) -> bool:
    """The same without a space."""
    before, after = text[i], text[j]
    if not (_CJK.match(before) or _CJK.match(after)):
        return before == "\u200b"
    return not (_ends_a_line(after) or _begins_a_line(before) or (_in_a_word(before) and _in_a_word(after)))


@lru_cache(maxsize=4096)
def _ends_a_line(letter: str) -> bool:
    """Whether no line begins with this: closing punctuation, small kana, a mark on the letter before."""
    return unicodedata.category(letter) in _CLOSING or "LETTER SMALL" in unicodedata.name(letter, "")


@lru_cache(maxsize=4096)
def _begins_a_line(letter: str) -> bool:
    """Whether no line ends with this: opening punctuation, a currency, a quote that may be either."""
    return unicodedata.category(letter) in _OPENING or letter in "\"'¿¡"


@lru_cache(maxsize=4096)
def _in_a_word(letter: str) -> bool:
    """Whether it is a digit or a Latin letter or a point between digits, of any width."""
    return unicodedata.category(letter) in {"Nd", "Lu", "Ll"} or letter == "．"


def _pieces(text: str) -> list[tuple[str, str]]:
    """The pieces that no line may be broken in, each after its space."""
    pieces, space = [], ""
    for start, end in pairwise([0, *breaks(text), len(text)]):
        part = text[start:end]
        piece = part.strip()
        at = part.find(piece)
        if piece:
            pieces.append((space + part[:at], piece))
        space = part[at + len(piece) :]
    return pieces


def _fitting(piece: str, room: int) -> int:
    """How many letters of a piece fit into `room` columns; at least one, with what takes no column after it."""
    used = cells(piece[0])
    for end, letter in enumerate(piece[1:], start=1):
        used += cells(letter)
        if cells(letter) and used > room:
            return end
    return len(piece)


def in_columns(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> Iterator[str]:
    """Rows as lines, each column as wide as its widest cell and flush right; the last flush left if asked for.

    Example:
        >>> list(in_columns([["1", "one"], ["10", "ten"]], last_left=True))
        ['   1  one', '  10  ten']
    """
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = [" " * (width - cells(text)) + text for width, text in zip(widths, row, strict=True)]
        if last_left:
            padded[-1] = row[-1]
        yield ("  " + "  ".join(padded)).rstrip()
