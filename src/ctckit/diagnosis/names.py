"""The classes' names, for findings that speak of classes and of texts. May import text/ and what lies below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from ..errors import CTCError
from ..text import Vocabulary


class Names:
    """Says classes and texts as a person reads them.

    Args:
        labels: (C,) the classes' names, in any sequence, or a vocabulary; without the blank's, if that is the last.
        classes: C of the scores.
        blank: the blank's class.

    Raises:
        CTCError: there is not one label for each class, or they are no strings.

    Example:
        >>> names = Names(["-", "c", "a", "t"], 4, 0)
        >>> names.of(3), names.text([1, 2, 3])
        ("3 ('t')", 'cat')
    """

    def __init__(self, labels: Sequence[str] | Vocabulary, classes: int, blank: int) -> None:
        if isinstance(labels, Mapping):
            raise CTCError(
                "labels is a mapping: expected names in their classes' order, sorted(labels, key=labels.get)"
            )
        if not isinstance(labels, (Iterable, Vocabulary)):
            raise CTCError(f"labels has type {type(labels).__name__}: expected a sequence of strings, or a Vocabulary")
        names = list(labels.labels if isinstance(labels, Vocabulary) else labels)
        for c, name in enumerate(names):
            if not isinstance(name, str):
                raise CTCError(f"labels[{c}] = {name!r} has type {type(name).__name__}: expected a string")
        if len(names) == classes - 1 == blank:
            names.append("φ")
        if len(names) != classes:
            raise CTCError(
                f"labels has {len(names)} entries: expected {classes}, one for each class of the scores, blank included"
            )
        self._names = [str(name) for name in names]
        self._vocabulary: Vocabulary | None = None
        with suppress(CTCError):  # two classes of one name: texts can still be put together
            self._vocabulary = labels if isinstance(labels, Vocabulary) else Vocabulary(self._names, blank)

    def of(self, label: int) -> str:
        """A class with its name."""
        return f"{label} ({self._names[label]!r})" if 0 <= label < len(self._names) else str(label)

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens spell; a class without a name is written as its number."""
        known = [token for token in tokens if 0 <= token < len(self._names)]
        if self._vocabulary is not None and len(known) == len(tokens):
            return self._vocabulary.read(known)
        return "".join(self._names[token] if 0 <= token < len(self._names) else f"<{token}>" for token in tokens)
