"""What a page is made of. Imports numbers.py and beam.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..beam import Search
from ..numbers import Computation

Texts = dict[str, str]  # one in each language


@dataclass(frozen=True)
class Section:
    """A heading as plain text; the table of contents lists it."""

    title: Texts


@dataclass(frozen=True)
class Prose:
    """Prose as HTML (trusted)."""

    html: Texts


@dataclass(frozen=True)
class Figure:
    """A picture as SVG, its caption and perhaps a heading as plain text; a wide one keeps its size and scrolls."""

    svg: Texts
    caption: Texts
    heading: Texts | None = None
    is_wide: bool = False


@dataclass(frozen=True)
class Code:
    """A piece of a program, and what it prints."""

    text: str
    output: str


@dataclass(frozen=True)
class Interactive:
    """A computation or a search to walk through and change, and its caption as plain text.

    With `own_word`, for what a made-up recogniser gives: another word and number of frames can be typed.
    """

    shown: Computation | Search
    caption: Texts
    own_word: bool = False


@dataclass(frozen=True)
class Collapsing:
    """Labels to type, one a frame, and what they read. Examples are the text that is meant, and labels that try it."""

    examples: tuple[tuple[str, str], ...]
    caption: Texts


@dataclass(frozen=True)
class Exercise:
    """A question as HTML (trusted), its answer, and why it is that, as plain text.

    Attributes:
        question: what to find.
        answer: as it is typed: a text, a number, or a path's labels, one a frame.
        reason: why.
        reads: if a path is asked for, the text that it must read; any such path of as many frames as `answer` is right.
    """

    question: Texts
    answer: str
    reason: Texts
    reads: str | None = None


@dataclass(frozen=True)
class Exercises:
    """Questions that the page checks."""

    exercises: tuple[Exercise, ...]


@dataclass(frozen=True)
class Widget:
    """What the script of an :class:`Addition` shows: its kind there, and its data for JSON."""

    kind: str
    data: Any


@dataclass(frozen=True)
class Addition:
    """What a page needs for its widgets.

    Attributes:
        script: adds their classes to ``KINDS``; it may use words.js and boxes.js.
        style: CSS.
        words: what the script says, by language and key.
    """

    script: str
    style: str
    words: Mapping[str, Mapping[str, str]]


Block = Section | Prose | Figure | Code | Interactive | Collapsing | Exercises | Widget
