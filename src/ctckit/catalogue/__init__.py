"""Everything a person reads, by language: one JSON file for each part of the program and each language.

Tests keep the languages complete. Imports nothing of ctckit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "zh")

_MOST = 8  # items of a list that are written out
_COMMA = {"en": ", ", "zh": "、"}
_OR = {"en": " or ", "zh": " 或 "}
_MORE = {"en": "{shown} and {more} more", "zh": "{shown} 等，另有 {more} 个"}


@cache
def words(part: str, lang: str) -> Mapping[str, str]:
    """The words of one part of the program in one language.

    Example:
        >>> words("faults", "zh")["no-path/this"]
        '目标序列'
    """
    text = (files(__name__) / f"{part}.{lang}.json").read_text(encoding="utf-8")
    read: Mapping[str, str] = json.loads(text)
    return read


def fill(template: str, lang: str, data: Mapping[str, Any]) -> str:
    """A text of the catalogue with its blanks filled in.

    A blank is ``{name}``, with a format specification as for ``str.format`` if it needs one. Besides:

    - ``{count:frame|frames}`` is the first word for a count of 1, else the second;
    - a list is written out up to eight items; ``{names:quoted}`` quotes them, ``{names:or}`` puts "or" before the last;
    - a range is written ``0..4``.

    Example:
        >>> fill("{n} {n:frame|frames} of {all}: {which}", "en", {"n": 1, "all": range(3), "which": [*range(10)]})
        '1 frame of 0..2: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more'
    """
    return template.format_map({name: _formattable(value, lang) for name, value in data.items()})


class _Count(int):
    def __format__(self, spec: str) -> str:
        one, bar, many = spec.partition("|")
        if bar:
            return one if self == 1 else many
        return int.__format__(self, spec)


class _Listed:
    def __init__(self, items: Sequence[Any], lang: str) -> None:
        self._items, self._lang = items, lang

    def __repr__(self) -> str:
        return repr(self._items)

    def __format__(self, spec: str) -> str:
        parts = [repr(item) if spec == "quoted" else str(item) for item in self._items]
        comma = ", " if spec == "quoted" else _COMMA[self._lang]
        if spec == "or" and len(parts) > 1:
            return comma.join(parts[:-1]) + _OR[self._lang] + parts[-1]
        shown = comma.join(parts[:_MOST])
        if len(parts) <= _MOST:
            return shown
        return _MORE[self._lang].format(shown=shown, more=len(parts) - _MOST)


def _formattable(value: Any, lang: str) -> Any:
    if isinstance(value, range):
        return f"{value.start}..{value.stop - 1}"
    if isinstance(value, list):
        return _Listed(value, lang)
    if isinstance(value, int) and not isinstance(value, bool):
        return _Count(value)
    return str(value) if isinstance(value, tuple) else value
