"""The textbook's prefix search, over any semiring: the executable definition of what a search finds.

Every token is tried on every prefix; only prefixes that the beam has no room for are dropped. May import
search_graph.py and results.py.
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
_OFF = -1  # the node inside a word that the lexicon lacks


class State(NamedTuple):
    """What later steps need to know about a prefix, and its scores so far besides the CTC score.

    Attributes:
        node: the node in the lexicon's tree: 0 between words, -1 inside a word that the lexicon lacks.
        model: the state of the language model.
        hot: the state of the hotwords' automaton.
        language: nats: the ln P of the closed words.
        units: the number of closed words, or of tokens for a model of tokens.
        hotwords: nats: the rewards of the phrases that are complete.
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
        tokens: the prefix's classes.
        words: the closed words, as the lexicon numbers them.
    """

    tokens: tuple[int, ...]
    words: Words


class Entry(NamedTuple):
    """A prefix in the beam, or a text that was found.

    Attributes:
        prefix: its tokens and words.
        state: its state and scores.
        blank: nats, the ln P of its paths that end in the blank.
        token: nats, the ln P of its paths that end in its last token.
        score: nats, the sum of all parts.
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
        self.step = cache(self._step)  # the same prefix is tried again at each frame

    def begin(self) -> State:
        """The state of the empty prefix."""
        graph = self.graph
        model = None if graph.model is None else graph.model.begin(graph.sentence_bounds)
        return State(_ROOT, model, 0 if graph.hotwords is None else graph.hotwords.start)

    def _step(self, state: State, token: int) -> list[tuple[Words, State]]:
        """The words that a token closes and the state after it: a pair for each way to read it."""
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
        """The words that the end of the text closes and the state after it: a pair for each way to read it."""
        graph, found = self.graph, self._symbol(state, BOUNDARY)
        if graph.model is not None and graph.sentence_bounds:
            found = [(words, self._said(s, graph.model.end)._replace(units=s.units)) for words, s in found]
        return found

    def worth(self, state: State) -> float:
        """Nats that are added to the CTC score."""
        return self.graph.alpha * state.language + self.graph.beta * state.units + state.hotwords

    def potential(self, state: State) -> float:
        """Nats that are added only temporarily: the lookahead for an incomplete word, and the credit of a hotword."""
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
        """Closes a word: a pair for each word of the lexicon with this spelling."""
        lexicon, after = self.graph.lexicon, state._replace(node=_ROOT)
        by_word = self.graph.level == "word"
        if lexicon is None:  # any word is allowed, none is unknown, and there can't be a model of words
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
        """The state after a word of the model, or after an unknown word."""
        score, after = cast(Model, self.graph.model).step(state.model, max(word, 0))
        language = state.language + (self.graph.unknown_score if word == UNKNOWN else score)
        return state._replace(model=after, language=language, units=state.units + 1)


class Found(NamedTuple):
    """The status of one sample, and the texts that were found in it with their scores, the best first."""

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
    """The texts with the highest scores that a beam finds.

    Args:
        log_probs: (T, C), the used frames.
        graph: which texts are possible, and what is added to their CTC scores.
        beam_width: how many prefixes are kept from one frame to the next.
        recombine: whether only the best is kept of prefixes with equal last tokens and equal states.
        beam_threshold: nats; prefixes that are further below a frame's best are dropped.
        tokens_per_frame: in each frame, only this number of the best tokens are tried, besides the blank; if tokens are
            equal, the first. 0: all tokens.
        plus: how scores of paths are added: ``np.logaddexp`` sums them, ``max`` takes the best path.
        watch: called for each frame, with its number, the candidates in their order, and those that are kept.

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
    """Makes all tokens of a frame impossible, except the best."""
    tokens = [token for token in range(len(row)) if token != blank]
    row[sorted(tokens, key=lambda token: -row[token])[count:]] = -np.inf


def candidates_after(beam: list[Entry], row: npt.NDArray[np.float64], walk: Walk, plus: Plus) -> Iterator[Entry]:
    """The prefixes that have a path after a frame: first those of the beam, then those with one more token."""
    blank = walk.graph.blank
    places = {entry.prefix: place for place, entry in enumerate(beam)}
    stays = [_stay(entry, row, blank, plus) for entry in beam]
    new: list[Entry] = []
    for entry in beam:
        last = entry.prefix.tokens[-1] if entry.prefix.tokens else blank
        for token in range(len(row)):
            # The lattice's rule: between two equal tokens there must be a blank.
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
    """The two scores of a prefix that gets no new token in a frame: its paths take the blank, or its last token."""
    again = entry.token + float(row[entry.prefix.tokens[-1]]) if entry.prefix.tokens else -np.inf
    return plus(entry.blank, entry.token) + float(row[blank]), again


def _entry(prefix: Prefix, state: State, blank: float, token: float, walk: Walk, plus: Plus) -> Entry:
    return Entry(prefix, state, blank, token, plus(blank, token) + walk.worth(state) + walk.potential(state))


def recombined(candidates: list[Entry]) -> list[Entry]:
    """The best of each group of entries with equal last tokens and equal states; if several are equal, the first."""
    best: dict[Hashable, int] = {}
    for i, entry in enumerate(candidates):
        key = entry.prefix.tokens[-1:], entry.state[:3]
        if key not in best or entry.score > candidates[best[key]].score:
            best[key] = i
    return [candidates[i] for i in sorted(best.values())]


def _finished(beam: list[Entry], walk: Walk, plus: Plus) -> list[Entry]:
    """The texts of the last frame's beam, with their words closed, the best first."""
    found = []
    for entry in beam:
        for words, state in walk.finish(entry.state):
            prefix = entry.prefix._replace(words=entry.prefix.words + words)
            score = plus(entry.blank, entry.token) + walk.worth(state)
            if score > -np.inf:
                found.append(entry._replace(prefix=prefix, state=state, score=score))
    return sorted(found, key=lambda entry: -entry.score)
