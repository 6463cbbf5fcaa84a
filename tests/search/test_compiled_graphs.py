"""Invalid arrays of graphs: none is ever read out of its bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.installed import needs_linux
from support.searches import draw, letters

from ctckit.kernels.search import native
from ctckit.search_graph import SearchGraph, Tree


def whole() -> SearchGraph:
    """A graph with a lexicon, hotwords and a model."""
    cases = (draw(seed, "words") for seed in range(200))
    return next(c.graph for c in cases if c.graph.lexicon and c.graph.hotwords and c.graph.model)


def changed(array: np.ndarray, place: int, value: float) -> np.ndarray:
    made = array.copy()
    made[place] = value
    return made


def symbols(**parts: Callable[[Any], Any]) -> Callable[[SearchGraph], SearchGraph]:
    return lambda g: replace(g, symbols=replace(g.symbols, **{k: f(getattr(g.symbols, k)) for k, f in parts.items()}))


def lexicon(**parts: Callable[[Any], Any]) -> Callable[[SearchGraph], SearchGraph]:
    return lambda g: replace(g, lexicon=replace(g.lexicon, **{k: f(getattr(g.lexicon, k)) for k, f in parts.items()}))


def hotwords(**parts: Callable[[Any], Any]) -> Callable[[SearchGraph], SearchGraph]:
    return lambda g: replace(
        g, hotwords=replace(g.hotwords, **{k: f(getattr(g.hotwords, k)) for k, f in parts.items()})
    )


def tree(**parts: Callable[[Any], Any]) -> Callable[[Tree], Tree]:
    return lambda t: replace(t, **{k: f(getattr(t, k)) for k, f in parts.items()})


def with_(**values: Any) -> Callable[[SearchGraph], SearchGraph]:
    return lambda g: replace(g, **values)


BAD: dict[str, tuple[Callable[[SearchGraph], SearchGraph], str]] = {
    "offsets start late": (symbols(offsets=lambda a: changed(a, 0, 1)), "offsets must be those of their rows"),
    "offsets end late": (symbols(offsets=lambda a: changed(a, -1, a[-1] + 1)), "offsets must be those of their rows"),
    "offsets go back": (symbols(offsets=lambda a: changed(a, 1, a[-1] + 5)), "offsets must be those of their rows"),
    "symbol below 0": (symbols(symbols=lambda a: changed(a, 0, -1)), "symbols start at 0"),
    "huge symbol": (symbols(symbols=lambda a: changed(a, 0, 2**30)), "without large gaps"),
    "separator": (symbols(separator=lambda _: 1000), "the separator must be a class"),
    "blank": (with_(blank=1000), "the blank must be a class"),
    "blank below 0": (with_(blank=-1), "the blank must be a class"),
    "alpha": (with_(alpha=-0.5), "alpha must be a number, at least 0"),
    "alpha nan": (with_(alpha=np.nan), "alpha must be a number, at least 0"),
    "beta": (with_(beta=np.nan), "beta must be at most 300 nats"),
    "unknown_score": (with_(unknown_score=np.inf), "unknown_score must be at most 300 nats"),
    "tree shorter": (lexicon(tree=tree(symbols=lambda a: a[:-1])), "first must be the offsets"),
    "tree of itself": (lexicon(tree=tree(first=lambda a: np.sort(changed(a, 1, 0)))), "numbered after their parents"),
    "no order": (lexicon(tree=tree(symbols=lambda a: a[::-1])), "sorted by symbol"),
    "boundary within a word": (lexicon(tree=tree(symbols=lambda a: changed(a, 0, 0))), "symbols must be within range"),
    "words of no node": (lexicon(word_offsets=lambda a: a[:-1]), "an entry for each node"),
    "word offsets": (lexicon(word_offsets=lambda a: changed(a, 2, 10**6)), "those of the nodes' words"),
    "empty word": (lexicon(word_offsets=lambda a: np.append(0, np.maximum(a[1:], 1))), "no word may be empty"),
    "word": (lexicon(words=lambda a: changed(a, 0, 10**6)), "indices of model_words"),
    "word below 0": (lexicon(words=lambda a: changed(a, 0, -1)), "indices of model_words"),
    "model's word": (lexicon(model_words=lambda a: changed(a, 0, -2)), "words of the model, or -1"),
    "lookahead shorter": (lexicon(lookahead=lambda a: a[:-1]), "an entry for each node, 0 at first"),
    "lookahead of the root": (lexicon(lookahead=lambda a: changed(a, 0, 1)), "an entry for each node, 0 at first"),
    "lookahead nan": (lexicon(lookahead=lambda a: changed(a, 1, np.nan)), "at most 300 nats"),
    "fail ahead": (hotwords(fail=lambda a: changed(a, 1, 1)), "a node with a lower number"),
    "fail below 0": (hotwords(fail=lambda a: changed(a, 1, -1)), "a node with a lower number"),
    "fail shorter": (hotwords(fail=lambda a: a[:-1]), "an entry for each node"),
    "heavy hotword": (hotwords(rewards=lambda a: changed(a, 1, 1000)), "must not weigh more than 300 nats"),
    "potential nan": (hotwords(potentials=lambda a: changed(a, 1, np.nan)), "must not weigh more than 300 nats"),
    "start": (hotwords(start=lambda _: 10**6), "start must be a node"),
    "no model_tokens": (with_(level="token", model_tokens=np.zeros(1, np.int32)), "needs model_tokens"),
}


def test_the_graph_is_good() -> None:
    native.compiled(whole())


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_bad_arrays(change: Callable[[SearchGraph], SearchGraph], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        native.compiled(change(whole()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, "beam_width must be at least 1"),
        ({"tokens_per_frame": -1}, "tokens_per_frame must be at least 0"),
        ({"beam_threshold": -1.0}, "beam_threshold must be at least 0"),
        ({"beam_threshold": np.nan}, "beam_threshold must be at least 0"),
        ({"lengths": np.array([5])}, "frames must be within T"),
        ({"lengths": np.array([-1])}, "frames must be within T"),
        ({"lengths": np.array([1, 1])}, "frames must have N entries"),
        ({"scores": np.zeros((4, 1, 3))}, "scores must have C classes"),
        ({"scores": np.zeros((4, 1, 4), np.int64)}, "64, 32 or 16 bit float"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    good = {"scores": np.zeros((4, 1, 4)), "lengths": np.array([4]), "graph": letters(4), "beam_width": 3}
    native.search(**good)
    with pytest.raises(ValueError, match=message):
        native.search(**(good | options))


WITHOUT_MEMORY = """
import resource
import numpy as np
from ctckit.kernels.search import native
from support.searches import letters

search, graph = native.Search(letters(4), 1000), letters(4)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, -1))
for attempt in (lambda: native.Search(graph, 2**20), lambda: native.search(np.zeros((9, 1, 4)), [9], graph, 2**20)):
    try:
        attempt()
    except MemoryError:
        print("MemoryError")
search.feed(np.zeros((3, 4)))
print(len(search.texts()))
"""


@needs_linux
def test_no_memory() -> None:
    tests = str(Path(__file__).resolve().parents[1])
    path = {**os.environ, "PYTHONPATH": tests}
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, env=path)
    assert done.stdout.split() == ["MemoryError", "MemoryError", "1"], done.stderr


def test_a_model_that_only_python_can_ask() -> None:
    class Model:
        native = object()
        end = 0

    with pytest.raises((TypeError, RuntimeError)):
        native.compiled(replace(whole(), model=Model()))
