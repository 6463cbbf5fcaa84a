"""Text in columns, as terminals show it: a Chinese or Korean character takes two. Imports nothing of ctckit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_OPENING, _CLOSING = "（“‘《「『【", "，。、；：！？）”’》」』】…"
# What no line may be broken in: a word, or a Chinese character, with the punctuation that belongs to it.
_PIECES = re.compile(rf"(\s*)([{_OPENING}]*(?:[^\s{_CJK}{_OPENING}]+|[{_CJK}])[{_CLOSING}]*|[{_OPENING}]+)")


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


def _pieces(text: str) -> list[tuple[str, str]]:
    """The pieces of a text, each after its space; what takes no column belongs to the piece before."""
    pieces: list[tuple[str, str]] = []
    for space, piece in _PIECES.findall(text):
        if pieces and not space and not cells(piece[0]):
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + piece)
        else:
            pieces.append((space, piece))
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
