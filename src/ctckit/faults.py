"""A fault in a call's arguments, as data; the catalogue's words in any language come last. May import catalogue/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .catalogue import fill, words

_STOP = {"en": ".", "zh": "。"}
_SEMICOLON = {"en": "; ", "zh": "；"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a call's arguments.

    The catalogue's part ``faults`` lists all codes: key ``code`` or ``code/variant`` is what is wrong, ``hint/…`` how
    to fix it. Blanks in them are this class's attributes, ``where``, and the names in `details`.

    Attributes:
        code: a stable name in kebab-case.
        argument: the argument's name.
        position: index into the argument; () for all of it.
        value: what was found there: a number, a shape, a dtype, a type.
        expected: what would be right: a range of numbers, a list of choices, a shape, a number.
        hint: key of the words that say how to fix it.
        sample: the sample's index, if the fault belongs to one sample.
        variant: which of several wordings of the code; empty for the usual one.
        details: other numbers and names, for the words and for programs.
        parts: blanks that are themselves the catalogue's words: name of the blank, and key of the words.
        names: what the caller calls arguments that the words name, where it is another name than this library's.

    Example:
        >>> fault = Fault("blank-out-of-range", "blank", (), 7, range(5), "blank-column", details={"classes": 5})
        >>> fault.statement("zh")
        'blank = 7 不是一个类别：log_probs 有 C=5 个类别（0..4）'
    """

    code: str
    argument: str
    position: tuple[int, ...] = ()
    value: Any = None
    expected: Any = None
    hint: str = ""
    sample: int | None = None
    variant: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The argument with its index, such as ``targets[1, 0]``."""
        return f"{self.argument}[{', '.join(map(str, self.position))}]" if self.position else self.argument

    def statement(self, lang: str = "en") -> str:
        """What is wrong, without a full stop."""
        return self._worded(f"{self.code}/{self.variant}" if self.variant else self.code, lang)

    def advice(self, lang: str = "en") -> str:
        """How to fix it, without a full stop; empty if the statement says it all."""
        return self._worded(f"hint/{self.hint}", lang) if self.hint else ""

    def message(self, lang: str = "en") -> str:
        """What is wrong and how to fix it, as errors say it."""
        advice = self.advice(lang)
        return self.statement(lang) + (_SEMICOLON[lang] + advice if advice else "")

    def sentences(self, lang: str = "en") -> tuple[str, str]:
        """The same as two sentences; the second may be empty, and the first may begin with an argument's name."""
        advice = self.advice(lang)
        fix = _stopped(advice[0].upper() + advice[1:], lang) if advice else ""
        return self.statement(lang) + _STOP[lang], fix

    def _worded(self, key: str, lang: str) -> str:
        known = words("faults", lang)
        data = {"scores": "log_probs", "where": self.where, **vars(self), **self.details, "names": _Names(self.names)}
        data |= {blank: fill(known[part], lang, data) for blank, part in self.parts.items()}
        return fill(known[key], lang, data)


class _Names(dict[str, str]):
    """Arguments' names, by the names that this library gives them."""

    def __missing__(self, name: str) -> str:
        return name


def _stopped(text: str, lang: str) -> str:
    return text if text.endswith(("?", "？")) else text + _STOP[lang]
