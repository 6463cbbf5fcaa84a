"""The only module of decoding that calls the search's kernel. May import kernels/, what is below it, emissions.py."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..kernels.native import num_threads
from ..kernels.search import native
from ..kernels.search.native import Found as Found
from ..kernels.search.native import Text as Text
from ..results import Status
from ..search_graph import SearchGraph
from .emissions import Emissions

Int32Array = npt.NDArray[np.int32]

Stem = tuple[Int32Array, Int32Array, Int32Array]

_STEM_FRAMES = 1024  # the stem is taken after this many frames, even if nobody asks for it


@dataclass(frozen=True)
class Width:
    """How much of a search is kept from one frame to the next.

    Attributes:
        beam_width: how many prefixes are kept.
        beam_threshold: nats; prefixes that are further below the best are dropped.
        tokens_per_frame: how many of a frame's best tokens are tried; 0: all.
    """

    beam_width: int = 50
    beam_threshold: float = np.inf
    tokens_per_frame: int = 0


def search_all(
    batches: Sequence[Emissions],
    graph: SearchGraph,
    width: Width,
    nbest: int,
    recombine: bool,
    threads: int | None = None,
) -> list[list[Found]]:
    """The texts of the highest score that a beam finds, for each sample of each batch."""
    workers = min(num_threads(threads), len(batches))
    if workers == 1:
        return [search(emissions, graph, width, nbest, recombine, threads) for emissions in batches]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda emissions: search(emissions, graph, width, nbest, recombine, 1), batches))


def search(
    emissions: Emissions, graph: SearchGraph, width: Width, nbest: int, recombine: bool, threads: int | None = None
) -> list[Found]:
    """The texts of the highest score that a beam finds, for each sample of a batch."""
    found = native.search(
        emissions.scores,
        emissions.frames,
        graph,
        width.beam_width,
        nbest,
        from_logits=emissions.from_logits,
        recombine=recombine,
        beam_threshold=width.beam_threshold,
        tokens_per_frame=width.tokens_per_frame,
        threads=threads,
    )
    return list(map(_with_status, found))


class Live:
    """The search of a stream. The part of the text that can't change any more moves from the kernel to here."""

    def __init__(self, graph: SearchGraph, width: Width, recombine: bool, from_logits: bool) -> None:
        self._search = native.Search(
            graph,
            width.beam_width,
            from_logits=from_logits,
            recombine=recombine,
            beam_threshold=width.beam_threshold,
            tokens_per_frame=width.tokens_per_frame,
        )
        self._stem = array("i"), array("i"), array("i")  # each takes four bytes a token, however small the chunks are
        self._since = 0  # frames since the stem was taken

    @property
    def status(self) -> Status:
        """Whether a text is still possible; see :attr:`native.Search.status`."""
        return self._search.status

    def feed(self, rows: npt.NDArray[Any]) -> None:
        """Takes the next frames (t, C)."""
        self._search.feed(rows)
        self._since += len(rows)
        if self._since >= _STEM_FRAMES:
            self._take_stem()

    def stem(self) -> Stem:
        """Tokens, frames and closed words that can't change any more."""
        self._take_stem()
        tokens, frames, words = (np.array(kept, np.int32) for kept in self._stem)
        return tokens, frames, words

    def _take_stem(self) -> None:
        for kept, more in zip(self._stem, self._search.take_stem(), strict=True):
            kept.frombytes(more.tobytes())
        self._since = 0

    def best(self) -> Text | None:
        """The best prefix; its last word is not closed. None if there is none."""
        texts = self._texts(1, finished=False)
        return texts[0] if texts else None

    def finish(self, nbest: int) -> Found:
        """The texts at the end."""
        return _with_status(Found(self.status, self._texts(nbest, finished=True)))

    def _texts(self, nbest: int, *, finished: bool) -> list[Text]:
        """Whole texts: the stem, and the rest, which is all that the kernel still has."""
        tokens, frames, words = self.stem()
        return [
            text._replace(
                tokens=np.concatenate((tokens, text.tokens)),
                frames=np.concatenate((frames, text.frames)),
                words=np.concatenate((words, text.words)),
            )
            for text in self._search.texts(nbest, finished=finished)
        ]


def _with_status(found: Found) -> Found:
    """Sets the status to IMPOSSIBLE if the beam ended without a text, for instance since no word of a lexicon fits."""
    return found if found.texts or found.status != Status.OK else found._replace(status=Status.IMPOSSIBLE)
