"""Writes a text in the characters that a vocabulary has: other cases, compatible forms, look-alikes.

A module of its own because it knows Unicode's rules and nothing of tokens. Imports nothing of the package.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

_READ_OUT = "#%&@§¶‰‱"  # punctuation to Unicode, but people say it
_SILENT = frozenset(("So", "Sm", "Sk", "Lm", "Cc", "Cf", "Co", "Cs"))  # with punctuation (P) and marks (M)
_SYMBOLS = frozenset(("So", "Sm", "Sk", "Lm"))  # their compatible forms may be letters that nobody says: ™ is TM
APOSTROPHES = "'’‘ʼʻ‛′`´"
# Characters that mean the same: a vocabulary has one of each at most.
_ALIKE = (APOSTROPHES, '"“”„‟«»', "-‐‑‒–—―−", "ßẞ")
# Other letters that look or sound like these; using one is noted.
_LATIN = {
    "ł": "l",
    "ø": "o",
    "æ": "ae",
    "œ": "oe",
    "đ": "d",
    "ð": "d",
    "ħ": "h",
    "ŧ": "t",
    "þ": "th",
    "ŋ": "n",
    "ı": "i",
}
_LOOKALIKE = 2  # what is lost: more than accents
_ARABIC = ("كک", "يیى", "اٱ", "هہھە")  # the same, each in its own family
_HIRAGANA, _KATAKANA = range(0x3041, 0x3097), range(0x30A1, 0x30F7)
_TO_DOTLESS_LOWER = str.maketrans("Iİ", "ıi")  # Turkish and Azerbaijani
_TO_DOTTED_UPPER = str.maketrans("iı", "İI")
_MANY_LANGUAGES = "ßøåłãõ"  # a vocabulary with these and ı is not Turkish: I is an i there

_TONE = re.compile("[\u0e48-\u0e4b\u0ec8-\u0ecb]*")  # Thai and Lao, none or more

Unit = tuple[str, int, int]  # characters that are spelled together, and their place in the word


class Letter(NamedTuple):
    """A character as the vocabulary has it, or that it lacks.

    Attributes:
        spelled: the character.
        start: the first character of the word that it stands for.
        end: one past the last.
    """

    spelled: str
    start: int
    end: int


class Spelling(NamedTuple):
    """One way to write a word.

    Attributes:
        letters: without those that nobody says.
        lost: how many of its characters lost an accent, or became a look-alike.
        own_case: whether the word is in the case that it is written in.
        folds: look-alikes: what is written, and what stands for it.
    """

    letters: tuple[Letter, ...]
    lost: int
    own_case: bool
    folds: tuple[tuple[str, str], ...]


def is_silent(letter: str, spoken: str = "") -> bool:
    """Whether nobody says a character."""
    category = unicodedata.category(letter)
    read_out = letter in spoken or unicodedata.normalize("NFKC", letter) in _READ_OUT
    return not read_out and (category[0] in "PM" or category in _SILENT or letter in APOSTROPHES)


class Alphabet:
    """The characters of a vocabulary, and the ways to write words with them.

    Args:
        letters: all characters that occur in its labels.

    Example:
        >>> ["".join(letter.spelled for letter in way.letters) for way in Alphabet("aelpø").spellings("Élpæ♪")]
        ['elpae']
    """

    def __init__(self, letters: Iterable[str]) -> None:
        self.letters = frozenset(letters)
        self._dotless = not self.letters.isdisjoint("ıİ") and self.letters.isdisjoint(_MANY_LANGUAGES)
        digits = sorted((letter for letter in self.letters if letter.isdecimal()), reverse=True)
        self._digits = {unicodedata.decimal(digit): digit for digit in digits}
        # What Unicode takes apart and never puts together again, as Thai ำ.
        apart = {unicodedata.normalize("NFKD", letter): letter for letter in self.letters}
        self._pairs = {
            parts: whole
            for parts, whole in apart.items()
            if len(parts) > 1 and unicodedata.normalize("NFKC", parts) != whole and not self.letters.issuperset(parts)
        }
        longest_first = sorted(self._pairs, key=len, reverse=True)
        self._pair = re.compile(
            "|".join(_TONE.pattern.join(map(re.escape, parts)) for parts in longest_first) or "(?!)"
        )

    def spellings(self, word: str, spoken: str = "") -> Iterator[Spelling]:
        """The ways to write a word, as it stands first: in one case throughout, and, if that fails, in any.

        Args:
            word: in Unicode's form NFC.
            spoken: characters that somebody says, and that are not silent.
        """
        units = list(self._units(word))
        cases: list[list[Unit]] = []
        in_one_case = False
        for change in (list[Unit], self._lower, self._upper, self._capitalised):
            cased = change(units)
            letters = None if cased in cases else self._letters(cased, spoken, False)
            if letters is not None:
                in_one_case = True
                yield self._spelling(word, cased, letters, own_case=not cases)
            cases.append(cased)
        if not in_one_case:
            letters = self._letters(units, spoken, True) or []
            yield self._spelling(word, units, letters, own_case=False)

    def _units(self, word: str) -> Iterator[Unit]:
        """The parts of a word that are spelled by themselves: a character with its marks, or a pair."""
        if word.isascii() and not self._pairs:  # the usual case, quickly
            yield from ((letter, i, i + 1) for i, letter in enumerate(word))
            return
        start = 0
        while start < len(word):
            pair = self._pair.match(word, start)
            end = pair.end() if pair else start + 1
            while not pair and end < len(word) and _is_mark(word[end]) and not self._pair.match(word, end):
                end += 1
            unit = word[start:end]
            if pair:  # a tone that was typed within it comes first
                unit = "".join(_TONE.findall(unit)) + self._pairs[_TONE.sub("", unit)]
            yield unit, start, end
            start = end

    def _letters(self, units: list[Unit], spoken: str, any_case: bool) -> list[tuple[int, Letter]] | None:
        """The units' letters, each with what it loses; None if only another case than `units` have has one of them."""
        letters: list[tuple[int, Letter]] = []
        for unit, start, end in units:
            if unit in self.letters:  # the usual case, quickly
                letters.append((0, Letter(unit, start, end)))
                continue
            found = self._respelled(unit, any_case=any_case)
            if found is None:
                if not any_case and self._respelled(unit, any_case=True):
                    return None
                if len(unit) > 1:  # a letter that is unknown, with marks that may be known, or the other way round
                    alone = self._letters(_one_by_one(unit, start, end), spoken, any_case)
                    if alone is None:
                        return None
                    letters += alone
                elif not is_silent(unit, spoken):
                    letters.append((0, Letter(unit, start, end)))
                continue
            loss, form = found
            letters += [(loss, Letter(*letter)) for letter in _one_by_one(form, start, end)]
        return letters

    def _spelling(self, word: str, units: list[Unit], letters: list[tuple[int, Letter]], *, own_case: bool) -> Spelling:
        lost = {letter[1:]: loss for loss, letter in letters if loss}  # by place in the word
        if not lost:
            return Spelling(tuple(letter for _, letter in letters), 0, own_case, ())
        folds = []
        for _, start, end in units:
            if any(loss == _LOOKALIKE and start <= place[0] and place[1] <= end for place, loss in lost.items()):
                form = "".join(letter.spelled for _, letter in letters if start <= letter.start and letter.end <= end)
                folds.append((word[start:end], form))
        return Spelling(tuple(letter for _, letter in letters), len(lost), own_case, tuple(folds))

    def _respelled(self, unit: str, *, any_case: bool) -> tuple[int, str] | None:
        """What is lost (see `_forms`), and a unit in the vocabulary's characters."""
        for loss, form in self._forms(unit):
            for cased in (form, *self._cases(form)) if any_case else (form,):
                if cased and self.letters.issuperset(cased):
                    return loss, cased
        return None

    def _forms(self, unit: str) -> Iterator[tuple[int, str]]:
        """Other ways to write a unit, the most similar first: 0 loses nothing, 1 accents; then look-alikes."""
        yield 0, unit
        for alike in _ALIKE:
            if unit in alike:
                yield from ((0, other) for other in alike)
        compatible = unicodedata.normalize("NFKC", unit)
        if unicodedata.category(unit[0]) in _SYMBOLS and not all(map(is_silent, compatible)):
            return
        parts = unicodedata.normalize("NFD", unit)
        yield from ((0, form) for form in (compatible, parts, unicodedata.normalize("NFKD", unit)))
        yield from ((0, form) for form in _jamo(unicodedata.normalize("NFD", compatible)))
        yield 0, "".join(c for c in compatible if unicodedata.category(c)[0] == "M" or not is_silent(c))  # ⑴, ŉ
        folded = compatible.casefold()
        if not any(map(str.isupper, compatible)):
            yield 0, folded
        elif compatible.isupper():
            yield 0, folded.upper()
        bare = ""
        for form in (unit, compatible):  # an accent that the character itself has, then one that its form has
            bare = "".join(c for c in unicodedata.normalize("NFD", form) if not unicodedata.category(c).startswith("M"))
            yield 1, bare
        for form in (compatible, bare):
            yield _LOOKALIKE, "".join(map(self._lookalike, form))

    def _cases(self, form: str) -> Iterator[str]:
        lower, upper = (
            form.translate(table) if self._dotless else form for table in (_TO_DOTLESS_LOWER, _TO_DOTTED_UPPER)
        )
        yield lower.lower()
        folded = lower.casefold()
        yield folded.upper() if form.isupper() else folded
        yield upper.upper()
        yield folded

    def _lookalike(self, letter: str) -> str:
        """The vocabulary's character that looks or sounds like this one."""
        if letter in self.letters:
            return letter
        if letter.isdecimal():
            return self._digits.get(unicodedata.decimal(letter), letter)
        if ord(letter) in _HIRAGANA:
            return chr(ord(letter) + _KATAKANA[0] - _HIRAGANA[0])
        if ord(letter) in _KATAKANA:
            return chr(ord(letter) + _HIRAGANA[0] - _KATAKANA[0])
        family = next((family for family in _ARABIC if letter in family), "")
        for other in family:
            if other in self.letters:
                return other
        other = _LATIN.get(letter.lower(), letter)
        return other.upper() if letter.isupper() else other

    def _lower(self, units: list[Unit]) -> list[Unit]:
        return _in_case(units, lambda text: (text.translate(_TO_DOTLESS_LOWER) if self._dotless else text).lower())

    def _upper(self, units: list[Unit]) -> list[Unit]:
        return _in_case(units, lambda text: (text.translate(_TO_DOTTED_UPPER) if self._dotless else text).upper())

    def _capitalised(self, units: list[Unit]) -> list[Unit]:
        return self._upper(units[:1]) + self._lower(units[1:])


