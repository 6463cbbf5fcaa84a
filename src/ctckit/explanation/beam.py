"""All numbers of one search, frame by frame. As with those of numbers.py, pictures, texts and pages only show them.

The textbook's search (``kernels/search/reference.py``) reports what is in the beam at each frame. Where its paths come
from is found by one step of the same search from each prefix alone.

May import numbers.py, kernels/ and what lies below.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from ..kernels import reference
from ..kernels.reference import Float64Array
from ..kernels.search import reference as textbook
from ..lattice import ctc_lattice
from ..search_graph import SearchGraph
from ..text.reading import greedy
from ..validate import check_language
from .letters import is_long
from .numbers import EMPTY

DROPPED = 4  # prefixes that are kept of those that a frame drops from the beam
FOUND = 5  # texts that are kept of those that are found
MOST_PATHS = 4  # of a text whose paths are listed

Tokens = tuple[int, ...]
Self = TypeVar("Self", bound="Search")


class Parts(NamedTuple):
    """What is added to the CTC score, in nats, with its weights.

    Attributes:
        language: of the language model.
        words: beta for each word, or for each token if those are the model's words.
        hotwords: of phrases that are complete.
        lookahead: credit for a word or a phrase that has begun; it is taken back when that ends.
    """

    language: float = 0.0
    words: float = 0.0
    hotwords: float = 0.0
    lookahead: float = 0.0


class Way(NamedTuple):
    """Paths that come to a prefix from one prefix of the frame before, by one class.

    Attributes:
        source: the place of the prefix before in its beam, 0 for the best.
        token: the class that the frame emits.
        grows: whether the prefix has become longer. Else the frame is the blank, or repeats the last token.
        score: nats, of these paths.
    """

    source: int
    token: int
    grows: bool
    score: float


class Candidate(NamedTuple):
    """A prefix that has paths at a frame: it is in the beam, or dropped.

    Attributes:
        tokens: its classes.
        blank: nats, of its paths that end in the blank.
        token: nats, of those that end in its last token.
        ctc: nats, of both.
        parts: what is added to that.
        score: what it is ranked by: `ctc`, and the parts.
        rank: its place in its frame, 1 for the best; None if it was recombined with a better one.
        ctc_rank: its place by `ctc` alone.
        like: the tokens of the better prefix that it was recombined with, which continues in the same way; else None.
        ways: where its paths come from.
    """

    tokens: Tokens
    blank: float
    token: float
    ctc: float
    parts: Parts
    score: float
    rank: int | None
    ctc_rank: int
    like: Tokens | None
    ways: tuple[Way, ...]


class Step(NamedTuple):
    """What a frame does to the beam.

    Attributes:
        beam: the prefixes that are kept, the best first.
        dropped: the best of the others, the best first.
        more: how many more are dropped.
        lost: nats, of all paths of all that are dropped.
    """

    beam: tuple[Candidate, ...]
    dropped: tuple[Candidate, ...]
    more: int
    lost: float


class Text(NamedTuple):
    """A text, with all its paths.

    Attributes:
        tokens: its classes.
        score: nats, of all its paths, in the beam or not.
        path_count: how many paths it has.
        paths: the classes of each path and its nats, the best first; none if they are many.
    """

    tokens: Tokens
    score: float
    path_count: int
    paths: tuple[tuple[Tokens, float], ...]


class FoundText(NamedTuple):
    """A text that the search found.

    Attributes:
        text: the text; its score may be above `ctc`.
        ctc: nats, of those of its paths that stayed in the beam.
        parts: what is added to that; no lookahead is left.
        score: what texts are ordered by: `ctc`, and the parts.
    """

    text: Text
    ctc: float
    parts: Parts
    score: float


class BestPath(NamedTuple):
    """What best path decoding reads.

    Attributes:
        classes: (T,), the most probable class of each frame.
        score: nats, of this path.
        text: what it says.
    """

    classes: Tokens
    score: float
    text: Text


@dataclass(frozen=True, eq=False)
class Search:
    """The numbers of one search; :class:`ctckit.SearchExplanation` adds ways to see them.

    Its attributes are explained there.
    """

    log_probs: Float64Array
    labels: tuple[str, ...]
    graph: SearchGraph
    beam_width: int
    recombine: bool
    lang: str
    steps: tuple[Step, ...]
    found: tuple[FoundText, ...]
    best_path: BestPath

    @classmethod
    def of(
        cls: type[Self],
        log_probs: Float64Array,
        labels: tuple[str, ...],
        graph: SearchGraph,
        beam_width: int,
        *,
        recombine: bool,
        lang: str,
    ) -> Self:
        """Searches, and computes everything.

        Args:
            log_probs: (T, C), without NaN and +inf.
            labels: (C,) the name of each class.
            graph: which texts there are, and what they are worth.
            beam_width: how many prefixes are kept from one frame to the next.
            recombine: of prefixes that continue in the same way, only the best is kept.
            lang: "en" or "zh".
        """
        watcher = _Watcher(log_probs, textbook.Walk(graph), recombine=recombine)
        result = textbook.search(log_probs, graph, beam_width, recombine=recombine, watch=watcher)
        found = []
        for entry in result.entries[:FOUND]:
            text = _text(log_probs, entry.prefix.tokens, graph.blank)
            found.append(FoundText(text, _ctc(entry), watcher.parts(entry.state), float(entry.score)))
        read = tuple(run.token for run in greedy(log_probs, graph.blank))
        classes = tuple(log_probs.argmax(axis=1).tolist())
        best = BestPath(classes, float(log_probs.max(axis=1).sum()), _text(log_probs, read, graph.blank))
        return cls(log_probs, labels, graph, beam_width, recombine, lang, tuple(watcher.steps), tuple(found), best)

    @property
    def frames(self) -> int:
        """T."""
        return len(self.log_probs)

    @property
    def blank(self) -> int:
        """The blank's class."""
        return self.graph.blank

    @property
    def only_ctc(self) -> bool:
        """Whether nothing counts but the CTC score."""
        graph = self.graph
        return graph.lexicon is None and graph.model is None and graph.hotwords is None

    @property
    def best(self) -> FoundText | None:
        """The text that the search finds; None if no text has a probability above 0."""
        return self.found[0] if self.found else None

    def in_language(self: Self, lang: str) -> Self:
        """The same in another language."""
        return replace(self, lang=check_language(lang))

    def text(self, tokens: Sequence[int]) -> str:
        """The labels of classes as one string, ∅ for none; with spaces between if some are longer than a letter."""
        return (" " if self.long_labels else "").join(map(self.label, tokens)) or EMPTY

    def label(self, token: int) -> str:
        """A class's name, also a space's, as it can be seen."""
        return "␣" if self.labels[token] == " " else self.labels[token]

    @cached_property
    def long_labels(self) -> bool:
        """Whether some label that can be seen is longer than a letter."""
        shown = {c for step in self.steps for candidate in (*step.beam, *step.dropped) for c in candidate.tokens}
        return any(is_long(self.labels[c]) for c in shown.union(self.best_path.classes))


