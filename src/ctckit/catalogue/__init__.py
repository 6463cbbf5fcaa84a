"""Everything a person reads, by language: one JSON file for each part of the program and each language.

A test keeps the languages complete. Imports errors.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from ..errors import CTCError

LANGUAGES = ("en", "zh")


def check_language(lang: str) -> str:
    """Returns the language if its words are known.

    Raises:
        CTCError: it is none of `LANGUAGES`.
    """
    if lang not in LANGUAGES:
        raise CTCError(f"lang = {lang!r} is unknown: expected one of {', '.join(map(repr, LANGUAGES))}")
    return lang


@cache
def words(part: str, lang: str) -> Mapping[str, str]:
    """The words of one part of the program in one language.

    Example:
        >>> words("explanation", "zh")["blank"]
        '空白'
    """
    text = (files(__name__) / f"{part}.{check_language(lang)}.json").read_text(encoding="utf-8")
    read: Mapping[str, str] = json.loads(text)
    return read
