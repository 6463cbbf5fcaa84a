"""Text in columns of equal width, as terminals show it: a Chinese character takes two. Imports nothing of ctckit."""

from __future__ import annotations

import re
import unicodedata

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef"
_OPENING, _CLOSING = "（“‘《「", "，。、；：！？）”’》」…"
# What no line may be broken in: a word, or a Chinese character, with the punctuation that belongs to it.
_PIECES = re.compile(rf"(\s*)([{_OPENING}]*(?:[^\s{_CJK}{_OPENING}]+|[{_CJK}])[{_CLOSING}]*|[{_OPENING}]+)")


def cells(text: str) -> int:
    r"""How many columns of a terminal a text takes: two for a Chinese character, none for a combining mark.

    Example:
        >>> cells("空白 φ"), cells("e\u0301")
        (6, 1)
    """
    wide = {"W": 2, "F": 2}
    return sum(
        0 if unicodedata.combining(letter) else wide.get(unicodedata.east_asian_width(letter), 1) for letter in text
    )


def wrapped(text: str, width: int, first: str = "", later: str = "") -> list[str]:
    """Text in lines of at most `width` columns, broken at spaces, between Chinese characters, and in words too long.

    Args:
        text: in one line.
        width: columns of a line.
        first: what the first line begins with.
        later: what the other lines begin with.

    Example:
        >>> wrapped("a rose is a rose", 9, "- ", "  ")
        ['- a rose', '  is a', '  rose']
        >>> wrapped("损失是无穷大。", 9), wrapped("abcdef", 4)
        (['损失是无', '穷大。'], ['abcd', 'ef'])
    """
    lines, line, begun = [], first, False
    for space, piece in _PIECES.findall(text):
        if begun and cells(line + space + piece) > width:
            lines.append(line)
            line, begun = later, False
        line += space if begun else ""
        while not begun and cells(line + piece) > width > cells(line):
            room = width - cells(line)
            lines.append(line + piece[:room])
            line, piece = later, piece[room:]
        line, begun = line + piece, True
    return [*lines, line]
