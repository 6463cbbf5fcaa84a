"""Text, letter by letter. Its twin on the page is `lettersOf` in page/words.js. Imports nothing of ctckit."""

from __future__ import annotations

import unicodedata

JOINER, NON_JOINER = "\u200d", "\u200c"


def letters(text: str) -> list[str]:
    r"""A text's letters as a reader counts them: accents, and the parts of an emoji, belong to the letter before.

    Example:
        >>> letters("cat"), len(letters("e\u0301👩\u200d👧👍🏽🇨🇳"))
        (['c', 'a', 't'], 4)
    """
    found: list[str] = []
    for letter in text:
        if found and _belongs(found[-1], letter):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def is_long(label: str) -> bool:
    r"""Whether a label is more than a letter, so that spaces are needed between such labels.

    Example:
        >>> is_long("th"), is_long("e\u0301"), is_long("")
        (True, False, False)
    """
    return len(label) > 1 and len(letters(label)) > 1


def _belongs(before: str, letter: str) -> bool:
    """Whether a character is part of the letter before it."""
    category = unicodedata.category(letter)
    if category in ("Mn", "Me", "Mc") or letter in (JOINER, NON_JOINER):
        return True
    if before.endswith(JOINER) and category in ("So", "Sm"):  # the next part of an emoji
        return True
    is_hangul_part = "\u1160" <= letter <= "\u11ff"  # a vowel or final consonant
    is_skin = "\U0001f3fb" <= letter <= "\U0001f3ff"
    is_tag = "\U000e0020" <= letter <= "\U000e007f"  # which flag a black one is
    is_half_a_flag = all("\U0001f1e6" <= one <= "\U0001f1ff" for one in before + letter)
    return is_hangul_part or is_skin or is_tag or (is_half_a_flag and len(before) == 1)