def _one_by_one(form: str, start: int, end: int) -> list[Unit]:
    """The characters of a form, each with its place, or the unit's if there are not as many."""
    own = len(form) == end - start
    return [(c, start + i, start + i + 1) if own else (c, start, end) for i, c in enumerate(form)]


def _in_case(units: list[Unit], change: Callable[[str], str]) -> list[Unit]:
    """Units in another case. The whole word is changed if that keeps its length: a sigma at its end is another one."""
    text = "".join(unit for unit, _, _ in units)
    whole, done = change(text), 0
    if len(whole) != len(text):
        return [(change(unit), start, end) for unit, start, end in units]
    changed = []
    for unit, start, end in units:
        changed.append((whole[done : done + len(unit)], start, end))
        done += len(unit)
    return changed


def _is_mark(letter: str) -> bool:
    """Whether a character belongs to the one before it, as a voicing mark of half-width kana does."""
    return any(unicodedata.category(part[0])[0] == "M" for part in (letter, unicodedata.normalize("NFKC", letter)))


def _jamo(parts: str) -> Iterator[str]:
    """Korean letters as vocabularies have them, ㄴㅏ for 나; the second way takes ㄳ apart too."""
    names = [unicodedata.name(letter, "") for letter in parts]
    if not all(name.startswith(("HANGUL CHOSEONG", "HANGUL JUNGSEONG", "HANGUL JONGSEONG")) for name in names):
        return
    kinds = [name.split(" ", 2)[2] for name in names]
    with suppress(KeyError):  # letters of an older script
        yield _hangul_letters(kinds)
        yield _hangul_letters([letter for kind in kinds for letter in kind.split("-")])


def _hangul_letters(names: Iterable[str]) -> str:
    return "".join(unicodedata.lookup(f"HANGUL LETTER {name}") for name in names)
