"""Tells whether a call's hotwords equal an earlier call's, whose automaton is then used. May import language/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from ..language.hotwords import Source


@dataclass(frozen=True)
class Phrases:
    """A copy of the hotwords that were passed, to compare: ten thousand take a tenth of a millisecond.

    Attributes:
        phrases: in the order in which they were passed.
        weights: the weight of each; None if they were not given.
        file: the path of a file, and when it was written; None if no file was passed.
    """

    phrases: list[str]
    weights: list[float] | None = None
    file: tuple[str, int] | None = None

    @classmethod
    def of(cls, hotwords: Source) -> Phrases:
        """A copy, so that the caller may change what was passed."""
        if isinstance(hotwords, (str, Path)):
            path = Path(hotwords)
            return cls([], None, (str(path.absolute()), path.stat().st_mtime_ns if path.exists() else 0))
        if isinstance(hotwords, Mapping):
            weights = list(hotwords.values())
            if not set(map(type, weights)) <= {float, int}:
                weights = [float(w) if isinstance(w, Real) and not isinstance(w, bool) else w for w in weights]
            return cls(list(hotwords), weights)
        return cls(list(hotwords))

    @property
    def source(self) -> list[str] | dict[str, float]:
        """The hotwords, in a form that the language takes."""
        return self.phrases if self.weights is None else dict(zip(self.phrases, self.weights, strict=True))
