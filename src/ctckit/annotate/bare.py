"""Words without the punctuation around them. May import text/ and what lies below it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from ..results import Segment
from ..text.folding import is_silent
from ..text.marks import SPECIAL, TAG


def bare_lines(lines: Sequence[Segment], spoken: str = "") -> list[Segment]:
    """Lines whose words are bare; words of nothing but punctuation are left out, and so are their times.

    Args:
        lines: with their words.
        spoken: characters that somebody reads out.
    """
    return [_bare_line(line, spoken) for line in lines]


def _bare_line(line: Segment, spoken: str) -> Segment:
    words = [word._replace(text=bare(word.text, spoken)) for word in line.parts]
    words = [word for word in words if word.text]
    return line._replace(text=" ".join(word.text for word in words), parts=tuple(words))


def bare(word: str, spoken: str = "") -> str:
    """A word without tags, and without punctuation and symbols at its ends that nobody says; [breath] is a word.

    Example:
        >>> [bare(word) for word in ("“don't", "<i>so</i>…", "[breath]", "fox ♫", "$5%", "—", "कि।")]
        ["don't", 'so', '[breath]', 'fox', '$5%', '', 'कि']
    """
    if SPECIAL.fullmatch(word) and not re.match(TAG, word):
        return word
    letters = re.sub(TAG, "", word, flags=re.IGNORECASE)
    said = [i for i, letter in enumerate(letters) if not _is_stripped(letter, spoken)]
    return letters[said[0] : said[-1] + 1] if said else ""


def _is_stripped(letter: str, spoken: str) -> bool:
    return letter.isspace() or (unicodedata.category(letter)[0] in "PSC" and is_silent(letter, spoken))
