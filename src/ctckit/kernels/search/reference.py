"""Prefix search as in the textbook, over any semiring: the executable definition of what a search finds.

Every token is tried on every prefix; nothing is left out but what the beam has no room for. May import search_graph.py
and results.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from ...results import Status
from ...search_graph import BOUNDARY, UNKNOWN, Int32Array, Model, SearchGraph

Plus = Callable[[float, float], float]
Words = tuple[int, ...]
_ROOT = 0
_OFF = -1  # the node of a word that the lexicon lacks


class State(NamedTuple):
    """What of a prefix matters for what follows, and what it is worth so far beside its CTC score.

    Attributes:
        node: of the lexicon's tree: 0 between words, -1 within a word that it lacks.
        model: the state of the language model.
        hot: the state of the hotwords' automaton.
        language: nats: ln P of the words that are closed.
        units: their number.
        hotwords: nats: of the phrases that are complete.
    """

    node: int
    model: Hashable
    hot: int
    language: float = 0.0
    units: int = 0
    hotwords: float = 0.0


class Prefix(NamedTuple):
    """The beginning of a text.

    Attributes:
        tokens: its classes.
        words: those that are closed, as the lexicon numbers them.
    """

    tokens: tuple[int, ...]
    words: Words


class Entry(NamedTuple):
    """A prefix in the beam, or a text that was found.

    Attributes:
        prefix: what it says.
        state: what it is worth.
        blank: nats, of its paths that end in the blank.
        token: nats, of those that end in its last token.
        score: nats, all together.
    """

    prefix: Prefix
    state: State
    blank: float
    token: float
    score: float


class Walk:
    """How a graph is walked, token by token."""

    def __init__(self, graph: SearchGraph) -> None:
        self.graph = graph
        self._spelled = [graph.symbols.of(token) for token in range(graph.num_classes)]
        self._closed = graph.lexicon is not None and graph.lexicon.closed
        self.step = cache(self._step)  # a prefix is tried anew at each frame

    def begin(self) -> State:
        """The state of the empty prefix."""
        graph = self.graph
        model = None if graph.model is None else graph.model.begin(graph.sentence_bounds)
        return State(_ROOT, model, 0 if graph.hotwords is None else graph.hotwords.start)

    def _step(self, state: State, token: int) -> list[tuple[Words, State]]:
        """What follows a token: the words that it closes and the state after it, a pair for each way to read them."""
        symbols = self._spelled[token]
        if self._closed and (not symbols or (token == self.graph.symbols.separator and state.node == _ROOT)):
            return []
        found: list[tuple[Words, State]] = [((), state)]
        for symbol in symbols:
            found = [(words + closed, after) for words, s in found for closed, after in self._symbol(s, symbol)]
        if self.graph.level == "token" and symbols:
            model_token = int(cast(Int32Array, self.graph.model_tokens)[token])
            found = [(words, self._said(s, model_token)) for words, s in found]
        return found

    def finish(self, state: State) -> list[tuple[Words, State]]:
        """What follows at the end of the text."""
        graph, found = self.graph, self._symbol(state, BOUNDARY)
        if graph.model is not None and graph.sentence_bounds:
            found = [(words, self._said(s, graph.model.end)._replace(units=s.units)) for words, s in found]
        return found

    def worth(self, state: State) -> float:
        """Nats beside the CTC score."""
        return self.graph.alpha * state.language + self.graph.beta * state.units + state.hotwords

    def potential(self, state: State) -> float:
        """Nats that are taken back before the end: what the word may become, and the hotword."""
        graph, ahead = self.graph, 0.0
        if graph.lexicon is not None and state.node != _ROOT:
            known = -np.inf if state.node == _OFF else float(graph.lexicon.lookahead[state.node])
            ahead = known if self._closed else max(known, graph.unknown_score)
        hot = 0.0 if graph.hotwords is None else float(graph.hotwords.potentials[state.hot])
        return (graph.alpha * ahead if ahead else 0.0) + hot

    def _symbol(self, state: State, symbol: int) -> list[tuple[Words, State]]:
        graph = self.graph
        if symbol == BOUNDARY and state.node == _ROOT:
            return [((), state)]  # no word is open: several boundaries count as one
        if graph.hotwords is not None:
            hot = graph.hotwords.step(state.hot, symbol)
            state = state._replace(hot=hot, hotwords=state.hotwords + float(graph.hotwords.rewards[hot]))
        if symbol == BOUNDARY:
            return self._close(state)
        node = _OFF
        if graph.lexicon is not None and state.node != _OFF:
            child = graph.lexicon.tree.child(state.node, symbol)
            node = _OFF if child is None else child
        return [] if self._closed and node == _OFF else [((), state._replace(node=node))]

    def _close(self, state: State) -> list[tuple[Words, State]]:
        """Ends a word, in each way in which the lexicon reads it."""
        lexicon, after = self.graph.lexicon, state._replace(node=_ROOT)
        by_word = self.graph.level == "word"
        if lexicon is None:  # any word; none is unknown, and there is nothing that a model of words could be asked for
            return [((UNKNOWN,), after._replace(units=after.units + by_word))]
        words = [] if state.node == _OFF else lexicon.words_at(state.node)
        if not words and not self._closed:
            words = [UNKNOWN]
        said = [UNKNOWN if word == UNKNOWN else int(lexicon.model_words[word]) for word in words]
        if not by_word or self.graph.model is None:
            costs = [self.graph.unknown_score if by_word and word == UNKNOWN else 0.0 for word in words]
            ways = [after._replace(language=after.language + c, units=after.units + by_word) for c in costs]
        else:
            ways = [self._said(after, model_word) for model_word in said]
        return [((word,), way) for word, way in zip(words, ways, strict=True)]

    def _said(self, state: State, word: int) -> State:
        """A word of the model is said, or one that it doesn't know."""
        score, after = cast(Model, self.graph.model).step(state.model, max(word, 0))
        language = state.language + (self.graph.unknown_score if word == UNKNOWN else score)
        return state._replace(model=after, language=language, units=state.units + 1)


