"""The parts of a text that are not words: tags of captions, and names of special classes such as [breath].

A module of its own because marks are found in a whole line, before it is split into words. Imports nothing of the
package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

SPECIAL = re.compile(r"<.+>|\[.+\]")  # labels such as <unk>: they stand for no text, and a text may name them
# Of HTML and of captions: SubRip's, WebVTT's (also a time) and SubStation's.
TAG = r"</?(?:b|i|u|s|c|v|em|strong|font|span|br|p|ruby|rt|lang)(?:[.\s][^<>]*)?/?>|<\d[\d:.]*>|\{\\[^{}]*\}"
_IN_BRACKETS = re.compile(r"\[\w[^\[\]]{0,40}\]|<\w[\w .:/-]{0,40}>")


class Part(NamedTuple):
    """A part of a line.

    Attributes:
        text: what is written.
        token: the class that it names, or None.
        said: whether it is text to be spelled.
    """

    text: str
    token: int | None = None
    said: bool = True


class Marks:
    """The marks that a vocabulary knows.

    Args:
        classes: special classes by name.
        spoken: characters that somebody says; tags that begin with one of them are text.

    Example:
        >>> [[part.text for part in chunk] for chunk in Marks({"[breath]": 3}).chunks("<i>so</i> [breath]well")]
        [['<i>', 'so', '</i>'], ['[breath]', 'well']]
    """

    def __init__(self, classes: Mapping[str, int], spoken: str = "") -> None:
        self._spoken = spoken
        self._classes = {name.casefold(): token for name, token in classes.items()} | dict(classes)
        names = "|".join(re.escape(name) for name in sorted(classes, key=len, reverse=True))
        tags = "" if not set(spoken).isdisjoint("<{") else TAG
        self._found = re.compile("|".join(filter(None, (names, tags))) or r"(?!)", re.IGNORECASE)

    def chunks(self, line: str) -> list[list[Part]]:
        """A line's words, between white space, as their parts."""
        chunks: list[list[Part]] = []
        inside = False
        for part in self._parts(line):
            texts = part.text.split() if part.said else [part.text]
            inside = inside and not part.text[:1].isspace()
            for i, text in enumerate(texts):
                if i or not inside:
                    chunks.append([])
                chunks[-1].append(part._replace(text=text))
                inside = True
            inside = inside and not part.text[-1:].isspace()
        return chunks

    def _parts(self, line: str) -> Iterator[Part]:
        end = 0
        for mark in self._found.finditer(line):
            if mark.start() > end:
                yield Part(line[end : mark.start()])
            name = mark[0]
            yield Part(name, self._classes.get(name, self._classes.get(name.casefold())), said=False)
            end = mark.end()
        if end < len(line):
            yield Part(line[end:])

    def unknown(self, line: str) -> list[str]:
        """What stands in brackets, and is neither a tag nor the name of a class."""
        found = [name for part in self._parts(line) if part.said for name in _IN_BRACKETS.findall(part.text)]
        return [name for name in found if name[0] not in self._spoken]


class Run(NamedTuple):
    """A part of a word that is spelled at once: across tags, up to the next class that is named.

    Attributes:
        text: without tags.
        places: of its characters in the word.
        token: the class that it names, or None.
    """

    text: str
    places: Sequence[int]
    token: int | None

    @property
    def is_whole(self) -> bool:
        """Whether the run's characters are the word's, from the first on: places are then the same in both."""
        return self.places[-1] == len(self.places) - 1

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of the run begins and ends in the word."""
        first = self.places[start]
        return first, self.places[end - 1] + 1 if end > start else first


def runs(chunk: Sequence[Part]) -> Iterator[Run]:
    """The parts of a chunk that are spelled at once."""
    text, places, start = "", list[int](), 0
    for part in chunk:
        here = range(start, start + len(part.text))
        start = here.stop
        if part.said:
            text, places = text + part.text, [*places, *here]
        elif part.token is not None:
            if text:
                yield Run(text, places, None)
            yield Run(part.text, here, part.token)
            text, places = "", []
    if text:
        yield Run(text, places, None)
