"""Whether a call's hotwords are those of an earlier call: then their automaton is there. May import language/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from ..language.hotwords import Source


@dataclass(frozen=True)
class Phrases:
    """Hotwords as they were passed, for comparison: ten thousand of them are compared in a tenth of a millisecond.

    Attributes:
        phrases: one after the other.
        weights: of each, if they were given.
        file: the path, and when the file was written, if it is one.
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
        """For the language."""
        return self.phrases if self.weights is None else dict(zip(self.phrases, self.weights, strict=True))