class Found(NamedTuple):
    """The texts that were found in one sample, the best first, each with its score, and how that came about."""

    status: Status
    entries: list[Entry]


def search(
    log_probs: npt.NDArray[Any],
    graph: SearchGraph,
    beam_width: int,
    *,
    recombine: bool = False,
    beam_threshold: float = np.inf,
    tokens_per_frame: int = 0,
    plus: Plus = np.logaddexp,
    watch: Callable[[int, list[Entry], list[Entry]], None] | None = None,
) -> Found:
    """The texts of the highest score that a beam finds.

    Args:
        log_probs: (T, C), the frames that are used.
        graph: which texts there are, and what they are worth.
        beam_width: how many prefixes go on from one frame to the next.
        recombine: of prefixes with equal last tokens and equal states, only the best goes on.
        beam_threshold: nats; prefixes that lie further below a frame's best don't go on.
        tokens_per_frame: only so many of the best tokens are possible in a frame, of equal ones the first, beside the
            blank; 0: all.
        plus: how scores of paths are added: ``np.logaddexp`` sums them, ``max`` takes the best path.
        watch: is told of each frame: its number, the candidates in their order, and those that go on.

    Source:
        Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional Recurrent DNNs"
        (2014), algorithm 1; Graves and Jaitly (ICML 2014).
    """
    if np.isnan(log_probs).any() or np.isposinf(log_probs).any():
        return Found(Status.NOT_FINITE, [])
    walk = Walk(graph)
    beam = [Entry(Prefix((), ()), walk.begin(), 0.0, -np.inf, 0.0)]
    for t, row in enumerate(log_probs.astype(np.float64)):
        if tokens_per_frame:
            _leave_best(row, tokens_per_frame, graph.blank)
        candidates = list(candidates_after(beam, row, walk, plus))
        kept = recombined(candidates) if recombine else candidates
        best = max((entry.score for entry in kept), default=-np.inf)
        kept = [entry for entry in kept if entry.score >= best - beam_threshold]
        places = sorted(range(len(kept)), key=lambda i: -kept[i].score)[:beam_width]  # sorted keeps the order of ties
        beam = [kept[i] for i in sorted(places)]
        if watch is not None:
            watch(t, candidates, beam)
    return Found(Status.OK if beam else Status.IMPOSSIBLE, _finished(beam, walk, plus))


