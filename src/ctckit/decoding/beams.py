"""The one door from decoding to the search's kernels. May import kernels/search/ and what lies below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..bfloat16 import as_floats
from ..kernels.reference import log_softmax
from ..kernels.search import reference
from ..results import Status
from ..search_graph import SearchGraph
from .emissions import Emissions

Int32Array = npt.NDArray[np.int32]


class Text(NamedTuple):
    """A text that was found.

    Attributes:
        tokens: (S,) classes.
        frames: (S,) the frame at which each was added.
        words: the lexicon's numbers of the words that are closed; -1 for one that it lacks.
        score: nats, all together.
        ctc: nats, of the paths that the beam followed.
        language: nats, without its weight.
        units: how many words, or tokens, count.
        hotwords: nats.
    """

    tokens: Int32Array
    frames: Int32Array
    words: Int32Array
    score: float
    ctc: float
    language: float
    units: int
    hotwords: float


class Found(NamedTuple):
    """What a search found in one sample: its texts, the best first."""

    status: Status
    texts: list[Text]


@dataclass(frozen=True)
class Width:
    """How much of a search goes on from one frame to the next.

    Attributes:
        beam_width: how many prefixes.
        beam_threshold: nats that a prefix may lie below the best; None: any.
        tokens_per_frame: how many of a frame's best tokens are tried; None: all.
    """

    beam_width: int = 50
    beam_threshold: float | None = None
    tokens_per_frame: int | None = None


def search(emissions: Emissions, graph: SearchGraph, width: Width, nbest: int, recombine: bool) -> list[Found]:
    """The texts of the highest score that a beam finds in each sample."""
    return [
        _searched(emissions.of_sample(n), emissions.from_logits, graph, width, nbest, recombine)
        for n in range(len(emissions.frames))
    ]


def _searched(
    scores: npt.NDArray[Any], from_logits: bool, graph: SearchGraph, width: Width, nbest: int, recombine: bool
) -> Found:
    made: dict[tuple[int, ...], int] = {}

    def watch(t: int, candidates: list[reference.Entry], beam: list[reference.Entry]) -> None:
        for entry in beam:
            made.setdefault(entry.prefix.tokens, t)

    rows = as_floats(scores).astype(np.float64)
    if from_logits:
        rows = log_softmax(rows)
    found = reference.search(rows, graph, width.beam_width, recombine=recombine, watch=watch)
    status = found.status if found.entries or found.status != Status.OK else Status.IMPOSSIBLE
    return Found(status, [_text(entry, made) for entry in found.entries[:nbest]])


def _text(entry: reference.Entry, made: dict[tuple[int, ...], int]) -> Text:
    tokens = entry.prefix.tokens
    frames = [made.get(tokens[: s + 1], -1) for s in range(len(tokens))]
    return Text(
        np.array(tokens, np.int32),
        np.array(frames, np.int32),
        np.array(entry.prefix.words, np.int32),
        entry.score,
        float(np.logaddexp(entry.blank, entry.token)),
        entry.state.language,
        entry.state.units,
        entry.state.hotwords,
    )


class Live:
    """A search whose frames come in one after the other."""

    def __init__(self, graph: SearchGraph, width: Width, recombine: bool, from_logits: bool) -> None:
        self._graph, self._width, self._recombine, self._from_logits = graph, width, recombine, from_logits
        self._rows: list[npt.NDArray[Any]] = []

    def feed(self, rows: npt.NDArray[Any]) -> None:
        """Takes the next frames (t, C)."""
        self._rows.append(as_floats(rows).astype(np.float64))

    @property
    def status(self) -> Status:
        """What has become of it."""
        return self._beam()[0]

    def best(self) -> Text | None:
        """The best prefix, its last word not closed."""
        _, beam, made = self._beam()
        if not beam:
            return None
        entry = max(beam, key=lambda entry: entry.score)
        return _text(entry, made)

    def stable(self) -> tuple[Int32Array, Int32Array, Int32Array]:
        """Tokens, frames and closed words that all prefixes have."""
        _, beam, made = self._beam()
        prefixes = [entry.prefix.tokens for entry in beam] or [()]
        low, high = min(prefixes), max(prefixes)
        same = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
        frames = [made.get(low[: s + 1], -1) for s in range(same)]
        return np.array(low[:same], np.int32), np.array(frames, np.int32), np.empty(0, np.int32)

    def finish(self) -> Found:
        """The texts at the end."""
        return _searched(
            self._all(), self._from_logits, self._graph, self._width, self._width.beam_width, self._recombine
        )

    def _all(self) -> npt.NDArray[Any]:
        return np.concatenate(self._rows) if self._rows else np.empty((0, self._graph.num_classes))

    def _beam(self) -> tuple[Status, list[reference.Entry], dict[tuple[int, ...], int]]:
        last: list[reference.Entry] = [
            reference.Entry(reference.Prefix((), ()), reference.Walk(self._graph).begin(), 0.0, -np.inf, 0.0)
        ]
        made: dict[tuple[int, ...], int] = {}

        def watch(t: int, candidates: list[reference.Entry], beam: list[reference.Entry]) -> None:
            last[:] = beam
            for entry in beam:
                made.setdefault(entry.prefix.tokens, t)

        rows = log_softmax(self._all()) if self._from_logits else self._all()
        found = reference.search(rows, self._graph, self._width.beam_width, recombine=self._recombine, watch=watch)
        return found.status, last if found.status == Status.OK else [], made