class _Watcher:
    """What the search calls after each frame; keeps what can be shown."""

    def __init__(self, log_probs: Float64Array, walk: textbook.Walk, *, recombine: bool) -> None:
        self.log_probs, self.walk, self.recombine = log_probs, walk, recombine
        root = textbook.Entry(textbook.Prefix((), ()), walk.begin(), 0.0, -np.inf, 0.0)
        self.beam = [root]  # of the frame before, in the search's order
        self.steps = [Step((self._candidate(root, 1, 1, None, ()),), (), 0, -math.inf)]

    def __call__(self, t: int, candidates: list[textbook.Entry], beam: list[textbook.Entry]) -> None:
        going_on = textbook.recombined(candidates) if self.recombine else candidates
        ranks = _ranks(going_on, [entry.score for entry in going_on])
        ctc_ranks = _ranks(candidates, [_ctc(entry) for entry in candidates])
        stays = {entry.prefix for entry in beam}
        out = sorted((entry for entry in candidates if entry.prefix not in stays), key=lambda entry: -entry.score)
        best = sorted(beam, key=lambda entry: ranks[entry.prefix])
        ways = self._ways(t, {entry.prefix for entry in (*best, *out[:DROPPED])})

        def shown(entry: textbook.Entry) -> Candidate:
            rank = ranks.get(entry.prefix)
            like = None
            if rank is None:
                like = next(other for other in going_on if len(textbook.recombined([other, entry])) == 1).prefix.tokens
            return self._candidate(entry, rank, ctc_ranks[entry.prefix], like, ways[entry.prefix])

        lost = float(np.logaddexp.reduce([_ctc(entry) for entry in out], initial=-np.inf))
        shown_out = tuple(map(shown, out[:DROPPED]))
        self.steps.append(Step(tuple(map(shown, best)), shown_out, len(out) - len(shown_out), lost))
        self.beam = beam

    def _ways(self, t: int, shown: set[textbook.Prefix]) -> dict[textbook.Prefix, tuple[Way, ...]]:
        """Where the paths of these prefixes come from: the search's step from each prefix of the beam alone."""
        places = _ranks(self.beam, [entry.score for entry in self.beam])
        ways: dict[textbook.Prefix, list[Way]] = defaultdict(list)
        for source in sorted(self.beam, key=lambda entry: places[entry.prefix]):
            for after in textbook.candidates_after([source], self.log_probs[t], self.walk, np.logaddexp):
                if after.prefix not in shown:
                    continue
                grows = after.prefix != source.prefix
                last = after.prefix.tokens[-1] if after.prefix.tokens else -1
                for token, score in ((self.walk.graph.blank, after.blank), (last, after.token)):
                    if score > -np.inf:
                        ways[after.prefix].append(Way(places[source.prefix] - 1, token, grows, float(score)))
        return {prefix: tuple(found) for prefix, found in ways.items()}

    def _candidate(
        self, entry: textbook.Entry, rank: int | None, ctc_rank: int, like: Tokens | None, ways: tuple[Way, ...]
    ) -> Candidate:
        parts = self.parts(entry.state)._replace(lookahead=self.walk.potential(entry.state))
        blank, token = float(entry.blank), float(entry.token)
        score = float(entry.score)
        return Candidate(entry.prefix.tokens, blank, token, _ctc(entry), parts, score, rank, ctc_rank, like, ways)

    def parts(self, state: textbook.State) -> Parts:
        """What is added to a text's CTC score."""
        graph = self.walk.graph
        language = graph.alpha * state.language if state.language else 0.0
        return Parts(language, graph.beta * state.units, state.hotwords)


def _ranks(entries: Sequence[textbook.Entry], scores: Sequence[float]) -> dict[textbook.Prefix, int]:
    """Each prefix's place by a score, from 1 for the best; of equal ones the first, as in the search."""
    order = sorted(range(len(entries)), key=lambda i: -scores[i])
    return {entries[i].prefix: rank for rank, i in enumerate(order, start=1)}


def _ctc(entry: textbook.Entry) -> float:
    return float(np.logaddexp(entry.blank, entry.token))


def _text(log_probs: Float64Array, tokens: Tokens, blank: int) -> Text:
    """A text's paths, by the sweeps that numbers.py makes too."""
    lattice = ctc_lattice(tokens, blank)
    emissions = log_probs[:, lattice.labels]
    score = float(reference.over_ends(lattice, reference.forward(lattice, emissions, reference.LOG), reference.LOG))
    count = reference.count_paths(lattice, len(log_probs))
    paths = reference.best_paths(lattice, emissions, count) if count <= MOST_PATHS else []
    classes = [(tuple(lattice.labels[list(path.states)].tolist()), path.score) for path in paths]
    return Text(tokens, score, count, tuple(classes))