def _leave_best(row: npt.NDArray[np.float64], count: int, blank: int) -> None:
    """Makes all tokens of a frame but the best impossible."""
    tokens = [token for token in range(len(row)) if token != blank]
    row[sorted(tokens, key=lambda token: -row[token])[count:]] = -np.inf


def candidates_after(beam: list[Entry], row: npt.NDArray[np.float64], walk: Walk, plus: Plus) -> Iterator[Entry]:
    """The prefixes that have a path after a frame: those of the beam, then those with one token more."""
    blank = walk.graph.blank
    places = {entry.prefix: place for place, entry in enumerate(beam)}
    stays = [_stay(entry, row, blank, plus) for entry in beam]
    new: list[Entry] = []
    for entry in beam:
        last = entry.prefix.tokens[-1] if entry.prefix.tokens else blank
        for token in range(len(row)):
            # The lattice's rule: the same token again needs a blank between.
            score = (entry.blank if token == last else plus(entry.blank, entry.token)) + float(row[token])
            if token == blank or score == -np.inf:
                continue
            for words, state in walk.step(entry.state, token):
                prefix = Prefix((*entry.prefix.tokens, token), entry.prefix.words + words)
                place = places.get(prefix)
                if place is None:
                    new.append(_entry(prefix, state, -np.inf, score, walk, plus))
                else:
                    stays[place] = stays[place][0], plus(stays[place][1], score)
    for entry, (ends_blank, ends_token) in zip(beam, stays, strict=True):
        if max(ends_blank, ends_token) > -np.inf:
            yield _entry(entry.prefix, entry.state, ends_blank, ends_token, walk, plus)
    yield from (entry for entry in new if entry.score > -np.inf)


def _stay(entry: Entry, row: npt.NDArray[np.float64], blank: int, plus: Plus) -> tuple[float, float]:
    """A prefix's two scores after a frame of the blank, or of its last token."""
    again = entry.token + float(row[entry.prefix.tokens[-1]]) if entry.prefix.tokens else -np.inf
    return plus(entry.blank, entry.token) + float(row[blank]), again


def _entry(prefix: Prefix, state: State, blank: float, token: float, walk: Walk, plus: Plus) -> Entry:
    return Entry(prefix, state, blank, token, plus(blank, token) + walk.worth(state) + walk.potential(state))


def recombined(candidates: list[Entry]) -> list[Entry]:
    """Of entries that go on alike, the best; of equal ones the first."""
    best: dict[Hashable, int] = {}
    for i, entry in enumerate(candidates):
        key = entry.prefix.tokens[-1:], entry.state[:3]
        if key not in best or entry.score > candidates[best[key]].score:
            best[key] = i
    return [candidates[i] for i in sorted(best.values())]


def _finished(beam: list[Entry], walk: Walk, plus: Plus) -> list[Entry]:
    """The texts of the last frame's beam, their words closed, the best first."""
    found = []
    for entry in beam:
        for words, state in walk.finish(entry.state):
            prefix = entry.prefix._replace(words=entry.prefix.words + words)
            score = plus(entry.blank, entry.token) + walk.worth(state)
            if score > -np.inf:
                found.append(entry._replace(prefix=prefix, state=state, score=score))
    return sorted(found, key=lambda entry: -entry.score)
